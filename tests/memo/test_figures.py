"""A number in the memo can be traced: to its place, its grade, its source and its day."""

import re

import pytest
from markupsafe import Markup

from llmstudy.memo.figures import counted, located, quoted, resolve, told, told_span
from llmstudy.text import share, usd

CHAPTERS = {
    "01_evidence": {
        "workloads": [
            {
                "workload": "chat",
                "volume_grade": "measured",
                "tokens_grade": "measured",
                "traffic": "measured",
            }
        ],
        "figures": [
            {
                "name": "growth",
                "value": 0.04,
                "grade": "assumed",
                "source": "a guess",
                "as_of": "2026-01-02",
            }
        ],
    },
    "06_crossover": {
        "month_usd": {"horizon": {"p10": 1.2e6, "p50": 1.8e6, "p90": 2.6e6}},
        "savings": [{"workload": "chat", "p_cheaper": 0.93}, {"workload": "mail", "route": "a<b"}],
        "by~name/odd": {"x": 3},
    },
}


@pytest.fixture
def found():
    return located(CHAPTERS, "2026-11-23")


def title(element):
    return re.search('title="([^"]*)"', element)[1]


def every_leaf(node, given):
    for key, value in given.items() if isinstance(given, dict) else enumerate(given):
        if isinstance(value, (dict, list)):
            yield from every_leaf(node[key], value)
        else:
            yield node[key], value


def test_every_place_leads_back_to_its_result(found):
    leaves = list(every_leaf(found, CHAPTERS))
    assert len(leaves) == 17
    for leaf, value in leaves:
        assert leaf == value == resolve(leaf.origin.place, CHAPTERS)


def test_a_place_that_is_not_there_is_an_error():
    for place in ("06_crossover#/savings/7", "09#/x", "06_crossover#/month_usd/horizon/p50/x"):
        with pytest.raises(KeyError, match=re.escape(place)):
            resolve(place, CHAPTERS)


def test_a_figure_tells_its_own_grade_source_and_day(found):
    value = found["01_evidence"]["figures"][0]["value"]
    assert title(told(value, share)) == "assumed · a guess · chapter 01_evidence · as of 2026-01-02"


def test_what_is_computed_tells_the_weakest_grade_behind_it(found):
    row = found["06_crossover"]["savings"][0]
    assert "no better than measured" in title(told(row["p_cheaper"], share))
    whole = found["06_crossover"]["month_usd"]["horizon"]["p50"]
    assert "no better than assumed" in title(told(whole, usd))


def test_a_range_is_bound_at_both_ends(found):
    horizon = found["06_crossover"]["month_usd"]["horizon"]
    shown = told_span(horizon["p10"], horizon["p90"], usd)
    assert Markup(shown).striptags() == "USD 1.2M to 2.6M"
    assert re.findall('data-figure="[^"]*/(p..)"', shown) == ["p10", "p90"]
    assert Markup(told_span(horizon["p10"], None, usd)).striptags() == "USD 1.2M to never"


def test_a_list_is_counted_where_it_lies(found):
    shown = counted(found["06_crossover"]["savings"])
    assert 'value="2" data-figure="06_crossover#/savings"' in shown


def test_what_knows_no_place_is_refused(found):
    value = found["06_crossover"]["month_usd"]["horizon"]["p50"]
    with pytest.raises(TypeError, match="no place in the results"):
        told(1.8e6, usd)
    with pytest.raises(TypeError, match="no place in the results"):
        told(value / 2, usd)  # half of a result is no result
    with pytest.raises(TypeError, match="no place in the results"):
        quoted("cheaper in 93 % of draws")


def test_what_comes_from_outside_is_escaped(found):
    assert "a&lt;b" in quoted(found["06_crossover"]["savings"][1]["route"])

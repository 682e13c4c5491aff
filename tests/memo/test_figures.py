"""A number in the memo can be traced: to its place, its grade, its source and its day."""

import re
from datetime import date

import pytest
from bs4 import BeautifulSoup
from markupsafe import Markup

from llmstudy.memo.figures import Figures, checked, names, of_100, owner_text, resolve, token
from llmstudy.text import share, usd

GROWTH = {"name": "growth", "value": 0.04, "grade": "assumed", "source": "a guess"}
RESULTS = {
    "01_evidence": {
        "workloads": [
            {
                "workload": "chat",
                "volume_grade": "measured",
                "tokens_grade": "measured",
                "traffic": "measured",
            }
        ],
        "figures": [GROWTH | {"as_of": "2026-01-02"}],
    },
    "06_crossover": {
        "month_usd": {"horizon": {"p10": 1.2e6, "p50": 1.8e6, "p90": 2.6e6}},
        "savings": [
            {"workload": "chat", "route": "own", "p_cheaper": 0.93, "sure": True},
            {"workload": "mail", "route": "a<b", "p_cheaper": None, "from": "2027-02-05"},
        ],
        "by_workload": {"chat/eu": {"low": 3, "high": None}},
        "never": {"low": None, "high": None},
    },
}


@pytest.fixture
def figures():
    return Figures(RESULTS, "2026-11-23")


def element(html):
    """The one element of a piece of HTML."""
    (found,) = BeautifulSoup(html, "html.parser").find_all(True)
    return found


def every_number(node, place):
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        below = f"{place}/{token(str(key))}"
        if isinstance(value, dict | list):
            yield from every_number(value, below)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield below, value


NUMBERS = [pair for name, node in RESULTS.items() for pair in every_number(node, f"{name}#")]


@pytest.mark.parametrize(("place", "value"), NUMBERS)
def test_a_number_names_the_place_that_holds_it(figures, place, value):
    number = element(figures.fig(place))
    assert number["data-figure"] == place
    assert float(number["value"]) == resolve(place, RESULTS) == value


def test_a_chapter_may_be_named_by_its_number(figures):
    assert figures.fig("06#/savings/0/p_cheaper") == figures.fig(
        "06_crossover#/savings/0/p_cheaper"
    )


@pytest.mark.parametrize(
    "place", ["06#/savings/7", "06#/savings/x", "09#/x", "06#/month_usd/horizon/p50/x", "06#/odd"]
)
def test_a_place_that_is_not_there_is_an_error(figures, place):
    for write in (figures.fig, figures.range, figures.on, figures.quote):
        with pytest.raises(KeyError, match=re.escape(place.partition("#")[2])):
            write(place)


@pytest.mark.parametrize("place", ["0/route", "0/sure", "1/p_cheaper"])
def test_what_is_no_number_is_not_written_as_one(figures, place):
    with pytest.raises(TypeError, match="no number"):
        figures.fig(f"06#/savings/{place}")


def test_a_list_is_counted_where_it_lies(figures):
    number = element(figures.fig("06#/savings"))
    assert (number["value"], number["data-figure"]) == ("2", "06_crossover#/savings")


def test_a_range_is_bound_at_both_ends(figures):
    horizon = figures.range("06#/month_usd/horizon", usd)
    assert horizon.striptags() == "USD 1.2M to 2.6M"
    ends = BeautifulSoup(horizon, "html.parser").find_all("data")
    assert [(end["data-figure"][-3:], float(end["value"])) for end in ends] == [
        ("p10", 1.2e6),
        ("p90", 2.6e6),
    ]


def test_an_end_that_never_comes_says_so_and_is_bound_to_nothing(figures):
    assert element(figures.range("06#/by_workload/chat~1eu")).get_text() == "3"
    assert figures.range("06#/by_workload/chat~1eu").striptags() == "3 to never"
    assert figures.range("06#/never") == "never"


def test_a_quotation_stands_as_it_is_and_is_escaped(figures):
    quotation = element(figures.quote("06#/savings/1/route"))
    assert quotation.get_text() == "a<b"
    assert quotation["data-figure"] == "06_crossover#/savings/1/route"
    assert element(figures.quote("01#/figures/0/source", "a")).get_text() == "a"


def test_what_the_results_do_not_say_cannot_be_quoted(figures):
    with pytest.raises(TypeError, match="cannot be quoted as 'b guess'"):
        figures.quote("01#/figures/0/source", "b guess")
    with pytest.raises(TypeError, match="cannot be quoted"):
        figures.quote("01#/figures/0/value")


def test_a_date_is_bound_to_its_day(figures):
    day = element(figures.on("06#/savings/1/from"))
    assert day["datetime"] == resolve(day["data-figure"], RESULTS)
    assert day.get_text() == "5 Feb 2027"
    with pytest.raises(ValueError, match="isoformat"):
        figures.on("06#/savings/1/route")


@pytest.mark.parametrize("p", [0.0, 0.004, 0.118, 0.5, 0.997, 1.0])
def test_a_probability_is_counted_of_a_hundred_and_never_rounded_to_certainty(p):
    words = of_100(p)
    assert words.endswith(" of 100")
    assert (words == "none of 100") is (p == 0)
    assert (words == "100 of 100") is (p == 1)


# ---- rows ---------------------------------------------------------------------------------------


def test_a_row_reads_as_its_values_and_writes_them_with_their_place(figures):
    (mail,) = figures.rows("06#/savings", workload="mail")
    assert dict(mail) == RESULTS["06_crossover"]["savings"][1]
    assert mail.on("from") == figures.on("06#/savings/1/from")
    assert mail.quote("route") == figures.quote("06#/savings/1/route")
    (chat,) = figures.rows("06#/savings", workload="chat")
    assert chat.fig("p_cheaper", share) == figures.fig("06#/savings/0/p_cheaper", share)
    assert figures.rows("06#/savings", workload="none") == []


def test_a_table_by_name_has_rows_too_and_a_name_may_hold_a_slash(figures):
    (row,) = figures.rows("06#/by_workload")
    assert row.at == "06_crossover#/by_workload/chat~1eu"
    assert row.fig("low") == figures.fig("06#/by_workload/chat~1eu/low")
    assert row.between("low", "high") == figures.range("06#/by_workload/chat~1eu")


# ---- what a number rests on ---------------------------------------------------------------------


def test_a_figure_tells_its_own_grade_source_chapter_and_day(figures):
    title = element(figures.fig("01#/figures/0/value", share))["title"]
    assert title == "assumed · a guess · chapter 01_evidence · as of 2026-01-02"


def test_what_is_computed_rests_on_the_weakest_grade_behind_it_and_on_the_studys_day(figures):
    own = figures.behind("06#/savings/0/p_cheaper")
    assert "no better than measured" in own
    assert own.endswith("chapter 06_crossover · as of 2026-11-23")
    assert "no better than assumed" in figures.behind("06#/month_usd/horizon/p50")


def test_the_nearest_row_with_a_grade_counts():
    inner = {"grade": "published", "source": "near", "as_of": "2026-02-02", "x": 1}
    results = {"04_quality": {"grade": "assumed", "source": "far", "rows": [inner, {"x": 2}]}}
    figures = Figures(results, "2026-11-23")
    assert figures.behind("04#/rows/0/x") == (
        "published · near · chapter 04_quality · as of 2026-02-02"
    )
    assert figures.behind("04#/rows/1/x").startswith("assumed · far · ")


# ---- what may stand without a place -------------------------------------------------------------


@pytest.mark.parametrize(
    "value", [7, 0.5, "7", "USD 12k", "cheaper in 93 % of futures", True, None, date(2026, 1, 2)]
)
def test_what_names_no_place_is_refused(value):
    with pytest.raises(TypeError, match="no place in the results"):
        checked(value)


@pytest.mark.parametrize(
    "value", ["words", "R14", "the p95", "chapter 07", "01 evidence", Markup("<b>7</b>")]
)
def test_words_names_of_ids_and_html_are_not_refused(value):
    assert checked(value) == value


def test_words_of_the_owner_are_escaped_and_marked():
    assert owner_text("7 <b>&") == Markup("<bdi>7 &lt;b&gt;&amp;</bdi>")


def test_of_many_names_the_first_ones_are_listed():
    assert names([]) == ""
    assert names(["a"]).striptags() == "a"
    assert names(["a", "b", "c"]).striptags() == "a, b and c"
    assert names(["a", "b", "c", "d"]).striptags() == "a, b, c and others"
    assert names(["a", "b", "c"], 2).striptags() == "a, b and others"
    assert names(["<i>", "b"]) == Markup("<bdi>&lt;i&gt;</bdi> and <bdi>b</bdi>")

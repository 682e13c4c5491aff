"""Lock-in: points that add up, and what nobody knows widens the score."""

from dataclasses import replace
from itertools import product

import pandas as pd
import pytest

from llmstudy.decide import portability
from llmstudy.decide.portability import Ties

FREE = Ties(
    behind_gateway="yes",
    provider_features=0,
    prompts_versioned="yes",
    tool_schemas="json_schema",
    structured_output="none",
    fine_tuned_weights="no",
    pinned=True,
    own_weights=True,
    days_to_retirement=None,
    horizon_days=730,
    other_vendors=2,
    spend_share=0.0,
    largest_rise=1.0,
    worst_rise=3.75,
)
TIED = Ties(
    behind_gateway="no",
    provider_features=5,
    prompts_versioned="no",
    tool_schemas="provider_specific",
    structured_output="provider_specific",
    fine_tuned_weights="yes",
    pinned=False,
    own_weights=False,
    days_to_retirement=0,
    horizon_days=730,
    other_vendors=0,
    spend_share=1.0,
    largest_rise=1e9,
    worst_rise=3.75,
)
NOTHING_KNOWN = replace(
    FREE,
    behind_gateway="unknown",
    provider_features=None,
    prompts_versioned="unknown",
    tool_schemas="unknown",
    structured_output="unknown",
    fine_tuned_weights="unknown",
    own_weights=False,
    spend_share=None,
    largest_rise=None,
)


def points(ties):
    found = portability.score_parts(ties, portability.parts_table())
    return found["low"].sum(), found["high"].sum()


def part(ties, name):
    found = portability.score_parts(ties, portability.parts_table()).set_index("part")
    return found.loc[name, "low"], found.loc[name, "high"]


def test_the_points_of_all_parts_make_a_hundred_over_the_five_dimensions_of_the_source_memo():
    table = portability.parts_table()
    assert table["points"].sum() == 100
    assert set(table["dimension"]) == {
        *("model availability", "API compatibility", "switching cost"),
        *("pricing power", "data lock-in"),
    }


def test_free_earns_all_points_and_tied_earns_none():
    assert points(FREE) == (100, 100)
    assert points(TIED) == pytest.approx((0, 0), abs=1e-6)


def test_every_tie_alone_lowers_the_score_by_no_more_than_its_points():
    most = dict(zip(*portability.parts_table()[["part", "points"]].T.to_numpy(), strict=True))
    of = {
        "gateway": "behind_gateway",
        "vendor_share": "spend_share",
        "price_changes": "largest_rise",
    }
    for name in set(most) - {"retirement"}:
        tie = of.get(name, name)
        low, high = points(replace(FREE, **{tie: getattr(TIED, tie)}))
        assert low == high == pytest.approx(100 - most[name]), name


def test_an_unknown_answer_spans_what_either_answer_would_score():
    for tie in ("behind_gateway", "prompts_versioned", "fine_tuned_weights"):
        yes, no = (points(replace(FREE, **{tie: answer}))[0] for answer in ("yes", "no"))
        assert points(replace(FREE, **{tie: "unknown"})) == (min(yes, no), max(yes, no))
    for tie in ("tool_schemas", "structured_output"):
        known = [points(replace(FREE, **{tie: s}))[0] for s in ("none", "provider_specific")]
        assert points(replace(FREE, **{tie: "unknown"})) == (min(known), max(known))


def test_what_is_not_known_is_never_better_than_the_best_nor_worse_than_the_worst():
    low, high = points(NOTHING_KNOWN)
    assert low < 40
    assert high == pytest.approx(100)


def test_a_model_that_retires_sooner_earns_less_and_one_without_a_listed_day_may_earn_anything():
    api = replace(FREE, own_weights=False)
    earned = [part(replace(api, days_to_retirement=d), "retirement")[0] for d in (-5, 7, 365, 900)]
    assert earned == pytest.approx([0, 10 * 7 / 730, 5, 10])
    assert part(api, "retirement") == (0, 10)


def test_a_vendor_without_a_listed_change_may_rise_as_far_as_the_worst():
    assert part(replace(FREE, largest_rise=2.0), "price_changes") == (2.5, 2.5)
    assert part(replace(FREE, largest_rise=0.5), "price_changes") == (5, 5)
    assert part(replace(FREE, largest_rise=None), "price_changes") == pytest.approx((5 / 3.75, 5))


@pytest.mark.parametrize(
    ("model", "pinned"),
    [
        ("gpt-4o-2024-08-06", True),
        ("claude-sonnet-4@20250514", True),
        ("gemini-2.0-flash-001", True),
        ("mistral-small-2506", True),
        ("mistral-small-latest", False),
        ("gpt-4o", False),
        ("gpt-6.1-terra", False),
        ("claude-haiku-5-5", False),
        ("gemini-4-argon", False),
    ],
)
def test_a_dated_name_is_a_version_and_an_alias_is_none(model, pinned):
    assert portability.is_pinned(model) is pinned


# ---- what a switch takes


EFFORT = pd.DataFrame(
    [
        (part, 1.0, 2.0, 4.0, part)
        for part in ("base", "gateway", "feature", "schema", "prompts", "weights")
    ],
    columns=["part", "low_days", "mid_days", "high_days", "work"],
)


def days(ties, table=EFFORT):
    found = portability.switching_days(ties, table)
    return found.low_days, found.mid_days, found.high_days


def test_each_task_is_counted_as_often_as_it_is_needed():
    assert days(FREE) == (1, 2, 4)
    # base, gateway, 5 features, 2 schemas, prompts, weights
    assert days(TIED) == (11, 22, 44)


def test_an_unknown_task_counts_from_nothing_to_all_of_it():
    assert days(NOTHING_KNOWN) == (1, 2 + 0.5 * 2 * 6, 4 + 6 * 4)


def test_the_days_lie_between_those_of_every_way_to_answer_what_is_unknown():
    ways = [
        days(replace(FREE, behind_gateway=g, prompts_versioned=p, tool_schemas=t))
        for g, p, t in product(("yes", "no"), ("yes", "no"), ("none", "provider_specific"))
    ]
    low, mid, high = days(
        replace(FREE, behind_gateway="unknown", prompts_versioned="unknown", tool_schemas="unknown")
    )
    assert low == min(way[0] for way in ways)
    assert high == max(way[2] for way in ways)
    assert mid == pytest.approx(sum(way[1] for way in ways) / len(ways))


def test_one_week_holds_behind_an_abstraction_and_fails_for_the_tied():
    table = portability.effort_table()
    assert portability.switching_days(FREE, table).within_a_week == "yes"
    assert portability.switching_days(TIED, table).within_a_week == "no"
    open_ = replace(FREE, behind_gateway="unknown")
    assert portability.switching_days(open_, table).within_a_week == "unknown"


def test_the_bundled_effort_runs_from_low_through_mid_to_high():
    table = portability.effort_table()
    assert (table["low_days"] <= table["mid_days"]).all()
    assert (table["mid_days"] <= table["high_days"]).all()

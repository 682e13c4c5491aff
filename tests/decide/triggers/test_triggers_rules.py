"""The advisors' rules: as the source memo words them, decided month by month, and on today."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmstudy import paths
from llmstudy.decide.triggers.rules import advisor_rules, column_of, decide, lens, trigger_table
from llmstudy.figure import GRADES

NAN = math.nan
RULES = advisor_rules()
COLUMNS = sorted({column_of(row) for row in RULES.to_dict("records")})


def facts(**known):
    """Nobody knows anything but this."""
    return dict.fromkeys(COLUMNS) | known


def moves(rule, **known):
    found = lens(RULES, facts(**known)).set_index("rule")
    return found.loc[rule, "would_move"]


# --- the rules as they are worded -----------------------------------------------------------

NOTHING = {"compliance_block": 0, "quality_ceiling": 0, "ttft_p95_s": 0.4, "api_usd_month": 0}


@pytest.mark.parametrize(
    ("rule", "known", "would_move"),
    [
        # any of API spend >= $10k/month, latency SLA (< 500 ms) missed, compliance, ceiling
        ("architect", {**NOTHING, "api_usd_month": 10_000}, "yes"),
        ("architect", {**NOTHING, "api_usd_month": 9_999}, "no"),
        ("architect", {**NOTHING, "ttft_p95_s": 0.5}, "yes"),
        ("architect", {**NOTHING, "ttft_p95_s": 0.499}, "no"),
        ("architect", {**NOTHING, "compliance_block": 1}, "yes"),
        ("architect", {**NOTHING, "quality_ceiling": 1}, "yes"),
        ("architect", NOTHING, "no"),
        # 2-5B tokens/month (frontier) or 50B (mini), > 10B within 12 months
        ("analyst_frontier_low", {"tokens_month": 2e9}, "yes"),
        ("analyst_frontier_low", {"tokens_month": 1.9e9}, "no"),
        ("analyst_frontier_high", {"tokens_month": 4.9e9}, "no"),
        ("analyst_frontier_high", {"tokens_month": 5e9}, "yes"),
        ("analyst_mini", {"tokens_month": 49e9}, "no"),
        ("analyst_mini", {"tokens_month": 50e9}, "yes"),
        ("analyst_ten_billion", {"tokens_month_in_12_months": 10e9}, "no"),
        ("analyst_ten_billion", {"tokens_month_in_12_months": 10.1e9}, "yes"),
        ("analyst_ten_billion", {"tokens_month": 1e12}, "unknown"),
        # > 100M queries/month (API wins below 10M)
        ("challenger_low", {"requests_month": 100e6}, "no"),
        ("challenger_high", {"requests_month": 101e6}, "yes"),
        ("challenger_low", {"requests_month": 9e6}, "no"),
        # utilisation at or above break-even, or p95 missed, or residency
        ("strategist", {"utilisation_over_break_even": 1.0}, "yes"),
        ("strategist", {"ttft_p95_missed": 1}, "yes"),
        ("strategist", {"compliance_block": 1}, "yes"),
        ("strategist", {"utilisation_over_break_even": 0.9, "ttft_p95_missed": 0}, "unknown"),
        ("triggers", {"model_retires": 1}, "yes"),
        ("triggers", {"format_failure_over_limit": 1.2}, "yes"),
        ("triggers", {}, "unknown"),
    ],
)
def test_a_rule_moves_at_the_level_its_advisor_named(rule, known, would_move):
    assert moves(rule, **known) == would_move


def test_half_a_million_a_year_alerts_the_challenger_and_moves_nothing():
    found = lens(RULES, facts(api_usd_year=500_001)).set_index("rule").loc["challenger_alert"]
    assert (found["kind"], found["raised"], found["would_move"]) == ("alert", "yes", "no")
    assert "challenger_alert" not in decide(RULES, dict.fromkeys(COLUMNS, np.ones((1, 2))))


def test_the_strategists_rule_is_our_reading_and_the_others_are_quoted():
    assert set(RULES.loc[RULES["rule"] == "strategist", "grade"]) == {"assumed"}
    assert set(RULES.loc[RULES["advisor"].isin(["Architect", "Analyst"]), "grade"]) == {"secondary"}
    assert set(RULES["grade"]) <= set(GRADES)


def test_every_condition_names_its_line_of_the_memo_and_the_product_has_all_six_triggers():
    table = pd.read_csv(paths.data("advisor_rules.csv"))
    assert table["source"].str.startswith("MEMO.md G line").all()
    assert not table.duplicated(["rule", "condition"]).any()
    own = table.loc[table["rule"] == "triggers", "condition"].str[:2]
    assert sorted(set(own)) == trigger_table()["id"].tolist()
    assert set(table["kind"]) == {"trigger", "alert"}


# --- paths ----------------------------------------------------------------------------------

signals = st.lists(
    st.lists(st.sampled_from([5e3, 1e4, 2e4, NAN]), min_size=8, max_size=8), min_size=1, max_size=3
)


@settings(max_examples=150)
@given(signals, signals, st.integers(1, 3), st.integers(0, 4), st.sampled_from([">=", ">"]))
def test_a_rule_switches_in_the_first_month_in_which_any_condition_has_held_long_enough(
    spend, other, periods, wait, operator
):
    n = min(len(spend), len(other))
    rules = pd.DataFrame(
        {
            "rule": "any",
            "kind": "trigger",
            "signal": ["spend", "other"],
            "operator": operator,
            "level": 1e4,
            "lookahead_months": [0, 12],
            "sustained_periods": periods,
            "not_before_month": wait,
        }
    )
    given_ = {"spend": np.array(spend[:n]), "other_in_12_months": np.array(other[:n])}

    def holds(x):
        return x >= 1e4 if operator == ">=" else x > 1e4

    def by_hand(paths_):
        for t in range(wait, 8):
            for path in paths_:
                known = [x for x in path[: t + 1] if not math.isnan(x)]
                if math.isnan(path[t]) or len(known) < periods:
                    continue
                if all(holds(x) for x in known[-periods:]):
                    return t
        return 8

    expected = [by_hand(pair) for pair in zip(spend[:n], other[:n], strict=True)]
    assert decide(rules, given_)["any"].tolist() == expected


def test_the_challenger_waits_until_its_window_of_six_or_twelve_months_is_over():
    requests = np.array([[2e8] * 24, [2e8] * 8 + [1e6] * 16])
    found = decide(RULES[RULES["advisor"] == "Challenger"], {"requests_month": requests})
    assert found["challenger_low"].tolist() == [6, 6]
    # by month 12 the second has long fallen below again
    assert found["challenger_high"].tolist() == [12, 24]


def test_a_signal_that_nobody_knows_moves_nothing_and_one_not_given_is_an_error():
    unknown = dict.fromkeys(COLUMNS, np.full((3, 5), NAN))
    for months in decide(RULES, unknown).values():
        assert months.tolist() == [5, 5, 5]
    with pytest.raises(ValueError, match=r"tokens_month_in_12_months are missing"):
        decide(RULES, {k: v for k, v in unknown.items() if "in_12" not in k})
    with pytest.raises(ValueError, match=r"requests_month, api_usd_year are missing"):
        lens(RULES[RULES["advisor"] == "Challenger"], {})
    with pytest.raises(ValueError, match="different shapes"):
        decide(RULES, unknown | {"tokens_month": np.ones((3, 4))})
    with pytest.raises(ValueError, match=r"unknown operators \['<'\]"):
        lens(RULES.assign(operator="<"), facts())


# --- what is said ---------------------------------------------------------------------------


def test_the_reason_names_what_is_met_and_else_how_each_condition_stands():
    found = lens(RULES, facts(api_usd_month=12e3, quality_ceiling=1)).set_index("rule")["because"]
    assert found["architect"] == (
        "API spend 12k, at or above 10k USD/month; proven quality ceiling: yes"
    )
    found = lens(RULES, facts(**{**NOTHING, "ttft_p95_s": None})).set_index("rule")["because"]
    assert found["architect"] == (
        "not known: first token at the p95; API spend 0, not at or above 10k USD/month; "
        "compliance block: no; proven quality ceiling: no"
    )

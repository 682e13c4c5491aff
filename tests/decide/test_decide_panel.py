"""The four advisors on facts made by hand: each rule, its window, and who agrees with whom."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmstudy.decide import panel
from llmstudy.decide.judge import Fact
from llmstudy.decide.triggers import backtest
from llmstudy.decide.triggers.rules import advisor_rules

QUIET = {
    "api_usd_month": 1e3,
    "ttft_p95_s": 0.3,
    "compliance_block": 0.0,
    "quality_ceiling": 0.0,
    "tokens_month": 1e6,
    "tokens_month_in_12_months": 1e6,
    "requests_month": 1e3,
    "utilisation_over_break_even": 0.1,
    "ttft_p95_missed": 0.0,
}
FRONTIER, MINI = 4.4, 0.3  # USD a million tokens


def decided(usd_per_mtok=FRONTIER, **changed):
    found = panel.answers(QUIET | changed, usd_per_mtok)
    return dict(zip(found["lens"], found["decides"], strict=True))


def test_on_quiet_facts_nobody_moves():
    assert set(decided().values()) == {"no"}


@pytest.mark.parametrize(
    ("facts", "movers"),
    [
        ({"api_usd_month": 10_000}, {"Architect"}),
        ({"api_usd_month": 9_999}, set()),
        ({"ttft_p95_s": 0.6}, {"Architect"}),
        ({"compliance_block": 1.0}, {"Architect", "Strategist"}),
        ({"tokens_month": 3e9}, {"Analyst low"}),
        ({"tokens_month": 6e9}, {"Analyst low", "Analyst high"}),
        ({"tokens_month_in_12_months": 1.1e10}, {"Analyst forecast"}),
        ({"utilisation_over_break_even": 1.0}, {"Strategist"}),
        ({"requests_month": 2e8}, set()),
    ],
)
def test_each_rule_moves_on_its_own_condition_alone(facts, movers):
    found = decided(**facts)
    assert {lens for lens, answer in found.items() if answer == "now"} == movers


def test_the_challengers_window_makes_it_move_later():
    found = decided(requests_month=2e8)
    assert (found["Challenger low"], found["Challenger high"]) == ("later", "later")
    table = panel.answers(QUIET | {"requests_month": 2e8}, FRONTIER).set_index("lens")
    assert table.loc["Challenger low", "not_before_month"] == 6
    assert table.loc["Challenger high", "not_before_month"] == 12
    assert "not before month 12" in table.loc["Challenger high", "written"]


def test_a_cheap_model_is_judged_by_the_mini_tiers_tokens():
    assert decided(MINI, tokens_month=2e10)["Analyst low"] == "no"
    assert decided(MINI, tokens_month=6e10)["Analyst low"] == "now"
    assert decided(None, tokens_month=3e9)["Analyst low"] == "now"  # nothing billed by the token
    for price in (0.0, MINI, 1.06, 1.07, FRONTIER, None):
        assert panel.lenses(price)["lens"].is_unique
        assert set(panel.lenses(price)["advisor"]) == set(panel.ADVISORS)


def test_the_two_tiers_part_midway_between_their_prices_of_the_memos_date():
    # source memo T2: USD 2.50 and 10 for GPT-4o, 0.15 and 0.60 for GPT-4o-mini, blended 3:1
    blends = [(3 * i + o) / 4 for i, o in ((2.5, 10.0), (0.15, 0.6))]
    midway = np.sqrt(np.prod(blends))
    below = panel.lenses(0.99 * midway).set_index("lens")["rule"]
    above = panel.lenses(1.01 * midway).set_index("lens")["rule"]
    assert (below["Analyst low"], above["Analyst low"]) == ("analyst_mini", "analyst_frontier_low")


def test_what_nobody_has_measured_is_unknown_unless_another_condition_is_met():
    blind = decided(ttft_p95_s=None)
    assert blind["Architect"] == "unknown"
    assert decided(ttft_p95_s=None, api_usd_month=2e4)["Architect"] == "now"


def test_every_rule_of_an_advisor_that_moves_anything_is_a_lens_or_the_other_tiers():
    rules = advisor_rules().query("kind == 'trigger' and advisor in @panel.ADVISORS")
    seen = {rule for price in (MINI, FRONTIER) for rule in panel.lenses(price)["rule"]}
    assert seen == set(rules["rule"])


def test_a_rule_is_written_with_every_condition_and_its_level():
    rules = advisor_rules()
    said = panel.written(rules[rules["rule"] == "architect"])
    assert said == (
        "API spend at or above 10k USD/month or first token at the p95 at or above 0.50 s or "
        "compliance block or proven quality ceiling"
    )
    assert "within 12 months" in panel.written(rules[rules["rule"] == "analyst_ten_billion"])


# ---- agreement


answered = st.fixed_dictionaries(
    {
        ("Strategist", ""): st.sampled_from(["now", "no", "unknown"]),
        ("Challenger", "low"): st.sampled_from(["later", "no", "unknown"]),
        ("Challenger", "high"): st.sampled_from(["later", "no", "unknown"]),
        ("Analyst", "low"): st.sampled_from(["now", "no", "unknown"]),
        ("Analyst", "high"): st.sampled_from(["now", "no", "unknown"]),
        ("Architect", ""): st.sampled_from(["now", "no", "unknown"]),
    }
)


@given(answered)
def test_agreement_is_that_of_pairs_counted_by_hand(given_):
    said = pd.DataFrame(
        [{"advisor": who, "end": end, "decides": answer} for (who, end), answer in given_.items()]
    )
    views = {}
    for (who, _), answer in given_.items():
        views.setdefault(who, set()).add({"later": "no"}.get(answer, answer))
    one = {who: own if len(own) == 1 else {"split"} for who, own in views.items()}
    judged = agree = 0
    for a, b in combinations(one.values(), 2):
        if a != {"unknown"} and b != {"unknown"}:
            judged += 1
            agree += a == b and a != {"split"}
    found = panel.agreement(said)
    assert (found["pairs"], found["judged"], found["agree"]) == (6, judged, agree)
    assert found["agree_share"] == (agree / judged if judged else None)


@pytest.mark.parametrize(
    ("answer", "leaves", "expected"),
    [
        ("now", True, "yes"),
        ("now", False, "no"),
        ("no", False, "yes"),
        ("later", True, "no"),
        ("unknown", False, "unknown"),
    ],
)
def test_an_answer_agrees_when_it_does_today_what_the_verdict_does(answer, leaves, expected):
    assert panel.agrees(answer, leaves) == expected


# ---- what a side costs


def test_the_standard_error_is_that_of_the_back_tests_own_mean():
    costs = np.random.default_rng(3).gamma(2, 1e5, (500, 5))
    row = backtest.backtest(costs, {}).set_index("rule").loc["never"]
    regret = costs[:, -1] - costs.min(axis=1)
    found = panel.standard_error(row["regret_low_usd"], row["regret_high_usd"], row["n_paths"])
    assert found == pytest.approx(regret.std(ddof=1) / np.sqrt(500))


def cost(low, mid, high):
    return Fact(mid, "USD", "simulated", "", "", low, high)


def test_a_side_is_cheaper_only_where_no_interval_reaches_it():
    a, b, c, unpriced = cost(1, 2, 3), cost(4, 5, 6), cost(2, 4, 8), cost(None, None, None)
    assert panel.cheapest_of({"b": b, "a": a}) == ("a",)
    assert panel.cheapest_of({"a": a, "b": b, "c": c}) == ()
    assert panel.cheapest_of({"a": a, "d": unpriced}) == ()


def test_every_disagreement_has_four_views_and_wants_a_resolution():
    settled = panel.Resolution("facts", ("left",), "It is left.", "measured", {})
    found = panel.disagreements(dict.fromkeys(("D1", "D2", "D3", "D4"), settled))
    assert found["id"].tolist() == ["D1", "D2", "D3", "D4"]
    views = found[[who.lower() for who in panel.ADVISORS]]
    assert views.map(bool).all().all()
    assert views.nunique(axis=1).eq(4).all()
    open_ = panel.Resolution("nothing", (), "Open.", "assumed", {})
    assert panel.disagreements(dict.fromkeys(("D1", "D2", "D3", "D4"), open_))["holds"].isna().all()
    with pytest.raises(ValueError, match="D4 has no resolution"):
        panel.disagreements(dict.fromkeys(("D1", "D2", "D3"), settled))

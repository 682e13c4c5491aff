"""Canary sizes and alarms against simulation, gates against a truth table, fronts by hand."""

from datetime import date, timedelta
from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmstudy import paths
from llmstudy.decide.canary import (
    FALSE_ALARM_SHARE,
    POWER,
    alarm_gap,
    canary_metrics,
    canary_plan,
    canary_requests,
    canary_steps,
    evidence,
    evidence_weights,
)
from llmstudy.decide.judge import Fact, Judged
from llmstudy.decide.moves import first_moves
from llmstudy.decide.plan import ALL, ItemCost, Window, best, gates, items, passage, phases, worst

START = date(2026, 12, 18)
PLAN = phases(START, [], [])
BASELINES = {"acceptance": 0.92, "errors": 0.02, "slow_first_token": 0.05}


# ---- canary: how many requests


STEPS = (0.01, 0.05, 0.25, 0.5, 1.0)
ONE_OF_15 = FALSE_ALARM_SHARE / 15


def read(rng, weights, traffic_share, n, canary, stays, n_runs, readings):
    """Evidence at each of the readings of a step of n canary requests. (readings, n_runs).

    canary, stays: shares with the outcome on either side, one for each reading or one for all.
    """
    split = np.diff(np.linspace(0, n, readings + 1).astype(int))
    rates = [np.broadcast_to(share, readings) for share in (canary, stays)]
    sent = np.broadcast_to(split[:, None], (readings, n_runs))
    others = np.zeros_like(sent)
    if traffic_share < 1:  # a random split: so many stay until so many are sent
        others = rng.negative_binomial(sent, traffic_share)
    seen, known = (
        rng.binomial(size, share[:, None]).cumsum(axis=0)
        for size, share in zip((sent, others), rates, strict=True)
    )
    return evidence(weights, (seen, sent.cumsum(axis=0)), (known, others.cumsum(axis=0)))


@pytest.mark.parametrize("traffic_share", STEPS)
@pytest.mark.parametrize(
    ("p0", "p1"), [(0.95, 0.92), (0.5, 0.47), (0.05, 0.08), (0.9, 0.88), (0.001, 0.031)]
)
def test_a_step_sees_its_degradation_with_the_power_stated(traffic_share, p0, p1):
    n = canary_requests(p0, p1, traffic_share, ONE_OF_15)
    weights = evidence_weights(p0, p1, traffic_share)
    rng = np.random.default_rng(7)
    found = read(rng, weights, traffic_share, n, p1, p0, 4_000, 20)
    assert (found[-1] >= 1 / ONE_OF_15).mean() >= POWER - 0.03  # read once, at its end
    assert (found.max(axis=0) >= 1 / ONE_OF_15).mean() >= POWER  # read twenty times
    fewer = read(rng, weights, traffic_share, int(0.8 * n), p1, p0, 4_000, 1)
    assert p0 == 0.001 or (fewer >= 1 / ONE_OF_15).mean() < POWER


@pytest.mark.parametrize("traffic_share", STEPS)
@pytest.mark.parametrize(("p0", "p1"), [(0.95, 0.92), (0.5, 0.47), (0.01, 0.04)])
@pytest.mark.parametrize("readings", [1, 10, 300])
def test_reading_a_step_often_raises_no_more_false_alarms(traffic_share, p0, p1, readings):
    alpha = 0.05
    weights = evidence_weights(p0, p1, traffic_share)
    n = 2 * canary_requests(p0, p1, traffic_share, alpha)
    rng = np.random.default_rng(7)
    found = read(rng, weights, traffic_share, n, p0, p0, 3_000, readings)
    assert (found.max(axis=0) >= 1 / alpha).mean() <= alpha


def test_a_baseline_that_drifts_or_was_guessed_wrong_raises_no_more_false_alarms():
    alpha, hours = 0.05, 0.05 + 0.04 * np.sin(np.arange(200))
    for guessed in (0.02, 0.05, 0.3):
        weights = evidence_weights(guessed, guessed + 0.03, 0.25)
        found = read(np.random.default_rng(7), weights, 0.25, 4_000, hours, hours, 3_000, 200)
        assert (found.max(axis=0) >= 1 / alpha).mean() <= alpha


@pytest.mark.parametrize("traffic_share", [0.05, 0.5, 1.0])
def test_the_evidence_is_one_in_the_mean_while_both_sides_are_alike(traffic_share):
    p0, p1 = 0.9, 0.87
    weights = evidence_weights(p0, p1, traffic_share)
    for share in (p0,) if traffic_share == 1 else (0.2, p0):
        chances = [traffic_share, 1 - traffic_share]
        one = [x * y for x in chances for y in (share, 1 - share)]
        assert np.dot(one, np.exp(weights)) == pytest.approx(1)
    # against a better route it is less
    better = np.dot([0.93, 0.07], np.exp(weights[:2])), np.dot([p0, 1 - p0], np.exp(weights[2:]))
    assert np.dot(chances, better) < 1


def test_the_gap_that_ends_a_step_is_where_its_evidence_reaches_the_limit():
    p0, p1, share, n = 0.9, 0.87, 0.25, 4_000
    gap = alarm_gap(p0, p1, share, n, ONE_OF_15)
    weights = evidence_weights(p0, p1, share)
    found = evidence(weights, (n * (p0 - gap), n), (3 * n * p0, 3 * n))
    assert found == pytest.approx(1 / ONE_OF_15)


def test_fewer_requests_stay_behind_so_that_the_middle_step_needs_most():
    sizes = [canary_requests(0.9, 0.87, share, 0.01) for share in (0.01, 0.25, 0.5)]
    assert sizes == sorted(sizes)
    assert canary_requests(0.9, 0.87, 1.0, 0.01) < sizes[-1]  # the baseline is known by then


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ((0.9, 0.9, 0.5, 0.05), "two different shares"),
        ((1.2, 0.9, 0.5, 0.05), "between 0 and 1"),
        ((0.9, 0.8, 0.0, 0.05), "share up to 1"),
        ((0.9, 0.8, 0.5, 0.7), "alpha"),
    ],
)
def test_what_no_canary_can_be_planned_from_is_an_error_that_says_so(asked, message):
    with pytest.raises(ValueError, match=message):
        canary_requests(*asked)


def back(rng, plan, canary, n_runs, readings):
    """How often each of n_runs canaries is sent back at any reading of any step by any metric."""
    ended = np.zeros(n_runs, dtype=bool)
    for row in plan.to_dict("records"):
        share, n = row["traffic_share"], row["requests"]
        for metric, side in canary_metrics()[["metric", "worse"]].itertuples(index=False):
            p0 = BASELINES[metric]
            weights = evidence_weights(p0, p0 + (-0.03 if side == "lower" else 0.03), share)
            found = read(rng, weights, share, n, canary[metric], p0, n_runs, readings)
            ended |= (found >= 1 / row["alpha"]).any(axis=0)
    return ended.mean()


@pytest.mark.parametrize("readings", [1, 10])
def test_an_equally_good_route_is_seldom_sent_back_and_a_worse_one_nearly_always(readings):
    plan = canary_plan(50_000, 0.03, BASELINES)
    rng = np.random.default_rng(7)
    assert back(rng, plan, BASELINES, 20_000, readings) <= FALSE_ALARM_SHARE
    for metric, moved in (("acceptance", -0.03), ("errors", 0.03), ("slow_first_token", 0.03)):
        worse = BASELINES | {metric: BASELINES[metric] + moved}
        # each step sees it with the power stated, and it has five of them
        assert back(rng, plan, worse, 5_000, readings) > POWER


def test_the_steps_sum_their_days_and_last_long_enough_for_their_requests():
    per_day = 4_000
    plan = canary_plan(per_day, 0.03, BASELINES)
    assert plan["traffic_share"].tolist() == canary_steps()["share"].tolist()
    assert (plan["days"] * per_day * plan["traffic_share"] >= plan["requests"]).all()
    assert ((plan["days"] - 1) * per_day * plan["traffic_share"] < plan["requests"]).all()
    assert plan["days_so_far"].tolist() == plan["days"].cumsum().tolist()
    needs = plan[[f"{metric}_requests" for metric in BASELINES]]
    assert (plan["requests"] == needs.max(axis=1)).all()
    named = [row[f"{row['needs_most']}_requests"] for row in plan.to_dict("records")]
    assert named == plan["requests"].tolist()
    assert (plan["alpha"] * len(plan) * len(BASELINES)).to_numpy() == pytest.approx(
        FALSE_ALARM_SHARE
    )


def test_a_tighter_margin_and_a_thinner_stream_take_longer():
    days = [
        canary_plan(per_day, margin, BASELINES)["days"].sum()
        for per_day, margin in ((50_000, 0.03), (50_000, 0.01), (5_000, 0.01))
    ]
    assert days[0] < days[1] < days[2]


def test_a_canary_without_traffic_or_baseline_is_refused():
    with pytest.raises(ValueError, match="needs traffic"):
        canary_plan(0, 0.03, BASELINES)
    with pytest.raises(ValueError, match="no baseline for errors"):
        canary_plan(100, 0.03, {k: v for k, v in BASELINES.items() if k != "errors"})


def test_what_cannot_get_worse_asks_for_no_requests():
    lost = canary_plan(50_000, 0.03, BASELINES | {"acceptance": 0.0, "errors": 1.0})
    assert set(lost["acceptance_requests"]) == set(lost["errors_requests"]) == {0}
    kept = canary_plan(50_000, 0.03, BASELINES)
    assert lost["requests"].tolist() == kept["slow_first_token_requests"].tolist()
    with pytest.raises(ValueError, match="no metric could get worse"):
        canary_plan(100, 0.03, {"acceptance": 0.0, "errors": 1.0, "slow_first_token": 1.0})


# ---- gates


def fact(state):
    return Judged(state, Fact(1.0, "things", "measured", "", f"it is {state}"), 1.0)


def facts(own=None, **changed):
    """Facts of every gate, all passed but those changed. own: of workloads, by rests_on."""
    table = pd.read_csv(paths.data("phase_gates.csv"))
    known = {}
    for rests_on, scope in table[["rests_on", "scope"]].itertuples(index=False):
        state = changed.get(rests_on.replace("-", "_"), "passed")
        known[rests_on] = {ALL: fact(state)} if scope == "study" else {}
    return known | (own or {})


def of_workload(saving, fired, quality):
    return {
        "saving": {"chat": fact(saving)},
        "G1-G6": {"chat": fact(fired)},
        "quality": {"chat": fact(quality)},
    }


STATES = ("passed", "open", "unknown", "failed")


def test_a_phase_is_entered_on_one_reason_to_move_and_on_quality_by_the_truth_table():
    for saving, fired, quality in product(STATES, repeat=3):
        found = gates(PLAN, facts(of_workload(saving, fired, quality)))
        reason = min(saving, fired, key=STATES.index)
        expected = max(reason, quality, key=STATES.index)
        assert passage(found, 3, "entry") == expected


def test_one_ready_workload_opens_the_phase_and_a_gate_of_the_study_shuts_it():
    ready = of_workload("passed", "open", "passed")
    for row in ready.values():
        row["search"] = fact("failed")
    assert passage(gates(PLAN, facts(ready)), 3, "entry") == "passed"
    assert passage(gates(PLAN, facts()), 3, "entry") == "open"  # nobody is named who could move
    assert passage(gates(PLAN, facts(G3="failed")), 1, "exit") == "failed"
    assert passage(gates(PLAN, facts(log="open")), 1, "exit") == "open"
    assert passage(gates(PLAN, facts()), 1, "exit") == "passed"


def test_a_gate_of_which_nothing_is_said_is_an_error_that_names_it():
    known = facts()
    del known["golden_set"]
    with pytest.raises(ValueError, match=r"golden set scored.*golden_set"):
        gates(PLAN, known)


def test_gates_are_due_within_their_phase_or_after_it_for_what_looks_back():
    found = gates(PLAN, facts(of_workload("open", "open", "open")))
    plan = phases(START, [], []).set_index("phase")
    dated = found[~found["rests_on"].isin(["ab_test", "revisit"])]
    for row in dated.to_dict("records"):
        own = plan.loc[row["phase"]]
        assert row["due"] == (own["start"] if row["at"] == "entry" else own["end"])
    late = found.set_index("rests_on")["due"]
    assert late["revisit"] == START + timedelta(weeks=26)  # V2: every 3-6 months
    assert late["ab_test"] > plan.loc[3, "end"]


@given(st.lists(st.sampled_from(STATES), min_size=1))
def test_one_of_several_and_all_of_several_are_opposite_ends_of_one_order(states):
    assert best(states) == STATES[min(STATES.index(s) for s in states)]
    assert worst(states) == STATES[max(STATES.index(s) for s in states)]


# ---- work


def priced_plan(cost=(60_000.0, 30_000.0, 120_000.0)):
    plan = phases(START, ["chat"], []).assign(cost_usd=0.0, cost_low_usd=0.0, cost_high_usd=0.0)
    plan["note"] = None
    ends = ["cost_usd", "cost_low_usd", "cost_high_usd"]
    plan.loc[plan["phase"] == 2, ends] = cost
    return plan


def test_the_items_of_a_phase_sum_to_its_figure():
    golden = [ItemCost("chat", 12_000.0, 4_000.0, 30_000.0, "2,000 items")]
    found = items(priced_plan(), {"golden_set": golden})
    own = found[found["phase"] == 2]
    assert own["cost_usd"].sum() == 60_000
    assert own["cost_low_usd"].sum() == 30_000
    assert own["cost_high_usd"].sum() == 120_000
    assert own["note"].isna().all()
    assert found[found["phase"] == 1]["cost_usd"].isna().all()  # nothing to split


def test_what_a_figure_leaves_lies_within_its_range_whatever_the_items_cost():
    """Items that vary more than the figure leave least of it at its high end."""
    golden = [ItemCost("chat", 50_000.0, 5_000.0, 115_000.0, "8,333 items")]
    found = items(priced_plan(), {"golden_set": golden}).query("phase == 2")
    [rest] = found[found["rests_on"] == "what the phase's figure leaves"].to_dict("records")
    ends = [rest[f"cost_{end}usd"] for end in ("low_", "", "high_")]
    assert ends == [5_000, 10_000, 25_000]  # of 120,000 - 115,000, 60,000 - 50,000, 30,000 - 5,000
    assert found["cost_usd"].sum() == 60_000


def test_items_that_cost_more_than_their_phase_are_said_to():
    golden = [ItemCost("chat", 90_000.0, 30_000.0, 200_000.0, "15,000 items")]
    own = items(priced_plan(), {"golden_set": golden}).query("phase == 2")
    assert own["cost_usd"].sum() == 90_000
    assert own["note"].dropna().tolist() == ["the items cost more than the phase's figure"]


def test_work_lies_within_its_phase_but_for_what_is_looked_at_later():
    found = items(priced_plan(), {})
    plan = phases(START, [], []).set_index("phase")
    for row in found[~found["item"].str.startswith("A/B")].to_dict("records"):
        own = plan.loc[row["phase"]]
        assert own["start"] <= row["start"] < row["end"] <= own["end"]


def test_a_phase_lasts_as_long_as_what_there_is_to_do_in_it():
    soon = Window(date(2027, 1, 15), date(2027, 2, 5), date(2027, 3, 1))
    late = Window(date(2027, 1, 15), date(2027, 5, 28), date(2027, 7, 1))
    plan = phases(START, ["chat"], ["tags"], {"chat": soon, "tags": late}).set_index("phase")
    assert list(plan["start"]) == [START, date(2027, 1, 15), date(2027, 2, 5)]
    assert list(plan["end"]) == [date(2027, 1, 15), date(2027, 5, 28), date(2027, 7, 15)]
    alone = phases(START, [], ["tags"], {"tags": soon}).set_index("phase")
    assert alone.loc[2, "end"] == alone.loc[3, "start"] == date(2027, 2, 5)
    due = gates(alone.reset_index(), facts(of_workload("open", "open", "open")))
    assert set(due[(due["phase"] == 2) & (due["at"] == "exit")]["due"]) == {date(2027, 2, 5)}
    assert due.set_index("rests_on")["due"]["revisit"] == START + timedelta(weeks=26)


def test_a_phase_without_anything_to_do_has_no_work_but_for_what_has_fired():
    plan = priced_plan(cost=(0.0, 0.0, 0.0))
    plan["note"] = [None, "nothing to evaluate until a trigger fires", None]
    found = items(plan, {})
    assert set(found["phase"]) == {1, 3}


# ---- what moves first


def workload(name="a", **changed):
    about = {
        "workload": name,
        "task": "extraction",
        "complexity": "low",
        "data_class": "enterprise",
        "on_api": True,
        "barred": False,
        "long_context": False,
        "requests_per_month": 2e6,
        "crossover_requests": 1e6,
        "target": "open-70b",
        "saving_p50_usd": 1e5,
        "p_cheaper": 0.9,
        "proven": True,
        "quality": "non-inferior",
        "latency": "meets",
        "exposed": False,
        "unknowns": 0,
    }
    assert set(changed) <= set(about)
    return about | changed


@pytest.mark.parametrize(
    ("changed", "v3", "because"),
    [
        ({}, "moves", "2.0M requests a month, 2 times the crossover"),
        ({"requests_per_month": 5e5}, "open", "but only 500k requests a month, 0.50 times"),
        ({"crossover_requests": None}, "open", "at no volume is an open model cheaper"),
        ({"task": "chat"}, "open", "neither simple nor complex"),
        ({"complexity": "high"}, "stays", "complex"),
        ({"task": "reasoning"}, "stays", "complex"),
        ({"long_context": True}, "stays", "long context"),
        ({"on_api": False, "crossover_requests": None}, "open", "off the proprietary API already"),
        ({"data_class": "phi", "complexity": "high"}, "moves", "privacy-sensitive: phi"),
        ({"data_class": "phi", "on_api": False}, "open", "off the proprietary API already"),
        ({"barred": True, "long_context": True}, "moves", "may not see its data"),
    ],
)
def test_the_class_is_the_source_memos_and_privacy_goes_first(changed, v3, because):
    (row,) = first_moves(pd.DataFrame([workload(**changed)])).to_dict("records")
    assert row["v3"] == v3
    assert because in row["because"]


def test_each_risk_counts_once():
    sure = first_moves(pd.DataFrame([workload()])).iloc[0]
    assert (sure["risk_count"], sure["risks"]) == (0, "none seen")
    risky = workload(proven=False, latency="undecided", unknowns=2, exposed=True)
    found = first_moves(pd.DataFrame([risky])).iloc[0]
    assert found["risk_count"] == 4 == len(found["risks"].split("; "))
    assert "2 intake questions open" in found["risks"]


values = st.tuples(st.integers(-3, 3), st.integers(0, 3), st.integers(0, 2))


@settings(max_examples=60, deadline=None)
@given(st.lists(values, min_size=1, max_size=6))
def test_nobody_stands_before_one_that_is_better_on_every_count(points):
    rows = [
        workload(
            str(i), saving_p50_usd=float(s), p_cheaper=p / 3, unknowns=int(r > 0), proven=r < 2
        )
        for i, (s, p, r) in enumerate(points)
    ]
    found = first_moves(pd.DataFrame(rows))
    key = [
        (row["saving_p50_usd"], row["p_cheaper"], -row["risk_count"])
        for row in found.to_dict("records")
    ]
    for i, j in product(range(len(key)), repeat=2):
        better = key[i] != key[j] and all(a >= b for a, b in zip(key[i], key[j], strict=True))
        if better:
            assert i < j
            assert found["front"][i] < found["front"][j]
    assert found["rank"].tolist() == list(range(1, len(points) + 1))
    for i, own in enumerate(key):  # whom nobody beats stands in the first front
        beaten = any(
            other != own and all(a >= b for a, b in zip(other, own, strict=True)) for other in key
        )
        assert (found["front"][i] == 1) == (not beaten)


def test_classes_come_in_order_whatever_they_save():
    rows = [
        workload("think", complexity="high", saving_p50_usd=9e9),
        workload("talk", task="chat", saving_p50_usd=1e6),
        workload("tag"),
    ]
    assert first_moves(pd.DataFrame(rows))["workload"].tolist() == ["tag", "talk", "think"]

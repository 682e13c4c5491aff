"""The day on which a move may begin, worked out by hand, and what it is worth to begin earlier."""

from dataclasses import replace
from datetime import date, timedelta
from math import ceil

import numpy as np
import pandas as pd
import pytest

from llmstudy import simulate
from llmstudy.chapters.decision import capped_costs
from llmstudy.chapters.quality import quality_tables
from llmstudy.decide.canary import fitting
from llmstudy.decide.dates import move_dates
from llmstudy.evidence.case import open_case, rows_of
from llmstudy.io import plain
from llmstudy.simulate.futures import futures_of_routes, portfolio_saving
from llmstudy.simulate.inputs import draws_with_paths, market, pair_inputs
from llmstudy.study import bundled_figures, load
from llmstudy.units import month_start, months_until

OWN, HOSTED, LUNA = "h200-llama-3.1-70b", "novita-llama-3.1-70b", "openai-gpt-6-luna"


@pytest.fixture(scope="module")
def case():
    return open_case(load("params/default.yaml"))


@pytest.fixture(scope="module")
def quality(case):
    return plain(quality_tables(case))


@pytest.fixture(scope="module")
def offers(reference, quality):
    return market(reference["02_cost"], reference["05_self_hosting"], quality)


def with_workload(case, name, **changes):
    """The case with one workload changed."""
    study = case.study
    workload = study.workloads[name].model_copy(update=changes)
    return replace(
        case, study=study.model_copy(update={"workloads": {**study.workloads, name: workload}})
    )


def begins(case, rows, name, route):
    return rows_of(move_dates(case, rows), workload=name, route=route)[0]["begins"]


def test_a_move_waits_for_the_decision_the_gateway_and_the_items_that_prove_it(case, quality):
    row = rows_of(quality["quality"], workload="extraction", route=LUNA)[0]
    about = rows_of(quality["dates"], workload="extraction", route=LUNA)[0]
    # 2,000 tokens of prompt, a fifth read before, and two answers of 250; 4 minutes to judge
    minutes = (2_000 * 0.8 + 2 * 250) / 317 + 4
    weeks = ceil(row["n_needed"] * minutes / 60 / 20)  # 20 hours a week, whole weeks
    assert case.study.decide_by == date(2026, 12, 18)
    assert about["begins"] == str(date(2027, 1, 15) + timedelta(weeks=weeks))
    behind = case.study.workloads["extraction"].portability.model_copy(
        update={"behind_gateway": "yes"}
    )
    there = with_workload(case, "extraction", portability=behind)
    assert begins(there, quality["quality"], "extraction", LUNA) == (
        date(2026, 12, 18) + timedelta(weeks=weeks)
    )


def test_a_quality_that_is_proven_asks_for_no_items_and_own_ones_count(case, quality):
    row = rows_of(quality["quality"], workload="extraction", route=LUNA)[0]
    proven = row | {"verdict": "non-inferior", "grade": "measured", "n": 900}
    assert begins(case, [proven], "extraction", LUNA) == date(2027, 1, 15)
    halfway = row | {"verdict": "undecided", "grade": "measured", "n": row["n_needed"] - 150}
    assert begins(case, [halfway], "extraction", LUNA) == date(2027, 1, 29)


def test_data_that_todays_route_may_not_see_wait_for_nothing():
    case = open_case(load("params/regulated.yaml"))
    rows = plain(quality_tables(case))["dates"]
    (row,) = rows_of(rows, workload="patient-messages", route="azure-gpt-4o")
    assert (row["begins"], row["start_months"], row["canary_days"]) == (
        str(case.study.as_of),
        0.0,
        0,
    )


def test_a_canary_too_slow_for_the_longest_begins_at_a_larger_share_or_at_full_traffic():
    plan = pd.DataFrame({"traffic_share": [0.01, 0.05, 0.5, 1.0], "days": [60, 12, 40, 30]})
    assert fitting(plan, 200)["days"].sum() == 142
    assert fitting(plan, 82)["traffic_share"].tolist() == [0.05, 0.5, 1.0]
    assert fitting(plan, 10)["traffic_share"].tolist() == [1.0]
    assert bundled_figures()["plan.canary_days"].value == 70


@pytest.mark.parametrize("as_of", [date(2026, 11, 23), date(2026, 1, 31), date(2027, 12, 1)])
def test_months_until_a_day_are_whole_at_each_month_and_climb_with_the_days(as_of):
    for months in (0, 1, 5, 24):
        assert months_until(as_of, month_start(as_of, months)) == pytest.approx(months)
    days = [months_until(as_of, as_of + timedelta(days=n)) for n in range(400)]
    assert (np.diff(days) > 0).all()
    assert np.diff(days) == pytest.approx(1 / 30.4, rel=0.1)
    assert months_until(as_of, as_of - timedelta(days=40)) == 0.0


# ---- what a date does to a saving


@pytest.mark.parametrize("route", [HOSTED, OWN])
@pytest.mark.parametrize("start", [0, 4, 11])
def test_a_move_begun_at_a_month_saves_what_the_cost_of_beginning_then_leaves(
    case, offers, route, start
):
    at = replace(offers, starts={("extraction", route): (float(start), 0.5)})
    future = futures_of_routes(case.study, at, "extraction", [route], 24, 300)[route]
    costs = future.switch_costs()
    assert future.saving_by_month()[:, -1] == pytest.approx(costs[:, -1] - costs[:, start])


def test_a_move_after_the_horizon_costs_and_saves_nothing(case, offers):
    at = replace(offers, starts={("extraction", OWN): (24.5, 0.5)})
    assert (portfolio_saving(case.study, at, {"extraction": OWN}) == 0).all()


@pytest.mark.parametrize(("start", "canary"), [(0.0, 0.0), (3.25, 0.7), (9.0, 2.0)])
@pytest.mark.parametrize("route", [HOSTED, OWN])
def test_the_model_of_the_sensitivity_begins_on_the_same_day(case, offers, route, start, canary):
    study, at = case.study, replace(offers, starts={("extraction", route): (start, canary)})
    d = draws_with_paths(study, "extraction", pair_inputs(study, at, "extraction", route))
    current, offer = (at.offer("extraction", r) for r in ("openai-gpt-4o", route))
    wanted = simulate.move_saving(current, offer, study.months)(d)
    assert portfolio_saving(study, at, {"extraction": route}) == pytest.approx(wanted)


def test_what_an_earlier_date_buys_is_the_saving_of_the_months_between(case, offers):
    """On flat bills: months between times what a month saves."""
    future = futures_of_routes(case.study, offers, "extraction", [LUNA], 24, 50)[LUNA]
    even = np.ones((50, 24))
    future = replace(
        future,
        stay_usd=900 * even,
        go_usd=400 * even,
        dual_months=np.zeros(50),
        discount_rate=np.zeros(1),
    )
    later, now = (replace(future, start_months=m).saving_by_month()[:, -1] for m in (5.5, 0.0))
    assert now - later == pytest.approx(5.5 * 500)


def test_the_results_state_both_the_plans_date_and_today(assessed):
    decided = assessed("default").results["07_triggers_and_routing"]
    on_plan, now = decided["at_stake"], decided["at_stake_if_now"]
    assert 0 < on_plan["p50"] < now["p50"]


# ---- a plan costs no more than it is worth


UPKEEP_USD = 10e3  # our own work, which is on no bill


def held(case, bills_usd, at_stake_p90=None, costs=((40e3, 20e3, 80e3), (60e3, 30e3, 120e3))):
    """Costs of the two phases before a move, and why they were held down."""
    month = {"today_by_workload": dict.fromkeys(case.study.workloads, 1.0)}
    month["horizon"] = {"p50": bills_usd + UPKEEP_USD}
    parts = [{"part": "today", "usd": bills_usd}, {"part": "upkeep", "usd": UPKEEP_USD}]
    results = {"06_crossover": {"month_usd": month, "stay_parts": parts}}
    stake = None if at_stake_p90 is None else {"p90": at_stake_p90}
    return capped_costs(
        np.array(costs), case.study, results, {"saving": {"p90": -9e3}, "at_stake": stake}
    )


def test_a_programme_dearer_than_all_bills_is_not_worth_it(case):
    found, notes = held(case, bills_usd=24 * 229.0)
    assert (found == 0).all()
    assert all("all bills of the horizon are USD 5.5k" in note for note in notes)


def test_the_phases_before_a_move_cost_no_more_than_may_be_gained(case):
    found, notes = held(case, bills_usd=1e6, at_stake_p90=75e3)
    assert found[:, 0].sum() == 75e3
    assert (found.max(axis=1) <= [75e3, 35e3]).all()
    assert (found[:, 1] <= found[:, 0]).all()
    assert (found[:, 0] <= found[:, 2]).all()
    assert all("USD 75k" in note for note in notes)


def test_a_programme_that_is_worth_it_keeps_its_figures(case):
    found, notes = held(case, bills_usd=1e6, at_stake_p90=8e5)
    assert found.tolist() == [[40e3, 20e3, 80e3], [60e3, 30e3, 120e3]]
    assert notes == [None, None]
    assert held(case, bills_usd=1e6)[1] == [None, None]  # nothing at stake caps nothing


# ---- a contract that has ended


def test_what_may_not_be_sent_stops_today_before_anything_is_decided(assessed):
    one = assessed("regulated")
    study, first = one.case.study, one.results["07_triggers_and_routing"]["plan_items"][0]
    assert first["item"] == "stop sending patient-messages to openai-gpt-4o today"
    assert first["start"] == first["end"] == study.as_of.isoformat() < study.decide_by.isoformat()
    assert (first["owner"], first["phase"]) == ("security officer", 1)
    assert first["note"] == "phi data need BAA in force on 2026-11-23; BAA ended on 2026-10-31"
    for name in ("default", "hyperscale"):
        items = assessed(name).results["07_triggers_and_routing"]["plan_items"]
        assert not any(row["item"].startswith("stop sending") for row in items)

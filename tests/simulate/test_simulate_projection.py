"""Projections and chances by month, against a loop over months and against each other."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from llmstudy import simulate
from llmstudy.simulate import projection
from llmstudy.simulate.futures import Futures
from llmstudy.simulate.inputs import (
    N_DRAWS,
    Market,
    draws_of,
    pair_inputs,
    paths_of,
    staff_draws,
)

FLEET, HOSTED = "h200-llama-3.1-70b", "novita-llama-3.1-70b"


@pytest.fixture(scope="module")
def default(assessed):
    return assessed("default")


def moves(study, offers, *pairs, buyer="named_model"):
    candidates = pd.DataFrame(pairs, columns=["workload", "route"])
    return projection.move_futures(study, offers, candidates, buyer)


def bills_by_hand(study, offers, name, route, months):
    """Cumulative cost of moving and of staying, added up month by month. (n, months) usd each."""
    current = offers.offer(name, study.workloads[name].current_route)
    challenger = offers.offer(name, route)
    d = {**draws_of(pair_inputs(study, offers, name, route), N_DRAWS, study.seed)}
    d |= paths_of(study, name, N_DRAWS)
    requests = np.column_stack(
        [
            d["requests"] * (1 + d["growth"]) ** month * d["path_requests"][:, month]
            for month in range(months)
        ]
    )
    stay = simulate.month_usd(current, simulate.of_today(d), requests, months)
    go = simulate.month_usd(challenger, d, requests, months)
    team = staff_draws(study) if study.routes[route].arm == "self_hosted" else np.zeros(N_DRAWS)
    moved, stayed = d["moving_cost"].copy(), np.zeros(N_DRAWS)
    of_move, of_stay = [], []
    for month in range(months):
        share = np.minimum(1, np.maximum(0, month + 1 - d["ramp"]))
        moved += share * go[:, month] + (1 - share) * stay[:, month] + team
        at_cutover = np.ceil(d["ramp"]) == month
        moved += np.where(at_cutover, d["dual_running"] * go[:, month], 0)
        stayed += stay[:, month]
        of_move.append(moved.copy())
        of_stay.append(stayed.copy())
    return np.column_stack(of_move), np.column_stack(of_stay)


@pytest.mark.parametrize("route", [FLEET, HOSTED])
def test_the_projection_is_what_a_loop_over_months_adds_up_to(priced, route):
    study, offers = priced
    futures = moves(study, offers, ("extraction", route))
    savings = projection.savings_table(study, futures)
    rows = pd.DataFrame(projection.projection(study, futures, savings))
    moved, stayed = bills_by_hand(study, offers, "extraction", route, study.months)
    assert sorted(rows["months"].unique()) == [6, 12, 24]
    for row in rows.to_dict("records"):
        cumulative = stayed if row["arm"] == "stay" else moved
        expected = np.quantile(cumulative[:, row["months"] - 1], [0.1, 0.5, 0.9])
        assert [row["p10_usd"], row["p50_usd"], row["p90_usd"]] == pytest.approx(expected)


def test_a_horizon_between_the_readings_is_read_at_its_end(priced):
    study, offers = priced
    shorter = study.model_copy(update={"horizon": replace(study.horizon, value=18.0)})
    assert shorter.months == 18
    futures = moves(shorter, offers, ("extraction", HOSTED))
    savings = projection.savings_table(shorter, futures)
    rows = projection.projection(shorter, futures, savings)
    assert sorted({row["months"] for row in rows}) == [6, 12, 18]


def test_an_arm_is_its_move_that_saves_most(default):
    savings = pd.DataFrame(default.results["06_crossover"]["savings"])
    rows = pd.DataFrame(default.results["06_crossover"]["projection"])
    for (name, arm), of_arm in rows[rows["arm"] != "stay"].groupby(["workload", "arm"]):
        same = savings[(savings["workload"] == name) & (savings["arm"] == arm)]
        assert set(of_arm["route"]) == {same.loc[same["saving_p50_usd"].idxmax(), "route"]}
    assert set(rows["workload"]) == set(savings["workload"])
    assert len(rows.groupby(["workload", "arm", "months"])) == len(rows)


def test_by_the_last_month_a_move_has_paid_as_surely_as_it_is_cheaper(default):
    rows = pd.DataFrame(default.results["06_crossover"]["by_month"])
    savings = default.results["06_crossover"]["savings"]
    assert len(savings) == rows.groupby(["workload", "route"]).ngroups > 0
    for row in savings:
        own = rows[(rows["workload"] == row["workload"]) & (rows["route"] == row["route"])]
        assert own["month"].tolist() == list(range(1, 25))
        assert own["p_cheaper"].iloc[-1] == row["p_cheaper"]


def held(figure, value):
    return replace(figure, value=value, low=value, high=value, distribution="fixed")


def test_where_prices_stand_still_both_buyers_are_one(priced):
    study, offers = priced
    paths, drift = study.price_paths, study.price_drift
    still = paths.model_copy(
        update={
            "same_quality": held(paths.same_quality, 1.0),
            "switches": held(paths.switches, 0.0),
            "jumps": held(paths.jumps, 0.0),
        }
    )
    no_drift = drift.model_copy(update={"proprietary_api": held(drift.proprietary_api, 1.0)})
    calm = study.model_copy(update={"price_paths": still, "price_drift": no_drift})
    pairs = [("extraction", FLEET), ("extraction", HOSTED), ("support-chat", HOSTED)]
    named, wary = moves(calm, offers, *pairs), moves(calm, offers, *pairs, buyer="same_quality")
    rows = projection.by_buyer(calm, named, wary)
    assert len(rows) == 3
    for row in rows:
        assert row["p_cheaper_same_quality"] == row["p_cheaper_named"]
        assert row["saving_same_quality_usd"] == pytest.approx(row["saving_named_usd"])
    named, wary = moves(study, offers, *pairs), moves(study, offers, *pairs, buyer="same_quality")
    rows = projection.by_buyer(study, named, wary)
    assert all(row["saving_same_quality_usd"] < row["saving_named_usd"] for row in rows)


def test_only_who_is_on_a_proprietary_api_has_two_ways_to_stay(priced):
    study, offers = priced
    named = moves(study, offers, ("extraction", FLEET), ("support-chat", HOSTED))
    open_ = study.workloads["extraction"].model_copy(update={"current_route": HOSTED})
    hosted = study.model_copy(update={"workloads": {**study.workloads, "extraction": open_}})
    assert {row["workload"] for row in projection.by_buyer(study, named, named)} == {
        "extraction",
        "support-chat",
    }
    assert [row["workload"] for row in projection.by_buyer(hosted, named, named)] == [
        "support-chat"
    ]


def small_future(team_usd):
    """Three draws of four months: pays at once, pays in the fourth month, never pays."""
    stay, nothing = np.full((3, 4), 10.0), np.zeros(3)
    return Futures(
        stay_usd=stay,
        go_usd=np.array([[7.0, 7, 7, 7], [16, 16, 2, 2], [9, 9, 11, 11]]),
        requests=stay,
        tokens=stay,
        price=stay,
        once_usd=np.array([2.0, 3, 4]),
        ramp_months=nothing,
        dual_months=nothing,
        team_usd=np.array(team_usd),
        team=1,
        reserved=(),
    )


def test_the_table_of_savings_is_what_three_small_futures_add_up_to(priced):
    study, _ = priced
    futures = {("extraction", FLEET): small_future([0.0, 0, 0])}
    row = projection.savings_table(study, futures).iloc[0]
    assert row["saving_p50_usd"] == 1.0  # savings of 12 - 2, 4 - 3 and 0 - 4
    assert row["saving_p90_usd"] == pytest.approx(np.quantile([10, 1, -4], 0.9))
    assert row["p_cheaper"] == pytest.approx(2 / 3)
    assert (row["pays_from_month_p10"], row["pays_from_month_p50"]) == (1.0, 4.0)
    assert row["pays_from_month_p90"] is None or np.isnan(row["pays_from_month_p90"])
    assert row["p_never_pays"] == pytest.approx(1 / 3)
    months = projection.cheaper_by_month(study, futures)
    assert [r["p_cheaper"] for r in months] == pytest.approx([1 / 3, 1 / 3, 1 / 3, 2 / 3])


def test_a_team_that_others_pay_for_is_the_difference_between_the_two_chances(priced):
    study, _ = priced
    futures = {("extraction", FLEET): small_future([0.0, 2, 0])}
    row = projection.savings_table(study, futures).iloc[0]
    assert row["p_cheaper"] == pytest.approx(1 / 3)  # the second draw now loses 1 - 4 * 2
    assert row["p_cheaper_team_there"] == pytest.approx(2 / 3)


def test_what_cannot_be_priced_has_no_future(priced):
    study, offers = priced
    pairs = [("extraction", FLEET), ("extraction", HOSTED)]
    without_fleet = Market(offers.tokens, {})
    assert list(moves(study, without_fleet, *pairs)) == [("extraction", HOSTED)]
    today = ("extraction", study.workloads["extraction"].current_route)
    blind = Market({k: v for k, v in offers.tokens.items() if k != today}, offers.fleets)
    assert moves(study, blind, *pairs) == {}


def test_without_moves_the_tables_are_empty_and_keep_their_columns(priced):
    study, _ = priced
    savings = projection.savings_table(study, {})
    assert {"workload", "route", "saving_p50_usd", "p_never_pays"} <= set(savings.columns)
    assert projection.projection(study, {}, savings) == []
    assert projection.cheaper_by_month(study, {}) == []
    assert projection.by_buyer(study, {}, {}) == []

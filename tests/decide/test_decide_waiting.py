"""The rules on trial and the value of waiting, against brute force on a handful of paths."""

import json
from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest

from llmstudy.decide import waiting as decide_waiting
from llmstudy.decide.triggers import rules as trigger_rules
from llmstudy.io import plain
from llmstudy.measures import cost
from llmstudy.simulate.futures import Futures, Reserved, futures_of_moves
from llmstudy.simulate.projection import best_fleet_moves

DECISION = "07_triggers_and_routing"
FLEETS = {"support-chat": "h200-llama-3.1-70b", "extraction": "h200-llama-3.1-70b"}


@pytest.fixture(scope="module")
def default(assessed):
    return assessed("default")


@pytest.fixture(scope="module")
def future(priced):
    study, offers = priced
    return futures_of_moves(study, offers, FLEETS, decide_waiting.FEWEST_MONTHS, 1000)


@pytest.fixture(scope="module")
def signals(default):
    rows = default.results[DECISION]["triggers"]
    return decide_waiting.todays_signals([row for row in rows if row["workload"] in FLEETS], ())


def calm(signals):
    """Today's signals where nothing that no bill tells has happened."""
    return dict.fromkeys(signals, 0.0)


def small_future(stay, go, **changed):
    """A future whose bills are given, with nothing to pay beside them. (n, months) usd each."""
    stay, go = np.asarray(stay, dtype=float), np.asarray(go, dtype=float)
    nothing = np.zeros(len(stay))
    made = Futures(
        stay_usd=stay,
        go_usd=go,
        requests=stay,
        tokens=1000 * stay,
        price=np.ones_like(stay),
        once_usd=nothing,
        ramp_months=nothing,
        dual_months=nothing,
        team_usd=nothing,
        team=1,
        reserved=(),
    )
    return replace(made, **changed)


# ---- what is known


def test_a_month_begins_with_what_the_month_before_told():
    path = np.arange(1.0, 13.0).reshape(2, 6)
    for month in range(1, 6):
        assert (decide_waiting.month_before(path)[:, month] == path[:, month - 1]).all()
    assert decide_waiting.month_before(path).shape == path.shape


@pytest.mark.parametrize("month", [1, 6, 17, 35])
def test_no_signal_of_a_month_is_told_by_that_month_or_a_later_one(priced, future, month):
    study, _ = priced
    rng = np.random.default_rng(1)

    def shaken(path):
        other = path.copy()
        other[:, month:] *= rng.uniform(0.2, 5, other[:, month:].shape)
        return other

    paths = ("stay_usd", "go_usd", "requests", "tokens", "price")
    other = replace(future, **{key: shaken(getattr(future, key)) for key in paths})
    before, after = (decide_waiting._money_signals(study, f) for f in (future, other))
    assert len(before) == 7
    for name in before:
        assert (before[name][:, : month + 1] == after[name][:, : month + 1]).all(), name
        if month < 35:
            assert (before[name][:, month + 1] != after[name][:, month + 1]).any(), name


@pytest.mark.parametrize("month", [4, 20])
def test_no_rule_decides_by_what_is_still_to_come(priced, future, signals, month):
    study, _ = priced
    rng = np.random.default_rng(2)

    def months_of(found):
        held = {k: np.full(found.stay_usd.shape, v) for k, v in calm(signals).items()}
        known = held | decide_waiting._money_signals(study, found)
        return trigger_rules.decide(trigger_rules.advisor_rules(), known)

    paths = ("stay_usd", "go_usd", "requests", "tokens", "price")
    changed = {}
    for key in paths:
        changed[key] = getattr(future, key).copy()
        changed[key][:, month:] *= rng.uniform(0.1, 10, changed[key][:, month:].shape)
    before, after = months_of(future), months_of(replace(future, **changed))
    assert any((before[rule] != after[rule]).any() for rule in before)
    for rule in before:
        early = (before[rule] <= month) | (after[rule] <= month)
        assert (before[rule][early] == after[rule][early]).all(), rule


@pytest.mark.parametrize("growth", [0.0, 0.04, -0.02])
def test_a_forecast_of_steady_growth_compounds_it(priced, growth):
    study, _ = priced
    path = 5e8 * (1 + growth) ** np.arange(24.0)[None, :]
    told = decide_waiting._forecast(study, decide_waiting.month_before(path))
    for month in range(3, 24):
        assert told[0, month] == pytest.approx(path[0, month - 1] * (1 + growth) ** 12), month


def test_a_forecast_without_a_past_takes_the_growth_of_the_study(priced):
    study, _ = priced
    expected = 1 + np.mean([w.growth.value for w in study.workloads.values()])
    told = decide_waiting._forecast(study, decide_waiting.month_before(np.full((2, 12), 7.0)))
    assert told[:, 0] == pytest.approx(7.0 * expected**12)


def test_bills_and_volumes_are_told_in_the_units_of_the_rules(priced):
    study, _ = priced
    stay, go = np.full((2, 5), 12_000.0), np.full((2, 5), 8_000.0)
    price = np.array([[1, 1, 1.5, 1.5, 1.5]] * 2)
    team = np.array([0.0, 7_000.0])
    found = decide_waiting._money_signals(study, small_future(stay, go, price=price, team_usd=team))
    assert (found["api_usd_month"] == 12_000).all()
    assert (found["api_usd_year"] == 144_000).all()
    assert found["utilisation_over_break_even"][:, 0] == pytest.approx([12 / 8, 12 / 15])
    rise = 0.5 / study.thresholds.price_rise.value
    assert found["price_rise_over_limit"][0] == pytest.approx([0, 0, 0, rise, rise])
    wanted = {
        trigger_rules.column_of(row)
        for row in trigger_rules.conditions_of(trigger_rules.advisor_rules())
    }
    told_today = set(decide_waiting.todays_signals([], ()))
    assert wanted == (set(found) | told_today)


# ---- what is known today of what no bill tells


def fact(id_, status, value=None, threshold=None, evidence=""):
    return {
        "id": id_,
        "workload": "chat",
        "status": status,
        "value": value,
        "threshold": threshold,
        "evidence": evidence,
    }


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        (("armed", "armed"), 0.0),
        (("armed", "fired"), 1.0),
        (("unknown", "fired"), 1.0),
        (("armed", "unknown"), None),
        (("not_applicable", "armed"), 0.0),
    ],
)
def test_over_workloads_one_yes_is_enough_and_one_unknown_leaves_a_no_open(statuses, expected):
    rows = [fact("G3", status) for status in statuses]
    assert decide_waiting.todays_signals(rows, ())["compliance_block"] == expected


@pytest.mark.parametrize(("cured", "expected"), [((), 1.0), (("chat",), 0.0), (("other",), 1.0)])
def test_a_block_that_another_api_cures_calls_for_no_fleet(cured, expected):
    rows = [fact("G3", "fired"), fact("G2", "fired", 0.9, 0.5)]
    found = decide_waiting.todays_signals(rows, cured)
    assert found["compliance_block"] == expected
    assert found["ttft_p95_missed"] == 1.0


def test_a_workload_is_cured_by_a_permitted_api_that_is_long_enough_and_not_todays():
    def row(workload, arm="hosted_open", permitted=True, current=False, fits=True):
        found = {"workload": workload, "arm": arm, "permitted": permitted, "current": current}
        return {**found, "fits_context": fits}

    rows = [
        row("cured"),
        row("fleet only", arm="self_hosted"),
        row("barred", permitted=False),
        row("today's", current=True),
        row("too short", fits=False),
    ]
    assert decide_waiting.with_other_api({"06_crossover": {"permissions": rows}}) == {"cured"}


def test_signals_of_today_are_the_worst_of_the_workloads():
    rows = [
        fact("G2", "armed", 0.3, 0.5),
        fact("G2", "fired", 0.9, 0.5),
        fact("G6", "armed", 0.01, 0.02),
        fact("G6", "armed", 0.005, 0.02),
        fact("G4", "fired", 0.3, 0.2, "gpt-4o retires on 2027-01-01"),
        fact("G5", "armed"),
    ]
    found = decide_waiting.todays_signals(rows, ())
    assert found["ttft_p95_s"] == 0.9
    assert found["ttft_p95_missed"] == 1.0
    assert found["format_failure_over_limit"] == pytest.approx(0.5)
    assert found["price_rise_over_limit"] == pytest.approx(1.5)
    assert found["model_retires"] == 1.0
    assert found["quality_ceiling"] == 0.0


# ---- the rules on trial


def test_a_compliance_block_moves_at_once_whoever_heeds_it(priced, future, signals):
    study, _ = priced
    costs = future.switch_costs()
    blocked = {**calm(signals), "compliance_block": 1.0}
    quiet, _ = decide_waiting._trial(study, future, costs, calm(signals), "named_model")
    rows, _ = decide_waiting._trial(study, future, costs, blocked, "named_model")
    at_once = (costs[:, 0] - costs.min(axis=1)).mean()
    by_rule = {row["rule"]: row for row in rows}
    for rule in ("triggers", "architect", "strategist"):
        assert by_rule[rule]["switch_share"] == 1.0
        assert by_rule[rule]["regret_usd"] == pytest.approx(at_once)
    assert by_rule["challenger_low"] == next(r for r in quiet if r["rule"] == "challenger_low")
    assert next(r for r in quiet if r["rule"] == "triggers")["switch_share"] < 1.0


def month_by_hand(conditions, told, path, months):
    """The first month in which a condition of a rule is met, month by month."""
    for month in range(months):
        for row in conditions.to_dict("records"):
            series = told[trigger_rules.column_of(row)]
            value = series if np.isscalar(series) else series[path, month]
            held = row["sustained_periods"]
            assert held == 1  # as the advisors word them
            met = value > row["level"] if row["operator"] == ">" else value >= row["level"]
            if met and month >= row["not_before_month"]:
                return month
    return months


def test_the_regret_of_every_rule_is_what_brute_force_finds_on_a_handful_of_paths(
    priced, future, signals
):
    study, _ = priced
    arrays = [key for key, x in vars(future).items() if isinstance(x, np.ndarray)]
    few = replace(future, reserved=(), **{key: getattr(future, key)[:12] for key in arrays})
    costs = few.switch_costs()
    rows, _ = decide_waiting._trial(study, few, costs, calm(signals), "named_model")
    told = {**calm(signals), **decide_waiting._money_signals(study, few)}
    rules = trigger_rules.advisor_rules()
    rules = rules[rules["kind"] == "trigger"]
    by_rule = {row["rule"]: row for row in rows}
    for rule, conditions in rules.groupby("rule"):
        regret, switched = [], []
        for path in range(12):
            month = month_by_hand(conditions, told, path, decide_waiting.FEWEST_MONTHS)
            regret.append(costs[path, month] - min(costs[path]))
            switched.append(month < decide_waiting.FEWEST_MONTHS)
        assert by_rule[rule]["regret_usd"] == pytest.approx(np.mean(regret)), rule
        assert by_rule[rule]["switch_share"] == np.mean(switched), rule
    assert len({row["regret_usd"] for row in rows}) > 3


def test_the_threshold_that_is_found_is_judged_on_paths_that_it_was_not_chosen_on(default):
    regret = pd.DataFrame(default.results[DECISION]["regret"])
    for found in default.results[DECISION]["improved"]:
        rows = regret[regret["buyer"] == found["buyer"]]
        row = rows[rows["improved"]].iloc[0]
        assert row["rule"] == "improved"
        assert row["regret_usd"] == found["out_of_sample_usd"] >= found["in_sample_usd"]
        others = rows[~rows["improved"]].set_index("rule")["regret_usd"]
        assert others[found["baseline"]] == others.min()
        gain = others.min() - found["out_of_sample_usd"]
        assert found["improvement_usd"] == pytest.approx(gain, abs=1.0)
        assert len(found["levels_by_fold"]) == decide_waiting.FOLDS


def test_where_the_ratio_of_bills_tells_when_to_move_the_threshold_is_found(priced, signals):
    """Half of the paths climb past break-even for good; the others stay below it."""
    study, _ = priced
    n, months = 400, decide_waiting.FEWEST_MONTHS
    climbs = np.arange(n) % 2 == 0
    begins = np.random.default_rng(3).integers(3, 20, n)
    ratio = np.where(climbs[:, None] & (np.arange(months) >= begins[:, None]), 3.0, 0.5)
    found = small_future(10_000.0 * ratio, np.full((n, months), 10_000.0))
    _, improved = decide_waiting._trial(
        study, found, found.switch_costs(), calm(signals), "named_model"
    )
    assert improved["held_months"] == 1
    assert 0.5 < improved["level"] <= 3.0
    # one month late, since a month is known when the next begins
    assert improved["out_of_sample_usd"] == pytest.approx(climbs.mean() * 20_000.0)


# ---- waiting


def test_hindsight_beats_every_policy_and_no_policy_beats_waiting_freely_by_much(default):
    waiting = pd.DataFrame(default.results[DECISION]["waiting"])
    for _, rows in waiting.groupby("buyer"):
        cost = rows.set_index("policy")["mean_cost_usd"]
        assert cost["hindsight"] == cost.min()
        single = cost.drop(["hindsight", "6-month commitment, then free"])
        assert cost["optimal stopping"] <= 1.01 * single.min()
        assert {"commit now", "never", "3-month wait, then choose"} <= set(single.index)


def test_staying_and_moving_now_cost_what_the_trial_says_they_cost(default):
    waiting = pd.DataFrame(default.results[DECISION]["waiting"]).set_index(["buyer", "policy"])
    regret = pd.DataFrame(default.results[DECISION]["regret"]).set_index(["buyer", "rule"])
    for buyer in decide_waiting.BUYERS:
        best = waiting.loc[(buyer, "hindsight"), "mean_cost_usd"]
        for policy, rule in (("commit now", "always_now"), ("never", "never")):
            over = waiting.loc[(buyer, policy), "mean_cost_usd"] - best
            assert regret.loc[(buyer, rule), "regret_usd"] == pytest.approx(over)


def test_staying_costs_the_wary_buyer_less_and_moving_as_much(default):
    waiting = pd.DataFrame(default.results[DECISION]["waiting"]).set_index(["policy", "buyer"])
    cost = waiting["mean_cost_usd"]
    assert cost["never", "same_quality"] < cost["never", "named_model"]
    assert set(waiting.index.get_level_values("buyer")) == set(decide_waiting.BUYERS)


def test_a_short_commitment_that_is_never_left_costs_what_moving_now_on_demand_costs(
    priced, future
):
    study, _ = priced
    bare = replace(future, reserved=())
    leaving = decide_waiting._leaving(study, FLEETS, bare)
    assert leaving[:, -1] == pytest.approx(bare.switch_costs()[:, 0])


def test_trying_a_fleet_begins_today_whatever_day_the_plan_gives_the_move(priced):
    study, offers = priced
    now = futures_of_moves(study, offers, FLEETS, decide_waiting.FEWEST_MONTHS, 50)
    later = replace(now, start_months=7.5)
    assert (
        decide_waiting._leaving(study, FLEETS, later) == decide_waiting._leaving(study, FLEETS, now)
    ).all()


def test_leaving_again_costs_the_fleet_till_then_the_way_back_and_the_api_after(priced):
    study, _ = priced
    stay, go = np.array([[10.0, 20, 30, 40]]), np.array([[1.0, 2, 3, 4]])
    one = small_future(stay, go, once_usd=np.array([100.0]), team_usd=np.array([5.0]))
    back = study.moving["proprietary_api"].cost.value
    found = decide_waiting._leaving(study, {"extraction": "h200-llama-3.1-70b"}, one)
    assert found[0, 2] == pytest.approx(100 + (1 + 5) + (2 + 5) + back + 30 + 40)
    assert found[0, 4] == pytest.approx(100 + 10 + 4 * 5)
    both = decide_waiting._leaving(study, FLEETS, one)
    assert both[0, 2] - found[0, 2] == pytest.approx(back)


def test_without_a_reservation_nothing_is_owed_and_every_hour_costs_more(priced):
    """Half of a rent of 10 is reserved at a market that doubles after the first month."""
    study, _ = priced
    market = np.array([[1.0, 2, 2, 2]])
    share = 0.7
    held = Reserved(np.full((1, 4), 10.0), market, cost.Reservation(0.5, share, term_months=12))
    go = 5.0 * market + 5.0  # the reserved half keeps the price of the first month
    stay = np.full((1, 4), 100.0)
    moved = {"extraction": "h200-llama-3.1-70b"}
    one = small_future(stay, go, reserved=(held,))
    found = decide_waiting._leaving(study, moved, one)
    by_the_hour = (5.0 + 5.0 / share) * market
    assert found[0, -1] == pytest.approx(by_the_hour.sum())


def test_owned_cards_are_carried_to_the_end_of_their_life_by_who_leaves_them(priced):
    study, _ = priced
    go, stay = np.full((1, 6), 10.0), np.full((1, 6), 100.0)
    terms = cost.Reservation(0.0, 1.0, term_months=48)
    held = Reserved(np.full((1, 6), 7.0), np.ones((1, 6)), terms, owned=True)
    moved = {"extraction": "h200-llama-3.1-70b"}
    back = decide_waiting._way_back_usd(study, moved)
    one = small_future(stay, go, reserved=(held,))
    found = decide_waiting._leaving(study, moved, one)
    assert found[0, -1] == pytest.approx(6 * 10.0)
    assert found[0, 4] == pytest.approx(4 * 10 + 44 * 7 + back + 2 * 100)
    rate = np.array([0.1])
    worth = decide_waiting._leaving(study, moved, replace(one, discount_rate=rate))
    by_hand = sum((10 if m < 4 else 100) / 1.1 ** ((m + 1) / 12) for m in range(6))
    assert worth[0, 4] == pytest.approx(by_hand + (44 * 7 + back) / 1.1 ** (4 / 12))


def test_leaving_within_a_term_owes_the_rest_of_it_at_the_price_it_was_begun_at(priced):
    study, _ = priced
    market = np.linspace(1.0, 2.7, 18)[None, :]
    held = Reserved(np.full((1, 18), 100.0), market, cost.Reservation(1.0, 0.7, term_months=12))
    stay = np.full((1, 18), 1.0)
    rows = decide_waiting._reversal(
        study, FLEETS, small_future(stay, stay, reserved=(held,), team_usd=np.zeros(1))
    )
    back = 2 * study.moving["proprietary_api"].cost.value
    owed = {row["months"]: row["unused_p50_usd"] for row in rows}
    assert owed == pytest.approx({3: 9 * 100.0, 6: 6 * 100.0, 12: 0.0})
    assert [row["usd"] for row in rows] == pytest.approx([u + back for u in owed.values()])
    free = decide_waiting._reversal(study, FLEETS, small_future(stay, stay))
    assert [row["usd"] for row in free] == pytest.approx([back] * 3)


def test_a_workload_that_would_lose_in_every_future_is_not_on_trial(priced, monkeypatch):
    study, offers = priced
    stay = np.full((4, 6), 10.0)
    bills = {"wins": stay - 4, "loses": stay + 4, "loses more": stay + 9}

    def moved(_study, _offers, moves, *_):
        extra = sum(bills[name] - stay for name in moves)
        return small_future(stay, stay + extra)

    monkeypatch.setattr(decide_waiting, "futures_of_moves", moved)

    def best(*names):
        return decide_waiting._best_together(study, offers, dict.fromkeys(names, "fleet"), 6)

    assert best(*bills) == {"wins": "fleet"}
    assert best("loses more", "loses") == {"loses": "fleet"}
    assert best() == {}


# ---- what the chapter is told


def test_the_move_on_trial_is_of_the_set_of_fleets_that_hindsight_gains_most_from(default, priced):
    study, offers = priced
    savings = pd.DataFrame(default.results["06_crossover"]["savings"])
    own = savings[savings["arm"] == "self_hosted"]
    best = own.loc[own.groupby("workload")["saving_p50_usd"].idxmax()]
    each = dict(zip(best["workload"], best["route"], strict=True))
    gains = {}
    for size in range(1, len(each) + 1):
        for names in combinations(each, size):
            moves = {name: each[name] for name in names}
            costs = futures_of_moves(study, offers, moves, 36, 1000).switch_costs()
            gains[frozenset(names)] = (costs[:, -1] - costs.min(axis=1)).mean()
    targets = default.results[DECISION]["timing"]["targets"]
    assert targets.items() <= each.items()
    assert gains[frozenset(targets)] >= 0.9 * max(gains.values()) > 0


def test_without_a_fleet_that_may_serve_the_tables_are_empty_and_say_why(priced, default):
    study, offers = priced
    crossing = default.results["06_crossover"]
    hosted = [row for row in crossing["savings"] if row["arm"] != "self_hosted"]
    for savings in (hosted, []):
        results = {"06_crossover": {**crossing, "savings": savings}}
        found = decide_waiting.timing_tables(
            study, offers, results, default.results[DECISION]["triggers"]
        )
        assert found["timing"]["targets"] == {}
        assert "self-hosted" in found["timing"]["reason"]
        assert [found[key] for key in ("waiting", "regret", "improved", "lens")] == [[]] * 4
        assert plain(found)


def test_a_workload_that_is_self_hosted_already_is_no_move(priced, default):
    study, _ = priced
    at_home = study.workloads["extraction"].model_copy(
        update={"current_route": "h200-llama-3.1-70b"}
    )
    moved = study.model_copy(update={"workloads": {**study.workloads, "extraction": at_home}})
    targets = best_fleet_moves(moved, default.results["06_crossover"]["savings"])
    assert "extraction" not in targets
    assert "support-chat" in targets


@pytest.mark.parametrize("name", ["default", "regulated", "hyperscale", "source_memo"])
def test_every_study_tells_both_buyers_in_json_without_nan(assessed, name):
    decided = assessed(name).results[DECISION]
    kept = {key: decided[key] for key in ("timing", "waiting", "regret", "improved", "lens")}
    json.dumps(kept, allow_nan=False)
    assert plain(kept) == kept
    for table, rows in (("waiting", 9), ("regret", 12), ("improved", 1)):
        buyers = [row["buyer"] for row in kept[table]]
        assert sorted(buyers) == sorted(list(decide_waiting.BUYERS) * rows), table
    assert len(kept["lens"]) == len({row["rule"] for row in kept["lens"]})
    for row, key in product(kept["waiting"], ("mean_cost_usd", "low_usd", "high_usd")):
        assert np.isfinite(row[key])

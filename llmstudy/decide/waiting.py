"""Chapter 07: when should self-hosting begin? The value of waiting, and the rules back-tested.

One move is tested: the workloads that are best self-hosted together, each on the route that saves
most, all begun in the same month or never. It runs through simulated futures that are longer than
the study's horizon, since a move that begins late must have time to pay off.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from llmstudy import simulate
from llmstudy.decide.triggers import backtest, hysteresis
from llmstudy.decide.triggers.rules import advisor_rules, decide, lens
from llmstudy.evidence.case import Results, rows_of
from llmstudy.figure import FloatArray, first_least
from llmstudy.simulate.futures import Buyer, Futures, futures_of_moves
from llmstudy.simulate.inputs import Market, spread
from llmstudy.simulate.projection import best_fleet_moves
from llmstudy.simulate.waiting import switch_costs
from llmstudy.study import Study

FEWEST_MONTHS = 36
"""Shortest length of a simulated future, which also exceeds the study's horizon by a year."""

N_PATHS = 4000

BUYERS: tuple[Buyer, ...] = ("named_model", "same_quality")

WAITS = (3, 6, 12)
"""Months to wait before choosing (source memo: revisit every 3-6 months; 6-12 month window)."""

SHORT_COMMITMENT = 6
"""Months for which an on-demand fleet is tried before it may be left again."""

FOLDS = 5


SUBSET_PATHS = 400
"""Futures on which the workloads of the move are chosen."""


def timing_tables(
    study: Study, offers: Market, results: Results, trigger_rows: list[dict[str, Any]]
) -> dict[str, Any]:
    """The value of waiting, the regret of each rule, and a better threshold.

    The cost of a fleet is taken as known each month, as from a quote and a probe.

    Returns: `timing` (the workloads and routes of the move, months, paths; or why there is none),
    `waiting` (by buyer and policy), `regret` (by buyer and rule), `improved` (by buyer: the
    threshold of the ratio of bills that the back-test finds, with its out-of-sample regret),
    `reversal` (the cost of leaving again, by months since the move), `lens` (what each rule would
    decide today). All but `timing` are empty if no workload may move.
    """
    months = max(FEWEST_MONTHS, study.months + 12)
    length = {"months": months, "paths": N_PATHS}
    candidates = best_fleet_moves(study, results["06_crossover"]["savings"])
    targets = _best_together(study, offers, candidates, months)
    if not targets:
        about = {"targets": {}, "reason": "no workload can move to a self-hosted route"}
        names = ("waiting", "regret", "improved", "reversal", "lens")
        return {"timing": about | length, **{table: [] for table in names}}
    own_triggers = [row for row in trigger_rows if row["workload"] in targets]
    signals = todays_signals(own_triggers, with_other_api(results))
    tables: dict[str, Any] = {"waiting": [], "regret": [], "improved": []}
    for buyer in BUYERS:
        future = futures_of_moves(study, offers, targets, months, N_PATHS, buyer)
        costs = future.switch_costs()
        tables["waiting"] += _waiting(study, targets, future, costs, buyer)
        regret, improved = _trial(study, future, costs, signals, buyer)
        tables["regret"] += regret
        tables["improved"].append(improved)
        if buyer == "named_model":
            tables["lens"] = _lens(study, future, signals)
            tables["reversal"] = _reversal(study, targets, future)
    return {"timing": {"targets": targets, "reason": ""} | length, **tables}


def _best_together(
    study: Study, offers: Market, targets: Mapping[str, str], months: int
) -> dict[str, str]:
    """The targets that are best moved together: those with the largest gain in hindsight.

    Starts from the best one and adds the one that gains most, as long as any gains. Nobody would
    move a workload that loses in every future; if no set gains in any future, the one that loses
    least is tested.
    """

    def gain(names: tuple[str, ...]) -> tuple[float, float]:
        moves = {name: targets[name] for name in names}
        costs = futures_of_moves(study, offers, moves, months, SUBSET_PATHS).switch_costs()
        saved = costs[:, -1] - costs[:, :-1].min(axis=1)
        return float(np.maximum(saved, 0).mean()), float(saved.mean())

    chosen: tuple[str, ...] = ()
    while others := [name for name in targets if name not in chosen]:
        more = max(((*chosen, name) for name in others), key=gain)
        if chosen and gain(more) <= gain(chosen):
            break
        chosen = more
    return {name: targets[name] for name in targets if name in chosen}


# --- waiting ------------------------------------------------------------------------------------


def month_before(path: FloatArray) -> FloatArray:
    """The value of the month before each month, as known when a month begins. (n, months).

    >>> month_before(np.array([[1.0, 2.0, 3.0]])).tolist()
    [[1.0, 1.0, 2.0]]
    """
    return np.concatenate([path[:, :1], path[:, :-1]], axis=1)


def _waiting(
    study: Study, targets: Mapping[str, str], future: Futures, costs: FloatArray, buyer: Buyer
) -> list[dict[str, Any]]:
    bills = future.stay_usd, future.with_team()
    stay, go = (np.log(np.maximum(month_before(usd), 1.0)) for usd in bills)  # a route may be free
    leaving = {SHORT_COMMITMENT: _leaving(study, targets, future)}
    table = simulate.value_of_waiting(costs, np.stack([stay - go, stay], axis=2), WAITS, leaving)
    return [
        {"buyer": buyer} | {str(k): _null(v) for k, v in row.items()}
        for row in table.to_dict("records")
    ]


def _leaving(study: Study, targets: Mapping[str, str], future: Futures) -> FloatArray:
    """Cost of a move made now on demand, by the month in which it is reversed. (n, months) usd.

    Nothing is reserved, so every hour costs the on-demand price. Moving costs what it always does,
    dual running included, and moving back costs what a move to today's arm does. Owned GPUs cannot
    be tried on demand: their cost is carried to the end of their life.
    """
    months = future.months
    go = sum((part.on_demand() for part in future.reserved), future.go_usd)
    on_demand = replace(future, go_usd=go, reserved=(), start_months=0.0)
    spent = future.stay_by_month() - on_demand.saving_by_month()
    bills = np.diff(spent, prepend=0.0, axis=1)
    owned = [part for part in future.reserved if part.owned]
    carried = [sum((part.unused_usd(m) for part in owned), np.zeros(1)) for m in range(months)]
    leaving = _way_back_usd(study, targets) + np.column_stack(carried)
    leaving = leaving * simulate.discount_once(future.discount_rate, months)
    return switch_costs(bills, future.stay_usd * future.discount, leaving)


def _way_back_usd(study: Study, targets: Mapping[str, str]) -> float:
    """The one-off cost of moving every workload back to the arm of today's route. usd."""
    arms = [study.routes[study.workloads[name].current_route].arm for name in targets]
    return sum(study.moving[arm].cost.value for arm in arms)


def _reversal(study: Study, targets: Mapping[str, str], future: Futures) -> list[dict[str, Any]]:
    """The cost of leaving the fleets again: what is owed for the rest of a term, and moving back.

    As of the day of leaving, undiscounted. Rows: months (since the move), unused_p10_usd,
    unused_p50_usd, unused_p90_usd, back_usd, usd (median in all).
    """
    rows = []
    for months in WAITS:
        unused = sum((part.unused_usd(months) for part in future.reserved), np.zeros(N_PATHS))
        owed = {f"unused_{key}_usd": usd for key, usd in spread(unused).items()}
        back = _way_back_usd(study, targets)
        total = owed["unused_p50_usd"] + back
        rows.append({"months": months, **owed, "back_usd": back, "usd": total})
    return rows


def _null(x: Any) -> Any:
    return None if isinstance(x, float) and not np.isfinite(x) else x


# --- the rules back-tested ------------------------------------------------------------------------

Signals = Mapping[str, float | None]


def with_other_api(results: Results) -> set[str]:
    """The workloads that another API or host may serve: a compliance block needs no fleet there."""
    return {
        row["workload"]
        for row in rows_of(results["06_crossover"]["permissions"], permitted=True)
        if row["fits_context"] and not row["current"] and row["arm"] != "self_hosted"
    }


def todays_signals(trigger_rows: list[dict[str, Any]], other_api: Collection[str]) -> Signals:
    """Today's signals that do not follow from bills: yes 1, no 0, None if unknown.

    Over several workloads one yes suffices, and an unknown one leaves a no open. trigger_rows: of
    `triggers.today`. other_api: workloads whose compliance block does not count, since another API
    would do (`with_other_api`).
    """

    def any_fired(of: str, except_for: Collection[str] = ()) -> float | None:
        rows = rows_of(trigger_rows, id=of)
        statuses = {row["status"] for row in rows if row["workload"] not in except_for}
        if "fired" in statuses:
            return 1.0
        return None if "unknown" in statuses else 0.0

    def largest(of: str) -> float | None:
        values = [
            row["value"] / row["threshold"]
            for row in rows_of(trigger_rows, id=of)
            if row["value"] is not None and row["threshold"]
        ]
        return max(values, default=None)

    waits = [row["value"] for row in rows_of(trigger_rows, id="G2") if row["value"] is not None]
    retires = [row for row in rows_of(trigger_rows, id="G4") if "retires on" in row["evidence"]]
    return {
        "ttft_p95_s": max(waits, default=None),
        "ttft_p95_missed": any_fired("G2"),
        "compliance_block": any_fired("G3", other_api),
        "model_retires": float(bool(retires)),
        "quality_ceiling": any_fired("G5"),
        "format_failure_over_limit": largest("G6"),
        "price_rise_over_limit": largest("G4"),
    }


def _money_signals(study: Study, future: Futures) -> dict[str, FloatArray]:
    """The signals that follow from bills and volumes, as known when each month begins. (n,
    months)."""
    stay, go, tokens = future.stay_usd, future.with_team(), future.tokens
    return {
        "api_usd_month": month_before(stay),
        "api_usd_year": 12 * month_before(stay),
        "tokens_month": month_before(tokens),
        "tokens_month_in_12_months": _forecast(study, month_before(tokens)),
        "requests_month": month_before(future.requests),
        # a fleet is busier than at break-even exactly when it costs less than the bill it replaces
        "utilisation_over_break_even": month_before(stay / go),
        "price_rise_over_limit": month_before(future.price - 1) / study.thresholds.price_rise.value,
    }


def _forecast(study: Study, tokens: FloatArray) -> FloatArray:
    """Tokens a month in a year, at the growth of the last six months. (n, months).

    In the first months at the study's own growth. tokens: (n, months), as from `month_before`.
    """
    stated = [workload.growth.value for workload in study.workloads.values()]
    growth = np.full(tokens.shape, 1 + float(np.mean(stated)))
    for month in range(3, tokens.shape[1]):
        back = min(month - 1, 6)  # the first two columns are one month
        growth[:, month] = (tokens[:, month] / tokens[:, month - back]) ** (1 / back)
    return np.asarray(tokens * growth**12)


def _trial(
    study: Study, future: Futures, costs: FloatArray, today: Signals, buyer: Buyer
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The regret of each rule, and of the threshold of the ratio of bills that the back-test finds.

    The threshold is compared with the best of the rules and benchmarks on the same futures.
    """
    money = _money_signals(study, future)
    constant = {
        name: np.full(future.stay_usd.shape, np.nan if value is None else value)
        for name, value in today.items()
    }
    rules = advisor_rules()
    months = decide(rules, constant | money)
    ratio = money["utilisation_over_break_even"]
    levels = backtest.candidate_levels(ratio, 25)
    rng = np.random.default_rng(study.seed)
    backtested = backtest.backtest(costs, months)
    benchmarks = {
        "always_now": np.zeros(len(costs), int),
        "never": np.full(len(costs), future.months),
    }
    baseline = str(backtested["rule"].iloc[int(first_least(backtested["regret_usd"]))])
    best = backtest.improved_threshold(
        ratio, costs, (months | benchmarks)[baseline], levels, (1, 3, 6), FOLDS, rng
    )
    months["improved"] = hysteresis.first_fired(ratio, best.level, best.periods)
    advisors = dict(zip(rules["rule"], rules["advisor"], strict=True))
    advisors |= {"improved": "the back-test", **dict.fromkeys(benchmarks, "benchmark")}
    rows = [
        {"buyer": buyer, "advisor": advisors[str(row["rule"])], "improved": False}
        | {str(k): _null(v) for k, v in row.items()}
        for row in backtest.backtest(costs, months).to_dict("records")
    ]
    for row in rows:
        if row["rule"] == "improved":  # judged on paths that its threshold was not chosen on
            row["improved"] = True
            row["regret_usd"] = best.out_of_sample_usd.estimate
            row["regret_low_usd"] = best.out_of_sample_usd.low
            row["regret_high_usd"] = best.out_of_sample_usd.high
    improved = {
        "buyer": buyer,
        "baseline": baseline,
        "level": _null(best.level),
        "held_months": best.periods,
        "in_sample_usd": best.in_sample_usd.estimate,
        "out_of_sample_usd": best.out_of_sample_usd.estimate,
        "improvement_usd": best.improvement_usd.estimate,
        "improvement_low_usd": best.improvement_usd.low,
        "improvement_high_usd": best.improvement_usd.high,
        "levels_by_fold": [_null(level) for level, _ in best.by_fold],
    }
    return rows, improved


def _lens(study: Study, future: Futures, today: Signals) -> pd.DataFrame:
    """What each rule would decide today, from the medians of the first month."""
    money = {
        name: float(np.median(path[:, 0])) for name, path in _money_signals(study, future).items()
    }
    return lens(advisor_rules(), {**money, **today})

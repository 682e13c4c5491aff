"""Chapter 07: the verdicts, the five questions and the plan."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, cast

import numpy as np
import pandas as pd

from llmstudy.decide.advisors import panel_tables
from llmstudy.decide.dates import move_windows
from llmstudy.decide.facts import Grounds
from llmstudy.decide.gates import plan_tables
from llmstudy.decide.matrices import matrix_tables
from llmstudy.decide.plan import phases
from llmstudy.decide.routes import higher_tiers, route_table, verdicts_of
from llmstudy.decide.scores import criteria_tables
from llmstudy.decide.triggers.today import log_backtest, trigger_rows
from llmstudy.decide.verdicts import Collect, Verdict, answers_late, is_proven, overall
from llmstudy.decide.waiting import timing_tables
from llmstudy.evidence.case import Case, Results, Tables
from llmstudy.figure import Figure, FloatArray
from llmstudy.simulate.futures import portfolio_saving
from llmstudy.simulate.inputs import Market, discount_draws, market, spread, stay_draws
from llmstudy.study import ArmName, Study, bundled_figures
from llmstudy.study.labelling import usd_per_item
from llmstudy.text import usd


def decision_tables(case: Case, results: Mapping[str, Mapping[str, Any]]) -> Tables:
    """The verdicts, the triggers, the plan and all tables of the source memo.

    results: of chapters 02 to 06, by name.
    """
    study = case.study
    routes = route_table(study, results)
    verdicts = verdicts_of(study, routes)
    moves = [name for name, v in verdicts.items() if v.decision == "move"]
    open_ = [name for name, v in verdicts.items() if v.decision == "undecided"]
    offers = market(results["02_cost"], results["05_self_hosting"], results["04_quality"])
    triggers = trigger_rows(case, results)
    tables = {
        "routes": routes,
        **criteria_tables(case, results, routes),
        "triggers": triggers,
        "verdicts": {
            name: _with_limits(results, name, _with_intake(study, name, v))
            for name, v in verdicts.items()
        },
        "overall": overall(verdicts),
        **_amounts(study, offers, "saving", {n: verdicts[n].target for n in moves}),
        **_amounts(study, offers, "at_stake", {n: verdicts[n].target for n in open_}),
        "options": options(study, offers, routes, verdicts),
        **timing_tables(study, offers, results, triggers),
        "log_backtest": log_backtest(case, results),
    }
    tables["phases"] = _phases(study, results, verdicts, tables)
    tables |= plan_tables(case, results, tables)
    tables |= matrix_tables(Grounds(case, results, tables))
    return tables | panel_tables(case, results, tables)


def _with_intake(study: Study, name: str, verdict: Verdict) -> dict[str, Any]:
    """A verdict as a dictionary, with the workload's open questions first in what to collect."""
    at = f"workloads.{name}."
    open_ = [p.removeprefix(at).split(".")[-1] for p in study.unknown() if p.startswith(at)]
    row = verdict.row()
    if open_:
        ask = f"answer: {', '.join(question.replace('_', ' ') for question in open_)}"
        intake = Collect("intake", len(open_), None, ask)
        row["collect"] = [asdict(intake), *row["collect"]]
    return row


def _with_limits(results: Results, name: str, row: dict[str, Any]) -> dict[str, Any]:
    """A verdict as a dictionary, with the rate limits to request on the routes that it names."""
    tiers = higher_tiers(results["02_cost"]["rate_limits"], name, [row["route"], row["target"]])
    collect, reasons = ([asdict(tier[i]) for tier in tiers] for i in (0, 1))
    return row | {"collect": [*row["collect"], *collect], "reasons": [*row["reasons"], *reasons]}


def _amounts(
    study: Study, offers: Market, name: str, targets: Mapping[str, str | None]
) -> dict[str, Any]:
    """A saving on the plan's dates, and the same if every move began today."""
    return {
        name: _portfolio(study, offers, targets),
        f"{name}_if_now": _portfolio(study, offers.begun_now, targets),
    }


def _portfolio(
    study: Study, offers: Market, targets: Mapping[str, str | None]
) -> dict[str, float] | None:
    """The saving if every workload moves to its target: p10, p50, p90, p_positive. usd."""
    total = portfolio_saving(study, offers, {n: r for n, r in targets.items() if r})
    if total is None:
        return None
    return {**spread(total), "p_positive": float((total > 0).mean())}


def options(
    study: Study, offers: Market, routes: pd.DataFrame, verdicts: Mapping[str, Verdict]
) -> list[dict[str, Any]]:
    """The options and their cost over the horizon.

    They are: stay; the verdict; the plan (undecided moves too, on their dates, as if they had
    passed); and for each arm, all workloads that may move there, on the route that saves most.

    Rows: option, workloads_moved, cost_usd, saving_usd, beyond_verdict_usd (cost above that of the
    verdict, per draw, rounded to the cent since equal sums differ in their last digits), inferior,
    unproven, unmeasured, late, slow (names of workloads). The cost of finding out (items, the
    phases before a move) is in no option.
    """
    worth = discount_draws(study)
    stay = np.sum([(p * worth).sum(axis=1) for p in stay_draws(study, offers).values()], axis=0)
    able = routes[
        ~routes["current"]
        & routes["permitted"]
        & routes["fits_context"]
        & routes["sized"]
        & (routes["latency"] != "misses")
    ]
    best = able.sort_values("saving_p50_usd", ascending=False, kind="stable")
    favoured = {name: v.target for name, v in verdicts.items() if v.target}
    moves = {n: route for n, route in favoured.items() if verdicts[n].decision == "move"}
    plans: dict[str, dict[str, str]] = {"stay": {}, "verdict": moves}
    if favoured != moves:
        plans["plan"] = favoured
    for arm in ("proprietary_api", "hosted_open", "self_hosted"):
        of_arm = best[best["arm"] == arm].groupby("workload")["route"].first()
        plans[arm] = {str(name): str(route) for name, route in of_arm.items()}
    today = {name: workload.current_route for name, workload in study.workloads.items()}
    rows: list[dict[str, Any]] = []
    chosen = portfolio_saving(study, offers, plans["verdict"])
    verdict_saving = np.zeros_like(stay) if chosen is None else chosen
    for option, targets in plans.items():
        saving = portfolio_saving(study, offers, targets)
        if saving is None and option not in ("stay", "verdict"):
            continue
        cost = stay if saving is None else stay - saving
        quality = {name: _quality_of(routes, name, route) for name, route in targets.items()}
        rows.append(
            {
                "option": option,
                "workloads_moved": sorted(targets),
                "cost_usd": spread(cost),
                "saving_usd": spread(stay - cost),
                "beyond_verdict_usd": spread(np.round(verdict_saving - (stay - cost), 2)),
                "inferior": [n for n, verdict in quality.items() if verdict == "inferior"],
                "unproven": [n for n, verdict in quality.items() if verdict == "unproven"],
                "unmeasured": _first_tokens(routes, today | targets, "undecided"),
                "late": _first_tokens(routes, today | targets, "misses"),
                "slow": _slow(routes, today | targets),
            }
        )
    return rows


def _first_tokens(routes: pd.DataFrame, serving: Mapping[str, str], verdict: str) -> list[str]:
    """The workloads whose first token has this verdict on these routes."""
    served = routes[routes["route"] == routes["workload"].map(serving)]
    return sorted(served.loc[served["latency"] == verdict, "workload"])


def _slow(routes: pd.DataFrame, serving: Mapping[str, str]) -> list[str]:
    """The workloads whose answers begin late on these routes, as measured or stated."""
    served = routes[routes["route"] == routes["workload"].map(serving)].to_dict("records")
    return sorted(r["workload"] for r in served if r["latency"] == "misses" or answers_late(r))


def _quality_of(routes: pd.DataFrame, name: str, route: str) -> str:
    """The quality of a move: inferior, proven or unproven.

    A margin kept on evidence below the grade that the study requires is unproven too.
    """
    row = routes[(routes["workload"] == name) & (routes["route"] == route)].iloc[0]
    if row["quality"] == "inferior":
        return "inferior"
    return "proven" if is_proven(row) else "unproven"


def _phases(
    study: Study, results: Results, verdicts: Mapping[str, Verdict], tables: Tables
) -> pd.DataFrame:
    """The phases with their costs, capped at what they could save.

    Evaluation costs its figure times the share of undecided workloads, or their golden items if
    those cost more; migration costs what the moves of this verdict cost. tables: saving and
    at_stake. Column `note`: whether a cost was capped, and by what.
    """
    moves = [name for name, v in verdicts.items() if v.decision == "move"]
    open_ = [name for name, v in verdicts.items() if v.decision == "undecided"]
    rows = [
        row
        for row in results["04_quality"]["dates"]
        if row["workload"] in (*moves, *open_) and verdicts[row["workload"]].target == row["route"]
    ]
    plan = phases(study.decide_by, moves, open_, move_windows(study, rows))
    foundation, evaluation = (_ends([bundled_figures()[name]]) for name in plan["cost_figure"][:2])
    labels = np.zeros(3)
    for row in rows:
        if row["workload"] in open_:
            labels += row["items"] * _ends([usd_per_item(study, row["workload"])])
    evaluation = max(
        evaluation * len(open_) / len(study.workloads), labels, key=lambda ends: ends[0]
    )
    migration = _ends([study.moving[cast(ArmName, verdicts[name].arm)].cost for name in moves])
    costs, notes = capped_costs(
        np.stack([foundation, evaluation, migration]), study, results, tables
    )
    if not open_:
        notes[1] = "nothing to evaluate until a trigger fires"
    plan[["cost_usd", "cost_low_usd", "cost_high_usd"]] = costs
    return plan.drop(columns="cost_figure").assign(note=pd.Series(notes, dtype=object))


def _ends(figures: Sequence[Figure]) -> FloatArray:
    """The sums of the figures' values, lows and highs. (3,)."""
    each = [(f.value, *f.ends) for f in figures]
    return np.sum(each, axis=0) if each else np.zeros(3)


def capped_costs(
    costs: FloatArray, study: Study, results: Results, tables: Tables
) -> tuple[FloatArray, list[str | None]]:
    """The costs of the phases, with those before a move capped at what they are worth.

    costs: (3, 3), a row per phase of value, low and high, in USD. Together the first two cost at
    most P90 of what the moves save plus what better evidence could release, if there is any; a
    phase that would cost more than all bills of the horizon is left out.
    Returns: the costs, and a note per phase that was capped, else None.
    """
    month = results["06_crossover"]["month_usd"]
    billed = month["today_by_workload"].keys() >= study.workloads.keys()
    parts = {row["part"]: row["usd"] for row in results["06_crossover"]["stay_parts"]}
    # upkeep is on no bill, and where bills are small the spread is that of upkeep
    on_bills = (amount for part, amount in parts.items() if part not in ("upkeep", "spread"))
    bills = sum(on_bills) if billed else np.inf
    amounts = [tables[key]["p90"] for key in ("saving", "at_stake") if tables[key] is not None]
    worth = sum(max(usd_, 0.0) for usd_ in amounts)
    notes: list[str | None] = [None] * len(costs)
    for i, cost in enumerate(costs[:2].copy()):
        left = worth - costs[:i, 0].sum() if worth else np.inf
        if cost[0] > bills:
            costs[i] = 0.0
            notes[i] = f"not worth {usd(cost[0])}: all bills of the horizon are {usd(bills)}"
        elif cost[2] > left:
            costs[i] = np.minimum(cost, max(left, 0.0))
            notes[i] = f"no more than may be gained: {usd(worth)} in one of ten futures"
    return costs, notes

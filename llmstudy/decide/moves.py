"""What moves first, what stays, and how much traffic does each canary step take (MEMO V3)?

The classes are the source memo's: privacy-sensitive workloads move, and so do frequent and simple
ones; complex reasoning and long contexts stay; the rest is open. Within a class, workloads are
ranked by value and risk without weights: none comes before one that is better on every count.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from llmstudy.decide.dates import canary
from llmstudy.decide.verdicts import is_proven
from llmstudy.evidence.case import Case, Results, Tables, rows_of
from llmstudy.measures.privacy import REGULATED
from llmstudy.study import Study
from llmstudy.text import count

MOVES, OPEN, STAYS = "moves", "open", "stays"

_FIRST_TASKS = frozenset({"classification", "extraction", "summarisation", "routing"})


def first_moves(workloads: pd.DataFrame) -> pd.DataFrame:
    """The workloads in the order in which they should move.

    workloads, one row each: workload, task, complexity, data_class, on_api (it runs on a
    proprietary API today), barred (today's route may not see its data), long_context (no open model
    here fits it), requests_per_month, crossover_requests (the volume from which open weights or a
    fleet are cheaper; None: never, or no such route), target (the candidate route, or None),
    saving_p50_usd, p_cheaper, proven, quality, latency, exposed (regulated data would go to a third
    party on the target), unknowns (open intake questions).
    Returns: the same rows with v3 (moves, open, stays), because, risks (in words), risk_count,
    front (1: no other workload of its class is better on saving, probability and risk together) and
    rank, in order of rank.
    """
    table = workloads.copy()
    rows = table.to_dict("records")
    table["v3"], table["because"] = zip(*[_class(row) for row in rows], strict=True)
    risks_of = [_risks(row) for row in rows]
    table["risks"] = ["; ".join(risks) or "none seen" for risks in risks_of]
    table["risk_count"] = [len(risks) for risks in risks_of]
    judged = ["saving_p50_usd", "p_cheaper", "risk_count"]
    table["front"] = pd.concat([_fronts(group[judged]) for _, group in table.groupby("v3")])
    order = {MOVES: 0, OPEN: 1, STAYS: 2}
    table = table.assign(order=table["v3"].map(order)).sort_values(
        ["order", "front", "saving_p50_usd"], ascending=[True, True, False], kind="stable"
    )
    table = table.drop(columns="order").reset_index(drop=True)
    return table.assign(rank=range(1, len(table) + 1))


def _class(row: Mapping[Any, Any]) -> tuple[str, str]:
    """V3's class of a workload, and why. Privacy comes first, as it may override the rest (C5)."""
    if row["barred"]:
        return MOVES, f"privacy: today's route may not see its data ({row['data_class']})"
    if not row["on_api"]:
        return OPEN, "off the proprietary API already"
    if row["data_class"] in REGULATED:
        return MOVES, f"privacy-sensitive: {row['data_class']}"
    if row["task"] == "reasoning" or row["complexity"] == "high":
        return STAYS, f"complex: {row['task']} of {row['complexity']} complexity"
    if row["long_context"]:
        return STAYS, "long context: no open model named here holds it"
    simple = row["complexity"] == "low" and row["task"] in _FIRST_TASKS
    kind = f"{row['task']} of {row['complexity']} complexity"
    if not simple:
        return OPEN, f"{kind}: neither simple nor complex"
    crossover = row["crossover_requests"]
    if crossover is None or pd.isna(crossover):
        return OPEN, f"{kind}, but at no volume is an open model cheaper"
    times = row["requests_per_month"] / crossover
    volume = (
        f"{count(row['requests_per_month'])} requests a month, {count(times)} times the crossover"
    )
    return (MOVES, f"{kind}, {volume}") if times >= 1 else (OPEN, f"{kind}, but only {volume}")


def _risks(row: Mapping[Any, Any]) -> list[str]:
    """Reasons for caution, a phrase each; they are counted, all with the same weight."""
    flags = {
        "not a simple task": row["complexity"] != "low" or row["task"] not in _FIRST_TASKS,
        "complex reasoning": row["complexity"] == "high" or row["task"] == "reasoning",
        "long context": row["long_context"],
        "regulated data at a third party": row["exposed"],
        "quality not proven on own items": not row["proven"],
        "scored inferior": row["quality"] == "inferior",
        "first token not measured": row["latency"] == "undecided",
        "first token misses its target": row["latency"] == "misses",
        f"{row['unknowns']} intake question{'s' * (row['unknowns'] > 1)} open": row["unknowns"] > 0,
    }
    return [risk for risk, holds in flags.items() if holds]


def _fronts(group: pd.DataFrame) -> pd.Series:
    """Non-dominated fronts of (saving, probability, risk). Source: Goldberg (1989), section 5.6."""
    left, front = group.assign(risk_count=-group["risk_count"]), 1
    fronts = pd.Series(0, index=group.index)
    while len(left):
        points = left.to_numpy(dtype=float)
        beaten = [
            ((points >= point).all(axis=1) & (points > point).any(axis=1)).any() for point in points
        ]
        first = left.index[[not b for b in beaten]]
        fronts[first] = front
        left, front = left.drop(index=first), front + 1
    return fronts


def targets_of(tables: Tables) -> dict[str, str]:
    """The workloads that move, or may move once evidence is collected, and their target route."""
    return {name: v["target"] for name, v in tables["verdicts"].items() if v["target"]}


# --- what moves first -----------------------------------------------------------------------


def first_move_rows(study: Study, results: Results, tables: Tables) -> pd.DataFrame:
    """`first_moves` of a study, with each workload's decision and whether it agrees with its class.

    Any decision agrees with the class `open`.
    """
    table = first_moves(pd.DataFrame(_workloads(study, results, tables)))
    same = table["v3"].map({MOVES: "move", STAYS: "stay"}) == table["decision"]
    return table.assign(agrees=same | (table["v3"] == OPEN))


def _workloads(study: Study, results: Results, tables: Tables) -> list[dict[str, Any]]:
    """The rows that `first_moves` reads."""
    table, rows = tables["routes"], []
    for name, workload in study.workloads.items():
        routes = table[table["workload"] == name]
        current = routes[routes["current"]].iloc[0]
        best = _candidate(routes, tables["verdicts"][name]["target"])
        open_models = routes[(routes["arm"] != "proprietary_api") & routes["permitted"]]
        exposed = workload.intake.data_class in REGULATED and best is not None
        prefix = f"workloads.{name}."
        rows.append(
            {
                "workload": name,
                "task": workload.task,
                "complexity": workload.complexity,
                "data_class": workload.intake.data_class,
                "on_api": str(current["arm"]) == "proprietary_api",
                "barred": not bool(current["permitted"]),
                "long_context": len(open_models) > 0 and not open_models["fits_context"].any(),
                "requests_per_month": workload.intake.requests.value,
                "crossover_requests": _crossover(results, name),
                "target": None if best is None else str(best["route"]),
                "saving_p50_usd": 0.0 if best is None else float(best["saving_p50_usd"]),
                "p_cheaper": 0.0 if best is None else float(best["p_cheaper"]),
                "proven": best is not None and is_proven(best),
                "quality": "none" if best is None else str(best["quality"]),
                "latency": "undecided" if best is None else str(best["latency"]),
                "exposed": exposed and best is not None and best["arm"] != "self_hosted",
                "unknowns": sum(path.startswith(prefix) for path in study.unknown()),
                "decision": tables["verdicts"][name]["decision"],
            }
        )
    return rows


def _candidate(routes: pd.DataFrame, target: str | None) -> Any:
    """The row of the verdict's target, else of the permitted route that saves most, else None."""
    if target is not None:
        return routes[routes["route"] == target].iloc[0]
    able = routes[
        ~routes["current"] & routes["permitted"] & routes["fits_context"] & routes["sized"]
    ]
    able = able[able["latency"] != "misses"]
    return None if able.empty else able.sort_values("saving_p50_usd", kind="stable").iloc[-1]


def _crossover(results: Results, name: str) -> float | None:
    """The lowest median volume from which open weights or a fleet beat a proprietary API."""
    volumes = [
        row["requests_per_month"]["p50"]
        for row in rows_of(results["06_crossover"]["crossover"], workload=name)
        if row["from_arm"] == "proprietary_api" and row["requests_per_month"]["p50"] is not None
    ]
    return min(volumes, default=None)


# --- canary ---------------------------------------------------------------------------------


def canary_rows(case: Case, results: Results, tables: Tables) -> pd.DataFrame:
    """The canary of each move and favoured candidate, at the workload's own volume.

    Columns: workload, route, those of `canary_plan`, acceptance_grade (assumed: the pair was not
    scored, and its acceptance is set to the share that takes most requests) and rollback (the rule
    in words). No move gives no rows.
    If today's route may not see the data, no traffic may stay on it: the one step is that at full
    traffic, and a failure stops the workload instead of sending it back.
    """
    parts = []
    for name, route in targets_of(tables).items():
        workload = case.study.workloads[name]
        row = rows_of(results["04_quality"]["quality"], workload=name, route=route)[0]
        plan = canary(case, name, row)
        routes = tables["routes"]
        current = routes[(routes["workload"] == name) & routes["current"]].iloc[0]
        if not current["permitted"]:
            plan = plan[plan["traffic_share"] == 1].assign(days_so_far=lambda step: step["days"])
        plan["rollback"] = [
            _rollback(row, workload.slo.ttft_p95.value, bool(current["permitted"]))
            for row in plan.to_dict("records")
        ]
        scored = row["acceptance_current"] is not None
        plan["acceptance_grade"] = row["grade"] if scored else "assumed"
        plan.insert(0, "route", route)
        plan.insert(0, "workload", name)
        parts.append(plan)
    if parts:
        return pd.concat(parts, ignore_index=True)
    return pd.DataFrame(columns=["workload", "route", "step", "traffic_share", "requests", "days"])


def _rollback(row: Mapping[Any, Any], target_s: float, may_return: bool) -> str:
    """The rollback rule of one step, and what it means once all of its requests are in."""
    undo = "back" if may_return else "stop, since today's route may not see the data,"
    worse = {
        "acceptance": "fewer answers are accepted",
        "errors": "more requests fail",
        "slow_first_token": f"more first tokens come later than {target_s:g} s",
    }
    gaps = {name: row[f"{name}_alarm_gap"] for name in worse}
    limits = [f"{_points(gap)} {worse[name]}" for name, gap in gaps.items() if pd.notna(gap)]
    return (
        f"{undo} as soon as the evidence of one metric reaches {1 / row['alpha']:.0f}, however "
        f"often it is read; at {count(row['requests'])} requests that is where, against today's "
        f"route, {' or '.join(limits)}"
    )


def _points(gap: float) -> str:
    """A difference of shares, to a tenth of a percentage point: a margin is a few points."""
    return f"{100 * gap:.1f} points"

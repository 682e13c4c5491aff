"""What moves first, and what stays (MEMO V3)?

A workload's class is the source memo's: what is privacy-sensitive, or much asked and simple, moves;
complex reasoning and long contexts stay; of the rest nothing is said. Within a class, workloads are
put in order by value and risk without weights: none stands before one that is better on every
count.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from llmstudy.privacy import REGULATED
from llmstudy.text import count

MOVES, OPEN, STAYS = "moves", "open", "stays"

_FIRST_TASKS = frozenset({"classification", "extraction", "summarisation", "routing"})

WORKLOAD_COLUMNS = (
    "workload",
    "task",
    "complexity",
    "data_class",
    "on_api",
    "barred",
    "long_context",
    "requests_per_month",
    "crossover_requests",
    "target",
    "saving_p50_usd",
    "p_cheaper",
    "proven",
    "quality",
    "latency",
    "exposed",
    "unknowns",
)
"""What `first_moves` reads of each workload. on_api: it runs on a proprietary API today; barred:
today's route may not see its data; long_context: no open model here holds it; crossover_requests:
the volume from which open weights or a fleet are cheaper (None: never, or no such route); target:
the route looked at, or None; exposed: regulated data would go to a third party on it; unknowns:
intake questions without an answer."""


def first_moves(workloads: pd.DataFrame) -> pd.DataFrame:
    """The workloads in the order in which they should move.

    workloads: one row each with `WORKLOAD_COLUMNS`.
    Returns: those, with v3 (moves, open, stays), because, risks (in words), risk_count, front
    (1: no other of its class is better on saving, chance and risk together) and rank, in order.
    """
    table = workloads.copy()
    rows = table.to_dict("records")
    table["v3"], table["because"] = zip(*[_class(row) for row in rows], strict=True)
    found = [_risks(row) for row in rows]
    table["risks"] = ["; ".join(risks) or "none seen" for risks in found]
    table["risk_count"] = [len(risks) for risks in found]
    judged = ["saving_p50_usd", "p_cheaper", "risk_count"]
    table["front"] = pd.concat([_fronts(own[judged]) for _, own in table.groupby("v3")])
    order = {MOVES: 0, OPEN: 1, STAYS: 2}
    table = table.assign(order=table["v3"].map(order)).sort_values(
        ["order", "front", "saving_p50_usd"], ascending=[True, True, False], kind="stable"
    )
    table = table.drop(columns="order").reset_index(drop=True)
    return table.assign(rank=range(1, len(table) + 1))


def _class(row: Mapping[Any, Any]) -> tuple[str, str]:
    """V3's class of a workload, and why. Privacy goes first: it may override the rest (C5)."""
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
    said = (
        f"{count(row['requests_per_month'])} requests a month, {count(times)} times the crossover"
    )
    return (MOVES, f"{kind}, {said}") if times >= 1 else (OPEN, f"{kind}, but only {said}")


def _risks(row: Mapping[Any, Any]) -> list[str]:
    """What speaks for caution, one word group each: they are counted, and none weighs more."""
    held = {
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
    return [said for said, holds in held.items() if holds]


def _fronts(group: pd.DataFrame) -> pd.Series:
    """Non-dominated fronts of (saving, chance, risk). Source: Goldberg (1989), section 5.6."""
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

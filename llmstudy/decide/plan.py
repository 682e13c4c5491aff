"""In which phases is a decision carried out, and what must be true before each (MEMO V2)?

Gates, work items and their order are data; the state of each gate today comes from the study. A
gate is *passed* if its evidence says so, *failed* if the evidence speaks against it, *unknown* if
nobody has checked, and *open* while its work is still to be done.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from typing import Any, Literal

import pandas as pd

from llmstudy import paths
from llmstudy.decide.judge import Judged

GateState = Literal["passed", "open", "unknown", "failed"]

_FROM_BEST: tuple[GateState, ...] = ("passed", "open", "unknown", "failed")

ALL = "all"
"""The workload of a gate or item that is about the whole study."""


@cache
def phase_table() -> pd.DataFrame:
    """The phases of MEMO V2, with their weeks from the decision, as in `phases.csv`."""
    return pd.read_csv(paths.data("phases.csv"))


@dataclass(frozen=True)
class Window:
    """The day on which a workload's labelling may begin, its move, and full traffic on the
    route."""

    labels: date
    begins: date
    served: date


_DRILL = timedelta(weeks=2)
"""The fallback drill after the last canary takes as long as in `phase_items.csv`."""


def phases(
    start: date,
    moves: Sequence[str],
    candidates: Sequence[str],
    windows: Mapping[str, Window] | None = None,
) -> pd.DataFrame:
    """V2 as a dated plan from the day of the decision.

    moves: workloads whose verdict is to move; candidates: undecided ones. windows: of the workloads
    with a route to move to. Evaluation ends when the last candidate may move; migration lasts from
    the first move until the last one has full traffic. Phases without a window keep V2's weeks.

    Returns: phase, title, start, end, entry_gate, exit_gate, work_items, owner, cost_figure, scope.
    """
    table, windows = phase_table().copy(), windows or {}
    table["start"] = [start + timedelta(weeks=int(w)) for w in table["start_week"]]
    table["end"] = [start + timedelta(weeks=int(w)) for w in table["end_week"]]
    if dated := [windows[name] for name in candidates if name in windows]:
        table.loc[1, "start"] = max(start, min(window.labels for window in dated))
        table.loc[1, "end"] = max(window.begins for window in dated)
    if going := [windows[name] for name in (*moves, *candidates) if name in windows]:
        table.loc[2, "start"] = max(start, min(window.begins for window in going))
        table.loc[2, "end"] = max(start, max(window.served for window in going)) + _DRILL
    scope = {
        1: "all workloads",
        2: "; ".join(candidates) or "all workloads",
        3: "; ".join(moves) or "none yet: a trigger must fire first",
    }
    table["scope"] = table["phase"].map(scope)
    return table.drop(columns=["start_week", "end_week"])


def _on(plan: pd.DataFrame, phase: int, week: int) -> date:
    """The day in a plan of a week of V2: at the same relative place in its phase, or as long
    after."""
    frame = phase_table().set_index("phase")
    first, last = int(frame["start_week"][phase]), int(frame["end_week"][phase])
    dates = plan[plan["phase"] == phase].iloc[0]
    elapsed_share = min(max((week - first) / (last - first), 0), 1)
    days = round(elapsed_share * (dates["end"] - dates["start"]).days)
    begins: date = dates["start"]
    return begins + timedelta(days=days, weeks=max(week - last, 0))


# --- gates ----------------------------------------------------------------------------------


def worst(states: Iterable[GateState]) -> GateState:
    """The joint state of gates that must all be passed; passed if there are none.

    >>> worst(["passed", "open"]), worst(["unknown", "open"]), worst([])
    ('open', 'unknown', 'passed')
    """
    return max(states, key=_FROM_BEST.index, default="passed")


def best(states: Iterable[GateState]) -> GateState:
    """The joint state of gates of which one suffices; open if there are none.

    >>> best(["failed", "passed"]), best(["failed", "unknown"]), best([])
    ('passed', 'unknown', 'open')
    """
    return min(states, key=_FROM_BEST.index, default="open")


def gates(plan: pd.DataFrame, judged: Mapping[str, Mapping[str, Judged]]) -> pd.DataFrame:
    """Every gate with its state today.

    plan: as `phases`. judged: the evidence of each gate (column `rests_on` of `phase_gates.csv`)
    against what is needed, by workload, or under `ALL` if it is about the whole study.

    Returns: phase, at (entry, exit), workload, one_of (one of the gates with the same text
    suffices), gate, rests_on, due, state, value, needed, unit, grade, evidence, source.
    Raises: ValueError for a gate that `judged` lacks.
    """
    rows = []
    for about in pd.read_csv(paths.data("phase_gates.csv")).to_dict("records"):
        if about["rests_on"] not in judged:
            raise ValueError(
                f'the gate "{about["gate"]}" needs {about["rests_on"]}, which is missing: give it.'
            )
        for workload, gate in judged[about["rests_on"]].items():
            rows.append(
                {
                    "phase": about["phase"],
                    "at": about["at"],
                    "workload": workload,
                    "one_of": None if pd.isna(about["one_of"]) else about["one_of"],
                    "gate": about["gate"],
                    "rests_on": about["rests_on"],
                    "due": _due(plan, about),
                    "state": gate.state,
                    "value": gate.fact.value,
                    "needed": gate.line,
                    "unit": gate.fact.unit,
                    "grade": gate.fact.grade,
                    "evidence": gate.fact.sentence,
                    "source": about["source"],
                }
            )
    return pd.DataFrame(rows)


def _due(plan: pd.DataFrame, gate: Mapping[Any, Any]) -> date:
    week = int(gate["due_week"])
    if gate["rests_on"] == "revisit":  # every three to six months, however short the phases are
        decided: date = plan["start"].iloc[0]
        return decided + timedelta(weeks=week)
    return _on(plan, gate["phase"], week)


def passage(table: pd.DataFrame, phase: int, at: str) -> GateState:
    """Whether a phase may be entered, or is complete: the joint state of its gates.

    table: from `gates`. at: entry or exit. All gates of the study must be passed, and those of at
    least one workload: a phase begins with the first workload that is ready. If gates are about
    single workloads and there is none, there is nothing to begin with, and the result is open.
    """
    rows = table[(table["phase"] == phase) & (table["at"] == at)]
    of_study = rows[rows["workload"] == ALL]
    by_workload = [
        _of_workload(group) for _, group in rows[rows["workload"] != ALL].groupby("workload")
    ]
    states: list[GateState] = list(of_study["state"])
    return worst(
        [*states, best(by_workload)] if by_workload or _is_about_workloads(phase, at) else states
    )


def _is_about_workloads(phase: int, at: str) -> bool:
    table = pd.read_csv(paths.data("phase_gates.csv"))
    rows = table[(table["phase"] == phase) & (table["at"] == at)]
    return bool((rows["scope"] == "workload").any())


def _of_workload(rows: pd.DataFrame) -> GateState:
    """The joint state of one workload's gates; one of those with the same `one_of` suffices."""
    alone = rows["one_of"].isna()
    chosen = [best(group["state"]) for _, group in rows[~alone].groupby("one_of")]
    return worst([*rows.loc[alone, "state"], *chosen])


# --- work items -----------------------------------------------------------------------------


@dataclass(frozen=True)
class ItemCost:
    """The cost of one item, for a workload or `ALL`, and what it rests on. Unit: usd."""

    scope: str
    usd: float
    low_usd: float
    high_usd: float
    rests_on: str


@dataclass(frozen=True)
class TriggerStep:
    """The next step of a trigger that fired on a workload, its owner and its evidence."""

    id: str
    workload: str
    owner: str
    step: str
    evidence: str


@dataclass(frozen=True)
class Stop:
    """A workload that must stop sending data to a route, from which day, and why."""

    workload: str
    route: str
    owner: str
    on: date
    because: str


def items(
    plan: pd.DataFrame,
    costs: Mapping[str, Sequence[ItemCost]],
    fired: Sequence[TriggerStep] = (),
    stops: Sequence[Stop] = (),
) -> pd.DataFrame:
    """The work items of each phase, with dates and costs as far as figures split them.

    plan: phases with phase, start, end, owner, cost_usd, cost_low_usd, cost_high_usd, note. A phase
    that costs nothing and says why has no items except triggers. costs: by the column `costs` of
    `phase_items.csv`; an item has a row per cost, or one row without a cost. fired: triggers, whose
    steps are work of the first phase. stops: the first items, which wait for no decision.

    Returns: phase, item, scope, owner, start, end, cost_usd, cost_low_usd, cost_high_usd, rests_on,
    note, source. A phase whose cost exceeds that of its items gets one more row for the rest, so
    that the costs of its items sum to the phase's own; if the items cost more than the phase, the
    note of that row says so. If the items vary more than the phase, the range of the rest spans
    what is left at either end.
    """
    nothing = dict.fromkeys(("cost_usd", "cost_low_usd", "cost_high_usd", "rests_on"))
    phase = plan.iloc[0]
    rows: list[dict[str, Any]] = [
        {
            "phase": phase["phase"],
            "item": f"stop sending {stop.workload} to {stop.route} today",
            "scope": stop.workload,
            "owner": stop.owner,
            "start": stop.on,
            "end": stop.on,
            **nothing,
            "note": stop.because,
            "source": "privacy_matrix.csv",
        }
        for stop in stops
    ]
    idle = set(plan.loc[plan["note"].notna() & (plan["cost_usd"] == 0), "phase"])
    for about in pd.read_csv(paths.data("phase_items.csv")).to_dict("records"):
        if about["phase"] in idle:
            continue
        item_costs = costs.get(about["costs"], ()) if isinstance(about["costs"], str) else ()
        priced: Sequence[ItemCost | None] = item_costs or (None,)
        for cost in priced:
            rows.append(
                {
                    "phase": about["phase"],
                    "item": about["item"],
                    "scope": cost.scope if cost else ALL,
                    "owner": about["owner"],
                    "start": _on(plan, about["phase"], int(about["start_week"])),
                    "end": _on(plan, about["phase"], int(about["end_week"])),
                    "cost_usd": cost.usd if cost else None,
                    "cost_low_usd": cost.low_usd if cost else None,
                    "cost_high_usd": cost.high_usd if cost else None,
                    "rests_on": cost.rests_on if cost else None,
                    "note": None,
                    "source": about["source"],
                }
            )
    rows += [
        {
            "phase": phase["phase"],
            "item": f"{trigger.id} fired: {trigger.step}",
            "scope": trigger.workload,
            "owner": trigger.owner,
            "start": phase["start"],
            "end": phase["end"],
            **nothing,
            "note": trigger.evidence,
            "source": "triggers.csv",
        }
        for trigger in fired
    ]
    rests = [_rest(phase, rows) for phase in plan.to_dict("records")]
    rows += [rest for rest in rests if rest is not None]
    return pd.DataFrame(rows).sort_values("phase", kind="stable", ignore_index=True)


def _rest(phase: Mapping[Any, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The row for what a phase's cost leaves to items without a cost; None if nothing is left."""
    priced = [r for r in rows if r["phase"] == phase["phase"] and r["cost_usd"] is not None]
    ends = ("cost_usd", "cost_low_usd", "cost_high_usd")
    left = {end: phase[end] - sum(row[end] for row in priced) for end in ends}
    if not any(left.values()):
        return None
    unspent = {end: max(left[end], 0.0) for end in ends}
    short = "" if min(left.values()) >= 0 else "cost" if left["cost_usd"] < 0 else "may cost"
    return {
        "phase": phase["phase"],
        "item": "the items of this phase without a figure of their own",
        "scope": ALL,
        "owner": phase["owner"],
        "start": phase["start"],
        "end": phase["end"],
        "cost_usd": unspent["cost_usd"],
        "cost_low_usd": min(unspent.values()),
        "cost_high_usd": max(unspent.values()),
        "rests_on": "what the phase's figure leaves",
        "note": f"the items {short} more than the phase's figure" if short else None,
        "source": "phases.csv",
    }

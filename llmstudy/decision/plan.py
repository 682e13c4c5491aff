"""In which phases is a decision carried out, and what must be true before each (MEMO V2)?

The gates, work items and their order are data; what is known of each gate today comes from the
study. A gate is *passed* when its evidence says so, *failed* when the evidence speaks against it,
*unknown* where nobody has looked, and *open* while its work is still to be done.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any, Literal

import pandas as pd

from llmstudy import paths

GateState = Literal["passed", "open", "unknown", "failed"]

_FROM_BEST: tuple[GateState, ...] = ("passed", "open", "unknown", "failed")

ALL = "all"
"""Stands for the workload of a gate or an item that is about the whole study."""


def phase_table() -> pd.DataFrame:
    """The phases of MEMO V2 with their weeks from the decision, as `phases.csv` has them."""
    return pd.read_csv(paths.data("phases.csv"))


def phases(start: date, moves: Sequence[str], candidates: Sequence[str]) -> pd.DataFrame:
    """V2 as a dated plan from the day of the decision.

    moves: workloads whose verdict is to move; candidates: undecided ones.
    Returns: phase, title, start, end, entry_gate, exit_gate, work_items, owner, cost_figure, scope.
    """
    table = phase_table()
    table["start"] = [start + timedelta(weeks=int(w)) for w in table["start_week"]]
    table["end"] = [start + timedelta(weeks=int(w)) for w in table["end_week"]]
    scope = {
        1: "all workloads",
        2: "; ".join(candidates) or "all workloads",
        3: "; ".join(moves) or "none yet: a trigger must fire first",
    }
    table["scope"] = table["phase"].map(scope)
    return table.drop(columns=["start_week", "end_week"])


# --- gates ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class GateFact:
    """What is known of one gate. value of needed, in `unit`; None: not known, or no number."""

    state: GateState
    value: float | None
    needed: float | None
    unit: str
    grade: str
    evidence: str


def worst(states: Iterable[GateState]) -> GateState:
    """The state of gates that must all be passed; passed where there is none.

    >>> worst(["passed", "open"]), worst(["unknown", "open"]), worst([])
    ('open', 'unknown', 'passed')
    """
    return max(states, key=_FROM_BEST.index, default="passed")


def best(states: Iterable[GateState]) -> GateState:
    """The state of gates of which one suffices; open where there is none.

    >>> best(["failed", "passed"]), best(["failed", "unknown"]), best([])
    ('passed', 'unknown', 'open')
    """
    return min(states, key=_FROM_BEST.index, default="open")


def gates(start: date, facts: Mapping[str, Mapping[str, GateFact]]) -> pd.DataFrame:
    """Every gate with its state today.

    start: the day of the decision. facts: by what a gate rests on (column `rests_on` of
    `phase_gates.csv`), then by workload, or under `ALL` where it is about the whole study.

    Returns: phase, at (entry, exit), workload, one_of (of gates with the same words one
    suffices), gate, rests_on, due, state, value, needed, unit, grade, evidence, source.
    Raises: ValueError where nothing is said of a gate.
    """
    rows = []
    for about in pd.read_csv(paths.data("phase_gates.csv")).to_dict("records"):
        if about["rests_on"] not in facts:
            raise ValueError(f'the gate "{about["gate"]}" rests on {about["rests_on"]}: give it')
        for workload, fact in facts[about["rests_on"]].items():
            rows.append(
                {
                    "phase": about["phase"],
                    "at": about["at"],
                    "workload": workload,
                    "one_of": None if pd.isna(about["one_of"]) else about["one_of"],
                    "gate": about["gate"],
                    "rests_on": about["rests_on"],
                    "due": start + timedelta(weeks=int(about["due_week"])),
                    **asdict(fact),
                    "source": about["source"],
                }
            )
    return pd.DataFrame(rows)


def passage(found: pd.DataFrame, phase: int, at: str) -> GateState:
    """Whether a phase may be entered, or is done: what its gates say together.

    found: from `gates`. All gates of the study must be passed, and those of one workload at least:
    a phase begins with the first workload that is ready. Where gates are about single workloads and
    none is named, there is nothing to begin with, and the passage is open.
    """
    rows = found[(found["phase"] == phase) & (found["at"] == at)]
    of_study = rows[rows["workload"] == ALL]
    each = [_of_workload(own) for _, own in rows[rows["workload"] != ALL].groupby("workload")]
    states: list[GateState] = list(of_study["state"])
    return worst([*states, best(each)] if each or _is_about_workloads(phase, at) else states)


def _is_about_workloads(phase: int, at: str) -> bool:
    table = pd.read_csv(paths.data("phase_gates.csv"))
    own = table[(table["phase"] == phase) & (table["at"] == at)]
    return bool((own["scope"] == "workload").any())


def _of_workload(rows: pd.DataFrame) -> GateState:
    """One workload's gates: all of them, but of those with the same words in one_of one."""
    alone = rows["one_of"].isna()
    chosen = [best(own["state"]) for _, own in rows[~alone].groupby("one_of")]
    return worst([*rows.loc[alone, "state"], *chosen])


# --- work items -----------------------------------------------------------------------------


@dataclass(frozen=True)
class ItemCost:
    """What one item costs, for a workload or `ALL`, and on what that rests. Unit: usd."""

    scope: str
    usd: float
    low_usd: float
    high_usd: float
    rests_on: str


@dataclass(frozen=True)
class TriggerStep:
    """What a trigger that fired on a workload asks for, of whom, and on which evidence."""

    id: str
    workload: str
    owner: str
    step: str
    evidence: str


def items(
    plan: pd.DataFrame,
    start: date,
    costs: Mapping[str, Sequence[ItemCost]],
    fired: Sequence[TriggerStep] = (),
) -> pd.DataFrame:
    """The work of each phase, dated, and its cost as far as figures split it.

    plan: phases with phase, start, end, owner, cost_usd, cost_low_usd, cost_high_usd. costs: by the
    column `costs` of `phase_items.csv`; an item with a cost for several workloads has a row for
    each, one without any has one row and no cost of its own. fired: triggers, whose steps are work
    of the first phase.

    Returns: phase, item, scope, owner, start, end, cost_usd, cost_low_usd, cost_high_usd, rests_on,
    note, source; and for each phase whose figure is not used up by its items one row more, the work
    that has no figure of its own. Each phase's costs then sum to its own, unless its items cost
    more than its figure, which the note of that row says.
    """
    rows: list[dict[str, Any]] = []
    for about in pd.read_csv(paths.data("phase_items.csv")).to_dict("records"):
        own = costs.get(about["costs"], ()) if isinstance(about["costs"], str) else ()
        priced: Sequence[ItemCost | None] = own or (None,)
        for cost in priced:
            rows.append(
                {
                    "phase": about["phase"],
                    "item": about["item"],
                    "scope": cost.scope if cost else ALL,
                    "owner": about["owner"],
                    "start": start + timedelta(weeks=int(about["start_week"])),
                    "end": start + timedelta(weeks=int(about["end_week"])),
                    "cost_usd": cost.usd if cost else None,
                    "cost_low_usd": cost.low_usd if cost else None,
                    "cost_high_usd": cost.high_usd if cost else None,
                    "rests_on": cost.rests_on if cost else None,
                    "note": None,
                    "source": about["source"],
                }
            )
    phase = plan.iloc[0]
    rows += [
        {
            "phase": phase["phase"],
            "item": f"{one.id} fired: {one.step}",
            "scope": one.workload,
            "owner": one.owner,
            "start": phase["start"],
            "end": phase["end"],
            **dict.fromkeys(("cost_usd", "cost_low_usd", "cost_high_usd", "rests_on")),
            "note": one.evidence,
            "source": "triggers.csv",
        }
        for one in fired
    ]
    rests = [_rest(phase, rows) for phase in plan.to_dict("records")]
    rows += [rest for rest in rests if rest is not None]
    return pd.DataFrame(rows).sort_values("phase", kind="stable", ignore_index=True)


def _rest(phase: Mapping[Any, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """What a phase's figure leaves for the items without one; None where it leaves nothing."""
    priced = [r for r in rows if r["phase"] == phase["phase"] and r["cost_usd"] is not None]
    ends = ("cost_usd", "cost_low_usd", "cost_high_usd")
    left = {end: phase[end] - sum(row[end] for row in priced) for end in ends}
    if not any(left.values()):
        return None
    low, high = sorted(max(left[end], 0.0) for end in ends[1:])
    short = "" if min(left.values()) >= 0 else "cost" if left["cost_usd"] < 0 else "may cost"
    return {
        "phase": phase["phase"],
        "item": "the items of this phase without a figure of their own",
        "scope": ALL,
        "owner": phase["owner"],
        "start": phase["start"],
        "end": phase["end"],
        "cost_usd": max(left["cost_usd"], 0.0),
        "cost_low_usd": low,
        "cost_high_usd": high,
        "rests_on": "what the phase's figure leaves",
        "note": f"the items {short} more than the phase's figure" if short else None,
        "source": "phases.csv",
    }

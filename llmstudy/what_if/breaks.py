"""At which value does one lever, by itself, turn a move?

A move passes when the chance that it is cheaper than staying on today's named model and its median
saving reach the study's lines. A value is sought between the ends of a lever's range, where it
turns once or not at all; one that turns twice between them is not found.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from llmstudy import uncertainty as mc
from llmstudy.figure import FloatArray
from llmstudy.study import Study
from llmstudy.what_if.changes import Changes, changed
from llmstudy.what_if.move import Move

if TYPE_CHECKING:
    from llmstudy.what_if.prepared import Prepared

N_BREAKS = 600
"""Draws on which a value is sought, as many as for the thresholds of chapter 06."""

STEPS = 10
"""Halvings of a lever's range: to within a thousandth of it, 1 % of a volume or a price."""

Lever = Literal["volume", "growth", "gpu_price", "reserved", "team", "margin"]

RANGES: dict[Lever, tuple[float, float]] = {
    "volume": (0.01, 100.0),
    "growth": (-0.1, 0.2),
    "gpu_price": (0.05, 20.0),
    "reserved": (0.0, 1.0),
    "team": (0.0, 10.0),
}
"""Where a lever is searched: beyond what a slider offers, short of what nobody would believe."""

_BY_RATIO = ("volume", "gpu_price")


@dataclass(frozen=True)
class BreakEven:
    """Where a lever turns a move. at: the lever's value, in its own unit; None: nowhere in range.

    passes_above: whether the move passes for values above it.
    """

    route: str
    lever: Lever
    at: float | None
    passes_above: bool | None


def break_evens(
    base: "Prepared", study: Study, changes: Changes, move: Move
) -> tuple[BreakEven, ...]:
    """Where each lever, by itself, turns a move, the others as they are set.

    Volume, growth, GPU price, reservations and team turn it on cost; the quality margin turns its
    proof. Targets and API models are a handful of settings: the panel shows each.
    """
    few = move.head(N_BREAKS)
    months = np.arange(base.months)

    def at_growth(x: float) -> FloatArray:
        ratio = np.log1p(few.growth + x - changes.growth) - np.log1p(few.growth)
        return few.on(few.requests * np.exp(ratio[:, None] * months)).saved()

    fleets = [bill for bill in (move.stay, move.go) if isinstance(bill, mc.FleetBill)]
    by_cost: dict[Lever, Callable[[float], FloatArray]] = {
        "volume": _by_volume(few, changes.volume, linear=not fleets),
        "growth": at_growth,
    }
    if fleets:
        now = changes.gpu_price
        by_cost["gpu_price"] = _linear(
            lambda x: _rented(base, replace(changes, gpu_price=x), few), now, 2 * now
        )
        by_cost["reserved"] = lambda x: _rented(base, replace(changes, reserved=x), few)
        by_cost["team"] = _linear(_staffed(base, study, few, changes.team), 0.0, changes.team)
    found = [
        _turn(move.route, lever, lambda x, f=saved: few.passes(f(x), study))  # type: ignore[misc]
        for lever, saved in by_cost.items()
    ]
    return (*found, _margin(base, changes, move))


def _by_volume(few: Move, now: float, *, linear: bool) -> Callable[[float], FloatArray]:
    """A saving by volume: linear where both routes bill by the token, in steps on a fleet."""

    def at(x: float) -> FloatArray:
        return few.on(few.requests * (x / now)).saved()

    return _linear(at, 0.0, now) if linear else at


def _linear(
    saved: Callable[[float], FloatArray], first: float, second: float
) -> Callable[[float], FloatArray]:
    """A saving that is linear in a lever, from its values at two settings."""
    start, end = saved(first), saved(second)
    slope = (end - start) / (second - first)
    return lambda x: start + slope * (x - first)


def _rented(base: "Prepared", changes: Changes, few: Move) -> FloatArray:
    """A saving at another price of the GPUs, or another share of the hours reserved."""
    on = base.first(N_BREAKS)
    study = changed(on.study, changes)
    offers = on.offers(study, changes)
    stay, go = (
        on.bill(few.workload, route, on.move(study, offers, few.workload, route), changes)
        for route in (study.workloads[few.workload].current_route, few.route)
    )
    return replace(few, stay=stay, go=go).on(few.requests).saved()


def _staffed(
    base: "Prepared", study: Study, few: Move, now: float
) -> Callable[[float], FloatArray]:
    """A saving by the engineers whom fleets take; the rest of what the team costs stays."""
    engineers = base.engineers_month_usd(study)[: len(few.team_usd)]
    paid = few.team_usd > 0  # nothing where another fleet pays for the team

    def at(x: float) -> FloatArray:
        return replace(
            few, team_usd=few.team_usd + np.where(paid, (x / now - 1) * engineers, 0.0)
        ).saved()

    return at


def _turn(route: str, lever: Lever, passes: Callable[[float], bool]) -> BreakEven:
    low, high = RANGES[lever]
    above = passes(high)
    if passes(low) == above:
        return BreakEven(route, lever, None, None)
    for _ in range(STEPS):
        middle = float(np.sqrt(low * high)) if lever in _BY_RATIO else (low + high) / 2
        low, high = (low, middle) if passes(middle) == above else (middle, high)
    return BreakEven(route, lever, (low + high) / 2, above)


def _margin(base: "Prepared", changes: Changes, move: Move) -> BreakEven:
    """The change of the margin from which a route holds it on the items at hand; none where these
    are far from the task and hold no margin."""
    quality = base.quality(changes.margin)
    rows = quality[(quality["workload"] == move.workload) & (quality["route"] == move.route)]
    near = rows[rows["closeness"] != "far"]
    low = near["low"].iloc[0] if len(near) else None
    if low is None or pd.isna(low) or not 0 < -low < 1:
        return BreakEven(move.route, "margin", None, None)
    own = base.study.workloads[move.workload].quality.margin.value
    return BreakEven(move.route, "margin", float(-low) - own, True)

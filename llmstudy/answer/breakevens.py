"""At which value of one lever does a move start or stop paying, and where are the crossovers?

A move passes if its probability of being cheaper than staying on today's named model and its median
saving reach the study's thresholds. The search covers a lever's range and assumes that the move
turns at most once in it; a move that turns twice counts as one that does not turn.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Literal

import numpy as np

from llmstudy import simulate
from llmstudy.answer.changes import BASE, Changes
from llmstudy.answer.outcome import Outcome, WorkloadOutcome
from llmstudy.answer.prepared import Move, Prepared, on_first_draws, quality_at, setting, under
from llmstudy.evidence.case import rows_of
from llmstudy.figure import FloatArray
from llmstudy.measures.cost import TokenPrice
from llmstudy.simulate.inputs import draws_of
from llmstudy.study import Study
from llmstudy.study.lines import lines_of, meets_lines

N_BREAK_EVENS = 600
"""Draws used to search for a value, as many as for the thresholds of chapter 06."""

N_CROSSOVER = 1000
"""Draws of a crossover: its median is then within about 2 % of that of chapter 06."""

TOLERANCE_SHARE = 1 / 1024
"""Tolerance of the search, as a share of the lever's range: 1 % of a volume or price."""

Lever = Literal["volume", "growth", "gpu_price", "reserved", "team", "margin"]

RANGES: dict[Lever, tuple[float, float]] = {
    "volume": (0.01, 100.0),
    "growth": (-0.1, 0.2),
    "gpu_price": (0.05, 20.0),
    "reserved": (0.0, 1.0),
    "team": (0.0, 10.0),
}
"""The search range of each lever: wider than the slider, but plausible."""

_BY_RATIO = ("volume", "gpu_price")

Saving = Callable[[float], FloatArray]
"""The saving of a move, (n,) usd, by the value of a lever."""


@dataclass(frozen=True)
class BreakEven:
    """The value of a lever at which a move turns. at: in the lever's unit; None: not in its range.

    passes_above: whether the move passes for values above it.
    """

    route: str
    lever: Lever
    at: float | None
    passes_above: bool | None


def break_evens(prepared: Prepared, outcome: Outcome) -> dict[str, tuple[BreakEven, ...]]:
    """The values at which each lever turns the best moves of each workload, other levers as set.

    The moves are those of chapter 06: the one that saves most, and the self-hosted one that saves
    most. Volume, growth, GPU price, reservations and team turn their cost; the quality margin turns
    their proof. Latency targets and API models have only a few settings: the panel shows each.
    """
    changes = outcome.changes
    at = setting(prepared, changes)
    return {
        name: tuple(
            turn
            for move in moves
            if move.route in _best(outcome.workloads[name])
            for turn in _turns(prepared, at.study, changes, move)
        )
        for name, moves in at.moves.items()
    }


def _best(workload: WorkloadOutcome) -> set[str]:
    self_hosted = {r.route for r in workload.routes if r.favoured and r.arm == "self_hosted"}
    return self_hosted | ({workload.best.route} if workload.best else set())


def _turns(prepared: Prepared, study: Study, changes: Changes, move: Move) -> tuple[BreakEven, ...]:
    head = move.head(N_BREAK_EVENS)
    fleets = any(isinstance(bill, simulate.FleetBill) for bill in (move.stay, move.go))

    def at_volume(x: float) -> FloatArray:
        return head.on(head.requests * (x / changes.volume)).saving_usd()

    by_cost: dict[Lever, Saving] = {
        # linear where both routes bill by the token, in steps on a fleet
        "volume": at_volume if fleets else _linear(at_volume, 0.0, changes.volume),
        "growth": partial(_at_growth, head, changes.growth),
    }
    if fleets:
        now = changes.gpu_price
        by_price = partial(_at_rent, prepared, head, changes, "gpu_price")
        by_cost["gpu_price"] = _linear(by_price, now, 2 * now)
        by_cost["reserved"] = partial(_at_rent, prepared, head, changes, "reserved")
        team = partial(_at_team, head, _engineers_usd(study, head), changes.team)
        by_cost["team"] = _linear(team, 0.0, changes.team)
    lines = lines_of(study)

    def passes(saving: Saving, value: float) -> bool:
        usd = saving(value)
        return meets_lines(float((usd > 0).mean()), float(np.median(usd)), lines)

    turns = (_turn(move.route, lever, partial(passes, saving)) for lever, saving in by_cost.items())
    return (*turns, _margin(prepared, changes, move))


def _linear(saving: Saving, first: float, second: float) -> Saving:
    """The saving as a linear function of a lever, from its values at two settings."""
    start, end = saving(first), saving(second)
    slope = (end - start) / (second - first)
    return lambda x: start + slope * (x - first)


def _at_growth(head: Move, now: float, x: float) -> FloatArray:
    ratio = np.log1p(head.growth + x - now) - np.log1p(head.growth)
    months = np.arange(head.requests.shape[1])
    return head.on(head.requests * np.exp(ratio[:, None] * months)).saving_usd()


def _at_rent(
    prepared: Prepared, head: Move, changes: Changes, lever: Lever, x: float
) -> FloatArray:
    """The saving at another GPU price, or another share of reserved hours. (n,) usd."""
    smaller = on_first_draws(prepared, len(head.growth))
    at = replace(changes, **{lever: x})  # type: ignore[arg-type]
    study, offers = under(smaller, at)
    stay, go = (
        smaller.bill(head.workload, route, smaller.draws(study, offers, head.workload, route), at)
        for route in (study.workloads[head.workload].current_route, head.route)
    )
    return replace(head, stay=stay, go=go).on(head.requests).saving_usd()


def _at_team(head: Move, engineers_usd: FloatArray, now: float, x: float) -> FloatArray:
    """The saving with another number of engineers; other team costs stay. (n,) usd."""
    pays_team = head.team_usd > 0  # not where another fleet pays for the team
    more = np.where(pays_team, (x / now - 1) * engineers_usd, 0.0)
    return replace(head, team_usd=head.team_usd + more).saving_usd()


def _engineers_usd(study: Study, head: Move) -> FloatArray:
    """The monthly cost of the fleets' engineers in every draw. (n,) usd."""
    figures = {
        "fte": ("self_hosting.fte", study.self_hosting.fte),
        "usd_per_fte_year": ("team.usd_per_fte_year", study.team.usd_per_fte_year),
    }
    d = draws_of(figures, len(head.team_usd), study.seed)
    return np.asarray(d["fte"] * d["usd_per_fte_year"] / 12)


def _turn(route: str, lever: Lever, passes: Callable[[float], bool]) -> BreakEven:
    low, high = RANGES[lever]
    above = passes(high)
    if passes(low) == above:
        return BreakEven(route, lever, None, None)
    if lever not in _BY_RATIO:
        at = simulate.turning_point(passes, low, high, above, TOLERANCE_SHARE, high - low)
        return BreakEven(route, lever, at, above)
    least, most = float(np.log(low)), float(np.log(high))
    at = simulate.turning_point(
        lambda x: passes(np.exp(x)), least, most, above, TOLERANCE_SHARE, most - least
    )
    return BreakEven(route, lever, float(np.exp(at)), above)


def _margin(prepared: Prepared, changes: Changes, move: Move) -> BreakEven:
    """The change of the margin from which a route keeps it on its items.

    None if the items are too far from the task to prove anything.
    """
    rows = quality_at(prepared, changes.margin)
    lows = (
        row["low"]
        for row in rows_of(rows, workload=move.workload, route=move.route)
        if row["closeness"] != "far" and row["low"] is not None
    )
    low = next(lows, 0.0)
    if not 0 < -low < 1:
        return BreakEven(move.route, "margin", None, None)
    margin = prepared.study.workloads[move.workload].quality.margin.value
    return BreakEven(move.route, "margin", float(-low) - margin, True)


# --- the volume from which a route is cheaper ---------------------------------------------------

Crossovers = Mapping[tuple[str, str], tuple[float | None, ...]]
"""(workload, route) -> requests a month from which the route is cheaper than today's API: p10, p50
and p90, None for never."""


def crossovers(prepared: Prepared, outcome: Outcome) -> Crossovers:
    """The crossover of each arm's favoured route, as in chapter 06, if today's route is an API.

    It does not depend on the changes of volume, growth and margin.
    """
    at = replace(outcome.changes, volume=1.0, growth=0.0, margin=0.0, api_route=None)
    bands = {
        (name, cost.route): _crossover(
            # the remaining levers only affect fleets
            prepared,
            name,
            cost.route,
            at if cost.arm == "self_hosted" else BASE,
        )
        for name, workload in outcome.workloads.items()
        for cost in workload.favoured
        if not cost.stays
    }
    return {pair: band for pair, band in bands.items() if band}


@lru_cache(maxsize=512)
def _crossover(
    prepared: Prepared, name: str, route: str, changes: Changes
) -> tuple[float | None, ...] | None:
    smaller = on_first_draws(prepared, min(N_CROSSOVER, prepared.n))
    study, offers = under(smaller, changes)
    current = offers.offer(name, study.workloads[name].current_route)
    challenger = offers.offer(name, route)
    if not isinstance(current, TokenPrice) or challenger is None:
        return None
    d, cap = smaller.draws(study, offers, name, route), study.volume_cap.value
    volumes = simulate.crossover_requests_per_month(current, challenger, d, study.months, cap)
    return tuple(simulate.band(volumes))

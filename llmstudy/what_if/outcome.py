"""What does each arm cost at other assumptions, what would moving save, what is the verdict?"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from llmstudy import decision
from llmstudy import uncertainty as mc
from llmstudy.assess.futures import followed
from llmstudy.assess.market import Market, inputs, spread, todays_fleets
from llmstudy.assess.verdict import verdicts_of
from llmstudy.cost import TokenPrice
from llmstudy.figure import FloatArray
from llmstudy.study import Study
from llmstudy.what_if.breaks import BreakEven, break_evens
from llmstudy.what_if.changes import BASE, Changes, changed
from llmstudy.what_if.move import Move
from llmstudy.what_if.prepared import Prepared

Spread = Mapping[str, float]
"""p10, p50, p90. Unit: usd."""


@dataclass(frozen=True)
class RouteCost:
    """A workload on one route: what it costs, and what moving there saves.

    month_usd: the median bill of the first month as if moved already, a fleet's team included.
    horizon_usd: ramp, one-off costs and dual running included, worth what it is today.
    stays: today's route; its saving is 0. favoured: of its arm the route that saves most. passes:
    the saving against today's named model meets the study's lines. _same_quality: the chance and
    the median saving against a buyer who moves on to each cheaper equal. crossover_requests:
    monthly volume from which the route is cheaper than today's API, p10, p50 and p90 with None for
    never; None where that is not asked.
    """

    route: str
    arm: str
    stays: bool
    favoured: bool
    month_usd: float
    horizon_usd: Spread
    saving_usd: Spread
    p_cheaper: float
    passes: bool
    p_cheaper_same_quality: float
    saving_same_quality_usd: float
    crossover_requests: tuple[float | None, ...] | None = None


@dataclass(frozen=True)
class WorkloadOutcome:
    """The routes of a workload, today's first, its verdict, and what would turn its best moves.

    No routes where today's cannot be priced or sized.
    """

    routes: tuple[RouteCost, ...]
    verdict: decision.Verdict
    breaks: tuple[BreakEven, ...]

    @property
    def favoured(self) -> tuple[RouteCost, ...]:
        """Today's route, and the favoured route of each arm."""
        return tuple(route for route in self.routes if route.stays or route.favoured)

    @property
    def best(self) -> RouteCost | None:
        """The move that saves most, or None where nothing may move."""
        moves = [route for route in self.routes if not route.stays]
        return max(moves, key=lambda route: route.saving_usd["p50"], default=None)

    def of(self, route: str) -> RouteCost | None:
        """The outcome of a route, where it has one."""
        return next((found for found in self.routes if found.route == route), None)


@dataclass(frozen=True)
class Outcome:
    """The answer at one setting of the levers. requests: a month's, by workload."""

    changes: Changes
    requests: Mapping[str, float]
    workloads: Mapping[str, WorkloadOutcome]
    overall: str

    @property
    def stay_month_usd(self) -> float:
        """The first month's bill when nothing moves, over all workloads: the sum of the medians."""
        return sum(w.routes[0].month_usd for w in self.workloads.values() if w.routes)


def what_if(base: Prepared, changes: Changes = BASE, *, breaks: bool = True) -> Outcome:
    """The answer at one setting of the levers, on the draws of the base case.

    breaks: whether to solve where each lever turns the best moves of each workload.
    Raises: ValueError for targets that were not sized.
    """
    at, moves, costs = _costed(base, replace(changes, margin=BASE.margin))
    at = replace(at, changes=changes)
    verdicts = _verdicts(at, costs)
    outcomes = {}
    for name, routes in costs.items():
        asked = _asked(routes) if breaks else set()
        solved = [break_evens(base, at.study, changes, m) for m in moves[name] if m.route in asked]
        found = tuple(turn for turns in solved for turn in turns)
        outcomes[name] = WorkloadOutcome(routes, verdicts[name], found)
    requests = {name: w.intake.requests.value for name, w in at.study.workloads.items()}
    return Outcome(changes, requests, outcomes, decision.overall(verdicts))


@dataclass(frozen=True)
class _Setting:
    """One setting of the levers: the study that it makes, and what its routes charge."""

    base: Prepared
    changes: Changes
    study: Study
    offers: Market


@lru_cache(maxsize=1)
def _costed(
    base: Prepared, changes: Changes
) -> tuple[_Setting, dict[str, list[Move]], dict[str, tuple[RouteCost, ...]]]:
    """Moves and costs of every workload. Kept while only the margin is turned, which costs nothing.

    Nobody reads the margin of this study: the gates hold their own.
    """
    study = changed(base.study, changes)
    at = _Setting(base, changes, study, base.offers(study, changes))
    moves = {name: _moves(at, name) for name in study.workloads}
    return at, moves, {name: _costs(at, found) for name, found in moves.items()}


def _moves(at: _Setting, name: str) -> list[Move]:
    """A workload on today's route, then on each other that may serve it; none if not priced."""
    workload, base = at.study.workloads[name], at.base
    today = workload.current_route
    current = at.offers.offer(name, today)
    if current is None:
        return []
    d = base.move(at.study, at.offers, name, today)
    requests = mc.volumes(d, base.months)
    stay = base.bill(name, today, d, at.changes)
    paid = stay.usd(requests)
    found = []
    for route in (today, *(r for r in workload.candidates if base.may_move(at.offers, name, r))):
        d = base.move(at.study, at.offers, name, route)
        go, held = base.bill(name, route, d, at.changes), base.terms(name, route)
        due, team = go.usd(requests), mc.staff_month_usd(d)
        found.append(Move(name, route, held, d["growth"], requests, stay, go, paid, due, team))
    return found


def _costs(at: _Setting, moves: list[Move]) -> tuple[RouteCost, ...]:
    """The costs of a workload's routes, today's first."""
    if not moves:
        return ()
    stay, equal = _stay_usd(at, moves[0]), _followed(at, moves[0])
    saved = [np.zeros_like(stay), *(move.saved() for move in moves[1:])]
    against = [saved[0], *(replace(move, paid=equal).saved() for move in moves[1:])]
    best: dict[str, int] = {}  # arm -> place of the move that saves most
    for i in sorted(range(1, len(moves)), key=lambda i: -float(np.median(saved[i]))):
        best.setdefault(at.study.routes[moves[i].route].arm, i)
    return tuple(
        _cost(at, move, stay, saved[i], against[i], stays=i == 0, favoured=i in best.values())
        for i, move in enumerate(moves)
    )


def _stay_usd(at: _Setting, today: Move) -> FloatArray:
    """What staying costs over the horizon, as chapter 06 discounts it. (n,) usd."""
    worth = at.base.discount()
    bills = (today.paid * worth).sum(axis=1)
    return np.asarray(bills + _team_usd(at, today) * worth.sum(axis=1))


def _followed(at: _Setting, today: Move) -> FloatArray:
    """Bills of a buyer who stays and moves on to each cheaper equal, as chapter 06 has them;
    today's own off the proprietary APIs. (n, months) usd."""
    offer = at.offers.offer(today.workload, today.route)
    if not isinstance(offer, TokenPrice) or offer.arm != "proprietary_api":
        return today.paid
    d, months = at.base.move(at.study, at.offers, today.workload, today.route), at.base.months
    named = mc.price_factor(offer, d, months) * np.ones_like(today.requests)
    return followed(at.study, offer, d, today.requests, named)[0]


def _team_usd(at: _Setting, today: Move) -> FloatArray:
    """A workload's part of the month of the team: today's fleets share it equally. (n,) usd."""
    own = todays_fleets(at.study)
    sized = {n for n in own if at.offers.offer(n, at.study.workloads[n].current_route)}
    if today.workload not in sized:
        return np.zeros(1)
    # the draws of the move itself hold no team where another fleet pays for it
    found = inputs(at.study, today.workload, today.route, None)
    return np.asarray(mc.staff_month_usd(at.base.draws(found)) / len(sized))


def _cost(
    at: _Setting,
    move: Move,
    stay: FloatArray,
    saved: FloatArray,
    against: FloatArray,
    *,
    stays: bool,
    favoured: bool,
) -> RouteCost:
    arm = at.study.routes[move.route].arm
    team = _team_usd(at, move) if stays else move.team_usd * (arm == "self_hosted")
    month = move.due[:, 0] + team
    crossover = at.base.crossover(move.workload, move.route, at.changes) if favoured else None
    return RouteCost(
        route=move.route,
        arm=arm,
        stays=stays,
        favoured=favoured,
        month_usd=float(np.median(month)),
        horizon_usd=spread(stay - saved),
        saving_usd=spread(saved),
        p_cheaper=float((saved > 0).mean()),
        passes=not stays and move.passes(saved, at.study),
        p_cheaper_same_quality=float((against > 0).mean()),
        saving_same_quality_usd=float(np.median(against)),
        crossover_requests=crossover,
    )


def _asked(routes: tuple[RouteCost, ...]) -> set[str]:
    """The moves of which it is asked what turns them, as in chapter 06: the one that saves most,
    and the self-hosted one that saves most."""
    moves = [route for route in routes if not route.stays]
    best = max(moves, key=lambda route: route.saving_usd["p50"], default=None)
    own = [route.route for route in moves if route.favoured and route.arm == "self_hosted"]
    return {*own, *([best.route] if best else [])}


def _verdicts(
    at: _Setting, costs: Mapping[str, tuple[RouteCost, ...]]
) -> dict[str, decision.Verdict]:
    """The verdicts by chapter 07's own gates, on these savings."""
    table = at.base.gates(at.changes.slo, at.changes.margin, at.changes.api_route)
    rows = {(name, row.route): row for name, routes in costs.items() for row in routes}
    found = [rows.get(pair) for pair in zip(table["workload"], table["route"], strict=True)]
    columns: dict[str, list[float]] = {
        f"saving_{key}_usd": [row.saving_usd[key] if row else 0.0 for row in found]
        for key in ("p10", "p50", "p90")
    }
    for key in ("p_cheaper", "p_cheaper_same_quality", "saving_same_quality_usd"):
        columns[key] = [getattr(row, key) if row else 0.0 for row in found]
    return verdicts_of(at.study, table.assign(**columns).copy())

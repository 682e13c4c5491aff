"""What does each route cost, what would moving save, what is the verdict and the headline?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import pandas as pd

from llmstudy.answer.changes import BASE, Changes
from llmstudy.answer.prepared import Move, Prepared, Setting, gates_at, price_over_todays, setting
from llmstudy.decide.routes import verdicts_of, with_savings
from llmstudy.decide.verdicts import Verdict, overall
from llmstudy.figure import FloatArray
from llmstudy.measures.cost import TokenPrice
from llmstudy.simulate.futures import Part, followed, saving_together
from llmstudy.simulate.inputs import discount_draws, spread, team_draws
from llmstudy.study.lines import lines_of, meets_lines

Kind = Literal["saving", "at_stake", "stay"]
"""Saving of the recommended moves; saving that better evidence could release; cost of staying."""

KINDS: tuple[Kind, ...] = ("saving", "at_stake", "stay")
"""The amounts that a memo may lead with, in order of preference."""

Spread = Mapping[str, float]
"""p10, p50 and p90 of an amount over the horizon. Unit: usd."""


def leading(amounts: Mapping[Kind, Spread | None]) -> dict[str, Any]:
    """The headline of a memo, which is the first amount that is not None: kind, p10, p50 and p90.

    >>> leading({"saving": None, "at_stake": None, "stay": {"p50": 9.0}})
    {'kind': 'stay', 'p50': 9.0}
    """
    kind, amount = next((kind, amounts[kind]) for kind in KINDS if amounts[kind])
    return {"kind": kind, **(amount or {})}


@dataclass(frozen=True)
class RouteCost:
    """A workload on one route: what it costs, and what moving there saves.

    month_usd: the median bill of the first month as if moved already, including a fleet's team.
    horizon_usd: including ramp, one-off costs and dual running, discounted to today. stays: it is
    today's route, whose saving is 0. favoured: the route of its arm that saves most. passes: the
    saving against today's named model meets the study's thresholds. p_cheaper_same_quality,
    saving_same_quality_usd: the probability and the median saving against a buyer who moves on to
    each cheaper model of equal quality.
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


@dataclass(frozen=True)
class WorkloadOutcome:
    """The routes of a workload, today's first, and its verdict.

    routes is empty if today's route cannot be priced or sized.
    """

    routes: tuple[RouteCost, ...]
    verdict: Verdict

    @property
    def course(self) -> str:
        """The decision, with its target if it has one."""
        target = self.verdict.target
        return f"{self.verdict.decision}: {target}" if target else self.verdict.decision

    @property
    def favoured(self) -> tuple[RouteCost, ...]:
        """Today's route, and the favoured route of each arm."""
        return tuple(route for route in self.routes if route.stays or route.favoured)

    @property
    def best(self) -> RouteCost | None:
        """The move that saves most; None if no move is possible."""
        moves = [route for route in self.routes if not route.stays]
        return max(moves, key=lambda route: route.saving_usd["p50"], default=None)

    def of(self, route: str) -> RouteCost | None:
        """The cost of a route by its name; None if the workload has no such route."""
        return next((cost for cost in self.routes if cost.route == route), None)


@dataclass(frozen=True)
class Outcome:
    """The answer under changes. requests: per month, by workload.

    amounts, over the horizon, None if the study has none of a kind: saving (of the recommended
    moves), at_stake (the saving that better evidence could release) and stay (the cost of staying).
    """

    changes: Changes
    requests: Mapping[str, float]
    workloads: Mapping[str, WorkloadOutcome]
    overall: str
    amounts: Mapping[Kind, Spread | None]

    def different(self, base: "Outcome") -> list[str]:
        """The workloads whose course differs from the base case."""
        courses = {name: w.course for name, w in base.workloads.items()}
        return [name for name, w in self.workloads.items() if w.course != courses[name]]

    @property
    def stay_month_usd(self) -> float:
        """The first month's bill if nothing moves: the sum of the medians of all workloads. USD."""
        return sum(w.routes[0].month_usd for w in self.workloads.values() if w.routes)

    @property
    def unbilled(self) -> tuple[str, ...]:
        """Workloads whose route of today has no known cost."""
        return tuple(name for name, workload in self.workloads.items() if not workload.routes)

    @property
    def headline(self) -> dict[str, Any] | None:
        """The headline of a memo, as `leading`; None if a workload has no known cost today."""
        return None if self.unbilled else leading(self.amounts)


def answer(prepared: Prepared, changes: Changes = BASE) -> Outcome:
    """The answer under changes, on the draws of the base case.

    Without changes, savings and probabilities are those of chapter 06, verdicts those of chapter
    07. Raises: ValueError for latency targets that fleets were not sized for.
    """
    at = setting(prepared, changes)
    costs, stay_usd = _costs(prepared, replace(changes, margin=BASE.margin))
    verdicts = _verdicts(prepared, at, changes, costs)
    requests = {name: w.intake.requests.value for name, w in at.study.workloads.items()}
    workloads = {name: WorkloadOutcome(costs[name], verdict) for name, verdict in verdicts.items()}
    targets = {
        decision: {n: v.target for n, v in verdicts.items() if v.decision == decision and v.target}
        for decision in ("move", "undecided")
    }
    amounts: dict[Kind, Spread | None] = {
        "saving": _together(at, targets["move"]),
        "at_stake": _together(at, targets["undecided"]),
        "stay": spread(stay_usd),
    }
    return Outcome(changes, requests, workloads, overall(verdicts), amounts)


def _together(at: Setting, targets: Mapping[str, str]) -> Spread | None:
    """What the moves to some targets save together; None without any."""
    parts = {
        name: Part(
            move.route,
            move.terms,
            move.terms.saving_usd(move.stay_usd, move.go_usd, np.zeros(1)),
        )
        for name, target in targets.items()
        for move in at.moves[name]
        if move.route == target
    }
    saving_usd = saving_together(at.study, parts)
    return None if saving_usd is None else spread(saving_usd)


@lru_cache(maxsize=1)
def _costs(
    prepared: Prepared, changes: Changes
) -> tuple[dict[str, tuple[RouteCost, ...]], FloatArray]:
    """The costs of every workload's routes, and the cost of staying over all workloads, (n,)
    usd."""
    at, total = setting(prepared, changes), np.zeros(prepared.n)
    worth = discount_draws(prepared.study, prepared.n)
    costs: dict[str, tuple[RouteCost, ...]] = dict.fromkeys(at.moves, ())
    for name, moves in at.moves.items():
        if moves:
            team_usd = team_draws(at.study, at.offers, name, prepared.n)
            stay = (moves[0].stay_usd * worth).sum(axis=1) + team_usd * worth.sum(axis=1)
            costs[name] = tuple(_route_costs(prepared, at, moves, stay, team_usd))
            total = total + stay
    return costs, total


def _route_costs(
    prepared: Prepared, at: Setting, moves: Sequence[Move], stay: FloatArray, team_usd: FloatArray
) -> Iterator[RouteCost]:
    """The costs of a workload's routes, today's first.

    stay: the cost of the horizon on today's route, (n,) usd. team_usd: its share of the team's
    month, (n,) usd.
    """
    arms = [at.study.routes[move.route].arm for move in moves]
    savings = [np.zeros_like(stay), *(move.saving_usd() for move in moves[1:])]
    equal_usd = _equals_usd(prepared, at, moves[0])
    spreads = [spread(saving) for saving in savings]
    lines = lines_of(at.study)
    best: dict[str, int] = {}  # arm -> place of the move that saves most
    for i in sorted(range(1, len(moves)), key=lambda i: -spreads[i]["p50"]):
        best.setdefault(arms[i], i)
    for i, move in enumerate(moves):
        stays, saving = i == 0, savings[i]
        against = saving if stays else replace(move, stay_usd=equal_usd).saving_usd()
        team = team_usd if stays else move.team_usd * (arms[i] == "self_hosted")
        p_cheaper = float((saving > 0).mean())
        yield RouteCost(
            route=move.route,
            arm=arms[i],
            stays=stays,
            favoured=best.get(arms[i]) == i,
            month_usd=float(np.median(move.go_usd[:, 0] + team)),
            horizon_usd=spread(stay - saving),
            saving_usd=spreads[i],
            p_cheaper=p_cheaper,
            passes=not stays and meets_lines(p_cheaper, spreads[i]["p50"], lines),
            p_cheaper_same_quality=float((against > 0).mean()),
            saving_same_quality_usd=float(np.median(against)),
        )


def _equals_usd(prepared: Prepared, at: Setting, today: Move) -> FloatArray:
    """The bills of a buyer who stays and moves on to each cheaper model of equal quality.

    As in chapter 06; today's bills if today's route is no proprietary API. (n, months) usd.
    """
    offer = at.offers.offer(today.workload, today.route)
    if not isinstance(offer, TokenPrice) or offer.arm != "proprietary_api":
        return today.stay_usd
    d = prepared.draws(at.study, at.offers, today.workload, today.route)
    price_ratio = price_over_todays(prepared, today.workload)
    return followed(at.study, offer.arm, today.go, d, today.requests, price_ratio)[0]


def _verdicts(
    prepared: Prepared,
    at: Setting,
    changes: Changes,
    costs: Mapping[str, Sequence[RouteCost]],
) -> dict[str, Verdict]:
    """The verdicts on these savings, by the rules of chapter 07."""
    equals = ("p_cheaper", "p_cheaper_same_quality", "saving_same_quality_usd")
    rows = [
        {"workload": name, "route": cost.route}
        | {f"saving_{end}_usd": usd for end, usd in cost.saving_usd.items()}
        | {key: getattr(cost, key) for key in equals}
        for name, routes in costs.items()
        for cost in routes[1:]
    ]
    columns = ["workload", "route", "saving_p10_usd", "saving_p50_usd", "saving_p90_usd", *equals]
    savings = pd.DataFrame(rows, columns=columns)
    table = gates_at(prepared, changes.slo, changes.margin, changes.api_route)
    return verdicts_of(at.study, with_savings(table, savings))

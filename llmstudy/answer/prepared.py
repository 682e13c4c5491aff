"""What is priced, sized and drawn once for all changes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pandas as pd

from llmstudy import io, simulate
from llmstudy.answer.changes import BASE, Changes, changed, with_quotes
from llmstudy.chapters.hosting import hosting_tables
from llmstudy.chapters.latency import latency_tables
from llmstudy.chapters.quality import quality_tables
from llmstudy.chapters.sizing import peak_fleets
from llmstudy.decide.routes import first_answers, gates
from llmstudy.evidence import gpu_hours
from llmstudy.evidence.case import Case, Results, permissions
from llmstudy.evidence.offers import FleetOffer
from llmstudy.figure import FloatArray
from llmstudy.simulate.inputs import (
    N_DRAWS,
    Market,
    draws_of,
    inputs,
    market,
    pair_inputs,
    paths_of,
)
from llmstudy.study import SelfHostedRoute, Study

SLO_FACTORS = (0.5, 0.75, 1.0, 1.5, 2.0)
"""Factors on the latency targets at which the panel's fleets are sized."""


@dataclass(frozen=True)
class Sized:
    """Fleets and latencies at one setting of the targets, as in the results of chapters 03 and
    05."""

    fleets: Mapping[tuple[str, str], FleetOffer]
    latency: Sequence[Mapping[str, Any]]
    failures: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, eq=False)
class Prepared:
    """A study with the prices of its routes, before anything is changed. Compares by identity.

    case: with a study from `with_quotes`. results: of chapters 02 to 05. sized: by the factor on
    the targets. base: the prices of all routes. permissions: as `case.permissions`. n: draws; by
    default those of the chapters.

    The utilisation that a fleet may reach stays that of a replay at the study's own volume: its
    range covers fleets of one to four replicas, and so other volumes.
    """

    case: Case
    results: Results
    sized: Mapping[float, Sized]
    base: Market
    permissions: pd.DataFrame
    n: int = N_DRAWS

    @property
    def study(self) -> Study:
        """The unchanged study."""
        return self.case.study

    def at(self, slo: float) -> Sized:
        """Fleets and latencies at a factor on the study's targets.

        Raises: ValueError if nothing was sized at that factor.
        """
        if slo not in self.sized:
            factors = ", ".join(f"{factor:g}" for factor in self.sized)
            raise ValueError(
                f"fleets were not sized for targets of {slo:g} times the study's own: use one of "
                f"{factors}, or add this factor to slo_factors of prepare()."
            )
        return self.sized[slo]

    def offers(self, study: Study, changes: Changes) -> Market:
        """The prices of all routes under changes. study: as from `changed`."""
        fleets = dict(self.at(changes.slo).fleets)
        if (changes.gpu_price, changes.reserved) != (BASE.gpu_price, BASE.reserved):
            for (name, route), offer in fleets.items():
                spec = study.routes[route]
                assert isinstance(spec, SelfHostedRoute)
                fleet = replace(
                    offer.fleet,
                    reserved_share=gpu_hours.reserved_share(spec),
                    capital_share=gpu_hours.capital_share(spec),
                )
                hour = gpu_hours.gpu_hour(spec, study.self_hosting.spot_rerun.value)
                fleets[name, route] = replace(offer, fleet=fleet, usd_per_gpu_hour=hour)
        return replace(self.base, fleets=fleets)

    @cached_property
    def able(self) -> set[tuple[str, str]]:
        """(workload, route) of each route that is permitted and fits the context."""
        able = self.permissions[self.permissions["permitted"] & self.permissions["fits_context"]]
        return set(zip(able["workload"], able["route"], strict=True))

    def draws(self, study: Study, offers: Market, name: str, route: str) -> simulate.Draws:
        """The draws of the inputs of a move, or of staying, with paths over time. As in chapter
        06."""
        if route == study.workloads[name].current_route:
            figures = inputs(study, name, route, offers.fleets.get((name, route)))
        else:
            figures = pair_inputs(study, offers, name, route)
        return {**draws_of(figures, self.n, study.seed), **_paths(self, name)}

    def bill(self, name: str, route: str, d: simulate.Draws, changes: Changes) -> simulate.Bill:
        """The bill of a route as a function of volume. d: as from `draws`.

        The GPU price is a factor on a fleet's rent; all else is computed once.
        """
        bill, hour = _bill_at_base_price(self, name, route, changes.slo, changes.reserved)
        if (
            not isinstance(bill, simulate.FleetBill)
            or hour is None
            or d["usd_per_gpu_hour"] is hour
        ):
            return bill
        return replace(bill, rent=bill.rent * d["usd_per_gpu_hour"] / hour)


def prepare(
    case: Case,
    results: Results,
    slo_factors: Sequence[float] = (1.0,),
    n: int = N_DRAWS,
) -> Prepared:
    """Computes once what does not depend on the changes.

    results: `02_cost` to `05_self_hosting` of the case, as `chapter_results` gives them.
    slo_factors: factors on the study's latency targets; sizing each of them, except 1, takes
    seconds per fleet. n: draws.
    Raises: ValueError as `peak_fleets`.
    """
    case = replace(case, study=with_quotes(case.study))
    cost, hosting = results["02_cost"], results["05_self_hosting"]
    base = market(cost, hosting, results["04_quality"])
    sized = {1.0: Sized(base.fleets, first_answers(results["03_latency"]), hosting["failures"])}
    for factor in {*slo_factors} - {1.0}:
        other = replace(case, study=changed(case.study, Changes(slo=factor)))
        resized = io.plain(hosting_tables(other, peak_fleets(other)))
        latency = first_answers(io.plain(latency_tables(other, resized)))
        sized[factor] = Sized(market(cost, resized).fleets, latency, resized["failures"])
    return Prepared(case, results, dict(sorted(sized.items())), base, permissions(case.study), n)


@lru_cache(maxsize=4)
def on_first_draws(prepared: Prepared, n: int) -> Prepared:
    """The same with the first n draws, which equal the draws of a smaller sample."""
    return replace(prepared, n=n)


# --- a move under changes -----------------------------------------------------------------------


@dataclass(frozen=True)
class Move:
    """A workload on a route, in every draw. team_usd: a month of the team, (n,).

    stay, go: the bills of today's route and of this one, as functions of volume; stay_usd, go_usd:
    their amounts at the requests, (n, months).
    """

    workload: str
    route: str
    terms: simulate.Terms
    growth: FloatArray
    requests: FloatArray
    stay: simulate.Bill
    go: simulate.Bill
    stay_usd: FloatArray
    go_usd: FloatArray
    team_usd: FloatArray

    def saving_usd(self) -> FloatArray:
        """What moving saves over the horizon, including the team. (n,) usd."""
        return self.terms.saving_usd(self.stay_usd, self.go_usd, self.team_usd)

    def on(self, requests: FloatArray) -> "Move":
        """The same move at another volume. requests: (n, months)."""
        stay_usd, go_usd = self.stay.usd(requests), self.go.usd(requests)
        return replace(self, requests=requests, stay_usd=stay_usd, go_usd=go_usd)

    def head(self, n: int) -> "Move":
        """The move in its first n draws, which equal those of a smaller sample."""
        parts = {key: _head(getattr(self, key), n) for key in ("terms", "stay", "go")}
        move: Move = _head(replace(self, **parts), n)
        return move


def _head(holder: Any, n: int) -> Any:
    """A dataclass with its arrays cut to the first n draws."""
    arrays: Any = {key: x[:n] for key, x in vars(holder).items() if isinstance(x, np.ndarray)}
    return replace(holder, **arrays)


@dataclass(frozen=True)
class Setting:
    """A study under changes, with the prices of its routes and the moves of its workloads.

    moves: by workload, today's route first, then each possible move; empty if today's route has no
    price.
    """

    study: Study
    offers: Market
    moves: Mapping[str, tuple[Move, ...]]


def setting(prepared: Prepared, changes: Changes) -> Setting:
    """The moves of all workloads under changes, on the draws of the base case.

    The margin is ignored here: it affects no cost, and `gates_at` takes it into account.
    """
    return _setting(prepared, replace(changes, margin=BASE.margin))


@lru_cache(maxsize=1)
def _setting(prepared: Prepared, changes: Changes) -> Setting:
    study, offers = under(prepared, changes)
    moves = {
        name: tuple(_moves(prepared, study, offers, changes, name)) for name in study.workloads
    }
    return Setting(study, offers, moves)


def _moves(
    prepared: Prepared, study: Study, offers: Market, changes: Changes, name: str
) -> Iterator[Move]:
    workload = study.workloads[name]
    today = workload.current_route
    if offers.offer(name, today) is None:
        return
    d = prepared.draws(study, offers, name, today)
    requests, stay = simulate.volumes(d, study.months), prepared.bill(name, today, d, changes)
    stay_usd = stay.usd(requests)
    for route in (today, *workload.candidates):
        if route != today and ((name, route) not in prepared.able or not offers.offer(name, route)):
            continue
        d = prepared.draws(study, offers, name, route)
        go = prepared.bill(name, route, d, changes)
        yield Move(
            name,
            route,
            _terms(prepared, name, route),
            d["growth"],
            requests,
            stay,
            go,
            stay_usd,
            go.usd(requests),
            simulate.staff_month_usd(d),
        )


# --- cached for many changes; bounded, since a slider takes many values --------------------


@lru_cache(maxsize=32)
def under(prepared: Prepared, changes: Changes) -> tuple[Study, Market]:
    """The study under changes, and the prices of its routes."""
    study = changed(prepared.study, changes)
    return study, prepared.offers(study, changes)


@lru_cache(maxsize=32)
def _paths(prepared: Prepared, name: str) -> simulate.Draws:
    return paths_of(prepared.study, name, prepared.n)


@lru_cache(maxsize=64)
def _terms(prepared: Prepared, name: str, route: str) -> simulate.Terms:
    """The terms of a move, which no change affects."""
    study, offers = prepared.study, prepared.base
    current = offers.priced(name, study.workloads[name].current_route)
    d = prepared.draws(study, offers, name, route)
    return simulate.terms(current, offers.priced(name, route), d, study.months)


@lru_cache(maxsize=64)
def _bill_at_base_price(
    prepared: Prepared, name: str, route: str, slo: float, reserved: float | None
) -> tuple[simulate.Bill, FloatArray | None]:
    changes = Changes(slo=slo, reserved=reserved)
    study, offers = under(prepared, changes)
    d = prepared.draws(study, offers, name, route)
    return simulate.bill(offers.priced(name, route), d, study.months), d.get("usd_per_gpu_hour")


@lru_cache(maxsize=32)
def price_over_todays(prepared: Prepared, name: str) -> FloatArray:
    """The price of today's API model in each month over its price today. (n, months)."""
    study = prepared.study
    route = study.workloads[name].current_route
    d = prepared.draws(study, prepared.base, name, route)
    price = simulate.price_factor(prepared.base.tokens[name, route], d, study.months)
    return price * np.ones((prepared.n, 1))


@lru_cache(maxsize=64)
def quality_at(prepared: Prepared, margin: float) -> Sequence[Mapping[str, Any]]:
    """The rows of chapter 04's table with a step added to each margin."""
    tables = prepared.results["04_quality"]
    if margin != BASE.margin:
        other = changed(prepared.study, Changes(margin=margin))
        tables = io.plain(quality_tables(replace(prepared.case, study=other)))
    rows: list[dict[str, Any]] = tables["quality"]
    return rows


@lru_cache(maxsize=64)
def gates_at(prepared: Prepared, slo: float, margin: float, api_route: str | None) -> pd.DataFrame:
    """`routes.gates` under changes: what a verdict reads of each route besides the savings."""
    study = changed(prepared.study, Changes(slo=slo, margin=margin, api_route=api_route))
    served = {(name, route) for name, w in study.workloads.items() for route in w.routes}
    table, sized = prepared.permissions, prepared.at(slo)
    pairs = zip(table["workload"], table["route"], strict=True)
    allowed = table[[pair in served for pair in pairs]]
    return gates(study, allowed, quality_at(prepared, margin), sized.latency, sized.failures)

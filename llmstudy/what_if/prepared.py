"""What is priced, sized and drawn once, for all settings of the levers?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import pandas as pd

from llmstudy import canonical, rent
from llmstudy import uncertainty as mc
from llmstudy.assess.case import Case, Results
from llmstudy.assess.hosting import hosting_tables
from llmstudy.assess.latency import latency_tables
from llmstudy.assess.market import (
    N_DRAWS,
    Market,
    inputs,
    market,
    pair_inputs,
    paths_of,
    permissions,
)
from llmstudy.assess.quality import quality_tables
from llmstudy.assess.verdict import route_table
from llmstudy.cost import TokenPrice
from llmstudy.evidence import FleetOffer
from llmstudy.figure import Figure, FloatArray
from llmstudy.study import SelfHostedRoute, Study
from llmstudy.what_if.changes import BASE, Changes, changed, with_quotes
from llmstudy.what_if.move import Terms, terms

N_CROSSOVER = 1000
"""Draws of a crossover: its median is then within some 2 % of that of chapter 06."""

SLO_FACTORS = (0.5, 0.75, 1.0, 1.5, 2.0)
"""Targets over the study's own at which an analyst's fleets are sized."""


@dataclass(frozen=True)
class Sized:
    """Fleets and latencies at one setting of the targets, as chapters 03 and 05 write them."""

    fleets: Mapping[tuple[str, str], FleetOffer]
    latency: Sequence[Mapping[str, Any]]
    failures: Sequence[Mapping[str, Any]]


def prepare(
    case: Case,
    results: Results,
    slo_factors: Sequence[float] = (1.0,),
    n: int = N_DRAWS,
) -> "Prepared":
    """Everything that a setting of the levers does not change, worked out once.

    results: `02_cost` to `05_self_hosting` of the case, as its chapters wrote them, or `measured`.
    slo_factors: targets over the study's own; each but 1 is sized anew, in seconds per fleet.
    n: draws; with those of the chapters the base case is theirs.
    Raises: ValueError as `hosting_tables`.
    """
    sized = {1.0: _sized(results["02_cost"], results["05_self_hosting"], results["03_latency"])}
    for factor in {*slo_factors} - {1.0}:
        other = replace(case, study=changed(with_quotes(case.study), Changes(slo=factor)))
        hosting = canonical.plain(hosting_tables(other, _fits(results)))
        latency = canonical.plain(latency_tables(other, hosting))
        sized[factor] = _sized(results["02_cost"], hosting, latency)
    return Prepared(case, results, sized, n)


def _fits(results: Results) -> pd.DataFrame:
    return pd.DataFrame(results["05_self_hosting"]["serving_fit"])


def _sized(
    cost: Mapping[str, Any], hosting: Mapping[str, Any], latency: Mapping[str, Any]
) -> Sized:
    return Sized(market(cost, hosting).fleets, latency["latency"], hosting["failures"])


class Prepared:
    """A study's market, its draws and its bills with the volume left open.

    How full a fleet may be stays what the study's own volume lets a replay sustain: its range spans
    fleets of one and of four replicas, so that other volumes lie within it.
    """

    def __init__(
        self, case: Case, results: Results, sized: Mapping[float, Sized], n: int = N_DRAWS
    ) -> None:
        self.study = with_quotes(case.study)
        self.n = n
        self.sized = dict(sorted(sized.items()))
        self.permissions = permissions(self.study)
        able = self.permissions[self.permissions["permitted"] & self.permissions["fits_context"]]
        self._able = set(zip(able["workload"], able["route"], strict=True))
        self._case = replace(case, study=self.study)
        self._results = results
        self._market = market(results["02_cost"], results["05_self_hosting"], results["04_quality"])
        # bounded, since a slider goes through many values
        self._drawn = lru_cache(maxsize=512)(self._draw)
        self.paths = lru_cache(maxsize=None)(self._paths)
        self._held = lru_cache(maxsize=None)(self._terms)
        self._open_bill = lru_cache(maxsize=48)(self._at_todays_price)
        self.quality = lru_cache(maxsize=64)(self._quality)
        self.gates = lru_cache(maxsize=64)(self._gates)
        self.first = lru_cache(maxsize=1)(self._first)
        self._crossed = lru_cache(maxsize=512)(self._crossover)

    def _first(self, n: int) -> "Prepared":
        """The same on the first draws, which are those of a smaller sample."""
        return Prepared(self._case, self._results, self.sized, n)

    @property
    def months(self) -> int:
        """The horizon."""
        return self.study.months

    def at(self, slo: float) -> Sized:
        """Fleets and latencies at targets so many times the study's own.

        Raises: ValueError where nothing was sized at that factor.
        """
        if slo not in self.sized:
            known = ", ".join(f"{factor:g}" for factor in self.sized)
            raise ValueError(
                f"targets of {slo:g} times the study's own were not sized: take one of {known}, or "
                "prepare with that factor."
            )
        return self.sized[slo]

    def offers(self, study: Study, changes: Changes) -> Market:
        """What every route charges at a setting of the levers. study: as `changed` makes it."""
        fleets = dict(self.at(changes.slo).fleets)
        if (changes.gpu_price, changes.reserved) != (BASE.gpu_price, BASE.reserved):
            spot_rerun = study.self_hosting.spot_rerun.value
            for (name, route), offer in fleets.items():
                spec = study.routes[route]
                assert isinstance(spec, SelfHostedRoute)
                fleet = replace(
                    offer.fleet,
                    reserved_share=rent.reserved_share(spec),
                    capital_share=rent.capital_share(spec),
                )
                hour = rent.gpu_hour(spec, spot_rerun)
                fleets[name, route] = replace(offer, fleet=fleet, usd_per_gpu_hour=hour)
        return replace(self._market, fleets=fleets)

    def draws(self, found: Mapping[str, tuple[str, Figure]]) -> dict[str, FloatArray]:
        """Draws of each input, as the chapters': (n,) each."""
        return {key: self._drawn(f.name or path, f) for key, (path, f) in found.items()}

    def _draw(self, stream: str, figure: Figure) -> FloatArray:
        return mc.draw(figure, stream, self.n, self.study.seed)

    def _paths(self, name: str) -> mc.Draws:
        return paths_of(self.study, name, self.n)

    def move(self, study: Study, offers: Market, name: str, route: str) -> mc.Draws:
        """The draws of a workload on a route, with the paths of prices and of its volume."""
        if route == study.workloads[name].current_route:
            found = inputs(study, name, route, offers.fleets.get((name, route)))
        else:
            found = pair_inputs(study, offers, name, route)
        return {**self.draws(found), **self.paths(name)}

    def discount(self) -> FloatArray:
        """What a dollar of each month's bill is worth today. (n, months)."""
        rate = {"discount_rate": ("discount_rate", self.study.discount_rate)}
        return mc.discount(self.draws(rate), self.months)

    def terms(self, name: str, route: str) -> Terms:
        """The terms of a move, which no lever changes."""
        return self._held(name, route)

    def _terms(self, name: str, route: str) -> Terms:
        offers = self.offers(self.study, BASE)
        current = offers.offer(name, self.study.workloads[name].current_route)
        offer = offers.offer(name, route)
        assert current is not None
        assert offer is not None
        return terms(current, offer, self.move(self.study, offers, name, route), self.months)

    def engineers_month_usd(self, study: Study) -> FloatArray:
        """What the engineers of the fleets cost a month, in every draw. (n,) usd."""
        hosting, team = study.self_hosting, study.team
        d = self.draws(
            {
                "fte": ("self_hosting.fte", hosting.fte),
                "usd_per_fte_year": ("team.usd_per_fte_year", team.usd_per_fte_year),
            }
        )
        return d["fte"] * d["usd_per_fte_year"] / 12

    def bill(self, name: str, route: str, d: mc.Draws, changes: Changes) -> mc.Bill:
        """The bill of a route with the volume left open. d: as `move`.

        The price of a GPU is one factor on a fleet's rent, so that the rest is kept.
        """
        found, hour = self._open_bill(name, route, changes.slo, changes.reserved)
        if not isinstance(found, mc.FleetBill) or hour is None or d["usd_per_gpu_hour"] is hour:
            return found
        return replace(found, rent=found.rent * d["usd_per_gpu_hour"] / hour)

    def _at_todays_price(
        self, name: str, route: str, slo: float, reserved: float | None
    ) -> tuple[mc.Bill, FloatArray | None]:
        changes = Changes(slo=slo, reserved=reserved)
        study = changed(self.study, changes)
        offers = self.offers(study, changes)
        d = self.move(study, offers, name, route)
        offer = offers.offer(name, route)
        assert offer is not None
        return mc.bill(offer, d, self.months), d.get("usd_per_gpu_hour")

    def crossover(self, name: str, route: str, changes: Changes) -> tuple[float | None, ...] | None:
        """Monthly volume from which a route is cheaper than today's API, as in chapter 06.

        p10, p50, p90, None for never; None where today's route is a fleet. What becomes of the
        volume, and which quality is asked for, does not enter; nor do fleets where there is none.
        """
        held = replace(changes, volume=1.0, growth=0.0, margin=0.0, api_route=None)
        return self._crossed(name, route, held if (name, route) in self.at(1.0).fleets else BASE)

    def _crossover(
        self, name: str, route: str, changes: Changes
    ) -> tuple[float | None, ...] | None:
        study = changed(self.study, changes)
        offers = self.offers(study, changes)
        current = offers.offer(name, study.workloads[name].current_route)
        challenger = offers.offer(name, route)
        if not isinstance(current, TokenPrice) or challenger is None:
            return None
        d = {k: x[:N_CROSSOVER] for k, x in self.move(study, offers, name, route).items()}
        cap = study.volume_cap.value
        return tuple(
            mc.band(mc.crossover_requests_per_month(current, challenger, d, self.months, cap))
        )

    def _gates(self, slo: float, margin: float, api_route: str | None) -> pd.DataFrame:
        """What a verdict reads of each route, but for the savings, which are 0. As `route_table`.

        A route without a saving counts as one that cannot be sized.
        """
        changes = Changes(slo=slo, margin=margin, api_route=api_route)
        study = changed(self.study, changes)
        offers, table = self.offers(study, changes), self.permissions
        served = {(name, route) for name, w in study.workloads.items() for route in w.routes}
        pairs = list(zip(table["workload"], table["route"], strict=True))
        allowed = table[[pair in served for pair in pairs]]
        priced_ = [
            {"workload": name, "route": route, "p_cheaper": 0.0}
            for name, route in zip(allowed["workload"], allowed["route"], strict=True)
            if self.may_move(offers, name, route)
        ]
        results: dict[str, dict[str, Any]] = {
            "03_latency": {"latency": self.at(slo).latency},
            "04_quality": {"quality": self.quality(margin)},
            "05_self_hosting": {"failures": self.at(slo).failures},
            "06_crossover": {"permissions": allowed, "savings": priced_, "by_buyer": []},
        }
        return route_table(study, results)

    def may_move(self, offers: Market, name: str, route: str) -> bool:
        """Whether a move to a route is permitted, long enough and priced, and so is staying."""
        current = self.study.workloads[name].current_route
        return (
            route != current
            and (name, route) in self._able
            and offers.offer(name, current) is not None
            and offers.offer(name, route) is not None
        )

    def _quality(self, margin: float) -> pd.DataFrame:
        if margin == BASE.margin:
            return pd.DataFrame(self._results["04_quality"]["quality"])
        other = changed(self.study, Changes(margin=margin))
        return pd.DataFrame(quality_tables(replace(self._case, study=other))["quality"])

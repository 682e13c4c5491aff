"""What is the one number of a memo, and what would it be under other assumptions?

A whole assessment takes a minute; the number that leads the memo needs little of it: what each
route charges, what each move saves, and the verdict that follows. `Replay` gives it for many
studies that differ in a few assumptions, and works out again only what those touch.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from llmstudy import canonical, capacity, evidence
from llmstudy.assess import projection
from llmstudy.assess.case import Case, Results
from llmstudy.assess.futures import portfolio_saving
from llmstudy.assess.market import (
    N_DRAWS,
    Market,
    discount_draws,
    market,
    permissions,
    spread,
    stay_draws,
    todays_fleets,
)
from llmstudy.assess.measured import measured
from llmstudy.assess.verdict import route_table, verdicts_of
from llmstudy.evidence import Traffic
from llmstudy.figure import FloatArray
from llmstudy.study import Study

Kind = Literal["saving", "at_stake", "stay"]
"""Saving of the recommended moves; saving that better evidence could release; cost of staying."""

Spread = Mapping[str, float]
"""p10, p50 and p90 of an amount over the horizon. Unit: usd."""


@dataclass(frozen=True)
class Answer:
    """What a study recommends, and its amounts over the horizon.

    verdicts: workload -> (decision, target route or None). saving: of the recommended moves, None
    without any; at_stake: of what better evidence could release, None where there is no such thing;
    stay: what staying costs. unbilled: workloads whose route of today has no known cost.
    """

    verdicts: Mapping[str, tuple[str, str | None]]
    saving: Spread | None
    at_stake: Spread | None
    stay: Spread
    unbilled: tuple[str, ...]

    @property
    def amounts(self) -> dict[Kind, Spread | None]:
        """The amounts by kind, in the order in which a memo leads with them."""
        return {"saving": self.saving, "at_stake": self.at_stake, "stay": self.stay}

    @property
    def headline(self) -> dict[str, Any] | None:
        """The number that leads a memo: kind, p10, p50, p90. None if it cannot be stated."""
        if self.unbilled:
            return None
        kind, found = next((kind, found) for kind, found in self.amounts.items() if found)
        return {"kind": kind, **found}


Verdicts = Mapping[str, tuple[str, str | None]]


def answer(study: Study, results: Results) -> Answer:
    """The recommendation and its amounts, as chapter 07 finds them.

    results: `02_cost`, `03_latency`, `04_quality` and `05_self_hosting`.
    """
    offers = market(results["02_cost"], results["05_self_hosting"], results["04_quality"])
    verdicts = {name: _verdict(study, name, results) for name in study.workloads}
    routes = {name: workload.current_route for name, workload in study.workloads.items()}
    saving, at_stake, stay = (_draws(study, offers, verdicts, kind) for kind in get_args(Kind))
    assert stay is not None
    return Answer(
        verdicts,
        None if saving is None else spread(saving),
        None if at_stake is None else spread(at_stake),
        spread(stay),
        tuple(name for name, route in routes.items() if offers.offer(name, route) is None),
    )


def _draws(study: Study, offers: Market, verdicts: Verdicts, kind: Kind) -> FloatArray | None:
    """Draws of one amount, (n,) usd, or None where the study has none of that kind."""
    if kind == "stay":
        worth, bills = discount_draws(study), stay_draws(study, offers).values()
        return sum(((bill * worth).sum(axis=1) for bill in bills), np.zeros(N_DRAWS))
    asked = {"saving": "move", "at_stake": "undecided"}[kind]
    targets = {name: to for name, (decision, to) in verdicts.items() if decision == asked and to}
    return portfolio_saving(study, offers, targets)


def _verdict(study: Study, name: str, results: Results) -> tuple[str, str | None]:
    """Decision and target of one workload."""
    offers = market(results["02_cost"], results["05_self_hosting"], results["04_quality"])
    alone = _alone(study, name)
    allowed = permissions(alone)
    able = allowed[allowed["permitted"] & allowed["fits_context"] & ~allowed["current"]]
    # the whole study: whether another workload has a fleet decides who pays for the team
    futures = projection.move_futures(study, offers, able)
    wary = projection.move_futures(study, offers, able, "same_quality")
    crossing = canonical.plain(
        {
            "permissions": allowed,
            "savings": projection.savings_table(study, futures),
            "by_buyer": projection.by_buyer(study, futures, wary),
        }
    )
    routes = route_table(alone, {**results, "06_crossover": crossing})
    found = verdicts_of(alone, routes)[name]
    return found.decision, found.target


# --- many studies that differ in a little -------------------------------------------------------


class Replay:
    """Amounts for studies like that of a case, on the case's log and on today's data and code.

    What the routes of a workload charge is worked out once for all studies that agree on what it
    rests on, and so is its verdict: a study that differs in one assumption takes a fraction of a
    second.
    """

    def __init__(self, case: Case) -> None:
        logged = ~case.traffic.requests["workload"].isin(case.traffic.simulated)
        self._logged = replace(case.traffic, requests=case.traffic.requests[logged], simulated=())
        self._names = set(self._logged.requests["workload"])
        self._fits: dict[int, pd.DataFrame] = {}
        self._tables: dict[str, Results] = {}
        self._verdicts: dict[str, tuple[str, str | None]] = {}
        self._amounts: dict[str, FloatArray | None] = {}

    def median_usd(self, study: Study, kind: Kind) -> float:
        """The median of one amount; 0 where the study has none. The log's figures stand in it.

        Raises: ValueError if the study's evidence cannot be used.
        """
        parts = {name: self._priced(study, name) for name in study.workloads}
        verdicts = {name: self._settled(study, name, part) for name, part in parts.items()}
        arms = {study.routes[to].arm for _, to in verdicts.values() if to}
        if "self_hosted" in arms or todays_fleets(study):  # one team for all: not a sum
            offers = _market_of(parts.values())
            found = _draws(study, offers, verdicts, kind)
        else:
            each = [self._own_draws(study, n, parts[n], verdicts[n], kind) for n in parts]
            found = sum((draws for draws in each if draws is not None), np.zeros(1))
        return 0.0 if found is None else float(np.median(found))

    def _own_draws(
        self, study: Study, name: str, part: Results, verdict: tuple[str, str | None], kind: Kind
    ) -> FloatArray | None:
        """What one workload adds to an amount where no workload has a fleet or gets one."""
        alone = _alone(study, name)
        key = f"{kind} {alone!r}"
        if key not in self._amounts:
            offers = _market_of([part])
            self._amounts[key] = _draws(alone, offers, {name: verdict}, kind)
        return self._amounts[key]

    def _priced(self, study: Study, name: str) -> Results:
        """The tables of chapters 02 to 05 for one workload."""
        alone = _alone(study, name)
        key = _priced_by(alone, name)
        if key not in self._tables:
            if study.seed not in self._fits:
                self._fits[study.seed] = capacity.serving_fits(seed=study.seed)
            case = Case(alone, self._traffic(alone, name))
            self._tables[key] = measured(case, self._fits[study.seed])
        return self._tables[key]

    def _traffic(self, alone: Study, name: str) -> Traffic:
        """The log's requests of a workload, or else requests drawn for it."""
        if name not in self._names:
            return evidence.traffic_of(alone.model_copy(update={"requests": None}))
        return replace(self._logged, requests=self._logged.of(name))

    def _settled(self, study: Study, name: str, part: Results) -> tuple[str, str | None]:
        key = repr((_alone(study, name), bool(todays_fleets(study) - {name})))
        if key not in self._verdicts:
            self._verdicts[key] = _verdict(study, name, part)
        return self._verdicts[key]


def _alone(study: Study, name: str) -> Study:
    """The study with one workload and the routes that it names."""
    workload = study.workloads[name]
    routes = {route: study.routes[route] for route in workload.routes}
    return study.model_copy(update={"workloads": {name: workload}, "routes": routes})


_NOT_PRICED = {"growth", "volatility", "prompt_growth", "cache_write_share"}
"""What a workload says that no offer of a route, no size of a fleet, no verdict on latency or
quality and no date of a move rests on. A test changes all of it, and the blocks left out below, and
looks."""


def _priced_by(alone: Study, name: str) -> str:
    """All that the tables of a workload's routes rest on, as text that tells two of them apart.

    The bills in those tables rest on more, but nothing here reads those.
    """
    own = alone.self_hosting
    rests_on = (
        (alone.seed, alone.as_of, alone.decide_by, alone.horizon, alone.routes),
        (own.spare_replicas, own.target_utilisation, own.spot_rerun),
        alone.workloads[name].model_dump(exclude=_NOT_PRICED),
    )
    return repr(rests_on)


def _market_of(parts: Iterable[Results]) -> Market:
    """The offers and dates of all workloads in one."""
    tables = list(parts)
    cost, hosting = (
        {"offers": {name: row for part in tables for name, row in part[chapter]["offers"].items()}}
        for chapter in ("02_cost", "05_self_hosting")
    )
    dates = [row for part in tables for row in part["04_quality"]["dates"]]
    return market(cost, hosting, {"dates": dates})

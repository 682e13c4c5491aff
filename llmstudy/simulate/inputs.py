"""The uncertain inputs of a route or a move, and their draws."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from llmstudy import tables
from llmstudy.evidence.offers import FleetOffer
from llmstudy.evidence.output_tokens import one_model, output_tokens_ratio
from llmstudy.figure import Figure, FloatArray
from llmstudy.measures.cost import Fleet, Offer, TokenPrice
from llmstudy.simulate import draws
from llmstudy.simulate.bills import (
    CANARY,
    START,
    TODAY,
    discount,
    month_usd,
    staff_month_usd,
    volumes,
)
from llmstudy.study import ApiRoute, SelfHostedRoute, Study, Workload

N_DRAWS = 4000
"""Draws of the Monte Carlo; the standard error of a probability is then at most 0.8 %."""


_OF_A_FLEET = ("usd_per_gpu_hour", "capacity_factor", "target_utilisation", "overhead_share")
"""The inputs that differ between fleets."""

_TEAM = ("fte", "usd_per_fte_year", "on_call", "security")
"""The inputs of the cost of the team that runs all fleets."""


Inputs = dict[str, tuple[str, Figure]]
"""Input -> its path in the ledger, and its figure."""


def inputs(study: Study, name: str, route: str, offer: FleetOffer | None) -> Inputs:
    """Every figure that the cost of a workload on a route depends on.

    offer: of a self-hosted route, or None.
    """
    workload, at = study.workloads[name], f"workloads.{name}"
    route_spec = study.routes[route]
    computed = {
        "dual_running": _dual_running(study, route_spec.arm),
        "tokenizer": _tokenizer(study, workload.current_route, route),
        "output_tokens_ratio": output_ratio(study, name, route),
        TODAY + "tokenizer": ("", _SAME_TOKENS),
        TODAY + "output_tokens_ratio": ("", _SAME_TOKENS),
    }
    if isinstance(route_spec, SelfHostedRoute) and route_spec.owned is not None:
        # the host machine is part of the purchase
        path = f"routes.{route}.owned.overhead_share"
        computed["overhead_share"] = (path, route_spec.owned.overhead_share)
    if offer is not None:
        computed["usd_per_gpu_hour"] = (f"routes.{route}.rent", offer.usd_per_gpu_hour)
        # the error of a curve is the same for all workloads that it serves
        computed["capacity_factor"] = (f"routes.{route}.capacity", offer.capacity_factor)
        sustained = offer.target_utilisation
        computed["target_utilisation"] = (f"{at}.routes.{route}.utilisation", sustained)
    entries = {}
    for spec in tables.inputs().values():
        place = spec.place.format(arm=route_spec.arm, route=route)
        if spec.name in computed:
            entries[spec.name] = computed[spec.name]
        elif spec.stated_in == "workload":
            entries[spec.name] = (f"{at}.{place}", _figure_at(workload, place))
        elif spec.stated_in == "study":
            entries[spec.name] = (place, _figure_at(study, place))
    return entries


def _figure_at(part: Study | Workload, path: str) -> Figure:
    """The figure at a path of a study or workload; faster than `Study.figures`."""
    node: Any = part
    for key in path.split("."):
        node = node[key] if isinstance(node, Mapping) else getattr(node, key)
    figure: Figure = node
    return figure


_SAME_TOKENS = Figure("", 1.0, "factor", source="the model of today's route")


def output_ratio(study: Study, name: str, route: str) -> tuple[str, Figure]:
    """Output tokens of a route over those that the workload states: ledger path and figure."""
    spec = study.routes[route]
    figure = output_tokens_ratio(study, study.workloads[name], spec)
    at = f"routes.{route}.output_tokens_ratio"
    return (at if spec.output_tokens_ratio is not None else f"workloads.{name}.{at}"), figure


def _tokenizer(study: Study, current: str, route: str) -> tuple[str, Figure]:
    """Prompt tokens on a route over those on today's.

    Tokenizers differ between vendors, but a model has the same at every host.
    """
    today, candidate = study.routes[current], study.routes[route]
    same_tokenizer = one_model(today.model, candidate.model) or (
        isinstance(today, ApiRoute)
        and isinstance(candidate, ApiRoute)
        and today.arm == candidate.arm
        and today.provider == candidate.provider
    )
    return ("", _SAME_TOKENS) if same_tokenizer else ("api_use.tokenizer", study.api_use.tokenizer)


def _dual_running(study: Study, arm: str) -> tuple[str, Figure]:
    if arm == "self_hosted":
        return "self_hosting.dual_running", study.self_hosting.dual_running
    return "api_use.dual_running", study.api_use.dual_running


def figures_of(entries: Inputs) -> dict[str, Figure]:
    """Input -> figure, without the paths."""
    return {short: figure for short, (_, figure) in entries.items()}


def draws_of(entries: Inputs, n: int, seed: int) -> draws.Draws:
    """Draws of each input, (n,) each.

    A figure with a name (a bundled one, a quoted rent) has a stream of that name, and so the same
    draws wherever it is used; any other has the stream of its path.
    """
    return {
        short: draws.draw(figure, figure.name or path, n, seed)
        for short, (path, figure) in entries.items()
    }


def paths_of(study: Study, name: str, n: int = N_DRAWS, months: int | None = None) -> draws.Draws:
    """The paths of prices and of a workload's volume: (n, months) each.

    months: the study's horizon by default.
    """
    entries = inputs(study, name, study.workloads[name].current_route, None)
    d = draws_of({key: entries[key] for key in draws.PATH_INPUTS}, n, study.seed)
    factor = study.price_paths.jump_factor
    return draws.drawn_paths(d, factor, name, months or study.months, study.seed)


def draws_with_paths(study: Study, name: str, entries: Inputs, n: int = N_DRAWS) -> draws.Draws:
    """Draws of each input, (n,), and of the paths of prices and volume, (n, months)."""
    return {**draws_of(entries, n, study.seed), **paths_of(study, name, n)}


Starts = Mapping[tuple[str, str], tuple[float, float]]
"""(workload, route) -> months from now until the move begins, and months of its canary."""


@dataclass(frozen=True)
class Market:
    """The offers of all routes to all workloads, from the results of the cost and hosting chapters.

    tokens, fleets: by (workload, route). starts: when each move begins by the plan's dates; a move
    that is not in it begins now.
    """

    tokens: Mapping[tuple[str, str], TokenPrice]
    fleets: Mapping[tuple[str, str], FleetOffer]
    starts: Starts = field(default_factory=dict)

    def offer(self, workload: str, route: str) -> Offer | None:
        """The offer of a route; None if it cannot serve the workload or is not priced."""
        fleet = self.fleets.get((workload, route))
        return fleet.fleet if fleet else self.tokens.get((workload, route))

    def priced(self, workload: str, route: str) -> Offer:
        """The offer of a route. Raises: ValueError if it has none for the workload."""
        offer = self.offer(workload, route)
        if offer is None:
            raise ValueError(
                f"{route} has no offer for {workload}: it cannot serve it, or is not priced"
            )
        return offer

    @property
    def begun_now(self) -> "Market":
        """The same market with every move beginning today; canaries take as long."""
        now = {pair: (0.0, canary) for pair, (_, canary) in self.starts.items()}
        return replace(self, starts=now)


def market(
    cost: Mapping[str, Any], hosting: Mapping[str, Any], quality: Mapping[str, Any] | None = None
) -> Market:
    """The market from the results of chapters 02 and 05, and the dates of chapter 04.

    Without chapter 04 every move begins now and has no canary.
    """
    tokens = {
        (name, route): TokenPrice.of(row)
        for name, routes in cost["offers"].items()
        for route, row in routes.items()
    }
    fleets = {
        (name, route): FleetOffer(
            Fleet.of(row["fleet"]),
            Figure(**row["capacity_factor"]),
            Figure(**row["usd_per_gpu_hour"]),
            Figure(**row["target_utilisation"]),
        )
        for name, routes in hosting["offers"].items()
        for route, row in routes.items()
    }
    rows = () if quality is None else quality["dates"]
    starts = {
        (row["workload"], row["route"]): (row["start_months"], row["canary_months"]) for row in rows
    }
    return Market(tokens, fleets, starts)


def todays_fleets(study: Study) -> set[str]:
    """The workloads whose current route is self-hosted: they share one team."""
    return {
        name
        for name, workload in study.workloads.items()
        if study.routes[workload.current_route].arm == "self_hosted"
    }


def marginal_inputs(study: Study, offers: Market, name: str, route: str) -> Inputs:
    """The inputs of the marginal cost of a workload on a route.

    One team runs all fleets. If another workload is on a fleet today, the team is paid whatever
    this
    workload does: its inputs are 0 here, and a further fleet costs as much once as any move to open
    weights.
    """
    entries = inputs(study, name, route, offers.fleets.get((name, route)))
    if (name, route) in offers.starts:
        for part, months in zip((START, CANARY), offers.starts[name, route], strict=True):
            entries[part] = ("", Figure("", months, "months", source="the plan's dates"))
    if todays_fleets(study) - {name}:
        for part in _TEAM:
            path, figure = entries[part]
            entries[part] = (
                path,
                Figure("", 0.0, figure.unit, source="the team of today's fleets"),
            )
        if study.routes[route].arm == "self_hosted":  # and their platform is there too
            entries["moving_cost"] = ("moving.hosted_open.cost", study.moving["hosted_open"].cost)
    return entries


def pair_inputs(study: Study, offers: Market, name: str, route: str) -> Inputs:
    """The inputs of a move: those of the candidate, and of today's route if it is a fleet."""
    entries = marginal_inputs(study, offers, name, route)
    current = study.workloads[name].current_route
    todays_fleet = offers.fleets.get((name, current))
    if todays_fleet is not None:
        today = inputs(study, name, current, todays_fleet)
        entries |= {TODAY + k: today[k] for k in _OF_A_FLEET}
    return entries


def month_by_workload(
    study: Study, cost: Mapping[str, Any], hosting: Mapping[str, Any]
) -> dict[str, float]:
    """This month's bill of each workload on today's route, usd, by chapters 02 and 05.

    The team that runs all fleets is divided equally among them. Workloads without a bill are left
    out.
    """
    month = {
        row["workload"]: row["month_usd"]
        for row in [*cost["bills"], *hosting["fleets"]]
        if row["route"] == study.workloads[row["workload"]].current_route
    }
    staff = [row["staff_month_usd"] for row in hosting["fleets"] if row["workload"] in month]
    fleets = todays_fleets(study) & set(month)
    for name in fleets:  # each fleet's own bill includes the whole team
        month[name] -= staff[0] * (1 - 1 / len(fleets))
    return month


def stay_draws(study: Study, offers: Market) -> dict[str, FloatArray]:
    """Bills of today's routes if nothing moves: workload -> (n_draws, n_months) usd.

    The team that runs today's fleets is divided equally among them, so that the bills sum to what
    the company pays. A workload whose route has no offer is left out.
    """
    bills = {}
    for name, workload in study.workloads.items():
        route = workload.current_route
        offer = offers.offer(name, route)
        if offer is None:
            continue
        entries = inputs(study, name, route, offers.fleets.get((name, route)))
        d = draws_with_paths(study, name, entries)
        month_bills = month_usd(offer, d, volumes(d, study.months), study.months)
        bills[name] = month_bills + team_draws(study, offers, name)[:, None]
    return bills


def team_draws(study: Study, offers: Market, name: str, n: int = N_DRAWS) -> FloatArray:
    """A workload's part of the monthly cost of the team; 0 if it has no fleet today.

    (n,) usd, or (1,) if 0.
    """
    fleets = todays_fleets(study)
    with_offer = {w for w in fleets if offers.offer(w, study.workloads[w].current_route)}
    return staff_draws(study, n) / len(with_offer) if name in with_offer else np.zeros(1)


def staff_draws(study: Study, n: int = N_DRAWS) -> FloatArray:
    """Draws of the monthly cost of the team that runs the fleets. (n,) usd."""
    places = {name: tables.inputs()[name].place for name in _TEAM}
    staff = {name: (place, _figure_at(study, place)) for name, place in places.items()}
    return staff_month_usd(draws_of(staff, n, study.seed))


def discount_draws(study: Study, n: int = N_DRAWS) -> FloatArray:
    """Present value of a dollar of each month's bill, in every draw. (n, months)."""
    rate = {"discount_rate": ("discount_rate", study.discount_rate)}
    return discount(draws_of(rate, n, study.seed), study.months)


def spread(draws: FloatArray) -> dict[str, float]:
    """The 10th, 50th and 90th percentile of finite draws."""
    p10, p50, p90 = np.quantile(draws, [0.1, 0.5, 0.9])
    return {"p10": float(p10), "p50": float(p50), "p90": float(p90)}

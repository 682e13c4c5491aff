"""The offer of each route: price per token on an API, capacity and price of a replica on a fleet.

Every request is priced on every API route, in its own context tier and hour, and each self-hosted
route is sized from measured serving points.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import pairwise, product
from math import hypot, log
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtri

from llmstudy import prices
from llmstudy.evidence import gpu_hours
from llmstudy.evidence.output_tokens import as_answered_by
from llmstudy.evidence.traffic import other_model
from llmstudy.figure import Figure, Grade
from llmstudy.measures import capacity
from llmstudy.measures.cost import Fleet, TokenPrice, token_price
from llmstudy.study import ApiRoute, SelfHostedRoute, Study, Workload, bundled_figures
from llmstudy.units import month_start


def token_offer(study: Study, route_name: str, requests: pd.DataFrame) -> TokenPrice:
    """The mean price of these requests on an API route, today and after each scheduled change.

    requests: a canonical table. Raises: PriceError for a price that could only be guessed.
    """
    arm = study.routes[route_name].arm
    parts = billed_as(study, route_name, requests)
    return token_price(
        arm,
        requests,
        billed(parts, study.as_of),
        billed([part.all_in("cached_input_tokens") for part in parts], study.as_of),
        billed([part.all_in("cache_write_tokens") for part in parts], study.as_of),
        _month_factors(study, _scheduled(study, parts)),
        _context_factors(study, parts),
    )


class Part(NamedTuple):
    """Requests and the route that they are billed as.

    columns: of the requests, as `prices.bill_total` takes them. weight: (n,) how often each counts;
    once if None.
    """

    route: ApiRoute
    columns: Mapping[str, Any]
    weight: Any = None

    def all_in(self, column: str) -> "Part":
        """The part with all of its input in one of the cache columns."""
        return self._replace(columns={**self.columns, column: self.columns["input_tokens"]})


def billed(parts: Iterable[Part], on: date) -> prices.Bill:
    """The bill of all parts together, with the regional premium."""
    bills = [
        prices.bill_total(part.columns, priced_model(part.route), on, part.weight) for part in parts
    ]
    return prices.Bill(*map(sum, zip(*bills, strict=True)))


def billed_as(
    study: Study,
    route_name: str,
    requests: pd.DataFrame,
    cached_input_tokens: Any = 0,
    weight: Any = None,
) -> list[Part]:
    """The requests by the route that they are billed as.

    Usually all by this route; logged requests of today's route that another model answered are
    billed at that model's list price where there is one. cached_input_tokens: (n,) or a number.
    weight: (n,) how often each request counts; once if None.
    """
    route = study.routes[route_name]
    assert isinstance(route, ApiRoute)
    names = [name for name in ("ts_start", "input_tokens", "output_tokens") if name in requests]
    columns = {name: requests[name] for name in names}
    cache = {"cached_input_tokens": cached_input_tokens, "cache_write_tokens": 0}
    whole = Part(route, columns | cache, weight)
    current = {name for name, w in study.workloads.items() if w.current_route == route_name}
    if "workload" not in requests or not current:
        return [whole]
    logged = requests["workload"].isin(current).to_numpy()
    if not logged.any():
        return [whole]
    provider, model = (
        requests[name].astype("category").cat for name in ("provider", "model_served")
    )
    pairs = list(product(map(str, provider.categories), map(str, model.categories)))
    pair = provider.codes.to_numpy(np.intp)
    pair *= len(model.categories)
    pair += model.codes.to_numpy()
    routes, part_of_pair = [route], np.zeros(len(pairs), np.int16)
    for i in np.flatnonzero(np.bincount(pair)):
        other = other_model(route, *pairs[i], study.as_of)
        if other is not None:
            part_of_pair[i] = len(routes)
            routes.append(other)
    if len(routes) == 1:
        return [whole]
    number = part_of_pair[pair] * logged
    del pair
    parts = [_rows(whole, number == i)._replace(route=each) for i, each in enumerate(routes)]
    return [part for part in parts if len(part.columns["input_tokens"])]


def _rows(part: Part, chosen: "npt.NDArray[np.bool_]") -> Part:
    """Some of the requests of a part. chosen: (n,)."""
    columns = {
        name: column if np.ndim(column) == 0 else pd.Series(column.array[chosen])
        for name, column in part.columns.items()
    }
    weight = None if part.weight is None else part.weight[chosen]
    return part._replace(columns=columns, weight=weight)


def priced_model(route: ApiRoute) -> prices.PricedModel:
    """A route's model with its negotiated price, if any, and its regional premium."""
    rates = route.price
    return prices.PricedModel(
        route.provider,
        route.model,
        route.tier,
        (rates.input.value, rates.cached_input.value, rates.output.value) if rates else None,
        route.regional_premium.value if route.regional_premium else 1.0,
    )


def scheduled_prices(
    study: Study, route_name: str, requests: pd.DataFrame
) -> list[tuple[date, float]]:
    """The announced price changes of a route within the horizon: day, and price over today's.

    The price is that of these requests, with nothing cached.
    """
    return _scheduled(study, billed_as(study, route_name, requests))


def _scheduled(study: Study, parts: list[Part]) -> list[tuple[date, float]]:
    until = month_start(study.as_of, study.months)
    days = {
        day
        for route in (part.route for part in parts)
        if route.price is None
        for day in prices.scheduled_changes(
            route.provider, route.model, study.as_of, until, route.tier
        )["effective"]
    }
    if not days:
        return []
    today = sum(billed(parts, study.as_of))
    return [(day, sum(billed(parts, day)) / today) for day in sorted(days)]


def _month_factors(study: Study, steps: list[tuple[date, float]]) -> tuple[float, ...]:
    """Price of each month of the horizon over today's, and last that of all later months.

    A month with a change is weighted by the days before and after it.
    """
    grid = [month_start(study.as_of, m) for m in range(study.months + 1)]
    within = [
        sum(_factor_on(steps, begins + timedelta(days=day)) for day in range((ends - begins).days))
        / (ends - begins).days
        for begins, ends in pairwise(grid)
    ]
    return (*within, _factor_on(steps, grid[-1]))


_LENGTHS = (0.5, 0.75, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
"""Prompt lengths over today's at which a model with context tiers is priced."""


def _context_factors(study: Study, parts: list[Part]) -> tuple[tuple[float, float, float], ...]:
    """Prices at other prompt lengths, as `TokenPrice.context_factors`; empty without tiers."""
    routes = [part.route for part in parts if part.route.price is None]
    rates = [prices.rate(r.provider, r.model, study.as_of, r.tier) for r in routes]
    if not any(rate.has_context_tiers for rate in rates):
        return ()
    if not any(rate.has_time_of_day for rate in rates):
        parts = [_by_length(part) for part in parts]

    def bill(length_factor: float) -> "pd.Series[float]":
        longer = [_longer(part, length_factor) for part in parts]
        prompts = sum(
            np.sum(part.columns["input_tokens"] * (1 if part.weight is None else part.weight))
            for part in longer
        )
        usd: pd.Series[float] = pd.Series(billed(longer, study.as_of)) / np.array([prompts, 1])
        return usd

    today = bill(1.0).replace(0, np.nan)
    factors = {
        length_factor: (bill(length_factor) / today).fillna(1.0) for length_factor in _LENGTHS
    }
    return tuple(
        (length_factor, float(f.iloc[0]), float(f.iloc[1])) for length_factor, f in factors.items()
    )


def _by_length(part: Part) -> Part:
    """The part with one row for all requests of a length: where no price depends on the hour, their
    bill is as often that of their mean answer."""
    columns = part.columns
    of_length = columns["output_tokens"].groupby(columns["input_tokens"]).agg(["size", "mean"])
    tokens = {"input_tokens": of_length.index.to_numpy(), "output_tokens": of_length["mean"]}
    return part._replace(columns={**columns, **tokens}, weight=of_length["size"].to_numpy())


def _longer(part: Part, factor: float) -> Part:
    prompts = np.round(part.columns["input_tokens"] * factor).astype("int64")
    return part._replace(columns={**part.columns, "input_tokens": prompts})


def _factor_on(steps: Iterable[tuple[date, float]], on: date) -> float:
    """The price on a day over today's, after the steps up to it; 1 before the first."""
    return next((factor for day, factor in reversed([*steps]) if day <= on), 1.0)


@dataclass(frozen=True)
class FleetOffer:
    """A self-hosted route sized for a workload: capacity and cost of a replica, with ranges.

    target_utilisation: utilisation of the fleet in its busiest hour, a bundled assumption until it
    is replaced by that of a replay of the workload's traffic.
    """

    fleet: Fleet
    capacity_factor: Figure
    usd_per_gpu_hour: Figure
    target_utilisation: Figure


_CACHED_SHARES = tuple(tenths / 10 for tenths in range(11))
"""Cached shares of the input at which capacity is solved, beside the study's own."""


def fleet_offer(
    study: Study,
    workload: Workload,
    route: SelfHostedRoute,
    fitted: "RouteCurve",
) -> tuple[FleetOffer, capacity.Capacity]:
    """Sizes one replica of a self-hosted route for a workload: capacity within the SLO, and cost.

    Answers have the length that the route's own model writes (`output_tokens`).

    fitted: the route's `route_curve`.
    Returns: the offer, and the operating point that it was solved at.
    Raises: capacity.CannotServe if the model does not fit its GPUs or cannot meet the SLO at all;
    ValueError for an unknown model, GPU, precision, engine or host.
    """
    curve, from_prior = fitted.curve, fitted.from_prior
    workload = as_answered_by(study, workload, route)
    tokens_in, tokens_out = workload.intake.input_tokens.value, workload.intake.output_tokens.value

    tpot_s, ttft_s = workload.slo.tpot_p95.value, workload.slo.ttft_p95.value
    size, cached = route.tensor_parallel, workload.cached_input_share.value
    # the first token must be in time for a prompt that is not cached at all, too
    cold = capacity.capacity_at_slo(curve, tokens_in, tokens_out, tpot_s, size, ttft_s)

    def at(
        in_factor: float,
        out_factor: float,
        of: capacity.ServingCurve = curve,
        cached_share: float = cached,
    ) -> capacity.Capacity:
        lengths = (tokens_in * in_factor, tokens_out * out_factor)
        return capacity.capacity_at_slo(of, *lengths, tpot_s, size, cached_share=cached_share)

    centre = at(1, 1)
    # one spread to the better side only: on the other side it might not serve at all
    better = [at(1, 1, of=capacity.one_spread_better(curve, name)) for name in from_prior]
    rises = [log(point.requests_per_s / centre.requests_per_s) for point in better]
    shorter = 0.75  # only shorter: a longer request might not fit at all

    def elasticity(probe: capacity.Capacity) -> float:
        return log(probe.requests_per_s / centre.requests_per_s) / log(shorter)

    cached_shares = sorted({*_CACHED_SHARES, cached})
    by_cached = [at(1, 1, cached_share=part).requests_per_s for part in cached_shares]
    factors = [rate / centre.requests_per_s for rate in by_cached]

    offer = FleetOffer(
        fleet=Fleet(
            capacity_requests_per_s=centre.requests_per_s,
            input_tokens=tokens_in,
            output_tokens=tokens_out,
            input_elasticity=elasticity(at(shorter, 1)),
            output_elasticity=elasticity(at(1, shorter)),
            gpus_per_replica=route.tensor_parallel,
            spare=study.self_hosting.spare_replicas,
            reserved_share=gpu_hours.reserved_share(route),
            reserved_price_share=prices.RESERVED_PRICE_SHARE.value,
            term_months=gpu_hours.term_months(route),
            capital_share=gpu_hours.capital_share(route),
            cached_factors=tuple(zip(cached_shares, factors, strict=True)),
        ),
        capacity_factor=_capacity_factor(
            fitted, workload, route.tensor_parallel, centre, rises, study.seed
        ),
        usd_per_gpu_hour=gpu_hours.gpu_hour(route, study.self_hosting.spot_rerun.value),
        target_utilisation=bundled_figures()["self_hosting.target_utilisation"],
    )
    return offer, replace(centre, ttft_lower_bound_s=cold.ttft_lower_bound_s)


class RouteCurve(NamedTuple):
    """The serving curve that a route is sized by, and its measured points.

    curve: `fitted_curve`, but with the prior's value of each parameter that the points move away
    from the prior without determining it (`capacity.within_prior`). from_prior: names of those
    parameters.
    """

    points: pd.DataFrame
    curve: capacity.ServingCurve
    from_prior: tuple[str, ...]


def route_curve(route: SelfHostedRoute) -> RouteCurve:
    """Fits the curve of a route. Raises: ValueError if there are no points of it."""
    points = serving_points(route)
    return RouteCurve(points, *capacity.within_prior(_fitted(route, points), points))


def fitted_curve(route: SelfHostedRoute) -> capacity.ServingCurve:
    """The curve fitted to all measured points of a route's model, GPU, precision and engine."""
    return _fitted(route, serving_points(route))


def _fitted(route: SelfHostedRoute, points: pd.DataFrame) -> capacity.ServingCurve:
    return capacity.fit_serving_curve(
        points, capacity.model_shape(route.model), capacity.gpu(route.gpu), route.precision
    )


def serving_points(route: SelfHostedRoute) -> pd.DataFrame:
    """The measured points of a route's model, GPU, precision and engine."""
    return capacity.serving_points(route.model, route.gpu, route.precision, route.engine_version)


def _capacity_factor(
    fitted: RouteCurve,
    workload: Workload,
    tensor_parallel: int,
    point: capacity.Capacity,
    rises: list[float],
    seed: int,
) -> Figure:
    """Range of the true capacity over the curve's, as a factor.

    Inside the measured range the held-out error of the curve; outside it wider, by how far outside;
    without a held-out error the error of an untested model (`capacity.scope`). point: where the
    fleet is solved. rises: what one spread of each parameter that was taken from the prior adds to
    the logarithm of capacity. seed: of the splits that the held-out error comes from.
    """
    fit = capacity.serving_fit(fitted.points, seed=seed)
    error = fit["median_abs_error_share"] if fit else None
    intake = workload.intake
    lengths = (intake.input_tokens.value, intake.output_tokens.value)
    scope = capacity.scope(
        fitted.curve,
        error,
        point.concurrency,
        *lengths,
        tensor_parallel,
        prior_error_share=float(ndtri(0.75)) * hypot(*rises),
    )
    from_prior = fitted.from_prior
    grade: Grade = "assumed" if scope.outside or error is None or from_prior else "published"
    why = scope.why
    if from_prior:
        names = ", ".join(name.removesuffix("_s").replace("_", " ") for name in from_prior)
        why += f"; taken from other models, since the points do not determine them: {names}"
    return Figure("", 1.0, "factor", scope.low, scope.high, "lognormal", grade, why)

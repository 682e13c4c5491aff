"""What does an hour of a route's GPUs cost, rented or owned, and in which range?"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import hypot
from typing import Any, NamedTuple

from llmstudy import prices
from llmstudy.figure import Figure, least_certain
from llmstudy.measures import capacity
from llmstudy.prices.gpu import (
    OwnedGpu,
    committed_usd_per_gpu_hour,
    owned_gpu_hour_parts,
    owned_usd_per_gpu_hour,
)
from llmstudy.study import Commitment, OwnedGpus, SelfHostedRoute, bundled_figures


def gpu_hour(route: SelfHostedRoute, spot_rerun_share: float) -> Figure:
    """What an hour of one GPU costs today, with its range. Unit: USD.

    spot_rerun_share: hours on spot GPUs that are paid again after an interruption.
    Raises: ValueError for a GPU or a host of which no price is known.
    """
    if route.owned is not None:
        return _owned_hour(route)
    assert route.rented_from is not None
    assert route.commitment is not None
    return _rent(route, route.rented_from, route.commitment, spot_rerun_share)


# --- rented -------------------------------------------------------------------------------------


def reserved_share(route: SelfHostedRoute) -> float:
    """The part of the rent whose price is fixed for a term; none where nothing is rented."""
    mix = route.commitment
    if mix is None or not mix.reserved.value:
        return 0.0
    reserved = mix.reserved.value * prices.RESERVED_PRICE_SHARE.value
    return reserved / (reserved + mix.on_demand.value)


def term_months(route: SelfHostedRoute) -> int:
    """Months for which the price of an hour is fixed: a reservation's term, or a card's life."""
    if route.owned is not None:
        return round(route.owned.life.value)
    assert route.commitment is not None
    return route.commitment.term


def _on_demand(route: SelfHostedRoute, host: str) -> Figure:
    """The list's price of an hour on demand, or the study's own quote in its place."""
    quote = route.on_demand_quote
    if quote is None:
        return prices.gpu_price(route.gpu, host, "on_demand")
    # named as in the list: the draws are of its reserved discount, which is the same for all routes
    return replace(quote, name=f"gpu_price {route.gpu} {host} on_demand")


def _rent(route: SelfHostedRoute, host: str, mix: Commitment, spot_rerun_share: float) -> Figure:
    """Mean rent of a GPU-hour today under a commitment mix, with a range.

    An hour on spot GPUs is paid once and a share more, since an interruption loses work. The range
    is that of the reserved discount, which no price list states; the price paths hold how rents
    move. Where a part is reserved, the grade of the rent is that of the discount.
    """
    quote = _on_demand(route, host)
    spot = prices.gpu_price(route.gpu, host, "spot").value if mix.spot.value else 0.0
    spot *= 1 + spot_rerun_share
    reserved = prices.RESERVED_PRICE_SHARE

    def mean_rent(reserved_price_share: float) -> float:
        return float(
            committed_usd_per_gpu_hour(
                quote.value,
                reserved_price_share,
                spot,
                mix.on_demand.value,
                mix.reserved.value,
                mix.spot.value,
            )
        )

    assert reserved.low is not None
    assert reserved.high is not None
    return replace(
        quote,
        value=mean_rent(reserved.value),
        low=mean_rent(reserved.low),
        high=mean_rent(reserved.high),
        distribution="triangular",
        grade=reserved.grade if mix.reserved.value else quote.grade,
        source=f"{quote.source}; {mix.reserved.value:.0%} reserved",
    )


# --- owned --------------------------------------------------------------------------------------

_OWNED = {
    "price_usd": "price",
    "server_share": "server",
    "spares_share": "spares",
    "life_months": "life",
    "residual_share": "residual",
    "capital_share_per_year": "cost_of_capital",
    "maintenance_share_per_year": "maintenance",
    "power_w": "power",
    "load_share": "load",
    "pue": "pue",
    "usd_per_kwh": "electricity",
    "colocation_usd_per_kw_month": "colocation",
}
"""Field of `OwnedGpu` -> key of the study's `owned`."""


def capital_share(route: SelfHostedRoute) -> float:
    """The part of an owned GPU's hour that is capital, paid until its life ends; 0 if rented."""
    if route.owned is None:
        return 0.0
    parts = owned_gpu_hour_parts(_gpu(_figures(route)))
    return float((parts["depreciation"] + parts["cost of capital"]) / sum(parts.values()))


def owned_hour_parts(name: str, route: SelfHostedRoute) -> list[dict[str, Any]]:
    """The parts of the cost of an hour of a route's owned GPU; no rows where its GPUs are rented.

    name: the route's. Rows: route, part, usd_per_gpu_hour, low_usd, high_usd, grade (the weakest of
    the figures that its range comes from), decided_by (the figure that moves it most), source (of
    that figure).
    """
    if route.owned is None:
        return []
    figures = _figures(route)
    every: dict[str, Callable[[OwnedGpu], float]] = {
        part: lambda gpu, part=part: float(owned_gpu_hour_parts(gpu)[part])  # type: ignore[misc]
        for part in owned_gpu_hour_parts(_gpu(figures))
    }
    every["in all"] = lambda gpu: float(owned_usd_per_gpu_hour(gpu))
    rows = []
    for part, usd in every.items():
        spread = _spread(usd, figures)
        rows.append(
            {
                "route": name,
                "part": part,
                "usd_per_gpu_hour": spread.value,
                "low_usd": spread.low,
                "high_usd": spread.high,
                "grade": spread.grade,
                "decided_by": _OWNED[spread.decided_by].replace("_", " "),
                "source": figures[spread.decided_by].source,
            }
        )
    return rows


def _owned_hour(route: SelfHostedRoute) -> Figure:
    """An hour of an owned GPU, with the range of all that it is made of."""
    figures = _figures(route)
    spread = _spread(lambda gpu: float(owned_usd_per_gpu_hour(gpu)), figures)
    price, life = figures["price_usd"], figures["life_months"]
    capital = figures["capital_share_per_year"]
    return Figure(
        "",
        spread.value,
        "USD/h",
        spread.low,
        spread.high,
        "triangular",
        spread.grade,
        f"owned: USD {price.value:,.0f} a card over {life.value:g} months at {capital.value:.0%} a "
        f"year, power and space included; price: {price.source}",
        price.as_of,
        price.expires,
    )


def _figures(route: SelfHostedRoute) -> dict[str, Figure]:
    """Field of `OwnedGpu` -> figure. The rated power is the card's own where none is stated."""
    owned = route.owned
    assert owned is not None
    stated = {field: getattr(owned, key) for field, key in _OWNED.items()}
    return {**stated, "power_w": owned.power or _rated_power(owned, route.gpu)}


def _rated_power(owned: OwnedGpus, gpu: str) -> Figure:
    factor, card_w = bundled_figures()["owned.power_factor"], capacity.gpu(gpu).power_w
    assert factor.low is not None
    assert factor.high is not None
    return replace(
        factor,
        value=factor.value * card_w,
        low=factor.low * card_w,
        high=factor.high * card_w,
        unit="W/GPU",
    )


def _gpu(figures: Mapping[str, Figure], **changes: float) -> OwnedGpu:
    """A GPU at the stated value of each figure, but for these changes."""
    values: dict[str, float] = {field: figure.value for field, figure in figures.items()}
    return OwnedGpu(**(values | changes))


class _Spread(NamedTuple):
    """A value with its range, the weakest grade in it, and the figure that moves it most."""

    value: float
    low: float
    high: float
    grade: Any
    decided_by: str


def _spread(usd: Callable[[OwnedGpu], float], figures: Mapping[str, Figure]) -> _Spread:
    """How far a cost moves when each figure goes to the ends of its range, one at a time.

    The moves to one side are added in quadrature, as for independent figures: all at their worst
    end at once is far too unlikely. Source: JCGM 100:2008 (GUM), 5.1.2.
    """
    value = usd(_gpu(figures))
    moves: dict[str, tuple[float, float]] = {}
    for field, figure in figures.items():
        reached = (figure.low, figure.high) if figure.uncertain else ()
        ends = [value, *(usd(_gpu(figures, **{field: x})) for x in reached if x is not None)]
        moves[field] = (value - min(ends), max(ends) - value)
    moved = {field: figures[field] for field, move in moves.items() if max(move) > 0}
    decided_by = max(moves, key=lambda field: sum(moves[field]))
    grades = [figure.grade for figure in moved.values()] or [figures[decided_by].grade]
    return _Spread(
        value,
        value - hypot(*(down for down, _ in moves.values())),
        value + hypot(*(up for _, up in moves.values())),
        least_certain(grades),
        decided_by,
    )

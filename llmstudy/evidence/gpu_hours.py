"""The cost of an hour of a route's GPUs, rented or owned, with its range."""

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
    """Cost of an hour of one GPU today, with its range. Unit: USD/h.

    spot_rerun_share: share of spot hours that are paid again after an interruption.
    Raises: ValueError for a GPU or host without a price.
    """
    if route.owned is not None:
        return _owned_hour(route)
    assert route.rented_from is not None
    assert route.commitment is not None
    return _rent(route, route.rented_from, route.commitment, spot_rerun_share)


# --- rented -------------------------------------------------------------------------------------


def reserved_share(route: SelfHostedRoute) -> float:
    """Share of the rent that is reserved for a term; 0 if the GPUs are owned."""
    mix = route.commitment
    if mix is None or not mix.reserved.value:
        return 0.0
    reserved = mix.reserved.value * prices.RESERVED_PRICE_SHARE.value
    return reserved / (reserved + mix.on_demand.value)


def term_months(route: SelfHostedRoute) -> int:
    """Months of a reservation's term, or of an owned GPU's life."""
    if route.owned is not None:
        return round(route.owned.life.value)
    assert route.commitment is not None
    return route.commitment.term


def _on_demand(route: SelfHostedRoute, host: str) -> Figure:
    """The on-demand price: the study's own quote, or else the listed one."""
    quote = route.on_demand_quote
    if quote is None:
        return prices.gpu_price(route.gpu, host, "on_demand")
    # named as the listed price, so that all routes share the draws of the reserved discount
    return replace(quote, name=f"gpu_price {route.gpu} {host} on_demand")


def _rent(route: SelfHostedRoute, host: str, mix: Commitment, spot_rerun_share: float) -> Figure:
    """Mean rent of a GPU-hour today under a mix of commitments, with a range.

    A spot hour costs a share more, since work is lost at interruptions. The range comes from the
    reserved discount, which no price list states; how rents move later is drawn as a price path. If
    a part is reserved, the grade is that of the discount.
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
    """Share of capital in the cost of an owned GPU's hour; 0 if rented."""
    if route.owned is None:
        return 0.0
    parts = owned_gpu_hour_parts(_gpu(_figures(route)))
    return float((parts["depreciation"] + parts["cost of capital"]) / sum(parts.values()))


def owned_hour_parts(name: str, route: SelfHostedRoute) -> list[dict[str, Any]]:
    """The parts of the cost of an hour of an owned GPU; no rows if the GPUs are rented.

    name: of the route. Rows: route, part, usd_per_gpu_hour, low_usd, high_usd, grade (the worst of
    the figures behind the range), decided_by (the figure that moves the part most), source (of that
    figure).
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
    """Cost of an hour of an owned GPU, with the range from all its inputs."""
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
    figures = {field: getattr(owned, key) for field, key in _OWNED.items()}
    return {**figures, "power_w": owned.power or _rated_power(owned, route.gpu)}


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
    """A GPU at the value of each figure, except for these changes."""
    values: dict[str, float] = {field: figure.value for field, figure in figures.items()}
    return OwnedGpu(**(values | changes))


class _Spread(NamedTuple):
    """A value with its range, the worst grade behind it, and the figure that moves it most."""

    value: float
    low: float
    high: float
    grade: Any
    decided_by: str


def _spread(usd: Callable[[OwnedGpu], float], figures: Mapping[str, Figure]) -> _Spread:
    """Range of a cost when each figure goes to the ends of its range, one at a time.

    Moves to one side are added in quadrature, as for independent figures. Source: JCGM 100:2008
    (GUM), 5.1.2.
    """
    value = usd(_gpu(figures))
    moves: dict[str, tuple[float, float]] = {}
    for field, figure in figures.items():
        extremes = (figure.low, figure.high) if figure.uncertain else ()
        ends = [value, *(usd(_gpu(figures, **{field: x})) for x in extremes if x is not None)]
        moves[field] = (value - min(ends), max(ends) - value)
    movers = [figures[field] for field, move in moves.items() if max(move) > 0]
    decided_by = max(moves, key=lambda field: sum(moves[field]))
    grades = [figure.grade for figure in movers] or [figures[decided_by].grade]
    return _Spread(
        value,
        value - hypot(*(down for down, _ in moves.values())),
        value + hypot(*(up for _, up in moves.values())),
        least_certain(grades),
        decided_by,
    )

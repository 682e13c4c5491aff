"""The volume from which one route is cheaper than another, from two costs with ranges.

All months are alike here; with a study, growth, price changes and the move itself are added
(`crossover.crossover_requests_per_month`).
"""

from dataclasses import dataclass, fields
from numbers import Real
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from llmstudy.figure import Figure, FloatArray
from llmstudy.simulate.crossover import linear_crossover, stepped_crossover
from llmstudy.simulate.draws import Draws, band, draw

Range = float | tuple[float, float, float]
"""A number, or (low, value, high): the ends and the peak of a triangular distribution."""

MOST_REQUESTS = 1e12
"""Largest crossover in requests a month; beyond it the answer is "never"."""


@dataclass(frozen=True)
class RouteCost:
    """The monthly cost of a route: per request, per whole replica, and fixed.

    usd_per_request: mean bill of a request. usd_per_replica_month: rent of a replica for all hours
    of a month. requests_per_replica: requests a month that a replica can serve within its SLO, also
    in the peak hour. spare: replicas beyond those. usd_per_month: team, support and other costs
    that do not depend on volume. All but spare are a number or (low, value, high).

    Raises: ValueError for a number below zero, a value outside its range, a replica that carries
    nothing, or a route that costs nothing.

    >>> fleet = RouteCost(usd_per_replica_month=(4_000, 5_000, 7_000), requests_per_replica=4e6,
    ...                   usd_per_month=20_000)
    >>> fleet.figures()["usd_per_replica_month"].ends
    (4000, 7000)
    """

    usd_per_request: Range = 0.0
    usd_per_replica_month: Range = 0.0
    usd_per_month: Range = 0.0
    requests_per_replica: Range | None = None
    spare: int = 1

    def __post_init__(self) -> None:
        """Checks the costs."""
        ends = {name: figure.ends for name, figure in self.figures().items()}
        if ends.pop("requests_per_replica", (1.0, 1.0))[0] <= 0 or self.spare < 0:
            raise ValueError("requests_per_replica must be above 0, and spare not below it")
        if not any(high for _, high in ends.values()):
            raise ValueError(
                "the route costs nothing: give usd_per_request, or the rent of a replica"
            )
        if (ends["usd_per_replica_month"][1] > 0) != (self.requests_per_replica is not None):
            raise ValueError("a fleet needs both usd_per_replica_month and requests_per_replica")

    def figures(self) -> dict[str, Figure]:
        """The costs and the capacity by name, each with its range."""
        ranges = {each.name: getattr(self, each.name) for each in fields(self)[:-1]}
        return {name: _figure(name, x) for name, x in ranges.items() if x is not None}

    def draws(self, side: Literal["a", "b"], n: int, seed: int) -> Draws:
        """Draws of each figure, (n,), independent of those of the other side."""
        return {name: draw(x, f"{name} of {side}", n, seed) for name, x in self.figures().items()}

    def month_usd(self, d: Draws, volumes: FloatArray) -> FloatArray:
        """The bill of a month at each volume, (n, volumes)."""
        usd = d["usd_per_request"][:, None] * volumes + d["usd_per_month"][:, None]
        if self.requests_per_replica is None:
            return usd
        replicas = np.ceil(volumes / d["requests_per_replica"][:, None]) + self.spare
        return np.asarray(usd + replicas * d["usd_per_replica_month"][:, None])


def _figure(name: str, x: Range) -> Figure:
    numbers = x if isinstance(x, tuple | list) else (x, x, x)
    if len(numbers) != 3 or not all(isinstance(each, Real) and each >= 0 for each in numbers):
        raise ValueError(f"{name} is {x!r}: give a number or (low, value, high), from 0 up")
    low, value, high = numbers
    return Figure(name, value, "", low, high, "triangular")


class Crossover(NamedTuple):
    """The volume from which b is cheaper, and the monthly bills of both routes by volume.

    table: one row: p10, p50, p90 (requests a month; NaN where that quantile is never), p_never.
    curves: one row per volume: requests_per_month; a_p10_usd, a_p50_usd, a_p90_usd, and so for b
    (the month's bill); p_b_cheaper, the share of draws in which b costs less at that volume.
    """

    table: pd.DataFrame
    curves: pd.DataFrame


def crossover(
    a: RouteCost,
    b: RouteCost,
    volumes: npt.ArrayLike | None = None,
    n: int = 10_000,
    seed: int = 0,
) -> Crossover:
    """Finds the requests a month from which route b stays cheaper than route a, with its band.

    Each figure is drawn n times within its range, and the crossover is solved exactly in each draw:
    a fleet's bill is a staircase, which may cross an API's several times before it stays below.

    a: an API, or any route without replicas. b: an API or a fleet. volumes: requests a month at
    which the curves are given; None for 41 around the crossover.
    Raises: ValueError if a is a fleet, or a volume is not above 0.

    >>> api = RouteCost(usd_per_request=(0.004, 0.005, 0.006))
    >>> fleet = RouteCost(usd_per_replica_month=(4_000, 5_000, 7_000), requests_per_replica=4e6,
    ...                   usd_per_month=20_000)
    >>> crossover(api, fleet).table.round(-5)
             p10        p50        p90  p_never
    0  6400000.0  8200000.0  9500000.0      0.0
    """
    if not (isinstance(a, RouteCost) and isinstance(b, RouteCost)):
        raise ValueError(
            "a and b must each be a RouteCost, such as RouteCost(usd_per_request=0.005)"
        )
    if a.requests_per_replica is not None:
        raise ValueError("a is a fleet: give the API as a, and the fleet that may replace it as b")
    if n < 1:
        raise ValueError(f"n {n}: give the number of draws, 1 or more")
    of_a, of_b = a.draws("a", n, seed), b.draws("b", n, seed)
    per_request = of_a["usd_per_request"] - of_b["usd_per_request"]
    fixed = of_b["usd_per_month"] - of_a["usd_per_month"]
    if b.requests_per_replica is None:
        crossings = linear_crossover(per_request, fixed, MOST_REQUESTS)
    else:
        rent, carries = of_b["usd_per_replica_month"], of_b["requests_per_replica"]
        crossings = stepped_crossover(per_request, rent, carries, b.spare, fixed, MOST_REQUESTS)
    p10, p50, p90 = np.array(band(crossings), dtype=float)
    row = {"p10": p10, "p50": p50, "p90": p90, "p_never": float(np.isinf(crossings).mean())}

    if volumes is None:
        positive = crossings[np.isfinite(crossings) & (crossings > 0)]
        volumes = np.geomspace(0.1, 10, 41) * (np.median(positive) if len(positive) else 1e6)
    at = np.atleast_1d(np.asarray(volumes, dtype=float))
    if not (np.isfinite(at) & (at > 0)).all():
        raise ValueError("volumes are requests a month, each above 0")
    bills = {"a": a.month_usd(of_a, at), "b": b.month_usd(of_b, at)}
    quantiles = {
        f"{side}_p{100 * q:.0f}_usd": np.quantile(usd, q, axis=0)
        for side, usd in bills.items()
        for q in (0.1, 0.5, 0.9)
    }
    cheaper = (bills["b"] < bills["a"]).mean(axis=0)
    curves = pd.DataFrame({"requests_per_month": at, **quantiles, "p_b_cheaper": cheaper})
    return Crossover(pd.DataFrame([row]), curves)

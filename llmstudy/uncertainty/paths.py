"""How may prices and volumes leave their trend, month by month?

A named model keeps its list price and now and then jumps. At equal quality prices fall in steps,
for a buyer who moves each time. The rent of a GPU wanders both ways, and so does a month's volume.
Every path is a factor on the trend, (n, months), 1 in the first month, and comes from a named
stream: the same thing has the same path in every workload.
"""

from collections.abc import Mapping
from zlib import crc32

import numpy as np
from scipy.special import ndtri

from llmstudy.figure import Figure, FloatArray
from llmstudy.uncertainty.draws import Draws

PATH = "path_"
"""Prefix of the inputs that are paths, (n, months); a path that is absent is 1 throughout."""


PATH_INPUTS = ("jumps", "gpu_volatility", "volatility")
"""The inputs that say how far paths leave their trend."""


def noise(stream: str, n: int, months: int, seed: int) -> FloatArray:
    """Uniforms of a named stream, (n, months); more draws leave the first ones as they are.

    >>> bool((noise("gpu", 2, 3, 1) == noise("gpu", 5, 3, 1)[:2]).all())
    True
    """
    rng = np.random.default_rng([seed, crc32(f"path {stream}".encode())])
    return rng.random((n, months))


def jumps(
    per_year: FloatArray, factor: Figure, uniforms: FloatArray, sizes: FloatArray
) -> FloatArray:
    """A price that holds, and jumps by a drawn factor in a drawn month. (n, months).

    per_year: jumps a year, (n,). factor: the size of a jump. uniforms, sizes: (n, months), for
    whether a month jumps and by how much. At most one jump a month, none in the first.
    Source: cost.md 5.3: a named model almost never drifts; model its price as jumps.

    >>> always, half = np.ones((1, 1)), Figure("", 0.5, "factor")
    >>> jumps(np.array([1e9]), half, np.full((1, 4), 0.5), np.full((1, 4), 0.5)).tolist()
    [[1.0, 0.5, 0.25, 0.125]]
    """
    jumped = uniforms < -np.expm1(-per_year[:, None] / 12)
    jumped[:, 0] = False
    steps = np.ones(uniforms.shape)
    steps[jumped] = factor.quantile(sizes[jumped])
    return np.cumprod(steps, axis=1)


def wander(volatility_per_year: FloatArray, uniforms: FloatArray) -> FloatArray:
    """A rent that moves both ways: a random walk in logarithms whose mean stays 1. (n, months).

    volatility_per_year: standard deviation of the change of the logarithm over a year, (n,).
    Source: geometric Brownian motion, Hull, Options, Futures and Other Derivatives, ch. 14.

    >>> float(wander(np.full(20_000, 0.2), noise("doc", 20_000, 13, 1))[:, 12].mean().round(2))
    1.0
    """
    sigma = volatility_per_year[:, None] / np.sqrt(12)
    steps = sigma * _normal(uniforms) - sigma**2 / 2
    steps[:, 0] = 0.0
    return np.exp(np.cumsum(steps, axis=1))


def scatter(volatility_per_month: FloatArray, uniforms: FloatArray) -> FloatArray:
    """Volumes that scatter about their trend from month to month, with mean 1. (n, months)."""
    sigma = volatility_per_month[:, None]
    return np.exp(sigma * _normal(uniforms) - sigma**2 / 2)


def same_quality(
    factor_per_year: FloatArray, switches_per_year: FloatArray, uniforms: FloatArray
) -> FloatArray:
    """The lowest price of equal quality, as models appear that reach it cheaper. (n, months).

    factor_per_year: price a year later over today's, (n,). switches_per_year: how many such models
    appear, (n,); each takes its share of the year's fall (or rise, at a factor above 1, which comes
    where the old model is withdrawn). Nothing is said of who moves: see `follow`.
    """
    appeared = uniforms < -np.expm1(-switches_per_year[:, None] / 12)
    appeared[:, 0] = False
    # mean of the product over a year is the year's factor: exp(rate (step - 1)) = factor
    with np.errstate(divide="ignore"):
        step = 1 + np.log(factor_per_year) / np.maximum(switches_per_year, 1e-9)
    step = np.maximum(step, 0.05)[:, None]
    return np.cumprod(np.where(appeared, step, 1.0), axis=1)


def follow(
    market: FloatArray, bill_usd: FloatArray, switch_usd: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """What a buyer pays who moves whenever the rest of the horizon repays the cost of moving.

    market: lowest price of equal quality, (n, months), as a factor on today's. bill_usd: the bill
    of each month at today's price, (n, months). switch_usd: cost of one move, (n,).
    Returns: the factor paid, (n, months), and the cost of the moves made in each month, (n, months)
    usd. A buyer judges by the bills still to come and by today's market, not by its future. Where
    the market rises, the one who has not moved keeps the old price.

    >>> market = np.array([[1.0, 0.5, 0.5]])
    >>> paid, moves = follow(market, np.full((1, 3), 100.0), np.array([80.0]))
    >>> paid.tolist(), moves.tolist()
    ([[1.0, 0.5, 0.5]], [[0.0, 80.0, 0.0]])
    """
    to_come = np.cumsum(bill_usd[:, ::-1], axis=1)[:, ::-1]
    paid, moves = np.ones_like(market), np.zeros_like(market)
    now = np.ones(len(market))
    for month in range(1, market.shape[1]):
        gain = (now - market[:, month]) * to_come[:, month]
        moved = gain > switch_usd
        now = np.where(moved, market[:, month], now)
        paid[:, month] = now
        moves[:, month] = np.where(moved, switch_usd, 0.0)
    return paid, moves


def path(d: Draws, name: str, months: int) -> FloatArray:
    """The path of that name, cut to the months wanted; 1 throughout where there is none."""
    found = d.get(PATH + name)
    return np.ones((1, months)) if found is None else found[:, :months]


def without_paths(d: Draws) -> dict[str, FloatArray]:
    """The draws with every path at its trend."""
    return {name: x for name, x in d.items() if not name.startswith(PATH)}


def drawn_paths(
    d: Mapping[str, FloatArray], factor: Figure, workload: str, months: int, seed: int
) -> dict[str, FloatArray]:
    """The paths that belong to draws: input name -> (n, months).

    d: needs PATH_INPUTS, (n,) each. factor: the size of a jump. The list
    prices of the two API arms jump apart; rents wander together, and each workload's volume alone.
    """
    n = len(d["jumps"])

    def uniforms(stream: str) -> FloatArray:
        return noise(stream, n, months, seed)

    found = {
        f"{PATH}{arm}": jumps(d["jumps"], factor, uniforms(arm), uniforms(f"{arm} size"))
        for arm in ("proprietary_api", "hosted_open")
    }
    found[f"{PATH}gpu"] = wander(d["gpu_volatility"], uniforms("gpu"))
    found[f"{PATH}requests"] = scatter(d["volatility"], uniforms(f"requests {workload}"))
    return found


def _normal(uniforms: FloatArray) -> FloatArray:
    return np.asarray(ndtri(np.clip(uniforms, 1e-12, 1 - 1e-12)))

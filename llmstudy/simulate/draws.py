"""Draws of a figure, the same uniforms for the same thing, and the paths of prices and volumes.

A named model keeps its list price and now and then jumps. At equal quality prices fall in steps,
for a buyer who moves each time. The rent of a GPU wanders both ways, and so does a month's volume.
Every path is a factor on the trend, (n, months), and comes from a named stream: the same thing has
the same path in every workload. Prices begin at 1; a volume scatters from the first month on.
"""

from collections.abc import Mapping
from functools import lru_cache
from zlib import crc32

import numpy as np
from scipy.special import ndtri

from llmstudy.figure import Figure, FloatArray

Draws = Mapping[str, FloatArray]
"""Input name -> (n_draws,) values."""


@lru_cache(maxsize=1024)
def draw(figure: Figure, stream: str, n: int, seed: int) -> FloatArray:
    """Draws of a figure from its distribution, by the uniforms of a named stream. (n,), read-only:
    cached, so that all callers share one array.

    >>> share = Figure("", 0.2, "share", 0.0, 0.6, "triangular")
    >>> cached, retries = (draw(share, stream, 4, seed=1) for stream in ("cached", "retries"))
    >>> bool((cached == draw(share, "cached", 4, seed=1)).all()), bool((cached == retries).any())
    (True, False)
    """
    draws = figure.quantile(np.random.default_rng([seed, crc32(stream.encode())]).random(n))
    draws.setflags(write=False)
    return draws


def central(figures: Mapping[str, Figure]) -> dict[str, FloatArray]:
    """Every figure at its stated value, as one draw: (1,) arrays for a point estimate."""
    return {name: np.array([figure.value]) for name, figure in figures.items()}


def band(draws: FloatArray, shares: tuple[float, ...] = (0.1, 0.5, 0.9)) -> list[float | None]:
    """Quantiles of draws that may be infinite; None where the quantile is "never".

    >>> band(np.array([1.0, 2.0, 3.0, np.inf]), (0.25, 0.9))
    [1.0, None]
    """
    ordered = np.sort(draws)
    # the draw itself, not a mean of two: half of "never" is still never
    picks = [ordered[max(0, int(np.ceil(p * len(ordered))) - 1)] for p in shares]
    return [float(x) if np.isfinite(x) else None for x in picks]


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
    return np.asarray(np.cumprod(steps, axis=1), dtype=float)


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
    return np.asarray(np.exp(np.cumsum(steps, axis=1)))


def scatter(volatility_per_month: FloatArray, uniforms: FloatArray) -> FloatArray:
    """Volumes that scatter about their trend from month to month, with mean 1. (n, months)."""
    sigma = volatility_per_month[:, None]
    return np.asarray(np.exp(sigma * _normal(uniforms) - sigma**2 / 2))


def same_quality(
    factor_per_year: FloatArray, switches_per_year: FloatArray, uniforms: FloatArray
) -> FloatArray:
    """The lowest price of equal quality, as models appear that reach it cheaper. (n, months).

    factor_per_year: price a year later over today's, (n,). switches_per_year: how many such models
    appear a year, (n,); each brings the price to where the trend then stands, and until the next
    one it stays there. So it follows the trend in steps and never runs ahead of it. Whether a buyer
    moves is decided in `follow`.

    >>> same_quality(np.array([0.5]), np.array([1e9]), np.full((1, 13), 0.5))[0, 12]
    np.float64(0.5)
    """
    months = np.arange(uniforms.shape[1])
    appeared = uniforms < -np.expm1(-switches_per_year[:, None] / 12)
    latest = np.maximum.accumulate(np.where(appeared, months, 0), axis=1)
    return np.asarray(factor_per_year[:, None] ** (latest / 12))


def follow(
    named: FloatArray, market: FloatArray, bill_usd: FloatArray, switch_usd: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """What a buyer pays who moves whenever the saving over the rest of the horizon covers the cost.

    named: price of today's model over today's, market: lowest price of equal quality, (n, months)
    each. bill_usd: the bill of each month at today's price, (n, months). switch_usd: cost of one
    move, (n,). Returns: the factor paid, (n, months), and the cost of the moves made in each month,
    (n, months) usd.

    A buyer knows this month's prices and bill and takes the rest of the horizon to be like it. The
    model that was moved to keeps its price until the next move, whatever the market does.

    >>> named, market = np.ones((1, 3)), np.array([[1.0, 0.5, 0.5]])
    >>> paid, moves = follow(named, market, np.full((1, 3), 100.0), np.array([80.0]))
    >>> paid.tolist(), moves.tolist()
    ([[1.0, 0.5, 0.5]], [[0.0, 80.0, 0.0]])
    """
    n, months = market.shape
    paid, moves = named.copy(), np.zeros((n, months))
    price_followed = np.full(n, np.nan)  # the price of the model that was moved to
    for month in range(1, months):
        now = np.where(np.isnan(price_followed), named[:, month], price_followed)
        gain = (now - market[:, month]) * bill_usd[:, month] * (months - month)
        moved = gain > switch_usd
        price_followed = np.where(moved, market[:, month], price_followed)
        paid[:, month] = np.where(moved, market[:, month], now)
        moves[:, month] = np.where(moved, switch_usd, 0.0)
    return paid, moves


def path(d: Draws, name: str, months: int) -> FloatArray:
    """The path of that name, cut to so many months; 1 throughout where there is none."""
    factors = d.get(PATH + name)
    return np.ones((1, months)) if factors is None else factors[:, :months]


def drawn_paths(
    d: Mapping[str, FloatArray], factor: Figure, workload: str, months: int, seed: int
) -> dict[str, FloatArray]:
    """The paths that belong to draws: input name -> (n, months).

    d: needs PATH_INPUTS, (n,) each. factor: the size of a jump. List prices of providers jump
    together and rents wander together, each workload's volume alone. The history of hosted prices
    is in their trend, so that they do not jump beside it.
    """
    n = len(d["jumps"])

    def uniforms(stream: str) -> FloatArray:
        return noise(stream, n, months, seed)

    arm = "proprietary_api"
    return {
        f"{PATH}{arm}": jumps(d["jumps"], factor, uniforms(arm), uniforms(f"{arm} size")),
        f"{PATH}gpu": wander(d["gpu_volatility"], uniforms("gpu")),
        f"{PATH}requests": scatter(d["volatility"], uniforms(f"requests {workload}")),
    }


def _normal(uniforms: FloatArray) -> FloatArray:
    return np.asarray(ndtri(np.clip(uniforms, 1e-12, 1 - 1e-12)))

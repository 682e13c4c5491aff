"""Draws of figures from named streams, and paths of prices and volumes.

The list price of a named model is constant between occasional jumps. At equal quality prices fall
in steps, for a buyer who moves each time. GPU rents and monthly volumes move both ways. Every path
is a factor on the trend, (n, months), from a named stream, so that all workloads share it. Price
paths begin at 1; a volume scatters from the first month on.
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
    """Draws of a figure by the uniforms of a named stream, (n,).

    The array is cached and read-only, since all callers share it.

    >>> share = Figure("", 0.2, "share", 0.0, 0.6, "triangular")
    >>> cached, retries = (draw(share, stream, 4, seed=1) for stream in ("cached", "retries"))
    >>> bool((cached == draw(share, "cached", 4, seed=1)).all()), bool((cached == retries).any())
    (True, False)
    """
    draws = figure.quantile(np.random.default_rng([seed, crc32(stream.encode())]).random(n))
    draws.setflags(write=False)
    return draws


def central(figures: Mapping[str, Figure]) -> dict[str, FloatArray]:
    """Every figure at its value, as arrays (1,), for a point estimate."""
    return {name: np.array([figure.value]) for name, figure in figures.items()}


def band(draws: FloatArray, shares: tuple[float, ...] = (0.1, 0.5, 0.9)) -> list[float | None]:
    """Quantiles of draws that may be infinite; None for an infinite quantile ("never").

    >>> band(np.array([1.0, 2.0, 3.0, np.inf]), (0.25, 0.9))
    [1.0, None]
    """
    ordered = np.sort(draws)
    # a draw itself, not a mean of two: a mean with "never" would be infinite too
    picks = [ordered[max(0, int(np.ceil(p * len(ordered))) - 1)] for p in shares]
    return [float(x) if np.isfinite(x) else None for x in picks]


PATH = "path_"
"""Prefix of the inputs that are paths, (n, months); a missing path is 1 throughout."""


PATH_INPUTS = ("jumps", "gpu_volatility", "volatility")
"""The inputs that give the volatility of the paths."""


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
    """A price that jumps by a random factor in random months and is constant between. (n, months).

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
    """A rent that is a random walk in logarithms with mean 1. (n, months).

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
    """Monthly volumes over their trend: independent log-normal factors with mean 1. (n, months)."""
    sigma = volatility_per_month[:, None]
    return np.asarray(np.exp(sigma * _normal(uniforms) - sigma**2 / 2))


def same_quality(
    factor_per_year: FloatArray, switches_per_year: FloatArray, uniforms: FloatArray
) -> FloatArray:
    """The lowest price of equal quality, as models appear that reach it cheaper. (n, months).

    factor_per_year: price a year later over today's, (n,). switches_per_year: how many such models
    appear a year, (n,). Each brings the price down to the trend, where it stays until the next one,
    so that it follows the trend in steps. `follow` decides whether a buyer moves.

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
    """The price paid by a buyer who moves whenever the rest of the horizon repays the move.

    named: price of today's model over today's, market: lowest price of equal quality, (n, months)
    each. bill_usd: the bill of each month at today's price, (n, months). switch_usd: cost of one
    move, (n,). Returns: the factor paid, (n, months), and the cost of the moves made in each month,
    (n, months) usd.

    The buyer knows the prices and the bill of the current month and assumes that they stay. The
    price of the model moved to is constant until the next move.

    >>> named, market = np.ones((1, 3)), np.array([[1.0, 0.5, 0.5]])
    >>> paid, moves = follow(named, market, np.full((1, 3), 100.0), np.array([80.0]))
    >>> paid.tolist(), moves.tolist()
    ([[1.0, 0.5, 0.5]], [[0.0, 80.0, 0.0]])
    """
    n, months = market.shape
    paid, moves = named.copy(), np.zeros((n, months))
    followed_price = np.full(n, np.nan)  # the price of the model that the buyer moved to
    for month in range(1, months):
        now = np.where(np.isnan(followed_price), named[:, month], followed_price)
        gain = (now - market[:, month]) * bill_usd[:, month] * (months - month)
        moves_now = gain > switch_usd
        followed_price = np.where(moves_now, market[:, month], followed_price)
        paid[:, month] = np.where(moves_now, market[:, month], now)
        moves[:, month] = np.where(moves_now, switch_usd, 0.0)
    return paid, moves


def path(d: Draws, name: str, months: int) -> FloatArray:
    """The path of that name in the first months, (n, months); 1 throughout if it is missing."""
    factors = d.get(PATH + name)
    return np.ones((1, months)) if factors is None else factors[:, :months]


def drawn_paths(
    d: Mapping[str, FloatArray], factor: Figure, workload: str, months: int, seed: int
) -> dict[str, FloatArray]:
    """The paths for draws: input name -> (n, months).

    d: needs PATH_INPUTS, (n,) each. factor: the size of a jump. All proprietary prices jump
    together and all rents move together; each workload's volume moves by itself. Hosted prices do
    not jump: their past changes are in their trend.
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

"""Checks whether there are enough draws: a statistic with its interval as their number doubles.

Monte Carlo draws are independent, so the intervals have closed forms. Draws of a scrambled Sobol
sequence are not: give independent scrambles as rows, and the interval is taken between rows.
"""

from math import ceil, inf, isfinite, nan, sqrt
from typing import Literal

import numpy as np
import pandas as pd
from scipy.stats import binom
from scipy.stats import t as student_t

from llmstudy.figure import FloatArray, Interval
from llmstudy.measures.quality import wilson

Stat = Literal["mean", "share", "p10", "p50", "p90"]
"""The statistic. share: of ones in an outcome of zeros and ones, such as `x > 0`."""

_QUANTILES = {"p10": 0.1, "p50": 0.5, "p90": 0.9}

_FEWEST = 64
"""Below 36 draws the 95 % interval of a 10th percentile has no lower end."""


def estimate(x: FloatArray, stat: Stat, level: float = 0.95) -> Interval:
    """A statistic of independent draws with its interval. x: (n,), n >= 2, may be infinite.

    A mean has Student's interval, a share Wilson's, a quantile the two draws that enclose it with
    at least the stated level whatever the distribution. A mean of infinite draws is infinite and
    its interval has no finite end; a quantile is only when it falls among infinite draws.

    Raises: ValueError if a draw is NaN, there are under 2, or a share is not of zeros and ones.
    Source: quantiles: David & Nagaraja (2003), Order Statistics, 3rd ed., section 7.1.

    >>> estimate(np.arange(1.0, 101.0), "p50")
    Interval(estimate=50.0, low=40.0, high=61.0)
    """
    if len(x) < 2 or np.isnan(x).any():
        raise ValueError(f"{len(x)} draws, {np.isnan(x).sum()} of them NaN: give 2 or more numbers")
    if stat == "share":
        if not np.isin(x, (0, 1)).all():
            raise ValueError("a share is of zeros and ones: give a condition such as x > 0")
        return wilson(int(x.sum()), len(x), level)
    if stat == "mean":
        return _mean(x, level)
    return _quantile(np.sort(x), _QUANTILES[stat], level)


def _mean(x: FloatArray, level: float) -> Interval:
    if not np.isfinite(x).all():
        ends = set(x[~np.isfinite(x)].tolist())
        return Interval(ends.pop() if len(ends) == 1 else nan, -inf, inf)
    mean = float(x.mean())
    half = float(student_t.ppf((1 + level) / 2, len(x) - 1) * x.std(ddof=1) / sqrt(len(x)))
    return Interval(mean, mean - half, mean + half)


def _quantile(ordered: FloatArray, q: float, level: float) -> Interval:
    """A quantile as one of the draws, which may be infinite ("never"), with its interval."""
    n = len(ordered)
    below = binom.ppf([(1 - level) / 2, (1 + level) / 2], n, q).astype(int)
    framed = np.concatenate([[-inf], ordered, [inf]])  # rank k is framed[k]
    picks = framed[[ceil(n * q - 1e-9), below[0], below[1] + 1]]
    return Interval(*picks.tolist())


def convergence(outcome: FloatArray, stat: Stat, level: float = 0.95) -> pd.DataFrame:
    """The statistic after n draws, n doubling up to all of them: n, estimate, low, high.

    outcome: (n,) independent draws; or (r, n) for r independent replicates of n draws that depend
    on each other (scrambles of a Sobol sequence, n a power of two): the estimate is then the mean
    over the replicates, with Student's interval between them (88 to 96 % in simulations, with 8 of
    256), and n counts draws of one replicate. The smallest n is 64 or more, or all draws.
    Source, replicates: L'Ecuyer, Nakayama, Owen & Tuffin (2023), Confidence intervals for
    randomized quasi-Monte Carlo estimators, Winter Simulation Conference: Student's holds best.
    Raises: as `estimate`.

    >>> x = np.random.default_rng(1).normal(size=512)
    >>> convergence(x, "p50").round(2)
         n  estimate   low  high
    0   64      0.01 -0.29  0.22
    1  128      0.03 -0.14  0.21
    2  256     -0.07 -0.21  0.04
    3  512     -0.01 -0.11  0.05
    """
    at_n = _over_replicates if outcome.ndim == 2 else estimate
    n, rows = outcome.shape[-1], []
    for first_n in _doubling(n):
        interval = at_n(outcome[..., :first_n], stat, level)
        rows.append((first_n, interval.estimate, interval.low, interval.high))
    return pd.DataFrame(rows, columns=["n", "estimate", "low", "high"])


def _doubling(n: int) -> list[int]:
    halved = [n]
    while halved[-1] // 2 >= _FEWEST:
        halved.append(halved[-1] // 2)
    return halved[::-1]


def _over_replicates(outcome: FloatArray, stat: Stat, level: float) -> Interval:
    each = np.array([estimate(row, stat, level).estimate for row in outcome])
    return estimate(each, "mean", level)


def enough(outcome: FloatArray, stat: Stat, half_width: float, level: float = 0.95) -> int | None:
    """Number of draws with which half of the statistic's interval is at most `half_width`.

    Extrapolated from all the draws given, of which there should be hundreds, by the law of
    1/sqrt(n): n * (half / half_width)^2. outcome: (n,) independent draws. half_width: in its unit.
    Returns: None if no number of draws is enough, since the statistic is or may be infinite.
    Raises: as `estimate`, or if half_width is not above zero.

    >>> enough(np.random.default_rng(1).normal(size=4_000), "mean", 0.01)
    38682
    """
    if not half_width > 0:
        raise ValueError(f"half_width {half_width:g}: give a length above zero")
    interval = estimate(outcome, stat, level)
    half = (interval.high - interval.low) / 2
    if not isfinite(half):
        return None
    return max(2, ceil(len(outcome) * (half / half_width) ** 2))

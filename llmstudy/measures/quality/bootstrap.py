"""Intervals of any statistic of the items, such as cost per correct answer: resampled clusters.

The statistic is a function of means over the items: a ratio of cost to correct answers, the same of
two routes, their difference. All columns of an item are drawn together, so that pairing holds.
"""

from collections.abc import Callable
from math import sqrt

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, stdtrit

from llmstudy.figure import FloatArray, Interval
from llmstudy.measures.quality.clusters import cluster_sums, error_of, student_interval

RESAMPLES = 2_000
"""With these an end of a 95 % interval rests on some 40 resamples beyond it."""

Statistic = Callable[[FloatArray], FloatArray]
"""Of means over the items, (..., k), to the figure wanted, (...)."""


def resample_weights(n_clusters: int, rng: np.random.Generator) -> FloatArray:
    """How often each resample has each cluster. (RESAMPLES, n_clusters)

    >>> weights = resample_weights(30, np.random.default_rng(7))
    >>> weights.shape, float(weights.sum(axis=1).max())
    ((2000, 30), 30.0)
    """
    drawn = rng.integers(n_clusters, size=(RESAMPLES, n_clusters))
    drawn += n_clusters * np.arange(RESAMPLES)[:, np.newaxis]
    counts = np.bincount(drawn.ravel(), minlength=RESAMPLES * n_clusters)
    return counts.reshape(RESAMPLES, n_clusters).astype(float)


def resampled_means(
    rows: npt.ArrayLike, cluster: npt.ArrayLike | None, rng: np.random.Generator
) -> FloatArray:
    """Means of the columns in each resample, drawn jointly, for several statistics at once.

    rows: (n, k) figures of each item. cluster: (n,) names; None where each item is its own.
    Returns: (RESAMPLES, k), in the units of the columns.
    Raises: ValueError as `cluster_sums`.
    Source: Davison & Hinkley (1997), Bootstrap Methods and their Application, section 3.8.

    >>> means = resampled_means([[1, 0.01], [0, 0.03], [1, 0.02]], None, np.random.default_rng(7))
    >>> means.shape, means.mean(axis=0).round(3).tolist()
    ((2000, 2), [0.674, 0.02])
    """
    sums, items = cluster_sums(rows, cluster)
    weights = resample_weights(len(items), rng)
    return np.asarray((weights @ sums) / (weights @ items)[:, np.newaxis])


def left_out_influence(statistic: Statistic, sums: FloatArray, items: FloatArray) -> FloatArray:
    """What each cluster adds to the statistic: the change when it is left out. (G,)

    Scaled so that `error_of` gives the jackknife's standard error.

    >>> by_item = left_out_influence(lambda mean: mean[..., 0], np.eye(2)[:, :1], np.ones(2))
    >>> by_item.round(3).tolist()
    [0.25, -0.25]
    """
    n_clusters = len(items)
    without = statistic((sums.sum(axis=0) - sums) / (items.sum() - items)[:, np.newaxis])
    return np.asarray((without.mean() - without) * (n_clusters - 1) / n_clusters)


def interval_of_draws(
    draws: FloatArray, estimate: float, influence: FloatArray, level: float = 0.95
) -> Interval:
    """The interval around an estimate, from its resamples and each cluster's influence on it.

    At either end the further of two: the percentile at which Student's t would lie, and the limit
    of the jackknife's Student interval. The first alone is too short where few items differ, the
    second where costs are skewed, and the plain percentiles and BCa in both.

    draws: (RESAMPLES,) of the statistic. influence: (G,) as `left_out_influence`.
    Raises: ValueError as `error_of`.
    Source: expanded percentiles: Hesterberg (2015), The American Statistician 69:371-386, section
    5.3; jackknife: Efron & Stein (1981), Annals of Statistics 9:586-596.

    >>> draws, influence = np.linspace(-2, 3, 2001), np.repeat([0.1, -0.1], 50)
    >>> ends = interval_of_draws(draws, 0.0, influence)  # Student's low end, the draws' high one
    >>> round(ends.low, 2), round(ends.high, 2)
    (-1.99, 2.88)
    """
    error, degrees = error_of(influence)
    limits = student_interval(estimate, error, degrees, level)
    z = float(stdtrit(degrees, (1 + level) / 2)) * sqrt(len(influence) / (len(influence) - 1))
    low, high = np.quantile(draws, ndtr([-z, z]))
    return Interval(estimate, min(float(low), limits.low), max(float(high), limits.high))


def bootstrap_interval(
    statistic: Statistic,
    rows: npt.ArrayLike,
    cluster: npt.ArrayLike | None,
    rng: np.random.Generator,
    level: float = 0.95,
) -> Interval:
    """A statistic of the items with its interval from resampled items, or whole clusters.

    As `interval_of_draws`: the resamples' percentiles, set so that it is not too short.

    statistic: of means of the columns of rows, (..., k) to (...). rows: (n, k) figures of each
    item. cluster: (n,) names; None where each item is its own.
    Returns: in the unit of the statistic.
    Raises: ValueError as `cluster_sums` and `error_of`, or where it is no number in some resample.
    Source: as `resampled_means` and `interval_of_draws`.

    >>> rng = np.random.default_rng(7)
    >>> correct, usd = rng.random((200, 2)) < [0.9, 0.8], rng.lognormal([-4, -6], 0.5, (200, 2))
    >>> per_correct = lambda mean: mean[..., 3] / mean[..., 1] - mean[..., 2] / mean[..., 0]
    >>> saved = bootstrap_interval(per_correct, np.hstack([correct, usd]), None, rng)
    >>> f"{saved.estimate:.4f} [{saved.low:.4f}, {saved.high:.4f}] USD"
    '-0.0169 [-0.0188, -0.0151] USD'
    """
    sums, items = cluster_sums(rows, cluster)
    weights = resample_weights(len(items), rng)
    with np.errstate(divide="ignore", invalid="ignore"):
        draws = statistic((weights @ sums) / (weights @ items)[:, np.newaxis])
        estimate = float(statistic(sums.sum(axis=0) / items.sum()))
    if bad := int((~np.isfinite(draws)).sum()):
        raise ValueError(f"the statistic is no number in {bad} of {RESAMPLES} resamples: add items")
    return interval_of_draws(draws, estimate, left_out_influence(statistic, sums, items), level)

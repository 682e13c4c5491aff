"""Intervals of any statistic of the items, such as cost per correct answer: resampled clusters.

The statistic is a function of means over the items: a ratio of cost to correct answers, the same of
two routes, their difference. All columns of an item are drawn together, so that pairing holds.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, stdtrit

from llmstudy.figure import FloatArray, Interval
from llmstudy.measures.quality.clusters import cluster_sums, error_of

RESAMPLES = 2_000
"""With these an end of a 95 % interval rests on some 40 resamples beyond it."""

LEAST_DEGREES = 12.0
"""Fewer degrees of freedom (`error_of`) mean that a handful of items make the statistic, which
resamples of them cannot show: see `docs/quality_coverage.md`."""

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


def expanded_percentiles(draws: FloatArray, degrees: float, n_clusters: int, level: float) -> Any:
    """The ends of the interval: percentiles of the draws, further out where clusters are few.

    >>> expanded_percentiles(np.arange(1001.0), degrees=20, n_clusters=21, level=0.95).round()
    array([ 16., 984.])
    """
    z = float(stdtrit(degrees, (1 + level) / 2)) * np.sqrt(n_clusters / (n_clusters - 1))
    return np.quantile(draws, ndtr([-z, z]))


def bootstrap_interval(
    statistic: Statistic,
    rows: npt.ArrayLike,
    cluster: npt.ArrayLike | None,
    rng: np.random.Generator,
    level: float = 0.95,
) -> Interval:
    """A statistic of the items with its interval from resampled items, or whole clusters.

    The expanded percentile interval: its percentiles are those at which Student's t would lie, so
    that it is not too short for few clusters, as the plain percentile and the BCa interval are.

    statistic: of means of the columns of rows, (..., k) to (...). rows: (n, k) figures of each
    item. cluster: (n,) names; None where each item is its own.
    Returns: in the unit of the statistic.
    Raises: ValueError as `cluster_sums` and `error_of`; where so few items make the statistic that
    resamples cannot show its range; where it is no number in some resample.
    Source: Hesterberg (2015), The American Statistician 69:371-386, section 5.3.

    >>> rng = np.random.default_rng(7)
    >>> correct, usd = rng.random((200, 2)) < [0.9, 0.8], rng.lognormal([-4, -6], 0.5, (200, 2))
    >>> per_correct = lambda mean: mean[..., 3] / mean[..., 1] - mean[..., 2] / mean[..., 0]
    >>> saved = bootstrap_interval(per_correct, np.hstack([correct, usd]), None, rng)
    >>> f"{saved.estimate:.4f} [{saved.low:.4f}, {saved.high:.4f}] USD"
    '-0.0169 [-0.0188, -0.0152] USD'
    """
    sums, items = cluster_sums(rows, cluster)
    weights = resample_weights(len(items), rng)
    estimate = float(statistic(sums.sum(axis=0) / items.sum()))
    _, degrees = error_of(left_out_influence(statistic, sums, items))
    if degrees < LEAST_DEGREES:
        raise ValueError(
            f"too few of {int(items.sum())} items make the statistic what it is (as many as "
            f"{degrees:.0f} degrees of freedom would; {LEAST_DEGREES:.0f} are needed): add items"
        )
    draws = statistic((weights @ sums) / (weights @ items)[:, np.newaxis])
    if bad := int((~np.isfinite(draws)).sum()):
        raise ValueError(f"the statistic is no number in {bad} of {RESAMPLES} resamples: add items")
    low, high = expanded_percentiles(draws, degrees, len(items), level)
    return Interval(estimate, float(low), float(high))

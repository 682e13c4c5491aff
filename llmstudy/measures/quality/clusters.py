"""Items that come in clusters: their sums, and how certain a figure is that rests on them.

Items of one document, conversation or customer succeed and fail together, so that a cluster, not an
item, is what was drawn by chance. Without clusters each item is its own.
"""

from math import sqrt

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import stdtrit

from llmstudy.figure import FloatArray, Interval

LEAST_CLUSTERS = 30
"""Fewer give intervals of 95 % that miss the truth in up to 15 % of evaluations: see
`docs/quality_coverage.md`."""


def cluster_sums(
    rows: npt.ArrayLike, cluster: npt.ArrayLike | None = None
) -> tuple[FloatArray, FloatArray]:
    """Sums of the rows of each cluster, and the number of its rows.

    rows: (n,) or (n, k) figures of each item. cluster: (n,) name of each item's cluster.
    Returns: (G, k) sums and (G,) items.
    Raises: ValueError for no items, a figure that is not a number, an item without a cluster, or
    lengths that differ.

    >>> sums, items = cluster_sums([1, 0, 1], ["mail 1", "mail 1", "mail 2"])
    >>> sums.tolist(), items.tolist()
    ([[1.0], [1.0]], [2.0, 1.0])
    """
    figures = np.asarray(rows, dtype=float)
    if not figures.size:
        raise ValueError("no items: give the figures of each, at least one")
    figures = figures.reshape(len(figures), -1)
    if bad := int((~np.isfinite(figures)).any(axis=1).sum()):
        raise ValueError(
            f"items without a number: {bad} of {len(figures)}; score them, or leave them out"
        )
    if cluster is None:
        return figures, np.ones(len(figures))
    names = pd.Series(np.asarray(cluster))
    if len(names) != len(figures):
        raise ValueError(f"{len(figures)} items, {len(names)} clusters: give each item its cluster")
    codes, _ = pd.factorize(names)
    if bad := int((codes < 0).sum()):
        raise ValueError(f"items without a cluster: {bad} of {len(names)}; name one for each")
    sums = np.column_stack([np.bincount(codes, column) for column in figures.T]).astype(np.float64)
    return sums, np.bincount(codes).astype(np.float64)


def variance_of(influence: FloatArray) -> float:
    """Variance of a figure, from each cluster's influence on it: G / (G - 1) sum u^2.

    influence: (G,) u, what a cluster adds to the figure, of mean 0.
    Source: Liang & Zeger (1986), Biometrika 73:13-22.

    >>> round(variance_of(np.repeat([0.1, -0.1], 50)), 4)
    1.0101
    """
    n_clusters = len(influence)
    return n_clusters / (n_clusters - 1) * float((influence**2).sum())


def error_of(influence: FloatArray) -> tuple[float, float]:
    """Standard error of a figure and its degrees of freedom, from each cluster's influence on it.

    The variance of few and unlike influences is itself uncertain: the degrees of freedom follow
    from their kurtosis, 2 / (sum u^4 / (sum u^2)^2 - 1 / G), and are G - 1 at most. So intervals
    hold where few items differ, and Student's t with G - 1 degrees misses up to 20 % of the truths.

    influence: (G,) u, what a cluster adds to the figure, of mean 0.
    Raises: ValueError for fewer than `LEAST_CLUSTERS` clusters, or influences that do not vary.
    Source: Liang & Zeger (1986), Biometrika 73:13-22; degrees of freedom: Satterthwaite (1946),
    Biometrics Bulletin 2:110-114, with the variance of a sample variance.

    >>> error, degrees = error_of(np.repeat([0.1, -0.1], 50))
    >>> round(error, 3), degrees
    (1.005, 99.0)
    """
    n_clusters = len(influence)
    if n_clusters < LEAST_CLUSTERS:
        raise ValueError(
            f"{n_clusters} items, or clusters of them, that do not depend on each other: an "
            f"interval needs {LEAST_CLUSTERS}; add some"
        )
    squares = float((influence**2).sum())
    if squares <= 1e-24:
        raise ValueError(
            f"nothing varies between {n_clusters} clusters, so the error cannot be estimated: add "
            "items; scores of 0 and 1 without clusters have `paired_difference`"
        )
    unlike = float((influence**4).sum()) / squares**2 - 1 / n_clusters
    degrees = min(n_clusters - 1.0, 2 / unlike) if unlike > 0 else n_clusters - 1.0
    return sqrt(variance_of(influence)), degrees


def student_interval(estimate: float, error: float, degrees: float, level: float) -> Interval:
    """The estimate with Student's interval around it.

    >>> round(student_interval(0.0, 1.0, 9, 0.95).high, 3)
    2.262
    """
    half = float(stdtrit(degrees, (1 + level) / 2)) * error
    return Interval(estimate, estimate - half, estimate + half)

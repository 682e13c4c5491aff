"""Differences item by item: graded scores and clusters, where counts of items do not do."""

import numpy as np
import numpy.typing as npt
from scipy.stats import wilcoxon

from llmstudy.figure import FloatArray, Interval
from llmstudy.measures.quality.clusters import cluster_sums, error_of, student_interval


def clustered_difference(
    difference: npt.ArrayLike, cluster: npt.ArrayLike | None = None, level: float = 0.95
) -> Interval:
    """Mean of the items' differences b minus a, with its cluster-robust interval.

    The error is sqrt(G / (G - 1) sum_g (sum_i (d_i - mean))^2) / n; Student's t with G - 1 degrees
    of freedom, and fewer where few clusters make the difference (`error_of`).

    difference: (n,) of each item, in the unit of the scores. cluster: (n,) name of its document,
    conversation or customer; None where items do not depend on each other.
    Raises: ValueError as `cluster_sums` and `error_of`: too few clusters, or none that differ.
    Source: Miller (2024), arXiv 2411.00640, sections 2.2 and 4.2.

    >>> difference, mail = [0, 0, 1, 1, -1] * 20, np.arange(100) // 2
    >>> d = clustered_difference(difference, mail)
    >>> f"{d.estimate:+.2f} [{d.low:+.2f}, {d.high:+.2f}]"
    '+0.20 [+0.05, +0.35]'
    """
    mean, influence = influence_of(difference, cluster)
    return student_interval(mean, *error_of(influence), level)


def design_effect(difference: npt.ArrayLike, cluster: npt.ArrayLike) -> float:
    """How many times the items that a plan needs grow by their clusters. No unit.

    The variance of the mean difference over what it would be if items did not depend on each
    other. Multiply the items of `score_test_size` by it.

    Raises: ValueError as `clustered_difference`.
    Source: Kish (1965), Survey Sampling, section 8.2.

    >>> alike = np.repeat([0, 0, 1, 0, -1], 40)
    >>> round(design_effect(alike, np.arange(200) // 4), 2)  # four items say what one would
    4.06
    """
    clustered = error_of(influence_of(difference, cluster)[1])[0]
    return float((clustered / error_of(influence_of(difference, None)[1])[0]) ** 2)


def influence_of(
    difference: npt.ArrayLike, cluster: npt.ArrayLike | None
) -> tuple[float, FloatArray]:
    """The mean difference, and what each cluster adds to it. (G,)"""
    sums, items = cluster_sums(difference, cluster)
    n = items.sum()
    mean = float(sums.sum() / n)
    return mean, (sums[:, 0] - items * mean) / n


def signed_rank_p(difference: npt.ArrayLike, margin: float = 0.0) -> float:
    """One-sided p-value by Wilcoxon's signed ranks: b is worse than a by the margin or more.

    For graded scores of items that do not depend on each other, where the steps of the scale have
    an order and no sure width. Items on the margin itself are left out (Wilcoxon's way with zeros);
    ties share their mean rank. Of the others, up to 13, or 50 without ties, are tested exactly, and
    more by the normal approximation, corrected for ties and continuity.

    difference: (n,) of each item, in the unit of the scores. margin: the loss allowed, same unit.
    Raises: ValueError for a difference that is not a number, or no item off the margin.
    Source: Wilcoxon (1945), Biometrics Bulletin 1:80-83; `scipy.stats.wilcoxon`.

    >>> round(signed_rank_p([0.5, -0.25, 0.1, 0.4, 0.3, -0.15, 0.6, 0.2]), 4)
    0.0547
    """
    above = cluster_sums(difference)[0][:, 0] + margin
    # the last digit of a decimal score must not part items that lie on the margin alike
    above = np.round(above, 12)
    if not above.any():
        raise ValueError(f"all {len(above)} items lie on the margin {-margin:g}: ranks need others")
    return float(wilcoxon(above[above != 0], alternative="greater", correction=True).pvalue)

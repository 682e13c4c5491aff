"""An LLM judge beside labels by hand: what the judge adds, without what it gets wrong."""

from dataclasses import dataclass
from math import sqrt

import numpy as np
import numpy.typing as npt
import pandas as pd

from llmstudy.figure import FloatArray, Interval
from llmstudy.measures.quality.clusters import (
    cluster_sums,
    error_of,
    student_interval,
)
from llmstudy.measures.quality.items import clustered_difference, influence_of


@dataclass(frozen=True)
class JudgedDifference:
    """b minus a from labels and a judge, and what the judge alone would say.

    weight: of the judge, from 0 (labels alone) to 1. judge_only: the plain mean of the judge's
    differences over all items, with an interval that knows nothing of its mistakes.
    """

    difference: Interval
    weight: float
    judge_only: Interval


def judged_difference(
    labelled: npt.ArrayLike,
    judged_labelled: npt.ArrayLike,
    judged: npt.ArrayLike,
    level: float = 0.95,
    clusters: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
) -> JudgedDifference:
    """Mean difference b minus a: few labels, many judgements, without the judge's bias (PPI++).

    weight x mean of the judge's differences + mean of (label - weight x judge) over labelled items.
    Taken of differences, it corrects a judge that favours one of the two models, itself say. The
    weight makes the error least: cov(D, D^) / ((1 + n / N) var D^), clipped to [0, 1], and 0
    where the other items are too few, or too alike, for an error of their mean. The error is robust
    to clusters, also to those of which some items are labelled and others are not; the weight is
    that of independent items, which with clusters is not the best but as true.

    labelled: (n,) differences D by hand. judged_labelled: (n,) the judge's D^ on the same items.
    judged: (N,) the judge's on other items, drawn from the same requests. clusters: (n,) and (N,),
    the names of the clusters of both; None where items do not depend on each other.
    Raises: ValueError as `cluster_sums` and `error_of`, or lengths that differ.
    Source: Angelopoulos, Duchi & Zrnic (2023), arXiv 2311.01453, example 6.1; its error in
    clusters: Liang & Zeger (1986), Biometrika 73:13-22.

    >>> rng = np.random.default_rng(7)
    >>> truth = rng.choice([-1, 0, 1], p=[0.2, 0.7, 0.1], size=2000)
    >>> judge = np.where(rng.random(2000) < 0.15, 1, truth)  # favours b
    >>> both = judged_difference(truth[:200], judge[:200], judge[200:])
    >>> f"{both.difference.estimate:+.2f}, the judge alone {both.judge_only.estimate:+.2f}"
    '-0.10, the judge alone +0.05'
    """
    ours, theirs, more = (cluster_sums(x)[0][:, 0] for x in (labelled, judged_labelled, judged))
    n, n_more = len(ours), len(more)
    if n != len(theirs):
        raise ValueError(
            f"{n} labels, {len(theirs)} judgements of the same items: give the judge's difference "
            "for each labelled item"
        )
    names, names_more = clusters or (np.arange(n), n + np.arange(n_more))
    every, every_names = np.concatenate([theirs, more]), np.concatenate([names, names_more])
    judge_only = clustered_difference(every, every_names, level)
    weight = float(np.cov(ours, theirs)[0, 1] / ((1 + n / n_more) * every.var(ddof=1)))
    mean_more, of_more = influence_of(more, names_more)
    try:
        error_more, degrees_more = error_of(of_more)
        weight = min(max(weight, 0.0), 1.0)
    except ValueError:
        error_more, degrees_more, weight = 0.0, 1.0, 0.0
    mean_rest, of_rest = influence_of(ours - weight * theirs, names)
    error_rest, degrees_rest = error_of(of_rest)
    parts = error_rest**2, (weight * error_more) ** 2
    shared = _shared(names, of_rest, names_more, weight * of_more)
    degrees = sum(parts) ** 2 / (parts[0] ** 2 / degrees_rest + parts[1] ** 2 / degrees_more)
    difference = student_interval(
        mean_rest + weight * mean_more, sqrt(sum(parts) + 2 * shared), degrees, level
    )
    return JudgedDifference(difference, weight, judge_only)


def _shared(
    names: npt.ArrayLike, influence: FloatArray, names_more: npt.ArrayLike, more: FloatArray
) -> float:
    """Covariance of the two means by the clusters that have items of both."""
    one = pd.Series(influence, index=pd.unique(pd.Series(np.asarray(names))))
    other = pd.Series(more, index=pd.unique(pd.Series(np.asarray(names_more))))
    return float((one * other).sum())

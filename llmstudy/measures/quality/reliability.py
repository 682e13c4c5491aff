"""Whether answers and raters agree with themselves: pass^k over repeats, alpha over raters."""

from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import comb, ndtr, stdtrit

from llmstudy.figure import Interval
from llmstudy.measures.quality.clusters import cluster_sums, error_of
from llmstudy.measures.quality.counts import wilson


def pass_hat_k(
    successes: npt.ArrayLike,
    trials: npt.ArrayLike,
    k: int,
    cluster: npt.ArrayLike | None = None,
    level: float = 0.95,
) -> Interval:
    """pass^k: the share of items that k trials in a row would all solve.

    The mean over items of C(successes, k) / C(trials, k), with Wilson's interval at the number of
    independent trials that its cluster-robust error is worth.

    successes, trials: (n,) of each item; trials may be one number. cluster: (n,) as
    `clustered_difference`.
    Raises: ValueError if an item has fewer than k trials, or successes not in 0..trials; and as
    `cluster_sums` and `error_of`.
    Source: Yao, Shinn, Razavi & Narasimhan (2024), tau-bench, arXiv 2406.12045, section 3.

    >>> solved = [4] * 30 + [2] * 10 + [0] * 10
    >>> [round(pass_hat_k(solved, 4, k).estimate, 3) for k in (1, 2, 4)]
    [0.7, 0.633, 0.6]
    """
    c, n = np.broadcast_arrays(np.asarray(successes, dtype=float), np.asarray(trials, dtype=float))
    if k < 1 or not (n >= k).all():
        raise ValueError(
            f"pass^{k} needs {k} trials of each item, 1 at least: run the others again"
        )
    if not ((c >= 0) & (c <= n)).all():
        raise ValueError("successes outside 0..trials: count them again")
    sums, items = cluster_sums(comb(c, k) / comb(n, k), cluster)
    share = float(sums.sum() / items.sum())
    influence = (sums[:, 0] - items * share) / items.sum()
    if np.allclose(influence, 0):  # all items alike: as many trials as clusters
        return wilson(share * len(items), len(items), level)
    error, degrees = error_of(influence)
    worth = share * (1 - share) / error**2
    wider = 2 * float(ndtr(stdtrit(degrees, (1 + level) / 2))) - 1
    return wilson(share * worth, worth, wider)


def krippendorff_alpha(
    ratings: npt.ArrayLike, scale: Literal["nominal", "interval"] = "nominal"
) -> float:
    """Agreement of raters, people or judges, beyond chance: 1 is full, 0 what chance gives.

    1 - D_o / D_e, the disagreement within items over that between any two ratings. Items with one
    rating are left out.

    ratings: (raters, items), missing ones NaN or None. scale: "nominal" for labels, "interval" for
    grades with steps of equal width, whose disagreement is the squared difference.
    Raises: ValueError where no item has two ratings, or all ratings are the same.
    Source: Krippendorff (2011), Computing Krippendorff's alpha-reliability, University of
    Pennsylvania.

    >>> krippendorff_alpha([[1, 0, 1, 1], [1, 0, 0, 1]]).__round__(3)
    0.533
    """
    table = np.asarray(ratings, dtype=object)
    flat, values = pd.factorize(table.ravel(), sort=True)
    codes = flat.reshape(table.shape)
    # (items, values): how many raters gave each value
    counts = np.stack([(codes == code).sum(axis=0) for code in range(len(values))], axis=1)
    counts = counts[counts.sum(axis=1) >= 2].astype(float)
    if not counts.size:
        raise ValueError("no item with two ratings: agreement needs some that two raters rated")
    if scale == "nominal":
        apart = 1 - np.eye(len(values))
    else:
        apart = np.subtract.outer(*2 * [values.astype(float)]) ** 2
    n, of_value = counts.sum(), counts.sum(axis=0)
    within = np.einsum("iv,vw,iw,i->", counts, apart, counts, 1 / (counts.sum(axis=1) - 1)) / n
    between = of_value @ apart @ of_value / (n * (n - 1))
    if between == 0:
        raise ValueError("all ratings are the same: agreement beyond chance is undefined")
    return float(1 - within / between)

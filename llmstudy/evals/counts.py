"""Which items does each route answer rightly? The four counts of a pair, from its scored items."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import norm, t

from llmstudy.figure import FloatArray
from llmstudy.measures.quality import PairedCounts


@dataclass(frozen=True)
class ItemCounts:
    """The counts of a pair, as many as its items are worth if they were independent.

    counts: of items by who answers them rightly; of `items` items in `clusters` clusters. Items of
    one cluster are alike, so they are worth fewer; an item that was answered several times may be
    worth more than one.
    """

    counts: PairedCounts
    items: int
    clusters: int

    @property
    def cells(self) -> tuple[int, int, int, int]:
        """Both right, the baseline alone, the candidate alone, neither."""
        counts = self.counts
        return counts.both, counts.only_a, counts.only_b, counts.neither

    def __str__(self) -> str:
        items = f"{self.items:,} items"
        if self.counts.n == self.items:
            return items
        where = f" in {self.clusters:,} clusters" if self.clusters < self.items else ""
        return f"{items}{where}, worth {self.counts.n:,} independent answers"


def item_counts(pairs: pd.DataFrame) -> ItemCounts:
    """The counts of the pairs, scaled to the number of independent items that they are worth.

    The scale is the variance of the difference if all answers were independent over the one that is
    robust to clusters, times (z / t)^2 for few clusters; it is 1 where each item is answered once
    and has no cluster. Tango's interval of such counts covers the true difference in 94.6 to 99 %
    of samples with 30 clusters and more (benchmarks/quality_coverage.py).

    pairs: as `table.pairs`. accepted_from: score from which a graded answer is accepted.
    Raises: ValueError for graded scores without accepted_from, and for a single cluster.
    Source: design effect, Kish (1965), Survey Sampling, section 8.2; Rao & Scott (1992), Biometrics
    48:577-585.

    >>> pairs = pd.DataFrame({"baseline": 1.0, "candidate": [1, 1, 1, 0] * 25, "answers": 1})
    >>> str(item_counts(pairs.assign(cluster=None)))
    '100 items'
    >>> alike = pairs.sort_values("candidate").assign(cluster=[i // 5 for i in range(100)])
    >>> str(item_counts(alike))
    '100 items in 20 clusters, worth 17 independent answers'
    """
    scores = pairs[["baseline", "candidate"]].to_numpy(dtype=float)
    a, b = scores.T
    shares = np.array([a * b, a * (1 - b), (1 - a) * b, (1 - a) * (1 - b)]).mean(axis=1)
    n = len(pairs)
    clusters = _clusters(pairs)
    if clusters is None and np.isin(scores, (0, 1)).all():
        cells = (shares * n).round().astype(int)
        return ItemCounts(PairedCounts(*cells.tolist()), n, n)
    groups = np.arange(n) if clusters is None else clusters
    worth = _independent(b - a, groups, shares[1] + shares[2])
    worth = min(worth, float(n if clusters is not None else pairs["answers"].sum()))
    both, only_a, only_b, neither = _whole(shares * worth)
    counts = PairedCounts(both, only_a, only_b, neither)
    return ItemCounts(counts, n, int(groups.max()) + 1)


def _clusters(pairs: pd.DataFrame) -> npt.NDArray[np.intp] | None:
    """The number of each item's cluster; an item without one is its own. None: no item has one."""
    named = pairs["cluster"]
    if named.isna().all():
        return None
    own = pd.Series([f"\0{i}" for i in range(len(pairs))], index=pairs.index)
    codes = pd.factorize(named.astype(object).where(named.notna(), own))[0]
    if codes.max() == 0:
        raise ValueError("all items are of one cluster: the spread between clusters needs several")
    return codes


def _independent(
    difference: FloatArray,
    groups: npt.NDArray[np.intp],
    discordance_share: float,
) -> float:
    """Independent answers that say as much of the mean difference as these clusters do."""
    n, mean, g = len(difference), difference.mean(), int(groups.max()) + 1
    sums = np.bincount(groups, difference - mean)
    variance = g / (g - 1) * (sums**2).sum() / n**2
    if variance <= 1e-15:
        return float(g)
    few = (norm.ppf(0.975) / t.ppf(0.975, g - 1)) ** 2
    return float((discordance_share - mean**2) / variance * few)


def _whole(cells: FloatArray) -> list[int]:
    """The cells as whole numbers of the same sum, the largest remainders rounded up."""
    cells = np.round(cells, 6)
    whole = np.floor(cells)
    rest = max(round(cells.sum()), 1) - int(whole.sum())
    whole[np.argsort(whole - cells, kind="stable")[:rest]] += 1
    return [int(cell) for cell in whole]

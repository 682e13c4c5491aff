"""Which items does each route answer rightly? The four counts of a pair, from its scored items."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import norm, t

from llmstudy.figure import FloatArray, Interval
from llmstudy.measures.quality import PairedCounts, judged_difference
from llmstudy.measures.quality.clusters import variance_of
from llmstudy.measures.quality.items import influence_of


@dataclass(frozen=True)
class ItemCounts:
    """The counts of a pair, as many as its items are worth if they were independent.

    counts: of items by who answers them rightly; of `items` items in `clusters` clusters, of which
    `judged` have a judge's score alone. Items of one cluster are alike, so they are worth fewer; an
    item that was answered several times may be worth more than one. judge_only: the difference that
    the judge alone would give.
    """

    counts: PairedCounts
    items: int
    clusters: int
    judged: int = 0
    judge_only: Interval | None = None

    @property
    def cells(self) -> tuple[int, int, int, int]:
        """Both right, the baseline alone, the candidate alone, neither."""
        counts = self.counts
        return counts.both, counts.only_a, counts.only_b, counts.neither

    def __str__(self) -> str:
        items = f"{self.items:,} items"
        if self.judged:
            items = f"{self.items - self.judged:,} labelled and {self.judged:,} judged items"
        if self.clusters < self.items:
            items += f" in {self.clusters:,} clusters"
        same = self.counts.n == self.items
        return items if same else f"{items}, worth {self.counts.n:,} independent answers"


def item_counts(pairs: pd.DataFrame) -> ItemCounts:
    """The counts of the pairs, scaled to the number of independent items that they are worth.

    The scale is the variance of the difference if all answers were independent over the one that is
    robust to clusters, times (z / t)^2 for few clusters; it is 1 where each item is answered once
    and has no cluster. How often Tango's interval of such counts covers the true difference is in
    docs/quality_coverage.md.

    pairs: as `table.pairs` of answers that are right or wrong (`table.accepted`).
    Raises: ValueError where all items are of one cluster.
    Source: design effect, Kish (1965), Survey Sampling, section 8.2; Rao & Scott (1992), Biometrics
    48:577-585.

    >>> pairs = pd.DataFrame({"baseline": 1.0, "candidate": [1, 1, 1, 0] * 25, "answers": 1})
    >>> str(item_counts(pairs.assign(cluster=None)))
    '100 items'
    >>> alike = pairs.sort_values("candidate").assign(cluster=[i // 5 for i in range(100)])
    >>> str(item_counts(alike))
    '100 items in 20 clusters, worth 17 independent answers'
    """
    a, b = pairs[["baseline", "candidate"]].to_numpy(dtype=float).T
    shares = _shares(a, b)
    n, clusters = len(pairs), clusters_of(pairs)
    if clusters is None and np.isin([a, b], (0, 1)).all():
        return ItemCounts(_counts(shares, n), n, n)
    influence = influence_of(b - a, clusters)[1]
    groups = len(influence)
    worth = _worth(shares, variance_of(influence), groups - 1, groups)
    worth = min(worth, float(n if clusters is not None else pairs["answers"].sum()))
    return ItemCounts(_counts(shares, worth), n, groups)


def judged_counts(labels: pd.DataFrame, judged: pd.DataFrame) -> ItemCounts:
    """The counts of few labelled and many judged pairs, without the judge's bias.

    The difference is that of PPI++ (`measures.quality.judged_difference`), with its error robust to
    clusters; the shares of the four cells are those of the labels, moved to that difference; and
    they are scaled so that the variance is that of PPI++.

    labels: pairs scored by hand. judged: pairs that the judge scored, the labelled ones among them.
    Raises: ValueError if the judge did not score the labelled items, or as `judged_difference`.
    """
    by_judge = judged.reindex(labels.index)
    if by_judge["baseline"].isna().any():
        raise ValueError(
            f"{int(by_judge['baseline'].isna().sum())} labelled items have no score of the judge "
            f"(first: {by_judge.index[by_judge['baseline'].isna()][0]}): judge them too"
        )
    rest = judged[~judged.index.isin(labels.index)]
    if rest.empty:
        return item_counts(labels)
    a, b = labels[["baseline", "candidate"]].to_numpy(dtype=float).T
    clusters = clusters_of(judged)
    names = None if clusters is None else (clusters[labels.index], clusters[rest.index])
    ppi = judged_difference(b - a, _difference(by_judge), _difference(rest), clusters=names)
    shares = _shares(a, b)
    change = ppi.difference.estimate - (shares[2] - shares[1])
    # the discordant cells share the correction; neither goes below nothing
    only_a, only_b = max(shares[1] - change / 2, 0.0), max(shares[2] + change / 2, 0.0)
    discordant = min(only_a + only_b, 1.0)
    concordant = shares[0] + shares[3]
    agree = (1 - discordant) * shares[[0, 3]] / (concordant if concordant else 1.0)
    moved = np.array([agree[0], only_a, only_b, agree[1]])
    half = ppi.difference.high - ppi.difference.estimate
    groups = len(labels) if names is None else names[0].nunique()
    worth = _worth(moved, (half / norm.ppf(0.975)) ** 2, groups - 1, groups)
    n = len(labels) + len(rest)
    counts = _counts(moved, min(worth, float(n)))
    parts = n if clusters is None else clusters.nunique()
    return ItemCounts(counts, n, parts, len(rest), ppi.judge_only)


def clusters_of(pairs: pd.DataFrame) -> "pd.Series[str] | None":
    """The cluster of each item, one without is its own; None where no item has one."""
    named = pairs["cluster"].astype(object)
    if named.isna().all():
        return None
    own = pd.Series([f"\0{i}" for i in range(len(pairs))], index=pairs.index)
    clusters: pd.Series[str] = named.where(named.notna(), own)
    if (clusters == clusters.iloc[0]).all():
        raise ValueError("all items are of one cluster: the spread between clusters needs several")
    return clusters


def _difference(pairs: pd.DataFrame) -> FloatArray:
    return (pairs["candidate"] - pairs["baseline"]).to_numpy(dtype=float)


def _shares(a: FloatArray, b: FloatArray) -> FloatArray:
    """The four cells; the answers of two routes to an item are independent of each other."""
    cells = np.array([a * b, a * (1 - b), (1 - a) * b, (1 - a) * (1 - b)])
    return np.asarray(cells.mean(axis=1))


def _worth(shares: FloatArray, variance: float, degrees: int, least: int) -> float:
    """Independent answers whose difference has this variance; `least` where nothing varies."""
    if variance <= 1e-15:
        return float(least)
    independent = shares[1] + shares[2] - (shares[2] - shares[1]) ** 2
    return float(independent / variance * (norm.ppf(0.975) / t.ppf(0.975, degrees)) ** 2)


def _counts(shares: FloatArray, n: float) -> PairedCounts:
    """The shares as whole items, n of them, the largest remainders rounded up."""
    cells = np.round(shares * n, 6)
    whole = np.floor(cells)
    rest = max(round(n), 1) - int(whole.sum())
    whole[np.argsort(whole - cells, kind="stable")[:rest]] += 1
    both, only_a, only_b, neither = whole.astype(int).tolist()
    return PairedCounts(both, only_a, only_b, neither)

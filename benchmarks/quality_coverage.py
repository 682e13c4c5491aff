"""How often do the intervals and tests of `llmstudy.measures.quality` hold what they promise?

    python benchmarks/quality_coverage.py > docs/quality_coverage.md

Simulates evaluations whose truth is set, over numbers of items, discordance and clusters, and
counts how often the interval of 95 % covers it, or the test at 5 % does not reject what is true.
"""

import argparse
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple, dataclass
from functools import cache, lru_cache

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # a process a core; before numpy is imported

import numpy as np
import pandas as pd

from llmstudy.evals.counts import item_counts
from llmstudy.figure import Interval
from llmstudy.measures.quality import (
    PairedCounts,
    anytime_non_inferiority,
    anytime_superiority,
    clustered_difference,
    clusters,
    judged_difference,
    mcnemar_exact,
    non_inferiority_p,
    paired_difference,
    pass_hat_k,
    signed_rank_p,
    wilson,
    zero_failures_bound,
)
from llmstudy.measures.quality.bootstrap import (
    Statistic,
    interval_of_draws,
    left_out_influence,
    resample_weights,
)
from llmstudy.measures.quality.clusters import cluster_sums

SEED = 7
ITEMS = (50, 100, 300, 1_000)
DISCORDANCE = (0.05, 0.15, 0.30)
CLUSTERS = ((50, 30), (100, 30), (300, 60), (1_000, 30), (1_000, 200))
FEW_CLUSTERS = ((100, 20), (1_000, 20), (1_000, 15), (300, 8))
ALIKE_SHARE = 0.2
"""Correlation of the items of a cluster."""
BOTH_SHARE = 0.8
"""Of the items on which the models agree, those that both answer correctly."""
MARGIN = 0.05
BATCH = 250
"""Evaluations that share one set of resamples: their sums are multiplied at once."""


@dataclass(frozen=True)
class Cell:
    """A truth to simulate: items, clusters of them (as many: they do not depend), discordance.

    The true difference, b minus a, is a loss of half the discordance: a wins three of four items on
    which the models differ, which is harder on intervals than no difference.
    """

    n: int
    n_clusters: int
    discordance: float

    @property
    def difference(self) -> float:
        """The true one, a share."""
        return -self.discordance / 2

    @property
    def clustered(self) -> bool:
        """Whether items depend on each other."""
        return self.n_clusters < self.n

    @property
    def shares(self) -> np.ndarray:
        """Of items that both, only a, only b and neither answer correctly. (4,)"""
        same = 1 - self.discordance
        only_a, only_b = ((self.discordance + s * self.difference) / 2 for s in (-1, 1))
        return np.array([BOTH_SHARE * same, only_a, only_b, (1 - BOTH_SHARE) * same])

    @property
    def cluster(self) -> np.ndarray | None:
        """The cluster of each item, of unlike sizes, one at least. (n,)"""
        if not self.clustered:
            return None
        rng = np.random.default_rng(SEED)
        weights = rng.dirichlet(np.full(self.n_clusters, 2.0))
        more = rng.multinomial(self.n - self.n_clusters, weights)
        return np.repeat(np.arange(self.n_clusters), 1 + more)


@dataclass(frozen=True)
class Coverage:
    """share: of the answers that hold; given: share of the evaluations that got an answer."""

    share: float
    given: float


def right(cell: Cell, runs: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Whether a, and whether b, answers each item correctly. (runs, n) each."""
    shares = cell.shares
    if cell.cluster is not None:
        spread = (1 - ALIKE_SHARE) / ALIKE_SHARE
        of_cluster = rng.dirichlet(shares * spread, size=(runs, cell.n_clusters))
        shares = of_cluster[:, cell.cluster]
    edges = np.cumsum(shares, axis=-1)
    u = rng.random((runs, cell.n))
    both, a, b = (u < edges[..., k] for k in range(3))
    return a, both | (b & ~a)


def differences(cell: Cell, runs: int, rng: np.random.Generator) -> np.ndarray:
    """b minus a of each item, (runs, n)."""
    a, b = right(cell, runs, rng)
    return b.astype(float) - a


def covers(interval: Interval, truth: float) -> bool:
    """Whether it does; an end that is the truth but for rounding counts."""
    return interval.low - 1e-9 <= truth <= interval.high + 1e-9


def counted(
    truth: float, draws: np.ndarray, interval_of: Callable[[np.ndarray], Interval]
) -> Coverage:
    """How often the interval of one evaluation covers the truth, where there is one."""
    hits = []
    for one in draws:
        try:
            interval = interval_of(one)
        except ValueError:
            continue
        hits.append(covers(interval, truth))
    return Coverage(float(np.mean(hits)) if hits else float("nan"), len(hits) / len(draws))


# ---- intervals ----------------------------------------------------------------------------------


def wilsons(cell: Cell, runs: int, rng: np.random.Generator) -> Coverage:
    """Wilson's interval of a share of 1 - discordance."""
    successes = rng.binomial(cell.n, 1 - cell.discordance, size=runs)
    return counted(1 - cell.discordance, successes, lru_cache(lambda k: wilson(k, cell.n)))


@cache
def _tango(n: int, only_a: int, only_b: int) -> Interval:
    return paired_difference(PairedCounts(n - only_a - only_b, only_a, only_b, 0))


def tango(cell: Cell, runs: int, rng: np.random.Generator) -> Coverage:
    """Tango's interval."""
    cells = rng.multinomial(cell.n, cell.shares, size=runs)
    return counted(cell.difference, cells, lambda x: _tango(cell.n, int(x[1]), int(x[2])))


def by_item(cell: Cell, runs: int, rng: np.random.Generator) -> Coverage:
    """Student's interval of differences of -1, 0 and 1."""
    d = differences(cell, runs, rng)
    return counted(cell.difference, d, lambda x: clustered_difference(x, cell.cluster))


def by_counts(cell: Cell, runs: int, rng: np.random.Generator) -> Coverage:
    """`evals.counts.item_counts`: Tango's interval of as many items as the clusters are worth."""
    a, b = right(cell, runs, rng)
    clusters = cell.cluster.astype(str)
    pairs = pd.DataFrame({"baseline": 0.0, "candidate": 0.0, "cluster": clusters, "answers": 1})
    hits = []
    for left, other in zip(a, b, strict=True):
        pairs["baseline"], pairs["candidate"] = left.astype(float), other.astype(float)
        counts = item_counts(pairs).counts
        interval = _tango(counts.n, counts.only_a, counts.only_b)
        hits.append(covers(interval, cell.difference))
    return Coverage(float(np.mean(hits)), 1.0)


def by_grade(cell: Cell, runs: int, rng: np.random.Generator) -> Coverage:
    """The same of differences in quarters."""
    d = differences(cell, runs, rng)
    d *= rng.choice([0.25, 0.5, 0.75, 1.0], size=d.shape)
    return counted(0.625 * cell.difference, d, lambda x: clustered_difference(x, cell.cluster))


def cost_per_correct(mean: np.ndarray) -> np.ndarray:
    """b minus a, from means of right_a, right_b, usd_a, usd_b."""
    return np.asarray(mean[..., 3] / mean[..., 1] - mean[..., 2] / mean[..., 0])


def bootstrap(cell: Cell, runs: int, rng: np.random.Generator) -> Coverage:
    """The bootstrap's interval of the difference in cost per correct answer."""
    log_usd = np.log([0.01, 0.003])
    usd = np.exp(log_usd + (0.5**2 + 0.7**2) / 2)  # means of the lognormals below
    accuracy = cell.shares[0] + cell.shares[[1, 2]]
    truth = float(usd[1] / accuracy[1] - usd[0] / accuracy[0])

    def rows(count: int) -> np.ndarray:
        scored = np.stack(right(cell, count, rng), axis=-1)
        shared = rng.normal(0, 0.5, (count, cell.n_clusters, 1))
        if cell.cluster is not None:
            shared = shared[:, cell.cluster]
        cost = np.exp(log_usd + shared + rng.normal(0, 0.7, (count, cell.n, 2)))
        return np.concatenate([scored, cost], axis=-1)

    return resampled(cell, truth, rows, cost_per_correct, runs, rng)


def bootstrap_mean(cell: Cell, runs: int, rng: np.random.Generator) -> Coverage:
    """The bootstrap's interval of the mean difference."""

    def rows(count: int) -> np.ndarray:
        return differences(cell, count, rng)[..., np.newaxis]

    return resampled(cell, cell.difference, rows, lambda mean: mean[..., 0], runs, rng)


def resampled(
    cell: Cell,
    truth: float,
    rows: Callable[[int], np.ndarray],
    statistic: Statistic,
    runs: int,
    rng: np.random.Generator,
) -> Coverage:
    """`bootstrap_interval` of many evaluations, `BATCH` at a time with the same resamples.

    rows: draws so many evaluations, (count, n, k).
    """
    hits: list[bool] = []
    for start in range(0, runs, BATCH):
        batch = rows(min(BATCH, runs - start))
        sums = np.stack([cluster_sums(x, cell.cluster)[0] for x in batch], axis=1)
        items = cluster_sums(batch[0], cell.cluster)[1]
        weights = resample_weights(len(items), rng)
        means = (weights @ sums.reshape(len(items), -1)).reshape(len(weights), *sums.shape[1:])
        draws = statistic(means / (weights @ items)[:, np.newaxis, np.newaxis]).T.copy()
        estimates = statistic(sums.sum(axis=0) / items.sum())
        for run, estimate in enumerate(estimates.tolist()):
            influence = left_out_influence(statistic, sums[:, run], items)
            try:
                interval = interval_of_draws(draws[run], estimate, influence)
            except ValueError:
                continue
            hits.append(covers(interval, truth))
    return Coverage(float(np.mean(hits)) if hits else float("nan"), len(hits) / runs)


def judged(cell: Cell, runs: int, rng: np.random.Generator) -> Coverage:
    """PPI++ with twice as many items judged only, by a judge that favours b.

    In clusters, those that are labelled are labelled as a whole.
    """
    every = Cell(3 * cell.n, 3 * cell.n_clusters, cell.discordance)
    if every.cluster is None:
        return judged_where(every, np.arange(every.n) < cell.n, runs, rng)
    return judged_where(every, every.cluster < cell.n_clusters, runs, rng)


def judged_in_part(cell: Cell, runs: int, rng: np.random.Generator) -> Coverage:
    """The same, where a third of the items of each cluster is labelled."""
    every = Cell(3 * cell.n, cell.n_clusters, cell.discordance)
    place = pd.Series(every.cluster).groupby(every.cluster).cumcount().to_numpy()
    return judged_where(every, place % 3 == 0, runs, rng)


def judged_where(cell: Cell, labelled: np.ndarray, runs: int, rng: np.random.Generator) -> Coverage:
    """PPI++ where these items are labelled. labelled: (n,)"""
    answers = np.stack(right(cell, runs, rng))
    sensitivity, false_share = 0.92, np.array([0.2, 0.35])[:, np.newaxis, np.newaxis]
    passes = rng.random(answers.shape) < np.where(answers, sensitivity, false_share)
    truth, judge = (x[1].astype(float) - x[0] for x in (answers, passes))
    names = cell.cluster
    clusters = None if names is None else (names[labelled], names[~labelled])
    return counted(
        cell.difference,
        np.stack([truth, judge], axis=1),
        lambda x: (
            judged_difference(
                x[0, labelled], x[1, labelled], x[1, ~labelled], clusters=clusters
            ).difference
        ),
    )


def repeats(cell: Cell, runs: int, rng: np.random.Generator) -> Coverage:
    """pass^2 from four trials of each item; an item's chance is Beta with mean 1 - discordance."""
    strength = 2.0
    a, b = strength * (1 - cell.discordance), strength * cell.discordance
    chance = rng.beta(a, b, size=(runs, cell.n_clusters))
    if cell.cluster is not None:
        chance = chance[:, cell.cluster]
    truth = a * (a + 1) / (strength * (strength + 1))
    solved = rng.binomial(4, chance, size=(runs, cell.n))
    return counted(truth, solved, lambda x: pass_hat_k(x, 4, 2, cell.cluster))


# ---- tests: how often what is true is not rejected ----------------------------------------------


def not_rejected(p: np.ndarray) -> Coverage:
    """Of p-values of true hypotheses, those above 5 %."""
    return Coverage(float((p > 0.05).mean()), 1.0)


def mcnemar(cell: Cell, runs: int, rng: np.random.Generator) -> Coverage:
    """Exact McNemar test of equal models."""
    p = lru_cache(lambda a, b: mcnemar_exact(PairedCounts(cell.n - a - b, a, b, 0)))
    half = cell.discordance / 2
    cells = rng.multinomial(cell.n, [half, half, 1 - cell.discordance], size=runs)
    return not_rejected(np.array([p(int(a), int(b)) for a, b, _ in cells]))


def on_margin(cell: Cell) -> list[float]:
    """Shares of only a, only b and the rest for a loss of the margin, 5 points."""
    only_a = (cell.discordance + MARGIN) / 2
    return [only_a, cell.discordance - only_a, 1 - cell.discordance]


def margin_test(cell: Cell, runs: int, rng: np.random.Generator) -> Coverage:
    """One-sided test of non-inferiority of a model on the margin."""
    p = lru_cache(lambda a, b: non_inferiority_p(PairedCounts(cell.n - a - b, a, b, 0), MARGIN))
    cells = rng.multinomial(cell.n, on_margin(cell), size=runs)
    return not_rejected(np.array([p(int(a), int(b)) for a, b, _ in cells]))


def signed_rank(cell: Cell, runs: int, rng: np.random.Generator) -> Coverage:
    """Wilcoxon's test of graded scores on the margin, of which a share of discordance differs."""
    off = rng.random((runs, cell.n)) < cell.discordance
    d = off * rng.uniform(-1, 1, size=off.shape) - MARGIN
    some = off.any(axis=1)
    tests = not_rejected(np.array([signed_rank_p(x, MARGIN) for x in d[some]]))
    return Coverage(tests.share, float(some.mean()))


def no_failures(cell: Cell, runs: int, rng: np.random.Generator) -> Coverage:
    """The bound after no failures, where the true share is the least that it must cover."""
    bound = zero_failures_bound(cell.n)
    none = rng.binomial(cell.n, bound * (1 + 1e-9), size=runs) == 0
    return Coverage(float(1 - none.mean()), 1.0)


def ever(test: Callable[[np.ndarray], int | None], sequences: np.ndarray) -> Coverage:
    """Of evaluations looked at after every item, those in which the test never passes."""
    return Coverage(float(np.mean([test(d) is None for d in sequences])), 1.0)


def superior_ever(cell: Cell, runs: int, rng: np.random.Generator) -> Coverage:
    """Anytime test of superiority of an equal model."""
    half = cell.discordance / 2
    d = rng.choice([-1.0, 1.0, 0.0], p=[half, half, 1 - cell.discordance], size=(runs, cell.n))
    return ever(lambda d: anytime_superiority(d).passed_at, d)


def within_ever(cell: Cell, runs: int, rng: np.random.Generator) -> Coverage:
    """Anytime test of non-inferiority of a model on the margin."""
    d = rng.choice([-1.0, 1.0, 0.0], p=on_margin(cell), size=(runs, cell.n))
    return ever(lambda d: anytime_non_inferiority(d, MARGIN).passed_at, d)


def graded_ever(cell: Cell, runs: int, rng: np.random.Generator) -> Coverage:
    """The same of graded scores, half of a difference of -1, 0 and 1 with twice the loss."""
    d = rng.choice([-1.0, 1.0, 0.0], p=on_margin(cell), size=(runs, cell.n)) / 2
    return ever(lambda d: anytime_non_inferiority(d, MARGIN / 2).passed_at, d)


# ---- tables -------------------------------------------------------------------------------------

Method = Callable[[Cell, int, np.random.Generator], Coverage]

APPROXIMATE: dict[str, Method] = {
    "`wilson`": wilsons,
    "`paired_difference`": tango,
    "`clustered_difference`": by_item,
    "the same, graded": by_grade,
    "`bootstrap_interval`, mean": bootstrap_mean,
    "cost per correct answer": bootstrap,
    "`judged_difference`": judged,
    "`pass_hat_k`": repeats,
}
IN_CLUSTERS = {
    name: method
    for name, method in APPROXIMATE.items()
    if method in (by_item, by_grade, bootstrap_mean, bootstrap, repeats)
} | {
    "`item_counts`": by_counts,
    "`judged_difference`": judged,
    "labels in every cluster": judged_in_part,
}
TESTS: dict[str, Method] = {
    "`non_inferiority_p`": margin_test,
    "`signed_rank_p`": signed_rank,
    "`mcnemar_exact`": mcnemar,
    "`zero_failures_bound`": no_failures,
    "`anytime_superiority`": superior_ever,
    "`anytime_non_inferiority`": within_ever,
    "the same, graded": graded_ever,
}


def cells(sizes: Sequence[tuple[int, int]]) -> list[Cell]:
    """Every number of items and clusters with every discordance."""
    return [Cell(*size, discordance) for size in sizes for discordance in DISCORDANCE]


def simulated(method: Method, cell: Cell, runs: int) -> Coverage:
    """One figure of a table; its draws depend on the cell and the method alone."""
    # shows why fewer clusters are refused
    clusters.LEAST_CLUSTERS = min(clusters.LEAST_CLUSTERS, cell.n_clusters)
    seed = [SEED, *method.__name__.encode(), *(int(1e6 * x) % 2**32 for x in astuple(cell))]
    parts = [min(2_000, runs - start) for start in range(0, runs, 2_000)]  # memory
    rng = np.random.default_rng(seed)
    coverages = [method(cell, part, rng) for part in parts]
    answers = np.array([part * each.given for part, each in zip(parts, coverages, strict=True)])
    shares = np.nan_to_num([each.share for each in coverages])
    share = float(shares @ answers / answers.sum()) if answers.sum() else float("nan")
    return Coverage(share, float(answers.sum() / runs))


def table(
    methods: dict[str, Method], rows: list[Cell], runs: int, pool: ProcessPoolExecutor
) -> str:
    """Coverage in percent, one row a cell and one column a method, least and mean last."""
    jobs = [[pool.submit(simulated, m, cell, runs) for m in methods.values()] for cell in rows]
    coverages = [[job.result() for job in row] for row in jobs]
    heads = ["items", "clusters", "discordance", *methods]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for cell, row in zip(rows, coverages, strict=True):
        about = [str(cell.n), str(cell.n_clusters) if cell.clustered else "–"]
        lines.append(
            "| " + " | ".join([*about, f"{cell.discordance:.0%}", *map(shown, row)]) + " |"
        )
    shares = np.array([[x.share if x.given >= 0.05 else np.nan for x in row] for row in coverages])
    for name, of in (("mean", np.nanmean), ("least", np.nanmin)):
        figures = [f"**{100 * x:.1f}**" for x in of(shares, axis=0)]
        lines.append("| " + " | ".join([f"**{name}**", "", "", *figures]) + " |")
    return "\n".join(lines)


def shown(coverage: Coverage) -> str:
    """In percent, with the share of evaluations that got an answer where some did not."""
    if coverage.given < 0.05:
        return f"refused ({1 - coverage.given:.0%})"
    refused = f" ({1 - coverage.given:.0%} refused)" if coverage.given < 0.9995 else ""
    return f"{100 * coverage.share:.1f}{refused}"


PAGE = """# How often the intervals and tests of `llmstudy.measures.quality` hold

Made by `python benchmarks/quality_coverage.py > docs/quality_coverage.md`, in some twenty minutes \
on two cores: {runs:,} simulated evaluations a figure, seed {seed}. A figure is the share, in \
percent, of the 95 % intervals that cover the truth, or of the tests at 5 % that do not reject \
what is true. Its standard error is {error:.2f} points at most. "Refused" is the share of the \
evaluations that get no interval but an error that says why: nothing differed, so that nothing \
says how far it might. Where 95 in 100 are, the row is left out of mean and least.

The goal: exact tests and those that may be looked at any time at least 95, approximate \
intervals 93.5 to 96.5 on average and 92 at least.

## Items that do not depend on each other
The candidate loses half the discordance, so that the model in use wins three of four items on \
which they differ. `wilson`: a share of one less the discordance. Graded: differences in \
quarters. Cost per correct answer: `bootstrap_interval` of its difference, costs lognormal and \
alike within an item. `judged_difference`: the items labelled, twice as many judged only, by a \
judge that favours the candidate. `pass_hat_k`: pass^2 of four trials, chances of items spread \
from hopeless to sure.

{alone}

## Items in clusters
Correlated by {alike} within a cluster, clusters of unlike sizes; for `pass_hat_k` the items of \
a cluster have one chance. `item_counts`: `paired_difference` of the counts that \
`evals.counts.item_counts` scales to what the clusters are worth, which verdicts rest on. \
`judged_difference`: whole clusters are labelled, or, in the last column, a third of the items of \
every cluster.

{clustered}

Fewer than {least} clusters are refused, but by `item_counts`. What the intervals would be:

{few}

## Tests
Of what is true, tested at 5 %: models that are equal (`mcnemar_exact`, `anytime_superiority`), \
a candidate on the margin of {margin:.0%} (the others), the least share of failures that the \
bound must cover. The `anytime` tests are looked at after every item. `signed_rank_p` is exact \
up to 13 items off the margin, or 50 without ties; `non_inferiority_p` is approximate.

{tests}
"""


def main() -> None:
    """Prints the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=20_000)
    runs = parser.parse_args().runs
    alone = cells([(n, n) for n in ITEMS])
    with ProcessPoolExecutor() as pool:
        page = PAGE.format(
            runs=runs,
            seed=SEED,
            error=100 * (0.05 * 0.95 / runs) ** 0.5,
            alike=ALIKE_SHARE,
            least=clusters.LEAST_CLUSTERS,
            margin=MARGIN,
            alone=table(APPROXIMATE, alone, runs, pool),
            clustered=table(IN_CLUSTERS, cells(CLUSTERS), runs, pool),
            few=table(IN_CLUSTERS, cells(FEW_CLUSTERS), runs, pool),
            tests=table(TESTS, alone, runs, pool),
        )
    print(page, end="")


if __name__ == "__main__":
    main()

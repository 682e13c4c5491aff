"""Whether a candidate is good enough: paired comparisons of two models on the same items.

A difference is always b minus a: a is the model in use (proprietary), b the candidate (open).
Counts go in, numbers come out; only `paired_table`, `same_weights_hosts`, `paired_counts`,
`benchmark` and `audit` read files, which are bundled tables.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from math import sqrt
from numbers import Real
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import brentq
from scipy.stats import binomtest, norm, t

from llmstudy import paths
from llmstudy.figure import FloatArray, Interval

ALPHA = 0.05
"""Highest chance that a memo wrongly calls any candidate non-inferior, over all its comparisons
(`holm_levels`) and however often each is judged (`look_share`)."""

IMPLAUSIBLE = 0.001
"""p-value below which a score under chance is blamed on the scorer, not the model."""


@dataclass(frozen=True)
class PairedCounts:
    """Items by who answered them correctly, and where the counts come from. Unit: items.

    Raises: ValueError for a negative count or no items.

    >>> gsm8k = PairedCounts(both=747, only_a=383, only_b=95, neither=94)
    >>> gsm8k.n, round(gsm8k.discordance_share, 3)
    (1319, 0.362)
    """

    both: int
    only_a: int
    only_b: int
    neither: int
    model_a: str = "proprietary"
    model_b: str = "open"
    benchmark: str = ""
    subject: str = ""
    scorer: str = ""
    source: str = ""
    flag: str = ""

    def __post_init__(self) -> None:
        """Checks for negative counts and for no items."""
        cells = (self.both, self.only_a, self.only_b, self.neither)
        if min(cells) < 0:
            raise ValueError(f"paired counts {cells} have a negative number: count the items again")
        if sum(cells) == 0:
            raise ValueError("no items: a paired comparison needs at least one scored by both")

    @property
    def n(self) -> int:
        """Items scored for both models."""
        return self.both + self.only_a + self.only_b + self.neither

    @property
    def difference(self) -> float:
        """Accuracy of b minus accuracy of a, a share in [-1, 1]."""
        return (self.only_b - self.only_a) / self.n

    @property
    def discordance_share(self) -> float:
        """Share of the items that exactly one of the two models answers correctly."""
        return (self.only_a + self.only_b) / self.n


@dataclass(frozen=True)
class NonInferiority:
    """Whether b stays within the margin of a, with the evidence for it.

    `difference` is the interval of level 1 - 2 alpha. `n_needed` is the total number of items that
    would settle an undecided comparison at its next test; None when it is settled, or when the
    observed difference lies on the margin itself, where no number of items would help.
    """

    verdict: Literal["non-inferior", "inferior", "undecided"]
    difference: Interval
    margin_share: float
    alpha: float
    n: int
    n_needed: int | None


# ---- one model ----------------------------------------------------------------------------------


def wilson(successes: float, n: float, level: float = 0.95) -> Interval:
    """Share of successes with Wilson's score interval, which stays within [0, 1].

    Fractional numbers are allowed: effective numbers of dependent trials.
    Raises: ValueError if there are no trials, or not 0 <= successes <= n.
    Source: Wilson (1927), JASA 22:209-212.

    >>> round(wilson(0, 100).high, 4)
    0.037
    """
    if not 0 <= successes <= n or n == 0:
        raise ValueError(f"{successes:g} successes of {n:g}: give 0 <= successes <= n and n > 0")
    p, zz = successes / n, norm.ppf((1 + level) / 2) ** 2
    centre = (p + zz / (2 * n)) / (1 + zz / n)
    half = sqrt(zz * (p * (1 - p) / n + zz / (4 * n**2))) / (1 + zz / n)
    # at the ends of the range rounding may step just outside it
    return Interval(p, max(float(centre - half), 0.0), min(float(centre + half), 1.0))


def acceptance(counts: PairedCounts, level: float = 0.95) -> tuple[Interval, Interval]:
    """Share of items that a, and that b, answers correctly, each with its Wilson interval.

    >>> a, b = acceptance(PairedCounts(both=747, only_a=383, only_b=95, neither=94))
    >>> f"{a.estimate:.4f} {b.estimate:.4f}"
    '0.8567 0.6384'
    """
    return (
        wilson(counts.both + counts.only_a, counts.n, level),
        wilson(counts.both + counts.only_b, counts.n, level),
    )


def draw_acceptance(counts: PairedCounts, n_draws: int, rng: np.random.Generator) -> FloatArray:
    """Joint draws of the two acceptance shares for Monte Carlo.

    Returns: (n_draws, 2), columns a and b. They move together, as they do on the same items, from
    the Dirichlet posterior of the four cells under Jeffreys' prior (1/2 each).

    >>> draws = draw_acceptance(PairedCounts(90, 5, 3, 2), 1000, np.random.default_rng(7))
    >>> draws.shape, draws.mean(axis=0).round(2).tolist()
    ((1000, 2), [0.94, 0.92])
    """
    cells = np.array([counts.both, counts.only_a, counts.only_b, counts.neither])
    shares = rng.dirichlet(cells + 0.5, n_draws)
    return shares[:, [0]] + shares[:, 1:3]


# ---- two models ---------------------------------------------------------------------------------


def _score_variance(b: float, c: float, n: float, delta: float) -> float:
    """Variance of c - b when the true difference is delta, its nuisance share fitted by ML."""
    half = -b - c + (2 * n - c + b) * delta
    # the fitted share of only_a; max: rounding can take an exact zero below zero
    q = (sqrt(max(half**2 + 8 * n * b * delta * (1 - delta), 0.0)) - half) / (4 * n)
    return n * (2 * q + delta * (1 - delta))


def _score(b: float, c: float, n: float, delta: float) -> float:
    """Tango's statistic of a true difference delta, in standard errors."""
    gap = c - b - n * delta
    # at the estimate the variance may be 0 too
    return gap / sqrt(_score_variance(b, c, n, delta)) if gap else 0.0


def paired_difference(counts: PairedCounts, level: float = 0.95) -> Interval:
    """Accuracy of b minus accuracy of a, with Tango's score interval.

    Keeps its coverage where the usual Wald interval does not: few items, or a difference near the
    end of its range.

    Returns: shares in [-1, 1].
    Source: Tango (1998), Statistics in Medicine 17:891-908.

    >>> gsm8k = PairedCounts(both=747, only_a=383, only_b=95, neither=94)
    >>> d = paired_difference(gsm8k)
    >>> f"{d.estimate:+.3f} [{d.low:+.3f}, {d.high:+.3f}]"
    '-0.218 [-0.249, -0.188]'
    """
    n, b, c = counts.n, counts.only_a, counts.only_b
    z = norm.ppf((1 + level) / 2)

    estimate, edge = counts.difference, 1 - 1e-9
    low = brentq(lambda d: _score(b, c, n, d) - z, -edge, estimate) if c - b > -n else -1.0
    high = brentq(lambda d: _score(b, c, n, d) + z, estimate, edge) if c - b < n else 1.0
    return Interval(estimate, low, high)


def mcnemar_exact(counts: PairedCounts) -> float:
    """Two-sided p-value of the hypothesis that both models are equally accurate.

    Source: McNemar (1947), Psychometrika 12:153-157; exact binomial form.

    >>> round(mcnemar_exact(PairedCounts(both=1243, only_a=26, only_b=22, neither=28)), 2)
    0.67
    """
    discordant = counts.only_a + counts.only_b
    return float(binomtest(counts.only_a, discordant).pvalue) if discordant else 1.0


def holm(p: Sequence[float] | FloatArray) -> FloatArray:
    """P-values adjusted for the number of claims made together, in the order given. Shape: (k,).

    Source: Holm (1979), Scandinavian Journal of Statistics 6:65-70.

    >>> holm([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p, dtype=float)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)).clip(max=1)
    return adjusted


def holm_levels(p: Sequence[float] | FloatArray, alpha: float = ALPHA) -> FloatArray:
    """Level at which Holm's procedure tests each claim, in the order given. Shape: (k,).

    A claim passes where its p-value is at most its level, which is where `holm` is at most alpha.
    One that does not is tested at alpha over the number of claims that have not passed.

    >>> holm_levels([0.01, 0.04, 0.03]).round(4).tolist()
    [0.0167, 0.025, 0.025]
    """
    p = np.asarray(p, dtype=float)
    rank = np.argsort(np.argsort(p, kind="stable"), kind="stable")
    passed = int((holm(p) <= alpha).sum())
    return np.asarray(alpha / (len(p) - np.minimum(rank, passed)))


# ---- non-inferiority ----------------------------------------------------------------------------


def look_share(looks: int) -> float:
    """Share of alpha that a comparison may spend on its next test, after `looks` earlier ones.

    1/2, 1/6, 1/12, 1/20, ...: they sum to 1, so that a comparison may be judged, extended by new
    items and judged again any number of times, and still passes falsely with alpha at most
    (Bonferroni over the looks). The first look has the largest share, since most are settled there.

    Raises: ValueError for a negative number of looks.
    Source: alpha spending, Lan & DeMets (1983), Biometrika 70:659-663.

    >>> [round(0.05 * look_share(looks), 4) for looks in range(3)]
    [0.025, 0.0083, 0.0042]
    """
    if looks < 0:
        raise ValueError(f"looks {looks}: give how many times the items were judged already")
    return 1 / ((looks + 1) * (looks + 2))


def non_inferiority_p(counts: PairedCounts, margin_share: float) -> float:
    """One-sided p-value of the hypothesis that b is worse than a by the margin or more.

    Raises: ValueError if not 0 < margin < 1.

    >>> round(non_inferiority_p(PairedCounts(both=1200, only_a=43, only_b=42, neither=34), 0.02), 4)
    0.004
    """
    _check_margin(margin_share, ALPHA)
    return float(norm.sf(_score(counts.only_a, counts.only_b, counts.n, -margin_share)))


def non_inferiority(
    counts: PairedCounts,
    margin_share: float,
    alpha: float = ALPHA,
    next_alpha: float | None = None,
) -> NonInferiority:
    """Whether b is less than the margin worse than a, at one-sided level alpha.

    Non-inferior when the whole (1 - 2 alpha) Tango interval lies above -margin, inferior when it
    lies below, undecided otherwise; then with the items that would settle it at 80 % power if the
    observed shares are the true ones. next_alpha: level of the test of those items (None: alpha,
    which holds for a comparison that is judged once).

    Raises: ValueError if not 0 < margin < 1 or not 0 < alpha < 0.5.

    >>> gsm8k = PairedCounts(both=1200, only_a=43, only_b=42, neither=34)
    >>> non_inferiority(gsm8k, margin_share=0.02).verdict
    'non-inferior'
    >>> few = non_inferiority(PairedCounts(91, 3, 3, 3), margin_share=0.02)
    >>> few.verdict, few.n_needed
    ('undecided', 982)
    """
    _check_margin(margin_share, alpha)
    difference = paired_difference(counts, 1 - 2 * alpha)
    verdict: Literal["non-inferior", "inferior", "undecided"] = "undecided"
    if difference.low > -margin_share:
        verdict = "non-inferior"
    elif difference.high < -margin_share:
        verdict = "inferior"
    n_needed = None
    on_the_margin = abs(difference.estimate + margin_share) < 1e-9
    if verdict == "undecided" and not on_the_margin:
        n_needed = score_test_size(
            counts.discordance_share,
            margin_share,
            next_alpha or alpha,
            true_difference=difference.estimate,
        )
    return NonInferiority(verdict, difference, margin_share, alpha, counts.n, n_needed)


def golden_set_size(
    discordance_share: float,
    margin_share: float,
    alpha: float = ALPHA,
    power: float = 0.8,
    true_difference: float = 0.0,
) -> int:
    """Items that show non-inferiority with the given power: the textbook approximation.

    n = (z_alpha + z_power)^2 (psi - d^2) / (margin + d)^2 for discordance psi and true difference
    d > -margin. Too few when n psi is under about 20 (at psi 5 %, margin 10 points, it gives 31
    items, and power 52 % instead of 80 %): plan with `score_test_size`, which does not have that
    fault.

    Raises: ValueError if no number of items would do, or a share is out of range.
    Source: normal approximation to the paired difference, e.g. Miller (2024), arXiv 2411.00640.

    >>> golden_set_size(0.10, 0.03)
    687
    """
    _check_margin(margin_share, alpha)
    _check_plan(discordance_share, power, true_difference)
    if discordance_share == 0:
        raise ValueError("no discordance: the approximation gives 0 items; use score_test_size")
    if true_difference <= -margin_share:
        raise ValueError(
            f"a true difference of {true_difference:g} is not above the margin "
            f"-{margin_share:g}: no number of items shows non-inferiority"
        )
    z = norm.ppf(1 - alpha) + norm.ppf(power)
    variance = discordance_share - true_difference**2
    return int(np.ceil(z**2 * variance / (margin_share + true_difference) ** 2))


def score_test_size(
    discordance_share: float,
    margin_share: float,
    alpha: float = ALPHA,
    power: float = 0.8,
    true_difference: float = 0.0,
) -> int:
    """Items with which Tango's interval decides with the given power, for or against b.

    As `golden_set_size`, but the interval's own variance, fitted at the margin, goes with z_alpha:
    n = ((z_alpha sqrt(V_margin) + z_power sqrt(psi - d^2)) / (margin + d))^2. Below -margin it is
    the number of items that shows b to be inferior.

    Raises: ValueError if the true difference is the margin, or a share is out of range.
    Source: Nam (1997), Biometrics 53:1422-1430.

    >>> score_test_size(0.10, 0.03), score_test_size(0.05, 0.10)
    (717, 56)
    """
    _check_margin(margin_share, alpha)
    _check_plan(discordance_share, power, true_difference)
    if true_difference == -margin_share:
        raise ValueError(f"a true difference on the margin -{margin_share:g} is never decided")
    only_a = (discordance_share - true_difference) / 2
    only_b = (discordance_share + true_difference) / 2
    at_margin = sqrt(_score_variance(only_a, only_b, 1, -margin_share))
    at_truth = sqrt(discordance_share - true_difference**2)
    effort = norm.ppf(1 - alpha) * at_margin + norm.ppf(power) * at_truth
    return int(np.ceil((effort / (margin_share + true_difference)) ** 2))


def items_needed(
    discordance_share: npt.ArrayLike,
    margin: npt.ArrayLike,
    power: npt.ArrayLike = 0.8,
    true_difference: npt.ArrayLike = 0.0,
    alpha: npt.ArrayLike = ALPHA,
) -> Any:
    """Items that settle a paired comparison with the given power: `score_test_size` for columns.

    All are shares: numbers, arrays or columns of a frame, which broadcast. discordance_share: of
    the items that one model alone answers correctly. alpha: one-sided.
    Returns: a whole number, or an array of them in the shape of the arguments.
    Raises: ValueError as `score_test_size`.

    >>> items_needed(discordance_share=0.10, margin=0.03)
    717
    >>> items_needed([0.05, 0.10, 0.20], margin=0.03, power=0.9).tolist()
    [542, 987, 1918]
    """
    sizes = np.vectorize(score_test_size, otypes=[int])(
        discordance_share, margin, alpha, power, true_difference
    )
    return sizes if sizes.ndim else int(sizes)


def pass_mark(
    n: int, discordance_share: float, margin_share: float, alpha: float = ALPHA
) -> float | None:
    """Lowest observed difference with which n items show b to be non-inferior.

    It lies above -margin, by what chance may hide: a loss of the whole margin never passes.

    Returns: a share in [-1, 1], to six decimals, negative where a loss passes; None where so few
    items pass with no result.
    Raises: ValueError for a share out of range.

    >>> pass_mark(675, discordance_share=0.27, margin_share=0.05)
    -0.016987
    """
    _check_margin(margin_share, alpha)
    _check_plan(discordance_share, 0.8, 0.0)
    z = float(norm.ppf(1 - alpha))

    def beyond(difference: float) -> float:
        only_a, only_b = (discordance_share + sign * difference for sign in (-1, 1))
        return _score(n * only_a / 2, n * only_b / 2, n, -margin_share) - z

    if beyond(discordance_share) < 0:
        return None
    lowest = max(-discordance_share, -margin_share)
    if beyond(lowest) >= 0:
        return round(lowest, 6)
    return round(float(brentq(beyond, lowest, discordance_share)), 6)


def _check_margin(margin_share: float, alpha: float) -> None:
    if not (isinstance(margin_share, Real) and 0 < margin_share < 1):
        raise ValueError(f"margin {margin_share}: give a share, such as 0.02 for 2 points")
    check_alpha(alpha)


def check_alpha(alpha: float) -> None:
    """Checks the level of a one-sided test. Raises: ValueError unless 0 < alpha < 0.5."""
    if not (isinstance(alpha, Real) and 0 < alpha < 0.5):
        raise ValueError(f"alpha {alpha}: give a one-sided level between 0 and 0.5")


def _check_plan(discordance_share: float, power: float, true_difference: float) -> None:
    shares = (discordance_share, power, true_difference)
    if not all(isinstance(each, Real) for each in shares):
        raise ValueError(f"discordance, power and true difference {shares}: give numbers")
    if not 0.5 <= power < 1:
        raise ValueError(f"power {power:g}: give a share from 0.5 to below 1")
    if not abs(true_difference) <= discordance_share <= 1:
        raise ValueError(
            f"discordance {discordance_share:g} with true difference {true_difference:g}: "
            "give a share up to 1 that is at least as large as the difference"
        )


# ---- from a public benchmark to one's own task --------------------------------------------------


def new_subject_interval(
    subjects: pd.DataFrame, by: Sequence[str], level: float = 0.95
) -> pd.DataFrame:
    """The difference to expect on a subject not yet measured: a random-effects prediction interval.

    A public benchmark is a proxy for your own task; the spread between its subjects, not the number
    of its items, shows how good a proxy it is.

    subjects: one row per subject, columns as `paired_table`: those of `by`, n, only_proprietary,
    only_open (items).
    Returns: one row per group of at least 3 subjects (fewer give no spread): the columns of `by`,
    subjects, difference (mean over subjects), low, high (of a new subject), spread
    (standard deviation between subjects), all shares.
    Raises: ValueError if a column is missing.
    Source: DerSimonian & Laird (1986), Controlled Clinical Trials 7:177-188; interval: Higgins,
    Thompson & Spiegelhalter (2009), JRSS A 172:137-159; variance within a subject: Bonett &
    Price (2012), JEBS 37, which stays above zero where no item is discordant.

    >>> law, maths, art = [100, 20, 10], [100, 40, 10], [100, 5, 5]
    >>> subjects = pd.DataFrame([law, maths, art], columns=["n", "only_proprietary", "only_open"])
    >>> new = new_subject_interval(subjects.assign(model="open"), ["model"], 0.8).iloc[0]
    >>> f"{new['difference']:+.2f} [{new['low']:+.2f}, {new['high']:+.2f}]"
    '-0.13 [-0.63, +0.37]'
    """
    _check_columns(subjects, [*by, "n", "only_proprietary", "only_open"])
    groups = subjects.groupby(list(by), observed=True, dropna=False, sort=False)
    rows = [
        dict(zip(by, key, strict=True)) | _random_effects(group, level)
        for key, group in groups
        if len(group) >= 3
    ]
    columns = [*by, "subjects", "difference", "low", "high", "spread"]
    return pd.DataFrame(rows, columns=columns)


def _random_effects(subjects: pd.DataFrame, level: float) -> dict[str, float]:
    k = len(subjects)
    n, b, c = subjects[["n", "only_proprietary", "only_open"]].to_numpy(dtype=float).T
    difference = (c - b) / n
    added = (b + c + 2) / (n + 2), (c - b) / (n + 2)
    within = (added[0] - added[1] ** 2) / (n + 2)

    weight = 1 / within
    q = np.sum(weight * (difference - np.average(difference, weights=weight)) ** 2)
    scale = weight.sum() - (weight**2).sum() / weight.sum()
    between = max(0.0, (q - (k - 1)) / scale)

    weight = 1 / (within + between)
    mean = float(np.average(difference, weights=weight))
    half = float(t.ppf((1 + level) / 2, k - 2) * np.sqrt(between + 1 / weight.sum()))
    ends = {"low": max(mean - half, -1.0), "high": min(mean + half, 1.0)}
    return {"subjects": k, "difference": mean, **ends, "spread": sqrt(between)}


# ---- is the measurement itself sound? -----------------------------------------------------------


def noise_floor(repeats: pd.DataFrame) -> pd.DataFrame:
    """The noise floor: the difference between two runs of one model on the same items, by chance.

    The 95 % half-width z sqrt(psi / n) of the difference between two runs on a benchmark's items,
    to compare a difference between models with. floor: for discordance psi pooled over the pairs of
    runs; low and high: for the pair that agrees most and least.

    repeats: one row per pair of runs, columns as `same_weights_hosts`: benchmark, n, only_a,
    only_b (items).
    Returns: one row per benchmark: benchmark, pairs, discordance_share, floor, low, high (shares).
    Raises: ValueError if a column is missing.

    >>> floors = noise_floor(same_weights_hosts()).set_index("benchmark")["floor"]
    >>> f"{100 * floors['zeroeval_gsm']:.1f} points"
    '0.8 points'
    """
    _check_columns(repeats, ["benchmark", "n", "only_a", "only_b"])
    rows = []
    for benchmark, pairs in repeats.groupby("benchmark", sort=False):
        discordant = pairs["only_a"] + pairs["only_b"]
        shares = discordant / pairs["n"]
        pooled = discordant.sum() / pairs["n"].sum()
        half = norm.ppf(0.975) * np.sqrt([pooled, shares.min(), shares.max()] / pairs["n"].max())
        ends = dict(zip(("floor", "low", "high"), half.tolist(), strict=True))
        row = {"benchmark": benchmark, "pairs": len(pairs), "discordance_share": pooled}
        rows.append(row | ends)
    columns = ["benchmark", "pairs", "discordance_share", "floor", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def _check_columns(table: pd.DataFrame, columns: Sequence[str]) -> None:
    if missing := [column for column in columns if column not in table]:
        raise ValueError(f"the table lacks {missing}: it has {list(table.columns)}")


def audit(counts: PairedCounts, choices: int | None) -> list[str]:
    """Reasons to doubt these counts, as sentences; empty if there are none.

    Reasons: a score below guessing, which points to the scorer; two models that differ on no more
    items than one model does at two hosts (if such runs are bundled for the benchmark); a warning
    that came with the data.

    choices: answers offered per item (4 in MMLU, 10 in MMLU-Pro); None for free answers.

    >>> audit(PairedCounts(3, 5, 83, 179, model_a="gpt-4"), choices=4)
    ['gpt-4 answers 8 of 270 correctly, below guessing among 4 (p = 2e-23): suspect its scorer.']
    """
    sentences = []
    if choices is not None:
        for model, only in ((counts.model_a, counts.only_a), (counts.model_b, counts.only_b)):
            right = counts.both + only
            p = binomtest(right, counts.n, 1 / choices, alternative="less").pvalue
            if p < IMPLAUSIBLE:
                sentences.append(
                    f"{model} answers {right} of {counts.n} correctly, below guessing among "
                    f"{choices} (p = {p:.0e}): suspect its scorer."
                )
    hosts = same_weights_hosts()
    hosts = hosts[hosts["benchmark"] == counts.benchmark]
    # NaN without such runs: the comparison below is then False
    most = ((hosts["only_a"] + hosts["only_b"]) / hosts["n"]).max()
    if counts.discordance_share <= most:
        sentences.append(
            f"{counts.model_a} and {counts.model_b} differ on {counts.discordance_share:.1%} of "
            f"the items; the same weights on two hosts differ on up to {most:.1%}."
        )
    if counts.flag:
        sentences.append(f"{counts.flag[0].upper()}{counts.flag[1:]}.")
    return sentences


# ---- bundled counts -----------------------------------------------------------------------------


def paired_table() -> pd.DataFrame:
    """All bundled paired counts: one row per benchmark, subject, scorer and pair of models.

    Columns: benchmark, subject, scorer, model_proprietary, model_open, n, both, only_proprietary,
    only_open, neither (items), source, commit, licence, flag (a warning, or "").

    >>> paired_table()["benchmark"].nunique()
    6
    """
    return _read("paired_counts.csv")


def same_weights_hosts() -> pd.DataFrame:
    """Bundled runs of the same weights at two hosts: one row per benchmark and pair of hosts.

    Columns: benchmark, n, both, only_a, only_b, neither (items), host_a, host_b, source, commit,
    licence.
    """
    return _read("same_weights_hosts.csv")


def paired_counts(
    benchmark: str,
    subject: str,
    model_proprietary: str,
    model_open: str,
    scorer: str | None = None,
) -> PairedCounts:
    """The bundled counts of one pair of models on one subject, with their provenance.

    Parameters: names as in `paired_table`; scorer is needed only where several scored the answers.
    Raises: ValueError naming the closest entries, or the scorers to choose from.

    >>> c = paired_counts("mmlu_pro", "law", "gemini-1.5-pro-002", "Meta-Llama-3_1-70B-Instruct")
    >>> c.n, c.source.split()[0]
    (1101, 'TIGER-AI-Lab/MMLU-Pro')
    """
    rows = paired_table()
    names = {
        "benchmark": benchmark,
        "subject": subject,
        "model_proprietary": model_proprietary,
        "model_open": model_open,
    } | ({} if scorer is None else {"scorer": scorer})
    for column, value in names.items():
        entries = sorted(set(rows[column]))
        if value not in entries:
            close = get_close_matches(value, entries, n=5, cutoff=0.0)
            raise ValueError(f"no paired counts with {column} {value!r}; closest here: {close}")
        rows = rows[rows[column] == value]
    if len(rows) > 1:
        raise ValueError(
            f"{benchmark} {subject} has several scorers: choose one of {sorted(rows['scorer'])}"
        )
    row = rows.iloc[0]
    return PairedCounts(
        both=int(row["both"]),
        only_a=int(row["only_proprietary"]),
        only_b=int(row["only_open"]),
        neither=int(row["neither"]),
        model_a=model_proprietary,
        model_b=model_open,
        benchmark=benchmark,
        subject=subject,
        scorer=row["scorer"],
        source=f"{row['source']} at {row['commit']}, {row['licence']}",
        flag=row["flag"],
    )


@dataclass(frozen=True)
class Benchmark:
    """A public benchmark: its name, the questions it asks, and whether they are near to a task."""

    name: str
    asks: str
    near: bool
    reason: str


def benchmark(key: str, task: str) -> Benchmark:
    """Describes a bundled benchmark, and whether its questions are near to a class of task.

    Results on a benchmark that is not near say nothing about the task, neither for nor against a
    model.

    key: name in `data/benchmarks.csv`. task: as in a study's workload, such as chat or reasoning.
    Raises: ValueError for a benchmark that `data/benchmarks.csv` lacks.

    >>> benchmark("zeroeval_gsm", "chat").near, benchmark("zeroeval_gsm", "reasoning").near
    (False, True)
    """
    rows = _read("benchmarks.csv").set_index("benchmark")
    if key not in rows.index:
        raise ValueError(f"data/benchmarks.csv lacks the benchmark {key!r}: add a row for it")
    row = rows.loc[key]
    return Benchmark(
        str(row["name"]), str(row["asks"]), bool(row[task] == "near"), str(row["reason"])
    )


def _read(name: str) -> pd.DataFrame:
    return pd.read_csv(paths.data(name), keep_default_na=False)

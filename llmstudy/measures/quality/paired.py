"""Two models on the same items: the difference of their accuracies, and whether there is one."""

from math import sqrt

from scipy.optimize import brentq
from scipy.stats import binomtest, norm

from llmstudy.figure import Interval
from llmstudy.measures.quality.counts import PairedCounts


def score_variance(b: float, c: float, n: float, delta: float) -> float:
    """Variance of c - b when the true difference is delta, its nuisance share fitted by ML."""
    half = -b - c + (2 * n - c + b) * delta
    # the fitted share of only_a; max: rounding can take an exact zero below zero
    q = (sqrt(max(half**2 + 8 * n * b * delta * (1 - delta), 0.0)) - half) / (4 * n)
    return n * (2 * q + delta * (1 - delta))


def score(b: float, c: float, n: float, delta: float) -> float:
    """Tango's statistic of a true difference delta, in standard errors."""
    gap = c - b - n * delta
    # at the estimate the variance may be 0 too
    return gap / sqrt(score_variance(b, c, n, delta)) if gap else 0.0


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
    low = brentq(lambda d: score(b, c, n, d) - z, -edge, estimate) if c - b > -n else -1.0
    high = brentq(lambda d: score(b, c, n, d) + z, estimate, edge) if c - b < n else 1.0
    return Interval(estimate, low, high)


def mcnemar_exact(counts: PairedCounts) -> float:
    """Two-sided p-value of the hypothesis that both models are equally accurate.

    Source: McNemar (1947), Psychometrika 12:153-157; exact binomial form.

    >>> round(mcnemar_exact(PairedCounts(both=1243, only_a=26, only_b=22, neither=28)), 2)
    0.67
    """
    discordant = counts.only_a + counts.only_b
    return float(binomtest(counts.only_a, discordant).pvalue) if discordant else 1.0

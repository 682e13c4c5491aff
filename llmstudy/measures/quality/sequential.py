"""Tests that may be looked at after every item: stop as soon as one has passed.

An e-value is the wealth of a bettor who starts with 1 and stakes it against the hypothesis; where
that is true, the wealth ever reaches 1 / alpha with a chance of alpha at most, however often
it is looked at (Ville's inequality). Items come in an order that does not depend on their results;
of items in clusters, give the mean of each cluster as one.
Source: Ramdas, Grünwald, Vovk & Shafer (2023), Statistical Science 38:576-601.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import betainc, betaln, logsumexp

from llmstudy.figure import FloatArray
from llmstudy.measures.quality.levels import ALPHA, check_alpha

STAKES = 100
"""Bets played side by side: with more the wealth hardly changes."""

_MOST = 700.0
"""Logarithm of the highest e-value given: beyond it numbers overflow."""


@dataclass(frozen=True)
class AnytimeTest:
    """e-values after each item, (n,), and the number of items at which 1 / alpha was first reached.

    `passed_at` is None where it was never reached. The claim then stays open: it is not refuted.
    """

    e_values: FloatArray
    passed_at: int | None
    alpha: float


def anytime_superiority(difference: npt.ArrayLike, alpha: float = ALPHA) -> AnytimeTest:
    """Whether b is more often right than a, looked at after every item.

    Bets on the items that one model alone answers, with a Beta(1/2, 1/2) mixture over the share
    that b wins. With b and c items won by a and b, 2^(b+c) B(b+1/2, c+1/2) / B(1/2, 1/2) is the
    e-value against equal models; its half above 1/2, doubled, that against b no better than a.

    difference: (n,) -1, 0 or 1 of each item, in the order of the scoring.
    Raises: ValueError for other differences (graded ones: `anytime_non_inferiority` with margin 0).
    Source: Robbins (1970), Annals of Mathematical Statistics 41:1397-1409; formula of the mixture:
    Krichevsky & Trofimov (1981), IEEE Transactions on Information Theory 27:199-207.

    >>> test = anytime_superiority([0, 1, 1, 0, 1, 1, 1, 1, 1])
    >>> test.e_values.round(1).tolist(), test.passed_at
    ([1.0, 1.6, 2.8, 2.8, 4.8, 8.6, 15.6, 28.8, 53.5], 8)
    """
    d = _differences(difference, alpha)
    if not np.isin(d, [-1, 0, 1]).all():
        raise ValueError("graded differences: use anytime_non_inferiority with a margin of 0")
    won_a, won_b = np.cumsum(d < 0) + 0.5, np.cumsum(d > 0) + 0.5
    both_ways = (won_a + won_b - 1) * np.log(2) + betaln(won_a, won_b) - betaln(0.5, 0.5)
    return _test(both_ways + np.log(2 * betainc(won_a, won_b, 0.5)), alpha)


def anytime_non_inferiority(
    difference: npt.ArrayLike, margin_share: float, alpha: float = ALPHA
) -> AnytimeTest:
    """Whether b is less than the margin worse than a, looked at after every item.

    The wealth prod (1 + lambda (d_i + margin)), its mean over stakes lambda spread evenly over
    [0, 1 / (1 - margin)]; the order of the items does not change where it ends.

    difference: (n,) of each item in [-1, 1], also graded, in the order of the scoring.
    margin_share: from above -1 to below 1; 0: is b better? below 0: is it, by more than that?
    Raises: ValueError for a difference or margin out of range.
    Source: Waudby-Smith & Ramdas (2024), JRSS B 86:1-27, section 4; mixture over stakes: Cover
    (1991), Mathematical Finance 1:1-29.

    >>> anytime_non_inferiority(([0] * 9 + [1] + [0] * 9 + [-1]) * 8, 0.1).passed_at
    74
    """
    d = _differences(difference, alpha)
    if not abs(margin_share) < 1:
        raise ValueError(f"margin {margin_share}: give a share between -1 and 1, such as 0.02")
    stakes = (np.arange(STAKES) + 0.5) / STAKES / (1 - margin_share)
    wealth = np.cumsum(np.log1p(np.outer(d + margin_share, stakes)), axis=0)
    return _test(logsumexp(wealth, axis=1) - np.log(STAKES), alpha)


def _differences(difference: npt.ArrayLike, alpha: float) -> FloatArray:
    check_alpha(alpha)
    d = np.asarray(difference, dtype=float)
    if d.ndim != 1 or not (abs(d) <= 1).all():
        raise ValueError("differences outside -1..1: give one for each item, score b less score a")
    return d


def _test(log_e: FloatArray, alpha: float) -> AnytimeTest:
    passed = log_e >= -np.log(alpha)
    at = int(passed.argmax()) + 1 if passed.any() else None
    return AnytimeTest(np.exp(np.minimum(log_e, _MOST)), at, alpha)

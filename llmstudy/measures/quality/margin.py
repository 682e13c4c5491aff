"""Whether the candidate is less than a margin worse."""

from dataclasses import dataclass
from typing import Literal

from scipy.stats import norm

from llmstudy.figure import Interval
from llmstudy.measures.quality.counts import PairedCounts
from llmstudy.measures.quality.levels import ALPHA
from llmstudy.measures.quality.paired import paired_difference, score
from llmstudy.measures.quality.sizes import check_margin, score_test_size


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


def non_inferiority_p(counts: PairedCounts, margin_share: float) -> float:
    """One-sided p-value of the hypothesis that b is worse than a by the margin or more.

    Raises: ValueError if not 0 < margin < 1.

    >>> round(non_inferiority_p(PairedCounts(both=1200, only_a=43, only_b=42, neither=34), 0.02), 4)
    0.004
    """
    check_margin(margin_share, ALPHA)
    return float(norm.sf(score(counts.only_a, counts.only_b, counts.n, -margin_share)))


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
    check_margin(margin_share, alpha)
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

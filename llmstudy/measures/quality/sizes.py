"""How many items a paired comparison needs, and what so many can show."""

from dataclasses import dataclass
from math import sqrt
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.stats import norm

from llmstudy.figure import Interval
from llmstudy.measures.quality.counts import PairedCounts, wilson
from llmstudy.measures.quality.levels import ALPHA, check_alpha
from llmstudy.measures.quality.paired import score, score_variance


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
    check_margin(margin_share, alpha)
    check_plan(discordance_share, power, true_difference)
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
    check_margin(margin_share, alpha)
    check_plan(discordance_share, power, true_difference)
    if true_difference == -margin_share:
        raise ValueError(f"a true difference on the margin -{margin_share:g} is never decided")
    only_a = (discordance_share - true_difference) / 2
    only_b = (discordance_share + true_difference) / 2
    at_margin = sqrt(score_variance(only_a, only_b, 1, -margin_share))
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
    check_margin(margin_share, alpha)
    check_plan(discordance_share, 0.8, 0.0)
    z = float(norm.ppf(1 - alpha))

    def beyond(difference: float) -> float:
        only_a, only_b = (discordance_share + sign * difference for sign in (-1, 1))
        return score(n * only_a / 2, n * only_b / 2, n, -margin_share) - z

    if beyond(discordance_share) < 0:
        return None
    lowest = max(-discordance_share, -margin_share)
    if beyond(lowest) >= 0:
        return round(lowest, 6)
    return round(float(brentq(beyond, lowest, discordance_share)), 6)


def minimum_detectable_difference(
    discordance_share: float, n: int, alpha: float = ALPHA, power: float = 0.8
) -> float | None:
    """Smallest true difference that n items show with the given power: the textbook approximation.

    (z_{1 - alpha/2} + z_power) sqrt(psi / n), for a two-sided test of no difference.

    Returns: a share; None where even a difference of the whole discordance is too small for n.
    Raises: ValueError for a share out of range.
    Source: normal approximation to the paired difference, e.g. Miller (2024), arXiv 2411.00640,
    section 5.

    >>> [round(minimum_detectable_difference(0.2, n), 3) for n in (50, 200, 1000)]
    [0.177, 0.089, 0.04]
    """
    check_alpha(alpha)
    check_plan(discordance_share, power, 0.0)
    if n < 1:
        raise ValueError(f"{n} items: give how many both models answer, at least one")
    z = norm.ppf(1 - alpha / 2) + norm.ppf(power)
    smallest = float(z * sqrt(discordance_share / n))
    return smallest if smallest <= discordance_share else None


@dataclass(frozen=True)
class PilotPlan:
    """What a pilot says of the discordance, and the items that suffice at the upper end of it."""

    discordance: Interval
    items: int


def pilot_discordance(
    pilot: PairedCounts,
    margin_share: float,
    alpha: float = ALPHA,
    power: float = 0.8,
    true_difference: float = 0.0,
    level: float = 0.95,
) -> PilotPlan:
    """Plans a golden set from a pilot of 50 to 100 items, for the discordance that it allows.

    Raises: ValueError as `score_test_size`, for the upper end of the interval.
    Source: Wilson's interval (`wilson`) and `score_test_size` at its upper end.

    >>> plan = pilot_discordance(PairedCounts(70, 6, 4, 20), margin_share=0.05)
    >>> f"{plan.discordance.low:.3f} to {plan.discordance.high:.3f}: {plan.items} items"
    '0.055 to 0.174: 446 items'
    """
    discordance = wilson(pilot.only_a + pilot.only_b, pilot.n, level)
    items = score_test_size(discordance.high, margin_share, alpha, power, true_difference)
    return PilotPlan(discordance, items)


def check_margin(margin_share: float, alpha: float) -> None:
    """Raises: ValueError unless 0 < margin < 1 and alpha is a one-sided level."""
    if not (isinstance(margin_share, Real) and 0 < margin_share < 1):
        raise ValueError(f"margin {margin_share}: give a share, such as 0.02 for 2 points")
    check_alpha(alpha)


def check_plan(discordance_share: float, power: float, true_difference: float) -> None:
    """Raises: ValueError for a plan's share out of range."""
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

"""Items by who answered them correctly, and the share that each model answers."""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy.stats import norm

from llmstudy.figure import FloatArray, Interval


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


def zero_failures_bound(n: int, level: float = 0.95) -> float:
    """Highest share of failures that agrees with n items of which none failed.

    1 - (1 - level)^(1 / n), about 3 / n at 95 %, the rule of three.

    Returns: a share; one-sided, exact.
    Raises: ValueError if there are no items.
    Source: Clopper & Pearson (1934), Biometrika 26:404-413; Hanley & Lippman-Hand (1983), JAMA
    249:1743-1745.

    >>> [round(zero_failures_bound(n), 4) for n in (100, 300)]
    [0.0295, 0.0099]
    """
    if n < 1:
        raise ValueError(f"{n} items: a bound on failures needs at least one that did not fail")
    return float(1 - (1 - level) ** (1 / n))


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

"""Levels of tests: alpha shared over several claims, and over several looks at one."""

from collections.abc import Sequence
from numbers import Real

import numpy as np
from scipy.stats import false_discovery_control

from llmstudy.figure import FloatArray

ALPHA = 0.05
"""Highest chance that a memo wrongly calls any candidate non-inferior, over all its comparisons
(`holm_levels`) and however often each is judged (`look_share`)."""


def check_alpha(alpha: float) -> None:
    """Checks the level of a one-sided test. Raises: ValueError unless 0 < alpha < 0.5."""
    if not (isinstance(alpha, Real) and 0 < alpha < 0.5):
        raise ValueError(f"alpha {alpha}: give a one-sided level between 0 and 0.5")


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


def benjamini_hochberg(p: Sequence[float] | FloatArray) -> FloatArray:
    """P-values adjusted for exploring many slices, in the order given. Shape: (k,).

    Of the slices with an adjusted p-value up to q, a share of q is expected to be false. Choose
    with it where to look closer; a claim that a decision rests on is tested by `holm`.

    Source: Benjamini & Hochberg (1995), JRSS B 57:289-300; `scipy.stats.false_discovery_control`.

    >>> benjamini_hochberg([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.04, 0.04]
    """
    return np.asarray(false_discovery_control(p), dtype=float)


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

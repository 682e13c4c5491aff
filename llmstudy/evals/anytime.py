"""What an evaluation that is still running says so far, however often one looks at it."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

import pandas as pd

from llmstudy.evals.counts import clusters_of
from llmstudy.measures import quality


@dataclass(frozen=True)
class AnytimeLook:
    """Evidence that stays valid at every look, so that a look spends no part of the level.

    evidence: that the candidate keeps the margin, evidence_against: that it does not; each is an
    e-value, settled from `needed` on. n: items, or clusters of them, so far.
    """

    evidence: float
    evidence_against: float
    needed: float
    n: int

    @property
    def verdict(self) -> Literal["non-inferior", "inferior", "open"]:
        """What may be acted on now; `open` refutes nothing."""
        if self.evidence >= self.needed:
            return "non-inferior"
        return "inferior" if self.evidence_against >= self.needed else "open"


def anytime_look(
    pairs: pd.DataFrame, margin_share: float, needed: float, protected: Sequence[str] = ()
) -> AnytimeLook:
    """The evidence so far on all items, and on the protected slices.

    All of these must keep the margin, so that the least evidence for it counts, and the mean of
    that against it. A cluster counts by its mean, so let it be whole when you look.

    pairs: as `table.pairs`, of answers that are right or wrong. needed: claims / alpha.
    Source: `quality.anytime_non_inferiority`; means of e-values: Vovk & Wang (2021), Annals of
    Statistics 49:1736-1754.

    >>> pairs = pd.DataFrame({"baseline": 1.0, "candidate": [1.0] * 150, "slice": None})
    >>> look = anytime_look(pairs.assign(cluster=None), 0.05, needed=20)
    >>> look.verdict, round(look.evidence), look.n
    ('non-inferior', 291, 150)
    """
    parts = [pairs, *(pairs[pairs["slice"] == name] for name in protected)]
    differences = [_differences(part) for part in parts]
    evidence = [_e_value(each, margin_share) for each in differences]
    against = [_e_value(-each, -margin_share) for each in differences]
    return AnytimeLook(min(evidence), fmean(against), needed, len(differences[0]))


def _differences(part: pd.DataFrame) -> "pd.Series[float]":
    """Candidate minus baseline of each item, or cluster of them."""
    difference: pd.Series[float] = part["candidate"] - part["baseline"]
    clusters = clusters_of(part)
    return difference if clusters is None else difference.groupby(clusters, sort=False).mean()


def _e_value(difference: "pd.Series[float]", margin_share: float) -> float:
    return float(quality.anytime_non_inferiority(difference, margin_share).e_values[-1])

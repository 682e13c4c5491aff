"""Judges from a table of scores whether a candidate is good enough, in one call.

Both models answer the same items. Scores of 0 and 1 are counted and judged as in `quality`; graded
scores by the mean of their paired differences, on the scale of the scores.
"""

from dataclasses import asdict, dataclass
from math import ceil, sqrt
from numbers import Real
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.stats import norm
from scipy.stats import t as student_t

from llmstudy.figure import FloatArray
from llmstudy.measures import quality
from llmstudy.measures.quality import ALPHA, PairedCounts
from llmstudy.text import count, refuse

STRAY_SHARE = 0.05
"""Among scores of 0 and 1, a share of others up to this are faults (such as -1 for "not judged"),
while more of them mean a graded scale."""


@dataclass(frozen=True, repr=False)
class QualityComparison:
    """A paired verdict; the difference is candidate minus baseline, in the unit of the scores.

    low, high: its interval of level 1 - 2 alpha. p_value: one-sided, of the hypothesis that the
    candidate is worse by the margin or more; wilcoxon_p: the same by Wilcoxon's signed ranks, of
    graded scores. pass_mark: the lowest difference that passes with this number of items; None if
    none does. n_needed: items that would settle an undecided verdict with a power of 80 % if the
    difference is as observed; None if it is settled, or no number would settle it. For binary
    scores also the four counts of items by who is right, and the share on which exactly one is.

    >>> scores = pd.DataFrame({"today": [1, 1, 1, 0], "open": [1, 1, 0, 0]})
    >>> compare_quality(scores, "today", "open", margin=0.05).frame()[["verdict", "both", "n"]]
         verdict  both  n
    0  undecided     2  4
    """

    baseline: str
    candidate: str
    scale: Literal["binary", "graded"]
    verdict: Literal["non-inferior", "inferior", "undecided"]
    difference: float
    low: float
    high: float
    margin: float
    alpha: float
    p_value: float
    n: int
    n_needed: int | None
    pass_mark: float | None
    wilcoxon_p: float | None = None
    both: int | None = None
    only_baseline: int | None = None
    only_candidate: int | None = None
    neither: int | None = None
    discordance_share: float | None = None

    def __repr__(self) -> str:
        more = f"; {count(self.n_needed)} items would settle it" if self.n_needed else ""
        return (
            f"{self.candidate} against {self.baseline}: {self.verdict}, {self.difference:+.3g} "
            f"[{self.low:+.3g}, {self.high:+.3g}] on {self.n:,} items, margin {self.margin:g}, "
            f"p = {self.p_value:.2g}{more}"
        )

    def frame(self) -> pd.DataFrame:
        """The comparison as a table of one row."""
        return pd.DataFrame([asdict(self)])


def compare_quality(
    scores: pd.DataFrame,
    baseline: str,
    candidate: str,
    margin: float,
    item: str = "item_id",
    alpha: float = ALPHA,
) -> QualityComparison:
    """Judges from scores whether the candidate is less than the margin worse than the baseline.

    Non-inferior where the whole interval of level 1 - 2 alpha lies above -margin, inferior where it
    lies below, undecided otherwise. alpha holds for one comparison that is judged once; for
    several, adjust the p-values with `holm`.

    scores: a row for each item, with a column of scores of each of the two models (and `item`,
    where there is one); or a row for each item and model, in the columns `item`, model and score.
    Higher is better. Scores that are all 0, 1 or bool are binary and have Tango's interval; all
    others are graded and have the paired t interval. margin: in the unit of the scores, a share for
    binary ones.
    Raises: ValueError that names the first items scored by one model only, twice, with text, or
    outside 0..1 among binary scores; also for missing columns, no items, a margin or alpha out of
    range, and graded scores whose differences do not vary.
    Source: binary, as `non_inferiority`; graded, Student's t on paired differences, with the size
    of Guenther (1981), The American Statistician 35:243-244.

    >>> scores = pd.DataFrame({"today": [1] * 90 + [0] * 10, "open": [1] * 88 + [0] * 12})
    >>> compare_quality(scores, baseline="today", candidate="open", margin=0.06)
    open against today: non-inferior, -0.02 [-0.0586, +0.00687] on 100 items, margin 0.06, p = 0.046
    """
    if not isinstance(scores, pd.DataFrame):
        raise ValueError(f"scores is a {type(scores).__name__}: give a DataFrame of scores")
    if baseline == candidate or not isinstance(baseline, str) or not isinstance(candidate, str):
        raise ValueError(
            f"baseline {baseline!r}, candidate {candidate!r}: name two models, or their columns"
        )
    pairs = _numbers(_pairs(scores, baseline, candidate, item))
    judge = _binary if _is_binary(pairs) else _graded
    comparison = judge(pairs[baseline].to_numpy(), pairs[candidate].to_numpy(), margin, alpha)
    return QualityComparison(str(baseline), str(candidate), **comparison)


def _binary(a: FloatArray, b: FloatArray, margin: float, alpha: float) -> dict[str, Any]:
    both, only_a, only_b = (int(x.sum()) for x in (a * b, a * (1 - b), (1 - a) * b))
    counts = PairedCounts(both, only_a, only_b, len(a) - both - only_a - only_b)
    test = quality.non_inferiority(counts, margin, alpha)
    return {
        "scale": "binary",
        "verdict": test.verdict,
        "difference": test.difference.estimate,
        "low": test.difference.low,
        "high": test.difference.high,
        "margin": margin,
        "alpha": alpha,
        "p_value": quality.non_inferiority_p(counts, margin),
        "n": counts.n,
        "n_needed": test.n_needed,
        "pass_mark": quality.pass_mark(counts.n, counts.discordance_share, margin, alpha),
        "both": counts.both,
        "only_baseline": counts.only_a,
        "only_candidate": counts.only_b,
        "neither": counts.neither,
        "discordance_share": counts.discordance_share,
    }


def _graded(a: FloatArray, b: FloatArray, margin: float, alpha: float) -> dict[str, Any]:
    if not (isinstance(margin, Real) and 0 < margin < np.inf):
        raise ValueError(f"margin {margin}: give the largest loss allowed, above 0")
    quality.check_alpha(alpha)
    differences = b - a
    n, mean = len(differences), float(differences.mean())
    if np.allclose(differences, mean):
        raise ValueError(
            f"the graded scores differ by {mean:g} on each of {n} items: an interval needs "
            "differences that vary; add items"
        )
    spread = float(differences.std(ddof=1))
    error, above = spread / sqrt(n), mean + margin
    half = float(student_t.ppf(1 - alpha, n - 1)) * error
    verdict = "non-inferior" if above > half else "inferior" if above < -half else "undecided"
    n_needed, z = None, float(norm.ppf(1 - alpha))
    if verdict == "undecided" and abs(above) > 1e-9 * spread:
        n_needed = ceil(((z + norm.ppf(0.8)) * spread / above) ** 2 + z**2 / 2)
    return {
        "scale": "graded",
        "verdict": verdict,
        "difference": mean,
        "low": mean - half,
        "high": mean + half,
        "margin": margin,
        "alpha": alpha,
        "p_value": float(student_t.sf(above / error, n - 1)),
        "n": n,
        "n_needed": n_needed,
        "pass_mark": half - margin,
        "wilcoxon_p": quality.signed_rank_p(differences, margin),
    }


# ---- scores as they come ------------------------------------------------------------------------


def _pairs(scores: pd.DataFrame, baseline: str, candidate: str, item: str) -> pd.DataFrame:
    """Both scores of each item, by item."""
    if {baseline, candidate} <= set(scores.columns):
        rows = scores.set_index(item) if item in scores else scores
        pairs = rows[[baseline, candidate]]
        twice = list(rows.index[rows.index.duplicated()]) if item in scores else []
    elif {item, "model", "score"} <= set(scores.columns):
        models = list(scores["model"].unique())
        if absent := [name for name in (baseline, candidate) if name not in models]:
            raise ValueError(f"no scores of {absent}: the column model has {models}")
        rows = scores[scores["model"].isin([baseline, candidate])]
        twice = list(rows[item][rows.duplicated([item, "model"])])
        once = rows.drop_duplicates([item, "model"]).set_index(item)
        sides = {name: once["score"][once["model"] == name] for name in (baseline, candidate)}
        pairs = pd.DataFrame(sides)
    else:
        raise ValueError(
            f"scores have neither a column for each of {baseline!r} and {candidate!r} nor the "
            f"columns {item!r}, 'model' and 'score': they have {list(scores.columns)}"
        )
    refuse(twice, "scored twice by a model: keep one score, or give the mean of both")
    refuse(np.flatnonzero(pairs.index.isna()) + 1, f"without {item}: name each item", "row")
    if pairs.empty:
        raise ValueError("no items: a comparison needs some that both models were scored on")
    for name in (baseline, candidate):
        half = pairs.index[pairs[name].isna()]
        refuse(half, f"without a score of {name}: score them, or leave them out on both sides")
    return pairs


def _numbers(pairs: pd.DataFrame) -> pd.DataFrame:
    numbers: pd.DataFrame = pairs.astype(object).apply(pd.to_numeric, errors="coerce").astype(float)
    not_numbers = ~np.isfinite(numbers.to_numpy()).all(axis=1)
    refuse(
        pairs.index[not_numbers],
        "with a score that is not a number: write 0 and 1, or the grade",
    )
    return numbers


def _is_binary(pairs: pd.DataFrame) -> bool:
    """Whether the scores are 0 and 1. Raises: ValueError for a few that are outside."""
    whole, outside = pairs.isin([0, 1]), (pairs < 0) | (pairs > 1)
    if (whole | outside).all(axis=None) and outside.to_numpy().mean() <= STRAY_SHARE:
        rows = pairs.index[outside.any(axis=1)]
        refuse(
            rows, "scored outside 0..1 among scores of 0 and 1: correct them, or grade from 0 to 1"
        )
    return bool(whole.all(axis=None))

"""From the subjects of a public benchmark to one's own task."""

from collections.abc import Sequence
from math import sqrt

import numpy as np
import pandas as pd
from scipy.stats import t

from llmstudy.measures.quality.benchmarks import check_columns


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
    check_columns(subjects, [*by, "n", "only_proprietary", "only_open"])
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

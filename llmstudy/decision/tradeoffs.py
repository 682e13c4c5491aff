"""What is traded for what between the arms, in the memo's words and in this study's figures (T5)?

The memo gives ten dimensions for two arms, in words and a few figures. Beside each stands what this
study computes for the same thing, where it does, and whether the two agree.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from llmstudy import paths
from llmstudy.figure import Figure

ARMS = ("proprietary_api", "hosted_open", "self_hosted")


@dataclass(frozen=True)
class Computed:
    """What a study finds on a dimension of an arm. figure: None where only words can be said.

    evidence: the results and figures that it is taken from; said: the rest, in a few words.
    """

    figure: Figure | None
    evidence: str
    said: str = ""


def agreement(told: tuple[float | None, float | None], figure: Figure | None) -> str:
    """How a study's figure lies to the memo's range: agrees, higher, lower or not comparable.

    told: low and high; a high of None is open upwards. Ranges that touch agree.

    >>> agreement((2.5, 5.0), Figure("", 1.5, "FTE", 1.0, 2.5, "triangular"))
    'agrees'
    >>> agreement((50_000.0, None), Figure("", 40_000.0, "USD"))
    'lower'
    """
    low, high = told
    if low is None or figure is None:
        return "not comparable"
    ours_low, ours_high = figure.ends
    if ours_high < low:
        return "lower"
    return "higher" if high is not None and ours_low > high else "agrees"


def tradeoffs(found: Mapping[tuple[str, str], Computed]) -> pd.DataFrame:
    """T5: a row per dimension and arm.

    found: by dimension and arm; what is not there is not computed.
    Returns: dimension, title, arm, memo (its words; empty for hosted open weights, of which it has
    no column), memo_low, memo_high, value, low, high, unit, said, agrees, grade, evidence, source.
    Raises: ValueError for a dimension that the memo has not, or a figure in another unit.
    """
    table = pd.read_csv(paths.data("tradeoffs.csv"), dtype={"unit": str})
    titles = dict(zip(table["dimension"], table["title"], strict=True))
    if strange := {dimension for dimension, _ in found} - set(titles):
        raise ValueError(f"{sorted(strange)[0]} is no dimension of data/tradeoffs.csv.")
    told = {(row["dimension"], row["arm"]): row for row in table.to_dict("records")}
    rows = []
    for dimension, title in titles.items():
        unit = _or_none(told[dimension, "proprietary_api"]["unit"]) or ""
        for arm in ARMS:
            memo = told.get((dimension, arm), {})
            ours = found.get((dimension, arm), Computed(None, ""))
            if ours.figure is not None and ours.figure.unit != unit:
                raise ValueError(f"{dimension} is in {unit}, not in {ours.figure.unit}.")
            rows.append(
                {"dimension": dimension, "title": title, "arm": arm, **_row(memo, ours, str(unit))}
            )
    return pd.DataFrame(rows)


def _row(memo: Mapping[Any, Any], ours: Computed, unit: str) -> dict[str, Any]:
    ends = _or_none(memo.get("low")), _or_none(memo.get("high"))
    figure = ours.figure
    return {
        "memo": memo.get("says", ""),
        "memo_low": ends[0],
        "memo_high": ends[1],
        "value": figure.value if figure else None,
        "low": figure.low if figure else None,
        "high": figure.high if figure else None,
        "unit": unit,
        "said": ours.said,
        "agrees": agreement(ends, figure),
        "grade": figure.grade if figure else None,
        "evidence": ours.evidence,
        "source": memo.get("source", "source memo T5 has no column for this arm"),
    }


def _or_none(x: Any) -> Any:
    return None if pd.isna(x) else x


def challenger_lens(favoured: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    """The Challenger's table of six criteria, with the arm that this study's evidence favours.

    favoured: by criterion, the arm (or `neither`, `undecided`) and the evidence; a criterion that
    is not there has no evidence.
    Returns: criterion, title, proprietary_api, self_hosted (its words), favours (our reading of
    them), source, study_favours, agrees (yes, no, open), evidence.
    """
    table = pd.read_csv(paths.data("challenger_lens.csv"), keep_default_na=False)
    found = [favoured.get(str(name), ("no evidence", "")) for name in table["criterion"]]
    judged = zip(table["favours"], (arm for arm, _ in found), strict=True)
    return table.assign(
        study_favours=[arm for arm, _ in found],
        agrees=[_agrees(str(told), ours) for told, ours in judged],
        evidence=[evidence for _, evidence in found],
    )


def _agrees(told: str, ours: str) -> str:
    if ours in ("undecided", "no evidence"):
        return "open"
    return "yes" if told == ours else "no"

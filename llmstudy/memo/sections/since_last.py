"""What has changed since the last memo, and was its forecast right?"""

from collections.abc import Mapping
from html import escape
from typing import Any

from llmstudy.compare.diff import LEADS, course
from llmstudy.memo.context import Facts
from llmstudy.memo.figures import quoted, told
from llmstudy.memo.sections.prose import bullets, heading, paragraph
from llmstudy.text import listed, share, signed_usd, usd

MOST_INPUTS = 5
"""Inputs, assumptions and triggers that are named; the others are in `results/diff.json`."""


def since_last(facts: Facts) -> str:
    """The change against the previous memo, and its forecast against the bills that came."""
    title = heading("since-last", "Change against the previous memo")
    diff = facts.chapters.get("diff")
    if diff is None:
        return title + paragraph("There is no earlier memo of this study to compare with.")
    items = [
        *_recommendation(diff),
        *_headline(diff["headline"]),
        *_inputs(diff["attribution"]),
        *_assumptions(diff["assumptions"]),
        *_triggers(diff["triggers"]),
        *(str(quoted(sentence)) for sentence in diff["looks"]),
        _forecast(diff["forecast"]),
    ]
    return title + bullets(items)


def _recommendation(diff: Mapping[str, Any]) -> list[str]:
    if diff["same_recommendation"]:
        return [f"The recommendation is that of the memo of {escape(diff['then']['as_of'])}."]
    # names are quoted: this study may have dropped them
    return [
        f"{quoted(row['workload'])}: {course(row['then'], quoted)} then, "
        f"{course(row['now'], quoted)} now."
        for row in diff["recommendation"]
        if row["changed"]
    ]


def _headline(headline: Mapping[str, Any]) -> list[str]:
    if headline["moved_usd"] is None:
        return ["The two headlines cannot be compared: one of them cannot be stated."]
    if headline["moved_usd"] == 0:
        return [f"The {LEADS[headline['kind']]} has not moved: {told(headline['now_usd'], usd)}."]
    return [
        f"The {LEADS[headline['kind']]} was {told(headline['then_usd'], usd)} and is "
        f"{told(headline['now_usd'], usd)}: {told(headline['moved_usd'], signed_usd)}."
    ]


def _inputs(attribution: Mapping[str, Any]) -> list[str]:
    if attribution["why_not"]:
        return [f"The move is not attributed: {quoted(attribution['why_not'])}."]
    moved = [
        f"{quoted(row['input'])} {told(row['moved_usd'], signed_usd)}"
        for row in attribution["inputs"][:MOST_INPUTS]
    ]
    return [f"What moved it: {listed(moved)}."] if moved else []


def _assumptions(rows: list[Any]) -> list[str]:
    changed = [str(quoted(row["name"])) for row in rows[:MOST_INPUTS]]
    return [f"Assumptions that changed: {listed(changed)}."] if changed else []


def _triggers(rows: list[Any]) -> list[str]:
    return [
        f"Trigger {escape(row['id'])} on {quoted(row['workload'])} was "
        f"{_state(row['then'])} and is {_state(row['now'])}."
        for row in rows[:MOST_INPUTS]
    ]


def _state(status: str | None) -> str:
    return "not there" if status is None else escape(status.replace("_", " "))


def _forecast(forecast: Mapping[str, Any] | None) -> str:
    if forecast is None or not forecast["summary"]:
        return "No bill has come yet that the last memo's forecast could be held against."
    row = forecast["summary"][-1]
    return (
        f"Of {told(row['months'])} months billed, {told(row['inside'])} lie in the range that the "
        f"last memo forecast; its mean error is {told(row['mean_abs_error_share'], share)}."
    )

"""What has changed since the last memo, and did its forecast hold?"""

from collections.abc import Mapping
from html import escape
from typing import Any

from llmstudy.compare.diff import LEADS
from llmstudy.memo.context import Facts
from llmstudy.memo.figures import quoted, told
from llmstudy.memo.sections.prose import bullets, heading, paragraph
from llmstudy.text import listed, share, signed_usd, usd

MOST_INPUTS = 5
"""Inputs, assumptions and triggers that are named; the rest stands in `results/diff.json`."""


def since_last(facts: Facts) -> str:
    """The change against the previous memo, and its forecast against the bills that came."""
    title = heading("since-last", "Change against the previous memo")
    found = facts.chapters.get("diff")
    if found is None:
        return title + paragraph("There is no earlier memo of this study to compare with.")
    said = [
        *_recommendation(found),
        *_headline(found["headline"]),
        *_inputs(found["attribution"]),
        *_assumptions(found["assumptions"]),
        *_triggers(found["triggers"]),
        *(str(quoted(sentence)) for sentence in found["looks"]),
        _forecast(found["forecast"]),
    ]
    return title + bullets(said)


def _recommendation(found: Mapping[str, Any]) -> list[str]:
    if found["same_recommendation"]:
        return [f"The recommendation is that of the memo of {escape(found['then']['as_of'])}."]
    return [
        f"{quoted(row['workload'])}: {_course(row['then'])} then, {_course(row['now'])} now."
        for row in found["recommendation"]
        if row["changed"]
    ]


def _course(verdict: Mapping[str, Any] | None) -> str:
    """A verdict in a few words. Its names are quoted: this study need not have them any more."""
    if verdict is None:
        return "not in the study"
    decision, route, target = (verdict[key] for key in ("decision", "route", "target"))
    if decision == "move":
        return f"move to {quoted(target)}"
    if decision == "undecided" and target:
        return f"undecided on {quoted(target)}"
    return f"{decision} on {quoted(route) if route else 'no permitted route'}"


def _headline(found: Mapping[str, Any]) -> list[str]:
    if found["moved_usd"] is None:
        return ["The two headlines cannot be compared: one of them cannot be stated."]
    if found["moved_usd"] == 0:
        return [f"The {LEADS[found['kind']]} has not moved: {told(found['now_usd'], usd)}."]
    return [
        f"The {LEADS[found['kind']]} was {told(found['then_usd'], usd)} and is "
        f"{told(found['now_usd'], usd)}: {told(found['moved_usd'], signed_usd)}."
    ]


def _inputs(found: Mapping[str, Any]) -> list[str]:
    if found["why_not"]:
        return [f"The move is not attributed: {quoted(found['why_not'])}."]
    moved = [
        f"{quoted(row['input'])} {told(row['moved_usd'], signed_usd)}"
        for row in found["inputs"][:MOST_INPUTS]
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


def _forecast(found: Mapping[str, Any] | None) -> str:
    if found is None or not found["summary"]:
        return "No bill has come yet that the last memo's forecast could be held against."
    row = found["summary"][-1]
    return (
        f"Of {told(row['months'])} months billed, {told(row['inside'])} lie in the range that the "
        f"last memo forecast; its mean error is {told(row['mean_abs_error_share'], share)}."
    )

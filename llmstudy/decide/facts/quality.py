"""Facts about quality: how open models compare with today's route on paired items."""

from collections.abc import Mapping
from typing import Any

from llmstudy.decide.facts.grounds import Grounds, ranged, stated
from llmstudy.decide.judge import Fact
from llmstudy.evidence.case import rows_of
from llmstudy.figure import Grade, least_certain
from llmstudy.study import ArmName
from llmstudy.text import count

_BASIS = "04_quality: quality"


def decision_grade(row: Mapping[str, Any]) -> Grade:
    """The grade of a scored pair as evidence for a decision.

    Assumed if the study requires measured items and these are not, or if the benchmark is far from
    the task. row: of chapter 04's table.
    """
    suffices = row["grade"] == "measured" or row["lowest_grade"] == "published"
    grade: Grade = row["grade"]
    return grade if suffices and row["closeness"] != "far" else "assumed"


def _scored(grounds: Grounds) -> list[dict[str, Any]]:
    """Chapter 04's rows of open candidates that were scored."""
    rows = grounds.results["04_quality"]["quality"]
    return [
        row
        for row in rows
        if row["difference"] is not None and grounds.arm_of(row["route"]) != "proprietary_api"
    ]


def gap(grounds: Grounds) -> Fact:
    """The quality gap of the workload whose best open candidate is furthest behind, in margins."""
    best: dict[str, dict[str, Any]] = {}
    for row in _scored(grounds):
        before = best.get(row["workload"])
        if before is None or row["difference"] > before["difference"]:
            best[row["workload"]] = row
    if not best:
        return Fact(None, "margins", "assumed", _BASIS, "no open candidate is scored")
    worst = max(best.values(), key=lambda row: -row["difference"] / row["margin"])
    margins = -worst["difference"] / worst["margin"]
    points = f"{abs(100 * worst['difference']):.2g} points {'behind' if margins > 0 else 'ahead'}"
    words = f"{worst['route']} is {points} on {worst['workload']}, on {worst['benchmark']}"
    return Fact(margins, "margins", decision_grade(worst), _BASIS, words)


def unscored_share(grounds: Grounds) -> Fact:
    """The share of workloads without golden items of their own."""
    rows = rows_of(grounds.results["04_quality"]["quality"], grade="measured")
    names = set(grounds.study.workloads)
    lacking = names - {row["workload"] for row in rows if row["n"]}
    words = f"{len(lacking)} of {len(names)} workloads without golden items of their own"
    return stated(len(lacking) / len(names), "share", _BASIS, words)


def open_models_behind(grounds: Grounds) -> Fact:
    """How far open models are behind today's route on paired items, as shares."""
    rows = _scored(grounds)
    named = ", ".join(sorted({row["benchmark"] for row in rows}))
    words = f"open routes behind today's on paired items of {named}"
    grade: Grade = least_certain({row["grade"] for row in rows}) if rows else "assumed"
    return ranged([-row["difference"] for row in rows], "share", grade, _BASIS, words)


def best_of_arm(grounds: Grounds, arm: ArmName) -> Fact:
    """The best scored candidate of an arm minus today's route, on paired items."""
    name = grounds.compared_workload
    if name is None:
        return Fact(None, "share", "assumed", "")
    if grounds.arm_of(grounds.study.workloads[name].current_route) == arm:
        words = "today's route is what others are held to"
        return Fact(None, "share", "assumed", _BASIS, words)
    rows = rows_of(grounds.results["04_quality"]["quality"], workload=name)
    rows = [r for r in rows if r["difference"] is not None and grounds.arm_of(r["route"]) == arm]
    if not rows:
        return Fact(None, "share", "assumed", _BASIS, f"{name}: no paired items yet")
    best = max(rows, key=lambda row: row["difference"])
    # a one-sided end may lie on its wrong side
    ends = sorted(best[key] for key in ("low", "difference", "high"))
    words = f"{name}, {best['route']}: {count(best['n'])} paired items of {best['benchmark']}"
    return Fact(best["difference"], "share", best["grade"], _BASIS, words, ends[0], ends[-1])

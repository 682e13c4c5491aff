"""What a fact means against a threshold, which is called its line here.

A line comes from the source memo or from the study. An unknown value is never below its line, and a
value that is only assumed neither fires a trigger nor calms a risk: that takes evidence.
"""

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Literal, Self

from llmstudy.figure import Figure, Grade

Truth = Literal["true", "false", "unknown"]

State = Literal["active", "warning", "quiet", "no evidence"]

Status = Literal["armed", "pending", "fired", "not_applicable", "unknown"]

Position = Literal["below", "inside", "partly", "above"]

FIRING_GRADES: tuple[Grade, ...] = ("measured", "recorded", "published")

_OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
}


@dataclass(frozen=True)
class Fact:
    """One fact about a study.

    value, low, high: in `unit`, with yes as 1 and no as 0; None if unknown. If high is infinite,
    low is a lower bound. grade: of the least certain figure behind it. basis: the results, figures
    or table it comes from. sentence: the fact in a few words. source: of a quoted figure.
    """

    value: float | None
    unit: str
    grade: Grade
    basis: str
    sentence: str = ""
    low: float | None = None
    high: float | None = None
    source: str = ""

    @classmethod
    def of(cls, figure: Figure, basis: str, sentence: str = "") -> Self:
        """A figure of the study, as a fact."""
        return cls(
            figure.value,
            figure.unit,
            figure.grade,
            basis,
            sentence,
            figure.low,
            figure.high,
            figure.source,
        )

    @property
    def ends(self) -> tuple[float, float] | None:
        """Low and high, or the value twice if it has no range; None if unknown.

        >>> Fact(2.0, "FTE", "assumed", "").ends, Fact(None, "FTE", "assumed", "").ends
        ((2.0, 2.0), None)
        """
        low = self.value if self.low is None else self.low
        high = self.value if self.high is None else self.high
        return None if low is None or high is None else (low, high)


NOTHING = Fact(None, "", "assumed", "")
"""Stands for a fact that a study does not have."""


@dataclass(frozen=True)
class Judged:
    """A fact and how it compares with its line.

    state: in the words of the table that it is for. line: in the unit of the fact; None if there is
    none or it is unknown. weeks: for how many whole weeks of a log, up to the last one, the fact
    has been at its line; None if it is not judged by weeks.
    """

    state: str
    fact: Fact
    line: float | None = None
    weeks: int | None = None


def holds(value: float | None, sign: str, line: float) -> Truth:
    """Whether `value sign line` holds; unknown if the value is None.

    Raises: ValueError if the sign is not one of >, >=, <, <=, ==.

    >>> holds(3, ">=", 2), holds(1, ">=", 2), holds(None, ">=", 2)
    ('true', 'false', 'unknown')
    """
    if sign not in _OPERATORS:
        raise ValueError(f"{sign!r} is no comparison: use one of {', '.join(_OPERATORS)}.")
    if value is None:
        return "unknown"
    return "true" if _OPERATORS[sign](value, line) else "false"


def any_of(truths: Iterable[Truth]) -> Truth:
    """Whether at least one condition holds.

    >>> any_of(["false", "unknown"]), any_of(["true", "unknown"])
    ('unknown', 'true')
    """
    each = set(truths)
    return "true" if "true" in each else "unknown" if "unknown" in each else "false"


def state(fact: Fact, sign: str, warning: float, active: float) -> State:
    """The state of a risk indicator from its fact and its two lines.

    sign: `>=` or `<=`, whichever is the bad side. A fact that is only assumed warns at most.

    >>> from dataclasses import replace
    >>> fact = Fact(0.3, "share", "published", "")
    >>> state(fact, ">=", 0.1, 0.2), state(replace(fact, grade="assumed"), ">=", 0.1, 0.2)
    ('active', 'warning')
    >>> state(replace(fact, value=0.0, grade="assumed"), ">=", 0.1, 0.2)
    'no evidence'
    """
    is_evidence = fact.grade in FIRING_GRADES
    if holds(fact.value, sign, active) == "true":
        return "active" if is_evidence else "warning"
    if holds(fact.value, sign, warning) == "true":
        return "warning"
    return "quiet" if is_evidence and fact.value is not None else "no evidence"


def status(value: float | None, line: float | None, grade: Grade, sign: str = ">=") -> Status:
    """The status of a trigger from the value of its fact.

    Fired if evidence of a firing grade reaches the line; pending on weaker evidence; armed below
    the line; unknown without a value or a line.

    >>> status(0.35, 0.30, "measured"), status(0.35, 0.30, "assumed"), status(None, 0.3, "measured")
    ('fired', 'pending', 'unknown')
    """
    if value is None or line is None:
        return "unknown"
    if holds(value, sign, line) == "false":
        return "armed"
    return "fired" if grade in FIRING_GRADES else "pending"


def likely(probability: float, required: float) -> Truth:
    """Whether a condition holds, judged by the share of draws in which it does.

    required: the share of draws that must agree, above one half; else unknown.

    >>> likely(0.97, 0.8), likely(0.5, 0.8), likely(0.1, 0.8)
    ('true', 'unknown', 'false')
    """
    if probability >= required:
        return "true"
    return "false" if probability <= 1 - required else "unknown"


def position(
    claim: tuple[float | None, float | None], ours: tuple[float, float] | None
) -> Position | None:
    """Where our own range lies relative to a claimed one; None if either has no number.

    claim: low and high; a high of None has no upper end. inside: all of our range lies in the
    claim; partly: they overlap. Ranges that touch overlap.

    >>> position((0.05, 0.3), (0.06, 0.2)), position((0, 1), (0.5, 1.5)), position((0, 1), (2, 3))
    ('inside', 'partly', 'above')
    """
    low, high = claim
    if low is None or ours is None:
        return None
    top = inf if high is None else high
    if ours[1] < low:
        return "below"
    if ours[0] > top:
        return "above"
    return "inside" if low <= ours[0] and ours[1] <= top else "partly"

"""What a fact means when it is held against a line.

A line is a threshold of the memo or of the study. What is not known is never below it, and what is
only assumed neither fires a trigger nor calms a risk: only evidence does.
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
    """What is known of one thing in a study.

    value, low, high: in `unit`, yes as 1 and no as 0; None where not known. A high of infinity
    makes low a bound. grade: of the least certain figure in it. basis: the results, figures or
    table that it is read from. sentence: the same in a few words. source: of a figure that is
    itself quoted.
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
        """A figure of the study as a fact."""
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
        """Low and high, the value where it has no range; None where nothing is known.

        >>> Fact(2.0, "FTE", "assumed", "").ends, Fact(None, "FTE", "assumed", "").ends
        ((2.0, 2.0), None)
        """
        low = self.value if self.low is None else self.low
        high = self.value if self.high is None else self.high
        return None if low is None or high is None else (low, high)


NOTHING = Fact(None, "", "assumed", "")
"""The fact where a study has none."""


@dataclass(frozen=True)
class Judged:
    """A fact held against a line.

    state: in the words of its table. line: in the unit of the fact; None where it has none, or
    none is known. weeks: for how many whole weeks of a log, up to the last, the fact has reached
    its line; None where it is no weekly one.
    """

    state: str
    fact: Fact
    line: float | None = None
    weeks: int | None = None


def holds(value: float | None, sign: str, line: float) -> Truth:
    """Whether a condition holds.

    Raises: ValueError for a sign that is none of >, >=, <, <=, ==.

    >>> holds(3, ">=", 2), holds(1, ">=", 2), holds(None, ">=", 2)
    ('true', 'false', 'unknown')
    """
    if sign not in _OPERATORS:
        raise ValueError(f"{sign!r} compares nothing: write one of {', '.join(_OPERATORS)}.")
    if value is None:
        return "unknown"
    return "true" if _OPERATORS[sign](value, line) else "false"


def any_of(truths: Iterable[Truth]) -> Truth:
    """Whether one of some conditions holds, as far as that is known.

    >>> any_of(["false", "unknown"]), any_of(["true", "unknown"])
    ('unknown', 'true')
    """
    each = set(truths)
    return "true" if "true" in each else "unknown" if "unknown" in each else "false"


def state(fact: Fact, sign: str, warning: float, active: float) -> State:
    """What an indicator's fact means against its two lines. sign: `>=` or `<=`, the bad side.

    >>> from dataclasses import replace
    >>> fact = Fact(0.3, "share", "published", "")
    >>> state(fact, ">=", 0.1, 0.2), state(replace(fact, grade="assumed"), ">=", 0.1, 0.2)
    ('active', 'warning')
    >>> state(replace(fact, value=0.0, grade="assumed"), ">=", 0.1, 0.2)
    'no evidence'
    """
    bears = fact.grade in FIRING_GRADES
    if holds(fact.value, sign, active) == "true":
        return "active" if bears else "warning"
    if holds(fact.value, sign, warning) == "true":
        return "warning"
    return "quiet" if bears and fact.value is not None else "no evidence"


def status(value: float | None, line: float | None, grade: Grade, sign: str = ">=") -> Status:
    """Status of a trigger from its fact.

    Fired when evidence of a firing grade reaches the line; pending on weaker evidence; armed below
    it; unknown without a fact or a line.

    >>> status(0.35, 0.30, "measured"), status(0.35, 0.30, "assumed"), status(None, 0.3, "measured")
    ('fired', 'pending', 'unknown')
    """
    if value is None or line is None:
        return "unknown"
    if holds(value, sign, line) == "false":
        return "armed"
    return "fired" if grade in FIRING_GRADES else "pending"


def likely(probability: float, required: float) -> Truth:
    """A condition judged by draws: true or false where enough of them say so, else unknown.

    required: share of the draws, more than a half.

    >>> likely(0.97, 0.8), likely(0.5, 0.8), likely(0.1, 0.8)
    ('true', 'unknown', 'false')
    """
    if probability >= required:
        return "true"
    return "false" if probability <= 1 - required else "unknown"


def position(
    claim: tuple[float | None, float | None], ours: tuple[float, float] | None
) -> Position | None:
    """Where our own range lies against a claimed one; None where either gives no number.

    claim: low and high; a high of None is open upwards. inside: all of our range; partly: they
    overlap. Ranges that touch overlap.

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

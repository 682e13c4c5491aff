"""Values of other tools' files: their scores as numbers, and their texts."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from llmstudy.text import excerpt

_GRADES = {
    "c": 1.0,
    "correct": 1.0,
    "true": 1.0,
    "yes": 1.0,
    "y": 1.0,
    "pass": 1.0,
    "passed": 1.0,
    "i": 0.0,
    "incorrect": 0.0,
    "wrong": 0.0,
    "false": 0.0,
    "no": 0.0,
    "n": 0.0,
    "fail": 0.0,
    "failed": 0.0,
    "partial": 0.5,
}
"""Grades in words. `C`, `I`, `N` (no answer) and partial are of inspect_ai's `value_to_float`."""

_EMPTY = ("", "null", "none", "nan", "n/a", "na")


@dataclass(frozen=True)
class Score:
    """One scorer's score of one answer, as the file has it: `number` reads the value."""

    value: Any
    answer: Any = None
    extracted: bool | None = None
    error: str | None = None
    judge: str | None = None
    scoring_usd: Any = None


@dataclass(frozen=True)
class Answer:
    """One answer of a route to an item: its columns of the table, and its scores by scorer.

    default_run: names the run where several files have answers of one route to one item.
    """

    columns: dict[str, Any]
    scores: dict[str, Score]
    file: str
    default_run: str | None = field(default=None)


def number(value: Any) -> float | None:
    """A score as a number; None where there is none.

    value: a number, true or false, a share such as `85%`, or a grade in words.
    Raises: ValueError for any other value, and for one that can be read in two ways.

    >>> [number(value) for value in (True, "incorrect", "0.25", "85%", "C", None, "nan")]
    [1.0, 0.0, 0.25, 0.85, 1.0, None, None]
    >>> number("P")
    Traceback (most recent call last):
    ValueError: score 'P' may be a pass or partly right: write 1 or 0.5
    """
    if value is None or isinstance(value, bool | int | float):
        return _finite(value)
    word = value.strip().casefold() if isinstance(value, str) else None
    if word in _EMPTY:
        return None
    if word in _GRADES:
        return _GRADES[word]
    if word == "p":
        raise ValueError("score 'P' may be a pass or partly right: write 1 or 0.5")
    try:
        figure = float(word.rstrip("% ") if word and "_" not in word else "")
    except ValueError:
        raise ValueError(
            f"score {_shown(value)} is not a number, true or false, correct or incorrect"
        ) from None
    return _finite(figure / 100 if str(word).endswith("%") else figure)


def _finite(value: float | None) -> float | None:
    try:
        score = math.nan if value is None else float(value)
    except OverflowError:
        score = math.inf
    if math.isinf(score):
        raise ValueError(f"score {_shown(value)} is not finite: leave it empty where not scored")
    return None if math.isnan(score) else score


def _shown(value: Any) -> str:
    return excerpt(repr(text(value)) if isinstance(value, str) else str(text(value)), 40)


def text(value: Any) -> str | None:
    """A value as text that any file can hold; lists and objects as JSON, null as None.

    >>> text({"b": 1}), text(3), text("")
    ('{"b": 1}', '3', None)
    """
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, dict | list | tuple):
        value = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    written = str(value)
    return written if written.isascii() else written.encode("utf-8", "replace").decode()


def at(value: Any, *names: str | int) -> Any:
    """What lies in a document at a path of keys and places; None where it does not go so deep.

    >>> at({"a": [{"b": 1}]}, "a", 0, "b"), at({"a": 2}, "a", "b")
    (1, None)
    """
    for name in names:
        if isinstance(value, dict):
            value = value.get(name)
        elif isinstance(value, list) and isinstance(name, int) and name < len(value):
            value = value[name]
        else:
            return None
    return value


def objects(value: Any) -> list[dict[str, Any]]:
    """The objects of a list; none of a value that is no list."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def entries(value: Any) -> dict[str, Any]:
    """The entries of an object; none of a value that is no object."""
    return {str(key): each for key, each in value.items()} if isinstance(value, dict) else {}


def total(values: Sequence[Any], what: str) -> float | None:
    """The sum of those that are given; None where none is.

    Raises: ValueError for one that is not a number.

    >>> total([3, None, "4"], "tokens"), total([None], "tokens")
    (7.0, None)
    """
    given = [value for value in values if value is not None and value != ""]
    try:
        numbers = [float(value) for value in given]
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{what} {_shown(given)} are not numbers: export the file again") from None
    return math.fsum(numbers) if numbers and all(map(math.isfinite, numbers)) else None


def sole(value: Any) -> Any:
    """The value of an object with one entry, such as the only variable of a prompt; else itself.

    >>> sole({"question": "2 + 2?"}), sole({"a": 1, "b": 2})
    ('2 + 2?', {'a': 1, 'b': 2})
    """
    return next(iter(value.values())) if isinstance(value, dict) and len(value) == 1 else value


def labels(metadata: Any) -> dict[str, Any]:
    """The columns of the table that an item's metadata names as the table does."""
    names = ("cluster", "slice", "workload")
    return {name: text(at(metadata, name)) for name in names if at(metadata, name) is not None}

"""Reads one quantity of a study, with its range and source, as a `Figure` in its internal unit.

An error message here follows the quantity's path in a sentence; `loading` puts file, line and path
before it.
"""

import csv
from collections.abc import Mapping
from dataclasses import fields
from datetime import date
from functools import cache
from typing import Any

from pydantic import BeforeValidator

from llmstudy import paths, units
from llmstudy.figure import DISTRIBUTIONS, GRADES, Figure
from llmstudy.study.fields import TEXT_LENGTH, day
from llmstudy.text import excerpt

_REQUIRED = {"value", "unit", "source", "as_of", "grade"}
_ALLOWED = _REQUIRED | {"range", "distribution", "expires"}

MOST = 1e15
"""Largest value of a quantity: sums and products of larger ones could overflow a float."""


@cache
def bundled_figures() -> Mapping[str, Figure]:
    """The figures of `data/assumptions.csv` by name, which a study may use as `{figure: NAME}`.

    >>> bundled_figures()["drift.gpu"].unit
    'factor/year'
    """
    with paths.data("assumptions.csv").open(newline="") as file:
        return {row["name"]: _bundled(row) for row in csv.DictReader(file)}


def _bundled(row: Mapping[str, Any]) -> Figure:
    return Figure(
        name=row["name"],
        value=float(row["value"]),
        unit=row["unit"],
        low=float(row["low"]),
        high=float(row["high"]),
        distribution=row["distribution"],
        grade=row["grade"],
        source=row["source"],
        as_of=date.fromisoformat(row["as_of"]),
    )


def quantity(
    unit: str, low: float = 0.0, high: float = MOST, unknown: str | None = None
) -> BeforeValidator:
    """A validator that reads a quantity as a `Figure` in `unit`.

    It accepts `"400 ms"`; `{value, unit, range, distribution, source, as_of, grade, expires}`;
    `{figure: NAME}` for a bundled figure; and the answer `unknown`, for which the bundled
    figure named by the argument `unknown` is a wide prior. Value and range must lie in [low, high].

    >>> quantity("s", high=3600).func("400 ms").value
    0.4
    """

    def read(entry: Any) -> Figure:
        if isinstance(entry, Figure):
            return entry
        if entry == "unknown" and unknown:
            return bundled_figures()[unknown]
        figure = _figure(entry, unit)
        ends = [x for x in (figure.value, figure.low, figure.high) if x is not None]
        if min(ends) < low or max(ends) > high:
            wrong = min(ends) if min(ends) < low else max(ends)
            says = "is" if wrong == figure.value else "ranges to"
            upper = f" to {high:g}" if high < MOST or wrong > high else " or more"
            raise ValueError(f"{says} {wrong:g} {unit}, but must be {low:g}{upper} {unit}.")
        return figure

    return BeforeValidator(read)


def _figure(entry: Any, unit: str) -> Figure:
    if isinstance(entry, int | float) and not isinstance(entry, bool):
        raise ValueError(f"is {entry}, but a unit is missing. {units.examples(float(entry), unit)}")
    if isinstance(entry, str):
        return Figure("", units.parse(entry, unit), unit, source="study file")
    if not isinstance(entry, Mapping):
        raise ValueError(f"is not a quantity. {units.examples(1, unit)}")
    if set(entry) == {"figure"}:
        return _bundled_figure(str(entry["figure"]), unit)
    return _long_form(entry, unit)


def _bundled_figure(name: str, unit: str) -> Figure:
    figure = bundled_figures().get(name)
    if figure is None:
        alike = (n for n, f in bundled_figures().items() if f.unit == unit)
        names = ", ".join(n for n in alike if not n.startswith("unknown.")) or "none"
        raise ValueError(
            f'names the figure "{excerpt(name)}", which is not bundled. Those in {unit}: {names}.'
        )
    if figure.unit != unit:
        raise ValueError(f'names the figure "{name}" in {figure.unit}, but needs {unit}.')
    return figure


def _long_form(entry: Mapping[str, Any], unit: str) -> Figure:
    if unknown := set(entry) - _ALLOWED:
        raise ValueError(
            f"has the unknown key {excerpt(repr(min(unknown)))}. Use {', '.join(sorted(_ALLOWED))}."
        )
    if missing := {key for key in _REQUIRED if entry.get(key) in (None, "")}:
        raise ValueError(f"lacks {', '.join(sorted(missing))}: add what an assumption must have.")
    if entry["grade"] not in GRADES:
        raise ValueError(
            f"has the grade {excerpt(repr(entry['grade']))}. Use one of {', '.join(GRADES)}."
        )
    if entry.get("distribution", "fixed") not in DISTRIBUTIONS:
        raise ValueError(
            f"has the distribution {excerpt(repr(entry['distribution']))}. "
            f"Use one of {', '.join(DISTRIBUTIONS)}."
        )
    scale = units.factor(str(entry["unit"]), unit)
    ranged = "range" in entry
    low, high = _ends(entry["range"]) if ranged else (None, None)
    return Figure(
        name="",
        value=_number(entry["value"], "value") * scale,
        unit=unit,
        low=None if low is None else low * scale,
        high=None if high is None else high * scale,
        distribution=entry.get("distribution", "triangular" if ranged else "fixed"),
        grade=entry["grade"],
        source=_source(entry["source"]),
        as_of=_day(entry["as_of"], "as_of"),
        expires=_day(entry["expires"], "expires") if "expires" in entry else None,
    )


def _ends(ends: Any) -> tuple[float, float]:
    if not isinstance(ends, list) or len(ends) != 2:
        raise ValueError(
            f"has the range {excerpt(repr(ends))}, but a range is two numbers: [low, high]."
        )
    return _number(ends[0], "low end"), _number(ends[1], "high end")


def _number(number: Any, what: str) -> float:
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise ValueError(
            f"has the {what} {excerpt(repr(number))}, which is not a number. Write digits "
            "with a decimal point; the unit belongs in `unit`."
        )
    return float(number)


def _source(text: Any) -> str:
    if not isinstance(text, str) or not text.strip():
        raise ValueError(
            f"has the source {excerpt(repr(text))}, which is not text: write it in quotes."
        )
    if len(text) > TEXT_LENGTH:
        raise ValueError(
            f"has a source of {len(text):,} characters, but at most {TEXT_LENGTH}: shorten it."
        )
    return text


def _day(text: Any, key: str) -> date:
    try:
        return day(text)
    except ValueError as error:
        raise ValueError(f"has {key} {str(error).removeprefix('is ')}") from None


_FIGURE = {field.name for field in fields(Figure)}


def with_figures(node: Any) -> Any:
    """A study's values with a `Figure` in place of each mapping that has the keys of one."""
    if isinstance(node, Mapping):
        if set(node) == _FIGURE:
            days = {key: _iso_day(node[key]) for key in ("as_of", "expires")}
            return Figure(**{**node, **days})
        return {key: with_figures(value) for key, value in node.items()}
    return [with_figures(value) for value in node] if isinstance(node, list | tuple) else node


def _iso_day(text: str | date | None) -> date | None:
    return date.fromisoformat(text) if isinstance(text, str) else text

"""Units of a study file, which a quantity may have and how they convert; and whole months."""

import re
from datetime import date

import pandas as pd

from llmstudy.text import excerpt

HOURS_PER_MONTH = 730.0
"""Mean hours of a month (365 * 24 / 12), the convention of cloud price lists."""

DAYS_PER_MONTH = HOURS_PER_MONTH / 24

HOURS_PER_WEEK = 168

DAY_US = 86_400_000_000
"""Microseconds of a day."""

_MONTH_S = HOURS_PER_MONTH * 3600

UNITS: dict[str, dict[str, float]] = {
    "s": {"s": 1, "ms": 1e-3, "min": 60, "h": 3600},
    "share": {"share": 1, "%": 1e-2, "pp": 1e-2},
    "share/month": {"share/month": 1, "%/month": 1e-2},
    "share/year": {"share/year": 1, "%/year": 1e-2},
    "factor/year": {"factor/year": 1},
    "factor": {"factor": 1, "x": 1},
    "requests/month": {
        "requests/month": 1,
        "requests/day": DAYS_PER_MONTH,
        "requests/h": HOURS_PER_MONTH,
        "requests/s": _MONTH_S,
    },
    "tokens/request": {"tokens/request": 1, "tokens": 1},
    "tokens": {"tokens": 1, "k tokens": 1e3},
    "USD": {"USD": 1, "k USD": 1e3, "M USD": 1e6},
    "USD/month": {"USD/month": 1, "k USD/month": 1e3, "USD/year": 1 / 12},
    "USD/year": {"USD/year": 1, "USD/month": 12},
    "USD/item": {"USD/item": 1},
    "USD/answer": {"USD/answer": 1},
    "items/week": {"items/week": 1},
    "USD/upgrade": {"USD/upgrade": 1},
    "USD/1k requests": {"USD/1k requests": 1, "USD/request": 1000},
    "USD/Mtok": {"USD/Mtok": 1},
    "requests/min": {"requests/min": 1, "k requests/min": 1e3},
    "tokens/min": {"tokens/min": 1, "k tokens/min": 1e3, "M tokens/min": 1e6},
    "USD/h": {"USD/h": 1},
    "USD/GPU": {"USD/GPU": 1, "k USD/GPU": 1e3},
    "W/GPU": {"W/GPU": 1, "kW/GPU": 1e3},
    "USD/kWh": {"USD/kWh": 1, "USD/MWh": 1e-3},
    "USD/kW/month": {"USD/kW/month": 1},
    "FTE": {"FTE": 1},
    "replicas": {"replicas": 1},
    "upgrades/year": {"upgrades/year": 1},
    "switches/year": {"switches/year": 1},
    "jumps/year": {"jumps/year": 1},
    "months": {"months": 1, "years": 12},
    "weeks": {"weeks": 1, "months": 52 / 12},
    "days": {"days": 1, "weeks": 7},
}
"""Internal unit -> units that a study may write -> factor to the internal unit."""

_QUANTITY = re.compile(r"([-+]?[0-9][0-9_,.]*(?:[eE][-+]?[0-9]+)?)\s*(.*)")

# commas part thousands only after a leading digit above 0: in 0,400 the comma is a decimal comma
_NUMBER = re.compile(
    r"[-+]?(?:[1-9][0-9]{0,2}(?:,[0-9]{3})+|[0-9]+(?:_[0-9]+)*)(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?"
)


def factor(source_unit: str, unit: str) -> float:
    """How many `unit` one `source_unit` is.

    Raises: ValueError that names the units allowed.

    >>> factor("ms", "s")
    0.001
    """
    legal = UNITS[unit]
    if source_unit not in legal:
        raise ValueError(
            f'has the unit "{excerpt(source_unit)}", but needs one of: {", ".join(legal)}'
        )
    return legal[source_unit]


def parse(text: str, unit: str) -> float:
    """The value, in `unit`, of a quantity written as a number and a unit.

    Raises: ValueError without a number or a unit, for a decimal comma, or for a unit of another
    dimension.

    >>> parse("400 ms", "s")
    0.4
    >>> parse("1,200,000 requests/month", "requests/month")
    1200000.0
    """
    match = _QUANTITY.fullmatch(text.strip())
    if match is None:
        raise ValueError(
            f'is "{excerpt(text)}", which is not a number with a unit. {examples(1.0, unit)}'
        )
    if _NUMBER.fullmatch(match[1]) is None:
        raise ValueError(
            f'is "{excerpt(text)}", whose number cannot be read: decimals follow a point, and '
            f'commas part thousands in groups of three. Write "0.4 {unit}" or "1,200 {unit}".'
        )
    number = float(match[1].replace(",", "").replace("_", ""))
    if not match[2]:
        raise ValueError(f"is {excerpt(text)}, but a unit is missing. {examples(number, unit)}")
    return number * factor(match[2], unit)


def examples(number: float, unit: str) -> str:
    """Two ways to write a number with a unit, for a message about one that has none.

    >>> examples(400, "s")
    'Write "400 s" or "400 ms".'
    """
    return "Write " + " or ".join(f'"{number:g} {name}"' for name in list(UNITS[unit])[:2]) + "."


def month_start(as_of: date, months: int) -> date:
    """The same day of the month `months` later, or that month's last day where it is shorter.

    >>> month_start(date(2026, 11, 30), 3)
    datetime.date(2027, 2, 28)
    """
    return (pd.Timestamp(as_of) + pd.DateOffset(months=months)).date()


def months_until(as_of: date, day: date) -> float:
    """Months from a day to a later one, the last month counted by its days; 0 for an earlier day.

    >>> months_until(date(2026, 11, 23), date(2026, 12, 8))
    0.5
    """
    whole = 12 * (day.year - as_of.year) + day.month - as_of.month
    whole -= month_start(as_of, whole) > day
    begins, ends = month_start(as_of, whole), month_start(as_of, whole + 1)
    return max(whole + (day - begins) / (ends - begins), 0.0)

"""Types of the names, sentences, days, paths and whole numbers of a study.

They are strict: true is not a number, 20261101 is not a date, and a name is not empty. An error
message here follows the value's path in a sentence; `loading` puts file, line and path before it.
"""

import re
from datetime import date
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from llmstudy.text import excerpt

NAME_LENGTH, TEXT_LENGTH = 80, 500
"""Characters at most, so that a name fits a chart and a text fits a page."""

LAST_DAY = date(2100, 12, 31)
"""The latest day of a study or of a check."""

_RESERVED = {"all"}
"""Names that tables and charts use for all workloads together."""


def day(value: Any) -> date:
    """A date from text such as 2026-11-01; a date is returned as it is.

    Raises: ValueError for any other spelling, and for a day that does not exist.

    >>> day("2026-11-01").year
    2026
    """
    if type(value) is date:
        return value
    try:
        if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", str(value)):
            raise ValueError
        return date.fromisoformat(str(value))
    except ValueError:
        raise ValueError(
            f'is "{excerpt(str(value))}", which is not a date. Write it as 2026-11-01.'
        ) from None


def _near(value: date) -> date:
    if not date(2000, 1, 1) <= value <= LAST_DAY:
        raise ValueError(f"is {value}, but must be a day from 2000 to {LAST_DAY.year}.")
    return value


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty: fill it in, or remove the key if it is optional.")
    return text


def _name(name: str) -> str:
    if name != name.strip() or not name.strip("."):
        raise ValueError(
            f'is "{name}", but a name must not be empty or dots alone, or begin or end with '
            "a space."
        )
    return name


def _unreserved(name: str) -> str:
    if name.lower() in _RESERVED:
        raise ValueError(f'is "{name}", which tables use for all workloads: choose another name.')
    return name


def _path(value: Any) -> Any:
    if isinstance(value, Path) or (isinstance(value, str) and value.strip()):
        return value
    raise ValueError(
        f"is {excerpt(repr(value))}, which is not a path: write the path of a file in quotes."
    )


Day = Annotated[date, BeforeValidator(day)]
NearDay = Annotated[Day, AfterValidator(_near)]
Text = Annotated[str, Field(max_length=TEXT_LENGTH), AfterValidator(_not_blank)]
Name = Annotated[str, Field(max_length=NAME_LENGTH), AfterValidator(_name)]
WorkloadName = Annotated[Name, AfterValidator(_unreserved)]
Place = Annotated[Path, BeforeValidator(_path)]
Count = Annotated[int, Field(strict=True, ge=0, le=10**9)]

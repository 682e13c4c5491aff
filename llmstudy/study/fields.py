"""How are names, sentences, days, paths and whole numbers written in a study?

Strictly: true is no number, 20261101 no day, and an empty name no name. A message here is what
follows a value's path in a sentence; `loading` puts file, line and path before it.
"""

import re
from datetime import date
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from llmstudy.text import excerpt

NAME_LENGTH, TEXT_LENGTH = 80, 500
"""Characters: a name must fit a chart or a table, a text a page."""

LAST_DAY = date(2100, 12, 31)
"""The latest day that a study may be as of, or be checked on."""

_RESERVED = {"all"}
"""What tables and charts call all workloads together."""


def day(value: Any) -> date:
    """A day as YAML, JSON or a caller gives it.

    Raises: ValueError for what is not written as 2026-11-01, or is in no calendar.

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
        raise ValueError("is empty: write it, or leave the key out where it may be left out.")
    return text


def _name(name: str) -> str:
    if name != name.strip() or not name.strip("."):
        raise ValueError(
            f'is "{name}", but a name is neither empty nor dots alone, and begins and ends with '
            "no space."
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
        f"is {excerpt(repr(value))}, which is no path: write that of a file in quotes."
    )


Day = Annotated[date, BeforeValidator(day)]
NearDay = Annotated[Day, AfterValidator(_near)]
Text = Annotated[str, Field(max_length=TEXT_LENGTH), AfterValidator(_not_blank)]
Name = Annotated[str, Field(max_length=NAME_LENGTH), AfterValidator(_name)]
WorkloadName = Annotated[Name, AfterValidator(_unreserved)]
Place = Annotated[Path, BeforeValidator(_path)]
Count = Annotated[int, Field(strict=True, ge=0, le=10**9)]

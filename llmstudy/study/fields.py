"""How are names, sentences, days, paths and whole numbers written in a study?

Strictly: true is no number, 20261101 no day, and an empty name no name. What is left of a message
after a value's path stands here; `loading` puts file, line and path before it.
"""

import re
from datetime import date
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from llmstudy.text import excerpt

NAME_LENGTH, TEXT_LENGTH = 80, 500
"""Characters that a chart or a table has room for, and that a page has."""

LAST_DAY = date(2100, 12, 31)
"""No study is as of a later day, and none can be checked on one."""

_RESERVED = {"all"}
"""What tables and charts call all workloads together."""


def day(given: Any) -> date:
    """A day as YAML, JSON or a caller gives it.

    Raises: ValueError for what is not written as 2026-11-01, or is in no calendar.

    >>> day("2026-11-01").year
    2026
    """
    if type(given) is date:
        return given
    try:
        if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", str(given)):
            raise ValueError
        return date.fromisoformat(str(given))
    except ValueError:
        raise ValueError(
            f'is "{excerpt(str(given))}", which is not a date. Write it as 2026-11-01.'
        ) from None


def _near(given: date) -> date:
    if not date(2000, 1, 1) <= given <= LAST_DAY:
        raise ValueError(f"is {given}, but must be a day from 2000 to {LAST_DAY.year}.")
    return given


def _not_blank(given: str) -> str:
    if not given.strip():
        raise ValueError("is empty: write it, or leave the key out where it may be left out.")
    return given


def _name(given: str) -> str:
    if given != given.strip() or not given.strip("."):
        raise ValueError(
            f'is "{given}", but a name is neither empty nor dots alone, and begins and ends with '
            "no space."
        )
    return given


def _unreserved(given: str) -> str:
    if given.lower() in _RESERVED:
        raise ValueError(f'is "{given}", which tables use for all workloads: choose another name.')
    return given


def _path(given: Any) -> Any:
    if isinstance(given, Path) or (isinstance(given, str) and given.strip()):
        return given
    raise ValueError(
        f"is {excerpt(repr(given))}, which is no path: write that of a file in quotes."
    )


Day = Annotated[date, BeforeValidator(day)]
NearDay = Annotated[Day, AfterValidator(_near)]
Text = Annotated[str, Field(max_length=TEXT_LENGTH), AfterValidator(_not_blank)]
Name = Annotated[str, Field(max_length=NAME_LENGTH), AfterValidator(_name)]
WorkloadName = Annotated[Name, AfterValidator(_unreserved)]
Place = Annotated[Path, BeforeValidator(_path)]
Count = Annotated[int, Field(strict=True, ge=0, le=10**9)]

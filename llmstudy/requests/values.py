"""What does a text in a log mean: which number, which moment, an answer or a failure?

Each function gives SQL that turns the text of a field into a value, null where it does not fit.
What can be read in two ways is settled by the other values of the file where they can tell, and
else is a question that names the key which settles it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from duckdb import DuckDBPyConnection as Connection

from llmstudy.requests.containers import literal
from llmstudy.requests.mapping import LogMapping
from llmstudy.text import excerpt


class QuestionError(ValueError):
    """What a log leaves open, and the declaration that settles it; the file's name comes before."""


# --- numbers --------------------------------------------------------------------------------

_GROUPED = r"[-+]?\d{1,3}(?:SIGN\d{3})+"
_DECIMAL = r"[-+]?\d*SIGN\d+"


@dataclass(frozen=True)
class Signs:
    """The signs in the numbers of a file: of the fraction, and between thousands, if any."""

    decimal: str = "."
    thousands: str = ""

    def sql(self, text: str) -> str:
        """SQL for a text with the signs of SQL."""
        if self.thousands:
            text = f"replace({text}, {literal(self.thousands)}, '')"
        return text if self.decimal == "." else f"replace({text}, {literal(self.decimal)}, '.')"


def signs(fields: dict[str, str], mapping: LogMapping, table: str, connection: Connection) -> Signs:
    """The signs of a file's numbers, as declared or as all of them together show.

    fields: those with numbers, and `whole` or `any`. A dot or comma before three digits parts
    thousands if a count of tokens would else have a fraction; if every such count could be either
    (`1.000`), only a declaration can tell.
    Raises: QuestionError with the question.
    """
    if mapping.decimal or mapping.thousands:
        decimal = mapping.decimal or ("," if mapping.thousands == "." else ".")
        return Signs(decimal, mapping.thousands or {",": ".", ".": ","}[decimal])
    marked = _marked(fields, table, connection)
    fields = {name: kind for name, kind in fields.items() if any(name in x for x in marked)}
    dots, commas, _ = marked
    if dots and not commas and not any(fields[name] == "whole" for name in dots):
        return Signs()
    counts = _sign_counts(fields, table, connection)
    if not any(counts[f"{name}_{sign}"] for name in fields for sign in ("dot", "comma")):
        spaced = any(counts[f"{name}_spaced"] for name in fields)
        return Signs(".", " ") if spaced else Signs()

    def of(what: str, kinds: tuple[str, ...] = ("whole", "any")) -> bool:
        return any(counts[f"{name}_{what}"] for name, kind in fields.items() if kind in kinds)

    if of("comma_last") or (of("comma_fraction") and not of("dot_fraction")):
        return Signs(",", ".")
    if of("dot_last"):
        return Signs(".", ",")
    whole = ("whole",)
    if of("dot_group", whole) and not of("dot_fraction", whole):
        return Signs(",", ".")
    if of("comma_group", whole):
        return Signs(".", ",")
    for sign in ("dot", "comma"):
        for name, kind in fields.items():
            fraction = counts[f"{name}_{sign}_fraction"] or (sign == "dot" and of("dot_fraction"))
            if kind == "whole" and counts[f"{name}_{sign}_round"] and not fraction:
                mark = {"dot": ".", "comma": ","}[sign]
                raise QuestionError(
                    f"{name} is {counts[f'{name}_{sign}_example']!r}, which may be one or a "
                    f'thousand: declare `thousands: "{mark}"`, or `decimal: "{mark}"`, under '
                    "`requests`, or as an argument"
                )
    return Signs()


def _marked(fields: dict[str, str], table: str, connection: Connection) -> list[set[str]]:
    """The fields in which there is a dot, a comma, a space."""
    parts = [f"bool_or(contains({name}_text, '{mark}'))" for mark in "., " for name in fields]
    if not parts:
        return [set(), set(), set()]
    [seen] = connection.sql(f"SELECT {', '.join(parts)} FROM {table}").fetchall()
    n = len(fields)
    return [{name for name, there in zip(fields, seen[i * n :], strict=False) if there}
            for i in range(3)]  # fmt: skip


def _sign_counts(fields: dict[str, str], table: str, connection: Connection) -> dict[str, Any]:
    parts = []
    for name in fields:
        text = f"{name}_text"
        parts.append(
            f"count(*) FILTER (regexp_full_match({text}, '{_GROUPED}'))".replace("SIGN", " ")
            + f" AS {name}_spaced"
        )
        for sign, mark, other in (("dot", r"\.", ","), ("comma", ",", r"\.")):
            grouped = f"regexp_full_match({text}, '{_GROUPED}')".replace("SIGN", mark)
            rounded = f"regexp_full_match({text}, '[-+]?\\d{{1,3}}(?:{mark}000)+')"
            fraction = f"regexp_full_match({text}, '{_DECIMAL}')".replace("SIGN", mark)
            last = f"regexp_full_match({text}, '[-+]?\\d{{1,3}}(?:{other}\\d{{3}})+{mark}\\d+')"
            parts += [
                f"count(*) FILTER (contains({text}, '{mark[-1]}')) AS {name}_{sign}",
                f"greatest(count(*) FILTER ({grouped} AND NOT {rounded})"
                f" - count(*) FILTER (regexp_full_match({text}, '\\d{{4,}}')), 0)"
                f" AS {name}_{sign}_group",
                f"count(*) FILTER ({rounded}) AS {name}_{sign}_round",
                f"any_value({text}) FILTER ({rounded}) AS {name}_{sign}_example",
                f"count(*) FILTER ({fraction} AND NOT {grouped}) AS {name}_{sign}_fraction",
                f"count(*) FILTER ({last}) AS {name}_{sign}_last",
            ]
    if not parts:
        return {}
    row = connection.sql(f"SELECT {', '.join(parts)} FROM {table}").df().iloc[0]
    return dict(row)


def whole(text: str, marks: Signs) -> str:
    """SQL for a whole number; one with a fraction is null, as it was cut or is in another unit."""
    value = marks.sql(text)
    return (
        f"CASE WHEN TRY_CAST({value} AS DOUBLE) = TRY_CAST({value} AS BIGINT)"
        f" THEN TRY_CAST({value} AS BIGINT) END"
    )


def number(text: str, marks: Signs) -> str:
    """SQL for a finite number."""
    value = f"TRY_CAST({marks.sql(text)} AS DOUBLE)"
    return f"CASE WHEN isfinite({value}) THEN {value} END"


# --- moments and durations ------------------------------------------------------------------

FEW = 0.05
"""Share of a file's values that are errors in their rows, not how its times are written."""

SECONDS = {"days": 86_400.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "ticks": 1e-7}
USD = {"usd": 1.0, "cents": 1e-2, "nano-usd": 1e-9}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICKS_1970 = 621_355_968_000_000_000
"""Ticks of 100 ns from the year 1, as .NET counts them, to 1970."""
_DAYS_2018, _DAYS_2200 = 43_101, 109_575
"""Days from 1899-12-30, as spreadsheets count them."""

_CLOCKS = (
    "",
    " %H:%M",
    " %H:%M:%S",
    " %H:%M:%S.%f",
    " %I:%M %p",
    " %I:%M:%S %p",
    " %I:%M:%S.%f %p",
)
_SLASHED = r"^\d{1,2}/\d{1,2}/(\d{4}|\d{2})($|[ ,])|^\d{1,2}-\d{1,2}-\d{4}($|[ ,])"
_DOTTED = r"^\d{1,2}\.\d{1,2}\.(\d{4}|\d{2})($|[ ,])"
_NAMED = r"^\d{1,2}[ /-][A-Za-z]|^[A-Za-z]{3,9}[ ,]|^\d{8}T"
_UNTIDY = r"\d,\d{1,9}$|[+-]\d{4} [A-Z]{3,4}$"
"""A comma before the fraction of a second, and a zone that stands twice, `+0000 UTC`."""


def _forms(*dates: str) -> list[str]:
    return [
        f"{date}{comma}{clock}"
        for date in dates
        for clock in _CLOCKS
        for comma in (("", ",") if clock else ("",))
    ]


_NAMED_FORMS = (
    "%a, %d %b %Y %H:%M:%S %Z",
    "%d/%b/%Y:%H:%M:%S %z",
    "%Y%m%dT%H%M%SZ",
    *_forms("%b %d, %Y", "%B %d, %Y", "%d %b %Y", "%d-%b-%Y", "%d %B %Y"),
)


@dataclass(frozen=True)
class Clock:
    """How the times of a file are read: forms of dates, zone, unit and origin of numbers."""

    forms: tuple[str, ...] = ()
    zone: str = "UTC"
    unit: str | None = None
    origin_us: int | None = None
    is_untidy: bool = False

    def sql(self, text: str) -> str:
        """SQL for a moment, to the microsecond."""
        if self.is_untidy:
            text = rf"regexp_replace({text}, '(\d),(\d{{1,9}})$', '\1.\2')"
            text = rf"regexp_replace({text}, ' *([+-]\d{{4}}) [A-Z]{{3,4}}$', '\1')"
        number = f"TRY_CAST({text} AS DOUBLE)"
        exact = f"TRY_CAST({text} AS HUGEINT)"
        if self.origin_us is not None:
            since_us = f"CAST(round({number} * {SECONDS[self.unit or 's'] * 1e6:g}) AS BIGINT)"
            moment = f"make_timestamptz({self.origin_us} + {since_us})"
            return f"CASE WHEN isfinite({number}) AND abs({number}) < 1e15 THEN {moment} END"
        if self.unit == "ticks":
            return f"CASE WHEN {exact} IS NOT NULL THEN {_ticks(exact)} END"
        if self.unit:
            since = (
                f"make_timestamptz(CAST(round({number} * {SECONDS[self.unit] * 1e6:g}) AS BIGINT))"
            )
            return f"CASE WHEN abs({number} * {SECONDS[self.unit]:g}) < 1e11 THEN {since} END"
        # 1e8 s is in 1973 and 1e11 s in 5138; ms, us and ns follow, three digits apart
        since = f"to_timestamp({number} / 1000 ** floor((log10({number}) - 8) / 3))"
        written = f"TRY_CAST({text} AS TIMESTAMPTZ)"
        if self.zone != "UTC":
            plain = rf"regexp_full_match({text}, '[0-9-]+([T ][0-9:.]+)?')"
            local = f"timezone({literal(self.zone)}, TRY_CAST({text} AS TIMESTAMP))"
            written = f"CASE WHEN {plain} THEN {local} ELSE {written} END"
        formed = ""
        if self.forms:
            form = f"try_strptime({text}, [{', '.join(map(literal, self.forms))}])"
            formed = (
                f" WHEN {form} IS NOT NULL THEN timezone({literal(self.zone)}, {form}::TIMESTAMP)"
            )
        return (
            f"CASE WHEN {number} >= 6e17 AND {number} < 7e17 THEN {_ticks(exact)}"
            f" WHEN {number} BETWEEN 1e8 AND 9.9e19 THEN {since}"
            f"{formed} WHEN isfinite({written}) THEN {written} END"
        )


def _ticks(exact: str) -> str:
    return f"make_timestamptz((({exact} - {_TICKS_1970}) // 10)::BIGINT)"


def clock(fields: Sequence[str], mapping: LogMapping, table: str, connection: Connection) -> Clock:
    """How the times of a file are read, as declared or as all of them together show.

    Raises: QuestionError with the question, where a day and a month could be either, or times count
    from a moment that the file does not name.
    """
    zone, unit = mapping.time_zone or "UTC", mapping.units.get("ts_start")
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError):
        raise QuestionError(
            f"time_zone {zone!r} is unknown: write one such as Europe/Berlin or UTC"
        ) from None
    if mapping.time_origin is not None:
        origin = mapping.time_origin
        if origin.tzinfo is None:
            origin = origin.replace(tzinfo=ZoneInfo(zone))
        return Clock((), zone, unit, (origin - _EPOCH) // timedelta(microseconds=1))
    if mapping.time_form:
        return Clock((mapping.time_form,), zone, unit)
    text = f"{fields[0]}_text"
    slashed, dotted = (f"regexp_matches({text}, '{form}')" for form in (_SLASHED, _DOTTED))
    number = f"TRY_CAST({text} AS DOUBLE)"

    def part(nth: int) -> str:
        both = r"^(\d{1,2})[/-](\d{1,2})"
        return f"max(TRY_CAST(regexp_extract({text}, '{both}', {nth}) AS INT)) FILTER ({slashed})"

    [(n, relative, lowest, highest, slashes, *seen, dots, named, untidy)] = connection.sql(
        f"SELECT count({text}), count(*) FILTER ({number} < 1e8), min({number}), max({number}),"
        f" count(*) FILTER ({slashed}), {part(1)}, {part(2)}, any_value({text}) FILTER ({slashed}),"
        f" any_value({text}) FILTER ({dotted}),"
        f" count(*) FILTER (regexp_matches({text}, '{_NAMED}')),"
        f" count(*) FILTER (regexp_matches({text}, '{_UNTIDY}')) FROM {table}"
    ).fetchall()
    if n and relative == n and (highest or 0) > 0 and not unit:
        is_excel = lowest >= _DAYS_2018 and highest <= _DAYS_2200
        day, unit_ = ("1899-12-30", "days") if is_excel else ("2026-11-02", "ms")
        raise QuestionError(
            f"{fields[0]} counts from a moment that the log does not name (its highest is "
            f"{highest:g}): declare `time_origin: {day}T00:00:00` and its unit, such as "
            f"`units: {{ts_start: {unit_}}}`, under `requests`, or as arguments"
        )
    forms: list[str] = list(_NAMED_FORMS) if named else []
    if dots:
        forms += _forms(f"%d.%m.{_year(dots)}")
    if slashes > FEW * n:
        first, second, example = seen
        sign, year = "/" if "/" in example else "-", _year(example)
        day_first, month_first = (sign.join(x) for x in (("%d", "%m", year), ("%m", "%d", year)))
        if first > 12 and second > 12:
            raise QuestionError(
                f"{fields[0]} has days and months in both orders, as {excerpt(example, 30)!r}: "
                "export the log with times such as 2026-11-02T09:00:00Z"
            )
        if first <= 12 and second <= 12:
            raise QuestionError(
                f"{fields[0]} is {excerpt(example, 30)!r}, of which day and month could be either: "
                f'declare `time_form: "{month_first} %H:%M:%S"`, or "{day_first} %H:%M:%S", under '
                "`requests`, or as an argument"
            )
        forms += _forms(day_first if first > 12 else month_first)
    return Clock(tuple(forms), zone, unit, is_untidy=bool(untidy))


def _year(example: str) -> str:
    """How the year of a date is written, with four digits or two."""
    return "%Y" if re.search(r"[/.-]\d{4}", example) else "%y"


def scaled(text: str, marks: Signs, factor: float) -> str:
    """SQL for a number in another unit."""
    value = number(text, marks)
    return value if factor == 1 else f"{value} * {factor:g}"


# --- answered or failed ---------------------------------------------------------------------

_OK = (
    "true",
    "1",
    "t",
    "yes",
    "y",
    "ok",
    "success",
    "succeeded",
    "successful",
    "completed",
    "wahr",
    "vrai",
    "verdadero",
    "vero",
    "sim",
    "ja",
    "oui",
    "erfolg",
    "erfolgreich",
    "réussi",
    "succès",
    "éxito",
    "correcto",
    "finished",
    "done",
)
_FAILED = (
    "false",
    "0",
    "f",
    "no",
    "n",
    "failed",
    "failure",
    "error",
    "fail",
    "falsch",
    "faux",
    "falso",
    "nein",
    "non",
    "critical",
    "timeout",
    "cancelled",
    "canceled",
    "aborted",
    "rejected",
    "fehler",
    "fehlgeschlagen",
    "échec",
    "erreur",
    "fallo",
    "fallido",
)


def answered(text: str, mapping: LogMapping) -> str:
    """SQL for whether a status is that of an answered request: a word, an HTTP status, a flag."""
    value = f"lower({text})"

    def among(values: tuple[str, ...]) -> str:
        return f"{value} IN ({', '.join(literal(each.lower()) for each in values)})"

    if mapping.ok_values and mapping.failed_values:
        return (
            f"CASE WHEN {among(mapping.ok_values)} THEN true"
            f" WHEN {among(mapping.failed_values)} THEN false END"
        )
    if mapping.failed_values:
        return f"NOT coalesce({among(mapping.failed_values)}, false)"
    if mapping.ok_values:
        return f"coalesce({among(mapping.ok_values)}, false)"
    status = f"TRY_CAST({text} AS INT)"
    return (
        f"CASE WHEN {among(_OK)} OR {status} BETWEEN 100 AND 399 THEN true"
        f" WHEN {among(_FAILED)} OR {status} BETWEEN 400 AND 599 THEN false END"
    )

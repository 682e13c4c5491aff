"""Imports a log into the canonical table without losing a row.

The fields that a format or a declaration names are read as text into one table; what their values
mean is settled over all of it (`values`); then SQL casts them and checks the rules of `schema`. A
row is accepted, or quarantined with the first reason against it. Rows that only the others show to
be no requests of their own are set aside by `plausible`.

Only the fields of the mapping are read, so the text of prompts and answers stays where it is. The
exception is the raw text of a row that cannot be parsed, for mending: show its number and its
reason, not the text.
"""

import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import pandas as pd
from duckdb import DuckDBPyConnection as Connection
from pydantic import ValidationError

from llmstudy.requests import containers, formats, plausible, values
from llmstudy.requests.containers import Container, literal
from llmstudy.requests.files import files_of
from llmstudy.requests.mapping import LogFormat, LogMapping
from llmstudy.requests.schema import (
    BREACH_SQL,
    COLUMNS,
    INPUTS,
    MOST_TOKENS,
    NAMES,
    SQL_TYPES,
    UNKNOWN,
    conform,
)
from llmstudy.text import excerpt

_QUARANTINE = ["file", "row", "raw", "reason", "tokens", "n_requests"]
_IN_MEMORY_BYTES = 1 << 26
"""Above so many bytes of log the work is done in a file, not in memory."""


@dataclass(frozen=True)
class Log:
    """An imported log: each row read is in exactly one of the two tables.

    accepted: the canonical table. quarantined: `file`, `row` (from 1: the line of a text file, the
    row of another), `raw` (its text where it cannot be parsed, else its fields), `reason` (in
    words), `tokens` (in and out, null unless both can be read), `n_requests`. format: the name of
    the format it was read as. unknown: columns that the log does not tell. grain: request, or
    bucket where a row sums up many.
    """

    accepted: pd.DataFrame
    quarantined: pd.DataFrame
    rows_read: int
    format: str = "generic"
    unknown: tuple[str, ...] = ()
    grain: str = "request"

    @property
    def lost(self) -> pd.DataFrame:
        """The quarantined rows whose request is in no accepted row."""
        return self.quarantined[~self.quarantined["reason"].isin(plausible.NOTHING_LOST)]

    @property
    def uncounted(self) -> pd.DataFrame:
        """The quarantined rows that are requests whose tokens the log does not give."""
        return self.quarantined[self.quarantined["reason"] == plausible.NO_USAGE]

    def __post_init__(self) -> None:
        """Checks that no row was lost or made up."""
        in_tables = len(self.accepted) + len(self.quarantined)
        if in_tables != self.rows_read:
            raise ValueError(
                f"{self.rows_read} rows read, but {in_tables} in the tables: please report it"
            )


def read_log(
    source: str | Path | Sequence[str | Path] | pd.DataFrame,
    format: str | None = None,
    columns: Mapping[str, str | Sequence[str]] | None = None,
    constants: Mapping[str, Any] | None = None,
    longest_tokens: int = MOST_TOKENS,
    **meaning: Any,
) -> Log:
    """Reads a log into the canonical table.

    source: a file, a folder with all its files, a glob, several of these, or a frame with a row for
    each request. format: a name of `formats.bundled`, or None or "auto" to tell it by the fields;
    `csv`, `jsonl` and `parquet` read nothing but the columns that are named.
    columns: column of `schema` -> its field in the log: a name, a path into nested fields
    (`usage.prompt_tokens`), a JSON Pointer, or several of these, of which the first that is filled
    counts. constants: column -> its value in every row, for what the log does not say. meaning:
    what else `mapping.LogMapping` declares, such as `thousands="."` or `units={"latency_s":
    "ms"}`. longest_tokens: input and output of the longest request that can have been answered.

    A time is ISO 8601 (without a zone it is UTC; digits below 1 us are cut), a date as Excel writes
    it, or a number since 1970, taken as the one of s, ms, us and ns that puts it between 1973 and
    5138. Empty text, `null`, `none` and `nan` are null. A blank line is no row. A failed row
    without token counts has 0 of them; an answered one is a request whose tokens are not known
    (`uncounted`).
    What only the other rows show is judged by `plausible`: stray times, repeated lines, and the
    attempts of a call, of which one row tells the outcome.

    Raises: ValueError if a file is absent or not of its format, a name is not in the log, a column
    is unknown or given twice, a constant is not of its column's type, times or tokens are not
    given, or a value can be read in two ways; the sentence says what to declare.

    >>> frame = pd.DataFrame({"created": ["2026-11-02 09:00:04", "2026-11-02 09:00:07"],
    ...                       "input_tokens": [374, "many"], "output_tokens": [44, 109]})
    >>> log = read_log(frame, columns={"ts_start": "created"}, constants={
    ...     "workload": "chat", "provider": "openai", "model_served": "gpt-4o", "ok": "true"})
    >>> log.rows_read, len(log.accepted), log.quarantined[["row", "reason"]].to_numpy().tolist()
    (2, 1, [[2, "input_tokens is 'many', not a whole number"]])
    """
    columns, constants = columns or {}, constants or {}
    if not (isinstance(columns, Mapping) and isinstance(constants, Mapping)):
        raise ValueError(
            'columns and constants must be mappings, such as {"ts_start": "created_at"}'
        )
    given = {name: _as_constant(value) for name, value in constants.items()}
    declared = _mapping(columns, given, meaning)
    files = _opened(source, format)
    name = str(files[0].path if len(files) == 1 else _root(files))
    with ExitStack() as stack:
        connection = stack.enter_context(_connection(files, stack))
        try:
            chosen = formats.chosen(files, format, declared)
            mapping = formats.joined(chosen, declared)
            _check_names(mapping)
            fields = _texts(files, chosen, mapping, declared, connection)
            return _judged(fields, chosen, mapping, longest_tokens, connection)
        except values.QuestionError as question:
            raise ValueError(f"{name}: {question}") from None


def _as_constant(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _mapping(
    columns: Mapping[str, Any], constants: Mapping[str, str], meaning: Mapping[str, Any]
) -> LogMapping:
    try:
        return LogMapping(columns=dict(columns), constants=dict(constants), **meaning)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"{place}: {first['msg']}") from None


def _opened(
    source: str | Path | Sequence[str | Path] | pd.DataFrame, format: str | None
) -> list[Container]:
    if isinstance(source, pd.DataFrame):
        if format in formats.CONTAINERS:
            raise ValueError(f"DataFrame: it has no format: leave out format={format!r}")
        return [containers.of_frame(source)]
    paths = [source] if isinstance(source, str | Path) else source
    if not isinstance(paths, Sequence) or not all(isinstance(path, str | Path) for path in paths):
        raise ValueError(
            f"a {type(source).__name__} is not a log: give the path of a file or a frame"
        )
    kind = format if format in formats.CONTAINERS else None
    return [containers.opened(path, kind) for path in files_of(paths)]


def _root(files: Sequence[Container]) -> Path:
    """The folder that all files are in."""
    parents = [set(file.path.parents) for file in files]
    return max(set.intersection(*parents), key=lambda folder: len(folder.parts))


def _connection(files: Sequence[Container], stack: ExitStack) -> Connection:
    """A database in memory for a short log, in a file of its own for a long one."""
    size = sum(file.path.stat().st_size for file in files if file.frame is None)
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="llmstudy-log-"))
    place = ":memory:" if size < _IN_MEMORY_BYTES else str(Path(folder) / "log.duckdb")
    connection = duckdb.connect(place)
    connection.execute(f"SET temp_directory = {literal(folder)}")
    connection.execute("SET memory_limit = '1GiB'")
    # or a time that names no zone would be taken in the zone of this machine
    connection.execute("SET GLOBAL TimeZone = 'UTC'")
    return connection


def _check_names(mapping: LogMapping) -> None:
    if unknown := sorted({*mapping.columns, *mapping.constants} - {*_DTYPES}):
        raise values.QuestionError(f"unknown columns {unknown}; map to {', '.join(_DTYPES)}")


def requests_of(
    source: str | Path | Sequence[str | Path], format: str | None = None, **declared: Any
) -> list[Path] | pd.DataFrame:
    """The requests of a log: files that `write_log` wrote as they are, any other log once read.

    source, format, declared: as `read_log`. Returns: what `summary_by` and `reconcile` take.
    Raises: ValueError as `read_log`, or if no row of the log is a request.
    """
    files = files_of(source)
    if format in (None, "auto") and not declared and all(map(_is_table, files)):
        return files
    log = read_log(source, format, **declared)
    if log.accepted.empty:
        raise ValueError(f"none of its {log.rows_read:,} rows is a request: see the quarantine")
    return log.accepted


def _is_table(path: Path) -> bool:
    """Whether a file has the columns of `schema`, and no others."""
    return path.suffix == ".parquet" and set(containers.opened(path, None).fields) == set(NAMES)


def write_log(log: Log, out: str | Path) -> list[Path]:
    """Writes the requests of a log as Parquet, and beside them what was set aside, with reasons.

    Returns: the files. A file is there whole or not at all. Attempts that another row speaks for
    are in the second, with their fields as JSON.
    """
    path = Path(out)
    aside = path.with_name(f"{path.stem}.quarantine.parquet")
    path.parent.mkdir(parents=True, exist_ok=True)
    for file, frame in ((path, log.accepted), (aside, log.quarantined)):
        begun = file.with_name(f".{file.name}.{os.getpid()}")
        try:
            with duckdb.connect() as connection:
                connection.register("frame", frame)
                connection.table("frame").write_parquet(str(begun), compression="zstd")
            begun.replace(file)
        finally:
            begun.unlink(missing_ok=True)
    return [path, aside]


# --- fields as text ------------------------------------------------------------------------------

_NO_IDS = ("", "null", "none", "nan", "-", "0", "n/a", "undefined", "unknown", str(UUID(int=0)))
"""What stands in a column of ids where there is none."""

_DTYPES = {column.name: column.dtype for column in (*COLUMNS, *INPUTS)}

_FIELDS = [name for name in _DTYPES if name != "source"]


def _texts(
    files: Sequence[Container],
    chosen: LogFormat,
    mapping: LogMapping,
    declared: LogMapping,
    connection: Connection,
) -> set[str]:
    """Fills `texts`: file, row, raw, problem, skipped, and the text of each field.

    Returns: the fields that the log has, or that are constant, and `calls` where it has the ids by
    which a format tells the attempts of a call.
    """
    columns = ", ".join(f"{name}_text VARCHAR" for name in _FIELDS)
    connection.execute(
        "CREATE TABLE texts (file INTEGER, row BIGINT, raw VARCHAR, problem VARCHAR,"
        f" skipped VARCHAR, source VARCHAR, {columns})"
    )
    connection.execute("CREATE TABLE starts (file INTEGER, start BIGINT)")
    present: set[str] = set(mapping.constants)
    root = _root(files) if len(files) > 1 else None
    for number, container in enumerate(files):
        read: list[str] = []
        if chosen.records:
            container = containers.within(container, chosen.records)
        texts = {
            name: sql
            for name in mapping.columns
            if (sql := _text_sql(name, mapping, container, read, name in declared.columns))
            is not None
        }
        present |= {
            name
            for name in texts
            if name in (*declared.columns, *mapping.empty_is_zero)
            or any(containers.has_field(x, container) for x in mapping.columns[name])
        }
        if any(
            containers.has_field(x, container) for x in mapping.columns.get("request_id", ())[:1]
        ):
            present.add("calls")
        texts |= {name: literal(value) for name, value in mapping.constants.items()}
        skipped = _skipped_sql(mapping, container, texts, read)
        selected = ", ".join(texts.get(name, "NULL") for name in _FIELDS)
        name = container.path.relative_to(root).as_posix() if root else container.path.name
        source = mapping.constants.get("source", name)
        insert = (
            f"INSERT INTO texts SELECT {number}, row, raw, problem, {skipped},"
            f" {literal(source)}, {selected} FROM"
        )
        connection.execute(f"INSERT INTO starts SELECT {number}, count(*) FROM texts")
        try:
            if table := containers.whole(container, read, chosen.records):
                connection.execute(f"{insert} {table}")
                continue
        except duckdb.Error as error:
            if container.kind == "parquet":
                raise ValueError(
                    f"{container.path}: damaged, it cannot be read as Parquet: export the log "
                    f"again, or correct `requests.format` ({containers.first_line(error)})"
                ) from None
        for table in containers.batches(container, read, chosen.records, connection):
            connection.execute(f"{insert} {table}")
    filled = ", ".join(f"count({name}_text) > 0" for name in _FIELDS)
    [seen] = connection.sql(f"SELECT {filled} FROM texts").fetchall()
    return present | {name for name, is_filled in zip(_FIELDS, seen, strict=True) if is_filled}


def _text_sql(
    name: str, mapping: LogMapping, container: Container, read: list[str], declared: bool
) -> str | None:
    """SQL for the text of a column: the first of its fields that is filled."""
    fields, words = mapping.columns[name], mapping.words.get(name)
    if declared and container.fields and (n := container.fields.count(fields[0])) > 1:
        raise values.QuestionError(_absent(name, fields[0], n, container))
    there = [each for each in fields if containers.has_field(each, container)]
    if declared and not there and (container.sample or container.kind == "csv"):
        raise values.QuestionError(_absent(name, fields[0], 0, container))
    # what the first records lack, later ones may have; a header says it all
    tried = there if container.fields else fields
    sqls = [
        sql for each in tried if (sql := containers.field_sql(each, container, read)) is not None
    ]
    if words:
        cases = " ".join(f"WHEN {literal(a.lower())} THEN {literal(b)}" for a, b in words.items())
        sqls = [f"nullif(CASE lower({sql}) {cases} ELSE {sql} END, '')" for sql in sqls]
    if not sqls or not (there or not container.fields):
        return None
    return sqls[0] if len(sqls) == 1 else f"coalesce({', '.join(sqls)})"


def _absent(name: str, field: str, times: int, container: Container) -> str:
    names = [" ".join(excerpt(each).split()) for each in containers.names_of(container)]
    columns = excerpt(", ".join(names), 500)
    return (
        f"{name} is mapped to {field!r}, which the log has {times} times: map it to one of "
        f"{columns or 'it has no columns'}"
    )


def _skipped_sql(
    mapping: LogMapping, container: Container, texts: Mapping[str, str], read: list[str]
) -> str:
    """SQL for why a row is no request by `only` and `without`; null where it may be one."""
    cases = []
    for wanted, rules in ((True, mapping.only), (False, mapping.without)):
        for field, allowed in rules.items():
            sql = texts.get(field)
            if containers.has_field(field, container):
                sql = containers.field_sql(field, container, read)
            if sql is None:
                continue
            among = f"coalesce({sql} IN ({', '.join(map(literal, allowed))}), false)"
            if allowed == ("*",):
                among = f"{sql} IS NOT NULL"
            cases.append(
                f"WHEN {'NOT ' if wanted else ''}{among} THEN {literal(plausible.NO_CHAT)}"
            )
    return f"CASE {' '.join(cases)} END" if cases else "NULL"


# --- values, rules, requests ---------------------------------------------------------------------

_WORDING = {
    "string": "a text",
    "int64": "a whole number",
    "Int64": "a whole number",
    "float64": "a number",
    "bool": "an answer or a failure",
    "datetime64[us, UTC]": "a time (ISO 8601, or a number since 1970)",
}


def _judged(
    fields: set[str],
    chosen: LogFormat,
    mapping: LogMapping,
    longest_tokens: int,
    connection: Connection,
) -> Log:
    casts = _casts(fields, mapping, connection)
    [(rows_read,)] = connection.sql("SELECT count(*) FROM texts").fetchall()
    _refuse_unfit_constants(mapping, casts, connection)
    connection.execute(
        f"CREATE TABLE judged AS {_judged_sql(fields, mapping, casts, chosen.grain)}"
    )
    plausible.set_aside(connection, longest_tokens)
    table = connection.sql(f"SELECT {', '.join(NAMES)} FROM accepted ORDER BY n").df()
    aside = connection.sql(f"SELECT {', '.join(_QUARANTINE)} FROM aside ORDER BY n").df()
    return Log(
        conform(table),
        aside.astype({"raw": "string", "reason": "string"}),
        int(rows_read),
        chosen.title,
        _unknown(fields, chosen.grain),
        chosen.grain,
    )


def _unknown(fields: set[str], grain: str) -> tuple[str, ...]:
    """The columns that a log with these fields does not tell."""
    told_by = {
        "cached_input_tokens": {"cached_input_tokens"},
        "ok": {"ok", "failure"},
        "latency_s": {"latency_s", "latency_ms", "ended"},
        "ttft_s": {"ttft_s", "ttft_ms", "first_token_at"},
    }
    if grain == "bucket":
        told_by["n_requests"] = {"n_requests", "requests"}
    return tuple(sorted(name for name, sources in told_by.items() if not sources & fields))


def _casts(fields: set[str], mapping: LogMapping, connection: Connection) -> dict[str, str]:
    """SQL for the value of each field, from its text."""
    numeric = {
        field: "whole" if _DTYPES[field] in ("int64", "Int64") else "any"
        for field in _FIELDS
        if field in fields and _DTYPES[field] in ("int64", "Int64", "float64")
    }
    sound = "(SELECT * FROM texts WHERE problem IS NULL AND skipped IS NULL)"
    marks = values.signs(numeric, mapping, sound, connection)
    times = [field for field in ("ts_start", "ended", "first_token_at") if field in fields]
    clock = values.clock(times, mapping, sound, connection) if times else values.Clock()
    casts = {}
    for field in _FIELDS:
        text, dtype = f"{field}_text", _DTYPES[field]
        if dtype in ("int64", "Int64"):
            casts[field] = values.whole(text, marks)
        elif dtype == "float64":
            unit = mapping.units.get(field, "usd" if field == "logged_usd" else "s")
            casts[field] = values.scaled(text, marks, {**values.SECONDS, **values.USD}[unit])
        elif dtype == "bool":
            meaning = mapping if field == "ok" else LogMapping()
            casts[field] = values.answered(text, meaning)
        elif dtype == "string":
            casts[field] = text
        else:
            casts[field] = clock.sql(text)
    return casts


def _refuse_unfit_constants(
    mapping: LogMapping, casts: Mapping[str, str], connection: Connection
) -> None:
    for field, value in mapping.constants.items():
        if field == "source":
            continue
        sql = casts[field].replace(f"{field}_text", literal(value))
        if connection.execute(f"SELECT ({sql}) IS NOT NULL").fetchall() != [(True,)]:
            raise values.QuestionError(
                f"constant {field}={value!r} is not {_WORDING[_DTYPES[field]]}"
            )


def _judged_sql(fields: set[str], mapping: LogMapping, casts: Mapping[str, str], grain: str) -> str:
    """SQL for the typed rows of `texts`, with the first reason against each."""
    misfit = " ".join(
        f"WHEN t_{field} IS NULL AND {field}_text IS NOT NULL"
        f" THEN '{field} is ''' || left({field}_text, 40) || ''', not {_WORDING[_DTYPES[field]]}'"
        for field in casts
        if field in fields and _DTYPES[field] != "string"
    )
    typed = ", ".join(f"{cast} AS t_{field}" for field, cast in casts.items())
    weight = (
        "CASE WHEN t_sampling_share > 0 AND t_sampling_share <= 1 THEN 1 / t_sampling_share END"
    )
    stands_for = f"coalesce(t_n_requests, t_requests, {weight})"

    def tokens(field: str, beside: Sequence[str] = ()) -> str:
        parts = "".join(f" + coalesce(t_{part}, 0)" for part in beside)
        value = f"(t_{field}{parts})"
        if beside and mapping.exclusive_providers:
            providers = ", ".join(literal(each.lower()) for each in mapping.exclusive_providers)
            value = f"CASE WHEN lower(t_provider) IN ({providers}) THEN {value} ELSE t_{field} END"
        return (
            f"CAST(round(({value}) * coalesce({weight}, 1)) AS BIGINT)"
            if ("sampling_share" in fields)
            else value
        )

    ok = "t_ok" if "ok" in fields else "true"
    if "failure" in fields:
        ok = f"({ok} AND t_failure IS NULL)"
    unused = f"NOT {ok} AND "
    moments = "epoch(t_ended - t_ts_start)"
    first = "epoch(t_first_token_at - t_ts_start)"
    streamed = "coalesce(t_streamed, t_first_token_at < t_ended, true)"
    special = {
        "input_tokens": f"CASE WHEN {unused} input_tokens_text IS NULL THEN 0"
        f" ELSE {tokens('input_tokens', mapping.input_excludes)} END",
        "output_tokens": f"CASE WHEN {unused} output_tokens_text IS NULL THEN 0"
        f" ELSE {tokens('output_tokens', mapping.output_excludes)} END",
        **{
            name: tokens(name)
            for name in ("cached_input_tokens", "cache_write_tokens", "reasoning_tokens")
        },
        "latency_s": f"coalesce(t_latency_s, t_latency_ms / 1000, {moments})",
        "ttft_s": f"CASE WHEN {streamed} THEN coalesce(t_ttft_s, t_ttft_ms / 1000, {first}) END",
        "ok": ok,
        "error": f"CASE WHEN NOT {ok} THEN t_error END",
        "n_requests": stands_for
        if {"n_requests", "requests", "sampling_share"} & fields
        else "NULL",
    }
    for name in ("workload", "provider", "model_served"):
        special[name] = f"coalesce(t_{name}, {literal(UNKNOWN)})"
    made_id = "source || ':' || row"
    no_id = f"lower(t_request_id) IN ({', '.join(map(literal, _NO_IDS))})"
    for name in {*mapping.empty_is_zero} & fields:
        special[name] = f"coalesce({special.get(name, f't_{name}')}, 0)"
    special["request_id"] = f"CASE WHEN {no_id} THEN NULL ELSE t_request_id END"
    columns = ", ".join(
        f"{special.get(name, f't_{name}')}::{SQL_TYPES[dtype]} AS {name}"
        for name, dtype, *_ in COLUMNS
        if name != "source"
    )
    no_usage = (
        "WHEN ok AND input_tokens_text IS NULL AND output_tokens_text IS NULL"
        f" THEN {literal(plausible.NO_USAGE)}"
    )
    counted = grain == "bucket" and "requests" in fields
    empty = f"WHEN requests_text IS NULL OR t_requests = 0 THEN {literal(plausible.EMPTY)}"
    attempt = ""
    if mapping.failed_rows == "attempts" and "calls" not in fields:
        attempt = (
            f"WHEN NOT ok AND coalesce(input_tokens + output_tokens, 0) = 0"
            f" THEN {literal(plausible.UNTRACED)}"
        )
    return (
        "WITH numbered AS (SELECT * REPLACE (coalesce(row, texts.rowid - start + 1) AS row),"
        " texts.rowid AS n FROM texts JOIN starts USING (file)),"
        f" typed AS (SELECT *, {typed} FROM numbered),"
        f" derived AS (SELECT *, {columns} FROM typed)"
        " SELECT n, file, row,"
        f" coalesce(raw, {_fields_json(fields)}) AS raw,"
        f" coalesce(problem, skipped, CASE {empty if counted else ''} {no_usage} END,"
        f" CASE {misfit} {attempt} WHEN false THEN '' END,"
        f" {BREACH_SQL.replace('request_id IS NOT NULL', 'true')}) AS reason,"
        " input_tokens::DOUBLE + output_tokens::DOUBLE AS tokens,"
        f" request_id IS NOT NULL AS has_id,"
        f" coalesce(request_id, {made_id}) AS request_id,"
        f" {', '.join(n for n in NAMES if n != 'request_id')} FROM derived"
    )


def _fields_json(fields: set[str]) -> str:
    pairs = ", ".join(f"{field}: {field}_text" for field in _FIELDS if field in fields)
    return f"to_json({{{pairs}}})::VARCHAR" if pairs else "NULL"

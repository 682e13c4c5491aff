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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import numpy as np
import pandas as pd
from duckdb import DuckDBPyConnection as Connection
from pydantic import ValidationError

from llmstudy.requests import containers, formats, plausible, values
from llmstudy.requests.containers import Container, literal
from llmstudy.requests.database import database
from llmstudy.requests.files import files_of
from llmstudy.requests.mapping import LogFormat, LogMapping
from llmstudy.requests.schema import (
    BREACH_SQL,
    COLUMNS,
    INPUTS,
    MOST_TOKENS,
    NAMES,
    REQUIRED,
    SQL_TYPES,
    UNKNOWN,
)
from llmstudy.text import excerpt

_FEW_NAMES = 100_000
"""A column of text with at most so many different values keeps each in memory once."""
_IN_MEMORY_BYTES = 1 << 26
"""Above so many bytes of log the work is done in a file, not in memory."""


QUOTED_CELL = "(?s) is '.*', not "
"""How a reason quotes the cell that it is about: `input_tokens is 'many', not a whole number`."""


@dataclass(frozen=True)
class Log:
    """An imported log: each row read is in exactly one of the two tables.

    accepted: the canonical table. quarantined: `file`, `row` (from 1: the line of a text file, the
    row of another), `raw` (its text where it cannot be parsed, else its fields), `reason` (in
    words), `tokens` (in and out, null unless both can be read), `n_requests`. format: the name of
    the format it was read as. unknown: columns that the log does not tell. grain: request, or
    bucket where a row sums up many. parted: rows that are in the tables twice, since they count
    answered and failed requests beside each other.
    """

    accepted: pd.DataFrame
    quarantined: pd.DataFrame
    rows_read: int
    format: str = "generic"
    unknown: tuple[str, ...] = ()
    grain: str = "request"
    parted: int = 0

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
        if in_tables != self.rows_read + self.parted:
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
    with imported(source, format, columns, constants, longest_tokens, **meaning) as log:
        return log.read()


@dataclass(frozen=True)
class Imported:
    """A log in a database: its requests in the table `accepted`, what was set aside in `aside`.

    accepted: the canonical columns, and n, the place of a row in the log. aside: the columns of
    `Log.quarantined`, and n. The fields are as those of `Log`.
    """

    connection: Connection
    rows_read: int
    format: str
    unknown: tuple[str, ...]
    grain: str
    parted: int

    def read(self, columns: Sequence[str] = NAMES) -> Log:
        """The log as frames, with all columns of the canonical table or some."""
        aside: pd.DataFrame = self.connection.sql("SELECT * EXCLUDE n FROM aside").df()
        dtypes = {column.name: column.dtype for column in COLUMNS if column.name in columns}
        cells = {x: column_of(self.connection, "accepted", x, dtypes[x]) for x in dtypes}
        return Log(
            pd.DataFrame(cells, copy=False).astype(dtypes),
            aside.astype({"raw": "string", "reason": "string"}),
            self.rows_read,
            self.format,
            self.unknown,
            self.grain,
            self.parted,
        )

    def write(self, out: str | Path) -> list[Path]:
        """Writes the requests as Parquet, and beside them what was set aside, with reasons.

        Returns: the files. A file is there whole or not at all. Attempts that another row speaks
        for are in the second, with their fields as JSON.
        """
        path = Path(out)
        aside = path.with_name(f"{path.stem}.quarantine.parquet")
        path.parent.mkdir(parents=True, exist_ok=True)
        for file, table in ((path, "accepted"), (aside, "aside")):
            begun = file.with_name(f".{file.name}.{os.getpid()}")
            try:
                query = f"SELECT * EXCLUDE n FROM {table}"
                self.connection.sql(query).write_parquet(str(begun), compression="zstd")
                begun.replace(file)
            finally:
                begun.unlink(missing_ok=True)
        return [path, aside]


@contextmanager
def imported(
    source: str | Path | Sequence[str | Path] | pd.DataFrame,
    format: str | None = None,
    columns: Mapping[str, str | Sequence[str]] | None = None,
    constants: Mapping[str, Any] | None = None,
    longest_tokens: int = MOST_TOKENS,
    **meaning: Any,
) -> Iterator[Imported]:
    """Reads a log into a database, which lasts as long as the context; as `read_log`.

    A table that `Imported.write` wrote is taken as it is, rather than read as text once more.
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
    size = sum(file.path.stat().st_size for file in files if file.frame is None)
    with database(in_file=size >= _IN_MEMORY_BYTES) as connection:
        try:
            if format in (None, "auto") and is_canonical(files, declared):
                chosen = formats.bundled()[formats.GENERIC]
                fields = _canonical(files, given, connection)
                raw, rows = "to_json(rows)::VARCHAR", "rows ON rows.n = marks.n"
            else:
                chosen = formats.chosen(files, format, declared)
                mapping = formats.joined(chosen, declared)
                _check_names(mapping)
                fields = _texts(files, chosen, mapping, declared, connection)
                _judge(fields, chosen, mapping, connection)
                raw = _raw_sql(fields)
                rows = "texts ON texts.rowid = greatest(marks.n, -marks.n - 1)"
            plausible.set_aside(connection, longest_tokens)
            connection.execute(
                f"CREATE TABLE aside AS SELECT judged.file, judged.row, {raw} AS raw, marks.reason,"
                " judged.tokens, judged.n_requests, marks.n"
                f" FROM marks JOIN judged USING (n) JOIN {rows} ORDER BY marks.n"
            )
            [(read, parted)] = connection.sql(
                "SELECT count(*) FILTER (n >= 0), count(*) FILTER (n < 0) FROM judged"
            ).fetchall()
            unknown = _unknown(fields, chosen.grain)
            yield Imported(connection, read, chosen.title, unknown, chosen.grain, parted)
        except values.QuestionError as question:
            raise ValueError(f"{name}: {question}") from None


def column_of(connection: Connection, table: str, name: str, dtype: str) -> Any:
    """A column of a canonical table, typed; equal texts are one object in memory."""
    cells = connection.sql(f"SELECT {name} AS cell FROM {table}")
    if dtype == "Int64":
        values_ = cells.fetchnumpy()["cell"]
        return pd.arrays.IntegerArray(np.ma.getdata(values_), np.ma.getmaskarray(values_))
    if dtype == "string":
        distinct = f"SELECT DISTINCT {name} FROM {table} WHERE {name} IS NOT NULL ORDER BY 1"
        [(n,)] = connection.execute(f"SELECT count(*) FROM ({distinct})").fetchall()
        if n <= _FEW_NAMES:
            connection.execute(f"CREATE OR REPLACE TYPE {name}_names AS ENUM ({distinct})")
            cells = connection.sql(f"SELECT {name}::{name}_names AS cell FROM {table}")
    return cells.df()["cell"]


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


def _check_names(mapping: LogMapping) -> None:
    if unknown := sorted({*mapping.columns, *mapping.constants} - {*_DTYPES}):
        raise values.QuestionError(f"unknown columns {unknown}; map to {', '.join(_DTYPES)}")


# --- a table that is canonical already ------------------------------------------------------------


def is_canonical(files: Sequence[Container], declared: LogMapping | None = None) -> bool:
    """Whether files have the columns of `schema`, typed, and a study adds at most names to them."""
    declared = declared or LogMapping()
    texts = {column.name for column in COLUMNS if column.dtype == "string"}
    added = declared.model_dump(exclude_defaults=True, exclude={"constants"})
    if added or not texts >= set(declared.constants):
        return False
    kinds = {(column.name, SQL_TYPES[column.dtype]) for column in COLUMNS}
    for file in files:
        if file.kind != "parquet" or not set(REQUIRED) <= set(file.fields) <= set(NAMES):
            return False
        with duckdb.connect() as connection:
            query = f"DESCRIBE FROM read_parquet({literal(str(file.path))})"
            types = {(name, kind) for name, kind, *_ in connection.execute(query).fetchall()}
        kinds_ = {(n, k.replace("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ")) for n, k in types}
        if not kinds_ <= kinds:
            return False
    return True


def _canonical(
    files: Sequence[Container], constants: Mapping[str, str], connection: Connection
) -> set[str]:
    """Makes the view `judged` of canonical tables. Returns: the columns that are filled."""
    paths = ", ".join(literal(str(file.path)) for file in files)
    there = {name for file in files for name in file.fields}
    sqls = {name: name if name in there else "NULL" for name in NAMES}
    sqls |= {name: literal(value) for name, value in constants.items()}
    cells = ", ".join(f"{sqls[name]}::{SQL_TYPES[kind]} AS {name}" for name, kind, *_ in COLUMNS)
    connection.execute(
        f"CREATE VIEW rows AS SELECT {cells}, file_index::INTEGER AS file,"
        f" file_row_number + 1 AS row, file_index::BIGINT * {1 << 40} + file_row_number AS n"
        f" FROM read_parquet([{paths}], file_row_number = true, union_by_name = true)"
    )
    connection.execute(
        f"CREATE VIEW judged AS SELECT *, {BREACH_SQL} AS reason, true AS has_id,"
        " input_tokens::DOUBLE + output_tokens::DOUBLE AS tokens FROM rows"
    )
    filled = ", ".join(f"count({name}) > 0" for name in NAMES)
    [seen] = connection.sql(f"SELECT {filled} FROM rows").fetchall()
    return {name for name, is_filled in zip(NAMES, seen, strict=True) if is_filled}


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
                f"WHEN {'NOT ' if wanted else ''}{among} THEN {literal(plausible.left_out(field))}"
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


def _judge(
    fields: set[str], chosen: LogFormat, mapping: LogMapping, connection: Connection
) -> None:
    """Makes the table `judged`: the canonical columns of each row, and the reason against it."""
    casts = _casts(fields, mapping, connection)
    _refuse_unfit_constants(mapping, casts, connection)
    query = _judged_sql(fields, mapping, casts, chosen.grain)
    connection.execute(f"CREATE TABLE judged AS {query}")


def _unknown(fields: set[str], grain: str) -> tuple[str, ...]:
    """The columns that a log with these fields does not tell."""
    told_by = {
        "cached_input_tokens": {"cached_input_tokens"},
        "ok": {"ok", "failure", "failed_requests"},
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

    parts, ok = "typed", "t_ok" if "ok" in fields else "true"
    if "failed_requests" in fields:
        parts, ok = _parted_sql("typed"), "coalesce(t_ok, true)"
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
        else ("0" if grain == "bucket" else "NULL"),
    }
    for name in ("workload", "provider", "model_served"):
        special[name] = f"coalesce(t_{name}, {literal(UNKNOWN)})"
    made_id = "source || ':' || row || CASE WHEN n < 0 THEN ':failed' ELSE '' END"
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
    counted = {"requests", "n_requests"} & fields
    nothing = "coalesce(t_n_requests, t_requests) = 0"
    if grain == "bucket" and "requests" in fields:
        nothing += " OR requests_text IS NULL"
    empty = f"WHEN {nothing} THEN {literal(plausible.EMPTY)}"
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
        f" derived AS (SELECT *, {columns} FROM {parts})"
        " SELECT n, file, row,"
        f" coalesce(problem, skipped, CASE {empty if counted else ''} {no_usage} END,"
        f" CASE {misfit} {attempt} WHEN false THEN '' END,"
        f" {BREACH_SQL.replace('request_id IS NOT NULL', 'true')}) AS reason,"
        " input_tokens::DOUBLE + output_tokens::DOUBLE AS tokens,"
        f" request_id IS NOT NULL AS has_id,"
        f" coalesce(request_id, {made_id}) AS request_id,"
        f" {', '.join(n for n in NAMES if n != 'request_id')} FROM derived"
    )


def _parted_sql(table: str) -> str:
    """SQL for typed rows, of which the failed requests of a bucket are a row of their own."""
    none = [name for name in _FIELDS if name.endswith("_tokens")] + ["logged_usd"]
    nulls = ", ".join(f"NULL AS {kind}" for name in none for kind in (f"t_{name}", f"{name}_text"))
    return (
        f"(FROM {table} UNION ALL SELECT * REPLACE ({nulls}, t_failed_requests AS t_requests,"
        " failed_requests_text AS requests_text, false AS t_ok, -n - 1 AS n)"
        f" FROM {table} WHERE t_failed_requests > 0)"
    )


def _raw_sql(fields: set[str]) -> str:
    """SQL for what to show of a row of `texts`: its own text, else its fields."""
    pairs = ", ".join(f"{field}: {field}_text" for field in _FIELDS if field in fields)
    return f"coalesce(raw, to_json({{{pairs}}})::VARCHAR)" if pairs else "raw"

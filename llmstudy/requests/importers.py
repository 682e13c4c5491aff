"""Imports a log into the canonical table without losing a row.

Each reader yields batches of text: one row per record of the file, with its number, its raw text
and, if it could not be parsed, the fault. One SQL statement then casts the text and checks the
rules of `schema`; a row is accepted, or quarantined with the first reason against it.

Only mapped columns are read, so the text of prompts and answers is not. The exception is the raw
text
of a quarantined row, which is stored for correction: show its number and reason, never the text.
"""

import csv
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TextIO
from uuid import UUID

import duckdb
import pandas as pd
from duckdb import DuckDBPyConnection as Connection

from llmstudy.requests import plausible
from llmstudy.requests.schema import BREACH_SQL, COLUMNS, MOST_TOKENS, NAMES, REQUIRED, conform
from llmstudy.text import excerpt, listed

VECTOR_ROWS = 2_048  # DuckDB's unit of work
BATCH_ROWS = 49 * VECTOR_ROWS
LONGEST_FIELD = 1 << 24  # characters in a CSV field that carries a prompt; Python's limit is 2^17

_QUARANTINE = ["row", "raw", "reason", "tokens"]


@dataclass(frozen=True)
class Log:
    """An imported log: each row read is in exactly one of the two tables.

    accepted: the canonical table. quarantined: `row` (from 1: the line of a CSV or JSONL file, the
    row of a Parquet file), `raw` (its text; in Parquet the mapped columns; the time of a row that
    is implausible only beside the others), `reason` (in words), `tokens` (input and output
    together, null unless both can be read).
    """

    accepted: pd.DataFrame
    quarantined: pd.DataFrame
    rows_read: int

    @property
    def lost(self) -> pd.DataFrame:
        """The quarantined rows whose request is in no accepted row."""
        return self.quarantined[~self.quarantined["reason"].isin(plausible.NOTHING_LOST)]

    def __post_init__(self) -> None:
        """Checks that no row was lost or made up."""
        in_tables = len(self.accepted) + len(self.quarantined)
        if in_tables != self.rows_read:
            raise ValueError(
                f"{self.rows_read} rows read, but {in_tables} in the tables: please report it"
            )


def read_log(
    source: str | Path | pd.DataFrame,
    format: str | None = None,
    columns: Mapping[str, str] | None = None,
    constants: Mapping[str, str] | None = None,
    longest_tokens: int = MOST_TOKENS,
) -> Log:
    """Reads a log into the canonical table, from a file or a DataFrame.

    source: the file, or a frame with a row per request. format: `csv` (RFC 4180 with a header,
    UTF-8), `jsonl`, `parquet`, or `azure` (the Azure 2023 trace, whose columns are known and whose
    rows are all answered requests); None to tell by the ending of the file.
    columns: canonical name -> name in the log; in JSONL, a name that begins with `/` is a JSON
    Pointer into nested objects. Columns of a frame with a canonical name need no entry. constants:
    canonical name -> its value in every row, for what the log lacks. By default `source` is the
    name of the file and `request_id` that name with the row number.
    longest_tokens: input and output tokens of the longest request that could have been answered.

    A time is ISO 8601 (without a zone it is UTC; digits below 1 us are cut) or a number since 1970,
    taken as the one of s, ms, us and ns that puts it between 1973 and 5138. Empty text, `null`,
    `none` and `nan` are null. Blank lines are skipped. A failed row without token counts has 0
    tokens. `requests.plausible` then judges rows beside the others: stray times, repeated lines,
    and several attempts of one call, of which one row gives the outcome.

    Raises: ValueError if the file is missing or not of its format, a canonical name is unknown or
    given twice, a name is not in the log, a constant is not of its column's type, or a required
    column is missing.

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
    path, file_format = _format_of(source, format, constants)
    mapping = {**file_format.columns, **columns}
    _check_names(path, mapping, constants)
    own_constants = {name: str(value) for name, value in constants.items()}
    constant_values = {"source": path.name, **file_format.constants, **own_constants}
    rows_read = 0
    accepted, quarantined = (
        [pd.DataFrame(columns=["row", *NAMES])],
        [pd.DataFrame(columns=_QUARANTINE)],
    )
    with duckdb.connect() as connection:
        # or a time that names no zone would be taken in the zone of this machine
        connection.execute("SET GLOBAL TimeZone = 'UTC'")
        texts = _texts(path, mapping, constant_values, connection)
        for batch in file_format.read(path, mapping, connection):
            rows_read += len(batch)
            rows = _typed_rows(batch, texts, connection)
            valid = rows["reason"].isna()
            accepted.append(rows.loc[valid, ["row", *NAMES]])
            quarantined.append(rows.loc[~valid, _QUARANTINE])
    rows = _stacked(accepted)
    table = conform(rows[NAMES])
    reasons = plausible.strays(table["ts_start"]).reindex(table.index)
    tokens = (table["input_tokens"] + table["output_tokens"]).astype(float)
    reasons[tokens > longest_tokens] = plausible.too_long(longest_tokens)
    reasons[plausible.no_chats(table)] = plausible.NO_CHAT
    default_id = path.name + ":" + rows["row"].astype("string")
    usable = table[reasons.isna()]
    calls = plausible.calls(usable, (table["request_id"] != default_id)[usable.index])
    reasons.update(calls.reasons)
    rejected = table[reasons.notna()]
    quarantined.append(
        pd.DataFrame(
            {
                "row": rows["row"][rejected.index],
                "raw": rejected["ts_start"].astype("string"),
                "reason": reasons[rejected.index],
                "tokens": tokens[rejected.index],
            }
        )
    )
    return Log(conform(calls.requests), _stacked(quarantined), rows_read)


def _format_of(
    source: str | Path | pd.DataFrame, format: str | None, constants: Mapping[str, str]
) -> tuple[Path, "_Format"]:
    """The name of a log for messages and ids, and its format."""
    if isinstance(source, pd.DataFrame):
        if format is not None:
            raise ValueError(f"DataFrame: a frame has no format: leave out format={format!r}")
        frame = source.set_axis([str(name) for name in source.columns], axis="columns")
        same = {name: name for name in frame.columns if name in NAMES and name not in constants}
        return Path("DataFrame"), _Format(partial(_read_frame, frame), same, {})
    if not isinstance(source, str | Path):
        raise ValueError(
            f"a {type(source).__name__} is not a log: give the path of a file or a frame"
        )
    path = Path(source)
    if path.is_dir():
        raise ValueError(f"{path} is a folder: name the log file in it")
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file: check the path of the log")
    format = _ENDINGS.get(path.suffix.lower()) if format is None else format
    if format not in _FORMATS:
        fault = (
            f"{format!r} is unknown"
            if format
            else f"cannot be told from the ending {path.suffix!r}"
        )
        raise ValueError(f"{path}: format {fault}; use {', '.join(_FORMATS)}")
    return path, _FORMATS[format]


def _stacked(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """The parts one below the other; the first is empty, for a log without any."""
    return pd.concat(parts[1:] or parts, ignore_index=True)


def _check_names(path: Path, mapping: Mapping[str, str], constants: Mapping[str, str]) -> None:
    if unknown := [name for name in (*mapping, *constants) if name not in NAMES]:
        raise ValueError(f"{path}: unknown columns {unknown}: use {', '.join(NAMES)}")
    if twice := [name for name in constants if name in mapping]:
        raise ValueError(f"{path}: {twice} are both mapped and constant: keep one of the two")


def _check_present(path: Path, mapping: Mapping[str, str], present: list[str]) -> None:
    for name, source in mapping.items():
        if (times := present.count(source)) != 1:
            columns = excerpt(", ".join(" ".join(excerpt(x).split()) for x in present), 500)
            raise ValueError(
                f"{path}: {name} is mapped to {source!r}, which the log has {times} times: "
                f"map it to one of: {columns or 'it has no columns'}"
            )


# --- casting and checking: text in, canonical columns and a reason out --------------------------


class _Cast(NamedTuple):
    """sql: turns the text {0} into a type, null if it does not fit. wording: the type in words."""

    sql: str
    wording: str


_WHOLE = _Cast(
    # a cast to BIGINT alone would round 12.7, and 1.267 or 1.000 may be a thousand or one
    "CASE WHEN TRY_CAST({0} AS DOUBLE) = TRY_CAST({0} AS BIGINT)"
    " AND NOT regexp_full_match({0}, '[-+]?\\d{{1,3}}(\\.\\d{{3}})+')"
    " THEN TRY_CAST({0} AS BIGINT) END",
    "a whole number",
)
_CASTS = {
    "string": _Cast("{0}", "a text"),
    "int64": _WHOLE,
    "Int64": _WHOLE,
    "float64": _Cast(
        "CASE WHEN isfinite(TRY_CAST({0} AS DOUBLE)) THEN TRY_CAST({0} AS DOUBLE) END", "a number"
    ),
    "bool": _Cast("TRY_CAST({0} AS BOOLEAN)", "true or false"),
    "datetime64[us, UTC]": _Cast(
        # 1e8 s is in 1973 and 1e11 s in 5138; ms, us and ns follow, three digits apart
        "CASE WHEN TRY_CAST({0} AS DOUBLE) BETWEEN 1e8 AND 9.9e19"
        " THEN to_timestamp({0}::DOUBLE / 1000 ** floor((log10({0}::DOUBLE) - 8) / 3))"
        " WHEN isfinite(TRY_CAST({0} AS TIMESTAMPTZ)) THEN TRY_CAST({0} AS TIMESTAMPTZ) END",
        "a time (ISO 8601, or a number since 1970)",
    ),
}


_NULLS = ("", "null", "none", "nan")

_NO_IDS = (*_NULLS, "-", "0", "n/a", "undefined", "unknown", str(UUID(int=0)))
"""Texts that mean a missing id."""


def _default_id(path: Path) -> str:
    return f"{_literal(path.name)} || ':' || row"


def _texts(
    path: Path, mapping: Mapping[str, str], constants: Mapping[str, str], connection: Connection
) -> dict[str, str]:
    """SQL for the text of each canonical column of a batch, null where the log lacks it."""
    missing = [name for name in REQUIRED if name not in {*mapping, *constants, "request_id"}]
    if missing:
        raise ValueError(
            f"{path}: {listed(missing)} required: map a column to each or give a constant"
        )
    texts = {}
    for name, dtype, *_ in COLUMNS:
        cast = _CASTS[dtype]
        if name in mapping:
            null = f"lower(trim({name})) IN ({', '.join(map(_literal, _NULLS))})"
            texts[name] = f"CASE WHEN NOT {null} THEN trim({name}) END"
            if name == "request_id":
                no_id = f"lower(trim({name})) IN ({', '.join(map(_literal, _NO_IDS))})"
                logged_id = f"CASE WHEN NOT {no_id} THEN trim({name}) END"
                texts[name] = f"coalesce({logged_id}, {_default_id(path)})"
        elif name in constants:
            texts[name] = _literal(constants[name])
            fits = f"SELECT {cast.sql.format(texts[name])} IS NOT NULL"
            if connection.execute(fits).fetchall() != [(True,)]:
                raise ValueError(
                    f"{path}: constant {name}={constants[name]!r} is not {cast.wording}"
                )
        elif name == "request_id":
            texts[name] = _default_id(path)
        else:
            texts[name] = "NULL::VARCHAR"
    return texts


def _typed_rows(
    batch: pd.DataFrame, texts: Mapping[str, str], connection: Connection
) -> pd.DataFrame:
    """The batch with its canonical columns typed, and a reason in each row that is quarantined."""
    casts = [(name, _CASTS[dtype]) for name, dtype, *_ in COLUMNS]
    text = ", ".join(f"{sql} AS {name}_text" for name, sql in texts.items())
    typed = ", ".join(f"{cast.sql.format(f'{name}_text')} AS {name}" for name, cast in casts)
    # a failed call without token counts used no tokens
    unused = ", ".join(
        f"CASE WHEN NOT ok AND {name}_text IS NULL THEN 0 ELSE {name} END AS {name}"
        for name in ("input_tokens", "output_tokens")
    )
    misfit = " ".join(
        f"WHEN {name} IS NULL AND {name}_text IS NOT NULL"
        f" THEN '{name} is ''' || left({name}_text, 40) || ''', not {cast.wording}'"
        for name, cast in casts
    )
    rows: pd.DataFrame = connection.sql(
        f"WITH texts AS (SELECT row, raw, problem, {text} FROM batch),"
        f" cast_ AS (SELECT *, {typed} FROM texts),"
        f" typed AS (SELECT * REPLACE ({unused}) FROM cast_)"
        f" SELECT row, raw, coalesce(problem, CASE {misfit} END, {BREACH_SQL}) AS reason,"
        f" input_tokens::DOUBLE + output_tokens::DOUBLE AS tokens, {', '.join(NAMES)} FROM typed"
    ).df()
    return rows


# --- reading: path and mapping in, batches with row, raw, problem and the mapped columns out -----


def _read_csv(
    path: Path, mapping: Mapping[str, str], connection: Connection
) -> Iterator[pd.DataFrame]:
    """By Python's csv: DuckDB 2.0, even with store_rejects, loses rows after an open quote."""
    limit = csv.field_size_limit(LONGEST_FIELD)
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            lines = _Lines(file)
            try:
                header = next(csv.reader(lines), [])
            except csv.Error as error:
                raise ValueError(
                    f"{path}:1: the header cannot be read as CSV ({error}): correct it, or "
                    "`requests.format`"
                ) from None
            if any(mark in name for name in header for mark in "\0\ufffd"):
                raise ValueError(
                    f"{path}:1: the header is not UTF-8 text: unpack or convert the file, or "
                    "correct `requests.format`"
                )
            _check_present(path, mapping, header)
            fields_at = [header.index(source) for source in mapping.values()]
            records = _csv_records(lines, len(header), fields_at)
            while rows := list(islice(records, BATCH_ROWS)):
                batch = pd.DataFrame(rows, columns=["row", "raw", "problem", *mapping])
                yield batch.astype({name: "string" for name in batch.columns if name != "row"})
    finally:
        csv.field_size_limit(limit)


class _Lines:
    """Lines of a file and of its current record, of which all but the first can be put back."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._returned: deque[str] = deque()
        self.taken: list[str] = []
        self.number = 1

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._returned.popleft() if self._returned else next(self._file)
        self.taken.append(line)
        return line

    def next_record(self) -> None:
        """Begins a new record."""
        self.number += len(self.taken)
        self.taken.clear()

    def put_back(self) -> None:
        """Puts all lines of the current record but its first back, to be read again."""
        self._returned.extendleft(reversed(self.taken[1:]))
        del self.taken[1:]


def _csv_records(
    lines: _Lines, width: int, fields_at: list[int]
) -> Iterator[tuple[int | str | None, ...]]:
    """Row, raw text, problem and mapped fields of each record.

    A faulty record takes one line only, since an open quote would swallow the rows after it.
    """
    reader = csv.reader(lines, strict=True)
    while True:
        lines.next_record()
        try:
            fields = next(reader)
            problem = None if len(fields) == width else f"{len(fields)} fields instead of {width}"
        except StopIteration:
            return
        except csv.Error as error:
            fields, problem = [""], f"not CSV: {error}"
        if not fields:
            continue
        if problem:
            lines.put_back()
        values = [None if problem else fields[at] for at in fields_at]
        yield lines.number, "".join(lines.taken).rstrip("\r\n"), problem, *values


def _read_jsonl(
    path: Path, mapping: Mapping[str, str], connection: Connection
) -> Iterator[pd.DataFrame]:
    at = {name: _literal(_pointer(source)) for name, source in mapping.items()}
    values = [f"json_extract_string(object, {at[name]}) AS {name}" for name in mapping]
    exists = [f"bool_or(json_exists(object, {at[name]})) AS {name}" for name in mapping]
    present = set[str]()
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        lines = ((row, line.strip()) for row, line in enumerate(file, 1) if line.strip())
        while rows := list(islice(lines, BATCH_ROWS)):
            batch = pd.DataFrame(rows, columns=["row", "raw"]).astype({"raw": "string"})
            connection.register("lines", batch)
            objects = connection.sql(f"SELECT *, {_OBJECT_SQL} AS object FROM lines")
            yield objects.project(", ".join(["row", "raw", _PROBLEM_SQL, *values])).df()
            names = objects.aggregate(", ".join([_KEYS_SQL, *exists])).df().iloc[0]
            present.update(names["keys"] if names["objects"] else [])
            present.update(mapping[name] for name in mapping if names["objects"] and names[name])
    if present:
        _check_present(path, mapping, sorted(present))


_OBJECT_SQL = "CASE WHEN json_valid(raw) AND json_type(raw) = 'OBJECT' THEN raw::JSON END"
_PROBLEM_SQL = "CASE WHEN object IS NULL THEN 'not a JSON object on one line' END AS problem"
_KEYS_SQL = "count(object) AS objects, any_value(json_keys(object)) AS keys"


def _pointer(source: str) -> str:
    """The JSON Pointer (RFC 6901) of a name; a pointer is returned as it is."""
    return source if source.startswith("/") else f"/{source.replace('~', '~0').replace('/', '~1')}"


def _read_parquet(
    path: Path, mapping: Mapping[str, str], connection: Connection
) -> Iterator[pd.DataFrame]:
    cursor = connection.cursor()  # a query on the same connection would end this one
    file = f"read_parquet({_literal(str(path))}, file_row_number = true)"
    unreadable = "cannot be read as Parquet: export the log again, or correct `requests.format`"
    try:
        described = cursor.execute(f"DESCRIBE SELECT * FROM {file}").fetchall()
    except duckdb.Error as error:
        raise ValueError(f"{path}: {unreadable} ({_first_line(error)})") from None
    _check_present(path, mapping, [name for name, *_ in described])
    raw = ", ".join(f"{_literal(name)}: {_quoted(name)}" for name in set(mapping.values()))
    values = [f"CAST({_quoted(source)} AS VARCHAR) AS {name}" for name, source in mapping.items()]
    try:
        cursor.execute(
            f"SELECT file_row_number + 1 AS row, CAST(to_json({{{raw}}}) AS VARCHAR) AS raw, "
            f"NULL::VARCHAR AS problem, {', '.join(values)} FROM {file}"
        )
        while len(batch := cursor.fetch_df_chunk(BATCH_ROWS // VECTOR_ROWS)):
            yield batch
    except duckdb.Error as error:
        raise ValueError(f"{path}: damaged, it {unreadable} ({_first_line(error)})") from None


def _read_frame(
    frame: pd.DataFrame, path: Path, mapping: Mapping[str, str], connection: Connection
) -> Iterator[pd.DataFrame]:
    _check_present(path, mapping, list(frame.columns))
    for start in range(0, len(frame), BATCH_ROWS):
        rows = frame[[*dict.fromkeys(mapping.values())]].iloc[start : start + BATCH_ROWS]
        texts = rows.astype("string").reset_index(drop=True)
        batch = pd.DataFrame({name: texts[source] for name, source in mapping.items()})
        batch["raw"] = texts.to_json(orient="records", lines=True).splitlines()
        batch["problem"] = pd.NA
        yield batch.astype("string").assign(row=range(start + 1, start + len(rows) + 1))


def _first_line(error: Exception) -> str:
    return excerpt(str(error).partition("\n")[0], 160)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


class _Format(NamedTuple):
    """A format of logs: its reader, and the columns and constants that all its files have."""

    read: Callable[[Path, Mapping[str, str], Connection], Iterator[pd.DataFrame]]
    columns: Mapping[str, str]
    constants: Mapping[str, str]


_AZURE_COLUMNS = {
    "ts_start": "TIMESTAMP",
    "input_tokens": "ContextTokens",
    "output_tokens": "GeneratedTokens",
}
_FORMATS = {
    "azure": _Format(_read_csv, _AZURE_COLUMNS, {"ok": "true"}),
    "csv": _Format(_read_csv, {}, {}),
    "jsonl": _Format(_read_jsonl, {}, {}),
    "parquet": _Format(_read_parquet, {}, {}),
}
_ENDINGS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}

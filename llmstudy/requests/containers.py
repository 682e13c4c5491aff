"""Which records does a log hold? One reader for each kind of file, whatever gateway wrote it.

A log is one file or many: JSON Lines, a JSON array or document, CSV with any delimiter, Parquet,
each also packed (gzip, zstd) and in UTF-16. A reader hands over batches of records, each with its
row, its raw text and the fault where it cannot be parsed; `field_sql` says how a field is taken
from them.
"""

import codecs
import csv
import gzip
import io
import json
import re
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from itertools import islice
from pathlib import Path
from typing import IO, Any, TextIO, cast
from urllib.parse import unquote

import duckdb
import pandas as pd
import zstandard
from duckdb import DuckDBPyConnection as Connection

from llmstudy.text import excerpt

BATCH_ROWS = 100_000
BATCH_CHARACTERS = 1 << 26  # of JSON text handed over at a time
LONGEST_LINE = 1 << 24  # bytes of a line of JSON that DuckDB reads
LONGEST_FIELD = 1 << 24  # characters in a CSV field that carries a prompt; Python's limit is 2^17
SAMPLE_RECORDS = 200
"""Records of a file that its format is judged by."""


@dataclass(frozen=True)
class Container:
    """How a file is read. Kinds: csv, jsonl, json (an array or documents), parquet, frame.

    fields: its columns, where it has a header. preamble: lines before it. sample: the first records
    as nested mappings. parts: fields that the path of a hive folder gives, `day=2026-11-02/`.
    texts: SQL for the text of each column of Parquet, and of each field of a nested one, by path.
    """

    path: Path
    kind: str
    fields: tuple[str, ...]
    sample: tuple[dict[str, Any], ...]
    encoding: str = "utf-8-sig"
    delimiter: str = ","
    frame: pd.DataFrame | None = None
    parts: tuple[tuple[str, str], ...] = ()
    preamble: int = 0
    texts: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def header(self) -> dict[str, str]:
        """Its columns by their names as `simple` has them, without names that several bear."""
        times = Counter(map(simple, self.fields))
        return {simple(name): name for name in self.fields if times[simple(name)] == 1}

    @cached_property
    def spellings(self) -> dict[str, str]:
        """JSON Pointers to the fields of the first records, by their names as `simple` has them."""
        places: dict[str, str] = {}
        for record in self.sample:
            _note_spellings(record, "", "", places)
        return places


# --- files ---------------------------------------------------------------------------------

_BOMS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


def _packing(path: Path) -> str:
    """How a file is packed, as DuckDB calls it."""
    with path.open("rb") as file:
        head = file.read(4)
    return "gzip" if head.startswith(_GZIP) else "zstd" if head == _ZSTD else "none"


def _bytes(path: Path) -> IO[bytes]:
    """The bytes of a file, unpacked."""
    packing = _packing(path)
    if packing == "gzip":
        return cast("IO[bytes]", gzip.open(path))
    if packing == "zstd":
        stream = zstandard.ZstdDecompressor().stream_reader(
            path.open("rb"), read_across_frames=True, closefd=True
        )
        return io.BufferedReader(cast("io.RawIOBase", stream))
    return path.open("rb")


def _text(path: Path, encoding: str, newline: str | None = None) -> TextIO:
    return io.TextIOWrapper(_bytes(path), encoding=encoding, errors="replace", newline=newline)


def opened(path: Path, kind: str | None = None) -> Container:
    """Which container a file is, told by its first bytes, not by its name.

    kind: read it as this kind; None: as what it is.
    Raises: ValueError if it is empty, or cannot be read.
    """
    unreadable = "cannot be read: export the log again, or correct `requests.path`"
    try:
        with _bytes(path) as file:
            head = file.read(1 << 16)
    except (OSError, EOFError, zstandard.ZstdError) as error:
        raise ValueError(f"{path}: {unreadable} ({error})") from None
    parts = tuple(
        (name, unquote(value))
        for name, _, value in (part.partition("=") for part in path.parent.parts)
        if value and name
    )
    if head.startswith(b"PAR1") or kind == "parquet":
        return _opened_parquet(path, parts)
    encoding = next((e for bom, e in _BOMS.items() if head.startswith(bom)), "")
    if not encoding and head[:200].count(0) > len(head[:200]) / 3:  # of Latin text, every second
        encoding = "utf-16-be" if head[:1] == b"\0" else "utf-16-le"
    encoding = encoding or ("utf-8-sig" if _is_utf8(head) else "cp1252")
    begin = head.decode(encoding, errors="ignore").lstrip()
    if kind is None:
        kind = "csv" if begin[:1] not in ("{", "[") else "json" if _is_one_value(begin) else "jsonl"
    if kind == "csv":
        return _opened_csv(path, encoding, parts)
    container = Container(path, kind, (), (), encoding, parts=parts)
    records = _json_values(container) if kind == "json" else _json_lines(container)
    sample = [_object(raw) for _, raw in islice(records, SAMPLE_RECORDS)]
    return replace(container, sample=tuple(x for x in sample if x))


def _is_utf8(head: bytes) -> bool:
    """Whether bytes are UTF-8, with some that are not at most; else they are of a Windows file."""
    if head[:1] in (b"{", b"["):  # JSON is UTF-8 by its definition
        return True
    text = head[: head.rfind(b"\n") + 1].decode("utf-8", errors="replace")
    return text.count("\ufffd") <= sum(letter > "\x7f" for letter in text) / 2


def _is_one_value(begin: str) -> bool:
    """Whether JSON text is an array or a document over several lines, not a record in each."""
    lines = begin.splitlines()[:6]
    whole = lines[:-1] if len(lines) > 1 else lines  # the last may be cut
    return begin.startswith("[") or (not any(map(_object, whole)) and len(lines) > 1)


def _object(raw: str) -> dict[str, Any] | None:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _opened_csv(path: Path, encoding: str, parts: tuple[tuple[str, str], ...]) -> Container:
    with _text(path, encoding, newline="") as file:
        first = file.readline(LONGEST_FIELD)
    stated = re.fullmatch(r"sep=(.)\s*", first)  # as Excel writes it before the header
    delimiter = stated[1] if stated else _delimiter(first)
    with _text(path, encoding, newline="") as file:
        if stated:
            file.readline()
        reader = csv.reader(file, delimiter=delimiter)
        try:
            header = tuple(next(reader, []))
        except csv.Error as error:
            raise ValueError(
                f"{path}:1: the header cannot be read as CSV ({error}): mend it, or correct "
                "`requests.format`"
            ) from None
        if any(mark in name for name in header for mark in "\0\ufffd"):
            raise ValueError(
                f"{path}:1: the header is not UTF-8 text: unpack or convert the file, or correct "
                "`requests.format`"
            )
        try:
            rows = [row for row in islice(reader, SAMPLE_RECORDS) if row]
        except csv.Error:
            rows = []  # the reader of the rows puts the faulty one aside
    sample = tuple(dict(zip(header, row, strict=False)) for row in rows)
    return Container(
        path, "csv", header, sample, encoding, delimiter, parts=parts, preamble=int(bool(stated))
    )


def _delimiter(header: str) -> str:
    """The sign that parts the columns of a header: the most frequent one outside quotes."""
    bare = re.sub(r'"[^"]*"', "", header)
    counts = {sign: bare.count(sign) for sign in ",;\t|"}
    return max(counts, key=lambda sign: counts[sign])


def _opened_parquet(path: Path, parts: tuple[tuple[str, str], ...]) -> Container:
    with duckdb.connect() as connection:
        try:
            relation = connection.sql(f"SELECT * FROM read_parquet({literal(str(path))})")
            names = tuple(relation.columns)
            texts: dict[str, str] = {}
            for name, kind in zip(names, relation.types, strict=True):
                _note_texts(quoted(name), kind, _pointer([name]), texts)
            rows = relation.project("to_json(COLUMNS(*))::VARCHAR").limit(SAMPLE_RECORDS).fetchall()
        except duckdb.Error as error:
            raise ValueError(
                f"{path}: cannot be read as Parquet: export the log again, or correct "
                f"`requests.format` ({first_line(error)})"
            ) from None
    sample = tuple(
        {name: json.loads(text) for name, text in zip(names, row, strict=True) if text is not None}
        for row in rows
    )
    return Container(path, "parquet", names, sample, parts=parts, texts=texts)


def of_frame(frame: pd.DataFrame) -> Container:
    """A frame as a container named DataFrame."""
    named = frame.set_axis([str(name) for name in frame.columns], axis="columns")
    sample = json.loads(named.head(SAMPLE_RECORDS).to_json(orient="records", date_format="iso"))
    return Container(Path("DataFrame"), "frame", tuple(named.columns), tuple(sample), frame=named)


def within(container: Container, inner: str) -> Container:
    """A container of documents whose sample is the records that lie in them; see `batches`."""
    names = _list_names(inner)
    if not any(names[0] in record for record in container.sample):
        return container
    try:
        sample = [x for document in container.sample for x in _members(document, names)]
    except RecursionError:
        sample = []
    return replace(container, sample=tuple(sample[:SAMPLE_RECORDS]))


# --- records: batches with row, raw, problem and the text of each field ---------------------------


def whole(container: Container, columns: Sequence[str], inner: str | None) -> str | None:
    """The records of a container as the SQL of one table, as `batches` has it, read by DuckDB on
    all cores; None where only Python reads it without losing a row. `row` may be null: then the
    rows come in their order, without a gap.

    To execute it raises duckdb.Error where the file is damaged, or not UTF-8.
    """
    path = literal(str(container.path))
    if container.kind == "parquet":
        values = "".join(f", {container.texts[name]} AS c{n}" for n, name in enumerate(columns))
        return (
            f"(SELECT file_row_number + 1 AS row, NULL AS raw, NULL AS problem{values}"
            f" FROM read_parquet({path}, file_row_number = true))"
        )
    if container.kind != "jsonl" or inner or container.encoding != "utf-8-sig":
        return None
    lines = (  # a line is a field of a CSV file whose delimiter and null stand in no text
        f"read_csv({path}, columns = {{'line': 'VARCHAR'}}, delim = '\x1c\x1d\x1e\x1f',"
        f" nullstr = '\x1f\x1e\x1d\x1c', quote = '', escape = '', header = false,"
        f" auto_detect = false, strict_mode = false, max_line_size = {LONGEST_LINE},"
        # to fill the larger buffers that it would take takes longer
        f" buffer_size = {2 * LONGEST_LINE}, compression = '{_packing(container.path)}')"
    )
    # to trim every line takes longer than to parse it
    signs = "' \t\r\x1e'"
    trimmed = f"CASE WHEN contains({signs}, line[1]) THEN trim(line, {signs}) ELSE line END"
    records = f"SELECT {trimmed} AS raw FROM {lines} WHERE raw <> ''"
    # to number the rows here would take the work of all cores through one
    return _json_table(f"(SELECT NULL AS row, raw FROM ({records}))", columns)


def batches(
    container: Container, columns: Sequence[str], inner: str | None, connection: Connection
) -> Iterator[str]:
    """The records of a container, in batches of bounded size, each as the SQL of a table.

    columns: those of a file with a header that are read; the others stay where they are.
    inner: where the records lie in a JSON document, `data[].results[]`; what stands beside a list
    is given to each of its members. A table has `row` (from 1: the line of a CSV file, the record
    of another), `raw` (where there is a problem), `problem`, and one text column per name, c0,
    c1...; of JSON a list `x` with the text at each pointer.
    """
    table = "batch"
    if container.kind == "csv":
        frames = _csv_batches(container, columns)
    elif container.kind == "frame":
        frames = _frame_batches(container, columns)
    else:
        lines = _json_values(container) if container.kind == "json" else _json_lines(container)
        frames = _bounded(_inner(lines, inner) if inner else lines)
        table = _json_table(table, columns)
    for frame in frames:
        connection.register("batch", frame)
        yield table


def _json_table(records: str, columns: Sequence[str]) -> str:
    """SQL for the records of a table with row and raw, as `batches` has them."""
    pointers = ", ".join(map(literal, columns))
    # to ask first whether it is JSON would parse each record twice
    texts = f"CASE WHEN raw[1] = '{{' THEN try(json_extract_string(raw, [{pointers}])) END"
    return (
        "(SELECT row, CASE WHEN texts IS NULL THEN raw END AS raw,"
        " CASE WHEN texts IS NULL THEN 'not a JSON object on one line' END AS problem,"
        f" list_transform(texts, lambda text: CASE WHEN {_MAY_BE_PADDED} THEN {_filled('text')}"
        f" ELSE text END) AS x FROM (SELECT row, raw, {texts} AS texts FROM {records}))"
    )


_NULLS = ("", "null", "none", "nan")


def _filled(text: str) -> str:
    """SQL for a text without the spaces around it; null where it stands for nothing."""
    nulls = ", ".join(map(literal, _NULLS))
    # no word for nothing is longer, and to compare every text takes its time
    return (
        f"CASE WHEN length({text}) > 12 THEN trim({text})"
        f" WHEN lower(trim({text})) NOT IN ({nulls}) THEN trim({text}) END"
    )


_MAY_BE_PADDED = "strlen(text) <= 4 OR contains(text, ' ') OR length(text) < strlen(text)"
"""SQL for whether a text may have spaces around it, of any kind, or stand for nothing."""


def _bounded(records: Iterator[tuple[int, str]]) -> Iterator[pd.DataFrame]:
    batch: list[tuple[int, str]] = []
    size = 0
    for record in records:
        batch.append(record)
        size += len(record[1])
        if len(batch) == BATCH_ROWS or size > BATCH_CHARACTERS:
            yield pd.DataFrame(batch, columns=["row", "raw"]).astype({"raw": "string"})
            batch, size = [], 0
    if batch:
        yield pd.DataFrame(batch, columns=["row", "raw"]).astype({"raw": "string"})


def _json_lines(container: Container) -> Iterator[tuple[int, str]]:
    with _text(container.path, container.encoding) as file:
        lines = (line.strip(" \t\r\n\x1e") for line in file)
        yield from enumerate((line for line in lines if line), 1)


_CHUNK = 1 << 20
_BETWEEN = re.compile(r"[\s,\[\]]*")


def _json_values(container: Container) -> Iterator[tuple[int, str]]:
    """Number and text of each value of an array, or of each document of a file, as they come."""
    decoder, buffer, at, number, ended = json.JSONDecoder(), "", 0, 0, False
    with _text(container.path, container.encoding) as file:
        while True:
            at = _BETWEEN.match(buffer, at).end()  # type: ignore[union-attr]
            end = 0
            if at < len(buffer):
                try:
                    _, end = decoder.raw_decode(buffer, at)
                except (ValueError, RecursionError):
                    end = 0
            # a number at the end of the text may go on in the next piece
            if end and (end < len(buffer) or ended):
                number += 1
                yield number, buffer[at:end]
                at = end
            elif ended:
                if at < len(buffer):
                    yield number + 1, buffer[at:]
                return
            else:
                piece = file.read(max(_CHUNK, len(buffer) - at))
                buffer, at, ended = buffer[at:] + piece, 0, not piece


def _inner(records: Iterator[tuple[int, str]], inner: str) -> Iterator[tuple[int, str]]:
    """The records that lie in the lists of documents, numbered as they come."""
    names = _list_names(inner)
    number = 0
    for _, raw in records:
        document = _object(raw)
        if document is None:
            number += 1
            yield number, raw
            continue
        try:
            records_ = [json.dumps(record) for record in _members(document, names)]
        except RecursionError:
            records_ = [raw]
        for record in records_:
            number += 1
            yield number, record


def _list_names(inner: str) -> list[str]:
    return [name.removesuffix("[]") for name in inner.split("[].")]


def _members(document: dict[str, Any], names: Sequence[str]) -> Iterator[dict[str, Any]]:
    if not names:
        yield {key: _plain(value) for key, value in document.items()}
        return
    members = document.get(names[0])
    if not isinstance(members, list):
        if members is None and len(names) > 0 and names[0] not in document:
            yield document  # a record that lies outside the lists
        return
    beside = {key: value for key, value in document.items() if key != names[0]}
    for member in members:
        if isinstance(member, dict):
            yield from _members({**beside, **member}, names[1:])


_OTLP_VALUES = ("stringValue", "intValue", "doubleValue", "boolValue", "bytesValue")


def _plain(value: Any) -> Any:
    """A value without the wrapping of OTLP JSON: `[{key: a, value: {intValue: 1}}]` is `{a: 1}`."""
    if isinstance(value, list):
        if value and all(isinstance(x, dict) and "key" in x and len(x) <= 2 for x in value):
            return {str(each["key"]): _plain(each.get("value")) for each in value}
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        for kind in ("arrayValue", "kvlistValue"):
            if kind in value and isinstance(value[kind], dict):
                return _plain(value[kind].get("values", []))
        for kind in _OTLP_VALUES:
            if kind in value:
                return value[kind]
        return {key: _plain(each) for key, each in value.items()}
    return value


def _csv_batches(container: Container, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
    """With Python's reader: DuckDB 2.0, even with store_rejects, loses rows after an open quote."""
    limit = csv.field_size_limit(LONGEST_FIELD)
    names = ["row", "raw", "problem", *(f"c{n}" for n in range(len(columns)))]
    try:
        with _text(container.path, container.encoding, newline="") as file:
            lines = _Lines(file)
            for _ in range(container.preamble):
                next(lines)
            next(csv.reader(lines, delimiter=container.delimiter), None)
            fields_at = [container.fields.index(name) for name in columns]
            records = _csv_records(lines, container, fields_at)
            while rows := list(islice(records, BATCH_ROWS)):
                batch = pd.DataFrame(rows, columns=names)
                yield batch.astype({name: "string" for name in names if name != "row"})
    finally:
        csv.field_size_limit(limit)


class _Lines:
    """Lines of a file that remember which the record at hand took, and take some of them back."""

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
        """Leave the lines taken so far behind."""
        self.number += len(self.taken)
        self.taken.clear()

    def only_first(self) -> None:
        """Take back all lines of the record at hand but its first."""
        self._returned.extendleft(reversed(self.taken[1:]))
        del self.taken[1:]


def _csv_records(
    lines: _Lines, container: Container, fields_at: list[int]
) -> Iterator[tuple[int | str | None, ...]]:
    """Row, raw text, problem and fields of each record.

    A record in error has one line only: an open quote would swallow the rows that follow.
    """
    reader = csv.reader(lines, delimiter=container.delimiter, strict=True)
    width = len(container.fields)
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
            lines.only_first()
        values = [None if problem else fields[at] for at in fields_at]
        raw = "".join(lines.taken).rstrip("\r\n") if problem else None
        yield lines.number, raw, problem, *values


def _note_texts(value: str, kind: Any, pointer: str, texts: dict[str, str]) -> None:
    """Notes the text of a typed value and of its fields; only text may be padded, or say `null`."""
    text = f"{value}::VARCHAR"
    if kind.id in ("struct", "map", "list", "array"):
        text = f"to_json({value})::VARCHAR"
    elif kind.id == "null":
        text = "NULL::VARCHAR"
    elif kind.id in ("float", "double"):
        text = f"nullif({text}, 'nan')"
    elif kind.id in ("varchar", "blob", "enum"):
        text = _filled(text)
    texts[pointer] = text
    for name, inner in kind.children if kind.id == "struct" else ():
        place = f"{pointer}{_pointer([name])}"
        _note_texts(f"struct_extract({value}, {literal(name)})", inner, place, texts)


def _frame_batches(container: Container, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
    frame = container.frame
    assert frame is not None
    for start in range(0, len(frame), BATCH_ROWS):
        rows = frame[[*dict.fromkeys(columns)]].iloc[start : start + BATCH_ROWS]
        texts = rows.map(_cell).astype("string").reset_index(drop=True)
        batch = pd.DataFrame({f"c{n}": texts[name] for n, name in enumerate(columns)})
        batch[["raw", "problem"]] = pd.NA
        yield batch.astype("string").assign(row=range(start + 1, start + len(rows) + 1))


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, dict | list) else value


# --- fields ----------------------------------------------------------------------------------


def field_sql(field: str, container: Container, columns: list[str]) -> str | None:
    """SQL for a field's text in a batch of `batches`; None where the container has no such field.

    Empty text, `null`, `none` and `nan` are null.

    field: a name, a path with dots (`usage.prompt_tokens`), or a JSON Pointer (`/usage/0/total`).
    A name that itself has dots wins over a path; `a + b` is a sum. columns: what `batches` is to
    read, the columns of a file with a header or the JSON Pointers of the others; what the field
    needs is added.
    """
    at = _header(container, field)
    if at is not None:
        if container.kind == "parquet":
            return f"c{_place(_pointer([at]), columns)}"
        return _filled(f"c{_place(at, columns)}")
    if " + " in field:
        parts = [field_sql(part, container, columns) for part in field.split(" + ")]
        return _sum_sql([part for part in parts if part is not None])
    if container.kind in ("jsonl", "json"):
        return _json_sql(field, container, columns)
    names = _names(field)
    for cut in range(len(names) - 1, 0, -1):
        head = _header(container, ".".join(names[:cut]))
        if head is not None:
            if container.kind != "parquet":
                return _within(f"c{_place(head, columns)}", names[cut:])
            path = _pointer([head, *names[cut:]])
            if path in container.texts:
                return f"c{_place(path, columns)}"
            return _within(f"c{_place(_pointer([head]), columns)}", names[cut:])
    if field in dict(container.parts):
        return literal(dict(container.parts)[field])
    return None


def _within(text: str, names: Sequence[str]) -> str:
    """SQL for the text at a path of JSON; null where that is no JSON."""
    return _filled(f"try(json_extract_string({text}, {literal(_pointer(names))}))")


def _sum_sql(parts: Sequence[str]) -> str | None:
    """SQL for the sum of the parts that are filled; a part that is no number is the text itself."""
    if not parts:
        return None
    numbers = ", ".join(f"TRY_CAST({part} AS DECIMAL(38, 6))" for part in parts)
    misfits = [f"CASE WHEN TRY_CAST({x} AS DECIMAL(38, 6)) IS NULL THEN {x} END" for x in parts]
    total = f"list_sum([{numbers}])"
    return f"coalesce({', '.join(misfits)}, rtrim(rtrim({total}::VARCHAR, '0'), '.'))"


def _header(container: Container, field: str) -> str | None:
    """The column of a header that a name means: as written, else in any case and spacing."""
    return field if field in container.fields else container.header.get(simple(field))


def _place(name: str, columns: list[str]) -> int:
    if name not in columns:
        columns.append(name)
    return columns.index(name)


@cache
def simple(name: str) -> str:
    """A name without case, spaces and signs: `Prompt Tokens` is `prompt_tokens`."""
    return re.sub(r"[^\w]|_", "", name.casefold())


def _json_sql(field: str, container: Container, pointers: list[str]) -> str:
    """SQL for a field of a JSON record; where its head holds JSON as text, that is parsed too."""
    field = _as_written(field, container)
    names = _names(field)
    seen = [value for record in container.sample for value in [record.get(names[0])] if value]
    if len(names) > 1 and seen and isinstance(seen[0], str):
        return _within(f"x[{_place(_pointer(names[:1]), pointers) + 1}]", names[1:])
    forms = _pointers(field)  # each that is looked for takes its time
    if not any(field in record for record in container.sample):
        forms = forms[-1:]
    elif not any(_has(record, names) for record in container.sample):
        forms = forms[:1]
    places = [f"x[{_place(pointer, pointers) + 1}]" for pointer in forms]
    return places[0] if len(places) == 1 else f"coalesce({', '.join(places)})"


def _names(field: str) -> list[str]:
    if field.startswith("/"):
        return [part.replace("~1", "/").replace("~0", "~") for part in field[1:].split("/")]
    return field.split(".")


def _pointer(names: Sequence[str]) -> str:
    return "".join("/" + name.replace("~", "~0").replace("/", "~1") for name in names)


def _pointers(field: str) -> list[str]:
    """The JSON Pointers (RFC 6901) to a field: its name as it stands, then as a path."""
    if field.startswith("/"):
        return [field]
    return list(dict.fromkeys([_pointer([field]), _pointer(_names(field))]))


def has_field(field: str, container: Container) -> bool:
    """Whether the first records of a container have a field, filled or not; of a sum, one part."""
    if " + " in field and _header(container, field) is None:
        return any(has_field(part, container) for part in field.split(" + "))
    if container.kind not in ("jsonl", "json"):
        if _header(container, field) is not None or field in dict(container.parts):
            return True
        head, *rest = _names(field)
        head = _header(container, head) or head
        return _pointer([head, *rest]) in container.texts or any(
            bool(rest) and _has(_loaded(record.get(head)), rest) for record in container.sample
        )
    return _is_there(field, container) or _as_written(field, container) != field


def _is_there(field: str, container: Container) -> bool:
    names = _names(field)
    return any(field in record or _has(record, names) for record in container.sample)


def _as_written(field: str, container: Container) -> str:
    """A field of JSON as the first records spell it: `UserId` where `user_id` is looked for."""
    if _is_there(field, container):
        return field
    path = "".join(f"/{simple(name)}" for name in _names(field))
    return container.spellings.get(path, container.spellings.get(f"/{simple(field)}", field))


DEEPEST_FIELD = 8
"""Names in the path of a field that is looked for in any spelling."""


def _note_spellings(value: Any, path: str, pointer: str, places: dict[str, str]) -> None:
    value = _loaded(value)
    if isinstance(value, dict) and pointer.count("/") < DEEPEST_FIELD:
        for name, inner in value.items():
            if plain := simple(str(name)):
                place = f"{path}/{plain}", f"{pointer}{_pointer([str(name)])}"
                places.setdefault(*place)
                _note_spellings(inner, *place, places)


def _has(value: Any, names: Sequence[str]) -> bool:
    for name in names:
        value = _loaded(value)
        if isinstance(value, list) and name.isdigit() and int(name) < len(value):
            value = value[int(name)]
        elif isinstance(value, dict) and name in value:
            value = value[name]
        else:
            return False
    return True


def _loaded(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def names_of(container: Container) -> list[str]:
    """The fields of a container, for a message: its header, or the keys of its first records."""
    if container.fields:
        return list(container.fields)
    return list(dict.fromkeys(key for record in container.sample for key in record))


def first_line(error: Exception) -> str:
    """The first line of an error's message."""
    return excerpt(str(error).partition("\n")[0], 160)


def literal(text: str) -> str:
    """Text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'

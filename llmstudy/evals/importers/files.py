"""Files of other tools as documents: JSON, JSON Lines, CSV, Parquet, and inspect_ai's archives."""

import csv
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import zstandard

from llmstudy.evals.table import REPLIES
from llmstudy.requests.files import files_of

LONGEST_CELL = 1 << 28
"""Characters of the longest cell of a CSV file that is read."""


@dataclass(frozen=True)
class Document:
    """What is in a file: an object with its names, or records (of JSON Lines, an array, a table).

    An archive of inspect_ai is the object that its JSON log would be.
    """

    name: str
    path: Path | None
    top: dict[str, Any] | None
    records: list[dict[str, Any]]


def documents(source: str | Path | pd.DataFrame | Sequence[str | Path]) -> list[Document]:
    """The documents of a table, a file, a folder, a glob, or several of these, in order.

    Raises: ValueError for a file that is absent, empty, or none of the kinds that are read.
    """
    if isinstance(source, pd.DataFrame):
        return [Document("table", None, None, _records(source))]
    # what a run has obtained lies beside its evaluation, and is none
    return [_document(path) for path in files_of(source) if path.suffix != REPLIES]


def _document(path: Path) -> Document:
    content = path.read_bytes()
    try:
        if content.startswith(b"PK"):
            return Document(path.name, path, _archive(content), [])
        if content.startswith(b"PAR1"):
            return Document(path.name, path, None, _records(_parquet(path)))
        top, records = _parsed(_decoded(content))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return Document(path.name, path, top, records)


def _parquet(path: Path) -> pd.DataFrame:
    import duckdb

    try:
        with duckdb.connect() as connection:
            frame: pd.DataFrame = connection.read_parquet(str(path)).df()
            return frame
    except duckdb.Error:
        raise ValueError("cannot be read as Parquet: export it again") from None


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    if not frame.columns.is_unique:
        raise ValueError("the table has two columns of the same name: rename one of them")
    if any(name is not None for name in frame.index.names):
        frame = frame.reset_index()
    # a cell that is a list or an array has no single truth about being missing
    empty = frame.map(lambda cell: pd.api.types.is_scalar(cell) and pd.isna(cell))
    rows = frame.astype(object).mask(empty.astype(bool), None)
    rows = rows.map(lambda cell: cell.item() if hasattr(cell, "item") and not _size(cell) else cell)
    return [{str(key): cell for key, cell in row.items()} for row in rows.to_dict("records")]


def _size(cell: Any) -> bool:
    return bool(getattr(cell, "ndim", 0))


def _decoded(content: bytes) -> str:
    wide = content[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text: save it as UTF-8") from None
    if not text.strip():
        raise ValueError("is empty: export it again")
    return text


def _parsed(text: str) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    if text.lstrip()[:1] not in ("{", "["):
        return None, _table(text)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as fault:
        return None, list(_lines(text, fault))
    if isinstance(value, dict):
        return value, [value]
    if not value or not all(isinstance(each, dict) for each in value):
        raise ValueError("is a JSON array of other things than records: give one object an answer")
    return None, value


def _lines(text: str, fault: Exception) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            why = f" ({fault})" if number == 1 and isinstance(fault, ValueError) else ""
            raise ValueError(f"line {number} is not a JSON object{why}: export the file again")
        yield value


def _table(text: str) -> list[dict[str, Any]]:
    limit = csv.field_size_limit(LONGEST_CELL)
    try:
        begin = text.lstrip().partition("\n")[0]
        delimiter = max(",;\t|", key=begin.count)
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        header = [name.strip() for name in next((row for row in rows if row), [])]
        if len(header) != len(set(header)):
            raise ValueError("has two columns of the same name: rename one of them")
        records = []
        for row in rows:
            if row and len(row) != len(header):
                raise ValueError(
                    f"line {rows.line_num} has {len(row)} fields, the header {len(header)}: mend it"
                )
            if row:
                records.append({name: cell or None for name, cell in zip(header, row, strict=True)})
    except csv.Error as error:
        raise ValueError(f"is not CSV, line {rows.line_num} ({error}): export it again") from None
    finally:
        csv.field_size_limit(limit)
    if not records:
        raise ValueError("has a header and no rows, or is no table at all: export it again")
    return records


# ---- archives -----------------------------------------------------------------------------------


def _archive(content: bytes) -> dict[str, Any]:
    """The log in an `.eval` archive: header and samples; its start, if the run never ended."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {info.filename: info for info in archive.infolist()}
    except (zipfile.BadZipFile, struct.error, ValueError, NotImplementedError):
        raise ValueError("is a damaged archive: copy it again, or convert it to JSON") from None
    head = next((n for n in ("header.json", "_journal/start.json") if n in members), None)
    if head is None:
        raise ValueError("is an archive without header.json, so no log of inspect_ai")
    names = [n for n in members if n.startswith("samples/") and n.endswith(".json")]
    log = _json(content, members[head])
    return {**log, "samples": [_json(content, members[name]) for name in names]}


def _json(content: bytes, member: zipfile.ZipInfo) -> dict[str, Any]:
    try:
        value = json.loads(_member(content, member))
    except (ValueError, RecursionError, zlib.error, zstandard.ZstdError, struct.error, MemoryError):
        raise ValueError(f"{member.filename} in the archive is damaged: copy it again") from None
    if not isinstance(value, dict):
        raise ValueError(f"{member.filename} in the archive is not a JSON object")
    return value


def _member(content: bytes, member: zipfile.ZipInfo) -> bytes:
    """The bytes of a member; Python's zipfile cannot read zstd, which is method 93, before 3.14.

    Source: PKWARE, .ZIP File Format Specification 6.3.10, sections 4.3.7 and 4.4.5.
    """
    start = member.header_offset
    name_size, extra_size = struct.unpack("<HH", content[start + 26 : start + 30])
    start += 30 + name_size + extra_size
    packed = content[start : start + member.compress_size]
    if member.compress_type == zipfile.ZIP_STORED:
        data = packed
    elif member.compress_type == zipfile.ZIP_DEFLATED:
        data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, member.file_size or 1)
    elif member.compress_type == 93:
        # in pieces, since a frame may not say its size
        with zstandard.ZstdDecompressor().stream_reader(packed) as reader:
            data = reader.read(member.file_size)
    else:
        raise ValueError(f"method {member.compress_type} is not read")
    if zlib.crc32(data) != member.CRC:
        raise ValueError("its checksum differs")
    return data

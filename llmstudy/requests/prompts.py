"""The prompts and answers of a log: the one reader of texts, for golden sets alone.

An import of a log never comes here, so that what it stores holds no text of a prompt.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb
import pandas as pd
from duckdb import DuckDBPyConnection as Connection

from llmstudy.requests import containers, formats
from llmstudy.requests.containers import Container
from llmstudy.requests.files import files_of
from llmstudy.requests.mapping import LogFormat, LogMapping
from llmstudy.text import excerpt


def texts(
    source: str | Path | Sequence[str | Path],
    places: Sequence[int],
    format: str | None = None,
    declared: LogMapping | None = None,
    prompt: str | None = None,
    answer: str | None = None,
) -> tuple[pd.DataFrame, LogFormat]:
    """The texts of some rows of a log, as its fields have them: JSON, or plain text.

    source, format, declared: as the log is imported. places: of the rows, from 0, over all files;
    they are `n` of `Imported`. prompt, answer: fields that the texts are in, None for those of the
    format.
    Returns: place, prompt, system, answer, null where a row has none; and the format of the log.
    Raises: ValueError for a field that the log does not have.
    """
    kind = format if format in formats.CONTAINERS else None
    files = [containers.opened(path, kind) for path in files_of(source)]
    chosen = formats.chosen(files, format, declared or LogMapping())
    fields = {
        "prompt": (prompt,) if prompt else chosen.prompt,
        "system": () if prompt else chosen.system,
        "answer": (answer,) if answer else chosen.answer,
    }
    inner = [containers.within(f, chosen.records) if chosen.records else f for f in files]
    for field in filter(None, (prompt, answer)):
        if not any(containers.has_field(field, file) for file in inner):
            names = excerpt(", ".join(containers.names_of(inner[0])), 500)
            raise ValueError(f"{files[0].path}: no field {field!r}: name one of {names}")
    wanted = pd.Series(sorted(places), dtype="int64")
    with duckdb.connect() as connection:
        parts = list(_texts(inner, chosen, fields, wanted, connection))
    return pd.concat(parts, ignore_index=True), chosen


def without_prompts(chosen: LogFormat) -> str:
    """What is to do where a log of a format has no prompts."""
    how = chosen.switch_on or f"{chosen.title} has none by itself."
    return (
        f"the log has no prompts, which golden items are made of. {how} "
        "Or name the fields that have them: prompt=FIELD answer=FIELD"
    )


def _texts(
    files: Sequence[Container],
    chosen: LogFormat,
    fields: dict[str, tuple[str, ...]],
    wanted: "pd.Series[int]",
    connection: Connection,
) -> Iterator[pd.DataFrame]:
    """The texts of the wanted rows, file by file; rows are counted as an import counts them."""
    start = 0
    for container in files:
        read: list[str] = []
        cells = {name: _text_sql(names, container, read) for name, names in fields.items()}
        selected = ", ".join(f"{sql} AS {name}" for name, sql in cells.items())
        for table in _tables(container, read, chosen, connection):
            # the rows first, since to parse the JSON of all would take its time
            rows = connection.sql(f"SELECT row FROM {table} ORDER BY row").fetchnumpy()["row"]
            here = wanted[(wanted >= start) & (wanted < start + len(rows))].to_numpy()
            wanted_here = pd.DataFrame({"place": here, "row": rows[here - start]})
            start += len(rows)
            if len(here):
                connection.register("wanted_here", wanted_here)
                yield connection.sql(
                    f"SELECT place, {selected} FROM {table} JOIN wanted_here USING (row)"
                    " ORDER BY place"
                ).df()


def _tables(
    container: Container, read: list[str], chosen: LogFormat, connection: Connection
) -> Iterator[str]:
    if container.kind == "parquet" and (table := containers.whole(container, read, None)):
        yield table
    else:
        yield from containers.batches(container, read, chosen.records, connection)


def _text_sql(fields: Sequence[str], container: Container, read: list[str]) -> str:
    """SQL for the first of the fields that is filled; an empty list or object is not."""
    sqls = [
        f"nullif(nullif({sql}, '{{}}'), '[]')"
        for field in fields
        if containers.has_field(field, container)
        and (sql := containers.field_sql(field, container, read)) is not None
    ]
    return f"coalesce({', '.join(sqls)})" if sqls else "NULL::VARCHAR"

"""The log of a study as one compact table, which is made once and shared by its chapters.

Its columns lie in files of the user's cache that each process maps into its memory, so that ten
million requests are read and judged once, and are in memory once. The name of its folder is a hash
of all that it depends on.
"""

import atexit
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd

from llmstudy import cache, paths
from llmstudy.requests import containers, formats
from llmstudy.requests.containers import literal
from llmstudy.requests.files import files_of
from llmstudy.requests.importers import (
    QUOTED_CELL,
    Imported,
    Log,
    column_of,
    imported,
    is_canonical,
)
from llmstudy.requests.plausible import microseconds
from llmstudy.requests.schema import COLUMNS, MOST_TOKENS, NAMES, UNKNOWN

R = TypeVar("R")

_IN_MEMORY = {
    column.name: column.dtype
    for column in COLUMNS
    if column.name
    in (
        *("ts_start", "workload", "tenant", "provider", "model_served", "first_model"),
        *("input_tokens", "cached_input_tokens", "output_tokens", "latency_s", "ttft_s"),
        *("ok", "failed_attempts", "n_requests", "source"),
    )
}
"""The columns that chapters work on row by row, and their types."""

_REQUESTS, _ASIDE, _ABOUT = "requests.parquet", "aside.parquet", "log.json"

_TABLES_PER_LOG = 3
"""Older ones go: a study that is read in another way has a table of its own."""


@dataclass(frozen=True)
class LogTable(Log):
    """A log whose accepted rows are in order of workload and time, with the columns that chapters
    work on; texts are categories.

    file: all rows in the order of the log, with all columns but `request_id`, which compresses
    badly and which no measure reads, as Parquet. Reasons in the quarantine do not quote the log,
    and it has no `raw`.
    """

    file: Path | None = None

    def once(self, name: str, compute: Callable[[], R]) -> R:
        """What `compute` gives for this table alone; it is stored beside it under the name."""
        if self.file is None:
            return compute()
        return cache.in_file(self.file.with_name(f"{name}.pickle"), compute)


def log_table(
    source: str | Path | Sequence[str | Path],
    format: str | None = None,
    longest_tokens: int = MOST_TOKENS,
    served: Mapping[str, tuple[str, str]] = MappingProxyType({}),
    **declared: Any,
) -> LogTable:
    """The table of a log, from the cache where it has been read in this way before.

    source, format, longest_tokens, declared: as `read_log`. served: workload -> the provider and
    the model of its requests where the log does not name them.
    Raises: ValueError as `read_log`.
    """
    files = [(str(path.resolve()), path.stat()) for path in files_of(source)]
    states = [(path, stat.st_size, stat.st_mtime_ns) for path, stat in files]
    read_as = (format, longest_tokens, sorted(served.items()), sorted(declared.items()))
    code = (cache.code(), formats.sha256())
    name = f"{_digest(str(source))[:12]}-{_digest(repr((states, read_as, code)))[:24]}"
    try:
        folder = paths.cache("logs") / name
        if not folder.is_dir():
            _build(folder, source, format, longest_tokens, served, declared)
            _forget(folder)
    except (OSError, RuntimeError, duckdb.IOException):  # a full disk, or no folder of one's own
        folder = Path(tempfile.mkdtemp(prefix="llmstudy-log-")) / name
        atexit.register(shutil.rmtree, folder.parent, ignore_errors=True)
        _build(folder, source, format, longest_tokens, served, declared)
    return _loaded(folder)


def requests_of(
    source: str | Path | Sequence[str | Path], format: str | None = None, **declared: Any
) -> list[Path]:
    """The requests of a log as Parquet files, as `summary_by` and `reconcile` take them.

    source, format, declared: as `read_log`. A file that `Imported.write` wrote is taken as it is;
    of several, the requests that two have count once.
    Raises: ValueError as `read_log`, or if no row of the log is a request.
    """
    files = files_of(source)
    if format in (None, "auto") and not declared and len(files) == 1:
        table = containers.opened(files[0])
        if set(table.fields) == set(NAMES) and is_canonical([table]):
            return files
    log = log_table(source, format, **declared)
    if log.accepted.empty or log.file is None:
        raise ValueError(f"none of its {log.rows_read:,} rows is a request: see the quarantine")
    return [log.file]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _forget(newest: Path) -> None:
    """Deletes all but the latest tables of a log."""
    log = newest.name.partition("-")[0]
    tables = sorted(newest.parent.glob(f"{log}-*"), key=lambda path: path.stat().st_mtime)
    for old in tables[:-_TABLES_PER_LOG]:
        shutil.rmtree(old, ignore_errors=True)


def _build(
    folder: Path,
    source: str | Path | Sequence[str | Path],
    format: str | None,
    longest_tokens: int,
    served: Mapping[str, tuple[str, str]],
    declared: Mapping[str, Any],
) -> None:
    """Writes the table of a log into a folder, which is there whole or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=folder.parent))
    try:
        with imported(source, format, longest_tokens=longest_tokens, **declared) as log:
            _write(log, draft, served)
        if not folder.is_dir():  # another process may have been faster
            draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _write(log: Imported, folder: Path, served: Mapping[str, tuple[str, str]]) -> None:
    connection = log.connection
    reason = f"regexp_replace(reason, {literal(QUOTED_CELL)}, ' is not ') AS reason"
    aside = f"SELECT file, row, {reason}, tokens, n_requests FROM aside"
    connection.sql(aside).write_parquet(str(folder / _ASIDE))
    cells = {name: name for name in NAMES if name != "request_id"}
    for place, column in enumerate(("provider", "model_served")):
        cases = "".join(
            f" WHEN {column} = {literal(UNKNOWN)} AND workload = {literal(name)}"
            f" THEN {literal(names[place])}"
            for name, names in served.items()
        )
        cells[column] = f"CASE {cases} ELSE {column} END" if cases else column
    selected = ", ".join(f"{sql} AS {name}" for name, sql in cells.items())
    file = folder / _REQUESTS
    connection.sql(f"SELECT {selected} FROM accepted").write_parquet(str(file))
    connection.execute(f"CREATE VIEW requests AS FROM read_parquet({literal(str(file))})")
    names: dict[str, list[str]] = {}
    workload = column_of(connection, "requests", "workload", "string").cat.codes.to_numpy()
    order = _in_order(workload, microseconds(column_of(connection, "requests", "ts_start", "")))
    for name, dtype in _IN_MEMORY.items():
        column = column_of(connection, "requests", name, dtype)
        if dtype == "string":
            column = column.astype("category").cat
            names[name], columns = column.categories.tolist(), {name: column.codes.to_numpy()}
        elif dtype == "Int64":
            columns = {name: column.to_numpy("int64", na_value=0), f"{name}.null": column.isna()}
        elif dtype.startswith("datetime"):
            columns = {name: microseconds(column)}
        else:
            columns = {name: column.to_numpy(dtype)}
        for part, values in columns.items():
            np.save(folder / f"{part}.npy", values if order is None else values[order])
    about = {
        "rows_read": log.rows_read,
        "format": log.format,
        "unknown": log.unknown,
        "grain": log.grain,
        "parted": log.parted,
        "names": names,
    }
    (folder / _ABOUT).write_text(json.dumps(about), encoding="utf-8")


def _in_order(workload: Any, us: Any) -> "npt.NDArray[np.intp] | None":
    """The places of rows in order of workload and time; None where they lie so."""
    by_time = None if (us[1:] >= us[:-1]).all() else np.argsort(us, kind="stable")
    if by_time is None and (workload[1:] >= workload[:-1]).all():
        return None
    by_workload = np.argsort(workload if by_time is None else workload[by_time], kind="stable")
    return by_workload if by_time is None else by_time[by_workload]


def _loaded(folder: Path) -> LogTable:
    about = json.loads((folder / _ABOUT).read_text("utf-8"))
    names = about.pop("names")

    def mapped(name: str) -> Any:
        file = folder / f"{name}.npy"
        # an empty file cannot be mapped
        mode: Any = "r" if file.stat().st_size > 128 else None
        return np.asarray(np.load(file, mmap_mode=mode))

    columns: dict[str, Any] = {}
    for name, dtype in _IN_MEMORY.items():
        values = mapped(name)
        if dtype == "string":
            columns[name] = pd.Categorical.from_codes(values, names[name], validate=False)
        elif dtype.startswith("datetime"):
            columns[name] = pd.DatetimeIndex(values.view("M8[us]")).tz_localize("UTC")
        elif dtype == "Int64":
            columns[name] = pd.arrays.IntegerArray(values, mapped(f"{name}.null"))
        else:
            columns[name] = values
    with duckdb.connect() as connection:
        aside = connection.read_parquet(str(folder / _ASIDE)).df()
    return LogTable(
        pd.DataFrame(columns, copy=False),
        aside.astype({"reason": "string"}),
        file=folder / _REQUESTS,
        **about | {"unknown": tuple(about["unknown"])},
    )

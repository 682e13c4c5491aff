"""A database for one log, of bounded memory, gone when it is closed."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
from duckdb import DuckDBPyConnection as Connection

from llmstudy.requests.containers import literal

MEMORY_LIMIT = "1GiB"
"""For its tables and those of a query; what is larger goes through files."""


@contextmanager
def database(in_file: bool = False) -> Iterator[Connection]:
    """Opens an empty database whose clock is UTC. in_file: whether its tables lie on disk.

    >>> with database() as connection:
    ...     connection.execute("SELECT 1").fetchall()
    [(1,)]
    """
    with tempfile.TemporaryDirectory(prefix="llmstudy-log-") as folder:
        place = str(Path(folder) / "log.duckdb") if in_file else ":memory:"
        with duckdb.connect(place) as connection:
            connection.execute(f"SET temp_directory = {literal(folder)}")
            connection.execute(f"SET memory_limit = '{MEMORY_LIMIT}'")
            connection.execute("SET enable_progress_bar = false")
            # what is written and read once is not worth the time to make it small
            connection.execute("SET disabled_compression_methods = 'fsst,dict_fsst,alprd,zstd'")
            # or a time that names no zone would be taken in the zone of this machine
            connection.execute("SET GLOBAL TimeZone = 'UTC'")
            yield connection

"""What should each request of a log have cost? Its tokens at its own time, tier and served model.

The rates of all that a log names are worked out once (`prices.served`); each request then finds its
own under a number that SQL works out from its row, so that a price costs no call of Python. A log
may be a DataFrame, or Parquet files that are read in batches, whatever their size.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from math import prod
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
from duckdb import DuckDBPyConnection as Connection

from llmstudy.prices.served import Prices, RateTable, rate_table
from llmstudy.requests.containers import literal
from llmstudy.requests.database import database
from llmstudy.requests.schema import COLUMNS, SQL_TYPES
from llmstudy.text import listed
from llmstudy.units import DAY_US

Source = pd.DataFrame | str | Path | Sequence[str | Path]
"""A canonical table: a frame, a Parquet file, several, or a pattern such as "logs/*.parquet"."""

NEEDED = ("ts_start", "provider", "model_served", "input_tokens", "output_tokens")
"""Columns without which no request has a price; the others may be absent, which is not logged."""

_ROW = "_llmstudy_row"

_FEW_NAMES = 1_000
"""Up to so many pairs of names all are priced, which is faster than looking which ones occur."""


@contextmanager
def opened(source: Source, where: str = "true") -> Iterator[Connection]:
    """Opens a log as the table `log` of a database: the columns of `schema`, null where absent.

    A row stands for `n` requests (1 where n_requests is null), and lies `us` microseconds after
    1970. Without `ok` every request counts as answered. where: the SQL condition of the rows.
    Raises: ValueError if the source is no table, or lacks one of `NEEDED`.
    """
    with database() as connection:
        _relation(source, connection).create_view("source")
        described = connection.execute("DESCRIBE source").fetchall()
        types = {str(name): str(kind) for name, kind, *_ in described}
        if missing := [name for name in NEEDED if name not in types]:
            raise ValueError(
                f"the requests lack {listed(missing)}: give a canonical table, such as "
                "read_log(...).accepted"
            )
        if types["ts_start"] != "TIMESTAMP WITH TIME ZONE":
            raise ValueError(
                f"ts_start has type {types['ts_start']}, not times with a zone: convert it with "
                "pd.to_datetime(..., utc=True)"
            )
        columns = [
            column.name
            if column.name in types
            else f"{'true' if column.name == 'ok' else 'NULL'}::{SQL_TYPES[column.dtype]}"
            f" AS {column.name}"
            for column in COLUMNS
        ]
        n_requests = "n_requests" if "n_requests" in types else "NULL"
        columns += [f"coalesce({n_requests}, 1) AS n", "epoch_us(ts_start) AS us"]
        columns += [_ROW] if _ROW in types else []
        selected = f"SELECT {', '.join(columns)} FROM source WHERE {where}"
        connection.execute(f"CREATE VIEW log AS {selected}")
        yield connection


def _relation(source: Source, connection: Connection) -> Any:
    if isinstance(source, pd.DataFrame):
        return connection.from_df(source)
    files = [source] if isinstance(source, str | Path) else source
    if isinstance(files, Sequence) and files:
        try:
            return connection.read_parquet([str(each) for each in files])
        except duckdb.Error as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"{listed([str(each) for each in files])}: {reason}") from None
    raise ValueError(
        f"a {type(source).__name__} is no table of requests: give a DataFrame or a Parquet file"
    )


def weighted(connection: Connection) -> bool:
    """Whether a row of a log that is `opened` stands for more or less than one request."""
    return connection.execute("SELECT count(n_requests) > 0 FROM log").fetchall() == [(True,)]


@dataclass(frozen=True)
class Pricing:
    """The rates of a log, in a table of its database, and the SQL that finds those of a row.

    table: the rates, whose table in the database has a row for every name of the log: key, name
    (its place in `table.names`), self_hosted, negotiated, and the rates in USD per token. key: SQL
    over `log`.
    """

    table: RateTable
    key: str


def pricing(
    connection: Connection,
    prices: Prices | None = None,
    model: str = "model_served",
    rates: str = "rates",
) -> Pricing:
    """Works out the rates of a log that is `opened`, as a table of its database.

    model: the column of the model that is billed.
    Raises: PriceError as `rate_table`.
    """
    first, last = span(connection)
    by_maker = model != "model_served"  # which another provider may have answered for
    table = rate_table(_names(connection, model), first, last, prices, by_maker)
    each = len(table.rates) // max(len(table.names), 1)
    frame = table.rates.rename_axis("key").reset_index()
    frame["name"] = np.repeat(np.arange(len(table.names)), each)
    flags = ["self_hosted", "negotiated"]
    frame[flags] = table.names[flags].to_numpy(dtype=bool)[frame["name"]]
    numbers = ", ".join(
        f"CASE WHEN NOT isnan({name}) THEN {name} / 1e6 END::DOUBLE AS {name}"
        for name in table.rates.columns
    )
    if prod(table.places) < 1 << 31:
        frame["key"] = frame["key"].astype("int32")
    connection.execute(
        f"CREATE TABLE {rates} AS SELECT key, name, self_hosted, negotiated, {numbers} FROM frame"
    )
    return Pricing(table, _key_sql(table, model))


def span(connection: Connection) -> tuple[date, date]:
    """The day of the first request of a log that is `opened`, and that of the last, in UTC."""
    [edges] = connection.sql(
        "SELECT epoch_us(min(ts_start)), epoch_us(max(ts_start)) FROM log"
    ).fetchall()
    if edges[0] is None:
        raise ValueError("no requests: give a log with at least one; see the quarantine")
    first, last = (datetime.fromtimestamp(us / 1e6, UTC).date() for us in edges)
    return first, last


def _names(connection: Connection, model: str) -> pd.DataFrame:
    """provider, model and tier of the log: those that occur, or every pair where these are few."""
    columns = ("provider", model, "service_tier")
    each = [
        connection.sql(f"SELECT DISTINCT {name} AS name FROM log").df()["name"].tolist()
        for name in columns
    ]
    header = ["provider", "model", "tier"]
    if prod(map(len, each)) <= _FEW_NAMES:
        names = pd.MultiIndex.from_product(each, names=header).to_frame(index=False)
    else:
        pairs = f"SELECT DISTINCT {', '.join(columns)} FROM log"
        names = connection.sql(pairs).df().set_axis(header, axis=1)
    return pd.DataFrame(names[names["model"].notna()])


def _key_sql(table: RateTable, model: str) -> str:
    """SQL for the key of a row's rates: one digit for each of `RateTable.places`."""
    digits = [
        f"coalesce(list_position([{', '.join(map(literal, names))}]::VARCHAR[], {column}), 0)"
        for column, names in (
            ("provider", table.providers),
            (model, table.models),
            ("service_tier", table.tiers),
        )
    ]
    days = [f"us >= {(day - date(1970, 1, 1)).days * DAY_US}" for day in table.days]
    times = [f"us % {DAY_US} >= {round(each.total_seconds() * 1e6)}" for each in table.times]
    # of a bucket that does not count its requests no one knows whether they were long
    sizes = [f"n > 0 AND input_tokens > {size} * n" for size in table.sizes]
    digits += [
        " + ".join(f"({test})::INT" for test in tests) or "0" for tests in (days, times, sizes)
    ]
    key = "0" if prod(table.places) < 1 << 31 else "0::BIGINT"
    for digit, places in zip(digits, table.places, strict=True):
        key = f"({key} * {places} + {digit})"
    return key


CACHE_RATES = {
    "billed": ("cached", "written"),
    "in full": ("input", "input"),
    "reads free": (None, "written"),
    "writes as input": ("cached", "input"),
}
"""Which rates the cached and the written part of the input are billed at; None is nothing."""


def usd_sql(variant: str = "own", cache: str = "billed", rates: str = "rates") -> str:
    """SQL for the bill of a row, in USD, at one of `VARIANTS` and one of `CACHE_RATES`."""
    read, written = (f"{rates}.{variant}_{part}" if part else "0" for part in CACHE_RATES[cache])
    cached, created = "coalesce(cached_input_tokens, 0)", "coalesce(cache_write_tokens, 0)"
    return (
        f"((input_tokens - {cached} - {created}) * {rates}.{variant}_input + {cached} * {read}"
        f" + {created} * {written} + output_tokens * {rates}.{variant}_output)"
    )


def reprice(requests: pd.DataFrame, prices: Prices | None = None) -> pd.DataFrame:
    """Prices each request of a log from its tokens, at its own time, tier and served model.

    requests: a canonical table, or any with ts_start (with a zone), provider, model_served,
    input_tokens and output_tokens; where there are any, cached_input_tokens, cache_write_tokens,
    service_tier and n_requests. A row that sums up many requests is billed in the context tier of
    its mean request. prices: what is billed for a name of the log in place of the list's price:
    "provider/model" -> "openai/gpt-4o", or a `PricedModel` with a negotiated price.
    Returns: the requests with priced_as (the model of the list; null without a price), usd (NaN
    without a price), unpriced (why there is none: self-hosted, or what the list lacks; else null).
    Raises: ValueError if a column is missing or the times have no zone.
    Source: genai-prices 0.2.3, as `price_requests`.

    >>> log = pd.DataFrame({"ts_start": pd.to_datetime(["2026-11-20T09:00Z"] * 3),
    ...     "provider": ["openai", "azure.ai.openai", "hosted_vllm"],
    ...     "model_served": ["gpt-4o", "our-gpt", "llama-3.1-70b"],
    ...     "input_tokens": 1_000, "cached_input_tokens": 400, "output_tokens": 100})
    >>> bills = reprice(log, prices={"azure.ai.openai/our-gpt": "openai/gpt-4o-mini"})
    >>> bills["priced_as"].tolist(), bills["usd"].round(6).tolist()
    (['openai/gpt-4o', 'openai/gpt-4o-mini', nan], [0.003, 0.00018, nan])
    >>> bills["unpriced"].dropna().tolist()
    ['self-hosted']
    """
    if not isinstance(requests, pd.DataFrame):
        raise ValueError(f"a {type(requests).__name__} is no DataFrame: give one row per request")
    if requests.empty and set(NEEDED) <= set(requests):
        return requests.assign(priced_as=pd.Series(dtype=object), usd=0.0, unpriced=None)
    rows = requests.assign(**{_ROW: np.arange(len(requests))})
    with opened(rows) as connection:
        rates = pricing(connection, prices)
        bills = connection.sql(
            f"SELECT {usd_sql()} AS usd, name FROM log JOIN rates ON key = {rates.key}"
            f" ORDER BY {_ROW}"
        ).fetchnumpy()
    names, name = rates.table.names, bills["name"]
    reason = names["reason"].where(~names["self_hosted"], "self-hosted").astype(object)
    usd = np.ma.filled(bills["usd"].astype(float), np.nan)
    return requests.assign(
        priced_as=names["priced_as"].to_numpy()[name],
        usd=usd,
        unpriced=pd.Series(reason.to_numpy()[name], requests.index).where(np.isnan(usd)),
    )

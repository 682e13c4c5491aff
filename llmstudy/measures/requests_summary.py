"""What do the requests of a log come to, by workload, tenant, route or day? Of any length of log.

Sums, bills and exact quantiles are one pass of SQL over the table, in bounded memory; nothing is
sampled or sketched.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from duckdb import DuckDBPyConnection as Connection
from scipy.stats import binom

from llmstudy.measures.latency import PERCENTILES, IntArray, percentile_minimum_n
from llmstudy.measures.repricing import Source, opened, pricing, usd_sql, weighted
from llmstudy.prices.served import Prices
from llmstudy.requests.schema import NAMES
from llmstudy.text import listed
from llmstudy.units import DAY_US

METRICS = ("latency_s", "ttft_s")

_RAW = (*METRICS, "failed_rows")

PERIODS = {
    "hour": "us // 3600000000 * 3600000000",
    "day": f"us // {DAY_US} * {DAY_US}",
    "month": "epoch_us(date_trunc('month', make_timestamp(us)))",
}
"""Spans of UTC by which requests can be grouped, in SQL: the microsecond at which one begins."""

ROUTE = {"route": "concat(provider, '/', model_served)"}
"""Who served a request with what, in SQL."""

_ROWS_AT_ONCE = 20_000_000
"""Rows whose latencies are in memory at a time: less than 1 GB."""


def summary_by(
    source: Source,
    by: Sequence[str] = ("workload",),
    prices: Prices | None = None,
    level: float | None = 0.95,
    metrics: Sequence[str] = METRICS,
    where: str = "true",
) -> pd.DataFrame:
    """Sums up the requests of each group: volume, tokens, cost, failures and latencies.

    source: a canonical table, as a frame or as Parquet files. by: columns of it, "route"
    ("openai/gpt-4o", as the log names them), and "hour", "day" or "month" (UTC). prices: what is
    billed for a name of the log, as `reprice`. level: of the intervals; None leaves them out, which
    takes half the time. metrics: latency_s, ttft_s or both. where: an SQL condition over columns of
    the table, for some of its requests.
    Returns: one row per group, in order: the columns of by (periods as the time at which they
    begin), requests (null where a bucket does not count its own), input_tokens, output_tokens,
    cached_input_share (of the input whose cached part is logged; null if none is), usd (at the list
    price of each request's own time, tier and served model; null where no request has one),
    unpriced_requests (without a price, self-hosted ones among them), failed_share, and for
    latency_s and ttft_s `<metric>_n` (requests that have it, and failed ones, which count as longer
    than any) and `_p50`, `_p95`, `_p99`, each null where n is too small for its interval or it
    falls among the failures, with `_low` and `_high` (+inf where it may fall among the failures).

    The intervals assume no distribution, and that the requests of a group are independent of each
    other: within a day or an hour they may resemble each other, and the intervals are then too
    narrow (`latency_table` allows for that). A row that sums up many requests counts as all of
    them, but for latency once.
    Raises: ValueError if by names no column, or as `reprice`.
    Source: order statistics, as `quantile_interval`.

    >>> log = pd.DataFrame({"ts_start": pd.to_datetime(["2026-11-20T09:00Z"] * 100),
    ...     "workload": "chat", "provider": "openai", "model_served": "gpt-4o",
    ...     "input_tokens": 1_000, "output_tokens": 100, "latency_s": range(1, 101)})
    >>> summary = summary_by(log, by=["workload", "day"])
    >>> summary[["requests", "usd", "latency_s_p95", "latency_s_p95_low", "latency_s_p95_high"]]
       requests   usd  latency_s_p95  latency_s_p95_low  latency_s_p95_high
    0     100.0  0.35           95.0               90.0               100.0
    """
    keys = group_keys(by)
    with opened(source, where) as connection:
        connection.execute("SET preserve_insertion_order = false")
        rate_key = pricing(connection, prices).key
        tables = [
            _part(connection, keys, rate_key, where, metrics, level)
            for where in parts(connection, keys)
        ]
    return in_order(pd.concat(tables), keys)


_ALL = "all_requests"
"""The key of the one group where requests are not grouped."""


def group_keys(by: str | Sequence[str]) -> dict[str, str]:
    """The SQL over a log of each name by which requests are grouped.

    Raises: ValueError if by names no column.

    >>> group_keys("workload"), group_keys([])
    ({'workload': 'workload'}, {'all_requests': 'true'})
    """
    by = [by] if isinstance(by, str) else list(by)
    places = (*NAMES, *ROUTE, *PERIODS)
    if unknown := [name for name in by if name not in places]:
        raise ValueError(f"by: {listed(unknown)} is no column: use {', '.join(places)}")
    return {name: (ROUTE | PERIODS).get(name, name) for name in by} or {_ALL: "true"}


def in_order(groups: pd.DataFrame, keys: Mapping[str, str]) -> pd.DataFrame:
    """The rows of all groups in the order of their keys, periods as the time they begin at."""
    rows = groups.sort_values(list(keys), ignore_index=True)
    starts = {x: pd.to_datetime(rows[x], unit="us", utc=True) for x in keys if x in PERIODS}
    return rows.assign(**starts).drop(columns=_ALL, errors="ignore")


def parts(connection: Connection, keys: Mapping[str, str]) -> list[str]:
    """Conditions in SQL that cut a log at groups' edges, to parts whose latencies fit in memory.

    Parts are stretches of time where groups are, so that a file in order of time is read once.
    """
    [(rows,)] = connection.sql("SELECT count(*) FROM log").fetchall()
    if rows <= _ROWS_AT_ONCE or _ALL in keys:
        return ["true"]
    period = next((name for name in PERIODS if name in keys), None)
    if period is None:
        n = -(-rows // _ROWS_AT_ONCE)
        return [f"hash({', '.join(keys.values())}) % {n} = {part}" for part in range(n)]
    query = f"SELECT {keys[period]} AS start, count(*) AS rows FROM log GROUP BY 1 ORDER BY 1"
    counts = connection.sql(query).df()
    part = (counts["rows"].cumsum() - 1) // _ROWS_AT_ONCE
    starts = counts["start"].groupby(part).min().tolist()
    times = [f"make_timestamptz({start})" for start in starts]
    return [
        f"ts_start >= {start}" + (f" AND ts_start < {end}" if end else "")
        for start, end in zip(times, [*times[1:], None], strict=True)
    ]


def _part(
    connection: Connection,
    keys: Mapping[str, str],
    rate_key: str,
    where: str,
    metrics: Sequence[str],
    level: float | None,
) -> pd.DataFrame:
    """The summary of the groups in a part of the log."""
    sums = _sums(connection, keys, rate_key, where, metrics)
    columns: list[Any] = [sums[[name for name in sums if not str(name).startswith(_RAW)]]]
    for metric in metrics:
        # failed requests alone do not make a metric that no answer has
        n = sums[f"{metric}_n"].where(sums[f"{metric}_n"] > sums["failed_rows"], 0)
        columns += [n, _quantiles(sums, metric, n, level or 0.95)]
        if level is not None:
            groups = sums[list(keys)]
            columns.append(_intervals(connection, keys, where, groups, metric, n, level))
    summary: pd.DataFrame = pd.concat(columns, axis=1)
    return summary


def _delay(metric: str) -> str:
    """SQL for a metric of a request that counts as longer than any where the request failed."""
    return f"CASE WHEN ok THEN {metric} ELSE 'inf'::DOUBLE END"


def _sums(
    connection: Connection,
    keys: Mapping[str, str],
    rate_key: str,
    where: str,
    metrics: Sequence[str],
) -> pd.DataFrame:
    levels = list(PERCENTILES.values())
    # a filter on an aggregate takes longer than the aggregate: most rows stand for one request
    whole, priced, failed = "count(*)", "count(own_input)", "sum((NOT ok)::INT)"
    if weighted(connection):
        whole, priced = (
            "CASE WHEN min(n) > 0 THEN sum(n) END",
            "coalesce(sum(n) FILTER (own_input IS NOT NULL), 0)",
        )
        failed = "sum(CASE WHEN ok THEN 0 ELSE n END)"
    selected = [
        keys_sql(keys),
        f"({whole})::DOUBLE AS requests",
        "sum(input_tokens)::DOUBLE AS input_tokens",
        "sum(output_tokens)::DOUBLE AS output_tokens",
        "sum(cached_input_tokens)"
        " / sum(CASE WHEN cached_input_tokens IS NOT NULL THEN input_tokens END)"
        " AS cached_input_share",
        f"sum({usd_sql()}) AS usd",
        f"(({whole}) - {priced})::DOUBLE AS unpriced_requests",
        f"{failed} / ({whole}) AS failed_share",
        "sum((NOT ok)::INT)::BIGINT AS failed_rows",
    ]
    for metric in metrics:
        delay = _delay(metric)
        selected.append(f"quantile_disc({delay}, {levels}) AS {metric}_quantiles")
        selected.append(f"count({delay}) AS {metric}_n")
    sums: pd.DataFrame = connection.sql(
        f"SELECT {', '.join(selected)} FROM log JOIN rates ON key = {rate_key} WHERE {where}"
        " GROUP BY ALL"
    ).df()
    return sums


def keys_sql(keys: Mapping[str, str]) -> str:
    """SQL that selects the keys under their names."""
    return ", ".join(f"{sql} AS {name}" for name, sql in keys.items())


def _quantiles(sums: pd.DataFrame, metric: str, n: "pd.Series[Any]", level: float) -> pd.DataFrame:
    rows = [
        each if np.ndim(each) else [np.nan] * len(PERCENTILES)
        for each in sums[f"{metric}_quantiles"]
    ]
    values = np.array(rows, dtype=float).reshape(len(sums), len(PERCENTILES))
    minimum = [percentile_minimum_n(q, level) for q in PERCENTILES.values()]
    supported = np.isfinite(values) & (n.to_numpy()[:, None] >= minimum)
    columns = [f"{metric}_{name}" for name in PERCENTILES]
    return pd.DataFrame(np.where(supported, values, np.nan), columns=columns)


def _intervals(
    connection: Connection,
    keys: Mapping[str, str],
    where: str,
    groups: pd.DataFrame,
    metric: str,
    n: "pd.Series[Any]",
    level: float,
) -> pd.DataFrame:
    """The order statistics about each quantile of each group, as `quantile_interval` has them.

    A group that is too large to be sorted has its ranks picked out one after the other.
    """
    ranks, delay = _ranks(n.to_numpy(), level, metric), _delay(metric)
    large = n > _ROWS_AT_ONCE
    values = groups.astype(object).where(groups.notna(), None).to_numpy()
    is_group = " AND ".join(f"{sql} IS NOT DISTINCT FROM ?" for sql in keys.values())
    others = " AND ".join([where, *[f"NOT ({is_group})"] * int(large.sum())])
    connection.register("ranks", ranks.assign(n=n).drop_duplicates("n"))
    statistics = ", ".join(f"delays[{name}] AS {name}" for name in ranks)
    ordered = (
        f"SELECT {keys_sql(keys)}, list_sort(list({delay}) FILTER ({delay} IS NOT NULL)) AS delays"
        f" FROM log WHERE {others} GROUP BY ALL"
    )
    query = f"SELECT {', '.join(keys)}, {statistics} FROM ({ordered}) JOIN ranks ON len(delays) = n"
    tables = [connection.execute(query, values[large].ravel().tolist()).df()]
    for place in np.flatnonzero(large).tolist():
        levels = ((ranks.iloc[place] - 0.5) / n[place]).tolist()
        query = f"SELECT quantile_disc({delay}, {levels}) FROM log WHERE {where} AND {is_group}"
        [[delays]] = connection.execute(query, values[place].tolist()).fetchall()
        tables.append(
            groups.iloc[[place]].assign(**dict(zip(ranks.columns.map(str), delays, strict=True)))
        )
    statistics_of = groups.merge(pd.concat(tables), how="left").set_index(groups.index)
    return statistics_of[list(ranks)].where(n > 0)


def _ranks(n: IntArray, level: float, metric: str) -> pd.DataFrame:
    """The ranks of the order statistics about each quantile; null where n is too small for both.

    Source: as `quantile_interval`: the number of values below a quantile is binomial(n, q).
    """
    sizes, place = np.unique(n, return_inverse=True)
    ranks = {}
    for name, q in PERCENTILES.items():
        low, high = binom.ppf([[(1 - level) / 2], [(1 + level) / 2]], sizes, q)
        enough = sizes >= percentile_minimum_n(q, level)
        ranks[f"{metric}_{name}_low"] = np.where(enough, low, np.nan)[place]
        ranks[f"{metric}_{name}_high"] = np.where(enough, high + 1, np.nan)[place]
    return pd.DataFrame(ranks).astype("Int64")

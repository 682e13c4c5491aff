"""What do the requests of a log come to, by workload, tenant, route or day? Of any length of log.

Sums, bills and exact quantiles are one pass of SQL over the table, in bounded memory; nothing is
sampled or sketched.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

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

_ROWS_AT_ONCE = 10_000_000
"""Rows whose latencies are in memory at a time, about: less than 1 GB."""

_HASHES = 1024


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
            _part(connection, keys, rate_key, part, metrics, level)
            for part in parts(connection, keys)
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


class Part(NamedTuple):
    """Groups of a log that are summed up at a time: their condition in SQL, and whether the
    latencies of them all fit in memory."""

    where: str
    fits: bool


def parts(connection: Connection, keys: Mapping[str, str]) -> list[Part]:
    """Cuts a log at groups' edges, to parts whose latencies fit in memory where the groups' do.

    Parts are stretches of time where groups are, so that a file in order of time is read once, and
    hashes of their keys within a stretch that is still too long.
    """
    [(rows,)] = connection.sql("SELECT count(*) FROM log").fetchall()
    hashed = f"hash({', '.join(keys.values())}) % {_HASHES}"
    cuts = [(keys[name], "ts_start", "make_timestamptz({})") for name in PERIODS if name in keys]
    pieces = [("true", rows)]
    for value, compared, edge in [*cuts[:1], (hashed, hashed, "{}")]:
        pieces = [
            piece
            for where, rows in pieces
            for piece in (
                _cut(connection, where, value, compared, edge)
                if rows > _ROWS_AT_ONCE
                else [(where, rows)]
            )
        ]
    return [Part(where, rows <= _ROWS_AT_ONCE) for where, rows in pieces]


def _cut(
    connection: Connection, where: str, value: str, compared: str, edge: str
) -> list[tuple[str, int]]:
    """Conditions that cut a part between values of an expression in SQL, and the rows of each."""
    counts = connection.sql(
        f"SELECT {value} AS value, count(*) FROM log WHERE {where} GROUP BY 1 ORDER BY 1"
    ).fetchall()
    begins: list[Any] = []
    rows: list[int] = []
    for start, n in counts:
        if not rows or rows[-1] + n > _ROWS_AT_ONCE:
            begins.append(start)
            rows.append(0)
        rows[-1] += n
    edges = [edge.format(start) for start in begins]
    return [
        (f"{where} AND {compared} >= {start}" + (f" AND {compared} < {end}" if end else ""), n)
        for start, end, n in zip(edges, [*edges[1:], None], rows, strict=True)
    ]


def _part(
    connection: Connection,
    keys: Mapping[str, str],
    rate_key: str,
    part: Part,
    metrics: Sequence[str],
    level: float | None,
) -> pd.DataFrame:
    """The summary of the groups in a part of the log."""
    sums = _sums(connection, keys, rate_key, part, metrics)
    groups = sums[list(keys)]
    columns: list[Any] = [sums[[name for name in sums if not str(name).startswith(_RAW)]]]
    for metric in metrics:
        # failed requests alone do not make a metric that no answer has
        n = sums[f"{metric}_n"].where(sums[f"{metric}_n"] > sums["failed_rows"], 0)
        ranks = _ranks(n.to_numpy(), level, metric)
        if part.fits:
            latencies = _quantiles(sums, metric, ranks)
            if level is not None:
                about = _ends(connection, keys, part.where, groups, metric, n, ranks)
                latencies = pd.concat([latencies, about], axis=1)
        else:
            latencies = _selected(connection, keys, part.where, groups, metric, ranks)
        quantiles = [f"{metric}_{name}" for name in PERCENTILES]
        latencies[quantiles] = latencies[quantiles].where(np.isfinite(latencies[quantiles]))
        ends = [name for name in ranks if name not in quantiles]
        columns += [n, latencies[quantiles + ends]]
    summary: pd.DataFrame = pd.concat(columns, axis=1)
    return summary


def _delay(metric: str) -> str:
    """SQL for a metric of a request that counts as longer than any where the request failed."""
    return f"CASE WHEN ok THEN {metric} ELSE 'inf'::DOUBLE END"


def _sums(
    connection: Connection,
    keys: Mapping[str, str],
    rate_key: str,
    part: Part,
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
        selected.append(f"count({delay}) AS {metric}_n")
        if part.fits:
            selected.append(f"quantile_disc({delay}, {levels}) AS {metric}_quantiles")
    sums: pd.DataFrame = connection.sql(
        f"SELECT {', '.join(selected)} FROM log JOIN rates ON key = {rate_key}"
        f" WHERE {part.where} GROUP BY ALL"
    ).df()
    return sums


def keys_sql(keys: Mapping[str, str]) -> str:
    """SQL that selects the keys under their names."""
    return ", ".join(f"{sql} AS {name}" for name, sql in keys.items())


def _quantiles(sums: pd.DataFrame, metric: str, ranks: pd.DataFrame) -> pd.DataFrame:
    """The quantiles of each group, null where their ranks are."""
    columns = [f"{metric}_{name}" for name in PERCENTILES]
    rows = [
        each if np.ndim(each) else [np.nan] * len(columns) for each in sums[f"{metric}_quantiles"]
    ]
    values = np.array(rows, dtype=float).reshape(len(sums), len(columns))
    return pd.DataFrame(values, columns=columns).where(ranks[columns].notna())


def _ends(
    connection: Connection,
    keys: Mapping[str, str],
    where: str,
    groups: pd.DataFrame,
    metric: str,
    n: "pd.Series[Any]",
    ranks: pd.DataFrame,
) -> pd.DataFrame:
    """The order statistics about each quantile of each group, as `quantile_interval` has them."""
    ends, delay = ranks.filter(regex="_(low|high)$"), _delay(metric)
    connection.register("ranks", ends.assign(n=n).drop_duplicates("n"))
    statistics = ", ".join(f"delays[{name}] AS {name}" for name in ends)
    ordered = (
        f"SELECT {keys_sql(keys)}, list_sort(list({delay}) FILTER ({delay} IS NOT NULL)) AS delays"
        f" FROM log WHERE {where} GROUP BY ALL"
    )
    query = f"SELECT {', '.join(keys)}, {statistics} FROM ({ordered}) JOIN ranks ON len(delays) = n"
    of_groups = groups.merge(connection.sql(query).df(), how="left").set_index(groups.index)
    return of_groups[list(ends)].where(n > 0)


def _selected(
    connection: Connection,
    keys: Mapping[str, str],
    where: str,
    groups: pd.DataFrame,
    metric: str,
    ranks: pd.DataFrame,
) -> pd.DataFrame:
    """The order statistics of groups that are too long to sort in memory, one group at a time.

    Latencies are counted in bins of 1 % of their size, then those of the bins with a rank each.
    """
    delay = _delay(metric)
    binned = f"floor(100 * ln(greatest({delay}, 1e-9))) AS bin"
    is_group = " AND ".join(f"{sql} IS NOT DISTINCT FROM ?" for sql in keys.values())
    delays = f"FROM (SELECT {delay} AS delay, {binned} FROM log WHERE {where} AND {is_group})"
    names, rows = groups.astype(object).where(groups.notna(), None).to_numpy().tolist(), []
    for place, group in zip(ranks.index, names, strict=True):
        wanted = ranks.loc[place].dropna().astype(int)
        counts = f"SELECT bin, count(*) AS n {delays} WHERE delay IS NOT NULL GROUP BY 1 ORDER BY 1"
        bins = connection.execute(counts, group).df().set_index("bin")["n"]
        upto = bins.cumsum()
        chosen = bins.index[np.unique(np.searchsorted(upto, wanted))]
        values = connection.execute(
            f"SELECT bin, delay, count(*) AS n {delays} WHERE list_contains(?, bin)"
            " GROUP BY ALL ORDER BY delay",
            [*group, chosen.tolist()],
        ).df()
        before = values["bin"].map(upto - bins)
        of_rank = np.searchsorted(values.groupby("bin")["n"].cumsum() + before, wanted)
        rows.append(pd.Series(values["delay"].to_numpy()[of_rank], wanted.index))
    return pd.DataFrame(rows, columns=ranks.columns, dtype=float).set_axis(groups.index)


def _ranks(n: IntArray, level: float | None, metric: str) -> pd.DataFrame:
    """The rank of each quantile and, with a level, of the order statistics about it.

    Null where n is too small for these. Source: as `quantile_interval`: the number of values below
    a quantile is binomial(n, q).
    """
    sizes, place = np.unique(n, return_inverse=True)
    ranks = {}
    for name, q in PERCENTILES.items():
        each = {"": np.ceil(q * sizes * (1 - 1e-12))}  # the 95th of 100 in any rounding
        if level is not None:
            low, high = binom.ppf([[(1 - level) / 2], [(1 + level) / 2]], sizes, q)
            each |= {"_low": low, "_high": high + 1}
        enough = sizes >= percentile_minimum_n(q, level or 0.95)
        for end, rank in each.items():
            ranks[f"{metric}_{name}{end}"] = np.where(enough, rank, np.nan)[place]
    return pd.DataFrame(ranks).astype("Int64")

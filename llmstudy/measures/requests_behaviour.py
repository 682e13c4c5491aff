"""How do the requests of a log behave, by workload, tenant, route or day?

Errors, retries and what they cost, peaks and dispersion, growth, tenants, fallbacks, tools and
sessions, beside the volume and the latencies of `summary_by`. What a log does not tell is null,
never zero.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from duckdb import DuckDBPyConnection as Connection

from llmstudy.measures.growth import monthly_growth
from llmstudy.measures.repricing import Source, opened, pricing, usd_sql, weighted
from llmstudy.measures.requests_summary import (
    Part,
    group_keys,
    in_order,
    keys_sql,
    parts,
    summary_by,
)
from llmstudy.measures.summary import ends, peak_to_mean, retry_share, span, windows
from llmstudy.prices.model_names import same_model
from llmstudy.prices.served import Prices
from llmstudy.requests.plausible import grain

WINDOWS = {"10s": 10, "1min": 60, "1h": 3600}
"""Windows of the clock for peaks, in seconds."""

_FEWEST_WINDOWS = 48
"""Windows that a log covers before its busiest one is compared with the mean one."""

_TOP_ERRORS = 3

_SUMS = {
    "requests": "sum(n)",
    "failed_attempts": "coalesce(sum(n * failed_attempts), 0)",
    "is_shown": "bool_or(NOT ok) OR count(failed_attempts) > 0",
    "attempts_per_request": "sum(n * coalesce(attempts, 1 + failed_attempts))"
    " / sum(n) FILTER (coalesce(attempts, failed_attempts) IS NOT NULL)",
    "retry_usd": "sum(usd * failed_attempts)",
    "tool_calls_per_request": "sum(tool_calls) / sum(n) FILTER (tool_calls IS NOT NULL)",
    "requests_per_session": "sum(n) FILTER (session_id IS NOT NULL)"
    " / nullif(count(DISTINCT session_id), 0)",
}

_TENANTS = """SELECT place, max(n) / sum(n) AS tenant_share_largest,
    sum(n) FILTER (rank <= 5) / sum(n) AS tenant_share_largest_5 FROM (
        SELECT place, sum(n) AS n,
            row_number() OVER (PARTITION BY place ORDER BY sum(n) DESC) AS rank
        FROM part WHERE tenant IS NOT NULL GROUP BY place, tenant
    ) GROUP BY place"""


def requests_table(
    source: Source,
    by: str | Sequence[str] = ("workload",),
    prices: Prices | None = None,
    level: float | None = 0.95,
) -> pd.DataFrame:
    """Sums up and describes the requests of each group: `summary_by` and `behaviour_by` in one.

    source, by, prices, level: as `summary_by`. Returns: one row per group, the columns of both.
    Raises: ValueError as `summary_by`.

    >>> log = pd.DataFrame({"ts_start": pd.to_datetime(["2026-11-20T09:00Z"] * 100),
    ...     "workload": "chat", "provider": "openai", "model_served": "gpt-4o",
    ...     "input_tokens": 1_000, "output_tokens": 100, "failed_attempts": [1] + [0] * 99})
    >>> requests_table(log)[["workload", "requests", "usd", "retry_share", "retry_usd"]]
      workload  requests   usd  retry_share  retry_usd
    0     chat     100.0  0.35         0.01     0.0035
    """
    keys = [by] if isinstance(by, str) else list(by)
    rows = summary_by(source, by, prices, level)
    behaviour = behaviour_by(source, by, prices).drop(columns=keys)
    return pd.concat([rows, behaviour], axis=1)


def behaviour_by(
    source: Source,
    by: str | Sequence[str] = ("workload",),
    prices: Prices | None = None,
    where: str = "true",
) -> pd.DataFrame:
    """Describes the requests of each group: errors, retries, peaks, growth, tenants, fallbacks.

    source, by, prices, where: as `summary_by`.
    Returns: one row per group, in order: the columns of by; errors (error and share of the requests
    of the commonest three); retry_share (as `summary.retry_share`); attempts_per_request (of the
    requests whose attempts the log gives, those without tokens too); retry_usd (failed attempts
    that used tokens, at the price of their request); peak_to_mean_10s, _1min and _1h (of windows of
    the clock; null under 48 of them, where times are not exact to one, and of a sampled log);
    dispersion_1min (variance over mean of the requests of a minute: 1 where they come independently
    at a steady rate); growth_per_month with `_low` and `_high` (as `monthly_growth`);
    tenant_share_largest and tenant_share_largest_5 (of the requests with a tenant; null by tenant);
    alias_share (of the requests with a requested model, those that asked under a name that is on no
    price list and is not the served model's); fallback_share (of the others, those that another
    model served than was asked for; null if there are no others); tool_calls_per_request and
    requests_per_session.
    Raises: ValueError as `summary_by`.

    >>> log = pd.DataFrame({"ts_start": pd.to_datetime(["2026-11-20T09:00Z"] * 4),
    ...     "workload": "chat", "provider": "openai", "model_requested": "gpt-4o",
    ...     "model_served": ["gpt-4o-2024-08-06"] * 3 + ["gpt-4o-mini"], "input_tokens": 1_000,
    ...     "output_tokens": 100, "ok": [True] * 3 + [False], "error": [None] * 3 + ["timeout"]})
    >>> row = behaviour_by(log).iloc[0]
    >>> row["errors"], float(row["fallback_share"]), float(row["retry_share"])
    ([{'error': 'timeout', 'share': 0.25}], 0.25, 0.0)
    """
    keys = group_keys(by)
    with opened(source, where) as connection:
        rate_key = pricing(connection, prices).key
        asked = pricing(connection, prices, model="model_requested", rates="asked").table.names
        listed = dict(zip(zip(asked["provider"], asked["model"], strict=True), asked["priced_as"],
                          strict=True))  # fmt: skip
        tables = [
            _part(connection, keys, rate_key, part, listed) for part in parts(connection, keys)
        ]
    return in_order(pd.concat(tables), keys)


def largest_tenants(source: Source, most: int) -> dict[str, list[str]]:
    """The tenants with the most requests of each workload that names its tenants.

    source: as `summary_by`. most: tenants of a workload.

    >>> log = pd.DataFrame({"ts_start": pd.to_datetime(["2026-11-20T09:00Z"] * 3),
    ...     "workload": "chat", "provider": "openai", "model_served": "gpt-4o",
    ...     "tenant": ["a", "b", "b"], "input_tokens": 1_000, "output_tokens": 100})
    >>> largest_tenants(log, 1)
    {'chat': ['b']}
    """
    with opened(source) as connection:
        rows = connection.execute(
            "SELECT workload, tenant FROM (SELECT workload, tenant, sum(n) AS n FROM log WHERE"
            " tenant IS NOT NULL GROUP BY workload, tenant) QUALIFY row_number() OVER"
            f" (PARTITION BY workload ORDER BY n DESC, tenant) <= {most} ORDER BY ALL"
        ).fetchall()
    tenants: dict[str, list[str]] = {}
    for workload, tenant in rows:
        tenants.setdefault(workload, []).append(tenant)
    return tenants


def _part(
    connection: Connection,
    keys: Mapping[str, str],
    rate_key: str,
    part: Part,
    listed: Mapping[tuple[Any, Any], Any],
) -> pd.DataFrame:
    """The groups in a part of the log; `place` is the number of a group."""
    connection.execute(
        "CREATE OR REPLACE TABLE groups AS SELECT row_number() OVER () AS place, * FROM"
        f" (SELECT DISTINCT {keys_sql(keys)} FROM log WHERE {part.where})"
    )
    names = {f"key_{name}": sql for name, sql in keys.items()}
    same = " AND ".join(f"groups.{name} IS NOT DISTINCT FROM key_{name}" for name in keys)
    connection.execute(
        "CREATE OR REPLACE VIEW part AS SELECT place, rows.* FROM"
        f" (SELECT log.* REPLACE (nullif(n, 0) AS n), {usd_sql()} AS usd, {keys_sql(names)}"
        f" FROM log JOIN rates ON key = {rate_key} WHERE {part.where}) AS rows"
        f" JOIN groups ON {same}"
    )
    groups = connection.table("groups").df().set_index("place")
    sums = ", ".join(f"({sql})::DOUBLE AS {name}" for name, sql in _SUMS.items())
    totals = connection.sql(f"SELECT place, {sums} FROM part GROUP BY place").df()
    totals = totals.set_index("place")
    shown = totals.pop("failed_attempts"), totals["requests"], totals.pop("is_shown") == 1
    totals.insert(1, "retry_share", retry_share(*shown))
    tenants = connection.sql(_TENANTS).df().set_index("place").astype(float)
    columns = [
        groups,
        _errors(connection, totals["requests"]),
        totals.drop(columns="requests"),
        _timing(connection, part.fits),
        tenants * np.nan if "tenant" in keys else tenants,
        _fallbacks(connection, listed),
    ]
    table: pd.DataFrame = pd.concat(columns, axis=1)
    return table


def _errors(connection: Connection, requests: "pd.Series[Any]") -> "pd.Series[Any]":
    counts = connection.sql(
        "SELECT place, error, sum(n) AS n FROM part WHERE NOT ok GROUP BY ALL"
        " ORDER BY place, n DESC, error"
    ).df()
    counts["share"] = counts["n"] / requests.reindex(counts["place"]).to_numpy()
    counts["error"] = counts["error"].astype(object).where(counts["error"].notna(), None)
    rows = {
        place: of_group.head(_TOP_ERRORS)[["error", "share"]].to_dict("records")
        for place, of_group in counts.groupby("place")
    }
    return pd.Series([rows.get(place, []) for place in requests.index], requests.index, object,
                     name="errors")  # fmt: skip


def _timing(connection: Connection, fits: bool) -> pd.DataFrame:
    """Peaks, dispersion and growth of each group.

    Groups that do not fit in memory are counted in the shortest window: the others and the days are
    whole multiples of it.
    """
    sampled, selected = weighted(connection), "us, n::DOUBLE AS n FROM part"
    if not fits:
        step = min(WINDOWS.values()) * 1_000_000
        selected = (
            f"us // {step} * {step} AS us, CASE WHEN count(n) = count(*) THEN sum(n)::DOUBLE END"
            " AS n FROM part GROUP BY ALL"
        )
    rows = connection.sql(f"SELECT place, {selected} ORDER BY place, us").fetchnumpy()
    place, us, weight = rows["place"], rows["us"], np.ma.filled(rows["n"], np.nan)
    begins = np.flatnonzero(np.diff(place, prepend=-1))
    timing = {}
    for first, after in pairwise([*begins, len(place)]):
        times = pd.Series(pd.DatetimeIndex(us[first:after].view("M8[us]"), tz="UTC"))
        of_group = pd.Series(weight[first:after])
        single = not sampled or (fits and bool((of_group == 1).all()))
        timing[place[first]] = _timing_of(times, of_group, single)
    return pd.DataFrame(timing).T


def _timing_of(times: "pd.Series[Any]", weight: "pd.Series[Any]", single: bool) -> dict[str, float]:
    """single: whether a row was one request, before rows were counted by window."""
    covered, exact_to = span(times), grain(times)
    # a sampled row stands for requests that came at other times; a bucket for those of its minutes
    numbered = bool(weight.notna().all())
    counted = numbered and (single or exact_to >= pd.Timedelta(minutes=1))
    row: dict[str, float] = {}
    for name, seconds in WINDOWS.items():
        window = pd.Timedelta(seconds=seconds)
        n = covered / window
        counts = windows(times, weight, window)
        shown = counted and n >= _FEWEST_WINDOWS and exact_to <= window
        row[f"peak_to_mean_{name}"] = peak_to_mean(counts, n) if shown else np.nan
        if name == "1min":
            squares, mean = float((counts**2).sum()), counts.sum() / n if n else np.nan
            row["dispersion_1min"] = (squares - n * mean**2) / (n - 1) / mean if shown else np.nan
    growth = monthly_growth(times, weight) if numbered else None
    return row | ends("growth_per_month", growth)


def _fallbacks(connection: Connection, listed: Mapping[tuple[Any, Any], Any]) -> pd.DataFrame:
    """Shares served by another model than was asked for, and asked for by an alias."""
    rows = connection.sql(
        "SELECT place, provider, model_requested AS asked, model_served AS served, sum(n) AS n"
        " FROM part WHERE model_requested IS NOT NULL GROUP BY ALL"
    ).df()
    kinds = [
        _kind(asked, served, listed.get((provider, asked)))
        for provider, asked, served in zip(
            rows["provider"], rows["asked"], rows["served"], strict=True
        )
    ]
    by_kind = pd.DataFrame(
        {
            kind: rows["n"].where(pd.Series(kinds, rows.index, object) == kind, 0.0)
            for kind in ("same", "fallback", "alias")
        },
        dtype=float,
    )
    by_kind = by_kind.groupby(rows["place"]).sum()
    listed_names = by_kind["same"] + by_kind["fallback"]
    return pd.DataFrame(
        {
            "fallback_share": by_kind["fallback"] / listed_names.where(listed_names > 0),
            "alias_share": by_kind["alias"] / (listed_names + by_kind["alias"]),
        }
    )


def _kind(asked: str, served: str, priced_as: Any) -> str:
    """Whether a name that was asked for is the model that served, another one, or an alias."""
    if same_model(asked, served):
        return "same"
    if not isinstance(priced_as, str):
        return "alias"
    return "same" if same_model(priced_as, served) else "fallback"

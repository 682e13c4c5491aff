"""How `llmstudy requests summary` and `reconcile` show what they computed, in 80 columns."""

from collections.abc import Callable, Sequence
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
import typer

from llmstudy.cli.terminal import printable
from llmstudy.measures.growth import FEWEST_DAYS
from llmstudy.text import count, listed, share, usd

WIDTH = 80

UNKNOWN = "?"

_TOLD_BY = {
    "requests": "the number of requests",
    "cached_input_share": "which input came from the cache",
    "usd": "a model with a list price",
    "attempts_per_request": "attempts",
    "ttft_s_n": "the time to the first token",
    "latency_s_n": "latency",
    "tenant_share_largest": "tenants",
    "fallback_share": "the model that was asked for",
    "tool_calls_per_request": "calls of tools",
    "requests_per_session": "sessions",
}
"""What a log lacks where a column is null in all groups."""


def _number(x: float) -> str:
    return f"{x:,.3g}" if abs(x) < 1_000 else count(x)


def _seconds(x: float) -> str:
    return f"{x:.3g}"


Cell = tuple[str, str, Callable[[float], str]]

_TABLES: dict[str, list[Cell]] = {
    "Volume and cost": [
        ("requests", "requests", count),
        ("input tokens", "input_tokens", count),
        ("output", "output_tokens", count),
        ("cached", "cached_input_share", share),
        ("cost", "usd", usd),
        ("no price", "unpriced_requests", count),
    ],
    "Failures and retries": [
        ("failed", "failed_share", share),
        ("retries billed", "retry_share", share),
        ("attempts a request", "attempts_per_request", _number),
        ("cost of retries", "retry_usd", usd),
    ],
    "Busiest window over the mean one, variance over mean by minute, growth a month": [
        ("10 s", "peak_to_mean_10s", _number),
        ("1 min", "peak_to_mean_1min", _number),
        ("1 h", "peak_to_mean_1h", _number),
        ("dispersion", "dispersion_1min", _number),
        ("growth", "growth_per_month", share),
        ("from", "growth_per_month_low", share),
        ("to", "growth_per_month_high", share),
    ],
    "Tenants, served models, tools and sessions": [
        ("largest", "tenant_share_largest", share),
        ("largest 5", "tenant_share_largest_5", share),
        ("fallback", "fallback_share", share),
        ("alias", "alias_share", share),
        ("tool calls", "tool_calls_per_request", _number),
        ("a session", "requests_per_session", _number),
    ],
}
"""Headings, columns and forms; the group stands before them."""


def document(rows: pd.DataFrame, by: Sequence[str]) -> dict[str, Any]:
    """The summary of a log as the command prints it in JSON."""
    groups = rows.replace([np.inf, -np.inf], np.nan).astype(object)
    return {
        "sentence": sentence(rows, by),
        "by": list(by),
        "unknown": unknown(rows),
        "groups": groups.where(groups.notna(), None).to_dict("records"),
    }


def sentence(rows: pd.DataFrame, by: Sequence[str]) -> str:
    """What a log amounts to, in one sentence."""
    requests = rows["requests"].sum(skipna=False)
    if np.isnan(requests):
        tokens = [count(rows[f"{side}_tokens"].sum()) for side in ("input", "output")]
        cost = f", {usd(rows['usd'].sum())} at list prices" if rows["usd"].notna().any() else ""
        return f"{tokens[0]} tokens in and {tokens[1]} out{cost}, of requests that no one counted."
    failed = (rows["failed_share"] * rows["requests"]).sum() / requests
    cost = f"{usd(rows['usd'].sum())} at list prices" if rows["usd"].notna().any() else "no cost"
    unpriced = rows["unpriced_requests"].sum()
    without = f" ({share(unpriced / requests)} have no price)" if unpriced else ""
    largest = rows.iloc[int(rows["requests"].to_numpy().argmax())]
    most = f"; {_group(largest, by)} has {share(largest['requests'] / requests)} of them"
    return (
        f"{count(requests)} requests, {cost}{without}, {share(failed)} failed"
        f"{most if len(rows) > 1 else ''}."
    )


def unknown(rows: pd.DataFrame) -> list[str]:
    """What the log tells of no group, in words."""
    return [
        words
        for name, words in _TOLD_BY.items()
        if not (rows[name] > 0 if name.endswith("_n") else rows[name].notna()).any()
    ]


def show(rows: pd.DataFrame, by: Sequence[str]) -> None:
    """Prints the summary of a log: a sentence, what it does not tell, and tables."""
    lines = [sentence(rows, by)]
    if lacking := unknown(rows):
        lines.append(f"The log does not tell {listed(lacking)}; {UNKNOWN} is what it does not.")
    if rows["growth_per_month"].isna().all():
        lines.append(f"Growth needs {FEWEST_DAYS} days of log without a hole in a group.")
    if rows["alias_share"].gt(0).any():
        lines.append(
            "A request counts as a fallback where it asked for a listed model and another one "
            "served it; under an alias, a name on no price list, that cannot be told."
        )
    show_lines(lines)
    for title, cells in _TABLES.items():
        heads = [head for head, _, _ in cells]
        body = [[_cell(row, name, form) for _, name, form in cells] for _, row in rows.iterrows()]
        _table(title, ["group", *heads], _groups(rows, by), body)
    metrics = {"TTFT": "ttft_s", "latency": "latency_s"}
    for name, metric in metrics.items():
        if (rows[f"{metric}_n"] > 0).any():
            _latency(f"{name}, s (95 % interval below)", metric, rows, by)
    for _, row in rows.iterrows():
        shares = [f"{x['error'] or 'no reason logged'} {share(x['share'])}" for x in row["errors"]]
        if shares:
            show_lines([f"Errors of {_group(row, by)}: {', '.join(shares)}."])


def _latency(title: str, metric: str, rows: pd.DataFrame, by: Sequence[str]) -> None:
    body = []
    for _, row in rows.iterrows():
        cells = [_cell(row, f"{metric}_n", count)]
        for name in (f"{metric}_p50", f"{metric}_p95", f"{metric}_p99"):
            low, high = (_cell(row, f"{name}_{end}", _seconds) for end in ("low", "high"))
            span = "" if UNKNOWN in (low, high) else f"\n{low} to {high}"
            cells.append(_cell(row, name, _seconds) + span)
        body.append(cells)
    _table(title, ["group", "n", "p50", "p95", "p99"], _groups(rows, by), body)


def _groups(rows: pd.DataFrame, by: Sequence[str]) -> list[str]:
    return [_group(row, by) for _, row in rows.iterrows()]


def _group(row: "pd.Series[Any]", by: Sequence[str]) -> str:
    """The names of a group, days without their hours."""
    names = []
    for name in by:
        value = row[name]
        if isinstance(value, pd.Timestamp):
            form = {"hour": "%Y-%m-%d %H:%M", "month": "%Y-%m"}.get(name, "%Y-%m-%d")
            names.append(value.strftime(form))
        else:
            names.append("unknown" if pd.isna(value) else str(value))
    return " ".join(names) or "all"


def _cell(row: "pd.Series[Any]", name: str, form: Callable[[float], str]) -> str:
    value = row.get(name)
    if value is None or pd.isna(value):
        return UNKNOWN
    return "failed" if np.isinf(value) else form(float(value))


def _table(title: str, heads: list[str], groups: list[str], body: list[list[str]]) -> None:
    """A table; only the column `group` wraps."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"\n{title}", title_justify="left", box=None)
    table.add_column(heads[0], overflow="fold")
    for head in heads[1:]:
        table.add_column(head, justify="right", no_wrap=True)
    for group, cells in zip(groups, body, strict=True):
        table.add_row(printable(group), *cells)
    Console(markup=False, highlight=False, width=WIDTH).print(table)


def show_lines(lines: Sequence[str]) -> None:
    """Prints sentences, each wrapped and indented as it begins."""
    for line in lines:
        indent = " " * (len(line) - len(line.lstrip()))
        text = fill(printable(line), WIDTH, subsequent_indent=indent + "  " * bool(indent))
        typer.echo(text)


def invoices(amounts: Sequence[str]) -> float | dict[str, float] | None:
    """The amounts of `--invoice`: one for all months, or one for each.

    Raises: ValueError if an amount is no number, a month comes twice, or both forms are given.

    >>> invoices(["1840.20"]), invoices(["2026-10=1700", "2026-11=1840.20"])
    (1840.2, {'2026-10': 1700.0, '2026-11': 1840.2})
    """
    by_month: dict[str, float] = {}
    for each in amounts:
        month, equals, amount = each.rpartition("=")
        try:
            value = float(amount)
        except ValueError:
            raise ValueError(f"--invoice {each!r} has no amount: write 1840.20") from None
        if month in by_month or (not equals and len(amounts) > 1):
            raise ValueError("--invoice: give one amount, or one for each month: 2026-11=1840.20")
        by_month[month] = value
    return by_month.get("", by_month) or None


def difference(rows: pd.DataFrame) -> str:
    """What the log's cost differs by from the tokens' price, and the largest cause."""
    of_log = rows[rows["against"] == "log"]
    compared = of_log[~of_log["kind"].isin(["not logged", "unpriced", "self-hosted"])]
    if compared.empty:
        return "No request has both a cost in the log and a list price: nothing can be compared."
    part = compared["requests"].sum() / of_log["requests"].sum()
    logged, repriced = compared["billed_usd"].sum(), compared["repriced_usd"].sum()
    gap = logged - repriced
    largest = compared["kind"].iloc[int(np.abs(compared["difference_usd"].to_numpy()).argmax())]
    of = "" if part == 1 else f"For {share(part)} of the requests the two can be compared. "
    same = f"{of}The log has {usd(logged)}, and its tokens cost {usd(repriced)}"
    if abs(gap) <= 0.005 * max(logged, repriced):
        return f"{same}: the two agree."
    return (
        f"{same}: {usd(abs(gap))} {'more' if gap > 0 else 'less'} in the log; the largest cause is "
        f"{largest}."
    )

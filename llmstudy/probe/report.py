"""Reports a recorded or imported run: its audit, its metrics and the parts of its TTFT."""

from typing import Any

import pandas as pd

from llmstudy.probe.audit import audit
from llmstudy.probe.metrics import decomposition, metrics
from llmstudy.probe.run import Run

RECORDED = (
    *("tool", "started_at", "ended", "resumed", "endpoint", "load", "lengths", "serving"),
    *("client", "connection", "clock", "notes", "spend", "server_counters"),
)
"""The facts of a run that its report repeats."""


def report(run: Run) -> dict[str, Any]:
    """A run as plain JSON values.

    Returns: tool, started_at, ended, resumed, endpoint, load, lengths, serving, client, connection,
    clock, notes, spend, server_counters (as recorded, see `run`; null where there is none);
    audit {valid, reasons, checks}; metrics {ttft_ms, tpot_ms, itl_ms, e2e_ms: {p50, p95, p99, n,
    ...}}; n, failed_share, errors (count by kind), retried_share, served_models, fingerprints;
    ttft_parts; prefix_cache (TTFT of cold and warm requests, where a prefix was shared).
    """
    measured = run.measured
    metrics_by_name = metrics(run)
    counts = {name: metrics_by_name.pop(name) for name in ("n", "failed_share")}
    return {
        **{name: run.facts.get(name) for name in RECORDED},
        "audit": audit(run).as_json(),
        "metrics": metrics_by_name,
        **counts,
        "errors": measured["error"].value_counts().to_dict(),
        "retried_share": float((measured["attempts"] > 1).mean()) if len(measured) else None,
        "served_models": sorted(measured["served_model"].dropna().unique()),
        "fingerprints": sorted(measured["fingerprint"].dropna().unique()),
        "ttft_parts": rows_of(decomposition(run.samples)) if len(measured) else [],
        "prefix_cache": _cold_and_warm(run),
    }


def rows_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table as plain JSON values: None for NaN."""
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in rows]


def _cold_and_warm(run: Run) -> dict[str, Any] | None:
    """TTFT of the first request of each shared prefix, and of later ones, which may be cached.

    Warm-up requests are included: a prefix is cold only once.
    """
    shared = run.samples[run.samples["prefix_group"].notna()].sort_values(
        "dispatched_s", kind="stable"
    )
    if shared.empty:
        return None
    is_cold = ~shared.duplicated("prefix_group")
    parts = {"cold": shared[is_cold], "warm": shared[~is_cold]}
    every = {name: part.assign(phase="measure") for name, part in parts.items()}
    return {name: metrics(part)["ttft_ms"] for name, part in every.items() if len(part)}

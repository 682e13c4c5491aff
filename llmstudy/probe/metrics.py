"""How long did the requests of a probe take, and which parts make up the TTFT?

The dictionary of metrics and the intervals of percentiles are in `llmstudy.measures.latency`; the
latencies come from `run.with_metrics`.
"""

from collections.abc import Mapping
from math import ceil, inf, isfinite
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from llmstudy.figure import FloatArray
from llmstudy.measures.latency import (
    PERCENTILES,
    IntArray,
    dependent_quantile_interval,
    latencies,
    percentile_minimum_n,
    units,
)
from llmstudy.probe.run import Run, gaps_s, with_metrics

METRICS = ("ttft_ms", "tpot_ms", "itl_ms", "e2e_ms")
EXTRA_METRICS = ("reasoning_ttft_ms", "client_queue_ms")


def metrics_table(samples: pd.DataFrame) -> pd.DataFrame:
    """The p50, p95 and p99 of each metric over the measured requests, with their intervals.

    samples: columns of `Sample`, of one run or of several with columns `run` and optionally `day`.
    Failures count as +inf; in ITL each counts as the mean number of gaps of an answered request, so
    that the failed share is the same in every metric.

    Returns: one row per metric and percentile: metric (`ttft_ms`, `tpot_ms`, `itl_ms`, `e2e_ms`;
    `reasoning_ttft_ms` and `client_queue_ms` where there were any), percentile, estimate (NaN among
    failures or where n is too small), low, high, n, n_undefined (answered requests without the
    metric), n_effective, supported. The n of ITL counts gaps, many of one request: its estimate
    also needs six requests and the support of n_effective. Other metrics have an unsupported
    estimate too, with an interval that is not bounded.
    """
    measured = with_metrics(samples[samples["phase"] == "measure"])
    order = [c for c in ("day", "run", "index") if c in measured]
    measured = measured.sort_values(order, kind="stable", ignore_index=True)
    unit, consecutive = units(measured)
    rows: list[dict[str, Any]] = []
    for metric, sample in _latencies_ms(measured, unit).items():
        for name, q in PERCENTILES.items():
            quantile = dependent_quantile_interval(
                sample.x, sample.unit, q, consecutive=consecutive
            )
            enough = quantile.n >= percentile_minimum_n(q)
            if metric == "itl_ms":
                enough = quantile.supported and sample.n_requests >= percentile_minimum_n(0.5)
            rows.append(
                {
                    "metric": metric,
                    "percentile": name,
                    "estimate": quantile.estimate if enough else None,
                    "low": quantile.low,
                    "high": quantile.high,
                    "n": quantile.n,
                    "n_undefined": sample.n_undefined,
                    "n_effective": quantile.n_effective,
                    "supported": quantile.supported,
                }
            )
    return pd.DataFrame(rows).astype({"estimate": float})


class Latencies(NamedTuple):
    """Latencies and their units; requests behind them; answered requests that have none."""

    x: FloatArray
    unit: IntArray
    n_requests: int
    n_undefined: int


def _latencies_ms(measured: pd.DataFrame, unit: IntArray) -> Mapping[str, Latencies]:
    """The latencies of each metric, failures as +inf."""

    def defined(x: FloatArray) -> Latencies:
        defined_rows = (
            x >= 0
        )  # negative where times contradict each other; the audit refuses such a run
        n = int(defined_rows.sum())
        return Latencies(1000 * x[defined_rows], unit[defined_rows], n, len(x) - n)

    def of_requests(column: str) -> Latencies:
        return defined(latencies(measured, column))

    by_metric = {m: of_requests(m.replace("_ms", "_s")) for m in METRICS if m != "itl_ms"}
    by_metric["itl_ms"] = _gaps_ms(measured, unit)
    if measured["first_reasoning_s"].notna().any():
        by_metric["reasoning_ttft_ms"] = of_requests("reasoning_ttft_s")
    # the client's queue is measured for failed requests too
    queue = measured["client_queue_s"].clip(lower=0).to_numpy(dtype=float)
    if (queue > 0).any():
        by_metric["client_queue_ms"] = defined(queue)
    return {m: by_metric[m] for m in (*METRICS, *EXTRA_METRICS) if m in by_metric}


def _gaps_ms(measured: pd.DataFrame, unit: IntArray) -> Latencies:
    ok = measured["ok"].to_numpy(dtype=bool)
    gaps = gaps_s(measured)
    counts = np.array([len(g) for g in gaps], dtype=np.int64)
    n_without = int((counts[ok] == 0).sum())
    gaps_of_failure = ceil(counts[ok].mean()) if counts.sum() else 0
    counts = np.where(ok, counts, gaps_of_failure)
    x = np.concatenate(
        [[inf] * gaps_of_failure if not is_ok else g for g, is_ok in zip(gaps, ok, strict=True)]
        or [[]]
    )
    of_unit, defined = np.repeat(unit, counts), x >= 0
    behind = int((counts > 0).sum())
    return Latencies(1000 * x[defined], of_unit[defined], behind, n_without)


def metrics(run: Run | pd.DataFrame) -> dict[str, Any]:
    """The metrics of a run, or of the samples of several, as plain JSON values.

    Returns: by metric: p50, p95, p99 (null where n is too small or it falls among the failures),
    n, n_undefined, and by percentile p50_interval [low, high] (a high of null: not bounded),
    n_effective and supported, as `metrics_table`; beside them `n` (requests measured) and
    `failed_share` (null without any).

    >>> from llmstudy.probe.run import Sample, table
    >>> times = [(i, i + 0.25) for i in range(30)]
    >>> answers = [Sample(i, "measure", i, i, content_times_s=[t], ok=True) for i, t in times]
    >>> probe = metrics(table(answers))
    >>> probe["ttft_ms"]["p50"], probe["ttft_ms"]["p50_interval"], probe["ttft_ms"]["p95"]
    (250.0, [250.0, 250.0], None)
    >>> probe["n"], probe["failed_share"]
    (30, 0.0)
    """
    samples = run.samples if isinstance(run, Run) else run
    measured = samples[samples["phase"] == "measure"]
    by_metric: dict[str, Any] = {}
    for row in metrics_table(samples).itertuples():
        estimate, low, high = (float(v) for v in (row.estimate, row.low, row.high))  # type: ignore[arg-type]
        of_metric = by_metric.setdefault(str(row.metric), {"n_effective": {}, "supported": {}})
        of_metric[row.percentile] = estimate if isfinite(estimate) else None
        of_metric[f"{row.percentile}_interval"] = [
            low if isfinite(low) else None,
            high if isfinite(high) else None,
        ]
        of_metric["n_effective"][row.percentile] = row.n_effective
        of_metric["supported"][row.percentile] = bool(row.supported)
        of_metric |= {"n": row.n, "n_undefined": row.n_undefined}
    failed = float((~measured["ok"]).mean()) if len(measured) else None
    return {**by_metric, "n": len(measured), "failed_share": failed}


TTFT_PARTS = (
    "client_queue",
    "retry_wait",
    "dns",
    "tcp",
    "tls",
    "network_and_other",
    "server_processing",
    "server_queue",
    "server_prefill",
)


_TIMED = ["client_queue", "retry_wait", "dns", "tcp", "tls", "server_queue", "server_prefill"]
"""The parts that a sample holds by themselves, in the order of time."""


def decomposition(samples: pd.DataFrame) -> pd.DataFrame:
    """The parts of TTFT, over the measured requests that were answered.

    The parts of each request add up to its TTFT: the rest is `network_and_other` (the network,
    earlier attempts, the client's parsing; without times from the server, the server too). Their
    medians need not add up; their mean shares do.

    `server_processing` is the time in the provider's header, where the server gives neither its
    queue nor its prefill. The header of a stream is sent before its body, so that its time may end
    before the first token; one that exceeds the rest of the TTFT is not used.

    samples: columns of `Sample`. A reused connection has no look-up and no set-up, which count as
    0; a part that no request has is unknown. Where some requests have the server's parts, the
    others are left out.
    Returns: one row per part in the order of time, then `ttft`: part, median_ms, mean_share (of
    TTFT), n. Null: unknown.
    """
    answered = with_metrics(samples[(samples["phase"] == "measure") & samples["ok"]])
    answered = answered[answered["ttft_s"].notna()].reset_index(drop=True)
    parts_s = answered[[f"{part}_s" for part in _TIMED]].set_axis(_TIMED, axis=1)
    given = ["client_queue", "retry_wait", *(p for p in _TIMED[2:] if parts_s[p].notna().any())]
    parts_s = parts_s[given].fillna(dict.fromkeys(("dns", "tcp", "tls"), 0.0))
    header_s, rest_s = answered["server_processing_s"], answered["ttft_s"] - parts_s.sum(axis=1)
    fits = header_s <= rest_s
    if fits.any() and not {"server_queue", "server_prefill"} & {*given}:
        parts_s["server_processing"] = header_s.where(fits)
    complete = parts_s.notna().all(axis=1)
    parts_s, ttft_s = parts_s[complete], answered["ttft_s"][complete]
    rest_s = ttft_s - parts_s.sum(axis=1)
    parts_s = parts_s.assign(network_and_other=rest_s, ttft=ttft_s)
    total, n = ttft_s.sum(), len(parts_s)
    rows = [
        {
            "part": part,
            "median_ms": 1000 * parts_s[part].median() if part in parts_s and n else np.nan,
            "mean_share": parts_s[part].sum() / total if part in parts_s and total > 0 else np.nan,
            "n": n if part in parts_s else 0,
        }
        for part in (*TTFT_PARTS, "ttft")
    ]
    return pd.DataFrame(rows)

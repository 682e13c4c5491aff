"""How long did the requests of a probe take, and where does the first token's time go?

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


def metrics_table(samples: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """The p50, p95 and p99 of each metric over the measured requests, with their intervals.

    samples: columns of `Sample`, of one run or of several with columns `run` and, where known,
    `day`. Failures count as +inf; in ITL each counts for as many gaps as an answered request has on
    average, so that the failed share is the same in every metric.

    Returns: one row per metric and percentile: metric (`ttft_ms`, `tpot_ms`, `itl_ms`, `e2e_ms`;
    `reasoning_ttft_ms` and `client_queue_ms` where there were any), percentile, estimate (NaN among
    failures or where n is too small), low, high, n, n_undefined (answered requests without the
    metric), n_effective, supported. The n of ITL counts gaps, many of one request: there an
    estimate takes six requests, too, and the support of n_effective. Of the other metrics an
    unsupported estimate is given, with an interval that is not bounded.
    """
    measured = with_metrics(samples[samples["phase"] == "measure"])
    order = [c for c in ("day", "run", "index") if c in measured]
    measured = measured.sort_values(order, kind="stable", ignore_index=True)
    unit, consecutive = units(measured)
    rows: list[dict[str, Any]] = []
    for metric, known in _latencies_ms(measured, unit).items():
        for name, q in PERCENTILES.items():
            found = dependent_quantile_interval(known.x, known.unit, q, level, consecutive)
            enough = found.n >= percentile_minimum_n(q, level)
            if metric == "itl_ms":
                enough = found.supported and known.n_requests >= percentile_minimum_n(0.5, level)
            rows.append(
                {
                    "metric": metric,
                    "percentile": name,
                    "estimate": found.estimate if enough else None,
                    "low": found.low,
                    "high": found.high,
                    "n": found.n,
                    "n_undefined": known.n_undefined,
                    "n_effective": found.n_effective,
                    "supported": found.supported,
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
        kept = x >= 0  # times that contradict each other define none; the audit refuses such a run
        n = int(kept.sum())
        return Latencies(1000 * x[kept], unit[kept], n, len(x) - n)

    def of_requests(column: str) -> Latencies:
        return defined(latencies(measured, column))

    found = {m: of_requests(m.replace("_ms", "_s")) for m in METRICS if m != "itl_ms"}
    found["itl_ms"] = _gaps_ms(measured, unit)
    if measured["first_reasoning_s"].notna().any():
        found["reasoning_ttft_ms"] = of_requests("reasoning_ttft_s")
    # our own queue is known of failed requests too
    queue = measured["client_queue_s"].clip(lower=0).to_numpy(dtype=float)
    if (queue > 0).any():
        found["client_queue_ms"] = defined(queue)
    return {m: found[m] for m in (*METRICS, *EXTRA_METRICS) if m in found}


def _gaps_ms(measured: pd.DataFrame, unit: IntArray) -> Latencies:
    ok = measured["ok"].to_numpy(dtype=bool)
    gaps = gaps_s(measured)
    counts = np.array([len(g) for g in gaps], dtype=np.int64)
    none = int((counts[ok] == 0).sum())
    lost = ceil(counts[ok].mean()) if counts.sum() else 0
    counts = np.where(ok, counts, lost)
    x = np.concatenate(
        [[inf] * lost if not fine else g for g, fine in zip(gaps, ok, strict=True)] or [[]]
    )
    of_unit, defined = np.repeat(unit, counts), x >= 0
    behind = int((counts > 0).sum())
    return Latencies(1000 * x[defined], of_unit[defined], behind, none)


def metrics(run: Run | pd.DataFrame, level: float = 0.95) -> dict[str, Any]:
    """The metrics of a run, or of the samples of several, as JSON has them.

    Returns: by metric: p50, p95, p99 (null where n is too small or it falls among the failures),
    n, n_undefined, and by percentile p50_interval [low, high] (a high of null: not bounded),
    n_effective and supported, as `metrics_table`; beside them `n` (requests measured) and
    `failed_share` (null without any).

    >>> from llmstudy.probe.run import Sample, table
    >>> times = [(i, i + 0.25) for i in range(30)]
    >>> answers = [Sample(i, "measure", i, i, content_times_s=[t], ok=True) for i, t in times]
    >>> found = metrics(table(answers))
    >>> found["ttft_ms"]["p50"], found["ttft_ms"]["p50_interval"], found["ttft_ms"]["p95"]
    (250.0, [250.0, 250.0], None)
    >>> found["n"], found["failed_share"]
    (30, 0.0)
    """
    samples = run.samples if isinstance(run, Run) else run
    measured = samples[samples["phase"] == "measure"]
    found: dict[str, Any] = {}
    for row in metrics_table(samples, level).itertuples():
        estimate, low, high = (float(v) for v in (row.estimate, row.low, row.high))  # type: ignore[arg-type]
        of_metric = found.setdefault(str(row.metric), {"n_effective": {}, "supported": {}})
        of_metric[row.percentile] = estimate if isfinite(estimate) else None
        of_metric[f"{row.percentile}_interval"] = [
            low if isfinite(low) else None,
            high if isfinite(high) else None,
        ]
        of_metric["n_effective"][row.percentile] = row.n_effective
        of_metric["supported"][row.percentile] = bool(row.supported)
        of_metric |= {"n": row.n, "n_undefined": row.n_undefined}
    failed = float((~measured["ok"]).mean()) if len(measured) else None
    return {**found, "n": len(measured), "failed_share": failed}


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


def decomposition(samples: pd.DataFrame) -> pd.DataFrame:
    """Where the time to the first token goes, over the measured requests that were answered.

    The parts of each request add up to its TTFT: what no part claims is `network_and_other` (the
    way there and back, earlier attempts, our own parsing; with nothing known of the server, the
    server too). Their medians need not add up; their mean shares do.

    `server_processing` is what the provider's header says, where the server tells neither its queue
    nor its prefill. The header of a stream is sent before its body: it covers the time until then,
    which the first token may lie beyond; one that exceeds the TTFT left is no part of it.

    samples: columns of `Sample`. A connection that was used before has no look-up and no set-up,
    which count as nought; a part that no request tells of is unknown. Where some requests tell of
    the server's parts, the others are left out.
    Returns: one row per part in the order of time, then `ttft`: part, median_ms, mean_share (of
    TTFT), n. Null: unknown.
    """
    answered = with_metrics(samples[(samples["phase"] == "measure") & samples["ok"]])
    answered = answered[answered["ttft_s"].notna()]
    known = answered.rename(columns={"client_queue_s": "client_queue"}).assign(
        retry_wait=answered["retry_wait_s"],
        **{
            part: answered[f"{part}_s"].fillna(0.0)
            for part in ("dns", "tcp", "tls")
            if answered[f"{part}_s"].notna().any()
        },
        **{
            part: answered[f"{part}_s"]
            for part in ("server_queue", "server_prefill")
            if answered[f"{part}_s"].notna().any()
        },
    )
    parts = [part for part in TTFT_PARTS if part in known]
    if not {"server_queue", "server_prefill"} & set(parts):
        said, left = answered["server_processing_s"], known["ttft_s"] - known[parts].sum(axis=1)
        if (fits := said <= left).any():
            known["server_processing"] = said.where(fits)
            parts.append("server_processing")
    known = known.dropna(subset=parts)
    known["network_and_other"] = known["ttft_s"] - known[parts].sum(axis=1)
    known = known.rename(columns={"ttft_s": "ttft"})
    total, n = known["ttft"].sum(), len(known)
    rows = [
        {
            "part": part,
            "median_ms": 1000 * known[part].median() if part in known and n else np.nan,
            "mean_share": known[part].sum() / total if part in known and total > 0 else np.nan,
            "n": n if part in known else 0,
        }
        for part in (*TTFT_PARTS, "ttft")
    ]
    return pd.DataFrame(rows)

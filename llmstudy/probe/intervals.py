"""How sure are we of a percentile, when requests wait for each other?

Neighbours in a queue share their wait, requests of one day share its load: n of them tell less than
n independent ones would, and an interval that takes them as independent misses the truth every
other time. Here an interval is as wide as the variation between independent units allows: between
days, or else between runs, or else between batches of consecutive requests of one run.

The dictionary of metrics is in `llmstudy.latency`; the latencies come from `samples.with_metrics`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, floor, inf, isfinite
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import binom
from scipy.stats import t as student_t

from llmstudy.figure import FloatArray
from llmstudy.latency import (
    PERCENTILES,
    QuantileEstimate,
    percentile_minimum_n,
)
from llmstudy.latency import quantile_interval as independent_interval
from llmstudy.probe.samples import Run, gaps_s, with_metrics

IntArray = npt.NDArray[np.int64]

BATCHES = 20
"""Batches of a single run: between 10 and 30 serve whatever n is; fewer make the interval erratic,
more make the batches too short to be independent (Schmeiser 1982, Operations Research 30:556-568).
"""

METRICS = ("ttft_ms", "tpot_ms", "itl_ms", "e2e_ms")
EXTRA_METRICS = ("reasoning_ttft_ms", "client_queue_ms")


@dataclass(frozen=True)
class PercentileEstimate(QuantileEstimate):
    """A percentile whose interval counts dependent requests for what they tell.

    n_effective: independent requests that would vary as much, at most n. `supported`: both ends of
    the interval can be observed, judged by n and by n_effective alike.
    """

    n_effective: float


def batches(n: int) -> IntArray:
    """Labels of the batches of n consecutive requests, of equal size to within one. (n,).

    >>> np.bincount(batches(50)).tolist()[:6]
    [3, 2, 3, 2, 3, 2]
    """
    return np.arange(n) * min(BATCHES, n) // max(n, 1)


def quantile_interval(
    x: FloatArray, unit: IntArray, q: float, level: float = 0.95, consecutive: bool = True
) -> PercentileEstimate:
    """Quantile q with an interval that takes units, not requests, for independent.

    How many independent requests would make the share of latencies up to the estimate vary as much
    as it does between units? The ranks that enclose the quantile of so many requests, by the
    binomial distribution, are then looked up at the same heights among all n.

    x: (n,) latencies in one unit of time, failures as +inf. unit: (n,) labels 0 to k-1 of days,
    runs or batches. consecutive: the units follow each other in one run, so that neighbours may
    still be alike; the variance is then raised by their lag-1 correlation.
    Raises: ValueError if x holds NaN or a negative latency, unit is not one label for each latency,
    or q or level is not between 0 and 1.
    Source: Woodruff (1952), JASA 47:635-646; effective size with degrees of freedom k-1: Korn &
    Graubard (1998), Survey Methodology 24:193-201; ratio variance: Cochran (1977), Sampling
    Techniques, ch. 9A; correlated batches: Tafazzoli, Wilson, Lada & Steiger (2011), Performance of
    Skart, INFORMS Journal on Computing.

    >>> steady = np.tile([0.2, 0.3, 0.4, 0.5, 0.6], 40)
    >>> found = quantile_interval(steady, batches(200), 0.5)
    >>> found.estimate, found.low, found.high, found.n_effective
    (0.4, 0.4, 0.4, 200.0)
    >>> drifting = np.repeat([0.2, 0.3, 0.4, 0.5, 0.6], 40)
    >>> found = quantile_interval(drifting, batches(200), 0.5)
    >>> found.estimate, found.low, found.high, round(found.n_effective, 1)
    (0.4, 0.0, inf, 1.9)
    """
    naive = independent_interval(x, q, level)
    if len(unit) != len(x):
        raise ValueError(f"{len(unit)} unit labels for {len(x)} latencies: give one for each")
    if naive.n == 0:
        return PercentileEstimate(None, 0.0, inf, 0, False, 0.0)
    n, ordered = naive.n, np.sort(np.asarray(x, dtype=float))
    n_effective = _effective_n(x, unit, naive.estimate, level, consecutive)
    m = max(floor(n_effective), 1)
    below = binom.ppf([(1 - level) / 2, (1 + level) / 2], m, q)
    # the rank at the same expected height among n: rank r of m lies at r / (m + 1)
    framed = np.concatenate([[0.0], ordered, [inf]])
    low = floor(below[0] * (n + 1) / (m + 1) + 1e-9)
    high = ceil((below[1] + 1) * (n + 1) / (m + 1) - 1e-9)
    return PercentileEstimate(
        naive.estimate,
        float(framed[low]),
        float(framed[high]),
        n,
        min(n, m) >= percentile_minimum_n(q, level),
        n_effective,
    )


def _effective_n(
    x: FloatArray, unit: IntArray, estimate: float | None, level: float, consecutive: bool
) -> float:
    """Independent requests whose share up to the estimate would vary as that of the units does."""
    n, k = len(x), int(unit.max()) + 1
    # a percentile among failures: what varies is the share that fails
    within = np.isfinite(x) if estimate is None else x <= estimate
    share = within.mean()
    residuals = np.bincount(unit, within, k) - share * np.bincount(unit, minlength=k)
    spread = float(residuals @ residuals)
    if k < 2:
        return 1.0
    if spread <= 1e-9:  # no unit differs from another
        return float(n)
    variance = k / (k - 1) * spread / n**2
    if consecutive:
        # k residuals that sum to nought correlate by -1/k when the units are independent
        lag1 = float(residuals[1:] @ residuals[:-1]) / spread + 1 / k
        lag1 = min(max(lag1, 0.0), 0.8)
        variance *= (1 + lag1) / (1 - lag1)
    upper = (1 + level) / 2
    fewer = (student_t.ppf(upper, n - 1) / student_t.ppf(upper, k - 1)) ** 2
    return float(min(n, fewer * share * (1 - share) / variance))


def units(samples: pd.DataFrame) -> tuple[IntArray, bool]:
    """The outermost level with two units or more, and whether its units follow each other in a run.

    samples: in scheduled order; columns `day` and `run` are optional. Days, else runs, else batches
    of consecutive requests.

    >>> units(pd.DataFrame({"run": ["a", "b", "b"]}))
    (array([0, 1, 1]), False)
    """
    for level in ("day", "run"):
        if level in samples:
            labels, found = pd.factorize(samples[level])
            if len(found) >= 2 and (labels >= 0).all():
                return labels.astype(np.int64), False
    return batches(len(samples)), True


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
            found = quantile_interval(known.x, known.unit, q, level, consecutive)
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
    ok = measured["ok"].to_numpy(dtype=bool)

    def kept(x: FloatArray, defined: npt.NDArray[np.bool_]) -> Latencies:
        n = int(defined.sum())
        return Latencies(1000 * x[defined], _relabelled(unit[defined]), n, len(x) - n)

    def of_requests(column: str) -> Latencies:
        x = np.where(ok, measured[column].to_numpy(dtype=float), inf)
        # times that contradict each other define no latency; the audit refuses such a run
        defined = x >= 0
        if ok.any() and not defined[ok].any():
            defined[:] = False  # failures alone do not make a metric that no answer has
        return kept(x, defined)

    found = {m: of_requests(m.replace("_ms", "_s")) for m in METRICS if m != "itl_ms"}
    found["itl_ms"] = _gaps_ms(measured, unit)
    if measured["first_reasoning_s"].notna().any():
        found["reasoning_ttft_ms"] = of_requests("reasoning_ttft_s")
    # our own queue is known of failed requests too
    queue = measured["client_queue_s"].clip(lower=0).to_numpy(dtype=float)
    if (queue > 0).any():
        found["client_queue_ms"] = kept(queue, ~np.isnan(queue))
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
    return Latencies(1000 * x[defined], _relabelled(of_unit[defined]), behind, none)


def _relabelled(unit: IntArray) -> IntArray:
    """The labels that are left, from 0 without holes."""
    return np.unique(unit, return_inverse=True)[1].astype(np.int64)


def metrics(run: Run | pd.DataFrame, level: float = 0.95) -> dict[str, Any]:
    """The metrics of a run, or of the samples of several, as JSON has them.

    Returns: by metric: p50, p95, p99 (null where n is too small or it falls among the failures),
    n, n_undefined, and by percentile p50_interval [low, high] (a high of null: not bounded),
    n_effective and supported, as `metrics_table`; beside them `n` (requests measured) and
    `failed_share` (null without any).

    >>> from llmstudy.probe.samples import Sample, table
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

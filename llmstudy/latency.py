"""How slow is it, and do we know that well enough to say? Percentiles with honest intervals.

The one dictionary of metrics. t0 is the moment at which the schedule wanted the request sent (in
closed loop: its dispatch). A chunk carries content when it has answer text or token ids; t_k is the
k-th content chunk, T the last one. N is answer tokens = output_tokens - reasoning_tokens.

- TTFT, `ttft_s` = t_1 - t0: answer content; reasoning content is timed apart. Queueing in our own
  client is part of it.
- TPOT, `tpot_s` = (T - t_1) / (N - n_1), n_1 the tokens that came at t_1: 1 where chunks are
  tokens and come one by one. Null when N < 2, the split is unknown, or the answer came in one
  piece or with its beginning held back, as by a proxy that buffers: it has no pace, nor have the
  other answers where many are so (`probe.samples.with_metrics`).
- ITL, `itl_s`: the pooled gaps between content chunks; none of an answer whose TPOT is null for
  that reason, whose chunks came in bursts, or hold several tokens each.
- E2E latency, `e2e_s` = T - t0.
- Role-only, empty and usage chunks carry no content. Token counts come from the server's `usage`,
  never from re-tokenising.
- A failed or timed-out request has latency +inf in every percentile. A percentile is printed with
  its distribution-free two-sided 95 % interval and only when the sample supports that: p95 needs
  n >= 72, p99 n >= 368.

The intervals take requests as independent. Requests that queue behind each other are not, and then
the intervals are too short: take the verdict from several runs.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil, inf, isfinite, log
from typing import Literal

import numpy as np
import pandas as pd
from scipy.stats import binom

from llmstudy.figure import FloatArray, Interval
from llmstudy.quality import wilson

PERCENTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True)
class QuantileEstimate:
    """A quantile of n latencies with its interval, in their unit.

    `estimate` is None when the quantile falls among the failures or there is no sample. `high` is
    +inf when it falls among the failures, or beyond the largest of too few samples; `low` is 0 when
    there are too few samples below. `supported`: n is large enough for both ends to be observed.
    """

    estimate: float | None
    low: float
    high: float
    n: int
    supported: bool


def percentile_minimum_n(q: float, level: float = 0.95) -> int:
    """Samples from which both ends of the interval for quantile q can be observed latencies.

    The largest of n latencies lies below the quantile with probability q^n, the smallest above it
    with (1 - q)^n; each may take half of 1 - level.

    Raises: ValueError if q or level is not between 0 and 1.

    >>> [percentile_minimum_n(q) for q in (0.50, 0.95, 0.99)]
    [6, 72, 368]
    """
    if not (0 < q < 1 and 0 < level < 1):
        raise ValueError(f"q {q:g}, level {level:g}: give both between 0 and 1, 0.95 for p95")
    return ceil(log((1 - level) / 2) / log(max(q, 1 - q)))


def quantile_interval(x: FloatArray, q: float, level: float = 0.95) -> QuantileEstimate:
    """Quantile q of latencies, with a two-sided interval that assumes no distribution.

    The number of latencies below the true quantile is binomial(n, q), so that two order statistics
    enclose it with at least the stated level. The estimate is an observed latency too, the
    smallest with a share of at least q at or below it: nothing is interpolated.

    x: (n,) in one time unit, failures as +inf. An empty x gives an unsupported estimate of None.
    Raises: ValueError if x holds NaN or a negative latency, or q or level is not between 0 and 1.
    Source: David & Nagaraja (2003), Order Statistics, 3rd ed., section 7.1.

    >>> quantile_interval(np.arange(1.0, 101.0), 0.95)
    QuantileEstimate(estimate=95.0, low=90.0, high=100.0, n=100, supported=True)
    """
    minimum = percentile_minimum_n(q, level)
    ordered = np.sort(_latencies(x))
    n = len(ordered)
    if n == 0:
        return QuantileEstimate(None, 0.0, inf, 0, False)
    below = binom.ppf([(1 - level) / 2, (1 + level) / 2], n, q).astype(int)
    # between nought and +inf, so that rank k is framed[k] and a missing rank is unbounded
    framed = np.concatenate([[0.0], ordered, [inf]])
    estimate = float(framed[ceil(n * q - 1e-9)])  # 1e-9: 100 * 0.95 must be rank 95 in any rounding
    return QuantileEstimate(
        estimate if isfinite(estimate) else None,
        float(framed[below[0]]),
        float(framed[below[1] + 1]),
        n,
        n >= minimum,
    )


def slo_attainment(x: FloatArray, limit: float, level: float = 0.95) -> Interval:
    """Share of requests that finish within the limit, with its Wilson interval.

    x: (n,), failures as +inf: they miss every limit. limit: finite, in the unit of x.
    Raises: ValueError if x is empty or holds NaN, or the limit is not finite.

    >>> slo_attainment(np.array([0.2, 0.3, 0.9, np.inf]), limit=0.5).estimate
    0.5
    """
    _check_limit(limit)
    x = _latencies(x)
    return wilson(int((x <= limit).sum()), len(x), level)


def slo_verdict(
    estimate: QuantileEstimate, limit: float
) -> Literal["meets", "misses", "undecided"]:
    """Whether the percentile is within its limit, judged from the whole interval.

    limit: finite, in the unit of the estimate. Too few samples are undecided, and
    `percentile_minimum_n` says how many at least; but a lower end above the limit is a miss
    whatever n is.

    Raises: ValueError if the limit is not finite.

    >>> p95 = quantile_interval(np.arange(1.0, 101.0), 0.95)
    >>> slo_verdict(p95, 120.0), slo_verdict(p95, 95.0), slo_verdict(p95, 80.0)
    ('meets', 'undecided', 'misses')
    """
    _check_limit(limit)
    if estimate.high <= limit:
        return "meets"
    return "misses" if estimate.low > limit else "undecided"


def latency_table(
    samples: pd.DataFrame, by: Sequence[str], metrics: Sequence[str], level: float = 0.95
) -> pd.DataFrame:
    """The p50, p95 and p99 of each metric in each group, with intervals.

    samples: one row per request sent: `ok` (bool), the columns of `by`, and the metrics (one time
    unit each, null where the dictionary above says so). A row that is not ok counts as +inf.

    Returns: one row per group, metric and percentile: the columns of `by`, metric, percentile
    ("p50", "p95", "p99"), estimate (NaN among failures), low, high, n (requests counted, failures
    among them), n_undefined (requests that succeeded but have no such metric), failed_share (of all
    requests of the group), supported.
    Raises: ValueError if a column is missing, there is no row, or `ok` is null somewhere.

    >>> samples = pd.DataFrame({"arm": "hosted_open", "ok": [True, True, True, False],
    ...                         "ttft_s": [0.2, 0.3, 0.4, None]})
    >>> latency_table(samples, ["arm"], ["ttft_s"])[["percentile", "estimate", "n", "failed_share"]]
      percentile  estimate  n  failed_share
    0        p50       0.3  4          0.25
    1        p95       NaN  4          0.25
    2        p99       NaN  4          0.25
    """
    missing = [c for c in ("ok", *by, *metrics) if c not in samples]
    if missing:
        raise ValueError(f"samples lack {missing}: they have {list(samples.columns)}")
    if samples.empty:
        raise ValueError("no samples: a latency table needs at least one request sent")
    if samples["ok"].isna().any():
        raise ValueError("samples with a null `ok`: say of each request whether it succeeded")
    rows = []
    for key, group in samples.groupby(list(by), observed=True, dropna=False):
        ok = group["ok"].to_numpy(dtype=bool)
        place = dict(zip(by, key, strict=True)) | {"failed_share": (~ok).mean()}
        for metric in metrics:
            x = np.where(ok, group[metric].to_numpy(dtype=float, na_value=np.nan), inf)
            defined = x[~np.isnan(x)]
            undefined = {"n_undefined": len(x) - len(defined)}
            for name, q in PERCENTILES.items():
                found = asdict(quantile_interval(defined, q, level))
                rows.append(place | {"metric": metric, "percentile": name} | found | undefined)
    columns = [*by, "metric", "percentile", "estimate", "low", "high"]
    columns += ["n", "n_undefined", "failed_share", "supported"]
    return pd.DataFrame(rows)[columns].astype({"estimate": float})


def _latencies(x: FloatArray) -> FloatArray:
    """x as a float array, refused when a value cannot be a latency."""
    x = np.asarray(x, dtype=float)
    if not (x >= 0).all():
        raise ValueError(
            "latencies must be zero or more, +inf for a failure: NaN or negative found"
        )
    return x


def _check_limit(limit: float) -> None:
    if not isfinite(limit):
        raise ValueError(f"limit {limit}: an SLO needs a finite limit in the unit of the latencies")

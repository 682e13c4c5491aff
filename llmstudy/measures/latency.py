"""Percentiles of latency with their intervals, and whether the sample supports them.

The definitions of all latency metrics. t0 is the moment at which the schedule wanted the request
sent (in
closed loop: its dispatch). A chunk carries content when it has answer text or token ids; t_k is the
k-th content chunk, T the last one. N is answer tokens = output_tokens - reasoning_tokens.

- TTFT, `ttft_s` = t_1 - t0: answer content; reasoning content is timed apart. Queueing in the
  client is part of it.
- TPOT, `tpot_s` = (T - t_1) / (N - n_1), n_1 the tokens that came at t_1: 1 where chunks are
  tokens and come one by one. Null when N < 2, the split is unknown, or the answer came in one
  piece or with its beginning held back, as by a proxy that buffers: it has no pace, nor have the
  other answers where many are so (`probe.run.with_metrics`).
- ITL, `itl_s`: the pooled gaps between content chunks; none of an answer whose TPOT is null for
  that reason, whose chunks came in bursts, or hold several tokens each.
- E2E latency, `e2e_s` = T - t0.
- Role-only, empty and usage chunks carry no content. Token counts come from the server's `usage`,
  never from re-tokenising.
- A failed or timed-out request has latency +inf in every percentile. A percentile is printed with
  its distribution-free two-sided 95 % interval and only when the sample supports that: p95 needs
  n >= 72, p99 n >= 368.

Neighbours in a queue share their wait, requests of one day share its load: an interval that takes
them as independent is too narrow, and misses the true value every other time. `latency_table` and
`slo_attainment` derive their intervals from the variation between independent units: days, or else
runs, or else batches of consecutive requests. `quantile_interval` takes requests as independent.
"""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil, floor, inf, isfinite, log
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import binom
from scipy.stats import t as student_t

from llmstudy.figure import FloatArray, Interval
from llmstudy.measures.quality import wilson
from llmstudy.text import listed

IntArray = npt.NDArray[np.int64]

METRICS = ("ttft_s", "tpot_s", "e2e_s", "latency_s")
"""The metrics of a table if none is named."""

PERCENTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}

BATCHES = 20
"""Batches of a single run: between 10 and 30 serve whatever n is; fewer make the interval erratic,
more make the batches too short to be independent (Schmeiser 1982, Operations Research 30:556-568).
"""


@dataclass(frozen=True)
class QuantileEstimate:
    """A quantile of n latencies with its interval, in their unit.

    `estimate` is None when the quantile falls among the failures or there is no sample. `high` is
    +inf when it falls among the failures, or beyond the largest of too few samples; `low` is 0 when
    too few samples are below it. `supported`: n is large enough for both ends to be observed.
    """

    estimate: float | None
    low: float
    high: float
    n: int
    supported: bool


@dataclass(frozen=True)
class PercentileEstimate(QuantileEstimate):
    """A percentile whose interval allows for requests that depend on each other.

    n_effective: independent requests that would vary as much, at most n. `supported`: n and
    n_effective are both large enough for both ends of the interval to be observed.
    """

    n_effective: float


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
    return _of_ordered(np.sort(_latencies(x)), q, level)


def _of_ordered(ordered: FloatArray, q: float, level: float) -> QuantileEstimate:
    minimum, n = percentile_minimum_n(q, level), len(ordered)
    if n == 0:
        return QuantileEstimate(None, 0.0, inf, 0, False)
    below = binom.ppf([(1 - level) / 2, (1 + level) / 2], n, q).astype(int)
    # between 0 and +inf, so that rank k is framed[k] and a missing rank is unbounded
    framed = np.concatenate([[0.0], ordered, [inf]])
    estimate = float(framed[ceil(n * q - 1e-9)])  # 1e-9: 100 * 0.95 must be rank 95 in any rounding
    return QuantileEstimate(
        estimate if isfinite(estimate) else None,
        float(framed[below[0]]),
        float(framed[below[1] + 1]),
        n,
        n >= minimum,
    )


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


def batches(n: int) -> IntArray:
    """Labels of the batches of n consecutive requests, of equal size to within one. (n,).

    >>> np.bincount(batches(50)).tolist()[:6]
    [3, 2, 3, 2, 3, 2]
    """
    return np.arange(n) * min(BATCHES, n) // max(n, 1)


def dependent_quantile_interval(
    x: FloatArray, unit: IntArray, q: float, level: float = 0.95, consecutive: bool = True
) -> PercentileEstimate:
    """Quantile q with an interval that takes units, not requests, as independent.

    The effective number of requests is the number of independent ones whose share of latencies up
    to the estimate would vary as much as it does between units. The ranks that enclose the quantile
    of that many requests, by the binomial distribution, are scaled to ranks among all n.

    x: (n,) latencies in one unit of time, failures as +inf. unit: (n,) whole-number labels of
    days, runs or batches. consecutive: the units follow each other in one run, so that neighbours
    may still be alike; the variance is then raised by their lag-1 correlation.
    Raises: ValueError if x holds NaN or a negative latency, unit is not one label for each latency,
    or q or level is not between 0 and 1.
    Source: Woodruff (1952), JASA 47:635-646; effective size with degrees of freedom k-1: Korn &
    Graubard (1998), Survey Methodology 24:193-201; ratio variance: Cochran (1977), Sampling
    Techniques, ch. 9A; correlated batches: Tafazzoli, Wilson, Lada & Steiger (2011), Performance of
    Skart, INFORMS Journal on Computing.

    >>> steady = np.tile([0.2, 0.3, 0.4, 0.5, 0.6], 40)
    >>> p50 = dependent_quantile_interval(steady, batches(200), 0.5)
    >>> p50.estimate, p50.low, p50.high, p50.n_effective
    (0.4, 0.4, 0.4, 200.0)
    >>> drifting = np.repeat([0.2, 0.3, 0.4, 0.5, 0.6], 40)
    >>> p50 = dependent_quantile_interval(drifting, batches(200), 0.5)
    >>> p50.estimate, p50.low, p50.high, round(p50.n_effective, 1)
    (0.4, 0.0, inf, 1.9)
    """
    return _of_units(x, np.sort(_latencies(x)), unit, q, level, consecutive)


def _of_units(
    x: FloatArray, ordered: FloatArray, unit: IntArray, q: float, level: float, consecutive: bool
) -> PercentileEstimate:
    """`dependent_quantile_interval` of latencies that are given in the order of their size too."""
    if len(unit) != len(x):
        raise ValueError(
            f"{len(unit)} unit labels for {len(x)} latencies: give one for each latency"
        )
    naive = _of_ordered(ordered, q, level)
    if naive.n == 0:
        return PercentileEstimate(None, 0.0, inf, 0, False, 0.0)
    n = naive.n
    # for a percentile among failures the share of failures varies
    within = np.isfinite(x) if naive.estimate is None else x <= naive.estimate
    n_effective = _effective_n(within, unit, level, consecutive)
    m = max(floor(n_effective), 1)
    below = binom.ppf([(1 - level) / 2, (1 + level) / 2], m, q)
    # ranks among m are scaled to n: the expected quantile of rank r of m is r / (m + 1)
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


def share_interval(
    within: npt.NDArray[np.bool_], unit: IntArray, level: float = 0.95, consecutive: bool = True
) -> tuple[Interval, float]:
    """A share of requests with its Wilson interval, which takes units as independent.

    within: (n,) whether a request counts, n > 0. unit, consecutive: as
    `dependent_quantile_interval`.
    Returns: the share, and the independent requests that would vary as much.
    Source: Korn & Graubard (1998), Survey Methodology 24:193-201, for the effective size.

    >>> within = np.arange(100) < 10
    >>> even, _ = share_interval(within, np.arange(100) % 10)
    >>> clustered, _ = share_interval(within, np.arange(100) // 10)
    >>> [round(x, 3) for x in (even.low, even.high, clustered.low, clustered.high)]
    [0.055, 0.174, 0.012, 0.507]
    """
    m = _effective_n(within, unit, level, consecutive)
    return wilson(float(within.mean()) * m, m, level), m


def _effective_n(
    within: npt.NDArray[np.bool_], unit: IntArray, level: float, consecutive: bool
) -> float:
    """Independent requests whose share within a limit would vary as it does between units."""
    first, n, share = int(unit.min()), len(within), within.mean()
    requests = np.bincount(unit - first)
    used = requests > 0  # some labels may have no request
    residuals = np.bincount(unit - first, within)[used] - share * requests[used]
    k = len(residuals)
    spread = float(residuals @ residuals)
    if k < 2:
        return 1.0
    if spread <= 1e-9:  # no unit differs from another
        return float(n)
    variance = k / (k - 1) * spread / n**2
    if consecutive:
        # k residuals that sum to 0 correlate by -1/k when the units are independent
        lag1 = float(residuals[1:] @ residuals[:-1]) / spread + 1 / k
        lag1 = min(max(lag1, 0.0), 0.8)
        variance *= (1 + lag1) / (1 - lag1)
    upper = (1 + level) / 2
    fewer = (student_t.ppf(upper, n - 1) / student_t.ppf(upper, k - 1)) ** 2
    return float(min(n, fewer * share * (1 - share) / variance))


def units(samples: pd.DataFrame) -> tuple[IntArray, bool]:
    """Labels of the independent units of the samples, and whether they follow each other in a run.

    samples: in scheduled order; columns `day` and `run` are optional. Units are days if there are
    two or more, else runs, else batches of consecutive requests.

    >>> units(pd.DataFrame({"run": ["a", "b", "b"]}))
    (array([0, 1, 1]), False)
    """
    for level in ("day", "run"):
        if level in samples:
            labels, distinct = pd.factorize(samples[level])
            if len(distinct) >= 2 and (labels >= 0).all():
                return labels.astype(np.int64), False
    return batches(len(samples)), True


def latency_table(
    samples: pd.DataFrame,
    by: Sequence[str] = (),
    metrics: Sequence[str] | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """The p50, p95 and p99 of each metric in each group, with intervals.

    samples: one row per request, in the order sent: `ok` (bool), the columns of `by`, and the
    metrics (one time unit each, null where the dictionary above says so); optionally `day` and
    `run`, the units that the intervals take as independent (`units`). A row that is not ok counts
    as +inf; without `ok` all count as answered, and a warning says so. By its name in `llmstudy`
    the function takes the folder of a recorded probe too. by: none for all requests together.
    metrics: None for those of ttft_s, tpot_s, e2e_s and latency_s that any request has.

    Returns: one row per group, metric and percentile: the columns of `by`, metric, percentile
    ("p50", "p95", "p99"), estimate (NaN among failures), low, high, n (requests counted, failures
    among them), n_undefined (requests that succeeded but have no such metric), n_effective
    (independent requests that would vary as much), failed_share (of all requests of the group),
    supported. No samples give no rows.
    Raises: ValueError if a column is missing, `ok` is somewhere neither true nor false, or a metric
    is negative.

    >>> samples = pd.DataFrame({"ok": [True, True, True, False], "ttft_s": [0.2, 0.3, 0.4, None]})
    >>> latency_table(samples)[["percentile", "estimate", "n", "failed_share"]]
      percentile  estimate  n  failed_share
    0        p50       0.3  4          0.25
    1        p95       NaN  4          0.25
    2        p99       NaN  4          0.25
    """
    samples, by, metrics = _checked(samples, by, metrics)
    needed = [name for name in (*by, *metrics, "ok", "day", "run") if name in samples]
    rows = []
    for group, place in _groups(samples[list(dict.fromkeys(needed))], by):
        unit, consecutive = units(group)
        for metric in metrics:
            x = latencies(group, metric)
            defined = ~np.isnan(x)
            x, of_unit = x[defined], unit[defined]
            ordered = np.sort(_latencies(x))
            for name, q in PERCENTILES.items():
                estimate = _of_units(x, ordered, of_unit, q, level, consecutive)
                row = {"metric": metric, "percentile": name, **asdict(estimate)}
                failed = {"failed_share": float((~group["ok"].astype(bool)).mean())}
                rows.append(place | row | {"n_undefined": int((~defined).sum())} | failed)
    columns = [*by, "metric", "percentile", "estimate", "low", "high"]
    columns += ["n", "n_undefined", "n_effective", "failed_share", "supported"]
    return pd.DataFrame(rows, columns=columns).astype({"estimate": float})


def slo_attainment(
    samples: pd.DataFrame,
    by: Sequence[str] = (),
    limits: Mapping[str, float | str] | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """Share of requests in each group that meet every limit, with its Wilson interval.

    samples, by: as `latency_table`. limits: metric -> its limit, or the column of samples that
    holds the limit of each request, in the metric's unit. A failed request meets none. An answer
    without a metric meets its limit; a request without any of the metrics is not counted.

    Returns: one row per group: the columns of `by`, attainment, low, high (shares; NaN where no
    request counts), n (requests counted), n_effective (independent requests that would vary as
    much, from which the interval follows). No samples give no rows.
    Raises: ValueError as `latency_table`, and without limits or if one is not finite.
    Source: Korn & Graubard (1998), Survey Methodology 24:193-201, for the effective size.

    >>> samples = pd.DataFrame({"ok": [True, True, True, False], "ttft_s": [0.2, 0.3, 0.9, None]})
    >>> slo_attainment(samples, limits={"ttft_s": 0.5})[["attainment", "n"]]
       attainment  n
    0         0.5  4
    """
    if not isinstance(limits, Mapping) or not limits:
        raise ValueError('limits: give one for each metric, such as limits={"ttft_s": 0.5}')
    samples, by, _ = _checked(samples, by, limits)
    if absent := [
        each for each in limits.values() if isinstance(each, str) and each not in samples
    ]:
        raise ValueError(
            f"limits name {listed(absent)}, which samples lack: give a number in the metric's "
            "unit, or the column that holds each request's limit"
        )
    rows = []
    for group, place in _groups(samples, by):
        met, counted = np.ones(len(group), bool), np.zeros(len(group), bool)
        for metric, limit in limits.items():
            x = latencies(group, metric)
            limit_of_each = np.asarray(group[limit] if isinstance(limit, str) else limit, float)
            _check_limit(float(np.max(limit_of_each)))
            met &= np.isnan(x) | (x <= limit_of_each)
            counted |= ~np.isnan(x)
        unit, consecutive = units(group)
        share = {"attainment": np.nan, "low": np.nan, "high": np.nan, "n": int(counted.sum())}
        share["n_effective"] = 0.0
        if counted.any():
            attained, m = share_interval(met[counted], unit[counted], level, consecutive)
            ends = {"low": attained.low, "high": attained.high, "n_effective": m}
            share |= {"attainment": attained.estimate, **ends}
        rows.append(place | share)
    columns = [*by, "attainment", "low", "high", "n", "n_effective"]
    return pd.DataFrame(rows, columns=columns)


def latencies(samples: pd.DataFrame, metric: str) -> FloatArray:
    """A metric of each request, failures as +inf, NaN where it is not defined. Shape: (n,).

    Failures alone do not make a metric that no answer has: it is then NaN throughout.

    >>> latencies(pd.DataFrame({"ok": [True, False], "ttft_s": [0.2, None]}), "ttft_s")
    array([0.2, inf])
    """
    ok = samples["ok"].to_numpy(dtype=bool)
    try:
        values = samples[metric].to_numpy(dtype=float, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{metric} must hold numbers in one unit of time: {error}") from None
    x = np.where(ok, values, inf)
    return np.full(len(x), np.nan) if ok.any() and not (x[ok] >= 0).any() else x


def _checked(
    samples: pd.DataFrame, by: Sequence[str], metrics: Iterable[str] | None
) -> tuple[pd.DataFrame, list[str], list[str]]:
    """Samples with `ok`, and the columns of `by` and of metrics, all checked."""
    if not isinstance(samples, pd.DataFrame):
        raise ValueError(f"samples is a {type(samples).__name__}: give a DataFrame of requests")
    by = [by] if isinstance(by, str) else list(by)
    metrics = [metrics] if isinstance(metrics, str) else list(metrics or ())
    present = [name for name in METRICS if name in samples]
    metrics = metrics or [name for name in present if samples[name].notna().any()] or present
    if not metrics:
        raise ValueError(
            f"samples have none of {listed([*METRICS])}: name their columns in metrics, such as "
            'metrics=["first_token_s"]'
        )
    if missing := [c for c in (*by, *metrics) if c not in samples]:
        raise ValueError(f"samples lack {missing}: they have {list(samples.columns)}")
    if "ok" not in samples:
        warnings.warn(
            "samples have no `ok`: all requests count as answered",
            stacklevel=3,
        )
        samples = samples.assign(ok=True)
    if samples["ok"].isna().any():
        raise ValueError("samples have a null `ok`: give True or False for each request")
    if samples["ok"].dtype != bool and (wrong := ~samples["ok"].isin([True, False])).any():
        first = samples["ok"][wrong].iloc[0]
        raise ValueError(f"samples have {first!r} in `ok`: give True or False")
    return samples, by, metrics


def _groups(samples: pd.DataFrame, by: list[str]) -> Iterator[tuple[pd.DataFrame, dict[str, Any]]]:
    """The requests of each group, and the columns that name it; without `by`, all of them."""
    if not by and len(samples):
        yield samples, {}
    elif by:
        for key, group in samples.groupby(by, observed=True, dropna=False, sort=False):
            yield group, dict(zip(by, key, strict=True))


def _latencies(x: FloatArray) -> FloatArray:
    """x as a float array. Raises: ValueError for NaN or negative values."""
    x = np.asarray(x, dtype=float)
    if not (x >= 0).all():
        raise ValueError(
            "latencies must be 0 or more, and +inf for a failure: there are NaN or negative ones"
        )
    return x


def _check_limit(limit: float) -> None:
    if not isfinite(limit):
        raise ValueError(f"limit {limit}: an SLO needs a finite limit in the unit of the latencies")

"""Is b faster than a, and how many requests does it take to decide that?

Two runs of one plan send the same prompts at the same times: request i of one is paired with
request i of the other, so that the effect of a hard prompt or of a burst cancels out. The measure
is the ratio of a percentile, b / a: below 1, b is faster. The verdict may be undecided.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, inf, isfinite, isinf, log, log1p, nan, sqrt
from typing import Literal, get_args

import numpy as np
import pandas as pd
from scipy.stats import norm
from scipy.stats import t as student_t

from llmstudy.figure import FloatArray
from llmstudy.measures.latency import (
    BATCHES,
    PERCENTILES,
    IntArray,
    batches,
    dependent_quantile_interval,
    percentile_minimum_n,
)
from llmstudy.probe.run import Run, gaps_s, with_metrics

Metric = Literal["ttft", "tpot", "itl", "e2e"]
Percentile = Literal["p50", "p95", "p99"]
Verdict = Literal["better", "worse", "undecided"]

RESAMPLES = 1000
"""Enough for the ends of a 95 % interval: Davison & Hinkley (1997), Bootstrap Methods, 5.2."""

FEWEST_BLOCKS = 10
"""As for batches, fewer make the interval erratic (Schmeiser 1982)."""

LEVEL, POWER = 0.95, 0.8


@dataclass(frozen=True)
class Comparison:
    """A percentile of b over that of a, on the same plan.

    a_ms, b_ms: None among failures. ratio: b / a with low and high, of several runs the geometric
    mean of theirs; None where it is undefined, a high of +inf is not bounded. n_pairs: requests
    paired. block: consecutive pairs drawn together (1 when runs are the unit). n_needed: pairs that
    decide with a power of 80 %, if the true ratio is the one measured; None when it is decided, the
    ratio lies within the margin, or no interval is bounded.
    """

    metric: Metric
    percentile: Percentile
    a_ms: float | None
    b_ms: float | None
    ratio: float | None
    low: float
    high: float
    n_pairs: int
    n_runs: int
    block: int
    margin_share: float
    verdict: Verdict
    n_needed: int | None

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        what = f"{self.metric} {self.percentile}"
        if self.ratio is None:
            return f"{what} cannot be compared: it lies among failures"
        high = "unbounded" if isinf(self.high) else f"{self.high:.2f}"
        needs = f"; it takes {self.n_needed} pairs to decide" if self.n_needed else ""
        return (
            f"{self.verdict}, {what} {self.ratio:.2f} times as long (95 % interval {self.low:.2f} "
            f"to {high}, {self.n_pairs} pairs, margin {self.margin_share:.0%}){needs}"
        )


def compare(
    a: Run | Sequence[Run],
    b: Run | Sequence[Run],
    metric: Metric = "ttft",
    percentile: Percentile = "p95",
    margin_share: float = 0.0,
    seed: int = 0,
) -> Comparison:
    """Compares two endpoints: b is better, worse, or undecided, with an interval of the ratio.

    One run each: circular block bootstrap over pairs in the order of the schedule. Several: run i
    of a is paired with run i of b, and the runs are the unit: a t-interval of the log ratios of the
    pairs of runs, since a few runs have too few resamples. Failures are +inf.
    margin_share: a ratio within 1 / (1 + margin) to 1 + margin counts as no difference; b is better
    or worse when the whole interval lies beyond.

    Raises: ValueError if the runs are not of one plan (times of the schedule or requested tokens
    differ), nothing pairs, the numbers of runs differ, or the margin is negative.
    Source: Politis & Romano (1992), A circular block-resampling procedure for stationary data;
    length of the blocks by `block_length`.
    """
    for choice, choices in ((metric, get_args(Metric)), (percentile, [*PERCENTILES])):
        if choice not in choices:
            raise ValueError(f"{choice!r} is none of {', '.join(choices)}: write one of these")
    if margin_share < 0:
        raise ValueError(f"margin {margin_share:g}: give a share of 0 or more, 0.05 for 5 %")
    runs_a, runs_b = ([x] if isinstance(x, Run) else list(x) for x in (a, b))
    if len(runs_a) != len(runs_b) or not runs_a:
        raise ValueError(f"{len(runs_a)} runs against {len(runs_b)}: give as many of each")
    q = PERCENTILES[percentile]
    pairs = [_paired(run_a, run_b, metric) for run_a, run_b in zip(runs_a, runs_b, strict=True)]
    n = sum(pair.n for pair in pairs)
    a_s, b_s = (_quantile(np.concatenate([getattr(p, s).x for p in pairs]), q) for s in ("a", "b"))
    ratio = _ratio(b_s, a_s)
    if len(pairs) == 1:
        # a tail has too few requests to show what neighbours share: the median shows it too
        block = max(block_length(pairs[0].difference(p)) for p in (q, 0.5))
        low, high = _bootstrap(pairs[0], q, block, np.random.default_rng(seed))
    else:
        block = 1
        ratio, low, high = _between_runs(pairs, q)
    values = min(len(p.a.x) for p in pairs), min(len(p.b.x) for p in pairs)
    enough = min(values) * len(pairs) >= percentile_minimum_n(q)
    verdict: Verdict = "undecided"
    if enough and high < 1 / (1 + margin_share):
        verdict = "better"
    elif enough and low > 1 + margin_share:
        verdict = "worse"
    n_needed = None
    if verdict == "undecided" and isfinite(ratio) and ratio > 0:
        n_needed = _needed(ratio, low, high, n, margin_share)
        if not enough:
            n_needed = max(n_needed or 0, percentile_minimum_n(q))
    return Comparison(
        metric,
        percentile,
        1000 * a_s if isfinite(a_s) else None,
        1000 * b_s if isfinite(b_s) else None,
        ratio if isfinite(ratio) else None,
        low,
        high,
        n,
        len(pairs),
        block,
        margin_share,
        verdict,
        n_needed,
    )


# ---- pairs ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Side:
    """Latencies of one run, sorted. x: (m,) seconds, failures +inf. pair: (m,) their pair."""

    x: FloatArray
    pair: IntArray

    def quantiles(self, times_drawn: IntArray, q: float) -> FloatArray:
        """Quantile q when each pair counts as often as drawn. times_drawn: (k, n). Returns (k,)."""
        upto = np.cumsum(times_drawn[:, self.pair], axis=1)
        rank = np.ceil(q * upto[:, -1:] - 1e-9)
        return np.asarray(self.x[np.argmax(upto >= rank, axis=1)])


@dataclass(frozen=True)
class _Paired:
    a: _Side
    b: _Side
    n: int

    def difference(self, q: float) -> FloatArray:
        """Contribution of each pair to the log ratio, up to a factor: (n,), in scheduled order."""
        parts = []
        for side in (self.a, self.b):
            above = side.x > _quantile(side.x, q)
            parts.append(np.bincount(side.pair, above - above.mean(), self.n))
        return np.asarray(parts[1] - parts[0])


def _paired(a: Run, b: Run, metric: Metric) -> _Paired:
    """The measured requests of both runs by index, in scheduled order."""
    one, other = (with_metrics(run.measured).set_index("index") for run in (a, b))
    common = one.index.intersection(other.index)
    if common.empty:
        raise ValueError(
            "no request of one run has its index in the other: compare runs of one plan"
        )
    one, other = one.loc[common], other.loc[common]
    _refuse_other_plan(a, b, one, other)
    order = np.lexsort((common, one["scheduled_s"]))
    values = [_values(frame.iloc[order], metric) for frame in (one, other)]
    # a pair with the metric on one side only has no difference
    paired = np.flatnonzero([len(x) > 0 and len(y) > 0 for x, y in zip(*values, strict=True)])
    is_undefined = [
        frame["ok"].any() and not any(np.isfinite(x).any() for x in side)
        for frame, side in zip((one, other), values, strict=True)
    ]
    if not len(paired) or any(is_undefined):
        raise ValueError(
            f"no pair of requests has {metric} on both sides: answers of one token, without a "
            "count of tokens, or that waited in a buffer have none; choose another metric"
        )
    sides = []
    for side in values:
        chosen = [side[i] for i in paired]
        pair = np.repeat(np.arange(len(paired)), [len(x) for x in chosen])
        x = np.concatenate(chosen)
        by_size = np.argsort(x, kind="stable")
        sides.append(_Side(x[by_size], pair[by_size].astype(np.int64)))
    return _Paired(sides[0], sides[1], len(paired))


def _refuse_other_plan(a: Run, b: Run, one: pd.DataFrame, other: pd.DataFrame) -> None:
    closed = [(run.facts.get("load") or {}).get("process") == "closed" for run in (a, b)]
    if closed[0] != closed[1]:
        raise ValueError("one run is a closed loop and the other is not: compare runs of one plan")
    columns = ["asked_input_tokens", "asked_output_tokens", "prefix_group"]
    # a closed loop has no schedule to agree on
    for column in columns if closed[0] else ["scheduled_s", *columns]:
        x, y = (frame[column].to_numpy(dtype=float, na_value=np.nan) for frame in (one, other))
        same = np.isclose(x, y, rtol=0, atol=1e-3, equal_nan=True)
        if not same.all():
            at = int(np.argmin(same))
            raise ValueError(
                f"{column} of request {one.index[at]} is {x[at]:g} in one run and "
                f"{y[at]:g} in the other: compare runs of one plan, with one seed"
            )


def _values(frame: pd.DataFrame, metric: Metric) -> list[FloatArray]:
    """The latencies of each request: one, none, or all its gaps; a failure is one of +inf."""
    ok = frame["ok"].to_numpy(dtype=bool)
    if metric == "itl":
        values = gaps_s(frame)
    else:
        column = frame[f"{metric}_s"].to_numpy(dtype=float)
        values = [np.array([] if np.isnan(value) else [value]) for value in column]
    return [x if fine else np.array([inf]) for x, fine in zip(values, ok, strict=True)]


# ---- intervals -----------------------------------------------------------------------------------


def block_length(z: FloatArray) -> int:
    """Consecutive pairs to draw together, from the autocorrelation of the series. (n,) -> pairs.

    Longer than the correlation of neighbours, at most a tenth of the series, so that there are
    blocks to draw from. Twice the published length, which is best for the error of a variance: an
    interval suffers more from its bias, which falls as 1 / length.
    Source: Politis & White (2004), Econometric Reviews 23:53-70, with the correction of Patton,
    Politis & White (2009), ibid. 28:372-375: circular blocks, flat-top lag window.

    >>> block_length(np.random.default_rng(0).standard_normal(1_000)) < 10
    True
    >>> block_length(np.repeat(np.random.default_rng(0).standard_normal(50), 20)) > 20
    True
    """
    n = len(z)
    z = z - z.mean()
    variance = float(z @ z) / n
    if n < 20 or variance == 0:
        return 1
    lags = min(n - 1, ceil(sqrt(n)) + max(5, ceil(log(n, 10))))
    covariance = np.array([float(z[k:] @ z[: n - k]) / n for k in range(2 * lags + 1) if k < n])
    # the first lag after which a few in a row are within chance
    run = max(5, ceil(sqrt(log(n, 10))))
    small = np.abs(covariance[1:]) / variance < 2 * sqrt(log(n, 10) / n)
    quiet = [k for k in range(lags) if small[k : k + run].all()]
    reach = min(2 * max(quiet[0] if quiet else lags, 1), len(covariance) - 1)
    k = np.arange(-reach, reach + 1)
    window = np.clip(2 * (1 - np.abs(k) / reach), 0, 1) * covariance[np.abs(k)]
    spectrum, slope = float(window.sum()), float((np.abs(k) * window).sum())
    if spectrum <= 0:
        return max(1, n // FEWEST_BLOCKS)
    length = (2 * slope**2 / (4 / 3 * spectrum**2)) ** (1 / 3) * n ** (1 / 3)
    return int(min(max(ceil(2 * length), 1), max(1, n // FEWEST_BLOCKS)))


def _bootstrap(
    pair: _Paired, q: float, block: int, rng: np.random.Generator
) -> tuple[float, float]:
    n, draws = pair.n, ceil(pair.n / block)
    # ends are widened as t is wider than the normal, with as many degrees as there are blocks
    tail = float(norm.cdf(student_t.ppf((1 - LEVEL) / 2, max(draws - 1, 1))))
    ratios = []
    at_once = max(1, 2_000_000 // max(len(pair.a.x), len(pair.b.x)))
    for begin in range(0, RESAMPLES, at_once):
        k = min(at_once, RESAMPLES - begin)
        starts = rng.integers(0, n, size=(k, draws))
        rows = np.repeat(np.arange(k), draws)
        began = np.bincount(rows * n + starts.ravel(), minlength=k * n).reshape(k, n)
        # a pair is drawn once for each block that began up to block - 1 places before it
        sums = np.cumsum(np.concatenate([began[:, n - block + 1 :], began], axis=1), axis=1)
        drawn = sums[:, block - 1 :].copy()
        drawn[:, 1:] -= sums[:, : n - 1]
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios.append(pair.b.quantiles(drawn, q) / pair.a.quantiles(drawn, q))
    ratio_draws = np.concatenate(ratios)
    # where both percentiles are failures the ratio is undefined: the worst for either end
    low = float(np.quantile(np.nan_to_num(ratio_draws, nan=0.0, posinf=inf), tail, method="lower"))
    high = float(
        np.quantile(np.nan_to_num(ratio_draws, nan=inf, posinf=inf), 1 - tail, method="higher")
    )
    return low, high


def _between_runs(pairs: Sequence[_Paired], q: float) -> tuple[float, float, float]:
    """The geometric mean of the ratios of the pairs of runs, and its interval."""
    ratios = [_ratio(_quantile(p.b.x, q), _quantile(p.a.x, q)) for p in pairs]
    if not all(isfinite(r) and r > 0 for r in ratios):
        return nan, 0.0, inf
    logs, k = np.log(ratios), len(ratios)
    half = student_t.ppf((1 + LEVEL) / 2, k - 1) * logs.std(ddof=1) / sqrt(k)
    mean, low, high = np.exp([logs.mean(), logs.mean() - half, logs.mean() + half]).tolist()
    return mean, low, high


def _quantile(x: FloatArray, q: float) -> float:
    """The smallest latency with a share of at least q at or below it."""
    ordered = np.sort(x)
    return float(ordered[max(ceil(q * len(x) - 1e-9), 1) - 1])


def _ratio(b: float, a: float) -> float:
    if a == b == inf or a == 0:
        return nan
    return b / a


def _needed(ratio: float, low: float, high: float, n: int, margin_share: float) -> int | None:
    """Pairs whose interval would clear the margin with `POWER`: its width goes with 1 / sqrt(n)."""
    beyond_margin = abs(log(ratio)) - log1p(margin_share)
    if beyond_margin <= 0 or low <= 0 or not isfinite(high):
        return None
    z = float(norm.ppf((1 + LEVEL) / 2))
    error = (log(high) - log(low)) / (2 * z)
    return max(ceil(n * ((z + float(norm.ppf(POWER))) * error / beyond_margin) ** 2), n + 1)


# ---- before the run ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Spread:
    """The spread of latencies. log_sd: standard deviation of their logarithm (taken as normal).

    dependence: requests per effective independent request, at least 1.
    """

    log_sd: float
    dependence: float
    source: str = "assumed"

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if not (self.log_sd > 0 and self.dependence >= 1):
            raise ValueError(
                f"log_sd {self.log_sd:g}, dependence {self.dependence:g}: give a log_sd above 0 "
                "and a dependence of 1 or more"
            )


ASSUMED = Spread(log_sd=0.5, dependence=3.0)
"""Without a pilot: p95 at 2.3 times the p50, and one effective request in three."""


def pilot_spread(pilot: Run, metric: Metric = "ttft") -> Spread:
    """Spread and dependence of an earlier run, for `plan`.

    log_sd from the quartiles, which outliers and failures do not move; dependence at the p50.
    Raises: ValueError if fewer than 40 answered requests have the metric, or they do not vary.
    """
    if metric not in ("ttft", "tpot", "e2e"):
        raise ValueError(f"metric {metric!r}: write ttft, tpot or e2e")
    frame = with_metrics(pilot.measured)
    x = np.concatenate([*_values(frame[frame["ok"]], metric), np.empty(0)])
    if len(x) < 40:
        raise ValueError(f"the pilot has {len(x)} values of {metric}: it takes 40")
    low, high = np.quantile(x, [0.25, 0.75])
    if not 0 < low < high:
        raise ValueError(f"{metric} does not vary in the pilot: take one whose latencies do")
    effective = dependent_quantile_interval(x, batches(len(x)), 0.5).n_effective
    dependence = max(len(x) / effective, 1.0)
    spread = log(high / low) / (2 * float(norm.ppf(0.75)))
    return Spread(spread, dependence, f"pilot of {len(x)} values")


def plan(
    spread: Spread = ASSUMED,
    half_width_share: float = 0.1,
    difference_share: float = 0.15,
    power: float = POWER,
    rate_per_s: float | None = None,
    usd_per_request: float | None = None,
) -> pd.DataFrame:
    """Requests that a probe needs, before any is sent: one row per goal.

    Goals, for each percentile: "supported" (it may be printed with its interval), "interval" (its
    ends within 1 + half_width_share of it), "difference" (of two paired runs that differ by
    difference_share, detected with `power`; requests of both sides together).
    Returns: goal, percentile, requests, minutes (at rate_per_s, sides one after the other), usd,
    assumes. Null where rate or price is not given.
    Raises: ValueError if a share is not above 0, or power not between 0 and 1.
    Source: variance of a quantile q(1 - q) / (n f^2) with the density f of a log-normal: Serfling
    (1980), Approximation Theorems, 2.3.3; degrees of freedom of the batches as in `latency`.

    >>> table = plan(rate_per_s=2.0)
    >>> table.loc[table["goal"] == "difference", ["percentile", "requests"]].values.tolist()
    [['p50', 2078], ['p95', 5908], ['p99', 18436]]
    """
    if not (half_width_share > 0 and difference_share > 0 and 0 < power < 1):
        raise ValueError("give shares above 0, and a power between 0 and 1")
    z = float(norm.ppf((1 + LEVEL) / 2))
    wider = float(student_t.ppf((1 + LEVEL) / 2, BATCHES - 1)) / z
    each = f"log sd {spread.log_sd:.2f}, {spread.dependence:.1f} requests per independent one"
    rows = []
    for percentile, q in PERCENTILES.items():
        # of the log percentile, times n
        density = float(norm.pdf(norm.ppf(q))) / spread.log_sd
        variance = spread.dependence * q * (1 - q) / density**2
        goals = {
            "supported": percentile_minimum_n(q) * spread.dependence * wider**2,
            "interval": variance * (wider * z / log1p(half_width_share)) ** 2,
            "difference": 2
            * variance
            * ((wider * z + float(norm.ppf(power))) / log1p(difference_share)) ** 2,
        }
        least = percentile_minimum_n(q)
        for goal, requests in goals.items():
            sides = 2 if goal == "difference" else 1
            total = sides * ceil(max(requests, least))
            rows.append(
                {
                    "goal": goal,
                    "percentile": percentile,
                    "requests": total,
                    "minutes": total / rate_per_s / 60 if rate_per_s else nan,
                    "usd": total * usd_per_request if usd_per_request is not None else nan,
                    "assumes": f"{each} ({spread.source})",
                }
            )
    return pd.DataFrame(rows)

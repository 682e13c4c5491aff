"""Summarises a log, and says what it is too short or too sparse to show.

Means have an interval over blocks of time, not over requests: requests of one afternoon are alike,
and an interval that took them as independent would be too narrow.
"""

from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit  # the quantile of Student's t; scipy.stats is slow to load

from llmstudy.figure import Interval
from llmstudy.measures.growth import FEWEST_DAYS, monthly_growth, weekly_peak
from llmstudy.requests.plausible import grain, microseconds, stretches
from llmstudy.requests.schema import by_workload, weights
from llmstudy.units import DAY_US, HOURS_PER_MONTH, HOURS_PER_WEEK

P95_REQUESTS = 72  # fewest for a two-sided 95 % interval about a 95th percentile
FAILURE_REQUESTS = 3_000  # if 1 in 1,000 fails, 3,000 without a failure have a chance of 5 %

_DAY = pd.Timedelta(days=1)
_HOUR = pd.Timedelta(hours=1)
_TEN_MINUTES = pd.Timedelta(minutes=10)


def summarise(requests: pd.DataFrame, grain_: str = "request") -> pd.DataFrame:
    """Summarises a log, one row per workload.

    requests: a canonical table; a row counts as often as `n_requests` says. grain_: "bucket" where
    rows sum up the requests of an hour or a day: then they have no peak.
    Returns: workload, requests, last (time of the last one), span_h (the time covered: from first
    to last without the holes of the log, plus one mean gap, so that requests / span_h is the rate),
    hole_share (of the time from first to last), covers_week (whether each hour of the week is
    covered, at least in part, and times are exact to the hour), whole_days (whether seven days and
    more are covered, and times are of the day alone), requests_per_month (of 730 h, at that rate),
    for input and output tokens, over the requests that have any, `<side>_tokens_mean`, `_mean_low`,
    `_mean_high` (95 % interval), `_p50` and `_p95` (null under 72 requests), cached_input_share (of
    the input whose cached part is logged; null if none is), failed_share, retry_share (as the
    function), peak_to_mean_hour (of clock hours; null under 48 h), peak_to_mean_10min (null under
    20 min), growth_per_month with `_low` and `_high` (as `monthly_growth`) and peak_to_mean_week
    with `_low` and `_high` (as `weekly_peak`), null under four weeks. Figures that need a span are
    null for a single request. With few requests a peak is mostly chance.

    A failed attempt counts once: in the retry share if the log gives the attempts of a request in
    `failed_attempts`, and else as a request, since it is a row.
    Raises: ValueError if there are no requests.

    >>> log = pd.DataFrame({
    ...     "workload": "chat", "input_tokens": [900, 1100] * 3, "output_tokens": 200, "ok": True,
    ...     "ts_start": pd.date_range("2026-11-02", periods=6, freq="10min", tz="UTC"),
    ...     "cached_input_tokens": [450, 550] * 3, "failed_attempts": pd.NA})
    >>> summarise(log)[["requests", "span_h", "requests_per_month", "cached_input_share"]]
       requests  span_h  requests_per_month  cached_input_share
    0         6     1.0              4380.0                 0.5
    """
    if requests.empty:
        raise ValueError("no requests: a summary needs at least one; see the quarantine")
    return pd.DataFrame(
        [
            {"workload": workload, **_summary(of_workload, grain_)}
            for workload, of_workload in by_workload(requests)
        ]
    )


def sufficiency(summary: pd.DataFrame) -> list[str]:
    """Sentences on what the log is too short or too sparse to show.

    summary: from `summarise`.

    >>> sufficiency(pd.DataFrame({
    ...     "workload": ["chat"], "requests": 19_366, "span_h": 0.97, "covers_week": False,
    ...     "cached_input_share": 0.4, "failed_share": 0.01}))[0]
    '1.0 hours of log for chat cannot size a fleet: they hold no night, no weekend and no trend; \
collect at least 168 hours.'
    """
    sentences = []
    for row in summary.to_dict("records"):
        if not row["covers_week"]:
            lacking = "no night, no weekend" if row["span_h"] < 24 else "no whole week"
            sentences.append(
                f"{row['span_h']:,.1f} hours of log for {row['workload']} cannot size a fleet: "
                f"they hold {lacking} and no trend; collect at least {HOURS_PER_WEEK} hours."
            )
        elif pd.isna(row.get("growth_per_month", 0.0)):
            sentences.append(
                f"{row['span_h'] / 24:,.0f} days of log for {row['workload']} show no growth: the "
                f"study's own stands in; collect at least {FEWEST_DAYS} days without a hole."
            )
        if row["failed_share"] == 0 and row["requests"] >= FAILURE_REQUESTS:
            sentences.append(
                f"None of the {row['requests']:,} requests of {row['workload']} failed: check "
                f"that the log keeps failures."
            )
        if pd.isna(row["cached_input_share"]):
            sentences.append(
                f"The log of {row['workload']} does not say which input tokens came from the "
                f"cache: the study's own share stands in."
            )
    return sentences


def hour_of_week(requests: pd.DataFrame) -> pd.DataFrame:
    """Mean rate of the requests in each hour of the week.

    requests: a canonical table whose span covers each hour of the week.
    Returns: 168 rows: hour_of_week (0 is Monday 00:00 to 01:00 UTC), requests_per_s.
    Raises: ValueError if the requests cover less than a week.

    >>> week = pd.date_range("2026-11-02", periods=168 * 60, freq="1min", tz="UTC")
    >>> hour_of_week(pd.DataFrame({"ts_start": week}))["requests_per_s"].round(4).unique().tolist()
    [0.0167]
    """
    times = requests["ts_start"]
    if requests.empty or not _covers_week(times):
        raise ValueError(
            f"{len(times)} requests over {_span(times) / _HOUR:.1f} h do not cover a week: an "
            f"hour-of-week profile needs {HOURS_PER_WEEK} h of log"
        )
    covered = stretches(times)
    covered.loc[covered.index[-1], "end"] = times.min() + _span(times) + _missing(covered)
    hours = pd.date_range(times.min().floor("h"), covered["end"].iloc[-1].floor("h"), freq="h")
    until, observed = hours + _HOUR, pd.TimedeltaIndex([0] * len(hours))
    for start, end in zip(covered["start"], covered["end"], strict=True):
        # the first and the last hour of a period are covered in part
        part = until.where(until < end, end) - hours.where(hours > start, start)
        observed += part.where(part > pd.Timedelta(0), pd.Timedelta(0))
    hour = microseconds(times) // (DAY_US // 24)
    counts = np.bincount(hour - hour.min(), minlength=len(hours))
    totals = (
        pd.DataFrame({"requests": counts, "observed_s": observed.total_seconds()})
        .groupby(hours.day_of_week * 24 + hours.hour)
        .sum()
    )
    rate = totals["requests"] / totals["observed_s"]
    return pd.DataFrame({"hour_of_week": totals.index, "requests_per_s": rate.to_numpy()})


def _summary(requests: pd.DataFrame, grain_: str) -> dict[str, Any]:
    times = requests["ts_start"]
    covered = span(times, grain_)
    span_h = covered / _HOUR
    cached = requests["cached_input_tokens"]
    of_input = requests["input_tokens"][cached.notna()].sum()
    weight = weights(requests)
    n = weight.sum()
    by_time = grain_ == "request"
    return {
        "requests": round(n),
        "last": times.max(),
        "span_h": span_h,
        "hole_share": _missing(stretches(times)) / max(times.max() - times.min(), _HOUR),
        "covers_week": grain_ == "request" and _covers_week(times),
        "whole_days": covered >= 7 * _DAY and grain(times) % _DAY == pd.Timedelta(0),
        "requests_per_month": n / span_h * HOURS_PER_MONTH if span_h else np.nan,
        **_token_summary(requests, "input_tokens"),
        **_token_summary(requests, "output_tokens"),
        "cached_input_share": cached.sum() / of_input if of_input else np.nan,
        "failed_share": weight[~requests["ok"]].sum() / n,
        "retry_share": float(
            retry_share(
                (weight * requests["failed_attempts"]).sum(),
                n,
                not requests["ok"].all() or requests["failed_attempts"].notna().any(),
            )
        ),
        **{
            f"peak_to_mean_{name}": peak_to_mean(windows(times, weight, window), covered / window)
            if by_time and covered >= fewest * window
            else np.nan
            for name, window, fewest in (("hour", _HOUR, 48), ("10min", _TEN_MINUTES, 2))
        },
        **ends("growth_per_month", monthly_growth(times, weight)),
        **ends("peak_to_mean_week", weekly_peak(times) if by_time else None),
    }


def ends(name: str, interval: Interval | None) -> dict[str, float]:
    """An interval as three columns of a table, null where there is none.

    >>> ends("growth", Interval(0.02, 0.01, 0.03))
    {'growth': 0.02, 'growth_low': 0.01, 'growth_high': 0.03}
    """
    estimate, low, high = (
        (interval.estimate, interval.low, interval.high) if interval else (np.nan,) * 3
    )
    return {name: estimate, f"{name}_low": low, f"{name}_high": high}


def retry_share(failed_attempts: Any, requests: Any, is_shown: Any) -> Any:
    """What retries add to a bill: the failed attempts that used tokens, over the requests.

    failed_attempts, requests: their numbers, of a log or of each of its groups. is_shown: whether
    it has a failure, or the attempts of a request; else nobody knows, and the share is null. In a
    log with failures but without attempts it is 0, since each failed attempt is a row of its own,
    which is a request.

    >>> float(retry_share(1, 100, True)), float(retry_share(0, 100, False))
    (0.01, nan)
    """
    return np.where(is_shown, failed_attempts, np.nan) / requests


def _token_summary(requests: pd.DataFrame, column: str) -> dict[str, Any]:
    # a failure without token counts says nothing about tokens
    counted = requests["ok"] | (requests[column] > 0)
    rows = requests[[name for name in (column, "ts_start", "n_requests") if name in requests]]
    if counted.any() and not counted.all():
        rows = rows[counted]
    weight = weights(rows)
    tokens = rows[column] / weight
    mean = _mean_interval(tokens, weight, rows["ts_start"])
    p50, p95 = np.quantile(tokens, [0.5, 0.95])
    return {
        f"{column}_mean": mean.estimate,
        f"{column}_mean_low": mean.low,
        f"{column}_mean_high": mean.high,
        f"{column}_p50": p50,
        f"{column}_p95": p95 if len(tokens) >= P95_REQUESTS else np.nan,
    }


def _mean_interval(
    values: "pd.Series[Any]", weight: "pd.Series[Any]", times: "pd.Series[Any]"
) -> Interval:
    """The mean with a 95 % interval that takes blocks of time, not requests, as independent.

    Blocks are days, hours or 10 minutes: the longest of which the span has ten, else its tenths.
    Linearised variance of a ratio of block totals: Cochran (1977), Sampling Techniques, ch. 9A.
    """
    mean, span = float(np.average(values, weights=weight)), _span(times)
    if not span:
        return Interval(mean, np.nan, np.nan)
    block = next((b for b in (_DAY, _HOUR, _TEN_MINUTES) if span >= 10 * b), span / 10)
    us, block_us = microseconds(times), block // pd.Timedelta(microseconds=1)
    number = (us - us.min()) // block_us
    residuals = np.bincount(number, weight * (values - mean))
    n_blocks = int((np.bincount(number) > 0).sum())
    if n_blocks < 2:
        return Interval(mean, np.nan, np.nan)
    error = np.sqrt(n_blocks / (n_blocks - 1) * (residuals**2).sum()) / weight.sum()
    half = stdtrit(n_blocks - 1, 0.975) * error
    return Interval(mean, mean - half, mean + half)


def _span(times: "pd.Series[Any]") -> pd.Timedelta:
    """The time covered, plus one mean gap for each period, since its last request starts one too.

    Times that are given to the day cover whole days.
    """
    if len(times) < 2:
        return pd.Timedelta(0)
    covered = stretches(times)
    unit = grain(times)
    if unit and unit % _DAY == pd.Timedelta(0):
        return _length(covered) + len(covered) * unit
    length = _length(covered)
    # the factor first: nanoseconds times requests can pass 64 bits
    return pd.Timedelta(length * (len(times) / (len(times) - len(covered))))


def span(times: "pd.Series[Any]", grain_: str = "request") -> pd.Timedelta:
    """The time that a log covers: of requests as `summarise` has it, of buckets to the end of the
    last.

    >>> span(pd.Series(pd.date_range("2026-11-02", periods=14, freq="D", tz="UTC")), "bucket")
    Timedelta('14 days 00:00:00')
    """
    if grain_ == "request":
        return _span(times)
    starts = times.drop_duplicates().sort_values()
    gaps = starts.diff().dropna()
    bucket = gaps.min() if len(gaps) else _DAY
    return pd.Timedelta(starts.iloc[-1] - starts.iloc[0] + bucket)


def _missing(covered: pd.DataFrame) -> pd.Timedelta:
    """The time between the covered periods."""
    return pd.Timedelta(covered["end"].iloc[-1] - covered["start"].iloc[0]) - _length(covered)


def _length(covered: pd.DataFrame) -> pd.Timedelta:
    ends, starts = (covered[name].to_numpy() for name in ("end", "start"))
    return pd.Timedelta((ends - starts).sum())


def _covers_week(times: "pd.Series[Any]") -> bool:
    """Whether all clock hours of a week are covered; a week's log rarely spans exactly 168 h.

    Times that are given to the day cover no known hour.
    """
    if times.min() < times.max() and grain(times) % _DAY == pd.Timedelta(0):
        return False
    hours = [
        pd.date_range(start.floor("h"), end.floor("h"), freq="h")
        for _, (start, end) in stretches(times).iterrows()
    ]
    covered = {at for part in hours for at in part.day_of_week * 24 + part.hour}
    return len(covered) == HOURS_PER_WEEK


def windows(times: "pd.Series[Any]", weight: "pd.Series[Any] | None", window: pd.Timedelta) -> Any:
    """Requests in each window of the clock that has any, in order: (n_windows,).

    weight: requests that each row stands for; None where that is one.

    >>> times = pd.Series(pd.to_datetime(["2026-11-02T09:00Z", "2026-11-02T09:59Z"]))
    >>> windows(times, pd.Series([1.0, 2.0]), pd.Timedelta(hours=1)).tolist()
    [3.0]
    """
    place = microseconds(times) // (window // pd.Timedelta(microseconds=1))
    n = None if weight is None else weight.to_numpy(dtype=float)
    if (place[1:] < place[:-1]).any():
        order = np.argsort(place, kind="stable")
        place, n = place[order], None if n is None else n[order]
    begins = np.flatnonzero(np.diff(place, prepend=place[0] - 1))
    return np.diff(begins, append=len(place)) if n is None else np.add.reduceat(n, begins)


def peak_to_mean(counts: Any, n_windows: float) -> float:
    """Requests in the busiest window of the clock over those in a mean one of n_windows.

    counts: from `windows`.

    >>> peak_to_mean(np.array([1.0, 3.0]), 2)
    1.5
    """
    # even requests over a part of the last window would have a peak below their mean
    return max(1.0, float(counts.max() / (counts.sum() / n_windows)))

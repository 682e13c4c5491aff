"""How fast does the volume of a log grow, and how high is the busiest hour of its weeks?

Both need four weeks: fewer do not part growth from one odd week.
"""

from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit  # the quantile of Student's t; scipy.stats is slow to load

from llmstudy.figure import FloatArray, Interval
from llmstudy.requests.plausible import grain, microseconds, stretches
from llmstudy.units import DAY_US, HOURS_PER_MONTH

FEWEST_DAYS = 28
"""Days of log for a growth or a range of weekly peaks."""

_HOUR_US = DAY_US // 24
_DAYS_PER_WEEK = 7


def monthly_growth(
    times: "pd.Series[Any]", weight: "pd.Series[Any] | None" = None, level: float = 0.95
) -> Interval | None:
    """Growth of the requests of a log per month of 730 h, with its interval.

    times: of the requests, in UTC. weight: requests that each row stands for, or 1.
    Returns: shares per month, compound; None under `FEWEST_DAYS` whole days of log. Days are
    counted from the first request on; those in a hole of the log, or cut by one, are left out.

    Log-linear regression of the requests of a day, with an effect for each day of the week. The
    variance is that of counts times the dispersion about the fit, and wider where a day resembles
    the one before.
    Source: quasi-Poisson, McCullagh and Nelder (1989), Generalized Linear Models, ch. 6; (1 + r) /
    (1 - r) times the variance under a serial correlation r, Bayley and Hammersley (1946).

    >>> day = pd.date_range("2026-09-01", periods=35, freq="D", tz="UTC").to_series()
    >>> growth = monthly_growth(day, 1000 * 1.002 ** pd.Series(range(35), day.index))
    >>> f"{growth.estimate:.3f} [{growth.low:.3f}, {growth.high:.3f}]"
    '0.063 [0.024, 0.103]'
    """
    day, requests, covered = _days(times, weight)
    if len(day) < FEWEST_DAYS:
        return None
    weekday = day % _DAYS_PER_WEEK
    design = np.column_stack([weekday[:, None] == np.unique(weekday), day - day.mean()])
    freedom = len(day) - design.shape[1]
    if freedom < 1 or not all(requests[weekday == one].any() for one in np.unique(weekday)):
        return None  # without requests on a Sunday its effect has no logarithm
    slope, error, residuals = _slope(design.astype(float), requests, covered)
    squares = float(residuals @ residuals)
    alike = float(residuals[1:] @ residuals[:-1]) / squares if squares else 0.0
    # residuals about so many coefficients are correlated by about -p / 2n where days are not
    alike += (design.shape[1] + 3 * alike) / (2 * len(day))
    alike = min(max(alike, 0.0), 0.9)
    error *= np.sqrt((1 + alike) / (1 - alike))
    half = stdtrit(freedom, (1 + level) / 2) * error
    low, estimate, high = np.expm1(
        np.array([slope - half, slope, slope + half]) * HOURS_PER_MONTH / 24
    )
    return Interval(float(estimate), float(low), float(high))


def _days(
    times: "pd.Series[Any]", weight: "pd.Series[Any] | None"
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Days of a log that are covered but for an hour: number, requests, and the part covered.

    The last period of a log goes on for the mean time between two requests, or to the end of the
    day or the hour where times are given to that.
    """
    none = np.zeros(0)
    if len(times) < 2 or times.max() - times.min() < pd.Timedelta(days=FEWEST_DAYS - 2):
        return none, none, none
    us = microseconds(times)
    first, covered = int(us.min()), stretches(times)
    starts, ends = (microseconds(covered[name]) - first for name in ("start", "end"))
    unit = grain(times) // pd.Timedelta(microseconds=1)
    gap = (ends - starts).sum() / max(len(times) - len(covered), 1)
    ends = ends + int(max(gap, unit if unit % _HOUR_US == 0 else 0))
    number = np.arange(-(-int(ends[-1]) // DAY_US))
    part = np.zeros(len(number))
    for start, end in zip(starts, ends, strict=True):
        part += np.clip(
            np.minimum(end, (number + 1) * DAY_US) - np.maximum(start, number * DAY_US), 0, None
        )
    counts = np.bincount(
        (us - first) // DAY_US, None if weight is None else weight, minlength=len(number)
    )
    whole = part >= DAY_US - _HOUR_US
    return number[whole].astype(float), counts[whole].astype(float), part[whole] / DAY_US


def _slope(
    design: FloatArray, requests: FloatArray, covered: FloatArray
) -> tuple[float, float, FloatArray]:
    """The last coefficient, its standard error, and the Pearson residuals, by Fisher's scoring."""
    mean = np.maximum(requests, 0.5)
    for _ in range(50):
        working = np.log(mean / covered) + (requests - mean) / mean
        inverse = np.linalg.inv(design.T @ (design * mean[:, None]))
        fitted = design @ (inverse @ (design.T @ (mean * working)))
        after = covered * np.exp(fitted)
        if np.allclose(after, mean, rtol=1e-10):
            break
        mean = after
    residuals = (requests - mean) / np.sqrt(mean)
    dispersion = max(1.0, float(residuals @ residuals) / (len(requests) - design.shape[1]))
    slope = float((inverse @ (design.T @ (mean * working)))[-1])
    return slope, float(np.sqrt(dispersion * inverse[-1, -1])), residuals


def weekly_peak(times: "pd.Series[Any]", level: float = 0.95) -> Interval | None:
    """The busiest hour of a week over the mean hour of that week, with the interval of its mean.

    times: of the requests, in UTC. Returns: factors; None under four whole weeks of log, or where
    times are not exact to the hour.

    >>> hours = pd.date_range("2026-09-01", periods=28 * 24, freq="h", tz="UTC").to_series()
    >>> times = pd.concat([hours + pd.Timedelta(minutes=7), hours[hours.dt.hour == 9]])
    >>> weekly_peak(times).estimate
    1.92
    """
    if grain(times) % pd.Timedelta(days=1) == pd.Timedelta(0):
        return None
    day, _, _ = _days(times, None)
    week, days = np.unique(day // _DAYS_PER_WEEK, return_counts=True)
    weeks = week[days == _DAYS_PER_WEEK].astype(int)
    if len(weeks) < FEWEST_DAYS // _DAYS_PER_WEEK:
        return None
    us = microseconds(times)
    hours = 24 * _DAYS_PER_WEEK
    counts = np.bincount((us - us.min()) // _HOUR_US, minlength=(int(week.max()) + 1) * hours)
    by_week = counts[: len(counts) // hours * hours].reshape(-1, hours)[weeks]
    peaks = by_week.max(axis=1) / by_week.mean(axis=1)
    n = len(peaks)
    half = stdtrit(n - 1, (1 + level) / 2) * peaks.std(ddof=1) / np.sqrt(n)
    mean = float(peaks.mean())
    return Interval(mean, max(1.0, mean - half), mean + half)

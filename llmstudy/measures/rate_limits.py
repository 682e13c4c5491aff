"""When traffic reaches a provider's limits per minute.

Limits are per minute, volumes per month: between them are the peak hour, the bursts within it and
growth over the horizon.
"""

from math import sqrt

import numpy as np
from scipy.stats import gamma

from llmstudy.figure import FloatArray

_ONE_IN_SIXTY = 59 / 60
"""The busiest minute of an hour is taken as the quantile that one minute in sixty exceeds."""


def minute_cv(cv_10min: float, cv_10s: float) -> float:
    """Coefficient of variation of a minute's rate within its hour, beyond Poisson.

    cv_10min, cv_10s: of ten-minute windows within the hour and of ten seconds within those, as in
    `capacity.sizing.Burstiness`. A minute holds six of the latter, independent of each other.

    >>> round(minute_cv(0.3, 0.6), 3)
    0.394
    """
    return sqrt((1 + cv_10min**2) * (1 + cv_10s**2 / 6) - 1)


def busiest_minute(
    per_minute: FloatArray, size_mean: FloatArray, size_cv: float, burst_cv: float
) -> FloatArray:
    """Load of the busiest minute of an hour, in units of a request's size. Arrays broadcast.

    per_minute: mean requests a minute of that hour. size_mean, size_cv: mean and coefficient of
    variation of a request's size (1 and 0 for a limit on requests, its tokens for one on tokens).
    A mixed compound Poisson sum has mean m s and variance m s^2 (1 + c^2) + (b m s)^2; a gamma
    distribution of that mean and variance stands for it.
    Source: Cox and Lewis (1966), The Statistical Analysis of Series of Events, section 7.2.

    >>> busiest_minute(np.array([100.0]), np.array([1.0]), 0.0, 0.0).round().tolist()
    [122.0]
    """
    mean = np.asarray(per_minute * size_mean, dtype=float)
    variance = mean * size_mean * (1 + size_cv**2) + (burst_cv * mean) ** 2
    # an hour without load has no distribution
    safe = np.where(mean > 0, mean, 1.0)
    spread = np.where(mean > 0, variance, 1.0)
    quantile = gamma.ppf(_ONE_IN_SIXTY, safe**2 / spread, scale=spread / safe)
    return np.asarray(np.where(mean > 0, quantile, 0.0))


def reached_from(load: FloatArray, limit: float) -> FloatArray:
    """The first month, from 1, in which load reaches the limit; inf if none. (n, months) -> (n,).

    >>> reached_from(np.array([[5.0, 9.0, 12.0], [1.0, 1.0, 1.0]]), 10.0).tolist()
    [3.0, inf]
    """
    reached = load >= limit
    return np.where(reached.any(axis=1), reached.argmax(axis=1) + 1.0, np.inf)

"""When should requests be sent? Arrival processes as times from the start, in seconds.

Drawn before the run and never changed while it runs: an open loop does not wait for answers.
"""

import numpy as np
import pandas as pd

from llmstudy.figure import FloatArray


def poisson_s(rate_per_s: float, n: int, rng: np.random.Generator) -> FloatArray:
    """Arrivals of users independent of each other, as times. Shape (n,), rising.

    Raises: ValueError if the rate is not above 0 or n is below 1.

    >>> bool(abs(poisson_s(10, 100_000, np.random.default_rng(0))[-1] / 10_000 - 1) < 0.02)
    True
    """
    return gamma_s(rate_per_s, 1.0, n, rng)


def gamma_s(rate_per_s: float, burstiness: float, n: int, rng: np.random.Generator) -> FloatArray:
    """Arrivals with gamma gaps of this shape: below 1 burstier than Poisson, above 1 calmer.

    The shape is what `vllm bench` calls burstiness; the gaps' coefficient of variation is its
    inverse square root. Shape (n,). Raises: as `poisson_s`; also if burstiness is not above 0.
    """
    _check(rate_per_s, n)
    if not burstiness > 0:
        raise ValueError(f"burstiness {burstiness:g}: give it above 0; 1 is Poisson")
    return np.cumsum(rng.gamma(burstiness, 1 / (rate_per_s * burstiness), size=n))


def constant_s(rate_per_s: float, n: int) -> FloatArray:
    """Arrivals at a fixed gap. Shape (n,). Raises: as `poisson_s`.

    >>> constant_s(4, 3).tolist()
    [0.25, 0.5, 0.75]
    """
    _check(rate_per_s, n)
    return np.arange(1, n + 1) / rate_per_s


def ramp_s(
    from_per_s: float, to_per_s: float, duration_s: float, rng: np.random.Generator
) -> FloatArray:
    """Poisson arrivals at a rate that moves in a line from one to the other. Shape (n,), n random.

    Arrivals at rate 1, their times mapped back through the expected count at each time.
    Raises: ValueError if a rate is negative, both are 0, or the duration is not above 0.
    Source: time change of a Poisson process, Cinlar (1975), Introduction to Stochastic Processes,
    chapter 4.

    >>> times_s = ramp_s(0, 100, 20, np.random.default_rng(0))
    >>> bool(900 < len(times_s) < 1_100 and 13.4 < np.median(times_s) < 14.9)
    True
    """
    if min(from_per_s, to_per_s) < 0 or max(from_per_s, to_per_s) == 0 or not duration_s > 0:
        raise ValueError(
            f"ramp from {from_per_s:g} to {to_per_s:g} requests/s in {duration_s:g} s: give rates "
            "of 0 or more, not both 0, and a time above 0"
        )
    expected = (from_per_s + to_per_s) / 2 * duration_s
    margin = 10 * np.sqrt(expected) + 10  # beyond any count that chance can bring
    counts = np.cumsum(rng.exponential(size=int(expected + margin)))
    counts = counts[counts <= expected]
    slope = (to_per_s - from_per_s) / duration_s
    # the root of the quadratic in the form that loses no digits when the slope is slight
    at_count_per_s = np.sqrt(np.maximum(from_per_s**2 + 2 * slope * counts, 0))
    return np.asarray(2 * counts / (from_per_s + at_count_per_s))


def replay_s(started: "pd.Series[pd.Timestamp]", time_scale: float) -> FloatArray:
    """The arrivals of a log, `time_scale` times as fast. Shape (n,), from 0, in order of time.

    Raises: ValueError if there is none, or the scale is not above 0.

    >>> replay_s(pd.Series(pd.to_datetime(["2026-11-02T09:00Z", "2026-11-02T09:01Z"])), 60).tolist()
    [0.0, 1.0]
    """
    if started.empty:
        raise ValueError("the log has no request to replay: give another log")
    if not time_scale > 0:
        raise ValueError(f"time scale {time_scale:g}: give it above 0; 2 is twice as fast")
    ordered = started.sort_values(kind="stable")
    return np.asarray((ordered - ordered.iloc[0]).dt.total_seconds() / time_scale)


def _check(rate_per_s: float, n: int) -> None:
    if not rate_per_s > 0 or n < 1:
        raise ValueError(
            f"{n} requests at {rate_per_s:g} a second: give at least one, at a rate above 0"
        )

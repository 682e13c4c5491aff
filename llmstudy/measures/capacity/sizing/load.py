"""Draws arrivals that are as bursty as real traffic.

Real traffic is burstier than Poisson arrivals at an hourly rate, since the rate varies within the
hour. Here it varies between windows of ten minutes and of ten seconds, by gamma factors of mean 1
whose coefficients of variation come from the log or from published traces.
"""

from dataclasses import dataclass
from math import inf, log

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import brentq
from scipy.stats import gamma, nbinom

from llmstudy import paths
from llmstudy.figure import FloatArray
from llmstudy.measures.capacity.replay import IntArray
from llmstudy.requests.draw import hourly_shape

WINDOW_S = 600.0
SHORT_S = 10.0


@dataclass(frozen=True)
class Burstiness:
    """Coefficients of variation of the rate beyond Poisson.

    cv_10min: of ten-minute windows within the hour; cv_10s: of ten-second windows within ten
    minutes.
    """

    cv_10min: float
    cv_10s: float


@dataclass(frozen=True)
class Traffic:
    """A workload's traffic: its rate in each hour of the week, its lengths and its bursts.

    requests_per_s: (168,). The lengths, (k,) each, are a sample that requests are drawn from.
    logged: the requests of a logged week in place of drawn ones: arrival_s (since the week's first
    hour), input_tokens, output_tokens, cached_tokens.
    """

    requests_per_s: FloatArray
    input_tokens: IntArray
    output_tokens: IntArray
    cached_tokens: IntArray
    burstiness: Burstiness
    logged: pd.DataFrame | None = None


def draw(
    traffic: Traffic, rates: npt.ArrayLike, window_s: float, seed: int | tuple[int, ...]
) -> pd.DataFrame:
    """Draws requests over windows of `window_s` at these mean rates (n,), in requests per second.

    A Poisson process whose rate is modulated (Cox, 1955, J. R. Stat. Soc. B 17:129-164). The
    factors of the windows are a stratified sample, so that a few windows have bursts too; input and
    output lengths are drawn together. With the same seed, another rate gives the same requests at
    other times.

    Returns: arrival_s (sorted, from 0), input_tokens, output_tokens, cached_tokens.
    """
    levels = np.asarray(rates, dtype=float)
    of_windows, of_arrivals, of_lengths = np.random.default_rng(seed).spawn(3)
    bursts = traffic.burstiness
    levels = levels * _stratified(len(levels), bursts.cv_10min, of_windows)
    parts = max(1, round(window_s / SHORT_S))
    fine = np.repeat(levels, parts)
    if cv := bursts.cv_10s:
        fine = fine * of_windows.gamma(cv**-2, cv**2, len(fine))
    until = np.concatenate([[0.0], np.cumsum(fine) * window_s / parts])
    unit = np.cumsum(of_arrivals.standard_exponential(int(until[-1] + 6 * until[-1] ** 0.5) + 10))
    unit = unit[unit < until[-1]]
    arrival_s = np.interp(unit, until, np.arange(len(until)) * window_s / parts)
    row = of_lengths.integers(len(traffic.input_tokens), size=len(unit))
    return pd.DataFrame(
        {
            "arrival_s": arrival_s,
            "input_tokens": traffic.input_tokens[row],
            "output_tokens": traffic.output_tokens[row],
            "cached_tokens": traffic.cached_tokens[row],
        }
    )


def _stratified(n: int, cv: float, rng: np.random.Generator) -> FloatArray:
    """n factors of mean 1: one quantile from the middle of each of n equal parts, in any order."""
    order = rng.permutation(n)
    if cv == 0:
        return np.ones(n)
    factors = gamma.ppf((order + 0.5) / n, cv**-2)
    return np.asarray(factors / factors.mean())


def burstiness_of(arrival_s: npt.ArrayLike) -> Burstiness:
    """The burstiness of a log, from the variance of counts in excess of Poisson's.

    arrival_s: (n,) seconds since a full hour. Windows are compared within their hour (or ten
    minutes), so that the daily pattern has no effect.
    Source: a mixed Poisson count has variance m + (cv m)^2; Cox and Lewis (1966), The Statistical
    Analysis of Series of Events, section 7.2.

    >>> burstiness_of(np.arange(0, 36_000, 0.5))
    Burstiness(cv_10min=0.0, cv_10s=0.0)
    """
    times = np.asarray(arrival_s, dtype=float)
    windows = (int(times.max() // 3600) + 1) * round(3600 / SHORT_S)
    counts = np.bincount((times // SHORT_S).astype(np.int64), minlength=windows)
    short = counts.reshape(-1, round(WINDOW_S / SHORT_S))
    return Burstiness(_excess_cv(short.sum(axis=1).reshape(-1, 6)), _excess_cv(short))


def _excess_cv(counts: npt.NDArray[np.int64]) -> float:
    """Coefficient of variation beyond Poisson within each row of (blocks, windows) counts."""
    mean = counts.mean(axis=1)
    if not mean.any():
        return 0.0
    excess = (counts.var(axis=1, ddof=1) - mean).sum()
    return float(np.sqrt(max(excess, 0.0) / (mean**2).sum()))


def published_burstiness(shape: str) -> Burstiness:
    """The burstiness of a published trace. shape: as `requests.draw.hourly_shape`.

    cv_10min: the value at which the busiest ten-minute window is equally likely to be above or
    below the observed one (`traffic_shape.csv`), given the hourly load of the trace. cv_10s: that
    of the Azure 2023 conversation hour, the only bundled trace with that resolution.
    Raises: ValueError for a shape whose peaks are not in the table.

    >>> published_burstiness("ragpulse").cv_10min > published_burstiness("servegen-m-mid").cv_10min
    True
    """
    table = pd.read_csv(paths.data("traffic_shape.csv"))
    match = table[table["trace"].str.replace(" ", "-") == shape].dropna(subset="peak_to_mean_10min")
    if match.empty:
        raise ValueError(f"the ten-minute peak of {shape!r} is not in data/traffic_shape.csv")
    row = match.iloc[0]
    relative = hourly_shape(shape)["relative_to_mean"].to_numpy()
    # with ServeGen's thousands of requests in ten minutes the Poisson part is negligible
    per_window = row["requests"] / row["span_h"] / 6 if pd.notna(row["requests"]) else inf

    def surplus(cv: float) -> float:
        return _log_chance_below(row["peak_to_mean_10min"], relative, per_window, cv) - log(0.5)

    steady, wild = 0.01, 3.0
    cv = steady if surplus(steady) < 0 else float(brentq(surplus, steady, wild))
    azure = pd.read_csv(paths.data("azure_conversation_2023_arrivals.csv"))["requests"].to_numpy()
    whole = len(azure) // 60 * 60
    return Burstiness(cv, _excess_cv(azure[:whole].reshape(-1, 60)))


def _log_chance_below(peak: float, relative: FloatArray, per_window: float, cv: float) -> float:
    """Log of the chance that no ten-minute window of these hours exceeds the peak."""
    shape = cv**-2
    busy = relative[relative > 0]
    if np.isinf(per_window):
        chance = gamma.logcdf(peak / busy, shape, scale=1 / shape)
    else:
        mean = busy * per_window
        chance = nbinom.logcdf(round(peak * per_window) - 1, shape, shape / (shape + mean))
    return float(6 * chance.sum())

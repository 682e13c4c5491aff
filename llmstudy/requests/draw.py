"""Simulates requests from published shapes, where there is no log.

A shape gives the load in each hour of whole weeks, a mix the token counts of requests; a study
gives the number of requests and their mean tokens. Simulated requests are marked in `source` and
have no latencies.
"""

from datetime import datetime

import numpy as np
import numpy.typing as npt
import pandas as pd

from llmstudy import paths
from llmstudy.requests.schema import conform
from llmstudy.units import HOURS_PER_WEEK

_MIXES = {"azure_conversation_2023": "azure_conversation_2023_tokens.csv"}

# name -> file, column and value that select its rows, column of the rate
_SHAPES = {
    "servegen-m-large": ("servegen_hourly.csv", "service", "m-large", "mean_requests_per_s"),
    "servegen-m-mid": ("servegen_hourly.csv", "service", "m-mid", "mean_requests_per_s"),
    "servegen-m-small": ("servegen_hourly.csv", "service", "m-small", "mean_requests_per_s"),
    "ragpulse": ("ragpulse_hourly.csv", "trace", "ragpulse", "requests"),
}


def token_mix(name: str) -> pd.DataFrame:
    """The joint distribution of input and output tokens of requests.

    name: `azure_conversation_2023`: a chat service, 19,366 requests of one hour.
    Returns: one row per quantile cell (12 of input, each with 8 of output): trace, requests,
    input_tokens_mean, input_tokens_min, input_tokens_max, the same of output, source, licence.
    Raises: ValueError if there is no mix of that name.

    >>> mix = token_mix("azure_conversation_2023")
    >>> len(mix), int(mix["requests"].sum())
    (96, 19366)
    """
    if name not in _MIXES:
        raise ValueError(f"token mix {name!r} is unknown; use {', '.join(_MIXES)}")
    return pd.read_csv(paths.data(_MIXES[name]))


def hourly_shape(name: str) -> pd.DataFrame:
    """The load in each hour over its mean.

    name: `servegen-m-large`, `servegen-m-mid`, `servegen-m-small` (services shared by many tenants,
    two weeks) or `ragpulse` (a university's assistant, one week). Hour 0 is the
    start of the trace, whose weekday and time of day are not known.
    Returns: one row per hour: trace, hour, relative_to_mean, source, licence.
    Raises: ValueError if there is no shape of that name.

    >>> shape = hourly_shape("servegen-m-large")
    >>> len(shape), round(float(shape["relative_to_mean"].max()), 2)
    (336, 1.86)
    """
    if name not in _SHAPES:
        raise ValueError(f"hourly shape {name!r} is unknown; use {', '.join(_SHAPES)}")
    file, selector, value, rate = _SHAPES[name]
    table = pd.read_csv(paths.data(file))
    rows = table[table[selector] == value].reset_index(drop=True)
    relative = rows[rate] / rows[rate].mean()
    shape = rows.assign(trace=name, relative_to_mean=relative)
    return shape[["trace", "hour", "relative_to_mean", "source", "licence"]]


def draw_requests(
    mix: pd.DataFrame,
    shape: pd.DataFrame,
    n: int,
    start: datetime,
    input_tokens_mean: float,
    output_tokens_mean: float,
    cached_input_share: float,
    workload: str,
    provider: str,
    model: str,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Simulates n answered requests over the weeks of a shape, as a canonical table.

    mix, shape: from `token_mix` and `hourly_shape`. start: with its time zone; hour 0 of the shape.
    input_tokens_mean, output_tokens_mean: of the workload, at least 1; the mix is scaled to
    them. cached_input_share: share of each request's input read from the cache, 0 to 1.

    Input and output are drawn together from the cells of the mix, by their counts. Arrivals are a
    Poisson process with the rate of the shape, conditional on n; within an hour they are less
    bursty than real traffic, whose 10-minute peak is up to 1.7 times that of the hour
    (`traffic_shape.csv`). No tokens are written to the cache or spent on reasoning.

    Raises: ValueError if a number is out of its range, start has no time zone, or the shape does
    not cover whole weeks.

    >>> requests = draw_requests(
    ...     token_mix("azure_conversation_2023"), hourly_shape("ragpulse"), 1_000,
    ...     datetime.fromisoformat("2026-11-02T00:00Z"), 2_000, 300, 0.5,
    ...     "support-chat", "openai", "gpt-4o", np.random.default_rng(1))
    >>> len(requests), requests["source"][0]
    (1000, 'simulated from published figures: azure_conversation_2023 tokens, ragpulse hours')
    """
    _check_draw(shape, n, start, input_tokens_mean, output_tokens_mean, cached_input_share)
    cells = mix.iloc[rng.choice(len(mix), size=n, p=mix["requests"] / mix["requests"].sum())]
    input_tokens = _scaled(_tokens(cells, "input", rng), mix, "input", input_tokens_mean)
    output_tokens = _scaled(_tokens(cells, "output", rng), mix, "output", output_tokens_mean)
    source = (
        f"simulated from published figures: {mix['trace'].iloc[0]} tokens, "
        f"{shape['trace'].iloc[0]} hours"
    )
    return conform(
        pd.DataFrame(
            {
                "request_id": [f"{workload}-{i}" for i in range(n)],
                "ts_start": pd.Timestamp(start) + pd.to_timedelta(_arrivals_s(shape, n, rng), "s"),
                "workload": workload,
                "provider": provider,
                "model_served": model,
                "input_tokens": input_tokens,
                "cached_input_tokens": np.rint(cached_input_share * input_tokens),
                "cache_write_tokens": 0,
                "output_tokens": output_tokens,
                "reasoning_tokens": 0,
                "ok": True,
                "source": source,
            }
        )
    )


def _check_draw(
    shape: pd.DataFrame,
    n: int,
    start: datetime,
    input_tokens_mean: float,
    output_tokens_mean: float,
    cached_input_share: float,
) -> None:
    if n < 1:
        raise ValueError(f"draw_requests: n is {n}: draw at least one request")
    if start.tzinfo is None:
        raise ValueError(f"draw_requests: start {start} has no time zone: add one, such as UTC")
    if min(input_tokens_mean, output_tokens_mean) < 1:
        raise ValueError(
            f"draw_requests: means of {input_tokens_mean:g} input and {output_tokens_mean:g} "
            f"output tokens: give at least 1 each"
        )
    if not 0 <= cached_input_share <= 1:
        raise ValueError(
            f"draw_requests: cached_input_share is {cached_input_share:g}: give a share from 0 to 1"
        )
    if len(shape) == 0 or len(shape) % HOURS_PER_WEEK:
        raise ValueError(f"draw_requests: the shape has {len(shape)} hours: give whole weeks")


def _tokens(cells: pd.DataFrame, side: str, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Tokens of one request per cell, within its range and with its mean.

    Uniform below the mean and uniform above it, weighted so that the mean is that of the cell.
    """
    low, mean, high = (
        cells[f"{side}_tokens_{end}"].to_numpy(dtype=float) for end in ("min", "mean", "max")
    )
    below = rng.random(len(cells)) * (high - low) < high - mean
    edge = np.where(below, low, high)
    return np.asarray(mean + (edge - mean) * rng.random(len(cells)))


def _scaled(
    tokens: npt.NDArray[np.float64], mix: pd.DataFrame, side: str, mean: float
) -> npt.NDArray[np.int64]:
    """The tokens scaled about 1 to another mean, so that none falls below one token."""
    mix_mean = np.average(mix[f"{side}_tokens_mean"], weights=mix["requests"])
    stretched = 1 + (tokens - 1) * (mean - 1) / (mix_mean - 1)
    return np.asarray(np.rint(stretched), dtype=np.int64)


def _arrivals_s(shape: pd.DataFrame, n: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Sorted seconds since the start: of a given number, Poisson arrivals are independent draws."""
    until = np.concatenate([[0.0], np.cumsum(shape["relative_to_mean"])])
    hours = np.interp(rng.random(n) * until[-1], until, np.arange(len(until)))
    return np.sort(3_600 * hours)

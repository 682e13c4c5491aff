"""Prices requests on any model, at list or negotiated prices.

Each request is priced on its own, because a sum of requests would exceed the context thresholds of
a price list that no single request reaches. The bill of many is taken from the sums of their tokens
within each context tier and each window of the day, where all pay the same rates.
"""

import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from genai_prices.types import ModelPrice

from llmstudy.figure import FloatArray
from llmstudy.prices.api import (
    TOKEN_PRICES,
    PriceError,
    context_sizes,
    listings,
    prices_of_day,
    token_rate,
)
from llmstudy.text import listed
from llmstudy.units import DAY_US

_CACHE_COLUMNS = ["cached_input_tokens", "cache_write_tokens"]
_TOKEN_COLUMNS = ["input_tokens", *_CACHE_COLUMNS, "output_tokens"]
_BILL_COLUMNS = ["model", "input_usd", "output_usd", "usd"]
_US = timedelta(microseconds=1)


@dataclass(frozen=True)
class PricedModel:
    """A model and the price of its requests.

    tier: of the provider's list. usd_per_mtok: a negotiated price in place of the list's, in USD
    per million tokens of input (cache writes included), cached input and output; provider and model
    need not be on the list then. factor: on the whole price, 1.1 for a regional premium of 10 %.

    Raises: PriceError unless usd_per_mtok is three numbers of at least 0 and factor is above 0.

    >>> PricedModel("openai", "gpt-4o", usd_per_mtok=(2.0, 1.0, 8.0)).tier
    'standard'
    """

    provider: str
    model: str
    tier: str = "standard"
    usd_per_mtok: tuple[float, float, float] | None = None
    factor: float = 1.0

    def __post_init__(self) -> None:
        """Checks the price and the factor."""
        rates = (1.0, 1.0, 1.0) if self.usd_per_mtok is None else self.usd_per_mtok
        numbers = (*rates, self.factor) if isinstance(rates, tuple | list) else ()
        valid = all(isinstance(each, Real) and 0 <= each < math.inf for each in numbers)
        if len(numbers) != 4 or not valid or not self.factor:
            raise PriceError(
                f"{self.provider}/{self.model}: usd_per_mtok {self.usd_per_mtok}, factor "
                f"{self.factor}: give USD per million tokens of input, cached input and output, "
                "such as (2.5, 1.25, 10.0), and a factor above 0"
            )

    def prices_of_day(self, on: date) -> list[tuple[timedelta, ModelPrice]]:
        """The prices of a day in order, each with its start as time since midnight UTC."""
        if self.usd_per_mtok is None:
            return prices_of_day(self.provider, self.model, on, self.tier)
        rates = (Decimal(float(rate)) for rate in self.usd_per_mtok)
        keys = ("input_mtok", "cache_read_mtok", "output_mtok")
        return [(timedelta(0), ModelPrice(**dict(zip(keys, rates, strict=True))))]


Models = str | Iterable[str] | Mapping[str, str | PricedModel]


def price_requests(requests: pd.DataFrame, models: Models, on: date | str) -> pd.DataFrame:
    """Prices each request on each model, at its own time of day, with the prices of the day `on`.

    Cache writes are billed at the rate for 5 minutes. Fees for tools and search are not included.

    requests: input_tokens and output_tokens, and where logged cached_input_tokens and
    cache_write_tokens (parts of input_tokens) and ts_start (timezone-aware). Cache tokens that are
    not logged count as 0, with a warning; without ts_start, a model whose price depends on the time
    of day is billed as at midnight UTC, with a warning. models: "provider/model", a list
    of those, or name -> "provider/model" or `PricedModel`. on: a date, or "2026-11-20".
    Returns: one row per request and model, in the order of models, then of requests: the columns
    and the index of `requests`, and model (its name), input_usd, output_usd, usd. So
    `.pivot(columns="model", values="usd")` has a row per request.
    Raises: PriceError for an invalid date, column, token count or time of day; an unknown provider,
    model or tier (with the nearest names); a tier without rates at `on`; a model that bills more
    than tokens.
    Source: genai-prices 0.2.3, `ModelInfo.get_prices` and `calc_unit_price`.

    >>> requests = pd.DataFrame({"input_tokens": [2_000, 900], "cached_input_tokens": [0, 500],
    ...                          "cache_write_tokens": 0, "output_tokens": [300, 50]})
    >>> ours = PricedModel("openai", "gpt-4o", usd_per_mtok=(2.0, 1.0, 8.0))
    >>> models = {"list": "openai/gpt-4o", "negotiated": ours, "mini": "openai/gpt-4o-mini"}
    >>> bills = price_requests(requests, models, on="2026-11-20")
    >>> bills.groupby("model", sort=False)["usd"].sum().round(6).to_dict()
    {'list': 0.010125, 'negotiated': 0.0081, 'mini': 0.000608}
    """
    if not isinstance(requests, pd.DataFrame):
        raise PriceError(
            f"requests is a {type(requests).__name__}, not a DataFrame: give one row per request, "
            "such as read_log(...).accepted"
        )
    day = _day(on)
    model_of = _models_by_name(models, day)
    if clashes := [name for name in _BILL_COLUMNS if name in requests]:
        raise PriceError(
            f"the requests already have {listed(clashes)}: rename before pricing, such as "
            'requests.rename(columns={"model": "model_served"})'
        )
    counted = requests.assign(**_cache_tokens(requests))
    if "ts_start" not in requests:
        timed = [name for name, model in model_of.items() if len(model.prices_of_day(day)) > 1]
        if timed:
            warnings.warn(
                f"the requests have no ts_start: {listed(timed)} is priced as at midnight UTC, "
                "and its price differs at other hours",
                stacklevel=2,
            )
        counted["ts_start"] = pd.Timestamp(day, tz="UTC")
    parts = []
    for name, model in model_of.items():
        bill = bill_requests(counted, model, day)
        parts.append(requests.assign(model=name, **bill, usd=bill.sum(axis=1)))
    return pd.concat(parts)


def bill_requests(requests: pd.DataFrame, model: PricedModel, on: date) -> pd.DataFrame:
    """The bill of each request on one model: input_usd, output_usd, with the index of `requests`.

    requests: as `price_requests`, with both cache columns, and ts_start where the model's price
    depends on the time of day.
    Raises: PriceError as `price_requests`.
    """
    prices, tokens = model.prices_of_day(on), _token_counts(requests)
    usd = _bill(prices[0][1], tokens[:, 0], tokens)
    if len(prices) > 1:
        time_of_day = _time_of_day_us(requests)
        for start, price in prices[1:]:  # a later price of the day overwrites
            since = time_of_day >= start // _US
            usd[since] = _bill(price, tokens[since, 0], tokens[since])
    return pd.DataFrame(usd, requests.index, columns=["input_usd", "output_usd"]) * model.factor


class Bill(NamedTuple):
    """The bill of requests together. Unit: usd."""

    input_usd: float
    output_usd: float


Columns = pd.DataFrame | Mapping[str, Any]
"""Columns of requests by name; in a mapping a number stands for a column of it."""


def bill_total(
    requests: Columns, model: PricedModel, on: date, weight: npt.ArrayLike | None = None
) -> Bill:
    """The bill of all requests together on one model: the sum of `bill_requests`.

    requests: the columns that `bill_requests` needs, a frame or a mapping of series. weight: (n,)
    how often each request counts; once if None.
    Raises: PriceError as `bill_requests`.

    >>> tokens = {"input_tokens": pd.Series([2_000, 900]), "output_tokens": pd.Series([300, 50])}
    >>> none_cached = tokens | {"cached_input_tokens": 0, "cache_write_tokens": 0}
    >>> bill_total(none_cached, PricedModel("openai", "gpt-4o"), date(2026, 11, 20))
    Bill(input_usd=0.00725, output_usd=0.0035)
    """
    prices, tokens = model.prices_of_day(on), _token_columns(requests)
    counted = None if weight is None else np.asarray(weight)
    sizes = np.array(context_sizes(*(price for _, price in prices)))
    n_cells = len(prices) * len(sizes)
    if n_cells > 1:
        cell = np.searchsorted(sizes[1:] - 1, tokens[0])
        if len(prices) > 1:
            starts = [start // _US for start, _ in prices[1:]]
            window = np.searchsorted(starts, _time_of_day_us(requests), side="right")
            window *= len(sizes)
            cell += window
    # (cells, 4): those of a window of the day lie together, one per context tier
    sums = np.empty((n_cells, len(tokens)))
    for i, each in enumerate(tokens):
        times = each if counted is None else each * counted
        sums[:, i] = np.bincount(cell, times, n_cells) if n_cells > 1 else times.sum()
    usd = [
        _bill(price, sizes, of_window)
        for (_, price), of_window in zip(prices, np.split(sums, len(prices)), strict=True)
    ]
    input_usd, output_usd = np.sum(usd, axis=(0, 1)) * model.factor
    return Bill(float(input_usd), float(output_usd))


def _bill(price: ModelPrice, prompts: npt.NDArray[Any], tokens: FloatArray) -> FloatArray:
    """prompts: (n,) sizes that the rates are those of. tokens: (n, 4) in the order of
    _TOKEN_COLUMNS. Returns (n, 2): USD of input and of output."""
    total, cached, written, output = tokens.T
    usd_per_mtok = {key: token_rate(price, key, prompts) for key in TOKEN_PRICES}
    input_usd = (
        (total - cached - written) * usd_per_mtok["input_mtok"]
        + cached * usd_per_mtok["cache_read_mtok"]
        + written * usd_per_mtok["cache_write_mtok"]
    )
    return np.column_stack([input_usd, output * usd_per_mtok["output_mtok"]]) / 1e6


# --- checks of the arguments ----------------------------------------------------------------------


def _day(on: date | str) -> date:
    if isinstance(on, datetime) and on == on:  # NaT does not equal itself
        return (on.astimezone(UTC) if on.tzinfo else on).date()
    if isinstance(on, date) and not isinstance(on, datetime):
        return on
    try:
        return date.fromisoformat(str(on))
    except ValueError:
        raise PriceError(f"on is {on!r}, which is not a date: write it as 2026-11-20") from None


def _models_by_name(models: Models, on: date) -> dict[str, PricedModel]:
    """Name -> model. Raises: PriceError if there are none."""
    if isinstance(models, Mapping):
        entries: dict[str, str | PricedModel] = dict(models)
    elif isinstance(models, Iterable):
        entries = {each: each for each in ([models] if isinstance(models, str) else models)}
    else:
        entries = {}
    if not entries or not all(isinstance(each, str | PricedModel) for each in entries.values()):
        raise PriceError(
            f'models is {models!r}, which names none: give "openai/gpt-4o", a list of such names, '
            "or a mapping from a name of your own to one of them or to a PricedModel"
        )
    return {
        str(name): each if isinstance(each, PricedModel) else _listed_model(each, on)
        for name, each in entries.items()
    }


def _listed_model(text: str, on: date) -> PricedModel:
    provider, slash, model = text.partition("/")
    if not slash:
        places = [f"{place.provider}/{place.model}" for place in listings(text, on)]
        close = f", such as {listed(places[:4])}" if places else ""
        raise PriceError(f'"{text}" names no provider: write "provider/model"{close}')
    return PricedModel(provider, model)


def _cache_tokens(requests: pd.DataFrame) -> pd.DataFrame:
    """The cache columns, with 0 for what is not logged and one warning about it."""
    logged = requests.reindex(columns=_CACHE_COLUMNS)
    gaps = logged.isna().sum()
    if gaps.any():
        rows = [f"{name} of {n:,} requests" for name, n in gaps.items() if n]
        warnings.warn(
            f"{listed(rows)} not logged: counted as 0, so all their input is billed at the "
            "uncached rate",
            stacklevel=3,
        )
    return logged.where(logged.notna(), 0)


def _token_counts(requests: pd.DataFrame) -> FloatArray:
    """Token counts in the order of _TOKEN_COLUMNS, (n, 4). Raises: PriceError for invalid ones."""
    columns = _columns(requests, _TOKEN_COLUMNS)
    try:
        tokens = pd.DataFrame(columns).to_numpy(dtype=float, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise PriceError(f"token counts must be numbers: {error}") from None
    valid = np.isfinite(tokens) & (tokens >= 0)
    _refuse(requests.index, ~valid.all(axis=1), "a missing or negative token count")
    overfull = tokens[:, 1] + tokens[:, 2] > tokens[:, 0]
    fault = "fewer input_tokens than cached and cache-write tokens within them"
    _refuse(requests.index, overfull, fault)
    return tokens


def _token_columns(requests: Columns) -> "list[npt.NDArray[Any]]":
    """Token counts in the order of _TOKEN_COLUMNS, (n,) each. Raises: PriceError as
    `_token_counts`."""
    named = _columns(requests, _TOKEN_COLUMNS)
    shape = np.shape(named["input_tokens"])
    try:
        tokens = [np.broadcast_to(_numbers(each), shape) for each in named.values()]
        total, cached, written, _ = tokens
        valid = all(each.min(initial=0) >= 0 and each.max(initial=0) < np.inf for each in tokens)
        valid = valid and not (cached + written > total).any()
    except (TypeError, ValueError):
        valid = False
    if not valid:
        _token_counts(pd.DataFrame(named))  # it names the first row that is wrong
    return tokens


def _numbers(column: Any) -> "npt.NDArray[Any]":
    values = column.to_numpy() if isinstance(column, pd.Series) else np.asarray(column)
    return values if values.dtype.kind in "iuf" else values.astype(float)


def _time_of_day_us(requests: Columns) -> "npt.NDArray[np.int64]":
    """Microseconds since midnight UTC at which each request started."""
    started = pd.Series(_columns(requests, ["ts_start"])["ts_start"])
    if not isinstance(started.dtype, pd.DatetimeTZDtype):
        raise PriceError(
            f"ts_start has type {started.dtype}, not times with one timezone: "
            "convert it with pd.to_datetime(..., utc=True)"
        )
    _refuse(started.index, started.isna().to_numpy(), "no ts_start")
    return pd.DatetimeIndex(started).as_unit("us").asi8 % DAY_US


def _columns(requests: Columns, names: list[str]) -> dict[str, Any]:
    missing = [name for name in names if name not in requests]
    if missing:
        raise PriceError(f"the requests lack {', '.join(missing)}: add these columns")
    return {name: requests[name] for name in names}


def _refuse(rows: "pd.Index[Any]", wrong: npt.NDArray[np.bool_], fault: str) -> None:
    if wrong.any():
        first = rows[wrong][0]
        raise PriceError(
            f"{wrong.sum()} of {len(rows)} requests have {fault} (first: row {first}): "
            "correct them or leave them out"
        )

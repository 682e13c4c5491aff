"""What does a log amount to: requests, tokens, failures and the bill of a month?"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from llmstudy.measures.summary import span
from llmstudy.requests.schema import weights
from llmstudy.units import HOURS_PER_MONTH

if TYPE_CHECKING:
    from llmstudy.requests.importers import Log


COLUMNS = (
    *("ts_start", "input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens"),
    *("ok", "attempts", "n_requests"),
)
"""The columns of a log that its totals need."""


@dataclass(frozen=True)
class Totals:
    """A log in numbers; None is what it does not tell, never zero.

    logical_requests: each call once, however many attempts it took, those without token counts
    included. requests_per_month: of 730 h, at the rate of the time that the log covers.
    input_tokens, cached_input_tokens, output_tokens: of all requests; those without counts have the
    mean of the others. failed_share: of the requests. usd: the bill of a month; None where the log
    leaves it open, between usd_low (all of the input read from the cache) and usd_high (none).
    """

    logical_requests: float | None
    requests_per_month: float | None
    input_tokens: float | None
    cached_input_tokens: float | None
    output_tokens: float | None
    failed_share: float | None
    usd: float | None = None
    usd_low: float | None = None
    usd_high: float | None = None


def log_totals(log: "Log", price_as: str | None = None, on: date | str | None = None) -> Totals:
    """Sums up a log; with a model and a day, also the bill of a month on that model.

    price_as: "openai/gpt-4o". on: the day of its prices.
    Raises: ValueError if the log holds no request; PriceError as `prices.price_requests`.

    >>> from llmstudy import read_log
    >>> hours = pd.date_range("2026-11-02", periods=3, freq="h", tz="UTC")
    >>> frame = pd.DataFrame({"ts_start": hours, "input_tokens": 900,
    ...                       "output_tokens": [90, 100, 110], "cached_input_tokens": 450})
    >>> totals = log_totals(read_log(frame), "openai/gpt-4o", "2026-11-29")
    >>> totals.logical_requests, totals.requests_per_month, round(totals.usd, 2)
    (3.0, 730.0, 1.96)
    """
    requests = log.accepted
    if requests.empty:
        raise ValueError(f"none of its {log.rows_read:,} rows is a request: see the quarantine")
    weight = weights(requests)
    counted = bool((weight > 0).all())
    # a bucket that does not count its requests is billed as if they were short
    tokens = requests["input_tokens"] + requests["output_tokens"]
    weight = weight.where(weight > 0, (tokens / 10_000).clip(lower=1.0))
    beside = float(weights(log.uncounted).sum())
    n = float(weight.sum()) + beside
    covered = span(requests["ts_start"], log.grain) / pd.Timedelta(hours=1)
    # the time is that of the rows; what stands beside them fell into it
    month = n / covered * HOURS_PER_MONTH if covered else None

    def total(column: str, of: "pd.Series[bool]") -> float | None:
        of_weight = float(weight[of].sum())
        return float(requests[column][of].sum()) / of_weight * n if of_weight else None

    used = {side: requests["ok"] | (requests[f"{side}_tokens"] > 0) for side in ("input", "output")}
    cached = requests["cached_input_tokens"]
    logged = used["input"] & cached.notna()
    sums = {
        "input_tokens": total("input_tokens", used["input"]),
        "output_tokens": total("output_tokens", used["output"]),
        "cached_input_tokens": None
        if "cached_input_tokens" in log.unknown or not logged.any()
        else total("cached_input_tokens", logged),
    }
    failed = None
    if "ok" not in log.unknown:
        failed = float(weight[~requests["ok"]].sum()) / n
    bills: dict[str, float | None] = {}
    if price_as is not None and on is not None and month is not None:
        low, high = _month_usd(requests, weight, used, price_as, on, month)
        bills = {"usd": high if np.isclose(low, high) else None, "usd_low": low, "usd_high": high}
    requests_, per_month = (n, month) if counted else (None, None)
    return Totals(requests_, per_month, failed_share=failed, **sums, **bills)


def _month_usd(
    requests: pd.DataFrame,
    weight: "pd.Series[Any]",
    used: Mapping[str, "pd.Series[bool]"],
    price_as: str,
    on: date | str,
    month: float,
) -> tuple[float, float]:
    """The bill of a month with all of what the log leaves open read from the cache, and none."""
    from llmstudy import prices  # takes time to load, and most logs are read without a price

    names = ["input_tokens", "output_tokens", "cached_input_tokens", "cache_write_tokens"]
    each = requests[names].astype(float).div(weight, axis=0).round()
    each["cache_write_tokens"] = each["cache_write_tokens"].fillna(0)
    ends = []
    for cached in (each["input_tokens"] - each["cache_write_tokens"], 0.0):
        filled = each.assign(cached_input_tokens=each["cached_input_tokens"].fillna(cached))
        rows = filled.astype("int64").assign(ts_start=requests["ts_start"])
        bills = prices.price_requests(rows, price_as, on)
        each_usd = sum(
            np.average(bills[f"{side}_usd"][of], weights=weight[of]) if of.any() else 0.0
            for side, of in used.items()
        )
        ends.append(float(each_usd) * month)
    return min(ends), max(ends)

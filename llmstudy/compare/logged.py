"""What do the whole days of a log amount to, and who answered? For the comparison with a forecast.

Days count once they are whole, and as many of each day of the week, so that a weekend more or less
moves nothing. Each request is billed by its tokens at its own time: once as today's route would
bill it, and once as whoever answered it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from llmstudy.chapters.latency import log_p95
from llmstudy.evidence.case import Case
from llmstudy.evidence.offers import priced_model
from llmstudy.figure import FloatArray, Interval
from llmstudy.measures.latency import IntArray, QuantileEstimate, share_interval
from llmstudy.measures.quality import wilson
from llmstudy.measures.quality.clusters import student_interval
from llmstudy.measures.repricing import opened, reprice
from llmstudy.prices import PriceError, same_model
from llmstudy.prices.billing import PricedModel
from llmstudy.prices.model_names import model_key
from llmstudy.prices.served import served_model
from llmstudy.requests.containers import literal
from llmstudy.requests.plausible import grain, microseconds, stretches
from llmstudy.requests.schema import UNKNOWN
from llmstudy.study import ApiRoute, Study
from llmstudy.text import count
from llmstudy.units import DAY_US, DAYS_PER_MONTH

FEWEST_WEEKS = 4
"""Whole weeks from which weeks, not days, are taken as independent."""

_DAY, _HOUR = pd.Timedelta(days=1), pd.Timedelta(hours=1)

_NAMED = ("provider", "model_served", "model_requested")
"""The columns that tell who answered."""

_NEEDED = [
    *("ts_start", "service_tier", "ok", "failed_attempts", "latency_s", "ttft_s"),
    *("input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens"),
]
"""The columns of a log that are compared, beside who answered."""


@dataclass(frozen=True)
class Logged:
    """A workload's requests on whole days of a log, scaled to a month of 730 h.

    requests: a month. billed_share: of the requests, those that used tokens; the other means are
    over these: input_tokens and output_tokens of a request, shares of the input that were read from
    the cache and written to it (null: not logged). attempts: what the repeated attempts of a
    request make of its bill, as a factor. route_usd: bill of a request, had today's route answered
    it; 0 for a fleet. fallback_usd, other_usd: what a mean request cost beyond that since a
    fallback answered some, and since some were sent to another model on purpose. usd: the month's
    bill as answered. other_share, failed: shares of the requests; fallback: of those not sent to
    another model. fallback_models: what answered in the route's place, most often first.
    ttft_p95_s: of all; None if none was streamed. Intervals are at 95 %.
    """

    days: tuple[date, ...]
    requests: Interval
    billed_share: float
    input_tokens: float
    output_tokens: float
    cached_input_share: float | None
    cache_write_share: float | None
    attempts: float
    route_usd: float
    fallback_usd: float
    other_usd: float
    usd: Interval
    fallback: Interval
    other_share: float
    failed: Interval
    fallback_models: tuple[str, ...]
    ttft_p95_s: QuantileEstimate | None


def whole_days(times: "pd.Series[Any]", since: date) -> list[date]:
    """The days from `since` on that a log covers, as many of each day of the week, the latest.

    times: of all requests of the log. A day is whole if the log covers it to an hour, or to its
    mean gap if that is longer.

    >>> times = pd.Series(pd.date_range("2026-11-02T12:00Z", "2026-11-18T12:00Z", freq="10min"))
    >>> days = whole_days(times, date(2026, 11, 1))
    >>> len(days), str(days[0]), str(days[-1])
    (14, '2026-11-04', '2026-11-17')
    >>> whole_days(times, date(2026, 11, 12))
    []
    """
    if times.empty:
        return []
    covered = stretches(times)
    slack = max(_HOUR, (times.max() - times.min()) / len(times))
    dated = grain(times) % _DAY == pd.Timedelta(0)
    whole: list[date] = []
    for start, end in zip(covered["start"], covered["end"], strict=True):
        first = (start - slack).ceil("D")
        last = end.floor("D") if dated else (end + slack).floor("D") - _DAY
        whole += [day.date() for day in pd.date_range(first, last, freq="D") if day.date() >= since]
    of_week = [[day for day in whole if day.weekday() == k] for k in range(7)]
    weeks = min(map(len, of_week))
    return sorted(day for each in of_week for day in each[len(each) - weeks :])


def month_interval(daily: FloatArray) -> Interval:
    """A month's total from daily ones, with a 95 % interval.

    daily: (n_weeks, 7). From four weeks on weeks are independent; with fewer, days about the mean
    of their day of the week; of one week, days.
    Source: Student's t of the units' means; months of 730 h.

    >>> week = np.array([110, 100, 90, 100, 100, 50, 40.0])
    >>> [round(x) for x in vars(month_interval(np.stack([week, week, week + 7, week]))).values()]
    [2617, 2448, 2786]
    """
    weeks = len(daily)
    if weeks >= FEWEST_WEEKS:
        error, degrees = daily.mean(axis=1).std(ddof=1) / np.sqrt(weeks), weeks - 1
    elif weeks > 1:
        degrees = 7 * (weeks - 1)
        squares = ((daily - daily.mean(axis=0)) ** 2).sum()
        error = np.sqrt(squares / degrees / daily.size)
    else:
        error, degrees = daily.std(ddof=1) / np.sqrt(7), 6
    scale = DAYS_PER_MONTH
    of_month = student_interval(float(daily.mean() * scale), float(error * scale), degrees, 0.95)
    return Interval(of_month.estimate, max(of_month.low, 0.0), of_month.high)


def log_times(case: Case) -> "pd.Series[Any]":
    """The times of all requests of the case's log, in order; empty without a log."""
    if case.traffic.file is None:
        return pd.Series(dtype="datetime64[us, UTC]")
    with opened(case.traffic.file) as connection:
        us = connection.sql("SELECT us FROM log ORDER BY us").fetchnumpy()["us"]
    return pd.Series(pd.DatetimeIndex(us.view("M8[us]"), tz="UTC"))


def logged(case: Case, name: str, days: Sequence[date]) -> Logged:
    """The requests of a workload on these days of the case's log.

    case: of a log of single requests. days: from `whole_days`.
    Raises: ValueError if no request was answered; PriceError if the route has no price.
    """
    of_day = np.array([(day - date(1970, 1, 1)).days for day in days])
    rows, answers, mean_weight = _rows(case, name, of_day)
    used = rows[["input_tokens", "output_tokens"]].sum(axis=1) > 0
    billed = (rows["ok"] | used).to_numpy(dtype=bool)
    if not billed.any():
        raise ValueError(f"the log holds no answer of {name} from {days[0]} to {days[-1]}")
    which = rows["which"].to_numpy(dtype=np.int64)
    day = np.searchsorted(of_day, microseconds(rows["ts_start"]) // DAY_US)
    # requests without token counts, of which no row tells a workload
    scale = case.traffic.per_row.get(name, mean_weight) / mean_weight
    return _summed(rows, _Bills(billed, day, answers, which), days, case.study, name, scale)


def _rows(case: Case, name: str, of_day: IntArray) -> tuple[pd.DataFrame, "list[_Answer]", float]:
    """A workload's requests on these days, in order of time, with `n` and `which`.

    of_day: in days since 1970. n: how many requests a row stands for. which: the place of who
    answered it in the list returned, which has those of the whole log. The number is the mean of n
    in the whole log.
    """
    assert case.traffic.file is not None
    with opened(case.traffic.file, f"workload = {literal(name)}") as connection:
        [(mean_weight,)] = connection.sql("SELECT avg(n) FROM log").fetchall()
        connection.execute(
            "CREATE TABLE answers AS SELECT row_number() OVER () - 1 AS which, *"
            f" FROM (SELECT DISTINCT {', '.join(_NAMED)} FROM log)"
        )
        rows = connection.sql(
            f"SELECT {', '.join(_NEEDED)}, n, which FROM log JOIN answers ON"
            f" {' AND '.join(f'log.{x} IS NOT DISTINCT FROM answers.{x}' for x in _NAMED)}"
            f" WHERE us // {DAY_US} IN ({', '.join(map(str, of_day))}) ORDER BY us"
        ).df()
        names = connection.sql(f"SELECT {', '.join(_NAMED)} FROM answers ORDER BY which").fetchall()
    answers = [answer_of(case.study, name, *(x or "" for x in each)) for each in names]
    return rows, answers, mean_weight or 1.0


class _Answer(NamedTuple):
    """Who answers for a name of the log, and at what price; None for a fleet, or an unknown one."""

    kind: Literal["route", "fallback", "other"]
    price: PricedModel | None
    model: str


class _Bills(NamedTuple):
    """Of each request: whether it used tokens, the place of its day, and who answered (a place in
    answers). (n,) each."""

    billed: "npt.NDArray[np.bool_]"
    day: IntArray
    answers: Sequence[_Answer]
    which: IntArray

    def of_kind(self, kind: str) -> "npt.NDArray[np.bool_]":
        return np.array([answer.kind == kind for answer in self.answers])[self.which]


def _summed(
    rows: pd.DataFrame,
    of: _Bills,
    days: Sequence[date],
    study: Study,
    name: str,
    scale: float,
) -> Logged:
    """scale: on the volume."""
    weight = rows["n"].to_numpy(dtype=float)
    n, n_billed = weight.sum(), weight[of.billed].sum()
    assumed = (rows["input_tokens"] * study.workloads[name].cached_input_share.value).round()
    cached = rows["cached_input_tokens"].fillna(assumed).astype("int64")
    tokens = rows.rename(columns={"n": "n_requests"}).assign(cached_input_tokens=cached)
    own = _price(study, study.workloads[name].current_route)
    # a fleet is paid for whoever answers: its requests cost nothing more
    route_usd = (
        np.zeros(len(rows)) if own is None else _usd(tokens, [own], np.zeros(len(rows), int))
    )
    away = ~of.of_kind("route")
    usd = route_usd.copy()
    usd[away] = _usd(tokens[away], [each.price for each in of.answers], of.which[away])
    usd = np.where(np.isnan(usd), 0.0 if own is None else route_usd, usd)
    attempts = 1 + rows["failed_attempts"].fillna(0).to_numpy(dtype=float)
    beyond = attempts * (usd - route_usd)
    repeated = route_usd if route_usd.sum() > 0 else weight * of.billed

    def month(of_request: FloatArray) -> Interval:
        return month_interval(scale * _by_week(of_request, of.day, days))

    def of_input(column: str) -> float | None:
        counted = rows.loc[rows[column].notna(), [column, "input_tokens"]].sum()
        return float(counted[column] / counted["input_tokens"]) if counted.iloc[1] else None

    def part(within: "npt.NDArray[np.bool_]", among: "npt.NDArray[np.bool_]") -> Interval:
        if not weight[among].any():
            return Interval(0.0, 0.0, 1.0)
        _, n_effective = share_interval(within[among], of.day[among], consecutive=False)
        share = float(np.average(within[among], weights=weight[among]))
        return wilson(share * n_effective, n_effective)

    kinds = {kind: of.of_kind(kind) for kind in ("fallback", "other")}
    names = pd.Series([answer.model for answer in of.answers])[of.which[kinds["fallback"]]]
    streams = bool(rows["ttft_s"].notna().any())
    return Logged(
        days=tuple(days),
        requests=month(weight),
        billed_share=float(n_billed / n),
        input_tokens=float(rows["input_tokens"].sum() / n_billed),
        output_tokens=float(rows["output_tokens"].sum() / n_billed),
        cached_input_share=of_input("cached_input_tokens"),
        cache_write_share=of_input("cache_write_tokens"),
        attempts=float((attempts * repeated).sum() / repeated.sum()),
        route_usd=float(route_usd.sum() / n_billed),
        fallback_usd=float(beyond[kinds["fallback"]].sum() / n),
        other_usd=float(beyond[kinds["other"]].sum() / n),
        usd=month(attempts * usd),
        fallback=part(kinds["fallback"], ~kinds["other"]),
        other_share=float(weight[kinds["other"]].sum() / n),
        failed=part(~rows["ok"].to_numpy(dtype=bool), np.ones(len(rows), bool)),
        fallback_models=tuple(map(str, names.value_counts().index)),
        ttft_p95_s=log_p95(rows.assign(day=of.day)) if streams else None,
    )


def _by_week(of_request: FloatArray, day: IntArray, days: Sequence[date]) -> FloatArray:
    """Totals of each day, a row for each week in order. (n_weeks, 7)."""
    totals = np.bincount(day, of_request, minlength=len(days))
    weekday = np.array([each.weekday() for each in days])
    return np.stack([totals[weekday == k] for k in range(7)], axis=1)


def _usd(rows: pd.DataFrame, models: Sequence[PricedModel | None], which: IntArray) -> FloatArray:
    """The bill of each request, at the price of its place in models; NaN where that is None."""
    rows = rows.reset_index(drop=True)
    priced = np.array([model is not None for model in models])[which]
    usd = np.full(len(rows), np.nan)
    if not priced.any():
        return usd
    names = [f"m{i}" for i in range(len(models))]
    by_name = {f"route/{x}": m for x, m in zip(names, models, strict=True) if m is not None}
    tiers = np.array([model.tier if model else "" for model in models], dtype=object)[which]
    bills = reprice(
        rows[priced].assign(
            provider="route",
            model_served=pd.Categorical.from_codes(which[priced], dtype=pd.CategoricalDtype(names)),
            service_tier=rows["service_tier"].astype(object).fillna(pd.Series(tiers))[priced],
        ),
        by_name,
    )
    if bills["unpriced"].notna().any():
        raise PriceError(str(bills["unpriced"].dropna().iloc[0]))
    usd[priced] = bills["usd"].to_numpy(dtype=float)
    return usd


# --- who answered ---------------------------------------------------------------------------


def answer_of(study: Study, name: str, provider: str, served: str, requested: str) -> _Answer:
    """Whether today's route answered, a fallback in its place, or a model asked for by its name.

    provider, served, requested: as the log has them; "" where it has none. Of two routes of the
    workload with one model the provider tells which answered. A fallback that is a route of the
    study has that route's price, any other its list price.
    """
    workload = study.workloads[name]
    current = workload.current_route
    same = [r for r in workload.routes if served == UNKNOWN or _is_model_of(study, r, served)]
    listed = _listed(study, provider, served)
    place = listed.provider if listed else provider.lower()
    there = [r for r in same if place == _place(study, r).lower()]
    hosted = listed is not None and not isinstance(study.routes[current], ApiRoute)
    if current in there or (current in same and not there and not hosted):
        return _Answer("route", _price(study, current), served)
    routes = there or [r for r in same if r != current]
    price = next((p for r in routes if (p := _price(study, r))), listed)
    if not routes and price is None:
        return _Answer("route", _price(study, current), served)
    alias = requested.removeprefix(f"{name}.") != requested
    on_purpose = requested != "" and not alias and same_model(requested, served)
    return _Answer("other" if on_purpose else "fallback", price, served)


def _is_model_of(study: Study, route: str, served: str) -> bool:
    spec = study.routes[route]
    if spec.arm == "proprietary_api":
        return same_model(served, spec.model)
    return model_key(served) == model_key(spec.model)


def _listed(study: Study, provider: str, served: str) -> PricedModel | None:
    try:
        return served_model(provider, served, study.as_of)
    except PriceError:
        return None


def _place(study: Study, route: str) -> str:
    spec = study.routes[route]
    return spec.provider if isinstance(spec, ApiRoute) else spec.host


def _price(study: Study, route: str) -> PricedModel | None:
    """The price of a route; None for a fleet."""
    spec = study.routes[route]
    return priced_model(spec) if isinstance(spec, ApiRoute) else None


def days_text(days: Sequence[date]) -> str:
    """The days of a comparison in words.

    >>> days_text([date(2026, 11, 2), date(2026, 11, 3)])
    '2 days from 2026-11-02 to 2026-11-03'
    """
    return f"{count(len(days))} days from {days[0]} to {days[-1]}"

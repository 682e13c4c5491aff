"""What does a real log say week by week, and in which week would a rule have fired?

Only whole weeks count: half a week is no week's evidence. A week runs from Monday 00:00 UTC.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from llmstudy.decide.triggers.hysteresis import BoolArray
from llmstudy.decide.triggers.rules import column_of, conditions_of, decide
from llmstudy.figure import FloatArray
from llmstudy.measures.latency import quantile_interval
from llmstudy.requests.plausible import stretches
from llmstudy.units import HOURS_PER_MONTH, HOURS_PER_WEEK

WEEKS_PER_MONTH = HOURS_PER_MONTH / HOURS_PER_WEEK

_WEEK = pd.Timedelta(hours=HOURS_PER_WEEK)
_HOUR = pd.Timedelta(hours=1)

_COLUMNS: Mapping[str, Any] = {
    "workload": "object",
    "week": "datetime64[us, UTC]",
    "requests": float,
    "tokens": float,
    "spend_usd": float,
    "failed_share": float,
    "ttft_p95_s": float,
    "ttft_p95_low_s": float,
    "ttft_p95_high_s": float,
    "n_ttft": int,
    "format_failure_share": float,
}


def weekly_signals(
    requests: pd.DataFrame,
    cost_usd: FloatArray | None = None,
    format_failed: BoolArray | None = None,
) -> pd.DataFrame:
    """Each workload of a log in each whole ISO week that the log covers, in order.

    requests: a canonical table. cost_usd, format_failed: (n_requests,) in its order, the price of
    each request at its own time and whether its answer broke the format; None: unknown.

    The log runs from the clock hour of its first request to that of its last, whatever their
    workloads: a week within is whole. Of a week without any request, or with a hole in the log,
    nothing is known; one without a request of this workload is a quiet one.

    Returns: workload, week (its Monday), requests, tokens (input and output), spend_usd,
    failed_share (null without requests), ttft_p95_s with its 95 % interval ttft_p95_low_s and
    ttft_p95_high_s over n_ttft requests (streamed or failed; a failure counts as +inf, and the
    estimate is null when it falls among the failures; nothing is known where the week's log of the
    workload has no first token and no failure, or the workload never streams),
    format_failure_share. No rows where no week is whole.
    Raises: ValueError if an array is not of the length of the table.

    >>> times = pd.date_range("2026-11-02", periods=15 * 24, freq="1h", tz="UTC")
    >>> log = pd.DataFrame({"ts_start": times, "workload": "chat", "ok": True, "ttft_s": 0.4,
    ...                     "input_tokens": 900, "output_tokens": 100})
    >>> signals = weekly_signals(log, cost_usd=np.full(len(log), 0.01))
    >>> signals[["requests", "tokens", "spend_usd", "ttft_p95_s"]].round(2).to_numpy().tolist()
    [[168.0, 168000.0, 1.68, 0.4], [168.0, 168000.0, 1.68, 0.4]]
    """
    frame = pd.DataFrame(
        {
            "workload": requests["workload"].astype("object"),
            "week": _monday(requests["ts_start"]),
            "tokens": requests["input_tokens"] + requests["output_tokens"],
            "ok": requests["ok"],
            "ttft_s": requests["ttft_s"].astype(float),
            "spend_usd": _column("cost_usd", cost_usd, len(requests)),
            "format_failed": _column("format_failed", format_failed, len(requests)),
        }
    )
    weeks = _whole_weeks(requests["ts_start"])
    logged = set(frame["week"]) - _torn(requests["ts_start"], weeks)
    rows = []
    for workload, group in frame.groupby("workload"):
        streams = bool(group["ttft_s"].notna().any())
        by_week = dict(list(group.groupby("week")))
        for week in weeks:
            logged_week = by_week.get(week, group.iloc[:0])
            signals = (
                _week(logged_week, streams) if week in logged else {"requests": np.nan, "n_ttft": 0}
            )
            rows.append({"workload": workload, "week": week} | signals)
    return pd.DataFrame(rows, columns=list(_COLUMNS)).astype(dict(_COLUMNS))


def _column(name: str, values: Any, n: int) -> FloatArray:
    if values is None:
        return np.full(n, np.nan)
    column = np.asarray(values, dtype=float)
    if column.shape != (n,):
        raise ValueError(f"{name} is of shape {column.shape}: give one for each of {n} requests")
    return column


def _monday(times: "pd.Series[Any]") -> "pd.Series[Any]":
    into_week = pd.to_timedelta(times.dt.day_of_week, unit="D")
    mondays: pd.Series[Any] = times.dt.floor("D") - into_week
    return mondays


def _whole_weeks(times: "pd.Series[Any]") -> list[pd.Timestamp]:
    if times.empty:
        return []
    begins, ends = times.min().floor("h"), times.max().floor("h") + _HOUR
    mondays = pd.date_range(begins.floor("D") - _WEEK, ends, freq="W-MON")
    return [monday for monday in mondays if begins <= monday and monday + _WEEK <= ends]


def _torn(times: "pd.Series[Any]", weeks: list[pd.Timestamp]) -> set[pd.Timestamp]:
    """The weeks of which a hole in the log takes more than a day."""
    covered = stretches(times)
    holes = list(zip(covered["end"].iloc[:-1], covered["start"].iloc[1:], strict=True))
    return {
        week
        for week in weeks
        for begins, ends in holes
        if min(ends, week + _WEEK) - max(begins, week) > pd.Timedelta(days=1)
    }


def _week(requests: pd.DataFrame, streams: bool) -> dict[str, Any]:
    """One week of one workload, of which the log holds `requests`."""
    # a failed request has no first token: it counts as +inf where the workload streams at all
    seconds = requests["ttft_s"].where(requests["ok"], np.inf).dropna()
    p95 = quantile_interval(seconds.to_numpy(dtype=float) if streams else np.empty(0), 0.95)
    timed = p95.n > 0
    return {
        "requests": len(requests),
        "tokens": requests["tokens"].sum(),
        "spend_usd": requests["spend_usd"].sum(skipna=False),
        "failed_share": 1 - requests["ok"].mean() if len(requests) else np.nan,
        "ttft_p95_s": p95.estimate,
        "ttft_p95_low_s": p95.low if timed else np.nan,
        "ttft_p95_high_s": p95.high if timed else np.nan,
        "n_ttft": p95.n,
        "format_failure_share": requests["format_failed"].mean(),
    }


def log_signals(weeks: pd.DataFrame) -> dict[str, FloatArray]:
    """The signals of the rules that a log holds, at the rate of each week. (n_workloads, n_weeks).

    weeks: from `weekly_signals`; workloads in the order in which they stand there. A week counts as
    168 of a month's 730 hours. A p95 that falls among the failures is inf.
    """

    def path(column: str) -> FloatArray:
        by_workload = weeks.sort_values(["workload", "week"]).groupby("workload")[column]
        return np.array([group.to_numpy(dtype=float) for _, group in by_workload])

    seconds, n = path("ttft_p95_s"), path("n_ttft")
    api_usd_month = path("spend_usd") * WEEKS_PER_MONTH
    return {
        "api_usd_month": api_usd_month,
        "api_usd_year": 12 * api_usd_month,
        "tokens_month": path("tokens") * WEEKS_PER_MONTH,
        "requests_month": path("requests") * WEEKS_PER_MONTH,
        "ttft_p95_s": np.where(np.isnan(seconds) & (n > 0), np.inf, seconds),
    }


def fired_weeks(
    rules: pd.DataFrame,
    weeks: pd.DataFrame,
    sustained_weeks: int,
    extra_signals: Mapping[str, FloatArray] | None = None,
) -> pd.DataFrame:
    """In which week of a log each rule would have fired, had it been watched: per rule, workload.

    rules: from `advisor_rules`. weeks: from `weekly_signals`; for the company as a whole, of
    requests whose workload is one and the same. sustained_weeks: for how long a condition must
    hold, in place of the rule's months; that a rule waits before its first move has no part here.
    extra_signals: by the names of `column_of`, (n_workloads, n_weeks), the workloads in the order
    of their names.

    Returns: rule, advisor, workload, week (Monday of the week at whose end it fires; NaT: it does
    not), not_judged (conditions on signals that neither the log nor `extra_signals` has, in words).
    No rows where no week is whole.
    """
    columns = ["rule", "advisor", "workload", "week", "not_judged"]
    if weeks.empty:
        return pd.DataFrame(columns=columns)
    names = sorted(weeks["workload"].unique())
    mondays = sorted(weeks["week"].unique())
    unknown = np.full((len(names), len(mondays)), np.nan)
    signals = {**log_signals(weeks), **(extra_signals or {})}
    says = {column_of(row): row["says"] for row in conditions_of(rules)}
    signals |= {column: unknown for column in says if column not in signals}
    weekly = rules.assign(sustained_periods=sustained_weeks, not_before_month=0)
    fired = decide(weekly, signals)
    blind = {column for column in says if np.isnan(signals[column]).all()}
    rows = []
    for rule, at in fired.items():
        conditions = conditions_of(rules[rules["rule"] == rule])
        not_judged = [row["says"] for row in conditions if column_of(row) in blind]
        rows += [
            {
                "rule": rule,
                "advisor": conditions[0]["advisor"],
                "workload": name,
                "week": mondays[k] if k < len(mondays) else pd.NaT,
                "not_judged": "; ".join(not_judged),
            }
            for name, k in zip(names, at, strict=True)
        ]
    return pd.DataFrame(rows, columns=columns)

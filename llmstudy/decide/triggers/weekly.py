"""What does a real log say week by week, and in which week would a rule have fired?

Only whole weeks count. A week begins on Monday, 00:00 UTC.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from llmstudy.decide.triggers.rules import column_of, conditions_of, decide
from llmstudy.figure import FloatArray
from llmstudy.measures.latency import quantile_interval
from llmstudy.requests.plausible import microseconds, stretches
from llmstudy.units import DAY_US, HOURS_PER_MONTH, HOURS_PER_WEEK

WEEKS_PER_MONTH = HOURS_PER_MONTH / HOURS_PER_WEEK

_WEEK = pd.Timedelta(hours=HOURS_PER_WEEK)
_HOUR = pd.Timedelta(hours=1)
_A_MONDAY = pd.Timestamp("1970-01-05", tz="UTC")
_A_MONDAY_US, _WEEK_US = 4 * DAY_US, 7 * DAY_US

_COLUMNS: Mapping[str, Any] = {
    "workload": "object",
    "week": "datetime64[us, UTC]",
    "requests": float,
    "tokens": float,
    "spend_usd": float,
    "ttft_p95_s": float,
    "ttft_p95_low_s": float,
    "n_ttft": int,
}


def weekly_signals(requests: pd.DataFrame, cost_usd: FloatArray | None = None) -> pd.DataFrame:
    """Each workload of a log in each whole ISO week that the log covers, in order.

    requests: a canonical table. cost_usd: (n_requests,) the price of each request at its own time;
    None: unknown.

    The log runs from the hour of its first request to that of its last, whatever their workloads;
    the weeks within are whole. A week without any request, or with a gap in the log, is unknown; a
    week without requests of one workload is a quiet week of that workload.

    Returns: workload, week (its Monday), requests, tokens (input and output), spend_usd, ttft_p95_s
    and ttft_p95_low_s, the low end of its 95 % interval, over n_ttft requests (streamed or failed).
    A failure counts as +inf, and a p95 among failures is null; so is the p95 of a week of the
    workload without a first token or failure, or of a workload that never streams. No whole week
    gives no rows.
    Raises: ValueError if cost_usd is not as long as the table.

    >>> times = pd.date_range("2026-11-02", periods=15 * 24, freq="1h", tz="UTC")
    >>> log = pd.DataFrame({"ts_start": times, "workload": "chat", "ok": True, "ttft_s": 0.4,
    ...                     "input_tokens": 900, "output_tokens": 100})
    >>> signals = weekly_signals(log, cost_usd=np.full(len(log), 0.01))
    >>> signals[["requests", "tokens", "spend_usd", "ttft_p95_s"]].round(2).to_numpy().tolist()
    [[168.0, 168000.0, 1.68, 0.4], [168.0, 168000.0, 1.68, 0.4]]
    """
    costs, weeks = _costs(cost_usd, len(requests)), _whole_weeks(requests["ts_start"])
    names = requests["workload"].astype("category").cat
    week = (microseconds(requests["ts_start"]) - _A_MONDAY_US) // _WEEK_US
    first = week.min() if len(week) else 0
    week -= first
    n_weeks = int(week.max(initial=0)) + 1
    # the requests of each workload and week, one after the other
    week += n_weeks * names.codes.to_numpy(np.int64)
    order = slice(None) if _ascends(week) else np.argsort(week, kind="stable")
    tokens = (requests["input_tokens"] + requests["output_tokens"]).to_numpy()[order]
    failed = ~requests["ok"].to_numpy(dtype=bool)[order]
    ttft_s, costs = requests["ttft_s"].to_numpy(dtype=float)[order], costs[order]
    edges = np.searchsorted(week[order], np.arange(n_weeks * len(names.categories) + 1))
    some = np.diff(edges).reshape(-1, n_weeks) > 0
    gaps = _with_gap(requests["ts_start"], weeks)
    rows = []
    for i, name in enumerate(names.categories):
        if not some[i].any():
            continue
        begins = i * n_weeks
        streams = not np.isnan(ttft_s[edges[begins] : edges[begins + n_weeks]]).all()
        for monday in weeks:
            signals: dict[str, Any] = {"requests": np.nan, "n_ttft": 0}
            at = (monday - _A_MONDAY) // _WEEK - first
            if some[:, at].any() and monday not in gaps:
                part = slice(edges[begins + at], edges[begins + at + 1])
                signals = _week(tokens[part], costs[part], ttft_s[part], failed[part], streams)
            rows.append({"workload": name, "week": monday} | signals)
    return pd.DataFrame(rows, columns=list(_COLUMNS)).astype(dict(_COLUMNS))


def _ascends(numbers: "npt.NDArray[np.int64]") -> bool:
    return bool((numbers[1:] >= numbers[:-1]).all())


def _costs(usd: FloatArray | None, n: int) -> FloatArray:
    if usd is None:
        return np.broadcast_to(np.nan, n)
    costs = np.asarray(usd, dtype=float)
    if costs.shape != (n,):
        raise ValueError(
            f"cost_usd has shape {costs.shape}: give one cost for each of {n} requests"
        )
    return costs


def _whole_weeks(times: "pd.Series[Any]") -> list[pd.Timestamp]:
    if times.empty:
        return []
    begins, ends = times.min().floor("h"), times.max().floor("h") + _HOUR
    mondays = pd.date_range(begins.floor("D") - _WEEK, ends, freq="W-MON")
    return [monday for monday in mondays if begins <= monday and monday + _WEEK <= ends]


def _with_gap(times: "pd.Series[Any]", weeks: list[pd.Timestamp]) -> set[pd.Timestamp]:
    """The weeks in which a gap of the log takes more than a day."""
    covered = stretches(times)
    gaps = list(zip(covered["end"].iloc[:-1], covered["start"].iloc[1:], strict=True))
    return {
        week
        for week in weeks
        for begins, ends in gaps
        if min(ends, week + _WEEK) - max(begins, week) > pd.Timedelta(days=1)
    }


def _week(
    tokens: "npt.NDArray[Any]",
    costs: FloatArray,
    ttft_s: FloatArray,
    failed: "npt.NDArray[np.bool_]",
    streams: bool,
) -> dict[str, Any]:
    """The signals of one workload in one week, from its requests. streams: the workload does."""
    # a failed request has no first token: it counts as +inf where the workload streams at all
    seconds = np.where(failed, np.inf, ttft_s) if streams else np.empty(0)
    p95 = quantile_interval(seconds[~np.isnan(seconds)], 0.95)
    return {
        "requests": len(tokens),
        "tokens": tokens.sum(),
        "spend_usd": costs.sum(),
        "ttft_p95_s": p95.estimate,
        "ttft_p95_low_s": p95.low if p95.n else np.nan,
        "n_ttft": p95.n,
    }


def log_signals(weeks: pd.DataFrame) -> dict[str, FloatArray]:
    """The signals of the rules that a log has, at each week's rate. (n_workloads, n_weeks).

    weeks: from `weekly_signals`; workloads in order of name. A week is 168 of a month's 730 hours.
    A p95 among the failures is inf.
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
) -> pd.DataFrame:
    """The week of a log in which each rule would have fired for each workload.

    rules: from `advisor_rules`. weeks: from `weekly_signals`; for the company as a whole, of
    requests that all have one workload. sustained_weeks: for how long a condition must hold, in
    place of the rule's months; `not_before_month` is ignored here.

    Returns: rule, advisor, workload, week (the Monday of the week at whose end it fires; NaT:
    never), not_judged (conditions on signals that a log does not have, in words). No whole week
    gives no rows.
    """
    columns = ["rule", "advisor", "workload", "week", "not_judged"]
    if weeks.empty:
        return pd.DataFrame(columns=columns)
    names = sorted(weeks["workload"].unique())
    mondays = sorted(weeks["week"].unique())
    unknown = np.full((len(names), len(mondays)), np.nan)
    signals = log_signals(weeks)
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

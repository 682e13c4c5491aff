"""Facts from the request log: volume, retries, failures, outages."""

import pandas as pd

from llmstudy.decide.facts.grounds import Grounds, stated
from llmstudy.decide.judge import Fact
from llmstudy.measures.summary import FAILURE_REQUESTS
from llmstudy.text import count, share
from llmstudy.units import HOURS_PER_MONTH

_MINUTE = pd.Timedelta(minutes=1)

_BASIS = "request log"


def logged_requests(grounds: Grounds) -> Fact:
    """The number of requests in the log."""
    traffic = grounds.case.traffic
    return stated(traffic.rows_read - len(traffic.quarantined) or None, "requests", _BASIS)


def retry_share(grounds: Grounds) -> Fact:
    """The highest retry share of any workload."""
    name, workload = max(grounds.study.workloads.items(), key=lambda x: x[1].retry_share.value)
    figure = workload.retry_share
    words = f"{share(figure.value)} of requests are sent again"
    return Fact(figure.value, "share", figure.grade, f"workloads.{name}.retry_share", words)


def failed_share(grounds: Grounds) -> Fact:
    """The share of logged requests that failed."""
    if not _shows_failures(grounds.logged):
        return Fact(None, "share", "simulated", _BASIS, "no log that keeps failures")
    failed = 1 - float(grounds.logged["ok"].mean())
    return stated(failed, "share", _BASIS, f"{share(failed)} of logged requests got no answer")


def outage_minutes(grounds: Grounds) -> Fact:
    """Minutes of outage a month: those in which at least half of the logged requests failed."""
    minutes = minutes_failing(grounds.logged) if _shows_failures(grounds.logged) else None
    if minutes is None:
        return Fact(None, "minutes/month", "simulated", _BASIS, "no log that keeps failures")
    words = f"{count(minutes)} minutes a month with half of the requests failing"
    return stated(minutes, "minutes/month", _BASIS, words)


def _shows_failures(requests: pd.DataFrame) -> bool:
    """Whether a log records failures: a long log without a single one has probably dropped them."""
    return len(requests) > 0 and (len(requests) < FAILURE_REQUESTS or not requests["ok"].all())


_FEWEST_PER_MINUTE = 5
"""Requests below which a minute cannot show an outage."""


def minutes_failing(requests: pd.DataFrame) -> float | None:
    """Minutes a month (of 730 h) in which at least half of the requests failed.

    requests: ts_start and ok of logged requests. Only minutes with at least five requests count;
    None where there is no such minute.

    >>> log = pd.DataFrame({"ts_start": pd.date_range("2026-11-02", periods=7300 * 6, freq="10s",
    ...                                               tz="UTC"), "ok": True})
    >>> log.loc[600:629, "ok"] = False  # five of 7,300 minutes
    >>> minutes_failing(log)
    30.0
    """
    by_minute = requests["ok"].groupby(requests["ts_start"].dt.floor(_MINUTE)).agg(["size", "mean"])
    judged = by_minute[by_minute["size"] >= _FEWEST_PER_MINUTE]
    if judged.empty:
        return None
    return float((judged["mean"] <= 0.5).mean() * HOURS_PER_MONTH * 60)


def format_failures(grounds: Grounds) -> Fact:
    """The highest format failure share of any workload."""
    counted = {
        name: workload.format_failure_share
        for name, workload in grounds.study.workloads.items()
        if workload.format_failure_share is not None
    }
    if not counted:
        basis = "workloads: format_failure_share"
        return Fact(None, "share", "assumed", basis, "not counted yet")
    name, figure = max(counted.items(), key=lambda x: x[1].value)
    basis = f"workloads.{name}.format_failure_share"
    return Fact(figure.value, "share", figure.grade, basis, f"{share(figure.value)} on {name}")

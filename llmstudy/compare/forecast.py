"""Was the last memo right about the bill? Its monthly forecasts against the bills.

A run forecasts the bill of each month from its own day on, with an 80 % range (`monthly_bills` of
chapter 06). A calendar month overlaps two such months and takes its days from each. The error of a
forecast is the bill minus the forecast median.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from scipy.stats import binomtest

from llmstudy import text
from llmstudy.study import Invoice
from llmstudy.units import DAYS_PER_MONTH, month_start

NOMINAL_COVERAGE = 0.8
"""Share of months that should be in their range, which is P10 to P90."""

_ENDS = ("p10_usd", "p50_usd", "p90_usd")


def against_actual(
    forecasts: Sequence[Mapping[str, Any]],
    as_of: date,
    then_routes: Mapping[str, str],
    now_routes: Mapping[str, str],
    bills: Iterable[Invoice],
) -> dict[str, Any] | None:
    """Each month's bill against its forecast, and how good the forecasts were.

    forecasts: rows of `simulate.invoices.monthly_bills`. as_of: the day of the forecasts.
    then_routes, now_routes: workload -> its route on that day, and when the bills were issued.
    bills: per month at most one of each workload, and one of all workloads (`workload` None).

    Returns: None without a bill to compare, else
    - `months`: rows {month, workload, p10_usd, p50_usd, p90_usd, actual_usd, error_usd,
      error_share, inside, source, summed}; summed: whether the ranges of several forecasts were
      added up, which is exact only if they are perfectly correlated
    - `summary`: rows {workload, months, inside, coverage_share, coverage_low, coverage_high,
      bias_usd, bias_share, mean_abs_error_share}, one per workload, then for all; bias is the mean
      error, as a share of the mean forecast; the interval of coverage is Clopper and Pearson's at
      95 %, for independent months
    - `not_compared`: rows {month, workload, reason}

    Source: Hyndman and Athanasopoulos (2021), Forecasting: Principles and Practice, 3rd ed., 5.8-9.
    """
    months, left_out = [], []
    for bill in sorted(bills, key=lambda bill: (not bill.workload, bill.workload, bill.month)):
        place = {"month": bill.month, "workload": bill.workload}
        rows, why = _forecasts(forecasts, bill.workload, then_routes, now_routes)
        weights = _days(as_of, bill, len(rows[0]["p50_usd"])) if rows else {}
        if rows and not weights:
            why = "it does not lie within the months that were forecast"
        if why:
            left_out.append({**place, "reason": why})
        else:
            months.append(place | _row(rows, weights, bill))
    if not months and not left_out:
        return None
    workloads = dict.fromkeys(row["workload"] for row in months)
    summary = [_summary(name, [r for r in months if r["workload"] == name]) for name in workloads]
    return {"months": months, "summary": summary, "not_compared": left_out}


def _forecasts(
    forecasts: Sequence[Mapping[str, Any]],
    workload: str | None,
    then_routes: Mapping[str, str],
    now_routes: Mapping[str, str],
) -> tuple[list[Mapping[str, Any]], str]:
    """The forecasts of a bill, or why there are none."""
    by_place = {(row["workload"], row["route"]): row for row in forecasts}
    if workload is None and dict(then_routes) == dict(now_routes) and (None, None) in by_place:
        return [by_place[None, None]], ""
    places = [
        (n, now_routes[n]) for n in ([workload] if workload else now_routes) if n in now_routes
    ]
    for place in places or [(workload or "", "")]:
        if place not in by_place:
            return [], f"nothing was forecast of {place[0]} on {place[1] or 'any route'}"
    return [by_place[place] for place in places], ""


def _days(as_of: date, bill: Invoice, horizon: int) -> dict[int, int]:
    """Days of a calendar month in each month of the forecast; empty if any day is outside.

    >>> bill = Invoice(month="2026-12", usd=1, source="invoice")
    >>> _days(date(2026, 11, 23), bill, 24), _days(date(2026, 12, 2), bill, 24)
    ({0: 22, 1: 9}, {})
    """
    if bill.begins < as_of or bill.ends > month_start(as_of, horizon):
        return {}
    days_in = {}
    for month in range(horizon):
        first = max(month_start(as_of, month), bill.begins)
        days = (min(month_start(as_of, month + 1), bill.ends) - first) // timedelta(days=1)
        if days > 0:
            days_in[month] = days
    return days_in


def _row(
    rows: Sequence[Mapping[str, Any]], weights: Mapping[int, int], bill: Invoice
) -> dict[str, Any]:
    p10, p50, p90 = (
        sum(days / DAYS_PER_MONTH * row[end][m] for row in rows for m, days in weights.items())
        for end in _ENDS
    )
    error = bill.usd - p50
    return {
        "p10_usd": p10,
        "p50_usd": p50,
        "p90_usd": p90,
        "actual_usd": bill.usd,
        "error_usd": error,
        "error_share": error / p50 if p50 > 0 else None,
        "inside": p10 <= bill.usd <= p90,
        "source": bill.source,
        "summed": len(rows) > 1,
    }


def _summary(workload: str | None, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    n, inside = len(rows), sum(row["inside"] for row in rows)
    ends = binomtest(inside, n, NOMINAL_COVERAGE).proportion_ci(0.95)
    forecast = sum(row["p50_usd"] for row in rows)
    shares = [abs(row["error_share"]) for row in rows if row["error_share"] is not None]
    bias = sum(row["error_usd"] for row in rows) / n
    return {
        "workload": workload,
        "months": n,
        "inside": inside,
        "coverage_share": inside / n,
        "coverage_low": float(ends.low),
        "coverage_high": float(ends.high),
        "bias_usd": bias,
        "bias_share": bias * n / forecast if forecast > 0 else None,
        "mean_abs_error_share": sum(shares) / len(shares) if shares else None,
    }


def forecast_sentences(forecast: Mapping[str, Any] | None) -> list[str]:
    """How good the last forecasts were, a sentence per workload, for a memo.

    >>> forecast_sentences(None)
    ['No month has been billed since the last memo: its forecast cannot be checked yet.']
    """
    if forecast is None:
        return ["No month has been billed since the last memo: its forecast cannot be checked yet."]
    sentences = [_sentence(row) for row in forecast["summary"]]
    if left := forecast["not_compared"]:
        first = left[0]
        of = f" of {first['workload']}" if first["workload"] else ""
        more = f", and {len(left) - 1} more" if len(left) > 1 else ""
        sentences.append(f"Not compared: {first['month']}{of} ({first['reason']}){more}.")
    return sentences


def _sentence(row: Mapping[str, Any]) -> str:
    n, share = row["months"], row["bias_share"]
    whose = f"The bill of {row['workload']}" if row["workload"] else "The whole bill"
    difference = "was what was forecast"
    if row["bias_usd"]:
        by = text.usd(abs(row["bias_usd"])) if share is None else text.share(abs(share))
        difference = f"was {by} {'above' if row['bias_usd'] > 0 else 'below'} the forecast"
    months = "month" if n == 1 else "months"
    seldom = row["coverage_high"] < NOMINAL_COVERAGE
    judgement = "too seldom for" if seldom else "not too seldom, for so few, for"
    return (
        f"{whose} {difference} over {n} {months}. It lay in its range in {row['inside']} of {n}: "
        f"{judgement} one that should hold {text.share(NOMINAL_COVERAGE)}."
    )

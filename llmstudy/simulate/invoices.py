"""Predicts the invoice of each month, and computes those of the months in a log.

An invoice has what a provider charges: tokens, tools and provisioned throughput on an API; GPUs on
a fleet. Other costs (evaluations, migrations, a team) are in no invoice.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from llmstudy.evidence.case import Case
from llmstudy.evidence.offers import billed, billed_as
from llmstudy.figure import FloatArray
from llmstudy.measures.cost import Offer, TokenPrice
from llmstudy.requests.plausible import stretches
from llmstudy.simulate import bills, draws
from llmstudy.simulate.inputs import N_DRAWS, Market, draws_with_paths, pair_inputs
from llmstudy.study import ApiRoute, Invoice, Study

_ENDS = (0.1, 0.5, 0.9)

_BILLED = [
    *("ts_start", "workload", "provider", "model_served"),
    *("input_tokens", "cached_input_tokens", "output_tokens", "failed_attempts"),
]
"""What the bill of a logged request depends on."""


def monthly_bills(study: Study, offers: Market, candidates: pd.DataFrame) -> list[dict[str, Any]]:
    """The invoice of each month of the horizon on each route, with its 80 % range.

    candidates: workload, route of each permitted move. Bills are not discounted. A
    candidate's includes today's route until its canary is over, for a move that begins on the
    plan's day, without dual running. Rows: workload and route (both null: all workloads on today's
    routes), p10_usd, p50_usd, p90_usd: lists, one number per month. A workload whose current route
    has no offer has no row, and then there is no row of all workloads.
    """
    rows, total = [], np.zeros((N_DRAWS, study.months))
    billed = 0
    for name, workload in study.workloads.items():
        today = workload.current_route
        if offers.offer(name, today) is None:
            continue
        stay, _ = invoiced(study, offers, name, today)
        total, billed = total + stay, billed + 1
        rows.append(_row(name, today, stay))
        for route in candidates.loc[candidates["workload"] == name, "route"]:
            if offers.offer(name, route) is not None:
                go, moved = invoiced(study, offers, name, route)
                rows.append(_row(name, route, stay + (go - stay) * moved))
    whole = [_row(None, None, total)] if rows and billed == len(study.workloads) else []
    return [*rows, *whole]


def invoiced(study: Study, offers: Market, name: str, route: str) -> tuple[FloatArray, FloatArray]:
    """The bill of each month if it serves everything, and the share served. (n, months) each.

    Raises: ValueError as `Market.priced`.
    """
    months, offer = study.months, offers.priced(name, route)
    d = draws_with_paths(study, name, pair_inputs(study, offers, name, route))
    if route == study.workloads[name].current_route:
        d = bills.of_today(d)
    bill = invoice_usd(offer, d, bills.volumes(d, months), months)
    return bill, bills.moved_share(bills.served_from(d), months)


def invoice_usd(offer: Offer, d: draws.Draws, requests: FloatArray, months: int) -> FloatArray:
    """The invoice of each month for a volume path. requests: (n, months). Returns usd alike."""
    if isinstance(offer, TokenPrice):
        usd = requests * bills.usd_per_request(offer, d, months) + d["provisioned"][:, None]
        return np.asarray(usd)
    return bills.fleet_rent_usd(offer, d, requests, months)


def _row(name: str | None, route: str | None, bills: FloatArray) -> dict[str, Any]:
    ends = np.quantile(bills, _ENDS, axis=0)
    amounts = zip(("p10_usd", "p50_usd", "p90_usd"), ends, strict=True)
    return {"workload": name, "route": route} | {key: usd.tolist() for key, usd in amounts}


def logged_bills(case: Case) -> list[Invoice]:
    """The bill of each whole calendar month of the log, at list or negotiated prices.

    A month is whole if the log begins before its second day, ends after its last but one (UTC) and
    has no hole between.
    Only workloads on an API are priced, on today's route and at the month's first day: a month's
    tokens, failed attempts included, without tools or throughput bought ahead. Where every workload
    is logged and on an API, a month of all is given too.
    """
    study, logged = case.study, set(case.study.workloads) - set(case.traffic.simulated)
    on_api = [
        name
        for name, workload in study.workloads.items()
        if name in logged and isinstance(study.routes[workload.current_route], ApiRoute)
    ]
    invoices = [bill for name in on_api for bill in _months(case, name)]
    if len(on_api) < len(study.workloads):
        return invoices
    return [*invoices, *_summed(invoices, len(on_api))]


def _months(case: Case, name: str) -> Iterable[Invoice]:
    rows, workload = case.traffic.of(name), case.study.workloads[name]
    times, covered = rows["ts_start"], stretches(rows["ts_start"])
    day = pd.Timedelta(days=1)
    # months are those of UTC
    first, last = (at.tz_convert("UTC").tz_localize(None) for at in (times.min(), times.max()))
    for month in pd.period_range(first, last, freq="M"):
        begins, ends = (
            pd.Timestamp(x, tz="UTC") for x in (month.start_time, (month + 1).start_time)
        )
        within = (times >= begins) & (times < ends)
        whole = (covered["start"] <= begins + day) & (covered["end"] >= ends - day)
        if whole.any() and within.any():
            part = rows.loc[within, _BILLED]
            assumed = (part["input_tokens"] * workload.cached_input_share.value).round()
            cached = part["cached_input_tokens"].fillna(assumed).astype("int64")
            attempts = 1 + part["failed_attempts"].fillna(0).astype("int64")
            parts = billed_as(case.study, workload.current_route, part, cached, attempts)
            usd = sum(billed(parts, begins.date()))
            yield Invoice(
                month=str(month),
                usd=usd * case.traffic.per_row.get(name, 1.0),
                source=f"log: {len(part):,} requests at the price of their month",
                workload=name,
            )


def _summed(bills: Iterable[Invoice], workloads: int) -> Iterable[Invoice]:
    by_month: dict[str, list[Invoice]] = {}
    for bill in bills:
        by_month.setdefault(bill.month, []).append(bill)
    for month, parts in sorted(by_month.items()):
        if len(parts) == workloads:
            usd = sum(part.usd for part in parts)
            yield Invoice(month=month, usd=usd, source="log: all workloads together")

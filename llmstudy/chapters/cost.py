"""Chapter 02: what each token-billed route costs, what controls would save, which limits bind.

The controls are those of MEMO S10; the limits are those on requests and tokens per minute. A limit
excludes no route, since providers raise it on request; a limit that the study does not state is
shown as such.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import cache, partial
from typing import Any

import numpy as np
import pandas as pd

from llmstudy import simulate
from llmstudy.evidence.case import Case, Tables, contenders, covers_week
from llmstudy.evidence.offers import priced_model, scheduled_prices, token_offer
from llmstudy.figure import FloatArray
from llmstudy.measures import rate_limits
from llmstudy.measures.capacity.sizing import Burstiness, burstiness_of, published_burstiness
from llmstudy.measures.cost import (
    TokenPrice,
    Use,
    control_savings,
    largest_tenant_share,
    month_bills,
    usd_per_million_tokens,
)
from llmstudy.prices import PricedModel
from llmstudy.simulate.breakdown import price_frame, request_usage
from llmstudy.simulate.inputs import draws_with_paths, inputs, output_ratio, spread
from llmstudy.study import ApiRoute, Study, bundled_figures
from llmstudy.units import HOURS_PER_MONTH


def cost_tables(case: Case) -> Tables:
    """The bills of each API route that may serve a workload and of today's, and what drives them.

    Returns: `offers` (`TokenPrice` as a dictionary, by workload and route), `bills` (`api_bills`),
    `output_tokens`, `scheduled` (`scheduled_bills`), `rate_limits` (`rate_limit_rows`), `controls`
    (`cost_controls`).
    """
    offers = token_offers(case)
    usage = usage_of(case, offers)
    bills = api_bills(case, offers, usage)
    return {
        "offers": offers_by_workload(offers),
        "bills": bills,
        "output_tokens": output_tokens(case.study),
        "scheduled": scheduled_bills(case, bills, usage),
        "rate_limits": rate_limit_rows(case),
        "controls": cost_controls(case, offers),
    }


Offers = Mapping[str, Mapping[str, TokenPrice]]
"""The mean price of a request, by workload and route."""


def token_offers(case: Case) -> Offers:
    """The mean price of a request on each API route that may serve a workload.

    Each request of the workload is priced (`evidence.offers.token_offer`).
    """
    offers = {}
    for name, routes in contenders(case.study).items():
        requests = case.traffic.of(name)
        offers[name] = {
            route: token_offer(case.study, route, requests)
            for route in routes
            if case.study.routes[route].arm != "self_hosted"
        }
    return offers


def offers_by_workload(offers: Offers) -> dict[str, dict[str, dict[str, Any]]]:
    """Offers as dictionaries, by workload and route, as results hold them."""
    return {
        name: {route: asdict(offer) for route, offer in of_name.items()}
        for name, of_name in offers.items()
    }


def models_of(case: Case, workload: str) -> dict[str, PricedModel]:
    """The models of a workload's token-billed routes, by route, for `price_requests`."""
    routes = {name: case.study.routes[name] for name in contenders(case.study)[workload]}
    return {n: priced_model(spec) for n, spec in routes.items() if isinstance(spec, ApiRoute)}


def usage_of(case: Case, offers: Offers) -> pd.DataFrame:
    """The usage of each route with an offer: `breakdown.request_usage`."""
    pairs = [(name, route) for name, of_name in offers.items() for route in of_name]
    return request_usage(case.study, pairs)


def api_bills(
    case: Case, offers: Offers | None = None, usage: pd.DataFrame | None = None
) -> pd.DataFrame:
    """The monthly bill of each API route that may serve a workload, at today's prices and volumes.

    usage: `usage_of`, or a changed copy of it.
    Columns: workload, route, arm, current, usd_per_request, usd_per_mtok (per million tokens as the
    workload counts them), month_usd, scheduled_change (the largest announced price change, share).
    """
    offers = token_offers(case) if offers is None else offers
    usage = usage_of(case, offers) if usage is None else usage
    workloads = case.study.workloads
    bills = month_bills(price_frame(offers, usage), usage).reset_index()
    counted = {
        name: w.intake.input_tokens.value + w.intake.output_tokens.value
        for name, w in workloads.items()
    }
    current = {name: w.current_route for name, w in workloads.items()}
    listed = [offers[name][route] for name, route in usage.index]
    changes = [max(o.month_factors, key=lambda x: abs(np.log(x))) - 1 for o in listed]
    bills.insert(2, "arm", [offer.arm for offer in listed])
    bills.insert(3, "current", bills["route"] == bills["workload"].map(current))
    tokens = np.array([counted[name] for name in bills["workload"]])
    per_mtok = usd_per_million_tokens(bills["usd_per_request"].to_numpy(), 1.0, tokens)
    bills.insert(5, "usd_per_mtok", per_mtok)
    return bills.assign(scheduled_change=changes)


def largest_bill(bills: pd.DataFrame) -> str:
    """The workload with the largest bill on today's route; the first workload if none has a bill.

    bills: `api_bills`.
    """
    today = bills[bills["current"]].sort_values("month_usd", ascending=False)
    return str(pd.concat([today, bills])["workload"].iloc[0])


def scheduled_bills(case: Case, bills: pd.DataFrame, usage: pd.DataFrame) -> pd.DataFrame:
    """The monthly bill from each day on which an announced price takes effect.

    bills: `api_bills` of this usage. Columns: workload, route, effective, month_usd. The cost of
    tools does not change.
    """
    tool_usd = usage["tool_usd"] * usage["requests_per_month"]
    rows = []
    for name, of_name in bills.groupby("workload", sort=False):
        requests = case.traffic.of(str(name))
        for route, bill_usd in zip(of_name["route"], of_name["month_usd"], strict=True):
            tools = float(tool_usd[name, route])
            for day, factor in scheduled_prices(case.study, route, requests):
                month_usd = (bill_usd - tools) * factor + tools
                rows.append((name, route, day, month_usd))
    return pd.DataFrame(rows, columns=["workload", "route", "effective", "month_usd"])


def output_tokens(study: Study) -> pd.DataFrame:
    """The output tokens per request on each route that may serve a workload, fleets included.

    Columns: workload, route, model, output_tokens (of a request, reasoning included), ratio, low,
    high (over the output tokens of today's model: value, P10 and P90), grade, source.
    """
    rows = []
    for name, routes in contenders(study).items():
        counted = study.workloads[name].intake.output_tokens.value
        for route in routes:
            _, ratio = output_ratio(study, name, route)
            rows.append(
                {
                    "workload": name,
                    "route": route,
                    "model": study.routes[route].model,
                    "output_tokens": counted * ratio.value,
                    "ratio": ratio.value,
                    "low": ratio.low,
                    "high": ratio.high,
                    "grade": ratio.grade if ratio.uncertain else None,
                    "source": ratio.source,
                }
            )
    return pd.DataFrame(rows)


def cost_controls(case: Case, offers: Offers) -> pd.DataFrame:
    """The cost controls of each workload that runs on an API today, largest saving first.

    A workload on a fleet has no row: a fleet is paid by the hour, so a control saves nothing until
    a replica can go. Columns: workload, route, then those of `cost.control_savings`.
    """
    figures = bundled_figures()
    parts = []
    for name, workload in case.study.workloads.items():
        route = workload.current_route
        if route not in offers[name]:
            continue
        rows = control_savings(offers[name][route], _use(case, name), figures)
        rows = rows.sort_values("saving_usd", ascending=False, na_position="last", kind="stable")
        parts.append(rows.assign(workload=name, route=route))
    if not parts:
        return pd.DataFrame()
    table = pd.concat(parts, ignore_index=True)
    return table[["workload", "route", *table.columns.drop(["workload", "route"])]]


def _use(case: Case, name: str) -> Use:
    """How a workload uses its API today; the largest tenant is known only from a log."""
    workload = case.study.workloads[name]
    intake = workload.intake
    logged = name not in case.traffic.simulated
    return Use(
        requests=intake.requests.value,
        input_tokens=intake.input_tokens.value,
        output_tokens=intake.output_tokens.value,
        cached_input_share=workload.cached_input_share.value,
        cache_write_share=workload.cache_write_share.value,
        retry_share=workload.retry_share.value,
        largest_tenant_share=largest_tenant_share(case.traffic.of(name)) if logged else None,
    )


NOT_STATED = "not stated"


def rate_limit_rows(case: Case) -> list[dict[str, Any]]:
    """The busiest minute of each workload on each API route against the route's rate limit.

    A route carries the whole workload on top of what it carries today, as if their peaks coincided.
    No rows if no route of the study states a limit.

    Rows: workload, route, counted (requests, tokens, or "not stated": the rest is null), per_minute
    (the limit), busiest_p10, busiest_p50, busiest_p90 (per minute, today), p_reached_today,
    from_month_p10, from_month_p50, from_month_p90 (month, from 1, in which the limit is reached;
    null: not within the horizon), beside (other workloads on the route).
    """
    routes = case.study.routes
    if not any(isinstance(spec, ApiRoute) and spec.rate_limit for spec in routes.values()):
        return []
    # of a workload on its route beside many others
    busiest = cache(partial(_busiest, case, cache(partial(_irregularity, case))))
    return [
        row
        for name, served in contenders(case.study).items()
        for route in served
        for row in _limit_rows(case, name, route, busiest)
    ]


def _limit_rows(
    case: Case, name: str, route: str, busiest: Callable[[str, str, str], FloatArray]
) -> list[dict[str, Any]]:
    study, spec = case.study, case.study.routes[route]
    if not isinstance(spec, ApiRoute):
        return []
    beside = [n for n, w in study.workloads.items() if w.current_route == route and n != name]
    about = {"workload": name, "route": route}
    if spec.rate_limit is None:
        nothing = ("per_minute", *_keys("busiest"), "p_reached_today", *_keys("from_month"))
        return [about | {"counted": NOT_STATED} | dict.fromkeys(nothing) | {"beside": ""}]
    stated = {
        "requests": spec.rate_limit.requests_per_minute,
        "tokens": spec.rate_limit.tokens_per_minute,
    }
    rows = []
    for counted, limit in stated.items():
        if limit is None:
            continue
        demand = sum(busiest(each, route, counted) for each in (name, *beside))
        assert isinstance(demand, np.ndarray)
        months = simulate.band(rate_limits.reached_from(demand, limit.value))
        rows.append(
            about
            | {"counted": counted, "per_minute": limit.value}
            | {f"busiest_{end}": x for end, x in spread(demand[:, 0]).items()}
            | {"p_reached_today": float((demand[:, 0] >= limit.value).mean())}
            | dict(zip(_keys("from_month"), months, strict=True))
            | {"beside": ", ".join(beside)}
        )
    return rows


def _keys(of: str) -> list[str]:
    return [f"{of}_{end}" for end in ("p10", "p50", "p90")]


def _busiest(
    case: Case,
    irregularity: Callable[[str], tuple[float, Burstiness]],
    name: str,
    route: str,
    counted: str,
) -> FloatArray:
    """The requests or tokens in the busiest minute of each month, for a workload. (n, months)."""
    study = case.study
    d = draws_with_paths(study, name, inputs(study, name, route, None))
    months, (tokens_cv, bursts) = study.months, irregularity(name)
    sent = simulate.volumes(d, months) * (1 + d["retry_share"][:, None])
    per_minute = sent * d["peak_to_mean"][:, None] / (HOURS_PER_MONTH * 60)
    size, size_cv = np.ones_like(per_minute), 0.0
    if counted == "tokens":
        prompts = (d["input_tokens"] * d["tokenizer"])[:, None] * simulate.prompt_lengths(d, months)
        size = prompts + simulate.answer_tokens(d)[:, None]
        size_cv = tokens_cv
    burst_cv = rate_limits.minute_cv(bursts.cv_10min, bursts.cv_10s)
    return rate_limits.busiest_minute(per_minute, size, size_cv, burst_cv)


def _irregularity(case: Case, name: str) -> tuple[float, Burstiness]:
    """The coefficient of variation of the tokens of a request, and the burstiness of the log if it
    covers a week, else that of the published shape."""
    rows = case.traffic.of(name)
    tokens = (rows["input_tokens"] + rows["output_tokens"]).to_numpy(dtype=float)
    tokens_cv = float(tokens.std() / tokens.mean()) if tokens.mean() else 0.0
    if not covers_week(case, name):
        return tokens_cv, published_burstiness(case.study.workloads[name].traffic.hours)
    times = rows["ts_start"]
    since_s = (times - times.min().floor("h")).dt.total_seconds().to_numpy()
    return tokens_cv, burstiness_of(since_s)

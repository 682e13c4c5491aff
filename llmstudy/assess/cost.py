"""Chapter 02: what every token-billed route charges every workload."""

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pandas as pd

from llmstudy import evidence
from llmstudy import uncertainty as mc
from llmstudy.assess.case import Case, Results, Tables, contenders, rows_of
from llmstudy.assess.cost_control import cost_controls
from llmstudy.assess.limits import rate_limit_rows
from llmstudy.assess.market import figures_of, inputs, output_ratio
from llmstudy.cost import TokenPrice, usd_per_accepted_answer, usd_per_million_tokens
from llmstudy.study import Study


def cost_tables(case: Case) -> Tables:
    """What each API route that may serve a workload charges it, and today's whether it may or not.

    Offers are kept whole for the later chapters. `scheduled` has a month's bill from each day on
    which an announced price begins.
    """
    study = case.study
    offers: dict[str, dict[str, TokenPrice]] = {}
    bills, scheduled = [], []
    for name, routes in contenders(study).items():
        offers[name] = {}
        for route in routes:
            if study.routes[route].arm == "self_hosted":
                continue
            requests = case.traffic.of(name)
            offer = evidence.token_offer(study, route, requests)
            steps = evidence.scheduled_prices(study, route, requests)
            offers[name][route] = offer
            bills.append(bill(study, name, route, offer))
            scheduled += [
                {
                    "workload": name,
                    "route": route,
                    "effective": day,
                    "month_usd": bill(study, name, route, offer, factor)["month_usd"],
                }
                for day, factor in steps
            ]
    kept = {
        name: {route: asdict(offer) for route, offer in of_name.items()}
        for name, of_name in offers.items()
    }
    return {
        "offers": kept,
        "bills": pd.DataFrame(bills),
        "output_tokens": output_token_rows(study),
        "scheduled": scheduled,
        "rate_limits": rate_limit_rows(case),
        "controls": cost_controls(case, offers),
    }


def output_token_rows(study: Study) -> list[dict[str, Any]]:
    """How much each route that may serve writes for a request, fleets among them.

    Rows: workload, route, model, output_tokens (of a request, reasoning included), ratio, low, high
    (over the tokens that the workload counts: value, P10 and P90), grade, source.
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
    return rows


def bill(
    study: Study, name: str, route: str, offer: TokenPrice, price_factor: float = 1.0
) -> dict[str, Any]:
    """What a route charges a workload at its central figures and so many times today's prices.

    Returns: a row of `bills`.
    """
    workload = study.workloads[name]
    d = mc.central(figures_of(inputs(study, name, route, None)))
    then = replace(offer, month_factors=(price_factor,))
    per_request = float(mc.usd_per_request(then, d, 1)[0, 0])
    tokens = workload.intake.input_tokens.value + workload.intake.output_tokens.value
    return {
        "workload": name,
        "route": route,
        "arm": offer.arm,
        "current": route == workload.current_route,
        "usd_per_request": per_request,
        "usd_per_mtok": float(usd_per_million_tokens(per_request, 1.0, tokens)),
        "month_usd": per_request * workload.intake.requests.value,
        "scheduled_change": max(offer.month_factors, key=lambda x: abs(np.log(x))) - 1,
    }


def accepted_answer_costs(results: Results) -> pd.DataFrame:
    """Cost per accepted answer of each scored route, and of today's on the same items.

    Columns: workload, pair (the scored route: two rows, today's and its own), route, current,
    benchmark (whose items), usd_per_request, acceptance (share), usd_per_accepted_answer.
    """
    bills = {
        (r["workload"], r["route"]): r["usd_per_request"]
        for r in [*results["02_cost"]["bills"], *results["05_self_hosting"]["fleets"]]
    }
    today = {
        r["workload"]: r["route"]
        for r in rows_of(results["06_crossover"]["permissions"], current=True)
    }
    rows = []
    for row in results["04_quality"]["quality"]:
        name, pair = row["workload"], row["route"]
        for route, acceptance in (
            (today[name], row["acceptance_current"]),
            (pair, row["acceptance_route"]),
        ):
            usd = bills.get((name, route))
            if acceptance and usd is not None:
                accepted = float(usd_per_accepted_answer(usd, acceptance))
                about = (name, pair, route, route != pair, row["benchmark"])
                rows.append((*about, usd, acceptance, accepted))
    columns = ["workload", "pair", "route", "current", "benchmark", "usd_per_request", "acceptance"]
    return pd.DataFrame(rows, columns=[*columns, "usd_per_accepted_answer"])

"""Chapter 02: what every token-billed route charges every workload."""

from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from llmstudy import evidence
from llmstudy import uncertainty as mc
from llmstudy.assess.case import Case, Results, Tables
from llmstudy.assess.market import figures_of, inputs
from llmstudy.cost import TokenPrice, usd_per_accepted_answer, usd_per_million_tokens
from llmstudy.study import (
    Study,
)


def cost_tables(case: Case) -> Tables:
    """What each API route charges each workload. Offers are kept whole for the later chapters."""
    study = case.study
    offers: dict[str, dict[str, Any]] = {}
    bills = []
    for name, workload in study.workloads.items():
        offers[name] = {}
        for route in workload.routes:
            if study.routes[route].arm == "self_hosted":
                continue
            offer = evidence.token_offer(study, route, case.traffic.of(name))
            offers[name][route] = asdict(offer)
            bills.append(_bill(study, name, route, offer))
    return {"offers": offers, "bills": pd.DataFrame(bills)}


def _bill(study: Study, name: str, route: str, offer: TokenPrice) -> dict[str, Any]:
    workload = study.workloads[name]
    d = mc.central(figures_of(inputs(study, name, route, None)))
    per_request = float(mc.usd_per_request(offer, d, 1)[0, 0])
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
    """Cost per accepted answer of today's and each scored route, from the same paired items.

    Columns: workload, route, usd_per_request, acceptance, usd_per_accepted_answer.
    """
    bills = {
        (r["workload"], r["route"]): r["usd_per_request"]
        for r in [*results["02_cost"]["bills"], *results["05_self_hosting"]["fleets"]]
    }
    rows = []
    for row in results["04_quality"]["quality"]:
        key = (row["workload"], row["route"])
        if not row["acceptance_route"] or key not in bills:
            continue
        usd = bills[key]
        accepted = float(usd_per_accepted_answer(usd, row["acceptance_route"]))
        rows.append((*key, usd, row["acceptance_route"], accepted))
    columns = ["workload", "route", "usd_per_request", "acceptance", "usd_per_accepted_answer"]
    return pd.DataFrame(rows, columns=columns)

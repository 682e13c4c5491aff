"""Chapter 03: the first token of every route against its target."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from llmstudy import latency
from llmstudy.assess.case import Case, Tables, contenders
from llmstudy.figure import Figure
from llmstudy.study import ApiRoute


def latency_tables(case: Case, hosting: Mapping[str, Any]) -> Tables:
    """First-token latency of each route that may serve, and today's, against its target.

    Only a measurement can meet or miss a target; a claim leaves it undecided. A self-hosted route
    that cannot serve the workload at all misses it.
    """
    bounds = {(f["workload"], f["route"]): f for f in hosting["fleets"]}
    failed = {(f["workload"], f["route"]) for f in hosting["failures"]}
    rows = []
    for name, routes in contenders(case.study).items():
        workload = case.study.workloads[name]
        for route in routes:
            spec = case.study.routes[route]
            row: dict[str, Any] = {"workload": name, "route": route, "arm": spec.arm}
            row["target_s"] = workload.slo.ttft_p95.value
            if isinstance(spec, ApiRoute):
                row |= _api_latency(case, name, route, spec)
            elif (name, route) in failed:
                row |= _latency_row(None, None, None, "misses", "published")
            else:
                bound = bounds[name, route]["ttft_lower_bound_s"]
                row |= _latency_row(None, bound, None, "undecided", "published")
            rows.append(row)
    return {"latency": pd.DataFrame(rows)}


def _latency_row(
    value: float | None, low: float | None, high: float | None, verdict: str, grade: str
) -> dict[str, Any]:
    return {"ttft_p95_s": value, "low_s": low, "high_s": high, "verdict": verdict, "grade": grade}


def _api_latency(case: Case, name: str, route: str, spec: ApiRoute) -> dict[str, Any]:
    workload = case.study.workloads[name]
    target = workload.slo.ttft_p95.value
    requests = case.traffic.of(name)
    if route == workload.current_route and requests["ttft_s"].notna().any():
        streamed = requests[requests["ttft_s"].notna() | ~requests["ok"]]
        seconds = streamed["ttft_s"].where(streamed["ok"], np.inf).to_numpy(dtype=float)
        found = latency.quantile_interval(seconds, 0.95)
        verdict = latency.slo_verdict(found, target)
        value, low, high = (
            None if x is None or np.isinf(x) else x for x in (found.estimate, found.low, found.high)
        )
        return _latency_row(value, low, high, verdict, "measured")
    claim = spec.ttft_p95
    return _latency_row(
        claim.value, claim.low, claim.high, _claim_verdict(claim, target), claim.grade
    )


def _claim_verdict(claim: Figure, target_s: float) -> str:
    """A measured claim decides only when its whole range lies on one side of the target."""
    if claim.grade not in ("measured", "recorded"):
        return "undecided"
    if (claim.value if claim.high is None else claim.high) <= target_s:
        return "meets"
    return "misses" if (claim.value if claim.low is None else claim.low) > target_s else "undecided"

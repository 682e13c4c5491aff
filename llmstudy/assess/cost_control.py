"""Chapter 02: what each control of today's API bill would save (MEMO S10)."""

from collections.abc import Mapping

import pandas as pd

from llmstudy.assess.case import Case
from llmstudy.cost import TokenPrice
from llmstudy.cost_control import Use, control_savings, largest_tenant_share
from llmstudy.study import bundled_figures


def cost_controls(case: Case, offers: Mapping[str, Mapping[str, TokenPrice]]) -> pd.DataFrame:
    """The controls of each workload that runs on an API today, largest saving first within it.

    offers: by workload and route. A fleet of one's own is paid for by the hour: a control frees
    nothing there until a replica can go, so such a workload has no row.
    Columns: workload, route, then those of `cost_control.control_savings`.
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
    found = pd.concat(parts, ignore_index=True)
    return found[["workload", "route", *found.columns.drop(["workload", "route"])]]


def _use(case: Case, name: str) -> Use:
    """How a workload uses its API today, tenants as the log names them."""
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

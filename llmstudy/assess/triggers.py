"""Chapter 07: the facts behind the triggers G1 to G6."""

from collections.abc import Mapping
from typing import Any

from llmstudy import evidence, triggers
from llmstudy.assess.case import Case, Results, logged_weeks, rows_of
from llmstudy.figure import Grade
from llmstudy.study import ApiRoute
from llmstudy.units import HOURS_PER_MONTH

Fact = tuple[triggers.Status, float | None, float | None, Any, str]


def trigger_rows(case: Case, results: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """G1 to G6 of every workload, on the facts that the chapters found."""
    facts = {
        "G1": _utilisation_fact,
        "G2": _latency_fact,
        "G3": _privacy_fact,
        "G4": _vendor_fact,
        "G5": _quality_fact,
        "G6": _format_fact,
    }
    rows = []
    for name in case.study.workloads:
        for about in triggers.trigger_table().to_dict("records"):
            status, value, threshold, grade, said = facts[about["id"]](case, results, name)
            rows.append(
                triggers.Trigger(
                    id=about["id"],
                    workload=name,
                    status=status,
                    value=value,
                    threshold=threshold,
                    unit=about["unit"],
                    grade=grade,
                    evidence=said,
                    owner=about["owner"],
                    sustained_weeks=case.study.thresholds.sustained.value,
                ).row()
                | {"name": about["name"]}
            )
    return rows


def _utilisation_fact(case: Case, results: Results, name: str) -> Fact:
    """G1: mean utilisation of the sized fleet against the one at which it beats today's bill."""
    fleets = rows_of(results["05_self_hosting"]["fleets"], workload=name)
    bills = rows_of(results["02_cost"]["bills"], workload=name, current=True)
    if not fleets or not bills:
        return "not_applicable", None, None, "published", "no self-hosted candidate can serve it"
    fleet = min(fleets, key=lambda row: row["month_usd"])
    full = fleet["capacity_requests_per_s"] * fleet["replicas"] * HOURS_PER_MONTH * 3600
    billed = bills[0]["usd_per_request"]
    # a free route is never beaten, however busy the fleet
    threshold = (
        triggers.break_even_utilisation(fleet["month_usd"], full, billed) if billed else None
    )
    intake = case.study.workloads[name].intake
    if intake.requests.name.startswith("unknown."):
        said = "volume unknown: the prior's median"
    else:
        said = f"{fleet['replicas']} replicas at today's volume"
    weeks = case.study.thresholds.sustained.value
    grade: Grade = intake.requests.grade if logged_weeks(case, name) >= weeks else "assumed"
    return (
        triggers.judge(fleet["utilisation"], threshold, grade),
        fleet["utilisation"],
        threshold,
        grade,
        said,
    )


def _latency_fact(case: Case, results: Results, name: str) -> Fact:
    """G2: the p95 of the first token against its target; only a measurement can fire it."""
    current = case.study.workloads[name].current_route
    row = rows_of(results["03_latency"]["latency"], workload=name, route=current)[0]
    if row["grade"] != "measured":
        return "unknown", None, row["target_s"], row["grade"], "first token not measured yet"
    status: triggers.Status = "fired" if row["verdict"] == "misses" else "armed"
    return status, row["ttft_p95_s"], row["target_s"], "measured", row["source"]


def _privacy_fact(case: Case, results: Results, name: str) -> Fact:
    """G3: contracts that today's route lacks for this data class."""
    if case.study.workloads[name].intake.data_class == "unknown":
        return "unknown", None, 1.0, "assumed", "data not classified yet"
    rows = rows_of(results["06_crossover"]["permissions"], workload=name, current=True)
    missing = 0.0 if rows[0]["permitted"] else float(max(1, len(rows[0]["missing"])))
    return (
        triggers.judge(missing, 1.0, "measured"),
        missing,
        1.0,
        "measured",
        rows[0]["permission_reason"],
    )


def _vendor_fact(case: Case, results: Results, name: str) -> Fact:
    """G4: the largest scheduled price rise of today's route within the horizon, or retirement."""
    study, limit = case.study, case.study.thresholds.price_rise.value
    route = study.workloads[name].current_route
    spec = study.routes[route]
    if not isinstance(spec, ApiRoute):
        return "not_applicable", None, limit, "published", "no vendor sets its price"
    rise = max(results["02_cost"]["offers"][name][route]["month_factors"]) - 1
    ends = evidence.retires_within_horizon(study, route)
    if ends is not None:
        return "fired", rise, limit, "published", f"{spec.model} retires on {ends}"
    said = "scheduled price changes within the horizon"
    return triggers.judge(rise, limit, "published"), rise, limit, "published", said


def _quality_fact(case: Case, results: Results, name: str) -> Fact:
    """G5: lower end of the paired difference of the best open model, above zero or not."""
    rows = [
        row
        for row in rows_of(results["04_quality"]["quality"], workload=name)
        if row["low"] is not None and case.study.routes[row["route"]].arm != "proprietary_api"
    ]
    if not rows:
        return "unknown", None, 0.0, "assumed", "no paired items yet"
    best = max(rows, key=lambda row: row["low"])
    bears = best["grade"] == "measured" or best["lowest_grade"] == "published"
    grade: Grade = best["grade"] if bears else "assumed"
    said = f"{best['route']}, {best['n']:,} {best['grade']} items"
    status = triggers.judge(best["low"], 0.0, grade, inclusive=False)
    return status, best["low"], 0.0, grade, said


def _format_fact(case: Case, results: Results, name: str) -> Fact:
    """G6: share of answers that break the format, against the limit."""
    limit = case.study.thresholds.format_failure.value
    found = case.study.workloads[name].format_failure_share
    if found is None:
        return "unknown", None, limit, "assumed", "format failures not counted yet"
    status = triggers.judge(found.value, limit, found.grade)
    return status, found.value, limit, found.grade, found.source

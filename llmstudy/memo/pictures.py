"""Which chart shows which table of a run, and with which note on its evidence."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from llmstudy import charts
from llmstudy.assess.hosting import curve_tables
from llmstudy.charts import Chart
from llmstudy.memo.facts import INPUTS, Facts
from llmstudy.study import SelfHostedRoute
from llmstudy.text import count, never_or, share


def _grades(facts: Facts, workload: str) -> str:
    evidence = facts.chapters["01_evidence"]
    routes = facts.study.workloads[workload].routes
    starts = tuple(f"routes.{route}.price." for route in routes)
    priced = sorted({f["grade"] for f in evidence["figures"] if f["name"].startswith(starts)})
    row = next(r for r in evidence["workloads"] if r["workload"] == workload)
    return f"{_said(row)} · prices: {', '.join(priced)}"


def _said(row: Mapping[str, Any]) -> str:
    seen = "simulated from published figures" if row["traffic"] == "simulated" else "measured"
    return f"volume: {row['volume_grade']} · requests: {seen}"


def cost_against_volume(facts: Facts, workload: str) -> Chart | None:
    """Monthly cost of each arm against volume, for a workload with more than one arm to compare."""
    curves = pd.DataFrame([r for r in facts.crossing["curves"] if r["workload"] == workload])
    if curves.empty or (curves["p10_usd"] <= 0).any():  # a free route has no place on a log axis
        return None
    today = facts.study.routes[facts.study.workloads[workload].current_route].arm
    crossovers = pd.DataFrame(
        [
            {"to_arm": r["to_arm"], **r["requests_per_month"], "p_never": r["p_never"]}
            for r in facts.crossovers(workload)
            if r["from_arm"] == today
        ]
    )
    if crossovers.empty:
        return None
    now = facts.requests_per_month(workload)
    return charts.cost_against_volume(
        curves,
        crossovers,
        now,
        workload,
        _grades(facts, workload),
    )


def p_never(facts: Facts) -> Chart | None:
    """Share of draws in which no volume makes the other arm cheaper."""
    if not facts.crossing["crossover"]:
        return None
    rows = [{**r, "p50": r["requests_per_month"]["p50"]} for r in facts.crossing["crossover"]]
    table = pd.DataFrame(rows, columns=["workload", "from_arm", "to_arm", "p_never", "p50"])
    return charts.p_never(table, "volumes, prices and serving as graded in the ledger")


def crossover_table(facts: Facts) -> pd.DataFrame:
    """The crossovers with their 80 % range in columns; `never` where there is none."""
    return pd.DataFrame(
        [
            {
                "workload": r["workload"],
                "from": r["from_route"],
                "to": r["to_route"],
                **{k: never_or(v, count) for k, v in r["requests_per_month"].items()},
                "never": share(r["p_never"]),
            }
            for r in facts.crossing["crossover"]
        ],
        columns=["workload", "from", "to", "p10", "p50", "p90", "never"],
    )


def tornado(facts: Facts, inputs: int = 8) -> Chart | None:
    """What decides the saving of the lead workload's best move, where there is one."""
    found = facts.sensitivity()
    if found is None:
        return None
    table = pd.DataFrame(found["inputs"]).head(inputs)
    if table.empty:
        return None
    table["input"] = [INPUTS[name][0] for name in table["input"]]
    subject = f"moving {found['workload']} to {found['route']}"
    return charts.tornado(table, found["base_usd"], subject, _grades(facts, found["workload"]))


def busiest_fleet(facts: Facts) -> Mapping[str, Any] | None:
    """The sized fleet with the highest mean utilisation, where any can serve."""
    fleets = facts.chapters["05_self_hosting"]["fleets"]
    return max(fleets, key=lambda row: row["utilisation"]) if fleets else None


def week_load(facts: Facts, fleet: Mapping[str, Any] | None) -> Chart | None:
    """Load over the hours of a week against a provisioned fleet."""
    if fleet is None:
        return None
    workload = fleet["workload"]
    hours = pd.DataFrame(
        [r for r in facts.chapters["05_self_hosting"]["week"] if r["workload"] == workload]
    )
    return charts.week_load(
        hours,
        fleet["replicas"],
        fleet["replicas"] - fleet["spare"],
        fleet["capacity_requests_per_s"],
        fleet["utilisation"],
        workload,
        f"{_said(fleet)} · hours: {_hours(fleet)}",
    )


def _hours(fleet: Mapping[str, Any]) -> str:
    return "measured" if fleet["week_logged"] else "published shape"


def serving_curve(facts: Facts, fleet: Mapping[str, Any] | None) -> Chart | None:
    """Measured points and fitted curve behind a fleet, at its workload's target."""
    if fleet is None:
        return None
    workload = fleet["workload"]
    spec = facts.study.routes[fleet["route"]]
    assert isinstance(spec, SelfHostedRoute)
    points, curve, error = curve_tables(facts.study, workload, spec)
    return charts.serving_curve(
        points,
        curve,
        1000 * facts.study.workloads[workload].slo.tpot_p95.value,
        fleet["concurrency"],
        spec.model.split("/")[-1],
        spec.gpu,
        error,
        "points: published (vLLM, aiconfigurator-core sample) · curve: fitted",
    )


def quality_forest(facts: Facts) -> Chart | None:
    """Paired differences of every candidate against its margin."""
    table = facts.table("04_quality", "quality")
    return None if table.empty else charts.quality_forest(table)


def quality_in_short(facts: Facts) -> Chart | None:
    """The same, one line per comparison: routes that rest on the same items share it."""
    table = facts.comparisons()
    return None if table.empty else charts.quality_forest(table)


def trigger_status(facts: Facts) -> Chart:
    """The triggers of every workload."""
    return charts.trigger_status(pd.DataFrame(facts.decided["triggers"]))


def phase_timeline(facts: Facts) -> Chart:
    """The phases as dated bars with their gates."""
    table = pd.DataFrame(facts.decided["phases"])
    for column in ("start", "end"):
        table[column] = pd.to_datetime(table[column]).dt.date
    return charts.phase_timeline(table.rename(columns={"exit_gate": "gate"}), facts.study.decide_by)

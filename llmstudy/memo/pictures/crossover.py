"""Where one arm becomes cheaper than another, and how sure that is."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from llmstudy import charts
from llmstudy.charts import Chart
from llmstudy.memo.facts import Facts
from llmstudy.memo.pictures.notes import grades
from llmstudy.text import count, never_or, share


def cost_against_volume(facts: Facts, workload: str) -> Chart | None:
    """Monthly cost of each arm against volume, for a workload with more than one arm to compare."""
    curves = pd.DataFrame([r for r in facts.crossing["curves"] if r["workload"] == workload])
    if curves.empty or (curves["p10_usd"] <= 0).any():  # a free route has no place on a log axis
        return None
    today = facts.study.routes[facts.study.workloads[workload].current_route].arm
    crossovers = pd.DataFrame(
        [
            {key: r[key] for key in ("to_arm", "from_route", "p_never")} | r["requests_per_month"]
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
        grades(facts, workload),
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


def self_hosted_move(facts: Facts) -> Mapping[str, Any] | None:
    """The self-hosted move that comes nearest to paying."""
    rows = [row for row in facts.crossing["savings"] if row["arm"] == "self_hosted"]
    return max(rows, key=lambda row: row["saving_p50_usd"]) if rows else None


def crossover_claims(facts: Facts) -> Chart | None:
    """Where the source memo's advisors say that self-hosting pays, above our bands."""
    move = self_hosted_move(facts)
    if move is None:
        return None
    name = str(move["workload"])
    bands = [
        {key: row[key] for key in ("from_route", "to_route", "p_never")}
        | {"workload": f"from {row['from_route']}"}
        | row["tokens_per_month"]
        for row in facts.crossovers(name)
        if row["to_arm"] == "self_hosted"
    ]
    claims = [row for row in facts.crossing["claims"] if row["workload"] == name]
    if not bands or not claims:
        return None
    return charts.crossover_claims(
        pd.DataFrame(bands), pd.DataFrame(claims), name, grades(facts, name)
    )


def chances(facts: Facts) -> Chart | None:
    """How surely self-hosting is cheaper and good enough, by volume and quality margin."""
    move = self_hosted_move(facts) or next(iter(facts.crossing["savings"]), None)
    if move is None:
        return None
    name, route = str(move["workload"]), str(move["route"])
    rows = [r for r in facts.crossing["chances"] if (r["workload"], r["route"]) == (name, route)]
    if not rows:
        return None
    return charts.p_cheaper_heat(
        pd.DataFrame(rows),
        f"{name} to {route}",
        facts.requests_per_month(name),
        facts.study.thresholds.probability.value,
        f"{grades(facts, name)} · quality from paired items, else assumed",
    )


def cheaper_by_month(facts: Facts) -> Chart | None:
    """How surely each move of the lead workload has paid for itself, month by month."""
    rows = [r for r in facts.crossing["by_month"] if r["workload"] == facts.lead]
    if not rows:
        return None
    line = facts.study.thresholds.probability.value
    return charts.p_cheaper_by_month(pd.DataFrame(rows), line, grades(facts, facts.lead))


def projection(facts: Facts) -> Chart | None:
    """Cumulative cost of each arm for the lead workload."""
    rows = [r for r in facts.crossing["projection"] if r["workload"] == facts.lead]
    if not rows:
        return None
    today = facts.study.routes[facts.study.workloads[facts.lead].current_route].arm
    # what today's arm costs is what staying costs: its own cheaper routes are another question
    kept = [r for r in rows if r["arm"] != today]
    shown = pd.DataFrame(kept).assign(arm=[today if r["arm"] == "stay" else r["arm"] for r in kept])
    return charts.projection(shown, grades(facts, facts.lead))


def convergence(facts: Facts) -> Chart | None:
    """Whether the draws suffice for the chance that the lead move is cheaper."""
    table = facts.table("06_crossover", "convergence")
    if table.empty:
        return None
    subject = f"the chance that {table['route'][0]} is cheaper for {table['workload'][0]}"
    return charts.convergence(table, subject, share, "Monte Carlo error alone")

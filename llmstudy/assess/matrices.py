"""Chapter 07: the source memo's matrices on this study: trade-offs, intake, risks, alternatives.

Each row of T5, T7, T8 and T9 stands beside what this study has for it, with its grade and where it
comes from; what the study does not know says so.
"""

from typing import Any, cast

from llmstudy import prices
from llmstudy.assess.alternatives import alternative_tables
from llmstudy.assess.case import Case, Results, Tables, rows_of
from llmstudy.assess.indicators import indicator_table
from llmstudy.assess.intake import intake_rows
from llmstudy.assess.team import readiness_of
from llmstudy.decision import risks
from llmstudy.decision.tradeoffs import ARMS, Computed, challenger_lens, tradeoffs
from llmstudy.figure import Figure, Grade
from llmstudy.study import ApiRoute, ArmName, SelfHostedRoute, Study, bundled_figures
from llmstudy.text import count

Found = dict[tuple[str, str], Computed]


def matrix_tables(case: Case, results: Results, decided: Tables) -> Tables:
    """T5, T7, T8 and T9. decided: the tables of chapter 07 so far."""
    watched = indicator_table(case, results, decided["triggers"])
    found = _computed(case.study, results)
    return {
        "tradeoffs": tradeoffs(found),
        "challenger_lens": challenger_lens(_favoured(case.study, results, found)),
        "intake": intake_rows(case.study, results),
        "risks": risks.register(watched),
        "risk_indicators": watched,
        **alternative_tables(case, results, decided),
    }


# --- T5 -------------------------------------------------------------------------------------


def _computed(study: Study, results: Results) -> Found:
    """What this study finds on T5's dimensions, by dimension and arm."""
    found: Found = {}
    lead = compared_workload(study, results)
    for arm in ARMS:
        ramp = study.moving[cast(ArmName, arm)].ramp
        found["time_to_first_value", arm] = Computed(ramp, f"moving.{arm}.ramp")
        found["upfront_cost", arm] = _upfront(study, cast(ArmName, arm))
        found["sovereignty", arm] = _sovereignty(results, arm)
        found["dependency", arm] = _vendors(study, arm)
        if lead is not None:
            found["marginal_low_volume", arm] = _usd_at_todays_volume(study, results, lead, arm)
            found["marginal_high_volume", arm] = _usd_at_high_volume(study, results, lead, arm)
            found["quality_ceiling", arm] = _quality(study, results, lead, arm)
            found["operations", arm] = _operations(study, results, lead, arm)
    answer = study.prompting_and_retrieval_insufficient
    found["customisation", "proprietary_api"] = Computed(
        None,
        "prompting_and_retrieval_insufficient",
        f"prompting and retrieval proven insufficient: {answer}",
    )
    there = study.team.experienced_ml_engineers
    found["team", "self_hosted"] = Computed(
        study.self_hosting.fte, "self_hosting.fte", f"{there} experienced on the team"
    )
    return found


def compared_workload(study: Study, results: Results) -> str | None:
    """The workload on which most arms can be compared, of those the one with the largest bill."""
    rows = [*results["02_cost"]["bills"], *results["05_self_hosting"]["fleets"]]
    names = {row["workload"] for row in rows}
    todays = results["06_crossover"]["month_usd"]["today_by_workload"]

    def standing(name: str) -> tuple[int, float]:
        arms = {study.routes[r["route"]].arm for r in rows_of(rows, workload=name)}
        return len(arms), todays.get(name) or 0.0

    return max(sorted(names), key=standing) if names else None


def _usd_at_todays_volume(study: Study, results: Results, name: str, arm: str) -> Computed:
    """USD per request on today's route of the arm, or else on its cheapest candidate."""
    fleets = results["05_self_hosting"]["fleets"]
    rows = [
        (row, source)
        for table, source in (
            (results["02_cost"]["bills"], "02_cost: bills"),
            (fleets, "05_self_hosting: fleets"),
        )
        for row in rows_of(table, workload=name)
        if study.routes[row["route"]].arm == arm
    ]
    if not rows:
        return Computed(None, "", f"{name}: no route of this arm")
    current = study.workloads[name].current_route
    row, source = min(rows, key=lambda x: (x[0]["route"] != current, x[0]["usd_per_request"]))
    volume = study.workloads[name].intake.requests
    figure = Figure("", row["usd_per_request"], "USD/request", grade=volume.grade)
    said = f"{name} on {row['route']} at {count(volume.value)} requests a month"
    return Computed(figure, source, said)


def _usd_at_high_volume(study: Study, results: Results, name: str, arm: str) -> Computed:
    """USD per request at the largest volume of chapter 06's curves up to the study's cap.

    Median and 80 % range.
    """
    curves = rows_of(results["06_crossover"]["curves"], workload=name, arm=arm)
    rows = [row for row in curves if row["requests_per_month"] <= study.volume_cap.value]
    if not rows:
        return Computed(None, "", f"{name}: no route of this arm")
    row = max(rows, key=lambda r: r["requests_per_month"])
    low, middle, high = (row[f"{q}_usd"] / row["requests_per_month"] for q in ("p10", "p50", "p90"))
    # a volume that nobody has yet is an assumption, whatever its prices are
    figure = Figure("", middle, "USD/request", low, high, grade="assumed")
    said = f"{name} on {row['route']} at {count(row['requests_per_month'])} requests a month"
    return Computed(figure, "06_crossover: curves", said)


def _upfront(study: Study, arm: ArmName) -> Computed:
    """The foundation, which every arm needs; beside it, off the API, evaluation and one move."""
    phases = bundled_figures()
    parts = [phases["phase.foundation_usd"]]
    if arm != "proprietary_api":
        parts += [phases["phase.optimise_usd"], study.moving[arm].cost]
    figure = Figure(
        "",
        sum(f.value for f in parts),
        "USD",
        sum(f.ends[0] for f in parts),
        sum(f.ends[1] for f in parts),
        grade="assumed",
    )
    said = "phase 1" if len(parts) == 1 else "phases 1 and 2, and the move of one workload"
    return Computed(figure, f"phases, moving.{arm}.cost" if len(parts) > 1 else "phases", said)


def _quality(study: Study, results: Results, name: str, arm: str) -> Computed:
    """The best scored candidate of the arm against today's route, on paired items."""
    if study.routes[study.workloads[name].current_route].arm == arm:
        return Computed(None, "04_quality: quality", "today's route is what others are held to")
    rows = [
        row
        for row in rows_of(results["04_quality"]["quality"], workload=name)
        if row["difference"] is not None and study.routes[row["route"]].arm == arm
    ]
    if not rows:
        return Computed(None, "04_quality: quality", f"{name}: no paired items yet")
    best = max(rows, key=lambda row: row["difference"])
    figure = Figure("", *_ordered(best), grade=best["grade"])
    said = f"{name}, {best['route']}: {count(best['n'])} paired items of {best['benchmark']}"
    return Computed(figure, "04_quality: quality", said)


def _ordered(row: dict[str, Any]) -> tuple[float, str, float, float]:
    """A difference as value, unit and ends; a one-sided end may lie on its wrong side."""
    ends = sorted(row[key] for key in ("low", "difference", "high"))
    return row["difference"], "share", ends[0], ends[-1]


def _operations(study: Study, results: Results, name: str, arm: str) -> Computed:
    """USD a month beside tokens and rent: upkeep and team of a fleet, evaluation of an API."""
    if arm != "self_hosted":
        yearly = study.api_use.evaluation
        low, high = (None if end is None else end / 12 for end in (yearly.low, yearly.high))
        figure = Figure("", yearly.value / 12, "USD/month", low, high, grade=yearly.grade)
        return Computed(figure, "api_use.evaluation", "evaluation of one workload")
    fleets = rows_of(results["05_self_hosting"]["fleets"], workload=name)
    if not fleets:
        return Computed(None, "05_self_hosting: fleets", f"{name}: no fleet can serve it")
    row = min(fleets, key=lambda fleet: fleet["month_usd"])
    usd = row["upkeep_month_usd"] + row["staff_month_usd"]
    said = f"upkeep and team of {name} on {row['route']}"
    return Computed(Figure("", usd, "USD/month", grade="assumed"), "05_self_hosting: fleets", said)


def _sovereignty(results: Results, arm: str) -> Computed:
    """Share of the workloads with a route of the arm on which one of them may see the data."""
    rows = rows_of(results["06_crossover"]["permissions"], arm=arm)
    names = {row["workload"] for row in rows}
    if not names:
        return Computed(None, "06_crossover: permissions", "no route of this arm")
    able = {row["workload"] for row in rows if row["permitted"]}
    figure = Figure("", len(able) / len(names), "share of workloads", grade="measured")
    said = f"{len(able)} of {len(names)} may be served there"
    return Computed(figure, "06_crossover: permissions", said)


def _vendors(study: Study, arm: str) -> Computed:
    """How many vendors there are to turn to: named by the study, or quoting its GPUs."""
    routes = [r for r in study.routes.values() if r.arm == arm]
    grade: Grade = "measured"
    vendors = {r.provider for r in routes if isinstance(r, ApiRoute)}
    evidence, said = "routes", "priced in this study"
    if arm == "self_hosted":
        gpus = {r.gpu for r in routes if isinstance(r, SelfHostedRoute)}
        quoted = prices.gpu_prices()
        vendors = set(quoted.loc[quoted["gpu"].isin(gpus), "provider"])
        grade, evidence, said = "published", "data/gpu_prices.csv", "rent out its GPUs"
    if not routes:
        return Computed(None, evidence, "no route of this arm")
    return Computed(Figure("", float(len(vendors)), "vendors", grade=grade), evidence, said)


# --- the Challenger's lens ------------------------------------------------------------------


def _favoured(study: Study, results: Results, found: Found) -> dict[str, tuple[str, str]]:
    """Which of the two arms this study's evidence favours, by criterion, where it has any."""
    names = ("proprietary_api", "self_hosted")
    favoured = {"cost": _cheaper(study, results)}
    may = {arm: f.value for arm in names if (f := found["sovereignty", arm].figure) is not None}
    if len(may) == len(names):
        alike = may["proprietary_api"] == may["self_hosted"]
        ours = "neither" if alike else max(names, key=may.__getitem__)
        favoured["privacy"] = ours, "06_crossover: permissions"
    favoured["team"] = _READY[readiness_of(study).verdict], "07_triggers_and_routing: team"
    verdicts = {
        arm: {row["verdict"] for row in rows_of(results["03_latency"]["latency"], arm=arm)}
        for arm in names
    }
    if all(verdicts.values()):
        favoured["latency"] = _faster(verdicts), "03_latency: latency"
    return favoured


_READY = {"ready": "neither", "short": "proprietary_api", "unknown": "undecided"}
"""Which arm the gate of the team favours, by its verdict."""


def _cheaper(study: Study, results: Results) -> tuple[str, str]:
    """By the move to a fleet that is likeliest to pay."""
    rows = rows_of(results["06_crossover"]["savings"], arm="self_hosted")
    if not rows:
        return "no evidence", "06_crossover: savings"
    best = max(row["p_cheaper"] for row in rows)
    required = study.thresholds.probability.value
    ours = "undecided"
    if best >= required:
        ours = "self_hosted"
    elif best <= 1 - required:
        ours = "proprietary_api"
    return ours, "06_crossover: savings"


def _faster(verdicts: dict[str, set[str]]) -> str:
    """Which arm meets every target where the other misses one; both or neither is neither."""
    meets = {arm: seen == {"meets"} for arm, seen in verdicts.items()}
    misses = {arm: "misses" in seen for arm, seen in verdicts.items()}
    if meets["proprietary_api"] and misses["self_hosted"]:
        return "proprietary_api"
    if meets["self_hosted"] and misses["proprietary_api"]:
        return "self_hosted"
    return "neither" if all(meets.values()) else "undecided"

"""Facts about spend: today's bills, the cost of a fleet, and what could be saved."""

from collections.abc import Mapping
from typing import Any

from llmstudy.decide.facts.grounds import Grounds, ranged
from llmstudy.decide.judge import Fact
from llmstudy.evidence.case import rows_of
from llmstudy.figure import least_certain
from llmstudy.study import ArmName, bundled_figures
from llmstudy.text import count, share

_FLEETS = "05_self_hosting: fleets"


def spend_year(grounds: Grounds) -> Fact:
    """A year of today's bills, in USD."""
    month_usd = grounds.results["06_crossover"]["month_usd"]["today"]
    grade = least_certain(grounds.volume_grades)
    return Fact(12 * month_usd, "USD/year", grade, "06_crossover: month_usd")


def at_stake(grounds: Grounds) -> Fact:
    """The saving of the verdict plus what better evidence could release. USD over the horizon."""
    amounts = (grounds.decided["saving"], grounds.decided["at_stake"])
    usd = sum(amount["p50"] for amount in amounts if amount)
    return Fact(usd, "USD", least_certain(grounds.volume_grades), "saving, at_stake")


def token_bill(grounds: Grounds) -> Fact:
    """Today's token bill, in USD a month."""
    rows = rows_of(grounds.results["02_cost"]["bills"], current=True)
    bills = [row["month_usd"] for row in rows if grounds.is_billed_by_token(row["workload"])]
    grade = least_certain(grounds.volume_grades)
    total = sum(bills) if bills else None
    return Fact(total, "USD/month", grade, "02_cost: bills", "today's bill by the token")


def platform_cost(grounds: Grounds) -> Fact:
    """The one-off cost of moving to a fleet, which an API avoids. USD."""
    figure = grounds.study.moving["self_hosted"].cost
    words = "one-off cost of a fleet's platform, spared"
    return Fact.of(figure, "moving.self_hosted.cost", words)


def fixed_cost(grounds: Grounds) -> Fact:
    """The monthly cost of the cheapest fleet of each workload, all run by one team. USD."""
    cheapest: dict[str, Mapping[str, Any]] = {}
    for row in grounds.results["05_self_hosting"]["fleets"]:
        best = cheapest.get(row["workload"])
        if best is None or row["month_usd"] < best["month_usd"]:
            cheapest[row["workload"]] = row
    rows = list(cheapest.values())
    if not rows:
        return Fact(None, "USD/month", "published", _FLEETS, "no fleet can be sized")
    teams = [float(row["staff_month_usd"]) for row in rows]
    without = [float(row["month_usd"]) - team for row, team in zip(rows, teams, strict=True)]
    total = sum(without) + max(teams)
    smallest = min(alone + team for alone, team in zip(without, teams, strict=True))
    whose = f"fleets of {len(rows)} workloads" if len(rows) > 1 else "the fleet of one workload"
    words = f"{whose} with one team; low: the smallest alone"
    return Fact(total, "USD/month", "published", _FLEETS, words, smallest, total)


def utilisation(grounds: Grounds) -> Fact:
    """Utilisation over break-even (trigger G1) of the fleet that is nearest to paying off."""
    rows = rows_of(grounds.decided["triggers"], id="G1")
    rows = [row for row in rows if row["value"] and row["threshold"]]
    if not rows:
        return Fact(None, "of break-even", "assumed", "triggers: G1", "no fleet to judge")
    best = max(rows, key=lambda row: row["value"] / row["threshold"])
    words = f"{share(best['value'])} busy on {best['workload']}"
    words += f", pays from {share(best['threshold'])}"
    ratio = best["value"] / best["threshold"]
    return Fact(ratio, "of break-even", best["grade"], "triggers: G1", words)


def upgrades(grounds: Grounds) -> Fact:
    """The cost of upgrading a fleet's model and testing it, in USD a year."""
    spec = grounds.study.self_hosting
    usd = [x * y for x, y in zip(spec.upgrades.ends, spec.upgrade.ends, strict=True)]
    return ranged(usd, "USD/year", spec.upgrade.grade, "self_hosting", "upgrades, tested")


def watching(grounds: Grounds) -> Fact:
    """The cost of observability and on-call pay of a fleet, in USD a month."""
    spec = grounds.study.self_hosting
    usd = [x + y for x, y in zip(spec.observability.ends, spec.on_call.ends, strict=True)]
    grade = least_certain({spec.observability.grade, spec.on_call.grade})
    return ranged(usd, "USD/month", grade, "self_hosting", "observability and on-call pay")


# --- by arm, on the workload on which most arms can be compared -------------------------------


def usd_per_request_today(grounds: Grounds, arm: ArmName) -> Fact:
    """USD per request on an arm: on today's route if it is of the arm, else on its cheapest one."""
    name, unit = grounds.compared_workload, "USD/request"
    if name is None:
        return Fact(None, unit, "assumed", "")
    tables = {
        "02_cost: bills": grounds.results["02_cost"]["bills"],
        _FLEETS: grounds.results["05_self_hosting"]["fleets"],
    }
    rows = [
        (row, basis)
        for basis, table in tables.items()
        for row in rows_of(table, workload=name)
        if grounds.arm_of(row["route"]) == arm
    ]
    if not rows:
        return Fact(None, unit, "assumed", "", f"{name}: no route of this arm")
    current = grounds.study.workloads[name].current_route
    row, basis = min(rows, key=lambda x: (x[0]["route"] != current, x[0]["usd_per_request"]))
    volume = grounds.study.workloads[name].intake.requests
    words = f"{name} on {row['route']} at {count(volume.value)} requests a month"
    return Fact(row["usd_per_request"], unit, volume.grade, basis, words)


def usd_per_request_at_high_volume(grounds: Grounds, arm: ArmName) -> Fact:
    """USD per request on an arm at the largest volume of chapter 06's curves within the cap.

    Median and 80 % range, on today's route if it is of the arm, else on the cheapest one there.
    """
    name, unit, basis = grounds.compared_workload, "USD/request", "06_crossover: curves"
    if name is None:
        return Fact(None, unit, "assumed", "")
    curves = rows_of(grounds.results["06_crossover"]["curves"], workload=name, arm=arm)
    rows = [r for r in curves if r["requests_per_month"] <= grounds.study.volume_cap.value]
    if not rows:
        return Fact(None, unit, "assumed", "", f"{name}: no route of this arm")
    current = grounds.study.workloads[name].current_route
    row = min(rows, key=lambda r: (-r["requests_per_month"], r["route"] != current, r["p50_usd"]))
    low, middle, high = (row[f"{q}_usd"] / row["requests_per_month"] for q in ("p10", "p50", "p90"))
    words = f"{name} on {row['route']} at {count(row['requests_per_month'])} requests a month"
    # a volume that nobody has yet is an assumption, whatever its prices are
    return Fact(middle, unit, "assumed", basis, words, low, high)


def upfront(grounds: Grounds, arm: ArmName) -> Fact:
    """The upfront cost of an arm: the foundation phase; off the API also evaluation and one
    move."""
    phases = bundled_figures()
    parts, basis, words = [phases["phase.foundation_usd"]], "phases", "phase 1"
    if arm != "proprietary_api":
        parts += [phases["phase.optimise_usd"], grounds.study.moving[arm].cost]
        basis += f", moving.{arm}.cost"
        words = "phases 1 and 2, and the move of one workload"
    low, high = (sum(figure.ends[i] for figure in parts) for i in (0, 1))
    return Fact(sum(f.value for f in parts), "USD", "assumed", basis, words, low, high)


def operations(grounds: Grounds, arm: ArmName) -> Fact:
    """Monthly cost besides tokens and rent: upkeep and team of a fleet, evaluation of an API.
    USD."""
    name, unit = grounds.compared_workload, "USD/month"
    if name is None:
        return Fact(None, unit, "assumed", "")
    if arm != "self_hosted":
        yearly = grounds.study.api_use.evaluation
        low, high = (None if end is None else end / 12 for end in (yearly.low, yearly.high))
        words = "evaluation of one workload"
        return Fact(yearly.value / 12, unit, yearly.grade, "api_use.evaluation", words, low, high)
    fleets = rows_of(grounds.results["05_self_hosting"]["fleets"], workload=name)
    if not fleets:
        return Fact(None, unit, "assumed", _FLEETS, f"{name}: no fleet can serve it")
    row = min(fleets, key=lambda fleet: fleet["month_usd"])
    usd = row["upkeep_month_usd"] + row["staff_month_usd"]
    return Fact(usd, unit, "assumed", _FLEETS, f"upkeep and team of {name} on {row['route']}")

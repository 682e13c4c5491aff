"""Which chart shows which table of a run, and with which note on its evidence."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from llmstudy import charts
from llmstudy.assess.hosting import curve_tables
from llmstudy.charts import Chart
from llmstudy.memo.facts import INPUTS, Facts, opening
from llmstudy.study import SelfHostedRoute
from llmstudy.text import count, never_or, share, span, usd
from llmstudy.words import named


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
    subject = f"the saving of moving {found['workload']} to {found['route']}"
    return charts.tornado(table, found["base_usd"], subject, _grades(facts, found["workload"]))


def _named(table: pd.DataFrame) -> pd.DataFrame:
    """The table with its inputs in a reader's words; a path is named in words already."""
    return table.assign(input=[INPUTS[x][0] if x in INPUTS else x for x in table["input"]])


def p_never_drivers(facts: Facts) -> Chart | None:
    """What decides that self-hosting never pays, for the workload where that is least settled."""
    found = [row for row in facts.crossing["never"] if row["inputs"]]
    if not found:
        return None
    row = min(found, key=lambda r: abs(r["p_never"]["estimate"] - 0.5))
    note = f"{row['workload']} to {row['route']} · {_grades(facts, row['workload'])}"
    return charts.p_never_drivers(_named(pd.DataFrame(row["inputs"])), note)


def flips_table(facts: Facts) -> pd.DataFrame:
    """The value of each deciding input at which a move passes or fails the lines on cost.

    An input that flips nothing in what was searched is left out. The verdict at the value now is
    that of the study's lines with this input held there and the others drawn.
    """
    rows = [row for row in facts.crossing["flips"] if row["flips_at"] is not None]
    return pd.DataFrame(
        [
            {
                "workload": row["workload"],
                "route": row["route"],
                "passes now": row["passes_now"],
                "input": INPUTS[row["input"]][0],
                "now": row["value_now"],
                "passes": row["direction"],
                "flips at": row["flips_at"],
                "unit": row["unit"],
                "within its range": row["inside_range"],
            }
            for row in rows
        ],
        columns=[
            "workload",
            "route",
            "passes now",
            "input",
            "now",
            "passes",
            "flips at",
            "unit",
            "within its range",
        ],
    )


def _self_hosted_move(facts: Facts) -> Mapping[str, Any] | None:
    """The self-hosted move that comes nearest to paying."""
    rows = [row for row in facts.crossing["savings"] if row["arm"] == "self_hosted"]
    return max(rows, key=lambda row: row["saving_p50_usd"]) if rows else None


def crossover_claims(facts: Facts) -> Chart | None:
    """Where the source memo's advisors say that self-hosting pays, above our bands."""
    move = _self_hosted_move(facts)
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
        pd.DataFrame(bands), pd.DataFrame(claims), name, _grades(facts, name)
    )


def chances(facts: Facts) -> Chart | None:
    """How surely self-hosting is cheaper and good enough, by volume and quality margin."""
    move = _self_hosted_move(facts) or next(iter(facts.crossing["savings"]), None)
    if move is None:
        return None
    name, route = str(move["workload"]), str(move["route"])
    rows = [r for r in facts.crossing["chances"] if (r["workload"], r["route"]) == (name, route)]
    if not rows:
        return None
    return charts.p_cheaper_heat(
        pd.DataFrame(rows),
        f"{name} to {route}",
        facts.study.workloads[name].intake.requests.value,
        facts.study.thresholds.probability.value,
        f"{_grades(facts, name)} · quality from paired items, else assumed",
    )


def cheaper_by_month(facts: Facts) -> Chart | None:
    """How surely each move of the lead workload has paid for itself, month by month."""
    rows = [r for r in facts.crossing["by_month"] if r["workload"] == facts.lead]
    if not rows:
        return None
    line = facts.study.thresholds.probability.value
    return charts.p_cheaper_by_month(pd.DataFrame(rows), line, _grades(facts, facts.lead))


def projection(facts: Facts) -> Chart | None:
    """Cumulative cost of each arm for the lead workload."""
    rows = [r for r in facts.crossing["projection"] if r["workload"] == facts.lead]
    if not rows:
        return None
    today = facts.study.routes[facts.study.workloads[facts.lead].current_route].arm
    # what today's arm costs is what staying costs: its own cheaper routes are another question
    kept = [r for r in rows if r["arm"] != today]
    shown = pd.DataFrame(kept).assign(arm=[today if r["arm"] == "stay" else r["arm"] for r in kept])
    return charts.projection(shown, _grades(facts, facts.lead))


def cost_items(facts: Facts) -> Chart | None:
    """Of what a month consists, on today's API and on the fleet that comes nearest to paying."""
    move = _self_hosted_move(facts)
    rows = [r for r in facts.crossing["cost_items"] if move and r["workload"] == move["workload"]]
    if not rows:
        return None
    table = pd.DataFrame(rows)
    table = table[table["usd_month"] > 0]
    return charts.cost_items(table, str(rows[0]["workload"]), "at the stated value of each figure")


def calculator_bridge(facts: Facts) -> Chart | None:
    """How the usual web calculator's fleet becomes ours, item by item."""
    move = _self_hosted_move(facts)
    if move is None:
        return None
    place = (move["workload"], move["route"])
    items = [r for r in facts.crossing["attribution"] if (r["workload"], r["route"]) == place]
    found = [r for r in facts.crossing["calculators"] if (r["workload"], r["route"]) == place]
    if not items or not found:
        return None
    adds = [r for r in items if r["shapley_usd"]]
    steps = [("the calculator", found[0]["calculator_month_usd"], "start")]
    steps += [(named("item", r["item"]), r["shapley_usd"], "add") for r in adds]
    steps += [("this study", found[0]["our_month_usd"], "end")]
    table = pd.DataFrame(steps, columns=["step", "usd_month", "kind"])
    return charts.calculator_bridge(
        table, f"{place[0]} on {place[1]}", "each item's share of the difference (Shapley)"
    )


def information(facts: Facts) -> Chart | None:
    """What each measurement is worth against its cost."""
    table = facts.table("06_crossover", "worth")
    if table.empty:
        return None
    shown = table.assign(measurement=table["workload"] + ": " + table["measurement"]).head(12)
    return charts.information_bars(shown, "volumes, prices and quality as graded in the ledger")


def convergence(facts: Facts) -> Chart | None:
    """Whether the draws suffice for the chance that the lead move is cheaper."""
    table = facts.table("06_crossover", "convergence")
    if table.empty:
        return None
    subject = f"the chance that {table['route'][0]} is cheaper for {table['workload'][0]}"
    return charts.convergence(table, subject, share, "Monte Carlo error alone")


def regret(facts: Facts) -> Chart | None:
    """What each rule would cost against hindsight, where staying means today's named model."""
    rows = [row for row in facts.decided["regret"] if row["buyer"] == "named_model"]
    if not rows:
        return None
    names = {"regret_low_usd": "low_usd", "regret_high_usd": "high_usd"}
    table = pd.DataFrame(rows).rename(columns=names)
    table["rule"] = [named("rule", rule) for rule in table["rule"]]
    return charts.regret_bars(table, _futures_note(facts))


def waiting(facts: Facts) -> Chart | None:
    """What committing now, waiting and never moving cost, where staying means today's model."""
    rows = [row for row in facts.decided["waiting"] if row["buyer"] == "named_model"]
    return charts.waiting_costs(pd.DataFrame(rows), _futures_note(facts)) if rows else None


def _futures_note(facts: Facts) -> str:
    about = facts.decided["timing"]
    return f"simulated: {about['paths']:,} futures of {about['months']} months, priors as graded"


def heldout_errors(facts: Facts) -> Chart:
    """How far each serving curve misses points that it was not fitted to."""
    table = facts.table("05_self_hosting", "serving_fit")
    return charts.heldout_errors(table, HELDOUT_GOAL, "points: published (vLLM)")


HELDOUT_GOAL = 0.08
"""Median held-out error that a curve from eight points should keep to."""


def sized_week(facts: Facts, fleet: Mapping[str, Any] | None) -> Chart | None:
    """Replicas over the week of the busiest fleet: static, scheduled, autoscaled."""
    if fleet is None:
        return None
    hours = facts.chapters["05_self_hosting"]["replicas_week"]
    place = (fleet["workload"], fleet["route"])
    rows = [row for row in hours if (row["workload"], row["route"]) == place]
    if not rows:
        return None
    gpus = fleet["gpus"] // fleet["replicas"]
    return charts.replicas_week(
        pd.DataFrame(rows), gpus, str(fleet["workload"]), f"{_said(fleet)} · sized by replay"
    )


def base_load(facts: Facts, fleet: Mapping[str, Any] | None) -> Chart | None:
    """What the busiest fleet's workload costs when the API takes what its replicas cannot."""
    if fleet is None:
        return None
    split = facts.chapters["05_self_hosting"]["base_load"]
    place = (fleet["workload"], fleet["route"])
    rows = [row for row in split if (row["workload"], row["route"]) == place]
    if not rows:
        return None
    note = f"{_said(fleet)} · sized by replay"
    return charts.base_load_split(pd.DataFrame(rows), str(fleet["workload"]), note)


def sizing_notes(facts: Facts) -> list[str]:
    """What a reader must know of the replay: arrivals, limits, hours left out; and what failed."""
    hosting = facts.chapters["05_self_hosting"]
    said = [f"{r['workload']} on {r['route']}: {r['note']}" for r in hosting["sizing_notes"]]
    said += [f"{r['workload']} on {r['route']}: {r['reason']}" for r in hosting["unsized"]]
    return said or ["No fleet could be replayed."]


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
    """Measured points and fitted curve behind a fleet, at the measured lengths nearest to its own.

    The target is judged at the workload's own lengths: in the chart only where they are the same.
    """
    if fleet is None:
        return None
    workload = fleet["workload"]
    spec = facts.study.routes[fleet["route"]]
    assert isinstance(spec, SelfHostedRoute)
    points, curve, lengths, error = curve_tables(facts.study, workload, spec)
    intake = facts.study.workloads[workload].intake
    own = (intake.input_tokens.value, intake.output_tokens.value)
    slo_ms = 1000 * facts.study.workloads[workload].slo.tpot_p95.value
    said = f"{workload} itself, {count(own[0])} in and {count(own[1])} out"
    return charts.serving_curve(
        points,
        curve,
        lengths,
        slo_ms if lengths == own else None,
        fleet["concurrency"],
        spec.model.split("/")[-1],
        spec.gpu,
        error,
        "points: published (vLLM, aiconfigurator-core sample) · curve: fitted · "
        f"{said}: {1000 * fleet['tpot_s']:.3g} ms, target {slo_ms:g} ms",
    )


def quality_forest(facts: Facts) -> Chart | None:
    """Paired differences of every candidate against its margin."""
    table = facts.table("04_quality", "quality")
    return None if table.empty else charts.quality_forest(table)


def quality_in_short(facts: Facts) -> Chart | None:
    """The scored ones alone: routes that rest on the same items share a line."""
    table = facts.comparisons()
    scored = table[table["verdict"] != "none"].reset_index(drop=True)
    return None if scored.empty else charts.quality_forest(scored)


def trigger_status(facts: Facts) -> Chart:
    """The triggers of every workload."""
    return charts.trigger_status(pd.DataFrame(facts.decided["triggers"]))


def risk_register(facts: Facts) -> Chart:
    """The risks by the source memo's rating, marked by what this study sees of them."""
    seen = [r["grade"] for r in facts.decided["risk_indicators"] if r["state"] != "no evidence"]
    grades = ", ".join(sorted(set(seen)))
    note = f"likelihood and impact: the source memo's · what is seen: {grades or 'nothing'}"
    return charts.risk_register(pd.DataFrame(facts.decided["risks"]), note)


def criteria(facts: Facts) -> Chart:
    """The scores of every workload and arm on the six criteria."""
    note = (
        "0: fails outright · 4: holds with room · ?: no evidence that carries a score · "
        "word: the worst grade that a score rests on"
    )
    return charts.criteria(pd.DataFrame(facts.decided["criteria"]), note)


def portability_table(facts: Facts) -> pd.DataFrame:
    """The points that each route earns, part by part, out of the most that it could."""
    rows = facts.decided["portability_parts"]
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for row in rows:
        line = cells.setdefault((row["workload"], row["route"]), {})
        part = f"{row['part'].replace('_', ' ')} ({row['points']})"
        line[part] = span(row["low"], row["high"], count)
    return pd.DataFrame([{"workload": w, "route": r, **line} for (w, r), line in cells.items()])


def contract_table(facts: Facts) -> pd.DataFrame:
    """The checklist of every route: its state item by item, with the days left on it."""
    cells: dict[str, dict[str, str]] = {}
    for row in facts.decided["contracts"]:
        days = row["days_left"]
        told = row["state"] if days is None else f"{row['state']} ({count(days)} days)"
        cells.setdefault(row["route"], {})[row["item"]] = told + ("*" if row["needed_by"] else "")
    return pd.DataFrame([{"route": route, **line} for route, line in cells.items()])


def phase_timeline(facts: Facts) -> Chart:
    """The phases as dated bars, each with the gate that closes it and how that stands."""
    table = pd.DataFrame(facts.decided["phases"])
    for column in ("start", "end"):
        table[column] = pd.to_datetime(table[column]).dt.date
    table["gate"] = table["exit_state"] + ": " + table["exit_gate"]
    return charts.phase_timeline(table, facts.study.decide_by)


def month_bills(facts: Facts) -> Chart | None:
    """This month's bill of each token-billed route."""
    bills = facts.table("02_cost", "bills")
    if bills.empty:
        return None
    ledger = facts.chapters["01_evidence"]["figures"]
    grades = sorted({row["grade"] for row in ledger if ".price." in row["name"]})
    return charts.month_bills(bills, f"prices at {facts.study.as_of}: {', '.join(grades)}")


def first_tokens(facts: Facts) -> Chart:
    """The first token of each route against its target."""
    note = "A range that nobody measured decides nothing: such a route is undecided."
    return charts.first_tokens(facts.table("03_latency", "latency"), note)


def panel(facts: Facts) -> Chart:
    """What each advisor decides on each workload, beside this memo, with its rule's regret."""
    decided = facts.decided
    whole = [{**row, "workload": charts.ALL} for row in decided["panel"]]
    memo = [
        {"lens": "This memo", "workload": row["workload"], "decides": row["this_memo"]}
        for row in decided["agreement"]
    ]
    cells = pd.DataFrame([*whole, *decided["panel_workloads"], *memo])
    lenses = pd.DataFrame([*decided["panel"], {"lens": "This memo"}])
    numbers = [f"regret_{end}usd" for end in ("", "low_", "high_")]
    lenses = lenses.astype(dict.fromkeys([*numbers, "switch_month_p50", "p_never"], float))
    note = _futures_note(facts) if decided["regret"] else decided["timing"]["reason"]
    return charts.panel(lenses, cells, note)


def tradeoff_table(facts: Facts) -> pd.DataFrame:
    """The three key trade-offs, with this study's figure on either side."""
    return pd.DataFrame(
        [
            {
                "trade-off": f"{opening(row['option'])}: {row['tradeoff']}",
                "gains": row["gains"],
                "in figures": _figure(row, "gain"),
                "gives up": row["gives_up"],
                "at": _figure(row, "price"),
            }
            for row in facts.decided["key_tradeoffs"]
        ]
    )


def _figure(row: Mapping[str, Any], side: str) -> str:
    """One side's figure with its range, unit, meaning and grade."""
    value, low, high, unit, grade = (
        row[f"{side}_{key}"] for key in ("value", "low", "high", "unit", "grade")
    )
    figure = str(row[f"{side}_figure"])
    if value is None:
        return figure
    fmt = usd if unit.startswith("USD") else share if unit == "share" else count
    said = fmt(value) + (" a month" if unit == "USD/month" else "")
    if low is not None and low != high:
        said += f" ({span(low, high, fmt)})"
    return f"{said} {figure} ({grade})" if fmt is count else f"{said}: {figure} ({grade})"


def disagreement_table(facts: Facts) -> pd.DataFrame:
    """D1 to D4: what each advisor holds, what holds here, and what each side would have cost."""
    return pd.DataFrame(
        [
            {
                "disagreement": f"{row['id']}: {row['question']}",
                **{who: row[who] for who in ("strategist", "challenger", "analyst", "architect")},
                "holds here": row["holds"] or "open",
                "because": row["resolution"],
                "grade": row["grade"],
                "costs": "; ".join(map(_side, row["costs"])),
            }
            for row in facts.decided["disagreements"]
        ]
    )


def _side(cost: Mapping[str, Any]) -> str:
    if cost["usd"] is None:
        return f"{cost['side']}: not priced"
    return f"{cost['side']}: {usd(cost['usd'])} against {cost['against']}"

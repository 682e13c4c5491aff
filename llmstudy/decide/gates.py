"""Chapter 07: the plan. The state of its gates today, its work items and their cost."""

from collections.abc import Mapping
from datetime import timedelta
from math import ceil
from typing import Any

import pandas as pd

from llmstudy.decide.canary import fitting, step_alpha
from llmstudy.decide.canary_check import metric_state, verdict_of
from llmstudy.decide.canary_log import (
    FEWEST_FOR_A_BASELINE,
    FULL_TRAFFIC,
    WORDS,
    parts_of,
    routes_of,
    sent_of,
)
from llmstudy.decide.judge import Fact, Judged
from llmstudy.decide.lock_in import vendor
from llmstudy.decide.moves import canary_rows, first_move_rows, targets_of
from llmstudy.decide.plan import (
    ALL,
    GateState,
    ItemCost,
    Stop,
    TriggerStep,
    gates,
    items,
    passage,
    worst,
)
from llmstudy.decide.triggers.rules import trigger_table
from llmstudy.decide.verdicts import against_equals, is_proven, pays
from llmstudy.evidence.case import Case, Results, Tables, rows_of
from llmstudy.prices import same_model
from llmstudy.study import Study, bundled_figures
from llmstudy.study.labelling import usd_per_item
from llmstudy.study.lines import lines_of, meets_lines
from llmstudy.text import allowed_loss, count, share, usd

CANARY_ITEM = "canary up to full traffic"
"""The name of the canaries in `phase_items.csv`."""

_REVISIT = timedelta(weeks=13), timedelta(weeks=26)
"""Earliest and latest review after the decision. Source: MEMO V2, every 3-6 months."""


def plan_tables(case: Case, results: Results, tables: Tables) -> dict[str, Any]:
    """The tables of the plan.

    Returns: `plan_gates` and `plan_items` (see `decide.plan`), `phases` with the state of their
    gates (entry_state, exit_state), `first_moves` (see `decide.moves`) and `canary` (the steps of
    each move and favoured candidate, see `decide.canary`).
    """
    study = case.study
    judged = gates(tables["phases"], judged_gates(case, tables))
    steps = canary_rows(case, results, tables)
    plan = tables["phases"].assign(
        entry_state=[passage(judged, phase, "entry") for phase in tables["phases"]["phase"]],
        exit_state=[passage(judged, phase, "exit") for phase in tables["phases"]["phase"]],
    )
    work = items(plan, _item_costs(study, tables), _fired_steps(tables), _stops(study, tables))
    longest = bundled_figures()["plan.canary_days"].value
    work.loc[work["item"] == CANARY_ITEM, "note"] = _canary_note(steps, longest)
    return {
        "phases": plan,
        "plan_gates": judged,
        "plan_items": work,
        "first_moves": first_move_rows(study, results, tables),
        "canary": steps,
    }


def _route_row(tables: Tables, workload: str, route: str) -> Any:
    table = tables["routes"]
    return table[(table["workload"] == workload) & (table["route"] == route)].iloc[0]


# --- gates ----------------------------------------------------------------------------------


def judged_gates(case: Case, tables: Tables) -> dict[str, dict[str, Judged]]:
    """The evidence of each gate today against what is needed, by the gate's name and workload."""
    targets = targets_of(tables)
    judges = {
        "G1-G6": _fired,
        "saving": _saving,
        "quality": _quality,
        "canary": _canary_share,
        "fallback": _fallback,
    }
    by_workload = {
        name: {w: gate(case, tables, w, route) for w, route in targets.items()}
        for name, gate in judges.items()
    }
    of_study = {
        "decision": _signed(case.study),
        "log": _have_logs(case),
        "second_vendor": _second_vendor(case.study, tables),
        "G3": _contracts(tables),
        "log_weeks": _log_weeks(case),
        "golden_set": _golden_set(tables),
        "G2": _first_token(tables),
        "triggers": _triggers_judged(tables),
        "ab_test": _ab_test(case.study, targets),
        "revisit": _revisit(case.study),
    }
    return {**{name: {ALL: gate} for name, gate in of_study.items()}, **by_workload}


def _gate(
    state: GateState, value: float | None, needed: float | None, unit: str, words: str
) -> Judged:
    """A gate that rests on the organisation's own records."""
    return Judged(state, Fact(value, unit, "measured", "", words), needed)


def _over(states: Mapping[str, GateState], what: str, unit: str, *more: str) -> Judged:
    """A gate that every workload must pass. what: a verb phrase for the workloads that pass."""
    passing = [name for name, state in states.items() if state == "passed"]
    lacking = [name for name in states if name not in passing]
    words = f"{len(passing)} of {len(states)} workloads {what}"
    if lacking and passing:
        words += f"; not {', '.join(lacking)}"
    words = "; ".join([words, *more])
    return _gate(worst(states.values()), len(passing), len(states), unit, words)


def _signed(study: Study) -> Judged:
    """Passed if the study is decided; failed if it was superseded or its decision is overdue."""
    late = study.as_of > study.decide_by
    open_: GateState = "failed" if late or study.status == "superseded" else "open"
    state: GateState = "passed" if study.status == "decided" else open_
    words = f"the study is {study.status}; its decision is due on {study.decide_by}"
    return _gate(state, None, None, "", words)


def _have_logs(case: Case) -> Judged:
    names = case.study.workloads
    states: dict[str, GateState] = {
        name: "open" if name in case.traffic.simulated else "passed" for name in names
    }
    return _behind_gateway(case.study, states, "have a log", "workloads logged")


def _second_vendor(study: Study, tables: Tables) -> Judged:
    """Whether at least two vendors may see the data of each workload and fit its context."""
    table = tables["routes"]
    able = table[table["permitted"] & table["fits_context"]]
    states: dict[str, GateState] = {}
    for name in study.workloads:
        routes = able.loc[able["workload"] == name, "route"]
        vendors = {vendor(study.routes[route]) for route in routes}
        states[name] = "passed" if len(vendors) >= 2 else "open"
    return _behind_gateway(study, states, "have two permitted vendors", "workloads")


def _behind_gateway(study: Study, states: Mapping[str, GateState], what: str, unit: str) -> Judged:
    """A gate that every workload must pass, and that needs its calls to go through a gateway.

    Without a gateway, or where the study does not state one, no workload passes."""
    answers = {name: study.workloads[name].portability.behind_gateway for name in states}
    behind: dict[str, GateState] = {"yes": "passed", "unknown": "unknown", "no": "open"}
    combined = {name: worst([state, behind[answers[name]]]) for name, state in states.items()}
    words = {"no": "not behind a gateway", "unknown": "not stated whether behind a gateway"}
    lacking = {answer: [n for n in states if answers[n] == answer] for answer in words}
    parts = [f"{words[answer]}: {', '.join(names)}" for answer, names in lacking.items() if names]
    return _over(combined, f"{what} behind a gateway", unit, *parts)


_OF_TRIGGER: Mapping[str, GateState] = {
    "fired": "failed",
    "pending": "open",
    "armed": "passed",
    "not_applicable": "passed",
    "unknown": "unknown",
}


def _contracts(tables: Tables) -> Judged:
    rows = rows_of(tables["triggers"], id="G3")
    states = {row["workload"]: _OF_TRIGGER[row["status"]] for row in rows}
    unclassified = [name for name, state in states.items() if state == "unknown"]
    more = [f"data not classified yet: {', '.join(unclassified)}"] if unclassified else []
    return _over(states, "have every contract they need", "workloads", *more)


def _log_weeks(case: Case) -> Judged:
    """Whether each workload has as many whole weeks of log as a trigger must hold for."""
    needed = max(1, ceil(case.study.thresholds.sustained.value))
    table = case.traffic.summary
    spans = dict(zip(table["workload"], table["span_h"], strict=True)) if len(table) else {}
    weeks = {
        name: 0 if name in case.traffic.simulated else int(spans.get(name, 0.0) // 168)
        for name in case.study.workloads
    }
    states: dict[str, GateState] = {
        name: "passed" if n >= needed else "open" for name, n in weeks.items()
    }
    longest = f"the longest log holds {max(weeks.values())}"
    return _over(states, f"have {needed} whole weeks of log", "workloads", longest)


def _golden_set(tables: Tables) -> Judged:
    """Whether any verdict still needs golden items."""
    needs = _golden_items(tables)
    states: dict[str, GateState] = {
        name: "open" if name in needs else "passed" for name in tables["verdicts"]
    }
    items_ = sum(n for n, _ in needs.values())
    more = [f"{count(items_)} items to score"] if items_ else []
    return _over(states, "need no more scored questions", "workloads", *more)


def _golden_items(tables: Tables) -> dict[str, tuple[int, float]]:
    """The golden items that the favoured route of each verdict needs, and their cost. (n, usd)."""
    return {
        name: (c["n"], c["usd"])
        for name, v in tables["verdicts"].items()
        for c in v["collect"]
        if c["what"] == "golden items" and c["sentence"].startswith(f"{v['target']}: ")
    }


def _first_token(tables: Tables) -> Judged:
    states: dict[str, GateState] = {
        row["workload"]: "passed" if row["grade"] == "measured" else "open"
        for row in rows_of(tables["triggers"], id="G2")
    }
    return _over(states, "have the first token of today's route measured", "workloads")


def _triggers_judged(tables: Tables) -> Judged:
    rows = tables["triggers"]
    blind = [row for row in rows if row["status"] == "unknown"]
    ids = ", ".join(sorted({row["id"] for row in blind}))
    words = f"{len(rows) - len(blind)} of {len(rows)} triggers can be judged"
    words += f"; not yet everywhere: {ids}" if blind else ""
    state: GateState = "open" if blind else "passed"
    return _gate(state, len(rows) - len(blind), len(rows), "triggers", words)


def _fired(case: Case, tables: Tables, name: str, route: str) -> Judged:
    rows = rows_of(tables["triggers"], workload=name)
    fired = [row["id"] for row in rows if row["status"] == "fired"]
    blind = [row["id"] for row in rows if row["status"] == "unknown"]
    state: GateState = "passed" if fired else "unknown" if len(blind) == len(rows) else "open"
    words = f"{', '.join(fired)} fired" if fired else f"none of {len(rows)} fired"
    words += f"; not judged: {', '.join(blind)}" if blind else ""
    return _gate(state, len(fired), 1, "triggers fired", words)


def _saving(case: Case, tables: Tables, name: str, route: str) -> Judged:
    row, lines = _route_row(tables, name, route), lines_of(case.study)
    chance, saved = float(row["p_cheaper"]), float(row["saving_p50_usd"])
    probability, least, paid = lines.probability, lines.saving_usd, pays(row, lines)
    state: GateState = "passed" if paid else "open"
    if chance < 0.5:
        state = "failed"
    words = (
        f"{route} is cheaper in {share(chance)} of simulated futures, {share(probability)} asked; "
        f"it saves {usd(saved)} at the median, {usd(least)} asked"
    )
    if meets_lines(chance, saved, lines) and not paid:
        words += f"; {against_equals(row)}"
    fact = Fact(chance, "share of simulated futures", "simulated", "06_crossover: savings", words)
    return Judged(state, fact, probability)


def _quality(case: Case, tables: Tables, name: str, route: str) -> Judged:
    row = _route_row(tables, name, route)
    states: dict[str, GateState] = {"none": "unknown", "inferior": "failed"}
    state = "passed" if is_proven(row) else states.get(str(row["quality"]), "open")
    words = f"{route}: no paired items"
    if row["quality"] != "none":
        n, grade = count(float(row["items"])), row["quality_grade"]
        words = f"{route}: {row['quality']} on {n} {grade} items of {row['benchmark']}"
        words += f"; {row['lowest_grade']} ones asked"
    needed = float(row["items_needed"]) or None
    if needed and state != "passed" and pd.notna(row["pass_mark"]):
        words += f"; {count(needed)} own items pass at {allowed_loss(float(row['pass_mark']))}"
    fact = Fact(float(row["items"]), "items", row["quality_grade"], "04_quality: quality", words)
    return Judged(state, fact, needed)


_SENT = ["ts_start", "provider", "model_served", "first_model", "ttft_s", "ok"]


def _canary_share(case: Case, tables: Tables, name: str, route: str) -> Judged:
    """The share of last week's requests that the new route's model answered, and how well."""
    if name in case.traffic.simulated:
        words = "no log shows who answers"
        return _gate("open", None, FULL_TRAFFIC, "share of requests", words)
    rows = case.traffic.of(name)
    rows = rows[[column for column in _SENT if column in rows]]
    week = rows["ts_start"] >= rows["ts_start"].max() - pd.Timedelta(weeks=1)
    served = rows.loc[week, "model_served"], rows.loc[week, "provider"]
    part = float((routes_of(*served, case.study, name) == route).mean())
    words = f"{route} answered {share(part)} of the last week's requests"
    state: GateState = "open"
    if part >= FULL_TRAFFIC:
        begin = rows["ts_start"][week].min()
        sent = sent_of(rows, case.study, name, route)
        state, sentence = _canary_result(case, name, route, sent, begin)
        words += f"; {sentence}"
    return _gate(state, part, FULL_TRAFFIC, "share of requests", words)


def _canary_result(
    case: Case, name: str, route: str, sent: pd.DataFrame, begin: pd.Timestamp
) -> tuple[GateState, str]:
    """Whether a canary at full traffic fails or answers late more often than today's route.

    sent: as `canary_log.sent_of`. By the rule of `canary_check` for the last step, on the metrics
    in a log: failures and TTFT. Unknown if the log has too few requests of today's route before.
    """
    workload = case.study.workloads[name]
    today, margin = workload.current_route, workload.quality.margin.value
    states = []
    for metric in ("errors", "slow_first_token"):
        parts = parts_of(sent, begin, metric, route, today).against_history
        if sum(parts.before.stays_all) >= FEWEST_FOR_A_BASELINE:
            counts = parts.judged, parts.baselines
            states.append(metric_state(metric, *counts, margin, 1.0, step_alpha()))
    judged = [state for state in states if state is not None]
    if not judged:
        return "unknown", "the log holds too few requests of today's route to hold them against"
    limit = judged[0].limit
    verdict = verdict_of(judged)
    if verdict == "roll back":
        against = [
            f"{WORDS[each.metric]} {share(each.canary_share)}, {share(each.stays_share)} on today's"
            for each in judged
            if each.ends
        ]
        return "failed", f"the evidence against it passes {limit:.0f}: {'; '.join(against)}"
    words = f"the evidence of failures and late first tokens stays below {limit:.0f}"
    if verdict == "undecided":
        return "open", f"{words}, on too few requests to tell"
    return "passed", words


def _fallback(case: Case, tables: Tables, name: str, route: str) -> Judged:
    """Whether a model other than today's has ever answered: an unused fallback is untested."""
    if name in case.traffic.simulated:
        return _gate("open", None, 1, "requests", "no log shows a fallback")
    rows = case.traffic.of(name)
    today = case.study.routes[case.study.workloads[name].current_route].model
    served = rows["model_served"]
    others = int((~served.isin([n for n in served.unique() if same_model(n, today)])).sum())
    words = f"{count(others)} of {count(len(rows))} logged requests were answered by another model"
    return _gate("passed" if others else "open", others, 1, "requests", words)


def _ab_test(study: Study, targets: Mapping[str, str]) -> Judged:
    """Whether a moved workload has own paired counts dated half a year after the decision."""
    due = study.decide_by + _REVISIT[1]
    pairs = [study.workloads[name].quality.evidence.get(route) for name, route in targets.items()]
    dated = [pair.as_of for pair in pairs if pair and pair.as_of and pair.as_of >= due]
    state: GateState = "passed" if dated else "failed" if study.as_of > due else "open"
    words = f"{len(dated)} comparisons of {len(targets)} are dated {due} or later"
    return _gate(state, len(dated), 1, "comparisons", words)


def _revisit(study: Study) -> Judged:
    first, last = (study.decide_by + after for after in _REVISIT)
    state: GateState = "open" if study.as_of < first else "passed"
    if study.as_of > last:
        state = "failed"
    words = f"judged at {study.as_of}; to be looked at again from {first} to {last}"
    return _gate(state, None, None, "", words)


def _stops(study: Study, tables: Tables) -> list[Stop]:
    """Workloads whose data may not go to today's route, to be stopped from `as_of` on."""
    table, owners = tables["routes"], {row["id"]: row["owner"] for row in tables["triggers"]}
    barred = table[table["current"] & ~table["permitted"]]
    return [
        Stop(row["workload"], row["route"], owners["G3"], study.as_of, row["permission_reason"])
        for row in barred.to_dict("records")
    ]


def _fired_steps(tables: Tables) -> list[TriggerStep]:
    """The next step of every fired trigger, with its owner."""
    steps = trigger_table().set_index("id")["step"]
    return [
        TriggerStep(row["id"], row["workload"], row["owner"], steps[row["id"]], row["evidence"])
        for row in tables["triggers"]
        if row["status"] == "fired"
    ]


# --- work and its cost ----------------------------------------------------------------------


def _item_costs(study: Study, tables: Tables) -> dict[str, list[ItemCost]]:
    """The item costs that figures give: golden items by workload, and the one-off cost of moves."""
    golden = []
    for name, (n, _) in _golden_items(tables).items():
        price = usd_per_item(study, name)
        low, high = price.ends
        golden.append(ItemCost(name, n * price.value, n * low, n * high, f"{count(n)} items"))
    moves = []
    for name, v in tables["verdicts"].items():
        if v["decision"] == "move":
            cost = study.moving[v["arm"]].cost
            moves.append(ItemCost(name, cost.value, *cost.ends, f"moving.{v['arm']}.cost"))
    return {"golden_set": golden, "move": moves}


def _canary_note(steps: pd.DataFrame, longest_days: float) -> str | None:
    """How long each canary takes; if longer than allowed, at which step to begin instead."""
    notes = []
    for name, canary in steps.groupby("workload", sort=False):
        days = canary["days"].sum()
        words = f"{name}: {count(days)} days"
        if days > longest_days:
            begin = fitting(canary, longest_days)["traffic_share"].iloc[0]
            words += f", more than {count(longest_days)}: begin at {share(float(begin))}"
        notes.append(words)
    return "; ".join(notes) or None

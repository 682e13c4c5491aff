"""Triggers, criteria, risks, the panel, the plan, and what each rule would cost."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from llmstudy import charts
from llmstudy.charts import Chart
from llmstudy.memo.facts import Facts
from llmstudy.tables import named
from llmstudy.text import count, opening, share, span, usd


def trigger_status(facts: Facts) -> Chart:
    """The triggers of every workload."""
    return charts.trigger_status(pd.DataFrame(facts.decided["triggers"]))


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


def risk_register(facts: Facts) -> Chart:
    """The risks by the source memo's rating, marked by what this study sees of them."""
    seen = [r["grade"] for r in facts.decided["risk_indicators"] if r["state"] != "no evidence"]
    grades = ", ".join(sorted(set(seen)))
    note = f"likelihood and impact: the source memo's · what is seen: {grades or 'nothing'}"
    return charts.risk_register(pd.DataFrame(facts.decided["risks"]), note)


def phase_timeline(facts: Facts) -> Chart:
    """The phases as dated bars, each with the gate that closes it and how that stands."""
    table = pd.DataFrame(facts.decided["phases"])
    for column in ("start", "end"):
        table[column] = pd.to_datetime(table[column]).dt.date
    table["gate"] = [
        f"{row['exit_state']}: {'; '.join(_at_stake(facts, row)[:2]) or row['exit_gate']}"
        for row in facts.decided["phases"]
    ]
    return charts.phase_timeline(table, facts.study.decide_by)


def _at_stake(facts: Facts, phase: Mapping[str, Any]) -> list[str]:
    """The exit gates of a phase that hold it in its state; none once it is passed."""
    held = {"phase": phase["phase"], "at": "exit", "state": phase["exit_state"]}
    rows = [] if phase["exit_state"] == "passed" else facts.decided["plan_gates"]
    own = [row["gate"] for row in rows if all(row[key] == held[key] for key in held)]
    return list(dict.fromkeys(own))


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
    return f"{said}{':' if fmt is usd else ''} {figure} ({grade})"


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

"""The appendix: verdicts, the panel, the criteria, the plan and its risks.

The rest is in chapter 07. A section whose results a run does not have is left out.
"""

from typing import Any

import pandas as pd
from markupsafe import Markup

from llmstudy.memo.context import Facts
from llmstudy.memo.figures import bound, counted, quoted, told, told_span
from llmstudy.memo.sections.drivers import quantity
from llmstudy.memo.sections.prose import bullets, heading, html, owner_text, paragraph, table
from llmstudy.text import count, listed, share, usd

MOST_RISKS = 6
"""Rows of the register that the appendix shows: those that are active, then those that warn."""


MOST_ROWS = 9
"""Rows of a table that grows with the study; chapters 06 and 07 hold all of them."""


def appendix_heading() -> str:
    """Heading of the appendix, which begins on a page of its own in print."""
    title = "Appendix: the verdicts and their triggers"
    return f'<h2 class="appendix" data-section="appendix">{title}</h2>'


# --- verdicts -----------------------------------------------------------------------------------


def verdict_table(facts: Facts) -> pd.DataFrame:
    """One row per workload: verdict, route, contract and the reasons in short."""
    return pd.DataFrame([_verdict(facts, name, plain=True) for name in facts.verdicts])


def verdicts(facts: Facts) -> str:
    """The same in the memo, each reason with its place."""
    rows = [_verdict(facts, name, plain=False) for name in facts.verdicts]
    return table(rows, "Verdict of each workload")


def _verdict(facts: Facts, name: str, plain: bool) -> dict[str, Any]:
    v, named = facts.verdicts[name], str if plain else owner_text
    routes = [v["target"]] if v["target"] else _compared_routes(facts, name)
    reasons = [r for route in routes for r in v["reasons"] if r["route"] == route]
    short: list[str] = []
    for i, r in enumerate(reasons):  # a route is named once, where the row does not name it already
        repeats = r["route"] == v["target"] or (i and r["route"] == reasons[i - 1]["route"])
        sentence = str(r["sentence"])
        short.append(sentence.removeprefix(f"{r['route']}: ") if repeats else sentence)
    none = [] if facts.study.workloads[name].candidates else ["no candidate is named"]
    why: Any = "; ".join([*none, *short])
    if not plain:
        pairs = zip(reasons, short, strict=True)
        why = html("; ".join([*none, *(quoted(r["sentence"], s) for r, s in pairs)]))
    return {
        "workload": named(name),
        "verdict": v["decision"],
        "runs on": named(v["route"]) if v["route"] else "no permitted route",
        "favoured": named(v["target"]) if v["target"] else "none",
        "contract": v["contract"] if plain else quoted(v["contract"]),
        "why": why or "no candidate can serve it",
    }


def _compared_routes(facts: Facts, name: str) -> list[str]:
    """The routes whose reasons explain why nothing is favoured: the candidate that saves most, and
    today's route, which alone counts where it may not see the data."""
    moves = facts.decided.get("first_moves", [])
    best = [row["target"] for row in moves if row["workload"] == name]
    staying = facts.verdicts[name]["route"] is not None
    today = facts.study.workloads[name].current_route
    return [*(route for route in best if route and staying), today]


# --- the panel ----------------------------------------------------------------------------------


def panel_heading() -> str:
    """Heading of the panel's picture and tables."""
    return heading("panel", "The panel: what each advisor's rule would do")


def panel(facts: Facts) -> str:
    """What each advisor's rule decides today, when it would switch, and what it would cost."""
    rows = facts.decided.get("panel")
    if not rows:
        return ""
    table_rows = [
        {
            "lens": row["lens"],
            "decides today": row["decides"],
            "agrees with this memo": row["agrees"],
            "switches": _switch(row),
            "regret": html(told(row["regret_usd"], usd)) if row["regret_usd"] is not None else None,
            "because": quoted(row["because"]),
        }
        for row in rows
    ]
    caption = "Month of switch and mean regret against hindsight, in simulated futures"
    return table(table_rows, caption)


def _switch(row: Any) -> Markup | str | None:
    if row["p_never"] is None:
        return None
    if row["switch_month_p50"] is None:
        return "never in most futures"
    if row["switch_month_p50"] == 0:
        return "at once"
    return html("month ", told(row["switch_month_p50"]))


def disagreements(facts: Facts) -> str:
    """The advisors' four disagreements, each with what this study's evidence says."""
    rows = facts.decided.get("disagreements")
    if not rows:
        return ""
    table_rows = [
        {
            "id": row["id"],
            "question": row["question"],
            "this study says": quoted(row["resolution"], _first_sentence(row["resolution"])),
            "grade": row["grade"],
        }
        for row in rows
    ]
    return table(table_rows, "The advisors' disagreements, on this study's evidence") + _five(facts)


def _first_sentence(text: str) -> str:
    first, end, _ = str(text).partition(". ")
    return first + end.strip()


def _five(facts: Facts) -> str:
    questions = facts.decided["five_questions"]
    no = [row["id"] for row in questions["rows"] if row["answer"] == "no"]
    answered = f"no to {listed(no)}" if no else "no to none of them"
    return paragraph(
        f"The source memo's five questions say: {quoted(questions['verdict'])} ({answered}); they "
        "are reported only, and never override privacy."
    )


# --- criteria -----------------------------------------------------------------------------------

_ARMS = {
    "proprietary_api": "proprietary API",
    "hosted_open": "hosted open weights",
    "self_hosted": "self-hosting",
}


def criteria(facts: Facts) -> str:
    """C1 to C6 of the lead workload, each arm's verdict in its own words."""
    rows = [r for r in facts.decided.get("criteria", []) if r["workload"] == facts.lead]
    if not rows:
        return ""
    lines: dict[str, dict[str, Any]] = {}
    for row in rows:
        line = lines.setdefault(row["id"], {"criterion": f"{row['id']} {row['criterion']}"})
        line[_ARMS[row["arm"]]] = quoted(row["verdict"])
    return heading("criteria", "The six criteria") + table(
        list(lines.values()),
        html(f"What each rests on for {owner_text(facts.lead)}; the other workloads: chapter 07"),
    )


# --- the plan -----------------------------------------------------------------------------------


def plan_heading() -> str:
    """Heading of the timeline and its text."""
    return heading("plan", "The plan and its gates")


def plan(facts: Facts) -> str:
    """The state of the gates, what the phases cost, and what moves first."""
    gates, moves = facts.decided.get("plan_gates"), facts.decided.get("first_moves")
    sentences = [_phase_costs(facts)]
    if gates:
        passed = facts.reckoned["gates"]["passed"]
        open_ = [
            row for row in gates if row["state"] != "passed" and row["phase"] == gates[0]["phase"]
        ]
        waits = "; ".join(f"{row['gate']} ({quoted(row['evidence'])})" for row in open_)
        sentences.append(f"{told(passed)} of {counted(gates)} gates are passed.")
        sentences.append(f"Not yet true in the first phase: {waits}." if waits else "")
    first = [
        {
            "workload": owner_text(row["workload"]),
            "by the rule": row["v3"],
            "this memo": row["decision"],
            "because": quoted(row["because"]),
            "held back by": quoted(row["risks"]),
        }
        for row in (moves or [])[:MOST_ROWS]
    ]
    caption = "What moves first and what stays, by the source memo's rule and by this memo"
    return paragraph(*sentences) + (table(first, caption) if first else "")


def _phase_costs(facts: Facts) -> str:
    parts = [
        f"{row['title']} {told_span(row['cost_low_usd'], row['cost_high_usd'], usd)}"
        for row in facts.decided["phases"]
        if row["cost_high_usd"]
    ]
    sentences = [f"The phases cost: {listed(parts)}." if parts else ""]
    sentences += [
        f"{row['title']}: {quoted(row['note'])}." for row in facts.decided["phases"] if row["note"]
    ]
    return " ".join(filter(None, sentences))


# --- risks and alternatives ---------------------------------------------------------------------


def risk_register(facts: Facts) -> str:
    """The risks whose indicators are active or warn, each with its mitigation."""
    rows = facts.decided.get("risks")
    if not rows:
        return ""
    live = [row for state in ("active", "warning") for row in rows if row["state"] == state]
    table_rows = [
        {
            "risk": row["risk"],
            "state": row["state"],
            "indicator": quoted(row["live"]),
            "mitigation": quoted(row["mitigation"], _longest(row["mitigation"])),
        }
        for row in live[:MOST_RISKS]
    ]
    counts = facts.reckoned["risks"]
    title = (
        f"{told(counts['active'])} of {counted(rows)} risks are active, "
        f"{told(counts['warning'])} give warning"
    )
    if not table_rows:
        return heading("risk-register", title)
    rest = "; the other ones: chapter 07" if len(live) > len(table_rows) else ""
    caption = f"Risks with live evidence, active first{rest}"
    return heading("risk-register", title) + table(table_rows, caption)


def _longest(mitigation: str) -> str:
    """The longest of the measures that the advisors name; the others are in chapter 07."""
    return max(str(mitigation).split("; "), key=len)


def tradeoffs(facts: Facts) -> str:
    """The three key trade-offs, each side with the figure that this study has for it."""
    rows = facts.decided.get("key_tradeoffs")
    if not rows:
        return ""
    table_rows = [
        {
            "trade-off": row["tradeoff"],
            "option": row["option"],
            "gains": _side(row, "gains", "gain"),
            "gives up": _side(row, "gives_up", "price"),
        }
        for row in rows
    ]
    return heading("tradeoffs", "Trade-offs and alternatives") + table(
        table_rows, "The three key trade-offs, with this study's figure for each side"
    )


def _side(row: Any, says: str, side: str) -> Markup:
    """One side of a trade-off, with its figure where the study has one."""
    value, unit, what = (row[f"{side}_{key}"] for key in ("value", "unit", "figure"))
    if value is None:
        return quoted(row[says])
    figure = quoted(what, str(what).split("; ")[0])
    if unit.startswith("USD"):
        return html(quoted(row[says]), " (", bound(quantity(value, unit), value), ", ", figure, ")")
    fmt = share if unit == "share" else count
    low, high = row[f"{side}_low"], row[f"{side}_high"]
    number = told(value, fmt) if low is None else told_span(low, high, fmt)
    return html(quoted(row[says]), " (", number, " ", figure, ")")


def alternatives(facts: Facts) -> str:
    """Each alternative, whether its conditions are met here, and what is missing."""
    rows = facts.decided.get("alternatives")
    if not rows:
        return ""
    table_rows = [
        {
            "alternative": f"{row['id']} {row['alternative']}",
            "conditions": row["verdict"],
            "what is missing": _missing(row),
        }
        for row in rows
    ]
    return table(table_rows, "Alternatives, and whether what they are for is given here")


def _missing(row: Any) -> Markup | str:
    lists = [(row[key], str(row[key]).split("; ")) for key in ("fails", "open") if row[key]]
    first_items = [quoted(text, parts[0]) for text, parts in lists]
    more = ", and more" if any(len(parts) > 1 for _, parts in lists) else ""
    return html("; ".join(first_items), more) if first_items else "nothing"


# --- roadmap ------------------------------------------------------------------------------------


def roadmap(facts: Facts) -> str:
    """Systems that are still to be built or bought."""
    rows = facts.reckoned["roadmap"]
    if not rows:
        return ""
    return heading("roadmap", "Roadmap: systems to build or buy") + bullets(
        f"{row['id']}: {quoted(row['line'])} ({row['title']}, {row['owner']})" for row in rows
    )


# --- crossovers ---------------------------------------------------------------------------------


def crossovers(facts: Facts) -> str:
    """The volume from which one route stays cheaper than another, by pair of arms."""
    rows = [
        {
            "workload": owner_text(row["workload"]),
            "from route": owner_text(row["from_route"]),
            "to route": owner_text(row["to_route"]),
            "median": told(volume["p50"]) if volume["p50"] is not None else "never",
            "range": told_span(volume["p10"], volume["p90"]),
            "never": told(row["p_never"], share),
        }
        for row in _largest(facts)[:MOST_ROWS]
        for volume in (row["requests_per_month"],)
    ]
    if not rows:
        return ""
    within = told(facts.reckoned["range_share"], share)
    return table(rows, html(f"Crossover in requests a month, with its {within} range"))


def _largest(facts: Facts) -> list[Any]:
    """The crossovers in the order of the study, those of the largest bills alone where all are too
    many."""
    rows = facts.crossing["crossover"]
    bills = facts.crossing["month_usd"]["today_by_workload"]
    by_bill = sorted(rows, key=lambda row: -bills.get(row["workload"], 0.0))[:MOST_ROWS]
    return [row for row in rows if row in by_bill]

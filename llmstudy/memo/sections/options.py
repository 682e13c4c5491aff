"""The options: doing nothing, this memo, and each arm, in the same columns."""

from typing import Any

from markupsafe import Markup

from llmstudy.memo.context import Facts
from llmstudy.memo.figures import counted, told, told_span
from llmstudy.memo.sections.prose import first_few, heading, html, paragraph, table, usd_range
from llmstudy.text import listed, share, usd

_OPTIONS = {
    "stay": ("Do nothing", "yes"),
    "verdict": ("▸ This memo", "yes, in the gateway"),
    "proprietary_api": ("Other models on APIs", "yes, in the gateway"),
    "hosted_open": ("All to hosted open weights", "yes, in the gateway"),
    "self_hosted": ("All to self-hosting", "in part: staff, rent"),
}


def options(facts: Facts) -> str:
    """The options as a table, the trade-offs between them, and why not the others."""
    rows = [(_name(facts, row), row) for row in facts.decided["options"]]
    rows = [(name, row) for name, row in rows if name]
    table_rows = [_row(facts, name, row) for name, row in rows]
    within = told(facts.reckoned["range_share"], share)
    early = facts.reckoned["before_a_move_usd"]
    cost = told_span(early["low"], early["high"], usd)
    caption = html(
        f"Cost over {told(facts.stated('horizon')['value'])} months with its {within} range; what "
        f"finding out costs ({cost}, phases before any move) is in no row"
    )
    tradeoffs = [row["tradeoff"] for row in facts.decided.get("key_tradeoffs", [])]
    against = [_why_not(facts, name, row) for name, row in rows if "▸" not in name]
    return (
        heading("options", "Options")
        + paragraph(f"What is traded: {listed(tradeoffs)}." if tradeoffs else "")
        + table(table_rows, caption)
        + paragraph(f"Why not the others: {listed(against)}." if against else "")
    )


def _name(facts: Facts, row: Any) -> str:
    """The name of an option; empty where it is the same as another."""
    option = row["option"]
    if not facts.deciding("move"):
        if option == "verdict":
            return ""
        if option == "stay" and not facts.barred():
            return "▸ This memo: stay for now"
    verdict = next(r for r in facts.decided["options"] if r["option"] == "verdict")
    same = all(row[key] == verdict[key] for key in ("workloads_moved", "cost_usd"))
    if same and option not in ("verdict", "stay"):
        return ""
    return _OPTIONS[option][0]


def _row(facts: Facts, name: str, row: Any) -> dict[str, Any]:
    return {
        "option": name,
        "moved": html(counted(row["workloads_moved"]), " of ", told(_all(facts))),
        "cost": told(row["cost_usd"]["p50"], usd),
        "range": usd_range(row["cost_usd"]),
        "quality": _quality(row),
        "first token": _latency(row),
        "reversible": _OPTIONS[row["option"]][1],
    }


def _all(facts: Facts) -> Any:
    return facts.reckoned["confidence"]["workloads"]


def _quality(row: Any) -> Markup | str:
    parts = []
    if row["inferior"]:
        parts.append(f"{counted(row['inferior'])} inferior")
    if row["unproven"]:
        parts.append(f"{counted(row['unproven'])} unproven")
    return html(", ".join(parts)) or (
        "as today" if not row["workloads_moved"] else "holds the margin"
    )


def _latency(row: Any) -> Markup | str:
    named = {"missed": row.get("late", []), "not known": row.get("unmeasured", [])}
    parts = [html(counted(names_), f" {state}") for state, names_ in named.items() if names_]
    return html(", ".join(parts)) or "holds its target"


def _why_not(facts: Facts, name: str, row: Any) -> str:
    """The case against an option: lower quality, higher cost, no proof."""
    more = facts.reckoned["against_this_memo_usd"][row["option"]]
    forced = [n for n in facts.deciding("move") if facts.forced(n)] + facts.barred()
    against = [f"inferior on {counted(row['inferior'])}"] if row["inferior"] else []
    if row["option"] == "stay" and forced:
        against.append(f"privacy rules it out for {first_few(forced)}")
    if more > 0:
        against.append(f"{told(more, usd)} dearer")
    if row["unproven"] and not row["inferior"]:
        against.append(f"unproven on {counted(row['unproven'])}")
    short = name.removeprefix("All to ")
    return f"{short[:1].lower()}{short[1:]} ({'; '.join(against) or 'not surely better'})"

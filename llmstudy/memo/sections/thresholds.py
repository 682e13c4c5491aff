"""What would change our mind, what is unknown, and who does what next."""

from datetime import timedelta
from html import escape
from typing import Any

from markupsafe import Markup

from llmstudy.memo.context import ARMS, Facts
from llmstudy.memo.figures import counted, quoted, told
from llmstudy.memo.sections.findings import ladder, points
from llmstudy.memo.sections.prose import bullets, first_few, heading, html, names, owner_text, table
from llmstudy.text import share, usd

MOST_CHANGES, MOST_RISKS, MOST_STEPS = 4, 3, 4
"""The budget of each list (research/notebooks.md 5)."""

_REVIEW_AFTER = timedelta(days=91)
"""When the study is run again: MEMO V2 asks for every three to six months."""


def change_our_mind(facts: Facts) -> str:
    """Two to four solved thresholds, with who watches each, and what to measure next."""
    lines = [*changes(facts)[: MOST_CHANGES - 1], _measure_next(facts)]
    return heading("change-our-mind", "What would change our mind") + bullets(lines)


def changes(facts: Facts) -> list[str]:
    """The thresholds, the nearest to a decision first."""
    return [
        *_ways_back(facts),
        *_quality_thresholds(facts),
        *_volume_threshold(facts),
        _price_threshold(facts),
    ]


def _ways_back(facts: Facts) -> list[str]:
    """What would undo the moves of this memo, the forced ones first; of many one line each kind."""
    lines = []
    moves = facts.deciding("move")
    if forced := [name for name in moves if facts.forced(name)]:
        lines.append(
            f"{first_few(forced)} may stay if today's route gets the contract its data need "
            f"(G3: {_watches(facts, 'G3')} watches)."
        )
    if chosen := [name for name in moves if not facts.forced(name)]:
        last = [row for row in facts.decided["canary"] if row["workload"] == chosen[0]][-1]
        gap = last["acceptance_alarm_gap"]
        lines.append(
            f"{owner_text(chosen[0])} goes back as soon as its canary's evidence says so: "
            f"{told(gap, points)} points fewer accepted answers on {told(last['requests'])} "
            f"requests at full traffic ({escape(facts.decided['phases'][2]['owner'])} watches)."
        )
    return lines


def _watches(facts: Facts, trigger: str) -> str:
    """The owner of a trigger."""
    owners = {row["id"]: row["owner"] for row in facts.decided["triggers"]}
    return escape(owners[trigger])


def _quality_thresholds(facts: Facts) -> list[str]:
    quality = {(r["workload"], r["route"]): r for r in facts.chapters["04_quality"]["quality"]}
    rows = facts.reckoned["items"]["rows"]
    worth = sorted(rows, key=lambda row: -(row["value_usd"] or 0.0))
    lines = []
    for row in worth[:2]:
        mark = quality[row["workload"], row["route"]]["pass_mark"]
        if mark is not None:
            lines.append(
                f"{owner_text(row['workload'])} moves to {owner_text(row['route'])} if "
                f"{told(row['n'])} own items show a difference of {told(mark, points)} points or "
                "better (evaluation lead watches)."
            )
    return lines


def _volume_threshold(facts: Facts) -> list[str]:
    lead = facts.lead
    rows = [r for r in ladder(facts.crossovers(lead)) if r["to_arm"] == "self_hosted"]
    if not rows:
        return []
    at, other = rows[0]["requests_per_month"]["p50"], ARMS[rows[0]["from_arm"]]
    if at is None:
        return [
            f"{owner_text(lead)}: no volume below the cap makes self-hosting cheaper than {other} "
            f"in most draws (G1: {_watches(facts, 'G1')} watches)."
        ]
    if at <= facts.requests_per_month(lead):
        return []
    return [
        f"{owner_text(lead)} above {told(at)} requests a month: self-hosting is then cheaper than "
        f"{other} (G1: {_watches(facts, 'G1')} watches)."
    ]


def _price_threshold(facts: Facts) -> str:
    limit = facts.stated("thresholds.price_rise")["value"]
    risen = [row for row in facts.fired() if row["id"] == "G4" and row["value"] >= limit]
    fired = [row["workload"] for row in risen]
    state = f"already true of {first_few(fired)}" if fired else "none is scheduled"
    return (
        f"A price rise of {told(limit, share)} or more on today's routes: {state} "
        f"(G4: {_watches(facts, 'G4')} watches)."
    )


def _measure_next(facts: Facts) -> str:
    row = facts.crossing["measure_next"]
    if row is None:
        return "Nothing more is worth measuring at its cost."
    return (
        f"Measure next: {owner_text(row['workload'])}, {quoted(row['measurement'])}, worth "
        f"{told(row['value_usd'], usd)} for {told(row['cost_usd'], usd)}."
    )


def risks(facts: Facts) -> str:
    """At most three lines: unanswered questions, doubts about the log, simulated or unmeasured
    evidence."""
    evidence = facts.chapters["01_evidence"]
    lines = []
    if facts.unknown:
        lines.append(f"Unanswered, and priced with wide priors: {_questions(facts.unknown)}.")
    if doubts := [*evidence["set_aside"], *evidence["warnings"]]:
        lines.append(" ".join(map(quoted, doubts)))
    simulated = [r["workload"] for r in evidence["workloads"] if r["traffic"] == "simulated"]
    if simulated:
        lines.append(
            f"Requests of {first_few(simulated)} are simulated from published figures, not read "
            "from a log."
        )
    other = [r["not_comparable"] for r in facts.chapters["03_latency"]["probes"]]
    lines += [html(quoted(text), ".") for text in other if text]
    unmeasured = facts.reckoned["unmeasured_routes"]
    if unmeasured:
        routes = "route" if len(unmeasured) == 1 else "routes"
        lines.append(
            f"The first token of {counted(unmeasured)} {routes} has not been measured against its "
            "target."
        )
    late = [r for r in facts.chapters["03_latency"]["latency"] if r["verdict"] == "undecided"]
    straddling = {r["route"] for r in late} - set(unmeasured)
    if straddling:
        lines.append(
            f"The first token of {first_few(sorted(straddling))} was measured, not often enough to "
            "tell whether it holds its target."
        )
    items = lines[:MOST_RISKS] or ["No gap in the evidence was found that a reader must know of."]
    return heading("risks", "Risks and unknowns") + bullets(items)


def _questions(paths: list[str]) -> str:
    return names(dict.fromkeys(Markup(p.split(".")[-1].replace("_", " ")) for p in paths))


def next_steps(facts: Facts) -> str:
    """At most four steps with owner and date, in the order of their dates."""
    steps = sorted(_steps(facts)[:MOST_STEPS], key=lambda step: str(step["by"]))
    return heading("next-steps", "Next steps") + table(steps, "Who does what by when")


def _steps(facts: Facts) -> list[dict[str, Any]]:
    """The steps, the most urgent first."""
    study, study_owner = facts.study, owner_text(facts.study.owner)
    first, second, third = facts.decided["phases"]
    decided = study.decide_by.isoformat()
    rows: list[tuple[Any, str, str]] = []
    if stops := [row["workload"] for row in facts.stops()]:
        what = html(f"Stop sending {first_few(stops)} to today's route")
        rows.append((what, _watches(facts, "G3"), study.as_of.isoformat()))
    if barred := facts.barred():
        rows.append(
            (html(f"Sign or name another route: {first_few(barred)}"), study_owner, decided)
        )
    if facts.unknown:
        rows.append(("Answer the open intake questions", study_owner, decided))
    for forced in (True, False):
        moves = [name for name in facts.deciding("move") if facts.forced(name) == forced]
        if moves:
            named = [
                owner_text(name) + Markup(" to ") + owner_text(facts.verdicts[name]["route"])
                for name in moves
            ]
            owner, by = (study_owner, decided) if forced else (third["owner"], third["end"])
            rows.append((html(f"Move {first_few(named)}"), owner, by))
    items = facts.reckoned["items"]
    if items["n"]:
        what = html(f"Score {told(items['n'])} golden items ({told(items['usd'], usd)})")
        rows.append((what, second["owner"], second["end"]))
    rows.append(("Log every call behind the gateway", first["owner"], first["end"]))
    review = (study.as_of + _REVIEW_AFTER).isoformat()
    rows.append(("Re-run this study on the new log", study_owner, review))
    return [{"step": step, "owner": owner, "by": by} for step, owner, by in rows]

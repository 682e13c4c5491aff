"""The memo's own tables: which results of a study it shows, in which order.

Chapter 08 writes these tables as its results, so that each number in the memo has a place that a
reader can look up and a program can read. There is no HTML and no sentence here: the words are in
`memo.html.j2`.
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import pandas as pd

from llmstudy import paths
from llmstudy.decide.dates import labelling_hours_per_week
from llmstudy.decide.triggers.rules import trigger_table
from llmstudy.decide.verdicts import answers_late, pays
from llmstudy.figure import Figure
from llmstudy.memo.context import Facts
from llmstudy.simulate.inputs import N_DRAWS
from llmstudy.study.labelling import minutes_per_item, usd_per_item
from llmstudy.study.lines import lines_of
from llmstudy.tables import named

RANGE_SHARE = 0.9 - 0.1
"""Share of futures within a range, which is P10 to P90."""

MOST_WORKLOADS, MOST_ASSUMPTIONS, MOST_RISKS, MOST_STEPS, MOST_CHANGES = 8, 5, 6, 6, 3
"""The most rows of the memo's tables before the appendix, to fit on two pages."""

CARRIED_OUT_BY = {
    "log": ("gateway/README.md", "gateway/phase-1/config.yaml"),
    "decide": ("gateway/diff.md",),
    "move": ("gateway/phase-3/config.yaml",),
    "review": ("gateway/requests.yaml",),
}
"""The files of a run that carry a next step out, by its kind."""

MOST_ROWS = 9
"""The most rows of an appendix table that grows with the study; chapters 06 and 07 have all."""

SOON_AFTER = timedelta(days=183)
"""A contract that ends within half a year of the start of a move must be renewed before it."""

REVIEW_AFTER = timedelta(days=91)
"""Time until the study is run again: MEMO V2 asks for every three to six months."""

WITHIN_REACH = 10
"""Multiple of today's volume up to which a crossover is worth watching: no growth rate in the
source memo reaches more within a study's horizon."""


def memo_tables(facts: Facts) -> dict[str, Any]:
    """The memo's own tables, by name."""
    course_, scored, workloads = course(facts), _scored(facts), workload_rows(facts)
    ask = _ask(facts, workloads)
    return {
        "version": facts.study.version,
        "range_share": round(RANGE_SHARE, 9),
        "futures": N_DRAWS,
        "spare_replicas": facts.study.self_hosting.spare_replicas,
        "heldout_error": _heldout_error(facts),
        "horizon": dict(facts.stated("horizon")),
        "volume_cap": dict(facts.stated("volume_cap")),
        "course": course_,
        "confidence": _confidence(facts, scored),
        "workloads": workloads[:MOST_WORKLOADS],
        "all_workloads": len(workloads),
        "scored": scored,
        "phases": _phases(facts),
        "ask": ask,
        "waiting_usd": facts.waiting_usd("move" if facts.deciding("move") else "undecided"),
        "changes": _changes(facts, workloads),
        "options": _options(facts, course_["kind"]),
        "break_even": _break_even(facts),
        "assumptions": _assumptions(facts),
        "risks": _risks(facts),
        "tuning": _tuning(facts),
        "steps": _steps(facts, workloads, ask),
        "verdicts": verdict_rows(facts)[:MOST_ROWS],
        "why_not_now": _why_not_now(facts),
        "roadmap": _roadmap(facts),
        "crossovers": _crossovers(facts),
        "files": _files(facts),
    }


# --- page one -----------------------------------------------------------------------------------


def course(facts: Facts) -> dict[str, Any]:
    """The recommendation in short: its kind, and the workloads that it is about.

    kind is the first of these that applies: barred (some workload has no permitted route), forced
    (some workload must leave today's route), move (some moves pay off and are proven), evaluate
    (evidence may open a move), unmet (today's route cannot stay and nothing can replace it), answer
    (intake questions are open), stay. then: the arms that evidence may open. lead: the workload
    whose move saves most. next: the workload that may follow.
    """
    moves, open_ = facts.deciding("move"), _promising(facts)
    forced = [name for name in moves if facts.forced(name)]
    unmet = [n for n in facts.deciding("undecided") if n not in (*open_, *facts.barred())]
    kinds = {
        "barred": facts.barred(),
        "forced": forced,
        "move": moves,
        "evaluate": open_,
        "unmet": unmet,
        "answer": facts.unknown,
    }
    kind = next((kind for kind, what in kinds.items() if what), "stay")
    fleet = facts.self_hosted_move
    today = [facts.todays_arm(name) for name in facts.verdicts]
    return {
        "kind": kind,
        "overall": facts.decided["overall"],
        "all_on_apis": all(arm == "proprietary_api" for arm in today),
        "moves": moves,
        "moves_to": sorted({facts.verdicts[name]["arm"] for name in moves}),
        "forced": forced,
        "barred": facts.barred(),
        "unmet": unmet,
        "stays": [name for name in facts.verdicts if name not in (*moves, *facts.barred())],
        "then": sorted({facts.study.routes[facts.verdicts[n]["target"]].arm for n in open_}),
        "stops": [
            {"workload": row["workload"], "because": row["permission_reason"]}
            for row in facts.stops()
        ],
        "signable": all(_missing_contract(facts, name) for name in facts.barred()),
        "inside": all(_may_stay_inside(facts, name) for name in facts.barred()),
        "lead": facts.lead,
        "next": open_[0] if open_ else None,
        "fleet": dict(fleet) if fleet else None,
        "unbilled": facts.unbilled(),
        "extra_usd": _extra(facts),
        "unknown": [p.split(".")[-1].replace("_", " ") for p in facts.unknown],
    }


def _promising(facts: Facts) -> list[str]:
    """Undecided workloads with a route that evidence may favour, the largest saving first."""
    open_ = [name for name in facts.deciding("undecided") if facts.verdicts[name]["target"]]

    def gain(name: str) -> float:
        saving = _saving(_route(facts, name, facts.verdicts[name]["target"]))
        return saving["p50"] if saving else 0.0

    return sorted(open_, key=gain, reverse=True)


def _missing_contract(facts: Facts, name: str) -> bool:
    rows = facts.rows("06_crossover", "permissions", workload=name)
    return any(row["missing"] for row in rows)


def _may_stay_inside(facts: Facts, name: str) -> bool:
    """Whether a self-hosted fleet may see a workload's data."""
    rows = facts.rows("06_crossover", "permissions", workload=name)
    return any(row["self_hosting"] for row in rows)


def _extra(facts: Facts) -> dict[str, float] | None:
    """The extra cost of forced moves over staying; None if they save. usd."""
    saving = facts.decided["saving"]
    if saving is None or saving["p50"] >= 0:
        return None
    return {"p10": -saving["p90"], "p50": -saving["p50"], "p90": -saving["p10"]}


def _confidence(facts: Facts, scored: Mapping[str, Any]) -> dict[str, Any]:
    """The level of confidence, and the counts behind it. scored: as `_scored`."""
    rows = facts.chapters["01_evidence"]["workloads"]
    return {
        "level": facts.confidence()[0],
        "logged": sum(row["traffic"] == "measured" for row in rows),
        "workloads": len(rows),
        "own": scored["own"],
        "scored": scored["scored"],
    }


def _scored(facts: Facts) -> dict[str, Any]:
    """Counts of comparisons: scored, passed, failed, on own questions, and waiting for scores."""
    table = facts.comparisons()
    scored = table[table["verdict"] != "none"]
    return {
        "scored": len(scored),
        "passed": int((scored["verdict"] == "non-inferior").sum()),
        "failed": int((scored["verdict"] == "inferior").sum()),
        "own": int((scored["grade"] == "measured").sum()),
        "waiting": len(table) - len(scored),
        "benchmarks": sorted(set(scored.loc[scored["closeness"] != "own", "benchmark"])),
        "far": int((scored["closeness"] == "far").sum()),
    }


def workload_rows(facts: Facts) -> list[dict[str, Any]]:
    """A row per workload, the largest bill first: where it runs, its move, its saving, what is
    missing."""
    bills = facts.crossing["month_usd"]["today_by_workload"]
    rows = [_workload(facts, name) for name in facts.verdicts]
    return sorted(rows, key=lambda row: -bills.get(row["workload"], 0.0))


def _workload(facts: Facts, name: str) -> dict[str, Any]:
    verdict, today = facts.verdicts[name], facts.study.workloads[name].current_route
    target = verdict["target"]
    move = _route(facts, name, target)
    collect = verdict["collect"]
    savings = facts.rows("06_crossover", "savings", workload=name)
    best = max(savings, key=lambda row: row["p_cheaper"], default=None)
    return {
        "workload": name,
        "decision": verdict["decision"],
        "runs_on": today,
        "month_usd": facts.crossing["month_usd"]["today_by_workload"].get(name),
        "stopped": any(row["workload"] == name for row in facts.stops()),
        "barred": verdict["route"] is None,
        "goes_to": target,
        "begins": _begins(facts, name, target),
        "saving_usd": _saving(move),
        "follower_usd": move and move["saving_same_quality_usd"],
        "unsure": move is not None and not pays(move, lines_of(facts.study)),
        "questions": facts.questions(name),
        "pass_mark": move and move["pass_mark"],
        "unmeasured": move is not None and move["latency"] == "undecided",
        "slow": move is not None and answers_late(move),
        "first_answer_s": move and move["first_answer_s"],
        "target_s": move and move["target_s"],
        "renew_by": _renew_by(facts, name, target),
        "contracts": [c["sentence"] for c in collect if c["what"] == "contract"],
        "ends": [c["sentence"] for c in collect if _ends_route(c, today)],
        "unknown": sum(c["n"] or 0 for c in collect if c["what"] == "intake"),
        "best": {"route": best["route"], "p_cheaper": best["p_cheaper"]} if best else None,
        "too_long": _too_long(facts, name),
    }


def _too_long(facts: Facts, name: str) -> dict[str, float] | None:
    """The labelling that lets no move begin within the horizon, else None.

    questions, hours (of an expert), weeks and the hours_per_week that they are counted at.
    """
    dates = facts.rows("04_quality", "dates", workload=name)
    first = min(dates, key=lambda row: row["start_months"], default=None)
    if first is None or not first["items"] or first["start_months"] < facts.study.months:
        return None
    return {
        "questions": first["items"],
        "hours": first["items"] * minutes_per_item(facts.study, name).value / 60,
        "weeks": first["label_weeks"],
        "hours_per_week": labelling_hours_per_week(),
    }


def _ends_route(collect: Mapping[str, Any], route: str) -> bool:
    """Whether evidence to collect is about why today's route cannot stay.

    Its model retires, it misses a target, or it has no known capacity.
    """
    why = ("successor", "latency", "probe")
    return collect["what"] in why and str(collect["sentence"]).startswith(f"{route}:")


def _route(facts: Facts, name: str, target: str | None) -> Mapping[str, Any] | None:
    """Chapter 07's row of the route that a workload may move to; None if it stays."""
    if target is None or target == facts.study.workloads[name].current_route:
        return None
    return facts.rows("07_triggers_and_routing", "routes", workload=name, route=target)[0]


def _saving(move: Mapping[str, Any] | None) -> dict[str, float] | None:
    """The saving of a move on the plan's date: p10, p50, p90. usd."""
    if move is None:
        return None
    return {end: move[f"saving_{end}_usd"] for end in ("p10", "p50", "p90")}


def _renew_by(facts: Facts, name: str, target: str | None) -> str | None:
    """The day on which the first contract that a move needs ends, if that is soon after its start,
    else None."""
    begins = _begins(facts, name, target)
    if begins is None:
        return None
    rows = facts.rows("07_triggers_and_routing", "contracts", route=target)
    ends = [row["valid_until"] for row in rows if name in row["needed_by"] and row["valid_until"]]
    first = min(ends, default=None)
    soon = date.fromisoformat(begins) + SOON_AFTER
    return first if first and date.fromisoformat(first) < soon else None


def _begins(facts: Facts, name: str, target: str | None) -> str | None:
    rows = facts.rows("04_quality", "dates", workload=name, route=target) if target else []
    return str(rows[0]["begins"]) if rows else None


# --- phases and ask -----------------------------------------------------------------------------


def _phases(facts: Facts) -> list[dict[str, Any]]:
    """The phases, each with its number of exit gates and of those passed."""
    gates = facts.decided.get("plan_gates", [])
    rows = []
    for phase in facts.decided["phases"]:
        closing = [g for g in gates if g["phase"] == phase["phase"] and g["at"] == "exit"]
        passed = sum(gate["state"] == "passed" for gate in closing)
        rows.append({**phase, "gates_passed": passed, "gates": len(closing)})
    return rows


def _ask(facts: Facts, workloads: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The one amount to approve, and what it pays for.

    It is the high end of the costs of all phases. finding_out_usd: that of the phases before a
    move. net_usd, net_follower_usd: the savings of all moves less finding_out_usd, against staying
    and against cheaper models of equal quality. pays: `_pays` of the two. first, later: the own
    questions to score first, and those of moves whose saving is not certain. contracts, ends:
    sentences.
    """
    phases = facts.decided["phases"]
    parts = [
        {"title": row["title"], "usd": row["cost_high_usd"]}
        for row in phases
        if row["cost_high_usd"]
    ]
    open_ = [row for row in workloads if row["decision"] == "undecided" and row["questions"]]
    contracts = [c for row in workloads for c in row["contracts"]]
    usd = sum(part["usd"] for part in parts)
    # that of a move is in its saving already
    before = sum(row["cost_high_usd"] or 0 for row in phases[:2])
    saving = [row for row in workloads if row["saving_usd"]]
    net = sum(row["saving_usd"]["p50"] for row in saving) - before
    net_follower = sum(row["follower_usd"] for row in saving) - before
    return {
        "usd": usd,
        "finding_out_usd": before,
        "net_usd": net if saving else None,
        "net_follower_usd": net_follower if saving else None,
        "pays": _pays(net, net_follower) if saving else None,
        "parts": parts,
        "first": _questions_of(facts, [row for row in open_ if not row["unsure"]]),
        "later": _questions_of(facts, [row for row in open_ if row["unsure"]]),
        "contracts": list(dict.fromkeys(contracts)),
        "ends": facts.ending(),
    }


def _pays(net_usd: float, net_follower_usd: float) -> str:
    """For whom the plan pays: who stays otherwise, who follows cheaper models, both or neither.

    >>> [_pays(*net) for net in ((5, 1), (5, -1), (-5, 1), (-5, -1))]
    ['both', 'who stays', 'who follows', 'neither']
    """
    if (net_usd > 0) == (net_follower_usd > 0):
        return "both" if net_usd > 0 else "neither"
    return "who stays" if net_usd > 0 else "who follows"


def _questions_of(facts: Facts, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    n = sum(row["questions"] for row in rows)
    return {
        "workloads": [row["workload"] for row in rows],
        "questions": n,
        "usd": sum(
            row["questions"] * usd_per_item(facts.study, row["workload"]).value for row in rows
        ),
        "by": max((row["begins"] for row in rows if row["begins"]), default=None),
    }


# --- what would change it -----------------------------------------------------------------------


def _changes(facts: Facts, workloads: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The events that would change the recommendation, the most relevant first.

    Each has its kind, the owner who watches it and a date.
    """
    return [
        *_ways_back(facts),
        *_quality_marks(workloads, facts),
        *_volume_mark(facts),
        _price_mark(facts),
    ][:MOST_CHANGES]


def _ways_back(facts: Facts) -> list[dict[str, Any]]:
    """What would reverse the moves of this memo, forced ones first; at most one row per kind."""
    rows: list[dict[str, Any]] = []
    moves, review = facts.deciding("move"), (facts.study.as_of + REVIEW_AFTER).isoformat()
    if forced := [name for name in moves if facts.forced(name)]:
        watches = facts.watches("G3")
        rows.append({"kind": "contract", "workloads": forced, "who": watches, "by": review})
    if chosen := [name for name in moves if not facts.forced(name)]:
        steps = [row for row in facts.decided["canary"] if row["workload"] == chosen[0]]
        phase = facts.decided["phases"][2]
        if steps:
            rows.append(
                {
                    "kind": "canary",
                    "workload": chosen[0],
                    "loss_share": steps[-1]["acceptance_alarm_gap"],
                    "requests": steps[-1]["requests"],
                    "who": phase["owner"],
                    "by": phase["end"],
                }
            )
    return rows


def _quality_marks(workloads: Sequence[Mapping[str, Any]], facts: Facts) -> list[dict[str, Any]]:
    open_ = [row for row in workloads if row["decision"] == "undecided" and row["questions"]]
    worth = sorted(open_, key=lambda row: -(row["saving_usd"] or {"p50": 0.0})["p50"])
    return [
        {
            "kind": "quality",
            "workload": row["workload"],
            "route": row["goes_to"],
            "questions": row["questions"],
            "loss_share": -row["pass_mark"],
            "margin_share": facts.study.workloads[row["workload"]].quality.margin.value,
            "who": facts.decided["phases"][1]["owner"],
            "by": row["begins"],
        }
        for row in worth[:1]
        if row["pass_mark"] is not None and row["begins"]
    ]


def _volume_mark(facts: Facts) -> list[dict[str, Any]]:
    """The volume from which self-hosting the lead workload is cheaper than today's route, if it is
    within reach in most futures."""
    lead = facts.lead
    if facts.todays_arm(lead) == "self_hosted":
        return []
    rows = facts.rows("06_crossover", "crossover", workload=lead, from_arm=facts.todays_arm(lead))
    for row in rows:
        at, now = row["requests_per_month"]["p50"], facts.requests_per_month(lead)
        if row["to_arm"] == "self_hosted" and at and now < at <= WITHIN_REACH * now:
            return [
                {
                    "kind": "volume",
                    "workload": lead,
                    "route": row["to_route"],
                    "from_route": row["from_route"],
                    "requests": at,
                    "now": now,
                    "who": facts.watches("G1"),
                    "by": (facts.study.as_of + REVIEW_AFTER).isoformat(),
                }
            ]
    return []


def _price_mark(facts: Facts) -> dict[str, Any]:
    limit = facts.stated("thresholds.price_rise")["value"]
    risen = [row for row in facts.fired() if row["id"] == "G4" and row["value"] >= limit]
    return {
        "kind": "price",
        "rise": limit,
        "fired": [row["workload"] for row in risen],
        "announced": _announced(facts, [row["workload"] for row in risen]),
        "who": facts.watches("G4"),
        "by": (facts.study.as_of + REVIEW_AFTER).isoformat(),
    }


def _announced(facts: Facts, names: Sequence[str]) -> list[dict[str, Any]]:
    """The monthly bill of today's routes after an announced price change.

    Rows: workload, effective, now_usd, then_usd.
    """
    bills = facts.crossing["month_usd"]["today_by_workload"]
    return [
        {
            "workload": row["workload"],
            "effective": row["effective"],
            "now_usd": bills[row["workload"]],
            "then_usd": row["month_usd"],
        }
        for row in facts.chapters["02_cost"]["scheduled"]
        if row["workload"] in names
        and row["route"] == facts.study.workloads[row["workload"]].current_route
        and row["workload"] in bills
    ]


# --- page two -----------------------------------------------------------------------------------


def _options(facts: Facts, kind: str) -> list[dict[str, Any]]:
    """The options in the memo's order, without those that equal a row above.

    kind: of the `course`.
    """
    rows: list[dict[str, Any]] = []
    for row in facts.decided["options"]:
        same = [r for r in rows if r["workloads_moved"] == row["workloads_moved"]]
        if any(r["cost_usd"] == row["cost_usd"] for r in same):
            continue
        rows.append(dict(row))
    staying = None if kind == "unmet" else "stay"
    advised = "verdict" if facts.deciding("move") else "plan" if _promising(facts) else staying
    for row in rows:
        row["ruled_out"] = row["option"] == "stay" and bool(facts.stops())
        row["advised"] = row["option"] == advised and not row["ruled_out"]
    return rows


def _break_even(facts: Facts) -> dict[str, Any] | None:
    """The input that most probably turns the verdict on the lead's move, and the value at which.

    Of equally probable ones, the one whose turning point is nearest to its value today.
    """
    sensitivity = facts.sensitivity()
    if sensitivity is None:
        return None
    move = (sensitivity["workload"], sensitivity["route"])
    rows = [row for row in facts.crossing["flips"] if (row["workload"], row["route"]) == move]
    rows = [row for row in rows if row["flips_at"] is not None and row["value_now"]]
    if not rows:
        return None
    near = min(rows, key=lambda row: (-row["p_flip"], abs(row["distance_share"])))
    opposite = {"above": "below", "below": "above"}[near["direction"]]
    figure = facts.figure(near["input"], sensitivity["workload"])
    return {
        **near,
        "input": named("input", str(near["input"])),
        "side": opposite if near["passes_now"] else near["direction"],
        "unit": figure.unit if figure else near["unit"],
    }


_STATED = ("requests", "growth", "input_tokens", "output_tokens", "peak_to_mean")
"""The inputs of a bill, for a study without a move whose inputs are ranked."""


def _assumptions(facts: Facts) -> list[dict[str, Any]]:
    """The inputs that decide most, each with value, range, effect, grade, source and date."""
    sensitivity = facts.sensitivity()
    name = sensitivity["workload"] if sensitivity else facts.lead
    ranked = sensitivity["inputs"] if sensitivity else [{"input": short} for short in _STATED]
    figures = [(row, facts.figure(row["input"], name)) for row in ranked]
    rows = [_assumption(facts, row, figure) for row, figure in figures if figure is not None]
    return rows[:MOST_ASSUMPTIONS]


def _assumption(facts: Facts, row: Mapping[str, Any], figure: Figure) -> dict[str, Any]:
    ends = sorted((row["low_usd"], row["high_usd"])) if "low_usd" in row else None
    return {
        "assumption": named("input", str(row["input"])),
        "value": figure.value,
        "unit": figure.unit,
        "low": figure.low,
        "high": figure.high,
        "effect_usd": dict(zip(("low", "high"), ends, strict=True)) if ends else None,
        "grade": figure.grade,
        "source": figure.source,
        "as_of": str(figure.as_of or facts.study.as_of),
    }


_SEVERITY = {"": 1, "low": 0, "low-medium": 1, "medium": 2, "medium-high": 3, "high": 4}
_STATES = ("active", "warning", "quiet", "no live evidence")
_ALWAYS = ("R01", "R04", "R06", "R14")
"""Price, outage, quality drift and people: readers expect these risks in every memo."""


def _risks(facts: Facts) -> list[dict[str, Any]]:
    """The risks of the arms in use or considered: those always shown, then others by state and
    severity."""
    routes = [v[key] for v in facts.verdicts.values() for key in ("route", "target")]
    arms = {facts.study.routes[route].arm for route in routes if route}
    paths_ = {"both", *({"self_hosted"} & arms), *({"proprietary_api"} if arms else ())}

    def order(row: Mapping[str, Any]) -> tuple[int, int]:
        severity = _SEVERITY[row["likelihood"]] + _SEVERITY[row["impact"]]
        return _STATES.index(row["state"]), -severity

    rows = sorted(facts.decided.get("risks", []), key=order)
    always = [row for row in rows if row["id"] in _ALWAYS]
    others = [row for row in rows if row["id"] not in _ALWAYS and row["path"] in paths_]
    return sorted([*always, *others][:MOST_RISKS], key=order)


def _tuning(facts: Facts) -> dict[str, Any]:
    """Whether prompting and retrieval are proven insufficient, and what would justify tuning."""
    (row,) = [r for r in facts.decided["five_questions"]["rows"] if r["id"] == "Q4"]
    claims = facts.decided.get("criteria_claims", [])
    examples = [r["claim_low"] for r in claims if r["id"] == "own_examples"]
    ceilings = [r["workload"] for r in facts.fired() if r["id"] == "G5"]
    return {
        "insufficient": row["answer"],
        "examples": examples[0] if examples else None,
        "ceilings": ceilings,
    }


def _steps(
    facts: Facts, workloads: Sequence[Mapping[str, Any]], ask: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The next steps by date, the most urgent ones only: kind, owner, by, and more for some
    kinds."""
    study = facts.study
    first, second, third = facts.decided["phases"]
    decided = study.decide_by.isoformat()
    steps: list[dict[str, Any]] = []

    def add(kind: str, owner: str, by: str, **more: Any) -> None:
        steps.append({"kind": kind, "owner": owner, "by": str(by), **more})

    stops = [row["workload"] for row in facts.stops()]
    if stops:
        add("stop", facts.watches("G3"), study.as_of.isoformat(), workloads=stops)
    if barred := facts.barred():
        add("sign", study.owner, decided, workloads=barred)
    if facts.unknown:
        add("answer", study.owner, decided)
    if moves := [name for name in facts.deciding("move") if facts.forced(name)]:
        add("move", study.owner, decided, workloads=moves)
    add("log", first["owner"], first["end"])
    for row in facts.fired():
        if row["id"] == "G3" and row["workload"] in stops:
            continue  # the step that stops it is above
        label = f"{row['id']} fired: "
        items = facts.decided.get("plan_items", [])
        asks = [i for i in items if i["item"].startswith(label) and i["scope"] == row["workload"]]
        for item in asks[:1]:
            more = {"step": item["item"].removeprefix(label), "trigger": row["id"]}
            add("trigger", row["owner"], item["end"], workloads=[row["workload"]], **more)
    if ask["first"]["questions"]:
        more = {key: ask["first"][key] for key in ("workloads", "questions", "usd")}
        add("score", second["owner"], ask["first"]["by"] or second["end"], **more)
    if chosen := [name for name in facts.deciding("move") if not facts.forced(name)]:
        add("move", third["owner"], third["end"], workloads=chosen)
    open_ = [row for row in workloads if row["decision"] == "undecided" and row["begins"]]
    ready = [row for row in open_ if not row["unsure"]]
    review = (study.as_of + REVIEW_AFTER).isoformat()
    if ready:
        begins = min(row["begins"] for row in ready)
        add("decide", study.owner, begins, workloads=[r["workload"] for r in ready])
    add("review", study.owner, min([review, *(row["begins"] for row in ready)]))
    return sorted(steps[:MOST_STEPS], key=lambda step: step["by"])


def _files(facts: Facts) -> list[dict[str, str]]:
    """The files of the run that carry a step out: the step's kind and the file's path."""
    written = facts.chapters.get("gateway", {"files": []})["files"]
    fleets = [f"gateway/serving/{facts.verdicts[n]['target']}.sh" for n in facts.deciding("move")]
    carried_out_by = CARRIED_OUT_BY | {"move": [*CARRIED_OUT_BY["move"], *dict.fromkeys(fleets)]}
    return [
        {"step": kind, "path": path}
        for kind, paths_ in carried_out_by.items()
        for path in paths_
        if path in written
    ]


# --- appendix -----------------------------------------------------------------------------------


def verdict_rows(facts: Facts) -> list[dict[str, Any]]:
    """Each workload's verdict with its contract and the reasons that chapter 07 gives for it."""
    rows = []
    for name, v in facts.verdicts.items():
        routes = [v["target"]] if v["target"] else _compared_routes(facts, name)
        reasons = [r["sentence"] for r in v["reasons"] if r["route"] in routes]
        candidates = facts.study.workloads[name].candidates
        rows.append(
            {
                "workload": name,
                "decision": v["decision"],
                "runs_on": v["route"],
                "favoured": v["target"],
                "contract": v["contract"],
                "why": "; ".join(reasons)
                or ("no candidate can serve it" if candidates else "no other route"),
            }
        )
    return rows


def _compared_routes(facts: Facts, name: str) -> list[str]:
    """The routes whose reasons explain why nothing is favoured: the best one, and today's.

    If today's route may not see the data, only that counts.
    """
    moves = facts.decided.get("first_moves", [])
    best = [row["target"] for row in moves if row["workload"] == name]
    staying = facts.verdicts[name]["route"] is not None
    today = facts.study.workloads[name].current_route
    return [*(route for route in best if route and staying), today]


def _why_not_now(facts: Facts) -> dict[str, Any] | None:
    """The advisors' rules that say "now" against this memo's: the mean cost above hindsight of
    each."""
    rows = facts.rows("07_triggers_and_routing", "regret", buyer="named_model")
    by_rule = {row["rule"]: row for row in rows}
    panel = facts.decided.get("panel", [])
    now = [row for row in panel if row["decides"] == "now"]
    if not rows:  # no rule was back-tested
        return None
    ours_usd = by_rule["triggers"]["regret_usd"]
    triggers = trigger_table()
    to_fleets = set(triggers.loc[triggers["moves_to"] == "self_hosted", "id"])
    regrets = [row["regret_usd"] for row in now if row["regret_usd"] is not None]
    return {
        "now": list(dict.fromkeys(row["advisor"] for row in now)),
        "now_usd": max(regrets, default=None),
        "ours_usd": ours_usd,
        "cheaper": ours_usd < 0.95 * max(regrets, default=0.0),
        "never_usd": by_rule["never"]["regret_usd"],
        "workloads": list(facts.decided["timing"]["targets"]),
        "fired": [row["id"] for row in facts.fired() if row["id"] in to_fleets],
    }


def _roadmap(facts: Facts) -> list[dict[str, Any]]:
    """The systems that this plan needs (`source_memo_systems.csv`): phase, owner, and progress by
    the gate that rests on each."""
    systems = pd.read_csv(paths.data("source_memo_systems.csv"), keep_default_na=False)
    lines = pd.read_csv(paths.data("source_memo_lines.csv")).set_index("id")["line"]
    phases = {row["phase"]: row for row in facts.decided["phases"]}
    gates = {g["rests_on"]: g for g in facts.decided.get("plan_gates", [])}
    return [
        {
            "id": row["id"],
            "system": lines[row["id"]],
            "phase": phases[row["phase"]]["title"],
            "owner": phases[row["phase"]]["owner"],
            "status": row["status"],
            "state": gates[row["gate"]]["state"] if row["gate"] in gates else None,
            "evidence": gates[row["gate"]]["evidence"] if row["gate"] in gates else None,
        }
        for row in systems.to_dict("records")
    ]


def _crossovers(facts: Facts) -> list[dict[str, Any]]:
    """The crossovers in the order of the study; if there are too many, those of the largest
    bills."""
    rows = list(facts.crossing["crossover"])
    bills = facts.crossing["month_usd"]["today_by_workload"]
    by_bill = sorted(rows, key=lambda row: -bills.get(row["workload"], 0.0))[:MOST_ROWS]
    return [row for row in rows if row in by_bill]


def _heldout_error(facts: Facts) -> float | None:
    fits = facts.table("05_self_hosting", "serving_fit")
    return float(fits["median_abs_error_share"].median()) if len(fits) else None

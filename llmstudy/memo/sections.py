"""The memo, section by section: facts in, HTML out.

Every sentence is computed: it changes when the evidence does. Everything that comes from a study
or a log is escaped here. Confidence and likelihood never share a sentence (ICD 203).
"""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from hashlib import sha256
from html import escape
from typing import Any

import pandas as pd

from llmstudy import headings
from llmstudy.assess.market import N_DRAWS
from llmstudy.chapter import table_html
from llmstudy.figure import Figure
from llmstudy.memo.facts import ARMS, INPUTS, Facts, likelihood, listed, opening
from llmstudy.text import count, share, span, usd


def _p(*sentences: str) -> str:
    return f"<p>{' '.join(s for s in sentences if s)}</p>"


def _list(items: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{item}</li>" for item in items) + "</ul>"


def _names(names: list[str]) -> str:
    return escape(listed(names))


def _range(found: Any) -> str:
    return span(found["p10"], found["p90"], usd)


def header(facts: Facts) -> str:
    """The question, and who decides what by when."""
    study = facts.study
    meta = {
        "Status": study.status,
        "Owner": study.owner,
        "Decider": study.decider,
        "Decide by": study.decide_by.isoformat(),
        "Evidence as of": study.as_of.isoformat(),
        "For": study.company,
    }
    return f"<h1>{escape(study.question)}</h1>{_definitions(meta)}"


def _definitions(terms: dict[str, str]) -> str:
    cells = "".join(
        f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in terms.items()
    )
    return f'<dl class="meta">{cells}</dl>'


# --- 1 recommendation -----------------------------------------------------------------------


def recommendation(facts: Facts) -> str:
    """What to do, the one number with its 80 % range, how sure, and whether it can be undone."""
    level, why = facts.confidence()
    body = _p(f"<strong>{_action(facts)}</strong>", _number(facts))
    about = _p(f"Confidence is {level}: {why}.", _reversal(facts))
    return f'<section class="recommendation" aria-label="Recommendation">{body}{about}</section>'


def _action(facts: Facts) -> str:
    moves, open_, barred = facts.deciding("move"), facts.deciding("undecided"), facts.barred()
    stop = f"{_stop(facts, barred)} " if barred else ""
    stop += "".join(f"{escape(sentence)}. " for sentence in facts.ending())
    if moves:
        verbs = "; ".join(_move(facts, name) for name in moves)
        kept = [name for name in facts.verdicts if name not in (*moves, *barred)]
        where = "where it runs" if len(kept) == 1 else "where they run"
        return f"{stop}{verbs}." + (f" Keep {_names(kept)} {where}." if kept else "")
    if barred:
        return stop.strip()
    if facts.unknown:
        return (
            f"{stop}Stay on today's routes, behind a gateway, and answer the open questions first."
        )
    if open_:
        return f"{stop}Stay on today's routes for now, and buy the evidence that could change it."
    return "Stay on today's routes; no permitted route has earned a move."


def _stop(facts: Facts, barred: list[str]) -> str:
    """What workloads without a permitted route need before another request is sent."""
    asks = [
        c["sentence"]
        for name in barred
        for c in facts.verdicts[name]["collect"]
        if c["what"] == "contract"
    ]
    return (
        f"Stop sending {_names(barred)} data to today's route, or sign what is missing: "
        f"{escape('; '.join(dict.fromkeys(asks)))}."
    )


def _move(facts: Facts, name: str) -> str:
    verdict = facts.verdicts[name]
    why = ", because today's route may not see its data" if facts.forced(name) else ""
    return f"Move {escape(name)} to {ARMS[verdict['arm']]} ({escape(verdict['route'])}){why}"


def _number(facts: Facts) -> str:
    months, saving, stake = facts.study.months, facts.decided["saving"], facts.decided["at_stake"]
    if unbilled := facts.unbilled():
        return f"What {_names(unbilled)} costs today cannot be stated: its fleet cannot be sized."
    stay = facts.crossing["month_usd"]["horizon"]
    if saving is not None:
        word, sign = ("saves", 1) if saving["p50"] >= 0 else ("costs", -1)
        low, high = sorted((sign * saving["p10"], sign * saving["p90"]))
        shown = f"<b>{usd(sign * saving['p50'])}</b> (80 % range {span(low, high, usd)})"
        return (
            f"Over {months} months{_growth(facts)} this {word} {shown} against staying at "
            f"{usd(stay['p50'])}."
        )
    if stake is not None:
        named = [name for name in facts.deciding("undecided") if facts.verdicts[name]["target"]]
        return (
            f"Over {months} months{_growth(facts)} <b>{usd(stake['p50'])}</b> (80 % range "
            f"{_range(stake)}) of the {usd(stay['p50'])} that staying costs hangs on "
            f"{_names(named)}; "
            f"{_favoured(facts)}.{_evidence_cost(facts)}"
        )
    shown = f"<b>{usd(stay['p50'])}</b> (80 % range {_range(stay)})"
    return f"Staying costs {shown} over {months} months{_growth(facts)}."


def _growth(facts: Facts) -> str:
    """The growth that a sum over the horizon rests on, and whether prices change in it."""
    growths = [workload.growth for workload in facts.study.workloads.values()]
    low, high = (pick(figure.value for figure in growths) for pick in (min, max))
    grades = ", ".join(sorted({figure.grade for figure in growths}))
    bills = facts.chapters["02_cost"]["bills"]
    change = any(row["current"] and row["scheduled_change"] for row in bills)
    prices = "; announced price changes included" if change else ""
    return f" (volume growth {span(low, high, share)} a month, {grades}{prices})"


def _evidence_cost(facts: Facts) -> str:
    n, cost = facts.items_to_collect()
    if not n:
        return ""
    return (
        f" Scoring {count(n)} items, about {usd(cost)}, settles it with 80 % power if the "
        "candidates are as good as planned for."
    )


def _favoured(facts: Facts) -> str:
    """Where the favoured candidates are: leaving the API, or another model on one."""
    targets = [facts.verdicts[name]["target"] for name in facts.deciding("undecided")]
    arms = [facts.study.routes[target].arm for target in targets if target]
    within = arms.count("proprietary_api")
    if within == len(arms):
        return "the favoured candidates are all cheaper models on APIs, not open weights"
    outside = listed(sorted({ARMS[arm] for arm in arms if arm != "proprietary_api"}))
    if within == 0:
        return f"the favoured candidates are {outside}"
    return f"{within} of {len(arms)} favoured candidates are models on APIs, the others {outside}"


def _reversal(facts: Facts) -> str:
    arms = {facts.verdicts[name]["arm"] for name in facts.deciding("move")}
    if "self_hosted" in arms:
        return "Going back costs the unused GPU commitment; the API stays as the fallback."
    if arms:
        return "It can be undone by changing the route in the gateway."
    return "Nothing changes hands, so there is nothing to undo."


# --- 2 the ask ------------------------------------------------------------------------------


def ask(facts: Facts) -> str:
    """What is to be decided, by whom, by when, and what a month of waiting costs."""
    study = facts.study
    saving, stake = facts.decided["saving"], facts.decided["at_stake"]
    forced = [name for name in facts.deciding("move") if facts.forced(name)]
    if barred := facts.barred():
        what, waiting = "Stop or sign", f"{listed(barred)} without the contract its data need"
    elif forced:
        what, waiting = "Sign the move", f"{listed(forced)} without the contract its data need"
    elif saving:
        what, waiting = "Sign the move", _waiting(facts, "move")
    elif stake:
        what, waiting = "Fund the evidence", _waiting(facts, "undecided")
    elif facts.unknown:
        what, waiting = "Answer the open questions", "not known until they are answered"
    else:
        what, waiting = "Confirm the course", "nothing"
    row = {
        "Decision": what,
        "Decider": study.decider,
        "By": study.decide_by.isoformat(),
        "A month of waiting costs": waiting,
    }
    return f"<h2>The ask</h2>{_definitions(row)}"


def _waiting(facts: Facts, decision: str) -> str:
    """What the next month costs without the moves decided on, or without those still open."""
    cost, today = facts.waiting_usd(decision), facts.crossing["month_usd"]["today"]
    if cost is None:
        return "not known: a bill is missing"
    if cost == 0:
        return "nothing at today's volume"
    most = "at most " if decision == "undecided" else ""
    return f"{most}{usd(cost)} of today's {usd(today)}"


# --- 3 findings -----------------------------------------------------------------------------


def cost_finding(facts: Facts) -> str:
    """Finding one: where the money is, and from which volume another arm is cheaper."""
    lead, month = facts.lead, facts.crossing["month_usd"]
    heading = "Today's routes cost nothing that can be stated"
    if month["today"] > 0:
        part = month["today_by_workload"].get(lead, 0) / month["today"]
        heading = f"{escape(opening(lead))} is {share(part)} of {usd(month['today'])} a month"
    now = facts.requests_per_month(lead)
    said = [_crossover_sentence(row, now) for row in _ladder(facts.crossovers(lead))]
    return f"<h2>{heading}</h2>" + _p(*said)


def _ladder(rows: list[Any]) -> list[Any]:
    """The comparisons that matter: open weights against the API, and self-hosting against the
    cheaper of the two where both may serve."""
    by_arm = {(row["from_arm"], row["to_arm"]): row for row in rows}
    own = by_arm.get(("hosted_open", "self_hosted")) or by_arm.get(
        ("proprietary_api", "self_hosted")
    )
    return [row for row in (by_arm.get(("proprietary_api", "hosted_open")), own) if row]


def _crossover_sentence(row: Any, now: float) -> str:
    volume, never = row["requests_per_month"], row["p_never"]
    arm, other = opening(ARMS[row["to_arm"]]), ARMS[row["from_arm"]]
    verb = "are" if row["to_arm"] == "hosted_open" else "is"
    if volume["p50"] is None:
        return f"{arm} {verb} never cheaper than {other} in {share(never)} of draws."
    times = volume["p50"] / now
    place = f"{count(round(times))} times today's" if times >= 2 else f"{share(times)} of today's"
    unless = f"; never in {share(never)} of draws" if never >= 0.005 else ""
    return (
        f"{arm} {verb} cheaper than {other} from {count(volume['p50'])} requests a month, {place} "
        f"(80 % range {span(volume['p10'], volume['p90'], count)}{unless})."
    )


def quality_finding(facts: Facts) -> str:
    """Finding two: whether the candidates are good enough."""
    table = facts.comparisons()
    scored = table[table["verdict"] != "none"]
    held = int((scored["verdict"] == "non-inferior").sum())
    waiting = len(table) - len(scored)
    if scored.empty:
        heading = "No candidate has been scored against today's route"
    else:
        what = "scored comparison" + ("s" if len(scored) > 1 else "")
        verb = "holds" if held <= 1 else "hold"
        heading = f"{held or 'None'} of {len(scored)} {what} {verb} the quality margin"
        if waiting:
            heading += f"; {waiting} more {'waits' if waiting == 1 else 'wait'} for paired items"
    own = int((scored["grade"] == "measured").sum())
    rest = (
        "None of these comparisons rests"
        if own == 0
        else f"{own} of {len(scored)} rest{'s' if own == 1 else ''}"
    )
    said = [
        f"{rest} on our own items"
        + ("; public benchmarks stand in for the others." if own < len(scored) else "."),
        _inferior(scored),
    ]
    return f"<h2>{heading}</h2>" + _p(*said)


def _inferior(scored: pd.DataFrame) -> str:
    worse = scored[scored["verdict"] == "inferior"]
    if worse.empty:
        return ""
    row = worse.sort_values("difference").iloc[0]
    points = f"{100 * abs(row['difference']):.0f}"
    return f"{escape(row['routes'][0])} loses {points} points on {escape(row['workload'])}."


def vendor_finding(facts: Facts) -> str:
    """Finding three: contracts and vendors, from the triggers that fired and from what ends."""
    fired = facts.fired()
    ends = [f for f in facts.chapters["01_evidence"]["findings"] if f["severity"] != "info"]
    dated = sorted((f for f in ends if f["effective"]), key=lambda f: str(f["effective"]))
    said = [escape(f["sentence"]) for f in dated[:2]]
    missing = [r for r in facts.crossing["permissions"] if not r["permitted"]]
    if missing:
        said.append(f"{_excluded(missing)} before any cost was read.")
    if fired:
        names = [f"{row['id']} ({row['name']}) on {row['workload']}" for row in fired]
        heading = f"Fired: {_names(names)}"
    else:
        heading = "No trigger has fired"
    return f"<h2>{heading}</h2>" + _p(*said)


def _excluded(missing: list[Any]) -> str:
    pairs = [f"{row['route']} on {row['workload']}" for row in missing]
    verb = "was" if len(pairs) == 1 else "were"
    return f"{_names(pairs)} {verb} ruled out by privacy"


# --- 4 options ------------------------------------------------------------------------------

_OPTIONS = {
    "stay": ("Do nothing", "yes"),
    "verdict": ("▸ This memo", "yes: a route in the gateway"),
    "proprietary_api": ("Other models on APIs", "yes: a route in the gateway"),
    "hosted_open": ("All to hosted open weights", "yes: a route in the gateway"),
    "self_hosted": ("All to self-hosting", "partly: commitments and staff"),
}


def options(facts: Facts) -> str:
    """Doing nothing, the verdict and each arm, in the same columns."""
    rows = []
    for row in facts.decided["options"]:
        name, reversible = _OPTIONS[row["option"]]
        moved = len(row["workloads_moved"])
        if not facts.deciding("move"):
            if row["option"] == "verdict":
                continue
            if row["option"] == "stay":
                name = "▸ This memo: do nothing yet"
        rows.append(
            {
                "option": name,
                "moved": f"{moved} of {len(facts.verdicts)}",
                f"cost, {facts.study.months} months": usd(row["cost_usd"]["p50"]),
                "80 % range": _range(row["cost_usd"]),
                "quality": _quality(row),
                "reversible": reversible,
            }
        )
    return "<h2>Options</h2>" + table_html(
        pd.DataFrame(rows), f"Cost over the horizon, quality and the way back; {_beside(facts)}"
    )


def _beside(facts: Facts) -> str:
    """What it costs to find out, which no option holds."""
    early = facts.decided["phases"][:2]
    low, high = (sum(row[f"cost_{end}_usd"] for row in early) for end in ("low", "high"))
    return f"phases 1 and 2 ({span(low, high, usd)}, golden sets included) are in no row"


def _quality(row: Any) -> str:
    parts = []
    if row["inferior"]:
        parts.append(f"inferior on {len(row['inferior'])}")
    if row["unproven"]:
        parts.append(f"unproven on {len(row['unproven'])}")
    return ", ".join(parts) or ("as today" if not row["workloads_moved"] else "holds the margin")


# --- 5, 6 what drives it, and on what it rests ----------------------------------------------


def drivers(facts: Facts) -> str:
    """Heading of the tornado: which inputs decide the lead workload's saving."""
    found = facts.sensitivity()
    if found is None or not found["inputs"]:
        return "<h2>No uncertain input decides a permitted move</h2>"
    names = [INPUTS[row["input"]][0] for row in found["inputs"][:2]]
    likely = next(
        row["p_cheaper"]
        for row in facts.crossing["savings"]
        if (row["workload"], row["route"]) == (found["workload"], found["route"])
    )
    return f"<h2>{opening(listed(names))} decide the saving</h2>" + _p(
        f"Moving {escape(found['workload'])} to {escape(found['route'])} is {likelihood(likely)} "
        f"to be cheaper than staying over {facts.study.months} months."
    )


def assumptions(facts: Facts) -> str:
    """The inputs that decide most, with value, range, grade, source and effect."""
    found = facts.sensitivity()
    if found is None:
        return ""
    rows = []
    for row in found["inputs"]:
        figure = facts.figure(row["input"], found["workload"])
        if figure is None:
            continue
        rows.append(
            {
                "assumption": INPUTS[row["input"]][0],
                "value": _quantity(figure, figure.value),
                "range": _quantity_range(figure),
                "saving at its ends": _ends(row),
                "grade": figure.grade,
                "source": f"{_short(figure.source)} ({figure.as_of or facts.study.as_of})",
            }
        )
    caption = f"What the saving on {found['workload']} rests on, most deciding first"
    return "<h2>Assumptions</h2>" + table_html(pd.DataFrame(rows[:5]), caption)


def _ends(row: Any) -> str:
    low, high = sorted((row["low_usd"], row["high_usd"]))
    return span(low, high, usd)


def _quantity(figure: Figure, x: float) -> str:
    if figure.unit == "USD":
        return usd(x)
    if figure.unit.startswith("share"):
        return share(x) + figure.unit.removeprefix("share").replace("/", " a ")
    if figure.unit == "factor/year":
        return f"×{x:g} a year"
    if figure.unit in ("requests/month", "tokens/request"):
        return count(x)  # the assumption's name holds its unit
    return f"{count(x)} {figure.unit.removesuffix('/month')}"


def _quantity_range(figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return "none stated"
    if figure.unit.startswith("USD"):
        return span(figure.low, figure.high, usd)
    if figure.unit.startswith("share"):
        return span(figure.low, figure.high, share)
    return span(figure.low, figure.high, _plain)


def _plain(x: float, beside: float | None = None) -> str:
    return f"{x:.3g}" if x < 1000 else count(x, beside)


def _short(source: str, words: int = 9) -> str:
    parts = source.split()
    return " ".join(parts[:words]) + (" …" if len(parts) > words else "")


# --- 7 what would change our mind -----------------------------------------------------------


def change_our_mind(facts: Facts) -> str:
    """At most four solved thresholds, with who watches each, and what to measure next."""
    lines = [*_quality_thresholds(facts), *_volume_thresholds(facts), *_price_threshold(facts)]
    measure = f"{escape(headings.measure_next(facts.crossing))}."
    return "<h2>What would change our mind</h2>" + _list([*lines[:4], measure])


def _quality_thresholds(facts: Facts) -> list[str]:
    quality = {(r["workload"], r["route"]): r for r in facts.chapters["04_quality"]["quality"]}
    found = []
    for name in facts.deciding("undecided"):
        verdict = facts.verdicts[name]
        items = [c for c in verdict["collect"] if c["what"] == "golden items"]
        if not items:
            continue
        row = quality[name, verdict["target"]]
        found.append(
            f"{escape(name)}: {count(row['n_needed'])} of our own items on "
            f"{escape(verdict['target'])} that lose at most {100 * row['margin']:g} points "
            "(evaluation lead)."
        )
    return found[:2]


def _volume_thresholds(facts: Facts) -> list[str]:
    lead = facts.lead
    rows = [r for r in _ladder(facts.crossovers(lead)) if r["to_arm"] == "self_hosted"]
    if not rows:
        return []
    at, other = rows[0]["requests_per_month"]["p50"], ARMS[rows[0]["from_arm"]]
    if at is None:
        return [
            f"{escape(lead)}: no volume below the cap makes self-hosting cheaper than {other} in "
            "most draws."
        ]
    if at <= facts.requests_per_month(lead):
        return []
    return [
        f"{escape(lead)} above {count(at)} requests a month: self-hosting is then cheaper than "
        f"{other} (head of platform, G1)."
    ]


def _price_threshold(facts: Facts) -> list[str]:
    limit = facts.study.thresholds.price_rise.value
    risen = [row for row in facts.fired() if row["id"] == "G4" and row["value"] >= limit]
    fired = [row["workload"] for row in risen]
    state = f"already true of {_names(fired)}" if fired else "none is scheduled"
    return [f"A price rise of {share(limit)} or more on today's routes: {state} (procurement, G4)."]


# --- 8, 9 risks and next steps --------------------------------------------------------------


def risks(facts: Facts) -> str:
    """At most three lines: what is simulated or unknown, and what the log cannot carry."""
    evidence = facts.chapters["01_evidence"]
    lines = []
    if facts.unknown:
        lines.append(f"Unanswered, and priced with wide priors: {_questions(facts.unknown)}.")
    if evidence["warnings"]:
        lines.append(escape(" ".join(evidence["warnings"])))
    simulated = [r["workload"] for r in evidence["workloads"] if r["traffic"] == "simulated"]
    if simulated:
        lines.append(
            f"Requests of {_names(simulated)} are simulated from published figures, "
            "not read from a log."
        )
    late = [r for r in facts.chapters["03_latency"]["latency"] if r["verdict"] == "undecided"]
    unmeasured = {r["route"] for r in late if r["grade"] != "measured"}
    if unmeasured:
        lines.append(
            f"The first token of {len(unmeasured)} routes has not been measured against its target."
        )
    straddling = {r["route"] for r in late} - unmeasured
    if straddling:
        lines.append(
            f"The first token of {_names(sorted(straddling))} was measured, not often enough to "
            "tell whether it holds its target."
        )
    return "<h2>Risks and unknowns</h2>" + _list(lines[:4])


def _questions(paths: list[str]) -> str:
    return escape(listed(list(dict.fromkeys(p.split(".")[-1].replace("_", " ") for p in paths))))


def next_steps(facts: Facts) -> str:
    """At most four steps with owner and date, the evidence first."""
    study = facts.study
    first, second, third = facts.decided["phases"]
    decided = study.decide_by.isoformat()
    rows = []
    if facts.unknown:
        rows.append(("Answer the open intake questions", study.owner, decided))
    if barred := facts.barred():
        rows.append((f"Stop or sign: {listed(barred)}", study.owner, decided))
    moves = facts.deciding("move")
    for forced in (True, False):
        named = [
            f"{name} to {facts.verdicts[name]['route']}"
            for name in moves
            if facts.forced(name) == forced
        ]
        if named:
            owner, by = (study.owner, decided) if forced else (third["owner"], third["end"])
            rows.append((f"Move {listed(named)}", owner, by))
    n, cost = facts.items_to_collect()
    if n:
        rows.append(
            (f"Score {count(n)} golden items ({usd(cost)})", second["owner"], second["end"])
        )
    rows.append(("Log every call behind the gateway", first["owner"], first["end"]))
    review = (study.as_of + timedelta(days=91)).isoformat()
    rows.append(("Re-run this study on the new log", study.owner, review))
    rows = sorted(rows[:5], key=lambda row: str(row[2]))
    frame = pd.DataFrame(rows, columns=["step", "owner", "by"])
    return "<h2>Next steps</h2>" + table_html(frame, "Who does what by when")


# --- appendix -------------------------------------------------------------------------------


def appendix_heading() -> str:
    """Where the appendix begins, on a page of its own in print."""
    return '<h2 class="appendix">Appendix: the verdicts and their triggers</h2>'


def verdict_table(facts: Facts) -> pd.DataFrame:
    """One row per workload: verdict, route, contract and the reasons in short."""
    rows = []
    for name, v in facts.verdicts.items():
        target = v["target"] or facts.study.workloads[name].current_route
        reasons = [
            r["sentence"].removeprefix(f"{target}: ") for r in v["reasons"] if r["route"] == target
        ]
        rows.append(
            {
                "workload": name,
                "verdict": v["decision"],
                "runs on": v["route"] or "no permitted route",
                "favoured": v["target"] or "none",
                "contract": v["contract"],
                "why": "; ".join(reasons) or "no candidate saves enough, surely enough",
            }
        )
    return pd.DataFrame(rows)


def five_questions_caption(facts: Facts) -> str:
    """T6's answer, and what it may not do."""
    found = facts.decided["five_questions"]["verdict"]
    return f"The five questions say: {found} (reported only; they never override privacy)"


def method(facts: Facts) -> str:
    """How the figures were made, in a few lines."""
    fits = facts.table("05_self_hosting", "serving_fit")
    error = fits["median_abs_error_share"].median()
    study = facts.study
    return "<h2>Method</h2>" + _p(
        f"Every request is priced singly at {study.as_of}, on permitted routes only. Self-hosted "
        f"capacity follows a four-parameter serving curve fitted to measured vLLM points; over "
        f"{len(fits)} groups its median held-out error is {share(error)}. Fleets are whole "
        f"replicas with {study.self_hosting.spare_replicas} spare, paid for every hour.",
        f"Costs are drawn {N_DRAWS:,} times over {study.months} months with common random numbers; "
        "a crossover is the constant volume from which an arm stays cheaper, and never means none "
        f"below {count(study.volume_cap.value)} requests a month. Quality is judged by Tango "
        "intervals of paired differences against a non-inferiority margin.",
        "Capacity holds the mean pace of an answer to its target, so the slowest requests may miss "
        "it; each workload alone carries the whole team in its own verdict.",
    )


def provenance(made: Mapping[str, Any]) -> str:
    """Of what the run was made, and how to make it again.

    made: command, seed, package, python, git_sha, git_dirty, study_sha256, lock_sha256 and
    data_sha256 (by file), as `provenance.json` holds them in full.
    """
    code = str(made["git_sha"] or "not in git")[:12]
    if made["git_dirty"]:
        code += " with uncommitted changes"
    data = sha256("".join(f"{k}{v}" for k, v in sorted(made["data_sha256"].items())).encode())
    terms = {
        "To reproduce": str(made["command"]),
        "Code": f"llmstudy {made['package']}, {code}",
        "Python": str(made["python"]),
        "Seed": str(made["seed"]),
        "Study": str(made["study_sha256"])[:12],
        "Data": f"{data.hexdigest()[:12]} ({len(made['data_sha256'])} files)",
        "Lock": str(made["lock_sha256"] or "none")[:12],
    }
    return f"<h2>Provenance</h2>{_definitions(terms)}"

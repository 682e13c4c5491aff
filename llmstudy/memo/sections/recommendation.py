"""The top of page one: the question, the recommendation, and the decision to be made."""

from llmstudy.memo.context import ARMS, Facts
from llmstudy.memo.figures import quoted, told
from llmstudy.memo.sections.prose import (
    MOST_NAMES,
    definitions,
    few,
    first_few,
    names,
    owner_text,
    paragraph,
    usd_range,
)
from llmstudy.memo.sections.thresholds import changes
from llmstudy.text import count, listed, share, usd

MOST_MOVES = 2
"""Moves that the recommendation names with their routes: it has eighty words."""


def header(facts: Facts) -> str:
    """The question, its state, and who decides what by when."""
    study = facts.study
    meta = {
        "Status": _status(facts),
        "Version": str(told(facts.reckoned["version"])),
        "Owner": owner_text(study.owner),
        "Decider": owner_text(study.decider),
        "Decide by": study.decide_by.isoformat(),
        "Evidence as of": study.as_of.isoformat(),
        "For": owner_text(study.company),
    }
    return f"<h1>{owner_text(study.question)}</h1>{definitions(meta)}"


def _status(facts: Facts) -> str:
    study = facts.study
    by = owner_text(study.decider)
    signed = f"decided on {study.decided_on} by {by}" if study.decided_on else ""
    if study.status == "superseded":
        later = f"superseded by {owner_text(study.superseded_by or '')}"
        return ", ".join(part for part in (later, signed) if part)
    return signed or study.status


def recommendation(facts: Facts) -> str:
    """What to do by when, the one number with its range, how sure, whether it can be undone."""
    first = f"<strong>{stop_today(facts)}</strong>" if facts.stops() else ""
    body = paragraph(first, f"<strong>{_action(facts)}</strong>", _number(facts))
    about = paragraph(_confidence(facts), _reversal(facts))
    return (
        '<section class="recommendation" data-section="recommendation" '
        f'aria-label="Recommendation">{body}{about}</section>'
    )


def stop_today(facts: Facts) -> str:
    """Traffic that must stop today, whatever is decided."""
    rows, today = facts.stops(), facts.study.as_of.isoformat()
    which = first_few([row["workload"] for row in rows])
    why = dict.fromkeys(quoted(row["permission_reason"]) for row in rows)
    return f"Stop sending {which} to today's route today, {today}: {'; '.join(why)}."


def _action(facts: Facts) -> str:
    moves, open_, barred = facts.deciding("move"), facts.deciding("undecided"), facts.barred()
    by, n = f"By {facts.study.decide_by.isoformat()}", facts.reckoned["decisions"]
    if barred:
        which, cure = few(barred, n["barred"]), "name a route that may see them"
        unsigned = [row for row in facts.crossing["permissions"] if row["missing"]]
        if {row["workload"] for row in unsigned} >= set(barred):
            cure = "sign the contract that they need"
        if all(_may_stay_inside(facts, name) for name in barred):
            cure += " or self-host" if cure.startswith("sign") else ", such as one of your own"
        return f"{by}, for the data of {which}, {cure}."
    if moves:
        verbs = "; ".join(_move(facts, name) for name in moves)
        if len(moves) > MOST_MOVES:
            verbs = f"{told(n['move'])} workloads, as listed in the appendix"
        staying = [name for name in facts.verdicts if name not in moves]
        where = "where it runs" if len(staying) == 1 else "where they run"
        which = names(staying) if len(staying) <= MOST_NAMES else "the others"
        return f"{by}, sign: move {verbs}.{f' Keep {which} {where}.' if staying else ''}"
    if facts.unknown:
        return f"Stay on today's routes behind a gateway; {by.lower()}, answer the open questions."
    if open_:
        return f"Stay on today's routes; {by.lower()}, fund the evidence that could change it."
    return f"{by}, confirm: stay on today's routes; no permitted route has earned a move."


def _may_stay_inside(facts: Facts, name: str) -> bool:
    """Whether a self-hosted fleet may see a workload's data."""
    rows = [row for row in facts.crossing["permissions"] if row["workload"] == name]
    return any(row["self_hosting"] for row in rows)


def _move(facts: Facts, name: str) -> str:
    verdict = facts.verdicts[name]
    why = ", as today's route may not see its data" if facts.forced(name) else ""
    return f"{owner_text(name)} to {ARMS[verdict['arm']]} ({owner_text(verdict['route'])}){why}"


def _number(facts: Facts) -> str:
    saving, stake = facts.decided["saving"], facts.decided["at_stake"]
    if unbilled := facts.unbilled():
        return (
            f"What {first_few(unbilled)} costs today cannot be stated: its fleet cannot be sized."
        )
    within, over = _within(facts), _over(facts)
    stay = facts.crossing["month_usd"]["horizon"]
    if saving is not None and saving["p50"] >= 0:
        return (
            f"{over} this saves <b>{told(saving['p50'], usd)}</b> ({within} {usd_range(saving)}) "
            f"of the {told(stay['p50'], usd)} that staying costs{_by_the_plan(facts, 'move')}."
        )
    if saving is not None:
        extra = facts.reckoned["extra_usd"]
        return (
            f"{over} this costs <b>{told(extra['p50'], usd)}</b> ({within} {usd_range(extra)}) "
            f"more than staying at {told(stay['p50'], usd)}."
        )
    if stake is not None:
        expected = facts.reckoned["items"]["value_usd"]
        failing = f"; counting the chance to fail, {told(expected, usd)}" if expected else ""
        open_ = [name for name in facts.deciding("undecided") if facts.verdicts[name]["target"]]
        which = few(open_, facts.reckoned["favoured"]["all"])
        return (
            f"{over} moving {which} would save <b>{told(stake['p50'], usd)}</b> ({within} "
            f"{usd_range(stake)}) of {told(stay['p50'], usd)} if all candidates "
            f"({_favoured(facts)}) pass{_by_the_plan(facts, 'undecided')}{failing}."
        )
    return f"{over} staying costs <b>{told(stay['p50'], usd)}</b> ({within} {usd_range(stay)})."


def _by_the_plan(facts: Facts, decision: str) -> str:
    """The day on which the last of these moves begins, and the saving if all began today."""
    last = facts.reckoned["last_begins"][decision]
    key = {"move": "saving_if_now", "undecided": "at_stake_if_now"}[decision]
    if last is None or last <= facts.study.as_of.isoformat():
        return ""
    now = facts.decided[key]["p50"]
    several = sum(bool(facts.verdicts[name]["target"]) for name in facts.deciding(decision)) > 1
    return f", {'the last ' * several}from {quoted(last)} ({told(now, usd)} if begun today)"


def _over(facts: Facts) -> str:
    return f"Over {told(facts.stated('horizon')['value'])} months"


def _within(facts: Facts) -> str:
    return f"{told(facts.reckoned['range_share'], share)} range"


def _favoured(facts: Facts) -> str:
    """The arms of the favoured candidates: APIs, hosted open weights, self-hosting."""
    n_favoured = facts.reckoned["favoured"]
    if n_favoured["on_apis"] == n_favoured["all"]:
        return "all on APIs"
    if n_favoured["on_apis"]:
        return f"{told(n_favoured['on_apis'], count)} of {told(n_favoured['all'], count)} on APIs"
    targets = [facts.verdicts[name]["target"] for name in facts.deciding("undecided")]
    arms = {facts.study.routes[target].arm for target in targets if target}
    return listed(sorted(ARMS[arm] for arm in arms))


def _confidence(facts: Facts) -> str:
    level, _ = facts.confidence()
    counts = facts.reckoned["confidence"]
    return (
        f"Confidence is {level}: {told(counts['logged'])} of {told(counts['workloads'])} workloads "
        f"logged, {told(counts['own'])} of {told(counts['comparisons'])} scored comparisons on own "
        "items."
    )


def _reversal(facts: Facts) -> str:
    moves = facts.deciding("move")
    arms = {facts.verdicts[name]["arm"] for name in moves}
    if moves and all(facts.forced(name) for name in moves):
        return "There is no way back to a route that may not see the data."
    if "self_hosted" in arms:
        return "Going back costs the unused GPU commitment; the API stays as the fallback."
    if arms:
        return "It is undone by changing the route in the gateway."
    return "Nothing moves, so nothing to undo."


# --- the ask ------------------------------------------------------------------------------------


def ask(facts: Facts) -> str:
    """The decision, who makes it and when, what a month of waiting costs, what would change it and
    who watches."""
    study, saving, stake = facts.study, facts.decided["saving"], facts.decided["at_stake"]
    forced = [name for name in facts.deciding("move") if facts.forced(name)]
    if barred := facts.barred():
        asks = [
            quoted(c["sentence"])
            for name in barred
            for c in facts.verdicts[name]["collect"]
            if c["what"] == "contract"
        ]
        what = f"Stop or sign: {'; '.join(dict.fromkeys(asks))}"
        waiting = f"a month of {first_few(barred)} without the contract its data need"
    elif forced:
        what = "Sign the move"
        waiting = f"a month of {first_few(forced)} without the contract its data need"
    elif saving:
        what, waiting = "Sign the move", waiting_costs(facts, "move")
    elif stake:
        what, waiting = f"Fund the evidence{_evidence(facts)}", waiting_costs(facts, "undecided")
    elif facts.unknown:
        what, waiting = "Answer the open questions", "not known until they are answered"
    else:
        what, waiting = "Confirm the course", "nothing"
    ends = "; ".join(quoted(sentence) for sentence in facts.ending())
    row = {
        "Decision": what + (f"; {ends}" if ends else ""),
        "Decider": owner_text(study.decider),
        "By": study.decide_by.isoformat(),
        "A month of waiting costs": waiting,
    }
    if thresholds := changes(facts):
        row["Would change it first"] = thresholds[0]
    return f'<h2 data-section="ask">The ask</h2>{definitions(row)}'


def _evidence(facts: Facts) -> str:
    items = facts.reckoned["items"]
    if not items["n"]:
        return ""
    return f": {told(items['n'])} items for {told(items['usd'], usd)}"


def waiting_costs(facts: Facts, decision: str) -> str:
    """What a month costs without the moves decided on, or without those still open: today, and
    from each day on which an announced price changes it."""
    rows, today = facts.reckoned["waiting_usd"][decision], facts.crossing["month_usd"]["today"]
    if rows is None:
        return "not known: a bill is missing"
    (first, *later), most = rows, "at most " if decision == "undecided" else ""
    now = f"{most}{told(first['usd'], usd)} of today's {told(today, usd)}"
    if first["usd"] == 0:
        now = "nothing at today's volume"
    return "; ".join([now, *(f"{told(x['usd'], usd)} from {quoted(x['since'])}" for x in later)])

"""What should be done, per workload and overall, and why?

The input is one table of routes per workload with the measures of each; the output is data: a
verdict with its reasons and the evidence to collect.

Privacy filters first. Then a route must fit the context, not be known to miss its latency target,
keep its quality, and save enough in enough draws, both against a buyer who stays on today's model
and against one who moves on to cheaper equal models. Every move goes through a canary, which must
show what has not been measured. A verdict that the evidence does not support is *undecided* and
says what would settle it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import pandas as pd

from llmstudy.measures.privacy import contract_name
from llmstudy.study.lines import Lines, meets_lines
from llmstudy.text import count, share, usd

ROUTE_COLUMNS = (
    "workload",
    "route",
    "arm",
    "current",
    "same_model",
    "permitted",
    "permission_reason",
    "missing",
    "contract",
    "self_hosting",
    "fits_context",
    "sized",
    "ends",
    "quality",
    "quality_grade",
    "lowest_grade",
    "benchmark",
    "closeness",
    "items",
    "items_needed",
    "looks",
    "latency",
    "target_s",
    "first_answer_s",
    "saving_p10_usd",
    "saving_p50_usd",
    "saving_p90_usd",
    "p_cheaper",
    "saving_same_quality_usd",
    "p_cheaper_same_quality",
)
"""The columns that `verdict` reads of each route.

same_model: it runs today's model. missing: contracts to sign. self_hosting: whether the data may go
to a fleet of one's own, with or without one in the table. sized: whether its cost is known. ends:
the day its model retires within the horizon (ISO), or None. quality: baseline, non-inferior,
inferior, undecided, none. benchmark: the source of the items. closeness: of the items to the task
(own, near, far). looks: how often the items were judged before. latency: meets, misses, undecided.
target_s: for the first token. first_answer_s: the stated time to the first answer token, reasoning
included, or None. saving_*_usd, p_cheaper: over the horizon against staying on today's named model.
*_same_quality: the median saving and its probability against a buyer who moves on to each cheaper
model of equal quality."""

Row = Mapping[str, Any]
"""One row of the table of routes, with `ROUTE_COLUMNS`."""

_GRADE_RANK = {"measured": 0, "recorded": 1, "published": 2}


@dataclass(frozen=True)
class Reason:
    """One reason for a verdict: its kind, the route it is about, and a sentence."""

    code: str
    route: str
    sentence: str


@dataclass(frozen=True)
class Collect:
    """Evidence to collect that could change a verdict: its kind, how much, and its cost in USD."""

    what: str
    n: int | None
    usd: float | None
    sentence: str


@dataclass(frozen=True)
class Verdict:
    """Where a workload runs until there is better evidence, and why.

    arm, route, contract: where it runs. target: the route to move to, or that evidence may favour.
    """

    arm: str
    decision: Literal["stay", "move", "undecided"]
    route: str | None
    contract: str
    target: str | None
    collect: list[Collect] = field(default_factory=list)
    reasons: list[Reason] = field(default_factory=list)

    def row(self) -> dict[str, Any]:
        """The verdict as a dictionary."""
        return asdict(self)


def verdict(routes: Iterable[Row], lines: Lines, usd_per_item: float) -> Verdict:
    """The verdict for one workload.

    routes: rows of one workload, one per route, with `ROUTE_COLUMNS`; exactly one is current.
    usd_per_item: the cost of labelling one of its golden items.
    Raises: ValueError unless exactly one route is current.
    """
    rows = [_judged(row, lines) for row in routes]
    todays = [row for row in rows if row["current"]]
    if len(todays) != 1:
        raise ValueError(f"{len(todays)} current routes: a workload has exactly one.")
    current, others = todays[0], [row for row in rows if not row["current"]]
    # a route whose stated answer begins late is likely to fail its probe
    able = sorted(
        (row for row in others if row["usable"]), key=lambda row: (answers_late(row), -_saving(row))
    )
    reasons = [r for row in others for r in _reasons(row, lines)]
    if not current["permitted"]:
        return _forced(current, rows, reasons, usd_per_item)
    moves = [row for row in able if row["proven"] and row["pays"]]
    open_ = [row for row in able if row["promising"]]
    collect = [
        item for row in [*moves[:1], *open_] for item in _missing_evidence(row, usd_per_item)
    ]
    if moves:
        return _to(moves[0], collect, reasons)
    unstable = _what_ends(current)
    return Verdict(
        arm=current["arm"],
        decision="undecided" if open_ or unstable else "stay",
        route=current["route"],
        contract=current["contract"],
        target=str(open_[0]["route"]) if open_ else None,
        collect=[item for item, _ in unstable] + collect,
        reasons=[reason for _, reason in unstable] + reasons,
    )


def _what_ends(current: Row) -> list[tuple[Collect, Reason]]:
    """Why staying is not an option: today's model retires, today's fleet cannot carry the load, or
    today's route misses its first-token target."""
    name, ends = str(current["route"]), []
    if isinstance(current["ends"], str):
        sentence = f"{name}: its model retires on {current['ends']}"
        ask = f"{sentence}; choose its successor and score it"
        ends.append((Collect("successor", None, None, ask), Reason("retirement", name, sentence)))
    if not current["sized"]:
        sentence = f"{name}: no capacity can be stated for today's route at its targets"
        ends.append((Collect("probe", None, None, sentence), Reason("capacity", name, sentence)))
    elif current["latency"] == "misses":
        sentence = f"{name}: misses the first-token target"
        ask = f"{sentence}; name a route that can hold it, or loosen the target"
        ends.append((Collect("latency", None, None, ask), Reason("latency", name, sentence)))
    return ends


def is_proven(row: Any) -> bool:
    """Whether a route keeps its quality, shown by evidence good enough to move on.

    row: quality, quality_grade and lowest_grade, as in `ROUTE_COLUMNS`.
    """
    rank = _GRADE_RANK.get(row["quality_grade"], len(_GRADE_RANK))
    required = _GRADE_RANK.get(row["lowest_grade"], -1)
    return bool(row["quality"] == "non-inferior" and rank <= required)


def pays(row: Any, lines: Lines) -> bool:
    """Whether a move saves enough, surely enough, against both buyers who stay.

    One stays on today's named model, the other moves on to each cheaper model of equal quality.
    row: the savings of `ROUTE_COLUMNS`.
    """
    return meets_lines(row["p_cheaper"], row["saving_p50_usd"], lines) and meets_lines(
        row["p_cheaper_same_quality"], row["saving_same_quality_usd"], lines
    )


def _judged(row: Row, lines: Lines) -> Row:
    """The row with usable, proven, pays and promising, which follow from it alone."""
    proven, paid = is_proven(row), pays(row, lines)
    enough = row["saving_p50_usd"] >= lines.saving_usd
    likely = enough and row["p_cheaper"] >= 0.5 and row["quality"] != "inferior"
    can = row["permitted"] and row["fits_context"] and row["sized"] and row["latency"] != "misses"
    # promising: better evidence could turn it into a move
    promising = likely and not (proven and paid)
    return {**row, "usable": can, "proven": proven, "pays": paid, "promising": promising}


def _saving(row: Row) -> float:
    return float(row["saving_p50_usd"])


def _to(row: Row, collect: list[Collect], reasons: list[Reason]) -> Verdict:
    return Verdict(
        row["arm"], "move", row["route"], row["contract"], row["route"], collect, reasons
    )


def _forced(current: Row, rows: list[Row], reasons: list[Reason], usd_per_item: float) -> Verdict:
    """The verdict when today's route may not see the data.

    Move to another permitted route of the same arm that answers in time, today's model first. If
    there is none but a contract would do, signing it is the open question: a workload does not
    change arm for want of a signature. Only data that the arm may never see go to another arm.
    """
    name = str(current["route"])
    reasons = [Reason("privacy", name, f"{name}: {current['permission_reason']}"), *reasons]
    able = [
        row for row in rows if row["usable"] and not row["current"] and row["quality"] != "inferior"
    ]
    if len(current["missing"]):  # a signature is nearer than a route that answers late
        able = [row for row in able if row["arm"] == current["arm"] and not answers_late(row)]
    if able:
        first = max(
            able,
            key=lambda r: (
                not answers_late(r),
                r["arm"] == current["arm"],
                r["same_model"],
                r["proven"],
                _saving(r),
            ),
        )
        return _to(first, _labelled_items(first, usd_per_item), reasons)
    signable = sorted((r for r in rows if len(r["missing"])), key=lambda r: not r["current"])
    lacking: dict[tuple[str, ...], list[str]] = {}  # missing contracts -> routes, one remedy each
    for row in signable:
        lacking.setdefault(tuple(row["missing"]), []).append(str(row["route"]))
    remedies = [
        f"{' or '.join(routes)}: sign {', '.join(map(contract_name, kinds))}"
        for kinds, routes in lacking.items()
    ]
    if current["self_hosting"]:
        remedies.append(_self_hosting(name, rows))
    elif not remedies:
        remedies = [f"{name}: name a route that may see these data; none here may"]
    collect = [Collect("contract", None, None, remedy) for remedy in remedies]
    arm = signable[0]["arm"] if signable else "self_hosted"
    return Verdict(arm, "undecided", None, "none in force", None, collect, reasons)


def _self_hosting(name: str, rows: list[Row]) -> str:
    """How to self-host data that may stay inside: on a route of the study, or on one to name."""
    fleets = [row for row in rows if row["arm"] == "self_hosted" and not row["current"]]
    ready = [row for row in fleets if row["usable"] and row["quality"] != "inferior"]
    if ready:
        return f"{max(ready, key=_saving)['route']}: self-host it; it may see these data"
    return f"{name}: name a self-hosted route that can serve it; it may see these data"


def _labelled_items(row: Row, usd_per_item: float) -> list[Collect]:
    """Evidence for a forced move: scored on the new route alone, as the old one may not be used."""
    if row["proven"]:
        return []
    name, n = str(row["route"]), int(row["items_needed"])
    ask = f"{name}: score {n:,} labelled items on it alone"
    return [Collect("golden items", n, n * usd_per_item, ask)]


def _reasons(row: Row, lines: Lines) -> list[Reason]:
    """Reasons for or against one candidate; for an excluded one, only why it is excluded."""
    name = str(row["route"])
    if not row["permitted"]:
        return [Reason("privacy", name, f"{name}: {row['permission_reason']}")]
    if not row["fits_context"]:
        return [Reason("context", name, f"{name}: its context is shorter than the workload needs")]
    if row["latency"] == "misses":
        return [Reason("latency", name, f"{name}: misses the first-token target")]
    if not row["sized"]:
        return [Reason("capacity", name, f"{name}: cannot serve this workload at its targets")]
    return [
        Reason("cost", name, f"{name}: {_cost(row, lines)}"),
        Reason("quality", name, f"{name}: {_quality(row)}"),
    ]


def _cost(row: Row, lines: Lines) -> str:
    cheaper = f"cheaper in {share(row['p_cheaper'])} of simulated futures"
    if row["p_cheaper"] < 0.5:
        return f"dearer in {share(1 - row['p_cheaper'])} of simulated futures"
    if row["saving_p50_usd"] < lines.saving_usd:
        return f"{cheaper}, but the saving is below the threshold"
    if row["p_cheaper"] < lines.probability:
        return f"{cheaper}, below the {share(lines.probability)} required"
    return cheaper if row["pays"] else f"{cheaper}; {against_equals(row)}"


def against_equals(row: Any) -> str:
    """Why a move that pays against staying put does not pay against moving on. row: as `pays`.

    >>> against_equals({"p_cheaper_same_quality": 0.4, "saving_same_quality_usd": -9e3})[-67:]
    'cheaper in 40 % of simulated futures, losing USD 9.0k at the median'
    """
    saved = row["saving_same_quality_usd"]
    return (
        "less sure against a buyer who takes each cheaper model of equal quality: cheaper in "
        f"{share(row['p_cheaper_same_quality'])} of simulated futures, "
        f"{'saving' if saved >= 0 else 'losing'} {usd(abs(saved))} at the median"
    )


def _quality(row: Row) -> str:
    if row["quality"] == "none":
        return "no paired items yet"
    items = f"{int(row['items']):,} {row['quality_grade']} paired items of {row['benchmark']}"
    if row["closeness"] == "far":
        return f"{items} decide nothing: what they ask is far from this task"
    if row["quality"] == "undecided":
        return f"{items} cannot tell whether it holds the margin"
    if row["quality"] == "inferior":
        return f"inferior on {items}"
    rests = "" if row["proven"] else f"; a move must rest on {row['lowest_grade']} ones"
    return f"not inferior on {items}{rests}"


def _missing_evidence(row: Row, usd_per_item: float) -> list[Collect]:
    name = str(row["route"])
    missing = []
    if not row["proven"]:
        n, items = int(row["items_needed"]), int(row["items"])
        ask = f"{name}: score {n:,} of your own items on both routes"
        if row["quality_grade"] == "measured" and n > items:
            ask += f", {n - items:,} more than now, and judge all of them with looks: "
            ask += f"{int(row['looks']) + 1}"
        missing.append(Collect("golden items", n, n * usd_per_item, ask))
    if row["latency"] == "undecided":
        missing.append(Collect("probe", None, None, _probe(row)))
    if not row["pays"]:
        missing.append(
            Collect("cost", None, None, f"{name}: narrow the inputs that decide its cost")
        )
    return missing


def answers_late(row: Any) -> bool:
    """Whether an unmeasured route's answer begins after its target, by its stated times.

    A model that reasons first answers late. row: latency, target_s, first_answer_s, as in
    `ROUTE_COLUMNS`.
    """
    begins = row["first_answer_s"]
    return bool(row["latency"] == "undecided" and pd.notna(begins) and begins > row["target_s"])


def _probe(row: Row) -> str:
    """A sentence on what to probe, and why the probe may fail."""
    ask = f"{row['route']}: probe its first token at your load"
    if not answers_late(row):
        return ask
    begins, target = row["first_answer_s"], row["target_s"]
    return f"{ask}; as stated, its answer begins after {count(begins)} s, {count(target)} s asked"


def overall(verdicts: Mapping[str, Verdict]) -> str:
    """The verdict over all workloads that have a route.

    api_first: all run on proprietary APIs, or none has a route; hybrid: some do; off_api: none do.

    >>> stay = Verdict("proprietary_api", "stay", "gpt-4o", "none needed", None)
    >>> overall({"chat": stay})
    'api_first'
    """
    on_api = [v.arm == "proprietary_api" for v in verdicts.values() if v.route]
    return "api_first" if all(on_api) else "hybrid" if any(on_api) else "off_api"

"""What has changed between two runs of a study, and by how much did each input move the headline?

`diff` takes two `Run`s and, for the attribution, a function that replays a study. It returns the
document that `llmstudy diff --json` prints, and that a run with a previous one writes to
`results/diff.json`:

- `then`, `now`: {run_id, study, as_of}
- `same_recommendation`: whether every workload has the same decision, route and target as before
- `recommendation`: per workload {workload, then, now, changed}; then and now are
  {decision, route, target}, or null where a run lacks the workload
- `headline`: {then, now, kind, then_usd, now_usd, moved_usd}; then and now are
  {kind, p10, p50, p90} or null if the number cannot be stated; `kind` is the amount that is
  compared, which counts as 0 in a run without it
- `attribution`: {method, inputs, why_not}; method is `shapley`, `one at a time` or null, inputs
  are {input, moved_usd}, largest first, and add up to `headline.moved_usd`
- `assumptions`: {name, then, now}, each {value, low, high, unit, grade, source} or, for what is not
  a figure, {text}; null if a run does not have it
- `triggers`: {workload, id, name, then, now}, for triggers whose status changed
- `looks`: a sentence for each comparison whose items were judged again without counting a look
- `made_of`: {what, then, now}: data files, log, notebooks, code, lock and package that differ, by
  hash or version
- `forecast`: the previous run's forecast against actual bills, as `llmstudy.compare.forecast`, or
  null
- `since`: {workloads, sentences}: the previous run's forecast against the later run's log, as
  `llmstudy.compare.actual`; both are empty without a log, or one that goes on after that run

`memo/memo.html.j2` writes it into a memo.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from llmstudy import text
from llmstudy.answer import KINDS, Kind, Spread, leading
from llmstudy.io import run_inputs
from llmstudy.simulate import breakdown
from llmstudy.study import Study
from llmstudy.study.snapshot import Leaf, blended, changed_inputs, leaves

MOST_FOR_SHAPLEY = 10
"""Largest number of changed inputs for which all 2^n mixtures are replayed."""

DATA_AND_CODE = "data and code"
"""What a replay cannot change back: data files, the log's requests, notebooks and the package."""

Amount = Callable[[Study, Kind], float]
"""Takes a study and a kind of amount; returns its median on today's data and code, 0 if none."""


@dataclass(frozen=True)
class Run:
    """A stored run.

    results: its `results.json`. chapters: the results of each chapter, by name. made_of: its
    `provenance.json`. study: as it was assessed, or None with the reason in `no_study`.
    """

    run_id: str
    results: Mapping[str, Any]
    chapters: Mapping[str, Mapping[str, Any]]
    made_of: Mapping[str, Any]
    study: Study | None
    no_study: str = ""


def diff(
    then: Run,
    now: Run,
    amount: Amount | None,
    why_not: str = "",
    forecast: Mapping[str, Any] | None = None,
    since: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What has changed from one run to a later one; see the module's docstring for its form.

    amount: for the attribution; None if nothing can be replayed, with the reason in `why_not`.
    forecast: as from `compare.forecast.against_actual`. since: {workloads, sentences} as from
    `compare.actual`.
    Raises: ValueError if the runs are of different studies.
    """
    names = [run.results["study"] for run in (then, now)]
    if names[0] != names[1]:
        raise ValueError(
            f"{then.run_id} is a run of {names[0]} and {now.run_id} of {names[1]}: compare two "
            "runs of one study."
        )
    recommendation = list(_recommendations(then, now))
    headline = _headlines(then, now)
    return {
        "then": _named(then),
        "now": _named(now),
        "same_recommendation": not any(row["changed"] for row in recommendation),
        "recommendation": recommendation,
        "headline": headline,
        "attribution": _attribution(then, now, headline, amount, why_not),
        "assumptions": list(_assumptions(then, now)),
        "triggers": list(_triggers(then, now)),
        "looks": uncounted_looks(then.study, now.study),
        "made_of": list(made_of_changes(then.made_of, now.made_of)),
        "forecast": forecast,
        "since": since or {"workloads": [], "sentences": []},
    }


def _named(run: Run) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "study": run.results["study"],
        "as_of": run.results["as_of"],
    }


# --- recommendation, headline and triggers --------------------------------------------------


def _recommendations(then: Run, now: Run) -> Iterator[dict[str, Any]]:
    before, after = (run.results["verdict"]["workloads"] for run in (then, now))
    for name in dict.fromkeys([*after, *before]):
        rows = [
            None if name not in verdicts else {key: verdicts[name][key] for key in _COURSE}
            for verdicts in (before, after)
        ]
        yield {"workload": name, "then": rows[0], "now": rows[1], "changed": rows[0] != rows[1]}


_COURSE = ("decision", "route", "target")


def headline_of(run: Run) -> dict[str, Any] | None:
    """The headline of the run's memo: kind, p10, p50, p90; None if a workload has no bill today."""
    billed = run.chapters["06_crossover"]["month_usd"]["today_by_workload"]
    stated = set(run.results["verdict"]["workloads"]) <= set(billed)
    return leading(amounts_of(run)) if stated else None


def amounts_of(run: Run) -> dict[Kind, Spread | None]:
    """The amounts of a run over the horizon; None for a kind that it does not have."""
    return {kind: run.results[f"{kind}_usd"] for kind in KINDS}


def compared(
    then: Mapping[Kind, Spread | None], now: Mapping[Kind, Spread | None]
) -> tuple[Kind, float, float]:
    """The kind of amount in which two runs are compared, and its two medians. usd.

    It is the first kind that either run has; the median is 0 in a run without it.

    >>> stay, stake = dict.fromkeys(KINDS) | {"stay": {"p50": 9.0}}, {"p50": 2.0}
    >>> compared(stay, {**stay, "at_stake": stake})
    ('at_stake', 0.0, 2.0)
    """
    kind = next(kind for kind in KINDS if then[kind] or now[kind])
    was, is_ = (amount["p50"] if (amount := run[kind]) else 0.0 for run in (then, now))
    return kind, was, is_


def _headlines(then: Run, now: Run) -> dict[str, Any]:
    before, after = headline_of(then), headline_of(now)
    if before is None or after is None:
        gaps = dict.fromkeys(("kind", "then_usd", "now_usd", "moved_usd"))
        return {"then": before, "now": after, **gaps}
    kind, was, is_ = compared(amounts_of(then), amounts_of(now))
    moved = {"kind": kind, "then_usd": was, "now_usd": is_, "moved_usd": is_ - was}
    return {"then": before, "now": after, **moved}


def _triggers(then: Run, now: Run) -> Iterator[dict[str, Any]]:
    before, after = (
        {(row["workload"], row["id"]): row for row in run.results["triggers"]}
        for run in (then, now)
    )
    for key in dict.fromkeys([*after, *before]):
        was, is_ = (rows[key]["status"] if key in rows else None for rows in (before, after))
        if was != is_:
            name = (after.get(key) or before[key])["name"]
            yield {"workload": key[0], "id": key[1], "name": name, "then": was, "now": is_}


# --- items judged again -----------------------------------------------------------------------


def uncounted_looks(then: Study | None, now: Study | None) -> list[str]:
    """A sentence for each comparison on own items that was judged again without counting a look.

    Changed counts are another look, unchanged counts are the same look. Tested at the level of an
    earlier look, they would pass by luck more often than `quality.ALPHA` allows. None: the study
    cannot be read, so it has no counts.
    """
    before, sentences = _item_counts(then), []
    for pair, (counts, looks) in _item_counts(now).items():
        last_counts, last_looks = before.get(pair, (counts, 0))
        changed = counts != last_counts
        if looks < last_looks + changed:
            workload, current, candidate = pair
            sentences.append(
                f"{workload}: the items of {current} and {candidate} "
                f"{'have changed since' if changed else 'are those of'} the last run, which judged "
                f"them with looks: {last_looks}; this study says looks: {looks}. Write looks: "
                f"{last_looks + changed}, or a worse model has one more try to pass by chance."
            )
    return sentences


def _item_counts(study: Study | None) -> dict[tuple[str, str, str], tuple[tuple[int, ...], int]]:
    """The counts and looks of own items, by workload and pair of models."""
    return {
        (name, evidence.model_proprietary, evidence.model_open): (evidence.counts, evidence.looks)
        for name, workload in (study.workloads.items() if study else ())
        for evidence in workload.quality.evidence.values()
        if evidence.counts is not None
    }


# --- assumptions and what the runs were made of ---------------------------------------------

_FIGURE_FIELDS = ("value", "low", "high", "unit", "grade", "source")


def _assumptions(then: Run, now: Run) -> Iterator[dict[str, Any]]:
    """The figures of the ledgers, and other answers of the studies, that differ."""
    before, after = _stated(then), _stated(now)
    for name in dict.fromkeys([*after, *before]):
        was, is_ = before.get(name), after.get(name)
        if was != is_:
            yield {"name": name, "then": was, "now": is_}


def _stated(run: Run) -> dict[str, dict[str, Any]]:
    chapters = (run.chapters["01_evidence"], run.chapters["05_self_hosting"])
    figures = {
        row["name"]: {key: row[key] for key in _FIGURE_FIELDS}
        for each in chapters
        for row in each["figures"]
    }
    return figures | {
        ".".join(path): {"text": _plain(leaf)}
        for path, leaf in (leaves(run.study) if run.study else {}).items()
        if ".".join(path) not in figures and path != ("as_of",)
    }


def _plain(leaf: Leaf) -> str:
    if isinstance(leaf, list | tuple):
        return ", ".join(_plain(item) for item in leaf) or "none"
    if isinstance(leaf, Mapping):
        return " ".join(_plain(item) for item in leaf.values())
    return "none" if leaf is None else str(leaf)


def made_of_changes(
    then: Mapping[str, Any], now: Mapping[str, Any]
) -> Iterator[dict[str, str | None]]:
    """The inputs of two runs that differ: {what, then, now}, each a hash or a version."""
    before, after = run_inputs(then), run_inputs(now)
    for what in sorted(before.keys() | after.keys()):
        if before.get(what) != after.get(what):
            yield {"what": what, "then": before.get(what), "now": after.get(what)}


# --- which input moved the headline ---------------------------------------------------------


def _attribution(
    then: Run, now: Run, headline: Mapping[str, Any], amount: Amount | None, why_not: str
) -> dict[str, Any]:
    def none(why: str) -> dict[str, Any]:
        return {"method": None, "inputs": [], "why_not": why}

    if headline["moved_usd"] is None:
        return none("a headline cannot be stated, so there is no move to attribute")
    if then.study is None or now.study is None:
        return none(then.no_study or now.no_study)
    if amount is None:
        return none(why_not)
    before, after, kind = then.study, now.study, headline["kind"]

    def value(taken: frozenset[str]) -> float:
        return amount(blended(before, after, taken), kind)

    try:
        method, moved = attributed(value, changed_inputs(before, after))
    except ValueError as error:
        return none(f"a mixture of the two studies cannot be assessed: {str(error).rstrip('.')}")
    rest = headline["moved_usd"] - sum(moved.values())
    shares = {**moved, DATA_AND_CODE: rest} if _beyond_rounding(rest, headline) else moved
    ordered = sorted(shares.items(), key=lambda item: (-abs(item[1]), item[0]))
    inputs_ = [{"input": name, "moved_usd": usd} for name, usd in ordered]
    return {"method": method, "inputs": inputs_, "why_not": None}


def _beyond_rounding(rest: float, headline: Mapping[str, Any]) -> bool:
    """Whether the rest exceeds the rounding of the stored amounts."""
    largest = max(abs(headline["then_usd"]), abs(headline["now_usd"]), 1.0)
    return bool(abs(rest) > 1e-8 * largest)


def attributed(value: breakdown.Value, names: list[str]) -> tuple[str, dict[str, float]]:
    """The method, and by how much each changed input moved the value.

    Up to ten inputs share the difference by Shapley's value. Of more inputs each is changed alone;
    the ten with the largest effect are named, and one more entry has the rest: the others, and the
    interaction of all. Either way the entries add up to value(all) - value(none).

    >>> method, moved = attributed(lambda taken: len(taken) ** 2, [f"x{i}" for i in range(11)])
    >>> method, len(moved), sum(moved.values())
    ('one at a time', 11, 121)
    """
    if len(names) <= MOST_FOR_SHAPLEY:
        return "shapley", breakdown.shapley(value, names)
    start = value(frozenset())
    alone = {name: value(frozenset([name])) - start for name in names}
    first = sorted(names, key=lambda name: (-abs(alone[name]), name))[:MOST_FOR_SHAPLEY]
    moved = {name: alone[name] for name in first}
    others = len(names) - len(first)
    rest = value(frozenset(names)) - start - sum(moved.values())
    return "one at a time", moved | {f"{others} more, and all of them together": rest}


# --- in words -------------------------------------------------------------------------------


def course(verdict: Mapping[str, Any] | None, name: Callable[[Any], str] = str) -> str:
    """A verdict in a few words. name: formats the name of a route.

    >>> course({"decision": "move", "route": "b", "target": "b"}), course(None)
    ('move to b', 'not in the study')
    """
    if verdict is None:
        return "not in the study"
    decision, route, target = (verdict[key] for key in _COURSE)
    if decision == "move":
        return f"move to {name(target)}"
    if decision == "undecided" and target:
        return f"undecided on {name(target)}"
    return f"{decision} on {name(route) if route else 'no permitted route'}"


LEADS = {
    "saving": "saving of the recommended moves",
    "at_stake": "saving that hangs on better evidence",
    "stay": "cost of staying",
}


def headline_text(headline: Mapping[str, Any] | None) -> str:
    """A headline with its range, in words.

    >>> headline_text({"kind": "stay", "p10": 8e5, "p50": 1e6, "p90": 1.3e6})
    'cost of staying USD 1.0M (80 % range USD 0.8M to 1.3M)'
    """
    if headline is None:
        return "no number that can be stated"
    ends = text.span(headline["p10"], headline["p90"], text.usd)
    return f"{LEADS[headline['kind']]} {text.usd(headline['p50'])} (80 % range {ends})"

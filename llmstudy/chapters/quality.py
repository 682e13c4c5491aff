"""Chapter 04: is a candidate good enough, on the same items as today's route?"""

from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from llmstudy.decide.dates import move_dates
from llmstudy.evidence.case import Case, Tables, contenders
from llmstudy.figure import Figure, Grade
from llmstudy.measures import quality
from llmstudy.simulate.quality import UNPAIRED_DISCORDANCE, counts_of, items_named
from llmstudy.study import PairedEvidence, Study, Workload


def quality_tables(case: Case) -> Tables:
    """The paired verdicts, and `dates`: when each candidate could move (`decide.dates`)."""
    verdicts = quality_verdicts(case.study)
    return {"quality": verdicts, "dates": move_dates(case, verdicts)}


def quality_verdicts(study: Study) -> pd.DataFrame:
    """Paired verdict of each candidate that may serve, with the items still needed.

    `benchmark` names the items, `closeness` says whether they are own ones, or near to or far from
    the task (`quality.benchmark`): a far benchmark leaves a candidate undecided, whatever it shows.
    `low` and `high` are the ends of the test's own interval, `alpha` is its level (null: nothing
    scored); `plan` says what `n_needed` rests on, `next_alpha` is the level at which those items
    are tested, and `pass_mark` the lowest difference with which they pass (null: none does).
    """
    levels = test_levels(study)
    rows: list[dict[str, Any]] = []
    for name, (_, *candidates) in contenders(study).items():
        workload = study.workloads[name]
        for route in candidates:
            evidence = workload.quality.evidence.get(route)
            row = {"workload": name, "route": route, "margin": workload.quality.margin.value}
            row["lowest_grade"] = workload.quality.lowest_grade
            at = levels[name, route]
            verdict = (
                _unpaired(workload, at) if evidence is None else _paired(workload, evidence, at)
            )
            rows.append(row | verdict)
    return pd.DataFrame(rows)


def paired_items(study: Study) -> pd.DataFrame:
    """The paired counts that the verdicts rest on: one row per scored candidate that may serve.

    Returns: workload, route, benchmark (as `quality.paired_table` names it, or the study its own
    items), closeness; items by who answered them correctly: n, both, only_proprietary (today's),
    only_open (the candidate's), neither; discordance_share, difference, margin (shares), next_alpha
    (the level at which further items are tested). Nothing scored gives no rows.
    """
    levels, rows = test_levels(study), []
    for (name, route), level in levels.items():
        workload = study.workloads[name]
        evidence = workload.quality.evidence.get(route)
        if evidence is None:
            continue
        counts = counts_of(evidence)
        rows.append(
            {
                "workload": name,
                "route": route,
                "benchmark": evidence.benchmark,
                "closeness": closeness(workload, evidence),
                "n": counts.n,
                "both": counts.both,
                "only_proprietary": counts.only_a,
                "only_open": counts.only_b,
                "neither": counts.neither,
                "discordance_share": counts.discordance_share,
                "difference": counts.difference,
                "margin": workload.quality.margin.value,
                "next_alpha": level.following,
            }
        )
    return pd.DataFrame(rows, columns=_PAIRED)


_PAIRED = [
    *("workload", "route", "benchmark", "closeness", "n", "both", "only_proprietary", "only_open"),
    *("neither", "discordance_share", "difference", "margin", "next_alpha"),
]


class Levels(NamedTuple):
    """One-sided levels: of a comparison's test (None: nothing scored), and of its next one."""

    test: float | None
    following: float


def test_levels(study: Study) -> dict[tuple[str, str], Levels]:
    """The levels at which each candidate is tested: (workload, route) -> levels.

    A family is what one memo claims together: that a candidate holds its margin, for each workload
    and model scored on evidence that may bear a move. `quality.ALPHA` is shared out by Holm over
    these, so that a memo claims any of them falsely with alpha at most, however many there are.
    What nobody has scored claims nothing, nor does a public pair that is far from the task, or
    where a move must rest on items of one's own: each is planned for as one claim more beside those
    that have not passed, and such a pair is judged on its own. Of its part each claim spends what
    `quality.look_share` leaves to the look at hand. A public pair is looked at once; one's own
    items begin at their first look. Routes that rest on the same counts are one claim.

    Whoever scores one candidate a memo has a first look in each: of five that all lose the whole
    margin, some memo then claims one falsely in 5.5 % of studies. A fixed sequence by stake would
    test each at the whole of alpha, but one candidate that fails bars all after it; Holm over all
    seven candidates, scored or not, asks for 1,363 items where this asks for 857. All three are
    simulated in `benchmarks/families.py`.

    Source: Hochberg & Tamhane (1987), Multiple Comparison Procedures, section 1.2, for the family.
    """
    claims: dict[Any, list[tuple[str, str]]] = {}
    evidence_of: dict[tuple[str, str], PairedEvidence | None] = {}
    for name, (_, *candidates) in contenders(study).items():
        workload = study.workloads[name]
        for route in candidates:
            evidence = evidence_of[name, route] = workload.quality.evidence.get(route)
            if evidence and _bears_a_move(workload, evidence):
                claim = (name, counts_of(evidence), evidence.looks)
                claims.setdefault(claim, []).append((name, route))
    shares = [quality.look_share(looks) for _, _, looks in claims]
    margins = [study.workloads[name].quality.margin.value for name, _, _ in claims]
    p = np.array(
        [
            min(quality.non_inferiority_p(counts, margin) / share, 1.0)
            for (_, counts, _), margin, share in zip(claims, margins, shares, strict=True)
        ]
    )
    levels = quality.holm_levels(p)
    open_ = p > levels
    place = {key: i for i, routes in enumerate(claims.values()) for key in routes}
    levels_of: dict[tuple[str, str], Levels] = {}
    for key, evidence in evidence_of.items():
        i = place.get(key)
        alone = quality.ALPHA * quality.look_share(0) if evidence else None
        test = alone if i is None else float(levels[i]) * shares[i]
        beside = int(open_.sum()) - (0 if i is None else int(open_[i]))
        next_look = evidence.looks + 1 if evidence and evidence.is_own else 0
        following = quality.ALPHA / (beside + 1) * quality.look_share(next_look)
        levels_of[key] = Levels(test, following)
    return levels_of


def closeness(workload: Workload, evidence: PairedEvidence) -> Literal["own", "near", "far"]:
    """How close the items of some evidence are to what the workload asks."""
    if evidence.is_own:
        return "own"
    return "near" if quality.benchmark(evidence.benchmark, workload.task).near else "far"


def _bears_a_move(workload: Workload, evidence: PairedEvidence) -> bool:
    """Whether a move may rest on some evidence: own items, or public ones where the study says so
    and they ask what the workload asks."""
    close = closeness(workload, evidence)
    return close == "own" or (close == "near" and workload.quality.lowest_grade == "published")


def _unpaired(workload: Workload, at: Levels) -> dict[str, Any]:
    margin = workload.quality.margin.value
    n = quality.score_test_size(UNPAIRED_DISCORDANCE, margin, at.following)
    return {
        "verdict": "none",
        "benchmark": None,
        "closeness": None,
        "grade": "assumed",
        "n": 0,
        "looks": 0,
        "alpha": None,
        "n_needed": n,
        "next_alpha": at.following,
        "pass_mark": quality.pass_mark(n, UNPAIRED_DISCORDANCE, margin, at.following),
        "plan": "planned for no true difference",
        "source": f"no pair scored; {UNPAIRED_DISCORDANCE:.0%} discordance assumed for the size",
        **dict.fromkeys(
            ("difference", "low", "high", "p_value", "acceptance_current", "acceptance_route")
        ),
        "audit": [],
    }


def _paired(workload: Workload, evidence: PairedEvidence, at: Levels) -> dict[str, Any]:
    counts, margin = counts_of(evidence), workload.quality.margin.value
    test = quality.non_inferiority(counts, margin, at.test or quality.ALPHA, at.following)
    current, candidate = quality.acceptance(counts)
    n_needed, plan = _plan(counts, test, at.following, is_own=evidence.is_own)
    close = closeness(workload, evidence)
    return {
        "verdict": "undecided" if close == "far" else test.verdict,
        "benchmark": items_named(workload, evidence),
        "closeness": close,
        "grade": _grade(evidence),
        "n": counts.n,
        "looks": evidence.looks,
        "alpha": at.test,
        "n_needed": n_needed,
        "next_alpha": at.following,
        "pass_mark": quality.pass_mark(n_needed, counts.discordance_share, margin, at.following),
        "plan": plan,
        "source": evidence.source or counts.source,
        "difference": test.difference.estimate,
        "low": test.difference.low,
        "high": test.difference.high,
        "p_value": quality.mcnemar_exact(counts),
        "acceptance_current": current.estimate,
        "acceptance_route": candidate.estimate,
        "audit": quality.audit(counts, None),
    }


def _grade(evidence: PairedEvidence) -> Grade:
    return "measured" if evidence.is_own else "published"


def _plan(
    counts: quality.PairedCounts, test: quality.NonInferiority, alpha: float, *, is_own: bool
) -> tuple[int, str]:
    """How many items of one's own would decide, and for which true difference that is planned.

    A public pair is only a proxy. Its difference is planned for where it is clear of the margin by
    a quarter of the margin: nearer than that the number runs away, for a difference that one's own
    items may well not show.
    """
    margin, difference = test.margin_share, counts.difference
    points = f"{100 * difference:+.1f} points"
    if is_own and test.n_needed is not None:
        return test.n_needed, f"planned for the {points} of the items at hand"
    if not is_own and difference >= -0.75 * margin:
        n = quality.score_test_size(
            counts.discordance_share, margin, alpha, true_difference=difference
        )
        return n, f"planned for the public pair's {points}"
    n, plan = quality.score_test_size(counts.discordance_share, margin, alpha), "no true difference"
    if is_own:
        settled = test.verdict != "undecided"
        why = "settled by the items at hand" if settled else "they lie on the margin"
        return n, f"planned for {plan}: {why}"
    if difference > -margin:
        return n, f"planned for {plan}: the public pair's {points} are close to the margin"
    return n, (
        f"planned for {plan}; the public pair's {points} lie on or beyond the margin and suggest "
        "that it will fail"
    )


def difference_figures(study: Study) -> dict[str, Figure]:
    """The paired differences that the verdicts rest on, for the ledger: share, test interval."""
    figures = {}
    levels = test_levels(study)
    for name, (_, *candidates) in contenders(study).items():
        spec = study.workloads[name].quality
        for route in candidates:
            evidence = spec.evidence.get(route)
            if evidence is None:
                continue
            counts = counts_of(evidence)
            level = 1 - 2 * (levels[name, route].test or quality.ALPHA)
            interval = quality.paired_difference(counts, level)
            figures[f"workloads.{name}.quality.{route}.difference"] = Figure(
                "",
                interval.estimate,
                "share",
                interval.low,
                interval.high,
                grade=_grade(evidence),
                source=f"{evidence.source or counts.source}, {counts.n:,} items of "
                f"{items_named(study.workloads[name], evidence)}",
                as_of=evidence.as_of,
            )
    return figures

"""Chapter 04: is a candidate good enough, judged on the same items as today's route?"""

from collections.abc import Mapping
from math import ceil
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from llmstudy import io
from llmstudy.chapters.cost import api_bills
from llmstudy.decide import labelling
from llmstudy.decide.dates import move_dates
from llmstudy.evals.canaries import canary_recall
from llmstudy.evals.redaction import Redactor
from llmstudy.evals.verdict import costs_at_prices
from llmstudy.evidence.case import Case, Tables, contenders
from llmstudy.figure import Figure, Grade
from llmstudy.measures import quality
from llmstudy.simulate.quality import (
    UNPAIRED_DISCORDANCE,
    counts_of,
    items_named,
    parts_of,
    penalty_of,
)
from llmstudy.study import PairedEvidence, Study, Workload
from llmstudy.tables import Rows

CANARIES = 200
"""Values of each entity that are planted to see what the redaction misses."""


def quality_tables(case: Case) -> Tables:
    """The paired verdicts, and `dates`: when each candidate could move (`decide.dates`)."""
    verdicts = quality_verdicts(case.study)
    return {"quality": verdicts, "dates": move_dates(case, verdicts)}


def quality_verdicts(study: Study) -> pd.DataFrame:
    """The paired verdict of each candidate that may serve, with the items still needed.

    Columns, among others: benchmark (the source of the items), closeness (own items, or near to or
    far from the task, see `quality.benchmark`; a far benchmark leaves a candidate undecided), low
    and high (the interval of the test), alpha (its level; null: not scored), n_needed (own items
    for a decision), plan (what n_needed rests on), next_alpha (the level at which those items are
    tested), pass_mark (the lowest difference that passes; null: none does), repair_usd (of a wrong
    answer; null: not stated).
    """
    levels = test_levels(study)
    rows: list[dict[str, Any]] = []
    for name, (_, *candidates) in contenders(study).items():
        workload = study.workloads[name]
        for route in candidates:
            evidence = workload.quality.evidence.get(route)
            row = {"workload": name, "route": route, "margin": workload.quality.margin.value}
            row["lowest_grade"] = workload.quality.lowest_grade
            repair = workload.quality.repair
            row["repair_usd"] = repair.value if repair else None
            at = levels[name, route]
            verdict = (
                _unpaired(workload, at) if evidence is None else _paired(study, name, route, at)
            )
            rows.append(row | verdict)
    return pd.DataFrame(rows)


def golden_plan(case: Case) -> pd.DataFrame:
    """What the verdict on each candidate still takes: `decide.labelling.golden_plan`."""
    return labelling.golden_plan(case.study, quality_verdicts(case.study), api_bills(case))


def accepted_answer_costs(study: Study, verdicts: Rows, bills: Rows) -> pd.DataFrame:
    """The cost per accepted answer of each scored token-billed route, and of today's beside it.

    verdicts: `quality_verdicts`. bills: `cost.api_bills`. A fleet has no bill of a request: chapter
    06 simulates what an accepted answer costs there (`projection.accepted_answers`).
    Returns: two rows for each scored candidate (`pair`), today's route first: workload, pair,
    route, current, benchmark (the source of the items), closeness, usd_per_request, acceptance
    (share of the pair's items), usd_per_accepted_answer with low_usd and high_usd, and, of the
    candidate, difference_usd (less today's) with difference_low_usd and difference_high_usd; 95 %
    intervals, from the items alone (`evals.verdict.costs_at_prices`).
    """
    prices = {
        (bill["workload"], bill["route"]): bill["usd_per_request"] for bill in io.plain(bills)
    }
    rows = []
    for row in io.plain(verdicts):
        name, pair = row["workload"], row["route"]
        workload = study.workloads[name]
        evidence, today = workload.quality.evidence.get(pair), workload.current_route
        if evidence is None or not prices.keys() >= {(name, today), (name, pair)}:
            continue
        before, after = prices[name, today], prices[name, pair]
        costs = costs_at_prices(counts_of(evidence), before, after, row["repair_usd"])
        if costs is None:
            continue
        for route, usd, acceptance, cost, less in (
            (today, before, row["acceptance_current"], costs.baseline, None),
            (pair, after, row["acceptance_route"], costs.candidate, costs.difference),
        ):
            rows.append(
                {
                    "workload": name,
                    "pair": pair,
                    "route": route,
                    "current": route == today,
                    "benchmark": row["benchmark"],
                    "closeness": row["closeness"],
                    "usd_per_request": usd,
                    "acceptance": acceptance,
                    "usd_per_accepted_answer": cost.estimate,
                    "low_usd": cost.low,
                    "high_usd": cost.high,
                    "difference_usd": less and less.estimate,
                    "difference_low_usd": less and less.low,
                    "difference_high_usd": less and less.high,
                }
            )
    return pd.DataFrame(rows)


def paired_items(study: Study) -> pd.DataFrame:
    """The paired counts behind the verdicts: one row per scored candidate that may serve.

    Returns: workload, route, benchmark (its name in `quality.paired_table`, or in the study for own
    items), closeness; items by who answered them correctly: n, both, only_proprietary (today's),
    only_open (the candidate's), neither; discordance_share, difference, margin (shares), next_alpha
    (the level at which further items are tested).
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
    """One-sided levels of a comparison's test (None: not scored) and of the following one."""

    test: float | None
    following: float


def test_levels(study: Study) -> dict[tuple[str, str], Levels]:
    """The levels at which each candidate is tested: (workload, route) -> levels.

    One memo makes a family of claims: that a candidate keeps its margin, for each workload and
    model scored on evidence good enough to move on. Holm's method splits `quality.ALPHA` over these
    claims, so that a memo makes any false claim with probability alpha at most. Unscored candidates
    make no claim; nor do public pairs that are far from the task, or where a move must rest on own
    items. Each of those is planned as one more claim beside those that have not passed, and such a
    pair is judged by itself. `quality.look_share` splits the level of a claim over repeated looks;
    a public pair gets one look, own items start with their first. Routes with the same counts are
    one claim. A candidate with protected slices makes one claim too, that it keeps its margin over
    all items and in each slice: its p-value is the largest of theirs (an intersection-union test).
    A quantised fleet must keep a smaller margin on the same items (`margin_of`), at the same level:
    it passes only if the route of its weights does, so that it takes no part of alpha.

    If a study scores one new candidate per memo, each gets a first look: with five candidates that
    all lose the whole margin, some memo makes a false claim in 5.5 % of studies. A fixed sequence
    by stake would test each at the full alpha, but one failure blocks all that follow; Holm over
    all seven candidates, scored or not, needs 1,363 items instead of 857. `benchmarks/families.py`
    simulates all three.

    Source: Hochberg & Tamhane (1987), Multiple Comparison Procedures, section 1.2, for the family;
    Berger (1982), Technometrics 24:295-300, for the slices.
    """
    claims: dict[Any, list[tuple[str, str]]] = {}
    evidence_of: dict[tuple[str, str], PairedEvidence | None] = {}
    for name, (_, *candidates) in contenders(study).items():
        workload = study.workloads[name]
        for route in candidates:
            evidence = evidence_of[name, route] = workload.quality.evidence.get(route)
            if evidence and _supports_a_move(workload, evidence):
                claim = (name, tuple(parts_of(evidence).values()), evidence.looks)
                claims.setdefault(claim, []).append((name, route))
    shares = [quality.look_share(looks) for _, _, looks in claims]
    margins = [study.workloads[name].quality.margin.value for name, _, _ in claims]
    p = np.array(
        [
            min(max(quality.non_inferiority_p(part, margin) for part in parts) / share, 1.0)
            for (_, parts, _), margin, share in zip(claims, margins, shares, strict=True)
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
    """How close the items of paired evidence are to the workload's task."""
    if evidence.is_own:
        return "own"
    return "near" if quality.benchmark(evidence.benchmark, workload.task).near else "far"


def _supports_a_move(workload: Workload, evidence: PairedEvidence) -> bool:
    """Whether a move may rest on this evidence: own items, or public items near the task if the
    study allows them."""
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


def margin_of(study: Study, name: str, route: str) -> float:
    """The margin that the evidence must keep: less by what a quantised fleet may lose besides."""
    spec = study.workloads[name].quality
    penalty = penalty_of(study, route, spec.evidence[route])
    return spec.margin.value if penalty is None else max(spec.margin.value - penalty.ends[1], 1e-6)


def _paired(study: Study, name: str, route: str, at: Levels) -> dict[str, Any]:
    workload = study.workloads[name]
    evidence, margin = workload.quality.evidence[route], workload.quality.margin.value
    counts = counts_of(evidence)
    tests = _tests(evidence, margin_of(study, name, route), at)
    test = tests[""]
    current, candidate = quality.acceptance(counts)
    close = closeness(workload, evidence)
    n_needed, plan = _plan(counts, test, margin, at.following, is_own=evidence.is_own)
    if test.verdict != "inferior" and (slice_ := _undecided_slice(evidence, tests)):
        name, items = slice_
        n_needed, plan = items, f"planned for the protected slice {name}, which is undecided"
    if evidence.flaws:
        plan = "the scoring has faults: mend it, and score the items again"
    return {
        "verdict": "undecided" if close == "far" or evidence.flaws else _of_all(tests),
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
        "audit": [*evidence.flaws, *quality.audit(counts, None)],
    }


def _tests(
    evidence: PairedEvidence, margin: float, at: Levels
) -> dict[str, quality.NonInferiority]:
    """The test of all items, named "", and that of each protected slice."""
    level = at.test or quality.ALPHA
    return {
        name: quality.non_inferiority(part, margin, level, at.following)
        for name, part in parts_of(evidence).items()
    }


def _of_all(tests: Mapping[str, quality.NonInferiority]) -> str:
    """Non-inferior where every part is, inferior where one is."""
    verdicts = {test.verdict for test in tests.values()}
    return next(v for v in ("inferior", "undecided", "non-inferior") if v in verdicts)


def _undecided_slice(
    evidence: PairedEvidence, tests: Mapping[str, quality.NonInferiority]
) -> tuple[str, int] | None:
    """The undecided slice that needs most items of all, and how many, its share as it is."""
    n = tests[""].n
    needs = [
        (name, ceil(test.n_needed * n / test.n))
        for name, test in tests.items()
        if name and test.n_needed is not None
    ]
    return max(needs, key=lambda need: need[1], default=None)


def protected_slices(study: Study) -> pd.DataFrame:
    """The verdict on each protected slice of each candidate scored on own items.

    A candidate may move only where it keeps its margin over all items and in each of these.
    Returns: workload, route, slice, n (items), difference, low, high, margin (shares), verdict.
    """
    rows = []
    for (name, route), at in test_levels(study).items():
        spec = study.workloads[name].quality
        evidence = spec.evidence.get(route)
        if evidence is None:
            continue
        for slice_, test in _tests(evidence, margin_of(study, name, route), at).items():
            if slice_:
                interval = test.difference
                row = (name, route, slice_, test.n, interval.estimate, interval.low, interval.high)
                rows.append((*row, test.margin_share, test.verdict))
    columns = ["workload", "route", "slice", "n", "difference", "low", "high", "margin", "verdict"]
    return pd.DataFrame(rows, columns=columns)


def redaction_leaks(study: Study) -> pd.DataFrame:
    """What the redaction of golden items leaves of planted values, by kind and of all together.

    Returns: entity, planted, redacted (values), leak with low and high (shares that are left, with
    Wilson's interval).
    """
    recall = canary_recall(Redactor(), CANARIES, np.random.default_rng(study.seed))
    rows = recall[["entity", "planted", "redacted"]]
    every = pd.DataFrame([{"entity": "all", **rows[["planted", "redacted"]].sum()}])
    rows = pd.concat([rows, every], ignore_index=True)
    leaks = [
        quality.wilson(n - out, n) for n, out in zip(rows["planted"], rows["redacted"], strict=True)
    ]
    return rows.assign(
        leak=[each.estimate for each in leaks],
        low=[each.low for each in leaks],
        high=[each.high for each in leaks],
    )


def doubts(verdicts: pd.DataFrame) -> pd.DataFrame:
    """What speaks against the scores behind the verdicts, a row for each sentence.

    verdicts: as `quality_verdicts`. Returns: workload, route, sentence.
    """
    rows = verdicts[["workload", "route", "audit"]].explode("audit").dropna()
    return rows.rename(columns={"audit": "sentence"})


def _grade(evidence: PairedEvidence) -> Grade:
    return "measured" if evidence.is_own else "published"


def _plan(
    counts: quality.PairedCounts,
    test: quality.NonInferiority,
    margin: float,
    alpha: float,
    *,
    is_own: bool,
) -> tuple[int, str]:
    """The number of own items that would decide, and the true difference that it is planned for.

    A public pair is only a proxy. Its difference is used if it is clear of the margin by a quarter
    of the margin: any closer, the number of items explodes for a difference that own items may not
    show at all.
    """
    difference = counts.difference
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
    """The paired differences behind the verdicts, for the ledger: shares with test intervals."""
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

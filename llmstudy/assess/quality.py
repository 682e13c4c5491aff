"""Chapter 04: is a candidate good enough, on the same items as today's route?"""

from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
import pandas as pd

from llmstudy import quality
from llmstudy.assess.case import Case, Tables, contenders
from llmstudy.assess.dates import move_dates
from llmstudy.figure import Figure, FloatArray, Grade
from llmstudy.study import PairedEvidence, Study, Workload, bundled_figures

UNPAIRED_DISCORDANCE = 0.27
"""Share of items on which two models disagree, assumed where no pair has been scored: the median of
the bundled pairs."""


def quality_tables(case: Case) -> Tables:
    """Paired verdict of each candidate that may serve, with the items still needed.

    `low` and `high` are the ends of the test's own interval, `alpha` is its level (null: nothing
    scored); `plan` says what `n_needed` rests on, `next_alpha` is the level at which those items
    are tested, and `pass_mark` the lowest difference with which they pass (null: none does).
    `dates` says when each could move: see `move_dates`.
    """
    levels = test_levels(case.study)
    rows: list[dict[str, Any]] = []
    for name, (_, *candidates) in contenders(case.study).items():
        workload = case.study.workloads[name]
        for route in candidates:
            given = workload.quality.evidence.get(route)
            row = {"workload": name, "route": route, "margin": workload.quality.margin.value}
            row["lowest_grade"] = workload.quality.lowest_grade
            at = levels[name, route]
            verdict = _unpaired(workload, at) if given is None else _paired(workload, given, at)
            rows.append(row | verdict)
    return {"quality": pd.DataFrame(rows), "dates": move_dates(case, rows)}


class Levels(NamedTuple):
    """One-sided levels: of a comparison's test (None: nothing scored), and of its next one."""

    test: float | None
    following: float


def test_levels(study: Study) -> dict[tuple[str, str], Levels]:
    """The levels at which each candidate is tested: (workload, route) -> levels.

    A study makes one claim for each workload and model. `quality.ALPHA` is shared out by Holm over
    all of them, those not scored yet among them: were they left out, each would bring a chance of a
    false pass of its own with it. Of its part each claim spends what `quality.look_share` leaves to
    the look at hand. A public pair is looked at once; one's own items begin at their first look.
    Routes that rest on the same counts are one claim.
    """
    claims: dict[Any, list[tuple[str, str]]] = {}
    for name, (_, *candidates) in contenders(study).items():
        for route in candidates:
            given = study.workloads[name].quality.evidence.get(route)
            model = study.routes[route].model
            rests_on = model if given is None else (counts_of(given), given.looks)
            claims.setdefault((name, rests_on), []).append((name, route))
    evidence = [
        study.workloads[name].quality.evidence.get(route) for (name, route), *_ in claims.values()
    ]
    shares = [quality.look_share(given.looks if given else 0) for given in evidence]
    p = np.array(
        [
            min(_p_value(study, name, given) / share, 1.0) if given else 1.0
            for (name, _), given, share in zip(claims, evidence, shares, strict=True)
        ]
    )
    levels = quality.holm_levels(p)
    passed = p <= levels
    found: dict[tuple[str, str], Levels] = {}
    for i, (routes, given) in enumerate(zip(claims.values(), evidence, strict=True)):
        own = given is not None and given.counts is not None
        next_share = quality.look_share(given.looks + 1 if given and own else 0)
        not_passed = len(p) - (int(passed.sum()) - int(passed[i]))
        test = float(levels[i]) * shares[i] if given else None
        found |= dict.fromkeys(routes, Levels(test, quality.ALPHA / not_passed * next_share))
    return found


def _p_value(study: Study, name: str, given: PairedEvidence) -> float:
    margin = study.workloads[name].quality.margin.value
    return quality.non_inferiority_p(counts_of(given), margin)


def _unpaired(workload: Workload, at: Levels) -> dict[str, Any]:
    margin = workload.quality.margin.value
    n = quality.score_test_size(UNPAIRED_DISCORDANCE, margin, at.following)
    return {
        "verdict": "none",
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


def counts_of(given: PairedEvidence) -> quality.PairedCounts:
    """The counts that a study names: its own, or bundled ones."""
    if given.counts is not None:
        return quality.PairedCounts(
            *given.counts, model_a=given.model_proprietary, model_b=given.model_open
        )
    return quality.paired_counts(
        given.benchmark, given.subject, given.model_proprietary, given.model_open
    )


def _paired(workload: Workload, given: PairedEvidence, at: Levels) -> dict[str, Any]:
    counts, margin = counts_of(given), workload.quality.margin.value
    found = quality.non_inferiority(counts, margin, at.test or quality.ALPHA, at.following)
    current, candidate = quality.acceptance(counts)
    n_needed, plan = _plan(counts, found, at.following, own=given.counts is not None)
    return {
        "verdict": found.verdict,
        "grade": _grade(given),
        "n": counts.n,
        "looks": given.looks,
        "alpha": at.test,
        "n_needed": n_needed,
        "next_alpha": at.following,
        "pass_mark": quality.pass_mark(n_needed, counts.discordance_share, margin, at.following),
        "plan": plan,
        "source": given.source or counts.source,
        "difference": found.difference.estimate,
        "low": found.difference.low,
        "high": found.difference.high,
        "p_value": quality.mcnemar_exact(counts),
        "acceptance_current": current.estimate,
        "acceptance_route": candidate.estimate,
        "audit": quality.audit(counts, None),
    }


def _grade(given: PairedEvidence) -> Grade:
    return "published" if given.counts is None else "measured"


def _plan(
    counts: quality.PairedCounts, found: quality.NonInferiority, alpha: float, *, own: bool
) -> tuple[int, str]:
    """How many items of one's own would decide, and for which true difference that is planned.

    A public pair is only a proxy. Its difference is planned for where it is clear of the margin by
    a quarter of the margin: nearer than that the number runs away, for a difference that one's own
    items may well not show.
    """
    margin, seen = found.margin_share, counts.difference
    points = f"{100 * seen:+.1f} points"
    if own and found.n_needed is not None:
        return found.n_needed, f"planned for the {points} of the items at hand"
    if not own and seen >= -0.75 * margin:
        n = quality.score_test_size(counts.discordance_share, margin, alpha, true_difference=seen)
        return n, f"planned for the public pair's {points}"
    n, plan = quality.score_test_size(counts.discordance_share, margin, alpha), "no true difference"
    if own:
        settled = found.verdict != "undecided"
        why = "settled by the items at hand" if settled else "they lie on the margin"
        return n, f"planned for {plan}: {why}"
    if seen > -margin:
        return n, f"planned for {plan}: the public pair's {points} are close to the margin"
    return n, (
        f"planned for {plan}; the public pair's {points} lie on or beyond the margin and suggest "
        "that it will fail"
    )


def quality_stream(study: Study, name: str, route: str) -> str:
    """The stream that a route's quality on a workload is drawn from.

    Routes that rest on the same pair serve the same model, so that their difference is one.
    """
    given = study.workloads[name].quality.evidence.get(route)
    if given is None:
        return f"quality {name} {study.routes[route].model}"
    return f"quality {name} {given.benchmark} {given.subject} {given.model_open}"


def acceptance_draws(study: Study, name: str, route: str, n: int) -> tuple[FloatArray, FloatArray]:
    """Draws of the share of answers accepted, today's and a scored candidate's. (n,) each.

    From the posterior of their paired counts, so that they move together as they do on the items.
    """
    given = study.workloads[name].quality.evidence[route]
    stream = f"accepted {quality_stream(study, name, route)}"
    rng = np.random.default_rng([study.seed, crc32(stream.encode())])
    current, candidate = quality.draw_acceptance(counts_of(given), n, rng).T
    return current, candidate


def difference_draws(study: Study, name: str, route: str, n: int) -> FloatArray:
    """Draws of what a candidate's accuracy on our own task lies above today's. (n,) shares.

    From own items: the posterior of their counts. From a public pair: that, and how far one's own
    task may lie from a public subject (`quality.proxy_spread`). With no pair: that spread about no
    difference, an assumption that stands for nothing known.
    """
    given = study.workloads[name].quality.evidence.get(route)
    rng = np.random.default_rng([study.seed, crc32(quality_stream(study, name, route).encode())])
    proxy = bundled_figures()["quality.proxy_spread"].value * rng.standard_normal(n)
    if given is None:
        return np.asarray(np.clip(proxy, -1, 1))
    current, candidate = quality.draw_acceptance(counts_of(given), n, rng).T
    own = given.counts is not None
    return np.asarray(np.clip(candidate - current + (0.0 if own else proxy), -1, 1))


def difference_figures(study: Study) -> dict[str, Figure]:
    """The paired differences that the verdicts rest on, for the ledger: share, test interval."""
    figures = {}
    levels = test_levels(study)
    for name, (_, *candidates) in contenders(study).items():
        asked = study.workloads[name].quality
        for route in candidates:
            given = asked.evidence.get(route)
            if given is None:
                continue
            counts = counts_of(given)
            level = 1 - 2 * (levels[name, route].test or quality.ALPHA)
            found = quality.paired_difference(counts, level)
            figures[f"workloads.{name}.quality.{route}.difference"] = Figure(
                "",
                found.estimate,
                "share",
                found.low,
                found.high,
                grade=_grade(given),
                source=f"{given.source or counts.source}, {counts.n:,} items",
                as_of=given.as_of,
            )
    return figures

"""Chapter 04: is a candidate good enough, on the same items as today's route?"""

from typing import Any
from zlib import crc32

import numpy as np
import pandas as pd

from llmstudy import quality
from llmstudy.assess.case import Case, Tables, contenders
from llmstudy.figure import Figure, FloatArray, Grade
from llmstudy.study import PairedEvidence, Study, Workload, bundled_figures

UNPAIRED_DISCORDANCE = 0.27
"""Share of items on which two models disagree, assumed where no pair has been scored: the median of
the bundled pairs."""


def quality_tables(case: Case) -> Tables:
    """Paired verdict of each candidate that may serve, with the items still needed.

    `low` and `high` are the ends of the test's own interval; `plan` says what `n_needed` rests on.
    """
    rows: list[dict[str, Any]] = []
    for name, (_, *candidates) in contenders(case.study).items():
        workload = case.study.workloads[name]
        for route in candidates:
            given = workload.quality.evidence.get(route)
            row = {"workload": name, "route": route, "margin": workload.quality.margin.value}
            row["lowest_grade"] = workload.quality.lowest_grade
            rows.append(row | (_unpaired(workload) if given is None else _paired(workload, given)))
    return {"quality": pd.DataFrame(rows)}


def _unpaired(workload: Workload) -> dict[str, Any]:
    margin = workload.quality.margin.value
    return {
        "verdict": "none",
        "grade": "assumed",
        "n": 0,
        "n_needed": quality.score_test_size(UNPAIRED_DISCORDANCE, margin),
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


def _paired(workload: Workload, given: PairedEvidence) -> dict[str, Any]:
    counts = counts_of(given)
    found = quality.non_inferiority(counts, workload.quality.margin.value)
    current, candidate = quality.acceptance(counts)
    n_needed, plan = _plan(counts, found, own=given.counts is not None)
    return {
        "verdict": found.verdict,
        "grade": _grade(given),
        "n": counts.n,
        "n_needed": n_needed,
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
    counts: quality.PairedCounts, found: quality.NonInferiority, *, own: bool
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
        n = quality.score_test_size(counts.discordance_share, margin, true_difference=seen)
        return n, f"planned for the public pair's {points}"
    n, plan = quality.score_test_size(counts.discordance_share, margin), "no true difference"
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
    for name, (_, *candidates) in contenders(study).items():
        asked = study.workloads[name].quality
        for route in candidates:
            given = asked.evidence.get(route)
            if given is None:
                continue
            counts = counts_of(given)
            found = quality.non_inferiority(counts, asked.margin.value).difference
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

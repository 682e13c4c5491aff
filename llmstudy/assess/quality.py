"""Chapter 04: is a candidate good enough, on the same items as today's route?"""

from typing import Any

import pandas as pd

from llmstudy import quality
from llmstudy.assess.case import Case, Tables
from llmstudy.study import PairedEvidence, Workload

UNPAIRED_DISCORDANCE = 0.27
"""Share of items on which two models disagree, assumed where no pair has been scored: the median of
the bundled pairs."""


def quality_tables(case: Case) -> Tables:
    """Paired verdict of each candidate against today's route, with the items still needed."""
    rows: list[dict[str, Any]] = []
    for name, workload in case.study.workloads.items():
        for route in workload.candidates:
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
    own = given.counts is not None
    margin = workload.quality.margin.value
    found = quality.non_inferiority(counts, margin)
    interval = quality.paired_difference(counts)
    current, candidate = quality.acceptance(counts)
    grade = "measured" if own else "published"
    # items of one's own are planned afresh when the pair at hand is only a proxy
    planned = quality.score_test_size(counts.discordance_share, margin)
    enough = own and found.n_needed is not None
    return {
        "verdict": found.verdict,
        "grade": grade,
        "n": counts.n,
        "n_needed": found.n_needed if enough else planned,
        "source": given.source or counts.source,
        "difference": interval.estimate,
        "low": interval.low,
        "high": interval.high,
        "p_value": quality.mcnemar_exact(counts),
        "acceptance_current": current.estimate,
        "acceptance_route": candidate.estimate,
        "audit": quality.audit(counts, None),
    }

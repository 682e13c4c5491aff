"""Draws of a candidate's quality against today's, from counts of paired items."""

from zlib import crc32

import numpy as np

from llmstudy.figure import Figure, FloatArray
from llmstudy.measures import quality
from llmstudy.simulate.draws import draw
from llmstudy.study import PairedEvidence, SelfHostedRoute, Study, Workload, bundled_figures

UNPAIRED_DISCORDANCE = 0.27
"""Share of items on which two models disagree, assumed where no pair has been scored: the median of
the bundled pairs."""


def items_named(workload: Workload, evidence: PairedEvidence) -> str:
    """Whose items the evidence rests on, to follow "items of"."""
    if evidence.is_own:
        return f"our own ({evidence.benchmark})"
    return quality.benchmark(evidence.benchmark, workload.task).name


def counts_of(evidence: PairedEvidence) -> quality.PairedCounts:
    """The counts of the evidence: the study's own, or bundled ones."""
    if evidence.counts is not None:
        return quality.PairedCounts(
            *evidence.counts, model_a=evidence.model_proprietary, model_b=evidence.model_open
        )
    return quality.paired_counts(
        evidence.benchmark, evidence.subject, evidence.model_proprietary, evidence.model_open
    )


def parts_of(evidence: PairedEvidence) -> dict[str, quality.PairedCounts]:
    """The counts in each part of the items that must keep the margin: all, named "", and slices."""
    return {"": counts_of(evidence)} | {
        name: quality.PairedCounts(*cells) for name, cells in evidence.slices.items()
    }


def penalty_of(study: Study, route: str, evidence: PairedEvidence) -> Figure | None:
    """What a fleet of quantised weights may lose against the evidence on it; None if nothing.

    Own items are taken for the fleet's own answers unless a penalty is stated with them.
    """
    to = study.routes[route]
    quantised = isinstance(to, SelfHostedRoute) and to.precision != "bf16"
    if evidence.penalty is not None or evidence.is_own or not quantised:
        return evidence.penalty
    return bundled_figures()["quality.quantisation_penalty"]


def quality_stream(study: Study, name: str, route: str) -> str:
    """The name of the stream that a route's quality on a workload is drawn from.

    Routes with evidence on the same pair of models share it, since their quality is the same.
    """
    evidence = study.workloads[name].quality.evidence.get(route)
    if evidence is None:
        return f"quality {name} {study.routes[route].model}"
    return f"quality {name} {evidence.benchmark} {evidence.subject} {evidence.model_open}"


def acceptance_draws(study: Study, name: str, route: str, n: int) -> tuple[FloatArray, FloatArray]:
    """Draws of the share of answers accepted, today's and a scored candidate's. (n,) each.

    From the posterior of their paired counts, so that they move together as they do on the items.
    """
    evidence = study.workloads[name].quality.evidence[route]
    stream = f"accepted {quality_stream(study, name, route)}"
    rng = np.random.default_rng([study.seed, crc32(stream.encode())])
    current, candidate = quality.draw_acceptance(counts_of(evidence), n, rng).T
    return current, candidate


def repair_draws(study: Study, name: str, n: int) -> FloatArray | None:
    """Draws of what putting a wrong answer of a workload right costs; None if not stated. (n,)."""
    repair = study.workloads[name].quality.repair
    return None if repair is None else draw(repair, f"repair {name}", n, study.seed)


def difference_draws(study: Study, name: str, route: str, n: int) -> FloatArray:
    """Draws of a candidate's accuracy less today's, on the workload's own task. (n,) shares.

    With own items: the posterior of their counts. With a public pair: that, plus the spread between
    a public subject and the own task (`quality.proxy_spread`). Without evidence: that spread about
    a difference of 0, as an assumption. A quantised fleet loses its penalty (`penalty_of`).
    """
    evidence = study.workloads[name].quality.evidence.get(route)
    rng = np.random.default_rng([study.seed, crc32(quality_stream(study, name, route).encode())])
    proxy = bundled_figures()["quality.proxy_spread"].value * rng.standard_normal(n)
    if evidence is None:
        return np.asarray(np.clip(proxy, -1, 1))
    current, candidate = quality.draw_acceptance(counts_of(evidence), n, rng).T
    penalty = penalty_of(study, route, evidence)
    lost = 0.0 if penalty is None else draw(penalty, f"penalty {route}", n, study.seed)
    return np.asarray(
        np.clip(candidate - current - lost + (0.0 if evidence.is_own else proxy), -1, 1)
    )

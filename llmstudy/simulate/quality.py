"""How much better or worse is a candidate's quality, in every draw? From the counts of paired
items.
"""

from zlib import crc32

import numpy as np

from llmstudy.figure import FloatArray
from llmstudy.measures import quality
from llmstudy.study import PairedEvidence, Study, Workload, bundled_figures

UNPAIRED_DISCORDANCE = 0.27
"""Share of items on which two models disagree, assumed where no pair has been scored: the median of
the bundled pairs."""


def items_named(workload: Workload, given: PairedEvidence) -> str:
    """Whose items some evidence rests on, to follow "items of"."""
    if given.is_own:
        return f"our own ({given.benchmark})"
    return quality.benchmark(given.benchmark, workload.task).name


def counts_of(given: PairedEvidence) -> quality.PairedCounts:
    """The counts that a study names: its own, or bundled ones."""
    if given.counts is not None:
        return quality.PairedCounts(
            *given.counts, model_a=given.model_proprietary, model_b=given.model_open
        )
    return quality.paired_counts(
        given.benchmark, given.subject, given.model_proprietary, given.model_open
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
    return np.asarray(np.clip(candidate - current + (0.0 if given.is_own else proxy), -1, 1))

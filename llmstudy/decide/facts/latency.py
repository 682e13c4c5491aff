"""Facts about latency: the targets, and what was measured on APIs and fleets."""

from dataclasses import replace

from llmstudy.decide.facts.grounds import Grounds, ranged
from llmstudy.decide.judge import Fact
from llmstudy.evidence.case import rows_of
from llmstudy.text import count


def tightest_first_token(grounds: Grounds) -> Fact:
    """The tightest target for the p95 of the TTFT, in s; None while any target is unknown.

    low, high: the tightest of the stated targets.
    """
    targets = {name: w.slo.ttft_p95 for name, w in grounds.study.workloads.items()}
    name, target = min(targets.items(), key=lambda x: x[1].value)
    words = f"tightest target {count(1000 * target.value)} ms, {name}"
    late = rows_of(grounds.results["03_latency"]["latency"], workload=name, verdict="misses")
    if late:
        words += f"; out, since they miss it: {', '.join(row['route'] for row in late)}"
    fact = Fact(target.value, "s", target.grade, f"workloads.{name}.slo.ttft_p95", words)
    stated = [x.value for x in targets.values() if not x.name.startswith("unknown.")]
    if len(stated) == len(targets):
        return fact
    least = min(stated) if stated else None
    return replace(fact, value=None, grade="assumed", low=least, high=least)


def tightest_answer(grounds: Grounds) -> Fact:
    """The tightest target for a whole answer of mean length, TTFT and TPOT together, in s."""
    seconds = [
        w.slo.ttft_p95.value + w.slo.tpot_p95.value * w.intake.output_tokens.value
        for w in grounds.study.workloads.values()
        if not w.slo.ttft_p95.name.startswith("unknown.")
        and not w.intake.output_tokens.name.startswith("unknown.")
    ]
    words = "tightest target for a mean answer, first token and pace together"
    return ranged([min(seconds)] if seconds else [], "s", "assumed", "workloads: slo", words)


def _probe_p50s(grounds: Grounds, arm: str) -> list[float | None]:
    probes = grounds.results["03_latency"]["probes"]
    return [row["ttft_p50_s"] for row in probes if grounds.arm_of(row["route"]) == arm]


def api_p50(grounds: Grounds) -> Fact:
    """The median TTFT of today's APIs in the log, and of probed APIs, in s."""
    logged = [
        float(requests["ttft_s"].median())
        for name, workload in grounds.study.workloads.items()
        if name not in grounds.case.traffic.simulated
        and grounds.arm_of(workload.current_route) == "proprietary_api"
        for requests in [grounds.case.traffic.of(name)]
        if requests["ttft_s"].notna().any()
    ]
    seconds = [*logged, *_probe_p50s(grounds, "proprietary_api")]
    return ranged(seconds, "s", "measured", "03_latency: latency", "log and probes, p50")


def api_p95(grounds: Grounds) -> Fact:
    """The p95 TTFT of APIs as measured by the log or a probe, in s."""
    rows = rows_of(grounds.results["03_latency"]["latency"], arm="proprietary_api")
    seconds = [row["ttft_p95_s"] for row in rows if row["grade"] in ("measured", "recorded")]
    return ranged(seconds, "s", "measured", "03_latency: latency", "log and probes, p95")


def fleet_p50(grounds: Grounds) -> Fact:
    """The median TTFT of probed fleets, else the lower bound of the serving curve, in s."""
    seconds = _probe_p50s(grounds, "self_hosted")
    words = "probes of self-hosted routes, p50"
    if seconds:
        return ranged(seconds, "s", "measured", "03_latency: probes", words)
    fleets = grounds.results["05_self_hosting"]["fleets"]
    bounds = [row["ttft_lower_bound_s"] for row in fleets]
    words = "at least, by the serving curve: no fleet was probed, and queues come on top"
    fact = ranged(bounds, "s", "published", "05_self_hosting: fleets", words)
    return replace(fact, high=float("inf")) if bounds else fact

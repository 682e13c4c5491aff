"""Chapter 03: the TTFT of every route against its target, and what probes measured."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from llmstudy.evidence.case import Case, Tables, contenders
from llmstudy.evidence.output_tokens import length_of, output_tokens_ratio
from llmstudy.evidence.probes import RouteProbe, not_comparable, unlike
from llmstudy.figure import Figure, least_certain
from llmstudy.measures import latency
from llmstudy.measures.latency import (
    QuantileEstimate,
    dependent_quantile_interval,
    latencies,
    units,
)
from llmstudy.probe.metrics import decomposition
from llmstudy.probe.run import with_metrics
from llmstudy.requests.schema import stacked
from llmstudy.study import ApiRoute


def latency_tables(case: Case, hosting: Mapping[str, Any]) -> Tables:
    """TTFT against its target, TPOT, whole answers, and the probes.

    hosting: the results of chapter 05.
    Returns: `latency` (`first_token_rows`), `answers` (`answer_rows`), `tpot` (`pace_rows`), and
    `probe_tables`.
    Raises: ValueError as `probes.probes_of`.
    """
    latency = first_token_rows(case, hosting)
    return {
        "latency": pd.DataFrame(latency),
        "answers": answer_rows(case, latency, hosting),
        "tpot": pace_rows(case),
        **probe_tables(case),
    }


def first_token_rows(case: Case, hosting: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The p95 TTFT of each route that may serve, and of today's, against its target.

    Only a measurement can meet a target. A claim leaves it undecided, unless even its best case is
    above the target; then the route misses it, and so does an unprobed self-hosted route that
    cannot serve the workload at all. Today's log takes precedence over a probe, and a probe over a
    claim or the serving curve. A closed-loop probe leaves the TTFT undecided: a request is sent
    only when another is answered, so it does not show the queueing of independent arrivals. A probe
    of another model, of other lengths or too old (`probes.unlike`) is not comparable and is
    ignored.

    Rows: workload, route, arm, target_s, ttft_p95_s, low_s, high_s (null: unknown), verdict (meets,
    misses, undecided), grade, source.
    """
    bounds = {(f["workload"], f["route"]): f for f in hosting["fleets"]}
    failed = {(f["workload"], f["route"]) for f in hosting["failures"]}
    rows = []
    for name, route, probe in _routes(case):
        workload, spec = case.study.workloads[name], case.study.routes[route]
        target_s = workload.slo.ttft_p95.value
        if route == workload.current_route and _logs_first_token(case, name):
            ttft = _of_estimate(log_p95(case.traffic.of(name)), target_s, "request log")
        elif probe is not None:
            ttft = _of_estimate(probe.estimate_s("ttft_ms", "p95"), target_s, "probe")
            if probe.closed_loop:
                ttft = replace(ttft, verdict="undecided", source="probe in closed loop")
        elif isinstance(spec, ApiRoute):
            ttft = _of_claim(spec.ttft_p95, target_s)
        elif (name, route) in failed:
            ttft = _P95(None, None, None, "misses", "published", "serving curve")
        else:
            bound = bounds[name, route]["ttft_lower_bound_s"]
            ttft = _P95(None, bound, None, "undecided", "published", "serving curve")
        place = {"workload": name, "route": route, "arm": spec.arm}
        rows.append(place | ttft.row("ttft_p95_s", target_s))
    return rows


def pace_rows(case: Case) -> list[dict[str, Any]]:
    """The p95 TPOT of each probed route against its target.

    Rows: as `first_token_rows`, with tpot_p95_s in place of ttft_p95_s.
    """
    rows = []
    for name, route, probe in _routes(case):
        if probe is not None:
            limit_s = case.study.workloads[name].slo.tpot_p95.value
            tpot = _of_estimate(probe.estimate_s("tpot_ms", "p95"), limit_s, "probe")
            place = {"workload": name, "route": route, "arm": case.study.routes[route].arm}
            rows.append(place | tpot.row("tpot_p95_s", limit_s))
    return rows


def _routes(case: Case) -> Iterator[tuple[str, str, RouteProbe | None]]:
    """Each workload with each route that may serve it, and the probe of that, if any."""
    for name, routes in contenders(case.study).items():
        for route in routes:
            yield name, route, case.probe_of(name, route)


def measured_requests(case: Case) -> pd.DataFrame:
    """The requests whose latencies were measured, in the order sent: of today's log and of probes.

    Of a log, those that were streamed or failed. A probe is listed under each workload that it
    applies to (`Case.probe_of`), unless today's log is.

    Returns: one row per request and workload: workload, route, source ("request log", "probe"),
    day, run (of a probe), ok, ttft_s, tpot_s, e2e_s, ttft_slo_s, tpot_slo_s (the workload's
    targets).
    """
    frames = []
    for name, route, probe in _routes(case):
        workload = case.study.workloads[name]
        if route == workload.current_route and _logs_first_token(case, name):
            samples, source = _streamed(case.traffic.of(name)), "request log"
        elif probe is not None:
            order = ["day", "run", "index"]
            samples = with_metrics(probe.measured).sort_values(order, kind="stable")
            source = "probe"
        else:
            continue
        samples = _labelled(samples, {"workload": name, "route": route, "source": source})
        slo = workload.slo
        targets = {"ttft_slo_s": slo.ttft_p95.value, "tpot_slo_s": slo.tpot_p95.value}
        samples = samples.assign(**targets).reindex(columns=_MEASURED)
        frames.append(samples.astype(dict.fromkeys(_LABELS, "category")))
    return stacked(frames) if frames else pd.DataFrame(columns=_MEASURED)


_LABELS = ("workload", "route", "source", "day", "run")
_MEASURED = [
    *(*_LABELS, "ok", "ttft_s", "tpot_s", "e2e_s"),
    *("ttft_slo_s", "tpot_slo_s"),
]


def answer_rows(
    case: Case, first: Sequence[Mapping[str, Any]], hosting: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """How long a whole answer takes on each route, with answers as long as its own model's.

    E2E = TTFT + TPOT x (N - 1), with N the mean output tokens, reasoning included. TTFT is the p95
    of `latency`, or its lower bound; TPOT is the p95 of a probe, else that of the fleet at its
    operating point, else the workload's target. No verdict rests on it.

    A stated TTFT may not include the time to reason. If the route's model reasons and today's does
    not, `first_answer_s` adds the time for the tokens beyond today's answer at that TPOT; otherwise
    it is the TTFT. A measured TTFT includes the reasoning already, so the E2E of a route that
    reasons is then an upper bound.

    first: rows of `latency`. Rows: workload, route, output_tokens, pace_s (TPOT), pace_source,
    first_answer_s, e2e_s, low_s, high_s (over the P10 and P90 of the ratio of output tokens), grade
    (of the least certain part); times are null if no TTFT is known.
    """
    paces = {(f["workload"], f["route"]): f["tpot_s"] for f in hosting["fleets"]}
    rows = []
    for row in first:
        name, route = row["workload"], row["route"]
        workload, spec = case.study.workloads[name], case.study.routes[route]
        counted = workload.intake.output_tokens
        ratio = output_tokens_ratio(case.study, workload, spec)
        pace_s, pace_source = paces.get((name, route)), "serving curve"
        probe = case.probe_of(name, route)
        probe_pace_s = probe.estimate_s("tpot_ms", "p95").estimate if probe is not None else None
        if probe_pace_s is not None and np.isfinite(probe_pace_s):
            pace_s, pace_source = probe_pace_s, "probe"
        elif pace_s is None:
            pace_s, pace_source = workload.slo.tpot_p95.value, "target"
        start_s = row["low_s"] if row["ttft_p95_s"] is None else row["ttft_p95_s"]
        ends = (ratio.value, *ratio.ends)
        e2e = [
            None if start_s is None else start_s + max(counted.value * x - 1, 0) * pace_s
            for x in ends
        ]
        complete = row["grade"] == "measured" or not _adds_reasoning(case, name, route)
        beyond = 0.0 if complete else max(ratio.value - 1, 0.0) * counted.value
        rows.append(
            {
                "workload": name,
                "route": route,
                "output_tokens": counted.value * ratio.value,
                "pace_s": pace_s,
                "pace_source": pace_source,
                "first_answer_s": None if start_s is None else start_s + beyond * pace_s,
                **dict(zip(("e2e_s", "low_s", "high_s"), e2e, strict=True)),
                "grade": least_certain(
                    [row["grade"], counted.grade, *([ratio.grade] if ratio.uncertain else [])]
                ),
            }
        )
    return rows


def _adds_reasoning(case: Case, name: str, route: str) -> bool:
    """Whether a route's model reasons before it answers and today's does not."""
    routes = case.study.routes
    specs = (routes[route], routes[case.study.workloads[name].current_route])
    then, now = (length_of(spec.model, spec.reasoning).reasons for spec in specs)
    return then == "yes" and now == "no"


@dataclass(frozen=True)
class _P95:
    """A p95 in seconds with its range, verdict on the target, grade and source."""

    value: float | None
    low: float | None
    high: float | None
    verdict: str
    grade: str
    source: str

    def row(self, name: str, target_s: float) -> dict[str, Any]:
        return {
            "target_s": target_s,
            name: self.value,
            "low_s": self.low,
            "high_s": self.high,
            "verdict": self.verdict,
            "grade": self.grade,
            "source": self.source,
        }


def _of_estimate(estimate: QuantileEstimate, target_s: float, source: str) -> _P95:
    verdict = latency.slo_verdict(estimate, target_s)
    value, low, high = (
        None if x is None or np.isinf(x) else x
        for x in (estimate.estimate, estimate.low, estimate.high)
    )
    return _P95(value, low, high, verdict, "measured", source)


def _logs_first_token(case: Case, name: str) -> bool:
    return bool(case.traffic.of(name)["ttft_s"].notna().any())


def log_p95(requests: pd.DataFrame) -> QuantileEstimate:
    """The p95 TTFT of logged requests, in s, with an interval for dependent requests.

    requests: ts_start, ok, ttft_s, latency_s, and `day` where days are to be taken as independent.
    """
    requests = _streamed(requests)
    unit, consecutive = units(requests)
    return dependent_quantile_interval(
        latencies(requests, "ttft_s"), unit, 0.95, consecutive=consecutive
    )


def _streamed(requests: pd.DataFrame) -> pd.DataFrame:
    """The logged requests that were streamed or failed, in the order sent."""
    names = [name for name in ("ts_start", "ok", "ttft_s", "latency_s", "day") if name in requests]
    requests = requests[names]
    if not requests["ts_start"].is_monotonic_increasing:
        requests = requests.sort_values("ts_start", kind="stable")
    streamed = requests["ttft_s"].notna() | ~requests["ok"]
    requests = requests if streamed.all() else requests[streamed]
    return requests.rename(columns={"latency_s": "e2e_s"})


def _labelled(samples: pd.DataFrame, labels: Mapping[str, str]) -> pd.DataFrame:
    """Samples with a column for each label, which takes one byte a row."""
    zeros: Any = np.zeros(len(samples), np.int8)
    columns = {
        key: pd.Categorical.from_codes(zeros, dtype=pd.CategoricalDtype([label]))
        for key, label in labels.items()
    }
    return samples.assign(**columns)


def _of_claim(claim: Figure, target_s: float) -> _P95:
    """A stated p95. If its best case is late it misses, whatever its grade; only a measured one can
    meet its target."""
    best_s, worst_s = claim.ends
    measured = claim.grade in ("measured", "recorded")
    verdict = "meets" if measured and worst_s <= target_s else "undecided"
    if best_s > target_s:
        verdict = "misses"
    return _P95(claim.value, claim.low, claim.high, verdict, claim.grade, "study file")


# --- probes ---------------------------------------------------------------------------------


def probe_tables(case: Case) -> Tables:
    """The probes, where the TTFT goes, and which percentiles need more requests.

    Returns: `probes` (a row per probed route; model of the route and of the endpoint, since a model
    has several names; not_comparable: the workloads that the probe does not apply to, and why; a
    p95 of too few requests is null), `ttft_parts` (the stages of the TTFT), `undersized` (route,
    metric, percentile, requests, requests_needed, unit, units).
    """
    probes, parts, undersized = [], [], []
    serves = contenders(case.study)
    for route, probe in case.probes.items():
        reasons = {
            name: why
            for name, routes in serves.items()
            if route in routes and (why := unlike(probe, case.study, route, name))
        }
        other = [not_comparable(route, name, why) for name, why in reasons.items()]
        probes.append(
            {"route": route, "model": case.study.routes[route].model}
            | _summary(probe)
            | {"not_comparable": ". ".join(other) or None}
        )
        stages = decomposition(probe.samples)
        parts += stages[stages["n"] > 0].assign(route=route).to_dict("records")
        undersized += [
            {"route": route, "metric": metric, "percentile": "p95"}
            | {"requests": probe.estimate_s(metric, "p95").n, "requests_needed": lacks.requests}
            | {"unit": lacks.unit, "units": lacks.units}
            for metric in ("ttft_ms", "tpot_ms")
            if (lacks := probe.needed(metric, "p95"))
        ]
    return {
        "probes": probes,
        "ttft_parts": parts,
        "undersized": undersized,
    }


def _summary(probe: RouteProbe) -> dict[str, Any]:
    """The size, load, latencies and dates of a route's probe runs."""
    percentiles = {
        f"{metric.removesuffix('_ms')}_{percentile}_s": probe.estimate_s(metric, percentile)
        for metric in ("ttft_ms", "tpot_ms")
        for percentile in ("p50", "p95")
    }
    return {
        "endpoint_model": ", ".join(probe.endpoint_models),
        "runs": len(probe.runs),
        "folders": ", ".join(probe.runs),
        "requests": len(probe.measured),
        "load": probe.load,
        "closed_loop": probe.closed_loop,
        "failed_share": float((~probe.measured["ok"]).mean()),
        **{name: estimate.estimate for name, estimate in percentiles.items()},
        "audit": "valid",
        "began": min(probe.days),
        "last": max(probe.days),
    }

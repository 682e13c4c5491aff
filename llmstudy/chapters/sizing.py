"""Chapter 05: every self-hosted route replayed over a week, static, scheduled and autoscaled.

Where `hosting` sizes a fleet by a formula, this follows requests through it: what they wait, what
the fleet could carry, and what it would leave to an API.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

import numpy as np
import pandas as pd

from llmstudy import simulate
from llmstudy.chapters.cost import api_bills
from llmstudy.evidence import offers
from llmstudy.evidence.case import Case, Tables, contenders, covers_week, week_load
from llmstudy.evidence.output_tokens import output_tokens_ratio
from llmstudy.figure import Figure
from llmstudy.measures.capacity import CannotServe, Capacity, fit_first_token, sizing
from llmstudy.measures.capacity.replay import engine
from llmstudy.measures.capacity.slo import Slo
from llmstudy.measures.cost import replica_month_usd
from llmstudy.requests.plausible import stretches
from llmstudy.simulate.inputs import figures_of, inputs
from llmstudy.study import SelfHostedRoute, Workload

BOOT_S = 300.0
"""From order to readiness: a node at hand, 70 to 140 GB of weights read, graphs captured. Assumed;
time your own."""

GPU_MTBF_H = 16_384 * 54 * 24 / 419
"""Of one GPU, all causes of an interrupted job: 419 in 54 days on 16,384 H100. Source: Llama Team
(2024), arXiv 2407.21783."""

MTTR_S = 3600.0
"""Until a failed replica serves again, its boot included. Assumed."""

SUSTAINED_SIZES = (1, 4)
"""Fleet sizes whose sustainable utilisation is always reported: volumes grow."""

SPLIT_SIZES = 6
"""Fleets of the base-load split at most; beyond, sizes at even steps."""

SPLIT_REQUESTS = 100_000
"""Requests replayed for each of them, but for the fewest hours."""


@dataclass(frozen=True)
class PeakFleet:
    """A self-hosted route in a workload's busiest hour: what serves, what comes, how many it takes.

    replicas: the fewest that hold the SLO. sustained: the highest rate within it, requests per
    second, of that many replicas and of each of `SUSTAINED_SIZES`.
    """

    offer: offers.FleetOffer
    point: Capacity
    service: sizing.Service
    traffic: sizing.Traffic
    replicas: int
    sustained: Mapping[int, float]


PeakFleets = Mapping[tuple[str, str], PeakFleet | CannotServe]
"""(workload, route) of every self-hosted route that may serve a workload -> its fleet, or why none
can."""


@dataclass(frozen=True)
class _Candidate:
    """A self-hosted route for a workload: its fleet, and what that costs."""

    workload: str
    route: str
    peak: PeakFleet
    replica_month_usd: float
    team_month_usd: float
    owned: bool


def peak_fleets(case: Case) -> PeakFleets:
    """The busiest hour of every self-hosted route that may serve a workload, replayed.

    Raises: ValueError that names the route, for a model, GPU, precision, engine or host of which
    nothing is known.
    """
    fleets: dict[tuple[str, str], PeakFleet | CannotServe] = {}
    curves: dict[str, offers.RouteCurve] = {}
    for name, routes in contenders(case.study).items():
        for route in routes:
            spec = case.study.routes[route]
            if not isinstance(spec, SelfHostedRoute):
                continue
            try:
                if route not in curves:
                    curves[route] = offers.route_curve(spec)
                fleets[name, route] = _peak_fleet(case, name, spec, curves[route])
            except CannotServe as error:
                fleets[name, route] = error
            except ValueError as error:
                raise ValueError(f"routes.{route}: {error}") from error
    return fleets


def _peak_fleet(
    case: Case, name: str, spec: SelfHostedRoute, fitted: offers.RouteCurve
) -> PeakFleet:
    workload, seed = case.study.workloads[name], case.study.seed
    offer, point = offers.fleet_offer(case.study, workload, spec, fitted)
    service, traffic = _service(workload, spec, fitted, point), traffic_for(case, name, spec)
    most = sizing.smallest_replicas(service, traffic, float(traffic.requests_per_s.max()), seed)
    sizes = sorted({*SUSTAINED_SIZES, most})
    rates = {n: sizing.sustained_requests_per_s(service, traffic, n, seed) for n in sizes}
    return PeakFleet(offer, point, service, traffic, most, rates)


def _service(
    workload: Workload, spec: SelfHostedRoute, fitted: offers.RouteCurve, point: Capacity
) -> sizing.Service:
    curve = fitted.curve
    return sizing.Service(
        curve,
        spec.tensor_parallel,
        engine(curve, spec.tensor_parallel, point.concurrency),
        Slo(workload.slo.ttft_p95.value, workload.slo.tpot_p95.value),
        point.requests_per_s,
        fit_first_token(curve, fitted.points),
    )


def sizing_tables(case: Case, peaks: PeakFleets) -> Tables:
    """Fleets of every self-hosted route that may serve a workload, replayed on its traffic.

    Tables: `fleet_sizing` (a row per kind of fleet), `replicas_week` (per hour), `base_load` (per
    size of a fleet backed by an API), `sustainable` (the share of capacity that a fleet of each
    size carries in its peak hour), `unsized` (workload, route, reason), `sizing_notes` (workload,
    route, note).

    peaks: as `peak_fleets`.
    """
    tables: dict[str, list[pd.DataFrame]] = {
        name: [] for name in ("fleet_sizing", "replicas_week", "base_load", "sustainable")
    }
    unsized, notes = [], []
    bills = pd.DataFrame(api_bills(case))
    for (name, route), peak in peaks.items():
        key = {"workload": name, "route": route}
        if isinstance(peak, CannotServe):
            unsized.append({**key, "reason": str(peak)})
            continue
        candidate = _candidate(case, name, route, peak)
        replayed = _replayed(candidate, bills, case.study.seed, _months_requests(case, name))
        for table, rows in replayed.items():
            tables[table].append(pd.DataFrame(rows).assign(**key))
        sampled = int(pd.DataFrame(replayed["fleet_sizing"])["simulated_hours"].min())
        notes += [{**key, "note": note} for note in _notes(case, name, candidate, sampled)]
    return {
        **{name: _keyed(parts) for name, parts in tables.items()},
        "unsized": pd.DataFrame(unsized, columns=["workload", "route", "reason"]),
        "sizing_notes": pd.DataFrame(notes, columns=["workload", "route", "note"]),
    }


def _keyed(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """The parts one below the other, workload and route first."""
    if not parts:
        return pd.DataFrame(columns=["workload", "route"])
    whole = pd.concat(parts, ignore_index=True)
    return whole[["workload", "route", *whole.columns.drop(["workload", "route"])]]


def _months_requests(case: Case, name: str) -> float:
    return case.study.workloads[name].intake.requests.value


def _candidate(case: Case, name: str, route: str, peak: PeakFleet) -> _Candidate:
    spec = case.study.routes[route]
    assert isinstance(spec, SelfHostedRoute)
    d = simulate.central(figures_of(inputs(case.study, name, route, peak.offer)))
    rent = replica_month_usd(
        peak.offer.usd_per_gpu_hour.value, spec.tensor_parallel, d["overhead_share"]
    )
    return _Candidate(
        name,
        route,
        peak,
        float(np.asarray(rent).item()),
        float(simulate.staff_month_usd(d)[0]),
        spec.owned is not None,
    )


def sustained_utilisation(case: Case, spec: SelfHostedRoute, peak: PeakFleet) -> Figure:
    """Highest utilisation of a fleet's busiest hour within the SLO, by replay; the bills use it.

    The value is that of the fleet which today's peak needs; the range spans fleets of the sizes
    replayed, since a small one sustains less, and the P10 to P90 of measured over predicted TTFT.
    Where the study sets a limit of its own, no value lies above it.
    Raises: CannotServe where no load is within the SLO.
    """
    service, most = peak.service, peak.replicas
    capacity_per_s = service.capacity_requests_per_s
    shares = {n: rate / (n * capacity_per_s) for n, rate in peak.sustained.items()}
    if shares[most] <= 0:
        raise CannotServe(
            f"{spec.model} on {spec.tensor_parallel} x {spec.gpu}: a replica alone misses the SLO "
            "at any load; loosen it or use more GPUs per replica"
        )
    first = service.first_token
    assert first is not None
    slow, fast = (
        float(
            sizing.sustainable_utilisation(
                replace(service, first_token=first.times(factor)),
                peak.traffic,
                [most],
                case.study.seed,
            )[0]
        )
        for factor in (first.high, first.low)
    )
    limit = case.study.self_hosting.target_utilisation
    most_share = 1.0 if limit is None else limit.value
    # where none is sustained, no search tells it from the finest step
    low, value, high = (
        min(max(share, 0.5**sizing.SEARCH_STEPS), most_share)
        for share in (min(*shares.values(), slow), shares[most], max(*shares.values(), fast))
    )
    source = (
        f"replay of the busiest hour on {', '.join(map(str, shares))} replicas, with TTFT from "
        f"{first.low:.2g} to {first.high:.2g} times what measured points give"
    )
    return Figure(
        "", value, "share", low, high, "triangular", "simulated", source, case.study.as_of
    )


def traffic_for(case: Case, name: str, spec: SelfHostedRoute) -> sizing.Traffic:
    """A workload's week: its log's own where that covers one, else its shape at its own level.

    Lengths are always those of its requests, logged or drawn, answers as long as the route's model
    makes them. A cached part that the log does not tell is the study's share. The rates are of
    attempts, those that fail included.
    """
    rows, workload = case.traffic.of(name), case.study.workloads[name]
    ratio = output_tokens_ratio(case.study, workload, spec).value
    rows = rows.assign(output_tokens=(rows["output_tokens"] * ratio).round())
    inputs_, outputs = (rows[c].to_numpy(dtype=np.int64) for c in ("input_tokens", "output_tokens"))
    share = rows["input_tokens"] * workload.cached_input_share.value
    cached = rows["cached_input_tokens"].astype(float).fillna(share).to_numpy().astype(np.int64)
    lengths = (np.maximum(inputs_, 1), np.maximum(outputs, 1), cached)
    requests_per_s = week_load(case, name)["requests_per_s"].to_numpy(dtype=float)
    attempts_per_s = requests_per_s * (1 + workload.retry_share.value)
    if not covers_week(case, name):
        shape = sizing.published_burstiness(workload.traffic.hours)
        return sizing.Traffic(attempts_per_s, *lengths, shape)
    times = rows["ts_start"]
    # the longest stretch alone: a hole in the log would pass for a lull
    covered = stretches(times)
    longest = (covered["end"] - covered["start"]).to_numpy().argmax()
    start, end = covered["start"].iloc[longest], covered["end"].iloc[longest]
    within = times.between(start, end)
    own_s = (times[within] - start.floor("h")).dt.total_seconds().to_numpy()
    last = (within & (times > end - pd.Timedelta(hours=168))).to_numpy()
    # hour 0 of the week is Monday's first, UTC, as in hour_of_week
    first = times[last].min().floor("D")
    monday = first - pd.Timedelta(days=int(first.day_of_week))
    arrival_s = (times[last] - monday).dt.total_seconds().to_numpy() % (168 * 3600)
    names = ("input_tokens", "output_tokens", "cached_tokens")
    logged = {n: values[last] for n, values in zip(names, lengths, strict=True)}
    return sizing.Traffic(
        attempts_per_s,
        *lengths,
        sizing.burstiness_of(own_s),
        pd.DataFrame({"arrival_s": arrival_s, **logged}).sort_values("arrival_s", kind="stable"),
    )


def _replayed(
    candidate: _Candidate, bills: pd.DataFrame, seed: int, requests_month: float
) -> dict[str, Any]:
    peak = candidate.peak
    service, traffic, most, spare = (
        peak.service,
        peak.traffic,
        peak.replicas,
        peak.offer.fleet.spare,
    )
    ladder = sizing.ladder(most)
    between = {n for n in ladder if n not in peak.sustained}
    rates = {n: sizing.sustained_requests_per_s(service, traffic, n, seed) for n in between}
    rates = dict(sorted({**rates, **peak.sustained}.items()))
    needed = sizing.needed_by_hour(traffic.requests_per_s, ladder, [rates[n] for n in ladder])
    aim_per_s = max(float(traffic.requests_per_s.max()), rates[most])
    aim = sizing.outstanding_at(service, traffic, most, aim_per_s, seed)
    plans = (
        sizing.static(most, spare, BOOT_S),
        sizing.scheduled(needed, spare, BOOT_S),
        sizing.autoscaled(needed, spare, BOOT_S, aim),
    )
    mtbf_s = 3600 * GPU_MTBF_H / service.tensor_parallel
    # where one replica is enough the three are the same fleet, and one replay tells of all
    weeks = {
        plan.kind: sizing.replay_week(service, traffic, plan, seed, mtbf_s, MTTR_S)
        for plan in (plans if most > 1 else plans[:1])
    }
    weeks = {plan.kind: weeks.get(plan.kind, weeks["static"]) for plan in plans}
    hours = {"hour": range(168), "requests_per_s": traffic.requests_per_s}
    shares = [rate / (n * service.capacity_requests_per_s) for n, rate in rates.items()]
    return {
        "fleet_sizing": [_fleet_row(candidate, kind, week) for kind, week in weeks.items()],
        "replicas_week": hours | {kind: week.replicas for kind, week in weeks.items()},
        "base_load": _base_load(candidate, bills, seed, requests_month),
        "sustainable": {"replicas": list(rates), "utilisation_share": shares},
    }


def _fleet_row(candidate: _Candidate, kind: str, week: sizing.WeekOutcome) -> dict[str, Any]:
    replica_hour_usd = candidate.replica_month_usd / 730
    most = int(np.ceil(week.replicas.max() - 1e-9))
    # what is owned is paid for all week, whether a schedule or a queue asks for it or not
    paid_hours = most * len(week.replicas) if candidate.owned else week.replica_hours
    return {
        "kind": kind,
        "replicas_min": round(float(week.replicas.min())),
        "replicas_max": most,
        "spare": candidate.peak.offer.fleet.spare,
        "gpu_hours_week": week.replica_hours * candidate.peak.service.tensor_parallel,
        "usd_week": paid_hours * replica_hour_usd,
        **week.latency,
        "utilisation": week.utilisation,
        "busy_share": week.busy_share,
        "simulated_requests": week.simulated_requests,
        "simulated_hours": week.simulated_hours,
    }


def _base_load(
    candidate: _Candidate, bills: pd.DataFrame, seed: int, requests_month: float
) -> pd.DataFrame | list[dict[str, Any]]:
    """Bills of fleets of each size backed by an API: today's, or else the cheapest that may serve.

    usd_month_fleet: rent, and the team as soon as there is a replica.
    """
    bills_of_workload = bills[bills["workload"] == candidate.workload] if len(bills) else bills
    if bills_of_workload.empty:
        return []
    api = bills_of_workload.sort_values(
        ["current", "usd_per_request"], ascending=[False, True]
    ).iloc[0]
    peak = candidate.peak
    sizes = np.unique(np.linspace(0, peak.replicas, SPLIT_SIZES + 1).round().astype(int)).tolist()
    split = sizing.base_load_split(peak.service, peak.traffic, sizes, seed, SPLIT_REQUESTS)
    fleet_usd, api_usd, best = sizing.cheapest_split(
        split["replicas"],
        split["api_share"],
        requests_month,
        candidate.replica_month_usd,
        candidate.team_month_usd,
        api["usd_per_request"],
    )
    return split.assign(
        api_route=api["route"],
        usd_month_fleet=fleet_usd,
        usd_month_api=api_usd,
        usd_month=fleet_usd + api_usd,
        cheapest=np.arange(len(split)) == best,
    )


def _notes(case: Case, name: str, candidate: _Candidate, hours: int) -> list[str]:
    """Notes on arrivals, batch limit, hours replayed and prices."""
    bursts = candidate.peak.traffic.burstiness
    whence = (
        "the log's own week"
        if candidate.peak.traffic.logged is not None
        else (f"drawn: hours of {case.study.workloads[name].traffic.hours}")
    )
    notes = [
        f"Arrivals: {whence}; the rate varies by {bursts.cv_10min:.0%} from ten minutes to ten "
        f"minutes and by {bursts.cv_10s:.0%} from ten seconds to ten seconds beyond Poisson.",
        f"At most {candidate.peak.service.engine.max_num_seqs} requests run at once on a replica; "
        f"a boot takes {BOOT_S:.0f} s (assumed).",
    ]
    if hours < 168:
        notes.append(
            f"{hours} of the 168 hours were replayed, the busiest among them; each stands for the "
            "hours nearest to it in load."
        )
    if not all(isfinite(x) for x in (candidate.replica_month_usd, candidate.team_month_usd)):
        notes.append("Rent or salaries are unknown: no split has a price.")
    return notes

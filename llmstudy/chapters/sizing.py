"""Chapter 05: every self-hosted route replayed over a week, static, scheduled and autoscaled.

`hosting` sizes a fleet by a formula; this replays its requests one by one: how long they wait, what
the fleet can carry, and what a smaller fleet would leave to an API.
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
"""From order to readiness on an available node: 70 to 140 GB of weights read, graphs captured.
Assumed; measure your own."""

GPU_MTBF_H = 16_384 * 54 * 24 / 419
"""Mean hours between failures of one GPU: 419 interruptions in 54 days on 16,384 H100. Source:
Llama Team (2024), arXiv 2407.21783."""

MTTR_S = 3600.0
"""Time until a failed replica serves again, including its boot. Assumed."""

SUSTAINED_SIZES = (1, 4)
"""Fleet sizes whose sustainable utilisation is always reported, since volumes grow."""

SPLIT_SIZES = 6
"""Largest number of fleet sizes in the base-load split; for larger fleets in even steps."""

SPLIT_REQUESTS = 100_000
"""Requests replayed for each of these sizes, in the fewest hours."""


@dataclass(frozen=True)
class PeakFleet:
    """A self-hosted route in a workload's busiest hour: its service, traffic and replicas.

    replicas: the fewest that meet the SLO. sustained: the highest rate within the SLO, in requests
    per second, for that many replicas and for each of `SUSTAINED_SIZES`.
    """

    offer: offers.FleetOffer
    point: Capacity
    service: sizing.Service
    traffic: sizing.Traffic
    replicas: int
    sustained: Mapping[int, float]


PeakFleets = Mapping[tuple[str, str], PeakFleet | CannotServe]
"""(workload, route) of every self-hosted route that may serve a workload -> its fleet, or why it
cannot serve."""


@dataclass(frozen=True)
class _Candidate:
    """A self-hosted route for a workload, with the monthly cost of a replica and of the team."""

    workload: str
    route: str
    peak: PeakFleet
    replica_month_usd: float
    team_month_usd: float
    owned: bool


def peak_fleets(case: Case) -> PeakFleets:
    """The busiest hour of every self-hosted route that may serve a workload, replayed.

    The replay takes the central estimate of capacity; its range rests on the error of the fits.
    Raises: ValueError that names the route if its model, GPU, precision, engine or host is unknown.
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
    """The fleets of every self-hosted route that may serve a workload, replayed on its traffic.

    peaks: as `peak_fleets`. Returns: `fleet_sizing` (a row per kind of fleet), `replicas_week` (a
    row per hour), `base_load` (a row per size of a fleet backed by an API), `sustainable` (the
    share of capacity that a fleet of each size carries in its peak hour), `unsized` (workload,
    route, reason), `sizing_notes` (workload, route, note).
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
        requests_month = case.study.workloads[name].intake.requests.value
        replayed = _replayed(candidate, bills, case.study.seed, requests_month)
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
    """The parts in one table, with workload and route as the first columns."""
    if not parts:
        return pd.DataFrame(columns=["workload", "route"])
    whole = pd.concat(parts, ignore_index=True)
    return whole[["workload", "route", *whole.columns.drop(["workload", "route"])]]


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
    """The highest utilisation of a fleet's busiest hour within the SLO, by replay; the bills use
    it.

    The value is for the fleet that today's peak needs. The range covers fleets of the replayed
    sizes, since small fleets sustain less, and P10 to P90 of measured over predicted TTFT. A limit
    that the study sets caps them all.
    Raises: CannotServe if no load is within the SLO.
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
    # if nothing is sustained, the search cannot tell it from its finest step
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
    """A workload's week: the log's own if it covers one, else the published shape at its volume.

    Prompts are as long as its requests, logged or simulated; answers are as long as the route's
    model writes them. If the log does not have the cached tokens, the study's share is used. Rates
    count attempts, including those that fail.
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
    # only the longest stretch: a gap in the log would look like a lull
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
    # with one replica the three kinds are the same fleet, and one replay does for all
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
    # owned GPUs are paid for all week, whether they are in use or not
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
    """The bills of a fleet of each size backed by an API: today's, else the cheapest permitted one.

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
    """Sentences on arrivals, the batch limit, the hours replayed and prices."""
    bursts = candidate.peak.traffic.burstiness
    origin = (
        "the log's own week"
        if candidate.peak.traffic.logged is not None
        else (f"drawn: hours of {case.study.workloads[name].traffic.hours}")
    )
    notes = [
        f"Arrivals: {origin}; the rate varies by {bursts.cv_10min:.0%} from ten minutes to ten "
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

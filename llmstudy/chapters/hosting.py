"""Chapter 05: every self-hosted route sized and priced for its workload."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pandas as pd

from llmstudy import simulate
from llmstudy.chapters.evidence import weekly_load
from llmstudy.chapters.sizing import PeakFleets, sustained_utilisation
from llmstudy.evidence import findings, gpu_hours
from llmstudy.evidence.case import Case, Tables, covers_week
from llmstudy.evidence.offers import FleetOffer, fitted_curve, serving_points
from llmstudy.figure import Figure
from llmstudy.measures import capacity
from llmstudy.measures.cost import usd_per_million_tokens
from llmstudy.simulate.inputs import figures_of, inputs
from llmstudy.study import SelfHostedRoute, Study
from llmstudy.text import count
from llmstudy.units import HOURS_PER_MONTH


def hosting_tables(case: Case, peaks: PeakFleets) -> Tables:
    """Fits of the serving curve, and each self-hosted route sized and priced for its workload.

    peaks: `sizing.peak_fleets` of the case.
    Returns: `week` (`evidence.weekly_load`), `serving_fit` (`capacity.serving_fits`), `fleets` (a
    row per fleet: replicas, utilisation, USD a month and per request), `failures` (workload, route,
    reason: the route cannot serve the workload), `owned` (`owned_hours`), `offers` (by workload and
    route) and `figures` (rows of the ledger).
    """
    study = case.study
    fleets, failures = [], []
    offers: dict[str, dict[str, Any]] = {name: {} for name in study.workloads}
    figures: dict[str, Figure] = {}
    for (name, route), peak in peaks.items():
        workload, spec = study.workloads[name], study.routes[route]
        assert isinstance(spec, SelfHostedRoute)
        try:
            if isinstance(peak, capacity.CannotServe):
                raise peak
            sustained = sustained_utilisation(case, spec, peak)
        except capacity.CannotServe as error:
            failures.append({"workload": name, "route": route, "reason": str(error)})
            continue
        offer = replace(peak.offer, target_utilisation=sustained)
        offers[name][route] = _offer_row(offer)
        figures[f"routes.{route}.rent"] = offer.usd_per_gpu_hour
        figures[f"workloads.{name}.routes.{route}.capacity"] = offer.capacity_factor
        figures[f"workloads.{name}.routes.{route}.utilisation"] = offer.target_utilisation
        grades = {
            "volume_grade": workload.intake.requests.grade,
            "traffic": case.grade_of(name),
            "week_logged": covers_week(case, name),
        }
        fleets.append(_fleet(study, name, route, offer) | _operating_point(peak.point) | grades)
    return {
        "week": weekly_load(case),
        "serving_fit": capacity.serving_fits(seed=study.seed),
        "fleets": fleets,
        "failures": failures,
        "owned": owned_hours(study),
        "offers": offers,
        "figures": findings.ledger(figures),
    }


def owned_hours(study: Study) -> list[dict[str, Any]]:
    """The cost of an hour of each route's owned GPUs, part by part:
    `gpu_hours.owned_hour_parts`."""
    return [
        row
        for name, route in study.routes.items()
        if isinstance(route, SelfHostedRoute)
        for row in gpu_hours.owned_hour_parts(name, route)
    ]


def _offer_row(offer: FleetOffer) -> dict[str, Any]:
    return {
        "fleet": asdict(offer.fleet),
        "capacity_factor": offer.capacity_factor.row(),
        "usd_per_gpu_hour": offer.usd_per_gpu_hour.row(),
        "target_utilisation": offer.target_utilisation.row(),
    }


def _operating_point(point: capacity.Capacity) -> dict[str, Any]:
    return {
        "concurrency": point.concurrency,
        "tpot_s": point.tpot_s,
        "ttft_lower_bound_s": point.ttft_lower_bound_s,
        "limited_by": point.limited_by,
        "outside": ", ".join(point.outside),
    }


def _fleet(study: Study, name: str, route: str, offer: FleetOffer) -> dict[str, Any]:
    workload, spec = study.workloads[name], study.routes[route]
    d = simulate.central(figures_of(inputs(study, name, route, offer)))
    requests = workload.intake.requests.value
    mean_per_s = requests / (HOURS_PER_MONTH * 3600)
    # in user requests: failed attempts use the rest
    capacity_requests_per_s = offer.fleet.capacity_requests_per_s / (1 + workload.retry_share.value)
    carries, rent = (x.item() for x in simulate.fleet_unit(offer.fleet, d, 1))
    running = int(capacity.replicas(requests, carries, 1.0, offer.fleet.spare, minimum=1))
    hours = running * rent
    upkeep = float(simulate.month_usd(offer.fleet, d, np.array([[requests]]), 1)[0, 0]) - hours
    staff = float(simulate.staff_month_usd(d)[0])
    month = hours + upkeep + staff
    tokens = workload.intake.input_tokens.value + workload.intake.output_tokens.value
    return {
        "workload": name,
        "route": route,
        "model": spec.model,
        "replicas": running,
        "spare": offer.fleet.spare,
        "gpus": running * offer.fleet.gpus_per_replica,
        "sustained_utilisation": offer.target_utilisation.value,
        "capacity_requests_per_s": capacity_requests_per_s,
        "mean_requests_per_s": mean_per_s,
        "utilisation": float(capacity.utilisation(mean_per_s, running, capacity_requests_per_s)),
        "usd_per_gpu_hour": offer.usd_per_gpu_hour.value,
        "rent_month_usd": hours,
        "upkeep_month_usd": upkeep,
        "staff_month_usd": staff,
        "month_usd": month,
        "usd_per_mtok": float(usd_per_million_tokens(month, requests, tokens)),
        "usd_per_request": month / requests,
    }


def serving_curve(study: Study, fleet: Mapping[str, Any]) -> dict[str, Any]:
    """The measured points and fitted curve behind a fleet, as arguments of `charts.serving_curve`.

    A chart shows one pair of prompt and answer lengths: the measured pair closest to the workload's
    own, in log distance. The target applies to the workload's own lengths, so it is shown only if
    the two pairs are the same. fleet: a row of `fleets`.
    """
    workload, spec = fleet["workload"], study.routes[fleet["route"]]
    assert isinstance(spec, SelfHostedRoute)
    fitted = fitted_curve(spec)
    points = capacity.usable_points(
        serving_points(spec),
        capacity.model_shape(spec.model),
        capacity.gpu(spec.gpu),
        spec.precision,
    )
    points = points[points["tensor_parallel"] == spec.tensor_parallel]
    intake, slo = study.workloads[workload].intake, study.workloads[workload].slo
    away = np.abs(np.log(points["input_tokens"] / intake.input_tokens.value))
    away += np.abs(np.log(points["output_tokens"] / intake.output_tokens.value))
    near = points[away == away.min()].sort_values("concurrency", kind="stable")
    lengths = (float(near["input_tokens"].iloc[0]), float(near["output_tokens"].iloc[0]))
    ttft_s = near["ttft_ms"] / 1e3
    per_s = capacity.requests_per_s(near["concurrency"], lengths[1], ttft_s, near["tpot_ms"] / 1e3)
    measured = near[["concurrency", "tpot_ms"]].assign(
        output_tokens_per_s_per_gpu=per_s * lengths[1] / spec.tensor_parallel, fitted=True
    )
    batch = np.arange(1.0, fitted.hull.concurrency_at(spec.tensor_parallel)[1] + 1)
    shape = (batch, *lengths, spec.tensor_parallel)
    prefill_s = fitted.prefill_s(lengths[0], spec.tensor_parallel)
    curve = pd.DataFrame(
        {
            "concurrency": batch,
            "tpot_ms": 1e3 * fitted.tpot_s(*shape),
            "output_tokens_per_s_per_gpu": fitted.output_tokens_per_s_per_gpu(*shape, prefill_s),
        }
    )
    workload_lengths, slo_ms = (
        (intake.input_tokens.value, intake.output_tokens.value),
        1e3 * slo.tpot_p95.value,
    )
    note = (
        "points: published (vLLM, aiconfigurator-core sample) · curve: fitted · "
        f"{workload} itself, {count(workload_lengths[0])} in and {count(workload_lengths[1])} out: "
        f"{1000 * fleet['tpot_s']:.3g} ms, target {slo_ms:g} ms"
    )
    return {
        "points": measured,
        "curve": curve,
        "lengths": lengths,
        "slo_tpot_ms": slo_ms if lengths == workload_lengths else None,
        "chosen_concurrency": fleet["concurrency"],
        "model": spec.model.split("/")[-1],
        "gpu": spec.gpu,
        "error_share": fitted.residual_share,
        "note": note,
    }

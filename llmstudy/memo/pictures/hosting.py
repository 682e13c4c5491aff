"""Fleets: how they are sized, loaded and calibrated."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from llmstudy import charts
from llmstudy.assess.hosting import curve_tables
from llmstudy.charts import Chart
from llmstudy.memo.facts import Facts
from llmstudy.memo.pictures.notes import said_of_volume
from llmstudy.study import SelfHostedRoute
from llmstudy.text import count


def heldout_errors(facts: Facts) -> Chart:
    """How far each serving curve misses points that it was not fitted to."""
    table = facts.table("05_self_hosting", "serving_fit")
    return charts.heldout_errors(table, HELDOUT_GOAL, "points: published (vLLM)")


HELDOUT_GOAL = 0.08
"""Median held-out error that a curve from eight points should keep to."""


def sized_week(facts: Facts, fleet: Mapping[str, Any] | None) -> Chart | None:
    """Replicas over the week of the busiest fleet: static, scheduled, autoscaled."""
    if fleet is None:
        return None
    hours = facts.chapters["05_self_hosting"]["replicas_week"]
    place = (fleet["workload"], fleet["route"])
    rows = [row for row in hours if (row["workload"], row["route"]) == place]
    if not rows:
        return None
    gpus = fleet["gpus"] // fleet["replicas"]
    return charts.replicas_week(
        pd.DataFrame(rows),
        gpus,
        str(fleet["workload"]),
        f"{said_of_volume(fleet)} · sized by replay",
    )


def base_load(facts: Facts, fleet: Mapping[str, Any] | None) -> Chart | None:
    """What the busiest fleet's workload costs when the API takes what its replicas cannot."""
    if fleet is None:
        return None
    split = facts.chapters["05_self_hosting"]["base_load"]
    place = (fleet["workload"], fleet["route"])
    rows = [row for row in split if (row["workload"], row["route"]) == place]
    if not rows:
        return None
    note = f"{said_of_volume(fleet)} · sized by replay"
    return charts.base_load_split(pd.DataFrame(rows), str(fleet["workload"]), note)


def sizing_notes(facts: Facts) -> list[str]:
    """What a reader must know of the replay: arrivals, limits, hours left out; and what failed."""
    hosting = facts.chapters["05_self_hosting"]
    said = [f"{r['workload']} on {r['route']}: {r['note']}" for r in hosting["sizing_notes"]]
    said += [f"{r['workload']} on {r['route']}: {r['reason']}" for r in hosting["unsized"]]
    return said or ["No fleet could be replayed."]


def busiest_fleet(facts: Facts) -> Mapping[str, Any] | None:
    """The sized fleet with the highest mean utilisation, where any can serve."""
    fleets = facts.chapters["05_self_hosting"]["fleets"]
    return max(fleets, key=lambda row: row["utilisation"]) if fleets else None


def week_load(facts: Facts, fleet: Mapping[str, Any] | None) -> Chart | None:
    """Load over the hours of a week against a provisioned fleet."""
    if fleet is None:
        return None
    workload = fleet["workload"]
    hours = pd.DataFrame(
        [r for r in facts.chapters["05_self_hosting"]["week"] if r["workload"] == workload]
    )
    return charts.week_load(
        hours,
        fleet["replicas"],
        fleet["replicas"] - fleet["spare"],
        fleet["capacity_requests_per_s"],
        fleet["utilisation"],
        workload,
        f"{said_of_volume(fleet)} · hours: {_hours(fleet)}",
    )


def _hours(fleet: Mapping[str, Any]) -> str:
    return "measured" if fleet["week_logged"] else "published shape"


def serving_curve(facts: Facts, fleet: Mapping[str, Any] | None) -> Chart | None:
    """Measured points and fitted curve behind a fleet, at the measured lengths nearest to its own.

    The target is judged at the workload's own lengths: in the chart only where they are the same.
    """
    if fleet is None:
        return None
    workload = fleet["workload"]
    spec = facts.study.routes[fleet["route"]]
    assert isinstance(spec, SelfHostedRoute)
    points, curve, lengths, error = curve_tables(facts.study, workload, spec)
    intake = facts.study.workloads[workload].intake
    own = (intake.input_tokens.value, intake.output_tokens.value)
    slo_ms = 1000 * facts.study.workloads[workload].slo.tpot_p95.value
    said = f"{workload} itself, {count(own[0])} in and {count(own[1])} out"
    return charts.serving_curve(
        points,
        curve,
        lengths,
        slo_ms if lengths == own else None,
        fleet["concurrency"],
        spec.model.split("/")[-1],
        spec.gpu,
        error,
        "points: published (vLLM, aiconfigurator-core sample) · curve: fitted · "
        f"{said}: {1000 * fleet['tpot_s']:.3g} ms, target {slo_ms:g} ms",
    )

"""The study with its traffic read: where every chapter starts."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from llmstudy import evidence
from llmstudy.assess.market import permissions
from llmstudy.evidence import Traffic
from llmstudy.probed import RouteProbe, probes_of, unlike
from llmstudy.requests.summary import hour_of_week
from llmstudy.requests.traffic import hourly_shape
from llmstudy.study import Study
from llmstudy.units import HOURS_PER_MONTH

Tables = dict[str, Any]

Results = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Case:
    """A study with its traffic read: where every chapter starts."""

    study: Study
    traffic: Traffic

    @cached_property
    def probes(self) -> Mapping[str, RouteProbe]:
        """The probe runs of each route that names some. Raises: ValueError as `probes_of`."""
        return probes_of(self.study)

    def probe_of(self, workload: str, route: str) -> RouteProbe | None:
        """The probe of a route, where it has one that tells of the workload."""
        probe = self.probes.get(route)
        return None if probe is None or unlike(probe, self.study, route, workload) else probe

    def grade_of(self, workload: str) -> str:
        """Grade of a workload's traffic."""
        return "simulated" if workload in self.traffic.simulated else "measured"


def open_case(study: Study) -> Case:
    """Read or draw the traffic, and put what a log measured in place of what was assumed."""
    found = evidence.traffic_of(study)
    return Case(evidence.measured(study, found), found)


def contenders(study: Study) -> dict[str, tuple[str, ...]]:
    """The routes of each workload that are worth a measure: workload -> routes, today's first.

    Today's route is being billed, so it is always one; a candidate is one if it may see the
    workload's data and its context is long enough. What no other may serve is never priced.
    """
    known = permissions(study)
    open_ = known[known["current"] | (known["permitted"] & known["fits_context"])]
    return {name: tuple(open_.loc[open_["workload"] == name, "route"]) for name in study.workloads}


def covers_week(case: Case, name: str) -> bool:
    """Whether a workload's log holds every hour of the week."""
    found = case.traffic.summary
    return len(found) > 0 and bool(found.set_index("workload")["covers_week"].get(name, False))


def week_load(case: Case, workload: str) -> pd.DataFrame:
    """Requests per second in each of 168 hours: the log's where it covers a week, else the first
    week of the workload's published shape, stretched to its own peak. Columns: hour,
    requests_per_s."""
    if covers_week(case, workload):
        seen = hour_of_week(case.traffic.of(workload))
        return seen.rename(columns={"hour_of_week": "hour"})
    spec = case.study.workloads[workload]
    shape = hourly_shape(spec.traffic.hours).head(168)
    mean_per_s = spec.intake.requests.value / (HOURS_PER_MONTH * 3600)
    relative = shape["relative_to_mean"] / shape["relative_to_mean"].mean()
    # stretched about its mean, so that its busiest hour is the study's own
    stretch = (spec.intake.peak_to_mean.value - 1) / (relative.max() - 1)
    relative = (1 + (relative - 1) * stretch).clip(lower=0.0)
    relative /= relative.mean()
    return pd.DataFrame({"hour": range(len(shape)), "requests_per_s": mean_per_s * relative})


def rows_of(table: Any, **wanted: Any) -> list[dict[str, Any]]:
    """The rows of a list of rows whose columns hold the wanted values."""
    return [row for row in table if all(row[k] == v for k, v in wanted.items())]

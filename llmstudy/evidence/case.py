"""A study with its traffic, and which route may serve which workload."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

import pandas as pd

from llmstudy import prices
from llmstudy.evidence import traffic
from llmstudy.evidence.probes import RouteProbe, probes_of, unlike
from llmstudy.evidence.traffic import Traffic
from llmstudy.measures import privacy
from llmstudy.measures.summary import hour_of_week
from llmstudy.requests.draw import hourly_shape
from llmstudy.study import ApiRoute, Study
from llmstudy.units import HOURS_PER_MONTH, month_start

Tables = dict[str, Any]

Results = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Case:
    """A study with its traffic, from which every chapter starts."""

    study: Study
    traffic: Traffic

    @cached_property
    def probes(self) -> Mapping[str, RouteProbe]:
        """The probe runs by route. Raises: ValueError as `probes_of`."""
        return probes_of(self.study)

    def probe_of(self, workload: str, route: str) -> RouteProbe | None:
        """The probe of a route; None if it has none that is comparable with the workload."""
        probe = self.probes.get(route)
        return None if probe is None or unlike(probe, self.study, route, workload) else probe

    @property
    def requests(self) -> pd.DataFrame:
        """All requests, logged or simulated; a row of a log is one."""
        return self.traffic.requests

    def grade_of(self, workload: str) -> str:
        """The grade of a workload's traffic: measured or simulated."""
        return "simulated" if workload in self.traffic.simulated else "measured"


def open_case(study: Study) -> Case:
    """Reads or simulates the traffic of a study, and replaces its assumptions by the log's figures.

    Raises: ValueError as `traffic.traffic_of`.
    """
    requests = traffic.traffic_of(study)
    return Case(traffic.measured(study, requests), requests)


def contenders(study: Study) -> dict[str, tuple[str, ...]]:
    """The routes to compare: workload -> routes, today's first.

    Today's route is always included; a candidate is if it may process the workload's data and its
    context is long enough.
    """
    table = permissions(study)
    open_ = table[table["current"] | (table["permitted"] & table["fits_context"])]
    return {name: tuple(open_.loc[open_["workload"] == name, "route"]) for name in study.workloads}


def covers_week(case: Case, name: str) -> bool:
    """Whether a workload's log covers every hour of the week."""
    summary = case.traffic.summary
    return len(summary) > 0 and bool(summary.set_index("workload")["covers_week"].get(name, False))


def week_load(case: Case, workload: str) -> pd.DataFrame:
    """Requests per second in each of the 168 hours of a week. Columns: hour, requests_per_s.

    From the log if it covers a week, else the first week of the workload's published shape, scaled
    to the workload's volume and peak.
    """
    if covers_week(case, workload):
        hours = hour_of_week(case.traffic.of(workload)).rename(columns={"hour_of_week": "hour"})
        hours["requests_per_s"] *= case.traffic.per_row.get(workload, 1.0)
        return hours
    spec = case.study.workloads[workload]
    shape = hourly_shape(spec.traffic.hours).head(168)
    mean_per_s = spec.intake.requests.value / (HOURS_PER_MONTH * 3600)
    relative = shape["relative_to_mean"] / shape["relative_to_mean"].mean()
    # scaled about its mean, so that the busiest hour is that of the study
    stretch = (spec.intake.peak_to_mean.value - 1) / (relative.max() - 1)
    relative = (1 + (relative - 1) * stretch).clip(lower=0.0)
    relative /= relative.mean()
    return pd.DataFrame({"hour": range(len(shape)), "requests_per_s": mean_per_s * relative})


def rows_of(table: Any, **cells: Any) -> list[dict[str, Any]]:
    """The rows of a table (list of dicts) whose columns have these values.

    >>> rows_of([{"arm": "api", "usd": 1}, {"arm": "gpu", "usd": 2}], arm="gpu")
    [{'arm': 'gpu', 'usd': 2}]
    """
    return [row for row in table if all(row[k] == v for k, v in cells.items())]


def permissions(study: Study) -> pd.DataFrame:
    """Whether each route may process each workload's data, and whether its context is long enough.

    Columns: workload, route, arm, current, permitted, contract, permission_reason, missing (kinds
    of contract), fits_context, self_hosting (whether any self-hosted route may process the data).
    """
    matrix = privacy.privacy_matrix()
    rows = []
    for name, workload in study.workloads.items():
        by_arm = matrix[matrix["data_class"] == workload.intake.data_class].set_index("arm")
        for route in workload.routes:
            spec = study.routes[route]
            # of two contracts of one kind the one with the latest end counts
            by_end = sorted(spec.contracts, key=lambda contract: contract.valid_until)
            contracts = {str(c.kind): c.valid_until for c in by_end}
            permission = privacy.permission(
                workload.intake.data_class,
                spec.arm,
                contracts,
                study.as_of,
                matrix,
                current=route == workload.current_route,
            )
            rows.append(
                {
                    "workload": name,
                    "route": route,
                    "arm": spec.arm,
                    "current": route == workload.current_route,
                    "permitted": permission.permitted,
                    "contract": permission.contract,
                    "permission_reason": permission.reason,
                    "missing": list(permission.missing),
                    "fits_context": spec.context_tokens.value
                    >= workload.intake.context_tokens.value,
                    "self_hosting": bool(by_arm.loc["self_hosted", "permitted"] == "yes"),
                }
            )
    return pd.DataFrame(rows)


def retires_within_horizon(study: Study, route_name: str) -> date | None:
    """The day on which a list-priced route's model retires; None if not within the horizon."""
    route = study.routes[route_name]
    if not isinstance(route, ApiRoute) or route.price is not None:
        return None
    day = prices.retirement(route.provider, route.model)
    until = month_start(study.as_of, study.months)
    return day if day is not None and day <= until else None

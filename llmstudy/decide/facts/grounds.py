"""The evidence that facts are computed from."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from llmstudy.decide.judge import Fact
from llmstudy.evidence.case import Case, Results, rows_of
from llmstudy.figure import Grade
from llmstudy.study import ApiRoute, Route, SelfHostedRoute, Study


@dataclass(frozen=True)
class Grounds:
    """A study, the results of earlier chapters, and the tables of chapter 07 so far."""

    case: Case
    results: Results
    decided: Mapping[str, Any] = field(default_factory=dict)

    @property
    def study(self) -> Study:
        """The study, with figures measured by its log in place of assumed ones."""
        return self.case.study

    @property
    def todays(self) -> dict[str, Route]:
        """Today's routes by name, each once."""
        names = (w.current_route for w in self.study.workloads.values())
        return {name: self.study.routes[name] for name in names}

    @property
    def named_routes(self) -> dict[str, Route]:
        """The routes that any workload names, by name."""
        names = (name for w in self.study.workloads.values() for name in w.routes)
        return {name: self.study.routes[name] for name in names}

    @property
    def logged(self) -> pd.DataFrame:
        """The logged requests; simulated ones are no evidence of failures."""
        return self.case.traffic.logged

    @property
    def volume_grades(self) -> list[Grade]:
        """The grade of each workload's volume."""
        return [w.intake.requests.grade for w in self.study.workloads.values()]

    def arm_of(self, route: str) -> str:
        """The arm of a route."""
        return self.study.routes[route].arm

    @property
    def compared_workload(self) -> str | None:
        """The workload on which most arms can be compared; of several, the one with the largest
        bill."""
        rows = [*self.results["02_cost"]["bills"], *self.results["05_self_hosting"]["fleets"]]
        names = {row["workload"] for row in rows}
        todays = self.results["06_crossover"]["month_usd"]["today_by_workload"]

        def arms_and_bill(name: str) -> tuple[int, float]:
            arms = {self.arm_of(row["route"]) for row in rows_of(rows, workload=name)}
            return len(arms), todays.get(name) or 0.0

        return max(sorted(names), key=arms_and_bill) if names else None

    def is_billed_by_token(self, workload: str) -> bool:
        """Whether today's route of a workload is an API."""
        current = self.study.workloads[workload].current_route
        return isinstance(self.study.routes[current], ApiRoute)

    def todays_bill(self, workload: str) -> float | None:
        """The bill of a workload on today's route, in USD a month; None if it has none."""
        place = {"workload": workload, "route": self.study.workloads[workload].current_route}
        rows = rows_of(self.results["02_cost"]["bills"], **place)
        rows += rows_of(self.results["05_self_hosting"]["fleets"], **place)
        return float(rows[0]["month_usd"]) if rows else None


def stated(value: float | None, unit: str, basis: str, sentence: str = "") -> Fact:
    """A fact that the organisation states about itself; a value of None is left open."""
    return Fact(value, unit, "assumed" if value is None else "measured", basis, sentence)


def ranged(
    values: Iterable[float | None], unit: str, grade: Grade, basis: str, sentence: str
) -> Fact:
    """A fact that is the range of several values; None where all of them are None."""
    each = [x for x in values if x is not None]
    low, high = (min(each), max(each)) if each else (None, None)
    return Fact(None, unit, grade, basis, sentence, low, high)


def gpus_of(routes: Iterable[Route]) -> set[str]:
    """The GPUs of self-hosted routes."""
    return {route.gpu for route in routes if isinstance(route, SelfHostedRoute)}

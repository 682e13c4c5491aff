"""What would the headline be for many studies that differ in a few assumptions?"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from llmstudy.answer.outcome import Kind, answer
from llmstudy.answer.prepared import prepare
from llmstudy.chapters.all import MEASURES, chapter_results
from llmstudy.evidence import traffic
from llmstudy.evidence.case import Case, Results
from llmstudy.evidence.traffic import Traffic
from llmstudy.study import Study


class Replay:
    """Amounts for variants of a case's study, on the case's log and on today's data and code.

    The prices of a workload's routes are computed once for all studies with the same inputs to
    them: a study that differs in one assumption takes a fraction of a second.
    """

    def __init__(self, case: Case) -> None:
        self._logged = replace(case.traffic, simulated={})
        self._names = set(self._logged.logged["workload"])
        self._tables: dict[str, Results] = {}

    def median_usd(self, study: Study, kind: Kind) -> float:
        """The median of one amount with the log's figures, in USD; 0 if the study has none.

        Raises: ValueError if the study's evidence cannot be used.
        """
        tables = [self._priced(study, name) for name in study.workloads]
        amount = answer(prepare(Case(study, self._logged), _joined(tables))).amounts[kind]
        return 0.0 if amount is None else amount["p50"]

    def _priced(self, study: Study, name: str) -> Results:
        """The tables of chapters 02 to 05 for one workload."""
        workload = study.workloads[name]
        routes = {route: study.routes[route] for route in workload.routes}
        alone = study.model_copy(update={"workloads": {name: workload}, "routes": routes})
        key = _priced_by(alone, name)
        if key not in self._tables:
            case = Case(alone, self._traffic(alone, name))
            self._tables[key] = chapter_results(case, MEASURES)
        return self._tables[key]

    def _traffic(self, alone: Study, name: str) -> Traffic:
        """The logged requests of a workload, else requests simulated for it."""
        if name not in self._names:
            return traffic.traffic_of(alone.model_copy(update={"requests": None}))
        return replace(self._logged, logged=self._logged.of(name))


_NOT_PRICED = {"growth", "volatility", "prompt_growth", "cache_write_share"}
"""Fields of a workload that affect no price, no fleet size, no verdict on latency or quality and no
date of a move. A test changes each of them, and each block left out below."""


def _priced_by(alone: Study, name: str) -> str:
    """The cache key of a workload's tables: all of their inputs as text.

    The bills in those tables have more inputs, but nothing here reads them.
    """
    hosting = alone.self_hosting
    rests_on = (
        (alone.seed, alone.as_of, alone.decide_by, alone.horizon, alone.routes),
        (hosting.spare_replicas, hosting.target_utilisation, hosting.spot_rerun),
        alone.workloads[name].model_dump(exclude=_NOT_PRICED),
    )
    return repr(rests_on)


_READ = {
    "02_cost": ("offers",),
    "03_latency": ("latency", "answers"),
    "04_quality": ("quality", "dates"),
    "05_self_hosting": ("offers", "failures"),
}
"""What `prepare` reads of the chapters."""


def _joined(parts: list[Results]) -> dict[str, dict[str, Any]]:
    """The tables of all workloads, joined."""
    return {
        chapter: {table: _one([part[chapter][table] for part in parts]) for table in tables}
        for chapter, tables in _READ.items()
    }


def _one(tables: list[Any]) -> Any:
    if isinstance(tables[0], Mapping):
        return {key: row for table in tables for key, row in table.items()}
    return [row for table in tables for row in table]

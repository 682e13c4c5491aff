"""What would the one number of a memo be for many studies that differ in a few assumptions?"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from llmstudy.answer.outcome import Kind, answer
from llmstudy.answer.prepared import prepare
from llmstudy.chapters.all import measured
from llmstudy.evidence import traffic
from llmstudy.evidence.case import Case, Results
from llmstudy.evidence.traffic import Traffic
from llmstudy.study import Study


class Replay:
    """Amounts for studies like that of a case, on the case's log and on today's data and code.

    What the routes of a workload charge is computed once for all studies that share the inputs of
    it: a study that differs in one assumption takes a fraction of a second.
    """

    def __init__(self, case: Case) -> None:
        logged = ~case.traffic.requests["workload"].isin(case.traffic.simulated)
        self._logged = replace(case.traffic, requests=case.traffic.requests[logged], simulated=())
        self._names = set(self._logged.requests["workload"])
        self._tables: dict[str, Results] = {}

    def median_usd(self, study: Study, kind: Kind) -> float:
        """The median of one amount, on the log's figures; 0 where the study has none.

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
            self._tables[key] = measured(Case(alone, self._traffic(alone, name)))
        return self._tables[key]

    def _traffic(self, alone: Study, name: str) -> Traffic:
        """The log's requests of a workload, or else requests drawn for it."""
        if name not in self._names:
            return traffic.traffic_of(alone.model_copy(update={"requests": None}))
        return replace(self._logged, requests=self._logged.of(name))


_NOT_PRICED = {"growth", "volatility", "prompt_growth", "cache_write_share"}
"""Fields of a workload on which no offer of a route, no size of a fleet, no verdict on latency or
quality and no date of a move rests. A test changes each of them, and each block left out below."""


def _priced_by(alone: Study, name: str) -> str:
    """The key of a workload's tables: every input of them as text.

    The bills in those tables have further inputs, but nothing here reads those.
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
    """The tables of all workloads in one."""
    return {
        chapter: {table: _one([part[chapter][table] for part in parts]) for table in tables}
        for chapter, tables in _READ.items()
    }


def _one(tables: list[Any]) -> Any:
    if isinstance(tables[0], Mapping):
        return {key: row for table in tables for key, row in table.items()}
    return [row for table in tables for row in table]

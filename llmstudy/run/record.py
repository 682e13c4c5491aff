"""The schema of `results.json`, and how an earlier run is read from its folder.

The schema is versioned: fields may be added within a version, but never change their meaning.
`null` means never (within the stated horizon and volume cap), or unknown; there is no NaN and no
Infinity. `schema()` returns the JSON Schema; its tables are described in `llmstudy.tables`.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, create_model

from llmstudy.chapters import OF_RUN
from llmstudy.compare.diff import Run, diff
from llmstudy.study import Study
from llmstudy.study.snapshot import from_json
from llmstudy.tables import Record, Spread, record, tables

VERSION = "1.0"

Arm = Literal["proprietary_api", "hosted_open", "self_hosted"]


class ReasonRecord(Record):
    """One reason for a verdict."""

    code: str = Field(description="privacy, context, latency, cost, quality or rate limit")
    route: str
    sentence: str


class CollectRecord(Record):
    """Evidence that could change a verdict."""

    what: str = Field(description="intake, golden items, probe, cost, contract or rate limit")
    n: int | None = Field(description="how many, where that can be counted")
    usd: float | None
    sentence: str


class WorkloadVerdict(Record):
    """Where one workload runs until further evidence, and why."""

    arm: Arm = Field(description="where it runs; with no permitted route, where it could")
    decision: Literal["stay", "move", "undecided"]
    route: str | None
    contract: str = Field(description="the contract in force that its data class needs")
    target: str | None = Field(description="the route to move to, or that evidence may favour")
    collect: list[CollectRecord]
    reasons: list[ReasonRecord]


class VerdictRecord(Record):
    """The verdict: overall, and of each workload."""

    overall: Literal["api_first", "hybrid", "off_api"]
    workloads: dict[str, WorkloadVerdict]


class LogRecord(Record):
    """What was read from the request log; all 0 without one."""

    rows_read: int
    rows_accepted: int
    rows_quarantined: int
    rows_lost: int = Field(description="quarantined rows whose request is in no other row")
    reasons: dict[str, int] = Field(description="quarantined rows by the reason against them")
    set_aside: list[str]
    warnings: list[str]


class _Head(Record):
    """One run of one study."""

    version: str = VERSION
    study: str
    as_of: str
    horizon_months: int
    volume_cap_requests_per_month: float
    seed: int
    verdict: VerdictRecord
    collect_first: list[str] = Field(description="intake questions answered unknown")
    log: LogRecord
    month_usd: float = Field(description="this month's bill over all workloads, at the median")
    stay_usd: Spread = Field(
        description="bill over the horizon when nothing moves, at the study's discount rate"
    )
    saving_usd: Spread | None = Field(
        description="saving of the moves over the horizon, each begun on the plan's date"
    )
    saving_if_now_usd: Spread | None = Field(description="the same, were they begun today")
    at_stake_usd: Spread | None = Field(
        description="saving that better evidence could release, on the plan's dates"
    )
    at_stake_if_now_usd: Spread | None = Field(description="the same, were the moves begun today")
    measure_next: str | None = Field(description="null: nothing is worth measuring")
    five_questions: str = Field(description="T6: api, undecided or consider self-hosting")


_TEAM = "team"
"""The only table with a single row."""

_PLACES = {"worth": "measurements"}
"""The keys of tables in `results.json` that differ from their names."""

_TABLES: Mapping[str, Any] = {
    _PLACES.get(name, name): (record(name) if name == _TEAM else list[record(name)], ...)  # type: ignore[misc]
    for name, table in tables().items()
    if table.promised
}

Results = create_model("Results", __base__=_Head, __doc__="One run of one study.", **_TABLES)


def assemble(study: Study, chapters: Mapping[str, Mapping[str, Any]]) -> Record:
    """The results of a run, from the results of its chapters (by name, as read from JSON).

    What the run itself wrote may be among them and is ignored.
    """
    decided = chapters["07_triggers_and_routing"]
    crossing, evidence = chapters["06_crossover"], chapters["01_evidence"]
    rows = {
        name: table
        for chapter, results in chapters.items()
        if chapter not in OF_RUN
        for name, table in results.items()
    }
    rows["flips"] = [row for row in rows["flips"] if row["flips_at"] is not None]
    rows["savings"] = [_in_spreads(row) for row in rows["savings"]]
    rows[_TEAM] = [decided[_TEAM]]
    promised = {
        _PLACES.get(name, name): list(_picked(rows[name], table.promised))
        for name, table in tables().items()
        if table.promised
    }

    def spread(row: Mapping[str, float] | None) -> Spread | None:
        return None if row is None else Spread(**{k: row[k] for k in Spread.model_fields})

    return Results(
        study=study.study,
        as_of=study.as_of.isoformat(),
        horizon_months=study.months,
        volume_cap_requests_per_month=study.volume_cap.value,
        seed=study.seed,
        verdict=VerdictRecord(overall=decided["overall"], workloads=decided["verdicts"]),
        collect_first=evidence["unknown"],
        log=LogRecord(**{k: evidence[k] for k in ("set_aside", "warnings")}, **evidence["log"]),
        month_usd=crossing["month_usd"]["today"],
        stay_usd=spread(crossing["month_usd"]["horizon"]),
        saving_usd=spread(decided["saving"]),
        saving_if_now_usd=spread(decided["saving_if_now"]),
        at_stake_usd=spread(decided["at_stake"]),
        at_stake_if_now_usd=spread(decided["at_stake_if_now"]),
        measure_next=_next(crossing["measure_next"]),
        five_questions=decided["five_questions"]["verdict"],
        **(promised | {_TEAM: promised[_TEAM][0]}),
    )


def _picked(rows: Iterable[Mapping[str, Any]], names: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The rows with only these columns."""
    return ({name: row[name] for name in names} for row in rows)


def _in_spreads(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of savings with its percentiles as spreads, as in `results.json`."""
    ends = ("p10", "p50", "p90")
    return {
        **row,
        "saving_usd": {end: row[f"saving_{end}_usd"] for end in ends},
        "pays_from_month": {end: row[f"pays_from_month_{end}"] for end in ends},
    }


def _next(row: Mapping[str, Any] | None) -> str | None:
    return None if row is None else f"{row['workload']}: {row['measurement']}"


def schema() -> dict[str, Any]:
    """The JSON Schema of `results.json`.

    >>> schema()["properties"]["version"]["default"]
    '1.0'
    """
    return Results.model_json_schema()


READ = ("01_evidence", "02_cost", "03_latency", "05_self_hosting", "06_crossover")
"""The chapters whose results a comparison reads."""


def read_run(folder: Path) -> Run:
    """Reads a finished run. Raises: ValueError if the folder has none that can be read."""
    try:
        results, made_of = (_json(folder / f"{name}.json") for name in ("results", "provenance"))
        chapters = {name: _json(folder / "results" / f"{name}.json") for name in READ}
        run_id = str(made_of["run_id"])
        study, no_study = _study(chapters, made_of, f"the run {run_id}")
        run = Run(run_id, results, chapters, made_of, study, no_study)
        diff(run, run, None)  # reads everything that a comparison reads
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{folder} is not a run that can be compared ({_fault(error)}): give a folder written "
            "by `llmstudy run`."
        ) from None
    return run


def run_under_way(folder: Path, run_id: str, study: Study, made_of: Mapping[str, Any]) -> Run:
    """A run before its memo is written: all chapters but that one have results."""
    chapters = {
        file.stem: _json(file) for file in folder.glob("results/*.json") if file.stem[:2].isdigit()
    }
    results: dict[str, Any] = assemble(study, chapters).model_dump()
    snapshot, no_study = _study(chapters, made_of, f"the run {run_id}")
    return Run(run_id, results, chapters, made_of, snapshot, no_study)


def paths_of(study: Study) -> dict[str, Any]:
    """The paths of a study's log and probe runs, for `provenance.json`; results have no paths."""
    log = study.requests.path.absolute() if study.requests else None
    probes = {name: [p.absolute() for p in r.probe] for name, r in study.routes.items() if r.probe}
    return {"log": log, "probes": probes}


def _study(
    chapters: Mapping[str, Any], made_of: Mapping[str, Any], which: str
) -> tuple[Study | None, str]:
    snapshot = chapters["01_evidence"].get("study")
    if snapshot is None:
        return None, f"{which} was made before runs kept their study"
    try:
        return _placed(from_json(snapshot), made_of.get("paths") or {}), ""
    except ValueError as error:
        return None, f"{which}: {str(error).rstrip('.')}"


def _placed(study: Study, places: Mapping[str, Any]) -> Study:
    """The study with the paths that the run used."""
    log, probes = study.requests, places.get("probes") or {}
    if log and places.get("log"):
        log = log.model_copy(update={"path": Path(places["log"])})
    routes = {
        name: route.model_copy(update={"probe": tuple(map(Path, probes.get(name, route.probe)))})
        for name, route in study.routes.items()
    }
    return study.model_copy(update={"requests": log, "routes": routes})


def _json(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def _fault(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{Path(error.filename).name}: {error.strerror}"
    return f"it lacks {error}" if isinstance(error, KeyError) else str(error)

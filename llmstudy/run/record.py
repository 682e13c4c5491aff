"""What did an earlier run find, and from what? Reads a run's folder as it was kept."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmstudy.diff import Run, diff
from llmstudy.results import assemble
from llmstudy.study import Study
from llmstudy.study.kept import restored

READ = ("01_evidence", "05_self_hosting", "06_crossover")
"""The chapters whose results a comparison reads."""


def read_run(folder: Path) -> Run:
    """A finished run. Raises: ValueError if the folder does not hold one that can be read."""
    try:
        results, made_of = (_json(folder / f"{name}.json") for name in ("results", "provenance"))
        chapters = {name: _json(folder / "results" / f"{name}.json") for name in READ}
        run_id = str(made_of["run_id"])
        study, no_study = _study(chapters, made_of, f"the run {run_id}")
        run = Run(run_id, results, chapters, made_of, study, no_study)
        diff(run, run, None)  # reads all that a comparison with another run will
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{folder} is not a run that can be compared ({_said(error)}): give a folder that "
            "`llmstudy run` made."
        ) from None
    return run


def run_under_way(folder: Path, run_id: str, study: Study, made_of: Mapping[str, Any]) -> Run:
    """A run whose memo is still to be written: all its chapters but that one are there."""
    chapters = {
        file.stem: _json(file) for file in folder.glob("results/*.json") if file.stem[:2].isdigit()
    }
    results: dict[str, Any] = assemble(study, chapters).model_dump()
    kept, no_study = _study(chapters, made_of, f"the run {run_id}")
    return Run(run_id, results, chapters, made_of, kept, no_study)


def paths_of(study: Study) -> dict[str, Any]:
    """Where a study's log and probe runs lie, for `provenance.json`: no result holds a path."""
    log = study.requests.path.absolute() if study.requests else None
    probes = {name: [p.absolute() for p in r.probe] for name, r in study.routes.items() if r.probe}
    return {"log": log, "probes": probes}


def _study(
    chapters: Mapping[str, Any], made_of: Mapping[str, Any], which: str
) -> tuple[Study | None, str]:
    found = chapters["01_evidence"].get("study")
    if found is None:
        return None, f"{which} was made before runs kept their study"
    try:
        return _placed(restored(found), made_of.get("paths") or {}), ""
    except ValueError as error:
        return None, f"{which}: {str(error).rstrip('.')}"


def _placed(study: Study, places: Mapping[str, Any]) -> Study:
    """The study with its paths where the run found them."""
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


def _said(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{Path(error.filename).name}: {error.strerror}"
    return f"it lacks {error}" if isinstance(error, KeyError) else str(error)

"""The decision that an export carries out: a study, and what its chapters wrote."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmstudy.study import Study

CHAPTERS = ("02_cost", "03_latency", "04_quality", "05_self_hosting", "07_triggers_and_routing")
"""The chapters that an export reads."""


@dataclass(frozen=True)
class Decision:
    """A study and the results of `CHAPTERS`, by the chapter's name. origin: the run, or the file.

    study: with the figures that were measured in its log.
    """

    study: Study
    results: Mapping[str, Mapping[str, Any]]
    origin: str


def decision(path: Path) -> Decision:
    """The decision of a finished run's folder; of a study file, whose chapters are computed.

    Raises: ValueError if it is neither, or as the study's chapters; OSError if it cannot be read.
    """
    return _of_run(path) if path.is_dir() else _of_study(path)


def _of_run(folder: Path) -> Decision:
    from llmstudy.study.snapshot import from_json

    try:
        snapshot = _results(folder, "01_evidence")["study"]
        results = {name: _results(folder, name) for name in CHAPTERS}
    except (OSError, KeyError, ValueError):
        raise ValueError(
            f"{folder} is not a finished run: give a folder written by `llmstudy run`, or a study "
            "file."
        ) from None
    return Decision(from_json(snapshot), results, folder.resolve().name)


def _results(folder: Path, name: str) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(
        (folder / "results" / f"{name}.json").read_text(encoding="utf-8")
    )
    return values


def _of_study(file: Path) -> Decision:
    from llmstudy.chapters.all import chapter_results
    from llmstudy.evidence.case import open_case
    from llmstudy.study import load

    case = open_case(load(file))
    return Decision(case.study, chapter_results(case, CHAPTERS), file.name)

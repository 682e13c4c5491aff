"""How does a setting of the levers become a study file that runs?"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from llmstudy import paths
from llmstudy.figure import Figure
from llmstudy.study import Study, StudyError, load
from llmstudy.what_if.changes import BASE, Changes, changed, with_quotes


def save(study_file: str | Path, changes: Changes, file: str | Path) -> Path:
    """Writes the study at a setting of the levers, and nothing if it would be no valid study.

    study_file: the study that the levers were turned on; its comments and order are kept. file:
    where to write; what was there is replaced. Returns: file.
    Raises: ValueError where a value leaves its range, or the log says what a lever would.
    """
    source, file = paths.resolve(study_file), Path(file)
    study = load(source)
    if study.requests is not None and changes.volume != BASE.volume:
        raise ValueError(
            f"{source.name} takes its volume from the log {study.requests.path.name}: a study file "
            "cannot state another beside it. Set the volume back to save the other levers."
        )
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = 100
    yaml.indent(mapping=2, sequence=4, offset=2)
    document = yaml.load(source.read_text(encoding="utf-8"))
    _write(document, with_quotes(study), changes)
    _relocate(document, study, file.parent)
    document["study"], document["status"] = "my-case", "draft"
    draft = file.with_suffix(".unchecked")
    try:
        with draft.open("w", encoding="utf-8") as out:
            yaml.dump(document, out)
        load(draft)
        os.replace(draft, file)
    except StudyError as error:
        raise ValueError(f"not saved: {str(error).replace(str(draft), str(file))}") from None
    finally:
        draft.unlink(missing_ok=True)
    return file


def _write(document: Any, base: Study, changes: Changes) -> None:
    study = changed(base, changes)
    before = base.figures_by_keys()
    for keys, figure in study.figures_by_keys().items():
        if figure != before.get(keys):
            node = document
            for key in keys[:-1]:
                node = node[key]
            node[keys[-1]] = _written(figure)
    for name, workload in study.workloads.items():
        if workload.candidates != base.workloads[name].candidates:
            node = document["workloads"][name]
            node["candidates"] = list(workload.candidates)
            quality = node["quality"]
            quality["evidence"] = {
                route: given
                for route, given in quality.get("evidence", {}).items()
                if route in workload.candidates
            }


def _written(figure: Figure) -> dict[str, Any]:
    """A figure as a study writes one, to ten digits."""
    found: dict[str, Any] = {"value": _digits(figure.value), "unit": figure.unit}
    if figure.low is not None and figure.high is not None:
        found["range"] = [_digits(figure.low), _digits(figure.high)]
        found["distribution"] = figure.distribution
    found |= {"source": figure.source, "as_of": figure.as_of, "grade": figure.grade}
    return found if figure.expires is None else {**found, "expires": figure.expires}


def _digits(x: float) -> float:
    return float(f"{x:.10g}")


def _relocate(document: Any, study: Study, folder: Path) -> None:
    """Paths in the file from its new folder."""

    def seen_from_there(path: Path) -> str:
        return os.path.relpath(path.resolve(), folder.resolve())

    if study.requests is not None:
        document["requests"]["path"] = seen_from_there(study.requests.path)
    routes: Mapping[str, Any] = study.routes
    for name, route in routes.items():
        if route.probe:
            document["routes"][name]["probe"] = [seen_from_there(run) for run in route.probe]

"""Reads and checks a study file."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from llmstudy import paths
from llmstudy.study import document
from llmstudy.study.evaluations import misplaced_counts, with_evaluations, with_paths_from
from llmstudy.study.faults import StudyError, sentence
from llmstudy.study.study import Study, disagreements

MOST_FAULTS = 30
"""Faults that one error lists at most."""


def load(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Study:
    """Reads a study from a YAML file and checks all of it.

    path: of the file; paths inside it are relative to it. If the path of its log is a folder, the
    file whose name sorts last is read, such as 2026-11.parquet. overrides: values to set in place
    of the file's, as `Study.with_`.
    Raises: StudyError with one line per fault, `file:line: sentence`.

    >>> load(paths.params("default.yaml")).study
    'default'
    """
    file, path = paths.resolve(path), Path(path)
    if not file.is_file():
        if (file / "study.yaml").is_file():
            raise StudyError(f"{path} is a folder: name the study in it, {path / 'study.yaml'}.")
        raise StudyError(f"{path}: no such study file. Create one with `llmstudy init DIR`.")
    try:
        tree = document.read(file)
        values = document.plain(tree)
    except document.DocumentError as error:
        raise StudyError(f"{path}:{error.line}: {error}") from None
    if not isinstance(values, dict):
        raise StudyError(
            f"{path}:1: a study file is a mapping of keys, but this one is empty or has no keys."
        )

    def study_error(faults: Iterable[tuple[Sequence[Any], str]]) -> StudyError:
        lines = [f"{path}:{_line(tree, keys)}: {sentence}" for keys, sentence in faults]
        lines = list(dict.fromkeys(lines))
        if len(lines) > MOST_FAULTS:
            rest = len(lines) - MOST_FAULTS
            lines[MOST_FAULTS:] = [f"{path}:1: {rest:,} more faults."]
        return StudyError("\n".join(lines))

    if "overrides" in values:
        where = [
            (
                ("overrides",),
                "overrides is not a key of a study file: write the values where they belong.",
            )
        ]
        raise study_error(where)
    try:
        study = Study.model_validate(values)
    except ValidationError as error:
        raise study_error(map(sentence, error.errors())) from None
    if faults := [*disagreements(study), *misplaced_counts(study)]:
        raise study_error(faults)
    try:
        study = _with_paths_from(study, file.parent)
    except OSError as error:
        raise study_error([(("requests", "path"), f"requests.path: {error.strerror}.")]) from None
    try:
        study = study.with_(overrides) if overrides else study
    except StudyError as error:
        raise StudyError(
            "\n".join(f"overrides of {path}: {line}" for line in str(error).splitlines())
        ) from None
    study, unread = with_evaluations(study)
    if unread:
        raise study_error(unread)
    return study


def _with_paths_from(study: Study, folder: Path) -> Study:
    """The study with its relative paths resolved from the folder of its file."""
    log = study.requests
    if log:
        path = folder / log.path
        path.is_dir()  # raises OSError for a name that no file can have
        log = log.model_copy(update={"path": path})
    routes = {
        name: route.model_copy(update={"probe": tuple(folder / run for run in route.probe)})
        for name, route in study.routes.items()
    }
    study = study.model_copy(update={"requests": log, "routes": routes})
    return with_paths_from(study, folder)


def _line(tree: Any, location: Sequence[Any]) -> int:
    """Line (from 1) of the deepest of these keys that the file has."""
    node, line = tree, 1
    for key in location:
        try:
            if isinstance(node, Mapping):
                line = node.lc.key(key)[0] + 1  # type: ignore[attr-defined]
            else:
                line = node.lc.item(key)[0] + 1
            node = node[key]
        except (AttributeError, KeyError, IndexError, TypeError):
            break
    return line

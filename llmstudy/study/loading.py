"""Is this file a study, and if not, where and why not?"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from llmstudy import paths
from llmstudy.study import document
from llmstudy.study.agreement import disagreements
from llmstudy.study.schema import BETWEEN_BLOCKS, ArmName, Study
from llmstudy.text import excerpt

MOST_FAULTS = 30
"""Sentences that an error lists."""


class StudyError(ValueError):
    """A study file that cannot be used: one sentence per fault, each with file and line."""


def load(path: str | Path) -> Study:
    """The study in a YAML file, checked in full.

    Relative paths inside the file are relative to the file. A log's may be a folder: the file in
    it whose name sorts last is then read, such as 2026-11.parquet.

    Raises: StudyError with one line per fault, `file:line: sentence`.

    >>> load(paths.params("default.yaml")).study
    'default'
    """
    file, path = paths.resolve(path), Path(path)
    if not file.is_file():
        if (file / "study.yaml").is_file():
            raise StudyError(f"{path} is a folder: name the study in it, {path / 'study.yaml'}.")
        raise StudyError(f"{path}: no such study file. Make one with `llmstudy init DIR`.")
    try:
        tree = document.read(file)
        values = document.plain(tree)
    except document.DocumentError as error:
        raise StudyError(f"{path}:{error.line}: {error}") from None
    if not isinstance(values, dict):
        raise StudyError(f"{path}:1: a study file is a mapping of keys; this one is empty or not.")

    def refused(faults: Iterable[tuple[Sequence[Any], str]]) -> StudyError:
        lines = [f"{path}:{_line(tree, keys)}: {sentence}" for keys, sentence in faults]
        lines = list(dict.fromkeys(lines))
        if len(lines) > MOST_FAULTS:
            rest = len(lines) - MOST_FAULTS
            lines[MOST_FAULTS:] = [f"{path}:1: {rest:,} more faults are not listed."]
        return StudyError("\n".join(lines))

    try:
        study = Study.model_validate(values)
    except ValidationError as error:
        raise refused(map(_fault, error.errors())) from None
    if faults := list(disagreements(study)):
        raise refused(faults)
    try:
        return _placed(study, file.parent)
    except OSError as error:
        raise refused([(("requests", "path"), f"requests.path: {error.strerror}.")]) from None


def _placed(study: Study, folder: Path) -> Study:
    """The study with its relative paths taken from the folder of its file."""
    log = study.requests
    if log:
        log = log.model_copy(update={"path": _newest(folder / log.path)})
    routes = {
        name: route.model_copy(update={"probe": tuple(folder / run for run in route.probe)})
        for name, route in study.routes.items()
    }
    return study.model_copy(update={"requests": log, "routes": routes})


def _newest(path: Path) -> Path:
    """The file itself; of a folder of logs the file whose name sorts last: git keeps no times."""
    logs = path.iterdir() if path.is_dir() else []
    return max((file for file in logs if not file.name.startswith(".")), default=path)


def _fault(fault: Any) -> tuple[Sequence[Any], str]:
    """One pydantic fault: the keys of the file at which it stands, and a sentence."""
    keys = _keys(fault["loc"])
    return keys, fault["msg"] if fault["type"] == BETWEEN_BLOCKS else _wrong(keys, fault)


_ARMS = get_args(ArmName)


def _keys(location: Sequence[Any]) -> list[Any]:
    """The keys of the file that lead to a fault.

    pydantic adds two keys: `[key]` where the key itself is wrong, and a route's arm, by which it
    chose the route's class.
    """
    keys = [key for key in location if key != "[key]"]
    if keys[0] == "routes" and len(keys) > 2 and keys[2] in _ARMS:
        del keys[2]
    return keys


_QUESTIONS = {
    "requests": "how many requests a month?",
    "input_tokens": "how many input tokens has a request?",
    "output_tokens": "how many output tokens has an answer?",
    "ttft_p95": "which p95 of the first token must be met?",
    "data_class": "how sensitive is the data?",
    "peak_to_mean": "how much busier is the peak hour than the mean one?",
    "context_tokens": "how many tokens of context are needed?",
    "gpu_platform": "do you already run Kubernetes with GPUs?",
}
"""Questions about a workload, which may be answered `unknown`."""


_KINDS = {
    "string": "text: put it in quotes",
    "int": "a whole number",
    "float": "a number",
    "finite": "a finite number",
    "bool": "true or false",
    "dict": "a mapping: write `key: value` lines below it",
    "model": "a mapping: write `key: value` lines below it",
    "tuple": "a list: write `- ` before each of its entries",
}
"""First word of pydantic's type of a fault -> what must stand there."""


def _wrong(keys: Sequence[Any], fault: Any) -> str:
    """What is wrong with the last of these keys, and how to mend it."""
    name = ".".join(excerpt(str(key)) if str(key).strip() else f'"{key}"' for key in keys)
    value, context, kind = fault["input"], fault.get("ctx", {}), fault["type"]
    text = _value_text(value)
    arms = ", ".join(map(repr, _ARMS))
    match kind:
        case "value_error":
            return f"{name} {fault['msg'].removeprefix('Value error, ')}"
        case "missing" if keys[0] == "workloads" and keys[-1] in _QUESTIONS:
            return f"{name} is missing: {_QUESTIONS[keys[-1]]} Answer it, or write unknown."
        case "missing":
            return f"{name} is missing: add it."
        case "extra_forbidden":
            return f"{name} is not a key that a study knows. Remove or correct it."
        case "literal_error" if fault["loc"][-1] == "[key]":
            return f"{name} is not a key that a study knows. Use one of {context['expected']}."
        case "literal_error":
            return f"{name} is {text}, but must be one of {context['expected']}."
        case "greater_than_equal":
            return f"{name} is {text}, but must be {context['ge']} or more."
        case "less_than_equal":
            return f"{name} is {text}, but must be {context['le']} or less."
        case "less_than":
            return f"{name} is {text}, but must be less than {context['lt']}."
        case "string_too_long":
            return (
                f"{name} has {len(value):,} characters, but at most {context['max_length']} have "
                "room: shorten it."
            )
        case "too_long":
            return (
                f"{name} has {context['actual_length']} entries, but must have "
                f"{context['max_length']}."
            )
        case "union_tag_invalid":
            return f"{name}.arm is {excerpt(repr(context['tag']))}, but must be one of {arms}."
        case "union_tag_not_found" | "model_attributes_type":
            return f"{name}.arm is missing: add one of {arms}."
        case _:
            must = _KINDS.get(kind.partition("_")[0], fault["msg"])
            return f"{name} is {text}, but must be {must}."


def _value_text(value: Any) -> str:
    """A value as its author would name it."""
    if value is None or isinstance(value, bool):
        return "empty" if value is None else str(value).lower()
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    return excerpt(repr(value))


def _line(tree: Any, location: Sequence[Any]) -> int:
    """Line (from 1) of the deepest key of a location that the file has."""
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

"""Is this file a study, and if not, where and why not?"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.reader import ReaderError

from llmstudy import paths
from llmstudy.study.schema import BETWEEN_BLOCKS, ArmName, Study


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
    file = paths.resolve(path)
    shown = Path(path)
    if not file.is_file():
        if (file / "study.yaml").is_file():
            raise StudyError(f"{shown} is a folder: name the study in it, {shown / 'study.yaml'}.")
        raise StudyError(f"{shown}: no such study file. Make one with `llmstudy init DIR`.")
    try:
        text = file.read_text(encoding="utf-8")
        document = YAML(typ="rt").load(text)
    except UnicodeDecodeError as error:
        raise StudyError(
            f"{shown}: not UTF-8 text at byte {error.start}: save it as such."
        ) from None
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise StudyError(
            f"{shown}:{line}: the character {error.character:#x} may not stand in YAML: remove it."
        ) from None
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise StudyError(f"{shown}:{line}: {error.problem} (not valid YAML).") from None
    if not isinstance(document, Mapping):
        raise StudyError(f"{shown}:1: a study file is a mapping of keys; this one is empty or not.")
    try:
        study = Study.model_validate(_plain(document))
    except ValidationError as error:
        faults = [_sentence(shown, document, fault) for fault in error.errors()]
        raise StudyError("\n".join(dict.fromkeys(faults))) from None
    return _placed(study, file.parent)


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


def _plain(node: Any) -> Any:
    """ruamel's round-trip types as plain ones, which pydantic checks strictly."""
    if isinstance(node, Mapping):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(value) for value in node]
    if isinstance(node, bool) or node is None:
        return node
    for kind in (int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node


def _sentence(file: Path, document: Any, fault: Any) -> str:
    """One pydantic fault as `file:line: sentence`."""
    keys = _keys(fault["loc"])
    said = fault["msg"] if fault["type"] == BETWEEN_BLOCKS else _wrong(keys, fault)
    return f"{file}:{_line(document, keys)}: {said}"


_ARMS = get_args(ArmName)


def _keys(location: Sequence[Any]) -> list[Any]:
    """The keys of the file that lead to a fault.

    pydantic puts two words of its own among them: `[key]` where the key itself is wrong, and a
    route's arm, by which it chose what the route must say.
    """
    keys = [key for key in location if key != "[key]"]
    if keys[0] == "routes" and len(keys) > 2 and keys[2] in _ARMS:
        del keys[2]
    return keys


_ASKED = {
    "requests": "how many requests a month?",
    "input_tokens": "how many tokens goes a request in with?",
    "output_tokens": "how many tokens comes an answer out with?",
    "ttft_p95": "how soon must the first token come at the p95?",
    "data_class": "how sensitive is the data?",
    "peak_to_mean": "how much busier is the peak hour than the mean one?",
    "context_tokens": "how long a context is needed?",
    "gpu_platform": "do you already run Kubernetes with GPUs?",
}
"""Questions about a workload, which may be answered `unknown`."""


def _wrong(keys: Sequence[Any], fault: Any) -> str:
    """What is wrong with the last of these keys, and how to mend it."""
    name = ".".join(map(str, keys))
    given, context = fault["input"], fault.get("ctx", {})
    message = fault["msg"].removeprefix("Value error, ")
    arms = ", ".join(map(repr, _ARMS))
    match fault["type"]:
        case "value_error":
            return f"{name} {message}"
        case "missing" if keys[0] == "workloads" and keys[-1] in _ASKED:
            return f"{name} is missing: {_ASKED[keys[-1]]} Answer it, or write unknown."
        case "missing":
            return f"{name} is missing: add it."
        case "extra_forbidden":
            return f"{name} is not a key that a study knows. Remove or correct it."
        case "literal_error" if fault["loc"][-1] == "[key]":
            return f"{name} is not a key that a study knows. Use one of {context['expected']}."
        case "literal_error":
            return f"{name} is {given!r}, but must be one of {context['expected']}."
        case "greater_than_equal":
            return f"{name} is {given}, but must be {context['ge']} or more."
        case "tuple_type":
            return f"{name} is no list: write `- ` before each of its entries."
        case "less_than_equal":
            return f"{name} is {given}, but must be {context['le']} or less."
        case "union_tag_invalid":
            return f"{name}.arm is {context['tag']!r}, but must be one of {arms}."
        case "union_tag_not_found":
            return f"{name}.arm is missing: add one of {arms}."
        case _:
            return f"{name}: {message} (got {given!r})."


def _line(document: Any, location: Sequence[Any]) -> int:
    """Line (from 1) of the deepest key of a location that the file has."""
    node, line = document, 1
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

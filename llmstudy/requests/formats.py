"""Which gateway wrote a log, and what do its fields mean? One mapping for each, as data."""

from collections.abc import Sequence
from functools import cache

from ruamel.yaml import YAML

from llmstudy import paths
from llmstudy.io import sha256_of_all
from llmstudy.requests.containers import Container, has_field, names_of, within
from llmstudy.requests.mapping import LogFormat, LogMapping
from llmstudy.requests.values import QuestionError
from llmstudy.text import excerpt, listed

CONTAINERS = ("csv", "jsonl", "parquet")
"""Formats that name a container alone: nothing but declared columns is read."""

GENERIC = "generic"
"""The format of a log whose fields bear usual names."""

NEEDED = ("ts_start", "input_tokens", "output_tokens")


@cache
def bundled() -> dict[str, LogFormat]:
    """The formats in `data/log_formats`, by name.

    >>> bundled()["litellm"].title
    'LiteLLM, StandardLoggingPayload'
    """
    files = sorted(paths.data("log_formats").glob("*.yaml"))
    return {file.stem: LogFormat(**YAML(typ="safe").load(file)) for file in files}


@cache
def sha256() -> str:
    """The SHA-256 of the mappings together."""
    return sha256_of_all(sorted(paths.data("log_formats").glob("*.yaml")))


def chosen(files: Sequence[Container], name: str | None, declared: LogMapping) -> LogFormat:
    """The format of a log: the one named, else the one whose fields it has.

    Raises: QuestionError if there is none, or several fit alike.
    """
    if name in CONTAINERS:
        return LogFormat(title=str(name), source="declared")
    each = _fitting(files, declared) if name in (None, "auto") else _named(str(name))
    if each.records and not any(_has_list(each.records, file) for file in files):
        return each.model_copy(update={"records": None})
    return each


def _named(name: str) -> LogFormat:
    formats = bundled()
    for key, each in formats.items():
        if name in (key, *each.aliases):
            return each
    names = (*CONTAINERS, *formats)
    raise QuestionError(f"format {name!r} is unknown; use auto, {', '.join(names)}")


def _fitting(files: Sequence[Container], declared: LogMapping) -> LogFormat:
    formats = bundled()
    first = next((file for file in files if file.sample), files[0])
    scores = {key: _fit(each, first) for key, each in formats.items() if each.fields}
    best = max(scores.values(), default=0)
    fitting = [key for key, score in scores.items() if score == best and score]
    if len(fitting) > 1:
        raise QuestionError(
            f"its fields are those of {listed(fitting)}: name one of them as the format"
        )
    if fitting:
        return formats[fitting[0]]
    generic = formats[GENERIC]
    missing = _missing(generic, first, declared)
    if missing and (list_name := _only_list(first)):
        inner = generic.model_copy(update={"records": f"{list_name}[]"})
        if not _missing(inner, within(first, f"{list_name}[]"), declared):
            return inner
    if missing:
        names_ = excerpt(", ".join(names_of(first)), 500)
        if not names_:
            raise QuestionError(
                "no record of a log is in it: name another file, or export it again"
            )
        raise QuestionError(
            f"{listed(missing)} required; map a column to each or give a constant, such as "
            f"`columns: {{{missing[0]}: ...}}`; the log has {names_}"
        )
    return generic


def _missing(each: LogFormat, container: Container, declared: LogMapping) -> list[str]:
    """The needed columns of which a log has no field."""
    named = {*declared.columns, *declared.constants}
    return [
        column
        for column in NEEDED
        if column not in named
        and not any(has_field(field, container) for field in each.columns[column])
    ]


def _has_list(records: str, container: Container) -> bool:
    outer = records.partition("[]")[0]
    return any(isinstance(record.get(outer), list) for record in container.sample)


def _only_list(container: Container) -> str | None:
    """The name of the one list of records in a document, such as `requests`."""
    names = {
        str(name)
        for record in container.sample
        for name, value in record.items()
        if isinstance(value, list) and value and isinstance(value[0], dict)
    }
    return names.pop() if len(names) == 1 and "." not in "".join(names) else None


def _fit(each: LogFormat, container: Container) -> int:
    """How many fields tell that a log is of this format; 0 unless it has all of them."""
    if each.records:
        container = within(container, each.records)
    there = [any(has_field(name, container) for name in names) for names in each.fields]
    return len(there) if all(there) else 0


def joined(each: LogFormat, declared: LogMapping) -> LogMapping:
    """The mapping of a format with what is declared in its place.

    Raises: QuestionError if a column is both mapped and constant.
    """
    if twice := [name for name in declared.constants if name in declared.columns]:
        raise QuestionError(f"{twice} are both mapped and constant; keep one of the two")
    columns = {k: v for k, v in each.columns.items() if k not in declared.constants}
    constants = {k: v for k, v in each.constants.items() if k not in declared.columns}
    values = {
        key: getattr(declared if key in declared.model_fields_set else each, key)
        for key in LogMapping.model_fields
    }
    values |= {
        "columns": {**columns, **declared.columns},
        "constants": {**constants, **declared.constants},
        "units": {**each.units, **declared.units},
    }
    mapping = LogMapping(**values)
    missing = [name for name in NEEDED if name not in {*mapping.columns, *mapping.constants}]
    if missing and missing[0] in each.unknown:
        raise QuestionError(f"{each.title} does not tell {missing[0]}. {each.unknown[missing[0]]}")
    if missing:
        raise QuestionError(f"{listed(missing)} required; map a column to each or give a constant")
    return mapping

"""Proposes workloads for a log that names none: the classes that one of its fields parts it into.

Only a field counts, since a study must be able to read the workloads from the log again, and from
the next month's. The shape of the tokens alone is no such field.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from ruamel.yaml import YAML

from llmstudy import paths
from llmstudy.requests import containers, formats
from llmstudy.requests.files import files_of
from llmstudy.requests.importers import Log
from llmstudy.requests.log_table import log_table
from llmstudy.requests.mapping import LogFormat, LogMapping
from llmstudy.requests.schema import UNKNOWN, weights

MOST_CLASSES = 8
"""More classes than these are customers or sessions, not workloads."""

LEAST_SHARE = 0.02
"""Least share of the requests that a proposed workload has."""

_TASKS = {
    "summarisation": r"summar|digest|tl;?dr|recap",
    "classification": r"classif|triage|moderat|label|intent|sentiment|categor|spam",
    "extraction": r"extract|pars(e|ing)|ocr|invoice|entit",
    "routing": r"\brout(e|er|ing)\b|dispatch",
    "reasoning": r"reason|agent|plan(ner|ning)|\bcod(e|ing)\b|math",
    "chat": r"chat|support|assist|convers|dialog|\bbot\b|\bqa\b|q&a|answer|\brag\b",
}
"""What a name of a workload says of its task, the more telling words first."""


class Proposal(NamedTuple):
    """Workloads of a log, for an analyst to confirm.

    fields: those of the log that tell them, for `requests.columns.workload`; none where the format
    itself maps them, or where there is one workload. log: the log as it is read with them.
    workloads: from `workloads_of`.
    """

    fields: tuple[str, ...]
    log: Log
    workloads: pd.DataFrame


def workloads_of(requests: pd.DataFrame, by: str) -> pd.DataFrame:
    """The workloads of a log with the size and the likely task of each, the largest first.

    requests: a canonical table with its workloads in `workload`. by: what tells them, such as tag.
    Returns: workload, by, requests, share (of all requests), input_tokens_mean, output_tokens_mean
    (per answered request, 0 where none is), task (as the name suggests, or unknown).

    >>> table = pd.DataFrame({
    ...     "workload": ["triage", "triage", "triage", "recap"], "ok": True, "n_requests": None,
    ...     "input_tokens": [900, 1000, 1100, 8000], "output_tokens": [4, 4, 4, 300]})
    >>> workloads_of(table, "tag")[["workload", "share", "input_tokens_mean", "task"]]
      workload  share  input_tokens_mean            task
    0   triage   0.75             1000.0  classification
    1    recap   0.25             8000.0   summarisation
    """
    weight = weights(requests)
    answered = requests["ok"].astype(bool)
    counts = pd.DataFrame(
        {
            "workload": requests["workload"].astype(str),
            "requests": weight,
            "answered": weight.where(answered, 0.0),
            "input_tokens": requests["input_tokens"].where(answered, 0).astype(float),
            "output_tokens": requests["output_tokens"].where(answered, 0).astype(float),
        }
    )
    sums = counts.groupby("workload", as_index=False).sum()
    table = pd.DataFrame(
        {
            "workload": sums["workload"],
            "by": by,
            "requests": sums["requests"],
            "share": sums["requests"] / weight.sum(),
            **{
                f"{side}_tokens_mean": (sums[f"{side}_tokens"] / sums["answered"]).fillna(0.0)
                for side in ("input", "output")
            },
            "task": sums["workload"].map(_task),
        }
    )
    return table.sort_values("requests", ascending=False, ignore_index=True)


def _task(name: str) -> str:
    lower = re.sub(r"[_\-./:]+", " ", name.lower())
    return next((task for task, words in _TASKS.items() if re.search(words, lower)), UNKNOWN)


def is_usable(workloads: pd.DataFrame) -> bool:
    """Whether a study can name each of these workloads: none is unknown, and they are not too many.

    >>> is_usable(pd.DataFrame({"workload": ["triage", "unknown"]}))
    False
    """
    names = workloads["workload"]
    return len(names) <= MOST_CLASSES and all(
        name == name.strip()
        and 0 < len(name.strip(".")) <= 80
        and name.lower() not in _NO_NAMES
        and not name.lower().startswith(_OF_THE_CLIENT)
        for name in names
    )


_NO_NAMES = (UNKNOWN, "all")
"""What stands for no workload, and what tables of a study call all of them together."""

_OF_THE_CLIENT = "user-agent:"
"""How a tag begins that LiteLLM adds to the caller's own: it names the library that called."""


def proposed(
    source: str | Path | Sequence[str | Path], log: Log, declared: Mapping[str, Any]
) -> Proposal:
    """The workloads of a log: its own, else those of the first field that parts it well, else one.

    Fields are tried by kind: tag, prompt name, route (the model or alias that was asked for),
    operation. One parts the log well if each request has it, and it has 2 to `MOST_CLASSES` values
    of at least `LEAST_SHARE` each.

    source, declared: where `log` was read from, and the keywords of `log_table` it was read with.
    Raises: ValueError as `read_log`.
    """
    own = workloads_of(log.accepted, "the log's own workload")
    if is_usable(own):
        return Proposal((), log, own)
    columns, format = declared.get("columns", {}), declared.get("format")
    for by, fields in _candidates(source, format):
        try:
            again = {**declared, "columns": {**columns, "workload": fields}}
            tried = log_table(source, **again)
        except ValueError:
            continue  # a field that some files lack tells no workload
        table = workloads_of(tried.accepted, by)
        if is_usable(table) and len(table) > 1 and table["share"].min() >= LEAST_SHARE:
            return Proposal(fields, tried, table)
    whole = log.accepted.assign(workload=UNKNOWN)
    return Proposal((), log, workloads_of(whole, "none"))


def _candidates(
    source: str | Path | Sequence[str | Path], format: str | None
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What may tell the workloads of a log: its kind, and its fields that the first file has."""
    kind = format if format in formats.CONTAINERS else None
    files = [containers.opened(path, kind) for path in files_of(source)]
    try:
        chosen = formats.chosen(files, format, LogMapping())
    except ValueError:  # of usual names, but for those that are declared
        chosen = formats.bundled()[formats.GENERIC]
    first = next((file for file in files if file.sample), files[0])
    if chosen.records:
        first = containers.within(first, chosen.records)
    for by, fields in [*_listed(), *_mapped(chosen)]:
        if there := tuple(field for field in fields if containers.has_field(field, first)):
            yield by, there


@cache
def _listed() -> tuple[tuple[str, tuple[str, ...]], ...]:
    kinds = YAML(typ="safe").load(paths.data("workload_fields.yaml"))
    return tuple((kind, tuple(fields)) for kind, rows in kinds.items() for fields in rows)


def _mapped(chosen: LogFormat) -> list[tuple[str, tuple[str, ...]]]:
    columns = {"route": "model_requested", "operation": "operation"}
    return [(by, chosen.columns.get(column, ())) for by, column in columns.items()]

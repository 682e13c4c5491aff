"""Exports of Langfuse: scores, joined to the traces, observations and dataset items they are of.

Files of the blob storage export, of the API, of a table in the UI, and of one trace; together they
are one export. Source: Langfuse, blob storage export field reference, and public API `/v2/scores`
and `/v3/scores` (models of its SDK 5.2.0).
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmstudy.evals.identity import item_hash
from llmstudy.evals.importers.files import Document
from llmstudy.evals.importers.values import Answer, Score, at, objects, sole, text, total

_Record = dict[str, Any]

_NO_SCORE = ("TEXT", "CORRECTION")
"""Data types whose value is a text of somebody, such as a better answer."""

_USAGE = {
    # details count cached input and reasoning apart
    "input_tokens": (
        "input",
        "input_cached_tokens",
        "input_cache_read",
        "cache_read_input_tokens",
        "cache_creation_input_tokens",
    ),
    "cached_input_tokens": (
        "input_cached_tokens",
        "input_cache_read",
        "cache_read_input_tokens",
    ),
    "output_tokens": ("output", "output_reasoning_tokens", "output_reasoning"),
    "reasoning_tokens": ("output_reasoning_tokens", "output_reasoning"),
}


@dataclass
class _Export:
    scores: list[tuple[str, _Record]] = field(default_factory=list)
    traces: dict[str | None, _Record] = field(default_factory=dict)
    observations: dict[str | None, dict[str | None, _Record]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    runs: dict[str | None, _Record] = field(default_factory=dict)


def fits(document: Document) -> bool:
    """Whether a document is part of an export of Langfuse."""
    records = _records(document)
    kinds = (_is_score, _is_observation, _is_run, _is_trace)
    return bool(records) and any(is_kind(records[0]) for is_kind in kinds)


def answers(documents: Sequence[Document]) -> Iterator[Answer]:
    """The answers that are scored: a trace, or an observation where the scores name one."""
    export = _export(documents)
    if not export.scores:
        raise ValueError(
            f"{documents[0].name}: no score of a trace in the export: give the scores too (of the "
            "API's version 3 with `fields=subject`)"
        )
    units: dict[tuple[str | None, str | None], list[tuple[str, _Record]]] = defaultdict(list)
    for file, score in export.scores:
        units[text(_of(score, "trace_id")), text(_of(score, "observation_id"))].append(
            (file, score)
        )
    sources = _sources(export)
    for (trace, observation), scores in units.items():
        columns = _columns(export, trace, observation)
        if columns["item_id"] is None:
            raise ValueError(
                f"trace {trace}: no dataset item and no input: give the export of the traces, the "
                "observations or the dataset's runs beside the scores"
            )
        run = _run(export, trace)
        own = _scores(trace, [each for _, each in scores], sources)
        yield Answer(columns, own, scores[0][0], run)


def _records(document: Document) -> list[_Record]:
    top = document.top
    return objects(at(top, "data")) or objects(at(top, "scores")) or document.records


def _export(documents: Sequence[Document]) -> _Export:
    export = _Export()
    for document in documents:
        top = document.top or {}
        trace = top.get("trace") if isinstance(top.get("trace"), dict) else top
        nested = [*objects(top.get("observations")), *objects(at(trace, "observations"))]
        if "scores" in top and isinstance(trace, dict):
            nested.append(trace)
        for record in map(_with_subject, [*_records(document), *nested]):
            trace_id = text(_of(record, "trace_id"))
            if _is_score(record):
                # a score of a whole run is of no answer, and a text no score
                if trace_id is not None and _of(record, "data_type") not in _NO_SCORE:
                    export.scores.append((document.name, record))
            elif _is_run(record):
                export.runs[trace_id] = record
            elif _is_observation(record):
                # an export may have an observation twice, plain and enriched
                export.observations[trace_id][text(record.get("id"))] = record
            elif record.get("id") is not None:
                export.traces[text(record["id"])] = record
    return export


def _with_subject(record: _Record) -> _Record:
    """A record of the API's version 3, which names what is scored in one field, as of version 2."""
    subject = record.get("subject")
    kind, name = at(subject, "kind"), at(subject, "id")
    if kind == "trace":
        return record | {"trace_id": name}
    if kind == "observation":
        return record | {"trace_id": at(subject, "traceId"), "observation_id": name}
    return record


def _is_score(record: Mapping[str, Any]) -> bool:
    kind = _of(record, "data_type")
    return kind in ("NUMERIC", "CATEGORICAL", "BOOLEAN", *_NO_SCORE) or (
        _of(record, "trace_id") is not None and {"name", "value", "source"} <= record.keys()
    )


def _is_observation(record: Mapping[str, Any]) -> bool:
    return _of(record, "trace_id") is not None and _of(record, "start_time") is not None


def _is_run(record: Mapping[str, Any]) -> bool:
    return (
        _of(record, "trace_id") is not None
        and _of(record, "dataset_item_id") is not None
        and not _is_score(record)
        and not _is_observation(record)
    )


def _is_trace(record: Mapping[str, Any]) -> bool:
    return {"id", "timestamp", "bookmarked", "public"} <= record.keys()


def _run(export: _Export, trace: str | None) -> str | None:
    """The dataset run, or experiment, that a trace is of."""
    sources = [export.runs.get(trace), *export.observations.get(trace, {}).values()]
    names = [
        _of(each, name) for name in ("dataset_run_name", "experiment_name") for each in sources
    ]
    return next((name for each in names if (name := text(each))), None)


def _of(record: Mapping[str, Any] | None, name: str) -> Any:
    """A field, which the API spells in camel case."""
    if record is None:
        return None
    first, *others = name.split("_")
    value = record.get(name)
    return record.get(first + "".join(map(str.capitalize, others))) if value is None else value


def _columns(export: _Export, trace: str | None, observation: str | None) -> _Record:
    record = export.traces.get(trace, {})
    own = list(export.observations.get(trace, {}).values())
    if observation is not None:
        own = [each for each in own if text(each.get("id")) == observation] or own
    calls = [each for each in own if each.get("type") == "GENERATION"]
    sources = [export.runs.get(trace), record, *own]
    prompt = next((x for each in (record, *own) if text(x := each.get("input"))), None)
    output = next((x for each in (record, *own[::-1]) if text(x := each.get("output"))), None)
    expected = ("expected_output", "experiment_item_expected_output")
    reference = next((x for s in sources for name in expected if text(x := _of(s, name))), None)
    names = ("dataset_item_id", "experiment_item_id")
    items = [_of(each, name) for name in names for each in sources]
    items += [at(each, "metadata", name) for name in (*names, "item_id") for each in sources]
    hash_ = item_hash(sole(prompt), sole(reference))
    models = {
        text(_of(each, "provided_model_name") or each.get("model"))
        for each in calls
        if _of(each, "provided_model_name") or each.get("model")
    }
    model = models.pop() if len(models) == 1 else None
    seconds = [total([each.get("latency")], "latency") for each in calls or [record]]
    first_s = [total([_of(each, "time_to_first_token")], "time_to_first_token") for each in calls]
    usage = [_details(_of(each, "usage_details")) for each in calls]
    return {
        "item_id": next((name for item in items if (name := text(item))), hash_),
        "route": model or _run(export, trace),
        "item_hash": hash_,
        "served_model": model,
        "answer": text(output),
        "latency_s": seconds[0] if len(seconds) == 1 else None,
        "ttft_s": first_s[0] if len(first_s) == 1 else None,
        "cost_usd": total([_of(each, "total_cost") for each in calls], "total_cost"),
        **{
            name: total([at(each, part) for each in usage for part in parts], name)
            for name, parts in _USAGE.items()
        },
    }


def _details(value: Any) -> Any:
    """Usage by kind, which a CSV file has as JSON text."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return None


def _sources(export: _Export) -> dict[str, set[str | None]]:
    """Where the scores of each name come from: EVAL, ANNOTATION or API."""
    sources: dict[str, set[str | None]] = defaultdict(set)
    for _, record in export.scores:
        sources[str(text(record.get("name")))].add(text(record.get("source")))
    return sources


def _scores(
    trace: str | None, records: Sequence[_Record], sources: Mapping[str, set[str | None]]
) -> dict[str, Score]:
    """The scores by name, with their source where one name has several."""
    scores: dict[str, Score] = {}
    for record in records:
        name, value = str(text(record.get("name"))), record.get("value")
        if len(sources[name]) > 1:
            name = f"{name} ({str(text(record.get('source'))).lower()})"
        if name in scores:
            raise ValueError(f"trace {trace} has two scores {name!r} of one source: keep one")
        label = _of(record, "string_value")
        category = _of(record, "data_type") == "CATEGORICAL"
        scores[name] = Score(label if label is not None and (category or value is None) else value)
    return scores

"""Samples that lm-eval logs, one row for each document and filter.

Two filters are two scorers of one output, so the second is the second scorer. Source:
EleutherAI/lm-evaluation-harness 4e7e0d47, `--log_samples`.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from llmstudy.evals.identity import item_hash
from llmstudy.evals.importers.files import Document
from llmstudy.evals.importers.values import Answer, Score, at, entries, sole, text

_INVALID = "[invalid]"
_BESIDE = ("id", "idx", "index", "answer", "answers", "label", "reference", "solution", "target")
"""Fields of a document that are not its question."""

_DATE = r"\d{4}-\d{2}-\d{2}T[\d.:-]+"


def fits(document: Document) -> bool:
    """Whether a document is samples of lm-eval, or the results beside them."""
    record = next(iter(document.records), {})
    return {"doc_id", "resps", "filtered_resps"} <= record.keys() or _is_results(document.top)


def _is_results(top: dict[str, Any] | None) -> bool:
    return {"results", "configs", "model_name"} <= entries(top).keys()


def answers(documents: Sequence[Document]) -> Iterator[Answer]:
    """The answers of the samples; the route is the model that the results beside them name."""
    results = [each.top for each in documents if _is_results(each.top)]
    samples = [each for each in documents if not _is_results(each.top)]
    if not samples:
        raise ValueError(
            f"{documents[0].name}: results of lm-eval without an answer: give the samples_*.jsonl "
            "that `--log_samples` writes"
        )
    tasks = {_task(document) for document in samples}
    for document in samples:
        task, model = _task(document), _model(document, results)
        times: Counter[tuple[str | None, ...]] = Counter()
        for record in document.records:
            name = text(record.get("doc_hash")) or text(record.get("doc_id"))
            filter_ = text(record.get("filter")) or "none"
            times[name, filter_] += 1
            nth = times[name, filter_]
            columns = {
                # a document that is in the task twice is two items of one hash
                "item_id": f"{name}-{nth}" if name and nth > 1 else name,
                "route": model,
                "item_hash": _hash(record),
                "slice": task if len(tasks) > 1 else None,
                "chance": _chance(record),
            }
            yield Answer(columns, _scores(record, filter_), document.name, document.name)


def _hash(record: Mapping[str, Any]) -> str | None:
    """Of a document that is one text beside its answer, that text's; else lm-eval's own hash.

    The prompt is no item: it has the examples and the chat template of the model in it.
    """
    texts = {k: v for k, v in entries(record.get("doc")).items() if k.casefold() not in _BESIDE}
    text_ = sole(texts)
    if isinstance(text_, str):
        return item_hash(text_, record.get("target"))
    return item_hash(record.get("doc_hash"), record.get("target_hash"))


def _scores(record: Mapping[str, Any], filter_: str) -> dict[str, Score]:
    metrics = record.get("metrics")
    metrics = [m for m in metrics if isinstance(m, str)] if isinstance(metrics, list) else []
    if not metrics:
        raise ValueError(
            f"document {text(record.get('doc_id'))} names no metrics: log the samples with "
            "lm-eval 0.4.4 or later"
        )
    output = at(record, "filtered_resps", 0)
    answer = text(output)
    extracted = answer not in (None, _INVALID) if isinstance(output, str) else None
    return {
        filter_ if len(metrics) == 1 else f"{metric},{filter_}": Score(
            record.get(metric), answer if isinstance(output, str) else None, extracted
        )
        for metric in metrics
    }


def _chance(record: Mapping[str, Any]) -> float | None:
    """Of an item whose choices were compared by their likelihood: one argument for each."""
    choices, resps = entries(record.get("arguments")), record.get("resps")
    one_each = isinstance(resps, list) and len(resps) == len(choices) > 1
    return 1 / len(choices) if one_each else None


def _task(document: Document) -> str | None:
    stem = document.name.removesuffix(".jsonl").removesuffix(".json")
    match = re.search(rf"samples_(.+?)(?:_{_DATE})?$", stem)
    return match.group(1) if match else None


def _model(document: Document, results: Sequence[dict[str, Any] | None]) -> str | None:
    """The model of the results that are given, or that lie beside the samples; None of several."""
    names = {text(at(each, "model_name")) for each in results}
    if not names and document.path is not None:
        names = {text(at(each, "model_name")) for each in _beside(document.path)}
    return names.pop() if len(names) == 1 else None


def _beside(samples: Path) -> Iterator[dict[str, Any]]:
    date = re.search(_DATE, samples.name)
    for path in sorted(samples.parent.glob("*results*.json")):
        if date and re.search(_DATE, path.name) and date.group() not in path.name:
            continue
        try:
            value = json.loads(path.read_bytes())
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict) and _is_results(value):
            yield value


def side_by_side(names: Sequence[str]) -> bool:
    """Whether the scorers are two filters of one metric, which lm-eval reports side by side."""
    return len(names) == 2

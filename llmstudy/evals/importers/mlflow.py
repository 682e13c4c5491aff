"""Evaluation tables of MLflow: `eval_results_table.json`, or the same as CSV.

A column for each metric, `answer_similarity/v1/score`, or of MLflow 3 `correctness/value`. Source:
mlflow/mlflow 2.22, `mlflow.evaluate`; MLflow 3, `mlflow.genai.evaluate`.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from llmstudy.evals.identity import item_hash
from llmstudy.evals.importers.files import Document
from llmstudy.evals.importers.values import Answer, Score, at, sole, text

_METRIC = re.compile(r"(.+?)(/v\d+)?/(score|value)")
_PROMPTS = ("inputs", "request", "question", "query", "prompt")
_OUTPUTS = ("outputs", "predictions", "prediction", "response", "answer")
_TARGETS = ("targets", "target", "ground_truth", "expected_response", "expectations")
_ROUTES = ("model", "run_name", "run_id")


def fits(document: Document) -> bool:
    """Whether a document is a table with a metric's scores."""
    return any(_METRIC.fullmatch(name) for row in _rows(document)[:1] for name in row)


def answers(documents: Sequence[Document]) -> Iterator[Answer]:
    """The answers; a table names no model, so its route is one of several tables, or is given."""
    for document in documents:
        for row in _rows(document):
            prompt, target = _first(row, _PROMPTS), _first(row, _TARGETS)
            hash_ = item_hash(sole(prompt), sole(target))
            columns = {
                "item_id": text(row.get("item_id") or row.get("id")) or hash_,
                "route": text(_first(row, _ROUTES)),
                "item_hash": hash_,
                "answer": text(_first(row, _OUTPUTS)),
                "latency_s": row.get("latency"),
            }
            scores = {
                match.group(1): Score(value)
                for name, value in row.items()
                if (match := _METRIC.fullmatch(name))
            }
            yield Answer(columns, scores, document.name, document.name)


def _rows(document: Document) -> list[dict[str, Any]]:
    names, data = at(document.top, "columns"), at(document.top, "data")
    if not isinstance(names, list) or not isinstance(data, list):
        return document.records
    rows = [row for row in data if isinstance(row, list) and len(row) == len(names)]
    if len(rows) < len(data):
        raise ValueError(
            f"{document.name}: {len(data) - len(rows)} rows do not have the {len(names)} columns "
            "of the table: export it again"
        )
    return [dict(zip(map(str, names), row, strict=True)) for row in rows]


def _first(row: dict[str, Any], names: Sequence[str]) -> Any:
    return next((row[name] for name in names if row.get(name) is not None), None)

"""Evaluation tables of MLflow: `eval_results_table.json` of MLflow 2, `eval_results` of MLflow 3.

As JSON or CSV. A column for each metric, `answer_similarity/v1/score`, or in MLflow 3
`correctness/value`, where what was expected has one too and `assessments` says which it is.
Source: mlflow 2.22.5, `mlflow.evaluate`; mlflow 3.17.2, `mlflow.genai.evaluate(...).tables`.
"""

import ast
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from llmstudy.evals.identity import item_hash
from llmstudy.evals.importers.files import Document
from llmstudy.evals.importers.values import Answer, Score, at, entries, objects, sole, text, total

_METRIC = re.compile(r"(.+?)(/v\d+)?/(score|value)")
_PROMPTS = ("inputs", "request", "question", "query", "prompt")
_OUTPUTS = ("outputs", "predictions", "prediction", "response", "answer")
_TARGETS = ("targets", "target", "ground_truth", "expected_response", "expectations")
_EXPECTED = ("expected_response", "expected_facts", "guidelines")
"""What an item may expect in MLflow 3, for a table without assessments."""

_ROUTES = ("model", "run_name", "run_id")


def fits(document: Document) -> bool:
    """Whether a document is a table with a metric's scores."""
    return any(_METRIC.fullmatch(name) for row in _rows(document)[:1] for name in row)


def answers(documents: Sequence[Document]) -> Iterator[Answer]:
    """The answers; a table names no model, so its route is one of several tables, or is given."""
    for document in documents:
        for row in _rows(document):
            assessments = objects(_value(row.get("assessments")))
            expected = _expected(row, assessments)
            prompt = _value(_first(row, _PROMPTS))
            target = _first(row, _TARGETS) or expected.get("expected_response") or expected
            hash_ = item_hash(sole(prompt), sole(_value(target)))
            columns = {
                "item_id": text(row.get("item_id") or row.get("id")) or hash_,
                "route": text(_first(row, _ROUTES)),
                "item_hash": hash_,
                "error": "not answered" if row.get("state") == "ERROR" else None,
                "answer": text(_first(row, _OUTPUTS)),
                "latency_s": _latency_s(row),
            }
            scores = {
                match.group(1): Score(
                    value,
                    error=text(row.get(f"{match.group(1)}/error_message")),
                    judge=_judge(match.group(1), assessments),
                )
                for name, value in row.items()
                if (match := _METRIC.fullmatch(name)) and match.group(1) not in expected
            }
            yield Answer(columns, scores, document.name, document.name)


def _expected(row: dict[str, Any], assessments: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the item expects, by name."""
    if assessments:
        return {
            str(each.get("assessment_name")): at(each, "expectation", "value")
            for each in assessments
            if "expectation" in each
        }
    names = ((name, f"{name}/value") for name in _EXPECTED)
    return {name: row[column] for name, column in names if column in row}


def _judge(metric: str, assessments: Sequence[dict[str, Any]]) -> str | None:
    """The model that a metric asked."""
    sources = [entries(each.get("source")) for each in assessments if _named(each, metric)]
    judges = (x.get("source_id") for x in sources if x.get("source_type") == "LLM_JUDGE")
    return next(map(text, judges), None)


def _named(assessment: dict[str, Any], metric: str) -> bool:
    return assessment.get("assessment_name") == metric


def _latency_s(row: dict[str, Any]) -> Any:
    """Of the model; of an answer that was there already MLflow 3 has one of 0 ms."""
    milliseconds = total([row.get("execution_duration")], "execution_duration")
    return milliseconds / 1000 if milliseconds else row.get("latency")


def _value(cell: Any) -> Any:
    """A cell, which a CSV file has as JSON text, or as Python writes it."""
    if not isinstance(cell, str) or not cell.startswith(("{", "[")):
        return cell
    for read in (json.loads, ast.literal_eval):
        try:
            return read(cell)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return cell


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

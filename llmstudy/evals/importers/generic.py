"""Tables of any tool: a row for each answer, or one for each item with a column for each route."""

from collections.abc import Iterator, Sequence
from typing import Any

from llmstudy.evals.identity import item_hash
from llmstudy.evals.importers.files import Document
from llmstudy.evals.importers.values import Answer, Score, number, text, total
from llmstudy.evals.table import NAMES
from llmstudy.text import listed

_SYNONYMS = {
    "item": "item_id",
    "id": "item_id",
    "sample_id": "item_id",
    "example_id": "item_id",
    "question_id": "item_id",
    "task_id": "item_id",
    "model": "route",
    "model_name": "route",
    "model_id": "route",
    "system": "route",
    "correct": "score",
    "is_correct": "score",
    "grade": "score",
    "accuracy": "score",
    "repeat": "epoch",
    "category": "slice",
    "subject": "slice",
    "output": "answer",
    "response": "answer",
    "prediction": "answer",
    "prompt_tokens": "input_tokens",
    "completion_tokens": "output_tokens",
    "latency_ms": "latency_s",
    "ttft_ms": "ttft_s",
}
"""Columns by names that other tables give them; latency without a unit and cost are not guessed."""

_PROMPTS = ("prompt", "question", "input")
_TARGETS = ("target", "reference", "expected", "expected_output", "ground_truth")


def fits(document: Document) -> bool:
    """Whether a document is a table of answers, in either form."""
    columns = _columns(document.records)
    return "score" in columns.values() or len(_routes(document.records, columns)) > 1


def answers(documents: Sequence[Document]) -> Iterator[Answer]:
    """The answers of the tables."""
    for document in documents:
        columns = _columns(document.records)
        _refuse_doubtful(document, columns)
        routes = [] if "score" in columns.values() else _routes(document.records, columns)
        for row_number, record in enumerate(document.records, 1):
            row = {name: _cell(record, column, name) for column, name in columns.items()}
            prompt = next((record[p] for p in _PROMPTS if record.get(p) is not None), None)
            target = next((record[t] for t in _TARGETS if record.get(t) is not None), None)
            row["item_hash"] = text(row.get("item_hash")) or item_hash(prompt, target)
            if routes:
                row["item_id"] = text(row.get("item_id")) or str(row_number)
                for route in routes:
                    scores = {"": Score(record.get(route))}
                    yield Answer(row | {"route": route}, scores, document.name, document.name)
                continue
            row["item_id"] = text(row.get("item_id")) or row["item_hash"]
            scorer = text(row.pop("scorer", None)) or ""
            scores = {scorer: Score(row.pop("score", None), judge=text(row.pop("judge", None)))}
            yield Answer(row, scores, document.name, document.name)


def unused(document: Document) -> list[str]:
    """Columns of a table that say nothing of an evaluation by their names."""
    columns = _columns(document.records)
    routes = [] if "score" in columns.values() else _routes(document.records, columns)
    names = dict.fromkeys(name for record in document.records for name in record)
    read = {"", *columns, *routes, *_PROMPTS, *_TARGETS}
    return [name for name in names if name not in read]


def _columns(records: Sequence[dict[str, Any]]) -> dict[str, str]:
    """The columns of a table that mean one of an evaluation, by their names as written.

    A column's own name goes before its synonyms, and of these the first of the table.
    """
    simple = {name: _simple(name) for record in records for name in record}
    columns = {name: plain for name, plain in simple.items() if plain in NAMES}
    for name, plain in simple.items():
        meaning = _SYNONYMS.get(plain)
        if meaning and meaning not in columns.values():
            columns[name] = meaning
    return columns


def _refuse_doubtful(document: Document, columns: dict[str, str]) -> None:
    """A table with two names for one thing, such as `correct` and `grade`, is asked about."""
    for meaning in ("item_id", "route", "score"):
        names = [
            name
            for name in next(iter(document.records), {})
            if _SYNONYMS.get(_simple(name)) == meaning
        ]
        if len(names) > 1 and meaning not in map(_simple, columns):
            raise ValueError(
                f"{document.name}: {listed(names)} may each be the {meaning}: name one {meaning}"
            )


def _routes(records: Sequence[dict[str, Any]], columns: dict[str, str]) -> list[str]:
    """The columns of scores in a table with a row for each item."""
    names = dict.fromkeys(name for record in records for name in record)
    others = {*columns, *_PROMPTS, *_TARGETS}
    return [
        name
        for name in names
        if name not in others
        and not _simple(name).startswith("unnamed:")  # pandas's name of an index
        and name
        and _are_scores([record.get(name) for record in records])
    ]


def _simple(name: str) -> str:
    return name.strip().casefold().replace(" ", "_")


def _are_scores(cells: Sequence[Any]) -> bool:
    try:
        return any(number(cell) is not None for cell in cells)
    except ValueError:
        return False


def _cell(record: dict[str, Any], column: str, name: str) -> Any:
    value = record.get(column)
    if _simple(column).endswith("_ms") and name.endswith("_s"):
        milliseconds = total([value], column)
        return milliseconds / 1000 if milliseconds is not None else None
    return value

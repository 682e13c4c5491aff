"""Logs of inspect_ai, as JSON or as an `.eval` archive: one route for each log.

Source: UKGovernmentBEIS/inspect_ai 0.3.285, log format version 2.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmstudy.evals.identity import item_hash
from llmstudy.evals.importers.files import Document
from llmstudy.evals.importers.values import (
    Answer,
    Score,
    at,
    entries,
    labels,
    objects,
    text,
    total,
)

_SIDES = {
    # usage counts cached input apart; the table counts it as input
    "input_tokens": ("input_tokens", "input_tokens_cache_read", "input_tokens_cache_write"),
    "cached_input_tokens": ("input_tokens_cache_read",),
    "output_tokens": ("output_tokens",),
    "reasoning_tokens": ("reasoning_tokens",),
    "cost_usd": ("total_cost",),
}


def fits(document: Document) -> bool:
    """Whether a document is a log of inspect_ai."""
    log = document.top
    return isinstance(at(log, "eval", "task"), str) and "model" in entries(at(log, "eval"))


def answers(documents: Sequence[Document]) -> Iterator[Answer]:
    """The answers of the logs. Items of several tasks are named by their task too."""
    tasks = {text(at(log.top, "eval", "task")) for log in documents}
    for document in documents:
        log = entries(document.top)
        evaluation = entries(log.get("eval"))
        if not objects(log.get("samples")):
            raise ValueError(
                f"{document.name}: a log without samples: write it with them, or take the .eval "
                "file of the run"
            )
        task = text(evaluation.get("task"))
        extracts = _extracting(objects(log["samples"]))
        for sample in objects(log["samples"]):
            name = text(sample.get("id"))
            columns = {
                "item_id": f"{task}/{name}" if name and len(tasks) > 1 else name,
                "route": text(evaluation.get("model")),
                "slice": task if len(tasks) > 1 else None,
                **_columns(sample, evaluation),
            }
            run = text(evaluation.get("eval_id")) or document.name
            scores = _scores(sample, evaluation, extracts)
            yield Answer(columns, scores, document.name, run)


def _columns(sample: Mapping[str, Any], evaluation: Mapping[str, Any]) -> dict[str, Any]:
    usage, grading = _usage(sample, evaluation)
    choices = sample.get("choices")
    choices = choices if isinstance(choices, list) else []
    seconds = sample.get("working_time")
    if grading:  # the judge's time is in it
        seconds = at(sample, "output", "time")
    error = sample.get("error")
    if at(sample, "invalidation") is not None:
        error = error or "invalidated"
    return {
        "item_hash": item_hash(sample.get("input"), sample.get("target"), choices),
        "served_model": text(at(sample, "output", "model")),
        "epoch": sample.get("epoch"),
        "error": text(at(error, "message") or error),
        "chance": 1 / len(choices) if len(choices) > 1 else None,
        "latency_s": seconds,
        **usage,
        **labels(sample.get("metadata")),
    }


def _usage(
    sample: Mapping[str, Any], evaluation: Mapping[str, Any]
) -> tuple[dict[str, float | None], dict[str, Any]]:
    """Tokens and cost of the evaluated model, a judge's part taken out, and the judge's usage."""
    model = text(evaluation.get("model"))
    of_model = entries(at(sample, "model_usage", str(model)))
    grading = entries(at(sample, "role_usage", "grader"))
    is_judge = at(evaluation, "model_roles", "grader", "model") == model
    usage = {}
    for name, parts in _SIDES.items():
        amount = total([of_model.get(part) for part in parts], name)
        judged = total([grading.get(part) for part in parts], name) if is_judge else None
        usage[name] = amount - judged if amount is not None and judged else amount
    return usage, grading


def _extracting(samples: Sequence[Mapping[str, Any]]) -> set[str]:
    """The scorers that note the answer that they scored, so that a missing one tells something."""
    return {
        name
        for sample in samples
        for name, score in entries(sample.get("scores")).items()
        if at(score, "answer")
    }


def _scores(
    sample: Mapping[str, Any], evaluation: Mapping[str, Any], extracts: set[str]
) -> dict[str, Score]:
    scores = {}
    for name, score in entries(sample.get("scores")).items():
        value, answer = at(score, "value"), at(score, "answer")
        judge = _judge(name, evaluation)
        extracted = None
        if name in extracts:
            extracted = answer not in (None, "") and value != "N"
        parts = value if isinstance(value, Mapping) else {"": value}
        for part, each in parts.items():
            # P is partly right here, whatever it may mean elsewhere
            each = 0.5 if each == "P" else each
            scores[f"{name}.{part}" if part else name] = Score(
                each,
                text(answer),
                extracted,
                judge=judge,
                scoring_usd=at(sample, "role_usage", "grader", "total_cost"),
            )
    return scores


def _judge(name: str, evaluation: Mapping[str, Any]) -> str | None:
    """The model behind a scorer; one of inspect_ai's asks the evaluated model where none is set."""
    options = next(
        (
            at(each, "options")
            for each in objects(evaluation.get("scorers"))
            if at(each, "name") == name
        ),
        None,
    )
    if not name.startswith("model_graded"):
        return None
    role = at(evaluation, "model_roles", "grader", "model")
    return text(at(options, "model") or role or evaluation.get("model"))

"""Outputs of promptfoo, JSON or JSON Lines.

A test's `success` is no score: a slow right answer fails on a latency assertion. The scorers are
the named metrics; without any, the mean of the assertions about the answer. Source: promptfoo
0.121.20, output version 3.
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
    sole,
    text,
    total,
)

_ERROR = 2
"""`failureReason` of a row whose provider or grader failed."""

_NOT_QUALITY = ("latency", "cost", "perplexity", "perplexity-score", "trace-span-duration")

_NAMES_THE_ANSWER = ("equals", "contains", "icontains", "similar", "factuality")
"""Assertions whose value is the right answer, not a check of it such as code."""

_ASSERTIONS = "assertions"

_JUDGED = (
    "llm-rubric",
    "g-eval",
    "factuality",
    "model-graded-closedqa",
    "model-graded-factuality",
    "answer-relevance",
    "context-faithfulness",
    "context-recall",
    "context-relevance",
    "select-best",
)


def fits(document: Document) -> bool:
    """Whether a document is an output of promptfoo."""
    row = next(iter(_rows(document)), {})
    return {"provider", "testIdx", "promptIdx"} <= row.keys()


def answers(documents: Sequence[Document]) -> Iterator[Answer]:
    """The answers, a row for each test, prompt and provider; repeats are in order."""
    for document in documents:
        rows = _rows(document)
        prompts = list(dict.fromkeys(text(row.get("promptId")) for row in rows))
        named = any(_named(row) for row in rows)
        for row in rows:
            route = text(at(row, "provider", "label") or at(row, "provider", "id"))
            route = route or text(row.get("provider"))
            if len(prompts) > 1:  # another prompt is another route to an answer
                route = f"{route}, prompt {prompts.index(text(row.get('promptId'))) + 1}"
            columns = {"route": route, **_columns(row)}
            yield Answer(columns, _scores(row, named), document.name, document.name)


def _rows(document: Document) -> list[dict[str, Any]]:
    results = at(document.top, "results")
    return objects(at(results, "results")) or objects(results) or document.records


def _columns(row: Mapping[str, Any]) -> dict[str, Any]:
    response, tokens = entries(row.get("response")), entries(row.get("tokenUsage"))
    details = entries(tokens.get("completionDetails"))
    cached = response.get("cached") is True
    failed = row.get("failureReason") == _ERROR
    columns = {
        "item_id": text(row.get("testIdx")),
        "item_hash": item_hash(sole(row.get("vars")) or at(row, "prompt", "raw"), _reference(row)),
        "error": (text(row.get("error")) or "not answered") if failed else None,
        "answer": text(response.get("output")),
        **labels(at(row, "testCase", "metadata")),
    }
    if cached or failed:  # neither time nor tokens are those of an answer
        return columns
    milliseconds = total([row.get("latencyMs")], "latencyMs")
    return columns | {
        "latency_s": milliseconds / 1000 if milliseconds is not None else None,
        "cost_usd": response.get("cost"),
        "input_tokens": tokens.get("prompt"),
        "output_tokens": tokens.get("completion"),
        # promptfoo writes 0 where a provider does not tell
        "cached_input_tokens": details.get("cacheReadInputTokens") or None,
        "reasoning_tokens": details.get("reasoning") or None,
    }


def _reference(row: Mapping[str, Any]) -> Any:
    """What is right: the answer that the only assertion about it names, else all of them."""
    checks = [
        (at(each, "type"), at(each, "value"))
        for each in objects(at(row, "testCase", "assert"))
        if at(each, "type") not in _NOT_QUALITY
    ]
    if len(checks) == 1 and checks[0][0] in _NAMES_THE_ANSWER:
        return checks[0][1]
    return checks


def _named(row: Mapping[str, Any]) -> dict[str, Any]:
    return entries(row.get("namedScores")) or entries(at(row, "gradingResult", "namedScores"))


def _scores(row: Mapping[str, Any], named: bool) -> dict[str, Score]:
    components = objects(at(row, "gradingResult", "componentResults"))
    quality = [each for each in components if at(each, "assertion", "type") not in _NOT_QUALITY]
    scores = {}
    for name, value in _named(row).items():
        own = [each for each in quality if at(each, "assertion", "metric") == name]
        scores[name] = _score(value, own)
    unnamed = [each for each in quality if not at(each, "assertion", "metric")]
    if not named or unnamed:
        own = quality if not named else unnamed
        weights = [total([at(each, "assertion", "weight")], "weight") for each in own]
        shares = [1.0 if weight is None else weight for weight in weights]
        graded = [total([each.get("score")], "score") for each in own]
        value = row.get("score") if not components else None
        if own and sum(shares) and None not in graded:
            parts = zip(graded, shares, strict=True)
            value = sum((grade or 0) * share for grade, share in parts) / sum(shares)
        scores[_ASSERTIONS] = _score(value, own)
    return scores


def _score(value: Any, components: Sequence[Mapping[str, Any]]) -> Score:
    broken = any(at(each, "metadata", "graderError") is True for each in components)
    judges = [each for each in components if at(each, "assertion", "type") in _JUDGED]
    judge = None
    if judges:
        provider = at(judges[0], "assertion", "provider")
        judge = text(at(provider, "id") or provider or at(judges[0], "assertion", "type"))
    return Score(value, error="the grader failed" if broken else None, judge=judge)

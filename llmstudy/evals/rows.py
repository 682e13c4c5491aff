"""The rows of an evaluation, from the replies on disk: each answer, its score, cost and times."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from llmstudy.evals import scorers
from llmstudy.evals.calls import Reply
from llmstudy.evals.items import hash_of
from llmstudy.evals.judges import Judge
from llmstudy.evals.plan import Plan, Task
from llmstudy.evals.replies import Replies
from llmstudy.evals.scorers import Score, Scorer, name_of
from llmstudy.evals.table import SCRIPTED
from llmstudy.probe.stream import TokenCounts


def rows_of(
    plan: Plan, replies: Replies, second_scorer: Scorer | None, run: str
) -> Iterator[dict[str, Any]]:
    """The rows of every task of which a route has a reply, in the order of the items."""
    places = {item["item_id"]: place for place, item in enumerate(plan.items)}
    for task in sorted(plan.tasks, key=lambda task: (places[task.item["item_id"]], task.epoch)):
        call = plan.call(task)
        of_route = {route.name: replies.last(call.key(route)) for route in plan.routes}
        if not any(of_route.values()):
            continue
        answers = plan.answers(replies, call)
        scores, judged = _scored(plan, replies, task, answers)
        for name, reply in of_route.items():
            row = _row(task.item, reply, scores.get(name), judged, second_scorer)
            about = {"route": name, "epoch": task.epoch, "run": run}
            yield row | about | {"scorer": name_of(plan.scorer)}


@dataclass(frozen=True)
class _Judged:
    """The judge's calls for a task: its model, cost for each answer, and whether it is scripted."""

    model: str | None = None
    usd: float | None = None
    scripted: bool = False


def _scored(
    plan: Plan, replies: Replies, task: Task, answers: Mapping[str, str]
) -> tuple[dict[str, Score], _Judged]:
    """The score of each answer, and what the judge's cost."""
    if not isinstance(plan.scorer, Judge):
        scorer = plan.scorer
        scores = {name: scorers.score(scorer, text, task.item) for name, text in answers.items()}
        return scores, _Judged()
    judge = plan.scorer
    calls = judge.calls(task.item, answers, task.epoch)
    verdicts = [replies.last(call.key(judge.route)) for call in calls]
    given = [reply for reply in verdicts if reply is not None]
    counted = bool(given) and all(reply.counted for reply in given)
    return judge.scores(answers, [reply.text if reply else None for reply in verdicts]), _Judged(
        next((reply.served_model for reply in given), None) or judge.route.endpoint.model,
        sum(reply.cost_usd for reply in given) / len(answers) if counted else None,
        any(reply.scripted for reply in given),
    )


def _row(
    item: Mapping[str, Any],
    reply: Reply | None,
    score: Score | None,
    judged: _Judged,
    second_scorer: Scorer | None,
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "item_id": item["item_id"],
        "item_hash": item.get("item_hash") or hash_of(item),
        **{name: item.get(name) for name in ("cluster", "slice", "workload")},
        "chance": scorers.chance(item),
        "score": None,
        "scored": False,
        "error": "not sent: the run was stopped",
    }
    if reply is None:
        return row
    row |= {
        "served_model": reply.served_model,
        "source": SCRIPTED if reply.scripted or judged.scripted else reply.base_url,
        "cost_usd": reply.cost_usd if reply.counted else None,
    }
    if reply.text is None or score is None:
        return row | {"error": f"{reply.error}: {reply.detail}".rstrip(": ")}
    error = None if score.scored else score.reason
    if error and reply.finish_reason == "length":
        error += "; the answer was cut at its limit of tokens"
    row |= {
        "score": score.value,
        "scored": score.scored,
        "error": error,
        "answer": score.answer if score.answer is not None else reply.text,
        "extracted": score.extracted,
        **{name: getattr(reply, name) for name in (*TokenCounts._fields, "latency_s", "ttft_s")},
        "judge": judged.model,
        "scoring_usd": judged.usd,
    }
    if second_scorer is not None:
        row["score_2"] = scorers.score(second_scorer, reply.text, item).value
    return row


def by_route(table: pd.DataFrame) -> pd.DataFrame:
    """What a run obtained of each route.

    table: as `table.conform`. Returns a row for each route, in order: route, served_model, answers
    (asked for), scored, score (the mean of those scored), not_scored_because (the reasons, the most
    frequent first), usd_per_answer, ttft_s_p50, latency_s_p50; null is what no row records.

    >>> from llmstudy.evals.table import conform
    >>> rows = conform(pd.DataFrame({"item_id": [1, 2], "route": "open", "score": [1, None]}))
    >>> by_route(rows)[["route", "answers", "scored", "score"]].to_dict("records")
    [{'route': 'open', 'answers': 2, 'scored': 1, 'score': 1.0}]
    """
    rows = [
        {
            "route": route,
            "served_model": _joined(of_route["served_model"]),
            "answers": len(of_route),
            "scored": int(of_route["scored"].sum()),
            "score": of_route["score"].mean(),
            "not_scored_because": _joined(of_route["error"]),
            "usd_per_answer": of_route["cost_usd"].mean(),
            "ttft_s_p50": of_route["ttft_s"].median(),
            "latency_s_p50": of_route["latency_s"].median(),
        }
        for route, of_route in table.groupby("route", sort=False)
    ]
    return pd.DataFrame(rows)


def _joined(texts: "pd.Series[str]") -> str | None:
    return "; ".join(map(str, texts.dropna().value_counts().index[:3])) or None

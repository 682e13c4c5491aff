"""What an evaluation sends: the calls of each item, their order, and what they can cost."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import pandas as pd

from llmstudy.evals.calls import Call
from llmstudy.evals.judges import MOST_OUTPUT_TOKENS, Judge
from llmstudy.evals.prompts import Prompt, item_messages
from llmstudy.evals.replies import Replies
from llmstudy.evals.routes import Route
from llmstudy.evals.scorers import Scorer, check_items
from llmstudy.text import listed, refuse, usd

Item = Mapping[str, Any]
Output = Literal["text", "json_object", "json_schema"]

BYTES_PER_TOKEN = 4
"""Of a prompt in English, for the estimate that is shown first; assumed. The spend cap does not
rest on it."""

_JUDGE_BYTES = 1_500
"""Of a judge's own instructions."""


@dataclass(frozen=True)
class Options:
    """How answers are obtained. Raises: ValueError for a number out of range.

    epochs: repeats of each item. concurrency: items in flight; beyond some 16 the times are
    those of a busy client, since `openai` takes 0.3 ms of CPU a chunk. output: the structure asked
    for; json_schema is that of the item's `schema`. max_retries: of one call; timeout_s: of one
    attempt. max_errors: failed calls of a route that end the run, once more than half have failed.
    """

    epochs: int = 1
    concurrency: int = 8
    max_output_tokens: int = 2048
    output: Output = "text"
    max_spend_usd: float | None = None
    timeout_s: float = 120.0
    max_retries: int = 4
    max_errors: int = 20

    def __post_init__(self) -> None:
        """Refuse a limit that would stop every call, and an unknown structure."""
        for name in ("epochs", "concurrency", "max_output_tokens", "timeout_s", "max_errors"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is {getattr(self, name)}: give a number above 0")
        if self.max_retries < 0 or (self.max_spend_usd is not None and self.max_spend_usd < 0):
            raise ValueError("max_retries and max_spend_usd must not be below 0")
        if self.output not in ("text", "json_object", "json_schema"):
            raise ValueError(f"output {self.output!r}: write text, json_object or json_schema")


def checked(items: Sequence[Item]) -> list[Item]:
    """The items, each with an id of its own. Raises: ValueError that names the first fault."""
    if not items:
        raise ValueError("no items: give at least one, with item_id and messages")
    nameless = [place for place, item in enumerate(items, 1) if item.get("item_id") in (None, "")]
    refuse(nameless, "without item_id: name it")
    items = [{**item, "item_id": str(item["item_id"])} for item in items]
    ids = pd.Series([item["item_id"] for item in items])
    refuse(ids[ids.duplicated()], "with an id that another one has: name each apart")
    for item in items:
        item_messages(item)
    return items


@dataclass(frozen=True)
class Task:
    """An item in one of its epochs."""

    item: Item
    epoch: int


class Plan:
    """What is to be sent: the calls of each task, and what they can cost."""

    def __init__(
        self,
        items: list[Item],
        routes: list[Route],
        scorer: Scorer | Judge,
        prompt: Prompt,
        options: Options,
    ) -> None:
        self.items, self.routes, self.scorer = items, routes, scorer
        self.prompt, self.options = prompt, options
        self.judge = scorer if isinstance(scorer, Judge) else None
        shuffled = sorted(items, key=lambda i: hashlib.sha256(i["item_id"].encode()).digest())
        self.tasks = [Task(i, epoch) for epoch in range(1, options.epochs + 1) for i in shuffled]

    @property
    def name(self) -> str:
        """The run's name in its rows: prompt and settings, which all its answers share."""
        settings = [self.options.max_output_tokens, self.options.output]
        return f"{self.prompt.version}-{hashlib.sha256(str(settings).encode()).hexdigest()[:4]}"

    def check(self, second_scorer: Scorer | None) -> None:
        """Raises a ValueError for what would fail, or cost without a limit."""
        names = [route.name for route in self.routes]
        if not names or len({route.name for route in self.all_routes}) < len(self.all_routes):
            raise ValueError(
                f"routes {', '.join(names) or 'are missing'}: give each a name of its own"
            )
        if self.judge is not None:
            self.judge.check(names)
        for scorer in (self.scorer, second_scorer):
            if scorer is not None and not isinstance(scorer, Judge):
                check_items(self.items, scorer)
        for item in self.items:
            self.prompt.messages(item)
            if self.options.output == "json_schema" and not item.get("schema"):
                raise ValueError(
                    f"item {item['item_id']} has no schema, which output json_schema needs: add it"
                )
        now = datetime.now(UTC)
        for route in self.all_routes:
            route.usd([1], [0], [1], now)
        billed = [route.name for route in self.all_routes if route.billed]
        if billed and self.options.max_spend_usd is None:
            raise ValueError(
                f"tokens of {listed(billed)} are billed: give --max-spend, USD at which it stops"
            )

    @property
    def all_routes(self) -> list[Route]:
        """The routes, and that of the judge."""
        judge = [] if self.judge is None or self.judge.route in self.routes else [self.judge.route]
        return [*self.routes, *judge]

    def call(self, task: Task) -> Call:
        """What every route is sent for a task."""
        kind = self.options.output
        response_format: dict[str, Any] | None = None if kind == "text" else {"type": kind}
        if kind == "json_schema":
            schema = {"name": "answer", "schema": task.item["schema"], "strict": True}
            response_format = {"type": kind, "json_schema": schema}
        messages = self.prompt.messages(task.item)
        return Call(messages, self.options.max_output_tokens, task.epoch, response_format)

    def answers(self, replies: Replies, call: Call) -> dict[str, str]:
        """The texts on disk that answer a call, by route, in the order of the routes."""
        given = {route.name: replies.get(call.key(route)) for route in self.routes}
        return {name: r.text for name, r in given.items() if r is not None and r.text is not None}

    def lacking(self, replies: Replies, call: Call) -> list[Route]:
        """The routes whose answer to a call is not on disk."""
        return [route for route in self.routes if replies.get(call.key(route)) is None]

    def judge_bytes(self, replies: Replies, task: Task, call: Call) -> list[int]:
        """Bytes of the prompts that the judge still has to be sent for a task.

        Answers that are not there yet are taken to be as long as allowed.
        """
        judge = self.judge
        if judge is None:
            return []
        if self.lacking(replies, call):
            pair = judge.against is not None
            answers = (2 if pair else 1) * call.max_output_tokens * BYTES_PER_TOKEN
            return [call.n_bytes + answers + _JUDGE_BYTES] * (2 if pair else len(self.routes))
        verdicts = judge.calls(task.item, self.answers(replies, call), task.epoch)
        return [v.n_bytes for v in verdicts if replies.get(v.key(judge.route)) is None]

    def cost_sentence(self, replies: Replies) -> str:
        """What is to be sent, and the most that it costs, by an assumed length of prompts."""
        lacking = 0
        tokens: dict[str, list[tuple[int, int]]] = {route.name: [] for route in self.all_routes}
        for task in self.tasks:
            call = self.call(task)
            for route in self.lacking(replies, call):
                lacking += 1
                tokens[route.name].append((call.n_bytes, call.max_output_tokens))
            for n_bytes in self.judge_bytes(replies, task, call):
                assert self.judge is not None
                tokens[self.judge.route.name].append((n_bytes, MOST_OUTPUT_TOKENS))
        most_usd = sum(_total_usd(route, tokens[route.name]) for route in self.all_routes)
        answers = len(self.tasks) * len(self.routes)
        stored = f" ({answers - lacking:,} are on disk)" if lacking < answers else ""
        epochs = f", {self.options.epochs} epochs" if self.options.epochs > 1 else ""
        sentence = (
            f"{_n(len(self.items), 'item')}, {_n(len(self.routes), 'route')}{epochs}: "
            f"{_n(lacking, 'answer')} to obtain{stored}. "
        )
        if not any(route.billed for route in self.all_routes):
            return sentence + "No token is billed."
        judged = ", the judge included," if self.judge else ""
        cap, spent = usd(self.options.max_spend_usd or 0.0), usd(replies.spent_usd)
        return (
            f"{sentence}What is left costs at most about {usd(most_usd)}{judged} if each answer "
            f"has {self.options.max_output_tokens:,} tokens. The run stops at {cap}, of which "
            f"{spent} is spent."
        )


def _n(n: int, what: str) -> str:
    return f"{n:,} {what}{'s'[: n != 1]}"


def _total_usd(route: Route, calls: Sequence[tuple[int, int]]) -> float:
    """Cost of calls of a route. calls: bytes of the prompt, tokens of the answer."""
    if not calls:
        return 0.0
    n_bytes, output_tokens = zip(*calls, strict=True)
    input_tokens = [n // BYTES_PER_TOKEN + 1 for n in n_bytes]
    return route.usd(input_tokens, [0] * len(calls), output_tokens, datetime.now(UTC))

"""Sends the same items to every route, and scores the answers: a table of an evaluation.

An item goes to all routes, and its answers to the judge, before the next begins on the same slot:
an evaluation that ends early has whole items, and since items are taken in the order of their
hashes, those are a fair part of all. Replies are on disk as soon as they come (`replies`), and
scores are computed from them: a killed run goes on where it ended, and a mended scorer costs
nothing.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from time import monotonic
from typing import Any

import pandas as pd

from llmstudy.evals.calls import Call, Client, Reply
from llmstudy.evals.judges import MOST_OUTPUT_TOKENS, Judge
from llmstudy.evals.plan import Item, Options, Plan, Task, checked
from llmstudy.evals.prompts import Prompt
from llmstudy.evals.replies import Replies, opened
from llmstudy.evals.routes import Route
from llmstudy.evals.rows import rows_of
from llmstudy.evals.scorers import Scorer
from llmstudy.evals.table import REPLIES, conform, save
from llmstudy.probe.load import run_beside
from llmstudy.probe.refusals import advice
from llmstudy.text import usd

_PROMPT_MARGIN = 1.2
"""On the most tokens per byte seen of a route, for the most that a further prompt can have."""

_REFUSED = ("http_401", "http_403", "http_404", "connection")
"""Failures of a route's first request that all others would share."""


@dataclass(frozen=True)
class Progress:
    """Answers of the routes: planned, finished (reused included), failed; USD spent."""

    planned: int
    finished: int
    failed: int
    spent_usd: float
    elapsed_s: float


@dataclass(frozen=True)
class Evaluation:
    """A finished evaluation.

    table: as `table.conform` returns. sent: calls sent, reused: answers that were on disk already,
    failed: calls without an answer, each with its judge's. spent_usd: by this run and those before
    it into the same file. stopped: why it ended early; None where it did not.
    """

    table: pd.DataFrame
    out: Path
    sent: int
    reused: int
    failed: int
    spent_usd: float
    stopped: str | None


def run_evaluation(
    items: Sequence[Item],
    routes: Sequence[Route],
    scorer: Scorer | Judge,
    out: Path | str,
    prompt: Prompt | None = None,
    second_scorer: Scorer | None = None,
    run: str | None = None,
    say: Callable[[str], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    **options: Any,
) -> Evaluation:
    """Sends items to every route, scores the answers and writes them as a table of an evaluation.

    items: mappings with item_id and messages (or prompt), and what the scorer reads: reference,
    choices, schema, pattern, context, citations; slice, cluster, workload and item_hash go to the
    rows. scorer: a function as in `scorers`, or a `Judge`. second_scorer: of the same answers, for
    `score_2`. out: the table, .jsonl or .parquet; replies are in NAME.replies beside it, from which
    a further run takes what it has. run: name of the run in the rows; None: the prompt's version
    and a hash of the settings. say: receives what the run will cost, before the first request.
    options: as `Options`. An interrupt (Ctrl-C) ends the run with what it has.

    Raises: ValueError for items that cannot be sent or scored, routes that bill without
    max_spend_usd, and a route whose first request is refused. OSError if a reply cannot be written.
    """
    settings, prompt, out = Options(**options), prompt or Prompt(), Path(out)
    if out.suffix not in (".jsonl", ".parquet"):
        raise ValueError(f"{out}: name it .jsonl or .parquet, the two forms of an evaluation")
    plan = Plan(checked(items), list(routes), scorer, prompt, settings)
    plan.check(second_scorer)
    with opened(out.with_suffix(REPLIES)) as replies:
        if say is not None:
            say(plan.cost_sentence(replies))
        sending = _Sending(plan, replies)
        try:
            run_beside(sending, on_progress)
        except ExceptionGroup as errors:  # of the workers: the first says it
            raise errors.exceptions[0] from errors
        rows = list(rows_of(plan, replies, second_scorer, run or plan.name))
        if not rows:
            raise ValueError(f"no item was sent: {sending.stopped}")
        table = conform(pd.DataFrame(rows))
        save(table, out)
        return Evaluation(
            table=table,
            out=out,
            sent=sending.sent,
            reused=sending.reused,
            failed=sending.failed,
            spent_usd=replies.spent_usd,
            stopped=sending.stopped,
        )


class _Sending:
    """A run in progress: its workers, its budget, and why it stops."""

    def __init__(self, plan: Plan, replies: Replies) -> None:
        self._plan, self._replies = plan, replies
        self.sent = self.reused = self.failed = 0
        self.stopped: str | None = None
        self._finished = 0
        self._started = monotonic()
        self._reserved_usd: list[float] = []
        self._settled = asyncio.Condition()
        self._coming = iter(plan.tasks)
        self._outcomes = {route.name: Counter[bool]() for route in plan.all_routes}
        self._tokens_per_byte: dict[str, float] = {}
        self._clients: dict[str, Client] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._all: asyncio.Task[Any] | None = None

    def progress(self) -> Progress:
        """How far it is."""
        planned = len(self._plan.tasks) * len(self._plan.routes)
        elapsed_s = monotonic() - self._started
        return Progress(planned, self._finished, self.failed, self._replies.spent_usd, elapsed_s)

    def interrupt(self) -> None:
        """Ends the run from another thread."""
        self.stopped = self.stopped or "interrupted"
        if self._loop is not None and self._all is not None:
            self._loop.call_soon_threadsafe(self._all.cancel)

    async def run(self) -> None:
        """Obtains what lacks, until all is there or the run stops."""
        self._loop, self._all = asyncio.get_running_loop(), asyncio.current_task()
        options = self._plan.options
        for route in self._plan.all_routes:
            self._clients[route.name] = Client(route, options.timeout_s, options.max_retries)
        try:
            await self._work(first=True)  # alone: a wrong key or address shows here
            async with asyncio.TaskGroup() as group:
                for _ in range(options.concurrency):
                    group.create_task(self._work())
        except* asyncio.CancelledError:
            self.stopped = self.stopped or "interrupted"
        finally:
            for client in self._clients.values():
                await client.close()

    async def _work(self, first: bool = False) -> None:
        """Takes tasks until none is left; the first of all until one has been sent."""
        while self.stopped is None and (task := next(self._coming, None)) is not None:
            sent = self.sent
            await self._do(task, first)
            if first and self.sent > sent:
                return

    async def _do(self, task: Task, first: bool) -> None:
        """Obtains the answers to a task and their verdicts, unless they could pass the cap."""
        call = self._plan.call(task)
        most_usd = self._most_usd(task, call)
        if not await self._reserve(most_usd):
            return
        try:
            for route in self._plan.routes:
                await self._obtain(route, call, first)
                self._finished += 1
            if judge := self._plan.judge:
                answers = self._plan.answers(self._replies, call)
                for verdict in judge.calls(task.item, answers, task.epoch):
                    await self._obtain(judge.route, verdict, first)
        finally:
            async with self._settled:
                self._reserved_usd.remove(most_usd)
                self._settled.notify_all()

    async def _reserve(self, most_usd: float) -> bool:
        """Reserves the most that a task can cost; False, and the end, where the cap has no room.

        Where it could have room once the tasks in flight have cost less than they might, it waits.
        """
        cap_usd = self._plan.options.max_spend_usd
        if cap_usd is None:
            cap_usd = inf

        def room() -> bool:
            return self._replies.spent_usd + sum(self._reserved_usd) + most_usd <= cap_usd

        async with self._settled:
            await self._settled.wait_for(
                lambda: room() or not most_usd or not any(self._reserved_usd) or self.stopped
            )
            if self.stopped is not None:
                return False
            if most_usd and not room():
                self.stopped = (
                    f"another item could pass the spend cap of {usd(cap_usd)}: it may cost "
                    f"{usd(most_usd)}, and {usd(self._replies.spent_usd)} is spent"
                )
                self._settled.notify_all()
                return False
            self._reserved_usd.append(most_usd)
        return True

    async def _obtain(self, route: Route, call: Call, first: bool) -> None:
        """The reply to a call, on disk."""
        if self._replies.get(call.key(route)) is not None:
            self.reused += 1
            return
        self.sent += 1
        client, most_usd, at = self._clients[route.name], self._call_usd(route, call), _now()
        try:
            reply = await client.send(call, most_usd)
        except asyncio.CancelledError:
            # it may be billed in full
            self._replies.add(client.failed(call, at, "interrupted", cost_usd=most_usd))
            raise
        await asyncio.to_thread(self._replies.add, reply)
        if reply.input_tokens is not None:
            ratio = reply.input_tokens / call.n_bytes
            seen = self._tokens_per_byte.get(route.name, 0.0)
            self._tokens_per_byte[route.name] = max(ratio, seen)
        self._count(route, reply, first)

    def _count(self, route: Route, reply: Reply, first: bool) -> None:
        """Ends a run whose route answers nothing. Raises: ValueError on its first request."""
        outcomes = self._outcomes[route.name]
        outcomes[reply.error is None] += 1
        if reply.error is None:
            return
        self.failed += 1
        endpoint = route.endpoint
        if first and reply.error in _REFUSED:
            mend = advice(endpoint, reply.error, reply.detail)
            raise ValueError(
                f"{route.name}: {endpoint.host} did not answer model {endpoint.model!r} "
                f"({reply.error}: {reply.detail}). {mend}."
            )
        if outcomes[False] > self._plan.options.max_errors and outcomes[False] > outcomes[True]:
            self.stopped = self.stopped or (
                f"{outcomes[False]} of {outcomes.total()} calls of {route.name} failed (last: "
                f"{reply.error}: {reply.detail})"
            )

    def _most_usd(self, task: Task, call: Call) -> float:
        """The most that a task can still cost: each answer as long as allowed."""
        lacking = self._plan.lacking(self._replies, call)
        most_usd = sum(self._call_usd(route, call) for route in lacking)
        if judge := self._plan.judge:
            n_bytes = self._plan.judge_bytes(self._replies, task, call)
            most_usd += sum(self._usd(judge.route, n, MOST_OUTPUT_TOKENS) for n in n_bytes)
        return most_usd

    def _call_usd(self, route: Route, call: Call) -> float:
        return self._usd(route, call.n_bytes, call.max_output_tokens)

    def _usd(self, route: Route, n_bytes: int, output_tokens: int) -> float:
        """The most that a prompt of so many bytes can cost, by the tokens per byte seen so far."""
        ratio = min(1.0, _PROMPT_MARGIN * self._tokens_per_byte.get(route.name, 1.0))
        return route.usd([int(n_bytes * ratio) + 1], [0], [output_tokens], _now())


def _now() -> datetime:
    return datetime.now(UTC)

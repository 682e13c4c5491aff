"""Sends a plan's requests to an endpoint on schedule, and records a sample of each.

Open loop: every request goes out at its scheduled time, whether earlier ones are answered or not.
Closed loop: a fixed number of users, each sending its next request when its last is answered. A
delay in the client (a cap, a rate limit) counts as latency.
"""

import asyncio
import gc
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import isnan
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, Protocol, TypeVar

import numpy as np

from llmstudy import __version__, io
from llmstudy.probe import run
from llmstudy.probe.call import call
from llmstudy.probe.connection import Connections
from llmstudy.probe.endpoint import Endpoint, Request
from llmstudy.probe.options import Limits
from llmstudy.probe.prompts import CHECK_WORDS, Plan, TokensPerWord
from llmstudy.probe.refusals import advice
from llmstudy.probe.run import Run, Sample, table
from llmstudy.probe.spend import FREE, Budget, TokenPrice, estimated_usd
from llmstudy.probe.stream import NOT_STREAMED

if sys.platform == "win32":  # uvloop is not made for it
    from asyncio import new_event_loop
else:
    from uvloop import new_event_loop

_P = TypeVar("_P", covariant=True)

_TICK_S = 0.02
"""Between two measurements of the event loop's lateness."""

_PROGRESS_EVERY_S = 0.5

_AHEAD = 64
"""Requests of an open loop that are built before their time."""

_MAX_OPENING = 32

_RECENT = 1_000
"""Latest requests whose latency progress reports: more would take time from the measurement."""


@dataclass(frozen=True)
class Progress:
    """The progress of a run: rates since its start, latencies of its latest requests, spend."""

    planned: int
    sent: int
    finished: int
    failed: int
    elapsed_s: float
    scheduled_per_s: float | None
    realised_per_s: float
    ttft_p50_s: float | None
    ttft_p95_s: float | None
    spent_usd: float


def run_load(
    endpoint: Endpoint,
    plan: Plan,
    facts: dict[str, Any],
    limits: Limits | None = None,
    workers: int | None = None,
    price: TokenPrice = FREE,
    folder: Path | None = None,
    resume: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> Run:
    """Sends the plan and returns the run; with a folder, each finished request is on disk at once.

    facts: `load`, `lengths` and `serving` as in `probe.run`; the rest is added here. workers: users
    of a closed loop; None for an open loop, whose requests have scheduled times. resume: send only
    the unfinished requests of a killed run's folder. on_progress: receives a `Progress` about twice
    a second. Requests are sent from a separate thread, so that this works inside a notebook. An
    interrupt (Ctrl-C) ends the run with the requests finished by then.

    Raises: ValueError if the folder holds a run already, or another plan's; if a plan without
    scheduled times is to be sent without workers, or one with them by workers; if the spend is
    capped without a price, or with answers of any length. OSError if a sample cannot be written:
    the run ends there.
    """
    limits = limits or Limits(max_errors=None)
    _check(endpoint, plan, limits, workers, price)
    facts = {"endpoint": endpoint.facts, **facts}
    before, finished = begun(folder, plan, facts) if resume and folder is not None else ({}, [])
    if before.get("ended") == "complete":
        return Run(table(finished), before)
    spent_usd = sum(sample.cost_usd or 0.0 for sample in finished)
    spent_usd = max(spent_usd, (before.get("spend") or {}).get("spent_usd") or 0.0)
    connection = facts.get("connection") or {}
    check_tokens = (connection.get(f"{side}_tokens") or 0 for side in ("input", "output"))
    spent_usd += price.usd(next(check_tokens), 0, next(check_tokens))
    budget = Budget(price, limits.max_spend_usd, spent_usd)
    facts = {
        "schema_version": "1",
        "tool": {"name": "llmstudy", "version": __version__},
        "started_at": before.get("started_at") or datetime.now(UTC).isoformat(timespec="seconds"),
        "ended": "running",
        **facts,
        "resumed": bool(finished),
    }
    spend = {"estimated_usd": estimated_usd(plan, price), "cap_usd": limits.max_spend_usd}
    with run.recording(folder, facts, resume) if folder else nullcontext() as append:
        sending = _Sending(endpoint, plan, limits, workers, budget, finished, append)
        try:
            run_beside(sending, on_progress)
        except BaseException as error:
            sending.ended = f"stopped: {error or type(error).__name__}"
            raise
        finally:
            facts["ended"] = sending.ended
            facts["client"] = sending.client()
            facts["spend"] = {**spend, "spent_usd": budget.spent_usd}
            if folder:
                run.restate(folder, facts)
    return Run(table(sending.samples), facts)


def _check(
    endpoint: Endpoint, plan: Plan, limits: Limits, workers: int | None, price: TokenPrice
) -> None:
    """Refuse a load whose plan, workers, limits and price contradict each other."""
    timed = plan.schedule["scheduled_s"].notna()
    if workers is None and not timed.all():
        raise ValueError("the plan has no scheduled times: give the number of workers")
    if workers is not None and (workers < 1 or timed.any()):
        raise ValueError(
            f"{workers} workers: give a closed loop at least one, and a plan without times"
        )
    if limits.max_spend_usd is None:
        return
    if price == FREE:
        raise ValueError(
            "the spend is capped but tokens have no price: give --price, or leave out --max-spend"
        )
    if endpoint.token_limit is None:
        raise ValueError(
            "the spend is capped but no field is left that limits an answer: drop max_tokens or "
            "max_completion_tokens, not both"
        )
    if plan.schedule["output_tokens"].isna().any():
        raise ValueError(
            "the spend is capped but answers have no limit: give output_tokens, their most tokens"
        )


def calibrate(
    endpoint: Endpoint, plan: Plan, timeout_s: float = 120.0
) -> tuple[Plan, dict[str, Any]]:
    """Scales the plan's prompts to the endpoint's tokenizer, by two short requests.

    One has a prompt of few words, the other of many: the difference gives the tokens per word.
    Their answers are limited to the median of the plan's limits, and read to their ends. A refused
    key, an unknown model, a missing server or a failing stream shows here, before the load.

    Returns: the plan, and facts: dns_s, tcp_s, tls_s, served_model, fingerprint, input_tokens and
    output_tokens (of both together), `streamed` (whether the answers came as streams).
    Raises: ValueError with the server's message, and how to fix it.
    """
    input_tokens = []
    facts: dict[str, Any] = {"streamed": True}
    for number, words in enumerate(CHECK_WORDS):
        prompt = replace(plan, tokens_per_word=TokensPerWord()).prompt(-1 - number, words, None)
        request = Request(number, "warmup", prompt, words, plan.usual_limit)
        sample, detail = _run_one(endpoint, request, timeout_s)
        if not sample.ok:
            what = f"{sample.error}: {detail}".rstrip(": ")
            mend = advice(endpoint, sample.error or "", detail)
            raise ValueError(
                f"{endpoint.host} did not answer model {endpoint.model!r} ({what}). {mend}."
            )
        input_tokens.append(sample.input_tokens)
        facts["streamed"] &= detail != NOT_STREAMED
        for name in ("dns_s", "tcp_s", "tls_s", "served_model", "fingerprint"):
            facts[name] = facts.get(name) or getattr(sample, name)
        for name in ("input_tokens", "output_tokens"):
            facts[name] = facts.get(name, 0) + (getattr(sample, name) or 0)
    few, many = input_tokens
    if plan.vocabulary is None and few and many and many > few:
        per_word = (many - few) / (CHECK_WORDS[1] - CHECK_WORDS[0])
        scale = TokensPerWord(per_word, few - per_word * CHECK_WORDS[0])
        return replace(plan, tokens_per_word=scale), facts
    return plan, facts


def _run_one(endpoint: Endpoint, request: Request, timeout_s: float) -> tuple[Sample, str]:
    async def once() -> tuple[Sample, str]:
        connections = Connections(endpoint.base_url)
        message = endpoint.message(request)
        try:
            return await call(endpoint, request, message, connections, perf_counter(), timeout_s)
        finally:
            connections.close()

    outcome: Future[tuple[Sample, str]] = Future()
    _thread(once, outcome).join()
    return outcome.result()


def _thread(work: Callable[[], Any], outcome: Future[Any]) -> threading.Thread:
    """Runs a coroutine function in a thread and event loop of its own."""

    def body() -> None:
        try:
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                outcome.set_result(runner.run(work()))
        except BaseException as error:
            outcome.set_exception(error)

    # daemon: a second Ctrl-C ends the process without waiting for answers
    thread = threading.Thread(target=body, name="llmstudy-probe", daemon=True)
    thread.start()
    return thread


class Sending(Protocol[_P]):
    """Requests under way, which say how far they are and can be interrupted."""

    async def run(self) -> None:
        """Sends all of them."""

    def progress(self) -> _P:
        """How far they are."""

    def interrupt(self) -> None:
        """Ends the run from another thread; what has come is kept."""


def run_beside(sending: Sending[_P], on_progress: Callable[[_P], None] | None) -> None:
    """Runs to the end, reporting progress; an interrupt ends the run but keeps its record.

    It does so in a thread and an event loop of its own, so that it works inside a notebook too.
    """
    outcome: Future[None] = Future()
    thread = _thread(sending.run, outcome)
    try:
        while not outcome.done():
            thread.join(_PROGRESS_EVERY_S)
            if on_progress is not None:
                on_progress(sending.progress())
    except KeyboardInterrupt:
        sending.interrupt()
    except BaseException:
        sending.interrupt()  # `on_progress` has failed: let nothing run on unnoticed
        thread.join()
        raise
    thread.join()
    outcome.result()


def begun(folder: Path, plan: Plan, facts: dict[str, Any]) -> tuple[dict[str, Any], list[Sample]]:
    """Facts and samples of a run that is to be resumed, empty where there is no run yet.

    facts: endpoint, load and lengths of the run to be sent.
    Raises: ValueError if the folder holds the run of another plan.
    """
    if not (folder / run.FACTS).exists():
        return {}, []
    before, samples = run.read_samples(folder)
    changed = [
        name
        for name in ("endpoint", "load", "lengths")
        if before.get(name) != io.plain(facts.get(name))  # rounded as it was written
    ]
    columns = ("index", "input_tokens", "scheduled_s")
    planned = {
        index: (tokens, at)
        for index, tokens, at in zip(*(plan.schedule[c].tolist() for c in columns), strict=True)
    }
    for sample in samples:
        tokens, at = planned.get(sample.index, (None, 0.0))
        if sample.asked_input_tokens != tokens or not (isnan(at) or sample.scheduled_s == at):
            changed.append("plan")
            break
    if changed:
        raise ValueError(
            f"{folder} holds a run with another {' and '.join(changed)}: resume it with the "
            "settings that it began with, seed included"
        )
    return before, samples


class _Sending:
    """A run in progress: sends its requests, collects the samples, stops at its limits."""

    def __init__(
        self,
        endpoint: Endpoint,
        plan: Plan,
        limits: Limits,
        workers: int | None,
        budget: Budget,
        finished: list[Sample],
        append: Callable[[Sample], None] | None,
    ) -> None:
        self.samples = list(finished)
        self.ended = "complete"
        self._endpoint, self._plan, self._limits = endpoint, plan, limits
        self._workers, self._budget, self._append = workers, budget, append
        self._connections = Connections(endpoint.base_url)
        self._start = perf_counter()
        self._n_sent, self._n_failed = len(finished), 0
        self._first_failure = ""
        self._next_turn = 0.0
        self._coming: Iterator[Request] = iter(())
        self._ready: deque[tuple[Request, bytes]] = deque()
        self._line = asyncio.Lock()
        self._stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._all: asyncio.Task[Any] | None = None
        self._lags_s: list[float] = []
        self._wall_s = self._cpu_s = 0.0

    # ---- sending -----------------------------------------------------------------------------

    async def run(self) -> None:
        """Sends all requests and waits for their answers."""
        self._all = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        cap = self._limits.max_concurrency
        self._gate = asyncio.Semaphore(cap) if cap else nullcontext()
        finished = frozenset(sample.index for sample in self.samples)
        self._coming = self._plan.requests(finished)
        self._get_ready(self._workers or _AHEAD)
        if self._workers:
            await self._connect(self._workers)
        gc.collect()
        gc.freeze()  # the collector skips these objects while the clock runs
        beside = [asyncio.create_task(self._watch_lateness())]
        beside.append(asyncio.create_task(self._stay_ready(self._workers or _AHEAD)))
        began, cpu_s = perf_counter(), process_time()
        # a resumed run continues where it stopped, not where it would be by now
        self._start = began - max((sample.done_s or 0.0 for sample in self.samples), default=0.0)
        try:
            async with asyncio.TaskGroup() as tasks:
                if self._workers:
                    for _ in range(self._workers):
                        tasks.create_task(self._user())
                else:
                    await self._open_loop(tasks)
        except asyncio.CancelledError:
            if not self._stopping:
                raise
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        finally:
            self._wall_s, self._cpu_s = perf_counter() - began, process_time() - cpu_s
            for task in beside:
                task.cancel()
            gc.unfreeze()
            self._connections.close()

    async def _open_loop(self, tasks: asyncio.TaskGroup) -> None:
        is_first = True
        while coming := self._next():
            request, message = coming
            scheduled_s = request.scheduled_s or 0.0
            if is_first:
                self._start = perf_counter() - (scheduled_s if self.samples else 0.0)
                is_first = False
            await self._wait_until(self._start + scheduled_s)
            if self._stopping:
                break
            tasks.create_task(self._send(request, message))

    async def _user(self) -> None:
        while not self._stopping and (coming := self._next()):
            await self._send(*coming)

    # ---- before the clock runs, and between requests ------------------------------------------

    def _get_ready(self, ahead: int) -> bool:
        """Builds the next requests, up to `ahead`. False when there are no more."""
        while len(self._ready) < ahead:
            if (request := next(self._coming, None)) is None:
                return False
            self._ready.append((request, self._endpoint.message(request)))
        return True

    async def _stay_ready(self, ahead: int) -> None:
        """Builds one request at a time while answers come in, so that none is sent late for it."""
        while self._get_ready(min(len(self._ready) + 1, ahead)):
            await asyncio.sleep(_TICK_S if len(self._ready) >= ahead else 0)

    def _next(self) -> tuple[Request, bytes] | None:
        """The next request, built now if need be; None when there is no more."""
        self._get_ready(1)
        return self._ready.popleft() if self._ready else None

    async def _connect(self, workers: int) -> None:
        """Opens the users' connections in small batches: all at once would queue for our thread.

        The time of opening one is a fact of the run (`connection`), measured alone.
        """
        for begin in range(0, workers, _MAX_OPENING):
            batch = range(begin, min(begin + _MAX_OPENING, workers))
            openings = [self._connections.open() for _ in batch]
            for opening in await asyncio.gather(*openings, return_exceptions=True):
                if isinstance(opening, tuple):  # one that fails is tried again by its user
                    self._connections.give_back(opening[0])

    async def _send(self, request: Request, message: bytes) -> None:
        async with self._gate:
            await self._take_turn(request)
            if not self._stopping and not self._budget.reserve(request):
                self._stop(run.AT_SPEND_CAP)
            if self._stopping:
                return
            self._n_sent += 1
            try:
                sample, detail = await call(
                    self._endpoint,
                    request,
                    message,
                    self._connections,
                    self._start,
                    self._limits.timeout_s,
                    self._limits.max_retries,
                )
            except BaseException:
                self._budget.forfeit(request)
                raise
        self._budget.settle(request, sample)
        self.samples.append(sample)
        if self._append is not None:
            self._append(sample)
        if not sample.ok:
            self._n_failed += 1
            self._first_failure = self._first_failure or f"{sample.error}: {detail}".rstrip(": ")
            cap, finished = self._limits.max_errors, len(self.samples)
            if cap and self._n_failed >= cap and 2 * self._n_failed > finished:
                self._stop(f"stopped: {self._n_failed} of {finished} requests failed")

    # ---- holding back and stopping -----------------------------------------------------------

    async def _take_turn(self, request: Request) -> None:
        """Spaces requests out to the provider's limits; one waits, the others behind it."""
        minutes = 0.0
        if self._limits.requests_per_min:
            minutes = 1 / self._limits.requests_per_min
        if self._limits.tokens_per_min:
            tokens = (request.input_tokens or 0) + (request.output_tokens or 0)
            minutes = max(minutes, tokens / self._limits.tokens_per_min)
        if minutes:
            async with self._line:
                turn = max(self._next_turn, perf_counter())
                self._next_turn = turn + 60 * minutes
                await self._wait_until(turn)

    async def _wait_until(self, moment: float) -> None:
        """Waits until a moment, or until the run is stopping."""
        while (left_s := moment - perf_counter()) > 0 and not self._stopping:
            await asyncio.sleep(min(left_s, _PROGRESS_EVERY_S))

    def _stop(self, why: str) -> None:
        """Sends no more; requests in flight are awaited."""
        if not self._stopping:
            self._stopping, self.ended = True, why

    def interrupt(self) -> None:
        """Ends the run from another thread without awaiting requests in flight."""
        self._stop("stopped: interrupted")
        if self._loop is not None and self._all is not None:
            with suppress(RuntimeError):  # the loop has ended meanwhile
                self._loop.call_soon_threadsafe(self._all.cancel)

    # ---- progress ----------------------------------------------------------------------------

    async def _watch_lateness(self) -> None:
        """Records the lateness of the event loop at a timer: a late loop is a busy one."""
        while True:
            wake_s = perf_counter() + _TICK_S
            await asyncio.sleep(_TICK_S)
            self._lags_s.append(max(perf_counter() - wake_s, 0.0))

    def client(self) -> dict[str, Any]:
        """Facts of the client."""
        lags_s = np.array(self._lags_s or [0.0])
        return {
            "wall_s": self._wall_s,
            "cpu_share": self._cpu_s / max(self._wall_s, 1e-9),
            "loop_lag_p50_s": float(np.quantile(lags_s, 0.50)),
            "loop_lag_p99_s": float(np.quantile(lags_s, 0.99)),
            "loop_lag_max_s": float(lags_s.max()),
            "first_failure": self._first_failure[:200] or None,
        }

    def progress(self) -> Progress:
        """The run's progress; called from another thread."""
        elapsed_s = max(perf_counter() - self._start, 1e-9)
        ttft_s = [
            sample.content_times_s[0] - sample.scheduled_s if sample.ok else np.inf
            for sample in self.samples[-_RECENT:]
            if sample.phase == "measure"
        ]
        p50, p95 = (
            np.quantile(ttft_s, [0.50, 0.95], method="inverted_cdf") if ttft_s else (None, None)
        )
        n_due = int((self._plan.schedule["scheduled_s"] <= elapsed_s).sum())
        return Progress(
            planned=len(self._plan.schedule),
            sent=self._n_sent,
            finished=len(self.samples),
            failed=self._n_failed,
            elapsed_s=elapsed_s,
            scheduled_per_s=None if self._workers else n_due / elapsed_s,
            realised_per_s=self._n_sent / elapsed_s,
            ttft_p50_s=p50,
            ttft_p95_s=p95,
            spent_usd=self._budget.spent_usd,
        )

"""Sends one request to an endpoint, its retries included, and times it."""

import asyncio
import random
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from math import isfinite
from time import perf_counter, time
from typing import Any

from llmstudy.probe.connection import Connections, Opening
from llmstudy.probe.endpoint import Endpoint, Request
from llmstudy.probe.run import Sample
from llmstudy.probe.stream import Answer

# With 500 and above, as the OpenAI client decides it: the request may succeed if sent again.
RETRIED_STATUS = {408, 409, 429}

_DETAIL_CHARACTERS = 300
"""Length to which a server's error message is cut."""

_OF_ANSWER = (
    *("content_tokens", "error", "finish_reason", "served_model", "fingerprint"),
    *("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens"),
)
"""Attributes of an answer that its sample repeats."""

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 8.0

_DURATION = (
    r"(\d+(?:\.\d+)?)\s*(ms|milli[a-z]*|s|secs?|seconds?|m|mins?|minutes?|h|hours?)(?![a-z])"
)
_UNIT_S = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}

_WAIT = re.compile(
    r"(?:try again|retry[_-]?(?:after|delay|in)|retry|wait)(?P<ms>_ms)?\W*(?:in|after|for)?\W*"
    rf"(?P<wait>(?:{_DURATION}\W*)+|\d+(?:\.\d+)?)",
    re.I,
)
"""The wait in a server's message: "Please try again in 1m3.5s", "retry after 13 seconds",
`"retryDelay": "34s"`, `"retry_after": 20`."""


async def call(
    endpoint: Endpoint,
    request: Request,
    message: bytes,
    connections: Connections,
    start: float,
    timeout_s: float = 600.0,
    max_retries: int = 2,
) -> tuple[Sample, str]:
    """Sends one request now, and again where the server allows it; never raises for a failure.

    message: `endpoint.message(request)`, built before so that its cost is not measured. start:
    perf_counter at the run's start. A retry waits for the time in Retry-After, else 0.5 s doubling
    to 8 s with jitter; users wait too, so it all counts. Once content has come nothing is sent
    again. timeout_s: of the logical request, its retries included.

    Returns: the sample, and the server's message of a failure, to show and not to store.
    """
    dispatched = perf_counter()
    deadline = dispatched + timeout_s
    opening, waited_s = None, 0.0
    for attempt in range(1, max_retries + 2):
        answer, opened = await _attempt(message, connections, deadline)
        opening = opening or opened
        if attempt > max_retries or not _may_retry(answer):
            break
        wait_s = retry_wait_s(answer.headers, attempt, answer.detail)
        if perf_counter() + wait_s >= deadline:
            break
        await asyncio.sleep(wait_s)
        waited_s += wait_s
    sample = _sample(request, answer, start, dispatched - start, opening)
    sample.attempts, sample.retry_wait_s = attempt, waited_s
    # cut last: half a key would not be redacted
    return sample, endpoint.redacted(answer.detail)[:_DETAIL_CHARACTERS]


async def _attempt(
    message: bytes, connections: Connections, deadline: float
) -> tuple[Answer, Opening | None]:
    answer, opened, connection = Answer(), None, None
    limit = asyncio.timeout(deadline - perf_counter())
    try:
        async with limit:
            connection, opened = await connections.take()
            try:
                await connection.send(message, answer)
            except ConnectionError:
                if opened is not None or answer.headers_at is not None:
                    raise
                # the server has just closed an idle connection: that is no failure
                connections.give_back(connection)
                connection, opened = await connections.open()
                await connection.send(message, answer)
        answer.end(perf_counter())
    except OSError as error:
        kind = "connection" if answer.headers_at is None else "cut"
        what = str(error) or ("the connection did not open" if connection is None else "")
        answer.fail("timeout" if limit.expired() else kind, perf_counter(), what)
    finally:
        if connection is not None:
            connections.give_back(connection)
    return answer, opened


def _may_retry(answer: Answer) -> bool:
    if answer.error is None or answer.content_at or answer.reasoning_at is not None:
        return False
    if answer.headers.get("x-should-retry") in ("true", "false"):
        return answer.headers["x-should-retry"] == "true"
    status = answer.status or 0
    return answer.error == "connection" or status in RETRIED_STATUS or status >= 500


def retry_wait_s(headers: Mapping[str, str], attempt: int, detail: str = "") -> float:
    """Seconds until the next attempt: from a header, else from the message, else our back-off.

    Source: RFC 9110, section 10.2.3, for Retry-After.
    """
    for name, unit_s in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        if (wait_s := _seconds(headers.get(name, ""), unit_s)) is not None:
            return wait_s
    try:
        until = parsedate_to_datetime(headers["retry-after"]).timestamp()
    except (KeyError, ValueError, OverflowError):
        pass
    else:
        try:  # the server's clock may be another than ours
            now = parsedate_to_datetime(headers["date"]).timestamp()
        except (KeyError, ValueError, OverflowError):
            now = time()
        return max(0.0, until - now)
    if words := _WAIT.search(detail):
        wait_s = _seconds(words["wait"], 1e-3 if words["ms"] else 1.0)
        if wait_s is not None:
            return wait_s
    longest = min(_FIRST_WAIT_S * 2.0 ** (attempt - 1), _LONGEST_WAIT_S)
    return longest * random.uniform(0.75, 1.0)  # so that many clients do not return at once


def _seconds(text: str, unit_s: float) -> float | None:
    """A duration as a number in a unit, or as 1m3.5s; None if it is neither.

    >>> _seconds("20", 1.0), _seconds("1m3.5s", 1.0), _seconds("150 ms", 1.0), _seconds("soon", 1.0)
    (20.0, 63.5, 0.15, None)
    """
    try:
        return max(0.0, float(text) * unit_s)  # 0 first: what is no number waits 0
    except ValueError:
        parts = re.findall(_DURATION, text, re.I)
    if not parts:
        return None
    units_s = (
        _UNIT_S["ms" if u.lower().startswith(("ms", "mil")) else u[0].lower()] for _, u in parts
    )
    return sum(float(n) * unit for (n, _), unit in zip(parts, units_s, strict=True))


def _sample(
    request: Request, answer: Answer, start: float, dispatched_s: float, opening: Opening | None
) -> Sample:
    """The row of one request, its times moved to the run's start."""

    def since(at: float | None) -> float | None:
        return None if at is None else at - start

    scheduled = dispatched_s if request.scheduled_s is None else request.scheduled_s
    queue, prefill = _server_times_s(answer)
    processing = answer.headers.get("openai-processing-ms")
    return Sample(
        index=request.index,
        phase=request.phase,
        scheduled_s=scheduled,
        dispatched_s=dispatched_s,
        headers_s=since(answer.headers_at),
        first_reasoning_s=since(answer.reasoning_at),
        content_times_s=[at - start for at in answer.content_at],
        done_s=since(answer.ended_at),
        ok=answer.error is None,
        http_status=answer.status,
        asked_input_tokens=request.input_tokens,
        asked_output_tokens=request.output_tokens,
        server_queue_s=queue,
        server_prefill_s=prefill,
        server_processing_s=_number(processing, 1e-3),
        prefix_group=request.prefix_group,
        **{name: getattr(answer, name) for name in _OF_ANSWER},
        **(vars(opening) if opening else {}),
    )


def _server_times_s(answer: Answer) -> tuple[float | None, float | None]:
    """Queue and prefill as the server reports them: vLLM in ms, Groq in s.

    vLLM counts its time to the first token from scheduling: the queue is not in it.
    """
    if answer.metrics:
        names = ("queue_time_ms", "time_to_first_token_ms")
        queue, prefill = (_number(answer.metrics.get(name), 1e-3) for name in names)
        return queue, prefill
    queue, prefill = (_number(answer.groq.get(name), 1.0) for name in ("queue_time", "prompt_time"))
    return queue, prefill


def _number(value: Any, unit: float) -> float | None:
    """A number that a server sent, or None if it is none."""
    try:
        number = float(value) * unit
    except (TypeError, ValueError):
        return None
    return number if isfinite(number) else None

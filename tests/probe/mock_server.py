"""What exactly did the server send, and when? A streaming server of known truth.

Speaks the OpenAI protocol over HTTP/1.1 (keep-alive, chunked, TCP_NODELAY), invents its answers on
a timetable, and keeps the moment of every chunk it sends, so that a client's times can be compared
with what happened. Each request chooses its behaviour in its body, under `"mock": {...}` with the
keys of `Script`; the command line sets the same keys for all (`--ttft-ms 50 --role-chunk-first
false`). In a test:

    with running(itl_ms=5, max_concurrent=8) as mock:
        ...                      # POST to mock.base_url + "/chat/completions"
        mock.truth()             # one row per finished request: see `new_record`

By hand: `python mock_server.py --port 0 --truth truth.jsonl` prints {"port": N} and stops on
SIGTERM. Times are `time.perf_counter()`, which on Linux is one clock for all processes.

It is built to be cheap per chunk: one thread, bytes made once per request, one heap of what is due
next instead of a task per stream, and a selector that sleeps to the microsecond. (asyncio's own,
and uvloop's timers, sleep whole milliseconds: that would be the server's lag. uvloop saves nothing
here: what costs is the kernel's share of a write.)
"""

import argparse
import asyncio
import ctypes
import gc
import json
import os
import select
import selectors
import signal
import socket
import subprocess
import sys
import urllib.request
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from heapq import heappop, heappush
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

WORD = " wörd"  # one token of text; not ASCII, so that a split may fall inside a character
BATCH_S = 0.00025  # least time between two awakenings: one costs more than a write
SPLIT_S = 0.002  # between the two writes of a split event
COMMENT = b": keep-alive\n\n"


@dataclass(frozen=True)
class Script:
    """How one request is answered. Times count from the moment it leaves the queue.

    Tokens are counted from 1: `at_token` 3 is the chunk that holds the third answer token. What is
    said of chunks and faults within the answer is for streams.
    """

    ttft_ms: float = 50.0
    """To the first token, of reasoning where there is any; never before the status line."""
    itl_ms: float = 20.0
    """Between chunks, whatever they hold."""
    tokens: int | None = None
    """Answer tokens; None: max_completion_tokens or max_tokens, less the reasoning, else 16."""
    tokens_per_chunk: int = 1
    role_chunk_first: bool = True
    """Chat only: a chunk with the role and empty content comes before everything else..."""
    role_to_content_ms: float = 0.0
    """...this long before the first token. Always a write of its own."""
    empty_chunks: int = 0
    """Chunks with empty text, spread over the answer, half a gap before the chunk they precede."""
    reasoning_tokens: int = 0
    """Chat only. They come before the answer and count in completion_tokens."""
    reasoning_itl_ms: float | None = None
    """Between reasoning chunks; None: itl_ms. The first answer chunk comes itl_ms after."""
    reasoning_key: str = "reasoning_content"
    """Or `reasoning`, as newer servers call it."""
    token_ids: bool = False
    """A server with no tokenizer: the text is empty. Ids come with return_token_ids, always."""
    usage_chunk: bool = True
    """False: no usage, even where stream_options.include_usage asks for it."""
    cached_input_tokens: int | None = None
    done: bool = True
    """False: the stream ends with no [DONE]."""
    comments: bool = False
    """A `: keep-alive` line after the headers, and in front of each token's event."""
    crlf: bool = False
    split_bytes: int | None = None
    """Each token's chunk goes out in two writes, cut after so many bytes of the SSE event, the
    first 2 ms early; it counts as sent at the second."""
    slow_headers_ms: float = 0.0
    stall: dict[str, Any] | None = None
    """{at_token, ms}: that token and all after it come so much later."""
    cut: dict[str, Any] | None = None
    """{after_token}: the connection is closed when so many answer tokens have been sent."""
    malformed: dict[str, Any] | None = None
    """{at_token}: its chunk is a line of broken JSON; the stream goes on."""
    error_event: dict[str, Any] | None = None
    """{at_token}: instead of it `data: {"error": ...}` and [DONE], as vLLM does."""
    status: int = 200
    """Other than 200: an error of that status (429, 500, ...), with no wait in the queue..."""
    fail_attempts: int | None = None
    """...for the first so many attempts of a request id; None: for all."""
    retry_after_s: float | None = None
    id: str | None = None
    """The request's id; the header x-request-id does the same."""
    model: str | None = None
    """The model that answers; None: the one asked for."""
    system_fingerprint: str | None = None
    request_metrics: bool = False
    """vLLM's `metrics` on the usage chunk (--enable-per-request-metrics)."""
    provider_headers: bool = False
    """openai-processing-ms (queue and ttft) and x-ratelimit-remaining-requests."""
    x_groq: bool = False
    """Groq's timings on the last chunk: x_groq.usage.{queue,prompt,completion,total}_time."""
    preemptions: int = 0
    """How much this request adds to vllm:num_preemptions_total."""

    def changed(self, changes: dict[str, Any]) -> "Script":
        """This script with some of it replaced. Raises: ValueError that names an unknown key."""
        unknown = sorted(changes.keys() - {known.name for known in fields(self)})
        if unknown:
            raise ValueError(f"the mock server knows no {', '.join(unknown)}: see Script")
        return replace(self, **changes)


def new_record(endpoint: str, body: dict[str, Any], headers: dict[str, str]) -> dict[str, Any]:
    """The truth about one request, as it is known when it was read; times follow as they happen."""
    return {
        "id": None,
        "attempt": 1,
        "endpoint": endpoint,
        "connection": None,  # number of the TCP connection: equal where it was kept alive
        "stream": bool(body.get("stream")),
        "body_keys": sorted(body),
        "authorization": "authorization" in headers,
        "prompt_tokens": prompt_tokens(body),
        "tokens": None,  # answer tokens planned, reasoning apart
        "reasoning_tokens": 0,
        "received_s": None,  # all of the request had been read
        "started_s": None,  # it left the queue
        "headers_s": None,
        "role_s": None,
        "reasoning_sent_s": [],  # just before the write of each reasoning chunk
        "reasoning_intended_s": [],
        "sent_s": [],  # just before the write of each chunk with answer text or token ids
        "intended_s": [],  # when it was due: sent less intended is the server's own lag
        "ended_s": None,
        "ended": None,  # complete, status_N, cut, malformed, error_event, client_closed, stopped
    }


def prompt_tokens(body: dict[str, Any]) -> int:
    """Token ids of the prompt, or words separated by white space where it is text.

    >>> prompt_tokens({"prompt": [5, 6, 7]}), prompt_tokens({"prompt": ["a b", "c"]})
    (3, 3)
    >>> prompt_tokens({"messages": [{"content": "one two"}, {"content": [{"text": "three"}]}]})
    3
    """

    def count(value: Any) -> int:
        if isinstance(value, str):
            return len(value.split())
        if isinstance(value, dict):
            return count(value.get("content") or value.get("text") or "")
        if value and isinstance(value[0], int):
            return len(value)
        return sum(count(item) for item in value)

    return count(body.get("messages") or body.get("prompt") or "")


class Answer:
    """One request that is being answered: its events on the wire, in order, when they are due."""

    def __init__(
        self,
        connection: "Connection",
        body: dict[str, Any],
        script: Script,
        record: dict[str, Any],
    ) -> None:
        self.connection = connection
        self.body = body
        self.chat = record["endpoint"] == "/v1/chat/completions"
        self.script = script = script if self.chat else replace(script, reasoning_tokens=0)
        self.record = record
        options = body.get("stream_options") or {}
        self.usage_asked = bool(options.get("include_usage")) and script.usage_chunk
        self.usage_always = self.usage_asked and bool(options.get("continuous_usage_stats"))
        asked = body.get("max_completion_tokens") or body.get("max_tokens") or 16
        tokens, thought = script.tokens, script.reasoning_tokens
        self.tokens = max(asked - thought, 0) if tokens is None else tokens
        self.output_tokens = self.tokens + thought
        record |= {"tokens": self.tokens, "reasoning_tokens": thought}
        self.envelope = {
            "id": f"{'chatcmpl' if self.chat else 'cmpl'}-{record['id']}",
            "object": "chat.completion" if self.chat else "text_completion",
            "created": 1_790_000_000,
            "model": script.model or body.get("model") or "mock",
        }
        if record["stream"] and self.chat:
            self.envelope["object"] = "chat.completion.chunk"
        if script.system_fingerprint:
            self.envelope["system_fingerprint"] = script.system_fingerprint

    def steps(self) -> Iterator[tuple[float, str, bytes]]:
        """Each step is (when due, name of the times it is kept under or "", bytes).

        They are made as they are sent: the last ones tell when the first ones really went.
        """
        return self.streamed() if self.record["stream"] else self.whole()

    def failure(self) -> Iterator[tuple[float, str, bytes]]:
        """An error status, at once."""
        status, script = self.script.status, self.script
        headers = {}
        if script.retry_after_s is not None:
            headers["retry-after"] = f"{script.retry_after_s:g}"
        kind = "rate_limit_exceeded" if status == 429 else "server_error"
        due = self.record["started_s"] + script.slow_headers_ms / 1e3
        self.record["ended"] = f"status_{status}"
        yield due, "headers_s", response(status, as_json({"error": error(status, kind)}), headers)

    def whole(self) -> Iterator[tuple[float, str, bytes]]:
        """The answer in one piece, when its last token would have been sent."""
        script, start = self.script, self.record["started_s"]
        gaps = [gap for _, _, gap in self.chunks()]
        due = start + max(sum(gaps), script.slow_headers_ms / 1e3)
        choice: dict[str, Any] = {"index": 0, "finish_reason": "length"}
        text = "" if script.token_ids else WORD * self.tokens
        if self.chat:
            choice["message"] = {"role": "assistant", "content": text}
            if script.reasoning_tokens:
                choice["message"][script.reasoning_key] = WORD * script.reasoning_tokens
        else:
            choice["text"] = text
        if self.body.get("return_token_ids"):
            choice["token_ids"] = [7] * self.tokens
        reply = {**self.envelope, "choices": [choice], "usage": self.usage(self.output_tokens)}
        if script.request_metrics:
            reply["metrics"] = self.metrics()
        headers = self.provider_headers((due - start) * 1e3)
        yield due, "sent_s", response(200, as_json(reply), headers)

    def streamed(self) -> Iterator[tuple[float, str, bytes]]:
        """Headers, role, chunks of reasoning and answer with the faults asked for, the end."""
        script, start = self.script, self.record["started_s"]
        headers_s = start + script.slow_headers_ms / 1e3
        headers = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
        headers |= self.provider_headers(script.ttft_ms)
        opening = head(200, headers | {"transfer-encoding": "chunked"})
        yield headers_s, "headers_s", opening + (framed(COMMENT) if script.comments else b"")

        chunks = self.chunks()
        due = max(headers_s, start + chunks[0][2]) if chunks else headers_s
        earliest = headers_s
        if self.chat and script.role_chunk_first:
            earliest = max(headers_s, due - script.role_to_content_ms / 1e3)
            role = {"role": "assistant", "content": ""}
            yield earliest, "role_s", self.event({"delta": role}, 0)

        n_answer = len(chunks) - script.reasoning_tokens
        empty = Counter(i * n_answer // script.empty_chunks for i in range(script.empty_chunks))
        no_text: dict[str, Any] = {"delta": {"content": ""}} if self.chat else {"text": ""}
        made: dict[tuple[str, int], bytes] = {}  # the bytes of equal chunks are made once
        sent = answered = 0
        for number, (kind, n, gap_s) in enumerate(chunks):
            if number:
                due += gap_s
            if kind == "sent_s":
                if script.cut and answered >= script.cut["after_token"]:
                    break
                if at_token(script.stall, answered, n):
                    due += script.stall["ms"] / 1e3
                if at_token(script.error_event, answered, n):
                    yield due, "", self.stream_error()
                    return
                for _ in range(empty[number - script.reasoning_tokens]):
                    yield max(due - gap_s / 2, earliest), "", self.event(no_text, sent)
                answered += n
            sent += n
            if self.usage_always:
                event = self.token_event(kind, n, sent)
            elif not (event := made.get((kind, n))):
                event = made[kind, n] = self.token_event(kind, n, sent)
            if kind == "sent_s" and at_token(script.malformed, answered - n, n):
                self.record["ended"] = "malformed"
                yield due, "", self.lines(b'data: {"choices": [{"index": 0, "del\n\n')
            elif script.split_bytes is None:
                yield due, kind, event
            else:
                cut = event.index(b"\r\n") + 2 + script.split_bytes
                yield max(due - SPLIT_S, earliest), "", event[:cut]
                yield due, kind, event[cut:]
        if script.cut:
            self.record["ended"] = "cut"
            return
        yield due, "", self.ending()

    def chunks(self) -> list[tuple[str, int, float]]:
        """Chunks with tokens, reasoning first: (kind, tokens, seconds after the one before)."""
        script = self.script
        size, rest = script.tokens_per_chunk, self.tokens % script.tokens_per_chunk
        think_ms = script.itl_ms if script.reasoning_itl_ms is None else script.reasoning_itl_ms
        found = [("reasoning_sent_s", 1, think_ms / 1e3)] * script.reasoning_tokens
        found += [("sent_s", size, script.itl_ms / 1e3)] * (self.tokens // size)
        found += [("sent_s", rest, script.itl_ms / 1e3)] * bool(rest)
        if found:
            found[0] = (*found[0][:2], script.ttft_ms / 1e3)
        return found

    def token_event(self, kind: str, n: int, sent: int) -> bytes:
        """The event of a chunk of n tokens, the last of which is number `sent` of the output."""
        text = "" if self.script.token_ids else WORD * n
        key = "content" if kind == "sent_s" else self.script.reasoning_key
        choice: dict[str, Any] = {"delta": {key: text}} if self.chat else {"text": text}
        if self.body.get("return_token_ids"):
            choice["token_ids"] = [7] * n
        prefix = COMMENT if self.script.comments else b""
        return self.event(choice, sent, prefix)

    def event(self, choice: dict[str, Any], sent: int, prefix: bytes = b"") -> bytes:
        """One chunk as it goes on the wire; with usage where it is asked for on each."""
        chunk = {
            **self.envelope,
            "choices": [{"index": 0, "finish_reason": None, "logprobs": None, **choice}],
        }
        if self.usage_always:
            chunk["usage"] = self.usage(sent)
        return self.lines(prefix + b"data: " + as_json(chunk) + b"\n\n")

    def ending(self) -> bytes:
        """The reason it finished, usage, [DONE] and the end of the body, in one write."""
        script, record = self.script, self.record
        last = {"index": 0, "finish_reason": "length"}
        closing: dict[str, Any] = {**self.envelope}
        closing["choices"] = [last | ({"delta": {}} if self.chat else {"text": ""})]
        if script.x_groq:
            closing["x_groq"] = {"id": record["id"], "usage": self.groq_usage()}
        events = b"data: " + as_json(closing) + b"\n\n"
        if self.usage_asked:
            final = {**self.envelope, "choices": [], "usage": self.usage(self.output_tokens)}
            if script.request_metrics:
                final["metrics"] = self.metrics()
            events += b"data: " + as_json(final) + b"\n\n"
        if script.done:
            events += b"data: [DONE]\n\n"
        return self.lines(events) + b"0\r\n\r\n"

    def stream_error(self) -> bytes:
        self.record["ended"] = "error_event"
        events = b"data: " + as_json({"error": error(500, "InternalServerError")}) + b"\n\n"
        return self.lines(events + b"data: [DONE]\n\n") + b"0\r\n\r\n"

    def lines(self, events: bytes) -> bytes:
        return framed(events.replace(b"\n", b"\r\n") if self.script.crlf else events)

    def usage(self, output: int) -> dict[str, Any]:
        """Token counts when `output` tokens, reasoning included, have been sent."""
        thought, asked = self.script.reasoning_tokens, self.record["prompt_tokens"]
        found: dict[str, Any] = {
            "prompt_tokens": asked,
            "completion_tokens": output,
            "total_tokens": asked + output,
        }
        if self.script.cached_input_tokens is not None:
            found["prompt_tokens_details"] = {"cached_tokens": self.script.cached_input_tokens}
        if thought:
            found["completion_tokens_details"] = {"reasoning_tokens": min(thought, output)}
        return found

    def spans_s(self) -> tuple[float, float, float]:
        """Queue, its start to the first token, first to last token: of what was really sent."""
        record = self.record
        queue = record["started_s"] - record["received_s"]
        times = record["reasoning_sent_s"] + record["sent_s"]
        if not times:  # not streamed: as planned
            gaps = [gap for _, _, gap in self.chunks()]
            return queue, sum(gaps[:1]), sum(gaps[1:])
        return queue, times[0] - record["started_s"], times[-1] - times[0]

    def metrics(self) -> dict[str, float | None]:
        queue, first, rest = self.spans_s()
        n = self.output_tokens
        return {
            "time_to_first_token_ms": first * 1e3,
            "queue_time_ms": queue * 1e3,
            "generation_time_ms": rest * 1e3,
            "mean_itl_ms": rest * 1e3 / (n - 1) if n > 1 else None,
            "tokens_per_second": n / rest if rest else None,
        }

    def groq_usage(self) -> dict[str, float]:
        queue, first, rest = self.spans_s()
        times = {"queue_time": queue, "prompt_time": first, "completion_time": rest}
        return self.usage(self.output_tokens) | times | {"total_time": first + rest}

    def provider_headers(self, model_ms: float) -> dict[str, str]:
        if not self.script.provider_headers:
            return {}
        queue_ms = (self.record["started_s"] - self.record["received_s"]) * 1e3
        return {
            "openai-processing-ms": f"{queue_ms + model_ms:.0f}",
            "x-ratelimit-remaining-requests": "99",
        }


def at_token(fault: dict[str, Any] | None, before: int, n: int) -> bool:
    """Whether the chunk of n tokens after the first `before` holds the token of the fault."""
    return fault is not None and before < fault["at_token"] <= before + n


def as_json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def error(status: int, kind: str) -> dict[str, Any]:
    return {"message": f"mock {kind}", "type": kind, "param": None, "code": status}


def framed(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def head(status: int, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} mock", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def response(status: int, body: bytes, headers: dict[str, str] | None = None) -> bytes:
    sizes = {"content-type": "application/json", "content-length": str(len(body))}
    return head(status, sizes | (headers or {})) + body


class Server:
    """Who is served now, who waits, what has been sent, and what is due next."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, script: Script, options: argparse.Namespace
    ) -> None:
        self.loop = loop
        self.script = script
        self.options = options
        self.active: dict[int, Answer] = {}
        self.waiting: deque[Answer] = deque()
        self.finished: list[dict[str, Any]] = []
        self.attempts: Counter[str] = Counter()
        self.counters: Counter[str] = Counter()
        self.connections = 0
        self.requests = 0
        self.due: list[tuple[float, int, str, bytes, Answer, Iterator[Any]]] = []
        self.order = 0
        self.timer: asyncio.TimerHandle | None = None
        self.woken_s = 0.0

    def receive(
        self, connection: "Connection", path: str, headers: dict[str, str], data: bytes
    ) -> None:
        """A request for completions: answered at once, or when those before it let it."""
        received_s = perf_counter()
        try:
            body = json.loads(data)
            script = self.script.changed(body.get("mock") or {})
        except (ValueError, TypeError, AttributeError) as problem:
            message = {"message": str(problem), "type": "invalid_request_error", "code": 400}
            connection.transport.write(response(400, as_json({"error": message})))
            return
        record = new_record(path, body, headers)
        record["received_s"] = received_s
        record["connection"] = connection.number
        named = script.id or headers.get("x-request-id")
        self.requests += 1
        record["id"] = named or f"mock-{self.requests}"
        self.attempts[record["id"]] += 1
        record["attempt"] = self.attempts[record["id"]]
        answer = connection.answer = Answer(connection, body, script, record)
        fails = script.fail_attempts is None or record["attempt"] <= script.fail_attempts
        if script.status != 200 and fails:
            record["started_s"] = received_s
            self.follow(answer, answer.failure())
        else:
            self.waiting.append(answer)
            self.start_waiting()

    def start_waiting(self) -> None:
        limit = self.options.max_concurrent
        while self.waiting and (limit is None or len(self.active) < limit):
            answer = self.waiting.popleft()
            record, script = answer.record, answer.script
            record["started_s"] = now = perf_counter()
            self.active[id(answer)] = answer
            self.counters["queue_s"] += now - record["received_s"]
            self.counters["requests"] += 1
            self.counters["prompt_tokens"] += record["prompt_tokens"]
            self.counters["cached_tokens"] += script.cached_input_tokens or 0
            self.counters["preemptions"] += script.preemptions
            self.follow(answer, answer.steps())

    def follow(self, answer: Answer, steps: Iterator[Any]) -> None:
        """Puts the next step of an answer in its place among all that is due; ends it after it."""
        step = next(steps, None)
        if step is None:
            self.end(answer)
            return
        self.order += 1
        heappush(self.due, (step[0], self.order, step[1], step[2], answer, steps))
        if self.due[0][1] == self.order:
            self.arm()

    def arm(self) -> None:
        if self.timer:
            self.timer.cancel()
        self.timer = None
        if self.due:
            when = max(self.due[0][0], self.woken_s + BATCH_S)
            self.timer = self.loop.call_at(when, self.send_due)

    def send_due(self) -> None:
        """Sends all that was due when it began: what falls due meanwhile waits for the sockets."""
        self.timer = None
        self.woken_s = now = perf_counter()
        due = self.due
        while due and due[0][0] <= now:
            when, _, kind, data, answer, steps = heappop(due)
            record = answer.record
            if record["ended_s"] is not None:
                continue  # the client has gone
            sent = perf_counter()
            answer.connection.transport.write(data)
            if kind == "sent_s":
                record["sent_s"].append(sent)
                record["intended_s"].append(when)
            elif kind == "reasoning_sent_s":
                record["reasoning_sent_s"].append(sent)
                record["reasoning_intended_s"].append(when)
            elif kind:
                record[kind] = sent
            step = next(steps, None)
            if step is None:
                self.end(answer)
            else:
                self.order += 1
                heappush(due, (step[0], self.order, step[1], step[2], answer, steps))
        self.arm()

    def end(self, answer: Answer, why: str | None = None) -> None:
        """The answer is over: its truth is kept, its place and its connection are free."""
        record = answer.record
        record["ended_s"] = perf_counter()
        record["ended"] = why or record["ended"] or "complete"
        self.finished.append(record)
        self.counters["output_tokens"] += len(record["sent_s"]) * answer.script.tokens_per_chunk
        answer.connection.answer = None
        if record["ended"] == "cut":
            answer.connection.transport.close()
        if self.active.pop(id(answer), None):
            self.start_waiting()
        elif answer in self.waiting:
            self.waiting.remove(answer)
        self.loop.call_soon(answer.connection.read_requests)

    def write_truth(self) -> None:
        """Appends what has finished. On demand and at the end only: writing it would be lag."""
        with open(self.options.truth, "a", encoding="utf-8") as lines:
            lines.writelines(json.dumps(record) + "\n" for record in self.finished)
        self.finished.clear()

    def read(self, path: str) -> bytes:
        """The reply to a GET."""
        if path == "/health":
            return response(200, b"")
        if path == "/version":
            return response(200, as_json({"version": self.options.version}))
        if path == "/v1/models":
            name = self.script.model or "mock"
            card = {"id": name, "object": "model", "owned_by": self.options.owned_by}
            return response(200, as_json({"object": "list", "data": [card]}))
        if path == "/metrics":
            kind = {"content-type": "text/plain; version=0.0.4; charset=utf-8"}
            return response(200, self.metrics_text().encode(), kind)
        if path == "/truth":
            self.write_truth()
            return response(200, b"{}")
        return response(404, as_json({"error": error(404, "not_found")}))

    def metrics_text(self) -> str:
        """Prometheus text with vLLM's names."""
        n = self.counters
        counters = {
            "prefix_cache_queries_total": n["prompt_tokens"],
            "prefix_cache_hits_total": n["cached_tokens"],
            "num_preemptions_total": n["preemptions"],
            "prompt_tokens_total": n["prompt_tokens"],
            "generation_tokens_total": n["output_tokens"],
        }
        label = f'{{model_name="{self.script.model or "mock"}",engine="0"}}'
        lines = []
        for name, value in counters.items():
            lines += [f"# TYPE vllm:{name} counter", f"vllm:{name}{label} {float(value)}"]
        for name, who in (("running", self.active), ("waiting", self.waiting)):
            gauge = f"vllm:num_requests_{name}"
            lines += [f"# TYPE {gauge} gauge", f"{gauge}{label} {float(len(who))}"]
        queue = "vllm:request_queue_time_seconds"
        all_of_them = label.replace("}", ',le="+Inf"}')
        lines += [
            f"# TYPE {queue} histogram",
            f"{queue}_bucket{all_of_them} {float(n['requests'])}",
            f"{queue}_count{label} {float(n['requests'])}",
            f"{queue}_sum{label} {float(n['queue_s'])}",
        ]
        return "\n".join(lines) + "\n"


class Connection(asyncio.Protocol):
    """One client's connection: requests in, one at a time; the server writes the replies."""

    transport: asyncio.Transport

    def __init__(self, server: Server) -> None:
        self.server = server
        self.buffer = bytearray()
        self.answer: Answer | None = None
        server.connections += 1
        self.number = server.connections

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        self.read_requests()

    def connection_lost(self, problem: Exception | None) -> None:
        if self.answer:
            self.server.end(self.answer, "client_closed")

    def read_requests(self) -> None:
        """Takes whole requests (with Content-Length) off the buffer until one has to be awaited."""
        while self.answer is None and not self.transport.is_closing():
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            first, *lines = self.buffer[:end].decode("latin-1").split("\r\n")
            headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
            size = end + 4 + int(headers.get("content-length", 0))
            if len(self.buffer) < size:
                return
            body = bytes(self.buffer[end + 4 : size])
            del self.buffer[:size]
            method, path, _ = first.split(" ")
            if method == "POST" and path in ("/v1/chat/completions", "/v1/completions"):
                self.server.receive(self, path, headers, body)
            else:
                self.transport.write(self.server.read(path))


class PreciseSelector(selectors.EpollSelector):
    """epoll that wakes within microseconds of its timeout, not at the next whole millisecond."""

    def __init__(self) -> None:
        super().__init__()
        # timerfd: what epoll can wait for with nanoseconds (os.timerfd_create needs Python 3.13)
        libc = ctypes.CDLL(None)
        self._set_timer = libc.timerfd_settime
        self._alarm = libc.timerfd_create(1, os.O_NONBLOCK | os.O_CLOEXEC)  # 1: CLOCK_MONOTONIC
        self._spec = (ctypes.c_long * 4)()  # interval s and ns, first expiry s and ns
        self._selector.register(self._alarm, select.EPOLLIN)

    def select(self, timeout: float | None = None) -> list[Any]:
        """As its parent's, which leaves the alarm out of what it returns: it is no one's key."""
        if timeout is None or timeout > 0:
            # setting it clears an old expiry too; all zeros is no alarm
            wait_ns = max(int(timeout * 1e9), 1) if timeout else 0
            self._spec[2], self._spec[3] = divmod(wait_ns, 10**9)
            self._set_timer(self._alarm, 0, self._spec, None)
            timeout = None
        return super().select(timeout)


def serve(options: argparse.Namespace, script: Script) -> None:
    """Serves until SIGTERM or SIGINT."""
    # the collector's pauses would be lag, and the process is short-lived
    gc.disable()
    loop = asyncio.SelectorEventLoop(PreciseSelector())
    server = Server(loop, script, options)
    listening = loop.run_until_complete(
        loop.create_server(lambda: Connection(server), "127.0.0.1", options.port, backlog=4096)
    )
    for stop in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(stop, loop.stop)
    print(json.dumps({"port": listening.sockets[0].getsockname()[1]}), flush=True)
    loop.run_forever()
    for answer in [*server.active.values(), *server.waiting]:
        server.active.pop(id(answer), None)
        server.end(answer, "stopped")
    server.write_truth()


def options_from(arguments: list[str]) -> tuple[argparse.Namespace, Script]:
    """The command line: the server's own options, and every key of `Script` with dashes.

    >>> options, script = options_from(["--itl-ms", "5", "--stall", '{"at_token": 2, "ms": 9}'])
    >>> options.port, script.itl_ms, script.stall["ms"]
    (0, 5, 9)
    """

    def value(text: str) -> Any:
        try:
            return json.loads(text)
        except ValueError:
            return text

    parser = argparse.ArgumentParser(description="A streaming server of known truth.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--truth", default=os.devnull, help="file that truth is appended to")
    parser.add_argument("--max-concurrent", type=int, help="served at once; others wait in order")
    parser.add_argument("--owned-by", default="mock", help='"vllm" plays vLLM')
    parser.add_argument("--version", default="0.0.mock")
    for key in fields(Script):
        flag = "--" + key.name.replace("_", "-")
        parser.add_argument(flag, type=value, default=key.default)
    options = parser.parse_args(arguments)
    return options, Script(**{key.name: getattr(options, key.name) for key in fields(Script)})


@dataclass
class Mock:
    """A running server. base_url ends in /v1; root_url has /health, /metrics and /version."""

    root_url: str
    process: "subprocess.Popen[str]"
    file: Path
    rows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def base_url(self) -> str:
        return f"{self.root_url}/v1"

    def truth(self) -> list[dict[str, Any]]:
        """One row per request that has ended, in the order of their ends."""
        if self.process.poll() is None:
            urllib.request.urlopen(f"{self.root_url}/truth", timeout=10).close()
            self.read_truth()
        return self.rows

    def read_truth(self) -> None:
        self.rows = [json.loads(line) for line in self.file.read_text("utf-8").splitlines()]


@contextmanager
def running(**options: Any) -> Iterator[Mock]:
    """The server as a child process on a free port. options: those of the command line.

    `truth()` may be asked while it runs, and after it has stopped.
    """
    with TemporaryDirectory() as folder:
        file = Path(folder) / "truth.jsonl"
        file.touch()
        command = [sys.executable, __file__, "--truth", str(file)]
        for name, value in options.items():
            text = value if isinstance(value, str) else json.dumps(value)
            command += ["--" + name.replace("_", "-"), text]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            port = json.loads(process.stdout.readline())["port"]
            mock = Mock(f"http://127.0.0.1:{port}", process, file)
            yield mock
        finally:
            process.terminate()
            process.wait(timeout=10)
            process.stdout.close()
        mock.read_truth()


if __name__ == "__main__":
    serve(*options_from(sys.argv[1:]))

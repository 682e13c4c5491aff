"""Upstreams of known truth on loopback, whose answers say who answered, with faults at will.

Each speaks the OpenAI protocol (chat completions, streamed or not, and embeddings), and reranks as
Cohere does. An answer is 20 numbered tokens, `api-a#1 api-a#2 ...`, so that whoever reads it knows
from the content alone who answered, and whether all of it came. A body field that the protocol
lacks is refused.
"""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

HOST = "127.0.0.1"
TOKENS = 20
"""Of an answer."""
SENT_TOKENS = 5
"""Before a fault in the middle of an answer."""
USAGE = {
    "prompt_tokens": 100,
    "completion_tokens": TOKENS,
    "total_tokens": 100 + TOKENS,
    "prompt_tokens_details": {"cached_tokens": 40},
}
EMBEDDED_TOKENS = 100
"""Of a request for embeddings."""
RETRY_AFTER_S = 1
SLOW_S = 1.5
"""Until a slow first token."""

FAULTS = {
    "healthy": "answers",
    "500": "answers with status 500",
    "429": f"answers with status 429 and Retry-After {RETRY_AFTER_S}",
    "hang": "takes the request and never answers",
    "killed": "refuses connections",
    "slow first token": "sends its first token late",
    "cut": f"breaks the connection after {SENT_TOKENS} of {TOKENS} tokens",
    "clean end": f"ends in order after {SENT_TOKENS} of {TOKENS} tokens",
    "empty": "answers with status 200 and nothing in it",
}

_FIELDS = {
    *("model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens"),
    *("temperature", "top_p", "response_format", "tools", "tool_choice", "user", "seed", "stop"),
    *("n", "input", "encoding_format", "dimensions", "service_tier", "reasoning_effort"),
    *("metadata", "query", "documents", "top_n"),
    *("logprobs", "top_logprobs", "presence_penalty", "frequency_penalty", "parallel_tool_calls"),
}


@dataclass
class Upstream:
    """One upstream: its address, its fault, and what has reached it.

    bodies: of the requests, in order, whatever became of them. refused: body fields that the
    protocol lacks.
    """

    name: str
    port: int = 0
    bodies: list[dict[str, Any]] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    fault: str = "healthy"

    @property
    def base_url(self) -> str:
        """What a deployment has as its `api_base`."""
        return f"http://{HOST}:{self.port}/v1"


class Upstreams:
    """All upstreams of a drill, on one event loop in a thread of its own. See `upstreams`."""

    def __init__(self, names: Sequence[str]) -> None:
        self.by_name = {name: Upstream(name) for name in names}
        self.dialled: list[str] = []
        self._trap = Upstream("trap")
        self._loop = asyncio.new_event_loop()
        self._listening: dict[str, asyncio.Server] = {}
        self._writers: dict[str, set[asyncio.StreamWriter]] = {}

    @property
    def trap_url(self) -> str:
        """An HTTP proxy that refuses and lists in `dialled` whatever wants to leave loopback."""
        return f"http://{HOST}:{self._trap.port}"

    def __getitem__(self, name: str) -> Upstream:
        return self.by_name[name]

    def set_fault(self, name: str, fault: str) -> None:
        """Gives an upstream a fault of `FAULTS`; `killed` closes its port until the next fault."""
        if fault not in FAULTS:
            raise ValueError(f"no fault is called {fault!r}: take one of {', '.join(FAULTS)}")
        upstream = self.by_name[name]
        before, upstream.fault = upstream.fault, fault
        if "killed" in (before, fault) and before != fault:
            change = self._close(name) if fault == "killed" else self._open(upstream)
            asyncio.run_coroutine_threadsafe(change, self._loop).result(10)

    def heal(self) -> None:
        """Makes all upstreams healthy."""
        for name in self.by_name:
            self.set_fault(name, "healthy")

    async def _open(self, upstream: Upstream) -> None:
        self._writers.setdefault(upstream.name, set())

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._writers[upstream.name].add(writer)
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._serve(upstream, reader, writer)
            self._writers[upstream.name].discard(writer)
            writer.close()

        server = await asyncio.start_server(serve, HOST, upstream.port)
        upstream.port = server.sockets[0].getsockname()[1]
        self._listening[upstream.name] = server

    async def _close(self, name: str) -> None:
        if server := self._listening.pop(name, None):
            server.close()
        for writer in list(self._writers[name]):
            writer.transport.abort()

    async def _serve(
        self, upstream: Upstream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while request_line := await reader.readline():
            length = 0
            while (header := (await reader.readline()).strip().lower()) != b"":
                if header.startswith(b"content-length:"):
                    length = int(header.split(b":")[1])
            content = await reader.readexactly(length)
            if upstream is self._trap:
                self.dialled.append(request_line.split()[1].decode(errors="replace"))
                writer.write(_document({"error": "no way out"}, "403 Forbidden"))
                return
            if not request_line.startswith(b"POST"):
                writer.write(_document({"error": "only POST"}, "404 Not Found"))
                continue
            body = json.loads(content)
            upstream.bodies.append(body)
            path = request_line.split()[1].partition(b"?")[0]
            if not await _answer(
                upstream, body, _WHOLE.get(path.rpartition(b"/")[2], _whole), writer
            ):
                return

    async def _start(self) -> None:
        for upstream in (*self.by_name.values(), self._trap):
            await self._open(upstream)

    async def _stop(self) -> None:
        for name in list(self._writers):
            await self._close(name)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


@contextmanager
def upstreams(names: Sequence[str]) -> Iterator[Upstreams]:
    """Runs healthy upstreams for the time of the block.

    >>> with upstreams(["api-a"]) as mocks:
    ...     mocks["api-a"].base_url.startswith("http://127.0.0.1:")
    True
    """
    mocks = Upstreams(names)
    thread = threading.Thread(target=mocks._loop.run_forever, daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(mocks._start(), mocks._loop).result(10)
        yield mocks
    finally:
        asyncio.run_coroutine_threadsafe(mocks._stop(), mocks._loop).result(10)
        mocks._loop.call_soon_threadsafe(mocks._loop.stop)
        thread.join(10)
        mocks._loop.close()


async def _answer(
    upstream: Upstream,
    body: dict[str, Any],
    whole: Callable[[Upstream, dict[str, Any]], dict[str, Any]],
    writer: asyncio.StreamWriter,
) -> bool:
    """Answers one request as the fault has it. whole: makes the answer in one piece.

    Returns: whether the connection may be used on.
    """
    fault = upstream.fault
    if unknown := body.keys() - _FIELDS:
        upstream.refused |= unknown
        message = f"unknown fields: {', '.join(sorted(unknown))}"
        writer.write(_document({"error": {"message": message}}, "400 Bad Request"))
        return True
    if fault == "hang":
        await asyncio.sleep(3600)
    if fault in ("500", "429"):
        status = {"500": "500 Internal Server Error", "429": "429 Too Many Requests"}[fault]
        after = f"retry-after: {RETRY_AFTER_S}\r\n" if fault == "429" else ""
        error = {"error": {"message": f"{upstream.name} fails", "code": int(fault)}}
        writer.write(_document(error, status, after))
        return True
    if fault == "slow first token":
        await asyncio.sleep(SLOW_S)
    if body.get("stream"):
        return await _stream(upstream, body, writer)
    document = _document(whole(upstream, body))
    if fault == "empty":
        document = _document(None)
    if fault in ("cut", "clean end"):
        if fault == "clean end":  # no length: the end of the connection is the end of the body
            document = document.replace(b"content-length", b"x-length")
        writer.write(document[: len(document) // 2])
        await writer.drain()
        if fault == "cut":
            writer.transport.abort()
        return False
    writer.write(document)
    return True


async def _stream(upstream: Upstream, body: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
    writer.write(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    fault = upstream.fault
    short = fault in ("cut", "clean end")
    n = 0 if fault == "empty" else SENT_TOKENS if short else TOKENS
    choices = [{"index": 0, "delta": {"content": text}} for text in _tokens(upstream.name)[:n]]
    events: list[dict[str, Any]] = [{"choices": [choice]} for choice in choices]
    if n == TOKENS:
        events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        if (body.get("stream_options") or {}).get("include_usage"):
            events.append({"choices": [], "usage": USAGE})
    for event in events:
        chunk = {**_envelope(body), "object": "chat.completion.chunk", **event}
        writer.write(_chunk(f"data: {json.dumps(chunk)}\n\n".encode()))
        await writer.drain()
    if fault == "cut":
        await asyncio.sleep(0.05)  # what was written goes out before the connection breaks
        writer.transport.abort()
        return False
    if n == TOKENS:
        writer.write(_chunk(b"data: [DONE]\n\n"))
    writer.write(_chunk(b""))
    await writer.drain()
    return True


def _tokens(name: str) -> list[str]:
    return [f"{name}#{i} " for i in range(1, TOKENS + 1)]


def _envelope(body: dict[str, Any]) -> dict[str, Any]:
    return {"id": "drill", "created": 1, "model": body.get("model", "")}


def _whole(upstream: Upstream, body: dict[str, Any]) -> dict[str, Any]:
    message = {"role": "assistant", "content": "".join(_tokens(upstream.name))}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {**_envelope(body), "object": "chat.completion", "choices": [choice], "usage": USAGE}


def _embeddings(upstream: Upstream, body: dict[str, Any]) -> dict[str, Any]:
    texts = body.get("input") or []
    vector = [float(ord(letter)) for letter in upstream.name]  # says who answered
    n = len(texts) if isinstance(texts, list) else 1
    rows = [{"object": "embedding", "index": i, "embedding": vector} for i in range(n)]
    usage = {"prompt_tokens": EMBEDDED_TOKENS, "total_tokens": EMBEDDED_TOKENS}
    return {"object": "list", "data": rows, "model": body.get("model", ""), "usage": usage}


def _ranking(upstream: Upstream, body: dict[str, Any]) -> dict[str, Any]:
    """The documents in the order in which they came, as Cohere's /v2/rerank ranks them."""
    n = len(body.get("documents") or [])
    results = [{"index": i, "relevance_score": 1 - i / n} for i in range(n)]
    meta = {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}}
    return {"id": upstream.name, "results": results, "meta": meta}  # says who answered


_WHOLE = {b"embeddings": _embeddings, b"rerank": _ranking}
"""What makes an answer, by the end of the path; else it is a chat completion."""


def _document(value: Any, status: str = "200 OK", headers: str = "") -> bytes:
    content = b"" if value is None else json.dumps(value).encode()
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{headers}"
    return f"{head}content-length: {len(content)}\r\n\r\n".encode() + content


def _chunk(content: bytes) -> bytes:
    return f"{len(content):x}\r\n".encode() + content + b"\r\n"

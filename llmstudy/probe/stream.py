"""What does a streamed answer say, and when did each piece of it come?

Reads the server-sent events of the chat-completions and completions interfaces as OpenAI, vLLM and
the compatible services write them: content apart from reasoning, from role-only and from empty
chunks; token counts from the server alone.
"""

import json
from collections.abc import Mapping
from typing import Any


class Answer:
    """One attempt's answer as it comes in. Times are those passed in, on the caller's clock.

    `begin` takes status and headers, `feed` the bytes of the body as they arrive, cut anywhere,
    `end` judges the whole: `error` is then None for an answer that is complete and not empty.

    >>> answer = Answer()
    >>> answer.begin(200, {"content-type": "text/event-stream"}, at=0.1)
    >>> answer.feed(b'data: {"choices": [{"delta": {"role": "assistant"}}]}\\n\\n', 0.2)
    >>> answer.feed(b'data: {"choices": [{"delta": {"content": "Yes"}}]}\\n\\ndata: [DO', 0.3)
    >>> answer.feed(b'NE]\\n\\n', 0.4)
    >>> answer.end(at=0.4)
    >>> answer.content_at, answer.error
    ([0.3], None)
    """

    def __init__(self) -> None:
        self.status: int | None = None
        self.headers: Mapping[str, str] = {}
        self.headers_at: float | None = None
        self.content_at: list[float] = []
        self.reasoning_at: float | None = None
        self.ended_at: float | None = None
        self.error: str | None = None
        self.detail = ""
        """All that the server said of an error: it may repeat a key (`Endpoint.redacted`)."""
        self.finish_reason: str | None = None
        self.served_model: str | None = None
        self.fingerprint: str | None = None
        self.metrics: Mapping[str, Any] = {}
        """vLLM's own timing of this request (`--enable-per-request-metrics`)."""
        self.groq: Mapping[str, Any] = {}
        self._usage: Mapping[str, Any] = {}
        self._content_tokens: list[int] | None = []
        self._counted = 0
        self._complete = False
        self._rest = b""
        self._streams = True

    def begin(self, status: int, headers: Mapping[str, str], at: float) -> None:
        """Status and headers have come. headers: names in lower case."""
        self.status, self.headers, self.headers_at = status, headers, at
        kind = headers.get("content-type", "").lower()
        self._streams = status == 200 and "json" not in kind

    def feed(self, data: bytes, at: float) -> None:
        """Bytes of the body have come; a line counts when its end does."""
        if not self._streams:
            self._rest += data
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                self._event(line[5:].strip(), at)

    def fail(self, error: str, at: float, detail: str = "") -> None:
        """The attempt ended otherwise than by the end of its response."""
        if self._complete:
            self.end(at)  # the answer is whole: what was lost is the end of its wrapping
            return
        if self.error is None:
            self.error, self.detail = error, detail
        self.ended_at = at

    def end(self, at: float) -> None:
        """The body is over: judge it."""
        self.ended_at = at
        if self.status != 200:
            self.error = "rate_limited" if self.status == 429 else f"http_{self.status}"
            self.detail = self._rest.decode(errors="replace")
        elif not self._streams:
            self._event(self._rest, at)
            self._complete = True
        if self.error is None and not (self._complete or self.finish_reason):
            self.error = "cut"
        if self.error is None and not self.content_at:
            self.error = "empty"

    @property
    def content_tokens(self) -> list[int] | None:
        """Tokens of each content chunk; None where the server did not count as it went."""
        return self._content_tokens or None

    @property
    def input_tokens(self) -> int | None:
        """As billed: cached ones included."""
        return _tokens(self._usage, "prompt_tokens")

    @property
    def cached_input_tokens(self) -> int | None:
        """Read from a cache, by OpenAI's name for it or DeepSeek's."""
        cached = _tokens(_mapping(self._usage, "prompt_tokens_details"), "cached_tokens")
        return _tokens(self._usage, "prompt_cache_hit_tokens") if cached is None else cached

    @property
    def output_tokens(self) -> int | None:
        """As billed: reasoning included."""
        return _split(self._usage)[0]

    @property
    def reasoning_tokens(self) -> int | None:
        """Where the server says, or its total does; None where neither tells of any."""
        return _split(self._usage)[1]

    def _event(self, payload: bytes, at: float) -> None:
        if payload == b"[DONE]":
            self._complete = True
            return
        try:
            self._chunk(json.loads(payload), at)
        except (ValueError, TypeError, AttributeError, LookupError):
            self.error = "malformed"
            self.detail = payload.decode(errors="replace")

    def _chunk(self, chunk: Mapping[str, Any], at: float) -> None:
        if error := chunk.get("error"):
            self.error, self.detail = "server_error", str(error)
            return
        self.served_model = _text(chunk, "model") or self.served_model
        self.fingerprint = _text(chunk, "system_fingerprint") or self.fingerprint
        self.metrics = _mapping(chunk, "metrics") or self.metrics
        self.groq = _mapping(_mapping(chunk, "x_groq"), "usage") or self.groq
        usage = _mapping(chunk, "usage")
        has_content = has_reasoning = False
        for choice in chunk.get("choices") or ():
            said = choice.get("delta") or choice.get("message") or choice
            reasoning = said.get("reasoning_content") or said.get("reasoning")
            written = said.get("content") or said.get("text") or said.get("tool_calls")
            written = written or said.get("refusal")
            # a server without a tokenizer streams token ids and empty text
            has_content |= bool(written or (choice.get("token_ids") and not reasoning))
            has_reasoning |= bool(reasoning)
            self.finish_reason = _text(choice, "finish_reason") or self.finish_reason
        if has_reasoning and self.reasoning_at is None:
            self.reasoning_at = at
        if has_content:
            self.content_at.append(at)
        if usage:
            self._usage = usage
        if self._content_tokens is not None and (has_content or has_reasoning):
            self._count(usage, has_content)

    def _count(self, usage: Mapping[str, Any], has_content: bool) -> None:
        """Tokens of this chunk, from a count that the server repeats as it goes.

        What it counted without sending text, as for half a character, comes with the next text.
        """
        assert self._content_tokens is not None
        output, reasoning = _split(usage)
        answered = -1 if output is None else output - (reasoning or 0)
        if answered < self._counted and has_content:
            self._content_tokens = None  # no count, or none that grows with the answer
        elif has_content:
            self._content_tokens.append(answered - self._counted)
        self._counted = max(answered, 0)


def _split(usage: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Output tokens and the reasoning among them.

    Google's compatible endpoint counts thinking in the total alone; xAI counts it apart and in the
    total, but not in the completion.
    """
    written = _tokens(usage, "completion_tokens")
    said = _tokens(_mapping(usage, "completion_tokens_details"), "reasoning_tokens")
    if written is None:
        return None, said
    total, read = (_tokens(usage, f"{part}_tokens") or 0 for part in ("total", "prompt"))
    apart = max(total - read - written, 0)
    return written + apart, said or apart or said


def _tokens(usage: Mapping[str, Any], name: str) -> int | None:
    """A count that the server gave, None if it is none."""
    count = usage.get(name)
    return count if type(count) is int else None


def _mapping(said: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A part of what was said, empty if it is none."""
    part = said.get(name)
    return part if isinstance(part, dict) else {}


def _text(said: Mapping[str, Any], name: str) -> str | None:
    """A text among what was said, None if it is none."""
    text = said.get(name)
    return text if isinstance(text, str) else None

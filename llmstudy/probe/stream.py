"""What does a streamed answer say, and when did each piece of it come?

Reads the server-sent events of the chat-completions and completions interfaces as OpenAI, vLLM and
the compatible services write them: content apart from reasoning, from role-only and from empty
chunks; token counts from the server alone.
"""

import json
from collections.abc import Mapping
from typing import Any

_DETAIL_CHARACTERS = 300


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
        """What the server said of an error; never stored."""
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
        kind = headers.get("content-type", "")
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
        """The attempt ended otherwise than by the end of its answer."""
        self.error, self.detail, self.ended_at = error, detail, at

    def end(self, at: float) -> None:
        """The body is over: judge it."""
        self.ended_at = at
        if self.status != 200:
            self.error = "rate_limited" if self.status == 429 else f"http_{self.status}"
            self.detail = self._rest.decode(errors="replace")[:_DETAIL_CHARACTERS]
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
        return self._usage.get("prompt_tokens")

    @property
    def cached_input_tokens(self) -> int | None:
        """Read from a cache, by OpenAI's name for it or DeepSeek's."""
        details = self._usage.get("prompt_tokens_details") or {}
        cached: int | None = details.get(
            "cached_tokens", self._usage.get("prompt_cache_hit_tokens")
        )
        return cached

    @property
    def output_tokens(self) -> int | None:
        """As billed: reasoning included."""
        written = self._usage.get("completion_tokens")
        return None if written is None else written + self._uncounted_reasoning

    @property
    def reasoning_tokens(self) -> int | None:
        """Where the server says; 0 where it says nothing and no reasoning was seen."""
        details = self._usage.get("completion_tokens_details") or {}
        said: int | None = details.get("reasoning_tokens")
        return said if said is not None else self._uncounted_reasoning or None

    @property
    def _uncounted_reasoning(self) -> int:
        """Google's compatible endpoint counts thinking in the total alone."""
        details = self._usage.get("completion_tokens_details") or {}
        total, read, written = (
            self._usage.get(f"{part}_tokens") or 0 for part in ("total", "prompt", "completion")
        )
        return 0 if details.get("reasoning_tokens") else max(int(total - read - written), 0)

    def _event(self, payload: bytes, at: float) -> None:
        if payload == b"[DONE]":
            self._complete = True
            return
        try:
            self._chunk(json.loads(payload), at)
        except (ValueError, TypeError, AttributeError, LookupError):
            self.error = "malformed"
            self.detail = payload.decode(errors="replace")[:_DETAIL_CHARACTERS]

    def _chunk(self, chunk: Mapping[str, Any], at: float) -> None:
        if error := chunk.get("error"):
            self.error, self.detail = "server_error", str(error)[:_DETAIL_CHARACTERS]
            return
        self.served_model = chunk.get("model") or self.served_model
        self.fingerprint = chunk.get("system_fingerprint") or self.fingerprint
        self.metrics = chunk.get("metrics") or self.metrics
        self.groq = (chunk.get("x_groq") or {}).get("usage") or self.groq
        usage = chunk.get("usage")
        has_content = False
        for choice in chunk.get("choices") or ():
            said = choice.get("delta") or choice.get("message") or choice
            reasoning = said.get("reasoning_content") or said.get("reasoning")
            written = said.get("content") or said.get("text") or said.get("tool_calls")
            written = written or said.get("refusal")
            # a server without a tokenizer streams token ids and empty text
            has_content |= bool(written or (choice.get("token_ids") and not reasoning))
            if reasoning and self.reasoning_at is None:
                self.reasoning_at = at
            self.finish_reason = choice.get("finish_reason") or self.finish_reason
        if has_content:
            self.content_at.append(at)
        if usage:
            self._usage = usage
        if self._content_tokens is not None:
            self._count(usage, has_content)

    def _count(self, usage: Mapping[str, Any] | None, has_content: bool) -> None:
        """Tokens of this chunk, from a count that the server repeats as it goes."""
        if not usage:
            if has_content:
                self._content_tokens = None
            return
        written = usage.get("completion_tokens") or 0
        if has_content and self._content_tokens is not None:
            self._content_tokens.append(written - self._counted)
        self._counted = written

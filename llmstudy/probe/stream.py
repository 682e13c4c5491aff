"""Reads a streamed answer, and the arrival time of each piece of it.

The server-sent events of the chat-completions and completions interfaces, as OpenAI, vLLM and the
compatible services write them: content apart from reasoning, from role-only and from empty chunks;
token counts from the server alone. The end of a stream does not prove success: an error in any
envelope, an answer without text, and a page that is no stream are failures under any status.
"""

import json
import re
import zlib
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

NOT_STREAMED = "the answer came as one JSON document, not as a stream"

_REASONING = frozenset(
    [
        *("reasoning", "reasoning_content", "reasoning_details", "reasoning_text"),
        *("thinking", "thinking_blocks", "thoughts"),
    ]
)
"""Fields of a message in which servers send reasoning."""

_BESIDE_TEXT = frozenset(("tool_calls", "function_call", "refusal", "audio", "images"))
"""Fields of a message that an answer may consist of."""

_THINKING_TAGS = {
    "<think>": "</think>",  # DeepSeek, Qwen
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",  # Gemini
    "<reasoning>": "</reasoning>",
    "<seed:think>": "</seed:think>",
    "[THINK]": "[/THINK]",  # Mistral
    "◁think▷": "◁/think▷",  # Kimi
    "<|START_THINKING|>": "<|END_THINKING|>",  # Cohere
    "<|channel|>analysis<|message|>": "<|channel|>final<|message|>",  # gpt-oss
}
"""Tags around the reasoning that a server leaves in the text of the answer."""

_UNOPENED = "</think>"
"""The closing tag of models whose chat template has opened the reasoning already."""

_FAILED = re.compile("error|abort|cancel|fail|timeout|interrupt|overload|insufficient", re.I)
"""In a finish reason: the answer is not whole."""

_ERRORS = frozenset(
    [
        *("error", "errors", "exception", "fault", "error_code", "errorCode"),
        *("error_message", "error_msg", "errorMessage"),
    ]
)
_CODES = ("code", "status_code", "statusCode")
_KINDS = frozenset(("type", "status", "success", "base_resp", *_CODES))  # base_resp: MiniMax
_MESSAGES = ("message", "msg", "detail", "error_message", "error_msg", "errorMessage", "title")
_GOOD_CODES = (None, "", 0, 200, "0", "200", "ok", "OK", "success", "Success")

_BEGINNING_BYTES = 65_536
"""Length of a body that is no stream, for the error message: longer than is shown, since it is cut
only after the keys in it are redacted."""


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
        """The server's message for an error, which may repeat a key (`Endpoint.redacted`); for a
        success, `NOT_STREAMED` where that applies."""
        self.finish_reason: str | None = None
        self.served_model: str | None = None
        self.fingerprint: str | None = None
        self.metrics: Mapping[str, Any] = {}
        """vLLM's own timing of this request (`--enable-per-request-metrics`)."""
        self.groq: Mapping[str, Any] = {}
        self._usage: Mapping[str, Any] = {}
        self._content_tokens: list[int] | None = []
        self._counted = 0
        self._ends: set[str] = set()
        self._beginning = b""
        self._decoder: _Decoder | None = None
        self._events = _Events()
        self._events_n = self._documents_n = 0
        self._notice = ""
        self._tags = _Tags()
        self._undecided: list[tuple[float, Mapping[str, Any]]] = []

    def begin(self, status: int, headers: Mapping[str, str], at: float) -> None:
        """Status and headers have come. headers: names in lower case."""
        self.status, self.headers, self.headers_at = status, headers, at
        if headers.get("content-encoding", "").strip().lower() in ("gzip", "x-gzip", "deflate"):
            self._decoder = _Decoder()

    def feed(self, data: bytes, at: float) -> None:
        """Bytes of the body have come; an event counts when its last line of data does."""
        if self._decoder is not None:
            try:
                data = self._decoder.decoded(data)
            except zlib.error as error:
                self._set_error("malformed", f"the body is not as content-encoding says: {error}")
                data = b""
        if not self._events_n and len(self._beginning) < _BEGINNING_BYTES:
            self._beginning += data
        if self.status == 200:
            for event in self._events.read(data, at):
                self._event(event)

    def fail(self, error: str, at: float, detail: str = "") -> None:
        """The attempt ended otherwise than by the end of its response."""
        self._finish()
        counted = self.finish_reason is not None and self.output_tokens is not None
        if counted or "[DONE]" in self._ends:
            self.end(at)  # the answer is whole: only the end of the stream was lost
            return
        self._set_error(error, detail)
        self.ended_at = at

    def end(self, at: float) -> None:
        """The body is over: sets `error` where the answer is not whole."""
        self.ended_at = at
        self._finish()
        if failure := self._failure():
            self._set_error(*failure)
        elif self._is_document and self.error is None:
            self.detail = NOT_STREAMED

    @property
    def _is_document(self) -> bool:
        """Whether the body was one JSON document, whose end is the answer's."""
        return self._documents_n == 1 and not self._events_n

    def _finish(self) -> None:
        for event in self._events.rest():
            self._event(event)
        self._decide(is_answer=True)

    def _failure(self) -> tuple[str, str] | None:
        """The error of an answer whose body is over, and its detail."""
        body = self._beginning.decode(errors="replace").strip()
        if self.status != 200:
            to = self.headers.get("location", "").partition("?")[0]
            error = "rate_limited" if self.status == 429 else f"http_{self.status}"
            return error, f"it redirects to {to}" if to else body
        if not self._events_n and not self._documents_n:
            kind = self.headers.get("content-type") or "a body without content-type"
            coding = self.headers.get("content-encoding")
            kind += f" in content-encoding {coding}, which is not read" if coding else f": {body}"
            return "malformed" if body else "cut", f"no event came, but {kind}" if body else ""
        if _FAILED.search(self.finish_reason or ""):
            return "server_error", f"finish reason {self.finish_reason}"
        if self._notice and self.finish_reason is None:
            return "server_error", self._notice
        if self.finish_reason == "content_filter":
            return "filtered", "the provider's filter withheld the answer or its end"
        if not self._ends and not self._is_document:
            n = len(self.content_at)
            return "cut", f"it ended after {n} chunks without finish reason, usage or [DONE]"
        if not self.content_at:
            only = "" if self.reasoning_at is None else "reasoning came, and "
            return "empty", f"{only}no text of an answer; finish reason {self.finish_reason}"
        return None

    def _set_error(self, error: str, detail: str) -> None:
        """The first error is the cause of those after it."""
        if self.error is None:
            self.error, self.detail = error, detail

    @property
    def content_tokens(self) -> list[int] | None:
        """Tokens of each content chunk; None where the server did not count as it went."""
        return self._content_tokens or None

    @property
    def input_tokens(self) -> int | None:
        """As billed: cached ones included."""
        return token_counts(self._usage).input_tokens

    @property
    def cached_input_tokens(self) -> int | None:
        """Read from a cache."""
        return token_counts(self._usage).cached_input_tokens

    @property
    def output_tokens(self) -> int | None:
        """As billed: reasoning included. A count of 0 is none where text came."""
        counted = token_counts(self._usage).output_tokens
        return None if self.content_at and not counted else counted

    @property
    def reasoning_tokens(self) -> int | None:
        """As the server counts, or as its total implies; None where neither gives any."""
        return token_counts(self._usage).reasoning_tokens

    # ---- events and chunks -------------------------------------------------------------------

    def _event(self, event: "_Event") -> None:
        name, payload, at = event
        self._events_n += name is not None
        self._documents_n += name is None
        if name and re.search("error|exception", name, re.I):
            self._set_error("server_error", payload.decode(errors="replace"))
        elif payload == b"[DONE]":
            self._ends.add("[DONE]")
        elif (value := _json(payload)) is not None:
            for chunk in value if isinstance(value, list) else [value]:
                try:
                    self._chunk(chunk, at)
                except (ValueError, TypeError, AttributeError, LookupError):
                    self._set_error("malformed", payload.decode(errors="replace"))
        elif name in ("", "message", None):  # other events may say anything: a ping, a goodbye
            self._set_error("malformed", payload.decode(errors="replace"))

    def _chunk(self, chunk: Mapping[str, Any], at: float) -> None:
        usage, choices = _mapping(chunk, "usage"), chunk.get("choices") or ()
        if error := error_message(chunk, choices):
            self._set_error("server_error", error)
            return
        if not choices and not usage:
            self._notice = self._notice or _words(chunk)
        self.served_model = _text(chunk, "model") or self.served_model
        self.fingerprint = _text(chunk, "system_fingerprint") or self.fingerprint
        self.metrics = _mapping(chunk, "metrics") or self.metrics
        self.groq = _mapping(_mapping(chunk, "x_groq"), "usage") or self.groq
        text, answers, thinks = "", False, False
        for choice in choices:
            message = self._message(choice)
            thought, written = content_parts(message.get("content") or message.get("text"))
            thought |= _any_of(message, _REASONING)
            answers |= _any_of(message, _BESIDE_TEXT)
            # a server without a tokenizer streams token ids and empty text
            answers |= bool(choice.get("token_ids") and not thought and not written)
            thinks |= thought
            text += written
            if reason := _text(choice, "finish_reason"):
                self.finish_reason = reason
                self._ends.add("finish reason")
        if usage:
            self._usage = _merged(self._usage, usage)
            if self._has_begun and not choices and _tokens(usage, "completion_tokens"):
                self._ends.add("usage")  # a count by itself is the last that a server sends
        self._time(text, answers, thinks, usage, at)

    def _message(self, choice: Mapping[str, Any]) -> Mapping[str, Any]:
        """The new part of a choice. A whole message beside its deltas repeats them."""
        delta: Any = choice.get("delta")
        repeats = isinstance(delta, dict) and self._has_begun
        message: Mapping[str, Any] = delta or ({} if repeats else choice.get("message") or choice)
        return message

    @property
    def _has_begun(self) -> bool:
        """Whether any text has come."""
        return bool(self.content_at or self._undecided or self.reasoning_at is not None)

    def _time(
        self, text: str, answers: bool, thinks: bool, usage: Mapping[str, Any], at: float
    ) -> None:
        """Records a chunk as answer or reasoning. Tags in its text, or in later text, decide."""
        if text:
            is_answer = self._tags.read(text)
            if is_answer is None:
                self._undecided.append((at, usage))
                return
            self._decide(is_answer and not self._tags.opened)
            if self._tags.retracts:
                self._retract(at)
            answers, thinks = answers or is_answer, thinks or self._tags.thinks
        elif answers:
            self._decide(is_answer=True)
        if thinks and self.reasoning_at is None:
            self.reasoning_at = at
        if answers:
            self.content_at.append(at)
        if answers or thinks or text:
            self._count(usage, answers)

    def _decide(self, is_answer: bool) -> None:
        """Settles the chunks that could have begun a tag: part of the answer, or of reasoning."""
        for at, usage in self._undecided:
            if is_answer:
                self.content_at.append(at)
            self._count(usage, is_answer)
        self._undecided.clear()

    def _retract(self, at: float) -> None:
        """Counts all text so far as reasoning."""
        first = self.content_at[0] if self.content_at else at
        self.reasoning_at = first if self.reasoning_at is None else min(first, self.reasoning_at)
        self.content_at.clear()
        if self._content_tokens:
            self._content_tokens.clear()

    def _count(self, usage: Mapping[str, Any], has_content: bool) -> None:
        """Tokens of this chunk, from a count that the server repeats as it goes.

        Tokens without text, such as half a character, count with the next text.
        """
        if self._content_tokens is None:
            return
        output, reasoning = _split(usage)
        answered = -1 if output is None else output - (reasoning or 0)
        if answered < self._counted and has_content:
            self._content_tokens = None  # no count, or none that grows with the answer
        elif has_content:
            self._content_tokens.append(answered - self._counted)
        self._counted = max(answered, 0)


# ---- from bytes to events ------------------------------------------------------------------------


class _Event(NamedTuple):
    """name: as the stream gives it; None of a JSON document that stands by itself."""

    name: str | None
    payload: bytes
    at: float


class _Events:
    """Server-sent events, from bytes that are cut anywhere.

    Beside what the standard allows: events without the empty line between them, the last without
    its end, and JSON documents by themselves, which whole answers and many errors are.
    Source: WHATWG HTML, section 9.2.6.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._after_cr = self._begun = False
        self._name: str | None = ""
        self._data: list[bytes] = []
        self._at = self._last_at = 0.0

    def read(self, data: bytes, at: float) -> list[_Event]:
        """The events that these bytes complete."""
        if self._after_cr and data[:1] == b"\n":
            data = data[1:]  # of a CRLF whose CR has ended the line
        if not data:
            return []
        self._after_cr = data[-1:] == b"\r"
        lines = (self._rest + data).splitlines(keepends=True)
        self._rest = b"" if lines[-1][-1:] in (b"\r", b"\n") else lines.pop()
        events: list[_Event] = []
        for line in lines:
            self._line(line.rstrip(b"\r\n"), at, events)
        self._last_at = at
        return events

    def rest(self) -> list[_Event]:
        """The event that the end of the body has cut short, as far as it can be read."""
        events: list[_Event] = []
        line, self._rest = self._rest, b""
        name, _, value = line.partition(b":")
        is_whole = name == b"error" or value.strip() == b"[DONE]" or _json(value) is not None
        if is_whole or self._name is None or line[:1] in (b"{", b"["):
            self._line(line, self._last_at, events)
        self._dispatch(events)
        return events

    def _line(self, line: bytes, at: float, events: list[_Event]) -> None:
        if not self._begun:
            line, self._begun = line.removeprefix(b"\xef\xbb\xbf"), True
        if self._name is None:
            self._document(line, at, events)
            return
        if not line:
            self._dispatch(events)
            return
        name, _, value = line.partition(b":")
        if name == b"data":
            if self._data and _json(b"\n".join(self._data)) is not None:
                self._dispatch(events)
            self._data.append(value.removeprefix(b" "))
            self._at = at
        elif name == b"event":
            self._name = value.decode(errors="replace").strip()
        elif name == b"error":  # llama.cpp
            events.append(_Event("error", value, at))
        elif line.lstrip()[:1] in (b"{", b"["):
            self._document(line, at, events)

    def _document(self, line: bytes, at: float, events: list[_Event]) -> None:
        """A line of a JSON document, which may have several."""
        if self._name is not None:
            self._dispatch(events)
            self._name = None
        self._data.append(line)
        self._at = at
        if line.rstrip()[-1:] in (b"}", b"]") and _json(b"\n".join(self._data)) is not None:
            self._dispatch(events)

    def _dispatch(self, events: list[_Event]) -> None:
        """The event whose lines have come, as of its last line of data."""
        if payload := b"\n".join(self._data).strip():
            events.append(_Event(self._name, payload, self._at))
        self._name, self._data = "", []


class _Decoder:
    """Undoes gzip or deflate, as bytes come; deflate with its header or without."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(47)
        self._undecided: bytes | None = b""

    def decoded(self, data: bytes) -> bytes:
        """What the bytes hold. Raises: zlib.error if they are something else."""
        if self._undecided is not None:
            self._undecided += data
        try:
            plain = self._inflate.decompress(data)
        except zlib.error:
            if self._undecided is None:
                raise
            self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
            plain = self._inflate.decompress(self._undecided)
            self._undecided = None
        if plain:
            self._undecided = None
        while rest := self._inflate.unused_data:  # each flush may be a file of its own
            self._inflate = zlib.decompressobj(47)
            plain += self._inflate.decompress(rest)
        return plain


# ---- thinking within the text --------------------------------------------------------------------


class _Tags:
    """Separates an answer from the reasoning between tags before it.

    opened: the text began with a tag. Of the last piece: thinks, whether it has reasoning, and
    retracts, whether it closed what no tag had opened, so that all text before was reasoning.
    """

    def __init__(self) -> None:
        self.opened = self.thinks = self.retracts = False
        self._place: Literal["before", "thinking", "after", "answer"] = "before"
        self._text, self._closing = "", _UNOPENED

    def read(self, text: str) -> bool | None:
        """Whether this piece has text of the answer; None while it may be half of a tag."""
        self.thinks = self.retracts = False
        if self._place == "answer" and (self.opened or not (self._text or "<" in text)):
            return True
        self._text += text
        if self._place == "before":
            begun = self._text.lstrip()
            tag = next((tag for tag in _THINKING_TAGS if begun.startswith(tag)), None)
            if tag is None and any(tag.startswith(begun) for tag in _THINKING_TAGS):
                return None
            self._place = "answer"
            if tag is not None:
                self._place, self.opened = "thinking", True
                self._text, self._closing = begun[len(tag) :], _THINKING_TAGS[tag]
        if self._place != "after":
            self._until_closed()
        if self._place == "after" and self._text.strip():
            self._place = "answer"
        return self._place == "answer"

    def _until_closed(self) -> None:
        """Looks for the closing tag, of which the end of the text may be the beginning."""
        inside, closing, after = self._text.partition(self._closing)
        if closing:
            self.thinks, self.retracts = bool(inside.strip()), not self.opened
            self._place, self._text, self.opened = "after", after, True
            return
        lengths = range(min(len(self._closing), len(inside)), 0, -1)
        half = next((k for k in lengths if self._closing.startswith(inside[-k:])), 0)
        self._text = inside[len(inside) - half :]
        self.thinks = self._place == "thinking" and bool(inside[: len(inside) - half].strip())


def without_reasoning(text: str) -> str:
    r"""A whole text without the reasoning between tags before its answer; empty if that never ends.

    >>> without_reasoning("<think>2 + 2</think>\n4"), without_reasoning("2 + 2</think>4")
    ('4', '4')
    >>> without_reasoning("<think>2 + 2 is"), without_reasoning("4 < 5")
    ('', '4 < 5')
    """
    begun = text.lstrip()
    for opening, closing in _THINKING_TAGS.items():
        if begun.startswith(opening):
            return begun.partition(closing)[2].lstrip()
    _, closed, after = text.partition(_UNOPENED)
    return after.lstrip() if closed else text


# ---- what is in a chunk --------------------------------------------------------------------------


def _json(payload: bytes) -> Any:
    """The JSON value of a text; None if it is not JSON, or null."""
    try:
        return json.loads(payload.decode())
    except (ValueError, RecursionError):
        return None


def error_message(chunk: Mapping[str, Any], choices: Any = ()) -> str:
    """The error message in a chunk, in any envelope; empty where there is none."""
    for part in (chunk, *choices):
        if _any_of(part, _ERRORS):
            error = next(part[name] for name in sorted(_ERRORS) if part.get(name))
            return _words(error) or _words(part) or json.dumps(error, ensure_ascii=False)
    if not _KINDS.isdisjoint(chunk) or "error" in str(chunk.get("object")):
        kinds = f"{chunk.get('object')} {chunk.get('type')} {chunk.get('status')}"
        answer = _mapping(chunk, "base_resp")
        codes = [] if choices else [chunk.get(name) for name in _CODES]
        if (
            re.search("error|failed", kinds)
            or chunk.get("success") is False
            or any(code not in _GOOD_CODES for code in (*codes, answer.get("status_code")))
        ):
            return _words(chunk) or json.dumps(chunk, ensure_ascii=False)
    return ""


def _any_of(part: Mapping[str, Any], names: frozenset[str]) -> bool:
    """Whether a part has something under one of these names; quick where it has none of them."""
    return not names.isdisjoint(part) and any(part.get(name) for name in names)


def _words(error: Any) -> str:
    """The sentence in an error, or the whole of it; empty for a chunk without any."""
    if isinstance(error, str):
        return error
    if not isinstance(error, dict):
        return ""
    words = next((error[name] for name in _MESSAGES if error.get(name)), "")
    return words if isinstance(words, str) else json.dumps(words, ensure_ascii=False)


def content_parts(content: Any) -> tuple[bool, str]:
    """Whether a message's content has reasoning, and its text. It may be a list of parts."""
    if not content or isinstance(content, str):
        return False, content or ""
    thinks, text = False, ""
    for part in content if isinstance(content, list) else [content]:
        if not isinstance(part, dict):
            text += str(part)
        elif re.search("think|thought|reason", f"{part.get('type')} {' '.join(part)}"):
            thinks |= any(value for name, value in part.items() if name != "type")
        else:
            text += str(part.get("text") or part.get("content") or "")
    return thinks, text


def _merged(before: Mapping[str, Any], usage: Mapping[str, Any]) -> Mapping[str, Any]:
    """The counts up to now, when some come early and some late. A total is that of its chunk."""
    merged = {name: count for name, count in before.items() if name != "total_tokens"}
    return merged | {name: count for name, count in usage.items() if count or name not in merged}


class TokenCounts(NamedTuple):
    """Tokens of one answer, as billed; None where the server gave no count."""

    input_tokens: int | None
    cached_input_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None


def token_counts(usage: Mapping[str, Any]) -> TokenCounts:
    """The tokens in a server's `usage`: cached ones by OpenAI's name for them or DeepSeek's.

    An input of 0 tokens is no count: no prompt is empty.

    >>> token_counts({"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25})
    TokenCounts(input_tokens=20, cached_input_tokens=None, output_tokens=5, reasoning_tokens=None)
    """
    cached = _tokens(_mapping(usage, "prompt_tokens_details"), "cached_tokens")
    if cached is None:
        cached = _tokens(usage, "prompt_cache_hit_tokens")
    return TokenCounts(_tokens(usage, "prompt_tokens") or None, cached, *_split(usage))


def _split(usage: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Output tokens and the reasoning among them.

    Google's compatible endpoint counts thinking in the total alone; xAI counts it apart and in the
    total, but not in the completion.
    """
    written = _tokens(usage, "completion_tokens")
    counted = _tokens(_mapping(usage, "completion_tokens_details"), "reasoning_tokens")
    if written is None:
        return None, counted
    total, read = (_tokens(usage, f"{part}_tokens") or 0 for part in ("total", "prompt"))
    apart = max(total - read - written, 0) if read else 0
    return written + apart, counted or apart or counted


def _tokens(usage: Mapping[str, Any], name: str) -> int | None:
    """A count that the server gave, as 20, 20.0 or "20"; None if it is none."""
    count = usage.get(name)
    if type(count) not in (int, float, str):
        return None
    try:
        number = float(count)  # type: ignore[arg-type]
    except (ValueError, OverflowError):
        return None
    return int(number) if number >= 0 and number.is_integer() else None


def _mapping(whole: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A part of a whole, empty if it is none."""
    part = whole.get(name)
    return part if isinstance(part, dict) else {}


def _text(whole: Mapping[str, Any], name: str) -> str | None:
    """A text in a whole, None if it is none."""
    text = whole.get(name)
    return text if isinstance(text, str) else None

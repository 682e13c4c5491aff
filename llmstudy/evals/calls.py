"""One answer of an endpoint, through the `openai` client, with its tokens, times and cost.

Answers are streamed, so that the time to the first token comes with them; an endpoint that does not
stream, or refuses `stream_options`, is used without. A request that fails in a way that may pass is
sent again with a growing wait, as long as no part of an answer has come.
"""

import asyncio
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from time import perf_counter
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from llmstudy.evals.routes import Route
from llmstudy.evals.table import SCRIPTED
from llmstudy.probe.call import RETRIED_STATUS, retry_wait_s
from llmstudy.probe.stream import (
    TokenCounts,
    content_parts,
    error_message,
    token_counts,
    without_reasoning,
)

_DETAIL_CHARACTERS = 300

Messages = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Call:
    """What is sent to a route. epoch: number of the repeat, which makes it another call.

    needs_format: whether the answer is worth nothing without the response_format; else it is left
    out for an endpoint that refuses it.
    """

    messages: Messages
    max_output_tokens: int
    epoch: int = 1
    response_format: Mapping[str, Any] | None = None
    needs_format: bool = True

    def key(self, route: Route) -> str:
        """SHA-256 of all that the answer depends on: equal calls of a route have one key."""
        endpoint = route.endpoint
        content = [
            *(endpoint.base_url.rstrip("/"), endpoint.model, dict(endpoint.body)),
            *(list(self.messages), self.max_output_tokens, self.response_format, self.epoch),
        ]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def n_bytes(self) -> int:
        """Bytes of its messages: no tokenizer makes more tokens of their text than it has bytes."""
        text = json.dumps(list(self.messages), ensure_ascii=False)
        return len(text.encode("utf-8", "surrogatepass"))


@dataclass(frozen=True)
class Reply:
    """The answer to a call, or its failure.

    text: without reasoning between tags. Counts are the server's, None where it gave none.
    latency_s, ttft_s: of the attempt that answered, from sending it, without waits for a retry.
    cost_usd: of an answer without a count, and of one that failed midway, the most that it can have
    cost; `counted` tells. scripted: a test server made it up, which its `system_fingerprint` says.
    """

    key: str
    base_url: str
    model: str
    at: str
    attempts: int
    text: str | None = None
    finish_reason: str | None = None
    served_model: str | None = None
    input_tokens: int | None = None
    cached_input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    latency_s: float | None = None
    ttft_s: float | None = None
    cost_usd: float = 0.0
    counted: bool = False
    scripted: bool = False
    error: str | None = None
    detail: str = ""


class _FailureError(Exception):
    """An attempt that failed. billed: whether the server may have charged for it."""

    def __init__(
        self,
        error: str,
        detail: str = "",
        headers: Mapping[str, str] | None = None,
        retry: bool = False,
        billed: bool = False,
    ) -> None:
        super().__init__(error)
        self.error, self.detail, self.headers = error, detail, headers or {}
        self.retry, self.billed = retry, billed


class Client:
    """The client of one route. timeout_s: of one attempt."""

    def __init__(self, route: Route, timeout_s: float, max_retries: int) -> None:
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient, Omit

        endpoint = route.endpoint
        parts = urlsplit(endpoint.base_url)
        ours = {name.lower() for name in (*endpoint.credentials, *endpoint.headers)}
        # what the library takes from its own variables is not this endpoint's to see
        theirs = ("Authorization", "OpenAI-Organization", "OpenAI-Project")
        withheld = {name: Omit() for name in theirs if name.lower() not in ours}
        given = {**endpoint.credentials, **endpoint.headers}
        # by the spelling under which the library replaces its own
        self._headers = {**withheld, **{name.title(): value for name, value in given.items()}}
        self.route, self._timeout_s, self._max_retries = route, timeout_s, max_retries
        self._streams, self._formats = True, True
        self._counts_in_stream = "stream_options" not in endpoint.drop
        self._client = AsyncOpenAI(
            api_key="none",
            base_url=parts._replace(query="").geturl(),
            default_query=dict(parse_qsl(parts.query)),
            max_retries=0,
            timeout=timeout_s,
            # as a probe: plain HTTP goes straight to its host, and no redirect is followed
            http_client=DefaultAsyncHttpxClient(
                trust_env=parts.scheme == "https", follow_redirects=False
            ),
        )

        # here: it imports what it needs, which is no latency of the first call
        self._create: Any = self._client.chat.completions.with_raw_response.create

    async def close(self) -> None:
        """Ends its connections."""
        await self._client.close()

    async def send(self, call: Call, most_usd: float) -> Reply:
        """The answer to a call; never raises for a failure of the endpoint.

        most_usd: cost of an answer that may have been billed and was not counted.
        """
        at = datetime.now(UTC)
        for attempt in range(1, self._max_retries + 2):
            try:
                answer = await self._attempt(call)
                return self._reply(call, at, attempt, answer, most_usd)
            except _FailureError as failure:
                wait_s = retry_wait_s(failure.headers, attempt, failure.detail)
                if failure.retry and attempt <= self._max_retries and wait_s <= self._timeout_s:
                    await asyncio.sleep(wait_s)
                    continue
                cost_usd = most_usd if failure.billed else 0.0
                return self.failed(call, at, failure.error, failure.detail, attempt, cost_usd)
        raise AssertionError("an attempt ends in a reply")

    def failed(
        self,
        call: Call,
        at: datetime,
        error: str,
        detail: str = "",
        attempts: int = 1,
        cost_usd: float = 0.0,
    ) -> Reply:
        """A reply that is a failure."""
        endpoint = self.route.endpoint
        return Reply(
            key=call.key(self.route),
            base_url=endpoint.base_url,
            model=endpoint.model,
            at=at.isoformat(timespec="milliseconds"),
            attempts=attempts,
            cost_usd=cost_usd,
            error=error,
            # cut last: half a key would not be redacted
            detail=endpoint.redacted(detail)[:_DETAIL_CHARACTERS],
        )

    def _body(self, call: Call) -> dict[str, Any]:
        endpoint = self.route.endpoint
        body: dict[str, Any] = {}
        if endpoint.token_limit is not None:
            body[endpoint.token_limit] = call.max_output_tokens
        if call.response_format is not None and (self._formats or call.needs_format):
            body["response_format"] = dict(call.response_format)
        if self._streams and self._counts_in_stream:
            body["stream_options"] = {"include_usage": True}
        body |= endpoint.body
        return {name: value for name, value in body.items() if name not in endpoint.drop}

    async def _attempt(self, call: Call) -> "_Answer":
        """One attempt. Raises: _FailureError."""
        import openai

        answer = _Answer()
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._read(call, answer)
        except (TimeoutError, openai.APITimeoutError) as error:
            raise _FailureError(
                "timeout", f"longer than {self._timeout_s:g} s", billed=True
            ) from error
        except openai.APIStatusError as error:
            status, body = error.status_code, error.response.text
            if status in (400, 422) and self._does_without(call, body):
                return await self._attempt(call)
            retry = (status in RETRIED_STATUS or status >= 500) and "insufficient_quota" not in body
            kind = "rate_limited" if status == 429 else f"http_{status}"
            raise _FailureError(kind, _words(body), error.response.headers, retry) from error
        except _connection_errors() as error:
            if answer.begun:
                raise _FailureError("cut", str(error.__cause__ or error), billed=True) from error
            raise _FailureError("connection", str(error.__cause__ or error), retry=True) from error
        except openai.APIError as error:
            detail = str(error.message)
            retry = not answer.begun
            raise _FailureError("server_error", detail, retry=retry, billed=answer.begun) from error
        except (ValueError, TypeError, AttributeError, LookupError) as error:
            if not answer.responded:
                raise
            raise _FailureError(
                "malformed", f"{type(error).__name__}: {error}", billed=True
            ) from error
        if answer.finish_reason is None and not answer.usage:
            raise _FailureError("cut", "it ended without a finish reason", billed=True)
        return answer

    def _does_without(self, call: Call, refusal: str) -> bool:
        """Leaves out a field that an older server refuses; False where none is left to leave."""
        if "stream_options" in refusal and self._counts_in_stream:
            self._counts_in_stream = False
            return True
        names_format = "response_format" in refusal or "json_schema" in refusal
        if names_format and self._formats and call.response_format and not call.needs_format:
            self._formats = False
            return True
        return False

    async def _read(self, call: Call, answer: "_Answer") -> None:
        messages: Any = list(call.messages)
        answer.began = perf_counter()
        raw = await self._create(
            model=self.route.endpoint.model,
            messages=messages,
            stream=self._streams,
            extra_headers=self._headers,
            extra_body=self._body(call),
        )
        answer.responded = True
        if "event-stream" in raw.headers.get("content-type", ""):
            async for chunk in raw.parse():
                answer.feed(chunk, perf_counter() - answer.began)
        else:
            self._streams = False
            answer.whole(json.loads(await raw.http_response.aread()))
        answer.latency_s = perf_counter() - answer.began

    def _reply(
        self, call: Call, at: datetime, attempt: int, answer: "_Answer", most_usd: float
    ) -> Reply:
        endpoint, counts = self.route.endpoint, answer.counts
        text = without_reasoning(answer.text)
        whole = counts.input_tokens is not None and counts.output_tokens is not None
        cached = min(counts.cached_input_tokens or 0, counts.input_tokens or 0)
        cost_usd = most_usd
        if whole:
            assert counts.input_tokens is not None
            assert counts.output_tokens is not None
            cost_usd = self.route.usd([counts.input_tokens], [cached], [counts.output_tokens], at)
        return Reply(
            key=call.key(self.route),
            base_url=endpoint.base_url,
            model=endpoint.model,
            at=at.isoformat(timespec="milliseconds"),
            attempts=attempt,
            text=text,
            finish_reason=answer.finish_reason,
            served_model=answer.served_model,
            **counts._asdict(),
            latency_s=answer.latency_s,
            # where reasoning stands in the text, its first chunk is no answer's
            ttft_s=answer.ttft_s if text == answer.text else None,
            cost_usd=cost_usd,
            counted=whole,
            scripted=answer.scripted,
        )


def _connection_errors() -> tuple[type[Exception], ...]:
    """With those of the transport beneath `openai`, which its version 2 lets out of a stream."""
    import openai

    loaded = (sys.modules.get(name) for name in ("httpx", "httpx2"))
    errors = (module.TransportError for module in loaded if module is not None)
    return (openai.APIConnectionError, *errors)


def _words(body: str) -> str:
    """The message in the body of an error, or all of it."""
    try:
        document = json.loads(body)
    except ValueError:
        return body
    return error_message(document) or body if isinstance(document, dict) else body


class _Answer:
    """An answer as it comes in. Times are since it was sent."""

    def __init__(self) -> None:
        self.began = 0.0
        self.text = ""
        self.responded = self.begun = self.scripted = False
        self.finish_reason: str | None = None
        self.served_model: str | None = None
        self.usage: Mapping[str, Any] = {}
        self.ttft_s: float | None = None
        self.latency_s: float | None = None

    def feed(self, chunk: Any, at_s: float) -> None:
        """A chunk of the stream."""
        self._envelope(chunk.model, chunk.system_fingerprint)
        if chunk.usage is not None:
            self.usage = chunk.usage.model_dump()
        for choice in (chunk.choices or ())[:1]:
            delta = choice.delta
            _, text = content_parts(delta.content if delta is not None else None)
            text = text or getattr(delta, "refusal", None) or ""
            self.begun |= bool(text or (delta is not None and delta.model_extra))
            if text and self.ttft_s is None:
                self.ttft_s = at_s
            self.text += text
            self.finish_reason = choice.finish_reason or self.finish_reason

    def whole(self, document: Mapping[str, Any]) -> None:
        """An answer that came as one document."""
        choice = document["choices"][0]
        message = choice["message"]
        self._envelope(document.get("model"), document.get("system_fingerprint"))
        self.text = content_parts(message.get("content"))[1] or message.get("refusal") or ""
        self.finish_reason = choice.get("finish_reason") or "stop"
        self.usage = document.get("usage") or {}

    def _envelope(self, model: str | None, fingerprint: str | None) -> None:
        self.served_model = model or self.served_model
        self.scripted |= (fingerprint or "").startswith(SCRIPTED)

    @property
    def counts(self) -> TokenCounts:
        """Tokens as the server counts them; no output is no count where text came."""
        counts = token_counts(self.usage)
        return counts._replace(output_tokens=None) if self.text and not counts[2] else counts

"""An endpoint, and the HTTP request that it is sent.

Any endpoint that speaks OpenAI's chat completions or completions: OpenAI, Azure, the compatible
interfaces of Anthropic and Google, hosts of open weights, vLLM, a LiteLLM proxy. A key is named by
its environment variable, read when a request is built, and stored nowhere.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

from llmstudy.probe.options import header_lines, json_object, option

Api = Literal["chat", "completions"]

_AZURE = (".openai.azure.com", ".services.ai.azure.com", ".cognitiveservices.azure.com")

_SECRET_CHARACTERS = 6
"""Fewest characters of a secret; a shorter value of a header is a word."""

TOKEN_LIMITS = ("max_tokens", "max_completion_tokens")

DROPPABLE = (*TOKEN_LIMITS, "stream_options", "return_token_ids")
"""Optional fields of our requests, which some servers refuse."""


@dataclass(frozen=True)
class Endpoint:
    """An endpoint: its address, model and interface, and the fields of every request.

    base_url: up to and without `/chat/completions`. body: recorded with the run. headers: for a
    gateway; their values are not recorded. drop: fields of ours that are not sent (`DROPPABLE`); a
    limit of tokens goes under its other name, if that is not dropped too.
    """

    panel: ClassVar = "The endpoint"

    base_url: str
    model: str
    api: Api = option("chat", "chat or completions.", metavar="API", cli=str)
    key_env: str | None = option(None, "Environment variable that holds the key.", metavar="NAME")
    body: Mapping[str, Any] = option(
        dict,
        """Further fields of every request, as JSON: '{"temperature": 0}'.""",
        metavar="JSON",
        cli=str,
        parse=json_object,
    )
    headers: Mapping[str, str] = option(
        dict,
        "Further header, 'NAME: value' or 'NAME: $VARIABLE'; repeatable.",
        flag="--header",
        metavar="LINE",
        cli=list[str],
        parse=header_lines,
        secret=True,
    )
    drop: tuple[str, ...] = option(
        (),
        "Field that the endpoint refuses: max_tokens (the limit then goes as "
        "max_completion_tokens), max_completion_tokens, stream_options, return_token_ids; "
        "repeatable.",
        metavar="FIELD",
        cli=list[str],
        parse=tuple,
    )

    def __post_init__(self) -> None:
        """Refuse an endpoint that would fail at every request, or leak a credential."""
        if self.api not in ("chat", "completions"):
            raise ValueError(f"api {self.api!r}: write chat or completions")
        parts = urlsplit(self.base_url)
        harmless = re.fullmatch(r"(api-version=[\w.-]*)?", parts.query) and not parts.fragment
        if "@" in parts.netloc or not harmless:
            raise ValueError(
                "the endpoint's address may hold a credential: give only host, path and "
                "api-version, put the key in an environment variable and name that with --key-env, "
                "or send it with --header"
            )
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(
                f"{self.base_url!r} is not the address of an endpoint: write https://HOST/v1"
            )
        if self.key_env and not os.environ.get(self.key_env):
            raise ValueError(f"{self.key_env} is not set: put the endpoint's key in it")
        if any(c in line for line in self._lines for c in "\r\n"):
            raise ValueError("a header holds a line break: check the key and the --header values")
        if unknown := [name for name in self.drop if name not in DROPPABLE]:
            raise ValueError(
                f"--drop {unknown[0]}: only {', '.join(DROPPABLE)} can be left out of a request"
            )

    @property
    def host(self) -> str:
        """Name of the host."""
        return urlsplit(self.base_url).hostname or ""

    @property
    def facts(self) -> dict[str, Any]:
        """The facts of a run's endpoint: no key, no header's value."""
        return {
            "base_url": self.base_url,
            "model": self.model,
            "api": self.api,
            "body": dict(self.body),
            "header_names": sorted(self.headers),
            **({"drop": sorted(self.drop)} if self.drop else {}),
        }

    def redacted(self, text: str) -> str:
        """A server's message without any secret that it repeats."""
        for secret in (*self.credentials.values(), *self.headers.values()):
            if len(secret := secret.removeprefix("Bearer ")) >= _SECRET_CHARACTERS:
                text = text.replace(secret, "[secret]")
        return text

    def message(self, request: "Request") -> bytes:
        """The HTTP request as it goes over the wire, the key within."""
        payload = json.dumps(self._body(request)).encode()
        head = "\r\n".join([*self._lines, f"content-length: {len(payload)}", "", ""])
        return head.encode() + payload

    @property
    def fields(self) -> tuple[str, ...]:
        """Every field that a request may have."""
        return tuple(self._body(Request(0, "warmup", [], output_tokens=1)))

    @property
    def token_limit(self) -> str | None:
        """The field that limits an answer; None where both fields for it are dropped.

        OpenAI's reasoning models refuse the older name; others do not know the newer one.
        """
        newer = self.host.endswith(("api.openai.com", *_AZURE)) and self.api == "chat"
        names = reversed(TOKEN_LIMITS) if newer else TOKEN_LIMITS
        return next((name for name in names if name not in self.drop), None)

    def _body(self, request: "Request") -> dict[str, Any]:
        body: dict[str, Any] = {"model": self.model, "stream": True}
        if self.api == "chat":
            body["messages"] = [{"role": "user", "content": request.prompt}]
        else:
            body["prompt"] = request.prompt
        if isinstance(request.prompt, list):
            body["return_token_ids"] = True  # a server without a tokenizer has no text to stream
        if request.output_tokens is not None and self.token_limit is not None:
            body[self.token_limit] = request.output_tokens
        body["stream_options"] = {"include_usage": True}
        body |= self.body
        return {name: value for name, value in body.items() if name not in self.drop}

    @property
    def _lines(self) -> list[str]:
        parts = urlsplit(self.base_url)
        path = f"{parts.path.rstrip('/')}/{'chat/' if self.api == 'chat' else ''}completions"
        headers = {
            "host": parts.netloc,
            "content-type": "application/json",
            "accept": "text/event-stream",
            "user-agent": "llmstudy",
            **self.credentials,
            **{name.lower(): value for name, value in self.headers.items()},
        }
        first = f"POST {path}{'?' + parts.query if parts.query else ''} HTTP/1.1"
        return [first, *(f"{name}: {value}" for name, value in headers.items())]

    @property
    def credentials(self) -> dict[str, str]:
        """The header with the key, which only a request may have."""
        if not self.key_env:
            return {}
        key = os.environ[self.key_env]
        return (
            {"api-key": key} if self.host.endswith(_AZURE) else {"authorization": f"Bearer {key}"}
        )


@dataclass(frozen=True)
class Request:
    """One request of a plan. prompt: text, or token ids for the completions interface.

    scheduled_s: since the run's start; None in closed loop. input_tokens: what the prompt was made
    to hold; output_tokens: the limit set, None for none.
    """

    index: int
    phase: Literal["warmup", "measure"]
    prompt: str | list[int]
    input_tokens: int | None = None
    output_tokens: int | None = None
    scheduled_s: float | None = None
    prefix_group: int | None = None

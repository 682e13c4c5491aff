"""Sends one request through the gateway and reads all that comes, whatever comes."""

import http.client
import json
from collections.abc import Callable, Mapping
from functools import partial
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

from llmstudy.export.accounting import Reply
from llmstudy.export.upstreams import TOKENS


def send(
    base_url: str,
    key: str,
    name: str,
    identity: str,
    streamed: bool,
    timeout_s: float = 60.0,
    form: Mapping[str, Any] | None = None,
) -> Reply:
    """Sends one chat completion to a name of the gateway; never raises for what goes wrong.

    identity: of the request; it is the prompt, so that an upstream's list has it, and the session
    of the gateway's log row. form: further fields of the request, such as its tools.
    """
    body = {"messages": [{"role": "user", "content": identity}], "stream": streamed, **(form or {})}
    read = _read_stream if streamed else partial(_read_whole, _text)
    return _sent(base_url, "chat/completions", key, name, identity, timeout_s, body, read)


def retrieve(
    base_url: str, key: str, name: str, identity: str, mode: str, timeout_s: float = 60.0
) -> Reply:
    """Asks a name of the gateway for the vectors of `TOKENS` texts, or to rank them.

    mode: `embedding` or `rerank`. Returns: as `send`, with a numbered token for each text that an
    upstream embedded or ranked, in its order.
    """
    texts = [f"text {i}" for i in range(TOKENS)]
    if mode == "rerank":
        path, body, words = "rerank", {"query": identity, "documents": texts}, _ranks
    else:
        path, body, words = "embeddings", {"input": texts}, _vectors
    read = partial(_read_whole, words)
    return _sent(base_url, path, key, name, identity, timeout_s, body, read)


def _sent(
    base_url: str,
    path: str,
    key: str,
    name: str,
    identity: str,
    timeout_s: float,
    body: Mapping[str, Any],
    read: Callable[[http.client.HTTPResponse, float], Reply],
) -> Reply:
    address = urlsplit(base_url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=timeout_s)
    document = json.dumps({"model": name, "metadata": {"session_id": identity}, **body})
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    start = perf_counter()
    try:
        connection.request("POST", f"/v1/{path}", document, headers)
        response = connection.getresponse()
        if response.status != 200:
            response.read()
            return Reply("", True, False, None, perf_counter() - start)
        return read(response, start)
    except (OSError, http.client.HTTPException):
        return Reply("", True, False, None, perf_counter() - start)
    finally:
        connection.close()


def _read_whole(
    words: Callable[[Mapping[str, Any]], str], response: http.client.HTTPResponse, start: float
) -> Reply:
    """An answer in one piece. words: takes its content out of the document."""
    try:
        document = json.loads(response.read())
        content = words(document)
    except (OSError, ValueError, http.client.HTTPException):
        return Reply("", True, False, None, perf_counter() - start)
    return Reply(content, "error" in document, True, None, perf_counter() - start)


def _text(document: Mapping[str, Any]) -> str:
    choices = document.get("choices") or [{}]
    return (choices[0].get("message") or {}).get("content") or ""


def _vectors(document: Mapping[str, Any]) -> str:
    """A mock's vector is the name of the upstream, letter by letter."""
    rows = document.get("data") or []
    names = ["".join(chr(round(letter)) for letter in row["embedding"]) for row in rows]
    return " ".join(f"{name}#{row['index'] + 1}" for name, row in zip(names, rows, strict=True))


def _ranks(document: Mapping[str, Any]) -> str:
    rows = document.get("results") or []
    return " ".join(f"{document['id']}#{row['index'] + 1}" for row in rows)


def _read_stream(response: http.client.HTTPResponse, start: float) -> Reply:
    content, error, ended = "", False, False
    first_s: float | None = None
    try:
        while line := response.readline():
            if not line.startswith(b"data:"):
                continue
            event = line[5:].strip()
            if event == b"[DONE]":
                ended = True
                continue
            chunk: dict[str, Any] = json.loads(event)
            error = error or "error" in chunk
            for choice in chunk.get("choices") or []:
                text = (choice.get("delta") or {}).get("content") or ""
                if text and first_s is None:
                    first_s = perf_counter() - start
                content += text
    except (OSError, ValueError, http.client.HTTPException):
        error = True
    return Reply(content, error, ended, first_s, perf_counter() - start)

"""Sends one request through the gateway and reads all that comes, whatever comes."""

import http.client
import json
from collections.abc import Mapping
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

from llmstudy.export.accounting import Reply


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
    address = urlsplit(base_url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=timeout_s)
    body = {
        "model": name,
        "messages": [{"role": "user", "content": identity}],
        "stream": streamed,
        "metadata": {"session_id": identity},
        **(form or {}),
    }
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    start = perf_counter()
    try:
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        response = connection.getresponse()
        if response.status != 200:
            response.read()
            return Reply("", True, False, None, perf_counter() - start)
        read = _read_stream if streamed else _read_whole
        return read(response, start)
    except (OSError, http.client.HTTPException):
        return Reply("", True, False, None, perf_counter() - start)
    finally:
        connection.close()


def _read_whole(response: http.client.HTTPResponse, start: float) -> Reply:
    try:
        document = json.loads(response.read())
    except (OSError, ValueError, http.client.HTTPException):
        return Reply("", True, False, None, perf_counter() - start)
    choices = document.get("choices") or [{}]
    content = (choices[0].get("message") or {}).get("content") or ""
    return Reply(content, "error" in document, True, None, perf_counter() - start)


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

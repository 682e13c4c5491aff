"""Advice on a failure: what to change in the command."""

import re
from functools import cache
from typing import Literal
from urllib.parse import urljoin, urlsplit

import pandas as pd

from llmstudy import paths
from llmstudy.probe.endpoint import DROPPABLE, TOKEN_LIMITS, Endpoint

_UNKNOWN = (
    "unsupported|not support|unknown|unrecogni[sz]|not permitted|extra|unexpected|not allowed"
    "|invalid|additional|deprecated|forbidden|removed"
)
_TOO_LOW = "higher|increase|too (low|small|short)|minimum|at least|greater than|>="
_TOO_HIGH = "too (large|high|big|long|many)|at most|maximum|exceed|less than|<="


@cache
def _table(where: str) -> list[tuple[re.Pattern[str], str]]:
    """Patterns in the text of a failure and what to change: data/failure_advice.csv."""
    table = pd.read_csv(paths.data("failure_advice.csv"))
    rows = table.loc[table["where"] == where, ["pattern", "advice"]].itertuples(index=False)
    return [(re.compile(pattern), advice) for pattern, advice in rows]


def advice_on(where: Literal["endpoint", "vllm"], text: str) -> str | None:
    """What to change about a failure with this text: the first of the table that matches.

    >>> advice_on("vllm", "main.py: error: unrecognized arguments: --fast").partition(":")[0]
    'this version of vLLM has no flag --fast'
    """
    matches = ((pattern.search(text), advice) for pattern, advice in _table(where))
    return next((advice.format(**match.groupdict()) for match, advice in matches if match), None)


def advice(endpoint: Endpoint, error: str, detail: str) -> str:
    """How to fix a refused request: one sentence, without its full stop.

    error: as `Sample.error`; detail: the server's message.

    >>> text = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
    >>> advice(Endpoint("http://127.0.0.1:8000/v1", "m"), "http_400", text)
    'Send it without: --drop max_tokens, and the limit goes as max_completion_tokens'
    """
    if target := re.search(r"^it redirects to (\S+)", detail):
        to = urljoin(endpoint.base_url, target[1])
        return f"Redirects are not followed: give {_up_to_interface(to)} if that is the endpoint"
    if error.startswith(("http_4", "server_error")) and (field := _field(endpoint, error, detail)):
        return field
    if error == "connection" and endpoint.base_url.startswith("http://") and "EOF" in detail:
        return "If the port expects TLS, write https:// in the address"
    return advice_on("endpoint", f"{error}: {detail}") or "Check address, model and key"


def _field(endpoint: Endpoint, error: str, detail: str) -> str:
    """Advice for the field of the request that the server names, empty if it names none."""
    if re.search("context length|context window", detail, re.I):
        return "Ask for less with --input-tokens or --output-tokens"
    fields = endpoint.fields
    in_detail = [name for name in fields if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", detail)]
    for name in in_detail:
        if name in TOKEN_LIMITS and re.search(_TOO_LOW, detail, re.I):
            return "Let it write more with --output-tokens"
        if name in TOKEN_LIMITS and re.search(_TOO_HIGH, detail, re.I):
            return "Let it write less with --output-tokens"
        if not re.search(_UNKNOWN, detail, re.I):
            continue
        if name in endpoint.body:
            return f"Leave {name} out of --body"
        if name in DROPPABLE:
            other = [x for x in TOKEN_LIMITS if x not in (name, *endpoint.drop)]
            is_limit = name in TOKEN_LIMITS and other
            instead = f", and the limit goes as {other[0]}" if is_limit else ""
            return f"Send it without: --drop {name}{instead}"
    return ""


def _up_to_interface(url: str) -> str:
    """An address as the command takes it: without the path that requests add."""
    path = urlsplit(url).path
    return url.replace(path, re.sub(r"(/chat)?/completions/?$", "", path)) if path else url

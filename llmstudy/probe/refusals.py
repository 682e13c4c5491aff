"""Advice for a refused first request: what to change in the command."""

import re
from collections.abc import Mapping
from urllib.parse import urljoin, urlsplit

from llmstudy.probe.endpoint import DROPPABLE, TOKEN_LIMITS, Endpoint

_UNKNOWN = (
    "unsupported|not support|unknown|unrecogni[sz]|not permitted|extra|unexpected|not allowed"
)
_UNKNOWN += "|invalid|additional|deprecated|forbidden|removed"
_TOO_LOW = "higher|increase|too (low|small|short)|minimum|at least|greater than|>="
_TOO_HIGH = "too (large|high|big|long|many)|at most|maximum|exceed|less than|<="

_BY_TEXT: Mapping[str, str] = {
    r"https port|https server|answers in tls": "Write https:// in the address",
    r"wrong_version|record_layer|wrong version|http_request|unexpected_eof|packet length": (
        "The port may not speak TLS: write http:// in the address"
    ),
    r"did not open|ssl handshake": (
        "Check host and port: nothing answers there, or it does not speak TLS and http:// is right"
    ),
    r"certificate": (
        "Name the file of its certificate's authority in SSL_CERT_FILE, or write the host as its "
        "certificate has it"
    ),
    r"^http_401|^http_403": "Check the key, and name its variable with --key-env",
    r"^http_404|^http_405": "Check the address, which ends before /chat, and the model's name",
    r"^rate_limited": "Wait; or keep to its limits with --rpm and --tpm",
    r"^filtered": "Have its filter let random words pass, of which the prompts consist",
    r"^http_5|^server_error": "Try again when the server is well",
    r"^timeout": "Give it more time with --timeout",
    r"^malformed.*html": (
        "That is a web page: check the address, up to /v1, and what stands before the endpoint"
    ),
    r"^empty: reasoning": "Let it write more with --output-tokens",
    r"^cut: it ended": "Ask what ends its streams, the server or a proxy before it",
}
"""Advice by a pattern in the kind of failure and the server's message. The first match counts."""


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
    text = f"{error}: {detail}"
    fitting = (words for about, words in _BY_TEXT.items() if re.search(about, text, re.I | re.S))
    return next(fitting, "Check address, model and key")


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
            instead = (
                f", and the limit goes as {other[0]}" if name in TOKEN_LIMITS and other else ""
            )
            return f"Send it without: --drop {name}{instead}"
    return ""


def _up_to_interface(url: str) -> str:
    """An address as the command takes it: without the path that requests add."""
    path = urlsplit(url).path
    return url.replace(path, re.sub(r"(/chat)?/completions/?$", "", path)) if path else url

"""What a server refuses is named with the option that mends it."""

import pytest

from llmstudy.probe.endpoint import Endpoint
from llmstudy.probe.refusals import advice


def endpoint(url="http://127.0.0.1:8000/v1", **given):
    return Endpoint(url, "m", **given)


OPENAI = "Unsupported parameter: 'max_tokens' is not supported with this model. Use {} instead."
EXTRA = '[{"type": "extra_forbidden", "loc": ["body", "%s"], "msg": "Extra inputs not permitted"}]'


@pytest.mark.parametrize(
    ("error", "said", "drop", "wanted"),
    [
        ("http_400", OPENAI.format("'max_completion_tokens'"), (), "--drop max_tokens, and the"),
        ("server_error", OPENAI.format("'max_completion_tokens'"), (), "--drop max_tokens, and"),
        ("http_422", EXTRA % "stream_options", (), "--drop stream_options"),
        ("http_400", EXTRA % "max_tokens", (), "limit goes as max_completion_tokens"),
        ("http_400", EXTRA % "max_completion_tokens", ("max_tokens",), "max_completion_tokens"),
        ("http_400", "unknown field return_token_ids", (), "--drop return_token_ids"),
        ("http_400", "Unrecognized request argument: top_k", (), "Leave top_k out of --body"),
        ("http_400", "Please try again with higher max_tokens.", (), "more with --output-tokens"),
        ("http_400", "max_tokens is too large: 32768. At most 16384", (), "less with --output"),
        ("http_400", "maximum context length is 128 tokens, max_tokens 9", (), "--input-tokens"),
        ("http_401", "no", (), "--key-env"),
        ("http_404", "no such model", (), "the model's name"),
        ("http_405", "", (), "Check the address"),
        ("rate_limited", "slow", (), "--rpm"),
        ("http_503", "", (), "Try again"),
        ("timeout", "", (), "--timeout"),
        ("connection", "[SSL: WRONG_VERSION_NUMBER] wrong version number", (), "write http://"),
        ("connection", "the port answers in TLS: x", (), "rite https://"),
        ("connection", "the server closed the connection: EOF", (), "rite https://"),
        ("http_400", "Client sent an HTTP request to an HTTPS server.", (), "rite https://"),
        ("http_400", "The plain HTTP request was sent to HTTPS port", (), "rite https://"),
        ("connection", "CERTIFICATE_VERIFY_FAILED", (), "SSL_CERT_FILE"),
        ("http_418", "I am a teapot", (), "Check address, model and key"),
    ],
)
def test_the_advice_is_the_option_that_mends_it(error, said, drop, wanted):
    assert wanted in advice(endpoint(body={"top_k": 1}, drop=drop), error, said)


def test_nothing_is_advised_that_was_not_sent_or_would_change_nothing():
    said = EXTRA % "max_completion_tokens"
    assert "--drop" not in advice(endpoint(), "http_400", said)
    both = endpoint(drop=("max_tokens",))
    assert advice(both, "http_400", said) == "Send it without: --drop max_completion_tokens"


@pytest.mark.parametrize(
    ("location", "address"),
    [
        ("/ok/v1/chat/completions", "http://127.0.0.1:8000/ok/v1"),
        ("https://h.example/v1/chat/completions/", "https://h.example/v1"),
        ("https://login.example/start", "https://login.example/start"),
        ("https://h.example", "https://h.example"),
    ],
)
def test_a_redirect_says_where_it_points(location, address):
    assert f"give {address} if" in advice(endpoint(), "http_307", f"it redirects to {location}")

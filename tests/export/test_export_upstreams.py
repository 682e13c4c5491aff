"""The mocks do what they say, as a client reads it; no status fools the accounting."""

import http.client
import json
from urllib.parse import urlsplit

import pytest

from llmstudy.export.accounting import Reply
from llmstudy.export.client import send
from llmstudy.export.upstreams import FAULTS, SENT_TOKENS, TOKENS, upstreams


@pytest.fixture(scope="module")
def mocks():
    with upstreams(["api-a", "api-b"]) as running:
        yield running


def ask(mocks, fault, streamed, timeout_s=5.0):
    """What a client gets straight from an upstream with a fault."""
    mocks.set_fault("api-a", fault)
    address = mocks["api-a"].base_url.removesuffix("/v1")
    try:
        return send(address, "none", "model", f"{fault}-{streamed}", streamed, timeout_s)
    finally:
        mocks.set_fault("api-a", "healthy")


@pytest.mark.parametrize(
    ("fault", "streamed", "verdict", "silent"),
    [
        ("healthy", False, "answered", False),
        ("healthy", True, "answered", False),
        ("slow first token", True, "answered", False),
        ("500", False, "failed", False),
        ("429", True, "failed", False),
        ("killed", False, "failed", False),
        ("cut", False, "failed", False),
        ("cut", True, "truncated", False),
        ("clean end", False, "failed", False),
        ("clean end", True, "truncated", False),
        ("empty", False, "failed", False),
        ("empty", True, "failed", False),
    ],
)
def test_what_became_of_a_request_is_told_by_its_content(mocks, fault, streamed, verdict, silent):
    reply = ask(mocks, fault, streamed)
    assert (reply.verdict, reply.silent) == (verdict, silent)
    assert reply.answered_by == (None if verdict == "failed" else "api-a")


def test_a_hanging_upstream_takes_the_request_and_never_answers(mocks):
    before = len(mocks["api-a"].bodies)
    assert ask(mocks, "hang", False, timeout_s=0.3).verdict == "failed"
    assert len(mocks["api-a"].bodies) == before + 1


def test_a_killed_upstream_comes_back_on_its_port(mocks):
    port = mocks["api-b"].port
    mocks.set_fault("api-b", "killed")
    with pytest.raises(ConnectionRefusedError):
        http.client.HTTPConnection("127.0.0.1", port, timeout=2).connect()
    mocks.heal()
    address = f"http://127.0.0.1:{port}"
    assert send(address, "none", "model", "after", True).answered_by == "api-b"


def test_a_field_that_the_protocol_lacks_is_refused_and_remembered(mocks):
    address = urlsplit(mocks["api-a"].base_url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=5)
    connection.request("POST", "/v1/chat/completions", json.dumps({"stream_timeot": 1}))
    assert connection.getresponse().status == 400
    assert "stream_timeot" in mocks["api-a"].refused
    connection.close()


def test_an_embedding_says_who_made_it(mocks):
    address = urlsplit(mocks["api-b"].base_url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=5)
    connection.request("POST", "/v1/embeddings", json.dumps({"model": "m", "input": ["a", "b"]}))
    rows = json.load(connection.getresponse())["data"]
    assert ["".join(map(chr, map(int, row["embedding"]))) for row in rows] == ["api-b"] * 2
    connection.close()


def test_what_wants_to_leave_loopback_is_refused_and_named(mocks):
    address = urlsplit(mocks.trap_url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=5)
    connection.set_tunnel("models.example", 443)
    with pytest.raises(OSError, match="403"):
        connection.connect()
    assert mocks.dialled == ["models.example:443"]


def test_an_unknown_fault_is_refused_with_those_there_are(mocks):
    with pytest.raises(ValueError, match=f"take one of {', '.join(FAULTS)}"):
        mocks.set_fault("api-a", "sulks")


def text(name, numbers):
    return "".join(f"{name}#{n} " for n in numbers)


WHOLE = range(1, TOKENS + 1)


@pytest.mark.parametrize(
    ("content", "error", "ended", "verdict", "silent"),
    [
        (text("a", WHOLE), False, True, "answered", False),
        # case 02: status 200 and an ending that the gateway invented
        (text("a", range(1, SENT_TOKENS + 1)), False, True, "truncated", True),
        # case 01: an error event in the stream, and no end
        (text("a", range(1, SENT_TOKENS + 1)), True, False, "truncated", False),
        (text("a", WHOLE), False, False, "truncated", False),
        (text("a", range(2, TOKENS + 1)), False, True, "truncated", True),
        (
            text("a", range(1, 11)) + text("b", range(11, TOKENS + 1)),
            False,
            True,
            "truncated",
            True,
        ),
        ("", False, True, "truncated", True),
        ("", True, False, "failed", False),
    ],
)
def test_only_all_tokens_of_one_upstream_are_an_answer(content, error, ended, verdict, silent):
    reply = Reply(content, error, ended, 0.1, 0.2)
    assert (reply.verdict, reply.silent) == (verdict, silent)

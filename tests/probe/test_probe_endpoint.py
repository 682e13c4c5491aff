"""One logical request: what goes out, to whom, with which secrets; when it is sent again."""

import asyncio
import json
import threading
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import perf_counter, time

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmstudy.probe.call import call, retry_wait_s
from llmstudy.probe.connection import Connections
from llmstudy.probe.design import run
from llmstudy.probe.endpoint import Endpoint, Request
from llmstudy.probe.load import calibrate, run_load
from llmstudy.probe.options import Limits, Load
from llmstudy.probe.prompts import plan
from llmstudy.probe.report import report
from llmstudy.probe.run import table, with_metrics
from llmstudy.probe.spend import TokenPrice

KEY = "sk-very-secret-0123456789"
AZURE = "https://acme.openai.azure.com/openai/deployments/gpt/v1?api-version=2024-10-21"


@pytest.fixture
def key(monkeypatch):
    monkeypatch.setenv("PROBE_TEST_KEY", KEY)
    return "PROBE_TEST_KEY"


def sent(endpoint, prompt="hello", output_tokens=32):
    """Head and body of a request as it goes over the wire."""
    message = endpoint.message(Request(0, "measure", prompt, 1, output_tokens))
    head, _, body = message.partition(b"\r\n\r\n")
    assert int(head.rsplit(b"content-length: ", 1)[1]) == len(body)
    return head.decode().split("\r\n"), json.loads(body)


@contextmanager
def serving(reply, bodies=None):
    """A server that answers request n with reply(n): status, headers, body; yields its address.

    bodies: of the requests, appended as they come.
    """
    heads = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            if bodies is not None:
                bodies.append(body)
            heads.append((time(), dict(self.headers)))
            status, headers, body = reply(len(heads))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", heads
    finally:
        server.shutdown()
        server.server_close()


def once(endpoint, scheduled_ago_s=0.0, timeout_s=10.0, max_retries=2):
    """The sample of one call, wanted some time before it is sent, and what a failure said."""
    request = Request(0, "measure", "hello there", 2, 4, scheduled_s=0.0)
    start = perf_counter() - scheduled_ago_s
    message, connections = endpoint.message(request), Connections(endpoint.base_url)
    work = call(endpoint, request, message, connections, start, timeout_s, max_retries)
    return asyncio.run(work)


def stream(*chunks):
    body = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks)
    return body + b"data: [DONE]\n\n"


YES = stream({"choices": [{"delta": {"content": "yes"}}]})
SSE = {"content-type": "text/event-stream"}


# ---- what goes out -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "api", "name"),
    [
        ("https://api.openai.com/v1", "chat", "max_completion_tokens"),
        ("https://eu.api.openai.com/v1", "chat", "max_completion_tokens"),
        (AZURE, "chat", "max_completion_tokens"),
        ("https://x.services.ai.azure.com/models", "chat", "max_completion_tokens"),
        ("https://api.openai.com/v1", "completions", "max_tokens"),
        ("https://api.anthropic.com/v1", "chat", "max_tokens"),
        ("https://api.groq.com/openai/v1", "chat", "max_tokens"),
        ("http://127.0.0.1:8000/v1", "chat", "max_tokens"),
        ("https://api.openai.com.evil.example/v1", "chat", "max_tokens"),
    ],
)
def test_the_limit_has_the_name_that_the_provider_knows(url, api, name):
    _, body = sent(Endpoint(url, "m", api))
    limits = {key: value for key, value in body.items() if key.startswith("max_")}
    assert limits == {name: 32}


def test_azure_takes_its_key_in_a_header_of_its_own_and_others_as_bearer(key):
    azure, _ = sent(Endpoint(AZURE, "m", key_env=key))
    assert f"api-key: {KEY}" in azure
    assert not any(line.startswith("authorization") for line in azure)
    other, _ = sent(Endpoint("https://api.groq.com/openai/v1", "m", key_env=key))
    assert f"authorization: Bearer {KEY}" in other
    assert not any(line.startswith("api-key") for line in other)
    none, _ = sent(Endpoint("http://127.0.0.1:8000/v1", "m"))
    assert not any(line.startswith(("api-key", "authorization")) for line in none)


def test_the_path_keeps_the_addresss_query_and_its_host_the_port():
    head, _ = sent(Endpoint(AZURE, "m"))
    path = "/openai/deployments/gpt/v1/chat/completions?api-version=2024-10-21"
    assert head[0] == f"POST {path} HTTP/1.1"
    head, _ = sent(Endpoint("http://127.0.0.1:8000/v1/", "m", "completions"))
    assert head[0] == "POST /v1/completions HTTP/1.1"
    assert "host: 127.0.0.1:8000" in head


def test_the_body_is_the_interfaces_and_further_fields_win():
    _, chat = sent(Endpoint("http://h/v1", "m", body={"temperature": 0, "max_tokens": 5}))
    assert chat["messages"] == [{"role": "user", "content": "hello"}]
    assert (chat["temperature"], chat["max_tokens"], chat["stream"]) == (0, 5, True)
    assert chat["stream_options"] == {"include_usage": True}
    _, ids = sent(Endpoint("http://h/v1", "m", "completions", body={"ignore_eos": True}), [4, 5])
    assert (ids["prompt"], ids["return_token_ids"], ids["max_tokens"]) == ([4, 5], True, 32)
    assert "min_tokens" not in ids  # ignore_eos fixes the length; this would cost vLLM a pass more
    _, free = sent(Endpoint("http://h/v1", "m"), output_tokens=None)
    assert "max_tokens" not in free


@pytest.mark.parametrize(
    ("url", "drop", "limits"),
    [
        ("http://h/v1", (), {"max_tokens": 32}),
        ("http://h/v1", ("max_tokens",), {"max_completion_tokens": 32}),
        ("http://h/v1", ("max_tokens", "max_completion_tokens"), {}),
        ("https://api.openai.com/v1", ("max_tokens",), {"max_completion_tokens": 32}),
        ("https://api.openai.com/v1", ("max_completion_tokens",), {"max_tokens": 32}),
    ],
)
def test_a_dropped_limit_goes_under_its_other_name_while_there_is_one(url, drop, limits):
    _, body = sent(Endpoint(url, "m", drop=drop))
    assert {name: value for name, value in body.items() if name.startswith("max_")} == limits


def test_a_dropped_field_is_not_sent_and_is_a_fact_of_the_run():
    endpoint = Endpoint("http://h/v1", "m", drop=("stream_options",))
    assert "stream_options" not in sent(endpoint)[1]
    assert endpoint.facts["drop"] == ["stream_options"]
    assert "drop" not in Endpoint("http://h/v1", "m").facts
    with pytest.raises(ValueError, match=r"--drop strem: only max_tokens, .* can be left out"):
        Endpoint("http://h/v1", "m", drop=("strem",))


def test_a_spend_cap_needs_a_limit_that_is_sent(timed):
    endpoint = Endpoint("http://h/v1", "m", drop=("max_tokens", "max_completion_tokens"))
    with pytest.raises(ValueError, match="no field is left that limits an answer"):
        run_load(endpoint, timed([0]), {}, Limits(max_spend_usd=1), price=TokenPrice(1, 1, 1))


# ---- before the load -----------------------------------------------------------------------


def test_the_check_asks_for_the_limit_of_the_load():
    counted = {"prompt_tokens": 60, "completion_tokens": 7, "total_tokens": 67}
    whole = stream({"choices": [{"delta": {"content": "y"}}]}, {"choices": [], "usage": counted})
    bodies = []
    with serving(lambda n: (200, SSE, whole), bodies) as (url, _):
        for limits in ([5.0, 7.0, 900.0], [float("nan")] * 3):
            lengths = pd.DataFrame({"input_tokens": 5.0, "output_tokens": limits})
            _, facts = calibrate(Endpoint(url, "m"), plan(lengths, 1))
    assert [json.loads(body).get("max_tokens") for body in bodies] == [7, 7, None, None]
    assert (facts["input_tokens"], facts["output_tokens"], facts["streamed"]) == (120, 14, True)


JSON_ERROR = b'{"error": {"message": "model is loading"}}'
THINKING = stream({"choices": [{"delta": {"reasoning": "h"}, "finish_reason": "length"}]})
ONE = b'data: {"choices": [{"delta": {"content": "y"}}]}\n\n'


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (
            (200, SSE, stream({"error": {"message": "out of memory"}})),
            "server_error: out of memory",
        ),
        ((200, SSE, ONE + stream({"object": "error", "message": "CUDA"})), "server_error: CUDA"),
        ((200, {"content-type": "application/json"}, JSON_ERROR), "server_error: model is loading"),
        ((200, {"content-type": "text/html"}, b"<html>log in"), "text/html: <html>log in"),
        ((200, {"content-type": "text/html"}, b"<html>log in"), "That is a web page: check"),
        ((200, SSE, ONE), "cut: it ended after 1 chunks without finish reason, usage or"),
        ((200, SSE, b"data: [DONE]\n\n"), "empty: no text of an answer"),
        ((200, SSE, THINKING), "empty: reasoning came, .* Let it write more with --output-tokens"),
        ((502, {}, b"<h1>Bad Gateway</h1>"), "http_502: <h1>Bad Gateway</h1>"),
        (
            (307, {"location": "/b/v1/chat/completions?t=1"}, b""),
            "give http://127.0.0.1:\\d+/b/v1 if",
        ),
        ((301, {"location": "https://h/v1/chat/completions"}, b"x"), "give https://h/v1 if that"),
        ((429, {"retry-after": "99"}, b"slow down"), "slow down.*keep to its limits with --rpm"),
    ],
)
def test_what_is_no_answer_stops_before_the_load_with_what_came_and_how_to_mend_it(
    timed, reply, says
):
    with serving(lambda n: reply) as (url, heads):
        with pytest.raises(ValueError, match=says):
            calibrate(Endpoint(url, "m"), timed([0]), timeout_s=20)
        assert len(heads) <= 3


def test_an_endpoint_that_does_not_stream_is_measured_and_named(tmp_path):
    usage = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}
    body = {"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}], "usage": usage}
    reply = (200, {"content-type": "application/json"}, json.dumps(body).encode())
    load = Load(
        arrivals="constant",
        requests=12,
        warmup=0,
        rate_per_s=100,
        input_tokens=5,
        output_tokens=5,
    )
    with serving(lambda n: reply) as (url, _):
        made = run(Endpoint(url, "m"), load, folder=tmp_path / "run")
    assert made.samples["ok"].all()
    assert made.facts["notes"] == [
        "127.0.0.1 does not stream: the answer came as one JSON document, not as a stream"
    ]
    found = report(made)
    assert found["metrics"]["e2e_ms"]["p50"] == found["metrics"]["ttft_ms"]["p50"] > 0
    assert found["metrics"]["tpot_ms"]["p50"] is None
    [pace] = [row for row in found["audit"]["checks"] if row["check"] == "pace"]
    assert (pace["status"], "does not stream" in pace["why"]) == ("unknown", True)


def test_a_header_given_replaces_ours_whatever_its_case(key):
    head, _ = sent(Endpoint("http://h/v1", "m", key_env=key, headers={"Authorization": "Basic x"}))
    assert [x for x in head if x.lower().startswith("authorization")] == ["authorization: Basic x"]


# ---- secrets -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        f"https://me:{KEY}@host/v1",
        f"https://{KEY}@host/v1",
        f"https://host/v1?api_key={KEY}",
        f"https://host/v1?Subscription-Key={KEY}",
        f"https://host/v1?access_token={KEY}",
        f"https://host/v1?code={KEY}",
        f"https://host/v1?sig={KEY}",
        f"https://host/v1?api-version=2024-10-21&x={KEY}",
        f"https://host/v1?api-version=2024-10-21;{KEY}=",
        f"https://host/v1#{KEY}",
        f"ftp://me:{KEY}@host/v1",
    ],
)
def test_an_address_with_a_credential_is_refused_without_repeating_it(url):
    with pytest.raises(ValueError, match="may hold a credential") as error:
        Endpoint(url, "m")
    assert KEY not in str(error.value)


@pytest.mark.parametrize("bad", ["secret\r\nx-evil: 1", "secret\n"])
def test_a_line_break_in_a_key_or_header_is_refused_before_anything_is_sent(monkeypatch, bad):
    monkeypatch.setenv("PROBE_BAD_KEY", bad)
    for options in ({"key_env": "PROBE_BAD_KEY"}, {"headers": {"x": bad}}, {"headers": {bad: "x"}}):
        with pytest.raises(ValueError, match="a header holds a line break") as error:
            Endpoint("http://h/v1", "m", **options)
        assert "secret" not in str(error.value)


def test_a_key_that_is_not_set_is_named(monkeypatch):
    monkeypatch.delenv("PROBE_NO_KEY", raising=False)
    with pytest.raises(ValueError, match="PROBE_NO_KEY is not set"):
        Endpoint("http://h/v1", "m", key_env="PROBE_NO_KEY")


def test_no_secret_is_in_facts_samples_repr_or_a_servers_echo(key, timed, tmp_path):
    header = "gateway-secret-9876"

    def echo(_):
        return 400, {"x-echo": KEY}, f"bad key {KEY} and {header}".encode()

    with serving(echo) as (url, heads):
        endpoint = Endpoint(url, "m", key_env=key, headers={"x-gateway": header})
        assert KEY not in repr(endpoint)
        assert header not in repr(endpoint)
        assert KEY not in str(vars(endpoint))
        _, detail = once(endpoint)
        run = run_load(endpoint, timed([0, 0]), {}, folder=tmp_path / "run")
    assert heads[0][1]["authorization"] == f"Bearer {KEY}"  # it was sent
    assert detail == "bad key [secret] and [secret]"
    assert "bad key [secret]" in run.facts["client"]["first_failure"]
    on_disk = "".join(f.read_text("utf-8") for f in (tmp_path / "run").iterdir())
    for text in (on_disk, json.dumps(run.facts), run.samples.to_json()):
        assert KEY not in text
        assert header not in text


@pytest.mark.parametrize("before", [0, 150, 271, 299])
@pytest.mark.parametrize("kind", ["status", "event", "malformed"])
def test_a_key_across_the_cut_of_what_a_server_said_is_not_kept_in_part(
    monkeypatch, timed, before, kind
):
    long_key = "sk-proj-" + "".join(f"{i:04d}" for i in range(40))
    monkeypatch.setenv("PROBE_LONG_KEY", long_key)
    said = "x" * before + long_key + " is not valid"
    replies = {
        "status": (401, {}, said.encode()),
        "event": (200, SSE, b"data: " + json.dumps({"error": {"message": said}}).encode() + b"\n"),
        "malformed": (200, SSE, b"data: " + said.encode() + b"\n"),
    }
    with serving(lambda _: replies[kind]) as (url, _):
        run = run_load(Endpoint(url, "m", key_env="PROBE_LONG_KEY"), timed([0]), {})
    kept = json.dumps(run.facts)
    assert not any(long_key[i : i + 8] in kept for i in range(len(long_key) - 8))
    assert len(run.facts["client"]["first_failure"]) <= 200


# ---- sent again ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"retry-after": "1"},
        {"retry-after-ms": "900"},
        {"retry-after-ms": "900", "retry-after": "60"},
        {"retry-after": "in-2-s"},  # made a date below
    ],
)
def test_retry_after_is_obeyed_and_is_part_of_what_the_user_waits(headers):
    def reply(n):
        if "in-2-s" in headers.values():
            headers["retry-after"] = formatdate(time() + 2, usegmt=True)  # whole seconds
        return (429, headers, b"slow down") if n == 1 else (200, SSE, YES)

    with serving(reply) as (url, heads):
        sample, _ = once(Endpoint(url, "m"), scheduled_ago_s=0.5)
    assert sample.ok
    assert (sample.attempts, sample.http_status) == (2, 200)
    assert 0.85 <= sample.retry_wait_s <= 2.1
    assert heads[1][0] - heads[0][0] >= sample.retry_wait_s - 0.05
    row = with_metrics(table([sample])).iloc[0]
    assert row["ttft_s"] >= 0.5 + sample.retry_wait_s
    assert row["client_queue_s"] == pytest.approx(0.5, abs=0.4)


@given(st.text(max_size=20) | st.floats().map(str) | st.integers().map(str))
def test_whatever_retry_after_says_the_wait_is_a_time(said):
    for name in ("retry-after", "retry-after-ms"):
        assert retry_wait_s({name: said}, 1) >= 0


@pytest.mark.parametrize(
    ("headers", "body", "wait_s"),
    [
        ({"retry-after": "20s"}, "", 20),
        ({"retry-after-ms": "150"}, "try again in 20s", 0.15),
        ({"retry-after": "150ms"}, "", 0.15),
        ({}, "Rate limit reached. Please try again in 20s.", 20),
        ({}, "Please try again in 350ms. Visit https://example.com/429", 0.35),
        ({}, "Please try again in 6m0s.", 360),
        ({}, "Please try again in 1h2m3.5s", 3723.5),
        ({}, "Please retry after 13 seconds.", 13),
        ({}, "Please retry in 34.07s.", 34.07),
        ({}, '"retryDelay": "34s"', 34),
        ({}, '{"error": {"retry_after": 2.5}}', 2.5),
        ({}, '{"retry_after_ms": 1500}', 1.5),
        ({}, "You must wait 2 minutes before the next request", 120),
        ({"date": formatdate(0, usegmt=True), "retry-after": formatdate(7, usegmt=True)}, "", 7),
        ({"date": formatdate(9, usegmt=True), "retry-after": formatdate(7, usegmt=True)}, "", 0),
    ],
)
def test_a_wait_is_read_in_whatever_words_and_by_the_servers_own_clock(headers, body, wait_s):
    assert retry_wait_s(headers, 1, body) == pytest.approx(wait_s)


@pytest.mark.parametrize("body", ["", "slow down", "try again later (code 429)", "wait for it"])
def test_without_a_time_the_wait_is_our_own(body):
    assert 0.375 <= retry_wait_s({}, 1, body) <= 0.5
    assert 1.5 <= retry_wait_s({}, 3, body) <= 2.0


def test_a_wait_that_stands_in_the_text_alone_is_kept_to():
    def reply(n):
        said = b'{"error": {"message": "Limit 30000. Please try again in 900ms."}}'
        return (429, {}, said) if n == 1 else (200, SSE, YES)

    with serving(reply) as (url, heads):
        sample, _ = once(Endpoint(url, "m"))
    assert (sample.ok, sample.attempts, sample.retry_wait_s) == (True, 2, 0.9)
    assert heads[1][0] - heads[0][0] >= 0.85


def test_a_wait_beyond_the_timeout_is_not_begun():
    with serving(lambda n: (429, {"retry-after": "3600"}, b"later")) as (url, heads):
        sample, _ = once(Endpoint(url, "m"), timeout_s=5)
    assert (sample.error, sample.attempts, len(heads)) == ("rate_limited", 1, 1)


@pytest.mark.parametrize("status", [500, 529])
def test_a_servers_failure_is_retried_then_reported(status):
    quick = {"retry-after-ms": "10"}
    with serving(lambda n: (status, quick, b"overloaded")) as (url, heads):
        sample, detail = once(Endpoint(url, "m"))
    assert (sample.ok, sample.error, sample.attempts) == (False, f"http_{status}", 3)
    assert len(heads) == 3
    assert detail == "overloaded"


@pytest.mark.parametrize(
    ("status", "headers"), [(400, {}), (401, {}), (429, {"x-should-retry": "false"})]
)
def test_what_would_fail_again_is_not_sent_again(status, headers):
    with serving(lambda n: (status, headers, b"no")) as (url, heads):
        sample, _ = once(Endpoint(url, "m"))
    assert (sample.attempts, len(heads)) == (1, 1)


def test_nothing_is_sent_again_once_content_has_come(mock, ask):
    for script in ({"cut": {"after_token": 2}}, {"error_event": {"at_token": 2}}):
        sample, _ = once(ask(mock, tokens=5, **script))
        assert (sample.ok, sample.attempts) == (False, 1)
        assert sample.content_times_s


def test_a_timeout_is_that_of_the_whole_request(mock, ask):
    sample, _ = once(ask(mock, tokens=4, itl_ms=400), timeout_s=0.6)
    assert (sample.error, sample.attempts) == ("timeout", 1)
    assert 1 <= len(sample.content_times_s) <= 2
    assert 0.55 <= sample.done_s - sample.dispatched_s <= 1.5
    with serving(lambda n: (503, {"retry-after-ms": "150"}, b"")) as (url, _):
        sample, _ = once(Endpoint(url, "m"), timeout_s=0.5, max_retries=50)
    assert sample.attempts <= 4
    assert sample.done_s - sample.dispatched_s <= 0.6


# ---- what the server says of itself --------------------------------------------------------


def test_vllms_own_times_are_read(mock_server, ask):
    with mock_server.running(max_concurrent=1, ttft_ms=60, itl_ms=20) as server:

        async def two():
            endpoint = ask(server, request_metrics=True, tokens=3)
            request = Request(0, "measure", "a", 1, 3)
            message, connections = endpoint.message(request), Connections(endpoint.base_url)
            calls = [call(endpoint, request, message, connections, perf_counter()) for _ in "ab"]
            return [sample for sample, _ in await asyncio.gather(*calls)]

        samples = sorted(asyncio.run(two()), key=lambda s: s.server_queue_s)
    first, second = samples
    assert first.server_queue_s < 0.03 < second.server_queue_s
    assert all(0.055 <= sample.server_prefill_s <= 0.3 for sample in samples)
    for sample in samples:
        seen = sample.content_times_s[0] - sample.dispatched_s
        assert sample.server_queue_s + sample.server_prefill_s <= seen + 0.002


def test_groqs_times_and_openais_header_are_read(mock, ask):
    groq, _ = once(ask(mock, x_groq=True, tokens=2, ttft_ms=40))
    assert groq.server_queue_s >= 0
    assert 0.035 <= groq.server_prefill_s <= 0.3
    openai, _ = once(ask(mock, provider_headers=True, tokens=2, ttft_ms=40))
    assert openai.server_processing_s == pytest.approx(0.040, abs=0.02)
    assert openai.server_queue_s is None


@pytest.mark.parametrize("said", ["", "nan", "inf", "soon", None])
def test_a_time_that_is_no_number_is_not_known(said):
    chunk = {"choices": [{"delta": {"content": "y"}}], "metrics": {"queue_time_ms": said}}
    headers = SSE | ({} if said is None else {"openai-processing-ms": said})
    with serving(lambda n: (200, headers, stream(chunk))) as (url, _):
        sample, _ = once(Endpoint(url, "m"))
    assert sample.ok
    assert (sample.server_queue_s, sample.server_processing_s) == (None, None)


def test_the_model_that_answered_and_its_fingerprint_are_recorded(mock, ask):
    sample, _ = once(ask(mock, model="m-2026-11", system_fingerprint="fp_1", tokens=2))
    assert (sample.served_model, sample.fingerprint) == ("m-2026-11", "fp_1")
    assert sample.finish_reason == "length"
    assert (sample.input_tokens, sample.output_tokens) == (2, 2)


def test_reasoning_is_timed_and_counted_apart(mock, ask):
    sample, _ = once(ask(mock, reasoning_tokens=3, tokens=2, itl_ms=20))
    assert (sample.output_tokens, sample.reasoning_tokens) == (5, 3)
    assert len(sample.content_times_s) == 2
    assert sample.content_times_s[0] - sample.first_reasoning_s >= 0.05
    row = with_metrics(table([sample])).iloc[0]
    assert row["answer_tokens"] == 2
    assert row["reasoning_ttft_s"] < row["ttft_s"]


@pytest.mark.parametrize("script", [{"crlf": True}, {"comments": True}, {"split_bytes": 30},
                                    {"empty_chunks": 3}, {"role_chunk_first": False},
                                    {"done": False}, {"tokens_per_chunk": 2}])  # fmt: skip
def test_the_ways_of_a_stream_change_nothing_that_counts(mock, ask, script):
    sample, _ = once(ask(mock, tokens=6, **script))
    assert sample.ok
    assert len(sample.content_times_s) == 6 // script.get("tokens_per_chunk", 1)
    assert sample.output_tokens == 6


def test_limits_that_let_nothing_through_are_refused():
    for name in ("max_concurrency", "max_errors", "max_spend_usd", "timeout_s", "tokens_per_min"):
        with pytest.raises(ValueError, match=f"{name} is 0: give a limit above 0"):
            Limits(**{name: 0})
        for no_limit in (float("nan"), float("inf"), -1):
            with pytest.raises(ValueError, match=f"{name} is .*: give a limit above 0"):
                Limits(**{name: no_limit})
    assert Limits(max_retries=0).max_retries == 0

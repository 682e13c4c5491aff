"""The instrument that the probe is tested with: it does on the wire what its truth says."""

import http.client
import itertools
import json
import re
import signal
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import openai
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from mock_server import Script, running

names = (f"test-{n}" for n in itertools.count())


@pytest.fixture(scope="module")
def server():
    with running(ttft_ms=4, itl_ms=2) as mock:
        yield mock


def connect(mock):
    return http.client.HTTPConnection(urlsplit(mock.root_url).netloc, timeout=20)


def post(mock, script, connection=None, path="/v1/chat/completions", headers=None, **body):
    """Sends one request; returns the open response and the id under which truth knows it."""
    script = {"id": next(names), **script}
    body = {"model": "m", "messages": [{"role": "user", "content": "one two three"}]} | body
    connection = connection or connect(mock)
    connection.request("POST", path, json.dumps({**body, "mock": script}), headers or {})
    return connection.getresponse(), script["id"]


def streamed(mock, script, **body):
    """The `data:` lines of one stream, parsed but for [DONE], and the truth about it."""
    response, name = post(mock, script, stream=True, **{"max_tokens": 5} | body)
    assert response.headers["content-type"].startswith("text/event-stream")
    lines = [line[6:] for line in response.read().decode().splitlines() if line[:6] == "data: "]
    return [line if line == "[DONE]" else json.loads(line) for line in lines], truth(mock, name)


def truth(mock, name):
    """The row of a request that has ended, or will within seconds."""
    until = time.perf_counter() + 5
    while time.perf_counter() < until:
        if found := [row for row in mock.truth() if row["id"] == name]:
            return found[-1]
        time.sleep(0.01)
    raise AssertionError(f"no truth about {name}")


def deltas(events, key="content"):
    """The texts of a key, empty ones too, of all chunks that have it."""
    choices = [c for event in events if event != "[DONE]" for c in event["choices"]]
    return [c["delta"][key] for c in choices if key in c["delta"]]


def raw(mock, script, **body):
    """Every piece that the socket gave, with the moment it came, until the reply was over."""
    body = {"prompt": [1, 2, 3], "max_tokens": 4, "stream": True, **body}
    data = json.dumps({**body, "mock": script}).encode()
    where = urlsplit(mock.root_url)
    pieces = []
    with socket.create_connection((where.hostname, where.port), timeout=20) as sock:
        head = f"POST /v1/completions HTTP/1.1\r\nContent-Length: {len(data)}\r\n\r\n"
        sock.sendall(head.encode() + data)
        while not b"".join(piece for _, piece in pieces).endswith(b"\r\n0\r\n\r\n"):
            piece = sock.recv(65536)
            pieces.append((time.perf_counter(), piece))
            if not piece:
                break
    return pieces


def test_a_whole_answer_has_text_and_usage(server):
    response, name = post(server, {}, max_tokens=5)
    reply = json.load(response)
    assert len(reply["choices"][0]["message"]["content"].split()) == 5
    assert reply["usage"] == {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
    known = truth(server, name)
    assert (known["ended"], known["prompt_tokens"], known["tokens"]) == ("complete", 3, 5)
    assert not known["stream"]


def test_truth_is_what_a_client_receives_and_no_later(server):
    name = next(names)
    pieces = raw(server, {"id": name, "ttft_ms": 30, "itl_ms": 25})
    arrived = [at for at, piece in pieces for _ in range(piece.count(" wörd".encode()))]
    known = truth(server, name)
    assert len(known["sent_s"]) == len(arrived) == 4
    assert all(sent < at for sent, at in zip(known["sent_s"], arrived, strict=True))
    assert all(due <= at for due, at in zip(known["intended_s"], known["sent_s"], strict=True))
    first = known["intended_s"][0] - known["started_s"]
    assert first == pytest.approx(0.030)
    assert np.diff(known["intended_s"]) == pytest.approx(0.025)
    order = [known[k] for k in ("received_s", "started_s", "headers_s")]
    assert order == sorted(order)
    assert order[-1] < known["sent_s"][0] <= known["sent_s"][-1] < known["ended_s"]


def test_a_public_client_library_reads_the_stream(server):
    client = openai.OpenAI(base_url=server.base_url, api_key="never-kept", max_retries=0)
    name = next(names)
    with client.chat.completions.create(
        model="m",
        messages=[{"role": "user", "content": "hello there"}],
        max_tokens=6,
        stream=True,
        stream_options={"include_usage": True},
        extra_body={"mock": {"id": name, "system_fingerprint": "fp", "model": "m-2"}},
    ) as stream:
        chunks = list(stream)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert len(text.split()) == 6
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (2, 6)
    assert {(c.model, c.system_fingerprint) for c in chunks} == {("m-2", "fp")}
    known = truth(server, name)
    assert known["authorization"]
    assert "mock" in known["body_keys"]
    assert "never-kept" not in json.dumps(server.truth())
    client.close()


def test_connections_are_kept_alive(server):
    connection = connect(server)
    found = []
    for _ in range(2):
        response, name = post(server, {}, connection, stream=True, max_tokens=2)
        response.read()
        found.append(truth(server, name)["connection"])
    assert found[0] == found[1]


def test_the_role_comes_first_and_as_early_as_asked(server):
    events, known = streamed(server, {"ttft_ms": 40, "role_to_content_ms": 30})
    assert events[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert known["role_s"] - known["started_s"] >= 0.010
    assert known["role_s"] < known["sent_s"][0]
    events, known = streamed(server, {"role_chunk_first": False})
    assert all("role" not in e["choices"][0]["delta"] for e in events[:-1])
    assert known["role_s"] is None


def test_empty_chunks_are_on_the_wire_but_not_in_the_truth(server):
    events, known = streamed(server, {"empty_chunks": 7, "role_chunk_first": False})
    texts = deltas(events)
    assert (texts.count(""), len(texts) - texts.count("")) == (7, 5)
    assert texts[0] == ""
    assert len(known["sent_s"]) == 5


def test_usage_comes_when_asked_for_on_the_last_chunk_or_on_all(server):
    def usages(script=(), **options):
        events, _ = streamed(server, dict(script), stream_options=options)
        return [e.get("usage") for e in events[:-1]]

    assert not any(usages())
    *before, last = usages(include_usage=True)
    assert not any(before)
    assert last["completion_tokens"] == 5
    all_of_them = usages(include_usage=True, continuous_usage_stats=True)
    counts = [u["completion_tokens"] for u in all_of_them if u]
    assert counts == [0, 1, 2, 3, 4, 5, 5]  # the role, five tokens, the last
    assert not any(usages({"usage_chunk": False}, include_usage=True))
    cached = usages({"cached_input_tokens": 2}, include_usage=True)[-1]
    assert cached["prompt_tokens_details"] == {"cached_tokens": 2}


def test_chunks_may_hold_several_tokens(server):
    events, known = streamed(
        server, {"tokens_per_chunk": 2}, stream_options={"include_usage": True}
    )
    assert [len(text.split()) for text in deltas(events) if text] == [2, 2, 1]
    assert len(known["sent_s"]) == 3
    assert events[-2]["usage"]["completion_tokens"] == 5


def test_a_server_without_a_tokenizer_sends_ids_and_no_text(server):
    events, known = streamed(
        server,
        {"token_ids": True},
        path="/v1/completions",
        prompt=[5, 6, 7, 8],
        messages=None,
        return_token_ids=True,
    )
    choices = [e["choices"][0] for e in events[:-1]]
    assert {c["text"] for c in choices} == {""}
    assert sum(len(c.get("token_ids", [])) for c in choices) == len(known["sent_s"]) == 5
    assert known["prompt_tokens"] == 4


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
def test_reasoning_comes_before_the_answer_and_is_kept_apart(server, key):
    script = {"reasoning_tokens": 3, "reasoning_itl_ms": 9, "reasoning_key": key, "tokens": 2}
    events, known = streamed(server, script, stream_options={"include_usage": True})
    assert [text != "" for text in deltas(events, key)] == [True] * 3
    assert len([text for text in deltas(events) if text]) == len(known["sent_s"]) == 2
    assert np.diff(known["reasoning_intended_s"]) == pytest.approx(0.009)
    assert known["reasoning_sent_s"][-1] < known["sent_s"][0]
    usage = events[-2]["usage"]
    assert usage["completion_tokens"] == 5
    assert usage["completion_tokens_details"] == {"reasoning_tokens": 3}


def test_a_stall_delays_its_token_and_all_after(server):
    _, known = streamed(server, {"stall": {"at_token": 3, "ms": 60}})
    assert np.diff(known["intended_s"]) == pytest.approx([0.002, 0.062, 0.002, 0.002])
    assert known["sent_s"][2] - known["started_s"] >= 0.067


def test_a_rate_limit_holds_for_the_first_attempts_of_a_request(server):
    script = {"status": 429, "fail_attempts": 2, "retry_after_s": 0.25, "id": None}
    seen = []
    for _ in range(3):
        response, _ = post(server, script, headers={"X-Request-Id": "again"}, max_tokens=1)
        seen.append((response.status, response.headers["retry-after"]))
        response.read()
    assert seen == [(429, "0.25"), (429, "0.25"), (200, None)]
    rows = [row for row in server.truth() if row["id"] == "again"]
    assert [(row["attempt"], row["ended"]) for row in rows] == [
        (1, "status_429"),
        (2, "status_429"),
        (3, "complete"),
    ]


def test_a_server_error_is_a_status_with_a_message(server):
    response, name = post(server, {"status": 500}, stream=True)
    assert (response.status, "error" in json.load(response)) == (500, True)
    assert truth(server, name)["sent_s"] == []


def test_a_cut_closes_the_connection_within_the_answer(server):
    response, name = post(server, {"cut": {"after_token": 2}}, stream=True, max_tokens=5)
    with pytest.raises(http.client.IncompleteRead) as broken:
        response.read()
    assert broken.value.partial.count(" wörd".encode()) == 2
    known = truth(server, name)
    assert (known["ended"], len(known["sent_s"])) == ("cut", 2)


def test_a_malformed_line_stands_in_for_its_chunk(server):
    name = next(names)
    whole = b"".join(piece for _, piece in raw(server, {"id": name, "malformed": {"at_token": 2}}))
    broken = []
    for line in re.findall(rb"^data: (\{.*)$", whole, re.MULTILINE):
        try:
            json.loads(line)
        except ValueError:
            broken.append(line)
    assert len(broken) == 1
    known = truth(server, name)
    assert (known["ended"], len(known["sent_s"])) == ("malformed", 3)


def test_an_error_event_ends_the_stream(server):
    events, known = streamed(server, {"error_event": {"at_token": 3}, "role_chunk_first": False})
    assert [*events[2]] == ["error"]
    assert events[3:] == ["[DONE]"]
    assert (known["ended"], len(known["sent_s"])) == ("error_event", 2)


def test_a_stream_may_end_without_done(server):
    assert streamed(server, {})[0][-1] == "[DONE]"
    assert "[DONE]" not in streamed(server, {"done": False})[0]


def test_comments_and_line_ends_are_those_asked_for(server):
    plain = b"".join(piece for _, piece in raw(server, {}))
    assert b": keep-alive" not in plain
    odd = b"".join(piece for _, piece in raw(server, {"comments": True, "crlf": True}))
    assert odd.count(b": keep-alive") == 5
    assert len(re.findall(rb"\r\n\r\ndata: ", odd)) >= 4
    assert b"\r\n\r\n\r\n" in odd  # end of an event, then of its HTTP chunk
    assert b"[DONE]\r\n\r\n" in odd


def test_a_split_event_comes_in_two_pieces_even_within_a_character(server):
    name = next(names)
    whole = b"".join(piece for _, piece in raw(server, {"id": name}))
    event = whole[whole.index(b"data: ") :]
    script = {"id": name, "itl_ms": 40, "split_bytes": event.index(b"w\xc3") + 2}
    pieces = [piece for _, piece in raw(server, script)]
    assert b"".join(pieces).count(" wörd".encode()) == 4
    assert sum(" wörd".encode() in piece for piece in pieces) < 4
    assert len(truth(server, name)["sent_s"]) == 4


def test_headers_may_be_slow_and_nothing_precedes_them(server):
    _, known = streamed(server, {"slow_headers_ms": 40})
    assert known["headers_s"] - known["started_s"] > 0.0399
    assert known["intended_s"][0] - known["started_s"] > 0.0399


def test_server_timings_are_those_of_the_truth(server):
    script = {"request_metrics": True, "x_groq": True, "provider_headers": True, "ttft_ms": 30}
    response, name = post(
        server, script, stream=True, max_tokens=5, stream_options={"include_usage": True}
    )
    assert float(response.headers["openai-processing-ms"]) >= 30
    assert response.headers["x-ratelimit-remaining-requests"]
    lines = [line for line in response.read().splitlines() if line.startswith(b"data: {")]
    closing, final = (json.loads(line[6:]) for line in lines[-2:])
    known = truth(server, name)
    sent, start = known["sent_s"], known["started_s"]
    metrics = final["metrics"]
    assert metrics["queue_time_ms"] == pytest.approx((start - known["received_s"]) * 1e3)
    assert metrics["time_to_first_token_ms"] == pytest.approx((sent[0] - start) * 1e3)
    assert metrics["generation_time_ms"] == pytest.approx((sent[-1] - sent[0]) * 1e3)
    assert metrics["mean_itl_ms"] == pytest.approx(np.diff(sent).mean() * 1e3)
    groq = closing["x_groq"]["usage"]
    assert groq["prompt_time"] == pytest.approx(sent[0] - start)


def test_a_full_server_makes_the_others_wait_in_order():
    with running(ttft_ms=20, itl_ms=5, max_concurrent=2, owned_by="vllm") as mock:
        threads = []
        for number in range(6):
            script = {"id": str(number), "cached_input_tokens": 1, "preemptions": 1}
            ask = threading.Thread(target=lambda s=script: streamed(mock, s, max_tokens=3))
            ask.start()
            threads.append(ask)
        for thread in threads:
            thread.join()
        text = urllib.request.urlopen(f"{mock.root_url}/metrics").read().decode()
        rows = sorted(mock.truth(), key=lambda row: row["received_s"])
        starts = [row["started_s"] for row in rows]
        ends = sorted(row["ended_s"] for row in rows)
        assert starts == sorted(starts)
        assert all(s >= e for s, e in zip(starts[2:], ends, strict=False))
        counts = dict(re.findall(r"^vllm:(\w+)\{[^}]*\} (\S+)$", text, re.MULTILINE))
        waited = sum(row["started_s"] - row["received_s"] for row in rows)
        assert float(counts["request_queue_time_seconds_sum"]) == pytest.approx(waited)
        assert float(counts["request_queue_time_seconds_count"]) == 6
        assert float(counts["prefix_cache_queries_total"]) == 18
        assert float(counts["prefix_cache_hits_total"]) == 6
        assert float(counts["num_preemptions_total"]) == 6
        models = json.load(urllib.request.urlopen(f"{mock.base_url}/models"))
        assert models["data"][0]["owned_by"] == "vllm"
        for path in ("/health", "/version"):
            assert urllib.request.urlopen(mock.root_url + path).status == 200


def test_a_client_that_goes_away_is_in_the_truth(server):
    connection = connect(server)
    response, name = post(server, {"itl_ms": 50}, connection, stream=True, max_tokens=100)
    response.readline()
    connection.sock.shutdown(socket.SHUT_RDWR)
    known = truth(server, name)
    assert known["ended"] == "client_closed"
    assert len(known["sent_s"]) < 100


def test_stopping_the_server_writes_what_was_under_way():
    with running(itl_ms=50) as mock:
        response, name = post(mock, {"ttft_ms": 1}, stream=True, max_tokens=1_000)
        while b"w\xc3\xb6rd" not in response.readline():
            pass
        mock.process.send_signal(signal.SIGTERM)
        mock.process.wait(10)
    [row] = mock.truth()
    assert (row["id"], row["ended"]) == (name, "stopped")
    assert row["sent_s"]


def test_an_unknown_key_is_refused_by_name(server):
    response, _ = post(server, {"tfft_ms": 5})
    assert response.status == 400
    assert "tfft_ms" in response.read().decode()
    with pytest.raises(ValueError, match="tfft_ms"):
        Script().changed({"tfft_ms": 5})
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{server.root_url}/nowhere")


def test_two_hundred_streams_at_once_all_arrive_whole():
    with running(ttft_ms=50, itl_ms=20) as mock:
        connections = [connect(mock) for _ in range(200)]
        body = json.dumps({"prompt": "one two", "max_tokens": 20, "stream": True})
        for connection in connections:
            connection.request("POST", "/v1/completions", body)
        texts = [connection.getresponse().read().decode() for connection in connections]
        assert {text.count(" wörd") for text in texts} == {20}
        rows = mock.truth()
        for connection in connections:
            connection.close()
    assert len(rows) == 200
    lag = np.concatenate([np.subtract(row["sent_s"], row["intended_s"]) for row in rows])
    assert lag.min() >= 0
    assert len(lag) == 4_000

"""The answer is read the same however the network cuts it, and nothing in it stops the run."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmstudy.probe.stream import Answer

STREAM = {"content-type": "text/event-stream; charset=utf-8"}


def event(*choices, end=b"\n\n", **fields):
    body = {"choices": list(choices), **fields}
    return b"data: " + json.dumps(body, ensure_ascii=False).encode() + end


def delta(**said):
    return {"index": 0, "delta": said, "finish_reason": None}


def usage(prompt, completion, total=None, **details):
    found = {"prompt_tokens": prompt, "completion_tokens": completion}
    found["total_tokens"] = prompt + completion if total is None else total
    if details:
        found["completion_tokens_details"] = details
    return found


ROLE = event(delta(role="assistant", content=""))
STOP = event({"index": 0, "delta": {}, "finish_reason": "stop"})
DONE = b"data: [DONE]\n\n"


def read(*pieces, status=200, headers=STREAM, end=True):
    """The answer when piece k comes at second k."""
    answer = Answer()
    answer.begin(status, headers, 0.0)
    for at, piece in enumerate(pieces, start=1):
        answer.feed(piece, float(at))
    if end:
        answer.end(float(len(pieces)))
    return answer


def gist(answer):
    """All that is known of an answer but its times."""
    return (
        len(answer.content_at),
        answer.reasoning_at is not None,
        answer.content_tokens,
        answer.input_tokens,
        answer.cached_input_tokens,
        answer.output_tokens,
        answer.reasoning_tokens,
        answer.finish_reason,
        answer.served_model,
        answer.fingerprint,
        answer.error,
        dict(answer.metrics),
    )


WHOLE = b"".join(
    [
        b": a comment\r\n\r\n",
        event(delta(role="assistant", content=""), model="m-1", usage=usage(7, 0)),
        event(delta(reasoning_content="höm"), usage=usage(7, 2, reasoning_tokens=2)),
        event(delta(content="wörd"), usage=usage(7, 3, reasoning_tokens=2), end=b"\r\n\r\n"),
        event(delta(content=""), usage=usage(7, 4, reasoning_tokens=2)),
        b"event: message\nid: 4\n",
        event(delta(content=" 語"), usage=usage(7, 6, reasoning_tokens=2), system_fingerprint="f"),
        STOP,
        event(usage=usage(7, 6, reasoning_tokens=2), metrics={"queue_time_ms": 1}),
        DONE,
    ]
)


@given(st.lists(st.integers(0, len(WHOLE)), max_size=40))
def test_any_split_of_the_bytes_gives_the_same_answer(cuts):
    edges = [0, *sorted(cuts), len(WHOLE)]
    found = read(*(WHOLE[a:b] for a, b in pairwise(edges)))
    assert gist(found) == gist(read(WHOLE))
    assert found.error is None
    assert found.content_at == sorted(found.content_at)


def test_the_whole_answer_says_what_was_put_in():
    assert gist(read(WHOLE)) == (
        2, True, [1, 3], 7, None, 6, 2, "stop", "m-1", "f", None, {"queue_time_ms": 1},
    )  # fmt: skip


def test_a_line_counts_when_its_end_comes():
    chunk = event(delta(content="a"))
    assert read(chunk[:9], chunk[9:-2], chunk[-2:], STOP).content_at == [3.0]


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
def test_reasoning_is_timed_apart_from_the_answer(key):
    found = read(ROLE, event(delta(**{key: "hm"})), event(delta(content="yes")), DONE)
    assert (found.reasoning_at, found.content_at) == (2.0, [3.0])


@pytest.mark.parametrize(
    "said",
    [
        {"content": "a"},
        {"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]},
        {"refusal": "I cannot"},
    ],
)
def test_text_tool_calls_and_refusals_are_content(said):
    assert read(ROLE, event(delta(**said)), DONE).content_at == [2.0]


@pytest.mark.parametrize(
    "chunk",
    [
        ROLE,
        STOP,
        event(delta(content="")),
        event(delta(content=None)),
        event(),
        event(usage=usage(1, 1)),
        b": keep-alive\n\n",
        b"event: ping\n\n",
    ],
)
def test_role_empty_usage_and_comment_chunks_carry_no_content(chunk):
    found = read(chunk, event(delta(content="a")), chunk, STOP, DONE)
    assert (found.content_at, found.error) == ([2.0], None)


def test_token_ids_without_text_are_content_but_not_while_it_reasons():
    ids = {"index": 0, "text": "", "token_ids": [7], "finish_reason": None}
    thought = {"index": 0, "delta": {"reasoning": "h"}, "token_ids": [7]}
    assert read(event(ids), event(ids), DONE).content_at == [1.0, 2.0]
    found = read(event(thought), event({**delta(content="a"), "token_ids": [8]}), DONE)
    assert (found.reasoning_at, found.content_at) == (1.0, [2.0])


@given(
    st.lists(st.integers(1, 5), max_size=6),
    st.lists(st.tuples(st.integers(1, 5), st.booleans()), min_size=1, max_size=12),
    st.sampled_from(["within", "unsaid", "apart", "total"]),
)
def test_tokens_of_the_chunks_add_up_to_the_answers_tokens(thinking, saying, manner):
    # manner: where the server counts reasoning; a chunk without text keeps its tokens for the next
    saying = [*saying[:-1], (saying[-1][0], True)]
    events, thought, said = [], 0, 0

    def count():
        if manner in ("within", "unsaid"):
            details = {"reasoning_tokens": thought} if manner == "within" else {}
            return usage(9, thought + said, **details)
        details = {"reasoning_tokens": thought} if manner == "apart" else {}
        return usage(9, said, total=9 + thought + said, **details)

    for n in thinking:
        thought += n
        events.append(event(delta(reasoning="h"), usage=count()))
    for n, has_text in saying:
        said += n
        events.append(event(delta(content="a" if has_text else ""), usage=count()))
    final = count()
    if manner == "unsaid" and thinking:
        final["completion_tokens_details"] = {"reasoning_tokens": thought}
    found = read(*events, STOP, event(usage=final), DONE)
    assert found.output_tokens == thought + said
    assert (found.reasoning_tokens or 0) == thought
    assert sum(found.content_tokens) == said
    assert len(found.content_tokens) == len(found.content_at)


def test_one_count_at_the_end_says_nothing_of_the_chunks():
    found = read(event(delta(content="a")), event(delta(content="b")), event(usage=usage(3, 9)))
    assert found.content_tokens is None
    assert found.output_tokens == 9


def test_a_count_that_falls_says_nothing_of_the_chunks():
    found = read(*(event(delta(content="a"), usage=usage(3, n)) for n in (2, 5, 4)), DONE)
    assert found.content_tokens is None


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        (usage(10, 5), (5, None)),
        (usage(10, 5, reasoning_tokens=0), (5, 0)),
        (usage(10, 50, reasoning_tokens=45), (50, 45)),  # OpenAI: within
        (usage(10, 5, total=60), (50, 45)),  # Google: in the total alone
        (usage(10, 5, total=60, reasoning_tokens=45), (50, 45)),  # xAI: apart
        ({"prompt_tokens": 10, "completion_tokens": 5}, (5, None)),
    ],
)
def test_output_holds_reasoning_however_the_provider_counts_it(counts, expected):
    found = read(event(delta(content="a")), event(usage=counts), DONE)
    assert (found.output_tokens, found.reasoning_tokens) == expected


@pytest.mark.parametrize(
    "more",
    [{"prompt_tokens_details": {"cached_tokens": 4}}, {"prompt_cache_hit_tokens": 4}],
)
def test_cached_tokens_by_either_name(more):
    assert read(event(usage=usage(9, 1) | more), DONE).cached_input_tokens == 4


def test_broken_json_makes_the_answer_malformed_and_the_rest_is_still_read():
    found = read(event(delta(content="a")), b'data: {"choices": [{"del\n\n', WHOLE)
    assert (found.error, found.output_tokens) == ("malformed", 6)


def test_an_error_event_is_the_servers_error_even_if_the_connection_then_breaks():
    failure = b'data: {"error": {"message": "out of memory", "code": 500}}\n\n'
    assert read(event(delta(content="a")), failure, DONE).error == "server_error"
    broken = read(event(delta(content="a")), failure, end=False)
    broken.fail("cut", 3.0, "reset")
    assert broken.error == "server_error"
    assert "out of memory" in broken.detail


def test_without_done_a_finish_reason_ends_the_answer_and_its_lack_cuts_it():
    assert read(event(delta(content="a")), STOP).error is None
    assert read(event(delta(content="a"))).error == "cut"


def test_a_connection_lost_after_done_loses_nothing():
    found = read(event(delta(content="a")), DONE, end=False)
    found.fail("cut", 2.5)
    assert (found.error, found.ended_at) == (None, 2.5)


def test_a_complete_answer_with_no_content_is_empty():
    assert read(ROLE, STOP, DONE).error == "empty"
    assert read(event(delta(reasoning="h")), STOP, DONE).error == "empty"


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8"])
def test_json_instead_of_a_stream_is_read_whole(kind):
    body = json.dumps(
        {
            "model": "m",
            "choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}],
            "usage": usage(3, 4),
        }
    ).encode()
    found = read(body[:20], body[20:], headers={"content-type": kind})
    assert (found.content_at, found.content_tokens, found.error) == ([2.0], [4], None)


@pytest.mark.parametrize(("status", "error"), [(429, "rate_limited"), (500, "http_500")])
def test_a_status_is_the_error_and_its_body_the_detail(status, error):
    found = read(b"too ", b"many", status=status, headers={})
    assert (found.error, found.detail) == (error, "too many")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
FIELDS = """
choices usage metrics x_groq model finish_reason error delta content text message token_ids
reasoning
prompt_tokens completion_tokens prompt_tokens_details completion_tokens_details
""".split()  # noqa: SIM905 - names read best as words
CHUNK = st.recursive(
    JSON,
    lambda inner: st.dictionaries(st.sampled_from(FIELDS), inner | st.lists(inner, max_size=2)),
    max_leaves=8,
)


@given(st.lists(CHUNK.map(lambda x: b"data: " + json.dumps(x).encode() + b"\n\n") | st.binary()))
def test_nothing_that_a_server_may_send_is_more_than_a_failure(pieces):
    found = read(*pieces)
    json.dumps(gist(found)[:-1], allow_nan=False)  # what is kept of it can be written down
    assert all(n >= 0 for n in found.content_tokens or [])

"""The answer is read the same however the network cuts it, and nothing in it stops the run."""

import gzip
import json
import zlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmstudy.probe.stream import NOT_STREAMED, Answer

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
    assert found.detail == NOT_STREAMED


@pytest.mark.parametrize(("status", "error"), [(429, "rate_limited"), (500, "http_500")])
def test_a_status_is_the_error_and_its_body_the_detail(status, error):
    found = read(b"too ", b"many", status=status, headers={})
    assert (found.error, found.detail) == (error, "too many")


# ---- the form of a stream ------------------------------------------------------------------


def as_lines(*lines):
    """Events of these lines, each event's own in a tuple."""
    return [line for event_lines in lines for line in (*event_lines, b"")]


A, B = (b'{"choices": [{"delta": {"content": "%s"}}]}' % text for text in (b"a", "ö".encode()))
LINES = as_lines(
    (b": comment", b"event: message", b"id: 1", b"retry: 5", b"data:" + A),
    (b'data: {"choices": [{"delta":', b'data:  {"content": "b"}}]}'),
    (b"event: ping", b"data: now"),
    (b"data", b"other: field"),
    (b"data: " + B,),
    (b"data: [DONE]",),
)


@given(
    st.lists(st.sampled_from([b"\n", b"\r", b"\r\n"]), min_size=len(LINES), max_size=len(LINES)),
    st.booleans(),
    st.lists(st.integers(0, 400), max_size=30),
)
def test_lines_end_in_any_way_and_bytes_are_cut_anywhere(ends, has_bom, cuts):
    ends = [
        b"\r\n" if end == b"\r" and not nxt else end
        for end, nxt in zip(ends, [*LINES[1:], b"x"], strict=True)
    ]
    body = b"\xef\xbb\xbf" * has_bom + b"".join(a + b for a, b in zip(LINES, ends, strict=True))
    edges = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    found = read(*(body[a:b] for a, b in pairwise(edges)))
    assert (found.error, len(found.content_at)) == (None, 3)


@pytest.mark.parametrize(
    "kind", ["text/event-stream", "application/json", "application/x-ndjson", "text/plain", None]
)
def test_a_stream_is_known_by_what_is_in_it_whatever_its_type(kind):
    headers = {"content-type": kind} if kind else {}
    found = read(event(delta(content="a")), event(delta(content="b")), DONE, headers=headers)
    assert (found.content_at, found.error, found.detail) == ([1.0, 2.0], None, "")


def test_chunks_as_lines_of_json_are_a_stream_too():
    lines = [event(delta(content=x)).removeprefix(b"data: ")[:-1] for x in "ab"]
    found = read(*lines, STOP.removeprefix(b"data: "))
    assert (found.content_at, found.error, found.detail) == ([1.0, 2.0], None, "")


def test_events_without_an_empty_line_between_them_and_a_last_one_without_end():
    body = event(delta(content="a"), end=b"\n") + event(delta(content="b"), end=b"\n")
    assert read(body + b"data: [DONE]").error is None
    assert len(read(body + b"data: [DONE]").content_at) == 2
    assert read(body + b"data: [DO").error == "cut"


def deflated(data):
    return zlib.compress(data)[2:-4]


@pytest.mark.parametrize(
    ("coding", "packed"),
    [("gzip", gzip.compress), ("x-gzip", gzip.compress), ("deflate", zlib.compress),
     ("deflate", deflated)],
)  # fmt: skip
@given(st.lists(st.integers(0, 200), max_size=9))
def test_a_compressed_body_is_the_same_answer(coding, packed, cuts):
    body = packed(WHOLE)
    edges = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    headers = STREAM | {"content-encoding": coding}
    found = read(*(body[a:b] for a, b in pairwise(edges)), headers=headers)
    assert gist(found) == gist(read(WHOLE))


def test_flushed_and_joined_gzip_is_read_as_it_comes():
    press = zlib.compressobj(6, zlib.DEFLATED, 31)
    headers = STREAM | {"content-encoding": "gzip"}
    chunks = [event(delta(content="a")), event(delta(content="b")), DONE]
    flushed = [press.compress(x) + press.flush(zlib.Z_SYNC_FLUSH) for x in chunks]
    for pieces in (flushed, [gzip.compress(x) for x in chunks]):
        found = read(*pieces, headers=headers)
        assert (found.content_at, found.error) == ([1.0, 2.0], None)


@pytest.mark.parametrize("coding", ["gzip", "br"])
def test_a_coding_that_is_not_what_it_says_or_not_read_is_named(coding):
    found = read(b"\x0b\x00plain\xff", headers=STREAM | {"content-encoding": coding})
    assert found.error == "malformed"
    assert "content-encoding" in found.detail


# ---- errors under status 200 ---------------------------------------------------------------

AFTER_TOKENS = [ROLE, event(delta(content="a")), event(delta(content="b"))]


def data(value):
    return b"data: " + json.dumps(value).encode() + b"\n\n"


@pytest.mark.parametrize(
    "envelope",
    [
        data({"error": {"message": "out of memory", "code": 500}}),
        data({"error": "out of memory"}),
        data({"error_msg": "out of memory", "error_code": 17}),
        data({"errors": [{"message": "out of memory"}]}),
        data({"object": "error", "message": "out of memory", "code": 500}),
        data({"type": "error", "message": "out of memory"}),
        data({"code": 503, "msg": "out of memory"}),
        data({"statusCode": 429, "message": "out of memory"}),
        data({"status": "failed", "detail": "out of memory"}),
        data({"success": False, "message": "out of memory"}),
        data({"base_resp": {"status_code": 1004, "status_msg": "out of memory"}}),
        data({"choices": [{"error": {"message": "out of memory"}, "finish_reason": "error"}]}),
        data([{"error": {"message": "out of memory"}}]),
        b"event: error\n" + data({"message": "out of memory"}),
        data({"message": "out of memory"})[:-1] + b"event: error\n\n",
        b"event: InternalServerException\ndata: out of memory\n\n",
        b'error: {"message": "out of memory"}\n\n',
        b'{"error": {"message": "out of memory"}}\n',
        b'{\n  "error": {\n    "message": "out of memory"\n  }\n}\n',
    ],
)
@pytest.mark.parametrize("before", [[], AFTER_TOKENS])
def test_an_error_is_a_failure_in_whatever_envelope(envelope, before):
    for after in ([], [DONE], [STOP, DONE]):
        found = read(*before, envelope, *after)
        assert found.error == "server_error"
        assert "out of memory" in found.detail


@pytest.mark.parametrize("reason", ["error", "abort", "cancelled", "engine_overloaded", "timeout"])
def test_a_finish_reason_may_tell_of_a_failure(reason):
    last = event({"index": 0, "delta": {}, "finish_reason": reason}, usage=usage(3, 2))
    found = read(*AFTER_TOKENS, last, DONE)
    assert (found.error, reason in found.detail) == ("server_error", True)


def test_an_answer_that_a_filter_ended_is_none():
    last = event({"index": 0, "delta": {}, "finish_reason": "content_filter"})
    assert read(*AFTER_TOKENS, last, DONE).error == "filtered"


def test_a_notice_without_a_code_is_an_error_where_no_finish_reason_follows():
    notice = data({"status": "queued", "message": "you are third"})
    assert read(notice, *AFTER_TOKENS, STOP, DONE).error is None
    assert read(*AFTER_TOKENS, data({"detail": "worker lost"}), DONE).detail == "worker lost"


@pytest.mark.parametrize(
    "chunk",
    [
        data({"type": "ping"}),
        b"event: ping\ndata: 2026-11-29\n\n",
        data({"choices": [], "prompt_filter_results": [{"content_filter_results": {"hate": {}}}]}),
        data({"code": 0, "message": "Success", "choices": [{"delta": {"content": ""}}]}),
        data({"error": None, "choices": []}),
        data({"base_resp": {"status_code": 0, "status_msg": ""}}),
    ],
)
def test_what_is_no_error_is_none(chunk):
    found = read(chunk, *AFTER_TOKENS, chunk, STOP, DONE)
    assert (found.error, len(found.content_at)) == (None, 2)


@pytest.mark.parametrize(
    ("pieces", "error", "shows"),
    [
        ([b"<html>Please log in</html>"], "malformed", "text/html: <html>Please log in"),
        ([b"upstream connect error\n"], "malformed", "upstream connect error"),
        ([], "cut", ""),
        ([b": ping\n\n"], "malformed", ": ping"),
        (AFTER_TOKENS, "cut", "2 chunks without finish reason"),
        ([ROLE, DONE], "empty", "no text"),
        ([ROLE, STOP, DONE], "empty", "finish reason stop"),
        ([event(usage=usage(3, 0)), *AFTER_TOKENS], "cut", "2 chunks"),
        ([event(usage=usage(3, 1)), *AFTER_TOKENS], "cut", "2 chunks"),
    ],
)
def test_the_end_of_a_body_is_no_proof_of_an_answer(pieces, error, shows):
    found = read(*pieces, headers={"content-type": "text/html"})
    assert found.error == error
    assert shows in found.detail


@pytest.mark.parametrize("ending", [[STOP], [event(usage=usage(3, 2))], [DONE], [STOP, DONE]])
def test_any_one_sign_of_the_end_makes_an_answer_with_text_whole(ending):
    assert read(*AFTER_TOKENS, *ending).error is None


def test_a_limit_that_went_to_reasoning_is_a_failure_that_says_so():
    cut = event({"index": 0, "delta": {}, "finish_reason": "length"})
    found = read(event(delta(reasoning="h")), cut, event(usage=usage(3, 20)), DONE)
    assert found.error == "empty"
    assert found.detail.startswith("reasoning came, and no text")


# ---- thinking within the answer ------------------------------------------------------------


def thinking_parts(text):
    return delta(content=[{"type": "thinking", "thinking": [{"type": "text", "text": text}]}])


@pytest.mark.parametrize(
    "thought",
    [
        thinking_parts("hm"),
        delta(content=[{"type": "reasoning", "text": "hm"}]),
        delta(content="", reasoning_details=[{"type": "reasoning.summary", "summary": "hm"}]),
        delta(thinking="hm"),
        delta(content=None, thinking_blocks=[{"thinking": "hm"}]),
    ],
)
def test_thinking_in_parts_and_other_fields_is_timed_apart(thought):
    both = delta(content=[{"type": "text", "text": "yes"}])
    found = read(ROLE, event(thought), event(thought), event(both), event(delta(content="!")), DONE)
    assert (found.reasoning_at, found.content_at) == (2.0, [4.0, 5.0])


TAGS = [("<think>", "</think>"), ("<thought>", "</thought>"), ("[THINK]", "[/THINK]"),
        ("◁think▷", "◁/think▷"), ("<thinking>", "</thinking>"), ("", "</think>"),
        ("<|channel|>analysis<|message|>", "<|end|><|channel|>final<|message|>")]  # fmt: skip


@pytest.mark.parametrize(("opening", "closing"), TAGS)
@given(st.lists(st.integers(0, 80), max_size=25), st.sampled_from(["", "\n"]))
def test_thinking_between_tags_is_no_answer_however_it_is_cut(opening, closing, cuts, blank):
    thinking, answer = (
        f"{blank}{opening}{blank}hm, 1 < 2{blank}{closing}",
        f"{blank}{blank}Yes <b>.",
    )
    text = thinking + answer
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[a:b] for a, b in pairwise(edges)]
    found = read(*(event(delta(content=piece)) for piece in pieces), STOP, DONE)
    # the piece in which the first letter of the answer comes
    first = next(k for k, end in enumerate(edges[1:], start=1) if end > text.index("Yes"))
    later = sum(1 for piece in pieces[first:] if piece)
    assert found.content_at[0] == first
    assert len(found.content_at) == 1 + later
    assert found.error is None
    assert found.reasoning_at <= first


@given(st.lists(st.integers(1, 6), min_size=1, max_size=12), st.integers(0, 60))
def test_tokens_of_the_answer_are_counted_apart_from_those_between_tags(sizes, cut):
    text = "<think>one two</think>\n\n" + "answer " * len(sizes)
    head = [text[:cut], text[cut : text.index("answer")]] if cut < text.index("answer") else [
        text[: text.index("answer")]]  # fmt: skip
    events, counted = [], 0
    for piece in head:
        counted += 3
        events.append(event(delta(content=piece), usage=usage(9, counted)))
    for size in sizes:
        counted += size
        events.append(event(delta(content="answer "), usage=usage(9, counted)))
    found = read(*events, STOP, DONE)
    assert len(found.content_at) == len(found.content_tokens) == len(sizes)
    assert found.content_tokens[1:] == sizes[1:]


@pytest.mark.parametrize("text", ["<", "<thin", "<b>bold</b>", " \n", "[T", "a </thin b"])
def test_what_only_looks_like_a_tag_is_the_answer_from_its_first_piece(text):
    found = read(*(event(delta(content=x)) for x in text), STOP, DONE)
    assert found.content_at == [float(k) for k in range(1, len(text) + 1)]
    assert found.reasoning_at is None


def test_an_empty_thought_is_no_reasoning():
    found = read(
        *(event(delta(content=x)) for x in ("<think>", "\n\n", "</think>", "\n", "Yes")), DONE
    )
    assert (found.reasoning_at, found.content_at) == (None, [5.0])


# ---- counts --------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [int, float, str])
def test_a_count_may_be_written_as_any_number(form):
    counts = {name: form(count) for name, count in usage(7, 20).items()}
    found = read(event(delta(content="a")), event(usage=counts), DONE)
    assert (found.input_tokens, found.output_tokens) == (7, 20)


@pytest.mark.parametrize("wrong", [True, -1, 1.5, "many", None, [], float("nan")])
def test_what_is_no_count_is_none(wrong):
    found = read(event(delta(content="a")), event(usage={"prompt_tokens": wrong}), DONE)
    assert found.input_tokens is None


def test_counts_that_come_apart_are_put_together():
    early = event(usage={"prompt_tokens": 7, "completion_tokens": 0, "total_tokens": 7})
    late = event(usage={"prompt_tokens": 0, "completion_tokens": 20})
    found = read(early, *AFTER_TOKENS, STOP, late, DONE)
    assert (found.input_tokens, found.output_tokens, found.reasoning_tokens) == (7, 20, None)


def test_counts_of_nothing_were_not_made_where_text_came():
    found = read(*AFTER_TOKENS, STOP, event(usage=usage(0, 0)), DONE)
    assert (found.input_tokens, found.output_tokens) == (None, None)


def test_a_whole_message_beside_its_deltas_is_no_second_answer():
    both = {**delta(content="a"), "message": {"content": "aa"}}
    last = {"index": 0, "delta": {}, "message": {"content": "aaa"}, "finish_reason": "stop"}
    assert read(event(delta(content="a")), event(both), event(last), DONE).content_at == [1.0, 2.0]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
FIELDS = """
choices usage metrics x_groq model finish_reason error delta content text message token_ids
reasoning object type code status base_resp errors
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

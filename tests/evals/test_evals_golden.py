"""Golden sets from request logs: every format that has prompts, and which requests are items."""

import csv
import gzip
import io
import json
from collections import Counter
from contextlib import suppress
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from llmstudy.evals.golden import allocation, golden_set
from llmstudy.evals.messages import UnfitError, answer_of, messages_of
from llmstudy.requests import formats
from llmstudy.requests.importers import read_log

SAMPLES = Path(__file__).parents[1] / "requests" / "samples"


# --- bodies as each gateway logs them ------------------------------------------------------------


def _messages(k):
    return [{"role": "user", "content": f"Question {k}?"}]


def _chat(k):
    message = {"role": "assistant", "content": f"Answer {k}.", "tool_calls": None}
    return {"choices": [{"index": 0, "message": message | {"function_call": None}}]}


def _parts(role, text):
    return [{"role": role, "parts": [{"type": "text", "content": text}]}]


def _spans(document):
    for resource in document["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            yield from scope["spans"]


def litellm(row, k):
    return row | {"messages": _messages(k), "response": _chat(k)}


def litellm_spendlogs(row, k):
    texts = {"messages": "{}", "proxy_server_request": {"model": "m", "messages": _messages(k)}}
    return row | texts | {"response": _chat(k)}


def langfuse(row, k):
    return row | {"input": _messages(k), "output": {"role": "assistant", "content": f"Answer {k}."}}


def helicone(row, k):
    return row | {"request_body": {"messages": _messages(k)}, "response_body": _chat(k)}


def portkey(row, k):
    return row | {"request": {"body": {"messages": _messages(k)}}, "response": {"body": _chat(k)}}


def bedrock(row, k):
    message = {"role": "user", "content": [{"text": f"Question {k}?"}]}
    row["input"]["inputBodyJson"] = {"messages": [message]}
    if "output" in row:
        answer = {"message": {"role": "assistant", "content": [{"text": f"Answer {k}."}]}}
        row["output"].setdefault("outputBodyJson", {})["output"] = answer
    return row


def anthropic_messages(row, k):
    row.setdefault("request", {})["messages"] = _messages(k)
    if "usage" in row.get("response", {}):
        row["response"]["content"] = [{"type": "thinking", "thinking": "Hm"}, {"type": "text"}]
        row["response"]["content"][1]["text"] = f"Answer {k}."
    return row


def gemini(row, k):
    row["request"] = {"contents": [{"role": "user", "parts": [{"text": f"Question {k}?"}]}]}
    if "candidates" in row:
        row["candidates"][0]["content"] = {"role": "model", "parts": [{"text": f"Answer {k}."}]}
    return row


def databricks(row, k):
    body = json.loads(row["response"])
    request = json.loads(row["request"]) | {"messages": _messages(k)}
    return row | {"request": request, "response": body | _chat(k)}


def azure_log_analytics(row, k):
    return row | {"RequestMessages": _messages(k), "ResponseMessages": f"Answer {k}."}


def generic(row, k):
    return row | {"messages": _messages(k), **_chat(k)}


def otel(row, k):
    texts = {
        "gen_ai.input.messages": json.dumps(_parts("user", f"Question {k}?")),
        "gen_ai.output.messages": json.dumps(_parts("assistant", f"Answer {k}.")),
    }
    if "SpanAttributes" in row:
        return row | {"SpanAttributes": json.loads(row["SpanAttributes"]) | texts}
    return row | texts


def otlp(row, k):
    for n, span in enumerate(_spans(row)):
        texts = {
            "gen_ai.prompt.0.role": "system",
            "gen_ai.prompt.0.content": "Be brief.",
            "gen_ai.prompt.1.content": f"Question {10 * k + n}?",
            "gen_ai.completion.0.content": f"Answer {10 * k + n}.",
        }
        span["attributes"] += [
            {"key": key, "value": {"stringValue": text}} for key, text in texts.items()
        ]
    return row


WITH_TEXTS = {
    "litellm.jsonl": litellm,
    "litellm_spendlogs.csv": litellm_spendlogs,
    "langfuse.jsonl": langfuse,
    "helicone.csv": helicone,
    "helicone_export.jsonl": helicone,
    "portkey.jsonl": portkey,
    "bedrock.jsonl": bedrock,
    "anthropic_messages.jsonl": anthropic_messages,
    "gemini.jsonl": gemini,
    "databricks-inference.csv": databricks,
    "azure_log_analytics.csv": azure_log_analytics,
    "generic-openai.jsonl": generic,
    "otel-flat.csv": otel,
    "otel-columns.csv": otel,
    "otel-otlp.jsonl": otlp,
}


def with_texts(name, folder):
    """A sample of a log with a prompt and an answer in each row, as its gateway has them."""
    add, sample = WITH_TEXTS[name], (SAMPLES / name).read_text()
    file = folder / name
    if name.endswith(".jsonl"):
        rows = [add(json.loads(line), k) for k, line in enumerate(sample.splitlines())]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return file
    rows = [add(row, k) for k, row in enumerate(csv.DictReader(io.StringIO(sample)))]
    cells = [
        {x: json.dumps(v) if isinstance(v, dict | list) else v for x, v in row.items()}
        for row in rows
    ]
    pd.DataFrame(cells).to_csv(file, index=False)
    return file


@pytest.mark.parametrize("name", WITH_TEXTS)
def test_the_answered_requests_of_each_format_become_items_with_their_own_answers(name, tmp_path):
    log = with_texts(name, tmp_path)
    items = golden_set(log).items
    # beside them a sample has attempts, failures and hits of a cache
    for item in items:
        k = item["messages"][-1]["content"].removeprefix("Question ").removesuffix("?")
        assert item["answer_today"] == f"Answer {k}."
    answered = read_log(log).accepted["ok"].sum()
    assert len(items) == answered


@pytest.mark.parametrize("name", ["litellm.jsonl", "otel-flat.csv", "otel-otlp.jsonl"])
def test_an_import_reads_no_text_of_a_prompt_and_gives_the_same_with_and_without(name, tmp_path):
    log, bare = read_log(with_texts(name, tmp_path)), read_log(SAMPLES / name)
    assert_frame_equal(log.accepted, bare.accepted)
    for table in (log.accepted, log.quarantined):
        assert (
            not table.astype(str).apply(lambda c: c.str.contains("Question|Answer")).any(axis=None)
        )


@pytest.mark.parametrize("name", [n for n in WITH_TEXTS if n != "databricks-inference.csv"])
def test_a_log_without_prompts_is_refused_with_what_to_switch_on(name):
    with pytest.raises(ValueError, match="the log has no prompts") as error:
        golden_set(SAMPLES / name)
    switch_on = formats.bundled()[name.partition(".")[0].partition("-")[0]].switch_on
    assert (switch_on or "has none by itself") in str(error.value)
    assert "\n" not in str(error.value)


def test_a_log_that_sums_up_requests_is_refused():
    with pytest.raises(ValueError, match="sums up many requests"):
        golden_set(SAMPLES / "litellm_daily.csv")


# --- which requests are items --------------------------------------------------------------------


def log_of(folder, rows):
    common = {"model": "gpt-4o", "provider": "openai", "input_tokens": 10, "output_tokens": 2}
    file = folder / "log.jsonl"
    lines = [
        json.dumps(
            common
            | {"id": f"r{k}", "ts_start": f"2026-11-02T09:{k // 60 % 60:02}:{k % 60:02}Z"}
            | row
        )
        for k, row in enumerate(rows)
    ]
    file.write_text("\n".join(lines))
    return file


def ask(text, **row):
    return {"workload": "chat", "messages": [{"role": "user", "content": text}], **row}


def prompts_of(items):
    return sorted(item["messages"][-1]["content"] for item in items.items)


def test_requests_that_differ_in_names_and_long_numbers_alone_are_one_item(tmp_path):
    prompts = [
        "Order 48213 of jo@acme.com is late",
        "order 59321 of  ann@acme.com is LATE",
        "2 + 2?",
    ]
    items = golden_set(log_of(tmp_path, [ask(each) for each in [*prompts, "2 + 3?", "2 + 2?"]]))
    assert len(items.items) == 3
    assert items.about["left_out"] == {"asked before": 2}
    assert "2 + 2?" in prompts_of(items)
    assert "2 + 3?" in prompts_of(items)


def test_items_are_redacted_and_a_value_has_one_pseudonym_in_the_whole_set(tmp_path):
    rows = [
        ask("Write to jo@acme.com", completion="I wrote to JO@acme.com"),
        ask("Who is jo@acme.com or ann@acme.com?", completion="jo@acme.com is Jo"),
    ]
    items = golden_set(log_of(tmp_path, rows))
    texts = json.dumps(items.items)
    assert "acme" not in texts.lower()
    by_prompt = {item["messages"][0]["content"]: item["answer_today"] for item in items.items}
    [writes] = [prompt for prompt in by_prompt if prompt.startswith("Write")]
    assert by_prompt[writes] == writes.replace("Write to", "I wrote to")
    assert items.about["redactions"] == {"EMAIL": 5}
    assert items.about["different_values_redacted"] == {"EMAIL": 2}


def test_failures_pictures_tools_and_empty_prompts_are_left_out_with_their_reasons(tmp_path):
    picture = [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": "x"}}]
    rows = [
        ask("fine", completion="yes"),
        ask("failed", completion="", error={"type": "overloaded"}),
        {"workload": "chat", "messages": [{"role": "user", "content": picture}], "completion": "a"},
        {"workload": "chat", "messages": [{"role": "tool", "content": "4"}], "completion": "a"},
        ask("no answer"),
        ask("redacted-by-litellm", completion="a"),
    ]
    items = golden_set(log_of(tmp_path, rows))
    assert prompts_of(items) == ["fine"]
    assert items.about["left_out"] == {
        "not of text alone": 1,
        "uses tools": 1,
        "without a prompt": 1,
        "without an answer in text": 1,
    }


def test_fields_that_no_format_names_are_named(tmp_path):
    rows = [{"workload": "chat", "frage": "2 + 2?", "antwort": "4"}]
    log = log_of(tmp_path, rows)
    [item] = golden_set(log, prompt="frage", answer="antwort").items
    assert (item["messages"], item["answer_today"]) == (
        [{"role": "user", "content": "2 + 2?"}],
        "4",
    )
    with pytest.raises(ValueError, match=r"no field 'fraage': name one of .*frage"):
        golden_set(log, prompt="fraage")


def test_items_come_in_the_shares_of_the_log_with_a_few_of_each_part_at_least(tmp_path):
    rng = np.random.default_rng(5)
    rows = []
    for k in range(1200):
        tenant = "small" if k % 100 == 0 else ("half", "rest")[k % 2]
        words = " ".join(f"w{k}x{j}" for j in range(int(rng.integers(1, 60))))
        rows.append(ask(words, tenant=tenant, session_id=f"s{k // 3}"))
    items = golden_set(log_of(tmp_path, rows), n=120)
    slices = Counter(item["slice"] for item in items.items)
    assert len(items.items) == 120
    assert slices["small"] >= 8
    assert abs(slices["half"] - slices["rest"]) <= 4
    lengths = [len(item["messages"][0]["content"]) for item in items.items]
    thirds = np.quantile([len(row["messages"][0]["content"]) for row in rows], [1 / 3, 2 / 3])
    assert (np.abs(np.bincount(np.digitize(lengths, thirds)) - 40) <= 3).all()
    assert len({item["cluster"] for item in items.items}) > 60


def test_the_same_log_and_seed_give_the_same_set_and_another_seed_another(tmp_path):
    log = log_of(tmp_path, [ask(f"question {'x' * k}") for k in range(100)])
    assert golden_set(log, n=20).version == golden_set(log, n=20).version
    assert golden_set(log, n=20, seed=2).version != golden_set(log, n=20).version


def test_a_workload_that_the_log_lacks_is_refused_with_those_it_has(tmp_path):
    log = log_of(tmp_path, [ask("a"), ask("b", workload="search")])
    assert {item["workload"] for item in golden_set(log, workloads=["search"]).items} == {"search"}
    with pytest.raises(ValueError, match=r"\['caht'\]: name chat, search"):
        golden_set(log, workloads=["caht"])


def test_files_of_a_log_are_read_as_one_and_packed_ones_too(tmp_path):
    table = pd.DataFrame(
        {
            "workload": "chat",
            "model": "m",
            "ts_start": pd.date_range("2026-11-02", periods=3, freq="s", tz="UTC"),
            "input_tokens": 1,
            "output_tokens": 1,
            "prompt": ["p one", "p two", "p three"],
            "completion": ["one", "two", "three"],
        }
    )
    duckdb.from_df(table).write_parquet(str(tmp_path / "b.parquet"))
    rows = [ask(each, completion=each.split()[1]) for each in ("j four", "j five")]
    log_of(tmp_path, rows).rename(tmp_path / "a.jsonl")
    items = golden_set(sorted(tmp_path.iterdir()))
    pairs = {
        item["messages"][0]["content"].split()[1]: item["answer_today"] for item in items.items
    }
    assert pairs == {word: word for word in ("one", "two", "three", "four", "five")}


def packed_as(kind, rows, folder):
    """Rows as a file of one kind, with blank lines and rows that cannot be read among them."""
    file, lines = folder / f"log.{kind}", [json.dumps(row) for row in rows]
    cells = [
        {k: v if isinstance(v, str | int) else json.dumps(v) for k, v in r.items()} for r in rows
    ]
    table = pd.DataFrame(cells)
    if kind == "jsonl":
        file.write_text("\n".join(["", lines[0], '{"cut', "", *lines[1:3], "[]", *lines[3:]]))
    elif kind == "jsonl.gz":
        file.write_bytes(gzip.compress("\n".join(lines).encode()))
    elif kind == "utf16.jsonl":
        file.write_text("\n".join(lines), encoding="utf-16")
    elif kind == "json":
        file.write_text(f"[{', '.join([*lines[:2], '7', *lines[2:]])}]")
    elif kind == "data.json":
        file.write_text(json.dumps({"requests": rows, "page": 1}, indent=1))
    elif kind == "csv":
        header, *body = table.to_csv(index=False).splitlines(keepends=True)
        file.write_text("".join([header, "\n", *body[:2], "too,few\n", *body[2:]]))
    else:
        duckdb.from_df(table).write_parquet(str(file))
    return file


@pytest.mark.parametrize(
    "kind", ["jsonl", "jsonl.gz", "utf16.jsonl", "json", "data.json", "csv", "parquet"]
)
def test_each_prompt_meets_its_own_answer_in_every_kind_of_file(kind, tmp_path):
    rows = [
        {
            "ts_start": f"2026-11-02T09:00:0{k}Z",
            "model": "m",
            "workload": "chat",
            "input_tokens": 10,
            "output_tokens": 2,
            "messages": [{"role": "user", "content": f'Say "{word}",\nplease'}],
            "completion": f"{word}, as said",
        }
        for k, word in enumerate(["one", "two", "three", "four", "five"])
    ]
    items = golden_set(packed_as(kind, rows, tmp_path)).items
    pairs = {item["messages"][0]["content"]: item["answer_today"] for item in items}
    assert pairs == {row["messages"][0]["content"]: row["completion"] for row in rows}


@given(
    st.lists(st.integers(0, 500), min_size=1, max_size=12).filter(sum),
    st.floats(0, 1),
    st.integers(0, 9),
)
def test_an_allocation_adds_up_and_takes_no_more_than_there_are(sizes, share, least):
    n = round(share * sum(sizes))
    taken = allocation(sizes, n, least)
    assert taken.sum() == n
    assert (taken <= sizes).all()
    floors = np.minimum(sizes, least)
    assert (taken >= floors).all() or floors.sum() > n
    rest = np.asarray(sizes) - floors if floors.sum() <= n else np.asarray(sizes)
    quota = taken - (np.asarray(sizes) - rest)
    assert np.abs(quota - quota.sum() * rest / max(rest.sum(), 1)).max() < 1


# --- messages ------------------------------------------------------------------------------------


_OUTPUT_TEXT = {"type": "output_text", "text": "4"}
_BRIEF, _HI = {"text": "Be brief."}, {"content": "Hi"}
_KEYS = [
    "messages",
    "content",
    "role",
    "parts",
    "text",
    "type",
    "choices",
    "input",
    "body",
    "system",
    "output",
    "delta",
]


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ({"output": [{"type": "reasoning"}, {"type": "message", "content": [_OUTPUT_TEXT]}]}, "4"),
        ({"completion": " 4"}, "4"),
        ({"results": [{"outputText": "4"}]}, "4"),
        ({"generation": "4"}, "4"),
        ([{"contentBlockDelta": {"delta": {"text": digit}}} for digit in "42"], "42"),
        ([{"type": "content_block_delta", "delta": {"type": "text_delta", "text": "4"}}], "4"),
        ({"choices": [{"index": 0, "message": {"content": None, "tool_calls": [{}]}}]}, None),
        ([{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}], "4"),
        ("[1, 2]", None),
        ("plain", "plain"),
        (None, None),
    ],
)
def test_the_answer_of_each_kind_of_body_is_its_text(body, answer):
    assert answer_of(body) == answer
    assert not isinstance(body, list | dict) or answer_of(json.dumps(body)) == answer


@pytest.mark.parametrize(
    "body",
    [
        {"instructions": "Be brief.", "input": "Hi"},
        {"system": [_BRIEF], "messages": [{"role": "user", "content": [{"text": "Hi"}]}]},
        {"systemInstruction": {"parts": [_BRIEF]}, "contents": [{"parts": [{"text": "Hi"}]}]},
        {"messages": [{"role": "developer", "content": "Be brief."}, {"role": "human"} | _HI]},
    ],
)
def test_the_prompt_of_each_kind_of_body_is_its_messages(body):
    expected = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    assert messages_of(body) == messages_of(json.dumps(body)) == expected


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=4)
        ),
        max_leaves=12,
    )
)
def test_any_json_in_place_of_a_prompt_is_read_or_left_out(body):
    with suppress(UnfitError):
        assert all(isinstance(m["role"], str) and m["content"] for m in messages_of(body))
    assert answer_of(body) is None or isinstance(answer_of(body), str)

import asyncio
import json
import math
import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from llmstudy.evals import scorers
from llmstudy.evals.importers import read_evaluation
from llmstudy.evals.prompts import Prompt
from llmstudy.evals.rows import by_route
from llmstudy.evals.runner import run_evaluation
from llmstudy.evals.table import pairs, refuse_scripted
from llmstudy.probe import load as sending
from llmstudy.study import load


def question(body):
    return body["messages"][-1]["content"]


def right(scripted, **how):
    """The right answer to an item of `sums`, in every reply."""

    def reply(body, n):
        number = int(question(body).split()[-3])
        return scripted.Reply(f"The answer is {number + 1}", **how)

    return reply


def quick(**options):
    return {"timeout_s": 5, "concurrency": 4, **options}


@pytest.fixture
def no_waits(monkeypatch):
    monkeypatch.setattr("llmstudy.evals.calls.retry_wait_s", lambda *_: 0.01)


def test_every_route_answers_every_item_and_rows_have_score_tokens_cost_and_times(
    scripted, route_to, sums, tmp_path
):
    how = {"reasoning": "hm", "reasoning_tokens": 7, "cached_tokens": 2, "served_model": "m-2026"}
    with scripted.running(right(scripted, **how)) as a, scripted.running(right(scripted)) as b:
        routes = [route_to(a, "api", price=(2.0, 10.0)), route_to(b)]
        run = run_evaluation(
            sums(6), routes, scorers.numeric, tmp_path / "e.jsonl", **quick(max_spend_usd=5)
        )
    table = run.table
    assert (run.sent, run.reused, run.failed, run.stopped) == (12, 0, 0, None)
    assert table["score"].tolist() == [1.0] * 12
    assert table["item_id"].tolist() == [f"sum-{i}" for i in range(6) for _ in range(2)]
    api = table[table["route"] == "api"].iloc[0]
    assert api["served_model"] == "m-2026"
    assert (api["input_tokens"], api["cached_input_tokens"]) == (8, 2)
    assert (api["output_tokens"], api["reasoning_tokens"]) == (11, 7)
    assert api["cost_usd"] == pytest.approx((8 * 2.0 + 11 * 10.0) / 1e6)
    assert run.spent_usd == pytest.approx(6 * api["cost_usd"])
    assert (table["ttft_s"] <= table["latency_s"]).all()
    assert (table["ttft_s"] > 0).all()
    assert len(pairs(table, "api", "open")) == 6
    written = pd.read_json(tmp_path / "e.jsonl", lines=True)
    assert written["score"].tolist() == table["score"].tolist()


def test_answers_of_a_test_server_are_marked_and_refused_as_evidence(
    scripted, route_to, sums, tmp_path
):
    with scripted.running(right(scripted)) as made_up:
        run = run_evaluation(
            sums(2), [route_to(made_up)], scorers.numeric, tmp_path / "a.jsonl", **quick()
        )
    assert run.table["source"].tolist() == ["scripted"] * 2
    with pytest.raises(ValueError, match=r"1 route with answers that a test server made up"):
        refuse_scripted(run.table)
    with scripted.running(right(scripted, fingerprint="fp_1")) as real:
        run = run_evaluation(
            sums(2), [route_to(real)], scorers.numeric, tmp_path / "b.jsonl", **quick()
        )
        assert run.table["source"].tolist() == [real.base_url] * 2
    refuse_scripted(run.table)


# ---- failures


def test_failures_that_pass_are_retried_and_attempts_counted(
    scripted, route_to, sums, tmp_path, no_waits
):
    faults = [
        scripted.Reply(status=429, headers={"retry-after": "0.01"}),
        scripted.Reply(status=500),
    ]
    answer = right(scripted)

    def reply(body, n):
        return faults[n - 1] if n <= len(faults) else answer(body, n)

    with scripted.running(reply) as server:
        run = run_evaluation(
            sums(3), [route_to(server)], scorers.numeric, tmp_path / "e.jsonl", **quick()
        )
    assert run.table["score"].tolist() == [1.0] * 3
    replies = [json.loads(line) for line in (tmp_path / "e.replies").open()]
    assert [reply["attempts"] for reply in replies] == [3, 3, 3]


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ({"status": 500}, "http_500: made up"),
        ({"status": 400, "error": "context too long"}, "http_400: context too long"),
        ({"delay_s": 3}, "timeout: longer than 0.5 s"),
        ({"stall_s": 3}, "timeout: longer than 0.5 s"),
        ({"cut": 2}, "cut: "),
        ({"error_event": True}, "server_error: made up"),
    ],
)
def test_a_failed_answer_is_not_scored_and_never_wrong(
    scripted, route_to, sums, tmp_path, no_waits, how, error
):
    answer, failing = right(scripted), right(scripted, **how)

    def reply(body, n):
        return (failing if "What is 1 +" in question(body) else answer)(body, n)

    with scripted.running(reply) as server:
        run = run_evaluation(
            sums(3),
            [route_to(server)],
            scorers.numeric,
            tmp_path / "e.jsonl",
            **quick(timeout_s=0.5, max_retries=1),
        )
    failed = run.table.set_index("item_id").loc["sum-1"]
    assert not failed["scored"]
    assert math.isnan(failed["score"])
    assert failed["error"].startswith(error)
    assert run.table["score"].mean() == 1.0
    assert run.failed == 1


def test_a_failure_is_sent_again_by_the_next_run_and_what_is_there_is_not(
    scripted, route_to, sums, tmp_path, no_waits
):
    broken = [True]
    answer = right(scripted)

    def reply(body, n):
        if broken[0] and "What is 1 +" in question(body):
            return scripted.Reply(status=500)
        return answer(body, n)

    with scripted.running(reply) as server:
        how = (sums(4), [route_to(server)], scorers.numeric, tmp_path / "e.jsonl")
        first = run_evaluation(*how, **quick(max_retries=0))
        broken[0] = False
        second = run_evaluation(*how, **quick(max_retries=0))
    assert (first.sent, first.failed, first.table["scored"].sum()) == (4, 1, 3)
    assert (second.sent, second.reused, second.failed) == (1, 3, 0)
    assert second.table["score"].tolist() == [1.0] * 4


def test_a_mended_scorer_a_further_route_and_more_items_pay_only_for_what_is_new(
    scripted, route_to, sums, tmp_path
):
    out = tmp_path / "e.jsonl"
    with scripted.running(right(scripted)) as server:
        one, two = route_to(server, "one"), route_to(server, "two")
        run_evaluation(sums(3), [one], scorers.exact, out, **quick())
        mended = run_evaluation(sums(3), [one], scorers.numeric, out, **quick())
        assert (mended.sent, mended.reused) == (0, 3)
        more = run_evaluation(sums(5), [one, two], scorers.numeric, out, **quick())
        assert (more.sent, more.reused) == (7, 3)
        other = run_evaluation(
            sums(3), [one], scorers.numeric, out, prompt=Prompt("Briefly: {input}"), **quick()
        )
        assert (other.sent, other.reused) == (3, 0)
    assert set(mended.table["run"]) != set(other.table["run"])


def test_a_server_that_refuses_a_key_or_has_no_model_ends_the_run_with_advice(
    scripted, route_to, sums, tmp_path, monkeypatch
):
    monkeypatch.setenv("OPEN_KEY", "secret-key-4711")
    for status in (401, 404):
        with scripted.running(
            lambda body, n, s=status: scripted.Reply(status=s, error="no: secret-key-4711")
        ) as server:
            to = route_to(server, key_env="OPEN_KEY")
            with pytest.raises(ValueError, match=rf"open: 127.0.0.1 .*http_{status}") as refused:
                run_evaluation(sums(9), [to], scorers.numeric, tmp_path / "e.jsonl", **quick())
            assert len(server.bodies) == 1
        assert "4711" not in str(refused.value)
        assert "4711" not in (tmp_path / "e.replies").read_text()


def test_a_route_that_fails_ends_the_run_with_what_it_has(scripted, route_to, sums, tmp_path):
    answer = right(scripted)

    def reply(body, n):
        return answer(body, n) if body["model"] == "good" else scripted.Reply(status=400)

    with scripted.running(reply) as server:
        routes = [route_to(server, "good"), route_to(server, "bad")]
        run = run_evaluation(
            sums(60), routes, scorers.numeric, tmp_path / "e.jsonl", **quick(max_errors=5)
        )
    assert "6 of 6 calls of bad failed (last: http_400" in run.stopped
    assert 6 <= len(run.table) / 2 <= 6 + 4
    assert run.table[run.table["route"] == "good"]["scored"].sum() >= 6


# ---- forms of answers and servers


def test_a_server_without_stream_options_usage_or_streams_is_used_as_it_is(
    scripted, route_to, sums, tmp_path
):
    answer = right(scripted, usage=False)
    whole = right(scripted, stream=False)

    def old(body, n):
        if "stream_options" in body:
            return scripted.Reply(status=400, error="unknown field stream_options")
        return answer(body, n)

    with scripted.running(old) as a, scripted.running(whole) as b:
        routes = [route_to(a, "old"), route_to(b, "whole")]
        run = run_evaluation(sums(3), routes, scorers.numeric, tmp_path / "e.jsonl", **quick())
    old_rows, whole_rows = (run.table[run.table["route"] == name] for name in ("old", "whole"))
    assert run.table["score"].tolist() == [1.0] * 6
    assert old_rows["output_tokens"].isna().all()
    assert old_rows["cost_usd"].isna().all()
    assert old_rows["ttft_s"].notna().all()
    assert whole_rows["output_tokens"].tolist() == [4] * 3
    assert whole_rows["ttft_s"].isna().all()
    assert whole_rows["latency_s"].notna().all()


def test_reasoning_within_the_text_is_no_answer(scripted, route_to, sums, tmp_path):
    def reply(body, n):
        return scripted.Reply("<think>It could be 99. Answer: 99</think>\nAnswer: 1")

    with scripted.running(reply) as server:
        run = run_evaluation(
            sums(1), [route_to(server)], scorers.numeric, tmp_path / "e.jsonl", **quick()
        )
    assert run.table["score"].tolist() == [1.0]
    assert run.table["ttft_s"].isna().all()


@pytest.mark.parametrize("output", ["text", "json_object", "json_schema"])
def test_the_structure_asked_for_is_that_of_the_item(scripted, route_to, tmp_path, output):
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    items = [{"item_id": "1", "prompt": "a number", "schema": schema}]

    def reply(body, n):
        form = body.get("response_format", {}).get("type")
        return scripted.Reply({None: "one", "json_object": "{}"}.get(form, '{"n": 1}'))

    with scripted.running(reply) as server:
        run = run_evaluation(
            items,
            [route_to(server)],
            scorers.json_schema,
            tmp_path / "e.jsonl",
            output=output,
            **quick(),
        )
        (body,) = server.bodies
    assert run.table["score"].tolist() == [float(output == "json_schema")]
    if output == "json_schema":
        assert body["response_format"]["json_schema"]["schema"] == schema


def test_a_request_has_the_routes_fields_and_key_and_nothing_of_the_librarys_variables(
    scripted, route_to, sums, tmp_path, monkeypatch
):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-for-you")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-not-for-you")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-not-for-you")
    monkeypatch.setenv("OPEN_KEY", "key-1")
    with scripted.running(right(scripted)) as server:
        keyed = route_to(
            server, "keyed", key_env="OPEN_KEY", body={"temperature": 0}, headers={"x-team": "a"}
        )
        run_evaluation(
            sums(1), [keyed, route_to(server)], scorers.numeric, tmp_path / "e.jsonl", **quick()
        )
    (with_key, without), (body, _) = server.headers, server.bodies
    assert with_key["authorization"] == "Bearer key-1"
    assert with_key["x-team"] == "a"
    assert "authorization" not in without
    assert "not-for-you" not in json.dumps(server.headers)
    assert (body["temperature"], body["max_tokens"], body["stream"]) == (0, 2048, True)
    assert "key-1" not in (tmp_path / "e.replies").read_text()


def test_repeats_are_calls_of_their_own_and_rows_of_their_own(scripted, route_to, sums, tmp_path):
    with scripted.running(right(scripted)) as server:
        run = run_evaluation(
            sums(2), [route_to(server)], scorers.numeric, tmp_path / "e.jsonl", **quick(epochs=3)
        )
    assert run.sent == len(server.bodies) == 6
    assert run.table["epoch"].tolist() == [1, 2, 3, 1, 2, 3]


def test_no_more_calls_are_open_than_allowed_and_waiting_for_a_slot_is_no_latency(
    scripted, route_to, sums, tmp_path
):
    with scripted.running(right(scripted, delay_s=0.1)) as server:
        began = time.perf_counter()
        run = run_evaluation(
            sums(13), [route_to(server)], scorers.numeric, tmp_path / "e.jsonl", concurrency=3
        )
        took_s = time.perf_counter() - began
    assert server.most_at_once == 3
    assert (run.table["latency_s"] >= 0.1).all()
    assert run.table["latency_s"].sum() <= 3 * took_s  # those of a slot do not overlap


# ---- spend


def test_a_billed_route_needs_a_cap_and_the_cost_comes_before_the_first_request(
    scripted, route_to, sums, tmp_path
):
    with scripted.running(right(scripted)) as server:
        to, out = route_to(server, price=(2.0, 10.0)), tmp_path / "e.jsonl"
        with pytest.raises(ValueError, match="tokens of open are billed: give --max-spend"):
            run_evaluation(sums(3), [to], scorers.numeric, out, **quick())
        lines = []

        def say(text):
            lines.append((text, len(server.bodies)))

        run_evaluation(sums(100), [to], scorers.numeric, out, say=say, **quick(max_spend_usd=3))
    ((sentence, sent),) = lines
    assert sent == 0
    # 100 answers of 2,048 tokens at USD 10 per million
    assert "100 answers to obtain. What is left costs at most about USD 2.0" in sentence
    assert "stops at USD 3.00, of which USD 0 is spent" in sentence


def test_the_cap_is_not_passed_and_whole_items_are_there_when_it_stops(
    scripted, route_to, sums, tmp_path
):
    out, price = tmp_path / "e.jsonl", (0.0, 1_000.0)  # 4 tokens of an answer: USD 0.004
    with scripted.running(right(scripted)) as server:
        routes = [route_to(server, "a", price=price), route_to(server, "b", price=price)]
        how = {"concurrency": 4, "max_output_tokens": 10}  # an item: at most USD 0.02
        run = run_evaluation(sums(50), routes, scorers.numeric, out, max_spend_usd=0.1, **how)
        assert "could pass the spend cap of USD 0.10" in run.stopped
        assert 0.08 < run.spent_usd <= 0.1
        assert run.table["scored"].all()
        assert (run.table.groupby("item_id").size() == 2).all()
        before = len(server.bodies)
        again = run_evaluation(sums(50), routes, scorers.numeric, out, max_spend_usd=0.1, **how)
        assert (len(server.bodies), again.spent_usd) == (before, run.spent_usd)
        assert again.table.equals(run.table)
        rest = run_evaluation(sums(50), routes, scorers.numeric, out, max_spend_usd=1, **how)
    assert rest.stopped is None
    assert max(server.calls.values()) == 1
    assert rest.spent_usd == pytest.approx(50 * 2 * 0.004)


def test_an_answer_that_was_cut_or_not_counted_costs_the_most_it_could(
    scripted, route_to, sums, tmp_path
):
    with scripted.running(right(scripted, cut=3)) as cut:
        to = route_to(cut, price=(0.0, 1_000.0))
        run = run_evaluation(
            sums(1),
            [to],
            scorers.numeric,
            tmp_path / "e.jsonl",
            **quick(max_spend_usd=1, max_output_tokens=10),
        )
    assert run.spent_usd == pytest.approx(0.01)
    assert run.table["cost_usd"].isna().all()


def test_a_stopped_run_has_a_fair_part_of_sorted_items(scripted, route_to, tmp_path):
    items = [
        {"item_id": f"{part}-{i}", "prompt": f"What is {i} + 1?", "reference": i + 1, "slice": part}
        for part in "ab"
        for i in range(100)
    ]
    with scripted.running(right(scripted)) as server:
        run = run_evaluation(
            items,
            [route_to(server, price=(0.0, 1_000.0))],
            scorers.numeric,
            tmp_path / "e.jsonl",
            **quick(max_spend_usd=0.4, max_output_tokens=10),
        )
    shares = run.table["slice"].value_counts(normalize=True)
    assert len(run.table) > 80
    assert shares.min() > 0.35


# ---- kills and interrupts

KILLED = """
import json, sys
from pathlib import Path
from llmstudy.evals import scorers
from llmstudy.evals.routes import route
from llmstudy.evals.rows import by_route
from llmstudy.evals.runner import run_evaluation

url, out = sys.argv[1:]
items = [
    {"item_id": f"sum-{i}", "prompt": f"What is {i} + 1?", "reference": i + 1} for i in range(40)
]
routes = [route(name, url, name, price=(0, 1000)) for name in ("a", "b")]
run_evaluation(
    items, routes, scorers.numeric, Path(out), max_spend_usd=5, max_output_tokens=10, concurrency=3
)
"""


def test_a_kill_loses_nothing_and_nothing_that_was_finished_is_paid_for_again(
    scripted, route_to, sums, tmp_path
):
    out = tmp_path / "e.jsonl"
    with scripted.running(right(scripted, delay_s=0.02)) as server:
        process = subprocess.Popen([sys.executable, "-c", KILLED, server.base_url, str(out)])
        while len(server.bodies) < 30:
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not out.exists()
        file = tmp_path / "e.replies"
        finished = file.read_bytes().count(b"\n")
        assert 24 <= finished <= 32
        with file.open("ab") as stream:
            stream.write(b'{"key": "cut sho')  # as a kill within a write leaves it
        routes = [route_to(server, name, price=(0.0, 1_000.0)) for name in "ab"]
        run = run_evaluation(
            sums(40), routes, scorers.numeric, out, max_spend_usd=5, max_output_tokens=10
        )
    assert (run.reused, run.sent) == (finished, 80 - finished)
    assert run.table["score"].tolist() == [1.0] * 80
    # only what was in flight at the kill came twice
    assert len(server.bodies) <= 80 + 3
    assert run.spent_usd == pytest.approx(80 * 0.004)


def test_an_interrupt_ends_the_run_with_what_it_has(
    scripted, route_to, sums, tmp_path, monkeypatch
):
    monkeypatch.setattr(sending, "_PROGRESS_EVERY_S", 0.02)
    seen = []

    def on_progress(progress):
        seen.append(progress)
        if progress.finished >= 5:
            os.kill(os.getpid(), signal.SIGINT)

    with scripted.running(right(scripted, delay_s=0.05)) as server:
        routes = [route_to(server, "a"), route_to(server, "b")]
        run = run_evaluation(
            sums(60),
            routes,
            scorers.numeric,
            tmp_path / "e.jsonl",
            on_progress=on_progress,
            concurrency=2,
        )
    assert run.stopped == "interrupted"
    assert 5 <= run.table["scored"].sum() < 60
    assert seen[-1].planned == 120
    unscored = run.table[~run.table["scored"]]
    assert unscored["error"].str.contains("not sent|interrupted").all()
    assert len(pairs(run.table, "a", "b")) >= 2


def test_two_runs_cannot_write_one_file(scripted, route_to, sums, tmp_path):
    from llmstudy.evals.replies import opened

    with (
        opened(tmp_path / "e.replies"),
        scripted.running(right(scripted)) as server,
        pytest.raises(ValueError, match="is being written by another run"),
    ):
        run_evaluation(sums(1), [route_to(server)], scorers.numeric, tmp_path / "e.jsonl")


# ---- mistakes


@pytest.mark.parametrize(
    ("items", "sentence"),
    [
        ([], "no items: give at least one"),
        ([{"prompt": "a"}], "1 item without item_id"),
        ([{"item_id": 1, "prompt": "a"}] * 2, "1 item with an id that another one has"),
        ([{"item_id": 1}], "item 1: give `messages`"),
        ([{"item_id": 1, "prompt": "a"}], "1 of 1 items have no reference"),
    ],
)
def test_items_that_cannot_be_sent_are_refused(scripted, route_to, tmp_path, items, sentence):
    with (
        scripted.running(right(scripted)) as server,
        pytest.raises(ValueError, match=sentence),
    ):
        run_evaluation(items, [route_to(server)], scorers.numeric, tmp_path / "e.jsonl")
    assert not server.bodies


@pytest.mark.parametrize(
    ("template", "sentence"),
    [("Answer.", r"no \{input\}"), ("{inptu} {input}", r"names \{inptu\}, which no item has")],
)
def test_a_prompt_that_leaves_the_item_out_is_refused(template, sentence):
    with pytest.raises(ValueError, match=sentence):
        Prompt(template)


def test_a_template_takes_the_place_of_the_last_message_and_its_braces_stay():
    item = {
        "item_id": 1,
        "messages": [
            {"role": "system", "content": "old"},
            {"role": "user", "content": "{context} is not a field here"},
        ],
        "choices": ["red", "blue"],
    }
    prompt = Prompt('{input}\n{choices}\nJSON: {"answer": "A"}', system="new")
    assert [m["content"] for m in prompt.messages(item)] == [
        "new",
        '{context} is not a field here\nA. red\nB. blue\nJSON: {"answer": "A"}',
    ]
    assert prompt.version != Prompt("{input}").version


def test_a_made_up_evaluation_cannot_be_the_evidence_of_a_study(
    scripted, route_to, sums, tmp_path, variant
):
    block = """novita-llama-3.1-70b: &llama70b
          benchmark: zeroeval_gsm
          model_proprietary: gpt-4o-2024-08-06
          model_open: Meta-Llama-3.1-70B-Instruct
"""
    own = """novita-llama-3.1-70b: &llama70b
          evaluation: e.jsonl
          model_proprietary: api
          model_open: open
          as_of: 2026-11-20
"""
    for fingerprint in ("scripted", "fp_1"):
        with scripted.running(right(scripted, fingerprint=fingerprint)) as server:
            routes = [route_to(server, "api"), route_to(server)]
            run_evaluation(sums(30), routes, scorers.numeric, tmp_path / "e.jsonl", **quick())
        (tmp_path / "e.replies").unlink()
        study = variant("default", (block, own))
        if fingerprint == "scripted":
            with pytest.raises(ValueError, match="that a test server made up: evaluate a real one"):
                load(study)
        else:
            load(study)


def test_a_disk_that_is_full_ends_the_run_with_its_error(
    scripted, route_to, sums, tmp_path, monkeypatch
):
    def full(self, reply):
        raise OSError(28, "No space left on device", "e.replies")

    with scripted.running(right(scripted)) as server:
        monkeypatch.setattr("llmstudy.evals.replies.Replies.add", full)
        with pytest.raises(OSError, match="No space left"):
            run_evaluation(
                sums(9), [route_to(server)], scorers.numeric, tmp_path / "e.jsonl", **quick()
            )
        assert len(server.bodies) == 1


def test_the_sums_of_a_run_are_those_of_its_rows(scripted, route_to, sums, tmp_path):
    answer = right(scripted, served_model="m-2026")

    def reply(body, n):
        if "What is 1 +" in question(body):
            return scripted.Reply(status=400, error="too long")
        if "What is 2 +" in question(body):
            return scripted.Reply("no idea", served_model="m-2026")
        return answer(body, n)

    with scripted.running(reply) as server:
        to = route_to(server, price=(0.0, 1_000.0))
        run = run_evaluation(
            sums(5), [to], scorers.numeric, tmp_path / "e.jsonl", **quick(max_spend_usd=9)
        )
    (row,) = by_route(run.table).to_dict("records")
    assert (row["route"], row["served_model"]) == ("open", "m-2026")
    assert (row["answers"], row["scored"], row["score"]) == (5, 3, 1.0)
    assert row["not_scored_because"] == "http_400: too long; no number in the answer"
    assert row["usd_per_answer"] == pytest.approx((3 * 0.004 + 0.002) / 4)
    assert row["latency_s_p50"] == run.table["latency_s"].median()


def test_it_runs_where_an_event_loop_runs_already(scripted, route_to, sums, tmp_path):
    """As in a notebook."""

    async def cell():
        return run_evaluation(
            sums(2), [route_to(server)], scorers.numeric, tmp_path / "e.jsonl", **quick()
        )

    with scripted.running(right(scripted)) as server:
        assert asyncio.run(cell()).table["score"].tolist() == [1.0, 1.0]


def test_an_evaluation_is_read_from_its_folder_without_its_replies(
    scripted, route_to, sums, tmp_path
):
    with scripted.running(right(scripted)) as server:
        for name in ("a.jsonl", "b.parquet"):
            run = run_evaluation(
                sums(2), [route_to(server)], scorers.numeric, tmp_path / name[0] / name, **quick()
            )
            assert (tmp_path / name[0] / f"{name[0]}.replies").is_file()
            read = read_evaluation(tmp_path / name[0])
            assert read["score"].tolist() == run.table["score"].tolist() == [1.0, 1.0]

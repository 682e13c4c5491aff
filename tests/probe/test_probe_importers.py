"""Result files of other load tools: raw times in, our metrics out, and nothing dropped in silence.

Small files of each format are made here, with times chosen so that every latency is known by hand;
the files that the tools really wrote are checked where the folder `shared` is.
"""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmstudy import io, paths
from llmstudy.probe import run as run_folder
from llmstudy.probe.audit import audit
from llmstudy.probe.importers import TOOLS, published_against_derived, read_results
from llmstudy.probe.importers.result_file import error_word
from llmstudy.probe.report import report
from llmstudy.probe.run import COLUMNS, Run, chunk_gaps_s, with_metrics

# ---------------------------------------------------------------------------- files made by hand


def serve(**changes):
    """Three requests, due at 100, 101, 102 and sent 0.01, 0.02, 0.03 later; the last failed."""
    return {
        "date": "20261123-132028",
        "endpoint_type": "openai",
        "backend": "openai",
        "model_id": "tiny",
        "num_prompts": 3,
        "request_rate": 1.0,
        "burstiness": 1.0,
        "max_concurrency": None,
        "duration": 3.0,
        "completed": 2,
        "failed": 1,
        "total_input_tokens": 20,
        "request_throughput": 1.0,
        "start_times": [100.01, 101.02, 102.03],
        "queue_times": [0.01, 0.02, 0.03],
        "ttfts": [0.1, 0.2, 0.0],
        "itls": [[0.03, 0.05], [0.04, 0.04], []],
        "latencies": [0.18, 0.28, 0.0],
        "input_lens": [10, 10, 10],
        "output_lens": [3, 3, 0],
        "errors": ["", "", "Too Many Requests"],
        "mean_ttft_ms": 150.0,
        "median_ttft_ms": 150.0,
        "p99_ttft_ms": 199.0,
        "std_ttft_ms": 50.0,
        "mean_itl_ms": 40.0,
    } | changes


def timings(start, **changes):
    """A request scheduled at `start`: sent 0.01 s later, first token at 0.11 s, last at 0.41 s."""
    return {
        "targeted_start": start,
        "queued": start - 1,
        "request_start": start + 0.01,
        "first_token_iteration": start + 0.11,
        "first_output_token_iteration": start + 0.11,
        "last_token_iteration": start + 0.41,
        "token_iterations": 4,
        "request_end": start + 0.42,
    } | changes


def guidellm(successful, strategy=None, **statuses):
    """A file of one benchmark that began at 1000."""
    requests = {"successful": [("completed", t) for t in successful]}
    requests |= {status: [(word, t) for t in ts] for status, (word, ts) in statuses.items()}
    return {
        "metadata": {"version": 2, "guidellm_version": "0.8.1"},
        "config": {},
        "benchmarks": [
            {
                "config": {
                    "strategy": strategy
                    or {"type_": "poisson", "rate": 1.0, "max_concurrency": 10240}
                },
                "duration": 9.0,
                "scheduler_metrics": {"start_time": 1000.0, "measure_start_time": 1000.0},
                "metrics": {
                    "time_per_output_token_ms": {
                        "successful": {"count": 1, "mean": 100.0, "percentiles": {"p50": 100.0}}
                    },
                    "request_latency": {
                        "successful": {"count": 1, "mean": 0.41, "percentiles": {"p50": 0.41}}
                    },
                },
                "requests": {
                    status: [
                        {
                            "prompt_tokens": 7,
                            "output_tokens": 4,
                            "info": {"status": word, "timings": t, "error": None},
                        }
                        for word, t in found
                    ]
                    for status, found in requests.items()
                },
            }
        ],
    }


def record(start_ns, phase="profiling", metrics=None, **changes):
    """A record of aiperf: credit at `start_ns`, sent 2 ms later, chunks at 50, 60 and 80 ms."""
    return {
        "metadata": {
            "credit_issued_ns": start_ns,
            "request_start_ns": start_ns + 2_000_000,
            "request_ack_ns": start_ns + 3_000_000,
            "request_end_ns": start_ns + 90_000_000,
            "benchmark_phase": phase,
            "was_cancelled": False,
        },
        "metrics": {
            "time_to_first_token": {"value": 50.0, "unit": "ms"},
            "inter_chunk_latency": {"value": [10.0, 20.0], "unit": "ms"},
            "request_latency": {"value": 80.0, "unit": "ms"},
            "output_sequence_length": {"value": 5, "unit": "tokens"},
            "usage_prompt_tokens": {"value": 9, "unit": "tokens"},
            "usage_completion_tokens": {"value": 3, "unit": "tokens"},
        }
        if metrics is None
        else metrics,
    } | changes


AIPERF_SUMMARY = {
    "schema_version": "1.4",
    "aiperf_version": "0.13.0",
    "input_config": {
        "models": {"items": [{"name": "tiny"}]},
        "endpoint": {"urls": ["http://127.0.0.1:8011"], "type": "chat"},
        "datasets": [{"type": "synthetic", "prompts": {"isl": {"mean": 9}, "osl": {"mean": 3}}}],
        "phases": [
            {"kind": "warmup", "type": "poisson", "rate": 4.0},
            {"kind": "profiling", "type": "poisson", "rate": 4.0},
        ],
    },
    "run_info": {"random_seed": 1},
    "was_cancelled": False,
    "inter_token_latency": {"unit": "ms", "avg": 7.5, "p50": 7.5, "p95": 7.5, "p99": 7.5},
    "inter_chunk_latency": {"unit": "ms", "avg": 15.0, "p50": 15.0},
}

START_NS = 1_795_440_892_025_952_161


def lifecycle(start, **changes):
    """A request of inference-perf: chunks with text at 0.1, 0.2 and 0.4 s, the end at 0.5 s."""
    return {
        "start_time": start,
        "end_time": start + 0.5,
        "request": "{}",
        "response": "",
        "info": {
            "request_metrics": {"text": {"input_tokens": 11}},
            "response_metrics": {
                "output_tokens": 5,
                "chunk_times": [start + 0.1, start + 0.2, start + 0.4],
                "server_usage": {"prompt_tokens": 12, "completion_tokens": 3},
            },
            "input_tokens": 11,
        },
        "error": None,
    } | changes


LIFECYCLE_SUMMARY = {
    "load_summary": {"count": 2, "requested_rate": 2.0, "schedule_delay": {"mean": 0.0}},
    "successes": {
        "count": 2,
        "latency": {"time_per_output_token": {"mean": 0.1, "median": 0.1, "p99": 0.1}},
    },
    "failures": {"count": 0},
}

GENAI_BENCH = {
    "aggregated_metrics": {
        "scenario": "D(9,3)",
        "num_concurrency": 2,
        "run_duration": 1.0,
        "num_requests": 2,
        "requests_per_second": 2.0,
        "stats": {"ttft": {"mean": 0.1, "p50": 0.1, "p95": 0.1, "p99": 0.1}},
    },
    "individual_request_metrics": [
        {
            "ttft": 0.1,
            "e2e_latency": 0.3,
            "num_input_tokens": 9,
            "num_output_tokens": 3,
            "num_reasoning_tokens": 0,
            "error_code": None,
        },
        {"ttft": None, "e2e_latency": None, "error_code": 500, "error_message": "boom"},
    ],
    "_time_unit": "s",
}


@pytest.fixture
def written(tmp_path):
    """Writes documents, one a line, and says where."""

    def write(*documents, name="result.json"):
        path = tmp_path / name
        path.write_text("\n".join(json.dumps(d) for d in documents), encoding="utf-8")
        return path

    return write


def metrics(run):
    return with_metrics(run.samples)


def ratios(run, quantity):
    table = published_against_derived(run)
    return table[table["quantity"] == quantity].set_index("statistic")["ratio"]


# ------------------------------------------------------------------------------ vllm bench serve


def test_vllm_latencies_count_from_the_scheduled_time(written):
    found = metrics(read_results(written(serve())))
    assert found["scheduled_s"].tolist() == pytest.approx([0.0, 1.0, 2.0])
    assert found["client_queue_s"].tolist() == pytest.approx([0.01, 0.02, 0.03])
    assert found["ttft_s"].tolist()[:2] == pytest.approx([0.11, 0.22])
    assert found["tpot_s"].tolist()[:2] == pytest.approx([0.04, 0.04])
    assert found["e2e_s"].tolist()[:2] == pytest.approx([0.19, 0.30])


def test_vllm_failure_with_zeros_has_no_latency_and_a_word(written):
    found = metrics(read_results(written(serve())))
    assert found["ok"].tolist() == [True, True, False]
    assert found["error"].iloc[2] == "rate_limited"
    assert found.loc[2, ["ttft_s", "e2e_s", "output_tokens"]].isna().all()


def test_vllm_failure_without_any_text_is_still_a_failure(written):
    run = read_results(written(serve(errors=["", "", ""])))
    assert run.samples["ok"].tolist() == [True, True, False]
    assert run.samples["error"].iloc[2] == "server_error"


def test_vllm_role_chunk_is_proven_by_as_many_gaps_as_tokens_and_left_out_everywhere(written):
    # the second answer came in merged chunks: only the first proves the role chunk
    itls = [[0.001, 0.03, 0.05], [0.002, 0.08], []]
    run = read_results(written(serve(endpoint_type="openai-chat", itls=itls)))
    found = metrics(run)
    assert found["ttft_s"].tolist()[:2] == pytest.approx([0.111, 0.222])
    assert chunk_gaps_s(run.samples).tolist() == pytest.approx([0.03, 0.05, 0.08])
    assert any("role" in note for note in run.facts["notes"])


def test_vllm_closing_chunk_without_text_is_left_out(written):
    itls = [[0.001, 0.03, 0.05, 0.7], [0.001, 0.04, 0.04, 0.7], []]
    run = read_results(written(serve(endpoint_type="openai-chat", itls=itls)))
    assert metrics(run)["e2e_s"].tolist()[:2] == pytest.approx([0.191, 0.301])
    assert chunk_gaps_s(run.samples).max() < 0.1


def test_vllm_chat_without_proof_of_a_role_chunk_keeps_every_chunk_and_says_so(written):
    run = read_results(written(serve(endpoint_type="openai-chat")))
    assert len(chunk_gaps_s(run.samples)) == 4
    assert any("TTFT is too short" in note for note in run.facts["notes"])


def test_vllm_more_chunks_than_any_server_sends_are_kept_and_said(written):
    run = read_results(written(serve(output_lens=[1, 1, 0])))
    assert len(chunk_gaps_s(run.samples)) == 4
    assert any("more than tokens" in note for note in run.facts["notes"])


@pytest.mark.parametrize(
    ("asked", "load"),
    [
        ({"request_rate": 4.0}, ("poisson", 4.0, None)),
        ({"request_rate": 4.0, "burstiness": 0.5}, ("gamma", 4.0, None)),
        ({"request_rate": 4.0, "burstiness": float("inf")}, ("constant", 4.0, None)),
        ({"request_rate": 4.0, "ramp_up_strategy": "linear"}, ("ramp", 4.0, None)),
        ({"request_rate": 4.0, "max_concurrency": 2}, ("poisson", 4.0, 2)),
        ({"request_rate": "inf", "max_concurrency": 2}, ("closed", None, 2)),
        ({"request_rate": "inf"}, ("closed", None, 3)),
    ],
)
def test_vllm_load_is_named_in_our_words(written, asked, load):
    facts = read_results(written(serve(**asked))).facts["load"]
    assert (facts["process"], facts["rate_per_s"], facts["concurrency"]) == load


def test_vllm_at_an_infinite_rate_counts_from_the_dispatch(written):
    run = read_results(written(serve(request_rate="inf", queue_times=[0.0, 1.0, 2.0])))
    assert (metrics(run)["client_queue_s"] == 0).all()
    assert metrics(run)["ttft_s"].tolist()[:2] == pytest.approx([0.1, 0.2])


def test_vllm_without_details_has_no_samples_and_says_what_is_missing(written):
    bare = {k: v for k, v in serve().items() if k not in ("ttfts", "itls", "latencies")}
    run = read_results(written(bare))
    assert run.samples.empty
    assert list(run.samples.columns) == COLUMNS
    assert "missing (ttfts, itls)" in run.facts["notes"][0]
    assert {row["name"] for row in run.facts["published"]} >= {"ttft", "itl"}
    assert published_against_derived(run)["derived_ms"].isna().all()


def test_vllm_file_before_queue_times_counts_from_the_dispatch(written):
    old = {k: v for k, v in serve().items() if k not in ("queue_times", "latencies", "failed")}
    assert metrics(read_results(written(old)))["client_queue_s"].eq(0).all()


def test_vllm_appended_results_are_read_one_by_one(written):
    path = written(serve(), serve(request_rate=7.0))
    with pytest.raises(ValueError, match=r"2 benchmarks: 0 \(openai@1\.0\), 1 \(op.*--benchmark"):
        read_results(path)
    assert read_results(path, benchmark=1).facts["load"]["rate_per_s"] == 7.0
    with pytest.raises(ValueError, match="2 benchmarks"):
        read_results(path, benchmark=2)


def test_vllm_lists_of_unequal_length_are_refused(written):
    with pytest.raises(ValueError, match="lists differ in length"):
        read_results(written(serve(ttfts=[0.1, 0.2])))


def test_vllm_batch_tools_give_summaries_alone(written):
    throughput = {"elapsed_time": 2.0, "num_requests": 4, "requests_per_second": 2.0}
    run = read_results(written(throughput | {"tokens_per_second": 90.0, "total_num_tokens": 180}))
    assert (run.facts["tool"]["name"], len(run.samples)) == ("vllm-bench-throughput", 0)
    latency = {"avg_latency": 0.08, "latencies": [0.07, 0.09], "percentiles": {"50": 0.08}}
    run = read_results(written(latency))
    assert (run.facts["tool"]["name"], len(run.samples)) == ("vllm-bench-latency", 0)
    assert [row["value"] for row in run.facts["published"]] == pytest.approx([80.0, 80.0])


durations = st.floats(1e-3, 1e3)
requests = st.lists(
    st.tuples(durations, st.floats(0, 10), durations, st.lists(durations, max_size=6)),
    min_size=1,
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(requests=requests)
def test_vllm_round_trip_keeps_every_latency(tmp_path_factory, requests):
    gaps, queues, ttfts, itls = zip(*requests, strict=True)
    starts = np.cumsum(gaps) + queues
    n = len(requests)
    document = serve(
        start_times=starts.tolist(),
        queue_times=list(queues),
        ttfts=list(ttfts),
        itls=[list(x) for x in itls],
        input_lens=[1] * n,
        output_lens=[len(x) + 1 for x in itls],
        errors=[""] * n,
    )
    path = tmp_path_factory.mktemp("serve") / "result.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    found = metrics(read_results(path))
    whole = [ttft + sum(x) for ttft, x in zip(ttfts, itls, strict=True)]
    assert found["scheduled_s"].min() == 0
    assert found["ttft_s"].to_numpy() == pytest.approx(np.add(ttfts, queues), abs=1e-9)
    assert found["e2e_s"].to_numpy() == pytest.approx(np.add(whole, queues), abs=1e-9)
    tpot = [sum(x) / len(x) if x else np.nan for x in itls]
    assert found["tpot_s"].to_numpy() == pytest.approx(np.array(tpot), abs=1e-9, nan_ok=True)


def without(document, *keys):
    return {key: value for key, value in document.items() if key not in keys}


OLD = ("start_times", "queue_times", "latencies", "failed")


def test_vllm_file_without_times_of_sending_gives_its_latencies_and_no_arrivals(written):
    run = read_results(written(without(serve(), *OLD)))
    found = metrics(run)
    assert found["ttft_s"].tolist()[:2] == pytest.approx([0.1, 0.2])
    assert found["tpot_s"].tolist()[:2] == pytest.approx([0.04, 0.04])
    assert chunk_gaps_s(run.samples).tolist() == pytest.approx([0.03, 0.05, 0.04, 0.04])
    assert run.facts["clock"] == "per request"
    checks = audit(run).checks.set_index("check")["status"]
    arrivals = ["rate", "rate_asked", "gaps", "dispersion", "lag1", "repeated_gaps"]
    assert set(checks[[*arrivals, "dispatch_lag"]]) == {"unknown"}
    assert any("rate: unknown, the file has no times at which" in r for r in audit(run).reasons)


def test_vllm_file_with_the_end_of_each_answer_alone_gives_ttft_tpot_and_e2e(written):
    bare = without(serve(latencies=[0.18, 0.28, 0.0]), "itls", "start_times", "queue_times")
    found = metrics(read_results(written(bare)))
    assert found["tpot_s"].tolist()[:2] == pytest.approx([0.04, 0.04])
    assert found["e2e_s"].tolist()[:2] == pytest.approx([0.18, 0.28])


@pytest.mark.parametrize(
    ("date", "began"),
    [("20261123-132028", "2026-11-23T13:20:28+00:00"), ("yesterday", None), (None, None)],
)
def test_vllm_date_is_when_the_run_began(written, date, began):
    assert read_results(written(serve(date=date))).facts["started_at"] == began


# ---------------------------------------------------------------------------------------- SGLang


def sglang(**changes):
    """Two requests of SGLang's bench_serving with details; the second failed."""
    return {
        "tag": None,
        "backend": "sglang-oai-chat",
        "dataset_name": "random",
        "request_rate": 4.0,
        "max_concurrency": None,
        "random_input_len": 10,
        "random_output_len": 3,
        "random_range_ratio": 1.0,
        "duration": 1.0,
        "completed": 1,
        "total_input_tokens": 10,
        "total_output_tokens": 3,
        "total_output_tokens_retokenized": 3,
        "request_throughput": 1.0,
        "median_e2e_latency_ms": 180.0,
        "mean_ttft_ms": 100.0,
        "input_lens": [10, 10],
        "output_lens": [3, 0],
        "ttfts": [0.1, 0.0],
        "itls": [[0.03, 0.05], []],
        "errors": ["", "Service Unavailable: 503"],
    } | changes


def test_sglang_details_give_every_latency_and_no_arrivals(written):
    run = read_results(written(sglang(), name="r.jsonl"))
    found = metrics(run)
    assert run.facts["tool"]["name"] == "sglang-bench-serving"
    assert found.loc[0, ["ttft_s", "tpot_s", "e2e_s"]].tolist() == pytest.approx([0.1, 0.04, 0.18])
    assert found["error"].iloc[1] == "http_503"
    assert (run.facts["load"]["process"], run.facts["load"]["n"]) == ("poisson", 2)
    assert run.facts["lengths"]["source"] == "fixed"
    assert run.facts["endpoint"]["api"] == "chat"
    table = published_against_derived(run).set_index("quantity")
    assert table.loc["ttft", "ratio"] == pytest.approx(1.0)
    assert {"complete", "answered"} & {r.split(":")[0] for r in audit(run).reasons}


@pytest.mark.parametrize(
    ("asked", "process"), [(4.0, "poisson"), ("trace", "replay"), (float("inf"), "closed")]
)
def test_sglang_load_is_named_in_our_words(written, asked, process):
    assert read_results(written(sglang(request_rate=asked))).facts["load"]["process"] == process


def test_sglang_summary_alone_has_no_samples_and_names_the_option(written):
    run = read_results(
        written(without(sglang(), "ttfts", "itls", "input_lens", "output_lens", "errors"))
    )
    assert run.samples.empty
    assert "`sglang.bench_serving` again with --output-details" in run.facts["notes"][0]
    assert {row["name"] for row in run.facts["published"]} >= {"ttft", "e2e_latency"}


def test_sglang_appends_its_runs_and_one_is_chosen(written):
    path = written(sglang(), sglang(request_rate=8.0, tag="peak"), name="r.jsonl")
    with pytest.raises(ValueError, match=r"0 \(sglang-oai-chat@4.0\), 1 \(peak@8.0\)"):
        read_results(path)
    assert read_results(path, benchmark="peak@8.0").facts["load"]["rate_per_s"] == 8.0


# -------------------------------------------------------------------------------------- guidellm


def several():
    slow, fast = guidellm([timings(1001.0)]), guidellm([timings(1001.0)])
    fast["benchmarks"][0]["config"]["strategy"] = {"type_": "concurrent", "streams": 8}
    return slow | {"benchmarks": slow["benchmarks"] + fast["benchmarks"]}


@pytest.mark.parametrize("name", [1, "1", "concurrent@8", "CONCURRENT@8"])
def test_guidellm_benchmark_is_chosen_by_number_or_name(written, name):
    path = written(several())
    assert read_results(path, benchmark=name).facts["load"]["concurrency"] == 8
    with pytest.raises(ValueError, match=r"2 benchmarks: 0 \(poisson@1.0\), 1 \(concurrent@8\)"):
        read_results(path)


def test_guidellm_benchmarks_of_one_name_are_told_apart_by_number(written):
    document = several()
    document["benchmarks"][1] = document["benchmarks"][0]
    path = written(document)
    assert len(read_results(path, benchmark="1").samples) == 1
    with pytest.raises(ValueError, match="number, since names recur"):
        read_results(path, benchmark="poisson@1.0")


def test_guidellm_file_of_an_older_schema_is_named(written):
    old = {"benchmarks": [{"args": {}, "metrics": {}, "requests": {"successful": []}}]}
    with pytest.raises(ValueError, match=r"guidellm result of schema before 2.*guidellm 0\.8"):
        read_results(written(old))


def test_guidellm_latencies_count_from_the_targeted_start(written):
    run = read_results(written(guidellm([timings(1001.0), timings(1000.5)])))
    found = metrics(run)
    assert found["scheduled_s"].tolist() == pytest.approx([0.0, 0.5])
    assert found["ttft_s"].tolist() == pytest.approx([0.11, 0.11])
    assert found["tpot_s"].tolist() == pytest.approx([0.1, 0.1])
    assert found["e2e_s"].tolist() == pytest.approx([0.41, 0.41])
    assert run.facts["clock"] == "wall"
    assert run.facts["load"]["concurrency"] is None  # 10240 is the tool's own


def test_guidellm_gaps_between_chunks_are_unknown_and_not_one_long_gap(written):
    run = read_results(written(guidellm([timings(1001.0)])))
    assert np.isnan(chunk_gaps_s(run.samples)).all()


def test_guidellm_tpot_is_shown_to_contain_ttft(written):
    table = published_against_derived(read_results(written(guidellm([timings(1001.0)]))))
    row = table[(table["quantity"] == "time_per_output_token_ms")].iloc[0]
    assert not row["comparable"]
    assert "contains TTFT" in row["why"]
    # (last token - dispatch) / N, of 0.40 s and 4 tokens, over a TPOT of 0.1 s
    assert row["ratio"] == pytest.approx((0.40 / 4) / 0.1)


def test_guidellm_targets_near_the_epoch_become_a_burst_at_the_start(written):
    lost = [timings(1000.0 + i / 1000, targeted_start=2.5 + i) for i in range(3)]
    run = read_results(written(guidellm([*lost, timings(1005.0)])))
    assert run.samples["scheduled_s"].tolist() == pytest.approx([0.0, 0.0, 0.0, 5.0])
    assert metrics(run)["ttft_s"].max() < 1
    assert any("3 of 4 requests were scheduled before the run" in n for n in run.facts["notes"])


def test_guidellm_in_closed_loop_counts_from_the_dispatch(written):
    strategy = {"type_": "concurrent", "streams": 4}
    run = read_results(written(guidellm([timings(1001.0)], strategy)))
    assert (run.facts["load"]["process"], run.facts["load"]["concurrency"]) == ("closed", 4)
    assert metrics(run)["ttft_s"].item() == pytest.approx(0.10)


def test_guidellm_failures_and_cancellations_are_kept_and_the_unsent_counted(written):
    sent = timings(1002.0, first_token_iteration=None, first_output_token_iteration=None)
    cut = timings(1003.0)
    never = {"targeted_start": 1004.0, "queued": 1003.0, "request_start": None}
    document = guidellm(
        [timings(1001.0)], errored=("errored", [sent]), incomplete=("cancelled", [cut, never])
    )
    run = read_results(written(document))
    assert run.samples["ok"].tolist() == [True, False, False]
    assert run.samples["error"].tolist()[1:] == ["server_error", "cancelled"]
    assert any("1 requests were never sent" in note for note in run.facts["notes"])


def test_guidellm_reasoning_is_timed_apart(written):
    thought = timings(1001.0, first_token_iteration=1001.05)
    found = metrics(read_results(written(guidellm([thought])))).iloc[0]
    assert found["reasoning_ttft_s"] == pytest.approx(0.05)
    assert found["ttft_s"] == pytest.approx(0.11)
    assert np.isnan(found["tpot_s"])  # the split of its tokens is not known


def test_guidellm_answer_that_was_not_streamed_comes_at_its_end(written):
    whole = dict.fromkeys(
        ("first_token_iteration", "first_output_token_iteration", "last_token_iteration")
    )
    found = metrics(read_results(written(guidellm([timings(1001.0, **whole)])))).iloc[0]
    assert found["ttft_s"] == found["e2e_s"] == pytest.approx(0.42)


def test_guidellm_wants_a_benchmark_named_and_refuses_other_schemas(written):
    document = guidellm([timings(1001.0)])
    two = document | {"benchmarks": document["benchmarks"] * 2}
    with pytest.raises(ValueError, match="2 benchmarks"):
        read_results(written(two))
    assert len(read_results(written(two), benchmark=1).samples) == 1
    with pytest.raises(ValueError, match="schema 1"):
        read_results(written(document | {"metadata": {"version": 1}}))


def test_guidellm_says_when_only_part_of_the_requests_is_in_the_file(written):
    document = guidellm([timings(1001.0)])
    document["benchmarks"][0]["metrics"]["request_totals"] = {"total": 50}
    facts = read_results(written(document)).facts
    assert facts["load"]["n"] == 50
    assert any("49 requests were made and are not in the file" in n for n in facts["notes"])


# ---------------------------------------------------------------------------------------- aiperf


def test_aiperf_latencies_count_from_the_credit(written):
    later = record(START_NS + 10**9)
    run = read_results(written(later, record(START_NS), name="profile_export.jsonl"))
    found = metrics(run)
    assert found["scheduled_s"].tolist() == [0.0, 1.0]
    assert found["ttft_s"].tolist() == pytest.approx([0.052, 0.052])
    assert found["e2e_s"].tolist() == pytest.approx([0.082, 0.082])
    assert chunk_gaps_s(run.samples).tolist() == pytest.approx([0.01, 0.02] * 2)


def test_aiperf_tokens_are_those_of_usage_and_never_the_clients(written):
    run = read_results(written(record(START_NS), name="profile_export.jsonl"))
    assert run.samples["output_tokens"].item() == 3
    assert metrics(run)["tpot_s"].item() == pytest.approx(0.015)
    alone = record(START_NS)
    del alone["metrics"]["usage_completion_tokens"]
    run = read_results(written(alone, name="profile_export.jsonl"))
    assert metrics(run)["tpot_s"].isna().all()
    assert any("1 of 1 answers have no token count" in note for note in run.facts["notes"])


def test_aiperf_warmup_is_kept_apart_and_not_dropped(written):
    run = read_results(
        written(record(START_NS, "warmup"), record(START_NS + 10**9), name="p.jsonl")
    )
    assert run.samples["phase"].tolist() == ["warmup", "measure"]
    assert len(run.measured) == 1


def test_aiperf_finds_the_summary_beside_the_records_and_the_other_way_round(written):
    records = written(record(START_NS), name="profile_export.jsonl")
    summary = written(AIPERF_SUMMARY, name="profile_export_aiperf.json")
    one, other = read_results(records), read_results(summary)
    pd.testing.assert_frame_equal(one.samples, other.samples)
    assert one.facts == other.facts
    assert one.facts["load"]["process"] == "poisson"
    assert one.facts["lengths"] == {
        "source": "fixed",
        "input_tokens": 9,
        "output_tokens": 3,
        "shared_prefix_share": None,
    }
    records.unlink()
    bare = read_results(summary)
    assert bare.samples.empty
    assert "nothing can be derived" in bare.facts["notes"][0]


def test_aiperf_token_latency_is_shown_to_divide_by_the_clients_tokens(written):
    written(AIPERF_SUMMARY, name="profile_export_aiperf.json")
    run = read_results(written(record(START_NS), name="profile_export.jsonl"))
    table = published_against_derived(run).set_index(["quantity", "statistic"])
    tokens, chunks = table.loc[("inter_token_latency", "mean")], table.loc["inter_chunk_latency"]
    assert tokens["ratio"] == pytest.approx(2 / 4)  # 5 tokens counted where the server sent 3
    assert not tokens["comparable"]
    assert chunks.loc["mean", "ratio"] == pytest.approx(1.0)
    assert chunks["comparable"].all()


def test_aiperf_failures_are_kept_with_their_status(written):
    error = {"code": 503, "type": "HTTPError", "message": "down"}
    cut = record(START_NS + 10**9)
    cut["metadata"]["was_cancelled"] = True
    run = read_results(written(record(START_NS, metrics={}, error=error), cut, name="p.jsonl"))
    assert run.samples["error"].tolist() == ["http_503", "cancelled"]
    assert run.samples["http_status"].iloc[0] == 503
    assert not run.samples["ok"].any()


def test_aiperf_reasoning_is_timed_apart(written):
    thought = record(START_NS)
    thought["metrics"]["time_to_first_output_token"] = {"value": 60.0, "unit": "ms"}
    thought["metrics"]["usage_reasoning_tokens"] = {"value": 1, "unit": "tokens"}
    found = metrics(read_results(written(thought, name="p.jsonl"))).iloc[0]
    assert found["reasoning_ttft_s"] == pytest.approx(0.052)
    assert found["ttft_s"] == pytest.approx(0.062)
    assert found["tpot_s"] == pytest.approx(0.020)


def test_aiperf_at_fixed_concurrency_counts_from_the_dispatch(written):
    phases = [{"kind": "profiling", "type": "concurrency", "concurrency": 8}]
    config = AIPERF_SUMMARY["input_config"] | {"phases": phases}
    written(AIPERF_SUMMARY | {"input_config": config}, name="profile_export_aiperf.json")
    run = read_results(written(record(START_NS), name="profile_export.jsonl"))
    assert (run.facts["load"]["process"], run.facts["load"]["concurrency"]) == ("closed", 8)
    assert metrics(run)["ttft_s"].item() == pytest.approx(0.050)


# ------------------------------------------------------------------- inference-perf, genai-bench


def test_inference_perf_counts_from_the_dispatch_with_the_servers_tokens(written):
    error = {"error_type": "TimeoutError", "error_msg": ""}
    failed = lifecycle(21.0, error=error, info={"request_metrics": {"text": {"input_tokens": 1}}})
    run = read_results(written([failed, lifecycle(20.0)]))
    found = metrics(run)
    assert found["scheduled_s"].tolist() == [0.0, 1.0]
    assert found["ttft_s"].iloc[0] == pytest.approx(0.1)
    assert found["tpot_s"].iloc[0] == pytest.approx(0.15)  # not 0.075, of the client's 5 tokens
    assert found["e2e_s"].iloc[0] == pytest.approx(0.4)  # the last chunk, not the end
    assert found["ok"].tolist() == [True, False]
    assert found["error"].iloc[1] == "timeout"
    assert chunk_gaps_s(run.samples).tolist() == pytest.approx([0.1, 0.2])


def test_inference_perf_reads_the_flat_files_of_old_versions(written):
    old = {"input_tokens": 9, "output_tokens": 3, "output_token_times": [20.1, 20.2, 20.4]}
    found = metrics(read_results(written([lifecycle(20.0, info=old)]))).iloc[0]
    assert found["ttft_s"] == pytest.approx(0.1)
    assert np.isnan(found["tpot_s"])


def test_inference_perf_answer_that_was_not_streamed_comes_at_its_end(written):
    whole = {"response_metrics": {"output_tokens": 3, "server_usage": None}}
    found = metrics(read_results(written([lifecycle(20.0, info=whole)]))).iloc[0]
    assert found["ttft_s"] == found["e2e_s"] == pytest.approx(0.5)


def test_inference_perf_finds_its_summary_and_its_requests_and_a_stage_has_none(written):
    requests = written([lifecycle(20.0)], name="per_request_lifecycle_metrics.json")
    summary = written(LIFECYCLE_SUMMARY, name="summary_lifecycle_metrics.json")
    stage = written(LIFECYCLE_SUMMARY, name="stage_0_lifecycle_metrics.json")
    assert len(read_results(summary).samples) == len(read_results(requests).samples) == 1
    table = published_against_derived(read_results(requests))
    assert table["ratio"].tolist() == pytest.approx([0.1 / 0.15] * 3)
    assert not table["comparable"].any()
    run = read_results(stage)
    assert run.samples.empty
    assert run.facts["load"]["rate_per_s"] == 2.0


def test_genai_bench_keeps_its_latencies_and_says_that_arrivals_are_unknown(written):
    run = read_results(written(GENAI_BENCH))
    found = metrics(run)
    assert found.loc[0, ["ttft_s", "tpot_s", "e2e_s"]].tolist() == pytest.approx([0.1, 0.1, 0.3])
    assert found["ok"].tolist() == [True, False]
    assert found["error"].iloc[1] == "http_500"
    assert (run.facts["clock"], run.facts["load"]["process"]) == ("per request", "closed")
    assert "arrivals" in run.facts["notes"][0]


def test_genai_bench_in_milliseconds_gives_the_same_seconds(written):
    document = json.loads(json.dumps(GENAI_BENCH)) | {"_time_unit": "ms"}
    answer = document["individual_request_metrics"][0]
    answer["ttft"], answer["e2e_latency"] = 100.0, 300.0
    assert metrics(read_results(written(document)))["e2e_s"].iloc[0] == pytest.approx(0.3)


# ----------------------------------------------------------------------------- genai-perf, llmperf

GENAI_PERF = {
    "request_throughput": {"unit": "requests/sec", "avg": 9.9},
    "request_latency": {"unit": "ms", "avg": 410.0, "p95": 425.0},
    "time_to_first_token": {"unit": "ms", "avg": 100.0},
    "input_config": {"model": ["tiny"], "backend": "vllm", "concurrency": 10},
}

LLMPERF = [
    {
        "error_code": None,
        "error_msg": "",
        "inter_token_latency_s": 0.1,
        "ttft_s": 0.1,
        "end_to_end_latency_s": 0.3,
        "number_output_tokens": 3,
        "number_input_tokens": 9,
    },
    {"error_code": 429, "error_msg": "Too Many Requests", "ttft_s": 0},
]

LLMPERF_SUMMARY = {
    "model": "tiny",
    "num_concurrent_requests": 2,
    "mean_input_tokens": 9,
    "mean_output_tokens": 3,
    "results_ttft_s_mean": 0.1,
    "results_ttft_s_quantiles_p95": 0.1,
    "results_num_completed_requests": 1,
    "timestamp": 1_795_440_892,
}


def test_genai_perf_is_named_for_what_it_is_and_not_taken_for_aiperf(written):
    run = read_results(written(GENAI_PERF))
    assert (run.facts["tool"]["name"], len(run.samples)) == ("genai-perf", 0)
    assert (run.facts["endpoint"]["model"], run.facts["load"]["concurrency"]) == ("tiny", 10)
    assert "aiperf" in run.facts["notes"][0]
    assert len(published_against_derived(run)) == 3


def test_raw_profile_of_genai_perf_is_refused_with_what_to_give(written):
    raw = {"service_kind": "openai", "endpoint": "v1/chat/completions", "experiments": []}
    with pytest.raises(ValueError, match=r"raw profile.*give profile_export_genai_perf\.json"):
        read_results(written(raw))


def test_llmperf_gives_its_latencies_without_its_token_counts(written):
    requests = written(LLMPERF, name="tiny_9_3_individual_responses.json")
    found = metrics(read_results(requests))
    assert found.loc[0, ["ttft_s", "e2e_s"]].tolist() == pytest.approx([0.1, 0.3])
    assert found["tpot_s"].isna().all()
    assert (found["ok"].tolist(), found["error"].iloc[1]) == ([True, False], "rate_limited")
    summary = written(LLMPERF_SUMMARY, name="tiny_9_3_summary.json")
    for run in (read_results(requests), read_results(summary)):
        assert (len(run.samples), run.facts["load"]["concurrency"]) == (2, 2)
        assert run.facts["started_at"].startswith("2026-11-23")
    assert read_results(written(LLMPERF_SUMMARY, name="alone.json")).samples.empty


# ------------------------------------------------------------------------------------- any tool

SMALL = {
    "vllm-bench-serve": serve(),
    "guidellm": guidellm([timings(1001.0)]),
    "aiperf": record(START_NS),
    "inference-perf": [lifecycle(20.0)],
    "genai-bench": GENAI_BENCH,
    "sglang-bench-serving": sglang(),
    "genai-perf": GENAI_PERF,
    "llmperf": LLMPERF,
}


@pytest.mark.parametrize("tool", SMALL)
def test_a_tool_is_told_by_content_and_a_wrong_name_is_refused(written, tool):
    path = written(SMALL[tool])
    assert read_results(path).facts["tool"]["name"] == tool
    assert read_results(path, tool).facts == read_results(path).facts
    for other in set(TOOLS) - {tool}:
        with pytest.raises(ValueError, match=f"by their keys: {other}"):
            read_results(path, other)


@pytest.mark.parametrize("text", ["{}", "[]", "3", '{"latency": 1}', "[1, 2]"])
def test_unknown_content_names_every_tool_and_how_to_tell(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="no result file") as error:
        read_results(path)
    assert all(tool in str(error.value) for tool in TOOLS)


def test_what_is_no_file_no_json_or_no_tool_says_so(tmp_path):
    with pytest.raises(ValueError, match="is no file"):
        read_results(tmp_path / "absent.json")
    (tmp_path / "empty.json").write_text("\n", encoding="utf-8")
    with pytest.raises(ValueError, match="is empty"):
        read_results(tmp_path / "empty.json")
    (tmp_path / "cut.jsonl").write_text('{"a": 1}\n{"b": ', encoding="utf-8")
    with pytest.raises(ValueError, match=r"cut\.jsonl:2 is not JSON"):
        read_results(tmp_path / "cut.jsonl")
    with pytest.raises(
        ValueError, match="'ab' is not one that we read: choose one of sglang-bench-serving, vllm"
    ):
        read_results(tmp_path / "cut.jsonl", "ab")


def places(value, at=()):
    """The place of every value within a document."""
    if at:
        yield at
    if isinstance(value, dict | list):
        for key, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(child, (*at, key))


def changed(document, place, change):
    """A copy of the document with the value at a place dropped or replaced."""
    document = json.loads(json.dumps(document))
    *parents, last = place
    inner = document
    for key in parents:
        inner = inner[key]
    if change == "drop":
        del inner[last]
    else:
        inner[last] = change
    return document


def reading(path):
    """The run that a file gives, or the sentence that refuses it."""
    try:
        return read_results(path)
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize("change", ["drop", None, "text", []])
@pytest.mark.parametrize("tool", SMALL)
def test_a_file_with_any_value_missing_or_wrong_is_read_or_refused_by_name(written, tool, change):
    for place in places(SMALL[tool]):
        path = written(changed(SMALL[tool], place, change))
        found = reading(path)
        if isinstance(found, str):
            assert str(path) in found, place
        else:
            assert list(found.samples.columns) == COLUMNS, place


NO_NUMBERS = [float("nan"), -1.0, float("inf"), 1e308, 10**400]


@pytest.mark.parametrize("change", NO_NUMBERS, ids=["nan", "-1", "inf", "1e308", "1e400"])
@pytest.mark.parametrize("tool", SMALL)
def test_a_file_with_any_number_absurd_is_imported_reported_and_kept(written, tool, change):
    for i, place in enumerate(places(SMALL[tool])):
        if not isinstance(value_at(SMALL[tool], place), int | float):
            continue
        path = written(changed(SMALL[tool], place, change))
        found = reading(path)
        if isinstance(found, str):
            assert str(path) in found, place
            assert "version" in place or change in (1e308, 10**400), found
            continue
        io.dumps(io.plain(report(found), "run"))
        published_against_derived(found)
        run_folder.write(path.parent / f"run-{i}", found)
        assert len(run_folder.read(path.parent / f"run-{i}").samples) == len(found.samples)


def value_at(document, place):
    for key in place:
        document = document[key]
    return document


TIMES = {
    "vllm-bench-serve": [("start_times", 0), ("queue_times", 1), ("ttfts", 0), ("itls", 0, 1)],
    "sglang-bench-serving": [("ttfts", 0), ("itls", 0, 0)],
    "guidellm": [
        ("benchmarks", 0, "requests", "successful", 0, "info", "timings", name)
        for name in ("request_start", "first_output_token_iteration", "last_token_iteration")
    ],
    "aiperf": [
        ("metadata", "credit_issued_ns"),
        ("metrics", "time_to_first_token", "value"),
        ("metrics", "inter_chunk_latency", "value", 0),
    ],
    "inference-perf": [(0, "start_time"), (0, "info", "response_metrics", "chunk_times", 1)],
    "genai-bench": [("individual_request_metrics", 0, name) for name in ("ttft", "e2e_latency")],
    "llmperf": [(0, "ttft_s"), (0, "end_to_end_latency_s")],
}


@pytest.mark.parametrize("tool", TIMES)
def test_a_time_that_is_no_number_or_negative_makes_the_run_invalid_by_the_clock(written, tool):
    for place in TIMES[tool]:
        for change in (float("nan"), -1.0):
            if change == -1.0 and place[0] in ("start_times", "metadata", 0) and len(place) == 2:
                continue  # of a clock without an origin, or so far off that nothing else is near
            run = read_results(written(changed(SMALL[tool], place, change)))
            reasons = [r for r in audit(with_answers(run)).reasons if r.startswith("clock: ")]
            assert reasons, (place, change)


def with_answers(run):
    """The run six times over, so that it has enough answers to be judged."""
    samples = pd.concat([run.samples] * 6, ignore_index=True)
    return Run(samples.assign(index=np.arange(len(samples))), run.facts)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_no_obstacle(tmp_path, encoding):
    path = tmp_path / "marked.json"
    path.write_text(json.dumps(serve()), encoding=encoding)
    assert len(read_results(path).samples) == 3


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (b"\x1f\x8b\x08abc", "compressed by gzip: unpack it first"),
        (b"PK\x03\x04abc", "a zip archive or an Excel workbook"),
        (b"PAR1abc", "a Parquet table"),
        (b"\x80abc", "no text in UTF-8"),
        (b"\x00\x01\x02", "is binary"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{\n "a": 1,\n "b": \n', r":4 is not JSON"),
    ],
)
def test_a_file_that_is_no_json_is_named_for_what_it_is(tmp_path, raw, sentence):
    path = tmp_path / "x.json"
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=sentence):
        read_results(path)


def test_a_benchmark_is_not_chosen_where_a_file_holds_one(written):
    with pytest.raises(ValueError, match=r"genai-bench, whose files hold one result"):
        read_results(written(GENAI_BENCH), benchmark="0")
    assert len(read_results(written(serve()), benchmark="0").samples) == 3


@pytest.mark.parametrize("tool", SMALL)
def test_facts_are_plain_json_in_the_contracts_words(written, tool):
    facts = read_results(written(SMALL[tool])).facts
    assert json.loads(io.dumps(facts))["schema_version"] == "1"
    processes = {"poisson", "gamma", "constant", "replay", "ramp", "closed", None}
    assert facts["load"]["process"] in processes
    assert {"tool", "endpoint", "lengths", "client", "serving", "spend"} <= set(facts)


def test_a_percentile_over_successes_alone_is_not_comparable(written):
    table = published_against_derived(read_results(written(serve())))
    p99 = table[(table["metric"] == "ttft") & (table["statistic"] == "p99")].iloc[0]
    assert np.isnan(p99["derived_ms"])  # it falls among the failures
    assert not p99["comparable"]
    assert "1 failed" in p99["why"]


def test_an_extreme_has_no_derived_percentile(written):
    found = ratios(read_results(written(serve(p100_ttft_ms=200.0))), "ttft")
    assert np.isnan(found["p100"])


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("Too Many Requests", "rate_limited"),
        ("Internal Server Error", "server_error"),
        ("status 502 bad gateway", "http_502"),
        ("Traceback:\n  post(url, json=payload)\nasyncio.TimeoutError: timed out", "timeout"),
        (
            "Traceback:\n  post(url, json=payload)\nClientConnectorError: Cannot connect",
            "connection",
        ),
        ("Traceback:\n  timeout\nServerDisconnectedError: Server disconnected", "cut"),
        ("Traceback:\n  timeout\nJSONDecodeError: Expecting value", "malformed"),
        ("Never received a valid chunk to calculate TTFT.", "empty"),
        (None, "server_error"),
    ],
)
def test_errors_become_words_that_can_be_counted(text, word):
    assert error_word(text) == word


def load_tool_metrics():
    return pd.read_csv(paths.data("load_tool_metrics.csv"), keep_default_na=False)


def test_every_published_quantity_has_a_row_with_a_reason_and_a_source():
    table = load_tool_metrics()
    assert not table.duplicated(["tool", "version", "api", "name"]).any()
    assert set(table["comparable"]) == {"yes", "with care", "no"}
    assert set(table["quantity"]) == {"ttft", "tpot", "itl", "e2e", "client_queue", ""}
    assert set(table["tool"]) == set(TOOLS)
    assert (table.drop(columns="quantity") != "").all(axis=None)


def test_an_api_of_its_own_has_no_row_for_any_api_beside_it():
    for _, rows in load_tool_metrics().groupby(["tool", "name"]):
        assert len(rows) == 1 or "any" not in set(rows["api"])


# --------------------------------------------------------------------- what the tools really wrote


@pytest.fixture
def load_tools(shared):
    return shared / "fixtures/load_tools"


@pytest.mark.shared
def test_real_vllm_completions_agree_where_the_quantity_is_ours(load_tools):
    path = load_tools / "vllm_bench_serve_completions.json"
    run, raw = read_results(path), json.loads(path.read_text(encoding="utf-8"))
    found = metrics(run)
    waited = found["client_queue_s"]
    assert len(found) == 60
    assert found["ok"].all()
    assert 1e3 * (found["ttft_s"] - waited).mean() == pytest.approx(raw["mean_ttft_ms"])
    assert 1e3 * (found["e2e_s"] - waited).mean() == pytest.approx(raw["mean_e2el_ms"])
    assert 1e3 * found["tpot_s"].mean() == pytest.approx(raw["mean_tpot_ms"])
    assert 1e3 * chunk_gaps_s(run.samples).mean() == pytest.approx(raw["mean_itl_ms"])
    assert found["output_tokens"].sum() == raw["total_output_tokens"]
    assert found["input_tokens"].sum() == raw["total_input_tokens"]


@pytest.mark.shared
def test_real_vllm_chat_itl_is_low_by_the_role_chunk(load_tools):
    path = load_tools / "vllm_bench_serve_chat.json"
    run, raw = read_results(path), json.loads(path.read_text(encoding="utf-8"))
    opening = np.array([gaps[0] for gaps in raw["itls"]])
    rest = np.concatenate([gaps[1:] for gaps in raw["itls"]])
    # but for one answer, of whose chunks most hold two tokens or more
    assert chunk_gaps_s(run.samples).mean() == pytest.approx(rest.mean(), rel=0.005)
    assert ratios(run, "itl")["mean"] == pytest.approx(31 / 32, abs=0.005)
    assert np.median(opening) < 1e-4
    dispatched = metrics(run)["ttft_s"] - metrics(run)["client_queue_s"]
    assert 1e3 * (dispatched - opening).mean() == pytest.approx(raw["mean_ttft_ms"])


@pytest.mark.shared
def test_real_guidellm_tpot_contains_ttft_and_its_itl_is_our_tpot(load_tools):
    path = load_tools / "guidellm.json"
    run, raw = read_results(path), json.loads(path.read_text(encoding="utf-8"))
    theirs = raw["benchmarks"][0]["metrics"]
    found = metrics(run)
    tpot = 1e3 * found["tpot_s"]
    sent = found["ttft_s"] - found["client_queue_s"]
    assert len(found) == 60
    assert ratios(run, "inter_token_latency_ms")["mean"] == pytest.approx(1.0)
    contained = (1e3 * sent + 31 * tpot).mean() / 32
    assert contained == pytest.approx(theirs["time_per_output_token_ms"]["successful"]["mean"])
    assert ratios(run, "time_per_output_token_ms")["mean"] == pytest.approx(1.0987, abs=1e-4)
    assert ratios(run, "request_dispatch_delay")["mean"] == pytest.approx(1.0)
    assert 1.002 < ratios(run, "request_scheduled_latency")["mean"] < 1.003  # end after last token
    assert np.isnan(chunk_gaps_s(run.samples)).all()


@pytest.mark.shared
def test_real_guidellm_arrivals_show_the_gaps_that_every_worker_repeats(load_tools):
    scheduled = read_results(load_tools / "guidellm.json").samples["scheduled_s"]
    gaps = scheduled.diff().dropna().round(3)
    assert gaps.groupby((gaps.diff().abs() > 0.002).cumsum()).size().max() >= 9


@pytest.mark.shared
@pytest.mark.parametrize("name", ["profile_export.jsonl", "profile_export_aiperf.json"])
def test_real_aiperf_agrees_but_for_its_own_token_counts(load_tools, name):
    run = read_results(load_tools / name)
    raw = json.loads((load_tools / "profile_export_aiperf.json").read_text(encoding="utf-8"))
    found = with_metrics(run.measured)
    sent = 1e3 * (found["e2e_s"] - found["client_queue_s"])
    assert run.samples["phase"].value_counts().to_dict() == {"measure": 60, "warmup": 4}
    assert (found["output_tokens"] == 32).all()
    assert sent.mean() == pytest.approx(raw["request_latency"]["avg"])
    assert np.percentile(sent, 99) == pytest.approx(raw["request_latency"]["p99"])
    assert ratios(run, "inter_chunk_latency")["mean"] == pytest.approx(1.0)
    assert ratios(run, "credit_to_start_latency")["mean"] == pytest.approx(1.0, abs=1e-4)
    assert 0.86 < ratios(run, "inter_token_latency")["mean"] < 0.90


@pytest.mark.shared
def test_real_genai_bench_agrees_on_every_mean(load_tools):
    run = read_results(load_tools / "genai_bench_run.json")
    table = published_against_derived(run)
    means = table[table["statistic"] == "mean"]
    assert sorted(means["metric"]) == ["e2e", "tpot", "ttft"]
    assert means["ratio"].to_numpy() == pytest.approx(np.ones(3))


@pytest.mark.shared
def test_real_batch_files_have_summaries_alone(load_tools):
    for name, n in [("vllm_bench_throughput.json", 2), ("vllm_bench_latency.json", 7)]:
        run = read_results(load_tools / name)
        assert (len(run.samples), len(run.facts["published"])) == (0, n)

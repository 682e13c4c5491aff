"""A real server: started, measured, asked what it counted, stopped, and made to fail."""

import http.client
import json
import subprocess
import sys
import time
from urllib.parse import urlsplit

import pytest

from llmstudy.probe import server_metrics, vllm
from llmstudy.probe.run import Sample, table
from llmstudy.probe.server_metrics import parse_counters

TOKENS = 12

HIT_TOKENS, LOOKED_UP = "vllm:prefix_cache_hits_total", "vllm:prefix_cache_queries_total"

WITH_PROMETHEUS_CLIENT = """
import json, sys
from prometheus_client.parser import text_string_to_metric_families
totals = {}
for family in text_string_to_metric_families(open(sys.argv[1]).read()):
    for sample in family.samples:
        counted = family.type == "counter" and sample.name.endswith("_total") or (
            family.type == "histogram" and sample.name.endswith(("_sum", "_count")))
        if counted and sample.name.startswith("vllm:"):
            totals[sample.name] = totals.get(sample.name, 0.0) + sample.value
print(json.dumps(totals))
"""


def stream(base_url, path, body):
    """Posts a streaming request; each event with its arrival, from the moment of sending."""
    address = urlsplit(base_url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
    started = time.perf_counter()
    connection.request("POST", f"/v1{path}", json.dumps(body | {"stream": True}),
                       {"Content-Type": "application/json"})  # fmt: skip
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    events = []
    for line in answer:
        if line.startswith(b"data: {"):
            events.append((time.perf_counter() - started, json.loads(line[6:])))
    connection.close()
    return events


def complete(running, index, prompt):
    """One completion by token ids, as a sample."""
    body = {
        "model": running.model,
        "prompt": prompt,
        "max_tokens": TOKENS,
        "ignore_eos": True,
        "temperature": 0,
        "return_token_ids": True,
        "stream_options": {"include_usage": True},
    }
    events = stream(running.base_url, "/completions", body)
    chunks = [(at, e["choices"][0]["token_ids"]) for at, e in events if e["choices"]]
    return Sample(
        index=index,
        phase="measure",
        scheduled_s=0.0,
        dispatched_s=0.0,
        content_times_s=[at for at, ids in chunks if ids],
        content_tokens=[len(ids) for _, ids in chunks if ids],
        ok=True,
        output_tokens=events[-1][1]["usage"]["completion_tokens"],
        reasoning_tokens=0,
    )


def serve(folder, flags=(), **options):
    return vllm.serve(folder, flags, log=folder / "vllm.log", **options)


@pytest.fixture(autouse=True)
def small_machine(cpu, monkeypatch):
    for name, value in cpu.env.items():
        monkeypatch.setenv(name, value)


def processes():
    """Process group and command of all that run, as `ps` tells; zombies do not."""
    lines = subprocess.check_output(
        ["ps", "-eww", "-o", "pgid=,stat=,args="], text=True
    ).splitlines()
    rows = [line.split(maxsplit=2) for line in lines]
    return [(int(group), words) for group, state, words in rows if state[0] != "Z"]


def groups_serving(folder):
    """Process groups with a server of this folder."""
    return {group for group, words in processes() if f" serve {folder} " in words}


def test_a_real_server_is_measured_agrees_with_its_counters_and_leaves_nothing(
    vllm_python, cpu, tiny, tmp_path, run_there
):
    lines = []
    flags = [*cpu.flags, "--max-model-len", "1024"]
    with serve(tiny, flags, python=vllm_python, say=lines.append) as running:
        facts = running.serving
        assert facts["weights"] == "dummy"
        assert (facts["engine_version"], facts["device"]) == ("0.32.0", "cpu")
        assert (facts["precision"], facts["kv_dtype"], facts["tensor_parallel"]) == (
            "fp32",
            "fp32",
            1,
        )
        assert (facts["prefix_caching"], facts["max_model_len"]) == (True, 1024)
        assert facts["kv_cache_tokens"] > 1024
        assert "vLLM: importing its modules (0 s)" in lines
        assert any("starting the engine" in line for line in lines)

        complete(running, 0, [5] * 300)
        with server_metrics.counters(running.base_url) as increase:
            samples = table(
                [complete(running, i, list(range(100 * i, 100 * i + 300))) for i in range(1, 9)]
            )
        assert increase["vllm:e2e_request_latency_seconds_count"] == 8
        assert increase["vllm:prompt_tokens_total"] == 8 * 300
        assert increase["vllm:generation_tokens_total"] == 8 * TOKENS
        assert increase["vllm:num_preemptions_total"] == 0
        assert increase[LOOKED_UP] > 0
        assert increase[HIT_TOKENS] == 0
        both = server_metrics.against_server(samples, increase).set_index("metric")
        requests = both.loc[["ttft_s", "e2e_s"]]
        assert (requests["client_n"] == requests["server_n"]).all()
        # a busy server puts two tokens into one chunk, whose gap the client cannot see
        assert both.loc["itl_s", "client_n"] <= both.loc["itl_s", "server_n"] == 8 * (TOKENS - 1)
        assert both.loc["ttft_s", "client_minus_server_s"] > 0
        assert both.loc["e2e_s", "client_minus_server_s"] > 0
        # a busy machine wakes the client late for the first chunk, which shortens the gaps it sees
        ratio = both.loc["itl_s", "client_mean_s"] / both.loc["itl_s", "server_mean_s"]
        assert 1 / 3 < ratio < 3

        with server_metrics.counters(running.base_url) as again:
            complete(running, 9, list(range(100, 400)))
        assert again[HIT_TOKENS] > 0.5 * again[LOOKED_UP]

        page = tmp_path / "metrics"
        page.write_text(server_metrics.page(running.base_url, "/metrics"))
        assert parse_counters(page.read_text()) == run_there(WITH_PROMETHEUS_CLIENT, str(page))
        (group,) = groups_serving(tiny)
        assert sum(member == group for member, _ in processes()) >= 3  # server, engine, worker
    assert not any(member == group for member, _ in processes())


def test_chat_and_a_random_lora_adapter_are_served(vllm_python, cpu, tiny_with_tokenizer, tmp_path):
    adapter = vllm.random_adapter(tiny_with_tokenizer, tmp_path / "adapter")
    lora = vllm.Variant(tiny_with_tokenizer, adapter=adapter)
    flags = [*cpu.flags, "--max-model-len", "1024", *lora.flags]
    body = {"messages": [{"role": "user", "content": "request 7"}], "max_tokens": 16}
    with serve(lora.model, flags, python=vllm_python) as running:
        assert running.serving["weights"] == "dummy"
        assert running.serving["prefix_caching"] is False
        texts = {}
        for name in (running.model, lora.request_model):
            asked = body | {"model": name, "temperature": 0, "ignore_eos": True}
            events = stream(running.base_url, "/chat/completions", asked)
            deltas = [e["choices"][0]["delta"] for _, e in events if e["choices"]]
            texts[name] = "".join(delta.get("content") or "" for delta in deltas)
    assert all(texts.values())
    assert texts[running.model] != texts[lora.request_model]


@pytest.mark.parametrize(
    ("flags", "env", "what_to_do"),
    [
        (["--no-such-flag"], {}, "no flag --no-such-flag"),
        (["--max-model-len", "1000000"], {}, "lower --max-model-len"),
        (["--max-model-len", "1024"], {"VLLM_CPU_KVCACHE_SPACE": "100000"}, "machine's memory"),
    ],
)
def test_a_real_failure_says_what_to_change(
    vllm_python, cpu, tiny, flags, env, what_to_do, monkeypatch
):
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    with (
        pytest.raises(vllm.ServerFailed) as failed,
        serve(tiny, [*cpu.flags, *flags], python=vllm_python),
    ):
        pass
    assert what_to_do in str(failed.value).splitlines()[0]
    assert not groups_serving(tiny)


def test_an_interpreter_without_vllm_is_told_so(tiny):
    with (
        pytest.raises(vllm.ServerFailed, match="add the extra `gpu`"),
        serve(tiny, python=sys.executable),
    ):
        pass

"""The real engine in its own interpreter: batches, arrivals, and the parameters it would load."""

import pytest

from llmstudy.probe import vllm

POINTS = """
import json, sys
from pathlib import Path
from llmstudy.probe.vllm import engine_points, random_adapter

if __name__ == "__main__":
    arguments = {"dtype": "float32", "enforce_eager": True}
    points = engine_points(sys.argv[1], [1, 4], 32, 16, arguments)
    adapter = random_adapter(sys.argv[1], Path(sys.argv[2]))
    lora = arguments | {"enable_lora": True}
    adapted = engine_points(sys.argv[1], [4], 32, 16, lora, adapter=adapter)
    print(json.dumps([points.to_dict("records"), adapted.to_dict("records")]))
"""

SAMPLES = """
import asyncio, json, sys
from dataclasses import asdict
from llmstudy.probe.vllm import engine_samples

if __name__ == "__main__":
    arguments = {"dtype": "float32", "enforce_eager": True}
    load = [0.0, 0.2, 0.4, 0.6], [16, 32, 16, 32], [8, 4, 8, 4]
    samples = asyncio.run(engine_samples(sys.argv[1], *load, arguments))
    print(json.dumps([asdict(sample) for sample in samples]))
"""

COUNT = """
import json, sys
import torch
from transformers import AutoConfig, AutoModelForCausalLM

with torch.device("meta"):
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(sys.argv[1]))
print(json.dumps(sum(p.numel() for p in model.parameters())))
"""


def test_batches_in_process_give_serving_points_with_and_without_lora(run_there, tiny, tmp_path):
    points, adapted = run_there(POINTS, str(tiny), str(tmp_path / "adapter"))
    assert [point["concurrency"] for point in points] == [1, 4]
    for point in [*points, *adapted]:
        assert (point["engine_version"], point["weights"]) == ("0.32.0", "dummy")
        assert point["ttft_ms"] > 0
        assert point["tpot_ms"] > 0
        batch, seconds = point["concurrency"], point["seconds"]
        assert point["output_tokens_per_s_per_gpu"] == pytest.approx(batch * 16 / seconds)
        # the batch lasts at least as long as its first token and the 15 steps after it
        assert 1e3 * seconds > 0.8 * (point["ttft_ms"] + 15 * point["tpot_ms"])


def test_arrivals_in_process_give_samples_with_the_servers_own_times(run_there, tiny):
    samples = run_there(SAMPLES, str(tiny))
    assert [sample["phase"] for sample in samples] == ["warmup", *["measure"] * 3]
    for sample, tokens in zip(samples, [8, 4, 8, 4], strict=True):
        assert sample["ok"]
        assert sum(sample["content_tokens"]) == sample["output_tokens"] == tokens
        assert sample["input_tokens"] == sample["asked_input_tokens"]
        assert sample["dispatched_s"] >= sample["scheduled_s"]
        assert sample["content_times_s"] == sorted(sample["content_times_s"])
        inside = sample["server_queue_s"] + sample["server_prefill_s"]
        assert 0 < inside < sample["content_times_s"][0] - sample["dispatched_s"]


@pytest.mark.parametrize("name", ["llama-3.1-8b", "llama-3.1-70b"])
def test_parameters_counted_from_a_config_are_those_of_the_model_built_from_it(run_there, name):
    folder = vllm.bundled_model(name)
    counted = vllm.shape_of(vllm.read_config(folder), name).total_params
    assert counted == run_there(COUNT, str(folder))

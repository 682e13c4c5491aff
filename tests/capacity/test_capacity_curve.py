import math
from dataclasses import replace

import pytest

from llmstudy.capacity import gpu, gpu_fit, model_shape

LLAMA_70B = model_shape("meta-llama/Llama-3.1-70B")
GPT_OSS = model_shape("openai/gpt-oss-120b")
H100 = gpu("h100_sxm")


def test_checkpoint_of_a_known_model_has_the_known_size():
    # the published gpt-oss-120b checkpoint is 60.8 GiB
    free = gpu_fit(GPT_OSS, H100, "fp4", 1)
    taken = 0.92 * 80 - 3.5e9 / 2**30 - free
    assert taken == pytest.approx(60.8, rel=0.02)


def test_weights_that_do_not_fit_are_an_error_that_names_the_remedy():
    with pytest.raises(ValueError, match=r"132 GiB and does not fit on 1 x h100_sxm.*more GPUs"):
        gpu_fit(LLAMA_70B, H100, "bf16", 1)


def test_concurrency_stops_at_the_memory_left_for_the_cache(truth):
    free = gpu_fit(LLAMA_70B, H100, "fp8", 2) * 2**30
    curve = replace(truth, gpu=H100)
    assert curve.max_concurrency(1024, 8192, 2) == math.floor(free / (327_680 * 9216))
    assert replace(curve, precision="bf16").max_concurrency(1024, 8192, 1) == 0
    assert replace(curve, kv_value_bytes=1.0).max_concurrency(1024, 8192, 2) == math.floor(
        free / (163_840 * 9216)
    )


def test_decode_step_is_the_closed_form(truth):
    # 70B FP8 on one H200: weights once and 8 caches of 1536 tokens over 80 % of 4.8 TB/s
    memory_s = (70.6e9 + 8 * 1536 * 327_680) / (0.8 * 4.8e12)
    assert truth.decode_step_s(8, 1024, 1024, 1) == pytest.approx(memory_s + 2.1e-3)
    assert truth.decode_step_s(8, 1024, 1024, 4) == pytest.approx(memory_s / 4 + 2.1e-3 + 3e-3)
    # with short contexts and a large batch arithmetic takes over
    compute_s = 2 * 70.6e9 * 1024 / (0.45 * 1978e12)
    assert truth.decode_step_s(1024, 8, 8, 1) == pytest.approx(compute_s + 2.1e-3)


def test_prefill_and_its_interference_are_the_closed_form(truth):
    attention = 4 * 80 * 64 * 128 * 8192**2 / 2
    prefill_s = (2 * 70.6e9 * 8192 + attention) / (2 * 0.45 * 1978e12)
    assert truth.prefill_s(8192, 2) == pytest.approx(prefill_s)
    step_s = truth.decode_step_s(16, 8192, 512, 2)
    assert truth.tpot_s(16, 8192, 512, 2) == pytest.approx(step_s + 16 * prefill_s / 512)


def test_a_cached_prefix_saves_its_arithmetic(truth):
    fresh = 2 * 70.6e9 * 2048 + 4 * 80 * 64 * 128 * (8192**2 - 6144**2) / 2
    assert LLAMA_70B.prefill_flops(8192, 0.75) == pytest.approx(fresh)
    assert truth.tpot_s(16, 8192, 512, 2, 0.75) < truth.tpot_s(16, 8192, 512, 2)

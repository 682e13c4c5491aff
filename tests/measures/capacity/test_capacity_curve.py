import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmstudy.measures.capacity import Hull, gpu, gpu_fit, model_shape, requests_per_s

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
    prefill_s = (2 * 70.6e9 * 8192 + attention) / (2 * 0.45 * 1978e12) + 2.1e-3 + 1.5e-3
    assert truth.prefill_s(8192, 2) == pytest.approx(prefill_s)
    step_s = truth.decode_step_s(16, 8192, 512, 2)
    assert truth.tpot_s(16, 8192, 512, 2) == pytest.approx(step_s + 15 * prefill_s / 512)
    # alone, nothing interferes
    assert truth.tpot_s(1, 8192, 64, 2) == truth.decode_step_s(1, 8192, 64, 2)


def test_a_simulated_full_replica_has_the_tpot_and_the_throughput_of_the_curve(truth):
    batch, prompt, mean_output = 4, 8192, 40
    step_s = float(truth.decode_step_s(batch, prompt, mean_output, 2))
    prefill_s = float(truth.prefill_s(prompt, 2))
    rng = np.random.default_rng(5)
    written, output = np.zeros(batch, dtype=int), rng.integers(20, 61, size=batch)
    now_s = gaps_s = gaps = done = 0
    for _ in range(12_000):
        reading = written == 0
        took_s = step_s + prefill_s * reading.sum()
        now_s += took_s
        gaps_s, gaps = gaps_s + took_s * (~reading).sum(), gaps + (~reading).sum()
        written += 1
        ended = written == output
        done += ended.sum()
        written[ended] = 0
        output[ended] = rng.integers(20, 61, size=ended.sum())
    assert gaps_s / gaps == pytest.approx(truth.tpot_s(batch, prompt, mean_output, 2), rel=0.02)
    limit = truth.max_requests_per_s(batch, prompt, mean_output, 2)
    assert done / now_s == pytest.approx(limit, rel=0.02)


@given(
    ttft_s=st.floats(1e-3, 10),
    concurrency=st.integers(1, 512),
    input_tokens=st.integers(1, 30_000),
    output_tokens=st.integers(1, 4_000),
)
def test_throughput_at_any_ttft_keeps_a_replica_at_most_fully_busy(
    truth, ttft_s, concurrency, input_tokens, output_tokens
):
    where = (concurrency, input_tokens, output_tokens, 4)
    rate = 4 * truth.output_tokens_per_s_per_gpu(*where, ttft_s) / output_tokens
    own_steps_s = output_tokens * truth.decode_step_s(*where) / concurrency
    assert rate * (truth.prefill_s(input_tokens, 4) + own_steps_s) <= 1 + 1e-9
    at_ttft = requests_per_s(concurrency, output_tokens, ttft_s, truth.tpot_s(*where))
    assert rate <= at_ttft * (1 + 1e-9)


def test_a_cached_prefix_saves_its_arithmetic(truth):
    fresh = 2 * 70.6e9 * 2048 + 4 * 80 * 64 * 128 * (8192**2 - 6144**2) / 2
    assert LLAMA_70B.prefill_flops(8192, 0.75) == pytest.approx(fresh)
    assert truth.tpot_s(16, 8192, 512, 2, 0.75) < truth.tpot_s(16, 8192, 512, 2)


# what was measured


@given(input_tokens=st.integers(500, 10_000), output_tokens=st.integers(500, 10_000))
def test_lengths_are_inside_just_when_they_lie_between_the_measured_pairs(
    truth, input_tokens, output_tokens
):
    # the triangle's long side is a line in the logarithms: a constant product
    shortest = min(input_tokens, output_tokens)
    within = shortest >= 1024 and input_tokens * output_tokens <= 1024 * 8192
    assert (not truth.hull.outside(16, input_tokens, output_tokens, 2)) == within


def test_the_parts_outside_are_named_and_both_lengths_where_only_the_pair_is(truth):
    assert truth.hull.outside(16, 1155, 211, 2) == ("output_tokens",)
    assert truth.hull.outside(16, 500, 9000, 2) == ("input_tokens", "output_tokens")
    assert truth.hull.outside(16, 6000, 6000, 2) == ("input_tokens", "output_tokens")
    assert truth.hull.outside(16, math.nan, 1024, 2) == ("input_tokens",)


def test_pairs_on_a_line_leave_only_the_line_between_them_inside():
    hull = Hull({1: (4, 64)}, ((1024, 1024), (8192, 1024)))
    assert hull.outside(4, 3000, 1024, 1) == ()
    assert hull.outside(4, 3000, 1025, 1) == ("output_tokens",)
    assert Hull({1: (4, 64)}, ((1000, 100),)).outside(4, 1000, 100, 1) == ()


def test_concurrency_is_judged_by_the_tensor_parallel_size_at_hand(truth):
    assert truth.hull.outside(48, 1024, 1024, 1) == ("concurrency",)
    assert truth.hull.outside(48, 1024, 1024, 2) == ()
    assert truth.hull.outside(4, 1024, 1024, 2) == ("concurrency",)
    assert truth.hull.outside(48, 1024, 1024, 3) == ("tensor_parallel",)
    assert truth.hull.concurrency_at(3) == truth.hull.concurrency == (4, 64)

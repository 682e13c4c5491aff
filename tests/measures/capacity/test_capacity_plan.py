import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmstudy.measures.capacity import capacity_at_slo, replicas, requests_per_s, utilisation


@given(
    slo_s=st.floats(0.015, 0.2),
    tighter=st.floats(0.3, 1.0),
    input_tokens=st.integers(100, 16_000),
    output_tokens=st.integers(16, 4_000),
)
@settings(max_examples=60, deadline=None)
def test_capacity_never_rises_with_a_tighter_slo(
    truth, slo_s, tighter, input_tokens, output_tokens
):
    loose = capacity_at_slo(truth, input_tokens, output_tokens, 1.0, 8)
    floor_s = float(truth.tpot_s(1, input_tokens, output_tokens, 8))
    wide = capacity_at_slo(truth, input_tokens, output_tokens, floor_s + slo_s, 8)
    narrow = capacity_at_slo(truth, input_tokens, output_tokens, floor_s + tighter * slo_s, 8)
    assert narrow.concurrency <= wide.concurrency <= loose.concurrency <= 64
    assert narrow.tpot_s <= floor_s + tighter * slo_s
    assert wide.tpot_s <= floor_s + slo_s


def test_capacity_is_the_last_concurrency_that_meets_the_slo(truth):
    found = capacity_at_slo(truth, 1024, 1024, tpot_slo_s=0.020, tensor_parallel=2)
    assert found.limited_by == "tpot"
    assert truth.tpot_s(found.concurrency, 1024, 1024, 2) <= 0.020
    assert truth.tpot_s(found.concurrency + 1, 1024, 1024, 2) > 0.020
    request_s = found.ttft_lower_bound_s + found.tpot_s * 1024
    assert found.requests_per_s == pytest.approx(found.concurrency / request_s)
    assert found.output_tokens_per_s == pytest.approx(1024 * found.requests_per_s)


def test_capacity_says_what_limits_it_and_what_was_not_measured(truth):
    memory = capacity_at_slo(truth, 8192, 1024, tpot_slo_s=1.0, tensor_parallel=1)
    assert (memory.limited_by, memory.concurrency) == (
        "kv_memory",
        truth.max_concurrency(8192, 1024, 1),
    )
    hull = capacity_at_slo(truth, 1024, 1024, tpot_slo_s=1.0, tensor_parallel=8)
    assert (hull.limited_by, hull.concurrency, hull.inside_hull) == ("hull", 64, True)
    fewer_gpus = capacity_at_slo(truth, 1024, 1024, tpot_slo_s=1.0, tensor_parallel=1)
    assert (fewer_gpus.limited_by, fewer_gpus.concurrency) == ("hull", 32)
    short = capacity_at_slo(truth, 1155, 211, tpot_slo_s=1.0, tensor_parallel=8)
    assert (short.inside_hull, short.outside) == (False, ("output_tokens",))
    between = capacity_at_slo(truth, 1024, 1024, tpot_slo_s=1.0, tensor_parallel=6)
    assert (between.concurrency, between.outside) == (64, ("tensor_parallel",))


@given(
    input_tokens=st.integers(1, 16_000),
    output_tokens=st.integers(1, 4_000),
    slack_s=st.floats(0, 1),
    tensor_parallel=st.sampled_from([1, 2, 4, 8]),
    cached_share=st.floats(0, 1),
)
def test_a_replica_is_never_more_than_fully_busy(
    truth, input_tokens, output_tokens, slack_s, tensor_parallel, cached_share
):
    alone_s = float(truth.tpot_s(1, input_tokens, output_tokens, tensor_parallel))
    found = capacity_at_slo(
        truth,
        input_tokens,
        output_tokens,
        alone_s + slack_s,
        tensor_parallel,
        cached_share=cached_share,
    )
    # a request brings its own prefill and shares its steps with those beside it
    step_s = truth.decode_step_s(found.concurrency, input_tokens, output_tokens, tensor_parallel)
    prefill_s = truth.prefill_s(input_tokens, tensor_parallel, cached_share)
    busy_s = prefill_s + output_tokens * step_s / found.concurrency
    assert found.requests_per_s * busy_s <= 1 + 1e-9


@given(input_tokens=st.integers(1, 16_000), output_tokens=st.integers(1_000, 8_000))
def test_for_long_outputs_capacity_is_that_of_an_idle_replicas_ttft(
    truth, input_tokens, output_tokens
):
    found = capacity_at_slo(truth, input_tokens, output_tokens, 10.0, 4)
    at_bound = requests_per_s(
        found.concurrency, output_tokens, found.ttft_lower_bound_s, found.tpot_s
    )
    assert found.requests_per_s == pytest.approx(at_bound, rel=1 / (output_tokens - 1))


def test_a_prefix_cache_spares_arithmetic_but_no_memory(truth):
    cold, warm = (
        capacity_at_slo(truth, 8192, 256, 0.1, 2, cached_share=share) for share in (0.0, 0.75)
    )
    assert warm.ttft_lower_bound_s == truth.prefill_s(8192, 2, 0.75) < cold.ttft_lower_bound_s
    assert warm.concurrency > cold.concurrency
    assert warm.requests_per_s > 2 * cold.requests_per_s
    full = capacity_at_slo(truth, 8192, 1024, 1.0, 1, cached_share=0.75)
    assert (full.limited_by, full.concurrency) == (
        "kv_memory",
        truth.max_concurrency(8192, 1024, 1),
    )


def test_an_slo_that_no_load_meets_is_an_error_that_says_by_how_much(truth):
    with pytest.raises(ValueError, match=r"TPOT of 2\d\.\d ms, above the SLO of 5\.0 ms; loosen"):
        capacity_at_slo(truth, 1024, 1024, tpot_slo_s=0.005, tensor_parallel=1)
    with pytest.raises(ValueError, match=r"takes \d+ ms alone, above the TTFT SLO of 100 ms"):
        capacity_at_slo(truth, 8192, 1024, 0.1, tensor_parallel=1, ttft_slo_s=0.1)
    # what a cache spares may be what lets the SLO be met
    assert capacity_at_slo(truth, 8192, 1024, 0.1, 1, ttft_slo_s=0.5, cached_share=0.9)
    with pytest.raises(ValueError, match="KV cache of one request of 600000 tokens does not fit"):
        capacity_at_slo(truth, 599_000, 1_000, 0.1, tensor_parallel=1)


@pytest.mark.parametrize("value", [math.nan, 0.0, -1.0])
def test_what_is_no_slo_or_no_share_is_refused(truth, value):
    with pytest.raises(ValueError, match=r"tpot_slo_s is .*: give seconds above 0"):
        capacity_at_slo(truth, 1024, 1024, value, 2)
    with pytest.raises(ValueError, match=r"ttft_slo_s is .*: give seconds above 0"):
        capacity_at_slo(truth, 1024, 1024, 0.1, 2, ttft_slo_s=value)
    with pytest.raises(ValueError, match=r"cached_share is .*: give a share in \[0, 1\]"):
        capacity_at_slo(truth, 1024, 1024, 0.1, 2, cached_share=value or 1.1)


@given(
    peak=st.floats(0, 1e5),
    more=st.floats(1, 10),
    capacity=st.floats(0.01, 100),
    target=st.floats(0.1, 1.0),
    mean_share=st.floats(0, 1),
)
def test_replicas_never_fall_with_load_and_utilisation_stays_below_its_bound(
    peak, more, capacity, target, mean_share
):
    fleet = replicas(peak, capacity, target)
    assert 2 <= fleet <= replicas(peak * more, capacity, target)
    # the peak is carried even with the spare lost
    assert peak <= (fleet - 1) * capacity * target * (1 + 1e-9)
    used = utilisation(mean_share * peak, fleet, capacity)
    assert used <= target * mean_share * (1 + 1e-9)


def test_replicas_are_whole_and_rounding_error_buys_none():
    assert replicas([2.1, 2.11], 1.0, 0.7, spare=0, minimum=1).tolist() == [3, 4]
    assert replicas(10, 22.7, 0.7, spare=2, minimum=2) == 3
    with pytest.raises(ValueError, match=r"target_utilisation must be a share in \(0, 1\]"):
        replicas(10, 22.7, 70)
    with pytest.raises(ValueError, match="capacity above 0"):
        replicas(10, 0.0, 0.7)
    with pytest.raises(ValueError, match="the peak must be at least 0"):
        replicas([10.0, math.nan], 22.7, 0.7)


def test_the_target_leaves_little_waiting_inside_the_peak_window():
    # Erlang C by its textbook sum: slots of the sized fleet as servers, requests as calls
    slots_per_replica, capacity, peak = 16, 4.0, 40.0
    servers = slots_per_replica * int(replicas(peak, capacity, 0.7, spare=0))
    offered = peak * slots_per_replica / capacity
    k = np.arange(servers)
    log_terms = k * np.log(offered) - np.array([math.lgamma(i + 1) for i in k])
    log_last = servers * np.log(offered) - math.lgamma(servers + 1)
    waiting = np.exp(log_last) * servers / (servers - offered)
    assert waiting / (np.exp(log_terms).sum() + waiting) < 0.01

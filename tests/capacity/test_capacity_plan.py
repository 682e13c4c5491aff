import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmstudy.capacity import capacity_at_slo, replicas, utilisation


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
    request_s = found.ttft_lower_bound_s + found.tpot_s * 1023
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
    short = capacity_at_slo(truth, 1155, 211, tpot_slo_s=1.0, tensor_parallel=8)
    assert (short.inside_hull, short.outside) == (False, ("output_tokens",))


def test_an_slo_that_no_load_meets_is_an_error_that_says_by_how_much(truth):
    with pytest.raises(ValueError, match=r"TPOT of 2\d\.\d ms, above the SLO of 5\.0 ms; loosen"):
        capacity_at_slo(truth, 1024, 1024, tpot_slo_s=0.005, tensor_parallel=1)
    with pytest.raises(ValueError, match=r"takes \d+ ms alone, above the TTFT SLO of 100 ms"):
        capacity_at_slo(truth, 8192, 1024, 0.1, tensor_parallel=1, ttft_slo_s=0.1)
    with pytest.raises(ValueError, match="KV cache of one request of 600000 tokens does not fit"):
        capacity_at_slo(truth, 599_000, 1_000, 0.1, tensor_parallel=1)


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

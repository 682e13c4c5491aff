"""The replay against queueing theory, against a simulation step by step, and against the curve."""

from itertools import pairwise
from math import factorial, inf

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmstudy.measures.capacity import gpu, gpu_fit, model_shape
from llmstudy.measures.capacity.replay import (
    Autoscaler,
    Engine,
    Requests,
    StepTime,
    chunk_s,
    decode_s,
    draw_outages,
    engine,
    fleet,
    prefill_s,
    replay,
    requests_on,
)
from llmstudy.measures.capacity.slo import Slo, holds, percentiles, request_table, summary


def server(max_num_seqs, step_s=1e-3):
    """A replica whose every step takes the same time, whatever it runs: no roofline in it."""
    time = StepTime(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, step_s)
    return Engine(time, max_num_seqs, 8192)


def jobs(arrival_s, steps):
    """Requests that take so many steps of a `server` and no memory."""
    n, nothing = len(arrival_s), np.zeros(len(arrival_s))
    ones = np.ones(n, dtype=np.int64)
    return Requests(arrival_s, ones, 0 * ones, np.maximum(steps, 1), nothing, nothing)


def poisson(rate, n, rng):
    return np.cumsum(rng.exponential(1 / rate, n))


# ---- the time of a step --------------------------------------------------------------------------


@given(
    model=st.sampled_from(["meta-llama/Llama-3.1-70B", "openai/gpt-oss-120b"]),
    size=st.sampled_from([1, 2, 4, 8]),
    n=st.integers(1, 500),
    inputs=st.integers(1, 30_000),
    outputs=st.integers(1, 4_000),
    cached=st.floats(0, 0.99),
)
@settings(max_examples=150, deadline=None)
def test_a_step_takes_what_the_curve_says(truth, model, size, n, inputs, outputs, cached):
    curve = type(truth)(**{**vars(truth), "shape": model_shape(model), "gpu": gpu("b200_sxm")})
    one = requests_on(curve, size, [0.0], [inputs], [outputs], [int(cached * inputs)])
    time = engine(curve, size, 8).time
    expected = curve.decode_step_s(n, inputs, outputs, size)
    assert decode_s(time, n, n * one.kv_read_s[0]) == pytest.approx(float(expected), rel=1e-9)
    from_cache = int(one.cached_tokens[0])
    arithmetic_s = chunk_s(time, from_cache, inputs)
    expected = curve.prefill_s(inputs, size, from_cache / inputs)
    reading_s = prefill_s(time, inputs - from_cache, arithmetic_s)
    assert reading_s == pytest.approx(float(expected), rel=1e-9)


def test_a_request_alone_takes_one_prefill_and_its_decode_steps(truth):
    one = requests_on(truth, 2, [5.0], [1155], [211])
    found = replay(one, engine(truth, 2, 8), fleet(1))
    prefill_s = float(truth.prefill_s(1155, 2))
    assert found.first_s[0] - 5 == pytest.approx(prefill_s, rel=1e-9)
    decode_s = 210 * float(truth.decode_step_s(1, 1155, 211, 2))
    assert found.finish_s[0] - 5 == pytest.approx(prefill_s + decode_s, rel=1e-9)


def test_a_replica_that_is_never_idle_serves_what_the_curve_says(truth):
    rng = np.random.default_rng(3)
    output = rng.integers(150, 273, 6_000)
    requests = requests_on(truth, 2, np.zeros(6_000), np.full(6_000, 1155), output)
    table = request_table(requests, found := replay(requests, engine(truth, 2, 48), fleet(1)))
    steady = slice(500, 5_500)
    finish_s = np.sort(found.finish_s)
    rate = 5_000 / (finish_s[5_499] - finish_s[499])
    assert rate == pytest.approx(float(truth.max_requests_per_s(48, 1155, 211, 2)), rel=0.02)
    tpot_s = table["tpot_s"].iloc[steady].mean()
    assert tpot_s == pytest.approx(float(truth.tpot_s(48, 1155, 211, 2)), rel=0.02)


# ---- queueing theory -----------------------------------------------------------------------------


def erlang_c(servers, load):
    """Chance to wait in M/M/servers. Erlang (1917); Cooper (1981), Queueing Theory, 3.6."""
    top = load**servers / factorial(servers) * servers / (servers - load)
    return top / (sum(load**k / factorial(k) for k in range(servers)) + top)


@pytest.mark.parametrize(("servers", "utilisation"), [(1, 0.7), (3, 0.8), (8, 0.85)])
def test_one_request_at_a_time_waits_as_erlang_c_says(servers, utilisation):
    rng = np.random.default_rng(servers)
    n, service_s = 400_000, 1.0
    steps = np.rint(rng.exponential(1_000, n)).astype(np.int64)
    requests = jobs(poisson(servers * utilisation / service_s, n, rng), steps)
    found = replay(requests, server(1), fleet(servers))
    # the answer of a job is its service: what comes before its first step is the wait
    wait_s = found.first_s - 1e-3 - requests.arrival_s
    chance = erlang_c(servers, servers * utilisation)
    assert (wait_s > 1e-9).mean() == pytest.approx(chance, rel=0.03)
    mean_s = chance * service_s / (servers * (1 - utilisation))
    assert wait_s.mean() == pytest.approx(mean_s, rel=0.06)


def test_equal_requests_wait_half_as_long_as_exponential_ones():
    rng = np.random.default_rng(4)
    requests = jobs(poisson(0.8, 300_000, rng), np.full(300_000, 1_000))
    found = replay(requests, server(1), fleet(1))
    wait_s = found.first_s - 1e-3 - requests.arrival_s
    # M/D/1, Pollaczek (1930) and Khinchine (1932): rho / (2 (1 - rho)) services
    assert wait_s.mean() == pytest.approx(0.8 / (2 * 0.2), rel=0.04)


def test_what_overflows_is_what_erlang_b_says():
    rng = np.random.default_rng(5)
    steps = np.rint(rng.uniform(0, 2_000, 300_000)).astype(np.int64)
    requests = jobs(poisson(5.0, 300_000, rng), steps)
    found = replay(requests, server(1), fleet(6, overflow=True))
    terms = [5.0**k / factorial(k) for k in range(7)]  # insensitive to the law of service
    assert found.overflowed.mean() == pytest.approx(terms[6] / sum(terms), rel=0.02)
    assert np.isinf(found.finish_s[found.overflowed]).all()
    assert np.isfinite(found.finish_s[~found.overflowed]).all()


# ---- a simulation step by step -------------------------------------------------------------------


class Plain:
    """One replica, one step at a time, as the module's docstring tells it."""

    def __init__(self, curve, size, limit, budget):
        self.curve, self.size, self.limit, self.budget = curve, size, limit, budget
        self.waiting, self.reading, self.writing, self.until_s = [], [], [], None
        self.room = 2**30 * gpu_fit(curve.shape, curve.gpu, curve.precision, size)

    @property
    def outstanding(self):
        return len(self.waiting) + len(self.reading) + len(self.writing)

    def cache(self, tokens):
        return float(self.curve.shape.kv_cache_bytes(tokens, self.curve.kv_value_bytes))

    def start(self, now):
        held = sum(self.cache(r["in"] + r["out"]) for r in self.reading + self.writing)
        budget, work = self.budget - len(self.writing), []
        while budget > 0:
            partial = [r for r in self.reading if r["read"] < r["in"]]
            if not partial:
                if not self.waiting:
                    break
                need = self.cache(self.waiting[0]["in"] + self.waiting[0]["out"])
                if held + need > self.room * (1 + 1e-9):
                    break
                held += need
                self.reading.append(self.waiting.pop(0))
                continue
            end = min(partial[0]["in"], partial[0]["read"] + budget)
            work.append((partial[0]["read"], end))
            budget -= end - partial[0]["read"]
            partial[0]["read"] = end
        if not work and not self.writing:
            self.until_s = None
            return
        self.until_s = now + self.step_s(work)

    def step_s(self, work):
        curve, size = self.curve, self.size
        overhead = curve.step_overhead_s + curve.tp_overhead_s * np.log2(size)
        per_byte = 1 / (curve.bandwidth_efficiency * curve.gpu.hbm_gb_per_s * 1e9)
        per_flop = 1 / (curve.flop_efficiency * curve.gpu.flops_per_s(curve.precision)) / size
        weights = curve.shape.total_params / size
        total = 0.0
        if self.writing:
            cache = sum(self.cache(r["in"] + r["out"] / 2) for r in self.writing)
            read_s = (weights + cache / size) * per_byte
            flops = 2 * curve.shape.active_params * len(self.writing)
            total += max(read_s, flops * per_flop) + overhead
        if work:
            flops = sum(float(curve.shape.prefill_flops(end, start / end)) for start, end in work)
            total += max(weights * per_byte, flops * per_flop) + overhead
        return total

    def end(self, now):
        for r in self.writing:
            r["left"] -= 1
        self.finish(now)
        for r in [r for r in self.reading if r["read"] == r["in"]]:
            self.reading.remove(r)
            r["first"], r["left"] = now, r["out"] - 1
            self.writing.append(r)
        self.finish(now)

    def finish(self, now):
        for r in [r for r in self.writing if r["left"] == 0]:
            r["finish"] = now
            self.writing.remove(r)


def step_by_step(curve, size, limit, budget, replicas, arrivals):
    """First and last token of each (arrival_s, input, cached, output)."""
    fleet_ = [Plain(curve, size, limit, budget) for _ in range(replicas)]
    requests = [{"at": a, "in": i, "read": c, "out": o} for a, i, c, o in arrivals]
    coming, router = list(requests), []
    while coming or any(p.outstanding for p in fleet_):
        ends = [(p.until_s, k) for k, p in enumerate(fleet_) if p.until_s is not None]
        next_s, k = min(ends) if ends else (inf, None)
        if coming and coming[0]["at"] < next_s:
            request = coming.pop(0)
            best = min(fleet_, key=lambda p: p.outstanding)
            if best.outstanding == limit:
                router.append(request)
                continue
            best.waiting.append(request)
            if best.until_s is None:
                best.start(request["at"])
            continue
        it = fleet_[k]
        it.end(next_s)
        while router and it.outstanding < limit:
            it.waiting.append(router.pop(0))
        it.start(next_s)
    return np.array([(r["first"], r["finish"]) for r in requests]).T


@given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 25),
    replicas=st.integers(1, 3),
    limit=st.integers(1, 6),
    budget=st.sampled_from([6, 64, 2_048]),
    longest=st.sampled_from([300, 120_000]),
)
@settings(max_examples=60, deadline=None)
def test_every_request_ends_when_a_simulation_step_by_step_says(
    truth, seed, n, replicas, limit, budget, longest
):
    rng = np.random.default_rng(seed)
    longest = min(longest, 30 * budget)  # few chunks: the plain simulation is slow
    arrival_s = np.sort(rng.uniform(0, 3, n))
    inputs, outputs = rng.integers(1, longest, n), rng.integers(1, 12, n)
    cached = np.minimum(rng.integers(0, longest, n) * rng.integers(0, 2, n), inputs - 1)
    requests = requests_on(truth, 1, arrival_s, inputs, outputs, cached)
    found = replay(requests, engine(truth, 1, limit, budget), fleet(replicas))
    rows = list(zip(arrival_s, inputs.tolist(), cached.tolist(), outputs.tolist(), strict=True))
    first_s, finish_s = step_by_step(truth, 1, limit, budget, replicas, rows)
    np.testing.assert_allclose(found.first_s, first_s, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.finish_s, finish_s, rtol=1e-9, atol=1e-9)


# ---- what must always hold -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def busy(truth):
    """A busy hour on three replicas whose memory is short and who fail."""
    rng = np.random.default_rng(8)
    n = 8_000
    arrival_s = np.sort(rng.uniform(0, 3_600, n))
    inputs, outputs = rng.integers(500, 30_000, n), rng.integers(1, 200, n)
    requests = requests_on(truth, 1, arrival_s, inputs, outputs, inputs // 2)
    outages = draw_outages(3, 3_600, 900, 120, rng)
    assert len(outages) > 5
    return requests, replay(requests, engine(truth, 1, 24), fleet(3, outages=outages))


def test_every_request_finishes_once_and_in_order(busy):
    requests, found = busy
    assert np.isfinite(found.finish_s).all()
    assert (requests.arrival_s < found.first_s).all()
    alone = requests.output_tokens == 1
    assert (found.first_s[~alone] < found.finish_s[~alone]).all()
    assert (found.first_s[alone] == found.finish_s[alone]).all()
    assert found.attempts.max() > 1
    assert set(found.replica) == {0, 1, 2}


def test_neither_memory_nor_slots_are_ever_exceeded(busy):
    _, found = busy
    assert 0.9 < found.most_kv_share.max() <= 1 + 1e-8
    assert found.most_running.max() <= 24


def test_little_s_law_holds(busy):
    requests, found = busy
    moments = np.linspace(0, found.finish_s.max(), 20_001)
    inside = np.searchsorted(requests.arrival_s, moments) - np.searchsorted(
        np.sort(found.finish_s), moments
    )
    sojourn_s = (found.finish_s - requests.arrival_s).mean()
    rate = len(requests.arrival_s) / found.finish_s.max()
    assert inside.mean() == pytest.approx(rate * sojourn_s, rel=0.01)


def test_a_request_too_long_for_the_memory_is_never_served_and_harms_no_other(truth):
    requests = requests_on(truth, 1, [0.0, 1.0], [10**6, 100], [10, 10])
    table = request_table(requests, replay(requests, engine(truth, 1, 4), fleet(1)))
    assert table["e2e_s"].tolist()[0] == inf
    assert table["ttft_s"].tolist()[0] == inf
    assert table["e2e_s"].tolist()[1] < 1


def test_more_replicas_never_make_the_p95_worse(truth):
    rng = np.random.default_rng(9)
    n = 4_000
    lengths = rng.integers(200, 3_000, n), rng.integers(20, 400, n)
    requests = requests_on(truth, 2, poisson(16, n, rng), *lengths)
    tables = [
        request_table(requests, replay(requests, engine(truth, 2, 64), fleet(k)))
        for k in (1, 2, 3, 4, 6, 8)
    ]
    for name in ("ttft_s", "tpot_s", "e2e_s"):
        p95 = [percentiles(table[name], [0.95])[0] for table in tables]
        assert all(more <= fewer for fewer, more in pairwise(p95))


# ---- replicas that come and go -------------------------------------------------------------------


def test_a_failed_replica_loses_its_work_and_another_does_it():
    requests = jobs(np.array([0.0, 0.1]), np.array([1_000, 1_000]))
    down = pd.DataFrame({"start_s": [0.5], "end_s": [5.0], "replica": [0]})
    found = replay(requests, server(4), fleet(2, outages=down))
    assert found.attempts.tolist() == [2, 1]
    assert found.replica.tolist() == [1, 1]
    assert found.finish_s == pytest.approx([1.5, 1.1], abs=2e-3)
    alone = replay(requests, server(4), fleet(1, outages=down))
    assert alone.finish_s == pytest.approx([6.0, 6.0], abs=2e-3)


def test_outages_are_as_frequent_and_as_long_as_said():
    table = draw_outages(50, 1e6, 9e4, 1e4, np.random.default_rng(2))
    assert len(table) == pytest.approx(50 * 1e6 / 1e5, rel=0.1)
    assert (table["end_s"] - table["start_s"]).mean() == pytest.approx(1e4, rel=0.1)
    assert table["start_s"].is_monotonic_increasing


def test_a_schedule_boots_replicas_and_drains_them():
    requests = jobs(np.array([0.0, 0.0, 100.0, 100.0, 600.0]), np.full(5, 10_000))
    found = replay(requests, server(1), fleet([1, 2, 1], [0.0, 50.0, 105.0], boot_s=40.0), 1_200)
    # the second waits for the first; the third and fourth run side by side
    assert found.finish_s == pytest.approx([10, 20, 110, 110, 610], abs=0.01)
    # the second replica is paid from its order to the end of the answer it drains with
    assert found.paid_s.tolist() == pytest.approx([600 + 60, 600], abs=0.1)


def test_an_autoscaler_orders_what_the_queue_asks_for_and_cools_down():
    arrival_s = np.concatenate([np.zeros(8), [2_000.0]])
    requests = jobs(arrival_s, np.full(9, 100_000))
    rule = Autoscaler(2.0, least=1, most=3, check_every_s=10, cool_down_s=300)
    found = replay(requests, server(2), fleet(1, boot_s=60, autoscaler=rule), 3_000)
    # two at once; at 10 s four are asked for, three allowed, ready at 70 s
    expected = [100, 100, 170, 170, 170, 170, 200, 200, 2_100]
    assert sorted(found.finish_s) == pytest.approx(expected, abs=0.1)
    # three from 10 s until 300 s after 160 s, the last check at which three were called for
    assert found.paid_s[0] == pytest.approx(600 + 2 * 450)
    assert found.paid_s[1:].tolist() == [600.0] * 4


# ---- what is read from it ------------------------------------------------------------------------


def test_failures_count_as_infinite_and_overflow_not_at_all():
    table = pd.DataFrame(
        {
            "ttft_s": [0.1] * 90 + [inf] * 10 + [inf] * 50,
            "tpot_s": [0.01] * 90 + [inf] * 10 + [inf] * 50,
            "e2e_s": [1.0] * 90 + [inf] * 10 + [inf] * 50,
            "overflowed": [False] * 100 + [True] * 50,
        }
    )
    found = summary(table, Slo(1.0, 0.05))
    assert found["slo_attainment_share"] == pytest.approx(0.9)
    assert found["ttft_p50_s"] == 0.1
    assert found["ttft_p95_s"] == found["e2e_p99_s"] == inf
    assert not holds(table, Slo(1.0, 0.05))
    assert holds(table.iloc[:95].assign(overflowed=table.index[:95] >= 90), Slo(1.0, 0.05))


def test_weights_count_a_row_so_many_times():
    table = pd.DataFrame({"ttft_s": [1.0, 2.0], "tpot_s": [0.0, 0.0], "e2e_s": [1.0, 2.0]})
    table = table.assign(overflowed=False)
    weighted = summary(table, Slo(1.5, 1.0), [19, 1])
    repeated = summary(table.iloc[[0] * 19 + [1]], Slo(1.5, 1.0))
    assert weighted == pytest.approx(repeated)


@pytest.mark.parametrize(
    ("call", "wrong"),
    [
        (lambda c: engine(c, 2, 0), "max_num_seqs is 0"),
        (lambda c: engine(c, 2, 100, 64), "a token for each request"),
        (lambda c: requests_on(c, 2, [1.0, 0.5], [5, 5], [5, 5]), "sorted"),
        (lambda c: requests_on(c, 2, [float("nan")], [5], [5]), "finite"),
        (lambda c: requests_on(c, 2, [0.0], [0], [5]), "at least 1 token"),
        (lambda c: fleet([1, 2], [0.0, 0.0]), "rising from 0 s"),
        (lambda c: fleet(-1), "below 0"),
        (
            lambda c: fleet(
                1, outages=pd.DataFrame({"start_s": [1.0], "end_s": [inf], "replica": [0]})
            ),
            "has no end",
        ),
    ],
)
def test_what_cannot_be_replayed_is_an_error_that_says_so(truth, call, wrong):
    with pytest.raises(ValueError, match=wrong):
        call(truth)


def test_erlang_c_of_one_server_is_its_utilisation():
    assert erlang_c(1, 0.7) == pytest.approx(0.7)

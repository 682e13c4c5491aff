import json
from math import inf

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter
from scipy.stats import norm

from llmstudy.measures import latency
from llmstudy.measures.latency import batches, dependent_quantile_interval, units
from llmstudy.probe.metrics import decomposition, metrics, metrics_table
from llmstudy.probe.run import Run, Sample, table

# ---- processes whose percentiles are known


def independent(rng, n):
    return rng.lognormal(sigma=0.8, size=n)


def autoregressive(rng, n, lag1=0.9):
    shocks = rng.standard_normal(n + 200)
    z = lfilter([np.sqrt(1 - lag1**2)], [1, -lag1], shocks)[200:]
    return np.exp(0.8 * z)


def queued(rng, n, load=0.7):
    """Sojourn times in an M/M/1 queue by Lindley's recursion: exponential with rate 1 - load."""
    service, gaps = rng.exponential(size=n + 2000), rng.exponential(1 / load, n + 2000)
    walk = np.concatenate([[0.0], np.cumsum(service - gaps)[:-1]])
    return (walk - np.minimum.accumulate(walk) + service)[2000:]


def lognormal_quantile(q):
    return np.exp(0.8 * norm.ppf(q))


def queued_quantile(q):
    return -np.log(1 - q) / 0.3


def coverage(found, truth):
    return np.mean([f.low <= truth <= f.high for f in found])


# ---- coverage


@pytest.mark.parametrize(
    ("draw", "truth", "n", "q", "least", "most", "naive_most"),
    [
        (independent, lognormal_quantile, 400, 0.50, 0.95, 0.99, 0.98),
        (independent, lognormal_quantile, 400, 0.95, 0.95, 1.00, 0.99),
        (autoregressive, lognormal_quantile, 400, 0.50, 0.92, 0.98, 0.60),
        (autoregressive, lognormal_quantile, 2000, 0.95, 0.92, 0.98, 0.65),
        (autoregressive, lognormal_quantile, 2000, 0.99, 0.90, 0.99, 0.80),
        (queued, queued_quantile, 1000, 0.50, 0.92, 0.99, 0.60),
        # a p95 in a queue is made by a few long waits: 4,000 requests for the nominal coverage
        (queued, queued_quantile, 1000, 0.95, 0.85, 0.97, 0.45),
        (queued, queued_quantile, 4000, 0.95, 0.92, 0.98, 0.45),
    ],
)
def test_interval_covers_where_the_one_for_independent_requests_does_not(
    draw, truth, n, q, least, most, naive_most
):
    rng = np.random.default_rng(7)
    runs = [draw(rng, n) for _ in range(500)]
    ours = coverage([dependent_quantile_interval(x, batches(n), q) for x in runs], truth(q))
    naive = coverage([latency.quantile_interval(x, q) for x in runs[:250]], truth(q))
    assert least <= ours <= most
    assert naive <= naive_most
    assert ours >= naive


@pytest.mark.parametrize(("n_runs", "q"), [(3, 0.5), (5, 0.95), (10, 0.5), (10, 0.95)])
def test_runs_are_the_unit_when_each_has_a_level_of_its_own(n_runs, q):
    rng = np.random.default_rng(7)
    truth = np.exp(np.hypot(0.3, 0.5) * norm.ppf(q))  # between runs 0.3, within 0.5
    unit = np.repeat(np.arange(n_runs), 300)
    found, naive = [], []
    for _ in range(500):
        level = np.repeat(0.3 * rng.standard_normal(n_runs), 300)
        x = np.exp(level + 0.5 * rng.standard_normal(len(unit)))
        found.append(dependent_quantile_interval(x, unit, q, consecutive=False))
        naive.append(latency.quantile_interval(x, q))
    assert 0.92 <= coverage(found, truth) <= 0.99
    assert coverage(naive, truth) < 0.6


def test_independent_requests_keep_most_of_their_number():
    rng = np.random.default_rng(7)
    sizes = [
        dependent_quantile_interval(independent(rng, 500), batches(500), 0.9).n_effective
        for _ in range(200)
    ]
    assert 0.7 * 500 < np.median(sizes) <= 500


# ---- properties


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.one_of(st.floats(0, 1e6), st.just(inf)), min_size=1, max_size=200),
    st.sampled_from([0.5, 0.95, 0.99]),
)
def test_interval_holds_the_estimate_and_never_claims_more_than_n(values, q):
    x = np.array(values)
    found = dependent_quantile_interval(x, batches(len(x)), q)
    estimate = inf if found.estimate is None else found.estimate
    assert found.low <= estimate <= found.high
    assert 0 < found.n_effective <= found.n == len(x)
    assert estimate == np.quantile(x, q, method="inverted_cdf")


def test_requests_that_do_not_vary_between_units_get_the_interval_of_independent_ones():
    x = np.tile(np.arange(1.0, 21.0), 20)
    ours, naive = (
        dependent_quantile_interval(x, batches(400), 0.9),
        latency.quantile_interval(x, 0.9),
    )
    assert (ours.low, ours.high) == (naive.low, naive.high)
    assert ours.n_effective == 400


def test_support_needs_n_and_an_effective_n_that_observes_both_ends():
    rng = np.random.default_rng(7)
    few = dependent_quantile_interval(rng.random(71), batches(71), 0.95)
    dependent = dependent_quantile_interval(np.sort(rng.random(400)), batches(400), 0.95)
    plenty = dependent_quantile_interval(rng.random(400), batches(400), 0.95)
    assert (few.supported, dependent.supported, plenty.supported) == (False, False, True)
    assert dependent.high == inf


def test_a_hundred_thousand_requests_take_no_time_worth_waiting_for():
    x = np.random.default_rng(7).random(100_000)
    assert dependent_quantile_interval(x, batches(len(x)), 0.99).n_effective > 20_000


def test_units_are_days_else_runs_else_batches():
    frame = pd.DataFrame({"day": ["mon", "mon", "tue"], "run": [1, 2, 3]})
    assert units(frame)[0].tolist() == [0, 0, 1]
    assert units(frame.assign(day="mon"))[0].tolist() == [0, 1, 2]
    labels, consecutive = units(frame[["run"]].assign(run=1))
    assert (labels.tolist(), consecutive) == ([0, 1, 2], True)


# ---- metrics of a run


def answered(index, at, ttft=0.25, gaps=(0.125, 0.125), **known):
    times = (at + ttft + np.concatenate([[0.0], np.cumsum(gaps)])).tolist()
    known = {"output_tokens": len(times), "reasoning_tokens": 0} | known
    return Sample(
        index, "measure", at, at, content_times_s=times, done_s=times[-1], ok=True, **known
    )


def failed(index, at, **known):
    return Sample(index, "measure", at, at, error="timeout", **known)


def test_metrics_are_those_of_the_dictionary_in_milliseconds():
    found = metrics(Run(table([answered(i, float(i)) for i in range(400)]), {}))
    assert found["ttft_ms"]["p50"] == 250
    assert found["tpot_ms"]["p99"] == found["itl_ms"]["p95"] == 125
    assert found["e2e_ms"]["p95"] == 500
    assert found["itl_ms"]["n"] == 800
    assert (found["n"], found["failed_share"]) == (400, 0.0)
    assert not {"client_queue_ms", "reasoning_ttft_ms"} & set(found)


def test_the_warm_up_is_left_out():
    cold = [Sample(i, "warmup", i, i, content_times_s=[i + 9.0], ok=True) for i in range(50)]
    found = metrics(table([*cold, *(answered(i, float(i)) for i in range(50, 100))]))
    assert (found["n"], found["ttft_ms"]["p50"]) == (50, 250)


def test_failures_are_beyond_every_percentile_in_the_same_share():
    samples = [failed(i, float(i)) if i % 10 == 0 else answered(i, float(i)) for i in range(400)]
    found = metrics(table(samples))
    for metric in ("ttft_ms", "tpot_ms", "itl_ms", "e2e_ms"):
        assert found[metric]["p50"] is not None
        assert found[metric]["p95"] is None
        assert found[metric]["p95_interval"][1] is None
    assert found["failed_share"] == pytest.approx(0.1)
    assert found["itl_ms"]["n"] == 800  # a failure counts for as many gaps as an answer has
    json.dumps(found, allow_nan=False)


def test_a_percentile_is_null_where_n_is_too_small():
    found = metrics(table([answered(i, float(i)) for i in range(100)]))["ttft_ms"]
    assert (found["p50"], found["p95"], found["p99"]) == (250, 250, None)


def test_a_metric_that_an_answer_does_not_have_is_counted_as_undefined():
    samples = [answered(i, float(i), gaps=() if i < 40 else (0.125,)) for i in range(100)]
    found = metrics(table(samples))
    assert (found["tpot_ms"]["n"], found["tpot_ms"]["n_undefined"]) == (60, 40)
    assert (found["itl_ms"]["n"], found["itl_ms"]["n_undefined"]) == (60, 40)
    assert (found["ttft_ms"]["n"], found["ttft_ms"]["n_undefined"]) == (100, 0)


def test_a_run_of_failures_only_has_null_percentiles_and_no_error():
    found = metrics(table([failed(i, float(i)) for i in range(10)]))
    assert (found["failed_share"], found["ttft_ms"]["p50"], found["ttft_ms"]["n"]) == (
        1.0,
        None,
        10,
    )
    assert metrics(table([]))["failed_share"] is None
    json.dumps(metrics(table([])), allow_nan=False)


def test_own_queue_and_reasoning_appear_where_there_were_any():
    samples = [answered(i, float(i), first_reasoning_s=i + 0.125) for i in range(20)]
    for sample in samples:
        sample.dispatched_s += 0.0625
    found = metrics(table(samples))
    assert found["reasoning_ttft_ms"]["p50"] == 125
    assert found["client_queue_ms"]["p50"] == 62.5


def test_gaps_of_a_stalling_request_count_as_one_piece_of_evidence():
    # 100 gaps within each request are alike: 200 requests say less than 20,000 gaps
    rng = np.random.default_rng(7)
    samples = [
        answered(i, float(i), gaps=rng.lognormal(-3, 0.5) * np.ones(100)) for i in range(200)
    ]
    found = metrics(table(samples))["itl_ms"]
    assert found["n"] == 20_000
    assert found["n_effective"]["p50"] < 400


def test_gaps_of_few_requests_support_no_percentile():
    def itl(n, n_gaps, seed=7):
        rng = np.random.default_rng(seed)
        gaps = [rng.lognormal(-3, 0.5) * rng.lognormal(0, 0.3, n_gaps) for _ in range(n)]
        return metrics(table([answered(i, float(i), gaps=g) for i, g in enumerate(gaps)]))["itl_ms"]

    eight = itl(8, 60)
    assert eight["n"] == 480  # more than a p99 of independent requests takes
    assert (eight["p95"], eight["p99"]) == (None, None)
    assert not any(eight["supported"][p] for p in ("p95", "p99"))
    five = itl(5, 60)
    assert five["p50"] is None  # five requests do not bound a median, whatever their gaps
    many = itl(600, 20)
    assert many["supported"]["p95"]
    assert many["p95"] is not None


def test_other_metrics_give_an_unsupported_percentile_with_an_open_interval():
    times = np.sort(np.random.default_rng(7).lognormal(-1, 0.5, 400))
    found = metrics(table([answered(i, float(i), ttft=t) for i, t in enumerate(times)]))["ttft_ms"]
    assert not found["supported"]["p95"]
    assert found["p95"] is not None
    assert found["p95_interval"][1] is None


def test_several_runs_and_days_widen_the_interval_to_what_they_differ_by():
    rng = np.random.default_rng(7)
    frames = []
    for run in range(4):
        level = 0.2 + 0.1 * run
        samples = [answered(i, float(i), ttft=level * rng.lognormal(0, 0.1)) for i in range(200)]
        frames.append(table(samples).assign(run=run, day=run // 2))
    together = pd.concat(frames, ignore_index=True)

    def size(frame):
        found = metrics_table(frame)
        return found.loc[found["metric"] == "ttft_ms", "n_effective"].iloc[0]

    assert size(together) <= size(together.drop(columns="day")) < 10
    assert size(frames[0]) > 60


# ---- decomposition


def test_parts_add_up_to_ttft_and_unknown_ones_are_null():
    known = {
        "dns_s": 0.01,
        "tcp_s": 0.005,
        "tls_s": 0.015,
        "server_queue_s": 0.03,
        "server_prefill_s": 0.1,
    }
    samples = [answered(i, float(i), **(known if i % 2 else {})) for i in range(40)]
    found = decomposition(table(samples)).set_index("part")
    assert found.loc["ttft", "median_ms"] == pytest.approx(250)
    # only the requests whose server parts are known, all of which looked up and connected
    assert found.loc["server_prefill", ["median_ms", "n"]].tolist() == pytest.approx([100, 20])
    assert found.loc["network_and_other", "median_ms"] == pytest.approx(90)
    assert found["mean_share"].drop("ttft").sum() == pytest.approx(1)

    bare = decomposition(table([answered(i, float(i)) for i in range(9)])).set_index("part")
    assert bare.loc["network_and_other", "median_ms"] == pytest.approx(250)
    assert (
        bare.loc[["dns", "tcp", "tls", "server_queue", "server_prefill"], "median_ms"].isna().all()
    )


def test_what_the_header_says_is_a_part_where_nothing_else_is_told_of_the_server():
    def parts(**known):
        samples = [answered(i, float(i), **known) for i in range(9)]
        return decomposition(table(samples)).set_index("part")["median_ms"]

    told = parts(server_processing_s=0.1)
    assert told[["server_processing", "network_and_other"]].tolist() == pytest.approx([100, 150])
    assert np.isnan(parts(server_processing_s=0.3)["server_processing"])  # beyond the TTFT
    both = parts(server_processing_s=0.1, server_queue_s=0.05)
    assert np.isnan(both["server_processing"])
    assert both["network_and_other"] == pytest.approx(200)


def test_a_reused_connection_has_no_set_up():
    samples = [answered(i, float(i), tcp_s=0.05 if i == 0 else None) for i in range(11)]
    found = decomposition(table(samples)).set_index("part")
    assert found.loc["tcp", ["median_ms", "n"]].tolist() == [0, 11]


# ---- errors


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (
            lambda: dependent_quantile_interval(np.array([1.0, np.nan]), batches(2), 0.5),
            "NaN or negative",
        ),
        (
            lambda: dependent_quantile_interval(np.array([1.0, 2.0]), batches(3), 0.5),
            "one for each",
        ),
        (lambda: dependent_quantile_interval(np.array([1.0]), batches(1), 95), "0.95 for p95"),
    ],
)
def test_an_error_says_what_is_wrong(wrong, says):
    with pytest.raises(ValueError, match=says):
        wrong()

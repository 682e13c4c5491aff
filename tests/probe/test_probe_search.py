"""Searches are judged on simulated systems whose answers are known in closed form."""

import heapq
from math import factorial, inf, sqrt

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from llmstudy.measures import capacity
from llmstudy.measures.capacity import fit
from llmstudy.probe import search
from llmstudy.probe.run import Run, Sample, table
from llmstudy.probe.search import (
    SLO,
    backlog_growth,
    goodput,
    knee,
    levels,
    max_goodput,
    slo_margin,
    steady_state,
)

PREFILL_S = 0.05
ROW = table([Sample(0, "measure", 0.0, 0.0, ok=True)])


def run_of(sent_s, first_s, done_s, tokens=11, warmup=0, **facts):
    """A run from times, the first of them warm-up."""
    n = len(sent_s)
    samples = ROW.loc[np.zeros(n, dtype=int)].reset_index(drop=True)
    samples["index"] = range(n)
    samples["phase"] = np.where(np.arange(n) < warmup, "warmup", "measure")
    samples["scheduled_s"] = samples["dispatched_s"] = sent_s
    samples["done_s"] = done_s
    samples["output_tokens"] = float(tokens)
    times = zip(first_s, done_s, strict=True)
    samples["content_times_s"] = [[first, np.nan, last] for first, last in times]
    return Run(samples, facts)


def queue_run(rate, n, rng, servers=1, service_s=0.1, warmup=300):
    """M/M/c, first come first served: TTFT is the wait and a fixed prefill."""
    arrivals = np.cumsum(rng.exponential(1 / rate, n + warmup))
    services = rng.exponential(service_s, n + warmup)
    free, starts = [0.0] * servers, np.empty(n + warmup)
    for i, arrival in enumerate(arrivals):
        starts[i] = max(arrival, free[0])
        heapq.heapreplace(free, starts[i] + services[i])
    return run_of(arrivals, starts + PREFILL_S, starts + PREFILL_S + services, warmup=warmup)


def late_share(rate, servers, service_s, wait_s):
    """P(wait > wait_s) in M/M/c: Erlang's C formula and the exponential tail of the wait."""
    load = rate * service_s
    top = load**servers / factorial(servers) * servers / (servers - load)
    waits = top / (sum(load**k / factorial(k) for k in range(servers)) + top)
    return waits * np.exp(-(servers / service_s - rate) * wait_s)


def true_rate(servers, service_s, wait_s, target=0.95):
    """The rate at which M/M/c just meets the target."""
    full = servers / service_s
    return brentq(
        lambda rate: late_share(rate, servers, service_s, wait_s) - (1 - target), 1e-9, full - 1e-9
    )


def coin_run(share):
    """Requests that are good independently, with a share that depends on the rate."""

    def measure(rate, n, rng):
        good = rng.random(n) < share(rate)
        sent = np.arange(n) / rate
        first = sent + np.where(good, 0.5, 1.5) * rng.uniform(0.9, 1.0, n)
        return run_of(sent, first, first + 1.0)

    return measure


def searches(measure, seeds, slo, **options):
    found = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        found.append(max_goodput(lambda rate, n, rng=rng: measure(rate, n, rng), slo, **options))
    return found


def contains(found, truth):
    return (found.passing_per_s or 0) <= truth <= (found.failing_per_s or inf)


# ------------------------------------------------------------------------------------- max goodput


@pytest.mark.parametrize(("servers", "service_s", "wait_s"), [(1, 0.1, 0.5), (8, 1.0, 2.0)])
def test_the_interval_holds_the_true_rate_of_a_queue_in_nine_searches_of_ten(
    servers, service_s, wait_s
):
    truth = true_rate(servers, service_s, wait_s)
    found = searches(
        lambda rate, n, rng: queue_run(rate, n, rng, servers, service_s),
        10,
        SLO(ttft_s=wait_s + PREFILL_S),
        low=truth / 10.3,
        high=4 * servers / service_s,
        n_cap=3200,
    )
    assert sum(contains(each, truth) for each in found) >= 9
    widths = [each.failing_per_s / each.passing_per_s for each in found]
    assert np.median(widths) < 1.7


def test_independent_requests_are_resolved_to_the_resolution_around_the_truth():
    share = lambda rate: 1 / (1 + np.exp(4 * (rate - 5.0)) / 19)  # noqa: E731 - 0.95 at rate 5
    found = searches(coin_run(share), 20, SLO(ttft_s=1.0), low=0.7, high=100.0)
    assert sum(contains(each, 5.0) for each in found) >= 18
    assert np.median([each.failing_per_s / each.passing_per_s for each in found]) < 1.25
    each = found[0]
    assert each.n_requests == each.steps["n"].sum()
    assert each.goodput_per_s == pytest.approx(each.passing_per_s, rel=0.06)


def test_a_search_takes_fewer_requests_than_a_grid_of_the_same_resolution():
    share = lambda rate: 1 / (1 + np.exp(4 * (rate - 5.0)) / 19)  # noqa: E731
    slo, measure = SLO(ttft_s=1.0), coin_run(share)
    (found,) = searches(measure, 1, slo, low=0.7, high=11.0)
    rng, on_grid = np.random.default_rng(1), 0
    for rate in np.geomspace(0.7, 11.0, 1 + int(np.log(11.0 / 0.7) / np.log(1.1))):
        # each rate of the grid is itself resolved in the same thrifty way
        *_, step = goodput._looks(lambda level, n: measure(level, n, rng), rate, slo, 200, 6400)
        on_grid += step.n
    assert found.n_requests < 0.7 * on_grid


@pytest.mark.parametrize(
    ("share", "passing", "failing", "stopped"),
    [
        (lambda rate: 1.0, 33.3, None, "passes at the highest rate"),
        (lambda rate: 0.5, None, 1.5, "fails at the lowest rate"),
    ],
)
def test_a_search_without_a_crossing_says_which_side_it_is_on(share, passing, failing, stopped):
    (found,) = searches(
        coin_run(share), 1, SLO(ttft_s=1.0), low=1.5, high=33.3, n_cap=400, max_requests=10_000
    )
    assert (found.passing_per_s, found.failing_per_s) == (passing, failing)
    assert found.stopped == stopped


def test_a_share_on_the_target_stays_unresolved():
    def measure(rate, n, rng):
        good = np.arange(n) % 20 > 0
        sent = np.arange(n) / rate
        first = sent + np.where(good, 0.5, 1.5) * rng.uniform(0.9, 1.0, n)
        return run_of(sent, first, first + 1.0)

    (found,) = searches(measure, 1, SLO(ttft_s=1.0), low=1.5, high=33.3, n_cap=400)
    assert (found.passing_per_s, found.failing_per_s) == (None, None)
    assert found.stopped == "unresolved"
    assert set(found.steps["verdict"]) == {"unresolved"}


def test_a_search_stops_within_its_requests():
    share = lambda rate: 0.97 if rate < 5 else 0.93  # noqa: E731
    (found,) = searches(
        coin_run(share), 1, SLO(ttft_s=1.0), low=0.7, high=50.0, n_cap=800, max_requests=2000
    )
    assert found.stopped == "max_requests"
    assert found.n_requests <= 2000


def test_a_search_of_few_requests_uses_them_in_shorter_steps():
    share = lambda rate: 0.999 if rate < 5 else 0.5  # noqa: E731
    (found,) = searches(
        coin_run(share), 1, SLO(ttft_s=1.0), low=0.7, high=50.0, n_first=100, max_requests=2000,
        n_cap=2000,
    )  # fmt: skip
    assert len(found.steps) >= 6
    assert (found.passing_per_s or 0) < 5 <= found.failing_per_s
    assert found.n_requests <= 2000


def test_what_ends_a_search_takes_nothing_from_what_it_found():
    measure, rng, sent = coin_run(lambda rate: 0.97), np.random.default_rng(1), []

    def few(rate, n):
        if len(sent) == 3:
            raise goodput.EndOfSearch("spend cap")
        sent.append(n)
        return measure(rate, n, rng)

    found = max_goodput(few, SLO(ttft_s=1.0), 1.5, 33.3, n_first=100)
    assert found.stopped == "spend cap"
    assert found.steps["n"].sum() == found.n_requests == sum(sent)  # an unfinished step is kept


def test_a_failure_is_never_good_and_a_queue_in_the_client_counts():
    samples = run_of([0.0, 0.0, 0.0], [0.1, 0.1, 0.9], [0.2, 0.2, 1.0]).samples
    samples.loc[1, "ok"] = False
    assert (slo_margin(samples, SLO(ttft_s=0.5, e2e_s=2.0)) <= 1).tolist() == [True, False, False]


def test_an_answer_of_one_token_holds_a_limit_on_tpot_and_an_unknown_tpot_is_refused():
    slow = run_of([0.0], [0.1], [9.0], tokens=2).samples
    one = run_of([0.0], [0.1], [0.1], tokens=1).samples
    assert slo_margin(pd.concat([slow, one]), SLO(tpot_s=1.0)).tolist() == pytest.approx([8.9, 0])
    slow["output_tokens"] = np.nan
    with pytest.raises(ValueError, match="tpot_s"):
        slo_margin(slow, SLO(tpot_s=1.0))


def test_the_design_effect_is_that_of_an_autoregression():
    rng, carry = np.random.default_rng(3), 0.9
    noise = rng.standard_normal(60_000)
    latency = np.empty_like(noise)
    latency[0] = noise[0]
    for i in range(1, len(noise)):
        latency[i] = carry * latency[i - 1] + sqrt(1 - carry**2) * noise[i]
    effect = goodput._design_effect([latency[:30_000] + 9, latency[30_000:] + 9])
    assert effect == pytest.approx((1 + carry) / (1 - carry), rel=0.25)
    assert goodput._design_effect([rng.random(20_000)]) < 1.3


@pytest.mark.parametrize(
    "bad",
    [{"low": 0.0, "high": 1.0}, {"low": 2.0, "high": 1.0}, {"low": 1.0, "high": 2.0, "n_cap": 9}],
)
def test_a_search_that_cannot_end_is_refused_before_a_request_is_sent(bad):
    def measure(rate, n):
        raise AssertionError("sent")

    with pytest.raises(ValueError, match="give"):
        max_goodput(measure, SLO(ttft_s=1.0), **bad)


@pytest.mark.parametrize("bad", [{}, {"ttft_s": 0.0}, {"ttft_s": 1.0, "attainment_share": 1.0}])
def test_an_slo_that_limits_nothing_is_refused(bad):
    with pytest.raises(ValueError, match="give"):
        SLO(**bad)


# -------------------------------------------------------------------------------------------- knee


def points_of(level, throughput):
    return pd.DataFrame({"level": level, "throughput_per_s": throughput, "latency_s": level})


def test_the_knee_is_found_where_it_is_and_its_interval_holds_it():
    level, held, rng = np.arange(1.0, 13.0), 0, np.random.default_rng(5)
    for _ in range(40):
        noisy = np.minimum(level, 7.3) + 0.1 * rng.standard_normal(12)
        found = knee(points_of(level, noisy))
        assert found.saturation
        assert abs(found.level - 7.3) < 0.7
        held += found.low <= 7.3 <= found.high
    assert held >= 36


def test_a_straight_line_has_no_knee():
    level, rng = np.arange(1.0, 11.0), np.random.default_rng(6)
    even = [knee(points_of(level, level + rng.standard_normal(10))) for _ in range(40)]
    # errors that grow with load are not what the test supposes, and are what one measures
    growing = [knee(points_of(level, level * rng.normal(1, 0.05, 10))) for _ in range(40)]
    assert sum(each.saturation for each in even) <= 3
    assert sum(each.saturation for each in growing) <= 5
    assert not knee(points_of(level, 2 * level)).saturation
    assert not knee(points_of(level, np.full(10, 3.0))).saturation


def test_the_knee_of_a_queue_is_its_capacity_and_above_it_requests_pile_up():
    rng = np.random.default_rng(8)
    rates = np.arange(2.0, 18.0, 1.5)
    rows = [search.load_point(rate, queue_run(rate, 2500, rng)) for rate in rates]
    found = knee(pd.DataFrame(rows))
    assert found.saturation
    assert found.level == pytest.approx(10.0, rel=0.08)
    assert 10 < found.overloaded_from <= 12.5
    assert "the queue grows" in found.why


def test_growth_of_the_backlog_is_what_arrives_less_what_is_served():
    rng = np.random.default_rng(9)
    over = backlog_growth(queue_run(15.0, 3000, rng))
    assert over.low <= 5.0 <= over.high
    alarms = [backlog_growth(queue_run(8.0, 1000, rng)).low > 0 for _ in range(40)]
    assert sum(alarms) <= 2


def test_too_few_points_are_refused():
    with pytest.raises(ValueError, match="six points"):
        knee(points_of(np.arange(5.0), np.arange(5.0)))


# -------------------------------------------------------------------------- points for the capacity


def groups(minimum=13):
    """The bundled groups with enough usable points, each with its limit and a guess."""
    every = capacity.serving_points()
    for (model, gpu, precision, version), points in every.groupby(fit.GROUP):
        shape, card = capacity.model_shape(model), capacity.gpu(gpu)
        used = capacity.usable_points(points, shape, card, precision)
        if len(used) >= minimum:
            yield (
                used,
                shape,
                card,
                precision,
                search.guessed_curve(shape, card, precision, version),
            )


def test_chosen_points_fit_as_well_as_random_ones_in_less_gpu_time(capsys):
    rng, rows = np.random.default_rng(0), []
    for used, shape, card, precision, guess in groups():
        priced = levels._priced(guess, used, inf)

        def judge(labels, used=used, shape=shape, card=card, precision=precision, priced=priced):
            curve = capacity.fit_serving_curve(used.loc[labels], shape, card, precision)
            errors = capacity.throughput_error_share(curve, used.drop(labels))
            return (
                np.median(errors),
                errors.mean(),
                errors.max(),
                priced.loc[labels, "gpu_seconds"].sum(),
            )

        chosen = judge(search.sweep_levels(guess, used, 6, max_point_s=inf).index)
        random = np.array([judge(rng.permutation(used.index)[:6]) for _ in range(3)])
        rows.append(np.log(chosen) - np.log(random).mean(axis=0))
    median, mean, worst, gpu_s = np.exp(np.mean(rows, axis=0))
    with capsys.disabled():
        print(
            f"\nchosen against random, {len(rows)} groups, 6 points: median error x {median:.2f}, "
            f"mean x {mean:.2f}, worst x {worst:.2f}, GPU time x {gpu_s:.2f}"
        )
    assert median < 1.2
    assert mean < 1.0
    assert gpu_s < 0.85


def test_a_sweep_spans_lengths_and_concurrency_and_holds_its_promises():
    shape, card = capacity.model_shape("meta-llama/Llama-3.1-70B"), capacity.gpu("h200_sxm")
    guess = search.guessed_curve(shape, card, "fp8", "0.26.0")
    pairs = [(1024, 1024), (8192, 1024), (1155, 211)]
    candidates = search.sweep_candidates(guess, pairs, 256, 2)
    chosen = search.sweep_levels(guess, candidates, 6, max_point_s=600)
    assert len(chosen) == 6
    assert set(zip(chosen["input_tokens"], chosen["output_tokens"], strict=True)) == set(pairs)
    assert (chosen["n_requests"] >= 3 * chosen["concurrency"]).all()
    assert (chosen["seconds"] <= 601).all()
    assert chosen["concurrency"].min() == 1
    assert chosen["concurrency"].max() == 256
    steady = chosen["n_requests"] - 2 * chosen["concurrency"]
    expected = 1.96 * 1.2533 * 0.05 / np.sqrt(steady)
    assert np.allclose(chosen["half_width_share"], expected, rtol=1e-3)


def test_eight_points_go_round_three_length_pairs_twice():
    shape, card = capacity.model_shape("meta-llama/Llama-3.1-8B"), capacity.gpu("h200_sxm")
    guess = search.guessed_curve(shape, card, "bf16", "0.26.0")
    pairs = [(1024, 1024), (8192, 1024), (1155, 211)]
    chosen = search.sweep_levels(guess, search.sweep_candidates(guess, pairs, 256, 1), 8, 60)
    assert (chosen.groupby(["input_tokens", "output_tokens"]).size() >= 2).all()
    assert len(chosen.groupby(["input_tokens", "output_tokens"])) == 3


@settings(max_examples=40, deadline=None)
@given(
    max_point_s=st.floats(20, 300),
    n_points=st.integers(4, 12),
    model=st.sampled_from(["meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.1-70B"]),
)
def test_every_point_sends_enough_requests_for_its_audit_in_its_time(max_point_s, n_points, model):
    guess = search.guessed_curve(
        capacity.model_shape(model), capacity.gpu("h200_sxm"), "fp8", "0.26.0"
    )
    candidates = search.sweep_candidates(guess, [(8192, 1024), (1155, 211)], 64, 1)
    try:
        chosen = search.sweep_levels(guess, candidates, n_points, max_point_s)
    except ValueError as error:
        assert "allow more time" in str(error)  # noqa: PT017 - one of two outcomes
        return
    assert 4 <= len(chosen) <= n_points
    assert (chosen["n_requests"] >= np.maximum(3 * chosen["concurrency"], 12)).all()
    assert (chosen["seconds"] <= max_point_s + 1).all()


def test_where_fewer_points_are_in_time_those_are_taken():
    shape, card = capacity.model_shape("meta-llama/Llama-3.1-70B"), capacity.gpu("h200_sxm")
    guess = search.guessed_curve(shape, card, "fp8", "0.26.0")
    candidates = search.sweep_candidates(guess, [(1155, 211)], 256, 1)
    chosen = search.sweep_levels(guess, candidates, 8, max_point_s=60)
    assert len(chosen) == 5


def test_a_sweep_without_time_or_memory_says_so():
    shape, card = capacity.model_shape("meta-llama/Llama-3.1-70B"), capacity.gpu("h100_sxm")
    guess = search.guessed_curve(shape, card, "bf16", "0.26.0")
    with pytest.raises(ValueError, match="no request of the lengths"):
        search.sweep_candidates(guess, [(1024, 1024)], 64, 1)
    candidates = search.sweep_candidates(guess, [(1024, 1024)], 64, 4)
    with pytest.raises(ValueError, match="allow more time"):
        search.sweep_levels(guess, candidates, 6, max_point_s=5)


# ----------------------------------------------------------------------------------- serving points

FACTS = {
    "tool": {"name": "llmstudy", "version": "0.1.0"},
    "started_at": "2026-11-23T10:00:00+00:00",
    "endpoint": {"model": "bench", "engine": "vllm", "engine_version": "0.26.0"},
    "serving": {
        "model": "meta-llama/Llama-3.1-70B",
        "gpu": "h200_sxm",
        "precision": "fp8",
        "tensor_parallel": 2,
        "kv_dtype": "auto",
        "prefix_caching": False,
        "weights": "dummy",
    },
}


def closed_run(workers, n, rng, spread=0.0, step_s=0.01, tokens=101, ramp_s=0.0):
    """A batch server in closed loop: a token takes a fixed step and a share per request beside it.

    The load is what the worker finds when its request starts, so that ramp-up and drain are faster.
    """
    free = [(ramp_s * i, i) for i in range(workers)]
    heapq.heapify(free)
    sent, first, done = [], [], []
    for _ in range(n):
        now, worker = heapq.heappop(free)
        beside = 1 + sum(end > now for end in done[-2 * workers :])
        tpot_s = step_s * (1 + 0.1 * beside) * rng.normal(1, spread)
        sent.append(now)
        first.append(now + 0.2)
        done.append(now + 0.2 + tpot_s * (tokens - 1))
        heapq.heappush(free, (done[-1], worker))
    load = {"process": "closed", "concurrency": workers, "n": n, "warmup_n": 0}
    run = run_of(sent, first, done, tokens=tokens, **FACTS, load=load)
    run.samples["input_tokens"] = 1024.0
    return run


def test_trimming_leaves_requests_that_obey_littles_law():
    workers = 16
    run = closed_run(workers, 800, np.random.default_rng(2), spread=0.05, ramp_s=0.4)
    steady = steady_state(run)
    begin, end = steady["dispatched_s"].min(), steady["done_s"].max()
    rate = run.samples["done_s"].between(begin, end).sum() / (end - begin)
    lasting_s = (steady["done_s"] - steady["dispatched_s"]).mean()
    assert rate * lasting_s == pytest.approx(workers, rel=0.02)
    assert 800 - 3 * workers <= len(steady) < 800 - workers
    whole = run.samples["done_s"] - run.samples["dispatched_s"]
    assert whole.mean() < lasting_s  # the ramp found an idle server


@settings(max_examples=40, deadline=None)
@given(
    workers=st.integers(1, 12),
    n=st.integers(1, 60),
    spread=st.floats(0, 0.3),
    ramp_s=st.floats(0, 0.1),
)
def test_beside_every_request_in_steady_state_all_workers_are_busy(workers, n, spread, ramp_s):
    run = closed_run(workers, n, np.random.default_rng(0), spread, ramp_s=ramp_s)
    if n <= workers:
        with pytest.raises(ValueError, match="three times"):
            steady_state(run)
        return
    try:
        steady = steady_state(run)
    except ValueError:
        assert n < 5 * workers  # up to two of them pass while the last starts
        return
    sent, done = run.samples["dispatched_s"].to_numpy(), run.samples["done_s"].to_numpy()
    for at in np.linspace(steady["dispatched_s"].min(), steady["done_s"].max(), 50)[1:-1]:
        assert ((sent <= at) & (done >= at)).sum() >= workers


def test_runs_become_serving_points_that_the_capacity_fit_reads():
    rng = np.random.default_rng(4)
    runs = [closed_run(c, 4 * c + 40, rng, ramp_s=0.01) for c in (2, 4, 8, 16)]
    rows = pd.DataFrame([search.serving_point(run) for run in runs])
    bundled = capacity.serving_points()
    assert set(bundled.columns) <= set(rows.columns)
    assert rows["tpot_ms"].tolist() == pytest.approx([12.0, 14.0, 18.0, 26.0], rel=1e-6)
    assert rows["ttft_ms"].tolist() == pytest.approx([200.0] * 4)
    assert rows["measured"].unique().tolist() == ["2026-11-23"]
    shape, card = capacity.model_shape("meta-llama/Llama-3.1-70B"), capacity.gpu("h200_sxm")
    curve = capacity.fit_serving_curve(rows, shape, card, "fp8")
    assert curve.n_fit == 4
    assert curve.engine_version == "0.26.0"


def test_settings_of_one_model_never_share_a_point_id():
    run = closed_run(4, 60, np.random.default_rng(0), ramp_s=0.01)

    def point(**serving):
        return search.serving_point(
            Run(run.samples, {**run.facts, "serving": FACTS["serving"] | serving})
        )

    plain, adapted = point(variant="llama fp8 tp2"), point(variant="llama fp8 tp2 lora", lora=True)
    assert plain["point_id"] != adapted["point_id"]
    assert " " not in adapted["point_id"]
    assert (plain["lora"], adapted["lora"]) == (False, True)


def test_a_run_that_cannot_be_a_serving_point_is_refused_with_the_reason():
    run = closed_run(4, 60, np.random.default_rng(0))
    open_loop = Run(run.samples, {**run.facts, "load": {**run.facts["load"], "process": "poisson"}})
    with pytest.raises(ValueError, match="closed loop"):
        search.serving_point(open_loop)
    bare = Run(run.samples, {**run.facts, "serving": {"gpu": "h200_sxm"}})
    with pytest.raises(ValueError, match="the run lacks precision"):
        search.serving_point(bare)

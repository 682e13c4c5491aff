"""Fleets sized by replay: what the search finds is checked by replaying beside it."""

from dataclasses import replace
from math import inf
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from llmstudy.measures.capacity import CannotServe, capacity_at_slo, replicas
from llmstudy.measures.capacity.replay import engine, fleet
from llmstudy.measures.capacity.sizing import (
    Burstiness,
    Plan,
    Service,
    Traffic,
    autoscaled,
    base_load_split,
    burstiness_of,
    cheapest_split,
    draw,
    ladder,
    needed_by_hour,
    outstanding_at,
    published_burstiness,
    replay_week,
    scheduled,
    smallest_replicas,
    static,
    sustainable_utilisation,
    sustained_requests_per_s,
)
from llmstudy.measures.capacity.sizing import peak as peak_module
from llmstudy.measures.capacity.sizing.week import _orders, _Stretch
from llmstudy.measures.capacity.slo import Slo, holds, percentiles
from llmstudy.measures.cost import requests_per_replica

STEADY = Burstiness(0.0, 0.0)
BURSTY = Burstiness(0.2, 0.15)
HOURS = np.arange(168)
DAY = 1 + 0.6 * np.sin(2 * np.pi * HOURS / 24)
"""A week whose days are alike: 1.6 times the mean at six, 0.4 times at eighteen."""


@pytest.fixture(scope="module")
def service(truth):
    found = capacity_at_slo(truth, 1155, 211, 0.05, 2)
    slo = Slo(ttft_p95_s=1.0, tpot_p95_s=0.05)
    return Service(truth, 2, engine(truth, 2, found.concurrency), slo, found.requests_per_s)


def traffic(requests_per_s, burstiness=BURSTY):
    rng = np.random.default_rng(6)
    inputs, outputs = rng.integers(200, 2_110, 500), rng.integers(20, 402, 500)
    return Traffic(requests_per_s, inputs, outputs, 0 * inputs, burstiness)


# ---- what arrives --------------------------------------------------------------------------------


def test_a_draw_has_the_rates_and_the_burstiness_asked_for():
    rates = np.repeat([2.0, 8.0, 4.0, 0.0] * 12, 6)
    drawn = draw(traffic(DAY), rates, 600.0, 3)
    hour = (drawn["arrival_s"] // 3600).astype(int) % 4
    per_s = hour.value_counts() / (12 * 3600)
    assert per_s.reindex([0, 1, 2]).tolist() == pytest.approx([2, 8, 4], rel=0.06)
    assert 3 not in per_s
    assert drawn["arrival_s"].is_monotonic_increasing
    flat = draw(traffic(DAY), np.full(600, 6.0), 600.0, 4)
    found = burstiness_of(flat["arrival_s"])
    assert found.cv_10min == pytest.approx(0.2, rel=0.15)
    assert found.cv_10s == pytest.approx(0.15, rel=0.15)


def test_poisson_arrivals_have_no_burstiness_and_exponential_gaps():
    drawn = draw(traffic(DAY, STEADY), np.full(288, 3.0), 600.0, 5)
    gaps = drawn["arrival_s"].diff().dropna()
    assert gaps.std() / gaps.mean() == pytest.approx(1.0, abs=0.01)
    found = burstiness_of(drawn["arrival_s"])
    assert found.cv_10min < 0.02
    assert found.cv_10s < 0.05


def test_another_rate_brings_the_same_requests_at_other_times():
    slow = draw(traffic(DAY), np.full(12, 1.0), 600.0, 7)
    fast = draw(traffic(DAY), np.full(12, 2.0), 600.0, 7)
    n = len(slow)
    assert len(fast) == pytest.approx(2 * n, rel=0.05)
    lengths = ["input_tokens", "output_tokens"]
    pd.testing.assert_frame_equal(slow[lengths], fast[lengths].iloc[:n])


@pytest.mark.parametrize("shape", ["servegen-m-large", "servegen-m-small", "ragpulse"])
def test_published_bursts_reach_the_peak_that_was_seen_every_other_time(shape):
    from llmstudy import paths
    from llmstudy.requests.draw import hourly_shape

    table = pd.read_csv(paths.data("traffic_shape.csv"))
    row = table[table["trace"].str.replace(" ", "-") == shape].iloc[0]
    relative = np.repeat(hourly_shape(shape)["relative_to_mean"].to_numpy(), 6)
    cv = published_burstiness(shape).cv_10min
    rng = np.random.default_rng(9)
    per_window = row["requests"] / row["span_h"] / 6 if row["requests"] > 0 else 1e6
    rates = relative * rng.gamma(cv**-2, cv**2, (400, len(relative)))
    peaks = rng.poisson(per_window * rates).max(axis=1) / per_window
    seen = row["peak_to_mean_10min"] - 0.005  # as it is rounded in the table
    assert (peaks >= seen).mean() == pytest.approx(0.5, abs=0.08)


def test_a_shape_of_unknown_peaks_is_an_error_that_says_so():
    with pytest.raises(ValueError, match="ten-minute peak of 'mine'"):
        published_burstiness("mine")


# ---- the peak hour -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def quick():
    """Shorter replays of the peak, so that these tests take seconds."""
    patch = pytest.MonkeyPatch()
    patch.setattr(peak_module, "PEAK_REQUESTS", 12_000)
    yield
    patch.undo()


def test_one_replica_fewer_than_the_smallest_fleet_misses_the_slo(service, quick):
    load = traffic(DAY)
    found = smallest_replicas(service, load, 25.0, seed=1)
    assert found >= 25.0 / service.capacity_requests_per_s
    # the search and this replay draw the same peak
    assert peak_module.holds_at(service, load, found, 25.0, 1)
    assert not peak_module.holds_at(service, load, found - 1, 25.0, 1)


def test_the_peak_hour_buys_the_fleet_that_holds_its_bursts_and_a_peak_of_minutes_too_many(
    service, quick
):
    """RAGPulse: 3.48 times the mean in its busiest hour, 5.96 in its busiest ten minutes."""
    load = traffic(DAY, published_burstiness("ragpulse"))
    mean_per_s, a_month = 8.0, 730 * 3600
    replayed = smallest_replicas(service, load, 3.48 * mean_per_s, seed=1)
    (share,) = sustainable_utilisation(service, load, [replayed], seed=1)

    def bought(peak_to_mean):
        carries = requests_per_replica(service.capacity_requests_per_s, peak_to_mean, share)
        return replicas(mean_per_s * a_month, carries, 1.0, spare=0, minimum=1)

    assert bought(3.48) == replayed
    assert bought(5.96) >= 1.5 * replayed


def test_a_fleet_sustains_what_it_is_said_to_and_little_more(service, quick):
    load = traffic(DAY)
    rate = sustained_requests_per_s(service, load, 3, seed=1)
    assert peak_module.holds_at(service, load, 3, rate, 1)
    assert not peak_module.holds_at(service, load, 3, 1.06 * rate, 1)
    assert smallest_replicas(service, load, 0.98 * rate, seed=1) <= 3


def test_larger_fleets_may_be_fuller_and_bursts_cost_capacity(service, quick):
    calm = sustainable_utilisation(service, traffic(DAY, STEADY), [1, 8], seed=1)
    bursty = sustainable_utilisation(service, traffic(DAY, BURSTY), [1, 8], seed=1)
    assert 0.4 < calm[0] < calm[1] <= 1
    assert (bursty < calm).all()


def test_a_part_of_a_large_fleet_stands_for_it(service, monkeypatch):
    monkeypatch.setattr(peak_module, "PEAK_REQUESTS", 60_000)
    load = traffic(DAY, STEADY)
    whole = draw(load, np.full(6, 64 * 5.0), 60.0, 2)
    part = draw(load, np.full(6, 16 * 5.0), 60.0, 2)
    tables = [service.replayed(x, fleet(n))[0] for x, n in ((whole, 64), (part, 16))]
    for name in ("ttft_s", "tpot_s", "e2e_s"):
        all_, some = (percentiles(table[name], [0.5, 0.95]) for table in tables)
        assert some == pytest.approx(all_, rel=0.06)


def test_an_slo_that_no_fleet_holds_is_an_error_that_says_so(service, quick):
    strict = replace(service, slo=Slo(ttft_p95_s=0.02, tpot_p95_s=0.05))
    with pytest.raises(CannotServe, match="replicas miss the SLO"):
        smallest_replicas(strict, traffic(DAY), 3.0, seed=1)


# ---- the week ------------------------------------------------------------------------------------


def test_hours_need_what_their_load_asks_for():
    needed = needed_by_hour(np.array([0.0, 1.0, 1.01, 5.9, 9.9]), [1, 2, 4, 5], [1, 2.4, 5.6, 8])
    # three replicas are interpolated to 1.3 requests/s each
    assert needed.tolist() == [1, 1, 2, 5, 5]
    assert ladder(1) == [1]
    assert ladder(7) == [1, 2, 3, 4, 6, 7]


def test_replicas_are_ordered_a_boot_before_the_hour_that_wants_them():
    wanted = np.ones(168, dtype=np.int64)
    wanted[[10, 11]] = 3
    times, counts = _orders(wanted, _Stretch(8, 6, 0.0, 1.0), boot_s=300.0)
    assert list(zip(times, counts, strict=True)) == [(0, 1), (2 * 3600 - 300, 3), (4 * 3600, 1)]
    times, counts = _orders(wanted, _Stretch(12, 1, 1200.0, 1.0), boot_s=300.0)
    assert list(zip(times, counts, strict=True)) == [(0, 3), (1200, 1)]


@pytest.fixture(scope="module")
def fleets(service, quick):
    """A quarter of a million requests on three kinds of fleet."""
    load = traffic(5.0 * DAY)
    most = smallest_replicas(service, load, 8.0, seed=1)
    sizes = ladder(most)
    rates = [sustained_requests_per_s(service, load, n, 1) for n in sizes]
    needed = needed_by_hour(load.requests_per_s, sizes, rates)
    aim = outstanding_at(service, load, most, rates[-1], 1)
    plans = [static(most, 1, 300), scheduled(needed, 1, 300), autoscaled(needed, 1, 300, aim)]
    return {p.kind: replay_week(service, load, p, 1, most_requests=40_000) for p in plans}, most


def test_a_schedule_pays_for_fewer_hours_and_still_holds_the_slo(fleets):
    found, most = fleets
    assert most >= 2
    assert found["static"].replicas.tolist() == [most + 1] * 168
    assert found["scheduled"].replica_hours < 0.9 * found["static"].replica_hours
    for week in found.values():
        assert week.latency["slo_attainment_share"] > 0.95
        assert (
            week.latency["ttft_p50_s"] <= week.latency["ttft_p95_s"] <= week.latency["ttft_p99_s"]
        )
        assert 2 <= week.replicas.min() <= week.replicas.max() <= most + 1
        assert 0 < week.utilisation < week.busy_share <= 1
    assert found["static"].utilisation < found["scheduled"].utilisation


def test_utilisation_is_load_over_capacity_paid_for(fleets, service):
    found, most = fleets
    capacity = (most + 1) * service.capacity_requests_per_s
    assert found["static"].utilisation == pytest.approx(5.0 / capacity, rel=1e-6)


def test_sampled_hours_stand_for_the_whole_week(service):
    load = traffic(1.2 * DAY, STEADY)
    plan = static(1, 0, 0.0)
    whole = replay_week(service, load, plan, 2, most_requests=10**9)
    some = replay_week(service, load, plan, 2, most_requests=60_000)
    assert whole.simulated_hours == 168
    assert some.simulated_hours < 30
    assert whole.simulated_requests == pytest.approx(1.2 * 168 * 3600, rel=0.01)
    for name in ("ttft_p50_s", "ttft_p95_s", "e2e_p50_s", "e2e_p95_s", "e2e_p99_s"):
        assert some.latency[name] == pytest.approx(whole.latency[name], rel=0.06)


def test_a_log_is_replayed_as_it_was(service):
    times = np.sort(np.random.default_rng(3).uniform(0, 168 * 3600, 3_000))
    rows = {"arrival_s": times, "input_tokens": 500, "output_tokens": 50, "cached_tokens": 0}
    load = replace(traffic(np.full(168, 3_000 / 168 / 3600)), logged=pd.DataFrame(rows))
    found = replay_week(service, load, static(1, 0, 0.0), 1)
    alone_s = float(service.curve.prefill_s(500, 2))
    alone_s += 49 * float(service.curve.decode_step_s(1, 500, 50, 2))
    assert found.simulated_requests == 3_000
    assert found.latency["e2e_p50_s"] == pytest.approx(alone_s, rel=1e-6)


def test_failures_are_paid_for_and_make_somebody_wait(service):
    load = traffic(np.full(168, 0.2), STEADY)
    sound = replay_week(service, load, static(1, 0, 0.0), 3)
    broken = replay_week(service, load, static(1, 0, 0.0), 3, mtbf_s=20 * 3600, mttr_s=1800)
    assert broken.replica_hours == sound.replica_hours == 168
    assert broken.latency["ttft_p99_s"] > 60 > sound.latency["ttft_p99_s"]
    assert broken.latency["ttft_p99_s"] < inf


# ---- base load and peaks -------------------------------------------------------------------------


def test_what_a_fleet_leaves_to_the_api_falls_with_its_size_and_the_rest_is_in_slo(service):
    load = traffic(8.0 * DAY)
    split = base_load_split(service, load, [0, 1, 2, 3], 1, most_requests=30_000)
    assert split["api_share"].tolist()[0] == 1
    assert split["api_share"].is_monotonic_decreasing
    assert (split["api_share"] + split["fleet_share"]).tolist() == pytest.approx([1] * 4)
    # a replica cannot serve more than it has capacity for, and is nearly full on a flat base
    served_per_s = split["fleet_share"].iloc[1] * 8.0
    assert 0.8 < served_per_s / service.capacity_requests_per_s <= 1
    assert (split["slo_attainment_share"].iloc[1:] > 0.9).all()


def test_the_cheapest_split_is_the_least_sum_of_both_bills():
    sizes, shares = np.arange(5), np.array([1.0, 0.6, 0.3, 0.1, 0.0])
    for usd in (1e-4, 1e-3, 5e-3, 5e-2):
        rent, api, best = cheapest_split(sizes, shares, 1e6, 1_000, 300, usd)
        sums = [
            n * 1_000 + (300 if n else 0) + s * 1e6 * usd
            for n, s in zip(sizes, shares, strict=True)
        ]
        assert (rent + api).tolist() == pytest.approx(sums)
        assert best == int(np.argmin(sums))


def test_a_plan_is_what_was_needed_and_its_spares():
    needed = np.array([1, 3] * 84)
    assert static(3, 1, 0).replicas.tolist() == [4] * 168
    assert scheduled(needed, 1, 0).replicas.tolist() == [2, 4] * 84
    rule = autoscaled(needed, 1, 0, 20.0).autoscaler
    assert isinstance(autoscaled(needed, 1, 0, 20.0), Plan)
    assert (rule.least, rule.most, rule.spare) == (2, 4, 1)


def test_holding_the_slo_is_about_both_parts(service):
    table, _ = service.replayed(draw(traffic(DAY), np.full(6, 2.0), 100.0, 1), fleet(1))
    ttft_s, tpot_s = (percentiles(table[c].dropna(), [0.95])[0] for c in ("ttft_s", "tpot_s"))
    assert holds(table, Slo(ttft_s, tpot_s))
    assert not holds(table, Slo(0.99 * ttft_s, tpot_s))
    assert not holds(table, Slo(ttft_s, 0.99 * tpot_s))


def test_a_peak_where_hardly_a_request_meets_another_takes_no_more_memory(monkeypatch):
    from llmstudy.measures.capacity.sizing import peak

    sizes = []
    monkeypatch.setattr(peak, "draw", lambda t, rates, w, seed: sizes.append(len(rates)))
    monkeypatch.setattr(peak, "holds", lambda table, slo: True)
    service = SimpleNamespace(
        capacity_requests_per_s=1.0, slo=None, replayed=lambda arrivals, of: (None, None)
    )
    for a_month in (10, 100, 1_000):
        assert peak.holds_at(service, None, 1, a_month / 2.6e6, 0)
    assert max(sizes) <= peak.MOST_WINDOWS

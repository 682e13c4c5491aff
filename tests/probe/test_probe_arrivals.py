"""Arrivals are of the process that was named: against scipy's distributions and closed forms."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from llmstudy.probe.arrivals import constant_s, gamma_s, poisson_s, ramp_s, replay_s


def gaps(times):
    return np.diff(times, prepend=0.0)


def test_poisson_gaps_are_exponential_and_know_nothing_of_each_other():
    found = gaps(poisson_s(8.0, 20_000, np.random.default_rng(1)))
    assert stats.kstest(found, stats.expon(scale=1 / 8).cdf).pvalue > 0.01
    assert abs(np.corrcoef(found[:-1], found[1:])[0, 1]) < 0.02


def test_poisson_counts_vary_as_much_as_their_mean():
    # arrivals that are rescaled to end on time, as some tools do, vary less
    rng = np.random.default_rng(2)
    counts = [(poisson_s(5.0, 200, rng) <= 10).sum() for _ in range(4_000)]
    assert np.mean(counts) == pytest.approx(50, rel=0.01)
    assert np.var(counts) == pytest.approx(50, rel=0.07)


@pytest.mark.parametrize("shape", [0.25, 0.5, 4.0])
def test_gamma_gaps_have_the_shape_asked_for(shape):
    rng = np.random.default_rng(3)
    found = gaps(gamma_s(8.0, shape, 20_000, rng))
    assert stats.kstest(found, stats.gamma(shape, scale=1 / (8 * shape)).cdf).pvalue > 0.01
    assert found.std() / found.mean() == pytest.approx(shape**-0.5, rel=0.05)
    # over long windows the index of dispersion is the squared variation of the gaps: renewal theory
    times = gamma_s(8.0, shape, 400_000, rng)
    counts = np.histogram(times, bins=np.arange(0, times[-1], 50.0))[0]
    assert counts.var() / counts.mean() == pytest.approx(1 / shape, rel=0.2)


@given(st.floats(0.01, 1e4), st.integers(1, 500))
def test_constant_arrivals_have_one_gap(rate, n):
    assert np.allclose(gaps(constant_s(rate, n)), 1 / rate)


@pytest.mark.parametrize(("start", "end"), [(0, 40), (40, 0), (10, 30), (20, 20), (20, 20 + 1e-9)])
def test_a_ramp_has_the_counts_of_its_integral(start, end):
    rng, duration = np.random.default_rng(4), 10.0
    runs = [ramp_s(start, end, duration, rng) for _ in range(1_500)]
    at = np.array([2.0, 5.0, 10.0])
    expected = start * at + (end - start) / duration * at**2 / 2
    counts = np.array([np.searchsorted(run, at) for run in runs])
    assert counts.mean(axis=0) == pytest.approx(expected, rel=0.05, abs=0.3)
    assert counts[:, 2].var() == pytest.approx(expected[2], rel=0.15)  # Poisson
    # given their number, arrivals are independent with the integral as distribution
    pooled = np.concatenate(runs[:200])
    share = (start * pooled + (end - start) / duration * pooled**2 / 2) / expected[2]
    assert stats.kstest(share, "uniform").pvalue > 0.005


@given(st.floats(0, 50), st.floats(0, 50), st.floats(0.01, 100), st.integers(0, 99))
def test_a_ramp_stays_in_its_time_and_rises(start, end, duration, seed):
    if max(start, end) < 1e-6:
        return
    found = ramp_s(start, end, duration, np.random.default_rng(seed))
    assert np.isfinite(found).all()
    assert (np.diff(found) >= 0).all()
    assert ((found >= 0) & (found <= duration * (1 + 1e-9))).all()


@pytest.mark.parametrize("scale", [0.5, 1.0, 60.0])
def test_a_replay_keeps_the_logs_gaps_in_order_and_scaled(scale):
    offsets = np.array([7.5, 0.0, 3.25, 3.25, 3_600.0])
    log = pd.Series(pd.Timestamp("2026-11-02T09:00Z") + pd.to_timedelta(offsets, unit="s"))
    assert replay_s(log, scale) == pytest.approx(np.sort(offsets) / scale)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda rng: poisson_s(0, 5, rng), "rate above 0"),
        (lambda rng: poisson_s(float("nan"), 5, rng), "rate above 0"),
        (lambda rng: constant_s(3, 0), "at least one"),
        (lambda rng: gamma_s(3, 0, 5, rng), "burstiness 0"),
        (lambda rng: ramp_s(-1, 3, 5, rng), "rates of 0 or more"),
        (lambda rng: ramp_s(0, 0, 5, rng), "not both 0"),
        (lambda rng: ramp_s(1, 2, 0, rng), "time above 0"),
        (lambda rng: replay_s(pd.Series([], dtype="datetime64[us, UTC]"), 1), "no request"),
        (lambda rng: replay_s(pd.Series(pd.to_datetime(["2026-11-02T09:00Z"])), 0), "time scale 0"),
    ],
)
def test_what_is_no_arrival_process_is_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        wrong(np.random.default_rng(0))

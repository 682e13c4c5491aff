"""Growth of a log and the peak of its weeks: their intervals cover the truth, or there is none."""

import numpy as np
import pandas as pd
import pytest

from llmstudy.measures.growth import monthly_growth, weekly_peak
from llmstudy.measures.summary import summarise

WEEK = np.array([1.0, 1.1, 1.1, 1.0, 0.9, 0.4, 0.3])
LOGS = 200


def days_of(rng, days, growth, scatter, mean=1_000):
    """Requests of each day: growth, a week, a scatter of days, and chance."""
    t = np.arange(days)
    scattered = (
        mean * WEEK[t % 7] * (1 + growth) ** (t * 24 / 730) * rng.lognormal(0, scatter, days)
    )
    starts = pd.date_range("2026-06-03", periods=days, freq="D", tz="UTC").to_series()
    return starts, pd.Series(rng.poisson(scattered).astype(float), starts.index)


@pytest.mark.parametrize("level", [0.9, 0.95])
@pytest.mark.parametrize("growth", [-0.08, 0.06])
def test_the_interval_of_a_growth_covers_it_as_often_as_it_says(level, growth):
    rng = np.random.default_rng(11)
    intervals = [monthly_growth(*days_of(rng, 42, growth, 0.1), level) for _ in range(LOGS)]
    coverage = np.mean([each.low <= growth <= each.high for each in intervals])
    error = np.sqrt(level * (1 - level) / LOGS)
    assert level - 2.5 * error <= coverage <= level + 3.5 * error
    assert np.mean([each.estimate for each in intervals]) == pytest.approx(growth, abs=0.02)


def requests_of(rng, days, growth):
    starts, n = days_of(rng, days, growth, 0.0, mean=80)
    times = starts.repeat(n.astype(int)) + pd.to_timedelta(
        rng.uniform(0, 86_400, int(n.sum())), "s"
    )
    return pd.DataFrame(
        {
            "workload": "chat",
            "ts_start": times.sort_values().to_numpy(),
            "input_tokens": 100,
            "output_tokens": 10,
            "cached_input_tokens": pd.array([pd.NA] * len(times), "Int64"),
            "ok": True,
            "failed_attempts": pd.array([pd.NA] * len(times), "Int64"),
        }
    ).astype({"ts_start": "datetime64[us, UTC]"})


def test_four_weeks_of_requests_give_a_growth_and_fewer_none():
    rng = np.random.default_rng(3)
    rows = [summarise(requests_of(rng, 30, 0.2)).iloc[0] for _ in range(40)]
    covered = sum(row.growth_per_month_low <= 0.2 <= row.growth_per_month_high for row in rows)
    assert covered >= 36
    short = summarise(requests_of(rng, 26, 0.2)).iloc[0]
    assert np.isnan(
        [short.growth_per_month, short.growth_per_month_low, short.peak_to_mean_week]
    ).all()


def test_days_in_a_hole_of_the_log_are_no_days_without_requests():
    starts, n = days_of(np.random.default_rng(5), 60, 0.1, 0.05)
    hourly = pd.date_range("2026-06-03", periods=60 * 24, freq="h", tz="UTC").to_series()
    weight = pd.Series(np.repeat(n.to_numpy() / 24, 24), hourly.index)
    there = ~hourly.between(starts.iloc[20] + pd.Timedelta(minutes=1), starts.iloc[31])
    whole, holed = monthly_growth(hourly, weight), monthly_growth(hourly[there], weight[there])
    assert holed.low < whole.estimate < holed.high
    assert abs(holed.estimate - whole.estimate) < 0.02


def test_a_day_that_repeats_has_a_flat_growth_and_one_peak():
    hours = pd.date_range("2026-06-01", periods=35 * 24, freq="h", tz="UTC").to_series()
    times = pd.concat([hours + pd.Timedelta(minutes=5), hours[hours.dt.hour == 9]])
    growth, peak = monthly_growth(times), weekly_peak(times)
    assert growth.low < 0 < growth.high
    assert growth.estimate == pytest.approx(0, abs=0.01)
    assert (peak.low, peak.estimate, peak.high) == pytest.approx((1.92,) * 3)
    assert weekly_peak(hours.dt.floor("D")) is None

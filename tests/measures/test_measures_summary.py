import numpy as np
import pandas as pd
import pytest

from llmstudy import paths
from llmstudy.measures.summary import hour_of_week, sufficiency, summarise


def _log(
    times,
    workload="chat",
    input_tokens=1_000,
    output_tokens=200,
    cached=400,
    ok=True,
    attempts=pd.NA,
):
    return pd.DataFrame(
        {
            "workload": workload,
            "ts_start": pd.DatetimeIndex(times),
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
            "cached_input_tokens": cached,
            "ok": ok,
            "failed_attempts": attempts,
        }
    )


def _every(gap, n, start="2026-11-02T00:00Z"):
    return pd.date_range(start, periods=n, freq=gap)


def test_a_regular_log_has_the_rate_and_span_that_one_counts_by_hand():
    row = summarise(_log(_every("1min", 60 * 24 * 14))).iloc[0]
    assert row["span_h"] == pytest.approx(336)
    assert row["requests_per_month"] == pytest.approx(60 * 730)
    assert row["peak_to_mean_hour"] == pytest.approx(1)
    assert row["peak_to_mean_10min"] == pytest.approx(1)
    assert row["cached_input_share"] == pytest.approx(0.4)
    assert row["covers_week"]
    month = _log(_every("2min", 30 * 24 * 28), ok=[False] + [True] * 20_159)
    assert sufficiency(summarise(month)) == []


def test_a_failed_attempt_is_in_the_requests_or_in_the_retry_share():
    rows = summarise(_log(_every("1min", 40), ok=[True, True, False, True] * 10)).iloc[0]
    assert (rows["requests"], rows["retry_share"]) == (40, 0)
    attempts = pd.array([2, pd.NA, 0, pd.NA] * 10, "Int64")
    told = summarise(_log(_every("1min", 40), attempts=attempts)).iloc[0]
    assert (told["requests"], told["retry_share"]) == (40, pytest.approx(0.5))
    assert np.isnan(summarise(_log(_every("1min", 40)))["retry_share"][0])


def test_each_workload_is_summed_up_by_itself():
    log = pd.concat([_log(_every("1min", 90), "a"), _log(_every("1h", 30), "b", 10, ok=False)])
    rows = summarise(log).set_index("workload")
    assert rows["requests"].to_dict() == {"a": 90, "b": 30}
    assert rows["input_tokens_mean"].to_dict() == {"a": 1_000, "b": 10}
    assert rows["failed_share"].to_dict() == {"a": 0, "b": 1}


def test_the_interval_holds_the_true_mean_as_often_as_it_says_when_days_differ():
    rng = np.random.default_rng(5)
    logs, days, per_day = 150, 20, 40
    day_effect = rng.normal(0, 200, (logs, days, 1))
    tokens = 1_000 + day_effect + rng.normal(0, 200, (logs, days, per_day))
    times = _every("36min", days * per_day)
    rows = summarise(
        _log(
            np.tile(times, logs),
            np.repeat(np.arange(logs), len(times)),
            input_tokens=tokens.ravel(),
        )
    )
    covered = (rows["input_tokens_mean_low"] <= 1_000) & (rows["input_tokens_mean_high"] >= 1_000)
    assert 0.91 <= covered.mean() <= 0.99
    # what an interval that counts requests would have made of it
    naive = 1.96 * tokens.reshape(logs, -1).std(axis=1) / np.sqrt(days * per_day)
    assert np.mean(abs(tokens.mean(axis=(1, 2)) - 1_000) <= naive) < 0.6


def test_the_interval_of_equal_independent_blocks_is_the_t_interval_of_their_means():
    tokens = np.random.default_rng(2).integers(100, 2_000, 10 * 60)
    row = summarise(_log(_every("1min", 600), input_tokens=tokens)).iloc[0]
    means = tokens.reshape(10, 60).mean(axis=1)
    half = 2.2621571628 * means.std(ddof=1) / np.sqrt(10)  # t with 9 degrees of freedom
    assert row["input_tokens_mean_high"] - row["input_tokens_mean"] == pytest.approx(half)


def test_an_hour_of_log_is_cut_into_ten_windows():
    tokens = np.repeat([100, 300], 30)
    row = summarise(_log(_every("1min", 60), input_tokens=tokens)).iloc[0]
    half = 2.2621571628 * np.repeat([100, 300], 5).std(ddof=1) / np.sqrt(10)
    assert row["input_tokens_mean_high"] - row["input_tokens_mean"] == pytest.approx(half)


def test_what_a_short_log_cannot_tell_is_null():
    row = summarise(_log(_every("1min", 60))).iloc[0]
    assert row[["peak_to_mean_hour", "input_tokens_p95", "output_tokens_p95"]].isna().all()
    assert row["peak_to_mean_10min"] == pytest.approx(1)
    single = summarise(_log(_every("1min", 1))).iloc[0]
    assert (
        single[["requests_per_month", "input_tokens_mean_low", "peak_to_mean_10min"]].isna().all()
    )
    assert single["input_tokens_mean"] == 1_000


def test_the_cached_share_is_of_the_input_whose_cache_is_logged():
    cached = pd.array([500, None] * 10, dtype="Int64")
    assert summarise(_log(_every("1min", 20), cached=cached))["cached_input_share"][0] == 0.5
    assert summarise(_log(_every("1min", 20), cached=pd.NA))["cached_input_share"].isna()[0]


def test_the_week_of_ragpulse_has_its_published_peak_hour():
    hourly = pd.read_csv(paths.data("ragpulse_hourly.csv"))
    hours = np.repeat(hourly["hour"], hourly["requests"])
    within = np.random.default_rng(1).random(len(hours))
    times = pd.Timestamp("2026-11-02", tz="UTC") + pd.to_timedelta(hours + within, unit="h")
    row = summarise(_log(times)).iloc[0]
    assert 3.44 <= row["peak_to_mean_hour"] <= 3.48
    assert row["covers_week"]


@pytest.mark.parametrize(("hours", "covers"), [(167, False), (168, True)])
def test_a_log_covers_the_week_once_it_touches_each_of_its_hours(hours, covers):
    times = _every("1h", hours, "2026-11-04T12:01:22Z")
    assert bool(summarise(_log(times))["covers_week"][0]) is covers


@pytest.mark.parametrize(
    ("hours", "sentence"),
    [
        (
            1,
            "1.0 hours of log for chat cannot size a fleet: they hold no night, no weekend and no "
            "trend; collect at least 168 hours.",
        ),
        (
            100,
            "100.0 hours of log for chat cannot size a fleet: they hold no whole week and no "
            "trend; collect at least 168 hours.",
        ),
    ],
)
def test_a_log_too_short_to_size_a_fleet_says_so(hours, sentence):
    assert sufficiency(summarise(_log(_every("3min", 20 * hours)))) == [sentence]


def test_a_log_without_failures_or_cache_says_so():
    sentences = sufficiency(summarise(_log(_every("5min", 12 * 24 * 14), cached=pd.NA)))
    assert sentences == [
        "14 days of log for chat show no growth: the study's own stands in; collect at least 28 "
        "days without a hole.",
        "None of the 4,032 requests of chat failed: check that the log keeps failures.",
        "The log of chat does not say which input tokens came from the cache: the study's own "
        "share stands in.",
    ]


def test_no_requests_are_an_error_that_says_so():
    with pytest.raises(ValueError, match="no requests"):
        summarise(_log([]))


def test_the_week_profile_finds_the_weekend_wherever_the_log_begins():
    minutes = _every("1min", 60 * 24 * 17, "2026-11-04T12:01:22Z")
    times = minutes[(minutes.day_of_week < 5) | (minutes.minute % 10 == 0)]
    rate = hour_of_week(_log(times)).set_index("hour_of_week")["requests_per_s"]
    assert rate.index.tolist() == list(range(168))
    assert rate[:120].to_numpy() == pytest.approx(1 / 60, rel=0.02)
    assert rate[120:].to_numpy() == pytest.approx(1 / 600, rel=0.1)


def test_a_week_profile_needs_a_week():
    with pytest.raises(ValueError, match=r"100 requests over 100\.0 h do not cover a week"):
        hour_of_week(_log(_every("1h", 100)))


def _holed(first, last, days=21):
    """A request each 10 minutes, but for the days of November from first to last."""
    times = _every("10min", 144 * days)
    return times[(times.day < first) | (times.day > last)]


def test_a_hole_in_the_log_counts_as_no_time():
    row = summarise(_log(_holed(6, 10))).iloc[0]
    assert row["requests_per_month"] == pytest.approx(6 * 730, rel=1e-3)
    assert row["span_h"] == pytest.approx(16 * 24, rel=1e-3)
    assert row["hole_share"] == pytest.approx(5 / 21, abs=1e-3)
    assert row["peak_to_mean_hour"] == pytest.approx(1, abs=0.01)
    assert row["covers_week"]
    rates = hour_of_week(_log(_holed(6, 10)))["requests_per_s"]
    assert rates.to_numpy() == pytest.approx(1 / 600, rel=0.2)


def test_a_week_with_a_hole_is_no_week():
    assert not summarise(_log(_holed(4, 8, days=9)))["covers_week"][0]


def test_a_job_once_a_week_is_quiet_between_and_has_no_holes():
    jobs = [_every("1min", 90, f"2026-11-{day:02d}T03:00Z") for day in (2, 9, 16, 23)]
    row = summarise(_log(jobs[0].append(jobs[1:]))).iloc[0]
    assert row["hole_share"] == 0
    assert row["span_h"] == pytest.approx(3 * 168, rel=0.02)


def test_times_cut_to_the_day_cover_their_days_and_tell_of_no_hour():
    row = summarise(_log(_every("1min", 1_440 * 14).floor("D"))).iloc[0]
    assert row["requests_per_month"] == pytest.approx(60 * 730)
    assert not row["covers_week"]

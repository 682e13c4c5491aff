"""What a log tells of its groups beside sums: against the same figures worked out by pandas."""

import numpy as np
import pandas as pd
import pytest

import llmstudy.measures.requests_summary as module
from llmstudy.cli.requests_tables import sentence
from llmstudy.measures.requests_behaviour import behaviour_by, requests_table
from llmstudy.measures.summary import summarise
from llmstudy.requests.schema import conform

START = pd.Timestamp("2026-09-01", tz="UTC")


def log(n=6_000, days=3, seed=1, **columns):
    rng = np.random.default_rng(seed)
    seconds = np.sort(rng.integers(0, days * 86_400, n))
    return pd.DataFrame(
        {
            "ts_start": START + pd.to_timedelta(seconds, unit="s"),
            "workload": rng.choice(["chat", "extraction"], n),
            "tenant": rng.choice([*"abcdefg", None], n),
            "session_id": rng.choice([f"s{i}" for i in range(900)], n),
            "provider": "openai",
            "model_requested": "gpt-4o",
            "model_served": rng.choice(["gpt-4o-2024-08-06", "gpt-4o-mini"], n, p=[0.9, 0.1]),
            "input_tokens": 1_000,
            "output_tokens": 100,
            "tool_calls": pd.array(rng.choice([0, 2, None], n), dtype="Int64"),
            "ok": rng.random(n) > 0.03,
            "failed_attempts": pd.array(rng.choice([0, 0, 1], n), dtype="Int64"),
        }
        | columns
    )


@pytest.mark.parametrize("rows_at_once", [1_000_000_000, 900])
@pytest.mark.parametrize("by", [["workload"], ["workload", "tenant"], ["day"]])
def test_each_group_is_described_as_if_it_were_alone(monkeypatch, by, rows_at_once):
    monkeypatch.setattr(module, "_ROWS_AT_ONCE", rows_at_once)
    frame = log()
    rows, groups = behaviour_by(frame, by), frame.assign(day=frame["ts_start"].dt.floor("D"))
    grouped = groups.groupby(by, dropna=False)
    assert len(rows) == grouped.ngroups
    for row in rows.to_dict("records"):
        part = grouped.get_group(tuple(row[name] for name in by))
        fallback = part["model_served"] == "gpt-4o-mini"
        assert row["retry_share"] == pytest.approx(part["failed_attempts"].mean())
        assert row["retry_usd"] == pytest.approx(
            (part["failed_attempts"] * np.where(fallback, 0.21, 3.5)).sum() / 1e3,
            rel=0.01,
        )
        assert row["fallback_share"] == pytest.approx(
            (part["model_served"] == "gpt-4o-mini").mean()
        )
        assert row["tool_calls_per_request"] == pytest.approx(part["tool_calls"].mean())
        assert row["requests_per_session"] == pytest.approx(
            len(part) / part["session_id"].nunique()
        )
        tenants = part["tenant"].value_counts(normalize=True)
        if "tenant" not in by:
            assert row["tenant_share_largest"] == pytest.approx(tenants.iloc[0])
            assert row["tenant_share_largest_5"] == pytest.approx(tenants.iloc[:5].sum())


def test_peaks_and_dispersion_are_those_of_windows_of_the_clock():
    minutes = pd.date_range(START, periods=4 * 24 * 60, freq="min")
    times = minutes.append(minutes[minutes.minute == 30].repeat(60)) + pd.Timedelta(seconds=3)
    frame = log(len(times), ts_start=times, workload="chat")
    row = behaviour_by(frame).iloc[0]
    counts = np.where(minutes.minute == 30, 61, 1)
    assert row["peak_to_mean_1h"] == pytest.approx(1, rel=0.01)
    assert row["peak_to_mean_1min"] == pytest.approx(61 / counts.mean(), rel=0.01)
    assert row["peak_to_mean_10s"] == pytest.approx(61 / counts.mean() * 6, rel=0.01)
    assert row["dispersion_1min"] == pytest.approx(counts.var(ddof=1) / counts.mean(), rel=0.01)


def test_requests_that_come_by_chance_have_a_dispersion_of_one():
    assert behaviour_by(log(60_000), []).iloc[0]["dispersion_1min"] == pytest.approx(1, abs=0.06)


def test_errors_are_named_with_their_share_the_commonest_first():
    error = np.array([None, "timeout", "rate_limit", "filter", "other"], dtype=object)
    which = np.repeat([0, 1, 2, 3, 4], [80, 5, 8, 4, 3])
    frame = log(100, workload="chat", error=error[which], ok=which == 0)
    assert behaviour_by(frame).iloc[0]["errors"] == [
        {"error": "rate_limit", "share": 0.08},
        {"error": "timeout", "share": 0.05},
        {"error": "filter", "share": 0.04},
    ]


def test_an_alias_cannot_tell_whether_a_fallback_served():
    row = behaviour_by(log(500, model_requested="prod-chat"), []).iloc[0]
    assert row["alias_share"] == 1
    assert np.isnan(row["fallback_share"])


def test_what_a_log_does_not_tell_is_null_and_never_zero():
    named = ["ts_start", "workload", "provider", "model_served", "input_tokens", "output_tokens"]
    row = requests_table(log()[named]).iloc[0]
    empty = ["retry_share", "retry_usd", "tenant_share_largest", "tenant_share_largest_5"]
    empty += ["fallback_share", "alias_share", "tool_calls_per_request", "requests_per_session"]
    empty += ["growth_per_month", "cached_input_share", "latency_s_p50"]
    assert row[empty].isna().all()
    assert row["errors"] == []


def test_times_of_a_day_have_no_peak_but_a_growth():
    days = pd.date_range(START, periods=60, freq="D")
    growing = 1_000 * 1.1 ** (np.arange(60) / 30.4)
    row = behaviour_by(log(60, ts_start=days, workload="chat", n_requests=growing)).iloc[0]
    assert row[["peak_to_mean_10s", "peak_to_mean_1min", "peak_to_mean_1h"]].isna().all()
    assert row["growth_per_month_low"] < 0.1 < row["growth_per_month_high"]


def test_retries_are_billed_where_they_used_tokens_and_counted_where_they_did_not():
    # of 4 requests one took 3 attempts, of which one failed attempt used tokens
    frame = log(4, workload="chat", ok=True).assign(
        attempts=pd.array([3, 1, 1, 1], "Int64"),
        failed_attempts=pd.array([1, None, None, None], "Int64"),
    )
    row = behaviour_by(frame).iloc[0]
    assert (row["retry_share"], row["attempts_per_request"]) == (1 / 4, 6 / 4)
    frame["cached_input_tokens"] = pd.array([0] * 4, "Int64")
    assert summarise(frame)["retry_share"].tolist() == [1 / 4]


@pytest.mark.parametrize("counts", [{"ok": True}, {"ok": [True, False] * 20}, {}])
def test_both_summaries_have_the_same_retries(counts):
    frame = log(40, workload="chat", n_requests=np.tile([1.0, 4.0], 20)).assign(**counts)
    frame["cached_input_tokens"] = pd.array([0] * 40, "Int64")
    if counts:
        frame["failed_attempts"] = pd.array([None] * 40, "Int64")
    one, other = behaviour_by(frame).iloc[0]["retry_share"], summarise(frame)["retry_share"][0]
    assert one == pytest.approx(other, nan_ok=True)
    assert np.isnan(one) == (counts == {"ok": True})


def test_a_bucket_that_does_not_count_its_requests_has_tokens_and_a_bill_but_no_number():
    hours = pd.date_range(START, periods=24 * 40, freq="h")
    frame = log(len(hours), ts_start=hours, workload="chat", ok=True, input_tokens=60_000_000)
    frame = frame.assign(model_served="gemini-2.5-pro", provider="google", output_tokens=1_000_000)
    frame = conform(frame.assign(n_requests=0.0, request_id=frame.index, source="usage"))
    row = requests_table(frame).iloc[0]
    assert row["input_tokens"] == 60_000_000 * len(hours)
    assert row["usd"] == pytest.approx((60 * 1.25 + 1 * 10) * len(hours))  # prompts below 200,000
    unknown = ["requests", "unpriced_requests", "failed_share", "growth_per_month"]
    unknown += ["peak_to_mean_1h", "requests_per_session", "tenant_share_largest", "retry_share"]
    assert row[unknown].isna().all()
    assert sentence(requests_table(frame), ["workload"]).endswith("that no one counted.")


def test_a_route_is_a_group():
    rows = requests_table(log(), ["route"])
    assert rows["route"].tolist() == ["openai/gpt-4o-2024-08-06", "openai/gpt-4o-mini"]


def test_a_sampled_log_has_no_peak_and_its_requests_count_by_weight():
    sampled = behaviour_by(log(n_requests=10.0), []).iloc[0]
    assert sampled[["peak_to_mean_10s", "peak_to_mean_1h", "dispersion_1min"]].isna().all()
    assert sampled["requests_per_session"] == pytest.approx(60_000 / 900, rel=0.01)


def test_groups_too_long_for_memory_peak_and_grow_as_others_do(monkeypatch):
    frame = log(20_000).sort_values("ts_start")
    frame["ts_start"] = START + pd.to_timedelta(np.arange(20_000) * 200.1234, unit="s")
    whole = behaviour_by(frame, ["workload"])
    monkeypatch.setattr(module, "_ROWS_AT_ONCE", 1)
    timing = ["peak_to_mean_10s", "peak_to_mean_1min", "peak_to_mean_1h", "dispersion_1min"]
    counted = behaviour_by(frame, ["workload"])
    assert whole[[*timing, "growth_per_month"]].notna().all(axis=None)
    pd.testing.assert_frame_equal(counted[timing], whole[timing], rtol=1e-3)
    assert np.allclose(counted["growth_per_month"], whole["growth_per_month"], atol=2e-3)

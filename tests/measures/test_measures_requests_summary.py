"""Groups of a log: sums, bills, exact quantiles and the order statistics about them."""

import duckdb
import numpy as np
import pandas as pd
import pytest

import llmstudy.measures.requests_summary as module
from llmstudy.measures.latency import quantile_interval
from llmstudy.measures.repricing import reprice
from llmstudy.measures.requests_summary import summary_by


def log(n=3_000, seed=1):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "ts_start": pd.Timestamp("2026-11-01", tz="UTC")
            + pd.to_timedelta(np.sort(rng.integers(0, 3 * 86_400, n)), unit="s"),
            "workload": rng.choice(["chat", "extraction"], n, p=[0.8, 0.2]),
            "tenant": rng.choice(["a", "b", None], n),
            "provider": rng.choice(["openai", "vllm"], n, p=[0.9, 0.1]),
            "model_served": rng.choice(["gpt-4o", "gpt-4o-mini"], n),
            "input_tokens": rng.integers(500, 5_000, n),
            "cached_input_tokens": pd.array(rng.choice([0, 400, None], n), dtype="Int64"),
            "output_tokens": rng.integers(10, 500, n),
            "ok": rng.random(n) > 0.03,
            "latency_s": rng.lognormal(0, 1, n).round(3),
            "ttft_s": np.where(rng.random(n) < 0.5, rng.lognormal(-1, 1, n), np.nan),
        }
    )


def expected(part, metric, q):
    """The house's own quantile of one group."""
    delays = np.where(part["ok"], part[metric], np.inf)
    return quantile_interval(delays[~np.isnan(delays)], q)


def check(summary, frame, by):
    groups = frame.groupby(by, dropna=False)
    assert len(summary) == groups.ngroups
    for row in summary.to_dict("records"):
        part = groups.get_group(tuple(row[name] for name in by))
        assert row["requests"] == len(part)
        assert row["input_tokens"] == part["input_tokens"].sum()
        assert row["usd"] == pytest.approx(part["usd"].sum(min_count=1), rel=1e-12, nan_ok=True)
        assert row["unpriced_requests"] == part["usd"].isna().sum()
        assert row["failed_share"] == pytest.approx(1 - part["ok"].mean())
        counted = part[part["cached_input_tokens"].notna()]
        share = counted["cached_input_tokens"].sum() / counted["input_tokens"].sum()
        assert row["cached_input_share"] == pytest.approx(share)
        for metric in ("latency_s", "ttft_s"):
            for name, q in {"p50": 0.5, "p95": 0.95, "p99": 0.99}.items():
                estimate = expected(part, metric, q)
                assert row[f"{metric}_n"] == estimate.n
                values = [row[f"{metric}_{name}{end}"] for end in ("", "_low", "_high")]
                if not estimate.supported:
                    assert np.isnan(values).all()
                    continue
                at = np.nan if estimate.estimate is None else estimate.estimate
                np.testing.assert_array_equal(values, [at, estimate.low, estimate.high])


@pytest.mark.parametrize("rows_at_once", [10**9, 400])
@pytest.mark.parametrize("by", [["workload", "tenant"], ["workload", "day"], ["provider"]])
def test_groups_are_those_of_pandas_and_the_houses_quantiles(by, rows_at_once, monkeypatch):
    """Whole, in parts of time or of groups, and with groups too large to sort."""
    monkeypatch.setattr(module, "_ROWS_AT_ONCE", rows_at_once)
    frame = reprice(log())
    frame["day"] = frame["ts_start"].dt.floor("D")
    check(summary_by(log(), by), frame, by)


def test_files_give_what_the_frame_gives(tmp_path):
    whole = log()
    for i, part in enumerate((whole[:1_000], whole[1_000:])):
        duckdb.from_df(part).write_parquet(str(tmp_path / f"{i}.parquet"))
    of_files = summary_by(str(tmp_path / "*.parquet"), ["workload"])
    pd.testing.assert_frame_equal(of_files, summary_by(whole, ["workload"]))


def test_all_requests_together_are_one_row():
    summary = summary_by(log(), [])
    assert summary["requests"].tolist() == [3_000]
    assert "all_requests" not in summary


def test_without_a_level_there_are_no_intervals():
    summary = summary_by(log(), "workload", level=None)
    assert not [name for name in summary if name.endswith(("_low", "_high"))]
    with_them = summary_by(log(), "workload")
    pd.testing.assert_frame_equal(summary, with_them[summary.columns])


def test_a_row_that_stands_for_many_counts_as_many():
    bucket = log(200).assign(n_requests=5.0, latency_s=np.nan, ttft_s=np.nan)
    summary = summary_by(bucket, [])
    assert summary["requests"].item() == 1_000
    assert summary["latency_s_n"].item() == 0
    assert np.isnan(summary["latency_s_p50"].item())


def test_only_self_hosted_requests_have_no_bill():
    summary = summary_by(log().assign(provider="vllm"), ["workload"])
    assert summary["usd"].isna().all()
    assert (summary["unpriced_requests"] == summary["requests"]).all()


def test_periods_begin_in_utc():
    summary = summary_by(log(), ["hour", "month"])
    assert str(summary["hour"].dt.tz) == "UTC"
    assert summary["month"].unique().tolist() == [pd.Timestamp("2026-11-01", tz="UTC")]
    assert summary["hour"].is_monotonic_increasing


@pytest.mark.parametrize(
    ("source", "by", "sentence"),
    [
        (log(10), ["team"], "by: team is no column"),
        (log(0), ["workload"], "no requests"),
        (3, ["workload"], "a int is no table of requests"),
    ],
)
def test_what_cannot_be_summed_up_is_refused(source, by, sentence):
    with pytest.raises(ValueError, match=sentence):
        summary_by(source, by)


def test_one_group_too_long_for_memory_has_the_same_order_statistics(monkeypatch):
    whole = summary_by(log(), [])
    monkeypatch.setattr(module, "_ROWS_AT_ONCE", 1)
    pd.testing.assert_frame_equal(summary_by(log(), []), whole)
    without = summary_by(log(), [], level=None)
    pd.testing.assert_frame_equal(without, whole[without.columns])

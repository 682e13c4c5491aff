from datetime import datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare, ks_2samp, spearmanr

from llmstudy import paths
from llmstudy.requests.draw import draw_requests, hourly_shape, token_mix

MIX = token_mix("azure_conversation_2023")
MIX_MEANS = {"input_tokens_mean": 1154.694, "output_tokens_mean": 211.125}
AZURE = paths.ROOT.parent / "shared/traces/AzureLLMInferenceTrace_conv.csv"
SHAPES = ["servegen-m-large", "servegen-m-mid", "servegen-m-small", "ragpulse"]


def _draw(n=40_000, hours="ragpulse", seed=3, **changed):
    given = {
        "mix": MIX,
        "shape": hourly_shape(hours),
        "n": n,
        "start": datetime.fromisoformat("2026-11-02T00:00Z"),
        **MIX_MEANS,
        "cached_input_share": 0.4,
        "workload": "support-chat",
        "provider": "openai",
        "model": "gpt-4o",
        "rng": np.random.default_rng(seed),
    }
    return draw_requests(**{**given, **changed})


@pytest.mark.parametrize(
    ("name", "hours", "low", "high"),
    [
        ("servegen-m-large", 336, 1.855, 1.865),
        ("servegen-m-mid", 336, 1.825, 1.835),
        ("servegen-m-small", 336, 2.055, 2.065),
        ("ragpulse", 168, 3.45, 3.48),
    ],
)
def test_a_shape_has_the_peak_hour_that_was_published(name, hours, low, high):
    shape = hourly_shape(name)
    assert shape["hour"].tolist() == list(range(hours))
    assert shape["relative_to_mean"].mean() == pytest.approx(1)
    assert low <= shape["relative_to_mean"].max() <= high


def test_the_servegen_shapes_are_the_bundled_ones_whichever_column_they_come_from():
    bundled = pd.read_csv(paths.data("servegen_hourly.csv")).set_index("service")
    for name in SHAPES[:3]:
        relative = bundled.loc[name.removeprefix("servegen-"), "relative_to_mean"]
        assert hourly_shape(name)["relative_to_mean"].to_numpy() == pytest.approx(
            relative, abs=1e-5
        )


def test_every_bundled_row_says_whence_it_comes_and_on_what_terms():
    names = ["azure_conversation_2023_tokens", "azure_conversation_2023_arrivals", "traffic_shape"]
    for name in [*names, "servegen_hourly", "ragpulse_hourly", "ragpulse_tokens"]:
        table = pd.read_csv(paths.data(f"{name}.csv"))
        assert table[["source", "licence"]].notna().all(axis=None)


def test_drawn_tokens_have_the_means_of_the_mix():
    requests = _draw()
    for column in ("input_tokens", "output_tokens"):
        error = requests[column].std() / np.sqrt(len(requests))
        assert abs(requests[column].mean() - MIX_MEANS[f"{column}_mean"]) < 3 * error


def test_prompts_of_each_length_get_the_answers_that_the_mix_gives_them():
    requests = _draw()
    for first in range(0, len(MIX), 8):  # eight cells share a range of input, apart from all others
        group = MIX.iloc[first : first + 8]
        low, high = group["input_tokens_min"].min(), group["input_tokens_max"].max()
        drawn = requests.loc[requests["input_tokens"].between(low, high), "output_tokens"]
        expected = np.average(group["output_tokens_mean"], weights=group["requests"])
        assert drawn.mean() == pytest.approx(expected, abs=4 * drawn.std() / np.sqrt(len(drawn)))
        share = group["requests"].sum() / MIX["requests"].sum()
        assert len(drawn) == pytest.approx(share * len(requests), rel=0.1)


@pytest.mark.shared
@pytest.mark.skipif(not AZURE.exists(), reason="the trace is not beside the checkout")
def test_drawn_tokens_are_distributed_as_in_the_trace_behind_the_mix():
    trace = pd.read_csv(AZURE)
    requests = _draw()
    for column, real in (("input_tokens", "ContextTokens"), ("output_tokens", "GeneratedTokens")):
        assert ks_2samp(requests[column], trace[real]).statistic < 0.04
    drawn = spearmanr(requests["input_tokens"], requests["output_tokens"]).statistic
    real = spearmanr(trace["ContextTokens"], trace["GeneratedTokens"]).statistic
    assert drawn == pytest.approx(real, abs=0.02)


@settings(max_examples=12, deadline=None)
@given(
    input_mean=st.floats(1, 50_000),
    output_mean=st.floats(1, 5_000),
    share=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_any_workload_gets_its_means_and_no_request_under_one_token(
    input_mean, output_mean, share, seed
):
    requests = _draw(
        2_000,
        seed=seed,
        input_tokens_mean=input_mean,
        output_tokens_mean=output_mean,
        cached_input_share=share,
    )
    for column, mean in (("input_tokens", input_mean), ("output_tokens", output_mean)):
        assert requests[column].min() >= 1
        # five standard errors of the stretched mix, and rounding
        assert requests[column].mean() == pytest.approx(mean, abs=0.12 * (mean - 1) + 0.5)
    cached = requests["cached_input_tokens"].sum() / requests["input_tokens"].sum()
    assert cached == pytest.approx(share, abs=0.5 / requests["input_tokens"].mean())


@pytest.mark.parametrize("shape", SHAPES)
def test_arrivals_follow_the_hours_of_the_shape(shape):
    requests = _draw(hours=shape)
    expected = hourly_shape(shape)["relative_to_mean"]
    start = pd.Timestamp("2026-11-02", tz="UTC")
    hours = (requests["ts_start"] - start) // pd.Timedelta(hours=1)
    counts = hours.value_counts().reindex(range(len(expected)), fill_value=0)
    open_hours = expected > 1e-3
    assert counts[~open_hours].sum() <= len(requests) * 1e-3
    expected = expected[open_hours] / expected[open_hours].sum() * counts[open_hours].sum()
    assert chisquare(counts[open_hours], expected).pvalue > 0.001


def test_arrivals_within_an_hour_are_a_poisson_process():
    gaps = _draw(200_000)["ts_start"].diff().dt.total_seconds().iloc[1:]
    # in an hour the gaps are exponential: their mean and their deviation are equal
    busy = gaps[10_000:20_000].groupby(np.arange(10_000) // 500).agg(["mean", "std"])
    assert (busy["std"] / busy["mean"]).median() == pytest.approx(1, abs=0.05)


def test_what_was_not_observed_is_marked_or_absent():
    requests = _draw(100, "servegen-m-mid")
    assert requests[["latency_s", "ttft_s"]].isna().all(axis=None)
    assert requests["source"].unique().tolist() == [
        "simulated from published figures: azure_conversation_2023 tokens, servegen-m-mid hours"
    ]


def test_the_same_seed_draws_the_same_requests():
    pd.testing.assert_frame_equal(_draw(500, seed=8), _draw(500, seed=8))
    assert not _draw(500, seed=8)["input_tokens"].equals(_draw(500, seed=9)["input_tokens"])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"n": 0}, "n is 0"),
        ({"start": datetime.fromisoformat("2026-11-02")}, "has no time zone"),
        ({"output_tokens_mean": 0.5}, "0.5 output tokens: give at least 1"),
        ({"cached_input_share": 40}, "cached_input_share is 40: give a share"),
        ({"shape": hourly_shape("ragpulse").head(100)}, "has 100 hours: give whole weeks"),
    ],
)
def test_a_draw_that_makes_no_sense_is_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        _draw(**changed)


@pytest.mark.parametrize(("load", "name"), [(token_mix, "burstgpt"), (hourly_shape, "m-large")])
def test_an_unknown_name_is_answered_with_the_known_ones(load, name):
    with pytest.raises(
        ValueError, match=rf"'{name}' is unknown; use (azure_conv|servegen-m-large)"
    ):
        load(name)

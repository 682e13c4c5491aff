import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import lognorm

from llmstudy.measures.latency import (
    QuantileEstimate,
    latency_table,
    percentile_minimum_n,
    quantile_interval,
    slo_attainment,
    slo_verdict,
)
from llmstudy.measures.quality import wilson

latencies = arrays(
    float, st.integers(1, 120), elements=st.one_of(st.floats(0, 1e6), st.just(np.inf))
)


# ---- quantiles


@pytest.mark.parametrize(("q", "n"), [(0.5, 6), (0.95, 72), (0.99, 368)])
def test_minimum_n_is_the_first_at_which_both_ends_are_observed(q, n):
    assert percentile_minimum_n(q) == n
    # the largest of n lies below the quantile with probability q^n
    assert q**n <= 0.025 < q ** (n - 1)
    assert quantile_interval(np.arange(n, dtype=float), q).high == n - 1
    assert quantile_interval(np.arange(n, dtype=float), q).supported
    assert quantile_interval(np.arange(n - 1, dtype=float), q).high == np.inf
    assert not quantile_interval(np.arange(n - 1, dtype=float), q).supported


@pytest.mark.parametrize(("q", "n"), [(0.5, 40), (0.95, 72), (0.95, 300), (0.99, 400)])
def test_interval_covers_the_true_quantile_at_least_as_often_as_it_says(q, n):
    rng = np.random.default_rng(7)
    truth = lognorm(0.8).ppf(q)
    intervals = [quantile_interval(x, q) for x in rng.lognormal(sigma=0.8, size=(1_500, n))]
    coverage = np.mean([i.low <= truth <= i.high for i in intervals])
    assert 0.94 <= coverage <= 0.985


def test_interval_covers_the_quantile_of_requests_that_sometimes_fail():
    rng = np.random.default_rng(7)
    truth = lognorm(0.8).ppf(0.95 / 0.97)  # 3 % fail: p95 of all is a higher percentile of the rest
    covered = []
    for _ in range(1_000):
        x = np.where(rng.random(300) < 0.03, np.inf, rng.lognormal(sigma=0.8, size=300))
        found = quantile_interval(x, 0.95)
        covered.append(found.low <= truth <= found.high)
    assert 0.94 <= np.mean(covered) <= 0.985


@given(latencies, st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_estimate_is_numpys_inverted_distribution_function_and_lies_in_its_interval(x, q):
    found = quantile_interval(x, q)
    expected = np.quantile(x, q, method="inverted_cdf")
    assert (np.inf if found.estimate is None else found.estimate) == expected
    assert found.low <= expected <= found.high
    assert found.n == len(x)


@given(latencies, st.floats(0.1, 10))
def test_a_change_of_unit_scales_the_interval(x, factor):
    one, other = quantile_interval(x, 0.9), quantile_interval(factor * x, 0.9)
    assert (factor * one.low, factor * one.high) == pytest.approx((other.low, other.high))


def test_a_percentile_among_failures_has_no_estimate():
    x = np.array([1.0] * 93 + [np.inf] * 7)
    found = quantile_interval(x, 0.95)
    assert (found.estimate, found.high, found.supported) == (None, np.inf, True)
    assert quantile_interval(x, 0.50).estimate == 1.0


def test_no_samples_give_no_estimate_and_no_support():
    found = quantile_interval(np.array([]), 0.95)
    assert found == QuantileEstimate(None, 0.0, np.inf, 0, False)


# ---- objectives


def test_failures_miss_every_limit():
    samples = pd.DataFrame({"arm": "a", "ok": ([True] * 9 + [False]) * 10, "ttft_s": 0.1})
    (row,) = slo_attainment(samples, ["arm"], {"ttft_s": 1e9}).to_dict("records")
    assert (row["attainment"], row["n"]) == (pytest.approx(0.9), 100)
    assert row["low"] < 0.9 < row["high"]


def test_a_request_attains_what_every_limit_allows_and_none_that_it_lacks_is_held_against_it():
    samples = pd.DataFrame(
        {
            "arm": "a",
            "ok": True,
            "ttft_s": [0.2, 0.2, 0.9, None],
            "tpot_s": [0.02, None, 0.02, None],
            "limit_s": [0.5, 0.5, 1.0, 0.5],
        }
    )
    both = slo_attainment(samples, ["arm"], {"ttft_s": 0.5, "tpot_s": 0.05})
    assert both[["attainment", "n"]].to_numpy().tolist() == [[pytest.approx(2 / 3), 3]]
    own = slo_attainment(samples, ["arm"], {"ttft_s": "limit_s"})
    assert own[["attainment", "n"]].to_numpy().tolist() == [[pytest.approx(1.0), 3]]


def test_attainment_covers_the_truth_where_days_differ():
    rng = np.random.default_rng(7)
    covered, naive = [], []
    for _ in range(300):
        waits = np.repeat(0.5 * rng.standard_normal(12), 50) + rng.standard_normal(600)
        days = np.repeat(np.arange(12), 50)
        samples = pd.DataFrame({"arm": "a", "ok": True, "ttft_s": np.exp(waits), "day": days})
        (row,) = slo_attainment(samples, ["arm"], {"ttft_s": 1.0}).to_dict("records")
        covered.append(row["low"] <= 0.5 <= row["high"])
        alone = wilson(int((waits <= 0).sum()), 600)
        naive.append(alone.low <= 0.5 <= alone.high)
    assert np.mean(covered) > 0.92
    assert np.mean(naive) < 0.8


def test_verdict_is_wrong_no_more_often_than_the_interval_allows():
    rng = np.random.default_rng(7)
    truth = lognorm(0.8).ppf(0.95)
    just_met, just_missed = truth * 1.001, truth * 0.999
    samples = rng.lognormal(sigma=0.8, size=(1_000, 200))
    estimates = [quantile_interval(x, 0.95) for x in samples]
    assert np.mean([slo_verdict(e, just_met) == "misses" for e in estimates]) <= 0.04
    assert np.mean([slo_verdict(e, just_missed) == "meets" for e in estimates]) <= 0.04
    assert np.mean([slo_verdict(e, 2 * truth) == "meets" for e in estimates]) > 0.9
    assert np.mean([slo_verdict(e, truth / 2) == "misses" for e in estimates]) > 0.9


def test_too_few_samples_never_meet_a_limit_but_can_miss_it():
    few = quantile_interval(np.full(71, 0.2), 0.95)
    assert slo_verdict(few, 100.0) == "undecided"
    assert slo_verdict(few, 0.1) == "misses"


def test_a_percentile_among_failures_misses_when_its_lower_end_fails_too():
    mostly_failed = quantile_interval(np.array([1.0] * 20 + [np.inf] * 80), 0.95)
    assert slo_verdict(mostly_failed, 60.0) == "misses"


# ---- table


@pytest.fixture
def samples():
    rng = np.random.default_rng(7)
    frame = pd.DataFrame(
        {
            "arm": ["proprietary_api"] * 400 + ["hosted_open"] * 100,
            "ok": True,
            "ttft_s": rng.lognormal(-1, 0.5, 500),
            "tpot_s": rng.lognormal(-4, 0.2, 500),
        }
    )
    frame.loc[frame.index[-10:], "ok"] = False
    frame.loc[frame.index[:4], "tpot_s"] = np.nan  # answers of one token
    return frame


def cell(table, **where):
    for column, value in where.items():
        table = table[table[column] == value]
    (row,) = table.to_dict("records")
    return row


def test_table_has_a_row_for_each_group_metric_and_percentile(samples):
    table = latency_table(samples, ["arm"], ["ttft_s", "tpot_s"])
    assert len(table) == 2 * 2 * 3
    assert not table.duplicated(["arm", "metric", "percentile"]).any()
    p95 = cell(table, arm="proprietary_api", metric="ttft_s", percentile="p95")
    expected = np.quantile(samples["ttft_s"][:400], 0.95, method="inverted_cdf")
    assert p95["estimate"] == expected
    assert p95["low"] < expected < p95["high"]
    assert (p95["n"], p95["failed_share"], p95["supported"]) == (400, 0.0, True)


def test_failed_requests_count_in_every_metric_whatever_they_recorded(samples):
    table = latency_table(samples, ["arm"], ["ttft_s", "tpot_s"])
    for metric in ("ttft_s", "tpot_s"):
        p95 = cell(table, arm="hosted_open", metric=metric, percentile="p95")
        assert np.isnan(p95["estimate"])
        assert (p95["n"], p95["failed_share"]) == (100, pytest.approx(0.1))


def test_a_metric_that_a_success_does_not_have_is_left_out_and_counted(samples):
    table = latency_table(samples, ["arm"], ["ttft_s", "tpot_s"])
    p50 = cell(table, arm="proprietary_api", metric="tpot_s", percentile="p50")
    assert (p50["n"], p50["n_undefined"]) == (396, 4)


def test_no_samples_give_tables_without_rows(samples):
    none = samples.head(0)
    assert latency_table(none, ["arm"], ["ttft_s"]).empty
    assert slo_attainment(none, ["arm"], {"ttft_s": 0.5}).empty


def test_days_that_differ_make_the_interval_of_a_table_wider(samples):
    days = samples.assign(day=np.repeat(np.arange(5), 100))
    days["ttft_s"] *= 1 + days["day"]
    apart, together = (
        latency_table(s, ["arm"], ["ttft_s"]) for s in (days, days.drop(columns="day"))
    )
    assert (apart["n_effective"] < together["n_effective"]).any()
    assert (apart["n_effective"] < apart["n"] / 5).any()


def test_a_group_without_the_metric_keeps_its_row(samples):
    samples.loc[samples["ok"], "tpot_s"] = np.nan
    table = latency_table(samples, ["arm"], ["tpot_s"])
    p50 = cell(table, arm="proprietary_api", percentile="p50")
    assert (p50["n"], p50["n_undefined"], p50["supported"]) == (0, 400, False)


def test_without_groups_or_metrics_all_requests_and_every_latency_are_shown(samples):
    whole = latency_table(samples)
    assert whole["metric"].unique().tolist() == ["ttft_s", "tpot_s"]
    one_group = latency_table(samples.assign(all=1), ["all"], ["ttft_s", "tpot_s"])
    pd.testing.assert_frame_equal(whole, one_group.drop(columns="all"))
    assert latency_table(samples, "arm", "ttft_s").equals(
        latency_table(samples, ["arm"], ["ttft_s"])
    )
    share = slo_attainment(samples, limits={"ttft_s": 0.5})
    assert share["attainment"].tolist() == [
        pytest.approx(samples["ttft_s"][samples["ok"]].le(0.5).sum() / 500)
    ]
    assert latency_table(samples.assign(latency_s=None)).equals(
        whole
    )  # a log has the column always
    assert latency_table(samples.head(0)).empty


def test_samples_without_outcomes_count_as_answered_and_a_warning_says_so(samples):
    answered = samples[samples["ok"]]
    with pytest.warns(UserWarning, match="no `ok`: all requests count as answered") as warned:
        bare = latency_table(answered.drop(columns="ok"))
    assert warned[0].filename == __file__
    pd.testing.assert_frame_equal(bare, latency_table(answered))


# ---- errors


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda s: quantile_interval(np.array([1.0, np.nan]), 0.5), "NaN or negative"),
        (lambda s: quantile_interval(np.array([1.0, -2.0]), 0.5), "NaN or negative"),
        (lambda s: quantile_interval(np.array([1.0]), 95), "0.95 for p95"),
        (lambda s: slo_attainment(s, ["arm"], {"ttft_s": np.inf}), "finite limit"),
        (lambda s: slo_verdict(quantile_interval(np.array([1.0]), 0.5), np.nan), "finite limit"),
        (lambda s: latency_table(s, ["arm"], ["e2e_s"]), r"lack \['e2e_s'\]"),
        (lambda s: latency_table(s.assign(ok=None), ["arm"], ["ttft_s"]), "null `ok`"),
        (
            lambda s: latency_table(s.assign(ok="false")),
            "samples have 'false' in `ok`: give True or False",
        ),
        (lambda s: latency_table(s[["arm", "ok"]]), "none of ttft_s, tpot_s, e2e_s and latency_s"),
        (lambda s: latency_table(s.assign(ttft_s="soon")), "ttft_s must hold numbers"),
        (lambda s: latency_table(s["ttft_s"]), "samples is a Series"),
        (lambda s: latency_table(s, by="route"), r"lack \['route'\]"),
        (lambda s: slo_attainment(s), 'give one for each metric, such as limits={"ttft_s": 0.5}'),
        (lambda s: slo_attainment(s, limits=0.5), "give one for each metric"),
        (
            lambda s: slo_attainment(s, limits={"ttft_s": "500 ms"}),
            "name 500 ms, which samples lack",
        ),
    ],
)
def test_an_error_says_what_is_wrong_and_how_to_mend_it(samples, wrong, says):
    with pytest.raises(ValueError, match=says):
        wrong(samples)

"""Differences by item, in clusters and graded: against statsmodels, enumeration and real scores."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t
from statsmodels.api import OLS

from llmstudy import paths
from llmstudy.measures.quality import clustered_difference, design_effect, signed_rank_p
from llmstudy.measures.quality.clusters import error_of

RNG = np.random.default_rng(7)


def half_width(interval):
    return (interval.high - interval.low) / 2


def by_statsmodels(difference, cluster):
    """Mean, standard error and interval with one degree of freedom less than clusters."""
    groups = pd.factorize(np.asarray(cluster))[0]
    constant = np.ones(len(difference))
    fit = OLS(difference, constant).fit(cov_type="cluster", cov_kwds={"groups": groups}, use_t=True)
    return fit.params[0], fit.bse[0], fit.conf_int()[0]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(40, 300), st.integers(30, 40))
def test_the_clustered_error_is_that_of_statsmodels(seed, n, n_clusters):
    rng = np.random.default_rng(seed)
    cluster = rng.permutation(np.r_[np.arange(n_clusters), rng.integers(n_clusters, size=n)])
    difference = rng.normal(size=len(cluster)) + rng.normal(size=n_clusters)[cluster]
    mean, error, _ = by_statsmodels(difference, cluster)
    sums = np.bincount(cluster, difference - difference.mean())
    assert clustered_difference(difference, cluster).estimate == pytest.approx(mean)
    assert error_of(sums / len(cluster))[0] == pytest.approx(error)


def test_with_scores_that_vary_alike_the_interval_is_that_of_statsmodels():
    # two values of the same size have the least kurtosis there is: no degree of freedom is lost
    difference, cluster = np.repeat([0.5, -0.5], 100), np.arange(200) // 2
    low, high = by_statsmodels(difference, cluster)[2]
    interval = clustered_difference(difference, cluster)
    assert (interval.low, interval.high) == pytest.approx((low, high))


def test_without_clusters_the_error_is_that_of_a_mean():
    difference = RNG.normal(size=80)
    interval = clustered_difference(difference, level=0.9)
    alone = clustered_difference(difference, np.arange(80), level=0.9)
    assert (interval.low, interval.high) == (alone.low, alone.high)
    plain = t.ppf(0.95, 79) * difference.std(ddof=1) / np.sqrt(80)
    # as the variance of the squares is about normal's, hardly a degree of freedom is lost
    assert half_width(interval) == pytest.approx(plain, rel=0.02)


def test_few_items_that_differ_widen_the_interval():
    few, many = np.zeros(400), np.zeros(400)
    few[:3], many[:60] = 1, np.sqrt(3 / 60)
    plain = [t.ppf(0.975, 399) * d.std(ddof=1) / 20 for d in (few, many)]
    assert half_width(clustered_difference(few)) > 1.2 * plain[0]
    assert half_width(clustered_difference(many)) < 1.02 * plain[1]


def test_clusters_named_by_words_in_any_order_are_those_named_by_numbers():
    difference, cluster = RNG.normal(size=90), np.repeat(np.arange(45), 2)
    mixed = RNG.permutation(90)
    by_word = clustered_difference(difference[mixed], [f"mail {c}" for c in cluster[mixed]])
    by_number = clustered_difference(difference, cluster)
    assert (by_word.low, by_word.high) == pytest.approx((by_number.low, by_number.high))


@pytest.mark.shared
def test_mt_bench_has_the_published_errors():
    file = paths.ROOT.parent / "shared" / "figures" / "routellm_mtbench_scores.csv"
    if not file.exists():
        pytest.skip("no figures beside the checkout")
    scores = pd.read_csv(file)
    loss = (scores["score_proprietary"] - scores["score_open"]).to_numpy()
    assert loss.mean() == pytest.approx(0.8875)
    for cluster, published in ((None, 0.176), (scores["question_id"], 0.202)):
        sums = pd.Series(loss - loss.mean()).groupby(
            np.arange(len(loss)) if cluster is None else cluster
        )
        assert error_of(sums.sum().to_numpy() / len(loss))[0] == pytest.approx(published, abs=5e-4)
    assert design_effect(loss, scores["question_id"]) == pytest.approx((0.202 / 0.176) ** 2, 0.01)


@pytest.mark.parametrize(("per_cluster", "effect"), [(1, 1), (5, 5)])
def test_items_that_repeat_each_other_multiply_the_items_needed(per_cluster, effect):
    difference = np.repeat(RNG.choice([-1, 0, 1], size=400), per_cluster)
    times = design_effect(difference, np.arange(len(difference)) // per_cluster)
    assert times == pytest.approx(effect, rel=0.01)


# ---- signed ranks


@pytest.mark.parametrize("margin", [0.0, 0.3])
def test_signed_ranks_of_few_items_are_the_share_of_all_signs_that_rank_as_high(margin):
    difference = np.array([0.5, -0.2, 0.2, 0.4, -0.3, 0.5, 0.1, -0.6, 0.0])
    above = np.round(difference + margin, 12)
    above = above[above != 0]
    ranks = pd.Series(abs(above)).rank().to_numpy()
    sums = [ranks[np.array(signs)].sum() for signs in product([False, True], repeat=len(above))]
    exact = np.mean(np.array(sums) >= ranks[above > 0].sum() - 1e-9)
    assert signed_rank_p(difference, margin) == pytest.approx(exact)


def test_items_on_the_margin_do_not_count_though_decimals_are_not_exact():
    # 0.1 + 0.2 - 0.3 is not 0 in binary
    difference = [0.1 + 0.2 - 0.6, -0.3, 0.5, 0.4, 0.7]
    assert signed_rank_p(difference, 0.3) == signed_rank_p([0.5, 0.4, 0.7], 0.3) == 1 / 8

"""Bootstrap intervals against the delta method, SciPy and Student's interval."""

import numpy as np
import pytest
from scipy.stats import bootstrap

from llmstudy.measures.quality import bootstrap_interval, clustered_difference, resampled_means
from llmstudy.measures.quality.bootstrap import resample_weights


def usd_per_correct(mean):
    return mean[..., 1] / mean[..., 0]


def scored(rng, n):
    return np.column_stack([rng.random(n) < 0.8, rng.lognormal(-5, 0.8, n)])


def test_the_interval_of_a_ratio_is_that_of_scipy_with_room_for_few_items():
    rows = scored(np.random.default_rng(1), 2_000)
    interval = bootstrap_interval(usd_per_correct, rows, None, np.random.default_rng(2))
    theirs = bootstrap(
        tuple(rows.T),
        lambda right, usd, axis: usd.mean(axis) / right.mean(axis),
        paired=True,
        method="percentile",
        n_resamples=2_000,
        rng=np.random.default_rng(3),
    ).confidence_interval
    width = theirs.high - theirs.low
    assert (interval.low, interval.high) == pytest.approx(tuple(theirs), abs=0.06 * width)
    assert interval.high - interval.low >= 0.97 * width


def test_resamples_of_a_ratio_spread_as_the_delta_method_says():
    rows = scored(np.random.default_rng(1), 3_000)
    draws = usd_per_correct(resampled_means(rows, None, np.random.default_rng(2)))
    right, usd = rows.T
    ratio = usd.mean() / right.mean()
    error = np.std(usd - ratio * right) / right.mean() / np.sqrt(len(rows))
    assert draws.std() == pytest.approx(error, rel=0.05)


def test_whole_clusters_are_drawn():
    rows = np.repeat(scored(np.random.default_rng(1), 60), 5, axis=0)
    cluster = np.repeat(np.arange(60), 5)
    whole = bootstrap_interval(usd_per_correct, rows, cluster, np.random.default_rng(2))
    once = bootstrap_interval(usd_per_correct, rows[::5], None, np.random.default_rng(2))
    assert (whole.low, whole.high) == pytest.approx((once.low, once.high))


def test_columns_of_an_item_stay_together():
    right = np.random.default_rng(1).random(200) < 0.5
    rows = np.column_stack([right, ~right])
    means = resampled_means(rows, None, np.random.default_rng(2))
    assert np.allclose(means.sum(axis=1), 1)


def test_the_interval_of_a_mean_is_no_shorter_than_students_and_hardly_longer():
    difference = np.random.default_rng(1).choice([-1, 0, 1], p=[0.1, 0.85, 0.05], size=300)
    interval = bootstrap_interval(
        lambda mean: mean[..., 0], difference, None, np.random.default_rng(2)
    )
    student = clustered_difference(difference)
    assert interval.low <= student.low + 1e-12
    assert interval.high >= student.high - 1e-12
    assert interval.high - interval.low == pytest.approx(student.high - student.low, rel=0.1)


def test_every_resample_has_as_many_clusters_as_the_evaluation():
    weights = resample_weights(41, np.random.default_rng(1))
    assert (weights.sum(axis=1) == 41).all()
    # each is drawn as often as any other
    assert weights.mean(axis=0) == pytest.approx(1, abs=0.1)
    assert weights.var(axis=0).mean() == pytest.approx(1 - 1 / 41, rel=0.05)

"""A judge beside labels: corrected where the judge is wrong, better where it is right."""

import numpy as np
import pytest

from llmstudy.measures.quality import clustered_difference, judged_difference


def evaluation(rng, n_items, favour=0.3, wrong=0.1):
    """True differences, and those of a judge who favours b and errs."""
    truth = rng.choice([-1.0, 0.0, 1.0], p=[0.15, 0.75, 0.10], size=n_items)
    judge = np.where(rng.random(n_items) < wrong, rng.choice([-1.0, 0.0, 1.0], n_items), truth)
    return truth, np.where(rng.random(n_items) < favour, np.minimum(judge + 1, 1), judge)


def width(interval):
    return interval.high - interval.low


def test_a_judge_that_favours_b_is_corrected_where_its_own_interval_is_sure_and_wrong():
    rng = np.random.default_rng(7)
    runs = []
    for _ in range(400):
        truth, judge = evaluation(rng, 1_000)
        runs.append(judged_difference(truth[:150], judge[:150], judge[150:]))
    corrected = [f.difference.low <= -0.05 <= f.difference.high for f in runs]
    alone = [f.judge_only.low <= -0.05 <= f.judge_only.high for f in runs]
    assert np.mean(corrected) >= 0.925
    assert np.mean(alone) < 0.05
    assert np.mean([f.difference.estimate for f in runs]) == pytest.approx(-0.05, abs=0.006)


def test_a_good_judge_shortens_the_interval_as_far_as_its_correlation_allows():
    rng = np.random.default_rng(7)
    truth, judge = evaluation(rng, 100_000, favour=0.0)
    n = 1_000
    judged = judged_difference(truth[:n], judge[:n], judge[n:])
    labels = clustered_difference(truth[:n])
    share = 1 - np.corrcoef(truth, judge)[0, 1] ** 2
    assert width(judged.difference) / width(labels) == pytest.approx(np.sqrt(share), rel=0.1)


def test_a_judge_that_knows_nothing_leaves_the_labels_as_they_are():
    rng = np.random.default_rng(7)
    truth, judge = evaluation(rng, 100_000)
    judged = judged_difference(truth[:500], rng.permutation(judge)[:500], judge[500:])
    labels = clustered_difference(truth[:500])
    assert judged.weight < 0.1
    assert judged.difference.estimate == pytest.approx(labels.estimate, abs=0.01)
    assert width(judged.difference) <= 1.01 * width(labels)


def test_too_few_judgements_beside_the_labels_leave_them_as_they_are():
    truth, judge = evaluation(np.random.default_rng(7), 300)
    judged = judged_difference(truth[:280], judge[:280], judge[280:])
    labels = clustered_difference(truth[:280])
    assert judged.weight == 0
    assert judged.difference.low == pytest.approx(labels.low)
    assert judged.difference.high == pytest.approx(labels.high)


def test_items_of_a_cluster_that_are_copies_say_what_one_of_them_would():
    rng = np.random.default_rng(7)
    truth, judge = evaluation(rng, 600)
    one = judged_difference(truth[:150], judge[:150], judge[150:])
    copies = [np.repeat(x, 5) for x in (truth[:150], judge[:150], judge[150:])]
    names = np.repeat(np.arange(150), 5), np.repeat(np.arange(150, 600), 5)
    clustered = judged_difference(*copies, clusters=names)
    assert clustered.weight == pytest.approx(one.weight, abs=0.01)
    assert clustered.difference.estimate == pytest.approx(one.difference.estimate, abs=0.002)
    assert width(clustered.difference) == pytest.approx(width(one.difference), rel=0.02)
    assert width(judged_difference(*copies).difference) < 0.5 * width(one.difference)


def test_clusters_that_labels_and_judgements_share_have_the_error_that_repeats_show():
    rng = np.random.default_rng(7)
    clusters = np.repeat(np.arange(60), 10)
    is_labelled = np.tile(np.arange(10) < 4, 60)
    estimates, errors = [], []
    for _ in range(400):
        truth = rng.normal(0, 0.3, 60)[clusters] + rng.normal(0, 0.3, 600)
        judge = truth + 0.1 + rng.normal(0, 0.2, 60)[clusters] + rng.normal(0, 0.1, 600)
        names = clusters[is_labelled], clusters[~is_labelled]
        judged = judged_difference(
            truth[is_labelled], judge[is_labelled], judge[~is_labelled], clusters=names
        ).difference
        estimates.append(judged.estimate)
        errors.append(width(judged) / 4)
    assert np.mean(errors) == pytest.approx(np.std(estimates), rel=0.1)


def test_the_weight_has_the_least_error_of_all_weights():
    truth, judge = evaluation(np.random.default_rng(7), 3_000)
    n, more = 600, judge[600:]

    def variance(weight):
        rest = truth[:n] - weight * judge[:n]
        return rest.var(ddof=1) / n + weight**2 * more.var(ddof=1) / len(more)

    weights = np.linspace(0, 1, 1_001)
    best = weights[np.argmin([variance(w) for w in weights])]
    judged = judged_difference(truth[:n], judge[:n], more)
    assert judged.weight == pytest.approx(best, abs=0.02)

"""pass^k against enumeration, Krippendorff's alpha against his example."""

from itertools import combinations

import numpy as np
import pytest

from llmstudy.measures.quality import krippendorff_alpha, pass_hat_k, wilson

_ = None
OBSERVERS = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, _, _, _],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _, 3],
    [_, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _],
]
"""Krippendorff (2011), section C: four observers, twelve units, missing data."""


def test_krippendorffs_example_has_his_alphas():
    assert krippendorff_alpha(OBSERVERS, "nominal") == pytest.approx(0.743, abs=5e-4)
    assert krippendorff_alpha(OBSERVERS, "interval") == pytest.approx(0.849, abs=5e-4)


def test_labels_may_be_words_and_two_raters_without_gaps_have_the_closed_form():
    names = np.array(["no", "yes"])
    one, other = np.random.default_rng(7).integers(0, 2, (2, 50))
    alpha = krippendorff_alpha([names[one], names[other]])
    yes = (one.sum() + other.sum()) / 100
    between = 2 * yes * (1 - yes) * 100 / 99
    assert alpha == pytest.approx(1 - (one != other).mean() / between)


def test_full_agreement_is_1_and_chance_is_about_0():
    ratings = np.random.default_rng(7).integers(1, 6, (3, 2_000))
    assert krippendorff_alpha([ratings[0]] * 3, "interval") == pytest.approx(1)
    for scale in ("nominal", "interval"):
        assert krippendorff_alpha(ratings, scale) == pytest.approx(0, abs=0.03)


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_pass_hat_k_is_the_share_of_all_choices_of_k_trials_that_are_all_solved(k):
    trials = np.random.default_rng(7).random((60, 4)) < 0.7
    choices = [trials[:, c].all(axis=1).mean() for c in combinations(range(4), k)]
    assert pass_hat_k(trials.sum(axis=1), 4, k).estimate == pytest.approx(np.mean(choices))


def test_one_trial_of_each_item_has_about_wilsons_interval():
    interval = pass_hat_k([1] * 80 + [0] * 20, 1, 1)
    plain = wilson(80, 100)
    assert (interval.low, interval.high) == pytest.approx((plain.low, plain.high), abs=0.003)


def test_items_in_clusters_say_less():
    solved = np.repeat(np.random.default_rng(7).integers(0, 5, 50), 4)
    alone = pass_hat_k(solved, 4, 2)
    clustered = pass_hat_k(solved, 4, 2, cluster=np.arange(200) // 4)
    assert clustered.estimate == alone.estimate
    ratio = (clustered.high - clustered.low) / (alone.high - alone.low)
    assert ratio == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize("solved", [0, 4])
def test_items_that_all_end_alike_have_wilsons_interval_of_so_many(solved):
    interval = pass_hat_k([solved] * 50, 4, 3)
    plain = wilson(50 * solved / 4, 50)
    assert (interval.low, interval.high) == (plain.low, plain.high)

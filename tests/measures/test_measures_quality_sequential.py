"""Tests that may be looked at any time: against their formulas, and never passing by looking."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import beta as beta_function

from llmstudy.measures.quality import (
    anytime_non_inferiority,
    anytime_superiority,
    score_test_size,
)

some_differences = st.lists(st.sampled_from([-1, 0, 1]), min_size=1, max_size=40)


@settings(max_examples=50, deadline=None)
@given(some_differences)
def test_both_directions_of_superiority_average_to_the_published_mixture(difference):
    d = np.array(difference)
    b, c = (d < 0).sum(), (d > 0).sum()
    published = 2.0 ** (b + c) * beta_function(b + 0.5, c + 0.5) / beta_function(0.5, 0.5)
    ends = anytime_superiority(d).e_values[-1] + anytime_superiority(-d).e_values[-1]
    assert ends / 2 == pytest.approx(published)


def test_superiority_is_the_integral_of_the_likelihood_ratio_over_shares_above_a_half():
    d = [1, 1, 0, -1, 1, 1, -1, 1]

    def ratio(p):
        return (2 * p) ** 5 * (2 - 2 * p) ** 2 / np.sqrt(p * (1 - p))

    integral = quad(ratio, 0.5, 1)[0] / quad(lambda p: 1 / np.sqrt(p * (1 - p)), 0.5, 1)[0]
    assert anytime_superiority(d).e_values[-1] == pytest.approx(integral, rel=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=20), st.floats(-0.5, 0.5))
def test_non_inferiority_is_the_mean_wealth_over_stakes_in_any_order(difference, margin):
    d = np.array(difference)

    def wealth(stake):
        return np.prod(1 + stake * (d + margin))

    stakes = np.linspace(0, 1 / (1 - margin), 200_001)[1::2]
    expected = np.mean([wealth(stake) for stake in stakes[::500]])
    e_value = anytime_non_inferiority(d, margin).e_values[-1]
    assert e_value == pytest.approx(expected, rel=0.05)
    assert anytime_non_inferiority(d[::-1], margin).e_values[-1] == pytest.approx(e_value)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 3), st.floats(0.01, 0.3))
def test_a_fair_bet_expects_to_hold_its_wealth(size, margin):
    # the least favourable truth: a loss of the margin, by items lost or by a constant loss
    steps = [(-1.0, margin), (0.0, 1 - margin)]
    outcomes = [((), 1.0)]
    for _ in range(size + 1):
        outcomes = [((*d, step), p * q) for d, p in outcomes for step, q in steps]
    expected = sum(p * anytime_non_inferiority(d, margin).e_values[-1] for d, p in outcomes)
    assert expected == pytest.approx(1)
    constant = anytime_non_inferiority([-margin] * 30, margin)
    assert constant.e_values == pytest.approx(1)
    # and of a claim of more than the margin: b gains it by items won
    steps = [(1.0, margin), (0.0, 1 - margin)]
    outcomes = [((d,), p) for d, p in steps]
    expected = sum(p * anytime_non_inferiority(d, -margin).e_values[-1] for d, p in outcomes)
    assert expected == pytest.approx(1)


def test_the_claim_passes_at_the_first_item_whose_wealth_is_20():
    test = anytime_superiority([1] * 12)
    assert test.passed_at is not None
    assert (test.e_values[: test.passed_at - 1] < 20).all()
    assert test.e_values[test.passed_at - 1] >= 20
    assert anytime_superiority([-1] * 50).passed_at is None


def test_an_equal_model_passes_most_often_within_twice_the_items_of_a_single_look():
    rng = np.random.default_rng(7)
    n = 2 * score_test_size(0.15, 0.05)
    runs = rng.choice([-1, 0, 1], p=[0.075, 0.85, 0.075], size=(300, n))
    passed = [anytime_non_inferiority(d, 0.05).passed_at for d in runs]
    assert np.mean([at is not None for at in passed]) > 0.75


def test_a_claim_against_the_margin_seldom_ever_passes_where_the_margin_is_the_truth():
    rng = np.random.default_rng(7)
    runs = rng.choice([-1, 0, 1], p=[0.10, 0.85, 0.05], size=(400, 300))
    passed = [anytime_non_inferiority(-d, -0.05).passed_at is not None for d in runs]
    assert 0 < np.mean(passed) <= 0.05 + 0.02


def test_graded_scores_pass_sooner_than_the_same_loss_by_right_and_wrong():
    graded = anytime_non_inferiority([-0.02] * 400, 0.05)
    binary = anytime_non_inferiority(([-1] + [0] * 49) * 8, 0.05)
    assert graded.passed_at < (binary.passed_at or 401)


def test_a_wealth_beyond_all_numbers_stays_a_number():
    assert np.isfinite(anytime_superiority([1] * 3_000).e_values).all()

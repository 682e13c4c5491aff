"""One model and two: intervals, draws and tests against libraries, figures and simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import beta, binomtest, kstest, norm
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from llmstudy.measures.quality import (
    PairedCounts,
    acceptance,
    benjamini_hochberg,
    draw_acceptance,
    holm,
    holm_levels,
    mcnemar_exact,
    non_inferiority,
    paired_counts,
    paired_difference,
    wilson,
    zero_failures_bound,
)
from tests.measures.quality_samples import GPT4, MIXTRAL, MMLU, drawn, mmlu_subjects, some_counts


@pytest.mark.parametrize(
    "shares", [(0.5, 0.2, 0.1, 0.2), (0.9, 0.03, 0.03, 0.04), (0.2, 0.0, 0.3, 0.5)]
)
@pytest.mark.parametrize("n", [50, 400])
def test_paired_interval_covers_the_truth_as_often_as_it_says(shares, n):
    truth = shares[2] - shares[1]
    samples = drawn(np.random.default_rng(7), n, shares, 1_000)
    intervals = [paired_difference(c) for c in samples]
    coverage = np.mean([i.low <= truth <= i.high for i in intervals])
    assert 0.93 <= coverage <= 0.99


@settings(max_examples=50, deadline=None)
@given(some_counts)
def test_ends_of_the_paired_interval_lie_where_a_likelihood_fitted_by_search_rejects(counts):
    b, c, n = counts.only_a, counts.only_b, counts.n
    interval = paired_difference(counts)
    for delta in (interval.low, interval.high):

        def minus_loglik(q, delta=delta):
            shares = np.maximum([q, q + delta, 1 - 2 * q - delta], 1e-300)
            return -(np.array([b, c, n - b - c]) * np.log(shares)).sum()

        bounds = (max(0.0, -delta), (1 - delta) / 2)
        q = minimize_scalar(minus_loglik, bounds=bounds, method="bounded", options={"xatol": 1e-10})
        z = (c - b - n * delta) / np.sqrt(n * (2 * q.x + delta - delta**2))
        assert abs(z) == pytest.approx(norm.ppf(0.975), rel=1e-3)


@settings(max_examples=100, deadline=None)
@given(some_counts)
def test_swapping_the_models_mirrors_the_interval(counts):
    swapped = PairedCounts(counts.both, counts.only_b, counts.only_a, counts.neither)
    one, other = paired_difference(counts), paired_difference(swapped)
    assert -1 <= one.low <= one.estimate <= one.high <= 1
    ends = (one.estimate, one.low, one.high)
    assert ends == pytest.approx((-other.estimate, -other.high, -other.low), abs=1e-8)


@pytest.mark.parametrize("counts", [PairedCounts(0, 9, 0, 0), PairedCounts(0, 0, 9, 0)])
def test_a_model_that_wins_every_item_gets_an_interval_that_reaches_the_end(counts):
    interval = paired_difference(counts)
    assert abs(interval.estimate) == 1
    assert interval.high - interval.low < 0.7


def test_mmlu_pair_has_the_published_difference_and_paired_standard_error():
    interval = paired_difference(MMLU)
    assert 100 * interval.estimate == pytest.approx(-12.5, abs=0.05)
    assert 100 * (interval.high - interval.low) / 2 / norm.ppf(0.975) == pytest.approx(
        0.39, abs=0.005
    )


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 500), st.integers(1, 500), st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_agrees_with_statsmodels(successes, n, level):
    successes = min(successes, n)
    interval = wilson(successes, n, level)
    expected = proportion_confint(successes, n, alpha=1 - level, method="wilson")
    assert (interval.low, interval.high) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.98])
def test_wilson_covers_the_truth_about_as_often_as_it_says(share):
    successes = np.random.default_rng(7).binomial(200, share, size=1_000)
    intervals = [wilson(int(k), 200) for k in successes]
    coverage = np.mean([i.low <= share <= i.high for i in intervals])
    assert 0.925 <= coverage <= 0.985


@pytest.mark.parametrize("n", [1, 50, 300])
def test_the_bound_without_failures_is_clopper_and_pearsons(n):
    exact = binomtest(0, n, alternative="less").proportion_ci(0.95, method="exact")
    assert zero_failures_bound(n) == pytest.approx(exact.high)


def test_acceptance_of_gsm8k_is_as_published():
    for scorer, published in (("as published", (0.8567, 0.6384)), ("re-scored", (0.8886, 0.6384))):
        shares = acceptance(paired_counts("gsm8k", "all", GPT4, MIXTRAL, scorer))
        assert tuple(round(i.estimate, 4) for i in shares) == published


def test_acceptance_draws_follow_the_beta_posterior_of_each_model():
    counts = PairedCounts(40, 12, 5, 3)
    draws = draw_acceptance(counts, 4_000, np.random.default_rng(7))
    a, b = beta(53, 9), beta(46, 16)  # two cells of 1/2 each make 1 on either side
    assert kstest(draws[:, 0], a.cdf).pvalue > 0.01
    assert kstest(draws[:, 1], b.cdf).pvalue > 0.01


def test_acceptance_draws_keep_the_pairing():
    draws = draw_acceptance(MMLU, 10_000, np.random.default_rng(7))
    assert np.std(draws[:, 1] - draws[:, 0]) == pytest.approx(0.0039, rel=0.03)


@settings(max_examples=50, deadline=None)
@given(some_counts)
def test_mcnemar_agrees_with_statsmodels(counts):
    table = [[counts.both, counts.only_a], [counts.only_b, counts.neither]]
    assert mcnemar_exact(counts) == pytest.approx(mcnemar(table, exact=True).pvalue)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_agrees_with_statsmodels(p):
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_a_claim_passes_at_its_level_where_holm_lets_it_pass(p):
    assert ((np.array(p) <= holm_levels(p)) == multipletests(p, method="holm")[0]).all()


@settings(max_examples=10, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_benjamini_and_hochberg_agree_with_statsmodels(p):
    assert benjamini_hochberg(p) == pytest.approx(multipletests(p, method="fdr_bh")[1])


def test_57_mmlu_subjects_give_the_published_counts_of_findings():
    subjects = mmlu_subjects()
    p = np.array([mcnemar_exact(c) for c in subjects])
    below = [(x < 0.05).sum() for x in (p, benjamini_hochberg(p), holm(p))]
    assert (len(p), below) == (57, [41, 40, 33])
    passing = [c.subject for c in subjects if non_inferiority(c, 0.05).verdict == "non-inferior"]
    assert passing == ["high_school_mathematics", "marketing", "world_religions"]

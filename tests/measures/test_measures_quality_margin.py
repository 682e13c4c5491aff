"""Non-inferiority, the items that show it, the pass mark and looks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmstudy.measures.quality import (
    PairedCounts,
    golden_set_size,
    look_share,
    minimum_detectable_difference,
    non_inferiority,
    paired_counts,
    paired_difference,
    pass_mark,
    pilot_discordance,
    score_test_size,
)
from tests.measures.quality_samples import GPT4, MIXTRAL, a_margin, drawn, power_of, some_counts


def test_golden_set_sizes_are_the_published_table():
    margins = (0.02, 0.03, 0.05, 0.10)
    table = {
        0.05: [(773, 1071), (344, 476), (124, 172), (31, 43)],
        0.10: [(1546, 2141), (687, 952), (248, 343), (62, 86)],
        0.20: [(3092, 4282), (1374, 1904), (495, 686), (124, 172)],
        0.30: [(4637, 6423), (2061, 2855), (742, 1028), (186, 257)],
    }
    for discordance, row in table.items():
        for margin, expected in zip(margins, row, strict=True):
            sizes = tuple(golden_set_size(discordance, margin, power=p) for p in (0.8, 0.9))
            assert sizes == expected


@pytest.mark.parametrize(
    ("discordance", "margin", "truth"),
    [(0.05, 0.10, 0.0), (0.05, 0.05, 0.0), (0.2, 0.05, 0.02), (0.3, 0.10, -0.05)],
)
def test_score_test_size_reaches_its_power_even_where_items_rarely_differ(
    discordance, margin, truth
):
    n = score_test_size(discordance, margin, true_difference=truth)
    assert power_of(n, discordance, margin, truth, "non-inferior") >= 0.76


def test_textbook_size_falls_short_only_where_items_rarely_differ():
    assert power_of(golden_set_size(0.05, 0.10), 0.05, 0.10, 0.0, "non-inferior") < 0.65
    assert power_of(golden_set_size(0.3, 0.05), 0.3, 0.05, 0.0, "non-inferior") > 0.76
    assert score_test_size(0.3, 0.02) == pytest.approx(golden_set_size(0.3, 0.02), rel=0.01)


@pytest.mark.parametrize("discordance", [0.1, 0.3])
def test_a_model_exactly_on_the_margin_rarely_passes(discordance):
    assert power_of(400, discordance, 0.05, -0.05, "non-inferior", times=1_000) <= 0.07


def test_gsm8k_pairs_get_the_verdicts_their_counts_allow():
    def verdict(a, b):
        return non_inferiority(paired_counts("zeroeval_gsm", "all", a, b), 0.02).verdict

    assert verdict("gpt-4o-mini-2024-07-18", "Meta-Llama-3.1-70B-Instruct") == "non-inferior"
    assert verdict("gpt-4o-2024-08-06", "Llama-3.1-405B-Instruct-Turbo") == "non-inferior"
    assert verdict("claude-3-5-sonnet-20241022", "Meta-Llama-3.1-70B-Instruct") == "undecided"
    assert verdict("gpt-4o-2024-08-06", "Meta-Llama-3.1-8B-Instruct") == "inferior"
    routellm = paired_counts("gsm8k", "all", GPT4, MIXTRAL, "re-scored")
    assert non_inferiority(routellm, 0.05).verdict == "inferior"


@pytest.mark.parametrize(
    ("counts", "verdict"),
    [(PairedCounts(80, 6, 6, 8), "non-inferior"), (PairedCounts(70, 18, 6, 6), "inferior")],
)
def test_the_number_of_items_asked_for_settles_the_comparison(counts, verdict):
    test = non_inferiority(counts, 0.05)
    assert test.verdict == "undecided"
    power = power_of(test.n_needed, counts.discordance_share, 0.05, counts.difference, verdict)
    assert power >= 0.78


@settings(max_examples=100, deadline=None)
@given(some_counts, a_margin)
def test_an_undecided_comparison_always_asks_for_more_items_than_it_had(counts, margin):
    test = non_inferiority(counts, margin)
    if test.verdict == "undecided" and test.n_needed is not None:
        assert test.n_needed > counts.n
    if test.verdict != "undecided":
        assert test.n_needed is None


def test_a_difference_on_the_margin_asks_for_no_number_of_items():
    test = non_inferiority(PairedCounts(80, 10, 5, 5), 0.05)
    assert (test.verdict, test.n_needed) == ("undecided", None)


@settings(max_examples=50, deadline=None)
@given(st.floats(0.02, 0.4), a_margin, st.floats(0.0, 0.02))
def test_a_better_candidate_or_a_wider_margin_never_needs_more_items(psi, margin, truth):
    for size in (golden_set_size, score_test_size):
        n = size(psi, margin, true_difference=0.0)
        assert size(psi, margin, true_difference=truth) <= n
        assert size(psi, margin + 0.05) <= n


@pytest.mark.parametrize(
    ("n", "discordance", "margin", "alpha"),
    [(675, 0.27, 0.05, 0.05), (717, 0.1, 0.03, 0.05), (2_364, 0.27, 0.03, 0.025)],
)
def test_the_pass_mark_parts_the_counts_that_pass_from_those_that_do_not(
    n, discordance, margin, alpha
):
    mark, discordant = pass_mark(n, discordance, margin, alpha), round(n * discordance)
    for only_b in range(discordant + 1):
        counts = PairedCounts(n - discordant, discordant - only_b, only_b, 0)
        far = abs(counts.difference - mark) > 2 / n  # the discordance is rounded to whole items
        if far:
            passes = non_inferiority(counts, margin, alpha).verdict == "non-inferior"
            assert passes == (counts.difference > mark)


def test_675_items_pass_at_a_loss_of_17_tenths_of_a_point_and_not_of_5_points():
    assert pass_mark(675, 0.27, 0.05) == pytest.approx(-0.017, abs=0.0005)
    # the textbook's approximation: the margin less z standard errors
    assert pass_mark(675, 0.27, 0.05) == pytest.approx(
        -0.05 + 1.645 * np.sqrt(0.27 / 675), abs=2e-4
    )


def test_too_few_items_pass_with_no_result():
    assert pass_mark(10, 0.05, 0.05) is None


def test_the_shares_of_all_looks_sum_to_the_whole():
    assert sum(look_share(k) for k in range(10_000)) == pytest.approx(1, abs=1e-3)


# ---- what so many items can show, and what a pilot says


def test_detectable_differences_are_the_published_table():
    published = {50: 17.7, 100: 12.5, 200: 8.9, 500: 5.6, 1_000: 4.0}
    for n, points in published.items():
        assert 100 * minimum_detectable_difference(0.2, n) == pytest.approx(points, abs=0.05)


def test_a_detectable_difference_is_detected_with_its_power():
    smallest = minimum_detectable_difference(0.3, 400)
    a, b = (0.3 - smallest) / 2, (0.3 + smallest) / 2
    samples = drawn(np.random.default_rng(7), 400, (0.5, a, b, 0.2), 1_000)
    detected = np.mean([paired_difference(c).low > 0 for c in samples])
    assert 0.76 <= detected <= 0.86


def test_items_too_few_for_any_difference_detect_none():
    assert minimum_detectable_difference(0.05, 50) is None
    assert minimum_detectable_difference(0.05, 158) is not None


def test_items_planned_at_the_upper_end_of_a_pilot_mostly_suffice():
    rng = np.random.default_rng(7)
    pilots = [pilot_discordance(c, 0.05) for c in drawn(rng, 80, (0.6, 0.07, 0.08, 0.25), 300)]
    needed = score_test_size(0.15, 0.05)
    assert np.mean([plan.items >= needed for plan in pilots]) >= 0.93
    covered = [plan.discordance.low <= 0.15 <= plan.discordance.high for plan in pilots]
    assert np.mean(covered) >= 0.92

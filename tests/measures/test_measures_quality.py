"""Mistakes in the use of quality: an error says what is wrong."""

import numpy as np
import pytest

from llmstudy.measures.quality import (
    PairedCounts,
    anytime_non_inferiority,
    anytime_superiority,
    bootstrap_interval,
    clustered_difference,
    golden_set_size,
    judged_difference,
    krippendorff_alpha,
    look_share,
    minimum_detectable_difference,
    new_subject_interval,
    noise_floor,
    non_inferiority,
    paired_counts,
    paired_table,
    pass_hat_k,
    pilot_discordance,
    score_test_size,
    signed_rank_p,
    wilson,
    zero_failures_bound,
)
from tests.measures.quality_samples import GPT4, MIXTRAL, MMLU

MANY = np.repeat([1, -1], 30)
RNG = np.random.default_rng(7)


def mean_over_0(mean):
    return np.where(mean[..., 0] > 9, mean[..., 0], np.inf)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: PairedCounts(0, 0, 0, 0), "no items"),
        (lambda: PairedCounts(5, -1, 0, 0), "negative"),
        (lambda: wilson(3, 2), "3 successes of 2"),
        (lambda: wilson(0, 0), "n > 0"),
        (lambda: non_inferiority(MMLU, 2), "margin 2: give a share"),
        (lambda: non_inferiority(MMLU, 0.02, alpha=0.95), "one-sided"),
        (lambda: zero_failures_bound(0), "0 items: a bound"),
        (lambda: minimum_detectable_difference(0.2, 0), "at least one"),
        (lambda: minimum_detectable_difference(1.2, 100), "discordance 1.2"),
        (lambda: pilot_discordance(MMLU, 0.05, true_difference=-0.05), "never decided"),
        (lambda: clustered_difference([]), "no items"),
        (lambda: judged_difference(MANY, MANY, []), "no items"),
        (lambda: clustered_difference([0, 1, np.nan]), "without a number: 1 of 3"),
        (lambda: clustered_difference(MANY, ["a"] * 59 + [None]), "without a cluster: 1 of 60"),
        (lambda: clustered_difference(MANY, ["a", "b"]), "60 items, 2 clusters"),
        (
            lambda: clustered_difference(MANY, np.arange(60) // 3),
            "20 items, or clusters.* needs 30",
        ),
        (lambda: clustered_difference(np.zeros(60)), "nothing varies between 60"),
        (lambda: clustered_difference(MANY, np.arange(60) % 30), "nothing varies between 30"),
        (lambda: signed_rank_p([-0.1, -0.1], 0.1), "all 2 items lie on the margin -0.1"),
        (lambda: bootstrap_interval(mean_over_0, MANY, None, RNG), "no number in 2000 of 2000"),
        (lambda: anytime_superiority([0.5, 1]), "margin of 0"),
        (lambda: anytime_superiority([2, 1]), "outside -1..1"),
        (lambda: anytime_non_inferiority(MANY, 1), "margin 1: give a share"),
        (lambda: anytime_non_inferiority(MANY, 0.1, alpha=5), "one-sided"),
        (lambda: judged_difference(MANY, MANY[1:], MANY), "60 labels, 59 judgements"),
        (lambda: pass_hat_k([3, 1], [4, 1], 2), r"pass\^2 needs 2 trials"),
        (lambda: pass_hat_k([5, 1], 4, 2), "successes outside"),
        (lambda: krippendorff_alpha([[1, None], [None, 2]]), "no item with two ratings"),
        (lambda: krippendorff_alpha([[1, 1], [1, 1]]), "all ratings are the same"),
        (lambda: look_share(-1), "looks -1: give how many times"),
        (lambda: golden_set_size(0.1, 0.02, true_difference=-0.02), "not above the margin"),
        (lambda: golden_set_size(0.0, 0.02), "score_test_size"),
        (lambda: score_test_size(0.1, 0.02, true_difference=-0.02), "never decided"),
        (lambda: score_test_size(0.1, 0.02, true_difference=0.2), "at least as large"),
        (lambda: score_test_size(0.1, 0.02, power=1.0), "power 1"),
        (lambda: new_subject_interval(paired_table(), ["model"]), r"lacks \['model'\]"),
        (lambda: noise_floor(paired_table()), "lacks"),
        (lambda: paired_counts("mmlu", "anatomi", GPT4, MIXTRAL), "'anatomy'"),
        (lambda: paired_counts("mmlu", "anatomy", "gpt-4o", MIXTRAL), "gpt-4-1106-preview"),
        (lambda: paired_counts("gsm8k", "all", GPT4, MIXTRAL), "choose .*re-scored"),
    ],
)
def test_an_error_says_what_is_wrong_and_how_to_mend_it(wrong, says):
    with pytest.raises(ValueError, match=says):
        wrong()

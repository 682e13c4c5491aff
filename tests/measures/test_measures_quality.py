"""Mistakes in the use of quality: an error says what is wrong."""

import pytest

from llmstudy.measures.quality import (
    PairedCounts,
    golden_set_size,
    look_share,
    new_subject_interval,
    noise_floor,
    non_inferiority,
    paired_counts,
    paired_table,
    score_test_size,
    wilson,
)
from tests.measures.quality_samples import GPT4, MIXTRAL, MMLU


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: PairedCounts(0, 0, 0, 0), "no items"),
        (lambda: PairedCounts(5, -1, 0, 0), "negative"),
        (lambda: wilson(3, 2), "3 successes of 2"),
        (lambda: wilson(0, 0), "n > 0"),
        (lambda: non_inferiority(MMLU, 2), "margin 2: give a share"),
        (lambda: non_inferiority(MMLU, 0.02, alpha=0.95), "one-sided"),
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

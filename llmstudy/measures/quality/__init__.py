"""Whether a candidate is good enough: paired comparisons of two models on the same items.

A difference is always b minus a: a is the model in use (proprietary), b the candidate (open).
`counts` has the items by who is right, `paired` the difference between two models, `margin` whether
it is small enough, `sizes` the items that show it, `levels` how several claims and looks share one
level. `new_subject` goes from a public benchmark to one's own task, `soundness` doubts the
measurement. Counts and arrays go in, numbers come out; only `benchmarks`, and `soundness` with it,
read files, which are bundled tables.
"""

from llmstudy.measures.quality.benchmarks import (
    Benchmark,
    benchmark,
    paired_counts,
    paired_table,
    same_weights_hosts,
)
from llmstudy.measures.quality.counts import PairedCounts, acceptance, draw_acceptance, wilson
from llmstudy.measures.quality.levels import ALPHA, check_alpha, holm, holm_levels, look_share
from llmstudy.measures.quality.margin import NonInferiority, non_inferiority, non_inferiority_p
from llmstudy.measures.quality.new_subject import new_subject_interval
from llmstudy.measures.quality.paired import mcnemar_exact, paired_difference
from llmstudy.measures.quality.sizes import (
    golden_set_size,
    items_needed,
    pass_mark,
    score_test_size,
)
from llmstudy.measures.quality.soundness import IMPLAUSIBLE, audit, noise_floor

__all__ = [
    "ALPHA",
    "IMPLAUSIBLE",
    "Benchmark",
    "NonInferiority",
    "PairedCounts",
    "acceptance",
    "audit",
    "benchmark",
    "check_alpha",
    "draw_acceptance",
    "golden_set_size",
    "holm",
    "holm_levels",
    "items_needed",
    "look_share",
    "mcnemar_exact",
    "new_subject_interval",
    "noise_floor",
    "non_inferiority",
    "non_inferiority_p",
    "paired_counts",
    "paired_difference",
    "paired_table",
    "pass_mark",
    "same_weights_hosts",
    "score_test_size",
    "wilson",
]

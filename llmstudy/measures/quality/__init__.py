"""Whether a candidate is good enough: paired comparisons of two models on the same items.

A difference is always b minus a: a is the model in use (proprietary), b the candidate (open).
`counts` has the items by who is right, `paired` the difference between two models, `margin` whether
it is small enough, `sizes` the items that show it, `levels` how several claims and looks share one
level. `items` has differences of graded scores and of items in `clusters`, `bootstrap` any other
statistic of them, `sequential` tests that may be looked at after every item, `judges` an LLM judge
beside labels, `reliability` repeats and raters. `new_subject` goes from a public benchmark to one's
own task, `soundness` doubts the measurement. Counts and arrays go in, numbers come out; only
`benchmarks`, and `soundness` with it, read files, which are bundled tables.

How often each interval covers the truth is in `docs/quality_coverage.md`.
"""

from llmstudy.measures.quality.benchmarks import (
    Benchmark,
    benchmark,
    paired_counts,
    paired_table,
    repeated_tasks,
    same_weights_hosts,
)
from llmstudy.measures.quality.bootstrap import bootstrap_interval, resampled_means
from llmstudy.measures.quality.counts import (
    PairedCounts,
    acceptance,
    draw_acceptance,
    wilson,
    zero_failures_bound,
)
from llmstudy.measures.quality.items import clustered_difference, design_effect, signed_rank_p
from llmstudy.measures.quality.judges import JudgedDifference, judged_difference
from llmstudy.measures.quality.levels import (
    ALPHA,
    benjamini_hochberg,
    check_alpha,
    holm,
    holm_levels,
    look_share,
)
from llmstudy.measures.quality.margin import NonInferiority, non_inferiority, non_inferiority_p
from llmstudy.measures.quality.new_subject import new_subject_interval
from llmstudy.measures.quality.paired import mcnemar_exact, paired_difference
from llmstudy.measures.quality.reliability import krippendorff_alpha, pass_hat_k
from llmstudy.measures.quality.sequential import (
    AnytimeTest,
    anytime_non_inferiority,
    anytime_superiority,
)
from llmstudy.measures.quality.sizes import (
    PilotPlan,
    golden_set_size,
    items_needed,
    minimum_detectable_difference,
    pass_mark,
    pilot_discordance,
    score_test_size,
)
from llmstudy.measures.quality.soundness import IMPLAUSIBLE, audit, noise_floor

__all__ = [
    "ALPHA",
    "IMPLAUSIBLE",
    "AnytimeTest",
    "Benchmark",
    "JudgedDifference",
    "NonInferiority",
    "PairedCounts",
    "PilotPlan",
    "acceptance",
    "anytime_non_inferiority",
    "anytime_superiority",
    "audit",
    "benchmark",
    "benjamini_hochberg",
    "bootstrap_interval",
    "check_alpha",
    "clustered_difference",
    "design_effect",
    "draw_acceptance",
    "golden_set_size",
    "holm",
    "holm_levels",
    "items_needed",
    "judged_difference",
    "krippendorff_alpha",
    "look_share",
    "mcnemar_exact",
    "minimum_detectable_difference",
    "new_subject_interval",
    "noise_floor",
    "non_inferiority",
    "non_inferiority_p",
    "paired_counts",
    "paired_difference",
    "paired_table",
    "pass_hat_k",
    "pass_mark",
    "pilot_discordance",
    "repeated_tasks",
    "resampled_means",
    "same_weights_hosts",
    "score_test_size",
    "signed_rank_p",
    "wilson",
    "zero_failures_bound",
]

"""The chapters of a study: the tables and headings of each notebook, and how one is opened."""

from collections.abc import Mapping

READS: Mapping[str, tuple[str, ...]] = {
    "01_evidence": (),
    "02_cost": (),
    "03_latency": ("05_self_hosting",),
    "04_quality": ("02_cost",),
    "05_self_hosting": (),
    "06_crossover": ("01_evidence", "02_cost", "03_latency", "04_quality"),
    "07_triggers_and_routing": ("06_crossover",),
    "08_memo": ("07_triggers_and_routing",),
    "09_source_memo": ("02_cost", "04_quality", "05_self_hosting"),
}
"""Each chapter, and the chapters whose results it reads, directly; it reads what they read too."""

BEFORE_MEMO = tuple(name for name in READS if name < "08")

OF_RUN = ("diff", "gateway")
"""What a run itself writes beside the results of its chapters, for the memo: what has changed since
the previous run, and the gateway's files."""

"""The chapters of a study: the tables of each notebook, its headings, how a notebook is opened."""

from collections.abc import Mapping

READS: Mapping[str, tuple[str, ...]] = {
    "01_evidence": (),
    "02_cost": (),
    "03_latency": ("05_self_hosting",),
    "04_quality": (),
    "05_self_hosting": (),
    "06_crossover": ("01_evidence", "02_cost", "03_latency", "04_quality"),
    "07_triggers_and_routing": ("06_crossover",),
    "08_memo": ("07_triggers_and_routing",),
    "09_source_memo": ("02_cost", "04_quality", "05_self_hosting"),
}
"""Each chapter, and those whose results it reads; it reads those of theirs too."""

BEFORE_MEMO = tuple(name for name in READS if name < "08")

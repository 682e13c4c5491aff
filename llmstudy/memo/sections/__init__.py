"""What does the memo say? Section by section: facts in, HTML out.

Every sentence is computed: it changes when the evidence does. Each number is bound to its place in
the results (`llmstudy.memo.figures`), so the facts given here are those of `Facts.located`. What
comes from a study or a log is escaped. Confidence and likelihood never share a sentence (ICD 203).
"""

from llmstudy.memo.sections.appendix import (
    alternatives,
    appendix_heading,
    criteria,
    crossovers,
    disagreements,
    panel,
    panel_heading,
    plan,
    plan_heading,
    risk_register,
    roadmap,
    tradeoffs,
    verdict_table,
    verdicts,
)
from llmstudy.memo.sections.drivers import assumptions, drivers
from llmstudy.memo.sections.findings import cost_finding, quality_finding, vendor_finding
from llmstudy.memo.sections.options import options
from llmstudy.memo.sections.provenance import chapter_links, method, provenance
from llmstudy.memo.sections.recommendation import ask, header, recommendation
from llmstudy.memo.sections.since_last import since_last
from llmstudy.memo.sections.thresholds import change_our_mind, next_steps, risks

__all__ = [
    "alternatives",
    "appendix_heading",
    "ask",
    "assumptions",
    "change_our_mind",
    "chapter_links",
    "cost_finding",
    "criteria",
    "crossovers",
    "disagreements",
    "drivers",
    "header",
    "method",
    "next_steps",
    "options",
    "panel",
    "panel_heading",
    "plan",
    "plan_heading",
    "provenance",
    "quality_finding",
    "recommendation",
    "risk_register",
    "risks",
    "roadmap",
    "since_last",
    "tradeoffs",
    "vendor_finding",
    "verdict_table",
    "verdicts",
]

"""The results of a study's chapters without their notebooks: the same tables, in the same order."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from llmstudy import io
from llmstudy.chapters import BEFORE_MEMO, READS
from llmstudy.chapters.cost import cost_tables
from llmstudy.chapters.crossover import crossover_tables
from llmstudy.chapters.decision import decision_tables
from llmstudy.chapters.evidence import evidence_tables
from llmstudy.chapters.hosting import hosting_tables
from llmstudy.chapters.latency import latency_tables
from llmstudy.chapters.quality import quality_tables, redaction_leaks
from llmstudy.chapters.sizing import peak_fleets
from llmstudy.evidence.case import Case

Results = dict[str, dict[str, Any]]
"""The results of chapters, by the chapter's name."""

MEASURES = ("02_cost", "03_latency", "04_quality", "05_self_hosting")
"""The chapters that measure: what the routes cost, how fast and how good they are."""

_TABLES: Mapping[str, Callable[[Case, Results], Mapping[str, Any]]] = {
    "01_evidence": lambda case, _: evidence_tables(case),
    "02_cost": lambda case, _: cost_tables(case),
    "03_latency": lambda case, earlier: latency_tables(case, earlier["05_self_hosting"]),
    "04_quality": lambda case, _: {
        **quality_tables(case),
        "redaction": redaction_leaks(case.study),
    },
    "05_self_hosting": lambda case, _: hosting_tables(case, peak_fleets(case)),
    "06_crossover": crossover_tables,
    "07_triggers_and_routing": decision_tables,
}


def chapter_results(
    case: Case,
    names: Iterable[str] = BEFORE_MEMO,
    earlier: Mapping[str, dict[str, Any]] | None = None,
) -> Results:
    """The results of chapters and of those that they read, as their notebooks write them.

    A test compares them with what the notebooks write. What a chapter only shows (our own GPU runs,
    replayed weeks) is left out.

    names: by default all chapters before the memo. earlier: results by chapter name that are not to
    be computed again; they are in what is returned.
    Raises: ValueError if the study's evidence cannot be used.
    """
    results = dict(earlier or {})
    for name in names:
        if name not in results:
            results = chapter_results(case, READS[name], results)
            results[name] = io.plain(_TABLES[name](case, results))
    return results

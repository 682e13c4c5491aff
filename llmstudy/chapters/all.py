"""The results of a study's chapters without their notebooks: the same tables, in the same order."""

from collections.abc import Callable
from typing import Any

from llmstudy import io
from llmstudy.chapters import BEFORE_MEMO, READS
from llmstudy.chapters.cost import cost_tables
from llmstudy.chapters.crossover import crossover_tables
from llmstudy.chapters.decision import decision_tables
from llmstudy.chapters.evidence import evidence_tables
from llmstudy.chapters.hosting import hosting_tables
from llmstudy.chapters.latency import latency_tables
from llmstudy.chapters.quality import quality_tables
from llmstudy.evidence.case import Case

Written = dict[str, dict[str, Any]]
"""What chapters write, by their names."""


def chapter_results(case: Case) -> Written:
    """What each chapter before the memo would write, by its name.

    A test holds it to what the notebooks write. What a chapter only shows (our own GPU runs) is
    left out, and so is chapter 09, which no other reads.
    Raises: ValueError if the study's evidence cannot be used.
    """
    return with_results(case, BEFORE_MEMO[-1], {})


def with_results(case: Case, name: str, results: Written) -> Written:
    """The results of a chapter and of those that it reads, beside those that are there already.

    Raises: ValueError if the study's evidence cannot be used.
    """
    if name in results:
        return results
    for earlier in READS[name]:
        results = with_results(case, earlier, results)
    makers: dict[str, Callable[[], dict[str, Any]]] = {
        "01_evidence": lambda: evidence_tables(case),
        "02_cost": lambda: cost_tables(case),
        "03_latency": lambda: latency_tables(case, results["05_self_hosting"]),
        "04_quality": lambda: quality_tables(case),
        "05_self_hosting": lambda: hosting_tables(case),
        "06_crossover": lambda: crossover_tables(case, results),
        "07_triggers_and_routing": lambda: decision_tables(case, results),
    }
    return results | {name: io.plain(makers[name]())}


def measured(case: Case) -> Written:
    """The results of chapters 02 to 05, by name, as they write them."""
    results: Written = {}
    for name in ("02_cost", "03_latency", "04_quality"):
        results = with_results(case, name, results)
    return results

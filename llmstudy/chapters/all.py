"""The results of a study's chapters without their notebooks: the same tables, in the same order."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from llmstudy import io
from llmstudy.chapters.cost import cost_tables
from llmstudy.chapters.crossover import crossover_tables
from llmstudy.chapters.decision import decision_tables
from llmstudy.chapters.evidence import evidence_tables
from llmstudy.chapters.hosting import hosting_tables
from llmstudy.chapters.latency import latency_tables
from llmstudy.chapters.quality import quality_tables
from llmstudy.evidence.case import Case


def chapter_results(case: Case) -> dict[str, dict[str, Any]]:
    """What each chapter before the memo would write, by its name.

    A test holds it to what the notebooks write. What a chapter only shows (our own GPU runs) is
    left out, and so is chapter 09, which no other reads.
    Raises: ValueError if the study's evidence cannot be used.
    """
    results: dict[str, dict[str, Any]] = {}

    def write(name: str, tables: Mapping[str, Any]) -> None:
        results[name] = io.plain(tables)

    write("01_evidence", evidence_tables(case))
    results |= measured(case)
    write("06_crossover", crossover_tables(case, results))
    write("07_triggers_and_routing", decision_tables(case, results))
    return results


def measured(case: Case, fits: pd.DataFrame | None = None) -> dict[str, dict[str, Any]]:
    """The results of those chapters, by name, as they write them.

    fits: `capacity.serving_fits` of the study's seed, where the caller has them already.
    Raises: ValueError if the study's evidence cannot be used.
    """
    hosting = io.plain(hosting_tables(case, fits))
    return {
        "02_cost": io.plain(cost_tables(case)),
        "03_latency": io.plain(latency_tables(case, hosting)),
        "04_quality": io.plain(quality_tables(case)),
        "05_self_hosting": hosting,
    }

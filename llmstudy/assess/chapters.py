"""The results of a study's chapters without their notebooks: the same tables, in the same order."""

from collections.abc import Mapping
from typing import Any

from llmstudy import canonical
from llmstudy.assess.case import Case
from llmstudy.assess.crossover import crossover_tables
from llmstudy.assess.evidence import evidence_tables
from llmstudy.assess.measured import measured
from llmstudy.assess.verdict import decision_tables


def chapter_results(case: Case) -> dict[str, dict[str, Any]]:
    """What each chapter before the memo would write, by its name.

    A test holds it to what the notebooks write. What a chapter only shows (our own GPU runs) is
    left out. Raises: ValueError if the study's evidence cannot be used.
    """
    found: dict[str, dict[str, Any]] = {}

    def write(name: str, tables: Mapping[str, Any]) -> None:
        found[name] = canonical.plain(tables)

    write("01_evidence", evidence_tables(case))
    found |= measured(case)
    write("06_crossover", crossover_tables(case, found))
    write("07_triggers_and_routing", decision_tables(case, found))
    return found

"""Executes a study: from a study file to a folder with the memo and everything behind it.

`chapters.py` runs the notebooks in order, and writes a run completely or not at all; `notebook.py`
executes one in its own process, and `kernel.py` is what runs in that; `progress.py` reports
progress; `reuse.py` takes unchanged chapters from earlier runs; `pages.py` makes the pages;
`provenance.py` records the inputs of a run; `record.py` has the schema of `results.json` and reads
earlier runs; `check.py` judges a study on a later day; `reference.py` makes the outputs that tests
compare; `sweep/` runs many studies.
"""

from llmstudy.run.chapters import (
    CHAPTERS,
    RunError,
    RunResult,
    latest_run,
    run_study,
)
from llmstudy.run.provenance import fingerprint, made_of
from llmstudy.run.reference import execute_reference

__all__ = [
    "CHAPTERS",
    "RunError",
    "RunResult",
    "execute_reference",
    "fingerprint",
    "latest_run",
    "made_of",
    "run_study",
]

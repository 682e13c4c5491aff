"""How is a study executed? From a study file to a folder with the memo and all it rests on.

`chapters.py` runs the notebooks in order and keeps a run whole; `notebook.py` executes one in a
process of its own and `kernel.py` is what happens in there; `reuse.py` takes what an earlier run
made of the same inputs; `pages.py` makes the pages, `provenance.py` says what a run was made of,
`reference.py` keeps the outputs that tests compare.
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

"""What is the answer, and what would it be under changes?

`changes`: the levers, the study that they make, and its file. `prepared`: what is priced, sized and
drawn once for all changes. `outcome`: the answer under one set of changes: verdicts, what each
route costs and saves, and the headline of a memo. `breakevens`: the value of each lever at which
the answer changes. `replay`: the headline of many studies.

One function, `answer`, is behind the analyst's sliders, those in the memo, `llmstudy check` and
`llmstudy diff`. It calls the functions of the chapters, so that a run of the changed study file
gives the same answer.
"""

from llmstudy.answer.breakevens import BreakEven, Crossovers, Lever, break_evens, crossovers
from llmstudy.answer.changes import BASE, Changes, changed, save, with_quotes
from llmstudy.answer.outcome import KINDS, Kind, Outcome, Spread, WorkloadOutcome, answer, leading
from llmstudy.answer.prepared import SLO_FACTORS, Prepared, prepare
from llmstudy.answer.replay import Replay

__all__ = [
    "BASE",
    "KINDS",
    "SLO_FACTORS",
    "BreakEven",
    "Changes",
    "Crossovers",
    "Kind",
    "Lever",
    "Outcome",
    "Prepared",
    "Replay",
    "Spread",
    "WorkloadOutcome",
    "answer",
    "break_evens",
    "changed",
    "crossovers",
    "leading",
    "prepare",
    "save",
    "with_quotes",
]

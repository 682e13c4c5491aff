"""What would the answer be at another volume, price, target, margin or team?

`changes`: the levers, and the study that they make. `prepared`: what is priced, sized and drawn
once for all settings of the levers. `outcome`: the answer at one setting. `breaks`: where each
lever, by itself, turns it. `saved`: the setting as a study file. `move`: what one move saves.

One function, `what_if`, stands behind the analyst's sliders and those of the memo's attachment. It
asks the chapters' own functions, so that a run of the changed study file says the same.
"""

from llmstudy.what_if.changes import BASE, Changes, changed, with_quotes
from llmstudy.what_if.outcome import Outcome, what_if
from llmstudy.what_if.prepared import SLO_FACTORS, Prepared, prepare
from llmstudy.what_if.saved import save

__all__ = [
    "BASE",
    "SLO_FACTORS",
    "Changes",
    "Outcome",
    "Prepared",
    "changed",
    "prepare",
    "save",
    "what_if",
    "with_quotes",
]

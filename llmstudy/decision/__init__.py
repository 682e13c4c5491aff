"""What should be done, and on what grounds.

`verdicts`: one workload, and all of them together. `plan`: the phases, their gates and their work.
`first_moves`: what moves first, and `canary`: how much traffic tries it. `panel`: the four
advisors. `criteria`: the six criteria, which rest on `portability`, `contracts` and `team`. Pure
functions: measures in, decisions out as data.
"""

from llmstudy.decision.plan import phases
from llmstudy.decision.verdicts import (
    ROUTE_COLUMNS,
    Collect,
    Reason,
    Verdict,
    against_equals,
    is_proven,
    overall,
    pays,
    verdict,
)

__all__ = [
    "ROUTE_COLUMNS",
    "Collect",
    "Reason",
    "Verdict",
    "against_equals",
    "is_proven",
    "overall",
    "pays",
    "phases",
    "verdict",
]

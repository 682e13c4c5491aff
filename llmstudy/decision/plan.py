"""In which phases is a decision carried out, and what must be true before each (MEMO V2)?"""

from collections.abc import Sequence
from datetime import date, timedelta

import pandas as pd

from llmstudy import paths


def phases(start: date, moves: Sequence[str], candidates: Sequence[str]) -> pd.DataFrame:
    """V2 as a dated plan from the day of the decision.

    moves: workloads whose verdict is to move; candidates: undecided ones.
    Returns: phase, title, start, end, entry_gate, exit_gate, work_items, owner, cost_figure, scope.
    """
    table = pd.read_csv(paths.data("phases.csv"))
    table["start"] = [start + timedelta(weeks=int(w)) for w in table["start_week"]]
    table["end"] = [start + timedelta(weeks=int(w)) for w in table["end_week"]]
    scope = {
        1: "all workloads",
        2: "; ".join(candidates) or "all workloads",
        3: "; ".join(moves) or "none yet: a trigger must fire first",
    }
    table["scope"] = table["phase"].map(scope)
    return table.drop(columns=["start_week", "end_week"])

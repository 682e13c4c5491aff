"""Which loads are worth measuring, and what follows from them?

`goodput`: the highest rate within an SLO. `knee`: the load from which more load yields little.
`levels`: the few points that fit a serving curve in the least GPU time. `points`: a closed-loop run
as a row for that fit.
"""

from llmstudy.measures.capacity import guessed_curve
from llmstudy.probe.options import SLO
from llmstudy.probe.search.goodput import Goodput, Measure, max_goodput, slo_margin
from llmstudy.probe.search.knee import Knee, backlog_growth, knee, load_point
from llmstudy.probe.search.levels import sweep_candidates, sweep_levels
from llmstudy.probe.search.points import serving_point, steady_state

__all__ = [
    "SLO",
    "Goodput",
    "Knee",
    "Measure",
    "backlog_growth",
    "guessed_curve",
    "knee",
    "load_point",
    "max_goodput",
    "serving_point",
    "slo_margin",
    "steady_state",
    "sweep_candidates",
    "sweep_levels",
]

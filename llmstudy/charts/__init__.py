"""What does the evidence look like? One function per chart.

Each takes result tables and returns a `Chart`; none computes a result. The title is the finding,
built from the table; words stand on the marks instead of in a legend; colour never carries a
meaning alone; the last line says how good the evidence is.

`crossover` holds the charts of when another route pays, `hosting` those of fleets and their
capacity, `quality` those of answers, `plan` those of triggers and phases, `information` those of
what decides and what to measure. `style` is the look of them all, `drawing` puts the words where
they can be read, `tables` refuses what cannot be drawn.
"""

from llmstudy.charts.crossover import cost_against_volume, p_never
from llmstudy.charts.hosting import serving_curve, week_load
from llmstudy.charts.information import tornado
from llmstudy.charts.plan import STATUS, phase_timeline, trigger_status
from llmstudy.charts.quality import quality_forest
from llmstudy.charts.style import ACCENT, ARMS, GREY, SMALL_PT, Chart, Look, svg, use_style

__all__ = [
    "ACCENT",
    "ARMS",
    "GREY",
    "SMALL_PT",
    "STATUS",
    "Chart",
    "Look",
    "cost_against_volume",
    "p_never",
    "phase_timeline",
    "quality_forest",
    "serving_curve",
    "svg",
    "tornado",
    "trigger_status",
    "use_style",
    "week_load",
]

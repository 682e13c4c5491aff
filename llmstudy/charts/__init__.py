"""What does the evidence look like? One function per chart.

Each takes result tables and returns a `Chart`; none computes a result. The title is the finding,
built from the table; labels are on the marks instead of in a legend; colour never carries a
meaning alone; the last line is the grade of the evidence.

`cost` has the charts of what a month costs, `crossover` those of when another route pays,
`distributions` how requests, their bills and waits vary, `hosting` those of fleets and their
capacity, `measures` those of today's bills and first tokens, `quality` those of answers, `criteria`
that of the six criteria, `plan` those of triggers and phases, `risks` that of risks, `information`
those of what decides, what to measure and whether to wait. `style` is the look of them all,
`drawing` places the labels, `tables` refuses what cannot be drawn.
"""

from llmstudy.charts.cost import calculator_bridge, cost_items, projection, source_memo_costs
from llmstudy.charts.criteria import criteria
from llmstudy.charts.crossover import (
    cost_against_volume,
    crossover_claims,
    p_cheaper_by_month,
    p_cheaper_heat,
    p_never,
)
from llmstudy.charts.distributions import (
    hourly_load,
    measured_waits,
    request_bills,
    subject_differences,
    token_lengths,
)
from llmstudy.charts.hosting import (
    base_load_split,
    heldout_errors,
    replicas_week,
    serving_curve,
    week_load,
)
from llmstudy.charts.information import (
    convergence,
    information_bars,
    p_never_drivers,
    tornado,
    waiting_costs,
)
from llmstudy.charts.measures import first_tokens, month_bills
from llmstudy.charts.panel import ALL, panel
from llmstudy.charts.plan import STATUS, phase_timeline, regret_bars, trigger_status
from llmstudy.charts.quality import quality_forest
from llmstudy.charts.risks import MARKS, risk_register
from llmstudy.charts.style import (
    ACCENT,
    ARMS,
    GREY,
    SMALL_PT,
    Chart,
    Look,
    lettered,
    svg,
    use_style,
)

__all__ = [
    "ACCENT",
    "ALL",
    "ARMS",
    "GREY",
    "MARKS",
    "SMALL_PT",
    "STATUS",
    "Chart",
    "Look",
    "base_load_split",
    "calculator_bridge",
    "convergence",
    "cost_against_volume",
    "cost_items",
    "criteria",
    "crossover_claims",
    "first_tokens",
    "heldout_errors",
    "hourly_load",
    "information_bars",
    "lettered",
    "measured_waits",
    "month_bills",
    "p_cheaper_by_month",
    "p_cheaper_heat",
    "p_never",
    "p_never_drivers",
    "panel",
    "phase_timeline",
    "projection",
    "quality_forest",
    "regret_bars",
    "replicas_week",
    "request_bills",
    "risk_register",
    "serving_curve",
    "source_memo_costs",
    "subject_differences",
    "svg",
    "token_lengths",
    "tornado",
    "trigger_status",
    "use_style",
    "waiting_costs",
    "week_load",
]

"""What does the evidence look like? One function per chart.

Each takes result tables and returns a `Chart`; none computes a result. The title is the finding,
built from the table; labels are on the marks instead of in a legend; colour never carries meaning
alone; the last line is the grade of the evidence.

`cost` has the charts of monthly costs, `crossover` of when another route pays off, `distributions`
of how requests, their bills and latencies vary, `hosting` of fleets and their capacity, `measures`
of today's bills and TTFT, `quality` of paired comparisons, `criteria` of the six criteria, `panel`
of the advisors, `plan` of triggers and phases, `risks` of the risk register, `information` of what
decides, what to measure and whether to wait. `style` is their common look, `drawing` places labels,
`tables` checks the tables.
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
    svg,
    use_style,
    with_text,
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
    "with_text",
]

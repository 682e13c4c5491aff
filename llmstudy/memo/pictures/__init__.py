"""Which chart or table shows which results of a run, and with which note on its evidence.

A chart that has nothing to show is None, and is then left out.
"""

from llmstudy.memo.pictures.crossover import (
    chances,
    cheaper_by_month,
    convergence,
    cost_against_volume,
    crossover_claims,
    crossover_table,
    p_never,
    projection,
)
from llmstudy.memo.pictures.decision import (
    contract_table,
    criteria,
    disagreement_table,
    panel,
    phase_timeline,
    portability_table,
    regret,
    risk_register,
    tradeoff_table,
    trigger_status,
    waiting,
)
from llmstudy.memo.pictures.drivers import (
    calculator_bridge,
    cost_items,
    flips_table,
    information,
    p_never_drivers,
    tornado,
)
from llmstudy.memo.pictures.hosting import (
    HELDOUT_GOAL,
    base_load,
    busiest_fleet,
    heldout_errors,
    serving_curve,
    sized_week,
    sizing_notes,
    week_load,
)
from llmstudy.memo.pictures.measures import (
    first_tokens,
    month_bills,
    quality_forest,
    quality_in_short,
)

__all__ = [
    "HELDOUT_GOAL",
    "base_load",
    "busiest_fleet",
    "calculator_bridge",
    "chances",
    "cheaper_by_month",
    "contract_table",
    "convergence",
    "cost_against_volume",
    "cost_items",
    "criteria",
    "crossover_claims",
    "crossover_table",
    "disagreement_table",
    "first_tokens",
    "flips_table",
    "heldout_errors",
    "information",
    "month_bills",
    "p_never",
    "p_never_drivers",
    "panel",
    "phase_timeline",
    "portability_table",
    "projection",
    "quality_forest",
    "quality_in_short",
    "regret",
    "risk_register",
    "serving_curve",
    "sized_week",
    "sizing_notes",
    "tornado",
    "tradeoff_table",
    "trigger_status",
    "waiting",
    "week_load",
]

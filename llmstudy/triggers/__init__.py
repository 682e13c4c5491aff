"""What should move a workload, has it happened, and would the rule have paid?

`hysteresis`: what it means that a signal is sustained. `rules`: the triggers and the advisors' own
rules as data. `backtest`: what each rule costs against hindsight. `weekly`: what a real log says
week by week. Nothing here knows a study.
"""

from llmstudy.triggers.backtest import (
    ImprovedThreshold,
    backtest,
    candidate_levels,
    hindsight,
    improved_threshold,
)
from llmstudy.triggers.hysteresis import first_fired, held_for, held_level, sustained
from llmstudy.triggers.rules import advisor_rules, column_of, decide, lens, trigger_table
from llmstudy.triggers.weekly import fired_weeks, log_signals, weekly_signals

__all__ = [
    "ImprovedThreshold",
    "advisor_rules",
    "backtest",
    "candidate_levels",
    "column_of",
    "decide",
    "fired_weeks",
    "first_fired",
    "held_for",
    "held_level",
    "hindsight",
    "improved_threshold",
    "lens",
    "log_signals",
    "sustained",
    "trigger_table",
    "weekly_signals",
]

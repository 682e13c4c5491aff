"""What should move a workload, has it happened, and would the rule have paid?

`today` holds the facts of the triggers G1 to G6 in a study, `hysteresis` what it means that a
signal is sustained, `rules` the advisors' own rules as data, `backtest` what each rule costs
against hindsight, `weekly` what a real log says week by week.
"""

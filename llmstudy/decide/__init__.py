"""What should be done, and why.

`verdicts` decides for one workload and for all together, from the table of `routes`; `moves`,
`dates` and `canary` say what moves first, when, and with how much traffic, `canary_check` and
`canary_log` whether a running canary goes on; `plan` and `gates` have the phases; `criteria` and
`scores` the six criteria, which rest on `portability`, `lock_in`, `contracts` and `team`;
`triggers` watches for reasons to move a workload, and `waiting` values the time of moving; `panel`,
`advisors` and `disagreements` are about the four advisors. `facts` computes the facts of a study,
`judge` compares them with thresholds, and `matrices` fills the source memo's tables with both;
`current_models`, `intake`, `claims` and `lens` are tables of their own.
"""

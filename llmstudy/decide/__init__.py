"""What should be done, and on what grounds.

`verdicts` judges one workload and all together, on the table of `routes`; `moves`, `dates` and
`canary` say what moves first, when, and with how much traffic; `plan` and `gates` hold the phases;
`criteria` and `scores` the six criteria, which rest on `portability`, `lock_in`, `contracts` and
`team`; `triggers` watches what should move a workload, `waiting` values when; `panel` and
`disagreements` are the four advisors.
"""

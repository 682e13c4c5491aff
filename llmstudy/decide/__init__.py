"""What should be done, on what grounds.

`facts`: every named fact of a study once, `judge`: a fact against a line. `verdicts`: one workload,
and all of them together. `matrices`, `intake`, `lens`: the source memo's tables on this study's
facts. `criteria`, on `portability`, `contracts` and `team`. `triggers`: what should move a
workload, and the rules back-tested. `plan`: phases, their gates and their work; `moves`, `dates`,
`canary`: what moves first, from when, and how much traffic tries it. `advisors`: the four advisors
and their disagreements.
"""

"""The request log: each request's workload, model, time, tokens and outcome.

`schema` has the canonical table and its rules, `importers` reads a log into it without losing a
row, `plausible` finds rows that would mislead, `draw` simulates requests from published shapes
where there is no log. The text of prompts and answers is never read.
"""

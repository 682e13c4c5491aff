"""Evaluations: the same items answered by several routes and scored, as one table.

`table` is that table and its pairs; `importers` read it from other tools' files; `audit` looks for
faults of the scorer before any claim; `verdict` says what to do.
"""

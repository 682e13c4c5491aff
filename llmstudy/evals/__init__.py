"""Evaluations: the same items answered by several routes and scored, as one table.

`golden` builds the items from a log, with what `redaction` takes out of their texts; `items` are
sets of them, as files and as sheets to label, and `labelling` the view of a sheet. `table` is the
table of an evaluation and its pairs; `importers` read it from other tools' files; `audit` looks for
faults of the scorer before any claim; `verdict` says what to do.
"""

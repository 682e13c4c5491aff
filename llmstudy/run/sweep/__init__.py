"""Runs and compares many studies, or many draws, in parallel.

`studies` runs many studies in parallel and writes them as one portfolio; `portfolio` has the row of
each study, and the totals that make sense; `page` is the page for leadership; `blocks` splits the
draws of one outcome.

All parallel work uses `joblib`: by default on this machine, or on a cluster if the caller says so,
for example `with joblib.parallel_config("dask"): sweep(files, shared_folder)`.
"""

from llmstudy.run.sweep.blocks import in_blocks
from llmstudy.run.sweep.portfolio import Row, Totals, row, totals
from llmstudy.run.sweep.studies import Portfolio, planned, sweep

__all__ = [
    "Portfolio",
    "Row",
    "Totals",
    "in_blocks",
    "planned",
    "row",
    "sweep",
    "totals",
]

"""How do many studies compare, and how are they, or many draws, worked through at once?

`studies` runs many studies in parallel and keeps them as one portfolio; `portfolio` says what each
came to and what may be added up; `page` is what leadership reads; `blocks` spreads the draws of one
outcome.

All parallel work goes through `joblib`: on this machine by default, and on a cluster wherever the
caller says so, for example `with joblib.parallel_config("dask"): sweep(files, shared_folder)`.
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

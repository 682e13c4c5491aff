"""How do many studies compare, and how are they, or many draws, computed in parallel?

`studies` runs many studies in parallel and stores them as one portfolio; `portfolio` has the row of
each and the totals that may be stated; `page` is what leadership reads; `blocks` spreads the draws
of one outcome.

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

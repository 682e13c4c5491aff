"""`llmstudy eval`: golden sets, evaluations and verdicts."""

from llmstudy.cli.evals import calibrate, golden, run, tables, verdict
from llmstudy.cli.evals.options import app

__all__ = ["app", "calibrate", "golden", "run", "tables", "verdict"]

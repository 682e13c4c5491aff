"""`llmstudy eval`: golden sets, evaluations and verdicts."""

from llmstudy.cli.evals import golden, run, tables, trust, verdict
from llmstudy.cli.evals.options import app

__all__ = ["app", "golden", "run", "tables", "trust", "verdict"]

"""Latency tables of samples, or straight from the folder of a recorded probe."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import pandas as pd

from llmstudy.measures import latency
from llmstudy.probe.run import read, with_metrics


def _or_of_folder(measure: Callable[..., pd.DataFrame]) -> Callable[..., pd.DataFrame]:
    """The measure, which takes a run's folder too: its requests after the warm-up."""

    @wraps(measure)
    def measured(samples: pd.DataFrame | str | Path, *args: Any, **kwargs: Any) -> pd.DataFrame:
        if isinstance(samples, str | Path):
            samples = with_metrics(read(Path(samples)).measured)
        return measure(samples, *args, **kwargs)

    return measured


latency_table = _or_of_folder(latency.latency_table)
slo_attainment = _or_of_folder(latency.slo_attainment)

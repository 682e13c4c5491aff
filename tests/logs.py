"""Logs for cases of tests."""

from dataclasses import replace

import pandas as pd


def with_log(case, rows: pd.DataFrame):
    """The case with these requests as the log of their workloads, in place of simulated ones."""
    logged = set(rows["workload"])
    simulated = {n: drawn for n, drawn in case.traffic.simulated.items() if n not in logged}
    return replace(case, traffic=replace(case.traffic, logged=rows, simulated=simulated))

"""Checks of the tables that charts take, and the order of their rows."""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import pandas as pd

from llmstudy.charts.style import ARMS, Chart, Look
from llmstudy.tables import Rows

T = TypeVar("T")
P = ParamSpec("P")


def of_rows(
    draw: Callable[Concatenate[pd.DataFrame, P], Chart | None],
) -> Callable[Concatenate[Rows, P], Chart | None]:
    """Lets a chart take a result table as rows or frame; without rows the chart is None."""

    @wraps(draw)
    def drawn(rows: Rows, /, *args: P.args, **kwargs: P.kwargs) -> Chart | None:
        table = pd.DataFrame(rows)
        return None if table.empty else draw(table.reset_index(drop=True), *args, **kwargs)

    return drawn


def need(name: str, table: pd.DataFrame, columns: str) -> None:
    """Checks that a table has these columns, and rows. Raises: ValueError if not."""
    missing = [column for column in columns.split() if column not in table.columns]
    if missing:
        raise ValueError(f"{name} lacks {', '.join(missing)}: give it the columns {columns}.")
    if table.empty:
        raise ValueError(f"{name} has no rows: there is nothing to draw.")


def once(name: str, table: pd.DataFrame, columns: str) -> None:
    """Checks that no two rows have the same values in columns. Raises: ValueError if they do."""
    twice = table[table.duplicated(columns.split())]
    if len(twice):
        which = ", ".join(str(twice[column].iloc[0]) for column in columns.split())
        raise ValueError(f"{name} has {which} more than once: give it one row per {columns}.")


def numbered(table: pd.DataFrame) -> list[tuple[int, Any]]:
    """The rows, each with its number from the top."""
    return list(enumerate(table.itertuples()))


def by_workload(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the rows of a workload together, workloads in order of appearance."""
    group = table.groupby("workload", sort=False).ngroup()
    return table.iloc[np.argsort(group, kind="stable")].reset_index(drop=True)


def look_of(name: str) -> Look:
    """The name and look of an arm. Raises: ValueError for an unknown one."""
    return look_up("an arm", name, ARMS)


def look_up(kind: str, name: str, names: Mapping[str, T]) -> T:
    """The value of a name. Raises: ValueError that lists the names, for an unknown one."""
    if name not in names:
        raise ValueError(f'"{name}" is not {kind}: write one of {", ".join(names)}.')
    return names[name]

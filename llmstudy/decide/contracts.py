"""Which contracts does a route have, which ones do its data need, and until when are they valid?

The checklist of the source memo (C5, S12): retention, opt-out from training, region, DPA, BAA and
SOC 2. `privacy_matrix.csv` (T3) has what a data class needs. Whether a route is permitted is
decided by `llmstudy.measures.privacy`, not here.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Literal

import pandas as pd

ITEMS: Mapping[str, str] = {
    "no_retention": "retention",
    "no_training": "training opt-out",
    "eu_region": "region",
    "dpa": "DPA",
    "baa": "BAA",
    "soc2": "SOC 2",
    "mnpi_approval": "MNPI approval",
}
"""The kinds of contract in a study, each with its item of the checklist."""

State = Literal["in force", "expired", "missing", "not required", "unknown"]


@dataclass(frozen=True)
class Item:
    """One line of a route's checklist. days_left: to the last valid day; negative once expired."""

    kind: str
    item: str
    state: State
    valid_until: date | None
    days_left: int | None
    needed_by: tuple[str, ...]


def needs(data_class: str, arm: str, matrix: pd.DataFrame) -> tuple[str, ...]:
    """The kinds of contract that a data class needs on an arm.

    matrix: as `privacy.privacy_matrix()`. Raises: ValueError if it has no row for the pair.

    >>> from llmstudy.measures.privacy import privacy_matrix
    >>> needs("eu_strict", "hosted_open", privacy_matrix())
    ('dpa', 'eu_region')
    """
    rows = matrix[(matrix["data_class"] == data_class) & (matrix["arm"] == arm)]
    if len(rows) != 1:
        raise ValueError(f"the privacy matrix has no row for {data_class} on {arm}: add one.")
    return tuple(str(rows.iloc[0]["needs"]).split())


def checklist(
    valid_until: Mapping[str, date],
    needed_by: Mapping[str, Collection[str]],
    unclassified: bool,
    on: date,
) -> list[Item]:
    """Every item of a route's checklist on a day.

    valid_until: kind -> last valid day. needed_by: kind -> the workloads whose data need it.
    unclassified: whether the route carries unclassified data, so that a missing item may be needed.

    >>> items = checklist({"baa": date(2026, 10, 31)}, {"baa": ["chat"]}, False, date(2026, 11, 23))
    >>> [(i.item, i.state, i.days_left) for i in items if i.state != "not required"]
    [('BAA', 'expired', -23)]
    """
    return [_item(kind, valid_until.get(kind), needed_by, unclassified, on) for kind in ITEMS]


def _item(
    kind: str,
    until: date | None,
    needed_by: Mapping[str, Collection[str]],
    unclassified: bool,
    on: date,
) -> Item:
    workloads = tuple(needed_by.get(kind, ()))
    days = None if until is None else (until - on).days
    state: State
    if days is not None:
        state = "in force" if days >= 0 else "expired"
    elif workloads:
        state = "missing"
    else:
        state = "unknown" if unclassified else "not required"
    return Item(kind, ITEMS[kind], state, until, days, workloads)

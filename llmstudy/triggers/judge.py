"""Has something happened that should move a workload? The triggers G1 to G6.

Each takes a fact and a threshold. It is *fired* by evidence only: an assumption over the threshold,
or a signal that has not held for its weeks yet, leaves it *pending*; below the threshold it is
*armed*. It is *unknown* while nobody has looked, and *not_applicable* where no move could
follow.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import pandas as pd

from llmstudy import paths
from llmstudy.figure import Grade

Status = Literal["armed", "pending", "fired", "not_applicable", "unknown"]

FIRING_GRADES: tuple[Grade, ...] = ("measured", "recorded", "published")


@dataclass(frozen=True)
class Trigger:
    """One trigger of one workload. value and threshold are in `unit`; None: not known.

    weeks_held: for how many whole weeks of the log, up to the last, the threshold has been reached;
    None where the fact is no weekly one.
    """

    id: str
    workload: str
    status: Status
    value: float | None
    threshold: float | None
    unit: str
    grade: Grade
    evidence: str
    owner: str
    sustained_weeks: float
    weeks_held: int | None = None

    def row(self) -> dict[str, Any]:
        """The trigger as a row of a table."""
        return asdict(self)


def trigger_table() -> pd.DataFrame:
    """What the triggers are: id, name, asks, unit, owner, moves_to, step (to be taken once it has
    fired), source, and of those that are judged by the weeks of a log release_share (of the
    threshold) and release_source."""
    return pd.read_csv(paths.data("triggers.csv"))


def judge(
    value: float | None, threshold: float | None, grade: Grade, inclusive: bool = True
) -> Status:
    """Status of a trigger from its fact.

    Fired when evidence of a firing grade reaches the threshold (or exceeds it, when not
    `inclusive`); pending on weaker evidence; armed below it; unknown without a fact or a threshold.

    >>> judge(0.35, 0.30, "measured"), judge(0.35, 0.30, "assumed"), judge(None, 0.3, "measured")
    ('fired', 'pending', 'unknown')
    """
    if value is None or threshold is None:
        return "unknown"
    reached = value >= threshold if inclusive else value > threshold
    if not reached:
        return "armed"
    return "fired" if grade in FIRING_GRADES else "pending"


def break_even_utilisation(
    fleet_month_usd: float, fleet_requests_per_month: float, api_usd_per_request: float
) -> float:
    """Mean utilisation above which a fleet costs less than the API bill for the same requests.

    fleet_month_usd: rent, overheads and staff of the whole fleet; fleet_requests_per_month: what it
    could serve running full at its SLO. Above 1: not even a full fleet is cheaper.
    Source: cost.md 4.1, price * G / (3600 * mu * p_api), with staff and spare replicas.

    >>> break_even_utilisation(20_000, 10_000_000, 0.005)
    0.4
    """
    return fleet_month_usd / (fleet_requests_per_month * api_usd_per_request)

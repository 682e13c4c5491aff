"""How hard is it to leave a vendor, and how exposed is a workload while it stays (MEMO C4, S11)?

A score from 0 (locked in) to 100 (free to go) is the sum of parts that each earn a share of their
points; `portability_parts.csv` has the parts, their points and the source memo's dimension. An
unknown part earns anything from none to all of its points: it widens the score to a range instead
of counting as good.
"""

import re
from dataclasses import dataclass
from typing import Literal, NamedTuple

import pandas as pd

from llmstudy import paths
from llmstudy.text import count, share

Answer = Literal["yes", "no", "unknown"]
Schemas = Literal["none", "json_schema", "provider_specific", "unknown"]

MANY_FEATURES = 3
"""Number of vendor-specific features from which their part earns no points."""

ENOUGH_VENDORS = 2
"""Number of other vendors with a permitted route from which their part earns all points."""

WEEK_DAYS = 5
"""Working days of the source memo's one-week switch."""


@dataclass(frozen=True)
class Ties:
    """What ties one workload to one route; None if unknown.

    own_weights: the route serves weights that are on one's own disk. days_to_retirement: of the
    route's model, if its retirement is listed. spend_share: share of all spend that goes to the
    route's vendor. largest_rise: the vendor's largest listed price change, after over before, 1 if
    only falls are listed. worst_rise: the largest of any vendor.
    """

    behind_gateway: Answer
    provider_features: int | None
    prompts_versioned: Answer
    tool_schemas: Schemas
    structured_output: Schemas
    fine_tuned_weights: Answer
    pinned: bool
    own_weights: bool
    days_to_retirement: int | None
    horizon_days: int
    other_vendors: int
    spend_share: float | None
    largest_rise: float | None
    worst_rise: float


class Earned(NamedTuple):
    """The lowest and highest share of its points that a part may earn, and why."""

    low: float
    high: float
    why: str


def is_pinned(model: str) -> bool:
    """Whether a proprietary model's name is pinned to one version: it ends in a date or number.

    >>> is_pinned("gpt-4o-2024-08-06"), is_pinned("claude-sonnet-4-20250514"), is_pinned("gpt-4o")
    (True, True, False)
    """
    return re.search(r"[-@](20\d\d-?[01]\d-?[0-3]\d|\d{4}|00\d)$", model) is not None


def parts_table() -> pd.DataFrame:
    """The parts of the score: part, points (they sum to 100), dimension, asks, source."""
    return pd.read_csv(paths.data("portability_parts.csv"))


def score_parts(ties: Ties, table: pd.DataFrame) -> pd.DataFrame:
    """The score part by part; the sums of low and high are the range of the score.

    table: as `parts_table()`. Returns: part, dimension, points (at most), low, high (points
    earned), why. Raises: KeyError for a part without a rule.
    """
    earned = _earned(ties)
    rows = [earned[part] for part in table["part"]]
    return table[["part", "dimension", "points"]].assign(
        low=[row.low for row in rows] * table["points"],
        high=[row.high for row in rows] * table["points"],
        why=[row.why for row in rows],
    )


def _earned(ties: Ties) -> dict[str, Earned]:
    features = ties.provider_features
    tied = None if features is None else min(1.0, features / MANY_FEATURES)
    return {
        "gateway": _yes(ties.behind_gateway, "calls pass an abstraction layer"),
        "provider_features": Earned(0, 1, "features used: unknown")
        if tied is None
        else Earned(1 - tied, 1 - tied, f"features of this vendor alone: {count(features or 0)}"),
        "prompts_versioned": _yes(ties.prompts_versioned, "prompts are versioned"),
        "tool_schemas": _schemas(ties.tool_schemas, "tools"),
        "structured_output": _schemas(ties.structured_output, "form of the answer"),
        "fine_tuned_weights": _yes(
            {"yes": "no", "no": "yes"}.get(ties.fine_tuned_weights, "unknown"),
            "no tuned weights lie with the vendor",
        ),
        "pinned": Earned(
            ties.pinned, ties.pinned, f"one version: {'yes' if ties.pinned else 'no'}"
        ),
        "retirement": _retirement(ties),
        "other_vendors": _vendors(ties.other_vendors),
        "vendor_share": Earned(0, 1, "share of spend: unknown")
        if ties.spend_share is None
        else Earned(
            1 - ties.spend_share, 1 - ties.spend_share, f"{share(ties.spend_share)} of all spend"
        ),
        "price_changes": _price_changes(ties),
    }


def _yes(answer: str, says: str) -> Earned:
    low, high = {"yes": (1, 1), "no": (0, 0)}.get(answer, (0, 1))
    return Earned(low, high, f"{says}: {answer}")


def _schemas(form: Schemas, of: str) -> Earned:
    low, high = {"unknown": (0, 1), "provider_specific": (0, 0)}.get(form, (1, 1))
    return Earned(low, high, f"{of}: {form.replace('_', ' ')}")


def _retirement(ties: Ties) -> Earned:
    """All points if the model outlives the horizon, and fewer the sooner it retires."""
    if ties.own_weights:
        return Earned(1, 1, "own weights are not retired by others")
    if ties.days_to_retirement is None:
        return Earned(0, 1, "no day is listed")
    left = min(1.0, max(0.0, ties.days_to_retirement / ties.horizon_days))
    return Earned(left, left, f"retires in {count(ties.days_to_retirement)} days")


def _vendors(others: int) -> Earned:
    part = min(1.0, others / ENOUGH_VENDORS)
    return Earned(part, part, f"other vendors permitted: {count(others)}")


def _price_changes(ties: Ties) -> Earned:
    """Half the points for a price that doubled; an unlisted vendor may match the worst rise."""
    if ties.largest_rise is None:
        return Earned(1 / ties.worst_rise, 1, "no change of this vendor is listed")
    earned = 1 / max(1.0, ties.largest_rise)
    rise = share(ties.largest_rise - 1) if ties.largest_rise > 1 else "none"
    return Earned(earned, earned, f"largest rise listed: {rise}")


# --- what a switch takes --------------------------------------------------------------------


@dataclass(frozen=True)
class Switch:
    """Working days to leave a route; low and high are the sums over its tasks."""

    low_days: float
    mid_days: float
    high_days: float
    work: tuple[str, ...]

    @property
    def within_a_week(self) -> Answer:
        """Whether the switch takes at most a week, as the source memo says."""
        if self.high_days <= WEEK_DAYS:
            return "yes"
        return "no" if self.low_days > WEEK_DAYS else "unknown"


def effort_table() -> pd.DataFrame:
    """The effort of each task of a switch: part, low_days to high_days, work, grade, source."""
    return pd.read_csv(paths.data("switching_effort.csv"))


def switching_days(ties: Ties, table: pd.DataFrame) -> Switch:
    """Working days that leaving the route takes, summed over tasks. table: as `effort_table()`.

    A task whose need is unknown adds nothing to the low end, half to the middle and all to the high
    end. If the features are unknown, one may be in use.
    """
    counts = {"yes": 1.0, "no": 0.0}

    def times(*answers: str) -> tuple[float, float, float]:
        needs = [counts.get(a) for a in answers]
        ends = [[x if x is not None else at for x in needs] for at in (0.0, 0.5, 1.0)]
        return sum(ends[0]), sum(ends[1]), sum(ends[2])

    tied = {"provider_specific": "yes", "unknown": "unknown"}
    features = ties.provider_features
    needed = {
        "base": times("yes"),
        "gateway": times({"yes": "no", "no": "yes"}.get(ties.behind_gateway, "unknown")),
        "feature": times("unknown") if features is None else (features,) * 3,
        "schema": times(*(tied.get(s, "no") for s in (ties.tool_schemas, ties.structured_output))),
        "prompts": times({"yes": "no", "no": "yes"}.get(ties.prompts_versioned, "unknown")),
        "weights": times(ties.fine_tuned_weights),
    }
    ends = [0.0, 0.0, 0.0]
    work = []
    for row in table.to_dict("records"):
        often = needed[row["part"]]
        for i, end in enumerate(("low_days", "mid_days", "high_days")):
            ends[i] += often[i] * row[end]
        if often[2]:
            work.append(str(row["work"]) + ("" if often[0] else " (perhaps)"))
    return Switch(ends[0], ends[1], ends[2], tuple(work))

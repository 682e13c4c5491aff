"""Is there a team that can run a fleet, and what would it cost (MEMO C6, T4)?

A gate, not a price: the cost of a fleet's staff is already in its bill. The available engineers are
compared with the study's own staffing figure and the source memo's headcount; the larger need
counts.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import pandas as pd

from llmstudy import paths
from llmstudy.figure import least_certain
from llmstudy.study import Study
from llmstudy.text import count, span

Span = tuple[float, float]


@dataclass(frozen=True)
class Readiness:
    """Available engineers against those needed. Unit: FTE. short_low, short_high: the shortfall."""

    engineers: float
    need_low: float
    need_high: float
    verdict: Literal["ready", "short", "unknown"]
    short_low: float
    short_high: float

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        one = self.engineers == 1
        have = f"{count(self.engineers)} experienced {'engineer' if one else 'engineers'}"
        need = f"{span(self.need_low, self.need_high, count)} needed"
        if self.verdict == "ready":
            return f"ready: {have}, {need}"
        if self.verdict == "short":
            return f"short by {span(self.short_low, self.short_high, count)}: {have}, {need}"
        return f"unknown: {have}, which lies within the {need}"


def roles() -> pd.DataFrame:
    """T4: role, fte_low, fte_high, does, source."""
    return pd.read_csv(paths.data("team_roles.csv"))


def headcount(table: pd.DataFrame) -> Span:
    """The headcount of all roles together, low and high. table: as `roles()`.

    >>> headcount(roles())
    (2.5, 5.0)
    """
    return float(table["fte_low"].sum()), float(table["fte_high"].sum())


def readiness(engineers: float, staffing: Span, heads: Span) -> Readiness:
    """Whether the available engineers suffice for a fleet.

    staffing, heads: the FTE that a fleet takes by the study and by the source memo, low and high.
    Ready if the engineers reach the upper end of both, short if they miss the lower end of either,
    unknown in between.

    >>> readiness(1, (1, 2.5), (2.5, 5)).sentence
    'short by 1.5 to 4: 1 experienced engineer, 2.5 to 5 needed'
    """
    low, high = max(staffing[0], heads[0]), max(staffing[1], heads[1])
    verdict: Literal["ready", "short", "unknown"] = (
        "ready" if engineers >= high else "short" if engineers < low else "unknown"
    )
    lacking = (max(0.0, low - engineers), max(0.0, high - engineers))
    return Readiness(engineers, low, high, verdict, *lacking)


def yearly_usd(heads: Span, usd_per_fte: Span) -> Span:
    """Yearly salaries of a team: the fewest heads at the lowest pay to the most at the highest.
    usd.

    >>> yearly_usd((2.5, 5.0), (150e3, 250e3))
    (375000.0, 1250000.0)
    """
    return heads[0] * usd_per_fte[0], heads[1] * usd_per_fte[1]


def readiness_of(study: Study) -> Readiness:
    """`readiness` of a study's engineers against its staffing figure and the source memo's
    heads."""
    heads = headcount(roles())
    return readiness(study.team.experienced_ml_engineers, study.self_hosting.fte.ends, heads)


def team_table(study: Study) -> dict[str, Any]:
    """C6: the gate, the headcount and its yearly cost, the ramp, and the staffing that an API
    saves.

    asked_by: the workloads with a self-hosted route; without any, the gate decides nothing. The
    ramp is 0 if the team is ready. saved_fte: the staffing that an API route does not take.
    """
    staffing, salary = study.self_hosting.fte, study.team.usd_per_fte_year
    gate = readiness_of(study)
    heads = headcount(roles())
    ramp = (0.0, 0.0) if gate.verdict == "ready" else study.moving["self_hosted"].ramp.ends
    return {
        **asdict(gate),
        "sentence": gate.sentence,
        "asked_by": [
            name
            for name, workload in study.workloads.items()
            if any(study.routes[route].arm == "self_hosted" for route in workload.routes)
        ],
        "roles": roles().to_dict("records"),
        "staffing_fte": _range(staffing.ends),
        "heads_fte": _range(heads),
        "staffing_usd_year": _range(yearly_usd(staffing.ends, salary.ends)),
        "heads_usd_year": _range(yearly_usd(heads, salary.ends)),
        "ramp_months": _range(ramp),
        "saved_fte": _range(staffing.ends),
        # the heads are the source memo's
        "grade": least_certain(["secondary", staffing.grade, salary.grade]),
    }


def _range(span: Span) -> dict[str, float]:
    return {"low": span[0], "high": span[1]}

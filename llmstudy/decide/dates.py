"""On which day may each move begin, and what comes before it?

A move begins after the decision, the gateway (if calls do not go through one yet) and the labelling
of the items that still have to prove its quality. Its ramp follows, then the canary at the
workload's own volume; only then does it save anything.
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from math import ceil
from typing import Any

import pandas as pd

from llmstudy import io
from llmstudy.decide.canary import canary_plan, fitting
from llmstudy.decide.plan import Window, phase_table
from llmstudy.decide.verdicts import is_proven
from llmstudy.evidence.case import Case, permissions
from llmstudy.study import Study, bundled_figures
from llmstudy.study.labelling import minutes_per_item
from llmstudy.tables import Rows
from llmstudy.units import HOURS_PER_MONTH, months_until

_WORST_ACCEPTANCE = 0.5
"""Stands for an unknown acceptance share: no other share takes as many requests to test."""

_WORK_HOURS_PER_WEEK = 40

_MOST_WEEKS = 5_200
"""A century stands for longer: no move waits for it, and the calendar of dates ends."""

_LATE_AT_TARGET = 0.05
"""Share of late first tokens when the p95 is exactly at its target."""


def move_dates(case: Case, quality: Rows) -> list[dict[str, Any]]:
    """When each move may begin. quality: chapter 04's table.

    Proven quality needs no more items. Workloads are labelled in parallel, each by its own experts.
    If today's route may not see the data, the move waits for nothing.

    Returns rows: workload, route, gateway_weeks, items (still to be labelled), label_weeks, begins
    (date), start_months (from `as_of`), canary_days (before full traffic), canary_months.
    """
    study, canary_days = case.study, bundled_figures()["plan.canary_days"].value
    allowed = permissions(study)
    barred = set(allowed.loc[allowed["current"] & ~allowed["permitted"], "workload"])
    hours_per_week = labelling_hours_per_week()
    foundation_weeks = int(phase_table()["end_week"].iloc[0])
    rows = []
    for row in io.plain(quality):  # a frame's NaN is None there
        name, route = str(row["workload"]), str(row["route"])
        behind = study.workloads[name].portability.behind_gateway == "yes"
        gateway = 0 if behind else foundation_weeks
        items = items_left(row)
        hours = items * minutes_per_item(study, name).value / 60
        weeks = min(ceil(round(hours / hours_per_week, 9)), _MOST_WEEKS)
        begins = study.decide_by + timedelta(weeks=gateway + weeks)
        if name in barred:
            gateway, weeks, begins = 0, 0, study.as_of
        steps = fitting(canary(case, name, row), canary_days)
        days = 0 if name in barred else int(steps.loc[steps["traffic_share"] < 1, "days"].sum())
        rows.append(
            {
                "workload": name,
                "route": route,
                "gateway_weeks": gateway,
                "items": items,
                "label_weeks": weeks,
                "begins": begins,
                "start_months": months_until(study.as_of, begins),
                "canary_days": days,
                "canary_months": days * 24 / HOURS_PER_MONTH,
            }
        )
    return rows


def labelling_hours_per_week() -> float:
    """The hours of a week in which a workload's own expert labels its items."""
    return _WORK_HOURS_PER_WEEK * bundled_figures()["plan.labelling_share"].value


def move_windows(study: Study, rows: Sequence[Mapping[str, Any]]) -> dict[str, Window]:
    """The windows of moves, by workload, with ramps of the stated length.

    rows: of `move_dates`, one per workload, as chapter 04 wrote them.
    """
    windows = {}
    for row in rows:
        begins = date.fromisoformat(row["begins"])
        ramp = study.moving[study.routes[row["route"]].arm].ramp.value
        days = round(ramp * HOURS_PER_MONTH / 24) + row["canary_days"]
        labels = begins - timedelta(weeks=row["label_weeks"])
        windows[row["workload"]] = Window(labels, begins, begins + timedelta(days=days))
    return windows


def items_left(row: Mapping[str, Any]) -> int:
    """The own items that a candidate's quality still needs; 0 if it is settled."""
    scored = {**row, "quality": row["verdict"], "quality_grade": row["grade"]}
    if is_proven(scored) or row["verdict"] == "inferior":
        return 0
    labelled = int(row["n"]) if row["grade"] == "measured" else 0
    return max(int(row["n_needed"] or 0) - labelled, 0)


def canary(case: Case, name: str, row: Mapping[str, Any]) -> pd.DataFrame:
    """The canary of a move at the workload's own volume, as `decide.canary.canary_plan`.

    row: of chapter 04's table; its acceptance is used if the pair was scored.
    """
    workload = case.study.workloads[name]
    per_day = workload.intake.requests.value * 24 / HOURS_PER_MONTH
    return canary_plan(
        per_day, workload.quality.margin.value, baselines(row, _error_share(case, name))
    )


def baselines(row: Mapping[str, Any], error_share: float) -> dict[str, float]:
    """Today's share of each metric of a canary, where nothing of it is measured. row: as `canary`.

    >>> baselines({"acceptance_current": None}, 0.01)
    {'acceptance': 0.5, 'errors': 0.01, 'slow_first_token': 0.05}
    """
    accepted = row["acceptance_current"]
    return {
        "acceptance": _WORST_ACCEPTANCE if accepted is None else float(accepted),
        "errors": error_share,
        "slow_first_token": _LATE_AT_TARGET,
    }


def _error_share(case: Case, name: str) -> float:
    """The failure share of the log (at least one failure), or the retry share without a log."""
    if name in case.traffic.simulated:
        return case.study.workloads[name].retry_share.value
    ok = case.traffic.of(name)["ok"].to_numpy(dtype=bool)
    return max(int((~ok).sum()), 1) / len(ok)

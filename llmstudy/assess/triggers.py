"""Chapter 07: the facts behind the triggers G1 to G6.

G1 and G2 are judged week by week where there is a log: sustained over whole weeks, with hysteresis,
so that no single bad day fires them. The others are facts that hold or do not.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from llmstudy import evidence, triggers
from llmstudy.assess.case import Case, Results, rows_of
from llmstudy.capacity import utilisation
from llmstudy.cost import TokenPrice, api_usd_per_request
from llmstudy.figure import FloatArray, Grade
from llmstudy.study import ApiRoute
from llmstudy.text import count, share
from llmstudy.units import HOURS_PER_MONTH

_WEEK_S = 168 * 3600


class _Fact(NamedTuple):
    """What is known of one trigger of one workload."""

    status: triggers.Status
    value: float | None
    threshold: float | None
    grade: Grade
    evidence: str
    weeks_held: int | None = None


@dataclass(frozen=True)
class _Known:
    """What facts are taken from. weeks: `triggers.weekly_signals` of the log, if there is one."""

    case: Case
    results: Results
    weeks: pd.DataFrame
    release_share: Mapping[str, float]

    @property
    def weeks_needed(self) -> int:
        """For how many whole weeks a signal must hold."""
        return max(1, ceil(self.case.study.thresholds.sustained.value))

    def week_column(self, name: str, column: str) -> FloatArray:
        """A weekly signal of a workload. (n_weeks,)."""
        return self.weeks.loc[self.weeks["workload"] == name, column].to_numpy(dtype=float)


def trigger_rows(case: Case, results: Results) -> list[dict[str, Any]]:
    """G1 to G6 of every workload, on the facts that the chapters found."""
    facts = {
        "G1": _utilisation_fact,
        "G2": _latency_fact,
        "G3": _privacy_fact,
        "G4": _vendor_fact,
        "G5": _quality_fact,
        "G6": _format_fact,
    }
    table = triggers.trigger_table()
    release_share = dict(zip(table["id"], table["release_share"], strict=True))
    known = _Known(case, results, _weeks_of_log(case), release_share)
    rows = []
    for name in case.study.workloads:
        for about in table.to_dict("records"):
            fact = facts[about["id"]](known, name)
            rows.append(
                triggers.Trigger(
                    id=about["id"],
                    workload=name,
                    unit=about["unit"],
                    owner=about["owner"],
                    sustained_weeks=case.study.thresholds.sustained.value,
                    **fact._asdict(),
                ).row()
                | {"name": about["name"]}
            )
    return rows


def _weeks_of_log(case: Case) -> pd.DataFrame:
    """The whole weeks of what was logged; what was drawn is no evidence of any week."""
    requests = case.traffic.requests
    return triggers.weekly_signals(requests[~requests["workload"].isin(case.traffic.simulated)])


def log_backtest(case: Case, results: Results) -> list[dict[str, Any]]:
    """In which week of the log each advisor's rule would have fired, had it been watched.

    Over all logged workloads together, at the bill of each request on today's route. Rows: rule,
    advisor, week (its Monday; null: in none), not_judged (what the log does not tell), weeks (whole
    ones in the log). No rows without a log that covers a whole week.
    """
    requests = case.traffic.requests
    logged = requests[~requests["workload"].isin(case.traffic.simulated)]
    if logged.empty:
        return []
    usd = np.full(len(logged), np.nan)
    for name, workload in case.study.workloads.items():
        offer = results["02_cost"]["offers"][name].get(workload.current_route)
        own = (logged["workload"] == name).to_numpy()
        if offer and own.any():
            price = TokenPrice.of(offer)
            rows = logged[own]
            tokens_in, tokens_out, cached = (
                rows[column].to_numpy(dtype=float, na_value=0.0)
                for column in ("input_tokens", "output_tokens", "cached_input_tokens")
            )
            read = cached / np.maximum(tokens_in, 1.0)
            usd[own] = np.asarray(api_usd_per_request(price, tokens_in, tokens_out, read))
    weeks = triggers.weekly_signals(logged.assign(workload="all"), usd)
    needed = max(1, ceil(case.study.thresholds.sustained.value))
    fired = triggers.fired_weeks(triggers.advisor_rules(), weeks, needed)
    count = weeks["week"].nunique() if len(weeks) else 0
    return [
        {
            "rule": row["rule"],
            "advisor": row["advisor"],
            "week": None if pd.isna(row["week"]) else row["week"].date(),
            "not_judged": row["not_judged"],
            "weeks": count,
        }
        for row in fired.to_dict("records")
    ]


class _Held(NamedTuple):
    """A weekly signal against its level. said: for how long it held, in words."""

    fired: bool
    weeks: int
    said: str


def _held(known: _Known, id_: str, signal: FloatArray, level: float, release: float) -> _Held:
    """Whether a trigger stands fired at the end of the log's last whole week.

    signal: (n_weeks,), one workload's. level, release: where it fires, and below which it stands
    down; from the threshold and the share of it in `triggers.csv`.
    """
    needed = known.weeks_needed
    path = signal[None, :]
    weeks = int(triggers.held_for(path, level)[0])
    fired = bool(triggers.sustained(path, level, release, needed)[0, -1:].any())
    said = f"held for {weeks} of {needed} weeks"
    if weeks > needed:
        said = f"held for {weeks} weeks, {needed} needed"
    elif fired and weeks < needed:
        line = share(known.release_share[id_])
        said += f", but not below {line} of the threshold for {needed} since it fired"
    return _Held(fired, weeks, said)


def _weekly(held: _Held, over: bool) -> triggers.Status:
    """Status of a trigger that must hold for weeks. over: whether it is over its line now."""
    return "fired" if held.fired else "pending" if over else "armed"


def _last(x: FloatArray) -> float | None:
    """The latest week's value, where there is a finite one."""
    return float(x[-1]) if len(x) and np.isfinite(x[-1]) else None


def _utilisation_fact(known: _Known, name: str) -> _Fact:
    """G1: mean utilisation of the sized fleet against the one at which it beats today's bill."""
    case, results = known.case, known.results
    fleets = rows_of(results["05_self_hosting"]["fleets"], workload=name)
    bills = rows_of(results["02_cost"]["bills"], workload=name, current=True)
    if not fleets or not bills:
        return _Fact(
            "not_applicable", None, None, "published", "no self-hosted candidate can serve it"
        )
    fleet = min(fleets, key=lambda row: row["month_usd"])
    full = fleet["capacity_requests_per_s"] * fleet["replicas"] * HOURS_PER_MONTH * 3600
    billed = bills[0]["usd_per_request"]
    # a free route is never beaten, however busy the fleet
    threshold = (
        triggers.break_even_utilisation(fleet["month_usd"], full, billed) if billed else None
    )
    intake = case.study.workloads[name].intake
    if intake.requests.name.startswith("unknown."):
        said = "volume unknown: the prior's median"
    else:
        said = f"{fleet['replicas']} replicas at today's volume"
    if name in case.traffic.simulated or threshold is None:
        # no log: a volume that was only stated holds for no week
        status = triggers.judge(fleet["utilisation"], threshold, "assumed")
        said += "; over its line, its weeks not yet logged" if status == "pending" else ""
        return _Fact(status, fleet["utilisation"], threshold, "assumed", said)
    per_s = known.week_column(name, "requests") / _WEEK_S
    busy = utilisation(per_s, fleet["replicas"], fleet["capacity_requests_per_s"])
    held = _held(known, "G1", busy, threshold, known.release_share["G1"] * threshold)
    last = _last(busy)
    value = fleet["utilisation"] if last is None else last
    return _Fact(
        _weekly(held, value >= threshold),
        value,
        threshold,
        "measured" if len(busy) >= known.weeks_needed else "assumed",
        f"{said}, {held.said}",
        held.weeks,
    )


def _latency_fact(known: _Known, name: str) -> _Fact:
    """G2: the p95 of the first token against its target.

    A measurement fires it, or a published best case above the target. Of a log, a week counts when
    the whole interval of its p95 lies above the target; of a probe, its one verdict stands.
    """
    current = known.case.study.workloads[name].current_route
    row = rows_of(known.results["03_latency"]["latency"], workload=name, route=current)[0]
    target = row["target_s"]
    status: triggers.Status
    if row["grade"] != "measured" and row["verdict"] == "misses" and row["low_s"] is not None:
        status = triggers.judge(row["low_s"], target, row["grade"], inclusive=False)
        said = f"the best case stated is {count(1000 * row['low_s'])} ms; not measured yet"
        return _Fact(status, row["low_s"], target, row["grade"], said)
    if row["grade"] != "measured":
        return _Fact("unknown", None, target, row["grade"], "first token not measured yet")
    if row["source"] != "request log":
        status = "fired" if row["verdict"] == "misses" else "armed"
        return _Fact(status, row["ttft_p95_s"], target, "measured", row["source"])
    lows = known.week_column(name, "ttft_p95_low_s")
    above = np.nextafter(target, np.inf)  # a p95 equal to its target meets it
    held = _held(known, "G2", lows, above, known.release_share["G2"] * target)
    weekly = known.week_column(name, "ttft_p95_s")
    return _Fact(
        _weekly(held, held.weeks > 0 if len(weekly) else row["verdict"] == "misses"),
        _last(weekly) if len(weekly) else row["ttft_p95_s"],
        target,
        "measured",
        f"{row['source']}, {held.said}",
        held.weeks,
    )


def _privacy_fact(known: _Known, name: str) -> _Fact:
    """G3: contracts that today's route lacks for this data class."""
    if known.case.study.workloads[name].intake.data_class == "unknown":
        return _Fact("unknown", None, 1.0, "assumed", "data not classified yet")
    rows = rows_of(known.results["06_crossover"]["permissions"], workload=name, current=True)
    missing = 0.0 if rows[0]["permitted"] else float(max(1, len(rows[0]["missing"])))
    return _Fact(
        triggers.judge(missing, 1.0, "measured"),
        missing,
        1.0,
        "measured",
        rows[0]["permission_reason"],
    )


def _vendor_fact(known: _Known, name: str) -> _Fact:
    """G4: the largest scheduled price rise of today's route within the horizon, or retirement."""
    study, limit = known.case.study, known.case.study.thresholds.price_rise.value
    route = study.workloads[name].current_route
    spec = study.routes[route]
    if not isinstance(spec, ApiRoute):
        return _Fact("not_applicable", None, limit, "published", "no vendor sets its price")
    rise = max(known.results["02_cost"]["offers"][name][route]["month_factors"]) - 1
    ends = evidence.retires_within_horizon(study, route)
    if ends is not None:
        return _Fact("fired", rise, limit, "published", f"{spec.model} retires on {ends}")
    said = "scheduled price changes within the horizon"
    return _Fact(triggers.judge(rise, limit, "published"), rise, limit, "published", said)


def _quality_fact(known: _Known, name: str) -> _Fact:
    """G5: lower end of the paired difference of the best open model, above zero or not."""
    rows = [
        row
        for row in rows_of(known.results["04_quality"]["quality"], workload=name)
        if row["low"] is not None and known.case.study.routes[row["route"]].arm != "proprietary_api"
    ]
    if not rows:
        return _Fact("unknown", None, 0.0, "assumed", "no paired items yet")
    best = max(rows, key=lambda row: row["low"])
    bears = best["grade"] == "measured" or best["lowest_grade"] == "published"
    grade: Grade = best["grade"] if bears and best["closeness"] != "far" else "assumed"
    said = f"{best['route']}, {best['n']:,} {best['grade']} items of {best['benchmark']}"
    status = triggers.judge(best["low"], 0.0, grade, inclusive=False)
    return _Fact(status, best["low"], 0.0, grade, said)


def _format_fact(known: _Known, name: str) -> _Fact:
    """G6: share of answers that break the format, against the limit."""
    limit = known.case.study.thresholds.format_failure.value
    found = known.case.study.workloads[name].format_failure_share
    if found is None:
        return _Fact("unknown", None, limit, "assumed", "format failures not counted yet")
    status = triggers.judge(found.value, limit, found.grade)
    return _Fact(status, found.value, limit, found.grade, found.source)

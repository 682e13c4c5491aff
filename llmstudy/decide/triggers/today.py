"""Chapter 07: the state of the triggers G1 to G6 today.

With a log, G1 and G2 are judged week by week: sustained over whole weeks, with hysteresis, so that
no single bad day fires them. The others are facts that hold or do not.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from llmstudy.decide.facts.quality import decision_grade
from llmstudy.decide.judge import Fact, Judged, Status, status
from llmstudy.decide.triggers import hysteresis, rules, weekly
from llmstudy.evidence import case
from llmstudy.evidence.case import Case, Results, rows_of
from llmstudy.figure import FloatArray
from llmstudy.measures.capacity import utilisation
from llmstudy.measures.cost import TokenPrice, api_usd_per_request, break_even_utilisation
from llmstudy.study import ApiRoute
from llmstudy.text import count, share
from llmstudy.units import HOURS_PER_MONTH

_WEEK_S = 168 * 3600


@dataclass(frozen=True)
class _Evidence:
    """The evidence that the triggers read. weeks: `weekly.weekly_signals` of the log, if any.

    release_share: by trigger, the share of its threshold below which it is released.
    """

    case: Case
    results: Results
    weeks: pd.DataFrame
    release_share: Mapping[str, float]

    @property
    def weeks_needed(self) -> int:
        """The number of whole weeks for which a signal must hold."""
        return max(1, ceil(self.case.study.thresholds.sustained.value))

    def week_column(self, name: str, column: str) -> FloatArray:
        """A weekly signal of a workload. (n_weeks,)."""
        return self.weeks.loc[self.weeks["workload"] == name, column].to_numpy(dtype=float)


def trigger_rows(case: Case, results: Results) -> list[dict[str, Any]]:
    """G1 to G6 of every workload. results: of chapters 02 to 05, and `permissions` of chapter
    06."""
    judges = {
        "G1": _utilisation,
        "G2": _latency,
        "G3": _privacy,
        "G4": _vendor,
        "G5": _quality,
        "G6": _format,
    }
    table = rules.trigger_table()
    release_share = dict(zip(table["id"], table["release_share"], strict=True))
    evidence = _Evidence(case, results, _weeks_of_log(case), release_share)
    rows = []
    for name in case.study.workloads:
        for about in table.to_dict("records"):
            judged = judges[about["id"]](evidence, name)
            rows.append(
                {
                    "id": about["id"],
                    "name": about["name"],
                    "workload": name,
                    "status": judged.state,
                    "value": judged.fact.value,
                    "threshold": judged.line,
                    "unit": about["unit"],
                    "grade": judged.fact.grade,
                    "evidence": judged.fact.sentence,
                    "owner": about["owner"],
                    "sustained_weeks": case.study.thresholds.sustained.value,
                    "weeks_held": judged.weeks,
                }
            )
    return rows


def _weeks_of_log(case: Case) -> pd.DataFrame:
    """The whole weeks of the logged requests; simulated ones are no evidence."""
    return weekly.weekly_signals(case.traffic.logged)


def log_backtest(case: Case, results: Results) -> list[dict[str, Any]]:
    """The week of the log in which each advisor's rule would have fired.

    Over all logged workloads together, with each request billed on today's route. Rows: rule,
    advisor, week (its Monday; null: never), not_judged (conditions that the log cannot tell), weeks
    (whole weeks in the log). No rows without a log that covers a whole week.
    """
    logged = case.traffic.logged
    if logged.empty:
        return []
    usd = np.full(len(logged), np.nan)
    for name, workload in case.study.workloads.items():
        offer = results["02_cost"]["offers"][name].get(workload.current_route)
        in_workload = (logged["workload"] == name).to_numpy()
        if offer and in_workload.any():
            tokens_in, tokens_out, cached = (
                logged.loc[in_workload, column].to_numpy(dtype=float, na_value=0.0)
                for column in ("input_tokens", "output_tokens", "cached_input_tokens")
            )
            cached_share = cached / np.maximum(tokens_in, 1.0)
            usd[in_workload] = np.asarray(
                api_usd_per_request(TokenPrice.of(offer), tokens_in, tokens_out, cached_share)
            )
    together = pd.Categorical(["all"]).repeat(len(logged))
    weeks = weekly.weekly_signals(logged.assign(workload=together), usd)
    needed = max(1, ceil(case.study.thresholds.sustained.value))
    fired = weekly.fired_weeks(rules.advisor_rules(), weeks, needed)
    n_weeks = weeks["week"].nunique() if len(weeks) else 0
    return [
        {
            "rule": row["rule"],
            "advisor": row["advisor"],
            "week": None if pd.isna(row["week"]) else row["week"].date(),
            "not_judged": row["not_judged"],
            "weeks": n_weeks,
        }
        for row in fired.to_dict("records")
    ]


class _Sustained(NamedTuple):
    """A weekly signal against its level: whether it fires, for how many weeks, and in words."""

    fired: bool
    weeks: int
    sentence: str

    def status(self, over: bool) -> Status:
        """The status of a trigger that must hold for weeks. over: whether it is over its line
        now."""
        return "fired" if self.fired else "pending" if over else "armed"


def _sustained(
    evidence: _Evidence, id_: str, signal: FloatArray, level: float, release: float
) -> _Sustained:
    """Whether a trigger is fired at the end of the log's last whole week.

    signal: (n_weeks,), of one workload. level, release: the level at which it fires, and the one
    below which it is released, from the threshold and `release_share` in `triggers.csv`.
    """
    needed = evidence.weeks_needed
    path = signal[None, :]
    weeks = int(hysteresis.periods_sustained(path, level)[0])
    fired = bool(hysteresis.sustained(path, level, release, needed)[0, -1:].any())
    words = f"held for {weeks} of {needed} weeks"
    if weeks > needed:
        words = f"held for {weeks} weeks, {needed} needed"
    elif fired and weeks < needed:
        line = share(evidence.release_share[id_])
        words += f", but not below {line} of the threshold for {needed} since it fired"
    return _Sustained(fired, weeks, words)


def _last(x: FloatArray) -> float | None:
    """The latest week's value if it is finite, else None."""
    return float(x[-1]) if len(x) and np.isfinite(x[-1]) else None


def _utilisation(evidence: _Evidence, name: str) -> Judged:
    """G1: the mean utilisation of the sized fleet against that at which it beats today's bill."""
    case, results, basis = evidence.case, evidence.results, "05_self_hosting: fleets"
    fleets = rows_of(results["05_self_hosting"]["fleets"], workload=name)
    bills = rows_of(results["02_cost"]["bills"], workload=name, current=True)
    if not fleets or not bills:
        words = "no self-hosted candidate can serve it"
        return Judged("not_applicable", Fact(None, "share", "published", basis, words))
    fleet = min(fleets, key=lambda row: row["month_usd"])
    full = fleet["capacity_requests_per_s"] * fleet["replicas"] * HOURS_PER_MONTH * 3600
    billed = bills[0]["usd_per_request"]
    # no fleet beats a free route, however busy it is
    line = break_even_utilisation(fleet["month_usd"], full, billed) if billed else None
    intake = case.study.workloads[name].intake
    words = f"{fleet['replicas']} replicas at today's volume"
    if intake.requests.name.startswith("unknown."):
        words = "volume unknown: the prior's median"
    fact = Fact(fleet["utilisation"], "share", "assumed", basis, words)
    if name in case.traffic.simulated or line is None:
        # without a log, a stated volume holds for no week
        status_ = status(fact.value, line, "assumed")
        if status_ == "pending":
            words += "; over its line, its weeks not yet logged"
        return Judged(status_, replace(fact, sentence=words), line)
    per_s = evidence.week_column(name, "requests") / _WEEK_S
    busy = utilisation(per_s, fleet["replicas"], fleet["capacity_requests_per_s"])
    sustained = _sustained(evidence, "G1", busy, line, evidence.release_share["G1"] * line)
    last = _last(busy)
    value = fleet["utilisation"] if last is None else last
    fact = Fact(
        value,
        "share",
        "measured" if len(busy) >= evidence.weeks_needed else "assumed",
        basis,
        f"{words}, {sustained.sentence}",
    )
    return Judged(sustained.status(value >= line), fact, line, sustained.weeks)


def _latency(evidence: _Evidence, name: str) -> Judged:
    """G2: the p95 TTFT against its target.

    A measurement fires it, or a published best case above the target. With a log, a week counts if
    the whole interval of its p95 is above the target; with a probe, its verdict counts.
    """
    current = evidence.case.study.workloads[name].current_route
    row = rows_of(evidence.results["03_latency"]["latency"], workload=name, route=current)[0]
    target, grade, basis = row["target_s"], row["grade"], "03_latency: latency"
    if grade != "measured":
        if row["verdict"] == "misses" and row["low_s"] is not None:
            words = f"the best case stated is {count(1000 * row['low_s'])} ms; not measured yet"
            fact = Fact(row["low_s"], "s", grade, basis, words)
            return Judged(status(fact.value, target, grade, ">"), fact, target)
        fact = Fact(None, "s", grade, basis, "first token not measured yet")
        return Judged("unknown", fact, target)
    fact = Fact(row["ttft_p95_s"], "s", "measured", basis, row["source"])
    misses = row["verdict"] == "misses"
    if row["source"] != "request log":
        return Judged("fired" if misses else "armed", fact, target)
    lows = evidence.week_column(name, "ttft_p95_low_s")
    above = np.nextafter(target, np.inf)  # a p95 equal to its target meets it
    sustained = _sustained(evidence, "G2", lows, above, evidence.release_share["G2"] * target)
    weekly = evidence.week_column(name, "ttft_p95_s")
    if len(weekly):
        fact, misses = replace(fact, value=_last(weekly)), sustained.weeks > 0
    fact = replace(fact, sentence=f"{row['source']}, {sustained.sentence}")
    return Judged(sustained.status(misses), fact, target, sustained.weeks)


def _privacy(evidence: _Evidence, name: str) -> Judged:
    """G3: the number of contracts that today's route lacks for the data class."""
    unit, basis = "missing contracts", "06_crossover: permissions"
    if evidence.case.study.workloads[name].intake.data_class == "unknown":
        fact = Fact(None, unit, "assumed", basis, "data not classified yet")
        return Judged("unknown", fact, 1.0)
    [row] = rows_of(evidence.results["06_crossover"]["permissions"], workload=name, current=True)
    missing = 0.0 if row["permitted"] else float(max(1, len(row["missing"])))
    fact = Fact(missing, unit, "measured", basis, row["permission_reason"])
    return Judged(status(missing, 1.0, "measured"), fact, 1.0)


def _vendor(evidence: _Evidence, name: str) -> Judged:
    """G4: the largest scheduled price rise of today's route in the horizon, or its retirement."""
    study, line = evidence.case.study, evidence.case.study.thresholds.price_rise.value
    route = study.workloads[name].current_route
    spec, basis = study.routes[route], "02_cost: offers"
    if not isinstance(spec, ApiRoute):
        fact = Fact(None, "share", "published", basis, "no vendor sets its price")
        return Judged("not_applicable", fact, line)
    rise = max(evidence.results["02_cost"]["offers"][name][route]["month_factors"]) - 1
    words = "scheduled price changes within the horizon"
    fact = Fact(rise, "share", "published", basis, words)
    ends = case.retires_within_horizon(study, route)
    if ends is not None:
        return Judged("fired", replace(fact, sentence=f"{spec.model} retires on {ends}"), line)
    return Judged(status(rise, line, "published"), fact, line)


def _quality(evidence: _Evidence, name: str) -> Judged:
    """G5: whether the low end of the best open model's paired difference is above zero."""
    basis = "04_quality: quality"
    rows = [
        row
        for row in rows_of(evidence.results["04_quality"]["quality"], workload=name)
        if row["low"] is not None
        and evidence.case.study.routes[row["route"]].arm != "proprietary_api"
    ]
    if not rows:
        return Judged("unknown", Fact(None, "share", "assumed", basis, "no paired items yet"), 0.0)
    best = max(rows, key=lambda row: row["low"])
    words = f"{best['route']}, {best['n']:,} {best['grade']} items of {best['benchmark']}"
    fact = Fact(best["low"], "share", decision_grade(best), basis, words)
    return Judged(status(fact.value, 0.0, fact.grade, ">"), fact, 0.0)


def _format(evidence: _Evidence, name: str) -> Judged:
    """G6: the share of answers that break the format, against the limit."""
    line = evidence.case.study.thresholds.format_failure.value
    figure = evidence.case.study.workloads[name].format_failure_share
    basis = f"workloads.{name}.format_failure_share"
    if figure is None:
        fact = Fact(None, "share", "assumed", basis, "format failures not counted yet")
        return Judged("unknown", fact, line)
    fact = Fact(figure.value, "share", figure.grade, basis, figure.source)
    return Judged(status(figure.value, line, figure.grade), fact, line)

"""Has anything happened since the last run that somebody must act on? For CI.

That is one of three: a trigger has fired, the monthly bill exceeds the budget, or the evidence of
the study is stale. Triggers and bill are judged on a given day, with the prices and contracts of
that day; evidence by whether it is still valid then, and by whether what the log cost since the
last run lies in the range of that run's forecast. A condition that a log shows by week fires a
trigger once it has lasted `thresholds.sustained` weeks.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from llmstudy import io
from llmstudy.answer import Outcome, answer, prepare
from llmstudy.chapters.all import MEASURES, chapter_results
from llmstudy.compare.actual import WORDS, against_log, broken
from llmstudy.compare.diff import (
    Run,
    amounts_of,
    compared,
    headline_of,
    headline_text,
    uncounted_looks,
)
from llmstudy.decide.current_models import cheaper_models
from llmstudy.decide.triggers.today import trigger_rows
from llmstudy.evidence.case import Case, permissions
from llmstudy.evidence.findings import findings_of, rate_figures
from llmstudy.io import run_inputs
from llmstudy.prices import Finding
from llmstudy.simulate.inputs import month_by_workload
from llmstudy.study import Study
from llmstudy.study.fields import LAST_DAY
from llmstudy.text import signed_usd

NOTHING, ACT, STALE = 0, 3, 4
"""Exit codes. Stale evidence takes precedence: triggers judged on it are not reliable."""

_ORDER = ("fired", "pending", "armed", "unknown", "not_applicable")


@dataclass(frozen=True)
class Stale:
    """Evidence that is no longer valid, or that has changed since the last run."""

    what: str
    sentence: str


@dataclass(frozen=True)
class Budget:
    """The monthly bill of today's routes against the study's limit. usd."""

    month_usd: float
    limit_usd: float

    @property
    def exceeded(self) -> bool:
        """Whether the bill is above the limit."""
        return self.month_usd > self.limit_usd


@dataclass(frozen=True)
class Headline:
    """The headline of the memo in the last run, and recomputed with the inputs of the day.

    then, now: {kind, p10, p50, p90}, usd over the horizon, or None if unknown. moved_usd: the
    difference between the medians; None if they cannot be compared, with the reason in `why_not`.
    """

    then: Mapping[str, Any] | None
    now: Mapping[str, Any] | None
    moved_usd: float | None
    why_not: str

    @property
    def sentence(self) -> str:
        """The difference in words."""
        if self.moved_usd is None:
            return f"The headline is not compared: {self.why_not}."
        then, now = headline_text(self.then), headline_text(self.now)
        if then == now:
            return f"The headline has not moved: {now}."
        by = signed_usd(self.moved_usd)
        return f"The headline moves by {by}: {then} in the last run, {now} now."


@dataclass(frozen=True)
class Last:
    """The last run: its inputs, and the run itself or why it cannot be read."""

    made_of: Mapping[str, Any]
    run: Run | None
    why_not: str = ""


@dataclass(frozen=True)
class CheckResult:
    """The result of a check.

    triggers: rows as from `triggers.today.trigger_rows`, fired ones first. headline: None if there
    is no run to compare with. forecast: rows of `compare.actual.against_log`.
    """

    study: str
    on: date
    triggers: tuple[Mapping[str, Any], ...]
    budget: Budget
    stale: tuple[Stale, ...]
    warnings: tuple[str, ...]
    headline: Headline | None = None
    forecast: tuple[Mapping[str, Any], ...] = ()

    @property
    def exit_code(self) -> int:
        """4: evidence is stale. 3: a trigger fired or the budget is exceeded. 0: neither."""
        fired = any(row["status"] == "fired" for row in self.triggers)
        return STALE if self.stale else ACT if fired or self.budget.exceeded else NOTHING

    def row(self) -> dict[str, Any]:
        """The result as a dictionary, for JSON."""
        budget = {"month_usd": self.budget.month_usd, "limit_usd": self.budget.limit_usd}
        return {
            "exit_code": self.exit_code,
            "study": self.study,
            "on": self.on,
            "triggers": self.triggers,
            "budget": budget | {"exceeded": self.budget.exceeded},
            "stale": self.stale,
            "warnings": self.warnings,
            "headline": self.headline,
            "forecast": self.forecast,
        }


def on_day(study: Study, day: date) -> Study:
    """The study on a later day, without the routes that no workload names.

    Raises: ValueError if the day is before the study's own, or after `fields.LAST_DAY`.
    """
    if day > LAST_DAY:
        raise ValueError(f"{study.study} cannot be checked on {day}: give a day up to {LAST_DAY}.")
    if day < study.as_of:
        raise ValueError(
            f"{study.study} is as of {study.as_of}, so it cannot be checked on {day}: "
            "give that day or a later one."
        )
    used = {name for workload in study.workloads.values() for name in workload.routes}
    routes = {name: route for name, route in study.routes.items() if name in used}
    return study.model_copy(update={"routes": routes, "as_of": day})


def check(study: Study, case: Case, last: Last | None, made_of: Mapping[str, Any]) -> CheckResult:
    """Triggers, budget and evidence of a study on the day of its case.

    case: `open_case(on_day(study, day))`, with the log to judge. last: the run to compare with, or
    None. made_of: the inputs of a run today, as `provenance.made_of`.
    """
    assessed, on = on_day(study, study.as_of), case.study.as_of
    results = chapter_results(case, MEASURES)
    # of chapter 06 only what takes no simulation
    crossing = {"06_crossover": io.plain({"permissions": permissions(case.study)})}
    rows = io.plain(trigger_rows(case, {**results, **crossing}), "triggers")
    findings = findings_of(case.study)
    no_run = f"There is no run of {study.study} to compare with: its inputs may have changed."
    changed = [*changes(last.made_of, made_of), *judged_again(last, study)] if last else []
    bills = month_by_workload(case.study, results["02_cost"], results["05_self_hosting"])
    forecast = against_log(last.run, case) if last and last.run else []
    return CheckResult(
        study=study.study,
        on=on,
        triggers=tuple(sorted(rows, key=lambda row: _ORDER.index(row["status"]))),
        budget=Budget(float(sum(bills.values())), study.thresholds.month_budget.value),
        stale=(*stale_evidence(assessed, on, findings), *changed, *broken_forecasts(forecast)),
        warnings=(
            *_warnings(case, results),
            *cheaper_models(case, results["02_cost"]["bills"]),
            *(f.sentence for f in findings if f.severity == "warning"),
            *([] if last else [no_run]),
        ),
        headline=headline(last, case, results) if last else None,
        forecast=tuple(forecast),
    )


# --- the headline ---------------------------------------------------------------------------


def headline(last: Last, case: Case, results: Mapping[str, Mapping[str, Any]]) -> Headline:
    """The last run's headline against the same number with the inputs of the case.

    results: of chapters 02 to 05.
    """
    if last.run is None:
        return Headline(None, None, None, f"the last run cannot be read ({last.why_not})")
    return moved_headline(last.run, answer(prepare(case, results)))


def moved_headline(then: Run, now: Outcome) -> Headline:
    """A run's headline and today's, and the difference between them.

    If the two are different kinds of amount, the first kind that either has is compared, and counts
    as 0 where it is missing.
    """
    before, after = headline_of(then), now.headline
    if before is None:
        return Headline(None, after, None, "a workload had no known bill in the last run")
    if after is None:
        why_not = f"the bill of {', '.join(now.unbilled)} is no longer known"
        return Headline(before, None, None, why_not)
    _, was, is_ = compared(amounts_of(then), now.amounts)
    return Headline(before, after, is_ - was, "")


# --- the age of the evidence ----------------------------------------------------------------


def stale_evidence(study: Study, on: date, findings: Iterable[Finding]) -> list[Stale]:
    """Evidence that was valid on the study's own day and is not on the day `on`.

    Figures that have expired, stale prices, and contracts that have ended since. findings:
    `findings.findings_of` on that day.
    """
    return [
        *_expired(study, on),
        *(Stale(f.subject, f.sentence) for f in findings if f.severity == "stale"),
        *_lapsed(study, on),
    ]


def _expired(study: Study, on: date) -> list[Stale]:
    figures = {**study.figures(), **rate_figures(study)}
    # the rates of a route expire together: one sentence for the three
    ends = {
        name.partition(".price.")[0] + (".price" if ".price." in name else ""): figure.expires
        for name, figure in figures.items()
        if figure.expires is not None and figure.expires <= on
    }
    return [
        Stale(name, f"{name} expired on {day}: renew it, set as_of to {on} and run again.")
        for name, day in ends.items()
    ]


def _lapsed(study: Study, on: date) -> list[Stale]:
    return [
        Stale(
            f"routes.{name}.contracts.{contract.kind}",
            f"the {contract.kind} of {name} ended on {contract.valid_until}: "
            "renew it, or move what rests on it.",
        )
        for name, route in study.routes.items()
        for contract in route.contracts
        if study.as_of <= contract.valid_until < on
    ]


def changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[Stale]:
    """The inputs that differ between a run and today, one by one.

    They are the study file, log, evaluation, probe runs, files in data/, notebooks, code, lock and
    package version. then, now: as `run.provenance.made_of`, or the part of it to compare; a key
    that only one of them has is ignored (older runs have no hash of their log).

    >>> [stale] = changes({"package": "0.1.0", "data_sha256": {"a.csv": "1f"}},
    ...                   {"package": "0.1.0", "data_sha256": {"a.csv": "2e"}})
    >>> stale.sentence
    'data/a.csv has changed since the last run: run again.'
    """
    common = then.keys() & now.keys()
    before, after = (run_inputs({key: made[key] for key in common}) for made in (then, now))
    return [
        Stale(what, f"{what} has changed since the last run: run again.")
        for what in sorted(before.keys() | after.keys())
        if before.get(what) != after.get(what)
    ]


def judged_again(last: Last, study: Study) -> list[Stale]:
    """Comparisons on own items that were judged again without counting a look."""
    before = last.run.study if last.run else None
    return [Stale("looks", sentence) for sentence in uncounted_looks(before, study)]


def broken_forecasts(forecast: Iterable[Mapping[str, Any]]) -> list[Stale]:
    """The workloads whose cost lies beside the range that the last run forecast.

    forecast: rows of `compare.actual.against_log`.
    """
    return [
        Stale(
            f"the forecast of {row['workload']}",
            f"the cost of {row['workload']} is {row['month_usd']['verdict']} what the last run "
            f"forecast, most of all through {WORDS[row['broke']]}: run again.",
        )
        for row in broken(list(forecast))
    ]


# --- warnings -------------------------------------------------------------------------------


def _warnings(case: Case, results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    warnings = [*case.traffic.set_aside, *case.traffic.warnings]
    warnings += [
        f"The bill leaves out {row['workload']}, whose route {row['route']} cannot be sized: "
        f"{row['reason']}"
        for row in results["05_self_hosting"]["failures"]
        if case.study.workloads[row["workload"]].current_route == row["route"]
    ]
    return warnings

"""Compares a run with an earlier one, replaying the study for the attribution.

The replay uses today's package and data and the later run's log. The effect of the earlier run's
own package, data and log cannot be replayed, and is the rest of the attribution.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from llmstudy.answer import Kind, Replay
from llmstudy.compare import forecast
from llmstudy.compare.actual import against_log, summary_sentences
from llmstudy.compare.diff import MOST_FOR_SHAPLEY, Run, diff
from llmstudy.evidence.case import Case
from llmstudy.evidence.traffic import traffic_of
from llmstudy.requests.files import log_files, log_sha256
from llmstudy.simulate.invoices import logged_bills
from llmstudy.study import Invoice, Study
from llmstudy.study.snapshot import changed_inputs


def compared(then: Run, now: Run, progress: bool = False) -> dict[str, Any]:
    """The difference between two runs, as `diff.diff`, and the earlier forecast against the bills
    and the later log.

    progress: whether to show the progress of the attribution on stderr.
    Raises: ValueError as `diff.diff`.
    """
    case, why_not = _case(now)
    forecast_check = _forecast(then, now, case)
    rows = against_log(then, case) if case else []
    since = {"workloads": rows, "sentences": summary_sentences(rows)}
    if case is None or then.study is None:
        return diff(then, now, None, why_not, forecast_check, since)
    replay = Replay(case)
    with _progress(_mixtures(then.study, case.study), progress) as advance:

        def amount(study: Study, kind: Kind) -> float:
            usd = replay.median_usd(study, kind)
            advance()
            return usd

        return diff(then, now, amount, forecast=forecast_check, since=since)


def _case(run: Run) -> tuple[Case | None, str]:
    """The run's study with its requests, or None and the reason."""
    study = run.study
    if study is None:
        return None, run.no_study
    log = study.requests.path if study.requests else None
    if log and not log_files(log):
        return None, f"the log of the run {run.run_id} is gone ({log.name})"
    if log and log_sha256(log) != run.made_of.get("log_sha256"):
        return None, f"the log of the run {run.run_id} has changed since ({log.name})"
    return Case(study, traffic_of(study)), ""


def _mixtures(then: Study, now: Study) -> int:
    """The number of studies that an attribution replays."""
    n = len(changed_inputs(then, now))
    return int(2**n) if n <= MOST_FOR_SHAPLEY else n + 2


def _forecast(then: Run, now: Run, case: Case | None) -> dict[str, Any] | None:
    """The earlier run's forecast against invoices, and for months without one against the log."""
    rows = then.chapters["06_crossover"].get("monthly_bills")
    if rows is None or then.study is None or now.study is None:
        return None
    logged = logged_bills(case) if case and case.study.requests else []
    bills: dict[tuple[str, str | None], Invoice] = {
        (bill.month, bill.workload): bill for bill in (*logged, *now.study.invoices)
    }
    news = [bill for bill in bills.values() if bill.begins >= then.study.as_of]
    routes = [{n: w.current_route for n, w in s.workloads.items()} for s in (then.study, now.study)]
    return forecast.against_actual(rows, then.study.as_of, routes[0], routes[1], news)


@contextmanager
def _progress(total: int, visible: bool) -> Iterator[Callable[[], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    look = ("replaying the study", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*look, console=Console(stderr=True), transient=True, disable=not visible) as bar:
        task = bar.add_task("", total=total)
        yield lambda: bar.update(task, advance=1)

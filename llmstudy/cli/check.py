"""`llmstudy check`: tells CI whether somebody must act."""

import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmstudy.cli.terminal import AsJson, mistakes, print_json, say

if TYPE_CHECKING:
    from rich.console import Console

    from llmstudy.run.check import CheckResult, Last
    from llmstudy.study import Study


def check(
    study: Annotated[Path, typer.Argument(help="The study file.", metavar="STUDY")],
    log: Annotated[
        Path | None,
        typer.Option(
            help="A newer request log, in place of the study's own and in its format. Where the "
            "study has none: a .csv, .jsonl or .parquet file with the canonical column names.",
            metavar="FILE",
        ),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(
            help="The run to compare with. [default: the study's latest one in ./outputs]",
            metavar="DIR",
        ),
    ] = None,
    on: Annotated[
        datetime | None,
        typer.Option(
            help="The date to check for. [default: today]", formats=["%Y-%m-%d"], metavar="DATE"
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell CI whether a trigger fired, the budget is exceeded or evidence is stale.

    Triggers and the month's bill are judged with the prices and contracts of the date.
    With a log, utilisation (G1) and latency (G2) are judged by its whole weeks, Monday to Sunday
    UTC: they fire when their condition has lasted `thresholds.sustained` weeks in a row, and are
    reset when it stays below a lower level for as long, so that one bad day fires nothing.

    Evidence is stale when a figure or price of the study has expired, a contract has run out, or
    the study file, its log or probe runs, the bundled data, a notebook, the code, the lock file or
    the version of the package is not what the last run used, or your own items were judged again
    and `looks` did not count it. The headline is recomputed from the inputs of the date and
    compared with the last run's: the difference is what a new run would change.

    Where the log goes on after the last run, its whole weeks since then are held against what that
    run forecast of the route that serves now: cost, tokens, first token, failures, what a fallback
    answered, and items judged again. The difference in cost is split among its drivers, and sums
    up. A cost that lies wholly beside the forecast's 80 % range, its own 95 % interval included,
    makes the run stale. `spread` is by how much the forecast's median lies off its stated values.
    The rent of a fleet is in no log: it is what the run would have rented for what came. A canary
    under the name of the workload counts as answered by another model.

    A note names a model on sale that would cost less than every candidate of its arm. It changes
    no exit code, and is read from the bundled price list, not from the network.

    Exit codes: 0 nothing to do; 2 the study, log or run cannot be used; 3 a trigger fired or
    today's routes cost more a month than `thresholds.month_budget`; 4 evidence is stale, even
    if 3 holds too: renew it and run again before you act on a trigger.

    The canonical columns of a log are `ts_start`, `workload`, `provider`, `model_served`,
    `input_tokens`, `output_tokens` and `ok`; where known also `request_id`, `tenant`,
    `model_requested`, `operation`, `cached_input_tokens`, `cache_write_tokens`,
    `reasoning_tokens`, `latency_s`, `ttft_s` and `source`.

    ```
    llmstudy check acme/study.yaml
    llmstudy check acme/study.yaml --log last-month.parquet --json > check.json
    llmstudy check acme/study.yaml --on 2027-01-31
    ```

    JSON: `{exit_code, study, on, triggers: [{workload, id, name, status, value, threshold, unit,
    grade, evidence, owner, sustained_weeks, weeks_held}], budget: {month_usd, limit_usd, exceeded},
    stale: [{what, sentence}], warnings: [sentence], headline: {then: {kind, p10, p50, p90}, now,
    moved_usd, why_not}, forecast: [{workload, route, days, first, last, month_usd: {p10, p50, p90,
    actual, low, high, verdict}, parts: [{driver, usd}], broke, usage: {requests: {forecast,
    actual}, input_tokens, output_tokens, cached_input_share}, ttft_p95_s: {forecast, forecast_low,
    forecast_high, actual, low, high, verdict}, failed: {forecast, actual, low, high}, fallback:
    {share, low, high, month_usd, models}, quality: [{model_a, model_b, n, forecast, difference,
    low, high, margin, verdict}], why_not, sentences}]}`; `headline` is null without a run to
    compare with, `forecast` empty without one or without a log.
    """
    with mistakes(as_json):
        from llmstudy import paths
        from llmstudy.evidence.case import open_case
        from llmstudy.run import check as judgement
        from llmstudy.run import made_of
        from llmstudy.study import load

        base = load(study)
        # a study may be dated tomorrow, by an author east of this machine
        day = on.date() if on else max(date.today(), base.as_of)
        today = judgement.on_day(_with_log(base, log) if log else base, day)
        last = _last(base.study, run)
        inputs = made_of(paths.resolve(study), base)
        if log:  # it is newer than the study's by intent
            del inputs["log_sha256"]
        state = judgement.check(base, open_case(today), last, inputs)
    if as_json:
        print_json(state.row())
    else:
        _show(state)
    raise typer.Exit(state.exit_code)


def _last(name: str, run: Path | None) -> "Last | None":
    """The run to compare with: the one named, else the study's latest."""
    from llmstudy.run import latest_run
    from llmstudy.run.check import Last
    from llmstudy.run.record import read_run

    folder = run or latest_run(name)
    if folder is None:
        return None
    record = folder / "provenance.json"
    try:
        made_of = json.loads(record.read_text(encoding="utf-8"))
        made_of["package"]
    except (OSError, ValueError, KeyError, TypeError):
        raise ValueError(
            f"{record} does not list what the run was made from: give --run another folder."
        ) from None
    try:
        return Last(made_of, read_run(folder))
    except ValueError as error:
        return Last(made_of, None, str(error).rstrip("."))


def _with_log(study: "Study", path: Path) -> "Study":
    """The study with another log, read as its own was; without one, in whatever format it is."""
    from llmstudy.study import Log

    own = study.requests or Log(path=path)
    return study.model_copy(update={"requests": own.model_copy(update={"path": path})})


# --- what a person reads --------------------------------------------------------------------

_STYLES = {
    "fired": "bold red",
    "pending": "bold",
    "armed": "",
    "unknown": "dim",
    "not_applicable": "dim",
}


def _show(state: "CheckResult") -> None:
    from rich.console import Console
    from rich.table import Table

    from llmstudy import text

    console = Console(markup=False, highlight=False, soft_wrap=False)
    console.print(f"{state.study} on {state.on}", style="bold")
    lines = {row["workload"]: Table.grid(padding=(0, 2)) for row in state.triggers}
    for row in state.triggers:
        value, threshold = _number(row["value"]), _number(row["threshold"])
        lines[row["workload"]].add_row(
            f"  {row['id']} {row['name']}".ljust(16),
            row["status"].replace("_", " ").ljust(14),
            f"{value:>7} against {threshold:<5} {row['unit']}: {row['evidence']}",
            style=_STYLES[row["status"]],
        )
    for workload, table in lines.items():
        console.print(workload)
        console.print(table)
    budget = state.budget
    verb = "exceeds" if budget.exceeded else "is within"
    console.print(
        f"The bill of {text.usd(budget.month_usd)} a month {verb} "
        f"the budget of {text.usd(budget.limit_usd)}."
    )
    _show_forecast(console, state.forecast)
    for stale in state.stale:
        console.print(f"Stale: {stale.sentence}")
    if state.headline:
        console.print(state.headline.sentence)
    for warning in state.warnings:
        say(f"Note: {warning}")


def _show_forecast(console: "Console", rows: Sequence[Mapping[str, Any]]) -> None:
    from llmstudy import text

    if rows:
        console.print("Against the forecast of the last run", style="bold")
    for sentence in dict.fromkeys(sentence for row in rows for sentence in row["sentences"]):
        console.print(f"  {sentence}")
    for row in rows:
        if row["broke"]:
            parts = sorted(row["parts"], key=lambda part: -abs(part["usd"]))
            split = [
                f"{part['driver'].replace('_', ' ')} {text.signed_usd(part['usd'])}"
                for part in parts
                if abs(part["usd"]) >= 0.5
            ]
            console.print(f"  {row['workload']}, by driver: {', '.join(split)}")


def _number(x: float | None) -> str:
    return "–" if x is None else f"{x:.3g}"

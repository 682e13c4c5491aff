"""`llmstudy diff`: what has changed between two runs, and which input moved the headline."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmstudy.cli.terminal import AsJson, mistakes, print_json

if TYPE_CHECKING:
    from rich.console import Console

SAME, CHANGED = 0, 3
"""Exit codes; as in `llmstudy check`, 3 means that somebody must act."""


def diff(
    run_a: Annotated[Path, typer.Argument(help="The folder of the earlier run.", metavar="RUN_A")],
    run_b: Annotated[Path, typer.Argument(help="The folder of the later run.", metavar="RUN_B")],
    as_json: AsJson = False,
) -> None:
    """Say what has changed between two runs of a study, and which input moved the headline.

    It shows the recommendation and the headline with its range, then and now; by how much each
    changed input moved it; the assumptions, triggers and files that changed; and the earlier run's
    forecast of each month against what was billed since (`invoices` in the study, or its log), and
    of cost, first token and fallbacks against the later run's log.

    The studies of both runs are mixed input by input and assessed again. Up to ten changed inputs
    share the move by Shapley's value, which takes 2^n mixtures: seconds for three, minutes for ten.
    With more inputs each is changed alone, and the ten that move most are named. Either way the
    parts add up to the whole. Data files, log and package are today's in every mixture: what they
    moved is the part `data and code`.

    Exit codes: 0 the recommendation is the same; 2 a folder is no run, or of another study; 3 the
    recommendation for some workload has changed.

    ```
    llmstudy diff outputs/acme/20261101T080000Z-ab12cd outputs/acme/20261201T080000Z-09fe77
    llmstudy diff LAST-MONTH THIS-MONTH --json > changes.json
    ```

    JSON: `{then: {run_id, study, as_of}, now, same_recommendation, recommendation: [{workload,
    then: {decision, route, target}, now, changed}], headline: {then: {kind, p10, p50, p90}, now,
    kind, then_usd, now_usd, moved_usd}, attribution: {method, inputs: [{input, moved_usd}],
    why_not}, assumptions: [{name, then: {value, low, high, unit, grade, source}, now}], triggers:
    [{workload, id, name, then, now}], looks: [sentence], made_of: [{what, then, now}], forecast:
    {months: [{month, workload, p10_usd, p50_usd, p90_usd, actual_usd, error_usd, error_share,
    inside, source, summed}], summary: [{workload, months, inside, coverage_share, coverage_low,
    coverage_high, bias_usd, bias_share, mean_abs_error_share}], not_compared: [{month, workload,
    reason}]}, since: {workloads: [as `forecast` of `llmstudy check`], sentences: [sentence]}}`;
    null where a run has no value or none can be stated.
    """
    with mistakes(as_json):
        from llmstudy.compare.runs import compared
        from llmstudy.run.record import read_run

        changes = compared(read_run(run_a), read_run(run_b), progress=not as_json)
    if as_json:
        print_json(changes)
    else:
        _show(changes)
    raise typer.Exit(SAME if changes["same_recommendation"] else CHANGED)


# --- what a person reads --------------------------------------------------------------------


def _show(changes: Mapping[str, Any]) -> None:
    from rich.console import Console

    from llmstudy.compare.diff import course, headline_text
    from llmstudy.compare.forecast import forecast_sentences

    console = Console(markup=False, highlight=False, soft_wrap=False)
    then, now = changes["then"], changes["now"]
    console.print(f"{now['study']}: {then['run_id']} (as of {then['as_of']}) against")
    console.print(f"{' ' * len(now['study'])}  {now['run_id']} (as of {now['as_of']})")
    _table(
        console,
        "Recommendation: " + ("the same" if changes["same_recommendation"] else "changed"),
        ("workload", "then", "now"),
        [(r["workload"], course(r["then"]), course(r["now"])) for r in changes["recommendation"]],
        [row["changed"] for row in changes["recommendation"]],
    )
    console.print("Headline", style="bold")
    console.print(f"  then: {headline_text(changes['headline']['then'])}")
    console.print(f"  now:  {headline_text(changes['headline']['now'])}")
    _show_attribution(console, changes)
    _table(
        console,
        "Assumptions that changed",
        ("name", "then", "now"),
        [(r["name"], _stated(r["then"]), _stated(r["now"])) for r in changes["assumptions"]],
    )
    _table(
        console,
        "Triggers that changed",
        ("workload", "trigger", "then", "now"),
        [
            (r["workload"], f"{r['id']} {r['name']}", _state(r["then"]), _state(r["now"]))
            for r in changes["triggers"]
        ],
    )
    for sentence in changes["looks"]:
        console.print(sentence)
    if changes["made_of"]:
        console.print(
            f"Changed data and code: {', '.join(row['what'] for row in changes['made_of'])}"
        )
    _show_months(console, changes["forecast"])
    for sentence in (*forecast_sentences(changes["forecast"]), *changes["since"]["sentences"]):
        console.print(sentence)


def _show_attribution(console: "Console", changes: Mapping[str, Any]) -> None:
    from llmstudy.compare.diff import LEADS
    from llmstudy.text import signed_usd

    shares, headline = changes["attribution"], changes["headline"]
    if shares["why_not"]:
        console.print(f"Which input moved it is not known: {shares['why_not']}.")
        return
    how = "Shapley's value" if shares["method"] == "shapley" else "each changed alone"
    rows = [(row["input"], signed_usd(row["moved_usd"])) for row in shares["inputs"]]
    whole = ("in all", signed_usd(headline["moved_usd"]))
    title = f"What moved the {LEADS[headline['kind']]}, by {how}"
    _table(console, title, ("input", "moved by"), [*rows, whole] if rows else [])


def _show_months(console: "Console", forecast: Mapping[str, Any] | None) -> None:
    from llmstudy import text

    rows = forecast["months"] if forecast else []
    if not rows:
        return
    _table(
        console,
        "Forecast against actual bills",
        ("month", "workload", "forecast", "80 % range", "billed", "error", "inside"),
        [
            (
                row["month"],
                row["workload"] or "all",
                text.usd(row["p50_usd"]),
                text.span(row["p10_usd"], row["p90_usd"], text.usd),
                text.usd(row["actual_usd"]),
                "–" if row["error_share"] is None else text.share(row["error_share"]),
                "yes" if row["inside"] else "no",
            )
            for row in rows
        ],
    )


def _table(
    console: "Console",
    title: str,
    columns: tuple[str, ...],
    rows: list[tuple[str, ...]],
    marked: list[bool] | None = None,
) -> None:
    """A table, its marked rows in bold; without rows, the title and "none"."""
    from rich.table import Table

    if not rows:
        console.print(f"{title}: none")
        return
    console.print(title, style="bold")
    table = Table(box=None)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row, bold in zip(rows, marked or [False] * len(rows), strict=True):
        table.add_row(*row, style="bold" if bold else "")
    console.print(table)


def _stated(side: Mapping[str, Any] | None) -> str:
    """A figure with its range, grade and source; or the text of another answer."""
    if side is None:
        return "not there"
    if "text" in side:
        return str(side["text"])
    span = "" if side["low"] is None else f" [{side['low']:.4g}, {side['high']:.4g}]"
    return f"{side['value']:.4g}{span} {side['unit']} ({side['grade']}: {side['source']})"


def _state(status: str | None) -> str:
    return "not there" if status is None else status.replace("_", " ")

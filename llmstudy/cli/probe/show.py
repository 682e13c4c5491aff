"""Prints a run and its progress."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from llmstudy.cli.terminal import print_json, say

if TYPE_CHECKING:
    from llmstudy.probe.load import Progress
    from llmstudy.probe.run import Run


INVALID = 3
"""Exit code of a run that its audit finds invalid."""


@contextmanager
def progress(visible: bool) -> Iterator[Callable[["Progress"], None] | None]:
    """A line on stderr with the state of a run."""
    if not visible:
        yield None
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    with Live(console=Console(stderr=True), transient=True, auto_refresh=False) as live:

        def tell(now: "Progress") -> None:
            target = "" if now.asked_per_s is None else f" of {now.asked_per_s:.2f}"
            first = (
                "-"
                if now.ttft_p50_s is None
                else f"{_ms(now.ttft_p50_s * 1e3)}/{_ms((now.ttft_p95_s or 0) * 1e3)}"
            )
            live.update(
                Text(
                    f"{now.elapsed_s:5.0f} s  {now.finished}/{now.planned} requests, "
                    f"{now.failed} failed  {now.realised_per_s:.2f}{target}/s  "
                    f"TTFT p50/p95 {first} ms  USD {now.spent_usd:.3f}"
                ),
                refresh=True,
            )

        yield tell


def finish(run: "Run", as_json: bool, more: Mapping[str, Any] | None = None) -> None:
    """Prints a run and ends the command: exit code 3 if its audit finds it invalid."""
    from llmstudy.probe.report import report

    document = {**(more or {}), **report(run)}
    if as_json:
        print_json(document)
    else:
        show(document)
    if not document["audit"]["valid"]:
        if not as_json:
            say("This run is invalid and cannot enter a memo:")
            for reason in document["audit"]["reasons"]:
                say(f"- {reason}")
        raise typer.Exit(INVALID)


def show(report: Mapping[str, Any]) -> None:
    """Prints a report as tables on stdout."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    failed = report["failed_share"]
    console.print(
        f"{report['n']} requests measured"
        + (f", {failed:.1%} failed" if failed else ", none failed" if report["n"] else "")
        + (f"; ended: {report['ended']}" if report["ended"] else "")
        + ("; killed in between, and resumed" if report.get("resumed") else "")
    )
    for note in report.get("notes") or []:
        console.print(f"- {note}", markup=False)
    latencies = Table("ms", "p50", "p95", "p99", "n", title="Latency, with 95 % intervals")
    for column in latencies.columns[1:]:
        column.justify = "right"
    for metric, row in report["metrics"].items():
        cells = [_cell(row, name, of_gaps=metric == "itl_ms") for name in ("p50", "p95", "p99")]
        latencies.add_row(metric.removesuffix("_ms"), *cells, str(row["n"]))
    console.print(latencies)
    if report["ttft_parts"]:
        parts = Table("part of TTFT", "median, ms", "share of TTFT", title="Where it goes")
        for row in report["ttft_parts"]:
            if row["mean_share"]:  # neither unknown nor 0
                parts.add_row(row["part"], _ms(row["median_ms"]), f"{row['mean_share']:.0%}")
        console.print(parts)
    for name, row in (report.get("prefix_cache") or {}).items():
        console.print(f"{name} prefix: TTFT p50 {_cell(row, 'p50')} ms, {row['n']} requests")
    if report.get("published"):
        console.print(_published(report["published"]))
    checks = Table("audit", "value", "limit", "", title="Did the run do what it says?")
    for row in report["audit"]["checks"]:
        value, limit = (_number(row[key], row.get("unit")) for key in ("value", "limit"))
        status = "cannot tell" if row["status"] == "unknown" else row["status"]
        checks.add_row(row["check"], value, limit, status)
    console.print(checks)
    for row in report["audit"]["checks"]:
        if row["check"] == "pace" and row["status"] == "unknown":
            console.print(f"pace: {row['why']}", markup=False)


def _published(rows: list[Mapping[str, Any]]) -> Any:
    from rich.table import Table

    heads = ("quantity", "", "published, ms", "by our dictionary, ms", "comparable")
    table = Table(*heads, title="The tool's own figures")
    last = ""
    for row in rows:
        comparable = "yes" if row["comparable"] else f"no: {row['why']}"
        pair = (_number(row[key]) for key in ("published_ms", "derived_ms"))
        cell = comparable if comparable != last else '"'
        table.add_row(row["quantity"], row["statistic"], *pair, cell)
        last = comparable
    return table


def _cell(percentiles: Mapping[str, Any], name: str, of_gaps: bool = False) -> str:
    """A percentile with its interval, or why there is none."""
    from llmstudy.measures.latency import PERCENTILES, percentile_minimum_n

    if percentiles[name] is None:
        enough = percentile_minimum_n(PERCENTILES[name])
        if not percentiles["n"] and percentiles["n_undefined"]:
            return "unknown"
        if percentiles["n"] < enough:
            return f"needs n >= {enough}"
        # gaps may be plenty, and of few requests
        few = of_gaps and not percentiles["supported"][name]
        return "needs more requests" if few else "among failures"
    low, high = percentiles[f"{name}_interval"]
    return f"{_ms(percentiles[name])} [{_ms(low)}, {'-' if high is None else _ms(high)}]"


def _ms(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _number(value: Any, unit: str | None = None) -> str:
    if value is None or value != value:
        return "-"
    text = f"{value:.3g}" if isinstance(value, float) else str(value)
    return f"{text} {unit}" if unit and unit != "share" else text


def folder_note(folder: Path) -> None:
    """Prints the folder of a run."""
    say(f"Every request is kept in {folder}")

"""Prints what a probe measured, and its progress."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from llmstudy.cli.terminal import say

if TYPE_CHECKING:
    from llmstudy.probe.load import Progress


@contextmanager
def progress(visible: bool) -> Iterator[Callable[["Progress"], None] | None]:
    """Shows a line on stderr with the state of a run."""
    if not visible:
        yield None
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    with Live(console=Console(stderr=True), transient=True, auto_refresh=False) as live:

        def on_progress(now: "Progress") -> None:
            target = "" if now.scheduled_per_s is None else f" of {now.scheduled_per_s:.2f}"
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

        yield on_progress


def run(report: Mapping[str, Any]) -> None:
    """Prints the report of a run."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    failed = report["failed_share"]
    console.print(
        f"{report['n']} requests measured"
        + (f", {failed:.1%} failed" if failed else ", none failed" if report["n"] else "")
        + (f"; ended: {report['ended']}" if report["ended"] else "")
        + ("; killed and resumed" if report.get("resumed") else "")
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
        parts = Table("part of TTFT", "median, ms", "share of TTFT", title="Parts of TTFT")
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

    heads = ("quantity", "", "published, ms", "our metric, ms", "comparable")
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


def search(report: Mapping[str, Any]) -> None:
    """Prints the report of a search."""
    from rich.console import Console
    from rich.table import Table

    table = Table("requests/s", "requests", "good", "95 % interval", "", title="Steps")
    for step in report["steps"]:
        table.add_row(
            f"{step['level']:.3g}",
            str(step["n"]),
            f"{step['attainment_share']:.1%}",
            f"{step['low']:.1%} to {step['high']:.1%}",
            step["verdict"],
        )
    console = Console()
    console.print(table)
    passing, failing = report["passing_per_s"], report["failing_per_s"]
    met = "at no rate for certain" if passing is None else f"up to {passing:.3g} requests/s"
    fails = "" if failing is None else f", fails from {failing:.3g}"
    console.print(f"The SLO holds {met}{fails} ({report['stopped']}).")
    if report["knee"]:
        console.print(f"Knee: {report['knee']['why']}.")
    console.print(f"Runs: {report['runs']}")


def settings(report: Mapping[str, Any]) -> None:
    """Prints the points of vLLM's settings."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    heads = ("in", "out", "at once", "TTFT, ms", "TPOT, ms", "tokens/s per GPU", "of the limit")
    for setting in report["settings"]:
        table = Table(*heads, title=setting["label"])
        for row in setting["points"]:
            rate = row.get("output_tokens_per_s_per_gpu")
            share = row.get("throughput_share")
            table.add_row(
                *(str(row[name]) for name in ("input_tokens", "output_tokens", "concurrency")),
                *(f"{row[name]:.3g}" for name in ("ttft_ms", "tpot_ms")),
                "-" if rate is None else f"{rate:.0f}",
                "-" if share is None else f"{share:.0%}",
            )
        console.print(table)
    word = "Not audited" if report["audit"]["valid"] is None else "Invalid"
    for reason in report["audit"]["reasons"]:
        say(f"{word}: {reason}")


def goals(rows: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> None:
    """Prints how many requests each goal needs. names: the text of each goal."""
    from rich.console import Console
    from rich.table import Table

    table = Table("goal", "percentile", "requests", "minutes", "USD")
    for row in rows:
        minutes, usd = (
            "-" if row[name] is None else f"{row[name]:.3g}" for name in ("minutes", "usd")
        )
        table.add_row(names[row["goal"]], row["percentile"], str(row["requests"]), minutes, usd)
    console = Console()
    console.print(table)
    console.print(f"Assumes: {rows[0]['assumes']}.")

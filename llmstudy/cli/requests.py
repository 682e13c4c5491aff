"""`llmstudy requests`: a log in, as one table of requests, and what it amounts to."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmstudy.cli.terminal import AsJson, mistakes, print_json, say

if TYPE_CHECKING:
    import pandas as pd

    from llmstudy.measures.log_totals import Totals
    from llmstudy.requests.importers import Log

app = typer.Typer(
    name="requests",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="""A gateway's or a provider's log, as one table of requests.

```
llmstudy requests formats
llmstudy requests import auto logs/*.jsonl --out requests.parquet
llmstudy requests summary requests.parquet --by workload,day
llmstudy requests reconcile requests.parquet --invoice 2026-11=1840.20
```
""",
)

Files = Annotated[
    list[str], typer.Argument(help="Files, folders with all their files, or globs.", metavar="FILE")
]
Declared = Annotated[
    list[str],
    typer.Option(
        "--set",
        help="What the log means, as under `requests` in a study: `thousands=.`, "
        "`columns.latency_s=took`, `units.latency_s=ms`; may be given several times.",
        metavar="KEY=VALUE",
    ),
]


Format = Annotated[str, typer.Option(help="auto, or a name of `llmstudy requests formats`.")]


@app.callback()
def _requests() -> None:
    """A group of commands."""


@app.command("import")
def import_(
    format: Annotated[str, typer.Argument(help="auto, or a name of `llmstudy requests formats`.")],
    files: Files,
    out: Annotated[
        Path, typer.Option(help="The table of requests to write.", metavar="FILE.parquet")
    ] = Path("requests.parquet"),
    price_as: Annotated[
        str | None,
        typer.Option(help="Bill a month on this model.", metavar="PROVIDER/MODEL"),
    ] = None,
    on: Annotated[
        str | None, typer.Option(help="The day of its prices; today.", metavar="DATE")
    ] = None,
    declared: Declared = [],  # noqa: B006
    as_json: AsJson = False,
) -> None:
    """Read a log into a Parquet file with one row per request, whatever gateway wrote it.

    Attempts of one call become one request with its final outcome. Every row read is accepted or
    quarantined with a reason; the quarantine is written beside the table. Prompts and answers are
    not read.

    Exit codes: 0 done; 2 the log cannot be read, or can be read in two ways.

    JSON: `{format, files, rows_read, attempts, logical_requests, quarantined: {reason: rows},
    unknown: [column], totals: {requests_per_month, input_tokens, cached_input_tokens,
    output_tokens, failed_share, usd, usd_low, usd_high}, out}`; null is what the log does not tell,
    and usd a month's bill.
    """
    with mistakes(as_json):
        from dataclasses import asdict

        from llmstudy.measures.log_totals import COLUMNS, log_totals
        from llmstudy.requests.importers import imported

        with imported(list(files), format, **declarations(declared)) as table:
            log = table.read(COLUMNS)
            totals = log_totals(log, price_as, on or _today())
            written = table.write(out)
    if as_json:
        print_json({**_summary(log, totals), "out": written})
        return
    n = totals.logical_requests
    requests = "an unknown number of" if n is None else f"{n:,.0f}"
    say(f"{log.format}: {log.rows_read:,} rows read, {requests} requests.")
    for reason, n in reasons(log.quarantined).items():
        say(f"Set aside: {n:,} ({n / log.rows_read:.1%}), {reason}.")
    if log.unknown:
        say(f"The log does not tell {', '.join(log.unknown)}.")
    for name, value in asdict(totals).items():
        typer.echo(f"{name:22} {'unknown' if value is None else f'{value:,.6g}'}")
    say(f"Written: {', '.join(map(str, written))}")


@app.command()
def summary(
    files: Files,
    by: Annotated[
        str,
        typer.Option(
            help="Columns of a request, `route`, and `hour`, `day` or `month` (UTC), parted by "
            "commas.",
            metavar="NAMES",
        ),
    ] = "workload",
    format: Format = "auto",
    declared: Declared = [],  # noqa: B006
    as_json: AsJson = False,
) -> None:
    """Sum up a log: volume, cost, failures, latencies, peaks, growth, tenants and fallbacks.

    FILE is a log of any format, or the table that `llmstudy requests import` wrote. Cost is that of
    the tokens at the list price of each request's own time and served model. Intervals are 95 %.

    Exit codes: 0 done; 2 the log cannot be read, or can be read in two ways.

    JSON: `{sentence, by: [name], unknown: [what no group tells], groups: [{the names of by,
    requests, input_tokens, output_tokens, cached_input_share, usd, unpriced_requests, failed_share,
    errors: [{error, share}], retry_share, attempts_per_request, retry_usd, latency_s_n,
    latency_s_p50, latency_s_p50_low, latency_s_p50_high (and p95, p99, and ttft_s),
    peak_to_mean_10s, peak_to_mean_1min, peak_to_mean_1h, dispersion_1min, growth_per_month,
    growth_per_month_low, growth_per_month_high, tenant_share_largest, tenant_share_largest_5,
    fallback_share, alias_share,
    tool_calls_per_request, requests_per_session}]}`; null is what the log does not tell or has too
    few requests for, and the upper end of a latency that falls among the failures.
    """
    with mistakes(as_json):
        from llmstudy.cli import requests_tables
        from llmstudy.measures.requests_behaviour import requests_table
        from llmstudy.requests.log_table import requests_of

        names = [name.strip() for name in by.split(",") if name.strip()]
        requests = requests_of(list(files), format, **declarations(declared))
        rows = requests_table(requests, names)
    if as_json:
        print_json(requests_tables.document(rows, names))
        return
    requests_tables.show(rows, names)


@app.command()
def reconcile(
    files: Files,
    invoice: Annotated[
        list[str],
        typer.Option(
            help="What was invoiced, for all months of the log or for one, `2026-11=1840.20`; may "
            "be given several times.",
            metavar="[MONTH=]AMOUNT",
        ),
    ] = [],  # noqa: B006
    currency: Annotated[str, typer.Option(help="Of the invoice.", metavar="CODE")] = "USD",
    usd_per_unit: Annotated[
        float, typer.Option(help="USD for one unit of that currency.", metavar="RATE")
    ] = 1.0,
    provider: Annotated[
        str | None, typer.Option(help="Compare its requests alone, as the log names it.")
    ] = None,
    format: Format = "auto",
    declared: Declared = [],  # noqa: B006
    as_json: AsJson = False,
) -> None:
    """Compare the cost in a log, and invoices, with what its tokens cost, and name the causes.

    FILE is a log of any format, or the table that `llmstudy requests import` wrote. Every request
    is priced again from its tokens, at its own time and served model.

    Exit codes: 0 done; 2 the log or an invoice cannot be read.

    JSON: `{sentence, rows: [{against: log or invoice MONTH, kind, requests, billed_usd,
    repriced_usd, difference_usd, sentence}]}`.
    """
    with mistakes(as_json):
        from llmstudy.cli import requests_tables
        from llmstudy.measures import reconcile as reconciling
        from llmstudy.requests.log_table import requests_of

        amounts = requests_tables.invoices(invoice)
        if currency != "USD" and usd_per_unit == 1.0:
            raise ValueError(f"--usd-per-unit: state how many USD one {currency} is")
        requests = requests_of(list(files), format, **declarations(declared))
        rows = reconciling.reconcile(requests, amounts, usd_per_unit, currency, provider)
    sentence = requests_tables.difference(rows)
    if as_json:
        print_json({"sentence": sentence, "rows": rows})
        return
    requests_tables.show_lines([sentence, *reconciling.lines(rows)])


@app.command()
def formats(as_json: AsJson = False) -> None:
    """List the formats, what each can tell and what it cannot.

    Exit codes: 0.

    JSON: `[{name, title, grain, tells: [column], unknown: {column: why}, source}]`.
    """
    from llmstudy.requests.formats import bundled

    rows = [
        {
            "name": name,
            "title": each.title,
            "grain": each.grain,
            "tells": sorted({*each.columns, *each.constants}),
            "unknown": each.unknown,
            "source": each.source,
        }
        for name, each in bundled().items()
    ]
    if as_json:
        print_json(rows)
        return
    for name, each in bundled().items():
        typer.echo(f"{name:20} {each.title}")
        for column, why in each.unknown.items():
            typer.echo(f"{'':20}   not {column}: {why}")


def _today() -> str:
    from datetime import UTC, datetime

    return datetime.now(UTC).date().isoformat()


def declarations(settings: list[str]) -> dict[str, Any]:
    """`units.latency_s=ms` as `{"units": {"latency_s": "ms"}}`."""
    from llmstudy.study.document import parsed

    declared: dict[str, Any] = {}
    for path, value in parsed(settings).items():
        outer, dot, inner = path.partition(".")
        if dot:
            declared.setdefault(outer, {})[inner] = value
        else:
            declared[outer] = value
    return declared


def reasons(quarantined: "pd.DataFrame") -> dict[str, int]:
    """Rows that were set aside, by reason without the cells it quotes, the most frequent first."""
    from llmstudy.requests.importers import QUOTED_CELL

    counts = quarantined["reason"].str.replace(QUOTED_CELL, " is not ", regex=True).value_counts()
    return {str(reason): int(n) for reason, n in counts.items()}


def _summary(log: "Log", totals: "Totals") -> dict[str, Any]:
    from dataclasses import asdict

    numbers = asdict(totals)
    requests = numbers.pop("logical_requests")
    return {
        "format": log.format,
        "rows_read": log.rows_read,
        "attempts": int(log.accepted["attempts"].fillna(1).sum()),
        "logical_requests": requests,
        "quarantined": reasons(log.quarantined),
        "unknown": list(log.unknown),
        "totals": numbers,
    }

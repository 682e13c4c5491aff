"""`llmstudy probe plan`: how many requests a question needs."""

from pathlib import Path
from typing import Annotated, Any

import typer

from llmstudy.cli.probe import options as o
from llmstudy.cli.probe.results import read_run
from llmstudy.cli.terminal import AsJson, mistakes, print_json


def plan(
    pilot: Annotated[
        Path | None,
        typer.Option(help="An earlier run, for its scatter.", metavar="RUN"),
    ] = None,
    metric: Annotated[str, typer.Option(help="Of the pilot: ttft, tpot or e2e.")] = "ttft",
    half_width: Annotated[
        float, typer.Option(help="Interval wanted: 0.1 is 10 % either way.")
    ] = 0.1,
    difference: Annotated[
        float, typer.Option(help="Difference to be found between two runs: 0.15 is 15 %.")
    ] = 0.15,
    power: Annotated[float, typer.Option(help="Chance of finding it.")] = 0.8,
    rate: Annotated[float | None, typer.Option(help="Requests a second.")] = None,
    url: Annotated[str | None, typer.Option(help="Endpoint, for its price.", metavar="URL")] = None,
    model: Annotated[str | None, typer.Option(help="Model, for its price.")] = None,
    provider: o.Provider = None,
    price: o.Price = None,
    input_tokens: o.InputTokens = None,
    output_tokens: o.OutputTokens = None,
    as_json: AsJson = False,
) -> None:
    """Say how many requests a percentile, its interval or a comparison needs, before any is sent.

    Without a pilot the scatter is assumed, and the table says so. With `--rate` it says how long
    that takes, with a price and token counts what it costs.

    Exit codes: 0 done; 2 bad input.

    JSON: `{goals: [{goal, percentile, requests, minutes, usd, assumes}]}`.
    """
    with mistakes(as_json):
        from llmstudy.probe.compare import ASSUMED, pilot_spread
        from llmstudy.probe.compare import plan as goals
        from llmstudy.probe.report import rows_of
        from llmstudy.probe.spend import UNLIMITED_OUTPUT_TOKENS

        spread = ASSUMED
        if pilot is not None:
            if metric not in ("ttft", "tpot", "e2e"):
                raise ValueError(f"--metric {metric}: write ttft, tpot or e2e")
            spread = pilot_spread(read_run(pilot), metric)  # type: ignore[arg-type]
        usd = None
        if url or price or provider:
            if input_tokens is None:
                raise ValueError("a price needs --input-tokens")
            cost = o.price_of(url or "", model or "", provider, price, max_spend=0.0)
            usd = cost.usd(input_tokens, 0, output_tokens or UNLIMITED_OUTPUT_TOKENS)
        table = goals(
            spread,
            half_width_share=half_width,
            difference_share=difference,
            power=power,
            rate_per_s=rate,
            usd_per_request=usd,
        )
    rows = rows_of(table)
    if as_json:
        print_json({"goals": rows})
        return
    _show(rows, half_width, difference)


def _show(rows: list[dict[Any, Any]], half_width: float, difference: float) -> None:
    from rich.console import Console
    from rich.table import Table

    words = {
        "supported": "print it with its interval",
        "interval": f"know it to {half_width:.0%}",
        "difference": f"find {difference:.0%} between two runs",
    }
    table = Table("to", "percentile", "requests", "minutes", "USD")
    for row in rows:
        minutes, usd = (
            "-" if row[name] is None else f"{row[name]:.3g}" for name in ("minutes", "usd")
        )
        table.add_row(words[row["goal"]], row["percentile"], str(row["requests"]), minutes, usd)
    console = Console()
    console.print(table)
    console.print(f"Takes: {rows[0]['assumes']}.")

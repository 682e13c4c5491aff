"""`llmstudy capacity size`: how many replicas a study's traffic needs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmstudy.cli.terminal import AsJson, mistakes, print_json, say

if TYPE_CHECKING:
    import pandas as pd


def size(
    study: Annotated[Path, typer.Argument(help="The study file.", metavar="STUDY")],
    as_json: AsJson = False,
) -> None:
    """Replay each workload's traffic on every self-hosted route that may serve it.

    Arrivals are the log's own where it covers a week, else drawn from published shapes with their
    bursts. For each route: the smallest fleet that meets the SLO in the peak hour, with its spare;
    a fleet scheduled by the hour of the week, and an autoscaled one; the latency, utilisation and
    GPU-hours of each; the utilisation at which a fleet of each size still meets the SLO; and how a
    smaller fleet would share the work with an API at the peaks, with the monthly cost of both.

    Exit codes: 0 done, even if a route cannot serve (its row gives the reason); 2 the study
    cannot be used.

    ```
    llmstudy capacity size acme/study.yaml
    llmstudy capacity size acme/study.yaml --json > sizing.json
    ```

    JSON: `{study, workloads: [{workload, route, fleets: [{kind, replicas_min, replicas_max, spare,
    gpu_hours_week, usd_week, ttft_p50_s, ttft_p95_s, ttft_p99_s, e2e_p50_s, e2e_p95_s, e2e_p99_s,
    slo_attainment_share, utilisation, busy_share, simulated_requests, simulated_hours}],
    replicas_week: [{hour, requests_per_s, static, scheduled, autoscaled}], base_load_split:
    [{replicas, fleet_share, api_share, slo_attainment_share, utilisation, api_route,
    usd_month_fleet, usd_month_api, usd_month, cheapest}], sustainable_utilisation: [{replicas,
    utilisation_share}], notes: [sentence], reason}]}`; a percentile among requests that never end
    is null; `reason` says why a route cannot serve, and is null where it can.
    """
    with mistakes(as_json):
        from llmstudy.chapters.sizing import peak_fleets, sizing_tables
        from llmstudy.evidence.case import open_case
        from llmstudy.study import load

        case = open_case(load(study))
        tables = sizing_tables(case, peak_fleets(case))
    rows = _rows(tables)
    if as_json:
        print_json({"study": case.study.study, "workloads": rows})
        return
    if not rows:
        say("No self-hosted route may serve any workload: there is nothing to size.")
    for row in rows:
        _show(row)


def _rows(tables: "dict[str, pd.DataFrame]") -> list[dict[str, Any]]:
    """A row for each workload and route, with its tables."""
    key = ["workload", "route"]

    def of(table: str, pair: tuple[str, str]) -> "list[dict[str, Any]]":
        whole = tables[table]
        match = whole[(whole[key] == list(pair)).all(axis=1)] if len(whole) else whole
        records = match.drop(columns=key).to_dict("records")
        return [{str(k): None if v != v else v for k, v in row.items()} for row in records]

    rows = []
    for pair in tables["fleet_sizing"][key].drop_duplicates().itertuples(index=False, name=None):
        rows.append(
            {
                "workload": pair[0],
                "route": pair[1],
                "fleets": of("fleet_sizing", pair),
                "replicas_week": of("replicas_week", pair),
                "base_load_split": of("base_load", pair),
                "sustainable_utilisation": of("sustainable", pair),
                "notes": [row["note"] for row in of("sizing_notes", pair)],
                "reason": None,
            }
        )
    empty = ("fleets", "replicas_week", "base_load_split", "sustainable_utilisation", "notes")
    for failed in tables["unsized"].to_dict("records"):
        rows.append({**{str(k): v for k, v in failed.items()}, **{name: [] for name in empty}})
    return rows


def _show(row: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if row["reason"]:
        console.print(f"{row['workload']} on {row['route']}: cannot serve. {row['reason']}.\n")
        return
    console.print(f"{row['workload']} on {row['route']}")
    fleets = Table("fleet", "replicas", "GPU-hours/week", "USD/week", "in SLO", "utilisation")
    waits = Table("fleet", "TTFT p50 / p95 / p99 s", "E2E p50 / p95 / p99 s")
    for fleet in row["fleets"]:
        low, high = fleet["replicas_min"], fleet["replicas_max"]
        fleets.add_row(
            fleet["kind"],
            f"{high if low == high else f'{low} to {high}'} (spare: {fleet['spare']})",
            f"{fleet['gpu_hours_week']:,.0f}",
            f"{fleet['usd_week']:,.0f}",
            f"{fleet['slo_attainment_share']:.1%}",
            f"{fleet['utilisation']:.0%}",
        )
        waits.add_row(fleet["kind"], _percentiles(fleet, "ttft"), _percentiles(fleet, "e2e"))
    console.print(fleets)
    console.print(waits)
    shares = (
        f"{x['replicas']}: {x['utilisation_share']:.0%}" for x in row["sustainable_utilisation"]
    )
    console.print(f"Highest utilisation within the SLO, by number of replicas: {', '.join(shares)}")
    if row["base_load_split"]:
        _show_split(console, row["base_load_split"])
    for note in row["notes"]:
        say(f"Note: {note}")
    console.print()


def _show_split(console: Any, split: list[dict[str, Any]]) -> None:
    from rich.table import Table

    table = Table(
        *("replicas", "fleet serves", f"{split[0]['api_route']} serves"),
        *("USD/month fleet", "API", "sum"),
    )
    for x in split:
        table.add_row(
            str(x["replicas"]),
            f"{x['fleet_share']:.1%}",
            f"{x['api_share']:.1%}",
            *(f"{x[name]:,.0f}" for name in ("usd_month_fleet", "usd_month_api", "usd_month")),
            style="bold" if x["cheapest"] else "",
        )
    console.print(table)


def _percentiles(fleet: dict[str, Any], name: str) -> str:
    values = (fleet[f"{name}_p{q}_s"] for q in (50, 95, 99))
    return " / ".join("never" if x is None or x == float("inf") else f"{x:.2g}" for x in values)

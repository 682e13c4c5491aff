"""`llmstudy export`: the files that carry a decision out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from llmstudy.cli.terminal import AsJson, mistakes, print_json, printable, say

FAULTS_FOUND = 3

app = typer.Typer(
    name="export", no_args_is_help=True, help="Write the files that carry a decision out."
)


@app.command()
def gateway(
    decision: Annotated[
        Path, typer.Argument(help="A finished run's folder, or a study file.", metavar="RUN|STUDY")
    ],
    out: Annotated[Path, typer.Option(help="The folder to write to.", metavar="DIR")],
    tenants: Annotated[
        list[str] | None,
        typer.Option(
            "--tenant",
            help="A tenant's budget a month. Repeatable. The gateway then needs a database.",
            metavar="NAME=USD",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the gateway's files: LiteLLM's configuration of phase 1 and of phase 3.

    Phase 1 serves every workload from an API, with another provider to fall back to; phase 3 sends
    the first step of the canary to the targets of the decision. Every caller names the workload as
    its model, so that switching is configuration. A study's `gateway:` block adds the names
    `embeddings` and `rerank`. Prices are written out: of an API those of the
    price list or the contract, of a fleet its whole cost by the token.

    DIR gets `phase-1/config.yaml`, `phase-3/config.yaml`, `diff.md`, `plan.json`, `compose.yaml`,
    `.env.example` (names of keys, no values), `requests.yaml` (how a study reads the log),
    `serving/ROUTE.sh` for each self-hosted route, and `README.md`, which says how to start it and
    what it cannot do. No route gets data that the study forbids it. The same decision gives the
    same bytes.

    What LiteLLM would ignore, guess or turn around is refused, a sentence per fault. A study file
    is assessed first, which takes as long as a run; a run's folder is not.

    Exit codes: 0 done; 2 the run or study cannot be used.

    ```
    llmstudy export gateway outputs/acme/20261101T080000Z-ab12cd --out gateway
    llmstudy export gateway acme/study.yaml --out gateway --tenant sales=500
    ```

    JSON: `{files: [path]}`.
    """
    with mistakes(as_json):
        from llmstudy.export.gateway import export_gateway
        from llmstudy.export.source import decision as read

        files = export_gateway(read(decision), out, _budgets(tenants or []))
    if as_json:
        print_json({"files": [str(file) for file in files]})
    else:
        typer.echo(out / "README.md")


@app.command()
def verify(
    folder: Annotated[
        Path, typer.Argument(help="A folder written by `export gateway`.", metavar="DIR")
    ],
    as_json: AsJson = False,
) -> None:
    """Start the exported gateway offline, break its upstreams, and account for every request.

    First the files are checked against `plan.json`. Then each phase's configuration is started with
    the real LiteLLM proxy on loopback, its upstreams mocked, its times shortened, no key used. Its
    prices and weights are compared with the plan, a JSON schema and a tool must arrive as they were
    sent, and every name meets every fault: status 500 and 429, a hang, a refused connection, a slow
    first token, a connection cut, an end too early, nothing at all, two upstreams down, all down;
    streamed and in one piece; embeddings and reranking meet an upstream that is well, that answers
    500 and that refuses. What came is judged by its content, not by its status; a name that
    shows a fault is drilled once more, since a busy machine may be late. The captured log is read
    by our own importer, and its tokens and cost must agree with what was answered.

    The proxy is installed once, hash-locked, into the user's cache folder (580 MB).

    Exit codes: 0 verified; 3 faults, a sentence each; 2 it cannot be verified.

    JSON: `{verified, drilled, faults, limits, changes, requests, start_s, drill_s, table,
    retrieval, weights}`; times in the table in seconds, costs in USD per request; null is what did
    not occur.
    """
    with mistakes(as_json):
        from llmstudy.export.verify import verify as verified

        seen = verified(folder, say)
    if as_json:
        facts = {name: getattr(seen, name) for name in _VERIFIED}
        print_json({"verified": not seen.faults, **facts})
    else:
        for row in seen.table.to_dict("records"):
            typer.echo(printable(_line(row)))
        for row in seen.retrieval.to_dict("records"):
            line = f"phase {row['phase']}, {row['name']}, {row['fault']}: {row['verdict']}"
            typer.echo(printable(line))
        for line in (*seen.changes, *seen.limits):
            typer.echo(printable(line))
        for fault in seen.faults:
            say(fault)
    if seen.faults:
        raise typer.Exit(FAULTS_FOUND)
    say(f"Verified: {seen.requests} requests, each accounted for, in {seen.drill_s:.0f} s.")


def _budgets(assignments: list[str]) -> dict[str, float]:
    """USD a month by tenant, from NAME=USD."""
    budgets = {}
    for each in assignments:
        name, _, amount = each.partition("=")
        try:
            usd = float(amount)
        except ValueError:
            usd = 0.0
        if not name or not 0 < usd < float("inf"):
            raise ValueError(
                f"--tenant {each}: write a name and its USD a month, such as sales=500."
            )
        budgets[name] = usd
    return budgets


_VERIFIED = (
    *("drilled", "faults", "limits", "changes", "requests", "start_s", "drill_s"),
    *("table", "retrieval", "weights"),
)


def _line(row: Mapping[Any, Any]) -> str:
    """A row of the drill's table in words, what did not occur left out."""
    way = "streamed" if row["streamed"] else "in one piece"
    parts = [
        f"{row[name]} {words}"
        for name, words in (
            ("by_primary", "answered by the primary"),
            ("by_fallback", "by a fallback"),
            ("failed", "failed"),
            ("truncated", "truncated"),
        )
        if row[name]
    ]
    wait = ""
    if row["by_fallback"]:
        wait = f"; failover p50 {row['failover_p50_s']:.2f} s, p95 {row['failover_p95_s']:.2f} s"
    return (
        f"phase {row['phase']}, {row['fault']}, {way}: {row['requests']} requests, "
        f"{', '.join(parts)}{wait}"
    )

"""`llmstudy export`: the files that carry a decision out."""

from pathlib import Path
from typing import Annotated

import typer

from llmstudy.cli.terminal import AsJson, mistakes, print_json

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
    its model, so that switching is configuration. Prices are written out: of an API those of the
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

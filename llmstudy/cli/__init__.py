"""The commands. Each reads its input, calls the package and prints.

One module per command; `terminal` has the input and output that they share. Libraries are imported
inside the commands, so that `llmstudy --help` answers at once.
"""

import signal
import sys
from typing import Annotated

import typer

from llmstudy import __version__
from llmstudy.cli import (
    canary,
    capacity,
    check,
    diff,
    doctor,
    evals,
    export,
    init,
    notebooks,
    probe,
    requests,
    run,
    sweep,
)

app = typer.Typer(
    name="llmstudy",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,  # a local may hold a key or a customer's text
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    init.init,
    run.run,
    sweep.sweep,
    check.check,
    diff.diff,
    notebooks.notebooks,
    doctor.doctor,
):
    app.command()(command)
app.add_typer(requests.app)
app.add_typer(evals.app)
app.add_typer(capacity.app)
app.add_typer(probe.app)
app.add_typer(export.app)
app.add_typer(canary.app)


def _version(requested: bool) -> None:
    if requested:
        typer.echo(f"llmstudy {__version__}")
        raise typer.Exit


@app.callback()
def _llmstudy(
    version_: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Proprietary API, hosted open weights or self-hosting: decided from your own evidence.

    A study is one YAML file of assumptions, each with unit, source, date and grade. From it and
    your request log comes a memo with the verdict for every workload, what it costs, and what
    would change it.

    ```
    llmstudy init acme             ask six questions, write acme/study.yaml
    llmstudy run acme/study.yaml   execute the chapters, write the memo
    llmstudy sweep */study.yaml    run many studies, compare them on one page
    llmstudy check acme/study.yaml tell CI when a trigger fires or evidence goes stale
    llmstudy diff RUN_A RUN_B      say what changed between two runs, and which input moved it
    llmstudy requests import auto LOG  read any gateway's log into one table of requests
    llmstudy requests summary LOG  sum a log up, by workload, tenant, route or day
    llmstudy requests reconcile LOG    compare logged cost and invoices with the tokens' price
    llmstudy eval import auto FILE     read any tool's evaluation into one table of scored answers
    llmstudy eval audit FILE       look for faults of the scorer before any claim rests on it
    llmstudy export gateway RUN    write the gateway's files that carry the decision out
    llmstudy canary check LOG      say whether a running canary goes on or is rolled back
    llmstudy notebooks DIR         copy the chapters, to change and execute them in JupyterLab
    llmstudy probe endpoint URL    measure an endpoint, audited; more under `llmstudy probe`
    llmstudy doctor                say what this machine lacks
    ```

    Every command takes `--json`: then stdout holds one JSON document and nothing else; messages
    go to stderr. A mistake in the input ends with exit code 2 and one sentence per fault.
    """


def main() -> None:
    """Runs the `llmstudy` command. A signal that ends it ends its child processes first."""
    for ending in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, ending, None)
        if number and signal.getsignal(number) == signal.SIG_DFL:  # not under nohup
            signal.signal(number, lambda number, _: sys.exit(128 + number))
    app()

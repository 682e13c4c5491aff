"""`llmstudy run`: from a study file to the memo."""

from pathlib import Path
from typing import Annotated

import typer

from llmstudy.cli.terminal import AsJson, mistakes, print_json, stop


def run(
    study: Annotated[Path, typer.Argument(help="The study file.", metavar="STUDY")],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of all studies' runs. [default: outputs, in the current folder]",
            metavar="DIR",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Execute every chapter of a study and write the memo.

    The run appears whole as `DIR/<study>/<run>/`, or not at all: `memo.html`, `memo.pdf` (where
    pango is installed), every chapter, its charts and tables, `results.json` for programs and
    `provenance.json` with what it was made from. The last line on stdout is the memo's path; with
    `--json` all paths are printed.

    Exit codes: 0 done; 1 a chapter failed, which is named; 2 the study file or the log cannot be
    used.

    ```
    llmstudy run acme/study.yaml
    llmstudy run acme/study.yaml --out /srv/studies --json
    ```
    """
    with mistakes(as_json):
        from llmstudy.run import RunError, run_study

        try:
            made = run_study(study, out)
        except RunError as error:
            stop(error, 1, as_json)
    if as_json:
        print_json(made.paths)
    else:
        typer.echo(made.paths["memo"])

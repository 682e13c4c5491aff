"""`llmstudy run`: executes a study and writes its memo."""

from pathlib import Path
from typing import Annotated

import typer

from llmstudy.cli.terminal import AsJson, Fresh, OutFolder, mistakes, print_json, say, stop


def run(
    study: Annotated[Path, typer.Argument(help="The study file.", metavar="STUDY")],
    out: OutFolder = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="An assumption of this run in place of the study file's, such as "
            'workloads.extraction.growth="6 %/month". May be given several times.',
            metavar="PATH=VALUE",
        ),
    ] = None,
    probe: Annotated[
        bool,
        typer.Option(
            "--probe",
            help="Measure the study's self-hosted routes on this machine's GPU first; without it "
            "05_self_hosting shows the recorded runs in data/probes.",
        ),
    ] = False,
    previous: Annotated[
        Path | None,
        typer.Option(
            help="The run to compare with: the memo states what has changed since. "
            "[default: the study's latest comparable run in the same folder or, if nothing has "
            "changed since that, the one before it]",
            metavar="RUN",
        ),
    ] = None,
    fresh: Fresh = False,
    as_json: AsJson = False,
) -> None:
    """Execute the chapters of a study and write the memo.

    The run appears whole as `DIR/<study>/<run>/`, or not at all: `memo.html`, `memo.pdf` (where
    pango is installed), every chapter, its charts and tables, `results.json` for programs and
    `provenance.json`, which lists what it was made from. The last line on stdout is the memo's
    path.

    A chapter is not executed if its notebook, code, data, study, log and packages are the same as
    in an earlier run: its output is taken from `~/.cache/llmstudy` (or `$XDG_CACHE_HOME/llmstudy`),
    which may be removed at any time. `--fresh` executes it. `reused` in `provenance.json` names
    the run that executed each.

    With `--probe` the points of a short sweep are recorded in the run's folder `probes`. It
    takes minutes for each route that this machine can serve; without a GPU the chapter says so.

    An assumption from `--set` is checked like the study file, listed in the memo and in
    `provenance.json`, and overrides what a log measured; no later run compares itself with this
    one.

    The changes since the previous run are also in `results/diff.json`. The same study, data, seed
    and previous run give the same bytes.

    Exit codes: 0 done; 1 a chapter failed: which one, where and why; 2 the study file, a log or
    probe run that it names, or the previous run cannot be used.

    ```
    llmstudy run acme/study.yaml
    llmstudy run acme/study.yaml --out /srv/studies --json
    llmstudy run acme/study.yaml --set workloads.extraction.growth="6 %/month"
    llmstudy run acme/study.yaml --fresh
    llmstudy run acme/study.yaml --probe
    llmstudy run acme/study.yaml --previous outputs/acme/20261101T080000Z-ab12cd
    ```

    JSON: `{run_id, paths: {memo, pdf, index, results, figures, provenance}, note}`; `pdf` only
    where one was made, and `note` is what the run lacks.
    """
    with mistakes(as_json):
        from llmstudy.run import RunError, run_study
        from llmstudy.study.document import parsed

        overrides = parsed(assignments or [])
        try:
            finished = run_study(
                study, out, probe=probe, previous=previous, overrides=overrides, fresh=fresh
            )
        except RunError as error:
            stop(str(error), 1, as_json)
    if finished.note:
        say(finished.note)
    if as_json:
        files = {name: str(path) for name, path in finished.paths.items()}
        print_json({"run_id": finished.run_id, "paths": files, "note": finished.note})
    else:
        typer.echo(finished.paths["memo"])

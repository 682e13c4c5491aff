"""`llmstudy eval import` and `audit`: an evaluation in, as one table, and whether it is sound."""

from pathlib import Path
from typing import Annotated

import typer

from llmstudy.cli.evals.options import FINDINGS, Routes, Scale, Scorers, app
from llmstudy.cli.requests import Files
from llmstudy.cli.terminal import AsJson, mistakes, print_json, printable, say


@app.command("import")
def import_(
    format: Annotated[
        str,
        typer.Argument(
            help="auto, inspect_ai, lm_eval, promptfoo, mlflow, langfuse or table.",
        ),
    ],
    files: Files,
    out: Annotated[
        Path,
        typer.Option(
            help="The evaluation to write, as JSON Lines or Parquet.", metavar="FILE.jsonl|.parquet"
        ),
    ],
    route: Routes = [],  # noqa: B006
    scorer: Scorers = [],  # noqa: B006
    scale: Scale = None,
    as_json: AsJson = False,
) -> None:
    """Read evaluations of other tools into one table, with a row for each answer to an item.

    Reads logs of inspect_ai (JSON and `.eval`), samples of lm-eval, outputs of promptfoo, tables of
    MLflow, exports of Langfuse, and any CSV, JSON or Parquet table with item_id, route and score,
    or with item_id and a column of scores for each route. An answer that its tool could not score
    is not scored here either, and no wrong answer.

    Exit codes: 0 done; 2 a file cannot be read, or leaves a route, scorer or scale open.

    JSON: `{formats: {file: format}, scorer, scorer_2, items, routes: [{route, run, answers, scored,
    score}], unused: [column], out}`; score is the mean.
    """
    with mistakes(as_json):
        from llmstudy.evals.importers import imported
        from llmstudy.evals.table import save

        read = imported(list(files), format, route=route, scorer=scorer, scale=scale)
        save(read.table, out)
    routes = (
        read.table.groupby(["route", "run"], sort=False, dropna=False)
        .agg(answers=("item_id", "size"), scored=("scored", "sum"), score=("score", "mean"))
        .reset_index()
    )
    names = (*read.scorers, None, None)
    if as_json:
        print_json(
            {
                "formats": read.formats,
                "scorer": names[0],
                "scorer_2": names[1],
                "items": read.table["item_id"].nunique(),
                "routes": routes,
                "unused": read.unused,
                "out": out,
            }
        )
        return
    for file, its in read.formats.items():
        say(f"{file}: {its}")
    say(f"Scorer: {names[0] or 'unnamed'}" + (f"; second scorer: {names[1]}." if names[1] else "."))
    if read.unused:
        say(f"Not read: the columns {', '.join(read.unused)}.")
    for row in routes.fillna({"run": ""}).to_dict("records"):
        run = f", run {row['run']}" if row["run"] else ""
        scored = f"{row['scored']} of {row['answers']} scored, mean {row['score']:.4g}"
        typer.echo(printable(f"{row['route']}{run}: {scored}"))
    say(f"Written: {out}")


@app.command()
def audit(
    files: Files,
    margin: Annotated[
        float,
        typer.Option(help="Difference between routes that matters, as a share.", metavar="SHARE"),
    ] = 0.02,
    route: Routes = [],  # noqa: B006
    scorer: Scorers = [],  # noqa: B006
    scale: Scale = None,
    as_json: AsJson = False,
) -> None:
    """Look for faults of the scorer and of the items, before any claim rests on them.

    FILE is of any format that `llmstudy eval import` reads, or what it wrote. Looks for scores
    below guessing (`chance`), outputs without an answer (`extracted`), copied items and copied
    scores, two scorers that differ (`score_2`), a judge that prefers its own family (`judge`), and
    one model that differs from itself on two hosts or in two runs (`served_model`). What the file
    has no column for is listed as not checked.

    Exit codes: 0 nothing found; 2 a file cannot be read; 3 there are findings.

    JSON: `{findings: [{kind, route, other, slice, n, figure, low, high, sentence}], noise:
    [{served_model, route, other, n, discordance_share, difference, low, high}], not_checked: {kind:
    why}}`; figure is a share or a difference of shares with its 95 % interval, null where none is
    meant.
    """
    with mistakes(as_json):
        from llmstudy.evals.audit import audit as audited
        from llmstudy.evals.importers import read_evaluation

        read = read_evaluation(list(files), route=route, scorer=scorer, scale=scale)
        result = audited(read, margin)
    if as_json:
        print_json(result._asdict())
    else:
        for row in result.findings.itertuples():
            typer.echo(printable(f"{row.kind}: {row.sentence}"))
        for row in result.noise.itertuples():
            two = f"{row.served_model} differs between {row.route} and {row.other}"
            share = f"{row.discordance_share:.1%} of {row.n} items"
            typer.echo(printable(f"noise floor: {two} on {share}."))
        for kind, why in result.not_checked.items():
            say(f"Not checked: {kind}, {why}.")
        if result.findings.empty:
            say("Nothing found.")
    if len(result.findings):
        raise typer.Exit(FINDINGS)

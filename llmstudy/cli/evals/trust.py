"""`llmstudy eval calibrate`: how far a judge may be trusted, by labels by hand."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from llmstudy.cli.evals.options import AcceptedFrom, Scale, Scorers, app
from llmstudy.cli.requests import Files
from llmstudy.cli.terminal import AsJson, mistakes, print_json, printable, say


@app.command()
def calibrate(
    files: Files,
    sheet: Annotated[
        Path | None,
        typer.Option(help="A sheet to write, for people to label.", metavar="FILE.csv"),
    ] = None,
    items: Annotated[
        Path | None,
        typer.Option(
            help="The items, whose prompts and references the sheet then shows.",
            metavar="ITEMS.jsonl",
        ),
    ] = None,
    n: Annotated[int, typer.Option(help="Items of the sheet.", min=1)] = 100,
    labellers: Annotated[int, typer.Option(help="Columns of labels in the sheet.", min=1)] = 1,
    labels: Annotated[
        Path | None,
        typer.Option(help="The sheet, filled in: right, wrong or skip.", metavar="FILE.csv"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The evaluation with the labels, to compare.", metavar="FILE.jsonl|.parquet"
        ),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(help="The route in use today; the first without it.", metavar="ROUTE"),
    ] = None,
    accepted_from: AcceptedFrom = None,
    scorer: Scorers = [],  # noqa: B006
    scale: Scale = None,
    as_json: AsJson = False,
) -> None:
    """Measure whether a judge agrees with people, and take its bias out of the comparison.

    First `--sheet`: the answers to some items that the judge scored, without their routes and in a
    mixed order. Then `--labels`, with the sheet filled in: agreement, kappa and Krippendorff's
    alpha of the judge with people, for each route and for the difference between two, and the
    difference by labels, by the judge alone, and by the judge corrected with the labels (PPI++).
    `compare` of what `--out` writes rests on the last. Only a judge whose kappa is surely 0.6, on
    50 labels or more, may speak for people, and only then are scores by `supported` of
    hallucination.

    Exit codes: 0 done; 2 a file cannot be read, or has too few labels (30 items).

    JSON: `{sheet, answers}`, or `{out, measure, calibration: [{what, route, n, agreement,
    agreement_low, agreement_high, kappa, kappa_low, kappa_high, alpha, sufficient, sentence}],
    differences: [{candidate, baseline, labelled, judged, labels_only, by_judge: {difference,
    weight, judge_only}}], labellers_alpha, scoring_usd}`; what is route or difference; a difference
    is a share with estimate, low and high.

    ```
    llmstudy eval run items.jsonl --judge 'judge url=... model=...' --out judged.jsonl --route ...
    llmstudy eval calibrate judged.jsonl --items items.jsonl --sheet labels.csv
    llmstudy eval calibrate judged.jsonl --labels labels.csv --out calibrated.jsonl
    llmstudy eval compare calibrated.jsonl --baseline today --margin 0.03
    ```
    """
    with mistakes(as_json):
        from llmstudy.evals import calibrate as calibrations
        from llmstudy.evals.importers import read_evaluation
        from llmstudy.evals.items import read_items, write_sheet
        from llmstudy.evals.table import save

        if (sheet is None) == (labels is None):
            raise ValueError(
                "give --sheet, to write one, or --labels, to read one that is filled in"
            )
        if accepted_from is not None and scale is None:
            scale = 1  # accepted_from is in the unit of the scores
        evaluation = read_evaluation(list(files), scorer=scorer, scale=scale)
        if sheet is not None:
            rows = calibrations.answers_sheet(
                evaluation, n, read_items(items) if items else None, labellers
            )
            write_sheet(rows, sheet)
        if labels is not None:
            result = calibrations.calibrated(evaluation, labels, baseline, accepted_from)
            if out is not None:
                save(result.evaluation, out)
    if sheet is not None:
        if as_json:
            print_json({"sheet": sheet, "answers": len(rows)})
        else:
            say(f"Written: {sheet}, {len(rows):,} answers to label right, wrong or skip.")
        return
    if as_json:
        document = {
            "out": out,
            "measure": result.measure,
            "calibration": result.table,
            "differences": [asdict(each) for each in result.corrected],
            "labellers_alpha": result.labellers_alpha,
            "scoring_usd": result.scoring_usd,
        }
        print_json(document)
        return
    for row in result.table.to_dict("records"):
        what = f"{row['route']} less the baseline" if row["what"] != "route" else row["route"]
        alpha = row.get("alpha", math.nan)
        alpha = "" if math.isnan(alpha) else f" Krippendorff's alpha is {alpha:.2f}."
        typer.echo(printable(f"{what}: {row['sentence']}{alpha}"))
    for each in result.corrected:
        figures = {
            f"labels of {each.labelled:,} items": each.labels_only,
            f"the judge alone on {each.judged:,}": each.by_judge.judge_only,
            "the judge corrected by the labels": each.by_judge.difference,
        }
        points = ", ".join(
            f"{by} {100 * d.estimate:+.1f} [{100 * d.low:+.1f}, {100 * d.high:+.1f}]"
            for by, d in figures.items()
        )
        typer.echo(printable(f"{each.candidate} less {each.baseline}, points: {points}."))
    typer.echo(printable(f"Its scores may be called: {result.measure}."))
    if result.labellers_alpha is not None:
        say(f"The labellers agree with an alpha of {result.labellers_alpha:.2f}.")
    if result.scoring_usd is not None:
        say(f"The judge cost USD {result.scoring_usd:.4g}.")
    if out is not None:
        say(f"Written: {out}. Next: llmstudy eval compare {out}")

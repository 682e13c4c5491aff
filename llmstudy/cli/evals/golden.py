"""`llmstudy eval plan` and `items`: how many items a verdict takes, and a golden set of a log."""

from pathlib import Path
from typing import Annotated

import typer

from llmstudy.cli.evals.options import app
from llmstudy.cli.requests import Declared, Files, Format, declarations
from llmstudy.cli.terminal import AsJson, mistakes, print_json, say


@app.command()
def plan(
    study: Annotated[Path, typer.Argument(help="The study file.", metavar="STUDY")],
    as_json: AsJson = False,
) -> None:
    """Plan the golden sets of a study: items, hours and money that the open verdicts take.

    Items are those of chapter 04; the time of one is that of reading its prompt and two answers and
    of judging them, its price the study's own or, with `evaluation.usd_per_item`, by its length.
    One set of items serves all candidates of a workload.

    Exit codes: 0 done; 2 the study cannot be read.

    JSON: `{workloads: [{workload, items, hours, label_usd, low_usd, high_usd, run_usd, usd}],
    candidates: [{workload, route, verdict, items, minutes_per_item, hours, usd_per_item, label_usd,
    low_usd, high_usd, run_usd, usd, pass_mark, plan}]}`; run_usd is null for a route that is not
    billed by tokens, pass_mark where no difference passes.
    """
    with mistakes(as_json):
        from llmstudy.chapters.quality import golden_plan
        from llmstudy.decide.labelling import plan_by_workload
        from llmstudy.evidence.case import open_case
        from llmstudy.study import load

        candidates = golden_plan(open_case(load(study)))
        workloads = plan_by_workload(candidates)
    if as_json:
        print_json({"workloads": workloads, "candidates": candidates})
        return
    from llmstudy.text import usd

    if workloads.empty:
        say("No verdict needs more items.")
    for row in workloads.to_dict("records"):
        typer.echo(
            f"{row['workload']:28} {row['items']:6,} items {row['hours']:8,.0f} h  "
            f"{usd(row['label_usd'])} ({usd(row['low_usd'])} to {usd(row['high_usd'])}) to label, "
            f"{usd(row['run_usd'])} to run"
        )
    for row in candidates[candidates["items"] > 0].to_dict("records"):
        typer.echo(f"  {row['workload']}, {row['route']}: {row['items']:,} items, {row['plan']}")


@app.command()
def items(
    files: Files,
    out: Annotated[Path, typer.Option(help="The items to write.", metavar="FILE.jsonl")],
    n: Annotated[int, typer.Option(help="Items of each workload.", min=1)] = 300,
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 1,
    workload: Annotated[
        list[str], typer.Option(help="Take this one alone; may be given several times.")
    ] = [],  # noqa: B006
    prompt: Annotated[
        str | None, typer.Option(help="Field of the prompt, where the format does not say.")
    ] = None,
    answer: Annotated[
        str | None, typer.Option(help="Field of the answer, where the format does not say.")
    ] = None,
    pii: Annotated[
        bool, typer.Option("--pii", metavar="", help="Redact with presidio too (extra `pii`).")
    ] = False,
    sheet: Annotated[
        Path | None, typer.Option(help="A sheet to label them in.", metavar="FILE.csv")
    ] = None,
    labellers: Annotated[int, typer.Option(help="Columns of labels in the sheet.", min=1)] = 1,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="A sheet that was filled in: FILE is then the items, and --out the items with "
            "their references.",
            metavar="FILE.csv",
        ),
    ] = None,
    format: Format = "auto",
    declared: Declared = [],  # noqa: B006
    as_json: AsJson = False,
) -> None:
    """Make a golden set of a log with prompts: drawn by length and tenant, redacted, none twice.

    With `--labels`, take the references from a sheet, and say what is missing and how far the
    labellers agree. Beside the items lies what is known of them: version, seed, hash of the log,
    redactions, and the share of made-up personal data that the redactor misses.

    Exit codes: 0 done; 2 the log or the sheet cannot be read, or the log has no prompts.

    JSON: `{version, items, out, about: {...}, labelling: [{what, items, done, missing,
    right_share}] or null, agreement}`; agreement is null without two labels of an item.

    ```
    llmstudy eval items logs/*.jsonl --out items.jsonl --sheet labels.csv --labellers 2
    llmstudy eval items items.jsonl --labels labels.csv --out labelled.jsonl
    ```
    """
    with mistakes(as_json):
        from llmstudy.evals import items as sets

        state, alpha = None, None
        if labels:
            made = sets.read_items(*files)
            rows = sets.read_sheet(labels, made)
            references = rows.dropna(subset="reference")
            made = made.with_references(
                dict(zip(references["item_id"], references["reference"], strict=True))
            )
            state, alpha = sets.labelling(rows), sets.agreement(rows)
        else:
            from llmstudy.evals.golden import golden_set
            from llmstudy.evals.redaction import Redactor, patterns, presidio

            redactor = Redactor(patterns, presidio()) if pii else Redactor()
            made = golden_set(
                files, n, seed, format, workload, prompt, answer, redactor, **declarations(declared)
            )
        beside = sets.write_items(made, out)
        if sheet:
            sets.write_sheet(sets.sheet_of(made, labellers), sheet)
    if as_json:
        facts = {"version": made.version, "items": len(made.items), "out": out, "about": made.about}
        print_json({**facts, "labelling": state, "agreement": alpha})
        return
    say(f"Version {made.version}: {len(made.items):,} items, {made.labelled_share:.0%} labelled.")
    for reason, count in made.about.get("left_out", {}).items():
        say(f"Left out: {count:,} requests, {reason}.")
    if (leak := made.about.get("leak_rate")) is not None:
        say(f"The redactor misses {leak['estimate']:.1%} of made-up personal data and keys.")
    for row in state.to_dict("records") if state is not None else ():
        say(f"{row['what']}: {row['done']:,} of {row['items']:,}.")
    if alpha is not None:
        say(f"The labellers agree with an alpha of {alpha:.2f} (0 is chance, 1 is full).")
    say(f"Written: {', '.join(map(str, [out, beside, *([sheet] if sheet else [])]))}")

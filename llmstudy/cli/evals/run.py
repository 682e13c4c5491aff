"""`llmstudy eval run`: the same items to every route, scored."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from llmstudy.cli.evals.options import app
from llmstudy.cli.terminal import AsJson, interactive, mistakes, print_json, printable, say


@app.command("run")
def run_(
    items: Annotated[
        Path, typer.Argument(help="Items, as `llmstudy eval items` writes.", metavar="ITEMS.jsonl")
    ],
    route: Annotated[
        list[str],
        typer.Option(
            "--route",
            help="What answers: 'NAME url=https://HOST/v1 model=MODEL', and where needed "
            "key_env=VARIABLE, provider=NAME, price=IN,OUT (USD per million tokens), "
            "body='{\"temperature\": 0}', drop=FIELD; once for each route.",
            metavar="ROUTE",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="The evaluation to write; its replies are kept beside it, and a rerun takes them "
            "from there.",
            metavar="FILE.jsonl|.parquet",
        ),
    ],
    scorer: Annotated[
        str | None,
        typer.Option(
            help="exact, numeric, choice, json_schema, regex, contains_citation, lexical_support.",
            metavar="NAME",
        ),
    ] = None,
    second_scorer: Annotated[
        str | None, typer.Option(help="A second one, to compare with.", metavar="NAME")
    ] = None,
    judge: Annotated[
        str | None,
        typer.Option(help="A model that scores instead, as for --route.", metavar="ROUTE"),
    ] = None,
    rubric: Annotated[
        str, typer.Option(help="Of the judge: correct, helpful or supported.", metavar="NAME")
    ] = "correct",
    against: Annotated[
        str | None,
        typer.Option(
            help="Route with whose answers the judge compares the other's, in both orders.",
            metavar="NAME",
        ),
    ] = None,
    prompt: Annotated[
        Path | None,
        typer.Option(
            help="Template of the last message: {input}, {context}, {choices}.", metavar="FILE"
        ),
    ] = None,
    system: Annotated[
        Path | None, typer.Option(help="System message in place of the items'.", metavar="FILE")
    ] = None,
    output: Annotated[
        str, typer.Option(help="text, json_object, or json_schema (of each item).", metavar="KIND")
    ] = "text",
    epochs: Annotated[int, typer.Option(help="Repeats of each item.", min=1)] = 1,
    max_output_tokens: Annotated[int, typer.Option(help="Limit of an answer.", min=1)] = 2048,
    concurrency: Annotated[int, typer.Option(help="Calls in flight at once.", min=1)] = 8,
    max_spend: Annotated[
        float | None,
        typer.Option(help="USD at which it stops; needed where tokens are billed.", metavar="USD"),
    ] = None,
    timeout: Annotated[str, typer.Option(help="Of one attempt.", metavar="TIME")] = "120 s",
    max_retries: Annotated[int, typer.Option(help="Of one call.", min=0)] = 4,
    as_json: AsJson = False,
) -> None:
    """Send the same items to every route and score the answers, with tokens, cost and times.

    What it may cost is said first, and it stops before --max-spend, with whole items. Each reply is
    on disk as soon as it has come: the same command after a kill, with another scorer or with one
    route more sends only what is missing. What a scorer cannot read, and a call that fails, is not
    scored and is no wrong answer.

    Exit codes: 0 done, or stopped at the cap with what it has, which it says; 2 it could not start.

    JSON: `{out, sent, reused, failed, spent_usd, stopped, routes: [{route, served_model, answers,
    scored, score, not_scored_because, usd_per_answer, ttft_s_p50, latency_s_p50}]}`; null is what
    was not recorded.
    """
    with mistakes(as_json):
        from llmstudy import units
        from llmstudy.evals.items import read_items
        from llmstudy.evals.judges import Judge, rubric_of
        from llmstudy.evals.prompts import Prompt
        from llmstudy.evals.routes import route_of
        from llmstudy.evals.rows import by_route
        from llmstudy.evals.runner import run_evaluation
        from llmstudy.evals.scorers import scorer as scorer_of

        scored_by: Any
        if judge is not None and scorer is None:
            scored_by = Judge(route_of(judge), rubric_of(rubric), against)
        elif scorer is not None and judge is None:
            scored_by = scorer_of(scorer)
        else:
            raise ValueError("give one of --scorer and --judge: one of them scores the answers")
        template = "{input}" if prompt is None else prompt.read_text(encoding="utf-8")
        with _progress(not as_json or interactive()) as on_progress:
            run = run_evaluation(
                read_items(items).items,
                [route_of(line) for line in route],
                scored_by,
                out,
                Prompt(template, None if system is None else system.read_text(encoding="utf-8")),
                scorer_of(second_scorer) if second_scorer else None,
                say=say,
                on_progress=on_progress,
                epochs=epochs,
                concurrency=concurrency,
                max_output_tokens=max_output_tokens,
                output=output,
                max_spend_usd=max_spend,
                timeout_s=units.parse(timeout, "s"),
                max_retries=max_retries,
            )
        routes = by_route(run.table)
    if as_json:
        facts = ("out", "sent", "reused", "failed", "spent_usd", "stopped")
        print_json({**{name: getattr(run, name) for name in facts}, "routes": routes})
        return
    if run.stopped:
        say(f"Stopped: {run.stopped}. The same command goes on from here.")
    for row in routes.to_dict("records"):
        why = f" (not scored: {row['not_scored_because']})" if row["not_scored_because"] else ""
        mean = "no score" if row["scored"] == 0 else f"mean {row['score']:.4g}"
        scored = f"{row['scored']} of {row['answers']} answers scored{why}"
        typer.echo(printable(f"{row['route']}: {mean}, {scored}"))
    say(f"{run.sent} calls sent, {run.reused} replies reused, USD {run.spent_usd:.4g} spent.")
    say(f"Written: {out}. Next: llmstudy eval audit {out}")


@contextmanager
def _progress(shown: bool) -> Iterator[Callable[[Any], None] | None]:
    """A line on stderr of how far an evaluation is."""
    if not shown:
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("answers")

        def on_progress(progress: Any) -> None:
            spent = f"answers, {progress.failed} failed, USD {progress.spent_usd:.4g}"
            bar.update(task, total=progress.planned, completed=progress.finished, description=spent)

        yield on_progress

"""What the commands of `llmstudy eval` share."""

from typing import Annotated

import typer

FINDINGS = 3

app = typer.Typer(
    name="eval",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="""Evaluations of routes on the same items, and what follows from them.

```
llmstudy eval plan params/acme.yaml
llmstudy eval items logs/*.jsonl --out items.jsonl --sheet labels.csv
llmstudy eval run items.jsonl --scorer exact --out evaluation.jsonl --max-spend 5 \\
    --route 'api url=https://api.openai.com/v1 model=gpt-4o key_env=OPENAI_API_KEY' \\
    --route 'open url=http://gpu:8000/v1 model=llama price=0.2,0.6'
llmstudy eval import auto logs/*.eval --out evaluation.jsonl
llmstudy eval audit evaluation.jsonl
llmstudy eval calibrate judged.jsonl --labels labels.csv --out calibrated.jsonl
llmstudy eval compare evaluation.jsonl --baseline gpt-4o --margin 0.03
llmstudy eval gate before.jsonl after.jsonl --margin 0.03
```
""",
)

Routes = Annotated[
    list[str],
    typer.Option(
        "--route",
        help="Name of the route of files that have one or none, once for all files or once for "
        "each; or a route to take, of those that the files name.",
        metavar="NAME",
    ),
]
Scorers = Annotated[
    list[str],
    typer.Option(
        "--scorer",
        help="The scorer to take, where there are several; a second one to compare it with.",
        metavar="NAME",
    ),
]
Scale = Annotated[
    float | None,
    typer.Option(
        help="The highest score, such as 100; 1 leaves scores beyond 0 to 1 as they are.",
        metavar="NUMBER",
    ),
]
AcceptedFrom = Annotated[
    float | None,
    typer.Option(help="The score from which a graded answer is accepted.", metavar="SCORE"),
]


@app.callback()
def _evals() -> None:
    """A group of commands."""

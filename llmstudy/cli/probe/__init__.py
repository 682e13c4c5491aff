"""`llmstudy probe`: measure an endpoint, or read what another tool measured.

`commands` has them all; `options` makes their options from the dataclasses that the functions of
`llmstudy.probe` take; `show` prints tables and progress.
"""

import typer

from llmstudy.cli.probe import commands

app = typer.Typer(
    name="probe",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,  # a local may hold a key
    help="""Measure an endpoint, and say whether the measurement can be trusted.

Every request of a run is stored, with the times at which it was due, sent and answered; an audit
then judges whether the load was the one specified. A run that it finds invalid is printed all the
same, ends with exit code 3, and is refused by a memo.

```
llmstudy probe plan --rate 2                             how many requests, how long, what it costs
llmstudy probe endpoint https://api.openai.com/v1 --model gpt-4o --key-env OPENAI_API_KEY \\
    --rate 2 --requests 500 --input-tokens 1200 --output-tokens 200 --max-spend 5
llmstudy probe search http://localhost:8000/v1 --model m --slo-ttft "1 s" --from 1 --to 64
llmstudy probe vllm data/model_configs/llama-3.1-8b      throughput of this machine's GPU
llmstudy probe import results.json                       another tool's run, by our dictionary
llmstudy probe compare runs/today runs/candidate         better, worse or undecided
```
""",
)
for command in (
    commands.endpoint,
    commands.search,
    commands.plan,
    commands.compare,
    commands.vllm,
):
    app.command()(command)
app.command("import")(commands.import_)

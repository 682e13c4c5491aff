"""`llmstudy probe`: measures an endpoint, or reads what another tool measured.

`commands` has all commands; `options` makes their options from the dataclasses that the functions
of `llmstudy.probe` accept; `show` prints tables and progress.
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
then judges whether the load was the one specified. An invalid run is printed too, ends with exit
code 3, and is not accepted in a memo.

```
llmstudy probe plan --rate 2                             how many requests, how long, what it costs
llmstudy probe endpoint https://api.openai.com/v1 --model gpt-4o --key-env OPENAI_API_KEY \\
    --rate 2 --requests 500 --input-tokens 1200 --output-tokens 200 --max-spend 5
llmstudy probe search http://localhost:8000/v1 --model m --slo-ttft "1 s" --from 1 --to 64
llmstudy probe vllm data/model_configs/llama-3.1-8b      throughput of this machine's GPU
llmstudy probe import results.json                       another tool's run, with our metrics
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

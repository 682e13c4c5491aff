"""`llmstudy init`: six questions or a log, one study file, and on request a workflow to run it."""

import re
from collections.abc import Mapping, Set
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmstudy.cli import workflow
from llmstudy.cli.requests import Declared, declarations
from llmstudy.cli.terminal import AsJson, ask, interactive, mistakes, print_json, printable, say

if TYPE_CHECKING:
    from llmstudy.cli.logged import Reading
    from llmstudy.cli.new_study import Question, Starter


def init(
    folder: Annotated[
        Path, typer.Argument(help="Folder for the study, made if need be.", metavar="DIR")
    ],
    more: Annotated[
        list[str] | None,
        typer.Argument(help="Further files of --log, as a shell makes them of *.", metavar="FILE"),
    ] = None,
    log: Annotated[
        list[str] | None,
        typer.Option(
            help="Your request log, from any gateway: files, a folder or a glob. It answers the "
            "questions on model, volume, tokens and peak; an answer given here wins.",
            metavar="FILE...",
        ),
    ] = None,
    declared: Declared = [],  # noqa: B006
    provider: Annotated[
        str | None, typer.Option(help="Today's provider, such as openai, anthropic or google.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Today's model, such as gpt-4o.")] = None,
    requests: Annotated[str | None, typer.Option(help="1/6 Requests a month.", metavar="N")] = None,
    input_tokens: Annotated[
        str | None, typer.Option(help="1/6 Input tokens per request.", metavar="N")
    ] = None,
    output_tokens: Annotated[
        str | None, typer.Option(help="1/6 Output tokens per request.", metavar="N")
    ] = None,
    monthly_tokens: Annotated[
        str | None,
        typer.Option(help="Instead: tokens that last month's invoice billed.", metavar="N"),
    ] = None,
    invoice_usd: Annotated[
        str | None, typer.Option(help="What those tokens cost, in USD.", metavar="N")
    ] = None,
    ttft_p95: Annotated[
        str | None,
        typer.Option(help="2/6 Limit on the p95 TTFT: '800 ms' or '2 s'.", metavar="TIME"),
    ] = None,
    data_class: Annotated[
        str | None,
        typer.Option(
            help="3/6 Most sensitive data: consumer, enterprise, phi, mnpi, government, eu_strict.",
            metavar="CLASS",
        ),
    ] = None,
    peak_to_mean: Annotated[
        str | None, typer.Option(help="4/6 Peak hour over mean hour.", metavar="N")
    ] = None,
    context: Annotated[
        str | None, typer.Option(help="5/6 Longest context that must fit, tokens.", metavar="N")
    ] = None,
    gpu_platform: Annotated[
        str | None,
        typer.Option(help="6/6 Do you run Kubernetes with GPUs: yes or no.", metavar="YES/NO"),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="The study's name. [default: the folder's]")
    ] = None,
    as_of: Annotated[
        datetime | None,
        typer.Option(
            help="The date whose prices apply. [default: today]",
            formats=["%Y-%m-%d"],
            metavar="DATE",
        ),
    ] = None,
    ci: Annotated[
        bool,
        typer.Option(
            "--ci",
            metavar="",
            help="Also write .github/workflows/llmstudy.yml, which runs the study every month. "
            "If DIR/study.yaml exists already, write only the workflow.",
        ),
    ] = False,
    install: Annotated[
        str,
        typer.Option(
            help="With --ci: where the workflow installs llmstudy from: the git URL of your clone, "
            "or the path or URL of a wheel. [default: where this one was installed from]",
            metavar="SOURCE",
        ),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Ask six questions, or read a log, and write DIR/study.yaml, ready to run.

    On a terminal it asks for each answer that no option gives; an empty answer is `unknown`.
    Without a terminal every missing answer is `unknown`: it takes a wide prior, and heads the list
    of evidence to collect. Numbers may end in k, M or B.

    Monthly tokens and the last invoice suffice: at list prices the two give the split of the tokens
    into input and output. A study file is never overwritten.

    With `--log` the log is read first, whatever gateway wrote it (`llmstudy requests formats`). The
    study names it, proposes its workloads, and takes today's models and the *measured* figures from
    it; confirm the workloads and their tasks. What the log cannot tell is asked, or `unknown`.

    With `--ci` the repository that holds DIR gets a GitHub Actions workflow. Once a month, and when
    asked for, it executes the study, publishes the memo as an artefact, and fails when a trigger
    fires or evidence is stale on the logs in DIR/logs. It installs llmstudy from `--install`:
    no package index is assumed to have it. A wheel must be in that repository, or have a URL.

    Exit codes: 0 written; 2 an answer or the log cannot be used, or a file exists already.

    JSON: `{study, month_usd, unknown: [path], notes: [sentence], next: [command]}`; with `--log`
    also `log: {format, path, rows_read, requests, set_aside: {reason: rows}, by, workloads:
    [{workload, requests, share, input_tokens_mean, output_tokens_mean, task, provider, model}],
    measured: [path], not_told: [column], confirm: [path]}`; with `--ci` also `workflow`.

    ```
    llmstudy init acme
    llmstudy init acme --log logs/*.jsonl
    llmstudy init acme --log export.csv --set thousands=.
    llmstudy init acme --provider openai --model gpt-4o --monthly-tokens 1.2B --invoice-usd 4800
    llmstudy init acme --requests 1.2M --input-tokens 1155 --output-tokens 211 \\
        --ttft-p95 '800 ms' --data-class enterprise --peak-to-mean 2 --gpu-platform no
    llmstudy init acme --ci --install https://git.example/you/llmstudy.git
    llmstudy init acme --ci --install wheels/llmstudy-0.1.0-py3-none-any.whl
    ```
    """
    options = {
        "provider": provider,
        "model": model,
        "requests": requests,
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "monthly_tokens": monthly_tokens,
        "invoice_usd": invoice_usd,
        "ttft_p95": ttft_p95,
        "data_class": data_class,
        "peak_to_mean": peak_to_mean,
        "context": context,
        "gpu_platform": gpu_platform,
    }
    file = folder / "study.yaml"
    with mistakes(as_json):
        flow = workflow.planned(file) if ci else None
        source = workflow.requirement(install, flow.parents[2]) if flow else ""
        if declared and not log:
            raise ValueError("--set says what a log means: name the log with --log.")
        if more and not log:
            raise ValueError(f"{more[0]} is one argument too many: name files of a log with --log.")
        if flow and file.exists() and not any([*options.values(), log]):
            from llmstudy.study import load

            summary: dict[str, Any] = {"unknown": load(file).unknown()}
        else:
            _refuse(file, called := name or folder.resolve().name)
            day = as_of.date() if as_of else date.today()
            files = [*(log or []), *(more or [])]
            reading = _reading(files, declared, folder, options, (called, day))
            answers = _answers(options, reading.answered if reading else frozenset())
            starter = _compose(called, day, answers, reading)
            if flow:  # where nothing can be written, no study is left without its workflow
                flow.parent.mkdir(parents=True, exist_ok=True)
            unknown = _write(file, starter)
            notes = [*starter.notes, *(reading.warnings if reading else ())]
            summary = {"month_usd": starter.month_usd, "unknown": unknown, "notes": notes}
            if reading:
                summary["log"] = _log_summary(reading)
        if flow:
            flow.parent.mkdir(parents=True, exist_ok=True)
            with flow.open("x", encoding="utf-8") as target:
                target.write(workflow.text(file, flow.parents[2], source))
    steps = [f"llmstudy run {file}", f"llmstudy check {file}"]
    if as_json:
        added = {"workflow": str(flow)} if flow else {}
        print_json({"study": str(file), **added, **summary, "next": steps})
    else:
        _show(file, summary, flow, steps)


def _refuse(file: Path, name: str) -> None:
    if file.exists():
        raise ValueError(f"{file} exists already: remove it, or name another folder.")
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
        raise ValueError(
            f'"{name}" is no name for a study: give --name in lower-case letters, digits, - and _.'
        )


# --- answers --------------------------------------------------------------------------------


def _answers(options: Mapping[str, str | None], answered: Set[str]) -> dict[str, Any]:
    """The answers by option, and on a terminal those asked for; `answered`: not to be asked."""
    from llmstudy.cli.new_study import QUESTIONS

    answers: dict[str, Any] = {}
    for question in QUESTIONS:
        text = options[question.field]
        if text is not None:
            answers[question.field] = _read(question, text)
        elif (
            interactive()
            and question.field not in answered
            and _must_ask(question.field, options, answers)
        ):
            answers[question.field] = _ask(question)
    return answers


def _read(question: "Question", text: str) -> Any:
    try:
        return _value(question, text)
    except ValueError as error:
        raise ValueError(f"--{question.field.replace('_', '-')} {error}") from None


def _must_ask(field: str, options: Mapping[str, str | None], answers: Mapping[str, Any]) -> bool:
    """Whether to ask this question: an invoice replaces the tokens of a request."""
    if field in ("input_tokens", "output_tokens"):
        return not (options["monthly_tokens"] or options["invoice_usd"])
    if field == "monthly_tokens":
        return not (answers.get("input_tokens") or answers.get("output_tokens"))
    if field == "invoice_usd":
        return answers.get("monthly_tokens") is not None
    return True


def _ask(question: "Question") -> Any:
    while True:
        text = ask(question.prompt)
        try:
            return _value(question, text)
        except ValueError as error:
            say(f"The answer {error}")


def _value(question: "Question", text: str) -> Any:
    return None if text == "unknown" else question.read(text)


def _compose(
    name: str, as_of: date, answers: dict[str, Any], reading: "Reading | None"
) -> "Starter":
    from llmstudy.cli import new_study

    while True:
        try:
            given = new_study.Answers(name, as_of, **answers)
            return new_study.compose(given, reading.log if reading else None)
        except new_study.InvoiceError as error:
            if not interactive():
                raise
            say(str(error))
            billed = ("monthly_tokens", "invoice_usd")
            answers |= {q.field: _ask(q) for q in new_study.QUESTIONS if q.field in billed}


# --- the log --------------------------------------------------------------------------------


def _reading(
    files: list[str],
    declared: list[str],
    folder: Path,
    options: Mapping[str, str | None],
    named: tuple[str, date],
) -> "Reading | None":
    """The log that these files are, if any; named: the study's name and day."""
    if not files:
        return None
    from llmstudy.cli import logged
    from llmstudy.cli.new_study import QUESTIONS, Answers

    if options["monthly_tokens"] or options["invoice_usd"]:
        raise ValueError(
            "the log gives the tokens: leave out --monthly-tokens and --invoice-usd, or --log."
        )
    given = {q.field: _read(q, answer) for q in QUESTIONS if (answer := options[q.field])}
    return logged.reading_of(files, declarations(declared), folder, Answers(*named, **given))


def _log_summary(reading: "Reading") -> dict[str, Any]:
    workloads = reading.log.workloads
    return {
        "format": reading.log.title,
        "path": reading.log.path,
        "rows_read": reading.rows,
        "requests": reading.requests,
        "set_aside": reading.set_aside,
        "by": reading.log.by,
        "workloads": [
            {**row, "provider": each.provider, "model": each.model}
            for row, each in zip(
                reading.proposal.drop(columns="by").to_dict("records"), workloads, strict=True
            )
        ],
        "measured": [
            f"workloads.{each.name}.{'' if figure.endswith('_share') else 'intake.'}{figure}"
            for each in workloads
            for figure in each.figures
        ],
        "not_told": list(reading.unknown),
        "confirm": [f"workloads.{each.name}.task" for each in workloads],
    }


def _show_log(log: Mapping[str, Any]) -> None:
    from llmstudy import text

    rows = log["rows_read"]
    typer.echo(f"Read as {log['format']}: {rows:,} rows, {log['requests']:,.0f} requests.")
    for reason, n in log["set_aside"].items():
        typer.echo(
            printable(f"Set aside: {n:,} of {rows:,} rows ({text.share(n / rows)}): {reason}.")
        )
    if log["by"] == "none":
        typer.echo("One workload: no field of the log parts its requests into a few classes.")
    else:
        typer.echo(f"Workloads, by {log['by']}; confirm them and their task:")
    for row in log["workloads"]:
        model = f"{row['provider']}/{row['model']}" if row["model"] else "no listed model"
        typer.echo(
            printable(
                f"  {row['workload']}: {text.share(row['share'])} of the requests, "
                f"{row['input_tokens_mean']:,.0f} tokens in, {row['output_tokens_mean']:,.0f} out, "
                f"{model}, task {row['task']}"
            )
        )
    for row in log["workloads"]:
        place = f"workloads.{row['workload']}."
        paths = [path for path in log["measured"] if path.startswith(place)]
        names = text.listed([path.rpartition(".")[2] for path in paths]) or "nothing"
        typer.echo(printable(f"Measured for {row['workload']}: {names}."))
    if log["not_told"]:
        typer.echo(f"The log does not tell {text.listed(log['not_told'])}.")


# --- the file -------------------------------------------------------------------------------


def _write(file: Path, starter: "Starter") -> list[str]:
    """Writes the file, provided that it loads. Returns the paths that are still unknown."""
    from llmstudy.cli import new_study

    unknown = new_study.draft(starter.text).unknown()
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("x", encoding="utf-8") as target:
        target.write(starter.text)
    return unknown


def _show(file: Path, summary: Mapping[str, Any], flow: Path | None, steps: list[str]) -> None:
    from llmstudy import text

    if "log" in summary:
        _show_log(summary["log"])
    if "month_usd" in summary:
        typer.echo(f"Wrote {file}: today's bill is about {text.usd(summary['month_usd'])} a month.")
        for note in summary["notes"]:
            typer.echo(f"Note: {note}")
    if flow:
        typer.echo(f"Wrote {flow}: commit it; put each log into {file.parent / 'logs'}.")
    if summary["unknown"]:
        typer.echo("Unknown so far, each with a wide prior:")
        for path in summary["unknown"]:
            typer.echo(f"  {path}")
    typer.echo("Next:")
    for step in steps:
        typer.echo(f"  {step}")

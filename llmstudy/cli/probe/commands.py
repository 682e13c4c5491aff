"""The commands of `llmstudy probe`: each parses, calls one function of `llmstudy.probe`, prints."""

from math import isinf
from pathlib import Path
from typing import Annotated, Any

import typer

from llmstudy.cli.probe import show
from llmstudy.cli.probe.options import Model, Url, given, takes
from llmstudy.cli.terminal import BAD_INPUT, AsJson, interactive, mistakes, print_json, say
from llmstudy.probe.endpoint import Endpoint
from llmstudy.probe.options import SLO, Billing, Limits, Load, Prompts, Rates, Settings

INVALID = 3
"""Exit code of a run that its audit finds invalid."""


@takes(Endpoint, Load, Limits, Billing)
def endpoint(
    url: Url,
    model: Model,
    vllm: Annotated[
        bool,
        typer.Option(
            "--vllm",
            help="The server is vLLM: fix the length of answers, read its own counters.",
            rich_help_panel="The endpoint",
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of this run. [default: probes/HOST-TIME, in the current folder]",
            metavar="DIR",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Finish the killed run in --out, with the same settings."),
    ] = False,
    as_json: AsJson = False,
    **options: Any,
) -> None:
    """Send a load to an endpoint and time every answer from the moment its request was due.

    Give `--rate` (open loop, like users), `--concurrency` (closed loop, like throughput tests) or
    `--replay` with `--log`. Before the load, two requests show whether the key, the
    model, the address and the fields are right, and how the endpoint counts tokens.

    Each finished request is on disk at once, as `DIR/samples.jsonl`; a killed run is finished with
    `--resume` or reported as it is with `llmstudy probe import DIR`.

    Exit codes: 0 a valid run; 2 it could not start; 3 the audit finds the run invalid.

    JSON: `{run, tool, started_at, ended, endpoint, load, audit: {valid, reasons, checks}, metrics:
    {ttft_ms, tpot_ms, itl_ms, e2e_ms: {p50, p95, p99, n, ...}}, n, failed_share, errors,
    ttft_parts, spend, ...}`; a percentile is null where the sample does not support it or it falls
    among failures.
    """
    with mistakes(as_json):
        from llmstudy.probe.design import default_folder, probe_endpoint

        values = given(options, Endpoint, Load, Limits, Billing)
        folder = out if resume else out or default_folder(url)
        how: dict[str, Any] = {"vllm": vllm, "out": folder, "resume": resume, "say": say}
        with show.progress(not as_json or interactive()) as on_progress:
            probe = probe_endpoint(url, model, **how, on_progress=on_progress, **values)
    say(f"Every request is in {folder}")
    _finish(probe.runs[0], as_json, {"run": str(folder)})


@takes(Endpoint, SLO, Rates, Prompts, Limits, Billing, without=("max_errors", "prefix_groups"))
def search(
    url: Url,
    model: Model,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of its runs. [default: probes/HOST-TIME]", metavar="DIR"),
    ] = None,
    as_json: AsJson = False,
    **options: Any,
) -> None:
    """Find the highest rate of Poisson arrivals at which enough requests are good.

    A request is good when it meets every limit given, with the first token timed from the moment at
    which the request was due. Rates are doubled until one fails, then bisected;
    each step goes on until its interval separates passing from failing. Then the knee: the rate
    from which more load yields little throughput. Every step is a run with its own audit; an
    invalid one ends the search, and so does the spend cap: the steps so far are then printed.

    Exit codes: 0 done, resolved or not (it says which); 2 it could not start; 3 the audit finds a
    step invalid.

    JSON: `{passing_per_s, failing_per_s, goodput_per_s, stopped, n_requests, steps: [...], knee,
    audit: {valid, reasons}, metrics, runs}`; metrics are those of the run at the passing rate.
    """
    with mistakes(as_json):
        from llmstudy.probe.design import default_folder
        from llmstudy.probe.search.rate import search_rate

        values = given(options, Endpoint, SLO, Rates, Prompts, Limits, Billing)
        folder = out or default_folder(url)
        with show.progress(not as_json or interactive()) as on_progress:
            probe = search_rate(url, model, out=folder, say=say, on_progress=on_progress, **values)
    _print(probe.report, as_json, show.search)
    _end_invalid(probe.audit.reasons)


@takes(Settings)
def vllm(
    models: Annotated[
        list[str],
        typer.Argument(
            help="Folders with config.json, weights or none; or names in data/model_configs.",
            metavar="MODEL...",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of its runs. [default: probes/vllm-TIME]", metavar="DIR"),
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option(
            help="Also record the points, with model, GPU and engine, in this folder.",
            metavar="DIR",
        ),
    ] = None,
    as_json: AsJson = False,
    **options: Any,
) -> None:
    """Start vLLM with each setting and measure the few points that a capacity plan needs.

    A folder with nothing but `config.json` is served with random weights: a dense model is as fast
    with those as with its own, and every figure is marked so. Points are chosen for their
    information on the serving curve per second of GPU time. Each is a closed loop with its own
    audit; a point whose audit fails is named and left out. Each is recorded as soon as it is
    measured: a setting that fails, or a kill, loses none before it. To measure a server that runs
    already, use `llmstudy probe endpoint`.

    With --offline each batch is sent at once and awaited: throughput only. There are no arrivals to
    audit, so that audit.valid is null, and such points are never recorded.

    Exit codes: 0 done; 2 it could not start, or a setting failed (the others are measured and
    printed); 3 the audit finds a point invalid.

    JSON: `{settings: [{label, serving, failed, points: [{..., metrics}], invalid: [...], bench:
    [...]}], left_out: [{label, reason}], audit: {valid, reasons}, runs}`; with --offline
    `{settings: [{label, points}], audit}`.
    """
    with mistakes(as_json):
        from llmstudy.probe.design import default_folder
        from llmstudy.probe.vllm.probe import probe_vllm

        values = given(options, Settings)
        folder = out or default_folder("vllm")
        probe = probe_vllm(models, out=folder, record=record, say=say, **values)
        settings = probe.report["settings"]
        failed = [f"{each['label']}: {each['failed']}" for each in settings if each.get("failed")]
        if failed and not any(each["points"] or each["invalid"] for each in settings):
            raise ValueError("\n".join(failed))
    _print(probe.report, as_json, show.settings)
    for reason in failed:
        say(f"Failed: {reason}")
    if failed:
        raise typer.Exit(BAD_INPUT)
    if probe.report["audit"]["valid"] is False:
        raise typer.Exit(INVALID)


def import_(
    file: Annotated[
        Path,
        typer.Argument(help="Result file of a load tool, or folder of a run.", metavar="FILE"),
    ],
    tool: Annotated[
        str | None,
        typer.Option(help="Which tool wrote it. [default: recognised by its content]"),
    ] = None,
    benchmark: Annotated[
        str | None,
        typer.Option(help="Which benchmark, if the file holds several: number from 0, or name."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write it as a run to this folder.", metavar="DIR")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read another load tool's results and derive our metrics from its raw times.

    Knows `vllm bench serve`, `throughput` and `latency`, SGLang's `bench_serving`, guidellm
    (version 2 of its file), aiperf, genai-perf, inference-perf, genai-bench and llmperf, and our
    own runs, killed ones too. The same audit runs on all of them: a file without the time of each
    request cannot be audited, and is invalid. The tool's own figures are shown beside ours,
    with the reason where the two are not comparable.

    Exit codes: 0 a valid run; 2 no such file or format; 3 the audit finds the run invalid.

    JSON: as `llmstudy probe endpoint`, and `published: [{metric, quantity, statistic, published_ms,
    derived_ms, ratio, comparable, why}]`.
    """
    with mistakes(as_json):
        from llmstudy.probe.importers import published_against_derived
        from llmstudy.probe.report import rows_of
        from llmstudy.probe.result import read_run
        from llmstudy.probe.run import write

        run = read_run(file, tool, benchmark)
        is_theirs = bool(run.facts.get("published"))
        published = rows_of(published_against_derived(run)) if is_theirs else []
        if out is not None:
            write(out, run)
    _finish(run, as_json, {"run": str(file), "published": published})


def compare(
    a: Annotated[Path, typer.Argument(help="A run: folder or result file.", metavar="A")],
    b: Annotated[Path, typer.Argument(help="The run to judge against it.", metavar="B")],
    metric: Annotated[str, typer.Option(help="ttft, tpot, itl or e2e.")] = "ttft",
    percentile: Annotated[str, typer.Option(help="p50, p95 or p99.")] = "p95",
    margin: Annotated[
        float, typer.Option(help="Ratio that makes no difference: 0.05 is 5 %.", min=0.0)
    ] = 0.05,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.", min=0)] = 0,
    as_json: AsJson = False,
) -> None:
    """Is B better than A? Requests of one plan and seed, compared pair by pair.

    The verdict is better or worse only if the whole interval of the ratio lies beyond the margin,
    and undecided otherwise, with the number of requests that would settle it.

    Exit codes: 0 a verdict, undecided included; 2 the runs cannot be compared; 3 one of them is
    invalid.

    JSON: `{metric, percentile, a_ms, b_ms, ratio, low, high, n_pairs, verdict, n_needed, audit:
    {valid, reasons}, ...}`; a `high` of null means unbounded.
    """
    with mistakes(as_json):
        from llmstudy.probe.audit import audit
        from llmstudy.probe.compare import compare as judge
        from llmstudy.probe.result import read_run

        runs = {str(path): read_run(path) for path in (a, b)}
        reasons = [f"{name}: {why}" for name, run in runs.items() for why in audit(run).reasons]
        first, second = runs[str(a)], runs[str(b)]
        comparison = judge(first, second, metric, percentile, margin_share=margin, seed=seed)  # type: ignore[arg-type]
    fields = {
        name: None if isinstance(value, float) and isinf(value) else value
        for name, value in vars(comparison).items()
    }
    document = {**fields, "audit": {"valid": not reasons, "reasons": reasons}}
    _print(document, as_json, lambda _: typer.echo(f"{b}: {comparison.sentence}"))
    _end_invalid(reasons)


@takes(Billing)
def plan(
    pilot: Annotated[
        Path | None,
        typer.Option(help="An earlier run, for its scatter.", metavar="RUN"),
    ] = None,
    metric: Annotated[str, typer.Option(help="Of the pilot: ttft, tpot or e2e.")] = "ttft",
    half_width: Annotated[
        float, typer.Option(help="Interval wanted: 0.1 is 10 % either way.")
    ] = 0.1,
    difference: Annotated[
        float, typer.Option(help="Difference to be detected between two runs: 0.15 is 15 %.")
    ] = 0.15,
    power: Annotated[float, typer.Option(help="Chance of detecting it.")] = 0.8,
    rate: Annotated[float | None, typer.Option(help="Requests per second.")] = None,
    url: Annotated[str | None, typer.Option(help="Endpoint, for its price.", metavar="URL")] = None,
    model: Annotated[str | None, typer.Option(help="Model, for its price.")] = None,
    input_tokens: Annotated[int | None, typer.Option(help="Of each request.", min=1)] = None,
    output_tokens: Annotated[int | None, typer.Option(help="Of each answer.", min=1)] = None,
    as_json: AsJson = False,
    **options: Any,
) -> None:
    """Say how many requests a percentile, its interval or a comparison needs, before any is sent.

    Without a pilot the scatter is assumed, as the table says. `--rate` adds how long it takes, a
    price with token counts what it costs.

    Exit codes: 0 done; 2 bad input.

    JSON: `{goals: [{goal, percentile, requests, minutes, usd, assumes}]}`.
    """
    with mistakes(as_json):
        from llmstudy.probe.compare import ASSUMED, pilot_spread
        from llmstudy.probe.compare import plan as goals
        from llmstudy.probe.report import rows_of
        from llmstudy.probe.result import read_run
        from llmstudy.probe.spend import request_usd

        spread = ASSUMED if pilot is None else pilot_spread(read_run(pilot), metric)  # type: ignore[arg-type]
        billing = Billing(**given(options, Billing))
        usd = request_usd(url, model, billing, input_tokens, output_tokens)
        table = goals(
            spread,
            half_width_share=half_width,
            difference_share=difference,
            power=power,
            rate_per_s=rate,
            usd_per_request=usd,
        )
        rows = rows_of(table)
    names = {
        "supported": "print it with its interval",
        "interval": f"know it to {half_width:.0%}",
        "difference": f"detect {difference:.0%} between two runs",
    }
    _print({"goals": rows}, as_json, lambda _: show.goals(rows, names))


def _finish(run: Any, as_json: bool, more: dict[str, Any]) -> None:
    """Prints a run and ends the command: exit code 3 if its audit finds it invalid."""
    from llmstudy.probe.report import report

    document = {**more, **report(run)}
    _print(document, as_json, show.run)
    reasons = document["audit"]["reasons"]
    if reasons and not as_json:
        say("This run is invalid and cannot enter a memo:")
    _end_invalid(reasons)


def _print(document: dict[str, Any], as_json: bool, show_text: Any) -> None:
    if as_json:
        print_json(document)
    else:
        show_text(document)


def _end_invalid(reasons: Any) -> None:
    """Prints the reasons of the audit; if there are any, ends the command with exit code 3."""
    for reason in reasons:
        say(f"Invalid: {reason}")
    if reasons:
        raise typer.Exit(INVALID)

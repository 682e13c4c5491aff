"""`llmstudy probe search`: the highest rate within an SLO."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmstudy.cli.probe import options as o
from llmstudy.cli.probe.show import INVALID, progress
from llmstudy.cli.terminal import AsJson, interactive, mistakes, print_json, say

if TYPE_CHECKING:
    from llmstudy.probe.run import Run


def search(
    url: o.Url,
    model: o.Model,
    slo_ttft: Annotated[
        str | None, typer.Option(help="First token within: '800 ms'.", metavar="TIME")
    ] = None,
    slo_tpot: Annotated[
        str | None, typer.Option(help="Time per output token within: '50 ms'.", metavar="TIME")
    ] = None,
    slo_e2e: Annotated[
        str | None, typer.Option(help="Whole answer within: '10 s'.", metavar="TIME")
    ] = None,
    attainment: Annotated[
        float, typer.Option(help="Share of requests that must be good.", min=0.01, max=0.999)
    ] = 0.95,
    low: Annotated[float, typer.Option("--from", help="Lowest rate, requests a second.")] = 1.0,
    high: Annotated[float, typer.Option("--to", help="Highest rate.")] = 64.0,
    resolution: Annotated[float, typer.Option(help="Width of the answer, as a share.")] = 0.1,
    max_requests: Annotated[int, typer.Option(help="Requests in all.", min=100)] = 20_000,
    api: o.Api = "chat",
    key_env: o.KeyEnv = None,
    body: o.Body = None,
    header: o.Headers = None,
    drop: o.Drop = None,
    token_ids: o.TokenIds = None,
    input_tokens: o.InputTokens = None,
    output_tokens: o.OutputTokens = None,
    log: o.LogFile = None,
    log_format: o.LogFormat = "jsonl",
    log_column: o.LogColumn = None,
    shared_prefix: o.SharedPrefix = 0.0,
    seed: o.Seed = None,
    max_concurrency: o.MaxConcurrency = None,
    rpm: o.RequestsPerMin = None,
    tpm: o.TokensPerMin = None,
    max_spend: o.MaxSpend = None,
    provider: o.Provider = None,
    price: o.Price = None,
    timeout: o.Timeout = "600 s",
    max_retries: o.Retries = 2,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of its runs. [default: probes/HOST-TIME]", metavar="DIR"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find the highest rate of Poisson arrivals at which enough requests are good.

    A request is good when it meets every limit given, the first token timed from the moment at
    which the schedule wanted the request sent. Rates are doubled until one fails, then bisected;
    each step goes on until its interval separates passing from failing. Then the knee: the rate
    from which more load yields little throughput. Every step is a run with its own audit; an
    invalid one ends the search, and so does the spend cap: the steps so far are then printed.

    Exit codes: 0 done, resolved or not (it says which); 2 it could not begin; 3 a step's audit
    finds it invalid, and why.

    JSON: `{passing_per_s, failing_per_s, goodput_per_s, stopped, n_requests, steps: [...], knee,
    audit: {valid, reasons}, metrics, runs}`; metrics are those of the run at the passing rate.
    """
    with mistakes(as_json):
        from llmstudy.probe.audit import audit
        from llmstudy.probe.design import Design, run
        from llmstudy.probe.load import Limits
        from llmstudy.probe.metrics import metrics
        from llmstudy.probe.report import rows_of
        from llmstudy.probe.run import AT_SPEND_CAP
        from llmstudy.probe.search import SLO, max_goodput
        from llmstudy.probe.search.goodput import EndOfSearch
        from llmstudy.probe.spend import checks_usd

        slo = SLO(
            ttft_s=o.seconds(slo_ttft, "--slo-ttft"),
            tpot_s=o.seconds(slo_tpot, "--slo-tpot"),
            e2e_s=o.seconds(slo_e2e, "--slo-e2e"),
            attainment_share=attainment,
        )
        target = o.endpoint_of(url, model, api, key_env, body, header, drop)
        cost = o.price_of(url, model, provider, price, max_spend, bool(key_env or header))
        design = Design(
            process="poisson",
            n=max_requests,
            seed=o.seed_of(seed),
            rate_per_s=low,
            warmup_n=o.warmup_of(None, max_requests),
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            log=o.log_of(log, log_format, log_column),
            log_name=log.name if log else None,
            shared_prefix_share=shared_prefix,
            vocabulary=token_ids,
        )
        limits = Limits(
            concurrency=max_concurrency,
            requests_per_min=rpm,
            tokens_per_min=tpm,
            spend_usd=max_spend,
            timeout_s=o.seconds(timeout, "--timeout") or 600.0,
            max_retries=max_retries,
        )
        folder = o.folder_of(out, target)
        o.say_cost(design, cost, max_spend)
        runs: list[tuple[float, Run]] = []
        invalid: list[str] = []

        def measure(rate: float, n: int) -> "Run":
            spent = sum(run_.facts["spend"]["spent_usd"] for _, run_ in runs)
            left_usd = None if max_spend is None else max_spend - spent
            at_cap = bool(runs) and runs[-1][1].facts["ended"] == AT_SPEND_CAP
            step = replace(
                design,
                rate_per_s=rate,
                n=n,
                warmup_n=o.warmup_of(None, n),
                seed=design.seed + len(runs),
            )
            too_little = left_usd is not None and left_usd <= checks_usd(step.plan(), cost)
            if at_cap or (runs and too_little):
                raise EndOfSearch("spend cap")
            place = folder / f"step-{len(runs):02d}"
            say(f"{rate:.3g} requests/s, {n} requests")
            limits_left = replace(limits, spend_usd=left_usd)
            try:
                with progress(not as_json or interactive()) as tell:
                    run_ = run(target, step, limits_left, cost, place, tell=tell)
            except ValueError as error:
                if not runs:
                    raise
                invalid.append(f"the step at {rate:.3g} requests/s: {error}")
                raise EndOfSearch("invalid step") from error
            reasons = audit(run_).reasons
            if reasons and run_.facts["ended"] == AT_SPEND_CAP:
                raise EndOfSearch("spend cap")  # too few were sent to be judged
            if reasons:
                invalid.extend(f"the step at {rate:.3g} requests/s: {why}" for why in reasons)
                raise EndOfSearch("invalid step")
            runs.append((rate, run_))
            return run_

        goodput = max_goodput(
            measure,
            slo,
            low,
            high,
            resolution,
            max_requests=max_requests,
            n_first=100,
            n_cap=min(3200, max_requests),
        )
    best = [run_ for rate, run_ in runs if rate == goodput.passing_per_s]
    report = {
        **{name: value for name, value in vars(goodput).items() if name != "steps"},
        "steps": rows_of(goodput.steps),
        "knee": _knee(runs),
        "audit": {"valid": not invalid, "reasons": invalid},
        "metrics": metrics(best[-1]) if best else None,
        "runs": str(folder),
    }
    if as_json:
        print_json(report)
    else:
        _show(report)
    if invalid:
        for why in invalid:
            say(f"Invalid: {why}")
        raise typer.Exit(INVALID)


def _knee(runs: "list[tuple[float, Run]]") -> dict[str, Any] | None:
    """The knee of the steps; None where they are too few, or too short, for one."""
    import pandas as pd

    from llmstudy.probe.search import knee, load_point

    complete = [(rate, run) for rate, run in runs if run.facts["ended"] == "complete"]
    if not complete:
        return None
    try:
        return vars(knee(pd.DataFrame([load_point(rate, run) for rate, run in complete])))
    except ValueError:
        return None


def _show(report: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("requests/s", "requests", "good", "95 % interval", "", title="Steps")
    for step in report["steps"]:
        table.add_row(
            f"{step['level']:.3g}",
            str(step["n"]),
            f"{step['attainment_share']:.1%}",
            f"{step['low']:.1%} to {step['high']:.1%}",
            step["verdict"],
        )
    console = Console()
    console.print(table)
    passing, failing = report["passing_per_s"], report["failing_per_s"]
    met = "at no rate for certain" if passing is None else f"up to {passing:.3g} requests/s"
    fails = "" if failing is None else f", fails from {failing:.3g}"
    console.print(f"The SLO holds {met}{fails} ({report['stopped']}).")
    if report["knee"]:
        console.print(f"Knee: {report['knee']['why']}.")
    console.print(f"Runs: {report['runs']}")

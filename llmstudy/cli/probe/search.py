"""`llmstudy probe search`: the highest rate within an SLO."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmstudy.cli.probe import options as o
from llmstudy.cli.probe.show import INVALID, progress
from llmstudy.cli.terminal import AsJson, interactive, mistakes, print_json, say

if TYPE_CHECKING:
    from llmstudy.probe.samples import Run


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
    token_ids: o.TokenIds = None,
    input_tokens: o.InputTokens = None,
    output_tokens: o.OutputTokens = None,
    log: o.LogFile = None,
    log_format: o.LogFormat = "jsonl",
    log_column: o.LogColumn = None,
    shared_prefix: o.SharedPrefix = 0.0,
    seed: o.Seed = None,
    max_spend: o.MaxSpend = None,
    provider: o.Provider = None,
    price: o.Price = None,
    timeout: o.Timeout = "600 s",
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of its runs. [default: probes/HOST-TIME]", metavar="DIR"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find the highest rate of Poisson arrivals at which enough requests are good.

    A request is good when it keeps every limit given, the first token timed from the moment it was
    wanted. Rates are doubled until one fails, then bisected; each goes on until its interval tells
    passing from failing. Then the knee: the rate from which more load yields little throughput.
    Every step is a run with its own audit; an invalid one ends the search.

    Exit codes: 0 done, resolved or not (it says which); 2 it could not begin; 3 a step's audit
    finds it invalid.

    JSON: `{passing_per_s, failing_per_s, goodput_per_s, stopped, n_requests, steps: [...], knee,
    audit: {valid, reasons}, metrics, runs}`; metrics are those of the run at the passing rate.
    """
    with mistakes(as_json):
        from llmstudy.probe.audit import audit
        from llmstudy.probe.design import Design, run
        from llmstudy.probe.intervals import metrics
        from llmstudy.probe.load import Limits
        from llmstudy.probe.report import rows_of
        from llmstudy.probe.search import SLO, knee, load_point, max_goodput

        slo = SLO(
            ttft_s=o.seconds(slo_ttft, "--slo-ttft"),
            tpot_s=o.seconds(slo_tpot, "--slo-tpot"),
            e2e_s=o.seconds(slo_e2e, "--slo-e2e"),
            attainment_share=attainment,
        )
        target = o.endpoint_of(url, model, api, key_env, body, header)
        cost = o.price_of(url, model, provider, price, max_spend)
        design = Design(
            process="poisson",
            n=max_requests,
            seed=o.seed_of(seed),
            rate_per_s=low,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            log=o.log_of(log, log_format, log_column),
            log_name=log.name if log else None,
            shared_prefix_share=shared_prefix,
            vocabulary=token_ids,
        )
        o.say_cost(design, cost, max_spend)
        moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        folder = out or Path("probes", f"{target.host}-{moment}")
        taken: list[tuple[float, Run]] = []

        def measure(rate: float, n: int) -> "Run":
            spent = sum((made.facts["spend"] or {}).get("spent_usd", 0.0) for _, made in taken)
            limits = Limits(
                spend_usd=None if max_spend is None else max(max_spend - spent, 1e-9),
                timeout_s=o.seconds(timeout, "--timeout") or 600.0,
            )
            step = replace(
                design,
                rate_per_s=rate,
                n=n,
                warmup_n=o.warmup_of(None, n),
                seed=design.seed + len(taken),
            )
            place = folder / f"step-{len(taken):02d}"
            say(f"{rate:.3g} requests/s, {n} requests")
            with progress(not as_json or interactive()) as tell:
                made = run(target, step, limits, cost, place, tell=tell)
            taken.append((rate, made))
            if reasons := audit(made).reasons:
                raise InvalidStep(f"the step at {rate:.3g} requests/s: {'; '.join(reasons)}")
            return made

        try:
            found = max_goodput(
                measure,
                slo,
                low,
                high,
                resolution,
                max_requests=max_requests,
                n_first=100,
                n_cap=min(3200, max_requests),
            )
        except InvalidStep as refused:
            _refuse(str(refused), as_json)
        points = [load_point(rate, made) for rate, made in taken]
    bend: dict[str, Any] | None = None
    if len(points) >= 5:
        import pandas as pd

        bend = vars(knee(pd.DataFrame(points)))
    best = [made for rate, made in taken if rate == found.passing_per_s]
    told = {
        **{name: value for name, value in vars(found).items() if name != "steps"},
        "steps": rows_of(found.steps),
        "knee": bend,
        "audit": {"valid": True, "reasons": []},
        "metrics": metrics(best[-1]) if best else None,
        "runs": str(folder),
    }
    if as_json:
        print_json(told)
        return
    _show(told)


class InvalidStep(Exception):  # noqa: N818 - the audit's finding, which ends the search
    """A step whose audit found it invalid."""


def _refuse(why: str, as_json: bool) -> None:
    say(f"Invalid: {why}")
    if as_json:
        print_json({"audit": {"valid": False, "reasons": [why]}})
    raise typer.Exit(INVALID)


def _show(told: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("requests/s", "requests", "good", "95 % interval", "", title="Steps")
    for step in told["steps"]:
        table.add_row(
            f"{step['level']:.3g}",
            str(step["n"]),
            f"{step['attainment_share']:.1%}",
            f"{step['low']:.1%} to {step['high']:.1%}",
            step["verdict"],
        )
    console = Console()
    console.print(table)
    passing, failing = told["passing_per_s"], told["failing_per_s"]
    holds = "at no rate tried" if passing is None else f"up to {passing:.3g} requests/s"
    fails = "" if failing is None else f", fails from {failing:.3g}"
    console.print(f"The SLO holds {holds}{fails} ({told['stopped']}).")
    if told["knee"]:
        console.print(f"Knee: {told['knee']['why']}.")
    console.print(f"Runs: {told['runs']}")

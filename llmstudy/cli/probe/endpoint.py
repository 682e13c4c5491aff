"""`llmstudy probe endpoint`: one load against one endpoint."""

from pathlib import Path
from typing import Annotated

import typer

from llmstudy.cli.probe import options as o
from llmstudy.cli.probe.show import finish, folder_note, progress
from llmstudy.cli.terminal import AsJson, interactive, mistakes


def endpoint(
    url: o.Url,
    model: o.Model,
    api: o.Api = "chat",
    key_env: o.KeyEnv = None,
    body: o.Body = None,
    header: o.Headers = None,
    drop: o.Drop = None,
    token_ids: o.TokenIds = None,
    is_vllm: Annotated[
        bool,
        typer.Option(
            "--vllm",
            help="The server is vLLM: force the answers' length, read its own counters.",
            rich_help_panel=o.AN_ENDPOINT,
        ),
    ] = False,
    requests: Annotated[
        int,
        typer.Option(help="Requests to measure.", min=1, rich_help_panel=o.A_LOAD),
    ] = 400,
    rate: Annotated[
        float | None,
        typer.Option(
            help="Open loop: requests a second, sent whatever becomes of those before.",
            rich_help_panel=o.A_LOAD,
        ),
    ] = None,
    arrivals: Annotated[
        str,
        typer.Option(
            help="Of an open loop: poisson, gamma, constant, ramp.",
            metavar="PROCESS",
            rich_help_panel=o.A_LOAD,
        ),
    ] = "poisson",
    burstiness: Annotated[
        float,
        typer.Option(help="Shape of gamma gaps: below 1 is burstier.", rich_help_panel=o.A_LOAD),
    ] = 1.0,
    ramp_to: Annotated[
        float | None,
        typer.Option(help="Rate at which a ramp ends.", rich_help_panel=o.A_LOAD),
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option(
            help="Closed loop: so many users, each waiting for its answer.",
            min=1,
            rich_help_panel=o.A_LOAD,
        ),
    ] = None,
    replay: Annotated[
        bool,
        typer.Option(help="Send the log's own arrivals and lengths.", rich_help_panel=o.A_LOAD),
    ] = False,
    time_scale: Annotated[
        float,
        typer.Option(help="Replay so many times as fast.", rich_help_panel=o.A_LOAD),
    ] = 1.0,
    input_tokens: o.InputTokens = None,
    output_tokens: o.OutputTokens = None,
    log: o.LogFile = None,
    log_format: o.LogFormat = "jsonl",
    log_column: o.LogColumn = None,
    shared_prefix: o.SharedPrefix = 0.0,
    prefix_groups: Annotated[
        int,
        typer.Option(help="Different shared prefixes.", min=1, rich_help_panel=o.A_LOAD),
    ] = 1,
    warmup: o.Warmup = None,
    seed: o.Seed = None,
    max_concurrency: o.MaxConcurrency = None,
    rpm: o.RequestsPerMin = None,
    tpm: o.TokensPerMin = None,
    max_errors: o.MaxErrors = 20,
    max_spend: o.MaxSpend = None,
    provider: o.Provider = None,
    price: o.Price = None,
    timeout: o.Timeout = "600 s",
    max_retries: o.Retries = 2,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of this run. [default: probes/HOST-TIME, in the current folder]",
            metavar="DIR",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option(help="Finish the killed run in --out, with the same settings.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Send a load to an endpoint and measure every answer from the moment it was wanted.

    Give `--rate` (open loop: what users do), `--concurrency` (closed loop: what throughput
    tests do) or `--replay` with `--log`. Before the load, two requests show whether the key, the
    model, the address and the fields are right, and how the endpoint counts tokens.

    Each finished request is on disk at once, as `DIR/samples.jsonl`; a killed run is finished with
    `--resume` or reported as it is with `llmstudy probe import DIR`.

    Exit codes: 0 a valid run; 2 it could not begin, and why; 3 the audit finds the run invalid.

    JSON: `{run, tool, started_at, ended, endpoint, load, audit: {valid, reasons, checks}, metrics:
    {ttft_ms, tpot_ms, itl_ms, e2e_ms: {p50, p95, p99, n, ...}}, n, failed_share, errors,
    ttft_parts, spend, ...}`; a percentile is null where the sample does not support it or it falls
    among failures.
    """
    with mistakes(as_json):
        from llmstudy.probe.design import Design, run
        from llmstudy.probe.load import Limits

        if sum([rate is not None, concurrency is not None, replay]) != 1:
            raise ValueError("give one of --rate, --concurrency and --replay")
        if arrivals not in ("poisson", "gamma", "constant", "ramp"):
            raise ValueError(f"--arrivals {arrivals}: write poisson, gamma, constant or ramp")
        if resume and (out is None or seed is None):
            raise ValueError("--resume needs --out and --seed of the run: see its run.json")
        process = "replay" if replay else "closed" if concurrency else arrivals
        target = o.endpoint_of(url, model, api, key_env, body, header, drop)
        has_key = bool(key_env or header) and not is_vllm
        cost = o.price_of(url, model, provider, price, max_spend, has_key)
        design = Design(
            process=process,  # type: ignore[arg-type]
            n=requests,
            seed=o.seed_of(seed),
            rate_per_s=rate,
            ramp_to_per_s=ramp_to,
            burstiness=burstiness,
            concurrency=concurrency,
            warmup_n=o.warmup_of(warmup, requests, concurrency),
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            log=o.log_of(log, log_format, log_column),
            log_name=log.name if log else None,
            time_scale=time_scale,
            shared_prefix_share=shared_prefix,
            prefix_groups=prefix_groups,
            vocabulary=token_ids,
        )
        limits = Limits(
            concurrency=max_concurrency,
            requests_per_min=rpm,
            tokens_per_min=tpm,
            errors=max_errors,
            spend_usd=max_spend,
            timeout_s=o.seconds(timeout, "--timeout") or 600.0,
            max_retries=max_retries,
        )
        folder = o.folder_of(out, target)
        o.say_cost(design, cost, max_spend)
        with progress(not as_json or interactive()) as tell:
            run_ = run(target, design, limits, cost, folder, resume, tell, is_vllm)
    folder_note(folder)
    finish(run_, as_json, {"run": str(folder)})

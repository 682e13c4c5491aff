"""Turns a load into a plan, and sends it: one run against one endpoint."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from llmstudy.figure import FloatArray
from llmstudy.probe import arrivals
from llmstudy.probe.endpoint import Endpoint
from llmstudy.probe.load import Progress, begun, calibrate, run_load
from llmstudy.probe.options import Billing, Limits, Load, built, takes
from llmstudy.probe.prompts import Plan, fixed_lengths, logged_lengths, plan
from llmstudy.probe.result import Probe, probe_of
from llmstudy.probe.run import Run, restate, table
from llmstudy.probe.server_metrics import counters, engine_version
from llmstudy.probe.spend import FREE, TokenPrice, checks_usd, estimated_usd, token_price
from llmstudy.probe.stream import NOT_STREAMED

VLLM_BODY = {
    "ignore_eos": True,
    "stream_options": {"include_usage": True, "continuous_usage_stats": True},
}
"""Fields of vLLM alone: answers of the requested length, and a token count with every chunk."""


@takes(Endpoint, Load, Limits, Billing)
def probe_endpoint(
    url: str,
    model: str,
    *,
    vllm: bool = False,
    out: Path | str | None = None,
    resume: bool = False,
    say: Callable[[str], None] = print,
    on_progress: Callable[[Progress], None] | None = None,
    **options: Any,
) -> Probe:
    """Sends a load to an endpoint and measures every answer from its scheduled time.

    Give `rate_per_s` (open loop: what users do), `concurrency` (closed loop: what throughput tests
    do) or `replay` with `log`. Two requests before the load check the key, the model, the address
    and the fields, and measure how the endpoint counts tokens. Works in a notebook.

    url: address up to /v1, as an OpenAI client takes it. model: as the endpoint names it. vllm: the
    server is vLLM: force the answers' length, read its own counters. out: folder to which each
    request is written as soon as it finishes; None: memory alone. resume: finish the killed run in
    `out`, with the settings and the seed that it began with. say: receives the cost before the
    start, as a line. on_progress: receives a `Progress` about twice a second.

    Returns: `samples`, a row per request; `points`, one row with percentiles, their intervals and
    the verdict of the audit; `audit`.
    Raises: ValueError for options that contradict each other, an endpoint that does not answer, or
    one that bills without `max_spend_usd`.

    >>> probe = probe_endpoint("http://localhost:8000/v1", "llama", rate_per_s=2, requests=400,
    ...                        input_tokens=1200, output_tokens=200)  # doctest: +SKIP
    >>> probe.points[["ttft_p95_ms", "ttft_p95_low_ms", "ttft_p95_high_ms", "valid"]]
    ... # doctest: +SKIP
    """
    endpoint, load, limits, billing = built(
        (Endpoint, Load, Limits, Billing), {"base_url": url.rstrip("/"), "model": model, **options}
    )
    if resume and (out is None or "seed" not in options):
        raise ValueError("--resume needs --out and --seed of the run: see its run.json")
    price = token_price(endpoint, billing, is_ours=vllm)
    load = opened(load)
    announce(load, price, limits, say)
    folder = None if out is None else Path(out)
    return probe_of([run(endpoint, load, limits, price, folder, resume, on_progress, vllm)], folder)


def default_folder(url: str) -> Path:
    """A folder for a probe, named by host and time."""
    host = url.split("//")[-1].split("/")[0].partition(":")[0]
    return Path("probes", f"{host}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")


def announce(load: Load, price: TokenPrice, limits: Limits, say: Callable[[str], None]) -> None:
    """Prints the highest cost of a load before it. Raises: ValueError without a spend cap."""
    if price == FREE:
        return
    if limits.max_spend_usd is None:
        raise ValueError("requests are billed: set --max-spend, the most that they may cost in USD")
    load_plan = plan_of(load)
    say(
        f"This costs at most USD {estimated_usd(load_plan, price):.2f}, plus USD "
        f"{checks_usd(load_plan, price):.2g} for the two requests before each load. It stops at "
        f"USD {limits.max_spend_usd:.2f}."
    )


def opened(load: Load) -> Load:
    """The load with its log read, where that is a file. Raises: ValueError if it has no request."""
    if not isinstance(load.log, str | Path):
        return load
    from llmstudy.requests.importers import read_log

    file, columns = Path(load.log), dict(load.log_columns)
    filled = {"workload": "log", "provider": "log", "model_served": "log", "ok": "true"}
    constants = {name: value for name, value in filled.items() if name not in columns}
    log = read_log(file, load.log_format, columns, constants)
    if log.accepted.empty:
        raise ValueError(f"{file}: none of its {log.rows_read} rows is a request")
    return replace(load, log=log.accepted, log_name=file.name)


def plan_of(load: Load) -> Plan:
    """Draws every request of a load from its seed."""
    rng = np.random.default_rng(load.seed)
    total = load.warmup_n + load.requests
    log = load.log if isinstance(load.log, pd.DataFrame) else None
    if load.replay and log is not None:
        replayed = log.sort_values("ts_start", kind="stable").head(total)
        scheduled_s: FloatArray | None = arrivals.replay_s(replayed["ts_start"], load.time_scale)
        lengths = replayed[["input_tokens", "output_tokens"]].clip(lower=1).astype(float)
        lengths = lengths.reset_index(drop=True)
    else:
        scheduled_s = _times_s(load, total, rng)
        if scheduled_s is not None:
            total = len(scheduled_s)  # the number of a ramp's arrivals is random
        if log is not None:
            lengths = logged_lengths(log, total, rng)
        else:
            lengths = fixed_lengths(total, load.input_tokens or 1, load.output_tokens)
    shared = (load.shared_prefix_share, load.prefix_groups)
    return plan(lengths, load.seed, scheduled_s, load.warmup_n, load.token_ids, *shared)


def _times_s(load: Load, total: int, rng: np.random.Generator) -> FloatArray | None:
    rate = load.rate_per_s or 0.0
    if load.process == "closed":
        return None
    if load.process == "constant":
        return arrivals.constant_s(rate, total)
    if load.process == "ramp":
        to = load.ramp_to_per_s or 0.0
        return arrivals.ramp_s(rate, to, 2 * total / max(rate + to, 1e-9), rng)
    return arrivals.gamma_s(rate, load.burstiness if load.process == "gamma" else 1.0, total, rng)


def facts_of(load: Load, load_plan: Plan, limits: Limits) -> dict[str, Any]:
    """The facts of a run's load and lengths; see `probe.run`."""
    outputs = load_plan.schedule["output_tokens"]
    return {
        "load": {
            "process": load.process,
            "rate_per_s": load.rate_per_s,
            "ramp_to_per_s": load.ramp_to_per_s if load.process == "ramp" else None,
            "burstiness": load.burstiness if load.process == "gamma" else None,
            "concurrency": load.concurrency or limits.max_concurrency,
            "n": len(load_plan.schedule) - load.warmup_n,
            "warmup_n": load.warmup_n,
            "seed": load.seed,
            "time_scale": load.time_scale if load.replay else None,
        },
        "lengths": {
            "source": "fixed" if load.log is None else load.log_name,
            "input_tokens": float(load_plan.schedule["input_tokens"].mean()),
            "output_tokens": None if outputs.isna().any() else float(outputs.mean()),
            "shared_prefix_share": load.shared_prefix_share,
            "prefix_groups": load.prefix_groups if load.shared_prefix_share else None,
        },
    }


def run(
    endpoint: Endpoint,
    load: Load,
    limits: Limits | None = None,
    price: TokenPrice = FREE,
    folder: Path | None = None,
    resume: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    is_vllm: bool = False,
) -> Run:
    """Sends two short requests to calibrate, then the load; as `load.run_load`.

    With resume, a run that is complete already is returned as it is, and nothing is sent.

    is_vllm: the server is vLLM: answers get the requested length, tokens are counted chunk by
    chunk, and the increase of the server's counters becomes a fact of the run.
    Raises: ValueError with the server's message if the endpoint does not answer; or if a server
    taken for vLLM has no counters.
    """
    limits = limits or Limits(max_errors=None)
    if is_vllm:
        endpoint = replace(endpoint, body={**VLLM_BODY, **endpoint.body})
    load_plan = plan_of(load)
    facts = facts_of(load, load_plan, limits)
    if resume and folder is not None:
        before, finished = begun(folder, load_plan, {"endpoint": endpoint.facts, **facts})
        if before.get("ended") == "complete":
            return Run(table(finished), before)
    cap_usd = limits.max_spend_usd
    if cap_usd is not None and checks_usd(load_plan, price) > cap_usd:
        raise ValueError(
            f"the two requests before the load alone may cost USD "
            f"{checks_usd(load_plan, price):.2g}, and --max-spend is USD {cap_usd:g}: raise it"
        )
    load_plan, connection = calibrate(endpoint, load_plan, min(limits.timeout_s, 120.0))
    facts["connection"] = connection
    if not connection["streamed"]:
        facts["notes"] = [f"{endpoint.host} does not stream: {NOT_STREAMED}"]
    options = (limits, load.concurrency, price, folder, resume, on_progress)
    if not is_vllm:
        return run_load(endpoint, load_plan, facts, *options)
    engine = {"engine": "vllm", "engine_version": engine_version(endpoint.base_url)}
    with counters(endpoint.base_url) as counted:
        probe_run = run_load(endpoint, load_plan, {**facts, "serving": engine}, *options)
    probe_run = Run(probe_run.samples, {**probe_run.facts, "server_counters": counted})
    if folder is not None:
        restate(folder, probe_run.facts)
    return probe_run

"""Designs a load (process, lengths, size), turns it into a plan, and runs it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from llmstudy.figure import FloatArray
from llmstudy.probe import arrivals
from llmstudy.probe.endpoint import Endpoint
from llmstudy.probe.load import Limits, Progress, begun, calibrate, run_load
from llmstudy.probe.prompts import Plan, fixed_lengths, logged_lengths, plan
from llmstudy.probe.run import Run, restate, table
from llmstudy.probe.server_metrics import counters, engine_version
from llmstudy.probe.spend import FREE, TokenPrice, checks_usd
from llmstudy.probe.stream import NOT_STREAMED

Process = Literal["poisson", "gamma", "constant", "ramp", "replay", "closed"]


@dataclass(frozen=True)
class Design:
    """A load: its process, its lengths, its size.

    n: requests measured; warmup_n more come before them. rate_per_s: of poisson, gamma and
    constant, and where a ramp begins; ramp_to_per_s: where it ends. concurrency: users of a closed
    loop. log: canonical requests, whose lengths are drawn jointly (else input_tokens and
    output_tokens are fixed), or which a replay sends in their order, `time_scale` times as fast.
    vocabulary: of token-id prompts. shared_prefix_share: of each input, in `prefix_groups`.
    """

    process: Process
    n: int
    seed: int
    rate_per_s: float | None = None
    ramp_to_per_s: float | None = None
    burstiness: float = 1.0
    concurrency: int | None = None
    warmup_n: int = 0
    input_tokens: int | None = None
    output_tokens: int | None = None
    log: pd.DataFrame | None = None
    log_name: str | None = None
    time_scale: float = 1.0
    shared_prefix_share: float = 0.0
    prefix_groups: int = 1
    vocabulary: int | None = None

    def __post_init__(self) -> None:
        """Refuse a load without a number that its process needs."""
        needs: dict[str, Any] = {}
        if self.process in ("poisson", "gamma", "constant", "ramp"):
            needs["rate_per_s"] = self.rate_per_s
        if self.process == "ramp":
            needs["ramp_to_per_s"] = self.ramp_to_per_s
        if self.process == "closed":
            needs["concurrency"] = self.concurrency
        if self.process == "replay":
            needs["log"] = self.log
        if self.log is None:
            needs["input_tokens"] = self.input_tokens
        if missing := [name for name, value in needs.items() if value is None]:
            raise ValueError(f"a {self.process} load needs {' and '.join(missing)}: give it")
        if self.log is not None and (self.input_tokens or self.output_tokens):
            raise ValueError("lengths come from the log: leave input_tokens and output_tokens out")

    @property
    def workers(self) -> int | None:
        """Users of a closed loop; None of an open one."""
        return self.concurrency if self.process == "closed" else None

    def plan(self) -> Plan:
        """Draws every request from the seed."""
        rng = np.random.default_rng(self.seed)
        total = self.warmup_n + self.n
        if self.process == "replay" and self.log is not None:
            replayed = self.log.sort_values("ts_start", kind="stable").head(total)
            scheduled_s = arrivals.replay_s(replayed["ts_start"], self.time_scale)
            lengths = replayed[["input_tokens", "output_tokens"]].clip(lower=1).astype(float)
            return self._plan(lengths.reset_index(drop=True), scheduled_s)
        times_s = self._times_s(total, rng)
        if times_s is not None:
            total = len(times_s)  # the number of a ramp's arrivals is random
        if self.log is not None:
            lengths = logged_lengths(self.log, total, rng)
        else:
            lengths = fixed_lengths(total, self.input_tokens or 1, self.output_tokens)
        return self._plan(lengths, times_s)

    def _times_s(self, total: int, rng: np.random.Generator) -> FloatArray | None:
        rate = self.rate_per_s or 0.0
        if self.process == "constant":
            return arrivals.constant_s(rate, total)
        if self.process == "ramp":
            to = self.ramp_to_per_s or 0.0
            duration_s = 2 * total / max(rate + to, 1e-9)
            return arrivals.ramp_s(rate, to, duration_s, rng)
        if self.process in ("poisson", "gamma"):
            shape = self.burstiness if self.process == "gamma" else 1.0
            return arrivals.gamma_s(rate, shape, total, rng)
        return None

    def _plan(self, lengths: pd.DataFrame, scheduled_s: FloatArray | None) -> Plan:
        return plan(
            lengths,
            self.seed,
            scheduled_s,
            self.warmup_n,
            self.vocabulary,
            self.shared_prefix_share,
            self.prefix_groups,
        )

    def facts(self, load_plan: Plan, limits: Limits) -> dict[str, Any]:
        """The facts of a run's load and lengths; see `probe.run`."""
        is_open = self.process not in ("closed", "replay")
        return {
            "load": {
                "process": self.process,
                "rate_per_s": self.rate_per_s if is_open else None,
                "ramp_to_per_s": self.ramp_to_per_s if self.process == "ramp" else None,
                "burstiness": self.burstiness if self.process == "gamma" else None,
                "concurrency": self.workers or limits.concurrency,
                "n": len(load_plan.schedule) - self.warmup_n,
                "warmup_n": self.warmup_n,
                "seed": self.seed,
                "time_scale": self.time_scale if self.process == "replay" else None,
            },
            "lengths": {
                "source": "fixed" if self.log is None else self.log_name,
                "input_tokens": float(load_plan.schedule["input_tokens"].mean()),
                "output_tokens": _mean(load_plan.schedule["output_tokens"]),
                "shared_prefix_share": self.shared_prefix_share,
                "prefix_groups": self.prefix_groups if self.shared_prefix_share else None,
            },
        }


VLLM_BODY = {
    "ignore_eos": True,
    "stream_options": {"include_usage": True, "continuous_usage_stats": True},
}
"""Fields of vLLM alone: answers of the requested length, and a token count with every chunk."""


def run(
    endpoint: Endpoint,
    design: Design,
    limits: Limits | None = None,
    price: TokenPrice = FREE,
    folder: Path | None = None,
    resume: bool = False,
    tell: Callable[[Progress], None] | None = None,
    is_vllm: bool = False,
) -> Run:
    """Sends two short requests to calibrate, then the load; as `load.run_load`.

    A complete run that is to be resumed is returned as it is, and nothing is sent.

    is_vllm: the server is vLLM: answers get the requested length, tokens are counted chunk by
    chunk, and the growth of the server's counters becomes a fact of the run.
    Raises: ValueError with the server's message if the endpoint does not answer; or if a server
    taken for vLLM has no counters.
    """
    limits = limits or Limits()
    if is_vllm:
        endpoint = replace(endpoint, body={**VLLM_BODY, **endpoint.body})
    load_plan = design.plan()
    facts = design.facts(load_plan, limits)
    if resume and folder is not None:
        before, finished = begun(folder, load_plan, {"endpoint": endpoint.facts, **facts})
        if before.get("ended") == "complete":
            return Run(table(finished), before)
    if limits.spend_usd is not None and checks_usd(load_plan, price) > limits.spend_usd:
        raise ValueError(
            f"the two requests before the load may cost USD {checks_usd(load_plan, price):.2g} by "
            f"themselves, and --max-spend is USD {limits.spend_usd:g}: raise it"
        )
    load_plan, connection = calibrate(endpoint, load_plan, min(limits.timeout_s, 120.0))
    facts["connection"] = connection
    if not connection["streamed"]:
        facts["notes"] = [f"{endpoint.host} does not stream: {NOT_STREAMED}"]
    options = (limits, design.workers, price, folder, resume, tell)
    if not is_vllm:
        return run_load(endpoint, load_plan, facts, *options)
    engine = {"engine": "vllm", "engine_version": engine_version(endpoint.base_url)}
    with counters(endpoint.base_url) as counted:
        probe_run = run_load(endpoint, load_plan, {**facts, "serving": engine}, *options)
    probe_run = Run(probe_run.samples, {**probe_run.facts, "server_counters": counted})
    if folder is not None:
        restate(folder, probe_run.facts)
    return probe_run


def _mean(values: "pd.Series[float]") -> float | None:
    return None if values.isna().any() else float(values.mean())

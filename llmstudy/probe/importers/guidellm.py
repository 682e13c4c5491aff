"""What did guidellm measure? (JSON of its schema 2, read and run with 0.8.1)

Each request carries the times of its own life, `info.timings`, on the wall clock: when it was
wanted, sent, and when its first and last tokens came. The chunks between are counted, not timed.

A start-up race can leave the first wanted times near 1970; such requests were sent at once. They
are taken as wanted when the run began, so that the arrivals show the burst that they were.
"""

from collections.abc import Mapping
from typing import Any

from llmstudy.probe.importers.result_file import (
    ResultFile,
    UnreadableError,
    between,
    earliest,
    error_word,
    imported,
    published_rows,
)
from llmstudy.probe.run import Run, Sample

_PROCESSES = {
    "synchronous": "closed",
    "concurrent": "closed",
    "throughput": "closed",
    "constant": "constant",
    "poisson": "poisson",
    "replay": "replay",
}
_APIS = {"/v1/chat/completions": "chat", "/v1/completions": "completions"}
_MS_PER_UNIT = {
    "time_to_first_token_ms": 1.0,
    "time_to_first_output_token_ms": 1.0,
    "time_per_output_token_ms": 1.0,
    "inter_token_latency_ms": 1.0,
    "request_latency": 1e3,
    "request_scheduled_latency": 1e3,
    "request_dispatch_delay": 1e3,
}


def read(file: ResultFile) -> Run:
    """A run from one benchmark of a guidellm file."""
    document = file.document
    metadata = document.get("metadata") or {}
    if metadata.get("version") != 2:
        schema = metadata.get("version") or "before 2 (guidellm 0.7 or older)"
        raise UnreadableError(
            f"{file.path} is a guidellm result of schema {schema}: schema 2 is read. Run the "
            "benchmark again with guidellm 0.8."
        )
    benchmarks = document["benchmarks"]
    benchmark = file.one_of(benchmarks, [_name(one) for one in benchmarks])
    config = benchmark["config"]
    strategy = config["strategy"]
    process = _PROCESSES.get(str(strategy["type_"]))
    requests = [
        request
        for status in ("successful", "errored", "incomplete")
        for request in benchmark["requests"].get(status) or []
    ]
    dispatched = [r for r in requests if r["info"]["timings"].get("request_start") is not None]
    bounds = benchmark["scheduler_metrics"]
    began = bounds["start_time"]
    n_early = sum(_scheduled(r) < began for r in dispatched) if process != "closed" else 0
    scheduled = [
        r["info"]["timings"]["request_start"] if process == "closed" else max(_scheduled(r), began)
        for r in dispatched
    ]
    origin = earliest(scheduled)
    ordered = sorted(zip(scheduled, dispatched, strict=True), key=lambda pair: pair[0])
    measured_from = bounds.get("measure_start_time") or began
    samples = [
        _sample(i, request, at, origin, measured_from) for i, (at, request) in enumerate(ordered)
    ]
    warmup_n = sum(sample.phase == "warmup" for sample in samples)
    n_total = (benchmark["metrics"].get("request_totals") or {}).get("total") or 0
    left_out = max(0, n_total - len(requests))
    backend = config.get("backend") or {}
    api = backend.get("request_format") or ""
    return imported(
        "guidellm",
        metadata.get("guidellm_version"),
        samples,
        clock="wall",
        published=_published(benchmark["metrics"]),
        notes=_notes(samples, n_early, len(requests) - len(dispatched), left_out),
        load={
            "process": process,
            "rate_per_s": strategy.get("rate"),
            "concurrency": _streams(strategy, config.get("profile") or {}, process),
            "n": len(samples) + left_out - warmup_n,
            "warmup_n": warmup_n,
            "seed": strategy.get("random_seed"),
        },
        endpoint={
            "base_url": backend.get("target"),
            "model": backend.get("model"),
            "api": _APIS.get(api, api or None),
        },
        lengths=_lengths(document),
        started_unix_s=origin,
        wall_s=benchmark.get("duration"),
    )


def _name(benchmark: Mapping[str, Any]) -> str:
    """What a benchmark is called: its strategy and rate or streams, such as poisson@4.0."""
    strategy = benchmark["config"]["strategy"]
    size = strategy.get("rate") or strategy.get("streams")
    return f"{strategy['type_']}@{size}" if size else str(strategy["type_"])


def _scheduled(request: Mapping[str, Any]) -> float:
    timings = request["info"]["timings"]
    at = timings.get("targeted_start")
    return float(timings["request_start"] if at is None else at)


def _streams(
    strategy: Mapping[str, Any], profile: Mapping[str, Any], process: str | None
) -> int | None:
    """The workers of a closed loop, or the cap that was asked for in open loop."""
    if strategy["type_"] == "synchronous":
        return 1
    if process != "closed":
        return profile.get("max_concurrency")
    return strategy.get("streams") or strategy.get("max_concurrency")


def _sample(
    index: int, request: Mapping[str, Any], scheduled: float, origin: float, measured_from: float
) -> Sample:
    info = request["info"]
    t = info["timings"]

    def since(name: str) -> float | None:
        return None if t.get(name) is None else t[name] - origin

    dispatched = t["request_start"] - origin
    sample = Sample(
        index,
        "warmup" if max(scheduled, t["request_start"]) < measured_from else "measure",
        scheduled - origin,
        dispatched,
        done_s=since("request_end"),
        ok=info["status"] == "completed",
        input_tokens=request.get("prompt_tokens"),
        cached_input_tokens=request.get("cached_tokens"),
        output_tokens=request.get("output_tokens"),
    )
    split = "first_output_token_iteration" in t
    first = since("first_output_token_iteration" if split else "first_token_iteration")
    last, begun = since("last_token_iteration"), since("first_token_iteration")
    if first is not None and last is not None:
        sample.content_times_s = between(first, last)
    elif begun is None and sample.ok and sample.done_s is not None:
        sample.content_times_s = [sample.done_s]  # not streamed: the answer came as a whole
    if begun is not None and (first is None or begun < first):
        sample.first_reasoning_s = begun
    if info["status"] == "cancelled":
        sample.error = "cancelled"
    elif not sample.ok:
        sample.error = error_word(info.get("error"))
    return sample


def _notes(samples: list[Sample], n_early: int, unsent: int, left_out: int) -> list[str]:
    notes = [
        "The times of single chunks are not in the file: ITL cannot be derived.",
        "Times are of the wall clock, which may step.",
        "Token counts are the server's where it sent usage, else counted chunks: the file does not "
        "say which.",
    ]
    if n_early:
        notes.append(
            f"{n_early} of {len(samples)} requests were wanted before the run began (a race in the "
            "tool's start): they are taken as wanted at its beginning."
        )
    if left_out:
        notes.append(
            f"{left_out} requests were made and are not in the file: arrivals cannot be audited. "
            "Run guidellm again without a sample size."
        )
    if unsent:
        notes.append(f"{unsent} requests were never sent and are left out.")
    if cut := sum(sample.error == "cancelled" for sample in samples):
        notes.append(f"{cut} requests were cancelled by the tool when it stopped: they failed.")
    return notes


def _lengths(document: Mapping[str, Any]) -> dict[str, Any]:
    data = ((document.get("config") or {}).get("spec") or {}).get("data") or [{}]
    requested = {
        "input_tokens": data[0].get("prompt_tokens"),
        "output_tokens": data[0].get("output_tokens"),
    }
    fixed = all(requested.values()) and not data[0].get("output_tokens_stdev")
    return requested | {"source": "fixed" if fixed else data[0].get("kind")}


def _published(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for name, ms in _MS_PER_UNIT.items():
        latency = (metrics.get(name) or {}).get("successful")
        if not latency or not latency.get("count"):
            continue
        rows += published_rows(name, "mean", latency["mean"] * ms, "ms")
        for percentile in ("p50", "p95", "p99"):
            value = (latency.get("percentiles") or {}).get(percentile)
            rows += published_rows(name, percentile, None if value is None else value * ms, "ms")
    for name in ("requests_per_second", "output_tokens_per_second"):
        latency = (metrics.get(name) or {}).get("successful") or {}
        rows += published_rows(name, "mean", latency.get("mean"), "per_s")
    return rows

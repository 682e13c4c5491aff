"""What did aiperf measure? (`profile_export.jsonl` and its summary, read and run with 0.13.0)

A record has the time at which its credit was issued, which is when the schedule wanted it, the time
it was sent, its TTFT, and the list of gaps between chunks. Tokens are counted by the client's own
tokenizer unless told otherwise, and a text does not always tokenise to what the server generated:
only the `usage_*` metrics are the server's, so only those are taken.

genai-perf, its predecessor, writes the same summary in other words, and no requests beside it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from llmstudy.probe.importers.result_file import (
    ResultFile,
    UnreadableError,
    documents,
    earliest,
    error_word,
    imported,
    published_rows,
)
from llmstudy.probe.run import Run, Sample

_SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0}
_PROCESSES = {
    "poisson": "poisson",
    "gamma": "gamma",
    "constant": "constant",
    "fixed_schedule": "replay",
}
_LATENCIES = (
    "time_to_first_token",
    "time_to_first_output_token",
    "inter_token_latency",
    "inter_chunk_latency",
    "request_latency",
    "effective_latency",
    "credit_to_start_latency",
)
_STATISTICS = {"avg": "mean", "p50": "p50", "p95": "p95", "p99": "p99"}
_SUMMARY = "_aiperf.json"


def read_records(file: ResultFile) -> Run:
    """A run from the records, with the configuration from the summary beside them, if it is."""
    beside = file.path.with_name(file.path.stem + _SUMMARY)
    return _run(file.documents, documents(beside)[0] if beside.is_file() else {})


def read_summary(file: ResultFile) -> Run:
    """A run from the summary, with the records beside it; without samples if they are not there."""
    summary = file.document
    beside = Path(str(file.path).removesuffix(_SUMMARY) + ".jsonl")
    return _run(documents(beside) if beside.is_file() else [], summary)


def read_genai_perf(file: ResultFile) -> Run:
    """A run without samples from the summary of genai-perf."""
    summary = file.document
    config = summary["input_config"]
    models = config.get("model") or config.get("model_names") or [None]
    rate, users = config.get("request_rate"), config.get("concurrency")
    return imported(
        "genai-perf",
        None,
        [],
        clock="monotonic",
        published=_published(summary),
        notes=[
            "genai-perf's summary holds no single requests: nothing can be derived. Measure with "
            "its successor aiperf, and give its profile_export.jsonl."
        ],
        load={"process": None if rate else "closed", "rate_per_s": rate, "concurrency": users},
        endpoint={
            "model": models if isinstance(models, str) else models[0],
            "api": config.get("endpoint_type"),
            "engine": config.get("backend"),
        },
    )


def refuse_raw_genai_perf(file: ResultFile) -> Run:
    """Refuse the raw profile of perf_analyzer, whose answers are not taken apart."""
    raise UnreadableError(
        f"{file.path} is the raw profile that perf_analyzer writes for genai-perf, which is not "
        "read: give profile_export_genai_perf.json, or measure with its successor aiperf"
    )


def _run(records: Sequence[Mapping[str, Any]], summary: Mapping[str, Any]) -> Run:
    config = summary.get("input_config") or {}
    phases = {p.get("kind"): p for p in config.get("phases") or []}
    phase = phases.get("profiling") or {}
    rate, concurrency = phase.get("rate"), phase.get("concurrency")
    alone = concurrency is not None and rate is None
    process = "closed" if alone else _PROCESSES.get(str(phase.get("type")))
    # in closed loop nothing is scheduled: a credit is issued when a worker is free
    t0 = "request_start_ns" if process == "closed" else "credit_issued_ns"
    ordered = sorted(records, key=lambda record: record["metadata"][t0])
    origin = earliest([record["metadata"][t0] for record in ordered])
    samples = [_sample(i, record, t0, origin) for i, record in enumerate(ordered)]
    warmup_n = sum(sample.phase == "warmup" for sample in samples)
    endpoint = config.get("endpoint") or {}
    return imported(
        "aiperf",
        summary.get("aiperf_version"),
        samples,
        clock="monotonic",
        published=_published(summary),
        notes=_notes(samples, bool(summary)),
        load={
            "process": process,
            "rate_per_s": rate,
            "burstiness": phase.get("smoothness"),
            "concurrency": concurrency,
            "n": phase.get("requests") or len(samples) - warmup_n,
            "warmup_n": warmup_n,
            "seed": (summary.get("run_info") or {}).get("random_seed"),
        },
        endpoint={
            "base_url": (endpoint.get("urls") or [None])[0],
            "model": ((config.get("models") or {}).get("items") or [{}])[0].get("name"),
            "api": endpoint.get("type"),
        },
        lengths=_lengths(config),
        started_unix_s=origin / 1e9,
        wall_s=(summary.get("benchmark_duration") or {}).get("avg"),
        ended="cancelled" if summary.get("was_cancelled") else "complete",
    )


def _sample(index: int, record: Mapping[str, Any], t0: str, origin: float) -> Sample:
    metadata, metrics = record["metadata"], record["metrics"]

    def at(name: str) -> float:
        return float(metadata[name] - origin) / 1e9  # whole ns before they become a float

    def tokens(name: str) -> int | None:
        return (metrics.get(name) or {}).get("value")

    failed = record.get("error")
    sent_s = at("request_start_ns")
    sample = Sample(
        index,
        "warmup" if metadata["benchmark_phase"] == "warmup" else "measure",
        at(t0),
        sent_s,
        headers_s=at("request_ack_ns") if metadata.get("request_ack_ns") else None,
        done_s=at("request_end_ns") if metadata.get("request_end_ns") else None,
        ok=not failed and not metadata.get("was_cancelled"),
        input_tokens=tokens("usage_prompt_tokens"),
        cached_input_tokens=tokens("usage_prompt_cache_read_tokens"),
        output_tokens=tokens("usage_completion_tokens"),
        reasoning_tokens=tokens("usage_reasoning_tokens"),
    )
    first = _seconds(metrics, "time_to_first_token")
    whole = _seconds(metrics, "request_latency")
    if first is not None:
        gaps = _seconds(metrics, "inter_chunk_latency")
        times = sent_s + np.cumsum([first, *([] if gaps is None else gaps)])
        answer = _seconds(metrics, "time_to_first_output_token")
        if answer is not None and answer > first:
            sample.first_reasoning_s = float(times[0])
            times = times[times >= sent_s + answer - 1e-9]  # 1 ns: sums round
        sample.content_times_s = times.tolist()
    elif whole is not None:
        sample.content_times_s = [float(sent_s + whole)]  # not streamed: it came as a whole
    if metadata.get("was_cancelled"):
        sample.error = "cancelled"
    elif failed:
        code = failed.get("code")
        status = int(code) if str(code).isdigit() else None
        sample.error = error_word(f"{failed.get('type')} {failed.get('message')}", status)
        sample.http_status = status
    return sample


def _seconds(metrics: Mapping[str, Any], name: str) -> Any:
    """A duration, or a list of them, in seconds; None where the record has none."""
    metric = metrics.get(name)
    if not metric or metric["value"] is None:
        return None
    return np.asarray(metric["value"], dtype=float) * _SECONDS[metric["unit"]]


def _notes(samples: Sequence[Sample], summarised: bool) -> list[str]:
    if not samples:
        return ["The records are missing (the .jsonl beside the summary): nothing can be derived."]
    notes = []
    if not summarised:
        notes.append("The summary is not beside the records: how the load was made is not known.")
    answered = [sample for sample in samples if sample.ok]
    if silent := sum(sample.output_tokens is None for sample in answered):
        notes.append(
            f"{silent} of {len(answered)} answers have no token count of the server: TPOT is null. "
            "The client's own count is not taken."
        )
    if cut := sum(sample.error == "cancelled" for sample in samples):
        notes.append(f"{cut} requests were cancelled by the tool: they failed.")
    return notes


def _lengths(config: Mapping[str, Any]) -> dict[str, Any]:
    data = (config.get("datasets") or [{}])[0]
    prompts = data.get("prompts") or {}
    requested = {"input": prompts.get("isl") or {}, "output": prompts.get("osl") or {}}
    fixed = all(x.get("mean") and not x.get("stddev") for x in requested.values())
    means = {f"{name}_tokens": x.get("mean") for name, x in requested.items()}
    return means | {"source": "fixed" if fixed else data.get("type")}


def _published(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for name in _LATENCIES:
        latency = summary.get(name) or {}
        for theirs, ours in _STATISTICS.items():
            if latency.get(theirs) is not None:
                ms = 1e3 * _SECONDS[latency["unit"]] * latency[theirs]
                rows += published_rows(name, ours, ms, "ms")
    for name in ("request_throughput", "output_token_throughput"):
        rows += published_rows(name, "mean", (summary.get(name) or {}).get("avg"), "per_s")
    return rows

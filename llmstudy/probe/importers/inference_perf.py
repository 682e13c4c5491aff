"""What did inference-perf measure? (files of its life-cycle report, read at 0.6.1, not run)

The per-request file has the times at which a request began and ended and at which each chunk with
content came, on a monotonic clock. When the schedule wanted it is known to the tool and not
written, so t0 is the dispatch, and waiting in the tool's own queue is out of sight.
"""

from collections.abc import Mapping, Sequence
from math import isfinite, nan
from typing import Any

from llmstudy.probe.importers.result_file import (
    ResultFile,
    documents,
    earliest,
    error_word,
    imported,
    number,
    published_rows,
)
from llmstudy.probe.run import Run, Sample

_REQUESTS = "per_request_lifecycle_metrics.json"
_SUMMARY = "summary_lifecycle_metrics.json"
_LATENCIES = (
    "request_latency",
    "time_to_first_token",
    "time_per_output_token",
    "normalized_time_per_output_token",
    "inter_token_latency",
)
_STATISTICS = {"mean": "mean", "median": "p50", "p95": "p95", "p99": "p99"}


def read_requests(file: ResultFile) -> Run:
    """A run from the per-request file, with the summary beside it, if it is."""
    beside = file.path.with_name(_SUMMARY)
    return _run(file.document, documents(beside)[0] if beside.is_file() else {})


def read_summary(file: ResultFile) -> Run:
    """A run from a summary. That of the whole run finds the requests beside it; that of one stage
    has no samples, since a request does not say to which stage it belongs."""
    summary = file.document
    beside = file.path.with_name(_REQUESTS)
    whole = file.path.name == _SUMMARY and beside.is_file()
    return _run(documents(beside)[0] if whole else [], summary)


def _run(requests: Sequence[Mapping[str, Any]], summary: Mapping[str, Any]) -> Run:
    ordered = sorted(requests, key=lambda request: float(request["start_time"]))
    origin = earliest([request["start_time"] for request in ordered])
    samples = [_sample(i, request, origin) for i, request in enumerate(ordered)]
    load = summary.get("load_summary") or {}
    return imported(
        "inference-perf",
        None,
        samples,
        clock="monotonic",
        published=_published(summary),
        notes=_notes(samples),
        load={
            "rate_per_s": load.get("requested_rate"),
            "concurrency": load.get("concurrency"),
            "n": load.get("count") or len(samples),
        },
        wall_s=summary.get("benchmark_time_seconds"),
    )


def _sample(index: int, request: Mapping[str, Any], origin: float) -> Sample:
    info = request["info"] or {}
    response = info.get("response_metrics") or info
    usage = response.get("server_usage") or {}
    failed = request.get("error")
    sent_s, done_s = request["start_time"] - origin, request["end_time"] - origin
    sample = Sample(
        index,
        "measure",
        sent_s,
        sent_s,
        done_s=done_s,
        ok=not failed,
        attempts=1 + (info.get("retries_attempted") or 0),
        input_tokens=usage.get("prompt_tokens"),
        cached_input_tokens=(usage.get("prompt_tokens_details") or {}).get("cached_tokens"),
        output_tokens=usage.get("completion_tokens"),
        reasoning_tokens=(usage.get("completion_tokens_details") or {}).get("reasoning_tokens"),
    )
    # older versions have the times per token, which are those of the token's chunk
    times = response.get("chunk_times") or response.get("output_token_times") or []
    since = [number(time) - origin for time in times]
    sample.content_times_s = since if all(map(isfinite, since)) else [nan]
    if reasoned := response.get("reasoning_chunk_times"):
        sample.first_reasoning_s = reasoned[0] - origin
    if not times and not reasoned and not failed:
        sample.content_times_s = [done_s]  # not streamed: the answer came as a whole
    if failed:
        sample.error = error_word(f"{failed.get('error_type')} {failed.get('error_msg')}")
    return sample


def _notes(samples: Sequence[Sample]) -> list[str]:
    if not samples:
        return [
            f"The requests are missing (write {_REQUESTS} by the option per_request of the report):"
            " nothing can be derived."
        ]
    notes = [
        "When a request was wanted is not in the file: t0 is its dispatch, and a late client "
        "cannot be seen.",
        "How the load was made is not in the file.",
    ]
    answered = [sample for sample in samples if sample.ok]
    if silent := sum(sample.output_tokens is None for sample in answered):
        notes.append(
            f"{silent} of {len(answered)} answers have no token count of the server: TPOT is null. "
            "The client's own count is not taken."
        )
    return notes


def _published(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    latencies = (summary.get("successes") or {}).get("latency") or {}
    rows = []
    for name in _LATENCIES:
        latency = latencies.get(name) or {}
        for theirs, ours in _STATISTICS.items():
            if latency.get(theirs) is not None:
                rows += published_rows(name, ours, 1e3 * latency[theirs], "ms")
    return rows

"""What did genai-bench measure? (JSON of a run, read and run with 0.0.5)

Each request has its TTFT and its E2E latency, and no time at which it was sent: every sample begins
at 0, so that its latencies hold and its arrival says nothing. The load is a closed loop, in which
nothing is scheduled. The E2E latency runs to the end of the stream, a little beyond the last token.
"""

from collections.abc import Mapping
from math import nan
from typing import Any

from llmstudy.probe.importers.result_file import (
    ResultFile,
    error_word,
    imported,
    published_rows,
)
from llmstudy.probe.samples import Run, Sample

_SECONDS = {"s": 1.0, "ms": 1e-3}
_LATENCIES = ("ttft", "tpot", "e2e_latency", "output_latency")
_STATISTICS = ("mean", "p50", "p95", "p99")
_NOTES = [
    "When requests were sent is not in the file: arrivals and concurrency cannot be audited.",
    "The times of single chunks are not in the file: ITL cannot be derived. The end of the stream "
    "stands for the last chunk.",
    "Token counts are the server's where it sent usage, else the client's: the file does not say "
    "which.",
]


def read(file: ResultFile) -> Run:
    """A run from one scenario at one concurrency."""
    document = file.document
    found = document["aggregated_metrics"]
    seconds = _SECONDS[document.get("_time_unit") or "s"]
    requests = document["individual_request_metrics"]
    return imported(
        "genai-bench",
        None,
        [_sample(i, request, seconds) for i, request in enumerate(requests)],
        clock="per request",
        published=_published(found, seconds),
        notes=_NOTES,
        load={
            "process": "closed",
            "concurrency": found.get("num_concurrency"),
            "n": found.get("num_requests"),
        },
        lengths={"source": found.get("scenario")},
        wall_s=found.get("run_duration"),
    )


def _sample(index: int, request: Mapping[str, Any], seconds: float) -> Sample:
    code = request.get("error_code")
    status = int(str(code)) if str(code).isdigit() else None
    sample = Sample(index, "measure", 0.0, 0.0, ok=code is None, http_status=status)
    if sample.ok:
        first, done = (seconds * request[name] for name in ("ttft", "e2e_latency"))
        sample.content_times_s = [first, nan, done] if done > first else [first]
        sample.done_s = done
        sample.input_tokens = request.get("num_input_tokens")
        sample.output_tokens = request.get("num_output_tokens")
        sample.reasoning_tokens = request.get("num_reasoning_tokens")
    else:
        sample.error = error_word(request.get("error_message"), status)
    return sample


def _published(found: Mapping[str, Any], seconds: float) -> list[dict[str, Any]]:
    rows = []
    for name in _LATENCIES:
        values = (found.get("stats") or {}).get(name) or {}
        for statistic in _STATISTICS:
            if values.get(statistic) is not None:
                rows += published_rows(name, statistic, 1e3 * seconds * values[statistic], "ms")
    rows += published_rows("requests_per_second", "mean", found.get("requests_per_second"), "per_s")
    return rows

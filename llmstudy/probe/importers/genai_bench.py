"""What did genai-bench measure, or llmperf? (JSON of a run; read and run with 0.0.5; read at 2.0)

Each request has its TTFT and its E2E latency, and no time at which it was sent: every sample begins
at 0, so that its latencies hold and its arrival says nothing. The load is a closed loop, in which
nothing is scheduled. The E2E latency runs to the end of the stream, a little beyond the last token.

llmperf counts the tokens of every model with one tokenizer of Llama's: its count is not taken.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llmstudy.probe.importers.result_file import (
    ResultFile,
    between,
    documents,
    error_word,
    imported,
    number,
    published_rows,
)
from llmstudy.probe.run import PER_REQUEST, Run, Sample

_SECONDS = {"s": 1.0, "ms": 1e-3}
_LATENCIES = ("ttft", "tpot", "e2e_latency", "output_latency")
_STATISTICS = ("mean", "p50", "p95", "p99")
_UNTIMED = [
    "When requests were sent is not in the file: arrivals and concurrency cannot be audited.",
    "The times of single chunks are not in the file: ITL cannot be derived. The end of the stream "
    "stands for the last chunk.",
]
_NOTES = [
    *_UNTIMED,
    "Token counts are the server's where it sent usage, else the client's: the file does not say "
    "which.",
]


def read(file: ResultFile) -> Run:
    """A run from one scenario at one concurrency."""
    document = file.document
    aggregated = document["aggregated_metrics"]
    seconds = _SECONDS[document.get("_time_unit") or "s"]
    requests = document["individual_request_metrics"]
    return imported(
        "genai-bench",
        None,
        [_sample(i, request, seconds) for i, request in enumerate(requests)],
        clock=PER_REQUEST,
        published=_published(aggregated, seconds),
        notes=_NOTES,
        load={
            "process": "closed",
            "concurrency": aggregated.get("num_concurrency"),
            "n": aggregated.get("num_requests"),
        },
        lengths={"source": aggregated.get("scenario")},
        wall_s=aggregated.get("run_duration"),
    )


def _sample(index: int, request: Mapping[str, Any], seconds: float) -> Sample:
    code = request.get("error_code")
    status = int(str(code)) if str(code).isdigit() else None
    sample = Sample(index, "measure", 0.0, 0.0, ok=code is None, http_status=status)
    if sample.ok:
        first_s, done_s = (seconds * number(request[name]) for name in ("ttft", "e2e_latency"))
        sample.content_times_s = between(first_s, done_s)
        sample.done_s = done_s
        sample.input_tokens = request.get("num_input_tokens")
        sample.output_tokens = request.get("num_output_tokens")
        sample.reasoning_tokens = request.get("num_reasoning_tokens")
    else:
        sample.error = error_word(request.get("error_message"), status)
    return sample


def _published(aggregated: Mapping[str, Any], seconds: float) -> list[dict[str, Any]]:
    rows = []
    for name in _LATENCIES:
        values = (aggregated.get("stats") or {}).get(name) or {}
        for statistic in _STATISTICS:
            if values.get(statistic) is not None:
                rows += published_rows(name, statistic, 1e3 * seconds * values[statistic], "ms")
    rows += published_rows(
        "requests_per_second", "mean", aggregated.get("requests_per_second"), "per_s"
    )
    return rows


# ---- llmperf

_REQUESTS, _SUMMARY = "_individual_responses.json", "_summary.json"
_RESULTS = ("ttft_s", "inter_token_latency_s", "end_to_end_latency_s")
_QUANTILES = {"mean": "mean"} | {p: f"quantiles_{p}" for p in ("p50", "p95", "p99")}


def read_llmperf_requests(file: ResultFile) -> Run:
    """A run from the responses, with the load from the summary beside them, if it is."""
    beside = Path(str(file.path).removesuffix(_REQUESTS) + _SUMMARY)
    return _llmperf(file.document, documents(beside)[0] if beside.is_file() else {})


def read_llmperf_summary(file: ResultFile) -> Run:
    """A run from the summary, with the responses beside it; without samples if they are not."""
    beside = Path(str(file.path).removesuffix(_SUMMARY) + _REQUESTS)
    return _llmperf(documents(beside)[0] if beside.is_file() else [], file.document)


def _llmperf(requests: Sequence[Mapping[str, Any]], summary: Mapping[str, Any]) -> Run:
    notes = [
        *_UNTIMED,
        "Tokens are counted by a tokenizer of Llama's, whatever the model: that count is not "
        "taken, and TPOT is null.",
    ]
    if not requests:
        notes = [
            f"The requests are missing (the file that ends in {_REQUESTS}, beside the summary)"
            ": nothing can be derived."
        ]
    published = [
        row
        for name in _RESULTS
        for statistic, key in _QUANTILES.items()
        for seconds in [summary.get(f"results_{name}_{key}")]
        for row in published_rows(name, statistic, seconds and 1e3 * seconds, "ms")
    ]
    return imported(
        "llmperf",
        summary.get("version"),
        [_response(i, request) for i, request in enumerate(requests)],
        clock=PER_REQUEST,
        published=published,
        notes=notes,
        load={
            "process": "closed",
            "concurrency": summary.get("num_concurrent_requests"),
            "n": len(requests) or summary.get("results_num_completed_requests"),
        },
        endpoint={"model": summary.get("model")},
        lengths={
            "source": "llmperf" if summary else None,
            "input_tokens": summary.get("mean_input_tokens"),
            "output_tokens": summary.get("mean_output_tokens"),
        },
        started_unix_s=summary.get("timestamp"),
    )


def _response(index: int, response: Mapping[str, Any]) -> Sample:
    code = response.get("error_code")
    status = int(str(code)) if str(code).isdigit() else None
    ok = code is None and not response.get("error_msg")
    sample = Sample(index, "measure", 0.0, 0.0, ok=ok, http_status=status)
    if ok:
        first_s, done_s = (number(response[name]) for name in ("ttft_s", "end_to_end_latency_s"))
        sample.content_times_s = between(first_s, done_s)
        sample.done_s = done_s
    else:
        sample.error = error_word(response.get("error_msg"), status)
    return sample

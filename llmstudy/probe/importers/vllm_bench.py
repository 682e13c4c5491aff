"""What did `vllm bench` measure?

`serve` with `--save-detailed` writes, per request, when it was sent, its TTFT, and the gap before
each further chunk. Three things need care (read and measured with 0.32.0):

- A chunk counts if it has `choices`, so on the chat API the opening chunk, which carries a role and
  no text, is its first token. N tokens come in N chunks at most, so any request with one chunk more
  proves the role chunk, and it opens every stream of the run. Two more prove a closing chunk
  without text as well; on the completions API, which has no roles, one more proves that.
- `start_times` are of dispatch: `queue_times` before it the request was wanted.
- A failed request has zeros. A server that sends no reason phrase leaves its error text empty, so a
  TTFT of zero tells it as well.
"""

import re
from collections.abc import Mapping
from math import isinf
from typing import Any

import numpy as np

from llmstudy.probe.importers.result_file import (
    ResultFile,
    UnreadableError,
    error_word,
    imported,
    published_rows,
)
from llmstudy.probe.samples import Run, Sample

_LISTS = ("start_times", "ttfts", "itls", "input_lens", "output_lens", "errors")
_RATES = ("request_throughput", "output_throughput", "total_token_throughput", "request_goodput")
_WITHOUT_TEXT = {("chat", 1): (1, 0), ("chat", 2): (1, 1), ("completions", 1): (0, 1)}
"""Chunks without text that open and close every stream, by API and chunks beyond the tokens."""
_APIS = {"openai": "completions", "vllm": "completions", "openai-chat": "chat"}


def read_serve(file: ResultFile) -> Run:
    """A run from `vllm bench serve`; without samples unless it was saved with every detail."""
    result = file.one_of(file.documents)
    rate = float(result["request_rate"])
    kind = result.get("endpoint_type") or result.get("backend")
    api = _APIS.get(kind, kind)
    samples: list[Sample] = []
    notes: list[str] = []
    if missing := [name for name in _LISTS if name not in result]:
        notes.append(
            f"Per-request times are missing ({', '.join(missing)}): nothing can be derived. Run "
            "`vllm bench serve` again with --save-result --save-detailed."
        )
    else:
        lists = [name for name in (*_LISTS, "queue_times") if result.get(name) is not None]
        lengths = {name: len(result[name]) for name in lists}
        if len(set(lengths.values())) > 1:
            raise UnreadableError(
                f"{file.path}: lists of one length each are needed, found {lengths}"
            )
        surplus = _chunks_beyond_tokens(result)
        opening, closing = _WITHOUT_TEXT.get((str(api), surplus), (0, 0))
        samples = _samples(result, opening, closing, closed=isinf(rate))
        notes += _notes(api, surplus, opening, closing)
    return imported(
        "vllm-bench-serve",
        None,
        samples,
        clock="monotonic",
        published=_published(result),
        notes=notes,
        load=_load(result, rate),
        endpoint={"model": result.get("model_id"), "api": api},
        wall_s=result.get("duration"),
    )


def read_throughput(file: ResultFile) -> Run:
    """A run without samples from `vllm bench throughput`, which times the whole batch."""
    result = file.one_of(file.documents)
    rates = [
        row
        for name in ("requests_per_second", "tokens_per_second")
        for row in published_rows(name, "mean", result[name], "per_s")
    ]
    return _offline("vllm-bench-throughput", result, rates, result["num_requests"])


def read_latency(file: ResultFile) -> Run:
    """A run without samples from `vllm bench latency`, which times whole batches."""
    result = file.one_of(file.documents)
    rows = published_rows("avg_latency", "mean", 1e3 * result["avg_latency"], "ms")
    for percent, value in result["percentiles"].items():
        rows += published_rows("percentiles", f"p{percent}", 1e3 * value, "ms")
    return _offline("vllm-bench-latency", result, rows, None)


def _offline(tool: str, result: Mapping[str, Any], rows: list[dict[str, Any]], n: Any) -> Run:
    return imported(
        tool,
        None,
        [],
        clock="monotonic",
        published=rows,
        notes=["The file times batches, not requests: nothing can be derived."],
        load={"process": "closed", "n": n},
        endpoint={"model": result.get("model_id"), "engine": "vllm"},
        wall_s=result.get("elapsed_time"),
    )


def _chunks_beyond_tokens(result: Mapping[str, Any]) -> int:
    """By how many its chunks outnumber the tokens of a request: the most of any, 0 or more."""
    counted = zip(result["itls"], result["output_lens"], result["errors"], strict=True)
    beyond = [len(gaps) + 1 - tokens for gaps, tokens, error in counted if tokens and not error]
    return max(0, *beyond) if beyond else 0


def _samples(
    result: Mapping[str, Any], opening: int, closing: int, *, closed: bool
) -> list[Sample]:
    dispatched = np.array(result["start_times"], dtype=float)
    queued = np.array(result.get("queue_times") or np.zeros(len(dispatched)), dtype=float)
    # at an infinite rate nothing was scheduled: each request goes as soon as the cap lets it
    scheduled = dispatched if closed else dispatched - queued
    origin = scheduled.min(initial=np.inf)
    samples = []
    for i, (ttft, gaps, error) in enumerate(
        zip(result["ttfts"], result["itls"], result["errors"], strict=True)
    ):
        ok = not error and ttft > 0
        sent = float(dispatched[i] - origin)
        sample = Sample(i, "measure", float(scheduled[i] - origin), sent, ok=ok)
        if ttft > 0:
            times = (sent + np.cumsum([ttft, *gaps])).tolist()
            sample.content_times_s = times[opening : len(times) - closing]
            sample.done_s = times[-1] if ok else None
        if ok:
            sample.input_tokens = result["input_lens"][i]
            sample.output_tokens = result["output_lens"][i]
        else:
            sample.error = error_word(error)
        samples.append(sample)
    return samples


def _notes(api: str | None, surplus: int, opening: int, closing: int) -> list[str]:
    notes = [
        "Requests were wanted at start_times less queue_times; how late the tool woke to its own "
        "schedule is not in the file.",
        "Token counts are the server's where it sent usage, else the client's: the file does not "
        "say which.",
    ]
    if opening:
        notes.append(
            "A chunk without text opens every stream (the role): TTFT is of the chunk after it, "
            "and the gap between the two is left out."
        )
    elif surplus and not closing:
        notes.append(
            f"A request has {surplus} chunks more than tokens: its tokens are not the server's, or "
            "chunks without text are among its times."
        )
    elif api == "chat":
        notes.append(
            "No request shows whether a chunk without text opened its stream: if one did, TTFT is "
            "too short."
        )
    if closing:
        notes.append("A chunk without text closes every stream: it is left out.")
    return notes


def _load(result: Mapping[str, Any], rate: float) -> dict[str, Any]:
    burstiness = float(result.get("burstiness", 1.0))
    cap = result.get("max_concurrency")
    n = result.get("num_prompts", result["completed"])
    if isinf(rate):  # all at once, or as many as the cap lets through: a closed loop
        return {"process": "closed", "concurrency": cap or n, "n": n}
    process = {1.0: "poisson", np.inf: "constant"}.get(burstiness, "gamma")
    return {
        "process": "ramp" if result.get("ramp_up_strategy") else process,
        "rate_per_s": rate,
        "burstiness": None if isinf(burstiness) else burstiness,
        "concurrency": cap,
        "n": n,
    }


def _published(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for key, value in result.items():
        if found := re.fullmatch(r"(mean|median|p\d+(?:\.\d+)?)_(\w+)_ms", key):
            statistic = found[1].replace("median", "p50")
            rows += published_rows(found[2], statistic, value, "ms")
    for name in (*_RATES, "max_output_tokens_per_s"):
        rows += published_rows(name, "mean", result.get(name), "per_s")
    return list({(row["name"], row["statistic"]): row for row in rows}.values())

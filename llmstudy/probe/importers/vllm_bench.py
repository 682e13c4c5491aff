"""What did `vllm bench` measure, or SGLang's `bench_serving`, which grew from it?

`serve` with `--save-detailed` writes, per request, when it was sent, its TTFT, and the gap before
each further chunk. Four things need care (read and measured with 0.32.0):

- A chunk counts if it has `choices`, so on the chat API the opening chunk, which carries a role and
  no text, is its first token. N tokens come in N chunks at most, so any request with one chunk more
  proves the role chunk, and it opens every stream of the run. Two more prove a closing chunk
  without text as well; on the completions API, which has no roles, one more proves that.
- `start_times` are of dispatch: `queue_times` before it the request was wanted.
- A failed request has zeros. A server that sends no reason phrase leaves its error text empty, so a
  TTFT of zero tells it as well.
- Older versions leave out when requests were sent: their latencies hold, and their arrivals say
  nothing.

SGLang's tool (read at 0.5, not run) writes the same lists without the times of sending, with
`--output-details`, and appends each run as a line. It times only chunks with text, so that no role
chunk is among them; on its own API it spreads the gap before a chunk evenly over its tokens.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from math import isinf
from typing import Any

import numpy as np

from llmstudy.probe.importers.result_file import (
    ResultFile,
    UnreadableError,
    between,
    earliest,
    error_word,
    imported,
    number,
    published_rows,
)
from llmstudy.probe.run import PER_REQUEST, Run, Sample

_NEEDED = ("ttfts", "output_lens")
_LISTS = (*_NEEDED, "itls", "latencies", "start_times", "queue_times", "input_lens", "errors")
_RATES = ("request_throughput", "output_throughput", "total_token_throughput", "request_goodput")
_WITHOUT_TEXT = {("chat", 1): (1, 0), ("chat", 2): (1, 1), ("completions", 1): (0, 1)}
"""Chunks without text that open and close every stream, by API and chunks beyond the tokens."""
_APIS = {
    **dict.fromkeys(("openai", "vllm", "sglang-oai", "lmdeploy"), "completions"),
    **dict.fromkeys(("openai-chat", "vllm-chat", "sglang-oai-chat", "lmdeploy-chat"), "chat"),
    **dict.fromkeys(("sglang", "sglang-native"), "generate"),
}
_DETAILS = {
    "vllm-bench-serve": "`vllm bench serve` again with --save-result --save-detailed",
    "sglang-bench-serving": "`sglang.bench_serving` again with --output-details",
}
"""By tool: the command that writes each request."""


def read_serve(file: ResultFile) -> Run:
    """A run from `vllm bench serve`; without samples unless it was saved with every detail."""
    return _read_serving(file, "vllm-bench-serve")


def read_sglang(file: ResultFile) -> Run:
    """A run from a line of SGLang's `bench_serving`, likewise."""
    return _read_serving(file, "sglang-bench-serving")


def _read_serving(file: ResultFile, tool: str) -> Run:
    result = _chosen(file)
    kind = result.get("endpoint_type") or result.get("backend")
    api = _APIS.get(kind, kind)
    load = _load(result)
    lists: dict[str, Any] = {k: result[k] for k in _LISTS if result.get(k) is not None}
    if "itls" in lists:
        lists.pop("latencies", None)
    missing = [name for name in _NEEDED if name not in lists]
    if not {"itls", "latencies"} & set(lists):
        missing.append("itls")
    opening, closing = 0, 0
    samples: list[Sample] = []
    if missing:
        notes = [
            f"Per-request times are missing ({', '.join(missing)}): nothing can be derived. Run "
            f"{_DETAILS[tool]}."
        ]
    else:
        lengths = {name: len(values) for name, values in lists.items()}
        if len(set(lengths.values())) > 1:
            raise UnreadableError(
                f"{file.path}: lists of one length each are needed, found {lengths}"
            )
        for name, value in (("errors", ""), ("input_lens", None), ("itls", None)):
            lists.setdefault(name, [value] * len(lists["ttfts"]))
        notes = _notes(tool, lists)
        if tool == "vllm-bench-serve":
            surplus = _chunks_beyond_tokens(lists)
            opening, closing = _WITHOUT_TEXT.get((str(api), surplus), (0, 0))
            notes += _chunk_notes(api, surplus, opening, closing)
        samples = _samples(lists, opening, closing, closed=load["process"] == "closed")
    if "date" in result:
        notes.append("The date is of the file's writing, without a time zone: it is taken as UTC.")
    return imported(
        tool,
        None,
        samples,
        clock="monotonic" if "start_times" in lists else PER_REQUEST,
        published=_published(result),
        notes=notes,
        load=load,
        endpoint={"model": result.get("model_id"), "api": api},
        lengths=_lengths(result),
        started_unix_s=_written_unix_s(result.get("date")),
        wall_s=result.get("duration"),
    )


def _chosen(file: ResultFile) -> Any:
    """The result that was asked for, of those in the file, which are called: backend@rate."""
    names = []
    for result in file.documents:
        called = result.get("label") or result.get("tag") or result.get("backend")
        cap = result.get("max_concurrency")
        names.append(f"{called}@{result.get('request_rate')}" + (f"x{cap}" if cap else ""))
    return file.one_of(file.documents, names)


def _written_unix_s(date: Any) -> float | None:
    try:
        return datetime.strptime(date, "%Y%m%d-%H%M%S").replace(tzinfo=UTC).timestamp()
    except (TypeError, ValueError):
        return None


def read_throughput(file: ResultFile) -> Run:
    """A run without samples from `vllm bench throughput`, which times the whole batch."""
    result = file.document
    rates = [
        row
        for name in ("requests_per_second", "tokens_per_second")
        for row in published_rows(name, "mean", result[name], "per_s")
    ]
    return _offline("vllm-bench-throughput", result, rates, result["num_requests"])


def read_latency(file: ResultFile) -> Run:
    """A run without samples from `vllm bench latency`, which times whole batches."""
    result = file.document
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


def _chunks_beyond_tokens(lists: Mapping[str, Sequence[Any]]) -> int:
    """By how many its chunks outnumber the tokens of a request: the most of any, 0 or more."""
    counted = zip(lists["itls"], lists["output_lens"], lists["errors"], strict=True)
    beyond = [len(gaps) + 1 - n for gaps, n, error in counted if gaps and n and not error]
    return max(0, *beyond) if beyond else 0


def _samples(
    lists: Mapping[str, Sequence[Any]], opening: int, closing: int, *, closed: bool
) -> list[Sample]:
    unsent = [0.0] * len(lists["ttfts"])
    dispatched = np.array([number(at) for at in lists.get("start_times", unsent)])
    queued = np.array([number(wait) for wait in lists.get("queue_times", unsent)])
    # at an infinite rate nothing was scheduled: each request goes as soon as the cap lets it
    scheduled = dispatched if closed or "start_times" not in lists else dispatched - queued
    origin = earliest(scheduled.tolist())
    samples = []
    for i, (ttft, gaps, error) in enumerate(
        zip(map(number, lists["ttfts"]), lists["itls"], lists["errors"], strict=True)
    ):
        # a failed request has a TTFT of zero; any other that is none is for the audit to find
        ok = not error and ttft != 0
        sent = float(dispatched[i] - origin)
        sample = Sample(i, "measure", float(scheduled[i] - origin), sent, ok=ok)
        if ok or ttft > 0:
            times = _times(sent, ttft, gaps, lists.get("latencies", unsent)[i])
            sample.content_times_s = times[opening : len(times) - closing]
            sample.done_s = times[-1] if ok else None
        if ok:
            sample.input_tokens = lists["input_lens"][i]
            sample.output_tokens = lists["output_lens"][i]
        else:
            sample.error = error_word(error)
        samples.append(sample)
    return samples


def _times(sent_s: float, ttft: float, gaps: Sequence[Any] | None, latency: Any) -> list[float]:
    if gaps is None:  # the answer's end is all that is known of it
        return between(sent_s + ttft, sent_s + number(latency))
    times: list[float] = (sent_s + np.cumsum([ttft, *map(number, gaps)])).tolist()
    return times


def _notes(tool: str, lists: Mapping[str, Sequence[Any]]) -> list[str]:
    sending = (
        "Requests were wanted at start_times less queue_times; how late the tool woke to its own "
        "schedule is not in the file."
        if "start_times" in lists
        else "When requests were sent is not in the file: arrivals cannot be audited, and "
        "latencies count from the dispatch."
    )
    count = "the client's" if tool == "vllm-bench-serve" else "the number asked for"
    counted = f"Token counts are the server's where it sent usage, else {count}"
    return [sending, f"{counted}: the file does not say which."]


def _chunk_notes(api: str | None, surplus: int, opening: int, closing: int) -> list[str]:
    notes = []
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


def _lengths(result: Mapping[str, Any]) -> dict[str, Any]:
    """What SGLang's tool asked for, where every request was asked the same."""
    if result.get("dataset_name") != "random" or result.get("random_range_ratio") != 1:
        return {"source": result.get("dataset_name")}
    means = {f"{part}_tokens": result.get(f"random_{part}_len") for part in ("input", "output")}
    return means | {"source": "fixed"}


def _load(result: Mapping[str, Any]) -> dict[str, Any]:
    burstiness = float(result.get("burstiness", 1.0))
    cap = result.get("max_concurrency")
    ttfts = result.get("ttfts")
    n = result.get("num_prompts") or (len(ttfts) if ttfts else result["completed"])
    if result["request_rate"] == "trace":
        return {"process": "replay", "concurrency": cap, "n": n}
    rate = float(result["request_rate"])
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
        if match := re.fullmatch(r"(mean|median|p\d+(?:\.\d+)?)_(\w+)_ms", key):
            statistic = match[1].replace("median", "p50")
            rows += published_rows(match[2], statistic, value, "ms")
    for name in (*_RATES, "max_output_tokens_per_s"):
        rows += published_rows(name, "mean", result.get(name), "per_s")
    return list({(row["name"], row["statistic"]): row for row in rows}.values())

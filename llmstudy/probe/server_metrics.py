"""What did the server count during a run, and does the client's measurement agree?

vLLM keeps counters and histograms for Prometheus under `/metrics`. They only grow: a run is the
difference of two readings. What other clients sent meanwhile, and the run's own warm-up, is in it.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

import numpy as np
import pandas as pd

from llmstudy.probe.run import chunk_gaps_s, with_metrics

LATENCIES = {
    "ttft_s": "vllm:time_to_first_token_seconds",
    "itl_s": "vllm:inter_token_latency_seconds",
    "e2e_s": "vllm:e2e_request_latency_seconds",
    "queue_s": "vllm:request_queue_time_seconds",
    "prefill_s": "vllm:request_prefill_time_seconds",
    "decode_s": "vllm:request_decode_time_seconds",
}
"""vLLM's histograms by our names. Its TTFT and E2E run from arrival at the server."""

_LINE = re.compile(
    r"(?P<name>[a-zA-Z_:][\w:]*)"
    r'(?:\{(?P<labels>(?:[^"}]|"(?:[^"\\]|\\.)*")*)\})?'
    r"[ \t]+(?P<value>\S+)"
)
_TYPE = re.compile(r"# TYPE (\S+) (\S+)")


@contextmanager
def counters(base_url: str) -> Iterator[dict[str, float]]:
    """Counts of a running vLLM server while the block runs.

    base_url: with or without /v1. Yields a table that is empty until the block ends, and then holds
    the growth of each counter and of each histogram's `_sum` and `_count`, by the server's own
    names, summed over labels.
    Raises: ValueError if the server does not answer, or was restarted meanwhile.
    """
    before = read_counters(base_url)
    grown: dict[str, float] = {}
    yield grown
    grown.update(growth(before, read_counters(base_url)))


def read_counters(base_url: str, timeout_s: float = 10.0) -> dict[str, float]:
    """The server's counters now, by name, from its start. Raises ValueError as `counters` does."""
    url = base_url.rstrip("/").removesuffix("/v1") + "/metrics"
    counts = parse_counters(_get(url, timeout_s))
    if not counts:
        raise ValueError(f"{url} has no vLLM counters: is that a vLLM server?")
    return counts


def engine_version(base_url: str, timeout_s: float = 10.0) -> str | None:
    """The version of a running vLLM; None where it does not say. Raises as `counters`."""
    answer = json.loads(_get(base_url.rstrip("/").removesuffix("/v1") + "/version", timeout_s))
    return str(answer["version"]) if "version" in answer else None


def parse_counters(text: str) -> dict[str, float]:
    """Counters of vLLM in Prometheus' text format, summed over labels.

    Left out: gauges, buckets of histograms, and counters of other programs.
    Source: https://prometheus.io/docs/instrumenting/exposition_formats/

    >>> parse_counters('''# TYPE vllm:prompt_tokens_total counter
    ... vllm:prompt_tokens_total{engine="0"} 3.0
    ... vllm:prompt_tokens_total{engine="1"} 4.0
    ... ''')
    {'vllm:prompt_tokens_total': 7.0}
    """
    kinds = {}
    totals: dict[str, float] = defaultdict(float)
    for line in text.split("\n"):
        if declared := _TYPE.match(line):
            kinds[declared[1]] = declared[2]
        elif sample := _LINE.match(line):
            name = sample["name"]
            stem = name.removesuffix("_sum").removesuffix("_count")
            counted = kinds.get(name) == "counter" or (
                stem != name and kinds.get(stem) == "histogram"
            )
            if counted and name.startswith("vllm:"):
                totals[name] += float(sample["value"])
    return dict(totals)


def growth(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Growth of each counter. Raises ValueError if one fell: the server was restarted.

    >>> growth({"a": 1.0}, {"a": 3.0, "b": 1.0})
    {'a': 2.0, 'b': 1.0}
    """
    grown = {name: value - before.get(name, 0.0) for name, value in after.items()}
    fallen = [name for name, value in before.items() if after.get(name, 0.0) < value]
    if fallen:
        raise ValueError(
            f"{fallen[0]} fell during the run: the server was restarted, so its counters and the "
            "run's requests are not of one server; run again"
        )
    return grown


def server_view(grown: Mapping[str, float]) -> dict[str, float | None]:
    """The server's metrics of a run. grown: as `counters` gives.

    Returns: requests, input_tokens, output_tokens, preemptions; prefix_cache_hit_share (of the
    tokens it looked up); the mean of each of `LATENCIES` in seconds. None where it counted nothing.

    >>> view = server_view({"vllm:request_queue_time_seconds_sum": 3.0,
    ...                     "vllm:request_queue_time_seconds_count": 2.0})
    >>> view["queue_s"], view["ttft_s"]
    (1.5, None)
    """

    def share(part: str, whole: str) -> float | None:
        return grown.get(part, 0.0) / grown[whole] if grown.get(whole) else None

    return {
        "requests": grown.get("vllm:e2e_request_latency_seconds_count"),
        "input_tokens": grown.get("vllm:prompt_tokens_total"),
        "output_tokens": grown.get("vllm:generation_tokens_total"),
        "preemptions": grown.get("vllm:num_preemptions_total"),
        "prefix_cache_hit_share": share(
            "vllm:prefix_cache_hits_total", "vllm:prefix_cache_queries_total"
        ),
    } | {ours: share(f"{name}_sum", f"{name}_count") for ours, name in LATENCIES.items()}


def against_server(samples: pd.DataFrame, grown: Mapping[str, float]) -> pd.DataFrame:
    """Mean latencies of the same requests as client and server measured them.

    The client's are from dispatch, without the wait in its own queue; the difference is the
    network, HTTP, and the client itself. Several tokens may share a chunk: only where each has a
    chunk of its own are both ITL the same quantity.

    samples: columns of `Sample`, the warm-up included, since the server counted it too.
    Returns: one row per metric: metric, client_mean_s, client_n, server_mean_s, server_n,
    client_minus_server_s. Null where a side has no figure.
    """
    answered = with_metrics(samples[samples["ok"]])
    client = {
        "ttft_s": answered["ttft_s"] - answered["client_queue_s"],
        "itl_s": pd.Series(chunk_gaps_s(samples)),
        "e2e_s": answered["e2e_s"] - answered["client_queue_s"],
    }
    rows = []
    for metric, values in client.items():
        seconds = values.dropna().to_numpy(dtype=float)
        n = grown.get(f"{LATENCIES[metric]}_count", 0.0)
        rows.append(
            {
                "metric": metric,
                "client_mean_s": seconds.mean() if len(seconds) else np.nan,
                "client_n": len(seconds),
                "server_mean_s": grown[f"{LATENCIES[metric]}_sum"] / n if n else np.nan,
                "server_n": int(n),
            }
        )
    table = pd.DataFrame(rows)
    return table.assign(client_minus_server_s=table["client_mean_s"] - table["server_mean_s"])


def _get(url: str, timeout_s: float) -> str:
    """The text at an address. Raises ValueError that names the address."""
    parts = urlsplit(url)
    if not parts.hostname:
        raise ValueError(f"{url} is no address: write http://HOST:PORT")
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=timeout_s)
    try:
        connection.request("GET", parts.path)
        answer = connection.getresponse()
        text = answer.read().decode()
    except (OSError, HTTPException) as error:
        raise ValueError(f"{url} does not answer: {error}. Is the server running?") from error
    finally:
        connection.close()
    if answer.status != 200:
        raise ValueError(f"{url} answers {answer.status}: is that a vLLM server?")
    return text

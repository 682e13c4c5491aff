"""What did the server count during a run, and does the client's measurement agree?

vLLM has counters and histograms for Prometheus under `/metrics`. They only grow: a run is the
difference of two readings. It includes the run's own warm-up and the requests of other clients.
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

    base_url: with or without /v1. Yields a mapping that is empty until the block ends, and then has
    the increase of each counter and of each histogram's `_sum` and `_count`, by the server's own
    names, summed over labels.
    Raises: ValueError if the server does not answer, or was restarted meanwhile.
    """
    before = read_counters(base_url)
    increase: dict[str, float] = {}
    yield increase
    after = read_counters(base_url)
    if fallen := [name for name, value in before.items() if after.get(name, 0.0) < value]:
        raise ValueError(
            f"{fallen[0]} fell during the run: the server was restarted, so its counters and the "
            "run's requests are not of one server; run again"
        )
    increase.update({name: value - before.get(name, 0.0) for name, value in after.items()})


def read_counters(base_url: str) -> dict[str, float]:
    """The server's counters now, by name, from its start. Raises ValueError as `counters` does."""
    counts = parse_counters(page(base_url, "/metrics"))
    if not counts:
        raise ValueError(f"{base_url} has no vLLM counters: give the address of a vLLM server")
    return counts


def engine_version(base_url: str) -> str | None:
    """The version of a running vLLM; None where it gives none. Raises as `counters`."""
    answer = json.loads(page(base_url, "/version"))
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


def against_server(samples: pd.DataFrame, increase: Mapping[str, float]) -> pd.DataFrame:
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
        n = increase.get(f"{LATENCIES[metric]}_count", 0.0)
        rows.append(
            {
                "metric": metric,
                "client_mean_s": seconds.mean() if len(seconds) else np.nan,
                "client_n": len(seconds),
                "server_mean_s": increase[f"{LATENCIES[metric]}_sum"] / n if n else np.nan,
                "server_n": int(n),
            }
        )
    table = pd.DataFrame(rows)
    return table.assign(client_minus_server_s=table["client_mean_s"] - table["server_mean_s"])


def page(base_url: str, path: str) -> str:
    """The text of a server's page. Raises ValueError that names its address."""
    url = base_url.rstrip("/").removesuffix("/v1") + path
    parts = urlsplit(url)
    if not parts.hostname:
        raise ValueError(f"{url} is no address: write http://HOST:PORT")
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=10)
    try:
        connection.request("GET", parts.path)
        answer = connection.getresponse()
        text = answer.read().decode()
    except (OSError, HTTPException) as error:
        raise ValueError(f"{url} does not answer ({error}): start the server first") from error
    finally:
        connection.close()
    if answer.status != 200:
        raise ValueError(
            f"{url} answers {answer.status}: give the address of a vLLM server, up to /v1"
        )
    return text

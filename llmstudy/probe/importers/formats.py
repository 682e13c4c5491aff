"""Finds the tool of a result file by its content, never by its name."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmstudy.probe.importers import aiperf, genai_bench, guidellm, inference_perf, vllm_bench
from llmstudy.probe.importers.result_file import ResultFile, UnreadableError, documents
from llmstudy.probe.run import Run


@dataclass(frozen=True)
class Format:
    """A kind of result file: its tool, the keys by which it is recognised, and its reader."""

    tool: str
    keys: frozenset[str]
    """Keys of the file's object, or of the first one where it holds a list or lines; a.b is key b
    within a, or within the first of the objects that a lists."""
    read: Callable[[ResultFile], Run]
    several: bool = False
    """Whether a file may hold several results, of which one is read."""

    @property
    def telltale(self) -> str:
        """The tool and its keys, for an error message."""
        return f"{self.tool} by {', '.join(sorted(self.keys))}"


def _format(
    tool: str, keys: str, read: Callable[[ResultFile], Run], several: bool = False
) -> Format:
    return Format(tool, frozenset(keys.split()), read, several)


FORMATS = [
    _format(
        "sglang-bench-serving",
        "total_output_tokens_retokenized request_throughput completed",
        vllm_bench.read_sglang,
        several=True,
    ),
    _format(
        "vllm-bench-serve",
        "request_throughput total_input_tokens completed",
        vllm_bench.read_serve,
        several=True,
    ),
    _format(
        "vllm-bench-throughput",
        "elapsed_time num_requests tokens_per_second",
        vllm_bench.read_throughput,
    ),
    _format("vllm-bench-latency", "avg_latency latencies percentiles", vllm_bench.read_latency),
    _format("guidellm", "benchmarks.metrics benchmarks.requests", guidellm.read, several=True),
    _format("aiperf", "metadata metrics", aiperf.read_records),
    _format("aiperf", "input_config aiperf_version", aiperf.read_summary),
    _format("aiperf", "input_config.loadgen", aiperf.read_summary),
    _format("genai-perf", "input_config request_throughput", aiperf.read_genai_perf),
    _format("genai-perf", "experiments service_kind", aiperf.refuse_raw_genai_perf),
    _format("inference-perf", "start_time end_time info", inference_perf.read_requests),
    _format("inference-perf", "load_summary successes failures", inference_perf.read_summary),
    _format("genai-bench", "aggregated_metrics individual_request_metrics", genai_bench.read),
    _format("llmperf", "ttft_s end_to_end_latency_s", genai_bench.read_llmperf_requests),
    _format("llmperf", "results_ttft_s_mean", genai_bench.read_llmperf_summary),
]
"""The first whose keys a file has is its format."""

TOOLS = list(dict.fromkeys(format.tool for format in FORMATS))


def read_results(
    path: str | Path, tool: str | None = None, benchmark: int | str | None = None
) -> Run:
    """Reads a run from the result file of another load tool.

    path: of `vllm bench serve --save-result --save-detailed`, `vllm bench throughput` and `latency`
    with `--output-json`, SGLang's `bench_serving --output-details`, guidellm's JSON, aiperf's
    `profile_export.jsonl` or `profile_export_aiperf.json` (each looks for the other beside it),
    genai-perf's summary, inference-perf's `per_request_lifecycle_metrics.json` or a summary
    (likewise), genai-bench's JSON of a run, llmperf's responses or summary (likewise).
    tool: one of `TOOLS`; None: recognised by the content. benchmark: its number from 0 or its name,
    where the file has several (guidellm; `vllm bench serve --append-result`; SGLang).

    Returns: samples by their place in the schedule, times in seconds since the first was scheduled;
    no samples where the file has none. The facts are described in `llmstudy.probe.importers`.
    Raises: ValueError if the tool is unknown, or the file is of none of them or not of the one
    named, lacks what its format has, or holds several benchmarks and none was named.
    """
    path = Path(path)
    if tool is not None and tool not in TOOLS:
        raise ValueError(f"tool {tool!r} is not known: choose one of {', '.join(TOOLS)}")
    results = documents(path)
    keys = _keys(results[0])
    fitting = next((f for f in FORMATS if f.keys <= keys), None)
    if fitting is None or tool not in (None, fitting.tool):
        is_no = (
            "no result file of a tool that we read"
            if fitting is None
            else (f"a result of {fitting.tool} and not of {tool}")
        )
        telltales = "; ".join(f.telltale for f in FORMATS if tool in (None, f.tool))
        raise UnreadableError(f"{path} is {is_no}, told by keys: {telltales}")
    if benchmark is not None and not fitting.several:
        raise UnreadableError(
            f"{path} is of {fitting.tool}, whose files hold one result: leave out --benchmark"
        )
    name = None if benchmark is None else str(benchmark)
    try:
        return fitting.read(ResultFile(path, results, name))
    except UnreadableError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
        raise UnreadableError(
            f"{path} looks like a result of {fitting.tool} but is not of the format we read: "
            f"{type(error).__name__} {error}"
        ) from error


def _keys(document: Any) -> frozenset[str]:
    """The keys of a document as `Format` writes them."""
    top = _first(document)
    within = {f"{key}.{inner}" for key, value in top.items() for inner in _first(value)}
    return frozenset(top) | within


def _first(value: Any) -> dict[str, Any]:
    """An object, or the first that a list holds; empty for anything else."""
    value = value[0] if isinstance(value, list) and value else value
    return value if isinstance(value, dict) else {}

"""Recognises the tool of a result file by its content, never by its name, and reads it."""

from pathlib import Path
from typing import Any

from llmstudy.probe.importers.mapping import formats
from llmstudy.probe.importers.reader import Reader
from llmstudy.probe.importers.result_file import UnreadableError, documents
from llmstudy.probe.importers.tools import READERS
from llmstudy.probe.run import Run

TOOLS = list(formats())


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
        raise ValueError(f"tool {tool!r} is not one that we read: choose one of {', '.join(TOOLS)}")
    contents = documents(path)
    keys = _keys(contents[0])
    every = [(how, *each) for how in formats().values() for each in how.keys]
    fitting = next((each for each in every if each[2] <= keys), None)
    if fitting is None or tool not in (None, fitting[0].tool):
        kind = (
            f"a result of {fitting[0].tool} and not of {tool}"
            if fitting
            else "no result file of a tool that we read"
        )
        by_keys = "; ".join(
            f"{how.tool} by {', '.join(sorted(names))}"
            for how, _, names in every
            if tool in (None, how.tool)
        )
        raise UnreadableError(f"{path} is {kind}. Files are recognised by their keys: {by_keys}")
    how, file_is, _ = fitting
    reader = READERS.get((how.tool, file_is), Reader)
    if benchmark is not None and not reader.several:
        raise UnreadableError(
            f"{path} is of {how.tool}, whose files hold one result: leave out --benchmark"
        )
    number_or_name = None if benchmark is None else str(benchmark)
    try:
        return reader(how, path, contents, file_is, number_or_name).read()
    except UnreadableError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
        raise UnreadableError(
            f"{path} looks like a result of {how.tool} but its format is another than we read: "
            f"{type(error).__name__} {error}"
        ) from error


def _keys(document: Any) -> frozenset[str]:
    """The keys of a document; a.b is key b within a, or within the first object of a list a."""
    top = _first(document)
    within = {f"{key}.{inner}" for key, value in top.items() for inner in _first(value)}
    return frozenset(top) | within


def _first(value: Any) -> dict[str, Any]:
    """An object, or the first that a list holds; empty for anything else."""
    value = value[0] if isinstance(value, list) and value else value
    return value if isinstance(value, dict) else {}

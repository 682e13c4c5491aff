"""What is every reader handed, and what does it hand back?"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from llmstudy.probe.samples import Run, Sample, table

_ERROR_WORDS = {
    r"timed?[ -]?out": "timeout",
    r"\b429\b|too many requests|rate.?limit": "rate_limited",
    r"payload|incomplete|disconnected|\beof\b": "cut",
    r"connect|refused|reset|unreachable|\bdns\b": "connection",
    r"json|decode|malformed": "malformed",
    r"never received|no (content|chunk|token)|empty": "empty",
}
"""Looked for in this order in the text of an error."""

_FACTS = {
    "endpoint": "base_url model api engine engine_version",
    "load": "process rate_per_s burstiness concurrency n warmup_n seed time_scale",
    "lengths": "source input_tokens output_tokens shared_prefix_share",
    "client": "wall_s cpu_share loop_lag_p50_s loop_lag_p99_s loop_lag_max_s",
    "spend": "estimated_usd cap_usd spent_usd",
}
"""The facts of a run that have parts, as in `llmstudy.probe.record`."""


class UnreadableError(ValueError):
    """What is wrong with a result file, in a sentence that names it."""


@dataclass(frozen=True)
class ResultFile:
    """A file taken apart: one document, or one per line."""

    path: Path
    documents: list[Any]
    benchmark: int | None
    """Which of the results in the file is wanted; None: there is one."""

    @property
    def document(self) -> Any:
        """The whole file. Raises: UnreadableError if it is one document per line."""
        if (n := len(self.documents)) > 1:
            raise UnreadableError(f"{self.path} holds {n} lines: one result is needed")
        return self.documents[0]

    def one_of(self, results: Sequence[Any]) -> Any:
        """The result that was asked for.

        Raises: UnreadableError if there are several and none was named, or no such one.
        """
        wanted = 0 if self.benchmark is None and len(results) == 1 else self.benchmark
        if wanted is None or not 0 <= wanted < len(results):
            raise UnreadableError(
                f"{self.path} holds {len(results)} benchmarks: name one, "
                f"benchmark=0 is the first and benchmark={len(results) - 1} the last"
            )
        return results[wanted]


def documents(path: Path) -> list[Any]:
    """The JSON documents of a file: the whole of it, or each of its lines.

    Raises: UnreadableError if the file is absent or empty, or is not JSON, with its line.
    """
    if not path.is_file():
        raise UnreadableError(f"{path} is no file: give the result file of a load tool")
    text = path.read_text(encoding="utf-8")
    try:
        return [json.loads(text)]
    except ValueError:
        pass
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            found += [json.loads(line)] if line.strip() else []
        except ValueError as error:
            raise UnreadableError(f"{path}:{number} is not JSON: {error}") from error
    if not found:
        raise UnreadableError(f"{path} is empty: give the result file of a load tool")
    return found


def imported(
    tool: str,
    version: str | None,
    samples: Sequence[Sample],
    *,
    clock: str,
    published: Sequence[Mapping[str, Any]],
    notes: Sequence[str],
    load: Mapping[str, Any],
    endpoint: Mapping[str, Any] | None = None,
    lengths: Mapping[str, Any] | None = None,
    started_unix_s: float | None = None,
    wall_s: float | None = None,
    ended: str = "complete",
) -> Run:
    """A run of ours with the facts that a file gives; what it does not give is None."""
    given = {
        "endpoint": endpoint or {},
        "load": load,
        "lengths": lengths or {},
        "client": {"wall_s": wall_s},
        "spend": {},
    }
    facts: dict[str, Any] = {
        "schema_version": "1",
        "tool": {"name": tool, "version": version},
        "started_at": None,
        "ended": ended,
        "serving": {},
        "server_counters": {},
        "clock": clock,
        "published": [dict(row) for row in published],
        "notes": list(notes),
    }
    if started_unix_s is not None:
        facts["started_at"] = datetime.fromtimestamp(started_unix_s, UTC).isoformat()
    for part, keys in _FACTS.items():
        facts[part] = dict.fromkeys(keys.split()) | dict(given[part])
    return Run(table(samples), facts)


def published_rows(name: str, statistic: str, value: Any, unit: str) -> list[dict[str, Any]]:
    """One number of a tool's summary as a row; no row where the tool gave no number.

    >>> published_rows("ttft", "p95", 61.4, "ms")
    [{'name': 'ttft', 'statistic': 'p95', 'value': 61.4, 'unit': 'ms'}]
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return []
    return [{"name": name, "statistic": statistic, "value": float(value), "unit": unit}]


def error_word(text: str | None, status: int | None = None) -> str:
    """The word of `Sample.error` for an error in a tool's own words, or for an HTTP status.

    >>> error_word("Too Many Requests"), error_word("ServerTimeoutError: ..."), error_word("", 503)
    ('rate_limited', 'timeout', 'http_503')
    """
    if status is not None and status >= 400:
        return "rate_limited" if status == 429 else f"http_{status}"
    # of a traceback the last line: those before quote code
    last = (text or "").strip().lower().rpartition("\n")[2]
    words = [word for pattern, word in _ERROR_WORDS.items() if re.search(pattern, last)]
    http = re.search(r"\b([45]\d\d)\b", last)
    return words[0] if words else f"http_{http[1]}" if http else "server_error"

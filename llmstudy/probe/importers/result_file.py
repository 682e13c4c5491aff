"""The input of every reader of result files, and the run that it makes."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite, nan
from pathlib import Path
from typing import Any

from llmstudy.probe.run import Run, Sample, table

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
"""The facts of a run that have parts, as in `llmstudy.probe.run`."""


_BINARY = {
    b"\x1f\x8b": "compressed by gzip: unpack it first",
    b"\x28\xb5\x2f\xfd": "compressed by zstd: unpack it first",
    b"BZh": "compressed by bzip2: unpack it first",
    b"PK\x03\x04": "a zip archive or an Excel workbook: give the JSON file",
    b"PAR1": "a Parquet table: give the JSON file",
    b"SQLite format 3": "an SQLite database: give the JSON file",
}
"""What a file that is no text is, by its first bytes, and what to do."""


LATEST_S = 1e12
"""No time of a run is farther from its start; such a one is no number."""


class UnreadableError(ValueError):
    """What is wrong with a result file, in a sentence that names it."""


@dataclass(frozen=True)
class ResultFile:
    """A file taken apart: one document, or one per line."""

    path: Path
    documents: list[Any]
    benchmark: str | None
    """The result to read, by number from 0 or name; None: the file has one."""

    @property
    def document(self) -> Any:
        """The whole file. Raises: UnreadableError if it is one document per line."""
        if (n := len(self.documents)) > 1:
            raise UnreadableError(f"{self.path} holds {n} lines: one result is needed")
        return self.documents[0]

    def one_of(self, results: Sequence[Any], names: Sequence[str]) -> Any:
        """The result named by `benchmark`. names: of the results, in their order.

        Raises: UnreadableError if there are several and none was named, or no such one.
        """
        if self.benchmark is None and len(results) == 1:
            return results[0]
        benchmark = (self.benchmark or "").strip().lower()
        fitting = [
            result
            for i, (result, name) in enumerate(zip(results, names, strict=True))
            if benchmark in (str(i), name.lower())
        ]
        if len(fitting) == 1:
            return fitting[0]
        listed = ", ".join(f"{i} ({name})" for i, name in enumerate(names))
        by = "number, since names recur," if len(fitting) > 1 else "number or name"
        raise UnreadableError(
            f"{self.path} holds {len(results)} benchmark{'' if len(results) == 1 else 's'}: "
            f"{listed}. Name one by its {by} with --benchmark"
        )


def documents(path: Path) -> list[Any]:
    """The JSON documents of a file: the whole of it, or each of its lines.

    Raises: UnreadableError if the file is absent or empty, or is not JSON, with its line.
    """
    if not path.is_file():
        raise UnreadableError(f"{path} is no file: give the result file of a load tool")
    text = _text(path)
    try:
        return [json.loads(text, parse_int=_whole)]
    except RecursionError:
        raise UnreadableError(f"{path} is nested too deeply to be a load tool's result") from None
    except ValueError as error:
        whole = error
    lines: list[Any] = []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            lines += [json.loads(line, parse_int=_whole)] if line.strip() else []
        except ValueError as error:
            at, wrong = (number, error) if lines else (getattr(whole, "lineno", number), whole)
            raise UnreadableError(f"{path}:{at} is not JSON: {wrong}") from error
    if not lines:
        raise UnreadableError(f"{path} is empty: give the result file of a load tool")
    return lines


def _text(path: Path) -> str:
    """The text of a file, its byte-order mark left out. Raises: UnreadableError if it is none."""
    raw = path.read_bytes()
    for first, kind in _BINARY.items():
        if raw.startswith(first):
            raise UnreadableError(f"{path} is {kind}")
    marked = raw.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        text = raw.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableError(
            f"{path} is no text in UTF-8 (byte {error.start}): give the result file of a load tool"
        ) from None
    if "\0" in text:
        raise UnreadableError(f"{path} is binary: give the result file of a load tool")
    return text


def _whole(digits: str) -> float:
    """A whole number; infinite where no count or time is so long."""
    return int(digits) if len(digits) < 30 else float(digits)


def number(value: Any) -> float:
    """A number of a file as it stands; NaN where it has none."""
    return nan if value is None else float(value)


def earliest(times: Sequence[float]) -> float:
    """The earliest time that is a number; 0 without any."""
    return min((time for time in times if isfinite(time)), default=0)


def between(first_s: float, last_s: float) -> list[float]:
    """Chunks of which only the first and the last are timed; NaN stands for those between.

    >>> between(0.1, 0.4), between(0.1, 0.1), between(0.4, 0.1)
    ([0.1, nan, 0.4], [0.1], [0.4, 0.1])
    """
    if last_s == first_s:
        return [first_s]
    return [first_s, last_s] if last_s < first_s else [first_s, nan, last_s]


def _with_numbers(sample: Sample) -> Sample:
    """A sample whose times are numbers or NaN; a NaN of the file leaves it without a dispatch.

    The audit then finds it, whatever the time was of: no other value tells it from one unknown.
    """
    times = ("scheduled_s", "dispatched_s", "headers_s", "first_reasoning_s", "done_s")
    times_s = [getattr(sample, name) for name in times if getattr(sample, name) is not None]
    sample.content_times_s = [t if abs(t) < LATEST_S else nan for t in sample.content_times_s]
    if all(abs(time) < LATEST_S for time in times_s):
        return sample
    for name in times[2:]:
        setattr(sample, name, None)
    sample.scheduled_s = sample.dispatched_s = nan
    return sample


def imported(
    tool: str,
    samples: Sequence[Sample],
    given: Mapping[str, Any],
    *,
    clock: str,
    published: Sequence[Mapping[str, Any]],
    notes: Sequence[str],
) -> Run:
    """A run with the facts that a file gives; those that it does not give are None.

    given: the facts by part and name, such as `load.rate_per_s`.
    """
    finite = {k: None if isinstance(v, float) and not isfinite(v) else v for k, v in given.items()}
    started = given.get("started_unix_s")
    facts: dict[str, Any] = {
        "schema_version": "1",
        "tool": {"name": tool, "version": given.get("tool.version")},
        "started_at": datetime.fromtimestamp(started, UTC).isoformat() if started else None,
        "ended": given.get("ended", "complete"),
        "serving": {},
        "server_counters": {},
        "clock": clock,
        "published": list(published),
        "notes": list(notes),
    }
    for part, keys in _FACTS.items():
        facts[part] = {key: finite.get(f"{part}.{key}") for key in keys.split()}
    return Run(table([_with_numbers(sample) for sample in samples]), facts)


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

"""The JSON of a result file, and how its values read: numbers, times, errors."""

import json
import re
from collections.abc import Sequence
from math import isfinite, nan
from pathlib import Path
from typing import Any

_ERROR_WORDS = {
    r"timed?[ -]?out": "timeout",
    r"\b429\b|too many requests|rate.?limit": "rate_limited",
    r"payload|incomplete|disconnected|\beof\b": "cut",
    r"connect|refused|reset|unreachable|\bdns\b": "connection",
    r"json|decode|malformed": "malformed",
    r"never received|no (content|chunk|token)|empty": "empty",
}
"""Looked for in this order in the text of an error."""

_BINARY = {
    b"\x1f\x8b": "compressed by gzip: unpack it first",
    b"\x28\xb5\x2f\xfd": "compressed by zstd: unpack it first",
    b"BZh": "compressed by bzip2: unpack it first",
    b"PK\x03\x04": "a zip archive or an Excel workbook: give the JSON file",
    b"PAR1": "a Parquet table: give the JSON file",
    b"SQLite format 3": "an SQLite database: give the JSON file",
}
"""What a file that is no text is, by its first bytes, and what to do."""


class UnreadableError(ValueError):
    """What is wrong with a result file, in a sentence that names it."""


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

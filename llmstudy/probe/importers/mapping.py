"""Reads a result file by the table data/probe_formats.csv: where each field is, and its unit.

A path names keys from the outside in (`info.timings.request_start`; a number is a place in a list);
of alternatives (`a|b`) the first that is there counts. `values` translates words, and `=word` is
the same for every file.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from math import isfinite, nan
from typing import Any

import numpy as np
import pandas as pd

from llmstudy import paths
from llmstudy.probe.importers.result_file import between, error_word, number
from llmstudy.probe.run import Sample

PER_SECOND = {"s": 1.0, "sec": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
IN_FILE = "in the file"
"""The unit is beside each value, or stated once for the whole file."""

_STATISTICS = {"s": "mean|avg|median|p50|p95|p99", "p": r"mean|avg|median|p?\d+(?:\.\d+)?"}
_OURS = {"avg": "mean", "median": "p50"}
_EMPTY: tuple[Any, ...] = (None, "", {})


@dataclass(frozen=True)
class Place:
    """Where a field is in a document, and how it reads."""

    paths: tuple[str, ...] = ()
    unit: str = ""
    values: Mapping[str, str] = field(default_factory=dict)

    def is_in(self, document: Any) -> bool:
        """Whether the document has the field, null or not."""
        return any(at(document, path)[0] for path in self.paths)

    def of(self, document: Any) -> Any:
        """The value; None without one."""
        value = next((v for there, v in (at(document, p) for p in self.paths) if there), None)
        if not self.values:
            return value
        return self.values.get("") or self.values.get(str(value))


def at(document: Any, path: str) -> tuple[bool, Any]:
    """Whether a document has a path, and the value there.

    >>> at({"a": [{"b": 7}]}, "a.0.b"), at({"a": 1}, "a.b")
    ((True, 7), (False, None))
    """
    for key in path.split("."):
        if isinstance(document, list) and key.isdigit() and int(key) < len(document):
            document = document[int(key)]
        elif isinstance(document, dict) and key in document:
            document = document[key]
        else:
            return False, None
    return True, document


@dataclass(frozen=True)
class Format:
    """The result files of a tool. request, run: the places of fields in a request's document, and
    in that of the run. keys: by which each of the two is recognised. beside: how the names of their
    files end. without_requests: the note where a file has none."""

    tool: str
    keys: tuple[tuple[str, frozenset[str]], ...]
    request: Mapping[str, Place]
    run: Mapping[str, Place]
    beside: Mapping[str, str]
    notes: tuple[str, ...]
    without_requests: str | None
    published: tuple[str, ...]


@cache
def formats() -> Mapping[str, Format]:
    """The formats by tool, in the order in which a file is compared with them."""
    table = pd.read_csv(paths.data("probe_formats.csv"), keep_default_na=False)
    return {str(tool): _format(str(tool), table) for tool in table["tool"].unique()}


def _format(tool: str, table: pd.DataFrame) -> Format:
    own = table[table["tool"] == tool]
    for other in own.loc[own["field"] == "", "path"]:
        rest = table[(table["tool"] == other.removeprefix("as ")) & (table["field"] != "keys")]
        own = pd.concat([own[own["field"] != ""], rest])
    rows = own.to_dict("records")
    places: dict[str, dict[str, Place]] = {"request": {}, "run": {}}
    for row in rows:
        values = dict(pair.partition("=")[::2] for pair in row["values"].split())
        alternatives = tuple(filter(None, row["path"].split("|")))
        places[row["document"]][row["field"]] = Place(alternatives, row["unit"], values)
    return Format(
        tool,
        tuple(
            (r["document"] if r["field"] == "keys" else "raw", frozenset(r["path"].split()))
            for r in rows
            if r["field"] in ("keys", "raw")
        ),
        places["request"],
        places["run"],
        {row["document"]: row["path"] for row in rows if row["field"] == "beside"},
        tuple(row["meaning"] for row in rows if row["field"] == "note"),
        next((row["meaning"] for row in rows if row["field"] == "note_without_requests"), None),
        tuple(row["path"] for row in rows if row["field"] == "published"),
    )


# ---- one request ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Clock:
    """The clock of a file. unit: of times without one; measured_from: the warm-up's end."""

    origin: float = 0
    unit: str = "s"
    measured_from: float | None = None


def moments(how: Format, request: Any, closed: bool, began: float | None) -> tuple[Any, Any]:
    """The times at which a request was scheduled and sent, as the file has them; None: never sent.

    A closed loop has no schedule. began: the run's start, before which nothing was scheduled.
    """
    place = how.request.get("sent_at", Place())
    if place.paths and "lists" not in how.run and not place.is_in(request):
        raise KeyError(place.paths[0])
    sent = place.of(request)
    if sent is None or closed:
        return sent, sent
    queued = how.request.get("queued", Place()).of(request)
    scheduled = how.request.get("scheduled_at", Place()).of(request)
    scheduled = sent - (queued or 0) if scheduled is None else scheduled
    return (scheduled if began is None or scheduled >= began else began), sent


def sample_of(
    how: Format, index: int, request: Any, scheduled: Any, sent: Any, clock: Clock
) -> Sample:
    """A request's document as a sample. scheduled, sent: as `moments`; None counts as 0."""

    def of(name: str) -> Any:
        return how.request.get(name, Place()).of(request)

    def since(name: str, value: Any = None) -> float | None:
        value = of(name) if value is None else value
        if value is None:
            return None
        return float((value - clock.origin) / PER_SECOND[how.request[name].unit])

    def lasted(name: str) -> Any:
        """A duration, or a list of them, in seconds."""
        value, unit = of(name), how.request.get(name, Place()).unit
        if unit == IN_FILE:
            unit = value["unit"] if isinstance(value, dict) else clock.unit
            value = value["value"] if isinstance(value, dict) else value
        return None if value is None else np.asarray(value, dtype=float) / PER_SECOND[unit]

    status, code = of("status"), of("error_code")
    failures = (at(request, path)[1] for path in _split(how, "failed"))
    ok = not any(x not in _EMPTY and x is not False for x in failures) and not of("cancelled")
    ok = ok and ("status" not in how.request or status == "completed")
    sent_s = 0.0 if sent is None else since("sent_at", sent) or 0.0
    unit = how.request["sent_at"].unit if "sent_at" in how.request else "s"
    scheduled_s = (
        sent_s if scheduled is None else float((scheduled - clock.origin) / PER_SECOND[unit])
    )
    warm = of("phase") == "warmup"
    if clock.measured_from is not None and sent is not None:
        warm = max(scheduled, sent) < clock.measured_from
    sample = Sample(
        index,
        "warmup" if warm else "measure",
        scheduled_s,
        sent_s,
        headers_s=since("headers_at"),
        first_reasoning_s=since("reasoning_at"),
        done_s=since("done_at"),
        ok=ok,
        attempts=1 + (of("retries") or 0),
        input_tokens=of("input_tokens"),
        cached_input_tokens=of("cached_input_tokens"),
        output_tokens=of("output_tokens"),
        reasoning_tokens=of("reasoning_tokens"),
    )
    first, last, chunks = since("first_at"), since("last_at"), of("chunks_at")
    first_after, whole_after = lasted("first_after"), lasted("whole_after")
    if not ok and not first_after:
        first_after = None  # a failure has 0
    if chunks:
        times = [number(at) - clock.origin for at in chunks]
        sample.content_times_s = times if all(map(isfinite, times)) else [nan]
    elif first is not None and last is not None:
        sample.content_times_s = between(first, last)
    elif first_after is not None and (last_after := lasted("last_after")) is not None:
        sample.content_times_s = between(sent_s + float(first_after), sent_s + float(last_after))
    elif first_after is not None:
        gaps, answer_after = lasted("gaps"), lasted("answer_after")
        every = sent_s + np.cumsum(np.concatenate([[first_after], [] if gaps is None else gaps]))
        if answer_after is not None and answer_after > first_after:
            sample.first_reasoning_s = float(every[0])
            every = every[every >= sent_s + answer_after - 1e-9]  # 1 ns: sums round
        sample.content_times_s = every.tolist()
    elif whole_after is not None:
        sample.content_times_s = [float(sent_s + whole_after)]  # not streamed: it came as a whole
    elif ok and sample.first_reasoning_s is None and sample.done_s is not None:
        sample.content_times_s = [sample.done_s]
    answered = sample.content_times_s
    if sample.done_s is None and ok and answered and "done_at" not in how.request:
        sample.done_s = answered[-1]
    if "first_at" in how.request and first is not None and sample.first_reasoning_s is not None:
        sample.first_reasoning_s = min(sample.first_reasoning_s, first)
        if sample.first_reasoning_s == first:
            sample.first_reasoning_s = None
    if not ok:
        sample.http_status = int(str(code)) if str(code).isdigit() else None
        texts = [at(request, path)[1] for path in _split(how, "error_text")]
        text = " ".join(map(str, texts)) if len(texts) > 1 else texts[0] if texts else None
        cancelled = of("cancelled") or status == "cancelled"
        sample.error = "cancelled" if cancelled else error_word(text, sample.http_status)
    return sample


def _split(how: Format, name: str) -> list[str]:
    """Paths of which all count."""
    return [path for each in how.request.get(name, Place()).paths for path in each.split()]


# ---- the tool's own figures ----------------------------------------------------------------------


@cache
def tool_metrics() -> pd.DataFrame:
    """The figures of each tool, with their units and whether they may be compared with ours."""
    return pd.read_csv(paths.data("load_tool_metrics.csv"), keep_default_na=False)


def published(how: Format, document: Any, unit: str) -> list[dict[str, Any]]:
    """The figures of a tool's summary: {name, statistic, value, unit}, in ms or per_s.

    unit: of the times, in a file that states it once.
    """
    metrics = tool_metrics()
    units = dict(metrics.loc[metrics["tool"] == how.tool, ["name", "unit"]].to_numpy().tolist())
    names = "|".join(sorted(map(re.escape, units), key=len, reverse=True))
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    figures = _numbers(document)
    for template in how.published:
        pattern = re.escape(template).replace(r"\{name\}", f"(?P<name>{names})")
        for letter, choices in _STATISTICS.items():
            pattern = pattern.replace(rf"\{{{letter}\}}", f"(?P<statistic>{choices})")
        for path, value in figures.items():
            if not (match := re.fullmatch(pattern, path)):
                continue
            name, theirs = match["name"], match.groupdict().get("statistic", "mean")
            statistic = _OURS.get(theirs, f"p{theirs}" if theirs[0].isdigit() else theirs)
            own = units[name]
            if own == "per_s" and statistic != "mean":
                continue  # of a rate the mean alone has a meaning
            if own == IN_FILE:
                own = figures.get(f"{path.rpartition('.')[0]}.unit", unit)
            if own != "per_s":
                value, own = value * (1e3 / PER_SECOND[own]), "ms"
            if not isfinite(value):
                continue
            row = {"name": name, "statistic": statistic, "value": float(value), "unit": own}
            rows[name, statistic] = row
    return [rows[key] for key in sorted(rows, key=lambda key: ([*units].index(key[0]), key[1]))]


def _numbers(document: Any, at: str = "") -> dict[str, Any]:
    """The finite numbers of a document, and units, by path, without lists and without the
    statistics of a count of 0."""
    figures: dict[str, Any] = {}
    if not isinstance(document, dict) or document.get("count") == 0:
        return figures
    for key, value in document.items():
        if isinstance(value, dict):
            figures |= _numbers(value, f"{at}{key}.")
        elif key == "unit" or (type(value) in (int, float) and isfinite(value)):
            figures[f"{at}{key}"] = value
    return figures

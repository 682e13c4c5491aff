"""Reads a run from a result file by the table of formats; subclasses add the rules of a tool."""

from collections.abc import Sequence
from datetime import UTC, datetime
from math import isfinite, nan
from pathlib import Path
from typing import Any

from llmstudy.probe.importers.mapping import Clock, Format, at, moments, published, sample_of
from llmstudy.probe.importers.result_file import UnreadableError, documents, earliest
from llmstudy.probe.run import PER_REQUEST, Run, Sample, table

_FACTS = {
    "endpoint": "base_url model api engine engine_version",
    "load": "process rate_per_s burstiness concurrency n warmup_n seed time_scale",
    "lengths": "source input_tokens output_tokens shared_prefix_share",
    "client": "wall_s cpu_share loop_lag_p50_s loop_lag_p99_s loop_lag_max_s",
    "spend": "estimated_usd cap_usd spent_usd",
}
"""The facts of a run that have parts, as in `llmstudy.probe.run`."""

LATEST_S = 1e12
"""No time of a run is farther from its start; such a one is no number."""


class Reader:
    """Reads the files of a tool. A subclass adds rules that are not in the table.

    path: the file. contents: its documents, those of requests (file_is "request") or of the run
    ("run"). benchmark: the result to read, by number from 0 or name; None: the file has one.
    requests, run: the documents, an empty one where there is none. facts: by part and name.
    """

    several = False
    """Whether a file may hold several results, of which one is read."""

    def __init__(
        self, how: Format, path: Path, contents: list[Any], file_is: str, benchmark: str | None
    ) -> None:
        self.how, self.path, self.benchmark = how, path, benchmark
        self.notes: list[str] = []
        self.samples: list[Sample] = []
        self.facts: dict[str, Any] = {}
        self.run: Any = {}
        self.requests: list[Any] = []
        if file_is == "request":
            self.requests = self._listed(contents)
            self.run = next(iter(self._beside("request", "run")), {})
        else:
            if len(contents) > 1 and not self.several:
                raise UnreadableError(f"{path} holds {len(contents)} lines: give one result")
            self.run = contents if self.several else contents[0]
            self.requests = self._listed(self._beside("run", "request"))

    def read(self) -> Run:
        """The run."""
        self.choose()
        for name, place in self.how.run.items():
            if (value := place.of(self.run)) is not None:
                self.facts[name] = value
        self.facts["load.process"] = self.facts.get("process")
        self.load()
        self._sample()
        finished = len(self.samples) - (self.facts.get("load.warmup_n") or 0)
        if self.facts.get("load.n") is None and self.samples:
            self.facts["load.n"] = finished
        self.facts.setdefault("load.n", self.facts.get("n_without_requests"))
        if self.samples or self.how.without_requests is None:
            self.notes += self.how.notes
        else:
            self.notes.append(self.how.without_requests)
        self.finish()
        return Run(table([_with_numbers(sample) for sample in self.samples]), self._run_facts())

    def _run_facts(self) -> dict[str, Any]:
        """The facts of the run; those that the file does not give are None."""
        given = self.facts
        started = given.get("started_unix_s")
        facts: dict[str, Any] = {
            "schema_version": "1",
            "tool": {"name": self.how.tool, "version": given.get("tool.version")},
            "started_at": datetime.fromtimestamp(started, UTC).isoformat() if started else None,
            "ended": given.get("ended", "complete"),
            "serving": {},
            "server_counters": {},
            "clock": given.get("clock", "monotonic"),
            "published": published(self.how, self.run, given.get("unit") or "s"),
            "notes": self.notes,
        }
        finite = {
            name: None if isinstance(value, float) and not isfinite(value) else value
            for name, value in given.items()
        }
        for part, names in _FACTS.items():
            facts[part] = {name: finite.get(f"{part}.{name}") for name in names.split()}
        return facts

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

    def choose(self) -> None:
        """Sets `run` and `requests`."""
        for path in self.how.run["requests"].paths if "requests" in self.how.run else ():
            for part in path.split():
                listed = at(self.run, part)[1] or []
                if not isinstance(listed, list):
                    raise TypeError(f"{part} is no list")
                self.requests += listed

    def load(self) -> None:
        """Sets the facts of the load that need a rule."""

    def finish(self) -> None:
        """Adds notes on the samples."""

    def _sample(self) -> None:
        """Sets `samples`; requests that were never sent are left out of `requests`."""
        if wrong := [each for each in self.requests if not isinstance(each, dict)]:
            raise TypeError(f"{wrong[0]!r:.40} is no request")
        how, facts, is_closed = self.how, self.facts, self.facts["load.process"] == "closed"
        began = facts.get("began")
        timed = [(*moments(how, each, is_closed, began), each) for each in self.requests]
        if any(
            how.request["sent_at"].is_in(each) for *_, each in timed if "sent_at" in how.request
        ):
            timed = [each for each in timed if each[1] is not None]
            if "lists" not in how.run:  # lists are in the order of the schedule
                timed.sort(key=lambda each: float(each[0]))
        elif timed:
            facts["clock"] = PER_REQUEST
        self.requests = [each for *_, each in timed]
        origin = earliest([scheduled for scheduled, *_ in timed if scheduled is not None])
        measured_from = facts.get("measured_from") or began
        clock = Clock(origin, facts.get("unit") or "s", measured_from)
        self.samples = [
            sample_of(how, index, each, scheduled, sent, clock)
            for index, (scheduled, sent, each) in enumerate(timed)
        ]
        if "phase" in how.request or measured_from is not None:
            facts["load.warmup_n"] = sum(sample.phase == "warmup" for sample in self.samples)
        if facts.get("started_unix_s") == "origin":
            facts["started_unix_s"] = origin / (1e9 if how.request["sent_at"].unit == "ns" else 1)

    def _beside(self, this: str, other: str) -> list[Any]:
        """The documents of the file that the tool writes beside this one, if it is there."""
        ends = self.how.beside
        if not ends or (not str(self.path).endswith(ends[this]) and this == "run"):
            return []
        file = Path(str(self.path).removesuffix(ends[this]) + ends[other])
        return documents(file) if file.is_file() else []

    @staticmethod
    def _listed(documents: list[Any]) -> list[Any]:
        """Requests, one document each or all in one list."""
        first = documents[0] if len(documents) == 1 else None
        return list(first if isinstance(first, list) else documents)


def _with_numbers(sample: Sample) -> Sample:
    """A sample whose times are numbers or NaN; with a NaN in the file it has no dispatch.

    The audit then refuses the run, whichever time it was.
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

"""Reads a run from a result file: what the table of formats says, and where a tool takes more."""

from pathlib import Path
from typing import Any

from llmstudy.probe.importers.mapping import Clock, Format, at, moments, published, sample_of
from llmstudy.probe.importers.result_file import ResultFile, documents, earliest, imported
from llmstudy.probe.run import PER_REQUEST, Run, Sample


class Reader:
    """Reads the files of a tool. A subclass adds what no table can say.

    file_is: whether the file's documents are those of requests ("request") or of the run ("run").
    requests, run: the documents, an empty one where there is none. facts: by part and name.
    """

    several = False
    """Whether a file may hold several results, of which one is read."""

    def __init__(self, how: Format, file: ResultFile, file_is: str) -> None:
        self.how, self.file = how, file
        self.notes: list[str] = []
        self.samples: list[Sample] = []
        self.facts: dict[str, Any] = {}
        self.run: Any = {}
        self.requests: list[Any] = []
        if file_is == "request":
            self.requests = self._listed(file.documents)
            self.run = next(iter(self._beside("request", "run")), {})
        else:
            self.run = file.documents if self.several else file.document
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
        return imported(
            self.how.tool,
            self.samples,
            self.facts,
            clock=self.facts.get("clock", "monotonic"),
            published=published(self.how, self.run, self.facts.get("unit") or "s"),
            notes=self.notes,
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
        """Sets the facts of the load that take a rule."""

    def finish(self) -> None:
        """Adds notes on what the samples show."""

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
        origin = earliest([wanted for wanted, *_ in timed if wanted is not None])
        measured_from = facts.get("measured_from") or began
        clock = Clock(origin, facts.get("unit") or "s", measured_from)
        self.samples = [
            sample_of(how, index, each, wanted, sent, clock)
            for index, (wanted, sent, each) in enumerate(timed)
        ]
        if "phase" in how.request or measured_from is not None:
            facts["load.warmup_n"] = sum(sample.phase == "warmup" for sample in self.samples)
        if facts.get("started_unix_s") == "origin":
            facts["started_unix_s"] = origin / (1e9 if how.request["sent_at"].unit == "ns" else 1)

    def _beside(self, this: str, other: str) -> list[Any]:
        """The documents of the file that the tool writes beside this one; none without it."""
        ends = self.how.beside
        if not ends or (not str(self.file.path).endswith(ends[this]) and this == "run"):
            return []
        file = Path(str(self.file.path).removesuffix(ends[this]) + ends[other])
        return documents(file) if file.is_file() else []

    @staticmethod
    def _listed(documents: list[Any]) -> list[Any]:
        """Requests, one document each or all in one list."""
        first = documents[0] if len(documents) == 1 else None
        return list(first if isinstance(first, list) else documents)

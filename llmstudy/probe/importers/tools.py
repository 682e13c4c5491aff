"""The rules of each tool's result files that data/probe_formats.csv cannot hold.

vLLM's `bench serve` and SGLang's `bench_serving`, which grew into one another, write lists with a
value per request. vLLM counts a chunk if it has `choices`, so on the chat API the opening chunk,
which carries a role and no text, is its first token. N tokens come in N chunks at most, so any
request with one chunk more proves the role chunk, and it opens every stream of the run. Two more
prove a closing chunk without text as well; on the completions API, which has no roles, one more
proves that. SGLang's tool times only chunks with text.

A start-up race of guidellm can leave the first scheduled times near 1970; such requests were sent
at once, and count as scheduled when the run began, so that the arrivals show that burst.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from math import isinf

from llmstudy.probe.importers.mapping import moments
from llmstudy.probe.importers.reader import Reader
from llmstudy.probe.importers.result_file import UnreadableError, number
from llmstudy.probe.run import Run

_WITHOUT_TEXT = {("chat", 1): (1, 0), ("chat", 2): (1, 1), ("completions", 1): (0, 1)}
"""Chunks without text that open and close every stream, by API and chunks beyond the tokens."""

_AIPERF_PROCESSES = {
    "poisson": "poisson",
    "gamma": "gamma",
    "constant": "constant",
    "fixed_schedule": "replay",
}


class ServingBench(Reader):
    """SGLang's `bench_serving`; a line for each run."""

    several = True
    again = "`sglang.bench_serving` again with --output-details"
    """The command that writes each request."""
    counter = "the requested number"

    def choose(self) -> None:
        """Takes the result that is named, and splits its lists by request."""
        names = []
        for each in self.run:
            called = each.get("label") or each.get("tag") or each.get("backend")
            cap = each.get("max_concurrency")
            names.append(f"{called}@{each.get('request_rate')}" + (f"x{cap}" if cap else ""))
        self.run = self.one_of(self.run, names)
        listed = self.how.run["lists"].paths[0].split()
        lists = {name: self.run[name] for name in listed if self.run.get(name) is not None}
        missing = [name for name in ("ttfts", "output_lens") if name not in lists]
        if "itls" in lists:
            lists.pop("latencies", None)
        elif "latencies" not in lists:
            missing.append("itls")
        self.missing = missing
        if missing:
            return
        lengths = {name: len(values) for name, values in lists.items()}
        if len(set(lengths.values())) > 1:
            raise UnreadableError(
                f"{self.path}: its lists differ in length ({lengths}): give a complete result file"
            )
        for values in zip(*lists.values(), strict=True):
            request = dict(zip(lists, values, strict=True))
            for name in request.keys() & {"start_times", "queue_times", "ttfts"}:
                request[name] = number(request[name])
            # a failed request has zeros, and its error may have no text
            request["failed"] = bool(request.get("errors")) or request["ttfts"] == 0
            if request["failed"]:
                request["input_lens"] = request["output_lens"] = None
            self.requests.append(request)

    def load(self) -> None:
        """Names the arrival process as `probe.run` does."""
        run, facts = self.run, self.facts
        burstiness = float(run.get("burstiness", 1.0))
        cap = run.get("max_concurrency")
        n = run.get("num_prompts") or len(run.get("ttfts") or ()) or run["completed"]
        facts |= {"load.concurrency": cap, "load.n": n}
        if run["request_rate"] == "trace":
            facts["load.process"] = "replay"
        elif isinf(rate := float(run["request_rate"])):
            # all at once, or as many as the cap lets through: a closed loop
            facts |= {"load.process": "closed", "load.concurrency": cap or n}
        else:
            process = {1.0: "poisson", float("inf"): "constant"}.get(burstiness, "gamma")
            facts["load.process"] = "ramp" if run.get("ramp_up_strategy") else process
            facts["load.rate_per_s"] = rate
            facts["load.burstiness"] = None if isinf(burstiness) else burstiness
        facts["lengths.source"] = run.get("dataset_name")
        if run.get("dataset_name") == "random" and run.get("random_range_ratio") == 1:
            facts["lengths.source"] = "fixed"
            facts["lengths.input_tokens"] = run.get("random_input_len")
            facts["lengths.output_tokens"] = run.get("random_output_len")
        try:
            written = datetime.strptime(run["date"], "%Y%m%d-%H%M%S")
            facts["started_unix_s"] = written.replace(tzinfo=UTC).timestamp()
        except (KeyError, TypeError, ValueError):
            pass

    def finish(self) -> None:
        """Notes what is missing."""
        if self.missing:
            self.notes = [
                f"Per-request times are missing ({', '.join(self.missing)}): nothing can be "
                f"derived. Run {self.again}."
            ]
        else:
            self.notes.append(
                "Requests were scheduled at start_times less queue_times; how late the tool was "
                "against its own schedule is not in the file."
                if "start_times" in self.run
                else "When requests were sent is not in the file: arrivals cannot be audited, and "
                "latencies count from the dispatch."
            )
            self.notes.append(
                f"Token counts are the server's where it sent usage, else {self.counter}: the file "
                "does not state which."
            )
            self.leave_out()
        if "date" in self.run:
            self.notes.append(
                "The date is of the file's writing, without a time zone: it is taken as UTC."
            )

    def leave_out(self) -> None:
        """Leaves out chunks without text, which only vLLM's file has."""


class VllmBench(ServingBench):
    """vLLM's `bench serve`."""

    again = "`vllm bench serve` again with --save-result --save-detailed"
    counter = "the client's"

    def leave_out(self) -> None:
        """Leaves out the chunks that open and close every stream."""
        api = self.facts.get("endpoint.api")
        beyond = [
            len(each["itls"]) + 1 - each["output_lens"]
            for each in self.requests
            if each.get("itls") and each["output_lens"] and not each.get("errors")
        ]
        surplus = max(0, *beyond) if beyond else 0
        opening, closing = _WITHOUT_TEXT.get((str(api), surplus), (0, 0))
        for sample in self.samples:
            times = sample.content_times_s
            sample.content_times_s = times[opening : len(times) - closing]
        if opening:
            self.notes.append(
                "A chunk without text opens every stream (the role): TTFT is of the chunk after "
                "it, and the gap between the two is left out."
            )
        elif surplus and not closing:
            self.notes.append(
                f"A request has {surplus} chunks more than tokens: its tokens are not the "
                "server's, or chunks without text are among its times."
            )
        elif api == "chat":
            self.notes.append(
                "No request shows whether a chunk without text opened its stream: if one did, TTFT "
                "is too short."
            )
        if closing:
            self.notes.append("A chunk without text closes every stream: it is left out.")


class Guidellm(Reader):
    """guidellm; a file may hold several benchmarks."""

    several = True

    def choose(self) -> None:
        """Takes the benchmark that is named."""
        [self.document] = self.run
        metadata = self.document.get("metadata") or {}
        if metadata.get("version") != 2:
            schema = metadata.get("version") or "before 2 (guidellm 0.7 or older)"
            raise UnreadableError(
                f"{self.path} is a guidellm result of schema {schema}: schema 2 is read. Run "
                "the benchmark again with guidellm 0.8."
            )
        self.facts["tool.version"] = metadata.get("guidellm_version")
        benchmarks, names = self.document["benchmarks"], []
        for each in benchmarks:
            strategy = each["config"]["strategy"]
            size = strategy.get("rate") or strategy.get("streams")
            names.append(f"{strategy['type_']}@{size}" if size else str(strategy["type_"]))
        self.run = self.one_of(benchmarks, names)
        super().choose()
        self.n = len(self.requests)

    def load(self) -> None:
        """Takes the users of a closed loop from its strategy, and the requested lengths."""
        strategy = self.run["config"]["strategy"]
        if strategy["type_"] == "synchronous":
            self.facts["load.concurrency"] = 1
        elif self.facts["load.process"] == "closed":
            users = strategy.get("streams") or strategy.get("max_concurrency")
            self.facts["load.concurrency"] = users
        spec = (self.document.get("config") or {}).get("spec") or {}
        data = (spec.get("data") or [{}])[0]
        lengths = {f"{part}_tokens": data.get(f"{part}_tokens") for part in ("prompt", "output")}
        fixed = all(lengths.values()) and not data.get("output_tokens_stdev")
        self.facts["lengths.input_tokens"] = lengths["prompt_tokens"]
        self.facts["lengths.output_tokens"] = lengths["output_tokens"]
        self.facts["lengths.source"] = "fixed" if fixed else data.get("kind")

    def finish(self) -> None:
        """Notes requests that are missing, unsent or scheduled too early."""
        totals = self.run["metrics"].get("request_totals") or {}
        if left_out := max(0, (totals.get("total") or 0) - self.n):
            self.facts["load.n"] = (self.facts["load.n"] or 0) + left_out
            self.notes.append(
                f"{left_out} requests were made and are not in the file: arrivals cannot be "
                "audited. Run guidellm again without a sample size."
            )
        if unsent := self.n - len(self.requests):
            self.notes.append(f"{unsent} requests were never sent and are left out.")
        if self.facts["load.process"] != "closed":
            began = self.facts["began"]
            scheduled = [moments(self.how, each, False, None)[0] for each in self.requests]
            if n_early := sum(at < began for at in scheduled):
                self.notes.append(
                    f"{n_early} of {len(self.requests)} requests were scheduled before the run "
                    "began (a race in the tool's start): they count as scheduled at its beginning."
                )
        _note_cancelled(self, " when it stopped")


class Aiperf(Reader):
    """aiperf: records, and a summary beside them."""

    def load(self) -> None:
        """Takes the load from the phase that was measured."""
        config = self.run.get("input_config") or {}
        phases = {phase.get("kind"): phase for phase in config.get("phases") or []}
        phase = phases.get("profiling") or {}
        rate, users = phase.get("rate"), phase.get("concurrency")
        closed = users is not None and rate is None
        process = "closed" if closed else _AIPERF_PROCESSES.get(str(phase.get("type")))
        self.facts |= {
            "load.process": process,
            "load.rate_per_s": rate,
            "load.burstiness": phase.get("smoothness"),
            "load.concurrency": users,
            "load.n": phase.get("requests"),
            "ended": "cancelled" if self.run.get("was_cancelled") else "complete",
        }
        data = (config.get("datasets") or [{}])[0]
        prompts = data.get("prompts") or {}
        lengths = {"input": prompts.get("isl") or {}, "output": prompts.get("osl") or {}}
        fixed = all(each.get("mean") and not each.get("stddev") for each in lengths.values())
        self.facts["lengths.source"] = "fixed" if fixed else data.get("type")
        for part, each in lengths.items():
            self.facts[f"lengths.{part}_tokens"] = each.get("mean")

    def finish(self) -> None:
        """Notes what the records lack."""
        if not self.samples:
            return
        if not self.run:
            self.notes.append("The summary is not beside the records: the load is not described.")
        _note_uncounted(self)
        _note_cancelled(self)


class GenaiPerf(Reader):
    """genai-perf, aiperf's predecessor: a summary alone."""

    def load(self) -> None:
        """Sets the process of an open loop to None; takes a model out of its list."""
        if self.facts.get("load.rate_per_s"):
            self.facts["load.process"] = None
        models = self.facts.get("endpoint.model") or [None]
        self.facts["endpoint.model"] = models if isinstance(models, str) else models[0]


class PerfAnalyzer(Reader):
    """The raw profile of perf_analyzer, whose answers are not taken apart."""

    def read(self) -> Run:
        """Refuses it."""
        raise UnreadableError(
            f"{self.path} is the raw profile that perf_analyzer writes for genai-perf, which "
            "is not read: give profile_export_genai_perf.json, or measure with its successor aiperf"
        )


class InferencePerf(Reader):
    """inference-perf: requests, and summaries of the run and its stages beside them."""

    def finish(self) -> None:
        """Notes what the requests lack."""
        _note_uncounted(self)


class Llmperf(Reader):
    """llmperf: responses, and a summary beside them."""

    def load(self) -> None:
        """Names the source of the lengths."""
        self.facts["lengths.source"] = "llmperf" if self.run else None


def _note_uncounted(reader: Reader) -> None:
    answered = [sample for sample in reader.samples if sample.ok]
    if silent := sum(sample.output_tokens is None for sample in answered):
        reader.notes.append(
            f"{silent} of {len(answered)} answers have no token count of the server: TPOT is null. "
            "The client's own count is not taken."
        )


def _note_cancelled(reader: Reader, when: str = "") -> None:
    if cut := sum(sample.error == "cancelled" for sample in reader.samples):
        reader.notes.append(f"{cut} requests were cancelled by the tool{when}: they failed.")


READERS: Mapping[tuple[str, str], type[Reader]] = {
    ("sglang-bench-serving", "run"): ServingBench,
    ("vllm-bench-serve", "run"): VllmBench,
    ("guidellm", "run"): Guidellm,
    ("aiperf", "request"): Aiperf,
    ("aiperf", "run"): Aiperf,
    ("genai-perf", "run"): GenaiPerf,
    ("genai-perf", "raw"): PerfAnalyzer,
    ("inference-perf", "request"): InferencePerf,
    ("inference-perf", "run"): InferencePerf,
    ("llmperf", "request"): Llmperf,
    ("llmperf", "run"): Llmperf,
}
"""Readers of the tools that need rules, by the kind of a file's documents."""

"""Where does a run live on disk, and what is left of it when it is killed?

A run is a folder: `run.json` holds the facts, `samples.jsonl` one line per finished request,
appended and flushed as it finishes. A killed run keeps every finished request: the facts are
written before the first request, and again at the end.

The facts of a run, None where not known:

- `schema_version` "1"; `tool` {name, version}; `started_at` (ISO, UTC); `ended` ("complete",
  "running", `AT_SPEND_CAP`, or why it stopped);
- `endpoint` {base_url, model, api, body, header_names, drop (fields left out of the requests; no
  such key where there are none), engine, engine_version};
- `load` {process ("poisson", "gamma", "constant", "replay", "ramp", "closed"), rate_per_s,
  burstiness, concurrency (workers in closed loop, cap in open loop), n (requests measured),
  warmup_n (those before them), seed, time_scale};
- `lengths` {source ("fixed" or the log's name), input_tokens, output_tokens (means asked for),
  shared_prefix_share (of the input tokens)};
- `client` {wall_s, cpu_share (of one core), loop_lag_p50_s, loop_lag_p99_s, loop_lag_max_s,
  first_failure (what the server said of it, without the key)};
- `connection` {dns_s, tcp_s, tls_s, served_model, fingerprint, input_tokens, output_tokens,
  streamed} of the two requests before the load; `resumed`: whether the run was killed in between;
- `serving` {model (its own name, where the endpoint's is an alias), gpu, gpus, tensor_parallel,
  precision, kv_dtype, prefix_caching, weights ("real", "dummy"), flags, driver, ...};
- `server_counters`: what the server's own counters grew by during the run, by metric name;
- `spend` {estimated_usd, cap_usd, spent_usd};
- `notes`, in sentences; of an imported run: `published` [{name, statistic, value, unit}], the
  tool's own figures, and `clock` ("monotonic", "wall", or "per request": each sample begins at 0).
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from math import isfinite, nan
from pathlib import Path
from typing import Any, TextIO

from llmstudy import canonical
from llmstudy.probe.samples import Run, Sample, table

FACTS, SAMPLES = "run.json", "samples.jsonl"

PER_REQUEST = "per request"
"""The clock of an imported run that does not say when its requests were sent: each begins at 0."""

AT_SPEND_CAP = "stopped: another request could pass the spend cap"
"""How a run ends that is whole but for the requests there was no money for."""


class Recording:
    """The open folder of a run: samples are appended to it, facts replaced in it."""

    def __init__(self, folder: Path, lines: TextIO) -> None:
        self.folder = folder
        self._lines = lines

    def append(self, sample: Sample) -> None:
        """Writes one finished request; it survives the death of this process."""
        times = [_cell(time) for time in sample.content_times_s]
        row = {**vars(sample), "content_times_s": times}
        self._lines.write(json.dumps(row, separators=(",", ":"), allow_nan=False) + "\n")
        self._lines.flush()

    def state(self, facts: Mapping[str, Any]) -> None:
        """Replaces the facts, whole or not at all."""
        restate(self.folder, facts)


def restate(folder: Path, facts: Mapping[str, Any]) -> None:
    """Replaces the facts of a run's folder, whole or not at all."""
    draft = folder / f".{FACTS}.partial"
    draft.write_text(canonical.dumps(dict(facts)), encoding="utf-8")
    os.replace(draft, folder / FACTS)


@contextmanager
def recording(folder: Path, facts: Mapping[str, Any], resume: bool = False) -> Iterator[Recording]:
    """Opens a run's folder for writing; its facts are there before the first request.

    Raises: ValueError if the folder holds a run already and is not to be resumed.
    """
    if (folder / FACTS).exists() and not resume:
        raise ValueError(f"{folder} holds a run already: name another folder, or resume it")
    folder.mkdir(parents=True, exist_ok=True)
    if resume:
        _end_last_line(folder / SAMPLES)
    with (folder / SAMPLES).open("a", encoding="utf-8") as lines:
        opened = Recording(folder, lines)
        opened.state(facts)
        yield opened


def read(folder: Path) -> Run:
    """A run from its folder. A last line cut short by a kill is left out.

    Raises: ValueError that names the file and line where it is no run of ours.
    """
    facts, samples = read_samples(folder)
    return Run(table(samples), facts)


def read_samples(folder: Path) -> tuple[dict[str, Any], list[Sample]]:
    """The facts and samples of a run's folder, as `read`."""
    facts_file, lines_file = folder / FACTS, folder / SAMPLES
    if not facts_file.exists():
        raise ValueError(f"{folder} holds no probe run: it has no {FACTS}")
    try:
        facts = json.loads(facts_file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{facts_file}: {error}") from error
    samples = []
    for number, line in enumerate(lines_file.read_text(encoding="utf-8").splitlines(True), start=1):
        if not line.endswith("\n"):
            break
        try:
            row = json.loads(line)
            row["content_times_s"] = [nan if t is None else t for t in row["content_times_s"]]
            samples.append(Sample(**row))
        except (ValueError, TypeError, KeyError) as error:
            known = ", ".join(field.name for field in fields(Sample))
            raise ValueError(
                f"{lines_file}:{number} is no sample: {error}. Its keys must be {known}"
            ) from error
    return facts, samples


def _end_last_line(file: Path) -> None:
    """Drops a line that a kill cut short, so that the next begins at its own start."""
    if not file.exists():
        return
    text = file.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    if whole != text:
        file.write_bytes(whole)


def write(folder: Path, run: Run) -> None:
    """Keeps a run that was made or imported elsewhere. Raises: ValueError if the folder has one."""
    with recording(folder, run.facts) as opened:
        for row in run.samples.to_dict("records"):
            opened.append(Sample(**{str(name): _cell(value) for name, value in row.items()}))


def _cell(value: Any) -> Any:
    """None for NaN and infinity, which JSON does not have."""
    return None if isinstance(value, float) and not isfinite(value) else value

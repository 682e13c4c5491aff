"""The record of one request, the latencies that follow from it, and the folder of a run.

A sample is one row: the times of one logical request, its retries included, and what the server
reported. Latencies are not stored: `with_metrics` derives them, by the dictionary in
`llmstudy.measures.latency`, for recorded and imported runs alike.

A run is a folder: `run.json` holds the facts, `samples.jsonl` one line per finished request,
appended and flushed as it finishes. A killed run keeps every finished request: the facts are
written before the first request, and again at the end.

The facts of a run, None where not recorded:

- `schema_version` "1"; `tool` {name, version}; `started_at` (ISO, UTC); `ended` ("complete",
  "running", `AT_SPEND_CAP`, or why it stopped);
- `endpoint` {base_url, model, api, body, header_names, drop (fields left out of the requests; no
  such key where there are none), engine, engine_version};
- `load` {process ("poisson", "gamma", "constant", "replay", "ramp", "closed"), rate_per_s,
  burstiness, concurrency (workers in closed loop, cap in open loop), n (requests measured),
  warmup_n (those before them), seed, time_scale};
- `lengths` {source ("fixed" or the log's name), input_tokens, output_tokens (requested means),
  shared_prefix_share (of the input tokens)};
- `client` {wall_s, cpu_share (of one core), loop_lag_p50_s, loop_lag_p99_s, loop_lag_max_s,
  first_failure (the server's message, without the key)};
- `connection` {dns_s, tcp_s, tls_s, served_model, fingerprint, input_tokens, output_tokens,
  streamed} of the two requests before the load; `resumed`: whether the run was killed in between;
- `serving` {model (its name, where the endpoint's is an alias), gpu, gpus, tensor_parallel,
  precision, kv_dtype, prefix_caching, weights ("real", "dummy"), flags, driver, ...};
- `server_counters`: growth of the server's counters during the run, by metric name;
- `spend` {estimated_usd, cap_usd, spent_usd};
- `notes`, in sentences; of an imported run: `published` [{name, statistic, value, unit}], the
  tool's own figures, and `clock` ("monotonic", "wall", or "per request": each sample begins at 0).
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from math import isfinite, nan
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from llmstudy import io
from llmstudy.figure import FloatArray

Phase = Literal["warmup", "measure"]


@dataclass
class Sample:
    """One logical request. Times are seconds since the run began, on one monotonic clock.

    None: not recorded, or it never happened. The time of a chunk is that of its arrival, taken
    before it is parsed. A closed loop has no schedule: `scheduled_s` equals `dispatched_s`.
    """

    index: int
    """Place in the schedule: the same index of two runs of one plan is the same request."""
    phase: Phase
    scheduled_s: float
    dispatched_s: float
    """When the first attempt left the client's queue."""
    headers_s: float | None = None
    first_reasoning_s: float | None = None
    content_times_s: list[float] = field(default_factory=list)
    """Arrival of every chunk with answer text or token ids, in order; NaN for chunks whose time an
    imported file does not give."""
    content_tokens: list[int] | None = None
    """Answer tokens in each of those chunks, where the server counts as it goes."""
    done_s: float | None = None
    """End of the stream, or the moment of failure."""

    ok: bool = False
    error: str | None = None
    """Why it failed, in one word that can be counted: `timeout`, `http_500`, `rate_limited`,
    `connection`, `cut`, `malformed`, `server_error`, `empty`, `filtered`; `cancelled` by the tool
    itself."""
    http_status: int | None = None
    attempts: int = 1
    retry_wait_s: float = 0.0
    """Wait before further attempts, by the server's Retry-After or the client's back-off."""
    finish_reason: str | None = None

    asked_input_tokens: int | None = None
    asked_output_tokens: int | None = None
    input_tokens: int | None = None
    cached_input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    """Token counts are the server's. `output_tokens` includes `reasoning_tokens`."""

    dns_s: float | None = None
    tcp_s: float | None = None
    tls_s: float | None = None
    """Opening the connection: name look-up, TCP, TLS; None on a reused one."""
    server_queue_s: float | None = None
    server_prefill_s: float | None = None
    """Waiting at the server, and from its scheduling to the first token, as the server reports."""
    server_processing_s: float | None = None
    """Processing time in the provider's header."""

    served_model: str | None = None
    fingerprint: str | None = None
    prefix_group: int | None = None
    """Requests of one group share a prefix on purpose; None: the prompt is unique."""
    cost_usd: float | None = None


TOGETHER_S = 0.0002
"""Chunks closer than this came in one delivery: no engine writes 5,000 chunks a second into one
answer, but the content of a buffer arrives in one read, or in several at once."""

TOGETHER_SHARE = 0.1
"""Share of an answer's gaps within one delivery, beyond which they are not those of tokens."""

FIRST_SHARE = 0.2
"""Share of an answer's chunks in its first delivery, beyond which its beginning was buffered."""

BUFFERED_SHARE = 0.05
"""Share of the answers that may be buffered by chance: as many may be undefined in a p95."""

TOKENS_PER_CHUNK = 1.2
"""Mean over an answer, beyond which the gap between two chunks is not that of two tokens. One token
more than chunks is allowed: the last one has no text."""

COLUMNS = [f.name for f in fields(Sample)]


@dataclass(frozen=True)
class Run:
    """Samples of one load, and the facts of the run.

    samples: one row per request in the columns of `Sample`, by index. facts: as listed above.
    """

    samples: pd.DataFrame
    facts: dict[str, Any]

    @property
    def measured(self) -> pd.DataFrame:
        """The samples after the warm-up."""
        return self.samples[self.samples["phase"] == "measure"].reset_index(drop=True)


def table(samples: Sequence[Sample]) -> pd.DataFrame:
    """Samples as a table, in the columns of `Sample`, by index.

    >>> table([Sample(1, "measure", 0.5, 0.5), Sample(0, "measure", 0.0, 0.0)])["index"].tolist()
    [0, 1]
    """
    rows = [vars(sample) for sample in samples]
    frame = pd.DataFrame(rows, columns=COLUMNS)
    optional = [f.name for f in fields(Sample) if f.type in (float | None, int | None)]
    frame[optional] = frame[optional].astype(float)
    return frame.astype({"ok": bool}).sort_values("index", ignore_index=True, kind="stable")


def with_metrics(samples: pd.DataFrame) -> pd.DataFrame:
    """Samples with the latencies that follow from their times.

    samples: columns of `Sample`. Added, in seconds, null where undefined: ttft_s, tpot_s, e2e_s,
    reasoning_ttft_s, client_queue_s (scheduled to dispatched); failures keep the observed times,
    and the statistics count them as +inf. `answer_tokens`: the server's output tokens less its
    reasoning tokens, null without a count, and where the server reasons without counting that.
    `buffered`: an answer of several tokens that came in one piece, or with its beginning buffered:
    it has no pace, and its tpot_s is null. `has_gaps`: its gaps are those between tokens. Where
    more than `BUFFERED_SHARE` are buffered, the pace of the others is not that of the endpoint:
    none has a tpot_s or gaps.

    >>> one = Sample(0, "measure", 1.0, 1.1, content_times_s=[1.5, 1.6, 1.9], ok=True)
    >>> one.output_tokens, one.reasoning_tokens = 3, 0
    >>> row = with_metrics(table([one])).iloc[0]
    >>> [round(float(row[x]), 3) for x in ("ttft_s", "tpot_s", "e2e_s", "client_queue_s")]
    [0.5, 0.2, 0.9, 0.1]
    """
    times = samples["content_times_s"]
    first = times.map(lambda t: t[0] if t else np.nan).astype(float)
    last = times.map(lambda t: t[-1] if t else np.nan).astype(float)
    reasoned = samples["reasoning_tokens"]
    silent = samples["first_reasoning_s"].notna() & ~(reasoned > 0)
    answer = (samples["output_tokens"] - reasoned.fillna(0)).where(~silent)
    columns = (times, samples["content_tokens"], answer, samples["dispatched_s"])
    paces = [_pace(*row) for row in zip(*columns, strict=True)]
    pace = pd.DataFrame(paces, columns=_Pace._fields, index=samples.index).astype(
        {"tokens_after": float, "buffered": bool, "has_gaps": bool}
    )
    several = samples["ok"] & ((answer >= 2) | (times.map(len) >= 2))
    if pace["buffered"][several].mean() > BUFFERED_SHARE:
        pace["tokens_after"], pace["has_gaps"] = np.nan, False
    start = samples["scheduled_s"]
    return samples.assign(
        answer_tokens=answer,
        ttft_s=first - start,
        tpot_s=((last - first) / pace["tokens_after"]).where(~pace["buffered"]),
        e2e_s=last - start,
        reasoning_ttft_s=samples["first_reasoning_s"] - start,
        client_queue_s=samples["dispatched_s"] - start,
        buffered=pace["buffered"],
        has_gaps=pace["has_gaps"],
    )


class _Pace(NamedTuple):
    """tokens_after: those that came after the first delivery, NaN without a count."""

    tokens_after: float
    buffered: bool
    has_gaps: bool


def _pace(
    times_s: list[float], tokens: list[int] | None, answer_tokens: float, dispatched_s: float
) -> _Pace:
    """The pace of one answer's chunks.

    Where a server sends several tokens in a chunk and counts them only at the end, the first chunk
    is taken to have as many as the others, if there are ten or more.
    """
    n = len(times_s)
    if n < 2:
        return _Pace(np.nan, answer_tokens >= 2, False)
    together = np.diff(times_s) <= TOGETHER_S
    with_first = n - 1 if together.all() else int(together.argmin())
    # many within a short time at the end come from a buffer over a slow line
    at_the_end = times_s[-1] - times_s[0] < TOGETHER_SHARE * (times_s[-1] - dispatched_s)
    buffered = with_first > FIRST_SHARE * (n - 1) or (at_the_end and together.mean() > 0.5)
    # where only the first and the last have times, those between are taken as one token each
    single = not answer_tokens > TOKENS_PER_CHUNK * n + 1 or np.isnan(times_s).any()
    if isinstance(tokens, list):
        first_tokens: float = sum(tokens[: with_first + 1])
    else:
        first_tokens = (with_first + 1) * (
            1 if single else answer_tokens / n if n >= 10 else np.nan
        )
    after = answer_tokens - first_tokens
    has_gaps = not buffered and single and together.mean() <= TOGETHER_SHARE
    return _Pace(after if after > 0 else np.nan, bool(buffered), bool(has_gaps))


def gaps_s(samples: pd.DataFrame) -> list[FloatArray]:
    """ITL of each request: the gaps between its content chunks, empty where it has no ITL.

    samples: as `with_metrics` returns them. An imported request of which only the first and last
    chunk have times has NaN between: no gap.
    """
    return [
        np.diff(times) if has_gaps else np.empty(0)
        for times, has_gaps in zip(
            samples["content_times_s"], samples["ok"] & samples["has_gaps"], strict=True
        )
    ]


def chunk_gaps_s(samples: pd.DataFrame) -> FloatArray:
    """ITL: the gaps between content chunks of the requests that succeeded, pooled. Shape (n,).

    samples: columns of `Sample`.

    >>> one = Sample(0, "measure", 0.0, 0.0, content_times_s=[0.5, 0.75, 1.5], ok=True)
    >>> chunk_gaps_s(table([one])).tolist()
    [0.25, 0.75]
    """
    pooled = np.concatenate([*gaps_s(with_metrics(samples)), np.empty(0)])
    return np.asarray(pooled[~np.isnan(pooled)])


FACTS, SAMPLES = "run.json", "samples.jsonl"

PER_REQUEST = "per request"
"""The clock of an imported run without the times of sending: each request begins at 0."""

AT_SPEND_CAP = "stopped: another request could pass the spend cap"
"""The end of a run that lacks only the requests beyond its spend cap."""


def restate(folder: Path, facts: Mapping[str, Any]) -> None:
    """Replaces the facts of a run's folder in one step."""
    io.write(folder / FACTS, io.dumps(dict(facts)))


@contextmanager
def recording(
    folder: Path, facts: Mapping[str, Any], resume: bool = False
) -> Iterator[Callable[[Sample], None]]:
    """Opens a run's folder for writing; its facts are there before the first request.

    Yields: a function that appends a finished request, which then survives the death of this
    process.
    Raises: ValueError if the folder holds a run already and is not to be resumed.
    """
    if (folder / FACTS).exists() and not resume:
        raise ValueError(f"{folder} holds a run already: name another folder, or resume it")
    folder.mkdir(parents=True, exist_ok=True)
    if resume:
        _end_last_line(folder / SAMPLES)
    with (folder / SAMPLES).open("a", encoding="utf-8") as lines:
        restate(folder, facts)

        def append(sample: Sample) -> None:
            times = [_cell(time) for time in sample.content_times_s]
            row = {**vars(sample), "content_times_s": times}
            lines.write(json.dumps(row, separators=(",", ":"), allow_nan=False) + "\n")
            lines.flush()

        yield append


def read(folder: Path) -> Run:
    """Reads a run from its folder. A last line cut short by a kill is left out.

    Raises: ValueError that names the file and line that cannot be read.
    """
    facts, samples = read_samples(folder)
    return Run(table(samples), facts)


def read_samples(folder: Path) -> tuple[dict[str, Any], list[Sample]]:
    """Reads the facts and samples of a run's folder, as `read`."""
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
            keys = ", ".join(field.name for field in fields(Sample))
            raise ValueError(
                f"{lines_file}:{number} is not a sample: {error}. Its keys must be {keys}"
            ) from error
    return facts, samples


def _end_last_line(file: Path) -> None:
    """Removes a line that a kill cut short, so that the next one begins on a line of its own."""
    if not file.exists():
        return
    text = file.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    if whole != text:
        file.write_bytes(whole)


def write(folder: Path, run: Run) -> None:
    """Writes a whole run to a folder. Raises: ValueError if the folder has one."""
    with recording(folder, run.facts) as append:
        for row in run.samples.to_dict("records"):
            append(Sample(**{str(name): _cell(value) for name, value in row.items()}))


def _cell(value: Any) -> Any:
    """None for NaN and infinity, which JSON does not have."""
    return None if isinstance(value, float) and not isfinite(value) else value

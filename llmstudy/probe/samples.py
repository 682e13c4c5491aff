"""What is known of one request, and which latencies follow from it?

A sample is one row: the times at which things happened to one logical request, its retries within,
and what the server said about it. Nothing derived is stored: `with_metrics` derives it, by the
dictionary in `llmstudy.latency`, for our own runs and for imported ones alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from llmstudy.figure import FloatArray

Phase = Literal["warmup", "measure"]


@dataclass
class Sample:
    """One logical request. Times are seconds since the run began, on one monotonic clock.

    None means not known, or that it never happened. A time of a chunk is that of its arrival,
    taken before it is parsed. In closed loop nothing was scheduled: `scheduled_s` equals
    `dispatched_s`.
    """

    index: int
    """Place in the schedule: the same index of two runs of one plan is the same request."""
    phase: Phase
    scheduled_s: float
    dispatched_s: float
    """When the first attempt left our own queue."""
    headers_s: float | None = None
    first_reasoning_s: float | None = None
    content_times_s: list[float] = field(default_factory=list)
    """Arrival of every chunk with answer text or token ids, in order; NaN for those in between of
    which an importer knows only that they were."""
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
    """Waited before further attempts, by the server's Retry-After or our own back-off."""
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
    """Opening the connection: name look-up, TCP, TLS; None on one that was used before."""
    server_queue_s: float | None = None
    server_prefill_s: float | None = None
    """Waiting at the server, and from its scheduling to the first token, as the server says."""
    server_processing_s: float | None = None
    """Processing as the provider's header says."""

    served_model: str | None = None
    fingerprint: str | None = None
    prefix_group: int | None = None
    """Requests of one group share a prefix on purpose; None: the prompt is unique."""
    cost_usd: float | None = None


TOGETHER_S = 0.0002
"""Chunks so close came together: no engine writes 5,000 chunks a second into one answer, but what
waited in a buffer comes in one read, or in several at once."""

TOGETHER_SHARE = 0.1
"""Of an answer's gaps that lie within one delivery, beyond which they are not those of tokens."""

FIRST_SHARE = 0.2
"""Of an answer's chunks that came with its first one, beyond which its beginning was held back."""

BUFFERED_SHARE = 0.05
"""Of the answers that may be buffered and pass for chance; of a p95, all that may be unknown."""

TOKENS_PER_CHUNK = 1.2
"""In the mean of an answer, beyond which the gap between two chunks is not that of two tokens. One
token more than chunks is let pass: the last one has no text."""

COLUMNS = [f.name for f in fields(Sample)]


@dataclass(frozen=True)
class Run:
    """Samples of one load, with what is known of how they came about.

    samples: one row per request in the columns of `Sample`, by index. facts: see `record`.
    """

    samples: pd.DataFrame
    facts: dict[str, Any]

    @property
    def measured(self) -> pd.DataFrame:
        """The samples that count: those after the warm-up."""
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
    reasoning_ttft_s, client_queue_s (scheduled to dispatched); failures keep what was observed, and
    it is for the statistics to count them as +inf. `answer_tokens`: the server's output tokens less
    its reasoning tokens, null where it gave no count; a server that reasons and does not say how
    much leaves it null too. `buffered`: an answer of several tokens that came in one piece, or with
    its beginning held back: it has no pace, and its tpot_s is null. `has_gaps`: its gaps are those
    between tokens. Where more than `BUFFERED_SHARE` are buffered, the others' pace is not that of
    the endpoint: none has a tpot_s or gaps.

    >>> one = Sample(0, "measure", 1.0, 1.1, content_times_s=[1.5, 1.6, 1.9], ok=True)
    >>> one.output_tokens, one.reasoning_tokens = 3, 0
    >>> found = with_metrics(table([one])).iloc[0]
    >>> [round(float(found[x]), 3) for x in ("ttft_s", "tpot_s", "e2e_s", "client_queue_s")]
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
    """tokens_after: those that came after the first delivery, NaN where that is not known."""

    tokens_after: float
    buffered: bool
    has_gaps: bool


def _pace(
    times_s: list[float], tokens: list[int] | None, answer_tokens: float, sent_s: float
) -> _Pace:
    """How the chunks of one answer came.

    A server that sends several tokens in a chunk and counts them at the end alone leaves open how
    many were in the first: as many as in the others, where there are ten or more.
    """
    n = len(times_s)
    if n < 2:
        return _Pace(np.nan, answer_tokens >= 2, False)
    together = np.diff(times_s) <= TOGETHER_S
    with_first = n - 1 if together.all() else int(together.argmin())
    # as many in little time at the end come over a slow line from a buffer
    at_the_end = times_s[-1] - times_s[0] < TOGETHER_SHARE * (times_s[-1] - sent_s)
    buffered = with_first > FIRST_SHARE * (n - 1) or (at_the_end and together.mean() > 0.5)
    # where only the first and the last are known, those between are taken for one token each
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
    """ITL of each request: the gaps between its content chunks, none of those that have no ITL.

    samples: as `with_metrics` returns them. An imported request of which only the first and last
    chunk are known has NaN between: no gap.
    """
    return [
        np.diff(times) if fine else np.empty(0)
        for times, fine in zip(
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

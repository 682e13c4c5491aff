"""The requests of a run: lengths from a log or fixed, prompts that are in no prefix cache.

A prompt is random common words, or random token ids for a server without a tokenizer. Each begins
differently, in this run and in any with another seed, so that no prefix cache shortens a
measurement; prompts share a prefix only where the plan does.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from llmstudy.figure import FloatArray
from llmstudy.probe.endpoint import Request

# Short words that are one token, with the space before them, in the common tokenizers.
_WORDS = """
time year people way day man thing woman life child world school state family student group
country problem hand part place case week company system program question work number night point
home water room mother area money story fact month lot right study book eye job word business
issue side kind head house service friend father power hour game line end member law car city name
team minute idea body back parent face others level office door health person art war history
party result change morning reason research girl guy moment air teacher force education foot boy
age policy process music market sense nation plan college interest death course someone experience
behind reach local six remain effect use yes class control field development role effort rate
heart drug show leader light voice wife police mind price report decision son view town road true
arm difference value building action
""".split()  # noqa: SIM905 - a list of words reads best as words

_Number = TypeVar("_Number", int, float)

CHECK_WORDS = (50, 250)
"""Words in the prompts of the two requests before a load."""

_PREFIX, _REST = 1, 2  # streams of random numbers under one seed


@dataclass(frozen=True)
class TokensPerWord:
    """An endpoint's token count of a prompt: tokens = overhead + per_word * words."""

    per_word: float = 1.0
    overhead: float = 0.0

    def words(self, tokens: float) -> int:
        """Words that make `tokens`, at least one."""
        return max(round((tokens - self.overhead) / self.per_word), 1)


@dataclass(frozen=True)
class Plan:
    """Every request of a run, before the first is sent; the same plan and seed are the same run.

    schedule: one row per request: index, phase, scheduled_s (null in closed loop), input_tokens,
    output_tokens (null: no limit), prefix_group (null: unique). vocabulary: number of token ids
    where prompts are ids, None where they are text. shared_prefix_share: of the input tokens.
    """

    schedule: pd.DataFrame
    seed: int
    vocabulary: int | None = None
    shared_prefix_share: float = 0.0
    tokens_per_word: TokensPerWord = TokensPerWord()

    @property
    def usual_limit(self) -> int | None:
        """The median of the answers' limits, in tokens; None where answers have none."""
        limits = self.schedule["output_tokens"]
        return None if limits.isna().any() or limits.empty else int(limits.median())

    def requests(self, skip: frozenset[int] = frozenset()) -> Iterator[Request]:
        """Yields the requests in order, each built when it is reached. skip: indices left out."""
        columns = ["index", "phase", "scheduled_s", "input_tokens", "output_tokens", "prefix_group"]
        for index, phase, scheduled_s, read, written, group in zip(
            *(self.schedule[name].tolist() for name in columns), strict=True
        ):
            if index in skip:
                continue
            prefix_group = _cell(group, int)
            yield Request(
                index=index,
                phase=phase,
                prompt=self.prompt(index, int(read), prefix_group),
                input_tokens=int(read),
                output_tokens=_cell(written, int),
                scheduled_s=_cell(scheduled_s, float),
                prefix_group=prefix_group,
            )

    def prompt(self, index: int, input_tokens: int, group: int | None) -> str | list[int]:
        """The prompt of one request, the same whenever it is made."""
        size = self.tokens_per_word.words(input_tokens) if self.vocabulary is None else input_tokens
        shared = 0 if group is None else min(round(self.shared_prefix_share * size), size - 1)
        pieces = self._pieces(_REST, index, size - shared)
        if shared:
            pieces = np.concatenate([self._pieces(_PREFIX, group or 0, shared), pieces])
        ids: list[int] = pieces.tolist()
        return ids if self.vocabulary is not None else " ".join(_WORDS[i] for i in ids)

    def _pieces(self, stream: int, number: int, size: int) -> npt.NDArray[np.int64]:
        rng = np.random.default_rng([self.seed, stream, number & 0xFFFFFFFF])  # -1 is a number too
        return rng.integers(self.vocabulary or len(_WORDS), size=size)


def plan(
    lengths: pd.DataFrame,
    seed: int,
    scheduled_s: FloatArray | None = None,
    warmup_n: int = 0,
    vocabulary: int | None = None,
    shared_prefix_share: float = 0.0,
    prefix_groups: int = 1,
) -> Plan:
    """Requests of these lengths at these times; the first `warmup_n` do not count.

    lengths: input_tokens, output_tokens, one row per request. scheduled_s: (n,), None in closed
    loop. With a shared prefix the requests take turns among `prefix_groups`.
    Raises: ValueError if the lengths and times differ in number, the times fall, a length is below
    1, the warm-up leaves nothing, the share is not in [0, 1), or the seed is negative.

    >>> two = plan(fixed_lengths(6, 8, 4), seed=1, warmup_n=2)
    >>> [request.phase for request in two.requests()].count("measure")
    4
    """
    n = len(lengths)
    if scheduled_s is not None and len(scheduled_s) != n:
        raise ValueError(f"{n} lengths for {len(scheduled_s)} arrivals: give one each")
    if scheduled_s is not None and not (np.diff(scheduled_s, prepend=0.0) >= 0).all():
        raise ValueError("the arrivals are not in order: give times from 0 that do not fall")
    if seed < 0:
        raise ValueError(f"seed {seed}: give one of 0 or more")
    if not 0 <= warmup_n < n:
        raise ValueError(
            f"{warmup_n} requests of warm-up leave none of {n} to measure: give fewer of them"
        )
    if not 0 <= shared_prefix_share < 1 or prefix_groups < 1:
        raise ValueError(
            f"shared prefix of {shared_prefix_share:g} of the input in {prefix_groups} groups: "
            "give a share from 0 to below 1, and at least one group"
        )
    if not ((lengths >= 1) | lengths.isna()).all(axis=None) or lengths["input_tokens"].isna().any():
        raise ValueError("a request of less than one token: give lengths of at least 1")
    index = np.arange(n)
    schedule = pd.DataFrame(
        {
            "index": index,
            "phase": np.where(index < warmup_n, "warmup", "measure"),
            "scheduled_s": np.nan if scheduled_s is None else scheduled_s,
            "input_tokens": lengths["input_tokens"].to_numpy(),
            "output_tokens": lengths["output_tokens"].to_numpy(dtype=float),
            "prefix_group": index % prefix_groups if shared_prefix_share else np.nan,
        }
    )
    return Plan(schedule, seed, vocabulary, shared_prefix_share)


def fixed_lengths(n: int, input_tokens: int, output_tokens: int | None) -> pd.DataFrame:
    """The same lengths for each of n requests; output_tokens None sets no limit."""
    return pd.DataFrame(
        {"input_tokens": input_tokens, "output_tokens": output_tokens}, index=range(n)
    ).astype(float)


def logged_lengths(requests: pd.DataFrame, n: int, rng: np.random.Generator) -> pd.DataFrame:
    """Draws lengths of n requests from a log, input and output together. requests: canonical table.

    Requests that failed or have no output are left out.
    Raises: ValueError if there is no other.
    """
    answered = requests[requests["ok"] & (requests["output_tokens"] > 0)]
    answered = answered[answered["input_tokens"] > 0]
    if answered.empty:
        raise ValueError("the log has no answered request with its tokens: give another log")
    drawn = answered.iloc[rng.integers(len(answered), size=n)]
    return drawn[["input_tokens", "output_tokens"]].astype(float).reset_index(drop=True)


def _cell(value: Any, kind: Callable[[Any], _Number]) -> _Number | None:
    """A cell of the schedule, None where it is empty."""
    return None if pd.isna(value) else kind(value)

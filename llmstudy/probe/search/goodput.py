"""Searches for the highest rate at which enough requests meet the SLO.

`measure(rate, n)` sends n requests at a rate, after a warm-up, and returns the run: the search
needs no HTTP.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from math import ceil, inf, log, sqrt
from typing import Literal

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from llmstudy.figure import FloatArray
from llmstudy.measures.quality import wilson
from llmstudy.probe.options import SLO
from llmstudy.probe.run import BUFFERED_SHARE, Run, with_metrics

Measure = Callable[[float, int], Run]
"""Sends n requests at a level, after a warm-up, and returns the run, or ends the search."""

Verdict = Literal["passes", "fails", "unresolved"]


class EndOfSearch(Exception):  # noqa: N818 - how a search may end, which is no error
    """Raised by `measure` when it can measure no more; its text is why the search stopped."""


@dataclass(frozen=True)
class Goodput:
    """The highest rate within an SLO, and how closely it was narrowed down.

    passing_per_s: the highest rate measured to meet the target, None if none did. failing_per_s:
    the lowest measured to miss it, None if none did. The highest rate within the SLO lies between
    them; rates in between that the request cap left open are in `steps`. goodput_per_s: good
    requests per second at the passing rate, 0 without one. steps: level, n, attainment_share, low,
    high, effective_n, verdict, in the order measured. stopped: why the search ended, "resolved",
    "unresolved", "passes at the highest rate", "fails at the lowest rate", "max_requests", or the
    text of `EndOfSearch`.
    """

    passing_per_s: float | None
    failing_per_s: float | None
    goodput_per_s: float
    steps: pd.DataFrame
    stopped: str
    n_requests: int


def slo_margin(samples: pd.DataFrame, slo: SLO) -> FloatArray:
    """The largest ratio of a request's metrics to their limits: good is 1 or less. Shape (n,).

    samples: columns of `Sample`. A failure is +inf, and so is a request whose metric is unknown.
    An answer of one token has no TPOT and meets any limit on it. TTFT and E2E latency run from the
    scheduled time.
    Raises: ValueError if a metric that the SLO limits is unknown for more than `BUFFERED_SHARE` of
    the requests that succeeded: they did not miss the SLO.

    >>> from llmstudy.probe.run import Sample, table
    >>> late = Sample(0, "measure", 1.0, 1.1, content_times_s=[1.6], ok=True)
    >>> slo_margin(table([late]), SLO(ttft_s=0.5)).round(2).tolist()
    [1.2]
    """
    derived = with_metrics(samples)
    ok = derived["ok"].to_numpy(dtype=bool)
    margin = np.where(ok, 0.0, inf)
    for metric, limit in slo.limits.items():
        used = derived[metric].to_numpy(dtype=float) / limit
        if metric == "tpot_s":
            used = np.where(derived["answer_tokens"] < 2, 0.0, used)
        unknown = float(np.isnan(used[ok]).mean()) if ok.any() else 0.0
        if unknown > BUFFERED_SHARE:
            raise ValueError(
                f"{unknown:.0%} of the answers have no {metric}, which the SLO limits: measure "
                "where answers are streamed, not held back in a buffer, and their tokens counted; "
                "or drop the limit"
            )
        margin = np.maximum(margin, np.nan_to_num(used, nan=inf, posinf=inf))
    return margin


def max_goodput(
    measure: Measure,
    slo: SLO,
    low: float,
    high: float,
    resolution_share: float = 0.1,
    n_first: int = 200,
    n_cap: int = 6400,
    max_requests: int = 100_000,
) -> Goodput:
    """The highest offered rate at which the share of good requests meets the SLO's target.

    Doubles the rate from `low` until one fails, then bisects on a logarithmic scale until passing
    and failing rates lie within `resolution_share` of each other. A step samples, in runs that
    double from `n_first` to `n_cap` in all, until the interval of its attainment excludes the
    target; at the cap, or when `max_requests` leaves no further run of `n_first`, it is unresolved,
    and the search goes on below and above it.

    The interval is Wilson's at 95 % over all looks of a step (Bonferroni), for the effective
    number of requests: those in one queue are late together. Before the first miss their clumping
    shows in the ranks of `slo_margin`, and so does a queue that has only begun to grow.

    measure: runs at a rate per second. low, high: the rates to search between.
    Raises: ValueError if not 0 < low < high, a size is not above 0, or a run measured nothing.
    Source: Wilson (1927), JASA 22:209-212; batch means as in Law (2015), Simulation Modeling and
    Analysis, 5th ed., section 9.5.3.
    """
    if not 0 < low < high < inf:
        raise ValueError(f"rates from {low:g} to {high:g} per s: give 0 < low < high")
    if not (resolution_share > 0 and 0 < n_first <= n_cap <= max_requests):
        raise ValueError(
            f"resolution_share {resolution_share:g}, n_first {n_first}, n_cap {n_cap}, "
            f"max_requests {max_requests}: give a share above 0 and 0 < n_first <= n_cap <= "
            "max_requests"
        )
    steps_by_rate: dict[float, _Step] = {}
    remaining, ended = max_requests, None
    while (rate := _next_rate([*steps_by_rate.values()], low, high, resolution_share)) is not None:
        if remaining < n_first:
            ended = "max_requests"
            break
        try:
            for step in _looks(measure, rate, slo, n_first, min(n_cap, remaining)):
                steps_by_rate[rate] = step
        except EndOfSearch as end:
            ended = str(end)
            break
        remaining -= steps_by_rate[rate].n
    steps = [*steps_by_rate.values()]
    passing, between, failing = _bracket(steps)
    best = None if passing is None else steps_by_rate[passing]
    stopped = "resolved"
    if ended is not None:
        stopped = ended
    elif between:
        stopped = "unresolved"
    elif failing is None:
        stopped = "passes at the highest rate"
    elif passing is None:
        stopped = "fails at the lowest rate"
    return Goodput(
        passing,
        failing,
        best.level * best.attainment_share if best else 0.0,
        pd.DataFrame([asdict(step) for step in steps]),
        stopped,
        sum(step.n for step in steps),
    )


@dataclass(frozen=True)
class _Step:
    """A rate, the attainment of its requests, and the verdict."""

    level: float
    n: int
    attainment_share: float
    low: float
    high: float
    effective_n: float
    verdict: Verdict


def _looks(measure: Measure, level: float, slo: SLO, n_first: int, n_cap: int) -> Iterator[_Step]:
    """Yields a level's step after each run, until the target is excluded or the cap reached."""
    looks = 1 + ceil(log(n_cap / n_first, 2))
    level_of_look = 1 - 0.05 / looks
    margins: list[FloatArray] = []
    n_sent = 0
    verdict: Verdict = "unresolved"
    while verdict == "unresolved" and n_cap - n_sent >= n_first:
        n = min(max(n_first, n_sent), n_cap - n_sent)
        measured = measure(level, n).measured.sort_values("scheduled_s", kind="stable")
        if measured.empty:
            raise ValueError(
                f"a run of {n} requests at level {level:g} measured none: look at its errors"
            )
        n_sent += n
        margins.append(slo_margin(measured, slo))
        every = np.concatenate(margins)
        share = float((every <= 1).mean())
        effective_n = len(every) / _design_effect(margins)
        attained = wilson(share * effective_n, effective_n, level_of_look)
        if attained.low >= slo.attainment_share:
            verdict = "passes"
        elif attained.high < slo.attainment_share:
            verdict = "fails"
        yield _Step(level, len(every), share, attained.low, attained.high, effective_n, verdict)


def _design_effect(runs: Sequence[FloatArray]) -> float:
    """The factor by which clumping raises the variance of a mean, from the margins of runs.

    The larger of two: that of the ranks, which vary while all requests are good, and that of being
    good, which in a queue comes and goes in longer spells than the rank does.
    """
    margins = np.concatenate(runs).round(6)  # what differs by rounding only is a tie
    ends = np.cumsum([len(run) for run in runs])[:-1]
    kinds = rankdata(margins), (margins <= 1).astype(float)
    return max(_clumping(np.split(kind - kind.mean(), ends)) for kind in kinds)


def _clumping(runs: Sequence[FloatArray]) -> float:
    """The larger of two estimates: batch means, and an autoregression between neighbours.

    Batches shorter than the clumps miss them, which the autoregression, from neighbours alone, does
    not. Its lag-1 correlation is freed of the bias of short series: Kendall (1954), Biometrika
    41:403-404.
    """
    n = sum(len(run) for run in runs)
    squares = sum(float(run @ run) for run in runs)
    if squares == 0 or n < 4:
        return 1.0
    neighbours = sum(float(run[1:] @ run[:-1]) for run in runs) / squares
    neighbours = min(max(0.0, neighbours + (1 + 3 * neighbours) / n), 1 - 1 / n)
    length = int(sqrt(n))
    batches = [run[: len(run) // length * length].reshape(-1, length) for run in runs]
    means = np.concatenate(batches).mean(axis=1)
    of_batches = length * float(means.var(ddof=1)) * n / squares if len(means) > 1 else 1.0
    return max(1.0, of_batches, (1 + neighbours) / (1 - neighbours))


def _bracket(steps: Sequence[_Step]) -> tuple[float | None, list[float], float | None]:
    """The highest passing rate below the lowest failing one, that one, the unresolved between."""
    failing = min((s.level for s in steps if s.verdict == "fails"), default=None)
    below = [s for s in steps if failing is None or s.level < failing]
    passing = max((s.level for s in below if s.verdict == "passes"), default=None)
    unresolved = [s.level for s in below if s.verdict == "unresolved"]
    return passing, sorted(x for x in unresolved if x > (passing or 0.0)), failing


def _next_rate(
    steps: Sequence[_Step], low: float, high: float, resolution_share: float
) -> float | None:
    """The rate to try next; None when the search is done."""
    if not steps:
        return low
    passing, between, failing = _bracket(steps)
    if failing is None:
        tried = max(step.level for step in steps)
        return min(2 * tried, high) if tried < high else None
    marks = [*([] if passing is None else [passing]), *between, failing]
    # what is left open: next to a passing rate and next to a failing one, not between unresolved
    sides = {(marks[-2], marks[-1])} if len(marks) > 1 else set()
    if passing is not None:
        sides.add((marks[0], marks[1]))
    below, above = max(sides, key=lambda side: side[1] / side[0], default=(1.0, 1.0))
    return sqrt(below * above) if above / below > 1 + resolution_share else None

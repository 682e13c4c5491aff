"""Is a run valid? Checks of arrivals, client, clock, tokens and cache, each with its limit.

A load tool can report the latency of another load than the one requested, of its own slowness, or
of a cache. Each check compares the rows of a run with its recorded facts. A run is valid when no
check failed and none that the percentiles rest on is unknown; an invalid run does not enter a memo.
Failed requests do not make a run invalid: they are +inf in its percentiles.

Statistical checks (rate_asked, gaps, dispersion, lag1, drift): a correct run fails each once in
1,000 times, whatever its length, so that at most one correct run in 200 is refused and must be
repeated. Each detects a fault, named at its limit; where a run is too short to show that fault nine
times in ten, the check is unknown and states how many requests it takes. The simulations behind
both numbers are in tests/probe/test_probe_audit_rates.py.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import ceil, floor
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import chi2, gamma, norm, rankdata
from scipy.stats import t as student_t

from llmstudy import io, paths
from llmstudy.figure import FloatArray
from llmstudy.measures.latency import batches
from llmstudy.prices import same_model
from llmstudy.probe.run import (
    AT_SPEND_CAP,
    PER_REQUEST,
    Run,
    chunk_gaps_s,
    with_metrics,
)

CHANCE = 1e-3
"""Highest share of correct runs that a statistical check refuses."""

RATE_GAPS = 50
"""Gaps of a Poisson process that show half or twice the requested rate: exact."""

KS_BY_SHAPE = pd.DataFrame(
    {
        "shape": [0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 16.0],
        "critical": [1.90, 1.78, 1.67, 1.57, 1.45, 1.40, 1.34],
        "gaps": [85, 95, 115, 140, 155, 180, 200],
    }
)
"""Gamma gaps against the gamma law with their own mean: the scaled distance (Stephens) that one
correct run in 1,000 exceeds, and the gaps that show half and twice the shape. By simulation of
60,000 and 1,500 runs."""

DISPERSION_BLOCKS = 17
"""Blocks of ten gaps that show a rate three times as high in the second half."""

LAG1_GAPS = 80
"""Gaps that show two workers with one seed, which send each gap twice."""

SPREAD_GAPS = 10
"""Gaps that show Poisson arrivals where constant ones are recorded; late timers pass."""

DRIFT_REQUESTS, DRIFT_INDEPENDENT = 240, 200
"""Requests that show a first quarter slower by half (its logarithms scatter by 0.3), and the
effective number of independent ones: fewer look like the swings of a queue."""

TIMER_S = 0.002
"""Lateness of a timer on a busy shared host, for which the client is not to blame."""

TEMPLATE_TOKENS = 32
"""Tokens that a chat template may add to a prompt, and that all prompts then share; assumed, after
the 8 to 20 of common templates and two cache blocks of 16."""

BY_ITSELF = ("stop", "eos", "eos_token", "end_turn", "stop_sequence")
"""Finish reasons of a model that ended its answer itself."""

UNSENT = "the file has no times at which its requests were sent"

BUSY_SHARE = 0.9
"""Share of a closed loop's users that must have a request in flight; one may be between two."""

SLOWER_FIRST = {"closed": 2.0, "open": 10.0}
"""Ratio of the first quarter's median to the rest's beyond which a run counts as warming up, even
where chance may explain it. The users of a closed loop bound its queue; that of random arrivals is
not bounded: of 200 correct runs of 400 requests the largest ratio was 6.3 in M/M/1 at 70 %
utilisation, and 10.2 at 90 %."""

LONGEST_RUN_S = 30 * 86_400.0
"""Longest time after a run's start: a larger one has another origin."""


def _limits() -> dict[str, Any]:
    table = pd.read_csv(paths.data("probe_audit.csv"), keep_default_na=False)
    table = table.assign(needed=table["needed"] == "yes", loads=table["loads"].str.split())
    return {str(row.check): row for row in table.itertuples(index=False)}


LIMITS: Mapping[str, Any] = _limits()
"""The rows of data/probe_audit.csv by check, in the order in which they are reported.

limit, unit, side ("at most", "at least"), why; needed: the run is invalid, too, when the check
cannot be made; loads: processes to which the check applies, by the times at which requests were
sent; empty: all, and without such times."""


class Finding(NamedTuple):
    """The value that a check measured; None where it could not be made, with `evidence` on why.

    limit: where this run allows another than the table. passes: where more than the value decides.
    short_of: requests that it takes to pass; with fewer the check fails or is unknown.
    """

    value: float | None
    evidence: str
    limit: float | None = None
    passes: bool | None = None
    short_of: int | None = None


CHECK_COLUMNS = ["check", "value", "limit", "unit", "status", "why"]


@dataclass(frozen=True)
class Audit:
    """Whether a run is valid, and if not, the reasons.

    checks: one row per check that applies: check, value, limit, unit, status ("passed", "failed",
    "unknown"), why (what was measured).
    """

    valid: bool
    reasons: tuple[str, ...]
    checks: pd.DataFrame

    def as_json(self) -> dict[str, Any]:
        """`valid`, `reasons` and `checks` as plain JSON values."""
        fields = {"valid": self.valid, "reasons": list(self.reasons), "checks": self.checks}
        return dict(io.plain(fields, "audit"))


def audit(run: Run) -> Audit:
    """Judges a recorded or imported run by the table of limits.

    >>> from llmstudy.probe.run import table
    >>> empty = audit(Run(table([]), {}))
    >>> empty.valid, empty.reasons[0]
    (False, 'answered: 0 of 0 requests were answered (at least 6 requests)')
    """
    view = _RunView(run)
    rows, reasons = [], []
    for name, rule in LIMITS.items():
        if rule.loads and view.process not in rule.loads:
            continue
        unsent = rule.loads and not view.has_send_times
        finding = Finding(None, UNSENT) if unsent else _CHECKS[name](view)
        if finding is None:
            continue
        limit = rule.limit if finding.limit is None else finding.limit
        status = _status(finding, limit, rule)
        if status == "failed":
            reasons.append(f"{name}: {finding.evidence} ({rule.side} {limit:.3g} {rule.unit})")
        elif finding.value is None and rule.needed:
            reasons.append(f"{name}: unknown, {finding.evidence}; {rule.why}")
        takes = f"; it takes {finding.short_of} requests to tell" if status == "unknown" else ""
        evidence = finding.evidence + (takes if finding.short_of else "")
        rows.append((name, finding.value, limit, rule.unit, status, evidence))
    if view.answered.empty:  # the cause of whatever else is wrong
        reasons = [r for r in reasons if r.startswith(("complete: ", "answered: "))]
    checks = pd.DataFrame(rows, columns=CHECK_COLUMNS).astype({"value": float, "limit": float})
    return Audit(not reasons, tuple(reasons), checks)


def _status(finding: Finding, limit: float, rule: Any) -> str:
    if finding.value is None:
        return "unknown"
    within = finding.value <= limit if rule.side == "at most" else finding.value >= limit
    if not (within if finding.passes is None else finding.passes):
        return "failed"
    return "unknown" if finding.short_of else "passed"


_CHECKS: dict[str, Callable[["_RunView"], Finding | None]] = {}


def _check(
    measure: Callable[["_RunView"], Finding | None],
) -> Callable[["_RunView"], Finding | None]:
    """Registers a check under its function's name. It returns None where it does not apply."""
    _CHECKS[measure.__name__.removeprefix("_")] = measure
    return measure


class _RunView:
    """The views of a run that its checks share. Times in seconds, in the order of the schedule."""

    def __init__(self, run: Run) -> None:
        self.facts = run.facts
        self.all = run.samples
        self.measured = with_metrics(run.measured)
        self.answered = self.measured[self.measured["ok"]]
        self.load: Mapping[str, Any] = run.facts.get("load") or {}
        self.client: Mapping[str, Any] = run.facts.get("client") or {}
        self.process = self.load.get("process")

    @cached_property
    def scheduled_s(self) -> FloatArray:
        return np.sort(self.measured["scheduled_s"].to_numpy(dtype=float))

    @cached_property
    def dispatched_s(self) -> FloatArray:
        return np.sort(self.measured["dispatched_s"].to_numpy(dtype=float))

    @property
    def lag_s(self) -> FloatArray:
        return (self.measured["dispatched_s"] - self.measured["scheduled_s"]).to_numpy(dtype=float)

    @property
    def open(self) -> bool:
        return self.process is not None and self.process != "closed"

    @property
    def has_send_times(self) -> bool:
        """Whether the times are those of one clock, so that the sending of requests is recorded."""
        return bool(self.facts.get("clock") != PER_REQUEST)

    @property
    def has_schedule(self) -> bool:
        """Whether scheduled times are recorded; without them they equal those of the sending."""
        return bool((self.lag_s != 0).any())

    @cached_property
    def held_by_cap(self) -> npt.NDArray[np.bool_]:
        """Which requests waited for the cap on concurrency. (n,)."""
        cap = self.load.get("concurrency")
        if not cap or not self.open:
            return np.zeros(len(self.measured), dtype=bool)
        under_way = self.in_flight_at(self.measured["scheduled_s"])
        return np.asarray((under_way >= cap) & (self.lag_s > TIMER_S))

    def in_flight_at(self, at_s: "pd.Series[float]") -> FloatArray:
        """Requests in flight at these times, warm-up included."""
        dispatched_s, done_s = (np.sort(self.all[c].dropna()) for c in ("dispatched_s", "done_s"))
        return np.asarray(
            np.searchsorted(dispatched_s, at_s, "right") - np.searchsorted(done_s, at_s, "right")
        )

    def share_beside(self, n: int) -> float:
        """Share of all request time during which n or more requests were in flight.

        From the first measured request on, summed over the requests, so that one straggler counts
        as one; warm-up included.
        """
        dispatched_s, done_s = (
            self.all[c].dropna().to_numpy(float) for c in ("dispatched_s", "done_s")
        )
        began, ended = self.dispatched_s[0], self.measured["done_s"].max()
        at = np.unique(
            np.clip(np.concatenate([dispatched_s, done_s, [began, ended]]), began, ended)
        )
        if len(at) < 2:
            return 0.0
        under_way = self.in_flight_at(pd.Series(at[:-1]))
        request_s = under_way * np.diff(at)
        return float(request_s[under_way >= n].sum() / max(request_s.sum(), 1e-12))


# ---- whole, answered, timed ----------------------------------------------------------------------


@_check
def _complete(run: _RunView) -> Finding:
    ended, planned = run.facts.get("ended"), run.load.get("n")
    if planned is None and ended is None:
        return Finding(None, "the run lacks its planned number of requests and how it ended")
    missing = 0 if planned is None else planned - len(run.measured)
    gap = f"{missing} of the planned requests have no row"
    if ended == AT_SPEND_CAP:  # nothing that was sent is missing
        return Finding(0, f"the run ended at its spend cap, {missing} requests short")
    if ended not in (None, "complete"):
        return Finding(missing, f"{gap}; the run ended: {ended}", passes=False)
    return Finding(abs(missing), gap)


@_check
def _answered(run: _RunView) -> Finding:
    n = len(run.answered)
    return Finding(n, f"{n} of {len(run.measured)} requests were answered")


@_check
def _times(run: _RunView) -> Finding:
    if run.answered.empty:
        return Finding(None, "no request was answered")
    lacking = float(run.answered["ttft_s"].isna().mean())
    return Finding(lacking, f"{lacking:.1%} of the answered requests have no times of their chunks")


@_check
def _clock(run: _RunView) -> Finding:
    chunks = run.measured["content_times_s"]
    columns = ["scheduled_s", "dispatched_s", "headers_s", "first_reasoning_s", "done_s"]
    times = run.measured[columns].astype(float)
    times["first"] = chunks.map(lambda t: t[0] if t else np.nan).astype(float)
    times["last"] = chunks.map(lambda t: t[-1] if t else np.nan).astype(float)
    streamed = chunks.map(bool).astype(bool)
    scheduled_s, dispatched_s = times["scheduled_s"], times["dispatched_s"]
    answers = times[["headers_s", "first_reasoning_s", "first"]]
    wrong = {
        "without a time": dispatched_s.isna() | scheduled_s.isna(),
        "with a time that is no number": streamed & times[["first", "last"]].isna().any(axis=1),
        "sent before they were scheduled": dispatched_s < scheduled_s - TIMER_S,
        "answered before they were sent": answers.lt(dispatched_s, axis=0).any(axis=1),
        "with chunks out of order": chunks.map(lambda t: any(np.diff(t) < 0)).astype(bool),
        "ended before their last chunk": times["done_s"] < times["last"] - TIMER_S,
        "with times from another origin": times.abs().gt(LONGEST_RUN_S).any(axis=1),
    }
    contradictions = [
        f"{int(which.sum())} requests {what}" for what, which in wrong.items() if which.any()
    ]
    bad = np.logical_or.reduce(list(wrong.values()))
    return Finding(int(bad.sum()), "; ".join(contradictions) or "no time contradicts another")


@_check
def _own_errors(run: _RunView) -> Finding | None:
    if run.measured.empty:
        return None
    error = run.measured["error"].astype(object).where(~run.measured["ok"], "").astype(str)
    is_client_error = (error == "connection") | (
        error.str.match(r"http_4") & ~error.isin(["http_408", "http_429"])
    )
    share = float(is_client_error.mean())
    return Finding(
        share, f"{share:.1%} of the requests failed on the way or were refused as faulty"
    )


@_check
def _served_model(run: _RunView) -> Finding | None:
    if run.answered.empty:
        return None
    requested = (run.facts.get("endpoint") or {}).get("model")
    served_as = (run.facts.get("serving") or {}).get("model")  # what an alias stands for
    names = [str(name) for name in (requested, served_as) if name]
    served = run.answered["served_model"].dropna().astype(str).value_counts()
    if served.empty:
        return Finding(None, "no answer names the model that gave it")
    right = [m for m in served.index if not names or any(same_model(m, name) for name in names)]
    one = [m for m in right if same_model(m, right[0])]  # two snapshots are two models
    by_model = ", ".join(f"{n} by {model}" for model, n in served.items())
    evidence = f"{requested or 'a model'} was requested, and the answers are {by_model}"
    if len(served) == 1 and not right:
        evidence += (
            f"; where {requested} is an alias of that model, write the model's own name as "
            "serving.model in the run's run.json"
        )
    return Finding(int(served.drop(one).sum()), evidence)


# ---- arrivals ------------------------------------------------------------------------------------


@_check
def _process(run: _RunView) -> Finding:
    processes = ("poisson", "gamma", "constant", "replay", "ramp", "closed")
    if run.process in processes:
        return Finding(0, f"{run.process} arrivals were requested")
    return Finding(None, f"the arrival process is {run.process!r}, none of {', '.join(processes)}")


@_check
def _concurrency(run: _RunView) -> Finding | None:
    users = run.load.get("concurrency")
    if not users:
        return Finding(None, "the number of users is not recorded")
    if run.measured.empty or run.measured["done_s"].isna().all():
        return Finding(None, "no request has a time of its end")
    most, busy = min(users, len(run.measured)), max(floor(BUSY_SHARE * users), 1)
    reached = int(run.in_flight_at(run.measured["dispatched_s"]).max())
    if reached < BUSY_SHARE * most:
        evidence = f"at most {reached} of {users} users had a request in flight"
        return Finding(reached / most, evidence, passes=False)
    share = run.share_beside(min(busy, most))
    return Finding(
        share, f"{share:.0%} of the waiting was in times when {busy} or more of {users} waited"
    )


@_check
def _rate(run: _RunView) -> Finding | None:
    realised, scheduled = _per_s(run.dispatched_s), _per_s(run.scheduled_s)
    if realised is None or scheduled is None:
        return Finding(None, "a rate takes two requests at different times")
    requested = run.load.get("rate_per_s") if run.process == "constant" else None
    against = {"scheduled": scheduled} | ({"requested": requested} if requested else {})
    what, other = max(against.items(), key=lambda item: abs(realised / item[1] - 1))
    off = abs(realised / other - 1)
    evidence = f"{realised:.4g} requests/s were sent where {other:.4g} were {what}"
    timer = 2 * TIMER_S / float(np.ptp(run.dispatched_s))  # at the first and at the last
    return Finding(off, evidence, max(LIMITS["rate"].limit, timer))


def _per_s(times_s: FloatArray) -> float | None:
    if len(times_s) < 2 or not times_s[-1] > times_s[0]:
        return None
    return float((len(times_s) - 1) / (times_s[-1] - times_s[0]))


def _shape(run: _RunView) -> float | None:
    """Shape of the requested gamma gaps; 1 is Poisson. None: no random gaps."""
    if run.process == "poisson":
        return 1.0
    return run.load.get("burstiness") if run.process == "gamma" else None


@_check
def _rate_asked(run: _RunView) -> Finding | None:
    shape, rate, n_gaps = _shape(run), run.load.get("rate_per_s"), len(run.scheduled_s) - 1
    if not shape or not rate or n_gaps < 1:
        return Finding(None, "the requested rate or burstiness is not recorded")
    span = np.ptp(run.scheduled_s)
    below = gamma.cdf(span, n_gaps * shape, scale=1 / (rate * shape))
    p = float(2 * min(below, 1 - below))
    per_s = n_gaps / span if span else np.inf
    evidence = f"{per_s:.4g} requests/s were scheduled where {rate:.4g} were requested, p {p:.2g}"
    return Finding(p, evidence, short_of=_short_of(n_gaps, ceil(RATE_GAPS / shape)))


def _short_of(n_gaps: int, needed: int) -> int | None:
    """Requests that make `needed` gaps; None where there are as many gaps."""
    return needed + 1 if n_gaps < needed else None


def _random_gaps(
    run: _RunView,
    judge: Callable[[FloatArray, float, bool], Finding],
    badness: Callable[[Finding], float],
) -> Finding | None:
    """The worse finding, of the scheduled gaps and of the gaps as sent.

    judge: of gaps in seconds (n,), the requested shape, and whether they are those as sent.
    """
    shape = _shape(run)
    if not shape:
        return Finding(None, "the requested burstiness is not recorded")
    findings = []
    for times_s, is_sent in ((run.scheduled_s, False), (run.dispatched_s, True)):
        gaps = np.diff(times_s)
        if len(gaps) < 5 or not gaps.mean() > 0:
            return Finding(None, "it takes six requests at different times")
        finding = judge(gaps, shape, is_sent)
        findings.append(
            finding._replace(
                evidence=f"{'sent' if is_sent else 'scheduled'} gaps {finding.evidence}"
            )
        )
    return max(findings, key=badness)


@_check
def _gaps(run: _RunView) -> Finding | None:
    """Kolmogorov-Smirnov distance of the gaps from a gamma law with their own mean.

    Source: Stephens (1974), JASA 69:730-737, for the scaling with n; the critical values
    of other shapes and of 1 in 1,000 are simulated.
    """
    per_s = _per_s(run.dispatched_s) or 0.0

    def judge(gaps: FloatArray, shape: float, is_sent: bool) -> Finding:
        n, below = len(gaps), np.sort(gamma.cdf(gaps, shape, scale=gaps.mean() / shape))
        steps = np.arange(n + 1) / n
        distance = float(max((below - steps[:-1]).max(), (steps[1:] - below).max()))
        shapes = np.log(KS_BY_SHAPE["shape"])
        critical, needed = (
            float(np.interp(np.log(shape), shapes, KS_BY_SHAPE[column]))
            for column in ("critical", "gaps")
        )
        limit = critical / (np.sqrt(n) + 0.26 + 0.5 / np.sqrt(n)) + 0.2 / n
        if is_sent:
            limit = max(limit, LIMITS["gaps"].limit, min(TIMER_S * per_s, 0.2))
        evidence = f"lie {distance:.3f} from a {run.process} process"
        return Finding(distance, evidence, float(limit), short_of=_short_of(n, ceil(needed)))

    return _random_gaps(run, judge, lambda f: (f.value or 0) / (f.limit or 1))


@_check
def _dispersion(run: _RunView) -> Finding | None:
    """Whether blocks of gaps differ in length as by chance, neither more nor less.

    A sum of b gamma gaps of shape k is gamma of shape bk: the blocks' times are variances with 2bk
    degrees of freedom, whose equality Bartlett's statistic tests, whatever the rate.
    Source: Bartlett (1937), Proceedings of the Royal Society A 160:268-282.
    """

    def judge(gaps: FloatArray, shape: float, is_sent: bool) -> Finding:
        size = ceil(10 / min(shape, 1.0))
        n = len(gaps) // size
        needed = DISPERSION_BLOCKS * size
        if n < 2:
            evidence = f"make {n} block{'' if n == 1 else 's'} of {size}"
            return Finding(1.0, evidence, short_of=needed + 1)
        durations_s = gaps[: n * size].reshape(n, size).sum(axis=1)
        df = 2 * size * shape
        spread = (
            n * df * (np.log(durations_s.mean()) - np.log(np.maximum(durations_s, 1e-12)).mean())
        )
        spread /= 1 + (n + 1) / (3 * n * df)
        p = float(2 * min(chi2.sf(spread, n - 1), chi2.cdf(spread, n - 1)))
        index = spread / (n - 1)
        evidence = f"take, {size} at a time, {index:.2f} times the variance of chance, p {p:.2g}"
        return Finding(p, evidence, short_of=_short_of(len(gaps), needed))

    return _random_gaps(run, judge, lambda f: -(f.value or 0))


@_check
def _lag1(run: _RunView) -> Finding | None:
    per_s = _per_s(run.dispatched_s) or 0.0

    def judge(gaps: FloatArray, shape: float, is_sent: bool) -> Finding:
        ranks = rankdata(gaps)
        n = len(gaps) - 1
        if np.ptp(ranks) == 0:
            return Finding(1.0, "are all the same")
        r = float(np.corrcoef(ranks[1:], ranks[:-1])[0, 1])
        limit = max(float(norm.isf(CHANCE / 2)) / np.sqrt(n), LIMITS["lag1"].limit)
        if is_sent and r < 0:  # a request sent late lengthens one gap and shortens the next
            limit += min(TIMER_S * per_s, 0.5)
        evidence = f"follow each other with a rank correlation of {r:+.2f}"
        return Finding(abs(r), evidence, limit, short_of=_short_of(len(gaps), LAG1_GAPS))

    return _random_gaps(run, judge, lambda f: (f.value or 0) / (f.limit or 1))


@_check
def _gap_spread(run: _RunView) -> Finding | None:
    gaps = np.diff(run.dispatched_s)
    if len(gaps) < 5 or not gaps.mean() > 0:
        return Finding(None, "it takes six requests at different times")
    cv = float(gaps.std() / gaps.mean())
    limit = max(LIMITS["gap_spread"].limit, min(float(TIMER_S / gaps.mean()), 0.6))
    evidence = f"sent gaps vary by {cv:.0%} of their mean"
    return Finding(cv, evidence, limit, short_of=_short_of(len(gaps), SPREAD_GAPS))


@_check
def _repeated_gaps(run: _RunView) -> Finding | None:
    gaps = np.diff(run.scheduled_s)
    # times are known to a microsecond or so, and shorter gaps are alike for that reason alone
    gaps = gaps[gaps >= 1e-3].round(6)
    if len(gaps) < 5:
        return Finding(None, "fewer than five gaps are longer than a millisecond")
    # among 200, correct gaps coincide in fewer than 5 of 100 cases at up to 1,000 requests/s
    blocks = np.array_split(gaps, int(np.ceil(len(gaps) / 200)))
    distinct = sum(len(np.unique(block)) for block in blocks)
    share = distinct / len(gaps)
    return Finding(share, f"{distinct} of {len(gaps)} scheduled gaps are distinct")


# ---- the client ----------------------------------------------------------------------------------


@_check
def _dispatch_lag(run: _RunView) -> Finding | None:
    if run.measured.empty:
        return None
    if not run.has_schedule:
        return Finding(None, "the schedule is not recorded, only the sending")
    lag = run.lag_s[~run.held_by_cap]
    if not len(lag):
        return Finding(None, "the cap on concurrency held every request")
    p99, ttft = float(np.quantile(lag, 0.99)), run.answered["ttft_s"].dropna()
    slow = float(ttft.quantile(0.99)) if len(ttft) else 0.0
    limit = max(LIMITS["dispatch_lag"].limit, slow / 10)
    return Finding(
        p99, f"one request in a hundred was sent {1000 * p99:.1f} ms late or later", limit
    )


@_check
def _held_by_cap(run: _RunView) -> Finding | None:
    if not run.load.get("concurrency") or run.measured.empty:
        return None
    share = float(run.held_by_cap.mean())
    return Finding(share, f"the cap on concurrency held {share:.1%} of the requests")


@_check
def _loop_lag(run: _RunView) -> Finding:
    lag = run.client.get("loop_lag_p99_s")
    if lag is None:
        return Finding(None, "the event loop was not watched")
    return Finding(lag, f"the event loop came {1000 * lag:.1f} ms late at its p99")


@_check
def _loop_lag_to_itl(run: _RunView) -> Finding:
    lag, gaps = run.client.get("loop_lag_p99_s"), chunk_gaps_s(run.measured)
    if lag is None or not len(gaps) or not np.median(gaps) > 0:
        return Finding(None, "the event loop was not watched, or there are no gaps between chunks")
    itl = float(np.median(gaps))
    ratio, timer = lag / itl, TIMER_S / itl
    evidence = f"the event loop came late by {ratio:.2f} of the median ITL at its p99"
    return Finding(ratio, evidence, max(LIMITS["loop_lag_to_itl"].limit, timer))


@_check
def _client_cpu(run: _RunView) -> Finding:
    share = run.client.get("cpu_share")
    if share is None:
        return Finding(None, "the client's CPU time was not measured")
    return Finding(share, f"the client used {share:.0%} of one core")


# ---- tokens and cache ----------------------------------------------------------------------------


@_check
def _input_tokens(run: _RunView) -> Finding | None:
    finding = _mismatch(run.answered, "asked_input_tokens", "input_tokens", "input")
    if finding is None or finding.value is None:
        return finding
    template = TEMPLATE_TOKENS / run.answered["asked_input_tokens"].mean()
    return finding._replace(limit=max(LIMITS["input_tokens"].limit, template))


@_check
def _output_tokens(run: _RunView) -> Finding | None:
    # a model that stopped by itself may write fewer tokens; one that wrote more did not stop
    answered = run.answered
    beyond = answered["output_tokens"] > answered["asked_output_tokens"]
    comparable = answered[beyond | ~answered["finish_reason"].isin(BY_ITSELF)]
    return _mismatch(comparable, "asked_output_tokens", "output_tokens", "output")


def _mismatch(answered: pd.DataFrame, requested: str, counted: str, what: str) -> Finding | None:
    limited = answered[answered[requested].notna()]
    if limited.empty:
        return None
    counted_rows = limited[limited[counted].notna()]
    if counted_rows.empty:
        return Finding(None, f"the server counts no {what} tokens")
    ratio = float(counted_rows[counted].sum() / counted_rows[requested].sum())
    evidence = f"the server counted {ratio:.3g} {what} tokens for each requested one"
    return Finding(abs(ratio - 1), evidence)


@_check
def _content_tokens(run: _RunView) -> Finding | None:
    counted = run.answered[
        run.answered["content_tokens"].notna() & run.answered["answer_tokens"].notna()
    ]
    if counted.empty:
        return None
    in_chunks = counted["content_tokens"].map(sum).astype(float)
    # the token that ends an answer is billed and has no text
    allowed = (0.02 * counted["answer_tokens"]).clip(lower=1)
    share = float(((in_chunks - counted["answer_tokens"]).abs() > allowed).mean())
    return Finding(
        share, f"{share:.1%} of the answers hold other numbers of tokens than the server counted"
    )


@_check
def _chunks(run: _RunView) -> Finding | None:
    counted = run.answered[run.answered["answer_tokens"].notna()]
    if counted.empty:
        return Finding(None, "the server counts no answer tokens")
    share = float((counted["content_times_s"].map(len) > counted["answer_tokens"]).mean())
    return Finding(share, f"{share:.1%} of the answers have more chunks than tokens")


@_check
def _pace(run: _RunView) -> Finding | None:
    """Whether answers come as they are written. Where not, TPOT and ITL are null, and the rest
    of the run is valid: a user behind the same buffer has that TTFT and E2E latency.
    """
    chunks = run.answered["content_times_s"].map(len)
    several = run.answered[(run.answered["answer_tokens"] >= 2) | (chunks >= 2)]
    if several.empty:
        return None
    share = float(several["buffered"].mean())
    if (run.facts.get("connection") or {}).get("streamed") is False:
        return Finding(None, "the endpoint does not stream: TPOT and ITL are unknown")
    evidence = f"{share:.0%} of the answers came in one piece or their beginning was held back"
    if share > LIMITS["pace"].limit:
        return Finding(None, f"{evidence}, as by a proxy that buffers: TPOT and ITL are unknown")
    if not several["has_gaps"].mean() > 0.5:
        tokens = several["answer_tokens"].sum() / chunks[several.index].sum()
        return Finding(
            None, f"chunks come in bursts, or hold several tokens ({tokens:.1f}): ITL is unknown"
        )
    return Finding(share, evidence)


@_check
def _cached_input(run: _RunView) -> Finding:
    counted = run.answered[
        run.answered["cached_input_tokens"].notna() & (run.answered["input_tokens"] > 0)
    ]
    counters = run.facts.get("server_counters") or {}
    queries = counters.get("vllm:prefix_cache_queries_total")
    shares = []
    if not counted.empty:
        shares.append(float(counted["cached_input_tokens"].sum() / counted["input_tokens"].sum()))
    if queries:
        shares.append(counters.get("vllm:prefix_cache_hits_total", 0.0) / queries)
    if not shares:
        return Finding(None, "the server does not report what it read from its cache")
    on_purpose = (run.facts.get("lengths") or {}).get("shared_prefix_share") or 0.0
    excess = max(*shares, 0.0) - on_purpose
    mean_tokens = run.answered["input_tokens"].mean()
    template = TEMPLATE_TOKENS / mean_tokens if mean_tokens > 0 else 0.0
    evidence = f"{max(shares):.1%} of the input came from the cache, {on_purpose:.1%} on purpose"
    return Finding(excess, evidence, max(LIMITS["cached_input"].limit, min(template, 0.5)))


# ---- warm-up -------------------------------------------------------------------------------------


@_check
def _drift(run: _RunView) -> Finding:
    if run.process in ("replay", "ramp"):
        return Finding(None, "the load changes on purpose")
    loop = "open" if run.open else "closed"
    findings = [
        _drift_of(run.answered[column], column, SLOWER_FIRST[loop])
        for column in ("ttft_s", "tpot_s")
    ]
    measured = [one for one in findings if one.value is not None]
    if not measured:
        return findings[0]
    return max(measured, key=lambda one: (one.passes is False, one.value))


def _drift_of(latency: "pd.Series[float]", column: str, slower_first: float) -> Finding:
    """First quarter against the rest, by the log medians of batches of consecutive requests.

    Neighbouring batches may still be alike: Student's t is reduced by their correlation within the
    two parts (effective number of a correlated series: Bayley & Hammersley 1946), after each part's
    trend is removed, since a trend is the fault to detect. That correlation is of 20 batches and
    itself uncertain: the check fails a run only at a tenth of `CHANCE`. `CHANCE` then holds for
    latencies without a queue and for queues of one server up to 70 % utilisation; at 80 % up to 3
    in 1,000 correct runs fail, at 90 % up to 4.
    """
    x = latency.dropna().to_numpy(dtype=float)
    if len(x) < 80:
        return Finding(None, f"{len(x)} values of {column} are too few: it takes 80")
    unit = batches(len(x))
    k = int(unit.max()) + 1
    medians = np.array([np.median(x[unit == i]) for i in range(k)])
    before, after = np.median(x[unit < k // 4]), np.median(x[unit >= k // 4])
    if not min(before, after) > 0 or not medians.min() > 0:
        return Finding(None, f"the median of {column} is 0")
    early, late = np.split(np.log(medians), [k // 4])
    residual = np.concatenate([_detrended(early), _detrended(late)])
    spread = float(residual @ residual)
    alike = float(residual[1:] @ residual[:-1]) / spread + 2 / k if spread else 0.0
    alike = min(max(alike, 0.0), 0.9)
    pooled = (len(early) * early.var() + len(late) * late.var()) / (k - 2)
    error = np.sqrt(pooled * (1 / len(early) + 1 / len(late)) * (1 + alike) / (1 - alike))
    t = float(abs(early.mean() - late.mean()) / max(error, 1e-12))
    p = 2 * float(student_t.sf(t, k - 2))
    off = float(max(before, after) / min(before, after) - 1)
    evidence = f"the first quarter's {column} is {before / after:.2f} times the rest's, p {p:.2g}"
    quarter = np.concatenate([[0], np.cumsum(np.bincount(unit))])[k // 4]
    parts = np.split(np.log(np.maximum(x, 1e-6)), [quarter])
    independent = len(x) / _requests_as_one(np.concatenate([_detrended(y) for y in parts]))
    enough = len(x) >= DRIFT_REQUESTS and independent >= DRIFT_INDEPENDENT
    takes = ceil(max(DRIFT_REQUESTS, DRIFT_INDEPENDENT * len(x) / independent))
    # one of two metrics
    much = len(x) >= DRIFT_REQUESTS and bool(before / after > slower_first)
    by_chance = not much and (p >= CHANCE / 10 or not enough)
    passes = off <= LIMITS["drift"].limit or by_chance
    return Finding(off, evidence, passes=passes, short_of=None if enough else takes)


def _requests_as_one(y: FloatArray) -> float:
    """Consecutive values per effective independent value, at least 1. y: (n,), mean 0.

    Source: window of five times the correlation time, Sokal (1997), Monte Carlo Methods in
    Statistical Mechanics, section 3.
    """
    n = len(y)
    power = np.abs(np.fft.rfft(y, 2 * n)) ** 2
    products = np.fft.irfft(power)[:n]
    if not products[0] > 0:
        return 1.0
    time = 1 + 2 * np.cumsum(products[1:] / products[0])
    wide_enough = np.flatnonzero(np.arange(1, n) >= 5 * np.maximum(time, 1.0))
    return max(float(time[wide_enough[0] if len(wide_enough) else n // 4]), 1.0)


def _detrended(y: FloatArray) -> FloatArray:
    """Removes from a series its line or, where it is long, its parabola. (n,)."""
    at = np.arange(len(y))
    return np.asarray(y - np.polyval(np.polyfit(at, y, 2 if len(y) >= 10 else 1), at))


@_check
def _resumed(run: _RunView) -> Finding | None:
    if not run.facts.get("resumed"):
        return None
    return Finding(
        None, "the run was killed and resumed: facts of the client cover its last part only"
    )

"""Does a running canary go on? The rule of `canary` on the requests that it has had so far.

Each day is compared at the share of it that was sent to the new route. So neither a weight that was
changed, nor a gateway that leaves a failing deployment out for a while, nor a day on which both
routes are worse is evidence. At full traffic today's route has no requests left, and those before
it are the comparison, as many as there are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, exp, log, sqrt
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import norm

from llmstudy.decide.canary import (
    POWER,
    canary_metrics,
    canary_requests,
    degradation,
    evidence,
    evidence_weights,
)

Verdict = Literal["continue", "undecided", "roll back"]

_GROWTH = 1.02
_MOST_REQUESTS = 1e8
"""Numbers of requests at full traffic are tried by this factor, up to this number."""

_DROPS = (0.5, 1.0, 2.0)
"""Losses over the margin for which the probability to catch them is given."""


# --- counts -----------------------------------------------------------------------------------


class Counts(NamedTuple):
    """Requests with the outcome of a metric, and all, by period and side: (n_periods,) each."""

    canary_yes: Sequence[int]
    canary_all: Sequence[int]
    stays_yes: Sequence[int]
    stays_all: Sequence[int]

    @property
    def sent_share(self) -> float:
        """Of all requests, the share that was sent to the new route. Needs a request."""
        sent = sum(self.canary_all)
        return sent / (sent + sum(self.stays_all))


def evidence_so_far(counts: Counts, pairs: Sequence[tuple[float, float]]) -> float:
    """Evidence against the new route: an e-value, the product over periods.

    pairs: of each period the baseline share and the degraded one, as in `canary.evidence_weights`,
    from what was seen before it; the traffic share is that of the period's own requests. For
    whatever common share a period has, the mean of its factor is at most 1 given who was sent
    where. A period with requests on one side alone is no evidence.
    Source: Turner, Ly & Gruenwald (2024), Statistical Planning and Inference 230:106116, of blocks
    whose sizes are those of the groups.

    >>> day = Counts([1840], [2000], [1900], [2000])
    >>> two_days = Counts([920, 920], [1000, 1000], [950, 950], [1000, 1000])
    >>> pair = (0.95, 0.92)
    >>> round(evidence_so_far(day, [pair])), round(evidence_so_far(two_days, [pair, pair]))
    (1750, 1750)
    """
    logarithm = 0.0
    for pair, new_yes, new, old_yes, old in zip(pairs, *counts, strict=True):
        if new and old:
            weights = evidence_weights(*pair, new / (new + old))
            logarithm += log(float(evidence(weights, (new_yes, new), (old_yes, old))))
    return exp(min(max(logarithm, -700.0), 700.0))


def chance_of_alarm(
    canary_all: Sequence[int],
    stays_all: Sequence[int],
    baseline_share: float,
    degraded_share: float,
    canary_share: float,
    alpha: float,
) -> float:
    """Probability that the evidence is above 1 / alpha after these requests.

    canary_all, stays_all: (n_periods,); a period without a request on today's route is taken as
    compared with a known baseline, as in `canary.evidence_weights`. canary_share: with the outcome
    on the new route, where today's has the baseline. It is the probability of one reading, by the
    normal approximation; a canary that is read more often is rolled back sooner.

    >>> n = 1569  # as `canary_requests(0.95, 0.92, 0.5, 0.05)`, for a power of 80 %
    >>> round(chance_of_alarm([n], [n], 0.95, 0.92, canary_share=0.92, alpha=0.05), 2)
    0.8
    """
    mean = variance = 0.0
    for new, old in zip(canary_all, stays_all, strict=True):
        if not new:
            continue
        weights = evidence_weights(baseline_share, degraded_share, new / (new + old))
        for n, p, yes, no in (
            (new, canary_share, weights.canary_yes, weights.canary_no),
            (old, baseline_share, weights.stays_yes, weights.stays_no),
        ):
            mean += n * (p * yes + (1 - p) * no)
            variance += n * p * (1 - p) * (yes - no) ** 2
    gap = mean - log(1 / alpha)
    return float(norm.cdf(gap / sqrt(variance))) if variance else float(gap >= 0)


def requests_needed(
    baseline_share: float,
    degraded_share: float,
    traffic_share: float,
    alpha: float,
    stays_before: int | None = None,
) -> int | None:
    """Requests to the new route with which a step would have caught the degradation.

    As `canary.canary_requests`; stays_before: at full traffic, the requests of today's route that
    it is compared with. Returns: None if so few are there that no number suffices.

    >>> requests_needed(0.95, 0.92, 0.5, 0.05) == canary_requests(0.95, 0.92, 0.5, 0.05)
    True
    >>> [requests_needed(0.95, 0.92, 1.0, 0.05, n) for n in (10**9, 10**3, 10**2)]
    [763, 3948, None]
    """
    n = float(canary_requests(baseline_share, degraded_share, traffic_share, alpha))
    if stays_before is None:
        return int(n)
    while n < _MOST_REQUESTS:
        caught = chance_of_alarm(
            [ceil(n)], [stays_before], baseline_share, degraded_share, degraded_share, alpha
        )
        if stays_before and caught >= POWER:
            return ceil(n)
        n *= _GROWTH
    return None


@dataclass(frozen=True)
class MetricState:
    """One metric of a step so far.

    canary_share, stays_share: of requests with the outcome, by side. requests, stays_requests: on
    which it was seen. needed: requests to the new route in this step; None if no number suffices.
    evidence: against the new route; limit: at which it ends the step. caught: probability that a
    loss of the whole margin would have ended the step by now. baseline_share, degraded_share: what
    the step tests for, as of its last period.
    """

    metric: str
    canary_share: float
    stays_share: float
    requests: int
    stays_requests: int
    needed: int | None
    evidence: float
    limit: float
    caught: float
    baseline_share: float
    degraded_share: float

    @property
    def left(self) -> int | None:
        """Requests that the step still needs for this metric."""
        return None if self.needed is None else max(self.needed - self.requests, 0)

    @property
    def ends(self) -> bool:
        """Whether the evidence ends the step."""
        return self.evidence >= self.limit


def metric_state(
    metric: str,
    counts: Counts,
    baselines: Sequence[float],
    margin_share: float,
    traffic_share: float,
    alpha: float,
) -> MetricState | None:
    """The state of a metric; None where nothing can be said: one side has no request, or it cannot
    get worse.

    baselines: of each period today's share, from what was seen before it. traffic_share: of the
    step; at 1 the requests of today's route in `counts` are those before it.

    >>> day = Counts([160], [2000], [1000], [20000])
    >>> state = metric_state("errors", day, [0.05], 0.03, 0.09, alpha=1 / 300)
    >>> state.ends, round(state.evidence), state.needed, round(state.caught, 2)
    (True, 1913563, 1327, 0.94)
    """
    worse = dict(zip(*(canary_metrics()[name] for name in ("metric", "worse")), strict=True))
    pairs = [degradation(each, margin_share, worse[metric]) for each in baselines]
    new, old = int(np.sum(counts.canary_all)), int(np.sum(counts.stays_all))
    if not new or not old or any(before == after for before, after in pairs):
        return None
    pair = pairs[-1]
    before = old if traffic_share == 1 else None
    return MetricState(
        metric,
        float(np.sum(counts.canary_yes)) / new,
        float(np.sum(counts.stays_yes)) / old,
        new,
        old,
        requests_needed(*pair, traffic_share, alpha, before),
        evidence_so_far(counts, pairs),
        1 / alpha,
        chance_of_alarm(counts.canary_all, counts.stays_all, *pair, pair[1], alpha),
        *pair,
    )


def verdict_of(states: Sequence[MetricState]) -> Verdict:
    """What follows from the metrics of a step: one that ends it is enough, all must be seen."""
    if any(state.ends for state in states):
        return "roll back"
    return "continue" if all(state.left == 0 for state in states) else "undecided"


def chances_by_step(
    plan: pd.DataFrame, baselines: Mapping[str, float], margin_share: float
) -> pd.DataFrame:
    """The probability that a canary with a loss is rolled back by the end of each planned step.

    plan: as `canary.canary_plan`. Returns rows: metric, step, traffic_share, drop_share (the loss),
    probability. At full traffic the comparison is with today's requests of the steps before.

    >>> from llmstudy.decide.canary import canary_plan
    >>> baselines = {"acceptance": 0.9, "errors": 0.01, "slow_first_token": 0.05}
    >>> rows = chances_by_step(canary_plan(80_000, 0.03, baselines), baselines, 0.03)
    >>> rows = rows[(rows["metric"] == "acceptance") & (rows["drop_share"] == 0.03)]
    >>> rows["probability"].round(2).tolist()
    [0.8, 0.96, 0.99, 1.0, 1.0]
    """
    metrics = canary_metrics()
    rows: list[dict[str, Any]] = []
    for metric, worse in zip(metrics["metric"], metrics["worse"], strict=True):
        design = degradation(baselines[metric], margin_share, worse)
        if design[0] == design[1]:
            continue
        for drop_share in (margin_share * times for times in _DROPS):
            at = degradation(baselines[metric], drop_share, worse)[1]
            missed, before = 1.0, 0
            for step in plan.to_dict("records"):
                n, sent = int(step["requests"]), step["traffic_share"]
                old = round(n * (1 - sent) / sent) if sent < 1 else before
                missed *= 1 - chance_of_alarm([n], [old], *design, at, step["alpha"])
                before += old
                rows.append(
                    {"metric": metric, "step": step["step"], "traffic_share": sent}
                    | {"drop_share": drop_share, "probability": 1 - missed}
                )
    return pd.DataFrame(rows)

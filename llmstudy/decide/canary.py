"""How much traffic does each step of a canary need, and what ends the canary?

A step sends a random share of the requests to the new route and compares shares (accepted answers,
failures, late first tokens) with the requests that stay on today's route. Each request multiplies
the evidence of a metric against the new route (`evidence`), and the step is rolled back as soon as
the evidence of one metric reaches 1 / alpha. If the new route is no worse, the mean evidence is at
most 1 whenever one looks (an e-process), so it may be read after every request: by Ville's
inequality it reaches 1 / alpha at any time with probability alpha at most. All tests of a canary
together raise a false alarm with probability `FALSE_ALARM_SHARE` at most, which is split evenly
over steps and metrics.
"""

from collections.abc import Mapping
from math import ceil, log, sqrt
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import norm

from llmstudy import paths
from llmstudy.figure import FloatArray

POWER = 0.8
"""Probability that a step detects a loss of the whole margin, as for golden sets (`quality`)."""

FALSE_ALARM_SHARE = 0.05
"""Largest probability that a canary of an equally good route is rolled back at any step."""

_FEWEST_EXPECTED = 10  # of the rarer outcome on a bad route, for the normal approximation to hold

_LEAST_SHARE = 1e-4
"""Lowest probability of an outcome: 0 would make a single event decisive."""


def canary_steps() -> pd.DataFrame:
    """The canary steps: step, share (of the traffic), source."""
    return pd.read_csv(paths.data("canary_steps.csv"))


def canary_metrics() -> pd.DataFrame:
    """The metrics that a step is judged by: metric, worse (lower or higher), watches, owner,
    source."""
    return pd.read_csv(paths.data("canary_metrics.csv"))


def step_alpha() -> float:
    """The false-alarm probability alpha of one metric in one step, which evidence of 1 / alpha
    ends."""
    return FALSE_ALARM_SHARE / (len(canary_metrics()) * len(canary_steps()))


class Weights(NamedTuple):
    """What one request adds to the logarithm of the evidence, by its route and outcome."""

    canary_yes: float
    canary_no: float
    stays_yes: float
    stays_no: float


def evidence_weights(baseline_share: float, degraded_share: float, traffic_share: float) -> Weights:
    """The weights of a step that tests one metric for a degradation.

    baseline_share, degraded_share: of requests with the outcome, on today's route and on a new one
    that is just bad enough to be rolled back. traffic_share: of the step. The weights are the log
    likelihood ratio of "the canary has the degraded share, the others the baseline" to "all have
    the same share", the traffic-weighted mean of the two. The mean factor of a request is 1 for any
    common share, even one that changes from hour to hour, because of the random split; the baseline
    only decides how soon a degradation is seen. At full traffic there is nothing to compare with,
    and the baseline is taken as known from the earlier steps.

    Raises: ValueError for a share out of range, or without a degradation.
    Source: Turner, Ly & Gruenwald (2024), Statistical Planning and Inference 230:106116 (two-sample
    e-variables); at the full traffic Wald (1945), Annals of Mathematical Statistics 16:117-186.

    >>> round(evidence_weights(0.95, 0.92, 0.5).canary_no, 4)
    0.2076
    """
    p0, p1, s = baseline_share, degraded_share, traffic_share
    if not (0 < p0 < 1 and 0 < p1 < 1) or p0 == p1:
        raise ValueError(f"shares {p0:g} and {p1:g}: give two different shares between 0 and 1")
    if not 0 < s <= 1:
        raise ValueError(f"a step of {s:g} of the traffic: give a share up to 1")
    mixed = s * p1 + (1 - s) * p0 if s < 1 else p0
    return Weights(
        *(log(p / mixed) if yes else log((1 - p) / (1 - mixed)) for p in (p1, p0) for yes in (1, 0))
    )


def evidence(
    weights: Weights,
    canary: tuple[int | FloatArray, int | FloatArray],
    stays: tuple[int | FloatArray, int | FloatArray] = (0, 0),
) -> FloatArray:
    """Evidence against the new route so far: an e-value, 1 before the first request.

    canary, stays: (requests with the outcome, all requests) on the new and on today's route;
    numbers or arrays of one shape, which is that of the result.

    >>> weights = evidence_weights(0.95, 0.92, 0.5)
    >>> round(float(evidence(weights, canary=(1840, 2000), stays=(1900, 2000))))
    1750
    """
    (canary_yes, canary_all), (stays_yes, stays_all) = canary, stays
    logarithm = (
        np.asarray(canary_yes) * weights.canary_yes
        + (np.asarray(canary_all) - canary_yes) * weights.canary_no
        + np.asarray(stays_yes) * weights.stays_yes
        + (np.asarray(stays_all) - stays_yes) * weights.stays_no
    )
    return np.asarray(np.exp(np.clip(logarithm, -700, 700)))[()]


def canary_requests(
    baseline_share: float,
    degraded_share: float,
    traffic_share: float,
    alpha: float,
    power: float = POWER,
) -> int:
    """Requests to the new route with which a step detects the degradation with the given power.

    Parameters as in `evidence_weights`. alpha: the step is rolled back at evidence of 1 / alpha.
    The power is that of one reading after the last request; reading more often detects it sooner.
    If a request's weight on a degraded route has mean m and standard deviation d, N requests in all
    reach log(1 / alpha) with this power where N m - log(1 / alpha) = z d sqrt(N).

    Raises: ValueError for a share, level or power out of range, or without a degradation.

    >>> canary_requests(0.95, 0.92, traffic_share=0.5, alpha=0.05)
    1569
    """
    p0, p1, s = baseline_share, degraded_share, traffic_share
    if not (0 < alpha < 0.5 and 0.5 <= power < 1):
        raise ValueError(f"alpha {alpha:g}, power {power:g}: give 0 < alpha < 0.5 <= power < 1")
    weights = evidence_weights(p0, p1, s)
    chances = (s * p1, s * (1 - p1), (1 - s) * p0, (1 - s) * (1 - p0))
    mean = sum(chance * w for chance, w in zip(chances, weights, strict=True))
    square = sum(chance * w**2 for chance, w in zip(chances, weights, strict=True))
    spread = float(norm.ppf(power)) * sqrt(square - mean**2)
    root = (spread + sqrt(spread**2 + 4 * mean * log(1 / alpha))) / (2 * mean)
    return max(ceil(s * root**2), ceil(_FEWEST_EXPECTED / min(p1, 1 - p1)))


def alarm_gap(
    baseline_share: float, degraded_share: float, traffic_share: float, n: int, alpha: float
) -> float:
    """By how much n canary requests must be worse than the others to be rolled back.

    Returns: a positive difference of shares, at which the evidence reaches 1 / alpha if the
    requests on today's route have exactly the baseline share.

    >>> round(alarm_gap(0.95, 0.92, 0.5, 1569, 0.05), 4)
    0.0218
    """
    weights = evidence_weights(baseline_share, degraded_share, traffic_share)
    p0 = baseline_share
    canary = p0 * weights.canary_yes + (1 - p0) * weights.canary_no
    stays = p0 * weights.stays_yes + (1 - p0) * weights.stays_no
    per_canary = canary + stays * (1 - traffic_share) / traffic_share
    return (log(1 / alpha) / n - per_canary) / abs(weights.canary_yes - weights.canary_no)


def canary_plan(
    requests_per_day: float, margin_share: float, baselines: Mapping[str, float]
) -> pd.DataFrame:
    """The steps of one workload's canary: the requests and days of each, and what ends it.

    margin_share: the loss to detect, the same for every metric, since each is a share of requests
    that went wrong. baselines: metric -> share on today's route.

    Returns: one row per step: step, traffic_share, requests (to the new route, for the metric that
    needs most), needs_most (that metric), days (whole days, so that every hour of the day is in),
    days_so_far, alpha (of each test: evidence of 1 / alpha ends the step), power, and for each
    metric `<metric>_requests` and `<metric>_alarm_gap` (if it is worse than today's route by this
    much after all requests, the step is rolled back; None if it cannot get worse).
    Raises: ValueError without traffic, if a baseline is missing, if no metric could get worse, or
    as `canary_requests`.

    >>> plan = canary_plan(80_000, 0.03, {"acceptance": 0.9, "errors": 0.01,
    ...                                   "slow_first_token": 0.05})
    >>> plan[["traffic_share", "requests", "needs_most", "days"]].to_dict("split")["data"][0]
    [0.01, 2085, 'acceptance', 3]
    """
    metrics, steps = canary_metrics(), canary_steps()
    if requests_per_day <= 0:
        raise ValueError(f"{requests_per_day:g} requests a day: a canary needs traffic")
    if absent := [name for name in metrics["metric"] if name not in baselines]:
        raise ValueError(f"canary: no baseline for {', '.join(absent)}; give today's share of each")
    alpha = step_alpha()
    worse = dict(zip(metrics["metric"], metrics["worse"], strict=True))
    rows: list[dict[str, Any]] = []
    for step in steps.to_dict("records"):
        share, pairs = step["share"], {}
        for name, side in worse.items():
            pair = degradation(baselines[name], margin_share, side)
            pairs[name] = pair if pair[0] != pair[1] else None
        needs = {
            n: canary_requests(*pair, share, alpha) if pair else 0 for n, pair in pairs.items()
        }
        n = max(needs.values())
        if not n:
            raise ValueError(
                "canary: no metric could get worse, so nothing can be tested: check the baselines"
            )
        gaps = {m: alarm_gap(*pair, share, n, alpha) if pair else None for m, pair in pairs.items()}
        days = ceil(n / (requests_per_day * share))
        rows.append(
            {"step": step["step"], "traffic_share": share, "requests": n}
            | {"needs_most": max(needs, key=lambda name: needs[name]), "days": days}
            | {"days_so_far": days + (rows[-1]["days_so_far"] if rows else 0)}
            | {"alpha": alpha, "power": POWER}
            | {f"{name}_requests": need for name, need in needs.items()}
            | {f"{name}_alarm_gap": gap for name, gap in gaps.items()}
        )
    return pd.DataFrame(rows)


def fitting(plan: pd.DataFrame, longest_days: float) -> pd.DataFrame:
    """The steps of a canary that fits in some days: all of them, or all from a later step on.

    plan: as `canary_plan`. If none fits, the step at full traffic is the whole canary.

    >>> plan = pd.DataFrame({"traffic_share": [0.01, 0.5, 1.0], "days": [90, 20, 10]})
    >>> fitting(plan, 70)["traffic_share"].tolist()
    [0.5, 1.0]
    """
    days = plan["days"].to_numpy()
    left = days[::-1].cumsum()[::-1]  # from each step to the end
    return plan[(left <= longest_days) | (plan["traffic_share"] == 1)]


def degradation(baseline_share: float, margin_share: float, worse: str) -> tuple[float, float]:
    """The baseline and the share that is worse by the margin, both kept off 0 and 1."""
    moved = baseline_share - margin_share if worse == "lower" else baseline_share + margin_share
    baseline, degraded = (
        min(max(x, _LEAST_SHARE), 1 - _LEAST_SHARE) for x in (baseline_share, moved)
    )
    return baseline, degraded

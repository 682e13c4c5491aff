"""How much traffic must a canary see at each step before the next may begin, and what ends it?

A step sends a share of the requests to the new route and compares shares (accepted answers,
failures, late first tokens) with the requests that stay behind. It lasts until a loss of the margin
would be seen with the power asked for. All tests of a canary together raise a false alarm no more
often than `FALSE_ALARM_SHARE`: it is split evenly over steps and metrics (Bonferroni).
"""

from collections.abc import Mapping
from math import ceil, sqrt
from typing import Any

import pandas as pd
from scipy.stats import norm

from llmstudy import paths

POWER = 0.8
"""Chance that a step sees a loss of the whole margin, as for golden sets (`quality`)."""

FALSE_ALARM_SHARE = 0.05
"""Chance that a canary of an equally good route is rolled back at any step, at most."""

_FEWEST_EXPECTED = 5  # of the rarer outcome, for the normal approximation to hold


def canary_steps() -> pd.DataFrame:
    """The steps: step, share (of the traffic), source."""
    return pd.read_csv(paths.data("canary_steps.csv"))


def canary_metrics() -> pd.DataFrame:
    """What a step is judged by: metric, worse (lower or higher), watches, owner, source."""
    return pd.read_csv(paths.data("canary_metrics.csv"))


def canary_requests(
    baseline_share: float,
    degraded_share: float,
    traffic_share: float,
    alpha: float,
    power: float = POWER,
) -> int:
    """Requests to send to the new route so that a step sees the degradation with the given power.

    baseline_share, degraded_share: of requests, on today's route and on a new one that is just bad
    enough to be rolled back. traffic_share: of the step; the rest of the traffic is compared with.
    At all of the traffic nothing is left to compare with, and the baseline is taken as known from
    the steps before. alpha: one-sided.
    n = ((z_alpha sqrt((1 + k) P Q) + z_power sqrt(p1 q1 + k p0 q0)) / (p1 - p0))^2 with k = s / (1
    - s) canary requests to each that stays (0 at the full traffic) and P the share over both.

    Raises: ValueError for a share, level or power out of range, or no degradation to see.
    Source: Fleiss, Levin & Paik (2003), Statistical Methods for Rates and Proportions, 3rd ed., eq.
    4.19 (unequal groups, no continuity correction).

    >>> canary_requests(0.95, 0.92, traffic_share=0.5, alpha=0.05)
    834
    """
    p0, p1 = baseline_share, degraded_share
    if not (0 <= p0 <= 1 and 0 <= p1 <= 1) or p0 == p1:
        raise ValueError(f"shares {p0:g} and {p1:g}: give two different ones from 0 to 1")
    if not (0 < alpha < 0.5 and 0.5 <= power < 1):
        raise ValueError(f"alpha {alpha:g}, power {power:g}: give 0 < alpha < 0.5 <= power < 1")
    per_control = _per_control(traffic_share)
    pooled = (per_control * p1 + p0) / (per_control + 1)
    at_none = norm.ppf(1 - alpha) * sqrt((1 + per_control) * pooled * (1 - pooled))
    at_truth = norm.ppf(power) * sqrt(p1 * (1 - p1) + per_control * p0 * (1 - p0))
    rarest = min(share for share in (p0, 1 - p0, p1, 1 - p1) if share > 0)
    effort = float(at_none + at_truth) / (p1 - p0)
    return max(ceil(effort**2), ceil(_FEWEST_EXPECTED / rarest))


def alarm_gap(baseline_share: float, traffic_share: float, n: int, alpha: float) -> float:
    """By how much a step of n canary requests must be worse than today's route to be rolled back.

    A difference of shares: further than chance would go with probability alpha (one-sided), were
    the new route as good.

    >>> round(alarm_gap(0.95, 0.5, 834, 0.05), 4)
    0.0176
    """
    spread = baseline_share * (1 - baseline_share) * (1 + _per_control(traffic_share)) / n
    return float(norm.ppf(1 - alpha) * sqrt(spread))


def _per_control(traffic_share: float) -> float:
    """Canary requests to each request that stays behind; 0 where none does."""
    if not 0 < traffic_share <= 1:
        raise ValueError(f"a step of {traffic_share:g} of the traffic: give a share up to 1")
    return traffic_share / (1 - traffic_share) if traffic_share < 1 else 0.0


def canary_plan(
    requests_per_day: float, margin_share: float, baselines: Mapping[str, float]
) -> pd.DataFrame:
    """The steps of one workload's canary: how many requests and days each takes, and what ends it.

    margin_share: the loss to be seen, the same for every metric, since each is a share of requests
    that did not go well. baselines: metric -> share on today's route.

    Returns: one row per step: step, traffic_share, requests (to the new route, by the metric that
    needs most), needs_most (that metric), days (whole ones, so that every hour is seen),
    days_so_far, alpha (one-sided, of each test), power, and of each metric `<metric>_requests` and
    `<metric>_alarm_gap` (so much worse than today's route, the step is rolled back).
    Raises: ValueError if nothing is asked, a baseline is missing, none of them could get worse, or
    as `canary_requests`.

    >>> plan = canary_plan(80_000, 0.03, {"acceptance": 0.9, "errors": 0.01,
    ...                                   "slow_first_token": 0.05})
    >>> plan[["traffic_share", "requests", "needs_most", "days"]].to_dict("split")["data"][0]
    [0.01, 1353, 'acceptance', 2]
    """
    metrics, steps = canary_metrics(), canary_steps()
    if requests_per_day <= 0:
        raise ValueError(f"{requests_per_day:g} requests a day: a canary needs traffic")
    if absent := [name for name in metrics["metric"] if name not in baselines]:
        raise ValueError(f"canary: no baseline of {', '.join(absent)}; give today's share of each")
    alpha = FALSE_ALARM_SHARE / (len(metrics) * len(steps))
    worse = dict(zip(metrics["metric"], metrics["worse"], strict=True))
    rows: list[dict[str, Any]] = []
    for step in steps.to_dict("records"):
        share, needs = step["share"], {}
        for name, side in worse.items():
            degraded = _degraded(baselines[name], margin_share, side)
            needs[name] = 0  # of what is as bad as it can be already
            if degraded != baselines[name]:
                needs[name] = canary_requests(baselines[name], degraded, share, alpha)
        n = max(needs.values())
        if not n:
            raise ValueError(
                "canary: no share could get worse than it is; there is nothing to test"
            )
        gaps = {name: alarm_gap(baselines[name], share, n, alpha) for name in worse}
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


def _degraded(baseline_share: float, margin_share: float, worse: str) -> float:
    moved = baseline_share - margin_share if worse == "lower" else baseline_share + margin_share
    return min(max(moved, 0.0), 1.0)

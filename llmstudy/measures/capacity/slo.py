"""Compares the latencies of a replay with an SLO."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
import numpy.typing as npt
import pandas as pd

from llmstudy.measures.capacity.first_token import waiting
from llmstudy.measures.capacity.replay import Outcome, Requests


@dataclass(frozen=True)
class Slo:
    """Targets at the p95: seconds to the first token, and per output token after it."""

    ttft_p95_s: float
    tpot_p95_s: float


def request_table(requests: Requests, outcome: Outcome) -> pd.DataFrame:
    """One row per request: arrival_s, ttft_s, tpot_s, e2e_s, replica, attempts, overflowed.

    As in `latency`: a request that never finishes has latency +inf; TPOT is null under two tokens.
    From the moment a replica admits a request, TTFT is at least the one measured with as many
    requests outstanding, and the answer ends later by the difference.
    """
    arrival_s, output = requests.arrival_s, requests.output_tokens
    finished = np.isfinite(outcome.finish_s)
    slowdown = waiting(outcome.outstanding, requests.reading_per_step)
    least_s = outcome.admitted_s + requests.first_token_s * slowdown
    first_s = np.where(finished, np.maximum(outcome.first_s, least_s), inf)
    later_s = np.where(finished, first_s, 0) - np.where(finished, outcome.first_s, 0)
    ttft_s = first_s - arrival_s
    writing_s = np.where(finished, outcome.finish_s, 0) - np.where(finished, outcome.first_s, 0)
    tpot_s = np.where(finished, writing_s / np.maximum(output - 1, 1), inf)
    return pd.DataFrame(
        {
            "arrival_s": arrival_s,
            "ttft_s": ttft_s,
            "tpot_s": np.where(output > 1, tpot_s, np.nan),
            "e2e_s": outcome.finish_s - arrival_s + later_s,
            "replica": outcome.replica,
            "attempts": outcome.attempts,
            "overflowed": outcome.overflowed,
        },
        copy=False,
    )


def percentiles(
    values: npt.ArrayLike, shares: Sequence[float], weights: npt.ArrayLike | None = None
) -> list[float]:
    """Quantiles at these shares (0..1), each an observed value; +inf among failures.

    weights: of the values; None: equal. Returns NaN for no values.

    >>> percentiles([1.0, 2.0, 3.0, float("inf")], [0.5, 0.95])
    [2.0, inf]
    """
    samples = np.asarray(values, dtype=float)
    if not len(samples):
        return [float("nan")] * len(shares)
    if weights is None or (np.asarray(weights) == 1).all():  # without a sort
        return [float(x) for x in np.quantile(samples, shares, method="inverted_cdf")]
    order = np.argsort(samples)
    up_to = np.asarray(weights, dtype=float)[order].cumsum()
    return [float(x) for x in samples[order[np.searchsorted(up_to / up_to[-1], shares)]]]


def holds(table: pd.DataFrame, slo: Slo) -> bool:
    """Whether the p95 of TTFT and of TPOT of these requests meet the SLO.

    table: as `request_table`; overflowed requests do not count.
    """
    served = ~table["overflowed"].to_numpy()
    ttft_s, tpot_s = (table[name].to_numpy()[served] for name in ("ttft_s", "tpot_s"))
    limits = ((ttft_s, slo.ttft_p95_s), (tpot_s[~np.isnan(tpot_s)], slo.tpot_p95_s))
    return all(not len(x) or percentiles(x, [0.95])[0] <= limit for x, limit in limits)


def summary(
    table: pd.DataFrame, slo: Slo, weights: npt.ArrayLike | None = None
) -> dict[str, float]:
    """Percentiles of TTFT and E2E latency, and the share of requests that meet the whole SLO.

    table: as `request_table`; overflowed requests do not count. weights: requests that a row stands
    for.
    """
    is_served = ~table["overflowed"].to_numpy()
    weighted = np.ones(len(table)) if weights is None else np.asarray(weights, dtype=float)
    served, weighted = table[is_served], weighted[is_served]
    met = (served["ttft_s"] <= slo.ttft_p95_s) & ~(served["tpot_s"] > slo.tpot_p95_s)
    latency: dict[str, float] = {}
    for name in ("ttft", "e2e"):
        values = percentiles(served[f"{name}_s"], (0.5, 0.95, 0.99), weighted)
        latency |= {f"{name}_p{q}_s": x for q, x in zip((50, 95, 99), values, strict=True)}
    attained = float(np.average(met, weights=weighted)) if len(served) else float("nan")
    return latency | {"slo_attainment_share": attained}

"""Replays a fleet over a week: latency, utilisation, and the replica-hours that are paid for.

Three kinds of fleet: static (sized for the peak hour), scheduled (sized for the load of each hour
of the week, ordered a boot time ahead), autoscaled (by requests in flight, up to the static size).

If a week has more requests than `WEEK_REQUESTS`, a sample of whole hours is replayed: the busiest
and others at even ranks of load, each after the last `RUN_IN_S` of the hour before it. Each stands
for the hours nearest to it in load. Thinning the requests instead would change the load.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, inf

import numpy as np
import numpy.typing as npt
import pandas as pd

from llmstudy.cache import on_disk
from llmstudy.figure import FloatArray
from llmstudy.measures.capacity.replay import (
    ACCOUNT_S,
    Autoscaler,
    Fleet,
    IntArray,
    draw_outages,
    fleet,
)
from llmstudy.measures.capacity.sizing.load import WINDOW_S, Traffic, draw
from llmstudy.measures.capacity.sizing.peak import CELL, Service
from llmstudy.measures.capacity.slo import summary
from llmstudy.units import HOURS_PER_WEEK

WEEK_REQUESTS = 300_000
"""Most requests replayed per fleet and week, unless `FEWEST_HOURS` need more."""

FEWEST_HOURS = 6
"""Fewest hours of a sampled week."""

RUN_IN_S = 1200.0
"""Seconds replayed before a sampled hour and not counted: longer than a boot and a cool-down."""

HOUR_S = 3600.0


@dataclass(frozen=True)
class Plan:
    """Replicas in each hour of the week, (168,), spares included.

    With an autoscaler these are only the replicas at the start of each replayed stretch.
    """

    kind: str
    replicas: IntArray
    boot_s: float
    autoscaler: Autoscaler | None = None


@dataclass(frozen=True)
class WeekOutcome:
    """A fleet's week.

    replicas: mean number paid for in each hour, (168,). latency: as `slo.summary`. utilisation:
    mean load over the capacity paid for. busy_share: share of the time paid for that was spent in
    steps.
    """

    replicas: FloatArray
    latency: dict[str, float]
    overflow_share: float
    utilisation: float
    busy_share: float
    simulated_requests: int
    simulated_hours: int

    @property
    def replica_hours(self) -> float:
        """Replica-hours paid for in the week."""
        return float(self.replicas.sum())


def static(replicas: int, spare: int, boot_s: float) -> Plan:
    """The same replicas and spares all week."""
    return Plan("static", np.full(HOURS_PER_WEEK, replicas + spare), boot_s)


def scheduled(needed: IntArray, spare: int, boot_s: float) -> Plan:
    """The replicas that each hour needs, and spares. needed: (168,), as `needed_by_hour`."""
    return Plan("scheduled", needed + spare, boot_s)


def autoscaled(needed: IntArray, spare: int, boot_s: float, outstanding_per_replica: float) -> Plan:
    """From one replica to those of the peak, plus spares, by the requests in flight."""
    most = int(needed.max())
    rule = Autoscaler(outstanding_per_replica, 1 + spare, most + spare, spare)
    return Plan("autoscaled", needed + spare, boot_s, rule)


def ladder(most: int) -> list[int]:
    """Fleet sizes up to `most` between which others are interpolated: 1, 2, 3, 4, 6, 8 ...

    >>> ladder(10)
    [1, 2, 3, 4, 6, 8, 10]
    """
    steps = {n for k in range(most.bit_length()) for n in (2**k, 3 * 2**k // 2)}
    return sorted({n for n in steps if n < most} | {most})


def needed_by_hour(
    requests_per_s: FloatArray, replicas: Sequence[int], sustained_requests_per_s: npt.ArrayLike
) -> IntArray:
    """The fewest replicas that meet the SLO in each hour: at least 1, at most the last size.

    requests_per_s: (168,). replicas, sustained_requests_per_s: (k,) from 1 up, as `ladder` and
    `sustained_requests_per_s`; between the sizes utilisation is interpolated. The last size is
    assumed to be enough for the peak.

    >>> needed_by_hour(np.array([0.0, 1.9, 2.0, 9.0]), [1, 2, 4], [1.0, 2.0, 4.0]).tolist()
    [1, 2, 2, 4]
    """
    sizes = np.asarray(replicas)
    each = np.arange(1, sizes[-1])
    carried = np.interp(each, sizes, np.asarray(sustained_requests_per_s) / sizes) * each
    return 1 + np.searchsorted(np.maximum.accumulate(carried), requests_per_s)


@on_disk
def outstanding_at(
    service: Service, traffic: Traffic, replicas: int, rate: float, seed: int
) -> float:
    """Mean requests in flight per replica at a rate: an autoscaler's target."""
    parts = max(1, replicas // CELL)
    cell = replicas // parts
    windows = np.full(12, rate * cell / replicas)
    window_s = min(WINDOW_S, 20_000 / windows.sum())
    table, _ = service.replayed(draw(traffic, windows, window_s, seed), fleet(cell))
    in_flight = table["e2e_s"].sum() / (window_s * len(windows))
    return float(in_flight / cell)


@dataclass(frozen=True)
class _Stretch:
    """Hours replayed together, from `first` on, after a run-in that is not counted.

    weight: requests of the week that each counted request stands for.
    """

    first: int
    hours: int
    run_in_s: float
    weight: float

    @property
    def start_s(self) -> float:
        """Since the week began; the first hour's run-in lies in the week before."""
        return HOUR_S * self.first - self.run_in_s

    @property
    def span_s(self) -> float:
        """The run-in and the hours."""
        return self.run_in_s + HOUR_S * self.hours


@on_disk
def replay_week(
    service: Service,
    traffic: Traffic,
    plan: Plan,
    seed: int,
    mtbf_s: float = inf,
    mttr_s: float = 3600.0,
    overflow: bool = False,
    most_requests: int = WEEK_REQUESTS,
) -> WeekOutcome:
    """Replays a fleet over a week of traffic.

    mtbf_s, mttr_s: mean time between failures and to repair, of a replica. overflow: a request that
    finds every replica full goes to an API.
    """
    most = int(plan.replicas.max())
    parts = max(1, most // CELL)
    part = replace(traffic, requests_per_s=traffic.requests_per_s / parts)
    stretches, stand_in = _stretches(part.requests_per_s, most_requests)
    tables, weights = [], []
    replicas, busy_s, paid_s = np.zeros(HOURS_PER_WEEK), 0.0, 0.0
    for k, stretch in enumerate(stretches):
        arrivals = _arrivals(part, stretch, parts, (seed, k))
        rng = np.random.default_rng((seed, k, 1))
        outages = draw_outages(ceil(most / parts), stretch.span_s, mtbf_s, mttr_s, rng)
        run = _fleet(plan, stretch, parts, outages, overflow)
        table, outcome = service.replayed(arrivals, run, stretch.span_s)
        counted = table[table["arrival_s"] >= stretch.run_in_s]
        tables.append(counted)
        weights.append(np.full(len(counted), stretch.weight))
        account = outcome.paid_s[round(stretch.run_in_s / ACCOUNT_S) :].reshape(stretch.hours, -1)
        hours = np.arange(stretch.first, stretch.first + stretch.hours)
        replicas[hours] = parts * account.sum(axis=1) / HOUR_S
        busy_s, paid_s = busy_s + outcome.busy_s.sum(), paid_s + outcome.paid_s.sum()
    replicas = replicas[stand_in]
    whole, weighted = pd.concat(tables, ignore_index=True), np.concatenate(weights)
    over = float(np.average(whole["overflowed"], weights=weighted)) if len(whole) else 0.0
    capacity = service.capacity_requests_per_s * replicas.sum()
    served_per_s = (1 - over) * traffic.requests_per_s.sum()
    return WeekOutcome(
        replicas=replicas,
        latency=summary(whole, service.slo, weighted),
        overflow_share=over,
        utilisation=served_per_s / capacity if capacity else 0.0,
        # the last answers end after the account does
        busy_share=min(busy_s / paid_s, 1.0) if paid_s else 0.0,
        simulated_requests=len(whole),
        simulated_hours=sum(stretch.hours for stretch in stretches),
    )


def _stretches(rates: FloatArray, most_requests: int) -> tuple[list[_Stretch], IntArray]:
    """The whole week as one stretch, or sampled hours; and for each hour its stand-in."""
    every = np.arange(HOURS_PER_WEEK)
    if HOUR_S * rates.sum() <= most_requests:
        return [_Stretch(0, HOURS_PER_WEEK, 0.0, 1.0)], every
    k = max(FEWEST_HOURS, int(most_requests / ((HOUR_S + RUN_IN_S) * rates.mean())))
    ranked = np.argsort(rates, kind="stable")
    ranks = np.unique(np.linspace(0, HOURS_PER_WEEK - 1, k).round().astype(int))
    nearest = ranks[np.abs(every[:, None] - ranks).argmin(axis=1)]
    stand_in = np.empty(HOURS_PER_WEEK, dtype=np.int64)
    stand_in[ranked] = ranked[nearest]
    chosen = [int(ranked[rank]) for rank in ranks]
    weight = {hour: rates[stand_in == hour].sum() / (rates[hour] or 1.0) for hour in chosen}
    return [_Stretch(hour, 1, RUN_IN_S, weight[hour]) for hour in chosen], stand_in


def _arrivals(
    traffic: Traffic, stretch: _Stretch, parts: int, seed: tuple[int, int]
) -> pd.DataFrame:
    if traffic.logged is None:
        since_s = np.arange(stretch.start_s, HOUR_S * (stretch.first + stretch.hours), WINDOW_S)
        hours = (since_s // HOUR_S).astype(int) % HOURS_PER_WEEK
        return draw(traffic, traffic.requests_per_s[hours], WINDOW_S, seed)
    logged = traffic.logged.iloc[::parts]
    since = (logged["arrival_s"] - stretch.start_s) % (HOUR_S * HOURS_PER_WEEK)
    inside = logged.assign(arrival_s=since)[since < stretch.span_s]
    return inside.sort_values("arrival_s", ignore_index=True, kind="stable")


def _fleet(
    plan: Plan, stretch: _Stretch, parts: int, outages: pd.DataFrame, overflow: bool
) -> Fleet:
    """The replayed part of the fleet, from the first hour of the stretch."""
    needed = -(-plan.replicas // parts)
    if plan.autoscaler is not None:
        rule = plan.autoscaler
        one = rule._replace(
            least=ceil(rule.least / parts),
            most=ceil(rule.most / parts),
            spare=ceil(rule.spare / parts),
        )
        start = int(needed[int(stretch.start_s // HOUR_S) % HOURS_PER_WEEK])
        return fleet(start, boot_s=plan.boot_s, outages=outages, autoscaler=one)
    times, counts = _orders(needed, stretch, plan.boot_s)
    return fleet(counts, times, plan.boot_s, outages, overflow=overflow)


def _orders(needed: IntArray, stretch: _Stretch, boot_s: float) -> tuple[list[float], list[int]]:
    """When to order how many replicas, a boot time ahead of the hour that needs them.

    Times count from the start of the stretch.
    """
    end = stretch.first + stretch.hours + ceil(boot_s / HOUR_S)
    hours = range(int(stretch.start_s // HOUR_S), end)
    begin_s = {h: HOUR_S * h - stretch.start_s for h in hours}
    turns = {0.0} | {t for b in begin_s.values() for t in (b, b - boot_s) if 0 < t < stretch.span_s}
    orders: list[tuple[float, int]] = []
    for t in sorted(turns):
        current = [h for h, b in begin_s.items() if b - boot_s <= t < b + HOUR_S]
        count = max(int(needed[h % HOURS_PER_WEEK]) for h in current)
        if not orders or orders[-1][1] != count:
            orders.append((t, count))
    return [t for t, _ in orders], [count for _, count in orders]

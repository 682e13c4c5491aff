"""Splits traffic between a small fleet for the base load and an API for the peaks.

The fleet serves as many requests as it can within its SLO; requests that would queue go to the API
at once. The API also replaces a failed replica, so such a fleet needs no spare.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from llmstudy.cache import on_disk
from llmstudy.figure import FloatArray, first_least
from llmstudy.measures.capacity.replay import fleet
from llmstudy.measures.capacity.sizing.load import Traffic, draw
from llmstudy.measures.capacity.sizing.peak import Service
from llmstudy.measures.capacity.sizing.week import replay_week, static
from llmstudy.measures.capacity.slo import holds

OVERLOAD = 1.5
"""Load over capacity at which a replica is always full."""


def in_flight_limit(service: Service, traffic: Traffic, seed: int, n: int = 20_000) -> int:
    """The most requests in flight at which a replica that is always full meets the SLO, or 1.

    By bisection over the router's limit, on n requests at `OVERLOAD` times the capacity.
    """
    rates = np.full(12, OVERLOAD * service.capacity_requests_per_s)
    arrivals = draw(traffic, rates, n / rates.sum(), seed)

    def within(limit: int) -> bool:
        limited = replace(service, engine=service.engine._replace(max_num_seqs=limit))
        table, _ = limited.replayed(arrivals, fleet(1, overflow=True))
        return holds(table, service.slo)

    low, high = 1, service.engine.max_num_seqs + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if within(middle) else (low, middle)
    return low


@on_disk
def base_load_split(
    service: Service, traffic: Traffic, replicas: Sequence[int], seed: int, most_requests: int
) -> pd.DataFrame:
    """The shares of a week's requests that fleet and API serve, for each size of the fleet.

    Columns: replicas, fleet_share, api_share (of the requests), slo_attainment_share (of those
    that the fleet serves), utilisation.
    """
    limit = in_flight_limit(service, traffic, seed)
    limited = replace(service, engine=service.engine._replace(max_num_seqs=limit))
    rows = [(0, 0.0, 1.0, np.nan, np.nan)] if 0 in replicas else []
    for n in replicas:
        if n == 0:
            continue
        week = replay_week(
            limited,
            traffic,
            static(n, 0, 0.0),
            seed,
            overflow=True,
            most_requests=most_requests,
        )
        attained = week.latency["slo_attainment_share"]
        over = week.overflow_share
        rows.append((n, 1 - over, over, attained, week.utilisation))
    columns = ["replicas", "fleet_share", "api_share", "slo_attainment_share", "utilisation"]
    return pd.DataFrame(rows, columns=columns)


def cheapest_split(
    replicas: npt.ArrayLike,
    api_share: npt.ArrayLike,
    requests_month: float,
    usd_month_per_replica: float,
    usd_month_fixed: float,
    usd_per_api_request: float,
) -> tuple[FloatArray, FloatArray, int]:
    """The monthly bills of fleet and API for each size, and the index of the cheapest sum.

    replicas, api_share: (k,). usd_month_fixed: cost of the team, paid if there is any replica.

    >>> rent, api, best = cheapest_split([0, 1, 2], [1, 0.2, 0.01], 1e6, 2000, 500, 0.004)
    >>> rent.tolist(), api.round().tolist(), best
    ([0.0, 2500.0, 4500.0], [4000.0, 800.0, 40.0], 1)
    """
    sizes, shares = np.asarray(replicas, dtype=float), np.asarray(api_share, dtype=float)
    fleet_usd = np.asarray(sizes * usd_month_per_replica + (sizes > 0) * usd_month_fixed)
    api_usd = np.asarray(shares * requests_month * usd_per_api_request)
    return fleet_usd, api_usd, int(first_least(fleet_usd + api_usd))

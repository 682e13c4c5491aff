"""The replicas that the peak hour needs, and the utilisation that a fleet sustains in it.

The replayed peak is long enough for precise percentiles. A fleet too large to replay in seconds is
replayed as one of its equal parts (`CELL`), each with its share of the traffic. The queue of a part
is slightly longer than that of the whole fleet, so the result errs on the safe side.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
import pandas as pd

from llmstudy.cache import on_disk
from llmstudy.figure import FloatArray
from llmstudy.measures.capacity.curve import CannotServe, ServingCurve
from llmstudy.measures.capacity.first_token import FirstToken
from llmstudy.measures.capacity.replay import (
    Engine,
    Fleet,
    Outcome,
    Requests,
    fleet,
    replay,
    requests_on,
)
from llmstudy.measures.capacity.sizing.load import WINDOW_S, Traffic, draw
from llmstudy.measures.capacity.slo import Slo, holds, request_table

PEAK_REQUESTS = 80_000
"""Requests of a replayed peak: its p95 is then within a few percent, bursts included."""

FEWEST_WINDOWS = 12
"""Least number of windows in a replayed peak: of ten minutes, or shorter where it is busy."""

MOST_WINDOWS = 5_000
"""Largest number of ten-minute windows in a replayed peak, where requests rarely overlap."""

SHORTEST_WINDOW_S = 30.0
"""Least length of a window: long enough for a burst beyond capacity to build a queue."""

CELL = 32
"""Fewest replicas of the part that stands for a larger fleet."""

SEARCH_STEPS = 7
"""Halvings in the search for a rate: to within 1 % of the fleet's capacity."""


@dataclass(frozen=True)
class Service:
    """A replica and its SLO.

    capacity_requests_per_s: as `capacity_at_slo`. first_token: fitted to measured TTFT; None: TTFT
    from the replay's steps alone, which is too short.
    """

    curve: ServingCurve
    tensor_parallel: int
    engine: Engine
    slo: Slo
    capacity_requests_per_s: float
    first_token: FirstToken | None = None

    def replayed(
        self, arrivals: pd.DataFrame, of: Fleet, until_s: float | None = None
    ) -> tuple[pd.DataFrame, Outcome]:
        """Replays arrivals, as from `draw`. Returns: the `request_table`, and the outcome."""
        requests = self.requests(arrivals)
        outcome = replay(requests, self.engine, of, until_s)
        return request_table(requests, outcome), outcome

    def requests(self, arrivals: pd.DataFrame) -> Requests:
        """Arrivals with the size of their caches on this replica."""
        columns = ["arrival_s", "input_tokens", "output_tokens", "cached_tokens"]
        arrival_s, inputs, outputs, cached = (arrivals[c].to_numpy() for c in columns)
        return requests_on(
            self.curve,
            self.tensor_parallel,
            arrival_s,
            inputs,
            outputs,
            cached,
            self.first_token,
        )


@on_disk
def smallest_replicas(
    service: Service, traffic: Traffic, peak_requests_per_s: float, seed: int
) -> int:
    """The fewest replicas that meet the SLO at the peak: at least 1, without spares.

    By bisection, since with more replicas the same arrivals never wait longer, up to rounding.
    Raises: CannotServe if no number of replicas is enough.
    """
    enough = peak_requests_per_s / service.capacity_requests_per_s
    parts = max(1, int(enough / CELL))
    rate = peak_requests_per_s / parts
    few = int(0.75 * enough / parts)
    many, limit = few + 1, 8 * ceil(enough / parts) + 8
    while not holds_at(service, traffic, many, rate, seed):
        if many >= limit:
            raise CannotServe(
                f"{service.curve.shape.model} on {service.tensor_parallel} x "
                f"{service.curve.gpu.gpu}: even {many * parts} replicas miss the SLO at "
                f"{peak_requests_per_s:.3g} requests/s: its longest prompts, or the prompts that "
                "stall short answers, take too long; loosen the SLO or use more GPUs per replica"
            )
        few, many = many, min(many + max(1, many // 2), limit)
    while many - few > 1:
        middle = (few + many) // 2
        if holds_at(service, traffic, middle, rate, seed):
            many = middle
        else:
            few = middle
    return many * parts


@on_disk
def sustained_requests_per_s(service: Service, traffic: Traffic, replicas: int, seed: int) -> float:
    """The highest rate at which a number of replicas meets the SLO; 0 if no rate does.

    By bisection, to 1 % of the fleet's capacity.
    """
    parts = max(1, replicas // CELL)
    cell = replicas // parts
    low, high = 0.0, cell * service.capacity_requests_per_s
    for _ in range(SEARCH_STEPS):
        middle = (low + high) / 2
        if holds_at(service, traffic, cell, middle, seed):
            low = middle
        else:
            high = middle
    return low * replicas / cell


def sustainable_utilisation(
    service: Service, traffic: Traffic, replicas: Sequence[int], seed: int
) -> FloatArray:
    """The utilisation that fleets of these sizes sustain in the peak hour within their SLO.

    Small fleets sustain less, since bursts average out over fewer replicas. Returns: shares of
    `capacity_requests_per_s` times replicas, (len(replicas),).
    """
    rates = np.array([sustained_requests_per_s(service, traffic, n, seed) for n in replicas])
    return rates / (np.asarray(replicas) * service.capacity_requests_per_s)


def holds_at(service: Service, traffic: Traffic, replicas: int, rate: float, seed: int) -> bool:
    """Whether a number of replicas meets the SLO at a steady rate of requests per second."""
    return holds(peak_table(service, traffic, replicas, rate, seed), service.slo)


def peak_table(
    service: Service, traffic: Traffic, replicas: int, rate: float, seed: int
) -> pd.DataFrame:
    """The `request_table` of a number of replicas at a steady rate of requests per second.

    A rate so low that it would need more than `MOST_WINDOWS`, at a load below 2 % of one replica,
    is raised until it does not, which errs slightly on the safe side.
    """
    idle = 0.02 * service.capacity_requests_per_s
    rate = max(rate, min(idle, PEAK_REQUESTS / 4 / (MOST_WINDOWS * WINDOW_S)))
    windows = max(FEWEST_WINDOWS, ceil(PEAK_REQUESTS / 4 / (rate * WINDOW_S)))
    window_s = np.clip(PEAK_REQUESTS / (rate * windows), SHORTEST_WINDOW_S, WINDOW_S)
    arrivals = draw(traffic, np.full(windows, rate), float(window_s), seed)
    return service.replayed(arrivals, fleet(replicas))[0]

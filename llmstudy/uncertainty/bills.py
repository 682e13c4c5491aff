"""What does each month cost on a route, in every draw?

Shapes: (n,) for an input, (n, months) for a path.
"""

from dataclasses import dataclass

import numpy as np

from llmstudy.capacity import replicas
from llmstudy.cost import (
    TokenPrice,
    api_usd_per_request,
    replica_month_usd,
    requests_per_replica,
)
from llmstudy.figure import FloatArray
from llmstudy.uncertainty.draws import Draws


@dataclass(frozen=True)
class Fleet:
    """A self-hosted route as its cost sees it: what one replica carries.

    Capacity changes with the mean lengths as a power law around the lengths it was solved for
    (elasticities by finite difference of the serving curve).
    """

    capacity_requests_per_s: float
    input_tokens: float
    output_tokens: float
    input_elasticity: float
    output_elasticity: float
    gpus_per_replica: int
    spare: int


Offer = TokenPrice | Fleet
"""What a route charges a workload: by the token, or by the replica."""


def drift(factor_per_year: FloatArray, months: int) -> FloatArray:
    """Price of each month against the first. (n,) yearly factors -> (n, months).

    >>> drift(np.array([0.5]), 13)[0, 12]
    np.float64(0.5)
    """
    return np.asarray(factor_per_year[:, None] ** (np.arange(months) / 12))


def volume(requests: FloatArray, growth: FloatArray, months: int) -> FloatArray:
    """Requests of each month under compound growth. (n,), (n,) -> (n, months)."""
    return np.asarray(requests[:, None] * (1 + growth[:, None]) ** np.arange(months))


def moved_share(ramp_months: FloatArray, months: int) -> FloatArray:
    """Share of each month that is served by the new route. (n,) -> (n, months).

    >>> moved_share(np.array([1.5]), 4).tolist()
    [[0.0, 0.5, 1.0, 1.0]]
    """
    return np.clip(np.arange(1, months + 1) - ramp_months[:, None], 0, 1)


def usd_per_request(price: TokenPrice, d: Draws, months: int) -> FloatArray:
    """API bill per request in each month: today's, drifted, with scheduled changes. (n, months)."""
    today = np.asarray(
        api_usd_per_request(
            price,
            d["input_tokens"],
            d["output_tokens"],
            d["cached_input_share"],
            d["retry_share"],
        )
    )
    return np.asarray(
        today[:, None]
        * drift(d[f"drift_{price.arm}"], months)
        * np.asarray(price.month_factors[:months])
    )


def fleet_unit(fleet: Fleet, d: Draws, months: int) -> tuple[FloatArray, FloatArray]:
    """Requests a month one replica carries (n,), and its rent in each month (n, months)."""
    capacity = (
        fleet.capacity_requests_per_s
        * (d["input_tokens"] / fleet.input_tokens) ** fleet.input_elasticity
        * (d["output_tokens"] / fleet.output_tokens) ** fleet.output_elasticity
        * d["capacity_factor"]
    )
    carries = requests_per_replica(capacity, d["peak_to_mean"], d["target_utilisation"])
    rent = replica_month_usd(d["usd_per_gpu_hour"], fleet.gpus_per_replica, d["overhead_share"])
    return np.asarray(carries), np.asarray(rent)[:, None] * drift(d["drift_gpu"], months)


def month_usd(offer: Offer, d: Draws, requests: FloatArray, months: int) -> FloatArray:
    """Bill of each month for a volume path. requests: (n, months). Returns usd, (n, months).

    A fleet's bill is its rent: its team runs every fleet there is, so it is no workload's own.
    """
    if isinstance(offer, TokenPrice):
        return requests * usd_per_request(offer, d, months)
    carries, rent = fleet_unit(offer, d, months)
    running = replicas(requests, carries[:, None], 1.0, offer.spare, minimum=1)
    return np.asarray(running * rent)


def staff_month_usd(d: Draws) -> FloatArray:
    """Salaries a month of the team that runs all fleets. (n,) usd."""
    return np.asarray(d["fte"] * d["usd_per_fte_year"] / 12)


TODAY = "today_"
"""Prefix of the inputs that only today's route has: its own rent and capacity."""


def of_today(d: Draws) -> dict[str, FloatArray]:
    """The draws as today's route sees them, with its own rent and capacity in place."""
    own = {name.removeprefix(TODAY): x for name, x in d.items() if name.startswith(TODAY)}
    return {**d, **own}


def bill_saving_usd(current: Offer, challenger: Offer, d: Draws, months: int) -> FloatArray:
    """What moving saves over the horizon against staying, staff apart. (n,) usd.

    Until the ramp is over the current route is still paid. Negative when moving loses.
    """
    requests = volume(d["requests"], d["growth"], months)
    moved = moved_share(d["ramp"], months)
    stay = month_usd(current, of_today(d), requests, months)
    go = month_usd(challenger, d, requests, months)
    return np.asarray(((stay - go) * moved).sum(axis=1) - d["moving_cost"])


def team_share(current: Offer, challenger: Offer, d: Draws, months: int) -> FloatArray:
    """Share of each month in which a moving workload needs the team of the fleets. (n, months).

    A new fleet needs it from the first month, since people are hired before the first request
    moves; one that is left needs it until the last request has moved.
    """
    if isinstance(challenger, Fleet):
        return np.ones((len(d["ramp"]), months))
    return float(isinstance(current, Fleet)) * (1 - moved_share(d["ramp"], months))


def move_saving_usd(current: Offer, challenger: Offer, d: Draws, months: int) -> FloatArray:
    """What moving saves over the horizon against staying, staff included. (n,) usd.

    The team is the workload's to pay or to save; where other fleets need it anyhow, give `fte` 0.
    """
    before = float(isinstance(current, Fleet))
    released = (before - team_share(current, challenger, d, months)).sum(axis=1)
    return np.asarray(
        bill_saving_usd(current, challenger, d, months) + released * staff_month_usd(d)
    )

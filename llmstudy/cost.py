"""What does a workload cost a month on each arm, from the same tokens?

An API bills every request by its tokens. Self-hosting bills whole replicas for every hour of the
month, busy or not, and the people who keep them up. All functions take numbers or arrays that
broadcast, and know nothing of studies or workloads.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd

from llmstudy.figure import FloatArray
from llmstudy.units import HOURS_PER_MONTH

Number = float | FloatArray
"""A number, or an array that broadcasts with the other arguments."""


@dataclass(frozen=True)
class TokenPrice:
    """The mean API bill of one request, split so that it can be rescaled. Unit: usd per request.

    `uncached_input_usd` is the input's price when nothing is cached, `cached_input_usd` when all of
    it is, `written_input_usd` when all of it is written to the cache. `month_factors` holds the
    scheduled price of each month against today's, the last one for all later ones.
    `context_factors` holds what longer prompts cost where a model charges more beyond a threshold:
    length over today's (ascending), and the price of a token that goes in and of one that comes out
    over today's.
    """

    arm: str
    uncached_input_usd: float
    cached_input_usd: float
    output_usd: float
    input_tokens: float
    output_tokens: float
    month_factors: tuple[float, ...]
    written_input_usd: float
    context_factors: tuple[tuple[float, float, float], ...] = ()

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """The price that `dataclasses.asdict` and JSON made a row of."""
        months = tuple(row["month_factors"])
        lengths = tuple((a, b, c) for a, b, c in row.get("context_factors", ()))
        return cls(**{**row, "month_factors": months, "context_factors": lengths})

    def at_lengths(self, longer: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Price of a token in and of one out over today's, for prompts so many times as long.

        Between the lengths that were priced by straight lines in the logarithm of the length,
        beyond them as at the last. Returns: two arrays of the shape of `longer`.
        """
        if not self.context_factors:
            return np.ones_like(longer), np.ones_like(longer)
        lengths, read, written = np.array(self.context_factors).T
        at = np.log(longer)
        return np.interp(at, np.log(lengths), read), np.interp(at, np.log(lengths), written)


def token_price(
    arm: str,
    requests: pd.DataFrame,
    uncached: pd.DataFrame,
    cached: pd.DataFrame,
    written: pd.DataFrame,
    month_factors: tuple[float, ...],
    context_factors: tuple[tuple[float, float, float], ...] = (),
) -> TokenPrice:
    """Mean bill of a request from requests that were priced singly.

    requests: input_tokens, output_tokens. uncached, cached, written: input_usd, output_usd of the
    same requests with none of the input in the cache, all read from it, and all written to it.
    Raises: ValueError if there are no requests.
    """
    if requests.empty:
        raise ValueError("no requests: a mean bill needs at least one priced request")
    return TokenPrice(
        arm=arm,
        uncached_input_usd=float(uncached["input_usd"].mean()),
        cached_input_usd=float(cached["input_usd"].mean()),
        output_usd=float(uncached["output_usd"].mean()),
        input_tokens=float(requests["input_tokens"].mean()),
        output_tokens=float(requests["output_tokens"].mean()),
        month_factors=month_factors,
        written_input_usd=float(written["input_usd"].mean()),
        context_factors=context_factors,
    )


def api_usd_per_request(
    price: TokenPrice,
    input_tokens: Number,
    output_tokens: Number,
    cached_input_share: Number = 0.0,
    cache_write_share: Number = 0.0,
    retry_share: Number = 0.0,
) -> Number:
    """Bill of one request that the user counts, retries included. Unit: usd.

    Shares are of the input: read from the cache, and written to it; together at most 1.

    Linear in the mean tokens: no request changes its price tier here other than the ones that did
    when they were priced singly; `TokenPrice.at_lengths` says what longer prompts cost.

    >>> gpt4o = TokenPrice("proprietary_api", 0.0029, 0.00145, 0.00211, 1155, 211, (1.0,), 0.0029)
    >>> round(api_usd_per_request(gpt4o, 1155, 211), 6)
    0.00501
    """
    c, w = cached_input_share, cache_write_share
    input_usd = (
        (1 - c - w) * price.uncached_input_usd
        + c * price.cached_input_usd
        + w * price.written_input_usd
    )
    return (
        input_usd * input_tokens / price.input_tokens
        + price.output_usd * output_tokens / price.output_tokens
    ) * (1 + retry_share)


def committed_usd_per_gpu_hour(
    on_demand_usd: Number,
    reserved_price_share: Number,
    spot_usd: Number,
    on_demand_share: float,
    reserved_share: float,
    spot_share: float,
) -> Number:
    """Mean rent of a fleet paid for by a mix of commitments. Unit: usd per GPU-hour.

    reserved_price_share: price of a reservation as a share of the on-demand price.

    >>> committed_usd_per_gpu_hour(3.5, 0.7, 1.45, 0.4, 0.6, 0.0)
    2.87
    """
    return (
        on_demand_share * on_demand_usd
        + reserved_share * reserved_price_share * on_demand_usd
        + spot_share * spot_usd
    )


@dataclass(frozen=True)
class OwnedGpu:
    """A GPU that is bought, with its part of the server. Numbers, or arrays that broadcast.

    price_usd: of the card. server, spares, residual, maintenance (a year): shares of it, of the
    card, and of all that is bought. power_w: rated, of which load_share is drawn on the mean.
    """

    price_usd: Number
    server_share: Number
    spares_share: Number
    life_months: Number
    residual_share: Number
    capital_share_per_year: Number
    maintenance_share_per_year: Number
    power_w: Number
    load_share: Number
    pue: Number
    usd_per_kwh: Number
    colocation_usd_per_kw_month: Number

    @property
    def bought_usd(self) -> Number:
        """What is paid for a serving card: the card, its part of the server, and of the spares."""
        return self.price_usd * (1 + self.server_share) * (1 + self.spares_share)


def capital_month_usd(
    bought_usd: Number, residual_usd: Number, months: Number, share_per_year: Number
) -> Number:
    """What each month must bring in to pay back a purchase over its life, at a cost of capital.

    The month's payment of an annuity whose present value is the price less that of the residual; at
    no cost of capital it is straight-line depreciation. Payments fall due at the end of each month,
    and a year's rate is (1 + i)^12 - 1 for the monthly i.
    Source: capital recovery with salvage, Park, Contemporary Engineering Economics, ch. 6:
    (P - S) * i / (1 - (1 + i)^-n) + S * i.

    >>> round(capital_month_usd(48_000, 0.0, 48, 0.0), 2), round(
    ...     capital_month_usd(48_000, 0.0, 48, 0.08), 2)
    (1000.0, 1165.54)
    """
    log_growth = np.log1p(share_per_year) / 12
    monthly = np.expm1(log_growth)
    # i / (1 - (1 + i)^-n) is 1 / n where nothing is asked for capital
    safe = np.where(monthly > 0, monthly, 1.0)
    left = -np.expm1(-log_growth * months)
    recovery = np.where(monthly > 0, safe / np.where(left > 0, left, 1.0), 1 / np.asarray(months))
    found = (bought_usd - residual_usd) * recovery + residual_usd * monthly
    return found if np.ndim(found) else float(found)


def owned_gpu_hour_parts(gpu: OwnedGpu) -> dict[str, Number]:
    """Of what an owned GPU's hour consists: part -> usd per GPU-hour.

    Every hour of its life bears the same, in use or not. Source: Barroso, Hoelzle and Ranganathan,
    The Datacenter as a Computer, 3rd ed., ch. 6: depreciation with interest, maintenance, energy
    times PUE, and space by the kilowatt.
    """
    bought = gpu.bought_usd
    residual = gpu.residual_share * bought
    written_off = (bought - residual) / gpu.life_months
    capital = capital_month_usd(bought, residual, gpu.life_months, gpu.capital_share_per_year)
    kilowatt = gpu.power_w / 1000
    return {
        "depreciation": written_off / HOURS_PER_MONTH,
        "cost of capital": (capital - written_off) / HOURS_PER_MONTH,
        "maintenance": gpu.maintenance_share_per_year * bought / 12 / HOURS_PER_MONTH,
        "electricity and cooling": kilowatt * gpu.load_share * gpu.pue * gpu.usd_per_kwh,
        "colocation": kilowatt * gpu.colocation_usd_per_kw_month / HOURS_PER_MONTH,
    }


def owned_usd_per_gpu_hour(gpu: OwnedGpu) -> Number:
    """What an hour of an owned GPU costs, busy or not, over its life. Unit: usd.

    >>> card = OwnedGpu(30_000, 0.4, 0.0, 48, 0.1, 0.08, 0.05, 1260, 0.7, 1.4, 0.09, 184)
    >>> round(owned_usd_per_gpu_hour(card), 2)
    1.96
    """
    return sum(owned_gpu_hour_parts(gpu).values())


def replica_month_usd(
    usd_per_gpu_hour: Number, gpus_per_replica: int, overhead_share: Number
) -> Number:
    """Rent of one replica for every hour of a month, overheads included. Unit: usd.

    Reservation-based, not usage-based: an idle hour costs what a busy one does.
    Source: cost.md 4.1, c = R*G*price*730*(1+overhead)/N.

    >>> replica_month_usd(3.5, 2, 0.25)
    6387.5
    """
    return usd_per_gpu_hour * gpus_per_replica * HOURS_PER_MONTH * (1 + overhead_share)


def requests_per_replica(
    capacity_requests_per_s: Number, peak_to_mean: Number, target_utilisation: Number
) -> Number:
    """Requests a month that one replica carries when it must hold its SLO in the peak hour.

    peak_to_mean: of the busiest clock hour. target_utilisation: what is sustained while that hour
    lasts, with the bursts within it. A peak of ten minutes holds those bursts already: it would
    count them twice.

    Source: cost.md 4.1, R = ceil(lambda_mean * PAR / (mu * rho)) solved for one replica.

    >>> round(requests_per_replica(4.2, 1.86, 0.7))
    4153935
    """
    seconds = HOURS_PER_MONTH * 3600
    return capacity_requests_per_s * target_utilisation * seconds / peak_to_mean


def usd_per_million_tokens(usd: Number, requests: Number, tokens_per_request: Number) -> Number:
    """Cost of a million tokens, input and output alike, from any bill. Unit: usd per Mtok.

    >>> round(usd_per_million_tokens(5010, 1e6, 1366), 2)
    3.67
    """
    return usd / (requests * tokens_per_request) * 1e6


def usd_per_accepted_answer(usd_per_request: Number, acceptance_share: Number) -> Number:
    """Cost of an answer that counts: answers that fail are paid for too. Unit: usd.

    Source: cost.md 6, gap 6, with no cost of repair.

    Raises: ValueError if no answer is accepted.

    >>> round(usd_per_accepted_answer(0.005, 0.8), 5)
    0.00625
    """
    if np.any(np.asarray(acceptance_share) <= 0):
        raise ValueError("no answer is accepted: an accepted answer has no cost then")
    return usd_per_request / acceptance_share


def break_even_utilisation(
    fleet_month_usd: float, fleet_requests_per_month: float, api_usd_per_request: float
) -> float:
    """Mean utilisation above which a fleet costs less than the API bill for the same requests.

    fleet_month_usd: rent, overheads and staff of the whole fleet; fleet_requests_per_month: what it
    could serve running full at its SLO. Above 1: not even a full fleet is cheaper.
    Source: cost.md 4.1, price * G / (3600 * mu * p_api), with staff and spare replicas.

    >>> break_even_utilisation(20_000, 10_000_000, 0.005)
    0.4
    """
    return fleet_month_usd / (fleet_requests_per_month * api_usd_per_request)

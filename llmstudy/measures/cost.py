"""The monthly cost of a workload on each arm, and what each cost control would save.

An API bills every request by its tokens. Self-hosting costs whole replicas for every hour of the
month, busy or not, and the people who run them. All functions take numbers or arrays that
broadcast.

Each control of MEMO S10 (token budgets, compressed context, caching, retries, tenant quotas, a cap
on loops of requests) changes one input and is priced on today's requests, so that savings on the
same tokens do not add up.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from llmstudy.figure import Figure, FloatArray, Number
from llmstudy.prices import Bill
from llmstudy.units import HOURS_PER_MONTH


@dataclass(frozen=True)
class TokenPrice:
    """The mean API bill of one request, split so that it can be rescaled. Unit: usd per request.

    `uncached_input_usd` is the input's price when nothing is cached, `cached_input_usd` when all of
    it is, `written_input_usd` when all of it is written to the cache. `month_factors` holds the
    scheduled price of each month against today's, the last one for all later ones.
    `context_factors` holds what longer prompts cost where a model charges more beyond a threshold:
    length over today's (ascending), price of an input token and of an output token over today's.
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
        """Rebuilds a price from a row as `dataclasses.asdict` and JSON write it."""
        months = tuple(row["month_factors"])
        lengths = tuple((a, b, c) for a, b, c in row.get("context_factors", ()))
        return cls(**{**row, "month_factors": months, "context_factors": lengths})

    def at_lengths(self, longer: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Price per input and per output token over today's, for prompts `longer` times as long.

        Linear in the logarithm of the length between the lengths that were priced, constant beyond
        them. Returns: two arrays of the shape of `longer`.
        """
        if not self.context_factors:
            return np.ones_like(longer), np.ones_like(longer)
        lengths, input_factors, output_factors = np.array(self.context_factors).T
        at, known = np.log(longer), np.log(lengths)
        return np.interp(at, known, input_factors), np.interp(at, known, output_factors)


def token_price(
    arm: str,
    requests: pd.DataFrame,
    uncached: Bill,
    cached: Bill,
    written: Bill,
    month_factors: tuple[float, ...],
    context_factors: tuple[tuple[float, float, float], ...] = (),
) -> TokenPrice:
    """Mean bill of a request, from the bills of all of them.

    requests: input_tokens, output_tokens. uncached, cached, written: bills of these requests with
    none of the input in the cache, all read from it, and all written to it.
    Raises: ValueError if there are no requests.
    """
    if requests.empty:
        raise ValueError("no requests: a mean bill needs at least one")
    n = len(requests)
    return TokenPrice(
        arm=arm,
        uncached_input_usd=uncached.input_usd / n,
        cached_input_usd=cached.input_usd / n,
        output_usd=uncached.output_usd / n,
        input_tokens=float(requests["input_tokens"].mean()),
        output_tokens=float(requests["output_tokens"].mean()),
        month_factors=month_factors,
        written_input_usd=written.input_usd / n,
        context_factors=context_factors,
    )


def api_usd_per_request(
    price: TokenPrice | pd.DataFrame,
    input_tokens: Number,
    output_tokens: Number,
    cached_input_share: Number = 0.0,
    cache_write_share: Number = 0.0,
    retry_share: Number = 0.0,
) -> Number:
    """Mean bill of a request, with its retries. Unit: usd.

    price: a `TokenPrice`, or a frame with its columns, the rest then series with its index. Shares
    are of the input: read from the cache, and written to it; together at most 1.

    Linear in the mean tokens: each request keeps the price tier in which it was priced singly;
    `TokenPrice.at_lengths` gives what longer prompts cost.

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
    bill: Any = (
        input_usd * input_tokens / price.input_tokens
        + price.output_usd * output_tokens / price.output_tokens
    ) * (1 + retry_share)
    return bill  # type: ignore[no-any-return]


def month_bills(prices: pd.DataFrame, usage: pd.DataFrame) -> pd.DataFrame:
    """Bill of a request and of a month on each route, before any price changes.

    prices: the columns of `TokenPrice`, one row per route. usage: with the same index,
    requests_per_month, input_tokens and output_tokens of a request as the route counts them,
    cached_input_share and cache_write_share (of the input), retry_share (of the requests), tool_usd
    (of a request).
    Returns: with that index, usd_per_request and month_usd.
    Raises: ValueError if the two frames have different indexes.

    >>> route = pd.Index(["gpt-4o"], name="route")
    >>> prices = pd.DataFrame({"uncached_input_usd": 0.0029, "cached_input_usd": 0.00145,
    ...     "written_input_usd": 0.0029, "output_usd": 0.00211, "input_tokens": 1155,
    ...     "output_tokens": 211}, route)
    >>> usage = pd.DataFrame({"requests_per_month": 9e6, "input_tokens": 374,
    ...     "output_tokens": 44, "cached_input_share": 0.3, "cache_write_share": 0.0,
    ...     "retry_share": 0.02, "tool_usd": 0.0}, route)
    >>> month_bills(prices, usage).round(6).to_dict("records")
    [{'usd_per_request': 0.001263, 'month_usd': 11366.588571}]
    """
    if not prices.index.equals(usage.index):
        raise ValueError("prices and usage must have the same index: a row of each per route")
    use: Any = usage  # its columns are series with the index of prices
    tokens_usd = api_usd_per_request(
        prices,
        use["input_tokens"],
        use["output_tokens"],
        use["cached_input_share"],
        use["cache_write_share"],
        use["retry_share"],
    )
    usd_per_request = tokens_usd + usage["tool_usd"]
    month_usd = usd_per_request * usage["requests_per_month"]
    return pd.DataFrame({"usd_per_request": usd_per_request, "month_usd": month_usd})


def replica_month_usd(
    usd_per_gpu_hour: Number, gpus_per_replica: Number, overhead_share: Number
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
    """Requests a month that one replica can serve within its SLO, also in the peak hour.

    peak_to_mean: of the busiest clock hour. target_utilisation: the share of capacity that a
    replica sustains in that hour, bursts included: a ten-minute peak would count them twice.

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


def usd_per_accepted_answer(
    usd_per_request: Number, acceptance_share: Number, repair_usd: Number | None = None
) -> Number:
    """Cost of an accepted answer, rejected ones included. Unit: usd.

    repair_usd: cost of putting a rejected answer right, so that every request ends in an accepted
    one. None: a rejected answer is paid for and thrown away.
    Source: cost.md 6, gap 6.

    Raises: ValueError if no answer is accepted and none is put right.

    >>> round(usd_per_accepted_answer(0.005, 0.8), 5)
    0.00625
    >>> round(usd_per_accepted_answer(0.005, 0.8, repair_usd=0.5), 5)
    0.105
    """
    if repair_usd is not None:
        return usd_per_request + (1 - acceptance_share) * repair_usd
    if np.any(np.asarray(acceptance_share) <= 0):
        raise ValueError(
            "acceptance_share is 0: without accepted answers there is no cost of one; leave the "
            "route out"
        )
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


CONTROLS = {
    "token budget": "control.output_factor",
    "compressed context": "control.input_factor",
    "caching": "control.cached_input_share",
    "retry budget": "control.retry_share",
    "tenant quota": "control.tenant_share",
    "cap on loops": "control.loop_factor",
}
"""Each control, and the bundled figure with its setting."""


@dataclass(frozen=True)
class Use:
    """How a workload uses its API today.

    requests: a month. input_tokens, output_tokens: mean of a request. largest_tenant_share: share
    of the requests; None if the log names no tenants.
    """

    requests: float
    input_tokens: float
    output_tokens: float
    cached_input_share: float
    cache_write_share: float
    retry_share: float
    largest_tenant_share: float | None

    def month_usd(self, price: TokenPrice) -> float:
        """The month's bill for tokens."""
        per_request = api_usd_per_request(
            price,
            self.input_tokens,
            self.output_tokens,
            self.cached_input_share,
            self.cache_write_share,
            self.retry_share,
        )
        return float(self.requests * per_request)


def controlled(use: Use, control: str, to: float) -> tuple[Use, Use] | None:
    """Usage without and with a control at the setting `to`; None for a quota without tenants.

    A control never raises cost: a cached share above the setting, or a retry share below it, stays
    as it is. Without the cap on loops requests would multiply by `to`.

    >>> use = Use(1e6, 1000, 200, 0.2, 0.0, 0.04, None)
    >>> without, under = controlled(use, "caching", 0.5)
    >>> without.cached_input_share, under.cached_input_share
    (0.2, 0.5)
    """
    if control == "token budget":
        return use, replace(use, output_tokens=use.output_tokens * min(to, 1.0))
    if control == "compressed context":
        return use, replace(use, input_tokens=use.input_tokens * min(to, 1.0))
    if control == "caching":
        room = 1 - use.cache_write_share
        return use, replace(use, cached_input_share=max(use.cached_input_share, min(to, room)))
    if control == "retry budget":
        return use, replace(use, retry_share=min(use.retry_share, to))
    if control == "cap on loops":
        return replace(use, requests=use.requests * max(to, 1.0)), use
    if control == "tenant quota":
        if use.largest_tenant_share is None:
            return None
        over = max(use.largest_tenant_share - to, 0.0)
        return use, replace(use, requests=use.requests * (1 - over))
    raise ValueError(f'"{control}" is not a control: use one of {", ".join(CONTROLS)}.')


def control_savings(price: TokenPrice, use: Use, figures: Mapping[str, Figure]) -> pd.DataFrame:
    """Monthly saving of each control, at the value of its setting and over its range.

    figures: name -> figure, with all names in `CONTROLS`.
    Returns: control, to (its setting), unit, saving_usd, saving_low_usd, saving_high_usd (null for
    a quota where no tenants are logged), share_of_bill (null too where the bill is 0), grade.
    """
    rows, bill = [], use.month_usd(price)
    for control, name in CONTROLS.items():
        figure = figures[name]
        settings = [x for x in (figure.value, figure.low, figure.high) if x is not None]
        pairs = [pair for to in settings if (pair := controlled(use, control, to)) is not None]
        savings = [without.month_usd(price) - under.month_usd(price) for without, under in pairs]
        rows.append(
            {
                "control": control,
                "to": figure.value,
                "unit": figure.unit,
                "saving_usd": savings[0] if savings else None,
                "saving_low_usd": min(savings, default=None),
                "saving_high_usd": max(savings, default=None),
                "share_of_bill": savings[0] / bill if savings and bill else None,
                "grade": figure.grade,
            }
        )
    return pd.DataFrame(rows)


def largest_tenant_share(requests: pd.DataFrame) -> float | None:
    """Share of the requests that the busiest tenant makes; None if no row names a tenant.

    >>> largest_tenant_share(pd.DataFrame({"tenant": ["a", "a", "b", None]}))
    0.6666666666666666
    """
    if "tenant" not in requests or requests["tenant"].notna().sum() == 0:
        return None
    return float(np.max(requests["tenant"].value_counts(normalize=True)))


@dataclass(frozen=True)
class Reservation:
    """The share of a fleet's rent that is reserved for whole terms, and its price.

    share: of the rent as a term begins. price_share: price of a reserved hour over one on demand.
    """

    share: float
    price_share: float
    term_months: int

    def rent_usd(self, needed_usd: FloatArray, market: FloatArray, start: float = 0) -> FloatArray:
        """Rent of each month. (n, months) usd.

        needed_usd: the hours that each month needs, at today's mean price. market: price of an hour
        over today's. start: months from now until the first term begins. (n, months) each.

        The first month of a term sets how many hours are reserved and at which price; they are paid
        to the end of the term, needed or not. Further hours are paid on demand.

        >>> needed, market = np.array([[8.0, 16.0, 4.0, 4.0]]), np.ones((1, 4))
        >>> Reservation(0.6, 0.5, term_months=3).rent_usd(needed, market).round(9).tolist()
        [[8.0, 20.8, 4.8, 4.0]]
        """
        signed = self.signed(needed_usd.shape[1], start)
        reserved_usd = self.share * needed_usd[:, signed]
        beyond_usd = self.on_demand(needed_usd) - reserved_usd / self.price_share
        reservation_usd = reserved_usd * market[:, signed]
        return np.asarray(reservation_usd + np.maximum(beyond_usd, 0.0) * market)

    def on_demand(self, needed_usd: FloatArray) -> FloatArray:
        """Rent of the same hours with nothing reserved, at today's price."""
        return needed_usd * (1 - self.share + self.share / self.price_share)

    def signed(self, months: int, start: float = 0) -> npt.NDArray[np.int64]:
        """The month in which the current term of each month was signed, (months,).

        The first term is signed in the month in which the move begins, `start` months from now;
        earlier months are priced as if it began now.

        >>> Reservation(0.6, 0.5, term_months=2).signed(8, start=3.5).tolist()
        [0, 0, 2, 3, 3, 5, 5, 7]
        """
        every, first = np.arange(months), int(start)
        since = np.where(every < first, 0, first)
        return np.asarray(since + (every - since) // self.term_months * self.term_months)


@dataclass(frozen=True)
class Fleet:
    """A self-hosted route: capacity of one replica, and how its hours are paid for.

    Capacity changes with the mean lengths as a power law around the lengths it was solved for
    (elasticities by finite difference of the serving curve). `cached_factors`: at other shares of
    the input read from a cache, share (ascending) and capacity over the one solved; a fleet's cache
    is assumed to be as warm as an API's. The `reserved_` parts and the term
    are those of its `Reservation`. `capital_share` is the part of an owned GPU's hour that was
    bought, for `term_months`: 0 where GPUs are rented. Owned
    GPUs keep their price, and a GPU bought for a busy month stays.
    """

    capacity_requests_per_s: float
    input_tokens: float
    output_tokens: float
    input_elasticity: float
    output_elasticity: float
    gpus_per_replica: int
    spare: int
    reserved_share: float = 0.0
    reserved_price_share: float = 1.0
    term_months: int = 12
    capital_share: float = 0.0
    cached_factors: tuple[tuple[float, float], ...] = ((0.0, 1.0),)

    @property
    def reservation(self) -> Reservation:
        """The share of its rent that is reserved, and the price of that."""
        return Reservation(self.reserved_share, self.reserved_price_share, self.term_months)

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """Rebuilds a fleet from a row as `dataclasses.asdict` and JSON write it."""
        factors = tuple((share, factor) for share, factor in row.get("cached_factors", ()))
        return cls(**{**row, "cached_factors": factors or cls.cached_factors})

    def cached_factor(self, cached_input_share: FloatArray) -> FloatArray:
        """Capacity at a cached share over the capacity solved, (n,) -> (n,).

        Linear in the replica time of a request: reading its prompt takes time in proportion to
        what is not cached.
        """
        shares, factors = np.array(self.cached_factors).T
        return np.asarray(1 / np.interp(cached_input_share, shares, 1 / factors))


Offer = TokenPrice | Fleet
"""What a workload pays on a route: by the token, or by the replica."""

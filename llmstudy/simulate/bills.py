"""The bill of each month on a route, in every draw.

An API bills each request, and needs an evaluation when its provider updates a model and a migration
when it retires one. A failed attempt costs as much as an answer on either arm. A fleet costs whole
replicas, busy or not, replicas for staging, and upgrades; the team that runs all fleets is added
separately, because no single workload owns it.

Shapes: (n,) for an input, (n, months) for a path. Inputs whose name begins with `path_` are factors
on the trend (see `draws`), 1 where they are missing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from llmstudy.figure import FloatArray, Number
from llmstudy.measures.capacity import replicas
from llmstudy.measures.cost import (
    Fleet,
    Offer,
    TokenPrice,
    api_usd_per_request,
    replica_month_usd,
    requests_per_replica,
)
from llmstudy.simulate.draws import Draws, path
from llmstudy.simulate.reuse import reused


def drift(factor_per_year: FloatArray, months: int) -> FloatArray:
    """Price of each month against the first. (n,) yearly factors -> (n, months).

    >>> drift(np.array([0.5]), 13)[0, 12]
    np.float64(0.5)
    """
    return np.asarray(factor_per_year[:, None] ** (np.arange(months) / 12))


def volume(requests: FloatArray, growth: FloatArray, months: int) -> FloatArray:
    """Requests of each month under compound growth. (n,), (n,) -> (n, months)."""
    return np.asarray(requests[:, None] * (1 + growth[:, None]) ** np.arange(months))


START, CANARY = "start", "canary"
"""Inputs of a move from the plan: months from now until it begins, the same in all draws (0 if
missing), and months of canary between its ramp and full traffic."""


def starts(d: Draws) -> float:
    """Months from now until the move begins, when its one-off cost is paid and its team starts."""
    return float(d[START][0]) if START in d else 0.0


def served_from(d: Draws) -> FloatArray:
    """Months from now until the new route serves all traffic, after ramp and canary. (n,)."""
    return np.asarray(starts(d) + d["ramp"] + d.get(CANARY, 0.0))


def begun_share(start: float | FloatArray, months: int) -> FloatArray:
    """Share of each month after the move has begun. (months,), or (n, months) of (n, 1).

    >>> begun_share(1.5, 4).tolist()
    [0.0, 0.5, 1.0, 1.0]
    """
    return np.asarray(np.clip(np.arange(1, months + 1) - start, 0, 1))


def moved_share(served_from: FloatArray, months: int) -> FloatArray:
    """Share of each month that is served by the new route. (n,) -> (n, months).

    >>> moved_share(np.array([1.5]), 4).tolist()
    [[0.0, 0.5, 1.0, 1.0]]
    """
    return begun_share(served_from[:, None], months)


def volumes(d: Draws, months: int) -> FloatArray:
    """Requests of each month: growth, and the scatter about it. (n, months)."""
    return volume(d["requests"], d["growth"], months) * path(d, "requests", months)


def answer_tokens(d: Draws) -> FloatArray:
    """Output tokens of a request on a route, reasoning included. (n,)."""
    return d["output_tokens"] * d["output_tokens_ratio"]


def prompt_and_answer_usd(
    price: TokenPrice, d: Draws, retry_share: Number = 0.0
) -> tuple[FloatArray, FloatArray]:
    """API bill of the prompt and of the answer of a request, at today's price. (n,) usd each."""
    shares = d["cached_input_share"], d["cache_write_share"], retry_share
    prompt, answer, nothing = d["input_tokens"] * d["tokenizer"], answer_tokens(d), np.zeros(1)
    prompt_usd = api_usd_per_request(price, prompt, nothing, *shares)
    return np.asarray(prompt_usd), np.asarray(api_usd_per_request(price, nothing, answer, *shares))


def usd_per_request(price: TokenPrice, d: Draws, months: int) -> FloatArray:
    """API bill per request in each month: today's, drifted, with scheduled changes. (n, months).

    Prompts grow from month to month, also across a model's context tiers; the cost of tools does
    not drift.
    """
    input_usd, output_usd = (
        usd[:, None] for usd in prompt_and_answer_usd(price, d, d["retry_share"])
    )
    lengths = prompt_lengths(d, months)
    mean = (d["input_tokens"] * d["tokenizer"] / price.input_tokens)[:, None]
    input_factor, output_factor = price.at_lengths(mean * lengths)
    listed_usd = input_usd * lengths * input_factor + output_usd * output_factor
    tokens_usd = listed_usd * price_factor(price, d, months)
    return np.asarray(tokens_usd + d["tool_usd"][:, None] / 1000)


def price_factor(price: TokenPrice, d: Draws, months: int) -> FloatArray:
    """The list price of each month over today's: trend, jumps, scheduled changes. (n, months).

    Scheduled changes count from their day; after the last month of the schedule the price stays.
    """
    factors = np.asarray(price.month_factors)
    scheduled = factors[np.minimum(np.arange(months), len(factors) - 1)]
    return np.asarray(
        drift(d[f"drift_{price.arm}"], months) * path(d, price.arm, months) * scheduled
    )


def prompt_lengths(d: Draws, months: int) -> FloatArray:
    """Length of a prompt in each month over today's. (n, months)."""
    return np.asarray((1 + d["prompt_growth"][:, None]) ** np.arange(months))


def api_month_usd(arm: str, d: Draws) -> FloatArray:
    """Monthly cost of a workload on an API beside its requests. (n,) usd.

    Evaluation at the provider's updates, provisioned throughput, and forced migrations.
    """
    return np.asarray(d["api_evaluation"] / 12 + d["provisioned"] + forced_month_usd(arm, d))


def forced_month_usd(arm: str, d: Draws) -> FloatArray:
    """Monthly cost of the migrations that retirements force, one per model life. (n,) usd."""
    return np.asarray(d[f"migration_{arm}"] / d[f"model_life_{arm}"])


def fleet_unit(fleet: Fleet, d: Draws, months: int) -> tuple[FloatArray, FloatArray]:
    """Requests a month that one replica can serve, (n, months), and its rent today, (n,) usd.

    Failed attempts take capacity too, but are not counted as requests.
    """
    capacity = (
        fleet.capacity_requests_per_s
        * (d["input_tokens"] * d["tokenizer"] / fleet.input_tokens) ** fleet.input_elasticity
        * (answer_tokens(d) / fleet.output_tokens) ** fleet.output_elasticity
        * fleet.cached_factor(d["cached_input_share"])
        * d["capacity_factor"]
    )
    attempts = requests_per_replica(capacity, d["peak_to_mean"], d["target_utilisation"])
    carries = attempts / (1 + d["retry_share"])
    shrinking = np.asarray(carries)[:, None] * prompt_lengths(d, months) ** fleet.input_elasticity
    rent = replica_month_usd(d["usd_per_gpu_hour"], fleet.gpus_per_replica, d["overhead_share"])
    return shrinking, np.asarray(rent)


def rent_market(fleet: Fleet, d: Draws, months: int) -> FloatArray:
    """Price of a GPU hour in each month over today's: trend and path. (n, months), or (1, months).

    Owned GPUs do not follow the market.
    """
    if fleet.capital_share:
        return np.ones((1, months))
    return drift(d["drift_gpu"], months) * path(d, "gpu", months)


def fleet_month_usd(d: Draws) -> FloatArray:
    """Monthly cost of a fleet beside its replicas and its team. (n,) usd."""
    upkeep = d["upgrades"] * d["upgrade_usd"] + d["fine_tuning"]
    return np.asarray(d["observability"] + upkeep / 12)


@dataclass(frozen=True)
class TokenBill:
    """The bill of an API route for any volume.

    per_request: (n, months) usd; fixed: (n,) usd a month.
    """

    per_request: FloatArray
    fixed: FloatArray

    def usd(self, requests: FloatArray) -> FloatArray:
        """Bill of each month for a volume path. (n, months) requests -> (n, months) usd."""
        return np.asarray(requests * self.per_request + self.fixed[:, None])


@dataclass(frozen=True)
class FleetBill:
    """The bill of a fleet for any volume.

    carries: requests a month that one replica can serve, (n, months). rent: of a replica at today's
    price, (n,). market: price of a GPU hour over today's, as `rent_market`. staging: replicas that
    serve no user; fixed: usd a month beside the rent; (n,) each. start: months from now until the
    first term is signed.
    """

    fleet: Fleet
    carries: FloatArray
    rent: FloatArray
    market: FloatArray
    staging: FloatArray
    fixed: FloatArray
    start: float = 0.0

    def usd(self, requests: FloatArray) -> FloatArray:
        """Bill of each month for a volume path. (n, months) requests -> (n, months) usd."""
        return np.asarray(self.rent_usd(requests) + self.fixed[:, None])

    def rent_usd(self, requests: FloatArray) -> FloatArray:
        """Rent of the whole replicas that a volume needs, and of staging. (n, months) usd."""
        needed = self.needed_usd(requests)
        return self.fleet.reservation.rent_usd(needed, self.market, self.start)

    def needed_usd(self, requests: FloatArray) -> FloatArray:
        """Cost of the hours that each month needs at today's price. (n, months) usd.

        An owned GPU that was bought for a busy month stays.
        """
        running = replicas(requests, self.carries, 1.0, self.fleet.spare, minimum=1)
        if self.fleet.capital_share:
            running = np.maximum.accumulate(running, axis=1)
        return np.asarray((running + self.staging[:, None]) * self.rent[:, None])


Bill = TokenBill | FleetBill


def bill(offer: Offer, d: Draws, months: int) -> Bill:
    """The bill of a route in every draw and month, for any volume.

    A fleet's bill excludes the team, since one team runs all fleets.
    """
    if isinstance(offer, TokenPrice):
        return TokenBill(usd_per_request(offer, d, months), api_month_usd(offer.arm, d))
    carries, rent = fleet_unit(offer, d, months)
    market = rent_market(offer, d, months)
    beside = d["staging_replicas"], fleet_month_usd(d)
    return FleetBill(offer, carries, rent, market, *beside, start=starts(d))


def month_usd(offer: Offer, d: Draws, requests: FloatArray, months: int) -> FloatArray:
    """Bill of each month for a volume path. requests: (n, months). Returns usd, (n, months)."""
    return bill(offer, d, months).usd(requests)


def fleet_rent_usd(fleet: Fleet, d: Draws, requests: FloatArray, months: int) -> FloatArray:
    """Rent of the whole replicas that a volume needs, and of staging. (n, months) usd."""
    fleet_bill = bill(fleet, d, months)
    assert isinstance(fleet_bill, FleetBill)
    return fleet_bill.rent_usd(requests)


def staff_month_usd(d: Draws) -> FloatArray:
    """Monthly cost of the team that runs all fleets: salaries, on-call, reviews. (n,) usd."""
    return np.asarray(d["fte"] * d["usd_per_fte_year"] / 12 + d["on_call"] + d["security"] / 12)


TODAY = "today_"
"""Prefix of the inputs that today's route has of its own: rent, capacity, tokens."""


def of_today(d: Draws) -> dict[str, FloatArray]:
    """The draws for the bill of today's route, with its own rent, capacity and tokens."""
    todays = {name.removeprefix(TODAY): x for name, x in d.items() if name.startswith(TODAY)}
    return {name: x for name, x in d.items() if name != START} | todays


def discount(d: Draws, months: int) -> FloatArray:
    """Present value of a dollar of each month's bill. (n, months); 1 if d has no rate.

    A month is paid at its end; `discount_rate` is yearly, compounded.

    >>> discount({"discount_rate": np.array([0.21])}, 24)[0, [5, 11, 23]].round(4).tolist()
    [0.9091, 0.8264, 0.683]
    """
    rate = d.get("discount_rate", np.zeros(1))
    return worth_today(rate[:, None], np.arange(1, months + 1))


def worth_today(rate: FloatArray, months: float | npt.NDArray[Any]) -> FloatArray:
    """Present value of a dollar paid in so many months. rate: yearly.

    >>> worth_today(np.array([0.21]), 6.0).round(4).tolist()
    [0.9091]
    """
    return np.asarray((1 + rate) ** (-months / 12))


def discount_once(rate: FloatArray, months: int) -> FloatArray:
    """Present value of a dollar paid once, as a month begins. (n,) -> (n, months)."""
    return worth_today(rate[:, None], np.arange(months))


def dual_months(d: Draws, months: int) -> FloatArray:
    """Months for which both routes are paid; 0 if no month is served in full. (n,)."""
    return np.asarray(d["dual_running"] * (np.ceil(served_from(d)) < months))


def at_cutover(bills: FloatArray, served_from: FloatArray) -> FloatArray:
    """The bill of the first month that is served in full by the new route. (n, months) -> (n,)."""
    month = np.minimum(np.ceil(served_from), bills.shape[1] - 1).astype(int)
    return np.asarray(bills[np.arange(len(bills)), month])


@dataclass(frozen=True)
class Terms:
    """Monthly weights of both bills and of the team in the saving of a move, linear in them.

    They combine start, ramp, canary, dual running and discount. stay, go: weights of the bills of
    today's route and of the new one, (n, months). team: weight of the team, positive where the move
    saves it and negative where it needs it, (n or 1, months). once_usd: paid when the move begins,
    `start` months from now, (n,); 0 after the horizon. served_from: months from now until the new
    route serves all traffic, (n,).
    """

    start: float
    served_from: FloatArray
    stay: FloatArray
    go: FloatArray
    team: FloatArray
    once_usd: FloatArray

    def saving_usd(
        self, stay_usd: FloatArray, go_usd: FloatArray, team_usd: FloatArray
    ) -> FloatArray:
        """Saving of the move over the horizon; negative if it costs more. (n,) usd.

        stay_usd, go_usd: bills of both routes, (n, months). team_usd: monthly cost of the team,
        (n,).
        """
        stay, go = (
            np.einsum("ij,ij->i", self.stay, stay_usd),
            np.einsum("ij,ij->i", self.go, go_usd),
        )
        return np.asarray(stay - go + self.team.sum(axis=1) * team_usd - self.once_usd)

    def saving_by_month(
        self, stay_usd: FloatArray, go_usd: FloatArray, team_usd: FloatArray
    ) -> FloatArray:
        """Saving of the move up to the end of each month, as `saving_usd`. (n, months) usd."""
        saved = self.stay * stay_usd - self.go * go_usd + self.team * team_usd[:, None]
        if self.start < saved.shape[1]:
            saved[:, int(self.start)] -= self.once_usd
        return np.asarray(saved.cumsum(axis=1))


def move_terms(
    start: float,
    ramp_months: FloatArray,
    dual_running: FloatArray,
    moving_usd: FloatArray,
    rate: FloatArray,
    team: int,
    months: int,
) -> Terms:
    """The terms of a move that begins `start` months from now.

    The current route is paid until ramp and canary are over. During dual running both are paid,
    unless no month is served in full. A new fleet (team 1) needs the team from the beginning of the
    move, since people are hired first; a fleet that is given up (team -1) needs it until the last
    request has moved; 0: neither.

    ramp_months (canary included), dual_running: months. moving_usd: paid once. rate: yearly, of
    discount. (n,) each; rate may be (1,).
    """
    served = start + ramp_months
    worth = discount({"discount_rate": rate}, months)
    moved = moved_share(served, months)
    stay = moved * worth
    go, draws = stay.copy(), np.arange(len(stay))
    cutover = np.ceil(served).astype(int)
    month = np.minimum(cutover, months - 1)
    twice = dual_running * (cutover < months)
    go[draws, month] += twice * np.broadcast_to(worth, stay.shape)[draws, month]
    needed = begun_share(start, months) if team > 0 else moved
    once = moving_usd * worth_today(rate, start) * (start < months)
    return Terms(start, served, stay, go, -team * needed * worth, once)


def terms(current: Offer, challenger: Offer, d: Draws, months: int) -> Terms:
    """The terms of a move between two offers. d: needs ramp, dual_running and moving_cost."""
    return move_terms(
        starts(d),
        d["ramp"] + d.get(CANARY, 0.0),
        d["dual_running"],
        d["moving_cost"],
        d.get("discount_rate", np.zeros(1)),
        int(isinstance(challenger, Fleet)) - int(isinstance(current, Fleet)),
        months,
    )


def move_saving(current: Offer, challenger: Offer, months: int) -> Callable[[Draws], FloatArray]:
    """A function of draws: what moving saves over the horizon against staying. (n,) usd.

    The saving includes the team, which the workload pays or spares as a whole; where other fleets
    need the team too, set `fte` to 0. From one call to the next, parts of the bills whose draws are
    the same arrays are reused.
    """
    requests = reused(lambda d: volumes(d, months))
    todays = reused(lambda d: bill(current, d, months))
    new = reused(lambda d: bill(challenger, d, months))
    weights = reused(lambda d: terms(current, challenger, d, months))
    stay_usd = reused(lambda d: todays(d).usd(requests(d)))
    go_usd = reused(lambda d: new(d).usd(requests(d)))

    def saving_usd(d: Draws) -> FloatArray:
        return weights(d).saving_usd(stay_usd(of_today(d)), go_usd(d), staff_month_usd(d))

    return saving_usd

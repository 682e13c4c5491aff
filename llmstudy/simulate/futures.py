"""Simulated futures of a move, which may begin in any month.

A future is one draw of all inputs, month by month. The value of waiting, the back-test of triggers
and the month from which a move pays are computed from futures.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np

from llmstudy.figure import Figure, FloatArray
from llmstudy.measures import cost
from llmstudy.measures.cost import TokenPrice
from llmstudy.simulate import bills, draws
from llmstudy.simulate.inputs import (
    N_DRAWS,
    Market,
    discount_draws,
    draws_of,
    pair_inputs,
    paths_of,
    staff_draws,
    todays_fleets,
)
from llmstudy.study import Study

Buyer = Literal["named_model", "same_quality"]
"""How a buyer stays on an API: with today's named model, or each cheaper one of equal quality."""


@dataclass(frozen=True)
class Reserved:
    """The hours of a fleet, of which a part is reserved for terms from the month of the move.

    usd: the hours that each month needs at today's price, (n, months). market: price of a GPU hour
    over today's, (n, months). owned: usd is the capital cost of owned GPUs, whose term is their
    life and whose price does not follow the market.
    """

    usd: FloatArray
    market: FloatArray
    terms: cost.Reservation
    owned: bool = False

    def late_start_usd(self, start: float) -> FloatArray:
        """Rent of a move in month `start` less that of one in the first. (n, months) usd."""
        if self.owned:
            return np.zeros(self.usd.shape)
        late, now = (self.terms.rent_usd(self.usd, self.market, s) for s in (start, 0))
        return late - now

    def on_demand(self) -> FloatArray:
        """Extra cost of the same hours on demand, with nothing reserved. (n, months) usd.

        0 for owned GPUs, which have no price on demand.
        """
        if self.owned:
            return np.zeros(self.usd.shape)
        by_the_hour = self.terms.on_demand(self.usd) * self.market
        return by_the_hour - self.terms.rent_usd(self.usd, self.market)

    def unused_usd(self, months_in: int) -> FloatArray:
        """Amount still owed if a fleet that begins now is left after so many months. (n,) usd.

        Owned GPUs are paid to the end of their life, with no earlier sale.
        """
        months_left = -months_in % self.terms.term_months
        if self.owned:
            return months_left * self.usd[:, months_in]
        signed = self.terms.signed(months_in + 1)[-1]
        return np.asarray(
            months_left * self.terms.share * self.usd[:, signed] * self.market[:, signed]
        )


@dataclass(frozen=True)
class Futures:
    """Bills of staying and of having moved, in every draw and month. usd, (n, months).

    go_usd: for a move that begins in the first month. requests, tokens: of each month. price: of a
    token on today's route, over today's price (1 on a fleet). once_usd, ramp_months (canary
    included), dual_months: of the move, (n,). start_months: from now to the plan's first day of the
    move. team_usd: monthly cost of the team, (n,), which is added from the beginning of the move
    (`team` 1), saved as the move proceeds (-1), or neither (0). reserved: one for each fleet with a
    term. discount_rate: yearly, (n,); bills are not discounted, sums over months are.
    """

    stay_usd: FloatArray
    go_usd: FloatArray
    requests: FloatArray
    tokens: FloatArray
    price: FloatArray
    once_usd: FloatArray
    ramp_months: FloatArray
    dual_months: FloatArray
    team_usd: FloatArray
    team: int
    reserved: tuple[Reserved, ...] = ()
    discount_rate: FloatArray = field(default_factory=lambda: np.zeros(1))
    start_months: float = 0.0

    @property
    def months(self) -> int:
        """Length of the horizon."""
        return int(self.stay_usd.shape[1])

    @property
    def discount(self) -> FloatArray:
        """Present value of a dollar of each month's bill. (n, months), or (1, months)."""
        return bills.discount({"discount_rate": self.discount_rate}, self.months)

    def with_team(self) -> FloatArray:
        """The bill of each month after the move, with the team that it adds or spares."""
        return np.asarray(self.go_usd + self.team * self.team_usd[:, None])

    def terms(self, start: float) -> bills.Terms:
        """The terms of the move, were it begun at the start of a month."""
        return bills.move_terms(
            start,
            self.ramp_months,
            self.dual_months,
            self.once_usd,
            self.discount_rate,
            self.team,
            self.months,
        )

    def saving_by_month(self) -> FloatArray:
        """What the move has saved by the end of each month, one-off costs included. (n, months).

        The move begins on the plan's day. The last month gives the saving over the horizon, which
        is 0 if the move begins after it.
        """
        terms, go_usd = self.terms(self.start_months), self._moved_usd(self.start_months)
        return terms.saving_by_month(self.stay_usd, go_usd, self.team_usd)

    def saving_usd(self, start: float | None = None) -> FloatArray:
        """What the move saves over the horizon. start: months from now until it begins, None for
        the plan's day. (n,) usd."""
        start = self.start_months if start is None else start
        return self.terms(start).saving_usd(self.stay_usd, self._moved_usd(start), self.team_usd)

    def _moved_usd(self, start: float) -> FloatArray:
        """The bill of each month after a move that begins at the start of a month. (n, months)."""
        return np.asarray(sum((part.late_start_usd(start) for part in self.reserved), self.go_usd))

    def stay_by_month(self) -> FloatArray:
        """What staying has cost by the end of each month. (n, months) usd."""
        return np.asarray((self.stay_usd * self.discount).cumsum(axis=1))

    def switch_costs(self) -> FloatArray:
        """Cost of the horizon when the move begins at the start of month t. (n, months + 1) usd.

        In the last column the move never begins. A late move still pays its one-off cost in full,
        so
        that none pays in the last months: use a long enough horizon.
        """
        stay = (self.stay_usd * self.discount).sum(axis=1)
        costs = [stay - self.saving_usd(start) for start in range(self.months)]
        return np.column_stack([*costs, stay])

    def pays_from_month(self) -> FloatArray:
        """The first month by whose end the move has paid back its cost for good.

        Months count from 1, and inf means never within the horizon. (n,).
        """
        owing = self.saving_by_month() <= 0
        last = np.where(owing.any(axis=1), self.months - owing[:, ::-1].argmax(axis=1), 0)
        return np.where(last == self.months, np.inf, last + 1.0)


def futures_of_routes(
    study: Study,
    offers: Market,
    name: str,
    routes: Iterable[str],
    months: int,
    n: int,
    buyer: Buyer = "named_model",
) -> dict[str, Futures]:
    """The futures of one workload that moves alone: route -> futures.

    If no other workload has a fleet today, a move to a fleet adds the cost of the team, and a move
    away from the only fleet saves it.
    Raises: ValueError if the workload's current route, or one of the routes, has no offer.
    """
    today = study.workloads[name].current_route
    current, paths = offers.priced(name, today), paths_of(study, name, n, months)
    d: draws.Draws = bills.of_today({**_draws(study, offers, name, today, n), **paths})
    requests = bills.volumes(d, months)
    today_bill = bills.bill(current, d, months)
    stay, price = today_bill.usd(requests), np.ones((n, months))
    if isinstance(current, TokenPrice):
        price = bills.price_factor(current, d, months) * price
        if buyer == "same_quality":
            stay, price = followed(study, current.arm, today_bill, d, requests, price)
    lengths = d["input_tokens"][:, None] * bills.prompt_lengths(d, months)
    tokens = requests * (lengths + d["output_tokens"][:, None])
    others = todays_fleets(study) - {name}
    before = study.routes[today].arm == "self_hosted"
    futures = {}
    for route in routes:
        d = {**_draws(study, offers, name, route, n), **paths}
        start, ramp = bills.starts(d), d["ramp"] + d.get(bills.CANARY, 0.0)
        d = {key: x for key, x in d.items() if key != bills.START}  # bills as of a move begun now
        offer, after = offers.priced(name, route), study.routes[route].arm == "self_hosted"
        bill = bills.bill(offer, d, months)
        futures[route] = Futures(
            stay_usd=stay,
            go_usd=bill.usd(requests),
            requests=requests,
            tokens=tokens,
            price=price,
            once_usd=d["moving_cost"],
            ramp_months=ramp,
            dual_months=d["dual_running"],
            team_usd=staff_draws(study, n),
            team=0 if others else int(after) - int(before),
            reserved=_reserved(bill, d, requests),
            discount_rate=d["discount_rate"],
            start_months=start,
        )
    return futures


def _reserved(bill: bills.Bill, d: draws.Draws, requests: FloatArray) -> tuple[Reserved, ...]:
    if not isinstance(bill, bills.FleetBill):
        return ()
    fleet, needed = bill.fleet, bill.needed_usd(requests)
    if fleet.capital_share:
        bought = needed / (1 + d["overhead_share"][:, None]) * fleet.capital_share
        return (Reserved(bought, bill.market, fleet.reservation, owned=True),)
    return (Reserved(needed, bill.market, fleet.reservation),) if fleet.reserved_share else ()


def futures_of_moves(
    study: Study,
    offers: Market,
    targets: Mapping[str, str],
    months: int,
    n: int,
    buyer: Buyer = "named_model",
) -> Futures:
    """The futures in which several workloads move to fleets, when the last of them may begin.

    targets: workload -> route. One team runs all fleets. The platform is paid once, by the first
    move; the others cost as much as a move to hosted open weights.
    Raises: ValueError without targets, for a target that is not self-hosted, or as
    `futures_of_routes`.
    """
    arms = {study.routes[route].arm for route in targets.values()}
    if arms != {"self_hosted"}:
        raise ValueError("all targets must be self-hosted, and at least one is needed")
    parts = [
        futures_of_routes(study, offers, name, [route], months, n, buyer)[route]
        for name, route in targets.items()
    ]
    first, others = parts[0], parts[1:]
    weights = np.array([part.stay_usd[:, :1] for part in parts]) + 1e-9  # a free route counts too
    prices = np.array([part.price for part in parts])
    once = first.once_usd + len(others) * _next_move(study, first.once_usd)
    summed = ("stay_usd", "go_usd", "requests", "tokens")
    return replace(
        first,
        **{key: np.sum([getattr(part, key) for part in parts], axis=0) for key in summed},
        price=(weights * prices).sum(axis=0) / weights.sum(axis=0),
        once_usd=once,
        ramp_months=np.max([part.ramp_months for part in parts], axis=0),
        start_months=max(part.start_months for part in parts),
        reserved=tuple(reservation for part in parts for reservation in part.reserved),
    )


def _next_move(study: Study, first_usd: FloatArray, start: float = 0.0) -> FloatArray:
    """Cost of moving a further workload once a fleet's platform is paid for. (n,) usd.

    first_usd: cost of the first. start: months until then. Both are present values.
    """
    cost, rate = study.moving["hosted_open"].cost, study.discount_rate
    figures = {"cost": ("moving.hosted_open.cost", cost), "rate": ("discount_rate", rate)}
    d = draws_of(figures, len(first_usd), study.seed)
    return np.minimum(d["cost"] * bills.worth_today(d["rate"], start), first_usd)


class Part(NamedTuple):
    """One of several moves: its route and terms, and its saving without the team, (n,) usd."""

    route: str
    terms: bills.Terms
    saving_usd: FloatArray


def saving_together(study: Study, moves: Mapping[str, Part]) -> FloatArray | None:
    """Saving over the horizon if all these workloads move. (n,) usd, or None without a move.

    One team runs all fleets and is paid in every month in which any workload has one. If there is
    no fleet today, the first workload that gets one pays for the platform.
    moves: workload -> its move, with the cost of the platform.
    """
    if not moves:
        return None
    fleets, months = todays_fleets(study), study.months
    total, platform = np.zeros(1), bool(fleets)
    needed = np.full((1, months), float(bool(fleets - set(moves))))
    for name, (route, terms, saving_usd) in moves.items():
        total = total + saving_usd
        if study.routes[route].arm == "self_hosted":
            if platform and not fleets - {name}:
                total += terms.once_usd - _next_move(study, terms.once_usd, terms.start)
            team_share = 1.0 if name in fleets else bills.begun_share(terms.start, months)
            needed, platform = np.maximum(needed, team_share), True
        elif name in fleets:
            needed = np.maximum(needed, 1 - bills.moved_share(terms.served_from, months))
    n = len(total)
    released = ((float(bool(fleets)) - needed) * discount_draws(study, n)).sum(axis=1)
    return np.asarray(total + released * staff_draws(study, n))


def portfolio_saving(study: Study, offers: Market, targets: Mapping[str, str]) -> FloatArray | None:
    """Saving over the horizon if each workload moves to its target, as `saving_together`.

    targets: workload -> route; workloads without an offer on both routes stay.
    """
    parts = {}
    for name, route in targets.items():
        if offers.offer(name, study.workloads[name].current_route) and offers.offer(name, route):
            future = futures_of_routes(study, offers, name, [route], study.months, N_DRAWS)[route]
            alone = replace(future, team=0)
            parts[name] = Part(route, alone.terms(alone.start_months), alone.saving_usd())
    return saving_together(study, parts)


def _draws(study: Study, offers: Market, name: str, route: str, n: int) -> draws.Draws:
    return draws_of(pair_inputs(study, offers, name, route), n, study.seed)


def followed(
    study: Study,
    arm: str,
    bill: bills.Bill,
    d: draws.Draws,
    requests: FloatArray,
    named: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Bills of a buyer who moves to each cheaper model of equal quality that repays the move.

    arm, bill, d: of today's model: its arm, bill and draws. requests, named: volume, and price of
    today's model over today's, (n, months) each.
    Returns: bills in usd, and price paid over today's, (n, months) each. Costs beside the tokens
    stay the same, except that after a move there are no forced migrations.
    """
    assert isinstance(bill, bills.TokenBill)
    spec, (n, months) = study.price_paths, requests.shape
    market = _equals_price(spec.same_quality, spec.switches, arm, n, months, study.seed)
    tools = requests * d["tool_usd"][:, None] / 1000
    # at today's price
    tokens = (requests * bill.per_request - tools) / named
    paid, moves = draws.follow(named, market, tokens, d[f"migration_{arm}"])
    forced = bills.forced_month_usd(arm, d)[:, None]
    beside = bill.fixed[:, None] - forced * (moves.cumsum(axis=1) > 0)
    return tokens * paid + tools + moves + beside, paid


@lru_cache(maxsize=8)
def _equals_price(
    factor: Figure, switches: Figure, arm: str, n: int, months: int, seed: int
) -> FloatArray:
    """The lowest price of equal quality, over today's. (n, months)."""
    return draws.same_quality(
        draws.draw(factor, factor.name or "same_quality", n, seed),
        draws.draw(switches, switches.name or "switches", n, seed),
        draws.noise(f"same quality {arm}", n, months, seed),
    )

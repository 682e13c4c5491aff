"""What would it cost to move in this month or that one? The simulated futures of a move.

A future is one draw of everything, month by month. On it stand the value of waiting, the triggers'
trial and the month from which another route is cheaper.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from llmstudy import uncertainty as mc
from llmstudy.assess.market import (
    Market,
    draws_of,
    pair_inputs,
    paths_of,
    staff_draws,
    todays_fleets,
)
from llmstudy.cost import TokenPrice
from llmstudy.figure import FloatArray
from llmstudy.study import Study

Buyer = Literal["named_model", "same_quality"]
"""Who stays: on today's named model at its list price, or moving on to each cheaper equal."""


@dataclass(frozen=True)
class Futures:
    """Bills of staying and of having moved, in every draw and month. usd, (n, months).

    requests, tokens: of each month. price: what a token costs the one who stays, over today's price
    (1 on a fleet). once_usd, ramp_months, dual_months: of the move, (n,).
    team_usd: salaries a month of the team that the move needs, (n,); 0 where it needs none.
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

    @property
    def months(self) -> int:
        """Length of the horizon."""
        return self.stay_usd.shape[1]

    def with_team(self) -> FloatArray:
        """The bill of each month after the move, salaries included. (n, months) usd."""
        return np.asarray(self.go_usd + self.team_usd[:, None])

    def saving_by_month(self) -> FloatArray:
        """What moving now has saved by the end of each month, one-off costs included. (n, months).

        In the last month this is the saving over the horizon.
        """
        moved = mc.moved_share(self.ramp_months, self.months)
        saved = (self.stay_usd - self.go_usd) * moved - self.team_usd[:, None]
        cutover = np.minimum(np.ceil(self.ramp_months), self.months - 1).astype(int)
        twice = self.dual_months * self.go_usd[np.arange(len(cutover)), cutover]
        saved[np.arange(len(cutover)), cutover] -= twice
        saved[:, 0] -= self.once_usd
        return np.asarray(saved.cumsum(axis=1))

    def switch_costs(self) -> FloatArray:
        """Cost of the horizon when the move begins at the start of month t. (n, months + 1) usd.

        The last column never moves. A move that begins late still pays its one-off cost in full,
        so that none pays in the last months: read it with a horizon that is long enough.
        """
        n, months = self.stay_usd.shape
        costs = np.empty((n, months + 1))
        costs[:, months] = self.stay_usd.sum(axis=1)
        every, draws = np.arange(months), np.arange(n)
        for start in range(months):
            moved = np.clip(every + 1 - start - self.ramp_months[:, None], 0, 1)
            bills = self.stay_usd + (self.go_usd - self.stay_usd) * moved
            cutover = np.ceil(start + self.ramp_months).astype(int)
            twice = np.where(
                cutover < months,
                self.dual_months * self.go_usd[draws, np.minimum(cutover, months - 1)],
                0.0,
            )
            team = self.team_usd * (months - start)
            costs[:, start] = bills.sum(axis=1) + twice + team + self.once_usd
        return costs

    def cheaper_from_month(self) -> FloatArray:
        """The first month from which having moved stays cheaper to the end; inf: never. (n,)."""
        dearer = self.with_team() > self.stay_usd
        last = np.where(dearer.any(axis=1), self.months - 1 - dearer[:, ::-1].argmax(axis=1), -1)
        return np.where(last == self.months - 1, np.inf, last + 1.0)


def futures_of_routes(
    study: Study,
    offers: Market,
    name: str,
    routes: Iterable[str],
    months: int,
    n: int,
    buyer: Buyer = "named_model",
) -> dict[str, Futures]:
    """The futures in which one workload, and no other, moves to each of the routes.

    Raises: ValueError where the workload's route of today, or one of the routes, has no offer.
    """
    today = study.workloads[name].current_route
    current, paths = _offer(offers, name, today), paths_of(study, name, n, months)
    d = _draws(study, offers, name, today, n) | paths
    requests = mc.volumes(d, months)
    stay, price = mc.month_usd(current, mc.of_today(d), requests, months), np.ones((n, months))
    if isinstance(current, TokenPrice):
        price = mc.price_factor(current, d, months) * price
        if buyer == "same_quality":
            paid, moves = _followed(study, current.arm, stay, d, n, months)
            stay, price = stay * paid + moves, price * paid
    lengths = d["input_tokens"][:, None] * mc.prompt_lengths(d, months)
    tokens = requests * (lengths + d["output_tokens"][:, None])
    has_team = bool(todays_fleets(study))
    found = {}
    for route in routes:
        d = _draws(study, offers, name, route, n) | paths
        is_first_fleet = study.routes[route].arm == "self_hosted" and not has_team
        found[route] = Futures(
            stay_usd=stay,
            go_usd=mc.month_usd(_offer(offers, name, route), d, requests, months),
            requests=requests,
            tokens=tokens,
            price=price,
            once_usd=d["moving_cost"],
            ramp_months=d["ramp"],
            dual_months=mc.dual_months(d, months),
            team_usd=staff_draws(study, n) if is_first_fleet else np.zeros(n),
        )
    return found


def futures_of_moves(
    study: Study,
    offers: Market,
    targets: Mapping[str, str],
    months: int,
    n: int,
    buyer: Buyer = "named_model",
) -> Futures:
    """The futures in which each named workload moves to its target, all at one time.

    One team runs all fleets: it is paid once. Raises: ValueError without a target, or as
    `futures_of_routes`.
    """
    if not targets:
        raise ValueError("no workload is to move: name at least one with its target")
    parts = [
        futures_of_routes(study, offers, name, [route], months, n, buyer)[route]
        for name, route in targets.items()
    ]
    summed = ("stay_usd", "go_usd", "requests", "tokens", "once_usd")
    longest = ("ramp_months", "dual_months", "team_usd")
    weights = np.array([part.stay_usd[:, :1] for part in parts])
    prices = np.array([part.price for part in parts])
    return Futures(
        price=(weights * prices).sum(axis=0) / weights.sum(axis=0),
        **{key: np.sum([getattr(part, key) for part in parts], axis=0) for key in summed},
        **{key: np.max([getattr(part, key) for part in parts], axis=0) for key in longest},
    )


def _offer(offers: Market, name: str, route: str) -> mc.Offer:
    found = offers.offer(name, route)
    if found is None:
        raise ValueError(f"{route} has no offer for {name}: it cannot serve it, or is not priced")
    return found


def _draws(study: Study, offers: Market, name: str, route: str, n: int) -> dict[str, FloatArray]:
    return dict(draws_of(pair_inputs(study, offers, name, route), n, study.seed))


def _followed(
    study: Study, arm: str, stay: FloatArray, d: mc.Draws, n: int, months: int
) -> tuple[FloatArray, FloatArray]:
    """The price paid by a buyer who moves on to each cheaper model of equal quality that pays, over
    today's, and the cost of the moves. (n, months) each."""
    spec = study.price_paths
    market = mc.same_quality(
        mc.draw(spec.same_quality, spec.same_quality.name or "same_quality", n, study.seed),
        mc.draw(spec.switches, spec.switches.name or "switches", n, study.seed),
        mc.noise(f"same quality {arm}", n, months, study.seed),
    )
    return mc.follow(market, stay, d[f"migration_{arm}"])

"""What would it cost to move in this month or that one? The simulated futures of a move.

A future is one draw of everything, month by month. On it stand the value of waiting, the triggers'
trial and the month from which another route is cheaper.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from llmstudy import uncertainty as mc
from llmstudy.assess.market import Market, futures_of, pair_inputs, staff_draws, todays_fleets
from llmstudy.cost import TokenPrice
from llmstudy.figure import FloatArray
from llmstudy.study import Study

Buyer = Literal["named_model", "same_quality"]
"""Who stays: on today's named model at its list price, or moving on to each cheaper equal."""


@dataclass(frozen=True)
class Futures:
    """Bills of staying and of having moved, in every draw and month. usd, (n, months).

    requests, tokens: of each month. once_usd, ramp_months, dual_months: of the move, (n,).
    team_usd: salaries a month of the team that the move needs, (n,); 0 where it needs none.
    """

    stay_usd: FloatArray
    go_usd: FloatArray
    requests: FloatArray
    tokens: FloatArray
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
        last = np.where(
            dearer.any(axis=1), self.months - 1 - dearer[:, ::-1].argmax(axis=1), -1
        )
        return np.where(last == self.months - 1, np.inf, last + 1.0)


def futures_of_moves(
    study: Study,
    offers: Market,
    targets: Mapping[str, str],
    months: int,
    n: int,
    buyer: Buyer = "named_model",
) -> Futures:
    """The futures in which each named workload moves to its target, all at one time.

    One team runs all fleets: it is paid once, and not at all where today's routes have one or no
    target is a fleet. Raises: ValueError without a target, or where a route has no offer.
    """
    if not targets:
        raise ValueError("no workload is to move: name at least one with its target")
    parts = [_future(study, offers, *pair, months, n, buyer) for pair in targets.items()]
    new_team = any(study.routes[route].arm == "self_hosted" for route in targets.values())
    team = staff_draws(study, n) if new_team and not todays_fleets(study) else np.zeros(n)
    return Futures(
        stay_usd=sum((part.stay_usd for part in parts), np.zeros((n, months))),
        go_usd=sum((part.go_usd for part in parts), np.zeros((n, months))),
        requests=sum((part.requests for part in parts), np.zeros((n, months))),
        tokens=sum((part.tokens for part in parts), np.zeros((n, months))),
        once_usd=sum((part.once_usd for part in parts), np.zeros(n)),
        ramp_months=np.max([part.ramp_months for part in parts], axis=0),
        dual_months=np.max([part.dual_months for part in parts], axis=0),
        team_usd=team,
    )


def _future(
    study: Study,
    offers: Market,
    name: str,
    route: str,
    months: int,
    n: int,
    buyer: Buyer,
) -> Futures:
    current = offers.offer(name, study.workloads[name].current_route)
    challenger = offers.offer(name, route)
    if current is None or challenger is None:
        raise ValueError(f"{name} has no offer for its route of today or for {route}")
    d = futures_of(study, name, pair_inputs(study, offers, name, route), n, months)
    requests = mc.volumes(d, months)
    stay = mc.month_usd(current, mc.of_today(d), requests, months)
    if buyer == "same_quality" and isinstance(current, TokenPrice):
        stay = _followed(study, name, current.arm, stay, d, n, months)
    lengths = d["input_tokens"][:, None] * mc.prompt_lengths(d, months)
    return Futures(
        stay_usd=stay,
        go_usd=mc.month_usd(challenger, d, requests, months),
        requests=requests,
        tokens=requests * (lengths + d["output_tokens"][:, None]),
        once_usd=d["moving_cost"],
        ramp_months=d["ramp"],
        dual_months=mc.dual_months(d, months),
        team_usd=np.zeros(n),
    )


def _followed(
    study: Study, name: str, arm: str, stay: FloatArray, d: mc.Draws, n: int, months: int
) -> FloatArray:
    """The bills of a buyer who moves on to each cheaper model of equal quality that pays."""
    spec = study.price_paths
    market = mc.same_quality(
        mc.draw(spec.same_quality, spec.same_quality.name or "same_quality", n, study.seed),
        mc.draw(spec.switches, spec.switches.name or "switches", n, study.seed),
        mc.noise(f"same quality {arm}", n, months, study.seed),
    )
    paid, moves = mc.follow(market, stay, d[f"migration_{arm}"])
    return np.asarray(stay * paid + moves)

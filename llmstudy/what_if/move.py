"""What does a move save when only volumes and prices change between one question and the next?"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from llmstudy import uncertainty as mc
from llmstudy.figure import FloatArray
from llmstudy.study import Study


@dataclass(frozen=True)
class Terms:
    """How much of each month's two bills a saving holds: start, ramp, dual running and discount.

    stay, go: weights, (n, months). once: usd, (n,). team_months: months of the team that the move
    spares; negative where it needs one. (n,). Both are worth what they are today.
    """

    stay: FloatArray
    go: FloatArray
    once: FloatArray
    team_months: FloatArray


def terms(current: mc.Offer, offer: mc.Offer, d: mc.Draws, months: int) -> Terms:
    """The terms of a move: `move_saving_usd` with both bills left open, in which it is linear."""
    worth = mc.discount(d, months)
    served = mc.served_from(d)
    stay = mc.moved_share(served, months) * worth
    go, draws = stay.copy(), np.arange(len(stay))
    cutover = np.minimum(np.ceil(served), months - 1).astype(int)
    go[draws, cutover] += (
        mc.dual_months(d, months) * np.broadcast_to(worth, stay.shape)[draws, cutover]
    )
    spared = float(isinstance(current, mc.Fleet)) - mc.team_share(current, offer, d, months)
    return Terms(stay, go, mc.once_usd(d, months), (spared * worth).sum(axis=1))


@dataclass(frozen=True)
class Move:
    """A workload on a route, in every draw. team_usd: of a month of the team, (n,).

    stay, go: bills of today's route and of this one, with the volume open; paid, due: what comes to
    be paid on each for the requests. (n, months).
    """

    workload: str
    route: str
    terms: Terms
    growth: FloatArray
    requests: FloatArray
    stay: mc.Bill
    go: mc.Bill
    paid: FloatArray
    due: FloatArray
    team_usd: FloatArray

    def saved(self) -> FloatArray:
        """What moving saves over the horizon, team included. (n,) usd."""
        held = self.terms
        kept = np.einsum("ij,ij->i", held.stay, self.paid)
        bill = np.einsum("ij,ij->i", held.go, self.due)
        return np.asarray(kept - bill - held.once + held.team_months * self.team_usd)

    def passes(self, saved: FloatArray, study: Study) -> bool:
        """Whether a saving meets the study's lines: in enough of the draws, and enough in half."""
        lines, n = study.thresholds, len(saved)
        sure = np.count_nonzero(saved > 0) >= lines.probability.value * n
        return bool(sure and 2 * np.count_nonzero(saved >= lines.saving.value) >= n)

    def on(self, requests: FloatArray) -> "Move":
        """The same move at another volume. requests: (n, months)."""
        paid, due = self.stay.usd(requests), self.go.usd(requests)
        return replace(self, requests=requests, paid=paid, due=due)

    def head(self, n: int) -> "Move":
        """The move in its first draws, which are those of a smaller sample."""
        held = self.terms
        return replace(
            self,
            terms=Terms(held.stay[:n], held.go[:n], held.once[:n], held.team_months[:n]),
            growth=self.growth[:n],
            requests=self.requests[:n],
            stay=_head(self.stay, n),
            go=_head(self.go, n),
            paid=self.paid[:n],
            due=self.due[:n],
            team_usd=self.team_usd[:n],
        )


def _head(bill: mc.Bill, n: int) -> mc.Bill:
    """A bill in its first draws; what is one row for all draws stays so."""
    arrays: Any = {key: x[:n] for key, x in vars(bill).items() if isinstance(x, np.ndarray)}
    return replace(bill, **arrays)

"""From which volume, month and number of tokens is another route cheaper? Infinite means never."""

import numpy as np

from llmstudy.cost import TokenPrice
from llmstudy.figure import FloatArray
from llmstudy.uncertainty.bills import (
    Offer,
    api_month_usd,
    fleet_month_usd,
    fleet_unit,
    of_today,
    rent_market,
    staff_month_usd,
    starts,
    terms,
    usd_per_request,
)
from llmstudy.uncertainty.draws import Draws


def crossover_requests_per_month(
    current: TokenPrice, challenger: Offer, d: Draws, months: int, cap: float
) -> FloatArray:
    """Smallest constant volume from which the challenger stays cheaper over the horizon. (n,).

    Infinite means never: there is no volume up to `cap` from which it stays cheaper. Volume is
    constant here, so that the answer can be held against a month of the log; growth enters the
    saving instead, and so does its scatter. A fleet pays the team of `d`, from the beginning of the
    move, and its replicas carry what they do on average while prompts grow.
    """
    move = terms(current, challenger, d, months)
    saved = move.stay * usd_per_request(current, of_today(d), months)
    # what staying costs whatever the volume is spared from the month of the move
    fixed = move.once_usd - move.stay.sum(axis=1) * api_month_usd(current.arm, d)
    paid_months = move.go.sum(axis=1)
    if isinstance(challenger, TokenPrice):
        paid = (move.go * usd_per_request(challenger, d, months)).sum(axis=1)
        fixed += paid_months * api_month_usd(challenger.arm, d)
        return _linear_crossover(saved.sum(axis=1) - paid, fixed, cap)
    carries, a_replica = fleet_unit(challenger, d, months)
    steady = np.broadcast_to(a_replica[:, None], move.go.shape)
    market = np.broadcast_to(rent_market(challenger, d, months), move.go.shape)
    rent = challenger.reservation.rent_usd(steady, market, starts(d))
    per_replica = (move.go * rent).sum(axis=1)
    fixed += d["staging_replicas"] * per_replica + paid_months * fleet_month_usd(d)
    return stepped_crossover(
        per_request=saved.sum(axis=1),
        per_replica=per_replica,
        carries=carries.mean(axis=1),
        spare=challenger.spare,
        fixed=fixed - move.team.sum(axis=1) * staff_month_usd(d),
        cap=cap,
    )


def _linear_crossover(per_request: FloatArray, fixed: FloatArray, cap: float) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore"):
        volume_ = np.where(per_request > 0, np.maximum(fixed, 0) / per_request, np.inf)
    return np.where(volume_ <= cap, volume_, np.inf)


def stepped_crossover(
    per_request: FloatArray,
    per_replica: FloatArray,
    carries: FloatArray,
    spare: int,
    fixed: FloatArray,
    cap: float,
) -> FloatArray:
    """The volume N from which per_request * N stays above the bill of whole replicas.

    All arrays (n,), in usd over the horizon and requests a month; inf where there is none up to
    `cap`. With a = per_request, k = per_replica, q = carries, s = spare and f = fixed, the saving
    a*N - (ceil(N/q) + s)*k - f climbs within a replica and drops by k when one is added. If a full
    replica earns its rent (a*q > k), its value at the start of the r-th replica climbs with r, and
    the last change of sign lies within the replica before the first start that is not negative.

    >>> one = np.array([1.0])
    >>> stepped_crossover(one, 3 * one, 10 * one, 1, 8 * one, 1e6)
    array([17.])
    """
    a, k, q, s, f = per_request, per_replica, carries, spare, fixed
    margin = a * q - k  # what one more full replica adds
    with np.errstate(divide="ignore", invalid="ignore"):
        first = np.ceil((a * q + s * k + f) / margin)
        found = np.where(first > 1, ((first - 1 + s) * k + f) / a, 0.0)
    found = np.where(margin > 0, found, np.inf)
    return np.where(found <= cap, found, np.inf)

"""The volume from which another route is cheaper, and input values at which a verdict flips.

An infinite volume means never.

To find a flip, one input is set to a value in all draws while the others keep their draws (common
random numbers), so that the verdict is a function of that value. It is evaluated on a grid, and
every change between two neighbours is narrowed down by bisection.

About 2,000 draws are enough: an input takes some 70 evaluations, which for 18 inputs are 1,200 runs
of the model. Compared with 8,000 draws, thresholds near an input's range then differ by up to 4 %,
those far outside by up to 14 %.
"""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from llmstudy.figure import Figure, FloatArray
from llmstudy.measures.cost import Offer, TokenPrice
from llmstudy.simulate.bills import (
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
from llmstudy.simulate.draws import Draws


def crossover_requests_per_month(
    current: TokenPrice, challenger: Offer, d: Draws, months: int, cap: float
) -> FloatArray:
    """Smallest constant volume from which the challenger stays cheaper over the horizon. (n,).

    Infinite means never: there is no volume up to `cap` from which it stays cheaper. The volume is
    constant here, so that it can be compared with a month of the log; growth and scatter of the
    volume are part of the saving instead. A fleet pays the team of `d` from the beginning of the
    move, and the capacity of its replicas is the mean over the horizon while prompts grow.
    """
    move = terms(current, challenger, d, months)
    saved_usd = move.stay * usd_per_request(current, of_today(d), months)
    # fixed costs of staying are saved from the month of the move
    fixed = move.once_usd - move.stay.sum(axis=1) * api_month_usd(current.arm, d)
    paid_months = move.go.sum(axis=1)
    if isinstance(challenger, TokenPrice):
        paid_usd = (move.go * usd_per_request(challenger, d, months)).sum(axis=1)
        fixed += paid_months * api_month_usd(challenger.arm, d)
        return linear_crossover(saved_usd.sum(axis=1) - paid_usd, fixed, cap)
    carries, a_replica = fleet_unit(challenger, d, months)
    steady = np.broadcast_to(a_replica[:, None], move.go.shape)
    market = np.broadcast_to(rent_market(challenger, d, months), move.go.shape)
    rent = challenger.reservation.rent_usd(steady, market, starts(d))
    per_replica = (move.go * rent).sum(axis=1)
    fixed += d["staging_replicas"] * per_replica + paid_months * fleet_month_usd(d)
    return stepped_crossover(
        per_request=saved_usd.sum(axis=1),
        per_replica=per_replica,
        carries=carries.mean(axis=1),
        spare=challenger.spare,
        fixed=fixed - move.team.sum(axis=1) * staff_month_usd(d),
        cap=cap,
    )


def linear_crossover(per_request: FloatArray, fixed: FloatArray, cap: float) -> FloatArray:
    """The volume from which per_request * N stays above a fixed cost, as `stepped_crossover`."""
    with np.errstate(divide="ignore", invalid="ignore"):
        volume_ = np.where(per_request > 0, np.maximum(fixed, 0) / per_request, np.inf)
    return np.where(volume_ <= cap, volume_, np.inf)


def stepped_crossover(
    per_request: FloatArray,
    per_replica: FloatArray,
    carries: FloatArray,
    spare: int | FloatArray,
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
        volume = np.where(first > 1, ((first - 1 + s) * k + f) / a, 0.0)
    volume = np.where(margin > 0, volume, np.inf)
    return np.where(volume <= cap, volume, np.inf)


Bounds = tuple[float, float]

_HARD_BOUNDS: dict[str, Bounds] = {"share": (0.0, 1.0), "share/month": (-1.0, np.inf)}
"""Unit -> bounds that no value can leave, however far the search is widened."""

_WIDENING = 10.0

_COLUMNS = (
    "input",
    "value_now",
    "unit",
    "flips_at",
    "direction",
    "inside_range",
    "distance_share",
    "percentile",
    "p_flip",
)


def solve_thresholds(
    figures: Mapping[str, Figure],
    draws: Draws,
    verdict_margin: Callable[[Draws], float],
    bounds: Mapping[str, Bounds] | None = None,
    tolerance_share: float = 1e-3,
) -> pd.DataFrame:
    """The values of each input at which the verdict flips, the likeliest flip first.

    figures: input -> Figure, certain ones too: a price may be certain and still have a threshold.
    draws: input -> (n,), of all figures. verdict_margin: draws -> a number that is >= 0 when the
    verdict is "move" and below when it is "stay"; only its sign is read, so it may jump. bounds:
    input -> hard bounds that its unit does not tell (a peak is at least the mean: (1, inf)).
    Searched: from a tenth of the range's low end to ten times its high end (where it reaches below
    zero, ten times its larger end either way), within the hard bounds; a share stays in 0..1.

    Returns: one row per flip, and one with flips_at NaN for an input that has none in what was
    searched. input, value_now, unit, flips_at, direction ("above": the verdict is "move" just above
    flips_at; "below": just below; "" without a flip), inside_range (flips_at lies in the stated low
    to high), distance_share (from the value now, as a share of it; NaN from zero), percentile (of
    flips_at in the input's own distribution, 0 to 100; NaN where the input is certain), p_flip
    (probability of the values at which the verdict is another than at value_now).
    flips_at is the middle of two values at which the verdict was read and differs, not further
    apart than tolerance_share of the larger (or of a thousandth of the range's larger end). Two
    flips within one step of the grid, a 32nd of the range or 16 % beyond it, escape it.

    Raises: ValueError if an input has no draws, a bound excludes its value, or a margin is NaN.

    >>> price = Figure("", 2.0, "USD", 1.0, 4.0, "uniform")
    >>> d = {"price": np.array([1.0, 2.0, 4.0])}
    >>> flips = solve_thresholds({"price": price}, d, lambda d: float(np.median(3 - d["price"])))
    >>> flips.round(2)[["flips_at", "direction", "percentile", "p_flip"]].values.tolist()
    [[3.0, 'below', 66.65, 0.33]]
    """
    missing = [name for name in figures if name not in draws]
    if missing:
        raise ValueError(f"no draws of {', '.join(missing)}: draw every figure that is searched")
    rows = []
    for name, figure in figures.items():
        unit_bounds = _HARD_BOUNDS.get(figure.unit, (-np.inf, np.inf))
        grid = _grid(name, figure, (bounds or {}).get(name, unit_bounds))
        moves = _verdict_at(name, draws, verdict_margin)
        rows += _rows(name, figure, _flips(figure, grid, moves, tolerance_share))
    table = pd.DataFrame(rows, columns=list(_COLUMNS))
    nearest_first = table.sort_values("distance_share", key=np.abs, kind="stable")
    return nearest_first.sort_values("p_flip", ascending=False, kind="stable", ignore_index=True)


def _verdict_at(
    name: str, draws: Draws, verdict_margin: Callable[[Draws], float]
) -> Callable[[float], bool]:
    """Whether the verdict is "move" when the input has this value in every draw."""

    def moves(x: float) -> bool:
        margin = verdict_margin({**draws, name: np.full(len(draws[name]), x)})
        if np.isnan(margin):
            raise ValueError(f"the verdict's margin is NaN where {name} is {x:g}: give it bounds")
        return bool(margin >= 0)

    return moves


def _grid(name: str, figure: Figure, hard: Bounds) -> FloatArray:
    """Values at which the verdict is read first, ascending: 32 in the range, 16 beyond each end.

    Spaced by ratio where the range is above zero, so that a tenth is as far as ten times.
    """
    low, high = figure.ends
    if not hard[0] <= figure.value <= hard[1]:
        raise ValueError(
            f"{name} is {figure.value:g}, outside its bounds [{hard[0]:g}, {hard[1]:g}]"
        )
    reach = _WIDENING * max(abs(low), abs(high))
    least = low / _WIDENING if low > 0 else -reach if low < 0 else 0.0
    most = _WIDENING * high if high > 0 else reach
    least, low, high, most = np.clip([least, low, high, most], *hard)
    spaced = np.geomspace if least > 0 else np.linspace
    pieces = [spaced(least, low, 17), spaced(low, high, 33), spaced(high, most, 17)]
    return np.unique(np.concatenate([*pieces, [figure.value]]))


def _flips(
    figure: Figure, grid: FloatArray, moves: Callable[[float], bool], tolerance_share: float
) -> list[tuple[float, bool]]:
    """Every value at which the verdict changes, ascending, and whether it is "move" above it."""
    verdicts = [moves(x) for x in grid]
    size = max(abs(end) for end in figure.ends) / 1000
    flips = []
    for i in np.flatnonzero(np.diff(verdicts)):
        above = verdicts[i + 1]
        at = turning_point(moves, grid[i], grid[i + 1], above, tolerance_share, size)
        flips.append((at, above))
    return flips


def turning_point(
    moves: Callable[[float], bool],
    low: float,
    high: float,
    above: bool,
    tolerance_share: float,
    size: float,
) -> float:
    """The value between low and high at which a verdict changes, by bisection.

    Returns: the middle of two values with different verdicts that are not farther apart than
    tolerance_share of the larger, or of `size`. above: the verdict at `high`.

    >>> turning_point(lambda x: x > 3, 0.0, 8.0, True, tolerance_share=0.001, size=1.0)
    3.0009765625
    """
    while high - low > tolerance_share * max(abs(low), abs(high), size):
        middle = (low + high) / 2
        low, high = (low, middle) if moves(middle) == above else (middle, high)
    return float((low + high) / 2)


def _rows(name: str, figure: Figure, flips: list[tuple[float, bool]]) -> list[tuple[object, ...]]:
    now, (low, high) = figure.value, figure.ends
    if not flips:
        return [(name, now, figure.unit, np.nan, "", False, np.nan, np.nan, 0.0)]
    at = np.array([x for x, _ in flips])
    below = _share_below(figure, at)
    percentile = 100 * below if figure.uncertain else np.full(len(at), np.nan)
    distance = (at - now) / abs(now) if now else np.full(len(at), np.nan)
    p_flip = _p_another(below, at, now) if figure.uncertain else 0.0
    rows: list[tuple[object, ...]] = []
    for i, (x, move_above) in enumerate(flips):
        direction = "above" if move_above else "below"
        row = (name, now, figure.unit, x, direction, low <= x <= high)
        rows.append((*row, distance[i], percentile[i], p_flip))
    return rows


def _share_below(figure: Figure, x: FloatArray) -> FloatArray:
    """Distribution function of the figure, from its quantiles. Accurate to 0.0001."""
    u = np.linspace(0, 1, 10_001)
    return np.interp(x, figure.quantile(u), u)


def _p_another(below: FloatArray, at: FloatArray, now: float) -> float:
    """Probability of the pieces between flips whose verdict is another than in the piece of now."""
    mass = np.diff(np.concatenate([[0.0], below, [1.0]]))
    piece_now = int((at < now).sum())
    return float(mass[(np.arange(len(mass)) - piece_now) % 2 == 1].sum())

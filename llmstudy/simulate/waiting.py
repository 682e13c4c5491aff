"""The value of waiting, and of rules that decide when to switch.

A switch is made once, at the start of some month, or never. Its cost is a table `(n_paths,
n_months + 1)` in usd: what a path costs over the whole horizon when the switch is made at the start
of month t, and in the last column when it never is. What is known at the start of month t, and
nothing later, is the state: `(n_paths, n_months, k)`.

Rules are fitted on one half of the paths (every other row) and judged on the other half, each half
in turn. A fitted rule is at best as good as the best rule, so that the value of waiting is, on
average, not overstated. Paths are independent rows; costs are discounted already.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from llmstudy.figure import FloatArray, first_least
from llmstudy.simulate.information import (
    best_penalties,
    moments,
    normal_mean,
    predicted,
    ridge,
    spline_design,
    usual_size,
)

Months = npt.NDArray[np.int_]
"""Month of the switch on each path, (n_paths,); the number of months where there is none."""

_KNOTS = 5
_PAIR_KNOTS = 2  # two states act together by their product only
_MIN_PATHS = 200
_TRIED = 50  # thresholds of each state, as rivals of the regression
_SURE = 2.0  # standard errors

# Gains are regressed as they are, and over their usual size: see `value_of_information`.
_POWERS = (0.0, 1.0)


def switch_costs(
    before_usd: FloatArray, after_usd: FloatArray, switch_usd: FloatArray | float = 0.0
) -> FloatArray:
    """Cost over the horizon by the month of the switch; last column: never. (n, months + 1) usd.

    before_usd, after_usd: monthly cost before and after the switch, (n, months). switch_usd: cost
    of the switch itself, a number, by path (n, 1) or by path and month (n, months).

    For a commitment that can be left again, swap the two and add the first move: the costs by month
    of leaving, for `value_of_waiting`, are move_usd + switch_costs(after, before, exit_usd).

    >>> api, fleet = np.array([[5.0, 5.0, 5.0]]), np.array([[4.0, 3.0, 2.0]])
    >>> switch_costs(api, fleet, 4.0).tolist()
    [[13.0, 14.0, 16.0, 15.0]]
    """
    before, after = np.asarray(before_usd, dtype=float), np.asarray(after_usd, dtype=float)
    if before.ndim != 2 or before.shape != after.shape:
        raise ValueError(
            f"monthly costs have the shapes {before.shape} and {after.shape}: give two tables "
            "(n_paths, n_months) of one shape"
        )
    nothing = np.zeros((len(before), 1))
    before_switch = np.hstack([nothing, before.cumsum(axis=1)])
    after_switch = np.hstack([after[:, ::-1].cumsum(axis=1)[:, ::-1], nothing])
    costs = np.asarray(before_switch + after_switch)
    costs[:, :-1] += switch_usd
    return costs


def value_of_waiting(
    switch_costs_usd: FloatArray,
    states: FloatArray,
    waits: Sequence[int] = (3, 6, 12),
    short_commitments: Mapping[int, FloatArray] | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """What each way of waiting costs on average, compared with committing now.

    switch_costs_usd: (n_paths, n_months + 1). states: (n_paths, n_months) or (n_paths, n_months,
    k); only the order of a month's values counts, for thresholds their order over all months.
    waits: months k after which to choose between switching then and never. short_commitments:
    months k for which a move made now binds -> (n_paths, n_months + 1), the cost by the month in
    which it is left again, from month k on; last column: never left (`switch_costs` says how).

    Policies: commit now; never; the month that is best on average, set in advance; wait k months,
    then choose; optimal stopping; commit for k months, then free to leave when that pays;
    hindsight, which knows the whole path and which no single switch beats. A choice is by the gain
    expected given the state, from a spline regression of the realised gain, backwards from the last
    month, or by a threshold of one state, or by a month set in advance: whichever costs least on a
    part of the paths that it was not fitted on (the regression: surely least). Where a few huge
    paths hold most of the cost, a regression alone does worse than either of the others.

    Returns: policy, mean_cost_usd, low_usd, high_usd (interval of the mean), saving_vs_now_usd with
    saving_low_usd and saving_high_usd (paired on the path, so much narrower), mean_switch_month (of
    the paths that switch; NaN where none does) and p_never.
    Raises: ValueError if shapes do not match, numbers are not finite, paths are fewer than 200 or a
    wait does not end within the horizon.
    Source: Longstaff and Schwartz (2001), Review of Financial Studies 14:113-147.

    >>> price = np.repeat([[1.0], [1.0], [9.0], [9.0]], 100, axis=0)  # shown in month 1
    >>> costs = np.hstack([5.5 + 0 * price, 0.5 + price, 5.0 + 0 * price])
    >>> table = value_of_waiting(costs, np.hstack([0 * price, price]), waits=[1])
    >>> table.set_index("policy")["mean_cost_usd"].round(2)[["commit now", "optimal stopping"]]
    policy
    commit now          5.50
    optimal stopping    3.25
    Name: mean_cost_usd, dtype: float64
    """
    costs, states = _checked(switch_costs_usd, states)
    last = costs.shape[1] - 1
    if late := [k for k in waits if not 1 <= k < last]:
        raise ValueError(f"a wait of {late[0]} months: give from 1 to {last - 1}, within the paths")
    now, never = np.zeros(len(costs), dtype=int), np.full(len(costs), last)
    policies: dict[str, tuple[FloatArray, Months]] = {
        "commit now": (costs, now),
        "never": (costs, never),
        "best month set in advance": (costs, _set_months(costs)),
    }
    for k in waits:
        policies[f"{k}-month wait, then choose"] = costs, _stopping_months(costs, states, [k])
    policies["optimal stopping"] = costs, _stopping_months(costs, states, range(last))
    rows = [_row(name, *policy, costs[:, 0], level) for name, policy in policies.items()]
    for k, leaving in (short_commitments or {}).items():
        leaving, _ = _checked(leaving, states)
        exit_months = _stopping_months(leaving, states, range(k, last))
        row = _row(f"{k}-month commitment, then free", leaving, exit_months, costs[:, 0], level)
        rows.append(row | {"mean_switch_month": 0.0, "p_never": 0.0})
    rows.append(_row("hindsight", costs, first_least(costs, axis=1), costs[:, 0], level))
    return pd.DataFrame(rows)


# ---- rules --------------------------------------------------------------------------------------


def _stopping_months(costs: FloatArray, states: FloatArray, allowed: Sequence[int]) -> Months:
    """When each path switches, if it may only in the allowed months, by the other half's rule.

    Each kind of rule is fitted on either quarter of a half and judged on its other quarter; the
    kind that does best there, fitted on the whole half, is that half's rule.
    """
    months = np.array([*allowed, costs.shape[1] - 1])
    if len(months) == 1:
        return np.full(len(costs), months[-1])
    costs, states = costs[:, months], states[:, months[:-1]]
    quarters, halves = ([slice(k, None, n) for k in range(n)] for n in (4, 2))
    rules = _rules(costs, states, [*quarters, *halves])  # (kinds, quarters and halves, n)
    choices = np.empty(len(costs), dtype=int)
    for half in (0, 1):
        judged = [(quarters[half], half + 2), (quarters[half + 2], half)]
        paid = [
            np.concatenate([_picked(costs[rows], kind[fit, rows]) for rows, fit in judged])
            for kind in rules
        ]
        other = halves[1 - half]
        choices[other] = rules[_best_kind(np.array(paid)), 4 + half, other]
    return np.asarray(months[choices])


def _best_kind(paid: FloatArray) -> int:
    """The kind of rule that costs least; a regression only if it surely saves. (kinds, n) usd.

    On a path larger than all in its sample, a regression may lose more than it ever saved.
    """
    mean = paid.mean(axis=1)
    simple = int(first_least(mean[: -len(_POWERS)]))
    saved = paid[simple] - paid
    sure = saved.mean(axis=1) > _SURE * saved.std(axis=1) / np.sqrt(paid.shape[1])
    sure[: -len(_POWERS)] = False
    sure[simple] = True
    return int(first_least(np.where(sure, mean, np.inf)))


def _rules(costs: FloatArray, states: FloatArray, fits: Sequence[slice]) -> Months:
    """When each path switches by each kind of rule, fitted on each set of rows. (kinds, fits, n).

    Kinds: a month set in advance; each state above, and each below, a threshold (among them: at
    once, and never); regressions of the gain of waiting.
    """
    n = len(costs)
    kinds = [[np.full(n, first_least(costs[rows].mean(axis=0))) for rows in fits]]
    for signal in np.concatenate([states, -states], axis=2).transpose(2, 0, 1):
        maxima = np.maximum.accumulate(signal, axis=1)
        kind = []
        for rows in fits:
            levels, paid = _thresholds(costs[rows], maxima[rows], _TRIED)
            kind.append(_passage(maxima, float(levels[first_least(paid.mean(axis=1))])))
        kinds.append(kind)
    return np.array([*kinds, *_regressed(costs, states, fits)])


def _regressed(costs: FloatArray, states: FloatArray, fits: Sequence[slice]) -> Months:
    """As `_rules`: switch where the fitted gain of doing so is positive, backwards in time."""
    last = costs.shape[1] - 1
    months = np.full((len(_POWERS), len(fits), len(costs)), last)
    for t in reversed(range(last)):
        design = spline_design(states[:, t], _KNOTS, _PAIR_KNOTS)
        for power, kind in zip(_POWERS, months, strict=True):
            for rows, month in zip(fits, kind, strict=True):
                sample = design[rows]
                gain = (_picked(costs[rows], month[rows]) - costs[rows, t])[:, None]
                if power:
                    gain = gain / usual_size(sample, gain) ** power
                products, p = moments(sample, gain), design.shape[1]
                fit = ridge(products, p, best_penalties(products, p))
                month[predicted(design, fit)[:, 0] > 0] = t
    return months


def _thresholds(
    costs: FloatArray, maxima: FloatArray, levels: int
) -> tuple[FloatArray, FloatArray]:
    """Thresholds of a signal's running maximum, never the last, and what each costs every path."""
    thresholds = np.append(np.unique(np.quantile(maxima, np.linspace(0, 1, levels))), np.inf)
    return thresholds, np.array([_picked(costs, _passage(maxima, x)) for x in thresholds])


def _set_months(costs: FloatArray) -> Months:
    """The month that is cheapest on average over the other half."""
    even, odd = (int(first_least(costs[half::2].mean(axis=0))) for half in (0, 1))
    return np.asarray(np.where(np.arange(len(costs)) % 2 == 0, odd, even))


def _passage(maxima: FloatArray, threshold: float) -> Months:
    """First month in which a running maximum is at least the threshold. (n, months) -> (n,)."""
    return np.asarray(np.count_nonzero(maxima < threshold, axis=1))


# ---- what they cost -----------------------------------------------------------------------------


def _row(
    policy: str, costs: FloatArray, month: Months, now: FloatArray, level: float
) -> dict[str, str | float]:
    cost = _picked(costs, month)
    mean, saving = normal_mean(cost, level), normal_mean(now - cost, level)
    switched = month < costs.shape[1] - 1
    return {
        "policy": policy,
        "mean_cost_usd": mean.estimate,
        "low_usd": mean.low,
        "high_usd": mean.high,
        "saving_vs_now_usd": saving.estimate,
        "saving_low_usd": saving.low,
        "saving_high_usd": saving.high,
        "mean_switch_month": float(month[switched].mean()) if switched.any() else float("nan"),
        "p_never": float(1 - switched.mean()),
    }


def _picked(costs: FloatArray, month: Months) -> FloatArray:
    return np.asarray(costs[np.arange(len(costs)), month])


def _checked(costs_usd: FloatArray, states: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Costs as (n, months + 1) and states as (n, months, k), both finite."""
    costs, signals = np.asarray(costs_usd, dtype=float), np.asarray(states, dtype=float)
    signals = signals[:, :, None] if signals.ndim == 2 else signals
    if costs.ndim != 2 or signals.ndim != 3 or costs.shape != (len(signals), signals.shape[1] + 1):
        raise ValueError(
            f"costs have the shape {costs.shape} and states {np.shape(states)}: give (n_paths, "
            "n_months + 1) and (n_paths, n_months, k)"
        )
    if len(costs) < _MIN_PATHS:
        raise ValueError(f"{len(costs)} paths: a rule is fitted and judged on {_MIN_PATHS} or more")
    if not (np.isfinite(costs).all() and np.isfinite(signals).all()):
        raise ValueError("costs or states hold values that are not finite")
    return costs, signals

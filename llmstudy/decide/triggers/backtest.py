"""What would a rule have cost compared with hindsight?

The input is the total cost of each simulated future (path) for each month in which the switch could
begin, and the month in which a rule begins it. The regret of a rule is what it costs above the
cheapest month of the same path. Intervals are those of a mean over independent paths: they tell how
precise the simulation is, not how well it describes the world.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student_t

from llmstudy.decide.triggers.hysteresis import IntArray, first_fired, sustained_level
from llmstudy.figure import FloatArray, Interval, first_least


def hindsight(switch_costs: FloatArray) -> IntArray:
    """The cheapest month to begin the switch on each path; n_months means never. (n_paths,).

    switch_costs: (n_paths, n_months + 1) usd over the horizon if the switch begins at the start of
    each month; the last column is never. Ties go to the earliest month, but never wins every tie: a
    switch that saves nothing is none.

    >>> hindsight(np.array([[5.0, 3.0, 3.0, 4.0], [5.0, 4.0, 6.0, 4.0]]))
    array([1, 3])
    """
    never = switch_costs.shape[1] - 1
    # never first: it wins every tie
    return np.asarray((first_least(np.roll(switch_costs, 1, axis=1), axis=1) - 1) % (never + 1))


def backtest(switch_costs: FloatArray, switches: Mapping[str, IntArray]) -> pd.DataFrame:
    """What each rule, and the benchmarks `always_now` and `never`, cost against hindsight.

    switch_costs: as for `hindsight`, finite. switches: rule -> (n_paths,) months, as from `decide`.

    Returns: one row per rule: rule, benchmark (whether it is one), regret_usd with its 95 %
    interval regret_low_usd and regret_high_usd, regret_p50_usd, regret_p90_usd (of an observed
    path), false_alarm_share (of all paths: it switched although never switching was cheapest) and
    false_alarm_usd (the mean regret of those), missed_share and missed_usd (it never switched
    although a switch was cheapest), delay_months (median of its month minus the cheapest one, if
    both switch; positive: late), switch_share, switch_month_p50 (median over all paths; null: never
    in most of them), n_paths. A mean over no path is null. Raises: ValueError for fewer than two
    paths, an infinite cost, a month out of range, or a rule with the name of a benchmark.

    >>> costs = np.array([[9.0, 5.0, 7.0, 8.0], [9.0, 9.0, 9.0, 4.0]])
    >>> outcomes = backtest(costs, {"spend": np.array([2, 1])})
    >>> outcomes[["rule", "regret_usd", "false_alarm_share", "missed_share"]].to_numpy().tolist()
    [['spend', 3.5, 0.5, 0.0], ['always_now', 4.5, 0.5, 0.0], ['never', 1.5, 0.0, 0.5]]
    """
    switch_costs = _checked(switch_costs)
    n_paths, never = len(switch_costs), switch_costs.shape[1] - 1
    benchmarks = {"always_now": np.zeros(n_paths, int), "never": np.full(n_paths, never)}
    if both := sorted(benchmarks.keys() & switches.keys()):
        raise ValueError(f"backtest: rule {both[0]!r} has the name of a benchmark; rename it")
    best = hindsight(switch_costs)
    return pd.DataFrame(
        [
            {"rule": rule, "benchmark": rule in benchmarks}
            | _outcome(switch_costs, _months(rule, months, switch_costs), best)
            for rule, months in {**switches, **benchmarks}.items()
        ]
    )


def _checked(switch_costs: FloatArray) -> FloatArray:
    costs = np.asarray(switch_costs, dtype=float)
    if costs.ndim != 2 or len(costs) < 2 or costs.shape[1] < 2:
        raise ValueError(
            f"switch_costs of shape {costs.shape}: give (n_paths, n_months + 1), two paths at least"
        )
    if not np.isfinite(costs).all():
        raise ValueError("switch_costs hold NaN or infinity: every month needs its cost")
    return costs


def _months(rule: str, months: IntArray, switch_costs: FloatArray) -> IntArray:
    months, never = np.asarray(months), switch_costs.shape[1] - 1
    if months.shape != (len(switch_costs),) or not np.isin(months, np.arange(never + 1)).all():
        raise ValueError(
            f"backtest: {rule} gives no month from 0 to {never} for each of {len(switch_costs)} "
            f"paths; {never} means never"
        )
    return months


def _outcome(switch_costs: FloatArray, months: IntArray, best: IntArray) -> dict[str, Any]:
    never = switch_costs.shape[1] - 1
    regret = _regret(switch_costs, months)
    mean = _mean(regret)
    false_alarm = (months < never) & (best == never)
    missed = (months == never) & (best < never)
    both_switch = (months < never) & (best < never)
    p50, p90 = np.quantile(regret, [0.5, 0.9], method="inverted_cdf")
    month = int(np.quantile(months, 0.5, method="inverted_cdf"))
    return {
        "regret_usd": mean.estimate,
        "regret_low_usd": mean.low,
        "regret_high_usd": mean.high,
        "regret_p50_usd": float(p50),
        "regret_p90_usd": float(p90),
        "false_alarm_share": float(false_alarm.mean()),
        "false_alarm_usd": float(regret[false_alarm].mean()) if false_alarm.any() else np.nan,
        "missed_share": float(missed.mean()),
        "missed_usd": float(regret[missed].mean()) if missed.any() else np.nan,
        "delay_months": float(np.median((months - best)[both_switch]))
        if both_switch.any()
        else np.nan,
        "switch_share": float((months < never).mean()),
        "switch_month_p50": month if month < never else np.nan,
        "n_paths": len(regret),
    }


def _cost(switch_costs: FloatArray, months: IntArray) -> FloatArray:
    return np.asarray(np.take_along_axis(switch_costs, months[:, None], axis=1)[:, 0])


def _regret(switch_costs: FloatArray, months: IntArray) -> FloatArray:
    return np.asarray(_cost(switch_costs, months) - switch_costs.min(axis=1))


def _mean(x: FloatArray, inflation: float = 1.0) -> Interval:
    """The mean over paths with its 95 % Student interval. inflation: a factor on its variance."""
    error = np.sqrt(inflation * x.var(ddof=1) / len(x))
    half = student_t.ppf(0.975, len(x) - 1) * error
    return Interval(float(x.mean()), float(x.mean() - half), float(x.mean() + half))


# --- a better threshold ---------------------------------------------------------------------


@dataclass(frozen=True)
class ImprovedThreshold:
    """The rule "switch once the signal has been at `level` for `periods`", chosen by back-test.

    level, periods: chosen on all paths; a level of inf means never. in_sample_usd: mean regret on
    the paths they were chosen on, which is too optimistic. out_of_sample_usd: mean regret if each
    path is judged by the threshold chosen on other paths. improvement_usd: what that saves against
    the baseline, path by path. by_fold: (level, periods) chosen without each fold; their spread
    shows how well the paths determine the threshold.
    """

    level: float
    periods: int
    in_sample_usd: Interval
    out_of_sample_usd: Interval
    improvement_usd: Interval
    by_fold: tuple[tuple[float, int], ...]


def candidate_levels(signal: FloatArray, n: int) -> FloatArray:
    """Levels to try: n quantiles of the whole signal, and inf, which means never. (m,).

    signal: (n_paths, n_months), NaN where unknown. The choice must not depend on the costs, which
    are what is to be judged.
    Raises: ValueError if the signal is unknown throughout.

    >>> candidate_levels(np.array([[1.0, 2.0, 3.0, np.nan]]), n=3).tolist()
    [1.0, 2.0, 3.0, inf]
    """
    values = np.asarray(signal, dtype=float)
    values = values[np.isfinite(values)]
    if not len(values):
        raise ValueError("the signal is unknown throughout, so there are no levels to try.")
    levels = np.quantile(values, np.linspace(0, 1, n), method="inverted_cdf")
    return np.append(np.unique(levels), np.inf)


def improved_threshold(
    signal: FloatArray,
    switch_costs: FloatArray,
    baseline: IntArray,
    levels: FloatArray,
    periods: Sequence[int],
    folds: int,
    rng: np.random.Generator,
) -> ImprovedThreshold:
    """The threshold and duration with the least mean regret, and what they save on other paths.

    signal: (n_paths, n_months), NaN where unknown. switch_costs: as for `hindsight`. baseline:
    (n_paths,) months of the rule to improve on, or of a benchmark. levels, periods: the candidates.
    folds: each is judged by what is best on the others; 2 trains on one half and tests on the
    other, both ways. Ties go to the higher level, then to the shorter duration: it switches less.

    The thresholds of two folds are chosen on overlapping paths, so the folds are not independent.
    If they are treated as such, the 95 % interval contains 0 in 84 to 92 % of cases without any
    gain (500 cases of 400 paths, 5 folds). Nadeau and Bengio's correction widens it: then it
    contains 0 in 98 to 99.6 % (10 folds: 95 to 98 %), which errs on the safe side.
    Raises: ValueError if the shapes differ, or there are fewer than 2 folds or 2 paths to a fold.
    Source: Nadeau & Bengio (2003), Machine Learning 52:239-281, section 3, with k test sets of n/k:
    the variance s^2/n of a mean becomes s^2/n * (1 + k / (k - 1)).
    """
    costs = _checked(switch_costs)
    n_paths = len(costs)
    if signal.shape != (n_paths, costs.shape[1] - 1):
        raise ValueError(
            f"a signal of shape {signal.shape} with switch_costs of {costs.shape}: "
            "give one month less of it, of the same paths"
        )
    if not 2 <= folds <= n_paths // 2:
        raise ValueError(f"{folds} folds of {n_paths} paths: take at least 2, of 2 paths or more")
    baseline = _months("baseline", baseline, costs)
    candidates = list(product(sorted(levels, reverse=True), sorted(periods)))
    fold = rng.permutation(n_paths) % folds
    sums = _fold_sums(signal, costs, candidates, fold, folds)
    regret = np.empty(n_paths)
    chosen = [candidates[i] for i in first_least(sums.sum(axis=0) - sums, axis=1)]
    for k, (level, duration) in enumerate(chosen):
        in_fold = fold == k
        regret[in_fold] = _regret(costs[in_fold], first_fired(signal[in_fold], level, duration))
    level, duration = candidates[int(first_least(sums.sum(axis=0)))]
    shared = 1 + folds / (folds - 1)
    return ImprovedThreshold(
        level=float(level),
        periods=duration,
        in_sample_usd=_mean(_regret(costs, first_fired(signal, level, duration))),
        out_of_sample_usd=_mean(regret, shared),
        improvement_usd=_mean(_regret(costs, baseline) - regret, shared),
        by_fold=tuple((float(level), duration) for level, duration in chosen),
    )


def _fold_sums(
    signal: FloatArray,
    switch_costs: FloatArray,
    candidates: Sequence[tuple[float, int]],
    fold: IntArray,
    folds: int,
) -> FloatArray:
    """Cost of each candidate summed over each fold. (folds, n_candidates) usd."""
    # the highest level sustained so far only climbs: below a threshold it has not fired yet
    climbs = {
        duration: np.maximum.accumulate(sustained_level(signal, duration), axis=1)
        for duration in {duration for _, duration in candidates}
    }
    sums = np.empty((folds, len(candidates)))
    for i, (level, duration) in enumerate(candidates):
        months = (climbs[duration] < level).sum(axis=1)
        sums[:, i] = np.bincount(fold, _cost(switch_costs, months), folds)
    return sums

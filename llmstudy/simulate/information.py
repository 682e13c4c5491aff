"""The value of information: of knowing more before deciding, and which measurement to buy next.

Net benefit is a table of draws by actions, in usd, larger is better, such as the negative cost of
each route. A measurement is one value, or a few, per draw. Its worth is the mean gain from choosing
after it instead of now:

- with the inputs themselves: perfect information on them (EVPPI);
- with a summary of a finite sample, simulated from each draw's inputs: the value of that sample
  (EVSI). For 200 golden items draw the paired counts from the drawn shares; for a day of
  logs the drawn mean plus its noise; for a probe the drawn capacity times its error.

Draws are taken to be independent rows, and to hold all that is known today. All intervals are of
the Monte Carlo error: more draws make them narrower, and say nothing about a wrong prior.
"""

from collections.abc import Sequence
from dataclasses import astuple
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.interpolate import CubicSpline
from scipy.special import ndtr, ndtri
from scipy.stats import norm, rankdata

from llmstudy.figure import FloatArray, Interval, first_least

_KNOTS = 10
_PAIR_KNOTS = 4
_MAX_INPUTS = 6
_FOLDS = 10
_MIN_DRAWS = 100

# Ridge penalties that are tried, in units of an input's variance, and the length of a column that
# bends: a tenth, so that it is shrunk a hundred times as hard as a straight line.
_PENALTIES = np.logspace(-8, 0, 9)
_BEND = 0.1

_LEAST_SIZE = 0.1  # of the median size of gains: a row that gains nothing has no logarithm

# What gains are divided by: powers of their usual size. 0 suits a normal gain; 1 one that spans a
# thousandfold; with 1/2 large gains still count for more than small ones, which sets the border
# between two actions best where several inputs move it.
_POWERS = np.array([0.0, 0.5, 1.0])

# ---- the value of information --------------------------------------------------------------------


def evpi(net_benefit_usd: FloatArray, level: float = 0.95) -> Interval:
    """Expected value of perfect information, which no measurement can exceed.

    net_benefit_usd: (n_draws, n_actions). The interval is of the Monte Carlo error: a normal one
    on the paired gain of each draw.
    Raises: ValueError if the table is not finite numbers of at least 100 draws.
    Source: Raiffa and Schlaifer (1961), Applied Statistical Decision Theory, 4.5.

    >>> gain = np.random.default_rng(7).normal(size=100_000)
    >>> value = evpi(np.column_stack([gain, 0 * gain]))  # the truth is 1 / sqrt(2 pi)
    >>> f"{value.estimate:.3f} [{value.low:.3f}, {value.high:.3f}]"
    '0.397 [0.394, 0.401]'
    """
    gains = _gains(net_benefit_usd)
    return none_negative(normal_mean(gains.max(axis=1), level))


def value_of_information(
    net_benefit_usd: FloatArray, learned: FloatArray, level: float = 0.95
) -> Interval:
    """Expected gain in usd from choosing after `learned` is measured instead of now: EVPPI or EVSI.

    The gain of every action over today's best is regressed on what is learned, on nine tenths of
    the draws; on the other tenth the action with the best fitted gain is chosen, and its realised
    gain is counted. A fit that mistakes noise for a signal loses by it, so an uninformative
    measurement is worth nothing; the estimate errs low. Fitted and counted on the same draws, as is
    usual, the estimate errs high: that one sets the upper end of the interval. Both miss structure
    that the splines cannot follow (more than two inputs bending together). Perfect information on
    the same draws caps both.

    A volume may span a thousandfold, and gains with it. So an input counts by its rank, and gains
    are also fitted over (powers of) their usual size at what is learned, which leaves the best
    action what it is; the model is the one that gained most on the other nine tenths. Where a few
    draws hold most of the gain, the normal interval is too narrow, as that of `evpi` is.

    net_benefit_usd: (n_draws, n_actions). learned: (n_draws,) or (n_draws, k), k <= 6.
    Returns: usd, none below 0.
    Raises: ValueError if shapes do not match, numbers are not finite, or draws are fewer than 100.
    Source: Strong, Oakley and Brennan (2014), Medical Decision Making 34:311-326 (EVPPI), and
    Strong et al. (2015), ibid. 35:570-583 (EVSI), both by regression; the interval of a value
    under a fitted choice: Luedtke and van der Laan (2016), Annals of Statistics 44:713-742.

    >>> x, noise = np.random.default_rng(7).normal(size=(2, 100_000))
    >>> value = value_of_information(np.column_stack([x + noise, 0 * x]), x)
    >>> f"{value.estimate:.2f}"
    '0.40'
    >>> value_of_information(np.column_stack([x, 0 * x]), noise).low
    0.0
    """
    gains = _gains(net_benefit_usd)
    signals, rows = _learned(learned, len(gains)), np.arange(len(gains))
    folds = [slice(k, None, _FOLDS) for k in range(_FOLDS)]
    fits = [
        _fitted_gains(spline_design(signals, _KNOTS, pair_knots), gains, folds)
        for pair_knots in (0, _PAIR_KNOTS)[: signals.shape[1]]
    ]
    # (models, n, m) each
    out_of_sample, in_sample = (np.concatenate(of) for of in zip(*fits, strict=True))
    # the first model ignores what is learned and chooses today's best action
    payoffs = np.vstack([np.zeros(len(gains)), gains[rows, _largest(out_of_sample, axis=2)]])
    by_fold = np.array([payoffs[:, fold].sum(axis=1) for fold in folds])
    out_of_sample_usd = np.empty(len(gains))
    for fold, model in zip(folds, _largest(by_fold.sum(axis=0) - by_fold, axis=1), strict=True):
        out_of_sample_usd[fold] = payoffs[model, fold]
    value = none_negative(normal_mean(out_of_sample_usd, level))
    in_sample_usd = gains[rows, _largest(in_sample, axis=2)].mean(axis=1)
    best = int(_largest(in_sample_usd, axis=0))
    optimistic = max(float(in_sample_usd[best]), float(in_sample[best].max(axis=1).mean()))
    high = value.high + max(0.0, optimistic - value.estimate)
    return Interval(value.estimate, value.low, min(high, evpi(gains, level).high))


def against_cost(value: Interval, cost_usd: float) -> dict[str, Any]:
    """The value of a measurement against its cost.

    Returns: value_usd, low_usd, high_usd (interval of the value), cost_usd, net_usd (value less
    cost), verdict: "measure" when the whole interval is above the cost, "not worth it" when none of
    it is, else "undecided", which more draws would settle.

    >>> against_cost(Interval(900.0, 800.0, 1000.0), 500.0)["verdict"]
    'measure'
    """
    unsure = "not worth it" if value.high <= cost_usd else "undecided"
    return {
        "value_usd": value.estimate,
        "low_usd": value.low,
        "high_usd": value.high,
        "cost_usd": cost_usd,
        "net_usd": value.estimate - cost_usd,
        "verdict": "measure" if value.low > cost_usd else unsure,
    }


def measure_next(worth: pd.DataFrame) -> pd.Series | None:
    """The row of `against_cost` to buy next; None if no measurement is surely worth its cost."""
    buys = worth[worth["verdict"] == "measure"]
    return None if buys.empty else buys.nlargest(1, "net_usd").iloc[0]


def _gains(net_benefit_usd: FloatArray) -> FloatArray:
    """Net benefit of every action over that of today's best action."""
    table = np.asarray(net_benefit_usd, dtype=float)
    if table.ndim != 2 or len(table) < _MIN_DRAWS:
        raise ValueError(
            f"net benefit has the shape {table.shape}: give (n_draws, n_actions), with at least "
            f"{_MIN_DRAWS} draws"
        )
    if not np.isfinite(table).all():
        raise ValueError("net benefit holds values that are not finite: drop what cannot be done")
    return np.asarray(table - table[:, [table.mean(axis=0).argmax()]])


def _learned(learned: FloatArray, n: int) -> FloatArray:
    """What is learned as (n, k)."""
    table = np.asarray(learned, dtype=float)
    table = table[:, None] if table.ndim == 1 else table
    if table.ndim != 2 or len(table) != n or not 1 <= table.shape[1] <= _MAX_INPUTS:
        raise ValueError(
            f"what is learned has the shape {np.shape(learned)}: give ({n},) or ({n}, k) with k "
            f"from 1 to {_MAX_INPUTS}"
        )
    if not np.isfinite(table).all():
        raise ValueError("what is learned holds values that are not finite")
    return table


def _fitted_gains(
    design: FloatArray, gains: FloatArray, folds: Sequence[slice]
) -> tuple[FloatArray, FloatArray]:
    """Gains in usd as fitted by each model: to the gains over each power of their usual size.

    Returns: (models, n, m) out of sample, by fits without the row's fold, and in sample.
    """
    n, m = gains.shape
    sizes = usual_size(design, gains) ** _POWERS  # (n, models)
    target = (gains[:, None, :] / sizes[:, :, None]).reshape(n, -1)
    parts = [moments(design[fold], target[fold]) for fold in folds]
    whole, p = np.sum(parts, axis=0), design.shape[1]
    penalties = best_penalties(whole, p)
    out_of_sample = np.empty_like(target)
    for fold, part in zip(folds, parts, strict=True):
        out_of_sample[fold] = predicted(design[fold], ridge(whole - part, p, penalties))
    in_sample = predicted(design, ridge(whole, p, penalties))
    in_usd = [fit.reshape(n, -1, m) * sizes[:, :, None] for fit in (out_of_sample, in_sample)]
    return in_usd[0].swapaxes(0, 1), in_usd[1].swapaxes(0, 1)


def normal_mean(x: FloatArray, level: float) -> Interval:
    """Mean of independent draws with its normal interval. x: (n,)."""
    mean = float(x.mean())
    half = float(norm.ppf((1 + level) / 2) * x.std(ddof=1) / np.sqrt(len(x)))
    return Interval(mean, mean - half, mean + half)


def none_negative(value: Interval) -> Interval:
    """The interval of a value that cannot be negative, since no result has to be acted on."""
    return Interval(*(max(0.0, x) for x in astuple(value)))


# ---- regression on draws ------------------------------------------------------------------------


def spline_design(inputs: FloatArray, knots: int, pair_knots: int) -> FloatArray:
    """Columns on which a smooth function of the inputs is nearly linear. (n, k) -> (n, p).

    Each input as the normal score of its rank, so that a heavy tail is no lever; its natural cubic
    splines, products of coarser ones for each pair, and the product of each three (no products
    where pair_knots is 0). Knots stand at quantiles from the 1st to the 99th percentile, or at
    every value where there are few; an input that never varies has no columns. Columns have mean 0;
    the scores have standard deviation 1 and all others less, so that a ridge bends only where the
    data insist.
    Source: Hastie, Tibshirani and Friedman (2009), The Elements of Statistical Learning, 5.2.1.

    >>> spline_design(np.arange(20.0)[:, None], knots=4, pair_knots=3).shape
    (20, 4)
    """
    varying = [x for x in np.asarray(inputs, dtype=float).T if np.ptp(x) > 0]
    if not varying:
        return np.empty((len(inputs), 0))
    scores = [ndtri((rankdata(x) - 0.5) / len(x)) for x in varying]  # ties share their mean rank
    scaled = [(x - x.mean()) / x.std() for x in scores]
    bends = [_natural_spline(x, knots) for x in scaled]
    if pair_knots:
        coarse = [_natural_spline(x, pair_knots) for x in scaled]
        for a, b in combinations(coarse, 2):
            bends.append((a[:, :, None] * b[:, None, :]).reshape(len(a), -1))
        bends += [np.prod(three, axis=0)[:, None] for three in combinations(scaled, 3)]
    bent = np.hstack(bends)
    bent -= bent.mean(axis=0)
    spread = np.sqrt(np.einsum("np,np->p", bent, bent) / len(bent))
    bent *= np.where(spread > 1e-9, _BEND / np.maximum(spread, 1e-9), 0.0)
    return np.hstack([np.column_stack(scaled), bent])


def _natural_spline(x: FloatArray, knots: int) -> FloatArray:
    """Natural cubic splines that are 1 at one knot and 0 at the others, less the first. (n, p)."""
    if knots < 3:
        return x[:, None]
    shares = ndtr(np.linspace(-2.33, 2.33, knots))  # even steps where x is normal
    at = np.unique(np.quantile(x, shares))
    if len(at) < knots:  # a few values, or one that is frequent: knots over all that occur
        values = np.unique(x)
        at = values if len(values) <= knots else np.quantile(values, shares)
    if len(at) < 3:
        return x[:, None]
    spline = CubicSpline(at, np.eye(len(at))[:, 1:], bc_type="natural")
    inside = np.clip(x, at[0], at[-1])
    beyond = np.flatnonzero(x != inside)
    basis = spline(inside)
    # straight lines beyond the outer knots, so that a tail cannot swing
    basis[beyond] += (x - inside)[beyond, None] * spline(inside[beyond], 1)
    return np.asarray(basis)


def usual_size(design: FloatArray, gains: FloatArray) -> FloatArray:
    """Size in usd that the largest of a row's gains usually has at its inputs. (n, m) -> (n, 1).

    What is divided by a function of the inputs keeps the sign and the order of its expected values
    given the inputs; by this one it also keeps a few huge rows from setting the fit of all others.
    Source: Harvey (1976), Econometrica 44:461-465 (the logarithm of the residual's size regressed).
    """
    size = np.abs(gains).max(axis=1, keepdims=True)
    if not size.any():
        return np.ones_like(size)
    floor = _LEAST_SIZE * np.median(size[size > 0])
    products, p = moments(design, np.log(np.maximum(size, floor))), design.shape[1]
    return np.exp(predicted(design, ridge(products, p, best_penalties(products, p))))


def moments(design: FloatArray, target: FloatArray) -> FloatArray:
    """Sums of products, all that a regression needs; those of two sets of rows add up.

    design: (n, p). target: (n, m). Returns: (1 + p + m, 1 + p + m), the products of the columns of
    1, design and target.
    """
    table = np.hstack([np.ones((len(design), 1)), design, target])
    return np.asarray(table.T @ table)


def best_penalties(products: FloatArray, p: int) -> FloatArray:
    """Ridge penalty of each target by generalised cross-validation. Moments -> (m,).

    Source: Golub, Heath and Wahba (1979), Technometrics 21:215-223.
    """
    n, _, covariance = _centred(products)
    among, along = covariance[:p, :p], covariance[:p, p:]
    # inverses, not eigenvectors: those of a small matrix are 100 times slower on busy cores
    inverse = np.linalg.inv(among + _PENALTIES[:, None, None] * np.eye(p))
    freedom = p - _PENALTIES * np.trace(inverse, axis1=1, axis2=2)
    slopes = inverse @ along
    residual = np.diag(covariance)[p:] - (slopes * (2 * along - among @ slopes)).sum(axis=1)
    # a fit on nearly as many columns as rows explains everything and nothing
    slack = np.maximum(1 - (1 + freedom) / n, 1e-6)
    return np.asarray(_PENALTIES[first_least(np.maximum(residual, 0.0) / slack[:, None] ** 2, 0)])


def _largest(x: FloatArray, axis: int) -> npt.NDArray[np.int64]:
    """Position of the first of the largest values along an axis.

    They are compared to nine digits of the largest of all: the last ones differ between processors,
    and must not decide.
    """
    scale = float(np.abs(x).max())
    return np.asarray(np.round(x / scale if scale else x, 9).argmax(axis=axis))


def ridge(products: FloatArray, p: int, penalties: FloatArray) -> FloatArray:
    """Coefficients of the regression, its constant first. Moments, (m,) -> (1 + p, m)."""
    _, mean, covariance = _centred(products)
    among, along = covariance[:p, :p], covariance[:p, p:]
    slopes = np.empty_like(along)
    for penalty in np.unique(penalties):  # many targets share one
        columns = penalties == penalty
        slopes[:, columns] = np.linalg.solve(among + penalty * np.eye(p), along[:, columns])
    return np.vstack([mean[p:] - mean[:p] @ slopes, slopes])


def predicted(design: FloatArray, coefficients: FloatArray) -> FloatArray:
    """Fitted values at a design. (n, p), (1 + p, m) -> (n, m)."""
    return np.asarray(coefficients[0] + design @ coefficients[1:])


def _centred(products: FloatArray) -> tuple[float, FloatArray, FloatArray]:
    """Rows, mean and covariance of the columns behind the moments, without the constant."""
    n, mean = float(products[0, 0]), products[0, 1:] / products[0, 0]
    return n, mean, products[1:, 1:] / n - np.outer(mean, mean)

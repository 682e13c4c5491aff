"""Ranks the inputs by their effect on an outcome, with intervals.

`sensitivity` ranks by Sobol indices, by the variance of the outcome; `pawn` by its whole
distribution, from existing draws, for heavy tails or infinite outcomes ("never"). `never_by_input`
ranks the inputs by their effect on the probability of "never", from existing draws.

Every ranking has the ranks that its intervals allow: see `possible_ranks`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from SALib.analyze import sobol as sobol_analyze
from scipy.stats import norm, qmc, rankdata

from llmstudy.figure import Figure, FloatArray, Interval
from llmstudy.measures.quality import wilson
from llmstudy.simulate.draws import Draws

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

_CONFIDENCE = 0.95
_Z = float(norm.ppf((1 + _CONFIDENCE) / 2))

_INDICES = ("input", "first_order", "total_effect", "total_effect_error")
_RANKS = ("rank", "rank_worst")


def possible_ranks(low: FloatArray, high: FloatArray) -> tuple[IntArray, IntArray]:
    """Best and worst rank that each interval allows; rank 1 is the largest value. (k,), (k,).

    The best rank is one more than the number of inputs whose whole interval lies above, the worst
    is k less the number whose whole interval lies below. Inputs whose intervals overlap can have
    each other's ranks, and no order between them should be stated.
    Source: Klein, Wright & Wieczorek (2020), JRSS C, doi 10.1111/rssc.12402. Each interval has
    95 % coverage by itself; two of them are apart by chance in less than 5 % of cases.

    >>> best, worst = possible_ranks(np.array([0.5, 0.4, 0.1]), np.array([0.7, 0.6, 0.2]))
    >>> best.tolist(), worst.tolist()
    ([1, 1, 3], [2, 2, 3])
    """
    above = (low[None, :] > high[:, None]).sum(axis=1)
    below = (high[None, :] < low[:, None]).sum(axis=1)
    return above + 1, len(low) - below


# ---- the size of an outcome: Sobol indices -------------------------------------------------------


def sensitivity(
    figures: Mapping[str, Figure],
    outcome: Callable[[Draws], FloatArray],
    n: int,
    seed: int,
) -> pd.DataFrame:
    """Sobol indices of an outcome over the uncertain figures.

    figures: name -> Figure; certain ones stay at their value. outcome: draws -> (n,). n: a power of
    two.
    Returns: one row per uncertain input, largest total effect first: input, first_order,
    total_effect, total_effect_error (half-width of the 95 % interval), low_usd, high_usd (the
    outcome with this input at the low and high end of its range and the others at their medians,
    see `at_medians`), rank, rank_worst (`possible_ranks` of the total effects).
    The outcome is clipped to its central 98 % first: in a heavy tail a few draws would decide.
    Raises: ValueError if an outcome is not finite.
    Source: Saltelli et al. (2010), Computer Physics Communications 181:259-270; SALib 1.6.
    """
    names = _uncertain(figures)
    if not names:
        return pd.DataFrame(columns=[*_INDICES, "low_usd", "high_usd", *_RANKS])
    outcomes = outcome(_at(figures, names, _uniforms(names, n, seed)))
    if not np.isfinite(outcomes).all():
        raise ValueError(
            "the outcome is not finite in every draw, so it has no variance to share out: "
            "rank it with pawn, and its 'never' with never_by_input"
        )
    table = _indices(names, np.clip(outcomes, *np.quantile(outcomes, [0.01, 0.99])), seed)
    middle = np.full((2 * len(names), len(names)), 0.5)
    ends = _at(figures, names, middle)
    for i, name in enumerate(names):
        ends[name][2 * i : 2 * i + 2] = figures[name].low, figures[name].high
    swings = outcome(ends).reshape(-1, 2)
    table = table.assign(low_usd=swings[:, 0], high_usd=swings[:, 1])
    return _largest_first(_with_ranks(table), "total_effect")


def at_medians(figures: Mapping[str, Figure], outcome: Callable[[Draws], FloatArray]) -> float:
    """The outcome with every input at its median, the base of the swings of `sensitivity`.

    >>> at_medians({"a": Figure("", 2.0, "USD", 1.0, 3.0, "uniform")}, lambda d: 5 * d["a"])
    10.0
    """
    names = _uncertain(figures)
    return float(outcome(_at(figures, names, np.full((1, len(names)), 0.5)))[0])


def _uncertain(figures: Mapping[str, Figure]) -> list[str]:
    return [name for name, figure in figures.items() if figure.uncertain]


def _uniforms(names: list[str], n: int, seed: int) -> FloatArray:
    """Points of the design: n blocks of A, one row per input with that input from B, then B.

    The same points as `SALib.sample.sobol`, which loops over all of them and is slower.
    """
    k, every = len(names), np.arange(len(names))
    base = qmc.Sobol(d=2 * k, seed=seed).random(n)
    points = np.repeat(base[:, None, :k], k + 2, axis=1)
    points[:, every + 1, every] = points[:, -1] = base[:, k:]
    return points.reshape(-1, k)


def _problem(names: list[str]) -> dict[str, object]:
    return {"num_vars": len(names), "names": names, "bounds": [[0.0, 1.0]] * len(names)}


def _at(figures: Mapping[str, Figure], names: list[str], u: FloatArray) -> dict[str, FloatArray]:
    """The named inputs at quantiles u (n, inputs), the others at their value. (n,) each."""
    constants = {k: np.full(len(u), f.value) for k, f in figures.items() if k not in names}
    return {**constants, **{k: figures[k].quantile(u[:, i]) for i, k in enumerate(names)}}


def _indices(names: list[str], results: FloatArray, seed: int) -> pd.DataFrame:
    if np.ptp(results) == 0:  # the indices of a constant outcome would be 0/0
        indices = dict.fromkeys(("S1", "ST", "ST_conf"), np.zeros(len(names)))
    else:
        indices = sobol_analyze.analyze(
            _problem(names),
            results,
            calc_second_order=False,
            seed=seed or 1,  # SALib takes 0 as no seed
            num_resamples=100,
        )
    # differences of sums: beyond six decimals they vary between processors
    parts = (np.round(indices[name], 6) for name in ("S1", "ST", "ST_conf"))
    return pd.DataFrame(dict(zip(_INDICES, (names, *parts), strict=True)))


def _with_ranks(table: pd.DataFrame) -> pd.DataFrame:
    effect, error = (table[c].to_numpy(dtype=float) for c in _INDICES[2:])
    best, worst = possible_ranks(effect - error, effect + error)
    return table.assign(rank=best, rank_worst=worst)


def _largest_first(table: pd.DataFrame, column: str) -> pd.DataFrame:
    return table.sort_values(column, ascending=False, ignore_index=True, kind="stable")


# ---- its whole distribution: PAWN ----------------------------------------------------------------

_LEVELS = 500
"""Heights at which two distributions are compared: their distance is short by 0.002 at most."""

_RESAMPLES, _DUMMIES, _SPLITS = 100, 200, 10
_MINIMUM_PER_SLIDE = 20


def pawn(
    draws: Mapping[str, FloatArray], outcome: FloatArray, seed: int, slides: int = 10
) -> pd.DataFrame:
    """PAWN indices: effects of inputs on the distribution of an outcome, from existing draws.

    The index of an input is the median, over slides of equal probability of that input, of the
    Kolmogorov-Smirnov distance between the outcome within the slide and overall: 0 when the input
    does not matter, at most 1. It reads ranks only, so +inf ("never") is the largest outcome.

    draws: name -> (n,) independent inputs; those that do not vary are left out. outcome: (n,).
    Returns: one row per input, largest first: input, pawn, low, high (95 % interval), dummy (an
    index that inputs without any effect exceed, the largest of them, in 5 % of analyses),
    above_dummy, rank, rank_worst. An input not above its dummy may have no effect: low is 0.
    10,000 draws are plenty, and take 2 s of one core with 20 inputs.

    The index is biased upwards, since a distance is never negative: a percentile bootstrap interval
    covered the truth in 0 % (weak inputs) to 80 % (strong) of simulations. So `high` starts from
    the index, and `low` from a cross-fitted one, biased downwards if at all: half of the draws say
    where the distance is largest, the other half how large it is there. Each end lies 1.96
    bootstrap standard errors further out; the interval then covered the truth in 97 to 100 %.

    Raises: ValueError if lengths differ, an outcome is NaN or there are under 20 draws a slide.
    Source: Pianosi & Wagener (2018), Environmental Modelling & Software 108:197-207, as in
    `SALib.analyze.pawn`; only vectorised, as that takes 0.3 s for each of 300 samples.
    """
    names, n = _varying(draws, outcome), len(outcome)
    if n < _MINIMUM_PER_SLIDE * slides:
        raise ValueError(f"{n} draws in {slides} slides: PAWN needs {_MINIMUM_PER_SLIDE} in each")
    rng, level = np.random.default_rng(seed), _bins(outcome, _LEVELS)
    inputs = [_bins(draws[name], slides) for name in names]
    index = np.array([_index(x, level, np.ones(n)) for x in inputs])
    weights = rng.multinomial(n, np.full(n, 1 / n), size=_RESAMPLES).astype(float)
    error = np.array([np.std([_index(x, level, w) for w in weights]) for x in inputs])
    halves = [rng.permutation(n) < n // 2 for _ in range(_SPLITS)]
    cross = np.array([np.mean([_cross_fitted(x, level, h) for h in halves]) for x in inputs])
    dummy = _dummy(inputs, level, rng)
    low = np.where(index > dummy, np.clip(cross - _Z * error, 0, index), 0.0)
    high = np.minimum(index + _Z * error, 1.0)
    best, worst = possible_ranks(low, high)
    columns = {"input": names, "pawn": index, "low": low, "high": high, "dummy": dummy}
    more = {"above_dummy": index > dummy, "rank": best, "rank_worst": worst}
    return _largest_first(pd.DataFrame({**columns, **more}), "pawn")


def _varying(draws: Mapping[str, FloatArray], outcome: npt.NDArray[np.generic]) -> list[str]:
    """Names of the inputs that vary. Raises: ValueError if draws do not match or are NaN."""
    for name, x in {**draws, "the outcome": np.asarray(outcome, dtype=float)}.items():
        if len(x) != len(outcome):
            raise ValueError(f"{name} has {len(x)} draws, the outcome {len(outcome)}: pair them")
        if np.isnan(x).any():
            raise ValueError(f"{name} is NaN in {np.isnan(x).sum()} draws; 'never' is infinity")
    return [name for name, x in draws.items() if len(x) and x.min() < x.max()]


def _bins(x: FloatArray, bins: int) -> IntArray:
    """Bin of each draw by its rank, equal values together. (n,) of 0 to bins - 1, none empty."""
    label = np.minimum((rankdata(x) - 0.5) * bins / len(x), bins - 1).astype(int)
    return np.unique(label, return_inverse=True)[1]


def _distances(slide: IntArray, level: IntArray, weights: FloatArray) -> FloatArray:
    """Distribution of the outcome within each slide less that of all draws. (slides, levels)."""
    shape = slide.max() + 1, level.max() + 1
    counts = np.bincount(slide * shape[1] + level, weights, minlength=shape[0] * shape[1])
    up_to = counts.reshape(shape).cumsum(axis=1)
    with np.errstate(invalid="ignore"):  # a slide that a resample left empty is NaN
        return np.asarray(up_to / up_to[:, -1:] - up_to.sum(axis=0) / weights.sum())


def _index(slide: IntArray, level: IntArray, weights: FloatArray) -> float:
    largest = np.sort(np.abs(_distances(slide, level, weights)).max(axis=1))  # NaN last
    n = len(largest) - np.isnan(largest).sum()
    return float((largest[(n - 1) // 2] + largest[n // 2]) / 2)  # numpy's median takes 10 times


def _cross_fitted(slide: IntArray, level: IntArray, half: BoolArray) -> float:
    one, two = (_distances(slide, level, h.astype(float)) for h in (half, ~half))
    rows, distances = np.arange(len(one)), []
    for fitted, tested in ((one, two), (two, one)):
        at = np.abs(fitted).argmax(axis=1)
        distances.append(np.sign(fitted[rows, at]) * tested[rows, at])
    return float(np.nanmedian(np.mean(distances, axis=0)))


def _dummy(slides: list[IntArray], level: IntArray, rng: np.random.Generator) -> float:
    """95 % quantile of the largest index if no input has an effect on the outcome."""
    ones = np.ones(len(level))
    largest = [
        max((_index(rng.permutation(x), level, ones) for x in slides), default=0.0)
        for _ in range(_DUMMIES)
    ]
    return float(np.quantile(largest, _CONFIDENCE))


# ---- whether there is an outcome at all: P(never) ------------------------------------------------


@dataclass(frozen=True)
class NeverRanking:
    """Inputs ranked by their effect on the probability of "never".

    p_never: with its 95 % interval over the draws. reason: why there is nothing to rank, in which
    case `inputs` has no rows; else "". inputs: one row per input, largest effect first.
    """

    p_never: Interval
    reason: str
    inputs: pd.DataFrame


def _nothing_to_rank(never: BoolArray, names: list[str]) -> str:
    if never.all():
        return f"it is never in all {never.size:,} draws, whatever the inputs"
    if not never.any():
        return f"it is reached in all {never.size:,} draws, whatever the inputs"
    return "" if names else "no input varies"


def never_by_bin(
    draws: Mapping[str, FloatArray], is_never: BoolArray, bins: int = 5, level: float = _CONFIDENCE
) -> pd.DataFrame:
    """P(never) in each quantile bin of each input that varies.

    draws: name -> (n,). is_never: (n,). Returns one row per input and bin, low values first: input,
    bin (from 1), from_value, to_value, n, p_never, low, high (Wilson interval).
    Raises: ValueError if lengths differ or an input is NaN.

    >>> x = np.arange(10.0)
    >>> never_by_bin({"x": x}, x > 6, bins=2)[["bin", "from_value", "to_value", "p_never"]].values
    array([[1. , 0. , 4. , 0. ],
           [2. , 5. , 9. , 0.6]])
    """
    rows = []
    for name in _varying(draws, is_never):
        x, label = draws[name], _bins(draws[name], bins)
        for b in range(label.max() + 1):
            inside = label == b
            share = wilson(int(is_never[inside].sum()), int(inside.sum()), level)
            row = (name, b + 1, x[inside].min(), x[inside].max(), int(inside.sum()))
            rows.append((*row, share.estimate, share.low, share.high))
    columns = ["input", "bin", "from_value", "to_value", "n", "p_never", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


_PERMUTATIONS = 4_999


def never_by_input(
    draws: Mapping[str, FloatArray], is_never: BoolArray, seed: int, bins: int = 5
) -> NeverRanking:
    """Ranks inputs by their effect on P(never), from existing draws.

    draws: name -> (n,) independent inputs. is_never: (n,).
    Returns inputs with columns input, spread (largest less smallest P(never) over the bins), low,
    high (95 % interval, from Wilson intervals that cover all bins at once, hence cautious),
    p_never_low_bin, p_never_high_bin (in the lowest and highest bin), chance (a spread that inputs
    without any effect exceed, the largest of them, in 5 % of analyses; exact permutation
    distribution), above_chance, rank, rank_worst.
    Raises: ValueError if there are no draws, lengths differ or an input is NaN.
    """
    names, rng = _varying(draws, is_never), np.random.default_rng(seed)
    p_never, reason = wilson(int(is_never.sum()), len(is_never)), _nothing_to_rank(is_never, names)
    if reason:
        return NeverRanking(p_never, reason, _spreads([]))
    by_bin = never_by_bin(draws, is_never, bins, level=_CONFIDENCE ** (1 / bins))
    chances: dict[tuple[int, ...], float] = {}  # one for all inputs without equal values
    rows = []
    for name in names:
        at = by_bin[by_bin["input"] == name]
        p, sizes = at["p_never"].to_numpy(), tuple(at["n"].to_list())
        if sizes not in chances:
            chances[sizes] = _chance(sizes, int(is_never.sum()), len(names), rng)
        low = max(0.0, at["low"].max() - at["high"].min())
        spread, high = np.ptp(p), at["high"].max() - at["low"].min()
        more = (p[0], p[-1], chances[sizes], spread > chances[sizes])
        rows.append((name, spread, low, high, *more))
    return NeverRanking(p_never, "", _spreads(rows))


def _chance(sizes: tuple[int, ...], never: int, inputs: int, rng: np.random.Generator) -> float:
    """Spread that the largest of so many inputs exceeds in 5 % of permutations of the draws."""
    shuffled = rng.multivariate_hypergeometric(sizes, never, size=_PERMUTATIONS)
    spreads = np.ptp(shuffled / np.array(sizes), axis=1)
    return float(np.quantile(spreads, _CONFIDENCE ** (1 / inputs)))


def _spreads(rows: Sequence[tuple[object, ...]]) -> pd.DataFrame:
    columns = ["input", "spread", "low", "high", "p_never_low_bin", "p_never_high_bin"]
    table = pd.DataFrame(rows, columns=[*columns, "chance", "above_chance"])
    ends = (table[end].to_numpy(dtype=float) for end in ("low", "high"))
    best, worst = possible_ranks(*ends)
    return _largest_first(table.assign(rank=best, rank_worst=worst), "spread")

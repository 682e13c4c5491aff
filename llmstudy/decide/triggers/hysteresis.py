"""Has a signal lasted long enough to fire a trigger, or been gone long enough to release it?

A trigger fires once its signal has been at or above a level for w periods (weeks, months) in a row,
and is released once it has been below a lower level for w periods in a row: one bad week does not
fire it, one good week does not release it.

NaN means unknown. Unknown periods are skipped: they neither count towards a run nor break one, and
never fire or release a trigger.
"""

import numpy as np
import numpy.typing as npt

from llmstudy.figure import FloatArray

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]


def sustained_level(signal: FloatArray, periods: int) -> FloatArray:
    """The highest level that the signal has kept for the last `periods` known periods.

    signal: (n_paths, n_periods). Returns the same shape: the minimum of the last known values; -inf
    in an unknown period, and before enough periods are known.
    Raises: ValueError if the signal does not have two dimensions or periods is below 1.

    >>> sustained_level(np.array([[3.0, 5.0, np.nan, 4.0, 9.0]]), periods=2)
    array([[-inf,   3., -inf,   4.,   4.]])
    """
    signal = np.asarray(signal, dtype=float)
    if signal.ndim != 2:
        raise ValueError(f"a signal of shape {signal.shape}: give (n_paths, n_periods)")
    if periods < 1:
        raise ValueError(f"periods is {periods}, but must be 1 or more.")
    by_period = np.ascontiguousarray(signal.T)
    levels = np.empty(by_period.shape)
    last = np.full((periods, len(signal)), -np.inf)
    for t, x in enumerate(by_period):
        is_known = ~np.isnan(x)
        last = np.where(is_known, np.vstack([last[1:], x]), last)
        levels[t] = np.where(is_known, last.min(axis=0), -np.inf)
    return np.ascontiguousarray(levels.T)


def sustained(
    signal: FloatArray, fire_level: float, release_level: float, periods: int
) -> BoolArray:
    """Whether the trigger is fired in each period, as known at its end. (n_paths, n_periods).

    signal: (n_paths, n_periods), NaN if unknown. The trigger fires once the signal has been at or
    above fire_level for `periods` in a row, and is released once it has been below release_level
    for as many.
    Raises: ValueError unless release_level < fire_level, or as `sustained_level`.

    >>> sustained(np.array([[3.0, 3.0, 1.0, 3.0, 1.0, 1.0]]), 3.0, 2.0, periods=2).tolist()
    [[False, True, True, True, True, False]]
    """
    if not release_level < fire_level:
        raise ValueError(
            f"the release level {release_level:g} is not below the fire level {fire_level:g}: "
            "lower it."
        )
    fires = sustained_level(signal, periods) >= fire_level
    releases = -sustained_level(-np.asarray(signal, dtype=float), periods) < release_level
    # a signal cannot be above the one level and below the other: the last of the two events rules
    at = np.arange(fires.shape[1])
    last_fire, last_release = (
        np.maximum.accumulate(np.where(event, at, -1), axis=1) for event in (fires, releases)
    )
    return np.asarray(last_fire > last_release)


def first_fired(signal: FloatArray, fire_level: float, periods: int) -> IntArray:
    """The first period in which the trigger is fired; n_periods if never. (n_paths,).

    This does not depend on the release level: what has never fired cannot be released.
    Raises: ValueError as `sustained_level`.

    >>> first_fired(np.array([[3.0, 1.0, 3.0, 3.0], [3.0, 1.0, 3.0, 1.0]]), 3.0, periods=2)
    array([3, 4])
    """
    return first(sustained_level(signal, periods) >= fire_level)


def first(happens: BoolArray) -> IntArray:
    """The first period in which something happens; n_periods if it never does. (n_paths,)."""
    never = np.ones((len(happens), 1), dtype=bool)  # what never happens does so after the last
    return np.asarray(np.argmax(np.hstack([happens, never]), axis=1))


def periods_sustained(signal: FloatArray, level: float) -> IntArray:
    """The number of known periods, up to the last, for which the signal has kept the level.
    (n_paths,).

    >>> signal = np.array([[9.0, 1.0, 4.0, np.nan, 5.0], [9.0, 9.0, 9.0, 9.0, 1.0]])
    >>> periods_sustained(signal, level=4.0)
    array([2, 0])
    """
    signal = np.asarray(signal, dtype=float)
    falls_short = signal < level
    since = first(falls_short[:, ::-1])  # periods, counted back from the last, without a fall
    back = np.arange(signal.shape[1])[::-1]
    return np.asarray((~np.isnan(signal) & (back < since[:, None])).sum(axis=1))

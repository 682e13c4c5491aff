"""From which load on does additional load add little throughput?"""

from dataclasses import dataclass
from math import inf, sqrt

import numpy as np
import pandas as pd
from scipy.stats import f, t

from llmstudy.figure import FloatArray, Interval
from llmstudy.probe.run import Run, with_metrics

# Blocks of a run, whose increments of the backlog show its growth.
_BLOCKS = 20

# At a knee a unit of load gains less than half of what it gained before (assumed): a slight bend,
# however certain, is no reason against more load.
_KNEE_SLOPE_SHARE = 0.5
_KNEE_P_VALUE = 0.01


@dataclass(frozen=True)
class Knee:
    """The load at which throughput stops growing with it.

    saturation: whether there is such a load. level: that load, with its 95 % interval low to high;
    None without one. slope_before, slope_after: throughput gained per unit of level. p_value: of a
    straight line, if there were no knee. overloaded_from: the lowest level whose backlog certainly
    grew, None if none.
    """

    saturation: bool
    level: float | None
    low: float | None
    high: float | None
    slope_before: float
    slope_after: float
    p_value: float
    overloaded_from: float | None
    why: str


def backlog_growth(run: Run) -> Interval:
    """Requests by which the number in the system grows per second, with its 95 % interval.

    From the increments of 20 equal blocks of the measured span. In a queue without bound these are
    independent and the interval is exact; in a steady one they undo each other and it is too wide,
    which errs towards no alarm. A slope fitted to the count would take the slow swings of a busy
    but steady queue for growth.

    Raises: ValueError with fewer than 40 measured requests, or when all were sent at once.
    """
    scheduled_s = run.measured["scheduled_s"]
    if len(scheduled_s) < 2 * _BLOCKS or scheduled_s.max() == scheduled_s.min():
        raise ValueError(
            f"{len(scheduled_s)} measured requests: growth of the backlog needs at least "
            f"{2 * _BLOCKS}, over some time"
        )
    edges = np.linspace(scheduled_s.min(), scheduled_s.max(), _BLOCKS + 1)
    entered = np.sort(run.samples["scheduled_s"])
    in_system = np.sort(run.samples["done_s"].dropna())
    inside = np.searchsorted(entered, edges, "right") - np.searchsorted(in_system, edges, "right")
    growth = np.diff(inside) / (edges[1] - edges[0])
    half = t.ppf(0.975, _BLOCKS - 1) * growth.std(ddof=1) / sqrt(_BLOCKS)
    return Interval(float(growth.mean()), float(growth.mean() - half), float(growth.mean() + half))


def load_point(level: float, run: Run) -> dict[str, float]:
    """A row for `knee`: level, throughput_per_s, latency_s, growth_low_per_s.

    Throughput counts the requests that succeeded between the first and the last measured arrival:
    ramp-up and drain are outside. Latency is the median E2E latency, failures as +inf.
    """
    samples, measured = run.samples, with_metrics(run.measured)
    start, end = measured["scheduled_s"].min(), measured["scheduled_s"].max()
    finished = samples["ok"] & samples["done_s"].between(start, end)
    return {
        "level": level,
        "throughput_per_s": float(finished.sum() / (end - start)),
        "latency_s": float(np.median(np.where(measured["ok"], measured["e2e_s"], inf))),
        "growth_low_per_s": backlog_growth(run).low,
    }


def knee(points: pd.DataFrame) -> Knee:
    """The level from which throughput gains less than half of what it gained per level before.

    Least squares fits two straight lines that meet, and the point where they meet. An F-test
    decides whether they beat one line; its distribution is simulated, since the break is fitted
    too: under one line with even, normal errors it depends on the levels alone. The interval holds
    the breaks that fit nearly as well (profile likelihood, F with 1 and n - 4 degrees of freedom).

    points: level, throughput_per_s, latency_s, and growth_low_per_s where it is measured
    (`load_point`); a level may be measured more than once.
    Raises: ValueError with fewer than six points or five levels, or a value that is not finite.
    Source: Hudson (1966), JASA 61:1097-1129, for the fit; Andrews (1993), Econometrica 61:821-856,
    for the test.

    >>> load = np.arange(1.0, 11.0)
    >>> wobble = 0.01 * np.cos(3 * load)
    >>> points = pd.DataFrame({"level": load, "latency_s": load, "throughput_per_s":
    ...                        np.minimum(load, 6.0) + wobble})
    >>> bend = knee(points)
    >>> bend.saturation, round(bend.level, 1)
    (True, 6.0)
    """
    points = points.sort_values("level", kind="stable")
    x = points["level"].to_numpy(dtype=float)
    y = points["throughput_per_s"].to_numpy(dtype=float)
    levels = np.unique(x)
    if len(x) < 6 or len(levels) < 5 or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError(
            f"{len(x)} points on {len(levels)} levels: a knee needs at least six points on five "
            "levels, all with a throughput"
        )
    breaks = np.linspace(levels[1], levels[-2], 101)
    bases = np.array([np.linalg.qr(_two_lines(x, at))[0] for at in breaks])
    line = np.linalg.qr(_two_lines(x, inf)[:, :2])[0]

    def misses(rows: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Squares left over by one line (m,) and by two, per break (m, breaks). rows: (m, n)."""
        whole = (rows**2).sum(axis=1)
        one = whole - ((rows @ line) ** 2).sum(axis=1)
        two = whole[:, None] - (np.einsum("mn,bnk->mbk", rows, bases) ** 2).sum(axis=2)
        return one, np.maximum(two, 1e-12 * whole[:, None] + np.finfo(float).tiny)

    (one,), (two,) = misses((y - y.mean())[None, :])
    best = int(two.argmin())
    straight, broken = misses(np.random.default_rng(0).standard_normal((1000, len(x))))
    as_far = straight / broken.min(axis=1) >= one / two[best]
    p_value = (1 + int(as_far.sum())) / (1 + len(as_far))

    near = np.flatnonzero((two / two[best] - 1) * (len(x) - 4) <= f.ppf(0.95, 1, len(x) - 4))
    # the ends lie between two breaks that were tried: the outer ones
    low, high = breaks[max(near[0] - 1, 0)], breaks[min(near[-1] + 1, len(breaks) - 1)]
    _, before, bend = np.linalg.lstsq(_two_lines(x, breaks[best]), y)[0]
    after = before + bend
    growing = (
        points["level"][points["growth_low_per_s"] > 0] if "growth_low_per_s" in points else x[:0]
    )
    overloaded = float(growing.min()) if len(growing) else None
    has_knee = bool(p_value < _KNEE_P_VALUE and before > 0 and after < _KNEE_SLOPE_SHARE * before)

    at = float(breaks[best])
    if has_knee:
        before_s, after_s = (points["latency_s"][side].median() for side in (x <= at, x > at))
        why = (
            f"past {at:g} a unit of load gains {after:.2g} requests/s, before it {before:.2g} "
            f"(p = {p_value:.2g}); median latency {before_s:.2g} s up to it, {after_s:.2g} s past"
        )
    elif p_value >= _KNEE_P_VALUE:
        why = f"throughput is a straight line as far as these points show (p = {p_value:.2g})"
    else:
        why = (
            f"throughput bends at {at:g}, but a unit of load still gains at least half as much: "
            f"{after:.2g} requests/s past it, {before:.2g} before it"
        )
    if overloaded is not None:
        why += f"; from {overloaded:g} on, the queue grows for as long as the load lasts"
    return Knee(
        has_knee,
        at if has_knee else None,
        float(low) if has_knee else None,
        float(high) if has_knee else None,
        float(before),
        float(after),
        p_value,
        overloaded,
        why,
    )


def _two_lines(x: FloatArray, at: float) -> FloatArray:
    """Columns whose mixes are two lines that meet `at`: level, slope, bend. Shape (n, 3)."""
    return np.column_stack([np.ones(len(x)), x, np.maximum(x - at, 0.0)])

"""Chooses the few points that determine a serving curve best for the GPU time that they take."""

from collections.abc import Sequence
from math import log, sqrt

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import norm

from llmstudy.measures.capacity import (
    PARAMETERS,
    PRIOR_WEIGHT,
    SETTING,
    ServingCurve,
    log_tpot_slopes,
)

FEWEST_REQUESTS = 12
"""Fewest requests of a point, however slow: the audit needs six answered ones, and the interval of
a median needs six between ramp-up and drain."""

TPOT_SPREAD_SHARE = 0.05
"""Standard deviation over mean of TPOT between requests of one length; assumed."""

HALF_WIDTH_SHARE = 0.02
"""Half the interval of a point's median TPOT that its requests are to reach, over the median."""


def sweep_candidates(
    curve: ServingCurve,
    lengths: Sequence[tuple[int, int]],
    max_concurrency: int,
    tensor_parallel: int,
) -> pd.DataFrame:
    """Points to choose from: each length pair at concurrency 1, 2, 4 and on.

    The last is `max_concurrency`, or the most that the KV memory allows. Columns:
    concurrency, input_tokens, output_tokens, tensor_parallel.
    Raises: ValueError when not one request fits.
    """
    rows = []
    for input_tokens, output_tokens in lengths:
        room = int(curve.max_concurrency(input_tokens, output_tokens, tensor_parallel))
        top = min(max_concurrency, room)
        doubled = {2**k for k in range(top.bit_length())}
        at = sorted(doubled | {top}) if top else []
        rows += [(level, input_tokens, output_tokens, tensor_parallel) for level in at]
    if not rows:
        raise ValueError(
            f"no request of the lengths {list(lengths)} fits {curve.shape.model} on "
            f"{curve.gpu.gpu}: give more GPUs, shorter requests or fewer bytes per weight"
        )
    return pd.DataFrame(rows, columns=SETTING)


def sweep_levels(
    curve: ServingCurve,
    candidates: pd.DataFrame,
    n_points: int,
    max_point_s: float,
) -> pd.DataFrame:
    """Chooses the points that determine the serving curve best for the GPU time they take.

    They carry the most information on the four parameters per GPU second: the determinant of the
    curve's Jacobian times its transpose, to the power 1/4, over the seconds (D-optimality, by
    exchange from a greedy start). But first each length pair has a point, or two where that leaves
    two of `n_points` over, each tensor-parallel size its lowest and highest concurrency, and each
    third of the concurrencies (logarithmic) a point: beyond the ends the curve would extrapolate,
    and between them it is not quite true.

    Requests per point: two concurrencies of ramp-up and drain, which `steady_state` cuts, and
    between them at least one concurrency and enough for a median TPOT within `HALF_WIDTH_SHARE`.

    curve: of the engine before it is measured, as `guessed_curve`, or fitted to a similar one.
    candidates: as `sweep_candidates`. max_point_s: points that cannot even send three times their
    concurrency, and `FEWEST_REQUESTS`, in that time are left out, others send fewer requests.
    Returns: the chosen rows, by size, lengths and concurrency, with n_requests, seconds,
    gpu_seconds, half_width_share (expected); fewer than `n_points` where no more are in time.
    Raises: ValueError with fewer than four candidates in time, or n_points below four.
    Source: Atkinson, Donev & Tobias (2007), Optimum Experimental Designs, with SAS, ch. 9-12.
    """
    priced = _priced(curve, candidates, max_point_s)
    n_points = min(n_points, len(priced))
    if n_points < len(PARAMETERS):
        raise ValueError(
            f"{n_points} points of {len(priced)} candidates that take less than {max_point_s:g} s "
            f"({len(candidates)} in all): four parameters need at least four; allow more time, "
            "more concurrency or more lengths"
        )
    slopes = log_tpot_slopes(curve, priced)
    gpu_s = priced["gpu_seconds"].to_numpy()
    parts, needed = _parts(priced, n_points)

    def worth(chosen: Sequence[int]) -> tuple[int, float]:
        """Parts covered, then log information per GPU second."""
        at = list(chosen)
        information = slopes[at].T @ slopes[at] + PRIOR_WEIGHT**2 * np.eye(len(PARAMETERS))
        covered = int(np.minimum(parts[at].sum(axis=0), needed).sum())
        return covered, float(
            np.linalg.slogdet(information)[1] / len(PARAMETERS) - log(gpu_s[at].sum())
        )

    every = range(len(priced))
    chosen: list[int] = []
    for _ in range(n_points):
        chosen = max(([*chosen, i] for i in every if i not in chosen), key=worth)
    while True:
        swaps = (
            [*chosen[:place], i, *chosen[place + 1 :]]
            for place in range(n_points)
            for i in every
            if i not in chosen
        )
        best = max(swaps, key=worth, default=chosen)
        if worth(best) <= worth(chosen):
            break
        chosen = best
    order = ["tensor_parallel", "input_tokens", "output_tokens", "concurrency"]
    return priced.iloc[chosen].sort_values(order, kind="stable")


def _priced(curve: ServingCurve, candidates: pd.DataFrame, max_point_s: float) -> pd.DataFrame:
    """The candidates that can be measured in time, with requests and time for each."""
    level, prompt, output, size = (candidates[name].to_numpy(dtype=float) for name in SETTING)
    where = (level, prompt, output, size)
    rate = curve.max_requests_per_s(*where)
    one_s = curve.prefill_s(prompt, size) + curve.tpot_s(*where) * output
    # standard error of a median of n normal values: sqrt(pi / 2) spreads over sqrt(n)
    for_width = norm.ppf(0.975) * sqrt(np.pi / 2) * TPOT_SPREAD_SHARE
    steady = np.maximum(level, np.ceil((for_width / HALF_WIDTH_SHARE) ** 2))
    in_time = np.floor(rate * (max_point_s - one_s))
    n = np.minimum(2 * level + steady, in_time)
    seconds = n / rate + one_s
    priced: pd.DataFrame = candidates.assign(
        n_requests=n.astype(int),
        seconds=seconds,
        gpu_seconds=seconds * size,
        half_width_share=for_width / np.sqrt(np.maximum(n - 2 * level, 1)),
    )
    return priced.loc[list(n >= np.maximum(3 * level, FEWEST_REQUESTS))]


def _parts(
    points: pd.DataFrame, n_points: int
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Which point covers which part of the hull: (points, parts); and how many each is to have.

    Two for each length pair once two further points are left for the ends and the thirds.
    """
    pairs = pd.get_dummies(points[["input_tokens", "output_tokens"]].agg(tuple, axis=1))
    of_pair = pairs.to_numpy(dtype=bool)
    sizes = pd.get_dummies(points["tensor_parallel"]).to_numpy(dtype=bool)
    level = points["concurrency"].astype(float)
    of_size = level.groupby(points["tensor_parallel"])
    at_ends = [
        sizes & (of_size.transform(end) == level).to_numpy()[:, None] for end in ("min", "max")
    ]
    thirds = np.geomspace(level.min(), level.max(), 4)[1:-1]
    third = np.searchsorted(thirds, level)[:, None] == np.arange(3)
    parts = np.hstack([of_pair, *at_ends, third])
    needed = np.ones(parts.shape[1], dtype=int)
    n_pairs = of_pair.shape[1]
    needed[:n_pairs] = 2 if n_points >= 2 * n_pairs + 2 else 1
    return parts, needed

"""Fits a serving curve to measured points, with intervals, and flags doubtful points.

Not modelled: pipeline parallelism, speculative decoding, and loads beyond the KV memory, where
requests queue and are pre-empted. `usable_points` drops the last kind and `flags` names it.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import least_squares
from scipy.special import ndtri, stdtrit

from llmstudy.cache import on_disk
from llmstudy.figure import FloatArray, Interval
from llmstudy.measures.capacity.choose import (
    PARAMETERS,
    PRIOR,
    PRIOR_WEIGHT,
    SETTING,
    Prior,
    log_tpot_slopes,
)
from llmstudy.measures.capacity.curve import Hull, ServingCurve, requests_per_s
from llmstudy.measures.capacity.hardware import GROUP, Gpu, ModelShape, gpu, model_shape

CONFIGURATION = [*SETTING, "moe_ep", "attention_dp"]
"""Points that are equal in all of these are repeats of one measurement."""

_OUTLIER_SHARE = 0.05
"""Residuals of log TPOT above this count linearly, so that a bad point does not bend the curve.

The MiniMax points on H200, 20 to 40 % of noise on a fifth of them, are missed by 4.6 % from 8 and
4.7 % from 5 in the median, and by plain squares by 6.0 and 5.8 %; at 10 to 15 % the two are alike.
Half or twice the scale, Cauchy's loss, a prior weighed by a group's own noise, and lower weights
for points out of order with their neighbours miss the bundled groups or a kind of noise by more:
few chosen settings have a neighbour to be out of order with.
"""

# Of a parameter in spreads of its prior: finer than five to eight points determine it, and coarser
# than the differences between BLAS kernels.
_FITTED_DECIMALS = 2
_CONTRADICTS_SPREADS = 2.0
"""Distance from the prior, in spreads, that one group in twenty exceeds."""

_FITTED_DIGITS = 6  # significant: the last digits of an exponential differ between processors


def roofline(
    points: pd.DataFrame, shape: ModelShape, gpu: Gpu, precision: str, kv_value_bytes: float = 2.0
) -> ServingCurve:
    """The physical limit: all bandwidth, all arithmetic, no overhead; nothing is fitted.

    points: as `serving_points`, of one model, GPU type, precision and engine version.
    Raises: ValueError if columns or times are missing, or the points are of another group.
    """
    needed = [*GROUP, *CONFIGURATION, "ttft_ms", "tpot_ms"]
    if missing := [column for column in needed if column not in points]:
        raise ValueError(f"serving points lack {', '.join(missing)}: add these columns")
    if not (points[["ttft_ms", "tpot_ms"]] > 0).all(axis=None):
        raise ValueError("serving points need a TTFT and a TPOT above 0 ms: drop failed runs")
    groups = points[GROUP].drop_duplicates()
    if len(groups) != 1:
        raise ValueError(
            f"serving points of {len(groups)} groups: fit one model, GPU type, precision and "
            "engine version at a time"
        )
    group, expected = groups.iloc[0].tolist(), [shape.model, gpu.gpu, precision]
    if group[:3] != expected:
        raise ValueError(
            f"serving points are of {group[:3]}, not of {expected}: pass points of the latter"
        )
    return ServingCurve(
        shape=shape,
        gpu=gpu,
        precision=precision,
        kv_value_bytes=kv_value_bytes,
        engine_version=group[3],
        bandwidth_efficiency=1.0,
        flop_efficiency=1.0,
        step_overhead_s=0.0,
        tp_overhead_s=0.0,
        n_fit=0,
        residual_share=float("nan"),
        hull=_hull(points),
    )


def usable_points(
    points: pd.DataFrame, shape: ModelShape, gpu: Gpu, precision: str, kv_value_bytes: float = 2.0
) -> pd.DataFrame:
    """Selects the points that the curve can describe, one row per configuration.

    Dropped: more requests than the KV memory holds (queueing and pre-emption), and attention data
    parallelism over only part of the replica's GPUs. Over all of them it splits requests instead of
    heads, so that each GPU reads as many bytes: such points lie on the curve of the others (fitted
    without them, its median error on them is 1.6 to 7.8 % per bundled group) and are used. An empty
    `attention_dp` means 1, vLLM's default. Repeats are pooled by their geometric mean.

    Columns: those of GROUP and CONFIGURATION, ttft_ms, tpot_ms: again serving points.
    """
    limit = roofline(points, shape, gpu, precision, kv_value_bytes).max_concurrency(
        points["input_tokens"], points["output_tokens"], points["tensor_parallel"]
    )
    points = points.assign(attention_dp=points["attention_dp"].fillna(1))
    usable = points[covered(points) & (points["concurrency"] <= limit)]
    logs = usable.assign(ttft_ms=np.log(usable["ttft_ms"]), tpot_ms=np.log(usable["tpot_ms"]))
    pooled = logs.groupby([*GROUP, *CONFIGURATION], dropna=False)[["ttft_ms", "tpot_ms"]].mean()
    return pd.DataFrame(np.exp(pooled)).reset_index()


def covered(points: pd.DataFrame) -> "pd.Series[bool]":
    """Whether each point has a parallelism that the curve can describe."""
    ranks = points["attention_dp"].fillna(1)
    return (ranks == 1) | (ranks == points["tensor_parallel"])


def fit_serving_curve(
    points: pd.DataFrame, shape: ModelShape, gpu: Gpu, precision: str, kv_value_bytes: float = 2.0
) -> ServingCurve:
    """Fits a serving curve to the measured TPOT of `usable_points`.

    Robust least squares on log TPOT, with a weak prior. Five to eight configurations that differ in
    concurrency, prompt length and tensor parallelism are enough; `heldout_error` gives the error.

    points: as `serving_points`, of one model, GPU type, precision and engine version.
    kv_value_bytes: 2 for a BF16 cache, vLLM's default for most checkpoints; 1 for FP8.
    Raises: ValueError with fewer than four usable configurations, one per parameter.

    >>> from llmstudy.measures.capacity import serving_points
    >>> points = serving_points("openai/gpt-oss-120b", "h200_sxm", engine_version="0.18.0")
    >>> shape = model_shape("openai/gpt-oss-120b")
    >>> curve = fit_serving_curve(points, shape, gpu("h200_sxm"), "fp4")
    >>> round(curve.bandwidth_efficiency, 2), curve.n_fit
    (0.67, 37)
    """
    used = usable_points(points, shape, gpu, precision, kv_value_bytes)
    if len(used) < len(PARAMETERS):
        raise ValueError(
            f"{len(used)} usable configurations of {shape.model} on {gpu.gpu}: four parameters "
            "need at least four, and five to eight to be of use; measure more"
        )
    limit = roofline(points, shape, gpu, precision, kv_value_bytes)
    return on_disk(fit_usable)(used, limit)


def parameter_intervals(
    curve: ServingCurve, points: pd.DataFrame, level: float = 0.95
) -> dict[str, Interval]:
    """Each fitted parameter with its interval.

    Student's t, from the residuals and slopes of log TPOT at the curve, in log odds and logarithms.
    A parameter that the points determine less than the prior does has the interval of `PRIOR`,
    extended to its estimate; with four configurations all have, since nothing is left to estimate
    the noise from.

    curve: as `fit_serving_curve` found it. points: those it was fitted to, or their usable ones.
    Returns: by parameter name, in the order of PARAMETERS.
    Source: Huber (1981), Robust Statistics, section 7.6, for the noise under a robust loss. In
    simulations with normal noise of 3 and 6 % and with heavy tails the 95 % intervals cover the
    truth in 88 to 100 of 100 fits to 5, 8 and 16 configurations (in the median, 98).

    >>> from llmstudy.measures.capacity import serving_points
    >>> points = serving_points("openai/gpt-oss-120b", "h200_sxm", engine_version="0.18.0")
    >>> shape = model_shape("openai/gpt-oss-120b")
    >>> curve = fit_serving_curve(points, shape, gpu("h200_sxm"), "fp4")
    >>> share = parameter_intervals(curve, points)["bandwidth_efficiency"]
    >>> round(share.low, 2), round(share.estimate, 2), round(share.high, 2)
    (0.62, 0.67, 0.72)
    """
    used = usable_points(points, curve.shape, curve.gpu, curve.precision, curve.kv_value_bytes)
    at = PRIOR.spreads(curve)
    spare, error = _standard_errors(curve, used)
    reach = np.round(float(stdtrit(max(spare, 1), (1 + level) / 2)) * error, _FITTED_DECIMALS)
    of_prior = float(ndtri((1 + level) / 2))
    determined = error < 1  # better than by the prior
    low = np.where(determined, at - reach, np.minimum(at, -of_prior))
    high = np.where(determined, at + reach, np.maximum(at, of_prior))
    lows, highs = (PRIOR.parameters(curve.shape, ends) for ends in (low, high))
    return {name: Interval(getattr(curve, name), lows[name], highs[name]) for name in PARAMETERS}


def within_prior(curve: ServingCurve, points: pd.DataFrame) -> tuple[ServingCurve, tuple[str, ...]]:
    """Resets to the prior the parameters that the points move from it without determining them.

    A parameter more than two spreads from the prior that the points determine less than the prior
    does is not to be trusted: points of a single wave of requests, or of cached prompts, give such
    a fit. It gets the prior's centre, and the others are fitted again.

    curve: as `fit_serving_curve` found it. points: those it was fitted to, or their usable ones.
    Returns: the curve, and the names of the parameters reset, in the order of PARAMETERS.

    >>> from llmstudy.measures.capacity import serving_points
    >>> llama = model_shape("nvidia/Llama-3.1-8B-Instruct-FP8")
    >>> points = serving_points(llama.model, "h200_sxm")
    >>> curve = fit_serving_curve(points, llama, gpu("h200_sxm"), "fp8")
    >>> within, names = within_prior(curve, points)
    >>> curve.flop_efficiency > 0.9, within.flop_efficiency, "flop_efficiency" in names
    (True, 0.47, True)
    """
    used = usable_points(points, curve.shape, curve.gpu, curve.precision, curve.kv_value_bytes)
    _, error = _standard_errors(curve, used)
    reset = (error >= 1) & (np.abs(PRIOR.spreads(curve)) > _CONTRADICTS_SPREADS)
    names = tuple(np.array(PARAMETERS)[reset].tolist())
    return (_fit(used, curve, PRIOR, ~reset) if names else curve), names


def _standard_errors(curve: ServingCurve, used: pd.DataFrame) -> tuple[int, FloatArray]:
    """Points beyond one per parameter, and each parameter's standard error in spreads, (4,).

    The error is infinite if no point is left to estimate the noise from. used: as `usable_points`.
    """
    spare = len(used) - len(PARAMETERS)
    if spare < 1:
        return 0, np.full(len(PARAMETERS), np.inf)
    misses = np.log(curve.tpot_s(**configuration(used)) * 1e3 / used["tpot_ms"].to_numpy())
    weight = 1 / np.sqrt(1 + (misses / _OUTLIER_SHARE) ** 2)  # that of the robust loss
    noise = np.sqrt(((weight * misses) ** 2).sum() / spare) / (weight**3).mean()
    slopes = log_tpot_slopes(curve, used)
    information = slopes.T @ slopes + PRIOR_WEIGHT**2 * np.eye(len(PARAMETERS))
    return spare, noise * np.sqrt(np.diag(np.linalg.inv(information)))


def flags(points: pd.DataFrame, kv_value_bytes: float = 2.0) -> pd.DataFrame:
    """Lists doubtful points: one row per point and reason. Columns: point_id, flag.

    Reasons: TPOT below the roofline, alone or with other prompts read in between as under steady
    load; more tokens than the GPUs' arithmetic allows; more requests than the memory holds; repeats
    more than 50 % apart; a higher TPOT than under more load. No points are dropped here.

    points: as `serving_points`, any number of groups. kv_value_bytes: as in `fit_serving_curve`.
    """
    points = points.reset_index(drop=True)  # concatenated tables repeat their labels
    rows = [
        pd.DataFrame({"point_id": points.loc[doubtful, "point_id"], "flag": reason})
        for doubtful, reason in _doubts(points, kv_value_bytes)
    ]
    return pd.concat(rows).sort_values(["point_id", "flag"], ignore_index=True)


def fit_usable(used: pd.DataFrame, limit: ServingCurve, prior: Prior = PRIOR) -> ServingCurve:
    """Fits the roofline's four parameters to usable points; the curve's hull is that of the points.

    used: as `usable_points` returns them, however few. limit: their `roofline`.
    """
    return _fit(used, limit, prior, np.full(len(PARAMETERS), True))


def _fit(
    used: pd.DataFrame, limit: ServingCurve, prior: Prior, free: npt.NDArray[np.bool_]
) -> ServingCurve:
    """As `fit_usable`; the parameters that are not free, (4,), stay at the prior's centre."""
    where = configuration(used)
    measured_s = used["tpot_ms"].to_numpy(dtype=float) / 1e3

    def curve(spreads: FloatArray) -> ServingCurve:
        return replace(limit, **prior.parameters(limit.shape, spreads))

    def residuals(spreads: FloatArray) -> FloatArray:
        misses = np.log(curve(free * spreads).tpot_s(**where) / measured_s)
        return np.concatenate([misses, PRIOR_WEIGHT * spreads])

    def slopes(spreads: FloatArray) -> FloatArray:
        of_points = free * log_tpot_slopes(curve(free * spreads), where, prior)
        return np.vstack([of_points, PRIOR_WEIGHT * np.eye(len(PARAMETERS))])

    best = least_squares(
        residuals,
        np.zeros(len(PARAMETERS)),
        jac=slopes,
        loss=_robust_to_points,
        f_scale=_OUTLIER_SHARE,
        ftol=1e-15,
        xtol=1e-10,
        gtol=1e-12,
    )
    at = prior.parameters(limit.shape, np.round(free * best.x, _FITTED_DECIMALS))
    rounded: dict[str, Any] = {name: float(f"{x:.{_FITTED_DIGITS}g}") for name, x in at.items()}
    fitted = replace(limit, **rounded)
    misses = np.abs(fitted.tpot_s(**where) / measured_s - 1)
    return replace(
        fitted, n_fit=len(used), residual_share=float(np.median(misses)), hull=_hull(used)
    )


def _robust_to_points(squares: FloatArray) -> FloatArray:
    """Loss, slope and curvature, (3, n): soft L1 of the points, squares of the prior's four."""
    root = np.sqrt(1 + squares)
    loss = np.stack([2 * (root - 1), 1 / root, -0.5 / root**3])
    loss[:, -len(PARAMETERS) :] = np.stack(
        [squares, np.ones_like(squares), np.zeros_like(squares)]
    )[:, -len(PARAMETERS) :]
    return loss


def _doubts(points: pd.DataFrame, kv_value_bytes: float) -> Iterator[tuple["pd.Series[bool]", str]]:
    """A mask of doubtful points and the reason, for each reason."""
    tpot = points["tpot_ms"]
    alike = [*GROUP, *CONFIGURATION]
    repeats = points.groupby(alike, dropna=False)["tpot_ms"]
    apart = repeats.transform("max") / repeats.transform("min") > 1.5
    yield apart, "repeats of this configuration are more than 50 % apart"

    setting = [column for column in alike if column != "concurrency"]
    heaviest_first = points.assign(tpot_ms=repeats.transform("min"))
    heaviest_first = heaviest_first.sort_values("concurrency", ascending=False, kind="stable")
    lowest = heaviest_first.groupby(setting, dropna=False)["tpot_ms"].cummin()
    lowest = lowest.reindex(points.index)
    yield tpot > 1.25 * lowest, "TPOT is over 25 % higher than under as much or more load"

    nowhere = pd.Series(False, index=points.index)
    below, unread, too_much, beyond, too_large = (nowhere.copy() for _ in range(5))
    for key, group, shape, card in groups(points[covered(points)]):
        limit = roofline(group, shape, card, key["precision"], kv_value_bytes)
        where = configuration(group)
        room = limit.max_concurrency(
            group["input_tokens"], group["output_tokens"], group["tensor_parallel"]
        )
        fits = group["concurrency"] <= room
        fastest_ms = 1e3 * limit.decode_step_s(**where)
        below[group.index] = fits & (group["tpot_ms"] < fastest_ms)
        steady_ms = 1e3 * limit.tpot_s(**where)
        unread[group.index] = fits & ~below[group.index] & (group["tpot_ms"] < steady_ms)
        most = card.flops_per_s(key["precision"])
        too_much[group.index] = fits & (_flops_per_s(group, shape) > most)
        beyond[group.index] = ~fits & (room > 0)
        too_large[group.index] = room == 0
    yield below, "TPOT beats the roofline: FP8 cache, cached prompts or few distinct experts?"
    yield unread, "TPOT leaves no time to read the prompts beside it: cached ones, or one wave?"
    yield (
        too_much,
        "more tokens than the arithmetic allows: cached prompts, or one wave of requests?",
    )
    yield beyond, "more requests than the KV memory holds: some wait, and TTFT is a queue"
    yield too_large, "the weights do not fit on the GPUs recorded: the parallelism is incomplete"


def _flops_per_s(points: pd.DataFrame, shape: ModelShape) -> FloatArray:
    """Operations per second of each GPU at the measured throughput, if prompts are not cached."""
    prompt, output = points["input_tokens"], points["output_tokens"]
    ttft_s, tpot_s = points["ttft_ms"] / 1e3, points["tpot_ms"] / 1e3
    rate = requests_per_s(points["concurrency"], output, ttft_s, tpot_s)
    flops = shape.prefill_flops(prompt) + 2 * shape.active_params * output.to_numpy(dtype=float)
    return np.asarray(rate * flops / points["tensor_parallel"].to_numpy(dtype=float))


def groups(points: pd.DataFrame) -> Iterator[tuple[dict[str, str], pd.DataFrame, ModelShape, Gpu]]:
    """The points of each model, GPU type, precision and engine version, with shape and GPU."""
    for values, group in points.groupby(GROUP):
        key = dict(zip(GROUP, map(str, values), strict=True))
        yield key, group, model_shape(key["model"]), gpu(key["gpu"])


def _hull(points: pd.DataFrame) -> Hull:
    """The range of settings that the points span."""
    names = ("tensor_parallel", "concurrency", "input_tokens", "output_tokens")
    sizes, running, *lengths = (points[name].to_numpy(dtype=int) for name in names)
    by_size = {int(size): running[sizes == size] for size in np.unique(sizes)}
    return Hull(
        concurrency_by_size={n: (int(some.min()), int(some.max())) for n, some in by_size.items()},
        lengths=tuple(dict.fromkeys(zip(*(x.tolist() for x in lengths), strict=True))),
    )


def configuration(points: pd.DataFrame) -> dict[str, FloatArray]:
    """The arguments of `ServingCurve.tpot_s`, one value per point."""
    return {name: points[name].to_numpy(dtype=float) for name in SETTING}

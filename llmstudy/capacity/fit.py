"""Which serving curve do the measured points give, how far does it miss others, which to doubt?

Left out of the model: attention data parallelism, pipeline parallelism, speculative decoding, and
loads beyond the KV memory, where requests queue and are pre-empted. `usable_points` drops such
points and `flags` names the last kind.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.optimize import least_squares

from llmstudy.capacity.curve import Hull, ServingCurve, requests_per_s
from llmstudy.capacity.hardware import GROUP, Gpu, ModelShape, gpu, model_shape, serving_points
from llmstudy.figure import FloatArray

CONFIGURATION = ["input_tokens", "output_tokens", "concurrency", "tensor_parallel", "moe_ep"]
"""Points that agree in all of these are repeats of one measurement."""

# Bandwidth share, FLOP share and the two overheads in ms. Assumed, and so weak that a few points
# drown it: it only settles what they leave open (t1, when all share one tensor parallelism).
_PRIOR = np.array([0.7, 0.4, 2.0, 1.0])
_PRIOR_SPREAD = np.array([0.2, 0.2, 2.0, 1.0])
_PRIOR_WEIGHT = 0.02

# Residuals above this count linearly, not squared: one bad point must not bend the curve.
_OUTLIER_SHARE = 0.05

_MIN_HELDOUT = 4


@dataclass(frozen=True)
class HeldOut:
    """Error of throughput on configurations that the fit did not see, over repeated splits."""

    n_fit: int
    n_heldout: int
    repeats: int
    median_abs_error_share: float
    max_abs_error_share: float


def roofline(
    points: pd.DataFrame, shape: ModelShape, gpu: Gpu, precision: str, kv_value_bytes: float = 2.0
) -> ServingCurve:
    """The physical limit: all bandwidth, all arithmetic, no overhead; nothing is fitted.

    points: as `serving_points`, of one model, GPU type, precision and engine version.
    Raises: ValueError when columns or times are missing or the points are of something else.
    """
    needed = [*GROUP, *CONFIGURATION, "attention_dp", "ttft_ms", "tpot_ms"]
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
    found, expected = groups.iloc[0].tolist(), [shape.model, gpu.gpu, precision]
    if found[:3] != expected:
        raise ValueError(f"serving points are of {found[:3]}, not of {expected}: pass those")
    return ServingCurve(
        shape=shape,
        gpu=gpu,
        precision=precision,
        kv_value_bytes=kv_value_bytes,
        engine_version=found[3],
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
    """The configurations that the model speaks of, one row each: repeats are pooled.

    Dropped: attention data parallelism (another parallelism), and more requests than the KV memory
    holds (queueing and pre-emption). Where `attention_dp` is empty the source did not record it: 1,
    vLLM's default, is taken. Repeats are pooled by their geometric mean. Columns: those of GROUP
    and CONFIGURATION, ttft_ms, tpot_ms, attention_dp (1): again serving points.
    """
    limit = roofline(points, shape, gpu, precision, kv_value_bytes).max_concurrency(
        points["input_tokens"], points["output_tokens"], points["tensor_parallel"]
    )
    plain = points["attention_dp"].fillna(1) == 1
    kept = points[plain & (points["concurrency"] <= limit)]
    logs = kept.assign(ttft_ms=np.log(kept["ttft_ms"]), tpot_ms=np.log(kept["tpot_ms"]))
    pooled = logs.groupby([*GROUP, *CONFIGURATION], dropna=False)[["ttft_ms", "tpot_ms"]].mean()
    return pd.DataFrame(np.exp(pooled)).reset_index().assign(attention_dp=1)


def fit_serving_curve(
    points: pd.DataFrame, shape: ModelShape, gpu: Gpu, precision: str, kv_value_bytes: float = 2.0
) -> ServingCurve:
    """The serving curve that passes closest to the measured TPOT of `usable_points`.

    Robust least squares on log TPOT: efficiencies in (0.05, 1], overheads at least 0. Five to eight
    configurations that differ in concurrency, prompt length and tensor parallelism are enough;
    `heldout_error` says how good.

    points: as `serving_points`, of one model, GPU type, precision and engine version.
    kv_value_bytes: 2 for a BF16 cache, vLLM's default for most checkpoints; 1 for FP8.
    Raises: ValueError with fewer than four usable configurations, one per parameter.

    >>> points = serving_points("openai/gpt-oss-120b", "h200_sxm", engine_version="0.18.0")
    >>> shape = model_shape("openai/gpt-oss-120b")
    >>> curve = fit_serving_curve(points, shape, gpu("h200_sxm"), "fp4")
    >>> round(curve.bandwidth_efficiency, 2), curve.n_fit
    (0.66, 37)
    """
    used = usable_points(points, shape, gpu, precision, kv_value_bytes)
    if len(used) < len(_PRIOR):
        raise ValueError(
            f"{len(used)} usable configurations of {shape.model} on {gpu.gpu}: four parameters "
            "need at least four, and five to eight to be of use; measure more"
        )
    return _fit(used, roofline(points, shape, gpu, precision, kv_value_bytes))


def throughput_error_share(curve: ServingCurve, points: pd.DataFrame) -> FloatArray:
    """|predicted / measured - 1| of throughput, one per point, both at the measured TTFT.

    points: any configurations of the curve's model, of its own GPU type or of another (to judge a
    transfer, `dataclasses.replace` the curve's gpu first).
    """
    batch, output = points["concurrency"], points["output_tokens"]
    ttft_s, tpot_s = points["ttft_ms"] / 1e3, points["tpot_ms"] / 1e3
    predicted = requests_per_s(batch, output, ttft_s, curve.tpot_s(**_configuration(points)))
    return np.abs(predicted / requests_per_s(batch, output, ttft_s, tpot_s) - 1)


def heldout_error(
    points: pd.DataFrame,
    shape: ModelShape,
    gpu: Gpu,
    precision: str,
    n_fit: int,
    seed: int,
    repeats: int = 5,
    kv_value_bytes: float = 2.0,
) -> HeldOut:
    """How far a curve fitted to `n_fit` random configurations misses the others.

    The median and maximum run over the held-out configurations of all `repeats` splits.
    Raises: ValueError when fewer than four configurations would be held out.
    """
    used = usable_points(points, shape, gpu, precision, kv_value_bytes)
    if len(used) < n_fit + _MIN_HELDOUT:
        raise ValueError(
            f"{len(used)} usable configurations of {shape.model} on {gpu.gpu}: to fit {n_fit} and "
            f"judge on at least {_MIN_HELDOUT} others takes {n_fit + _MIN_HELDOUT}; measure more"
        )
    limit = roofline(points, shape, gpu, precision, kv_value_bytes)
    return _heldout(used, limit, n_fit, seed, repeats)


def serving_fits(n_fit: int = 8, seed: int = 0) -> pd.DataFrame:
    """Each group of the bundled points: its parameters, and what they are worth.

    The error comes from five random splits of `n_fit` configurations against the rest, the
    parameters and residual from all usable configurations (`n_used`). KV caches are taken as BF16,
    since the source does not record them. Groups with fewer than `n_fit` + 4 usable configurations
    have no row.

    Columns: model, gpu, precision, engine_version, n_fit, n_heldout, median_abs_error_share,
    max_abs_error_share, n_used, residual_share, bandwidth_efficiency, flop_efficiency,
    step_overhead_s, tp_overhead_s.
    """
    rows = []
    for key, points, shape, card in _groups(serving_points()):
        used = usable_points(points, shape, card, key["precision"])
        if len(used) < n_fit + _MIN_HELDOUT:
            continue
        limit = roofline(points, shape, card, key["precision"])
        error, curve = _heldout(used, limit, n_fit, seed, repeats=5), _fit(used, limit)
        rows.append(
            {
                **key,
                "n_fit": error.n_fit,
                "n_heldout": error.n_heldout,
                "median_abs_error_share": error.median_abs_error_share,
                "max_abs_error_share": error.max_abs_error_share,
                "n_used": curve.n_fit,
                "residual_share": curve.residual_share,
                "bandwidth_efficiency": curve.bandwidth_efficiency,
                "flop_efficiency": curve.flop_efficiency,
                "step_overhead_s": curve.step_overhead_s,
                "tp_overhead_s": curve.tp_overhead_s,
            }
        )
    return pd.DataFrame(rows)


def flags(points: pd.DataFrame) -> pd.DataFrame:
    """Points to doubt before fitting: one row per point and reason. Columns: point_id, flag.

    TPOT below the roofline (with a BF16 cache and uniform routing); more requests than the memory
    holds; repeats more than 50 % apart; a higher TPOT than the same configuration shows under more
    load. Nothing is dropped here.

    points: as `serving_points`, any number of groups.
    """
    points = points.reset_index(drop=True)  # concatenated tables repeat their labels
    found = [
        pd.DataFrame({"point_id": points.loc[doubtful, "point_id"], "flag": reason})
        for doubtful, reason in _doubts(points)
    ]
    return pd.concat(found).sort_values(["point_id", "flag"], ignore_index=True)


def _fit(used: pd.DataFrame, limit: ServingCurve) -> ServingCurve:
    """The roofline bent to usable points by its four parameters; its hull is theirs."""
    where = _configuration(used)
    measured_s = used["tpot_ms"].to_numpy(dtype=float) / 1e3

    def curve(theta: FloatArray) -> ServingCurve:
        return replace(
            limit,
            bandwidth_efficiency=float(theta[0]),
            flop_efficiency=float(theta[1]),
            step_overhead_s=float(theta[2]) / 1e3,
            tp_overhead_s=float(theta[3]) / 1e3,
        )

    def residuals(theta: FloatArray) -> FloatArray:
        misses = np.log(curve(theta).tpot_s(**where) / measured_s)
        return np.concatenate([misses, _PRIOR_WEIGHT * (theta - _PRIOR) / _PRIOR_SPREAD])

    best = least_squares(
        residuals,
        _PRIOR,
        bounds=([0.05, 0.05, 0.0, 0.0], [1.0, 1.0, np.inf, np.inf]),
        x_scale=_PRIOR_SPREAD,
        loss="soft_l1",
        f_scale=_OUTLIER_SHARE,
        ftol=1e-6,
    )
    fitted = curve(best.x)
    misses = np.abs(fitted.tpot_s(**where) / measured_s - 1)
    return replace(
        fitted, n_fit=len(used), residual_share=float(np.median(misses)), hull=_hull(used)
    )


def _heldout(
    used: pd.DataFrame, limit: ServingCurve, n_fit: int, seed: int, repeats: int
) -> HeldOut:
    """Errors pooled over random splits of usable points."""
    rng = np.random.default_rng(seed)
    errors = []
    for _ in range(repeats):
        order = rng.permutation(len(used))
        curve = _fit(used.iloc[order[:n_fit]], limit)
        errors.append(throughput_error_share(curve, used.iloc[order[n_fit:]]))
    every = np.concatenate(errors)
    return HeldOut(
        n_fit=n_fit,
        n_heldout=len(used) - n_fit,
        repeats=repeats,
        median_abs_error_share=float(np.median(every)),
        max_abs_error_share=float(every.max()),
    )


def _doubts(points: pd.DataFrame) -> Iterator[tuple["pd.Series[bool]", str]]:
    """Each reason to doubt with the points it falls on, as a mask over all points."""
    tpot = points["tpot_ms"]
    alike = [*GROUP, *CONFIGURATION, "attention_dp"]
    repeats = points.groupby(alike, dropna=False)["tpot_ms"]
    apart = repeats.transform("max") / repeats.transform("min") > 1.5
    yield apart, "repeats of this configuration are more than 50 % apart"

    setting = [column for column in alike if column != "concurrency"]
    heaviest_first = points.assign(tpot_ms=repeats.transform("min"))
    heaviest_first = heaviest_first.sort_values("concurrency", ascending=False)
    lowest = heaviest_first.groupby(setting, dropna=False)["tpot_ms"].cummin()
    lowest = lowest.reindex(points.index)
    yield tpot > 1.25 * lowest, "TPOT is over 25 % higher than under as much or more load"

    below, beyond, too_large = (pd.Series(False, index=points.index) for _ in range(3))
    for key, group, shape, card in _groups(points[points["attention_dp"].fillna(1) == 1]):
        limit = roofline(group, shape, card, key["precision"])
        where = _configuration(group)
        room = limit.max_concurrency(
            group["input_tokens"], group["output_tokens"], group["tensor_parallel"]
        )
        fits = group["concurrency"] <= room
        fastest_ms = 1e3 * limit.decode_step_s(**where)
        below[group.index] = fits & (group["tpot_ms"] < fastest_ms)
        beyond[group.index] = ~fits & (room > 0)
        too_large[group.index] = room == 0
    yield below, "TPOT beats the roofline: FP8 cache, cached prompts or few distinct experts?"
    yield beyond, "more requests than the KV memory holds: some wait, and TTFT is a queue"
    yield too_large, "the weights do not fit on the GPUs recorded: the parallelism is incomplete"


def _groups(points: pd.DataFrame) -> Iterator[tuple[dict[str, str], pd.DataFrame, ModelShape, Gpu]]:
    """The points of each model, GPU type, precision and engine version, with shape and GPU."""
    for values, group in points.groupby(GROUP):
        key = dict(zip(GROUP, map(str, values), strict=True))
        yield key, group, model_shape(key["model"]), gpu(key["gpu"])


def _hull(points: pd.DataFrame) -> Hull:
    """What the points span."""
    ranges = points.groupby("tensor_parallel")["concurrency"].agg(["min", "max"]).itertuples()
    pairs = points[["input_tokens", "output_tokens"]].drop_duplicates().to_numpy(dtype=int)
    return Hull(
        concurrency_by_size={int(size): (int(low), int(high)) for size, low, high in ranges},
        lengths=tuple((int(i), int(o)) for i, o in pairs),
    )


def _configuration(points: pd.DataFrame) -> dict[str, FloatArray]:
    """The arguments of `ServingCurve.tpot_s`, one value per point."""
    names = ["concurrency", "input_tokens", "output_tokens", "tensor_parallel"]
    return {name: points[name].to_numpy(dtype=float) for name in names}

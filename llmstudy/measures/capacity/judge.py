"""Held-out error of a curve fitted to a few points, and its error on another GPU.

Every group (model, GPU type, precision, engine version and KV cache type) is judged separately, on
configurations that were not used in its fit.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import permutations
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from llmstudy.cache import on_disk
from llmstudy.figure import FloatArray, Interval
from llmstudy.measures.capacity.choose import (
    PARAMETERS,
    PRIOR,
    SETTING,
    Prior,
    choose_points,
    guessed_curve,
)
from llmstudy.measures.capacity.curve import ServingCurve, requests_per_s
from llmstudy.measures.capacity.first_token import fit_first_token
from llmstudy.measures.capacity.fit import (
    configuration,
    covered,
    fit_serving_curve,
    fit_usable,
    flags,
    groups,
    parameter_intervals,
    roofline,
    usable_points,
)
from llmstudy.measures.capacity.hardware import (
    GROUP,
    Gpu,
    ModelShape,
    gpu,
    gpu_family,
    model_shape,
    serving_points,
)

_MIN_HELDOUT = 3


@dataclass(frozen=True)
class HeldOut:
    """Error of throughput on held-out configurations, over repeated splits.

    n_heldout: least number held out by any split.
    """

    n_fit: int
    n_heldout: int
    repeats: int
    median_abs_error_share: float
    p90_abs_error_share: float
    max_abs_error_share: float


@dataclass(frozen=True)
class GroupFit:
    """One group fitted to points chosen for information and judged on the rest.

    n_rows: measurements of the group; n_heldout: configurations judged. The random error is the
    median over fits to as many points chosen at random; the error of all points is that of a curve
    fitted to all of them, which no choice of points improves. ttft_ratio: predicted over measured
    TTFT on those judged, the median from P10 to P90. `flags`: number of measurements by reason for
    doubt; they are not dropped.
    """

    model: str
    gpu: str
    precision: str
    engine_version: str
    kv_value_bytes: float
    n_rows: int
    n_fit: int
    n_heldout: int
    median_abs_error_share: float
    p90_abs_error_share: float
    random_median_abs_error_share: float
    all_points_median_abs_error_share: float
    ttft_ratio: Interval
    parameters: Mapping[str, Interval]
    flags: Mapping[str, int]


@dataclass(frozen=True)
class LeftOut:
    """A group that could not be fitted, and why."""

    model: str
    gpu: str
    precision: str
    engine_version: str
    n_rows: int
    reason: str


def throughput_error_share(curve: ServingCurve, points: pd.DataFrame) -> FloatArray:
    """|predicted / measured - 1| of throughput, one per point, both at the measured TTFT.

    points: configurations of the curve's model and GPU (for points of another GPU,
    `dataclasses.replace` the curve's gpu first).
    """
    batch, output = points["concurrency"], points["output_tokens"]
    ttft_s, tpot_s = points["ttft_ms"] / 1e3, points["tpot_ms"] / 1e3
    predicted = requests_per_s(batch, output, ttft_s, curve.tpot_s(**configuration(points)))
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
    """Error of a curve fitted to `n_fit` random configurations, on the others.

    Median and maximum are over the held-out configurations of all `repeats` splits; one that
    differs from a fitted one only in expert or attention parallelism is not held out.
    Raises: ValueError if fewer than three settings would be held out.
    """
    used = usable_points(points, shape, gpu, precision, kv_value_bytes)
    limit = roofline(points, shape, gpu, precision, kv_value_bytes)
    if reason := _too_few(points, used, limit, n_fit):
        raise ValueError(f"{shape.model} on {gpu.gpu}: {reason}")
    return _heldout(used, limit, n_fit, seed, repeats)


def serving_fits(n_fit: int = 8, seed: int = 0) -> pd.DataFrame:
    """Fits each group of the bundled points: one row of `serving_fit` per group that has one."""
    fits = [serving_fit(points, n_fit, seed) for _, points in serving_points().groupby(GROUP)]
    return pd.DataFrame([fit for fit in fits if fit])


def serving_fit(points: pd.DataFrame, n_fit: int = 8, seed: int = 0) -> dict[str, Any]:
    """Fits the points of one group: the curve's parameters, and its error on points held out.

    The error comes from five random splits of `n_fit` configurations against the rest, the
    parameters and residual from all usable configurations (`n_used`). The splits are random, and
    not chosen for information as in `fit_groups`: a study may ask for any configuration, not only
    for those that a good choice leaves, and this error is the larger and the steadier one. The KV
    cache is taken as BF16, since the source does not record it.

    points: as `serving_points`, of one model, GPU type, precision and engine version.
    Returns: model, gpu, precision, engine_version, n_fit, n_heldout, median_abs_error_share,
    p90_abs_error_share, max_abs_error_share, n_used, residual_share, bandwidth_efficiency,
    flop_efficiency, step_overhead_s, tp_overhead_s; empty with fewer than `n_fit` + 3 usable
    settings.

    >>> points = serving_points("openai/gpt-oss-120b", "h200_sxm", engine_version="0.18.0")
    >>> fit = serving_fit(points)
    >>> fit["n_used"], round(fit["median_abs_error_share"], 3)
    (37, 0.037)
    """
    [(key, group, shape, card)] = groups(points.reset_index(drop=True))
    return on_disk(_serving_fit)(key, group, shape, card, n_fit, seed)


def _serving_fit(
    key: Mapping[str, str],
    points: pd.DataFrame,
    shape: ModelShape,
    card: Gpu,
    n_fit: int,
    seed: int,
) -> dict[str, Any]:
    """As `serving_fit`, of a group with its shape and GPU."""
    used = usable_points(points, shape, card, key["precision"])
    limit = roofline(points, shape, card, key["precision"])
    if _too_few(points, used, limit, n_fit):
        return {}
    error, curve = asdict(_heldout(used, limit, n_fit, seed, repeats=5)), fit_usable(used, limit)
    del error["repeats"]
    return {
        **key,
        **error,
        "n_used": curve.n_fit,
        "residual_share": curve.residual_share,
        **{name: getattr(curve, name) for name in PARAMETERS},
    }


def fit_groups(
    points: pd.DataFrame,
    n_fit: int,
    seed: int,
    level: float = 0.95,
    random_choices: int = 5,
    prior: Prior = PRIOR,
) -> tuple[list[GroupFit], list[LeftOut]]:
    """Each group fitted to `n_fit` configurations chosen for information, judged on all others.

    points: as `serving_points`, any number of groups; with a column kv_value_bytes where the KV
    caches are known, or else BF16 is taken. seed: for ties in the choice, and the random choices.
    level: of the parameters' intervals. prior: of the choice and the fit.
    Returns: the groups fitted, largest error first, and those left out, with the reason.
    Raises: ValueError with `n_fit` below four, one point per parameter.

    >>> points = serving_points("openai/gpt-oss-120b", "h200_sxm")
    >>> fitted, left_out = fit_groups(points, n_fit=8, seed=0)
    >>> [(g.engine_version, g.n_heldout, round(g.median_abs_error_share, 3)) for g in fitted]
    [('0.18.0', 29, 0.02)]
    >>> left_out[0].reason[:48]
    'to fit 8 and judge on at least 3 others takes 11'
    """
    if n_fit < len(PARAMETERS):
        raise ValueError(f"{n_fit} points: four parameters need at least four; eight are better")
    if "kv_value_bytes" not in points:
        points = points.assign(kv_value_bytes=2.0)
    fitted, left_out = [], []
    for _, group in points.groupby([*GROUP, "kv_value_bytes"]):
        try:
            shape, card = model_shape(group["model"].iloc[0]), gpu(group["gpu"].iloc[0])
            settings = (n_fit, seed, level, random_choices, prior)
            fitted.append(on_disk(_fit_group)(group, shape, card, *settings))
        except ValueError as error:
            left_out.append(LeftOut(**_key(group), n_rows=len(group), reason=str(error)))
    return sorted(fitted, key=lambda g: -g.median_abs_error_share), left_out


def transfer_error(
    points: pd.DataFrame, other: pd.DataFrame, kv_value_bytes: float = 2.0
) -> FloatArray:
    """Errors of throughput on one GPU type of the curve fitted to points of another.

    points, other: as `serving_points`, each of one group, of the same model, precision and engine
    version. Returns: one error per usable configuration of `other`, in the order of
    `usable_points`.
    Raises: ValueError when the two differ in more than the GPU, or cannot be fitted.

    >>> h100, h200 = (
    ...     serving_points("meta-llama/Llama-3.1-70B", card, "fp8")
    ...     for card in ("h100_sxm", "h200_sxm")
    ... )
    >>> float(np.median(transfer_error(h200, h100)).round(3))
    0.051
    """
    both_groups = [*groups(points), *groups(other)]
    if len(both_groups) != 2 or points.empty or other.empty:
        raise ValueError("a transfer is from one group to another: pass the points of each")
    (key, home, shape, card), (away_key, away, _, away_card) = both_groups
    if {**key, "gpu": ""} != {**away_key, "gpu": ""}:
        raise ValueError(
            f"a transfer changes only the GPU, but {list(key.values())} differs from "
            f"{list(away_key.values())} in more than that"
        )
    curve = fit_serving_curve(home, shape, card, key["precision"], kv_value_bytes)
    used = usable_points(away, shape, away_card, key["precision"], kv_value_bytes)
    return throughput_error_share(replace(curve, gpu=away_card), used)


def transfers(points: pd.DataFrame) -> pd.DataFrame:
    """`transfer_error` from every GPU type to each other one of its family.

    Where model, precision, engine version and KV cache type are the same and both sides have at
    least five usable configurations, one more than parameters; an unknown model, GPU or precision
    has no row. points: as for `fit_groups`.

    Columns: model, precision, engine_version, kv_value_bytes, fitted_on, judged_on, n_fit,
    n_judged, median_abs_error_share, p90_abs_error_share, outside_share (of the configurations
    judged, those outside the hull of those fitted).
    """
    if "kv_value_bytes" not in points:
        points = points.assign(kv_value_bytes=2.0)
    same = ["model", "precision", "engine_version", "kv_value_bytes"]
    rows = []
    for _, alike in points.groupby(same):
        for home, away in _related(alike):
            try:
                row = _transfer(home, away)
            except ValueError:  # unknown, as `fit_groups` reports, or too few points
                continue
            rows.append({name: alike[name].iloc[0] for name in same} | row)
    return pd.DataFrame(rows)


def _transfer(home: pd.DataFrame, away: pd.DataFrame) -> dict[str, Any]:
    """One row of `transfers`, its key apart."""
    kv_value_bytes = float(home["kv_value_bytes"].iloc[0])
    shape, precision = model_shape(home["model"].iloc[0]), home["precision"].iloc[0]
    cards = [gpu(table["gpu"].iloc[0]) for table in (home, away)]
    fitted, judged = (
        usable_points(table, shape, card, precision, kv_value_bytes)
        for table, card in zip((home, away), cards, strict=True)
    )
    if min(len(fitted), len(judged)) <= len(PARAMETERS):
        raise ValueError("too few usable configurations to fit or to judge")
    errors = transfer_error(fitted, judged, kv_value_bytes)
    hull = roofline(fitted, shape, cards[0], precision).hull
    outside = [bool(hull.outside(*at)) for at in judged[SETTING].itertuples(index=False)]
    return {
        "fitted_on": cards[0].gpu,
        "judged_on": cards[1].gpu,
        "n_fit": len(fitted),
        "n_judged": len(judged),
        "median_abs_error_share": float(np.median(errors)),
        "p90_abs_error_share": float(np.quantile(errors, 0.9)),
        "outside_share": float(np.mean(outside)),
    }


def _related(points: pd.DataFrame) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """The points of each ordered pair of GPU types of one family."""
    cards = {str(card): some for card, some in points.groupby("gpu")}
    for home, away in permutations(cards, 2):
        if gpu_family(home) == gpu_family(away):
            yield cards[home], cards[away]


def _key(points: pd.DataFrame) -> dict[str, str]:
    """The values that all points of a group share."""
    return {name: str(points[name].iloc[0]) for name in GROUP}


def _fit_group(
    points: pd.DataFrame,
    shape: ModelShape,
    card: Gpu,
    n_fit: int,
    seed: int,
    level: float,
    random_choices: int,
    prior: Prior,
) -> GroupFit:
    """Raises: ValueError with the reason why this group cannot be fitted and judged."""
    key, kv_value_bytes = _key(points), float(points["kv_value_bytes"].iloc[0])
    limit = roofline(points, shape, card, key["precision"], kv_value_bytes)
    used = usable_points(points, shape, card, key["precision"], kv_value_bytes)
    if reason := _too_few(points, used, limit, n_fit):
        raise ValueError(reason)
    guess = guessed_curve(shape, card, key["precision"], key["engine_version"], kv_value_bytes)
    guess = replace(guess, **prior.parameters(shape))
    chosen = choose_points(guess, used, n_fit, seed, prior)
    curve, errors = _split(used, limit, chosen, prior)
    whole = fit_usable(used, limit)
    first, unseen = fit_first_token(curve, used.iloc[chosen]), _unseen(used, chosen)
    ttft_ratios = 1e3 * first.under_load_s(curve, unseen) / unseen["ttft_ms"].to_numpy()
    p10, p50, p90 = map(float, np.quantile(ttft_ratios, [0.1, 0.5, 0.9]))
    rng = np.random.default_rng(seed)
    at_random = [
        np.median(_split(used, limit, rng.permutation(len(used))[:n_fit])[1])
        for _ in range(random_choices)
    ]
    doubts = flags(points.assign(point_id=range(len(points))), kv_value_bytes)
    return GroupFit(
        **key,
        kv_value_bytes=kv_value_bytes,
        n_rows=len(points),
        n_fit=n_fit,
        n_heldout=len(errors),
        median_abs_error_share=float(np.median(errors)),
        p90_abs_error_share=float(np.quantile(errors, 0.9)),
        random_median_abs_error_share=float(np.median(at_random)),
        all_points_median_abs_error_share=float(np.median(throughput_error_share(whole, used))),
        ttft_ratio=Interval(p50, p10, p90),
        parameters=parameter_intervals(curve, used.iloc[chosen], level),
        flags={str(flag): int(n) for flag, n in doubts["flag"].value_counts().items()},
    )


def _too_few(points: pd.DataFrame, used: pd.DataFrame, limit: ServingCurve, n_fit: int) -> str:
    """Why a group cannot be fitted to `n_fit` points and judged; empty where it can."""
    settings = len(used.drop_duplicates(SETTING))
    if settings >= n_fit + _MIN_HELDOUT:
        return ""
    room = limit.max_concurrency(
        points["input_tokens"], points["output_tokens"], points["tensor_parallel"]
    )
    within = covered(points)
    full = int((within & (points["concurrency"] > room)).sum())
    usable = int(within.sum()) - full
    causes = (
        (usable - settings, "repeat a setting"),
        (full, "exceed the KV memory"),
        (len(points) - int(within.sum()), "split attention over part of the GPUs"),
    )
    rest = ", ".join(f"{n} {why}" for n, why in causes if n)
    return (
        f"to fit {n_fit} and judge on at least {_MIN_HELDOUT} others takes {n_fit + _MIN_HELDOUT} "
        f"settings, and {len(points)} points give {settings}{f' ({rest})' if rest else ''}; "
        "measure more, or fit fewer"
    )


def _split(
    used: pd.DataFrame,
    limit: ServingCurve,
    chosen: npt.NDArray[np.int64],
    prior: Prior = PRIOR,
) -> tuple[ServingCurve, FloatArray]:
    """The curve of the chosen usable points, and its errors on those of other settings."""
    curve = fit_usable(used.iloc[chosen], limit, prior)
    return curve, throughput_error_share(curve, _unseen(used, chosen))


def _unseen(used: pd.DataFrame, chosen: npt.NDArray[np.int64]) -> pd.DataFrame:
    """The usable points of other settings than those chosen."""
    setting = pd.MultiIndex.from_frame(used[SETTING])
    return used[~setting.isin(setting[chosen])]


def _heldout(
    used: pd.DataFrame, limit: ServingCurve, n_fit: int, seed: int, repeats: int
) -> HeldOut:
    """Errors pooled over random splits of usable points."""
    rng = np.random.default_rng(seed)
    splits = [_split(used, limit, rng.permutation(len(used))[:n_fit])[1] for _ in range(repeats)]
    every = np.concatenate(splits)
    return HeldOut(
        n_fit=n_fit,
        n_heldout=min(map(len, splits)),
        repeats=repeats,
        median_abs_error_share=float(np.median(every)),
        p90_abs_error_share=float(np.quantile(every, 0.9)),
        max_abs_error_share=float(every.max()),
    )

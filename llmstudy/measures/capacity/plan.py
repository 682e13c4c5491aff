"""Sizes a fleet by formula: capacity within the SLO, replicas and utilisation.

Utilisation is an output of traffic, SLO and whole replicas, never an input.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from llmstudy.figure import FloatArray
from llmstudy.measures.capacity.curve import CannotServe, ServingCurve, gpu_fit


@dataclass(frozen=True)
class Capacity:
    """Capacity of one replica within its SLO.

    `ttft_lower_bound_s`: time to read one prompt on an idle replica; measured TTFT is higher.
    `requests_per_s`: of a replica that is never idle, and so somewhat too high (in the median by 0
    to 4 % on each group of `serving_fits`). `limited_by`: tpot (the SLO), kv_memory, or hull (no
    higher concurrency was measured). `outside`: the settings outside the measured range, where the
    figure is extrapolated.
    """

    concurrency: int
    requests_per_s: float
    output_tokens_per_s: float
    tpot_s: float
    ttft_lower_bound_s: float
    limited_by: Literal["tpot", "kv_memory", "hull"]
    inside_hull: bool
    outside: tuple[str, ...]


def capacity_at_slo(
    curve: ServingCurve,
    input_tokens: float,
    output_tokens: float,
    tpot_slo_s: float,
    tensor_parallel: int,
    ttft_slo_s: float | None = None,
    cached_share: float = 0.0,
) -> Capacity:
    """The highest concurrency whose TPOT meets the SLO, and the load that one replica then carries.

    Never above the highest concurrency measured on that tensor-parallel size, nor above the KV
    memory. The SLO is compared with mean TPOT; its percentiles are higher. For TTFT there is
    only a lower bound: a `ttft_slo_s` below the prefill time is an error, but meeting it is no
    guarantee.

    cached_share: share of each prompt in the prefix cache, which saves its arithmetic but not its
    memory. A provider's billed share of cached input applies only if the fleet's cache is as warm.
    Raises: CannotServe when weights or one request do not fit or one request alone misses the SLO;
    ValueError for an SLO or `cached_share` out of range.

    >>> from llmstudy.measures.capacity import fit_serving_curve, gpu, model_shape, serving_points
    >>> points = serving_points("meta-llama/Llama-3.1-70B", "h200_sxm", "fp8")
    >>> llama, h200 = model_shape("meta-llama/Llama-3.1-70B"), gpu("h200_sxm")
    >>> curve = fit_serving_curve(points, llama, h200, "fp8")
    >>> capacity = capacity_at_slo(curve, 1024, 1024, tpot_slo_s=0.02, tensor_parallel=2)
    >>> capacity.concurrency, capacity.limited_by, capacity.inside_hull
    (46, 'tpot', True)
    """
    # written so that NaN is refused as well
    for name, slo_s in (("tpot_slo_s", tpot_slo_s), ("ttft_slo_s", ttft_slo_s)):
        if slo_s is not None and not slo_s > 0:
            raise ValueError(f"capacity_at_slo: {name} is {slo_s:g}: give seconds above 0, as 0.05")
    if not 0 <= cached_share <= 1:
        raise ValueError(
            f"capacity_at_slo: cached_share is {cached_share:g}: give a share in [0, 1], as 0.5"
        )
    gpu_fit(curve.shape, curve.gpu, curve.precision, tensor_parallel)
    where = f"{curve.shape.model} on {tensor_parallel} x {curve.gpu.gpu}"
    fits = int(curve.max_concurrency(input_tokens, output_tokens, tensor_parallel))
    if fits < 1:
        raise CannotServe(
            f"{where}: the KV cache of one request of {input_tokens + output_tokens:g} tokens does "
            "not fit beside the weights; use more GPUs per replica or an FP8 cache"
        )
    _, measured = curve.hull.concurrency_at(tensor_parallel)
    batches = np.arange(1, min(fits, measured) + 1)
    tpot_s = curve.tpot_s(batches, input_tokens, output_tokens, tensor_parallel, cached_share)
    if tpot_s[0] > tpot_slo_s:
        raise CannotServe(
            f"{where}: one request alone has a TPOT of {1e3 * tpot_s[0]:.1f} ms, above the SLO of "
            f"{1e3 * tpot_slo_s:.1f} ms; loosen it, or use more or faster GPUs per replica"
        )
    ttft_s = float(curve.prefill_s(input_tokens, tensor_parallel, cached_share))
    if ttft_slo_s is not None and ttft_s > ttft_slo_s:
        raise CannotServe(
            f"{where}: reading a prompt of {input_tokens:g} tokens takes {1e3 * ttft_s:.0f} ms "
            f"alone, above the TTFT SLO of {1e3 * ttft_slo_s:.0f} ms; loosen it, shorten the "
            "prompt, or use more GPUs per replica"
        )
    best = int(np.count_nonzero(tpot_s <= tpot_slo_s))  # TPOT never falls with concurrency
    point = (best, input_tokens, output_tokens, tensor_parallel)
    rate = float(curve.max_requests_per_s(*point, cached_share))
    outside = curve.hull.outside(*point)
    return Capacity(
        concurrency=best,
        requests_per_s=rate,
        output_tokens_per_s=rate * output_tokens,
        tpot_s=float(tpot_s[best - 1]),
        ttft_lower_bound_s=ttft_s,
        limited_by=("tpot" if best < len(batches) else "kv_memory" if fits <= measured else "hull"),
        inside_hull=not outside,
        outside=outside,
    )


def replicas(
    peak_requests_per_s: npt.ArrayLike,
    capacity_requests_per_s: npt.ArrayLike,
    target_utilisation: npt.ArrayLike,
    spare: int = 1,
    minimum: int = 2,
) -> npt.NDArray[np.int64]:
    """Whole replicas that carry the peak at the target utilisation, plus spares. Arrays broadcast.

    target_utilisation: share of capacity in the peak window, in (0, 1]; the rest absorbs bursts
    inside the window. spare: replicas beyond need (N + 1). minimum: fewest replicas that run.

    >>> replicas([0.0, 10.0, 90.0], 22.7, 0.7).tolist()
    [2, 2, 7]
    """
    peak, capacity, target = (
        np.asarray(x, dtype=float)
        for x in (peak_requests_per_s, capacity_requests_per_s, target_utilisation)
    )
    # written so that NaN is refused as well
    if not ((peak >= 0).all() and (capacity > 0).all()):
        raise ValueError(
            "replicas: the peak must be at least 0 and the capacity above 0 requests/s"
        )
    if not ((target > 0) & (target <= 1)).all():
        raise ValueError("replicas: target_utilisation must be a share in (0, 1], such as 0.7")
    # rounding in the division must not buy a replica: 2.1 / 0.7 is a hair above 3
    needed = np.ceil(peak / (capacity * target) * (1 - 1e-12))
    return np.asarray(np.maximum(needed + spare, minimum), dtype=np.int64)


def utilisation(
    mean_requests_per_s: npt.ArrayLike,
    replicas: npt.ArrayLike,
    capacity_requests_per_s: npt.ArrayLike,
) -> FloatArray:
    """Mean share of capacity in use, spares included; above 1 the fleet cannot carry the load.

    >>> float(utilisation(30.0, 7, 22.7).round(3))
    0.189
    """
    fleet = np.asarray(replicas, dtype=float) * np.asarray(capacity_requests_per_s, dtype=float)
    return np.asarray(np.asarray(mean_requests_per_s, dtype=float) / fleet)

"""The range of a serving curve's error at an operating point, measured or not."""

from dataclasses import dataclass
from math import exp, log, sqrt

from scipy.special import ndtri

from llmstudy.measures.capacity.curve import ServingCurve
from llmstudy.measures.capacity.hardware import gpu_family

ERROR_PER_DOUBLING = 0.08
"""Growth of a curve's median error per doubling outside what was measured. On the bundled groups,
each fitted to some of its points and judged on those beyond, the error is 6 to 12 % at one
doubling, 6 to 15 % at two, 15 to 25 % at four. The 80 % range then covers 90 % of the points beyond
in tensor
parallelism, 97 % in concurrency."""

UNTESTED_ERROR = log(1.5) * ndtri(0.75) / ndtri(0.9)
"""The median error whose 80 % range reaches plus 50 %, for an untested model, precision, KV cache
type, engine version or family of GPU (the error on the published 8B points when predicted from the
70B: research, section 4.2)."""

RELATED_GPU_ERROR = 0.15
"""Median error of a curve on another GPU of its family: 5 to 16 % on the bundled groups
(`transfers`)."""


@dataclass(frozen=True)
class Scope:
    """The range of the true throughput around a serving curve at one operating point.

    low, high: factors on the curve's throughput, the 10th and 90th percentile of a log-normal
    distribution around 1. outside: the settings that were not measured. `doublings_outside`: the
    distance from what was measured, in doublings of concurrency, lengths and tensor parallelism.
    """

    low: float
    high: float
    outside: tuple[str, ...]
    doublings_outside: float
    why: str


def scope(
    curve: ServingCurve,
    heldout_error_share: float | None,
    concurrency: float,
    input_tokens: float,
    output_tokens: float,
    tensor_parallel: int,
    *,
    prior_error_share: float = 0.0,
    model: str | None = None,
    gpu: str | None = None,
    precision: str | None = None,
    engine_version: str | None = None,
    kv_value_bytes: float | None = None,
) -> Scope:
    """The range of true over predicted throughput, wider the farther from what was measured.

    Errors add as variances: on held-out configurations, per doubling outside the hull, and for each
    property that differs from the fitted one.

    curve: as fitted, for its own GPU. heldout_error_share: median absolute error, as
    `heldout_error` gives it; None where too few points could be held out, which counts as untested.
    prior_error_share: median error that the parameters drawn from the prior add
    (`within_prior`).
    model, gpu, precision, engine_version, kv_value_bytes: what will run; None: as the curve's.

    >>> from llmstudy.measures.capacity import fit_serving_curve, gpu, model_shape, serving_points
    >>> points = serving_points("meta-llama/Llama-3.1-70B", "h200_sxm", "fp8")
    >>> llama, h200 = model_shape("meta-llama/Llama-3.1-70B"), gpu("h200_sxm")
    >>> curve = fit_serving_curve(points, llama, h200, "fp8")
    >>> inside = scope(curve, 0.05, 32, 1024, 1024, 2)
    >>> round(inside.low, 2), round(inside.high, 2), inside.outside
    (0.91, 1.1, ())
    >>> far = scope(curve, 0.05, 256, 1024, 1024, 2, kv_value_bytes=1.0)
    >>> round(far.low, 2), round(far.high, 2), far.outside
    (0.6, 1.67, ('concurrency', 'kv_value_bytes'))
    """
    where = (concurrency, input_tokens, output_tokens, tensor_parallel)
    of_curve = {
        "model": curve.shape.model,
        "gpu": curve.gpu.gpu,
        "precision": curve.precision,
        "engine_version": curve.engine_version,
        "kv_value_bytes": curve.kv_value_bytes,
    }
    to_run = {
        "model": model,
        "gpu": gpu,
        "precision": precision,
        "engine_version": engine_version,
        "kv_value_bytes": kv_value_bytes,
    }
    other = tuple(n for n, value in to_run.items() if value is not None and value != of_curve[n])
    doublings = curve.hull.doublings_outside(*where)
    errors = [UNTESTED_ERROR if heldout_error_share is None else heldout_error_share]
    errors += [ERROR_PER_DOUBLING * doublings, prior_error_share]
    related = gpu is not None and gpu_family(gpu) == gpu_family(curve.gpu.gpu)
    errors += [RELATED_GPU_ERROR if n == "gpu" and related else UNTESTED_ERROR for n in other]
    reach = sqrt(sum(error**2 for error in errors)) * ndtri(0.9) / ndtri(0.75)
    outside = (*curve.hull.outside(*where), *other)
    return Scope(
        low=exp(-reach),
        high=exp(reach),
        outside=outside,
        doublings_outside=doublings,
        why=_why(heldout_error_share, outside, doublings),
    )


def _why(error: float | None, outside: tuple[str, ...], doublings: float) -> str:
    """The reason for the range, in words for the memo."""
    held_out = (
        "too few points to hold any out"
        if error is None
        else f"held-out error of the serving curve, median {error:.1%}"
    )
    if not outside:
        return held_out
    names = ", ".join(outside)
    return f"{held_out}; not measured: {names} ({doublings:.1f} doublings outside), so wider"

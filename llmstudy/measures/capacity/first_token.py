"""Time to first token of an engine under load, fitted to measurements.

A serving curve gives only a lower bound: the time to prefill one prompt alone. Measured times are
longer, since prompts wait for each other and for the engine's other work. They follow a power of
the intake time, a power of the requests outstanding, the share of time that the engine spends on
other prompts, and a factor for each engine. Intake time is the prefill on the GPUs plus a cost per
token on the host (HTTP, tokenising, scheduling), which more GPUs do not reduce and which dominates
for small models.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from llmstudy.figure import FloatArray
from llmstudy.measures.capacity.curve import ServingCurve
from llmstudy.measures.capacity.fit import configuration, usable_points

INTAKE_POWER = 0.65
LOAD_POWER = 0.31
HOST_S_PER_TOKEN = 8e-6
"""Fitted by least squares of log TTFT to all bundled points, with a constant for each group. Fitted
without a group, they predict it as well as with it."""

_LEAST_SPREAD = (0.83, 1.3)
"""P10 and P90 of measured over predicted TTFT on all bundled points: the narrowest range used."""


@dataclass(frozen=True)
class FirstToken:
    """TTFT of one engine: `scale` (intake time)^0.65 times `waiting`.

    scale: seconds^0.35. low, high: P10 and P90 of measured over predicted.
    """

    scale: float
    low: float
    high: float

    def alone_s(
        self,
        curve: ServingCurve,
        input_tokens: npt.ArrayLike,
        tensor_parallel: npt.ArrayLike,
        cached_share: npt.ArrayLike = 0.0,
    ) -> FloatArray:
        """TTFT of a request on an idle replica. Arrays broadcast."""
        reading_s = curve.prefill_s(input_tokens, tensor_parallel, cached_share)
        intake_s = reading_s + HOST_S_PER_TOKEN * np.asarray(input_tokens, dtype=float)
        return np.asarray(self.scale * intake_s**INTAKE_POWER)

    def under_load_s(self, curve: ServingCurve, points: pd.DataFrame) -> FloatArray:
        """TTFT at each point's concurrency, (n,). points: columns as SETTING."""
        where = configuration(points)
        alone_s = self.alone_s(curve, where["input_tokens"], where["tensor_parallel"])
        outstanding = where.pop("concurrency")
        return np.asarray(alone_s * waiting(outstanding, reading_per_step(curve, **where)))

    def times(self, factor: float) -> "FirstToken":
        """The same with every TTFT multiplied by a factor."""
        return replace(self, scale=self.scale * factor)


def reading_per_step(
    curve: ServingCurve,
    input_tokens: npt.ArrayLike,
    output_tokens: npt.ArrayLike,
    tensor_parallel: npt.ArrayLike,
    cached_share: npt.ArrayLike = 0.0,
) -> FloatArray:
    """Share of a step's time that reading the prompt of one other request takes.

    A prompt is read once per as many steps as its answer has tokens. The step is that of a single
    request.
    """
    reading_s = curve.prefill_s(input_tokens, tensor_parallel, cached_share)
    step_s = curve.decode_step_s(1, input_tokens, output_tokens, tensor_parallel)
    return np.asarray(reading_s / (np.asarray(output_tokens, dtype=float) * step_s))


def waiting(outstanding: npt.ArrayLike, reading_per_step: npt.ArrayLike) -> FloatArray:
    """TTFT under load over TTFT on an idle replica. Arrays broadcast.

    outstanding^0.31 (1 + share of time spent on other prompts). The share is smaller with long
    answers, since prompts then arrive rarely.

    >>> waiting([1, 64, 64], [0.01, 0.0, 0.01]).round(2).tolist()
    [1.0, 3.63, 5.03]
    """
    requests = np.asarray(outstanding, dtype=float)
    others = np.maximum(requests - 1, 0) * np.asarray(reading_per_step)
    return np.asarray(requests**LOAD_POWER * (1 + others / (1 + others)))


def fit_first_token(curve: ServingCurve, points: pd.DataFrame) -> FirstToken:
    """Fits TTFT to the points of one engine.

    curve: of the same engine. points: as `serving_points`, or their usable ones.

    >>> from llmstudy.measures.capacity import fit_serving_curve, gpu, model_shape, serving_points
    >>> points = serving_points("meta-llama/Llama-3.1-70B", "h200_sxm", "fp8")
    >>> llama, h200 = model_shape("meta-llama/Llama-3.1-70B"), gpu("h200_sxm")
    >>> curve = fit_serving_curve(points, llama, h200, "fp8")
    >>> first = fit_first_token(curve, points)
    >>> beside = waiting(64, reading_per_step(curve, 1155, 211, 2))
    >>> float((first.alone_s(curve, 1155, 2) * beside).round(2))
    0.58
    """
    used = usable_points(points, curve.shape, curve.gpu, curve.precision, curve.kv_value_bytes)
    unscaled_s = FirstToken(1.0, 1.0, 1.0).under_load_s(curve, used)
    log_scales = np.log(used["ttft_ms"].to_numpy() / 1e3 / unscaled_s)
    middle = float(np.median(log_scales))
    low, high = np.exp(np.quantile(log_scales - middle, [0.1, 0.9]))
    return FirstToken(
        scale=float(f"{np.exp(middle):.6g}"),
        low=float(min(low, _LEAST_SPREAD[0])),
        high=float(max(high, _LEAST_SPREAD[1])),
    )

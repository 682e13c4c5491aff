"""Chooses the few configurations to measure that determine all others best.

The choice needs no measurements: the prior of an engine's parameters shows where a measurement
reduces the uncertainty most.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit, logit

from llmstudy.figure import FloatArray, first_least
from llmstudy.measures.capacity.curve import Hull, ServingCurve
from llmstudy.measures.capacity.hardware import Gpu, ModelShape

PARAMETERS = ("bandwidth_efficiency", "flop_efficiency", "step_overhead_s", "tp_overhead_s")
"""The fitted parameters of a serving curve, in the order of every array of parameters."""


@dataclass(frozen=True)
class Prior:
    """The prior of an engine's parameters, from the groups measured so far.

    centre: values of PARAMETERS for a dense model of 60 layers; overheads grow with the number of
    layers, each of which launches kernels and an all-reduce. spread: one standard deviation between
    groups, of the log odds of an efficiency and of the logarithm of an overhead, so that
    efficiencies stay in (0, 1) and overheads above 0. experts_flop_efficiency: the centre for a
    mixture of experts, whose small matrix products use the arithmetic less.
    """

    centre: tuple[float, ...]
    spread: tuple[float, ...]
    experts_flop_efficiency: float

    def parameters(self, shape: ModelShape, spreads: npt.ArrayLike = 0.0) -> dict[str, Any]:
        """A model's parameters at `spreads` from the centre: one number, or one per parameter."""
        at = to_unbounded(self._centre(shape)) + np.asarray(self.spread) * np.asarray(spreads)
        return dict(zip(PARAMETERS, from_unbounded(at).tolist(), strict=True))

    def spreads(self, curve: ServingCurve) -> FloatArray:
        """Distance of each parameter of a curve from the centre, in spreads, (4,)."""
        parameters = to_unbounded(np.array([getattr(curve, name) for name in PARAMETERS]))
        return np.asarray((parameters - to_unbounded(self._centre(curve.shape))) / self.spread)

    def _centre(self, shape: ModelShape) -> FloatArray:
        bandwidth, flops, step_s, tp_s = self.centre
        flops = self.experts_flop_efficiency if shape.experts else flops
        of_60 = shape.layers / 60
        return np.array([bandwidth, flops, step_s * of_60, tp_s * of_60])


def to_unbounded(parameters: FloatArray) -> FloatArray:
    """Log odds of the efficiencies, logarithms of the overheads. (..., 4) -> (..., 4)."""
    shares, overheads = parameters[..., :2], parameters[..., 2:]
    return np.concatenate([logit(shares), np.log(overheads)], axis=-1)


def from_unbounded(values: FloatArray) -> FloatArray:
    """The inverse of `to_unbounded`."""
    return np.concatenate([expit(values[..., :2]), np.exp(values[..., 2:])], axis=-1)


PRIOR = Prior(
    centre=(0.78, 0.47, 0.0024, 0.00036),
    spread=(0.93, 0.45, 1.4, 1.2),
    experts_flop_efficiency=0.18,
)
"""An engine before any measurement: mean and spread of the curves of the bundled points (a test
derives both). In a fit it is so weak (`PRIOR_WEIGHT`) that a few points outweigh it: it only
settles what they leave open, such as the overhead per doubling of GPUs when all have one tensor
parallelism."""

PRIOR_WEIGHT = 0.02
"""Residual of log TPOT that counts as much as a parameter one spread from the prior."""

SETTING = ["concurrency", "input_tokens", "output_tokens", "tensor_parallel"]
"""Arguments of `ServingCurve.tpot_s`, in their order."""

# Of TPOT: the noise of a measurement, how far the truth strays from any such curve, and over how
# many doublings of a setting it strays the same way. Assumed: about what the bundled points show.
NOISE_SHARE = 0.05
_MISFIT_SHARE = 0.1
_MISFIT_DOUBLINGS = 2.0

_STEP_SPREADS = 1e-5  # of a numerical slope


def guessed_curve(
    shape: ModelShape, gpu: Gpu, precision: str, engine_version: str, kv_value_bytes: float = 2.0
) -> ServingCurve:
    """A serving curve at the centre of `PRIOR`: to plan measurements with, never to be quoted."""
    return ServingCurve(
        shape=shape,
        gpu=gpu,
        precision=precision,
        kv_value_bytes=kv_value_bytes,
        engine_version=engine_version,
        **PRIOR.parameters(shape),
        n_fit=0,
        residual_share=float("nan"),
        hull=Hull({}, ()),
    )


def one_spread_better(curve: ServingCurve, name: str) -> ServingCurve:
    """The curve with one parameter moved by one spread of `PRIOR` towards more throughput."""
    is_it = np.array(PARAMETERS) == name
    sign = 1 if name.endswith("_efficiency") else -1
    return replace(curve, **PRIOR.parameters(curve.shape, PRIOR.spreads(curve) + sign * is_it))


def choose_points(
    curve: ServingCurve,
    candidates: pd.DataFrame,
    n_points: int,
    seed: int,
    prior: Prior = PRIOR,
) -> npt.NDArray[np.int64]:
    """Chooses the candidates whose measurement determines TPOT best over all candidates.

    Greedily: each is the candidate that leaves the least variance of log TPOT, averaged over all
    candidates, given the uncertainty of the parameters in `PRIOR` and a smooth Gaussian process for
    the misfit of the curve. Without the misfit the design would measure only at the corners.

    On the bundled points, against configurations chosen at random and judged on the same others:
    4.4 % against 4.7 % from 8 points, 4.5 % against 6.0 % from 5 (median of the groups' medians).

    curve: of the engine, such as `guessed_curve` before any measurement.
    candidates: columns as SETTING; their order does not matter. seed: decides between equals.
    Returns: positions in `candidates`, best first; the first k are the choice of k.
    Raises: ValueError with more points than candidates.
    Source: Sacks, Welch, Mitchell & Wynn (1989), Statistical Science 4:409-423, section 5
    (integrated mean squared error); Kennedy & O'Hagan (2001), JRSS B 63:425-464, for the misfit.

    >>> from llmstudy.measures.capacity import gpu, model_shape
    >>> guess = guessed_curve(model_shape("Qwen/Qwen3-32B"), gpu("h100_sxm"), "bf16", "0.12.0")
    >>> ladder = pd.DataFrame([(2**k, 1024, 1024, 2) for k in range(8)], columns=SETTING)
    >>> ladder["concurrency"].to_numpy()[choose_points(guess, ladder, 3, seed=0)].tolist()
    [8, 64, 1]
    """
    if n_points > len(candidates):
        raise ValueError(f"{n_points} points of {len(candidates)} candidates: choose fewer points")
    slopes = log_tpot_slopes(curve, candidates, prior)
    at = np.log2(candidates[SETTING].to_numpy(dtype=float))
    apart = ((at[:, None] - at) ** 2).sum(axis=2) / _MISFIT_DOUBLINGS**2
    unknown = slopes @ slopes.T + _MISFIT_SHARE**2 * np.exp(-apart / 2)
    shuffled = np.random.default_rng(seed).permutation(len(candidates))
    chosen: list[int] = []
    for _ in range(n_points):
        measured = np.diag(unknown) + NOISE_SHARE**2
        gain = (unknown**2).sum(axis=0) / measured
        gain[chosen] = -1.0
        best = int(shuffled[first_least(-gain[shuffled])])  # the seed decides between equals
        unknown = unknown - np.outer(unknown[best], unknown[best]) / measured[best]
        chosen.append(best)
    return np.array(chosen, dtype=np.int64)


def log_tpot_slopes(
    curve: ServingCurve, points: pd.DataFrame | Mapping[str, FloatArray], prior: Prior = PRIOR
) -> FloatArray:
    """Change of log TPOT per spread of each parameter of the prior, at the curve.

    points: columns as SETTING. Returns: shape (points, 4).
    """
    where = [np.asarray(points[name], dtype=float) for name in SETTING]
    moves = _STEP_SPREADS * np.eye(len(PARAMETERS))
    at = to_unbounded(np.array([getattr(curve, name) for name in PARAMETERS]))
    ends = from_unbounded(at + np.asarray(prior.spread) * np.vstack([moves, -moves]))
    # one curve per row of ends: each parameter is a column, which broadcasts against the points
    moved: dict[str, Any] = dict(zip(PARAMETERS, ends.T[:, :, None], strict=True))
    higher, lower = np.split(np.log(replace(curve, **moved).tpot_s(*where)), 2)
    return np.asarray((higher - lower).T / (2 * _STEP_SPREADS))

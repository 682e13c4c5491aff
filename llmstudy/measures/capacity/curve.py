"""The serving curve: time per output token, throughput and room for KV cache.

A serving curve is a roofline with four parameters: the shares of memory bandwidth and of
arithmetic that the engine attains, and two overheads per step. `fit` finds them.

For TTFT it gives only a lower bound, the time to prefill one prompt on an idle replica;
`first_token` is fitted to measured TTFT.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from llmstudy.figure import FloatArray
from llmstudy.measures.capacity.hardware import Gpu, ModelShape, bytes_per_weight

MEMORY_UTILISATION_SHARE = 0.92
"""The share of GPU memory that vLLM 0.22 and later takes (`gpu_memory_utilization`)."""

ENGINE_OVERHEAD_BYTES = 3.5e9
"""Per GPU: CUDA context, captured graphs and activations. Assumed; see vLLM's start-up log."""


@dataclass(frozen=True)
class Hull:
    """The range of the measured settings: the curve interpolates inside and extrapolates outside.

    concurrency_by_size: lowest and highest concurrency per tensor-parallel size. lengths: measured
    (input, output) token pairs on any size, since lengths carry over between sizes: the error on a
    pair left out on one size is 6.0 %, on configurations left out at random 4.6 % (median of the
    medians of 15 bundled groups).
    """

    concurrency_by_size: Mapping[int, tuple[int, int]]
    lengths: tuple[tuple[int, int], ...]

    @property
    def concurrency(self) -> tuple[int, int]:
        """The lowest and highest concurrency measured on any size."""
        lows, highs = zip(*self.concurrency_by_size.values(), strict=True)
        return min(lows), max(highs)

    def concurrency_at(self, tensor_parallel: int) -> tuple[int, int]:
        """The lowest and highest concurrency on this size, or on any if this was not measured."""
        return self.concurrency_by_size.get(tensor_parallel, self.concurrency)

    def outside(
        self, concurrency: float, input_tokens: float, output_tokens: float, tensor_parallel: int
    ) -> tuple[str, ...]:
        """Names of the settings that lie outside what was measured.

        Lengths are inside if they lie in the convex hull of the measured pairs, in logarithms. Both
        are named if each is in its range but the pair is outside.

        >>> hull = Hull({1: (4, 32), 2: (8, 64)}, ((1024, 1024), (1024, 8192), (8192, 1024)))
        >>> hull.outside(concurrency=48, input_tokens=1155, output_tokens=211, tensor_parallel=1)
        ('concurrency', 'output_tokens')
        >>> hull.outside(concurrency=48, input_tokens=6000, output_tokens=6000, tensor_parallel=2)
        ('input_tokens', 'output_tokens')
        """
        low, high = self.concurrency_at(tensor_parallel)
        pairs, pair = np.array(self.lengths), np.array([input_tokens, output_tokens])
        beyond = ~((pairs.min(axis=0) <= pair) & (pair <= pairs.max(axis=0)))
        if not beyond.any():
            beyond[:] = _distance(np.log(pair), np.log(pairs)) >= 1e-6
        is_outside = {
            "concurrency": not low <= concurrency <= high,
            "input_tokens": beyond[0],
            "output_tokens": beyond[1],
            "tensor_parallel": tensor_parallel not in self.concurrency_by_size,
        }
        return tuple(name for name, beyond_range in is_outside.items() if beyond_range)

    def doublings_outside(
        self, concurrency: float, input_tokens: float, output_tokens: float, tensor_parallel: int
    ) -> float:
        """Distance of an operating point from what was measured, in doublings of the settings.

        >>> hull = Hull({1: (4, 32), 2: (8, 64)}, ((1024, 1024), (1024, 8192), (8192, 1024)))
        >>> hull.doublings_outside(128, 1024, 4096, tensor_parallel=1)
        2.0
        >>> hull.doublings_outside(48, 2048, 256, tensor_parallel=4)  # doctest: +ELLIPSIS
        2.236...
        """
        low, high = self.concurrency_at(tensor_parallel)
        of_load = max(np.log2(low / concurrency), np.log2(concurrency / high), 0.0)
        sizes = np.array(list(self.concurrency_by_size))
        of_size = np.abs(np.log2(sizes / tensor_parallel)).min()
        of_lengths = _distance(
            np.log2([input_tokens, output_tokens]), np.log2(np.array(self.lengths, dtype=float))
        )
        return float(np.sqrt(of_load**2 + of_size**2 + of_lengths**2))


@dataclass(frozen=True)
class ServingCurve:
    """TPOT and throughput of one model on one GPU type under one engine version.

    concurrency: requests running at once on one replica, which has `tensor_parallel` GPUs.
    Arguments of the methods are arrays that broadcast; results have the broadcast shape.
    `residual_share` is the median absolute error of TPOT on the `n_fit` configurations fitted; the
    error elsewhere is `heldout_error`.
    """

    shape: ModelShape
    gpu: Gpu
    precision: str
    kv_value_bytes: float
    engine_version: str
    bandwidth_efficiency: float
    flop_efficiency: float
    step_overhead_s: float
    tp_overhead_s: float
    n_fit: int
    residual_share: float
    hull: Hull

    def decode_step_s(
        self,
        concurrency: npt.ArrayLike,
        input_tokens: npt.ArrayLike,
        output_tokens: npt.ArrayLike,
        tensor_parallel: npt.ArrayLike,
    ) -> FloatArray:
        """Seconds to write one token for each running request, with no prompt in between.

        The slower of reading (weights once, each cache at its mean length) and arithmetic, plus
        `overhead_s`. Source: roofline, Williams et al. (2009), CACM 52(4):65-76.
        """
        batch, gpus = (np.asarray(x, dtype=float) for x in (concurrency, tensor_parallel))
        context = np.asarray(input_tokens) + np.asarray(output_tokens) / 2
        weights = self.shape.params_read(batch) * bytes_per_weight(self.precision) / gpus
        cache = batch * self.shape.kv_cache_bytes(context, self.kv_value_bytes)
        cache = cache / self.shape.kv_shards(gpus)
        flops = 2 * self.shape.active_params * batch / gpus
        busy_s = np.maximum((weights + cache) / self.bytes_per_s, flops / self.flops_per_s)
        return np.asarray(busy_s + self.overhead_s(gpus))

    def prefill_s(
        self,
        input_tokens: npt.ArrayLike,
        tensor_parallel: npt.ArrayLike,
        cached_share: npt.ArrayLike = 0.0,
    ) -> FloatArray:
        """Seconds to read one prompt on an idle replica: a lower bound of TTFT.

        The prompt takes one step, with its overhead: without the overhead the error on the bundled
        groups is 5.0 % from 8 chosen points, with it 4.5 % (mean of the groups' medians).

        cached_share: the share of the prompt found in the prefix cache.
        """
        gpus = np.asarray(tensor_parallel, dtype=float)
        fresh = np.asarray(input_tokens, dtype=float) * (1 - np.asarray(cached_share, dtype=float))
        weights = self.shape.params_read(fresh) * bytes_per_weight(self.precision) / gpus
        flops = self.shape.prefill_flops(input_tokens, cached_share) / gpus
        busy_s = np.maximum(weights / self.bytes_per_s, flops / self.flops_per_s)
        return np.asarray(busy_s + self.overhead_s(gpus))

    def tpot_s(
        self,
        concurrency: npt.ArrayLike,
        input_tokens: npt.ArrayLike,
        output_tokens: npt.ArrayLike,
        tensor_parallel: npt.ArrayLike,
        cached_share: npt.ArrayLike = 0.0,
    ) -> FloatArray:
        """Seconds per output token under steady load: decode step plus others' prefill.

        While a request writes its output, each of the requests beside it is replaced once, and
        reading the new prompts stalls it. Source: Agrawal et al. (2024), arXiv 2403.02310,
        section 3, for the interference.

        >>> from llmstudy.measures.capacity import fit_serving_curve, serving_points
        >>> from llmstudy.measures.capacity import gpu, model_shape
        >>> points = serving_points("meta-llama/Llama-3.1-70B", "h200_sxm", "fp8")
        >>> llama, h200 = model_shape("meta-llama/Llama-3.1-70B"), gpu("h200_sxm")
        >>> curve = fit_serving_curve(points, llama, h200, "fp8")
        >>> (1e3 * curve.tpot_s([4, 16, 64], 1024, 1024, 2)).round().tolist()
        [13.0, 15.0, 23.0]
        """
        step_s = self.decode_step_s(concurrency, input_tokens, output_tokens, tensor_parallel)
        others = np.asarray(concurrency, dtype=float) - 1
        prompts = others / np.asarray(output_tokens, dtype=float)
        stall_s = prompts * self.prefill_s(input_tokens, tensor_parallel, cached_share)
        return np.asarray(step_s + stall_s)

    def max_requests_per_s(
        self,
        concurrency: npt.ArrayLike,
        input_tokens: npt.ArrayLike,
        output_tokens: npt.ArrayLike,
        tensor_parallel: npt.ArrayLike,
        cached_share: npt.ArrayLike = 0.0,
    ) -> FloatArray:
        """Highest throughput of one replica, when it is never idle.

        In N steps and C prefills each of the C running requests is replaced once, the step that
        gives a first token included: C / (N step + C prefill). By Little's law this is a TTFT of
        one prefill and one TPOT.
        """
        batch, output = (np.asarray(x, dtype=float) for x in (concurrency, output_tokens))
        step_s = self.decode_step_s(batch, input_tokens, output, tensor_parallel)
        prefill_s = self.prefill_s(input_tokens, tensor_parallel, cached_share)
        return np.asarray(batch / (output * step_s + batch * prefill_s))

    def output_tokens_per_s_per_gpu(
        self,
        concurrency: npt.ArrayLike,
        input_tokens: npt.ArrayLike,
        output_tokens: npt.ArrayLike,
        tensor_parallel: npt.ArrayLike,
        ttft_s: npt.ArrayLike,
    ) -> FloatArray:
        """Throughput at a measured TTFT, or an upper bound at a TTFT of `prefill_s`.

        Capped at `max_requests_per_s`, which the TTFT of an idle replica would exceed.
        """
        where = (concurrency, input_tokens, output_tokens, tensor_parallel)
        rate = requests_per_s(concurrency, output_tokens, ttft_s, self.tpot_s(*where))
        rate = np.minimum(rate, self.max_requests_per_s(*where))
        return np.asarray(rate * np.asarray(output_tokens) / np.asarray(tensor_parallel))

    def max_concurrency(
        self,
        input_tokens: npt.ArrayLike,
        output_tokens: npt.ArrayLike,
        tensor_parallel: npt.ArrayLike,
    ) -> npt.NDArray[np.int64]:
        """Requests whose whole KV cache fits beside the weights; 0 where the weights do not fit.

        Assumes that no prompts are shared: with a prefix cache more fit.
        """
        tokens = np.asarray(input_tokens, dtype=float) + np.asarray(output_tokens, dtype=float)
        gpus = np.asarray(tensor_parallel, dtype=float)
        sequence = self.shape.kv_cache_bytes(tokens, self.kv_value_bytes)
        per_gpu = sequence / self.shape.kv_shards(gpus)
        room = _free_bytes(self.shape, self.gpu, self.precision, gpus) / gpus
        return np.asarray(np.floor(np.maximum(room, 0) / per_gpu), dtype=np.int64)

    def overhead_s(self, tensor_parallel: npt.ArrayLike) -> FloatArray:
        """Overhead of a step beside memory and arithmetic: t0 + t1 log2(GPUs), in seconds.

        The logarithm is that of a tree of all-reduces. Terms that grow more slowly, such as a
        ring's 2 (G - 1) / G, predict MiniMax on eight H200 from four H100 better, but held-out
        points of most groups worse.
        """
        return np.asarray(self.step_overhead_s + self.tp_overhead_s * np.log2(tensor_parallel))

    @property
    def bytes_per_s(self) -> float:
        """Memory bandwidth that one GPU attains."""
        return self.bandwidth_efficiency * self.gpu.hbm_gb_per_s * 1e9

    @property
    def flops_per_s(self) -> float:
        """Arithmetic that one GPU attains, in operations per second."""
        return self.flop_efficiency * self.gpu.flops_per_s(self.precision)


def requests_per_s(
    concurrency: npt.ArrayLike,
    output_tokens: npt.ArrayLike,
    ttft_s: npt.ArrayLike,
    tpot_s: npt.ArrayLike,
) -> FloatArray:
    """Throughput of one replica that always runs `concurrency` requests. Arrays that broadcast.

    Source: Little (1961), Operations Research 9:383-387; a request lasts TTFT + TPOT (N - 1).

    >>> float(requests_per_s(64, 101, 1.0, 0.05).round(2))
    10.67
    """
    writing_s = np.asarray(tpot_s) * (np.asarray(output_tokens, dtype=float) - 1)
    return np.asarray(np.asarray(concurrency) / (np.asarray(ttft_s) + writing_s))


def _distance(point: FloatArray, corners: FloatArray) -> float:
    """Distance of the point (2,) from the convex hull of the corners (n, 2)."""
    strict = 1e3  # penalty on weights that do not sum to 1
    sides = np.vstack([corners.T, np.full(len(corners), strict)])
    weights, _ = nnls(sides, np.append(point, strict))
    return float(np.linalg.norm(corners.T @ (weights / weights.sum()) - point))


class CannotServe(ValueError):  # noqa: N818 - a finding, not a fault
    """A replica cannot serve the requests at all: a finding, not an error in the input."""


def gpu_fit(shape: ModelShape, gpu: Gpu, precision: str, tensor_parallel: int) -> float:
    """GiB left for KV cache over all GPUs of a replica once the weights are loaded.

    Raises: CannotServe when nothing is left.

    >>> from llmstudy.measures.capacity import gpu, model_shape
    >>> round(gpu_fit(model_shape("meta-llama/Llama-3.1-70B"), gpu("h100_sxm"), "fp8", 2), 1)
    74.9
    """
    free_gib = float(_free_bytes(shape, gpu, precision, np.float64(tensor_parallel))) / 2**30
    if free_gib <= 0:
        weights_gib = shape.total_params * bytes_per_weight(precision) / 2**30
        raise CannotServe(
            f"{shape.model} in {precision} takes {weights_gib:.0f} GiB and does not fit on "
            f"{tensor_parallel} x {gpu.gpu} ({gpu.memory_gib:g} GiB each): use more GPUs per "
            "replica or fewer bytes per weight"
        )
    return free_gib


def _free_bytes(shape: ModelShape, gpu: Gpu, precision: str, gpus: npt.ArrayLike) -> FloatArray:
    """Memory left for KV cache over all GPUs of a replica; negative when weights do not fit."""
    per_gpu = MEMORY_UTILISATION_SHARE * gpu.memory_gib * 2**30 - ENGINE_OVERHEAD_BYTES
    return np.asarray(per_gpu * np.asarray(gpus) - shape.total_params * bytes_per_weight(precision))

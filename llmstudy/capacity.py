"""How much traffic does one replica carry within its SLO, and how many replicas does that take?

A serving curve predicts TPOT from the model's shape, the GPU's data sheet and four parameters
fitted to a handful of measured points: the shares of memory bandwidth and of arithmetic that the
engine attains, and two overheads per step. Capacity, replicas and utilisation follow from it;
utilisation is an output, never an input.

TTFT is not predicted: the models tried on such points missed it by 22 to 77 %. It enters as
measured, or as its lower bound, the time to prefill one prompt on an idle replica.

Left out of the model: attention data parallelism, pipeline parallelism, speculative decoding, and
loads beyond the KV memory, where requests queue and are pre-empted. `usable_points` drops such
points and `flags` names the last kind.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import least_squares

from llmstudy import paths
from llmstudy.figure import FloatArray

BYTES_PER_WEIGHT = {"bf16": 2.0, "fp8": 1.0, "fp4": 0.5625, "int4": 0.5625}
"""With scales: NVFP4 keeps an 8-bit scale per 16 weights, INT4 a 16-bit scale per 32."""

MEMORY_UTILISATION_SHARE = 0.92
"""The share of GPU memory that vLLM 0.22 and later takes (`gpu_memory_utilization`)."""

ENGINE_OVERHEAD_BYTES = 3.5e9
"""Per GPU: CUDA context, captured graphs and activations. Assumed; read vLLM's start-up log."""

GROUP = ["model", "gpu", "precision", "engine_version"]
"""One serving curve each: parameters do not carry over from one engine version to the next."""

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
class ModelShape:
    """What a model's architecture says about bytes and arithmetic per token.

    Parameters are counts. A dense model has no experts and active equal to total parameters.
    `kv_lora_rank` above zero means multi-head latent attention. `sliding_layers` of the `layers`
    attend to the last `sliding_window` tokens only.
    """

    model: str
    total_params: float
    active_params: float
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    experts: int = 0
    experts_per_token: int = 0
    kv_lora_rank: int = 0
    qk_rope_head_dim: int = 0
    sliding_window: int = 0
    sliding_layers: int = 0

    def params_read(self, tokens: npt.ArrayLike) -> FloatArray:
        """Parameters that one step over so many tokens reads. tokens: any shape; returns the same.

        A mixture of experts reads its shared part and each expert that a token is routed to.
        Routing is taken as uniform and independent: skewed routing touches fewer.

        >>> gpt_oss = model_shape("openai/gpt-oss-120b")
        >>> (gpt_oss.params_read([1, 8, 64]) / 1e9).round(1).tolist()
        [5.1, 27.4, 101.7]
        """
        tokens = np.asarray(tokens, dtype=float)
        if not self.experts:
            return np.full(tokens.shape, self.total_params)
        idle_experts = self.experts - self.experts_per_token
        params_per_expert = (self.total_params - self.active_params) / idle_experts
        untouched = self.experts * (idle_experts / self.experts) ** tokens
        return np.asarray(self.total_params - params_per_expert * untouched)

    def kv_cache_bytes(self, context_tokens: npt.ArrayLike, value_bytes: float = 2.0) -> FloatArray:
        """Bytes of KV cache of one sequence. context_tokens: any shape; returns the same.

        value_bytes: 2 for a BF16 cache, 1 for FP8.
        Source: 2 x layers x KV heads x head size x bytes per token, Pope et al. (2022), arXiv
        2211.05102, section 2; DeepSeek-V2 (2024), arXiv 2405.04434, section 2.1, for latent
        attention.

        >>> float(model_shape("meta-llama/Llama-3.1-70B").kv_cache_bytes(1))
        327680.0
        """
        context = np.asarray(context_tokens, dtype=float)
        full_layers = self.layers - self.sliding_layers
        windowed = np.minimum(context, self.sliding_window)
        if self.kv_lora_rank:
            values_per_layer = self.kv_lora_rank + self.qk_rope_head_dim
        else:
            values_per_layer = 2 * self.kv_heads * self.head_dim
        layer_tokens = full_layers * context + self.sliding_layers * windowed
        return np.asarray(values_per_layer * value_bytes * layer_tokens)

    def kv_shards(self, tensor_parallel: npt.ArrayLike) -> FloatArray:
        """Over how many GPUs a sequence's cache is spread; beyond its KV heads it is copied."""
        shards = 1 if self.kv_lora_rank else self.kv_heads
        return np.asarray(np.minimum(np.asarray(tensor_parallel, dtype=float), shards))

    def prefill_flops(
        self, input_tokens: npt.ArrayLike, cached_share: npt.ArrayLike = 0.0
    ) -> FloatArray:
        """Operations to read one prompt, of which `cached_share` is already in the cache.

        Source: 2 per active parameter and token, Pope et al. (2022), section 2; causal attention
        4 x heads x head size per pair of tokens, half of all pairs.
        """
        tokens = np.asarray(input_tokens, dtype=float)
        cached = tokens * np.asarray(cached_share, dtype=float)
        pairs = (tokens**2 - cached**2) / 2
        windowed = np.minimum(pairs, self.sliding_window * (tokens - cached))
        layer_pairs = (self.layers - self.sliding_layers) * pairs + self.sliding_layers * windowed
        return np.asarray(
            2 * self.active_params * (tokens - cached)
            + 4 * self.heads * self.head_dim * layer_pairs
        )


@dataclass(frozen=True)
class Gpu:
    """One GPU's data sheet; rates are dense, None where the GPU has no such unit."""

    gpu: str
    memory_gib: float
    hbm_gb_per_s: float
    bf16_dense_tflops: float
    fp8_dense_tflops: float | None
    fp4_dense_tflops: float | None
    power_w: float

    def flops_per_s(self, precision: str) -> float:
        """Peak arithmetic for weights of this precision.

        Without a unit of its own, a precision is unpacked to BF16 before it is multiplied, as
        vLLM does for FP4 on Hopper, FP8 on Ampere and INT4 everywhere.

        >>> gpu("h100_sxm").flops_per_s("fp4") == gpu("h100_sxm").flops_per_s("bf16")
        True
        """
        bytes_per_weight(precision)
        own = {"fp8": self.fp8_dense_tflops, "fp4": self.fp4_dense_tflops}.get(precision)
        return (own or self.bf16_dense_tflops) * 1e12


@dataclass(frozen=True)
class Hull:
    """The lowest and highest value measured of each part of a configuration."""

    concurrency: tuple[int, int]
    input_tokens: tuple[int, int]
    output_tokens: tuple[int, int]
    tensor_parallel: tuple[int, int]

    def outside(self, **configuration: float) -> tuple[str, ...]:
        """Names of the parts that lie outside what was measured.

        >>> hull = Hull((4, 64), (1024, 8192), (1024, 8192), (1, 8))
        >>> hull.outside(concurrency=32, input_tokens=1155, output_tokens=211, tensor_parallel=1)
        ('output_tokens',)
        """
        bounds = {name: getattr(self, name) for name in configuration}
        return tuple(n for n, x in configuration.items() if not bounds[n][0] <= x <= bounds[n][1])


@dataclass(frozen=True)
class ServingCurve:
    """TPOT and throughput of one model on one GPU type under one engine version.

    concurrency counts the requests running at once on one replica, which spans `tensor_parallel`
    GPUs. Arguments of the methods are arrays that broadcast; returns have the shape they make.
    `residual_share` is the median absolute error of TPOT on the `n_fit` configurations fitted:
    what the curve misses elsewhere is `heldout_error`.
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
        t0 + t1 log2(GPUs). Source: roofline, Williams et al. (2009), CACM 52(4):65-76.
        """
        batch, gpus = (np.asarray(x, dtype=float) for x in (concurrency, tensor_parallel))
        context = np.asarray(input_tokens) + np.asarray(output_tokens) / 2
        weights = self.shape.params_read(batch) * bytes_per_weight(self.precision) / gpus
        cache = batch * self.shape.kv_cache_bytes(context, self.kv_value_bytes)
        cache = cache / self.shape.kv_shards(gpus)
        flops = 2 * self.shape.active_params * batch / gpus
        busy_s = np.maximum((weights + cache) / self._bytes_per_s, flops / self._flops_per_s)
        return np.asarray(busy_s + self.step_overhead_s + self.tp_overhead_s * np.log2(gpus))

    def prefill_s(
        self,
        input_tokens: npt.ArrayLike,
        tensor_parallel: npt.ArrayLike,
        cached_share: npt.ArrayLike = 0.0,
    ) -> FloatArray:
        """Seconds to read one prompt on an idle replica: a lower bound of TTFT.

        cached_share: the share of the prompt found in the prefix cache.
        """
        gpus = np.asarray(tensor_parallel, dtype=float)
        fresh = np.asarray(input_tokens, dtype=float) * (1 - np.asarray(cached_share, dtype=float))
        weights = self.shape.params_read(fresh) * bytes_per_weight(self.precision) / gpus
        flops = self.shape.prefill_flops(input_tokens, cached_share) / gpus
        busy_s = np.maximum(weights / self._bytes_per_s, flops / self._flops_per_s)
        return np.asarray(busy_s)

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

        >>> points = serving_points("meta-llama/Llama-3.1-70B", "h200_sxm", "fp8")
        >>> llama, h200 = model_shape("meta-llama/Llama-3.1-70B"), gpu("h200_sxm")
        >>> curve = fit_serving_curve(points, llama, h200, "fp8")
        >>> (1e3 * curve.tpot_s([4, 16, 64], 1024, 1024, 2)).round().tolist()
        [13.0, 15.0, 23.0]
        """
        step_s = self.decode_step_s(concurrency, input_tokens, output_tokens, tensor_parallel)
        prompts = np.asarray(concurrency, dtype=float) / np.asarray(output_tokens, dtype=float)
        stall_s = prompts * self.prefill_s(input_tokens, tensor_parallel, cached_share)
        return np.asarray(step_s + stall_s)

    def output_tokens_per_s_per_gpu(
        self,
        concurrency: npt.ArrayLike,
        input_tokens: npt.ArrayLike,
        output_tokens: npt.ArrayLike,
        tensor_parallel: npt.ArrayLike,
        ttft_s: npt.ArrayLike,
    ) -> FloatArray:
        """Throughput at a TTFT that was measured, or at `prefill_s` for an upper bound."""
        tpot_s = self.tpot_s(concurrency, input_tokens, output_tokens, tensor_parallel)
        rate = requests_per_s(concurrency, output_tokens, ttft_s, tpot_s)
        return np.asarray(rate * np.asarray(output_tokens) / np.asarray(tensor_parallel))

    def max_concurrency(
        self,
        input_tokens: npt.ArrayLike,
        output_tokens: npt.ArrayLike,
        tensor_parallel: npt.ArrayLike,
    ) -> npt.NDArray[np.int64]:
        """Requests whose whole KV cache fits beside the weights; 0 where the weights do not fit.

        Prompts are taken as unshared: a prefix cache makes room for more.
        """
        tokens = np.asarray(input_tokens, dtype=float) + np.asarray(output_tokens, dtype=float)
        gpus = np.asarray(tensor_parallel, dtype=float)
        sequence = self.shape.kv_cache_bytes(tokens, self.kv_value_bytes)
        per_gpu = sequence / self.shape.kv_shards(gpus)
        room = _free_bytes(self.shape, self.gpu, self.precision, gpus) / gpus
        return np.asarray(np.floor(np.maximum(room, 0) / per_gpu), dtype=np.int64)

    @property
    def _bytes_per_s(self) -> float:
        return self.bandwidth_efficiency * self.gpu.hbm_gb_per_s * 1e9

    @property
    def _flops_per_s(self) -> float:
        return self.flop_efficiency * self.gpu.flops_per_s(self.precision)


@dataclass(frozen=True)
class HeldOut:
    """Error of throughput on configurations that the fit did not see, over repeated splits."""

    n_fit: int
    n_heldout: int
    repeats: int
    median_abs_error_share: float
    max_abs_error_share: float


@dataclass(frozen=True)
class Capacity:
    """The most that one replica carries within its SLO.

    `ttft_lower_bound_s` is the time to read one prompt on an idle replica: measured TTFT is higher,
    so `requests_per_s` is somewhat high (in the median by 0 to 4 % on each bundled group).
    `limited_by`: tpot (the SLO), kv_memory, or hull (no higher concurrency was measured).
    `outside` names what lies outside the measured range; then the figure is extrapolated.
    """

    concurrency: int
    requests_per_s: float
    output_tokens_per_s: float
    tpot_s: float
    ttft_lower_bound_s: float
    limited_by: Literal["tpot", "kv_memory", "hull"]
    inside_hull: bool
    outside: tuple[str, ...]


def bytes_per_weight(precision: str) -> float:
    """Bytes that a stored weight takes, its scale included.

    >>> bytes_per_weight("fp8")
    1.0
    """
    if precision not in BYTES_PER_WEIGHT:
        raise ValueError(
            f"unknown precision {precision!r}: write one of {', '.join(BYTES_PER_WEIGHT)}"
        )
    return BYTES_PER_WEIGHT[precision]


def model_shape(name: str) -> ModelShape:
    """A model of `data/model_shapes.csv`, by its name there.

    >>> model_shape("openai/gpt-oss-120b").experts
    128
    """
    row = _row("model_shapes.csv", "model", name)
    counts = ["layers", "heads", "kv_heads", "head_dim", "experts", "experts_per_token"]
    counts += ["kv_lora_rank", "qk_rope_head_dim", "sliding_window", "sliding_layers"]
    return ModelShape(
        model=name,
        total_params=row["total_params_b"] * 1e9,
        active_params=row["active_params_b"] * 1e9,
        **{key: int(row[key] or 0) for key in counts},
    )


def gpu(name: str) -> Gpu:
    """A GPU of `data/gpu_specs.csv`, by its name there.

    >>> gpu("h200_sxm").hbm_gb_per_s
    4800
    """
    row = _row("gpu_specs.csv", "gpu", name)
    return Gpu(**{key: row[key] for key in Gpu.__dataclass_fields__})


def serving_points(
    model: str | None = None,
    gpu: str | None = None,
    precision: str | None = None,
    engine_version: str | None = None,
) -> pd.DataFrame:
    """Published vLLM measurements, one row per point: `data/vllm_serving_points.csv`.

    Columns: model, gpu, engine, engine_version ("not recorded" where the source has none),
    precision, gemm_quant, input_tokens, output_tokens, concurrency, tensor_parallel, attention_dp
    (empty: not recorded), moe_ep, ttft_ms, tpot_ms, measured, point_id, source, licence.
    KV cache type, prefix caching and arrival process were not recorded.

    Raises: ValueError when nothing matches, with what there is.

    >>> len(serving_points("meta-llama/Llama-3.1-70B", gpu="h100_sxm"))
    17
    """
    points = pd.read_csv(paths.data("vllm_serving_points.csv"), dtype={"attention_dp": "Int64"})
    wanted = dict(zip(GROUP, (model, gpu, precision, engine_version), strict=True))
    asked = {column: value for column, value in wanted.items() if value is not None}
    match = points[(points[list(asked)] == list(asked.values())).all(axis=1)]
    if match.empty:
        known = points[GROUP].drop_duplicates().agg(" ".join, axis=1)
        raise ValueError(
            f"no serving points for {' '.join(asked.values())}; there are: {'; '.join(known)}"
        )
    return match.reset_index(drop=True)


def published_throughput() -> pd.DataFrame:
    """MLPerf Inference v5.1 results, tuned by vendors for the contest: upper bounds.

    Columns: model, gpu, scenario, output_tokens_per_s_per_gpu, engine, ttft_p99_limit_ms,
    tpot_p99_limit_ms, source, licence.
    """
    return pd.read_csv(paths.data("mlperf_v5_1.csv"))


def requests_per_s(
    concurrency: npt.ArrayLike,
    output_tokens: npt.ArrayLike,
    ttft_s: npt.ArrayLike,
    tpot_s: npt.ArrayLike,
) -> FloatArray:
    """Throughput of one replica that always runs so many requests. Arrays that broadcast.

    Source: Little (1961), Operations Research 9:383-387; a request lasts TTFT + TPOT (N - 1).

    >>> float(requests_per_s(64, 101, 1.0, 0.05).round(2))
    10.67
    """
    writing_s = np.asarray(tpot_s) * (np.asarray(output_tokens, dtype=float) - 1)
    return np.asarray(np.asarray(concurrency) / (np.asarray(ttft_s) + writing_s))


def gpu_fit(shape: ModelShape, gpu: Gpu, precision: str, tensor_parallel: int) -> float:
    """GiB left for KV cache over all GPUs of a replica once the weights are loaded.

    Raises: ValueError when nothing is left.

    >>> round(gpu_fit(model_shape("meta-llama/Llama-3.1-70B"), gpu("h100_sxm"), "fp8", 2), 1)
    74.9
    """
    free_gib = float(_free_bytes(shape, gpu, precision, np.float64(tensor_parallel))) / 2**30
    if free_gib <= 0:
        weights_gib = shape.total_params * bytes_per_weight(precision) / 2**30
        raise ValueError(
            f"{shape.model} in {precision} takes {weights_gib:.0f} GiB and does not fit on "
            f"{tensor_parallel} x {gpu.gpu} ({gpu.memory_gib:g} GiB each): use more GPUs per "
            "replica or fewer bytes per weight"
        )
    return free_gib


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
    holds (queueing and pre-emption). Repeats are pooled by their geometric mean. Columns: those of
    GROUP and CONFIGURATION, ttft_ms, tpot_ms, attention_dp (1): again serving points.
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
    (0.65, 37)
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


def capacity_at_slo(
    curve: ServingCurve,
    input_tokens: float,
    output_tokens: float,
    tpot_slo_s: float,
    tensor_parallel: int,
    ttft_slo_s: float | None = None,
) -> Capacity:
    """The highest concurrency whose TPOT meets the SLO, and the load that one replica then carries.

    Never above the highest concurrency measured, nor above the KV memory. The SLO is held against
    mean TPOT; its percentiles are higher. TTFT is only bounded below: a `ttft_slo_s` that prefill
    alone exceeds is refused, one that it meets is not promised.
    Raises: ValueError when weights or one request do not fit, or one request alone misses the SLO.

    >>> points = serving_points("meta-llama/Llama-3.1-70B", "h200_sxm", "fp8")
    >>> llama, h200 = model_shape("meta-llama/Llama-3.1-70B"), gpu("h200_sxm")
    >>> curve = fit_serving_curve(points, llama, h200, "fp8")
    >>> found = capacity_at_slo(curve, 1024, 1024, tpot_slo_s=0.02, tensor_parallel=2)
    >>> found.concurrency, found.limited_by, found.inside_hull
    (47, 'tpot', True)
    """
    gpu_fit(curve.shape, curve.gpu, curve.precision, tensor_parallel)
    where = f"{curve.shape.model} on {tensor_parallel} x {curve.gpu.gpu}"
    fits = int(curve.max_concurrency(input_tokens, output_tokens, tensor_parallel))
    if fits < 1:
        raise ValueError(
            f"{where}: the KV cache of one request of {input_tokens + output_tokens:g} tokens does "
            "not fit beside the weights; use more GPUs per replica or an FP8 cache"
        )
    measured = curve.hull.concurrency[1]
    batches = np.arange(1, min(fits, measured) + 1)
    tpot_s = curve.tpot_s(batches, input_tokens, output_tokens, tensor_parallel)
    if tpot_s[0] > tpot_slo_s:
        raise ValueError(
            f"{where}: one request alone has a TPOT of {1e3 * tpot_s[0]:.1f} ms, above the SLO of "
            f"{1e3 * tpot_slo_s:.1f} ms; loosen it, or use more or faster GPUs per replica"
        )
    ttft_s = float(curve.prefill_s(input_tokens, tensor_parallel))
    if ttft_slo_s is not None and ttft_s > ttft_slo_s:
        raise ValueError(
            f"{where}: reading a prompt of {input_tokens:g} tokens takes {1e3 * ttft_s:.0f} ms "
            f"alone, above the TTFT SLO of {1e3 * ttft_slo_s:.0f} ms; loosen it, shorten the "
            "prompt, or use more GPUs per replica"
        )
    best = int(np.count_nonzero(tpot_s <= tpot_slo_s))  # TPOT never falls with concurrency
    rate = float(requests_per_s(best, output_tokens, ttft_s, tpot_s[best - 1]))
    outside = curve.hull.outside(
        concurrency=best,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        tensor_parallel=tensor_parallel,
    )
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

    target_utilisation: share of capacity in the peak window, in (0, 1]; what is left absorbs bursts
    inside the window. spare: replicas beyond need (N + 1). minimum: least number that runs.

    >>> replicas([0.0, 10.0, 90.0], 22.7, 0.7).tolist()
    [2, 2, 7]
    """
    peak, capacity, target = (
        np.asarray(x, dtype=float)
        for x in (peak_requests_per_s, capacity_requests_per_s, target_utilisation)
    )
    if (peak < 0).any() or (capacity <= 0).any():
        raise ValueError(
            "replicas: the peak must be at least 0 and the capacity above 0 requests/s"
        )
    if ((target <= 0) | (target > 1)).any():
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


def flags(points: pd.DataFrame) -> pd.DataFrame:
    """Points to doubt before fitting: one row per point and reason. Columns: point_id, flag.

    TPOT below the roofline (with a BF16 cache and uniform routing); more requests than the memory
    holds; repeats more than 50 % apart; a higher TPOT than the same configuration shows under more
    load. Nothing is dropped here.

    points: as `serving_points`, any number of groups.
    """
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
    spans = {name: points[name] for name in Hull.__dataclass_fields__}
    return Hull(**{name: (int(x.min()), int(x.max())) for name, x in spans.items()})


def _configuration(points: pd.DataFrame) -> dict[str, FloatArray]:
    """The arguments of `ServingCurve.tpot_s`, one value per point."""
    return {name: points[name].to_numpy(dtype=float) for name in Hull.__dataclass_fields__}


def _free_bytes(shape: ModelShape, gpu: Gpu, precision: str, gpus: npt.ArrayLike) -> FloatArray:
    """Memory left for KV cache over all GPUs of a replica; negative when weights do not fit."""
    per_gpu = MEMORY_UTILISATION_SHARE * gpu.memory_gib * 2**30 - ENGINE_OVERHEAD_BYTES
    return np.asarray(per_gpu * np.asarray(gpus) - shape.total_params * bytes_per_weight(precision))


def _row(file: str, column: str, name: str) -> dict[str, Any]:
    """The row of a bundled table that bears this name, its empty cells as None."""
    rows = pd.read_csv(paths.data(file)).to_dict("records")
    found = {row[column]: row for row in rows}
    if name not in found:
        raise ValueError(
            f"no {column} {name!r} in data/{file}; it has {', '.join(found)}: "
            "use one of these or add a row with its source"
        )
    return {str(key): None if pd.isna(value) else value for key, value in found[name].items()}

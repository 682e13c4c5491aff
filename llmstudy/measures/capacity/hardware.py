"""Shapes of models, data sheets of GPUs, and measurements of vLLM, from bundled tables.

Bytes and arithmetic per token follow from a model's architecture; nothing here is fitted.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from llmstudy import paths
from llmstudy.figure import FloatArray

BYTES_PER_WEIGHT = {"bf16": 2.0, "fp8": 1.0, "fp4": 0.5625, "int4": 0.5625}
"""Scales included: NVFP4 has an 8-bit scale per 16 weights, INT4 a 16-bit scale per 32."""

GROUP = ["model", "gpu", "precision", "engine_version"]
"""Columns of which each combination has its own serving curve."""


@dataclass(frozen=True)
class ModelShape:
    """A model's architecture, from which bytes and arithmetic per token follow.

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
        """Parameters that one step over `tokens` reads. tokens: any shape; returns the same.

        A mixture of experts reads its shared part and each expert that a token is routed to, with
        uniform and independent routing; skewed routing would read fewer.

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
        """GPUs that a sequence's cache is split over; beyond its KV heads it is copied."""
        shards = 1 if self.kv_lora_rank else self.kv_heads
        return np.asarray(np.minimum(np.asarray(tensor_parallel, dtype=float), shards))

    def prefill_flops(
        self, input_tokens: npt.ArrayLike, cached_share: npt.ArrayLike = 0.0
    ) -> FloatArray:
        """Floating-point operations to read one prompt, of which `cached_share` is in the cache.

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
    """The data sheet of a GPU; rates are dense, None if the GPU lacks such a unit."""

    gpu: str
    memory_gib: float
    hbm_gb_per_s: float
    bf16_dense_tflops: float
    fp8_dense_tflops: float | None
    fp4_dense_tflops: float | None
    power_w: float

    def flops_per_s(self, precision: str) -> float:
        """Peak operations per second for weights of this precision.

        Weights of a precision without arithmetic units are converted to BF16 first, as vLLM does
        for FP4 on Hopper, FP8 on Ampere and INT4 everywhere.

        >>> gpu("h100_sxm").flops_per_s("fp4") == gpu("h100_sxm").flops_per_s("bf16")
        True
        """
        bytes_per_weight(precision)
        native = {"fp8": self.fp8_dense_tflops, "fp4": self.fp4_dense_tflops}.get(precision)
        return (native or self.bf16_dense_tflops) * 1e12


def bytes_per_weight(precision: str) -> float:
    """Bytes per stored weight, scales included. Raises: ValueError for an unknown precision.

    >>> bytes_per_weight("fp8")
    1.0
    """
    if precision not in BYTES_PER_WEIGHT:
        raise ValueError(
            f"unknown precision {precision!r}: write one of {', '.join(BYTES_PER_WEIGHT)}"
        )
    return BYTES_PER_WEIGHT[precision]


def model_shape(name: str) -> ModelShape:
    """A model of `data/model_shapes.csv`, by name. Raises: ValueError if it is not there.

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
    """A GPU of `data/gpu_specs.csv`, by name. Raises: ValueError if it is not there.

    >>> gpu("h200_sxm").hbm_gb_per_s
    4800
    """
    row = _row("gpu_specs.csv", "gpu", name)
    return Gpu(**{key: row[key] for key in Gpu.__dataclass_fields__})


SPECIAL = ("prefix_caching", "lora", "enforce_eager", "above_limit")
"""Columns of this package's probe. Where one is true, the point is of another engine than the one
that a curve is fitted to, or wrong, since it lies above the roofline."""

_FAMILY = {
    "l4": "ada",
    "l40s": "ada",
    "a100_80gb_sxm": "ampere",
    "h100_sxm": "hopper",
    "h100_pcie": "hopper",
    "h200_sxm": "hopper",
    "b200_sxm": "blackwell",
    "b300_sxm": "blackwell",
    "gb200": "blackwell",
}


def gpu_family(name: str) -> str:
    """The architecture of a GPU; its own name if it is not listed.

    Source: the vendor's names. RTX PRO 6000, Blackwell too, has other tensor cores and no NVLink.

    >>> gpu_family("h100_sxm") == gpu_family("h200_sxm") != gpu_family("b200_sxm")
    True
    """
    return _FAMILY.get(name, name)


def serving_points(
    model: str | None = None,
    gpu: str | None = None,
    precision: str | None = None,
    engine_version: str | None = None,
) -> pd.DataFrame:
    """Measurements of vLLM, one row per point: those published by others, in
    `data/vllm_serving_points.csv`, then those that this package's probe recorded, in `data/probes`.

    Columns: model, gpu, engine, engine_version ("not recorded" where the source has none),
    precision, gemm_quant, input_tokens, output_tokens, concurrency, tensor_parallel, attention_dp
    (empty: not recorded), moe_ep, ttft_ms, tpot_ms, measured, point_id, source, licence.
    Of the published points, KV cache type, prefix caching and arrival process were not recorded.

    Raises: ValueError if nothing matches, with the groups that there are.

    >>> len(serving_points("meta-llama/Llama-3.1-70B", gpu="h100_sxm"))
    17
    """
    points = _measured_points()
    group = zip(GROUP, (model, gpu, precision, engine_version), strict=True)
    names = {column: name for column, name in group if name is not None}
    match = points[(points[list(names)] == list(names.values())).all(axis=1)]
    if match.empty:
        available = points[GROUP].drop_duplicates().agg(" ".join, axis=1)
        raise ValueError(
            f"no serving points for {' '.join(names.values())}; available: {'; '.join(available)}"
        )
    return match.reset_index(drop=True)


_INTEGERS = {"attention_dp": "Int64"}


@cache
def _published_points(file: Path) -> pd.DataFrame:
    return pd.read_csv(file, dtype=_INTEGERS)


def _measured_points() -> pd.DataFrame:
    """The published points, then the plain ones of this package's probe."""
    published = _published_points(paths.data("vllm_serving_points.csv"))
    files = sorted(paths.data("probes").glob("*/points.csv"))
    recorded = [_plain(pd.read_csv(file, dtype=_INTEGERS))[list(published)] for file in files]
    recorded = [points for points in recorded if len(points)]
    return pd.concat([published, *recorded], ignore_index=True) if recorded else published


def _plain(points: pd.DataFrame) -> pd.DataFrame:
    """Recorded points that a curve may be fitted to: none of `SPECIAL`, KV cache of 16 bits."""
    other = pd.DataFrame({c: points[c].eq(True) for c in SPECIAL if c in points}).any(axis=1)
    kv_bits = points["kv_dtype"].isin(["bf16", "fp16", "auto"])
    return points[~other & kv_bits]


def published_throughput() -> pd.DataFrame:
    """MLPerf Inference v5.1 results, tuned by vendors for the contest: upper bounds.

    Columns: model, gpu, scenario, output_tokens_per_s_per_gpu, engine, ttft_p99_limit_ms,
    tpot_p99_limit_ms, source, licence.
    """
    return pd.read_csv(paths.data("mlperf_v5_1.csv"))


def _row(file: str, column: str, name: str) -> dict[str, Any]:
    """The row of a bundled table with this name, its empty cells as None."""
    by_name = {row[column]: row for row in _rows(paths.data(file))}
    if name not in by_name:
        raise ValueError(
            f"no {column} {name!r} in data/{file}; it has {', '.join(by_name)}: "
            "use one of these or add a row with its source"
        )
    return {str(key): None if pd.isna(value) else value for key, value in by_name[name].items()}


@cache
def _rows(file: Path) -> list[dict[Any, Any]]:
    return pd.read_csv(file).to_dict("records")

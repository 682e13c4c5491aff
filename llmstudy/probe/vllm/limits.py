"""How near do measured points come to the card's limit?

The limit is the roofline of `llmstudy.measures.capacity`: all memory bandwidth, all arithmetic, no
overhead. A point beyond it is a wrong measurement or a wrong description, never a fast engine.
"""

from dataclasses import replace
from math import inf

import numpy as np
import pandas as pd

from llmstudy.measures.capacity.curve import requests_per_s
from llmstudy.measures.capacity.fit import roofline
from llmstudy.measures.capacity.hardware import Gpu, ModelShape

KV_VALUE_BYTES = {"bf16": 2.0, "fp16": 2.0, "fp8": 1.0}


def roofline_share(
    points: pd.DataFrame, shape: ModelShape, gpu: Gpu, precision: str, kv_dtype: str = "bf16"
) -> pd.DataFrame:
    """Measured points beside the card's limit by bytes and by arithmetic.

    A token takes at least the longer of reading (the weights once, each cache at its mean length)
    and arithmetic. C requests of N tokens take at least the longer of all that is read in N - 1
    steps and of all arithmetic, that of their C prompts included: an engine that mixes prompts into
    the steps hides the shorter behind the longer.

    points: as `capacity.serving_points`, of one model, GPU type, precision and engine version.
    kv_dtype: "bf16", "fp16" or "fp8".
    Returns: points with output_tokens_per_s_per_gpu (from TTFT and TPOT by Little's law, unless it
    was measured), bytes_tpot_ms and flops_tpot_ms (the two limits), bound ("bytes" or "flops",
    whichever is longer), limit_output_tokens_per_s_per_gpu, tpot_share (limit / measured),
    throughput_share (measured / limit), above_limit (either share beyond 1).
    Raises: ValueError for an unknown kv_dtype, and as `capacity.roofline`.
    Source: Williams et al. (2009), CACM 52(4):65-76.

    >>> from llmstudy.measures.capacity import gpu, model_shape, serving_points
    >>> points = serving_points("meta-llama/Llama-3.1-70B", "h200_sxm", "fp8")
    >>> llama = model_shape("meta-llama/Llama-3.1-70B")
    >>> shares = roofline_share(points, llama, gpu("h200_sxm"), "fp8")
    >>> bool(shares["above_limit"].any()), float(shares["tpot_share"].max().round(2))
    (False, 0.73)
    """
    if kv_dtype not in KV_VALUE_BYTES:
        raise ValueError(f"unknown KV dtype {kv_dtype!r}: write one of {', '.join(KV_VALUE_BYTES)}")
    limit = roofline(points, shape, gpu, precision, KV_VALUE_BYTES[kv_dtype])
    names = ["concurrency", "input_tokens", "output_tokens", "tensor_parallel"]
    where = {name: points[name].to_numpy(dtype=float) for name in names}
    batch, output, gpus = where["concurrency"], where["output_tokens"], where["tensor_parallel"]
    tpot_s, ttft_s = points["tpot_ms"] / 1e3, points["ttft_ms"] / 1e3

    endless_flops = replace(limit, flop_efficiency=inf)
    endless_bytes = replace(limit, bandwidth_efficiency=inf)
    bytes_s, flops_s = endless_flops.decode_step_s(**where), endless_bytes.decode_step_s(**where)
    step_s = np.maximum(bytes_s, flops_s)
    prompts_s = batch * endless_bytes.prefill_s(where["input_tokens"], gpus)
    busy_s = np.maximum((output - 1) * bytes_s, prompts_s + (output - 1) * flops_s)
    fastest = batch * output / busy_s / gpus

    measured = requests_per_s(batch, output, ttft_s, tpot_s) * output / gpus
    if "output_tokens_per_s_per_gpu" in points:
        measured = points["output_tokens_per_s_per_gpu"].to_numpy(dtype=float)
    shares = {"tpot_share": step_s / tpot_s, "throughput_share": measured / fastest}
    return points.assign(
        output_tokens_per_s_per_gpu=measured,
        bytes_tpot_ms=1e3 * bytes_s,
        flops_tpot_ms=1e3 * flops_s,
        bound=np.where(bytes_s >= flops_s, "bytes", "flops"),
        limit_output_tokens_per_s_per_gpu=fastest,
        **shares,
        above_limit=(shares["tpot_share"] > 1) | (shares["throughput_share"] > 1),
    )

"""Measures a model on this machine's GPUs, served by vLLM, and compares it with the GPUs' limit.

- `model`: the folder that is served, its shape, and what can be measured without its weights.
- `server`: `vllm serve` as a child process, from start to clean stop; `log`: reads its log.
- `engine`: the engine in this process, for a batch or for arrivals, without a server.
- `hardware`: the GPUs of this machine, and their utilisation.
- `limits`: measured points as a share of the data sheet's limit.
- `variants`: a setting to measure, as its label and flags.
- `probe`: every setting of some models; `sweep`: the points of one, one after the other.

vLLM comes with the extra `gpu`. It is imported where it is used, so that all the rest, reading a
running server included, works without it.
"""

from llmstudy.probe.vllm.engine import engine_points, engine_samples
from llmstudy.probe.vllm.hardware import GpuUse, gpu_facts, gpu_use
from llmstudy.probe.vllm.limits import roofline_share
from llmstudy.probe.vllm.model import bundled_model, random_adapter, read_config, shape_of, weights
from llmstudy.probe.vllm.server import Server, ServerFailed, serve
from llmstudy.probe.vllm.variants import Variant

__all__ = [
    "GpuUse",
    "Server",
    "ServerFailed",
    "Variant",
    "bundled_model",
    "engine_points",
    "engine_samples",
    "gpu_facts",
    "gpu_use",
    "random_adapter",
    "read_config",
    "roofline_share",
    "serve",
    "shape_of",
    "weights",
]

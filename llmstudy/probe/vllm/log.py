"""Reads vLLM's log: its progress, its resolved settings, and the cause of a failure."""

import re
import signal
from typing import Any

from llmstudy.probe.refusals import advice_on

# Steps of the start by a line of the log; the last line that matches counts.
_STEPS = (
    ("Initializing a V1 LLM engine", "starting the engine"),
    ("Starting to load model", "loading the weights"),
    ("Loading weights took", "measuring memory"),
    ("for vLLM's torch.compile", "compiling the model"),
    ("torch.compile takes", "measuring memory"),
    ("KV cache size", "warming up"),
    ("Capturing CUDA graphs", "capturing CUDA graphs"),
    ("Starting vLLM server", "opening the port"),
)

# The engine's own line with all its settings, defaults resolved.
_ENGINE = re.compile(r"LLM engine \(v(?P<version>[^)]*)\) with config: (?P<settings>.*)")
_KV_TOKENS = re.compile(r"KV cache size: ([\d,]+) tokens")

_PRECISIONS = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32", "half": "fp16"}
_QUANTIZED = {
    "fp8": ("fp8", "fp8_per_tensor", "fp8_per_block", "fp8_per_channel", "fbgemm_fp8", "modelopt"),
    "fp4": ("mxfp4", "gpt_oss_mxfp4", "modelopt_fp4", "nvfp4_per_token"),
    "int4": ("awq", "awq_marlin", "auto_awq"),
}


def engine_settings(log: str) -> dict[str, Any]:
    """The settings that the engine resolved, from its log; None where they are not in it.

    >>> line = "LLM engine (v0.26.0) with config: dtype=torch.bfloat16, tensor_parallel_size=2, "
    >>> facts = engine_settings(line + "quantization=fp8, kv_cache_dtype=auto")
    >>> facts["precision"], facts["kv_dtype"], facts["tensor_parallel"], facts["prefix_caching"]
    ('fp8', 'bf16', 2, None)
    """
    line = _ENGINE.search(log)
    settings: dict[str, str] = {}
    for key, value in re.findall(r"(\w+)=('[^']*'|[^,\s]+)", line["settings"] if line else ""):
        settings.setdefault(key, value.strip("'"))  # nested settings of the same name come later
    kv_tokens = _KV_TOKENS.search(log)

    def number(key: str) -> int | None:
        return int(settings[key]) if settings.get(key, "").isdigit() else None

    def is_on(key: str) -> bool | None:
        return settings[key] == "True" if key in settings else None

    dtype = settings.get("dtype", "").removeprefix("torch.")
    values = _PRECISIONS.get(dtype, dtype) or None
    quantization = (
        None if settings.get("quantization") in (None, "None") else settings["quantization"]
    )
    kv_dtype = settings.get("kv_cache_dtype")
    if kv_dtype is not None:
        kv_dtype = values if kv_dtype == "auto" else _PRECISIONS.get(kv_dtype, kv_dtype)
    return {
        "precision": _precision(quantization) if quantization else values,
        "quantization": quantization,
        "kv_dtype": "fp8" if (kv_dtype or "").startswith("fp8") else kv_dtype,
        "tensor_parallel": number("tensor_parallel_size"),
        "prefix_caching": is_on("enable_prefix_caching"),
        "max_model_len": number("max_seq_len"),
        "kv_cache_tokens": int(kv_tokens[1].replace(",", "")) if kv_tokens else None,
        "enforce_eager": is_on("enforce_eager"),
        "device": settings.get("device_config"),
    }


def cause(log: str, exit_code: int | None = None) -> str:
    """Why vLLM failed and what to change, in a sentence. exit_code: None while it still runs.

    >>> cause("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB").split(":")[0]
    "the GPU's memory is full"
    """
    if advice := advice_on("vllm", log):
        return advice
    if exit_code == -signal.SIGKILL:
        return (
            "the system killed it, most likely for this machine's memory: free some, or lower "
            "--max-model-len and --max-num-seqs"
        )
    return first_error(log) or "its log has no error"


def first_error(log: str) -> str | None:
    """The first error in the log, without the log's own prefix: those after it follow from it.

    >>> first_error("(Worker pid=7) ERROR 11-24 00:17:56 [x.py:63] ValueError: 1 GiB is missing")
    'ValueError: 1 GiB is missing'
    """
    lines = (line for line in log.split("\n") if " WARNING " not in line)
    matches = (re.search(r"\b\w*(?:Error|error|Exception): .*", line) for line in lines)
    return next((match[0].strip() for match in matches if match), None)


def start_step(log: str) -> str:
    """The step of its start that the server is at, by the last one in its log."""
    at, step = max((log.rfind(sign), step) for sign, step in _STEPS)
    return step if at >= 0 else "importing its modules"


def _precision(quantization: str) -> str:
    """The precision of weights quantised so, as capacity names it; else the method's own name."""
    return next((name for name, ways in _QUANTIZED.items() if quantization in ways), quantization)

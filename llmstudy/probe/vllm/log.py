"""Reads vLLM's log: its progress, its resolved settings, and the cause of a failure."""

import re
import signal
from typing import Any

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

# Why a server did not start, by what its log says, and what to change; the first that matches.
_CAUSES = (
    (r"No module named '?vllm\b", "vLLM is not installed in that Python: add the extra `gpu`"),
    (
        r"No module named '?flashinfer\b",
        "this vLLM takes FlashInfer for granted and it is not installed: install it, or set "
        "VLLM_USE_FLASHINFER_SAMPLER=0 for vLLM's own sampler",
    ),
    (
        r"unrecognized arguments: (?P<what>.*)",
        "this version of vLLM has no flag {what}: leave it out or spell it as in `vllm serve "
        "--help=all`",
    ),
    (
        r"Free memory on device .* is less than desired GPU memory utilization",
        "another process holds part of the GPU's memory: stop it, or lower "
        "--gpu-memory-utilization",
    ),
    (
        r"No available memory for the cache blocks",
        "the weights leave no memory for the KV cache: raise --gpu-memory-utilization, serve with "
        "--quantization fp8, or spread over more GPUs with --tensor-parallel-size",
    ),
    (
        r"is needed, which is larger than the available KV cache memory",
        "one request of the full length does not fit in the KV cache: lower --max-model-len, raise "
        "--gpu-memory-utilization, or use --kv-cache-dtype fp8",
    ),
    (
        r"CUDA out of memory|OutOfMemoryError|CUBLAS_STATUS_ALLOC_FAILED",
        "the GPU's memory is full: lower --gpu-memory-utilization (room for activations and CUDA "
        "graphs), --max-model-len or --max-num-seqs; or serve with --quantization fp8 or a larger "
        "--tensor-parallel-size",
    ),
    (
        r"Available memory on node .* is less than|[Cc]an(no|')t allocate memory|MemoryError"
        r"|std::bad_alloc",
        "this machine's memory is full: lower --max-model-len or --max-num-seqs, on a CPU also "
        "VLLM_CPU_KVCACHE_SPACE, or serve a smaller model",
    ),
    (
        r"is greater than the derived max_model_len",
        "--max-model-len is beyond what the model's config.json allows: lower it",
    ),
    (
        r"World size .* is larger than the number of available GPUs",
        "--tensor-parallel-size asks for more GPUs than there are: lower it",
    ),
    (
        r"must be divisible by tensor parallel size",
        "--tensor-parallel-size must divide the model's attention heads: take 1, 2, 4 or 8",
    ),
    (
        r"Failed to infer device type|No CUDA GPUs are available|Found no NVIDIA driver",
        "vLLM finds no GPU: check `nvidia-smi` and CUDA_VISIBLE_DEVICES",
    ),
    (r"[Aa]ddress already in use", "another program took the port meanwhile: start it again"),
    (
        r"LocalEntryNotFoundError|OfflineModeIsEnabled|Can't load the configuration of",
        "the model is not on this machine, and nothing is downloaded here: name a local folder",
    ),
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
    """The settings that the engine resolved, from its log. None where it does not say.

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
    """Why vLLM failed, in a sentence that says what to change. exit_code: None, it still ran.

    >>> cause("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB").split(":")[0]
    "the GPU's memory is full"
    """
    for pattern, sentence in _CAUSES:
        if match := re.search(pattern, log):
            return sentence.format(**match.groupdict())
    if exit_code == -signal.SIGKILL:
        return (
            "the system killed it, most likely for this machine's memory: free some, or lower "
            "--max-model-len and --max-num-seqs"
        )
    return first_error(log) or "its log does not say why"


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

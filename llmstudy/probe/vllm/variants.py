"""Settings of the engine to compare, as labels and as flags of a server or an engine."""

from collections.abc import Sequence
from itertools import pairwise, product
from pathlib import Path
from typing import Any, Literal, NamedTuple

ADAPTER = "adapter"
"""Requests that name this model go through the LoRA adapter."""

Quantization = Literal["none", "fp8"]


class Variant(NamedTuple):
    """One server to start. request_model: what requests name, None for the served model."""

    label: str
    model: Path | str
    flags: tuple[str, ...]
    request_model: str | None


def variants(
    models: Sequence[Path | str],
    quantization: Sequence[Quantization] = ("none",),
    tensor_parallel: Sequence[int] = (1,),
    prefix_caching: Sequence[bool] = (False,),
    adapters: Sequence[Path | str | None] = (None,),
    max_lora_rank: int = 16,
) -> list[Variant]:
    """Every combination of the axes, as a label and the flags of `serve`.

    Prefix caching is vLLM's default; here its flag is always given, so that a recorded run shows
    it. adapters: folders of LoRA adapters, None for without (`random_adapter` makes one).

    >>> [(v.label, v.flags) for v in variants(["llama-3.1-8b"], ["none", "fp8"])]
    ... # doctest: +NORMALIZE_WHITESPACE
    [('llama-3.1-8b', ('--no-enable-prefix-caching',)),
     ('llama-3.1-8b fp8', ('--quantization', 'fp8', '--no-enable-prefix-caching'))]
    """
    if not all(size >= 1 for size in tensor_parallel):
        raise ValueError(f"tensor_parallel {list(tensor_parallel)}: a size is a number of GPUs")
    combinations = []
    axes = product(models, quantization, tensor_parallel, prefix_caching, adapters)
    for model, quantized, size, caches, adapter in axes:
        label, flags = [Path(model).name], []
        if quantized != "none":
            label.append(quantized)
            flags += ["--quantization", quantized]
        if size > 1:
            label.append(f"tp{size}")
            flags += ["--tensor-parallel-size", str(size)]
        if caches:
            label.append("prefix-caching")
        flags.append("--enable-prefix-caching" if caches else "--no-enable-prefix-caching")
        if adapter is not None:
            label.append("lora")
            flags += ["--enable-lora", "--max-lora-rank", str(max_lora_rank)]
            flags += ["--lora-modules", f"{ADAPTER}={adapter}"]
        combinations.append(
            Variant(" ".join(label), model, tuple(flags), ADAPTER if adapter else None)
        )
    return combinations


def engine_arguments(variant: Variant) -> tuple[dict[str, Any], Path | None]:
    """The variant's flags as arguments of the engine in this process, and its LoRA adapter.

    >>> [variant] = variants(["m"], ["fp8"], [2], [True], ["lora"])
    >>> arguments, adapter = engine_arguments(variant)
    >>> arguments  # doctest: +NORMALIZE_WHITESPACE
    {'tensor_parallel_size': 2, 'enable_prefix_caching': True, 'quantization': 'fp8',
     'enable_lora': True, 'max_lora_rank': 16}
    >>> str(adapter)
    'lora'
    """
    flags = dict(pairwise(variant.flags))
    arguments: dict[str, Any] = {
        "tensor_parallel_size": int(flags.get("--tensor-parallel-size", 1)),
        "enable_prefix_caching": "--enable-prefix-caching" in variant.flags,
    }
    if "--quantization" in flags:
        arguments["quantization"] = flags["--quantization"]
    if "--lora-modules" not in flags:
        return arguments, None
    arguments |= {"enable_lora": True, "max_lora_rank": int(flags["--max-lora-rank"])}
    return arguments, Path(flags["--lora-modules"].removeprefix(f"{ADAPTER}="))

"""A setting of the engine to measure, as its label and as flags of a server or an engine."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from llmstudy.probe.vllm.model import LORA_RANK

ADAPTER = "adapter"
"""Requests that name this model go through the LoRA adapter."""

Quantization = Literal["none", "fp8"]


@dataclass(frozen=True)
class Variant:
    """One server or engine to start: a model with one value of each setting.

    model: a folder. adapter: folder of a LoRA adapter, None for none (`random_adapter` makes one).
    name: a label of the caller's own.

    >>> Variant(Path("llama-3.1-8b"), "fp8", 2, adapter=Path("lora")).label
    'llama-3.1-8b fp8 tp2 lora'
    """

    model: Path
    quantization: Quantization = "none"
    tensor_parallel: int = 1
    prefix_caching: bool = False
    adapter: Path | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        """Refuse what no server can be started with."""
        if self.quantization not in ("none", "fp8"):
            raise ValueError(f"quantization {self.quantization!r}: write none or fp8")
        if self.tensor_parallel < 1:
            raise ValueError(f"tensor_parallel {self.tensor_parallel}: give a number of GPUs")

    @property
    def label(self) -> str:
        """The model's folder and every setting that is not the default, unless named."""
        parts = {
            self.model.name: True,
            self.quantization: self.quantization != "none",
            f"tp{self.tensor_parallel}": self.tensor_parallel > 1,
            "prefix-caching": self.prefix_caching,
            "lora": self.adapter is not None,
        }
        return self.name or " ".join(part for part, applies in parts.items() if applies)

    @property
    def request_model(self) -> str | None:
        """The model that requests name; None for the one that is served."""
        return ADAPTER if self.adapter else None

    @property
    def flags(self) -> list[str]:
        """Flags of `vllm serve`. Prefix caching, vLLM's default, is always stated."""
        flags = []
        if self.quantization != "none":
            flags += ["--quantization", self.quantization]
        if self.tensor_parallel > 1:
            flags += ["--tensor-parallel-size", str(self.tensor_parallel)]
        flags.append(f"--{'' if self.prefix_caching else 'no-'}enable-prefix-caching")
        if self.adapter is not None:
            flags += ["--enable-lora", "--max-lora-rank", str(LORA_RANK)]
            flags += ["--lora-modules", f"{ADAPTER}={self.adapter}"]
        return flags

    @property
    def engine_args(self) -> dict[str, Any]:
        """The same as arguments of the engine in this process; the adapter goes with requests."""
        arguments: dict[str, Any] = {
            "tensor_parallel_size": self.tensor_parallel,
            "enable_prefix_caching": self.prefix_caching,
        }
        if self.quantization != "none":
            arguments["quantization"] = self.quantization
        if self.adapter is not None:
            arguments |= {"enable_lora": True, "max_lora_rank": LORA_RANK}
        return arguments

"""Which model is served, what is its shape, and what may be measured without its weights?

A folder with nothing but `config.json` is served with random ("dummy") weights: a dense model
takes as long with them as with real ones, since the same kernels run on the same shapes. That does
not hold for what depends on values: the answers, where they stop, speculative decoding, and the
routing of a mixture of experts, which is refused.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from llmstudy import paths
from llmstudy.measures.capacity.hardware import ModelShape

OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_HOST_IP": "127.0.0.1",  # else it looks for an outward address
}
"""The environment that keeps vLLM offline. The user's variables take precedence."""

LORA_RANK = 16
"""Rank of the random adapters."""

_WEIGHT_FILES = ("*.safetensors", "*.bin", "*.pt", "*.gguf")
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "tekken.json", "vocab.json")
_EXPERT_COUNTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
_LLAMA_LIKE = ("llama", "mistral", "qwen2", "qwen3")
_PROJECTIONS = {
    "self_attn": ("q_proj", "k_proj", "v_proj", "o_proj"),
    "mlp": ("gate_proj", "up_proj", "down_proj"),
}


def bundled_model(name: str) -> Path:
    """A folder of `data/model_configs`: the published configuration of a model, no weights.

    Raises: ValueError for another name, with those that are there.

    >>> read_config(bundled_model("llama-3.1-8b"))["num_hidden_layers"]
    32
    """
    folder = paths.data("model_configs") / name
    if not (folder / "config.json").exists():
        names = sorted(file.parent.name for file in folder.parent.glob("*/config.json"))
        raise ValueError(f"no model {name!r} in data/model_configs; it has {', '.join(names)}")
    return folder


def read_config(model: Path | str) -> dict[str, Any]:
    """The `config.json` of a model's folder.

    Raises: ValueError where there is none, or it is not a JSON object.
    """
    file = Path(model) / "config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(
            f"{model} is no model's folder: name one with a config.json that can be read"
        ) from error
    except ValueError as error:
        raise ValueError(f"{file} is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise ValueError(f"{file} must hold one JSON object, as transformers writes it")
    return config


def weights(model: Path | str, load_format: str | None = None) -> Literal["real", "dummy"]:
    """Are the folder's weights served, or random ones?

    load_format: of vLLM; None: random if the folder has no weights.
    Raises: ValueError for a mixture of experts without weights: random routing is not its own.

    >>> weights(bundled_model("llama-3.1-8b"))
    'dummy'
    """
    config = read_config(model)
    has_weights = any(any(Path(model).glob(pattern)) for pattern in _WEIGHT_FILES)
    if load_format != "dummy" and (has_weights or load_format is not None):
        return "real"
    if is_mixture(config):
        raise ValueError(
            f"{model} is a mixture of experts without its weights: random weights route tokens "
            "in another way, at another speed. Add the weights, or take a dense model"
        )
    return "dummy"


def has_tokenizer(model: Path | str) -> bool:
    """Does the folder hold a tokenizer? Without one, prompts are token ids and text stays empty."""
    return any((Path(model) / name).exists() for name in _TOKENIZER_FILES)


def is_mixture(config: Mapping[str, Any]) -> bool:
    """Does this configuration describe a mixture of experts?

    >>> is_mixture({"num_local_experts": 8}), is_mixture({"hidden_size": 4096})
    (True, False)
    """
    text = config.get("text_config", config)
    return any((text.get(name) or 0) > 1 for name in _EXPERT_COUNTS)


def shape_of(config: Mapping[str, Any], model: str) -> ModelShape:
    """The shape of a dense model that is built like Llama, from its `config.json`.

    Parameters are counted: embedding and head, and per layer four attention projections, three of
    the MLP and two norms. Biases and the norms of heads (under 0.1 %) are left out.

    model: its name, as in the serving points.
    Raises: ValueError for another kind of model, whose parameters would be miscounted.
    Source: Touvron et al. (2023), arXiv 2302.13971, section 2.2, for the architecture.

    >>> shape = shape_of(read_config(bundled_model("llama-3.1-8b")), "meta-llama/Llama-3.1-8B")
    >>> shape.total_params
    8030261248.0
    """
    kind = config.get("model_type")
    if kind not in _LLAMA_LIKE or is_mixture(config):
        raise ValueError(
            f"the parameters of a {kind!r} model cannot be counted from its config.json, only of a "
            f"dense {', '.join(_LLAMA_LIKE)}: add a row to data/model_shapes.csv and use that"
        )
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    layers, vocab = config["num_hidden_layers"], config["vocab_size"]
    head_dim = config.get("head_dim") or hidden // heads
    kv_heads = config.get("num_key_value_heads") or heads
    attention = 2 * hidden * head_dim * (heads + kv_heads)
    mlp = 3 * hidden * config["intermediate_size"]
    tables = 1 if config.get("tie_word_embeddings", False) else 2
    total = float(tables * vocab * hidden + layers * (attention + mlp + 2 * hidden) + hidden)
    window = config.get("sliding_window") if config.get("use_sliding_window", True) else None
    return ModelShape(
        model=model,
        total_params=total,
        active_params=total,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        sliding_window=window or 0,
        sliding_layers=layers if window else 0,
    )


def random_adapter(model: Path | str, folder: Path) -> Path:
    """Writes a LoRA adapter of random values for all projections of a dense model like Llama.

    What an adapter costs depends on its rank and on where it sits, not on its values; these are
    large enough to be seen in the answers of random weights, which are about 0.001.

    folder: is made; 16-bit values, 84 MB for Llama-3.1-8B. Returns the folder.
    """
    config = read_config(model)
    shape = shape_of(config, str(model))
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    query, key_value = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    sizes = {
        "q_proj": (hidden, query),
        "k_proj": (hidden, key_value),
        "v_proj": (hidden, key_value),
        "o_proj": (query, hidden),
        "gate_proj": (hidden, inner),
        "up_proj": (hidden, inner),
        "down_proj": (inner, hidden),
    }
    rng = np.random.default_rng(0)
    tensors = {}
    for layer in range(shape.layers):
        for block, names in _PROJECTIONS.items():
            for name in names:
                size_in, size_out = sizes[name]
                stem = f"base_model.model.model.layers.{layer}.{block}.{name}"
                for half, dims in (("A", (LORA_RANK, size_in)), ("B", (size_out, LORA_RANK))):
                    values = rng.standard_normal(dims, dtype=np.float32)
                    tensors[f"{stem}.lora_{half}.weight"] = values.astype(np.float16)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_model.safetensors").write_bytes(_safetensors(tensors))
    adapter = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": Path(model).name,
        "r": LORA_RANK,
        "lora_alpha": LORA_RANK,
        "bias": "none",
        "target_modules": list(sizes),
    }
    (folder / "adapter_config.json").write_text(json.dumps(adapter, indent=2), encoding="utf-8")
    return folder


def _safetensors(tensors: "Mapping[str, np.ndarray[Any, np.dtype[np.float16]]]") -> bytes:
    """Tensors in the safetensors format: length of the header, header in JSON, values.

    Source: https://github.com/huggingface/safetensors, section "Format".
    """
    header, start = {}, 0
    for name, tensor in tensors.items():
        end = start + tensor.nbytes
        header[name] = {"dtype": "F16", "shape": tensor.shape, "data_offsets": [start, end]}
        start = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(t.tobytes() for t in tensors.values())

"""Writes a model folder that a CPU serves in no time: a config.json, and a tokenizer if asked.

    python tests/vllm/tiny_model.py FOLDER [--tokenizer]

The tokenizer needs the package `tokenizers`, which vLLM brings. There are never weights.
"""

import json
import sys
from pathlib import Path

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "dtype": "float32",
    "hidden_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 32,
    "intermediate_size": 512,
    "vocab_size": 4096,
    "max_position_embeddings": 2**21,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-05,
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
}

CHAT = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def write(folder: Path, tokenizer: bool = False) -> Path:
    """Makes the folder, config and all."""
    folder.mkdir(parents=True, exist_ok=True)
    # random weights choose any id: each must have a text
    vocab_size = _write_tokenizer(folder) if tokenizer else CONFIG["vocab_size"]
    config = CONFIG | {"vocab_size": vocab_size}
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    return folder


def _write_tokenizer(folder: Path) -> int:
    """A byte-level BPE, trained on numbers; returns the size of its vocabulary."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1024,
        special_tokens=["<unk>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    bpe.train_from_iterator((f"request {n} of {7 * n}" for n in range(2000)), trainer)
    bpe.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "chat_template": CHAT,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2))
    return int(bpe.get_vocab_size())


if __name__ == "__main__":
    write(Path(sys.argv[1]), "--tokenizer" in sys.argv)

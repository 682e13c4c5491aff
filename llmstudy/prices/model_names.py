"""Compares names of models, which providers and gateways spell differently."""

import re
from functools import cache

_PROVIDER = re.compile(
    r"^(?:.*/"  # openai/gpt-4o, accounts/fireworks/models/...
    r"|(?:openai|azure|anthropic|google|vertex_ai|bedrock|groq|openrouter|novita):"
    r"|(?:[a-z][a-z-]*\.)+(?=[a-z]))"  # us.anthropic.claude-...
)
_NO_VERSION = re.compile(r"(?:-v?\d+:\d+|:(?:free|nitro|floor|latest)|-latest)$")
"""Bedrock's revisions, OpenRouter's variants and the alias `latest`."""

_SNAPSHOT = re.compile(
    r"[-@_](?:(20\d\d[-.]?(?:0[1-9]|1[0-2])[-.]?(?:0[1-9]|[12]\d|3[01]))(?!\d)"  # 2024-08-06
    r"|((?:0[1-9]|1[0-2])-?(?:0[1-9]|[12]\d|3[01])"  # 0613, 05-20
    r"|2[3-9](?:0[1-9]|1[0-2])"  # 2411
    r"|00\d)$)"  # 002
)


_TUNING = re.compile(r"^meta-|-(?:instruct|chat|it|hf|base)(?=-|$)")


def same_model(a: str, b: str) -> bool:
    """Whether two names mean the same model, whatever the provider's prefix, case and punctuation.

    A name without a date matches any dated snapshot; two different dates are two models. A custom
    alias, such as an Azure deployment, does not match.

    >>> same_model("gpt-4o", "openai/gpt-4o-2024-08-06"), same_model("GPT-4o", "gpt-4o-mini")
    (True, False)
    >>> same_model("gpt-4o-2024-05-13", "gpt-4o-2024-08-06")
    False
    >>> same_model("claude-3.5-sonnet", "us.anthropic.claude-3-5-sonnet-20241022-v2:0")
    True
    """
    (name_a, snapshot_a), (name_b, snapshot_b) = _parts(a), _parts(b)
    return name_a == name_b and (snapshot_a == snapshot_b or not (snapshot_a and snapshot_b))


def same_weights(a: str, b: str) -> bool:
    """Whether two names mean weights of the same shape, whether tuned or not.

    >>> same_weights("meta-llama/Llama-3.1-70B", "Meta-Llama-3.1-70B-Instruct")
    True
    """
    return same_model(*(_TUNING.sub("", _parts(name)[0]) for name in (a, b)))


_SERVING = re.compile(r"(?<=\db)-(?:instant|turbo|versatile|fp8|fp4|bf16|awq)$")
"""Suffixes for how a host serves the weights, which do not name another model."""


@cache
def model_key(name: str) -> str:
    """One key for a model at all hosts: its name without date, tuning, serving and punctuation.

    >>> model_key("meta-llama/Meta-Llama-3.1-70B-Instruct-Turbo")
    'llama3170b'
    >>> model_key("meta.llama3-1-70b-instruct-v1:0"), model_key("openai/gpt-4o-2024-08-06")
    ('llama3170b', 'gpt4o')
    """
    return _SERVING.sub("", _TUNING.sub("", _parts(name)[0])).replace("-", "")


@cache
def _parts(name: str) -> tuple[str, str]:
    """A model's name without prefix and date, and the digits of its snapshot's date or ""."""
    bare = _NO_VERSION.sub("", _PROVIDER.sub("", name.strip().lower().rstrip("/")))
    snapshot = _SNAPSHOT.search(bare)
    date = re.sub(r"\D", "", snapshot[1] or snapshot[2]) if snapshot else ""
    bare = re.sub(r"[\s._:]+", "-", _SNAPSHOT.sub("", bare))
    return bare.replace("gpt-35-", "gpt-3-5-"), date  # Azure's names have no dots

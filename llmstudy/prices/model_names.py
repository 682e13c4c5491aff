"""Do two names mean the same model? Providers and gateways spell a model's name differently."""

import re
from functools import cache

_PROVIDER = re.compile(
    r"^(?:.*/"  # openai/gpt-4o, accounts/fireworks/models/...
    r"|(?:openai|azure|anthropic|google|vertex_ai|bedrock|groq|openrouter|novita):"
    r"|(?:[a-z][a-z-]*\.)+(?=[a-z]))"  # us.anthropic.claude-...
)
_NO_VERSION = re.compile(r"(?:-v?\d+:\d+|:(?:free|nitro|floor|latest)|-latest)$")
"""Bedrock's revision of a listing, OpenRouter's variants, and the alias of the newest."""

_SNAPSHOT = re.compile(
    r"[-@_](?:(20\d\d[-.]?(?:0[1-9]|1[0-2])[-.]?(?:0[1-9]|[12]\d|3[01]))(?!\d)"  # 2024-08-06
    r"|((?:0[1-9]|1[0-2])-?(?:0[1-9]|[12]\d|3[01])"  # 0613, 05-20
    r"|2[3-9](?:0[1-9]|1[0-2])"  # 2411
    r"|00\d)$)"  # 002
)


_TUNING = re.compile(r"^meta-|-(?:instruct|chat|it|hf|base)(?=-|$)")


def same_model(a: str, b: str) -> bool:
    """Whether two names are of one model: provider's prefix, case and punctuation apart.

    A name without a date is the same model as any dated snapshot of it; two dates are two models.
    An alias of one's own choosing (an Azure deployment) is another name.

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
    """Whether two names are of weights of one shape: tuned or not, in the words of any host.

    >>> same_weights("meta-llama/Llama-3.1-70B", "Meta-Llama-3.1-70B-Instruct")
    True
    """
    return same_model(*(_TUNING.sub("", _parts(name)[0]) for name in (a, b)))


_SERVED = re.compile(r"(?<=\db)-(?:instant|turbo|versatile|fp8|fp4|bf16|awq)$")
"""How weights are served, which does not change what they answer."""


@cache
def model_key(name: str) -> str:
    """One key of a model for all its hosts: date, tuning, how it is served, punctuation apart.

    >>> model_key("meta-llama/Meta-Llama-3.1-70B-Instruct-Turbo")
    'llama3170b'
    >>> model_key("meta.llama3-1-70b-instruct-v1:0"), model_key("openai/gpt-4o-2024-08-06")
    ('llama3170b', 'gpt4o')
    """
    return _SERVED.sub("", _TUNING.sub("", _parts(name)[0])).replace("-", "")


@cache
def _parts(name: str) -> tuple[str, str]:
    """A model's bare name, and the digits of its snapshot's date where it has one."""
    bare = _NO_VERSION.sub("", _PROVIDER.sub("", name.strip().lower().rstrip("/")))
    snapshot = _SNAPSHOT.search(bare)
    date = re.sub(r"\D", "", snapshot[1] or snapshot[2]) if snapshot else ""
    bare = re.sub(r"[\s._:]+", "-", _SNAPSHOT.sub("", bare))
    return bare.replace("gpt-35-", "gpt-3-5-"), date  # Azure's names have no dots

"""The copy of a configuration that a drill starts: its upstreams mocked, its times shortened.

The file's own names stay, for prices and weights. Beside them every fault gets a copy of each name
with its fallbacks and with upstreams of its own, so that faults run side by side, and one fault's
cooldown hides no other.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmstudy.export.accounting import Verdict
from llmstudy.export.check import (
    CACHED_PRICE,
    PRICES,
    RETRIEVAL_PRICES,
    Config,
    fallbacks_of,
    groups_of,
    price_of,
)

TIMEOUT_S, STREAM_TIMEOUT_S = 2.0, 1.0
"""Of the gateway's copy: those of a file are minutes."""
KEY = "sk-drill-local"

_MUCH = 1_000_000
"""Limits of requests, tokens and budgets are raised by it: weights may be taken from them."""

OTHER_PROTOCOLS = (
    *("anthropic", "bedrock", "gemini", "vertex_ai", "cohere_chat", "cohere"),
    *("mistral", "cerebras", "perplexity", "groq", "openrouter"),
)
"""Providers that LiteLLM speaks to in their own protocol, or of whom it expects more than OpenAI's:
token counts that nobody asks for in a stream, a tier in each answer. The mocks have neither."""

_KEYS = ("api_key", "aws_", "vertex_", "azure_", "api_version", "organization", "base_model")
"""Parameters of a deployment, by how they begin, that a mock does not need."""


@dataclass(frozen=True)
class Price:
    """Of one token; None where the file has none. Unit: USD."""

    input_usd: float | None
    output_usd: float | None
    cached_input_usd: float | None

    def of(self, input_tokens: int, cached_tokens: int, output_tokens: int) -> float:
        """USD of one answer. Cached tokens are part of the input.

        >>> Price(2e-6, 8e-6, 1e-6).of(100, 40, 20)
        0.00032
        """
        whole = self.input_usd or 0.0
        cached = whole if self.cached_input_usd is None else self.cached_input_usd
        usd = (input_tokens - cached_tokens) * whole + cached_tokens * cached
        return round(usd + output_tokens * (self.output_usd or 0.0), 15)


@dataclass(frozen=True)
class Route:
    """One upstream behind a name: that of the mock, of the file's deployment, and its price."""

    upstream: str
    deployment: str
    price: Price


@dataclass(frozen=True)
class Chain:
    """A name of the copy, its primary upstream, and those that may answer in its place, in order.

    name: as the copy has it. of: as the file has it. others: without those that are the primary's
    own upstream. tries: how often a request may meet it, which a fallback may name once more.
    """

    name: str
    of: str
    fault: str
    streamed: bool
    primary: Route
    others: tuple[Route, ...]
    tries: int = 1

    @property
    def prices(self) -> dict[str, Price]:
        """The price of each upstream that may answer."""
        return {route.upstream: route.price for route in (self.primary, *self.others)}


@dataclass(frozen=True)
class Retrieval:
    """A name of the copy for embeddings or reranking, whose only upstream meets a fault.

    name, of: as `Chain`. mode: what it serves. usd: of a token or a search, as the file has it.
    """

    name: str
    of: str
    mode: str
    fault: str
    upstream: str
    usd: float | None

    @property
    def wanted(self) -> Verdict:
        """What is to become of a request."""
        return "answered" if self.fault == "healthy" else "failed"


@dataclass(frozen=True)
class Copy:
    """config: its `api_base` are names of mocks, in whose place `addressed` puts addresses.

    chains, retrieval: what to drill. shares: of each name of the file that serves chats, its routes
    and their shares of the requests. attempts: that a failing upstream may get before it cools
    down. changes: what is other than in the file, in sentences.
    """

    config: dict[str, Any]
    chains: tuple[Chain, ...]
    shares: Mapping[str, tuple[tuple[Route, float], ...]]
    attempts: int
    cooldown_s: float
    changes: tuple[str, ...]
    retrieval: tuple[Retrieval, ...] = ()

    @property
    def upstreams(self) -> list[str]:
        """The names of the mocks, each once."""
        names = [each["litellm_params"]["api_base"] for each in self.config["model_list"]]
        return list(dict.fromkeys(names))

    def addressed(self, base_urls: Mapping[str, str]) -> dict[str, Any]:
        """The configuration with the addresses of the mocks."""
        config = copy.deepcopy(self.config)
        for deployment in config["model_list"]:
            params = deployment["litellm_params"]
            params["api_base"] = base_urls[params["api_base"]]
        return config


RETRIEVAL_FAULTS = ("healthy", "500", "killed")


def drill_copy(config: Config, faults: Sequence[str]) -> Copy:
    """The copy of a configuration in which its names meet each fault, streamed and not.

    A name is drilled if clients ask for it: if no other name falls back to it. One for embeddings
    or reranking meets `RETRIEVAL_FAULTS`.
    Raises: ValueError if the configuration serves nothing.
    """
    if not config.get("model_list"):
        raise ValueError("model_list is missing: a gateway that serves nothing cannot be drilled")
    made = copy.deepcopy(dict(config))
    # each by itself: YAML lets two share one block by an anchor
    made["model_list"] = [copy.deepcopy(each) for each in config["model_list"]]
    router = made["router_settings"] = made.get("router_settings") or {}
    allowed_fails = router.get("allowed_fails")
    attempts = 1 + (2 if allowed_fails is None else int(allowed_fails))
    cooldown_s = _shorten(made, router, attempts)
    changes = _localise(made)
    groups = groups_of(made)
    others = {name: groups.pop(name) for name in list(groups) if _mode(groups[name][0]) != "chat"}
    retrieval = tuple(_retrieval(made, others))
    fallbacks = fallbacks_of(made)
    aliases = dict(router.get("model_group_alias") or {})
    targets = {target for chain in fallbacks.values() for target in chain}
    requested = [*(name for name in groups if name not in targets), *aliases] or list(groups)
    shares = {
        name: tuple(
            (_route(each), share) for each, share in zip(group, _shares(group), strict=True)
        )
        for name, group in groups.items()
    }
    chains = []
    cases = [(n, f, s) for f in faults for s in (False, True) for n in requested]
    for number, (name, fault, streamed) in enumerate(cases):
        mark = f"~{number}"
        served = aliases.get(name, name)
        group = _marked(groups[served], mark)
        drilled = max(group, key=lambda each: (_self_hosted(each), _weight(each)))
        for each in group if len(group) > 1 else ():
            each["litellm_params"]["weight"] = _MUCH if each is drilled else 1
        spare = [
            each
            for target in fallbacks.get(served, ())
            for each in _marked(groups.get(target, ()), mark)
        ]
        made["model_list"] += [*group, *spare]
        if served in fallbacks:
            chain = [target + mark for target in fallbacks[served]]
            router["fallbacks"] = [*(router.get("fallbacks") or []), {served + mark: chain}]
        if name in aliases:
            router["model_group_alias"][name + mark] = served + mark
        primary = _route(drilled)
        able = {each.upstream: each for each in map(_route, [*group, *spare])}
        tries = 1 + sum(_route(each).upstream == primary.upstream for each in spare)
        able.pop(primary.upstream)
        rest = tuple(able.values())
        chains.append(Chain(name + mark, name, fault, streamed, primary, rest, tries))
    return Copy(made, tuple(chains), shares, attempts, cooldown_s, tuple(changes), retrieval)


def _retrieval(
    made: dict[str, Any], groups: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Iterator[Retrieval]:
    """What to drill of the names that serve no chats: each as it stands, and a copy per fault."""
    for name, group in groups.items():
        for fault in RETRIEVAL_FAULTS:
            served: Sequence[Mapping[str, Any]] = group
            if fault != "healthy":
                served = _marked(group, f"~{fault}")
                made["model_list"] += served
            copied = served[0]
            usd = price_of(copied, RETRIEVAL_PRICES[_mode(copied)])
            upstream = copied["litellm_params"]["api_base"]
            yield Retrieval(copied["model_name"], name, _mode(copied), fault, upstream, usd)


def _mode(deployment: Mapping[str, Any]) -> str:
    mode = str((deployment.get("model_info") or {}).get("mode"))
    return mode if mode in RETRIEVAL_PRICES else "chat"


def _shorten(config: dict[str, Any], router: dict[str, Any], attempts: int) -> float:
    """Shortens the times, in proportion to the timeout, which decides whether a hang can trip a
    cooldown. Returns: the longest cooldown, in seconds."""
    params = [each["litellm_params"] for each in config["model_list"]]
    longest_s = max((float(e["timeout"]) for e in (router, *params) if e.get("timeout")), default=0)
    router.setdefault("cooldown_time", 5)
    cooldowns = []
    for each in (router, *params):
        timeout_s = float(each.get("timeout") or longest_s)
        if each.get("cooldown_time") and timeout_s:
            of_timeout = min(float(each["cooldown_time"]) / timeout_s, 2 * attempts + 0.5)
            each["cooldown_time"] = of_timeout * TIMEOUT_S
        cooldowns.append(float(each.get("cooldown_time") or 0))
        if each.get("timeout"):
            each["timeout"] = TIMEOUT_S
        if each.get("stream_timeout"):
            each["stream_timeout"] = STREAM_TIMEOUT_S
        for name in ("rpm", "tpm"):
            if each.get(name):
                each[name] *= _MUCH
    return max(cooldowns)


def _localise(config: dict[str, Any]) -> list[str]:
    """Points deployments at mocks, and takes out what cannot be on loopback."""
    changes = []
    general = config["general_settings"] = config.get("general_settings") or {}
    general["master_key"] = KEY
    if general.pop("database_url", None):
        changes.append(
            "The drill has no database: budgets of tenants are checked in the file, not spent."
        )
    if config["router_settings"].pop("provider_budget_config", None):
        changes.append("Budgets of providers are left out, so that the drill cannot use them up.")
    config.pop("environment_variables", None)
    other = set()
    names: dict[tuple[str, str], str] = {}
    for deployment in config["model_list"]:
        params = deployment["litellm_params"]
        model = str(params["model"])
        provider, _, rest = model.partition("/")
        address = (model, str(params.get("api_base")))
        params["api_base"] = names.setdefault(address, f"upstream-{len(names) + 1}")
        if provider in OTHER_PROTOCOLS and _mode(deployment) != "rerank":  # the mocks rerank
            other.add(provider)
            params["model"] = f"openai/{rest}"
        for name in [name for name in params if name.startswith(_KEYS)]:
            del params[name]
        params["api_key"] = "none"
        if provider == "azure":
            params["api_version"] = "2024-10-21"
    if other:
        changes.append(
            f"{', '.join(sorted(other))}: drilled in OpenAI's protocol in place of their own."
        )
    return changes


def _marked(group: Sequence[Mapping[str, Any]], mark: str) -> list[dict[str, Any]]:
    """A copy of a group with names, ids and upstreams of its own."""
    marked = copy.deepcopy([dict(each) for each in group])
    for i, deployment in enumerate(marked):
        label = (deployment.get("model_info") or {}).get("id") or deployment["model_name"]
        deployment["model_info"] = {
            **(deployment.get("model_info") or {}),
            "id": f"{label}~{i}{mark}",
        }
        deployment["model_name"] += mark
        deployment["litellm_params"]["api_base"] += mark
    return marked


def _route(deployment: Mapping[str, Any]) -> Route:
    identity = (deployment.get("model_info") or {}).get("id") or deployment["model_name"]
    upstream = deployment["litellm_params"]["api_base"]
    price = Price(*(price_of(deployment, name) for name in (*PRICES, CACHED_PRICE)))
    return Route(upstream, str(identity).partition("~")[0], price)


def _self_hosted(deployment: Mapping[str, Any]) -> bool:
    return str(deployment["litellm_params"]["model"]).startswith("hosted_vllm/")


def _weight(deployment: Mapping[str, Any]) -> float:
    params = deployment["litellm_params"]
    return float(params.get("weight") or params.get("rpm") or params.get("tpm") or 0)


def _shares(group: Sequence[Mapping[str, Any]]) -> list[float]:
    """The share of the requests of a name that each of its deployments is to get."""
    weights = [_weight(each) for each in group]
    total = sum(weights)
    return [weight / total for weight in weights] if total else [1 / len(group)] * len(group)

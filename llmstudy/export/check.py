"""What would LiteLLM ignore, guess or turn around in a configuration that it starts with?

LiteLLM 1.106.2 starts with misspelt keys, fallbacks to nothing and prices of null; it only fails,
or overspends, when a request comes. Each rule here has been seen on the running proxy.
"""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from llmstudy.text import excerpt, listed

Config = Mapping[str, Any]
"""A configuration as LiteLLM's `config.yaml` has it: mappings, lists, text and numbers."""

PRICES = ("input_cost_per_token", "output_cost_per_token")
CACHED_PRICE = "cache_read_input_token_cost"

DEFAULT_ALLOWED_FAILS = 3
"""A router's allowed_fails of this number counts as none (`_is_allowed_fails_set_on_router`)."""

_SECTIONS = ("router_settings", "litellm_settings", "general_settings")

_FALLBACKS = ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks")

_ENVIRONMENT = "os.environ/"

_SECRET = re.compile(
    r".*(_key|_key_id|_password|_secret)|azure_ad_token|aws_session_token|vertex_credentials|"
    r"database_url|redis_url"
)

_NO_KEY = "none"
"""What a server that asks for no key is sent: LiteLLM refuses an empty one."""

_TENANT_BUDGETS = (
    "max_budget",
    "soft_budget",
    "budget_duration",
    "max_user_budget",
    "max_internal_user_budget",
    "max_end_user_budget",
    "default_internal_user_params",
    "default_team_settings",
)

_LOOPBACK = re.compile(r"https?://(localhost|127\.[\d.]+|\[::1\])(:\d+)?(/|$)")


def read_config(file: Path) -> dict[str, Any]:
    """A `config.yaml`, read as LiteLLM reads it (YAML 1.1).

    Raises: ValueError if it is no YAML mapping; OSError if it cannot be read.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    yaml = YAML(typ="safe", pure=True)
    yaml.version = "1.1"
    try:
        config = yaml.load(file.read_text(encoding="utf-8"))
    except (YAMLError, UnicodeDecodeError) as error:
        problem = getattr(error, "problem", None) or "it is not UTF-8 text"
        raise ValueError(f"{file.name} is not YAML ({problem}): write it again.") from None
    if not isinstance(config, dict):
        raise ValueError(f"{file.name} is not a mapping: give a LiteLLM config.yaml.")
    return config


def folder_faults(folder: Path) -> list[str]:
    """What is wrong with an exported folder: a sentence for each fault, with its file.

    Raises: ValueError if the folder has no `plan.json`, or a configuration that is no YAML mapping;
    OSError if a file cannot be read.
    """
    try:
        plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
        phases: Mapping[str, Any] = plan["phases"]
        files = {phase["config"]: phase for phase in phases.values()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(
            f"{folder} has no plan.json that can be read: give a folder written by `llmstudy "
            "export gateway`."
        ) from None
    return [
        f"{name}: {sentence}"
        for name, phase in files.items()
        for sentence in faults(read_config(folder / name), phase)
    ]


def check(config: Config, phase: Mapping[str, Any] | None = None) -> None:
    """Checks a configuration. Raises: ValueError with the sentences of `faults`, one a line."""
    if sentences := faults(config, phase):
        raise ValueError("\n".join(sentences))


def faults(config: Config, phase: Mapping[str, Any] | None = None) -> list[str]:
    """What is wrong with a configuration: a sentence for each fault, in the file's order.

    A sentence says where, what LiteLLM 1.106.2 would do at run time, and how to mend it.

    phase: of `plan.json`, under `phases`: what the configuration has to do; None to judge the
    configuration alone.

    >>> config = {"model_list": [{"model_name": "chat", "litellm_params": {
    ...     "model": "openai/gpt-4o", "api_key": "os.environ/OPENAI_API_KEY", "timeout": 60,
    ...     "stream_timeout": 10, "input_cost_per_token": 2.5e-6}}],
    ...     "router_settings": {"allowed_fails": 1, "cooldown_time": 150}}
    >>> faults(config)
    ['model_list[0] (chat): output_cost_per_token is missing, so that every answer would be \
logged as free: write the price per token.']
    """
    if shape := [*_shape(config)]:
        return shape
    sentences = [
        *_unknown_keys(config),
        *_names(config),
        *_prices(config),
        *_ids(config),
        *_timeouts(config),
        *_retries(config),
        *_limits(config),
        *_budgets(config),
        *_secrets(config),
        *_weights(config),
        *_switches(config),
    ]
    if phase is not None:
        sentences += _against_plan(config, phase)
    return list(dict.fromkeys(sentences))


# --- shape and keys -------------------------------------------------------------------------


def _shape(config: Config) -> Iterator[str]:
    deployments = config.get("model_list")
    if not isinstance(deployments, list) or not deployments:
        yield "model_list is missing, so that no request would be served: list the deployments."
        return
    for i, deployment in enumerate(deployments):
        is_whole = isinstance(deployment, Mapping) and isinstance(
            deployment.get("litellm_params"), Mapping
        )
        if not is_whole or not isinstance(deployment.get("model_name"), str):
            yield (
                f"model_list[{i}] lacks a model_name or litellm_params, so that it would serve "
                "nothing: write both."
            )
        elif not isinstance(deployment["litellm_params"].get("model"), str):
            yield f"model_list[{i}] names no model, so that it would serve nothing: write `model`."
    for section in _SECTIONS:
        if not isinstance(config.get(section) or {}, Mapping):
            yield f"{section} is not a mapping, so that it would be ignored: write keys and values."
    for section, name, chains in _all_fallbacks(config):
        if not isinstance(chains, list) or not all(isinstance(c, Mapping) for c in chains):
            yield (
                f"{section}.{name} is not a list of mappings, so that it would be ignored: write "
                "[{alias: [next, after that]}]."
            )


@cache
def _keys() -> Mapping[str, frozenset[str]]:
    """The keys that are known at each place of a configuration."""
    table = pd.read_csv(Path(__file__).with_name("keys.csv"))
    return {str(place): frozenset(keys) for place, keys in table.groupby("place")["key"]}


_WHAT_BECOMES = {
    "root": "would be ignored in silence",
    "router_settings": "would be ignored with one line of warning in the log",
    "litellm_settings": "would be set on the library, where nothing reads it",
    "general_settings": "would be ignored in silence",
    "model_list": "would be ignored in silence",
    "litellm_params": "would be sent to the provider in the body of every request",
    "model_info": "would be shown in /model/info, and nothing else",
}


def _unknown_keys(config: Config) -> Iterator[str]:
    yield from _unknown("root", "the file's root", config)
    for section in _SECTIONS:
        yield from _unknown(section, section, _section(config, section))
    for i, deployment in enumerate(config["model_list"]):
        at = _at(i, deployment)
        yield from _unknown("model_list", at, deployment)
        yield from _unknown("litellm_params", f"{at}.litellm_params", deployment["litellm_params"])
        yield from _unknown("model_info", f"{at}.model_info", deployment.get("model_info") or {})


def _unknown(place: str, at: str, keys: Mapping[str, Any]) -> Iterator[str]:
    from difflib import get_close_matches

    for key in keys:
        if key not in _keys()[place]:
            near = get_close_matches(str(key), sorted(_keys()[place]), n=1)
            mend = f"write {near[0]}" if near else "leave it out"
            yield (
                f"{at}: the key {excerpt(str(key))} is unknown and {_WHAT_BECOMES[place]}: {mend}."
            )


# --- names ----------------------------------------------------------------------------------


def _names(config: Config) -> Iterator[str]:
    groups = {d["model_name"] for d in config["model_list"]}
    for section, name, chains in _all_fallbacks(config):
        where, listed_once = f"{section}.{name}", set[str]()
        for chain in chains:
            if len(chain) > 1:
                yield (
                    f"{where}: of a mapping with several names, {listed(list(map(str, chain)))}, "
                    "only the first is looked up: write a mapping for each."
                )
            for group, targets in chain.items():
                if group in listed_once:
                    yield (
                        f"{where}: {group} has two lists, of which only the first would be tried: "
                        "write one."
                    )
                listed_once.add(group)
                if group not in groups and group != "*":
                    yield (
                        f"{where}: {excerpt(str(group))} is no model_name, so that its fallback "
                        "would never be tried: name one of the model_list."
                    )
                for target in targets or []:
                    if target not in groups:
                        yield (
                            f"{where}: {group} falls back to {excerpt(str(target))}, which is no "
                            "model_name and would be skipped without a word: name one of the "
                            "model_list."
                        )
                if group in (targets or []):
                    yield f"{where}: {group} falls back to itself: name another."
    chains = fallbacks_of(config)
    for group, targets in chains.items():
        for target in targets:
            if group < target and group in chains.get(target, []):
                yield (
                    f"{group} and {target} fall back to each other, so that a request would be "
                    "tried at each again while both are down: leave one of the two out."
                )
    for group in _section(config, "litellm_settings").get("default_fallbacks") or []:
        if group not in groups:
            yield (
                f"litellm_settings.default_fallbacks names {excerpt(str(group))}, which is no "
                "model_name and would be skipped without a word: name one of the model_list."
            )
    for alias, of in (_section(config, "router_settings").get("model_group_alias") or {}).items():
        group = of.get("model") if isinstance(of, Mapping) else of
        if group not in groups:
            yield (
                f"router_settings.model_group_alias: {alias} stands for {excerpt(str(group))}, "
                "which is no model_name, so that its requests would fail: name one of the "
                "model_list."
            )
        elif group in fallbacks_of(config):
            yield (
                f"router_settings.model_group_alias: requests for {alias} would fail without the "
                f"fallbacks of {group}, which are not looked up under an alias: give the "
                f"deployments the model_name {alias} in place of the alias."
            )


def _all_fallbacks(config: Config) -> Iterator[tuple[str, str, Any]]:
    """Every list of fallbacks: its section, its name, and the list as it stands."""
    for section in ("router_settings", "litellm_settings"):
        for name in _FALLBACKS:
            if (chains := _section(config, section).get(name)) is not None:
                yield section, name, chains


def fallbacks_of(config: Config) -> dict[str, list[str]]:
    """The names that are tried in order when one fails with any error, by that name.

    >>> fallbacks_of({"router_settings": {"fallbacks": [{"chat": ["chat-a", "chat-b"]}]}})
    {'chat': ['chat-a', 'chat-b']}
    """
    first: dict[str, list[str]] = {}
    for _, name, chains in _all_fallbacks(config):
        for chain in chains if name == "fallbacks" else ():
            for group, targets in chain.items():
                first.setdefault(group, list(targets or []))
    return first


# --- prices ---------------------------------------------------------------------------------


def _prices(config: Config) -> Iterator[str]:
    for i, deployment in enumerate(config["model_list"]):
        mode = (deployment.get("model_info") or {}).get("mode")
        for name in [RETRIEVAL_PRICES[mode]] if mode in RETRIEVAL_PRICES else PRICES:
            value = price_of(deployment, name)
            if value is not None and value > 0:
                if value >= _DEAREST_USD and name in PRICES:
                    yield (
                        f"{_at(i, deployment)}: {name} is USD {value:g} for one token, as if it "
                        "were that of a million: write the price per token."
                    )
                continue
            stands = "missing" if value is None else "0" if value == 0 else "below 0"
            what = "answer" if name == PRICES[1] else "request"
            unit = "token" if name in PRICES else "search"
            yield (
                f"{_at(i, deployment)}: {name} is {stands}, so that every {what} would be logged "
                f"as free: write the price per {unit}."
            )


def _ids(config: Config) -> Iterator[str]:
    ids = [str((d.get("model_info") or {}).get("id") or "") for d in config["model_list"]]
    for i, (deployment, name) in enumerate(zip(config["model_list"], ids, strict=True)):
        at, low = _at(i, deployment), name.lower()
        together = deployment["litellm_params"]["model"].startswith("together_ai/")
        if not name:
            if together:
                yield (
                    f"{at}: model_info.id is missing, and in the one that it gets LiteLLM reads a "
                    "size of Together's models and bills by it, whatever price is written: write "
                    "an id without a digit before a b."
                )
            continue
        if ids.index(name) != i:
            yield (
                f"{at}: model_info.id {excerpt(name)} is another deployment's too, so that one "
                "would be billed and cooled down as the other: write one of its own."
            )
        if (together or "together_ai" in low or "togethercomputer" in low) and _SIZE.search(low):
            yield (
                f"{at}: in model_info.id {excerpt(name)} LiteLLM reads a size of Together's "
                "models and bills by it, whatever price is written: write an id without a digit "
                "before a b."
            )
        elif "replicate" in low:
            yield (
                f"{at}: in model_info.id {excerpt(name)} LiteLLM reads the name of Replicate and "
                "bills by the second, whatever price is written: write another id."
            )


_DEAREST_USD = 1e-2
"""No token costs as much: USD 10,000 a million."""

_SIZE = re.compile(r"\db")

RETRIEVAL_PRICES = {"embedding": PRICES[0], "rerank": "input_cost_per_query"}
"""What is billed by the mode of a deployment, where not by input and output."""


def price_of(deployment: Mapping[str, Any], name: str) -> float | None:
    """A price of a deployment, which may stand in either block; None where it has none."""
    for block in (deployment["litellm_params"], deployment.get("model_info") or {}):
        if block.get(name) is not None:
            return _number(block[name])
    return None


def _number(value: Any) -> float | None:
    """A number as LiteLLM reads one, from text too; None for what is none."""
    if isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


# --- timeouts, cooldown and retries -----------------------------------------------------------


def _timeouts(config: Config) -> Iterator[str]:
    router = _section(config, "router_settings")
    if router.get("disable_cooldowns"):
        yield (
            "router_settings.disable_cooldowns is on, so that a dead upstream would be tried by "
            "every request: leave it out."
        )
    allowed = _number(router.get("allowed_fails"))
    forgotten_s = _FORGETS_S if _places(config) > _PLACES else 0
    cooldown = _number(router.get("cooldown_time"))  # a deployment's own is no window of failures
    if allowed is None:
        yield (
            "router_settings.allowed_fails is missing, so that a dead upstream would be "
            "tried until every request of a busy minute has failed: write "
            "a number, such as 1."
        )
    elif allowed == DEFAULT_ALLOWED_FAILS:
        yield (
            f"router_settings.allowed_fails is {allowed:g}, LiteLLM's default, which it takes for "
            "left out, so that a dead upstream would be tried until every request of a busy minute "
            "has failed: write another number."
        )
    for i, deployment in enumerate(config["model_list"]):
        at, params = _at(i, deployment), deployment["litellm_params"]
        if (deployment.get("model_info") or {}).get("allowed_fails") is not None:
            yield (
                f"{at}.model_info.allowed_fails switches the cooldown of a lone deployment off: "
                "write allowed_fails under router_settings."
            )
        either = {
            name: _number(_first(params.get(name), router.get(name)))
            for name in ("timeout", "stream_timeout")
        }
        if either["timeout"] is None:
            yield (
                f"{at}: timeout is missing, so that a hanging upstream would be waited for for "
                "6,000 s: write the seconds."
            )
        if either["stream_timeout"] is None:
            yield (
                f"{at}: stream_timeout is missing, so that a stream without a first token would "
                "be waited for as long as for a whole answer: write the seconds."
            )
        if allowed is None or either["timeout"] is None:
            continue
        needed = (allowed + 1) * either["timeout"]
        if cooldown is not None and needed < cooldown <= needed + forgotten_s:
            yield (
                f"{at}: the router remembers {_PLACES} things of all its deployments and forgets "
                f"a failure {forgotten_s} s before its cooldown_time of {cooldown:g} s, so that an "
                f"upstream that hangs for the timeout of {either['timeout']:g} s would never cool "
                f"down: write more than {needed + forgotten_s:g} s."
            )
        elif cooldown is None or cooldown <= needed:
            stands = "missing" if cooldown is None else f"{cooldown:g} s"
            yield (
                f"{at}: the router's cooldown_time is {stands}, but failures are counted within "
                f"it, so that an upstream that hangs for the timeout of {either['timeout']:g} s "
                f"would never cool down: write more than (allowed_fails + 1) x timeout, {needed:g} "
                "s."
            )


_PLACES = 200
"""What the router's memory holds: of each deployment its requests of a minute, and failures."""

_FORGETS_S = 60
"""How much sooner a failure is forgotten once that memory is full of busy deployments' minutes."""


def _places(config: Config) -> int:
    """What the router remembers when all deployments are busy, as seen on the running proxy."""
    limited = [
        any(d["litellm_params"].get(k) for k in ("rpm", "tpm")) for d in config["model_list"]
    ]
    return sum(11 if each else 2 for each in limited)


def _retries(config: Config) -> Iterator[str]:
    chains = fallbacks_of(config)
    if not any(chains.values()):
        return
    router = _section(config, "router_settings")
    value = router.get("num_retries")
    slow = "a request would wait for seconds of back-off before its fallback"
    if value is None:
        yield (
            f"router_settings.num_retries is missing, which means 2, so that {slow}: write "
            "num_retries: 0."
        )
    elif _number(value) != 0:
        yield (
            f"router_settings.num_retries is {excerpt(str(value))}, so that {slow}: write "
            "num_retries: 0."
        )
    for key in ("retry_policy", "model_group_retry_policy"):
        if router.get(key):
            yield f"router_settings.{key} retries, so that {slow}: leave it out."
    if _number(_section(config, "litellm_settings").get("num_retries") or 0) != 0:
        yield f"litellm_settings.num_retries is not 0, so that {slow}: leave it out."
    for i, deployment in enumerate(config["model_list"]):
        own = deployment["litellm_params"].get("num_retries")
        if own and chains.get(deployment["model_name"]):
            yield f"{_at(i, deployment)}: num_retries is not 0, so that {slow}: leave it out."


def _limits(config: Config) -> Iterator[str]:
    checks = _section(config, "router_settings").get("optional_pre_call_checks") or []
    for i, deployment in enumerate(config["model_list"]):
        for key in ("rpm", "tpm"):
            if deployment["litellm_params"].get(key) == 0:
                yield (
                    f"{_at(i, deployment)}: {key} is 0, so that every request would be refused: "
                    "write the limit, or leave it out."
                )
    if "enforce_model_rate_limits" in checks:
        return
    for i, deployment in enumerate(config["model_list"]):
        named = [key for key in ("rpm", "tpm") if deployment["litellm_params"].get(key)]
        if named:
            yield (
                f"{_at(i, deployment)}: {listed(named)} would limit nothing: write "
                "optional_pre_call_checks: [enforce_model_rate_limits] under router_settings."
            )


# --- budgets, keys, weights -------------------------------------------------------------------


def _budgets(config: Config) -> Iterator[str]:
    settings = _section(config, "litellm_settings")
    if not _section(config, "general_settings").get("database_url"):
        for key in _TENANT_BUDGETS:
            if settings.get(key) is not None:
                yield (
                    f"litellm_settings.{key} would limit nothing without a database: write "
                    "general_settings.database_url and start the database, or leave it out."
                )
    budgets = _section(config, "router_settings").get("provider_budget_config") or {}
    deployments = config["model_list"]
    for i, deployment in enumerate(deployments):
        params = deployment["litellm_params"]
        if params.get("max_budget") is not None and params.get("budget_duration") is None:
            yield (
                f"{_at(i, deployment)}: max_budget would limit nothing without a budget_duration: "
                "write one, such as 30d, or leave the budget out."
            )
    for provider, budget in budgets.items():
        if not isinstance(budget, Mapping) or not budget.keys() & {
            "time_period",
            "budget_duration",
        }:
            yield (
                f"router_settings.provider_budget_config.{provider} has no time_period, so that "
                "nothing would be counted or limited: write one, such as 30d."
            )
    for group, targets in fallbacks_of(config).items():
        for limited in (d for d in deployments if d["model_name"] == group):
            params = limited["litellm_params"]
            provider = params.get("custom_llm_provider") or params["model"].partition("/")[0]
            if provider not in budgets and params.get("max_budget") is None:
                continue
            for dearer in (d for d in deployments if d["model_name"] in targets):
                if _dearer(dearer, limited):
                    yield (
                        f"{group}: {params['model']} has a budget and falls back to "
                        f"{dearer['model_name']}, which costs more, so that spending would rise "
                        "once the budget is spent: leave the budget out, or fall back to a "
                        "cheaper route."
                    )


def _dearer(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether a deployment costs more than another, by input or by output token."""
    return any((price_of(one, p) or 0) > (price_of(other, p) or 0) for p in PRICES)


def _secrets(config: Config) -> Iterator[str]:
    bases = [str(d["litellm_params"].get("api_base") or "") for d in config["model_list"]]
    if all(_LOOPBACK.match(base) for base in bases):
        return  # a drill on this machine: its keys open nothing
    places = [(f"{_at(i, d)}", d["litellm_params"]) for i, d in enumerate(config["model_list"])]
    places += [(section, _section(config, section)) for section in _SECTIONS]
    for at, block in places:
        for key, value in block.items():
            if not _SECRET.fullmatch(str(key)) or value in (None, _NO_KEY):
                continue
            if not str(value).startswith(_ENVIRONMENT):
                yield (
                    f"{at}: {key} is written as a value, so that everyone who reads the file has "
                    f"it: write {_ENVIRONMENT}NAME, and set NAME where the gateway runs."
                )
    for name in _section(config, "environment_variables"):
        yield (
            f"environment_variables.{name} is written as a value, so that everyone who reads "
            "the file has it: set it where the gateway runs."
        )


def _weights(config: Config) -> Iterator[str]:
    strategy = _section(config, "router_settings").get("routing_strategy")
    for group, deployments in groups_of(config).items():
        weights = [d["litellm_params"].get("weight") for d in deployments]
        if len(weights) == 1 or all(w is None for w in weights):
            continue
        if any(w is None for w in weights):
            yield (
                f"{group}: a deployment without a weight beside others with one would get no "
                "traffic: give each a weight."
            )
        elif not sum(_number(w) or 0 for w in weights):
            yield f"{group}: the weights are all 0 and would be ignored: give each its share."
        elif strategy not in (None, "simple-shuffle"):
            yield (
                f"{group}: the weights would be ignored by routing_strategy "
                f"{excerpt(str(strategy))}: write simple-shuffle."
            )


_SWITCHES = {
    ("litellm_settings", "drop_params"): (
        "a JSON schema or a tool that a provider does not know would be left out in silence"
    ),
    ("litellm_settings", "set_verbose"): "prompts and keys would stand in the gateway's output",
    ("general_settings", "store_prompts_in_spend_logs"): "prompts would lie in the database",
    ("general_settings", "background_health_checks"): (
        "paid requests would be sent to every provider for as long as it runs"
    ),
}
"""Switches that must be off, and what they would do."""


def _switches(config: Config) -> Iterator[str]:
    for (section, key), effect in _SWITCHES.items():
        if _section(config, section).get(key):
            yield f"{section}.{key} is on, so that {effect}: leave it out."
    for i, deployment in enumerate(config["model_list"]):
        params = deployment["litellm_params"]
        if params.get("drop_params") or params.get("additional_drop_params"):
            effect = _SWITCHES["litellm_settings", "drop_params"]
            yield f"{_at(i, deployment)}: drop_params is on, so that {effect}: leave it out."
        if params.get("mock_response") is not None:
            yield (
                f"{_at(i, deployment)}: mock_response would answer every request in the "
                "provider's place: leave it out."
            )


# --- against the plan -------------------------------------------------------------------------


def groups_of(config: Config) -> dict[str, list[dict[str, Any]]]:
    """The deployments of each model_name."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for deployment in config["model_list"]:
        groups.setdefault(deployment["model_name"], []).append(deployment)
    return groups


_SAME = {
    "model": "model",
    "timeout": "timeout_s",
    "stream_timeout": "stream_timeout_s",
    "cooldown_time": "cooldown_s",
    "rpm": "rpm",
    "tpm": "tpm",
    "service_tier": "service_tier",
}
"""What stands in a deployment's litellm_params as in the plan, by its name there."""

PLANNED = {
    "input_cost_per_token": "input_usd_per_token",
    "output_cost_per_token": "output_usd_per_token",
    CACHED_PRICE: "cached_input_usd_per_token",
    "input_cost_per_query": "usd_per_search",
}
"""The prices of a deployment, by their names in the plan; it has those that it is billed by."""


def _against_plan(config: Config, phase: Mapping[str, Any]) -> Iterator[str]:
    groups, aliases, chains = groups_of(config), phase["aliases"], fallbacks_of(config)
    yield from _planned_settings(config, aliases)
    for name in groups:
        if name not in aliases:
            yield f"{name} is in no plan, so that nobody answers for it: leave it out."
    for name, planned in aliases.items():
        if name not in groups:
            yield f"{name} is missing, so that its requests would fail: write its deployments."
            continue
        if chains.get(name, []) != planned["fallbacks"]:
            yield (
                f"{name} falls back to {_order(chains.get(name, []))}, but the plan says "
                f"{_order(planned['fallbacks'])}: write the plan's."
            )
        there = {(d.get("model_info") or {}).get("id"): d for d in groups[name]}
        for unplanned in there.keys() - {d["id"] for d in planned["deployments"]}:
            yield f"{name}: the deployment {unplanned} is in no plan: leave it out."
        total = sum(_number(d["litellm_params"].get("weight")) or 0 for d in groups[name])
        for deployment in planned["deployments"]:
            if deployment["id"] not in there:
                yield f"{name}: the deployment {deployment['id']} of the plan is missing: write it."
                continue
            yield from _planned_values(name, there[deployment["id"]], deployment, total)


def _planned_settings(config: Config, aliases: Mapping[str, Any]) -> Iterator[str]:
    """What stands beside the deployments, and is other than every export has it."""
    settings = _section(config, "litellm_settings")
    if not _section(config, "general_settings").get("master_key"):
        yield (
            "general_settings.master_key is missing, so that whoever reaches the port may spend: "
            f"write {_ENVIRONMENT}LITELLM_MASTER_KEY."
        )
    if not settings.get("turn_off_message_logging"):
        yield (
            "litellm_settings.turn_off_message_logging is not on, so that prompts and answers "
            "would stand in the log: write true."
        )
    if _LOG_ROWS not in _as_list(settings.get("callbacks")):
        yield (
            f"litellm_settings.callbacks does not name {_LOG_ROWS}, so that no request would have "
            "a row in the log: add it."
        )
    for key in ("callbacks", "success_callback", "failure_callback", "service_callback"):
        for name in _as_list(settings.get(key)):
            if name != _LOG_ROWS:
                yield (
                    f"litellm_settings.{key} names {excerpt(str(name))}, which the plan does not, "
                    "so that what is known of every request would go there: leave it out."
                )
    if settings.get("cache"):
        yield (
            "litellm_settings.cache is on, so that one caller would get another's answer, logged "
            "as free: leave it out."
        )
    if settings.get("default_fallbacks"):
        yield (
            "litellm_settings.default_fallbacks is not in the plan, so that any workload's data "
            "would go there: leave it out."
        )
    for section, kind, chains in _all_fallbacks(config):
        for chain in chains if kind != "fallbacks" else ():
            for name, targets in chain.items():
                planned = aliases.get(name, {}).get("fallbacks", [])
                if further := [each for each in targets or [] if each not in planned]:
                    yield (
                        f"{section}.{kind}: {name} falls back to {listed(further)}, but the plan "
                        f"says {_order(planned)}: leave it out."
                    )
    for name in _section(config, "router_settings").get("model_group_alias") or {}:
        yield f"router_settings.model_group_alias: {name} is in no plan: leave it out."


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


_LOG_ROWS = "log_rows.handler"
"""The callback that writes the log which our importer reads."""


def _planned_values(
    name: str, stands: Mapping[str, Any], planned: Mapping[str, Any], total: float
) -> Iterator[str]:
    """Values of a deployment that differ from the plan's. total: the weights of its group."""
    at, params = f"{name}: {planned['id']}", stands["litellm_params"]
    prices = {key: name for key, name in PLANNED.items() if planned.get(name) is not None}
    for key, of_plan in prices.items():
        price = price_of(stands, key)
        if price is None or abs(price - planned[of_plan]) > 1e-9 * planned[of_plan]:
            yield (
                f"{at}: {key} is {'missing' if price is None else f'{price:g}'}, but the plan says "
                f"{planned[of_plan]:g}, so that its cost would be logged wrong: write the plan's."
            )
    for key, of_plan in _SAME.items():
        if params.get(key) != planned[of_plan]:
            yield (
                f"{at}: {key} is {_written(params.get(key))}, but the plan says "
                f"{_written(planned[of_plan])}: write the plan's."
            )
    variables = {"api_base": planned["api_base"], **planned["keys"]}
    for key, variable in variables.items():
        wanted, shown = variable and f"{_ENVIRONMENT}{variable}", params.get(key)
        if shown != wanted:
            if shown is not None and not str(shown).startswith(_ENVIRONMENT):
                shown = "another"  # never the key itself
            yield (
                f"{at}: {key} is {_written(shown)}, but the plan says {_written(wanted)}, so that "
                "requests or a key would go to somebody else: write the plan's."
            )
    mode, wanted = (stands.get("model_info") or {}).get("mode"), planned.get("mode", "chat")
    if mode != wanted:
        yield (
            f"{at}: model_info.mode is {_written(mode)}, but the plan says {wanted}, so that its "
            f"answers would be checked and billed as what they are not: write {wanted}."
        )
    written = {*_SAME, *prices, *variables, "weight"}
    for key in sorted(params.keys() - written):
        yield (
            f"{at}: {key} is not in the plan, so that its requests would be other than planned: "
            "leave it out."
        )
    share = (_number(params.get("weight")) or 0) / total if total else 1.0
    if abs(share - planned["weight_share"]) > 1e-9:
        yield (
            f"{at}: its weight gives it {100 * share:.4g} % of the requests, but the plan says "
            f"{100 * planned['weight_share']:.4g} %: write the weights of the plan."
        )


def _written(value: Any) -> str:
    return "nothing" if value is None else excerpt(str(value))


def _order(names: list[str]) -> str:
    return ", then ".join(names) or "nothing"


# --- places -----------------------------------------------------------------------------------


def _section(config: Config, name: str) -> Mapping[str, Any]:
    return config.get(name) or {}


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _at(i: int, deployment: Mapping[str, Any]) -> str:
    return f"model_list[{i}] ({excerpt(deployment['model_name'])})"

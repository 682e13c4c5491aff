"""Writes the gateway's files: LiteLLM's configuration of phase 1 and of phase 3, and all around it.

The same decision gives the same bytes. What is written has passed `check.check` against its plan.
"""

import json
from collections.abc import Iterator, Mapping
from difflib import unified_diff
from io import StringIO
from math import gcd
from pathlib import Path
from typing import Any

from llmstudy import io
from llmstudy.export.check import PLANNED, check
from llmstudy.export.plan import (
    ALLOWED_FAILS,
    LITELLM,
    Alias,
    Deployment,
    Plan,
    RetrievalDeployment,
    cooldown_s,
    plan_of,
)
from llmstudy.export.proxy import OFFLINE
from llmstudy.export.serving import serving_scripts
from llmstudy.export.source import Decision
from llmstudy.text import share, usd

PHASES = {1: "APIs only, behind the gateway", 3: "hybrid, at the first step of the canary"}

LONE_RETRIES = 2
"""Retries of a request where no name has a fallback: LiteLLM's own default, written out."""

_LEAST_S = 20
"""The timeout from which on a cooldown is long enough though the router forgets a minute of it."""

LOG_MODULE = "log_rows"
"""The callback module beside each configuration, which writes the log that `llmstudy` reads."""


def export_gateway(
    decision: Decision, out: Path, tenant_budgets: Mapping[str, float] | None = None
) -> list[Path]:
    """Writes the gateway's files of a decision into a folder; files of the same name are replaced.

    tenant_budgets: USD a month, by tenant; they need a database, which `compose.yaml` then has.
    Returns: the files, in order.
    Raises: ValueError as `plan.plan_of`, or for a configuration that `check` refuses; nothing is
    written then. OSError if the folder cannot be written.
    """
    plan = plan_of(decision, tenant_budgets)
    files = {**gateway_files(plan), **serving_scripts(decision, plan)}
    written = []
    for name, content in files.items():
        file = out / name
        file.parent.mkdir(parents=True, exist_ok=True)
        io.write(file, content)
        written.append(file)
    return written


def gateway_files(plan: Plan) -> dict[str, str]:
    """The text of each file of a plan's gateway, by its path in the folder."""
    as_json = plan.as_json()
    configs: dict[int, str] = {}
    for phase in plan.phases:
        config = config_of(as_json, phase)
        check(config, as_json["phases"][str(phase)])
        configs[phase] = yaml_text(config, _head(plan, phase))
    callback = _page("log_rows.py.j2")
    files = {}
    for phase, text in configs.items():
        files[f"phase-{phase}/config.yaml"] = text
        files[f"phase-{phase}/{LOG_MODULE}.py"] = callback
    files["requests.yaml"] = yaml_text(
        {"requests": _log_block(plan)}, "For the study file: how it reads this gateway's log."
    )
    files["plan.json"] = io.dumps(as_json)
    files["diff.md"] = _page("diff.md.j2", rows=[*_switch(plan)], diff=_diff(configs))
    shown = {
        "plan": plan,
        "litellm": LITELLM,
        "phases": PHASES,
        "database": bool(plan.tenant_budgets),
        "offline": OFFLINE,
        "variables": variables(plan),
        "aliases": [*_public(plan)],
        "retrieval": {name: _retrieval_words(each) for name, each in plan.retrieval.items()},
        "allowed_fails": ALLOWED_FAILS,
        "price_changes": _price_changes(plan),
    }
    files[".env.example"] = _page("env.j2", **shown)
    files["compose.yaml"] = _page("compose.yaml.j2", **shown)
    if plan.tenant_budgets:
        files["tenants.json"] = json.dumps([*_teams(plan)], indent=1) + "\n"
    files["README.md"] = _page("README.md.j2", **shown)
    return files


# --- the configuration --------------------------------------------------------------------------


def config_of(plan: Mapping[str, Any], phase: int) -> dict[str, Any]:
    """LiteLLM's configuration of a phase. plan: as `plan.json`."""
    aliases: Mapping[str, Any] = plan["phases"][str(phase)]["aliases"]
    deployments = [
        (name, each, weight)
        for name, alias in aliases.items()
        for each, weight in zip(alias["deployments"], _weights(alias["deployments"]), strict=True)
    ]
    longest_s = max(each["timeout_s"] for _, each, _ in deployments)
    chains = [{name: alias["fallbacks"]} for name, alias in aliases.items() if alias["fallbacks"]]
    router = {
        "routing_strategy": "simple-shuffle",
        "fallbacks": chains,
        # where a fallback exists, a retry only keeps it waiting
        "num_retries": 0 if chains else LONE_RETRIES,
        "timeout": longest_s,
        "stream_timeout": max(each["stream_timeout_s"] for _, each, _ in deployments),
        "allowed_fails": ALLOWED_FAILS,
        # also the window in which failures are counted, but for what a full memory forgets of it
        "cooldown_time": cooldown_s(max(longest_s, _LEAST_S)),
    }
    if any(each["rpm"] or each["tpm"] for _, each, _ in deployments):
        router["optional_pre_call_checks"] = ["enforce_model_rate_limits"]
    general = {"master_key": "os.environ/LITELLM_MASTER_KEY"}
    if plan["tenant_budgets_usd_per_month"]:
        general["database_url"] = "os.environ/DATABASE_URL"
    return {
        "model_list": [_entry(*each) for each in deployments],
        "router_settings": router,
        "litellm_settings": {
            "callbacks": [f"{LOG_MODULE}.handler"],
            "turn_off_message_logging": True,
            "drop_params": False,
        },
        "general_settings": general,
    }


def _entry(name: str, deployment: Mapping[str, Any], weight: int | None) -> dict[str, Any]:
    params: dict[str, Any] = {"model": deployment["model"]}
    if deployment["api_base"]:
        params["api_base"] = f"os.environ/{deployment['api_base']}"
    params |= {key: f"os.environ/{variable}" for key, variable in deployment["keys"].items()}
    params |= {
        "weight": weight,
        "timeout": deployment["timeout_s"],
        "stream_timeout": deployment["stream_timeout_s"],
        "cooldown_time": deployment["cooldown_s"],
        "rpm": deployment["rpm"],
        "tpm": deployment["tpm"],
        "service_tier": deployment["service_tier"],
    }
    params |= {key: deployment.get(name) for key, name in PLANNED.items()}
    return {
        "model_name": name,
        "litellm_params": {key: value for key, value in params.items() if value is not None},
        "model_info": {"id": deployment["id"], "mode": deployment.get("mode", "chat")},
    }


def _weights(deployments: list[Mapping[str, Any]]) -> list[int | None]:
    """The smallest whole weights of these shares, which LiteLLM asks for; none for a lone one."""
    if len(deployments) == 1:
        return [None]
    weights = [round(10_000 * each["weight_share"]) for each in deployments]
    return [weight // gcd(*weights) for weight in weights]


def yaml_text(config: Mapping[str, Any], head: str) -> str:
    """A configuration as YAML, which YAML 1.1 and 1.2 read alike, under a comment.

    >>> print(yaml_text({"a": {"usd": 2e-06, "s": 5}}, "Prices."), end="")
    # Prices.
    a:
      usd: 2.0e-06
      s: 5
    """
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width = 10_000
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.representer.add_representer(
        float, lambda r, x: r.represent_scalar("tag:yaml.org,2002:float", _float(x))
    )
    yaml.representer.ignore_aliases = lambda *_: True
    stream = StringIO()
    yaml.dump(dict(config), stream)
    return "".join(f"# {line}\n" for line in head.splitlines()) + stream.getvalue()


def _float(x: float) -> str:
    """A number with a point, without which YAML 1.1 reads 2e-06 as text."""
    mantissa, e, exponent = f"{x:.10g}".partition("e")
    return f"{mantissa}{'' if '.' in mantissa else '.0'}{e}{exponent}"


def _head(plan: Plan, phase: int) -> str:
    return (
        f"Phase {phase}: {PHASES[phase]}. For LiteLLM {LITELLM}.\n"
        f"Written by `llmstudy export gateway` from {plan.study.study} ({plan.origin}), prices as "
        f"of {plan.study.as_of}."
    )


# --- what people read -----------------------------------------------------------------------------


def variables(plan: Plan) -> list[str]:
    """The environment variables that the configurations read, in order."""
    named = {"LITELLM_MASTER_KEY": None}
    for aliases in plan.phases.values():
        for alias in aliases.values():
            for each in alias.deployments:
                named |= dict.fromkeys(filter(None, (each.api_base, *each.keys.values())))
    for retrieval in plan.retrieval.values():
        named |= dict.fromkeys(filter(None, (retrieval.api_base, *retrieval.keys.values())))
    if plan.tenant_budgets:
        named |= dict.fromkeys(("DATABASE_URL", "POSTGRES_PASSWORD", "LITELLM_SALT_KEY"))
    return list(named)


def _public(plan: Plan) -> Iterator[dict[str, Any]]:
    """A row per name of a workload: who answers it in each phase, and what it falls back to."""
    for name, alias in plan.phases[1].items():
        if name == alias.workload:
            row: dict[str, Any] = {"alias": name}
            for phase, aliases in plan.phases.items():
                row[f"phase_{phase}"] = _routes(aliases[name])
                row[f"fallbacks_{phase}"] = ", then ".join(
                    aliases[each].deployments[0].route for each in aliases[name].fallbacks
                )
            yield row


def _routes(alias: Alias) -> str:
    """Who answers a name, such as `openai-gpt-4o 99 %, h200-llama 1 %`."""
    return ", ".join(f"{each.route} {share(each.weight_share)}" for each in alias.deployments)


def _retrieval_words(deployment: RetrievalDeployment) -> dict[str, str]:
    """The model behind `embeddings` or `rerank`, where it is asked, and its price."""
    per_token, per_search = deployment.input_usd_per_token, deployment.usd_per_search
    return {
        "model": f"{deployment.provider} {deployment.model.partition('/')[2]}",
        "path": "/v1/rerank" if deployment.mode == "rerank" else "/v1/embeddings",
        "price": (
            f"USD {per_search:g} a search"
            if per_token is None
            else f"USD {1e6 * per_token:g} a million tokens"
        ),
    }


def _switch(plan: Plan) -> Iterator[dict[str, Any]]:
    """The rows of `_public` with the prices of the routes that phase 3 adds."""
    for row in _public(plan):
        before = {each.route for each in plan.phases[1][row["alias"]].deployments}
        new = [e for e in plan.phases[3][row["alias"]].deployments if e.route not in before]
        yield {**row, "adds": "; ".join(map(_priced, new)) or "nothing"}


def _priced(deployment: Deployment) -> str:
    per_mtok = (
        usd(1e6 * each)
        for each in (deployment.input_usd_per_token, deployment.output_usd_per_token)
    )
    return f"{deployment.route} ({', '.join(per_mtok)} a million tokens in, out)"


def _diff(configs: Mapping[int, str]) -> str:
    one, other = (configs[phase].splitlines(keepends=True) for phase in (1, 3))
    return "".join(unified_diff(one, other, "phase-1/config.yaml", "phase-3/config.yaml", n=2))


def _price_changes(plan: Plan) -> list[str]:
    """The announced changes of prices within the horizon: route and day."""
    from llmstudy import prices
    from llmstudy.study import ApiRoute
    from llmstudy.units import month_start

    until = month_start(plan.study.as_of, plan.study.months)
    routes = {e.route: None for a in plan.phases[3].values() for e in a.deployments}
    changed: list[str] = []
    for name in routes:
        route = plan.study.routes[name]
        if isinstance(route, ApiRoute) and route.price is None:
            changes = prices.scheduled_changes(
                route.provider, route.model, plan.study.as_of, until, route.tier
            )
            changed += [f"{name} on {day}" for day in changes["effective"]]
    return changed


def _log_block(plan: Plan) -> dict[str, Any]:
    """The study's block on the gateway's log: every name of the gateway as its workload."""
    names = {
        name: alias.workload
        for aliases in plan.phases.values()
        for name, alias in aliases.items()
        if name != alias.workload
    }
    return {
        "path": "log/gateway.jsonl",
        "columns": {"workload": "model_group"},
        "words": {"workload": names},
    }


def _teams(plan: Plan) -> Iterator[dict[str, Any]]:
    """What LiteLLM's `/team/new` takes for each tenant's budget."""
    names = [*(row["alias"] for row in _public(plan)), *plan.retrieval]
    for tenant, budget_usd in plan.tenant_budgets.items():
        yield {
            "team_alias": tenant,
            "max_budget": budget_usd,
            "budget_duration": "30d",
            "models": names,
        }


def _page(name: str, **shown: Any) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name).render(**shown)

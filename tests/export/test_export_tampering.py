"""An export that somebody changed: each change is refused, with a sentence that names it.

No gateway is started: what `export verify` says before it would start one.
"""

import copy
import json
import shutil

import pytest

from llmstudy import paths
from llmstudy.export.check import folder_faults, read_config
from llmstudy.export.gateway import gateway_files, yaml_text
from llmstudy.export.plan import Alias, Deployment, Plan, cooldown_s
from llmstudy.export.verify import verify
from llmstudy.study import load

ROUTE = "h200-llama-3.1-70b"


def deployment(name, route, model, share=1.0, base=None, key="OPENAI_API_KEY", usd=2e-6):
    return Deployment(
        id=f"{name}:{route}",
        route=route,
        arm="self_hosted" if base else "proprietary_api",
        provider="self-hosted" if base else "openai",
        model=model,
        api_base=base,
        keys={"api_key": key},
        weight_share=share,
        input_usd_per_token=usd,
        output_usd_per_token=4 * usd,
        cached_input_usd_per_token=usd / 2,
        timeout_s=30,
        stream_timeout_s=10,
        cooldown_s=cooldown_s(30),
    )


def api(name, share=1.0):
    return deployment(name, "openai-gpt-4o", "openai/gpt-4o", share)


def other(name):
    return deployment(
        name, "novita-llama-3.1-70b", "groq/gpt-oss-120b", key="GROQ_API_KEY", usd=1e-6
    )


def hosted(name, share=1.0):
    return deployment(
        name, ROUTE, f"hosted_vllm/{ROUTE}", share, "H200_API_BASE", "H200_API_KEY", 4e-7
    )


FIRST = {
    "chat": Alias("chat", (api("chat"),), ("chat.groq",)),
    "chat.groq": Alias("chat", (other("chat.groq"),)),
}
THIRD = {
    "chat": Alias("chat", (api("chat", 0.9), hosted("chat", 0.1)), ("chat.api", "chat.groq")),
    "chat.api": Alias("chat", (api("chat.api"),)),
    "chat.groq": FIRST["chat.groq"],
    "chat.h200": Alias("chat", (hosted("chat.h200"),), ("chat.api", "chat.groq")),
}


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    """An export of two phases: an API, another to fall back to, a tenth self-hosted in phase 3."""
    folder = tmp_path_factory.mktemp("export")
    study = load(paths.params("default.yaml"))
    for name, text in gateway_files(Plan(study, "a test", {1: FIRST, 3: THIRD}, (), {})).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def tampered(export, tmp_path):
    """What verification says of phase 3 after a change, without the phase's name."""

    def of(change):
        shutil.copytree(export, tmp_path, dirs_exist_ok=True)
        path = tmp_path / "phase-3" / "config.yaml"
        config = copy.deepcopy(read_config(path))
        change(config)
        path.write_text(yaml_text(config, "Tampered with."))
        return verify(tmp_path)

    return of


def params(i=0, **values):
    """Changes parameters of a deployment; `...` takes one out."""

    def change(config):
        block = config["model_list"][i]["litellm_params"]
        block.update(values)
        for key in [key for key, value in values.items() if value is ...]:
            del block[key]

    return change


def section(name, **values):
    def change(config):
        block = config.setdefault(name, {})
        block.update(values)
        for key in [key for key, value in values.items() if value is ...]:
            del block[key]

    return change


def router(**values):
    return section("router_settings", **values)


def settings(**values):
    return section("litellm_settings", **values)


def info(i=0, **values):
    return lambda config: config["model_list"][i]["model_info"].update(values)


def chains(*added):
    return lambda config: config["router_settings"]["fallbacks"].extend(added)


TAMPERED = {
    "a weight of 0": (params(1, weight=0), "gives it 0 % of the requests"),
    "weights of 0": (
        lambda c: [d["litellm_params"].update(weight=0) for d in c["model_list"][:2]],
        "the weights are all 0",
    ),
    "weights turned around": (params(weight=1), "gives it 50 % of the requests"),
    "a weight left out": (params(1, weight=...), "without a weight beside others"),
    "another strategy": (router(routing_strategy="latency-based-routing"), "would be ignored by"),
    "a cycle of fallbacks": (chains({"chat.api": ["chat"]}), "fall back to each other"),
    "a fallback turned round": (chains({"chat.groq": ["chat.api"]}), "but the plan says nothing"),
    "a second list": (chains({"chat": ["chat.api"]}), "has two lists"),
    "fallbacks gone": (router(fallbacks=[]), "chat falls back to nothing, but the plan says"),
    "a longer context to nobody": (
        router(context_window_fallbacks=[{"chat": ["gpt-4-turbo"]}]),
        "falls back to gpt-4-turbo, which is no model_name",
    ),
    "a longer context to another's": (
        router(context_window_fallbacks=[{"chat.groq": ["chat.api"]}]),
        "context_window_fallbacks: chat.groq falls back to chat.api, but the plan says nothing",
    ),
    "a policy's fallback": (
        router(content_policy_fallbacks=[{"chat.api": ["chat.groq"]}]),
        "content_policy_fallbacks: chat.api falls back to chat.groq",
    ),
    "a fallback of all": (settings(default_fallbacks=["chat.groq"]), "any workload's data"),
    "an alias": (router(model_group_alias={"gpt-4o": "chat.groq"}), "gpt-4o is in no plan"),
    "a wildcard": (
        lambda c: c["model_list"].append(
            {**copy.deepcopy(c["model_list"][0]), "model_name": "openai/*", "model_info": {}}
        ),
        "openai/* is in no plan",
    ),
    "a deployment twice": (
        lambda c: c["model_list"].append(copy.deepcopy(c["model_list"][0])),
        "is another deployment's too",
    ),
    "one more deployment": (
        lambda c: c["model_list"].append(
            {**copy.deepcopy(c["model_list"][0]), "model_info": {"id": "new", "mode": "chat"}}
        ),
        "the deployment new is in no plan",
    ),
    "an id gone": (lambda c: c["model_list"][0].pop("model_info"), "of the plan is missing"),
    "a key in the file": (params(api_key="sk-0123456789"), "api_key is written as a value"),
    "another's key": (
        params(api_key="os.environ/GROQ_API_KEY"),
        "api_key is os.environ/GROQ_API_KEY, but the plan says os.environ/OPENAI_API_KEY",
    ),
    "a key of nobody": (
        params(api_key="os.environ/OPENAI_KEY"),
        "OPENAI_KEY is not in .env.example",
    ),
    "no key": (params(api_key=...), "api_key is nothing, but the plan says"),
    "another address": (params(api_base="https://elsewhere.example/v1"), "go to somebody else"),
    "another server": (params(1, api_base="http://10.0.0.9/v1"), "api_base is another"),
    "another provider": (params(model="azure/gpt-4o"), "model is azure/gpt-4o, but the plan says"),
    "no provider": (
        params(1, model="h200"),
        "model is h200, but the plan says hosted_vllm/h200-llama",
    ),
    "a shadow": (info(mode="shadow"), "mode is shadow, but the plan says chat"),
    "another kind": (info(mode="embedding"), "mode is embedding, but the plan says chat"),
    "a shadow in its parameters": (params(mode="shadow"), "the key mode is unknown"),
    "a budget without a time": (params(max_budget=5), "without a budget_duration"),
    "a providers budget without": (
        router(provider_budget_config={"openai": {"budget_limit": 1}}),
        "openai has no time_period",
    ),
    "a timeout beyond a client's": (params(timeout=6000), "timeout is 6000, but the plan says 30"),
    "a stream timeout beyond": (params(stream_timeout=60), "stream_timeout is 60, but the plan"),
    "a cooldown of nothing": (params(cooldown_time=0), "cooldown_time is 0, but the plan says"),
    "a short memory": (router(cooldown_time=30), "cooldown_time is 30 s"),
    "no cooldown": (router(disable_cooldowns=True), "disable_cooldowns is on"),
    "no requests": (params(rpm=0), "rpm is 0, so that every request would be refused"),
    "requests without limit": (params(rpm=100), "rpm would limit nothing"),
    "retries": (router(num_retries=2), "num_retries is 2"),
    "retries of a policy": (
        router(retry_policy={"TimeoutErrorRetries": 3}),
        "retry_policy retries",
    ),
    "a parameter dropped": (settings(drop_params=True), "would be left out in silence"),
    "a field dropped": (
        params(additional_drop_params=["response_format"]),
        "drop_params is on",
    ),
    "a shorter answer": (params(max_tokens=16), "max_tokens is not in the plan"),
    "a body of its own": (params(extra_body={"user": "x"}), "extra_body is not in the plan"),
    "an answer made up": (params(mock_response="yes"), "mock_response would answer"),
    "an order over weights": (params(order=1), "order is not in the plan"),
    "a silent log": (settings(callbacks=[]), "no request would have a row in the log"),
    "a log elsewhere": (
        settings(callbacks=["log_rows.handler", "langfuse"]),
        "callbacks names langfuse, which the plan does not",
    ),
    "another log": (settings(success_callback=["s3"]), "success_callback names s3"),
    "prompts in the log": (settings(turn_off_message_logging=False), "prompts and answers"),
    "prompts in the output": (settings(set_verbose=True), "set_verbose is on"),
    "answers of others": (settings(cache=True), "one caller would get another's answer"),
    "an open door": (section("general_settings", master_key=...), "master_key is missing"),
    "a door with its key": (section("general_settings", master_key="sk-1"), "as a value"),
    "paid probes": (
        section("general_settings", background_health_checks=True),
        "background_health_checks is on",
    ),
    "a variable in the file": (
        lambda c: c.update(environment_variables={"OPENAI_API_KEY": "sk-0123456789"}),
        "environment_variables.OPENAI_API_KEY is written as a value",
    ),
    "a price of a million": (params(input_cost_per_token=2.5), "as if it were that of a million"),
    "a price in cents": (params(output_cost_per_token=8e-4), "but the plan says 8e-06"),
    "no price of the cache": (
        params(cache_read_input_token_cost=...),
        "cache_read_input_token_cost is missing",
    ),
    "a price as null": (params(output_cost_per_token=None), "output_cost_per_token is missing"),
    "billed by its size": (info(id="chat:together_ai-70b"), "bills by it, whatever price"),
    "a name gone": (
        lambda c: c["model_list"].pop(2),
        "chat.api is missing, so that its requests would fail",
    ),
}


@pytest.mark.parametrize(("change", "words"), TAMPERED.values(), ids=TAMPERED)
def test_a_change_is_refused_before_the_start_and_named(tampered, change, words):
    seen = tampered(change)
    assert not seen.drilled
    assert [fault for fault in seen.faults if words in fault], seen.faults
    assert all(fault.startswith("phase 3: ") for fault in seen.faults)
    assert "sk-0123456789" not in " ".join(seen.faults)


def test_an_export_as_it_was_written_has_no_fault(export):
    assert folder_faults(export) == []


def test_phases_that_changed_places_are_refused_each(export, tmp_path):
    for name in ("plan.json", ".env.example"):
        (tmp_path / name).write_text((export / name).read_text())
    for one, other_ in ((1, 3), (3, 1)):
        (tmp_path / f"phase-{one}").mkdir()
        text = (export / f"phase-{other_}" / "config.yaml").read_text()
        (tmp_path / f"phase-{one}" / "config.yaml").write_text(text)
    faults = verify(tmp_path).faults
    assert any(
        f.startswith("phase 1: chat: the deployment chat:h200-llama-3.1-70b is in no plan")
        for f in faults
    )
    assert any(
        f.startswith("phase 3: chat: the deployment chat:h200-llama-3.1-70b of the plan")
        for f in faults
    )


def test_a_key_in_the_example_is_refused_and_not_repeated(export, tmp_path):
    shutil.copytree(export, tmp_path, dirs_exist_ok=True)
    file = tmp_path / ".env.example"
    file.write_text(file.read_text().replace("OPENAI_API_KEY=", "OPENAI_API_KEY=sk-0123456789"))
    seen = verify(tmp_path)
    assert [fault for fault in seen.faults if "OPENAI_API_KEY has a value" in fault]
    assert "sk-0123456789" not in " ".join(seen.faults)


def test_a_phase_that_the_plan_lost_is_still_one_of_two(export, tmp_path):
    plan = json.loads((export / "plan.json").read_text())
    del plan["phases"]["1"]
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(OSError, match="config"):
        verify(tmp_path)

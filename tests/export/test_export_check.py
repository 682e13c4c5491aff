"""The check against what was seen on the running proxy (fixtures/field/gateway)."""

import copy
import re
from collections.abc import Mapping

import pytest

from llmstudy.export.check import check, faults, read_config


def laid_over(base, patch):
    """As the fixtures say: mappings merge, lists replace."""
    if not isinstance(base, Mapping) or not isinstance(patch, Mapping):
        return patch
    return {**base, **{k: laid_over(base.get(k), v) for k, v in patch.items()}}


@pytest.fixture
def field(shared):
    folder = shared / "fixtures" / "field" / "gateway"

    def case(name):
        (file,) = folder.glob(f"{name}-*.yaml")
        return laid_over(read_config(folder / "00-base.yaml"), read_config(file))

    return case


@pytest.mark.shared
@pytest.mark.parametrize("name", ["00", "01", "02", "12"])
def test_a_fault_upstream_is_no_fault_of_the_configuration(field, name):
    # the base cools down for 5 s after 3 failures of 4 s each, which its own case 03 speaks against
    config = field(name)
    assert all("cooldown_time is 5 s" in sentence for sentence in faults(config))
    config["router_settings"]["cooldown_time"] = 13
    assert faults(config) == []


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("03", ["cooldown_time is 2 s"]),
        ("04", ["num_retries is 2", "allowed_fails is missing"]),
        ("07", ["requests for public would fail without the fallbacks of chat"]),
        ("08", ["the key router_setting is", "cooldwn_time is", "stream_timeot is"]),
        ("10", ["(chat): input_cost_per_token is missing", "(chat-known): input_cost_per_token"]),
        ("11", ["max_budget would limit nothing without a database", "has a budget and falls"]),
    ],
)
def test_what_bit_users_of_gateways_is_refused_with_its_fault(field, name, expected):
    sentences = faults(field(name))
    for words in expected:
        assert [s for s in sentences if words in s], sentences


BASE = {
    "model_list": [
        {
            "model_name": name,
            "litellm_params": {
                "model": model,
                "api_key": "os.environ/SOME_API_KEY",
                "input_cost_per_token": usd,
                "output_cost_per_token": 4 * usd,
            },
        }
        for name, model, usd in [
            ("chat", "hosted_vllm/llama", 2e-7),
            ("chat-a", "openai/a", 2e-6),
            ("chat-b", "groq/b", 1e-7),
        ]
    ],
    "router_settings": {
        "fallbacks": [{"chat": ["chat-a", "chat-b"]}],
        "num_retries": 0,
        "allowed_fails": 2,
        "cooldown_time": 13,
        "timeout": 4,
        "stream_timeout": 2,
    },
    "general_settings": {"master_key": "os.environ/LITELLM_MASTER_KEY"},
}

PARAMS = ("model_list", 0, "litellm_params")
ROUTER = ("router_settings",)


def changed(where, **values):
    config = copy.deepcopy(BASE)
    node = config
    for key in where:
        node = node.setdefault(key, {}) if isinstance(node, dict) else node[key]
    for key, value in values.items():
        if value is ...:
            del node[key]
        else:
            node[key] = value
    return config


BUDGET = {"budget_limit": 1, "time_period": "1d"}


def named(name, model=None, of=(0,)):
    """The configuration with the id of some deployments, and the model of the first."""
    config = copy.deepcopy(BASE)
    for i in of:
        config["model_list"][i]["model_info"] = {"id": name}
    if model:
        config["model_list"][0]["litellm_params"]["model"] = model
    return config


def shared_out(where, value):
    """The configuration with two weighted deployments of one name, and a value changed."""
    config = copy.deepcopy(BASE)
    config["model_list"] += [copy.deepcopy(config["model_list"][0])]
    for i in (0, -1):
        config["model_list"][i]["litellm_params"]["weight"] = 1
    config[where[0]][where[1]] = value
    return config


def test_a_sound_configuration_passes():
    assert faults(BASE) == []


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (changed((), router_setting={}), "the key router_setting is unknown"),
        (changed(ROUTER, cooldwn_time=9), "write cooldown_time"),
        (changed(PARAMS, stream_timeot=1), "sent to the provider"),
        (changed(("litellm_settings",), calbacks=[]), "write callbacks"),
        (changed(("general_settings",), masterkey="x"), "general_settings: the key masterkey"),
        (changed(ROUTER, fallbacks=[{"chat": ["chat-c"]}]), "falls back to chat-c"),
        (changed(ROUTER, fallbacks=[{"chatt": ["chat-a"]}]), "chatt is no model_name"),
        (changed(ROUTER, fallbacks=[{"chat": ["chat"]}]), "falls back to itself"),
        (changed(ROUTER, fallbacks=["chat-a"]), "not a list of mappings"),
        (changed(ROUTER, model_group_alias={"public": "chat"}), "requests for public would fail"),
        (changed(ROUTER, model_group_alias={"p": "caht"}), "p stands for caht"),
        (changed(PARAMS, input_cost_per_token=None), "input_cost_per_token is missing"),
        (changed(PARAMS, input_cost_per_token=0), "input_cost_per_token is 0"),
        (changed(PARAMS, output_cost_per_token="free"), "output_cost_per_token is missing"),
        (changed(ROUTER, cooldown_time=12), "write more than (allowed_fails + 1) x timeout, 12 s"),
        (changed(ROUTER, cooldown_time=...), "cooldown_time is missing"),
        (changed(PARAMS, timeout=60), "the timeout of 60 s would never cool down"),
        (changed(ROUTER, allowed_fails=...), "allowed_fails is missing"),
        (changed(ROUTER, allowed_fails=3, cooldown_time=60), "which it takes for left out"),
        (changed(ROUTER, redis_password="secret"), "redis_password is written as a value"),
        (changed(("litellm_settings",), openai_key="sk-1"), "openai_key is written as a value"),
        (changed(PARAMS, aws_access_key_id="AKIA0"), "aws_access_key_id is written as a value"),
        (changed(ROUTER, disable_cooldowns=True), "disable_cooldowns is on"),
        (changed(ROUTER, timeout=...), "waited for for 6,000 s"),
        (changed(ROUTER, stream_timeout=...), "stream_timeout is missing"),
        (changed(ROUTER, num_retries=...), "num_retries is missing, which means 2"),
        (changed(ROUTER, num_retries=1), "num_retries is 1"),
        (changed(PARAMS, num_retries=1), "num_retries is not 0"),
        (changed(PARAMS, rpm=60), "rpm would limit nothing"),
        (changed(("litellm_settings",), max_budget=5), "without a database"),
        (
            changed(ROUTER, provider_budget_config={"hosted_vllm": BUDGET}),
            "falls back to chat-a, which costs more",
        ),
        (
            changed(PARAMS, max_budget=5, budget_duration="1d"),
            "falls back to chat-a, which costs more",
        ),
        (
            changed(ROUTER, provider_budget_config={"groq": {"budget_limit": 1}}),
            "groq has no time_period",
        ),
        (
            changed(("model_list", 2, "litellm_params"), max_budget=5),
            "limit nothing without a budget_duration",
        ),
        (changed(ROUTER, fallbacks=[{"chat": ["chat-a"]}, {"chat-a": ["chat"]}]), "each other"),
        (changed(ROUTER, fallbacks=[{"chat": ["chat-a"]}, {"chat": ["chat-b"]}]), "two lists"),
        (changed(ROUTER, fallbacks=[{"chat": ["chat-a"], "chat-a": ["chat-b"]}]), "the first"),
        (changed(PARAMS, input_cost_per_token=2.5), "as if it were that of a million"),
        (changed(PARAMS, rpm=0), "rpm is 0, so that every request would be refused"),
        (changed(PARAMS, drop_params=True), "drop_params is on"),
        (changed(PARAMS, mock_response="hi"), "mock_response would answer every request"),
        (changed(("litellm_settings",), drop_params=True), "would be left out in silence"),
        (changed(("litellm_settings",), set_verbose=True), "prompts and keys"),
        (changed(("general_settings",), store_prompts_in_spend_logs=True), "in the database"),
        (changed(("general_settings",), background_health_checks=True), "paid requests"),
        (shared_out(("router_settings", "routing_strategy"), "least-busy"), "by routing_strategy"),
        (named("replicate-of-chat"), "bills by the second"),
        (named("chat:together_ai-70b"), "bills by it, whatever price is written"),
        (named("chat:a-70b", "together_ai/llama"), "bills by it, whatever price is written"),
        (named(None, "together_ai/llama"), "model_info.id is missing"),
        (named("two", of=(0, 1)), "model_info.id two is another deployment's too"),
        (changed(PARAMS, api_key="sk-live-0123456789"), "api_key is written as a value"),
        (changed(("general_settings",), master_key="sk-1"), "master_key is written as a value"),
        (changed(("model_list", 0, "model_info"), allowed_fails=1), "lone deployment"),
    ],
)
def test_each_fault_is_refused_alone_and_named(config, words):
    sentences = faults(config)
    assert sentences
    assert all(words in sentence for sentence in sentences if "(chat-" not in sentence), sentences
    with pytest.raises(ValueError, match=re.escape(sentences[0])):
        check(config)


def test_a_key_is_never_repeated_in_its_sentence():
    sentences = faults(changed(PARAMS, api_key="sk-live-0123456789"))
    assert "sk-live" not in " ".join(sentences)


def test_a_price_is_no_secret_though_it_ends_with_a_token():
    assert faults(changed(PARAMS, input_cost_per_token="2e-7")) == []


def test_a_budget_may_fall_back_to_a_cheaper_route():
    config = changed(ROUTER, fallbacks=[{"chat-a": ["chat-b"]}])
    config["router_settings"]["provider_budget_config"] = {"openai": BUDGET}
    assert faults(config) == []


def test_a_database_makes_budgets_of_tenants_work():
    config = changed(("litellm_settings",), max_budget=5)
    config["general_settings"]["database_url"] = "os.environ/DATABASE_URL"
    assert faults(config) == []


def test_a_file_that_is_no_configuration_is_refused(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("- a\n- b\n")
    with pytest.raises(ValueError, match="not a mapping"):
        read_config(file)
    file.write_text("a: [")
    with pytest.raises(ValueError, match="not YAML"):
        read_config(file)
    with pytest.raises(ValueError, match="model_list is missing"):
        check({})


def busy(n, cooldown_s, **limits):
    """A configuration of many deployments, of which any may fail."""
    config = copy.deepcopy(BASE)
    config["model_list"] += [
        {
            "model_name": f"name-{i}",
            "litellm_params": {**BASE["model_list"][0]["litellm_params"], **limits},
        }
        for i in range(n)
    ]
    config["router_settings"] |= {
        "cooldown_time": cooldown_s,
        "optional_pre_call_checks": ["enforce_model_rate_limits"],
    }
    return config


def test_many_busy_deployments_need_a_minute_more_to_cool_down():
    """As `tests/gateway` sees it on the running proxy."""
    assert faults(busy(20, 13)) == []
    assert "forgets a failure 60 s before" in faults(busy(100, 72))[0]
    assert faults(busy(100, 73)) == []
    assert faults(busy(10, 13, rpm=100)) == []
    assert "write more than 72 s" in faults(busy(20, 13, rpm=100))[0]

"""What the drill starts, and what it says of what came: without a gateway. The real one is drilled
in tests/gateway."""

import json
import sys
from pathlib import Path

import pytest

from llmstudy import paths
from llmstudy.export import proxy
from llmstudy.export.accounting import Reply
from llmstudy.export.check import read_config
from llmstudy.export.copies import KEY, Price, drill_copy
from llmstudy.export.drill import (
    FORM,
    Sent,
    _doubtful,
    _of_chain,
    _of_forms,
    _of_import,
    _of_prices,
    _table,
    _unformed,
    _well,
    limits_of,
)
from llmstudy.export.environment import LOCK, install_commands
from llmstudy.export.upstreams import TOKENS, Upstream
from llmstudy.export.verify import verify

SELF_HOSTED = {
    "model": "hosted_vllm/open",
    "api_base": "os.environ/OPEN_API_BASE",
    "api_key": "os.environ/OPEN_API_KEY",
    "timeout": 60,
    "stream_timeout": 10,
    "weight": 1,
    "rpm": 30,
    "input_cost_per_token": 2e-7,
    "output_cost_per_token": 6e-7,
}
API = {
    "model": "anthropic/claude",
    "api_key": "os.environ/ANTHROPIC_API_KEY",
    "timeout": 60,
    "weight": 3,
    "input_cost_per_token": 2e-6,
    "output_cost_per_token": 8e-6,
    "cache_read_input_token_cost": 1e-6,
}
CONFIG = {
    "model_list": [
        {"model_name": "chat", "litellm_params": API, "model_info": {"id": "chat:api"}},
        {"model_name": "chat", "litellm_params": SELF_HOSTED, "model_info": {"id": "chat:open"}},
        {"model_name": "chat.api", "litellm_params": API, "model_info": {"id": "chat.api:api"}},
    ],
    "router_settings": {
        "fallbacks": [{"chat": ["chat.api"]}],
        "num_retries": 0,
        "allowed_fails": 2,
        "timeout": 60,
        "cooldown_time": 200,
    },
    "general_settings": {"master_key": "os.environ/MASTER", "database_url": "os.environ/DB"},
}


def chain_of(fault, streamed=True, config=CONFIG):
    copied = drill_copy(config, [fault])
    return copied, next(c for c in copied.chains if c.streamed == streamed)


def reply_of(name, n=TOKENS, error=False, ended=True):
    content = "".join(f"{name}#{i} " for i in range(1, n + 1))
    return Reply(content, error, ended, 0.1, 0.2)


def test_the_copy_points_at_mocks_alone_and_holds_no_variable_of_the_file():
    copied = drill_copy(CONFIG, ["500"])
    urls = {name: f"http://127.0.0.1/{name}" for name in copied.upstreams}
    config = copied.addressed(urls)
    assert "os.environ" not in json.dumps(config)
    assert config["general_settings"] == {"master_key": KEY}
    bases = {each["litellm_params"]["api_base"] for each in config["model_list"]}
    assert bases == set(urls.values())
    assert [change.partition(":")[0] for change in copied.changes][-1] == "anthropic"
    assert json.dumps(CONFIG).count("os.environ") == 6  # the file's own is as it was


def test_a_name_is_drilled_at_its_self_hosted_deployment_with_upstreams_of_its_own():
    copied = drill_copy(CONFIG, ["500", "hang"])
    assert {chain.of for chain in copied.chains} == {"chat"}
    assert len(copied.chains) == 4
    assert all(chain.primary.deployment == "chat:open" for chain in copied.chains)
    # the API in the group and the fallback are one upstream
    assert all(len(chain.others) == 1 for chain in copied.chains)
    everyone = [u for c in copied.chains for u in (c.primary.upstream, c.others[0].upstream)]
    assert len(set(everyone)) == 8
    shares = [(route.deployment, share) for route, share in copied.shares["chat"]]
    assert shares == [("chat:api", 0.75), ("chat:open", 0.25)]


def test_shortened_times_trip_a_cooldown_exactly_where_those_of_the_file_do():
    for cooldown_s, trips in ((200, True), (181, True), (179, False), (60, False)):
        config = CONFIG | {
            "router_settings": CONFIG["router_settings"] | {"cooldown_time": cooldown_s}
        }
        router = drill_copy(config, ["hang"]).config["router_settings"]
        assert (router["cooldown_time"] > 3 * router["timeout"]) == trips


def test_a_public_alias_is_drilled_under_its_public_name():
    router = CONFIG["router_settings"] | {"model_group_alias": {"public": "chat"}}
    copied = drill_copy(CONFIG | {"router_settings": router}, ["500"])
    assert {chain.of for chain in copied.chains} == {"chat", "public"}


def test_cached_tokens_are_billed_at_their_price_or_at_that_of_input():
    assert Price(2e-6, 8e-6, 1e-6).of(100, 40, 20) == pytest.approx(60e-6 * 2 + 40e-6 + 160e-6)
    assert Price(2e-6, 8e-6, None).of(100, 40, 20) == pytest.approx(200e-6 + 160e-6)


@pytest.mark.parametrize("shown", [None, 0, 0.0])
def test_a_price_of_nothing_is_a_fault_that_names_its_deployment(shown):
    copied = drill_copy(CONFIG, ["healthy"])
    info = [
        {
            "model_name": each["model_name"],
            "model_info": {
                **{k: v for k, v in each["litellm_params"].items() if "cost" in k},
                **({"output_cost_per_token": shown} if i == 1 else {}),
            },
        }
        for i, each in enumerate(CONFIG["model_list"])
    ]
    [fault] = _of_prices(copied, info)
    assert "chat:open" in fault
    assert "output_cost_per_token" in fault
    assert "logged as free" in fault


def test_a_name_that_does_not_fall_back_is_a_fault():
    copied, chain = chain_of("500")
    lost = [Sent("r", chain, Reply("", True, False, None, 0.1), 1)]
    assert "1 of 1 requests were not answered" in next(iter(_of_chain(copied, chain, lost)))
    saved = [Sent("r", chain, reply_of(chain.others[0].upstream), 1)]
    assert list(_of_chain(copied, chain, saved)) == []


def test_an_upstream_that_is_tried_again_or_never_cools_down_is_a_fault():
    copied, chain = chain_of("500")
    answer = reply_of(chain.others[0].upstream)
    again = [Sent("r", chain, answer, 3)]
    assert "num_retries 0" in next(iter(_of_chain(copied, chain, again)))
    warm = [Sent(f"r{i}", chain, answer, 1) for i in range(4)]
    assert "never cools down" in next(iter(_of_chain(copied, chain, warm)))
    assert list(_of_chain(copied, chain, [*warm[:3], Sent("r3", chain, answer, 0)])) == []


@pytest.mark.parametrize(("fault", "ended"), [("cut", False), ("clean end", True)])
def test_a_stream_that_stops_after_its_first_token_is_truncated_and_said_so(fault, ended):
    copied, chain = chain_of(fault)
    short = reply_of(chain.primary.upstream, 5, error=not ended, ended=ended)
    sent = [Sent(f"{fault}-{i}", chain, short, 1) for i in range(4)]
    rows = _table(sent, [])
    table = rows.set_index(["fault", "streamed"])
    assert table.loc[(fault, True), ["requests", "truncated"]].tolist() == [4, 4]
    assert table.loc[(fault, True), "silent"] == (4 if ended else 0)
    assert list(_of_chain(copied, chain, sent)) == []
    [limit] = limits_of(rows)
    assert "4 of 4 were lost (100%)" in limit
    assert ("nothing but its length" in limit) == ended


def rows_of(sent, usd, **changes):
    """A log of the gateway: one row of the sample for each request, with its session and cost."""
    sample = (paths.ROOT / "tests/requests/samples/litellm.jsonl").read_text().splitlines()
    row = next(r for r in map(json.loads, sample) if r["status"] == "success")
    details = {"prompt_tokens_details": {"cached_tokens": 40}}
    return [
        {
            **row,
            **{"litellm_call_id": each.identity, "trace_id": each.identity, "id": each.identity},
            **{"session_id": each.identity, "prompt_tokens": 100, "completion_tokens": 20},
            "metadata": {**row["metadata"], "usage_object": details},
            "response_cost": usd,
            **changes,
        }
        for each in sent
    ]


def import_faults(tmp_path, sent, rows):
    log = tmp_path / "rows.jsonl"
    log.write_text("\n".join(map(json.dumps, rows)))
    return list(_of_import(sent, log))


def test_a_log_agrees_with_what_was_sent_or_the_fault_is_named(tmp_path):
    _, chain = chain_of("healthy")
    sent = [Sent(f"r{i}", chain, reply_of(chain.primary.upstream), 1) for i in range(3)]
    usd = 100 * 2e-7 + 20 * 6e-7
    assert import_faults(tmp_path, sent, rows_of(sent, usd)) == []
    free = import_faults(tmp_path, sent, rows_of(sent, 0.0))
    assert any("is logged at USD 0" in fault for fault in free)
    [guessed] = set(import_faults(tmp_path, sent, rows_of(sent, usd, completion_tokens=16)))
    assert "not (100, 40, 20)" in guessed


def test_a_health_check_in_the_log_is_nobodys_request(tmp_path):
    _, chain = chain_of("healthy")
    sent = [Sent(f"r{i}", chain, reply_of(chain.primary.upstream), 1) for i in range(3)]
    usd = 100 * 2e-7 + 20 * 6e-7
    rows = rows_of(sent, usd)
    check = {**rows[0], "litellm_call_id": "x", "id": "x", "trace_id": "x", "session_id": ""}
    name = "litellm-internal-health-check"
    tagged = {**check, "metadata": {**check["metadata"], "user_api_key_alias": name}}
    assert import_faults(tmp_path, sent, [*rows, tagged]) == []
    [fault] = import_faults(tmp_path, sent, [*rows, check])
    assert "nobody sent" in fault


def test_a_gateway_that_does_not_start_is_one_sentence_with_its_last_words(tmp_path):
    with (
        pytest.raises(ValueError, match=r"does not start with this configuration: .*litellm"),
        proxy.running({"model_list": []}, tmp_path, Path(sys.executable), KEY, {}, "http://x"),
    ):
        pass


def test_the_environment_is_locked_by_hashes_and_names_no_index():
    text = paths.data(LOCK).read_text()
    assert "litellm==1.106.2" in text
    assert "://" not in text
    pins = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
    assert all("==" in pin and pin.endswith("\\") for pin in pins)
    make, install = install_commands(Path("there"), paths.data(LOCK))
    assert "venv" in make
    assert "--require-hashes" in install


def test_a_folder_that_is_no_export_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no plan\.json of an export"):
        verify(tmp_path)


def test_the_copy_is_a_configuration_that_litellm_reads_numbers_from(tmp_path):
    from ruamel.yaml import YAML

    yaml = YAML(typ="safe", pure=True)
    yaml.version = "1.1"
    yaml.dump(drill_copy(CONFIG, ["500"]).config, tmp_path / "config.yaml")
    params = read_config(tmp_path / "config.yaml")["model_list"][1]["litellm_params"]
    assert params["input_cost_per_token"] == 2e-7


def test_a_form_that_did_not_reach_the_upstream_is_a_fault_and_one_refused_is_said():
    copied, _ = chain_of("healthy")
    chain = _well(copied, "chat")
    upstream = Upstream(chain.primary.upstream)
    mocks = {upstream.name: upstream}
    body = {"messages": [{"role": "user", "content": "form-0"}], **FORM}
    answered = [Sent("form-0", chain, reply_of(upstream.name), 1)]
    upstream.bodies = [body]
    assert list(_of_forms(mocks, answered)) == []
    upstream.bodies = [{**body, "response_format": {"type": "json_object"}}]
    [fault] = _of_forms(mocks, answered)
    assert fault.startswith("chat: response_format did not reach the upstream")
    refused = [Sent("form-0", chain, Reply("", True, False, None, 0.1))]
    assert list(_of_forms(mocks, refused)) == []
    assert list(_unformed(refused)) == [
        "chat: LiteLLM refuses a request with a JSON schema and a tool."
    ]


def test_few_chains_with_a_fault_are_drilled_again_and_many_are_no_chance():
    copied = drill_copy(CONFIG, ["healthy", "500", "429", "killed", "cut", "clean end"])
    whole = {chain: reply_of(chain.primary.upstream) for chain in copied.chains}
    lost = Reply("", True, False, None, 0.1)

    def sent(bad):
        for i, (chain, reply) in enumerate(whole.items()):
            yield Sent(f"{chain.name}-1", chain, lost if i in bad else reply, 1)
            yield Sent(f"{chain.name}-after", chain, reply, 1, recovered=True)

    assert _doubtful(copied, list(sent(()))) == ()
    assert _doubtful(copied, list(sent((2,)))) == (copied.chains[2],)
    assert _doubtful(copied, list(sent(range(8)))) == ()

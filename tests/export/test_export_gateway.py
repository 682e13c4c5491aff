"""The gateway's files of the four studies that ship, and what of them the check refuses."""

import copy
import json
import re
import shlex
import shutil
import subprocess
from datetime import date

import pandas as pd
import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from llmstudy import paths
from llmstudy.cli import app
from llmstudy.evidence.case import permissions
from llmstudy.export.check import faults, folder_faults, groups_of, read_config
from llmstudy.export.gateway import config_of, export_gateway, gateway_files
from llmstudy.export.plan import plan_of
from llmstudy.export.serving import known_flags, serve_flags
from llmstudy.export.source import Decision, decision
from llmstudy.prices import rate
from llmstudy.requests.importers import read_log
from llmstudy.study import ApiRoute

STUDIES = ("default", "hyperscale", "regulated", "source_memo")


@pytest.fixture(scope="session")
def decided(assessed):
    def of(name):
        assessment = assessed(name)
        return Decision(assessment.case.study, assessment.results, name)

    return of


@pytest.fixture(scope="session")
def exported(decided, tmp_path_factory):
    """The folder of a study's export."""
    folders = {}

    def of(name):
        if name not in folders:
            folders[name] = tmp_path_factory.mktemp(name)
            export_gateway(decided(name), folders[name])
        return folders[name]

    return of


def configs(folder):
    return {phase: read_config(folder / f"phase-{phase}" / "config.yaml") for phase in (1, 3)}


def plan_in(folder):
    return json.loads((folder / "plan.json").read_text())


@pytest.mark.parametrize("name", STUDIES)
def test_the_files_pass_the_check_and_are_the_same_bytes_again(exported, decided, name, tmp_path):
    folder = exported(name)
    plan = plan_in(folder)
    for phase, config in configs(folder).items():
        assert faults(config, plan["phases"][str(phase)]) == []
    again = export_gateway(decided(name), tmp_path)
    assert len(again) == len([f for f in folder.rglob("*") if f.is_file()])
    for file in again:
        assert file.read_bytes() == (folder / file.relative_to(tmp_path)).read_bytes()


@pytest.mark.parametrize("name", STUDIES)
def test_both_versions_of_yaml_read_the_same_numbers(exported, name):
    for phase, config in configs(exported(name)).items():
        text = (exported(name) / f"phase-{phase}" / "config.yaml").read_text()
        assert YAML(typ="safe", pure=True).load(text) == config
        for deployment in config["model_list"]:
            params = deployment["litellm_params"]
            assert all(isinstance(v, float) for k, v in params.items() if "_cost" in k)


@pytest.mark.parametrize("name", STUDIES)
def test_no_file_holds_a_key_and_every_variable_is_in_the_example(exported, name):
    folder = exported(name)
    example = (folder / ".env.example").read_text().splitlines()
    assert all(line.endswith("=") for line in example if not line.startswith("#"))
    named = {line[:-1] for line in example if line.endswith("=")}
    for phase in (1, 3):
        text = (folder / f"phase-{phase}" / "config.yaml").read_text()
        assert set(re.findall(r"os\.environ/(\w+)", text)) <= named
        keys = re.findall(r"(?:_key|key_id|master_key): (\S+)", text)
        assert keys
        assert all(key.startswith("os.environ/") for key in keys)


@pytest.mark.parametrize("name", STUDIES)
def test_no_workloads_data_goes_where_the_study_forbids_it(exported, decided, name):
    table = permissions(decided(name).study)
    permitted = {
        (row["workload"], row["route"]) for row in table.to_dict("records") if row["permitted"]
    }
    for phase in plan_in(exported(name))["phases"].values():
        aliases = phase["aliases"]
        for alias in aliases.values():
            chain = [alias, *(aliases[each] for each in alias["fallbacks"])]
            for each in chain:
                assert each["workload"] == alias["workload"]
                for deployment in each["deployments"]:
                    assert (alias["workload"], deployment["route"]) in permitted


@pytest.mark.parametrize("name", STUDIES)
def test_an_apis_price_is_the_contracts_or_the_lists(exported, decided, name):
    study = decided(name).study
    for phase in plan_in(exported(name))["phases"].values():
        for alias in phase["aliases"].values():
            for each in alias["deployments"]:
                route = study.routes[each["route"]]
                if not isinstance(route, ApiRoute):
                    continue
                factor = route.regional_premium.value if route.regional_premium else 1.0
                if route.price:
                    expected = route.price.input.value, route.price.output.value
                else:
                    listed = rate(route.provider, route.model, study.as_of, route.tier)
                    if listed.has_context_tiers:
                        continue
                    expected = listed.input_usd_per_mtok, listed.output_usd_per_mtok
                ours = each["input_usd_per_token"], each["output_usd_per_token"]
                assert [1e6 * x for x in ours] == pytest.approx([factor * x for x in expected])
                assert 0 < each["cached_input_usd_per_token"] <= each["input_usd_per_token"]


@pytest.mark.parametrize("name", STUDIES)
def test_a_fleets_month_is_logged_at_its_whole_cost(exported, decided, name):
    results, study = decided(name).results, decided(name).study
    fleets = {(row["workload"], row["route"]): row for row in results["05_self_hosting"]["fleets"]}
    for alias in plan_in(exported(name))["phases"]["3"]["aliases"].values():
        for each in alias["deployments"]:
            if each["arm"] == "self_hosted":
                fleet = fleets[alias["workload"], each["route"]]
                requests = study.workloads[alias["workload"]].intake.requests.value
                tokens = fleet["usd_per_request"] / fleet["usd_per_mtok"] * 1e6
                assert requests * tokens * each["output_usd_per_token"] == pytest.approx(
                    fleet["month_usd"], rel=1e-6
                )
                assert each["cached_input_usd_per_token"] == each["input_usd_per_token"]


@pytest.mark.parametrize("name", STUDIES)
def test_phase_1_is_on_apis_and_phase_3_sends_a_step_to_each_target(exported, decided, name):
    study, phases = decided(name).study, plan_in(exported(name))["phases"]
    for alias in phases["1"]["aliases"].values():
        assert all(each["arm"] != "self_hosted" for each in alias["deployments"])
    moved = 0
    for workload in study.workloads:
        if workload not in phases["3"]["aliases"]:
            continue
        before = {d["route"] for d in phases["1"]["aliases"][workload]["deployments"]}
        after = phases["3"]["aliases"][workload]["deployments"]
        assert sum(d["weight_share"] for d in after) == pytest.approx(1)
        added = [d for d in after if d["route"] not in before]
        moved += len(added)
        assert all(0 < d["weight_share"] < 0.5 for d in added)
        for each in added:
            assert f"+      id: {each['id']}" in (exported(name) / "diff.md").read_text()
    assert moved


@pytest.mark.parametrize("name", STUDIES)
def test_a_second_provider_answers_or_the_readme_says_that_none_does(exported, decided, name):
    readme = (exported(name) / "README.md").read_text()
    aliases = plan_in(exported(name))["phases"]["1"]["aliases"]
    for workload in decided(name).study.workloads:
        if workload not in aliases:
            assert f"{workload}: no API route may process its data" in readme
            continue
        alias = aliases[workload]
        chain = [alias, *(aliases[each] for each in alias["fallbacks"])]
        providers = [each["deployments"][0]["provider"] for each in chain]
        assert len(set(providers)) == len(providers)
        none = f"{workload}: the study has no second API provider" in readme
        assert none == (len(providers) == 1)


def test_a_route_without_its_contract_is_replaced_and_the_readme_says_by_which(exported):
    """The BAA of today's route of patient-messages has lapsed."""
    folder = exported("regulated")
    (first,) = plan_in(folder)["phases"]["1"]["aliases"]["patient-messages"]["deployments"]
    assert first["route"] == "azure-gpt-4o"
    assert "openai-gpt-4o may not process its data" in (folder / "README.md").read_text()


def test_a_batch_is_named_and_never_routed(exported):
    folder = exported("hyperscale")
    assert "batch:" not in (folder / "phase-3" / "config.yaml").read_text()
    assert "openai-gpt-6-luna-batch" in (folder / "README.md").read_text()


def test_the_parts_of_a_rate_limit_sum_to_no_more_than_the_accounts(exported, decided):
    limit = decided("hyperscale").study.routes["openai-gpt-4o"].rate_limit
    for phase, config in configs(exported("hyperscale")).items():
        checks = config["router_settings"]["optional_pre_call_checks"]
        assert checks == ["enforce_model_rate_limits"], phase
        limited = [d["litellm_params"] for d in config["model_list"]]
        limited = [p for p in limited if p["model"] == "openai/gpt-4o"]
        for key, most in (
            ("rpm", limit.requests_per_minute.value),
            ("tpm", limit.tokens_per_minute.value),
        ):
            assert 0.99 * most < sum(p[key] for p in limited) <= most


def test_a_tenants_budget_brings_its_database(decided):
    plan = plan_of(decided("default"), {"sales": 500.0})
    files = gateway_files(plan)
    compose = YAML(typ="safe").load(files["compose.yaml"])
    assert set(compose["services"]) == {"gateway", "database"}
    assert "DATABASE_URL=" in files[".env.example"]
    (team,) = json.loads(files["tenants.json"])
    assert (team["team_alias"], team["max_budget"]) == ("sales", 500.0)
    without = gateway_files(plan_of(decided("default")))
    assert set(YAML(typ="safe").load(without["compose.yaml"])["services"]) == {"gateway"}
    assert "tenants.json" not in without


# --- tampered with --------------------------------------------------------------------------


def tampering():
    """Each way of the field cases, and more: what is done to phase 3, and what is said of it."""

    def router(key, value):
        return lambda config: config["router_settings"].__setitem__(key, value)

    def params(key, value):
        return lambda config: config["model_list"][0]["litellm_params"].__setitem__(key, value)

    def drop(key):
        return lambda config: config["model_list"][0]["litellm_params"].pop(key)

    yield "03", router("cooldown_time", 2), "cooldown_time is 2 s"
    yield "04", router("num_retries", 2), "num_retries is 2"
    yield "04 left out", lambda c: c["router_settings"].pop("num_retries"), "which means 2"
    yield "07", router("model_group_alias", {"public": "support-chat"}), "requests for public"
    yield "08 root", lambda c: c.update(router_setting={}), "router_setting is unknown"
    yield "08 router", router("cooldwn_time", 9), "cooldwn_time is unknown"
    yield "08 params", params("stream_timeot", 1), "stream_timeot is unknown"
    yield "10", params("input_cost_per_token", None), "input_cost_per_token is missing"
    yield "10 output", drop("output_cost_per_token"), "output_cost_per_token is missing"
    yield "10 cached", drop("cache_read_input_token_cost"), "cache_read_input_token_cost is missing"
    yield "11", lambda c: c["litellm_settings"].update(max_budget=1), "without a database"
    yield (
        "fallback",
        lambda c: c["router_settings"]["fallbacks"][0]["support-chat"].insert(0, "api-a"),
        "falls back to api-a, which is no model_name",
    )
    yield "weights", params("weight", 50), "write the weights of the plan"
    yield "price", params("output_cost_per_token", 1e-6), "but the plan says 1e-05"
    yield "model", params("model", "openai/gpt-4o-mini"), "but the plan says openai/gpt-4o"
    yield "key", params("api_key", "sk-0123456789"), "api_key is written as a value"
    yield "gone", lambda c: c["model_list"].pop(1), "of the plan is missing"
    yield "order", lambda c: c["router_settings"]["fallbacks"][0]["support-chat"].reverse(), "then"


@pytest.mark.parametrize(
    ("tamper", "words"), [pytest.param(*each[1:], id=each[0]) for each in tampering()]
)
def test_an_export_that_was_tampered_with_is_refused(exported, tamper, words):
    folder = exported("default")
    config = copy.deepcopy(configs(folder)[3])
    tamper(config)
    sentences = faults(config, plan_in(folder)["phases"]["3"])
    assert [sentence for sentence in sentences if words in sentence], sentences


def test_a_folder_is_checked_as_a_whole(exported, tmp_path):
    folder = exported("default")
    assert folder_faults(folder) == []
    copied = tmp_path / "copy"
    shutil.copytree(folder, copied)
    file = copied / "phase-1" / "config.yaml"
    file.write_text(file.read_text().replace("num_retries: 0", "num_retries: 3"))
    (sentence,) = folder_faults(copied)
    assert sentence.startswith("phase-1/config.yaml: router_settings.num_retries is 3")
    (copied / "plan.json").unlink()
    with pytest.raises(ValueError, match=r"has no plan\.json"):
        folder_faults(copied)


def test_without_any_fallback_a_request_is_tried_again(exported):
    phases = configs(exported("source_memo"))
    assert [phases[n]["router_settings"]["num_retries"] for n in (1, 3)] == [2, 0]


def test_what_no_other_provider_takes_is_named(exported):
    readme = (exported("regulated") / "README.md").read_text()
    assert "patient-messages: its calls use assistants of today's vendor" in readme
    assert "patient-messages: its tools are in a vendor's own form" in readme


def test_weights_are_whole_and_give_the_shares_of_the_canary(exported):
    config = configs(exported("default"))[3]
    weights = [d["litellm_params"]["weight"] for d in groups_of(config)["support-chat"]]
    assert weights == [98, 1, 1]


def test_a_configuration_is_made_from_its_plan_alone(exported):
    plan = plan_in(exported("default"))
    assert config_of(plan, 3) == configs(exported("default"))[3]


def test_a_request_that_fell_back_is_its_workloads_in_the_log(exported, tmp_path):
    """A row as the callback writes it, of a fallback's attempt."""
    block = YAML(typ="safe").load((exported("default") / "requests.yaml").read_text())["requests"]
    row = {
        "litellm_call_id": "1",
        "trace_id": "1",
        "startTime": 1796133819.8,
        "endTime": 1796133820.3,
        "completionStartTime": 1796133820.3,
        "status": "success",
        "custom_llm_provider": "openai",
        "model": "gpt-4o",
        "call_type": "acompletion",
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "response_cost": 0.00045,
    }
    groups = ["support-chat", "support-chat.openai-gpt-4o", "extraction.h200-gpt-oss-120b"]
    rows = [row | {"litellm_call_id": g, "trace_id": g, "model_group": g} for g in groups]
    log = tmp_path / "gateway.jsonl"
    log.write_text("".join(json.dumps(each) + "\n" for each in rows))
    read = read_log(log, columns=block["columns"], words=block["words"]).accepted
    assert list(read["workload"]) == ["support-chat", "support-chat", "extraction"]
    assert read["logged_usd"].sum() == pytest.approx(3 * 0.00045)


# --- the command ----------------------------------------------------------------------------


def test_the_command_exports_a_finished_run(run_of, tmp_path):
    out = tmp_path / "gateway"
    done = CliRunner().invoke(
        app, ["export", "gateway", str(run_of("default").folder), "--out", str(out), "--json"]
    )
    assert done.exit_code == 0, done.stderr
    files = {file.relative_to(out).as_posix() for file in out.rglob("*") if file.is_file()}
    assert {str(out / file) for file in files} == set(json.loads(done.stdout)["files"])
    assert {"phase-1/config.yaml", "phase-3/config.yaml", "diff.md", "plan.json"} <= files
    assert {".env.example", "compose.yaml", "README.md", "phase-3/log_rows.py"} <= files
    compile((out / "phase-1" / "log_rows.py").read_text(), "log_rows.py", "exec")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{empty}"], "is not a finished run"),
        (["{run}", "--tenant", "sales"], "write a name and its USD a month"),
        (["{run}", "--tenant", "sales=-1"], "write a name and its USD a month"),
    ],
)
def test_the_command_refuses_what_it_cannot_use(run_of, tmp_path, arguments, words):
    places = {"empty": tmp_path, "run": run_of("default").folder}
    typed = [each.format(**places) for each in arguments]
    done = CliRunner().invoke(app, ["export", "gateway", *typed, "--out", str(tmp_path / "out")])
    assert (done.exit_code, (tmp_path / "out").exists()) == (2, False)
    assert words in done.stderr


def test_a_run_is_read_as_its_chapters_were_written(run_of, decided):
    one, other = decision(run_of("default").folder), decided("default")
    assert one.study == other.study
    phases = [plan_of(each).as_json()["phases"] for each in (one, other)]
    assert phases[0] == phases[1]


def test_a_name_that_an_export_writes_is_read_back_from_the_log_as_its_provider():
    written = pd.read_csv(paths.ROOT / "llmstudy" / "export" / "providers.csv")
    read = pd.read_csv(paths.data("provider_names.csv")).set_index("name")["providers"]
    for row in written.to_dict("records"):
        assert row["provider"] in read.get(row["prefix"], row["prefix"]).split()


# --- serving --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STUDIES)
def test_each_self_hosted_route_has_a_command_that_a_shell_reads(exported, decided, name):
    study, folder = decided(name).study, exported(name)
    served = {
        each["route"]
        for alias in plan_in(folder)["phases"]["3"]["aliases"].values()
        for each in alias["deployments"]
        if each["arm"] == "self_hosted"
    }
    assert {file.stem for file in (folder / "serving").glob("*.sh")} == served
    assert served
    for route in served:
        file = folder / "serving" / f"{route}.sh"
        subprocess.run(["sh", "-n", file], check=True)
        command = file.read_text().partition("exec ")[2].replace("\\\n", " ")
        words = shlex.split(command)
        assert words[:3] == ["vllm", "serve", study.routes[route].model]
        assert {word for word in words if word.startswith("--")} <= set(known_flags())
        at = words.index("--tensor-parallel-size")
        assert words[at + 1] == str(study.routes[route].tensor_parallel)
        assert words[words.index("--served-model-name") + 1] == route


def test_weights_published_in_a_precision_are_not_quantised_again(decided):
    routes = decided("default").study.routes
    flags = {
        name: " ".join(serve_flags(name, routes[name], 8)) for name in routes if "h200" in name
    }
    assert "--quantization fp8" in flags["h200-llama-3.1-70b"]
    assert "--quantization" not in flags["h200-llama-3.1-8b"]
    assert "--quantization" not in flags["h200-gpt-oss-120b"]
    fp4 = routes["h200-llama-3.1-70b"].model_copy(update={"precision": "fp4"})
    with pytest.raises(ValueError, match="vLLM cannot quantise"):
        serve_flags("h200", fp4, 8)


def test_prices_are_those_of_the_studys_day(decided):
    assert decided("default").study.as_of < date(
        2026, 12, 1
    )  # from then on argon costs twice as much
    phases = plan_of(decided("default")).phases
    (argon,) = phases[1]["long-context-reasoning"].deployments
    assert argon.input_usd_per_token == pytest.approx(2e-6)

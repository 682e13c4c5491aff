"""A canary on the real gateway: its log is judged as the upstreams saw it."""

import json
import random
import shutil
import time

import pytest
from typer.testing import CliRunner

from llmstudy import paths
from llmstudy.cli import app
from llmstudy.decide.canary_log import FEWEST_FOR_A_BASELINE
from llmstudy.export import client, proxy
from llmstudy.export.copies import KEY, drill_copy
from llmstudy.export.gateway import config_of, gateway_files
from llmstudy.export.plan import plan_of
from llmstudy.export.source import decision
from llmstudy.export.upstreams import upstreams

NAME, TODAY, NEW = "extraction", "openai-gpt-4o", "h200-gpt-oss-120b"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs") / "run"
    shutil.copytree(paths.ROOT / "outputs" / "reference" / "results", folder / "results")
    return folder


def asked(config, modules, folder, python, n, failing):
    """Sends n requests one by one. Returns: which upstreams each reached, by their names."""
    copied = drill_copy(config, [])
    upstream = {
        deployment.deployment.partition(":")[2]: deployment.upstream
        for deployment, _ in copied.shares[NAME]
    }
    rng, reached = random.Random(7), []
    with upstreams(copied.upstreams) as mocks:
        for name, text in modules.items():
            (folder / name).write_text(text)
        addressed = copied.addressed({name: mocks[name].base_url for name in copied.upstreams})
        log = {"LLMSTUDY_GATEWAY_LOG": str(folder / "rows.jsonl")}
        with proxy.running(addressed, folder, python, KEY, log, mocks.trap_url) as gateway:
            for i in range(n):
                for route, share in failing.items():
                    fault = "500" if rng.random() < share else "healthy"
                    mocks.set_fault(upstream[route], fault)
                before = {name: len(mocks[name].bodies) for name in copied.upstreams}
                client.send(gateway.base_url, KEY, NAME, f"request-{i}", streamed=i % 2 == 0)
                reached.append({r for r, u in upstream.items() if len(mocks[u].bodies) > before[u]})
            time.sleep(3)  # the gateway logs after it has answered
    return reached


@pytest.mark.parametrize(("failing", "verdict"), [(0.7, "roll back"), (0.0, "undecided")])
def test_each_request_counts_for_the_route_that_it_reached_first(
    run, gateway_python, tmp_path, failing, verdict
):
    plan = plan_of(decision(run))
    config = config_of(plan.as_json(), 3)
    config["router_settings"]["allowed_fails"] = 1_000  # it would leave the canary out
    for each in config["model_list"]:
        if "weight" in each["litellm_params"]:
            each["litellm_params"]["weight"] = 1
    modules = {"log_rows.py": gateway_files(plan)["phase-3/log_rows.py"]}
    shares = {NEW: failing, TODAY: 0.05}
    reached = asked(config, modules, tmp_path, gateway_python, 500, shares)
    names = "--decision", str(run), "--workload", NAME, "--route", NEW
    done = CliRunner().invoke(
        app, ["canary", "check", str(tmp_path / "rows.jsonl"), *names, "--json"]
    )
    seen = json.loads(done.stdout)
    [errors] = [each for each in seen["metrics"] if each["metric"] == "errors"]
    assert seen["verdict"] == verdict
    today = [i for i, each in enumerate(reached) if each == {TODAY}]
    judged = reached[today[FEWEST_FOR_A_BASELINE - 1] + 1 :]
    assert errors["requests"] == sum(NEW in each for each in judged)
    assert errors["stays_requests"] == sum(each == {TODAY} for each in judged)
    # today's route also answers for one that failed
    fell_back = sum(each == {NEW, TODAY} for each in judged)
    assert errors["canary_share"] * errors["requests"] == pytest.approx(fell_back)

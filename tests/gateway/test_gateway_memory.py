"""How long the router remembers a failure while many deployments are busy."""

import pytest

from llmstudy.export import client, proxy
from llmstudy.export.check import faults
from llmstudy.export.copies import KEY
from llmstudy.export.upstreams import upstreams

AS_IT_IS = "from litellm import run_server\nrun_server()\n"
TIMEOUT_S, N = 10, 45


@pytest.mark.parametrize(("cooldown_s", "cools_down"), [(31, False), (121, True)])
def test_a_full_memory_forgets_a_failure_a_minute_sooner(
    gateway_python, tmp_path, monkeypatch, cooldown_s, cools_down
):
    """45 deployments with limits, one of which fails each time; and the check says as much."""
    monkeypatch.setattr(proxy, "_START", AS_IT_IS)  # the drill's memory is larger
    with upstreams(["good", "bad"]) as mocks:
        prices = {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6}
        params = {"model": "openai/m", "api_key": "none", "rpm": 10**6, "tpm": 10**9, **prices}
        config = {
            "model_list": [
                {
                    "model_name": f"name-{i}",
                    "litellm_params": {**params, "api_base": mocks[upstream].base_url},
                    "model_info": {"id": f"id-{i}"},
                }
                for i, upstream in enumerate(["bad", *["good"] * (N - 1)])
            ],
            "router_settings": {
                "fallbacks": [{"name-0": ["name-1"]}],
                "num_retries": 0,
                "allowed_fails": 2,
                "cooldown_time": cooldown_s,
                "timeout": TIMEOUT_S,
                "stream_timeout": TIMEOUT_S,
                "optional_pre_call_checks": ["enforce_model_rate_limits"],
            },
            "general_settings": {"master_key": KEY},
        }
        mocks.set_fault("bad", "500")
        with proxy.running(config, tmp_path, gateway_python, KEY, {}, mocks.trap_url) as gateway:
            for turn in range(5):
                for i in range(N):
                    reply = client.send(gateway.base_url, KEY, f"name-{i}", f"{turn}", False)
                    assert reply.answered_by == "good"
        tried = len(mocks["bad"].bodies)
    assert tried == (3 if cools_down else 5)
    assert bool(faults(config)) != cools_down

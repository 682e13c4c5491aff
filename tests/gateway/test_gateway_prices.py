"""What LiteLLM bills at an explicit price: at each provider that an export may name."""

from importlib.resources import files

import pandas as pd
import pytest

from llmstudy.export import client
from llmstudy.export.copies import KEY, OTHER_PROTOCOLS, Price
from llmstudy.export.plan import deployment_id
from llmstudy.export.upstreams import upstreams

PRICE = Price(1.1e-6, 7e-6, 3e-7)
MODEL = "llama-3.3-70b"
"""A name in which LiteLLM could read a size."""

TABLE = pd.read_csv(str(files("llmstudy.export") / "providers.csv"))
PROVIDERS = dict(zip(TABLE["provider"], TABLE["prefix"], strict=True))


def deployment(provider, prefix, ident, address):
    """A deployment whose upstream is a mock; LiteLLM's own, where the mock lacks the protocol."""
    params = {
        "model": f"{prefix}/{MODEL}",
        "api_key": "none",
        "input_cost_per_token": PRICE.input_usd,
        "output_cost_per_token": PRICE.output_usd,
        "cache_read_input_token_cost": PRICE.cached_input_usd,
    }
    if prefix in OTHER_PROTOCOLS:
        params["mock_response"] = "hello"
    else:
        params["api_base"] = address
    if prefix == "azure":
        params["api_version"] = "2024-10-21"
    if prefix == "bedrock":
        params |= {"aws_access_key_id": "x", "aws_secret_access_key": "x"}
        params["aws_region_name"] = "us-east-1"
    return {
        "model_name": provider,
        "litellm_params": params,
        "model_info": {"id": ident, "mode": "chat"},
    }


@pytest.fixture(scope="module")
def billed(log_of):
    """The log's rows of a request to each provider, streamed and not, by the provider's name.

    `misread` is a deployment of Together whose id has the size of the model.
    """
    with upstreams(["api"]) as mocks:
        address = mocks["api"].base_url
        deployments = [
            deployment(name, prefix, deployment_id("chat", f"route-{MODEL}", name), address)
            for name, prefix in PROVIDERS.items()
        ]
        deployments.append(deployment("misread", "together_ai", f"chat:route-{MODEL}", address))
        deployments.append(deployment("by-second", "openai", "chat:replicated", address))

        def send(base_url):
            for each in deployments:
                for streamed in (False, True):
                    client.send(base_url, KEY, each["model_name"], "x", streamed)

        rows = log_of(mocks, deployments, send, 2 * len(deployments))
    by_name = {}
    for row in rows:
        by_name.setdefault(row["model_group"], []).append(row)
    return by_name


def expected_usd(row):
    details = row["metadata"]["usage_object"].get("prompt_tokens_details") or {}
    cached = details.get("cached_tokens") or 0
    return PRICE.of(row["prompt_tokens"], cached, row["completion_tokens"])


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_price_that_is_written_is_billed_at_every_provider(billed, provider):
    rows = billed[provider]
    assert len(rows) == 2
    for row in rows:
        assert row["status"] == "success"
        assert row["completion_tokens"] > 0
        assert row["response_cost"] == pytest.approx(expected_usd(row), rel=1e-6)


@pytest.mark.parametrize("name", ["misread", "by-second"])
def test_an_id_can_undo_the_price_that_is_written(billed, name):
    """Why `deployment_id` breaks what LiteLLM reads in it, and the check refuses it."""
    for row in billed[name]:
        assert row["response_cost"] != pytest.approx(expected_usd(row), rel=0.01)

"""Embeddings and reranking on the real gateway: what came, what each costs, at every provider."""

from importlib.resources import files

import pandas as pd
import pytest

from llmstudy.export import client
from llmstudy.export.check import RETRIEVAL_PRICES
from llmstudy.export.copies import KEY, OTHER_PROTOCOLS
from llmstudy.export.gateway import export_gateway
from llmstudy.export.plan import deployment_id
from llmstudy.export.source import Decision
from llmstudy.export.upstreams import EMBEDDED_TOKENS, upstreams
from llmstudy.export.verify import verify

TABLE = pd.read_csv(str(files("llmstudy.export") / "retrieval_providers.csv"))
PROVIDERS = list(TABLE[["mode", "provider", "prefix"]].drop_duplicates().itertuples(index=False))
USD = {"embedding": 3.1e-8, "rerank": 0.0031}
MODEL = "model-70b"
"""A name in which LiteLLM could read a size."""


def test_a_study_with_both_names_verifies_and_each_request_is_accounted_for(assessed, tmp_path):
    """Its phase 1 has no fallback at all, so that LiteLLM tries a request again."""
    assessment = assessed("source_memo")
    study = assessment.case.study.with_(
        {
            "gateway.embeddings": {"provider": "openai", "model": "text-embedding-3-small"},
            "gateway.rerank": {
                "provider": "cohere",
                "model": "rerank-v3.5",
                "usd_per_search": 0.002,
            },
        }
    )
    export_gateway(Decision(study, assessment.results, "source_memo"), tmp_path)
    seen = verify(tmp_path)
    assert seen.faults == ()
    verdicts = seen.retrieval.set_index(["phase", "name", "fault"])["verdict"].to_dict()
    became = {"healthy": "answered", "500": "failed", "killed": "failed"}
    assert verdicts == {
        (phase, name, fault): verdict
        for phase in ("1", "3")
        for name in ("embeddings", "rerank")
        for fault, verdict in became.items()
    }


def deployment(name, mode, provider, prefix, address):
    """A deployment whose upstream is a mock; LiteLLM's own, where the mock lacks the protocol."""
    params = {"model": f"{prefix}/{MODEL}", "api_key": "none", RETRIEVAL_PRICES[mode]: USD[mode]}
    if mode == "embedding" and prefix in OTHER_PROTOCOLS and prefix != "mistral":
        params["mock_response"] = [0.5]
    else:
        params["api_base"] = address
    if prefix == "azure":
        params["api_version"] = "2024-10-21"
    ident = deployment_id(name, f"{provider}-{MODEL}", provider)
    return {
        "model_name": name,
        "litellm_params": params,
        "model_info": {"id": ident, "mode": mode},
    }


@pytest.fixture(scope="module")
def billed(log_of):
    """The row of a request to each provider of `PROVIDERS`, and of a ranking by Together."""
    asked = [*PROVIDERS, ("rerank", "together", "together_ai")]
    with upstreams(["api"]) as mocks:
        deployments = [
            deployment(f"{mode}-{provider}", mode, provider, prefix, mocks["api"].base_url)
            for mode, provider, prefix in asked
        ]

        def send(base_url):
            for mode, provider, _ in asked:
                client.retrieve(base_url, KEY, f"{mode}-{provider}", "x", mode)

        rows = log_of(mocks, deployments, send, len(asked))
        assert not mocks["api"].refused
    return {row["model_group"]: row for row in rows}


@pytest.mark.parametrize(("mode", "provider", "prefix"), PROVIDERS)
def test_a_price_that_is_written_is_billed_at_every_provider(billed, mode, provider, prefix):
    row = billed[f"{mode}-{provider}"]
    assert row["status"] == "success"
    tokens = row["prompt_tokens"] if mode == "embedding" else 1
    assert tokens > 0
    if prefix in ("openai", "voyage"):
        assert tokens == EMBEDDED_TOKENS
    assert row["response_cost"] == pytest.approx(tokens * USD[mode], rel=1e-6)


def test_a_search_of_together_is_logged_as_free_whatever_price_is_written(billed):
    """Why `retrieval_providers.csv` has no other provider that reranks."""
    row = billed["rerank-together"]
    assert (row["status"], row["response_cost"]) == ("success", 0.0)

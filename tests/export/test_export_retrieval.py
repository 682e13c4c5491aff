"""Names for embeddings and reranking beside those of the workloads: written, checked, drilled."""

import json

import pytest

from llmstudy import paths
from llmstudy.export import client
from llmstudy.export.accounting import Reply
from llmstudy.export.check import faults
from llmstudy.export.copies import RETRIEVAL_FAULTS, drill_copy
from llmstudy.export.drill import Retrieved, _of_retrieved
from llmstudy.export.gateway import config_of, gateway_files
from llmstudy.export.plan import plan_of
from llmstudy.export.source import Decision
from llmstudy.export.upstreams import EMBEDDED_TOKENS, TOKENS, upstreams
from llmstudy.requests.importers import read_log
from llmstudy.requests.plausible import NO_CHAT
from llmstudy.study.snapshot import from_json, to_json

SIGNED = [{"kind": "dpa", "valid_until": "2027-12-31"}]
EMBEDDINGS = {"provider": "openai", "model": "text-embedding-3-small", "contracts": SIGNED}
RERANK = {
    "provider": "cohere",
    "model": "rerank-v3.5",
    "usd_per_search": 0.002,
    "contracts": SIGNED,
}


@pytest.fixture(scope="module")
def planned(default_case, reference):
    """The plan of the default study, which has enterprise data, with models behind the gateway."""

    def of(**models):
        study = default_case.study.with_({f"gateway.{name}": of for name, of in models.items()})
        return plan_of(Decision(study, reference, "a test"))

    return of


@pytest.fixture(scope="module")
def both(planned):
    return planned(embeddings=EMBEDDINGS, rerank=RERANK)


def entries(plan, name, phase=1):
    config = config_of(plan.as_json(), phase)
    return [each for each in config["model_list"] if each["model_name"] == name]


@pytest.mark.parametrize("phase", [1, 3])
def test_both_names_stand_in_both_phases_with_mode_and_price(both, phase):
    [embeddings], [rerank] = (entries(both, name, phase) for name in ("embeddings", "rerank"))
    assert embeddings["model_info"]["mode"] == "embedding"
    assert embeddings["litellm_params"]["model"] == "openai/text-embedding-3-small"
    # OpenAI's price list: USD 0.02 a million tokens
    assert embeddings["litellm_params"]["input_cost_per_token"] == pytest.approx(0.02e-6)
    assert rerank["model_info"]["mode"] == "rerank"
    assert rerank["litellm_params"]["model"] == "cohere/rerank-v3.5"
    assert rerank["litellm_params"]["input_cost_per_query"] == 0.002
    costs = [{k for k in each["litellm_params"] if "cost" in k} for each in (embeddings, rerank)]
    assert costs == [{"input_cost_per_token"}, {"input_cost_per_query"}]


def test_people_are_told_of_both_names_their_keys_and_what_they_cost(both):
    files = gateway_files(both)
    assert "COHERE_API_KEY=\n" in files[".env.example"]
    readme = files["README.md"]
    assert readme.count("| embeddings | openai text-embedding-3-small | nothing |") == 2
    assert "`/v1/embeddings` and costs USD 0.02 a million tokens" in readme
    assert "`/v1/rerank` and costs USD 0.002 a search" in readme
    assert "have no name here" not in readme


def test_a_tenants_key_may_use_both_names(default_case, reference):
    study = default_case.study.with_({"gateway.rerank": RERANK})
    files = gateway_files(plan_of(Decision(study, reference, "a test"), {"sales": 500.0}))
    [team] = json.loads(files["tenants.json"])
    assert team["models"] == [*study.workloads, "rerank"]


def test_what_has_no_model_has_no_name_and_a_study_without_any_is_saved_as_before(planned):
    without = planned()
    assert "gateway" not in to_json(without.study)
    for name in ("embeddings", "rerank"):
        assert not entries(without, name)
    assert "Embeddings and reranking have no name here" in gateway_files(without)["README.md"]
    one = gateway_files(planned(embeddings=EMBEDDINGS))["README.md"]
    assert "Reranking has no name here" in one
    assert "Embeddings have no name here" in gateway_files(planned(rerank=RERANK))["README.md"]


def test_a_run_keeps_the_models(both):
    assert from_json(to_json(both.study)) == both.study


def test_the_studys_own_price_goes_before_the_lists(planned):
    plan = planned(embeddings={**EMBEDDINGS, "usd_per_mtok": 0.013})
    [entry] = entries(plan, "embeddings")
    assert entry["litellm_params"]["input_cost_per_token"] == pytest.approx(0.013e-6)


@pytest.mark.parametrize(
    "contracts",
    [
        [],
        [{"kind": "no_training", "valid_until": "2027-12-31"}],
        [SIGNED[0] | {"valid_until": "2026-01-31"}],
    ],
    ids=["none", "another", "ended"],
)
def test_a_provider_that_may_not_process_the_data_of_a_workload_has_no_name(planned, contracts):
    """Enterprise data need a DPA, at OpenAI and at Cohere as on every route."""
    plan = planned(embeddings=EMBEDDINGS, rerank={**RERANK, "contracts": contracts})
    assert entries(plan, "embeddings")
    assert not entries(plan, "rerank")
    files = gateway_files(plan)
    assert "COHERE_API_KEY" not in files[".env.example"]
    [note] = [line for line in files["README.md"].splitlines() if line.startswith("- rerank: ")]
    assert "cohere may not process the data of support-chat" in note
    assert "need DPA in force" in note


@pytest.mark.parametrize(
    ("name", "model", "offered"),
    [
        ("embeddings", {**EMBEDDINGS, "provider": "nobody", "usd_per_mtok": 1}, "openai, azure"),
        # it starts and answers, and logs every search as free
        ("rerank", {**RERANK, "provider": "together"}, "name one of cohere,"),
    ],
)
def test_a_provider_whose_price_the_gateway_does_not_bill_is_refused(planned, name, model, offered):
    with pytest.raises(ValueError, match=f"gateway.{name}: .*{offered}"):
        planned(**{name: model})


def test_embeddings_with_a_name_are_no_tie_to_todays_vendor(default_case, reference):
    ties = {"workloads.support-chat.portability": {"provider_features": ["embeddings", "realtime"]}}
    tied = default_case.study.with_(ties)
    named = tied.with_({"gateway.embeddings": EMBEDDINGS})
    for study, ties_ in ((tied, True), (named, False)):
        notes = plan_of(Decision(study, reference, "a test")).notes
        [note] = [note for note in notes if note.startswith("support-chat: its calls use")]
        assert "realtime" in note
        assert ("embeddings" in note) == ties_


# --- tampered with ------------------------------------------------------------------------------


def params(**values):
    return lambda entry: entry["litellm_params"].update(values)


def mode(value):
    return lambda entry: entry["model_info"].update(mode=value)


def free(key):
    return lambda entry: entry["litellm_params"].pop(key)


TAMPERED = {
    "unknown key": ("rerank", params(top_k=3), "the key top_k is unknown"),
    "no price of searches": (
        "rerank",
        free("input_cost_per_query"),
        "every request would be logged as free: write the price per search",
    ),
    "a search at null": ("rerank", params(input_cost_per_query=None), "is missing, so that every"),
    "a search for nothing": ("rerank", params(input_cost_per_query=0), "input_cost_per_query is 0"),
    "tokens at null": (
        "embeddings",
        params(input_cost_per_token=None),
        "every request would be logged as free: write the price per token",
    ),
    "another price": (
        "embeddings",
        params(input_cost_per_token=2e-7),
        "input_cost_per_token is 2e-07, but the plan says 2e-08",
    ),
    "a price of what is not billed": (
        "embeddings",
        params(output_cost_per_token=1e-7),
        "output_cost_per_token is not in the plan",
    ),
    "a chat": ("rerank", mode("chat"), "mode is chat, but the plan says rerank"),
    "no embedding": ("embeddings", mode(None), "mode is nothing, but the plan says embedding"),
    "another model": (
        "embeddings",
        params(model="openai/text-embedding-3-large"),
        "but the plan says openai/text-embedding-3-small",
    ),
}


@pytest.mark.parametrize(("name", "change", "words"), TAMPERED.values(), ids=TAMPERED)
def test_a_change_is_refused_and_named(both, name, change, words):
    plan = both.as_json()
    config = config_of(plan, 3)
    assert faults(config, plan["phases"]["3"]) == []
    [entry] = [each for each in config["model_list"] if each["model_name"] == name]
    change(entry)
    sentences = faults(config, plan["phases"]["3"])
    assert [sentence for sentence in sentences if words in sentence], sentences


def test_vectors_of_two_models_in_one_index_are_refused(both):
    plan = both.as_json()
    config = config_of(plan, 1)
    config["router_settings"]["fallbacks"].append({"embeddings": ["rerank"]})
    sentences = faults(config, plan["phases"]["1"])
    assert "embeddings falls back to rerank, but the plan says nothing: write the plan's." in (
        sentences
    )


# --- drilled: without a gateway; the real one in tests/gateway ------------------------------------


def test_the_copy_meets_each_fault_at_an_upstream_of_its_own_and_asks_no_name_for_a_chat(planned):
    plan = planned(
        embeddings={**EMBEDDINGS, "provider": "cohere", "model": "embed-v4.0"}, rerank=RERANK
    )
    copied = drill_copy(config_of(plan.as_json(), 1), ["500"])
    names = {"embeddings", "rerank"}
    assert not names & ({chain.of for chain in copied.chains} | copied.shares.keys())
    drilled = [(each.of, each.fault) for each in copied.retrieval]
    assert drilled == [(n, f) for n in ("embeddings", "rerank") for f in RETRIEVAL_FAULTS]
    assert len({each.upstream for each in copied.retrieval}) == len(copied.retrieval)
    chats = {route.upstream for chain in copied.chains for route in (chain.primary, *chain.others)}
    assert not chats & {each.upstream for each in copied.retrieval}
    models = {
        each["model_name"]: each["litellm_params"]["model"] for each in copied.config["model_list"]
    }
    # the mocks embed as OpenAI does and rerank as Cohere does
    assert (models["embeddings"], models["rerank"]) == ("openai/embed-v4.0", "cohere/rerank-v3.5")


@pytest.mark.parametrize("asked", ["embedding", "rerank"])
def test_only_all_texts_in_the_order_of_one_upstream_are_an_answer(asked):
    with upstreams(["api-a"]) as mocks:
        address = mocks["api-a"].base_url.removesuffix("/v1")

        def reply():
            return client.retrieve(address, "none", "model", "x", asked, timeout_s=1.0)

        whole = reply()
        assert (whole.verdict, whole.answered_by) == ("answered", "api-a")
        for fault in ("500", "hang", "cut", "clean end", "empty", "killed"):
            mocks.set_fault("api-a", fault)
            assert reply().verdict == "failed", fault
        mocks.heal()
        body = mocks["api-a"].bodies[0]
        assert len(body.get("input") or body["documents"]) == TOKENS
        assert not mocks["api-a"].refused


def shown(copied):
    """What `/model/info` shows of a copy that is as its file."""
    return [
        {"model_name": each["model_name"], "model_info": each["litellm_params"]}
        for each in copied.config["model_list"]
    ]


def reply_of(upstream, n=TOKENS):
    content = " ".join(f"{upstream}#{i}" for i in range(1, n + 1))
    return Reply(content, n == 0, n > 0, None, 0.1)


def test_what_came_and_what_is_logged_of_it_agrees_or_the_fault_is_named(both):
    copied = drill_copy(config_of(both.as_json(), 1), [])
    usd = {"embeddings": EMBEDDED_TOKENS * 0.02e-6, "rerank": 0.002}
    sent = [
        Retrieved(
            each.name, each, reply_of(each.upstream, TOKENS if each.fault == "healthy" else 0)
        )
        for each in copied.retrieval
    ]
    rows = [
        {
            "session_id": each.identity,
            "response_cost": usd[each.retrieval.of] if each.reply.content else 0.0,
        }
        for each in sent
    ]
    assert list(_of_retrieved(sent, shown(copied), rows)) == []

    gratis = [{**row, "response_cost": 0.0} for row in rows]
    assert list(_of_retrieved(sent, shown(copied), gratis)) == [
        "embeddings, healthy: an answer is logged at USD 0, not 2e-06.",
        "rerank, healthy: an answer is logged at USD 0, not 0.002.",
    ]
    assert len(list(_of_retrieved(sent, shown(copied), []))) == len(sent)
    short = Retrieved(sent[0].identity, sent[0].retrieval, reply_of(sent[0].retrieval.upstream, 5))
    [fault] = _of_retrieved([short], shown(copied), rows)
    assert "is truncated" in fault
    made_up = Retrieved(sent[1].identity, sent[1].retrieval, reply_of("another"))
    row = {**rows[0], "session_id": made_up.identity}
    [fault] = _of_retrieved([made_up], shown(copied), [row])
    assert "embeddings, 500: the client's request is answered by another" in fault
    unpriced = [{**each, "model_info": {}} for each in shown(copied)]
    assert "input_cost_per_token is None at the gateway" in next(
        _of_retrieved(sent, unpriced, rows)
    )


def test_the_importer_sets_their_rows_aside_and_counts_them_for_no_workload(tmp_path):
    """Rows as the callback writes them, of which a chat's is one."""
    sample = (paths.ROOT / "tests/requests/samples/litellm.jsonl").read_text().splitlines()
    chat = next(row for row in map(json.loads, sample) if row["status"] == "success")
    kinds = {"aembedding": ("embeddings", 100), "arerank": ("rerank", 0)}
    rows = [chat]
    for call_type, (name, tokens) in kinds.items():
        for status in ("success", "failure"):
            ident = f"{name}-{status}"
            rows.append(
                {
                    **chat,
                    **{"litellm_call_id": ident, "trace_id": ident, "id": ident, "status": status},
                    **{"call_type": call_type, "model_group": name, "model": "openai/v4"},
                    **{"prompt_tokens": tokens, "completion_tokens": 0},
                }
            )
    file = tmp_path / "gateway.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    log = read_log(file)
    assert len(log.accepted) == 1
    assert log.quarantined["reason"].tolist() == [NO_CHAT] * 4
    assert len(log.lost) == 0

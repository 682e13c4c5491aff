"""A first study file: it loads, it runs, and it says no more than its author did."""

import json
from dataclasses import replace
from datetime import date
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from llmstudy import io, prices, study
from llmstudy.chapters.cost import cost_tables
from llmstudy.cli import new_study
from llmstudy.cli.new_study import Answers, InvoiceError, compose, input_share, number
from llmstudy.evidence.case import open_case
from llmstudy.study.schema import Portability, ProviderFeature, Schemas

DAY = date(2026, 11, 23)
GPT_4O = prices.rate("openai", "gpt-4o", DAY)
BILLED = {"monthly_tokens": 1.2e9, "invoice_usd": 4_800.0}


@pytest.fixture
def loaded(tmp_path):
    """The study that a starter's text makes."""

    def load(made):
        file = tmp_path / "study.yaml"
        file.write_text(made.text, encoding="utf-8")
        return study.load(file)

    return load


def priced_month_usd(found):
    """Today's bill from requests that are priced one by one, as the memo has it."""
    bills = io.plain(cost_tables(open_case(found)))["bills"]
    return sum(row["month_usd"] for row in bills if row["current"])


# --- the invoice ----------------------------------------------------------------------------


@given(st.floats(0.001, 0.999), st.floats(1e3, 1e13), st.floats(0, 1))
def test_the_split_gives_the_invoice_back(share, tokens, cached):
    # gpt-4o lists USD 2.50 in, 1.25 cached, 10.00 out per million tokens
    usd_in = share * tokens * (2.5 * (1 - cached) + 1.25 * cached) / 1e6
    usd_out = (1 - share) * tokens * 10 / 1e6
    found = input_share(GPT_4O, tokens, usd_in + usd_out, cached)
    assert found == pytest.approx(share, abs=1e-9)


@pytest.mark.parametrize(
    ("provider", "model", "usd_per_mtok"),
    [
        ("openai", "gpt-4o", 4.0),
        ("openai", "gpt-4o-mini", 0.2),
        ("anthropic", "claude-sonnet-4-5", 6.0),
        ("google", "gemini-2.5-pro", 4.0),
        ("groq", "llama-3.1-8b-instant", 0.06),
    ],
)
def test_tokens_and_invoice_alone_make_a_study_that_bills_the_invoice(
    loaded, provider, model, usd_per_mtok
):
    tokens = 3e9
    invoice = usd_per_mtok * tokens / 1e6
    made = compose(
        Answers("acme", DAY, provider, model, monthly_tokens=tokens, invoice_usd=invoice)
    )
    found = loaded(made)
    assert made.month_usd == pytest.approx(invoice, rel=1e-4)
    assert priced_month_usd(found) == pytest.approx(invoice, rel=0.02)
    intake = found.workloads["product"].intake
    billed = intake.requests.value * (intake.input_tokens.value + intake.output_tokens.value)
    assert billed * 1.02 == pytest.approx(tokens, rel=1e-3)  # 2 % of the requests are repeated


def test_what_is_derived_from_an_invoice_is_assumed_and_says_from_what(loaded):
    intake = (
        loaded(compose(Answers("acme", DAY, "openai", "gpt-4o", **BILLED)))
        .workloads["product"]
        .intake
    )
    for figure in (intake.requests, intake.input_tokens, intake.output_tokens):
        assert figure.grade == "assumed"
        assert "invoice of USD 4,800.00 for 1,200,000,000 tokens (measured)" in figure.source


def test_known_requests_turn_the_invoice_into_tokens_per_request(loaded):
    made = compose(Answers("acme", DAY, "openai", "gpt-4o", requests=1e6, **BILLED))
    intake = loaded(made).workloads["product"].intake
    assert intake.requests.value == 1e6
    per_request = intake.input_tokens.value + intake.output_tokens.value
    assert per_request * 1.02 == pytest.approx(1_200, rel=1e-4)


@pytest.mark.parametrize("usd", [1_000.0, 13_000.0])
def test_an_invoice_that_no_split_explains_is_refused_with_the_prices_that_bound_it(usd):
    with pytest.raises(
        InvoiceError, match=r"USD 2\.25 for input, .* and 10 for output: correct the invoice"
    ):
        compose(Answers("acme", DAY, "openai", "gpt-4o", monthly_tokens=1.2e9, invoice_usd=usd))


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ({"monthly_tokens": 1e9}, "used only with the invoice"),
        ({"invoice_usd": 4e3}, "used only with the invoice"),
        (BILLED | {"input_tokens": 900.0}, "give the input and output"),
        ({"provider": "grok"}, "no provider"),
        (BILLED | {"provider": None, "model": None}, "which model is the invoice for"),
        ({"model": None}, "not both"),
        ({"model": "gpt-4oo"}, "close to it"),
        (BILLED | {"provider": "deepseek", "model": "deepseek-chat"}, "changes by the hour"),
        (
            BILLED
            | {"provider": "together", "model": "meta-llama/Meta-Llama-3.1-70B-Instruct-Turbo"},
            "the same for input and output",
        ),
        (BILLED | {"requests": 1e9}, "less than one token"),
    ],
)
def test_answers_that_do_not_fit_together_are_refused(answers, says):
    given_ = {"provider": "openai", "model": "gpt-4o"} | answers
    with pytest.raises(ValueError, match=says):
        compose(Answers("acme", DAY, **given_))


# --- the file -------------------------------------------------------------------------------


def test_no_answers_make_a_study_with_every_question_open(loaded):
    made = compose(Answers("acme", DAY))
    open_questions = {path.rsplit(".")[-1] for path in loaded(made).unknown()}
    assert open_questions == {
        "requests", "input_tokens", "output_tokens", "ttft_p95", "data_class", "peak_to_mean",
        "context_tokens", "gpu_platform", "prompting_and_retrieval_insufficient",
    }  # fmt: skip
    assert any("assumes" in note for note in made.notes)


def test_every_answer_arrives_in_the_study(loaded):
    answers = Answers(
        "acme", DAY, "anthropic", "claude-3-5-sonnet-20241022", requests=2e6, input_tokens=800.0,
        output_tokens=90.0, ttft_p95="1,500 ms", data_class="phi", peak_to_mean=2.5,
        context=200_000.0, gpu_platform="yes",
    )  # fmt: skip
    found = loaded(compose(answers))
    workload = found.workloads["product"]
    intake = workload.intake
    numbers = (intake.requests, intake.input_tokens, intake.output_tokens, intake.peak_to_mean)
    assert [figure.value for figure in numbers] == [2e6, 800, 90, 2.5]
    assert intake.context_tokens.value == 200_000
    assert workload.slo.ttft_p95.value == 1.5
    assert (intake.data_class, intake.gpu_platform) == ("phi", "yes")
    assert found.routes[workload.current_route].model == "claude-3-5-sonnet-20241022"
    assert found.unknown() == ["prompting_and_retrieval_insufficient"]


def test_todays_route_open_weights_at_a_host_and_own_gpus_are_compared(loaded):
    found = loaded(compose(Answers("acme", DAY, "openai", "gpt-4o")))
    arms = [found.routes[route].arm for route in found.workloads["product"].routes]
    assert arms == ["proprietary_api", "hosted_open", "self_hosted"]


def test_a_route_that_is_open_weights_already_is_not_its_own_candidate(loaded):
    host, model = "together", "meta-llama/Meta-Llama-3.1-70B-Instruct-Turbo"
    found = loaded(compose(Answers("acme", DAY, host, model)))
    arms = [found.routes[route].arm for route in found.workloads["product"].routes]
    assert arms == ["hosted_open", "self_hosted"]


def test_the_budget_leaves_room_above_todays_bill(loaded):
    made = compose(Answers("acme", DAY, "openai", "gpt-4o", **BILLED))
    budget = loaded(made).thresholds.month_budget.value
    assert 1.5 * 4_800 <= budget <= 1.6 * 4_800


def test_a_contract_that_the_data_need_is_asked_for_and_waits_to_be_uncommented(loaded):
    made = compose(Answers("acme", DAY, "openai", "gpt-4o", data_class="phi"))
    assert any("BAA" in note and "contracts" in note for note in made.notes)
    assert loaded(made).routes["openai-gpt-4o"].contracts == ()
    signed = made.text.replace("    # contracts:\n    #   - {kind", "    contracts:\n      - {kind")
    [contract] = loaded(replace(made, text=signed)).routes["openai-gpt-4o"].contracts
    assert contract.kind == "baa"


def test_what_ties_a_workload_to_its_vendor_is_asked_for_in_full_and_left_open(loaded):
    made = compose(Answers("acme", DAY))
    (asked,) = YAML(typ="safe").load(made.text)["workloads"].values()
    assert asked["portability"].keys() == Portability.model_fields.keys() - {"source"}
    assert loaded(made).workloads["product"].portability == Portability()
    for choice in (*get_args(ProviderFeature), *get_args(Schemas)):
        assert choice in made.text


def test_the_first_study_runs_from_end_to_end(loaded, assess):
    found = assess(loaded(compose(Answers("acme", DAY))))
    assert found.results["07_triggers_and_routing"]["verdicts"]["product"]["decision"] != "move"


# --- what people type -----------------------------------------------------------------------


@given(st.integers(1, 10**15))
def test_a_number_reads_the_same_with_and_without_its_commas(n):
    assert number(str(n)) == number(f"{n:,}") == number(f" {n:_} ") == n


@pytest.mark.parametrize(
    ("text", "value"), [("1.2M", 1.2e6), ("2 B", 2e9), ("8.4k", 8400), ("1.5e9", 1.5e9)]
)
def test_a_number_may_end_in_its_scale(text, value):
    assert number(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "0", "-3", "many", "1.2T", "nan", "inf", "$5"])
def test_anything_else_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match=r"not a number above zero. Write 1200000 or 1.2M"):
        number(text)


def test_each_question_has_a_field_to_go_to():
    fields = set(Answers.__dataclass_fields__) - {"name", "as_of"}
    assert {question.field for question in new_study.QUESTIONS} == fields


def test_names_from_outside_are_quoted(loaded):
    made = compose(Answers("no", DAY, "openai", "gpt-4o"))
    assert loaded(made).study == "no"
    assert f"study: {json.dumps('no')}" in made.text

"""What chapters 01 to 06 make of models that do not write alike."""

from dataclasses import replace

import pytest

from llmstudy.chapters.cost import cost_tables
from llmstudy.chapters.latency import latency_tables
from llmstudy.evidence.case import open_case
from llmstudy.figure import Figure
from llmstudy.simulate.inputs import Market, figures_of, pair_inputs

COST, HOSTING, LATENCY = "02_cost", "05_self_hosting", "03_latency"
LUNA = {"workload": "support-chat", "route": "openai-gpt-6-luna"}
NO_OFFERS = Market({}, {})


@pytest.fixture(scope="module")
def default(assessed):
    return assessed("default")


def stating(study, route, **stated):
    """The study with more said of one route."""
    spec = study.routes[route].model_copy(update=stated)
    return study.model_copy(update={"routes": {**study.routes, route: spec}})


def ratio(value):
    return Figure("", value, "factor", grade="measured", source="own count")


def bill(study, name, route):
    rows = cost_tables(open_case(study))["bills"].set_index(["workload", "route"])
    return rows.loc[(name, route), "usd_per_request"]


def test_a_route_that_writes_more_is_billed_for_more_output_and_no_more_input(default):
    study, (name, route) = default.case.study, LUNA.values()
    one, two, three = (
        bill(stating(study, route, output_tokens_ratio=ratio(x)), name, route) for x in (1, 2, 3)
    )
    offer = default.results[COST]["offers"][name][route]
    retries = 1 + study.workloads[name].retry_share.value
    assert two - one == pytest.approx(offer["output_usd"] * retries, rel=0.05)  # drawn tokens
    assert three - two == pytest.approx(two - one)
    # what is paid today is for what was counted, whoever writes more
    today = study.workloads[name].current_route
    longer = stating(study, today, output_tokens_ratio=ratio(5.0))
    assert bill(longer, name, today) == bill(study, name, today)


def test_every_route_has_a_row_and_the_ledger_holds_each_uncertain_ratio(default):
    rows = default.results[COST]["output_tokens"]
    ledger = {row["name"]: row for row in default.results["01_evidence"]["figures"]}
    for row in rows:
        name, route = row["workload"], row["route"]
        counted = default.case.study.workloads[name].intake.output_tokens.value
        assert row["output_tokens"] == pytest.approx(counted * row["ratio"])
        if route == default.case.study.workloads[name].current_route:
            assert (row["ratio"], row["grade"]) == (1.0, None)
            continue
        stated = ledger[f"workloads.{name}.routes.{route}.output_tokens_ratio"]
        assert [stated[k] for k in ("low", "value", "high", "grade")] == [
            row[k] for k in ("low", "ratio", "high", "grade")
        ]
    assert {(r["workload"], r["route"]) for r in rows} == {
        (r["workload"], r["route"]) for r in default.results[LATENCY]["latency"]
    }


def test_a_stated_ratio_stands_once_in_the_ledger_and_is_the_draws_input(default):
    study = stating(default.case.study, LUNA["route"], output_tokens_ratio=ratio(1.5))
    assert study.figures()["routes.openai-gpt-6-luna.output_tokens_ratio"].value == 1.5
    figures = figures_of(pair_inputs(study, NO_OFFERS, *LUNA.values()))
    assert figures["output_tokens_ratio"].value == 1.5
    assert figures["today_output_tokens_ratio"].value == 1.0


def test_a_model_counts_the_same_tokens_at_every_host(default):
    study = default.case.study
    azure = stating(study, LUNA["route"], provider="azure", model="gpt-4o")
    same, other = (figures_of(pair_inputs(x, NO_OFFERS, *LUNA.values())) for x in (azure, study))
    for name in ("tokenizer", "output_tokens_ratio"):
        assert (same[name].value, same[name].uncertain) == (1.0, False)
    assert other["output_tokens_ratio"].uncertain


def test_a_whole_answer_takes_its_first_token_and_the_pace_of_all_the_others(default):
    study = stating(default.case.study, LUNA["route"], output_tokens_ratio=ratio(4.0))
    tables = latency_tables(replace(default.case, study=study), default.results[HOSTING])
    [row] = [
        r
        for r in tables["answers"]
        if r["workload"] == LUNA["workload"] and r["route"] == LUNA["route"]
    ]
    workload = study.workloads[LUNA["workload"]]
    first_s, pace_s = study.routes[LUNA["route"]].ttft_p95.value, workload.slo.tpot_p95.value
    tokens = workload.intake.output_tokens.value
    assert row["pace_source"] == "target"
    assert row["e2e_s"] == pytest.approx(first_s + pace_s * (4 * tokens - 1))
    # it reasons and today's model does not: what it writes beyond today's answer comes first
    assert row["first_answer_s"] == pytest.approx(first_s + pace_s * 3 * tokens)
    none = stating(study, LUNA["route"], reasoning="no")
    tables = latency_tables(replace(default.case, study=none), default.results[HOSTING])
    [row] = [
        r
        for r in tables["answers"]
        if r["workload"] == LUNA["workload"] and r["route"] == LUNA["route"]
    ]
    assert row["first_answer_s"] == first_s
    fleets = [r for r in tables["answers"] if r["route"] == "h200-llama-3.1-70b"]
    assert {r["pace_source"] for r in fleets} == {"serving curve"}


def test_counting_the_output_of_a_reasoning_model_is_worth_something_once(default):
    counted = default.rows("06_crossover", "worth", measurement="output tokens of gpt-6-luna")
    assert {row["inputs"] for row in counted} == {"output_tokens_ratio"}
    # one model at a host and on a fleet of one's own is counted once: five routes, three models
    worth = default.rows("06_crossover", "worth", workload="extraction")
    asked = [x for x in (row["measurement"] for row in worth) if x.startswith("output tokens of")]
    for model in ("llama-3.1-70b", "gpt-6-luna", "gpt-oss-120b"):
        assert sum(model in x.lower() for x in asked) == 1
    assert len(default.case.study.workloads["extraction"].candidates) == 5
    assert len(asked) == 3

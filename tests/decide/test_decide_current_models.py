"""Which models of today a study is told of, and when one counts as compared."""

from dataclasses import replace
from datetime import date

import pytest

from llmstudy import io, paths, prices
from llmstudy.chapters.cost import cost_tables
from llmstudy.decide.current_models import (
    best,
    best_models,
    candidates,
    cheaper_models,
    compared,
    current_models,
)
from llmstudy.evidence.case import open_case
from llmstudy.study import load

OSS, CHAT, CODE = "novita-gpt-oss-120b", "support-chat", "code-tutor"
AS_OF = date(2026, 11, 23)


@pytest.fixture(scope="module")
def default():
    return load(paths.params("default.yaml"))


@pytest.fixture(scope="module")
def tutor():
    """The code tutor of hyperscale without its candidates of today."""
    study = load(paths.params("hyperscale.yaml"))
    workload = study.workloads[CODE].model_copy(update={"candidates": ("novita-llama-3.1-70b",)})
    return study.model_copy(update={"workloads": {CODE: workload}})


def chat_only(study, *routes):
    workload = study.workloads[CHAT]
    kept = tuple(route for route in workload.candidates if route in routes)
    only = workload.model_copy(update={"candidates": kept})
    return study.model_copy(update={"workloads": {CHAT: only}})


def notes(study):
    case = open_case(study)
    bills = io.plain(cost_tables(case))["bills"]
    return cheaper_models(case, bills), {row["route"]: row["month_usd"] for row in bills}


def test_a_study_without_a_model_of_today_is_told_its_bill_and_that_nobody_compared_it(default):
    [said], bills = notes(chat_only(default, "novita-llama-3.1-70b", "openai-gpt-6-luna"))
    _, with_it = notes(chat_only(default, "novita-llama-3.1-70b", "openai-gpt-6-luna", OSS))
    part = with_it[OSS] / bills["novita-llama-3.1-70b"]
    assert said == (
        f"support-chat: hosted gpt-oss-120b at novita would bill USD {with_it[OSS]:.0f} a month, "
        f"{100 * part:.0f} % of the cheapest route novita-llama-3.1-70b, and is not yet compared: "
        "add it as a candidate."
    )


def test_a_study_that_has_the_cheapest_models_of_both_arms_is_told_nothing(default):
    assert notes(chat_only(default, "openai-gpt-6-luna", OSS))[0] == []


def test_one_line_at_most_is_said_of_a_workload_and_arm(default):
    said, _ = notes(default.model_copy(update={"workloads": dict(default.workloads)}))
    heads = [(line.partition(":")[0], line.split(": ")[1].split()[0]) for line in said]
    assert len(heads) == len(set(heads))


def test_scores_are_passes_over_items_and_only_near_benchmarks_compare():
    found = compared("openai/gpt-oss-120b", "gpt-4o", "reasoning")
    assert (found.model, found.today) == (94 / 225, 52 / 225)  # Aider's leaderboard, two tries
    assert found.benchmark == "Aider polyglot"
    assert compared("openai/gpt-oss-120b", "gpt-4o", "chat") is None
    assert compared("openai/gpt-oss-120b", "gemini-4-argon", "reasoning") is None


def test_the_best_is_the_cheapest_compared_one_within_the_margin(tutor):
    found = candidates(tutor, CODE, "hosted_open")
    first = best(found, 0.05)
    table = best_models(tutor).set_index("arm")
    assert table.loc["hosted_open", "model"] == first.model
    assert (table.loc["hosted_open", "score"], first.served) == (94 / 225, False)
    assert first.model == "gpt-oss-120b"
    scored = [c.model for c in found if c.score]
    assert scored[0] == first.model  # the others compared cost more
    assert len(scored) > 1
    assert first.route.model in {each.model for each in prices.listings("gpt-oss-120b", AS_OF)}


def test_what_a_near_benchmark_places_below_the_margin_is_neither_best_nor_named(tutor):
    route = tutor.routes["openai-gpt-4o"].model_copy(update={"model": "gpt-5"})  # 195 of 225
    ahead = tutor.model_copy(update={"routes": tutor.routes | {"openai-gpt-4o": route}})
    found = {c.model: c for c in candidates(ahead, CODE, "hosted_open")}
    assert found["gpt-oss-120b"].worse_than(0.05)
    assert best(list(found.values()), 0.05) is None
    assert set(best_models(ahead)["verdict"]) == {"not yet compared", "best"}  # gpt-5 is itself
    assert best(list(found.values()), 0.5).model == "gpt-oss-120b"
    assert not any("gpt-oss-120b" in said for said in notes(ahead)[0])


def test_what_is_compared_is_named_with_both_scores_and_the_setting(tutor):
    hosted = next(said for said in notes(tutor)[0] if "hosted" in said)
    assert "and scores 42 % on Aider polyglot (high reasoning effort), today's model 23 %" in hosted
    assert hosted.endswith("compare both on your own items.")


def test_a_context_that_does_not_fit_is_no_candidate(default):
    workload = default.workloads[CHAT]
    needed = replace(workload.intake.context_tokens, value=200_000.0)
    long = workload.model_copy(
        update={
            "candidates": (),
            "intake": workload.intake.model_copy(update={"context_tokens": needed}),
        }
    )
    study = default.model_copy(update={"workloads": {CHAT: long}})
    models = {c.model for c in candidates(study, CHAT, "hosted_open")}
    assert "gpt-oss-120b" not in models  # 131,072 tokens
    assert "glm-5.3-flash" in models


def test_a_model_is_of_today_for_eighteen_months_and_not_before_its_day():
    for day, known in [(2025, 8, 5), False], [(2025, 8, 6), True], [(2027, 2, 6), True]:
        assert ("gpt-oss-120b" in set(current_models(date(*day))["model"])) == known
    assert "gpt-oss-120b" not in set(current_models(date(2027, 2, 7))["model"])


def test_every_model_of_today_is_listed_by_somebody_who_serves_it():
    for model in current_models(AS_OF)["model"]:
        sold = prices.listings(model, AS_OF)
        assert sold, model
        assert not any(each.provider.startswith(("openrouter", "huggingface")) for each in sold)

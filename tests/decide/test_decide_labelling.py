"""The plan of a golden set: what the verdicts take, by the length of their items."""

import pandas as pd
import pytest

from llmstudy import paths
from llmstudy.chapters.quality import golden_plan, quality_verdicts
from llmstudy.decide import labelling
from llmstudy.decide.dates import move_dates
from llmstudy.decide.labelling import plan_by_workload
from llmstudy.study import load
from llmstudy.study.labelling import minutes_per_item, usd_per_item


@pytest.fixture(scope="module")
def study():
    return load(paths.params("default.yaml"))


@pytest.fixture(scope="module")
def plan(default_case):
    return golden_plan(default_case)


def test_an_item_takes_as_long_as_its_text_takes_to_read_and_four_minutes_to_judge(study):
    # 24,000 tokens in, a fifth of them the prefix of every prompt; two answers of 1,500
    reasoning = minutes_per_item(study, "long-context-reasoning")
    assert reasoning.value == pytest.approx((24_000 * 0.8 + 2 * 1_500) * 0.75 / 238 + 4, rel=2e-3)
    assert reasoning.low == pytest.approx(22_200 / 400 + 1.5)
    assert reasoning.high == pytest.approx(22_200 / 233 + 10, rel=1e-6)


def test_a_short_item_costs_some_dollars_and_one_of_24k_tokens_more_than_an_hour(study):
    assert 3 < usd_per_item(study, "classification").value < 8
    assert 60 < usd_per_item(study, "long-context-reasoning").value < 90


def test_a_price_of_an_item_that_the_study_states_stands(study):
    own = study.with_({"usd_per_golden_item": "25 USD/item"})
    assert usd_per_item(own, "classification").value == 25
    assert usd_per_item(own, "long-context-reasoning").value == 25


def test_the_plan_labels_the_items_that_the_moves_of_the_memo_wait_for(plan, default_case):
    dates = pd.DataFrame(move_dates(default_case, quality_verdicts(default_case.study)))
    key = ["workload", "route"]
    assert plan.set_index(key)["items"].to_dict() == dates.set_index(key)["items"].to_dict()


def test_labelling_costs_far_more_than_the_answers_and_both_add_up(plan):
    billed = plan.dropna(subset="run_usd")
    assert (billed["label_usd"] > 50 * billed["run_usd"]).all()
    assert (plan["usd"] - plan["label_usd"] - plan["run_usd"].fillna(0)).abs().max() < 1e-6
    assert (plan["low_usd"] <= plan["label_usd"]).all()
    assert (plan["label_usd"] <= plan["high_usd"]).all()
    # fleets are rented, not billed by tokens
    assert plan.loc[plan["run_usd"].isna(), "route"].str.startswith("h200").all()


def test_an_answer_costs_what_chapter_02_bills_for_a_request_on_both_routes(plan, study, reference):
    bills = pd.DataFrame(reference["02_cost"]["bills"])
    each = bills.set_index(["workload", "route"])["usd_per_request"]
    for row in plan.dropna(subset="run_usd").to_dict("records"):
        today = study.workloads[row["workload"]].current_route
        both = each[row["workload"], today] + each[row["workload"], row["route"]]
        assert row["run_usd"] == pytest.approx(row["items"] * both, rel=1e-6)


def test_one_set_of_items_serves_all_candidates_of_a_workload(plan):
    total = plan_by_workload(plan).set_index("workload")
    for name, rows in plan.groupby("workload"):
        assert total.loc[name, "items"] == rows["items"].max()
        assert total.loc[name, "run_usd"] == pytest.approx(rows["run_usd"].sum())


def test_a_candidate_that_is_proven_inferior_needs_no_more_items(study, reference):
    quality = pd.DataFrame(reference["04_quality"]["quality"]).assign(verdict="inferior")
    plan = labelling.golden_plan(study, quality, pd.DataFrame(reference["02_cost"]["bills"]))
    assert (plan[["items", "hours", "label_usd"]] == 0).all(axis=None)
    assert plan_by_workload(plan).empty


def test_a_study_without_candidates_needs_no_golden_set(study):
    assert plan_by_workload(labelling.golden_plan(study, [], [])).empty

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from llmstudy.chapters.cost import api_bills
from llmstudy.chapters.quality import accepted_answer_costs, golden_plan, quality_verdicts
from llmstudy.measures import quality
from llmstudy.simulate.quality import acceptance_draws, counts_of

each_scored_study = pytest.mark.parametrize("name", ["default", "hyperscale"])


# ---- chapter 04, at today's prices


def shown(assessed, name):
    """The table of a study by hand, and what its chapters wrote."""
    found = assessed(name)
    bills, verdicts = found.results["02_cost"]["bills"], found.results["04_quality"]["quality"]
    return accepted_answer_costs(found.case.study, verdicts, bills), found


@each_scored_study
def test_an_accepted_answer_costs_its_bill_over_its_acceptance(assessed, name):
    table, _ = shown(assessed, name)
    assert len(table)
    by_hand = table["usd_per_request"] / table["acceptance"]
    assert table["usd_per_accepted_answer"].tolist() == pytest.approx(by_hand.tolist())
    assert (table["usd_per_accepted_answer"] >= table["usd_per_request"]).all()


@each_scored_study
def test_each_scored_route_is_beside_todays_on_the_same_items(assessed, name):
    table, found = shown(assessed, name)
    for (workload, pair), two in table.groupby(["workload", "pair"]):
        today, scored = two.to_dict("records")
        assert (today["current"], scored["current"]) == (True, False)
        assert today["route"] == found.case.study.workloads[workload].current_route
        assert scored["route"] == pair
        judged = found.row("04_quality", "quality", workload=workload, route=pair)
        assert scored["acceptance"] - today["acceptance"] == pytest.approx(judged["difference"])
        less = scored["usd_per_accepted_answer"] - today["usd_per_accepted_answer"]
        assert scored["difference_usd"] == pytest.approx(less)


def test_every_scored_route_with_a_bill_has_its_cost_and_a_fleet_has_none(assessed):
    table, found = shown(assessed, "default")
    billed = {(bill["workload"], bill["route"]) for bill in found.results["02_cost"]["bills"]}
    scored = {
        (row["workload"], row["route"])
        for row in found.results["04_quality"]["quality"]
        if row["verdict"] != "none"
    }
    assert set(zip(table["workload"], table["pair"], strict=True)) == scored & billed
    assert scored - billed  # the fleets of the same weights


@each_scored_study
def test_the_interval_of_an_accepted_answer_is_that_of_its_acceptance(assessed, name):
    """Against the delta method: usd / p varies by usd / p^2 times the error of p."""
    table, found = shown(assessed, name)
    for row in table.to_dict("records"):
        judged = found.row("04_quality", "quality", workload=row["workload"], route=row["pair"])
        p = row["acceptance"]
        half = norm.ppf(0.975) * np.sqrt(p * (1 - p) / judged["n"]) * row["usd_per_request"] / p**2
        assert row["high_usd"] - row["low_usd"] == pytest.approx(2 * half, rel=0.05)
        assert row["low_usd"] < row["usd_per_accepted_answer"] < row["high_usd"]


def test_a_wrong_answer_that_is_repaired_costs_its_repair(assessed):
    found = assessed("default")
    study = found.case.study.with_({"workloads.extraction.quality.repair": "1 USD/answer"})
    table = accepted_answer_costs(study, quality_verdicts(study), found.results["02_cost"]["bills"])
    for row in table[table["workload"] == "extraction"].to_dict("records"):
        by_hand = row["usd_per_request"] + (1 - row["acceptance"]) * 1.0
        assert row["usd_per_accepted_answer"] == pytest.approx(by_hand)


def test_chapter_04_shows_the_cost_of_an_accepted_answer_and_the_plan_of_every_golden_set(
    run_of, default_case
):
    folder, key = run_of("default").folder / "tables", ["workload", "route"]
    accepted = pd.read_csv(folder / "accepted_costs.csv")
    by_hand = accepted_answer_costs(
        default_case.study, quality_verdicts(default_case.study), api_bills(default_case)
    )
    assert accepted["high_usd"].tolist() == pytest.approx(by_hand["high_usd"].tolist())
    plan = pd.read_csv(folder / "golden_plan.csv").set_index(key)
    made = golden_plan(default_case).set_index(key)
    for column in ("items", "hours", "usd", "pass_mark"):
        assert plan[column].tolist() == pytest.approx(made[column].tolist())
    sets = pd.read_csv(folder / "golden_sets.csv").set_index("workload")
    assert sets["items"].to_dict() == plan.groupby("workload")["items"].max().to_dict()


# ---- chapter 06, in simulated futures


@each_scored_study
def test_the_middle_of_an_accepted_answers_cost_is_its_bill_over_its_acceptance(assessed, name):
    found = assessed(name)
    bills = {
        (row["workload"], row["route"]): row["usd_per_request"]
        for row in found.results["02_cost"]["bills"]
    }
    rows = found.results["06_crossover"]["accepted"]
    assert rows
    for row in rows:
        assert row["today_p10_usd"] <= row["today_p50_usd"] <= row["today_p90_usd"]
        judged = found.row("04_quality", "quality", workload=row["workload"], route=row["route"])
        today = found.case.study.workloads[row["workload"]].current_route
        tokens = bills[row["workload"], today] / judged["acceptance_current"]
        # the bill of a month holds evaluation and forced migrations beside the tokens
        assert 0.8 * tokens < row["today_p50_usd"] < 5 * tokens


def test_acceptance_is_drawn_from_the_paired_counts_of_both_models(assessed):
    study = assessed("default").case.study
    today, scored = acceptance_draws(study, "extraction", "novita-llama-3.1-70b", 20_000)
    counts = counts_of(study.workloads["extraction"].quality.evidence["novita-llama-3.1-70b"])
    current, candidate = quality.acceptance(counts)
    assert today.mean() == pytest.approx(current.estimate, abs=0.002)
    assert scored.mean() == pytest.approx(candidate.estimate, abs=0.002)
    # on the same items they rise and fall together
    assert np.corrcoef(today, scored)[0, 1] > 0.1


def test_routes_without_paired_items_have_no_row(assessed):
    found = assessed("default")
    rows = found.results["06_crossover"]["accepted"]
    scored = {
        (name, route)
        for name, workload in found.case.study.workloads.items()
        for route in workload.quality.evidence
    }
    assert {(row["workload"], row["route"]) for row in rows} <= scored

import numpy as np
import pytest

from llmstudy.measures import quality
from llmstudy.simulate.quality import acceptance_draws, counts_of


@pytest.mark.parametrize("name", ["default", "hyperscale"])
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

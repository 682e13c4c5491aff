"""From a month's bill to what staying costs: the parts add up, and each is what it says."""

from dataclasses import replace

import pytest

from llmstudy import paths
from llmstudy.simulate.breakdown import stay_parts
from llmstudy.simulate.inputs import market
from llmstudy.study import load


@pytest.fixture(scope="module")
def study():
    return load(paths.params("default.yaml"))


@pytest.fixture(scope="module")
def offers(reference):
    return market(reference["02_cost"], reference["05_self_hosting"])


@pytest.fixture(scope="module")
def month(reference):
    return reference["06_crossover"]["month_usd"]


def held(study, **values):
    """The study with these inputs of every workload at other values."""
    workloads = {
        name: workload.model_copy(
            update={k: replace(getattr(workload, k), value=x) for k, x in values.items()}
        )
        for name, workload in study.workloads.items()
    }
    return study.model_copy(update={"workloads": workloads})


def parts(study, offers, month):
    return {row["part"]: row["usd"] for row in stay_parts(study, offers, month)}


def test_the_parts_add_up_to_what_staying_costs(study, offers, month):
    found = parts(study, offers, month)
    assert sum(found.values()) == pytest.approx(month["horizon"]["p50"], rel=1e-9)
    assert found["today"] == pytest.approx(month["today"] * study.months)


def test_a_part_that_changes_nothing_is_not_named(study, offers, month):
    still = held(study, growth=0.0, prompt_growth=0.0)
    assert {"growth", "prompts"} & parts(still, offers, month).keys() == set()


def test_growth_alone_adds_a_geometric_series(study, offers, month):
    flat = {
        key: replace(offer, month_factors=(1.0,)) if hasattr(offer, "month_factors") else offer
        for key, offer in offers.tokens.items()
    }
    unannounced = replace(offers, tokens=flat)
    growth, months = study.workloads["extraction"].growth.value, study.months
    series = sum((1 + growth) ** k for k in range(months)) - months
    found = parts(held(study, prompt_growth=0.0), unannounced, month)
    assert found["growth"] == pytest.approx(month["today"] * series)
    assert "scheduled" not in found


def test_an_announced_price_adds_what_it_charges_from_its_month_on(study, offers, month):
    still = held(study, growth=0.0, prompt_growth=0.0)
    expected = 0.0
    for name, usd in month["today_by_workload"].items():
        factors = offers.tokens[name, still.workloads[name].current_route].month_factors
        longer = [*factors, *[factors[-1]] * study.months][: study.months]
        expected += usd * sum(factor - 1 for factor in longer)
    assert expected > 0
    assert parts(still, offers, month)["scheduled"] == pytest.approx(expected)


def test_a_rate_of_discount_takes_off_what_later_months_are_worth_less(study, offers, month):
    rate = replace(study.discount_rate, value=0.12, high=0.12)
    still = held(study, growth=0.0, prompt_growth=0.0)
    flat = {
        key: replace(offer, month_factors=(1.0,)) if hasattr(offer, "month_factors") else offer
        for key, offer in offers.tokens.items()
    }
    unannounced = replace(offers, tokens=flat)
    upkeep = parts(still, unannounced, month)["upkeep"]
    found = parts(still.model_copy(update={"discount_rate": rate}), unannounced, month)
    lost = sum(1 - 1.12 ** (-k / 12) for k in range(1, study.months + 1))  # paid at a month's end
    a_month = month["today"] + upkeep / study.months
    assert found["discount"] + found["upkeep"] == pytest.approx(upkeep - lost * a_month)
    assert sum(found.values()) == pytest.approx(month["horizon"]["p50"])

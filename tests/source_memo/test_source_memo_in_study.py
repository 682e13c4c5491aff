"""The source memo and the usual calculator beside each study that ships."""

import json
from functools import cache
from math import prod

import pytest

from llmstudy import io
from llmstudy.source_memo.calculator import ITEMS
from llmstudy.source_memo.in_study import source_memo_tables

SHIPPED = ["default", "hyperscale", "regulated", "source_memo"]

every_study = pytest.mark.parametrize("name", SHIPPED)


@pytest.fixture(scope="module")
def tables(assessed):
    @cache
    def made(name):
        found = assessed(name)
        return found, source_memo_tables(found.case, found.results)

    return made


@every_study
def test_every_sized_fleet_is_compared_or_says_why_not(tables, name):
    assessment, found = tables(name)
    pairs = [
        found[t][["workload", "route"]] for t in ("calculators", "not_compared") if len(found[t])
    ]
    named = sorted(tuple(pair) for table in pairs for pair in table.to_numpy().tolist())
    fleets = assessment.results["05_self_hosting"]["fleets"]
    assert named == sorted((row["workload"], row["route"]) for row in fleets)


@every_study
def test_attribution_leads_from_the_web_formula_to_the_fleets_own_month(tables, name):
    _, found = tables(name)
    for row in found["calculators"].to_dict("records"):
        parts = found["attribution"]
        parts = parts[(parts[["workload", "route"]] == [row["workload"], row["route"]]).all(axis=1)]
        assert parts["item"].tolist() == list(ITEMS)
        whole = row["our_month_usd"] - row["calculator_month_usd"]
        assert parts["shapley_usd"].sum() == pytest.approx(whole, rel=1e-9)
        assert parts["in_order_usd"].sum() == pytest.approx(whole, rel=1e-9)
        # up to price drift and quality the walk ends at what the fleet costs this month
        now = parts[~parts["item"].isin(["price_drift", "quality"])]["in_order_usd"].sum()
        assert row["calculator_month_usd"] + now == pytest.approx(row["fleet_month_usd"])


@every_study
def test_attribution_leads_from_the_web_formulas_break_even_to_ours(tables, name):
    assessment, found = tables(name)
    cap = assessment.case.study.volume_cap.value
    for row in found["calculators"].to_dict("records"):
        parts = found["attribution"]
        parts = parts[(parts[["workload", "route"]] == [row["workload"], row["route"]]).all(axis=1)]
        workload = assessment.case.study.workloads[row["workload"]]
        tokens = row["tokens_per_month"] / workload.intake.requests.value
        ours = row["our_break_even_tokens"]
        ours = cap * tokens if ours is None or ours != ours else ours
        factor = prod(parts["break_even_factor"])
        assert row["calculator_break_even_tokens"] * factor == pytest.approx(ours, rel=1e-6)


@every_study
def test_results_can_be_written_and_claims_stand_for_every_billed_workload(tables, name):
    assessment, found = tables(name)
    json.dumps(io.plain(found), allow_nan=False)
    billed = {row["workload"] for row in assessment.results["02_cost"]["bills"]}
    assert set(found["claims"]["workload"]) == billed
    assert set(found["t2"]["on"]) >= {assessment.case.study.as_of}


def test_calculator_sees_neither_staff_nor_spare_and_breaks_even_far_too_soon(tables):
    _, found = tables("default")
    row = found["calculators"].set_index("workload").loc["support-chat"]
    assert row["calculator_gpus"] < row["our_gpus"]
    assert row["calculator_break_even_tokens"] < row["our_break_even_tokens"] / 10
    parts = found["attribution"].set_index(["workload", "item"])["shapley_usd"]
    assert parts["support-chat"].idxmax() == "staff"

"""The web formula against published pages, and its difference to ours taken apart."""

import json
import shutil
from math import prod

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmstudy import paths
from llmstudy.source_memo.calculator import (
    api_month_usd,
    assumptions,
    attribution,
    break_even_requests,
    fields_by_item,
    fleet_month_usd,
)

CAP = 1e12
SHIPPED = ["default", "hyperscale", "regulated", "source_memo"]

every_study = pytest.mark.parametrize("name", SHIPPED)


def bills(**fields):
    """One month's bills as a frame."""
    return pd.DataFrame(
        [{"workload": "chat", "route": "own", "requests_per_month": 1.2e6} | fields]
    )


TYPED = assumptions().set_index("field")["value"].dropna()

CALCULATOR = bills(
    **TYPED,
    requests_per_s_per_gpu=3902 / 1366,
    usd_per_gpu_hour=3.5,
    api_usd_per_1000_requests=5.0,
)

OURS = bills(
    requests_per_s_per_gpu=2.1,
    peak_to_mean=1.86,
    target_utilisation=0.7,
    gpus_per_replica=2,
    spare=1,
    follows_volume=1,
    usd_per_gpu_hour=2.8175,
    overhead_share=0.25,
    staff_month_usd=25_000.0,
    other_month_usd=400.0,
    api_usd_per_1000_requests=4.8,
    api_other_month_usd=1_000.0,
    api_price_factor=0.95,
    gpu_price_factor=1.02,
    accepted_ratio=0.979,
)

shares = st.floats(0.05, 1.0)
some_bills = st.builds(
    bills,
    requests_per_s_per_gpu=st.floats(0.1, 50),
    peak_to_mean=st.floats(1, 5),
    target_utilisation=shares,
    gpus_per_replica=st.integers(1, 8),
    spare=st.integers(0, 2),
    follows_volume=st.integers(0, 1),
    usd_per_gpu_hour=st.floats(0.5, 15),
    overhead_share=st.floats(0, 0.5),
    staff_month_usd=st.floats(0, 1e5),
    other_month_usd=st.floats(0, 1e4),
    api_usd_per_1000_requests=st.floats(1e-2, 100),
    api_other_month_usd=st.floats(0, 1e4),
    api_price_factor=st.floats(0.2, 2),
    gpu_price_factor=st.floats(0.5, 1.5),
    accepted_ratio=st.floats(0.5, 1.2),
)


def saving(frame):
    return (api_month_usd(frame) - fleet_month_usd(frame)).item()


def fleet(frame):
    return fleet_month_usd(frame).item()


def break_even(frame):
    return break_even_requests(frame, CAP).item()


# ---- the formula --------------------------------------------------------------------------------


def test_web_formula_gives_what_a_published_page_prints():
    # induwara.lk, read 2026-11-26: 120M + 40M tokens, USD 0.25 / 2 per Mtok, one GPU at USD 1.19,
    # 15 % overhead, 729.6 h: USD 998.46 against 110.00, break-even 1.45B tokens a month
    page = CALCULATOR.assign(
        requests_per_month=160_000.0,  # of 1,000 tokens
        requests_per_s_per_gpu=2.5,
        usd_per_gpu_hour=1.19,
        overhead_share=0.15,
        api_usd_per_1000_requests=0.75 * 0.25 + 0.25 * 2.0,
    )
    assert fleet(page) == pytest.approx(998.46 * 730 / 729.6, abs=0.01)
    assert api_month_usd(page).item() == pytest.approx(110.0)
    assert break_even(page) * 1000 == pytest.approx(1.45e9, rel=5e-3)


def test_web_formula_rents_another_gpu_from_the_token_that_no_longer_fits():
    full = 2500 * 730 * 3600  # the page's "6.57B/mo capacity"
    assert full == pytest.approx(6.57e9)
    page = CALCULATOR.assign(requests_per_month=full / 1000, requests_per_s_per_gpu=2.5)
    one = 3.5 * 730
    assert fleet(page) == pytest.approx(one)
    assert fleet(page.assign(requests_per_month=full / 1000 * 1.001)) == pytest.approx(2 * one)
    assert fleet(page.assign(target_utilisation=0.5)) == pytest.approx(2 * one)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("requests_per_s_per_gpu", 0.0, "capacity above 0"),
        ("target_utilisation", 0.0, "must be a share in"),
        ("target_utilisation", 1.1, "must be a share in"),
        ("accepted_ratio", 0.0, "without accepted answers"),
    ],
)
def test_web_formula_refuses_what_is_no_input(field, value, message):
    with pytest.raises(ValueError, match=message):
        fleet_month_usd(CALCULATOR.assign(**{field: value}))


def test_typed_utilisation_is_above_what_any_bundled_traffic_allows():
    typed = assumptions().set_index("field")
    # cost.md 4.3: static fleets reach at most 34-38 %
    assert typed.loc["target_utilisation", "low"] > 0.38


def test_every_assumption_but_the_volume_is_listed_once():
    fields = [field for own in fields_by_item().values() for field in own]
    assert sorted(fields) == sorted(set(OURS) - {"workload", "route", "requests_per_month"})


def test_month_of_our_bills_by_hand():
    # 1.2M requests: 0.457/s mean, 0.849/s peak; a replica of two GPUs takes 4.2 * 0.7: one, + 1
    rent = 2 * 2 * 2.8175 * 1.02 * 730 * 1.25
    assert fleet(OURS) == pytest.approx((rent + 25_400) / 0.979)


def test_break_even_is_where_the_saving_turns_positive_for_good():
    volume = break_even(OURS)
    at = [saving(OURS.assign(requests_per_month=volume * x)) for x in (1 - 1e-6, 1 + 1e-6)]
    assert at[0] < 0 < at[1]
    later = np.geomspace(1.001, 100, 500) * volume
    many = OURS.loc[[0] * len(later)].assign(requests_per_month=later)
    assert (api_month_usd(many) > fleet_month_usd(many)).all()


def test_break_even_is_never_where_a_full_replica_does_not_earn_its_rent():
    assert break_even(OURS.assign(api_usd_per_1000_requests=0.01)) == np.inf
    assert break_even(OURS.assign(api_usd_per_1000_requests=0.0)) == np.inf
    assert break_even(CALCULATOR.assign(api_usd_per_1000_requests=0.0)) == np.inf


# ---- the difference -----------------------------------------------------------------------------


@settings(max_examples=5, deadline=None)
@given(some_bills, some_bills)
def test_attributions_sum_to_the_whole_difference_whatever_the_bills(typed, ours):
    table = attribution(typed, ours, CAP)
    month, saved = fleet(ours) - fleet(typed), saving(ours) - saving(typed)
    volumes = [min(max(break_even(b), 1), CAP) for b in (typed, ours)]
    size = fleet(ours) + fleet(typed) + abs(saved)
    assert table["in_order_usd"].sum() == pytest.approx(month, abs=1e-9 * size)
    assert table["shapley_usd"].sum() == pytest.approx(month, abs=1e-9 * size)
    assert table["saving_usd"].sum() == pytest.approx(saved, abs=1e-9 * size)
    assert prod(table["break_even_factor"]) == pytest.approx(volumes[1] / volumes[0], rel=1e-6)


def test_each_item_alone_gets_the_whole_difference_that_it_makes():
    for item, fields in fields_by_item().items():
        ours = CALCULATOR.assign(**{field: OURS[field] for field in fields})
        table = attribution(CALCULATOR, ours, CAP).set_index("item")
        assert table.loc[item, "shapley_usd"] == pytest.approx(fleet(ours) - fleet(CALCULATOR)), (
            item
        )
        others = table.drop(item)
        assert (others["shapley_usd"] == 0).all(), item
        assert (others["break_even_factor"] == 1).all(), item


def test_walk_ends_at_our_break_even_and_says_never_as_nothing():
    table = attribution(CALCULATOR, OURS, CAP)
    assert table["break_even_after"].iloc[-1] == pytest.approx(break_even(OURS))
    never = attribution(CALCULATOR, OURS.assign(api_usd_per_1000_requests=0.01), CAP)
    assert np.isnan(never["break_even_after"].iloc[-1])
    assert prod(never["break_even_factor"]) == pytest.approx(CAP / break_even(CALCULATOR))


def test_staff_and_overhead_add_what_they_cost_when_changed_last():
    # staff is added to whatever else holds, so that its share of the month is itself over quality
    table = attribution(CALCULATOR, OURS.assign(accepted_ratio=1.0), CAP).set_index("item")
    assert table.loc["staff", "shapley_usd"] == pytest.approx(25_000)
    assert table.loc["other", "in_order_usd"] == pytest.approx(400)
    assert table.loc["api_bill", "shapley_usd"] == pytest.approx(0, abs=1e-6)


# ---- in the notebook ----------------------------------------------------------------------------


def test_vendor_peak_is_the_best_scenario_and_absent_where_nobody_ran_it(notebook):
    peaks = notebook.peaks
    assert peaks["nvidia/Llama-3.1-8B-Instruct-FP8", "h200_sxm"] == 8255
    assert peaks["meta-llama/Llama-3.1-70B", "h200_sxm"] == 4274
    assert peaks["meta-llama/Llama-3.1-70B", "h100_sxm"] == 3902
    assert ("meta-llama/Llama-3.1-70B", "l4") not in peaks.index


def test_the_formula_in_the_open_is_that_of_the_attribution(notebook):
    page = notebook.page
    assert page["month_usd"].tolist() == pytest.approx(fleet_month_usd(page).tolist())
    assert page["api_month_usd"].tolist() == pytest.approx(api_month_usd(page).tolist())
    volumes = break_even_requests(page, np.inf) * page["tokens_per_request"]
    assert page["break_even_tokens"].tolist() == pytest.approx(volumes.tolist())


def test_a_calculator_sees_neither_staff_nor_spare_and_breaks_even_far_too_soon(notebook):
    row = notebook.calculators.set_index("workload").loc["support-chat"]
    assert row["calculator_gpus"] < row["our_gpus"]
    assert row["calculator_break_even_tokens"] < row["our_break_even_tokens"] / 10
    parts = notebook.parts.set_index(["workload", "item"])["shapley_usd"]
    assert parts["support-chat"].idxmax() == "staff"


def test_a_study_without_a_fleet_has_its_chapter_all_the_same(opened, tmp_path, capsys):
    shutil.copytree(paths.reference() / "results", tmp_path / "results")
    file = tmp_path / "results" / "05_self_hosting.json"
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | {"fleets": []}), "utf-8")
    names = opened(paths.params("default.yaml"), tmp_path)
    assert names.calculators.empty
    assert len(names.t2) == 40
    assert "No fleet of this study can be compared" in capsys.readouterr().out


# ---- in every study -----------------------------------------------------------------------------


@every_study
def test_every_sized_fleet_is_compared_or_says_why_not(assessed, written, name):
    parts = [written(name)["calculators"], written(name)["not_compared"]]
    named = sorted((row["workload"], row["route"]) for p in parts for row in p.to_dict("records"))
    fleets = assessed(name).results["05_self_hosting"]["fleets"]
    assert named == sorted((row["workload"], row["route"]) for row in fleets)


@every_study
def test_attribution_leads_from_the_web_formula_to_the_fleets_own_month(assessed, written, name):
    fleets = assessed(name).results["05_self_hosting"]["fleets"]
    month = {(row["workload"], row["route"]): row["month_usd"] for row in fleets}
    for row in written(name)["calculators"].to_dict("records"):
        parts = written(name)["attribution"]
        parts = parts[(parts[["workload", "route"]] == [row["workload"], row["route"]]).all(axis=1)]
        assert parts["item"].tolist() == list(fields_by_item())
        whole = row["our_month_usd"] - row["calculator_month_usd"]
        assert row["difference_usd"] == pytest.approx(whole)
        assert parts["shapley_usd"].sum() == pytest.approx(whole)
        assert parts["in_order_usd"].sum() == pytest.approx(whole)
        # up to price drift and quality the walk ends at what the fleet costs this month
        now = parts[~parts["item"].isin(["price_drift", "quality"])]["in_order_usd"].sum()
        fleet_month = month[row["workload"], row["route"]]
        assert row["calculator_month_usd"] + now == pytest.approx(fleet_month)


@every_study
def test_attribution_leads_from_the_web_formulas_break_even_to_ours(assessed, written, name):
    study = assessed(name).case.study
    for row in written(name)["calculators"].to_dict("records"):
        parts = written(name)["attribution"]
        parts = parts[(parts[["workload", "route"]] == [row["workload"], row["route"]]).all(axis=1)]
        tokens = row["tokens_per_month"] / study.workloads[row["workload"]].intake.requests.value
        ours = row["our_break_even_tokens"]
        ours = study.volume_cap.value * tokens if ours is None or ours != ours else ours
        factor = prod(parts["break_even_factor"])
        assert row["calculator_break_even_tokens"] * factor == pytest.approx(ours, rel=1e-6)


@every_study
def test_claims_stand_for_every_billed_workload_and_prices_for_the_studys_day(
    assessed, written, name
):
    study, results = assessed(name).case.study, assessed(name).results
    billed = {row["workload"] for row in results["02_cost"]["bills"]}
    assert {row["workload"] for row in results["06_crossover"]["claims"]} == billed
    assert study.as_of.isoformat() in set(written(name)["t2"]["on"])

"""The web formula against published pages, and its difference to ours taken apart."""

from dataclasses import replace
from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmstudy.source_memo.calculator import (
    ITEMS,
    World,
    attribution,
    break_even_requests,
    fleet_month_usd,
    saving_month_usd,
    typed_defaults,
    vendor_peak,
    web_calculator,
)

CAP = 1e12

CALCULATOR = World(
    requests_per_month=1.2e6,
    requests_per_s_per_gpu=3902 / 1366,
    peak_to_mean=1.0,
    target_utilisation=1.0,
    gpus_per_replica=1,
    spare=0,
    follows_volume=False,
    usd_per_gpu_hour=3.5,
    overhead_share=0.0,
    staff_month_usd=0.0,
    other_month_usd=0.0,
    api_usd_per_request=0.005,
    api_other_month_usd=0.0,
    api_price_factor=1.0,
    gpu_price_factor=1.0,
    accepted_ratio=1.0,
)

OURS = replace(
    CALCULATOR,
    requests_per_s_per_gpu=2.1,
    peak_to_mean=1.86,
    target_utilisation=0.7,
    gpus_per_replica=2,
    spare=1,
    follows_volume=True,
    usd_per_gpu_hour=2.8175,
    overhead_share=0.25,
    staff_month_usd=25_000.0,
    other_month_usd=400.0,
    api_usd_per_request=0.0048,
    api_other_month_usd=1_000.0,
    api_price_factor=0.95,
    gpu_price_factor=1.02,
    accepted_ratio=0.979,
)

shares = st.floats(0.05, 1.0)
worlds = st.builds(
    World,
    requests_per_month=st.just(1.2e6),
    requests_per_s_per_gpu=st.floats(0.1, 50),
    peak_to_mean=st.floats(1, 5),
    target_utilisation=shares,
    gpus_per_replica=st.integers(1, 8),
    spare=st.integers(0, 2),
    follows_volume=st.booleans(),
    usd_per_gpu_hour=st.floats(0.5, 15),
    overhead_share=st.floats(0, 0.5),
    staff_month_usd=st.floats(0, 1e5),
    other_month_usd=st.floats(0, 1e4),
    api_usd_per_request=st.floats(1e-5, 0.1),
    api_other_month_usd=st.floats(0, 1e4),
    api_price_factor=st.floats(0.2, 2),
    gpu_price_factor=st.floats(0.5, 1.5),
    accepted_ratio=st.floats(0.5, 1.2),
)


def test_web_formula_gives_what_a_published_page_prints():
    # induwara.lk, read 2026-11-26: 120M + 40M tokens, USD 0.25 / 2 per Mtok, one GPU at USD 1.19,
    # 15 % overhead, 729.6 h: USD 998.46 against 110.00, break-even 1.45B tokens a month
    said = web_calculator(160e6, 120 / 160, 0.25, 2.0, 1.19, 2500, 1.0, overhead_share=0.15)
    assert said.gpus == 1
    assert said.month_usd == pytest.approx(998.46 * 730 / 729.6, abs=0.01)
    assert said.api_month_usd == pytest.approx(110.0)
    assert said.break_even_tokens == pytest.approx(1.45e9, rel=5e-3)


def test_web_formula_rents_another_gpu_from_the_token_that_no_longer_fits():
    full = 2500 * 730 * 3600  # the page's "6.57B/mo capacity"
    assert full == pytest.approx(6.57e9)
    args = (0.75, 0.25, 2.0, 1.19, 2500)
    assert web_calculator(full, *args, 1.0).gpus == 1
    assert web_calculator(full * 1.001, *args, 1.0).gpus == 2
    assert web_calculator(full, *args, 0.5).gpus == 2


@pytest.mark.parametrize(
    ("throughput", "utilisation", "price", "said"),
    [
        (0.0, 1.0, 1.0, "throughput above 0"),
        (100.0, 0.0, 1.0, "utilisation_share in"),
        (100.0, 1.1, 1.0, "utilisation_share in"),
        (100.0, 1.0, 0.0, "free API"),
    ],
)
def test_web_formula_refuses_what_is_no_input(throughput, utilisation, price, said):
    with pytest.raises(ValueError, match=said):
        web_calculator(1e9, 0.75, price, price, 2.0, throughput, utilisation)


def test_typed_utilisation_is_above_what_any_bundled_traffic_allows():
    typed = typed_defaults().set_index("name")
    assert typed["source"].notna().all()
    # cost.md 4.3: static fleets reach at most 34-38 %
    assert typed.loc["utilisation_share", "low"] > 0.38


def test_vendor_peak_is_the_best_scenario_and_absent_where_nobody_ran_it():
    assert vendor_peak("nvidia/Llama-3.1-8B-Instruct-FP8", "h200_sxm").value == 8255
    assert vendor_peak("meta-llama/Llama-3.1-70B", "h200_sxm").value == 4274
    assert vendor_peak("meta-llama/Llama-3.1-70B", "l4") is None
    assert vendor_peak("openai/gpt-oss-120b", "h100_sxm") is None


def test_month_of_the_calculators_world_is_the_web_formula():
    said = web_calculator(1.2e6 * 1366, 1155 / 1366, 2.5, 10.0, 3.5, 3902, 1.0)
    world = replace(CALCULATOR, api_usd_per_request=said.blended_usd_per_mtok * 1366 / 1e6)
    assert fleet_month_usd(world) == pytest.approx(said.month_usd)
    assert saving_month_usd(world) == pytest.approx(said.api_month_usd - said.month_usd)
    assert break_even_requests(world, CAP) * 1366 == pytest.approx(said.break_even_tokens)


def test_month_of_our_world_by_hand():
    # 1.2M requests: 0.457/s mean, 0.849/s peak; a replica of two GPUs takes 4.2 * 0.7: one, + 1
    rent = 2 * 2 * 2.8175 * 1.02 * 730 * 1.25
    assert fleet_month_usd(OURS) == pytest.approx((rent + 25_400) / 0.979)


def test_break_even_is_where_the_saving_turns_positive_for_good():
    volume = break_even_requests(OURS, CAP)

    def saving(requests):
        return saving_month_usd(replace(OURS, requests_per_month=requests))

    assert saving(volume * (1 - 1e-6)) < 0 < saving(volume * (1 + 1e-6))
    assert all(saving(volume * x) > 0 for x in np.geomspace(1.001, 100, 500))


def test_break_even_is_never_where_a_full_replica_does_not_earn_its_rent():
    cheap_api = replace(OURS, api_usd_per_request=1e-5)
    assert break_even_requests(cheap_api, CAP) == np.inf
    assert break_even_requests(replace(cheap_api, api_usd_per_request=0.0), CAP) == np.inf


@settings(max_examples=5, deadline=None)
@given(worlds, worlds)
def test_attributions_sum_to_the_whole_difference_whatever_the_worlds(calculator, ours):
    table = attribution(calculator, ours, CAP)
    month = fleet_month_usd(ours) - fleet_month_usd(calculator)
    saving = saving_month_usd(ours) - saving_month_usd(calculator)
    volumes = [min(max(break_even_requests(w, CAP), 1), CAP) for w in (calculator, ours)]
    size = fleet_month_usd(ours) + fleet_month_usd(calculator) + abs(saving)
    assert table["in_order_usd"].sum() == pytest.approx(month, abs=1e-9 * size)
    assert table["shapley_usd"].sum() == pytest.approx(month, abs=1e-9 * size)
    assert table["saving_usd"].sum() == pytest.approx(saving, abs=1e-9 * size)
    assert prod(table["break_even_factor"]) == pytest.approx(volumes[1] / volumes[0], rel=1e-6)


def test_each_item_alone_gets_the_whole_difference_that_it_makes():
    for item, fields in ITEMS.items():
        ours = replace(CALCULATOR, **{field: getattr(OURS, field) for field in fields})
        table = attribution(CALCULATOR, ours, CAP).set_index("item")
        whole = fleet_month_usd(ours) - fleet_month_usd(CALCULATOR)
        assert table.loc[item, "shapley_usd"] == pytest.approx(whole), item
        others = table.drop(item)
        assert (others["changes"] == "nothing").all(), item
        assert others["shapley_usd"].abs().max() < 1e-6, item
        assert others["break_even_factor"].to_numpy() == pytest.approx(1.0), item


def test_items_cover_every_field_but_the_volume_once():
    fields = [field for item in ITEMS.values() for field in item]
    assert sorted([*fields, "requests_per_month"]) == sorted(World.__dataclass_fields__)


def test_walk_ends_at_our_break_even_and_says_never_as_nothing():
    table = attribution(CALCULATOR, OURS, CAP)
    assert table["break_even_after"].iloc[-1] == pytest.approx(break_even_requests(OURS, CAP))
    never = attribution(CALCULATOR, replace(OURS, api_usd_per_request=1e-5), CAP)
    assert np.isnan(never["break_even_after"].iloc[-1])
    assert prod(never["break_even_factor"]) == pytest.approx(
        CAP / break_even_requests(CALCULATOR, CAP)
    )


def test_staff_and_overhead_add_what_they_cost_when_changed_last():
    # staff is added to whatever else holds, so that its share of the month is itself over quality
    table = attribution(CALCULATOR, replace(OURS, accepted_ratio=1.0), CAP).set_index("item")
    assert table.loc["staff", "shapley_usd"] == pytest.approx(25_000)
    assert table.loc["other", "in_order_usd"] == pytest.approx(400)
    assert table.loc["api_bill", "shapley_usd"] == pytest.approx(0, abs=1e-6)


def test_no_accepted_answer_is_an_error_that_says_so():
    with pytest.raises(ValueError, match="no answer is accepted"):
        fleet_month_usd(replace(OURS, accepted_ratio=0.0))

"""The source memo's own figures out of the notebook's frames, and the reasons why ours differ."""

from datetime import date

import numpy as np
import pandas as pd
import pytest

from llmstudy import paths
from llmstudy.chapters import findings
from llmstudy.source_memo.claims import MEMO_DATE, agreement, memory_fits, serving_rates

MIX = 1155 + 211
NOW = date(2026, 11, 23)


@pytest.fixture
def t1(notebook):
    return notebook.t1


@pytest.fixture
def t2(notebook):
    """The claims by their id, at the prices of a day."""
    return lambda day: notebook.t2[notebook.t2["on"] == day].set_index("id")


# ---- T1 -----------------------------------------------------------------------------------------


def test_t1_api_column_is_the_mini_tiers_output_price_on_every_token(t1):
    assert t1["reproduced_api_usd"].tolist() == pytest.approx([6, 60, 600, 6_000, 30_000, 60_000])
    assert t1["memo_api_usd"].tolist() == [6, 60, 600, 6_000, 30_000, 60_000]


def test_the_price_of_a_mtok_at_each_mix_by_hand(notebook):
    price = notebook.mixes.set_index("mix")["usd_per_mtok"]
    assert price["output_only"] == 0.60
    assert price["blend"] == pytest.approx((3 * 0.15 + 0.60) / 4)
    assert price["chat"] == pytest.approx((1155 * 0.15 + 211 * 0.60) / MIX)


def test_t1_hosting_column_is_one_to_three_reserved_p4d(t1):
    low, high = t1["reproduced_hosting_low_usd"], t1["reproduced_hosting_high_usd"]
    assert low.tolist() == pytest.approx([14_000] * 6, rel=0.02)  # the memo's figures are rounded
    assert high.iloc[-2:].tolist() == pytest.approx([28_000, 42_000], rel=0.02)


def test_memos_month_on_demand_is_eight_cards_at_four_dollars(notebook):
    assert notebook.node_usd == 8 * 4.0 * 730
    assert notebook.node_usd == pytest.approx(23_000, rel=0.02)
    assert (notebook.staff_low_usd, notebook.staff_high_usd) == pytest.approx(
        (150_000 / 12, 2 * 250_000 / 12)
    )


def test_t1_names_the_cheaper_side_as_the_memo_does_and_ours_never_the_fleet(t1):
    # "dramatically cheaper below ~50B": its own table says hosting from 50B on
    assert t1["memo_cheaper"].tolist() == ["api"] * 4 + ["self_hosted"] * 2
    assert t1["our_cheaper"].tolist() == ["api"] * 6


def test_our_fleets_carry_the_tokens_that_they_are_charged_for(notebook, t1):
    node = notebook.node
    per_node = 8 // node["gpus"]
    for row in t1.itertuples():
        peak = row.tokens_per_month / MIX / (730 * 3600) * notebook.peak_to_mean
        for nodes, rate in (
            (row.nodes_low, node["requests_per_s_high"]),
            (row.nodes_high, node["requests_per_s_low"]),
        ):
            carries = (nodes * per_node - 1) * rate * notebook.target  # one is spare
            assert carries >= peak
            assert nodes == 1 or carries - per_node * rate * notebook.target < peak


def test_every_difference_that_the_memo_has_is_listed_with_its_amount(notebook):
    reasons = notebook.reasons.set_index("id")
    usd = reasons["low_usd"]
    assert usd["node_not_card"] == pytest.approx(14_000 * 7 / 8, rel=0.02)
    assert usd["second_card"] == pytest.approx(14_000 / 8, rel=0.02)
    assert usd["output_price_blend"] == pytest.approx(10_000 * (0.60 - 0.2625))
    assert usd["output_price_chat"] == pytest.approx(10_000 * (0.60 - 0.2195), rel=1e-3)
    assert reasons.loc["no_engineers", ["low_usd", "high_usd"]].tolist() == pytest.approx(
        [12_500, 41_667], rel=1e-4
    )
    assert reasons.loc["own_crossover", "tokens_per_month"] == pytest.approx(23e9, rel=0.02)
    assert reasons.loc["own_crossover", ["low_usd", "high_usd"]].tolist() == [2_000, 16_000]
    assert usd["threshold_contradicts"] == 8_000
    # 30 over 19.7 a card is two cards, 50 over 1.2 is 42: one and 41 more than the claim's one
    card = notebook.reserved_usd / 8
    assert reasons.loc["card_rate", ["low_usd", "high_usd"]].tolist() == pytest.approx(
        [card, 41 * card]
    )
    listed = pd.read_csv(paths.data("source_memo_reasons.csv"))["id"]
    assert reasons.index.tolist() == listed.tolist()


# ---- serving on an A100 -------------------------------------------------------------------------


def test_a_70b_fits_on_one_card_of_80_gb_and_on_none_of_40(notebook):
    fits = notebook.memory.set_index(["gpu", "precision", "gpus"])["fits"]
    assert not fits["a100_40gb_sxm", "fp8", 1]
    assert not fits["a100_40gb_sxm", "int4", 1]
    assert fits["a100_40gb_sxm", "int4", 2]
    assert fits["a100_80gb_sxm", "fp8", 1]
    assert fits["a100_80gb_sxm", "int4", 1]


def test_card_that_does_not_fit_says_why():
    card = pd.DataFrame([{"gpu": "a100_40gb_sxm", "gpus": 1, "precision": "int4"}])
    assert "does not fit on 1 x a100_40gb_sxm" in memory_fits(card)["why"][0]


def test_claimed_rate_is_beyond_physics_for_all_but_the_shortest_requests(notebook):
    # 312 TFLOP/s over 2 x 70.6e9 operations is 2,210 tokens/s, prompt and answer
    assert notebook.longest["longest_tokens"].tolist() == pytest.approx(
        [312e12 / 141.2e9 / 30, 312e12 / 141.2e9 / 50]
    )


def test_card_rates_stay_below_the_physical_limit_and_under_the_claim(notebook):
    short = notebook.short
    tokens_per_s = (short["input_tokens"] + short["output_tokens"]) * short["requests_per_s_high"]
    assert (tokens_per_s / 1.5 < 312e12 / 141.2e9).all()  # without the band of the transfer
    assert (short["requests_per_s_high"] < 30).all()
    assert (short["grade"] == "assumed").all()
    assert short["outside"].str.contains("gpu, precision").all()


def test_a_card_that_was_measured_has_its_own_curve_and_no_band(notebook):
    h100 = notebook.h100
    assert h100["requests_per_s_low"] == h100["requests_per_s_high"]
    assert h100["grade"] == "published"
    assert "gpu" not in h100["outside"]


def test_no_other_a100_is_made_up():
    case = {"gpu": "a100_60gb_sxm", "gpus": 1, "precision": "int4", "tpot_slo_s": np.nan}
    with pytest.raises(ValueError, match="no gpu 'a100_60gb_sxm'"):
        serving_rates(pd.DataFrame([case | {"input_tokens": 50, "output_tokens": 20}]))


# ---- T2 -----------------------------------------------------------------------------------------


def test_list_prices_of_the_memo_hold_at_its_date(t2):
    named = ["gpt_4o_input", "gpt_4o_output", "sonnet_4_input", "sonnet_4_output"]
    then = t2(MEMO_DATE).loc[named]
    assert then["ours_low"].tolist() == [2.5, 10, 3, 15]
    assert then["agrees"].tolist() == ["yes"] * 4


def test_each_claim_is_judged_and_says_how(t2):
    claims = pd.read_csv(paths.data("source_memo_t2.csv"))
    for table in (t2(MEMO_DATE), t2(NOW)):
        assert table.index.tolist() == claims["id"].tolist()
        assert set(table["agrees"]) <= {"yes", "partly", "no", "not checkable"}
        assert (table["how"].str.len() > 5).all()
    agrees = t2(MEMO_DATE)["agrees"]
    assert agrees["managed_open_tokens"] == "yes"
    assert agrees["api_sla"] == agrees["node_hour"] == "not checkable"
    assert agrees["small_tier"] == "partly"  # Claude Haiku 3.5 is 3.75 times cheaper
    assert agrees["card_rate"] == agrees["matrix_crossover"] == "no"


def test_small_tier_ratios_by_hand(t2):
    row = t2(MEMO_DATE).loc["small_tier"]
    assert (row["ours_low"], row["ours_high"]) == pytest.approx((15 / 4, 10 / 0.6))


def test_prices_of_today_are_judged_on_the_models_of_today(t2):
    then, now = t2(MEMO_DATE), t2(NOW)
    # the memo's "10-20x cheaper" came true: gpt-6-luna against gpt-6.1-sol is 20
    assert (then.loc["small_tier", "agrees"], now.loc["small_tier", "agrees"]) == ("partly", "yes")
    assert now.loc["api_input", "ours_low"] == 0.10
    assert now.loc["gpt_4o_input", "ours_low"] == 2.5  # the named model is still priced by name


def test_a_million_queries_a_day_by_hand(t2):
    row = t2(MEMO_DATE).loc["million_queries"]
    month = 1e6 * 730 / 24
    mini, sonnet = (1155 * 0.15 + 211 * 0.60) / 1e6, (1155 * 3 + 211 * 15) / 1e6
    assert (row["ours_low"], row["ours_high"]) == pytest.approx((month * mini, month * sonnet))


def test_where_the_memos_own_table_crosses(t2):
    row = t2(MEMO_DATE).loc["matrix_crossover"]
    assert (row["ours_low"], row["ours_high"]) == pytest.approx(
        (14_000 / 0.60 * 1e6, 28_000 / 0.60 * 1e6)
    )


def test_best_frontier_crossover_is_instance_and_engineer_over_the_dearest_blend(t2, notebook):
    # within the first instance the crossover is fixed cost over price: Sonnet 4 at 3:1 is USD 6
    fixed = notebook.reserved_usd + 12_500
    assert t2(MEMO_DATE).loc["frontier_crossover", "ours_low"] == pytest.approx(fixed / 6.0 * 1e6)


def test_mini_tier_never_crosses_and_says_so(t2):
    row = t2(MEMO_DATE).loc["mini_crossover"]
    assert np.isnan(row["ours_low"])
    assert row["agrees"] == "no"
    assert "never" in row["how"]


@pytest.mark.parametrize(
    ("claim", "ours", "agrees"),
    [
        ((1, 2), (1.2, 1.8), "yes"),
        ((1, 2), (1.5, 3), "partly"),
        ((1, 2), (0.1, 10), "partly"),
        ((1, 2), (2.2, 3), "no"),
        ((1, 2), (2.05, 3), "partly"),  # within the rounding of the claim
        ((2, 2), (1, 3), "yes"),
        ((2, 2), (2.05, 2.05), "yes"),
        ((2, 2), (np.inf, np.inf), "no"),
        ((2, 2), (1, np.inf), "yes"),
        ((2, 2), (np.nan, np.nan), "not checkable"),
    ],
)
def test_agreement_of_a_claim_with_a_range(claim, ours, agrees):
    row = dict(zip(["claim_low", "claim_high", "ours_low", "ours_high"], claim + ours, strict=True))
    assert agreement(pd.DataFrame([row]))["agrees"].tolist() == [agrees]


def test_the_headings_say_what_was_found(t1, t2, notebook):
    assert "cheaper from 50B tokens a month" in findings.source_memo_costs(t1)
    assert "in none of its 6 rows" in findings.source_memo_costs(t1)
    assert findings.source_memo_prices(notebook.t2) == (
        "Of 16 price claims that can be checked, at the prices of 2025-06-01 8 hold and 5 more in "
        "part; at the prices of 2026-11-23 9 hold and 3 more in part"
    )
    rows, parts = notebook.calculators, notebook.parts
    assert "even at 20 to 24 times the volume" in findings.calculators(rows, parts)
    assert "is mostly staff" in findings.calculators(rows, parts)
    never = rows.assign(our_break_even_tokens=[np.nan, *rows["our_break_even_tokens"][1:]])
    assert "and never for 1 of 3 fleets" in findings.calculators(never, parts)

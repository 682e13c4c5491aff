"""An alternative is met, not met or open exactly as its conditions could turn out."""

import re
from datetime import date
from itertools import product

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmstudy import paths, prices
from llmstudy.decide import matrices as alt
from llmstudy.decide.judge import Fact, any_of, holds

CONDITIONS = pd.read_csv(paths.data("alternative_conditions.csv"))
QUANTITIES = sorted(CONDITIONS["quantity"].unique())
VALUES = st.one_of(st.none(), st.sampled_from([0.0, 1.0, 2.0, 3.0, 5e4, 3e5, 2e7]))


def facts(**given):
    return {name: Fact(value, "", "measured", "somewhere") for name, value in given.items()}


def verdicts(**given):
    return alt.alternatives(alt.conditions(facts(**given))).set_index("id")


@given(st.floats(-10, 10), st.sampled_from([">", ">=", "<", "<=", "=="]), st.floats(-10, 10))
def test_a_known_value_is_held_against_its_threshold_as_arithmetic_does(value, sign, threshold):
    expected = eval(f"{value!r} {sign} {threshold!r}")
    assert holds(value, sign, threshold) == ("true" if expected else "false")
    assert holds(None, sign, threshold) == "unknown"


def test_any_of_is_what_holds_however_the_unknown_ones_turn_out():
    for truths in product(["true", "false", "unknown"], repeat=3):
        could_be = [["true", "false"] if t == "unknown" else [t] for t in truths]
        outcomes = {"true" in world for world in product(*could_be)}
        expected = {(True,): "true", (False,): "false"}.get(tuple(outcomes), "unknown")
        assert any_of(truths) == expected


@settings(max_examples=60, deadline=None)
@given(st.fixed_dictionaries(dict.fromkeys(QUANTITIES, VALUES)))
def test_a_verdict_is_what_holds_however_the_unknown_conditions_turn_out(given_):
    found = alt.conditions(facts(**given_))
    for row in alt.alternatives(found).to_dict("records"):
        own = found[(found["alternative"] == row["id"]) & (found["counts"] == "yes")]
        could_be = [["true", "false"] if h == "unknown" else [h] for h in own["holds"]]
        outcomes = set()
        for world in product(*could_be):
            groups = {}
            for group, truth in zip(own["group"], world, strict=True):
                groups[group] = groups.get(group, False) or truth == "true"
            outcomes.add(all(groups.values()))
        expected = {(True,): "met", (False,): "not met"}.get(tuple(outcomes), "open")
        assert row["verdict"] == expected, row["id"]
        assert bool(row["fails"]) == (expected == "not met")


def test_nothing_known_leaves_every_alternative_open():
    table = verdicts()
    assert set(table["verdict"]) == {"open"}
    assert (table["open"] != "").all()


def test_what_must_not_leave_and_a_team_ask_for_a_fleet_from_day_one():
    assert verdicts(forbidden_workloads=1, engineers=4).loc["C", "verdict"] == "met"
    alone = verdicts(forbidden_workloads=1, engineers=1).loc["C"]
    assert alone["verdict"] == "not met"
    assert "team" in alone["fails"]
    # the ten millions of another company are told, and do not count
    small = verdicts(forbidden_workloads=1, engineers=4, spend_year_usd=5e4)
    assert small.loc["C", "verdict"] == "met"


def test_a_hybrid_is_viable_above_two_hundred_thousand_a_year():
    ready = {"engineers": 3, "gpu_platform": 1, "kinds_of_task": 3}
    assert verdicts(**ready, spend_year_usd=200_001).loc["D", "verdict"] == "met"
    assert verdicts(**ready, spend_year_usd=200_000).loc["D", "verdict"] == "not met"
    assert verdicts(**ready).loc["D", "open"] == "spend makes a hybrid viable"


def test_staying_on_apis_is_for_whoever_has_no_reason_to_leave_however_many_vendors_are_asked():
    assert verdicts(moves_off_api=0, api_vendors=1).loc["F", "verdict"] == "met"
    assert verdicts(moves_off_api=1, api_vendors=3).loc["F", "verdict"] == "not met"


def test_strict_residency_asks_for_the_edge_whether_or_not_the_product_works_offline():
    assert verdicts(residency_workloads=1).loc["E", "verdict"] == "met"
    assert verdicts(residency_workloads=0).loc["E", "open"] == "the product must work offline"


def test_managed_fine_tuning_is_for_a_proven_need_without_a_team():
    assert verdicts(prompting_insufficient=1, engineers=1).loc["A", "verdict"] == "met"
    assert verdicts(prompting_insufficient=1, engineers=2).loc["A", "verdict"] == "not met"


def test_the_thresholds_that_the_memo_names_are_all_asked():
    # T9: hybrid above $200k a year, proof of concept $100k, full self-host $10M+, > 10k examples,
    # one to three months on an API against three to six
    assert {200_000, 100_000, 10_000_000, 10_000, 3, 6} <= set(CONDITIONS["threshold"])
    assert list(pd.read_csv(paths.data("alternatives.csv"))["id"]) == list("ABCDEF")
    assert set(CONDITIONS["alternative"]) == set("ABCDEF")


@pytest.mark.shared
def test_a_condition_with_money_stands_on_the_line_that_it_names(shared):
    lines = (shared / "000_90e89beb627d0dd1.txt").read_text(encoding="utf-8").splitlines()
    spelt = {200_000: "$200K", 100_000: "$100K", 10_000_000: "$10M", 10_000: "10K"}
    seen = 0
    for row in CONDITIONS.to_dict("records"):
        at = int(re.search(r"line (\d+)", row["source"])[1])
        if row["threshold"] in spelt:
            assert spelt[row["threshold"]] in lines[at - 1], row["condition"]
            seen += 1
    assert seen == 4


def test_a_sign_that_compares_nothing_is_an_error_that_says_so():
    with pytest.raises(ValueError, match="use one of"):
        holds(1.0, "~", 2.0)


def test_each_open_model_of_the_memo_has_a_successor_that_is_priced_today():
    table = alt.open_models()
    named = " ".join(table["named_then"])
    for name in ("Llama 3 8B", "Llama 3 70B", "Llama 3.1 70B", "405B", "Mistral Large", "Mixtral"):
        assert name in named
    assert "Qwen 2.5 72B" in named
    assert "DeepSeek-V2" in named
    for row in table.to_dict("records"):
        rate = prices.rate(row["provider"], row["priced_as"], date(2026, 11, 23))
        assert rate.output_usd_per_mtok > 0

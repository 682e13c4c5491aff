"""What the memo reckons itself, on the reference run and against sums by hand."""

import csv

import pytest

from llmstudy import paths
from llmstudy.memo.computed import reckoned, roadmap
from llmstudy.memo.context import BEFORE_MEMO, Facts
from llmstudy.study import load


@pytest.fixture(scope="module")
def facts(reference):
    chapters = {name: reference[name] for name in BEFORE_MEMO}
    return Facts(load(paths.params("default.yaml")), chapters)


@pytest.fixture(scope="module")
def found(facts):
    return reckoned(facts)


def test_the_lead_workloads_share_is_of_todays_bill(facts, found):
    bills = facts.crossing["month_usd"]["today_by_workload"]
    assert found["lead_share"] == pytest.approx(bills[facts.lead] / sum(bills.values()))


def test_a_crossover_is_told_as_a_multiple_of_todays_volume(facts, found):
    now = facts.study.workloads[facts.lead].intake.requests.value
    rows = [row for row in facts.crossing["crossover"] if row["workload"] == facts.lead]
    for row, told in zip(rows, found["times_today"], strict=True):
        at = row["requests_per_month"]["p50"]
        assert told["times"] == (None if at is None else pytest.approx(at / now))


def test_every_option_is_held_against_the_one_that_is_recommended(facts, found):
    assert not facts.deciding("move")
    saving = {row["option"]: row["saving_usd"]["p50"] for row in facts.decided["options"]}
    assert found["against_this_memo_usd"]["stay"] == 0
    gap = found["against_this_memo_usd"]["self_hosted"]
    assert gap == pytest.approx(-saving["self_hosted"])


def test_moves_that_must_be_made_though_they_cost_are_told_as_a_cost(facts):
    decided = {**facts.decided, "saving": {"p10": -30.0, "p50": -20.0, "p90": -5.0}}
    forced = facts.with_results("07_triggers_and_routing", decided)
    assert reckoned(forced)["extra_usd"] == {"p10": 5.0, "p50": 20.0, "p90": 30.0}


def test_the_values_of_items_add_up_over_workloads_or_are_not_told(facts):
    items = reckoned(facts)["items"]
    values = [row["value_usd"] for row in items["rows"]]
    assert items["n"] == sum(row["n"] for row in items["rows"]) > 0
    assert items["value_usd"] == (None if None in values else pytest.approx(sum(values)))


def test_the_roadmap_holds_every_system_that_nothing_proves_yet_with_its_phase_and_owner():
    with paths.data("source_memo_lines.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["id"].startswith("S")]
    wanted = {row["id"]: row["line"] for row in rows if not row["functions"]}
    assert {row["id"]: row["line"] for row in roadmap()} == wanted
    assert all(row["title"] and row["owner"] for row in roadmap())

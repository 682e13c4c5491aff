"""What a chapter says changes with its results, and every chart takes what every study tells."""

import pandas as pd
import pytest

from llmstudy.chapters import findings
from llmstudy.text import usd

STUDIES = ("default", "regulated", "hyperscale", "source_memo")


# ---- what to measure next


def worth(measurement, verdict):
    return {"workload": "chat", "measurement": measurement, "verdict": verdict}


def test_the_best_buy_is_told_with_its_worth_and_its_cost():
    row = worth("675 golden items", "measure") | {"value_usd": 596_270.0, "cost_usd": 4200.0}
    said = findings.measure_next({"measure_next": row, "worth": [row]})
    assert said == "Measure next: chat, 675 golden items, worth USD 596k for USD 4.2k"
    dearer = findings.measure_next({"measure_next": row | {"cost_usd": 8e4}, "worth": [row]})
    assert dearer.endswith("worth USD 596k for USD 80k")


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        ([], "There is no permitted move, so there is nothing to measure"),
        (
            ["not worth it", "not worth it"],
            "No measurement is worth its cost: decide on what is known",
        ),
        (
            ["not worth it", "undecided", "undecided"],
            "Whether to measure takes more draws to tell: chat, m1",
        ),
    ],
)
def test_where_nothing_is_surely_worth_measuring_the_reason_is_told(verdicts, said):
    rows = [worth(f"m{i}", verdict) for i, verdict in enumerate(verdicts)]
    assert findings.measure_next({"measure_next": None, "worth": rows}) == said


# ---- the cost of an accepted answer


def compared(low_usd, high_usd, closeness="own"):
    """The rows of a scored candidate: today's route first."""
    ends = {"difference_usd": 0.0, "difference_low_usd": low_usd, "difference_high_usd": high_usd}
    return [dict.fromkeys(ends), ends | {"closeness": closeness}]


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([], "No token-billed candidate is scored, so what an accepted answer costs is not known"),
        (
            [*compared(-2, -1), *compared(1, 2), *compared(-1, 1, "far")],
            "On 1 of 3 scored routes an accepted answer costs less than on today's, on 1 more; on "
            "1 the items leave it open; 1 of them on items far from the task",
        ),
        (
            compared(-2, -1),
            "On 1 of 1 scored routes an accepted answer costs less than on today's, on none more",
        ),
    ],
)
def test_routes_count_as_cheaper_by_the_accepted_answer_where_the_whole_interval_is(rows, sentence):
    assert findings.accepted_answers(pd.DataFrame(rows)) == sentence


# ---- the rules on trial


def tried(rule, usd, buyer="named_model", **more):
    about = {"rule": rule, "advisor": rule.split("_")[0].title(), "regret_usd": usd, "buyer": buyer}
    return about | {"improved": False, "benchmark": False} | more


REGRET = [
    tried("architect", 600e3),
    tried("challenger_low", 20e3),
    tried("triggers", 300e3),
    tried("improved", 15e3, improved=True),
    tried("always_now", 900e3, benchmark=True),
    tried("never", 1e3, benchmark=True),
    tried("strategist", 5e6, buyer="same_quality"),
]


def rules_said(regret):
    return findings.rules({"regret": regret, "timing": {"reason": ""}})


def test_the_dearest_and_the_cheapest_rule_are_told_beside_the_threshold_that_is_found():
    assert rules_said(REGRET) == (
        "The Architect's rule on spend, p95, compliance, quality costs USD 600k against hindsight, "
        "the Challenger's rule on queries after a short window USD 20k, and the threshold that the "
        "back-test finds USD 15k"
    )


def test_other_regrets_change_what_is_said_of_the_rules():
    changed = [row | {"regret_usd": 7e6} if row["rule"] == "triggers" else row for row in REGRET]
    said = rules_said(changed)
    assert said.startswith("This product's own rule costs USD 7.0M against hindsight")
    assert "Architect" not in said
    cheap = [row | {"regret_usd": 10.0} if row["rule"] == "triggers" else row for row in REGRET]
    assert "this product's own rule USD 10" in rules_said(cheap)


def test_without_a_fleet_the_reason_stands_where_the_rules_would():
    reason = "no workload has a self-hosted route that may serve it"
    said = findings.rules({"regret": [], "timing": {"reason": reason}})
    assert said == (
        "No workload has a self-hosted route that may serve it, so that no rule is on trial"
    )


# ---- waiting


def waited(policy, usd, half=5e4, now=2e6, buyer="named_model"):
    return {
        "buyer": buyer,
        "policy": policy,
        "mean_cost_usd": usd,
        "saving_vs_now_usd": now - usd,
        "saving_low_usd": now - usd - half,
        "saving_high_usd": now - usd + half,
    }


def waiting_said(*rows):
    return findings.waiting({"waiting": list(rows), "timing": {"months": 36}})


NOW, HINDSIGHT = waited("commit now", 2e6, 0.0), waited("hindsight", 0.5e6)
WAIT = waited("3-month wait, then choose", 1.4e6)


def test_waiting_is_held_against_the_best_that_watches_nothing():
    assert waiting_said(NOW, HINDSIGHT, WAIT, waited("never", 1.6e6)) == (
        "Never moving costs USD 1.6M over 36 months; waiting and watching (3-month wait, then "
        "choose) saves another USD 200k"
    )
    assert waiting_said(NOW, HINDSIGHT, WAIT, waited("never", 3e6)).startswith(
        "Committing now costs USD 2.0M over 36 months; waiting and watching (3-month wait, then "
        "choose) saves another USD 600k"
    )
    said = waiting_said(NOW, WAIT, waited("never", 3e6), waited("best month set in advance", 1.9e6))
    assert said.startswith("Moving in the best month set in advance costs USD 1.9M")
    assert said.endswith("saves another USD 500k")


@pytest.mark.parametrize("never_usd", [1.1e6, 1.4e6, 1.45e6])
def test_a_gain_that_its_intervals_could_undo_is_not_told(never_usd):
    said = waiting_said(NOW, HINDSIGHT, WAIT, waited("never", never_usd))
    assert said == (
        f"Never moving costs {usd(never_usd)} over 36 months; no saving from waiting and watching "
        "can be shown"
    )


def test_a_wait_that_is_surely_cheaper_is_told_though_another_may_save_more():
    unsure = waited("optimal stopping", 1.2e6, half=9e5)
    said = waiting_said(NOW, HINDSIGHT, unsure, WAIT, waited("never", 1.6e6))
    assert said.endswith("(3-month wait, then choose) saves another USD 200k")


def test_what_another_buyer_would_do_is_not_told():
    other = waited("optimal stopping", 1e5, buyer="same_quality")
    assert waiting_said(NOW, HINDSIGHT, other, waited("never", 3e6)).endswith("can be shown")
    assert waiting_said(other) == "There is no commitment to wait for"


# ---- every study that ships


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_has_its_headings(assessed, name):
    results = assessed(name).results
    crossing, decided = results["06_crossover"], results["07_triggers_and_routing"]
    for said in (
        findings.measure_next(crossing),
        findings.rules(decided),
        findings.waiting(decided),
    ):
        assert said[0].isupper()
        assert not said.endswith(".")
        assert "nan" not in said
        assert len(said) < 220


def test_routes_that_rest_on_the_same_items_are_one_comparison():
    """So the chapter counts as the memo does, and its chart."""
    public = {"workload": "chat", "source": "GSM8K", "n": 1319, "verdict": "non-inferior"}
    public |= {"closeness": "near"}
    none = {
        "workload": "chat",
        "source": "no pair scored",
        "n": 0,
        "verdict": "none",
        "closeness": None,
    }
    rows = [public | {"route": "a"}, public | {"route": "b"}, none | {"route": "c"}]
    mail = public | {"workload": "mail", "route": "a", "verdict": "undecided", "closeness": "far"}
    rows.append(mail)
    assert findings.quality({"quality": rows}) == (
        "1 of 2 scored comparisons holds the margin; 1 rests on a benchmark far from the task; "
        "1 more waits for paired items"
    )

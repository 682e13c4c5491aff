"""A live evaluation against two local servers ends in the truth that was planted there."""

import pytest

from llmstudy.evals.evidence import paired_evidence
from llmstudy.evals.importers import read_evaluation
from llmstudy.evals.judges import calibration
from llmstudy.evals.table import pairs
from llmstudy.evals.verdict import compare


@pytest.mark.parametrize("name", ["better", "non-inferior", "worse", "too few items"])
def test_the_counts_are_those_planted(planted, evaluated, name):
    case, run = planted.CASES[name], evaluated(name)
    planted_counts = (case.both, case.only_today, case.only_open, case.neither)
    for table in (run.table, read_evaluation(run.out)):
        assert paired_evidence(table, "today", "open").overall.cells == planted_counts
    assert run.table["cost_usd"].notna().all()


@pytest.mark.parametrize(
    ("name", "action"),
    [
        ("better", "SWITCH"),
        ("non-inferior", "SWITCH"),
        ("worse", "STAY"),
        ("too few items", "COLLECT"),
        ("broken scorer", "COLLECT"),
        ("judge prefers itself", "STAY"),
    ],
)
def test_the_verdict_is_the_right_one(planted, evaluated, name, action):
    case = planted.CASES[name]
    table = read_evaluation(evaluated(name, case.self_preference).out)
    (verdict,) = compare(table, "today", planted.MARGIN)
    assert verdict.action == action, verdict.sentence
    low, high = verdict.parts[0].test.difference.low, verdict.parts[0].test.difference.high
    assert low <= case.difference <= high


def test_a_judge_alone_decides_nothing(planted, evaluated):
    """It finds `open` better, which is worse: both orders do not help, for it knows its manner."""
    case, run = planted.CASES["judge prefers itself"], evaluated("judge prefers itself", True)
    both = pairs(run.table, "today", "open")
    assert (both["candidate"] - both["baseline"]).mean() > 0.15
    assert case.difference < -0.1
    (verdict,) = compare(run.table.assign(score_2=None), "today", planted.MARGIN)
    assert verdict.action == "COLLECT"
    assert any("no label checks it" in flaw for flaw in verdict.flaws)


def test_a_judge_that_prefers_itself_is_shown_by_labels_and_may_not_speak_for_people(
    planted, evaluated
):
    case, run = planted.CASES["judge prefers itself"], evaluated("judge prefers itself", True)
    judged, labels = sides(run.table)
    assert (run.table["judge"] == "open").all()
    assert labels.mean() == pytest.approx(case.difference)
    measured = calibration(judged.tolist(), labels.tolist())
    assert measured.kappa < 0.5
    assert not measured.sufficient
    assert "labels must correct its scores" in measured.sentence


def test_a_judge_without_a_preference_agrees_and_its_cost_is_counted(planted, evaluated):
    run = evaluated("worse", True)
    judged, labels = sides(run.table)
    assert judged.mean() == pytest.approx(planted.CASES["worse"].difference)
    measured = calibration(judged.tolist(), labels.tolist())
    assert measured.kappa == 1
    assert measured.sufficient
    spent = run.table["cost_usd"].sum() + run.table["scoring_usd"].sum()
    assert run.table["scoring_usd"].min() > 0
    assert spent == pytest.approx(run.spent_usd)


def sides(table):
    """Of each item, open less today: by the judge, and by a scorer that knows the truth."""
    both = pairs(table, "today", "open")
    second = table.pivot(index="item_id", columns="route", values="score_2").loc[both.index]
    return both["candidate"] - both["baseline"], second["open"] - second["today"]


def test_answers_that_the_scorer_cannot_read_are_not_wrong(planted, evaluated):
    case, table = planted.CASES["broken scorer"], evaluated("broken scorer").table
    today, open_ = (table[table["route"] == name] for name in ("today", "open"))
    unread = open_[~open_["scored"]]
    planted_n = sum(
        cell in ("both", "only_open") and i % case.broken == 0 for i, cell in enumerate(case.cells)
    )
    assert len(unread) == planted_n > 15
    assert unread["error"].eq("no number in the answer").all()
    assert not unread["extracted"].any()
    assert today["scored"].all()
    # what a scorer says that takes its own fault for a wrong answer
    assert open_["score"].fillna(0).mean() - today["score"].mean() < -0.2
    assert case.difference == 0
    (verdict,) = compare(table, "today", planted.MARGIN)
    assert any("open" in flaw and "answer" in flaw for flaw in verdict.flaws)

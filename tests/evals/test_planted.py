"""A live evaluation against two local servers ends in the truth that was planted there."""

import pytest

from llmstudy.evals.judges import calibration
from llmstudy.evals.table import pairs
from llmstudy.measures.quality import PairedCounts, non_inferiority, paired_difference


def counts(table):
    both = pairs(table, "today", "open")
    today, open_ = both["baseline"] == 1, both["candidate"] == 1
    return PairedCounts(
        int((today & open_).sum()),
        int((today & ~open_).sum()),
        int((~today & open_).sum()),
        int((~today & ~open_).sum()),
    )


@pytest.mark.parametrize("name", ["better", "non-inferior", "worse", "too few items"])
def test_the_counts_are_those_planted(planted, evaluated, name):
    case, table = planted.CASES[name], evaluated(name).table
    found = counts(table)
    assert (found.both, found.only_a, found.only_b, found.neither) == (
        case.both,
        case.only_today,
        case.only_open,
        case.neither,
    )
    assert found.difference == pytest.approx(case.difference)
    assert table["cost_usd"].notna().all()


def test_the_interval_says_what_is_planted(planted, evaluated):
    margin = planted.MARGIN
    intervals = {name: paired_difference(counts(evaluated(name).table)) for name in planted.CASES}
    assert intervals["better"].low > 0
    assert -margin < intervals["non-inferior"].low < 0 < intervals["non-inferior"].high
    assert intervals["worse"].high < -margin
    few = non_inferiority(counts(evaluated("too few items").table), margin)
    assert few.verdict == "undecided"
    assert few.n_needed > 25


def test_answers_that_the_scorer_cannot_read_are_not_wrong(planted, evaluated):
    case, table = planted.CASES["broken scorer"], evaluated("broken scorer").table
    open_ = table[table["route"] == "open"]
    unread = open_[~open_["scored"]]
    planted_n = sum(
        cell in ("both", "only_open") and i % case.broken == 0 for i, cell in enumerate(case.cells)
    )
    assert len(unread) == planted_n > 20
    assert unread["error"].eq("no number in the answer").all()
    assert not unread["extracted"].any()
    assert table[table["route"] == "today"]["scored"].all()
    as_wrong = open_["score"].fillna(0).mean() - table[table["route"] == "today"]["score"].mean()
    assert case.difference == 0
    assert as_wrong < -0.2  # what a scorer says that takes its own fault for a wrong answer
    assert abs(counts(table).difference) < 0.05


def test_a_judge_that_prefers_itself_is_shown_by_labels_and_may_not_speak_for_people(
    planted, evaluated
):
    """Both orders do not help: it prefers the manner of its own answers, wherever they stand."""
    case, run = planted.CASES["judge prefers itself"], evaluated("judge prefers itself", True)
    table = run.table
    both = pairs(table, "today", "open")
    judged = both["candidate"] - both["baseline"]
    assert (table["judge"] == "open").all()
    assert judged.mean() > 0.2  # the judge: open is better
    assert case.difference < -0.1
    rows = table.pivot(index="item_id", columns="route", values="score_2")
    labels = rows["open"] - rows["today"]  # a scorer that knows the truth, in place of people
    assert labels.mean() == pytest.approx(case.difference)
    measured = calibration(judged.loc[labels.index].tolist(), labels.tolist())
    assert measured.kappa < 0.5
    assert not measured.sufficient
    assert "labels must correct its scores" in measured.sentence


def test_a_judge_without_a_preference_agrees_and_its_cost_is_counted(planted, evaluated):
    run = evaluated("worse", True)
    both = pairs(run.table, "today", "open")
    judged = both["candidate"] - both["baseline"]
    assert judged.mean() == pytest.approx(planted.CASES["worse"].difference)
    rows = run.table.pivot(index="item_id", columns="route", values="score_2")
    labels = rows["open"] - rows["today"]
    measured = calibration(judged.tolist(), labels[both.index].tolist())
    assert measured.kappa == 1
    assert measured.sufficient
    spent = run.table["cost_usd"].sum() + run.table["scoring_usd"].sum()
    assert run.table["scoring_usd"].min() > 0
    assert spent == pytest.approx(run.spent_usd)

"""A judge over local servers, labels by people, and the comparison that rests on both."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from llmstudy.cli import app
from llmstudy.evals.calibrate import answers_sheet, calibrated
from llmstudy.evals.items import write_sheet
from llmstudy.evals.table import conform


def evals(*arguments):
    return CliRunner().invoke(app, ["eval", *map(str, arguments)])


@pytest.fixture
def judged(scripted, planted, tmp_path):
    """Runs a case with a judge by the command; returns the items' file and the evaluation's."""

    def run(case, *options):
        items, out = tmp_path / "items.jsonl", tmp_path / "judged.jsonl"
        items.write_text("".join(json.dumps(item) + "\n" for item in case.items))
        with (
            scripted.running(planted.answers(scripted, case, "today")) as today,
            scripted.running(planted.answers(scripted, case, "open")) as open_,
            scripted.running(planted.judge(scripted, case)) as judge,
        ):
            given = [
                *("--route", f"today url={today.base_url} model=today price=2.5,10"),
                *("--route", f"open url={open_.base_url} model=open price=0.2,0.6"),
                *("--judge", f"judge url={judge.base_url} model=open price=0.2,0.6"),
            ]
            result = evals("run", items, *given, "--out", out, "--max-spend", 5, *options)
        assert result.exit_code == 0, result.stderr
        return items, out

    return run


def labelled_by_truth(sheet):
    """Fills a sheet in as a person would who can add."""
    rows = pd.read_csv(sheet, encoding="utf-8-sig")
    right = [
        f" {int(re.findall(r'[0-9]+', prompt)[0]) + 1}." in answer
        for prompt, answer in zip(rows["prompt"], rows["answer"], strict=True)
    ]
    rows["label_1"] = np.where(right, "right", "wrong")
    rows.to_csv(sheet, index=False)
    return rows


def document(result):
    assert result.exit_code == 0, result.stderr or result.stdout
    return json.loads(result.stdout)


def test_a_judge_that_prefers_itself_is_corrected_by_labels_and_the_comparison_ends_in_the_truth(
    planted, judged, tmp_path
):
    case = planted.Case(75, 45, 5, 25, self_preference=True)
    items, evaluation = judged(case)
    compare = ("--baseline", "today", "--margin", planted.MARGIN, "--json")
    (alone,) = document(evals("compare", evaluation, *compare))["verdicts"]
    assert alone["verdict"] == "COLLECT"
    assert "llmstudy eval calibrate" in " ".join(alone["flaws"])

    sheet, out = tmp_path / "labels.csv", tmp_path / "calibrated.jsonl"
    made = evals("calibrate", evaluation, "--items", items, "--sheet", sheet, "--n", 100, "--json")
    assert document(made)["answers"] == 200
    rows = labelled_by_truth(sheet)
    assert {"route", "score", "item_id"}.isdisjoint(rows.columns)

    measured = document(evals("calibrate", evaluation, "--labels", sheet, "--out", out, "--json"))
    of_route = {row["route"]: row for row in measured["calibration"] if row["what"] == "route"}
    assert of_route["today"]["agreement"] == of_route["today"]["alpha"] == 1
    assert of_route["today"]["sufficient"]
    # it finds every answer of its own right
    assert of_route["open"]["kappa"] == 0
    assert not of_route["open"]["sufficient"]
    assert measured["measure"] == "grade by an uncalibrated judge (correct)"
    assert measured["scoring_usd"] > 0
    (difference,) = measured["differences"]
    assert difference["by_judge"]["judge_only"]["low"] > 0 > case.difference
    corrected = difference["by_judge"]["difference"]
    assert corrected["low"] <= case.difference <= corrected["high"] < 0

    (verdict,) = document(evals("compare", out, *compare))["verdicts"]
    assert verdict["verdict"] == "STAY", verdict
    assert verdict["difference"] == pytest.approx(corrected["estimate"], abs=0.02)
    assert verdict["low"] <= case.difference <= verdict["high"]


def test_a_judge_that_agrees_may_speak_of_hallucination_and_not_before(planted, judged, tmp_path):
    items, evaluation = judged(planted.Case(30, 15, 5, 10), "--rubric", "supported")
    sheet = tmp_path / "labels.csv"
    evals("calibrate", evaluation, "--items", items, "--sheet", sheet)
    labelled_by_truth(sheet)
    result = evals("calibrate", evaluation, "--labels", sheet)
    assert result.exit_code == 0, result.stderr
    assert "today: The judge agrees with people on 100% of 60 items" in result.stdout
    assert "Its scores may be called: hallucination." in result.stdout
    evals("calibrate", evaluation, "--items", items, "--sheet", sheet, "--n", 40)
    labelled_by_truth(sheet)
    few = evals("calibrate", evaluation, "--labels", sheet)
    assert "Its scores may be called: grade by an uncalibrated judge (supported)." in few.stdout


def evaluation(n=200, **columns):
    rng = np.random.default_rng(7)
    right = rng.random((2, n)) < [[0.8], [0.7]]
    judge = right ^ (rng.random((2, n)) < 0.1)
    rows = {
        "item_id": [*range(n)] * 2,
        "route": ["api"] * n + ["open"] * n,
        "score": judge.ravel().astype(float),
        "answer": np.where(right.ravel(), "yes", "no"),
        "judge": "gpt-4o",
        "scorer": "judge correct 12345678 alone",
        **columns,
    }
    return conform(pd.DataFrame(rows))


def filled(sheet, path, **labels):
    rows = sheet.assign(**labels)
    write_sheet(rows, path)
    return path


def test_labellers_count_by_their_majority_and_a_tie_is_no_label(tmp_path):
    table = evaluation()
    sheet = answers_sheet(table, 100, labellers=2)
    truth = np.where(sheet["answer"] == "yes", "right", "wrong")
    tied = np.where(np.arange(200) < 20, np.where(truth == "right", "wrong", "right"), truth)
    file = filled(sheet, tmp_path / "l.csv", label_1=truth, label_2=tied)
    result = calibrated(table, file)
    assert result.evaluation["score_2"].notna().sum() == 180
    assert result.labellers_alpha == pytest.approx(0.76, abs=0.05)
    labelled = result.evaluation.dropna(subset="score_2")
    assert ((labelled["answer"] == "yes") == labelled["score_2"]).all()


def test_graded_scores_need_the_grade_from_which_an_answer_is_right(tmp_path):
    table = evaluation()
    table = table.assign(score=table["score"] * 0.75)
    sheet = answers_sheet(table, 100)
    truth = np.where(sheet["answer"] == "yes", "right", "wrong")
    file = filled(sheet, tmp_path / "l.csv", label_1=truth)
    with pytest.raises(ValueError, match="state accepted_from"):
        calibrated(table, file)
    agreement = calibrated(table, file, accepted_from=0.75).table["agreement"]
    assert agreement[:2].between(0.8, 1).all()


def test_a_judge_of_pairs_is_calibrated_on_differences_alone(tmp_path):
    table = evaluation(scorer="judge helpful 12345678 against api")
    sheet = answers_sheet(table, 100)
    truth = np.where(sheet["answer"] == "yes", "right", "wrong")
    result = calibrated(table, filled(sheet, tmp_path / "l.csv", label_1=truth), baseline="api")
    (row,) = result.table.to_dict("records")
    assert (row["what"], row["route"], row["n"]) == ("difference", "open", 100)
    assert result.measure == "grade by an uncalibrated judge (helpful)"


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"label_1": None}, "no answer is labelled: write right or wrong"),
        ({"label_1": "good"}, "whose label_1 is none of right, wrong, skip"),
        (
            {"answer_id": [f"x{i}" for i in range(200)]},
            "200 items that the evaluation does not have",
        ),
    ],
)
def test_a_sheet_that_says_nothing_of_these_answers_is_refused(tmp_path, labels, message):
    table = evaluation()
    file = filled(answers_sheet(table, 100), tmp_path / "l.csv", **labels)
    with pytest.raises(ValueError, match=message):
        calibrated(table, file)


def test_an_evaluation_without_a_judge_has_nothing_to_calibrate():
    with pytest.raises(ValueError, match="no answer with a score of a judge"):
        answers_sheet(evaluation(judge=None), 100)


def test_one_of_sheet_and_labels_is_given(tmp_path):
    result = evals("calibrate", tmp_path / "e.jsonl")
    assert result.exit_code == 2
    assert "give --sheet" in result.stderr

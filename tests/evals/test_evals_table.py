import pandas as pd
import pytest

from llmstudy.evals.table import conform, pairs


def _rows(**columns):
    rows = {"item_id": ["q1", "q2"] * 2, "route": ["api"] * 2 + ["open"] * 2, "score": [1, 0, 1, 1]}
    return pd.DataFrame({**rows, **columns})


def test_an_unscored_answer_leaves_its_item_out_and_is_no_wrong_answer():
    evaluation = conform(_rows(score=[1, 0, None, 1], error=[None, None, "judge timed out", None]))
    assert pairs(evaluation, "api", "open")["baseline"].to_dict() == {"q2": 0.0}
    flagged = conform(_rows(score=[1, 0, 0, 1], scored=[True, True, False, True]))
    assert pairs(flagged, "api", "open")["candidate"].to_dict() == {"q2": 1.0}


def test_repeats_are_numbered_in_order_and_averaged():
    rows = pd.concat([_rows(), _rows(score=[0, 0, 1, 1])])
    evaluation = conform(rows)
    assert evaluation["epoch"].tolist() == [1] * 4 + [2] * 4
    assert pairs(evaluation, "api", "open")["baseline"].tolist() == [0.5, 0.0]
    assert pairs(evaluation, "api", "open")["answers"].tolist() == [2, 2]


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        (_rows().drop(columns="score"), "lacks .'score'."),
        (_rows(grade=1), "has no column .'grade'."),
        (_rows().iloc[:0], "without rows"),
        (_rows(item_id=["q1", None, "q1", "q2"]), "1 row without item_id"),
        (_rows(score=["good", 0, 1, 1]), "score is not a number"),
        (_rows(input_tokens=[1.5, 1, 1, 1]), "input_tokens is not a whole number"),
        (_rows(scored=["perhaps", True, True, True]), "scored is not true or false"),
        (_rows(item_id="q1", epoch=1), "scored twice"),
    ],
)
def test_a_table_that_breaks_a_rule_is_refused_in_one_sentence(rows, fault):
    with pytest.raises(ValueError, match=fault) as error:
        conform(rows)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        (_rows(route=["api", "api", "other", "other"]), "no answers of .'open'."),
        (_rows(item_id=["q1", "q2", "q1", "q3"]), "2 items answered by one .*first: q2, q3"),
        (_rows(item_hash=["a", "b", "a", "c"]), "1 item that differ .*first: q2"),
        (_rows(scorer=["exact", "regex", "exact", "exact"]), "api has the scorers exact, regex"),
        (_rows(score=[1, None, None, 1]), "no item has a scored answer of both"),
    ],
)
def test_unlike_items_are_never_paired(rows, fault):
    with pytest.raises(ValueError, match=fault):
        pairs(conform(rows), "api", "open")


def test_a_cost_counts_only_where_each_answer_has_one():
    evaluation = conform(_rows(cost_usd=[0.1, 0.2, None, 0.4]))
    costs = pairs(evaluation, "api", "open")
    assert costs["baseline_usd"].tolist() == [0.1, 0.2]
    assert costs["candidate_usd"].isna().tolist() == [True, False]

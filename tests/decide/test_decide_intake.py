"""What is unknown is asked in the order in which it moves the saving."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmstudy import paths
from llmstudy.decide.intake import intake, intake_fields
from llmstudy.decide.judge import likely

FIELDS = intake_fields()


def answers(unknown):
    """Answers of two workloads; those in `unknown`, as (workload, field), are open."""
    return pd.DataFrame(
        [
            {
                "workload": name,
                "field": field,
                "answer": "unknown" if (name, field) in unknown else "said",
                "grade": "assumed",
                "source": "here",
                "unknown": (name, field) in unknown,
            }
            for name in ("chat", "search")
            for field in FIELDS
        ]
    )


PAIRS = st.tuples(st.sampled_from(["chat", "search"]), st.sampled_from(FIELDS))


@settings(max_examples=50, deadline=None)
@given(st.sets(PAIRS), st.dictionaries(PAIRS, st.floats(0, 1e6)))
def test_no_unknown_answer_is_asked_before_one_that_moves_more(unknown, moves):
    table = intake(answers(unknown), moves)
    assert len(table) == 2 * len(FIELDS)
    open_ = table[table["unknown"]].sort_values("rank", key=lambda r: r.astype(int))
    assert list(open_["rank"]) == list(range(1, len(unknown) + 1))
    assert table.loc[~table["unknown"], "rank"].map(lambda rank: rank is None).all()
    swings = [swing or 0.0 for swing in open_["moves_usd"]]
    assert swings == sorted(swings, reverse=True)


def test_what_moves_nothing_by_itself_comes_last_in_the_memos_order():
    unknown = {("chat", "gpu_platform"), ("chat", "data_class"), ("chat", "requests")}
    unknown |= {("chat", "peak_to_mean")}
    table = intake(answers(unknown), {("chat", "requests"): 5.0, ("chat", "peak_to_mean"): 0.0})
    asked = table[table["unknown"]].sort_values("rank", key=lambda r: r.astype(int))
    assert list(asked["field"]) == ["requests", "data_class", "peak_to_mean", "gpu_platform"]


def test_the_six_questions_are_asked_of_every_workload():
    table = intake(answers(set()), {})
    assert table.groupby("workload")["id"].nunique().to_dict() == {"chat": 6, "search": 6}
    assert len(pd.read_csv(paths.data("intake_questions.csv"))) == 6


@given(st.floats(0, 1), st.floats(0.51, 1))
def test_an_answer_from_draws_and_its_opposite_are_never_both_said(p, required):
    opposite = {"true": "false", "false": "true", "unknown": "unknown"}
    if min(abs(p - required), abs(p - 1 + required)) > 1e-9:
        assert likely(1 - p, required) == opposite[likely(p, required)]
    assert (likely(p, required) == "true") == (p >= required)


@pytest.mark.parametrize("p", [0.2, 0.5, 0.8])
def test_certainty_asked_for_is_certainty_needed(p):
    assert likely(p, 1.0) == "unknown"

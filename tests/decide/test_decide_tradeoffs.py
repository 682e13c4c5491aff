"""The memo's words stand beside this study's figures, and agree where their ranges meet."""

import re
from typing import get_args

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmstudy import paths
from llmstudy.decide.judge import Fact, position
from llmstudy.decide.lens import challenger_lens
from llmstudy.decide.matrices import tradeoffs
from llmstudy.study import ArmName

MEMO = "000_90e89beb627d0dd1.txt"


def usd(value, low=None, high=None, grade="assumed"):
    return Fact(value, "USD", grade, "phases", "phase 1", low, high)


def cell(table, dimension, arm):
    return table.set_index(["dimension", "arm"]).loc[(dimension, arm)]


@given(*(st.integers(-20, 20) for _ in range(4)))
def test_ranges_agree_where_some_number_lies_in_both(a, b, c, d):
    (low, high), (ours_low, ours_high) = sorted((a, b)), sorted((c, d))
    claimed, own = set(range(low, high + 1)), set(range(ours_low, ours_high + 1))
    where = position((low, high), usd(ours_low, ours_low, ours_high).ends)
    assert (where in ("inside", "partly")) == bool(claimed & own)
    assert (where == "inside") == (own <= claimed)
    if not claimed & own:
        assert where == ("below" if ours_high < low else "above")


def test_a_range_that_is_open_upwards_has_nothing_above_it():
    assert position((50_000.0, None), usd(9e9).ends) == "inside"
    assert position((None, None), usd(1.0).ends) is None
    assert position((1.0, 2.0), usd(None).ends) is None


def test_ten_dimensions_stand_once_per_arm():
    table = tradeoffs({})
    assert len(table) == 30
    assert table["dimension"].nunique() == 10
    assert {tuple(rows["arm"]) for _, rows in table.groupby("dimension")} == {get_args(ArmName)}
    assert table["value"].isna().all()
    assert set(table["agrees"]) == {"not comparable"}


@pytest.mark.shared
def test_the_words_are_the_memos_own_on_the_line_they_name(shared):
    lines = (shared / MEMO).read_text(encoding="utf-8").splitlines()
    for file, columns in (
        ("tradeoffs.csv", ["says"]),
        ("challenger_lens.csv", ["proprietary_api", "self_hosted"]),
    ):
        for row in pd.read_csv(paths.data(file), keep_default_na=False).to_dict("records"):
            said = lines[int(re.search(r"line (\d+)", row["source"])[1]) - 1]
            for column in columns:
                told = re.sub(r"USD 50K–200K", "$50K–$200K", row[column])
                assert f"| {told} |" in said


def test_a_figure_stands_beside_the_words_with_its_grade_and_evidence():
    found = {"upfront_cost.self_hosted": usd(30_000.0, 20_000.0, 40_000.0, "published")}
    row = cell(tradeoffs(found), "upfront_cost", "self_hosted")
    assert (row["value"], row["low"], row["high"]) == (30_000, 20_000, 40_000)
    assert (row["grade"], row["evidence"], row["sentence"]) == ("published", "phases", "phase 1")
    assert (row["memo_low"], row["agrees"]) == (50_000, "lower")
    assert row["memo"].startswith("USD 50K")
    assert cell(tradeoffs(found), "upfront_cost", "hosted_open")["memo"] == ""


def test_a_figure_in_another_unit_is_an_error_that_says_so():
    with pytest.raises(ValueError, match="upfront_cost is in USD, not in FTE"):
        tradeoffs({"upfront_cost.self_hosted": Fact(1.0, "FTE", "assumed", "")})


def test_a_dimension_without_a_unit_is_told_in_words():
    answer = Fact(1.0, "yes or no", "measured", "study", "insufficient: yes")
    table = tradeoffs({"customisation.proprietary_api": answer})
    row = cell(table, "customisation", "proprietary_api")
    assert (row["value"], row["grade"], row["sentence"]) == (None, None, "insufficient: yes")


def test_the_lens_says_where_this_study_sees_what_the_challenger_sees():
    favoured = {
        "team": ("proprietary_api", "team"),
        "cost": ("proprietary_api", "savings"),
        "latency": ("undecided", "latency"),
    }
    lens = challenger_lens(favoured).set_index("criterion")
    assert len(lens) == 6
    assert lens.loc["lock_in", "self_hosted"] == "None"  # a word, not a missing value
    assert lens["agrees"].to_dict() == {
        "latency": "open",
        "cost": "no",
        "customisation": "open",
        "lock_in": "open",
        "privacy": "open",
        "team": "yes",
    }
    assert lens.loc["privacy", "study_favours"] == "no evidence"

"""Each table and column is described once, and shown in words that stay inside their table."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from bs4 import BeautifulSoup
from hypothesis import given
from hypothesis import strategies as st

import llmstudy.tables
from llmstudy import paths
from llmstudy.decide.triggers.rules import advisor_rules
from llmstudy.run.record import Results
from llmstudy.source_memo.calculator import fields_by_item
from llmstudy.tables import column, heading, named, record, table_html, tables


def test_every_column_that_is_shown_or_promised_says_what_it_means():
    for table in tables().values():
        for name in (*table.shown, *table.promised):
            described = column(name, table.name)
            assert described, f"{table.name}.{name} is not in columns.csv"
            assert described.meaning, f"{table.name}.{name} has no meaning"


def test_no_column_is_described_that_no_table_has():
    described = pd.read_csv(Path(llmstudy.tables.__file__).with_name("columns.csv"))["column"]
    used = {
        key
        for table in tables().values()
        for name in (*table.shown, *table.promised)
        for key in (name, f"{table.name}.{name}")
    }
    assert set(described) <= used
    assert described.is_unique


def test_what_a_page_shows_of_a_table_is_in_its_file():
    for table in tables().values():
        file = paths.reference() / "tables" / f"{table.name}.csv"
        if file.is_file() and file.stat().st_size > 1:  # an empty table has no columns
            kept = pd.read_csv(file, nrows=0).columns
            assert set(table.shown) <= set(kept), table.name


def test_results_hold_what_their_schema_promises_and_no_more():
    kept = json.loads((paths.reference() / "results" / "08_memo.json").read_text())["results"]
    assert Results(**kept).model_dump() == kept
    with pytest.raises(ValueError, match="extra"):
        Results(**kept, more=1)


def test_a_value_that_a_column_may_not_take_is_refused():
    row = {"workload": "chat", "route": "a", "low_days": 1, "mid_days": 2, "high_days": 3}
    record("switching")(**row, within_a_week="yes")
    with pytest.raises(ValueError, match="within_a_week"):
        record("switching")(**row, within_a_week="perhaps")


def cells(fragment):
    soup = BeautifulSoup(fragment, "html.parser")
    return [[c.get_text() for c in row.find_all(["th", "td"])] for row in soup.find_all("tr")]


# the parser drops a cell of blanks alone, and a heading of words is no name of the code
@given(st.text(max_size=30).map("x {}x".format))
def test_text_in_a_table_stays_text(text):
    frame = pd.DataFrame({text: [text]})
    ((head,), (cell,)) = cells(table_html(frame, text))
    same = str.maketrans({"\r": "\n", "\u00a0": " ", "_": " "})
    assert head.translate(same) == text.translate(same)
    assert cell.translate(same) == text.translate(same)
    caption = BeautifulSoup(table_html(frame, text), "html.parser").caption
    assert caption.get_text().translate(same) == text.translate(same)


def test_every_rule_on_trial_and_every_item_of_a_bill_has_its_words():
    rules = {*advisor_rules()["rule"], "improved", "always_now", "never"}
    assert not {rule for rule in rules if named("rule", rule) == rule}
    for item, fields in fields_by_item().items():
        assert "_" not in named("item", item)
        assert not [field for field in fields if "_" in named("field", field)]


def test_no_heading_of_a_shown_table_is_a_name_of_the_code():
    for table in tables().values():
        for name in table.shown:
            assert not re.search(r"_|\busd\b|\bgpus?\b|\bmtok\b", heading(name, table.name)), name


def test_figures_stand_to_the_right_whether_numbers_or_text():
    frame = pd.DataFrame(
        {
            "arm": ["api", "gpu"],
            "n": [1, None],
            "usd": ["USD 1.2M", "never"],
            "range": ["USD 0.9M to 1.3M", "−USD 20k to USD 30k"],
            "share": ["83 %", "<0.01 %"],
            "by": ["2026-12-18", "2027-01-29"],
            "moved": ["1 of 4", "4 of 4"],
        }
    )
    row = BeautifulSoup(table_html(frame, "x"), "html.parser").tbody.tr
    right = {c.get_text() for c in row.find_all(class_="n")}
    assert {text.replace("\u00a0", " ") for text in right} == {
        "1",
        "USD 1.2M",
        "USD 0.9M to 1.3M",
        "83 %",
    }


def test_numbers_are_shown_to_four_digits_and_gaps_as_a_dash():
    frame = pd.DataFrame({"x": [1234567.8, 0.00123456, -2.5, 3.0, None]})
    assert [row[0] for row in cells(table_html(frame, "x"))[1:]] == [
        "1,234,568",
        "0.001235",
        "−2.5",
        "3",
        "–",
    ]

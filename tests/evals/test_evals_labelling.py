"""The labelling view, driven without a browser."""

import pandas as pd
import pytest

from llmstudy.evals.items import ItemSet, read_sheet, sheet_of, write_sheet
from llmstudy.evals.labelling import LabellingView


@pytest.fixture
def items():
    prompts = {"a": "<b>2 + 2?</b>", "b": "3 + 3?", "c": "4 + 4?"}
    return ItemSet(
        [
            {"item_id": name, "messages": [{"role": "user", "content": text}], "answer_today": "4"}
            for name, text in prompts.items()
        ]
    )


@pytest.fixture
def sheet(tmp_path):
    return tmp_path / "sheet.csv"


def labels_of(items, sheet, column="label_1"):
    return read_sheet(sheet, items)[column].tolist()


def test_each_label_is_in_the_sheet_at_once_and_the_next_item_is_shown(items, sheet):
    view = LabellingView(items, sheet)
    view.labels["right"].click()
    assert labels_of(items, sheet) == ["right", None, None]
    assert "3 + 3?" in view.prompt.value
    view.labels["wrong"].click()
    view.labels["skip"].click()
    assert labels_of(items, sheet) == ["right", "wrong", "skip"]
    assert view.progress.value == view.progress.max == 3
    assert view.status.value == "all items are labelled"


def test_a_reference_and_a_note_are_saved_with_the_label_and_on_leaving_the_item(items, sheet):
    view = LabellingView(items, sheet)
    view.reference.value = "=4"
    view.labels["right"].click()
    view.note.value = "unclear"
    view.forward.click()
    rows = read_sheet(sheet, items)
    assert rows["reference"].tolist() == ["=4", None, None]
    assert rows["note"].tolist() == [None, "unclear", None]
    assert (view.reference.value, view.note.value) == ("", "")
    view.back.click()
    assert view.note.value == "unclear"


def test_a_view_that_is_opened_again_goes_on_where_it_was(items, sheet):
    LabellingView(items, sheet).labels["wrong"].click()
    again = LabellingView(items, sheet)
    assert "item 2 of 3" in again.position.value
    again.back.click()
    assert "labelled wrong" in again.position.value


def test_two_labellers_write_to_one_sheet_and_neither_sees_nor_loses_the_others_labels(
    items, sheet
):
    first, second = LabellingView(items, sheet), LabellingView(items, sheet, labeller=2)
    for label in ("right", "wrong", "right"):
        first.labels[label].click()
        second.labels["wrong"].click()
    assert labels_of(items, sheet) == ["right", "wrong", "right"]
    assert labels_of(items, sheet, "label_2") == ["wrong"] * 3
    assert "right" not in second.position.value


def test_what_the_log_holds_is_shown_as_text_not_as_markup(items, sheet):
    view = LabellingView(items, sheet)
    assert "&lt;b&gt;2 + 2?&lt;/b&gt;" in view.prompt.value


def test_a_label_that_cannot_be_saved_says_so_and_stays_at_its_item(items, sheet):
    view = LabellingView(items, sheet)
    sheet.write_text("item_id,reference\nz,\n")
    view.labels["right"].click()
    assert "not saved" in view.status.value
    assert "not of the set" in view.status.value
    assert "2 + 2?" in view.prompt.value


def test_a_sheet_of_other_items_is_refused(items, sheet):
    other = ItemSet([{"item_id": "z", "messages": [{"role": "user", "content": "?"}]}])
    write_sheet(sheet_of(other), sheet)
    with pytest.raises(ValueError, match="not of the set"):
        LabellingView(items, sheet)


def test_columns_that_a_labeller_added_stay(items, sheet):
    write_sheet(sheet_of(items).assign(topic=["sum", "sum", "=x"]), sheet)
    LabellingView(items, sheet).labels["right"].click()
    assert pd.read_csv(sheet)["topic"].tolist() == ["sum", "sum", "'=x"]

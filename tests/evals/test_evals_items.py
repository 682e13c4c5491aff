"""Golden sets as files and as sheets for people to label."""

import json
from io import StringIO

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from llmstudy import io
from llmstudy.evals.items import (
    ItemSet,
    about_path,
    agreement,
    human_scores,
    labelling,
    read_items,
    read_sheet,
    sheet_of,
    write_items,
    write_sheet,
)


def item(name, content="2 + 2?", **other):
    return {"item_id": name, "messages": [{"role": "user", "content": content}], **other}


@pytest.fixture
def items():
    return ItemSet(
        [
            item("a", "=SUM(A1)\nwhat, @is this?", answer_today="-1 + 'x", workload="chat"),
            item("b", "Ümlaut “quoted” ,=1", slice="acme", reference="4"),
            item("c", schema={"type": "object"}),
        ],
        {"seed": 7},
    )


def test_a_set_that_is_written_and_read_is_the_same(items, tmp_path):
    write_items(items, tmp_path / "set.jsonl")
    read = read_items(tmp_path / "set.jsonl")
    assert (read, read.version) == (items, items.version)
    assert len((tmp_path / "set.jsonl").read_text().splitlines()) == 3


def test_the_version_is_that_of_the_items_whatever_their_order(items):
    assert ItemSet(items.items[::-1]).version == items.version
    for changed in (
        items.with_references({"a": "5"}),
        ItemSet(items.items[:2]),
        ItemSet([*items.items[:2], item("c", schema={"type": "array"})]),
    ):
        assert changed.version != items.version


def test_the_hash_of_an_item_is_that_of_its_prompt_and_reference(items):
    hashes = [each["item_hash"] for each in items.items]
    again = [each["item_hash"] for each in items.with_references({"c": "four"}).items]
    assert hashes[:2] == again[:2]
    assert hashes[2] != again[2]
    assert ItemSet([item("other name", "2 + 2?")]).items[0]["item_hash"] == hashes[2]


def test_a_prompt_as_text_is_the_only_message(tmp_path):
    (tmp_path / "set.jsonl").write_text('{"item_id": "a", "prompt": "2 + 2?"}')
    assert read_items(tmp_path / "set.jsonl") == ItemSet([item("a")])


def test_an_item_changed_by_hand_is_refused_by_its_name(items, tmp_path):
    file = tmp_path / "set.jsonl"
    write_items(items, file)
    file.write_text(file.read_text().replace("2 + 2?", "2 + 3?"))
    with pytest.raises(ValueError, match=r"1 item changed by hand: .* \(first: c\)"):
        read_items(file)


def test_items_left_out_of_a_set_by_hand_are_noticed(items, tmp_path):
    file = tmp_path / "set.jsonl"
    write_items(items, file)
    file.write_text("\n".join(file.read_text().splitlines()[:2]))
    with pytest.raises(ValueError, match=rf"set\.about\.json is of {items.version}"):
        read_items(file)
    about_path(file).unlink()
    assert len(read_items(file).items) == 2


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("[1]", r"set\.jsonl:1: not an item"),
        ("{", r"set\.jsonl:1: not an item"),
        ("{}", "without item_id"),
        ('{"item_id": "a"}', "without messages"),
        ('{"item_id": "a", "messages": [{"role": "user"}]}', "without messages"),
        ("", "no items"),
    ],
)
def test_a_file_that_is_no_set_is_refused_in_one_sentence(line, fault, tmp_path):
    (tmp_path / "set.jsonl").write_text(line)
    with pytest.raises(ValueError, match=fault) as error:
        read_items(tmp_path / "set.jsonl")
    assert "\n" not in str(error.value)


# --- sheets ----------------------------------------------------------------------------------


def test_a_sheet_that_comes_back_untouched_is_the_same_and_runs_no_formula(items, tmp_path):
    sheet = sheet_of(items, labellers=2)
    write_sheet(sheet, tmp_path / "sheet.csv")
    assert "\n=" not in (tmp_path / "sheet.csv").read_text("utf-8-sig").replace('"', "\n")
    assert_frame_equal(read_sheet(tmp_path / "sheet.csv", items), sheet, check_dtype=False)


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="'"), min_size=1))
def test_text_without_apostrophes_comes_back_from_a_guarded_cell(text):
    written = io.csv(pd.DataFrame({"x": [text]}))
    rows = pd.read_csv(StringIO(written), dtype=str, keep_default_na=False, skip_blank_lines=False)
    [cell] = rows["x"]
    assert io.unguarded(cell) == text


def filled(sheet, path, **columns):
    for name, cells in columns.items():
        sheet[name] = cells
    write_sheet(sheet, path)
    return path


def test_labels_come_back_in_any_order_with_what_is_missing(items, tmp_path):
    sheet = sheet_of(items, labellers=2).iloc[::-1]
    file = filled(
        sheet,
        tmp_path / "sheet.csv",
        reference=["four", None, "-1"],
        label_1=["Right", "w", "skip"],
        label_2=[None, "1", None],
    )
    read = read_sheet(file, items)
    assert read["item_id"].tolist() == ["a", "b", "c"]
    assert read["label_1"].tolist() == ["skip", "wrong", "right"]
    state = labelling(read).set_index("what")
    assert state["missing"].to_dict() == {"reference": 1, "label_1": 0, "label_2": 2}
    assert state.loc["label_1", "right_share"] == 0.5
    references = read.set_index("item_id")["reference"].dropna().to_dict()
    labelled = items.with_references(references)
    assert [each["reference"] for each in labelled.items] == ["-1", "4", "four"]


def test_a_sheet_saved_by_a_spreadsheet_with_semicolons_is_read(items, tmp_path):
    sheet_of(items).to_csv(tmp_path / "sheet.csv", sep=";", index=False, encoding="utf-8-sig")
    assert read_sheet(tmp_path / "sheet.csv", items)["prompt"][1] == "Ümlaut “quoted” ,=1"


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda s: s.iloc[:2], r"1 item missing from the sheet: keep every row \(first: c\)"),
        (lambda s: pd.concat([s, s.iloc[:1]]), "in the sheet twice"),
        (lambda s: s.assign(item_id=["a", "b", "d"]), "1 item not of the set of version"),
        (
            lambda s: s.assign(label_1=["good", "right", ""]),
            "whose label_1 is none of right, wrong",
        ),
        (lambda s: s.drop(columns="reference"), "column reference is missing"),
    ],
)
def test_a_sheet_of_other_items_or_labels_is_refused(items, change, fault, tmp_path):
    write_sheet(change(sheet_of(items)), tmp_path / "sheet.csv")
    with pytest.raises(ValueError, match=fault) as error:
        read_sheet(tmp_path / "sheet.csv", items)
    assert str(error.value).startswith(str(tmp_path / "sheet.csv"))


def test_the_agreement_of_labellers_is_krippendorffs_of_his_published_example():
    # Krippendorff (2011), Computing Krippendorff's alpha-reliability, section A: alpha = 0.095
    meg = [0, 1, 0, 0, 0, 0, 0, 0, 1, 0]
    owen = [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]
    labels = {
        f"label_{n}": ["wrong" if x else "right" for x in xs] for n, xs in enumerate([meg, owen])
    }
    assert agreement(pd.DataFrame(labels)) == pytest.approx(0.095, abs=5e-4)


def test_labels_at_random_have_no_agreement_and_equal_ones_have_all_of_it():
    rng = np.random.default_rng(2)
    labels = pd.DataFrame(rng.choice(["right", "wrong"], (20_000, 3)))
    labels.columns = ["label_1", "label_2", "label_3"]
    assert abs(agreement(labels)) < 0.02
    assert agreement(labels.assign(label_2=labels["label_1"], label_3="skip")) == 1
    assert agreement(labels.assign(label_2=None, label_3=None)) is None


def test_labels_of_people_are_an_evaluation_in_which_a_skip_is_no_wrong_answer(items):
    sheet = sheet_of(items, labellers=2)
    sheet[["label_1", "label_2"]] = [["right", "wrong"], ["skip", "wrong"], ["skip", None]]
    scores = human_scores(sheet, items, "api").set_index("item_id")
    assert scores["score"].tolist()[:2] == [0.5, 0.0]
    assert scores["scored"].tolist() == [True, True, False]
    assert scores["item_hash"].tolist() == [each["item_hash"] for each in items.items]
    assert scores.loc["b", "slice"] == "acme"


def test_every_item_is_json_on_a_line_with_the_keys_that_a_runner_reads(items, tmp_path):
    write_items(items, tmp_path / "set.jsonl")
    for line in (tmp_path / "set.jsonl").read_text().splitlines():
        keys = json.loads(line).keys()
        assert {"item_id", "item_hash", "workload", "slice", "cluster", "messages"} <= keys
        assert "reference" in keys

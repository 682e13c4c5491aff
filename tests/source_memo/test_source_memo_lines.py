"""Every line of the source memo is carried by the product, or stands in the list of open ones."""

import importlib
import json
import re
from pathlib import Path

import pandas as pd
import pytest

from llmstudy import paths

COUNTS = {"V": 3, "C": 6, "T": 9, "G": 6, "D": 4, "S": 12}
OPEN = {"S3", "S4", "S7", "S8"}
LINES = pd.read_csv(paths.data("source_memo_lines.csv"), keep_default_na=False).set_index("id")
CARRIED = LINES[LINES["open_because"] == ""]
CARRIERS = pd.read_csv(Path(__file__).with_name("functions.csv"), keep_default_na=False).set_index(
    "id"
)
FUNCTIONS = CARRIERS["functions"]
SYSTEMS = pd.read_csv(paths.data("source_memo_systems.csv"), keep_default_na=False)
REFERENCE = paths.ROOT / "outputs" / "reference"


def names(cell: str) -> list[str]:
    return [name.strip() for name in cell.split(";") if name.strip()]


def test_every_id_has_one_row():
    expected = [f"{letter}{n}" for letter, last in COUNTS.items() for n in range(1, last + 1)]
    assert LINES.index.tolist() == expected


@pytest.mark.shared
def test_the_ids_are_those_of_the_source_memo():
    memo = paths.ROOT.parent / "shared" / "MEMO.md"
    if not memo.exists():
        pytest.skip("the source memo is not beside this checkout")
    found = set(re.findall(r"\b([VCTGDS]\d{1,2})\b", memo.read_text(encoding="utf-8")))
    # p4d and the like are names of machines; G and S ids need no other filter
    assert found == set(LINES.index)


@pytest.mark.parametrize("line", CARRIED.index)
def test_a_line_is_carried_by_functions_that_exist(line):
    carriers = names(FUNCTIONS[line])
    assert carriers
    for carrier in carriers:
        module, _, attribute = carrier.partition(":")
        found = importlib.import_module(module)
        assert not attribute or callable(getattr(found, attribute))


@pytest.mark.parametrize("line", CARRIED.index)
def test_a_line_is_shown_by_a_chapter(line):
    carriers = names(LINES.loc[line, "results"])
    assert carriers
    for carrier in carriers:
        chapter, _, key = carrier.partition(".")
        results = json.loads((REFERENCE / "results" / f"{chapter}.json").read_text("utf-8"))
        assert key in results, carrier
        assert results[key] not in (None, [], {}), carrier


@pytest.mark.parametrize("test", CARRIERS["test"][CARRIERS["test"] != ""])
def test_a_system_is_carried_from_end_to_end_by_a_test_that_exists(test):
    """It is run by `.ci/run`, or with the suite."""
    file, _, name = test.partition("::")
    assert f"def {name}(" in (paths.ROOT / file).read_text("utf-8")


def test_what_is_not_carried_is_exactly_what_is_open_and_says_why():
    assert set(LINES.index) - set(CARRIED.index) == OPEN
    assert (LINES.loc[sorted(OPEN), "results"] == "").all()
    assert set(FUNCTIONS.index) == set(CARRIED.index)


def test_no_data_that_ships_names_a_function():
    assert not LINES.map(lambda cell: "llmstudy." in cell).any(axis=None)


def test_every_system_of_the_source_memo_has_its_phase_its_status_and_a_gate_that_exists():
    assert sorted(SYSTEMS["id"]) == sorted(line for line in LINES.index if line.startswith("S"))
    phases = pd.read_csv(paths.data("phases.csv"))["phase"]
    gates = pd.read_csv(paths.data("phase_gates.csv"))["rests_on"]
    assert SYSTEMS["phase"].isin(phases).all()
    assert SYSTEMS["gate"].isin(["", *gates]).all()
    assert (SYSTEMS["status"] != "").all()


def test_the_memo_shows_open_systems_as_recommended_work():
    memo = json.loads((REFERENCE / "08_memo.ipynb").read_text("utf-8"))
    cells = json.dumps(memo["cells"])
    for line in sorted(OPEN):
        assert re.search(rf"\b{line}\b", cells), line

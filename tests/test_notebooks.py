"""The source notebooks: stripped, short, prose first, and no figure typed by hand."""

import ast
import json
import re

import nbformat
import numpy as np
import pandas as pd
import papermill
import pytest

from llmstudy import paths
from llmstudy.tables import tables

SOURCES = sorted(paths.notebooks().glob("0*.ipynb"))


def _notebook(path):
    return nbformat.read(path, as_version=4)


def _code(path):
    return [cell for cell in _notebook(path).cells if cell.cell_type == "code"]


def test_there_is_a_notebook_for_every_chapter():
    assert [path.stem[:2] for path in SOURCES] == [f"{n:02d}" for n in range(1, 10)]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)
def test_a_source_notebook_is_stored_without_outputs(path):
    assert all(not cell.outputs and cell.execution_count is None for cell in _code(path))


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)
def test_cells_are_short_and_hold_no_logic(path):
    for cell in _code(path):
        assert len(cell.source.splitlines()) <= 15, cell.source
        forbidden = (ast.FunctionDef, ast.ClassDef, ast.For, ast.While, ast.Lambda, ast.ListComp)
        found = [n for n in ast.walk(ast.parse(cell.source)) if isinstance(n, forbidden)]
        assert not found, cell.source


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)
def test_no_figure_is_typed_into_the_prose(path):
    prose = " ".join(c.source for c in _notebook(path).cells if c.cell_type == "markdown")
    # names such as p95 and G1 are words, not figures
    assert not re.findall(r"(?<![A-Za-z0-9])\d[\d.,]*", prose)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)
def test_parameters_are_one_typed_line_each_and_tagged(path):
    tagged = [c for c in _code(path) if "parameters" in c.metadata.get("tags", [])]
    assert len(tagged) == 1
    for line in tagged[0].source.splitlines():
        assert re.fullmatch(r"\w+: (str|dict|bool) = .+?  # .+", line)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)
def test_papermill_explains_every_parameter_with_its_type(path):
    parameters = papermill.inspect_notebook(str(path))
    types = {name: entry["inferred_type_name"] for name, entry in parameters.items()}
    probe = {"probe": "bool"} if path.stem == "05_self_hosting" else {}
    assert types == {"study": "str", "run": "str", "overrides": "dict"} | probe
    assert all(entry["help"] for entry in parameters.values())


@pytest.mark.parametrize("path", SOURCES[:7], ids=lambda p: p.stem)
def test_what_a_chapter_shows_is_what_its_results_hold(path):
    """Each frame that a notebook shows, by the CSV that it leaves, against results.json."""
    results = json.loads((paths.reference() / "results" / f"{path.stem}.json").read_text())
    compared = 0
    for name in tables():
        file = paths.reference() / "tables" / f"{name}.csv"
        rows = results.get(name)
        if not (isinstance(rows, list) and rows and isinstance(rows[0], dict) and file.is_file()):
            continue
        shown, written = pd.read_csv(file), pd.DataFrame(rows)
        if len(shown) != len(written):  # a part of it, or another chapter's table of that name
            continue
        for column in shown.columns.intersection(written.columns):
            if pd.api.types.is_numeric_dtype(written[column]):
                expected = written[column].astype(float).to_numpy()
                shown_values = pd.to_numeric(shown[column]).astype(float).to_numpy()
                np.testing.assert_allclose(shown_values, expected, rtol=1e-9, err_msg=name)
                compared += 1
    assert compared >= 2


def test_replicas_follow_from_the_steps_that_chapter_05_shows():
    steps = pd.read_csv(paths.reference() / "tables" / "fleet_steps.csv")
    load = steps["mean_requests_per_s"] * steps["peak_to_mean"]
    carries = steps["capacity_requests_per_s"] * steps["sustained_utilisation"]
    assert (np.ceil(load / carries) + steps["spare"] == steps["replicas"]).all()


def test_bills_follow_from_the_prices_and_the_usage_that_chapter_02_shows():
    folder = paths.reference() / "tables"
    index = ["workload", "route"]
    names = ("token_prices", "usage", "bills")
    price, use, bills = (pd.read_csv(folder / f"{n}.csv").set_index(index) for n in names)
    read, written = use["cached_input_share"], use["cache_write_share"]
    prompt = (
        (1 - read - written) * price["input_usd_per_mtok"]
        + read * price["cached_usd_per_mtok"]
        + written * price["written_usd_per_mtok"]
    )
    usd = prompt * use["input_tokens"] + price["output_usd_per_mtok"] * use["output_tokens"]
    month = usd / 1e6 * (1 + use["retry_share"]) * use["requests_per_month"]
    np.testing.assert_allclose(month, bills["month_usd"], rtol=1e-9)


def test_the_memo_notebook_computes_every_sentence():
    cells = _notebook(paths.notebooks() / "08_memo.ipynb").cells
    assert all(cell.cell_type == "code" for cell in cells)

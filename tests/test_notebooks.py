"""The source notebooks: stripped, short, prose first, and no figure typed by hand."""

import ast
import re

import nbformat
import pytest

from llmstudy import paths

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
        assert re.fullmatch(r'\w+ = ".*"  # str: .+', line)


def test_the_memo_notebook_computes_every_sentence():
    cells = _notebook(paths.notebooks() / "08_memo.ipynb").cells
    assert all(cell.cell_type == "code" for cell in cells)

"""The committed reference: whole, of these very notebooks, and a wrong number in it is found."""

import copy
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest

from llmstudy import paths
from llmstudy.run import CHAPTERS, fingerprint
from llmstudy.run.record import assemble
from llmstudy.study import load

REFERENCE = paths.reference()
CONFTEST = REFERENCE.parent / "conftest.py"
MEND = "the reference is not of these notebooks: run `make reference`"

each_chapter = pytest.mark.parametrize("name", sorted(CHAPTERS))


def cells(file):
    return nbformat.read(file, as_version=4).cells


def code(name):
    return [cell for cell in cells(REFERENCE / f"{name}.ipynb") if cell.cell_type == "code"]


# ---- what is committed --------------------------------------------------------------------------


def test_the_fingerprint_is_of_the_notebooks_as_they_stand():
    kept = json.loads((REFERENCE / "fingerprint.json").read_text(encoding="utf-8"))
    found = {name: fingerprint(paths.notebooks() / f"{name}.ipynb") for name in CHAPTERS}
    assert kept == found, MEND


@each_chapter
def test_a_reference_holds_the_cells_of_its_notebook_and_their_parameters(name):
    kept = cells(REFERENCE / f"{name}.ipynb")
    injected = [c for c in kept if "injected-parameters" in c.metadata.get("tags", [])]
    source = cells(paths.notebooks() / f"{name}.ipynb")
    own = [(c.cell_type, c.source) for c in kept if c not in injected]
    assert own == [(c.cell_type, c.source) for c in source], MEND
    (parameters,) = injected
    assert 'study = "params/default.yaml"\nrun = "."\n' in parameters.source


@each_chapter
def test_every_code_cell_of_a_reference_was_executed_in_order(name):
    counts = [cell.execution_count for cell in code(name)]
    assert counts == list(range(1, len(counts) + 1))


@each_chapter
def test_a_reference_shows_something_and_no_error(name):
    outputs = [output for cell in code(name) for output in cell.outputs]
    assert outputs
    assert {output.output_type for output in outputs} <= {"display_data", "execute_result"}


def test_no_file_of_the_reference_holds_a_machines_path_or_a_moment():
    folders = r"home|root|tmp|usr|opt|var|mnt|srv|private|Users|workspace"
    traces = re.compile(
        rf"{re.escape(str(paths.ROOT))}|{re.escape(sys.prefix)}"
        rf"|(?<![\w.<])/(?:{folders})/|\b[A-Z]:\\\\?\w"
        # a request that was drawn for the study's own day has a time, whenever that was
        r"|(?!2026-11-23)\d{4}-\d\d-\d\dT\d\d:|(?<!2026-11-23[ T])\b\d\d:\d\d:\d\d\b"
    )
    files = [file for file in REFERENCE.rglob("*") if file.is_file()]
    assert files
    found = {
        file.relative_to(REFERENCE).as_posix(): trace.group()
        for file in files
        if (trace := traces.search(file.read_text(encoding="utf-8")))
    }
    assert found == {}


# ---- what is compared ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Comparison:
    """What pytest said of a copy, the position of its wrong cell, and the folder it filled."""

    done: subprocess.CompletedProcess
    wrong: int
    filled: Path


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """A chapter that needs one other, compared as `make test` does, with one cell too many.

    Its last cell stands there twice: as it is committed, then with one digit of its table changed.
    """
    folder = tmp_path_factory.mktemp("reference")
    shutil.copy(CONFTEST, folder)
    (folder / "results").mkdir()
    shutil.copy(REFERENCE / "results" / "02_cost.json", folder / "results")
    notebook = nbformat.read(REFERENCE / "04_quality.ipynb", as_version=4)
    notebook.cells.append(with_a_wrong_digit(notebook.cells[-1]))
    nbformat.write(notebook, folder / "04_quality.ipynb")
    options = ["-p", "no:cacheprovider", "--nbval", "--nbval-current-env", "--color=no", "-rA"]
    command = [sys.executable, "-m", "pytest", *options, "04_quality.ipynb"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return Comparison(done, len(code("04_quality")), folder)


def with_a_wrong_digit(cell):
    cell = copy.deepcopy(cell)
    cell.id = "wrong"
    (table,) = cell.outputs
    page = table.data["text/html"]
    last = max(found.start() for found in re.finditer(r"\d(?=[^<>]*</td>)", page))
    digit = str((int(page[last]) + 1) % 10)
    table.data["text/html"] = page[:last] + digit + page[last + 1 :]
    return cell


def test_one_wrong_digit_fails_and_its_cell_is_named(compared):
    assert compared.done.returncode == pytest.ExitCode.TESTS_FAILED
    assert f"FAILED 04_quality.ipynb::Cell {compared.wrong}" in compared.done.stdout
    assert "mismatch 'text/html'" in compared.done.stdout


def test_the_cells_as_they_are_committed_agree_with_a_fresh_execution(compared):
    passed = re.findall(
        r"^PASSED 04_quality\.ipynb::Cell (\d+)", compared.done.stdout, re.MULTILINE
    )
    assert passed == [str(i) for i in range(compared.wrong)], compared.done.stdout


@pytest.mark.parametrize("file", ["results/04_quality.json", "tables/quality.csv"])
def test_executing_a_reference_again_changes_no_file(compared, file):
    assert (compared.filled / file).read_bytes() == (REFERENCE / file).read_bytes(), MEND


# ---- what may differ between processors ---------------------------------------------------------

TABLE, DRAWING = "text/html", "image/svg+xml"


@pytest.fixture(scope="module")
def agree():
    spec = importlib.util.spec_from_file_location("tolerances", CONFTEST)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.agree


@pytest.mark.parametrize(
    ("kept", "fresh", "kind", "same"),
    [
        ("<td>1.234567</td>", "<td>1.2345675</td>", TABLE, True),
        ("<td>1.234567</td>", "<td>1.234570</td>", TABLE, False),
        ("stay, 23 %", "move, 23 %", TABLE, False),
        ("23 of 100", "24 of 100", TABLE, False),
        ("1,234", "12,34", TABLE, False),
        ('<path d="M 1.004 2"/>', '<path d="M 1.012 2"/>', DRAWING, True),
        ('<path d="M 1.004 2"/>', '<path d="M 1.016 2"/>', DRAWING, False),
        # the id of a clip is a hash of its coordinates
        ('<g id="p1f"/><a href="#p1f"/>', '<g id="p2e"/><a href="#p2e"/>', DRAWING, True),
        ('<g id="p1f"/><g id="q"/>#p1f', '<g id="p2e"/><g id="q"/>#q', DRAWING, False),
    ],
)
def test_numbers_may_differ_in_what_processors_differ_in_and_words_never(
    agree, kept, fresh, kind, same
):
    assert agree(kept, fresh, kind) is same


def test_another_processor_gives_the_same_results():
    """The default study without AVX, on another BLAS kernel: the very bytes of the reference."""
    script = """
import json, sys
from llmstudy import io, paths
from llmstudy.evidence.case import open_case
from llmstudy.chapters.all import chapter_results
from llmstudy.study import load
for name, results in chapter_results(open_case(load(paths.params("default.yaml")))).items():
    kept = json.loads((paths.reference() / "results" / f"{name}.json").read_text("utf-8"))
    fresh = json.loads(io.dumps(results))
    differing = [key for key in fresh if fresh[key] != kept[key]]
    assert not differing, f"{name}: {', '.join(differing)}"
"""
    other = {"OPENBLAS_CORETYPE": "Nehalem", "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        env=os.environ | other,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stderr}\n{MEND}"


def test_what_has_changed_since_the_previous_run_is_no_result_of_this_one(reference):
    found = {name: chapter for name, chapter in reference.items() if name < "08"}
    changes = {"triggers": [], "attribution": {"inputs": []}, "headline": None}
    with_changes = assemble(load(paths.params("default.yaml")), {**found, "diff": changes})
    assert with_changes == assemble(load(paths.params("default.yaml")), found)
    assert with_changes.triggers

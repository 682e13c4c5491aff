"""The frames of notebook 09: its cells executed here, on the results of other chapters."""

import json
import shutil
from functools import cache
from types import SimpleNamespace

import nbformat
import pandas as pd
import pytest

from llmstudy import paths


@pytest.fixture(scope="session")
def opened():
    """Executes the notebook for a study whose chapters have run in a folder. Returns: its names."""

    def execute(study, run):
        book = nbformat.read(paths.notebooks() / "09_source_memo.ipynb", as_version=4)
        names = {"study": str(study), "run": str(run), "overrides": {}}
        for cell in book.cells:
            if cell.cell_type == "code" and "parameters" not in cell.metadata.get("tags", []):
                exec(compile(cell.source, cell.id, "exec"), names)
        return SimpleNamespace(**names)

    return execute


@pytest.fixture(scope="session")
def notebook(opened, tmp_path_factory):
    """The frames of the default study, after the chapters of the reference run."""
    run = tmp_path_factory.mktemp("source_memo")
    shutil.copytree(paths.reference() / "results", run / "results")
    return opened(paths.params("default.yaml"), run)


@pytest.fixture(scope="session")
def written(run_of):
    """What chapter 09 of a study that ships wrote, by the study's name: tables as frames."""

    def read(name):
        file = run_of(name).folder / "results" / "09_source_memo.json"
        results = json.loads(file.read_text(encoding="utf-8"))
        return {key: pd.DataFrame(x) for key, x in results.items() if key != "study_sha256"}

    return cache(read)

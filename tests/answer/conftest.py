"""The default study prepared for a what-if, from the results that its chapters wrote."""

import json

import pytest

from llmstudy import paths
from llmstudy.answer import prepare
from llmstudy.evidence.case import open_case
from llmstudy.study import load


@pytest.fixture(scope="session")
def reference():
    """What the chapters of the default study wrote, by chapter name."""
    folder = paths.ROOT / "outputs" / "reference" / "results"
    return {file.stem: json.loads(file.read_text()) for file in sorted(folder.glob("0*.json"))}


@pytest.fixture(scope="session")
def base(reference):
    return prepare(open_case(load(paths.params("default.yaml"))), reference)

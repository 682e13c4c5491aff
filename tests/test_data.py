"""The bundled tables: every file has its source, and none is more than derived figures."""

import pandas as pd
import pytest

from llmstudy import paths
from llmstudy.figure import GRADES
from llmstudy.study import bundled_figures

TABLES = sorted(path.name for path in paths.data().glob("*.csv") if path.name != "SOURCES.csv")
NESTED = [
    str(path.relative_to(paths.data()))
    for pattern in ("model_configs/*/*.json", "probes/*/*.csv")
    for path in paths.data().glob(pattern)
]


def test_every_table_is_listed_with_source_version_licence_and_derivation():
    sources = pd.read_csv(paths.data("SOURCES.csv"))
    assert sorted(sources["file"]) == sorted(TABLES + NESTED)
    assert not sources.isna().any().any()


@pytest.mark.parametrize("name", TABLES)
def test_every_row_of_a_table_names_its_source(name):
    table = pd.read_csv(paths.data(name))
    # one source for the whole table, given in SOURCES.csv
    listed = {"phases.csv", "probe_formats.csv", "source_memo_systems.csv"}
    assert name in listed or table["source"].notna().all()


def test_bundled_figures_are_graded_sourced_and_dated():
    for name, figure in bundled_figures().items():
        assert figure.grade in GRADES, name
        assert figure.source, name
        assert figure.as_of is not None, name

"""A small cut of benchmarks/quality_coverage.py, and what its page in docs/ shows."""

import importlib.util
import re
import sys

import pytest

from llmstudy import paths

RUNS = 2_000
SLACK = 0.012
"""2.5 standard errors of a share of 95 % in so many runs."""
EXACT = ("mcnemar", "no_failures", "superior_ever", "within_ever", "graded_ever")


@pytest.fixture(scope="module")
def bench():
    file = paths.ROOT / "benchmarks" / "quality_coverage.py"
    spec = importlib.util.spec_from_file_location("quality_coverage", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("discordance", [0.05, 0.30])
@pytest.mark.parametrize(
    "method", ["tango", "by_item", "bootstrap", "judged", "repeats", "margin_test"]
)
def test_approximate_methods_miss_8_percent_at_most_where_items_are_few(bench, method, discordance):
    coverage = bench.simulated(getattr(bench, method), bench.Cell(50, 50, discordance), RUNS)
    assert coverage.share >= 0.92 - SLACK


@pytest.mark.parametrize("method", ["by_grade", "bootstrap", "repeats", "judged", "judged_in_part"])
def test_intervals_of_clustered_items_miss_8_percent_at_most(bench, method):
    coverage = bench.simulated(getattr(bench, method), bench.Cell(300, 30, 0.15), RUNS)
    assert coverage.share >= 0.92 - SLACK


@pytest.mark.parametrize("method", EXACT)
def test_exact_and_anytime_methods_miss_5_percent_at_most(bench, method):
    coverage = bench.simulated(getattr(bench, method), bench.Cell(100, 100, 0.30), RUNS)
    assert coverage.share >= 0.95 - SLACK


def tables():
    """The page's tables: heads, rows of cells."""
    page = (paths.ROOT / "docs" / "quality_coverage.md").read_text(encoding="utf-8")
    shown = []
    for block in re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE):
        heads, _, *rows = ([c.strip("* ") for c in r.split("|")[1:-1]] for r in block.splitlines())
        shown.append((heads, rows))
    return shown


def test_the_page_shows_every_cell_within_its_band(bench):
    alone, clustered, _, tests = tables()
    for heads, rows in (alone, clustered):
        *_, mean, least = rows
        for name, average, worst in zip(heads[3:], mean[3:], least[3:], strict=True):
            assert 93.5 <= float(average) <= 96.5, name
            assert float(worst) >= 92, name
    heads, rows = tests
    names = [method.__name__ for method in bench.TESTS.values()]
    for name, worst in zip(names, rows[-1][3:], strict=True):
        # to the error of a simulation of 20,000: three of its standard errors
        assert float(worst) >= (94.5 if name in EXACT else 92), name
    sizes = {(int(row[0]), row[2]) for row in alone[1][:-2]}
    assert sizes == {(n, f"{psi:.0%}") for n in bench.ITEMS for psi in bench.DISCORDANCE}

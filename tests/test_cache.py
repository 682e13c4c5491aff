"""What is stored is what would be computed, whatever becomes of the file that holds it."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest

from llmstudy import cache, io
from llmstudy.measures.capacity import serving_fits

FACTOR = 2
calls = []


@cache.on_disk
def scaled(points):
    calls.append(points)
    return points * FACTOR


def points():
    return pd.DataFrame({"tpot_ms": [12.5, 14.0], "concurrency": [1, 8]})


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A cache of one's own, empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    calls.clear()
    return tmp_path / "llmstudy" / "fits"


def test_a_result_is_computed_once_for_the_same_content(folder):
    first = scaled(points())
    pd.testing.assert_frame_equal(scaled(points()), first)
    assert len(calls) == 1
    assert len(list(folder.iterdir())) == 1


def test_another_point_or_another_number_of_the_module_is_another_result(monkeypatch):
    scaled(points())
    assert scaled(points().replace(14.0, 14.1))["tpot_ms"].tolist() == [25.0, 28.2]
    monkeypatch.setattr(sys.modules[__name__], "FACTOR", 3)
    assert scaled(points())["tpot_ms"].tolist() == [37.5, 42.0]


@pytest.mark.parametrize("damage", [lambda b: b[:-9], lambda b: b"", lambda b: b[:-1] + b"\0\0"])
def test_an_entry_that_is_cut_short_or_changed_is_computed_again(folder, damage):
    scaled(points())
    (entry,) = folder.iterdir()
    whole = entry.read_bytes()
    entry.write_bytes(damage(whole))
    assert scaled(points())["tpot_ms"].tolist() == [25.0, 28.0]
    assert len(calls) == 2
    assert entry.read_bytes() == whole


def test_where_nothing_can_be_stored_everything_is_computed(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert [scaled(points())["concurrency"].sum() for _ in range(2)] == [18, 18]
    assert len(calls) == 2


def test_many_who_store_at_once_leave_one_whole_entry(folder):
    with ThreadPoolExecutor(8) as pool:
        sums = pool.map(lambda _: scaled(points())["concurrency"].sum(), range(40))
    assert set(sums) == {18}
    assert len(list(folder.iterdir())) == 1
    before = len(calls)
    scaled(points())
    assert len(calls) == before


def test_fits_read_from_disk_are_those_computed_byte_by_byte(folder):
    cold = io.dumps(serving_fits())
    stored = {file: file.stat().st_mtime_ns for file in folder.iterdir()}
    assert io.dumps(serving_fits()) == cold
    assert {file: file.stat().st_mtime_ns for file in folder.iterdir()} == stored


def test_processes_find_each_other_s_fits(folder):
    code = (
        "from llmstudy.measures.capacity import *\n"
        "points = serving_points('meta-llama/Llama-3.1-70B', 'h200_sxm', 'fp8')\n"
        "shape, card = model_shape('meta-llama/Llama-3.1-70B'), gpu('h200_sxm')\n"
        "fit_serving_curve(points, shape, card, 'fp8')\n"
    )
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert len(list(folder.iterdir())) == 1


def test_the_code_that_measures_run_on_is_all_in_the_hash():
    code = (
        "import sys, llmstudy.measures.cost, llmstudy.measures.capacity.sizing\n"
        "print(*[m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'llmstudy'])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    package = Path(cache.__file__).parent
    hashed = {file for pattern in cache._SOURCES for file in package.glob(pattern)}
    assert {Path(file) for file in ran.stdout.split()} <= hashed

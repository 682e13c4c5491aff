"""One text for one value, and no value that JSON does not have."""

import json
import math
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmstudy import io

FINITE = st.floats(-1e300, 1e300)  # rounded up, the very largest float would be infinite
LEAVES = st.none() | st.booleans() | st.integers() | FINITE | st.text(max_size=5)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(VALUES)
def test_what_is_written_reads_back_as_the_plain_value(value):
    assert json.loads(io.dumps(value)) == io.plain(value)


@given(VALUES)
def test_writing_what_was_read_gives_the_same_bytes(value):
    text = io.dumps(value)
    assert io.dumps(json.loads(text)) == text


@given(FINITE)
def test_a_float_keeps_ten_significant_digits(x):
    assert io.plain(x) == pytest.approx(x, rel=1e-9, abs=0)


def test_there_is_one_zero():
    assert io.dumps(-0.0) == io.dumps(0.0)


@given(
    st.lists(st.integers(0, 2) | st.sampled_from("abc"), max_size=5),
    st.sampled_from([math.nan, math.inf, -math.inf, np.float32("nan"), np.float64("inf")]),
)
def test_a_value_that_is_not_finite_is_refused_by_its_place(path, bad):
    value, place = bad, "results"
    for step in reversed(path):
        value = {step: value} if isinstance(step, str) else [0] * step + [value]
    for step in path:
        place += f".{step}" if isinstance(step, str) else f"[{step}]"
    with pytest.raises(ValueError, match="use None") as error:
        io.plain(value)
    assert str(error.value).startswith(f"{place} is ")


@dataclass
class Pair:
    left: float
    right: tuple[int, ...]


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (date(2026, 11, 23), "2026-11-23"),
        (datetime(2026, 11, 23, 8, tzinfo=UTC), "2026-11-23T08:00:00+00:00"),
        (np.datetime64("2026-11-23T08:00:00", "ns"), "2026-11-23T08:00:00"),
        (Pair(0.1, (1, 2)), {"left": 0.1, "right": [1, 2]}),
        (Path("a/b"), "a/b"),
    ],
)
def test_types_of_the_trade_become_plain(value, wanted):
    found = io.plain(value)
    assert found == wanted
    assert type(found) is type(wanted)


@pytest.mark.parametrize("value", [{1, 2}, b"x", object(), {1: "x"}, 1j, pd.NaT])
def test_what_json_does_not_have_is_refused(value):
    with pytest.raises(ValueError, match=r"results\.x "):
        io.plain({"x": value})


def test_a_table_is_a_list_of_rows_with_null_where_a_value_is_missing():
    frame = pd.DataFrame(
        {
            "arm": ["api", None],
            "usd": [1.5, np.nan],
            "as_of": pd.to_datetime(["2026-11-23", None]),
            "draws": [[1, 2], []],
        }
    )
    assert io.plain(frame) == [
        {"arm": "api", "usd": 1.5, "as_of": "2026-11-23T00:00:00", "draws": [1, 2]},
        {"arm": None, "usd": None, "as_of": None, "draws": []},
    ]


def test_a_named_index_is_part_of_the_table():
    frame = pd.DataFrame({"usd": [1, 2]}, index=pd.Index(["api", "gpu"], name="arm"))
    assert io.plain(frame)[1] == {"arm": "gpu", "usd": 2}


def test_an_infinity_in_a_table_is_refused_by_row_and_column():
    frame = pd.DataFrame({"p99_s": [0.5, math.inf]})
    with pytest.raises(ValueError, match=r"results\.latency\[1\]\.p99_s is inf"):
        io.plain({"latency": frame})


def test_two_columns_of_one_name_are_refused():
    with pytest.raises(ValueError, match="two columns of the same name"):
        io.plain(pd.DataFrame([[1, 2]], columns=["a", "a"]))


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    file = tmp_path / "new" / "x.json"
    io.write(file, "first")
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        io.write(file, "second")
    assert file.read_text() == "first"

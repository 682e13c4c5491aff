"""Reads a table of serving points, and checks that a fit can use its cells."""

from pathlib import Path

import numpy as np
import pandas as pd

from llmstudy.measures.capacity.hardware import GROUP, SPECIAL

_COUNTS = ["input_tokens", "output_tokens", "concurrency", "tensor_parallel"]
_TIMES = ["ttft_ms", "tpot_ms"]
_RANKS = ["attention_dp", "moe_ep"]
_KV_VALUE_BYTES = {"": 2.0, "auto": 2.0, "bf16": 2.0, "bfloat16": 2.0, "fp16": 2.0, "float16": 2.0}
_KV_VALUE_BYTES |= {"fp8": 1.0, "fp8_e4m3": 1.0, "fp8_e5m2": 1.0}

_EMPTY = {"precision": "bf16", "engine_version": "not recorded"}
"""Meaning of an empty cell: weights without a recorded precision are not quantised."""


def read_points(path: Path) -> tuple[pd.DataFrame, list[str]]:
    """Reads serving points from a CSV file with the columns of `data/vllm_serving_points.csv`.

    Needed: model, gpu, precision (empty: bf16), engine_version, input_tokens, output_tokens,
    concurrency, tensor_parallel, attention_dp and moe_ep (these three empty: not recorded),
    ttft_ms, tpot_ms. Read where present: kv_dtype (empty: BF16 is taken), point_id, and what this
    package's probe writes of prefix caching, adapters, eager execution and points above the
    roofline: such points are set aside.

    Returns: the points with kv_value_bytes, and notes on empty cells and on rows set aside.
    Raises: ValueError that names the file, the row (the header is row 1) and the column.
    """
    table = _text(path)
    needed = [*GROUP, *_COUNTS, *_RANKS, *_TIMES]
    if missing := [column for column in needed if column not in table]:
        raise ValueError(
            f"{path} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}: add "
            f"{'them' if len(missing) > 1 else 'it'}, as in data/vllm_serving_points.csv"
        )
    if table.empty:
        raise ValueError(f"{path} has no points: add a row for each measurement")
    notes = []
    for column in GROUP:
        empty = table[column] == ""
        if column not in _EMPTY:
            _refuse(path, table[column], empty, "name it, as text")
        elif empty.any():
            notes.append(f"{column} is empty in {empty.sum()} rows: taken as {_EMPTY[column]}")
    points = table.assign(
        **{name: table[name].replace("", _EMPTY.get(name, "")) for name in GROUP},
        **{name: _number(path, table[name]) for name in _COUNTS + _TIMES},
        **{name: _number(path, table[name], may_lack=True) for name in _RANKS},
        kv_value_bytes=_kv_value_bytes(path, table),
    )
    if "point_id" not in points:
        points["point_id"] = [f"row {row}" for row in points.index]
    special = {name: table[name].str.lower() == "true" for name in SPECIAL if name in table}
    aside = pd.DataFrame(special, index=table.index).any(axis=1)
    notes += [
        f"{rows.sum()} rows are set aside: {name} is true"
        for name, rows in special.items()
        if rows.any()
    ]
    if aside.all():
        raise ValueError(f"{path}: {'; '.join(notes)}; none are left: measure plain points")
    return points[~aside].reset_index(drop=True), notes


def _text(path: Path) -> pd.DataFrame:
    """The cells as text, by row number in the file."""
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file: check the path of the points")
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, skipinitialspace=True)
    except pd.errors.EmptyDataError:
        raise ValueError(f"{path} is empty: give a CSV file with a header and points") from None
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        wrong = str(error).strip().splitlines()[-1]
        raise ValueError(f"{path} is not a CSV file in UTF-8: {wrong}") from None
    table.index = pd.RangeIndex(2, len(table) + 2)
    stripped: pd.DataFrame = table.apply(lambda cells: cells.str.strip())
    return stripped


def _number(path: Path, cells: "pd.Series[str]", may_lack: bool = False) -> "pd.Series[float]":
    """The cells as numbers above zero; counts and ranks as whole ones."""
    numbers = pd.to_numeric(cells, errors="coerce").astype(float)
    lacking = (cells == "") & may_lack  # not recorded
    usable = numbers.between(0, np.inf, inclusive="neither") | lacking
    _refuse(path, cells, ~usable, "write a number above 0")
    if cells.name not in _TIMES:
        whole = (numbers % 1 == 0) | lacking
        _refuse(path, cells, ~whole, "write a whole number")
    return numbers


def _kv_value_bytes(path: Path, table: pd.DataFrame) -> "pd.Series[float]":
    if "kv_dtype" not in table:
        return pd.Series(2.0, index=table.index)
    cells = table["kv_dtype"].str.lower()
    names = ", ".join(name for name in _KV_VALUE_BYTES if name)
    _refuse(path, table["kv_dtype"], ~cells.isin(list(_KV_VALUE_BYTES)), f"write one of {names}")
    return cells.map(_KV_VALUE_BYTES)


def _refuse(path: Path, cells: "pd.Series[str]", wrong: "pd.Series[bool]", mend: str) -> None:
    faulty = cells[wrong]
    if len(faulty):
        more = f" (and wrong in {len(faulty) - 1} more rows)" if len(faulty) > 1 else ""
        raise ValueError(
            f"{path}, row {faulty.index[0]}: {cells.name} is {faulty.iloc[0]!r}{more}; {mend}"
        )

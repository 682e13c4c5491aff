"""How is a result written? One text for one value, so that two runs can be compared by byte.

Keys keep the order they were given in (a table's columns have one that a reader wants), floats
carry 10 significant digits, dates are ISO text, tables are lists of rows.
There is no NaN and no Infinity: `null` means never, or a figure that cannot be given, and only the
caller knows which of the two.

A hash says whether two files, or two runs, are the same.
"""

import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

SIGNIFICANT_DIGITS = 10
"""Beyond these, sums differ between processors; no figure of a study is known to so many."""


def plain(value: Any, at: str = "results") -> Any:
    """A result as `None`, bool, int, float, str, list and dict only.

    value: those, and tuples, dataclasses, dates, paths, numpy scalars and arrays, and DataFrames (a
    list of one dict per row, where a missing value is null). `at` names the value in an error.
    Raises: ValueError naming the place, as `results.arms[2].p99_s`, of a NaN, an Infinity, a key
    that is not text or a type that JSON does not have.

    >>> plain({"b": np.float32(0.25), "a": (date(2026, 11, 23), None)})
    {'b': 0.25, 'a': ['2026-11-23', None]}
    >>> plain({"p99_s": float("inf")})
    Traceback (most recent call last):
    ValueError: results.p99_s is inf, which JSON does not have: write None if it means never.
    """
    if value is None or isinstance(value, bool | str):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, np.datetime64):
        return plain(pd.Timestamp(value), at)
    if isinstance(value, np.generic):
        return plain(value.item(), at)
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return _rounded(value, at)
    if isinstance(value, Path):
        return str(value)
    if value is not pd.NaT and isinstance(value, date):
        return value.isoformat()
    if isinstance(value, pd.DataFrame):
        return _rows(value, at)
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name), f"{at}.{f.name}") for f in fields(value)}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(item, f"{at}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, Mapping):
        return {_key(key, at): plain(item, f"{at}.{key}") for key, item in value.items()}
    raise ValueError(f"{at} is a {type(value).__name__}, which JSON does not have: convert it.")


def dumps(value: Any) -> str:
    r"""A result as canonical JSON text: the same value gives the same bytes.

    Raises: ValueError as `plain` does.

    >>> dumps({"b": 1 / 3, "a": [1, None]})
    '{\n  "b": 0.3333333333,\n  "a": [\n    1,\n    null\n  ]\n}\n'
    """
    text = json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False)
    return text + "\n"


def write(path: Path, content: str | bytes) -> None:
    """Writes a file whole or not at all, into a folder that is made if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # the process's number keeps two chapters that run at once out of each other's draft
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_bytes(content.encode() if isinstance(content, str) else content)
    draft.replace(path)


def csv(frame: pd.DataFrame) -> str:
    """A table as CSV that a spreadsheet shows and does not run.

    Text in which a spreadsheet would find a formula, at its beginning or after what it may take for
    the end of a cell, gets an apostrophe there, which spreadsheets do not show. Numbers stay
    numbers.
    Source: OWASP, CSV Injection.

    >>> csv(pd.DataFrame({"route": ["=1+1", "a-b"], "usd": [-2.5, 1]}))
    "route,usd\\n'=1+1,-2.5\\na-b,1.0\\n"
    """
    table = columns(frame)
    safe = table.map(_inert).rename(columns=_inert)
    return safe.to_csv(index=False, lineterminator="\n")


_FORMULA = re.compile(
    r"^(?=[\t\r\n]|\s*[=+\-@\uff1d\uff0b\uff0d\uff20])"  # the wide forms count in East Asia
    r"|(?<=[;,\t\r\n])(?=\s*[=@\uff1d\uff20]|[+-](?![0-9]))"
)


def _inert(cell: Any) -> Any:
    """A cell's text with no formula in it; a number in text, or another type, as it is."""
    text = str(cell) if isinstance(cell, list | tuple | dict) else cell
    if not isinstance(text, str) or _NUMBER.fullmatch(text):
        return cell
    return _FORMULA.sub("'", text)


_NUMBER = re.compile(r"[-+]?[0-9][0-9_,.]*([eE][-+]?[0-9]+)?( ?%)?")


def columns(frame: pd.DataFrame) -> pd.DataFrame:
    """A table with a named index moved into its columns, and a nameless one dropped.

    >>> list(columns(pd.DataFrame({"usd": [2]}, index=pd.Index(["api"], name="arm"))))
    ['arm', 'usd']
    """
    named = any(name is not None for name in frame.index.names)
    return frame.reset_index(drop=not named)


def missing(item: Any) -> bool:
    """Whether a table's cell is empty: None, NaN or NaT."""
    return item is None or (pd.api.types.is_scalar(item) and bool(pd.isna(item)))


def _rounded(x: float, at: str) -> float:
    if not math.isfinite(x):
        raise ValueError(f"{at} is {x}, which JSON does not have: write None if it means never.")
    return float(f"{x:.{SIGNIFICANT_DIGITS}g}") + 0.0  # + 0.0: there is one zero, not two


def _rows(frame: pd.DataFrame, at: str) -> list[dict[str, Any]]:
    if not frame.columns.is_unique:
        raise ValueError(f"{at} has two columns of one name: rename one.")
    rows: list[dict[Any, Any]] = columns(frame).to_dict(orient="records")
    return [
        {
            _key(key, at): None if missing(item) else plain(item, f"{at}[{i}].{key}")
            for key, item in row.items()
        }
        for i, row in enumerate(rows)
    ]


def _key(key: Any, at: str) -> str:
    if not isinstance(key, str):
        raise ValueError(f"{at} has the key {key!r}, but a key must be text.")
    return str(key)


def run_inputs(made: Mapping[str, Any]) -> dict[str, str | None]:
    """The inputs of a run, by a name for readers, each with its hash or version.

    made: as `made_of`; it may hold more, and that of an older run may lack some.

    >>> run_inputs({"package": "0.1.0", "data_sha256": {"a.csv": "1f"}})["data/a.csv"]
    '1f'
    """
    data = {f"data/{name}": sha for name, sha in made.get("data_sha256", {}).items()}
    chapters = made.get("notebooks_sha256", {})
    return {
        **data,
        **{f"the notebook {name}": sha for name, sha in chapters.items()},
        "the study file": made.get("study_sha256"),
        "the request log": made.get("log_sha256"),
        "the probe runs": made.get("probes_sha256"),
        "requirements.lock": made.get("lock_sha256"),
        "the code of llmstudy": made.get("code_sha256"),
        "the version of llmstudy": made["package"],
    }


def sha256(file: Path) -> str:
    """SHA-256 of a file's bytes."""
    with file.open("rb") as stream:  # a log may be larger than the memory
        return hashlib.file_digest(stream, "sha256").hexdigest()

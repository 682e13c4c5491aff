"""How is a result written? Equal values give equal text, so that runs can be compared byte by byte.

Keys keep their order, since the order of a table's columns is meant for readers. Floats have 10
significant digits, dates are ISO text, tables are lists of rows. There is no NaN and no Infinity:
`null` means "never" or "not available", and the caller says which of the two.

Files are compared by their SHA-256.
"""

import hashlib
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

SIGNIFICANT_DIGITS = 10
"""More would differ between processors, and no input of a study is that precise."""


def plain(value: Any, at: str = "results") -> Any:
    """A result in JSON's own types: None, bool, int, float, str, list and dict.

    value: these, and tuples, dataclasses, dates, paths, numpy scalars and arrays, and DataFrames (a
    list of one dict per row, where a missing value is null). at: path of the value, for errors.
    Raises: ValueError that names the path, such as `results.arms[2].p99_s`, for a NaN, an Infinity,
    a key that is not text or a type that JSON lacks.

    >>> plain({"b": np.float32(0.25), "a": (date(2026, 11, 23), None)})
    {'b': 0.25, 'a': ['2026-11-23', None]}
    >>> plain({"p99_s": float("inf")})
    Traceback (most recent call last):
    ValueError: results.p99_s is inf, which JSON does not have: use None for 'never'.
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
    r"""A result as canonical JSON text: equal values give the same bytes.

    value: as `plain`. Raises: ValueError as `plain` does.

    >>> dumps({"b": 1 / 3, "a": [1, None]})
    '{\n  "b": 0.3333333333,\n  "a": [\n    1,\n    null\n  ]\n}\n'
    """
    text = json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False)
    return text + "\n"


def write(path: Path, content: str | bytes) -> None:
    """Writes a file, whole or not at all, and makes its folder where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # the process id: two chapters that run at once must not write the same draft
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_bytes(content.encode() if isinstance(content, str) else content)
    draft.replace(path)


def csv(frame: pd.DataFrame) -> str:
    """A table as CSV in which a spreadsheet runs no formula.

    Text that a spreadsheet could read as a formula, at its start or after what may end a cell, gets
    an apostrophe there, which spreadsheets hide. Numbers stay numbers.
    Source: OWASP, CSV Injection.

    >>> csv(pd.DataFrame({"route": ["=1+1", "a-b"], "usd": [-2.5, 1]}))
    "route,usd\\n'=1+1,-2.5\\na-b,1.0\\n"
    """
    table = columns(frame)
    safe = table.map(_without_formula).rename(columns=_without_formula)
    return safe.to_csv(index=False, lineterminator="\n")


_FORMULA = re.compile(
    r"^(?=[\t\r\n]|\s*[=+\-@\uff1d\uff0b\uff0d\uff20])"  # full-width forms, as typed in East Asia
    r"|(?<=[;,\t\r\n])(?=\s*[=@\uff1d\uff20]|[+-](?![0-9]))"
)


def _without_formula(cell: Any) -> Any:
    """A cell whose text holds no formula; numbers, also as text, and other types are unchanged."""
    text = str(cell) if isinstance(cell, list | tuple | dict) else cell
    if not isinstance(text, str) or _NUMBER.fullmatch(text):
        return cell
    return _FORMULA.sub("'", text)


def unguarded(cell: str) -> str:
    """Text as it was before `csv` put apostrophes where a spreadsheet could read a formula.

    >>> unguarded("'=1+1"), unguarded("'tis")
    ('=1+1', "'tis")
    """
    bare = _GUARD.sub("", cell)
    return bare if _without_formula(bare) == cell else cell


_GUARD = re.compile(r"'(?=[\t\r\n]|\s*[=+\-@\uff1d\uff0b\uff0d\uff20])")

_NUMBER = re.compile(r"[-+]?[0-9][0-9_,.]*([eE][-+]?[0-9]+)?( ?%)?")


def columns(frame: pd.DataFrame) -> pd.DataFrame:
    """A table with its index as columns if it has a name, and without it otherwise.

    >>> list(columns(pd.DataFrame({"usd": [2]}, index=pd.Index(["api"], name="arm"))))
    ['arm', 'usd']
    """
    has_name = any(name is not None for name in frame.index.names)
    return frame.reset_index(drop=not has_name)


def missing(item: Any) -> bool:
    """Whether a table's cell is empty: None, NaN or NaT."""
    return item is None or (pd.api.types.is_scalar(item) and bool(pd.isna(item)))


def _rounded(x: float, at: str) -> float:
    if not math.isfinite(x):
        raise ValueError(f"{at} is {x}, which JSON does not have: use None for 'never'.")
    return float(f"{x:.{SIGNIFICANT_DIGITS}g}") + 0.0  # + 0.0: there is one zero, not two


def _rows(frame: pd.DataFrame, at: str) -> list[dict[str, Any]]:
    if not frame.columns.is_unique:
        raise ValueError(f"{at} has two columns of the same name: rename one of them.")
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
        raise ValueError(f"{at} has the key {key!r}, but JSON keys are text: rename it.")
    return str(key)


def run_inputs(provenance: Mapping[str, Any]) -> dict[str, str | None]:
    """The inputs of a run: a name for readers -> its hash or version, None where not recorded.

    provenance: the hashes of a run's `provenance.json`; other keys are ignored.

    >>> run_inputs({"package": "0.1.0", "data_sha256": {"a.csv": "1f"}})["data/a.csv"]
    '1f'
    """
    data = {f"data/{name}": sha for name, sha in provenance.get("data_sha256", {}).items()}
    chapters = provenance.get("notebooks_sha256", {})
    return {
        **data,
        **{f"the notebook {name}": sha for name, sha in chapters.items()},
        "the study file": provenance.get("study_sha256"),
        "the request log": provenance.get("log_sha256"),
        "the evaluation": provenance.get("evaluations_sha256"),
        "the probe runs": provenance.get("probes_sha256"),
        "requirements.lock": provenance.get("lock_sha256"),
        "the code of llmstudy": provenance.get("code_sha256"),
        "the version of llmstudy": provenance["package"],
    }


def sha256(file: Path) -> str:
    """SHA-256 of a file's bytes."""
    with file.open("rb") as stream:  # a log may be larger than the memory
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_of_all(files: Sequence[Path]) -> str:
    """One SHA-256 of the contents of files, and of their paths below the folder of all."""
    root = os.path.commonpath([file.parent for file in files])
    hashes = {file.relative_to(root).as_posix(): sha256(file) for file in files}
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()

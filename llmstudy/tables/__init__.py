"""Which tables does a study make, what do their columns mean, and how does a page show them?

Each table is described once, in `tables.csv`: its caption, the columns that a page shows and
those that `results.json` promises. Each column is described once for all tables, in
`columns.csv`, or as `table.column` where its name means something else in one of them.
Code names in cells have their labels in `cell_labels.csv`, uncertain inputs in `inputs.csv`. Files
of tables keep the code names and every column; only pages show labels.
"""

import csv
import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from markupsafe import Markup
from pydantic import BaseModel, ConfigDict, Field, create_model

from llmstudy import io
from llmstudy.text import count, never_or, share


@dataclass(frozen=True)
class Column:
    """A column of a result table.

    type: text, texts, number, whole, share (0..1, shown in per cent), count (shown as 1.2M), reach
    (the same; null is never), flag, spread, sides, or the values that it may take, parted by `|`;
    with `?` behind it where it may be null.
    """

    name: str
    type: str
    label: str
    meaning: str


@dataclass(frozen=True)
class Table:
    """A result table.

    shown: the columns on a page, or all; promised: those in `results.json`. says_none: whether a
    page says so where the table has no row.
    """

    name: str
    caption: str
    says_none: bool
    shown: tuple[str, ...]
    promised: tuple[str, ...]


@cache
def tables() -> Mapping[str, Table]:
    """Every result table that a page shows or `results.json` promises, by name."""
    return {
        row["table"]: Table(
            row["table"],
            row["caption"],
            bool(row["says_none"]),
            tuple(row["shown"].split()),
            tuple(row["promised"].split()),
        )
        for row in _rows("tables.csv")
    }


@cache
def _columns() -> Mapping[str, Column]:
    return {
        row["column"]: Column(
            row["column"].rpartition(".")[2], row["type"], row["label"], row["meaning"]
        )
        for row in _rows("columns.csv")
    }


def column(name: str, table: str = "") -> Column | None:
    """A column of a table; None if it is not described.

    >>> column("p_never", "waiting").label, column("p_never").type
    ('never moves', 'share')
    """
    described = _columns()
    return described.get(f"{table}.{name}") or described.get(name)


def _rows(file: str) -> list[dict[str, str]]:
    with (Path(__file__).parent / file).open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


Rows = pd.DataFrame | Sequence[Mapping[str, Any]]
"""A result table, as a frame or as the rows that a chapter's results hold."""


def with_percentiles(rows: Rows, column: str) -> pd.DataFrame:
    """The table with the percentiles of one of its columns as p10, p50, p90; null is NaN.

    Without such a column it has them already.

    >>> with_percentiles([{"usd": {"p10": 1, "p50": 2, "p90": None}}], "usd").to_dict("records")
    [{'p10': 1.0, 'p50': 2.0, 'p90': nan}]
    """
    table, ends = pd.DataFrame(rows).reset_index(drop=True), ["p10", "p50", "p90"]
    if column in table:
        table = table.drop(columns=column).join(pd.DataFrame(list(table[column]), columns=ends))
    return table.astype(dict.fromkeys(ends, float)) if len(table) else table


# ---- what results.json promises -----------------------------------------------------------------


class Record(BaseModel):
    """A part of `results.json`: all that it holds is described, and nothing is missing."""

    model_config = ConfigDict(extra="forbid")


class Spread(Record):
    """An 80 % range and its middle."""

    p10: float | None
    p50: float | None
    p90: float | None


class SideRecord(Record):
    """What acting on one side of a disagreement costs. null: not priced."""

    side: str
    usd: float | None
    low_usd: float | None
    high_usd: float | None
    against: str


_TYPES: Mapping[str, Any] = {
    **{"text": str, "texts": list[str], "number": float, "share": float, "whole": int},
    **{"flag": bool, "spread": Spread, "sides": list[SideRecord]},
}


@cache
def record(name: str) -> type[Record]:
    """The type of a table's rows in `results.json`.

    Raises: KeyError for a table, or a promised column, that is not described.

    >>> record("switching").model_fields["within_a_week"].annotation
    typing.Literal['yes', 'no', 'unknown']
    """
    table = tables()[name]
    fields = {}
    for promised in table.promised:
        entry = column(promised, name)
        if entry is None:
            raise KeyError(f"{name}.{promised}")
        fields[promised] = (_type(entry.type), Field(description=entry.meaning))
    row_type: type[Record] = create_model(
        f"{name}_row", __base__=Record, __doc__=table.caption, **fields
    )  # type: ignore[call-overload]
    return row_type


def _type(name: str) -> Any:
    plain = name.removesuffix("?")
    values = tuple(int(x) if x.isdigit() else x for x in plain.split("|"))
    kind = _TYPES[plain] if plain in _TYPES else Literal[values]
    return kind | None if name.endswith("?") else kind


# ---- in words -----------------------------------------------------------------------------------

LEVELS = ("low", "low-medium", "medium", "medium-high", "high")
"""How the source memo rates a likelihood or an impact, least first."""

_SPELT = {
    **{"usd": "USD", "mtok": "Mtok", "gpu": "GPU", "gpus": "GPUs", "api": "API", "slo": "SLO"},
    **{"ttft": "TTFT", "tpot": "TPOT"},
}
_UNITS = ("usd", "s", "ms")


def heading(name: str, table: str = "") -> str:
    """A column's name as the heading of a table, its unit behind it.

    A name that is words already stays as it is.

    >>> heading("usd_per_mtok"), heading("low_usd"), heading("ttft_p95_s"), heading("80 % range")
    ('USD per Mtok', 'low, USD', 'TTFT p95, s', '80 % range')
    """
    entry = column(name, table)
    if entry and entry.label:
        return entry.label
    if not re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", name):
        return name.replace("_", " ")
    *first, last = (_SPELT.get(word, word) for word in name.split("_"))
    if first and name.split("_")[-1] in _UNITS:
        return f"{' '.join(first)}, {last}"
    return " ".join([*first, last])


@dataclass(frozen=True)
class Input:
    """An uncertain input.

    stated_in: "workload" or "study", the part of the study file that states it at `place`; "" for
    one computed from a route or a measurement (`simulate.inputs.inputs`), whose path in the ledger
    `place` then is. bears_on: the arms of which the bill depends on it: any, api (both),
    self_hosted, proprietary_api or hosted_open; "" for the path of a price or volume.
    """

    name: str
    label: str
    stated_in: str
    place: str
    bears_on: str


@cache
def inputs() -> Mapping[str, Input]:
    """Every uncertain input that a bill or a saving is drawn from, by name, in the order of the
    draws: a ranking by Sobol indices depends on it."""
    return {row["input"]: Input(*row.values()) for row in _rows("inputs.csv")}


@cache
def _labels() -> Mapping[str, Mapping[str, str]]:
    labels: dict[str, dict[str, str]] = {}
    for row in _rows("cell_labels.csv"):
        for name in row["columns"].split():
            labels.setdefault(name, {})[row["value"]] = row["label"]
    return labels


def named(name: str, text: str) -> str:
    """A cell's text with the code names in it replaced by their labels.

    >>> named("rule", "always_now"), named("field", "spare"), named("route", "spare")
    ('move now', 'spare replicas', 'spare')
    >>> named("input", "drift_gpu")
    'GPU price drift'
    """
    if name == "input":
        return inputs()[text].label if text in inputs() else text
    labels = _labels().get(name)
    return _pattern(name).sub(lambda match: labels[match[0]], text) if labels else text


@cache
def _pattern(name: str) -> re.Pattern[str]:
    longest_first = sorted(_labels()[name], key=len, reverse=True)
    return re.compile(rf"\b({'|'.join(map(re.escape, longest_first))})\b")


# ---- on a page ----------------------------------------------------------------------------------


def page_table(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """What a page shows of a table: the columns that it shows, or all; shares in per cent."""
    columns = {key: column(key, name) for key in tables()[name].shown or map(str, frame.columns)}
    cells = {
        key: frame[key].map(_WRITERS[kind]) if kind in _WRITERS else frame[key]
        for key, entry in columns.items()
        for kind in [entry.type.removesuffix("?") if entry else ""]
    }
    return pd.DataFrame(cells)


_WRITERS = {
    "share": lambda x: None if io.missing(x) else share(x),
    "count": lambda x: None if io.missing(x) else count(x),
    "reach": lambda x: never_or(None if io.missing(x) else x, count),
}
"""Column type -> how a page writes its cells."""


def table_html(frame: pd.DataFrame, caption: str, table: str = "") -> str:
    """A table as plain HTML: escaped, figures to the right, the first column heading each row.

    Code names in headings and cells become labels, those of the result table `table`; `Markup` is
    HTML already. Numbers are shown to four digits, with every digit left
    of the point; a missing one as a dash. Text that reads as a figure ("USD 1.2M", "83 %",
    "never") is set like one.

    >>> print(table_html(pd.DataFrame({"arm": ["a<b"], "usd": [1234567.8]}), "Cost"))
    <div class="table" role="region" tabindex="0" aria-label="Cost"><table>
    <caption>Cost</caption>
    <thead>
    <tr><th scope="col">arm</th><th scope="col" class="n">USD</th></tr>
    </thead>
    <tbody>
    <tr><th scope="row">a&lt;b</th><td class="n">1,234,568</td></tr>
    </tbody>
    </table></div>
    """
    numeric = [_is_numeric(frame.iloc[:, i]) for i in range(frame.shape[1])]
    heads = "".join(
        f'<th scope="col"{_class(right)}>{_escaped(heading(str(name), table))}</th>'
        for name, right in zip(frame.columns, numeric, strict=True)
    )
    labelled = [
        [_labelled(str(name), cell) for cell in frame.iloc[:, i]]
        for i, name in enumerate(frame.columns)
    ]
    rows = "\n".join(_row(row, numeric) for row in zip(*labelled, strict=True))
    label = _escaped(_plain(caption))
    return (
        f'<div class="table" role="region" tabindex="0" aria-label="{label}"><table>\n'
        f"<caption>{_escaped(caption)}</caption>\n<thead>\n<tr>{heads}</tr>\n</thead>\n"
        f"<tbody>\n{rows}\n</tbody>\n</table></div>"
    )


_FIGURE = re.compile(r"never|[<>+−-]{0,2}(USD )?\d[\d.,]*[kMB]?( %)?( to .+)?")


def _is_numeric(column: pd.Series) -> bool:
    cells = column.dropna()
    return not cells.empty and all(
        _FIGURE.fullmatch(_plain(cell)) if isinstance(cell, str) else pd.api.types.is_number(cell)
        for cell in cells
    )


def _plain(cell: str) -> str:
    return cell.striptags() if isinstance(cell, Markup) else cell


def _labelled(column: str, cell: Any) -> Any:
    return named(column, cell) if isinstance(cell, str) and not isinstance(cell, Markup) else cell


def _row(cells: tuple[Any, ...], numeric: list[bool]) -> str:
    # short text stays on one line: "USD 2.29" is one thing
    texts = [cell if isinstance(cell, Markup) else _cell(cell) for cell in cells]
    texts = [text if len(text) > 12 else text.replace(" ", "\u00a0") for text in texts]
    texts = [_escaped(text) for text in texts]
    head = f'<th scope="row"{_class(numeric[0])}>{texts[0]}</th>' if texts else ""
    rest = zip(texts[1:], numeric[1:], strict=True)
    return f"<tr>{head}{''.join(f'<td{_class(n)}>{text}</td>' for text, n in rest)}</tr>"


def _cell(cell: Any) -> str:
    if io.missing(cell):
        return "–"
    if pd.api.types.is_bool(cell):
        return "yes" if cell else "no"
    if pd.api.types.is_number(cell):
        return _number(float(cell))  # type: ignore[arg-type]
    if isinstance(cell, date):  # a moment too, to the second
        return str(cell).partition(".")[0].partition("+")[0].removesuffix(" 00:00:00")
    return str(cell)


def _number(x: float) -> str:
    if abs(x) >= 1000 or x.is_integer():
        return f"{x:,.0f}".replace("-", "−")
    if abs(x) < 1e-6:
        return "under 0.000001" if x > 0 else "−0.000001 to 0"
    return np.format_float_positional(x, 4, fractional=False, trim="-").replace("-", "−")


def _class(right: bool) -> str:
    return ' class="n"' if right else ""


def _escaped(text: str) -> str:
    return text if isinstance(text, Markup) else html.escape(text, quote=True)

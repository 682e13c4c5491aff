"""Which risks weigh most, and which of them are active?"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from llmstudy.charts.drawing import blank, finish, wrap
from llmstudy.charts.style import ACCENT, GREY, INK, PALE, WIDTH_IN, Chart
from llmstudy.charts.tables import look_up, need, numbered, of_rows, once
from llmstudy.tables import LEVELS, Rows


class _Mark(NamedTuple):
    """The look of a state; shape and weight differ too, for readers without colour."""

    shape: str
    color: str
    weight: str


MARKS = {
    "active": _Mark("●", ACCENT, "bold"),
    "warning": _Mark("▲", INK, "bold"),
    "quiet": _Mark("○", GREY, "normal"),
    "no live evidence": _Mark("–", GREY, "normal"),
}

UNRATED = "not rated"

_LINE_IN = 0.13
_MARGIN_IN = 0.06
_NAMES_IN = 0.9


class _Entry(NamedTuple):
    """A risk in a cell, wrapped to its width."""

    text: str
    mark: _Mark


@of_rows
def risk_register(risks: pd.DataFrame, indicators: Rows) -> Chart:
    """The risk register as a grid of likelihood and impact, each risk marked by its state.

    risks: id, risk, likelihood and impact (low to high; empty: not rated), state (active, warning,
    quiet, no live evidence), live (its evidence in words). indicators: state, grade.
    """
    need("risks", risks, "id risk likelihood impact state live")
    once("risks", risks, "id")
    rated = risks[(risks["likelihood"] != "") & (risks["impact"] != "")]
    unrated = risks.drop(rated.index)
    impacts = _levels(rated, "impact") or [UNRATED]
    likelihoods = _levels(rated, "likelihood")[::-1]
    width_in = (WIDTH_IN - _NAMES_IN) / len(impacts)
    cells = [
        [
            _entries(rated[(rated["likelihood"] == y) & (rated["impact"] == x)], width_in)
            for x in impacts
        ]
        for y in likelihoods
    ]
    if len(unrated):  # spread over all columns, since none is theirs
        parts = np.array_split(np.arange(len(unrated)), len(impacts))
        cells.append([_entries(unrated.iloc[part], width_in) for part in parts])
    names = [*likelihoods, *([UNRATED] if len(unrated) else [])]
    heights = [max(map(_height, row)) for row in cells]
    tops = np.concatenate([[0.0], np.cumsum(heights)])
    title = _finding(risks)
    legend = " · ".join(f"{mark.shape} {state}" for state, mark in MARKS.items())
    grades = {
        row.grade for _, row in numbered(pd.DataFrame(indicators)) if row.state != "no evidence"
    }
    note = f"likelihood and impact: the source memo's · indicators: {', '.join(sorted(grades))}"
    figure = blank(title, f"{legend} · {note if grades else note + 'no evidence'}", 0.9 + tops[-1])
    ax = figure.subplots()
    for y, row in enumerate(cells):
        for x, cell in enumerate(row):
            _write(ax, cell, x * width_in, tops[y])
        spans = len(impacts) if y == len(likelihoods) else 1  # an unrated risk has no column
        for x in range(0, len(impacts), spans):
            box = (x * width_in, tops[y]), spans * width_in, heights[y]
            ax.add_patch(Rectangle(*box, facecolor="none", edgecolor=PALE, lw=0.8))
    ax.set(xlim=(0, len(impacts) * width_in), ylim=(tops[-1], 0), ylabel="likelihood")
    ax.set_yticks((tops[:-1] + tops[1:]) / 2, labels=[wrap(n, 0.6) for n in names])
    ax.set_xticks((np.arange(len(impacts)) + 0.5) * width_in, labels=impacts)
    ax.xaxis.tick_top()
    ax.set_xlabel("impact")
    ax.xaxis.set_label_position("top")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return finish(figure, f"{title}. {'; '.join(_facts(risks))}.")


def _levels(rated: pd.DataFrame, column: str) -> list[str]:
    """The levels that a rating uses, lowest first. Raises: ValueError for an unknown one."""
    order = {level: i for i, level in enumerate(LEVELS)}
    return sorted(set(rated[column]), key=lambda level: look_up("a level", level, order))


def _entries(risks: pd.DataFrame, width_in: float) -> list[_Entry]:
    """The risks of a cell, active ones first."""
    entries = []
    for _, row in numbered(risks):
        mark = look_up("a state", row.state, MARKS)
        # bold text is wider than the text that `wrap` measures
        text = wrap(f"{mark.shape} {row.id} {row.risk}", width_in - 0.25, lines=3)
        entries.append(_Entry(text, mark))
    return sorted(entries, key=lambda entry: list(MARKS.values()).index(entry.mark))


def _height(cell: list[_Entry]) -> float:
    """The height of a cell with all of its lines, in inches."""
    lines = sum(entry.text.count("\n") + 1 for entry in cell)
    return _LINE_IN * max(lines, 1) + 2 * _MARGIN_IN


def _write(ax: Axes, cell: list[_Entry], left: float, top: float) -> None:
    """Writes the risks of one cell, from the top down."""
    y = top + _MARGIN_IN
    for entry in cell:
        ax.text(
            left + 0.06,
            y,
            entry.text,
            ha="left",
            va="top",
            color=entry.mark.color,
            weight=entry.mark.weight,
            linespacing=1.1,
        )
        y += _LINE_IN * (entry.text.count("\n") + 1)


def _finding(risks: pd.DataFrame) -> str:
    """A title: how many risks are active, and which."""
    tally = risks["state"].value_counts()
    active = risks.loc[risks["state"] == "active", "id"]
    which = f" ({', '.join(active)})" if len(active) else ""
    warn, blind = tally.get("warning", 0), tally.get("no live evidence", 0)
    return (
        f"{len(active) or 'None'} of {len(risks)} risks {'is' if len(active) < 2 else 'are'} "
        f"active{which}; {warn} {'warns' if warn == 1 else 'warn'}, "
        f"{blind} {'has' if blind == 1 else 'have'} no live evidence"
    )


def _facts(risks: pd.DataFrame) -> list[str]:
    """Every risk in words."""
    facts = []
    for _, row in numbered(risks):
        rated = f"likelihood {row.likelihood}, impact {row.impact}"
        rating = rated if row.likelihood and row.impact else UNRATED
        facts.append(
            f"{row.id} {row.risk}, {rating}: {row.state}{f', {row.live}' * bool(row.live)}"
        )
    return facts

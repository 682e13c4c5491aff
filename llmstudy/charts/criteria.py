"""How does each arm do on the six criteria?"""

from collections import Counter
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from llmstudy.charts.drawing import blank, finish, name_rows, wrap
from llmstudy.charts.style import ACCENT, GREY, INK, PALE, WIDTH_IN, Chart
from llmstudy.charts.tables import look_of, need, numbered, of_rows, once

FIRM = ("measured", "recorded", "published")
"""Grades that rest on neither judgement nor a second-hand source."""

MOST = 4
"""The best score of the scale."""

_LABELS_IN = 2.1
"""Room for the names of the rows."""


@of_rows
def criteria(scores: pd.DataFrame) -> Chart:
    """Scores of every workload and arm on every criterion: the darker, the better.

    scores: one row per cell: id, criterion, workload, arm, score (0 to 4; null: no evidence), grade
    (null: no route), overridden (whether privacy bars the arm).
    Raises: ValueError if the table lacks columns or rows, or has a cell twice.
    """
    need("scores", scores, "id criterion workload arm score grade overridden")
    once("scores", scores, "id workload arm")
    table = scores.astype({"score": float})
    heads = table[["id", "criterion"]].drop_duplicates("id").sort_values("id", kind="stable")
    lines = dict.fromkeys(zip(table["workload"], table["arm"], strict=True))
    at_row = {line: y for y, line in enumerate(lines)}
    at_column = {id_: x for x, id_ in enumerate(heads["id"])}
    title = _title(table)
    note = (
        "0: fails outright · 4: met with room to spare · ?: not enough evidence for a score · "
        "word: the weakest grade behind it"
    )
    figure = blank(title, note, 0.95 + 0.36 * len(at_row))
    ax = figure.subplots()
    cell_in = (WIDTH_IN - _LABELS_IN) / len(at_column) - 0.05
    row_facts: dict[Any, list[str]] = {line: [] for line in at_row}
    for _, row in numbered(table):
        line = row.workload, row.arm
        at = at_column[row.id], at_row[line]
        row_facts[line].append(f"{row.criterion} {_cell(ax, at, row, cell_in)}")
    ax.set_xlim(-0.5, len(at_column) - 0.5)
    names = [f"{row.id}\n{wrap(row.criterion, cell_in + 0.15)}" for _, row in numbered(heads)]
    ax.set_xticks(range(len(at_column)), labels=names)
    ax.xaxis.tick_top()
    name_rows(ax, [w for w, _ in at_row], [look_of(arm).name for _, arm in at_row])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    cells = "; ".join(
        f"{workload}, {look_of(arm).name}: {', '.join(row_facts[workload, arm])}"
        for workload, arm in at_row
    )
    return finish(figure, f"{title}. {cells}.")


def _title(table: pd.DataFrame) -> str:
    """A title: how many scores have evidence and of what grade, and how many arms fail."""
    scored = table[table["score"].notna()]
    firm = scored["grade"].isin(FIRM).sum()
    title = (
        f"{len(scored)} of {len(table)} scores can be given, {firm} on published evidence or better"
    )
    failed = scored[scored["score"] == 0]
    if len(failed):
        tally = Counter(zip(failed["arm"], failed["criterion"], strict=True))
        (arm, criterion), most = tally.most_common(1)[0]
        title += f"; {len(failed)} {'fails' if len(failed) == 1 else 'fail'} outright"
        title += f", {most} of them {look_of(arm).name} on {criterion}"
    barred = table[table["overridden"].astype(bool)].groupby(["workload", "arm"]).ngroups
    if barred:
        title += f"; privacy rules out {barred} {'way' if barred == 1 else 'ways'} of serving"
    return title


def _cell(ax: Axes, at: tuple[int, int], row: Any, width_in: float) -> str:
    """Draws one score with its grade. Returns: both in words."""
    scored, barred = pd.notna(row.score), bool(row.overridden)
    alarm = barred or (scored and row.score == 0)
    grade = "" if pd.isna(row.grade) else str(row.grade)
    word = "barred" if barred else f"{row.score:.0f}" if scored else "?"
    beneath = "privacy" if barred else grade if scored else "no evidence" if grade else "no route"
    ground = mpl.colormaps["Greys"](0.45 * row.score / MOST) if scored else "white"
    ax.add_patch(
        Rectangle(
            (at[0] - 0.47, at[1] - 0.45),
            0.94,
            0.9,
            facecolor=ground,
            edgecolor=ACCENT if alarm else PALE,
            linestyle="-" if scored or barred else ":",
        )
    )
    style: dict[str, Any] = {"ha": "center", "color": INK if scored or barred else GREY}
    ax.text(*at, word, va="bottom", weight="bold" if scored else "normal", **style)
    ax.text(*at, wrap(beneath, width_in, lines=1), va="top", **style)
    return (
        f"{word} of {MOST} ({grade})" if scored else beneath if not barred else "barred by privacy"
    )

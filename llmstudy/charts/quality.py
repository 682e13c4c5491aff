"""Does another route answer as well as today's route?"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from llmstudy.charts.drawing import blank, finish, name_rows, right_label, top_label, wrap
from llmstudy.charts.style import ACCENT, GREY, INK, Chart
from llmstudy.charts.tables import by_workload, look_up, need, numbered, of_rows

VERDICT_MARKS = {  # marker, edge, face
    "non-inferior": ("o", INK, INK),
    "undecided": ("o", INK, "white"),
    "inferior": ("X", ACCENT, ACCENT),
}


@of_rows
def quality_forest(verdicts: pd.DataFrame) -> Chart:
    """The difference in quality of each comparison, a route minus today's, against its margin.

    verdicts: workload, route, difference, low, high, margin (shares; difference null: no paired
    items yet), verdict (non-inferior, inferior, undecided), grade, benchmark (the source of the
    items; null without any).
    """
    need("verdicts", verdicts, "workload route difference low high margin verdict grade benchmark")
    table = by_workload(verdicts).astype({"difference": float, "low": float, "high": float})
    scored = table["difference"].notna()
    tally = table.loc[scored, "verdict"].value_counts(sort=False)
    rest = ", ".join(f"{n} {verdict}" for verdict, n in tally.items() if verdict != "non-inferior")
    waiting = f"{(~scored).sum()} without paired items" if not scored.all() else ""
    title = (
        f"Quality holds its margin in {tally.get('non-inferior', 0)} of {scored.sum()} scored "
        f"comparisons{''.join(f'; {part}' for part in (rest, waiting) if part)}"
    )
    figure = blank(title, "", 0.9 + 0.32 * len(table))
    ax = figure.subplots()
    ends = 100 * np.concatenate([[0], -table["margin"], table["low"], table["high"]])
    room = 0.06 * (np.nanmax(ends) - np.nanmin(ends))
    ax.set_xlim(np.nanmin(ends) - room, np.nanmax(ends) + room)
    ax.axvline(0, color=GREY, lw=0.6)
    facts = [_difference(ax, y, row) for y, row in numbered(table)]
    top_label(ax, -100 * table["margin"][0], "margin", ACCENT)
    name_rows(ax, list(table["workload"]), list(table["route"]))
    ax.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    ax.set_xlabel("route minus today's route, percentage points (interval of the test)")
    readings = zip(table["workload"], table["route"], facts, strict=True)
    return finish(figure, f"{title}. {'; '.join(f'{w}, {r}: {f}' for w, r, f in readings)}.")


def _difference(ax: Axes, y: int, row: Any) -> str:
    """Draws one comparison with margin, interval and verdict. Returns: it in words."""
    margin = -100 * row.margin
    ax.plot([margin, margin], [y - 0.3, y + 0.3], color=ACCENT, lw=1.6)
    if np.isnan(row.difference):
        right_label(ax, y, "no paired items yet", GREY)
        return "no paired items yet"
    verdict = f"{row.verdict}: {row.benchmark}, {row.grade}"
    if getattr(row, "closeness", "") == "far":
        verdict = f"{row.benchmark}: too far from the task"
    marker, edge, face = look_up("a verdict", row.verdict, VERDICT_MARKS)
    ax.hlines(y, 100 * row.low, 100 * row.high, color=GREY)
    ax.plot(100 * row.difference, y, marker, mec=edge, mfc=face, ms=6)
    right_label(ax, y, wrap(verdict, 1.5, lines=3))
    return (
        f"{_points(row.difference)} [{_points(row.low)}, {_points(row.high)}] points, "
        f"margin {_points(-row.margin)}: {verdict}"
    )


def _points(difference: float) -> str:
    """A difference of shares in percentage points."""
    return f"{100 * difference:+.1f}".replace("-", "−")

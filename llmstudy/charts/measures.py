"""What does each route cost today, and how fast is its first token?"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from llmstudy.charts.drawing import blank, finish, log_ticks, name_rows, right_label, whisker, wrap
from llmstudy.charts.style import ACCENT, GREY, INK, PALE, Chart
from llmstudy.charts.tables import by_workload, look_of, look_up, need, numbered, of_rows
from llmstudy.text import count, usd

TARGETS = {"meets": INK, "undecided": "white", "misses": ACCENT}  # face of the mark


@of_rows
def month_bills(bills: pd.DataFrame, note: str) -> Chart:
    """The monthly bill of each token-billed route, today's route beside the others.

    bills: workload, route, arm, current, month_usd.
    """
    need("bills", bills, "workload route arm current month_usd")
    table = by_workload(bills)
    rows = [(w, part) for w, part in table.groupby("workload", sort=False)]
    cheaper = [w for w, part in rows if _cheapest(part) is not None]
    title = (
        f"{count(len(cheaper))} of {count(len(rows))} workloads have a route whose list price is "
        "below today's bill for tokens"
    )
    figure = blank(title, note, 1.0 + 0.36 * len(table))
    ax = figure.subplots()
    ax.set_xscale("log")
    facts = [_bill(ax, y, row) for y, row in numbered(table)]
    positive = table["month_usd"][table["month_usd"] > 0]
    ax.set_xlim(positive.min() / 1.6, positive.max() * 1.6)
    for y in np.flatnonzero(table["workload"].ne(table["workload"].shift())):
        ax.axhline(y - 0.5, color=PALE, lw=0.6)
    name_rows(ax, list(table["workload"]), list(table["route"]))
    log_ticks(ax.xaxis)
    ax.set_xlabel("USD a month for tokens, at today's volume (filled: today's route)")
    readings = zip(table["workload"], table["route"], facts, strict=True)
    return finish(figure, f"{title}. {'; '.join(f'{w}, {r}: {f}' for w, r, f in readings)}.")


def _cheapest(part: pd.DataFrame) -> float | None:
    """The lowest bill of a workload's other routes if it is below today's, else None."""
    today = part.loc[part["current"], "month_usd"]
    lowest = part.loc[~part["current"], "month_usd"].min()
    return float(lowest) if len(today) and lowest < today.iloc[0] else None


def _bill(ax: Axes, y: int, row: Any) -> str:
    """Draws one bill. Returns: it in words."""
    look = look_of(row.arm)
    face = look.color if row.current else "white"
    ax.plot(row.month_usd, y, look.marker, mec=look.color, mfc=face, ms=6)
    label = f"{usd(row.month_usd)}{', today' if row.current else ''}"
    right_label(ax, y, label)
    return f"{label}, {look.name}"


@of_rows
def first_tokens(latency: pd.DataFrame) -> Chart:
    """The p95 TTFT of each route against its target.

    latency: workload, route, target_s, ttft_p95_s, low_s, high_s (null: unknown), verdict (meets,
    misses, undecided), grade.
    """
    need("latency", latency, "workload route target_s ttft_p95_s low_s high_s verdict grade")
    times = ["target_s", "ttft_p95_s", "low_s", "high_s"]
    table = by_workload(latency).astype(dict.fromkeys(times, float))
    tally = [f"{count(int(n))} {v}" for v in TARGETS if (n := (table["verdict"] == v).sum())]
    note = "An unmeasured range never meets a target, and misses it if even its best case is late."
    title = f"First token at the p95 against its target: {', '.join(tally)}"
    figure = blank(title, note, 1.0 + 0.36 * len(table))
    ax = figure.subplots()
    ax.set_xscale("log")
    ends_s = table[times].to_numpy().ravel()
    ends_s = ends_s[np.isfinite(ends_s) & (ends_s > 0)]
    ax.set_xlim(ends_s.min() / 1.5, ends_s.max() * 1.5)
    facts = [_first_token(ax, y, row) for y, row in numbered(table)]
    name_rows(ax, list(table["workload"]), list(table["route"]))
    log_ticks(ax.xaxis)
    ax.set_xlabel("p95 time to first token, s (red: target; arrow: upper end unknown)")
    readings = zip(table["workload"], table["route"], facts, strict=True)
    return finish(figure, f"{title}. {'; '.join(f'{w}, {r}: {f}' for w, r, f in readings)}.")


def _first_token(ax: Axes, y: int, row: Any) -> str:
    """Draws one route's target and range. Returns: both in words."""
    face = look_up("a verdict", row.verdict, TARGETS)
    ax.plot([row.target_s] * 2, [y - 0.3, y + 0.3], color=ACCENT, lw=1.6)
    if np.isfinite(row.low_s) and np.isfinite(row.high_s):
        whisker(ax, y, row.low_s, row.high_s, GREY)
    elif np.isfinite(row.low_s):
        end = ax.get_xlim()[1]
        ax.plot([row.low_s, end], [y, y], "|-", color=GREY, lw=1.2, ms=6, markevery=[0])
        ax.plot(end, y, ">", color=GREY, ms=4, clip_on=False)
    if np.isfinite(row.ttft_p95_s):
        ax.plot(row.ttft_p95_s, y, "o", mec=INK, mfc=face, ms=6)
    label = f"{row.verdict} ({row.grade})"
    right_label(ax, y, wrap(label, 1.3))
    low, high = (f"{x:.3g}" if np.isfinite(x) else "unknown" for x in (row.low_s, row.high_s))
    return f"{low} to {high} s against {row.target_s:g} s, {label}"

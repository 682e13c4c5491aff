"""Which inputs decide, and which of them is worth measuring?"""

import numpy as np
import pandas as pd
from matplotlib.ticker import FuncFormatter, MaxNLocator

from llmstudy.charts.drawing import (
    beside,
    blank,
    finish,
    name_rows,
    plain_usd,
    right_label,
    tick,
    top_label,
)
from llmstudy.charts.style import GREY, INK, PALE, Chart
from llmstudy.charts.tables import need, numbered
from llmstudy.text import span, usd


def tornado(sensitivity: pd.DataFrame, base_usd: float, subject: str, note: str) -> Chart:
    """Which inputs decide: the outcome at each one's low and high end, the eight strongest.

    sensitivity: input, low_usd, high_usd (the outcome at the input's low and high end),
    total_effect, total_effect_error (Sobol index and the half-width of its interval).
    base_usd: the outcome with every input at its median. subject: the outcome, as a noun.
    """
    need("sensitivity", sensitivity, "input low_usd high_usd total_effect total_effect_error")
    table = sensitivity.sort_values("total_effect", ascending=False, ignore_index=True).head(8)
    ends = np.sort(table[["low_usd", "high_usd"]].to_numpy(dtype=float), axis=1)
    ranges = [span(left, right, usd) for left, right in ends]
    effects = [f"{r.total_effect:.2f} ± {r.total_effect_error:.2f}" for _, r in numbered(table)]
    title = (
        f"{table['input'][0]} decides most: {subject} is {ranges[0]} over its range, "
        f"{usd(base_usd)} in the base case"
    )
    figure = blank(title, note, 1.15 + 0.29 * len(table))
    ax = figure.subplots()
    left, right = min(base_usd, ends.min()), max(base_usd, ends.max())
    room = 0.3 * (right - left) or abs(base_usd) or 1.0
    ax.set(xlim=(left - room, right + room), xlabel=f"{subject} (USD)")
    if left < 0 < right:
        ax.axvline(0, color=GREY, lw=0.6, zorder=0)
    ax.axvline(base_usd, color=INK, lw=1, linestyle="--")
    top_label(ax, base_usd, f"base: {usd(base_usd)}")
    for y, row in numbered(table):
        left, right = ends[y]
        words = ("low", "high") if row.low_usd <= row.high_usd else ("high", "low")
        ax.barh(y, right - left, 0.55, left, color=PALE, edgecolor=GREY, lw=0.5)
        ax.plot(row.high_usd, y, "o", color=INK, ms=4)
        ax.plot(row.low_usd, y, "o", color=INK, mfc="white", ms=4)
        beside(ax, left, y, f"{words[0]}: {plain_usd(left)}", left=True)
        beside(ax, right, y, f"{words[1]}: {plain_usd(right)}", left=False)
        right_label(ax, y, effects[y])
    name_rows(ax, list(table["input"]))
    right_label(ax, -0.85, "total effect", GREY)
    ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    ax.xaxis.set_major_formatter(FuncFormatter(tick))
    said = zip(table["input"], ranges, effects, strict=True)
    return finish(
        figure, f"{title}. {'; '.join(f'{i}: {r}, total effect {e}' for i, r, e in said)}."
    )

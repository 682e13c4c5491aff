"""Figures, rows, ticks and labels of every chart, and where each label goes."""

import re
from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.text import Annotation, Text
from matplotlib.textpath import text_to_path
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from scipy.optimize import isotonic_regression

from llmstudy.charts.style import GREY, INK, ON_WHITE, SMALL_PT, STYLE, WIDTH_IN, Chart
from llmstudy.text import usd


def blank(title: str, note: str, height_in: float) -> Figure:
    """An empty figure with the title on top and the note below, both over the whole width.

    Not made with pyplot, which would keep it in memory. height_in: with a one-line title and note.
    """
    head = wrap(_with_units(title), WIDTH_IN - 0.4, 9, lines=4, weight="bold")
    foot = wrap(note, WIDTH_IN - 0.4, lines=3)
    height_in += 0.15 * head.count("\n") + 0.12 * foot.count("\n")
    figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
    figure.suptitle(head, x=0.01, ha="left")
    if foot:
        figure.supxlabel(foot, x=0.01, ha="left", color=GREY)
    return figure


def finish(figure: Figure, alt: str) -> Chart:
    """The finished chart, laid out once so that matplotlib does not do it at every drawing.

    The note, with the grades, is appended to the text alternative.
    """
    _lay_out(figure)
    figure.set_layout_engine("none")
    note = figure.get_supxlabel().replace("\n", " ")
    return Chart(figure, f"{alt} {note}".strip())


def _lay_out(figure: Figure) -> None:
    layout = figure.get_layout_engine()
    assert layout is not None
    layout.execute(figure)


def wrap(
    text: str, width_in: float, size: float = SMALL_PT, lines: int = 2, weight: str = "normal"
) -> str:
    """Text wrapped to a width, at spaces and after hyphens, and cut after some lines."""
    font = FontProperties(family=STYLE["font.family"], size=size, weight=weight)

    def fits(line: str) -> bool:
        width_pt = text_to_path.get_text_width_height_descent(line.strip(), font, ismath=False)[0]
        return bool(width_pt <= 72 * width_in)

    wrapped = [""]
    for piece in re.findall(r"(?:[^\s\-_/]|\xa0)*[\-_/]*\s*", text):
        if len(wrapped) > lines:
            break
        if wrapped[-1] and not fits(wrapped[-1] + piece):
            wrapped.append("")
        wrapped[-1] += piece
        while len(wrapped[-1]) > 1 and not fits(wrapped[-1]):  # a word wider than the line
            if len(wrapped) > lines:
                break
            # a longer part is a wider one: bisect
            parts = range(2, len(wrapped[-1]))
            cut = 1 + bisect_left(parts, True, key=lambda n: not fits(wrapped[-1][:n]))
            wrapped[-1:] = [wrapped[-1][:cut], wrapped[-1][cut:]]
    if len(wrapped) > lines:
        last = wrapped[lines - 1].strip()
        while last and not fits(last + "…"):
            last = last[:-1]
        wrapped = [*wrapped[: lines - 1], last + "…"]
    return "\n".join(line.strip().replace("\xa0", " ") for line in wrapped)


def plain_usd(x: float) -> str:
    """An amount without its currency, for an axis that says USD."""
    return usd(x).replace("USD ", "")


def _with_units(text: str) -> str:
    """Text with no-break spaces between numbers and their units."""
    return re.sub(r"(?<=\bUSD) | (?=%)", "\xa0", text)


def name_rows(ax: Axes, names: Sequence[str], seconds: Sequence[str] | None = None) -> None:
    """Names the rows 0, 1, ... from the top down. seconds: a second line for each name.

    Without second lines, a name is not repeated if the row above has the same.
    """
    if seconds is None:
        above = ["", *names[:-1]]
        labels = [
            "" if name == last else wrap(_with_units(name), 1.5)
            for name, last in zip(names, above, strict=True)
        ]
    else:
        labels = [
            f"{wrap(name, 1.9, lines=1)}\n{wrap(second, 1.9, lines=1)}"
            for name, second in zip(names, seconds, strict=True)
        ]
    label_rows(ax, labels)


def label_rows(ax: Axes, labels: Sequence[str]) -> None:
    """Sets labels beside the rows 0, 1, ... from the top down, without wrapping them."""
    ax.set_yticks(range(len(labels)), labels=labels)
    ax.set_ylim(len(labels) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0, pad=7)
    ax.spines["left"].set_visible(False)


def log_ticks(axis: Axis) -> None:
    """Sets the ticks of a logarithmic axis: the fewer decades, the more ticks."""
    low, high = axis.get_view_interval()
    decades = np.log10(high / low)
    subs = (1,) if decades >= 2.6 else (1, 2, 5) if decades >= 0.7 else tuple(range(1, 10))
    axis.set_major_locator(LogLocator(subs=subs, numticks=6 if decades > 10 else None))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(tick))


def even_ticks(axis: Axis) -> None:
    """Sets about five ticks of a linear axis, at round numbers."""
    axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(FuncFormatter(tick))


def tick(x: float, _: int | None = None) -> str:
    """A number on an axis, with enough digits to differ from the next tick."""
    units = ((1e9, "B"), (1e6, "M"), (1e3, "k"))
    unit, letter = next(((u, s) for u, s in units if abs(x) >= u), (1.0, ""))
    return f"{x / unit:g}{letter}".replace("-", "−")


def top_label(ax: Axes, x: float, text: str, color: str = INK) -> None:
    """Writes text above the axes at x, within their width. Set the limits of x first."""
    pixel = ax.get_xaxis_transform().transform((x, 0))
    at = ax.transAxes.inverted().transform(pixel)[0]
    ax.annotate(
        text,
        (x, 1),
        (0, 2),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="left" if at < 0.2 else "right" if at > 0.8 else "center",
        color=color,
    )


def whisker(ax: Axes, y: float, low: float, high: float, color: str = INK) -> None:
    """Draws an interval along x, with a cap at each end."""
    ax.plot([low, high], [y, y], "|-", color=color, lw=1.2, ms=6, mew=1.2)


def beside(ax: Axes, x: float, y: float, text: str, left: bool) -> None:
    """Writes text next to a mark, left or right of it."""
    ax.annotate(
        text,
        (x, y),
        (-6 if left else 6, 0),
        textcoords="offset points",
        ha="right" if left else "left",
        va="center",
        bbox=ON_WHITE,
    )


def above(
    ax: Axes, x: float, y: float, text: str, color: str = INK, weight: str = "normal"
) -> None:
    """Writes text above a mark."""
    ax.annotate(
        text,
        (x, y),
        (0, 3),
        textcoords="offset points",
        ha="center",
        va="bottom",
        color=color,
        fontweight=weight,
        bbox=ON_WHITE,
    )


def right_label(
    ax: Axes, y: float, text: str, color: str = INK, leader: bool = False
) -> Annotation:
    """Writes text right of the axes at y; with a leader line if `spread` may move it."""
    line = {"arrowstyle": "-", "color": color, "lw": 0.5, "relpos": (-0.05, 0.5)}
    line |= {"patchA": None, "shrinkA": 0, "shrinkB": 0}  # nothing to clip, which is slow
    return ax.annotate(
        text,
        (1, y),
        (14 if leader else 8, 0),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        va="center",
        color=color,
        arrowprops=line if leader else None,
    )


def spread(figure: Figure, ax: Axes, labels: Sequence[Annotation]) -> None:
    """Moves labels up or down until none overlaps another, with the least squares of the moves.

    For a fixed order and gaps between labels that is isotonic regression.
    """
    _lay_out(figure)
    boxes = [Text.get_window_extent(label) for label in labels]
    middles = np.array([(box.y0 + box.y1) / 2 for box in boxes])
    order = np.argsort(middles, kind="stable")
    heights = np.array([box.height for box in boxes])[order] + 2
    stacked = np.cumsum(heights) - heights / 2
    room = max(ax.bbox.y0, ax.bbox.y1 - heights.sum())
    placed = np.clip(isotonic_regression(middles[order] - stacked).x, ax.bbox.y0, room) + stacked
    for i, middle in zip(order, placed, strict=True):
        moved_pt = (middle - middles[i]) * 72 / figure.dpi
        labels[i].set_position((labels[i].get_position()[0], moved_pt))

"""The look of all charts: sizes, colours and fonts, and the figure as SVG."""

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from io import StringIO
from typing import Any, NamedTuple
from unicodedata import bidirectional

import matplotlib as mpl
from matplotlib.figure import Figure


class Chart(NamedTuple):
    """A figure, and its text alternative for a reader who cannot see it."""

    figure: Figure
    alt: str


@dataclass(frozen=True)
class Look:
    """The name and look of an arm; line and marker differ too, for readers without colour."""

    name: str
    color: str
    linestyle: str
    marker: str


WIDTH_IN = 6.85
SMALL_PT = 8.0
INK, GREY, PALE = "#222222", "#6b6b6b", "#d4d4d4"
ACCENT = "#b2182b"
"""The colour of limits and alarms: a margin, an SLO, a deadline, a fired trigger."""

ON_WHITE = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
"""A background for labels that lines would cross."""

ARMS = {
    "proprietary_api": Look("proprietary API", "#111111", "-", "o"),
    "hosted_open": Look("hosted open weights", "#0B4F8A", "--", "s"),
    "self_hosted": Look("self-hosted", "#B8520A", "-.", "D"),
}

LINES = [  # colour, line, marker: for routes, which have no `Look`
    (INK, "-", "o"),
    (INK, "--", "s"),
    (GREY, "-", "D"),
    (GREY, "--", "^"),
    (INK, "-.", "v"),
    (INK, ":", "P"),
    (GREY, "-.", "X"),
    (GREY, ":", "p"),
]

STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": SMALL_PT,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.labelsize": SMALL_PT,
    "axes.titlesize": SMALL_PT,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.labelsize": SMALL_PT,
    "figure.titlesize": 9.0,
    "figure.titleweight": "bold",
    "hatch.linewidth": 0.5,
    "lines.linewidth": 1.4,
    "text.color": INK,
    "text.hinting": "none",  # a label is then as wide on paper as on the screen
    "text.parse_math": False,  # a workload may have a dollar sign in its name
    "xtick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.color": GREY,
    "ytick.labelcolor": INK,
    "svg.fonttype": "path",
    "svg.hashsalt": "llmstudy",
}


def use_style() -> None:
    """Applies the common style to matplotlib. Importing this module does it once."""
    mpl.rcParams.update(STYLE)
    warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)  # see `svg`


use_style()


def svg(figure: Figure) -> str:
    """The figure as SVG; the same figure always gives the same text.

    Words are drawn as outlines, which look the same everywhere. Words with letters that
    matplotlib's font lacks or would set in the wrong order (Chinese, Arabic, emoji) stay text, for
    the reader's own fonts.

    >>> svg(Figure()).startswith("<?xml")
    True
    """
    drawing = StringIO()
    with mpl.rc_context(STYLE):  # a notebook may have set its own style since
        figure.savefig(drawing, format="svg", metadata={"Date": None})
    return with_text(drawing.getvalue(), _needs_other_font)


_OUTLINES = re.compile(
    r"<!-- ([^\n]+) -->\s*"
    r'<g style="([^"]*)" transform="([^"]*?) scale\(([\d.]+) -[\d.]+\)">(.*?)</g>',
    re.DOTALL,
)
"""Words as matplotlib draws them in SVG: a comment with the text, then an outline per letter."""

_NO_FONT = "LastResort"
"""The font of matplotlib's empty boxes."""


def with_text(drawing: str, chosen: Callable[[str, str], bool]) -> str:
    """An SVG of `svg` with some of its words as text instead of outlines.

    chosen: takes words and their outlines, and returns whether they become text.
    """

    def words(match: re.Match[str]) -> str:
        text, style, place, scale, outlines = match.groups()
        if not chosen(text, outlines):
            return match[0]
        weight = "bold" if "DejaVuSans-Bold" in outlines else "normal"
        font = f"font-family: Chart, sans-serif; font-weight: {weight}"
        font += f"; font-size: {100 * float(scale):g}px"
        # later words may use a letter whose outline stands here
        outlined = re.findall(rf'<path id="(?!{_NO_FONT}).*?/>', outlines, re.DOTALL)
        letters = f"<defs>{''.join(outlined)}</defs>" if outlined else ""
        return f'{letters}<text style="{style}; {font}" transform="{place}">{text}</text>'

    return _OUTLINES.sub(words, drawing)


def _needs_other_font(text: str, outlines: str) -> bool:
    return _NO_FONT in outlines or any(bidirectional(c) in ("R", "AL") for c in text)

"""What does the evidence look like? One function per chart.

Each takes result tables and returns a `Chart`; none computes a result. The title is the finding,
built from the table; words stand on the marks instead of in a legend; colour never carries a
meaning alone; the last line says how good the evidence is.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from io import StringIO
from typing import Any, NamedTuple, TypeVar

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.text import Annotation, Text
from matplotlib.textpath import text_to_path
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from scipy.optimize import isotonic_regression

from llmstudy.text import count, never_or, share, span, usd

T = TypeVar("T")


class Chart(NamedTuple):
    """A drawing, and the same finding in words for whoever cannot see it."""

    figure: Figure
    alt: str


@dataclass(frozen=True)
class Look:
    """How an arm is named and drawn: told apart by line and marker where there is no colour."""

    name: str
    color: str
    linestyle: str
    marker: str


WIDTH_IN = 6.4
SMALL_PT = 7.0
INK, GREY, PALE = "#222222", "#6b6b6b", "#d4d4d4"
ACCENT = "#b2182b"
"""Limits and alarms: a margin, an SLO, a deadline, a fired trigger. Nothing else is red."""

ON_WHITE = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
"""A ground for words that a line would cross."""

ARMS = {
    "proprietary_api": Look("proprietary API", "#111111", "-", "o"),
    "hosted_open": Look("hosted open weights", "#0B4F8A", "--", "s"),
    "self_hosted": Look("self-hosted", "#B8520A", "-.", "D"),
}

VERDICT_MARKS = {  # marker, edge, face
    "non-inferior": ("o", INK, INK),
    "undecided": ("o", INK, "white"),
    "inferior": ("X", ACCENT, ACCENT),
}

STATUS = {
    "fired": "● fired",
    "armed": "○ armed",
    "unknown": "? unknown",
    "not_applicable": "– not applicable",
}

STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 8.0,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.labelsize": 8.0,
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
    """Applies the house style to matplotlib. Done once, when this module is imported."""
    mpl.rcParams.update(STYLE)


use_style()


def svg(figure: Figure) -> str:
    """The figure as SVG: the same text for the same figure, whatever the day or the kernel.

    >>> svg(Figure()).startswith("<?xml")
    True
    """
    drawing = StringIO()
    with mpl.rc_context(STYLE):  # a notebook may have set a style of its own since
        figure.savefig(drawing, format="svg", metadata={"Date": None})
    return drawing.getvalue()


# ---- the charts ---------------------------------------------------------------------------------


def cost_against_volume(
    curves: pd.DataFrame,
    crossovers: pd.DataFrame,
    volume_now: float,
    workload: str,
    note: str,
) -> Chart:
    """What each route costs a month as volume grows, and where another one begins to pay.

    curves: arm, route, requests_per_month, p10_usd, p50_usd, p90_usd (a month), all above zero.
    crossovers: to_arm, p10, p50, p90 (requests a month; null: never), p_never (share).
    volume_now: requests a month, within the curves.
    Raises: ValueError if a table lacks rows or columns, the curves do not reach volume_now, or a
    cost is not above zero.
    """
    _need("curves", curves, "arm route requests_per_month p10_usd p50_usd p90_usd")
    _need("crossovers", crossovers, "to_arm p10 p50 p90 p_never")
    low, high = curves["requests_per_month"].min(), curves["requests_per_month"].max()
    if not low <= volume_now <= high:
        raise ValueError(
            f"{workload}: curves run from {count(low)} to {count(high)} requests a month and miss "
            f"today's {count(volume_now)}: compute them over a wider range."
        )
    if (curves[["requests_per_month", "p10_usd", "p50_usd", "p90_usd"]] <= 0).any(axis=None):
        raise ValueError(
            f"{workload}: curves holds a volume or cost of zero or less, which a logarithmic chart "
            "cannot show: leave that row out."
        )
    crossovers = crossovers.astype({"p10": float, "p50": float, "p90": float})  # null: NaN
    curves = curves.sort_values("requests_per_month", kind="stable")
    routes = {str(name): rows for name, rows in curves.groupby("route", sort=False)}
    today = sorted((_usd_at(rows, volume_now), rows["arm"].iloc[0]) for rows in routes.values())
    title = (
        f"{workload}: {_arm(today[0][1]).name} is cheapest today at {usd(today[0][0])} a month; "
        f"{_first_to_pay(crossovers, today[0][1])}"
    )
    n = len(crossovers)
    figure = _figure(title, note, 2.2 + 0.3 * n)
    top, strip = figure.subplots(2, sharex=True, height_ratios=[1.5, 0.1 + 0.3 * n])
    labels = []
    for route, rows in routes.items():
        look, x = _arm(rows["arm"].iloc[0]), rows["requests_per_month"]
        top.fill_between(x, rows["p10_usd"], rows["p90_usd"], color=look.color, alpha=0.13, lw=0)
        top.plot(x, rows["p50_usd"], color=look.color, linestyle=look.linestyle)
        name = f"{look.name}\n{_wrap(route, 1.4)}"
        labels.append(_right_label(top, rows["p50_usd"].iloc[-1], name, look.color, leader=True))
    top.set(xscale="log", yscale="log", xlim=(low, high), ylabel="USD a month")
    _log_ticks(top.yaxis)
    top.tick_params(axis="x", bottom=False, labelbottom=False)
    top.spines["bottom"].set_visible(False)
    strip.set(ylim=(n - 0.1, -0.5), yticks=[], xlabel="requests a month")
    strip.spines["left"].set_visible(False)
    _log_ticks(strip.xaxis)
    for ax in (top, strip):
        ax.axvline(volume_now, color=INK, lw=0.8, linestyle=":")
    _top_label(top, volume_now, f"today: {count(volume_now)} requests")
    facts = [_crossover(strip, y, row, (low, high)) for y, row in _rows(crossovers)]
    _spread(figure, top, labels)
    costs = "; ".join(f"{_arm(arm).name} {usd(cost)}" for cost, arm in today)
    return _chart(
        figure,
        f"{title}. Median cost a month at today's {count(volume_now)} requests: {costs}. "
        f"{'. '.join(facts)}.",
    )


def _first_to_pay(crossovers: pd.DataFrame, cheapest: str) -> str:
    """The crossover at the lowest volume, as the second half of a title."""
    paying = crossovers.dropna(subset="p50").sort_values("p50")
    if paying.empty:
        return "no other arm pays in half of the draws"
    arm, volume = paying[["to_arm", "p50"]].iloc[0]
    who = "it" if arm == cheapest else _arm(arm).name
    return f"{who} pays from {count(volume)} requests a month"


def _crossover(ax: Axes, y: int, row: Any, ends: tuple[float, float]) -> str:
    """Draws one crossover: its sentence, and under it a bracket from p10 to p90."""
    look = _arm(row.to_arm)
    never = f"never in {share(row.p_never)} of draws"
    if np.isnan(row.p50):
        text = f"{look.name}: {never}"
    else:
        reach = span(row.p10, row.p90, count)
        text = f"{look.name} pays from {count(row.p50)} requests a month (80 % range {reach})"
        text += f", {never}" if row.p_never > 0 else ""
    ax.annotate(
        text,
        (0, y - 0.2),
        (2, 0),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        va="center",
        color=look.color,
        fontsize=SMALL_PT,
        bbox=ON_WHITE,
    )
    if np.isnan(row.p10):
        return text
    far = np.inf if np.isnan(row.p90) else row.p90
    left, right = np.clip([row.p10, far], *ends)
    # a bar where the range ends, an arrowhead where it runs out of the picture
    marks = [("|", x) for x in (row.p10, far) if x in (left, right)]
    marks += [("<", left)] if row.p10 < ends[0] else []
    marks += [(">", right)] if far > ends[1] else []
    marks += [(look.marker, row.p50)] if left <= row.p50 <= right else []
    ax.hlines(y + 0.3, left, right, color=look.color, lw=1.2)
    for marker, x in marks:
        ax.plot(x, y + 0.3, marker, color=look.color, ms=5, clip_on=False)
    return text


def p_never(crossover: pd.DataFrame, note: str) -> Chart:
    """How often a move never pays, by workload and pair of arms.

    crossover: workload, from_arm, to_arm, p_never (share), p50 (requests a month; null: never).
    """
    _need("crossover", crossover, "workload from_arm to_arm p_never p50")
    table = _by_workload(crossover)
    moves = [f"{_arm(r.from_arm).name} → {_arm(r.to_arm).name}" for _, r in _rows(table)]
    facts = [f"{share(r.p_never)}, median {never_or(r.p50, count)}" for _, r in _rows(table)]
    most = int(table["p_never"].argmax())
    title = (
        f"No crossover in at least half of the draws for {(table['p_never'] >= 0.5).sum()} of "
        f"{len(table)} moves; most often for {table['workload'][most]}, {moves[most]}: "
        f"{share(table['p_never'][most])}"
    )
    figure = _figure(title, note, 1.1 + 0.29 * len(table))
    ax = figure.subplots()
    for y, row in _rows(table):
        look, x = _arm(row.to_arm), 100 * row.p_never
        ax.hlines(y, 0, 100, color=PALE, lw=0.6)
        ax.hlines(y, 0, x, color=look.color, linestyle=look.linestyle)
        ax.plot(x, y, look.marker, color=look.color, ms=5, clip_on=False)
        _beside(ax, x, y, facts[y], left=x > 50)
        _right_label(ax, y, moves[y], look.color)
    _name_rows(ax, list(table["workload"]))
    ax.set_xlim(0, 100)
    ax.set_xlabel("share of draws in which the move never pays (%); median in requests a month")
    said = zip(table["workload"], moves, facts, strict=True)
    return _chart(figure, f"{title}. {'; '.join(f'{w}, {m}: {f}' for w, m, f in said)}.")


def tornado(sensitivity: pd.DataFrame, base_usd: float, subject: str, note: str) -> Chart:
    """Which inputs decide: the outcome at each one's low and high end, the eight strongest.

    sensitivity: input, low_usd, high_usd (the outcome at the input's low and high end),
    total_effect, total_effect_error (Sobol index and the half-width of its interval).
    base_usd: the outcome with every input at its median. subject: the outcome, as a noun.
    """
    _need("sensitivity", sensitivity, "input low_usd high_usd total_effect total_effect_error")
    table = sensitivity.sort_values("total_effect", ascending=False, ignore_index=True).head(8)
    ends = np.sort(table[["low_usd", "high_usd"]].to_numpy(dtype=float), axis=1)
    ranges = [span(left, right, usd) for left, right in ends]
    effects = [f"{r.total_effect:.2f} ± {r.total_effect_error:.2f}" for _, r in _rows(table)]
    title = (
        f"{table['input'][0]} decides most: {subject} is {ranges[0]} over its range, "
        f"{usd(base_usd)} in the base case"
    )
    figure = _figure(title, note, 1.15 + 0.29 * len(table))
    ax = figure.subplots()
    left, right = min(base_usd, ends.min()), max(base_usd, ends.max())
    room = 0.3 * (right - left) or abs(base_usd) or 1.0
    ax.set(xlim=(left - room, right + room), xlabel=f"{subject} (USD)")
    if left < 0 < right:
        ax.axvline(0, color=GREY, lw=0.6, zorder=0)
    ax.axvline(base_usd, color=INK, lw=1, linestyle="--")
    _top_label(ax, base_usd, f"base: {usd(base_usd)}")
    for y, row in _rows(table):
        left, right = ends[y]
        words = ("low", "high") if row.low_usd <= row.high_usd else ("high", "low")
        ax.barh(y, right - left, 0.55, left, color=PALE, edgecolor=GREY, lw=0.5)
        ax.plot(row.high_usd, y, "o", color=INK, ms=4)
        ax.plot(row.low_usd, y, "o", color=INK, mfc="white", ms=4)
        _beside(ax, left, y, f"{words[0]}: {_plain_usd(left)}", left=True)
        _beside(ax, right, y, f"{words[1]}: {_plain_usd(right)}", left=False)
        _right_label(ax, y, effects[y])
    _name_rows(ax, list(table["input"]))
    _right_label(ax, -0.85, "total effect", GREY)
    ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    ax.xaxis.set_major_formatter(FuncFormatter(_tick))
    said = zip(table["input"], ranges, effects, strict=True)
    return _chart(
        figure, f"{title}. {'; '.join(f'{i}: {r}, total effect {e}' for i, r, e in said)}."
    )


def week_load(
    hours: pd.DataFrame,
    replicas: int,
    needed: int,
    capacity_requests_per_s: float,
    utilisation: float,
    workload: str,
    note: str,
) -> Chart:
    """What the week asks of a fleet, what the fleet can carry, and what stands spare.

    hours: hour (0 to 167, from Monday 00:00), requests_per_s. replicas: rented; needed: those the
    busiest hour takes. capacity_requests_per_s: of one replica at its SLO. utilisation: share.
    """
    _need("hours", hours, "hour requests_per_s")
    hours = hours.sort_values("hour")
    load, each = hours["requests_per_s"], count(capacity_requests_per_s)
    rented, enough = replicas * capacity_requests_per_s, needed * capacity_requests_per_s
    spare = replicas - needed
    margin = f"{spare} spare" if spare > 0 else f"{-spare} too few" if spare < 0 else "none spare"
    title = (
        f"{workload}: {replicas} {'replica' if replicas == 1 else 'replicas'} at "
        f"{share(utilisation)} utilisation; the busiest hour needs {needed}, {margin}"
    )
    figure = _figure(title, note, 2.6)
    ax = figure.subplots()
    # the last hour lasts an hour too
    edge, steps = [*hours["hour"], hours["hour"].iloc[-1] + 1], [*load, load.iloc[-1]]
    ax.fill_between(edge, steps, step="post", color=PALE, lw=0)
    ax.step(edge, steps, where="post", color=INK, lw=1)
    ax.axhline(rented, color=INK, linestyle="--", lw=1.2)
    labels = [
        _right_label(ax, load.iloc[-1], f"load, at most {count(load.max())}", leader=True),
        _right_label(ax, rented, f"rented: {replicas} × {each},\n{margin}", leader=True),
    ]
    if spare != 0:
        color = GREY if spare > 0 else ACCENT
        ax.axhline(enough, color=color, linestyle=":", lw=1.2)
        labels.append(_right_label(ax, enough, f"needed: {needed} × {each}", color, leader=True))
    if spare > 0:
        ax.axhspan(enough, rented, fc="none", ec=PALE, hatch="///", lw=0, zorder=0)
    ax.set_xticks(range(0, 169, 24), labels=[])
    days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
    ax.set_xticks(range(12, 168, 24), labels=days, minor=True)
    ax.tick_params(axis="x", which="minor", length=0)
    ax.set(xlim=(0, 168), ylim=(0, 1.08 * max(load.max(), rented, enough)))
    ax.set(xlabel="hour of the week (UTC)", ylabel="requests per s")
    _spread(figure, ax, labels)
    return _chart(
        figure,
        f"{title}. The load is at most {count(load.max())} requests per s; rented are {replicas} × "
        f"{each} = {count(rented)}.",
    )


def serving_curve(
    points: pd.DataFrame,
    curve: pd.DataFrame,
    slo_tpot_ms: float,
    chosen_concurrency: float,
    model: str,
    gpu: str,
    error_share: float,
    note: str,
) -> Chart:
    """How TPOT grows with the requests in flight, and how many the SLO allows.

    points: concurrency, tpot_ms, output_tokens_per_s_per_gpu as measured, fitted (bool: the curve
    was fitted to it; otherwise held out). curve: the same columns without fitted.
    chosen_concurrency: the operating point, on the curve. error_share: of the curve.
    Raises: ValueError if a table lacks rows or columns, or the curve does not reach the point.
    """
    _need("points", points, "concurrency tpot_ms output_tokens_per_s_per_gpu fitted")
    _need("curve", curve, "concurrency tpot_ms output_tokens_per_s_per_gpu")
    curve = curve.sort_values("concurrency")
    low, high = curve["concurrency"].min(), curve["concurrency"].max()
    if not low <= chosen_concurrency <= high:
        raise ValueError(
            f"{model} on {gpu}: the curve runs from concurrency {low:g} to {high:g} and misses the "
            f"chosen {chosen_concurrency:g}: compute it over a wider range."
        )
    tpot_ms, tokens_per_s = (
        float(np.interp(chosen_concurrency, curve["concurrency"], curve[column]))
        for column in ("tpot_ms", "output_tokens_per_s_per_gpu")
    )
    title = (
        f"{model} on {gpu}: TPOT is {tpot_ms:.3g} ms at concurrency {count(chosen_concurrency)}, "
        f"{'within' if tpot_ms <= slo_tpot_ms else 'outside'} the SLO of {slo_tpot_ms:g} ms"
    )
    figure = _figure(title, note, 2.65)
    ax = figure.subplots()
    ax.plot(curve["concurrency"], curve["tpot_ms"], color=GREY)
    fitted = points["fitted"].astype(bool)
    for group, face in ((points[fitted], INK), (points[~fitted], "white")):
        ax.plot(group["concurrency"], group["tpot_ms"], "o", color=INK, mfc=face, ms=4)
    top = 1.1 * max(slo_tpot_ms, points["tpot_ms"].max(), curve["tpot_ms"].max())
    left, right = min(low, points["concurrency"].min()), max(high, points["concurrency"].max())
    ax.set(xscale="log", xlim=(left / 1.1, right * 1.1), ylim=(0, top), ylabel="TPOT (ms)")
    ax.set_xlabel("concurrency: requests in flight per replica, log scale (● fitted, ○ held out)")
    _log_ticks(ax.xaxis)
    ax.axhline(slo_tpot_ms, color=ACCENT, linestyle="--", lw=1.2)
    ax.vlines(chosen_concurrency, tpot_ms, top, color=INK, lw=0.8, linestyle=":")
    ax.plot(chosen_concurrency, tpot_ms, "D", color=ACCENT, ms=7, zorder=3)
    chosen = f"{count(chosen_concurrency)}, {count(tokens_per_s)} output tokens/s per GPU"
    _top_label(ax, chosen_concurrency, f"chosen: concurrency {chosen}")
    error = f"fitted curve,\nerror {share(error_share)}"
    labels = [
        _right_label(ax, slo_tpot_ms, f"SLO {slo_tpot_ms:g} ms", ACCENT, leader=True),
        _right_label(ax, curve["tpot_ms"].iloc[-1], error, GREY, leader=True),
    ]
    _spread(figure, ax, labels)
    return _chart(
        figure,
        f"{title}. Chosen concurrency {chosen}. {fitted.sum()} measured points fitted, "
        f"{(~fitted).sum()} held out; error of the curve {share(error_share)}.",
    )


def quality_forest(verdicts: pd.DataFrame) -> Chart:
    """Difference in quality per route, candidate minus today's, against each row's margin.

    verdicts: workload, route, difference, low, high, margin (shares; difference null: no paired
    items yet), verdict (non-inferior, inferior, undecided), grade.
    """
    _need("verdicts", verdicts, "workload route difference low high margin verdict grade")
    table = _by_workload(verdicts).astype({"difference": float, "low": float, "high": float})
    known = table["difference"].notna()
    tally = table["verdict"].where(known, "untested").value_counts(sort=False)
    rest = ", ".join(f"{n} {verdict}" for verdict, n in tally.items() if verdict != "non-inferior")
    title = (
        f"Quality holds its margin on {tally.get('non-inferior', 0)} of {len(table)} routes"
        f"{'; ' if rest else ''}{rest}"
    )
    figure = _figure(title, "", 1.0 + 0.36 * len(table))
    ax = figure.subplots()
    ends = 100 * np.concatenate([[0], -table["margin"], table["low"], table["high"]])
    room = 0.06 * (np.nanmax(ends) - np.nanmin(ends))
    ax.set_xlim(np.nanmin(ends) - room, np.nanmax(ends) + room)
    ax.axvline(0, color=GREY, lw=0.6)
    facts = [_difference(ax, y, row) for y, row in _rows(table)]
    _top_label(ax, -100 * table["margin"][0], "margin", ACCENT)
    _name_rows(ax, list(table["workload"]), list(table["route"]))
    ax.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    ax.set_xlabel("candidate minus today's route, percentage points (interval of the test)")
    said = zip(table["workload"], table["route"], facts, strict=True)
    return _chart(figure, f"{title}. {'; '.join(f'{w}, {r}: {f}' for w, r, f in said)}.")


def _difference(ax: Axes, y: int, row: Any) -> str:
    """Draws one verdict: its margin, its interval and what it came to."""
    margin = -100 * row.margin
    ax.plot([margin, margin], [y - 0.3, y + 0.3], color=ACCENT, lw=1.6)
    if np.isnan(row.difference):
        _right_label(ax, y, "no paired items yet", GREY)
        return "no paired items yet"
    verdict = f"{row.verdict} ({row.grade})"
    marker, edge, face = _known("a verdict", row.verdict, VERDICT_MARKS)
    ax.hlines(y, 100 * row.low, 100 * row.high, color=GREY)
    ax.plot(100 * row.difference, y, marker, mec=edge, mfc=face, ms=6)
    _right_label(ax, y, _wrap(verdict, 1.3))
    return (
        f"{_points(row.difference)} [{_points(row.low)}, {_points(row.high)}] points, "
        f"margin {_points(-row.margin)}: {verdict}"
    )


def trigger_status(triggers: pd.DataFrame) -> Chart:
    """Which triggers have fired: a grid of workloads against triggers.

    triggers: id, workload, status (armed, fired, not_applicable, unknown), value and threshold in
    unit (null: not known), name.
    """
    _need("triggers", triggers, "id workload status value threshold unit name")
    ids = triggers[["id", "name"]].drop_duplicates("id").sort_values("id")
    workloads = list(triggers["workload"].unique())
    fired = triggers[triggers["status"] == "fired"].groupby("id")["workload"].agg(list)
    named = [f"{i} on {w[0] if len(w) == 1 else f'{len(w)} workloads'}" for i, w in fired.items()]
    tally = triggers["status"].value_counts()
    title = (
        f"{tally.get('fired', 'None')} of {len(triggers)} triggers fired{': ' if named else ''}"
        f"{', '.join(named)}; {tally.get('armed', 0)} armed, {tally.get('unknown', 0)} unknown"
    )
    cell_in = (WIDTH_IN - 1.4) / len(ids) - 0.1
    figure = _figure(title, "In each cell: value / threshold", 0.75 + 0.52 * len(workloads))
    ax = figure.subplots()
    facts = []
    for _, row in _rows(triggers):
        at = list(ids["id"]).index(row.id), workloads.index(row.workload)
        facts.append(f"{row.workload} {row.id} {row.name}: {_cell(ax, at, row, cell_in)}")
    ax.set(xlim=(0, len(ids)), ylim=(len(workloads), 0))
    heads = [f"{row.id}\n{_wrap(row.name, cell_in, 8)}" for _, row in _rows(ids)]
    ax.set_xticks(np.arange(len(ids)) + 0.5, labels=heads)
    names = [_wrap(name, 1.2, 8, lines=3) for name in workloads]
    ax.set_yticks(np.arange(len(workloads)) + 0.5, labels=names)
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return _chart(figure, f"{title}. {'; '.join(facts)}.")


def _cell(ax: Axes, at: tuple[int, int], row: Any, width_in: float) -> str:
    """Draws one trigger, in words, on its ground."""
    fired, seen = row.status == "fired", row.status in ("fired", "armed")
    word, fact = _known("a status", row.status, STATUS), ""
    if row.status != "not_applicable":
        fact = f"{_quantity(row.value, row.unit)} / {_quantity(row.threshold, row.unit)}"
        fact += "" if row.unit == "share" else f" {row.unit}"
    ax.add_patch(
        Rectangle(
            (at[0] + 0.02, at[1] + 0.04),
            0.96,
            0.92,
            facecolor=ACCENT if fired else "white",
            edgecolor=ACCENT if fired else PALE,
            linestyle="-" if seen else ":",
        )
    )
    ax.text(
        at[0] + 0.5,
        at[1] + 0.5,
        f"{_wrap(word, width_in)}\n{_wrap(fact, width_in)}".strip(),
        ha="center",
        va="center",
        fontsize=SMALL_PT,
        color="white" if fired else INK if seen else GREY,
    )
    return f"{word[2:]}{', ' if fact else ''}{fact}"


def phase_timeline(phases: pd.DataFrame, decide_by: date) -> Chart:
    """The plan: each phase from start to end, with the gate that closes it.

    phases: phase, title, start, end (dates), gate, owner. decide_by: the day of the decision.
    """
    _need("phases", phases, "phase title start end gate owner")
    table = phases.assign(start=pd.to_datetime(phases["start"]), end=pd.to_datetime(phases["end"]))
    table = table.sort_values("start", ignore_index=True)
    title = (
        f"Decide by {_day(decide_by)}: {len(table)} {'phase' if len(table) == 1 else 'phases'}, "
        f"each closed by a gate, until {_day(table['end'].max())}"
    )
    first = min(pd.Timestamp(decide_by), table["start"].min())
    last = max(pd.Timestamp(decide_by), table["end"].max())
    length, deadline = (last - first).days, (pd.Timestamp(decide_by) - first).days
    figure = _figure(title, "◆ gate that closes the phase", 0.85 + 0.55 * len(table))
    ax = figure.subplots()
    ax.set_xlim(-0.04 * length - 1, 1.04 * length + 1)  # days
    facts = []
    for y, row in _rows(table):
        start, end = (row.start - first).days, (row.end - first).days
        dates = f"{_day(row.start)} to {_day(row.end)}"
        late = start + end > length
        ax.barh(y, end - start, 0.3, start, color=PALE, edgecolor=GREY, lw=0.5)
        ax.plot(end, y, "D", color=INK, ms=6)
        ax.annotate(
            dates,
            (end if late else start, y + 0.15),
            (0, -3),
            textcoords="offset points",
            ha="right" if late else "left",
            va="top",
            color=GREY,
            fontsize=SMALL_PT,
            bbox=ON_WHITE,
        )
        _right_label(ax, y, _wrap(row.gate, 1.9, lines=4))
        facts.append(f"{row.phase} {row.title}, {dates}, owner {row.owner}, gate: {row.gate}")
    _name_rows(ax, [f"{row.phase} {row.title}" for _, row in _rows(table)], list(table["owner"]))
    months = pd.date_range(first, last, freq="MS")
    months = months[:: 1 + len(months) // 5]
    ax.set_xticks((months - first).days, labels=[f"{month:%b %Y}" for month in months])
    ax.axvline(deadline, color=ACCENT, lw=1.2, linestyle="--")
    _top_label(ax, deadline, f"decide by {_day(decide_by)}", ACCENT)
    return _chart(figure, f"{title}. {'; '.join(facts)}.")


# ---- tables and words ---------------------------------------------------------------------------


def _need(name: str, table: pd.DataFrame, columns: str) -> None:
    """Refuses a table that a chart cannot be drawn from."""
    missing = [column for column in columns.split() if column not in table.columns]
    if missing:
        raise ValueError(f"{name} lacks {', '.join(missing)}: give it the columns {columns}.")
    if table.empty:
        raise ValueError(f"{name} has no rows: there is nothing to draw.")


def _rows(table: pd.DataFrame) -> list[tuple[int, Any]]:
    """Each row with its place from the top."""
    return list(enumerate(table.itertuples()))


def _by_workload(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a workload together, workloads in order of appearance."""
    group = table.groupby("workload", sort=False).ngroup()
    return table.iloc[np.argsort(group, kind="stable")].reset_index(drop=True)


def _arm(name: str) -> Look:
    return _known("an arm", name, ARMS)


def _known(kind: str, name: str, names: Mapping[str, T]) -> T:
    """What a word stands for; an unknown word must not be drawn as if it were another."""
    if name not in names:
        raise ValueError(f'"{name}" is not {kind}: write one of {", ".join(names)}.')
    return names[name]


def _usd_at(curve: pd.DataFrame, requests: float) -> float:
    """Where a curve on log-log paper stands at a volume."""
    x, y = np.log(curve["requests_per_month"]), np.log(curve["p50_usd"])
    return float(np.exp(np.interp(np.log(requests), x, y)))


def _plain_usd(x: float) -> str:
    """Money where the axis already says USD."""
    return usd(x).replace("USD ", "")


def _points(difference: float) -> str:
    """A difference of shares in percentage points."""
    return f"{100 * difference:+.1f}".replace("-", "−")


def _quantity(value: float | None, unit: str) -> str:
    """A trigger's value or threshold: to three digits, or a value just past would look equal.

    A unit other than a share is said once, behind the two.
    """
    if value is None or pd.isna(value):
        return "?"
    if unit == "share":
        return f"{100 * value:.3g} %"
    return f"{value:.3g}" if abs(value) < 1000 else count(value)


def _day(day: date) -> str:
    return f"{day.day} {day:%b %Y}"


def _wrap(
    text: str, width_in: float, size: float = SMALL_PT, lines: int = 2, weight: str = "normal"
) -> str:
    """Text broken to a width, at spaces and after hyphens; cut when it takes too many lines."""
    font = FontProperties(family=STYLE["font.family"], size=size, weight=weight)

    def fits(line: str) -> bool:
        width_pt = text_to_path.get_text_width_height_descent(line.strip(), font, ismath=False)[0]
        return bool(width_pt <= 72 * width_in)

    wrapped = [""]
    for piece in re.findall(r"[^\s\-_/]*[\-_/]*\s*", text):
        if wrapped[-1] and not fits(wrapped[-1] + piece):
            wrapped.append("")
        wrapped[-1] += piece
        while len(wrapped[-1]) > 1 and not fits(wrapped[-1]):  # a word wider than the line
            shorter = range(len(wrapped[-1]) - 1, 0, -1)
            cut = next((n for n in shorter if fits(wrapped[-1][:n])), 1)
            wrapped[-1:] = [wrapped[-1][:cut], wrapped[-1][cut:]]
    if len(wrapped) > lines:
        last = wrapped[lines - 1].strip()
        while not fits(last + "…"):
            last = last[:-1]
        wrapped = [*wrapped[: lines - 1], last + "…"]
    return "\n".join(line.strip() for line in wrapped)


# ---- where the words go -------------------------------------------------------------------------


def _figure(title: str, note: str, height_in: float) -> Figure:
    """An empty figure with its finding on top and its evidence below, both over the whole width.

    Made without pyplot, which would keep it alive. height_in: with one line of title and of note.
    """
    head = _wrap(title, WIDTH_IN - 0.4, 9, lines=4, weight="bold")
    foot = _wrap(note, WIDTH_IN - 0.4, lines=3)
    height_in += 0.15 * head.count("\n") + 0.12 * foot.count("\n")
    figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
    figure.suptitle(head, x=0.01, ha="left")
    if foot:
        figure.supxlabel(foot, x=0.01, ha="left", color=GREY)
    return figure


def _lay_out(figure: Figure) -> None:
    layout = figure.get_layout_engine()
    assert layout is not None
    layout.execute(figure)


def _chart(figure: Figure, alt: str) -> Chart:
    """The finished chart: laid out here, or matplotlib would do it anew at every drawing.

    Its note, which holds the grades, is part of what a reader without eyes on it must hear.
    """
    _lay_out(figure)
    figure.set_layout_engine("none")
    note = figure.get_supxlabel().replace("\n", " ")
    return Chart(figure, f"{alt} {note}".strip())


def _name_rows(ax: Axes, names: Sequence[str], seconds: Sequence[str] | None = None) -> None:
    """Names the rows 0, 1, ... from the top down, with a second line each if given.

    Without one, a name said in the row above is not said again.
    """
    if seconds is None:
        above = ["", *names[:-1]]
        labels = [
            "" if name == last else _wrap(name, 1.5, 8)
            for name, last in zip(names, above, strict=True)
        ]
    else:
        labels = [
            f"{_wrap(name, 1.9, 8, lines=1)}\n{_wrap(second, 1.9, 8, lines=1)}"
            for name, second in zip(names, seconds, strict=True)
        ]
    ax.set_yticks(range(len(labels)), labels=labels)
    ax.set_ylim(len(labels) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0, pad=7)
    ax.spines["left"].set_visible(False)


def _log_ticks(axis: Axis) -> None:
    """Ticks of a logarithmic axis: the fewer decades, the more of them."""
    low, high = axis.get_view_interval()
    decades = np.log10(high / low)
    subs = (1,) if decades >= 2.6 else (1, 2, 5) if decades >= 0.7 else tuple(range(1, 10))
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(_tick))


def _tick(x: float, _: int | None = None) -> str:
    """A number on an axis, with every digit that tells it from the next tick."""
    units = ((1e9, "B"), (1e6, "M"), (1e3, "k"))
    unit, letter = next(((u, s) for u, s in units if abs(x) >= u), (1.0, ""))
    return f"{x / unit:g}{letter}".replace("-", "−")


def _top_label(ax: Axes, x: float, text: str, color: str = INK) -> None:
    """Words above the axes at x, not beyond their ends. Call it once the limits of x are set."""
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
        fontsize=SMALL_PT,
    )


def _beside(ax: Axes, x: float, y: float, text: str, left: bool) -> None:
    """Words next to a mark."""
    ax.annotate(
        text,
        (x, y),
        (-6 if left else 6, 0),
        textcoords="offset points",
        ha="right" if left else "left",
        va="center",
        fontsize=SMALL_PT,
        bbox=ON_WHITE,
    )


def _right_label(
    ax: Axes, y: float, text: str, color: str = INK, leader: bool = False
) -> Annotation:
    """Words at the right of the axes, at the height of y; with a leader if they may be moved."""
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
        fontsize=SMALL_PT,
        arrowprops=line if leader else None,
    )


def _spread(figure: Figure, ax: Axes, labels: Sequence[Annotation]) -> None:
    """Moves labels up or down, together as little as it takes, until none covers another.

    Least squares under an order and a gap is isotonic regression.
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

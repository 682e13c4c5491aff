"""From which volume, quality or month on does another route pay, and how surely?"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from llmstudy.charts.drawing import (
    beside,
    blank,
    finish,
    log_ticks,
    name_rows,
    right_label,
    spread,
    top_label,
    wrap,
)
from llmstudy.charts.style import INK, ON_WHITE, PALE, SMALL_PT, Chart
from llmstudy.charts.tables import by_workload, look_of, need, numbered
from llmstudy.text import count, never_or, share, span, usd


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
    need("curves", curves, "arm route requests_per_month p10_usd p50_usd p90_usd")
    need("crossovers", crossovers, "to_arm p10 p50 p90 p_never")
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
        f"{workload}: {look_of(today[0][1]).name} is cheapest today at {usd(today[0][0])} a month; "
        f"{_first_to_pay(crossovers, today[0][1])}"
    )
    n = len(crossovers)
    figure = blank(title, note, 2.2 + 0.3 * n)
    top, strip = figure.subplots(2, sharex=True, height_ratios=[1.5, 0.1 + 0.3 * n])
    labels = []
    for route, rows in routes.items():
        look, x = look_of(rows["arm"].iloc[0]), rows["requests_per_month"]
        top.fill_between(x, rows["p10_usd"], rows["p90_usd"], color=look.color, alpha=0.13, lw=0)
        top.plot(x, rows["p50_usd"], color=look.color, linestyle=look.linestyle)
        name = f"{look.name}\n{wrap(route, 1.4)}"
        labels.append(right_label(top, rows["p50_usd"].iloc[-1], name, look.color, leader=True))
    top.set(xscale="log", yscale="log", xlim=(low, high), ylabel="USD a month")
    log_ticks(top.yaxis)
    top.tick_params(axis="x", bottom=False, labelbottom=False)
    top.spines["bottom"].set_visible(False)
    strip.set(ylim=(n - 0.1, -0.5), yticks=[], xlabel="requests a month")
    strip.spines["left"].set_visible(False)
    log_ticks(strip.xaxis)
    for ax in (top, strip):
        ax.axvline(volume_now, color=INK, lw=0.8, linestyle=":")
    top_label(top, volume_now, f"today: {count(volume_now)} requests")
    facts = [_crossover(strip, y, row, (low, high)) for y, row in numbered(crossovers)]
    spread(figure, top, labels)
    costs = "; ".join(f"{look_of(arm).name} {usd(cost)}" for cost, arm in today)
    return finish(
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
    who = "it" if arm == cheapest else look_of(arm).name
    return f"{who} pays from {count(volume)} requests a month"


def _crossover(ax: Axes, y: int, row: Any, ends: tuple[float, float]) -> str:
    """Draws one crossover: its sentence, and under it a bracket from p10 to p90."""
    look = look_of(row.to_arm)
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


def _usd_at(curve: pd.DataFrame, requests: float) -> float:
    """Where a curve on log-log paper stands at a volume."""
    x, y = np.log(curve["requests_per_month"]), np.log(curve["p50_usd"])
    return float(np.exp(np.interp(np.log(requests), x, y)))


def p_never(crossover: pd.DataFrame, note: str) -> Chart:
    """How often a move never pays, by workload and pair of arms.

    crossover: workload, from_arm, to_arm, p_never (share), p50 (requests a month; null: never).
    """
    need("crossover", crossover, "workload from_arm to_arm p_never p50")
    table = by_workload(crossover)
    moves = [f"{look_of(r.from_arm).name} → {look_of(r.to_arm).name}" for _, r in numbered(table)]
    facts = [f"{share(r.p_never)}, median {never_or(r.p50, count)}" for _, r in numbered(table)]
    most = int(table["p_never"].argmax())
    title = (
        f"No crossover in at least half of the draws for {(table['p_never'] >= 0.5).sum()} of "
        f"{len(table)} moves; most often for {table['workload'][most]}, {moves[most]}: "
        f"{share(table['p_never'][most])}"
    )
    figure = blank(title, note, 1.1 + 0.29 * len(table))
    ax = figure.subplots()
    for y, row in numbered(table):
        look, x = look_of(row.to_arm), 100 * row.p_never
        ax.hlines(y, 0, 100, color=PALE, lw=0.6)
        ax.hlines(y, 0, x, color=look.color, linestyle=look.linestyle)
        ax.plot(x, y, look.marker, color=look.color, ms=5, clip_on=False)
        beside(ax, x, y, facts[y], left=x > 50)
        right_label(ax, y, moves[y], look.color)
    name_rows(ax, list(table["workload"]))
    ax.set_xlim(0, 100)
    ax.set_xlabel("share of draws in which the move never pays (%); median in requests a month")
    said = zip(table["workload"], moves, facts, strict=True)
    return finish(figure, f"{title}. {'; '.join(f'{w}, {m}: {f}' for w, m, f in said)}.")

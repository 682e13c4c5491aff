"""What can a fleet carry, how many replicas does a week need, and how many are spare?"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from llmstudy.charts.drawing import (
    above,
    blank,
    even_ticks,
    finish,
    label_rows,
    log_ticks,
    plain_usd,
    right_label,
    spread,
    top_label,
    wrap,
)
from llmstudy.charts.style import ACCENT, ARMS, GREY, INK, PALE, Chart
from llmstudy.charts.tables import need, numbered, of_rows
from llmstudy.text import count, share, span, usd

HELDOUT_GOAL = 0.08
"""Goal for the median held-out error of a curve fitted to eight points."""

FLEETS = {  # mark in labels, colour, width: lines may overlap, and all must be visible
    "static": ("▬", PALE, 5.0),
    "scheduled": ("━", GREY, 2.4),
    "autoscaled": ("─", INK, 0.9),
}


@of_rows
def week_load(hours: pd.DataFrame, fleet: Mapping[str, Any], note: str) -> Chart:
    """The week's load on a fleet, its capacity, and its spare replicas.

    hours: hour (0 to 167, from Monday 00:00), requests_per_s. fleet: workload, replicas (rented),
    spare (replicas beyond those that the busiest hour needs), capacity_requests_per_s (of one
    replica within its SLO), utilisation (share), week_logged.
    """
    need("hours", hours, "hour requests_per_s")
    workload, replicas = fleet["workload"], fleet["replicas"]
    needed, utilisation = replicas - fleet["spare"], fleet["utilisation"]
    capacity_requests_per_s = fleet["capacity_requests_per_s"]
    note += f" · hours: {'measured' if fleet['week_logged'] else 'published shape'}"
    hours = hours.sort_values("hour", kind="stable")
    load, each = hours["requests_per_s"], count(capacity_requests_per_s)
    rented, enough = replicas * capacity_requests_per_s, needed * capacity_requests_per_s
    spare = replicas - needed
    margin = f"{spare} spare" if spare > 0 else f"{-spare} too few" if spare < 0 else "none spare"
    title = (
        f"{workload}: {replicas} {'replica' if replicas == 1 else 'replicas'} at "
        f"{share(utilisation)} utilisation; the busiest hour needs {needed}, {margin}"
    )
    figure = blank(title, note, 2.6)
    ax = figure.subplots()
    # the last step is an hour wide, like the others
    edge, steps = [*hours["hour"], hours["hour"].iloc[-1] + 1], [*load, load.iloc[-1]]
    ax.fill_between(edge, steps, step="post", color=PALE, lw=0)
    ax.step(edge, steps, where="post", color=INK, lw=1)
    ax.axhline(rented, color=INK, linestyle="--", lw=1.2)
    labels = [
        right_label(ax, load.iloc[-1], f"load, at most {count(load.max())}", leader=True),
        right_label(ax, rented, f"rented: {replicas} × {each},\n{margin}", leader=True),
    ]
    if spare != 0:
        color = GREY if spare > 0 else ACCENT
        ax.axhline(enough, color=color, linestyle=":", lw=1.2)
        labels.append(right_label(ax, enough, f"needed: {needed} × {each}", color, leader=True))
    if spare > 0:
        ax.axhspan(enough, rented, fc="none", ec=PALE, hatch="///", lw=0, zorder=0)
    _week_ticks(ax)
    ax.set(ylim=(0, 1.08 * max(load.max(), rented, enough)), ylabel="requests per s")
    spread(figure, ax, labels)
    return finish(
        figure,
        f"{title}. The load is at most {count(load.max())} requests per s; rented are {replicas} × "
        f"{each} = {count(rented)}.",
    )


def _week_ticks(ax: Axes) -> None:
    """Sets up an axis of 168 hours, with the days named between their midnights."""
    ax.set_xticks(range(0, 169, 24), labels=[])
    days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
    ax.set_xticks(range(12, 168, 24), labels=days, minor=True)
    ax.tick_params(axis="x", which="minor", length=0)
    ax.set(xlim=(0, 168), xlabel="hour of the week (UTC)")


@of_rows
def replicas_week(table: pd.DataFrame, gpus_per_replica: int, subject: str, note: str) -> Chart:
    """Replicas of each kind of fleet over the week, and the load.

    table: one row per hour: hour (0 to 167, from Monday 00:00), requests_per_s, and the mean
    replicas in that hour of each kind: static, scheduled, autoscaled.
    """
    need("table", table, "hour requests_per_s static scheduled autoscaled")
    hours = table.sort_values("hour", kind="stable")
    gpu_hours = {fleet: gpus_per_replica * float(hours[fleet].sum()) for fleet in FLEETS}
    static = gpu_hours["static"]
    title = (
        f"{subject}: a static fleet takes {count(static)} GPU-hours a week; a schedule "
        f"{_against_static(static, gpu_hours['scheduled'])}, autoscaling "
        f"{_against_static(static, gpu_hours['autoscaled'])}"
    )
    figure = blank(title, note, 2.9)
    top, strip = figure.subplots(2, sharex=True, height_ratios=[2, 1])
    edge = [*hours["hour"], hours["hour"].iloc[-1] + 1]  # the last step is an hour wide too
    labels = []
    for fleet, (mark, color, width) in FLEETS.items():
        replicas = [*hours[fleet], hours[fleet].iloc[-1]]
        top.step(edge, replicas, where="post", color=color, lw=width)
        reach = f"{mark} {fleet}: {span(min(replicas), max(replicas), count)}"
        text = f"{reach},\n{count(gpu_hours[fleet])} GPU-hours"
        labels.append(right_label(top, replicas[-1], text, leader=True))
    load = hours["requests_per_s"]
    strip.fill_between(edge, [*load, load.iloc[-1]], step="post", color=PALE, lw=0)
    strip.step(edge, [*load, load.iloc[-1]], where="post", color=INK, lw=1)
    right_label(strip, load.max() / 2, f"load: at most\n{count(load.max())} per s")
    top.set(
        ylim=(0, 1.12 * hours[list(FLEETS)].to_numpy(dtype=float).max() or 1), ylabel="replicas"
    )
    top.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    strip.set(ylim=(0, 1.08 * load.max() or 1), ylabel="requests\nper s")
    strip.yaxis.set_major_locator(MaxNLocator(2))
    _week_ticks(strip)
    top.tick_params(axis="x", which="both", length=0, labelbottom=False)
    figure.align_ylabels()
    spread(figure, top, labels)
    fleets = "; ".join(f"{f} {span(hours[f].min(), hours[f].max(), count)}" for f in FLEETS)
    return finish(
        figure,
        f"{title}. Replicas: {fleets}. The load is at most {count(load.max())} requests per s.",
    )


def _against_static(static: float, other: float) -> str:
    """The GPU-hours of a fleet against those of a static one, in words."""
    if other == static:
        return "saves none"
    hours = (
        f"{count(abs(static - other))}{f' ({share(abs(1 - other / static))})' if static else ''}"
    )
    return f"saves {hours}" if other < static else f"takes {hours} more"


@of_rows
def base_load_split(table: pd.DataFrame, subject: str, note: str) -> Chart:
    """The monthly cost if a fleet of each size carries the base load and an API the rest.

    table: one row per number of replicas: replicas, fleet_share, api_share (of the requests),
    usd_month_fleet, usd_month_api, usd_month (their sum), all at least zero.
    """
    need("table", table, "replicas fleet_share api_share usd_month_fleet usd_month_api usd_month")
    table = table.sort_values("replicas", ignore_index=True, kind="stable")
    best, last = int(table["usd_month"].argmin()), len(table) - 1
    sums = [f"{_split(row)} {usd(row.usd_month)}" for _, row in numbered(table)]
    cheapest, cost = table.iloc[best], usd(table["usd_month"][best])
    title = f"{subject}: {_split(cheapest)} is cheapest at {cost} a month"
    ends = [sums[i] for i in (0, last) if i != best]
    title += f"; {', '.join(ends)}" if ends else ""
    figure = blank(title, note, 2.7)
    ax = figure.subplots()
    for i, row in numbered(table):
        ax.bar(i, row.usd_month_fleet, 0.75, fc="white", ec=ARMS["self_hosted"].color, hatch="////")
        ax.bar(i, row.usd_month_api, 0.75, row.usd_month_fleet, fc=PALE, ec=GREY, lw=0.6)
    ax.bar(best, cheapest.usd_month, 0.75, fc="none", ec=INK, lw=1.8)
    step = 1 + last // 10
    near = set(range(best - step + 1, best + step)) - {best}
    for i in {*range(0, last + 1, step), best} - near:
        words = f"{plain_usd(table['usd_month'][i])}\n{share(table['fleet_share'][i])}"
        below = table["usd_month"][max(i - step // 2, 0) : i + step // 2 + 1]
        above(ax, i, below.max(), words, weight="bold" if i == best else "normal")
    ax.set(xlim=(-0.6, last + 0.6), ylim=(0, 1.25 * table["usd_month"].max() or 1))
    ax.set_xticks(range(0, last + 1, step), labels=table["replicas"][::step])
    ax.set(xlabel="own replicas (▨ fleet, ▒ API for the rest)", ylabel="USD a month")
    even_ticks(ax.yaxis)
    top_label(ax, -0.6, "above each bar: USD a month, share of requests on the fleet", GREY)
    return finish(figure, f"{title}. {'; '.join(sums)}.")


def _split(row: Any) -> str:
    """The share of requests that a fleet of this size serves, in words."""
    if row.replicas == 0:
        return "the API alone"
    replicas = f"{row.replicas:g} {'replica' if row.replicas == 1 else 'replicas'}"
    return f"{replicas} for {share(row.fleet_share)} of requests"


def serving_curve(
    points: pd.DataFrame,
    curve: pd.DataFrame,
    lengths: tuple[float, float],
    slo_tpot_ms: float | None,
    chosen_concurrency: float,
    model: str,
    gpu: str,
    error_share: float,
    note: str,
) -> Chart:
    """TPOT against the requests in flight, for one pair of prompt and answer lengths.

    points: concurrency, tpot_ms, output_tokens_per_s_per_gpu as measured, fitted (bool: the curve
    was fitted to the point; else it was held out). curve: the same columns without fitted.
    lengths: tokens of prompt and answer. slo_tpot_ms: the workload's SLO; None if the lengths are
    not those of the workload, so that nothing is judged. chosen_concurrency: the operating point on
    the curve. error_share: of the curve.
    Raises: ValueError if a table lacks rows or columns, or the curve does not reach the point.
    """
    need("points", points, "concurrency tpot_ms output_tokens_per_s_per_gpu fitted")
    need("curve", curve, "concurrency tpot_ms output_tokens_per_s_per_gpu")
    curve = curve.sort_values("concurrency", kind="stable")
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
    prompt, answer = map(count, lengths)
    title = (
        f"{model} on {gpu}, {prompt} tokens in and {answer} out: TPOT is {tpot_ms:.3g} ms at "
        f"concurrency {count(chosen_concurrency)}"
    )
    if slo_tpot_ms is not None:
        side = "within" if tpot_ms <= slo_tpot_ms else "outside"
        title += f", {side} the SLO of {slo_tpot_ms:g} ms"
    figure = blank(title, note, 2.65)
    ax = figure.subplots()
    ax.plot(curve["concurrency"], curve["tpot_ms"], color=GREY)
    fitted = points["fitted"].astype(bool)
    for group, face in ((points[fitted], INK), (points[~fitted], "white")):
        ax.plot(group["concurrency"], group["tpot_ms"], "o", color=INK, mfc=face, ms=4)
    top = 1.1 * max(slo_tpot_ms or 0, points["tpot_ms"].max(), curve["tpot_ms"].max())
    left, right = min(low, points["concurrency"].min()), max(high, points["concurrency"].max())
    ax.set(xscale="log", xlim=(left / 1.1, right * 1.1), ylim=(0, top), ylabel="TPOT (ms)")
    ax.set_xlabel("requests in flight per replica, log scale (● fitted, ○ held out)")
    log_ticks(ax.xaxis)
    ax.vlines(chosen_concurrency, tpot_ms, top, color=INK, lw=0.8, linestyle=":")
    ax.plot(chosen_concurrency, tpot_ms, "D", color=ACCENT, ms=7, zorder=3)
    chosen = f"{count(chosen_concurrency)}, {count(tokens_per_s)} output tokens/s per GPU"
    top_label(ax, chosen_concurrency, f"chosen: concurrency {chosen}")
    error = f"fitted curve,\nerror {share(error_share)}"
    labels = [right_label(ax, curve["tpot_ms"].iloc[-1], error, GREY, leader=True)]
    if slo_tpot_ms is not None:
        ax.axhline(slo_tpot_ms, color=ACCENT, linestyle="--", lw=1.2)
        labels.append(right_label(ax, slo_tpot_ms, f"SLO {slo_tpot_ms:g} ms", ACCENT, leader=True))
    spread(figure, ax, labels)
    return finish(
        figure,
        f"{title}. Chosen concurrency {chosen}. {fitted.sum()} measured points fitted, "
        f"{(~fitted).sum()} held out; error of the curve {share(error_share)}.",
    )


@of_rows
def heldout_errors(table: pd.DataFrame) -> Chart:
    """Error of the fitted serving curve on points held out of the fit, by group.

    table: one row per group: model, gpu, precision, engine_version, n_fit (points),
    median_abs_error_share, p90_abs_error_share. The goal is `HELDOUT_GOAL`.
    """
    need(
        "table",
        table,
        "model gpu precision engine_version n_fit median_abs_error_share p90_abs_error_share",
    )
    table = table.sort_values("median_abs_error_share", ignore_index=True, kind="stable")
    names = [
        f"{r.model} · {r.gpu} · {r.precision} · {r.engine_version}" for _, r in numbered(table)
    ]
    errors = table["median_abs_error_share"]
    within = f"{(errors <= HELDOUT_GOAL).sum()} of {len(table)} serving groups"
    note = "points: published (vLLM)"
    title = (
        f"The error on held-out points is {share(errors.median())} for the median group, "
        f"{'within' if errors.median() <= HELDOUT_GOAL else 'beyond'} the goal of "
        f"{share(HELDOUT_GOAL)}; {within} meet it, the worst has {share(errors.max())}"
    )
    figure = blank(title, note, 0.9 + 0.19 * len(table))
    ax = figure.subplots()
    middle, far = max(errors.max(), HELDOUT_GOAL), table["p90_abs_error_share"].max()
    right = 100 * max(1.2 * middle, min(1.05 * far, 3 * middle))  # one wild p90 hides no median
    ax.axvline(100 * HELDOUT_GOAL, color=ACCENT, linestyle="--", lw=1.2, zorder=0)
    facts = []
    for y, row in numbered(table):
        median, p90 = 100 * row.median_abs_error_share, 100 * row.p90_abs_error_share
        ax.hlines(y, median, min(p90, right), color=GREY)
        ax.plot(min(p90, right), y, ">" if p90 > right else "|", color=GREY, ms=5, clip_on=False)
        face = INK if row.median_abs_error_share <= HELDOUT_GOAL else "white"
        ax.plot(median, y, "o", color=INK, mfc=face, ms=4.5, clip_on=False)
        fact = f"{share(row.median_abs_error_share)}, p90 {share(row.p90_abs_error_share)}"
        facts.append(f"{fact}, {row.n_fit:g} points")
        right_label(ax, y, facts[-1])
    label_rows(ax, [wrap(name, 2.4, lines=1) for name in names])
    ax.set(xlim=(0, right))
    even_ticks(ax.xaxis)
    ax.set_xlabel("absolute error of throughput, % (● median, ○ median beyond the goal, — to p90)")
    top_label(ax, 100 * HELDOUT_GOAL, f"goal {share(HELDOUT_GOAL)}", ACCENT)
    readings = "; ".join(f"{name}: {fact}" for name, fact in zip(names, facts, strict=True))
    return finish(figure, f"{title}. {readings}.")

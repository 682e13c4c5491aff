"""What can a fleet carry, how many replicas does the week take, and what stands idle?"""

import numpy as np
import pandas as pd

from llmstudy.charts.drawing import blank, finish, log_ticks, right_label, spread, top_label
from llmstudy.charts.style import ACCENT, GREY, INK, PALE, Chart
from llmstudy.charts.tables import need
from llmstudy.text import count, share


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
    need("hours", hours, "hour requests_per_s")
    hours = hours.sort_values("hour")
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
    # the last hour lasts an hour too
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
    ax.set_xticks(range(0, 169, 24), labels=[])
    days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
    ax.set_xticks(range(12, 168, 24), labels=days, minor=True)
    ax.tick_params(axis="x", which="minor", length=0)
    ax.set(xlim=(0, 168), ylim=(0, 1.08 * max(load.max(), rented, enough)))
    ax.set(xlabel="hour of the week (UTC)", ylabel="requests per s")
    spread(figure, ax, labels)
    return finish(
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
    need("points", points, "concurrency tpot_ms output_tokens_per_s_per_gpu fitted")
    need("curve", curve, "concurrency tpot_ms output_tokens_per_s_per_gpu")
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
    figure = blank(title, note, 2.65)
    ax = figure.subplots()
    ax.plot(curve["concurrency"], curve["tpot_ms"], color=GREY)
    fitted = points["fitted"].astype(bool)
    for group, face in ((points[fitted], INK), (points[~fitted], "white")):
        ax.plot(group["concurrency"], group["tpot_ms"], "o", color=INK, mfc=face, ms=4)
    top = 1.1 * max(slo_tpot_ms, points["tpot_ms"].max(), curve["tpot_ms"].max())
    left, right = min(low, points["concurrency"].min()), max(high, points["concurrency"].max())
    ax.set(xscale="log", xlim=(left / 1.1, right * 1.1), ylim=(0, top), ylabel="TPOT (ms)")
    ax.set_xlabel("concurrency: requests in flight per replica, log scale (● fitted, ○ held out)")
    log_ticks(ax.xaxis)
    ax.axhline(slo_tpot_ms, color=ACCENT, linestyle="--", lw=1.2)
    ax.vlines(chosen_concurrency, tpot_ms, top, color=INK, lw=0.8, linestyle=":")
    ax.plot(chosen_concurrency, tpot_ms, "D", color=ACCENT, ms=7, zorder=3)
    chosen = f"{count(chosen_concurrency)}, {count(tokens_per_s)} output tokens/s per GPU"
    top_label(ax, chosen_concurrency, f"chosen: concurrency {chosen}")
    error = f"fitted curve,\nerror {share(error_share)}"
    labels = [
        right_label(ax, slo_tpot_ms, f"SLO {slo_tpot_ms:g} ms", ACCENT, leader=True),
        right_label(ax, curve["tpot_ms"].iloc[-1], error, GREY, leader=True),
    ]
    spread(figure, ax, labels)
    return finish(
        figure,
        f"{title}. Chosen concurrency {chosen}. {fitted.sum()} measured points fitted, "
        f"{(~fitted).sum()} held out; error of the curve {share(error_share)}.",
    )

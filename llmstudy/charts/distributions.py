"""How do requests, their costs, latencies and answers vary? Drawn with seaborn.

Each chart takes the frame that a notebook shows, with any number of rows: it draws quantiles.
"""

from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from llmstudy.charts.drawing import (
    blank,
    even_ticks,
    finish,
    label_rows,
    log_ticks,
    name_rows,
    right_label,
    top_label,
    wrap,
)
from llmstudy.charts.style import ACCENT, GREY, INK, LINES, PALE, Chart
from llmstudy.charts.tables import need, of_rows
from llmstudy.text import count, share, usd

BOX: Any = {
    "color": PALE,
    "width": 0.5,
    "whis": (5, 95),
    "showfliers": False,
    "linewidth": 1.0,
    "linecolor": INK,
}
"""Box from the 25th to the 75th percentile, whiskers from the 5th to the 95th."""

_GRID = np.linspace(0, 1, 201)
"""Quantiles that are drawn: those of the box are among them, so that it is that of all rows."""


@of_rows
def token_lengths(requests: pd.DataFrame, note: str) -> Chart:
    """The lengths of prompts and answers of each workload, in tokens.

    requests: workload, input_tokens, output_tokens; failures without tokens are left out.
    """
    need("requests", requests, "workload input_tokens output_tokens")
    sides = {"input_tokens": "prompt", "output_tokens": "answer"}
    middle, high, boxes = {}, {}, []
    for key, rows in requests.groupby("workload", sort=False, observed=True)[[*sides]]:
        name, lengths = str(key), rows[(rows > 0).any(axis=1)].astype(float)
        middle[name], high[name] = (lengths.quantile(q) for q in (0.5, 0.95))
        # on a logarithmic scale there is no 0
        spread = {
            x: np.quantile(lengths[x][lengths[x] > 0], _GRID) for x in sides if lengths[x].any()
        }
        boxes.append(pd.DataFrame(spread).assign(workload=name))
    lines, names = pd.concat(boxes, ignore_index=True), list(middle)
    stretch = pd.Series({x: high[x]["input_tokens"] / middle[x]["input_tokens"] for x in names})
    widest = stretch.idxmax()
    title = (
        f"One prompt in twenty of {widest} is at least {stretch.max():.1f} times as long as its "
        "median"
    )
    figure = blank(title, note, 1.1 + 0.32 * len(names))
    axes = figure.subplots(1, 2, sharey=True)
    for ax, (column, side) in zip(axes, sides.items(), strict=True):
        sns.boxplot(lines, x=column, y="workload", order=names, ax=ax, log_scale=True, **BOX)
        ax.set(xlabel=f"tokens of a {side}".replace("a answer", "an answer"), ylabel="")
        log_ticks(ax.xaxis)
    name_rows(axes[0], names)
    axes[1].tick_params(axis="y", length=0)
    facts = [
        f"{name}: "
        + ", ".join(
            f"{side} median {count(middle[name][column])}, p95 {count(high[name][column])} tokens"
            for column, side in sides.items()
        )
        for name in names
    ]
    return finish(figure, f"{title}. {'; '.join(facts)}.")


@of_rows
def hourly_load(week: pd.DataFrame, note: str) -> Chart:
    """The load of each workload by hour of the week, relative to its own mean.

    week: workload, hour (0 to 167 from Monday midnight UTC), requests_per_s.
    """
    need("week", week, "workload hour requests_per_s")
    relative = week.assign(
        relative=week["requests_per_s"]
        / week.groupby("workload")["requests_per_s"].transform("mean")
    )
    peaks = relative.groupby("workload", sort=False)["relative"].max()
    title = (
        f"The busiest hour of {peaks.idxmax()} has {peaks.max():.1f} times the requests of its "
        "mean hour"
    )
    figure = blank(title, note, 0.7 + 0.62 * len(peaks))
    axes = np.atleast_1d(figure.subplots(len(peaks), 1, sharex=True, sharey=True))
    for ax, name in zip(axes, peaks.index, strict=True):
        rows = relative[relative["workload"] == name]
        sns.lineplot(rows, x="hour", y="relative", ax=ax, color=INK, errorbar=None, lw=1.0)
        ax.axhline(1, color=PALE, lw=0.8)
        ax.set(xlabel="", ylabel="", xlim=(0, 167), ylim=(0, 1.1 * peaks.max()))
        ax.set_yticks([0, 1], labels=["0", "mean"])
        right_label(ax, 0.55 * peaks.max(), f"{wrap(name, 1.3)}\npeak {peaks[name]:.1f}")
    days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
    axes[-1].set_xticks(range(0, 168, 24), labels=days)
    axes[-1].set_xlabel("hours of the week, UTC")
    facts = [f"{name}: peak {peak:.1f} times its mean hour" for name, peak in peaks.items()]
    return finish(figure, f"{title}. {'; '.join(facts)}.")


@of_rows
def request_bills(priced: pd.DataFrame, workload: str, note: str) -> Chart:
    """The cost of single requests of a workload on each route.

    priced: route, usd (per request), one row per request and route.
    """
    need("priced", priced, "route usd")
    per_1k = priced.assign(usd=1000 * priced["usd"])
    by_route = per_1k.groupby("route", sort=False)["usd"]
    middle, high = by_route.quantile(0.5).sort_values(), by_route.quantile(0.95)
    names = list(middle.index)
    ordered = np.sort(per_1k.loc[per_1k["route"] == names[-1], "usd"].to_numpy())
    tenth = ordered[-max(len(ordered) // 10, 1) :].sum() / ordered.sum() if ordered.sum() else 0.0
    title = (
        f"The dearest tenth of {workload}'s requests make {share(tenth)} of its bill on {names[-1]}"
    )
    figure = blank(title, note, 0.9 + 0.3 * len(names))
    ax = figure.subplots()
    positive = per_1k[per_1k["usd"] > 0]
    sns.boxplot(positive, x="usd", y="route", order=names, ax=ax, log_scale=True, **BOX)
    ax.set(xlabel="USD per 1,000 requests (each request priced by itself)", ylabel="")
    log_ticks(ax.xaxis)
    label_rows(ax, [wrap(name, 1.9) for name in names])
    facts = []
    for y, name in enumerate(names):
        right_label(ax, y, f"median {usd(middle[name])}")
        ends = f"median {usd(middle[name])}, p95 {usd(high[name])}"
        facts.append(f"{name}: {ends} per 1,000 requests")
    return finish(figure, f"{title}. {'; '.join(facts)}.")


@of_rows
def measured_waits(samples: pd.DataFrame, note: str) -> Chart | None:
    """The distribution of measured TTFT: the share of requests answered within each time.

    samples: workload, route, ok, ttft_s, ttft_slo_s; a failure counts as never answered. None if
    no first token was timed.
    """
    need("samples", samples, "workload route ok ttft_s ttft_slo_s")
    timed = samples["ttft_s"].notna() | ~samples["ok"].astype(bool)
    drawn = samples.loc[timed, ["workload", "route", "ok", "ttft_s", "ttft_slo_s"]]
    pairs = list(drawn.groupby(["workload", "route"], sort=False, observed=True))
    pairs = [(key, rows) for key, rows in pairs if rows["ttft_s"].notna().any()]
    if not pairs:
        return None
    facts, labels = [], []
    for (workload, route), rows in pairs:
        target_s = float(rows["ttft_slo_s"].iloc[0])
        met = float((rows["ok"].astype(bool) & (rows["ttft_s"] <= target_s)).mean())
        facts.append((met, f"{workload} on {route}: {share(met)} within {target_s:g} s"))
        labels.append(f"{wrap(str(workload), 1.5, lines=1)}\n{wrap(str(route), 1.5, lines=1)}")
    title = f"First tokens within target: {min(facts)[1]} is the lowest of {count(len(facts))}"
    figure = blank(title, note, 0.9 + 0.75 * len(pairs))
    axes = np.atleast_1d(figure.subplots(len(pairs), 1, sharex=True))
    for ax, ((_, rows), label, look) in zip(
        axes, zip(pairs, labels, LINES * len(pairs), strict=False), strict=True
    ):
        _waits(ax, rows, label, look[0])
    axes[0].set_xscale("log")
    log_ticks(axes[-1].xaxis)
    axes[-1].set_xlabel("time to first token, s (red: target)")
    top_label(axes[0], float(pairs[0][1]["ttft_slo_s"].iloc[0]), "target", ACCENT)
    return finish(figure, f"{title}. {'; '.join(fact for _, fact in facts)}.")


def _waits(ax: Axes, rows: pd.DataFrame, label: str, color: str) -> None:
    seconds = rows["ttft_s"].where(rows["ok"].astype(bool), np.inf).astype(float)
    grid = np.quantile(seconds, _GRID, method="inverted_cdf")
    answered = grid[np.isfinite(grid)]
    weights = np.full(len(answered), 1.0)
    sns.ecdfplot(x=answered, weights=weights, ax=ax, color=color, lw=1.2)
    line = ax.lines[-1]
    line.set_ydata(np.asarray(line.get_ydata(), float) * len(answered) / len(grid))
    ax.axvline(float(rows["ttft_slo_s"].iloc[0]), color=ACCENT, lw=1.2)
    ax.set(xlabel="", ylabel="", ylim=(0, 1.02))
    ax.set_yticks([0, 0.5, 1], labels=["0", "50 %", "100 %"])
    right_label(ax, 0.5, label)


@of_rows
def subject_differences(pairs: pd.DataFrame, note: str) -> Chart | None:
    """How the difference in accuracy between two models varies by subject.

    pairs: benchmark, model_proprietary, model_open, subject, difference (share). Pairs with fewer
    than ten subjects are left out.
    """
    need("pairs", pairs, "benchmark model_proprietary model_open subject difference")
    table = pairs.assign(
        points=100 * pairs["difference"],
        pair=pairs["model_open"] + " minus " + pairs["model_proprietary"],
    )
    groups = table.groupby(["benchmark", "pair"], sort=False)["points"]
    ranges = groups.agg(["min", "max", "count"]).query("count >= 10")
    if ranges.empty:
        return None
    table = table.set_index(["benchmark", "pair"]).loc[ranges.index].reset_index()
    table["row"] = table["benchmark"] + "\n" + table["pair"]
    names = list(dict.fromkeys(table["row"]))
    width = (ranges["max"] - ranges["min"]).max()
    title = (
        f"One pair of models differs by up to {width:.0f} points more on one subject than on "
        "another"
    )
    figure = blank(title, note, 0.9 + 0.42 * len(names))
    ax = figure.subplots()
    sns.boxplot(table, x="points", y="row", order=names, ax=ax, **BOX)
    sns.stripplot(table, x="points", y="row", order=names, ax=ax, color=GREY, size=3, jitter=False)
    ax.axvline(0, color=GREY, lw=0.6)
    ax.set(xlabel="open minus proprietary, percentage points, a dot per subject", ylabel="")
    even_ticks(ax.xaxis)
    label_rows(ax, ["\n".join(wrap(x, 2.4, lines=1) for x in name.split("\n")) for name in names])
    facts = [
        f"{', '.join(pair)}: {_signed(row['min'])} to {_signed(row['max'])} points over "
        f"{count(row['count'])} subjects"
        for pair, row in zip(ranges.index, ranges.to_dict("records"), strict=True)
    ]
    return finish(figure, f"{title}. {'; '.join(facts)}.")


def _signed(points: float) -> str:
    return f"{points:+.0f}".replace("-", "−")

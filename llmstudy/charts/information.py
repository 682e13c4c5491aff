"""Which inputs decide, which are worth measuring, and is waiting worth it?"""

from typing import Any

import numpy as np
import pandas as pd

from llmstudy.charts.drawing import (
    beside,
    blank,
    even_ticks,
    finish,
    label_rows,
    log_ticks,
    name_rows,
    plain_usd,
    right_label,
    top_label,
    whisker,
    wrap,
)
from llmstudy.charts.style import ACCENT, GREY, INK, PALE, Chart
from llmstudy.charts.tables import look_up, need, numbered, of_rows
from llmstudy.tables import named
from llmstudy.text import count, opening, share, span, usd

HINDSIGHT = "hindsight"
"""The policy that knows the future, which nobody can follow."""

WORTH: dict[str, Any] = {
    "measure": {"fc": GREY},
    "undecided": {"fc": PALE},
    "not worth it": {"fc": "white"},
}


@of_rows
def tornado(
    sensitivity: pd.DataFrame, base_usd: float, subject: str, note: str, most: int = 8
) -> Chart:
    """Which inputs decide most: the outcome at the low and the high end of each.

    sensitivity: input, low_usd, high_usd (the outcome at the input's low and high end),
    total_effect, total_effect_error (Sobol index and the half-width of its interval).
    base_usd: the outcome with every input at its median. subject: the outcome, as a noun. most: the
    number of inputs to show.
    """
    need("sensitivity", sensitivity, "input low_usd high_usd total_effect total_effect_error")
    table = sensitivity.sort_values(
        "total_effect", ascending=False, ignore_index=True, kind="stable"
    ).head(most)
    table["input"] = [named("input", name) for name in table["input"]]
    ends = np.sort(table[["low_usd", "high_usd"]].to_numpy(dtype=float), axis=1)
    ranges = [span(left, right, usd) for left, right in ends]
    effects = [f"{r.total_effect:.2f} ± {r.total_effect_error:.2f}" for _, r in numbered(table)]
    title = f"{opening(subject)}: base {usd(base_usd)}, {ranges[0]} with {table['input'][0]}"
    figure = blank(title, note, 0.6 + 0.2 * max(len(table), 2))
    ax = figure.subplots()
    left, right = min(base_usd, ends.min()), max(base_usd, ends.max())
    room = 0.3 * (right - left) or abs(base_usd) or 1.0
    ax.set(xlim=(left - room, right + room), xticks=[])  # each bar has its numbers
    ax.spines["bottom"].set_visible(False)
    if left < 0 < right:
        ax.axvline(0, color=GREY, lw=0.6, zorder=0)
    ax.axvline(base_usd, color=INK, lw=1, linestyle="--")
    top_label(ax, base_usd, f"base: {usd(base_usd)}")
    for y, row in numbered(table):
        left, right = ends[y]
        words = ("low", "high") if row.low_usd <= row.high_usd else ("high", "low")
        ax.barh(y, right - left, 0.7, left, color=PALE, edgecolor=GREY, lw=0.5)
        ax.plot(row.high_usd, y, "o", color=INK, ms=4)
        ax.plot(row.low_usd, y, "o", color=INK, mfc="white", ms=4)
        beside(ax, left, y, f"{words[0]}: {plain_usd(left)}", left=True)
        beside(ax, right, y, f"{words[1]}: {plain_usd(right)}", left=False)
        right_label(ax, y, effects[y])
    label_rows(ax, [wrap(name, 2.3, lines=1) for name in table["input"]])
    right_label(ax, -0.95, "total effect", GREY)
    readings = zip(table["input"], ranges, effects, strict=True)
    return finish(
        figure, f"{title}. {'; '.join(f'{i}: {r}, total effect {e}' for i, r, e in readings)}."
    )


@of_rows
def p_never_drivers(table: pd.DataFrame, note: str) -> Chart:
    """The eight inputs that decide most whether a move ever pays off, by P(never) at their ends.

    table: input, p_never_low_bin, p_never_high_bin (share of futures, in the input's lowest and
    highest bin), spread (how far the input moves P(never), share), low, high (its interval).
    """
    need("table", table, "input p_never_low_bin p_never_high_bin spread low high")
    table = table.sort_values("spread", ascending=False, ignore_index=True, kind="stable").head(8)
    table["input"] = [named("input", name) for name in table["input"]]
    spreads = [
        f"{100 * r.spread:.0f} [{100 * r.low:.0f}, {100 * r.high:.0f}]".replace("-", "−")
        for _, r in numbered(table)
    ]
    most = table.iloc[0]
    low, high = share(most.p_never_low_bin), share(most.p_never_high_bin)
    title = (
        f"{opening(most.input)} decides most whether it never pays: never in {low} of "
        f"simulated futures where it is lowest, {high} where it is highest"
        if most.low > 0
        else f"No input clearly decides whether it never pays: the strongest, {most.input}, moves "
        f"that chance by {spreads[0]} points"
    )
    figure = blank(title, note, 1.15 + 0.29 * len(table))
    ax = figure.subplots()
    facts = []
    for y, row in numbered(table):
        x = 100 * np.array([row.p_never_low_bin, row.p_never_high_bin])
        ax.hlines(y, 0, 100, color=PALE, lw=0.6)
        ax.plot(x, [y, y], color=GREY, lw=2.4)
        ax.plot(x[1], y, "o", color=INK, ms=5, clip_on=False, zorder=3)
        ax.plot(x[0], y, "o", color=INK, mfc="white", ms=5, clip_on=False, zorder=3)
        facts.append(f"{share(x[0] / 100)} where lowest, {share(x[1] / 100)} where highest")
        right_label(ax, y, spreads[y])
    name_rows(ax, list(table["input"]))
    right_label(ax, -0.85, "by how many points", GREY)
    ax.set_xlim(0, 100)
    ax.set_xlabel(
        "% of simulated futures in which it never pays off (○ input at its lowest, ● highest)"
    )
    readings = zip(table["input"], facts, spreads, strict=True)
    return finish(
        figure,
        f"{title}. {'; '.join(f'{i}: {f}, moves it by {s} points' for i, f, s in readings)}.",
    )


@of_rows
def information_bars(table: pd.DataFrame) -> Chart:
    """The value of each measurement to the decision, against its cost: the best twelve.

    table, the best first: workload, measurement, value_usd, low_usd, high_usd (its interval),
    cost_usd, verdict (measure, undecided, not worth it).
    """
    need("table", table, "workload measurement value_usd low_usd high_usd cost_usd verdict")
    table = table.head(12).assign(measurement=table["workload"] + ": " + table["measurement"])
    title, note = _measure_next(table), "volumes, prices and quality as graded in the ledger"
    figure = blank(title, note, 0.9 + 0.36 * len(table))
    ax = figure.subplots()
    facts = []
    for y, row in numbered(table):
        look = look_up("a verdict", row.verdict, WORTH)
        ax.barh(y, row.value_usd, 0.5, ec=GREY, lw=0.6, **look)
        whisker(ax, y, row.low_usd, row.high_usd)
        for color, width in (("white", 4.5), (ACCENT, 2.2)):  # visible on a dark bar too
            ax.plot([row.cost_usd] * 2, [y - 0.4, y + 0.4], color=color, lw=width)
        facts.append(f"{row.verdict}: {usd(row.value_usd)}\nfor {usd(row.cost_usd)}")
        right_label(ax, y, facts[-1])
    names = list(table["measurement"])
    name_rows(ax, names)
    high = table[["value_usd", "high_usd", "cost_usd"]].to_numpy(dtype=float).max()
    ax.set_xlim(min(0, table["low_usd"].min()), 1.05 * high or 1)
    even_ticks(ax.xaxis)
    ax.set_xlabel("USD (bar with interval: value of the measurement; red tick: its cost)")
    readings = "; ".join(
        f"{name}, {fact} (interval {span(row.low_usd, row.high_usd, usd)})".replace("\n", " ")
        for name, fact, (_, row) in zip(names, facts, numbered(table), strict=True)
    )
    return finish(figure, f"{title}. {readings}.")


def _measure_next(table: pd.DataFrame) -> str:
    """A title: what to measure next, or that nothing is worth measuring."""
    paying = table[table["verdict"] == "measure"]
    row = (paying if len(paying) else table).iloc[0]
    sums = f"worth {usd(row.value_usd)}, costs {usd(row.cost_usd)}"
    if len(paying):
        return f"Measure {row.measurement} next: {sums}"
    if (table["verdict"] == "undecided").any():
        return f"Nothing is sure to be worth measuring; nearest is {row.measurement}: {sums}"
    return f"Nothing is worth measuring; nearest is {row.measurement}: {sums}"


@of_rows
def waiting_costs(table: pd.DataFrame, note: str) -> Chart:
    """The cost of committing now, of waiting and watching, of never moving, and with hindsight.

    table: policy, mean_cost_usd, low_usd, high_usd (interval of the mean), saving_vs_now_usd,
    saving_low_usd, saving_high_usd (its own paired, narrower interval), p_never (share of futures
    in which the policy never moves). The policy "hindsight" cannot be followed. Raises: ValueError
    if the table lacks columns or rows, or has hindsight only.
    """
    need(
        "table",
        table,
        "policy mean_cost_usd low_usd high_usd saving_vs_now_usd saving_low_usd saving_high_usd "
        "p_never",
    )
    title = _best_policy(table)
    figure = blank(title, note, 0.95 + 0.36 * len(table))
    ax = figure.subplots()
    facts = []
    for y, row in numbered(table):
        whisker(ax, y, row.low_usd, row.high_usd)
        face = "white" if row.policy == HINDSIGHT else INK
        ax.plot(row.mean_cost_usd, y, "o", color=INK, mfc=face, ms=5)
        cost, moves = usd(row.mean_cost_usd), f"never moves in {share(row.p_never)}"
        right_label(ax, y, f"{cost}, {moves}\n{_saving(row)}")
        reach = span(row.low_usd, row.high_usd, usd)
        facts.append(f"{row.policy}: {cost} (interval {reach}), {_saving(row)}, {moves} of futures")
    name_rows(ax, list(table["policy"]))
    now = table.loc[table["saving_vs_now_usd"] == 0, "mean_cost_usd"]
    for cost in now[:1]:
        ax.axvline(cost, color=GREY, lw=0.8, linestyle=":", zorder=0)
        top_label(ax, cost, "now", GREY)
    even_ticks(ax.xaxis)
    ax.set_xlabel("mean cost over the horizon, USD, with its interval (○ cannot be followed)")
    return finish(figure, f"{title}. Against committing now, {'; '.join(facts)}.")


def _best_policy(table: pd.DataFrame) -> str:
    """A title: the policy that costs least, and whether it surely beats committing now."""
    is_hindsight = table["policy"] == HINDSIGHT
    feasible, hindsight = table[~is_hindsight], table[is_hindsight]
    if feasible.empty:
        raise ValueError("table has hindsight only: add a policy that can be followed.")
    best = feasible.iloc[int(feasible["mean_cost_usd"].argmin())]
    if best.saving_low_usd > 0:
        title = f"{opening(best.policy)} costs least: against committing now it {_saving(best)}"
    elif best.saving_vs_now_usd > 0:
        title = f"Nothing is sure to cost less than committing now: {best.policy} {_saving(best)}"
    else:
        title = f"No way to wait costs less than committing now, {usd(best.mean_cost_usd)}"
    return title + (f"; hindsight {_saving(hindsight.iloc[0])}" if len(hindsight) else "")


def _saving(row: Any) -> str:
    """The saving of a policy against committing now, with its interval, in words."""
    saved, low, high = row.saving_vs_now_usd, row.saving_low_usd, row.saving_high_usd
    if saved == low == high == 0:
        return "saves nothing"
    if saved < 0:
        return f"loses {usd(-saved)} ({span(-high, -low, usd)})"
    return f"saves {usd(saved)} ({span(low, high, usd)})"


@of_rows
def convergence(table: pd.DataFrame) -> Chart:
    """Whether enough futures were simulated: the probability of being cheaper by their number.

    table: workload, route, n (futures), estimate, low, high (shares).
    """
    need("table", table, "workload route n estimate low high")
    subject = f"the chance that {table['route'][0]} is cheaper for {table['workload'][0]}"
    table = table.sort_values("n", ignore_index=True, kind="stable")
    estimates = [
        f"{share(r.estimate)}, give or take {50 * (r.high - r.low):.2g} points"
        for _, r in numbered(table)
    ]
    futures = [count(n) for n in table["n"]]
    title = f"{opening(subject)} is {estimates[-1]}, over {futures[-1]} simulated futures"
    title += f"; over {futures[0]} it was {estimates[0]}" if len(table) > 1 else ""
    figure = blank(title, "Monte Carlo error alone", 1.9)
    ax = figure.subplots()
    n, (estimate, low, high) = table["n"], (100 * table[c] for c in ("estimate", "low", "high"))
    ax.axhline(estimate.iloc[-1], color=GREY, lw=0.8, linestyle=":")
    ax.fill_between(n, low, high, color=PALE, alpha=0.6, lw=0)
    ax.vlines(n, low, high, color=GREY)
    ax.plot(n, estimate, "o-", color=INK, ms=4, lw=0.8)
    right_label(ax, estimate.iloc[-1], estimates[-1].replace(", ", ",\n", 1))
    ax.set(xscale="log", xlim=(n.min() / 1.3, n.max() * 1.3), xlabel="simulated futures")
    ax.set_ylabel("estimate, with\nits interval, %")
    log_ticks(ax.xaxis)
    even_ticks(ax.yaxis)
    facts = "; ".join(f"{n} futures: {fact}" for n, fact in zip(futures, estimates, strict=True))
    return finish(figure, f"{title}. {facts}.")

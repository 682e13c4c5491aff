"""What do a month and the horizon cost, and why does the usual calculator differ?"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.text import Annotation

from llmstudy.charts.drawing import (
    above,
    blank,
    even_ticks,
    finish,
    label_rows,
    log_ticks,
    name_rows,
    plain_usd,
    right_label,
    spread,
    wrap,
)
from llmstudy.charts.style import GREY, INK, PALE, Chart
from llmstudy.charts.tables import by_workload, look_of, look_up, need, numbered, of_rows, once
from llmstudy.tables import Rows, named
from llmstudy.text import count, share, span, usd

SIDES = {"self_hosted": "self-hosted", "api": "the API"}

GRADES: dict[str, Any] = {  # filled: observed or published; hatched: assumed or simulated
    "measured": {"fc": GREY, "ec": GREY},
    "recorded": {"fc": GREY, "ec": GREY},
    "published": {"fc": PALE, "ec": GREY},
    "secondary": {"fc": PALE, "ec": GREY},
    "assumed": {"fc": "white", "ec": GREY, "hatch": "////"},
    "simulated": {"fc": "white", "ec": GREY, "hatch": "...."},
}


@of_rows
def projection(table: pd.DataFrame, today: str, note: str) -> Chart:
    """The cumulative cost of each arm at each horizon, with its range.

    table: one row per workload ("all" for their sum), arm and horizon: workload, arm, months,
    p10_usd, p50_usd, p90_usd (cumulative). The arm "stay" stands for today's arm; other routes of
    that arm are left out. today: the arm of today's route.
    """
    need("table", table, "workload arm months p10_usd p50_usd p90_usd")
    if (table["arm"] == "stay").any():
        table = table[table["arm"] != today].replace({"arm": {"stay": today}})
    once("table", table, "workload arm months")
    table = by_workload(table)
    months = sorted(table["months"].unique())
    panels = [(str(name), rows) for name, rows in table.groupby("workload", sort=False)]
    title = _cheapest(table[table["months"] == months[-1]], count(months[-1]))
    figure = blank(title, note, 0.7 + 1.6 * len(panels))
    axes = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
    labels = [_horizons(ax, rows, months) for ax, (_, rows) in zip(axes, panels, strict=True)]
    for ax, (workload, _) in zip(axes, panels, strict=True):
        ax.set_ylabel(wrap(workload, 1.2))
    axes[-1].set_xticks(range(len(months)), labels=[f"by month {count(m)}" for m in months])
    axes[-1].set_xlabel("USD spent from today on: median and 80 % range")
    for ax, its in zip(axes, labels, strict=True):
        spread(figure, ax, its)
    facts = [
        f"{r.workload}, {look_of(r.arm).name}, by month {count(r.months)}: {usd(r.p50_usd)} "
        f"(80 % range {span(r.p10_usd, r.p90_usd, usd)})"
        for _, r in numbered(table)
    ]
    return finish(figure, f"{title}. {'; '.join(facts)}.")


def _cheapest(table: pd.DataFrame, month: str) -> str:
    """A title: the cheapest arm at the last horizon; of several workloads, on how many."""
    total = table[table["workload"] == "all"] if (table["workload"] == "all").any() else table
    if len(total["workload"].unique()) == 1:
        first, *rest = (row for _, row in numbered(total.sort_values("p50_usd", kind="stable")))
        others = ", ".join(f"{look_of(r.arm).name} {usd(r.p50_usd)}" for r in rest)
        return (
            f"{first.workload}: by month {month} {look_of(first.arm).name} has cost least, "
            f"{usd(first.p50_usd)} (80 % range {span(first.p10_usd, first.p90_usd, usd)})"
            f"{'; ' if others else ''}{others}"
        )
    least = table.loc[table.groupby("workload")["p50_usd"].idxmin(), "arm"].value_counts()
    wins = ", ".join(f"with {look_of(str(arm)).name} on {n}" for arm, n in least.items())
    return f"By month {month} least is spent {wins} of {least.sum()} workloads"


def _horizons(ax: Axes, rows: pd.DataFrame, months: Sequence[float]) -> list[Annotation]:
    """Draws the arms of one workload side by side at each horizon. Returns: their labels."""
    low, high = rows["p10_usd"].min(), rows["p90_usd"].max()
    if low > 0 and high > 30 * low:
        ax.set(yscale="log", ylim=(low / 1.5, high * (high / low) ** 0.2))
        log_ticks(ax.yaxis)
    else:
        room = 0.2 * (max(high, 0) - min(low, 0)) or 1.0
        ax.set_ylim(low - room if low < 0 else 0, max(high, 0) + room)
        even_ticks(ax.yaxis)
    arms, labels = list(rows["arm"].unique()), []
    for arm, its in rows.sort_values("months", kind="stable").groupby("arm", sort=False):
        look = look_of(str(arm))
        aside = (arms.index(arm) - (len(arms) - 1) / 2) * 0.27
        x = [months.index(month) + aside for month in its["months"]]
        ax.plot(x, its["p50_usd"], look.marker, color=look.color, linestyle=look.linestyle, lw=0.7)
        ax.vlines(x, its["p10_usd"], its["p90_usd"], color=look.color, lw=1.4)
        for at, (_, row) in zip(x, numbered(its), strict=True):
            above(ax, at, row.p90_usd, plain_usd(row.p50_usd), color=look.color)
        labels.append(right_label(ax, its["p50_usd"].iloc[-1], look.name, look.color, leader=True))
    ax.set_xlim(-0.5, len(months) - 0.5)
    return labels


@of_rows
def calculator_bridge(items: pd.DataFrame, totals: Rows, subject: str) -> Chart | None:
    """The difference between the usual web calculator's monthly cost and ours, item by item.

    items: item, shapley_usd (of either sign). totals, one row: calculator_month_usd, our_month_usd.
    Raises: ValueError if a table lacks columns, or the items do not add up to the difference.
    """
    if not len(totals):
        return None
    sums_row = pd.DataFrame(totals).iloc[0]
    need("items", items, "item shapley_usd")
    items = items[items["shapley_usd"] != 0]
    steps = ["the calculator", *(named("item", i) for i in items["item"]), "this study"]
    kinds = ["start", *["add"] * len(items), "end"]
    amounts = np.array(
        [sums_row["calculator_month_usd"], *items["shapley_usd"], sums_row["our_month_usd"]],
        dtype=float,
    )
    sums = np.cumsum(amounts[:-1])
    if abs(sums[-1] - amounts[-1]) > 0.001 * np.abs(amounts).max():
        raise ValueError(
            f"{subject}: the items add up to {usd(sums[-1])} a month, not to {usd(amounts[-1])}: "
            "add the missing item."
        )
    words = [f"+{usd(x)}" if x > 0 else usd(x) for x in amounts[1:-1]]
    words = [usd(amounts[0]), *words, usd(amounts[-1])]
    title = f"{subject}: the usual calculator says {words[0]} a month, we say {words[-1]}"
    if amounts[1:-1].any():
        most = int(np.abs(amounts[1:-1]).argmax()) + 1
        title += f"; most comes from {steps[most]}, {words[most]}"
    note = "each item's share of the difference (Shapley)"
    figure = blank(title, note, 0.85 + 0.33 * len(steps))
    ax = figure.subplots()
    lefts = [0.0, *sums[:-1], 0.0]
    for y, (left, amount, kind) in enumerate(zip(lefts, amounts, kinds, strict=True)):
        ax.barh(y, amount, 0.6, left, ec=INK, lw=0.6, **_step(kind, amount))
        right_label(ax, y, words[y])
    for y, total in enumerate(sums):
        ax.plot([total, total], [y - 0.3, y + 1.3], color=INK, lw=0.6)
    ax.axvline(0, color=GREY, lw=0.6, zorder=0)
    name_rows(ax, steps)
    low, high = min(0, sums.min()), max(0, sums.max())
    room = 0.03 * (high - low) or 1.0
    ax.set_xlim(low - room, high + room)
    even_ticks(ax.xaxis)
    ax.set_xlabel("USD a month (■ added to the calculator's sum, ▨ subtracted from it)")
    readings = "; ".join(f"{step}: {word}" for step, word in zip(steps, words, strict=True))
    return finish(figure, f"{title}. {readings}.")


def _step(kind: str, amount: float) -> dict[str, Any]:
    """The fill of one bar of the bridge."""
    if kind != "add":
        return {"fc": PALE}
    return {"fc": GREY} if amount > 0 else {"fc": "white", "hatch": "////"}


@of_rows
def cost_items(table: pd.DataFrame, subject: str) -> Chart | None:
    """The monthly cost of each side by item, with those that a price per GPU or token leaves out.

    table: item, usd_month, side (self_hosted, api), grade.
    """
    need("table", table, "item usd_month side grade")
    for side in table["side"]:
        look_up("a side", side, SIDES)
    table = table[table["usd_month"] != 0]
    if table.empty:
        return None
    table = table.sort_values("usd_month", ascending=False, kind="stable")
    panels = [(name, table[table["side"] == side]) for side, name in SIDES.items()]
    panels = [(name, rows) for name, rows in panels if len(rows)]
    title = f"{subject}, a month: {'; '.join(f'{name} {_month(rows)}' for name, rows in panels)}"
    note = "at the stated value of each figure"
    figure = blank(title, note, 0.6 + 0.3 * len(panels) + 0.22 * len(table))
    heights = [len(rows) + 0.2 for _, rows in panels]
    axes = figure.subplots(len(panels), sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    facts = []
    for ax, (name, rows) in zip(axes, panels, strict=True):
        total = rows["usd_month"].sum()
        ax.set_title(f"{name}: {usd(total)}", loc="left", fontweight="bold", pad=3)
        for y, row in numbered(rows):
            part = f", {share(row.usd_month / total)}" if total > 0 else ""
            fact = f"{usd(row.usd_month)}{part} ({row.grade})"
            ax.barh(y, row.usd_month, 0.65, lw=0.6, **look_up("a grade", row.grade, GRADES))
            right_label(ax, y, fact)
            facts.append(f"{name}, {row.item}: {fact}")
        ax.axvline(0, color=GREY, lw=0.6)
        label_rows(ax, [wrap(item, 2.0, lines=1) for item in rows["item"]])
    low, high = min(0, table["usd_month"].min()), max(0, table["usd_month"].max())
    axes[-1].set_xlim(low, high + 0.02 * (high - low) or 1)
    for ax in axes[:-1]:
        ax.tick_params(axis="x", bottom=False, labelbottom=False)
        ax.spines["bottom"].set_visible(False)
    even_ticks(axes[-1].xaxis)
    axes[-1].set_xlabel(
        "USD a month (■ measured or recorded, ▒ published or quoted, ▨ assumed, ░ simulated)"
    )
    return finish(figure, f"{title}. {'; '.join(facts)}.")


def _month(rows: pd.DataFrame) -> str:
    """The total of a side, and the share of all items but the largest (the first row)."""
    total, largest = rows["usd_month"].sum(), rows.iloc[0]
    if total <= 0 or len(rows) == 1:
        return usd(total)
    return f"{usd(total)}, {share(1 - largest.usd_month / total)} of it beside {largest['item']}"


@of_rows
def source_memo_costs(table: pd.DataFrame) -> Chart:
    """The source memo's monthly costs by volume, and ours for the same tokens and instances.

    table: tokens_per_month; memo_api_usd, memo_hosting_low_usd, memo_hosting_most_usd;
    mix_api_usd, our_hosting_low_usd, our_hosting_high_usd; memo_cheaper, our_cheaper (api,
    self_hosted, or either if the ranges overlap).
    """
    ours = "mix_api_usd our_hosting_low_usd our_hosting_high_usd our_cheaper"
    memos = "memo_api_usd memo_hosting_low_usd memo_hosting_most_usd memo_cheaper"
    need("table", table, f"tokens_per_month {memos} {ours}")
    in_memo, in_ours = ((table[f"{who}_cheaper"] == "self_hosted").sum() for who in ("memo", "our"))
    title = (
        f"The source memo has self-hosting cheaper in {in_memo} of {len(table)} rows of its table; "
        f"with whole fleets and their engineers in {in_ours or 'none'}"
    )
    note = "prices of the memo's date · serving: assumed · bands: low to high"
    figure = blank(title, note, 2.5)
    ax = figure.subplots()
    ax.set(xscale="log", yscale="log", xlabel="tokens a month", ylabel="USD a month")
    x, labels, readings = table["tokens_per_month"], [], []
    for arm, who, linestyle, low, high in (
        ("proprietary_api", "the memo", ":", "memo_api_usd", "memo_api_usd"),
        ("proprietary_api", "ours", "-", "mix_api_usd", "mix_api_usd"),
        ("self_hosted", "the memo", ":", "memo_hosting_low_usd", "memo_hosting_most_usd"),
        ("self_hosted", "ours", "-", "our_hosting_low_usd", "our_hosting_high_usd"),
    ):
        look = look_of(arm)
        ax.fill_between(x, table[low], table[high], color=look.color, alpha=0.12, lw=0)
        ax.plot(x, table[low], linestyle, color=look.color, lw=1.1)
        ax.plot(x, table[high], linestyle, color=look.color, lw=1.1)
        last = table.iloc[-1]
        middle = float(np.sqrt(last[low] * last[high]))
        labels.append(right_label(ax, middle, f"{look.name}, {who}", look.color, leader=True))
        readings.append(f"{look.name}, {who}: {span(last[low], last[high], usd)}")
    ax.set_xlim(x.min(), x.max())
    log_ticks(ax.xaxis)
    log_ticks(ax.yaxis)
    spread(figure, ax, labels)
    return finish(figure, f"{title}. At {count(x.max())} tokens a month: {'; '.join(readings)}.")

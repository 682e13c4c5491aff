"""What does each advisor's rule decide, when would it switch, and what would it cost?"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from llmstudy.charts.drawing import (
    beside,
    blank,
    finish,
    label_rows,
    plain_usd,
    right_label,
    top_label,
    whisker,
    wrap,
)
from llmstudy.charts.style import GREY, INK, PALE, Chart
from llmstudy.charts.tables import look_up, need, numbered, of_rows
from llmstudy.tables import Rows
from llmstudy.text import count, share, span, usd

ANSWERS = {"now": "● now", "later": "◐ later", "no": "○ no", "unknown": "? unknown"}

ALL = "all"
"""The column of all workloads together."""

MEMO = "This memo"
"""The row of this memo's own decisions, below the advisors."""

_MOST_WORDS = 6  # columns; with more, cells have room for marks only, and names are rotated
_MARK_IN = 0.13
_GRID_IN = 3.9
_UPRIGHT_IN = 1.2
"""Room for rotated names of workloads."""


@of_rows
def panel(lenses: pd.DataFrame, by_workload: Rows, agreement: Rows, note: str) -> Chart:
    """The advisors' answers per workload, with the regret of their rules (their cost above
    hindsight) and the month of the switch.

    lenses, in the order to show: lens, decides (now, later, no, unknown), switch_month_p50 (null:
    never in most futures), p_never, regret_usd with its interval regret_low_usd and regret_high_usd
    (all null: not back-tested). by_workload: lens, workload, decides. agreement: workload (`ALL`:
    all together), this_memo (this memo's decision).
    """
    trial = "switch_month_p50 p_never regret_usd regret_low_usd regret_high_usd"
    need("lenses", lenses, f"lens decides {trial}")
    memo = [
        {"lens": MEMO, "workload": row.workload, "decides": row.this_memo}
        for _, row in numbered(pd.DataFrame(agreement))
    ]
    whole = lenses[["lens", "decides"]].assign(workload=ALL)
    answers = pd.concat([whole, pd.DataFrame(by_workload), pd.DataFrame(memo)])
    need("by_workload", answers, "lens workload decides")
    lenses = pd.concat([lenses, pd.DataFrame([{"lens": MEMO}])] if memo else [lenses])
    lenses = lenses.astype(dict.fromkeys(trial.split(), float))
    table = lenses.reset_index(drop=True)
    columns = [ALL, *[name for name in answers["workload"].unique() if name != ALL]]
    title = _title(table, answers)
    upright = len(columns) <= _MOST_WORDS
    width_in, lines = (_GRID_IN / len(columns), 3) if upright else (_UPRIGHT_IN, 1)
    heads = [wrap(name, width_in - 0.04, lines=lines) for name in columns]
    head_in = 0.13 * max(head.count("\n") + 1 for head in heads) if upright else _UPRIGHT_IN
    figure = blank(title, note, 0.5 + head_in + 0.21 * len(table))
    has_regret = bool(table["regret_usd"].notna().any())
    widths = [_GRID_IN * min(1, len(columns) / 5), 0.7] if has_regret else [1.0]
    axes = figure.subplots(1, len(widths), width_ratios=widths, squeeze=False)[0]
    row_answers = _grid(axes[0], table, answers, columns)
    axes[0].set_xticks(range(len(columns)), labels=heads, rotation=0 if upright else 90)
    costs = _regrets(axes[1], table) if has_regret else [""] * len(table)
    facts = [
        f"{row.lens}: {row_answers[y]}{'; ' if costs[y] else ''}{costs[y]}"
        for y, row in numbered(table)
    ]
    return finish(figure, f"{title}. {'. '.join(facts)}.")


def _grid(ax: Axes, table: pd.DataFrame, answers: pd.DataFrame, columns: list[str]) -> list[str]:
    """Draws each answer in its cell. Returns: the answers of each row in words."""
    decisions = answers.set_index(["lens", "workload"])["decides"]
    upright, room = len(columns) <= _MOST_WORDS, _GRID_IN / len(columns)
    row_answers = []
    for y, row in numbered(table):
        words = []
        for x, name in enumerate(columns):
            word = look_up("an answer", str(decisions[row.lens, name]), ANSWERS)
            moves = word == ANSWERS["now"]
            ax.add_patch(
                Rectangle((x - 0.48, y - 0.42), 0.96, 0.84, fc=PALE if moves else "white", ec=PALE)
            )
            weight = "bold" if moves else "normal"
            label = word[: None if upright else 1 if room > _MARK_IN else 0]
            ink = GREY if word == ANSWERS["unknown"] else INK
            ax.text(
                x, y, label, ha="center", va="center", weight=weight, color=ink
            )  # fmt: skip
            words.append(f"{name} {word[2:]}")
        row_answers.append(", ".join(words))
    label_rows(ax, [wrap(str(row.lens), 1.1, lines=1) for _, row in numbered(table)])
    ax.set_xlim(-0.5, len(columns) - 0.5)
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return row_answers


def _regrets(ax: Axes, table: pd.DataFrame) -> list[str]:
    """Draws each regret with its interval and the month of the switch. Returns: them in words."""
    readings = []
    for y, row in numbered(table):
        if np.isnan(row.regret_usd):
            readings.append("")
            continue
        ax.barh(y, row.regret_usd, 0.6, fc=PALE, ec=GREY, lw=0.6)
        whisker(ax, y, row.regret_low_usd, row.regret_high_usd)
        top = max(row.regret_high_usd, row.regret_usd)
        beside(ax, top, y, plain_usd(row.regret_usd), left=False)
        when, never = _when(row), share(row.p_never)
        right_label(ax, y, f"{when}; {never}")
        reach = span(row.regret_low_usd, row.regret_high_usd, usd)
        readings.append(f"regret {usd(row.regret_usd)} [{reach}], {when}; never in {never}")
    label_rows(ax, [""] * len(table))
    right_label(ax, -0.95, "switches; never in", GREY)
    high = float(table[["regret_usd", "regret_high_usd"]].max().max())
    low = min(0.0, float(table["regret_low_usd"].min()))
    ax.set_xlim(1.1 * low, high + 0.8 * (high - low) or 1)
    ax.set_xticks([])  # each bar has its number
    ax.spines["bottom"].set_visible(False)
    top_label(ax, low, "regret, USD", GREY)
    return readings


def _when(row: Any) -> str:
    """The median month of a rule's switch over the simulated futures, in words."""
    if np.isnan(row.switch_month_p50):
        return "never"
    return "at once" if row.switch_month_p50 == 0 else f"month {count(row.switch_month_p50)}"


def _title(table: pd.DataFrame, answers: pd.DataFrame) -> str:
    """A title: how many advisors' rules would move now, and which has the least regret."""
    overall = answers[(answers["workload"] == ALL) & answers["lens"].isin(table["lens"])]
    tested = table.dropna(subset="regret_usd")
    judged = overall if tested.empty else overall[overall["lens"].isin(tested["lens"])]
    n = judged["decides"].value_counts()
    title = f"{n.get('now', 0) or 'None'} of {len(judged)} advisors' rules would move now"
    if blind := n.get("unknown", 0):
        title += f", {blind} cannot tell"
    if tested.empty:
        return title
    best = tested.sort_values("regret_usd", kind="stable").iloc[0]
    return f"{title}; {best['lens']} loses least against hindsight, {usd(best['regret_usd'])}"

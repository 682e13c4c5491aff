"""Which triggers have fired, what does the plan look like, and what would each rule cost?"""

from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from llmstudy.charts.drawing import (
    beside,
    blank,
    even_ticks,
    finish,
    name_rows,
    plain_usd,
    right_label,
    top_label,
    whisker,
    wrap,
)
from llmstudy.charts.style import ACCENT, GREY, INK, ON_WHITE, PALE, WIDTH_IN, Chart
from llmstudy.charts.tables import look_up, need, numbered, of_rows
from llmstudy.tables import Rows, named
from llmstudy.text import count, share, span, usd

STATUS = {
    "fired": "● fired",
    "pending": "○ pending",
    "armed": "○ armed",
    "unknown": "? unknown",
    "not_applicable": "– not applicable",
}


@of_rows
def trigger_status(triggers: pd.DataFrame) -> Chart:
    """Which triggers have fired: a grid of workloads against triggers.

    triggers: id, workload, status (of `STATUS`), value and threshold in unit (null: unknown),
    name.
    """
    need("triggers", triggers, "id workload status value threshold unit name")
    units = triggers["unit"].replace({"share": "%"})
    ids = triggers.assign(unit=units).drop_duplicates("id").sort_values("id", kind="stable")
    workloads = list(triggers["workload"].unique())
    fired = triggers[triggers["status"] == "fired"].groupby("id")["workload"].agg(list)
    which = [f"{i} on {w[0] if len(w) == 1 else f'{len(w)} workloads'}" for i, w in fired.items()]
    tally = triggers["status"].value_counts()
    armed = f"{tally.get('armed', 0)} armed, {tally.get('unknown', 0)} unknown"
    pending = f"{tally['pending']} pending, " if "pending" in tally else ""
    title = (
        f"{tally.get('fired', 'None')} of {len(triggers)} triggers fired{': ' if which else ''}"
        f"{', '.join(which)}; {pending}{armed}"
    )
    cell_in = (WIDTH_IN - 1.3) / len(ids) - 0.07
    heads = [
        f"{wrap(f'{row.id} {row.name}', cell_in)}\n{wrap(row.unit, cell_in)}"
        for _, row in numbered(ids)
    ]
    head_in = 0.13 * max(head.count("\n") + 1 for head in heads)
    figure = blank(title, "in each cell: value / threshold", 0.5 + head_in + 0.33 * len(workloads))
    ax = figure.subplots()
    facts = []
    for _, row in numbered(triggers):
        at = list(ids["id"]).index(row.id), workloads.index(row.workload)
        facts.append(f"{row.workload} {row.id} {row.name}: {_cell(ax, at, row, cell_in)}")
    ax.set(xlim=(0, len(ids)), ylim=(len(workloads), 0))
    ax.set_xticks(np.arange(len(ids)) + 0.5, labels=heads)
    names = [wrap(name, 1.2) for name in workloads]
    ax.set_yticks(np.arange(len(workloads)) + 0.5, labels=names)
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return finish(figure, f"{title}. {'; '.join(facts)}.")


def _cell(ax: Axes, at: tuple[int, int], row: Any, width_in: float) -> str:
    """Draws one trigger in its cell. Returns: it in words."""
    fired, has_value = row.status == "fired", row.status in ("fired", "pending", "armed")
    word, fact = look_up("a status", row.status, STATUS), ""
    if row.status != "not_applicable":
        fact = f"{_quantity(row.value, row.unit)} / {_quantity(row.threshold, row.unit)}"
    ax.add_patch(
        Rectangle(
            (at[0] + 0.02, at[1] + 0.04),
            0.96,
            0.92,
            facecolor=ACCENT if fired else "white",
            edgecolor=ACCENT if fired else PALE,
            linestyle="-" if has_value else ":",
        )
    )
    ax.text(
        at[0] + 0.5,
        at[1] + 0.5,
        f"{wrap(word, width_in)}\n{wrap(fact, width_in, lines=1)}".strip(),
        ha="center",
        va="center",
        color="white" if fired else INK if has_value else GREY,
    )
    unit = "%" if row.unit == "share" else row.unit
    return f"{word[2:]}, {fact} {unit}" if fact else word[2:]


def _quantity(value: float | None, unit: str) -> str:
    """A trigger's value or threshold to three digits, a share in per cent.

    With fewer digits, a value just past its threshold would look equal to it.
    """
    if value is None or pd.isna(value):
        return "?"
    if unit == "share":
        return f"{100 * value:.3g}".replace("-", "−")
    return f"{value:.3g}" if abs(value) < 1000 else count(value)


@of_rows
def phase_timeline(phases: pd.DataFrame, gates: Rows, decide_by: date) -> Chart:
    """The plan: each phase from start to end, with its exit gate and the state of that.

    phases: phase, title, start, end (dates), exit_gate, exit_state, owner. gates: phase, at, state,
    gate. decide_by: the day of the decision.
    """
    need("phases", phases, "phase title start end exit_gate exit_state owner")
    phases = phases.assign(gate=[_closing(row, pd.DataFrame(gates)) for _, row in numbered(phases)])
    table = phases.assign(start=pd.to_datetime(phases["start"]), end=pd.to_datetime(phases["end"]))
    table = table.sort_values("start", ignore_index=True, kind="stable")
    title = (
        f"Decide by {_day(decide_by)}: {len(table)} {'phase' if len(table) == 1 else 'phases'}, "
        f"each closed by a gate, until {_day(table['end'].max())}"
    )
    first = min(pd.Timestamp(decide_by), table["start"].min())
    last = max(pd.Timestamp(decide_by), table["end"].max())
    length, deadline = (last - first).days, (pd.Timestamp(decide_by) - first).days
    figure = blank(title, "◆ gate that closes the phase", 0.85 + 0.55 * len(table))
    ax = figure.subplots()
    ax.set_xlim(-0.04 * length - 1, 1.04 * length + 1)  # days
    facts = []
    for y, row in numbered(table):
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
            bbox=ON_WHITE,
        )
        right_label(ax, y, wrap(row.gate, 1.9, lines=4))
        facts.append(f"{row.phase} {row.title}, {dates}, owner {row.owner}, gate: {row.gate}")
    name_rows(ax, [f"{row.phase} {row.title}" for _, row in numbered(table)], list(table["owner"]))
    months = pd.date_range(first, last, freq="MS")
    months = months[:: 1 + len(months) // 5]
    ax.set_xticks((months - first).days, labels=[f"{month:%b %Y}" for month in months])
    ax.axvline(deadline, color=ACCENT, lw=1.2, linestyle="--")
    top_label(ax, deadline, f"decide by {_day(decide_by)}", ACCENT)
    return finish(figure, f"{title}. {'; '.join(facts)}.")


def _closing(phase: Any, gates: pd.DataFrame) -> str:
    """The state of a phase's exit, and up to two gates in that state."""
    open_gates: list[str] = []
    if phase.exit_state != "passed":
        exits = gates[(gates["phase"] == phase.phase) & (gates["at"] == "exit")]
        open_gates = list(exits.loc[exits["state"] == phase.exit_state, "gate"].unique()[:2])
    return f"{phase.exit_state}: {'; '.join(open_gates) or phase.exit_gate}"


def _day(day: date) -> str:
    return f"{day.day} {day:%b %Y}"


@of_rows
def regret_bars(table: pd.DataFrame, note: str) -> Chart:
    """The cost of each trigger rule above hindsight.

    table: rule, advisor, regret_usd (mean over the futures), regret_low_usd, regret_high_usd (its
    interval), false_alarm_share, missed_share, switch_share (of futures), delay_months (negative:
    early; null: nothing to time), improved (bool: chosen by the back-test).
    """
    table = table.rename(columns={"regret_low_usd": "low_usd", "regret_high_usd": "high_usd"})
    need(
        "table",
        table,
        "rule advisor regret_usd low_usd high_usd false_alarm_share missed_share delay_months "
        "switch_share improved",
    )
    table["rule"] = [named("rule", rule) for rule in table["rule"]]
    table = table.sort_values("regret_usd", ignore_index=True, kind="stable").astype(
        {"delay_months": float}
    )
    title = _least_regret(table)
    figure = blank(title, note, 1.0 + 0.4 * len(table))
    ax = figure.subplots()
    facts = []
    for y, row in numbered(table):
        ax.barh(y, row.regret_usd, 0.5, fc=GREY if row.improved else PALE, ec=GREY, lw=0.6)
        whisker(ax, y, row.low_usd, row.high_usd)
        beside(ax, max(row.high_usd, row.regret_usd), y, plain_usd(row.regret_usd), left=False)
        alarms, timing = _alarms(row)
        right_label(ax, y, f"{alarms}\n{timing}")
        reach = span(row.low_usd, row.high_usd, usd)
        facts.append(
            f"{row.rule} ({row.advisor}): {usd(row.regret_usd)} [{reach}], {alarms}, {timing}"
        )
    names = [f"★ {row.rule}" if row.improved else row.rule for _, row in numbered(table)]
    name_rows(ax, names, list(table["advisor"]))
    ax.axvline(0, color=GREY, lw=0.6)
    low, high = min(0, table["low_usd"].min()), table[["regret_usd", "high_usd"]].to_numpy().max()
    ax.set_xlim(1.1 * low, high + 0.2 * (high - low) or 1)
    even_ticks(ax.xaxis)
    star = "; ★ improved by the back-test" if table["improved"].any() else ""
    ax.set_xlabel(f"mean cost above hindsight (regret), USD, with its interval{star}")
    return finish(figure, f"{title}. {'; '.join(facts)}.")


def _least_regret(table: pd.DataFrame) -> str:
    """A title: the rule with the least regret, and how many may be as good. Rows by regret."""
    best, worst = table.iloc[0], table.iloc[-1]
    least, star = usd(best.regret_usd), ", the improved rule," if best.improved else ""
    title = f"{best.rule} ({best.advisor}){star} loses least against hindsight, {least}"
    if len(table) == 1:
        return title
    near = int((table["low_usd"][1:] <= best.high_usd).sum())
    unsure = f"; the intervals of {near} of {len(table) - 1} others reach it" if near else ""
    return f"{title}; {worst.rule} loses most, {usd(worst.regret_usd)}{unsure}"


def _alarms(row: Any) -> tuple[str, str]:
    """The errors of a rule, and when it switches, in words."""
    late = "late" if row.delay_months >= 0 else "early"
    delay = "" if np.isnan(row.delay_months) else f", {count(abs(row.delay_months))} months {late}"
    return (
        f"false alarms {share(row.false_alarm_share)}, missed {share(row.missed_share)}",
        f"switches in {share(row.switch_share)}{delay}",
    )

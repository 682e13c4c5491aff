"""An outcome next to the base case: tables and charts as HTML and SVG text.

Text is faster than matplotlib figures, and a slider redraws at every step. Filled marks are the
setting, hollow marks the base case.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import floor, log10
from typing import NamedTuple

from llmstudy.answer import (
    BASE,
    BreakEven,
    Changes,
    Crossovers,
    Lever,
    Outcome,
    Prepared,
    answer,
    crossovers,
)
from llmstudy.answer import break_evens as break_evens_of
from llmstudy.charts.style import ARMS, GREY, INK, PALE
from llmstudy.tables import named
from llmstudy.text import count, never_or, share, signed_usd, span, usd

LEVERS: dict[Lever, tuple[str, Callable[[float], str]]] = {
    "volume": ("volume", lambda x: f"{x:.2g} times"),
    "growth": ("growth", lambda x: f"{100 * x:+.1f} points a month"),
    "gpu_price": ("GPU price", lambda x: f"{x:.2g} times"),
    "reserved": ("hours reserved", share),
    "team": ("engineers of the fleet", lambda x: f"{x:.2g} times"),
    "margin": ("quality margin", lambda x: f"{100 * x:+.1f} points"),
}
"""The name of each lever, and how its value is formatted."""


@dataclass(frozen=True)
class View:
    """Everything that the page shows for one setting."""

    outcome: Outcome
    crossovers: Crossovers
    break_evens: Mapping[str, Sequence[BreakEven]]


def view(prepared: Prepared, changes: Changes = BASE) -> View:
    """Computes what the page shows under changes. Raises: ValueError as `answer`."""
    outcome = answer(prepared, changes)
    return View(outcome, crossovers(prepared, outcome), break_evens_of(prepared, outcome))


def page(now: View, base: View) -> str:
    """The page for one setting: headline, verdicts, charts and break-evens, with the base case."""
    parts = (
        headline(now.outcome, base.outcome),
        verdicts(now.outcome, base.outcome),
        savings_chart(now.outcome, base.outcome),
        months_chart(now.outcome, base.outcome),
        volumes_chart(now, base),
        break_evens(now),
    )
    look = f"color:{INK};background:#fff;max-width:60rem;line-height:1.35"
    return f'<div style="{look}">{"".join(parts)}</div>'


def headline(now: Outcome, base: Outcome) -> str:
    """The decisions, the cost of staying, and their difference from the base case."""
    decided = [w.verdict.decision for w in now.workloads.values()]
    tally = ", ".join(f"{decided.count(d)} {d}" for d in ("move", "stay", "undecided"))
    answers = [named("overall", outcome.overall) for outcome in (now, base)]
    was = "as in the base case" if now.overall == base.overall else f"base case: {answers[1]}"
    cost, before = now.stay_month_usd, base.stay_month_usd
    cost_text = f"Staying costs {usd(cost)} in the first month, {_delta(cost - before)} base case."
    changed = escape(", ".join(now.different(base)))
    cost_text += f" Changed: {changed}." if changed else " No verdict changes."
    return f'<p role="status"><strong>{answers[0]}</strong> ({was}): {tally}. {cost_text}</p>'


def _delta(usd_: float) -> str:
    if abs(usd_) < 0.5:
        return "as in the"
    return f"{usd(abs(usd_))} {'above' if usd_ > 0 else 'below'} the"


def verdicts(now: Outcome, base: Outcome) -> str:
    """A row per workload: its verdict, the move that saves most, and the difference from base."""
    head = ["workload", "verdict", "base case", "best move", "saving over the horizon (80 % range)"]
    head += [
        "change from base",
        "probability of being cheaper",
        "month today",
        "month after the move",
    ]
    head += ["evidence to collect"]
    rows = []
    for name, workload in now.workloads.items():
        then, best = base.workloads[name], workload.best
        cells = [name, workload.course, then.course]
        if best is None or not workload.routes:
            cells += ["none is permitted and priced", *[""] * 5]
        else:
            saved = best.saving_usd
            before = then.of(best.route)
            cells += [
                best.route,
                f"{usd(saved['p50'])} ({span(saved['p10'], saved['p90'], usd)})",
                "" if before is None else signed_usd(saved["p50"] - before.saving_usd["p50"]),
                share(best.p_cheaper),
                usd(workload.routes[0].month_usd),
                usd(best.month_usd),
            ]
        first, *more = [item.sentence for item in workload.verdict.collect] or ["nothing"]
        rows.append([*cells, f"{first} (and {len(more)} more)" if more else first])
    return _table("Verdicts", head, rows)


def break_evens(now: View) -> str:
    """The values of each lever at which a move starts or stops paying, the others as set."""
    rows = [
        [name, turn.route, LEVERS[turn.lever][0], _turns(turn)]
        for name, turns in now.break_evens.items()
        for turn in turns
    ]
    head = ("workload", "move", "lever", "break-even")
    return _table("Break-evens, with the other levers as set", head, rows)


def _turns(turn: BreakEven) -> str:
    if turn.at is None and turn.lever == "margin":
        return "no paired items to judge it by"
    if turn.at is None:
        return "none in its range"
    what = "keeps the margin" if turn.lever == "margin" else "pays off"
    side = "above" if turn.passes_above else "below"
    return f"{what} {side} {LEVERS[turn.lever][1](turn.at)}"


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cell = 'style="text-align:left;padding:.15em .6em;vertical-align:top"'
    top = "".join(f'<th scope="col" {cell}>{escape(h)}</th>' for h in head)
    body = "".join(
        "<tr>" + "".join(f"<td {cell}>{escape(text)}</td>" for text in row) + "</tr>"
        for row in rows
    )
    return (
        f'<table style="border-collapse:collapse;margin:.6em 0"><caption style="text-align:left;'
        f'font-weight:600">{escape(title)}</caption><thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table>"
    )


# --- charts -------------------------------------------------------------------------------------

_WIDTH, _LEFT, _RIGHT, _ROW = 860, 330, 20, 20


class Mark(NamedTuple):
    """One row of a chart: a value with its range, and the base case."""

    label: str
    color: str
    value: float | None
    low: float | None
    high: float | None
    base: float | None
    tick: float | None = None


def savings_chart(now: Outcome, base: Outcome) -> str:
    """The saving of each arm's favoured route over the horizon, with its 80 % range."""
    rows = []
    for name, workload in now.workloads.items():
        for route in (r for r in workload.favoured if not r.stays):
            before, saved = base.workloads[name].of(route.route), route.saving_usd
            was = None if before is None else before.saving_usd["p50"]
            marks = (saved["p50"], saved["p10"], saved["p90"], was)
            rows.append(Mark(f"{name}: {route.route}", ARMS[route.arm].color, *marks))
    pays = sum(r.passes for w in now.workloads.values() for r in w.favoured if not r.stays)
    title = f"{pays} of {len(rows)} favoured moves save enough with enough probability"
    return _chart(title, "saving over the horizon, USD", rows, usd, zero=True)


def months_chart(now: Outcome, base: Outcome) -> str:
    """The first month's bill on today's route and on each arm's favoured route."""
    rows = []
    for name, workload in now.workloads.items():
        for route in workload.favoured:
            before = base.workloads[name].of(route.route)
            was = None if before is None else before.month_usd
            label = f"{name}: {route.route}{' (today)' if route.stays else ''}"
            rows.append(Mark(label, ARMS[route.arm].color, route.month_usd, None, None, was))
    fleets_usd = [
        route.month_usd
        for workload in now.workloads.values()
        for route in workload.favoured
        if route.arm == "self_hosted"
    ]
    least = f"; the cheapest fleet with its team {usd(min(fleets_usd))}" if fleets_usd else ""
    title = f"Staying costs {usd(now.stay_month_usd)} in the first month{least}"
    return _chart(title, "bill of the first month if already moved, USD (log scale)", rows, usd)


def volumes_chart(now: View, base: View) -> str:
    """The monthly volume from which each arm is cheaper than today's API, and today's volume."""
    rows, beyond = [], 0
    for (name, route), (low, value, high) in now.crossovers.items():
        cost = now.outcome.workloads[name].of(route)
        assert cost is not None
        was, requests = base.crossovers.get((name, route)), now.outcome.requests[name]
        marks = (value, low, high, was[1] if was else None, requests)
        rows.append(Mark(f"{name}: {route}", ARMS[cost.arm].color, *marks))
        beyond += value is None or value > requests
    title = f"The volume is below the crossover for {beyond} of {len(rows)} favoured routes"
    axis = "requests a month (log scale); bar: volume at this setting"
    return _chart(title, axis, rows, count)


def _chart(
    title: str, axis: str, rows: Sequence[Mark], fmt: Callable[[float], str], *, zero: bool = False
) -> str:
    """Rows of marks on one axis, each with its value in words; empty text without rows.

    zero: a linear axis that includes zero, else a logarithmic one.
    """
    if not rows:
        return ""
    values = [x for m in rows for x in m[2:] if isinstance(x, float) and (zero or x > 0)]
    values = [*values, 0.0] if zero else values or [1.0]
    low, high = min(values), max(values)
    wide = _WIDTH - _LEFT - _RIGHT - 90

    def x(value: float) -> float:
        if zero:
            at = (value - low) / (high - low or 1)
        else:
            at = log10(max(value, low) / low) / (log10(high / low) or 1)
        return round(_LEFT + wide * at, 1)

    body = [_row(m, 34 + _ROW * i, x, fmt) for i, m in enumerate(rows)]
    bottom = 30 + _ROW * len(rows)
    lines = []
    for tick in _ticks(low, high, zero):
        ink = GREY if zero and tick == 0 else PALE
        lines.append(f'<path d="M{x(tick)} 24V{bottom}" stroke="{ink}"/>')
        lines.append(_text(x(tick), bottom + 13, fmt(tick), GREY, "middle"))
    readings = "; ".join(f"{m.label} {never_or(m.value, fmt)}" for m in rows)
    return (
        f'<svg role="img" aria-label="{escape(f"{title}. {axis}: {readings}.")}" '
        f'viewBox="0 0 {_WIDTH} {bottom + 34}" style="width:100%;font:12px sans-serif">'
        f"{_text(0, 14, title, INK, weight=600)}{''.join(lines)}{''.join(body)}"
        f"{_text(_LEFT, bottom + 29, f'{axis}; hollow: base case', GREY)}</svg>"
    )


def _row(m: Mark, y: float, x: Callable[[float], float], fmt: Callable[[float], str]) -> str:
    parts = [_text(_LEFT - 8, y + 4, m.label, INK, "end")]
    if m.low is not None and m.high is not None:
        parts.append(f'<path d="M{x(m.low)} {y}H{x(m.high)}" stroke="{m.color}" stroke-width="3"/>')
    if m.tick is not None:
        parts.append(f'<path d="M{x(m.tick)} {y - 7}v14" stroke="{INK}" stroke-width="2"/>')
    if m.value is not None:
        parts.append(f'<circle cx="{x(m.value)}" cy="{y}" r="4" fill="{m.color}"/>')
    if m.base is not None:
        ring = f'r="6" fill="none" stroke="{INK}" stroke-width="1.2"'
        parts.append(f'<circle class="base" cx="{x(m.base)}" cy="{y}" {ring}/>')
    parts.append(_text(_WIDTH, y + 4, never_or(m.value, fmt), INK, "end"))
    return "".join(parts)


def _text(
    x: float, y: float, text: str, color: str, anchor: str = "start", weight: int = 400
) -> str:
    return (
        f'<text x="{x}" y="{y}" fill="{color}" text-anchor="{anchor}" font-weight="{weight}">'
        f"{escape(text)}</text>"
    )


def _ticks(low: float, high: float, zero: bool) -> list[float]:
    """A few round values: linear steps of 1, 2 or 5, or powers of ten with their 2 and 5."""
    if not zero:
        tens = [10.0**k for k in range(floor(log10(low)), floor(log10(high)) + 1)]
        within = [p for p in tens if low <= p <= high]
        if len(within) < 3:
            within = [k * p for p in tens for k in (1, 2, 5) if low <= k * p <= high]
        return within[:: 1 + len(within) // 8]
    size = (high - low or 1) / 4
    power = 10.0 ** floor(log10(size))
    step = next(k * power for k in (1, 2, 5, 10) if k * power >= size)
    return [step * k for k in range(floor(low / step), floor(high / step) + 1) if low <= step * k]

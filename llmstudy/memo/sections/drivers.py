"""What drives the answer, and on which assumptions it rests."""

from html import escape
from typing import Any

from markupsafe import Markup

from llmstudy.figure import Figure
from llmstudy.memo.context import Facts, likelihood, meaning
from llmstudy.memo.figures import bound, quoted, told, told_span
from llmstudy.memo.sections.prose import heading, html, owner_text, paragraph, table
from llmstudy.tables import named
from llmstudy.text import count, listed, opening, share, usd

MOST_ASSUMPTIONS = 5
"""Rows of the assumptions' table: the budget allows seven, and a page two."""

_STATED = ("requests", "growth", "input_tokens", "output_tokens", "peak_to_mean")
"""The inputs of a bill, for a study with no move whose drivers could be ranked."""


def drivers(facts: Facts) -> str:
    """Heading of the tornado: which inputs decide the lead workload's saving, and how far each may
    go before the answer turns."""
    sensitivity = facts.sensitivity()
    if sensitivity is None or not sensitivity["inputs"]:
        return heading("drivers", "No uncertain input decides a permitted move")
    first = [named("input", str(row["input"])) for row in sensitivity["inputs"][:2]]
    likely = next(
        row["p_cheaper"]
        for row in facts.crossing["savings"]
        if (row["workload"], row["route"]) == (sensitivity["workload"], sensitivity["route"])
    )
    return heading("drivers", f"{escape(opening(listed(first)))} decide the saving") + paragraph(
        f"Moving {owner_text(sensitivity['workload'])} to {owner_text(sensitivity['route'])} is "
        f"{likely_word(likely)} to be cheaper than staying over "
        f"{told(facts.stated('horizon')['value'])} months.",
        _break_even(facts, sensitivity),
    )


def likely_word(p: Any) -> Markup:
    """The fixed word for a probability of the results, bound to it."""
    word = likelihood(p)
    return bound(word, p, meaning=f"{share(p)}; {word} means {meaning(word)}")


def _break_even(facts: Facts, sensitivity: Any) -> str:
    """The input most likely to turn the lead move; of equally likely ones the one whose turning
    point is nearest to its value today."""
    move = (sensitivity["workload"], sensitivity["route"])
    rows = [row for row in facts.crossing["flips"] if (row["workload"], row["route"]) == move]
    rows = [row for row in rows if row["flips_at"] is not None and row["value_now"]]
    if not rows:
        return ""
    near = min(rows, key=lambda row: (-row["p_flip"], abs(row["distance_share"])))
    does = "stops paying" if near["passes_now"] else "pays"
    side = {"above": "below", "below": "above"}[near["direction"]]
    side = side if near["passes_now"] else near["direction"]
    figure = facts.figure(near["input"], sensitivity["workload"])
    at = bound(
        quantity(near["flips_at"], figure.unit if figure else near["unit"]), near["flips_at"]
    )
    name, where = (
        named("input", str(near["input"])),
        "inside" if near["inside_range"] else "outside",
    )
    turns = html(f", and turns in {told(near['p_flip'], share)} of its draws")
    return (
        f"It {does} with {escape(name)} {side} {at}, {where} its range"
        f"{turns if near['p_flip'] else ''}."
    )


def assumptions(facts: Facts) -> str:
    """The inputs that decide most, with value, range, effect, grade, source and date."""
    sensitivity = facts.sensitivity()
    name = sensitivity["workload"] if sensitivity else facts.lead
    ranked = sensitivity["inputs"] if sensitivity else [{"input": short} for short in _STATED]
    figures = [(row, facts.figure(row["input"], name)) for row in ranked]
    rows = [_assumption(facts, row, figure) for row, figure in figures if figure is not None]
    what = "the saving on" if sensitivity else "the bill of"
    caption = html(
        f"What {what} {owner_text(name)} rests on", ", most deciding first" if sensitivity else ""
    )
    return heading("assumptions", "Assumptions") + table(rows[:MOST_ASSUMPTIONS], caption)


def _assumption(facts: Facts, row: Any, figure: Figure) -> dict[str, Any]:
    effect = {"saving at its ends": _ends(row)} if "low_usd" in row else {}
    return {
        "assumption": named("input", str(row["input"])),
        "value": bound(quantity(figure.value, figure.unit), figure.value),
        "range": _range(figure),
        **effect,
        "grade": figure.grade,
        "source": html(
            quoted(figure.source, _short(figure.source)),
            f" ({escape(str(figure.as_of or facts.study.as_of))})",
        ),
    }


def _ends(row: Any) -> Markup:
    low, high = sorted((row["low_usd"], row["high_usd"]))
    return told_span(low, high, usd)


def quantity(x: float, unit: str) -> str:
    """A figure's value with its unit.

    >>> quantity(0.04, "share/month"), quantity(5000, "USD/month"), quantity(3, "routes")
    ('4 % a month', 'USD 5.0k a month', '3 routes')
    """
    if unit in ("USD", "USD/month"):
        return usd(x) + unit.removeprefix("USD").replace("/", " a ")
    if unit.startswith("share"):
        return share(x) + unit.removeprefix("share").replace("/", " a ")
    if unit == "factor/year":
        return f"×{x:.3g} a year"
    if unit == "factor":
        return f"×{x:.3g}"
    if unit in ("requests/month", "tokens/request"):
        return count(x)  # the assumption's name holds its unit
    return f"{count(x)} {unit.removesuffix('/month')}"


def _range(figure: Figure) -> Markup | str:
    if figure.low is None or figure.high is None:
        return "none stated"
    if figure.unit.startswith("USD"):
        return told_span(figure.low, figure.high, usd)
    if figure.unit.startswith("share"):
        return told_span(figure.low, figure.high, share)
    return told_span(figure.low, figure.high, _plain)


def _plain(x: float, beside: float | None = None) -> str:
    return f"{x:.3g}" if x < 1000 else count(x, beside)


def _short(source: str, words: int = 6) -> str:
    parts = str(source).split()
    return " ".join(parts[:words]) + (" …" if len(parts) > words else "")

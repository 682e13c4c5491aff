"""The page of a portfolio for leadership, and the same rows for other programs."""

import base64
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.axes import Axes

from llmstudy import charts, io, text
from llmstudy.charts import Chart
from llmstudy.charts.drawing import beside, blank, finish, log_ticks, name_rows
from llmstudy.charts.style import GREY, INK
from llmstudy.memo import render
from llmstudy.run.sweep.portfolio import Range, Row, Totals
from llmstudy.tables import named
from llmstudy.text import listed

_MEMO = Path(render.__file__).parent


def html(rows: Sequence[Row], summed: Totals) -> str:
    """The page: largest bill first, failed studies last.

    rows: their `memo` is a path from the page's folder.
    Raises: RenderError if the page would load something from outside.
    """
    ordered = sorted(rows, key=lambda r: (r.error is not None, -(r.month_usd or 0.0)))
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {"usd": text.usd, "ends": _ends, "address": quote}
    page = environment.get_template("portfolio.html.j2").render(
        css=(_MEMO / "memo.css").read_text(encoding="utf-8"),
        title=heading(rows),
        findings=list(_findings(rows)),
        rows=ordered,
        totals=summed if len(rows) > 1 else None,
        months=sorted({r.horizon_months for r in rows}),
        days=sorted({r.as_of for r in rows}),
        named=named,
        questions=list(dict.fromkeys(r.question for r in rows)),
        chart=_picture(comparison(ordered)),
    )
    if outside := render.external_references(page):
        raise render.RenderError(f"The page would load {outside[0]!r} from outside.")
    return page


def heading(rows: Sequence[Row]) -> str:
    """The title of the page.

    >>> heading([Row("a", "Acme", "?", "2026-11-23", 24, month_usd=1.0, overall="hybrid")])
    '1 study: none recommends a move'
    """
    finished = [r for r in rows if not r.error]
    n = f"{len(rows)} {'study' if len(rows) == 1 else 'studies'}"
    if not finished:
        return f"{n}: none finished"
    moving = sum(_decides(r, "move") for r in finished)
    waiting = sum(_decides(r, "undecided") for r in finished)
    move = f"{moving or 'none'} recommend{'s' if moving <= 1 else ''} a move"
    wait = f"; {waiting} wait{'s' if waiting == 1 else ''} for evidence" if waiting else ""
    return f"{n}: {move}{wait}"


def _decides(row: Row, decision: str) -> bool:
    return any(course.decision == decision for course in row.workloads)


def _findings(rows: Sequence[Row]) -> Iterator[str]:
    """The findings above the table, a sentence each."""
    if lost := [r.study for r in rows if r.error]:
        verb = "study" if len(lost) == 1 else "studies"
        yield f"{len(lost)} {verb} failed and is not in any figure: {listed(lost)}."
    for name, what in (
        ("saving_usd", "The largest saving of recommended moves is"),
        ("at_stake_usd", "The most that waits for better evidence is"),
    ):
        amounts = [(r, getattr(r, name)) for r in rows if getattr(r, name)]
        gains = [(r, amount) for r, amount in amounts if amount["p50"] > 0]
        if gains:
            best, amount = max(gains, key=lambda gain: gain[1]["p50"])
            yield (
                f"{what} {text.usd(amount['p50'])} over {best.horizon_months} months, in "
                f"{best.study} (80 % range {_ends(amount)})."
            )
    fired, where = sum(len(r.fired) for r in rows), [r.study for r in rows if r.fired]
    if fired:
        yield f"{fired} trigger{' has' if fired == 1 else 's have'} fired, in {listed(where)}."
    else:
        yield "No trigger has fired."


def _ends(amount: Range) -> str:
    return text.span(amount["p10"], amount["p90"], text.usd)


def relative(file: Path, folder: Path) -> str:
    """A file's path from a folder, as a link writes it.

    >>> relative(Path("out/acme/1/memo.html"), Path("out/portfolio-1"))
    '../acme/1/memo.html'
    """
    return Path(os.path.relpath(file, folder)).as_posix()


# ---- how the studies compare --------------------------------------------------------------------


def comparison(rows: Sequence[Row]) -> Chart | None:
    """The monthly cost of staying in each study, and what moves or better evidence would save.

    On one logarithmic axis, since studies differ by orders of magnitude, and per month, since their
    horizons differ. None if no study has a bill.
    """
    billed = [row for row in rows if row.stay_usd and row.stay_usd["p10"] > 0]
    if not billed:
        return None
    title = _title(billed)
    note = (
        "Dot: median; line: 80 % range. Mean month over each study's horizon. "
        f"Confidence in the evidence: {_confidences(billed)}."
    )
    figure = blank(title, note, 0.85 + 0.56 * len(billed))
    ax = figure.subplots()
    ax.set_xscale("log")
    ax.set_xlim(*_limits(billed))
    facts = [f"{row.study}: {', '.join(_amounts(ax, y, row))}" for y, row in enumerate(billed)]
    ax.set_xlabel("USD a month")
    log_ticks(ax.xaxis)
    name_rows(
        ax, [row.study for row in billed], [named("overall", row.overall or "") for row in billed]
    )
    return finish(figure, f"{title}. {'; '.join(facts)}.")


def _title(rows: Sequence[Row]) -> str:
    """A title: where the largest share of a bill can be saved, by moves or else by evidence."""
    for name, what in (("saving_usd", "Moves save"), ("at_stake_usd", "Evidence could save")):
        shares = {
            row.study: getattr(row, name)["p50"] / row.stay_usd["p50"]
            for row in rows
            if row.stay_usd and getattr(row, name)
        }
        if shares and max(shares.values()) > 0:
            best = max(shares, key=lambda study: shares[study])
            most = " most" if len(rows) > 1 else ""
            return f"{what}{most} in {best}: {text.share(shares[best])} of what staying costs"
    return "No study has a move that could save"


def _confidences(rows: Sequence[Row]) -> str:
    """The studies by confidence in their evidence, highest first."""
    studies = {
        level: [row.study for row in rows if row.confidence == level]
        for level in ("high", "moderate", "low")
    }
    return "; ".join(f"{level} in {listed(names)}" for level, names in studies.items() if names)


_MARKS = (  # amount, offset in the row, face of the dot, words before the amount
    ("stay_usd", -0.25, GREY, "staying"),
    ("saving_usd", 0.0, INK, "moves save"),
    ("at_stake_usd", 0.25, "white", "evidence could save"),
)


def _monthly(row: Row, name: str) -> tuple[float, float, float] | None:
    amount = getattr(row, name)
    return amount and tuple(amount[key] / row.horizon_months for key in ("p10", "p50", "p90"))


def _limits(rows: Sequence[Row]) -> tuple[float, float]:
    """The limits of the axis: they include every positive amount, with room for labels."""
    usd = [x for row in rows for name, *_ in _MARKS for x in _monthly(row, name) or () if x > 0]
    decades = max(1.0, np.log10(max(usd) / min(usd)))
    return min(usd) / 10 ** (0.04 * decades), max(usd) * 10 ** (0.35 * decades)


def _amounts(ax: Axes, y: int, row: Row) -> Iterator[str]:
    """Draws the amounts of one study; yields them in words. A log axis cannot show a loss."""
    edge = ax.get_xlim()[0]
    for name, shift, face, words in _MARKS:
        amounts = _monthly(row, name)
        if amounts is None:
            continue
        p10, p50, p90 = amounts
        label = f"{words} {text.usd(p50)}"
        if p50 <= 0:
            label = f"moves cost {text.usd(-p50)}"
            beside(ax, edge, y + shift, label, left=False)
        else:
            ax.hlines(y + shift, max(p10, edge), p90, color=GREY)
            ax.plot(p50, y + shift, "o", mec=INK, mfc=face, ms=5)
            beside(ax, p90, y + shift, label, left=False)
        yield f"{label} a month, 80 % range {text.span(p10, p90, text.usd)}"


def _picture(chart: Chart | None) -> dict[str, str] | None:
    if chart is None:
        return None
    code = base64.b64encode(charts.svg(chart.figure).encode()).decode()
    return {"alt": chart.alt, "source": f"data:image/svg+xml;base64,{code}"}


# ---- for other programs -------------------------------------------------------------------------


def csv(rows: Sequence[Row]) -> str:
    """The rows as CSV, unrounded; several values in one cell are separated by `; `."""
    amounts = ("stay_usd", "saving_usd", "at_stake_usd")
    lines = [
        {
            "study": r.study,
            "company": r.company,
            "question": r.question,
            "as_of": r.as_of,
            "horizon_months": r.horizon_months,
            "overall": r.overall,
            "confidence": r.confidence,
            "evidence": r.evidence,
            "workloads": "; ".join(_course(c.workload, c.decision, c.target) for c in r.workloads),
            "month_usd": r.month_usd,
            **{
                f"{name.removesuffix('_usd')}_{key}_usd": (getattr(r, name) or {}).get(key)
                for name in amounts
                for key in ("p10", "p50", "p90")
            },
            "unbilled": "; ".join(r.unbilled),
            "fired": "; ".join(f"{t.id} {t.name} on {t.workload}" for t in r.fired),
            "collect_first": "; ".join(r.collect_first),
            "memo": r.memo,
            "error": r.error,
        }
        for r in rows
    ]
    return io.csv(pd.DataFrame(lines))


def _course(workload: str, decision: str, target: str | None) -> str:
    return f"{workload}: {decision}" + (f" ({target})" if target else "")

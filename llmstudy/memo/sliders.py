"""The what-if sliders of the memo, which work in an e-mail attachment.

Every setting of the sliders is computed beforehand by the function behind the analyst's panel, so
that nothing is computed, interpolated or fetched where the memo is read. Without scripts, the base
case is shown as text; on paper, the sliders are left out.
"""

import json
from collections.abc import Sequence
from html import escape
from itertools import product
from typing import Any

from llmstudy import io
from llmstudy.answer import BASE, Changes, Outcome, Prepared, answer
from llmstudy.memo.script import SCRIPT
from llmstudy.tables import named
from llmstudy.text import share, signed_usd, span, usd

VOLUMES = (0.25, 0.5, 1.0, 2.0, 4.0, 10.0)
"""Settings of the volume, as factors on today's."""

GPU_PRICES = (0.5, 0.75, 1.0, 1.5)
"""Settings of the on-demand price of a GPU hour, as factors on today's."""

MARGIN_STEPS = (-0.02, -0.01, 0.0, 0.02, 0.05)
"""Steps added to the quality margin, as shares; see `margins`."""

_NAMES = ("volume", "gpu_price", "margin")


def grid(base: Prepared) -> list[Changes]:
    """Every setting that the sliders can reach, the last lever fastest."""
    return [
        Changes(volume=volume, gpu_price=price, margin=margin)
        for volume, price, margin in product(VOLUMES, GPU_PRICES, margins(base))
    ]


def margins(base: Prepared) -> tuple[float, ...]:
    """The steps that leave every workload a quality margin between 0 and 1."""
    stated = [workload.quality.margin.value for workload in base.study.workloads.values()]
    fits = [step for step in MARGIN_STEPS if min(stated) + step > 1e-9 and max(stated) + step < 1]
    return tuple(fits)


def what_if_html(base: Prepared) -> str:
    """The sliders, their grid and the base case, as self-contained HTML."""
    outcomes = [answer(base, changes) for changes in grid(base)]
    at_base = next(outcome for outcome in outcomes if outcome.changes == BASE)
    text = embedded(grid_data(base, outcomes, at_base))
    rows = "".join(_row(name, cells) for name, cells in _cells(at_base, at_base).items())
    sliders = "".join(_slider(base, name) for name in _NAMES)
    return (
        f'<section id="what-if" class="what-if" aria-label="What if">{_STYLE}<h3>What if</h3>'
        f'<div class="what-if-levers" hidden>{sliders}'
        '<button type="button">Back to the base case</button></div>'
        f'<p class="what-if-summary" aria-live="polite">{escape(_summary(at_base, at_base))}</p>'
        f'<div class="table" role="region" tabindex="0" aria-label="{_CAPTION}">'
        f"<table><caption>{_CAPTION}</caption><thead><tr>{_HEAD}</tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
        f"<p><small>{_NOTE}</small></p>"
        f'<script type="application/json">{text}</script><script>{SCRIPT}</script></section>'
    )


def embedded(data: dict[str, Any]) -> str:
    """JSON that is safe within a script element, whatever names it contains.

    >>> embedded({"text": ["<!--<script>"]})
    '{"text":["\\\\u003c!--\\\\u003cscript>"]}'
    """
    plain = io.plain(data)
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def grid_data(base: Prepared, outcomes: Sequence[Outcome], at_base: Outcome) -> dict[str, Any]:
    """The data for the script.

    values: of each lever. base: the positions of the base case. text: each distinct text once.
    rows: for each setting, the positions in text of its sentence and cells.
    """
    values = {"volume": VOLUMES, "gpu_price": GPU_PRICES, "margin": margins(base)}
    places: dict[str, int] = {}

    def place(text: str) -> int:
        return places.setdefault(text, len(places))

    rows = [
        [
            place(_summary(outcome, at_base)),
            *(place(text) for cells in _cells(outcome, at_base).values() for text in cells),
        ]
        for outcome in outcomes
    ]
    return {
        "values": [[_value(name, x) for x in values[name]] for name in _NAMES],
        "base": [values[name].index(getattr(BASE, name)) for name in _NAMES],
        "text": list(places),
        "rows": rows,
    }


# --- words --------------------------------------------------------------------------------------

_HEAD = "".join(
    f'<th scope="col">{head}</th>'
    for head in (
        "Workload",
        "Verdict",
        "Best move",
        "Saving (80 % range)",
        "Change from base",
        "P(cheaper)",
        "Best fleet saves",
    )
)

_CAPTION = "Each workload at these settings"

_NOTE = (
    "Volume and margin apply to every workload, the price is that of a GPU hour on demand; "
    "the rest is as in the study. Every setting was computed with the memo."
)

_LABELS = {
    "volume": "Volume",
    "gpu_price": "GPU price",
    "margin": "Quality margin",
}


def _value(name: str, x: float) -> str:
    if x == getattr(BASE, name):
        return "base case"
    return f"{100 * x:+g} points" if name == "margin" else f"{x:g} times"


def _summary(outcome: Outcome, at_base: Outcome) -> str:
    changed, overall = outcome.different(at_base), named("overall", outcome.overall)
    cost = f"staying costs {usd(outcome.stay_month_usd)} in the first month"
    if outcome.changes == BASE:
        return f"Base case. {overall}; {cost}."
    difference = f"Changed from base: {', '.join(changed)}" if changed else "No verdict changes"
    return f"{overall}; {cost} (base case {usd(at_base.stay_month_usd)}). {difference}."


def _cells(outcome: Outcome, at_base: Outcome) -> dict[str, tuple[str, ...]]:
    """Workload -> verdict, best move, saving with its range, change from base, probability of being
    cheaper, and the saving of the best fleet, which the GPU price affects."""
    cells: dict[str, tuple[str, ...]] = {}
    for name, workload in outcome.workloads.items():
        best = workload.best
        if best is None or not workload.routes:
            cells[name] = (workload.course, "none", "", "", "", "")
            continue
        saved, before = best.saving_usd, at_base.workloads[name].of(best.route)
        fleets = [
            route.saving_usd["p50"]
            for route in workload.routes
            if route.arm == "self_hosted" and not route.stays
        ]
        less = saved["p50"] - (before.saving_usd["p50"] if before else 0.0)
        cells[name] = (
            workload.course,
            best.route,
            f"{usd(saved['p50'])} ({span(saved['p10'], saved['p90'], usd)})",
            signed_usd(less),
            share(best.p_cheaper),
            usd(max(fleets)) if fleets else "no fleet",
        )
    return cells


def _row(name: str, cells: Sequence[str]) -> str:
    tds = "".join(f"<td>{escape(text)}</td>" for text in cells)
    return f'<tr><th scope="row">{escape(name)}</th>{tds}</tr>'


def _slider(base: Prepared, name: str) -> str:
    values = {"volume": VOLUMES, "gpu_price": GPU_PRICES, "margin": margins(base)}[name]
    at, key = values.index(getattr(BASE, name)), f"what-if-{name}"
    left = 100 * at / max(len(values) - 1, 1)
    return (
        f'<div class="what-if-lever"><label for="{key}">{_LABELS[name]}</label>'
        f'<span class="what-if-track"><input type="range" id="{key}" min="0" '
        f'max="{len(values) - 1}" step="1" value="{at}" aria-valuetext="base case">'
        f'<span class="what-if-base" style="left:{left:.1f}%" aria-hidden="true">base</span></span>'
        f'<output for="{key}">base case</output></div>'
    )


_STYLE = """<style>
.what-if-lever { display: grid; grid-template-columns: 9rem 1fr 7rem; gap: .2rem 1rem;
  align-items: start; margin: .3rem 0 }
.what-if-track { position: relative; display: block; padding-bottom: 1.1rem }
.what-if-track input { width: 100%; margin: 0 }
.what-if-base { position: absolute; bottom: 0; transform: translateX(-50%); font-size: .75rem }
.what-if-lever output { font-variant-numeric: tabular-nums }
.what-if-levers[hidden] { display: none }
@media (max-width: 40rem) { .what-if-lever { grid-template-columns: 1fr } }
@media print { .what-if { display: none } }
</style>"""

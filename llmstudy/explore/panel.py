"""A panel of sliders with linked charts, for JupyterLab.

The charts are text in an `HTML` widget: with ipykernel 7, a cell that shows an `Output` widget (as
`interact` does) sometimes hangs a headless run (nbclient issue 312).
"""

from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets as w

from llmstudy import paths
from llmstudy.answer import BASE, SLO_FACTORS, Changes, Prepared, prepare, save
from llmstudy.chapters.all import MEASURES, chapter_results
from llmstudy.evidence.case import open_case
from llmstudy.explore.page import page, view
from llmstudy.study import load

MY_CASE = "my-case.yaml"

NO_CHOICE = "all candidates"

_WIDE = {"description_width": "15rem"}
_LAYOUT = {"width": "34rem"}


class Panel:
    """Sliders over a prepared study. `view` is the widget that a notebook shows.

    folder: where a setting is saved; by default that of the study file. The sliders start at the
    base case; `changes` is their current setting.
    """

    def __init__(self, base: Prepared, study_file: str | Path, folder: Path | None = None) -> None:
        self._base, self._study_file = base, study_file
        self._folder = paths.resolve(study_file).parent if folder is None else folder
        self._at_base = view(base)
        self.levers = _levers(base)
        self.page = w.HTML()
        self.reset = w.Button(description="Reset to the base case", layout={"width": "16rem"})
        self.save = w.Button(description=f"Save as {MY_CASE}", layout={"width": "16rem"})
        self.status = w.HTML()
        self._quiet = False
        for lever in self.levers.values():
            lever.observe(self._moved, names="value")
        self.reset.on_click(lambda _: self.to_base())
        self.save.on_click(lambda _: self.save_setting())
        buttons = w.HBox([self.reset, self.save])
        self.view = w.VBox([*self.levers.values(), buttons, self.status, self.page])
        self._draw()

    @property
    def changes(self) -> Changes:
        """The current setting of the levers."""
        at: dict[str, Any] = {name: lever.value for name, lever in self.levers.items()}
        if at.get("reserved") == _reserved(self._base):
            at["reserved"] = BASE.reserved
        if "api_route" in at and at["api_route"] == NO_CHOICE:
            at["api_route"] = BASE.api_route
        for points in ("growth", "margin"):
            at[points] = round(at[points] / 100, 6)
        return Changes(**at)

    def to_base(self) -> None:
        """Resets every lever to the base case, and draws once."""
        self._quiet = True
        for name, lever in _levers(self._base).items():
            self.levers[name].value = lever.value
        self._quiet = False
        self.status.value = ""
        self._draw()

    def save_setting(self) -> None:
        """Saves the setting as a study file, or shows why it cannot be saved."""
        try:
            file = save(self._study_file, self.changes, self._folder / MY_CASE)
        except (ValueError, OSError) as error:
            self.status.value = _note(str(error), "#a11d2b")
        else:
            self.status.value = _note(f"Saved as {file}: llmstudy run {file}", "#14643a")

    def _moved(self, _: Any) -> None:
        if not self._quiet:
            self.status.value = ""
            self._draw()

    def _draw(self) -> None:
        self.page.value = page(view(self._base, self.changes), self._at_base)


def open_panel(study_file: str | Path, note: Callable[[str], None] = print) -> Panel:
    """A panel on a study file: prices its routes, and sizes its fleets at each setting of the SLO.

    It takes some seconds for each fleet and setting; note: shows a message that says so.
    Raises: StudyError, ValueError as `llmstudy run`.
    """
    study = load(study_file)
    note(f"Pricing {study.study} and sizing its fleets for {len(SLO_FACTORS)} settings of the SLO.")
    case = open_case(study)
    return Panel(prepare(case, chapter_results(case, MEASURES), SLO_FACTORS), study_file)


# --- the levers ---------------------------------------------------------------------------------


def _levers(base: Prepared) -> dict[str, Any]:
    """A slider at the base case for each lever that applies to the study."""
    fte = base.study.self_hosting.fte.value
    least = min(x.quality.margin.value for x in base.study.workloads.values())
    levers = {
        "volume": _by_ratio("Volume, factor", -1.5, 1.5),
        "growth": _slider("Growth, points per month added", 0.0, -5.0, 10.0, 0.5),
        "slo": w.SelectionSlider(
            options=[(f"{x:g} times", x) for x in base.sized],
            value=BASE.slo,
            description="Latency targets, factor",
            continuous_update=False,
            style=_WIDE,
            layout=_LAYOUT,
        ),
        "gpu_price": _by_ratio("GPU price, factor", -0.7, 0.5),
        "reserved": _slider("Reserved GPU hours, share", _reserved(base), 0.0, 1.0, 0.05),
        "api_route": w.Dropdown(
            options=[NO_CHOICE, *_api_routes(base)],
            value=NO_CHOICE,
            description="API model",
            style=_WIDE,
            layout=_LAYOUT,
        ),
        "margin": _slider("Quality margin, points added", 0.0, _lowest_step(least), 10.0, 0.5),
        "team": _by_ratio(f"Engineers, factor on {fte:g} FTE", -0.6, 0.6),
    }
    if _reserved(base) is None:
        del levers["reserved"]
    return levers


def _slider(label: str, value: float | None, low: float, high: float, step: float) -> Any:
    return w.FloatSlider(
        value=value or 0.0,
        min=low,
        max=high,
        step=step,
        description=label,
        continuous_update=False,
        style=_WIDE,
        layout=_LAYOUT,
    )


def _by_ratio(label: str, low: float, high: float) -> Any:
    """A logarithmic slider between powers of ten, with base case 1."""
    return w.FloatLogSlider(
        value=1.0,
        base=10,
        min=low,
        max=high,
        step=0.02,
        description=label,
        readout_format=".2f",
        continuous_update=False,
        style=_WIDE,
        layout=_LAYOUT,
    )


def _lowest_step(margin_share: float) -> float:
    """The lowest step, in half points, that leaves every workload a margin above zero."""
    halves = int(200 * margin_share - 1e-9)
    return -min(halves / 2, 3.0)


def _reserved(base: Prepared) -> float | None:
    """The reserved share of rented GPU hours of the first route that has one; None without any."""
    mixes = [getattr(route, "commitment", None) for route in base.study.routes.values()]
    return next((mix.reserved.value for mix in mixes if mix is not None), None)


def _api_routes(base: Prepared) -> list[str]:
    study = base.study
    named = {route for workload in study.workloads.values() for route in workload.candidates}
    return sorted(route for route in named if study.routes[route].arm != "self_hosted")


def _note(text: str, color: str) -> str:
    return f'<p role="status" style="color:{color}">{escape(text)}</p>'

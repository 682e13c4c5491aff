"""The analyst's panel, driven as a browser drives it, without a browser."""

import re
from dataclasses import replace

import ipywidgets
import nbformat
import pytest

from llmstudy import paths
from llmstudy.answer import BASE, Changes
from llmstudy.explore import Panel, open_panel
from llmstudy.explore import panel as explore_panel
from llmstudy.explore.page import View, page, view
from llmstudy.study import load

STUDY = paths.params("default.yaml")


@pytest.fixture
def panel(base, tmp_path):
    return Panel(base, STUDY, tmp_path)


def _moves(state):
    """What a browser sends when a slider is moved."""
    return {"value": state}


def test_it_opens_at_the_base_case(panel, base):
    assert panel.changes == BASE
    assert panel.page.value == page(view(base), view(base))
    assert "No verdict changes" in panel.page.value


def test_a_moved_slider_draws_the_outcome_of_the_same_function(panel, base):
    panel.levers["volume"].set_state(_moves(4.0))
    assert panel.changes == Changes(volume=4.0)
    assert panel.page.value == page(view(base, Changes(volume=4.0)), view(base))


def test_a_verdict_that_turns_is_said(panel):
    panel.levers["volume"].value = 0.05
    assert "Changed: " in panel.page.value
    assert "support-chat" in panel.page.value.split("Changed: ")[1].split("<")[0]


@pytest.mark.parametrize(
    ("lever", "value", "changes"),
    [
        ("growth", 2.0, Changes(growth=0.02)),
        ("gpu_price", 0.5, Changes(gpu_price=0.5)),
        ("reserved", 0.2, Changes(reserved=0.2)),
        ("api_route", "openai-gpt-6-luna", Changes(api_route="openai-gpt-6-luna")),
        ("margin", 1.5, Changes(margin=0.015)),
        ("team", 2.0, Changes(team=2.0)),
    ],
)
def test_each_lever_moves_what_it_is_named_for(panel, lever, value, changes):
    before = panel.page.value
    panel.levers[lever].value = value
    assert panel.changes == changes
    # the first candidates are the best ones here: to choose among them turns nothing
    assert (panel.page.value != before) or lever == "api_route"


def test_the_base_case_stays_marked_in_every_chart(panel):
    panel.levers["gpu_price"].value = 0.5
    charts = panel.page.value.split("<svg")[1:]
    assert len(charts) == 3
    assert all('class="base"' in chart for chart in charts)


def test_reset_puts_every_lever_back_and_draws_once(panel):
    at_base, draws = panel.page.value, []
    panel.levers["volume"].value = 3.0
    panel.levers["margin"].value = 2.0
    panel.page.observe(draws.append, names="value")
    panel.reset.click()
    assert panel.changes == BASE
    assert panel.page.value == at_base
    assert len(draws) == 1


def test_what_is_saved_opens_as_a_study_at_that_setting(panel, tmp_path):
    panel.levers["volume"].value = 2.0
    panel.levers["team"].value = 0.5
    panel.save.click()
    assert "Saved as" in panel.status.value
    study, before = load(tmp_path / "my-case.yaml"), load(STUDY)
    for name, workload in study.workloads.items():
        was = before.workloads[name].intake.requests.value
        assert workload.intake.requests.value == pytest.approx(2 * was)
    assert study.self_hosting.fte.value == before.self_hosting.fte.value / 2


def test_a_value_that_a_study_may_not_have_is_refused_in_words(panel, tmp_path):
    panel.levers["volume"].max = 8
    panel.levers["volume"].value = 1e7
    panel.save.click()
    assert "not saved" in panel.status.value
    assert "requests" in panel.status.value
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_said(base, tmp_path):
    panel = Panel(base, STUDY, tmp_path / "gone")
    panel.save.click()
    assert "No such file or directory" in panel.status.value


@pytest.mark.parametrize("candidates", [(), ("novita-gpt-oss-120b",)])
def test_a_study_without_fleets_or_without_candidates_has_a_page(base, candidates):
    at_base = view(base)
    left = {
        name: replace(w, routes=tuple(r for r in w.routes if r.stays or r.route in candidates))
        for name, w in at_base.outcome.workloads.items()
    }
    crossings = {pair: x for pair, x in at_base.crossovers.items() if pair[1] in candidates}
    now = View(replace(at_base.outcome, workloads=left), crossings, {})
    shown = page(now, at_base)
    assert "the cheapest fleet" not in shown
    assert shown.count("<svg") == (3 if candidates else 1)


def test_no_slider_reaches_a_margin_of_nothing(panel, base):
    least = min(w.quality.margin.value for w in base.study.workloads.values())
    assert 100 * least + panel.levers["margin"].min > 0


def test_the_panel_holds_no_widget_that_hangs_a_headless_run(panel):
    def within(widget):
        yield widget
        for child in getattr(widget, "children", ()):
            yield from within(child)

    found = list(within(panel.view))
    assert len(found) > 10
    assert not any(isinstance(widget, ipywidgets.Output) for widget in found)


def test_each_slider_says_what_it_moves(panel):
    assert all(lever.description for lever in panel.levers.values())


# --- the notebook -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def notebook():
    return nbformat.read(paths.notebooks() / "explore.ipynb", as_version=4)


def test_the_notebook_is_stored_stripped_and_a_headless_run_skips_its_widgets(notebook):
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)
    (shown,) = (cell for cell in cells if "panel" in cell.source and "import" not in cell.source)
    assert {"widget", "skip-execution", "nbval-skip"} <= set(shown.metadata["tags"])
    assert "widgets" not in notebook.metadata


def test_the_notebook_holds_no_logic_and_no_typed_figure(notebook):
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    prose = " ".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert not any(word in " ".join(code) for word in ("def ", "lambda", "for ", "interact"))
    assert not re.findall(r"(?<![A-Za-z0-9])\d[\d.,]*", prose)
    assert len(prose.split()) >= 10 * sum(len(cell.splitlines()) for cell in code)


def test_what_the_notebook_calls_opens_a_panel(monkeypatch, base):
    monkeypatch.setattr(explore_panel, "chapter_results", lambda case, names: {})
    monkeypatch.setattr(explore_panel, "prepare", lambda case, results, factors: base)
    said = []
    assert open_panel(STUDY, said.append).changes == BASE
    assert "default" in said[0]

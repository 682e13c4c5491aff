"""A reader of the memo: moves the sliders of the attachment with the keyboard, offline."""

import json

import pytest

from llmstudy import paths
from llmstudy.answer import Changes, answer, prepare
from llmstudy.evidence.case import open_case
from llmstudy.memo import sliders as snippet
from llmstudy.study import load
from llmstudy.text import usd

pytest.importorskip("playwright.sync_api", reason="needs Playwright: run `make test-browser`")


@pytest.fixture(scope="module")
def base():
    folder = paths.ROOT / "outputs" / "reference" / "results"
    results = {file.stem: json.loads(file.read_text()) for file in folder.glob("0*.json")}
    return prepare(open_case(load(paths.params("default.yaml"))), results, n=500)


@pytest.fixture(scope="module")
def attachment(base, tmp_path_factory):
    file = tmp_path_factory.mktemp("memo") / "attachment.html"
    made = snippet.what_if_html(base)
    file.write_text(
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>What if</title>'
        f"<body><main><h1>Memo</h1><h2>Levers</h2>{made}</main></body></html>"
    )
    return file.as_uri()


def test_the_keyboard_moves_a_slider_and_the_row_follows(attachment, base, chromium, screenshots):
    page, asked, faults = chromium.new_page(), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(attachment)
    volume = page.get_by_label("Volume")
    volume.focus()
    page.keyboard.press("End")
    found = answer(base, Changes(volume=snippet.VOLUMES[-1]))
    assert page.locator("output").first.inner_text() == f"{snippet.VOLUMES[-1]:g} times"
    for name, workload in found.workloads.items():
        row = page.locator("tbody tr", has_text=name).inner_text()
        assert workload.verdict.decision in row
        assert usd(workload.best.saving_usd["p50"]) in row
    page.screenshot(path=screenshots / "attachment.png")
    page.get_by_role("button", name="Back to the base case").click()
    assert page.locator("output").first.inner_text() == "base case"
    assert asked == [attachment]
    assert faults == []
    page.close()


def test_without_scripts_the_base_case_is_read_and_no_slider_shown(attachment, base, chromium):
    page = chromium.new_context(java_script_enabled=False).new_page()
    page.goto(attachment)
    assert not page.locator("input[type=range]").first.is_visible()
    assert "Base case" in page.locator(".what-if-summary").inner_text()
    page.close()


def test_on_paper_there_is_nothing_of_it(attachment, chromium):
    page = chromium.new_page()
    page.goto(attachment)
    page.emulate_media(media="print")
    assert not page.locator("#what-if").is_visible()
    page.close()


def test_axe_finds_no_fault_in_it(attachment, chromium):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-core")
    page = chromium.new_page()
    page.goto(attachment)
    found = axe.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    page.close()

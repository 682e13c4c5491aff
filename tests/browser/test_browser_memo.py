"""axe-core finds nothing wrong with any page, by day or by night, on a desk or a phone.

The pages are those of the committed reference chapters, in a real Chromium; pictures of them are
kept in outputs/browser for whoever wants to look.
"""

import json

import pytest

from llmstudy import paths
from llmstudy.memo.context import Facts
from llmstudy.run import CHAPTERS
from llmstudy.run.sweep import page as portfolio
from llmstudy.run.sweep.portfolio import failed, row, totals
from llmstudy.study import load

PAGES = ["index", "memo", *sorted(CHAPTERS), "portfolio"]
SCREENS = {"desk": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 800}}
SHEET_PX = 658
"""The width that A4 leaves between the memo's margins; a sheet of Letter leaves more."""


@pytest.fixture(scope="module")
def folder(reference_pages):
    """The pages of a run, and a portfolio of its study and of one that failed."""
    chapters = {
        name: json.loads((reference_pages / "results" / f"{name}.json").read_text())
        for name in CHAPTERS
    }
    done = row(Facts(load(paths.params("default.yaml")), chapters), "memo.html")
    lost = failed(load(paths.params("regulated.yaml")), "05_self_hosting: cell [4] failed.")
    rows = [done, lost]
    html = portfolio.html(rows, totals(rows))
    (reference_pages / "portfolio.html").write_text(html, encoding="utf-8")
    return reference_pages


@pytest.fixture
def opened(chromium, folder):
    """Opens a page of the folder as `look` says, and ends with whatever went wrong in it."""
    contexts, wrong = [], []

    def open_(name, **look):
        context = chromium.new_context(**look)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: asked(request.url))
        page.goto((folder / f"{name}.html").as_uri())
        return page

    def asked(url):
        if not url.startswith(("file:", "data:")):
            wrong.append(f"asked for {url}")

    yield open_
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.fixture(scope="session")
def axe():
    """The accessibility checker, at a page: what it finds wrong."""
    package = pytest.importorskip("axe_playwright_python.sync_playwright")
    checker = package.Axe()

    def violations(page):
        response = checker.run(page).response
        assert response["testEngine"]["name"] == "axe-core"
        return [(v["id"], [n["html"][:200] for n in v["nodes"]]) for v in response["violations"]]

    return violations


def test_the_checker_finds_what_is_wrong(chromium, axe):
    page = chromium.new_page()
    page.set_content("<img src='data:,'><p style='color: #aaa; background: #fff'>pale</p>")
    found = {rule for rule, _ in axe(page)}
    page.close()
    assert found >= {"image-alt", "color-contrast", "html-has-lang", "document-title"}


@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_wrong_with_a_page(name, scheme, screen, opened, axe, screenshots):
    page = opened(name, color_scheme=scheme, viewport=SCREENS[screen])
    assert axe(page) == []
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert axe(page) == []
    page.screenshot(path=screenshots / f"{name}-{scheme}-{screen}.png", full_page=True)


@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("name", PAGES)
def test_only_tables_and_charts_scroll_sideways_and_the_keyboard_reaches_them(name, screen, opened):
    page = opened(name, viewport=SCREENS[screen])
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    wide = page.evaluate(
        "[...document.querySelectorAll('*')].filter(e => e.scrollWidth > e.clientWidth + 1"
        " && getComputedStyle(e).overflowX == 'auto').map(e => [e.className, e.tabIndex])"
    )
    assert all(found in (["table", 0], ["chart", 0]) for found in wide)
    charts = page.locator(".chart img").evaluate_all("all => all.map(e => e.clientWidth)")
    assert min(charts, default=640) >= 640  # its words are then as large as on paper


def test_a_wide_table_is_scrolled_by_the_keyboard_alone(opened):
    page = opened("01_evidence", viewport=SCREENS["phone"])
    table = page.get_by_role("region", name="The ledger: every figure that the memo rests on")
    table.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("e => e.scrollLeft > 0", arg=table.element_handle())


def test_the_first_stop_of_the_keyboard_leads_past_the_bar(opened):
    page = opened("02_cost")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    assert page.locator(".skip").bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#main"


def test_a_finding_in_the_index_leads_to_its_place(opened):
    page = opened("index")
    finding = page.locator("main a[href^='04_quality.html#']").first
    text = finding.inner_text()
    finding.click()
    page.wait_for_url("**/04_quality.html#*")
    assert page.locator(":target").inner_text() == text


def test_code_is_folded_until_it_is_asked_for(opened):
    page = opened("02_cost")
    code = page.locator("details.code pre").first
    assert not code.is_visible()
    page.locator("details.code summary").first.press("Enter")
    assert code.is_visible()


@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_cut_off_on_paper(name, opened, screenshots):
    page = opened(name, viewport={"width": SHEET_PX, "height": 900}, color_scheme="dark")
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") <= SHEET_PX
    assert page.locator("nav, .skip, details.code").filter(visible=True).count() == 0
    ground = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert ground == "rgb(255, 255, 255)"
    for sheet in ("A4", "Letter"):
        page.pdf(path=screenshots / f"{name}-{sheet}.pdf", format=sheet, prefer_css_page_size=True)

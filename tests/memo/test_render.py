"""A page holds all that its notebook shows, needs nothing else, and is the same each time."""

import base64
import re
import sys
import zlib
from hashlib import sha256

import nbformat.v4 as v4
import pytest
from bs4 import BeautifulSoup
from matplotlib.figure import Figure

from llmstudy import charts
from llmstudy.memo import render
from llmstudy.memo.render import RenderError, chapter_html, external_references, memo_html
from llmstudy.memo.script import SCRIPT

SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><circle r="4"/></svg>'
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
    "gg==\n"
)


def shown(data, metadata=None):
    return v4.new_output("display_data", data, metadata=metadata or {})


def cell(*outputs, source="chapter.show(x)", tags=()):
    return v4.new_code_cell(source, outputs=list(outputs), metadata={"tags": list(tags)})


def notebook(*cells):
    return v4.new_notebook(cells=[v4.new_markdown_cell("# Should we stay?"), *cells])


def picture(drawing=SVG, alt="cost rises from 1 to 2"):
    return shown({"image/svg+xml": drawing, "text/plain": "x"}, {"image/svg+xml": {"alt": alt}})


def soup(page):
    return BeautifulSoup(page, "html.parser")


KEPT = {
    "result table": v4.new_output("execute_result", {"text/html": "<table><tr><td>KEPT"}),
    "result text": v4.new_output("execute_result", {"text/plain": "KEPT"}),
    "displayed table": shown({"text/html": "<p>KEPT</p>", "text/plain": "x"}),
    "prose": shown({"text/markdown": "### KEPT"}),
    "print": v4.new_output("stream", name="stdout", text="KEPT"),
    "error": v4.new_output("error", ename="KeyError", evalue="KEPT", traceback=["x"]),
}


@pytest.mark.parametrize("kind", KEPT)
@pytest.mark.parametrize("draw", [memo_html, lambda nb: chapter_html(nb, "02 cost", {})])
def test_every_output_appears(kind, draw):
    assert "KEPT" in soup(draw(notebook(cell(KEPT[kind])))).main.get_text()


@pytest.mark.parametrize("draw", [memo_html, lambda nb: chapter_html(nb, "02 cost", {})])
def test_a_librarys_warning_is_not_part_of_a_page(draw):
    warned = v4.new_output("stream", name="stderr", text="/home/x/draw.py:59: UserWarning: glyph")
    assert "Warning" not in draw(notebook(cell(warned)))


def test_a_page_runs_the_sliders_script_and_no_other():
    sliders = f'<script type="application/json">{{}}</script><script>{SCRIPT}</script>'
    page = memo_html(notebook(cell(shown({"text/html": sliders}))))
    policy = soup(page).find("meta", {"http-equiv": "Content-Security-Policy"})["content"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    (allowed,) = rules["script-src"].split()
    scripts = [s.string for s in soup(page).find_all("script") if not s.get("type")]
    hashes = [base64.b64encode(sha256(text.encode()).digest()).decode() for text in scripts]
    assert hashes == [allowed.strip("'").removeprefix("sha256-")]
    assert rules["default-src"] == "'none'"


@pytest.mark.parametrize("tag", ["parameters", "injected-parameters", "setup"])
def test_machinery_is_hidden(tag):
    hidden = cell(shown({"text/plain": "HIDDEN"}), source="HIDDEN = 1", tags=[tag])
    assert "HIDDEN" not in memo_html(notebook(hidden))
    assert "HIDDEN" not in chapter_html(notebook(hidden), "02 cost", {})


def test_code_is_for_chapters_and_not_for_the_memo():
    nb = notebook(cell(source="bill(requests)"))
    assert "bill" not in soup(memo_html(nb)).get_text()
    assert "bill" in soup(chapter_html(nb, "02 cost", {})).main.get_text()


def levels(page):
    return [(h.name, h["id"], h.get_text()) for h in soup(page).find_all(re.compile("^h[1-6]$"))]


def test_headings_skip_no_level_and_each_has_an_address():
    text = "<h3>A &amp; <i>B</i></h3><h4>Main</h4><h3 class='x'>A, b!</h3><h3>–</h3>"
    text += '<section id="what-if"><h3>What if</h3></section>'
    page = chapter_html(notebook(cell(shown({"text/html": text}))), "02 cost", {})
    assert levels(page) == [
        ("h1", "should-we-stay", "Should we stay?"),
        ("h2", "a-b", "A & B"),
        ("h3", "main-2", "Main"),
        ("h2", "a-b-2", "A, b!"),
        ("h2", "part", "–"),
        ("h2", "what-if-2", "What if"),
    ]
    assert soup(page).find(id="a-b-2")["class"] == ["x"]
    found = [(f"h{h.level}", h.anchor, h.text) for h in render.headings(page)]
    assert found == levels(page)


FIGURES = (
    '<h2><data class="figure" value="7" data-figure="06_crossover#/never" title="a">7</data></h2>'
    '<span class="figure" data-figure="02_cost#/bills/0/route" title="b">gpt</span>'
)


def test_a_figure_leads_to_its_chapter_but_not_in_the_memo_that_is_mailed():
    nb = notebook(cell(shown({"text/html": FIGURES})))
    links = soup(chapter_html(nb, "08 memo", {})).main.find_all("a")
    assert [(a["href"], a.get_text()) for a in links] == [
        ("06_crossover.html", "7"),
        ("02_cost.html", "gpt"),
    ]
    assert links[0].data["title"] == "a"
    assert not soup(memo_html(nb)).main.find_all("a")


@pytest.mark.parametrize("form", ["image/svg+xml", "image/png"])
def test_a_picture_is_an_image_with_its_text_alternative(form):
    data = {"image/svg+xml": SVG, "image/png": PIXEL}[form]
    alt = 'p95 < 2 s, "never" in 12 %'
    page = memo_html(notebook(cell(shown({form: data}, {form: {"alt": alt}}))))
    (image,) = soup(page).find_all("img")
    assert image["alt"] == alt
    kind, code = image["src"].split(",")
    assert kind == f"data:{form};base64"
    drawn = base64.b64decode(code)
    assert drawn == (data.encode() if form == "image/svg+xml" else base64.b64decode(data))


@pytest.mark.parametrize("alt", [None, "", "  "])
def test_a_picture_without_words_is_an_error(alt):
    metadata = {} if alt is None else {"image/svg+xml": {"alt": alt}}
    with pytest.raises(RenderError, match="no text alternative"):
        memo_html(notebook(cell(shown({"image/svg+xml": SVG}, metadata))))


def test_an_output_that_no_page_can_show_is_an_error():
    with pytest.raises(RenderError, match="comes only as application/vnd"):
        memo_html(notebook(cell(shown({"application/vnd.jupyter.widget-view+json": {}}))))


def test_a_memo_without_a_title_is_an_error():
    with pytest.raises(RenderError, match="heading of the first level"):
        memo_html(v4.new_notebook(cells=[v4.new_markdown_cell("## Only this")]))


def test_the_page_has_what_readers_of_every_kind_need():
    nb = notebook(cell(shown({"text/html": "<h2>API &amp; GPU</h2>"})))
    nb.cells[0].source = "# Stay at `A & B`?"
    page = soup(memo_html(nb))
    assert page.html["lang"] == "en"
    assert page.title.get_text() == "Stay at A & B?"
    assert page.find("meta", attrs={"name": "viewport"})
    assert page.header is not None
    assert page.find("a", class_="skip")["href"] == f"#{page.main['id']}"
    assert "¶" not in page.get_text()


def test_a_chapter_links_to_the_others_and_marks_itself():
    links = {"Memo": "memo.html", "02 cost": "02_cost.html"}
    page = soup(chapter_html(notebook(), "02 cost", links))
    assert {a.get_text(): a["href"] for a in page.nav.find_all("a")} == links
    (here,) = page.nav.find_all(attrs={"aria-current": "page"})
    assert here.get_text() == page.title.get_text() == "02 cost"


def test_a_long_chapter_has_a_bar_of_its_contents_and_a_short_one_has_none():
    table = cell(shown({"text/html": "<table><tr><td>KEPT</td></tr></table>"}))
    parts = [v4.new_markdown_cell(f"## [Part](#) {n} & more") for n in range(3)]
    tables = [table] * (render.MOST_SHOWN // 2)
    page = soup(
        chapter_html(notebook(parts[0], *tables, parts[1], *tables, parts[2], table), "", {})
    )
    contents = page.select(".contents li a")
    assert [a.text for a in contents] == [f"Part {n} & more" for n in range(3)]
    assert all(page.find(id=a["href"].removeprefix("#")) for a in contents)
    folded = page.select("details.part > summary > h2")
    assert [h.text for h in folded] == ["Part 1 & more", "Part 2 & more"]
    assert not page.select("summary a")
    assert "KEPT" in page.select("details.part")[-1].text
    short = soup(chapter_html(notebook(*parts, *tables, *tables), "", {}))
    assert not short.select(".contents, details.part")


def test_a_chart_on_a_page_is_lighter_than_its_file_and_looks_the_same():
    figure = Figure(figsize=(4, 2))
    figure.subplots().plot([1, 2, 3], [3, 1, 2], label="a")
    figure.suptitle("Words in bold", fontweight="bold")
    drawing = charts.svg(figure)
    page = chapter_html(notebook(cell(picture(drawing, "A line"))), "", {})
    light = base64.b64decode(re.search(r'svg\+xml;base64,([^"]+)', page)[1]).decode()
    assert len(light) < 0.75 * len(drawing)
    for what in (r"scale\([^)]+\)", "<use ", "<path ", "clip-path"):
        assert re.findall(what, light) == re.findall(what, drawing)
    places = re.compile(r'(?:translate\(|x=")([\d.]+)')
    pairs = zip(places.findall(light), places.findall(drawing), strict=True)
    assert all(abs(float(a) - float(b)) <= 0.1 for a, b in pairs)  # of an eighth of a point
    named = set(re.findall(r'href="#([^"]+)"', light))
    assert named <= set(re.findall(r' id="([^"]+)"', light))


@pytest.mark.parametrize(
    ("fragment", "loaded"),
    [
        ('<img src="a.png">', ["a.png"]),
        ('<IMG SRC="//x.org/a.png">', ["//x.org/a.png"]),
        ('<script src="https://x.org/a.js"></script>', ["https://x.org/a.js"]),
        ('<link rel="stylesheet" href="a.css">', ["a.css"]),
        ("<style>@import 'a.css'; p { background: url(\"b.png\") }</style>", ["a.css", "b.png"]),
        ('<p style="background: url(a.png)">x</p>', ["a.png"]),
        ('<svg><image xlink:href="a.png"/><use href="b.svg#c"/></svg>', ["a.png", "b.svg#c"]),
        ('<iframe src="a.html"></iframe><object data="b.pdf"></object>', ["a.html", "b.pdf"]),
        ('<meta http-equiv="refresh" content="0; url=a.html">', ["0; url=a.html"]),
        ('<a href="https://x.org/source">source</a> url(not-css)', []),
        ('<img src="data:image/png;base64,AA"><svg><use href="#glyph"/></svg>', []),
    ],
)
def test_what_a_page_would_load_is_found(fragment, loaded):
    assert external_references(fragment) == loaded


def test_a_page_that_would_load_something_is_refused():
    outside = shown({"text/html": '<img alt="x" src="https://x.org/a.png">'})
    with pytest.raises(RenderError, match=r"https://x\.org/a\.png"):
        memo_html(notebook(cell(outside)))


def test_widget_state_does_not_reach_the_page():
    nb = notebook()
    nb.metadata["widgets"] = {
        "application/vnd.jupyter.widget-state+json": {"state": {"SECRET": {}}}
    }
    assert "SECRET" not in memo_html(nb)


# ---- paper --------------------------------------------------------------------------------------


@pytest.fixture
def paper():
    try:
        render.check_pdf()
    except render.PdfError as error:
        pytest.skip(str(error))


def chart():
    figure = Figure(figsize=(6.4, 2.8))
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1])
    axes.set(title="costs & <limits>", xticks=[0, 1], yticks=[0, 1])
    axes.set_title("bold", loc="left", fontweight="bold")
    return charts.svg(figure)


def test_the_same_notebook_gives_the_same_bytes(paper, tmp_path):
    for name in ("a.pdf", "b.pdf"):
        page = memo_html(notebook(cell(picture(chart()))))
        assert render.pdf(page, tmp_path / name) == 1
    assert (tmp_path / "a.pdf").read_bytes() == (tmp_path / "b.pdf").read_bytes()


def unpacked(stream):
    try:
        return zlib.decompress(stream)
    except zlib.error:
        return stream


def test_the_pdf_is_tagged_and_keeps_the_text_alternative(paper, tmp_path):
    render.pdf(memo_html(notebook(cell(picture()))), tmp_path / "memo.pdf")
    streams = re.findall(rb"stream\n(.*?)\nendstream", (tmp_path / "memo.pdf").read_bytes(), re.S)
    content = b"".join(map(unpacked, streams))
    assert b"/MarkInfo" in content
    assert b"pdfuaid" in content
    assert b"cost rises from 1 to 2" in content


def test_the_appendix_begins_on_a_page_of_its_own(paper, tmp_path):
    text = shown({"text/html": "<p>short</p>"})
    appendix = shown({"text/html": '<section class="appendix"><h2>Method</h2></section>'})
    assert render.pdf(memo_html(notebook(cell(text))), tmp_path / "a.pdf") == 1
    assert render.pdf(memo_html(notebook(cell(text, appendix, text))), tmp_path / "b.pdf") == 2


def test_no_heading_stands_alone_at_the_foot_of_a_page(paper, tmp_path):
    """Pushed down a little at a time, a heading leaves a page together with its chart."""
    from weasyprint import HTML

    end = cell(shown({"text/html": "<h2>FINDING</h2>"}), picture(chart()))
    for filler_mm in range(185, 260, 15):
        filler = cell(shown({"text/html": f'<div style="height: {filler_mm}mm">.</div>'}))
        pages = HTML(string=memo_html(notebook(filler, end))).render().pages
        homes = [
            {box.element_tag for box in page._page_box.descendants()} & {"h2", "img"}
            for page in pages
        ]
        assert {"h2", "img"} in homes


def test_the_words_of_a_chart_are_text_on_paper():
    page = render._with_chart_text(memo_html(notebook(cell(picture(chart())))))
    code = re.search(r'image/svg\+xml;base64,([^"]+)', page)[1]
    drawing = soup(base64.b64decode(code).decode().partition("?>")[2])
    words = [text.get_text() for text in drawing.find_all("text")]
    assert sorted(words) == ["0", "0", "1", "1", "bold", "costs & <limits>"]
    (bold,) = [t for t in drawing.find_all("text") if "font-weight: bold" in t["style"]]
    assert bold.get_text() == "bold"
    assert not drawing.find("use", href=re.compile("DejaVu"))


def test_a_machine_without_pango_is_told_the_command(monkeypatch, tmp_path):
    class NoPango:
        def find_spec(self, name, path=None, target=None):
            if name == "weasyprint":
                raise OSError("cannot load library 'libpango-1.0-0'")

    monkeypatch.delitem(sys.modules, "weasyprint", raising=False)
    monkeypatch.setattr(sys, "meta_path", [NoPango(), *sys.meta_path])
    with pytest.raises(render.PdfError, match="apt-get install libpango"):
        render.pdf("<p>x</p>", tmp_path / "memo.pdf")

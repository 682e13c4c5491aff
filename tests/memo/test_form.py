"""Every page of a run can be heard, read in the dark and printed; none needs a mouse or a server.

`tests/browser/test_browser_memo.py` asks a real browser and axe-core the same of the same pages.
"""

import re
import zlib
from itertools import pairwise
from pathlib import Path

import pytest
import tinycss2
from bs4 import BeautifulSoup
from bs4.element import Tag

from llmstudy.charts import ACCENT, ARMS, GREY
from llmstudy.charts.style import INK
from llmstudy.memo import lint, render
from llmstudy.run import CHAPTERS

PAGES = ["index", "memo", *sorted(CHAPTERS)]
CSS = (Path(render.__file__).parent / "memo.css").read_text(encoding="utf-8")

(HIDDEN,) = re.findall(r"([^{}]+)\{ display: none \}", CSS[CSS.index("@media print") :])


@pytest.fixture(scope="module", params=PAGES)
def page(request, reference_pages):
    text = (reference_pages / f"{request.param}.html").read_text(encoding="utf-8")
    return BeautifulSoup(text, "html.parser")


def named(element: Tag) -> str:
    return element.get("aria-label", "").strip()


# ---- who hears a page ---------------------------------------------------------------------------


def test_headings_begin_with_the_only_first_one_and_skip_no_level(page):
    levels = [int(h.name[1]) for h in page.find_all(re.compile("^h[1-6]$"))]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_every_heading_has_an_address_of_its_own_and_no_id_stands_twice(page):
    ids = [element["id"] for element in page.find_all(id=True)]
    assert len(ids) == len(set(ids))
    assert all(h.get("id") for h in page.find_all(re.compile("^h[1-6]$")))


def test_the_language_the_title_and_the_landmarks_are_told(page):
    assert page.html["lang"] == "en"
    assert page.title.get_text(strip=True)
    assert [element.name for element in page.body.find_all(recursive=False)] == [
        "a", "header", "main",
    ]  # fmt: skip
    assert page.body.a["href"] == f"#{page.main['id']}"
    landmarks = page.find_all(["nav", "section"]) + page.find_all(role="region")
    assert all(named(element) for element in landmarks)
    labels = [named(element) for element in landmarks]
    assert len(labels) == len(set(labels))


def test_tables_have_a_caption_and_each_head_says_what_it_heads(page):
    for table in page.find_all("table"):
        assert table.caption.get_text(strip=True)
        assert all(th["scope"] in ("col", "row") for th in table.find_all("th"))
        assert all(row.find("th", scope="row") for row in table.tbody.find_all("tr"))
        widths = {
            sum(int(cell.get("colspan", 1)) for cell in row.find_all(["th", "td"]))
            for row in table.find_all("tr")
        }
        assert len(widths) == 1


def test_a_table_that_may_be_wider_than_the_screen_is_reached_by_the_keyboard(page):
    for table in page.find_all("table"):
        holder = table.find_parent(class_="table")
        assert (holder["role"], holder["tabindex"]) == ("region", "0")
        assert named(holder) == " ".join(table.caption.get_text().split())


def test_pictures_have_words(page):
    assert all(len(image["alt"].split()) >= 3 for image in page.find_all("img"))


def test_a_page_of_a_run_is_complete_in_itself(page):
    assert render.external_references(str(page)) == []


# ---- the ways through a run ---------------------------------------------------------------------


def test_every_link_between_pages_leads_to_a_place_that_is_there(reference_pages):
    ids = {}
    for name in PAGES:
        soup = BeautifulSoup((reference_pages / f"{name}.html").read_text(), "html.parser")
        ids[f"{name}.html"] = {element["id"] for element in soup.find_all(id=True)}
        for link in soup.find_all("a", href=re.compile(r"^[^:]*$")):
            file, _, place = link["href"].partition("#")
            file = file or f"{name}.html"
            assert (reference_pages / file).is_file(), (name, link["href"])
            if place and file in ids:
                assert place in ids[file], (name, link["href"])


def test_the_index_tells_the_memo_first_and_what_each_chapter_found(reference_pages):
    index = BeautifulSoup((reference_pages / "index.html").read_text(), "html.parser")
    assert "2026-11-23" in index.main.get_text()
    links = [a["href"] for a in index.main.find_all("a")]
    assert links[0] == "memo.html"
    for name in sorted(CHAPTERS.keys() - {"08_memo"}):
        chapter = BeautifulSoup((reference_pages / f"{name}.html").read_text(), "html.parser")
        question, *findings = chapter.main.find_all(re.compile("^h[1-6]$"))
        assert findings
        assert index.find("a", href=f"{name}.html", string=question.get_text())
        for finding in findings:
            at = index.find("a", href=f"{name}.html#{finding['id']}")
            assert at.get_text() == finding.get_text()


def test_code_is_folded_and_stands_below_what_it_shows(reference_pages):
    soup = BeautifulSoup((reference_pages / "02_cost.html").read_text(), "html.parser")
    blocks = soup.main.find_all("details", class_="code")
    assert blocks
    assert not any(block.has_attr("open") for block in blocks)
    assert all(block.summary.get_text() for block in blocks)
    finding = soup.main.find("h2")
    assert "findings" in blocks[0].get_text()
    assert finding.find_next("details") is blocks[0]


# ---- colours ------------------------------------------------------------------------------------


def luminance(colour: str) -> float:
    """Relative luminance. Source: WCAG 2.2, definition of relative luminance."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
    return sum(weight * x for weight, x in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def colours(rules) -> dict[str, str]:
    """The custom properties of `:root` that are colours, by name."""
    (root,) = [r for r in rules if r.type == "qualified-rule" and serialized(r.prelude) == ":root"]
    declared = tinycss2.parse_blocks_contents(root.content, skip_whitespace=True)
    found = {d.name: serialized(d.value) for d in declared if d.type == "declaration"}
    return {name: value for name, value in found.items() if re.fullmatch("#[0-9a-f]{6}", value)}


def serialized(tokens) -> str:
    return tinycss2.serialize(tokens).strip()


def schemes() -> dict[str, dict[str, str]]:
    rules = tinycss2.parse_stylesheet(CSS, skip_comments=True, skip_whitespace=True)
    (dark,) = [
        rule for rule in rules if rule.type == "at-rule" and "dark" in serialized(rule.prelude)
    ]
    light = colours(rules)
    return {"light": light, "dark": light | colours(tinycss2.parse_rule_list(dark.content))}


def test_contrast_is_reckoned_as_the_standard_does():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)  # WebAIM's example


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("ground", ["--ground", "--card"])
@pytest.mark.parametrize("ink", ["--ink", "--quiet", "--accent", "--good", "--bad"])
def test_text_stands_out_from_its_ground(scheme, ground, ink):
    found = schemes()[scheme]
    assert contrast(found[ink], found[ground]) >= 4.5  # WCAG 2.2, 1.4.3 (AA)


def test_colours_differ_in_the_dark():
    light, dark = schemes().values()
    assert all(dark[name] != light[name] for name in light)


def test_charts_are_readable_on_the_white_card_on_which_they_always_lie():
    (card,) = re.findall(r"\.chart \{[^}]*background: (#\w+)", CSS)
    assert card == "#fff"
    written = {INK, GREY, ACCENT, *(look.color for look in ARMS.values())}
    assert all(contrast(colour, "#ffffff") >= 4.5 for colour in written)


# ---- paper --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def paper(reference_pages, tmp_path_factory):
    """What of the memo's page is for paper, and its PDF twice, made from it independently."""
    try:
        render.check_pdf()
    except render.PdfError as error:
        pytest.skip(str(error))
    page = (reference_pages / "memo.html").read_text(encoding="utf-8")
    folder = tmp_path_factory.mktemp("paper")
    for name in ("a.pdf", "b.pdf"):
        render.pdf(page, folder / name)
    soup = BeautifulSoup(page, "html.parser")
    for hidden in soup.select(HIDDEN):
        hidden.decompose()
    return soup, *((folder / name).read_bytes() for name in ("a.pdf", "b.pdf"))


def test_the_memo_of_the_default_study_fits_on_its_pages(paper, reference_pages, tmp_path):
    page = (reference_pages / "memo.html").read_text(encoding="utf-8")
    pages = render.paper(page, tmp_path / "a.pdf", (lint.MEMO_PAGES, lint.APPENDIX_PAGES))
    assert lint.page_faults(*pages) == []


def objects(pdf: bytes) -> bytes:
    """The objects of a PDF, those in packed streams included."""
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL)
    return pdf + b"\n".join(map(unpacked, streams))


def unpacked(stream: bytes) -> bytes:
    try:
        return zlib.decompress(stream)
    except zlib.error:
        return stream


def test_the_whole_memo_is_the_same_bytes_each_time(paper):
    _, first, second = paper
    assert first == second


def test_the_pdf_says_what_it_is_and_in_which_language(paper):
    page, pdf, _ = paper
    found = objects(pdf)
    for said in (
        b"/Marked true",
        b"/DisplayDocTitle true",
        b"/Lang (en)",
        b"/StructTreeRoot",
        b'pdfuaid:part="1"',
        f"/Title ({page.h1.get_text()})".encode(),
    ):
        assert said in found, said


def test_the_tags_of_the_pdf_are_those_of_the_page(paper):
    page, pdf, _ = paper
    found = objects(pdf)

    def tagged(tag: str) -> int:
        return len(re.findall(rb"/S\s*/" + tag.encode() + rb"\b", found))

    for tag in ("H1", "H2", "TD", "Caption"):
        assert tagged(tag) == len(page.main.find_all(tag.lower())), tag
    for tag in ("Table", "TH"):  # a table on two pages is tagged on both, its head again
        assert tagged(tag) >= len(page.main.find_all(tag.lower())), tag
    assert len(re.findall(rb"/Alt\s*[<(]", found)) == len(page.find_all("img"))


def test_paper_shows_nothing_that_only_a_screen_can_use():
    assert {part.strip() for part in HIDDEN.split(",")} >= {"nav", ".skip", ".what-if"}
    (sheet,) = re.findall(r"@page \{(.*?)@bottom", CSS, re.DOTALL)
    assert "margin" in sheet
    assert "size" not in sheet  # A4 or Letter: what the reader's printer holds

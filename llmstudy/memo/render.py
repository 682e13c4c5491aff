"""Turns an executed notebook into one self-contained HTML file, and that into a PDF.

A page contains its styles and pictures, so that it can be mailed and archived, and every picture
has a text alternative. The same notebook gives the same bytes, as HTML and as PDF.
"""

import base64
import html
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from itertools import chain, count
from pathlib import Path

from matplotlib import get_data_path
from nbconvert.exporters.html import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode
from traitlets.config import Config

from llmstudy import charts
from llmstudy.memo.script import SOURCE

HIDDEN_TAGS = {"parameters", "injected-parameters", "setup"}
"""Tags of cells that a reader of the page does not need."""

_FOLDER = Path(__file__).parent


class RenderError(ValueError):
    """An output that a page cannot show, or a page that loads something from outside."""


class PdfError(ValueError):
    """No PDF can be made on this machine."""


def chapter_html(nb: NotebookNode, title: str, links: Mapping[str, str]) -> str:
    """A chapter as a page: prose and all outputs, with folded code and linkable headings.

    links: text -> address, for the navigation bar; the one whose text is the title is this page.
    A figure whose `data-figure` names a chapter links to the page of that chapter.
    Raises: RenderError if a picture has no text alternative, an output has no form that can be
    shown, or the page would load something from outside.
    """
    return _page(nb, "chapter", title, links)


def memo_html(nb: NotebookNode) -> str:
    """The memo as a page: the text and outputs of the notebook, without code.

    Its title is the notebook's heading of the first level.
    Raises: RenderError as `chapter_html`, and if there is no such heading.
    """
    page = _page(nb, "memo", "", {})
    heading = re.search(r"<h1\b[^>]*>(.*?)</h1>", page, re.DOTALL)
    if heading is None:
        raise RenderError("The memo has no heading of the first level: begin it with one.")
    title = re.sub(r"<[^>]+>", "", heading[1]).strip()
    return page.replace("<title></title>", f"<title>{title}</title>", 1)


def _page(nb: NotebookNode, kind: str, title: str, links: Mapping[str, str]) -> str:
    exporter = HTMLExporter(  # type: ignore[no-untyped-call]
        template_name="template",
        template_file="page.html.j2",
        extra_template_basedirs=[str(_FOLDER)],
        filters={"output_html": _output, "markdown_html": _markdown},
        config=Config(
            TagRemovePreprocessor={"enabled": True, "remove_cell_tags": sorted(HIDDEN_TAGS)}
        ),
    )
    css = (_FOLDER / "memo.css").read_text(encoding="utf-8")
    resources = {"kind": kind, "title": title, "links": dict(links), "css": css, "script": SOURCE}
    page: str = exporter.from_notebook_node(nb, resources)[0]
    page = _with_anchors(page)
    if kind == "chapter":
        page = _FIGURE.sub(r'<a class="made" href="\2.html">\g<0></a>', page)
        if page.count("<table") + page.count('class="chart"') > MOST_SHOWN:
            page = _folded(_with_contents(page))
        page = _light(page)
    if outside := external_references(page):
        raise RenderError(f"The page would load {outside[0]!r} from outside: put it inside.")
    return page


# ---- headings, and links of figures ------------------------------------------------------


@dataclass(frozen=True)
class Heading:
    """A heading of a page: its level (from 1), its anchor, and its text."""

    level: int
    anchor: str
    text: str


_HEADING = re.compile(r"<h([1-6])([^>]*)>(.*?)</h\1>", re.DOTALL)


def headings(page: str) -> list[Heading]:
    """The headings of a page that was made here, in order.

    >>> headings('<h1 id="stay">Stay?</h1><p>x</p><h2 id="b">A &amp; <i>B</i></h2>')
    [Heading(level=1, anchor='stay', text='Stay?'), Heading(level=2, anchor='b', text='A & B')]
    """
    return [
        Heading(int(level), re.findall(r'id="([^"]+)"', attributes)[0], _words(content))
        for level, attributes, content in _HEADING.findall(page)
    ]


def _words(content: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", "", content)).strip()


def _with_anchors(page: str) -> str:
    """The page with an anchor at each heading, and without skipped heading levels.

    Notebooks set findings at the third level, below parts that a chapter may not have; screen
    readers navigate by levels.
    """
    levels = sorted({"1", *(level for level, _, _ in _HEADING.findall(page))})
    taken = set(re.findall(r'<[^>]* id="([^"]+)"', page))

    def heading(match: re.Match[str]) -> str:
        level, attributes, content = match.groups()
        slug = re.sub(r"[^a-z0-9]+", "-", _words(content).lower()).strip("-") or "part"
        anchor = next(a for a in chain([slug], (f"{slug}-{n}" for n in count(2))) if a not in taken)
        taken.add(anchor)
        rank = levels.index(level) + 1
        return f'<h{rank} id="{anchor}"{attributes}>{content}</h{rank}>'

    return _HEADING.sub(heading, page)


_FIGURE = re.compile(r'<(data|span|time)\b[^>]* data-figure="(\d\d_\w+)#.*?</\1>', re.DOTALL)
"""A figure and the chapter that computed it, to which a chapter's page links it."""


MOST_SHOWN = 12
"""Number of tables and charts beyond which a page has a table of contents and folds."""


def _with_contents(page: str) -> str:
    """The page with a table of contents below the title."""
    below = headings(page)[1:]
    entries = "\n".join(f'<li><a href="#{h.anchor}">{html.escape(h.text)}</a></li>' for h in below)
    bar = (
        f'<details class="contents"><summary>On this page</summary><ol>\n{entries}\n</ol></details>'
    )
    return page.replace("</h1>", f"</h1>\n{bar}", 1)


_LINK = re.compile(r"</?a\b[^>]*>")


def _folded(page: str) -> str:
    """The page with the parts below its second and later findings folded.

    A finding that folds its part has no links: it is a switch itself.
    """
    start, parts = page.partition("<main")[0], re.split(r"(?=<h2 id=)", page.partition("<main")[2])
    if len(parts) <= 2:
        return page
    last, end = parts[-1].rsplit("</main>", 1)
    folded = [
        f'<details class="part"><summary>{heading}</h2></summary>\n{rest}</details>\n'
        for part in (*parts[2:-1], last)
        for linked, _, rest in [part.partition("</h2>")]
        for heading in [_LINK.sub("", linked)]
    ]
    return "".join([start, "<main", *parts[:2], *folded, "</main>", end])


def _light(page: str) -> str:
    """The page with its charts compressed to 60 %: no comments, and numbers to a hundredth."""

    def chart(match: re.Match[str]) -> str:
        drawing = base64.b64decode(match[2]).decode()
        for pattern, shorter in _SHORTER.items():
            drawing = pattern.sub(shorter, drawing)
        return match[1] + base64.b64encode(drawing.encode()).decode()

    return _DRAWING.sub(chart, page)


_DRAWING = re.compile(r'("data:image/svg\+xml;base64,)([^"]+)')
_SHORTER = {
    re.compile(r"<!--.*?-->|<metadata>.*?</metadata>", re.DOTALL): "",
    # a letter's place, in units of its font
    re.compile(r'transform="translate\((\d+(?:\.\d)?)\d*(?: 0)?\)"/>'): r'x="\1"/>',
    re.compile(r'<g id="[a-z0-9_]+">'): "<g>",
    re.compile(r"(?<!scale\()\b(\d+\.\d\d)\d+"): r"\1",  # a scale bears on every letter
    re.compile(r"(?<=>)\s+(?=<)"): "",
    re.compile(r"\s*\n\s*"): " ",
    re.compile("xlink:href"): "href",
    re.compile("DejaVuSans-Bold-"): "B",
    re.compile("DejaVuSans-"): "D",
}
"""Patterns in the SVG of matplotlib, and what replaces them."""


# ---- outputs of a cell --------------------------------------------------------------------------


def _markdown(source: str) -> str:
    renderer = IPythonRenderer(escape=False, exclude_anchor_links=True)
    return str(MarkdownWithMath(renderer=renderer).render(source))


def _output(output: NotebookNode) -> str:
    """One output in its best form. Raises: RenderError if it has none.

    Text on stderr is left out: it is for whoever runs the notebook.
    """
    if output.output_type == "stream":
        return "" if output.name == "stderr" else f"<pre>{html.escape(output.text)}</pre>"
    if output.output_type == "error":
        return f'<pre class="error">{html.escape(f"{output.ename}: {output.evalue}")}</pre>'
    for form, show in _FORMS.items():
        if form in output.data:
            return show(output, form)
    raise RenderError(
        f"An output comes only as {', '.join(output.data)}, which a page cannot show: "
        f"display it as one of {', '.join(_FORMS)}."
    )


def _picture(output: NotebookNode, form: str) -> str:
    alt = output.metadata.get(form, {}).get("alt", "")
    if not alt.strip():
        raise RenderError(
            "A picture has no text alternative: show it as chapter.show(name, Chart(figure, alt))."
        )
    data = output.data[form]
    code = base64.b64encode(data.encode()).decode() if form == "image/svg+xml" else data.strip()
    source = f"data:{form};base64,{code}"
    name = html.escape(alt.split(". ")[0])
    return (
        f'<figure class="chart" role="group" tabindex="0" aria-label="{name}">'
        f'<img alt="{html.escape(alt)}" src="{source}"></figure>'
    )


_FORMS: dict[str, Callable[[NotebookNode, str], str]] = {
    "image/svg+xml": _picture,
    "image/png": _picture,
    "text/html": lambda output, form: str(output.data[form]),
    "text/markdown": lambda output, form: _markdown(output.data[form]),
    "text/plain": lambda output, form: f"<pre>{html.escape(output.data[form])}</pre>",
}
"""The forms of an output, best first, and how each is shown."""


# ---- self-contained -------------------------------------------------------------------------


def external_references(page: str) -> list[str]:
    """The addresses that a page would load when it is opened, in order.

    Links, data: addresses and anchors in the page itself are not listed.

    >>> external_references('<img src="a.png"><a href="b.html">b</a><p style="background:url(c)">')
    ['a.png', 'c']
    """
    parser = _References()
    parser.feed(page)
    return [url for url in parser.urls if not url.startswith(("data:", "#"))]


_LOADING = {"src", "srcset", "poster", "data", "background", "href", "xlink:href", "content"}
_CSS_URL = re.compile(r"""(?:url\(|@import)\s*["']?([^"')\s;]+)""")


class _References(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []
        self._in_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_style = tag == "style"
        attributes = {name: (value or "").strip() for name, value in attrs}
        self.urls += _CSS_URL.findall(attributes.get("style", ""))
        if tag in ("a", "area") or (tag == "meta" and attributes.get("http-equiv") != "refresh"):
            return
        self.urls += [
            attributes[name] for name in attributes if name in _LOADING and attributes[name]
        ]

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.urls += _CSS_URL.findall(data)

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False


# ---- paper --------------------------------------------------------------------------------------

_PANGO = (
    "No PDF: this machine lacks pango. The command that adds it: "
    "`apt-get install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0` (Debian, Ubuntu) "
    "or `brew install pango` (macOS)."
)


def check_pdf() -> None:
    """Loads the libraries that draw a PDF, which takes a second.

    Raises: PdfError with the command that installs pango where it is missing.
    """
    try:
        import weasyprint  # noqa: F401  (here, because a machine that makes no PDF need not have it)
    except OSError:
        raise PdfError(_PANGO) from None


def pdf(page: str, path: Path) -> int:
    """Writes a page as a PDF, see `paper`. Returns: its number of pages."""
    return sum(paper(page, path))


def paper(page: str, path: Path, most: tuple[int, int] | None = None) -> tuple[int, int]:
    """Writes a page as a tagged PDF/UA-1 file for A4 paper; the same page gives the same bytes.

    Its fonts come with matplotlib, so that pages break the same way on every machine; letters that
    they lack come from this machine's fonts, or are empty boxes.
    most: pages before the appendix and in it, beyond which the text is set smaller.
    Returns: the number of pages before the appendix (all without one), and in it.
    Raises: PdfError as `check_pdf` does.
    """
    check_pdf()
    from weasyprint import CSS, HTML
    from weasyprint.text.fonts import FontConfiguration
    from weasyprint.urls import URLFetcher

    # without HarfBuzz-Subset, fontTools writes the time into each font, or this value
    os.environ.setdefault("SOURCE_DATE_EPOCH", "0")
    fonts = FontConfiguration()
    files = URLFetcher(allowed_protocols={"file"})
    inside_only = URLFetcher(allowed_protocols={"data"}, fail_on_errors=True)
    appendix = re.search(r'<h[1-6] id="([^"]+)"[^>]*class="appendix"', page)
    look = CSS(string=_font_faces(), font_config=fonts, url_fetcher=files)
    with_text = _with_chart_text(page)
    for size in ("", _SMALLER) if most else ("",):
        sized = with_text.replace("</head>", f"{size}</head>", 1)
        document = HTML(string=sized, url_fetcher=inside_only).render(
            font_config=fonts, stylesheets=[look], pdf_variant="pdf/ua-1"
        )
        begins = [n for n, p in enumerate(document.pages) if appendix and appendix[1] in p.anchors]
        before = begins[0] if begins else len(document.pages)
        rest = len(document.pages) - before
        if most is None or (before <= most[0] and rest <= most[1]):
            break
    document.write_pdf(path, pdf_variant="pdf/ua-1")
    return before, rest


_SMALLER = """<style>
@page { margin: 11mm 15mm 13mm }
@media print {
  html { font-size: 9pt; line-height: 1.2 }
  h1 { font-size: 13pt }
  h2 { font-size: 11pt }
  table { font-size: 7.8pt; line-height: 1.15 }
}
</style>"""


def _with_chart_text(page: str) -> str:
    """The page with the words of its charts as text.

    They can then be searched and copied, the file is a third of the size and renders twice as fast.
    On screen they stay outlines: an SVG that is shown as a picture cannot bring its font.
    """

    def chart(match: re.Match[str]) -> str:
        drawing = base64.b64decode(match[2]).decode()
        words = charts.with_text(drawing, lambda text, outlines: True)
        return match[1] + base64.b64encode(words.encode()).decode()

    return _DRAWING.sub(chart, page)


_FACES = [
    ("Memo", "STIXGeneral.ttf", "normal", "normal"),
    ("Memo", "STIXGeneralItalic.ttf", "italic", "normal"),
    ("Memo", "STIXGeneralBol.ttf", "normal", "bold"),
    ("Memo", "STIXGeneralBolIta.ttf", "italic", "bold"),
    ("Chart", "DejaVuSans.ttf", "normal", "normal"),
    ("Chart", "DejaVuSans-Bold.ttf", "normal", "bold"),
]


def _font_faces() -> str:
    folder = Path(get_data_path()) / "fonts" / "ttf"
    return "\n".join(
        f'@font-face {{ font-family: "{family}"; src: url("{(folder / file).as_uri()}"); '
        f"font-style: {style}; font-weight: {weight} }}"
        for family, file, style, weight in _FACES
    )

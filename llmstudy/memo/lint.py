"""Checks the rules of a memo: no typed number in the template, and the sections of the page.

`llmstudy.memo.figures` makes sure that each number and quotation is the result at its place.
`template_faults` checks the source of the template for typed numbers; `check` checks the finished
page, which is not published if it breaks a rule.
"""

import re
from collections.abc import Iterator, Sequence

from bs4 import BeautifulSoup
from bs4.element import Tag

from llmstudy.memo.figures import FREE

REQUIRED = (
    *("title", "recommendation", "phases", "ask", "workloads", "change-our-mind"),
    *("options", "drivers", "assumptions", "risks", "people", "next-steps"),
    *("appendix", "verdicts", "quality", "roadmap", "since-last", "method", "provenance"),
)
"""The sections of a memo, in order (DESIGN.md 9)."""

MEMO_PAGES, APPENDIX_PAGES = 2, 4
MEMO_WORDS, RECOMMENDATION_WORDS = 1_100, 130
MEMO_CHARTS, MEMO_TABLES = 2, 6
ROWS = {"workloads": (1, 8), "options": (1, 6), "assumptions": (1, 5), "next-steps": (1, 6)}
"""The budget of a memo: the most words, charts and tables before the appendix, and the fewest and
most rows of a table (research/notebooks.md 5, PAGE_ONE.md)."""


class LintError(ValueError):
    """A memo that must not be published; each fault is on its own line."""


def check(page: str) -> None:
    """Checks a memo against its rules. page: the memo as HTML.

    Raises: LintError with all faults.
    """
    if broken := faults(page):
        raise LintError("The memo breaks its own rules:\n- " + "\n- ".join(broken))


def page_faults(memo: int, appendix: int) -> list[str]:
    """Sentences on what exceeds the number of pages.

    Like those of `length_faults`, they are notes to whoever runs the study and stop nothing: many
    workloads and long names take space.
    """
    faults_ = []
    if memo > MEMO_PAGES:
        faults_.append(f"the memo takes {memo} pages before its appendix; {MEMO_PAGES} are allowed")
    if appendix > APPENDIX_PAGES:
        faults_.append(f"the appendix takes {appendix} pages; {APPENDIX_PAGES} are allowed")
    return faults_


def faults(page: str) -> list[str]:
    """A sentence for every rule that a page breaks."""
    main = _main(page)
    return [*_order(main), *_rows(main)]


def length_faults(page: str) -> list[str]:
    """Sentences on what exceeds the budget of words, charts and tables before the appendix."""
    return list(_budget(_main(page)))


# --- the page -------------------------------------------------------------------------------------


def _main(page: str) -> Tag:
    """The main part of the page, without the what-if sliders, whose text comes from a grid."""
    soup = BeautifulSoup(page, "html.parser")
    for unread in soup.select("script, style, #what-if"):
        unread.decompose()
    for title in soup.select("h1"):
        title["data-section"] = "title"
    return soup.main or soup


def _order(main: Tag) -> list[str]:
    sections = list(
        dict.fromkeys(str(tag["data-section"]) for tag in main.select("[data-section]"))
    )
    missing = [section for section in REQUIRED if section not in sections]
    if missing:
        return [f"the section {section} is missing" for section in missing]
    required = [section for section in sections if section in REQUIRED]
    if required != list(REQUIRED):
        return [f"the sections are in the order {', '.join(required)}; write {', '.join(REQUIRED)}"]
    return []


def _before_appendix(main: Tag, selector: str) -> list[Tag]:
    appendix = main.select_one(".appendix")
    after = set(map(id, appendix.find_all_next())) if appendix else set()
    return [tag for tag in main.select(selector) if id(tag) not in after and tag is not appendix]


def _words(tags: Sequence[Tag]) -> int:
    """The memo's own words: not those from the study, nor quotations, nor columns of figures."""
    n = 0
    for tag in tags:
        copy = BeautifulSoup(str(tag), "html.parser")
        for other in copy.select("bdi, span.figure, .n"):
            other.decompose()
        n += len(copy.get_text(" ").split())
    return n


def _budget(main: Tag) -> Iterator[str]:
    blocks = _before_appendix(main, "h1, h2, p, li, dl.meta, th, td, caption")
    counted = {
        "words before the appendix": (_words(blocks), MEMO_WORDS),
        "words in the recommendation": (
            _words(main.select("section.recommendation")),
            RECOMMENDATION_WORDS,
        ),
        "charts before the appendix": (len(_before_appendix(main, "img")), MEMO_CHARTS),
        "tables before the appendix": (len(_before_appendix(main, "table")), MEMO_TABLES),
    }
    for what, (n, most) in counted.items():
        if n > most:
            yield f"{n} {what}; {most} are allowed"


def _rows(main: Tag) -> Iterator[str]:
    for section, (fewest, most) in ROWS.items():
        head = main.select_one(f"[data-section={section}]")
        table = head if head is None or head.name == "div" else head.find_next("table")
        n = len(table.select("tbody tr")) if table else 0
        if table and not fewest <= n <= most:
            yield f"{section} has {n} rows; {fewest} to {most} are allowed"


# --- the template ---------------------------------------------------------------------------------

_LIKELY = re.compile(r"\b(?:un)?likely\b|\bchance\b|\balmost certain\b")
"""Words for probabilities: the memo must count futures instead."""

_JINJA = re.compile(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}", re.DOTALL)
_STRING = re.compile(r"""(["'])((?:(?!\1).)*)\1""")
_MARKUP = re.compile(r"<!--.*?-->|<[^>]*>", re.DOTALL)


def template_faults(source: str) -> list[str]:
    """Sentences on what a template types that must come from the results.

    That is a digit, a word for a probability, or money that is not written as USD. The text between
    expressions is checked, and strings within them that have a space, which are prose.

    >>> template_faults('<p>{{ fig("07#/saving/p50", usd) }} of 3 draws</p>')
    ["'of 3 draws' holds a number that names no place"]
    """
    typed = _MARKUP.sub(" ", _JINJA.sub("\0", source)).split("\0")
    for expression in _JINJA.findall(source):
        if not expression.startswith("{#"):
            strings = [match[2] for match in _STRING.finditer(expression)]
            typed += [_MARKUP.sub(" ", text) for text in strings if " " in text.strip()]
    broken = []
    for text in typed:
        words = " ".join(text.split())
        if re.search(r"\d", FREE.sub("", words)):
            broken.append(f"{words!r} holds a number that names no place")
        if _LIKELY.search(words):
            broken.append(f"{words!r} holds a likelihood that names no place")
        if re.search(r"[$€]|\b(dollars?|US\$)\b", words):
            broken.append(f"{words!r} holds money that is not written as USD")
    return broken

"""Does a memo keep its rules? Structure, budget, and no number without a result behind it.

The page is read as a reader gets it. Every number in it must be bound to a result
(`llmstudy.memo.figures`): its place must lead to that result, and its text must be that number.
Quoted text must be in the results word for word. Beyond that a digit may only be part of a date, of
a chapter's name, of a metric or of an ID. A memo that breaks a rule is not published.

The rules are for the memo's own words. What the study's owner wrote (`sections.prose.owner_text`)
and what is quoted from the results may say "likely", "$5k" or "?", and counts in no budget.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any

from llmstudy.memo.context import BEFORE_MEMO, LIKELIHOODS, likelihood
from llmstudy.memo.figures import resolve

REQUIRED = (
    *("title", "recommendation", "ask", "finding-cost", "finding-quality", "finding-vendor"),
    *("options", "drivers", "assumptions", "change-our-mind", "risks", "next-steps"),
    *("appendix", "since-last", "method", "provenance"),
)
"""The sections that a memo has, in their order (DESIGN.md 9)."""

MEMO_PAGES, APPENDIX_PAGES = 2, 4
MEMO_WORDS, RECOMMENDATION_WORDS = 900, 80
MEMO_CHARTS, MEMO_TABLES = 3, 3
ROWS = {"options": (1, 5), "assumptions": (1, 7), "next-steps": (1, 4)}
LINES = {"change-our-mind": (2, 4), "risks": (1, 3)}
"""The budget (research/notebooks.md 5): fewest and most rows of a table, and lines of a list.

Options: the source allows doing nothing and two more; a row for each arm is this study's question,
and a study that names no candidate has doing nothing alone.
"""

Results = Mapping[str, Mapping[str, Any]]


class LintError(ValueError):
    """A memo that must not be published, with each fault on a line of its own."""


def check(page: str, results: Results) -> None:
    """Refuses a memo that breaks a rule.

    page: the memo as HTML. results: of the run's chapters, the memo's own included, by name.
    Raises: LintError with all faults.
    """
    if broken := faults(page, results):
        raise LintError("The memo breaks its own rules:\n- " + "\n- ".join(broken))


def page_faults(memo: int, appendix: int) -> list[str]:
    """What exceeds the pages that a memo may have.

    A memo that keeps its other rules exceeds them only by the owner's words: long names, many
    workloads. It is a note to whoever runs the study; nothing is refused.
    """
    faults_ = []
    if memo > MEMO_PAGES:
        faults_.append(f"the memo takes {memo} pages before its appendix; {MEMO_PAGES} are allowed")
    if appendix > APPENDIX_PAGES:
        faults_.append(f"the appendix takes {appendix} pages; {APPENDIX_PAGES} are allowed")
    return faults_


def faults(page: str, results: Results) -> list[str]:
    """Every rule that a page breaks, each as a sentence; empty where it keeps them all."""
    read = _read(page)
    memo = [text for text in read if not text.in_appendix]
    by_memo = [text for text in read if text.by_memo]
    return [
        *_order(read),
        *_budget(memo),
        *_rows(read),
        *_bindings(read, results),
        *_typed(by_memo),
        *_likelihoods(by_memo),
        *_confidence(by_memo),
        *_money(by_memo),
    ]


# --- the page as a reader gets it -----------------------------------------------------------------


@dataclass(frozen=True)
class Element:
    """An open element: its tag and attributes."""

    tag: str
    attributes: Mapping[str, str]


@dataclass(frozen=True)
class Text:
    """A piece of text (or an image without any), with the elements around it and its section.

    block: the number of the paragraph, list item or cell that it stands in.
    """

    text: str
    around: tuple[Element, ...]
    section: str
    in_appendix: bool
    block: int

    def within(self, tag: str) -> bool:
        """Whether an element of this tag is around it."""
        return any(element.tag == tag for element in self.around)

    @property
    def in_sliders(self) -> bool:
        """Whether it belongs to the what-if sliders."""
        return any(element.attributes.get("id") == "what-if" for element in self.around)

    @property
    def by_memo(self) -> bool:
        """Whether it is the memo's own: neither the owner's words nor quoted from the results."""
        quoted = self.figure is not None and self.figure.tag != "data"
        return not quoted and not self.within("bdi")

    @property
    def figure(self) -> Element | None:
        """The element that binds it to a result, if one does."""
        return next((e for e in self.around if "data-figure" in e.attributes), None)


_VOID = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"}
_INLINE = {"a", "abbr", "b", "bdi", "code", "data", "em", "i", "output", "q", "small", "span"}
_INLINE |= {"strong"}
_UNREAD = {"script", "style", "title"}


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[Element] = []
        self.texts: list[Text] = []
        self.section, self.in_appendix, self.block = "title", False, 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        if section := element.attributes.get("data-section"):
            self.section = section
            self.in_appendix = self.in_appendix or section == "appendix"
        if tag not in _INLINE:
            self.block += 1
        if tag in _VOID:
            self._append("", (*self.open, element))
        else:
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        if tag not in _INLINE:
            self.block += 1
        for i in reversed(range(len(self.open))):
            if self.open[i].tag == tag:
                del self.open[i:]
                return

    def handle_data(self, data: str) -> None:
        if data.strip():
            self._append(data, tuple(self.open))

    def _append(self, text: str, around: tuple[Element, ...]) -> None:
        self.texts.append(Text(text, around, self.section, self.in_appendix, self.block))


def _read(page: str) -> list[Text]:
    """The text of the page's main part, in its order, without the what-if sliders, whose text comes
    from a grid of their own."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    texts = [text for text in reader.texts if not any(text.within(tag) for tag in _UNREAD)]
    return [text for text in texts if text.within("main") and not text.in_sliders]


def _blocks(read: Iterable[Text]) -> Iterator[tuple[str, str]]:
    """(section, text) of each paragraph, item or cell."""
    blocks: dict[int, tuple[str, list[str]]] = {}
    for text in read:
        blocks.setdefault(text.block, (text.section, []))[1].append(text.text)
    return ((section, " ".join("".join(parts).split())) for section, parts in blocks.values())


# --- structure and budget -------------------------------------------------------------------------


def _order(read: Sequence[Text]) -> list[str]:
    sections = list(dict.fromkeys(text.section for text in read))
    missing = [section for section in REQUIRED if section not in sections]
    if missing:
        return [f"the section {section} is missing" for section in missing]
    required = [section for section in sections if section in REQUIRED]
    if required != list(REQUIRED):
        return [
            f"the sections stand in the order {', '.join(required)}; write {', '.join(REQUIRED)}"
        ]
    return []


def _words(read: Iterable[Text]) -> int:
    return sum(len(words.split()) for _, words in _blocks(text for text in read if text.by_memo))


def _budget(memo: Sequence[Text]) -> Iterator[str]:
    counted = {
        "words before the appendix": (_words(memo), MEMO_WORDS),
        "words in the recommendation": (
            _words(text for text in memo if text.section == "recommendation"),
            RECOMMENDATION_WORDS,
        ),
        "charts before the appendix": (sum(t.around[-1].tag == "img" for t in memo), MEMO_CHARTS),
        "tables before the appendix": (len(_elements(memo, "table")), MEMO_TABLES),
    }
    for what, (n, most) in counted.items():
        if n > most:
            yield f"{n} {what}; {most} are allowed"


def _elements(read: Iterable[Text], tag: str) -> set[int]:
    """The elements of a tag around any text, by identity."""
    return {id(element) for text in read for element in text.around if element.tag == tag}


def _rows(read: Sequence[Text]) -> Iterator[str]:
    for section, (fewest, most) in {**ROWS, **LINES}.items():
        inside = [text for text in read if text.section == section]
        tag = "tr" if section in ROWS else "li"
        body = [text for text in inside if tag == "li" or text.within("tbody")]
        n = len(_elements(body, tag))
        if inside and not fewest <= n <= most:
            what = "rows" if tag == "tr" else "lines"
            yield f"{section} has {n} {what}; {fewest} to {most} are allowed"


# --- numbers --------------------------------------------------------------------------------------

_LIKELY = re.compile(
    "|".join(sorted((re.escape(word) for _, word in LIKELIHOODS), key=len, reverse=True))
)

_NUMBER = re.compile(r"([−-]?)(?:[<>+×])?(?:USD )?[<>]?(\d[\d,]*\.?\d*)([kMB]?)( %)?")
_SCALE = {"": 1.0, "k": 1e3, "M": 1e6, "B": 1e9}
_UNIT_WITH_DIGITS = "1k requests"


def _bindings(read: Sequence[Text], results: Results) -> Iterator[str]:
    """Figures and quotations bound to a place that does not exist, or that has another value."""
    for element, words in _bound(read):
        place = element.attributes["data-figure"]
        try:
            result = resolve(place, results)
        except KeyError:
            yield f"{words!r} is bound to {place}, where the results hold nothing"
            continue
        if not element.attributes.get("title", "").strip():
            yield f"{words!r} does not say its grade, source and date"
        if element.tag != "data":
            whole = " ".join(str(result).split())
            if not isinstance(result, str) or words.removesuffix("…").strip() not in whole:
                yield f"{words!r} is quoted from {place}, which reads {result!r}"
        elif fault := _says_otherwise(element, words, result):
            yield f"{words!r} is bound to {place}, {fault}"


def _bound(read: Sequence[Text]) -> Iterator[tuple[Element, str]]:
    """Each element that is bound to a result, and its whole text."""
    elements: dict[int, tuple[Element, list[str]]] = {}
    for text in read:
        if element := text.figure:
            elements.setdefault(id(element), (element, []))[1].append(text.text)
    return ((element, " ".join("".join(parts).split())) for element, parts in elements.values())


def _says_otherwise(element: Element, words: str, result: Any) -> str:
    """How a bound number differs from the result at its place; empty where it does not."""
    if isinstance(result, (list, dict)):
        result = len(result)
    if isinstance(result, bool) or not isinstance(result, (int, float)):
        return f"which is no number but {result!r}"
    if abs(float(element.attributes.get("value") or "nan") - result) > 1e-9 * abs(result):
        return f"which is {result:g}, not its value {element.attributes.get('value')}"
    if _LIKELY.fullmatch(words):
        return ""  # `_likelihoods` holds the word to the probability
    match = _NUMBER.search(words)
    if match is None:
        return f"which is {result:g}: the text says no number"
    rest = (words[: match.start()] + words[match.end() :]).replace(_UNIT_WITH_DIGITS, "")
    if re.search(r"\d", rest):
        return "but says more than one number"
    return "" if _rounds_to(match, result) else f"which is {result:g}"


def _rounds_to(match: re.Match[str], result: float) -> bool:
    """Whether a written number is a rounding of a result, as itself or as a percentage of it."""
    sign, digits, unit, percent = match.groups()
    decimals = len(digits.partition(".")[2])
    scale = _SCALE[unit] / (100 if percent else 1)
    written = float(digits.replace(",", "")) * (-1 if sign else 1)
    # a range says its % once, and points are a share's hundredths
    scales = [scale] if unit or percent else [scale, scale / 100]
    half = 0.5000001 * 10.0**-decimals
    bound = re.search(r"[<>]", match[0])
    return any(abs(written * s - result) <= (2 * half if bound else half) * s for s in scales)


_IDS = r"\b[CTGDSVQIR]\d{1,2}\b"
_DATE = r"\b\d{4}-\d{2}-\d{2}\b"
_METRIC = r"\bp(50|90|95|99)\b"


_CHAPTERS = [
    re.escape(label)
    for name in BEFORE_MEMO
    for label in (name, name.replace("_", " "), f"chapter {name[:2]}")
]
_FREE = re.compile("|".join([*_CHAPTERS, _DATE, _IDS, _METRIC]))
"""Where a digit is no number."""


def _typed(read: Sequence[Text]) -> Iterator[str]:
    """Digits in text that is bound to no result."""
    for text in read:
        if text.figure or text.section == "provenance":
            continue
        if re.search(r"\d", _FREE.sub("", text.text)):
            words = " ".join(text.text.split())
            yield f"{words!r} in {text.section} holds a number that is bound to no result"


# --- words ----------------------------------------------------------------------------------------


def _likelihoods(read: Sequence[Text]) -> Iterator[str]:
    """Words for a likelihood that are bound to no probability, or to one outside their range."""
    for text in read:
        for word in _LIKELY.findall(text.text):
            element = text.figure
            if element is None or element.tag != "data":
                yield f"{word!r} in {text.section} is bound to no probability"
            elif likelihood(float(element.attributes["value"])) != word:
                yield f"{word!r} does not mean {element.attributes['value']}"


def _confidence(read: Sequence[Text]) -> Iterator[str]:
    for section, words in _blocks(read):
        for sentence in re.split(r"(?<=[.!?])\s", words):
            if re.search(r"\bconfidence\b", sentence, re.IGNORECASE) and _LIKELY.search(sentence):
                yield f"confidence and likelihood share a sentence in {section}: {sentence!r}"


def _money(read: Sequence[Text]) -> Iterator[str]:
    for section, words in _blocks(read):
        if re.search(r"\$|€|\b(dollars?|US\$)\b", words):
            yield f"money in {section} must be written as USD: {words!r}"

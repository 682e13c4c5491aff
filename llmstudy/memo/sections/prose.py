"""Paragraphs, lists and tables of a section, of HTML that is escaped already."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import pandas as pd
from markupsafe import Markup

from llmstudy.memo.figures import told, told_span
from llmstudy.tables import table_html
from llmstudy.text import listed, usd


def heading(section: str, text: str) -> str:
    """A section's heading. section: its name in the lint."""
    return f'<h2 data-section="{section}">{text}</h2>'


def paragraph(*sentences: str) -> str:
    """Sentences as a paragraph; empty ones are left out, and so is an empty paragraph."""
    text = " ".join(s for s in sentences if s)
    return f"<p>{text}</p>" if text else ""


def bullets(items: Iterable[str]) -> str:
    """Items as a list."""
    return "<ul>" + "".join(f"<li>{item}</li>" for item in items) + "</ul>"


def owner_text(text: str) -> Markup:
    """Words of the study's owner, escaped: a name, a question, a person.

    They are in a `bdi` element, and nothing else is: so the lint can leave them out of the memo's
    own words, and text that runs from the right stays in its place.
    """
    return Markup("<bdi>{}</bdi>").format(text)


def names(items: Iterable[str]) -> str:
    """Names as prose: the owner's as text, others as HTML."""
    return listed([str(n if isinstance(n, Markup) else owner_text(n)) for n in items])


MOST_NAMES = 3
"""Names that a sentence lists; of more it gives their number."""


def few(items: Sequence[str], how_many: Any, what: str = "workloads") -> str:
    """Names as prose while they are few, else their number. how_many: it, with its place."""
    return names(items) if len(items) <= MOST_NAMES else f"{told(how_many)} {what}"


def first_few(items: Sequence[str]) -> str:
    """The first names as prose, and that there are others."""
    rest = [Markup("others")] if len(items) > MOST_NAMES else []
    return names([*items[:MOST_NAMES], *rest])


def definitions(terms: Mapping[str, str]) -> str:
    """A list of terms and their definitions. terms: text -> HTML."""
    cells = "".join(f"<div><dt>{escape(k)}</dt><dd>{v}</dd></div>" for k, v in terms.items())
    return f'<dl class="meta">{cells}</dl>'


def table(rows: Sequence[Mapping[str, Any]], caption: str) -> str:
    """Rows under a caption. Cells and caption: text, or Markup that is HTML already."""
    return table_html(pd.DataFrame(list(rows), dtype=object), caption)


def usd_range(amount: Mapping[str, Any]) -> Markup:
    """The 80 % range of an amount."""
    return told_span(amount["p10"], amount["p90"], usd)


def html(*parts: Any) -> Markup:
    """Parts of HTML, escaped already, as one cell of a table."""
    return Markup("".join(str(part) for part in parts))

"""Where does a number in the memo come from? Each has its place, grade, source and date with it.

`located` gives the results of the chapters with each number and text bound to its place: a JSON
pointer (RFC 6901) into `results/CHAPTER.json`. `told` writes such a number as a `data` element with
its place, and with the rest as the element's title; a number without a place is refused, so that
none that was typed or computed on the way can reach the memo. `resolve` looks a place up.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from html import escape
from typing import Any

from markupsafe import Markup

from llmstudy.figure import GRADES, least_certain
from llmstudy.text import Format, count, span


@dataclass(frozen=True)
class Origin:
    """The place of a result (CHAPTER#/pointer), and its grade, source and date in words."""

    place: str
    behind: str


class Number(float):
    """A number of the results with its place."""

    origin: Origin


class Whole(int):
    """A whole number of the results with its place."""

    origin: Origin


class Words(str):
    """A text of the results with its place."""

    origin: Origin


class Rows(list[Any]):
    """A list of the results with its place."""

    origin: Origin


Located = Number | Whole | Words | Rows


def located(chapters: Mapping[str, Mapping[str, Any]], as_of: str) -> dict[str, Any]:
    """The results of chapters, by name, with every number, text and list bound to its place.

    as_of: the study's day. What has no grade of its own gets the weakest grade among the figures of
    its workload, or of all.

    >>> results = located({"02_cost": {"bills": [{"usd": 0.5}]}}, "2026-11-23")
    >>> results["02_cost"]["bills"][0]["usd"].origin.place
    '02_cost#/bills/0/usd'
    """
    weakest = _weakest(chapters)
    return {
        name: _located(results, f"{name}#", _Behind(name, as_of, weakest))
        for name, results in chapters.items()
    }


@dataclass(frozen=True)
class _Behind:
    """The chapter of a branch of the results, and the nearest grade and source above it."""

    chapter: str
    as_of: str
    weakest: Mapping[str, str]
    workload: str = ""
    grade: str = ""
    source: str = ""

    def within(self, row: Mapping[str, Any]) -> "_Behind":
        """The same within a row, which may have its own."""
        graded = row.get("grade") in GRADES
        return replace(
            self,
            as_of=str(row.get("as_of") or self.as_of),
            workload=str(row.get("workload") or self.workload),
            grade=str(row["grade"]) if graded else self.grade,
            source=str(row.get("source") or "") if graded else self.source,
        )

    def under(self, key: str) -> "_Behind":
        """The same under a key, which may be a workload's name."""
        return replace(self, workload=key) if key in self.weakest else self

    def in_words(self) -> str:
        """Grade, source, chapter and date."""
        rests = self.weakest.get(self.workload) or self.weakest.get("", "assumed")
        grade = self.grade or f"computed, on figures no better than {rests}"
        parts = [grade, self.source, f"chapter {self.chapter}", f"as of {self.as_of}"]
        return " · ".join(part for part in parts if part)


def _weakest(chapters: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The weakest grade that a workload rests on, by its name; under "" that of the whole study."""
    evidence = chapters.get("01_evidence", {})
    grades: dict[str, str] = {}
    for row in evidence.get("workloads", []):
        row_grades = [row["volume_grade"], row["tokens_grade"], row["traffic"]]
        grades[row["workload"]] = least_certain(row_grades)
    ledger = [row["grade"] for row in evidence.get("figures", [])]
    grades[""] = least_certain([*ledger, *grades.values()] or ["assumed"])
    return grades


def _located(node: Any, place: str, behind: _Behind) -> Any:
    if isinstance(node, Mapping):
        inner = behind.within(node)
        return {
            key: _located(value, f"{place}/{_token(str(key))}", inner.under(str(key)))
            for key, value in node.items()
        }
    if isinstance(node, bool) or node is None:
        return node
    located_: Located
    if isinstance(node, list):
        located_ = Rows(_located(x, f"{place}/{i}", behind) for i, x in enumerate(node))
    elif isinstance(node, str):
        located_ = Words(node)
    else:
        located_ = Whole(node) if isinstance(node, int) else Number(node)
    located_.origin = Origin(place, behind.in_words())
    return located_


def _token(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def resolve(place: str, chapters: Mapping[str, Mapping[str, Any]]) -> Any:
    """The result at a place.

    Raises: KeyError if there is none.

    >>> resolve("02_cost#/bills/0/usd", {"02_cost": {"bills": [{"usd": 0.5}]}})
    0.5
    """
    chapter, _, pointer = place.partition("#")
    result: Any = chapters.get(chapter)
    for token in pointer.split("/")[1:]:
        key = token.replace("~1", "/").replace("~0", "~")
        try:
            result = result[int(key)] if isinstance(result, list) else result[key]
        except (KeyError, IndexError, ValueError, TypeError):
            raise KeyError(place) from None
    if result is None and chapter not in chapters:
        raise KeyError(place)
    return result


# ---- as HTML ------------------------------------------------------------------------------------


def told(x: Any, fmt: Format = count) -> Markup:
    """A number of the results, written by a formatter of `llmstudy.text` and bound to its place.

    Raises: TypeError if the number has no place.
    """
    return bound(fmt(x), x)


def told_span(low: Any, high: Any, fmt: Format = count) -> Markup:
    """A range whose two ends are bound each to its own place; an end that is None reads "never"."""
    text = span(low, high, fmt)
    first, to, last = text.partition(" to ")
    begun = Markup(escape(first)) if low is None else bound(first, low)
    if not to:
        return begun
    return begun + Markup(" to ") + (Markup(escape(last)) if high is None else bound(last, high))


def counted(rows: Any) -> Markup:
    """How many rows a list of the results has, bound to the list."""
    return bound(count(len(rows)), rows, len(rows))


def bound(text: str, x: Any, value: float | None = None, meaning: str = "") -> Markup:
    """A number in words, bound to the number's place.

    value: the number, where `x` is the list that it counts. meaning: comes before grade, source and
    date in the element's title.
    Raises: TypeError if `x` has no place.
    """
    origin = getattr(x, "origin", None)
    if origin is None:
        raise TypeError(
            f"{text!r} has no place in the results: let a chapter write it, or `reckoned`, and "
            "take it from there."
        )
    stated = float(x) if value is None else value
    return Markup('<data class="figure" value="{}" data-figure="{}" title="{}">{}</data>').format(
        f"{stated:.10g}", origin.place, " · ".join(filter(None, (meaning, origin.behind))), text
    )


def quoted(words: Any, part: str | None = None) -> Markup:
    """A text of the results as it stands, or a part of it, bound to its place.

    Raises: TypeError if it has no place.
    """
    text = str(words) if part is None else part
    origin = getattr(words, "origin", None)
    if origin is None:
        raise TypeError(f"{text!r} has no place in the results: quote what a chapter wrote.")
    return Markup('<span class="figure" data-figure="{}" title="{}">{}</span>').format(
        origin.place, origin.behind, text
    )

"""Numbers in the memo come from the results, by their place.

A place is a JSON pointer (RFC 6901) into the results of a chapter, which is given by its number:
`07#/at_stake/p50`. The memo's template writes numbers, ranges, dates and quotations by their place
(`Figures`); `checked` raises for a number that was typed, or computed in the template.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from llmstudy.figure import GRADES, least_certain
from llmstudy.text import Format, count, span

Results = Mapping[str, Mapping[str, Any]]
"""Results of a run's chapters, by chapter name."""


def of_100(p: float) -> str:
    """A probability as a count of a hundred.

    >>> of_100(0.118), of_100(0.998), of_100(0.0004), of_100(0.0)
    ('12 of 100', 'more than 99 of 100', 'fewer than 1 of 100', 'none of 100')
    """
    size = f"{100 * p:.0f}"
    if p == 0:
        size = "none"
    elif p < 0.005:
        size = "fewer than 1"
    elif 0.995 <= p < 1:
        size = "more than 99"
    return f"{size} of 100"


def points(x: float) -> str:
    """A share as percentage points.

    >>> points(0.03), points(0.1023), points(-0.0121)
    ('3', '10', '−1.2')
    """
    return (f"{100 * x:.0f}" if abs(x) >= 0.095 else f"{100 * x:.2g}").replace("-", "−")


def day(text: str) -> str:
    """A date in words.

    >>> day("2027-01-05")
    '5 Jan 2027'
    """
    on = date.fromisoformat(str(text)[:10])
    return f"{on.day} {on:%b} {on.year}"


def resolve(place: str, results: Results) -> Any:
    """The result at a place. Raises: KeyError if there is none.

    >>> resolve("02_cost#/bills/0/usd", {"02_cost": {"bills": [{"usd": 0.5}]}})
    0.5
    """
    return _path(place, results)[-1]


def _path(place: str, results: Results) -> list[Any]:
    """The results from a chapter down to a place."""
    chapter, _, pointer = place.partition("#")
    if chapter not in results:
        raise KeyError(place)
    path: list[Any] = [results[chapter]]
    for step in pointer.split("/")[1:]:
        key, node = _key(step), path[-1]
        try:
            path.append(node[int(key)] if isinstance(node, list) else node[key])
        except (KeyError, IndexError, ValueError, TypeError):
            raise KeyError(place) from None
    return path


def token(key: str) -> str:
    """A key as a step of a JSON pointer."""
    return key.replace("~", "~0").replace("/", "~1")


def _key(token: str) -> str:
    return token.replace("~1", "/").replace("~0", "~")


class Figures:
    """The results of a run, for the memo's template.

    results: by chapter name. as_of: the study's day (ISO), for results without a date of their own.

    >>> f = Figures({"02_cost": {"bills": [{"usd": 0.5}, {"usd": 4.0}]}}, "2026-11-23")
    >>> f.get("02#/bills/1/usd"), [row.at for row in f.rows("02#/bills")]
    (4.0, ['02_cost#/bills/0', '02_cost#/bills/1'])
    >>> f.fig("02#/bills")[-8:]
    Markup('2</data>')
    """

    def __init__(self, results: Results, as_of: str) -> None:
        self.results, self.as_of = results, as_of
        self._chapters = {name[:2]: name for name in results if name[:2].isdigit()}
        self._weakest = _weakest(results)

    def whole(self, place: str) -> str:
        """A place with the full name of its chapter."""
        chapter, hash_, pointer = place.partition("#")
        return f"{self._chapters.get(chapter, chapter)}{hash_}{pointer}"

    def get(self, place: str) -> Any:
        """The result at a place, to choose words by; use `fig` and others to write it.

        Raises: KeyError as `resolve` does.
        """
        return resolve(self.whole(place), self.results)

    def rows(self, place: str, **values: Any) -> list["Row"]:
        """The rows of a table with these values in these columns, each with its place."""
        whole, table = self.whole(place), self.get(place)
        keys = table if isinstance(table, Mapping) else range(len(table))
        rows = [Row(self, f"{whole}/{token(str(key))}", table[key]) for key in keys]
        return [r for r in rows if all(r[column] == value for column, value in values.items())]

    # ---- as HTML --------------------------------------------------------------------------------

    def fig(self, place: str, fmt: Format = count) -> Markup:
        """The number at a place, or the length of a list there.

        Raises: KeyError as `resolve` does; TypeError if there is no number.
        """
        value = self.get(place)
        value = len(value) if isinstance(value, (list, dict)) else value
        return self._bound(place, fmt(_number(value, place)), value)

    def range(self, place: str, fmt: Format = count) -> Markup:
        """A range, with each end bound to its own place.

        place: of a mapping with p10 and p90, or low and high. An end of null is written "never".
        """
        node = self.get(place)
        ends = ("p10", "p90") if "p10" in node else ("low", "high")
        return self.between(f"{place}/{ends[0]}", f"{place}/{ends[1]}", fmt)

    def between(self, low_place: str, high_place: str, fmt: Format = count) -> Markup:
        """A range from the number at one place to that at another."""
        low, high = self.get(low_place), self.get(high_place)
        first, to, last = span(low, high, fmt).partition(" to ")
        begun = Markup.escape(first) if low is None else self._bound(low_place, first, low)
        if not to:
            return begun
        ended = Markup.escape(last) if high is None else self._bound(high_place, last, high)
        return begun + Markup(" to ") + ended

    def on(self, place: str) -> Markup:
        """The date at a place."""
        text = str(self.get(place))
        return Markup('<time class="figure" datetime="{}" data-figure="{}">{}</time>').format(
            text[:10], self.whole(place), day(text)
        )

    def quote(self, place: str, part: str | None = None) -> Markup:
        """The text at a place, or a part of it, bound to that place.

        Raises: KeyError as `resolve` does; TypeError if there is no text, or it lacks this part.
        """
        text = self.get(place)
        if not isinstance(text, str) or (part is not None and part not in text):
            raise TypeError(f"{place} reads {text!r}, which cannot be quoted as {part!r}.")
        return Markup('<span class="figure" data-figure="{}" title="{}">{}</span>').format(
            self.whole(place), self.behind(place), text if part is None else part
        )

    def link(self, place: str) -> Markup:
        """The path at a place, as a link to that file of the run."""
        return Markup('<a href="{}">{}</a>').format(quote(self.get(place)), self.quote(place))

    def _bound(self, place: str, text: str, value: float) -> Markup:
        return Markup(
            '<data class="figure" value="{}" data-figure="{}" title="{}">{}</data>'
        ).format(f"{value:.10g}", self.whole(place), self.behind(place), text)

    def behind(self, place: str) -> str:
        """The grade, source, chapter and date of a result, in words.

        They come from the nearest row above that has them. Without a grade, it is the weakest one
        among the figures of the workload, or of the study.
        """
        whole = self.whole(place)
        nodes, steps = _path(whole, self.results), whole.partition("#")[2].split("/")
        grade = source = workload = ""
        as_of = self.as_of
        for node, step in zip(nodes, steps, strict=True):
            workload = _key(step) if _key(step) in self._weakest else workload
            if not isinstance(node, Mapping):
                continue
            if node.get("grade") in GRADES:
                grade, source = str(node["grade"]), str(node.get("source") or "")
            as_of = str(node.get("as_of") or as_of)
            workload = str(node.get("workload") or workload)
        rests = self._weakest.get(workload) or self._weakest[""]
        grade = grade or f"computed, on figures no better than {rests}"
        chapter = f"chapter {whole.partition('#')[0]}"
        return " · ".join(part for part in (grade, source, chapter, f"as of {as_of}") if part)


class Row(Mapping[str, Any]):
    """A row of a table with its place: values to choose words by, and methods to write them."""

    def __init__(self, figures: Figures, at: str, values: Mapping[str, Any]) -> None:
        self.figures, self.at, self._values = figures, at, values

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def rows(self, key: str, **values: Any) -> list["Row"]:
        """The rows of a table within this row."""
        return self.figures.rows(f"{self.at}/{key}", **values)

    def fig(self, key: str, fmt: Format = count) -> Markup:
        """As `Figures.fig`. key: a column, or a path below the row."""
        return self.figures.fig(f"{self.at}/{key}", fmt)

    def range(self, key: str, fmt: Format = count) -> Markup:
        """As `Figures.range`."""
        return self.figures.range(f"{self.at}/{key}", fmt)

    def between(self, low: str, high: str, fmt: Format = count) -> Markup:
        """As `Figures.between`."""
        return self.figures.between(f"{self.at}/{low}", f"{self.at}/{high}", fmt)

    def on(self, key: str) -> Markup:
        """As `Figures.on`."""
        return self.figures.on(f"{self.at}/{key}")

    def quote(self, key: str, part: str | None = None) -> Markup:
        """As `Figures.quote`."""
        return self.figures.quote(f"{self.at}/{key}", part)

    def link(self, key: str) -> Markup:
        """As `Figures.link`."""
        return self.figures.link(f"{self.at}/{key}")


def _number(value: Any, place: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{place} holds {value!r}, which is no number.")
    return value


def _weakest(results: Results) -> dict[str, str]:
    """The weakest grade of each workload, by its name; under "" that of the whole study."""
    evidence = results.get("01_evidence", {})
    grades: dict[str, str] = {}
    for row in evidence.get("workloads", []):
        row_grades = [row["volume_grade"], row["tokens_grade"], row["traffic"]]
        grades[row["workload"]] = least_certain(row_grades)
    ledger = [row["grade"] for row in evidence.get("figures", [])]
    grades[""] = least_certain([*ledger, *grades.values()] or ["assumed"])
    return grades


# ---- text without a place -------------------------------------------------


def owner_text(text: str) -> Markup:
    """Text from the study, escaped: a name, a question, a person.

    It is in a `bdi` element, and nothing else is: so the lint can tell it from the memo's own
    words, and right-to-left text stays in its place.
    """
    return Markup("<bdi>{}</bdi>").format(text)


FREE = re.compile(r"\b[CTGDSVQIR]\d{1,2}\b|\bp(?:50|90|95|99)\b|\b(?:chapter )?0\d(?:[_ ]\w+)*\b")
"""Text whose digits are no number: an ID, the name of a percentile, a chapter."""


def checked(value: Any) -> Any:
    """A value that the template writes, if it is HTML or words. The environment's `finalize`.

    Raises: TypeError for a number, or for text with a digit, that names no place in the results.
    """
    if isinstance(value, Markup):
        return value
    if not isinstance(value, str) or re.search(r"\d", FREE.sub("", value)):
        raise TypeError(
            f"{value!r} names no place in the results: write it with fig, range, on or quote, or "
            "with name if it is a name from the study."
        )
    return value


def names(items: Sequence[str], most: int = 3) -> Markup:
    """Names from the study as a list in prose; after `most` of them, "others".

    >>> names(["chat", "search"])
    Markup('<bdi>chat</bdi> and <bdi>search</bdi>')
    """
    shown = [owner_text(item) for item in items[:most]]
    if len(items) > most:
        shown.append(Markup("others"))
    *first, last = shown or [Markup()]
    return Markup(", ").join(first) + Markup(" and ") + last if first else last

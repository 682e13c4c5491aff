"""Renders the memo's HTML from the results, by the template `memo.html.j2`.

Besides `Figures`, the template may call what is defined here: names, units, parts of a quotation.
Text that names no place in the results must not have a digit (`figures.checked`).
"""

import re
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from llmstudy import text
from llmstudy.chapters import BEFORE_MEMO
from llmstudy.compare.diff import LEADS, course
from llmstudy.memo import figures
from llmstudy.memo.context import Facts
from llmstudy.memo.figures import Figures, Row, names, owner_text
from llmstudy.tables import named
from llmstudy.text import Format, count, listed, opening, share, usd

TEMPLATE = Path(__file__).with_name("memo.html.j2")

_STOP = re.compile(r"<!--(chart (\w+)|sliders)-->")

PARTS = {
    "today": "at today's volume and prices",
    "growth": "for growth of volume",
    "scheduled": "for announced prices",
    "prompts": "for growing prompts",
    "drift": "for the trend of prices",
    "upkeep": "for following new versions and retirements",
    "spread": "because growth and prices may exceed their medians",
    "discount": "for discounting",
}


def parts(facts: Facts) -> list[tuple[str, str]]:
    """The memo from top to bottom: ("html", a piece of it), ("chart", a chart's name) or
    ("sliders", "").

    facts: of all chapters, the memo's own included.
    Raises: KeyError, TypeError if the template writes something that is not in the results.
    """
    page = _template().render(**_context(facts))
    pieces: list[tuple[str, str]] = []
    at = 0
    for match in _STOP.finditer(page):
        pieces += [("html", page[at : match.start()]), (match[1].split()[0], match[2] or "")]
        at = match.end()
    pieces.append(("html", page[at:]))
    return [piece for piece in pieces if piece[0] == "sliders" or piece[1].strip()]


def provenance(made: Mapping[str, Any]) -> str:
    """The last section of the memo: the inputs of the run, and the command to repeat it.

    made: command, seed, package, python, git_sha, git_dirty, study_sha256, lock_sha256 and
    data_sha256 (by file), as in `provenance.json`. They are not in the notebook, whose text must be
    the same at every commit.
    """
    code = str(made["git_sha"] or "not in git")[:12]
    if made["git_dirty"]:
        code += " with uncommitted changes"
    data = sha256("".join(f"{k}{v}" for k, v in sorted(made["data_sha256"].items())).encode())
    terms = {
        "To reproduce": str(made["command"]),
        "Code": f"llmstudy {made['package']}, {code}",
        "Python": str(made["python"]),
        "Seed": str(made["seed"]),
        "Study": str(made["study_sha256"])[:12],
        "Data": f"{data.hexdigest()[:12]} ({len(made['data_sha256'])} files)",
        "Lock": str(made["lock_sha256"] or "none")[:12],
    }
    template = _template()
    return "".join(template.blocks["provenance"](template.new_context({"made": terms})))


@cache
def environment() -> Environment:
    """The template's environment: it escapes text, and raises for missing values and typed
    numbers."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATE.parent),
        autoescape=True,
        extensions=["jinja2.ext.do"],
        undefined=StrictUndefined,
        finalize=figures.checked,
    )
    made.filters |= {"listed": listed, "token": figures.token, "quoted_names": names}
    made.globals |= {
        **{fmt.__name__: fmt for fmt in (usd, share, text.signed_usd)},
        **{fmt.__name__: fmt for fmt in (figures.points, figures.of_100)},
        "name": owner_text,
        "names": names,
        "plain": lambda html: Markup.escape(Markup(html).striptags()),
        "in_unit": lambda unit: lambda x: quantity(x, unit),
        "range_in": _range_in,
        "first_clause": first_clause,
        "first_sentence": lambda words: re.split(r"(?<=[.])\s", words)[0],
        "first_part": lambda words: words.split("; ")[0],
        "leads": LEADS,
        "stay_parts": PARTS,
    }
    return made


def _template() -> Any:
    return environment().get_template(TEMPLATE.name)


def _context(facts: Facts) -> dict[str, Any]:
    """The variables of the template: figures, and values to choose words by."""
    figs = Figures(facts.chapters, facts.study.as_of.isoformat())

    def row(place: str) -> Row:
        return Row(figs, figs.whole(place), figs.get(place))

    def has(place: str) -> bool:
        try:
            figs.get(place)
        except KeyError:
            return False
        return True

    def course_of(changed: Row, when: str) -> Markup:
        return Markup(course(changed[when], owner_text))

    def places(place: str) -> list[str]:
        return [f"{place}/{i}" for i in range(len(figs.get(place)))]

    return {
        **{name: getattr(figs, name) for name in _WRITERS},
        "row": row,
        "has": has,
        "places": places,
        "course_of": course_of,
        "side": _side,
        "study": facts.study,
        "fired": facts.fired(),
        "sensitive": facts.sensitivity() is not None,
        "targets": [v["target"] for v in facts.verdicts.values()],
        "inputs_of": lambda rows: opening(listed([named("input", str(r["input"])) for r in rows])),
        "chapters": [Markup.escape(name.replace("_", " ")) for name in BEFORE_MEMO],
        "made": None,
    }


_WRITERS = ("get", "rows", "fig", "range", "between", "on", "quote")


# ---- units, and parts of a quotation ------------------------------------------------------------


def quantity(x: float, unit: str) -> str:
    """A figure's value with its unit.

    >>> quantity(0.04, "share/month"), quantity(5000, "USD/month"), quantity(3, "routes")
    ('4 % a month', 'USD 5.0k a month', '3 routes')
    """
    if unit in ("USD", "USD/month"):
        return usd(x) + unit.removeprefix("USD").replace("/", " a ")
    if unit.startswith("share"):
        return share(x) + unit.removeprefix("share").replace("/", " a ")
    if unit == "factor/year":
        return f"×{x:.3g} a year"
    if unit == "factor":
        return f"×{x:.3g}"
    if unit in ("requests/month", "tokens/request"):
        return count(x)  # the assumption's name holds its unit
    return f"{count(x)} {unit.removesuffix('/month')}"


def _range_in(unit: str) -> Format:
    if unit.startswith("USD"):
        return usd
    return share if unit.startswith("share") else _three_digits


def _three_digits(x: float, beside: float | None = None) -> str:
    return f"{x:.3g}" if x < 1000 else count(x, beside)


def first_clause(source: str, most: int = 48) -> str:
    """The first clause of a source, cut between words if it is long.

    >>> first_clause("monthly growth of an established product; public SaaS reports")
    'monthly growth of an established product'
    >>> first_clause("skypilot-catalog nebius vms.csv commit 0082b043; 60% reserved")
    'skypilot-catalog nebius vms.csv commit 0082b043'
    """
    clause = re.split(r"[;:,](?=\s)|\.\s", source.strip())[0]
    if len(clause) <= most:
        return clause
    return clause[: most + 1].rpartition(" ")[0] or clause


def _side(row: Row, side: str) -> Markup:
    """The figure for one side of a trade-off, in brackets, if the study has one."""
    value, unit, what = (row[f"{side}_{key}"] for key in ("value", "unit", "figure"))
    if value is None:
        return Markup("")
    if row[f"{side}_low"] is None or unit.startswith("USD"):
        number = row.fig(f"{side}_value", lambda x: quantity(x, unit))
    else:
        number = row.between(f"{side}_low", f"{side}_high", share if unit == "share" else count)
    return Markup(" ({} {})").format(number, row.quote(f"{side}_figure", what.split("; ")[0]))

"""A memo is held to its rules: each broken one is noticed, and a real memo breaks none."""

import pytest
from bs4 import BeautifulSoup

from llmstudy.memo import lint
from llmstudy.memo.document import TEMPLATE
from llmstudy.memo.lint import REQUIRED, LintError, template_faults

SOURCE = TEMPLATE.read_text(encoding="utf-8")


def sections(names):
    """A page with these sections and nothing in them."""
    parts = [f'<p data-section="{name}"></p>' for name in names if name != "title"]
    return "<main>" + "<h1></h1>" * ("title" in names) + "".join(parts) + "</main>"


def with_rows(section, n):
    """A page whose sections are all there, with n rows in one table and one in each other."""
    page = sections(REQUIRED)
    for name in lint.ROWS:
        rows = "<tr><td>x</td></tr>" * (n if name == section else 1)
        mark = f'<p data-section="{name}"></p>'
        page = page.replace(mark, f"{mark}<table><tbody>{rows}</tbody></table>")
    return page


# ---- the finished page --------------------------------------------------------------------------


def test_the_reference_memo_keeps_every_rule(page):
    assert lint.faults(page) == []
    lint.check(page)


@pytest.mark.parametrize("missing", REQUIRED)
def test_a_section_that_is_missing_is_noticed(missing):
    page = sections([name for name in REQUIRED if name != missing])
    assert lint.faults(page) == [f"the section {missing} is missing"]


def test_sections_stand_in_their_order():
    assert lint.faults(sections(REQUIRED)) == []
    first, second, *rest = REQUIRED
    (fault,) = lint.faults(sections([first, rest[0], second, *rest[1:]]))
    assert "are in the order" in fault


def test_a_section_more_than_the_required_ones_is_free():
    assert lint.faults(sections([*REQUIRED, "criteria"])) == []


@pytest.mark.parametrize("section", lint.ROWS)
def test_a_table_has_as_many_rows_as_it_may(section):
    fewest, most = lint.ROWS[section]
    for n in (fewest, most):
        assert lint.faults(with_rows(section, n)) == []
    for n in (fewest - 1, most + 1):
        assert lint.faults(with_rows(section, n)) == [
            f"{section} has {n} rows; {fewest} to {most} are allowed"
        ]


def test_a_memo_with_faults_is_refused_with_all_of_them():
    with pytest.raises(LintError) as refused:
        lint.check(with_rows("options", 9).replace('data-section="ask"', ""))
    for fault in ("the section ask is missing", "options has 9 rows"):
        assert fault in str(refused.value)


# ---- its length ---------------------------------------------------------------------------------

APPENDIX = '<h2 class="appendix">Appendix</h2>'


@pytest.mark.parametrize(
    ("piece", "most", "fault"),
    [
        ("<p>word</p>", lint.MEMO_WORDS, "words before the appendix"),
        ('<img alt="x" src="data:,">', lint.MEMO_CHARTS, "charts before the appendix"),
        ("<table></table>", lint.MEMO_TABLES, "tables before the appendix"),
    ],
)
def test_what_exceeds_the_length_before_the_appendix_is_noted(piece, most, fault):
    assert lint.length_faults(f"<main>{piece * most}{APPENDIX}</main>") == []
    longer = lint.length_faults(f"<main>{piece * (most + 1)}{APPENDIX}</main>")
    assert longer == [f"{most + 1} {fault}; {most} are allowed"]
    assert lint.length_faults(f"<main>{APPENDIX}{piece * (most + 1)}</main>") == []


def test_a_long_recommendation_is_noted():
    words = "so " * (lint.RECOMMENDATION_WORDS + 1)
    page = f'<main><section class="recommendation"><p>{words}</p></section>{APPENDIX}</main>'
    assert [f.partition(" words ")[2] for f in lint.length_faults(page)] == [
        f"in the recommendation; {lint.RECOMMENDATION_WORDS} are allowed"
    ]


def test_neither_the_owners_words_nor_quotations_count():
    words = "so " * (lint.MEMO_WORDS + 1)
    page = f'<p><bdi>{words}</bdi><span class="figure">{words}</span></p>{APPENDIX}'
    assert lint.length_faults(page) == []


def test_what_the_sliders_say_is_not_read():
    words = "so " * (lint.MEMO_WORDS + 1)
    assert lint.length_faults(f'<main><div id="what-if"><p>{words}</p></div></main>') == []


def test_pages_beyond_the_budget_are_noted():
    assert lint.page_faults(lint.MEMO_PAGES, lint.APPENDIX_PAGES) == []
    assert len(lint.page_faults(lint.MEMO_PAGES + 1, lint.APPENDIX_PAGES + 1)) == 2


# ---- the template -------------------------------------------------------------------------------


def test_the_template_types_nothing_that_it_must_take_from_the_results():
    assert template_faults(SOURCE) == []


def test_every_required_section_is_in_the_template():
    written = BeautifulSoup(SOURCE, "html.parser").select("[data-section]")
    named = {tag["data-section"] for tag in written}
    called = {name for name in REQUIRED if f'"{name}") %}}' in SOURCE}  # by the macro of a table
    assert set(REQUIRED) - {"title"} <= named | called


@pytest.mark.parametrize(
    ("typed", "fault"),
    [
        ("<p>It saves 12 %.</p>", "names no place"),
        ("<p>It saves {{ fig(place, usd) }} in 3 futures.</p>", "number that names no place"),
        ('{{ "one of 3 " ~ word }}', "names no place"),
        ('{% set caption = "the 4 largest" %}', "names no place"),
        ("<p>It is very likely to pay.</p>", "likelihood that names no place"),
        ('{{ "unlikely to pay" if x else "" }}', "likelihood that names no place"),
        ("<p>It saves $ a month.</p>", "not written as USD"),
        ("<p>It saves dollars.</p>", "not written as USD"),
    ],
)
def test_what_is_typed_instead_of_taken_is_noticed(typed, fault):
    (found,) = template_faults(f"<h1>Words</h1>{typed}")
    assert fault in found


@pytest.mark.parametrize(
    "free",
    [
        '<p class="n7">{{ fig("07#/saving/p50", usd) }}</p>',
        "{# 7 comments #}",
        "<p>chapter 07, G4, S12 and the p95</p>",
        "{{ rows[:2] }}{{ c.p50 }}{% if n > 3 %}more{% endif %}",
    ],
)
def test_places_ids_and_code_are_free(free):
    assert template_faults(free) == []

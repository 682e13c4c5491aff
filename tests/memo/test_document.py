"""The memo as HTML: whatever the results say, each number in it leads back to them."""

import re
from datetime import date

import pytest
from bs4 import BeautifulSoup
from jinja2 import UndefinedError

from llmstudy import paths
from llmstudy.memo import lint
from llmstudy.memo.context import Facts
from llmstudy.memo.document import environment, parts, provenance
from llmstudy.memo.figures import resolve
from llmstudy.study import load
from llmstudy.study.snapshot import from_json
from tests.memo.shared import LEAD, MADE, answer, barred, copied, finished, page_of, stay


def soup(page):
    return BeautifulSoup(page, "html.parser")


def text_of(element):
    return " ".join(element.get_text().split())


def section(page, name):
    """A section's element and what follows it up to the next heading."""
    head = soup(page).select_one(f"[data-section={name}]")
    pieces = [head]
    for sibling in head.find_next_siblings():
        if sibling.name == "h2":
            break
        pieces.append(sibling)
    return soup("".join(map(str, pieces)))


def assert_each_figure_is_borne_out(page, facts):
    """Each element that names a place has the value, the day or the words that stand there."""
    figures = soup(page).select("[data-figure]")
    assert len(figures) > 100
    for element in figures:
        value = resolve(element["data-figure"], facts.chapters)
        if element.name == "data":
            n = len(value) if isinstance(value, list | dict) else value
            assert float(element["value"]) == pytest.approx(n, rel=1e-9), element
        elif element.name == "time":
            assert element["datetime"] == value[:10]
        else:
            assert element.get_text() in value
        assert element.name == "time" or "· chapter " in element["title"]


# ---- every course -------------------------------------------------------------------------------


def test_whatever_the_course_the_memo_keeps_its_rules(course):
    _, facts = course
    page = page_of(facts)
    assert lint.faults(page) == []
    assert_each_figure_is_borne_out(page, finished(facts))
    cells = {text_of(cell) for cell in soup(page).select("td, th, dd")}
    assert not cells & {"", "None", "nan"}


def test_no_two_courses_are_told_alike(course, page, facts):
    kind, other = course
    told = soup(page_of(other))
    leads = [text_of(told.h1), text_of(told.select_one(".recommendation strong"))]
    ours = [text_of(soup(page).h1), text_of(soup(page).select_one(".recommendation strong"))]
    assert (leads == ours) is (kind == "evaluate")


def test_every_chart_that_the_memo_names_is_drawn_by_its_notebook(facts):
    drawn = set(re.findall(r"memo_\w+", (paths.notebooks() / "08_memo.ipynb").read_text("utf-8")))
    pieces = parts(finished(facts))
    named = [piece for what, piece in pieces if what == "chart"]
    assert {"memo_cost", "memo_tornado"} < set(named) <= drawn
    assert len(named) == len(set(named))
    assert [what for what, _ in pieces].count("sliders") == 1


def test_without_a_move_there_is_no_chart_of_what_decides_it(facts):
    other = stay(facts)
    other.crossing["sensitivity"] = []
    pieces = parts(finished(other))
    assert ("chart", "memo_tornado") not in pieces
    assert ("chart", "memo_cost") in pieces


@pytest.mark.parametrize(
    ("missing", "own_fleet", "cure"),
    [
        (["dpa"], False, "sign"),
        (["dpa"], True, "self-host"),
        ([], False, "name a route"),
        ([], True, "fleet of your own"),
    ],
)
def test_data_that_no_route_may_see_are_stopped_and_not_told_to_stay(
    facts, missing, own_fleet, cure
):
    other = barred(stay(facts))
    for row in other.rows("06_crossover", "permissions", workload=LEAD):
        row |= {"missing": missing, "self_hosting": own_fleet}
    memo = soup(page_of(other))
    stop, action = memo.select(".recommendation strong")
    assert LEAD in stop.get_text()
    assert stop.time["datetime"] == facts.study.as_of.isoformat()
    assert cure in action.get_text()
    assert "stay for now" not in memo.get_text()
    assert not memo.select("[data-section=options] ~ .table tr.chosen th:-soup-contains('Stay')")


def test_open_intake_questions_are_counted_and_named(facts):
    memo = section(page_of(answer(facts)), "risks")
    (number,) = memo.select('[data-figure="08_memo#/course/unknown"]')
    assert number.get_text() == "1"
    assert "requests" in memo.get_text()


@pytest.mark.parametrize(
    ("saving_usd", "follower_usd", "words"),
    [
        (1e6, 9e5, "the plan pays even if we would switch models anyway"),
        (1e6, -1e3, "the plan pays only if we would not switch models anyway"),
        (1e3, 1e6, "the plan pays only if we would switch models anyway"),
        (1e3, -1e3, "The plan does not pay, even if every move passes"),
    ],
)
def test_the_ask_says_outright_for_whom_the_plan_pays(facts, saving_usd, follower_usd, words):
    other = copied(facts)
    for row in other.decided["routes"]:
        row |= {"saving_p50_usd": saving_usd, "saving_same_quality_usd": follower_usd}
    memo = page_of(other)
    ask = text_of(section(memo, "ask"))
    assert words in ask
    assert ask.count("pays") + ask.count("does not pay") == 1
    too_little = "less than finding out may cost" in text_of(section(memo, "recommendation"))
    assert too_little is (follower_usd < 1e5)


def test_labelling_that_takes_too_long_says_its_hours_and_its_pace(page):
    (row,) = section(page, "workloads").select("tr:-soup-contains('long-context-reasoning')")
    assert "2,917 expert hours (146 weeks at 20 a week)" in text_of(row)


def test_the_bill_of_a_month_says_that_it_is_todays(page):
    assert "a month now" in text_of(section(page, "workloads").thead)


def test_what_takes_off_the_cost_of_staying_has_its_sign(facts):
    other = copied(facts)
    other.crossing["stay_parts"].append({"part": "discount", "usd": -50e3})
    at = len(other.crossing["stay_parts"]) - 1
    (amount,) = soup(page_of(other)).select(f'[data-figure="06_crossover#/stay_parts/{at}/usd"]')
    assert amount.get_text() == "−USD 50k"


# ---- what may be written ------------------------------------------------------------------------


def written(source, **values):
    return environment().from_string(source).render(**values)


@pytest.mark.parametrize("value", [3, 0.5, "3 of 4", None])
def test_a_number_without_a_place_is_refused(value):
    with pytest.raises(TypeError, match="no place in the results"):
        written("{{ value }}", value=value)


def test_what_the_results_do_not_hold_is_refused():
    for source in ("{{ course.odd }}", "{{ course.odd.column }}", "{{ odd }}"):
        with pytest.raises((TypeError, UndefinedError)):
            written(source, course={})


def test_a_name_is_written_with_its_digits_and_escaped():
    assert written("{{ name(x) }}", x="h200 <b>") == "<bdi>h200 &lt;b&gt;</bdi>"
    assert written("{{ names(x) }}", x=["a1", "b2"]) == "<bdi>a1</bdi> and <bdi>b2</bdi>"


# ---- the owner's words --------------------------------------------------------------------------

HOSTILE = "likely $5k a ? 7 × <b>A$AP</b> [x](javascript:x) confidence & Söhne 客服 🙂"


def renamed(node, names):
    """Results as they would be, were a study's things called otherwise."""
    if isinstance(node, list):
        return [renamed(each, names) for each in node]
    if isinstance(node, dict):
        task = {"task": node["task"]} if "task" in node else {}
        return {renamed(k, names): renamed(value, names) for k, value in node.items()} | task
    if isinstance(node, str):
        return re.sub("|".join(map(re.escape, names)), lambda name: names[name[0]], node)
    return node


@pytest.fixture(scope="module")
def hostile(facts):
    """Facts of a study whose owner writes as no one should."""
    things = sorted((*facts.study.routes, *facts.study.workloads), key=len, reverse=True)
    names = {thing: f"{HOSTILE[:39]} {thing}"[:80].strip() for thing in things}
    chapters = renamed(dict(facts.chapters), names)
    words = dict.fromkeys(("question", "company", "owner", "decider"), HOSTILE)
    return Facts(from_json(chapters["01_evidence"]["study"]).model_copy(update=words), chapters)


def test_the_owners_own_words_break_no_rule(hostile):
    page = page_of(hostile)
    assert lint.faults(page) == []
    assert_each_figure_is_borne_out(page, finished(hostile))


def test_the_owners_own_words_are_escaped_and_marked(hostile):
    memo = soup(page_of(hostile))
    assert memo.select_one(".question bdi").get_text() == HOSTILE
    assert memo.select("dl.meta dd bdi")
    assert not memo.select('bdi b, [href^="javascript"]')
    for marked in memo.select("bdi, span.figure"):
        marked.decompose()
    assert "A$AP" not in memo.get_text()


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ({"status": "draft"}, "draft"),
        ({"status": "decided", "decided_on": date(2026, 12, 10)}, "decided on 10 Dec 2026 by CFO"),
        (
            {
                "status": "superseded",
                "superseded_by": "memo of 2027",
                "decided_on": date(2026, 12, 1),
            },
            "superseded by memo of 2027, decided on 1 Dec 2026 by CFO",
        ),
    ],
)
def test_a_memo_tells_its_state(facts, state, status):
    other = copied(facts, **state)
    decided = state.get("decided_on")
    other.chapters["01_evidence"]["study"]["decided_on"] = decided and decided.isoformat()
    term = soup(page_of(other)).find("dt", string="Status")
    assert text_of(term.find_next("dd")).startswith(f"{status}, version")


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("status: draft", "status: decided", "decided_on is missing"),
        ("status: draft", "status: superseded", "superseded_by is missing"),
        ("status: draft", "status: draft\ndecided_on: 2026-12-01", "write status: decided"),
        ("status: draft", "status: draft\nsuperseded_by: v2", "must be superseded"),
    ],
)
def test_a_state_that_leaves_something_unsaid_is_refused(variant, old, new, fault):
    with pytest.raises(ValueError, match=fault):
        load(variant("default", (old, new)))


# ---- many workloads -----------------------------------------------------------------------------


def times(node, names, n):
    """Results as they would be, were each workload there n times."""
    if isinstance(node, list):
        rows = [times(row, names, n) for row in node]
        if any(isinstance(row, dict) and row.get("workload") in names for row in rows):
            return [{**row, "workload": f"{row['workload']}-{i}"} for row in rows for i in range(n)]
        if set(map(str, rows)) & names:
            return [f"{row}-{i}" for row in rows for i in range(n)]
        return rows
    if not isinstance(node, dict):
        return node
    inner = {key: times(value, names, n) for key, value in node.items()}
    if names & inner.keys():
        return {f"{key}-{i}": value for key, value in inner.items() for i in range(n)}
    return inner


def test_a_study_of_twelve_workloads_keeps_the_budget(facts):
    names = set(facts.study.workloads)
    chapters = {name: times(results, names, 3) for name, results in facts.chapters.items()}
    workloads = {f"{name}-{i}": w for name, w in facts.study.workloads.items() for i in range(3)}
    many = Facts(facts.study.model_copy(update={"workloads": workloads}), chapters)
    page = page_of(many)
    assert len(many.verdicts) == 12
    assert lint.faults(page) == []
    assert_each_figure_is_borne_out(page, finished(many))
    counted = soup(page).select_one('[data-figure="08_memo#/all_workloads"]')
    assert counted.get_text() == "12"


# ---- change against the previous memo -----------------------------------------------------------


@pytest.fixture
def diff():
    amount = {"kind": "at_stake", "p10": 1.0, "p50": 2.0, "p90": 3.0}
    return {
        "then": {"run_id": "a", "study": "default", "as_of": "2026-08-23"},
        "now": {"run_id": "b", "study": "default", "as_of": "2026-11-23"},
        "same_recommendation": False,
        "recommendation": [
            {
                "workload": LEAD,
                "then": {"decision": "stay", "route": "gone-4o", "target": None},
                "now": {"decision": "undecided", "route": "b", "target": "openai-gpt-6-luna"},
                "changed": True,
            }
        ],
        "headline": {
            **{"then": amount, "now": amount, "kind": "at_stake"},
            **{"then_usd": 1.1e6, "now_usd": 1.364e6, "moved_usd": 2.64e5},
        },
        "attribution": {
            "method": "shapley",
            "inputs": [
                {"input": "growth", "moved_usd": 3e5},
                {"input": "rent", "moved_usd": -3.6e4},
            ],
            "why_not": None,
        },
        "assumptions": [{"name": f"workloads.{LEAD}.growth", "then": None, "now": None}],
        "triggers": [{"workload": LEAD, "id": "G1", "name": "x", "then": "armed", "now": "fired"}],
        "looks": [f"{LEAD}: the items of a and b have changed; write looks: 1."],
        "made_of": [],
        "forecast": {"summary": [{"months": 3, "inside": 2, "mean_abs_error_share": 0.07}]},
        "since": {"workloads": [], "sentences": ["By the log 1 of 2 cost USD 4k.", "12 % late."]},
    }


def since_last(facts, diff):
    """The section on the previous memo, and the places that it names."""
    page = page_of(facts.with_results("diff", diff))
    assert lint.faults(page) == []
    assert_each_figure_is_borne_out(page, finished(facts.with_results("diff", diff)))
    found = section(page, "since-last")
    return found, {element["data-figure"].partition("#")[2] for element in found.select(".figure")}


def test_a_run_with_a_previous_one_tells_what_moved(facts, diff):
    memo, places = since_last(facts, diff)
    moved = [f"/headline/{key}" for key in ("then_usd", "now_usd", "moved_usd")]
    inputs = [f"/attribution/inputs/{i}/{key}" for i in (0, 1) for key in ("input", "moved_usd")]
    bills = [f"/forecast/summary/0/{key}" for key in ("months", "inside", "mean_abs_error_share")]
    logged = [f"/since/sentences/{i}" for i in (0, 1)]
    assert places >= {*moved, *inputs, *bills, *logged, "/assumptions/0/name", "/looks/0"}
    text = text_of(memo)
    for words in ("stay on gone-4o", "undecided on openai-gpt-6-luna", "+USD 264k", "−USD 36k"):
        assert words in text
    assert re.search(r"G1 on extraction .*\barmed\b.*\bfired\b", text)


def test_a_run_that_recommends_the_same_names_the_day_of_the_last(facts, diff):
    memo, places = since_last(facts, diff | {"same_recommendation": True})
    assert "/then/as_of" in places
    assert "gone-4o" not in memo.get_text()


def test_a_move_that_is_not_attributed_says_why(facts, diff):
    why = {"method": None, "inputs": [], "why_not": "the study of then cannot be read"}
    _, places = since_last(facts, diff | {"attribution": why, "forecast": None})
    assert "/attribution/why_not" in places
    assert not [place for place in places if place.startswith("/forecast")]


def test_headlines_that_cannot_be_compared_are_not(facts, diff):
    headline = dict.fromkeys(("then", "now", "kind", "then_usd", "now_usd", "moved_usd"))
    _, places = since_last(facts, diff | {"headline": headline})
    assert not [place for place in places if place.startswith("/headline")]


def test_a_first_memo_compares_with_none(page):
    memo = section(page, "since-last")
    assert memo.p.get_text()
    assert not memo.select(".figure, li")


# ---- provenance ---------------------------------------------------------------------------------


def test_the_end_of_the_memo_says_how_to_repeat_it():
    terms = {
        dt.get_text(): dt.find_next("dd").get_text() for dt in soup(provenance(MADE)).select("dt")
    }
    assert terms["To reproduce"] == MADE["command"]
    assert terms["Code"].endswith("0123456789ab with uncommitted changes")
    assert terms["Study"] == MADE["study_sha256"][:12]
    assert terms["Lock"] == "none"

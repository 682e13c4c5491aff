"""A memo is held to its rules: each broken one is found, and a real memo breaks none."""

import json
import re
from copy import deepcopy
from datetime import date

import nbformat
import pytest

from llmstudy import io, paths
from llmstudy.memo import lint, render, sections
from llmstudy.memo.computed import reckoned
from llmstudy.memo.context import BEFORE_MEMO, Facts
from llmstudy.memo.lint import LintError, faults
from llmstudy.memo.sections import prose
from llmstudy.run import provenance
from llmstudy.study import load
from llmstudy.study.snapshot import restored

REFERENCE = paths.ROOT / "outputs" / "reference" / "results"
MEMO = (
    *("header", "recommendation", "ask", "cost_finding", "quality_finding", "vendor_finding"),
    *("options", "drivers", "assumptions", "change_our_mind", "risks", "next_steps"),
)
APPENDIX = (
    *(
        "verdicts",
        "criteria",
        "panel",
        "disagreements",
        "plan",
        "risk_register",
        "tradeoffs",
        "alternatives",
    ),
    *("roadmap", "crossovers", "since_last", "method"),
)


@pytest.fixture(scope="module")
def study():
    return load(paths.params("default.yaml"))


@pytest.fixture(scope="module")
def results(study):
    """The reference run's results, with what the memo reckons from them."""
    found = {name: json.loads((REFERENCE / f"{name}.json").read_text()) for name in BEFORE_MEMO}
    return found | {"08_memo": io.plain({"reckoned": reckoned(Facts(study, found))})}


@pytest.fixture(scope="module")
def page(study, results):
    return page_of(study, results)


def page_of(study, results):
    """A study's memo, without its charts."""
    told = Facts(study, results).located()
    parts = [getattr(sections, name)(told) for name in MEMO]
    parts += [sections.appendix_heading()]
    parts += [getattr(sections, name)(told) for name in APPENDIX]
    made = {"command": "llmstudy run params/default.yaml", "seed": study.seed}
    made |= provenance.made_of(paths.params("default.yaml"))
    shown = [
        nbformat.v4.new_output("display_data", {"text/html": part})
        for part in (*parts, sections.provenance(made))
    ]
    cells = [nbformat.v4.new_code_cell(outputs=[part]) for part in shown]
    return render.memo_html(nbformat.v4.new_notebook(cells=cells))


@pytest.fixture(scope="module")
def broken(page, results, study):
    """What is found in the memo with one piece of its text replaced."""

    def found(old, new):
        assert old in page
        return faults(page.replace(old, new, 1), results)

    return found


def test_the_reference_memo_keeps_every_rule(page, results, study):
    assert faults(page, results) == []


def times(node, names, n):
    """Results as they would be, were each workload there n times."""
    if isinstance(node, list):
        rows = [times(row, names, n) for row in node]
        if not any(isinstance(row, dict) and row.get("workload") in names for row in rows):
            return (
                [f"{row}-{i}" for row in rows for i in range(n)]
                if set(map(str, rows)) & names
                else rows
            )
        return [{**row, "workload": f"{row['workload']}-{i}"} for row in rows for i in range(n)]
    if not isinstance(node, dict):
        return node
    inner = {key: times(value, names, n) for key, value in node.items()}
    if names & inner.keys():
        return {f"{key}-{i}": value for key, value in inner.items() for i in range(n)}
    return inner


def test_a_study_of_many_workloads_keeps_the_budget_too(study, results):
    names = set(study.workloads)
    many = {name: times(found, names, 3) for name, found in results.items() if name != "08_memo"}
    copies = {f"{name}-{i}": w for name, w in study.workloads.items() for i in range(3)}
    large = study.model_copy(update={"workloads": copies})
    many["08_memo"] = io.plain({"reckoned": reckoned(Facts(large, many))})
    assert len(many["08_memo"]["reckoned"]["items"]["rows"]) == 9
    assert faults(page_of(large, many), many) == []


def test_what_stays_says_what_its_best_candidate_lacks(study, results):
    found = results["07_triggers_and_routing"]
    rows = sections.verdict_table(Facts(study, results)).set_index("workload")
    seen = {row["workload"]: row["target"] for row in found["first_moves"]}
    staying = [name for name, v in found["verdicts"].items() if v["decision"] == "stay"]
    assert staying
    for name in staying:
        reasons = found["verdicts"][name]["reasons"]
        said = [row["sentence"] for row in reasons if row["route"] == seen[name]]
        assert rows.loc[name, "why"].startswith(said[0])
        assert rows.loc[name, "favoured"] == "none"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("Nothing moves,", "This saves 12 %, nothing moves,", "bound to no result"),
        ("Nothing moves,", "Nothing in 3 of them moves,", "bound to no result"),
        ("Risks and unknowns", "2 risks", "bound to no result"),
        ("Nothing moves,", "<b>7</b>", "bound to no result"),
        ("Nothing moves,", "$ matter,", "must be written as USD"),
        ("Nothing moves,", "It is very likely that nothing moves,", "bound to no probability"),
        ("Confidence is low:", "Confidence is low, success likely:", "share a sentence"),
        ('data-section="ask"', 'data-section="asked"', "the section ask is missing"),
        ('data-section="risks"', 'data-section="options"', "the section risks is missing"),
    ],
)
def test_a_rule_that_is_broken_is_told(broken, old, new, said):
    assert any(said in fault for fault in broken(old, new)), broken(old, new)


def test_a_name_of_the_study_or_a_date_is_no_number(broken):
    name = prose.owner_text("h200-llama-3.1-70b")
    said = f"not read from a log: {name} meets its p95 on 2026-12-18, G4, chapter 07."
    assert broken("not read from a log.", said) == []


OWNER = "likely $5k a ? 7 × <b>A$AP</b> [x](javascript:x) confidence & Söhne 客服 🙂"


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


def test_the_owners_own_words_break_no_rule(study, results):
    names = {
        name: f"{OWNER[:39]} {name}"[:80].strip() for name in (*study.routes, *study.workloads)
    }
    names = dict(sorted(names.items(), key=lambda pair: -len(pair[0])))
    found = renamed({n: table for n, table in results.items() if n != "08_memo"}, names)
    said = dict.fromkeys(("question", "company", "owner", "decider"), OWNER)
    theirs = restored(found["01_evidence"]["study"]).model_copy(update=said)
    found["08_memo"] = io.plain({"reckoned": reckoned(Facts(theirs, found))})
    page = page_of(theirs, found)
    assert faults(page, found) == []
    assert "<b>A$AP" not in page
    assert 'href="javascript' not in page


def test_what_a_chapter_quotes_of_itself_keeps_the_rules_too(page):
    quoted = [text.text for text in lint._read(page) if text.figure and not text.by_memo]
    assert len(quoted) > 50
    assert not [text for text in quoted if re.search(r"\$|€|dollar", text)]


def bound_to(page, place):
    """The first element that is bound to a place."""
    return re.search(rf'<data [^>]*data-figure="{re.escape(place)}[^>]*>[^<]*</data>', page)[0]


STAY = "06_crossover#/month_usd/horizon/p50"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda e: re.sub(r">[^<]+<", ">USD 1.9M<", e), "is bound to"),
        (lambda e: re.sub(r">[^<]+<", ">USD 1.8k<", e), "is bound to"),
        (lambda e: re.sub(r">[^<]+<", ">USD 1.8M of 9<", e), "more than one number"),
        (lambda e: re.sub(r' value="[^"]+"', ' value="1800000"', e), "not its value"),
        (lambda e: e.replace("horizon/p50", "horizon/p51"), "the results hold nothing"),
        (lambda e: re.sub(r' title="[^"]+"', ' title=""', e), "grade, source and date"),
    ],
)
def test_a_number_that_its_place_does_not_bear_out_is_told(page, broken, change, said):
    element = bound_to(page, STAY)
    assert any(said in fault for fault in broken(element, change(element)))


def test_a_quotation_that_the_results_do_not_hold_is_told(page, broken):
    element = re.search(r"<span [^>]*data-figure[^>]*>[^<]+</span>", page)[0]
    assert any("is quoted from" in f for f in broken(element, element.replace("</", " 99</")))


def test_a_likelihood_tells_its_probability_and_its_range(page):
    element = bound_to(page, "06_crossover#/savings/")
    assert 'title="100 %; almost certain means 95 to 100 % ·' in element


def test_likelihood_words_mean_what_they_are_bound_to(page, broken):
    element = bound_to(page, "06_crossover#/savings/")
    assert any(
        "does not mean" in f for f in broken(element, re.sub(">[^<]+<", ">unlikely<", element))
    )


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ("<p>" + "word " * 900 + "</p>", "words before the appendix"),
        ('<img alt="x" src="data:,">' * 4, "charts before the appendix"),
        ("<table><tr><td>x</td></tr></table>" * 2, "tables before the appendix"),
    ],
)
def test_a_budget_that_is_passed_is_told(broken, extra, said):
    heading = '<h2 id="risks-and-unknowns" data-section="risks">'
    assert any(said in fault for fault in broken(heading, extra + heading))


def test_a_long_recommendation_and_long_lists_are_told(broken):
    assert any("words in the recommendation" in f for f in broken("Nothing moves,", "so " * 60))
    more = "<li>and more</li>" * 4
    heading = re.escape("Risks and unknowns</h2><ul>").replace("\\", "")
    assert any("risks has" in fault for fault in broken(heading, heading + more))


def test_pages_beyond_the_budget_are_told():
    assert lint.page_faults(2, 4) == []
    assert len(lint.page_faults(3, 5)) == 2


def test_a_memo_with_faults_is_refused_with_all_of_them(page, results, study):
    lint.check(page, results)
    with pytest.raises(LintError) as refused:
        lint.check(page.replace("Nothing moves,", "$ 9,", 1), results)
    for said in ("bound to no result", "USD"):
        assert said in str(refused.value)


# --- decision states ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"status": "draft"}, "draft"),
        ({"status": "decided", "decided_on": date(2026, 12, 10)}, "decided on 2026-12-10 by CFO"),
        (
            {
                "status": "superseded",
                "superseded_by": "memo of 2027",
                "decided_on": date(2026, 12, 1),
            },
            "superseded by memo of 2027, decided on 2026-12-01 by CFO",
        ),
    ],
)
def test_a_memo_tells_its_state(study, results, state, said):
    told = Facts(study.model_copy(update=state), results).located()
    assert f"<dt>Status</dt><dd>{said}</dd>" in re.sub("</?bdi>", "", sections.header(told))


def test_a_memo_tells_of_a_probe_that_is_not_comparable(study, results):
    said = "The probe of a is not comparable with chat: it has 100 input tokens against 1,155"
    probes = [{"route": "a", "not_comparable": said}, {"route": "b", "not_comparable": None}]
    latency = results["03_latency"] | {"probes": probes}
    told = Facts(study, results | {"03_latency": latency}).located()
    assert f"{said}</" in sections.risks(told)
    assert "None" not in sections.risks(told)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("status: draft", "status: decided", "decided_on is missing"),
        ("status: draft", "status: superseded", "superseded_by is missing"),
        ("status: draft", "status: draft\ndecided_on: 2026-12-01", "write decided"),
        ("status: draft", "status: draft\nsuperseded_by: v2", "must be superseded"),
    ],
)
def test_a_state_that_leaves_something_unsaid_is_refused(variant, old, new, said):
    with pytest.raises(ValueError, match=said):
        load(variant("default", (old, new)))


# --- change against the previous memo -------------------------------------------------------------


def test_a_run_with_a_previous_one_tells_what_moved(study, results):
    amount = {"kind": "at_stake", "p10": 1.0, "p50": 2.0, "p90": 3.0}
    found = {
        "then": {"run_id": "a", "study": "default", "as_of": "2026-08-23"},
        "now": {"run_id": "b", "study": "default", "as_of": "2026-11-23"},
        "same_recommendation": False,
        "recommendation": [
            {
                "workload": "extraction",
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
        "assumptions": [{"name": "workloads.extraction.growth", "then": None, "now": None}],
        "triggers": [
            {"workload": "extraction", "id": "G1", "name": "x", "then": "armed", "now": "fired"}
        ],
        "looks": ["extraction: the items of a and b have changed; write looks: 1."],
        "made_of": [],
        "forecast": {"summary": [{"months": 3, "inside": 2, "mean_abs_error_share": 0.07}]},
    }
    with_diff = results | {"diff": found}
    told = sections.since_last(Facts(study, with_diff).located())
    text = re.sub("<[^>]+>", "", told)
    assert "extraction: stay on gone-4o then, undecided on openai-gpt-6-luna now." in text
    assert "was USD 1.1M and is USD 1.4M: +USD 264k." in text
    assert "What moved it: growth +USD 300k and rent −USD 36k." in text
    assert "Of 3 months billed, 2 lie in the range" in text
    assert "Trigger G1 on extraction was armed and is fired." in text
    assert "the items of a and b have changed; write looks: 1." in text
    page = f'<main><section data-section="since-last">{told}</section></main>'
    assert [f for f in faults(page, with_diff) if "missing" not in f] == []


def test_a_first_memo_says_that_there_is_none_before(study, results):
    assert "no earlier memo" in sections.since_last(Facts(study, results).located())


def test_without_a_candidate_the_memo_says_so_and_offers_no_other_option(study, results):
    found = deepcopy(dict(results))
    decided = found["07_triggers_and_routing"]
    kept = [row for row in decided["options"] if row["option"] == "stay"]
    decided["options"] = kept + [row for row in decided["options"] if row["option"] == "verdict"]
    for v in decided["verdicts"].values():
        v |= {"decision": "stay", "target": None, "collect": [], "reasons": []}
    for row in decided["first_moves"]:
        row["target"] = None
    alone = {name: w.model_copy(update={"candidates": ()}) for name, w in study.workloads.items()}
    lonely = study.model_copy(update={"workloads": alone})
    found["08_memo"] = io.plain({"reckoned": reckoned(Facts(lonely, found))})
    page = page_of(lonely, found)
    assert faults(page, found) == []
    assert "Why not the others" not in page
    assert page.count("no candidate is named") == len(alone)


@pytest.mark.parametrize(
    ("missing", "own_fleet", "cure"),
    [
        (["dpa"], False, "sign the contract that they need."),
        (["dpa"], True, "sign the contract that they need or self-host."),
        ([], False, "name a route that may see them."),
        ([], True, "name a route that may see them, such as one of your own."),
    ],
)
def test_data_that_no_route_may_see_are_stopped_and_not_told_to_stay(
    study, results, missing, own_fleet, cure
):
    found = deepcopy(dict(results))
    barred = found["07_triggers_and_routing"]["verdicts"]["extraction"]
    ask = {"what": "contract", "n": None, "usd": None, "sentence": "openai-gpt-4o: sign dpa"}
    barred |= {"decision": "undecided", "route": None, "target": None, "collect": [ask]}
    for row in found["06_crossover"]["permissions"]:
        if row["workload"] == "extraction":
            row |= {"permitted": False, "missing": missing, "self_hosting": own_fleet}
    found["08_memo"] = io.plain({"reckoned": reckoned(Facts(study, found))})
    told = Facts(study, found).located()
    said = re.sub(r"<[^>]+>", "", sections.recommendation(told))
    assert said.startswith("Stop sending extraction to today's route today, 2026-11-23: ")
    assert f"By 2026-12-18, for the data of extraction, {cure}" in said
    assert "stay for now" not in sections.options(told)
    assert "do nothing (privacy rules it out for <bdi>extraction</bdi>" in sections.options(told)


def test_what_takes_off_the_cost_of_staying_is_not_added_to_it(study, results):
    found = deepcopy(dict(results))
    found["06_crossover"]["stay_parts"].append({"part": "discount", "usd": -50e3})
    said = sections.cost_finding(Facts(study, found).located())
    text = re.sub(r"<[^>]+>", "", said)
    assert re.search(r"plus [^.−]*prompts, and −USD 50k discounting\.", text)

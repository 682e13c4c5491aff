"""The six criteria and what they rest on, for studies that ship and for what they could have been.

The chapters before are those of the reference run; what a test changes it changes in a copy.
"""

from copy import deepcopy
from dataclasses import replace
from datetime import date
from typing import get_args

import pandas as pd
import pytest

from llmstudy import charts, paths
from llmstudy.chapters import findings
from llmstudy.charts import svg
from llmstudy.decide.criteria import CRITERIA
from llmstudy.decide.facts import Facts, Grounds
from llmstudy.decide.lock_in import contract_rows, price_changes
from llmstudy.decide.matrices import judged_claims
from llmstudy.decide.routes import route_table
from llmstudy.decide.scores import ARMS, criteria_tables
from llmstudy.evidence.case import permissions
from llmstudy.evidence.findings import rate_figures
from llmstudy.figure import GRADES
from llmstudy.io import plain
from llmstudy.study import StudyError, load
from tests.logs import with_log

CHAT, CLASSIFY, EXTRACT = "support-chat", "classification", "extraction"
LONG = "long-context-reasoning"
BEFORE = ("02_cost", "03_latency", "04_quality", "05_self_hosting", "06_crossover")


@pytest.fixture(scope="module")
def case(default_case):
    return default_case


@pytest.fixture(scope="module")
def before(reference):
    return {name: reference[name] for name in BEFORE}


@pytest.fixture(scope="module")
def found(case, before):
    return tables(case, before)


def tables(case, before):
    return plain(criteria_tables(case, before, route_table(case.study, before)))


def of(study, workload, **changes):
    """The study with keys of one workload changed."""
    changed = study.workloads[workload].model_copy(update=changes)
    return study.model_copy(update={"workloads": {**study.workloads, workload: changed}})


def reassessed(case, before, study):
    """The tables of a changed study; who may serve follows from it, what was measured does not."""
    crossing = {**before["06_crossover"], "permissions": plain(permissions(study))}
    return tables(replace(case, study=study), {**before, "06_crossover": crossing})


def rows(found, **wanted):
    return [row for row in found["criteria"] if all(row[k] == v for k, v in wanted.items())]


def row(found, id_, workload, arm):
    [one] = rows(found, id=id_, workload=workload, arm=arm)
    return one


# ---- one row per workload, arm and criterion


def test_every_workload_has_every_criterion_on_every_arm_once(case, found):
    seen = [(r["workload"], r["arm"], r["id"]) for r in found["criteria"]]
    assert sorted(seen) == sorted(
        (w, a, c) for w in case.study.workloads for a in ARMS for c in CRITERIA
    )


def test_every_score_has_a_grade_a_sentence_and_names_that_the_evidence_knows(case, before, found):
    known = set(case.study.figures()) | set(rate_figures(case.study))
    known |= {figure["name"] for figure in before["05_self_hosting"]["figures"]}
    tables_ = {f"{chapter}.{name}" for chapter, found_ in before.items() for name in found_}
    tables_ |= {f"07_triggers_and_routing.{name}" for name in found}
    stated = ("portability", "intake.data_class", "experienced_ml_engineers", "insufficient")
    bundled = {path.stem for path in paths.data().glob("*.csv")}
    for one in found["criteria"]:
        assert one["verdict"]
        assert one["grade"] in GRADES
        assert one["rests_on"]
        for name in one["rests_on"]:
            assert (
                name in known | tables_
                or name.endswith((*stated, ".difference"))
                or name.split(".")[0] in bundled
            ), name


def test_the_grade_of_a_score_is_the_worst_of_its_figures(case, before, found):
    grades = {name: figure.grade for name, figure in case.study.figures().items()}
    grades |= {name: figure.grade for name, figure in rate_figures(case.study).items()}
    grades |= {f["name"]: f["grade"] for f in before["05_self_hosting"]["figures"]}
    for one in rows(found, id="C2"):
        of_figures = [GRADES.index(grades[n]) for n in one["rests_on"] if n in grades]
        assert GRADES.index(one["grade"]) == max(of_figures)


def test_only_what_was_measured_scores_on_latency(found):
    for one in rows(found, id="C1"):
        measured = one["grade"] in ("measured", "recorded")
        cannot = "cannot serve" in one["verdict"] or "missed" in one["verdict"]
        assert (one["score"] is not None) == (measured or cannot)


def test_a_measured_first_token_scores(case, before):
    changed = deepcopy(before)
    for one in changed["03_latency"]["latency"]:
        if (one["workload"], one["route"]) == (CHAT, "openai-gpt-4o"):
            one |= {"verdict": "meets", "grade": "measured", "low_s": 0.3, "high_s": 0.4}
    one = row(tables(case, changed), "C1", CHAT, "proprietary_api")
    assert (one["score"], one["grade"]) == (4, "measured")


def test_a_route_whose_context_is_too_short_fails_what_it_cannot_be_asked(found):
    for id_ in ("C1", "C2", "C3"):
        one = row(found, id_, LONG, "self_hosted")
        assert one["score"] == 0
        assert "context" in one["verdict"]


# ---- privacy overrides


def test_where_privacy_bars_an_arm_every_other_criterion_says_so(case, before):
    intake = case.study.workloads[CHAT].intake.model_copy(update={"data_class": "government"})
    found = reassessed(case, before, of(case.study, CHAT, intake=intake))
    for arm in ("proprietary_api", "hosted_open"):
        for one in rows(found, workload=CHAT, arm=arm):
            assert one["route"] is None
            assert one["overridden"] == (one["id"] != "C5")
            assert "government" in one["verdict"]
            assert one["score"] == (0 if one["id"] == "C5" else None)
    assert not any(one["overridden"] for one in rows(found, workload=CHAT, arm="self_hosted"))
    assert not any(one["overridden"] for one in rows(found, workload=EXTRACT))


def test_an_arm_that_lacks_a_contract_could_be_mended(case, before):
    intake = case.study.workloads[CHAT].intake.model_copy(update={"data_class": "phi"})
    found = reassessed(case, before, of(case.study, CHAT, intake=intake))
    assert row(found, "C5", CHAT, "hosted_open")["score"] == 1
    assert row(found, "C4", CHAT, "hosted_open")["overridden"]


def test_an_arm_without_a_route_is_not_barred_but_unnamed(case, before):
    without = of(case.study, CHAT, candidates=("openai-gpt-6-luna",))
    found = reassessed(case, before, without)
    for one in rows(found, workload=CHAT, arm="self_hosted"):
        assert (one["score"], one["grade"], one["overridden"]) == (None, None, False)
        assert "no route" in one["verdict"]


# ---- lock-in


def answered(case, workload, **answers):
    said = case.study.workloads[workload].portability.model_copy(update=answers)
    return of(case.study, workload, portability=said)


def scores(found, workload):
    return {
        r["arm"]: (r["score_low"], r["score_high"])
        for r in found["portability"]
        if r["workload"] == workload
    }


def test_the_score_is_the_sum_of_its_parts(found):
    parts = pd.DataFrame(found["portability_parts"]).groupby(["workload", "route"])
    for one in found["portability"]:
        own = parts.get_group((one["workload"], one["route"]))
        assert own["points"].sum() == 100
        assert own["low"].sum() == pytest.approx(one["score_low"])
        assert own["high"].sum() == pytest.approx(one["score_high"])


def test_a_feature_of_todays_vendor_ties_its_routes_and_leaves_our_own_server_alone(
    case, before, found
):
    tied = reassessed(case, before, answered(case, CHAT, provider_features=("assistants",)))
    was, now = scores(found, CHAT), scores(tied, CHAT)
    assert now["proprietary_api"][0] == pytest.approx(was["proprietary_api"][0] - 5)
    assert now["proprietary_api"][1] == pytest.approx(was["proprietary_api"][1] - 5)
    assert now["hosted_open"][0] == pytest.approx(was["hosted_open"][0] - 15)  # may need another
    assert now["hosted_open"][1] == pytest.approx(was["hosted_open"][1])
    assert now["self_hosted"] == was["self_hosted"]


def test_a_gateway_frees_every_arm_and_brings_the_switch_within_a_week(case, before, found):
    free = reassessed(case, before, answered(case, CHAT, behind_gateway="yes"))
    for arm, (low, high) in scores(found, CHAT).items():
        assert scores(free, CHAT)[arm] == pytest.approx((low + 15, high + 15))
    [was], [now] = ([r for r in t["switching"] if r["workload"] == CHAT] for t in (found, free))
    assert (was["within_a_week"], now["within_a_week"]) == ("no", "yes")
    assert (was["behind_low_days"], was["behind_high_days"]) == (now["low_days"], now["high_days"])


def test_the_share_of_a_vendor_is_that_of_the_bills(before, found):
    bills = before["06_crossover"]["month_usd"]["today_by_workload"]
    openai = (bills[CHAT] + bills[CLASSIFY] + bills[EXTRACT]) / sum(bills.values())
    by_name = {one["vendor"]: one for one in found["vendors"]}
    assert by_name["openai"]["spend_share"] == pytest.approx(openai)
    assert sum(one["spend_share"] for one in found["vendors"]) == pytest.approx(1)
    moved = next(
        r for r in found["portability"] if (r["workload"], r["vendor"]) == (CHAT, "novita")
    )
    assert moved["spend_share"] == pytest.approx(bills[CHAT] / sum(bills.values()))


def test_the_log_tells_who_answered(case, before):
    logged = pd.concat([case.traffic.of(name) for name in (CHAT, LONG)])
    vendors = case.study.routes[case.study.workloads[LONG].current_route].provider
    found = tables(with_log(case, logged), before)
    seen = logged["provider"]
    by_name = {one["vendor"]: one["requests_share"] for one in found["vendors"]}
    assert by_name[vendors] == pytest.approx((seen == vendors).sum() / len(seen))


def test_a_retirement_is_counted_in_days_from_the_studys_own(case, before):
    # data/model_retirements.csv: claude-sonnet-4-5 retires on 2026-11-30
    route = case.study.routes["openai-gpt-4o"].model_copy(
        update={"provider": "anthropic", "model": "claude-sonnet-4-5"}
    )
    routes = {**case.study.routes, "openai-gpt-4o": route}
    found = reassessed(case, before, case.study.model_copy(update={"routes": routes}))
    one = next(r for r in found["portability"] if r["workload"] == CHAT and r["current"])
    assert (one["retires"], one["days_to_retirement"]) == ("2026-11-30", 7)


def test_price_changes_are_those_that_take_effect_in_time():
    early, late = (price_changes(date(2026, m, 28)) for m in (11, 12))
    new = set(late["item"]) - set(early["item"])
    assert new == {"gemini-4-argon"}
    assert (late[late["item"] == "gemini-4-argon"]["factor"] == 2).all()


# ---- contracts


def test_the_lapsed_and_the_unsigned_are_told_apart():
    items = {
        (r["route"], r["kind"]): r for r in contract_rows(load(paths.params("regulated.yaml")))
    }
    assert items["azure-gpt-4o", "baa"]["state"] == "in force"
    assert items["openai-gpt-4o", "baa"]["state"] == "expired"
    assert items["openai-gpt-4o", "baa"]["days_left"] == -23
    assert items["novita-llama-3.1-70b", "baa"]["state"] == "missing"
    assert items["novita-llama-3.1-70b", "soc2"]["state"] == "not required"
    assert not any(route.startswith("h200") for route, _ in items)


def test_for_unclassified_data_the_checklist_is_open():
    rows_ = contract_rows(load(paths.params("source_memo.yaml")))
    states = {(r["route"], r["kind"]): r["state"] for r in rows_}
    assert states["openai-gpt-4o", "baa"] == "unknown"
    assert states["openai-gpt-4o", "dpa"] == "in force"
    assert states["together-llama-3.1-70b", "dpa"] == "missing"


# ---- the team


def test_the_team_costs_its_heads_at_the_studys_salaries(case, found):
    pay = case.study.team.usd_per_fte_year
    assert found["team"]["heads_usd_year"] == {"low": 2.5 * pay.low, "high": 5 * pay.high}
    assert found["team"]["verdict"] == "short"
    assert found["team"]["ramp_months"] == {"low": 3, "high": 6}


def test_with_the_team_at_hand_nothing_is_lacking_and_no_month_is_lost(case, before):
    staffed = case.study.team.model_copy(update={"experienced_ml_engineers": 6})
    found = reassessed(case, before, case.study.model_copy(update={"team": staffed}))
    assert found["team"]["verdict"] == "ready"
    assert found["team"]["ramp_months"] == {"low": 0, "high": 0}
    assert {r["score"] for r in rows(found, id="C6", arm="self_hosted")} == {4}


# ---- the memo's claims


def claims(case, results, found):
    """The claims by id. found: the tables of the criteria."""
    return {row["id"]: row for row in judged_claims(Facts(Grounds(case, results, found)))}


def test_a_figure_that_is_the_memos_own_is_no_check_on_it(case, before, found):
    by_id = claims(case, before, found)
    assert case.study.self_hosting.fte.source.startswith("source memo")
    assert by_id["headcount"]["placed"] == "no figure of ours"
    own = replace(case.study.self_hosting.fte, source="our plan of staff")
    hosting = case.study.self_hosting.model_copy(update={"fte": own})
    changed = replace(case, study=case.study.model_copy(update={"self_hosting": hosting}))
    by_id = claims(changed, before, found)
    assert by_id["headcount"]["placed"] == "partly"  # 1 to 2.5 against 2.5 to 5
    assert by_id["headcount"]["grade"] == own.grade


def test_a_bound_can_rule_a_claim_out_but_never_bear_it_out(case, before, found):
    def placed(bound_s):
        changed = deepcopy(before)
        for fleet in changed["05_self_hosting"]["fleets"]:
            fleet["ttft_lower_bound_s"] = bound_s
        one = claims(case, changed, found)["self_ttft_p50"]
        assert (one["ours_low"], one["ours_high"]) == (bound_s, None)
        return one["placed"]

    assert [placed(s) for s in (0.01, 0.1, 0.31)] == ["partly", "partly", "outside"]


def test_open_models_are_placed_by_the_gaps_that_were_scored(case, before, found):
    gaps = [
        -r["difference"]
        for r in before["04_quality"]["quality"]
        if r["difference"] is not None and "llama" in r["route"]
    ]
    one = claims(case, before, found)["behind_frontier"]
    assert (one["ours_low"], one["ours_high"]) == pytest.approx((min(gaps), max(gaps)))
    assert one["placed"] == "partly"


def test_the_promise_of_one_week_is_tested_behind_an_abstraction(case, before, found):
    one = claims(case, before, found)["week_switch"]
    behind = [r[end] for r in found["switching"] for end in ("behind_low_days", "behind_high_days")]
    assert (one["ours_low"], one["ours_high"]) == (min(behind), max(behind))


# ---- as results, words and a chart


def test_the_finding_counts_what_the_table_holds(found):
    known = sum(one["score"] is not None for one in found["criteria"])
    said = findings.criteria(found)
    assert said.startswith(f"{known} of {len(found['criteria'])} scores can be given; ")
    assert "privacy bars" not in said
    blind = [
        one | {"score": None, "overridden": one["arm"] == "hosted_open"}
        for one in found["criteria"]
    ]
    assert (
        findings.criteria({"criteria": blind}) == "0 of 72 scores can be given; privacy bars 4 arms"
    )


def test_the_finding_on_contracts_names_what_is_not_in_force_and_what_ends_first():
    study = load(paths.params("regulated.yaml"))
    said = findings.contracts({"contracts": plain(contract_rows(study))})
    assert "4 of 6" in said
    assert "BAA of openai-gpt-4o expired" in said
    assert "BAA of novita-llama-3.1-70b missing" in said
    assert said.endswith("BAA of aws-gpt-6-luna in 219 days")  # 2026-11-23 to 2027-06-30
    assert (
        findings.contracts({"contracts": []}) == "No contract is known to be needed for these data"
    )


def test_the_finding_on_the_team_and_on_the_way_out_follow_the_tables(found):
    gate = found["team"]
    assert "short by 1.5 to 4" in findings.team(found)
    assert findings.team({"team": gate | {"asked_by": []}}).startswith("No workload")
    ready = gate | {"verdict": "ready", "sentence": "ready: 6"}
    assert "months to build" not in findings.team({"team": ready})
    swift = [one | {"within_a_week": "yes"} for one in found["switching"]]
    assert findings.portability(found).endswith("a week suffices for none of 4")
    assert findings.portability(found | {"switching": swift}).endswith("a week suffices for 4 of 4")


def test_the_heat_map_says_every_cell_and_marks_what_is_barred(case, found):
    chart = charts.criteria(found["criteria"])
    for criterion in CRITERIA.values():
        assert chart.alt.count(f"{criterion} ") >= len(case.study.workloads) * len(ARMS)
    one = row(found, "C6", CHAT, "self_hosted")
    assert f"team {one['score']} of 4 ({one['grade']})" in chart.alt
    assert svg(chart.figure)


# ---- what a study may say


def test_a_feature_that_is_none_is_told_with_the_ones_that_are(variant):
    file = variant("default", ("[file_store, prompt_caching]", "[filestore]"))
    with pytest.raises(
        StudyError, match=r"provider_features\.0 is 'filestore', but must be one of"
    ):
        load(file)


@pytest.mark.parametrize("name", ["default", "hyperscale", "regulated", "source_memo"])
def test_the_studies_that_ship_say_what_ties_them_as_an_assumption(name):
    for workload in load(paths.params(f"{name}.yaml")).workloads.values():
        assert workload.portability.grade == "assumed"
        assert workload.portability.source
        unknown = workload.portability.provider_features is None
        assert unknown == (name == "source_memo")


def test_unanswered_ties_are_unknown():
    fields = type(load(paths.params("default.yaml")).workloads[CHAT].portability).model_fields
    answers = {
        k: f.default for k, f in fields.items() if "unknown" in map(str, get_args(f.annotation))
    }
    assert set(answers.values()) == {"unknown"}


def test_who_is_paid_everything_earns_nothing_for_it(case, before):
    kept = {name: w for name, w in case.study.workloads.items() if name != LONG}  # all at OpenAI
    changed = deepcopy(before)
    del changed["06_crossover"]["month_usd"]["today_by_workload"][LONG]
    study = case.study.model_copy(update={"workloads": kept})
    found = reassessed(case, changed, study)
    now = {r["route"] for r in found["portability"] if r["current"]}
    shares = [r for r in found["portability_parts"] if r["part"] == "vendor_share"]
    assert {(r["low"], r["high"]) for r in shares if r["route"] in now} == {(0, 0)}

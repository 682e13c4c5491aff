"""The memo's matrices on the default study: what they hold is what the chapters found."""

import copy
from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pytest

from llmstudy.chapters import findings
from llmstudy.decide.facts import Facts, Grounds
from llmstudy.decide.facts.volume import tokens_in
from llmstudy.decide.intake import intake_rows
from llmstudy.decide.matrices import alternatives, conditions, five_questions, matrix_tables
from llmstudy.decide.matrices import indicators as judged
from llmstudy.evidence.case import Case
from llmstudy.figure import Figure
from llmstudy.io import plain
from llmstudy.study import bundled_figures
from llmstudy.text import count
from tests.logs import with_log

NAMES = ("support-chat", "classification", "extraction", "long-context-reasoning")


@pytest.fixture(scope="module")
def chapters(reference):
    return reference


@pytest.fixture(scope="module")
def case(default_case):
    return default_case


@pytest.fixture(scope="module")
def decided(chapters):
    return chapters["07_triggers_and_routing"]


@pytest.fixture(scope="module")
def found(case, chapters, decided):
    return plain(matrix_tables(Grounds(case, chapters, decided)))


def changed(study, name, **updates):
    """The study with fields of one workload's intake or the workload itself replaced."""
    workload = study.workloads[name]
    own = {k: v for k, v in updates.items() if k in type(workload.intake).model_fields}
    rest = {k: v for k, v in updates.items() if k not in own}
    new = workload.model_copy(update={"intake": workload.intake.model_copy(update=own), **rest})
    return study.model_copy(update={"workloads": {**study.workloads, name: new}})


def indicators(case, chapters, decided):
    lines = {
        "price_rise": case.study.thresholds.price_rise.value,
        "format_failures": case.study.thresholds.format_failure.value,
    }
    return judged(Facts(Grounds(case, chapters, decided)), lines).set_index("name")


def logged(case, minutes, failing):
    """The case with a log: ten requests in every minute, all failing in some of them."""
    start = pd.Timestamp("2026-11-02", tz="UTC")
    times = start + pd.to_timedelta(np.repeat(np.arange(minutes), 10), unit="min")
    ok = np.repeat(np.arange(minutes) >= failing, 10)
    requests = case.traffic.of("support-chat").iloc[[0] * len(ok)].reset_index(drop=True)
    return with_log(case, requests.assign(ts_start=times, ok=ok))


# ---- trade-offs


def test_the_compared_workload_is_the_dearest_that_every_arm_could_serve(case, chapters):
    # long-context reasoning fits no open model here; of the others extraction pays most
    assert Grounds(case, chapters).compared_workload == "extraction"


def test_marginal_costs_are_those_of_bills_and_fleets(found, chapters):
    rows = {row["arm"]: row for row in found["tradeoffs"] if row["title"].endswith("low volume")}
    bill = next(
        row
        for row in chapters["02_cost"]["bills"]
        if row["workload"] == "extraction" and row["current"]
    )
    fleets = chapters["05_self_hosting"]["fleets"]
    least = min(r["usd_per_request"] for r in fleets if r["workload"] == "extraction")
    assert rows["proprietary_api"]["value"] == bill["usd_per_request"]
    assert rows["self_hosted"]["value"] == least


def test_at_high_volume_a_fleet_is_shared_by_more_requests(found):
    value = {(row["dimension"], row["arm"]): row["value"] for row in found["tradeoffs"]}
    low, high = ((f"marginal_{x}_volume", "self_hosted") for x in ("low", "high"))
    assert value[high] < value[low] / 2
    api = [value[f"marginal_{x}_volume", "proprietary_api"] for x in ("low", "high")]
    assert api[1] == pytest.approx(api[0], rel=0.25)  # retries and prices aside, tokens are tokens


def test_no_volume_beyond_the_studys_cap_is_compared(case, chapters, decided):
    cap = Figure("", 1e9, "requests/month")
    capped = replace(case, study=case.study.model_copy(update={"volume_cap": cap}))
    rows = matrix_tables(Grounds(capped, chapters, decided))["tradeoffs"].set_index("dimension")
    volumes = [
        row["requests_per_month"]
        for row in chapters["06_crossover"]["curves"]
        if row["workload"] == "extraction" and row["requests_per_month"] <= 1e9
    ]
    said = rows.loc["marginal_high_volume", "sentence"]
    assert all(count(max(volumes)) in text for text in said)


def test_upfront_costs_are_the_phases_and_the_move(found, case):
    rows = {row["arm"]: row for row in found["tradeoffs"] if row["dimension"] == "upfront_cost"}
    assert rows["proprietary_api"]["value"] == 40_000
    moving = case.study.moving["self_hosted"].cost
    assert rows["self_hosted"]["value"] == 40_000 + 60_000 + moving.value
    assert rows["self_hosted"]["high"] == 80_000 + 120_000 + moving.high
    assert rows["proprietary_api"]["agrees"] == "higher"  # the memo says near zero


def test_the_quality_gap_is_that_of_the_paired_counts(found, chapters):
    [row] = [
        r
        for r in found["tradeoffs"]
        if r["dimension"] == "quality_ceiling" and r["arm"] == "hosted_open"
    ]
    paired = [
        r
        for r in chapters["04_quality"]["quality"]
        if r["workload"] == "extraction" and r["route"] == "novita-llama-3.1-70b"
    ]
    assert row["value"] == paired[0]["difference"]
    assert row["grade"] == paired[0]["grade"] == "published"
    assert "1,319 paired items" in row["sentence"]


def test_a_figure_that_is_not_computed_claims_no_grade(found):
    for row in found["tradeoffs"]:
        assert (row["value"] is None) == (row["grade"] is None)


# ---- intake and the five questions


def test_what_nobody_answered_is_asked_in_the_order_in_which_it_moves_the_saving(case, chapters):
    study = case.study
    for name, field in (("support-chat", "requests"), ("extraction", "requests")):
        study = changed(study, name, **{field: bundled_figures()[f"unknown.{field}"]})
    study = changed(study, "classification", data_class="unknown")
    rows = intake_rows(study, chapters)
    asked = rows[rows["unknown"]].sort_values("rank", key=lambda rank: rank.astype(int))
    assert list(zip(asked["workload"], asked["field"], strict=True)) == [
        ("extraction", "requests"),
        ("support-chat", "requests"),
        ("classification", "data_class"),
    ]
    swing = next(
        row["high_usd"] - row["low_usd"]
        for s in chapters["06_crossover"]["sensitivity"]
        if s["workload"] == "extraction"
        for row in s["inputs"]
        if row["input"] == "requests"
    )
    assert asked["moves_usd"].iloc[0] == pytest.approx(swing)
    assert list(asked["answer"]) == ["unknown"] * 3
    assert "ask first: requests of extraction" in findings.intake({"intake": plain(rows)})


def certain(study):
    """The study without any uncertainty of its volumes."""
    for name, w in study.workloads.items():
        fixed = {
            key: Figure("", getattr(w.intake, key).value, getattr(w.intake, key).unit)
            for key in ("requests", "input_tokens", "output_tokens")
        }
        growing = {
            key: Figure("", getattr(w, key).value, getattr(w, key).unit)
            for key in ("growth", "prompt_growth")
        }
        still = Figure("", 0.0, w.volatility.unit)
        study = changed(study, name, **fixed, **growing, volatility=still)
    return study


def test_tokens_in_a_year_are_todays_grown_by_volume_and_prompts(case):
    study = certain(case.study)
    total = sum(
        w.intake.requests.value
        * (1 + w.growth.value) ** 12
        * (
            w.intake.input_tokens.value * (1 + w.prompt_growth.value) ** 12
            + w.intake.output_tokens.value
        )
        for w in study.workloads.values()
    )
    assert tokens_in(study, 12) == pytest.approx(np.full(4000, total))


NOT_JUDGED = {"03_latency": {"latency": []}}


def answers(study, results=NOT_JUDGED):
    return five_questions(Facts(Grounds(Case(study, None), results)))["rows"].set_index("id")


def answer(study, id_, results=NOT_JUDGED):
    return answers(study, results).loc[id_]


@pytest.mark.parametrize(("total", "expected"), [(9.9e9, "no"), (10.1e9, "yes")])
def test_the_volume_is_asked_for_in_a_year_and_not_today(case, total, expected):
    study = certain(case.study)
    now = float(tokens_in(study, 12)[0])
    for name, w in study.workloads.items():
        asked = w.intake.requests.value * total / now
        study = changed(study, name, requests=Figure("", asked, "requests/month"))
    assert float(tokens_in(study, 0)[0]) < 10e9  # today both are below
    assert answer(study, "Q3")["answer"] == expected


def test_a_volume_of_which_the_draws_disagree_is_unknown(case):
    study = certain(case.study)
    now = float(tokens_in(study, 12)[0])
    for name, w in study.workloads.items():
        at = w.intake.requests.value * 10e9 / now
        wide = Figure("", at, "requests/month", at / 2, at * 2, "lognormal")
        study = changed(study, name, requests=wide)
    found_ = answer(study, "Q3")
    assert found_["answer"] == "unknown"
    assert "80 % range" in found_["evidence"]


@pytest.mark.parametrize(("seconds", "expected"), [(0.09, "yes"), (0.1, "yes"), (0.101, "no")])
def test_the_first_token_is_held_against_a_hundred_milliseconds(case, seconds, expected):
    slo = case.study.workloads["support-chat"].slo
    tight = slo.model_copy(update={"ttft_p95": Figure("", seconds, "s")})
    found_ = answer(changed(case.study, "support-chat", slo=tight), "Q5")
    assert found_["answer"] == expected
    assert found_["basis"] == "workloads.support-chat.slo.ttft_p95"


def test_the_fifth_answer_names_the_routes_that_miss_the_tightest_target(case):
    about = {"workload": "support-chat", "verdict": "misses"}
    rows = [about | {"route": "gpt"}, about | {"route": "llama", "verdict": "undecided"}]
    found_ = answer(case.study, "Q5", {"03_latency": {"latency": rows}})
    assert found_["evidence"].endswith("support-chat; out, since they miss it: gpt")


def test_each_answer_says_what_it_rests_on(case):
    rows = answers(case.study)
    assert rows[["evidence", "grade", "basis"]].ne("").all().all()
    regulated = answer(changed(case.study, "extraction", data_class="phi"), "Q1")
    assert (regulated["answer"], regulated["evidence"]) == ("yes", "extraction: phi")


# ---- risks


def test_the_largest_rise_is_the_doubling_that_the_bills_know(found, chapters):
    [row] = [r for r in found["risk_indicators"] if r["name"] == "price_rise"]
    factors = [
        max(offer["month_factors"])
        for offers in chapters["02_cost"]["offers"].values()
        for offer in offers.values()
    ]
    assert row["value"] == max(factors) - 1 == 1.0
    assert row["state"] == "active"
    assert "gemini-4-argon" in row["sentence"]


def test_the_largest_vendor_is_who_is_paid_most(found, case, chapters):
    usd = {}
    for row in chapters["02_cost"]["bills"]:
        if row["current"]:
            vendor = row["route"].split("-")[0]  # the routes are named after their vendors
            usd[vendor] = usd.get(vendor, 0) + row["month_usd"]
    [row] = [r for r in found["risk_indicators"] if r["name"] == "vendor_share"]
    assert row["value"] == pytest.approx(max(usd.values()) / sum(usd.values()))
    # the volumes are assumed: that may warn, and no more
    assert (row["grade"], row["state"]) == ("assumed", "warning")


def test_without_a_log_nothing_is_said_of_failures(found):
    states = {r["name"]: r["state"] for r in found["risk_indicators"]}
    assert states["failed_share"] == states["outage_minutes"] == "no evidence"
    [outage] = [r for r in found["risks"] if r["id"] == "R04"]
    assert outage["state"] == "no live evidence"


def test_a_log_tells_its_outage_and_one_without_failures_is_not_believed(case, chapters, decided):
    bad = indicators(logged(case, 1000, failing=4), chapters, decided)
    assert bad.loc["outage_minutes", "value"] == pytest.approx(4 / 1000 * 43_800)
    assert bad.loc["outage_minutes", "state"] == "active"
    assert bad.loc["failed_share", "value"] == pytest.approx(0.004)
    assert bad.loc["failed_share", "state"] == "warning"
    clean = indicators(logged(case, 1000, failing=0), chapters, decided)
    assert clean.loc["outage_minutes", "state"] == "no evidence"


def test_a_contract_soon_to_end_is_an_alarm(case, chapters, decided):
    study = case.study
    first = min(
        contract.valid_until
        for w in study.workloads.values()
        for contract in study.routes[w.current_route].contracts
    )
    near = study.model_copy(update={"as_of": date(first.year, first.month - 1, first.day)})
    rows = indicators(replace(case, study=near), chapters, decided)
    assert rows.loc["contract_months", "value"] == pytest.approx(1, abs=0.05)
    assert rows.loc["contract_months", "state"] == "active"


def test_contracts_lacking_today_are_counted(case, chapters, decided):
    lacking = copy.deepcopy(chapters)
    for row in lacking["06_crossover"]["permissions"]:
        if row["current"] and row["workload"] == "extraction":
            row |= {"permitted": False, "missing": ["baa", "dpa"]}
    rows = indicators(case, lacking, decided)
    assert rows.loc["missing_contracts", ["value", "state"]].tolist() == [2.0, "active"]
    nobody = replace(case, study=changed(case.study, "extraction", data_class="unknown"))
    rows = indicators(nobody, chapters, decided)
    assert rows.loc["missing_contracts", "state"] == "no evidence"


def test_format_failures_are_held_against_the_studys_own_line(case, chapters, decided):
    counted = Figure("", 0.03, "share", grade="measured", source="log")
    worse = replace(case, study=changed(case.study, "extraction", format_failure_share=counted))
    row = indicators(worse, chapters, decided).loc["format_failures"]
    assert (row["state"], row["threshold"]) == ("active", 0.02)


def test_golden_items_of_ones_own_calm_the_risk_of_not_noticing(case, chapters, decided):
    scored = copy.deepcopy(chapters)
    for row in scored["04_quality"]["quality"]:
        row |= {"grade": "measured", "n": 300}
    assert indicators(case, scored, decided).loc["unscored_share", "state"] == "quiet"
    assert indicators(case, chapters, decided).loc["unscored_share", "state"] == "active"


# ---- alternatives


def test_every_condition_but_working_offline_is_put_to_the_study(found):
    unasked = [r for r in found["alternative_conditions"] if r["evidence"].startswith("no study")]
    assert [r["quantity"] for r in unasked] == ["offline_workloads"]


def test_the_spend_is_a_year_of_todays_bills(found, chapters):
    rows = [r for r in found["alternative_conditions"] if r["quantity"] == "spend_year_usd"]
    year_usd = 12 * chapters["06_crossover"]["month_usd"]["today"]
    assert [row["value"] for row in rows] == pytest.approx([year_usd] * 2)


def test_data_that_no_api_may_see_and_a_team_ask_for_self_hosting(case, chapters, decided):
    team = case.study.team.model_copy(update={"experienced_ml_engineers": 3})
    study = changed(case.study, "extraction", data_class="government")
    study = study.model_copy(update={"team": team})
    grounds = Grounds(replace(case, study=study), chapters, decided)
    verdict = alternatives(conditions(Facts(grounds))).set_index("id")["verdict"]
    assert verdict["C"] == "met"
    assert verdict["E"] == "met"  # strict residency
    assert verdict["B"] == "not met"


def test_one_open_class_of_data_leaves_open_what_rests_on_it(case, chapters, decided):
    study = changed(case.study, "extraction", data_class="unknown")
    grounds = Grounds(replace(case, study=study), chapters, decided)
    holds = conditions(Facts(grounds)).set_index("quantity")["holds"]
    assert holds["forbidden_workloads"] == "unknown"
    assert holds["sensitive_workloads"] == "false"  # the other three are no consumer data


def test_a_move_that_is_still_open_leaves_open_whether_to_stay_on_apis(case, chapters, decided):
    waiting = copy.deepcopy(decided)
    waiting["verdicts"]["extraction"] |= {
        "decision": "undecided",
        "target": "h200-llama-3.1-70b",
    }
    tables = alternatives(conditions(Facts(Grounds(case, chapters, waiting))))
    assert tables.set_index("id").loc["F", "verdict"] == "open"


# ---- all of it


def test_headings_change_with_what_is_found(found):
    assert findings.risks(found).startswith("Active risks: R01 (gemini-4-argon")
    calm = {"risks": [row | {"state": "quiet"} for row in found["risks"]]}
    assert findings.risks(calm) == "No risk is active; 0 of 23 have no live evidence"
    # a hosted model of today could serve long contexts, so that some work may yet leave the APIs
    assert "API only with strict portability; not met" in findings.alternatives(found)
    nothing = plain({"alternatives": alternatives(conditions({}))})
    assert findings.alternatives(nothing).startswith("The conditions for choosing it are open for")
    none = {"tradeoffs": [row | {"agrees": "not comparable"} for row in found["tradeoffs"]]}
    assert findings.tradeoffs(none).startswith("None of the memo's trade-offs")
    assert "upfront cost of proprietary API (higher)" in findings.tradeoffs(found)

"""The plan and the panel on the studies that ship, and on facts changed by hand."""

from copy import deepcopy
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from llmstudy.chapters import findings
from llmstudy.decide import disagreements as judged
from llmstudy.decide.advisors import facts_of, panel_tables
from llmstudy.decide.canary import canary_requests
from llmstudy.decide.disagreements import disagreements_in_words
from llmstudy.decide.gates import judged_gates, plan_tables
from llmstudy.decide.matrices import tradeoffs_in_words
from llmstudy.decide.moves import canary_rows, first_move_rows
from llmstudy.decide.plan import ALL
from llmstudy.decide.triggers.rules import advisor_rules, column_of, lens
from llmstudy.study.labelling import usd_per_item
from llmstudy.text import usd
from tests.logs import with_log

DECISION = "07_triggers_and_routing"
every_study = pytest.mark.parametrize("name", ["default", "regulated", "source_memo"])


class Chapter:
    """A study's case and results, with what its last chapter found before the plan."""

    def __init__(self, assessment):
        self.case, self.results = assessment.case, assessment.results
        self.found = deepcopy(dict(self.results[DECISION]))
        for table in ("routes", "phases"):
            self.found[table] = pd.DataFrame(self.found[table])
        for end in ("start", "end"):
            self.found["phases"][end] = pd.to_datetime(self.found["phases"][end]).dt.date

    def gates(self):
        return judged_gates(self.case, self.found)

    def set_trigger(self, id_, workload, **facts):
        for row in self.found["triggers"]:
            if (row["id"], row["workload"]) == (id_, workload):
                row.update(facts)

    def favour(self, workload, route):
        """The route that the workload's verdict looks to, whichever saves most."""
        self.found["verdicts"][workload]["target"] = route

    def set_route(self, workload, route, **facts):
        table = self.found["routes"]
        at = (table["workload"] == workload) & (table["route"] == route)
        assert at.sum() == 1
        for column, value in facts.items():
            table.loc[at, column] = value


@pytest.fixture
def chapter(assessed):
    return lambda name: Chapter(assessed(name))


# ---- the plan


@every_study
def test_each_gate_says_how_it_stands_and_each_phase_what_its_gates_say(assessed, name):
    found = assessed(name).results[DECISION]
    rows = found["plan_gates"]
    assert {row["state"] for row in rows} <= {"passed", "open", "unknown", "failed"}
    assert all(row["evidence"] for row in rows)
    order = ("passed", "open", "unknown", "failed")
    for phase in found["phases"][:2]:  # of these two every gate must be passed
        for at in ("entry", "exit"):
            own = [r["state"] for r in rows if (r["phase"], r["at"]) == (phase["phase"], at)]
            assert phase[f"{at}_state"] == max(own, key=order.index)


@every_study
def test_the_costs_of_the_items_are_those_of_their_phase(assessed, name):
    found = assessed(name).results[DECISION]
    for phase in found["phases"]:
        own = [row for row in found["plan_items"] if row["phase"] == phase["phase"]]
        if any("cost more than" in (row["note"] or "") for row in own):
            continue  # as `decision.plan.items` says
        assert sum(row["cost_usd"] or 0 for row in own) == pytest.approx(phase["cost_usd"])
        # what is left at either end of the phase's figure is what the row of the rest ranges over
        rest = [row for row in own if row["rests_on"] == "what the phase's figure leaves"]
        priced = [row for row in own if row not in rest]
        left = [
            phase[end] - sum(row[end] or 0 for row in priced)
            for end in ("cost_low_usd", "cost_usd", "cost_high_usd")
        ]
        for end, at in (("cost_low_usd", min(left)), ("cost_high_usd", max(left))):
            assert sum(row[end] for row in rest) == pytest.approx(at, abs=0.01)


def test_golden_items_cost_what_the_favoured_candidates_need(assessed):
    found, study = assessed("default").results[DECISION], assessed("default").case.study
    rows = {r["scope"]: r for r in found["plan_items"] if r["item"].startswith("golden")}
    needs = {(row["workload"], row["route"]): row["items_needed"] for row in found["routes"]}
    asked = {n for n, v in found["verdicts"].items() if v["decision"] == "undecided"}
    assert set(rows) == asked
    for name, row in rows.items():
        n = needs[name, found["verdicts"][name]["target"]]
        assert row["cost_usd"] == pytest.approx(n * usd_per_item(study, name).value)


def test_a_gate_on_contracts_follows_its_trigger(chapter):
    one = chapter("default")
    assert one.gates()["G3"][ALL].state == "passed"
    one.set_trigger("G3", "extraction", status="unknown")
    assert one.gates()["G3"][ALL].state == "unknown"
    one.set_trigger("G3", "support-chat", status="fired")
    found = one.gates()["G3"][ALL]
    assert found.state == "failed"
    assert "support-chat" in found.fact.sentence


@pytest.mark.parametrize(
    ("answer", "state", "said"),
    [
        ("yes", "passed", "behind a gateway"),
        ("no", "open", "; not behind a gateway: "),
        ("unknown", "unknown", "; not stated whether behind a gateway: "),
    ],
)
def test_no_gate_behind_a_gateway_is_passed_without_one(chapter, answer, state, said):
    """The default study says that it has none: two permitted vendors alone pass no such gate."""
    one = chapter("default")
    names = list(one.case.study.workloads)
    alike = {
        name: w.model_copy(
            update={"portability": w.portability.model_copy(update={"behind_gateway": answer})}
        )
        for name, w in one.case.study.workloads.items()
    }
    study = one.case.study.model_copy(update={"workloads": alike})
    one.case = with_log(replace(one.case, study=study), one.case.traffic.requests)
    for gate in ("log", "second_vendor"):
        found = one.gates()[gate][ALL]
        assert (found.state, found.fact.value) == (state, len(names) if state == "passed" else 0)
        assert said in found.fact.sentence


def test_the_contracts_of_data_that_nobody_classified_are_known_to_no_gate_and_no_verdict(chapter):
    one = chapter("source_memo")
    gate = one.gates()["G3"][ALL]
    assert gate.state == "unknown"
    assert gate.fact.sentence.endswith("data not classified yet: product")
    assert one.found["verdicts"]["product"]["contract"] == "not known: data not classified"


@every_study
def test_every_trigger_that_fired_has_its_step_in_the_first_phase(assessed, name):
    found = assessed(name).results[DECISION]
    fired = [row for row in found["triggers"] if row["status"] == "fired"]
    first = [row for row in found["plan_items"] if row["phase"] == found["phases"][0]["phase"]]
    for row in fired:
        [step] = [
            item
            for item in first
            if item["item"].startswith(f"{row['id']} fired: ") and item["scope"] == row["workload"]
        ]
        assert (step["owner"], step["note"]) == (row["owner"], row["evidence"])
    assert sum(" fired: " in item["item"] for item in found["plan_items"]) == len(fired)


def test_a_reason_to_move_follows_triggers_and_savings(chapter):
    one, route = chapter("default"), "openai-gpt-6-luna"
    one.favour("extraction", route)
    before = one.gates()
    assert before["G1-G6"]["extraction"].state == "open"
    assert before["saving"]["extraction"].state == "passed"
    one.set_trigger("G4", "extraction", status="fired")
    one.set_route("extraction", route, p_cheaper=0.7)
    assert one.gates()["G1-G6"]["extraction"].state == "passed"
    assert one.gates()["saving"]["extraction"].state == "open"  # below the 80 % asked for
    one.set_route("extraction", route, p_cheaper=0.3)
    assert one.gates()["saving"]["extraction"].state == "failed"


@pytest.mark.parametrize(
    ("quality", "grade", "state"),
    [
        ("none", "assumed", "unknown"),
        ("undecided", "measured", "open"),
        ("non-inferior", "published", "open"),  # a move must rest on measured items
        ("non-inferior", "measured", "passed"),
        ("inferior", "published", "failed"),
    ],
)
def test_a_gate_on_quality_is_passed_by_own_items_only(chapter, quality, grade, state):
    one = chapter("default")
    one.favour("extraction", "openai-gpt-6-luna")
    one.set_route("extraction", "openai-gpt-6-luna", quality=quality, quality_grade=grade)
    assert one.gates()["quality"]["extraction"].state == state


@pytest.mark.parametrize(
    ("status", "late_days", "state"),
    [("draft", -1, "open"), ("draft", 1, "failed"), ("decided", 1, "passed")],
)
def test_a_decision_not_signed_by_its_day_is_late(chapter, status, late_days, state):
    one = chapter("default")
    as_of = one.case.study.decide_by + timedelta(days=late_days)
    study = one.case.study.model_copy(update={"status": status, "as_of": as_of})
    one.case = type(one.case)(study, one.case.traffic)
    assert one.gates()["decision"][ALL].state == state


@pytest.mark.parametrize(("weeks", "state"), [(0, "open"), (20, "passed"), (30, "failed")])
def test_the_study_is_to_be_revisited_within_three_to_six_months(chapter, weeks, state):
    one = chapter("default")
    as_of = one.case.study.decide_by + timedelta(weeks=weeks)
    one.case = type(one.case)(one.case.study.model_copy(update={"as_of": as_of}), one.case.traffic)
    assert one.gates()["revisit"][ALL].state == state


def answered_by(one, served):
    """The chapter with the requests of extraction taken for logged ones, answered by these."""
    rows = one.case.traffic.of("extraction")
    models = np.resize(np.array(served, dtype=object), len(rows))
    one.case = with_log(one.case, rows.assign(model_served=models))
    return one


@pytest.mark.parametrize(
    ("served", "fallback", "canary"),
    [
        (["gpt-4o-2024-08-06"], "open", "open"),  # today's model by its version is no other model
        (["gpt-4o-2024-08-06", "gpt-4o-mini"], "passed", "open"),
        (["gpt-6-luna"], "passed", "unknown"),  # nothing of today's to hold it against
    ],
)
def test_a_fallback_is_drilled_once_another_model_has_answered(chapter, served, fallback, canary):
    one = answered_by(chapter("default"), served)
    one.favour("extraction", "openai-gpt-6-luna")
    gates = one.gates()
    assert gates["fallback"]["extraction"].state == fallback
    assert gates["canary"]["extraction"].state == canary


@pytest.mark.parametrize(
    ("failed_share", "late_share", "fallback_share", "before", "state"),
    [
        (0.01, 0.05, 0.0, 2_000, "passed"),
        (0.02, 0.05, 0.0, 2_000, "passed"),
        (0.12, 0.05, 0.0, 2_000, "failed"),
        (0.01, 0.3, 0.0, 2_000, "failed"),
        (0.02, 0.05, 0.045, 2_000, "failed"),  # what today's route answered in its place
        (0.01, 0.05, 0.0, 150, "open"),  # whatever comes, so few cannot tell
        (0.01, 0.05, 0.0, 50, "unknown"),
    ],
)
def test_a_canary_at_full_traffic_passes_only_if_it_holds_its_margins(
    chapter, failed_share, late_share, fallback_share, before, state
):
    """Against 1 % failures and 5 % late first tokens before; the margin is 5 points."""
    one = answered_by(chapter("default"), ["gpt-4o-2024-08-06"])
    one.favour("extraction", "openai-gpt-6-luna")
    logged = one.case.traffic.of("extraction")
    n, target_s = 2_000 + before, one.case.study.workloads["extraction"].slo.ttft_p95.value
    rows = logged.iloc[np.resize(np.arange(len(logged)), n)].reset_index(drop=True)
    last = np.arange(n) >= before
    rows["ts_start"] = logged["ts_start"].min() + pd.to_timedelta(np.where(last, 60, 0), "D")
    place = np.arange(n) % 1_000 / 1_000
    fell = last & (place >= 1 - fallback_share)
    rows["model_served"] = np.where(last & ~fell, "gpt-6-luna", "gpt-4o-2024-08-06")
    rows["first_model"] = np.where(fell, "gpt-6-luna", None)
    rows["ok"] = place >= np.where(last, failed_share, 0.01)
    rows["ttft_s"] = np.where(place >= np.where(last, late_share, 0.05), 0.5, 2.0) * target_s
    one.case = with_log(one.case, rows)
    gate = one.gates()["canary"]["extraction"]
    assert (gate.state, "300" in gate.fact.sentence) == (state, state != "unknown")


def test_a_cost_whose_low_end_is_nothing_keeps_it(chapter):
    one = chapter("regulated")  # which moves a workload to another API
    moving = one.case.study.moving
    spec = moving["proprietary_api"]
    free = spec.model_copy(update={"cost": replace(spec.cost, low=0.0)})
    moving = moving | {"proprietary_api": free}
    study = one.case.study.model_copy(update={"moving": moving})
    one.case = type(one.case)(study, one.case.traffic)
    items = plan_tables(one.case, one.results, one.found)["plan_items"]
    (low,) = items.loc[items["rests_on"] == "moving.proprietary_api.cost", "cost_low_usd"]
    assert low == 0


# ---- what moves first, and the canary


def test_the_class_of_each_workload_of_the_default_study_is_the_source_memos(assessed):
    rows = assessed("default").rows(DECISION, "first_moves")
    found = {row["workload"]: row["v3"] for row in rows}
    assert found["extraction"] == "moves"
    assert found["long-context-reasoning"] == "stays"
    assert rows[0]["workload"] == "extraction"
    assert rows[-1]["workload"] == "long-context-reasoning"


def test_regulated_data_move_first(assessed):
    rows = assessed("regulated").rows(DECISION, "first_moves")
    assert {row["v3"] for row in rows} == {"moves"}
    assert all("privacy" in row["because"] for row in rows)


def test_a_workload_above_no_crossover_is_not_much_asked(chapter):
    one = chapter("default")
    results = deepcopy(dict(one.results))
    for row in results["06_crossover"]["crossover"]:
        if row["workload"] == "extraction":
            row["requests_per_month"] = {"p10": None, "p50": None, "p90": None}
    rows = first_move_rows(one.case.study, results, one.found).set_index("workload")
    assert rows.loc["extraction", "v3"] == "open"


@every_study
def test_each_move_or_favoured_candidate_has_a_canary_at_its_own_volume(assessed, name):
    found = assessed(name)
    targets = {n: v["target"] for n, v in found.results[DECISION]["verdicts"].items()}
    targets = {n: route for n, route in targets.items() if route}
    rows = found.rows(DECISION, "canary")
    assert {(row["workload"], row["route"]) for row in rows} == set(targets.items())
    for row in rows:
        workload = found.case.study.workloads[row["workload"]]
        sent = workload.intake.requests.value * 24 / 730 * row["traffic_share"] * row["days"]
        assert sent >= row["requests"]
        late = canary_requests(
            0.05, 0.05 + workload.quality.margin.value, row["traffic_share"], row["alpha"]
        )
        assert row["slow_first_token_requests"] == late
        assert f"{workload.slo.ttft_p95.value:g} s" in row["rollback"]


def test_a_scored_candidate_is_tried_at_its_own_acceptance_and_an_unscored_at_the_worst(chapter):
    one = chapter("regulated")
    verdicts = one.found["verdicts"]
    summaries = verdicts["clinical-summaries"] | {"target": "aws-llama-3.1-70b"}  # scored
    one.found = one.found | {"verdicts": verdicts | {"clinical-summaries": summaries}}
    rows = canary_rows(one.case, one.results, one.found).set_index("workload")
    graded = rows["acceptance_grade"].groupby(level=0).first().to_dict()
    for name, grade in graded.items():
        verdict = one.found["verdicts"][name]
        scored = {
            (row["workload"], row["route"]): row
            for row in one.results["04_quality"]["quality"]
            if row["acceptance_current"] is not None
        }
        assert grade == (
            scored[name, verdict["target"]]["grade"]
            if (name, verdict["target"]) in scored
            else "assumed"
        )
    assert len(set(graded.values())) == 2  # the study has one of each


def test_no_traffic_is_left_on_a_route_that_may_not_see_it(assessed):
    found = assessed("regulated")
    forced = found.rows(DECISION, "canary", workload="patient-messages")
    assert [row["traffic_share"] for row in forced] == [1]
    assert forced[0]["days_so_far"] == forced[0]["days"]
    assert forced[0]["rollback"].startswith("stop, since today's route may not see the data,")
    free = found.rows(DECISION, "canary", workload="clinical-summaries")
    assert [row["traffic_share"] for row in free] == [0.01, 0.05, 0.25, 0.5, 1]
    assert all(row["rollback"].startswith("back as soon as") for row in free)


# ---- the panel


def test_the_facts_of_all_workloads_are_the_sums_of_each(chapter):
    one = chapter("default")
    names = list(one.case.study.workloads)
    whole = facts_of(one.case.study, one.results, one.found, names)
    each = [facts_of(one.case.study, one.results, one.found, [name]) for name in names]
    for key in ("api_usd_month", "requests_month", "tokens_month", "tokens_month_in_12_months"):
        assert whole[key] == pytest.approx(sum(facts[key] for facts in each))
    top = max(facts["utilisation_over_break_even"] for facts in each)
    assert whole["utilisation_over_break_even"] == top
    assert whole["api_usd_month"] == pytest.approx(
        one.results["06_crossover"]["month_usd"]["today"]
    )


def test_no_rule_of_thumb_is_fired_by_a_prior(assessed):
    found = assessed("source_memo")
    assert {row["decides"] for row in found.rows(DECISION, "panel")} == {"unknown"}
    (row,) = found.rows(DECISION, "agreement", workload=ALL)
    assert (row["judged"], row["agree_share"]) == (0, None)


@every_study
def test_the_regret_beside_a_lens_is_its_rules_own(assessed, name):
    found = assessed(name)
    for row in found.rows(DECISION, "panel"):
        tried = found.row(DECISION, "regret", buyer="named_model", rule=row["trial_rule"])
        assert row["regret_usd"] == tried["regret_usd"]
        assert row["p_never"] == pytest.approx(1 - tried["switch_share"])
        assert row["switch_month_p50"] == tried["switch_month_p50"]
        if row["switch_month_p50"] is None:  # never in half of the futures, or more
            assert row["p_never"] >= 0.5
        half = (tried["regret_high_usd"] - tried["regret_low_usd"]) / 2
        assert row["regret_se_usd"] == pytest.approx(half / 1.96, rel=0.01)


def test_without_a_move_on_trial_the_rules_still_answer(chapter):
    one = chapter("default")
    one.found["timing"] = {"targets": {}, "reason": "no fleet may serve", "months": 36, "paths": 1}
    one.found["regret"] = []
    found = panel_tables(one.case, one.results, one.found)
    assert {row["regret_usd"] for row in found["panel"]} == {None}
    assert "now" in {row["decides"] for row in found["panel"]}
    d1 = found["disagreements"].set_index("id").loc["D1"]
    assert d1["holds"] is None or pd.isna(d1["holds"])
    assert "no fleet may serve" in d1["resolution"]


def test_each_lens_of_one_workload_is_the_rules_own_reading(chapter):
    one = chapter("default")
    facts = facts_of(one.case.study, one.results, one.found, ["extraction"])
    said = lens(advisor_rules(), facts | dict.fromkeys(_others(facts)))
    read = dict(zip(said["rule"], said["would_move"], strict=True))
    rows = panel_tables(one.case, one.results, one.found)["panel_workloads"]
    for row in rows:
        if row["workload"] == "extraction":
            expected = {"yes": "now", "no": "no", "unknown": "unknown"}[read[row["rule"]]]
            assert row["decides"] == expected


def _others(facts):
    """Signals of rules that are no advisor's."""
    rules = advisor_rules().to_dict("records")
    return {column_of(row) for row in rules} - set(facts)


# ---- the disagreements


def d(one, id_):
    tables = panel_tables(one.case, one.results, one.found)
    return tables["disagreements"].set_index("id").loc[id_]


def test_d1_goes_to_the_side_that_loses_less_in_the_futures(chapter):
    one = chapter("default")
    never, plan = (
        next(r for r in one.found["regret"] if (r["buyer"], r["rule"]) == ("named_model", rule))
        for rule in ("never", "strategist")
    )
    wins = "hybrid by plan" if plan["regret_usd"] < never["regret_usd"] else "API only"
    assert d(one, "D1")["holds"] == wins
    keys = ("regret_usd", "regret_low_usd", "regret_high_usd")
    swapped = {key: (never[key], plan[key]) for key in keys}
    for key, (a, b) in swapped.items():
        plan[key], never[key] = a, b
    assert d(one, "D1")["holds"] == ({"hybrid by plan", "API only"} - {wins}).pop()
    for key in keys:
        plan[key] = never[key]
    assert pd.isna(d(one, "D1")["holds"])


def logged(one, seconds):
    """A case whose support chat is logged with these first tokens, in s."""
    rows = one.case.traffic.of("support-chat").iloc[[0] * len(seconds)].reset_index(drop=True)
    return with_log(one.case, rows.assign(ttft_s=seconds, ok=np.isfinite(seconds)))


@pytest.mark.parametrize(
    ("fast_share", "slow_s", "holds"),
    [
        (1.0, 5.0, ("good",)),
        (0.97, 5.0, ("good at the p95", "unpredictable at the p99")),
        (0.80, 5.0, ("unpredictable",)),
        (0.95, 5.0, ("unpredictable",)),  # the p99 is over, the p95 straddles
    ],
)
def test_d2_is_judged_by_the_measured_tails(chapter, fast_share, slow_s, holds):
    one, n = chapter("default"), 5_000
    seconds = np.full(n, 0.4)
    seconds[round(fast_share * n) :] = slow_s
    found = judged._tails(logged(one, seconds), one.results)
    assert found.holds == holds
    assert found.grade == "measured"


def test_d2_is_open_without_a_measured_first_token_or_with_too_few(chapter):
    one = chapter("default")
    assert pd.isna(d(one, "D2")["holds"])
    few = judged._tails(logged(one, np.full(30, 0.4)), one.results)
    assert few.holds == ()
    some = judged._tails(logged(one, np.full(200, 0.4)), one.results)
    assert some.holds == ("good at the p95",)  # no p99 from so few


def test_d3_names_the_unit_in_which_workloads_differ_least(chapter):
    one = chapter("default")
    results = deepcopy(dict(one.results))
    bills = {(b["workload"], b["route"]): b["usd_per_request"] for b in results["02_cost"]["bills"]}
    rows = [
        row
        for row in results["06_crossover"]["crossover"]
        if (row["from_arm"], row["to_arm"]) == ("proprietary_api", "self_hosted")
    ]
    units = {
        "tokens": [row["tokens_per_month"]["p50"] for row in rows],
        "requests": [row["requests_per_month"]["p50"] for row in rows],
        "USD": [
            row["requests_per_month"]["p50"] * bills[row["workload"], row["from_route"]]
            for row in rows
        ],
    }
    least = min(units, key=lambda unit: max(units[unit]) / min(units[unit]))
    assert f"in {least} a month" in d(one, "D3")["holds"]
    for row in rows:  # now every workload crosses at the same number of requests
        row["requests_per_month"] = {"p10": 1e6, "p50": 2e6, "p90": 3e6}
    assert judged._crossover(results, {}).holds == ("Challenger, in requests a month",)


def test_d3_holds_the_claims_that_meet_a_band(chapter):
    one = chapter("default")
    results = deepcopy(dict(one.results))
    claims = results["06_crossover"]["claims"]
    for claim in claims:
        claim["low"] = claim["high"] = 1.0
    assert judged._crossover(results, {}).says.endswith("claims within these bands: none")
    band = next(
        row["tokens_per_month"]
        for row in results["06_crossover"]["crossover"]
        if row["workload"] == "extraction" and row["to_arm"] == "self_hosted"
    )
    mine = next(claim for claim in claims if claim["workload"] == "extraction")
    mine["low"], mine["high"] = band["p50"], 10 * band["p90"]
    said = judged._crossover(results, {}).says
    assert said.endswith(f"{mine['who']} on extraction ({mine['claim']})")


def test_d4_overrides_where_it_bars_and_decides_nothing_where_it_does_not(chapter):
    assert d(chapter("default"), "D4")["holds"] == "privacy overrides nothing"
    forced = d(chapter("regulated"), "D4")
    assert forced["holds"] == "privacy overrides"
    assert "patient-messages may not stay" in forced["resolution"]


def test_d4_is_open_while_data_are_not_classified(chapter):
    found = d(chapter("source_memo"), "D4")
    assert pd.isna(found["holds"])
    assert "not classified: product" in found["resolution"]


def test_d3_of_one_workload_names_who_claims_within_its_band_and_no_unit(chapter):
    one = chapter("source_memo")
    found = d(one, "D3")
    assert "one workload cannot tell the best unit" in found["resolution"]
    band = next(
        row["tokens_per_month"]
        for row in one.results["06_crossover"]["crossover"]
        if row["to_arm"] == "self_hosted"
    )
    held = {
        claim["who"]
        for claim in one.results["06_crossover"]["claims"]
        if claim["low"] <= band["p90"] and claim["high"] >= band["p10"]
    }
    assert set(found["holds"].split("; ")) == held


# ---- what is said of it


@every_study
def test_the_headings_change_with_what_was_found(assessed, name):
    found = deepcopy(dict(assessed(name).results[DECISION]))
    passed = sum(row["state"] == "passed" for row in found["plan_gates"])
    assert findings.plan(found).startswith(f"{passed} of {len(found['plan_gates'])} gates")
    for row in found["plan_gates"]:
        row["state"] = "passed"
    for row in found["phases"]:
        row["exit_state"] = "passed"
    assert findings.plan(found).endswith("every phase is done")
    for row in found["panel"]:
        row["decides"] = "no"
    assert findings.panel(found).startswith("None of 7 advisors' rules")
    for row in found["disagreements"]:
        row["holds"] = None
    assert findings.disagreements(found) == "None of the 4 disagreements is settled here"
    assert "no canary to plan" in findings.canary(found | {"canary": []})
    days = [{"workload": "a", "days_so_far": 1}, {"workload": "b", "days_so_far": 12}]
    assert findings.canary(found | {"canary": days}).endswith("takes 1 day on a and 12 days on b")
    still = [row | {"v3": "open"} for row in found["first_moves"]]
    assert findings.first_moves(found | {"first_moves": still}).startswith("No workload is")


def test_the_plan_of_a_chapter_is_the_same_from_its_written_results(chapter):
    one = chapter("default")
    again = plan_tables(one.case, one.results, one.found)
    assert [row["state"] for row in one.found["plan_gates"]] == list(again["plan_gates"]["state"])


def test_trade_offs_and_disagreements_are_told_with_their_figures(chapter):
    one = chapter("default")
    told = tradeoffs_in_words(one.results[DECISION]["key_tradeoffs"])
    bills = [row["month_usd"] for row in one.results["02_cost"]["bills"] if row["current"]]
    assert told["at"][0].startswith(f"{usd(sum(bills))} a month")
    assert told["in figures"][1].startswith("0 (0 to 4) of 4 workloads")  # G2 is unknown of all
    rows = disagreements_in_words(one.results[DECISION]["disagreements"])
    assert rows["disagreement"].str[:2].tolist() == ["D1", "D2", "D3", "D4"]
    never = one.results[DECISION]["disagreements"][0]["costs"][0]["usd"]
    assert f"API only: {usd(never)}" in rows["costs"][0]
    assert rows["holds here"][1] == "open"

"""What the memo makes of the chapters, on the reference run and against sums by hand."""

from datetime import date, timedelta

import pytest

from llmstudy.memo.content import (
    MOST_STEPS,
    MOST_WORKLOADS,
    WITHIN_REACH,
    memo_tables,
    verdict_rows,
    workload_rows,
)
from tests.memo.shared import LEAD, answer, barred, copied, forced, move, stay, unmet


@pytest.fixture(scope="module")
def tables(facts):
    return memo_tables(facts)


def test_the_kind_of_course_is_the_first_that_applies(course):
    kind, facts = course
    assert memo_tables(facts)["course"]["kind"] == kind


def test_a_course_names_the_workloads_that_it_is_about(facts):
    for kind, make in {"barred": barred, "forced": forced, "moves": move}.items():
        of = memo_tables(make(facts))["course"]
        assert of[kind] == [LEAD]
        assert set(of["stays"]) == set(facts.study.workloads) - {LEAD}
    assert memo_tables(unmet(facts))["course"]["unmet"] == [LEAD]
    assert memo_tables(answer(facts))["course"]["unknown"] == ["requests"]


def test_a_move_that_must_be_made_at_a_loss_is_a_cost(facts):
    other = forced(facts)
    assert memo_tables(other)["course"]["extra_usd"] is None
    other.decided["saving"] = {"p10": -30.0, "p50": -20.0, "p90": -5.0}
    assert memo_tables(other)["course"]["extra_usd"] == {"p10": 5.0, "p50": 20.0, "p90": 30.0}


# ---- page one -----------------------------------------------------------------------------------


def test_workloads_stand_by_their_bills_which_add_up_to_the_month(facts, tables):
    bills = [row["month_usd"] for row in tables["workloads"]]
    assert bills == sorted(bills, reverse=True)
    assert sum(bills) == pytest.approx(facts.crossing["month_usd"]["today"])
    assert {row["workload"] for row in tables["workloads"]} == set(facts.study.workloads)


def test_a_workload_goes_where_its_verdict_says_and_saves_what_its_route_saves(facts, tables):
    for row in tables["workloads"]:
        target = facts.verdicts[row["workload"]]["target"]
        assert row["goes_to"] == target
        routes = facts.rows(
            "07_triggers_and_routing", "routes", workload=row["workload"], route=target
        )
        saving = {end: r[f"saving_{end}_usd"] for r in routes for end in ("p10", "p50", "p90")}
        assert row["saving_usd"] == (saving or None)


def test_questions_are_those_of_the_favoured_route(facts, tables):
    for row in tables["workloads"]:
        items = facts.verdicts[row["workload"]]["collect"]
        mine = [i["n"] for i in items if i["sentence"].startswith(f"{row['goes_to']}: score")]
        assert row["questions"] == sum(mine)


def test_a_contract_that_ends_soon_after_a_move_begins_is_to_be_renewed(facts):
    other = copied(facts)
    target = other.verdicts[LEAD]["target"]
    (row,) = [row for row in workload_rows(other) if row["workload"] == LEAD]
    begins = date.fromisoformat(row["begins"])
    for days, renewed in ((30, True), (400, False)):
        end = (begins + timedelta(days=days)).isoformat()
        for contract in other.rows("07_triggers_and_routing", "contracts", route=target):
            contract["valid_until"] = end
        (row,) = [row for row in workload_rows(other) if row["workload"] == LEAD]
        assert row["renew_by"] == (end if renewed else None)


def test_a_workload_whose_answer_begins_late_says_so(facts):
    other = copied(facts)
    target = other.verdicts[LEAD]["target"]
    (route,) = other.rows("07_triggers_and_routing", "routes", workload=LEAD, route=target)
    for begins, slow in ((route["target_s"] - 0.5, False), (route["target_s"] + 0.5, True)):
        route["first_answer_s"] = begins
        (row,) = [row for row in workload_rows(other) if row["workload"] == LEAD]
        assert row["slow"] is slow


def test_of_many_workloads_the_largest_bills_are_shown_and_all_are_counted(facts):
    other = copied(facts)
    names = [f"w{i}" for i in range(MOST_WORKLOADS + 3)]
    other.decided["verdicts"] = dict.fromkeys(names, stay(facts).verdicts[LEAD])
    workloads = dict.fromkeys(names, facts.study.workloads[LEAD])
    other.crossing["month_usd"]["today_by_workload"] = {n: float(n[1:]) for n in names}
    rows = workload_rows(copied(other, workloads=workloads))
    assert [row["workload"] for row in rows][:2] == ["w10", "w9"]
    assert len(rows) == len(names)


def test_the_ask_is_the_high_end_of_every_phase_that_costs(facts, tables):
    ask, phases = tables["ask"], facts.decided["phases"]
    assert ask["usd"] == sum(part["usd"] for part in ask["parts"])
    assert ask["usd"] == sum(phase["cost_high_usd"] for phase in phases)
    assert {part["title"] for part in ask["parts"]} <= {phase["title"] for phase in phases}


def test_the_questions_of_the_ask_are_all_that_undecided_workloads_need(facts, tables):
    ask = tables["ask"]
    n = ask["first"]["questions"] + ask["later"]["questions"]
    cost = ask["first"]["usd"] + ask["later"]["usd"]
    assert (n, cost) == facts.questions_to_score()
    unsure = {row["workload"] for row in tables["workloads"] if row["unsure"]}
    assert set(ask["later"]["workloads"]) <= unsure
    assert not set(ask["first"]["workloads"]) & unsure


def nets(facts, saving_usd, follower_usd):
    """The facts with the savings of every favoured move against staying and against followers."""
    other = copied(facts)
    for row in other.decided["routes"]:
        row |= {"saving_p50_usd": saving_usd, "saving_same_quality_usd": follower_usd}
    return other


@pytest.mark.parametrize(
    ("saving_usd", "follower_usd", "pays"),
    [
        (1e6, 9e5, "both"),
        (1e6, 1e3, "who stays"),
        (1e6, -1e6, "who stays"),
        (1e3, 1e6, "who follows"),
        (1e3, -1e3, "neither"),
    ],
)
def test_a_plan_pays_for_whom_its_savings_exceed_the_cost_of_finding_out(
    facts, saving_usd, follower_usd, pays
):
    tables = memo_tables(nets(facts, saving_usd, follower_usd))
    ask = tables["ask"]
    moves = [row for row in tables["workloads"] if row["saving_usd"]]
    costs = sum(phase["cost_high_usd"] for phase in facts.decided["phases"][:2])
    assert ask["finding_out_usd"] == costs
    assert ask["net_usd"] == pytest.approx(len(moves) * saving_usd - costs)
    assert ask["net_follower_usd"] == pytest.approx(len(moves) * follower_usd - costs)
    assert ask["pays"] == pays


def test_without_a_move_nothing_pays_or_does_not(facts):
    assert memo_tables(stay(facts))["ask"]["pays"] is None


def test_labelling_that_takes_too_long_says_its_hours_at_the_stated_pace(facts, tables):
    found = [row for row in tables["workloads"] if row["too_long"]]
    assert [row["workload"] for row in found] == ["long-context-reasoning"]
    long = found[0]["too_long"]
    # 24,000 tokens in, a fifth of them a prefix; two answers of 1,500; four minutes to judge
    minutes = (24_000 * 0.8 + 2 * 1_500) * 0.75 / 238 + 4
    assert long["hours"] == pytest.approx(long["questions"] * minutes / 60, rel=2e-3)
    assert long["hours_per_week"] == 20
    assert long["weeks"] - 1 < long["hours"] / long["hours_per_week"] <= long["weeks"]


def test_a_contract_is_asked_for_where_data_may_go_nowhere(facts, tables):
    assert tables["ask"]["contracts"] == []
    (contract,) = memo_tables(barred(facts))["ask"]["contracts"]
    assert contract in [item["sentence"] for item in barred(facts).verdicts[LEAD]["collect"]]


def test_the_gates_of_a_phase_are_those_that_close_it(facts, tables):
    for phase in tables["phases"]:
        closing = facts.rows(
            "07_triggers_and_routing", "plan_gates", phase=phase["phase"], at="exit"
        )
        assert phase["gates"] == len(closing) > 0
        assert phase["gates_passed"] == sum(gate["state"] == "passed" for gate in closing)


def test_scored_comparisons_are_the_rows_of_chapter_04_that_have_scores(facts, tables):
    scored, table = tables["scored"], facts.comparisons()
    assert scored["scored"] + scored["waiting"] == len(table)
    assert scored["passed"] + scored["failed"] <= scored["scored"]
    assert tables["confidence"]["scored"] == scored["scored"]
    assert tables["confidence"]["workloads"] == len(facts.study.workloads)


# ---- what would change it -----------------------------------------------------------------------


def kinds(facts):
    return [row["kind"] for row in memo_tables(facts)["changes"]]


def test_each_course_says_what_would_undo_it(facts):
    assert "contract" in kinds(forced(facts))
    assert "canary" in kinds(move(facts))
    assert "quality" in kinds(facts)
    assert "quality" not in kinds(stay(facts))


def test_the_mark_of_quality_is_that_of_the_move_that_saves_most(facts, tables):
    (mark,) = [row for row in tables["changes"] if row["kind"] == "quality"]
    worth = {r["workload"]: r["saving_usd"]["p50"] for r in tables["workloads"] if r["saving_usd"]}
    assert mark["workload"] == max(worth, key=worth.get)
    (row,) = [row for row in tables["workloads"] if row["workload"] == mark["workload"]]
    assert mark["loss_share"] == -row["pass_mark"]


@pytest.mark.parametrize(
    ("times", "there"), [(0.5, False), (2, True), (WITHIN_REACH + 1, False), (None, False)]
)
def test_a_volume_is_a_mark_where_it_can_be_reached(facts, times, there):
    other = copied(facts)
    now = other.requests_per_month(LEAD)
    assert other.lead == LEAD
    for row in other.rows("06_crossover", "crossover", workload=LEAD, to_arm="self_hosted"):
        row["requests_per_month"]["p50"] = None if times is None else times * now
    rows = [row for row in memo_tables(other)["changes"] if row["kind"] == "volume"]
    assert [row["requests"] for row in rows] == ([times * now] if there else [])


def test_a_price_is_watched_and_one_that_rises_names_its_workloads(facts, tables):
    fired = {row["workload"] for row in facts.fired() if row["id"] == "G4"}
    (price,) = [row for row in tables["changes"] if row["kind"] == "price"]
    assert set(price["fired"]) == fired
    assert price["rise"] == facts.study.thresholds.price_rise.value
    for row in price["announced"]:
        bill = facts.rows(
            "02_cost", "scheduled", workload=row["workload"], effective=row["effective"]
        )
        assert row["then_usd"] in [each["month_usd"] for each in bill]
        assert row["now_usd"] == facts.crossing["month_usd"]["today_by_workload"][row["workload"]]


def test_whatever_would_change_it_is_watched_by_someone_until_a_day(course):
    _, facts = course
    for row in memo_tables(facts)["changes"]:
        assert row["who"]
        assert row["by"] > facts.study.as_of.isoformat()


# ---- page two -----------------------------------------------------------------------------------

ADVISED = {
    "barred": "plan",  # for the workloads whose data may go somewhere
    "forced": "verdict",
    "move": "verdict",
    "evaluate": "plan",
    "answer": "stay",
    "stay": "stay",
}


def test_one_option_is_advised_and_staying_is_always_shown(course):
    kind, facts = course
    options = memo_tables(facts)["options"]
    assert "stay" in [row["option"] for row in options]
    advised = [row["option"] for row in options if row["advised"]]
    assert advised == ([ADVISED[kind]] if kind in ADVISED else [])  # unmet: none here can serve


@pytest.mark.parametrize("make", [barred, forced, lambda facts: barred(stay(facts))])
def test_nobody_is_advised_to_stay_where_todays_route_may_not_see_the_data(facts, make):
    (staying,) = [row for row in memo_tables(make(facts))["options"] if row["option"] == "stay"]
    assert staying["ruled_out"]
    assert not staying["advised"]


def test_an_option_that_is_the_same_as_one_above_it_is_left_out(facts, tables):
    assert "verdict" in [row["option"] for row in facts.decided["options"]]
    assert "verdict" not in [row["option"] for row in tables["options"]]  # nothing moves now
    assert "verdict" in [row["option"] for row in memo_tables(move(facts))["options"]]


def test_assumptions_are_the_ledgers_figures_the_most_deciding_first(facts, tables):
    ledger = {(f["value"], f["source"]): f for f in facts.ledger().to_dict("records")}
    assert tables["assumptions"]
    for row in tables["assumptions"]:
        assert ledger[row["value"], row["source"]]["grade"] == row["grade"]
        assert row["as_of"]
        assert row["effect_usd"]["low"] <= row["effect_usd"]["high"]
    ranks = [row["effect_usd"]["high"] - row["effect_usd"]["low"] for row in tables["assumptions"]]
    assert ranks[0] == max(ranks)


def test_a_study_without_a_move_shows_what_its_bill_rests_on(facts):
    other = stay(facts)
    other.crossing["sensitivity"] = []
    tables = memo_tables(other)
    assert tables["break_even"] is None
    assert tables["assumptions"]
    assert all(row["effect_usd"] is None for row in tables["assumptions"])


def test_the_turning_point_is_the_likeliest_of_the_lead_workloads_move(facts, tables):
    turn = tables["break_even"]
    rows = facts.rows("06_crossover", "flips", workload=LEAD, route=turn["route"])
    assert turn["p_flip"] == max(row["p_flip"] for row in rows if row["flips_at"] is not None)
    below = turn["flips_at"] < turn["value_now"]
    assert turn["side"] == ("below" if below else "above")


def test_price_outage_quality_and_people_are_always_among_the_risks(course):
    _, facts = course
    risks = {row["id"]: row for row in memo_tables(facts)["risks"]}
    assert {"R01", "R04", "R06", "R14"} <= risks.keys()
    assert all(row["owner"] and row["measure"] for row in risks.values())
    active = [row["state"] == "active" for row in risks.values()]
    assert active == sorted(active, reverse=True)


def test_steps_stand_in_the_order_of_their_days_each_with_an_owner(course):
    _, facts = course
    steps = memo_tables(facts)["steps"]
    assert 1 <= len(steps) <= MOST_STEPS
    assert all(step["owner"] for step in steps)
    days = [step["by"] for step in steps]
    assert days == sorted(days)


def test_every_fired_trigger_has_its_step(facts):
    other = copied(facts)
    (armed,) = other.rows("07_triggers_and_routing", "triggers", workload=LEAD, id="G1")
    armed["status"] = "fired"
    (item,) = [i for i in other.decided["plan_items"] if i["item"].startswith("G4 fired: ")]
    step = {"item": "G1 fired: size a fleet", "scope": LEAD}
    other.decided["plan_items"].append(item | step)
    steps = [row for row in memo_tables(other)["steps"] if row["kind"] == "trigger"]
    fired = {(row["id"], row["workload"]) for row in other.fired()}
    assert {(row["trigger"], *row["workloads"]) for row in steps} == fired
    assert ("G1", LEAD) in fired
    assert "size a fleet" in [row["step"] for row in steps]


def test_a_step_names_only_files_that_the_run_wrote(facts):
    assert memo_tables(facts)["files"] == []
    written = ["gateway/README.md", "gateway/phase-3/config.yaml", "gateway/plan.json"]
    tables = memo_tables(facts.with_results("gateway", {"files": written}))
    assert [(row["step"], row["path"]) for row in tables["files"]] == [
        ("log", "gateway/README.md"),
        ("move", "gateway/phase-3/config.yaml"),
    ]


@pytest.mark.parametrize(
    ("make", "kind"),
    [(barred, "stop"), (barred, "sign"), (forced, "stop"), (forced, "move"), (answer, "answer")],
)
def test_what_cannot_wait_is_among_the_steps_by_the_day_of_the_decision(facts, make, kind):
    steps = [step for step in memo_tables(make(facts))["steps"] if step["kind"] == kind]
    assert [step["by"] <= facts.study.decide_by.isoformat() for step in steps] == [True]


def test_the_study_is_run_again_within_half_a_year(facts):
    (review,) = [step for step in memo_tables(stay(facts))["steps"] if step["kind"] == "review"]
    assert review["by"] <= (facts.study.as_of + timedelta(days=183)).isoformat()


# ---- appendix -----------------------------------------------------------------------------------


def test_a_verdict_gives_the_reasons_of_the_route_that_it_is_about(facts):
    for row in verdict_rows(facts):
        reasons = facts.verdicts[row["workload"]]["reasons"]
        about = [reason["sentence"] for reason in reasons if reason["route"] == row["favoured"]]
        assert row["why"] == "; ".join(about) or not row["favoured"]


def test_what_stays_says_what_its_best_candidate_lacks(facts):
    best = {row["workload"]: row["target"] for row in facts.decided["first_moves"]}
    staying = [row for row in verdict_rows(facts) if row["decision"] == "stay"]
    assert staying
    for row in staying:
        reasons = facts.verdicts[row["workload"]]["reasons"]
        of_best = [r["sentence"] for r in reasons if r["route"] == best[row["workload"]]]
        assert row["why"].startswith(of_best[0])


def test_a_workload_without_another_route_says_so(facts):
    lonely = {n: w.model_copy(update={"candidates": ()}) for n, w in facts.study.workloads.items()}
    other = copied(stay(facts), workloads=lonely)
    for verdict in other.verdicts.values():
        verdict["reasons"] = []
    assert {row["why"] for row in verdict_rows(other)} == {"no other route"}


def test_the_roadmap_holds_every_system_with_its_phase_and_owner(facts, tables):
    phases = {(phase["title"], phase["owner"]) for phase in facts.decided["phases"]}
    assert {row["id"] for row in tables["roadmap"]} == {f"S{n}" for n in range(1, 13)}
    assert all((row["phase"], row["owner"]) in phases for row in tables["roadmap"])
    for row in tables["roadmap"]:
        assert row["state"] in ("open", "passed", "failed", None)
        assert bool(row["evidence"]) == bool(row["state"])


def test_the_rules_that_would_move_now_are_compared_with_ours(facts, tables):
    ours = tables["why_not_now"]
    panel = [row for row in facts.decided["panel"] if row["decides"] == "now"]
    assert set(ours["now"]) == {row["advisor"] for row in panel}
    assert ours["now_usd"] == max(row["regret_usd"] for row in panel)
    (rule,) = facts.rows("07_triggers_and_routing", "regret", buyer="named_model", rule="triggers")
    assert ours["ours_usd"] == rule["regret_usd"]


def test_without_simulated_futures_no_rule_is_compared(facts):
    other = copied(facts)
    other.decided["regret"] = []
    assert memo_tables(other)["why_not_now"] is None

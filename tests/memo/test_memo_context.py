"""The facts of a memo, on bills small enough to add up by hand, and on the reference run."""

from dataclasses import replace

import pytest

from llmstudy import paths
from llmstudy.memo import context as facts_module
from llmstudy.memo.context import Facts
from llmstudy.study import load
from llmstudy.study.labelling import usd_per_item
from llmstudy.study.snapshot import to_json
from tests.memo.shared import LEAD, barred, copied, forced, move

TODAY = {"support-chat": 6000.0, "classification": 900.0, "extraction": 5000.0}
FLEETS = {"support-chat": ("h200-llama-3.1-70b", 33e3), "extraction": ("h200-llama-3.1-70b", 34e3)}
TEAM = 28e3


@pytest.fixture(scope="module")
def study():
    return load(paths.params("default.yaml"))


def by_hand(study, targets, decision="undecided", hosted_usd=500.0, team=TEAM, known=True):
    """Bills of today, of novita for support-chat and of two fleets; targets: workload -> route."""
    bills = [
        {"workload": name, "route": study.workloads[name].current_route, "month_usd": usd}
        for name, usd in TODAY.items()
    ]
    if known:
        hosted = {"workload": "support-chat", "route": "novita-llama-3.1-70b"}
        bills.append(hosted | {"month_usd": hosted_usd})
    fleets = [
        {"workload": name, "route": route, "month_usd": usd, "staff_month_usd": team}
        for name, (route, usd) in FLEETS.items()
    ]
    verdicts = {
        name: {"decision": decision if name in targets else "stay", "target": targets.get(name)}
        for name in TODAY
    }
    month = {"today_by_workload": TODAY, "today": sum(TODAY.values())}
    chapters = {
        "02_cost": {"bills": bills, "scheduled": []},
        "05_self_hosting": {"fleets": fleets},
        "06_crossover": {"month_usd": month},
        "07_triggers_and_routing": {"verdicts": verdicts},
    }
    return Facts(study, chapters)


HOSTED = {"support-chat": "novita-llama-3.1-70b"}
OWN = {name: route for name, (route, _) in FLEETS.items()}


def waiting(facts, decision):
    """What a month of waiting costs where no price is announced."""
    (row,) = facts.waiting_usd(decision)
    assert row["since"] == facts.study.as_of.isoformat()
    return row["usd"]


def test_a_month_of_waiting_is_todays_bill_less_that_of_the_target(study):
    assert waiting(by_hand(study, HOSTED), "undecided") == 6000 - 500
    assert waiting(by_hand(study, HOSTED), "move") == 0
    assert waiting(by_hand(study, HOSTED, "move"), "move") == 6000 - 500


def test_a_target_that_is_dearer_today_costs_nothing_to_wait_for(study):
    assert waiting(by_hand(study, HOSTED, hosted_usd=7000.0), "undecided") == 0
    assert waiting(by_hand(study, OWN), "undecided") == 0


def test_one_team_runs_all_fleets_of_a_month(study):
    facts = by_hand(study, OWN)
    assert facts.month_usd(OWN) == pytest.approx((33e3 - TEAM) + (34e3 - TEAM) + TEAM)
    free = by_hand(study, OWN, team=32.5e3)  # 500 and 1,500 a month of rent, and the team once
    assert free.month_usd(OWN) == pytest.approx(500 + 1500 + 32.5e3)


def test_waiting_never_costs_more_than_todays_bill(study):
    facts = by_hand(study, HOSTED, hosted_usd=0.0)
    assert waiting(facts, "undecided") == TODAY["support-chat"] <= sum(TODAY.values())


def test_a_bill_that_is_missing_leaves_it_unknown(study):
    facts = by_hand(study, HOSTED, known=False)
    assert facts.waiting_usd("undecided") is None


def test_a_month_of_waiting_costs_more_from_the_day_on_which_a_price_rises(study):
    facts = by_hand(study, HOSTED)
    rise = {"workload": "support-chat", "route": "openai-gpt-4o", "effective": "2026-12-01"}
    facts.chapters["02_cost"]["scheduled"].append(rise | {"month_usd": 12e3})
    month = sum(TODAY.values())
    assert facts.waiting_usd("undecided") == [
        {"since": "2026-11-23", "usd": 6000 - 500, "bill_usd": month},
        {"since": "2026-12-01", "usd": 12e3 - 500, "bill_usd": month - 6000 + 12e3},
    ]
    assert facts.month_usd({"support-chat": "openai-gpt-4o"}, "2026-11-30") == 6000


def with_scores(study, needs):
    """The undecided workloads with the own questions that each route needs."""
    facts = by_hand(study, HOSTED | {"extraction": "openai-gpt-6-luna"})
    for name, verdict in facts.verdicts.items():
        verdict["collect"] = [
            {"what": "golden items", "n": n, "sentence": f"{route}: score {n} of your own items"}
            for (workload, route), n in needs.items()
            if workload == name
        ]
    return facts


NEEDS = {
    ("support-chat", "novita-llama-3.1-70b"): 1862,
    ("support-chat", "h200-llama-3.1-70b"): 3629,  # not favoured
    ("extraction", "openai-gpt-6-luna"): 675,
}


def test_questions_are_scored_for_the_favoured_routes_alone(study):
    n, usd = with_scores(study, NEEDS).questions_to_score()
    assert n == 1862 + 675
    each = {name: usd_per_item(study, name).value for name in ("support-chat", "extraction")}
    assert usd == pytest.approx(1862 * each["support-chat"] + 675 * each["extraction"])


def test_a_workload_that_needs_no_questions_adds_none(study):
    facts = with_scores(study, NEEDS)
    facts.verdicts["support-chat"]["collect"] = [{"what": "probe", "sentence": "novita"}]
    assert facts.questions_to_score()[0] == 675


def test_the_facts_are_of_the_study_as_its_log_leaves_it(study):
    volume = study.workloads["extraction"].intake.requests
    intake = study.workloads["extraction"].intake.model_copy(
        update={"requests": replace(volume, value=6_525.0, low=6_525.0, high=6_525.0)}
    )
    logged = study.workloads["extraction"].model_copy(update={"intake": intake})
    assessed = study.model_copy(update={"workloads": study.workloads | {"extraction": logged}})
    facts = facts_module.facts_of(study, {"01_evidence": {"study": to_json(assessed)}})
    assert facts.study == assessed
    assert facts_module.facts_of(study, {}).study == study


# ---- of the reference run -----------------------------------------------------------------------


def test_the_lead_workload_is_the_one_whose_favoured_move_saves_most(facts):
    gains = {
        row["workload"]: row["saving_p50_usd"]
        for row in facts.crossing["savings"]
        if row["route"] == facts.verdicts[row["workload"]]["target"]
    }
    assert facts.lead == max(gains, key=gains.get)


def test_without_a_move_the_lead_workload_is_the_one_with_the_largest_bill(facts):
    other = copied(facts)
    other.crossing["savings"] = []
    bills = facts.crossing["month_usd"]["today_by_workload"]
    assert other.lead == max(bills, key=bills.get)


def test_what_decides_a_move_is_shown_of_the_favoured_one_alone(facts):
    assert facts.sensitivity()["route"] == facts.verdicts[facts.lead]["target"]
    other = copied(facts)
    (row,) = other.rows("06_crossover", "sensitivity", workload=facts.lead)
    row["route"] = "another"
    assert other.sensitivity() is None


def test_each_trigger_is_watched_by_its_owner(facts):
    for row in facts.decided["triggers"]:
        assert facts.watches(row["id"]) == row["owner"]


@pytest.mark.parametrize(
    ("make", "stops", "no_route", "must_move"),
    [
        (copied, [], [], False),
        (barred, [LEAD], [LEAD], False),
        (forced, [LEAD], [], True),
        (move, [], [], False),
    ],
)
def test_what_stops_what_has_no_route_and_what_must_move(facts, make, stops, no_route, must_move):
    other = make(facts)
    assert [row["workload"] for row in other.stops()] == stops
    assert other.barred() == no_route
    assert other.forced(LEAD) is must_move


@pytest.mark.parametrize(
    ("logged", "own", "level"),
    [
        (False, False, "low"),
        (True, False, "moderate"),
        (False, True, "moderate"),
        (True, True, "high"),
    ],
)
def test_confidence_is_high_on_logs_and_own_questions(facts, logged, own, level):
    other = copied(facts)
    if logged:
        other.chapters["01_evidence"]["warnings"] = []
        for row in other.chapters["01_evidence"]["workloads"]:
            row["traffic"] = "measured"
    if own:
        for row in other.chapters["04_quality"]["quality"]:
            row |= {"grade": "measured", "verdict": "non-inferior", "n": 900, "source": "own"}
    assert other.confidence()[0] == level


def test_a_bill_that_cannot_be_stated_is_named(facts):
    assert facts.unbilled() == []
    other = copied(facts)
    del other.crossing["month_usd"]["today_by_workload"][LEAD]
    assert other.unbilled() == [LEAD]


def test_an_input_has_the_figure_that_states_it(facts):
    for row in facts.sensitivity()["inputs"]:
        figure = facts.figure(row["input"], facts.lead)
        assert figure is None or figure.source
    assert facts.figure("requests", LEAD).value == facts.requests_per_month(LEAD)

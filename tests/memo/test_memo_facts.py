"""What a month of waiting costs, on bills small enough to add up by hand."""

from dataclasses import replace

import pytest

from llmstudy import paths
from llmstudy.memo import sections
from llmstudy.memo.facts import Facts
from llmstudy.study import load

TODAY = {"support-chat": 6000.0, "classification": 900.0, "extraction": 5000.0}
FLEETS = {"support-chat": ("h200-llama-3.1-70b", 33e3), "extraction": ("h200-llama-3.1-70b", 34e3)}
TEAM = 28e3


@pytest.fixture(scope="module")
def study():
    return load(paths.params("default.yaml"))


def facts_of(study, targets, decision="undecided", hosted_usd=500.0, team=TEAM, known=True):
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
        "02_cost": {"bills": bills},
        "05_self_hosting": {"fleets": fleets},
        "06_crossover": {"month_usd": month},
        "07_triggers_and_routing": {"verdicts": verdicts},
    }
    return Facts(study, chapters)


HOSTED = {"support-chat": "novita-llama-3.1-70b"}
OWN = {name: route for name, (route, _) in FLEETS.items()}


def test_a_month_of_waiting_is_todays_bill_less_that_of_the_target(study):
    assert facts_of(study, HOSTED).waiting_usd("undecided") == 6000 - 500
    assert facts_of(study, HOSTED).waiting_usd("move") == 0
    assert facts_of(study, HOSTED, "move").waiting_usd("move") == 6000 - 500


def test_a_target_that_is_dearer_today_costs_nothing_to_wait_for(study):
    assert facts_of(study, HOSTED, hosted_usd=7000.0).waiting_usd("undecided") == 0
    assert facts_of(study, OWN).waiting_usd("undecided") == 0


def test_one_team_runs_all_fleets_of_a_month(study):
    facts = facts_of(study, OWN)
    assert facts.month_usd(OWN) == pytest.approx((33e3 - TEAM) + (34e3 - TEAM) + TEAM)
    free = facts_of(study, OWN, team=32.5e3)  # 500 and 1,500 a month of rent, and the team once
    assert free.month_usd(OWN) == pytest.approx(500 + 1500 + 32.5e3)


def test_waiting_never_costs_more_than_todays_bill(study):
    facts = facts_of(study, HOSTED, hosted_usd=0.0)
    assert facts.waiting_usd("undecided") == TODAY["support-chat"] <= sum(TODAY.values())


def test_a_bill_that_is_missing_leaves_it_unknown(study):
    facts = facts_of(study, HOSTED, known=False)
    assert facts.waiting_usd("undecided") is None
    assert "not known" in sections._waiting(facts, "undecided")


def test_the_ask_sets_the_month_beside_todays_bill(study):
    facts = facts_of(study, HOSTED)
    assert sections._waiting(facts, "undecided") == "at most USD 5.5k of today's USD 12k"
    facts = facts_of(study, HOSTED, "move")
    assert sections._waiting(facts, "move") == "USD 5.5k of today's USD 12k"
    dearer = facts_of(study, HOSTED, hosted_usd=7000.0)
    assert sections._waiting(dearer, "undecided") == "nothing at today's volume"


def test_the_growth_behind_a_sum_is_named_with_its_grade(study):
    def growing(*shares, change=0.0):
        workloads = {
            name: workload.model_copy(update={"growth": replace(workload.growth, value=x)})
            for (name, workload), x in zip(study.workloads.items(), shares, strict=False)
        }
        bills = [{"current": True, "scheduled_change": change}]
        bills.append({"current": False, "scheduled_change": 1.0})
        changed = study.model_copy(update={"workloads": workloads})
        return Facts(changed, {"02_cost": {"bills": bills}})

    assert sections._growth(growing(0.04, 0.04)) == " (volume growth 4 % a month, assumed)"
    risen = sections._growth(growing(0.04, 0.04, change=1.0))
    assert risen == (" (volume growth 4 % a month, assumed; announced price changes included)")
    assert sections._growth(growing(0.02, 0.06)) == " (volume growth 2 to 6 % a month, assumed)"

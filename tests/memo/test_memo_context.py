"""What a month of waiting costs, on bills small enough to add up by hand."""

from dataclasses import replace

import pytest
from markupsafe import Markup

from llmstudy import paths
from llmstudy.memo import context as facts_module
from llmstudy.memo.context import Facts
from llmstudy.memo.sections.recommendation import stop_today, waiting_costs
from llmstudy.study import load
from llmstudy.study.snapshot import kept

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
    assert waiting(facts_of(study, HOSTED), "undecided") == 6000 - 500
    assert waiting(facts_of(study, HOSTED), "move") == 0
    assert waiting(facts_of(study, HOSTED, "move"), "move") == 6000 - 500


def test_a_target_that_is_dearer_today_costs_nothing_to_wait_for(study):
    assert waiting(facts_of(study, HOSTED, hosted_usd=7000.0), "undecided") == 0
    assert waiting(facts_of(study, OWN), "undecided") == 0


def test_one_team_runs_all_fleets_of_a_month(study):
    facts = facts_of(study, OWN)
    assert facts.month_usd(OWN) == pytest.approx((33e3 - TEAM) + (34e3 - TEAM) + TEAM)
    free = facts_of(study, OWN, team=32.5e3)  # 500 and 1,500 a month of rent, and the team once
    assert free.month_usd(OWN) == pytest.approx(500 + 1500 + 32.5e3)


def test_waiting_never_costs_more_than_todays_bill(study):
    facts = facts_of(study, HOSTED, hosted_usd=0.0)
    assert waiting(facts, "undecided") == TODAY["support-chat"] <= sum(TODAY.values())


def test_a_bill_that_is_missing_leaves_it_unknown(study):
    facts = facts_of(study, HOSTED, known=False)
    assert facts.waiting_usd("undecided") is None
    assert "not known" in said_of_waiting(facts, "undecided")


def said_of_waiting(facts, decision):
    """The words of the ask, whose numbers are what the memo reckoned."""
    reckoned = {"waiting_usd": {decision: facts.waiting_usd(decision)}}
    told = facts.with_results("08_memo", {"reckoned": reckoned}).located()
    return Markup(waiting_costs(told, decision)).striptags()


def test_the_ask_sets_the_month_beside_todays_bill(study):
    facts = facts_of(study, HOSTED)
    assert said_of_waiting(facts, "undecided") == "at most USD 5.5k of today's USD 12k"
    facts = facts_of(study, HOSTED, "move")
    assert said_of_waiting(facts, "move") == "USD 5.5k of today's USD 12k"
    dearer = facts_of(study, HOSTED, hosted_usd=7000.0)
    assert said_of_waiting(dearer, "undecided") == "nothing at today's volume"


def test_a_month_of_waiting_costs_more_from_the_day_on_which_a_price_rises(study):
    facts = facts_of(study, HOSTED)
    rise = {"workload": "support-chat", "route": "openai-gpt-4o", "effective": "2026-12-01"}
    facts.chapters["02_cost"]["scheduled"].append(rise | {"month_usd": 12e3})
    assert facts.waiting_usd("undecided") == [
        {"since": "2026-11-23", "usd": 6000 - 500},
        {"since": "2026-12-01", "usd": 12e3 - 500},
    ]
    assert said_of_waiting(facts, "undecided") == (
        "at most USD 5.5k of today's USD 12k; USD 12k from 2026-12-01"
    )
    assert facts.month_usd({"support-chat": "openai-gpt-4o"}, "2026-11-30") == 6000


def test_the_memo_says_first_what_may_not_be_sent_and_since_when(study):
    row = {
        "workload": "support-chat",
        "current": True,
        "permitted": False,
        "permission_reason": "phi data need BAA in force on 2026-11-23; BAA ended on 2026-10-31",
    }
    facts = facts_of(study, HOSTED)
    facts.crossing["permissions"] = [row, row | {"workload": "extraction", "permitted": True}]
    assert Markup(stop_today(facts.located())).striptags() == (
        "Stop sending support-chat to today's route today, 2026-11-23: phi data need BAA in force "
        "on 2026-11-23; BAA ended on 2026-10-31."
    )


def with_scores(study, needs, worth):
    """The undecided workloads with the items that each route needs, and what scoring is worth."""
    facts = facts_of(study, HOSTED | {"extraction": "openai-gpt-6-luna"})
    for verdict in facts.verdicts.values():
        verdict["collect"] = [{"what": "golden items"}]
    rows = [{"workload": w, "route": r, "n_needed": n} for (w, r), n in needs.items()]
    values = [
        {"workload": w, "measurement": f"{n:,} golden items", "value_usd": v}
        for (w, n), v in worth.items()
    ]
    facts.crossing["worth"] = values
    return facts.with_results("04_quality", {"quality": rows})


NEEDS = {
    ("support-chat", "novita-llama-3.1-70b"): 1862,
    ("support-chat", "h200-llama-3.1-70b"): 3629,  # not favoured
    ("extraction", "openai-gpt-6-luna"): 675,
}


def test_items_are_asked_for_the_favoured_candidates_alone(study):
    facts = with_scores(study, NEEDS, {})
    n, usd = facts.items_to_collect()
    assert n == 1862 + 675
    assert usd == pytest.approx((1862 + 675) * study.usd_per_golden_item.value)


def test_what_the_items_release_is_that_of_as_many_as_are_asked_for(study):
    facts = with_scores(study, NEEDS, {("support-chat", 1862): 1e5, ("support-chat", 3629): 9e5})
    assert [row["value_usd"] for row in facts.asked_items()] == [1e5, None]


def test_a_workload_that_asks_for_no_items_adds_none(study):
    facts = with_scores(study, NEEDS, {})
    facts.verdicts["support-chat"]["collect"] = [{"what": "probe"}]
    assert [row["workload"] for row in facts.asked_items()] == ["extraction"]


def test_the_facts_are_of_the_study_as_its_log_leaves_it(study):
    volume = study.workloads["extraction"].intake.requests
    intake = study.workloads["extraction"].intake.model_copy(
        update={"requests": replace(volume, value=6_525.0, low=6_525.0, high=6_525.0)}
    )
    logged = study.workloads["extraction"].model_copy(update={"intake": intake})
    assessed = study.model_copy(update={"workloads": study.workloads | {"extraction": logged}})
    facts = facts_module.facts_of(study, {"01_evidence": {"study": kept(assessed)}})
    assert facts.study == assessed
    assert facts_module.facts_of(study, {}).study == study

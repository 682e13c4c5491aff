"""What makes `check` speak up, and what leaves it silent."""

from dataclasses import replace
from datetime import date

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmstudy import io, paths, prices, study
from llmstudy.answer import BASE, Outcome, WorkloadOutcome
from llmstudy.compare.diff import Run
from llmstudy.evidence.findings import findings_of
from llmstudy.run import check
from llmstudy.run.check import Budget, CheckResult, Last, Stale
from llmstudy.simulate.inputs import month_by_workload
from llmstudy.text import signed_usd

ARGON = "routes.google-gemini-4-argon"


@pytest.fixture(scope="module")
def default():
    return study.load(paths.params("default.yaml"))


def whats(of, on):
    """Names of what is stale on a day."""
    made = check.on_day(of, of.as_of)
    findings = findings_of(check.on_day(of, on))
    return [stale.what for stale in check.stale_evidence(made, on, findings)]


def result(triggers=(), month_usd=1.0, stale=()):
    return CheckResult("s", date(2026, 11, 23), triggers, Budget(month_usd, 10.0), stale, ())


# --- the exit code --------------------------------------------------------------------------


@given(
    st.lists(st.sampled_from(["armed", "unknown", "not_applicable", "fired"])),
    st.floats(0, 20),
    st.booleans(),
)
def test_stale_evidence_wins_over_a_fired_trigger_which_wins_over_nothing(
    statuses, month_usd, is_stale
):
    found = result(
        tuple({"status": status} for status in statuses),
        month_usd,
        (Stale("price", "expired"),) if is_stale else (),
    )
    must_act = "fired" in statuses or month_usd > 10
    assert found.exit_code == (4 if is_stale else 3 if must_act else 0)


def test_a_bill_equal_to_the_budget_is_within_it():
    assert result(month_usd=10.0).exit_code == 0


def test_json_holds_what_a_program_needs_and_dates_as_text():
    row = io.plain(result(stale=(Stale("a", "b."),)).row())
    assert row["on"] == "2026-11-23"
    assert row["budget"] == {"month_usd": 1.0, "limit_usd": 10.0, "exceeded": False}
    assert row["stale"] == [{"what": "a", "sentence": "b."}]


# --- the day --------------------------------------------------------------------------------


def test_a_day_before_the_study_is_refused(default):
    with pytest.raises(ValueError, match=r"as of 2026-11-23.*cannot be checked on 2026-11-22"):
        check.on_day(default, date(2026, 11, 22))


def test_an_introductory_price_is_stale_from_the_day_it_ends_and_not_before(default):
    assert whats(default, date(2026, 11, 30)) == []
    assert whats(default, date(2026, 12, 1)) == [f"{ARGON}.price"]


def test_nothing_rests_on_a_route_that_no_workload_names(default):
    workloads = {n: w for n, w in default.workloads.items() if n != "long-context-reasoning"}
    without = default.model_copy(update={"workloads": workloads})
    assert whats(without, date(2026, 12, 2)) == []


def test_a_contract_holds_on_its_last_day_and_is_stale_on_the_next(default):
    lapsed = f"{ARGON}.contracts.dpa"
    assert lapsed not in whats(default, date(2027, 6, 30))
    assert lapsed in whats(default, date(2027, 7, 1))


def test_a_contract_that_had_lapsed_before_the_study_is_no_news(default):
    later = default.model_copy(update={"as_of": date(2027, 7, 1)})
    assert f"{ARGON}.contracts.dpa" not in whats(later, date(2027, 8, 1))


def test_an_assumption_is_stale_when_its_own_day_has_come(default):
    cost = replace(default.usd_per_golden_item, expires=date(2027, 1, 1))
    dated = default.model_copy(update={"usd_per_golden_item": cost})
    assert "usd_per_golden_item" not in whats(dated, date(2026, 12, 31))
    assert "usd_per_golden_item" in whats(dated, date(2027, 1, 1))


def test_a_retired_model_is_stale(default):
    route = default.routes["openai-gpt-4o"].model_copy(
        update={"provider": "anthropic", "model": "claude-sonnet-4-5"}
    )
    moved = default.model_copy(update={"routes": default.routes | {"openai-gpt-4o": route}})
    assert "anthropic/claude-sonnet-4-5" not in whats(moved, date(2026, 11, 29))
    assert "anthropic/claude-sonnet-4-5" in whats(moved, date(2026, 11, 30))


def test_an_old_quote_counts_only_where_a_route_rents_from_that_host(default, monkeypatch):
    quotes = prices.gpu_prices()
    own = (quotes["gpu"] == "h200_sxm") & (quotes["provider"] == "nebius")
    other = (quotes["gpu"] == "h200_sxm") & (quotes["provider"] == "verda")

    def with_old(which):
        return quotes.assign(as_of=quotes["as_of"].mask(which, pd.Timestamp("2026-01-01")))

    monkeypatch.setattr(prices, "gpu_prices", lambda: with_old(other))
    assert whats(default, default.as_of) == []
    monkeypatch.setattr(prices, "gpu_prices", lambda: with_old(own))
    assert whats(default, default.as_of) == ["h200_sxm nebius eu"]


def test_the_lists_price_ages_only_where_it_is_paid(default, monkeypatch):
    listed = prices.gpu_prices()
    spot = listed[(listed["gpu"] == "h200_sxm") & (listed["provider"] == "nebius")]
    aged = pd.concat([listed, spot.assign(commitment="spot")], ignore_index=True)
    nebius = (aged["gpu"] == "h200_sxm") & (aged["provider"] == "nebius")
    aged["as_of"] = aged["as_of"].mask(nebius, pd.Timestamp("2026-01-01"))
    monkeypatch.setattr(prices, "gpu_prices", lambda: aged)

    def old(**asked):
        """Which of the two old prices is stale, for a route that asks for its GPUs so."""
        on_gpus = {
            name: route.model_copy(update=asked) if route.arm == "self_hosted" else route
            for name, route in default.routes.items()
        }
        changed = default.model_copy(update={"routes": on_gpus})
        found = findings_of(changed)
        return [f.sentence.split("(")[1].split(")")[0] for f in found if f.severity == "stale"]

    route = default.routes["h200-llama-3.1-70b"]
    quote = replace(default.usd_per_golden_item, value=3.0, unit="USD/h")
    spare = replace(route.commitment.spot, value=0.2)
    on_spot = route.commitment.model_copy(update={"spot": spare})
    assert old() == ["on_demand"]
    assert old(on_demand_quote=quote) == []
    assert old(commitment=on_spot) == ["on_demand", "spot"]
    assert old(commitment=on_spot, on_demand_quote=quote) == ["spot"]


# --- the bill -------------------------------------------------------------------------------


def test_the_bill_counts_todays_routes_on_either_arm_and_no_candidate(default):
    on_own_gpus = default.workloads["extraction"].model_copy(
        update={"current_route": "h200-llama-3.1-70b"}
    )
    workloads = {"support-chat": default.workloads["support-chat"], "extraction": on_own_gpus}
    found = default.model_copy(update={"workloads": workloads})
    bills = [("support-chat", "openai-gpt-4o", 5.0), ("support-chat", "novita-llama-3.1-70b", 7.0)]
    fleets = [("extraction", "h200-llama-3.1-70b", 11.0, 4.0)]
    columns = ["workload", "route", "month_usd", "staff_month_usd"]
    cost = {"bills": pd.DataFrame(bills, columns=columns[:3]).to_dict("records")}
    hosting = {"fleets": pd.DataFrame(fleets, columns=columns).to_dict("records")}
    assert month_by_workload(found, cost, hosting) == {"support-chat": 5.0, "extraction": 11.0}


# --- what the last run was made of ----------------------------------------------------------

MADE_OF = {
    "package": "0.1.0",
    "study_sha256": "aa",
    "lock_sha256": "bb",
    "log_sha256": "ee",
    "code_sha256": "ff",
    "data_sha256": {"prices.csv": "cc", "gpus.csv": "dd"},
    "notebooks_sha256": {"02_cost": "gg"},
}


@pytest.mark.parametrize(
    ("now", "named"),
    [
        ({}, []),
        ({"study_sha256": "x"}, ["the study file"]),
        ({"lock_sha256": None}, ["requirements.lock"]),
        ({"package": "0.2.0"}, ["the version of llmstudy"]),
        ({"log_sha256": "x"}, ["the request log"]),
        ({"code_sha256": "x"}, ["the code of llmstudy"]),
        ({"notebooks_sha256": {"02_cost": "x", "09_more": "y"}},
         ["the notebook 02_cost", "the notebook 09_more"]),
        ({"data_sha256": {"prices.csv": "x", "new.csv": "y"}},
         ["data/gpus.csv", "data/new.csv", "data/prices.csv"]),
    ],
)  # fmt: skip
def test_each_input_that_changed_since_the_run_is_named(now, named):
    then = MADE_OF | {"run_id": "1", "python": "3.11"}
    assert [stale.what for stale in check.changes(then, MADE_OF | now)] == named


def test_what_a_run_did_not_record_is_no_change():
    older = {key: MADE_OF[key] for key in ("package", "data_sha256")}
    assert check.changes(older, MADE_OF) == []
    newer_log = {key: sha for key, sha in MADE_OF.items() if key != "log_sha256"}
    assert check.changes(MADE_OF, newer_log) == []


def test_items_judged_again_without_being_counted_are_stale(default):
    workload = default.workloads["extraction"]
    asked = workload.quality
    for counts, looks, stale in (((160, 5, 3, 32), 0, ["looks"]), ((160, 5, 3, 32), 1, [])):
        studies = []
        for own in ({"counts": (80, 2, 2, 16)}, {"counts": counts, "looks": looks}):
            evidence = {
                route: pair.model_copy(update=own) for route, pair in asked.evidence.items()
            }
            quality = asked.model_copy(update={"evidence": evidence})
            changed = workload.model_copy(update={"quality": quality})
            workloads = default.workloads | {"extraction": changed}
            studies.append(default.model_copy(update={"workloads": workloads}))
        before = Last({}, Run("1", {}, {}, {}, studies[0]))
        assert [found.what for found in check.judged_again(before, studies[1])] == stale
    assert check.judged_again(Last({}, None, "of another version"), default) == []


# --- by how much the headline moves ---------------------------------------------------------


def amount(usd):
    return {"p10": 0.5 * usd, "p50": usd, "p90": 2 * usd}


def last(saving=None, at_stake=None, stay=90.0, billed=("chat",)):
    """A run of one workload by its amounts over the horizon."""
    every = {"saving_usd": saving, "at_stake_usd": at_stake, "stay_usd": stay}
    results = {key: usd and amount(usd) for key, usd in every.items()}
    results["verdict"] = {"workloads": {"chat": {}}}
    bills = {"06_crossover": {"month_usd": {"today_by_workload": dict.fromkeys(billed, 1.0)}}}
    return Run("1", results, bills, {}, None)


def now(saving=None, at_stake=None, stay=90.0, unbilled=()):
    every = {"saving": saving, "at_stake": at_stake, "stay": stay}
    workloads = {name: WorkloadOutcome((), None) for name in unbilled}
    amounts = {kind: usd and amount(usd) for kind, usd in every.items()}
    return Outcome(BASE, {}, workloads, "api_first", amounts)


@pytest.mark.parametrize(
    ("then", "today", "moved"),
    [
        (last(), now(stay=100.0), 10.0),
        (last(saving=40.0), now(saving=30.0), -10.0),
        (last(at_stake=40.0), now(saving=30.0), 30.0),
        (last(saving=40.0, at_stake=5.0), now(stay=100.0), -40.0),
    ],
)  # fmt: skip
def test_the_headline_moves_in_the_amount_that_leads(then, today, moved):
    found = check.moved_headline(then, today)
    assert found.moved_usd == moved
    assert f"moves by {signed_usd(moved)}" in found.sentence
    assert io.plain(found)["now"]["kind"] == today.headline["kind"]


@pytest.mark.parametrize(
    ("then", "today", "why"),
    [
        (last(billed=()), now(), "a workload had no known bill in the last run"),
        (last(), now(unbilled=("chat",)), "the bill of chat is no longer known"),
    ],
)
def test_a_headline_that_cannot_be_stated_is_not_compared_and_says_why(then, today, why):
    found = check.moved_headline(then, today)
    assert (found.moved_usd, found.why_not) == (None, why)
    assert found.sentence == f"The headline is not compared: {why}."

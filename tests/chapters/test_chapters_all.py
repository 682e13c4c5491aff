"""What holds in the chapters of every study."""

import math
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from llmstudy import io, paths
from llmstudy.chapters import decision as chapter_07
from llmstudy.chapters.crossover import crossover_tables, routes_that_matter
from llmstudy.chapters.hosting import hosting_tables
from llmstudy.chapters.latency import latency_tables
from llmstudy.chapters.sizing import peak_fleets
from llmstudy.decide.routes import handicaps, route_table, verdicts_of
from llmstudy.decide.triggers.today import trigger_rows
from llmstudy.decide.verdicts import ROUTE_COLUMNS, answers_late
from llmstudy.evidence.case import open_case, permissions, week_load
from llmstudy.measures.summary import summarise
from llmstudy.simulate.futures import portfolio_saving
from llmstudy.simulate.inputs import Market, draws_of, inputs, market, month_by_workload, stay_draws
from llmstudy.study import load
from tests.logs import with_log

SHIPPED = ["default", "hyperscale", "regulated", "source_memo"]
EVIDENCE, COST, HOSTING, LATENCY = "01_evidence", "02_cost", "05_self_hosting", "03_latency"
QUALITY, CROSSOVER, DECISION = "04_quality", "06_crossover", "07_triggers_and_routing"

every_study = pytest.mark.parametrize("name", SHIPPED)


def numbers(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [x for item in value for x in numbers(item)]
    return [value] if isinstance(value, int | float) else []


# ---- as text


@every_study
def test_results_hold_no_nan_and_no_infinity(assessed, name):
    results = assessed(name).results
    assert all(math.isfinite(x) for x in numbers(results))
    assert io.dumps(results) == io.dumps(deepcopy(results))


# ---- evidence


@every_study
def test_every_figure_of_the_ledger_has_a_source_and_none_has_expired(assessed, name):
    found = assessed(name)
    as_of = found.case.study.as_of.isoformat()
    for row in found.results[EVIDENCE]["figures"]:
        assert row["source"], row["name"]
        assert row["expires"] is None or row["expires"] > as_of, row["name"]
        if row["low"] is not None:
            assert row["low"] <= row["value"] <= row["high"], row["name"]


@every_study
def test_drawn_traffic_is_called_simulated(assessed, name):
    found = assessed(name)
    assert {row["traffic"] for row in found.results[EVIDENCE]["workloads"]} == {"simulated"}
    assert found.results[EVIDENCE]["log"]["rows_read"] == 0


# ---- cost and hosting


def pairs(rows):
    return [(row["workload"], row["route"]) for row in rows]


@every_study
def test_only_todays_route_and_those_that_may_serve_are_priced_sized_timed_and_judged(
    assessed, name
):
    found = assessed(name).results
    able = [
        row
        for row in found[CROSSOVER]["permissions"]
        if row["current"] or (row["permitted"] and row["fits_context"])
    ]
    token = [row for row in able if row["arm"] != "self_hosted"]
    own = [row for row in able if row["arm"] == "self_hosted"]
    assert pairs(found[COST]["bills"]) == pairs(token)
    sized = [*found[HOSTING]["fleets"], *found[HOSTING]["failures"]]
    assert sorted(pairs(sized)) == sorted(pairs(own))
    assert pairs(found[LATENCY]["latency"]) == pairs(able)
    candidates = [row for row in able if not row["current"]]
    assert pairs(found[QUALITY]["quality"]) == pairs(candidates)


@every_study
def test_a_bill_adds_up(assessed, name):
    found = assessed(name)
    study = found.case.study
    for row in found.results[COST]["bills"]:
        intake = study.workloads[row["workload"]].intake
        tokens = intake.input_tokens.value + intake.output_tokens.value
        requests = intake.requests.value
        assert row["month_usd"] == pytest.approx(row["usd_per_request"] * requests)
        assert row["usd_per_mtok"] == pytest.approx(1e6 * row["usd_per_request"] / tokens)


def test_support_chat_on_gpt_4o_costs_what_a_hand_reckons(assessed):
    # USD 2.50, 1.25 cached, 10 out per million tokens; a fifth cached, 2 % retried
    by_hand = (1155 * (0.8 * 2.50 + 0.2 * 1.25) + 211 * 10.00) / 1e6 * 1.02
    bill = assessed("default").row(COST, "bills", workload="support-chat", route="openai-gpt-4o")
    assert bill["usd_per_request"] == pytest.approx(by_hand, rel=5e-3)
    assert bill["current"]


@every_study
def test_a_fleet_pays_for_the_replicas_it_is_said_to_run(assessed, name):
    found = assessed(name)
    study = found.case.study
    overhead = study.self_hosting.overhead_share.value
    for row in found.results[HOSTING]["fleets"]:
        gpu_month = row["usd_per_gpu_hour"] * 730 * (1 + overhead)
        assert row["rent_month_usd"] == pytest.approx(row["gpus"] * gpu_month)
        parts = row["rent_month_usd"] + row["upkeep_month_usd"] + row["staff_month_usd"]
        assert row["month_usd"] == pytest.approx(parts)
        staging = study.self_hosting.staging_replicas.value * gpu_month
        staging *= study.routes[row["route"]].tensor_parallel
        hosted = study.self_hosting
        upgrades = hosted.upgrades.value * hosted.upgrade.value + hosted.fine_tuning.value
        upkeep = staging + hosted.observability.value + upgrades / 12
        assert row["upkeep_month_usd"] == pytest.approx(upkeep)
        assert row["usd_per_request"] == pytest.approx(
            row["month_usd"] / study.workloads[row["workload"]].intake.requests.value
        )


@every_study
def test_utilisation_is_an_output_below_what_the_peak_hour_leaves(assessed, name):
    # cost.md 4.1: U = mean / (replicas * capacity) <= target / peak to mean
    found = assessed(name)
    study = found.case.study
    for row in found.results[HOSTING]["fleets"]:
        carried = row["replicas"] * row["capacity_requests_per_s"]
        assert row["utilisation"] == pytest.approx(row["mean_requests_per_s"] / carried)
        peak = study.workloads[row["workload"]].intake.peak_to_mean.value
        assert 0 < row["sustained_utilisation"] <= 1
        assert row["utilisation"] <= row["sustained_utilisation"] / peak + 1e-9


def test_without_a_spare_a_fleet_still_pays_for_the_replicas_it_is_said_to_run(variant):
    study = load(variant("source_memo", ("spare_replicas: 1", "spare_replicas: 0")))
    case = open_case(study)
    [row] = hosting_tables(case, peak_fleets(case))["fleets"]
    gpu_month = row["usd_per_gpu_hour"] * 730 * (1 + study.self_hosting.overhead_share.value)
    assert row["rent_month_usd"] == pytest.approx(row["gpus"] * gpu_month)


@every_study
def test_an_hour_by_hour_week_has_the_mean_of_the_month(assessed, name):
    study = assessed(name).case.study
    for workload, spec in study.workloads.items():
        week = week_load(assessed(name).case, workload)
        assert len(week) == 168
        mean = spec.intake.requests.value / (730 * 3600)
        assert week["requests_per_s"].mean() == pytest.approx(mean)


def test_a_log_of_a_week_draws_its_own_hours(assessed):
    case = assessed("default").case
    starts = pd.date_range("2026-11-02", periods=14 * 24, freq="h", tz="UTC")
    busy = np.where(starts.hour == 9, 5, 1)  # a five-fold peak that no published shape has
    times = starts.repeat(busy)
    seen = (
        case.traffic.of("support-chat")
        .iloc[[0] * len(times)]
        .assign(ts_start=times, request_id=[str(i) for i in range(len(times))])
    )
    logged = with_log(case, seen)
    logged = replace(logged, traffic=replace(logged.traffic, summary=summarise(seen)))
    week = week_load(logged, "support-chat").set_index("hour")["requests_per_s"]
    assert week[9] == pytest.approx(5 * week[10])
    drawn = week_load(case, "support-chat").set_index("hour")["requests_per_s"]
    assert drawn[9] < 3 * drawn[10]


# ---- crossover


@every_study
def test_permissions_are_read_before_any_cost(assessed, name):
    found = assessed(name)
    barred = {
        (row["workload"], row["route"])
        for row in found.results[CROSSOVER]["permissions"]
        if not (row["permitted"] and row["fits_context"])
    }
    assert io.plain(permissions(found.case.study)) == found.results[CROSSOVER]["permissions"]
    for row in found.results[CROSSOVER]["savings"]:
        assert (row["workload"], row["route"]) not in barred
    for row in found.results[CROSSOVER]["crossover"]:
        assert (row["workload"], row["from_route"]) not in barred
        assert (row["workload"], row["to_route"]) not in barred


@every_study
def test_every_route_that_may_serve_has_a_curve_and_a_crossover_from_todays(assessed, name):
    found = assessed(name)
    results, study = found.results[CROSSOVER], found.case.study
    curves = {(row["workload"], row["route"]) for row in results["curves"]}
    moves = {(row["workload"], row["route"]) for row in results["savings"]}
    assert moves <= curves
    from_today = {(row["workload"], row["route"]): row for row in results["crossover_from_today"]}
    today = {w: study.routes[study.workloads[w].current_route] for w, _ in moves}
    assert set(from_today) == {(w, route) for w, route in moves if today[w].arm != "self_hosted"}
    for row in results["crossover"]:
        if row["from_route"] == study.workloads[row["workload"]].current_route:
            same = from_today[row["workload"], row["to_route"]]
            for key in ("requests_per_month", "p_never"):
                assert same[key] == row[key]


@pytest.mark.parametrize("favoured", [None, "novita-llama-3.1-70b"])
def test_a_chart_compares_today_with_the_best_of_each_arm_and_the_favoured_route(
    reference, default_case, favoured
):
    study, results = default_case.study, reference[CROSSOVER]
    curves, crossovers = routes_that_matter(study, results, "extraction", favoured)
    routes = {row["route"] for row in crossovers}
    best = {"openai-gpt-6-luna", "novita-gpt-oss-120b", "h200-gpt-oss-120b"}
    assert routes == best | {favoured} - {None}
    assert {row["route"] for row in curves} == {"openai-gpt-4o", *routes}


@every_study
def test_quantiles_are_in_order_and_a_saving_agrees_with_its_probability(assessed, name):
    found = assessed(name).results
    for row in found[CROSSOVER]["savings"]:
        low, middle, high = (row[f"saving_{p}_usd"] for p in ("p10", "p50", "p90"))
        assert low <= middle <= high
        assert (middle > 0) == (row["p_cheaper"] > 0.5)
        assert (low > 0) <= (row["p_cheaper"] >= 0.9)
    for row in [*found[CROSSOVER]["crossover"], *found[CROSSOVER]["crossover_from_today"]]:
        reached = [x for x in row["requests_per_month"].values() if x is not None]
        assert reached == sorted(reached)
        band = row["requests_per_month"].values()
        for share, quantile in zip((0.1, 0.5, 0.9), band, strict=True):
            assert (quantile is None) == (row["p_never"] > 1 - share + 1e-9)
    for row in found[CROSSOVER]["curves"]:
        assert row["p10_usd"] <= row["p50_usd"] <= row["p90_usd"]


@every_study
def test_at_a_quantile_of_the_crossover_that_share_of_draws_saves(assessed, name):
    found = assessed(name)
    study = found.case.study
    offers = market(found.results[COST], found.results[HOSTING], found.results["04_quality"])
    for row in found.results[CROSSOVER]["crossover"]:
        workload = row["workload"]
        if row["from_route"] != study.workloads[workload].current_route:
            continue
        for share, volume in zip((0.1, 0.5, 0.9), row["requests_per_month"].values(), strict=True):
            if volume is not None:
                steady = with_steady_volume(study, workload, volume * (1 + 1e-9))
                saved = portfolio_saving(steady, offers, {workload: row["to_route"]})
                # a draw may save a little before the volume from which it always does; and a fleet
                # whose prompts grow is taken at its mean over the horizon
                slack = 0.05 if row["to_arm"] == "self_hosted" else 1e-9
                assert share - slack <= (saved > -1e-3).mean() <= share + 0.05


def with_steady_volume(study, name, requests):
    def certain(figure, value):
        return replace(figure, value=value, low=None, high=None, distribution="fixed")

    workload = study.workloads[name]
    intake = workload.intake.model_copy(
        update={"requests": certain(workload.intake.requests, requests)}
    )
    still = {key: certain(getattr(workload, key), 0.0) for key in ("growth", "volatility")}
    steady = workload.model_copy(update={"intake": intake, **still})
    return study.model_copy(update={"workloads": {**study.workloads, name: steady}})


def test_routes_and_workloads_share_the_draws_of_what_they_have_in_common(assessed):
    found = assessed("default")
    study = found.case.study
    fleets = market(found.results[COST], found.results[HOSTING]).fleets

    def drawn(workload, route):
        known = inputs(study, workload, route, fleets.get((workload, route)))
        return draws_of(known, 50, study.seed)

    hosted = drawn("support-chat", "novita-llama-3.1-70b")
    own = drawn("support-chat", "h200-llama-3.1-70b")
    other = drawn("extraction", "h200-llama-3.1-70b")
    for name in ("requests", "input_tokens", "drift_proprietary_api", "cached_input_share"):
        assert (hosted[name] == own[name]).all()
    assert (own["usd_per_gpu_hour"] == other["usd_per_gpu_hour"]).all()
    assert (own["requests"] != other["requests"]).all()
    assert (own["capacity_factor"] != other["capacity_factor"]).any()
    assert (hosted["ramp"] != own["ramp"]).all()
    # both workloads name the bundled figure growth.saas
    assert (own["growth"] == other["growth"]).all()


@every_study
def test_the_inputs_that_decide_are_told_for_the_best_move_largest_first(assessed, name):
    results = assessed(name).results
    found, behind = results[CROSSOVER], handicaps(results)
    for deciding in found["sensitivity"]:
        rivals = [row for row in found["savings"] if row["workload"] == deciding["workload"]]
        best = min(
            rivals,
            key=lambda r: (behind.get((r["workload"], r["route"]), 0), -r["saving_p50_usd"]),
        )
        assert deciding["route"] == best["route"]
        effects = [row["total_effect"] for row in deciding["inputs"]]
        assert effects == sorted(effects, reverse=True)
        inputs_ = {row["input"] for row in deciding["inputs"]}
        assert ("usd_per_gpu_hour" in inputs_) == (best["arm"] == "self_hosted")


def test_total_effects_of_the_source_memo_are_known_well_enough_to_rank_by(assessed):
    for deciding in assessed("source_memo").results[CROSSOVER]["sensitivity"]:
        first = deciding["inputs"][0]
        assert first["total_effect"] <= 1.05
        assert first["total_effect_error"] < 0.3


@every_study
def test_todays_bill_is_the_sum_of_its_workloads_and_the_horizon_holds_it_many_times(
    assessed, name
):
    month = assessed(name).results[CROSSOVER]["month_usd"]
    total = sum(month["today_by_workload"].values())
    assert month["today"] == pytest.approx(total)
    assert month["horizon"]["p10"] <= month["horizon"]["p50"] <= month["horizon"]["p90"]


# ---- the decision


@every_study
def test_what_the_verdict_reads_is_there_for_every_route(assessed, name):
    found = assessed(name)
    routes = found.results[DECISION]["routes"]
    assert len(routes) == sum(len(w.routes) for w in found.case.study.workloads.values())
    for row in routes:
        assert set(ROUTE_COLUMNS) <= set(row)
        # what may be missing: a day on which the model retires, items where none are scored, and
        # times of routes that are never timed
        missing = {column for column in ROUTE_COLUMNS if row[column] is None}
        assert missing <= {"ends", "benchmark", "closeness", "target_s", "first_answer_s"}
        assert ("benchmark" in missing) == (row["quality"] in ("none", "baseline"))


@every_study
def test_the_options_start_from_staying_and_the_verdict_is_one_of_them(assessed, name):
    found = assessed(name)
    options = {row["option"]: row for row in found.results[DECISION]["options"]}
    assert options["stay"]["workloads_moved"] == []
    assert options["stay"]["saving_usd"] == {"p10": 0, "p50": 0, "p90": 0}
    horizon = found.results[CROSSOVER]["month_usd"]["horizon"]
    assert options["stay"]["cost_usd"]["p50"] == pytest.approx(horizon["p50"])
    verdicts = found.results[DECISION]["verdicts"]
    moved = sorted(name for name, v in verdicts.items() if v["decision"] == "move")
    assert options["verdict"]["workloads_moved"] == moved
    saving = found.results[DECISION]["saving"]
    if moved:
        assert options["verdict"]["saving_usd"]["p50"] == pytest.approx(saving["p50"])
    else:
        assert saving is None
    targets = {name: v["target"] for name, v in verdicts.items() if v["target"]}
    plan = options.get("plan", options["verdict"])  # where nothing is open, it is the verdict
    assert plan["workloads_moved"] == sorted(targets)
    assert options["verdict"]["beyond_verdict_usd"] == {"p10": 0, "p50": 0, "p90": 0}
    beyond = options["stay"]["beyond_verdict_usd"]["p50"]
    assert beyond == pytest.approx(saving["p50"] if moved else 0)  # draw by draw, then its median


@every_study
def test_at_the_break_even_utilisation_the_fleet_costs_todays_bill_for_the_same_requests(
    assessed, name
):
    found = assessed(name)
    for trigger in found.rows(DECISION, "triggers", id="G1"):
        fleets = found.rows(HOSTING, "fleets", workload=trigger["workload"])
        if not fleets:
            assert trigger["status"] == "not_applicable"
            continue
        bill = found.row(COST, "bills", workload=trigger["workload"], current=True)
        fleet = min(fleets, key=lambda row: row["month_usd"])
        served = trigger["threshold"] * fleet["replicas"] * fleet["capacity_requests_per_s"]
        month = served * 730 * 3600 * bill["usd_per_request"]
        assert month == pytest.approx(fleet["month_usd"])
        assert trigger["value"] == pytest.approx(fleet["utilisation"])


@every_study
def test_each_workload_has_six_triggers_and_assumptions_fire_none(assessed, name):
    found = assessed(name)
    for workload in found.case.study.workloads:
        triggers = found.rows(DECISION, "triggers", workload=workload)
        assert [row["id"] for row in triggers] == ["G1", "G2", "G3", "G4", "G5", "G6"]
    for row in found.rows(DECISION, "triggers", status="fired"):
        assert row["grade"] in ("measured", "recorded", "published")


def test_phases_begin_on_the_day_the_decision_is_due(assessed):
    found = assessed("default")
    plan = found.results[DECISION]["phases"]
    assert [row["phase"] for row in plan] == [1, 2, 3]
    assert plan[0]["start"] == found.case.study.decide_by.isoformat()
    # workloads are evaluated and moved one by one, so that phases overlap
    assert [row["start"] for row in plan] == sorted(row["start"] for row in plan)
    targets = {n: v["target"] for n, v in found.results[DECISION]["verdicts"].items()}
    dates = [
        r for r in found.results["04_quality"]["dates"] if targets[r["workload"]] == r["route"]
    ]
    assert plan[1]["end"] == max(row["begins"] for row in dates)
    assert plan[2]["start"] == min(row["begins"] for row in dates)
    for row in plan:
        assert row["cost_low_usd"] <= row["cost_usd"] <= row["cost_high_usd"]


# ---- what-if: other findings, the same study


def changed(found, chapter, table, changes, **wanted):
    """What the chapters wrote, with some rows of one changed."""
    results = deepcopy(dict(found.results))
    rows = [row for row in results[chapter][table] if all(row[k] == v for k, v in wanted.items())]
    assert rows
    for row in rows:
        row.update(changes)
    return results


def verdict_of(found, results, workload):
    study = found.case.study
    return verdicts_of(study, route_table(study, results))[workload]


def trigger_of(found, results, trigger, workload):
    [row] = [
        row
        for row in trigger_rows(found.case, results)
        if (row["id"], row["workload"]) == (trigger, workload)
    ]
    return row


NOVITA = {"workload": "extraction", "route": "novita-llama-3.1-70b"}


def test_own_items_move_what_published_items_leave_undecided(assessed):
    found = assessed("default")
    before = found.results[DECISION]["verdicts"]["extraction"]
    assert before["decision"] == "undecided"
    asks = [item for item in before["collect"] if item["sentence"].startswith(NOVITA["route"])]
    assert [item["what"] for item in asks] == ["golden items", "probe"]
    scored = {"grade": "measured", "verdict": "non-inferior", "closeness": "own"}
    results = changed(found, QUALITY, "quality", scored, **NOVITA)
    after = io.plain(chapter_07.decision_tables(found.case, results))
    assert after["verdicts"]["extraction"]["decision"] == "move"
    assert after["verdicts"]["extraction"]["route"] == "novita-llama-3.1-70b"
    assert after["overall"] == "hybrid"
    assert after["saving"]["p50"] > 50_000


def test_a_measured_miss_of_the_first_token_takes_a_route_out(assessed):
    """Of the route that the verdict looks to: it then looks to what saves most beside it."""
    found = assessed("default")
    better = {"grade": "measured", "verdict": "non-inferior", "closeness": "own"}
    rows = found.rows(DECISION, "routes", workload="extraction", current=False)
    cheaper = [row for row in rows if row["p_cheaper"] >= 0.5]
    in_order = sorted(cheaper, key=lambda row: (answers_late(row), -row["saving_p50_usd"]))
    best, second = [row["route"] for row in in_order][:2]
    assert found.results[DECISION]["verdicts"]["extraction"]["target"] == best
    missed = {"workload": "extraction", "route": best}
    out = verdict_of(
        found, changed(found, LATENCY, "latency", {"verdict": "misses"}, **missed), "extraction"
    )
    assert out.target == second
    assert {reason.code for reason in out.reasons if reason.route == best} == {"latency"}
    scored = changed(found, QUALITY, "quality", better, workload="extraction")
    assert verdict_of(found, scored, "extraction").decision == "move"


def test_a_measured_miss_of_todays_route_fires_the_latency_trigger(assessed):
    found = assessed("default")
    today = {"workload": "support-chat", "route": "openai-gpt-4o"}
    measured = {"grade": "measured", "verdict": "misses", "ttft_p95_s": 1.4}
    after = changed(found, LATENCY, "latency", measured, **today)
    trigger = trigger_of(found, after, "G2", "support-chat")
    assert (trigger["status"], trigger["value"], trigger["threshold"]) == ("fired", 1.4, 1.0)


def test_an_open_model_measured_above_todays_fires_the_quality_trigger(assessed):
    found = assessed("default")
    above = {"low": 0.01, "grade": "measured", "closeness": "own"}
    after = changed(found, QUALITY, "quality", above, **NOVITA)
    assert trigger_of(found, after, "G5", "extraction")["status"] == "fired"


def test_an_option_calls_inferior_only_the_workloads_that_are_so_on_their_own_target(assessed):
    found = assessed("hyperscale")
    study, offers = found.case.study, market(found.results[COST], found.results[HOSTING])
    # school-reports go to the batch, the others to llama at novita, on which code-tutor is worse
    for route, inferior in [
        ("together-llama-3.1-70b", ["code-tutor"]),
        ("novita-llama-3.1-70b", ["code-tutor", "homework-help"]),
        ("groq-gpt-oss-120b-batch", ["code-tutor", "school-reports"]),
    ]:
        results = changed(found, QUALITY, "quality", {"verdict": "inferior"}, route=route)
        routes = route_table(study, results)
        rows = chapter_07.options(study, offers, routes, verdicts_of(study, routes))
        (hosted,) = [row for row in rows if row["option"] == "hosted_open"]
        assert (route, hosted["inferior"]) == (route, inferior)


def test_one_team_runs_all_fleets(assessed):
    found = assessed("hyperscale")
    study = found.case.study
    offers = market(found.results[COST], found.results[HOSTING])
    own = dict.fromkeys(("homework-help", "school-reports"), "h200-llama-3.1-70b")
    together = portfolio_saving(study, offers, own)
    apart = sum(portfolio_saving(study, offers, {n: route}) for n, route in own.items())
    own_, month = study.self_hosting, study.team.usd_per_fte_year.value / 12
    staff = own_.fte.value * month + own_.on_call.value + own_.security.value / 12
    once = study.moving["self_hosted"].cost.value - study.moving["hosted_open"].cost.value
    assert np.mean(together - apart) == pytest.approx(24 * staff + once, rel=0.1)


OWN, TWIN, API = "h200-llama-3.1-70b", "twin-llama-3.1-70b", "openai-gpt-4o"
FLEETS = ("homework-help", "school-reports")


@pytest.fixture
def on_fleets(assessed):
    """Makes the hyperscale study with workloads on fleets today, and another host's fleet to go to.

    With `fte`, the size of its team is certain.
    """
    found = assessed("hyperscale")
    offers = market(found.results[COST], found.results[HOSTING])

    def dearer(offer):
        rent = offer.usd_per_gpu_hour
        rent = replace(rent, value=1.5 * rent.value, low=1.5 * rent.low, high=1.5 * rent.high)
        return replace(offer, usd_per_gpu_hour=rent)

    twins = {(name, TWIN): dearer(offers.fleets[name, OWN]) for name in FLEETS}

    def make(today=FLEETS, fte=None):
        study = found.case.study
        moved = {n: study.workloads[n].model_copy(update={"current_route": OWN}) for n in today}
        hosting = study.self_hosting
        if fte is not None:
            certain = replace(hosting.fte, value=fte, low=None, high=None, distribution="fixed")
            hosting = hosting.model_copy(update={"fte": certain})
        changed = {
            "workloads": {**study.workloads, **moved},
            "routes": {**study.routes, TWIN: study.routes[OWN]},
            "self_hosting": hosting,
        }
        return study.model_copy(update=changed), Market(offers.tokens, {**offers.fleets, **twins})

    return make


def test_moving_two_fleets_to_other_fleets_saves_what_the_two_moves_save(on_fleets):
    study, offers = on_fleets()
    together = portfolio_saving(study, offers, dict.fromkeys(FLEETS, TWIN))
    apart = sum(portfolio_saving(study, offers, {name: TWIN}) for name in FLEETS)
    assert together == pytest.approx(apart)
    assert np.median(together) < 0


@pytest.mark.parametrize("route", [API, TWIN])
def test_moving_one_of_two_fleets_credits_and_charges_no_salary(on_fleets, route):
    move = {FLEETS[0]: route}
    with_team, without = (portfolio_saving(*on_fleets(fte=fte), move) for fte in (4, 0))
    assert with_team == pytest.approx(without)
    assert portfolio_saving(*on_fleets(), {FLEETS[0]: route}) == pytest.approx(without)


@pytest.mark.parametrize("today", [FLEETS, FLEETS[:1]])
def test_leaving_the_last_fleet_credits_one_team_from_the_end_of_the_ramp(on_fleets, today):
    with_team, without = (
        portfolio_saving(*on_fleets(today, fte), dict.fromkeys(today, API)) for fte in (4, 0)
    )
    study, _ = on_fleets()
    team = 4 * study.team.usd_per_fte_year.value / 12
    months = study.months - study.moving["proprietary_api"].ramp.value
    assert np.mean(with_team - without) == pytest.approx(team * months, rel=0.05)


def test_a_workload_that_joins_todays_fleet_finds_the_team_there(on_fleets):
    joined, without = (
        portfolio_saving(*on_fleets(FLEETS[:1], fte), {FLEETS[1]: OWN}) for fte in (None, 0)
    )
    assert joined == pytest.approx(without)


def test_todays_fleets_pay_one_team_a_month_in_every_bill(on_fleets, assessed):
    with_team, without = (sum(stay_draws(*on_fleets(fte=fte)).values()) for fte in (4, 0))
    study, _ = on_fleets()
    team = 4 * study.team.usd_per_fte_year.value / 12
    assert np.mean(with_team - without, axis=0) == pytest.approx(np.full(24, team), rel=0.05)
    found = assessed("hyperscale")
    fleets = [found.row(HOSTING, "fleets", workload=name, route=OWN) for name in FLEETS]
    tutor = found.row(COST, "bills", workload="code-tutor", current=True)
    rents = sum(row["rent_month_usd"] + row["upkeep_month_usd"] for row in fleets)
    by_hand = tutor["month_usd"] + rents + fleets[0]["staff_month_usd"]
    month = month_by_workload(study, found.results[COST], found.results[HOSTING])
    assert sum(month.values()) == pytest.approx(by_hand)


def test_a_study_whose_routes_cannot_be_sized_has_a_bill_of_nothing(assessed):
    found = assessed("source_memo")
    study = found.case.study
    product = study.workloads["product"].model_copy(update={"current_route": OWN})
    case = replace(found.case, study=study.model_copy(update={"workloads": {"product": product}}))
    hosting = {**found.results[HOSTING], "fleets": [], "offers": {"product": {}}}
    month = crossover_tables(case, {**found.results, HOSTING: hosting})["month_usd"]
    assert month == {
        "today_by_workload": {},
        "today": 0,
        "horizon": {"p10": 0, "p50": 0, "p90": 0},
    }


@every_study
def test_rent_capacity_and_paired_differences_are_in_the_ledger(assessed, name):
    found = assessed(name)
    hosting = {row["name"]: row for row in found.results[HOSTING]["figures"]}
    rows = [*hosting.values(), *found.results[EVIDENCE]["figures"]]
    assert len({row["name"] for row in rows}) == len(rows)
    for row in found.results[HOSTING]["fleets"]:
        assert hosting[f"routes.{row['route']}.rent"]["value"] == pytest.approx(
            row["usd_per_gpu_hour"]
        )
        capacity = hosting[f"workloads.{row['workload']}.routes.{row['route']}.capacity"]
        assert capacity["low"] < capacity["value"] == 1 < capacity["high"]
        assert capacity["source"]
    ledger = {row["name"]: row for row in found.results[EVIDENCE]["figures"]}
    for row in found.results[QUALITY]["quality"]:
        figure = ledger.get(f"workloads.{row['workload']}.quality.{row['route']}.difference")
        assert (figure is None) == (row["verdict"] == "none")
        if figure:
            ends = [figure[k] for k in ("low", "value", "high", "grade")]
            assert ends == [row[k] for k in ("low", "difference", "high", "grade")]


# ---- studies at their edges

CANDIDATES = "candidates: [together-llama-3.1-70b, h200-llama-3.1-70b]"
EVIDENCE_OF_H200 = "        h200-llama-3.1-70b: *llama70b"


def test_a_study_whose_every_candidate_is_barred_stays(assess, variant):
    study = load(
        variant(
            "source_memo",
            (CANDIDATES, "candidates: [together-llama-3.1-70b]"),
            (EVIDENCE_OF_H200, ""),
        )
    )
    verdict = assess(study).results[DECISION]["verdicts"]["product"]
    assert verdict["decision"] == "stay"


def test_a_study_without_candidates_stays(assess, variant):
    text = paths.params("source_memo.yaml").read_text()
    evidence = text[text.index("      evidence:") :]
    study = load(variant("source_memo", (CANDIDATES, "candidates: []"), (evidence, "")))
    assert assess(study).results[DECISION]["verdicts"]["product"]["decision"] == "stay"


def test_a_lapsed_contract_does_not_undo_the_one_that_renewed_it(variant):
    lapsed = "      - {kind: baa, valid_until: 2026-10-31}"
    renewed = "      - {kind: baa, valid_until: 2028-10-31}\n"
    table = permissions(load(variant("regulated", (lapsed, renewed + lapsed))))
    openai = table[table["route"] == "openai-gpt-4o"]
    assert openai["permitted"].tolist() == [True]


def test_a_retirement_of_todays_model_within_the_horizon_fires_the_vendor_trigger(assess, variant):
    # data/model_retirements.csv: claude-sonnet-4-5 retires on 2026-11-30
    retiring = "provider: anthropic\n    model: claude-sonnet-4-5\n"
    study = load(variant("source_memo", ("provider: openai\n    model: gpt-4o\n", retiring)))
    found = assess(study)
    assert any("retire" in row["sentence"] for row in found.results[EVIDENCE]["findings"])
    assert found.row(DECISION, "triggers", id="G4")["status"] == "fired"


def test_moving_between_fleets_to_a_dearer_host_costs_more_than_to_a_twin(assess, variant):
    text = paths.params("source_memo.yaml").read_text()
    fleet = text[text.index("  h200-llama-3.1-70b:\n    arm") : text.index("\nworkloads:")]
    twin, dear = fleet.replace("h200-", "twin-"), fleet.replace("h200-", "dear-")
    study = load(
        variant(
            "source_memo",
            (fleet, fleet + twin + dear.replace("nebius", "aws")),
            ("current_route: openai-gpt-4o", "current_route: h200-llama-3.1-70b"),
            (CANDIDATES, "candidates: [openai-gpt-4o, twin-llama-3.1-70b, dear-llama-3.1-70b]"),
            (EVIDENCE_OF_H200, ""),
            ("        together-llama-3.1-70b: &", "        twin-llama-3.1-70b: &"),
        )
    )
    found = assess(study)
    rent, saved = (
        {row["route"]: row[column] for row in found.results[chapter][table]}
        for chapter, table, column in (
            (HOSTING, "fleets", "rent_month_usd"),
            (CROSSOVER, "savings", "saving_p50_usd"),
        )
    )
    more = rent["dear-llama-3.1-70b"] - rent["twin-llama-3.1-70b"]
    assert more > 5_000
    # the ramp leaves 18 to 21 of 24 months
    assert saved["twin-llama-3.1-70b"] - saved["dear-llama-3.1-70b"] > 12 * more


def test_government_data_that_no_route_may_see_are_neither_priced_nor_judged_elsewhere(
    assess, variant
):
    study = load(
        variant(
            "source_memo",
            ("data_class: unknown", "data_class: government"),
            (CANDIDATES, "candidates: [together-llama-3.1-70b]"),
            (EVIDENCE_OF_H200, ""),
        )
    )
    found = assess(study)
    assert not any(row["permitted"] for row in found.results[CROSSOVER]["permissions"])
    assert pairs(found.results[COST]["bills"]) == [("product", "openai-gpt-4o")]
    assert pairs(found.results[LATENCY]["latency"]) == [("product", "openai-gpt-4o")]
    assert found.results[QUALITY]["quality"] == found.results[CROSSOVER]["savings"] == []
    assert found.row(DECISION, "triggers", id="G3")["status"] == "fired"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("gpu: h200_sxm", "gpu: h2000", "h2000"),
        ("rented_from: nebius", "rented_from: nebulous", "nebulous"),
        ("model: meta-llama/Llama-3.1-70B\n", "model: meta-llama/Lama-3.1-70B\n", "Lama"),
        ("precision: fp8", "precision: fp4", "fp4"),
    ],
)
def test_a_fleet_of_unknown_names_is_an_error_that_names_the_route(assess, variant, old, new, said):
    study = load(variant("source_memo", (old, new)))
    with pytest.raises(ValueError, match=rf"^routes\.h200-llama-3\.1-70b: .*{said}"):
        assess(study)


def test_a_fleet_too_slow_for_its_slo_is_a_finding_with_its_reason(assess, variant):
    study = load(variant("source_memo", ("tpot_p95: 50 ms", "tpot_p95: 1 ms")))
    results = assess(study).results
    [failure] = results[HOSTING]["failures"]
    assert "above the SLO of 1.0 ms" in failure["reason"]
    assert results[HOSTING]["fleets"] == results[HOSTING]["figures"] == []


def test_a_workload_may_have_a_slash_in_its_name(assess, assessed, variant):
    found = assess(load(variant("source_memo", ("  product:\n", "  web/product:\n"))))
    [fleet] = found.results[HOSTING]["fleets"]
    assert fleet["workload"] == "web/product"
    assert list(found.results[HOSTING]["offers"]) == ["web/product"]
    [plain] = assessed("source_memo").results[HOSTING]["fleets"]
    assert fleet["month_usd"] == pytest.approx(plain["month_usd"])
    assert found.rows(CROSSOVER, "savings", workload="web/product", route=fleet["route"])


@pytest.mark.parametrize(
    ("grade", "low", "high", "verdict"),
    [
        ("measured", 0.6, 0.9, "meets"),
        ("measured", 0.6, 1.0, "meets"),
        ("measured", 0.8, 1.3, "undecided"),
        ("measured", 1.0, 1.3, "undecided"),
        ("measured", 1.1, 1.3, "misses"),
        ("published", 0.6, 0.9, "undecided"),
        ("published", 1.0, 1.3, "undecided"),
        ("published", 1.1, 1.3, "misses"),
        ("assumed", 1.1, 1.3, "misses"),
    ],
)
def test_a_claim_meets_only_when_measured_and_misses_when_its_best_case_does(
    assessed, grade, low, high, verdict
):
    found = assessed("default")
    study, novita = found.case.study, "novita-llama-3.1-70b"
    claim = replace(
        study.routes[novita].ttft_p95, value=(low + high) / 2, low=low, high=high, grade=grade
    )
    route = study.routes[novita].model_copy(update={"ttft_p95": claim})
    case = replace(
        found.case, study=study.model_copy(update={"routes": {**study.routes, novita: route}})
    )
    table = latency_tables(case, found.results[HOSTING])["latency"]
    row = table.set_index(["workload", "route"]).loc[("support-chat", novita)]
    assert row["target_s"] == 1.0
    assert row["verdict"] == verdict

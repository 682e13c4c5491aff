"""Fleets of a study by replay: tables for the chapter, and what the command prints."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from llmstudy import paths, study
from llmstudy.chapters import sizing
from llmstudy.chapters.sizing import peak_fleets, sizing_tables, traffic_for
from llmstudy.cli import app
from llmstudy.evidence.case import open_case, week_load
from llmstudy.evidence.offers import fleet_offer, route_curve
from llmstudy.figure import Figure
from llmstudy.measures.capacity import capacity_at_slo
from llmstudy.measures.capacity.sizing import WeekOutcome, peak
from tests.logs import with_log

FLEET = "h200-llama-3.1-70b"


@pytest.fixture(scope="module", autouse=True)
def _quick():
    """Shorter replays of the peak, so that these tests take seconds."""
    patch = pytest.MonkeyPatch()
    patch.setattr(peak, "PEAK_REQUESTS", 10_000)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def case():
    return open_case(study.load(paths.resolve("params/source_memo.yaml")))


@pytest.fixture(scope="module")
def peaks(case):
    return fleets(case)


@pytest.fixture(scope="module")
def tables(case, peaks):
    return sizing_tables(case, peaks)


def fleets(case):
    return peak_fleets(case)


def test_each_fleet_is_there_once_with_its_week(tables):
    fleets = tables["fleet_sizing"]
    assert fleets["kind"].tolist() == ["static", "scheduled", "autoscaled"]
    assert fleets["workload"].unique().tolist() == ["product"]
    static = fleets.iloc[0]
    gpus = static["gpu_hours_week"] / 168
    assert gpus == pytest.approx(2 * static["replicas_max"])
    hours = tables["replicas_week"]
    assert hours["hour"].tolist() == list(range(168))
    paid = 2 * hours[["static", "scheduled", "autoscaled"]].sum()
    assert paid.tolist() == pytest.approx(fleets["gpu_hours_week"].tolist())
    assert (fleets["slo_attainment_share"] > 0.95).all()


def test_what_is_owned_is_paid_for_all_week_at_its_most(case, peaks):
    route = "h200-llama-3.1-70b"
    rented = sizing._candidate(case, "product", route, peaks["product", route])
    replicas = np.repeat([2.0, 5.0], [100, 68])
    week = WeekOutcome(replicas, {}, 0.0, 0.5, 0.5, 1000, 168)
    an_hour = rented.replica_month_usd / 730
    found = sizing._fleet_row(rented, "scheduled", week)
    assert found["usd_week"] == pytest.approx((100 * 2 + 68 * 5) * an_hour)
    owned = sizing._fleet_row(replace(rented, owned=True), "scheduled", week)
    assert owned["usd_week"] == pytest.approx(168 * 5 * an_hour)
    assert owned["gpu_hours_week"] == found["gpu_hours_week"]  # in use


def test_the_split_is_priced_with_todays_api_and_the_team(tables):
    split = tables["base_load"].set_index("replicas")
    assert split.loc[0, "usd_month_fleet"] == 0
    assert split.loc[0, "api_share"] == 1
    assert split.loc[1, "usd_month_fleet"] > split.loc[0, "usd_month_fleet"]
    assert (split["usd_month"] == split["usd_month_fleet"] + split["usd_month_api"]).all()
    assert split.loc[split["cheapest"], "usd_month"].tolist() == [split["usd_month"].min()]


def test_a_fleet_that_needs_no_api_serves_all(tables):
    assert tables["base_load"]["fleet_share"].iloc[-1] > 0.99
    assert tables["sustainable"]["utilisation_share"].between(0.2, 1).all()


def test_a_route_that_cannot_serve_is_a_row_with_the_reason(case):
    workload = case.study.workloads["product"]
    slo = workload.slo.model_copy(update={"tpot_p95": replace(workload.slo.tpot_p95, value=0.001)})
    strict = {"product": workload.model_copy(update={"slo": slo})}
    case = replace(case, study=case.study.model_copy(update={"workloads": strict}))
    found = sizing_tables(case, fleets(case))
    assert found["fleet_sizing"].empty
    assert "above the SLO of 1.0 ms" in found["unsized"]["reason"].iloc[0]


def test_drawn_traffic_has_the_studys_level_and_lengths(case):
    found = traffic_for(case, "product", case.study.routes[FLEET])
    assert found.logged is None
    workload = case.study.workloads["product"]
    attempts = 1 + workload.retry_share.value
    requests_per_s = week_load(case, "product")["requests_per_s"]
    assert found.requests_per_s == pytest.approx(attempts * requests_per_s)
    intake = workload.intake
    assert found.input_tokens.mean() == pytest.approx(intake.input_tokens.value, rel=0.1)
    assert found.burstiness.cv_10min > 0


def test_a_fleet_is_sized_for_answers_as_long_as_its_own_models(case):
    fleet = case.study.routes[FLEET]
    tripled = Figure("", 3.0, "factor", grade="measured", source="own count")
    verbose = fleet.model_copy(update={"output_tokens_ratio": tripled})
    plain, long = (traffic_for(case, "product", spec) for spec in (fleet, verbose))
    assert long.output_tokens.mean() == pytest.approx(3 * plain.output_tokens.mean(), rel=0.01)
    assert np.array_equal(long.input_tokens, plain.input_tokens)
    offers = [
        fleet_offer(case.study, case.study.workloads["product"], spec, route_curve(spec))
        for spec in (fleet, verbose)
    ]
    (short, _), (slow, at) = offers
    # as the curve carries requests whose answers are three times as long
    asked = case.study.workloads["product"].intake
    solved = capacity_at_slo(
        route_curve(fleet).curve, asked.input_tokens.value, 3 * asked.output_tokens.value,
        case.study.workloads["product"].slo.tpot_p95.value, fleet.tensor_parallel,
        cached_share=case.study.workloads["product"].cached_input_share.value,
    )  # fmt: skip
    assert at.requests_per_s == pytest.approx(solved.requests_per_s)
    assert slow.fleet.capacity_requests_per_s == at.requests_per_s
    assert slow.fleet.capacity_requests_per_s < short.fleet.capacity_requests_per_s


def test_a_log_of_a_week_is_replayed_in_its_own_hours(case):
    rng = np.random.default_rng(1)
    start = pd.Timestamp("2026-11-05T07:30Z")  # a Thursday
    times = start + pd.to_timedelta(np.sort(rng.uniform(0, 10 * 86_400, 5_000)), "s").floor("us")
    rows = case.traffic.of("product").sample(5_000, replace=True, random_state=1)
    log = rows.assign(ts_start=times, cached_input_tokens=pd.array([None] * 5_000, "Int64"))
    summary = pd.DataFrame({"workload": ["product"], "covers_week": [True]})
    logged = with_log(case, log)
    logged = replace(logged, traffic=replace(logged.traffic, summary=summary))
    found = traffic_for(logged, "product", case.study.routes[FLEET])
    # the last 168 hours, from hour 0 on Monday, with the study's own cached share
    assert len(found.logged) == pytest.approx(5_000 * 7 / 10, rel=0.05)
    assert found.logged["arrival_s"].between(0, 168 * 3600).all()
    last = times[-1]
    of_week_s = (last.day_of_week * 24 + last.hour) * 3600 + last.minute * 60 + last.second
    assert np.abs(found.logged["arrival_s"] - of_week_s).min() < 1
    share = case.study.workloads["product"].cached_input_share.value
    assert found.cached_tokens.sum() == pytest.approx(share * found.input_tokens.sum(), rel=0.01)


def test_the_command_prints_json_without_infinity():
    done = CliRunner().invoke(
        app, ["capacity", "size", str(paths.resolve("params/source_memo.yaml")), "--json"]
    )
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout, parse_constant=pytest.fail)
    (row,) = told["workloads"]
    assert (told["study"], row["workload"]) == ("source_memo", "product")
    assert [fleet["kind"] for fleet in row["fleets"]] == ["static", "scheduled", "autoscaled"]
    assert len(row["replicas_week"]) == 168
    assert row["base_load_split"][0]["slo_attainment_share"] is None
    assert row["sustainable_utilisation"][0]["replicas"] == 1
    assert row["notes"]
    assert row["reason"] is None


def test_the_command_prints_a_table_for_people():
    done = CliRunner().invoke(
        app, ["capacity", "size", str(paths.resolve("params/source_memo.yaml"))]
    )
    assert done.exit_code == 0, done.output
    assert "autoscaled" in done.stdout
    assert "Note: Arrivals: drawn" in done.stderr


def test_a_study_that_is_not_there_ends_with_exit_code_2(tmp_path):
    done = CliRunner().invoke(app, ["capacity", "size", str(tmp_path / "none.yaml"), "--json"])
    assert done.exit_code == 2
    assert json.loads(done.stdout)["exit_code"] == 2

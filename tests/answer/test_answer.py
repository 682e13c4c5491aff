"""The sliders' model against the chapters, a run of the changed study, and closed forms."""

from dataclasses import replace

import numpy as np
import pytest

from llmstudy import paths, simulate
from llmstudy.answer import (
    BASE,
    Changes,
    answer,
    break_evens,
    changed,
    crossovers,
    prepare,
    save,
    with_quotes,
)
from llmstudy.answer.prepared import setting
from llmstudy.chapters.all import MEASURES, chapter_results
from llmstudy.chapters.quality import quality_tables
from llmstudy.evidence.case import Case, open_case, permissions
from llmstudy.figure import Figure
from llmstudy.measures import quality
from llmstudy.measures.capacity.sizing import peak
from llmstudy.simulate.inputs import discount_draws, market, stay_draws
from llmstudy.simulate.projection import move_futures, savings_table
from llmstudy.simulate.quality import counts_of
from llmstudy.study import load

OWN = "h200-llama-3.1-70b"
BEST, BEST_OWN = "novita-gpt-oss-120b", "h200-gpt-oss-120b"
"""The move of extraction that saves most, and the fleet that stands for its arm."""


@pytest.fixture(scope="module")
def at_base(base):
    return answer(base)


@pytest.fixture(scope="module")
def turns(base, at_base):
    return break_evens(base, at_base)


# --- the base case is what the chapters say ---------------------------------------------------


def test_at_the_base_case_savings_and_chances_are_those_of_chapter_06(at_base, reference):
    """Against both who stay: on today's named model, and moving on to each cheaper equal."""
    savings, buyers = (reference["06_crossover"][table] for table in ("savings", "by_buyer"))
    moves = sum(len(w.routes) - 1 for w in at_base.workloads.values())
    assert moves == len(savings) == len(buyers)
    for row, equals in zip(savings, buyers, strict=True):
        found = at_base.workloads[row["workload"]].of(row["route"])
        for key in ("p10", "p50", "p90"):
            assert found.saving_usd[key] == pytest.approx(row[f"saving_{key}_usd"], rel=1e-6)
        assert found.p_cheaper == pytest.approx(row["p_cheaper"], abs=1e-9)
        assert (equals["workload"], equals["route"]) == (row["workload"], row["route"])
        assert found.p_cheaper_same_quality == equals["p_cheaper_same_quality"]
        saving_usd = equals["saving_same_quality_usd"]
        assert found.saving_same_quality_usd == pytest.approx(saving_usd, rel=1e-6)


def test_at_the_base_case_verdicts_are_those_of_chapter_07(at_base, reference):
    wanted = reference["07_triggers_and_routing"]
    assert at_base.overall == wanted["overall"]
    for name, verdict in wanted["verdicts"].items():
        found = at_base.workloads[name].verdict
        assert (found.decision, found.target) == (verdict["decision"], verdict["target"])


def test_at_the_base_case_a_crossover_is_that_of_chapter_06_within_its_error(
    base, at_base, reference
):
    seen, bands = 0, crossovers(base, at_base)
    for row in reference["06_crossover"]["crossover"]:
        band = bands.get((row["workload"], row["to_route"]))
        if band is None or row["p_never"] > 0.05:
            continue
        if row["from_route"] != at_base.workloads[row["workload"]].routes[0].route:
            continue
        seen += 1
        assert band[1] == pytest.approx(row["requests_per_month"]["p50"], rel=0.06)
    assert seen >= 3


def test_the_horizon_on_todays_routes_costs_what_chapter_06_projects(at_base, reference):
    for row in reference["06_crossover"]["projection"]:
        workload = at_base.workloads[row["workload"]]
        if row["months"] == 24 and row["arm"] == "stay":
            assert workload.routes[0].horizon_usd["p50"] == pytest.approx(row["p50_usd"], rel=1e-6)


def test_with_a_discount_and_a_fleet_today_it_is_still_the_chapters_model(reference):
    study = load(paths.params("default.yaml"))
    ours = study.workloads["extraction"].model_copy(
        update={"current_route": OWN, "candidates": ("openai-gpt-4o", "novita-llama-3.1-70b")}
    )
    rate = Figure("", 0.1, "share/year", 0.05, 0.2, "triangular")
    study = study.model_copy(
        update={"discount_rate": rate, "workloads": {**study.workloads, "extraction": ours}}
    )
    offers = market(reference["02_cost"], reference["05_self_hosting"], reference["04_quality"])
    found = answer(prepare(replace(open_case(study), study=study), reference))
    able = permissions(study)
    able = able[able["permitted"] & able["fits_context"] & ~able["current"]]
    for row in savings_table(study, move_futures(study, offers, able)).to_dict("records"):
        at = found.workloads[row["workload"]].of(row["route"])
        assert at.saving_usd["p90"] == pytest.approx(row["saving_p90_usd"], rel=1e-9)
        assert at.p_cheaper == row["p_cheaper"]
    worth = discount_draws(study)
    for name, bills in stay_draws(study, offers).items():
        wanted = np.median((bills * worth).sum(axis=1))
        assert found.workloads[name].routes[0].horizon_usd["p50"] == pytest.approx(wanted)


# --- a slider and a run of the changed study agree --------------------------------------------


@pytest.fixture
def short_replays(monkeypatch):
    """Replays of fewer requests, which cost seconds and nothing here."""
    monkeypatch.setattr(peak, "PEAK_REQUESTS", 10_000)


def test_the_changed_study_run_from_its_file_agrees_with_the_slider(base, tmp_path, short_replays):
    """A changed figure is a figure of its own, so that its draws are other ones."""
    changes = Changes(volume=2.0, growth=0.01, gpu_price=0.7, reserved=0.2, team=0.5)
    slider = answer(base, changes)
    study = load(save(paths.params("default.yaml"), changes, tmp_path / "my-case.yaml"))
    found = chapter_results(open_case(study), MEASURES)
    offers = market(found["02_cost"], found["05_self_hosting"], found["04_quality"])
    able = permissions(study)
    able = able[able["permitted"] & able["fits_context"] & ~able["current"]]
    table = savings_table(study, move_futures(study, offers, able))
    assert len(table) == sum(len(w.routes) - 1 for w in slider.workloads.values())
    for row in table.to_dict("records"):
        at = slider.workloads[row["workload"]].of(row["route"])
        # of a median of 4,000 draws; a fleet of another size also sustains a little more or less
        error = 0.06 * (at.saving_usd["p90"] - at.saving_usd["p10"])
        error += 0.02 * at.horizon_usd["p50"] * (at.arm == "self_hosted")
        assert row["saving_p50_usd"] == pytest.approx(at.saving_usd["p50"], abs=error)
        assert row["p_cheaper"] == pytest.approx(at.p_cheaper, abs=0.04)


# --- each lever does what it says -------------------------------------------------------------


def test_a_bill_by_the_token_grows_in_proportion_to_the_volume_beyond_what_is_fixed(base):
    once, twice, thrice = (answer(base, Changes(volume=v)) for v in (1.0, 2.0, 3.0))
    for name in once.workloads:
        bills = [found.workloads[name].routes[0].month_usd for found in (once, twice, thrice)]
        assert bills[1] > bills[0]
        assert bills[2] - bills[1] == pytest.approx(bills[1] - bills[0], rel=0.02)


def test_a_gpu_price_moves_fleets_and_nothing_else(base, at_base):
    cheap = answer(base, Changes(gpu_price=0.5))
    for name, workload in cheap.workloads.items():
        for route in workload.routes:
            before = at_base.workloads[name].of(route.route).saving_usd["p50"]
            if route.arm == "self_hosted":
                assert route.saving_usd["p50"] > before
            else:
                assert route.saving_usd["p50"] == before


def test_a_wider_margin_proves_what_the_interval_lets_it_prove(base):
    """Independently: the least margin is the lower end of Tango's interval.

    It is the one claim whose evidence may bear a move, and a first look spends half of 5 %. Of a
    task that GSM8K is far from it proves nothing at any margin.
    """
    workload = base.study.workloads["classification"]
    evidence = workload.quality.evidence["groq-llama-3.1-8b"]
    low = quality.paired_difference(counts_of(evidence), 1 - 2 * 0.05 / 2).low
    own = workload.quality.margin.value
    near = {"classification": workload.model_copy(update={"task": "reasoning"})}
    study = base.study.model_copy(update={"workloads": base.study.workloads | near})
    traffic = open_case(base.study).traffic
    for of, margin, proven in [
        (study, -low - own - 0.001, False),
        (study, -low - own + 0.001, True),
        (base.study, -low - own + 0.001, False),
    ]:
        assert _proven(Case(changed(of, Changes(margin=margin)), traffic)) is proven


def _proven(case):
    table = quality_tables(case)["quality"]
    row = table[(table["workload"] == "classification") & (table["route"] == "groq-llama-3.1-8b")]
    return row["verdict"].iloc[0] == "non-inferior"


def test_choosing_an_api_model_leaves_its_arm_that_one_candidate(base):
    kept = answer(base, Changes(api_route="novita-llama-3.1-70b"))
    for workload in kept.workloads.values():
        hosted = {r.route for r in workload.routes if r.arm == "hosted_open"}
        if "novita-llama-3.1-70b" in hosted:
            assert hosted == {"novita-llama-3.1-70b"}


def test_targets_that_were_not_sized_are_refused_with_those_that_were(base):
    with pytest.raises(ValueError, match="not sized for targets of 2 times"):
        answer(base, Changes(slo=2.0))


def test_looser_targets_let_a_fleet_carry_more(reference, short_replays):
    case = open_case(load(paths.params("default.yaml")))
    loose = prepare(case, reference, slo_factors=(1.0, 2.0))
    key = ("extraction", OWN)
    tight, wide = (loose.at(slo).fleets[key].fleet for slo in (1.0, 2.0))
    assert wide.capacity_requests_per_s >= tight.capacity_requests_per_s
    rows = [row for row in loose.at(2.0).latency if row["workload"] == "extraction"]
    assert {row["target_s"] for row in rows} == {4.0}


# --- the model inside -------------------------------------------------------------------------


def test_a_saving_is_that_of_the_model_of_the_sensitivity(base):
    at = setting(base, BASE)
    for name, route in [("extraction", OWN), ("extraction", "openai-gpt-6-luna")]:
        d = base.draws(base.study, base.base, name, route)
        current, offer = base.base.offer(name, "openai-gpt-4o"), base.base.offer(name, route)
        wanted = simulate.move_saving(current, offer, base.study.months)(d)
        (move,) = (move for move in at.moves[name] if move.route == route)
        assert move.saving_usd() == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("lever", "workload", "route"),
    [
        ("volume", "extraction", BEST_OWN),
        ("volume", "extraction", BEST),
        ("growth", "extraction", BEST_OWN),
    ],
)
def test_a_break_even_is_where_the_move_begins_to_pass(base, turns, lever, workload, route):
    (turn,) = (b for b in turns[workload] if b.lever == lever and b.route == route)
    step = {"volume": lambda x, f: x * (1 + 0.15 * f), "growth": lambda x, f: x + 0.008 * f}[lever]
    passes = [
        answer(base, Changes(**{lever: step(turn.at, side)})).workloads[workload].of(route).passes
        for side in (-1, 1)
    ]
    assert passes == [not turn.passes_above, turn.passes_above]


def test_no_margin_is_held_on_items_far_from_the_task(base, at_base):
    """Independently: were GSM8K near to classification, it would turn at its lower end."""
    route, name = "h200-llama-3.1-8b", "classification"
    workload = base.study.workloads[name]
    counts = counts_of(workload.quality.evidence[route])
    low = quality.paired_difference(counts, 1 - 2 * 0.05 / 2).low
    rows = base.results["04_quality"]["quality"]
    assert {row["closeness"] for row in rows if row["route"] == route} == {"far"}
    for closeness, at in [("far", None), ("near", -low - workload.quality.margin.value)]:
        quality_ = {"quality": [{**row, "closeness": closeness} for row in rows]}
        other = replace(base, results={**base.results, "04_quality": quality_})
        breaks = break_evens(other, at_base)[name]
        [turn] = [b.at for b in breaks if (b.route, b.lever) == (route, "margin")]
        assert turn == (None if at is None else pytest.approx(at))


def test_a_break_even_in_price_or_team_is_found_where_there_is_one(base):
    """At ten times the volume a fleet pays, so that rent and engineers may cost too much."""
    busy = Changes(volume=10.0)
    found = {
        b.lever: b
        for b in break_evens(base, answer(base, busy))["extraction"]
        if b.route == BEST_OWN and b.lever in ("gpu_price", "team")
    }
    for lever, turn in found.items():
        assert turn.at is not None
        assert not turn.passes_above
        for factor, wanted in ((0.85, True), (1.15, False)):
            at = replace(busy, **{lever: turn.at * factor})
            there = answer(base, at).workloads["extraction"].of(BEST_OWN)
            assert there.passes is wanted


def test_the_base_study_is_left_as_it_is(base):
    before = base.study.figures()
    answer(base, Changes(volume=3.0, growth=0.01, gpu_price=2.0, margin=0.01, team=2.0))
    assert base.study.figures() == before
    assert changed(with_quotes(base.study), BASE).figures() == before


def test_the_same_setting_gives_the_same_answer(base):
    one, two = (answer(base, Changes(volume=1.7, gpu_price=0.8)) for _ in range(2))
    assert one == two
    assert np.isfinite(one.stay_month_usd)

"""What a measurement is worth, against counts that are really drawn and against knowing it all."""

from dataclasses import replace
from datetime import date
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from llmstudy import simulate
from llmstudy.chapters.quality import quality_tables
from llmstudy.evidence.case import Case
from llmstudy.io import plain
from llmstudy.measures import quality
from llmstudy.simulate import measurements
from llmstudy.simulate.inputs import N_DRAWS, draws_of, pair_inputs, paths_of
from llmstudy.simulate.projection import move_futures
from llmstudy.simulate.quality import UNPAIRED_DISCORDANCE, difference_draws
from llmstudy.study import PairedEvidence, bundled_figures
from llmstudy.study.labelling import usd_per_item

CROSSOVER = "06_crossover"
FLEET, HOSTED, LUNA = "h200-llama-3.1-70b", "novita-llama-3.1-70b", "openai-gpt-6-luna"
NAME = "extraction"


@pytest.fixture(scope="module")
def default(assessed):
    return assessed("default")


@pytest.fixture(scope="module")
def extraction(priced):
    """The futures of the moves of one workload."""
    study, offers = priced
    pairs = [(NAME, route) for route in (FLEET, HOSTED, LUNA)]
    return move_futures(study, offers, pd.DataFrame(pairs, columns=["workload", "route"]))


@pytest.fixture(scope="module")
def brief(extraction):
    """Without the candidate that reasons: how much it writes is worth counting."""
    return {move: future for move, future in extraction.items() if move[1] != LUNA}


def certain(figure, value=None):
    value = figure.value if value is None else value
    return replace(figure, value=value, low=None, high=None, distribution="fixed")


def with_workload(study, name, **figures):
    changed = study.workloads[name].model_copy(update=figures)
    return study.model_copy(update={"workloads": {**study.workloads, name: changed}})


def with_measured_intake(study):
    """The study with everything certain that a log would tell of the workload."""
    workload = study.workloads[NAME]
    asked = ("requests", "input_tokens", "output_tokens", "peak_to_mean")
    intake = workload.intake.model_copy(
        update={key: certain(getattr(workload.intake, key)) for key in asked}
    )
    cached = certain(workload.cached_input_share)
    return with_workload(study, NAME, intake=intake, cached_input_share=cached)


def with_counts(study, **counts):
    """The study with paired counts of one's own: route -> (both, only_a, only_b, neither)."""
    own = {
        route: PairedEvidence(
            benchmark="own items",
            model_proprietary="today",
            model_open="candidate",
            counts=found,
            source="own items",
            as_of=date(2026, 11, 1),
        )
        for route, found in counts.items()
    }
    asked = study.workloads[NAME].quality.model_copy(update={"evidence": own})
    return with_workload(study, NAME, quality=asked)


def quality_of(default, study):
    return plain(quality_tables(Case(study, default.case.traffic)))


def items(default, study, saved):
    return measurements._items(study, NAME, saved, quality_of(default, study))


def open_rows(default, study, *routes):
    rows = quality_of(default, study)["quality"]
    return [row for row in rows if row["workload"] == NAME and row["route"] in routes]


def constant(usd):
    return np.full(N_DRAWS, float(usd))


BETTER, WORSE, OPEN = (900, 5, 45, 50), (700, 200, 5, 95), (44, 3, 3, 0)


# ---- paired items


def test_items_are_worth_nothing_where_own_counts_have_settled_every_candidate(default, priced):
    study, _ = priced
    settled = with_counts(study, **{HOSTED: BETTER, FLEET: BETTER, LUNA: WORSE})
    verdicts = {r["route"]: r["verdict"] for r in open_rows(default, settled, HOSTED, LUNA)}
    assert verdicts == {HOSTED: "non-inferior", LUNA: "inferior"}
    saved = {route: constant(1e6) for route in (HOSTED, FLEET, LUNA)}
    assert items(default, settled, saved) == []
    still_open = with_counts(study, **{HOSTED: BETTER, FLEET: BETTER, LUNA: OPEN})
    rows = items(default, still_open, {**saved, LUNA: constant(2e6)})
    assert {row["inputs"] for row in rows} == {LUNA}
    assert max(row["value_usd"] for row in rows) > 1e5


@pytest.mark.parametrize("n", [200, 1500])
def test_a_candidate_passes_as_often_as_drawn_counts_pass_the_test_of_the_verdict(
    default, priced, n
):
    study, _ = priced
    few, margin = 1500, study.workloads[NAME].quality.margin.value
    saved = {LUNA: constant(1e6)[:few]}
    rows = open_rows(default, study, LUNA)
    gained = measurements._released(study, NAME, rows, saved, n)
    true, rng = difference_draws(study, NAME, LUNA, few), np.random.default_rng(3)
    split = np.clip(np.abs(true), UNPAIRED_DISCORDANCE, 1)  # who differs, disagrees
    passed = np.zeros(few, dtype=bool)
    for i, (difference, apart) in enumerate(zip(true, split, strict=True)):
        only_a, only_b = (apart - difference) / 2, (apart + difference) / 2
        drawn = rng.multinomial(n, [1 - apart, only_a, only_b])
        counts = quality.PairedCounts(*(int(x) for x in (*drawn, 0)))
        found = quality.non_inferiority(counts, margin, rows[0]["next_alpha"])
        passed[i] = found.verdict == "non-inferior"
    error = np.sqrt(0.5 / few)
    assert (gained != 0).mean() == pytest.approx(passed.mean(), abs=3 * error)
    wrongly = passed & (true < -margin)
    assert (gained < 0).mean() == pytest.approx(wrongly.mean(), abs=3 * error)


def best_if_all_were_known(study, saved):
    """Expected saving of the best of the truly good candidates, draw by draw. (n,) usd."""
    margin = study.workloads[NAME].quality.margin.value
    good = [
        np.where(difference_draws(study, NAME, route, N_DRAWS) >= -margin, usd.mean(), 0)
        for route, usd in saved.items()
    ]
    return np.maximum(np.max(good, axis=0), 0)


def test_no_batch_is_worth_more_than_knowing_quality_and_an_endless_one_is_worth_as_much(
    default, priced, extraction
):
    study, _ = priced
    saved = {route: f.saving_by_month()[:, -1] for (_, route), f in extraction.items()}
    known = best_if_all_were_known(study, saved)
    rows = open_rows(default, study, *saved)
    for n in (50, 200, 2000):
        gained = measurements._released(study, NAME, rows, saved, n)
        error = np.hypot(gained.std(), known.std()) / np.sqrt(N_DRAWS)
        assert gained.mean() <= known.mean() + 2 * error
    endless = measurements._released(study, NAME, rows, saved, 10_000_000)
    assert endless.mean() == pytest.approx(known.mean(), rel=0.02)


def test_more_items_are_worth_no_less(default, priced, extraction):
    study, _ = priced
    saved = {route: f.saving_by_month()[:, -1] for (_, route), f in extraction.items()}
    rows = open_rows(default, study, *saved)
    gained = [measurements._released(study, NAME, rows, saved, n) for n in (50, 200, 800, 3200)]
    for fewer, more in pairwise(gained):
        gain = more - fewer  # the same luck in both, so that the error is small
        assert gain.mean() >= -2 * gain.std() / np.sqrt(N_DRAWS)
    assert gained[-1].mean() > 1.1 * gained[0].mean()


def test_items_that_cannot_release_enough_saving_are_worth_nothing(default, priced):
    study, _ = priced
    line = study.thresholds.saving.value
    for row in items(default, study, {LUNA: constant(line - 1)}):
        assert row["value_usd"] == row["high_usd"] == 0
        assert row["verdict"] == "not worth it"
    assert all(row["value_usd"] > 0 for row in items(default, study, {LUNA: constant(line)}))


def test_items_are_worth_nothing_where_the_verdict_would_refuse_the_move_on_cost(default, priced):
    """A gamble with a large mean: too seldom cheaper, it may not move whatever its quality."""
    study, _ = priced
    gamble = np.where(np.arange(N_DRAWS) % 10 < 3, 40e6, -1e6)
    assert gamble.mean() > study.thresholds.saving.value
    assert all(row["value_usd"] == 0 for row in items(default, study, {LUNA: gamble}))
    surer = np.where(np.arange(N_DRAWS) % 10 < 8, 40e6, -1e6)
    assert all(row["value_usd"] > 1e6 for row in items(default, study, {LUNA: surer}))


def added_by_luna(default, study, over_usd):
    """What 200 items add where LUNA saves so much more than what may move already. usd."""
    passes = measurements._released(
        study, NAME, open_rows(default, study, LUNA), {LUNA: constant(1e6)}, 200
    )
    true = difference_draws(study, NAME, LUNA, N_DRAWS)
    good = true >= -study.workloads[NAME].quality.margin.value
    there_and_back = 2 * study.moving["proprietary_api"].cost.value
    return np.where(good, over_usd, -there_and_back)[passes != 0].sum() / N_DRAWS


def worth_of_200(default, study, saved):
    rows = items(default, study, saved)
    [row] = [r for r in rows if r["measurement"].startswith("200")]
    return row["value_usd"]


def test_beside_a_candidate_that_may_move_items_are_worth_only_what_they_add(default, priced):
    study, _ = priced
    proven = with_counts(study, **{HOSTED: BETTER})
    expected = added_by_luna(default, proven, 50e3)
    assert expected > 5e3
    saved = {HOSTED: constant(100e3), LUNA: constant(150e3)}
    assert worth_of_200(default, proven, saved) == pytest.approx(expected)
    # where LUNA fails, a fleet that saves less than what may move already is left alone
    saved[FLEET] = constant(60e3)
    assert worth_of_200(default, proven, saved) == pytest.approx(expected)
    less = {HOSTED: constant(100e3), LUNA: constant(60e3)}
    assert worth_of_200(default, proven, less) == 0


def test_what_may_move_already_is_given_up_whether_the_other_saves_or_loses(default, priced):
    study, _ = priced
    proven = with_counts(study, **{HOSTED: BETTER})
    either_way = np.where(np.arange(N_DRAWS) % 20 < 3, -600e3, 1.0)  # saves 150k on average
    either_way[either_way > 0] = (150e3 + 0.15 * 600e3) / 0.85
    assert either_way.mean() == pytest.approx(150e3)
    found = worth_of_200(default, proven, {HOSTED: constant(100e3), LUNA: either_way})
    error = either_way.std() * np.sqrt(0.5 / N_DRAWS)
    assert found == pytest.approx(added_by_luna(default, proven, 50e3), abs=2 * error)


def test_a_batch_costs_its_number_of_items(default, priced):
    study, _ = priced
    rows = items(default, study, {LUNA: constant(1e6)})
    assert len(rows) == 2
    for row in rows:
        n = int(row["measurement"].split()[0].replace(",", ""))
        assert row["cost_usd"] == n * usd_per_item(study, row["workload"]).value
        assert row["net_usd"] == pytest.approx(row["value_usd"] - row["cost_usd"])


# ---- costs


@pytest.fixture(scope="module")
def tables(default, priced, extraction):
    study, offers = priced
    return measurements.information_tables(study, offers, extraction, quality_of(default, study))


def test_perfect_information_is_the_mean_best_choice_less_the_best_choice_of_the_means(
    tables, extraction
):
    saved = [f.saving_by_month()[:, -1] for f in extraction.values()]
    actions = np.column_stack([np.zeros(N_DRAWS), *saved])
    [row] = tables["evpi"]
    expected = actions.max(axis=1).mean() - actions.mean(axis=0).max()
    assert row["usd"] == pytest.approx(expected)


@pytest.mark.parametrize("name", ["default", "regulated", "hyperscale", "source_memo"])
def test_nothing_that_sharpens_costs_is_worth_more_than_perfect_information(assessed, name):
    crossing = assessed(name).results[CROSSOVER]
    perfect = {row["workload"]: row for row in crossing["evpi"]}
    costs = [row for row in crossing["worth"] if "golden items" not in row["measurement"]]
    assert costs
    for row in costs:
        bound = perfect[row["workload"]]
        assert row["value_usd"] <= bound["usd"]
        assert row["high_usd"] <= bound["high_usd"]
        assert 0 <= row["low_usd"] <= row["value_usd"] <= row["high_usd"]


def test_a_bound_is_perfect_information_and_never_a_reason_to_measure(default, priced, brief):
    study, offers = priced
    tables = measurements.information_tables(study, offers, brief, quality_of(default, study))
    [perfect] = tables["evpi"]
    worth = tables["worth"]
    bounds = worth[worth["is_bound"]]
    assert len(bounds)
    assert (bounds["value_usd"] == perfect["usd"]).all()
    assert (bounds["high_usd"] == perfect["high_usd"]).all()
    assert (bounds["cost_usd"] >= perfect["high_usd"]).all()
    assert (bounds["verdict"] == "not worth it").all()
    cheap = worth[~worth["is_bound"] & ~worth["measurement"].str.contains("golden")]
    assert (cheap["cost_usd"] < perfect["high_usd"]).all()


def test_a_log_is_offered_only_where_the_intake_has_a_range(default, priced, extraction):
    study, offers = priced
    measured = with_measured_intake(study)

    def offered(of):
        found = quality_of(default, of)
        worth = measurements.information_tables(of, offers, extraction, found)["worth"]
        return set(worth["measurement"])

    assert "a week more of log" in offered(study)
    assert offered(study) - offered(measured) == {"a week more of log"}


def test_what_is_learned_is_the_input_that_each_draw_of_the_bill_was_made_with(priced, extraction):
    study, offers = priced
    d = draws_of(pair_inputs(study, offers, NAME, LUNA), N_DRAWS, study.seed)
    scatter = paths_of(study, NAME)["path_requests"][:, 0]
    future = extraction[NAME, LUNA]
    assert d["requests"] * scatter == pytest.approx(future.requests[:, 0])


def test_learning_the_one_input_that_decides_is_worth_nearly_all(priced):
    """A fleet that pays or not by its capacity alone: a probe of it is worth what all is worth."""
    study, offers = priced
    d = draws_of(pair_inputs(study, offers, NAME, FLEET), 1000, study.seed)
    gain = 1e6 * (d["capacity_factor"] - np.median(d["capacity_factor"]))
    benefit = np.column_stack([np.zeros(1000), gain])
    perfect = simulate.evpi(benefit)
    measured = with_measured_intake(study)  # no log: its regression takes seconds
    rows = measurements._costs(measured, offers, NAME, [FLEET], benefit, perfect)
    worth = {row["measurement"].split()[0]: row["value_usd"] for row in rows}
    assert worth["8-point"] > 0.95 * perfect.estimate
    assert worth["quote"] < 0.05 * perfect.estimate


# ---- what to buy


def test_the_best_buy_is_the_largest_net_worth_that_is_sure(tables):
    worth = tables["worth"]
    sure = worth[worth["low_usd"] > worth["cost_usd"]]
    assert (
        tables["measure_next"]["measurement"] == sure.loc[sure["net_usd"].idxmax(), "measurement"]
    )
    assert worth["net_usd"].is_monotonic_decreasing
    assert set(worth["verdict"]) <= {"measure", "not worth it", "undecided"}


def test_where_every_item_costs_a_fortune_nothing_is_to_be_measured(default, priced, brief):
    study, offers = priced
    dear = study.model_copy(update={"usd_per_golden_item": certain(study.usd_per_golden_item, 1e6)})
    found = measurements.information_tables(dear, offers, brief, quality_of(default, dear))
    assert found["measure_next"] is None
    assert set(found["worth"]["verdict"]) == {"not worth it"}
    # one log tells of all workloads, so that each bears its part
    log = found["worth"].set_index("measurement").loc["a week more of log"]
    whole = bundled_figures()["measuring.log_usd"].value
    assert log["cost_usd"] == pytest.approx(whole / len(study.workloads))


def test_without_moves_there_is_nothing_to_measure(default, priced):
    study, offers = priced
    found = measurements.information_tables(study, offers, {}, quality_of(default, study))
    assert found["worth"].empty
    assert "verdict" in found["worth"]
    assert found["measure_next"] is None
    assert found["evpi"] == []

"""What decides and where the answer flips, against the model asked by hand at each value."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from llmstudy import simulate
from llmstudy.decide.routes import handicaps
from llmstudy.simulate import bills, crossover, drivers
from llmstudy.simulate.futures import portfolio_saving
from llmstudy.simulate.inputs import N_DRAWS, draws_of, market, pair_inputs, paths_of
from llmstudy.simulate.projection import move_futures, savings_table

CROSSOVER = "06_crossover"
FLEET, HOSTED, LUNA = "h200-llama-3.1-70b", "novita-llama-3.1-70b", "openai-gpt-6-luna"


@pytest.fixture(scope="module")
def default(assessed):
    return assessed("default")


def in_order(found):
    """The savings as the verdict ranks them: by what stands against a route, then by its size."""
    behind = handicaps(found.results)
    table = pd.DataFrame(found.results[CROSSOVER]["savings"])
    ranks = [behind.get(pair, 0) for pair in zip(table["workload"], table["route"], strict=True)]
    table = table.assign(behind=ranks)
    return table.sort_values(["behind", "saving_p50_usd"], ascending=[True, False], kind="stable")


@pytest.fixture(scope="module")
def priced(default):
    results = default.results
    offers = market(results["02_cost"], results["05_self_hosting"], results["04_quality"])
    return default.case.study, offers


@pytest.fixture(scope="module")
def flips(default):
    return pd.DataFrame(default.results[CROSSOVER]["flips"])


def certain(figure, value):
    return replace(figure, value=value, low=None, high=None, distribution="fixed")


def with_workload(study, name, **figures):
    changed = study.workloads[name].model_copy(update=figures)
    return study.model_copy(update={"workloads": {**study.workloads, name: changed}})


def one_figure(study, offers, name, route, key):
    """All inputs that are the same figure of the study as this one."""
    found = pair_inputs(study, offers, name, route)
    place = found[key][1].name or found[key][0]
    return [other for other, (path, figure) in found.items() if (figure.name or path) == place]


def savings_at(priced, name, route, held):
    """Savings on the draws of the flips, with inputs held at a value. held: input -> value."""
    study, offers = priced
    d = dict(draws_of(pair_inputs(study, offers, name, route), drivers.N_FLIPS, study.seed))
    d |= paths_of(study, name, drivers.N_FLIPS)
    d |= {key: np.full(drivers.N_FLIPS, value) for key, value in held.items()}
    current = offers.offer(name, study.workloads[name].current_route)
    return simulate.move_saving(current, offers.offer(name, route), study.months)(d)


def meets_both_lines(study, saved):
    lines = study.thresholds
    sure = np.count_nonzero(saved > 0) >= lines.probability.value * len(saved)
    return bool(sure and np.median(saved) >= lines.saving.value)


# ---- where the answer flips


def test_beside_a_flip_the_lines_are_met_on_the_side_it_names_and_missed_on_the_other(
    priced, flips
):
    study, offers = priced
    found = flips[flips["flips_at"].notna()]
    assert len(found) >= 8
    assert set(found["passes_now"]) == {True, False}
    for row in found.to_dict("records"):
        place = row["workload"], row["route"]
        names = one_figure(study, offers, *place, row["input"])
        below, above = (
            meets_both_lines(
                study,
                savings_at(priced, *place, dict.fromkeys(names, row["flips_at"] * (1 + step))),
            )
            for step in (-0.005, 0.005)
        )
        assert (below, above) == (row["direction"] == "below", row["direction"] == "above"), row


def test_an_input_with_one_flip_passes_at_todays_value_only_on_the_side_that_passes(priced, flips):
    study, offers = priced
    asked = 0
    for (name, route, key), rows in flips.groupby(["workload", "route", "input"]):
        row = rows.iloc[0]
        held = dict.fromkeys(one_figure(study, offers, name, route, key), row["value_now"])
        passes = meets_both_lines(study, savings_at(priced, name, route, held))
        if len(rows) == 1 and pd.notna(row["flips_at"]):
            asked += 1
            is_above = row["value_now"] > row["flips_at"]
            assert passes == (is_above == (row["direction"] == "above")), (name, route, key)
    assert asked >= 8


def test_a_move_passes_now_where_its_saving_meets_both_lines(default, flips):
    study = default.case.study
    lines = study.thresholds
    told = set()
    for row in default.results[CROSSOVER]["savings"]:
        mine = flips[(flips["workload"] == row["workload"]) & (flips["route"] == row["route"])]
        clear = abs(row["p_cheaper"] - lines.probability.value) > 0.06
        if len(mine) and clear:
            enough = row["saving_p50_usd"] >= lines.saving.value
            expected = enough and row["p_cheaper"] >= lines.probability.value
            assert set(mine["passes_now"]) == {expected}
            told.add(expected)
    assert told == {True, False}


def test_every_flip_is_asked_of_the_best_move_and_the_best_self_hosted_one(default, flips):
    savings = in_order(default)
    own = savings[savings["arm"] == "self_hosted"]
    best = pd.concat([table.groupby("workload").head(1) for table in (savings, own)])
    expected = set(zip(best["workload"], best["route"], strict=True))
    assert set(zip(flips["workload"], flips["route"], strict=True)) == expected


# ---- one figure under two names


def test_the_cost_of_changing_api_is_one_figure_whether_chosen_or_forced(priced):
    study, offers = priced
    found = pair_inputs(study, offers, "support-chat", LUNA)
    assert drivers._aliases(found) == {"migration_proprietary_api": "moving_cost"}
    assert found["moving_cost"][1] == found["migration_proprietary_api"][1]
    inputs = drivers._ranked(study, offers, "support-chat", LUNA).inputs["input"].tolist()
    assert "moving_cost" in inputs
    assert "migration_proprietary_api" not in inputs


def test_two_figures_that_only_look_alike_stay_two(priced):
    study, offers = priced
    found = pair_inputs(study, offers, "support-chat", FLEET)
    assert drivers._aliases(found) == {}
    one = replace(found["fte"][1], name="")
    alike = {"a": ("x.a", one), "b": ("x.b", one), "c": ("x.a", one)}
    assert drivers._aliases(alike) == {"c": "a"}


def test_inputs_that_are_one_figure_move_together(priced, monkeypatch):
    """Held apart, the second name would keep its draws, and the saving would be another."""
    study, offers = priced
    searched, saving, seen = {}, bills.move_saving, []

    def searching(_figures, draws, margin, _bounds):
        searched.update(draws=draws, margin=margin)
        return pd.DataFrame()

    def watched(*move):
        saving_usd = saving(*move)
        return lambda draws: (seen.append(draws), saving_usd(draws))[1]

    monkeypatch.setattr(crossover, "solve_thresholds", searching)
    monkeypatch.setattr(bills, "move_saving", watched)
    drivers._flips(study, offers, "support-chat", LUNA, pd.DataFrame({"input": ["moving_cost"]}))
    cost = np.full(drivers.N_FLIPS, 200e3)
    passes = searched["margin"]({**searched["draws"], "moving_cost": cost}) >= 0
    assert (seen[-1]["migration_proprietary_api"] == cost).all()
    held = {"moving_cost": 200e3, "migration_proprietary_api": 200e3}
    saved, lines = savings_at(priced, "support-chat", LUNA, held), study.thresholds
    sure = (saved > 0).mean() >= lines.probability.value
    assert passes == (sure and np.median(saved) >= lines.saving.value)


def test_no_ranking_names_one_figure_twice(default, priced):
    study, offers = priced
    crossing = default.results[CROSSOVER]
    ranked = [
        (r["workload"], r["route"], [i["input"] for i in r["inputs"]])
        for r in [*crossing["sensitivity"], *crossing["never"]]
    ]
    pawn = pd.DataFrame(crossing["pawn"]).groupby(["workload", "route"])["input"].agg(list)
    ranked += [(*place, names) for place, names in pawn.items()]
    assert len(ranked) == 4 + 3 + 2
    for name, route, names in ranked:
        found = pair_inputs(study, offers, name, route)
        places = [found[k][1].name or found[k][0] for k in names if k in found]
        assert len(set(places)) == len(places)
        assert len(set(names)) == len(names)


# ---- which inputs decide


@pytest.mark.parametrize(
    ("name", "route"), [("extraction", LUNA), ("extraction", HOSTED), ("extraction", FLEET)]
)
def test_inputs_that_are_left_out_of_the_rankings_cannot_change_the_saving(priced, name, route):
    study, offers = priced
    used = drivers._used(study, name, route)
    left_out = set(pair_inputs(study, offers, name, route)) - used - set(simulate.PATH_INPUTS)
    assert left_out
    base = savings_at(priced, name, route, {})
    # the plan's dates are certain: they move the saving, and nothing ranks them
    for key in left_out - {
        "today_tokenizer",
        "today_output_tokens_ratio",
        simulate.START,
        simulate.CANARY,
    }:
        assert savings_at(priced, name, route, {key: 0.77}) == pytest.approx(base), key


@pytest.mark.parametrize("name", ["default", "source_memo"])
def test_the_base_of_the_swings_lies_inside_each_of_them(assessed, name):
    found = assessed(name)
    for row in found.results[CROSSOVER]["sensitivity"]:
        savings = in_order(found)
        best = savings[savings["workload"] == row["workload"]].iloc[0]
        assert best["route"] == row["route"]
        for one in row["inputs"]:
            low, high = sorted((one["low_usd"], one["high_usd"]))
            assert low - 1e-6 <= row["base_usd"] <= high + 1e-6, one["input"]


def test_where_one_input_alone_varies_it_explains_everything(priced, monkeypatch):
    study, offers = priced
    found = {
        key: (path, figure if key == "requests" else certain(figure, figure.value))
        for key, (path, figure) in pair_inputs(study, offers, "extraction", LUNA).items()
    }
    monkeypatch.setattr(drivers, "pair_inputs", lambda *_: found)
    table = drivers._ranked(study, offers, "extraction", LUNA).inputs
    assert table["input"].tolist() == ["requests"]
    assert table["first_order"][0] == pytest.approx(1.0, abs=0.02)
    assert table["total_effect"][0] == pytest.approx(1.0, abs=0.02)


def test_pawn_reads_each_saving_beside_the_inputs_it_came_from(priced):
    study, offers = priced
    inputs, paths = drivers._draws_and_paths(study, offers, "extraction", LUNA, 500)
    saved = portfolio_saving(study, offers, {"extraction": LUNA})[:500]
    assert spearmanr(inputs["requests"], saved).statistic > 0.25
    shuffled = np.roll(inputs["requests"], 1)
    assert abs(spearmanr(shuffled, saved).statistic) < 0.15
    assert set(paths) == {"jumps of the proprietary price", "scatter of the volume"}


def test_a_path_that_no_route_of_the_move_follows_is_not_ranked(priced):
    study, offers = priced
    of_fleet = drivers._draws_and_paths(study, offers, "extraction", FLEET, 50)[1]
    assert set(of_fleet) == {
        "jumps of the proprietary price",
        "path of GPU rents",
        "scatter of the volume",
    }
    of_host = drivers._draws_and_paths(study, offers, "extraction", HOSTED, 50)[1]
    assert set(of_host) == {"jumps of the proprietary price", "scatter of the volume"}


def test_the_ranking_of_never_is_of_the_same_chance_as_the_savings_tell(default):
    rows = default.results[CROSSOVER]["never"]
    assert len(rows) == 3
    for row in rows:
        saving = default.row(CROSSOVER, "savings", workload=row["workload"], route=row["route"])
        assert row["p_never"]["estimate"] == pytest.approx(saving["p_never_pays"])
        assert row["p_never"]["low"] <= saving["p_never_pays"] <= row["p_never"]["high"]
        assert bool(row["inputs"]) == (row["reason"] == "")


def test_pawn_is_asked_of_the_move_that_saves_most_and_of_the_best_fleet(default):
    savings = in_order(default)
    own = savings[savings["arm"] == "self_hosted"]
    expected = {(t.iloc[0]["workload"], t.iloc[0]["route"]) for t in (savings, own)}
    rows = default.results[CROSSOVER]["pawn"]
    assert {(r["workload"], r["route"]) for r in rows} == expected
    assert all(0 <= r["low"] <= r["pawn"] <= r["high"] <= 1 for r in rows)


# ---- chances by volume and margin


def test_at_todays_steady_volume_and_any_margin_the_chance_is_that_of_being_cheaper(
    priced, monkeypatch
):
    study, offers = priced
    offers = replace(offers, starts={})  # begun now, so that both chances are open
    workload = study.workloads["classification"]
    requests = workload.intake.requests
    steady = with_workload(
        study,
        "classification",
        growth=certain(workload.growth, 0.0),
        volatility=certain(workload.volatility, 0.0),
        intake=workload.intake.model_copy(update={"requests": certain(requests, requests.value)}),
    )
    brief = study.routes[LUNA].model_copy(update={"reasoning": "no"})  # else it never pays
    steady = steady.model_copy(update={"routes": {**study.routes, LUNA: brief}})
    monkeypatch.setattr(drivers, "VOLUMES", np.array([1.0]))
    monkeypatch.setattr(drivers, "MARGINS", (1.0,))
    table = pd.DataFrame(
        [("classification", "groq-llama-3.1-8b"), ("classification", LUNA)],
        columns=["workload", "route"],
    )
    savings = savings_table(steady, move_futures(steady, offers, table))
    assert savings["p_cheaper"].between(0.01, 0.99).all()
    for row in savings.to_dict("records"):
        [found] = drivers._chances(steady, offers, "classification", row["route"])
        p = row["p_cheaper"]
        error = np.sqrt(p * (1 - p) * (1 / drivers.N_FLIPS + 1 / N_DRAWS))
        assert found["p_cheaper"] == pytest.approx(p, abs=3 * error)
        assert found["requests_per_month"] == requests.value


def test_a_wider_margin_never_lowers_a_chance_and_none_exceeds_that_of_the_widest(default):
    chances = pd.DataFrame(default.results[CROSSOVER]["chances"])
    assert len(chances) == 7 * len(drivers.VOLUMES) * len(drivers.MARGINS)
    ordered = chances.sort_values("quality_margin").groupby(
        ["workload", "route", "requests_per_month"]
    )["p_cheaper"]
    assert ordered.agg(lambda p: p.is_monotonic_increasing).all()
    assert chances["p_cheaper"].between(0, 1).all()


def test_fewer_requests_than_a_replica_carries_make_no_fleet_cheaper(default):
    chances = pd.DataFrame(default.results[CROSSOVER]["chances"])
    fleets = chances[chances["route"].str.startswith("h200")]
    least = fleets.groupby("workload")["requests_per_month"].transform("min")
    assert (fleets.loc[fleets["requests_per_month"] == least, "p_cheaper"] == 0).all()
    assert fleets["p_cheaper"].max() > 0.5


# ---- are there draws enough?


def test_convergence_ends_at_the_chance_of_the_move_that_is_least_sure(default):
    rows = default.results[CROSSOVER]["convergence"]
    savings = pd.DataFrame(default.results[CROSSOVER]["savings"])
    asked = pd.DataFrame(default.results[CROSSOVER]["flips"])[["workload", "route"]]
    asked = asked.drop_duplicates().merge(savings, on=["workload", "route"])
    least = asked.loc[(asked["p_cheaper"] - 0.5).abs().idxmin()]
    assert (rows[-1]["workload"], rows[-1]["route"]) == (least["workload"], least["route"])
    assert rows[-1]["n"] == N_DRAWS
    assert rows[-1]["estimate"] == pytest.approx(least["p_cheaper"])
    widths = [row["high"] - row["low"] for row in rows]
    assert all(after < 1.1 * before for before, after in pairwise(widths))
    assert widths[-1] < widths[0] / 3


def test_without_moves_every_table_is_empty(priced):
    study, offers = priced
    tables = drivers.driver_tables(study, offers, {}, savings_table(study, {}))
    assert tables == {key: [] for key in tables}
    assert len(tables) == 6

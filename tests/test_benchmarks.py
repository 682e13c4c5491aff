"""The arithmetic of benchmarks/; its runs are timed and are no tests."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from llmstudy import read_log
from llmstudy.evidence.offers import FleetOffer
from llmstudy.figure import Figure
from llmstudy.measures import cost
from llmstudy.measures.capacity import (
    fit_groups,
    fit_serving_curve,
    gpu,
    model_shape,
    serving_points,
    throughput_error_share,
)
from llmstudy.measures.capacity.replay import Requests, engine, fleet, replay
from llmstudy.measures.cost import TokenPrice
from llmstudy.measures.quality import look_share
from llmstudy.probe.run import Run, Sample, table
from llmstudy.simulate.inputs import Market
from llmstudy.study import load

FOLDER = Path(__file__).parents[1] / "benchmarks"


def opened(path, name):
    """A benchmark as a module; those of benchmarks/capacity find `clock` beside them."""
    spec = importlib.util.spec_from_file_location(name, FOLDER / path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend((FOLDER / path).parent)
        spec.loader.exec_module(module)
    return module


# ---- probe.py


@pytest.fixture(scope="module")
def bench():
    return opened("probe.py", "probe_benchmark")


def truth_and_samples(bench, late_s, mean_only=False):
    """Ten requests at a server, and a client that sees each chunk `late_s` after it was sent."""
    cell = bench.Cell(streams=1, n=10, tokens=3, ttft_ms=100, itl_ms=50)
    truth, samples = [], []
    for i in range(cell.n):
        sent = [i + 0.1, i + 0.15, i + 0.2 + 0.01 * i]
        truth.append({"received_s": float(i), "sent_s": sent, "intended_s": sent})
        seen = [at + late_s for at in sent]
        if mean_only:
            seen[1] = float("nan")
        samples.append(Sample(i, "measure", i, i, content_times_s=seen, ok=True, output_tokens=3))
    check = {"received_s": -5.0, "sent_s": [-4.0], "intended_s": [-4.0]}
    ended = {"ended": "complete"}
    return cell, [row | ended for row in [*truth, check]], Run(table(samples), {})


@pytest.mark.parametrize("mean_only", [False, True])
def test_a_constant_delay_shows_in_ttft_and_not_in_itl(bench, mean_only):
    cell, truth, run = truth_and_samples(bench, late_s=0.004, mean_only=mean_only)
    found = bench.figures(run, truth, cell)
    for percentile in ("p50", "p99"):
        assert found["ttft"][percentile]["error_ms"] == pytest.approx(4)
        assert found["itl"][percentile]["error_ms"] == pytest.approx(0, abs=1e-6)
    assert found["ttft"]["p50"]["error_share"] == pytest.approx(0.04)
    assert found["itl"]["of"] == ("requests" if mean_only else "chunks")
    assert found["before_the_load"] == 1
    assert not found["void"]


def test_a_server_that_is_late_itself_voids_the_cell(bench):
    cell, truth, run = truth_and_samples(bench, late_s=0.0)
    for row in truth:
        row["intended_s"] = [at - 0.003 for at in row["sent_s"]]  # 6 % of the 50 ms gap
    assert bench.figures(run, truth, cell)["void"]


def test_start_up_is_taken_off_and_void_runs_do_not_count(bench):
    cell, truth, run = truth_and_samples(bench, late_s=0.002)
    base = {"tool": "llmstudy", "repeat": 0, "wall_s": 1.0}
    one = base | {"cell": "one request", "cpu_s": 2.0}
    valid = base | {"cell": cell.name, "cpu_s": 2.9} | bench.figures(run, truth, cell)
    void = valid | {"void": True, "cpu_s": 99.0}
    (entry,) = bench.summary(bench.table([one, valid, void]))
    assert entry["valid"] == 1
    assert entry["cpu_s"] == pytest.approx([290, 290, 290])
    assert entry["net_cpu_s"] == pytest.approx([100, 100, 100])


def test_a_command_costs_what_its_children_cost_too(bench, tmp_path):
    bench.adopt_orphans()
    burn = "import time\nwhile time.process_time() < 0.4: pass"
    orphan = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {burn!r}])"
    cost = bench.run_command([sys.executable, "-c", orphan], {}, tmp_path / "log.txt")
    assert 0.4 <= cost.cpu_s < 1.5


def test_a_command_that_fails_says_what_it_said(bench, tmp_path):
    with pytest.raises(RuntimeError, match="no such model"):
        bench.run_command(
            [sys.executable, "-c", "raise SystemExit('no such model')"], {}, tmp_path / "log.txt"
        )


def test_poisson_arrivals_pass_and_repeated_gaps_do_not(bench):
    rng = np.random.default_rng(3)
    gaps_s = rng.exponential(1 / 20, size=400)
    fair = [{"received_s": at} for at in np.cumsum(gaps_s)]
    repeated = [{"received_s": at} for at in np.cumsum(np.repeat(gaps_s[:40], 10))]
    assert bench.arrivals(fair, 20.0)["ks_p"] > 0.05
    assert bench.arrivals(repeated, 20.0)["gap_lag1"] > 0.7


def test_no_run_gives_no_figures(bench):
    assert bench.spread(pd.Series([], dtype=float)) is None


# ---- looks.py


@pytest.mark.parametrize("first_items", [None, 100])
def test_items_judged_and_extended_as_asked_up_to_five_times_pass_falsely_in_five_percent(
    first_items,
):
    """A small cut of benchmarks/looks.py: 20,000 runs there give 3.9 % for both."""
    looks = opened("looks.py", "looks_benchmark")
    runs = {"discordance": 0.27, "margin": 0.05, "n_runs": 1_500, "first_items": first_items}

    def passed(difference, share):
        found, _ = looks.passed_at(difference, share=share, rng=np.random.default_rng(7), **runs)
        return (found > 0).mean()

    assert passed(-0.05, look_share) <= 0.05
    assert passed(-0.05, lambda k: 1.0) > 0.12  # what a whole alpha at each look comes to
    assert passed(0.0, look_share) > 0.98


# ---- families.py


def test_a_memo_claims_falsely_in_five_percent_of_studies_however_many_candidates_it_claims():
    """A small cut of benchmarks/families.py."""
    families = opened("families.py", "families_benchmark")
    scored, sequence = (
        families.RULES[name][0] for name in ("Holm over the scored", "fixed sequence")
    )
    items, all_lose = families.items_planned(1), np.ones(families.SCORED)
    found = families.chances(scored, all_lose, items, 1_500, seed=7)
    assert found["any_memo"] <= 0.05
    # where the first is worse, those after it may still pass, and in a sequence may not
    first_loses = np.eye(families.SCORED)[0]
    assert families.chances(scored, first_loses, items, 300, seed=7)["each"] > 0.5
    assert families.chances(sequence, first_loses, items, 300, seed=7)["each"] < 0.05
    # half as many items again for claims that nobody makes
    every = families.RULES["Holm over all candidates"][1]
    assert families.items_planned(every) > 1.5 * items


# ---- capacity: replay


def test_simpy_ends_each_request_when_the_replay_does():
    simpy_bench = opened("capacity/replay_simpy.py", "replay_benchmark")
    card, model = "h200_sxm", simpy_bench.MODEL
    points = serving_points(model, card, "fp8")
    curve = fit_serving_curve(points, model_shape(model), gpu(card), "fp8")
    of = engine(curve, 2, 64)
    requests = simpy_bench._traffic(curve, 2, 3.0, 60)
    lists = Requests(*(x.tolist() for x in requests))
    theirs = simpy_bench.simpy_replay(lists, of, 2)
    assert theirs == pytest.approx(replay(requests, of, fleet(2)).finish_s, abs=1e-6)


# ---- capacity: serving


@pytest.fixture(scope="module")
def serving():
    return opened("capacity/serving.py", "serving_benchmark")


@pytest.fixture(scope="module")
def points():
    kimi = serving_points("moonshotai/Kimi-K2.5", "b200_sxm", "fp4")
    qwen = serving_points("Qwen/Qwen3-235B-A22B-FP8", "h200_sxm")
    return pd.concat([kimi, qwen], ignore_index=True)


@pytest.fixture(scope="module")
def groups(serving, points):
    return serving.fitted_groups(points, seed=0)


def test_the_points_compared_are_those_that_the_judge_holds_out(serving, points, groups):
    judged = {g.model: g for g in fit_groups(points, serving.N_FIT, seed=0, random_choices=1)[0]}
    assert len(groups) == len(judged) == 2
    for group in groups:
        known = judged[group.key["model"]]
        errors = throughput_error_share(group.curve, group.heldout)
        assert len(errors) == known.n_heldout
        assert np.median(errors) == pytest.approx(known.median_abs_error_share)
        assert len(group.fitted) == serving.N_FIT
        assert not set(group.fitted["point_id"]) & set(group.heldout["point_id"])
        assert group.heldout["point_id"].is_unique


def test_points_whose_gpus_are_read_in_two_ways_are_not_compared(serving, groups):
    qwen, kimi = sorted(groups, key=lambda g: g.key["model"])
    assert serving.comparable(qwen, qwen.heldout).empty
    kept = serving.comparable(kimi, kimi.heldout)
    assert 0 < len(kept) < len(kimi.heldout)
    assert (kept["attention_dp"] == 1).all()


def test_both_are_judged_by_the_same_arithmetic(serving, groups):
    curve, points = groups[0].curve, groups[0].heldout
    where = [points[name].to_numpy(dtype=float) for name in serving.SETTING]
    found = serving.throughput_error_of(points, 1e3 * curve.tpot_s(*where))
    assert found == pytest.approx(throughput_error_share(curve, points))


def test_a_peer_that_is_off_by_a_factor_is_right_once_scaled(serving, groups):
    points, fitted = groups[0].heldout, groups[0].fitted
    known = pd.concat([points, fitted])
    said = pd.DataFrame({"point_id": known["point_id"], "modes": "sample", "problem": ""})
    said["tpot_ms"] = 1.5 * known["tpot_ms"]
    silent = said.assign(modes="checkpoint", tpot_ms=np.nan, problem="no table")
    plain, scaled, problem = serving.peer_errors(points, fitted, pd.concat([said, silent]))
    assert plain.keys() == scaled.keys() == {"sample"}
    assert (plain["sample"] > 0.25).all()
    assert scaled["sample"] == pytest.approx(0, abs=1e-9)
    assert problem == "no table"


def test_aiconfigurator_is_asked_what_its_sample_says(monkeypatch):
    asked = []

    def cli_estimate(model, system, **settings):
        asked.append((model, system, settings))
        if settings["batch_size"] > 64:
            raise ValueError("no table")
        return SimpleNamespace(tpot=7.5)

    api = ModuleType("aiconfigurator.cli.api")
    api.cli_estimate = cli_estimate
    for name in ("aiconfigurator_core", "aiconfigurator", "aiconfigurator.cli"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, api.__name__, api)
    peer = opened("capacity/aiconfigurator_points.py", "aiconfigurator_points")
    row = dict.fromkeys(["tp_size", "moe_tp_size"], "4.0") | {
        "id": "p", "model_path": "meta-llama/Llama-3.1-70B", "system": "h200_sxm", "isl": "1024",
        "osl": "512", "batch_size": "64", "attention_dp_size": "", "moe_ep_size": "1.0",
        "gemm_quant_mode": "fp8", "moe_quant_mode": "",
    }  # fmt: skip
    assert peer.foretold(row, "sample")["tpot_ms"] == 7.5
    assert peer.foretold(row | {"batch_size": "65"}, "checkpoint")["problem"].endswith("no table")
    (model, system, settings), (_, _, bare) = asked
    assert (model, system) == ("meta-llama/Meta-Llama-3.1-70B", "h200_sxm")
    assert settings | {"batch_size": 65} == bare | {"gemm_quant_mode": "fp8"}
    assert settings == {
        "backend_name": "vllm", "isl": 1024, "osl": 512, "batch_size": 64, "tp_size": 4,
        "attention_dp_size": 1, "moe_tp_size": 4, "moe_ep_size": 1, "gemm_quant_mode": "fp8",
    }  # fmt: skip


# ---- capacity: Monte Carlo


@pytest.fixture(scope="module")
def montecarlo():
    return opened("capacity/montecarlo.py", "montecarlo_benchmark")


@pytest.fixture(scope="module")
def moves(montecarlo):
    """Two moves of the default study at prices of our own, since pricing it takes long."""
    study = load("params/default.yaml")
    current = study.workloads["extraction"].current_route
    dear = TokenPrice("proprietary_api", 0.003, 0.0015, 0.002, 1155, 211, (1.0, 1.2), 0.003)
    cheap = replace(dear, arm="hosted_open", uncached_input_usd=0.0009, month_factors=(1.0,))
    cheap = replace(cheap, context_factors=((0.5, 1.0, 1.0), (1.0, 1.1, 1.0), (2.0, 1.7, 1.3)))
    figures = (Figure("", 1, "factor", 0.7, 1.2, "triangular"), Figure("", 3.5, "USD", 2, 5))
    own = FleetOffer(
        cost.Fleet(
            4.0,
            1155,
            211,
            -0.8,
            -0.3,
            gpus_per_replica=2,
            spare=1,
            reserved_share=0.6,
            reserved_price_share=0.7,
            cached_factors=((0.0, 1.0), (0.5, 1.4)),
        ),
        *figures,
        Figure("", 0.6, "share", 0.5, 0.8, "triangular"),
    )
    routes = ("novita-llama-3.1-70b", "h200-llama-3.1-70b")
    offers = Market(
        {("extraction", current): dear, ("extraction", routes[0]): cheap},
        {("extraction", routes[1]): own},
    )
    return montecarlo.Moves(study, offers, {"extraction": routes})


@pytest.mark.parametrize("months", [3, 26])
def test_the_loop_over_draws_adds_up_to_what_the_monte_carlo_saves(montecarlo, moves, months):
    assert montecarlo.largest_difference(moves, months, 12) < 1e-12
    # and on the dates of a plan
    hosted, own = (("extraction", route) for route in moves.routes["extraction"])
    offers = replace(moves.offers, starts={hosted: (1.0, 0.4), own: (2.25, 0.3)})
    assert montecarlo.largest_difference(replace(moves, offers=offers), months, 12) < 1e-12


def test_savings_of_a_block_are_one_row_per_draw_and_one_column_per_move(montecarlo, moves):
    found = montecarlo.savings(moves, 26, moves.study.seed, 12)
    (loop,) = montecarlo.loops(moves, 26, 12).values()
    expected = np.array(list(loop().values()))[:, :, -1].T
    assert found == pytest.approx(expected)
    assert not np.allclose(found, montecarlo.savings(moves, 26, 1, 12))


def test_slopes_are_the_exponents_of_a_power_law(montecarlo):
    rows = [
        {"draws": n, "months": m, "cpu_s": 1e-6 * n * m**0.5, "peak_mb": 3.0 * n**2}
        for n in (10, 100)
        for m in (12, 60)
    ]
    (found,) = montecarlo.slopes(rows)
    exponents = [found[f"{x}_in_{y}"] for x in ("cpu_s", "peak_mb") for y in ("draws", "months")]
    assert exponents == pytest.approx([1, 0.5, 2, 0])


# ---- requests


def test_a_generated_log_is_canonical_and_sums_up_alike_by_hand(tmp_path):
    bench = opened("requests/__main__.py", "requests_benchmark")
    bench.generate(tmp_path, 2_000, rows_a_file=1_500)
    files = f"{tmp_path}/*.parquet"
    assert len(list(tmp_path.iterdir())) == 2
    groups = {name: step(files) for name, step in bench.STEPS.items() if name != "scan"}
    assert len(set(groups.values())) == 1
    assert bench.scan(files) == 1


def test_a_generated_litellm_log_is_one_of_two_kilobytes_a_row_and_is_read_whole(tmp_path):
    bench = opened("requests/__main__.py", "requests_benchmark")
    file, rows = tmp_path / "litellm.jsonl", 1_500
    bench.generate_jsonl(file, rows)
    assert 1_800 < file.stat().st_size / rows < 2_200
    log = read_log(file)
    assert log.format == "LiteLLM, StandardLoggingPayload"
    assert log.quarantined.empty
    assert log.accepted["output_tokens"].sum() == sum(i % 700 + 1 for i in range(rows))
    assert (~log.accepted["ok"]).sum() == rows / 50

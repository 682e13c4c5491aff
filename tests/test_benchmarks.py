"""The arithmetic of benchmarks/probe.py; its runs are timed and are no tests."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from llmstudy.probe.samples import Run, Sample, table

FILE = Path(__file__).parents[1] / "benchmarks" / "probe.py"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("probe_benchmark", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


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

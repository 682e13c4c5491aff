"""How often does each check by chance refuse an honest run, and how often does it find its fault?

`python tests/probe/test_probe_audit_rates.py 20000` prints the table of all of them at the numbers
of requests that `llmstudy probe plan` recommends; the tests are a small cut of it.
"""

import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from llmstudy.probe import audit
from llmstudy.probe.compare import Spread, plan

RATE, SHAPE = 5.0, 0.5


def gaps(process, rng, n, shape=SHAPE):
    shapes = {"poisson": 1.0, "gamma": shape}
    if process == "constant":
        return np.full(n, 1 / RATE)
    return rng.gamma(shapes[process], 1 / (RATE * shapes[process]), n)


def half_the_rate(process, rng, n):
    return 2 * gaps(process, rng, n)


def half_the_shape(process, rng, n):
    shape = {"poisson": 1.0, "gamma": SHAPE}[process] / 2
    return gaps("gamma", rng, n, shape)


def faster_in_the_second_half(process, rng, n):
    return gaps(process, rng, n) / np.where(np.arange(n) < n / 2, 1, 3)


def two_workers_of_one_seed(process, rng, n):
    twice = np.repeat(gaps(process, rng, n // 2 + 1), 2)[:n]
    return twice + rng.uniform(0, 1e-5, n)  # sent a little apart


def ten_workers_of_one_seed(process, rng, n):
    return np.repeat(gaps(process, rng, n // 10 + 1), 10)[:n]


def poisson_sold_as_constant(process, rng, n):
    return gaps("poisson", rng, n)


FAULTS = {
    "rate_asked": half_the_rate,
    "gaps": half_the_shape,
    "dispersion": faster_in_the_second_half,
    "lag1": two_workers_of_one_seed,
    "repeated_gaps": ten_workers_of_one_seed,
}
ARRIVALS = [(check, process) for check in FAULTS for process in ("poisson", "gamma")]


def status(check, process, drawn, rng):
    """What a check says of a run with these gaps, sent by an honest client."""
    scheduled = np.cumsum(drawn)
    load = {"process": process, "rate_per_s": RATE, "burstiness": SHAPE}
    run = SimpleNamespace(
        process=process,
        load=load,
        open=True,
        has_send_times=True,
        scheduled_s=scheduled,
        dispatched_s=np.sort(scheduled + rng.exponential(5e-4, len(scheduled))),
    )
    rule = audit.LIMITS[check]
    found = audit._CHECKS[check](run)
    return audit._status(found, rule.limit if found.limit is None else found.limit, rule)


def shares(check, process, make, n, runs, seed=1):
    """Share of runs of n requests that a check fails, and share that it passes."""
    rng = np.random.default_rng([seed, n])
    seen = [status(check, process, make(process, rng, n), rng) for _ in range(runs)]
    return seen.count("failed") / runs, seen.count("passed") / runs


# ---- drift: latencies of a server that queues


def waits(at, took):
    walk = np.concatenate([[0.0], np.cumsum(took[:-1] - np.diff(at))])
    return walk - np.minimum.accumulate(walk)


def of_a_queue(process, utilisation):
    """Latencies of a queue with one server, exponential service and these arrivals."""

    def draw(rng, n):
        total = n + 2_000
        at = np.cumsum(gaps(process, rng, total))
        took = rng.exponential(utilisation / RATE, total)
        return (waits(at, took) + took)[-n:]

    return draw


def independent(rng, n):
    return rng.lognormal(-1.5, 0.3, n)


def slow_at_first(rng, n):
    return np.where(np.arange(n) < n // 4, 1.5, 1.0) * independent(rng, n)


def drift_shares(draw, n, runs, seed=1):
    rng = np.random.default_rng([seed, n])
    slowest = audit.SLOWER_FIRST["open"]
    rule = audit.LIMITS["drift"]
    found = [audit._drift_of(pd.Series(draw(rng, n)), "ttft_s", slowest) for _ in range(runs)]
    seen = [audit._status(one, rule.limit, rule) for one in found]
    return seen.count("failed") / runs, seen.count("passed") / runs


QUEUES = {"no queue": independent} | {
    f"{process} at {utilisation:.0%}": of_a_queue(process, utilisation)
    for process in ("poisson", "gamma", "constant")
    for utilisation in (0.5, 0.7, 0.8, 0.9)
}


# ---- a small cut


def at_most(runs):
    """Refusals that an honest check passes in 9,999 of 10,000 such tests."""
    return binom.ppf(0.9999, runs, audit.CHANCE)


@pytest.mark.parametrize(("check", "process"), ARRIVALS)
@pytest.mark.parametrize("n", [7, 20, 29, 72, 247])
def test_an_honest_run_is_refused_once_in_a_thousand_whatever_its_length(check, process, n):
    runs = 500
    failed, _ = shares(check, process, gaps, n, runs)
    assert failed * runs <= at_most(runs)


@pytest.mark.parametrize("n", [7, 20, 72, 247])
@pytest.mark.parametrize("check", ["rate", "gap_spread"])
def test_honest_constant_arrivals_are_not_refused(check, n):
    assert shares(check, "constant", gaps, n, 300)[0] == 0


@pytest.mark.parametrize(("check", "process"), ARRIVALS)
@pytest.mark.parametrize("n", [7, 20, 72, 120, 247, 400])
def test_a_check_finds_its_fault_or_does_not_pass_the_run(check, process, n):
    failed, passed = shares(check, process, FAULTS[check], n, 200)
    assert failed >= 0.85 or passed == 0
    assert failed >= 0.85 or n < 400


@pytest.mark.parametrize("n", [7, 12, 72])
def test_poisson_sold_as_constant_is_found_or_not_passed(n):
    failed, passed = shares("gap_spread", "constant", poisson_sold_as_constant, n, 200)
    assert failed >= 0.95
    assert passed < 0.05


@pytest.mark.parametrize("queue", QUEUES)
@pytest.mark.parametrize("n", [80, 247, 400])
def test_a_queue_is_hardly_ever_taken_for_a_warm_up(queue, n):
    runs = 150
    failed, _ = drift_shares(QUEUES[queue], n, runs)
    assert failed * runs <= at_most(runs)


@pytest.mark.parametrize("n", [80, 150, 247, 800])
def test_a_slow_first_quarter_is_found_or_not_passed(n):
    failed, passed = drift_shares(slow_at_first, n, 100)
    assert failed >= 0.9 or passed == 0
    assert failed >= 0.9 or n < 247


@pytest.mark.parametrize(("check", "process"), ARRIVALS)
def test_a_late_timer_at_a_high_rate_is_no_fault(check, process, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "RATE", 200.0)
    failed, _ = shares(check, process, gaps, 400, 500)
    assert failed * 500 <= at_most(500)


# ---- the table


def recommended():
    """Requests that the plan recommends, by default and for a server whose requests do not wait."""
    tables = [plan(), plan(Spread(log_sd=0.5, dependence=1.0))]
    numbers = {int(n) for table in tables for n in table["requests"]}
    return sorted(n for n in numbers if n <= 2_500)


def main(runs):
    """Prints each check's share of false alarms, and of its fault what it fails and passes."""
    row = "{:14} {:18} {:>6} {:>12} {:>8} {:>8}"
    print(row.format("check", "arrivals", "n", "false alarms", "found", "passed"), flush=True)
    for check, process in [*ARRIVALS, ("gap_spread", "constant")]:
        fault = FAULTS.get(check, poisson_sold_as_constant)
        for n in recommended():
            false, _ = shares(check, process, gaps, n, runs)
            found, passed = shares(check, process, fault, n, max(runs // 20, 200))
            cells = (check, process, n, f"{false:.5f}", f"{found:.3f}", f"{passed:.3f}")
            print(row.format(*cells), flush=True)
    for n in recommended():
        if n < 80:
            continue
        found, passed = drift_shares(slow_at_first, n, max(runs // 20, 200))
        for name, draw in QUEUES.items():
            false, _ = drift_shares(draw, n, runs // 4)
            cells = ("drift", name, n, f"{false:.5f}", f"{found:.3f}", f"{passed:.3f}")
            print(row.format(*cells), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))

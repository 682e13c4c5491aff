import numpy as np
import pandas as pd
import pytest
from scipy.signal import lfilter

from llmstudy.measures.latency import quantile_interval
from llmstudy.probe.compare import Spread, block_length, compare, pilot_spread, plan
from llmstudy.probe.run import COLUMNS, Run


def run_of(ttft, ok=True, **columns):
    """A run of one request each 0.2 s."""
    at = np.arange(len(ttft)) / 5
    frame = pd.DataFrame(
        {
            "index": np.arange(len(ttft)),
            "phase": "measure",
            "scheduled_s": at,
            "dispatched_s": at,
            "content_times_s": [[t, t + 0.1, t + 0.25] for t in at + ttft],
            "ok": ok,
        }
    )
    return Run(frame.assign(**columns).reindex(columns=COLUMNS), {"load": {"process": "constant"}})


def noise(rng, n, lag1=0.0):
    shocks = rng.standard_normal(n + 100)
    return lfilter([np.sqrt(1 - lag1**2)], [1, -lag1], shocks)[100:]


def pair(rng, n, ratio=1.0, lag1=0.0, prompt=0.4, own=0.3):
    """Runs of the same prompts, each with noise of its own."""
    shared = prompt * rng.standard_normal(n)
    a, b = (np.exp(shared + own * noise(rng, n, lag1)) for _ in range(2))
    return run_of(a), run_of(ratio * b)


def share(verdicts, *which):
    return np.mean([v in which for v in verdicts])


# ---- verdicts


def test_equal_endpoints_are_told_apart_about_as_seldom_as_the_level_says():
    # 240 comparisons: 1 in 20 is 12, and chance alone may make it 21
    rng = np.random.default_rng(7)
    verdicts = [
        compare(*pair(rng, n, lag1=lag1), "ttft", percentile).verdict
        for n, lag1, percentile in ((300, 0.0, "p50"), (300, 0.0, "p95"), (600, 0.7, "p50"))
        for _ in range(80)
    ]
    assert share(verdicts, "better", "worse") <= 21 / 240


def test_a_run_against_itself_is_undecided():
    a, _ = pair(np.random.default_rng(7), 200)
    found = compare(a, a)
    assert (found.ratio, found.low, found.high, found.verdict) == (1, 1, 1, "undecided")
    assert found.n_needed is None


def test_a_true_difference_is_found_with_the_planned_number_at_about_the_planned_power():
    spread = Spread(log_sd=0.5, dependence=1.0)
    goals = plan(spread, difference_share=0.15).set_index(["goal", "percentile"])
    n = int(goals.loc[("difference", "p50"), "requests"]) // 2
    rng = np.random.default_rng(7)
    verdicts = [
        compare(*pair(rng, n, 1.15, prompt=0.0, own=0.5), "ttft", "p50").verdict for _ in range(60)
    ]
    assert 0.65 <= share(verdicts, "worse") <= 0.97
    assert share(verdicts, "better") == 0


def test_pairing_shrinks_the_interval():
    rng = np.random.default_rng(7)
    a, b = pair(rng, 500, prompt=0.6, own=0.1)
    shuffled = Run(b.samples.copy(), b.facts)
    ttft = shuffled.samples["content_times_s"].map(lambda t: t[0]) - shuffled.samples["scheduled_s"]
    unpaired = run_of(rng.permutation(ttft.to_numpy()))
    together, apart = compare(a, b, percentile="p50"), compare(a, unpaired, percentile="p50")
    assert np.log(together.high / together.low) < 0.6 * np.log(apart.high / apart.low)


def test_b_better_is_a_worse():
    a, b = pair(np.random.default_rng(7), 400, 1.3)
    there, back = compare(a, b), compare(b, a)
    assert (there.verdict, back.verdict) == ("worse", "better")
    assert there.ratio * back.ratio == pytest.approx(1)


def test_within_the_margin_no_number_of_requests_settles_it():
    a, b = pair(np.random.default_rng(7), 400, 1.02, prompt=0.2, own=0.05)
    assert compare(a, b, percentile="p50").verdict == "worse"
    found = compare(a, b, percentile="p50", margin_share=0.05)
    assert (found.verdict, found.n_needed) == ("undecided", None)


def test_the_number_needed_settles_it_most_of_the_time():
    # the number that one run asks for varies widely, so that its median is held to the known one
    rng = np.random.default_rng(7)
    needed = [
        compare(*pair(rng, 150, 1.06, prompt=0, own=0.5), percentile="p50") for _ in range(60)
    ]
    asked = np.median([f.n_needed for f in needed if f.n_needed])
    goals = plan(Spread(0.5, 1.0), difference_share=0.06)
    exact = goals[goals["percentile"] == "p50"].set_index("goal")
    # those that seem close to equal ask for more, those that seem different are settled or nearly
    assert 0.1 < asked / (exact.loc["difference", "requests"] / 2) < 3


def test_too_few_pairs_are_undecided_and_say_how_many_it_takes():
    a, b = pair(np.random.default_rng(7), 60, 3.0)
    found = compare(a, b)
    assert found.verdict == "undecided"
    assert found.n_needed >= 72


def test_failures_of_b_make_it_worse():
    a, b = pair(np.random.default_rng(7), 400)
    fails = Run(b.samples.assign(ok=np.arange(400) % 5 > 0), b.facts)
    found = compare(a, fails)
    assert (found.b_ms, found.ratio, found.high, found.verdict) == (None, None, np.inf, "worse")
    assert compare(fails, fails).verdict == "undecided"


def test_several_runs_are_the_unit():
    rng = np.random.default_rng(7)
    verdicts = []
    for _ in range(60):
        levels = np.exp(0.2 * rng.standard_normal((2, 4)))  # each run has a level of its own
        a, b = ([run_of(x * rng.lognormal(0, 0.2, 80)) for x in side] for side in levels)
        verdicts.append(compare(a, b, percentile="p50").verdict)
    assert share(verdicts, "better", "worse") <= 0.15  # 1 in 20, of 60


def test_gaps_are_drawn_with_their_requests():
    a, b = pair(np.random.default_rng(7), 200)
    slower = [[t[0], t[1] + 0.1, t[2] + 0.2] for t in b.samples["content_times_s"]]
    found = compare(a, Run(b.samples.assign(content_times_s=slower), b.facts), "itl", "p50")
    assert found.ratio == pytest.approx(2.0)
    assert found.verdict == "worse"


def test_a_comparison_is_the_same_twice():
    a, b = pair(np.random.default_rng(7), 200)
    assert compare(a, b, seed=3) == compare(a, b, seed=3)


# ---- blocks


def test_blocks_grow_with_what_neighbours_share():
    rng = np.random.default_rng(7)
    lengths = [block_length(noise(rng, 2_000, lag1)) for lag1 in (0.0, 0.5, 0.9)]
    assert lengths[0] < lengths[1] < lengths[2] <= 200


# ---- plans


def test_a_plan_gives_the_half_width_it_promises():
    table = plan(Spread(0.5, 1.0), half_width_share=0.1).set_index(["goal", "percentile"])
    rng = np.random.default_rng(7)
    for percentile, q in (("p50", 0.5), ("p95", 0.95)):
        n = int(table.loc[("interval", percentile), "requests"])
        found = [quantile_interval(rng.lognormal(sigma=0.5, size=n), q) for _ in range(100)]
        widths = np.median([np.log(f.high / f.low) / 2 for f in found])
        assert widths == pytest.approx(np.log(1.1), rel=0.15)


def test_a_plan_supports_its_percentile_and_counts_minutes_and_spend():
    table = plan(Spread(0.5, 1.0), rate_per_s=2.0, usd_per_request=0.01)
    supported = table[table["goal"] == "supported"].set_index("percentile")["requests"]
    assert (supported >= pd.Series({"p50": 6, "p95": 72, "p99": 368})).all()
    assert table["minutes"].tolist() == pytest.approx((table["requests"] / 120).tolist())
    assert table["usd"].tolist() == pytest.approx((table["requests"] / 100).tolist())
    assert plan()["usd"].isna().all()


def test_a_pilot_gives_its_spread_and_dependence():
    rng = np.random.default_rng(7)
    calm = pilot_spread(run_of(rng.lognormal(sigma=0.5, size=2_000)))
    busy = pilot_spread(run_of(np.exp(0.5 * noise(rng, 2_000, 0.9))))
    assert calm.log_sd == pytest.approx(0.5, rel=0.1)
    assert calm.dependence < 2.5
    assert 5 < busy.dependence < 40  # of the sign of an AR(1) with lag-1 0.9: 12.2


# ---- errors


def other(run, **columns):
    return Run(run.samples.assign(**columns), run.facts)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda r: other(r, scheduled_s=r.samples["scheduled_s"] * 1.5),
            "scheduled_s of request 1",
        ),
        (lambda r: other(r, asked_output_tokens=64.0), "asked_output_tokens of request 0"),
        (lambda r: other(r, index=r.samples["index"] + 1_000), "its index in the other"),
        (lambda r: [r, r], "as many of each"),
        (lambda r: Run(r.samples, {"load": {"process": "closed"}}), "closed loop"),
    ],
)
def test_runs_of_different_plans_are_refused(change, says):
    a, b = pair(np.random.default_rng(7), 100)
    with pytest.raises(ValueError, match=says):
        compare(a, change(b))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (
            lambda: compare(*pair(np.random.default_rng(7), 80), margin_share=-1),
            "share of 0 or more",
        ),
        (
            lambda: compare(*pair(np.random.default_rng(7), 80), "tpot"),
            "no pair of requests has tpot",
        ),
        (lambda: plan(half_width_share=0), "above 0"),
        (lambda: Spread(0.5, 0.2), "dependence of 1 or more"),
        (lambda: pilot_spread(run_of(np.ones(10))), "it takes 40"),
        (lambda: pilot_spread(run_of(np.zeros(100))), "does not vary"),
    ],
)
def test_an_error_says_what_is_wrong_and_how_to_mend_it(wrong, says):
    with pytest.raises(ValueError, match=says):
        wrong()

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import betabinom, norm

from llmstudy.simulate.information import (
    against_cost,
    evpi,
    measure_next,
    spline_design,
    value_of_information,
)

N = 20_000


def unit_normal_loss(mean, sd):
    """E max(X, 0) - max(E X, 0) for a normal X: what knowing X is worth when the rival pays 0."""
    return sd * norm.pdf(mean / sd) + mean * norm.cdf(mean / sd) - max(mean, 0)


def lognormal_loss(forward, strike, sd):
    """E max(X - strike, 0) - max(E X - strike, 0) for a log-normal X of mean `forward`."""
    d = (np.log(forward / strike) + sd**2 / 2) / sd
    call = forward * norm.cdf(d) - strike * norm.cdf(d - sd)
    return call - max(forward - strike, 0)


def against_nothing(gain):
    return np.column_stack([gain, np.zeros_like(gain)])


def assert_close(found, truth, share=0.06):
    assert found.low <= truth <= found.high
    assert found.estimate == pytest.approx(truth, rel=share)


# ---- perfect information ------------------------------------------------------------------------


@pytest.mark.parametrize(("mean", "sd"), [(0.0, 1.0), (-0.5, 1.0), (3e4, 5e4)])
def test_evpi_of_a_normal_gain_is_the_unit_normal_loss(mean, sd):
    gain = np.random.default_rng(1).normal(mean, sd, N)
    assert_close(evpi(against_nothing(gain)), unit_normal_loss(mean, sd))


def test_evpi_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(2)
    truth = unit_normal_loss(0.5, 1)
    found = [evpi(against_nothing(rng.normal(0.5, 1, 500))) for _ in range(1000)]
    assert 0.93 <= np.mean([i.low <= truth <= i.high for i in found]) <= 0.97


# ---- knowing some of the inputs -----------------------------------------------------------------


@pytest.mark.parametrize("group", [[0], [1], [2], [0, 1], [1, 2], [0, 1, 2]])
def test_a_linear_model_gives_each_input_and_group_its_closed_form(group):
    x = np.random.default_rng(3).normal(size=(N, 4))
    weights = np.array([1.0, 0.8, 0.5, 1.0])
    found = value_of_information(against_nothing(0.2 + x @ weights), x[:, group])
    assert_close(found, unit_normal_loss(0.2, np.sqrt((weights[group] ** 2).sum())))


@pytest.mark.parametrize("group", [[0], [1], [0, 1], [0, 1, 2]])
def test_a_product_of_log_normal_inputs_gives_each_group_its_closed_form(group):
    """The shape of a bill: volume times price times a factor, against a fixed rival."""
    sds = np.array([0.5, 0.4, 0.3])
    logs = np.random.default_rng(4).normal(size=(N, 3)) * sds - sds**2 / 2
    gain = 1e6 * np.exp(logs.sum(axis=1)) - 1.1e6
    truth = lognormal_loss(1e6, 1.1e6, np.sqrt((sds[group] ** 2).sum()))
    assert_close(value_of_information(against_nothing(gain), np.exp(logs[:, group])), truth)


def test_the_best_action_may_change_in_the_middle_and_at_a_jump():
    rng = np.random.default_rng(5)
    x = rng.uniform(-1, 1, N)
    bent = np.column_stack([0.25 - x**2, np.zeros(N), 0.1 * x]) + rng.normal(size=(N, 1))
    grid = (np.arange(1_000_000) + 0.5) / 500_000 - 1
    truth = np.maximum(0.25 - grid**2, np.maximum(0, 0.1 * grid)).mean()
    # the first two pay alike on average, within the error of the mean of either
    assert_close(value_of_information(bent, x), truth - max(0, (0.25 - grid**2).mean()), 0.12)


def test_an_input_of_few_values_is_worth_what_enumeration_says():
    rng = np.random.default_rng(6)
    pays = np.array([[4.0, 0.0, 1.0], [0.0, 2.0, 1.0], [0.0, 0.0, 1.0]])  # by state, by action
    shares = np.array([0.2, 0.3, 0.5])
    state = rng.choice(3, N, p=shares)
    net_benefit = pays[state] + rng.normal(size=(N, 3))
    truth = shares @ pays.max(axis=1) - (shares @ pays).max()
    assert_close(value_of_information(net_benefit, state), truth)


def test_the_interval_covers_the_truth_with_few_draws_and_much_noise():
    rng = np.random.default_rng(7)
    for k in (1, 2):
        truth, covered, estimates = unit_normal_loss(0.3, 1), [], []
        for _ in range(100):
            x = rng.normal(size=(1000, k))
            gain = 0.3 + x.sum(axis=1) / np.sqrt(k) + 2 * rng.normal(size=1000)
            found = value_of_information(against_nothing(gain), x)
            covered.append(found.low <= truth <= found.high)
            estimates.append(found.estimate)
        assert np.mean(covered) >= 0.93
        assert np.mean(estimates) == pytest.approx(truth, rel=0.05)


@pytest.mark.parametrize("gap", [0.0, 0.03, 0.3])
def test_inputs_that_do_not_matter_are_never_surely_worth_something(gap):
    """Even where the actions are as good as tied, and a wrong choice looks like knowledge."""
    rng = np.random.default_rng(8)
    alarms, estimates = [], []
    for _ in range(100):
        net_benefit = rng.normal([gap, 0, 0], 1, size=(500, 3))
        found = value_of_information(net_benefit, rng.normal(size=(500, 2)))
        alarms.append(found.low > 0)
        estimates.append(found.estimate)
    assert np.mean(alarms) <= 0.025
    assert np.mean(estimates) < 0.01 * 0.85  # of what knowing all three would be worth


def test_an_input_that_never_varies_is_worth_nothing():
    gain = np.random.default_rng(9).normal(0.1, 1, 1000)
    found = value_of_information(against_nothing(gain), np.full(1000, 7.0))
    assert (found.estimate, found.low, found.high) == (0, 0, 0)


# ---- heavy tails --------------------------------------------------------------------------------

UNKNOWN = np.array([2.4, 0.5, 0.4])  # of logarithms: a volume from 1 to 2,500, and two factors


def unknown_volume(seed, fixed, draws=4000):
    """Three log-normal factors, the first one known within a few thousandfold, and their gain."""
    logs = np.random.default_rng(seed).normal(size=(draws, 4)) * [*UNKNOWN, 0.3]
    bill = np.exp(logs[:, :3].sum(axis=1) - (UNKNOWN[1:] ** 2).sum() / 2)
    return np.exp(logs[:, :3]), bill - fixed * np.exp(logs[:, 3] - 0.3**2 / 2)


@pytest.mark.parametrize("group", [[0], [0, 1], [0, 1, 2]])
def test_an_unknown_volume_against_a_fixed_cost_is_worth_what_black_says(group):
    """Black (1976), Journal of Financial Economics 3:167-179: a put on a log-normal bill."""
    forward, fixed = np.exp(UNKNOWN[0] ** 2 / 2), 3.0
    truth = lognormal_loss(forward, fixed, np.sqrt((UNKNOWN[group] ** 2).sum()))
    covered, estimates = [], []
    for seed in range(20):
        inputs, gain = unknown_volume(seed, fixed)
        found = value_of_information(against_nothing(gain), inputs[:, group])
        covered.append(found.low <= truth <= found.high)
        estimates.append(found.estimate)
    assert np.mean(estimates) == pytest.approx(truth, rel=0.02)
    assert np.mean(covered) >= 0.85


@pytest.mark.parametrize("fixed", [0.3, 3.0, 30.0, 300.0])
def test_no_knowledge_is_worth_more_than_perfect_information_however_heavy_the_tail(fixed):
    for seed in range(5):
        inputs, gain = unknown_volume(seed, fixed, draws=1000)
        table = against_nothing(gain)
        most = evpi(table)
        for learned in (inputs, inputs[:, 0], inputs[:, 1:], gain):
            found = value_of_information(table, learned)
            assert 0 <= found.low <= found.estimate <= found.high <= most.high
            assert found.estimate <= most.estimate


@pytest.mark.parametrize("fixed", [3.0, 17.8, 100.0])  # 17.8: both actions cost alike on average
def test_what_says_nothing_of_an_unknown_volume_is_worth_nothing(fixed):
    alarms, shares = [], []
    for seed in range(20):
        _, gain = unknown_volume(seed, fixed)
        table = against_nothing(gain)
        noise = np.random.default_rng([seed, 1]).normal(size=(len(gain), 2))
        found = value_of_information(table, noise)
        alarms.append(found.low > 0)
        shares.append(found.estimate / evpi(table).estimate)
    assert sum(alarms) <= 1  # of 20: an interval of 95 % errs on this side once in 40
    assert np.mean(shares) < 0.05


# ---- a finite sample ----------------------------------------------------------------------------


@pytest.mark.parametrize("days", [1, 7, 28])
def test_a_mean_of_n_days_is_worth_what_normal_conjugacy_says(days):
    rng = np.random.default_rng(10)
    prior_sd, day_sd = 1.0, 2.0
    truth_ = rng.normal(0.2, prior_sd, N)
    mean = truth_ + rng.normal(size=N) * day_sd / np.sqrt(days)
    told = prior_sd**2 / np.sqrt(prior_sd**2 + day_sd**2 / days)
    assert_close(
        value_of_information(against_nothing(truth_), mean), unit_normal_loss(0.2, told), 0.12
    )


@pytest.mark.parametrize("items", [5, 20, 200])
def test_golden_items_are_worth_what_the_beta_binomial_enumerates(items):
    rng = np.random.default_rng(11)
    share = rng.beta(8, 2, N)
    passed = rng.binomial(items, share)
    k = np.arange(items + 1)
    expected_gain = 1e5 * ((8 + k) / (10 + items) - 0.75)
    truth = betabinom.pmf(k, items, 8, 2) @ np.maximum(expected_gain, 0) - 1e5 * 0.05
    assert_close(value_of_information(against_nothing(1e5 * (share - 0.75)), passed), truth, 0.1)


@pytest.mark.parametrize("error_sd", [0.1, 0.3])
def test_a_probe_of_capacity_with_error_is_worth_its_closed_form(error_sd):
    rng = np.random.default_rng(12)
    sd = 0.5
    log_factor = rng.normal(-(sd**2) / 2, sd, N)
    probed = np.exp(log_factor + rng.normal(0, error_sd, N))
    told = sd**2 / np.sqrt(sd**2 + error_sd**2)
    gain = 1e6 * np.exp(log_factor) - 0.9e6
    truth = lognormal_loss(1e6, 0.9e6, told)
    assert_close(value_of_information(against_nothing(gain), probed), truth, 0.08)


@given(st.integers(0, 10_000), st.floats(-1, 1), st.floats(0.1, 3))
@settings(max_examples=15, deadline=None)
def test_a_sample_is_worth_no_more_than_its_input_and_that_no_more_than_all(seed, mean, noise):
    rng = np.random.default_rng(seed)
    x, y, error = rng.normal(size=(3, 5000))
    table = against_nothing(mean + x + y)
    sample = value_of_information(table, x + noise * error)
    whole = value_of_information(table, x)
    assert sample.low <= whole.high
    assert whole.low <= evpi(table).high
    assert 0 <= sample.low <= sample.estimate <= sample.high


# ---- what the numbers must not depend on --------------------------------------------------------


def test_what_all_actions_share_and_how_they_are_ordered_changes_nothing():
    rng = np.random.default_rng(13)
    x, other, common = rng.normal(size=(3, 2000))
    table = np.column_stack([x + other, np.zeros(2000), 0.5 * other])
    plain = value_of_information(table, x)
    moved = 1000 * (table + 5 * common[:, None])[:, [2, 0, 1]]
    again = value_of_information(moved, np.exp(3 + 7 * x))  # the same knowledge, on another scale
    assert again.estimate / 1000 == pytest.approx(plain.estimate)
    assert (again.low / 1000, again.high / 1000) == pytest.approx((plain.low, plain.high))


def test_splines_follow_a_curve_and_run_straight_beyond_the_outer_knots():
    x = norm.ppf((np.arange(4000) + 0.5) / 4000)  # its own normal scores
    design = np.column_stack([np.ones(4000), spline_design(x[:, None], 10, 4)])
    fitted = design @ np.linalg.lstsq(design, np.sin(2 * x), rcond=None)[0]
    inside = np.abs(x) < 2
    assert np.abs(fitted - np.sin(2 * x))[inside].max() < 0.12
    tail = np.quantile(x, 0.99) < x
    slopes = np.diff(fitted[tail]) / np.diff(x[tail])
    assert np.ptp(slopes) < 1e-5


# ---- what to measure next -----------------------------------------------------------------------


def judged(**costs_usd):
    """Three measurements against their costs: of an input that decides, of one that does not, and
    of one that decides a little."""
    rng = np.random.default_rng(15)
    x, y, z = 1e4 * rng.normal(size=(3, N))
    table, learned = against_nothing(x + 0.3 * y), {"probe": x, "quote": z, "log": y}
    return pd.DataFrame(
        {
            "measurement": name,
            **against_cost(value_of_information(table, learned[name]), cost_usd),
        }
        for name, cost_usd in costs_usd.items()
    )


def test_measurements_are_judged_against_their_cost():
    worth = judged(probe=900.0, quote=400.0, log=1200.0).set_index("measurement")
    assert worth["verdict"].to_dict() == {
        "probe": "measure",
        "quote": "not worth it",
        "log": "undecided",
    }
    assert worth.loc["probe", "value_usd"] == pytest.approx(unit_normal_loss(0, 1e4), rel=0.06)
    assert (worth["net_usd"] == worth["value_usd"] - worth["cost_usd"]).all()


def test_the_next_measurement_is_the_one_that_gains_most_after_its_cost():
    worth = judged(probe=900.0, quote=400.0, log=0.0)
    assert (worth["verdict"] == "measure").sum() == 2
    assert measure_next(worth)["measurement"] == "probe"


def test_nothing_is_worth_measuring_when_every_measurement_costs_more_than_it_tells():
    assert measure_next(judged(probe=1e5, quote=1e5, log=1e5)) is None


@pytest.mark.parametrize(
    ("table", "learned", "said"),
    [
        (np.zeros(500), np.zeros(500), "n_draws, n_actions"),
        (np.zeros((50, 2)), np.zeros(50), "at least 100 draws"),
        (np.full((500, 2), -np.inf), np.zeros(500), "not finite"),
        (np.zeros((500, 2)), np.zeros(400), "give \\(500,\\)"),
        (np.zeros((500, 2)), np.zeros((500, 7)), "k from 1 to 6"),
        (np.zeros((500, 2)), np.full(500, np.nan), "not finite"),
    ],
)
def test_what_cannot_be_valued_is_an_error_that_says_why(table, learned, said):
    with pytest.raises(ValueError, match=said):
        value_of_information(table, learned)

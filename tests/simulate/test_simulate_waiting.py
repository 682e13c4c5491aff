import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from llmstudy.simulate.waiting import switch_costs, value_of_waiting


def table(costs, states, **more):
    return value_of_waiting(costs, states, **{"waits": [], **more}).set_index("policy")


def geometric(rng, paths, steps, start, drift, sd):
    """Geometric Brownian motion at the starts of the steps, (paths, steps)."""
    shocks = rng.normal(drift - sd**2 / 2, sd, size=(paths, steps - 1))
    return start * np.exp(np.hstack([np.zeros((paths, 1)), shocks.cumsum(axis=1)]))


# ---- what a switch costs ------------------------------------------------------------------------


def test_costs_by_month_of_the_switch_are_those_of_a_loop_over_months():
    rng = np.random.default_rng(1)
    before, after, move = rng.uniform(1, 9, size=(3, 5, 4))
    costs = switch_costs(before, after, move)
    for path in range(5):
        for t in range(4):
            by_hand = before[path, :t].sum() + after[path, t:].sum() + move[path, t]
            assert costs[path, t] == pytest.approx(by_hand)
        assert costs[path, 4] == pytest.approx(before[path].sum())


def test_a_move_that_is_undone_at_once_costs_both_moves_and_nothing_else():
    api, fleet = np.random.default_rng(2).uniform(1, 9, size=(2, 5, 4))
    leave = 10 + switch_costs(fleet, api, 3.0)
    assert leave[:, 0] == pytest.approx(api.sum(axis=1) + 13)
    assert leave[:, -1] == pytest.approx(switch_costs(api, fleet, 10.0)[:, 0])


# ---- when to switch -----------------------------------------------------------------------------


def test_a_problem_of_two_months_is_solved_as_by_hand():
    """A price of 1 or 9, as likely as not, is shown in month 1; staying costs 5 for certain."""
    price = np.repeat([[1.0], [1.0], [9.0], [9.0]], 100, axis=0)
    costs = np.hstack([5.5 + 0 * price, 0.5 + price, 5.0 + 0 * price])
    found = table(costs, np.hstack([0 * price, price]), waits=[1])
    means = found["mean_cost_usd"].to_dict()
    assert means["commit now"] == 5.5
    assert means["never"] == means["best month set in advance"] == 5.0
    for policy in ("1-month wait, then choose", "optimal stopping", "hindsight"):
        assert means[policy] == pytest.approx((1.5 + 5.0) / 2)
        assert found.loc[policy, "p_never"] == 0.5
        assert found.loc[policy, "mean_switch_month"] == 1.0
        assert found.loc[policy, "saving_vs_now_usd"] == pytest.approx(2.25)
    assert np.isnan(found.loc["never", "mean_switch_month"])


def tree_put(spot, strike, rate, sd, dates, steps_between):
    """A put that may be exercised at `dates` equal steps of a year, by a binomial tree."""
    steps = dates * steps_between
    dt = 1 / steps
    up = np.exp(sd * np.sqrt(dt))
    p = (np.exp(rate * dt) - 1 / up) / (up - 1 / up)
    value = np.maximum(strike - spot * up ** np.arange(-steps, steps + 1, 2.0), 0)
    for step in range(steps - 1, 0, -1):
        value = np.exp(-rate * dt) * (p * value[1:] + (1 - p) * value[:-1])
        if step % steps_between == 0:
            value = np.maximum(value, strike - spot * up ** np.arange(-step, step + 1, 2.0))
    return float(np.exp(-rate * dt) * (p * value[1] + (1 - p) * value[0]))


def simulated_put(spot, strike, rate, sd, dates, paths, seed):
    """The same option as a switch: its cost is the payoff, received, and 0 if never exercised."""
    prices = geometric(
        np.random.default_rng(seed), paths, dates + 1, spot, rate / dates, sd / np.sqrt(dates)
    )[:, 1:]
    discount = np.exp(-rate * np.arange(1, dates + 1) / dates)
    costs = np.hstack([-discount * np.maximum(strike - prices, 0), np.zeros((paths, 1))])
    return table(costs, np.log(prices)).loc["optimal stopping"]


@pytest.mark.parametrize(("spot", "sd"), [(36, 0.2), (40, 0.4)])
def test_optimal_stopping_prices_a_bermudan_put_as_a_tree_does_and_never_better(spot, sd):
    truth = tree_put(spot, 40, 0.06, sd, dates=10, steps_between=40)
    found = simulated_put(spot, 40, 0.06, sd, dates=10, paths=20_000, seed=3)
    assert -found["mean_cost_usd"] == pytest.approx(truth, rel=0.015)
    assert -found["high_usd"] <= truth


def test_optimal_stopping_agrees_with_the_published_american_put():
    """Longstaff and Schwartz (2001), table 1: 4.478 by finite differences, 4.472 by them."""
    found = simulated_put(36, 40, 0.06, 0.2, dates=50, paths=10_000, seed=4)
    assert found["low_usd"] <= -4.472 <= found["high_usd"]


@pytest.mark.parametrize(
    ("fleet", "month", "worth"), [([4, 4, 4, 4], 0, 0.0), ([9, 8, 2, 2], 2, 7)]
)
def test_where_all_is_known_waiting_is_worth_exactly_what_the_calendar_says(fleet, month, worth):
    paths = np.ones((200, 1))
    api = np.array([[5.0, 5.0, 5.0, 5.0]]) * paths
    costs = switch_costs(api, np.array([fleet]) * paths, 1.0)
    found = table(costs, np.log(api), waits=[2])
    for policy in ("best month set in advance", "optimal stopping", "hindsight"):
        assert found.loc[policy, "saving_vs_now_usd"] == pytest.approx(worth, abs=1e-9)
        assert found.loc[policy, "mean_switch_month"] == month
    assert found.loc["optimal stopping", "saving_high_usd"] == pytest.approx(worth, abs=1e-9)


def test_a_state_that_foretells_nothing_gives_waiting_no_value_beyond_the_best_month():
    rng = np.random.default_rng(5)
    means = np.array([10.0, 9.0, 8.5, 9.0, 9.5, 9.2, 12.0])
    alarms, costs_found = [], []
    for _ in range(40):
        costs = rng.normal(means, 4.0, size=(400, 7))
        found = table(costs, rng.normal(size=(400, 6, 3))).loc["optimal stopping"]
        alarms.append(found["high_usd"] < 8.5)
        costs_found.append(found["mean_cost_usd"])
    assert np.mean(alarms) <= 0.05
    assert 8.45 <= np.mean(costs_found) <= 9.0  # judged on the paths it was fitted on: below 8.5


@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(1, 3))
@settings(max_examples=15, deadline=None)
def test_no_policy_beats_hindsight_and_every_row_adds_up(seed, months, k):
    rng = np.random.default_rng(seed)
    states = rng.normal(size=(200, months, k)).cumsum(axis=1)
    costs = rng.normal(size=(200, months + 1)) + np.hstack([states[:, :, 0], states[:, -1:, 0]])
    found = table(costs, states, waits=[1])
    assert (found["mean_cost_usd"] >= found.loc["hindsight", "mean_cost_usd"] - 1e-9).all()
    saved = found.loc["commit now", "mean_cost_usd"] - found["mean_cost_usd"]
    assert found["saving_vs_now_usd"].to_numpy() == pytest.approx(saved.to_numpy())
    assert found["p_never"].between(0, 1).all()
    assert (found["mean_switch_month"].dropna() < months).all()


def test_choosing_after_a_wait_uses_what_the_wait_has_shown():
    """Growth is known after 3 months, and pays for the fleet on half of the paths."""
    growth = np.repeat([0.0, 0.2], 150)[np.random.default_rng(6).permutation(300), None]
    api = 10 * (1 + growth) ** np.arange(12)
    costs = switch_costs(api, np.full((300, 12), 15.0), 5.0)
    found = table(costs, np.log(api), waits=[3, 6])
    best_from_3 = np.minimum(costs[:, 3], costs[:, -1]).mean()
    assert found.loc["3-month wait, then choose", "mean_cost_usd"] == pytest.approx(best_from_3)
    assert found.loc["3-month wait, then choose", "p_never"] == 0.5
    assert found.loc["optimal stopping", "mean_cost_usd"] <= best_from_3 + 1e-9


# ---- heavy tails --------------------------------------------------------------------------------


def test_an_unknown_bill_that_is_shown_next_month_is_worth_waiting_for_as_black_says():
    """The bill is log-normal from 1 to 2,500, and known in month 1; the fleet costs 3, or 3.5."""
    rng = np.random.default_rng(10)
    known = 2.4 * norm.ppf((rng.permutation(4000)[:, None] + 0.5) / 4000)
    bill = np.exp(known + rng.normal(-(0.5**2) / 2, 0.5, size=(4000, 1)))
    costs = np.hstack([np.full_like(bill, 3.0), np.full_like(bill, 3.5), bill])
    found = table(costs, np.hstack([0 * known, known]), waits=[1])
    best = np.where(known[:, 0] >= np.log(3.5), 3.5, bill[:, 0])
    d = (np.log(1 / 3.5) + 2.4**2) / 2.4  # of a put on a log-normal bill of mean exp(2.4^2 / 2)
    black = 3.5 * norm.cdf(d - 2.4) + np.exp(2.4**2 / 2) * norm.cdf(-d)
    assert best.mean() == pytest.approx(black, rel=0.02)
    for policy in ("1-month wait, then choose", "optimal stopping"):
        assert found.loc[policy, "mean_cost_usd"] == pytest.approx(best.mean(), rel=0.02)
        assert found.loc[policy, "low_usd"] <= black <= found.loc[policy, "high_usd"]


@pytest.mark.parametrize(("fleet", "move"), [(3.0, 10.0), (0.3, 1.0), (30.0, 100.0)])
def test_with_an_unknown_volume_optimal_stopping_loses_to_no_simple_rule(fleet, move):
    """Not to now, never or the best month, nor to: switch once the bill is above the fleet's."""
    months, regrets = 12, []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        volume = geometric(rng, 2000, months, np.exp(rng.normal(0, 2.4, (2000, 1))), 0.02, 0.15)
        upkeep = fleet * np.exp(rng.normal(-(0.3**2) / 2, 0.3, (2000, 1))) + 0.05 * volume
        costs = switch_costs(volume, upkeep, move)
        found = table(costs, np.log(volume))["mean_cost_usd"] - costs.min(axis=1).mean()
        above = volume >= fleet
        month = np.where(above.any(axis=1), above.argmax(axis=1), months)
        rule = costs[np.arange(2000), month].mean() - costs.min(axis=1).mean()
        fixed = found[["commit now", "never", "best month set in advance"]].min()
        assert found["optimal stopping"] < 0.1 * fixed
        regrets.append((found["optimal stopping"], rule))
    stopping, rule = np.mean(regrets, axis=0)
    assert stopping < rule


# ---- a commitment that can be left --------------------------------------------------------------


def test_a_short_commitment_is_left_where_the_state_says_so_and_not_before_its_term():
    """Moved now; from month 2 half of the paths see the API at 1 a month, the fleet stays at 3."""
    cheap = np.repeat([True, False], 150)[:, None]
    api = np.hstack([np.full((300, 2), 5.0), np.where(cheap, 1.0, 5.0) * np.ones((300, 4))])
    fleet = np.full((300, 6), 3.0)
    leave = 2 + switch_costs(fleet, api, 1.0)
    costs = switch_costs(api, fleet, 2.0)
    found = table(costs, np.log(api), short_commitments={2: leave, 4: leave, 6: leave})
    stayed = 2 + 6 * 3
    for months, left in ((2, 2 + 2 * 3 + 1 + 4), (4, 2 + 4 * 3 + 1 + 2), (6, stayed)):
        row = found.loc[f"{months}-month commitment, then free"]
        assert row["mean_cost_usd"] == pytest.approx((left + stayed) / 2)
        assert (row["mean_switch_month"], row["p_never"]) == (0, 0)
    assert found.loc["commit now", "mean_cost_usd"] == stayed


# ---- what cannot be judged ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("costs", "states", "more", "said"),
    [
        (np.zeros((300, 4)), np.zeros((300, 4)), {}, "n_months \\+ 1"),
        (np.zeros((300, 4)), np.zeros((200, 3)), {}, "n_months \\+ 1"),
        (np.zeros((150, 4)), np.zeros((150, 3)), {}, "150 paths"),
        (np.full((300, 4), np.inf), np.zeros((300, 3)), {}, "not finite"),
        (np.zeros((300, 4)), np.zeros((300, 3)), {"waits": [3]}, "from 1 to 2"),
        (
            np.zeros((300, 4)),
            np.zeros((300, 3)),
            {"short_commitments": {1: np.zeros((300, 3))}},
            "n_months \\+ 1",
        ),
    ],
)
def test_what_cannot_be_judged_is_an_error_that_says_why(costs, states, more, said):
    with pytest.raises(ValueError, match=said):
        table(costs, states, **more)


def test_monthly_costs_of_two_shapes_are_an_error():
    with pytest.raises(ValueError, match="of one shape"):
        switch_costs(np.zeros((5, 3)), np.zeros((5, 4)))

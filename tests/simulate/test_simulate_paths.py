import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmstudy import simulate
from llmstudy.figure import Figure
from llmstudy.simulate import draws

N, MONTHS = 20_000, 25


def test_a_price_jumps_as_often_and_as_far_as_it_is_said_to():
    rate, factor = np.full(N, 0.6), Figure("", 1.5, "factor", 0.5, 4.0, "loguniform")
    u, sizes = simulate.noise("u", N, MONTHS, 1), simulate.noise("size", N, MONTHS, 1)
    found = draws.jumps(rate, factor, u, sizes)
    steps = found[:, 1:] / found[:, :-1]
    jumped = steps != 1
    # Poisson: a month without a jump has the chance exp(-rate / 12)
    assert jumped.mean() == pytest.approx(1 - np.exp(-0.6 / 12), rel=0.03)
    assert np.median(steps[jumped]) == pytest.approx(np.sqrt(0.5 * 4.0), rel=0.03)
    assert (found[:, 0] == 1).all()


def test_a_rent_wanders_both_ways_and_stays_put_on_average():
    found = draws.wander(np.full(N, 0.3), simulate.noise("gpu", N, MONTHS, 2))
    year = np.log(found[:, 12])
    assert year.std() == pytest.approx(0.3, rel=0.02)
    assert found[:, 24].mean() == pytest.approx(1.0, abs=0.01)
    assert 0.4 < (found[:, 12] > 1).mean() < 0.6


def test_volumes_scatter_about_their_trend_without_moving_it():
    found = draws.scatter(np.full(N, 0.1), simulate.noise("v", N, 6, 3))
    assert found.mean() == pytest.approx(1.0, abs=0.002)
    assert np.abs(np.corrcoef(found[:, 1], found[:, 2])[0, 1]) < 0.02


@pytest.mark.parametrize(("factor", "switches"), [(0.6, 1.5), (0.2, 0.5), (1.2, 1.0)])
def test_the_market_follows_its_trend_in_steps_and_never_runs_ahead_of_it(factor, switches):
    found = draws.same_quality(
        np.full(N, factor), np.full(N, switches), simulate.noise("q", N, 25, 4)
    )
    trend = factor ** (np.arange(25) / 12)
    if factor < 1:
        assert (found >= trend - 1e-12).all()
    else:
        assert (found <= trend + 1e-12).all()
    # a month without a new model has the chance exp(-switches / 12)
    stood_still = (np.diff(found, axis=1) == 0).mean()
    assert stood_still == pytest.approx(np.exp(-switches / 12), abs=0.01)


def followed(named, market, bills, switch):
    """A buyer played month by month in plain Python."""
    held, paid, moves = None, [named[0]], [0.0]
    for month in range(1, len(bills)):
        now = named[month] if held is None else held
        moves_now = (now - market[month]) * bills[month] * (len(bills) - month) > switch
        held = market[month] if moves_now else held
        paid.append(market[month] if moves_now else now)
        moves.append(switch if moves_now else 0.0)
    return paid, moves


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.floats(0.1, 3), st.floats(0.1, 2), st.floats(0, 100)), min_size=2, max_size=12
    ),
    st.floats(0.1, 200),
)
def test_a_buyer_moves_when_the_rest_of_the_horizon_repays_it(months, switch):
    named, market, bills = (np.array([column]) for column in zip(*months, strict=True))
    paid, moves = simulate.follow(named, market, bills, np.array([switch]))
    expected = followed(named[0], market[0], bills[0], switch)
    assert paid[0].tolist() == pytest.approx(expected[0])
    assert moves[0].tolist() == pytest.approx(expected[1])


def test_a_buyer_leaves_a_model_whose_price_doubles_for_one_that_did_not():
    named, market = np.array([[1.0, 2.0, 2.0, 2.0]]), np.ones((1, 4))
    paid, moves = simulate.follow(named, market, np.full((1, 4), 100.0), np.array([50.0]))
    assert paid.tolist() == [[1.0, 1.0, 1.0, 1.0]]
    assert moves.tolist() == [[0.0, 50.0, 0.0, 0.0]]


def test_following_a_falling_market_never_costs_more_than_staying_where_bills_hold():
    rng = np.random.default_rng(5)
    market = np.cumprod(rng.uniform(0.8, 1.0, (500, 24)), axis=1)
    bills = np.repeat(rng.uniform(10, 100, (500, 1)), 24, axis=1)
    paid, moves = simulate.follow(np.ones((500, 24)), market, bills, rng.uniform(10, 2000, 500))
    assert ((bills * paid + moves).sum(axis=1) <= bills.sum(axis=1) + 1e-9).all()


def test_more_draws_leave_the_first_paths_as_they_are():
    factor = Figure("", 1.0, "factor", 0.2, 3.75, "loguniform")
    few, many = (
        simulate.drawn_paths(
            {"jumps": np.full(n, 0.4), "gpu_volatility": np.full(n, 0.2),
             "volatility": np.full(n, 0.06)}, factor, "chat", 12, seed=9)
        for n in (10, 200)
    )  # fmt: skip
    for name, found in few.items():
        assert (found == many[name][:10]).all()

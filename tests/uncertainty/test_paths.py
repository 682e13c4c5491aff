import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmstudy import uncertainty as mc
from llmstudy.figure import Figure
from llmstudy.uncertainty import paths

N, MONTHS = 20_000, 25


def test_a_price_jumps_as_often_and_as_far_as_it_is_said_to():
    rate, factor = np.full(N, 0.6), Figure("", 1.5, "factor", 0.5, 4.0, "loguniform")
    u, sizes = mc.noise("u", N, MONTHS, 1), mc.noise("size", N, MONTHS, 1)
    found = paths.jumps(rate, factor, u, sizes)
    steps = found[:, 1:] / found[:, :-1]
    jumped = steps != 1
    # Poisson: a month without a jump has the chance exp(-rate / 12)
    assert jumped.mean() == pytest.approx(1 - np.exp(-0.6 / 12), rel=0.03)
    assert np.median(steps[jumped]) == pytest.approx(np.sqrt(0.5 * 4.0), rel=0.03)
    assert (found[:, 0] == 1).all()


def test_a_rent_wanders_both_ways_and_stays_put_on_average():
    found = paths.wander(np.full(N, 0.3), mc.noise("gpu", N, MONTHS, 2))
    year = np.log(found[:, 12])
    assert year.std() == pytest.approx(0.3, rel=0.02)
    assert found[:, 24].mean() == pytest.approx(1.0, abs=0.01)
    assert 0.4 < (found[:, 12] > 1).mean() < 0.6


def test_volumes_scatter_about_their_trend_without_moving_it():
    found = paths.scatter(np.full(N, 0.1), mc.noise("v", N, 6, 3))
    assert found.mean() == pytest.approx(1.0, abs=0.002)
    assert np.abs(np.corrcoef(found[:, 1], found[:, 2])[0, 1]) < 0.02


@pytest.mark.parametrize(("factor", "switches"), [(0.6, 1.5), (0.8, 3.0), (1.2, 1.0)])
def test_a_year_of_cheaper_equals_moves_the_price_by_the_years_factor_on_average(factor, switches):
    u = mc.noise("q", 4 * N, 13, 4)
    found = paths.same_quality(np.full(4 * N, factor), np.full(4 * N, switches), u)
    # months instead of a continuous year: at most one model appears in each
    assert found[:, 12].mean() == pytest.approx(factor, abs=0.03)


def followed(market, bills, switch):
    """A buyer played month by month in plain Python."""
    now, paid, moves = 1.0, [], []
    for month in range(len(bills)):
        to_come = sum(bills[month:])
        moves_now = month > 0 and (now - market[month]) * to_come > switch
        now = market[month] if moves_now else now
        paid.append(now)
        moves.append(switch if moves_now else 0.0)
    return paid, moves


@settings(max_examples=60)
@given(st.lists(st.tuples(st.floats(0.1, 2), st.floats(0, 100)), min_size=2, max_size=12),
       st.floats(0.1, 200))  # fmt: skip
def test_a_buyer_follows_the_market_when_what_is_to_come_repays_the_move(months, switch):
    market, bills = (np.array([column]) for column in zip(*months, strict=True))
    paid, moves = mc.follow(market, bills, np.array([switch]))
    expected = followed(market[0], bills[0].tolist(), switch)
    assert paid[0].tolist() == expected[0]
    assert moves[0].tolist() == expected[1]


def test_following_never_costs_more_than_staying_with_a_market_that_holds_its_falls():
    rng = np.random.default_rng(5)
    market = np.cumprod(rng.uniform(0.8, 1.0, (500, 24)), axis=1)
    bills, switch = rng.uniform(10, 100, (500, 24)), rng.uniform(10, 2000, 500)
    paid, moves = mc.follow(market, bills, switch)
    assert ((bills * paid + moves).sum(axis=1) <= bills.sum(axis=1) + 1e-9).all()


def test_more_draws_leave_the_first_paths_as_they_are():
    factor = Figure("", 1.0, "factor", 0.2, 3.75, "loguniform")
    few, many = (
        mc.drawn_paths(
            {"jumps": np.full(n, 0.4), "gpu_volatility": np.full(n, 0.2),
             "volatility": np.full(n, 0.06)}, factor, "chat", 12, seed=9)
        for n in (10, 200)
    )  # fmt: skip
    for name, found in few.items():
        assert (found == many[name][:10]).all()

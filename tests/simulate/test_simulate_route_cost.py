"""The crossover of two routes without a study: against sums by hand, brute force and mistakes."""

import numpy as np
import pytest

from llmstudy.simulate.route_cost import RouteCost, crossover

API = RouteCost(usd_per_request=(0.004, 0.005, 0.007))
FLEET = RouteCost(
    usd_per_replica_month=(4_000, 5_000, 8_000),
    requests_per_replica=(1e6, 2e6, 4e6),
    usd_per_month=(5_000, 20_000, 30_000),
)


def test_two_apis_cross_where_the_dearer_subscription_is_earned():
    plan = RouteCost(usd_per_request=0.002, usd_per_month=3_000)
    (row,) = crossover(RouteCost(usd_per_request=0.005), plan).table.to_dict("records")
    assert row == {"p10": 1e6, "p50": 1e6, "p90": 1e6, "p_never": 0.0}
    (back,) = crossover(plan, RouteCost(usd_per_request=0.005)).table.to_dict("records")
    assert back["p_never"] == 1
    assert np.isnan(back["p50"])


def test_a_fleet_of_sure_costs_crosses_where_the_last_step_is_passed():
    fleet = RouteCost(usd_per_replica_month=3_000, requests_per_replica=1e6, usd_per_month=8_000)
    found = crossover(RouteCost(usd_per_request=0.005), fleet)
    # 0.005 N = 8,000 + 3,000 (ceil(N / 1M) + 1) stays so from the start of the 6th million's bill
    at = np.arange(1e4, 2e7, 1e4)
    saving = 0.005 * at - 8_000 - 3_000 * (np.ceil(at / 1e6) + 1)
    last = at[saving < 0].max()
    (p50,) = found.table["p50"]
    assert last < p50 <= last + 1e4


def test_the_band_is_that_of_draws_solved_one_by_one():
    found = crossover(API, FLEET, n=400, seed=3)
    a, b = API.draws("a", 400, 3), FLEET.draws("b", 400, 3)
    at = np.geomspace(1e5, 1e9, 4_000)
    below = API.month_usd(a, at) <= FLEET.month_usd(b, at)
    solved = np.array([at[row].max() if row.any() else 0.0 for row in below])
    never = below[:, -1].mean()
    assert found.table["p_never"][0] == pytest.approx(never, abs=0.01)
    assert 0 < never < 0.5
    for name, q in (("p10", 0.1), ("p50", 0.5)):
        expected = np.quantile(np.where(below[:, -1], np.inf, solved), q, method="inverted_cdf")
        assert found.table[name][0] == pytest.approx(expected, rel=0.01)


def test_the_curves_agree_with_the_crossover_and_a_seed_repeats_them():
    table, curves = crossover(API, FLEET)
    assert len(curves) == 41
    assert (curves.filter(regex="^a_").diff(axis=1).iloc[:, 1:] >= 0).all(axis=None)
    assert curves["p_b_cheaper"].iloc[0] == 0
    at = crossover(API, FLEET, volumes=[table["p50"][0]]).curves["p_b_cheaper"][0]
    assert at == pytest.approx(0.5, abs=0.1)  # a staircase: cheaper there, and once more dearer
    again = crossover(API, FLEET)
    assert again.curves.equals(curves)
    assert not crossover(API, FLEET, seed=1).table.equals(table)


def test_ranges_of_both_routes_are_drawn_independently():
    a, b = API.draws("a", 20_000, 0), RouteCost(usd_per_request=(0.004, 0.005, 0.007))
    drawn = b.draws("b", 20_000, 0)["usd_per_request"]
    assert abs(np.corrcoef(a["usd_per_request"], drawn)[0, 1]) < 0.03
    assert drawn.mean() == pytest.approx((0.004 + 0.005 + 0.007) / 3, rel=0.005)


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda: RouteCost(), "costs nothing"),
        (lambda: RouteCost(usd_per_request=-1), "usd_per_request is -1: give a number or"),
        (lambda: RouteCost(usd_per_request="0.01"), "give a number or"),
        (lambda: RouteCost(usd_per_request=(1, 2)), "give a number or"),
        (lambda: RouteCost(usd_per_request=(3, 2, 1)), "usd_per_request with value 2 lies outside"),
        (lambda: RouteCost(usd_per_request=float("nan")), "give a number or"),
        (lambda: RouteCost(usd_per_replica_month=5_000), "needs both usd_per_replica_month and"),
        (lambda: RouteCost(0.1, requests_per_replica=1e6), "needs both usd_per_replica_month and"),
        (lambda: RouteCost(0, 5_000, requests_per_replica=0), "above 0"),
        (lambda: crossover(0.005, FLEET), "must each be a RouteCost"),
        (lambda: crossover(FLEET, API), "a is a fleet: give the API as a"),
        (lambda: crossover(API, FLEET, volumes=[0]), "each above 0"),
    ],
)
def test_a_cost_that_nobody_has_is_refused_in_one_sentence(mistake, message):
    with pytest.raises(ValueError, match=message):
        mistake()

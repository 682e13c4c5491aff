import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from llmstudy.figure import Figure
from llmstudy.simulate.crossover import solve_thresholds
from llmstudy.simulate.draws import draw


def figure(value, low=None, high=None, distribution="uniform", unit="x"):
    kind = "fixed" if low is None else distribution
    return Figure("", value, unit, low, high, kind)


def drawn(figures, n=500, seed=1):
    return {name: draw(f, name, n, seed) for name, f in figures.items()}


def solved(figures, margin, **more):
    return solve_thresholds(figures, drawn(figures), margin, **more)


def test_the_threshold_of_a_linear_outcome_is_solved_by_hand():
    # mean(3 a - b) >= 2 with b of mean 4 flips where a = 2; with a of mean 1.5, where b = 2.5
    figures = {"a": figure(1.5, 1, 2), "b": figure(4, 3, 5)}
    d = {"a": np.array([1.0, 2.0]), "b": np.array([3.0, 5.0])}
    found = solve_thresholds(figures, d, lambda d: float(np.mean(3 * d["a"] - d["b"] - 2)))
    a, b = (found.set_index("input").loc[name] for name in "ab")
    assert a["flips_at"] == pytest.approx(2, rel=1e-3)
    assert b["flips_at"] == pytest.approx(2.5, rel=1e-3)
    assert (a["direction"], b["direction"]) == ("above", "below")
    assert [a["distance_share"], b["distance_share"]] == pytest.approx([1 / 3, -0.375], abs=3e-3)
    assert not b["inside_range"]
    assert b["percentile"] == 0
    assert b["p_flip"] == 0


def test_the_threshold_of_a_probability_is_the_normal_quantile():
    # P(x + e > 0) >= 0.8 for a standard normal e flips at x = z(0.8)
    e = norm.ppf((np.arange(20_000) + 0.5) / 20_000)
    figures = {"x": figure(0.5, 0, 2)}
    found = solve_thresholds(
        figures, {"x": e * 0, "e": e}, lambda d: float((d["x"] + d["e"] > 0).mean() - 0.8)
    )
    assert found.loc[0, "flips_at"] == pytest.approx(norm.ppf(0.8), rel=2e-3)
    assert found.loc[0, "inside_range"]
    assert found.loc[0, "percentile"] == pytest.approx(100 * norm.ppf(0.8) / 2, abs=0.2)
    assert found.loc[0, "p_flip"] == pytest.approx(1 - norm.ppf(0.8) / 2, abs=0.002)


def test_a_stepped_outcome_flips_where_the_next_whole_replica_is_rented():
    # 100 USD of API bill per thousand requests against 350 USD a replica of 7 thousand: each
    # replica more costs 350 at once. Saved at 3.5 on the first, lost again just above 7 (0 = 700)
    def saved(volume):
        return 100 * volume - 350 * math.ceil(volume / 7) * (1 if volume <= 7 else 1.2)

    figures = {"volume": figure(5, 2, 8)}
    found = solved(figures, lambda d: saved(float(d["volume"][0])))
    flips = found.sort_values("flips_at")
    assert flips["flips_at"].tolist() == pytest.approx([3.5, 7, 8.4], rel=1e-3)
    assert flips["direction"].tolist() == ["above", "below", "above"]
    assert flips["inside_range"].tolist() == [True, True, False]
    # another verdict than at 5: below 3.5, and from 7 to the end of the range at 8
    assert found["p_flip"].tolist() == pytest.approx([2.5 / 6] * 3, abs=1e-3)


@given(
    st.floats(0.01, 1e6),
    st.floats(1.1, 20),
    st.floats(1.01, 10),
    st.sampled_from(["uniform", "loguniform", "lognormal", "triangular"]),
    st.floats(0, 1),
    st.booleans(),
)
def test_on_both_sides_of_a_flip_the_verdict_was_read_and_differs(
    low, width, jump, distribution, place, rising
):
    # a jump at a place chosen anywhere from a tenth of the low end to ten times the high end
    high = low * width
    at = low / 9.9 * (9.9 * 9.9 * width) ** place
    read = {}

    def margin(d):
        (x,) = set(d["x"].tolist())
        read[x] = (x > at) == rising
        return jump if read[x] else -jump

    f = {"x": figure(math.sqrt(low * high), low, high, distribution)}
    (row,) = solve_thresholds(f, {"x": np.zeros(3)}, margin, tolerance_share=1e-3).to_dict(
        "records"
    )
    tolerance = 1e-3 * max(row["flips_at"], high / 1000)
    assert row["flips_at"] == pytest.approx(at, abs=tolerance)
    assert row["direction"] == ("above" if rising else "below")
    below = max(x for x in read if read[x] != rising)
    above = min(x for x in read if read[x] == rising)
    assert row["flips_at"] - tolerance <= below <= row["flips_at"] <= above
    assert above <= row["flips_at"] + tolerance
    assert row["inside_range"] == (low <= row["flips_at"] <= high)


@pytest.mark.parametrize("distribution", ["uniform", "loguniform", "lognormal", "triangular"])
def test_the_percentile_and_the_chance_of_a_flip_are_those_of_many_draws(distribution):
    f = figure(2.0, 1.0, 4.0, distribution)
    found = solved({"x": f}, lambda d: float(d["x"][0] - 2.6))
    many = draw(f, "x", 200_000, seed=3)
    assert found.loc[0, "percentile"] == pytest.approx(100 * (many < 2.6).mean(), abs=0.4)
    assert found.loc[0, "p_flip"] == pytest.approx((many >= 2.6).mean(), abs=0.004)


def test_the_input_whose_flip_is_likeliest_comes_first_and_those_without_come_last():
    figures = {
        "idle": figure(2, 1, 3),
        "far": figure(2, 1, 3),
        "near": figure(2, 1, 3),
        "certain": figure(2),
    }

    def margin(d):
        return min(3 - d["far"][0], 2.2 - d["near"][0], 2.1 - d["certain"][0])

    found = solve_thresholds(figures, {k: np.full(2, 2.0) for k in figures}, margin)
    assert found["input"].tolist() == ["near", "certain", "far", "idle"]
    assert found["p_flip"].tolist() == pytest.approx([0.4, 0, 0, 0], abs=2e-3)
    idle, certain = (found.set_index("input").loc[k] for k in ("idle", "certain"))
    assert np.isnan(idle["flips_at"])
    assert idle["direction"] == ""
    assert certain["flips_at"] == pytest.approx(2.1, rel=1e-3)
    assert np.isnan(certain["percentile"])


@pytest.mark.parametrize(
    ("f", "bounds", "ends"),
    [
        (figure(2, 1, 4), None, (0.1, 40)),
        (figure(2), None, (0.2, 20)),
        (figure(0.2, 0.1, 0.6, unit="share"), None, (0.01, 1)),
        (figure(0.2, 0.0, 0.6, unit="share"), None, (0, 1)),
        (figure(0.02, -0.05, 0.1, unit="share/month"), None, (-1, 1)),
        (figure(-0.02, -0.05, 0, unit="share/month"), None, (-0.5, 0.5)),
        (figure(2, 1.2, 4), {"x": (1, math.inf)}, (1, 40)),
        (figure(2, 1, 4), {"other": (1, 2)}, (0.1, 40)),
        (figure(0), None, (0, 0)),
    ],
)
def test_the_search_goes_ten_times_beyond_the_range_and_stops_at_hard_bounds(f, bounds, ends):
    read = []
    solve_thresholds({"x": f}, {"x": np.zeros(1)}, lambda d: read.append(d["x"][0]) or 1, bounds)
    assert (min(read), max(read)) == pytest.approx(ends)
    assert f.value in read


def test_the_other_inputs_are_drawn_and_the_same_for_every_value():
    figures = {"a": figure(2, 1, 3), "b": figure(2, 1, 3)}
    d, seen = drawn(figures), []

    def margin(given_):
        held = [k for k in given_ if np.ptp(given_[k]) == 0]
        assert len(held) == 1
        (other,) = set(given_) - set(held)
        assert given_[other] is d[other]
        seen.append(held[0])
        return 1.0

    solve_thresholds(figures, d, margin)
    assert set(seen) == {"a", "b"}


def test_an_infinite_margin_has_a_sign_and_one_that_is_no_number_is_an_error():
    f = {"x": figure(2, 1, 4)}
    found = solved(f, lambda d: math.inf if d["x"][0] > 3 else -math.inf)
    assert found.loc[0, "flips_at"] == pytest.approx(3, rel=1e-3)
    with pytest.raises(ValueError, match="NaN where x is"):
        solved(f, lambda d: math.nan)


@pytest.mark.parametrize(
    ("draws", "bounds", "words"),
    [({}, None, "no draws of x"), ({"x": np.zeros(2)}, {"x": (3, 9)}, "outside its bounds")],
)
def test_an_input_that_cannot_be_searched_is_an_error(draws, bounds, words):
    with pytest.raises(ValueError, match=words):
        solve_thresholds({"x": figure(2, 1, 4)}, draws, lambda d: 1.0, bounds)


def test_no_figures_give_an_empty_table_with_its_columns():
    empty = solve_thresholds({}, {}, lambda d: 1.0)
    assert empty.empty
    assert list(empty) == list(solved({"x": figure(2, 1, 3)}, lambda d: 1.0))

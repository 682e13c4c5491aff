from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from llmstudy.figure import Figure

BOUNDED = ["uniform", "loguniform", "triangular"]
U = np.linspace(0.01, 0.99, 99)

few = settings(max_examples=25, deadline=None)


@st.composite
def a_range(draw):
    low = draw(st.floats(0.01, 1e6))
    high = low * draw(st.floats(1.001, 1e3))
    return low, low + (high - low) * draw(st.floats(0, 1)), high


def figure(distribution, low, value, high):
    return Figure("x", value, "USD", low, high, distribution)


def reference(distribution, low, value, high):
    if distribution == "uniform":
        return stats.uniform(low, high - low)
    if distribution == "loguniform":
        return stats.loguniform(low, high)
    return stats.triang((value - low) / (high - low), low, high - low)


@pytest.mark.parametrize("distribution", BOUNDED)
@few
@given(ends=a_range())
def test_quantiles_are_those_of_scipy(distribution, ends):
    found = figure(distribution, *ends).quantile(U)
    assert found == pytest.approx(reference(distribution, *ends).ppf(U), rel=1e-9)


@few
@given(ends=a_range())
def test_low_and_high_of_a_lognormal_are_its_10th_and_90th_percentile(ends):
    low, _, high = ends
    found = figure("lognormal", *ends).quantile(U)
    sigma = np.log(high / low) / (2 * stats.norm.ppf(0.9))
    assert found == pytest.approx(stats.lognorm(sigma, scale=np.sqrt(low * high)).ppf(U), rel=1e-9)
    assert found[[9, 89]] == pytest.approx([low, high], rel=1e-9)


@pytest.mark.parametrize("distribution", [*BOUNDED, "lognormal"])
@few
@given(ends=a_range(), u=st.lists(st.floats(0, 1), min_size=2, max_size=20))
def test_quantiles_climb_with_u_and_stay_finite(distribution, ends, u):
    low, _, high = ends
    found = figure(distribution, *ends).quantile(np.sort(u))
    assert np.isfinite(found).all()
    assert (np.diff(found) >= -1e-9 * high).all()
    if distribution in BOUNDED:
        assert low * (1 - 1e-9) <= found.min()
        assert found.max() <= high * (1 + 1e-9)


def test_a_lognormal_is_cut_at_one_in_a_thousand():
    ends = figure("lognormal", 20_000, 1e6, 5e7).quantile(np.array([0, 0.001, 0.999, 1]))
    assert ends[0] == ends[1]
    assert ends[2] == ends[3]


@pytest.mark.parametrize("shape", [(), (3,), (2, 5)])
@pytest.mark.parametrize("distribution", ["fixed", *BOUNDED, "lognormal"])
def test_quantiles_have_the_shape_of_u(distribution, shape):
    assert figure(distribution, 1.0, 2.0, 3.0).quantile(np.full(shape, 0.5)).shape == shape


@pytest.mark.parametrize("certain", [Figure("x", 5, "s"), Figure("x", 5, "s", 5, 5, "uniform")])
def test_a_certain_figure_is_its_value_in_every_draw(certain):
    assert not certain.uncertain
    assert certain.quantile(U).tolist() == [5] * len(U)


@pytest.mark.parametrize(
    ("distribution", "low", "high", "says"),
    [
        ("uniform", None, None, "needs low and high"),
        ("triangular", 1, None, "needs low and high"),
        ("triangular", 3, 4, "value 2 lies outside its range"),
        ("uniform", 0, 1, "value 2 lies outside its range"),
        ("loguniform", 0, 4, "must be above zero"),
        ("lognormal", -1, 4, "must be above zero"),
        ("uniform", float("nan"), 4, "outside its range"),
        ("normal", 1, 4, "normal"),
    ],
)
def test_a_range_that_cannot_be_used_is_refused(distribution, low, high, says):
    with pytest.raises(ValueError, match=says):
        Figure("gpu", 2, "USD/h", low, high, distribution)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_not_finite_is_refused(value):
    with pytest.raises(ValueError, match="gpu"):
        Figure("gpu", value, "USD/h")


def test_the_row_of_a_figure_holds_every_field():
    price = Figure("h100", 2.29, "USD/h", 2.0, 6.88, "loguniform", "published", "catalogue")
    row = price.row()
    assert list(row) == [field.name for field in fields(Figure)]
    assert Figure(**row) == price

"""Attribution of a difference: the axioms, and the mean over all orders by brute force."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmstudy.simulate.breakdown import in_order, shapley

ITEMS = ["a", "b", "c", "d"]


def game(values):
    """A value for every subset of ITEMS, from 16 numbers."""
    return lambda changed: values[sum(2**i for i, x in enumerate(ITEMS) if x in changed)]


games = st.lists(st.floats(-1e6, 1e6), min_size=16, max_size=16).map(game)


@given(games)
def test_shapley_is_the_mean_of_what_an_item_adds_over_all_orders(value):
    orders = [in_order(value, order) for order in permutations(ITEMS)]
    found = shapley(value, ITEMS)
    for item in ITEMS:
        assert found[item] == pytest.approx(np.mean([o[item] for o in orders]), abs=1e-6)


@given(games, st.permutations(ITEMS))
def test_both_attributions_sum_to_the_whole_difference(value, order):
    whole = value(frozenset(ITEMS)) - value(frozenset())
    assert sum(shapley(value, order).values()) == pytest.approx(whole, abs=1e-6)
    assert sum(in_order(value, order).values()) == pytest.approx(whole, abs=1e-6)


@given(games, st.permutations(ITEMS))
def test_shapley_does_not_depend_on_the_order_in_which_items_are_named(value, order):
    assert shapley(value, order) == pytest.approx(shapley(value, ITEMS), abs=1e-6)


@given(st.lists(st.floats(-1e6, 1e6), min_size=5, max_size=5))
def test_items_that_do_the_same_get_the_same(by_size):
    found = shapley(lambda changed: by_size[len(changed)], ITEMS)
    assert list(found.values()) == pytest.approx([found["a"]] * 4, abs=1e-6)


@given(games)
def test_an_item_that_never_matters_gets_nothing(value):
    assert shapley(lambda changed: value(changed - {"c"}), ITEMS)["c"] == 0


def test_ordered_attribution_depends_on_the_order_where_items_interact():
    def area(changed):
        return (3 if "width" in changed else 2) * (20 if "height" in changed else 10)

    assert in_order(area, ["width", "height"]) == {"width": 10, "height": 30}
    assert in_order(area, ["height", "width"]) == {"height": 20, "width": 20}


@pytest.mark.parametrize("attribution", [shapley, in_order])
def test_an_item_named_twice_is_refused_by_name(attribution):
    with pytest.raises(ValueError, match="named twice: a"):
        attribution(lambda _: 0.0, ["a", "b", "a"])


def test_nothing_to_change_explains_nothing():
    assert shapley(lambda _: 5.0, []) == in_order(lambda _: 5.0, []) == {}

"""Hysteresis against a state machine that takes one period at a time."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmstudy.decide.triggers.hysteresis import (
    first_fired,
    periods_sustained,
    sustained,
    sustained_level,
)

NAN = math.nan

# few values, so that runs, ties with a level and unknown periods are common
values = st.sampled_from([0.0, 1.0, 1.5, 2.0, 3.0, NAN])
paths = st.integers(0, 12).flatmap(
    lambda months: st.lists(
        st.lists(values, min_size=months, max_size=months), min_size=1, max_size=4
    )
)
durations = st.integers(1, 4)


def watched(path, fire, release, periods):
    """The trigger after each period, by counters."""
    fired, up, down, states = False, 0, 0, []
    for x in path:
        if not math.isnan(x):
            up = up + 1 if x >= fire else 0
            down = down + 1 if x < release else 0
            if not fired and up >= periods:
                fired = True
            elif fired and down >= periods:
                fired = False
        states.append(fired)
    return states


@settings(max_examples=300)
@given(paths, durations)
def test_each_path_is_what_a_state_machine_makes_of_it(rows, periods):
    found = sustained(np.array(rows), 2.0, 1.5, periods)
    assert found.tolist() == [watched(path, 2.0, 1.5, periods) for path in rows]


@settings(max_examples=200)
@given(paths, durations, st.sampled_from([1.0, 2.0, 3.0]))
def test_it_first_fires_when_the_state_machine_does_whatever_the_level_of_release(
    rows, periods, fire
):
    for release in (fire - 0.5, -1.0):
        states = [watched(path, fire, release, periods) for path in rows]
        first = [path.index(True) if True in path else len(path) for path in states]
        assert first_fired(np.array(rows), fire, periods).tolist() == first


@settings(max_examples=200)
@given(paths, st.sampled_from([1.0, 2.0]))
def test_it_has_held_for_the_known_periods_since_the_last_below_the_level(rows, level):
    def by_hand(path):
        run = 0
        for x in path:
            run = run if math.isnan(x) else run + 1 if x >= level else 0
        return run

    assert periods_sustained(np.array(rows), level).tolist() == [by_hand(path) for path in rows]


@settings(max_examples=200)
@given(paths, durations)
def test_the_level_held_is_the_least_of_the_last_known_values(rows, periods):
    found = sustained_level(np.array(rows), periods)
    for path, levels in zip(rows, found, strict=True):
        for t, level in enumerate(levels):
            known = [x for x in path[: t + 1] if not math.isnan(x)]
            enough = len(known) >= periods and not math.isnan(path[t])
            assert level == (min(known[-periods:]) if enough else -math.inf)


@pytest.mark.parametrize(
    ("path", "states"),
    [
        ("33", "01"),
        ("3133", "0001"),  # a dip begins the count anew
        ("3?3", "001"),  # an unknown period is passed over: no break, and no count
        ("33?", "011"),  # and leaves the state as it was
        ("3?1", "000"),
        ("331", "011"),  # one period below the release level is not enough
        ("3311", "0110"),
        ("331?1", "01110"),
        ("33222222", "01111111"),  # between the levels nothing changes
        ("222222", "000000"),
        ("331133", "011001"),
        ("????", "0000"),
    ],
)
def test_of_two_in_a_row_fired_at_three_and_released_below_two(path, states):
    signal = np.array([[NAN if x == "?" else float(x) for x in path]])
    found = sustained(signal, 3.0, 2.0, periods=2)[0]
    assert "".join(str(int(x)) for x in found) == states


@given(paths, durations)
def test_an_unknown_period_changes_no_state(rows, periods):
    signal = np.array(rows)
    found = sustained(signal, 2.0, 1.5, periods)
    before = np.hstack([np.zeros((len(found), 1), bool), found])[:, :-1] if found.size else found
    assert (found == before)[np.isnan(signal)].all()


def test_a_p95_among_the_failures_is_above_every_level():
    signal = np.array([[np.inf, np.inf, 1.0]])
    assert sustained(signal, 5.0, 4.0, periods=2).tolist() == [[False, True, True]]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: sustained(np.ones((1, 2)), 1.0, 1.0, 1), "is not below the fire level"),
        (lambda: sustained(np.ones((1, 2)), 1.0, NAN, 1), "is not below the fire level"),
        (lambda: first_fired(np.ones((1, 2)), 1.0, 0), "must be 1 or more"),
        (lambda: first_fired(np.ones(3), 1.0, 1), r"\(n_paths, n_periods\)"),
    ],
)
def test_what_cannot_be_watched_is_refused(call, says):
    with pytest.raises(ValueError, match=says):
        call()

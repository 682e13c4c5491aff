from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from llmstudy.measures.capacity import (
    PARAMETERS,
    PRIOR,
    SETTING,
    choose_points,
    fit_groups,
    gpu,
    guessed_curve,
    log_tpot_slopes,
    model_shape,
    serving_points,
    usable_points,
)

SHAPE, CARD = model_shape("meta-llama/Llama-3.1-70B"), gpu("h200_sxm")


@pytest.fixture(scope="module")
def guess():
    return guessed_curve(SHAPE, CARD, "fp8", "any")


@pytest.fixture(scope="module")
def used():
    points = serving_points(SHAPE.model, CARD.gpu, "fp8")
    return usable_points(points, SHAPE, CARD, "fp8")


def mean_variance(curve, candidates, chosen):
    """Mean variance of log TPOT over all candidates once some are measured: normal theory, by
    conditioning on all measurements at once."""
    slopes = log_tpot_slopes(curve, candidates)
    at = np.log2(candidates[SETTING].to_numpy(dtype=float))
    squared = ((at[:, None, :] - at[None, :, :]) ** 2).sum(axis=2)
    before = slopes @ slopes.T + 0.1**2 * np.exp(-squared / (2 * 2.0**2))
    seen = before[np.ix_(chosen, chosen)] + 0.05**2 * np.eye(len(chosen))
    between = before[:, chosen]
    return np.mean(np.diag(before - between @ np.linalg.inv(seen) @ between.T))


def test_each_point_chosen_leaves_the_least_uncertainty_of_all_that_could_be_added(guess, used):
    chosen = choose_points(guess, used, 6, seed=0).tolist()
    for k in range(6):
        others = [i for i in range(len(used)) if i not in chosen[:k]]
        left = {i: mean_variance(guess, used, [*chosen[:k], i]) for i in others}
        assert left[chosen[k]] == pytest.approx(min(left.values()), rel=1e-6)


def test_the_slopes_are_the_derivatives_of_log_tpot(guess, used):
    slopes = log_tpot_slopes(guess, used)
    where = [used[name].to_numpy() for name in SETTING]
    for column, name in enumerate(PARAMETERS):
        # log odds of a share p grow by dp / (p (1 - p)), a logarithm by dx / x
        value = getattr(guess, name)
        per_spread = value * (1 - value if "efficiency" in name else 1) * PRIOR.spread[column]
        moved = replace(guess, **{name: value + 1e-6 * per_spread})
        rise = np.log(moved.tpot_s(*where) / guess.tpot_s(*where)) / 1e-6
        assert slopes[:, column] == pytest.approx(rise, rel=1e-3, abs=1e-4)


def test_what_was_measured_and_the_order_of_rows_do_not_move_the_choice(guess, used):
    chosen = used.iloc[choose_points(guess, used, 8, seed=3)][SETTING]
    noise = np.random.default_rng(1).uniform(0.1, 10, len(used))
    other = used.assign(tpot_ms=used["tpot_ms"] * noise).sample(frac=1, random_state=2)
    again = other.iloc[choose_points(guess, other, 8, seed=3)][SETTING]
    assert sorted(map(tuple, chosen.to_numpy())) == sorted(map(tuple, again.to_numpy()))


def test_fewer_points_are_the_first_of_more_and_none_is_chosen_twice(guess, used):
    eight = choose_points(guess, used, 8, seed=5).tolist()
    assert choose_points(guess, used, 5, seed=5).tolist() == eight[:5]
    assert len(set(eight)) == 8
    assert choose_points(guess, used, len(used), seed=5).size == len(used)


def test_a_twin_of_a_measured_point_is_the_last_to_be_measured(guess):
    ladder = pd.DataFrame([(c, 1024, 1024, 1) for c in (1, 4, 16, 64)], columns=SETTING)
    twins = pd.concat([ladder, ladder], ignore_index=True)
    first_four = choose_points(guess, twins, 4, seed=0) % 4
    assert sorted(first_four) == [0, 1, 2, 3]
    # between twins the seed decides
    assert len({tuple(choose_points(guess, twins, 4, seed=s)) for s in range(8)}) > 1


def test_more_points_than_candidates_are_refused(guess, used):
    with pytest.raises(ValueError, match=r"3 points of 2 candidates: choose fewer"):
        choose_points(guess, used.head(2), 3, seed=0)


def test_chosen_points_miss_the_rest_by_less_than_random_ones():
    groups, _ = fit_groups(serving_points(), n_fit=5, seed=0, random_choices=9)
    chosen = np.array([g.median_abs_error_share for g in groups])
    at_random = np.array([g.random_median_abs_error_share for g in groups])
    assert np.exp(np.log(chosen / at_random).mean()) < 0.9
    assert (chosen < at_random).mean() > 0.6

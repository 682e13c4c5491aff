from functools import cache

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from SALib.analyze import pawn as salib_pawn
from scipy.stats import norm

from llmstudy.figure import Figure
from llmstudy.simulate.ranking import (
    never_by_bin,
    never_by_input,
    pawn,
    possible_ranks,
    sensitivity,
)


def uniform(low=0.0, high=1.0):
    return Figure("", (low + high) / 2, "x", low, high, "uniform")


def uniforms(n, names, seed):
    rng = np.random.default_rng(seed)
    return {name: rng.random(n) for name in names}


# ---- ranks


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 0.5)), min_size=1, max_size=12))
def test_inputs_share_a_possible_rank_exactly_when_told_apart_does_not_order_them(intervals):
    low = np.array([x for x, _ in intervals])
    high = np.array([x + width for x, width in intervals])
    best, worst = possible_ranks(low, high)
    for i in range(len(low)):
        assert best[i] == 1 + sum(low[j] > high[i] for j in range(len(low)))
        assert best[i] <= worst[i]
        for j in range(len(low)):
            if low[i] <= high[j] and low[j] <= high[i]:  # they overlap
                assert max(best[i], best[j]) <= min(worst[i], worst[j])
            elif low[i] > high[j]:
                assert best[i] < best[j]
                assert worst[i] < worst[j]


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 0.5)), min_size=1, max_size=8), st.data())
def test_no_order_of_values_within_their_intervals_leaves_the_possible_ranks(intervals, data):
    low = np.array([x for x, _ in intervals])
    high = np.array([x + width for x, width in intervals])
    values = np.array([data.draw(st.floats(a, b)) for a, b in zip(low, high, strict=True)])
    best, worst = possible_ranks(low, high)
    above = (values[None, :] > values[:, None]).sum(axis=1)
    below = (values[None, :] < values[:, None]).sum(axis=1)
    assert (best <= 1 + above).all()
    assert (worst >= len(values) - below).all()


# ---- Sobol indices


G_WEIGHTS = {"x1": 0.0, "x2": 1.0, "x3": 4.5, "x4": 99.0}


def g_function(d):
    return np.prod([(abs(4 * d[k] - 2) + a) / (1 + a) for k, a in G_WEIGHTS.items()], axis=0)


def g_total_effects():
    """Saltelli & Sobol (1995): partial variances 1/3 / (1 + a)^2, multiplied."""
    parts = {k: 1 / (3 * (1 + a) ** 2) for k, a in G_WEIGHTS.items()}
    everything = np.prod([1 + v for v in parts.values()])
    return {k: v * everything / (1 + v) / (everything - 1) for k, v in parts.items()}


def test_total_effects_of_the_g_function_are_its_known_ones_and_rank_it():
    figures = {k: uniform() for k in G_WEIGHTS}
    found = sensitivity(figures, g_function, 2048, seed=4).set_index("input")
    for name, effect in g_total_effects().items():
        assert found.loc[name, "total_effect"] == pytest.approx(effect, abs=0.03)
    assert found["rank"].to_dict() == {"x1": 1, "x2": 2, "x3": 3, "x4": 4}
    assert found["rank_worst"].tolist() == [1, 2, 3, 4]


def test_the_interval_of_a_total_effect_covers_the_truth_as_often_as_it_says():
    weights = {"a": 3.0, "b": 2.0, "c": 0.5}
    figures = {k: uniform() for k in weights}
    truth = {k: w**2 / sum(v**2 for v in weights.values()) for k, w in weights.items()}
    covered = []
    for seed in range(60):
        found = sensitivity(figures, lambda d: sum(w * d[k] for k, w in weights.items()), 64, seed)
        effect = found["input"].map(truth)
        covered += list((found["total_effect"] - effect).abs() <= found["total_effect_error"])
    # the bootstrap takes the points for independent: a Sobol sequence does better than it says
    assert np.mean(covered) >= 0.93


def test_equal_inputs_share_their_ranks_and_a_weaker_one_does_not():
    figures = {k: uniform() for k in "abc"}
    found = sensitivity(figures, lambda d: 3 * d["a"] + 3 * d["b"] + d["c"], 256, seed=5)
    ranks = found.set_index("input")[["rank", "rank_worst"]].T.to_dict("list")
    assert ranks == {"a": [1, 2], "b": [1, 2], "c": [3, 3]}


def test_the_same_seed_gives_the_same_table_even_seed_nought():
    figures = {"a": uniform(), "b": uniform()}
    for seed in (0, 7):
        twice = [sensitivity(figures, lambda d: d["a"] * d["b"], 64, seed) for _ in range(2)]
        pd.testing.assert_frame_equal(*twice)


def test_an_infinite_outcome_has_no_variance_and_the_error_says_what_to_use():
    with pytest.raises(ValueError, match="pawn"):
        sensitivity({"a": uniform()}, lambda d: np.where(d["a"] > 0.5, np.inf, d["a"]), 16, seed=1)


# ---- PAWN


@cache
def median_distance(weight, slides=10):
    """PAWN index of x in y = w x + sqrt(1 - w^2) z, both standard normal, by integration."""
    y, rest = np.linspace(-5, 5, 1001), np.sqrt(1 - weight**2)
    x = norm.ppf((np.arange(slides * 200) + 0.5) / (slides * 200)).reshape(slides, 200)
    within = [norm.cdf((y[:, None] - weight * some) / rest).mean(axis=1) for some in x]
    return np.median([np.abs(f - norm.cdf(y)).max() for f in within])


def test_the_index_is_that_of_salib():
    d = uniforms(3_000, "abc", seed=2)
    y = d["a"] ** 2 + 0.5 * d["a"] * d["b"]
    problem = {"num_vars": 3, "names": list(d), "bounds": [[0, 1]] * 3}
    theirs = salib_pawn.analyze(problem, np.column_stack(list(d.values())), y, S=8)
    ours = pawn(d, y, seed=1, slides=8).set_index("input")["pawn"]
    # theirs leaves the largest draw of an input out, ours compares at 500 heights
    assert ours[list(d)].tolist() == pytest.approx(theirs["median"], abs=0.004)


def test_the_interval_covers_the_index_of_linear_normal_outcomes_strong_weak_and_none():
    rng = np.random.default_rng(8)
    weights = {"strong": 0.8, "middling": 0.4, "weak": 0.15, "none": 0.0}
    rest = np.sqrt(1 - sum(w**2 for w in weights.values()))
    covered = {name: [] for name in weights}
    for seed in range(16):
        x = {name: rng.normal(size=1_000) for name in weights}
        y = sum(w * x[name] for name, w in weights.items()) + rest * rng.normal(size=1_000)
        for row in pawn(x, y, seed).itertuples():
            truth = median_distance(weights[row.input])
            covered[row.input].append(row.low <= truth <= row.high)
    for name, hits in covered.items():
        assert np.mean(hits) >= 0.88, name
    assert np.mean(list(covered.values())) >= 0.94


def test_inputs_without_effect_are_not_told_from_nothing_in_most_analyses():
    fired = []
    for seed in range(25):
        d = uniforms(300, "abc", seed)
        y = np.random.default_rng([seed, 1]).normal(size=300)
        found = pawn(d, y, seed)
        fired.append(found["above_dummy"].any())
        assert (found.loc[~found["above_dummy"], "low"] == 0).all()
    assert np.mean(fired) <= 0.16  # 5 % by chance: 5 or more of 25 happen once in 140


def test_an_input_that_decides_is_told_from_nothing_beside_many_that_do_not():
    d = uniforms(2_000, "abcdef", seed=3)
    found = pawn(d, np.exp(8 * d["a"] + d["b"]), seed=1).set_index("input")
    assert found.index[0] == "a"
    assert found.loc[["a", "b"], "above_dummy"].all()
    assert found["rank"].loc[["a", "b"]].tolist() == [1, 2]
    assert (found["rank_worst"].loc[list("cdef")] == 6).all()


def test_only_the_order_of_outcomes_counts_and_never_comes_last():
    d = uniforms(1_000, "ab", seed=4)
    y = d["a"] + 0.2 * d["b"]
    capped = np.where(y > 0.7, 0.7, y)
    for same in (np.where(y > 0.7, np.inf, y), np.where(y > 0.7, 1e300, np.exp(y))):
        pd.testing.assert_frame_equal(pawn(d, same, seed=1), pawn(d, capped, seed=1))
    pd.testing.assert_frame_equal(pawn(d, np.exp(9 * y), seed=1), pawn(d, y, seed=1))


def test_nothing_moves_an_outcome_that_is_always_never():
    d = uniforms(400, "ab", seed=5)
    found = pawn(d, np.full(400, np.inf), seed=1)
    assert (found[["pawn", "low", "high", "dummy"]] == 0).all(axis=None)
    assert not found["above_dummy"].any()


def test_inputs_that_do_not_vary_are_left_out_and_equal_values_stay_in_one_slide():
    rng = np.random.default_rng(6)
    d = {"held": np.ones(2_000), "coin": rng.integers(0, 2, 2_000).astype(float)}
    y = d["coin"] + rng.random(2_000)
    found = pawn(d, y, seed=1)
    assert found["input"].tolist() == ["coin"]
    # two slides, each all of one half of the outcome: the distance of either from the whole is 1/2
    assert found.loc[0, "pawn"] == pytest.approx(0.5, abs=0.03)
    assert pawn({"held": d["held"]}, y, seed=1).empty


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (np.arange(99.0), np.arange(99.0), "20 in each"),
        (np.arange(500.0), np.arange(499.0), "pair them"),
        (np.arange(500.0), np.append(np.arange(499.0), np.nan), "the outcome is NaN"),
    ],
)
def test_draws_that_cannot_be_ranked_are_an_error(x, y, words):
    with pytest.raises(ValueError, match=words):
        pawn({"a": x}, y, seed=1)


# ---- P(never)


def test_p_never_by_bin_is_counted_with_its_wilson_interval():
    x = np.arange(100.0)
    found = never_by_bin({"x": x, "held": 0 * x}, x >= 70, bins=5)
    assert found["n"].tolist() == [20] * 5
    assert found["p_never"].tolist() == [0, 0, 0, 0.5, 1]
    assert found[["from_value", "to_value"]].iloc[3].tolist() == [60, 79]
    # Wilson (1927) for 10 of 20 and 0 of 20
    assert found.loc[3, ["low", "high"]].tolist() == pytest.approx([0.2993, 0.7007], abs=1e-4)
    assert found.loc[0, ["low", "high"]].tolist() == pytest.approx([0, 0.1611], abs=1e-4)


def test_the_spread_of_p_never_over_quintiles_is_the_closed_form():
    # never when a > u, u uniform: P(never | a) = a, which is 0.1 and 0.9 in the outer quintiles
    d = uniforms(4_000, ["a", "u", "idle"], seed=9)
    found = never_by_input({k: d[k] for k in ("a", "idle")}, d["a"] > d["u"], seed=1)
    a, idle = found.inputs.iloc[0], found.inputs.iloc[1]
    assert a["input"] == "a"
    assert a["low"] < 0.8 < a["high"]
    assert [a["p_never_low_bin"], a["p_never_high_bin"]] == pytest.approx([0.1, 0.9], abs=0.04)
    assert a["above_chance"]
    assert not idle["above_chance"]
    assert [a["rank"], idle["rank"]] == [1, 2]


@pytest.mark.parametrize("slope", [0.0, 0.2, 0.9])
def test_the_interval_of_a_spread_covers_the_truth_at_least_as_often_as_it_says(slope):
    truth, covered = 0.8 * slope, []
    for seed in range(50):
        d = uniforms(800, ["a", "u"], seed)
        never = 0.05 + slope * d["a"] > d["u"]
        row = never_by_input({"a": d["a"]}, never, seed=1).inputs.iloc[0]
        covered.append(row["low"] <= truth <= row["high"])
    assert np.mean(covered) >= 0.95


def test_inputs_without_effect_exceed_the_chance_spread_in_one_analysis_of_twenty():
    fired = []
    for seed in range(60):
        d = uniforms(300, ["a", "b", "c", "u"], seed)
        known = {k: d[k] for k in "abc"}
        fired.append(never_by_input(known, d["u"] > 0.7, seed).inputs["above_chance"].any())
    assert np.mean(fired) <= 0.12  # 5 % by chance: 8 or more of 60 happen once in 100


@pytest.mark.parametrize(("always", "words"), [(True, "never in all"), (False, "reached in all")])
def test_where_never_does_not_vary_there_is_nothing_to_rank_and_the_reason_is_told(always, words):
    d = uniforms(400, "ab", seed=1)
    by_input = never_by_input(d, np.full(400, always), seed=1)
    assert words in by_input.reason
    assert by_input.inputs.empty
    assert by_input.p_never.estimate == float(always)
    ranked = never_by_input(d, d["a"] > 0.5, seed=1)
    assert ranked.reason == ""
    assert list(by_input.inputs) == list(ranked.inputs)

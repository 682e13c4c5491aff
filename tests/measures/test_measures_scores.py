"""Verdicts straight from scores: against SciPy and statsmodels, by simulation, and mistakes."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import ttost_paired

from llmstudy.measures.quality import (
    PairedCounts,
    items_needed,
    non_inferiority,
    pass_mark,
    score_test_size,
)
from llmstudy.measures.scores import compare_quality

RNG = np.random.default_rng(7)
BINARY = pd.DataFrame({"item_id": [f"q{i}" for i in range(200)], "today": 1, "open": 1})
BINARY.loc[:19, "today"], BINARY.loc[180:, "open"] = 0, 0
BINARY.loc[100:104, ["today", "open"]] = 0
GRADED = pd.DataFrame({"today": RNG.integers(1, 6, 80)}).assign(
    open=lambda s: s["today"] + RNG.normal(0.05, 0.9, 80).round(1)
)


def long(wide):
    rows = wide.melt("item_id", ["today", "open"], "model", "score")
    return rows.sample(frac=1, random_state=1)


def judge(scores, margin=0.05, **options):
    return compare_quality(scores, baseline="today", candidate="open", margin=margin, **options)


@pytest.mark.parametrize("form", [lambda s: s, lambda s: s.astype({"today": bool}), long])
def test_binary_scores_are_counted_and_judged_by_tangos_interval(form):
    ours = judge(form(BINARY))
    counts = PairedCounts(both=155, only_a=20, only_b=20, neither=5)
    test = non_inferiority(counts, 0.05)
    assert ours.scale == "binary"
    assert (ours.verdict, ours.n_needed) == (test.verdict, test.n_needed)
    assert (ours.difference, ours.low, ours.high) == (0, test.difference.low, test.difference.high)
    assert (ours.both, ours.only_baseline, ours.only_candidate, ours.neither) == (155, 20, 20, 5)
    assert ours.pass_mark == pass_mark(200, 0.2, 0.05)
    assert ours.wilcoxon_p is None


def test_graded_scores_are_judged_as_scipy_and_statsmodels_judge_them():
    ours = judge(GRADED, margin=0.2)
    paired = stats.ttest_rel(GRADED["open"], GRADED["today"])
    interval = paired.confidence_interval(0.9)
    assert ours.scale == "graded"
    assert (ours.low, ours.high) == pytest.approx((interval.low, interval.high))
    _, (_, p_above, _), _ = ttost_paired(
        GRADED["open"].to_numpy(float), GRADED["today"].to_numpy(float), -0.2, 0.2
    )
    assert ours.p_value == pytest.approx(p_above)
    shifted = GRADED["open"] - GRADED["today"] + 0.2
    ranks = stats.wilcoxon(shifted.round(12), alternative="greater", correction=True)
    assert ours.wilcoxon_p == pytest.approx(ranks.pvalue)
    assert ours.discordance_share is None
    assert judge(GRADED * 20, margin=4).p_value == pytest.approx(ours.p_value)  # on any scale


def test_the_pass_mark_of_graded_scores_is_where_the_verdict_turns():
    ours = judge(GRADED, margin=0.2)
    for step, verdict in ((1e-6, "non-inferior"), (-1e-6, "undecided")):
        moved = GRADED.assign(open=GRADED["open"] + ours.pass_mark - ours.difference + step)
        assert judge(moved, margin=0.2).verdict == verdict


@pytest.mark.parametrize("loss", [0.05, 0.12, 0.3])
def test_the_items_that_graded_scores_need_have_the_power_that_statsmodels_gives(loss):
    noise = stats.norm.ppf((np.arange(40) + 0.5) / 40)
    ours = judge(pd.DataFrame({"today": 3.0, "open": 3 - loss + noise}), margin=0.2)
    assert ours.verdict == "undecided"
    effect = abs(0.2 - loss) / noise.std(ddof=1)
    power = TTestPower().power(effect, ours.n_needed, 0.05, alternative="larger")
    assert power == pytest.approx(0.8, abs=0.005)


@pytest.mark.parametrize("n", [30, 200])
def test_graded_intervals_cover_the_truth_and_a_loss_of_the_margin_rarely_passes(n):
    rng = np.random.default_rng(n)
    covered, passed = [], []
    for _ in range(600):
        today = rng.integers(1, 6, n)
        worse = today - rng.choice([0, 0, 0, 1, -1, 2], n, p=[0.2, 0.2, 0.2, 0.2, 0.1, 0.1])
        ours = judge(pd.DataFrame({"today": today, "open": worse}), margin=0.3)
        covered.append(ours.low <= -0.3 <= ours.high)  # the mean loss is 0.3, which is the margin
        passed.append(ours.verdict == "non-inferior")
    assert 0.87 <= np.mean(covered) <= 0.93
    assert np.mean(passed) <= 0.075


def test_a_comparison_is_one_line_and_one_row():
    ours = judge(BINARY)
    assert str(ours).startswith("open against today: undecided, +0 [-0.0")
    assert "items would settle it" in str(ours)
    assert "\n" not in repr(ours)
    (row,) = ours.frame().to_dict("records")
    assert (row["verdict"], row["discordance_share"], row["n"]) == ("undecided", 0.2, 200)


def test_two_models_that_always_agree_have_a_verdict():
    same = judge(BINARY.assign(open=BINARY["today"]), margin=0.02)
    assert (same.verdict, same.difference, same.discordance_share) == ("non-inferior", 0, 0)
    few = judge(BINARY.assign(open=BINARY["today"])[:40], margin=0.02)
    assert few.verdict == "undecided"


def changed(row, column, value):
    return BINARY.astype({column: object}).pipe(
        lambda s: s.assign(**{column: s[column].where(s.index != row, value)})
    )


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (changed(3, "open", None), r"1 item without a score of open: .* \(first: q3\)"),
        (changed(3, "today", np.nan), r"1 item without a score of today: .* \(first: q3\)"),
        (changed(3, "open", "good"), r"1 item with a score that is not a number: .* \(first: q3\)"),
        (changed(3, "open", np.inf), r"1 item with a score that is not a number"),
        (changed(3, "open", -1), r"1 item scored outside 0..1 .* \(first: q3\)"),
        (changed(3, "item_id", "q4"), r"1 item scored twice .* \(first: q4\)"),
        (changed(3, "item_id", None), "1 row without item_id"),
        (long(BINARY).query("item_id != 'q7' or model != 'open'"), "without a score of open: .*q7"),
        (pd.concat([long(BINARY), long(BINARY)[:1]]), "1 item scored twice"),
        (
            long(BINARY).replace("open", "other"),
            r"no scores of \['open'\]: the column model has .*'other'",
        ),
        (BINARY[:0], "no items"),
        (pd.DataFrame(), "neither a column for each of 'today' and 'open' nor"),
        (BINARY.rename(columns={"open": "llama"}), r"they have \['item_id', 'today', 'llama'\]"),
        (GRADED.assign(open=GRADED["today"] + 1), "differ by 1 on each of 80 items"),
        (GRADED[:1], "on each of 1 items"),
        ({"today": [1], "open": [1]}, "scores is a dict"),
    ],
)
def test_scores_that_cannot_be_compared_are_named_and_nothing_is_dropped(scores, message):
    with pytest.raises(ValueError, match=message) as raised:
        judge(scores)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"margin": 3}, "margin 3: give a share"),
        ({"margin": 0}, "margin 0"),
        ({"alpha": 0.95}, "one-sided level"),
        ({"candidate": "today"}, "name two models"),
    ],
)
def test_an_option_out_of_range_is_one_sentence(options, message):
    call = {"baseline": "today", "candidate": "open", "margin": 0.05} | options
    with pytest.raises(ValueError, match=message):
        compare_quality(BINARY, **call)


def test_the_items_needed_broadcast_over_columns():
    plans = pd.DataFrame({"discordance_share": [0.05, 0.1, 0.2], "margin": [0.02, 0.03, 0.05]})
    sizes = items_needed(plans["discordance_share"], plans["margin"], power=0.9)
    one_by_one = [score_test_size(*row, power=0.9) for row in plans.to_numpy()]
    assert sizes.tolist() == one_by_one
    assert items_needed(np.array([[0.1], [0.2]]), [0.02, 0.03]).shape == (2, 2)
    assert isinstance(items_needed(0.1, 0.03), int)
    with pytest.raises(ValueError, match="margin 3: give a share"):
        items_needed([0.1, 0.2], 3)

from dataclasses import astuple

import numpy as np
import pandas as pd
import pytest

from llmstudy.evals.evidence import paired_evidence
from llmstudy.evals.table import conform
from llmstudy.evals.verdict import compare, costs_at_prices, costs_of, noise_floor
from llmstudy.measures.quality import PairedCounts


def _evaluation(cells, n, rng, usd=(0.004, 0.001), **columns):
    """n items drawn from the cells both, api alone, open alone, neither."""
    drawn = rng.permutation(np.repeat(np.arange(4), rng.multinomial(n, cells)))
    a, b = np.isin(drawn, (0, 1)), np.isin(drawn, (0, 2))
    both = {
        "item_id": np.tile(np.arange(n), 2),
        "route": np.repeat(["api", "open"], n),
        "score": np.concatenate([a, b]).astype(float),
        "cost_usd": np.concatenate([np.full(n, x) * rng.lognormal(0, 0.3, n) for x in usd]),
    }
    return conform(pd.DataFrame({**both, **{k: np.tile(v, 2) for k, v in columns.items()}}))


EQUAL = (0.85, 0.04, 0.04, 0.07)
WORSE = (0.75, 0.15, 0.03, 0.07)
BETTER = (0.75, 0.03, 0.15, 0.07)


@pytest.mark.parametrize(
    ("cells", "n", "usd", "action"),
    [
        (EQUAL, 3_000, (0.004, 0.001), "SWITCH"),
        (BETTER, 1_000, (0.004, 0.001), "SWITCH"),
        (WORSE, 1_000, (0.004, 0.001), "STAY"),
        (EQUAL, 3_000, (0.001, 0.004), "STAY"),
        (EQUAL, 60, (0.004, 0.001), "COLLECT"),
    ],
)
def test_the_planted_truth_is_the_verdict(cells, n, usd, action):
    evaluation = _evaluation(cells, n, np.random.default_rng(1), usd)
    (verdict,) = compare(evaluation, "api", 0.03)
    assert verdict.action == action
    assert verdict.sentence.startswith(action)


def test_a_candidate_that_loses_the_margin_switches_as_seldom_as_the_level_says():
    rng = np.random.default_rng(2)
    cells = (0.83, 0.065, 0.035, 0.07)  # a true loss of 3 points
    samples = (_evaluation(cells, 400, rng).assign(cost_usd=None) for _ in range(60))
    switched = [compare(conform(x), "api", 0.03)[0].action == "SWITCH" for x in samples]
    assert np.mean(switched) <= 0.08  # half of alpha, and chance


def test_the_items_to_collect_settle_the_verdict_about_as_often_as_planned():
    rng = np.random.default_rng(13)
    (verdict,) = compare(_evaluation(EQUAL, 100, rng), "api", 0.03)
    assert verdict.action == "COLLECT"
    # planned for what these items show, at the level of the second look
    counts = verdict.parts[0].items.counts
    seen = np.array([counts.both, counts.only_a, counts.only_b, counts.neither]) / counts.n
    n = 100 + verdict.more_items
    settled = [
        compare(conform(_evaluation(seen, n, rng).assign(cost_usd=None)), "api", 0.03, looks=1)[0]
        .parts[0]
        .test.verdict
        != "undecided"
        for _ in range(25)
    ]
    assert np.mean(settled) >= 0.7


def test_two_candidates_share_the_level_by_holm():
    rng = np.random.default_rng(4)
    one = _evaluation(EQUAL, 1_500, rng)
    second = one[one["route"] == "open"].assign(route="other")
    both = compare(conform(pd.concat([one, second])), "api", 0.03)
    (alone,) = compare(one, "api", 0.03)
    assert [verdict.candidate for verdict in both] == ["open", "other"]
    assert min(v.parts[0].test.alpha for v in both) == pytest.approx(alone.parts[0].test.alpha / 2)


def test_a_protected_slice_that_is_worse_keeps_everything_from_moving():
    rng = np.random.default_rng(5)
    parts = [
        _evaluation(EQUAL, 4_000, rng, slice=np.full(4_000, "en")),
        _evaluation(WORSE, 600, rng, slice=np.full(600, "de")).assign(
            item_id=lambda rows: "d" + rows["item_id"]
        ),
    ]
    evaluation = conform(pd.concat(parts))
    (verdict,) = compare(evaluation, "api", 0.05, protected=["de"])
    assert verdict.action == "HYBRID"
    assert "en may move; de stays" in verdict.sentence
    (without,) = compare(evaluation, "api", 0.05)
    assert without.action == "SWITCH"


def test_an_undecided_protected_slice_asks_for_items_in_its_share_of_all():
    rng = np.random.default_rng(6)
    evaluation = _evaluation(EQUAL, 2_000, rng, slice=np.repeat(["en", "de"], [1_950, 50]))
    (verdict,) = compare(evaluation, "api", 0.03, protected=["de"])
    assert verdict.action in ("COLLECT", "HYBRID")
    slice_ = next(part for part in verdict.parts if part.slice == "de")
    assert slice_.test.verdict == "undecided"


def test_repair_of_wrong_answers_may_make_a_cheaper_route_dearer():
    rng = np.random.default_rng(7)
    evidence = paired_evidence(_evaluation(WORSE, 2_000, rng), "api", "open")
    assert costs_of(evidence).difference.high < 0
    assert costs_of(evidence, repair_usd=1.0).difference.low > 0


@pytest.mark.parametrize("cells", [EQUAL, (0.98, 0.005, 0.005, 0.01)])
def test_the_interval_of_the_saving_per_accepted_answer_covers_the_true_one(cells):
    rng = np.random.default_rng(8)
    mean = np.exp(0.3**2 / 2)
    right = cells[0] + cells[1], cells[0] + cells[2]
    truth = 0.001 * mean / right[1] - 0.004 * mean / right[0]
    covered = []
    for _ in range(60):
        saved = costs_of(paired_evidence(_evaluation(cells, 200, rng), "api", "open")).difference
        covered.append(saved.low <= truth <= saved.high)
    assert np.mean(covered) >= 0.88


@pytest.mark.parametrize("cells", [EQUAL, (0.8, 0.08, 0.02, 0.1)])
def test_at_known_prices_the_interval_of_the_saving_covers_the_true_one(cells):
    rng = np.random.default_rng(11)
    truth = 0.001 / (cells[0] + cells[2]) - 0.00103 / (cells[0] + cells[1])
    covered = []
    for counts in rng.multinomial(300, cells, size=400):
        saved = costs_at_prices(PairedCounts(*map(int, counts)), 0.00103, 0.001).difference
        covered.append(saved.low <= truth <= saved.high)
    assert 0.93 <= np.mean(covered) <= 0.975


def test_at_known_prices_the_cost_is_that_of_answers_which_all_cost_the_same():
    evaluation = _evaluation(EQUAL, 2_000, np.random.default_rng(12))
    evaluation["cost_usd"] = np.where(evaluation["route"] == "api", 0.004, 0.001)
    evidence = paired_evidence(evaluation, "api", "open")
    recorded, priced = costs_of(evidence), costs_at_prices(evidence.overall.counts, 0.004, 0.001)
    for one, other in zip(astuple(recorded), astuple(priced), strict=True):
        assert one == pytest.approx(other, rel=2e-3)


def test_a_route_without_an_accepted_answer_has_no_cost_of_one():
    assert costs_at_prices(PairedCounts(0, 9, 0, 1), 0.004, 0.001) is None


def test_without_recorded_costs_the_verdict_rests_on_quality_and_says_so():
    evaluation = _evaluation(EQUAL, 3_000, np.random.default_rng(9)).assign(cost_usd=None)
    (verdict,) = compare(conform(evaluation), "api", 0.03)
    assert (verdict.action, verdict.costs) == ("SWITCH", None)
    assert "cost of an accepted answer is not known" in verdict.sentence


def test_an_answer_that_only_a_judge_scored_decides_nothing():
    evaluation = _evaluation(EQUAL, 3_000, np.random.default_rng(10)).assign(judge="gpt-4o")
    (verdict,) = compare(evaluation, "api", 0.03)
    assert verdict.action == "COLLECT"
    assert "no label checks it" in verdict.because


def test_a_judge_that_prefers_the_candidate_does_not_win_it_the_workload():
    rng = np.random.default_rng(11)
    evaluation = _evaluation(WORSE, 2_000, rng)
    candidate = evaluation["route"] == "open"
    kind = candidate & (rng.random(len(evaluation)) < 0.8)
    labelled = evaluation["item_id"].astype(int) < 500
    judged = evaluation.assign(
        score_2=evaluation["score"].where(labelled), score=evaluation["score"].mask(kind, 1.0)
    ).assign(judge="judge-model")
    (verdict,) = compare(conform(judged), "api", 0.03)
    assert verdict.action == "STAY"
    assert verdict.parts[0].items.judge_only.low > -0.03  # the judge alone would switch


def test_the_noise_floor_is_that_of_two_answers_to_the_same_items():
    rng = np.random.default_rng(12)
    first = _evaluation(EQUAL, 500, rng)
    again = first.assign(
        epoch=2, score=np.where(rng.random(1_000) < 0.1, 1 - first["score"], first["score"])
    )
    floor = noise_floor(conform(pd.concat([first, again])))
    assert floor == pytest.approx(1.96 * np.sqrt(0.1 / 500), rel=0.2)
    assert noise_floor(first) is None

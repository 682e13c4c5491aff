import numpy as np
import pandas as pd
import pytest

from llmstudy.evals.counts import item_counts, judged_counts
from llmstudy.evals.table import accepted, conform, pairs
from llmstudy.measures.quality import paired_difference


def _pairs(a, b, cluster=None, answers=1):
    items = pd.RangeIndex(len(a)).astype(str)
    return pd.DataFrame(
        {"baseline": a, "candidate": b, "cluster": cluster, "answers": answers}, index=items
    ).astype({"baseline": float, "candidate": float})


def test_items_answered_once_without_clusters_are_counted_as_they_are():
    rng = np.random.default_rng(3)
    a, b = rng.random((2, 500)) < [[0.9], [0.8]]
    counted = item_counts(_pairs(a, b))
    assert counted.cells == ((a & b).sum(), (a & ~b).sum(), (~a & b).sum(), (~a & ~b).sum())
    assert str(counted) == "500 items"


def test_copies_of_one_answer_are_worth_one():
    a, b = np.ones(600), np.tile(np.repeat([1, 1, 0, 1, 1, 1], 1), 100)
    groups = np.arange(600)
    once = item_counts(_pairs(a, b))
    copies = item_counts(_pairs(np.repeat(a, 5), np.repeat(b, 5), np.repeat(groups, 5).astype(str)))
    assert copies.counts.n == pytest.approx(once.counts.n, rel=0.01)
    assert copies.items == 3_000


@pytest.mark.parametrize(
    ("clusters", "size", "alike"), [(30, 10, 0.0), (30, 10, 0.3), (8, 20, 0.3)]
)
@pytest.mark.parametrize(("discordance", "difference"), [(0.1, -0.03), (0.3, -0.05)])
def test_the_interval_of_clustered_counts_covers_the_true_difference(
    clusters, size, alike, discordance, difference
):
    rng = np.random.default_rng(11)
    cells = np.array(
        [1 - discordance, (discordance - difference) / 2, (discordance + difference) / 2]
    )
    covered = []
    for _ in range(400):
        shares = rng.dirichlet(cells * (1 - alike) / alike, clusters) if alike else cells
        drawn = rng.multinomial(size, shares, size=clusters)
        b = np.concatenate([np.repeat([0, -1, 1], row) for row in drawn])
        cluster = np.repeat(np.arange(clusters), size).astype(str)
        counted = item_counts(_pairs((b < 0) | (b == 0), (b > 0) | (b == 0), cluster))
        interval = paired_difference(counted.counts)
        covered.append(interval.low <= difference <= interval.high)
    assert np.mean(covered) >= 0.93


def test_repeats_of_an_item_make_it_worth_more_but_never_more_than_their_number():
    rng = np.random.default_rng(5)
    right = np.clip(rng.normal(0.7, 0.1, (2, 200)), 0, 1)
    rows = [
        {"item_id": i, "route": route, "epoch": epoch, "score": float(rng.random() < p)}
        for route, shares in zip(("api", "open"), right, strict=True)
        for i, p in enumerate(shares)
        for epoch in range(1, 6)
    ]
    counted = item_counts(pairs(conform(pd.DataFrame(rows)), "api", "open"))
    assert 600 < counted.counts.n <= 1_000
    assert counted.items == 200


def test_all_items_of_one_document_have_no_interval():
    with pytest.raises(ValueError, match="one cluster"):
        item_counts(_pairs([1, 0], [1, 1], "doc"))


def test_graded_scores_need_the_score_from_which_an_answer_is_accepted():
    rows = pd.DataFrame({"item_id": [1, 2, 3], "route": "open", "score": [8, 5, None]})
    with pytest.raises(ValueError, match="state accepted_from"):
        accepted(conform(rows))
    with pytest.raises(ValueError, match="outside the scores, 5 to 8"):
        accepted(conform(rows), 9)


def test_a_judge_that_favours_the_candidate_is_corrected_by_the_labels():
    rng = np.random.default_rng(7)
    estimates, covered, naive = [], [], []
    for _ in range(200):
        a, b = (rng.random((2, 1_500)) < [[0.85], [0.75]]).astype(int)
        judged_b = np.where(rng.random(1_500) < 0.5, 1, b)
        judged = _pairs(a, judged_b)
        labels = _pairs(a, b).iloc[:300]
        counted = judged_counts(labels, judged)
        interval = paired_difference(counted.counts)
        estimates.append(counted.counts.difference)
        covered.append(interval.low <= -0.10 <= interval.high)
        naive.append(counted.judge_only.low <= -0.10 <= counted.judge_only.high)
    assert np.mean(estimates) == pytest.approx(-0.10, abs=0.006)
    assert np.mean(covered) >= 0.92
    assert np.mean(naive) < 0.05
    assert counted.counts.n > 300


def test_labels_in_clusters_are_worth_what_their_clusters_are():
    rng = np.random.default_rng(7)
    a, b = np.repeat((rng.random((2, 300)) < [[0.85], [0.75]]).astype(int), 5, axis=1)
    judged, clusters = _pairs(a, np.where(rng.random(1_500) < 0.3, 1, b)), np.arange(1_500) // 5
    judged["cluster"] = clusters.astype(str)
    labels = judged.assign(candidate=b.astype(float)).iloc[:500]
    alone = judged_counts(labels.assign(cluster=None), judged.assign(cluster=None)).counts
    clustered = judged_counts(labels, judged)
    assert clustered.clusters == 300
    assert clustered.counts.difference == pytest.approx(alone.difference, abs=0.01)
    assert clustered.counts.n < 0.4 * alone.n


def test_labels_of_items_that_the_judge_did_not_score_are_refused():
    judged = _pairs([1, 0, 1], [1, 1, 0])
    labels = _pairs([1, 0, 1, 0], [1, 1, 0, 0])
    with pytest.raises(ValueError, match="1 labelled items have no score of the judge"):
        judged_counts(labels, judged)

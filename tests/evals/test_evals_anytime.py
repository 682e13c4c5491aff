"""An evaluation that is read after every item decides falsely as seldom as one read once."""

import numpy as np
import pandas as pd
import pytest

from llmstudy.evals.anytime import anytime_look
from llmstudy.evals.table import conform
from llmstudy.evals.verdict import compare

MARGIN = 0.05


def evaluation(rng, cells, n, cluster=None, **columns):
    """n items by who answers them right: both, api alone, open alone, neither."""
    drawn = rng.choice(4, p=cells, size=n if cluster is None else n // cluster)
    drawn = np.repeat(drawn, cluster or 1)
    rows = {
        "item_id": [*range(n)] * 2,
        "route": ["api"] * n + ["open"] * n,
        "score": [*np.isin(drawn, (0, 1)), *np.isin(drawn, (0, 2))],
        "cluster": None if cluster is None else [*np.arange(n) // cluster] * 2,
        **{name: [*values] * 2 for name, values in columns.items()},
    }
    return conform(pd.DataFrame(rows))


def looks(table, every, **options):
    """The verdict at every look while the items come in."""
    n = table["item_id"].nunique()
    ids = table["item_id"].astype(int)
    return [
        compare(table[ids < upto], "api", MARGIN, **options)[0].anytime
        for upto in range(every, n + 1, every)
    ]


@pytest.mark.parametrize(
    ("cells", "verdict"),
    [((0.80, 0.02, 0.06, 0.12), "non-inferior"), ((0.70, 0.15, 0.03, 0.12), "inferior")],
)
def test_the_truth_is_settled_before_all_items_are_there(cells, verdict):
    table = evaluation(np.random.default_rng(1), cells, 600)
    verdicts = [look.verdict for look in looks(table, 50)]
    first = verdicts.index(verdict)
    assert first < len(verdicts) - 1
    assert set(verdicts[:first]) == {"open"}


@pytest.mark.parametrize("cluster", [None, 4])
def test_a_candidate_on_the_margin_is_seldom_decided_at_any_of_many_looks(cluster):
    rng = np.random.default_rng(3)
    cells, n = [0.80, 0.10, 0.05, 0.05], 400
    wrong = 0
    for _ in range(60):
        drawn = np.repeat(rng.choice(4, p=cells, size=n // (cluster or 1)), cluster or 1)
        items = pd.DataFrame(
            {
                "baseline": np.isin(drawn, (0, 1)).astype(float),
                "candidate": np.isin(drawn, (0, 2)).astype(float),
                "cluster": None if cluster is None else np.arange(n) // cluster,
            }
        )
        verdicts = {anytime_look(items[:upto], MARGIN, 20).verdict for upto in range(40, n + 1, 40)}
        wrong += verdicts != {"open"}
    # two claims, each wrong in 5 % at most
    assert wrong / 60 <= 0.1 + 2.5 * (0.1 * 0.9 / 60) ** 0.5


def test_two_candidates_need_twice_the_evidence_and_a_protected_slice_its_own():
    rng = np.random.default_rng(5)
    part = np.repeat(["en", "de"], [380, 20])
    one = evaluation(rng, (0.85, 0.01, 0.06, 0.08), 400, slice=part)
    second = one[one["route"] == "open"].assign(route="other")
    alone = compare(one, "api", MARGIN)[0].anytime
    both = compare(conform(pd.concat([one, second])), "api", MARGIN)[0].anytime
    assert (alone.needed, both.needed) == (20, 40)
    assert alone.verdict == "non-inferior"
    assert compare(one, "api", MARGIN, protected=["de"])[0].anytime.verdict == "open"


def test_a_judge_gives_no_evidence_that_may_be_read_at_any_time():
    table = evaluation(np.random.default_rng(6), (0.88, 0.02, 0.02, 0.08), 400)
    judged = table.assign(judge="gpt-4o", score_2=table["score"])
    assert compare(judged, "api", MARGIN)[0].anytime is None

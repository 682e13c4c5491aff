"""The heat map of the six criteria."""

from itertools import product

import pandas as pd
import pytest

from llmstudy import charts
from tests.charts.shared import ChartTests, drawer, title

CRITERIA = {
    "C1": "latency",
    "C2": "cost at scale",
    "C3": "customisation",
    "C4": "lock-in",
    "C5": "privacy",
    "C6": "team",
}
LONG = "a-workload-with-a-name-that-does-not-fit-into-one-line"


def scores(workloads=("chat",), **cells):
    rows = []
    for (workload, arm), id_ in product(product(workloads, charts.ARMS), CRITERIA):
        told = {"score": 3, "grade": "measured", "overridden": False} | cells.get(
            f"{arm}_{id_}", {}
        )
        rows.append(
            {"id": id_, "criterion": CRITERIA[id_], "workload": workload, "arm": arm} | told
        )
    return pd.DataFrame(rows)


MIXED = scores(
    ("chat", LONG),
    self_hosted_C6={"score": 0, "grade": "secondary"},
    hosted_open_C1={"score": None, "grade": "assumed"},
    hosted_open_C2={"score": None, "grade": "measured", "overridden": True},
    proprietary_api_C3={"score": None, "grade": None},
)


CHARTS = {"mixed": lambda: charts.criteria(MIXED)}


class TestCharts(ChartTests):
    charts = CHARTS
    drawn = drawer(CHARTS)


def test_the_title_counts_scores_failures_and_what_is_barred():
    said = title(charts.criteria(MIXED))
    assert said.startswith("30 of 36 scores can be given, 28 on published evidence or better")
    assert "2 fail outright, 2 of them self-hosted on team" in said
    assert said.endswith("privacy rules out 2 ways of serving")
    assert title(charts.criteria(scores())) == (
        "18 of 18 scores can be given, 18 on published evidence or better"
    )


def test_every_cell_is_told_in_words_and_none_as_if_it_were_another():
    alt = charts.criteria(MIXED).alt
    assert "team 0 of 4 (secondary)" in alt
    assert "latency no evidence" in alt
    assert "cost at scale barred by privacy" in alt
    assert "customisation no route" in alt
    assert alt.count("3 of 4 (measured)") == 28


def test_in_grey_a_better_score_is_darker_and_words_stay_legible():
    one = scores(**{f"proprietary_api_C{n + 1}": {"score": n} for n in range(5)})
    figure = charts.criteria(one).figure
    patches = figure.axes[0].patches[:5]
    lightness = [sum(patch.get_facecolor()[:3]) / 3 for patch in patches]
    assert lightness == sorted(lightness, reverse=True)
    assert len(set(lightness)) == 5
    assert min(lightness) > 0.5  # dark words on it


def test_a_cell_that_is_told_twice_is_refused():
    with pytest.raises(ValueError, match="more than once"):
        charts.criteria(pd.concat([scores(), scores()[:1]]))
    with pytest.raises(ValueError, match="lacks grade"):
        charts.criteria(scores().drop(columns="grade"))

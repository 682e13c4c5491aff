"""The chart of the risk register."""

from collections.abc import Callable

import pandas as pd
import pytest

from llmstudy import charts
from llmstudy.charts import Chart
from llmstudy.decide import matrices as risks
from llmstudy.decide.judge import NOTHING
from tests.charts.shared import ChartTests, drawer

INDICATORS = [
    {"state": "active", "grade": "published"},
    {"state": "no evidence", "grade": "assumed"},
]
NOTE = "likelihood and impact: the source memo's · indicators: published"
LONG = (
    "somebody who knows the one fleet that serves it all leaves before anybody else has learnt it"
)
SOME = pd.DataFrame(
    [
        ("R1", "a price rises", "medium", "high", "active", "model x rises by 100 %"),
        ("R2", "a provider is down", "low-medium", "high", "quiet", "0 minutes"),
        ("R3", LONG, "high", "medium", "warning", "two people"),
        ("R4", "prompts are injected", "", "", "no live evidence", ""),
        ("R5", "a contract ends", "medium", "high", "warning", "in three months"),
        ("R6", "regulation changes", "", "", "active", "a new law"),
    ],
    columns=["id", "risk", "likelihood", "impact", "state", "live"],
)


def whole():
    """The bundled register, each risk in a state of its own turn."""
    nothing = NOTHING
    read = {str(name): nothing for name in risks.indicator_table()["name"]}
    table = risks.register(risks.indicators(read, {"price_rise": 0.2, "format_failures": 0.02}))
    states = list(charts.MARKS)
    return table.assign(state=[states[i % len(states)] for i in range(len(table))])


CHARTS: dict[str, Callable[[], Chart]] = {
    "some": lambda: charts.risk_register(SOME, INDICATORS),
    "whole": lambda: charts.risk_register(whole(), INDICATORS),
    "unrated": lambda: charts.risk_register(SOME[SOME["likelihood"] == ""], INDICATORS),
    "rated": lambda: charts.risk_register(SOME[SOME["likelihood"] != ""], INDICATORS),
}


drawn = drawer(CHARTS)


def words(chart: Chart) -> list[str]:
    return [" ".join(text.get_text().split()) for text in chart.figure.axes[0].texts]


class TestCharts(ChartTests):
    charts = CHARTS
    drawn = drawn


def test_title_and_alt_carry_what_is_seen():
    chart = drawn("some")
    title = "2 of 6 risks are active (R1, R6); 2 warn, 1 has no live evidence"
    assert " ".join(chart.figure.get_suptitle().split()) == title
    assert chart.alt.startswith(title)
    assert (
        "R1 a price rises, likelihood medium, impact high: active, model x rises by 100 %"
        in chart.alt
    )
    assert "R4 prompts are injected, not rated: no live evidence" in chart.alt
    assert chart.alt.endswith(NOTE)


def test_a_calm_register_says_so():
    calm = charts.risk_register(SOME.assign(state="quiet"), INDICATORS)
    assert calm.alt.startswith("None of 6 risks is active; 0 warn")


def test_states_are_told_apart_without_colour():
    shapes = {mark.shape for mark in charts.MARKS.values()}
    assert len(shapes) == len(charts.MARKS) == 4
    legend = " ".join(drawn("some").figure.get_supxlabel().split())
    for state, mark in charts.MARKS.items():
        assert f"{mark.shape} {state}" in legend
        for row in SOME[SOME["state"] == state].itertuples():
            assert any(said.startswith(f"{mark.shape} {row.id} ") for said in words(drawn("some")))


def test_every_risk_is_drawn_once_in_the_cell_of_its_rating():
    chart = drawn("whole")
    ax, table = chart.figure.axes[0], whole().set_index("id")
    impacts = [label.get_text() for label in ax.get_xticklabels()]
    likelihoods = [" ".join(label.get_text().split()) for label in ax.get_yticklabels()]
    width = ax.get_xlim()[1] / len(impacts)
    ticks = list(ax.get_yticks())
    tops = [0.0]
    for middle in ticks:  # the rows lie on one another, each as far below its middle as above
        tops.append(2 * middle - tops[-1])
    seen = []
    for text in ax.texts:
        id_ = text.get_text().split()[1]
        seen.append(id_)
        x, y = text.get_position()
        row = sum(y > top for top in tops[1:])
        if table.loc[id_, "likelihood"]:
            assert impacts[int(x / width)] == table.loc[id_, "impact"]
            assert likelihoods[row].replace("- ", "-") == table.loc[id_, "likelihood"]
        else:
            assert likelihoods[row] == "not rated"
    assert sorted(seen) == sorted(table.index)


def test_what_nobody_rates_has_no_column():
    boxes = drawn("some").figure.axes[0].patches
    widths = [round(box.get_width(), 6) for box in boxes]
    assert widths.count(max(widths)) == 1
    assert max(widths) == pytest.approx(drawn("some").figure.axes[0].get_xlim()[1])


def test_a_table_that_cannot_be_drawn_is_an_error_that_says_so():
    with pytest.raises(ValueError, match="lacks live"):
        charts.risk_register(SOME.drop(columns="live"), INDICATORS)
    with pytest.raises(ValueError, match="more than once"):
        charts.risk_register(pd.concat([SOME, SOME]), INDICATORS)
    with pytest.raises(ValueError, match='"dire" is not a level'):
        charts.risk_register(SOME.assign(impact="dire"), INDICATORS)
    with pytest.raises(ValueError, match='"odd" is not a state'):
        charts.risk_register(SOME.assign(state="odd"), INDICATORS)

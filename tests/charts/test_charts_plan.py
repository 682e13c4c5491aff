"""The chart of trigger rules on trial."""

from collections.abc import Callable

import pandas as pd
import pytest

from llmstudy import charts
from llmstudy.charts import Chart
from tests.charts.shared import ChartTests, drawer, title

NOTE = "4,000 simulated futures of the study's priors; out of sample for the improved rule"
LONG = "spend above USD 10k a month sustained for four weeks, released below USD 7k"
REGRET = pd.DataFrame(
    [
        ("2 to 5B tokens a month", "advisor A", 2.1e5, 1.8e5, 2.4e5, 0.31, 0.02, -3.0, 0.92, False),
        ("never", "nobody", 4.4e5, 4.1e5, 4.7e5, 0.0, 1.0, None, 0.0, False),
        ("spend 1.4 × fleet", "back-test", 9e4, 7e4, 1.1e5, 0.08, 0.05, 2.4, 0.55, True),
        (LONG, "the advisor with a rather long name", 1.2e5, 1e5, 1.4e5, 0.2, 0.1, 5.0, 0.7, False),
    ],
    columns=[
        "rule",
        "advisor",
        "regret_usd",
        "low_usd",
        "high_usd",
        "false_alarm_share",
        "missed_share",
        "delay_months",
        "switch_share",
        "improved",
    ],
)

CHARTS: dict[str, Callable[[], Chart]] = {
    "regret": lambda: charts.regret_bars(REGRET, NOTE),
    "regret_zero": lambda: charts.regret_bars(
        REGRET[:1].assign(regret_usd=0.0, low_usd=0.0, high_usd=0.0), ""
    ),
    "regret_negative": lambda: charts.regret_bars(
        REGRET.assign(low_usd=-3e5, high_usd=[1e6, 5e5, 1e7, 2e5]), NOTE
    ),
}


drawn = drawer(CHARTS)


class TestCharts(ChartTests):
    charts = CHARTS
    drawn = drawn
    says = (
        (
            "regret",
            "spend 1.4 × fleet (back-test), the improved rule, loses least against hindsight",
            "USD 90k [USD 70k to 110k], false alarms 8 %, missed 5 %, switches in 55 %, 2.4 mo",
        ),
        (
            "regret",
            "USD 90k; never move loses most, USD 440k; the intervals of 1 of 3 others reach it",
            "3 months early",
        ),
        (
            "regret_zero",
            "2 to 5B tokens a month (advisor A) loses least against hindsight, USD 0",
            "USD 0 [USD 0]",
        ),
    )
    notes = dict.fromkeys(["regret"], NOTE)


def test_bars_and_intervals_stand_at_their_regrets_least_first():
    ax = drawn("regret").figure.axes[0]
    rows = REGRET.sort_values("regret_usd")
    assert [bar.get_width() for bar in ax.patches] == list(rows["regret_usd"])
    intervals = [tuple(line.get_xdata()) for line in ax.lines if line.get_marker() == "|"]
    assert intervals == list(zip(rows["low_usd"], rows["high_usd"], strict=True))


def test_the_improved_rule_is_starred_and_darker():
    ax = drawn("regret").figure.axes[0]
    starred = [label.get_text().startswith("★") for label in ax.get_yticklabels()]
    assert starred == [True, False, False, False]
    assert len({bar.get_facecolor() for bar in ax.patches[1:]}) == 1
    assert ax.patches[0].get_facecolor() != ax.patches[1].get_facecolor()


def test_a_rule_that_never_switches_has_no_delay():
    assert "never move (nobody): USD 440k" in drawn("regret").alt
    assert "missed 100 %, switches in 0 %. " in drawn("regret").alt


def test_other_regrets_give_another_finding():
    worse = charts.regret_bars(REGRET.assign(regret_usd=[1e4, 2e4, 3e4, 4e4]), NOTE)
    assert title(worse).startswith("2 to 5B tokens a month (advisor A) loses least")


def test_a_table_that_cannot_be_drawn_is_an_error_that_says_so():
    with pytest.raises(ValueError, match="lacks improved"):
        charts.regret_bars(REGRET.drop(columns="improved"), "")

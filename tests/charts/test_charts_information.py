"""Charts of what decides, what to measure, whether to wait and whether draws are enough."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from llmstudy import charts
from llmstudy.charts import Chart
from tests.charts.shared import ChartTests, drawer, title

NOTE = "100,000 draws of the study's priors · volumes: assumed · prices: published"
LONG = "two weeks of request logs from the customer-support-triage workload in EMEA"
WORTH = pd.DataFrame(
    [
        ("an 8-point probe", 4.1e4, 3.6e4, 4.6e4, 1.2e3, "measure"),
        (LONG, 2.2e4, 1.9e4, 2.5e4, 4e3, "measure"),
        ("200 more golden items", 6e3, 1e3, 1.1e4, 5e3, "undecided"),
        ("a price quote", 0.0, -500, 600, 900, "not worth it"),
    ],
    columns=["measurement", "value_usd", "low_usd", "high_usd", "cost_usd", "verdict"],
).assign(workload="chat")
WAITING = pd.DataFrame(
    [
        ("commit now", 1.31e6, 1.29e6, 1.33e6, 0.0, 0.0, 0.0, 0.0),
        ("never", 1.42e6, 1.41e6, 1.43e6, -1.1e5, -1.3e5, -9e4, 1.0),
        ("6-month wait, then choose", 1.25e6, 1.23e6, 1.27e6, 6e4, 4.8e4, 7.2e4, 0.31),
        ("optimal stopping", 1.21e6, 1.19e6, 1.23e6, 1e5, 8.8e4, 1.12e5, 0.35),
        ("hindsight", 1.12e6, 1.1e6, 1.14e6, 1.9e5, 1.8e5, 2e5, 0.38),
    ],
    columns=[
        "policy",
        "mean_cost_usd",
        "low_usd",
        "high_usd",
        "saving_vs_now_usd",
        "saving_low_usd",
        "saving_high_usd",
        "p_never",
    ],
)


def draws(n: int = 8, estimate: float = 0.35) -> pd.DataFrame:
    n_draws = 1_000 * 2.0 ** np.arange(n)
    error = 0.9 * abs(estimate) / np.sqrt(n_draws / 100)
    middle = estimate * (1 + 0.05 * (-1.0) ** np.arange(n) / np.arange(1, n + 1))
    return pd.DataFrame(
        {"n": n_draws, "estimate": middle, "low": middle - error, "high": middle + error}
    ).assign(workload="chat", route="h200")


def drivers(names: list[str], low: float = 0.02) -> pd.DataFrame:
    i = np.arange(len(names))
    ends = np.where(i % 2, 0.9 / (i + 1), 0.05), np.where(i % 2, 0.1, 0.95 / (i + 1))
    spread = np.abs(ends[0] - ends[1])
    return pd.DataFrame(
        {
            "input": names,
            "p_never_low_bin": ends[0],
            "p_never_high_bin": ends[1],
            "spread": spread,
            "low": spread - spread.max() + low,
            "high": spread + 0.03,
        }
    )


INPUTS = [
    "price drift of the proprietary API",
    "FTE to run the fleet",
    "requests per month",
    "USD per GPU-hour",
    "output tokens per request",
    "growth per month",
    "cached input share",
    "peak to mean",
    "retry share",
]

CHARTS: dict[str, Callable[[], Chart]] = {
    "worth": lambda: charts.information_bars(WORTH),
    "worth_nothing": lambda: charts.information_bars(
        WORTH.assign(verdict="not worth it", cost_usd=3e6)
    ),
    "worth_zero": lambda: charts.information_bars(
        WORTH[:1].assign(value_usd=0.0, low_usd=0.0, high_usd=0.0, cost_usd=0.0)
    ),
    "waiting": lambda: charts.waiting_costs(WAITING, NOTE),
    "waiting_one": lambda: charts.waiting_costs(WAITING[:1], ""),
    "waiting_unsure": lambda: charts.waiting_costs(
        WAITING.assign(policy=[*WAITING["policy"][:3], LONG, "hindsight"], saving_low_usd=-1e5)[
            ::-1
        ],
        NOTE,
    ),
    "convergence": lambda: charts.convergence(draws()),
    "convergence_long": lambda: charts.convergence(draws(10).assign(workload=LONG)),
    "convergence_one": lambda: charts.convergence(draws(1, 0.0)),
    "drivers": lambda: charts.p_never_drivers(drivers(INPUTS, 0.7), NOTE),
    "drivers_none": lambda: charts.p_never_drivers(drivers([LONG, "x"], -0.1), NOTE),
}


drawn = drawer(CHARTS)


class TestCharts(ChartTests):
    charts = CHARTS
    drawn = drawn
    says = (
        (
            "worth",
            "Measure chat: an 8-point probe next: worth USD 41k, costs USD 1.2k",
            "chat: a price quote, not worth it: USD 0 for USD 900 (interval −USD 500 to USD 600)",
        ),
        (
            "worth_nothing",
            "Nothing is worth measuring; nearest is chat: an 8-point probe: worth USD 41k, costs",
            "USD 22k for USD 3.0M",
        ),
        (
            "waiting",
            "Optimal stopping costs least: against committing now it saves USD 100k (USD 88k",
            "loses USD 110k (USD 90k to 130k), never moves in 100 % of futures",
        ),
        ("waiting_one", "No way to wait costs less than committing now, USD 1.3M", "saves nothing"),
        (
            "waiting_unsure",
            "Nothing is sure to cost less than committing now",
            "saves USD 60k (−USD 100k to USD 72k)",
        ),
        (
            "convergence",
            "is cheaper for chat is 35 %, give or take 0.88 points, over 128k simulated futures",
            "1,000 futures: 37 %, give or take 10 points",
        ),
        ("convergence_one", "is 0 %, give or take 0 points, over 1,000 simulated futures", "0 %"),
        (
            "drivers",
            "never in 5 % of simulated futures where it is lowest, 95 % where it is highest",
            "moves it by 35 [15, 38] points",
        ),
        ("drivers_none", "No input clearly decides", "moves it by 35 [−65, 38] points"),
    )
    notes = dict.fromkeys(["waiting", "drivers"], NOTE)


def test_worth_and_cost_stand_at_their_sums():
    ax = drawn("worth").figure.axes[0]
    assert [bar.get_width() for bar in ax.patches] == list(WORTH["value_usd"])
    ticks = [line.get_xdata()[0] for line in ax.lines if line.get_color() == charts.ACCENT]
    assert ticks == list(WORTH["cost_usd"])


def test_without_a_sure_gain_the_title_says_so():
    unsure = charts.information_bars(WORTH[2:])
    assert title(unsure).startswith(
        "Nothing is sure to be worth measuring; nearest is chat: 200 more"
    )


def test_policies_stand_at_their_costs_and_only_hindsight_is_hollow():
    ax = drawn("waiting").figure.axes[0]
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    assert [dot.get_xdata()[0] for dot in dots] == list(WAITING["mean_cost_usd"])
    assert [dot.get_markerfacecolor() == "white" for dot in dots] == [False] * 4 + [True]


def test_hindsight_is_never_recommended():
    assert "hindsight costs least" not in title(drawn("waiting")).lower()
    with pytest.raises(ValueError, match="hindsight only"):
        charts.waiting_costs(WAITING[-1:], NOTE)


def test_the_estimates_stand_at_their_draws_in_per_cent():
    ax = drawn("convergence").figure.axes[0]
    line = next(line for line in ax.lines if line.get_marker() == "o")
    assert list(line.get_xdata()) == list(draws()["n"])
    assert line.get_ydata() == pytest.approx(100 * draws()["estimate"])


def test_the_eight_strongest_inputs_run_from_their_low_bin_to_their_high_bin():
    ax = drawn("drivers").figure.axes[0]
    rows = drivers(INPUTS, 0.7).sort_values("spread", ascending=False).head(8)
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    hollow = [dot for dot in dots if dot.get_markerfacecolor() == "white"]
    assert [dot.get_xdata()[0] for dot in hollow] == pytest.approx(100 * rows["p_never_low_bin"])
    solid = [dot for dot in dots if dot not in hollow]
    assert [d.get_xdata()[0] for d in solid] == pytest.approx(100 * rows["p_never_high_bin"])


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (
            lambda: charts.information_bars(WORTH.assign(verdict="yes")),
            '"yes" is not a verdict',
        ),
        (lambda: charts.waiting_costs(WAITING.drop(columns="p_never"), ""), "lacks p_never"),
        (lambda: charts.convergence(draws().drop(columns="n")), "lacks n: give"),
    ],
)
def test_a_table_that_cannot_be_drawn_is_an_error_that_says_so(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()

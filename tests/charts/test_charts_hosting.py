"""Charts of self-hosting: fleets over the week, the base-load split, errors on points held out."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from llmstudy import charts
from llmstudy.charts import Chart
from tests.charts.shared import ChartTests, drawer, title

NOTE = "traffic: measured · serving: published · boot time: assumed"
LONG = "customer-support-triage-and-escalation-in-the-emea-region"


def fleets(peak: float = 4.0) -> pd.DataFrame:
    hour = np.arange(168)
    day = np.clip(np.sin(2 * np.pi * (hour % 24 - 8) / 24), 0, 1)
    load = peak * (0.1 + 0.9 * day) * np.where(hour >= 120, 0.5, 1.0)
    scheduled = np.where((hour % 24 >= 8) & (hour % 24 < 20), np.ceil(peak), 1.0)
    return pd.DataFrame(
        {
            "hour": hour,
            "requests_per_s": load,
            "static": np.ceil(peak) + 1,
            "scheduled": scheduled,
            "autoscaled": np.maximum(1, np.ceil(load * 2) / 2),
        }
    )


def split(n: int, fleet_usd: float = 5e3, api_usd: float = 3e4) -> pd.DataFrame:
    replicas = np.arange(n)
    on_fleet = 1 - np.exp(-replicas / 2.0)
    table = pd.DataFrame(
        {
            "replicas": replicas,
            "fleet_share": on_fleet,
            "api_share": 1 - on_fleet,
            "usd_month_fleet": fleet_usd * replicas,
            "usd_month_api": api_usd * (1 - on_fleet),
        }
    )
    return table.assign(usd_month=table["usd_month_fleet"] + table["usd_month_api"])


def errors(n: int) -> pd.DataFrame:
    i = np.arange(n)
    return pd.DataFrame(
        {
            "model": [f"Llama-3.1-{8 + 9 * k}B" for k in i],
            "gpu": np.where(i % 2, "H100", "H200"),
            "precision": np.where(i % 3, "fp8", "bf16"),
            "engine_version": "vllm 0.10.2",
            "n_fit": 8,
            "median_abs_error_share": 0.02 + 0.012 * i,
            "p90_abs_error_share": 0.06 + 0.03 * i,
        }
    )


CHARTS: dict[str, Callable[[], Chart]] = {
    "week": lambda: charts.replicas_week(fleets(), 2, "support-chat", NOTE),
    "week_alike": lambda: charts.replicas_week(
        fleets().assign(scheduled=5, autoscaled=5, requests_per_s=0.0), 8, LONG, NOTE
    ),
    "week_more": lambda: charts.replicas_week(
        fleets(300).assign(static=100, autoscaled=330.5), 1, "x", ""
    ),
    "split": lambda: charts.base_load_split(split(7), "support-chat", NOTE),
    "split_many": lambda: charts.base_load_split(split(41, 4e5, 9e6), LONG, NOTE),
    "split_one": lambda: charts.base_load_split(split(1, 0, 0), "x", ""),
    "errors": lambda: charts.heldout_errors(errors(14)),
    "errors_long": lambda: charts.heldout_errors(
        errors(3).assign(model=LONG, p90_abs_error_share=[0.0, 0.1, 90.0])
    ),
    "errors_one": lambda: charts.heldout_errors(
        errors(1).assign(median_abs_error_share=0.0, p90_abs_error_share=0.0)
    ),
}


drawn = drawer(CHARTS)


class TestCharts(ChartTests):
    charts = CHARTS
    drawn = drawn
    says = (
        (
            "week",
            "a static fleet takes 1,680 GPU-hours a week; a schedule saves 840 (50 %)",
            "Replicas: static 5; scheduled 1 to 4; autoscaled 1 to 4",
        ),
        (
            "week_alike",
            "a schedule saves none, autoscaling saves none",
            "The load is at most 0 requests",
        ),
        ("week_more", "autoscaling takes 39k (231 %) more", "static 100"),
        (
            "split",
            "2 replicas for 63 % of requests is cheapest at USD 21k a month; the API alone USD 30k",
            "5 replicas for 92 % of requests USD 27k",
        ),
        ("split_one", "the API alone is cheapest at USD 0", "the API alone USD 0"),
        (
            "errors",
            "The error on held-out points is 9.8 % for the median group, beyond the goal of 8 %",
            "Llama-3.1-17B · H100 · fp8 · vllm 0.10.2: 3.2 %, p90 9 %, 8 points",
        ),
        ("errors_one", "is 0 % for the median group, within the goal of 8 %", "0 %, p90 0 %"),
    )
    notes = dict.fromkeys(["week", "split"], NOTE)


def test_each_fleet_is_drawn_at_its_replicas_and_told_apart_by_width_and_lightness():
    ax = drawn("week").figure.axes[0]
    table = fleets()
    for line, fleet in zip(ax.lines, ("static", "scheduled", "autoscaled"), strict=True):
        assert line.get_ydata()[:-1] == pytest.approx(table[fleet])
    assert len({line.get_linewidth() for line in ax.lines}) == 3
    assert len({line.get_color() for line in ax.lines}) == 3


def test_twice_the_gpus_take_twice_the_hours():
    assert "840 GPU-hours" in title(charts.replicas_week(fleets(), 1, "x", NOTE))


def test_the_parts_of_a_bar_add_up_to_the_month_and_the_cheapest_is_framed():
    ax = drawn("split").figure.axes[0]
    *parts, frame = ax.patches
    tops = [api.get_y() + api.get_height() for api in parts[1::2]]
    assert tops == pytest.approx(split(7)["usd_month"])
    assert [fleet.get_height() for fleet in parts[::2]] == pytest.approx(
        split(7)["usd_month_fleet"]
    )
    assert frame.get_x() + frame.get_width() / 2 == pytest.approx(2)


def test_another_price_makes_another_number_of_replicas_cheapest():
    dear = charts.base_load_split(split(7, fleet_usd=2e4), "support-chat", NOTE)
    assert "the API alone is cheapest at USD 30k" in title(dear)


def test_groups_stand_at_their_errors_best_first_and_filled_within_the_goal():
    shuffled = charts.heldout_errors(errors(14).sample(frac=1, random_state=1))
    dots = [line for line in shuffled.figure.axes[0].lines if line.get_marker() == "o"]
    assert [d.get_xdata()[0] for d in dots] == pytest.approx(
        100 * errors(14)["median_abs_error_share"]
    )
    assert sum(d.get_markerfacecolor() == "white" for d in dots) == 8
    assert shuffled.alt == drawn("errors").alt


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: charts.replicas_week(fleets().drop(columns="static"), 1, "x", ""), "lacks static"),
        (lambda: charts.heldout_errors(errors(1).drop(columns="n_fit")), "lacks n_fit"),
    ],
)
def test_a_table_that_cannot_be_drawn_is_an_error_that_says_so(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()

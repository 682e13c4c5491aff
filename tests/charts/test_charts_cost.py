"""Charts of cost: the projection, the calculator's sum and ours, what a month consists of."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from llmstudy import charts
from llmstudy.charts import Chart
from tests.charts.shared import ChartTests, drawer, title

NOTE = "volumes: assumed · prices: published · staff: assumed"
API = "proprietary_api"
LONG = "customer-support-triage-and-escalation-in-the-emea-region"


def projection(workloads: list[str], scale: float = 1.0, arms: int = 3) -> pd.DataFrame:
    monthly = {"proprietary_api": 9_000.0, "hosted_open": 2_500.0, "self_hosted": 30_000.0}
    rows = [
        (w, arm, m, 0.7 * usd * m * scale, usd * m * scale, 1.6 * usd * m * scale)
        for w in workloads
        for arm, usd in list(monthly.items())[:arms]
        for m in (6, 12, 24)
    ]
    return pd.DataFrame(
        rows, columns=["workload", "arm", "months", "p10_usd", "p50_usd", "p90_usd"]
    )


BRIDGE = pd.DataFrame(
    [
        ("idle", 9_500),
        ("a spare replica", 4_000),
        ("nothing", 0),
        ("staff", 14_000),
        ("reserved instead of on demand", -6_500),
    ],
    columns=["item", "shapley_usd"],
)
ITEMS = pd.DataFrame(
    [
        ("GPU rent", 13_000, "self_hosted", "published"),
        ("staff", 14_000, "self_hosted", "assumed"),
        ("idle spare replica", 4_000, "self_hosted", "simulated"),
        ("evaluation per upgrade", 1_200, "self_hosted", "assumed"),
        ("storage and egress", 90, "self_hosted", "published"),
        ("input tokens", 8_000, "api", "measured"),
        ("output tokens", 5_500, "api", "measured"),
        ("retries", 400, "api", "recorded"),
        ("cached input, given back", -900, "api", "measured"),
    ],
    columns=["item", "usd_month", "side", "grade"],
)

VOLUMES = pd.DataFrame(
    [
        (1e9, 600, 14e3, 14e3, 220, 27e3, 65e3, "api", "api"),
        (50e9, 30e3, 14e3, 28e3, 11e3, 98e3, 509e3, "self_hosted", "api"),
        (100e9, 60e3, 14e3, 42e3, 22e3, 183e3, 953e3, "self_hosted", "api"),
    ],
    columns=[
        *("tokens_per_month", "memo_api_usd", "memo_hosting_low_usd", "memo_hosting_most_usd"),
        *("mix_api_usd", "our_hosting_low_usd", "our_hosting_high_usd"),
        *("memo_cheaper", "our_cheaper"),
    ],
)


def sums(calculator_usd: float, our_usd: float) -> list[dict[str, float]]:
    return [{"calculator_month_usd": calculator_usd, "our_month_usd": our_usd}]


CHARTS: dict[str, Callable[[], Chart]] = {
    "projection": lambda: charts.projection(projection(["support-chat"]), API, NOTE),
    "projection_many": lambda: charts.projection(projection(["a", LONG, "c"], 1e3, 2), API, NOTE),
    "projection_negative": lambda: charts.projection(
        projection(["all", "x"]).assign(p10_usd=-2e5), API, ""
    ),
    "bridge": lambda: charts.calculator_bridge(BRIDGE, sums(12_000, 33_000), "support-chat"),
    "bridge_none": lambda: charts.calculator_bridge(
        BRIDGE.assign(shapley_usd=0.0), sums(0, 0), LONG
    ),
    "bridge_below_zero": lambda: charts.calculator_bridge(
        BRIDGE.assign(item=LONG, shapley_usd=[-4e6, 2e6, 0, 1, 0]), sums(1e3, -1_999_000 + 1e0), "x"
    ),
    "items": lambda: charts.cost_items(ITEMS, "support-chat"),
    "items_one": lambda: charts.cost_items(ITEMS[:1].assign(item=LONG), LONG),
    "volumes": lambda: charts.source_memo_costs(VOLUMES),
    "volumes_alike": lambda: charts.source_memo_costs(
        VOLUMES.assign(our_cheaper="self_hosted", our_hosting_low_usd=2e4, our_hosting_high_usd=2e4)
    ),
}


drawn = drawer(CHARTS)


class TestCharts(ChartTests):
    charts = CHARTS
    drawn = drawn
    says = (
        (
            "projection",
            "by month 24 hosted open weights has cost least, USD 60k (80 % range USD 42k to",
            "self-hosted, by month 6: USD 180k (80 % range USD 126k to 288k)",
        ),
        (
            "projection_many",
            "By month 24 least is spent with hosted open weights on 3 of 3",
            "a, proprietary API, by month 12: USD 108M",
        ),
        (
            "projection_negative",
            "all: by month 24 hosted open weights has cost least, USD 60k (80 % range −USD 2",
            "x, self-hosted",
        ),
        (
            "bridge",
            "calculator says USD 12k a month, we say USD 33k; most comes from staff, +USD 14k",
            "reserved instead of on demand: −USD 6.5k",
        ),
        ("bridge_none", "says USD 0 a month, we say USD 0", "this study: USD 0"),
        (
            "items",
            "self-hosted USD 32k, 57 % of it beside staff; the API USD 13k, 38 % of it beside",
            "staff: USD 14k, 43 % (assumed)",
        ),
        ("items_one", "a month: self-hosted USD 13k", "USD 13k, 100 % (published)"),
        (
            "volumes",
            "cheaper in 2 of 3 rows of its table; with whole fleets and their engineers in none",
            "At 100B tokens a month: proprietary API, the memo: USD 60k; proprietary API, ours",
        ),
        ("volumes_alike", "with whole fleets and their engineers in 3", "ours: USD 20k."),
    )


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("projection", NOTE),
        ("bridge", "each item's share of the difference (Shapley)"),
        ("items", "at the stated value of each figure"),
        ("volumes", "prices of the memo's date · serving: assumed · bands: low to high"),
    ],
)
def test_what_stands_behind_the_chart_is_on_it_and_in_the_alt(name, note):
    assert " ".join(drawn(name).figure.get_supxlabel().split()) == note
    assert drawn(name).alt.endswith(note)


def test_medians_and_ranges_of_the_projection_stand_at_their_sums():
    (ax,) = drawn("projection").figure.axes
    medians = np.sort(np.concatenate([line.get_ydata() for line in ax.lines]))
    assert medians == pytest.approx(np.sort(projection(["x"])["p50_usd"]))
    bars = np.concatenate([c.get_segments() for c in ax.collections])[:, :, 1]
    expected = projection(["x"])[["p10_usd", "p90_usd"]].to_numpy()
    assert np.sort(bars, axis=0) == pytest.approx(np.sort(expected, axis=0))


def test_what_staying_costs_stands_for_todays_arm():
    table = projection(["x"])
    stay = table[table["arm"] == "proprietary_api"].assign(arm="stay", p50_usd=1.0)
    assert "proprietary API has cost least, USD 1" in title(
        charts.projection(pd.concat([table, stay]), API, NOTE)
    )


def test_a_month_of_nothing_has_no_chart():
    assert charts.cost_items(ITEMS.assign(usd_month=0.0), "x") is None


def test_who_has_cost_least_is_counted_by_workload():
    cheap = projection(["a", "b"])
    cheap.loc[(cheap["workload"] == "b") & (cheap["arm"] == "self_hosted"), "p50_usd"] = 1.0
    said = title(charts.projection(cheap, API, NOTE))
    assert "hosted open weights on 1" in said
    assert "self-hosted on 1 of 2 workloads" in said


def test_each_bar_of_the_bridge_begins_where_the_last_one_ended():
    (ax,) = drawn("bridge").figure.axes
    bars = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in ax.patches]
    assert bars[0] == (0, 12_000)
    assert bars[-1] == (0, 33_000)
    assert [left for left, _ in bars[1:-1]] == [right for _, right in bars[:-2]]
    assert bars[-2][1] == bars[-1][1]
    hatched = [bool(bar.get_hatch()) for bar in ax.patches]
    assert hatched == [False, False, False, False, True, False]  # what lowers the sum


def test_every_item_has_its_bar_and_an_assumption_is_hatched():
    own, api = drawn("items").figure.axes
    table = ITEMS.sort_values("usd_month", ascending=False)
    for ax, side in ((own, "self_hosted"), (api, "api")):
        rows = table[table["side"] == side]
        assert [bar.get_width() for bar in ax.patches] == list(rows["usd_month"])
        believed = rows["grade"].isin(["assumed", "simulated"])
        assert [bool(bar.get_hatch()) for bar in ax.patches] == list(believed)


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (
            lambda: charts.projection(projection(["x", "x"]), API, ""),
            "proprietary_api, 6 more",
        ),
        (
            lambda: charts.projection(
                projection(["x"]).assign(arm="cloud", months=[*range(9)]), API, ""
            ),
            '"cloud" is not an arm',
        ),
        (
            lambda: charts.calculator_bridge(BRIDGE.drop(index=3), sums(12_000, 33_000), "chat"),
            "chat: the items add up to USD 19k a month, not to USD 33k: add the missing",
        ),
        (lambda: charts.cost_items(ITEMS.assign(side="cloud"), "x"), '"cloud" is not a side'),
        (lambda: charts.cost_items(ITEMS.assign(grade="sure"), "x"), '"sure" is not a grade'),
        (lambda: charts.cost_items(ITEMS.drop(columns="grade"), "x"), "lacks grade"),
        (lambda: charts.source_memo_costs(VOLUMES.drop(columns="our_cheaper")), "our_cheaper"),
    ],
)
def test_a_table_that_cannot_be_drawn_is_an_error_that_says_so(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()

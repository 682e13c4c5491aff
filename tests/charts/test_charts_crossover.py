"""Charts of where another route pays: the claims of others, the heat map, the months."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import QuadMesh

from llmstudy import charts
from llmstudy.charts import Chart
from tests.charts.shared import ChartTests, drawer, title

NOTE = "volumes: assumed · prices: published · claims: the source memo, section 4"
LONG = "customer-support-triage-and-escalation-in-the-emea-region"
BANDS = pd.DataFrame(
    [
        ("support-chat", "openai-gpt-4o", "h200-llama-3.1-70b", 8e8, 3e9, 2.2e10, 0.08),
        ("classification", "gpt-4o-mini", "h100-llama-3.1-8b", 9e9, None, None, 0.62),
        (LONG, "openai-gpt-4o", f"h200-{LONG}", None, None, None, 1.0),
    ],
    columns=["workload", "from_route", "to_route", "p10", "p50", "p90", "p_never"],
)
CLAIMS = pd.DataFrame(
    [
        ("advisor A", "2 to 5B tokens a month", 2e9, 5e9, "as stated"),
        ("advisor B", "50B tokens a month", 5e10, 5e10, "as stated"),
        ("advisor C", "USD 10k a month", 1.1e9, None, "at USD 9 per million tokens, blended"),
        ("advisor D", "100M queries a month", None, None, "tokens per query not said"),
    ],
    columns=["who", "claim", "low", "high", "unit_note"],
)


def heat(volumes: int = 8, margins: int = 5, top: float = 1.0) -> pd.DataFrame:
    rows = [
        (v, m, top * float(i * (j + 1)) / ((volumes - 1) * margins))
        for i, v in enumerate(np.geomspace(1e5, 1e8, volumes))
        for j, m in enumerate(np.linspace(0.0, 0.06, margins))
    ]
    return pd.DataFrame(rows, columns=["requests_per_month", "quality_margin", "p_cheaper"])


def by_month(pairs: list[tuple[str, str]], months: int = 24, top: float = 1.0) -> pd.DataFrame:
    rows = [
        (w, r, month, min(1.0, top * month / months / (1 + 0.4 * i)))
        for i, (w, r) in enumerate(pairs)
        for month in range(months + 1)
    ]
    return pd.DataFrame(rows, columns=["workload", "route", "month", "p_cheaper"])


PAIRS = [(w, r) for w in ("support-chat", "classification", LONG) for r in ("h200-70b", "novita")]

CHARTS: dict[str, Callable[[], Chart]] = {
    "claims": lambda: charts.crossover_claims(BANDS, CLAIMS, "Self-hosting", NOTE),
    "claims_never": lambda: charts.crossover_claims(BANDS[2:], CLAIMS[3:], LONG, NOTE),
    "claims_huge": lambda: charts.crossover_claims(
        BANDS[:1].assign(p10=1e3, p90=1e16), CLAIMS[:1], "x", NOTE
    ),
    "heat": lambda: charts.p_cheaper_heat(heat(), "support-chat", 2e6, 0.8, NOTE),
    "heat_never": lambda: charts.p_cheaper_heat(heat(20, 5, 0.7), LONG, 1e5, 0.8, NOTE),
    "heat_one": lambda: charts.p_cheaper_heat(heat(2, 1).assign(p_cheaper=None), "x", 1e8, 0.8, ""),
    "months": lambda: charts.p_cheaper_by_month(by_month(PAIRS), 0.8, NOTE),
    "months_alike": lambda: charts.p_cheaper_by_month(
        by_month([*PAIRS, *(("all", f"route-{i}") for i in range(6))], 6, 0.0), 0.8, NOTE
    ),
    "months_one": lambda: charts.p_cheaper_by_month(by_month([("x", "y")], 60), 0.8, ""),
    "months_single": lambda: charts.p_cheaper_by_month(by_month([("x", "y")], 6)[-1:], 0.8, ""),
}


drawn = drawer(CHARTS)


class TestCharts(ChartTests):
    charts = CHARTS
    drawn = drawn
    says = (
        (
            "claims",
            "3 of 4 claims of where it pays meet our 80 % ranges; our earliest is 3.0B",
            "3.0B (80 % range 0.8B to 22B), never in 8 % of simulated futures",
        ),
        (
            "claims",
            "our earliest is 3.0B tokens a month, from openai-gpt-4o → h200",
            "never (80 % range 9.0B to never), never in 62 % of simulated futures",
        ),
        (
            "claims",
            "Self-hosting: 3",
            "100M queries a month (tokens per query not said): no volume follows",
        ),
        ("claims_never", "0 of 1 claims", "never in 100 % of simulated futures"),
        (
            "claims_never",
            "ours are reached in less than half of the simulated futures",
            "no volume follows",
        ),
        (
            "heat",
            "near today's 2.0M requests a month the move is cheaper in 8.6 to 43 %",
            "margin 6 points: 0 to 100 %",
        ),
        ("heat", "80 % is reached from 37M at a margin of 6 points", "margin 0 points: 0 to 20 %"),
        ("heat_never", "80 % is reached nowhere", "margin 6 points: 0 to 70 %"),
        ("heat_one", "an unknown share of simulated futures", "margin 0 points: an unknown share"),
        (
            "months",
            "1 of 6 routes is cheaper with 80 % probability by month 24; first support-chat on h2",
            "support-chat, novita: 80 % not reached, 71 % at the end",
        ),
        (
            "months_alike",
            "0 of 12 routes are cheaper",
            "all, route-5: 80 % not reached, 0 % at the end",
        ),
    )
    notes = dict.fromkeys(["claims", "heat", "months"], NOTE)


def test_a_claim_meets_a_band_where_they_have_a_volume_in_common():
    beside = BANDS[:1].assign(p10=5.1e9, p50=1e10, p90=4.9e10)  # between 5B and 50B
    first = charts.crossover_claims(beside, CLAIMS[:2], "x", NOTE)
    assert title(first).startswith("x: 0 of 2 claims")
    touching = beside.assign(p10=5e9)
    second = charts.crossover_claims(touching, CLAIMS[:2], "x", NOTE)
    assert title(second).startswith("x: 1 of 2 claims")
    assert first.alt != second.alt


def test_bands_and_claims_stand_at_their_tokens_a_month():
    ax = drawn("claims").figure.axes[0]
    points = {(x, y) for line in ax.lines for x, y in zip(*line.get_data(), strict=True)}
    assert points >= {(2e9, 0), (5e9, 0), (5e10, 1), (1.1e9, 2)}
    assert points >= {(8e8, 4), (3e9, 4), (2.2e10, 4), (9e9, 5)}
    assert not any(y in (3, 6) and x > 1 for x, y in points)  # no volume, never


def test_the_cells_of_the_heat_map_hold_the_probabilities():
    ax = drawn("heat").figure.axes[0]
    (mesh,) = (artist for artist in ax.collections if isinstance(artist, QuadMesh))
    grid = heat().sort_values(["quality_margin", "requests_per_month"])["p_cheaper"]
    assert np.asarray(mesh.get_array()).ravel() == pytest.approx(grid.to_numpy())
    said = [t.get_text() for t in ax.texts if t.get_fontweight() == "bold"]
    assert sorted(said) == ["100", "80", "86"]  # those at or above the line


def test_the_frame_parts_the_cells_at_the_line_from_the_others():
    ax = drawn("heat").figure.axes[0]
    frame = [
        s.tolist() for c in ax.collections if hasattr(c, "get_segments") for s in c.get_segments()
    ]
    # of columns 0 to 7 and rows 0 to 4: row 4 from column 6 on, and the last column of row 3
    assert sorted(frame) == [[[6, 4], [6, 5]], [[6, 4], [7, 4]], [[7, 3], [7, 4]], [[7, 3], [8, 3]]]


def test_today_stands_between_the_volumes_about_it():
    ax = charts.p_cheaper_heat(heat(4, 2), "x", 10**5.5, 0.8, NOTE).figure.axes[0]
    # volumes of 10^5, 10^6, 10^7, 10^8 in columns with their middles at 0.5, 1.5, 2.5, 3.5
    assert [line.get_xdata()[0] for line in ax.lines] == pytest.approx([1.0, 1.0])


def test_lines_of_probability_run_through_their_months():
    ax = drawn("months").figure.axes[0]
    first = by_month(PAIRS).query("workload == 'support-chat' and route == 'h200-70b'")
    line = next(line for line in ax.lines if len(line.get_xdata()) == len(first))
    assert line.get_ydata() == pytest.approx(100 * first["p_cheaper"])
    marks = [line.get_data() for line in ax.lines if len(line.get_xdata()) == 1]
    assert [(m[0][0], m[1][0]) for m in marks] == [(20, pytest.approx(100 * 20 / 24))]


def test_without_a_claim_there_is_no_chart_of_claims():
    assert charts.crossover_claims(BANDS, CLAIMS[:0], "x", "") is None


def test_another_line_gives_another_finding():
    table = by_month(PAIRS[:2])
    low, high = (charts.p_cheaper_by_month(table, line, NOTE) for line in (0.5, 0.9))
    assert "2 of 2 routes are" in title(low)
    assert "1 of 2 routes is" in title(high)


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: charts.p_cheaper_heat(heat(), "x", 1e9, 0.8, ""), "include today's 1.0B"),
        (
            lambda: charts.p_cheaper_heat(heat().assign(requests_per_month=0), "x", 0, 0.8, ""),
            "more than once",
        ),
        (
            lambda: charts.p_cheaper_heat(
                heat().replace({"requests_per_month": {1e5: 0.0}}), "x", 1e6, 0.8, ""
            ),
            "give volumes above zero",
        ),
        (
            lambda: charts.p_cheaper_by_month(pd.concat([by_month(PAIRS)] * 2), 0.8, ""),
            "support-chat, h200-70b, 0 more than once",
        ),
    ],
)
def test_a_table_that_cannot_be_drawn_is_an_error_that_says_so(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()

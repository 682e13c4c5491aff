"""The charts say what their tables say, in words that can be read."""

import re
from collections.abc import Callable
from datetime import date

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import colors
from matplotlib.font_manager import FontProperties
from matplotlib.text import Text
from matplotlib.textpath import TextPath

from llmstudy import charts, text
from llmstudy.charts import Chart
from llmstudy.charts.drawing import wrap
from tests.charts.shared import ChartTests, drawer, title

NOTE = "volumes: assumed · prices: published · serving: published"
LONG = [
    "customer-support-triage-and-escalation-emea",
    "marketing_copy_generation_for_the_spring_campaign",
    "long-context-contract-review-and-clause-extraction",
    "ticket classification with a $5 budget and $9 cap",
    "Onboardingassistantforinternalenterpriseknowledge",
    "x",
]
SHORT = ["support-chat", "classification", "extraction", "long-context-reasoning"]
ROUTES = {
    "proprietary_api": "openai-gpt-4o",
    "hosted_open": "novita-llama-3.1-70b",
    "self_hosted": "h200-llama-3.1-70b",
}


def curves(low: float = 1e4, high: float = 1e8, fixed: float = 30_000) -> pd.DataFrame:
    requests = np.geomspace(low, high, 40)
    bill = {
        "proprietary_api": 0.005 * requests,
        "hosted_open": 0.0006 * requests + fixed / 100,
        "self_hosted": fixed + 0.0004 * requests,
    }
    return pd.concat(
        pd.DataFrame(
            {
                "arm": arm,
                "route": ROUTES[arm],
                "requests_per_month": requests,
                "p10_usd": 0.7 * usd,
                "p50_usd": usd,
                "p90_usd": 1.5 * usd,
            }
        )
        for arm, usd in bill.items()
    )


def crossovers(*rows: tuple[str, float | None, float | None, float | None, float]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["arm", "p10", "p50", "p90", "p_never"])
    return table.assign(route=table["arm"].map(ROUTES))


CROSSED = crossovers(
    ("hosted_open", 5e4, 7e4, 1.1e5, 0.0), ("self_hosted", 3.1e6, 6.6e6, None, 0.12)
)
NEVER = crossovers(("hosted_open", None, None, None, 1.0), ("self_hosted", 2.1e7, None, None, 0.83))
OUTSIDE = crossovers(("hosted_open", 10, 200, 5e3, 0.0), ("self_hosted", 3e8, 5e8, 9e8, 0.07))
TODAY = ROUTES["proprietary_api"]


def cost(crossed=CROSSED, now=1.2e6, workload="x", routes=None, **curve: float) -> Chart:
    table = curves(**curve) if routes is None else routes
    table = table.assign(workload=workload)
    return charts.cost_against_volume(table, crossed, TODAY, now, 24, NOTE)


def alike() -> pd.DataFrame:
    """Curves of six routes, two of each arm, with names that take more than their line."""
    return pd.concat(
        curves().assign(route=lambda t, n=n: t["route"] + n) for n in ("", f"-{LONG[0]}")
    )


def never(workloads: list[str], pairs: int = 2, p: float | None = None) -> pd.DataFrame:
    moves = [
        ("proprietary_api", "self_hosted"),
        ("proprietary_api", "hosted_open"),
        ("hosted_open", "self_hosted"),
    ]
    rows = []
    for i, workload in enumerate(workloads):
        for j, (from_arm, to_arm) in enumerate(moves[:pairs]):
            p_never = 0.97 * (i + j) / (len(workloads) + pairs) if p is None else p
            p50 = None if p_never > 0.5 else 2.1e6 * (i + 1)
            rows.append((workload, from_arm, to_arm, p_never, p50))
    columns = ["workload", "from_arm", "to_arm", "p_never", "p50"]
    return pd.DataFrame(rows, columns=columns).assign(p10=None, p90=None)


def sensitivity(names: list[str], base: float, swing: float) -> pd.DataFrame:
    n = np.arange(len(names))
    return pd.DataFrame(
        {
            "input": names,
            "low_usd": base - swing / (n + 1) * np.where(n % 2, -1, 1),
            "high_usd": base + 1.4 * swing / (n + 1) * np.where(n % 2, -1, 1),
            "total_effect": 0.6 / (n + 1),
            "total_effect_error": 0.05 / (n + 1),
        }
    )


INPUTS = [
    "requests per month",
    "USD per GPU-hour",
    "FTE to run the fleet",
    "output tokens per request",
    "growth per month",
    "cached input share",
    "price drift of the proprietary API",
    "peak to mean",
    "retry share",
    "input tokens",
]


def fleet(workload: str, replicas: int, needed: int, each: float, utilisation: float) -> dict:
    return {
        "workload": workload,
        "replicas": replicas,
        "spare": replicas - needed,
        "capacity_requests_per_s": each,
        "utilisation": utilisation,
        "week_logged": False,
    }


def week(peak: float = 3.0) -> pd.DataFrame:
    hour = np.arange(168)
    day = 1 + np.sin(2 * np.pi * (hour % 24 - 9) / 24)
    load = peak / 2 * day * np.where(hour >= 120, 0.5, 1.0)
    return pd.DataFrame({"hour": hour, "requests_per_s": load})


def serving(concurrency: list[float], fitted: list[bool]) -> tuple[pd.DataFrame, pd.DataFrame]:
    def at(c: np.ndarray) -> pd.DataFrame:
        tpot = 12 + 0.35 * c**0.9
        return pd.DataFrame(
            {
                "concurrency": c,
                "tpot_ms": tpot,
                "output_tokens_per_s_per_gpu": 1000 * c / tpot / 2,
            }
        )

    points = at(np.array(concurrency, dtype=float))
    points["tpot_ms"] *= 1 + 0.08 * (-1.0) ** np.arange(len(points))
    grid = np.geomspace(min(concurrency), max(concurrency), 50)
    return points.assign(fitted=fitted), at(grid)


def verdicts(workloads: list[str], empty: bool = False) -> pd.DataFrame:
    kinds = [
        (0.004, 0.02, "non-inferior", "measured"),
        (-0.01, 0.05, "undecided", "published"),
        (-0.12, 0.03, "inferior", "measured"),
        (None, None, "none", "assumed"),
    ]
    rows = []
    for i, workload in enumerate(workloads):
        difference, half, verdict, grade = kinds[3 if empty else i % 4]
        rows.append(
            {
                "workload": workload,
                "route": "novita-llama-3.1-70b",
                "difference": difference,
                "low": None if difference is None else difference - half,
                "high": None if difference is None else difference + half,
                "margin": 0.03 if i % 2 else 0.05,
                "verdict": verdict,
                "grade": grade,
                "benchmark": None if difference is None else "GSM8K (ZeroEval)",
            }
        )
    return pd.DataFrame(rows).astype({"difference": float, "low": float, "high": float})


def triggers(workloads: list[str], fired: bool = True) -> pd.DataFrame:
    names = {
        "G1": ("utilisation", "share", 0.12, 0.3),
        "G2": ("latency", "s", 1.42, 1.0),
        "G3": ("privacy", "missing contracts", 0.0, 0.0),
        "G4": ("vendor", "share", 0.35, 0.2),
        "G5": ("quality", "share", None, 0.02),
        "G6": ("format", "share", 0.004, 0.01),
    }
    status = {"G1": "not_applicable", "G2": "fired", "G4": "fired", "G5": "unknown"}
    rows = [
        {
            "id": id_,
            "workload": w,
            "status": status.get(id_, "armed") if fired else "armed",
            "value": value,
            "threshold": threshold,
            "unit": unit,
            "name": name,
        }
        for w in workloads
        for id_, (name, unit, value, threshold) in names.items()
    ]
    return pd.DataFrame(rows)


PHASES = pd.DataFrame(
    {
        "phase": [1, 2, 3],
        "title": ["Foundation on the API", "Optimise and evaluate", "Selective migration"],
        "start": [date(2026, 12, 7), date(2027, 1, 4), date(2027, 3, 29)],
        "end": [date(2027, 1, 4), date(2027, 3, 29), date(2027, 8, 2)],
        "exit_state": ["passed", "open", "unknown"],
        "exit_gate": [
            "every call passes the gateway and is logged with tokens, cost, latency and prompt "
            "version",
            "golden set scored on today's route and on each candidate; triggers evaluated on the "
            "log",
            "canary held its margins at full traffic; fallback drilled",
        ],
        "owner": ["platform lead", "evaluation lead", "head of platform"],
    }
)
GATES = [{"phase": 2, "at": "exit", "state": "open", "gate": "the golden set is scored"}]
POINTS, CURVE = serving([1, 2, 4, 8, 16, 32, 64, 128, 256], [True, False] * 4 + [True])
LENGTHS, LLAMA_405B = (1155.0, 211.0), "Llama-3.1-405B-Instruct-FP8"
FEW, SHORT_CURVE = serving([4, 6], [True, True])

CHARTS: dict[str, Callable[[], Chart]] = {
    "cost": lambda: cost(workload=SHORT[0]),
    "cost_never": lambda: cost(NEVER, 1e4, LONG[0]),
    "cost_outside": lambda: cost(OUTSIDE, 1e8, LONG[1]),
    "cost_alike": lambda: cost(now=2e6, low=1e6, high=3e6, fixed=4e3),
    "cost_one": lambda: cost(CROSSED[:0], routes=curves()[:40]),
    "cost_six": lambda: cost(routes=alike()),
    "never": lambda: charts.p_never(never(SHORT)),
    "never_all": lambda: charts.p_never(never(LONG, 3, p=1.0)),
    "never_one": lambda: charts.p_never(never(["x"], 1, p=0.0)),
    "tornado": lambda: charts.tornado(
        sensitivity(INPUTS, 1.1e6, 6e5), 1.1e6, "the 12-month saving of support-chat", NOTE
    ),
    "tornado_negative": lambda: charts.tornado(
        sensitivity(LONG, -2e5, 4e5), -2e5, f"the saving of {LONG[2]}", NOTE
    ),
    "tornado_flat": lambda: charts.tornado(sensitivity(["x"], 0, 0), 0, "the saving", NOTE),
    "tornado_one_sided": lambda: charts.tornado(
        sensitivity(INPUTS, 1e6, 4e5).assign(low_usd=2.4e6, high_usd=1.9e6), 1e6, "saving", NOTE
    ),
    "week": lambda: charts.week_load(week(), fleet(SHORT[0], 3, 2, 1.6, 0.31), NOTE),
    "week_short": lambda: charts.week_load(week(), fleet(LONG[2], 1, 2, 1.6, 0.94), NOTE),
    "week_many": lambda: charts.week_load(week(60.0), fleet(SHORT[3], 41, 40, 1.513, 0.41), NOTE),
    "serving": lambda: charts.serving_curve(
        POINTS, CURVE, LENGTHS, 50, 100, "Llama-3.1-70B", "H200 × 2", 0.062, NOTE
    ),
    "serving_edge": lambda: charts.serving_curve(
        POINTS, CURVE, LENGTHS, 64, 256, f"meta-llama/{LLAMA_405B}", "8 × H200 SXM", 0.2, NOTE
    ),
    "serving_miss": lambda: charts.serving_curve(
        POINTS, CURVE, LENGTHS, 10, 1, "Llama-3.1-70B", "H100", 0.062, NOTE
    ),
    "serving_few": lambda: charts.serving_curve(
        FEW, SHORT_CURVE, LENGTHS, 50, 5, "gpt-oss", "B200", 0, NOTE
    ),
    "serving_elsewhere": lambda: charts.serving_curve(
        POINTS, CURVE, LENGTHS, None, 100, "Llama-3.1-70B", "H200", 0.062, NOTE
    ),
    "quality": lambda: charts.quality_forest(verdicts(SHORT)),
    "quality_long": lambda: charts.quality_forest(verdicts(LONG)),
    "quality_none": lambda: charts.quality_forest(verdicts(["x"], empty=True)),
    "quality_one": lambda: charts.quality_forest(verdicts(["x"])),
    "triggers": lambda: charts.trigger_status(triggers(SHORT)),
    "triggers_long": lambda: charts.trigger_status(triggers(LONG)),
    "triggers_one": lambda: charts.trigger_status(triggers(["x"], fired=False)),
    "phases": lambda: charts.phase_timeline(PHASES, GATES, date(2026, 12, 4)),
    "phases_one": lambda: charts.phase_timeline(PHASES[:1], GATES, date(2026, 12, 7)),
}


drawn = drawer(CHARTS)


def words(chart: Chart) -> str:
    return " ".join(" ".join(t.get_text().split()) for t in chart.figure.findobj(Text))


# ---- a reader can read it -----------------------------------------------------------------------


class TestCharts(ChartTests):
    charts = CHARTS
    drawn = drawn
    says = (
        # today: 1.2M x 0.0006 + 300 = 1,020; 1.2M x 0.005 = 6,000; 1.2M x 0.0004 + 30,000 = 30,480
        (
            "cost",
            "at today's 1.2M requests a month openai-gpt-4o costs USD 6.0k, the others USD 1.0k to "
            "30k (forecast: mean month of the next 24, upkeep included)",
            "h200-llama-3.1-70b USD 30k",
        ),
        (
            "cost",
            "support-chat",
            "h200-llama-3.1-70b is cheaper than today's route from 6.6M requests a month (80 % "
            "range 3.1M to never), never cheaper than today's route in 12 % of simulated futures",
        ),
        (
            "cost_never",
            "openai-gpt-4o costs USD 50, the others USD 306 to 30k",
            "h200-llama-3.1-70b is never cheaper than today's route in 83 % of simulated futures",
        ),
        ("cost_one", "month openai-gpt-4o costs USD 6.0k (forecast", "openai-gpt-4o USD 6.0k"),
        ("never_all", "for 18 of 18 moves", "hosted open weights → self-hosted: 100 %, median nev"),
        ("never_one", "for 0 of 1 moves", "proprietary API → self-hosted: 0 %, median 2.1M"),
        (
            "tornado",
            "base USD 1.1M, USD 0.5M to 1.9M with requests",
            "total effect 0.60 ± 0.05",
        ),
        (
            "tornado_negative",
            "base −USD 200k, −USD 600k to USD 360k with cus",
            "−USD 480k to U",
        ),
        (
            "week",
            "3 replicas at 31 % utilisation; the busiest hour needs 2, 1 spare",
            "3 × 1.6 = 4.8",
        ),
        (
            "week_short",
            "1 replica at 94 % utilisation; the busiest hour needs 2, 1 too",
            "1 × 1.6 = 1.6",
        ),
        ("serving_miss", "12.3 ms at concurrency 1, outside the SLO of 10 ms", "4 held out"),
        (
            "quality",
            "1 of 3 scored comparisons; 1 undecided, 1 inferior; 1 without paired items",
            "no paired items yet",
        ),
        ("quality", "in 1 of 3", "points, margin −5.0: inferior: GSM8K (ZeroEval), measured"),
        ("triggers", "8 of 24 triggers fired: G2 on 4 workloads, G4", "vendor: fired, 35 / 20 %"),
        ("triggers_one", "None of 6 triggers fired; 6 armed", "G2 latency: armed, 1.42 / 1 s"),
        ("phases", "Decide by 4 Dec 2026: 3 phases", "4 Jan 2027 to 29 Mar 2027, owner eval"),
    )


def test_the_arms_differ_without_colour():
    looks = list(charts.ARMS.values())
    assert len({look.linestyle for look in looks}) == len({look.marker for look in looks}) == 3
    lightness = sorted(116 * luminance(look.color) ** (1 / 3) - 16 for look in looks)
    assert min(np.diff(lightness)) >= 10  # CIE L*, out of 100


@pytest.mark.parametrize(
    "color", [*(look.color for look in charts.ARMS.values()), charts.GREY, charts.ACCENT]
)
def test_words_in_any_colour_have_the_contrast_that_wcag_asks(color):
    assert 1.05 / (luminance(color) + 0.05) >= 4.5


def luminance(color: str) -> float:
    rgb = np.array(colors.to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_the_four_states_of_a_trigger_differ_by_their_first_letter():
    assert len({word[0] for word in charts.STATUS.values()}) == 4


# ---- it says what its table says ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("cost", lambda: cost(now=3e6)),
        ("never", lambda: charts.p_never(never(SHORT, p=0.4))),
        ("tornado", lambda: charts.tornado(sensitivity(INPUTS, 1e6, 6e5), 1e6, "saving", NOTE)),
        ("week", lambda: charts.week_load(week(), fleet(SHORT[0], 4, 2, 1.6, 0.23), NOTE)),
        ("serving", lambda: charts.serving_curve(POINTS, CURVE, (9, 9), 9, 9, "L", "H", 0, NOTE)),
        ("quality", lambda: charts.quality_forest(verdicts(SHORT[:3]))),
        ("triggers", lambda: charts.trigger_status(triggers(SHORT, fired=False))),
        ("phases", lambda: charts.phase_timeline(PHASES[:2], GATES, date(2026, 12, 4))),
    ],
)
def test_another_table_gives_another_finding(before, after):
    first, second = drawn(before), after()
    assert title(first) != title(second)
    assert first.alt != second.alt


def test_a_target_is_judged_only_at_the_workloads_own_lengths():
    own, elsewhere = drawn("serving"), drawn("serving_elsewhere")
    for chart in (own, elsewhere):
        assert "1,155 tokens in and 211 out" in title(chart)
    assert "SLO" in own.alt
    assert "SLO" not in elsewhere.alt
    assert len(own.figure.axes[0].lines) == len(elsewhere.figure.axes[0].lines) + 1


def test_curves_and_crossovers_stand_at_their_numbers():
    (ax,) = drawn("cost").figure.axes
    lines = {line.get_color(): line for line in reversed(ax.lines) if line.get_linewidth() == 1.1}
    api = lines[charts.ARMS["proprietary_api"].color]
    assert api.get_ydata() == pytest.approx(0.005 * np.asarray(api.get_xdata()))
    marks = {line.get_marker(): line for line in ax.lines if len(line.get_xdata()) == 1}
    assert marks["s"].get_xydata() == pytest.approx(np.array([[7e4, 342]]), rel=1e-3)
    assert marks["D"].get_xydata() == pytest.approx(np.array([[6.6e6, 32_640]]), rel=1e-3)
    ranges = [line.get_xdata()[[0, -1]] for line in ax.lines if line.get_linewidth() == 3.5]
    assert ranges[0] == pytest.approx([5e4, 1.1e5])
    assert ranges[1] == pytest.approx([3.1e6, ax.get_xlim()[1]])  # to never
    assert any(set(line.get_xdata()) == {1.2e6} for line in ax.lines)


def test_routes_of_one_arm_differ_by_their_line_and_all_are_named():
    (ax,) = drawn("cost_six").figure.axes
    looks = {(x.get_color(), x.get_linestyle()) for x in ax.lines if x.get_linewidth() == 1.1}
    assert len(looks) == 6
    assert sum(label.get_text().startswith(tuple(ROUTES.values())) for label in ax.texts) == 6


def test_the_charts_of_the_memo_are_low():
    four = curves().assign(route=lambda t: t["route"] + "-b")[:40]
    height = {
        "cost": cost(routes=pd.concat([curves(), four])).figure.get_figheight(),
        "tornado": charts.tornado(
            sensitivity(INPUTS, 1.1e6, 6e5), 1.1e6, "the saving of x", NOTE, most=5
        ).figure.get_figheight(),
    }
    assert height["cost"] <= 2.3
    assert height["tornado"] <= 1.9


def test_bars_of_the_tornado_run_from_low_to_high():
    table = sensitivity(INPUTS, 1.1e6, 6e5).head(8)
    ax = drawn("tornado").figure.axes[0]
    bars = [(p.get_x(), p.get_x() + p.get_width()) for p in ax.patches]
    ends = np.sort(table[["low_usd", "high_usd"]].to_numpy(), axis=1)
    assert np.array(bars) == pytest.approx(ends)


def test_the_tornado_keeps_the_eight_strongest_inputs_strongest_first():
    shuffled = sensitivity(INPUTS, 1.1e6, 6e5).sample(frac=1, random_state=1)
    ax = charts.tornado(shuffled, 1.1e6, "saving", NOTE).figure.axes[0]
    names = [" ".join(label.get_text().split()) for label in ax.get_yticklabels()]
    assert names == INPUTS[:8]


def test_the_fleet_is_drawn_at_replicas_times_capacity():
    ax = drawn("week").figure.axes[0]
    levels = [line.get_ydata()[0] for line in ax.lines if len(set(line.get_ydata())) == 1]
    assert levels == pytest.approx([4.8, 3.2])


def test_each_dot_stands_at_its_share():
    dots = [line for line in drawn("never").figure.axes[0].lines if len(line.get_xdata()) == 1]
    assert [dot.get_xdata()[0] for dot in dots] == pytest.approx(100 * never(SHORT)["p_never"])


def test_each_verdict_stands_at_its_difference_within_its_interval():
    ax = drawn("quality").figure.axes[0]
    dots = [line.get_xdata()[0] for line in ax.lines if len(line.get_xdata()) == 1]
    spans = [bars.get_segments()[0][:, 0].tolist() for bars in ax.collections]
    assert dots == pytest.approx([0.4, -1, -12])
    assert np.array(spans) == pytest.approx(np.array([[-1.6, 2.4], [-6, 4], [-15, -9]]))


def test_a_route_without_items_has_a_margin_but_no_interval():
    ax = drawn("quality").figure.axes[0]
    margins = [
        line
        for line in ax.lines
        if line.get_color() == charts.ACCENT and len(line.get_xdata()) == 2
    ]
    assert [line.get_xdata()[0] for line in margins] == pytest.approx([-5, -3, -5, -3])
    assert len(ax.collections) == 3


def test_a_fitted_point_is_filled_and_a_held_out_one_is_not():
    ax = drawn("serving").figure.axes[0]
    filled, hollow = (line for line in ax.lines if line.get_marker() == "o")
    assert list(filled.get_xdata()) == [1, 4, 16, 64, 256]
    assert list(hollow.get_xdata()) == [2, 8, 32, 128]
    assert hollow.get_markerfacecolor() == "white" != filled.get_markerfacecolor()


def test_only_a_fired_trigger_is_red():
    ax = drawn("triggers").figure.axes[0]
    red = [p for p in ax.patches if colors.to_hex(p.get_facecolor()) == charts.ACCENT]
    assert {int(p.get_x()) for p in red} == {1, 3}  # G2 and G4
    assert len(red) == 8


def test_a_workload_keeps_its_rows_together_and_its_name_once():
    scattered = never(SHORT).sample(frac=1, random_state=3)
    ax = charts.p_never(scattered).figure.axes[0]
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == [x for w in scattered["workload"].unique() for x in (w, "")]


@pytest.mark.parametrize("name", ["cost", "tornado", "week", "serving"])
def test_the_grade_of_the_evidence_is_on_the_chart(name):
    assert NOTE in words(drawn(name))


# ---- it is the same every time ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cost", "quality", "week"])
def test_the_same_table_gives_the_same_svg_whatever_the_style_of_the_session(name):
    first = charts.svg(drawn(name).figure)
    chart = CHARTS[name]()
    with mpl.rc_context({"svg.hashsalt": None, "svg.fonttype": "none"}):
        assert charts.svg(chart.figure) == first
    assert "<dc:date>" not in first
    assert "<text" not in first  # letters are paths: the reader needs no font


def test_a_table_without_a_row_and_a_free_route_have_no_chart():
    assert charts.quality_forest([]) is None
    free = curves().assign(p10_usd=0)  # has no place on a logarithmic axis
    assert cost(routes=free) is None


def test_a_phase_names_the_gates_that_hold_it_in_its_state():
    assert "gate: open: the golden set is scored" in drawn("phases").alt
    assert "gate: passed: every call passes the gateway" in drawn("phases").alt


def test_no_figure_stays_open_in_pyplot():
    drawn("quality_one")
    assert plt.get_fignums() == []


# ---- it refuses what it cannot draw -------------------------------------------------------------


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: charts.quality_forest(verdicts(["x"]).drop(columns="low")), "lacks low: give"),
        (
            lambda: charts.p_never(never(["x"]).assign(to_arm="cloud")),
            '"cloud" is not an arm',
        ),
        (lambda: charts.quality_forest(verdicts(["x"]).assign(verdict="ok")), '"ok" is not a verd'),
        (lambda: charts.trigger_status(triggers(["x"]).assign(status="on")), '"on" is not a stat'),
        (
            lambda: cost(now=1e3, workload="chat"),
            "chat: curves run from 10k to 100M requests a month and miss today's 1,000",
        ),
        (
            lambda: charts.serving_curve(POINTS, CURVE, LENGTHS, 50, 300, "L", "H", 0.1, NOTE),
            "L on H: the curve runs from concurrency 1 to 256 and misses the chosen 300",
        ),
    ],
)
def test_a_table_that_cannot_be_drawn_is_an_error_that_says_so(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()


# ---- numbers in words ---------------------------------------------------------------------------

AMOUNTS = st.floats(-1e13, 1e13).filter(lambda x: x == 0 or abs(x) > 1e-9)
LETTERS = {"k": 1e3, "M": 1e6, "B": 1e9}


def read(said: str) -> float:
    digits = said.replace("USD ", "").replace(",", "").replace("−", "-")
    return float(digits.rstrip("kMB")) * LETTERS.get(digits[-1], 1.0)


@given(AMOUNTS)
def test_money_read_back_is_the_amount_to_five_per_cent_and_has_no_dollar_sign(x):
    said = text.usd(x)
    assert "$" not in said
    assert read(said) == pytest.approx(x, rel=0.051)


@given(AMOUNTS)
def test_a_count_read_back_is_the_count_to_five_per_cent(x):
    assert read(text.count(x)) == pytest.approx(x, rel=0.051)


@given(st.integers(-9_999, 9_999))
def test_small_whole_counts_are_exact(n):
    assert read(text.count(n)) == n


@given(st.floats(0, 1))
def test_nothing_and_all_are_said_of_nothing_and_all_only(x):
    assert (text.share(x) == "0 %") == (x == 0)
    assert (text.share(x) == "100 %") == (x == 1)


@given(AMOUNTS, AMOUNTS)
def test_a_range_read_back_has_its_ends_in_order(x, y):
    low, high = sorted([x, y])
    said = text.span(low, high, text.usd)
    first, _, last = said.partition(" to ")
    assert read(first) <= read(last or first)
    assert read(first) == pytest.approx(low, rel=0.11)  # one digit where it stands beside a larger


def test_what_never_happens_is_said_so():
    assert text.span(None, None, text.count) == "never"
    assert text.never_or(float("nan"), text.usd) == "never"
    with pytest.raises(ValueError, match="never_or"):
        text.usd(float("inf"))
    with pytest.raises(ValueError, match="runs backwards"):
        text.span(2, 1, text.usd)


@settings(max_examples=40)
@given(st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=40))
def test_wrapping_loses_no_letter_and_keeps_to_the_width(said):
    wrapped = wrap(said, 0.8, lines=40)
    assert re.sub(r"\s", "", wrapped) == re.sub(r"\s", "", said)
    font = FontProperties(family="DejaVu Sans", size=charts.SMALL_PT)
    for line in wrapped.split():
        assert TextPath((0, 0), line, prop=font).get_extents().width <= 72 * 0.8


def test_words_that_have_no_room_end_in_a_mark_and_not_never():
    assert wrap("x" * 3_000, 0.02, lines=3).endswith("…")
    assert wrap("support-chat", 0.01, lines=1) == "…"

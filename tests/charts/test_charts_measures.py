import pandas as pd
import pytest

from llmstudy import charts
from tests.charts.shared import ChartTests, drawer, title

NOTE = "prices: recorded"


def bills(*usd_of: tuple[str, str, bool, float]) -> pd.DataFrame:
    rows = [
        {"workload": w, "route": f"{arm}-route", "arm": arm, "current": now, "month_usd": usd}
        for w, arm, now, usd in usd_of
    ]
    return pd.DataFrame(rows)


BILLS = bills(
    ("support-chat", "proprietary_api", True, 5763.51),
    ("support-chat", "hosted_open", False, 581.4),
    ("classification-of-tickets", "proprietary_api", True, 169.0),
    ("classification-of-tickets", "hosted_open", False, 500.0),
)
LATENCY = pd.DataFrame(
    [
        ("support-chat", "openai-gpt-4o", 1.0, 1.0, 0.2, 2.5, "undecided", "secondary"),
        ("support-chat", "h200-llama-3.1-70b", 1.0, None, 0.1, None, "undecided", "published"),
        ("extraction", "openai-gpt-4o", 2.0, 0.4, 0.38, 0.43, "meets", "measured"),
        ("extraction", "novita-llama-3.1-70b", 2.0, 3.1, 2.9, 3.6, "misses", "measured"),
    ],
    columns=["workload", "route", "target_s", "ttft_p95_s", "low_s", "high_s", "verdict", "grade"],
)


CHARTS = {
    "bills": lambda: charts.month_bills(BILLS, NOTE),
    "one bill": lambda: charts.month_bills(BILLS[:1], ""),
    "tokens": lambda: charts.first_tokens(LATENCY),
    "bound only": lambda: charts.first_tokens(LATENCY[1:2]),
}


class TestCharts(ChartTests):
    charts = CHARTS
    drawn = drawer(CHARTS)


def test_a_workload_counts_only_where_a_candidate_lists_below_today():
    said = title(charts.month_bills(BILLS, NOTE))
    assert said.startswith("1 of 2 workloads have a route")
    dearer = BILLS.assign(month_usd=BILLS["month_usd"].where(BILLS["current"], 1e5))
    assert title(charts.month_bills(dearer, NOTE)).startswith("0 of 2 ")


def test_each_bill_is_told_with_its_route_and_today_is_named():
    alt = charts.month_bills(BILLS, NOTE).alt
    assert "support-chat, proprietary_api-route: USD 5.8k, today, proprietary API" in alt
    assert "support-chat, hosted_open-route: USD 581, hosted open weights" in alt
    assert alt.endswith(NOTE)


def test_verdicts_on_first_tokens_are_counted_and_an_open_end_is_unknown():
    chart = charts.first_tokens(LATENCY)
    assert title(chart).endswith("1 meets, 2 undecided, 1 misses")
    assert "h200-llama-3.1-70b: 0.1 to unknown s against 1 s, undecided (published)" in chart.alt


def test_a_bill_that_is_missing_is_an_error():
    with pytest.raises(ValueError, match="bills lacks month_usd"):
        charts.month_bills(BILLS.drop(columns="month_usd"), NOTE)

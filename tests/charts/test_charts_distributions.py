from typing import ClassVar

import numpy as np
import pandas as pd

from llmstudy import charts
from tests.charts.shared import ChartTests, drawer, title

NOTE = "requests: simulated"
RNG = np.random.default_rng(7)


def log(*workloads: tuple[str, float]) -> pd.DataFrame:
    frames = [
        pd.DataFrame(
            {
                "workload": name,
                "input_tokens": RNG.lognormal(np.log(median), 0.9, 500).round(),
                "output_tokens": RNG.lognormal(4, 0.5, 500).round(),
            }
        )
        for name, median in workloads
    ]
    return pd.concat(frames, ignore_index=True)


REQUESTS = log(("support-chat", 1000), ("classification-of-tickets", 300))
HOURS = pd.DataFrame({"workload": "chat", "hour": range(168), "requests_per_s": 2.0})
WEEK = pd.concat([HOURS, HOURS.assign(workload="batch")], ignore_index=True)
WEEK.loc[9, "requests_per_s"] = 7.0
PRICED = pd.DataFrame({"route": "openai-gpt-4o", "usd": [0.001] * 9 + [0.011]})
PRICED = pd.concat([PRICED, PRICED.assign(route="novita-llama-3.1-70b", usd=0.0004)])
WAITS = pd.DataFrame(
    {
        "workload": "support-chat",
        "route": ["openai-gpt-4o"] * 100 + ["novita-llama-3.1-70b"] * 100,
        "ok": [True] * 195 + [False] * 5,
        "ttft_s": np.linspace(0.1, 2.0, 200),
        "ttft_slo_s": 1.0,
    }
)
SUBJECTS = pd.DataFrame(
    {
        "benchmark": "mmlu",
        "model_proprietary": "gpt-4",
        "model_open": "mixtral",
        "subject": [f"s{i}" for i in range(12)],
        "difference": np.linspace(-0.3, 0.1, 12),
    }
)

CHARTS = {
    "lengths": lambda: charts.token_lengths(REQUESTS, NOTE),
    "hours": lambda: charts.hourly_load(WEEK, NOTE),
    "bills": lambda: charts.request_bills(PRICED, "support-chat", NOTE),
    "waits": lambda: charts.measured_waits(WAITS, "measured: probes"),
    "subjects": lambda: charts.subject_differences(SUBJECTS, "published"),
}


class TestCharts(ChartTests):
    charts = CHARTS
    drawn = drawer(CHARTS)
    says = (
        ("hours", "has 3.4 times the requests of its mean hour", "batch: peak 1.0 times"),
        ("bills", "make 55 % of its bill on openai-gpt-4o", "median USD 1.00, p95"),
        ("waits", "novita-llama-3.1-70b: 0 % within 1 s", "openai-gpt-4o: 95 % within 1 s"),
        ("subjects", "up to 40 points more on one subject", "−30 to +10 points over 12 subjects"),
    )
    notes: ClassVar = {"lengths": NOTE, "waits": "measured: probes"}


def test_the_workload_with_the_longest_tail_is_named():
    prompts = REQUESTS.groupby("workload")["input_tokens"]
    tails = prompts.quantile(0.95) / prompts.quantile(0.5)
    said = title(charts.token_lengths(REQUESTS, NOTE))
    assert tails.idxmax() in said
    assert f"{tails.max():.1f} times" in said


def test_a_failure_is_never_answered_in_time():
    chart = charts.measured_waits(WAITS.assign(ttft_s=0.2), "")
    assert "novita-llama-3.1-70b: 95 % within 1 s" in chart.alt
    (_, lower) = chart.figure.axes
    assert max(lower.lines[0].get_ydata()) == np.float64(191 / 201)  # of 201 quantiles


def test_what_nobody_measured_and_few_subjects_have_no_chart():
    assert charts.measured_waits(WAITS.assign(ttft_s=None, ok=True), "") is None
    assert charts.subject_differences(SUBJECTS.head(9), "") is None
    assert charts.token_lengths(REQUESTS.head(0), "") is None

"""The charts say what their tables say, in words that can be read."""

from collections.abc import Callable
from datetime import date
from io import BytesIO
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from matplotlib import colors
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from llmstudy import charts, text
from llmstudy.charts import Chart

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
    return pd.DataFrame(rows, columns=["to_arm", "p10", "p50", "p90", "p_never"])


CROSSED = crossovers(
    ("hosted_open", 5e4, 7e4, 1.1e5, 0.0), ("self_hosted", 3.1e6, 6.6e6, None, 0.12)
)
NEVER = crossovers(
    ("hosted_open", None, None, None, 1.0), ("self_hosted", 2.1e7, None, None, 0.83)
)
OUTSIDE = crossovers(("hosted_open", 10, 200, 5e3, 0.0), ("self_hosted", 3e8, 5e8, 9e8, 0.07))


def never(workloads: list[str], pairs: int = 2, p: float | None = None) -> pd.DataFrame:
    moves = [
        ("proprietary_api", "self_hosted"),
        ("proprietary_api", "hosted_open"),
        ("hosted_open", "self_hosted"),
    ][:pairs]
    rows = [
        {
            "workload": w,
            "from_arm": a,
            "to_arm": b,
            "p_never": (0.97 * (i + j) / (len(workloads) + pairs)) if p is None else p,
            "p50": None if p == 1 else 2.1e6 * (i + 1),
        }
        for i, w in enumerate(workloads)
        for j, (a, b) in enumerate(moves)
    ]
    return pd.DataFrame(rows)


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
        "gate": [
            "every call passes the gateway and is logged with tokens, cost, latency and prompt "
            "version",
            "golden set scored on today's route and on each candidate; triggers evaluated on the "
            "log",
            "canary held its margins at full traffic; fallback drilled",
        ],
        "owner": ["platform lead", "evaluation lead", "head of platform"],
    }
)
POINTS, CURVE = serving([1, 2, 4, 8, 16, 32, 64, 128, 256], [True, False] * 4 + [True])
FEW, SHORT_CURVE = serving([4, 6], [True, True])

CHARTS: dict[str, Callable[[], Chart]] = {
    "cost": lambda: charts.cost_against_volume(curves(), CROSSED, 1.2e6, SHORT[0], NOTE),
    "cost_never": lambda: charts.cost_against_volume(curves(), NEVER, 1e4, LONG[0], NOTE),
    "cost_outside": lambda: charts.cost_against_volume(curves(), OUTSIDE, 1e8, LONG[1], NOTE),
    "cost_alike": lambda: charts.cost_against_volume(
        curves(1e6, 3e6, fixed=4e3), CROSSED, 2e6, "x", NOTE
    ),
    "cost_one": lambda: charts.cost_against_volume(curves(), CROSSED[1:], 1.2e6, "x", NOTE),
    "never": lambda: charts.p_never(never(SHORT), NOTE),
    "never_all": lambda: charts.p_never(never(LONG, 3, p=1.0), NOTE),
    "never_one": lambda: charts.p_never(never(["x"], 1, p=0.0), NOTE),
    "never_half": lambda: charts.p_never(never(LONG, 1, p=0.5), NOTE * 4),
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
    "week": lambda: charts.week_load(week(), 3, 2, 1.6, 0.31, SHORT[0], NOTE),
    "week_short": lambda: charts.week_load(week(), 1, 2, 1.6, 0.94, LONG[2], NOTE),
    "week_exact": lambda: charts.week_load(week(0.01), 1, 1, 1.6, 0.003, "x", NOTE),
    "week_many": lambda: charts.week_load(week(60.0), 41, 40, 1.513, 0.41, SHORT[3], NOTE),
    "serving": lambda: charts.serving_curve(
        POINTS, CURVE, 50, 100, "Llama-3.1-70B", "H200 × 2", 0.062, NOTE
    ),
    "serving_edge": lambda: charts.serving_curve(
        POINTS, CURVE, 64, 256, "meta-llama/Llama-3.1-405B-Instruct-FP8", "8 × H200 SXM", 0.2, NOTE
    ),
    "serving_miss": lambda: charts.serving_curve(
        POINTS, CURVE, 10, 1, "Llama-3.1-70B", "H100", 0.062, NOTE
    ),
    "serving_few": lambda: charts.serving_curve(FEW, SHORT_CURVE, 50, 5, "gpt-oss", "B200", 0, NOTE),
    "quality": lambda: charts.quality_forest(verdicts(SHORT)),
    "quality_long": lambda: charts.quality_forest(verdicts(LONG)),
    "quality_none": lambda: charts.quality_forest(verdicts(["x"], empty=True)),
    "quality_one": lambda: charts.quality_forest(verdicts(["x"])),
    "triggers": lambda: charts.trigger_status(triggers(SHORT)),
    "triggers_long": lambda: charts.trigger_status(triggers(LONG)),
    "triggers_one": lambda: charts.trigger_status(triggers(["x"], fired=False)),
    "phases": lambda: charts.phase_timeline(PHASES, date(2026, 12, 4)),
    "phases_late": lambda: charts.phase_timeline(PHASES, date(2027, 8, 30)),
    "phases_one": lambda: charts.phase_timeline(PHASES[:1], date(2026, 12, 7)),
}

"""What could go wrong on each path, and what does the evidence say of it today (MEMO T8)?

The register merges the lists of the five voices of the source memo: each of their rows stands in
exactly one risk, whose likelihood, impact and mitigation are theirs. What can be watched has an
indicator. An assumption can warn, but it neither raises an alarm nor calms one: only evidence does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from llmstudy import paths
from llmstudy.figure import Grade
from llmstudy.triggers import FIRING_GRADES
from llmstudy.units import HOURS_PER_MONTH

State = Literal["active", "warning", "quiet", "no evidence"]

NO_LIVE_EVIDENCE = "no live evidence"

LEVELS = ("low", "low-medium", "medium", "medium-high", "high")
"""How the source memo rates a likelihood or an impact, least first."""

_MINUTE = pd.Timedelta(minutes=1)
_DAYS_PER_MONTH = 365.25 / 12
_WORST_FIRST: tuple[State, ...] = ("active", "warning", "quiet")


@dataclass(frozen=True)
class Reading:
    """What an indicator reads today. value: in its unit, None where nothing is known.

    evidence: the result, figure or table that it is read from; said: the same in a few words.
    """

    value: float | None
    grade: Grade
    evidence: str
    said: str


def state(value: float | None, operator: str, warning: float, active: float, grade: Grade) -> State:
    """What a reading means against its two lines. operator: `>=` or `<=`, on the bad side.

    >>> state(0.3, ">=", 0.1, 0.2, "published"), state(0.3, ">=", 0.1, 0.2, "assumed")
    ('active', 'warning')
    >>> state(0.0, ">=", 0.1, 0.2, "measured"), state(0.0, ">=", 0.1, 0.2, "assumed")
    ('quiet', 'no evidence')
    """
    if value is None:
        return "no evidence"
    bears = grade in FIRING_GRADES
    if _reaches(value, operator, active):
        return "active" if bears else "warning"
    if _reaches(value, operator, warning):
        return "warning"
    return "quiet" if bears else "no evidence"


def _reaches(value: float, operator: str, line: float) -> bool:
    if operator not in (">=", "<="):
        raise ValueError(f"an indicator is held against its lines by >= or <=, not by {operator!r}")
    return value >= line if operator == ">=" else value <= line


def indicator_table() -> pd.DataFrame:
    """What is watched: name, asks, unit, operator, warning, active (null: the study's), source."""
    return pd.read_csv(paths.data("risk_indicators.csv"))


def indicators(readings: Mapping[str, Reading], lines: Mapping[str, float]) -> pd.DataFrame:
    """Every indicator with what it reads and what that means.

    readings: by indicator name. lines: where the study itself draws a line, by indicator name; a
    warning comes at half of it.
    Returns: name, asks, value, unit, operator, warning, threshold, state, grade, evidence, said,
    source.
    Raises: ValueError unless each indicator has one reading and a line.
    """
    table = indicator_table()
    if strange := set(table["name"]) ^ set(readings):
        raise ValueError(
            f"{sorted(strange)[0]}: data/risk_indicators.csv and the readings must name the same "
            "indicators."
        )
    rows = []
    for row in table.to_dict("records"):
        name, read = str(row["name"]), readings[str(row["name"])]
        active, warning = float(row["active"]), float(row["warning"])
        if np.isnan(active):
            if name not in lines:
                raise ValueError(f"{name} has no line: data/risk_indicators.csv leaves it open.")
            active, warning = lines[name], lines[name] / 2
        operator = str(row["operator"])
        rows.append(
            {
                "name": name,
                "asks": row["asks"],
                "value": read.value,
                "unit": row["unit"],
                "operator": operator,
                "warning": warning,
                "threshold": active,
                "state": state(read.value, operator, warning, active, read.grade),
                "grade": read.grade,
                "evidence": read.evidence,
                "said": read.said,
                "source": row["source"],
            }
        )
    return pd.DataFrame(rows)


# --- the register ---------------------------------------------------------------------------


def risk_sources() -> pd.DataFrame:
    """The rows of the source memo in its own words: id, advisor, path, risk, likelihood, impact,
    mitigation, source. A rating that it does not give is empty."""
    return pd.read_csv(paths.data("risk_sources.csv"), keep_default_na=False)


def register(found: pd.DataFrame) -> pd.DataFrame:
    """The risks merged without loss, each with the state of what watches it.

    found: as `indicators`.
    Returns: id, path, risk, likelihood and impact (the highest that an advisor gives; empty: none
    does), mitigation, advisors, source_ids, indicators, state (the worst of its indicators), live.
    """
    told = risk_sources().set_index("id")
    by_name = {str(row["name"]): row for row in found.to_dict("records")}
    rows = []
    for risk in pd.read_csv(paths.data("risks.csv"), keep_default_na=False).to_dict("records"):
        own = told.loc[str(risk["source_ids"]).split()]
        watched = [by_name[name] for name in str(risk["indicators"]).split()]
        states = {row["state"] for row in watched}
        rows.append(
            {
                "id": risk["id"],
                "path": risk["path"],
                "risk": risk["risk"],
                "likelihood": _highest(own["likelihood"]),
                "impact": _highest(own["impact"]),
                "mitigation": "; ".join(text.rstrip(".") for text in own["mitigation"]),
                "advisors": ", ".join(own["advisor"].drop_duplicates()),
                "source_ids": risk["source_ids"],
                "indicators": risk["indicators"],
                "state": next((s for s in _WORST_FIRST if s in states), NO_LIVE_EVIDENCE),
                "live": "; ".join(
                    str(row["said"]) for row in watched if row["state"] != "no evidence"
                ),
            }
        )
    return pd.DataFrame(rows)


def _highest(rated: "pd.Series[str]") -> str:
    return max((level for level in rated if level), key=LEVELS.index, default="")


# --- what indicators read -------------------------------------------------------------------


def largest_share(usd: Mapping[str, float]) -> tuple[str, float] | None:
    """Who takes most of a bill, and which share of it. None where nothing is paid.

    >>> largest_share({"openai": 30.0, "google": 10.0})
    ('openai', 0.75)
    """
    total = sum(usd.values())
    if not total:
        return None
    name = max(usd, key=lambda vendor: usd[vendor])
    return name, usd[name] / total


def largest_rise(changes: pd.DataFrame) -> tuple[str, float] | None:
    """Whose price rises most, and by which share of it. None where none is known to change.

    changes: item, before, after. A share of 0 or less: prices only fell.

    >>> largest_rise(pd.DataFrame({"item": ["a", "b"], "before": [2.0, 5.0], "after": [4.0, 1.0]}))
    ('a', 1.0)
    """
    if changes.empty:
        return None
    rises = (changes["after"] / changes["before"] - 1).set_axis(changes["item"])
    return str(rises.idxmax()), float(rises.max())


def token_growth(
    requests: npt.ArrayLike,
    input_tokens: npt.ArrayLike,
    output_tokens: npt.ArrayLike,
    growth: npt.ArrayLike,
    prompt_growth: npt.ArrayLike,
    months: int,
) -> float:
    """Tokens of a month over today's, some months on. Arrays: (n_workloads,); growth: a month.

    >>> round(token_growth([1e6], [1000], [0], [0.1], [0.0], 24), 2)
    9.85
    """
    volume, grown = np.asarray(requests, float), 1 + np.asarray(growth, float)
    prompt, answer = np.asarray(input_tokens, float), np.asarray(output_tokens, float)
    longer = (1 + np.asarray(prompt_growth, float)) ** months
    then = (volume * grown**months * (prompt * longer + answer)).sum()
    return float(then / (volume * (prompt + answer)).sum())


def outage_minutes(requests: pd.DataFrame, fewest: int = 5) -> float | None:
    """Minutes a month (of 730 h) in which at least half of the requests failed.

    requests: ts_start and ok of logged ones. fewest: requests without which a minute says nothing;
    None where no minute has so many.

    >>> log = pd.DataFrame({"ts_start": pd.date_range("2026-11-02", periods=7300 * 6, freq="10s",
    ...                                               tz="UTC"), "ok": True})
    >>> log.loc[600:629, "ok"] = False  # five of 7,300 minutes
    >>> outage_minutes(log)
    30.0
    """
    by_minute = requests["ok"].groupby(requests["ts_start"].dt.floor(_MINUTE)).agg(["size", "mean"])
    judged = by_minute[by_minute["size"] >= fewest]
    if judged.empty:
        return None
    return float((judged["mean"] <= 0.5).mean() * HOURS_PER_MONTH * 60)


def price_spread(prices: pd.DataFrame) -> tuple[str, float] | None:
    """The GPU whose hosts differ most on demand, and by which factor. None with one host each.

    prices: gpu, provider, commitment, usd_per_gpu_hour.
    """
    on_demand = prices[prices["commitment"] == "on_demand"]
    by_host = on_demand.groupby(["gpu", "provider"])["usd_per_gpu_hour"].min().groupby("gpu")
    several = by_host.size() > 1
    factors = (by_host.max() / by_host.min())[several]
    if factors.empty:
        return None
    return str(factors.idxmax()), float(factors.max())


def months_until(days: Mapping[str, date], on: date) -> tuple[str, float] | None:
    """What ends first, and in how many months from a day. None where nothing is to end.

    >>> months_until({"dpa": date(2027, 11, 23), "baa": date(2027, 5, 24)}, date(2026, 11, 23))[0]
    'baa'
    """
    if not days:
        return None
    name = min(days, key=lambda kind: days[kind])
    return name, (days[name] - on).days / _DAYS_PER_MONTH

"""Chapter 07: the three trade-offs of the source memo's synthesis, with figures on both sides."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from llmstudy import paths
from llmstudy.assess.case import Results, rows_of
from llmstudy.assess.lock_in import vendor
from llmstudy.figure import least_certain
from llmstudy.study import ApiRoute, Study
from llmstudy.text import count, opening, share, span, usd


@dataclass(frozen=True)
class _Side:
    """One figure on one side of a trade-off. None: not known in this study."""

    figure: str
    value: float | None
    low: float | None
    high: float | None
    unit: str
    grade: str


def key_tradeoffs(study: Study, results: Results, found: Mapping[str, Any]) -> pd.DataFrame:
    """The trade-offs in the order of the source memo, each with what is gained and what it costs.

    Returns: id, tradeoff, option, gains, gives_up (in words), and for either side `gain_<column>`
    and `price_<column>`: figure (what is counted), value, low, high, unit, grade; and source.
    """
    sides = {
        "effort": (_effort_saved(study), _token_bill(study, results)),
        "control": (_control_needed(study, found), _fixed_cost(results)),
        "risk": (_covered_bill(study, results, found), _routes_to_run(study, found)),
    }
    rows = []
    for about in pd.read_csv(paths.data("key_tradeoffs.csv")).to_dict("records"):
        gain, price = sides[about["id"]]
        rows.append(
            {key: about[key] for key in ("id", "tradeoff", "option", "gains", "gives_up")}
            | {f"gain_{key}": value for key, value in asdict(gain).items()}
            | {f"price_{key}": value for key, value in asdict(price).items()}
            | {"source": about["source"]}
        )
    return pd.DataFrame(rows)


def _effort_saved(study: Study) -> _Side:
    """What moving to a fleet costs once, which an API spares."""
    cost = study.moving["self_hosted"].cost
    said = "one-off cost of a fleet's platform, spared"
    return _Side(said, cost.value, cost.low, cost.high, "USD", cost.grade)


def _token_bill(study: Study, results: Results) -> _Side:
    bills = [
        row["month_usd"]
        for row in rows_of(results["02_cost"]["bills"], current=True)
        if isinstance(study.routes[row["route"]], ApiRoute)
    ]
    grade = least_certain(w.intake.requests.grade for w in study.workloads.values())
    total = sum(bills) if bills else None
    return _Side("today's bill by the token", total, None, None, "USD/month", grade)


def _control_needed(study: Study, found: Mapping[str, Any]) -> _Side:
    """How many workloads need what only a fleet of one's own gives: latency or privacy missed."""
    rows = [row for row in found["triggers"] if row["id"] in ("G2", "G3")]
    fired = {row["workload"] for row in rows if row["status"] == "fired"}
    open_ = ("fired", "pending", "unknown")
    most = len({row["workload"] for row in rows if row["status"] in open_})
    what = "workloads" if len(study.workloads) > 1 else "workload"
    said = f"of {len(study.workloads)} {what} miss latency or privacy; high: unknown too"
    return _Side(said, len(fired), len(fired), most, "workloads", "measured")


def _fixed_cost(results: Results) -> _Side:
    """A month of the cheapest fleet of each workload that has one; one team runs them all."""
    cheapest: dict[str, Mapping[str, Any]] = {}
    for row in results["05_self_hosting"]["fleets"]:
        best = cheapest.get(row["workload"])
        if best is None or row["month_usd"] < best["month_usd"]:
            cheapest[row["workload"]] = row
    rows = list(cheapest.values())
    if not rows:
        return _Side("no fleet can be sized", None, None, None, "USD/month", "published")
    teams = [float(row["staff_month_usd"]) for row in rows]
    without = [float(row["month_usd"]) - team for row, team in zip(rows, teams, strict=True)]
    total = sum(without) + max(teams)
    smallest = min(alone + team for alone, team in zip(without, teams, strict=True))
    whose = f"fleets of {len(rows)} workloads" if len(rows) > 1 else "the fleet of one workload"
    said = f"{whose} with one team; low: the smallest alone"
    return _Side(said, total, smallest, total, "USD/month", "published")


def _covered_bill(study: Study, results: Results, found: Mapping[str, Any]) -> _Side:
    """Share of today's bill whose workload another vendor, or a fleet, may serve as a fallback."""
    table, bills = found["routes"], results["06_crossover"]["month_usd"]["today_by_workload"]
    covered = 0.0
    for name, bill in bills.items():
        own = table[(table["workload"] == name) & table["permitted"] & table["fits_context"]]
        today = vendor(study.routes[study.workloads[name].current_route])
        others = {vendor(study.routes[route]) for route in own["route"]} - {today}
        covered += bill if others else 0.0
    total = sum(bills.values())
    part = covered / total if total else None
    figure = "of today's bill, which another vendor may serve"
    return _Side(figure, part, None, None, "share", "measured")


def _routes_to_run(study: Study, found: Mapping[str, Any]) -> _Side:
    """Routes to keep up at once, should every move and favoured candidate come true: today's, as
    the fallback, and the new ones."""
    today = {workload.current_route for workload in study.workloads.values()}
    new = {v["target"] for v in found["verdicts"].values() if v["target"]}
    most = len(today | new)
    figure = f"{'routes' if most > 1 else 'route'} to run at once, today's as the fallback"
    figure += "; low: today's alone"
    return _Side(figure, most, len(today), most, "routes", "measured")


# --- as a page shows them ---------------------------------------------------------------------


def tradeoffs_in_words(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """The three key trade-offs, with this study's figure on either side.

    rows: of `key_tradeoffs`.
    """
    return pd.DataFrame(
        [
            {
                "trade-off": f"{opening(row['option'])}: {row['tradeoff']}",
                "gains": row["gains"],
                "in figures": _in_words(row, "gain"),
                "gives up": row["gives_up"],
                "at": _in_words(row, "price"),
            }
            for row in rows
        ]
    )


def _in_words(row: Mapping[str, Any], side: str) -> str:
    """One side's figure with its range, unit, meaning and grade."""
    value, low, high, unit, grade = (
        row[f"{side}_{key}"] for key in ("value", "low", "high", "unit", "grade")
    )
    figure = str(row[f"{side}_figure"])
    if value is None:
        return figure
    fmt = usd if unit.startswith("USD") else share if unit == "share" else count
    amount = fmt(value) + (" a month" if unit == "USD/month" else "")
    if low is not None and low != high:
        amount += f" ({span(low, high, fmt)})"
    return f"{amount}{':' if fmt is usd else ''} {figure} ({grade})"

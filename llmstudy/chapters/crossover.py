"""Chapter 06: where the answer changes, how certain that is, and which inputs decide it."""

from collections.abc import Callable, Mapping
from functools import cache, partial
from operator import itemgetter
from typing import Any

import numpy as np
import pandas as pd

from llmstudy import simulate
from llmstudy.decide.claims import claims_by_workload
from llmstudy.decide.routes import handicaps
from llmstudy.evidence.case import Case, Results, Tables, permissions, rows_of
from llmstudy.figure import FloatArray
from llmstudy.measures import cost
from llmstudy.simulate import drivers, projection
from llmstudy.simulate.breakdown import cost_items, stay_parts
from llmstudy.simulate.draws import Draws
from llmstudy.simulate.inputs import (
    N_DRAWS,
    Inputs,
    Market,
    discount_draws,
    draws_of,
    draws_with_paths,
    marginal_inputs,
    market,
    month_by_workload,
    pair_inputs,
    spread,
    stay_draws,
)
from llmstudy.simulate.invoices import monthly_bills
from llmstudy.simulate.measurements import information_tables
from llmstudy.study import Study
from llmstudy.tables import Rows


def crossover_tables(case: Case, results: Results) -> Tables:
    """Savings of every permitted move, crossovers, what decides them, and what to measure next.

    Crossovers are those of every pair of arms and those from today's route. `claims` has the volume
    at which each advisor would move. results: of chapters 02 to 05.
    """
    study, cost, hosting = case.study, results["02_cost"], results["05_self_hosting"]
    offers = market(cost, hosting, results["04_quality"])
    allowed = permissions(study)
    able = allowed[allowed["permitted"] & allowed["fits_context"]]
    serving = [
        (name, route)
        for name, route in zip(able["workload"], able["route"], strict=True)
        if offers.offer(name, route)
    ]
    candidates = able[~able["current"]]
    futures = projection.move_futures(study, offers, candidates)
    wary = projection.move_futures(study, offers, candidates, "same_quality")
    savings = projection.savings_table(study, futures)
    pairs = _pairs(study, cost, hosting, able)
    volumes = cache(partial(_volumes, study, offers))  # a pair from today's route is in both tables
    month = _month_totals(study, offers, cost, hosting)
    return {
        "permissions": allowed,
        "savings": savings,
        "by_buyer": projection.by_buyer(study, futures, wary),
        "projection": projection.projection(study, futures, savings),
        "accepted": projection.accepted_answers(study, futures),
        "by_month": projection.cheaper_by_month(study, futures),
        "monthly_bills": monthly_bills(study, offers, candidates),
        "crossover": [_crossover(study, *pair, *volumes(*pair)) for pair in pairs],
        "crossover_from_today": _from_today(study, offers, serving, volumes),
        "curves": _curves(study, offers, serving),
        "month_usd": month,
        "stay_parts": stay_parts(study, offers, month),
        "cost_items": cost_items(study, offers, projection.best_fleet_moves(study, savings)),
        **drivers.driver_tables(study, offers, futures, savings, handicaps(results)),
        **information_tables(study, offers, futures, results["04_quality"]),
        "claims": claims_by_workload(study, results),
    }


_ARM_PAIRS = (
    ("proprietary_api", "hosted_open"),
    ("proprietary_api", "self_hosted"),
    ("hosted_open", "self_hosted"),
)


def _pairs(
    study: Study, cost: Mapping[str, Any], hosting: Mapping[str, Any], able: pd.DataFrame
) -> list[tuple[str, str, str]]:
    """(workload, from route, to route) of every pair of arms.

    An arm is represented by today's route, else by the permitted route that is cheapest at today's
    volume.
    """
    bills = pd.DataFrame([*cost["bills"], *hosting["fleets"]])
    priced = able.merge(bills[["workload", "route", "month_usd"]], on=["workload", "route"])
    priced = priced.sort_values(["current", "month_usd"], ascending=[False, True])
    best = priced.groupby(["workload", "arm"], sort=False)["route"].first().to_dict()
    return [
        (name, best[name, cheap], best[name, other])
        for name in study.workloads
        for cheap, other in _ARM_PAIRS
        if (name, cheap) in best and (name, other) in best
    ]


def simulated_futures(case: Case, results: Results, name: str, route: str) -> pd.DataFrame:
    """One move in each simulated future, a row per future: its inputs and its outcome.

    results: of chapters 02, 04 and 05. Columns: the uncertain inputs of the move by name
    (`tables.inputs`), then stay_usd and move_usd (over the horizon, discounted), saving_usd, and
    pays_from_month (from 1; inf: never within the horizon).
    """
    offers, uncertain = _uncertain(case, results, name, route)
    pair = pd.DataFrame({"workload": [name], "route": [route]})
    future = projection.move_futures(case.study, offers, pair)[name, route]
    stay_usd = (future.stay_usd * future.discount).sum(axis=1)
    saving_usd = future.saving_usd()
    return pd.DataFrame(draws_of(uncertain, N_DRAWS, case.study.seed)).assign(
        stay_usd=stay_usd,
        move_usd=stay_usd - saving_usd,
        saving_usd=saving_usd,
        pays_from_month=future.pays_from_month(),
    )


def uncertain_inputs(case: Case, results: Results, name: str, route: str) -> pd.DataFrame:
    """The uncertain inputs of a move.

    results: of chapters 02, 04 and 05. Columns: input, place, value, low, high (the ends of the
    range; of a log-normal one P10 and P90), unit, distribution, grade, source.
    """
    _, uncertain = _uncertain(case, results, name, route)
    rows = [
        {"input": key, "place": figure.name or place, **figure.row()}
        for key, (place, figure) in uncertain.items()
    ]
    columns = ["input", "place", "value", "low", "high", "unit", "distribution", "grade", "source"]
    return pd.DataFrame(rows, columns=columns)


def _uncertain(case: Case, results: Results, name: str, route: str) -> tuple[Market, Inputs]:
    """The prices of all routes, and the inputs of a move that vary between futures."""
    offers = market(results["02_cost"], results["05_self_hosting"], results["04_quality"])
    entries = pair_inputs(case.study, offers, name, route)
    return offers, {key: each for key, each in entries.items() if each[1].uncertain}


def _crossover(
    study: Study, name: str, from_route: str, to_route: str, volumes: FloatArray, d: Draws
) -> dict[str, Any]:
    return {
        "workload": name,
        "from_arm": study.routes[from_route].arm,
        "to_arm": study.routes[to_route].arm,
        "from_route": from_route,
        "to_route": to_route,
        "requests_per_month": _band(volumes),
        "tokens_per_month": _band(volumes * (d["input_tokens"] + d["output_tokens"])),
        "p_never": float(np.isinf(volumes).mean()),
    }


def _from_today(
    study: Study,
    offers: Market,
    serving: list[tuple[str, str]],
    volumes: Callable[[str, str, str], tuple[FloatArray, Draws]],
) -> list[dict[str, Any]]:
    """The crossover from today's route to each other one, if today's is billed by the token.

    volumes: `_volumes` of this study.
    """
    rows = []
    for name, route in serving:
        today = study.workloads[name].current_route
        if route == today or (name, today) not in offers.tokens:
            continue
        cheaper_from, _ = volumes(name, today, route)
        rows.append(
            {
                "workload": name,
                "route": route,
                "arm": study.routes[route].arm,
                "requests_per_month": _band(cheaper_from),
                "p_never": float(np.isinf(cheaper_from).mean()),
            }
        )
    return rows


def _volumes(
    study: Study, offers: Market, name: str, from_route: str, to_route: str
) -> tuple[FloatArray, Draws]:
    """The volume from which one route is cheaper than another, in each draw, and the draws."""
    inputs_ = marginal_inputs(study, offers, name, to_route)
    # two routes off today's vendor count tokens alike: they serve models of one kind
    other = marginal_inputs(study, offers, name, from_route)
    inputs_ |= {simulate.TODAY + key: other[key] for key in ("tokenizer", "output_tokens_ratio")}
    d = draws_with_paths(study, name, inputs_)
    current, challenger = offers.tokens[name, from_route], offers.priced(name, to_route)
    volumes = simulate.crossover_requests_per_month(
        current, challenger, d, study.months, study.volume_cap.value
    )
    return volumes, d


def _band(draws: FloatArray) -> dict[str, float | None]:
    return dict(zip(("p10", "p50", "p90"), simulate.band(draws), strict=True))


def _curves(study: Study, offers: Market, serving: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """The mean monthly cost of each permitted route by constant volume, with its 80 % range.

    A fleet's cost includes its team, unless other fleets pay for it today.
    """
    rows = []
    for name, route in serving:
        offer = offers.priced(name, route)
        d = draws_with_paths(study, name, marginal_inputs(study, offers, name, route), N_DRAWS // 8)
        team = simulate.staff_month_usd(d) if isinstance(offer, cost.Fleet) else 0.0
        now = study.workloads[name].intake.requests.value
        for requests in np.geomspace(now / 100, now * 1000, 36):
            flat = np.full((1, study.months), requests)
            month = simulate.month_usd(offer, d, flat, study.months).mean(axis=1) + team
            p10, p50, p90 = np.quantile(month, [0.1, 0.5, 0.9])
            rows.append(
                {
                    "workload": name,
                    "arm": study.routes[route].arm,
                    "route": route,
                    "requests_per_month": requests,
                    "p10_usd": p10,
                    "p50_usd": p50,
                    "p90_usd": p90,
                }
            )
    return rows


def routes_that_matter(
    study: Study, results: Mapping[str, Any], name: str, favoured: str | None = None
) -> tuple[Rows, Rows]:
    """Curves and crossovers of the routes worth drawing.

    Those are today's route, the best move of each arm, and the favoured route.
    results: of this chapter.
    """
    savings = sorted(rows_of(results["savings"], workload=name), key=itemgetter("saving_p50_usd"))
    best = {row["arm"]: row["route"] for row in savings}
    routes = {study.workloads[name].current_route, favoured, *best.values()}
    tables = (results[table] for table in ("curves", "crossover_from_today"))
    curves, crossovers = (
        [row for row in rows_of(table, workload=name) if row["route"] in routes] for table in tables
    )
    return curves, crossovers


def _month_totals(
    study: Study, offers: Market, cost: Mapping[str, Any], hosting: Mapping[str, Any]
) -> dict[str, Any]:
    """The cost of staying, over all workloads: this month's bills, and the whole horizon. usd.

    The horizon's draws include all costs of staying.
    """
    today = month_by_workload(study, cost, hosting)
    stay = stay_draws(study, offers)
    total = sum(stay.values(), np.zeros((N_DRAWS, study.months)))
    return {
        "today_by_workload": today,
        "today": float(sum(today.values())),
        "horizon": spread((total * discount_draws(study)).sum(axis=1)),
    }

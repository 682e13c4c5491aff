"""Chapter 06: where the answer changes, how sure that is, and which inputs decide it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from llmstudy import uncertainty as mc
from llmstudy.assess.case import Case, Tables
from llmstudy.assess.market import (
    N_DRAWS,
    Market,
    figures_of,
    futures_of,
    marginal_inputs,
    market,
    pair_inputs,
    permissions,
    saving_draws,
    spread,
    stay_draws,
)
from llmstudy.figure import Figure
from llmstudy.study import (
    Study,
)

N_SOBOL = 1024
"""Base sample of the sensitivity analysis; runs are N * (inputs + 2)."""


def crossover_tables(case: Case, cost: Mapping[str, Any], hosting: Mapping[str, Any]) -> Tables:
    """Savings of every permitted move, crossovers of every pair of arms, and what decides them."""
    study = case.study
    offers = market(cost, hosting)
    allowed = permissions(study)
    able = allowed[allowed["permitted"] & allowed["fits_context"]]
    savings = _savings(study, offers, able[~able["current"]])
    pairs = _pairs(study, cost, hosting, able)
    deciding = [_deciding(study, offers, row) for row in _best_challengers(savings)]
    return {
        "permissions": allowed,
        "savings": savings,
        "crossover": [_crossover(study, offers, *pair) for pair in pairs],
        "curves": _curves(study, offers, pairs),
        "sensitivity": deciding,
        "month_usd": _month_totals(study, offers),
    }


def _savings(study: Study, offers: Market, candidates: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for row in candidates.to_dict("records"):
        draws = saving_draws(study, offers, row["workload"], row["route"])
        if draws is None:
            continue
        p10, p50, p90 = np.quantile(draws, [0.1, 0.5, 0.9])
        rows.append(
            {
                "workload": row["workload"],
                "route": row["route"],
                "arm": row["arm"],
                "saving_p10_usd": p10,
                "saving_p50_usd": p50,
                "saving_p90_usd": p90,
                "p_cheaper": float((draws > 0).mean()),
            }
        )
    columns = ["workload", "route", "arm", "saving_p10_usd", "saving_p50_usd", "saving_p90_usd"]
    return pd.DataFrame(rows, columns=[*columns, "p_cheaper"])


_ARM_PAIRS = (
    ("proprietary_api", "hosted_open"),
    ("proprietary_api", "self_hosted"),
    ("hosted_open", "self_hosted"),
)


def _pairs(
    study: Study, cost: Mapping[str, Any], hosting: Mapping[str, Any], able: pd.DataFrame
) -> list[tuple[str, str, str]]:
    """(workload, from route, to route) of every pair of arms: the route that stands for an arm is
    today's, else the cheapest at today's volume that may serve the workload."""
    bills = pd.DataFrame([*cost["bills"], *hosting["fleets"]])
    standing = able.merge(bills[["workload", "route", "month_usd"]], on=["workload", "route"])
    standing = standing.sort_values(["current", "month_usd"], ascending=[False, True])
    best = standing.groupby(["workload", "arm"], sort=False)["route"].first().to_dict()
    return [
        (name, best[name, cheap], best[name, other])
        for name in study.workloads
        for cheap, other in _ARM_PAIRS
        if (name, cheap) in best and (name, other) in best
    ]


def _crossover(
    study: Study, offers: Market, name: str, from_route: str, to_route: str
) -> dict[str, Any]:
    found = marginal_inputs(study, offers, name, to_route)
    current, challenger = offers.tokens[name, from_route], offers.offer(name, to_route)
    assert challenger is not None
    volumes = mc.crossover_requests_per_month(
        current,
        challenger,
        futures_of(study, name, found),
        study.months,
        study.volume_cap.value,
    )
    p10, p50, p90 = mc.band(volumes)
    return {
        "workload": name,
        "from_arm": study.routes[from_route].arm,
        "to_arm": study.routes[to_route].arm,
        "from_route": from_route,
        "to_route": to_route,
        "requests_per_month": {"p10": p10, "p50": p50, "p90": p90},
        "p_never": float(np.isinf(volumes).mean()),
    }


def _curves(
    study: Study, offers: Market, pairs: list[tuple[str, str, str]]
) -> list[dict[str, Any]]:
    """Mean monthly cost of each standing route against constant volume, with its 80 % band.

    A fleet's cost includes its team, unless other fleets pay for it today.
    """
    rows = []
    for name, route in dict.fromkeys((n, r) for n, a, b in pairs for r in (a, b)):
        offer = offers.offer(name, route)
        assert offer is not None
        d = futures_of(study, name, marginal_inputs(study, offers, name, route), N_DRAWS // 8)
        team = mc.staff_month_usd(d) if isinstance(offer, mc.Fleet) else 0.0
        now = study.workloads[name].intake.requests.value
        for requests in np.geomspace(now / 100, now * 1000, 36):
            flat = np.full((1, study.months), requests)
            month = mc.month_usd(offer, d, flat, study.months).mean(axis=1) + team
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


def _best_challengers(savings: pd.DataFrame) -> list[dict[str, Any]]:
    best = savings.sort_values("saving_p50_usd", ascending=False).groupby("workload").head(1)
    return [{str(k): v for k, v in row.items()} for row in best.to_dict("records")]


def _deciding(study: Study, offers: Market, row: Mapping[str, Any]) -> dict[str, Any]:
    """Sobol indices of the saving of a workload's best move."""
    name, route = row["workload"], row["route"]
    current = offers.offer(name, study.workloads[name].current_route)
    challenger = offers.offer(name, route)
    assert current is not None
    assert challenger is not None
    figures = figures_of(pair_inputs(study, offers, name, route))
    involved = {k: f for k, f in figures.items() if k in _used(study, name, route)}
    table = mc.sensitivity(
        {**figures, **{k: _held(f) for k, f in figures.items() if k not in involved}},
        lambda d: mc.move_saving_usd(current, challenger, d, study.months),
        N_SOBOL,
        study.seed,
    )
    return {
        "workload": name,
        "route": route,
        "base_usd": row["saving_p50_usd"],
        "inputs": table,
    }


def _held(figure: Figure) -> Figure:
    return Figure(figure.name, figure.value, figure.unit)


def _used(study: Study, name: str, route: str) -> set[str]:
    """Inputs that the saving of a move can depend on, given the arms of the pair."""
    arms = {study.routes[study.workloads[name].current_route].arm, study.routes[route].arm}
    used = {"requests", "input_tokens", "output_tokens", "growth", "moving_cost", "ramp"}
    used |= {f"drift_{arm}" for arm in arms - {"self_hosted"}}
    if arms != {"self_hosted"}:
        used |= {"cached_input_share", "retry_share"}
    if "self_hosted" in arms:
        used |= {"drift_gpu", "usd_per_fte_year", "fte", "overhead_share", "target_utilisation"}
        used |= {"usd_per_gpu_hour", "capacity_factor", "peak_to_mean"}
        used |= {mc.TODAY + "usd_per_gpu_hour", mc.TODAY + "capacity_factor"}
    return used


def _month_totals(study: Study, offers: Market) -> dict[str, Any]:
    """Bills over all workloads when nothing moves: this month's, and the horizon's. usd."""
    paths = stay_draws(study, offers)
    total = sum(paths.values(), np.zeros((N_DRAWS, study.months)))
    return {
        "today_by_workload": {name: float(np.median(p[:, 0])) for name, p in paths.items()},
        "today": float(np.median(total[:, 0])),
        "horizon": spread(total.sum(axis=1)),
    }

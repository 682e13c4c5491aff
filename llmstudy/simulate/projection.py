"""Cumulative cost of each arm over the horizon, and the month from which a move pays."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from llmstudy.figure import FloatArray
from llmstudy.measures.cost import usd_per_accepted_answer
from llmstudy.simulate.bills import begun_share
from llmstudy.simulate.draws import band
from llmstudy.simulate.futures import Buyer, Futures, futures_of_routes
from llmstudy.simulate.inputs import N_DRAWS, Market, spread
from llmstudy.simulate.quality import acceptance_draws, items_named, repair_draws
from llmstudy.study import Study

AFTER_MONTHS = (6, 12, 24)
"""Months of the projection (MEMO S9), beside the horizon itself."""


Moves = Mapping[tuple[str, str], Futures]
"""The futures of moves: (workload, route) -> futures."""


def move_futures(
    study: Study, offers: Market, candidates: pd.DataFrame, buyer: Buyer = "named_model"
) -> Moves:
    """The futures of every permitted move that can be priced.

    candidates: workload, route of each permitted move.
    """
    futures: dict[tuple[str, str], Futures] = {}
    for name, rows in candidates.groupby("workload", sort=False):
        workload = str(name)
        routes = [str(r) for r in rows["route"] if offers.offer(workload, r)]
        if routes and offers.offer(workload, study.workloads[workload].current_route):
            by_route = futures_of_routes(
                study, offers, workload, routes, study.months, N_DRAWS, buyer
            )
            futures |= {(workload, route): future for route, future in by_route.items()}
    return futures


def savings_table(study: Study, futures: Moves) -> pd.DataFrame:
    """Saving of each move over the horizon, its probability, and the month from which it pays.

    Columns: workload, route, arm, saving_p10_usd, saving_p50_usd, saving_p90_usd, p_cheaper,
    p_cheaper_team_there (if other fleets pay for the team), pays_from_month_p10, _p50, _p90
    (the month, from 1, by whose end the move has paid back its cost for good; null: never),
    p_never_pays (share of draws in which it has not by the end of the horizon).
    """
    rows = []
    for (name, route), future in futures.items():
        saving_usd, from_month = future.saving_usd(), future.pays_from_month()
        months = dict(zip(("p10", "p50", "p90"), band(from_month), strict=True))
        rows.append(
            {
                "workload": name,
                "route": route,
                "arm": study.routes[route].arm,
                **{f"saving_{key}_usd": usd for key, usd in spread(saving_usd).items()},
                "p_cheaper": float((saving_usd > 0).mean()),
                "p_cheaper_team_there": _p_cheaper_team_there(future, saving_usd),
                **{f"pays_from_month_{key}": month for key, month in months.items()},
                "p_never_pays": float(np.isinf(from_month).mean()),
            }
        )
    columns = "workload route arm saving_p10_usd saving_p50_usd saving_p90_usd p_cheaper"
    columns += " p_cheaper_team_there pays_from_month_p10 pays_from_month_p50 pays_from_month_p90"
    columns += " p_never_pays"
    return pd.DataFrame(rows, columns=columns.split())


def best_fleet_moves(study: Study, savings: pd.DataFrame | list[dict[str, Any]]) -> dict[str, str]:
    """The self-hosted route that saves most of each workload that is not self-hosted today.

    savings: as `savings_table`, or its rows.
    """
    table = pd.DataFrame(savings, columns=["workload", "route", "arm", "saving_p50_usd"])
    fleets = table[table["arm"] == "self_hosted"].sort_values(
        "saving_p50_usd", ascending=False, kind="stable"
    )
    best = fleets.groupby("workload")["route"].first()
    return {
        name: str(best[name])
        for name, workload in study.workloads.items()
        if name in best and study.routes[workload.current_route].arm != "self_hosted"
    }


def _p_cheaper_team_there(future: Futures, saving_usd: FloatArray) -> float:
    """Probability that a move is cheaper if other fleets pay for the team."""
    if future.team <= 0:
        return float((saving_usd > 0).mean())
    months = (begun_share(future.start_months, future.months) * future.discount).sum(axis=1)
    return float((saving_usd + months * future.team_usd > 0).mean())


def by_buyer(study: Study, named: Moves, same_quality: Moves) -> list[dict[str, Any]]:
    """Probability that leaving a proprietary model is cheaper than each of the two ways to stay.

    named: futures with a buyer who keeps today's named model at its list price. same_quality: with
    one who moves to each cheaper model of equal quality. Rows: workload, route, arm,
    p_cheaper_named, p_cheaper_same_quality, and the median saving against each. Only moves away
    from a proprietary API have a row.
    """
    rows = []
    for (name, route), future in named.items():
        current = study.workloads[name].current_route
        if study.routes[current].arm != "proprietary_api":
            continue
        saving_usd, saving_same_quality_usd = (
            f.saving_usd() for f in (future, same_quality[name, route])
        )
        rows.append(
            {
                "workload": name,
                "route": route,
                "arm": study.routes[route].arm,
                "p_cheaper_named": float((saving_usd > 0).mean()),
                "p_cheaper_same_quality": float((saving_same_quality_usd > 0).mean()),
                "saving_named_usd": float(np.median(saving_usd)),
                "saving_same_quality_usd": float(np.median(saving_same_quality_usd)),
            }
        )
    return rows


def projection(study: Study, futures: Moves, savings: pd.DataFrame) -> list[dict[str, Any]]:
    """Cumulative cost of each arm after 6, 12 and 24 months and at the horizon, per workload.

    An arm is its move that saves most; today's arm, where nothing moves, is the row `stay`.
    Rows: workload, arm, route, months, p10_usd, p50_usd, p90_usd; 80 % range.
    """
    ends = sorted({m for m in (*AFTER_MONTHS, study.months) if m <= study.months})
    best = savings.sort_values("saving_p50_usd", ascending=False, kind="stable")
    best = best.groupby(["workload", "arm"], sort=False).head(1)
    rows: list[dict[str, Any]] = []
    for name in study.workloads:
        moves = best[best["workload"] == name]
        if moves.empty:
            continue
        stay = futures[name, moves["route"].iloc[0]].stay_by_month()
        rows += _ends(stay, ends, name, "stay", study.workloads[name].current_route)
        for row in moves.itertuples():
            future = futures[name, str(row.route)]
            cost = future.stay_by_month() - future.saving_by_month()
            rows += _ends(cost, ends, name, str(row.arm), str(row.route))
    return rows


def _ends(
    cumulative: FloatArray, ends: Iterable[int], name: str, arm: str, route: str
) -> list[dict[str, Any]]:
    return [
        {"workload": name, "arm": arm, "route": route, "months": end}
        | {f"{key}_usd": usd for key, usd in spread(cumulative[:, end - 1]).items()}
        for end in ends
    ]


def accepted_answers(study: Study, futures: Moves) -> list[dict[str, Any]]:
    """Cost of an accepted answer on each scored route and on today's, with its range.

    Bills of the first month, as if moved already, a fleet's team included; acceptance from the same
    paired items for both; a wrong answer costs its repair, where the study states one. Rows:
    workload, route, benchmark (whose items), today_p10_usd, today_p50_usd, today_p90_usd,
    route_p10_usd, route_p50_usd, route_p90_usd (per accepted answer), p_cheaper.
    """
    rows = []
    for (name, route), future in futures.items():
        evidence = study.workloads[name].quality.evidence.get(route)
        if evidence is None:
            continue
        n = len(future.once_usd)
        today, scored = acceptance_draws(study, name, route, n)
        requests = future.requests[:, 0]
        repair = repair_draws(study, name, n)
        now = usd_per_accepted_answer(future.stay_usd[:, 0] / requests, today, repair)
        then = usd_per_accepted_answer(future.with_team()[:, 0] / requests, scored, repair)
        rows.append(
            {"workload": name, "route": route}
            | {"benchmark": items_named(study.workloads[name], evidence)}
            | {f"today_{key}_usd": usd for key, usd in spread(np.asarray(now)).items()}
            | {f"route_{key}_usd": usd for key, usd in spread(np.asarray(then)).items()}
            | {"p_cheaper": float(np.mean(np.less(then, now)))}
        )
    return rows


def cheaper_by_month(study: Study, futures: Moves) -> list[dict[str, Any]]:
    """P(a move has paid back its cost by the end of each month).

    Rows: workload, route, arm, month, p_cheaper.
    """
    rows = []
    for (name, route), future in futures.items():
        paid = (future.saving_by_month() > 0).mean(axis=0)
        rows += [
            {
                "workload": name,
                "route": route,
                "arm": study.routes[route].arm,
                "month": month,
                "p_cheaper": float(p),
            }
            for month, p in enumerate(paid, start=1)
        ]
    return rows

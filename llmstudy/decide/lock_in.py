"""Chapter 07: how hard each workload's vendor is to leave, and which contracts each route has.

The study states how calls are made; bills tell who is paid, the log tells who answered, and dated
tables tell what was retired or repriced.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from llmstudy import paths, prices, units
from llmstudy.decide import contracts, portability
from llmstudy.evidence.case import Case, Results, Tables
from llmstudy.figure import least_certain
from llmstudy.measures import privacy
from llmstudy.study import ApiRoute, Portability, Route, Study
from llmstudy.text import count, span

# --- contracts ------------------------------------------------------------------------------


def contract_ends(route: Route) -> dict[str, date]:
    """The kinds of contract of a route, each with its last valid day (the latest one)."""
    return {c.kind: c.valid_until for c in sorted(route.contracts, key=lambda c: c.valid_until)}


def contract_rows(study: Study) -> list[dict[str, Any]]:
    """The contract checklist of every API route; of self-hosted routes only what their data
    need."""
    matrix = privacy.privacy_matrix()
    rows = []
    for name, route in study.routes.items():
        carried = {w: x.intake.data_class for w, x in study.workloads.items() if name in x.routes}
        needed: dict[str, list[str]] = {}
        for workload, data_class in carried.items():
            for kind in contracts.needs(data_class, route.arm, matrix):
                needed.setdefault(kind, []).append(workload)
        open_ = "unknown" in carried.values() and isinstance(route, ApiRoute)
        for item in contracts.checklist(contract_ends(route), needed, open_, study.as_of):
            if isinstance(route, ApiRoute) or item.needed_by:
                rows.append({"route": name, "arm": route.arm, **asdict(item)})
    return rows


# --- vendors --------------------------------------------------------------------------------


def vendor(route: Route) -> str:
    """Who is paid for a route: the provider of an API, or the host of the GPUs."""
    return route.provider if isinstance(route, ApiRoute) else route.host


def price_changes(until: date) -> pd.DataFrame:
    """Listed price changes that take effect by a day.

    Columns: provider ("" for GPU rents), item, effective, factor (after over before).
    """
    table = pd.read_csv(paths.data("price_changes.csv"))
    table = table[table["kind"].isin(["api", "gpu"]) & (table["effective"] <= until.isoformat())]
    return pd.DataFrame(
        {
            "provider": table["provider"].fillna(""),
            "item": table["item"],
            "effective": table["effective"],
            "factor": table["after"] / table["before"],
        }
    )


def vendor_rows(case: Case, results: Results) -> list[dict[str, Any]]:
    """Every vendor of a route: its share of spend and of requests, and its price changes.

    Rows: vendor, workloads (that run there today), spend_share (of this month's bills; null: a bill
    is unknown), requests_share (of the log; null: no log), listed_changes, largest_factor,
    smallest_factor (listed price, after over before), last_change.
    """
    study = case.study
    spent = _spend(study, results)
    logged = case.traffic.logged["provider"]
    changes = price_changes(units.month_start(study.as_of, study.months))
    rows = []
    for name in dict.fromkeys(vendor(route) for route in study.routes.values()):
        arms = {route.arm for route in study.routes.values() if vendor(route) == name}
        rented = arms == {"self_hosted"} and name != "own"
        listed = changes[changes["provider"] == ("" if rented else name)]
        rows.append(
            {
                "vendor": name,
                "workloads": sum(
                    vendor(study.routes[w.current_route]) == name for w in study.workloads.values()
                ),
                "spend_share": None if spent is None else spent.get(name, 0.0),
                "requests_share": float(np.mean(logged == name)) if len(logged) else None,
                "listed_changes": len(listed),
                "largest_factor": float(listed["factor"].max()) if len(listed) else None,
                "smallest_factor": float(listed["factor"].min()) if len(listed) else None,
                "last_change": str(listed["effective"].max()) if len(listed) else None,
            }
        )
    return rows


def _spend(
    study: Study, results: Results, workload: str = "", route: str = ""
) -> dict[str, float] | None:
    """The share of this month's bills by vendor; None if a bill is unknown.

    With workload and route: as if that workload's bill were paid to that route's vendor.
    """
    bills = results["06_crossover"]["month_usd"]["today_by_workload"]
    if set(bills) != set(study.workloads) or not any(bills.values()):
        return None
    paid: dict[str, float] = {}
    for name, spec in study.workloads.items():
        to = vendor(study.routes[route if name == workload else spec.current_route])
        paid[to] = paid.get(to, 0.0) + bills[name]
    # summed in the same order as the parts, so that a sole vendor has a share of exactly 1
    total = sum(bills[name] for name in study.workloads)
    return {to: usd / total for to, usd in paid.items()}


# --- portability ----------------------------------------------------------------------------


def portability_tables(
    case: Case, results: Results, serving: Mapping[str, list[str]], routes: pd.DataFrame
) -> Tables:
    """The portability of routes, its parts, and the effort of leaving today's.

    serving: workload -> routes to score, today's among them. routes: as `routes.route_table`.
    Returns: `portability`, `portability_parts`, `switching`, `vendors` (`vendor_rows`).
    """
    study = case.study
    vendors = {row["vendor"]: row for row in vendor_rows(case, results)}
    scores, parts, switches = [], [], []
    for name, own in serving.items():
        for route in own:
            ties = _ties(study, results, name, route, routes, vendors)
            points = portability.score_parts(ties, portability.parts_table())
            place = {"workload": name, "route": route, "arm": study.routes[route].arm}
            scores.append(place | _score(case, name, route, ties, points))
            parts += points.assign(**place).to_dict("records")
            if route == study.workloads[name].current_route:
                switches.append(place | _switch(ties))
    return {
        "portability": scores,
        "portability_parts": parts,
        "switching": switches,
        "vendors": list(vendors.values()),
    }


def _ties(
    study: Study,
    results: Results,
    name: str,
    route: str,
    routes: pd.DataFrame,
    vendors: Mapping[str, Mapping[str, Any]],
) -> portability.Ties:
    spec, calls_today = study.routes[route], study.workloads[name].portability
    today = study.routes[study.workloads[name].current_route]
    calls = calls_today if vendor(spec) == vendor(today) else _elsewhere(calls_today, spec.arm)
    able = routes[(routes["workload"] == name) & routes["permitted"] & routes["fits_context"]]
    others = {vendor(study.routes[r]) for r in able["route"]} - {vendor(spec)}
    spent = _spend(study, results, name, route)
    until = units.month_start(study.as_of, study.months)
    retires = _retires(spec)
    owned = not isinstance(spec, ApiRoute) and spec.owned is not None
    return portability.Ties(
        behind_gateway=calls.behind_gateway,
        provider_features=None if calls.provider_features is None else len(calls.provider_features),
        prompts_versioned=calls.prompts_versioned,
        tool_schemas=calls.tool_schemas,
        structured_output=calls.structured_output,
        fine_tuned_weights=calls.fine_tuned_weights_at_provider,
        # open weights have one version, whatever a host calls them
        pinned=spec.arm != "proprietary_api" or portability.is_pinned(spec.model),
        own_weights=spec.arm == "self_hosted",
        days_to_retirement=None if retires is None else (retires - study.as_of).days,
        horizon_days=(until - study.as_of).days,
        other_vendors=len(others),
        spend_share=None if spent is None else spent[vendor(spec)],
        largest_rise=1.0 if owned else vendors[vendor(spec)]["largest_factor"],
        worst_rise=max(1.0, float(price_changes(until)["factor"].max())),
    )


def _elsewhere(calls: Portability, arm: str) -> Portability:
    """How calls would be made at another vendor, as far as today's calls tell.

    What is ours (a gateway, versioned prompts) stays. A server of our own takes plain JSON schemas
    and has no vendor-specific features; elsewhere only what is portable today is sure to stay so.
    """
    if arm == "self_hosted":
        plain = {"tool_schemas": "json_schema", "structured_output": "json_schema"}
        nothing = {"provider_features": (), "fine_tuned_weights_at_provider": "no"}
        return calls.model_copy(update=plain | nothing)
    unsure: dict[str, Any] = {}
    if calls.provider_features:
        unsure["provider_features"] = None
    for key in ("tool_schemas", "structured_output"):
        if getattr(calls, key) == "provider_specific":
            unsure[key] = "unknown"
    if calls.fine_tuned_weights_at_provider == "yes":
        unsure["fine_tuned_weights_at_provider"] = "unknown"
    return calls.model_copy(update=unsure)


def _retires(route: Route) -> date | None:
    """The listed retirement of a list-priced model; negotiated routes are not in the list."""
    if not isinstance(route, ApiRoute) or route.price is not None:
        return None
    return prices.retirement(route.provider, route.model)


def _score(
    case: Case, name: str, route: str, ties: portability.Ties, parts: pd.DataFrame
) -> dict[str, Any]:
    study, spec = case.study, case.study.routes[route]
    workload = study.workloads[name]
    low, high = float(parts["low"].sum()), float(parts["high"].sum())
    grades = [workload.portability.grade, workload.intake.requests.grade, "published"]
    lost = parts.assign(lost=parts["points"] - (parts["low"] + parts["high"]) / 2)
    most = lost.sort_values("lost", ascending=False, kind="stable").iloc[0]
    retires = _retires(spec)
    return {
        "vendor": vendor(spec),
        "current": route == workload.current_route,
        "score_low": low,
        "score_high": high,
        "grade": least_certain(grades),
        "pinned": ties.pinned,
        "retires": retires,
        "days_to_retirement": ties.days_to_retirement,
        "spend_share": ties.spend_share,
        "other_vendors": ties.other_vendors,
        "largest_factor": ties.largest_rise,
        "verdict": f"{span(low, high, count)} of 100; most is lost by: {most['why']}"
        if most["lost"] > 0
        else f"{span(low, high, count)} of 100; nothing ties it",
    }


def _switch(ties: portability.Ties) -> dict[str, Any]:
    """Working days to leave today's route, as it is and with its calls behind an abstraction."""
    table = portability.effort_table()
    today = portability.switching_days(ties, table)
    behind = portability.switching_days(replace(ties, behind_gateway="yes"), table)
    return {
        "low_days": today.low_days,
        "mid_days": today.mid_days,
        "high_days": today.high_days,
        "within_a_week": today.within_a_week,
        "behind_low_days": behind.low_days,
        "behind_high_days": behind.high_days,
        "work": "; ".join(today.work),
    }


# --- as a page shows them ---------------------------------------------------------------------


def points_by_part(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """The points that each route earns, with a column per part, as a page shows them.

    rows: of `portability_parts`.
    """
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for row in rows:
        line = cells.setdefault((row["workload"], row["route"]), {})
        part = f"{row['part'].replace('_', ' ')} ({row['points']})"
        line[part] = span(row["low"], row["high"], count)
    return pd.DataFrame([{"workload": w, "route": r, **line} for (w, r), line in cells.items()])


def contracts_by_route(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """The checklist of every route, with a column per item: its state and days left.

    A star marks an item that the data need. rows: of `contracts`.
    """
    cells: dict[str, dict[str, str]] = {}
    for row in rows:
        days = row["days_left"]
        state = row["state"] if days is None else f"{row['state']} ({count(days)} days)"
        cells.setdefault(row["route"], {})[row["item"]] = state + ("*" if row["needed_by"] else "")
    return pd.DataFrame([{"route": route, **line} for route, line in cells.items()])

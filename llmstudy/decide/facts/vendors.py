"""Facts about vendors: who is paid, who else could serve, and what they have announced."""

from collections.abc import Callable
from datetime import date, timedelta

import pandas as pd

from llmstudy import paths, prices, units
from llmstudy.decide.facts.grounds import Grounds, gpus_of, ranged, stated
from llmstudy.decide.judge import Fact
from llmstudy.decide.lock_in import vendor
from llmstudy.evidence import case
from llmstudy.figure import Grade, least_certain
from llmstudy.study import ApiRoute, ArmName, Route
from llmstudy.text import share

# --- who is paid ------------------------------------------------------------------------------


def vendor_share(grounds: Grounds) -> Fact:
    """The largest share of today's bill that goes to one vendor."""
    return _largest_share(grounds, vendor)


def model_share(grounds: Grounds) -> Fact:
    """The largest share of today's bill that goes to one model."""
    return _largest_share(grounds, lambda route: route.model)


def _largest_share(grounds: Grounds, payee: Callable[[Route], str]) -> Fact:
    """The payee with the largest share of today's bill. payee: names who is paid for a route."""
    usd: dict[str, float] = {}
    grades: list[Grade] = []
    for name, workload in grounds.study.workloads.items():
        bill = grounds.todays_bill(name)
        if bill is not None:
            who = payee(grounds.study.routes[workload.current_route])
            usd[who] = usd.get(who, 0.0) + bill
            grades.append(workload.intake.requests.grade)
    total = sum(usd.values())
    if not total:
        return Fact(None, "share", "assumed", "02_cost: bills", "no bill is known")
    most = max(usd, key=lambda who: usd[who])
    part = usd[most] / total
    words = f"{most} takes {share(part)} of today's bill"
    return Fact(part, "share", least_certain(grades), "02_cost: bills", words)


def covered_bill(grounds: Grounds) -> Fact:
    """The share of today's bill whose workload has a fallback at another vendor or on a fleet."""
    table = pd.DataFrame(grounds.decided["routes"])
    bills = grounds.results["06_crossover"]["month_usd"]
    able = table[table["permitted"] & table["fits_context"]]
    covered = total = 0.0
    for name, bill in bills["today_by_workload"].items():
        routes = able.loc[able["workload"] == name, "route"]
        today = vendor(grounds.study.routes[grounds.study.workloads[name].current_route])
        total += bill
        if {vendor(grounds.study.routes[route]) for route in routes} - {today}:
            covered += bill
    words = "of today's bill, which another vendor may serve"
    return Fact(covered / total if total else None, "share", "measured", "routes", words)


# --- who could serve --------------------------------------------------------------------------


def fleet_candidates(grounds: Grounds) -> Fact:
    """The number of self-hosted routes among the candidates."""
    n = sum(route.arm == "self_hosted" for route in grounds.named_routes.values())
    return stated(n, "routes", "workloads: candidates")


def api_vendors(grounds: Grounds) -> Fact:
    """The number of proprietary API vendors among the routes of the workloads."""
    apis = [r for r in grounds.named_routes.values() if r.arm == "proprietary_api"]
    return stated(len({vendor(route) for route in apis}), "vendors", "workloads: candidates")


def vendors_of_arm(grounds: Grounds, arm: ArmName) -> Fact:
    """The number of vendors of an arm: those in the study, or those that quote its GPUs."""
    routes = [r for r in grounds.study.routes.values() if r.arm == arm]
    if arm == "self_hosted":
        quoted, gpus = prices.gpu_prices(), gpus_of(routes)
        names = set(quoted.loc[quoted["gpu"].isin(gpus), "provider"])
        grade: Grade = "published"
        basis, words = "data/gpu_prices.csv", "rent out its GPUs"
    else:
        names = {r.provider for r in routes if isinstance(r, ApiRoute)}
        grade, basis, words = "measured", "routes", "priced in this study"
    if not routes:
        return Fact(None, "vendors", grade, basis, "no route of this arm")
    return Fact(float(len(names)), "vendors", grade, basis, words)


def routes_to_run(grounds: Grounds) -> Fact:
    """The number of routes to operate at once if every move and favoured candidate goes ahead.

    Today's routes stay as the fallback. low: today's routes only.
    """
    today = {workload.current_route for workload in grounds.study.workloads.values()}
    new = {v["target"] for v in grounds.decided["verdicts"].values() if v["target"]}
    most = len(today | new)
    words = f"{'routes' if most > 1 else 'route'} to run at once, today's as the fallback"
    words += "; low: today's alone"
    return Fact(most, "routes", "measured", "verdicts", words, len(today), most)


def moves_off_api(grounds: Grounds) -> Fact:
    """The number of workloads that run, or should move, off the proprietary APIs.

    None if there is none yet but better evidence on an undecided move could add one.
    """
    verdicts = grounds.decided["verdicts"].values()
    off = sum(v["arm"] != "proprietary_api" for v in verdicts)
    targets = [v["target"] for v in verdicts if v["decision"] == "undecided" and v["target"]]
    could = any(grounds.arm_of(route) != "proprietary_api" for route in targets)
    value = None if could and not off else float(off)
    return Fact(value, "workloads", least_certain(grounds.volume_grades), "verdicts")


# --- what they announce -----------------------------------------------------------------------


def price_rise(grounds: Grounds) -> Fact:
    """The largest price rise of this study's vendors: in the past year, or announced in the
    horizon."""
    study = grounds.study
    routes = [r for r in study.routes.values() if isinstance(r, ApiRoute) and r.price is None]
    since = study.as_of - timedelta(days=365)
    until = units.month_start(study.as_of, study.months)
    seen = _listed_changes({route.provider for route in routes}, since, until)
    dated = [_dated_changes(route, since, until) for route in routes]
    changes = pd.concat([seen, *dated], ignore_index=True)
    basis = "data/price_changes.csv and genai-prices, by provider"
    if changes.empty:
        return Fact(None, "share", "published", basis, "no change of price is known")
    rises = (changes["after"] / changes["before"] - 1).set_axis(changes["item"])
    item, rise = str(rises.idxmax()), float(rises.max())
    words = f"{item} rises by {share(rise)}" if rise > 0 else "prices of these vendors only fell"
    return Fact(rise, "share", "published", basis, words)


def _listed_changes(providers: set[str], since: date, until: date) -> pd.DataFrame:
    """Bundled price changes of any model of these vendors. Columns: item, before, after."""
    table = pd.read_csv(paths.data("price_changes.csv"), dtype={"effective": str})
    own = table["provider"].isin(providers) & (table["kind"] == "api")
    # ISO text, some of it without a day, which sorts as dates do
    in_time = table["effective"].between(since.isoformat(), until.isoformat())
    return table.loc[own & in_time, ["item", "before", "after"]]


def _dated_changes(route: ApiRoute, since: date, until: date) -> pd.DataFrame:
    """Scheduled price changes of a route's own model. Columns: item, before, after."""
    changes = prices.scheduled_changes(route.provider, route.model, since, until, route.tier)
    sides = [
        changes[[f"{side}_before", f"{side}_after"]].set_axis(["before", "after"], axis=1)
        for side in ("input", "output")
    ]
    return pd.concat(sides).astype(float).assign(item=route.model)


def retirements(grounds: Grounds) -> Fact:
    """The number of today's routes whose model retires within the horizon."""
    ends = {n: case.retires_within_horizon(grounds.study, n) for n in grounds.todays}
    gone = [f"{name} retires on {day}" for name, day in ends.items() if day is not None]
    basis = "data/model_retirements.csv"
    if not gone:  # a calendar that lists nothing of them is no promise that they stay
        words = "no retirement of today's models is listed"
        return Fact(None, "routes", "published", basis, words)
    return Fact(float(len(gone)), "routes", "published", basis, "; ".join(gone))


def gpu_price_spread(grounds: Grounds) -> Fact:
    """The price of a GPU at the dearest host over that at the cheapest, for the widest spread."""
    gpus, table = gpus_of(grounds.study.routes.values()), prices.gpu_prices()
    widest, basis = widest_spread(table[table["gpu"].isin(gpus)]), "data/gpu_prices.csv"
    if widest is None:
        return Fact(None, "factor", "published", basis, "no GPU with two hosts")
    gpu, factor = widest
    words = f"{gpu} costs x{factor:.2g} at the dearest host"
    return Fact(factor, "factor", "published", basis, words)


def widest_spread(gpu_prices: pd.DataFrame) -> tuple[str, float] | None:
    """The GPU whose on-demand price varies most between hosts, and the factor.

    None if no GPU has two hosts.

    gpu_prices: gpu, provider, commitment, usd_per_gpu_hour.
    """
    on_demand = gpu_prices[gpu_prices["commitment"] == "on_demand"]
    by_host = on_demand.groupby(["gpu", "provider"])["usd_per_gpu_hour"].min().groupby("gpu")
    factors = (by_host.max() / by_host.min())[by_host.size() > 1]
    if factors.empty:
        return None
    return str(factors.idxmax()), float(factors.max())


# --- what leaving them takes ------------------------------------------------------------------


def days_to_leave(grounds: Grounds) -> Fact:
    """Days to leave today's routes if calls went through an abstraction layer."""
    behind = ("behind_low_days", "behind_high_days")
    days = [row[end] for row in grounds.decided["switching"] for end in behind]
    words = "leaving today's routes, were they behind an abstraction"
    return ranged(days, "days", "assumed", "switching", words)


def points_earned(grounds: Grounds, arm: ArmName, dimension: str) -> Fact:
    """The share of a portability dimension's points that the routes of an arm earn."""
    parts = pd.DataFrame(grounds.decided["portability_parts"])
    own = parts[(parts["dimension"] == dimension) & (parts["arm"] == arm)]
    earned = own.groupby(["workload", "route"])[["points", "low", "high"]].sum()
    shares = [*(earned["low"] / earned["points"]), *(earned["high"] / earned["points"])]
    words = "points that the arm's routes earn, of all"
    return ranged(shares, "share of points", "assumed", "portability_parts", words)

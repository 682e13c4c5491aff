"""Chapter 07: what each live indicator of the risks reads on this study (MEMO T8).

What the organisation states of itself (its team, its contracts) is graded measured, as the triggers
do; a reading never bears more than the least certain figure in it.
"""

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from typing import Any, NamedTuple

import pandas as pd

from llmstudy import evidence, paths, prices
from llmstudy.assess.case import Case, Results, rows_of
from llmstudy.assess.lock_in import vendor
from llmstudy.decision import risks
from llmstudy.decision.risks import Reading
from llmstudy.figure import Grade, least_certain
from llmstudy.requests.summary import FAILURE_REQUESTS
from llmstudy.study import ApiRoute, SelfHostedRoute, Study, Workload
from llmstudy.text import count, share


class _Known(NamedTuple):
    """What is read from. triggers: the rows of chapter 07, which is not written yet."""

    case: Case
    results: Results
    triggers: list[dict[str, Any]]

    @property
    def study(self) -> Study:
        return self.case.study

    @property
    def todays(self) -> dict[str, Any]:
        """Today's routes: name -> route, each once."""
        names = (w.current_route for w in self.study.workloads.values())
        return {name: self.study.routes[name] for name in names}

    @property
    def logged(self) -> pd.DataFrame:
        """The requests that a log holds; those drawn are no evidence of what went wrong."""
        requests = self.case.traffic.requests
        return requests[~requests["workload"].isin(self.case.traffic.simulated)]


def indicator_table(case: Case, results: Results, triggers: list[dict[str, Any]]) -> pd.DataFrame:
    """Every indicator on this study, as `risks.indicators`. triggers: as `trigger_rows`."""
    known = _Known(case, results, triggers)
    readings: Mapping[str, Callable[[_Known], Reading]] = {
        "price_rise": _price_rise,
        "retirements": _retirements,
        "retry_share": _retry_share,
        "failed_share": _failed_share,
        "outage_minutes": _outage_minutes,
        "contract_months": _contract_months,
        "format_failures": _format_failures,
        "vendor_share": lambda k: _bill_share(k, "vendor"),
        "model_share": lambda k: _bill_share(k, "model"),
        "token_growth": _token_growth,
        "prompt_growth": _prompt_growth,
        "engineers": _engineers,
        "quality_gap": _quality_gap,
        "utilisation": _utilisation,
        "gpu_price_spread": _gpu_price_spread,
        "unscored_share": _unscored_share,
        "missing_contracts": _missing_contracts,
    }
    lines = {
        "price_rise": case.study.thresholds.price_rise.value,
        "format_failures": case.study.thresholds.format_failure.value,
    }
    return risks.indicators({name: read(known) for name, read in readings.items()}, lines)


# --- vendors --------------------------------------------------------------------------------


def _price_rise(known: _Known) -> Reading:
    """The largest rise of a price of this study's vendors: seen in a year, or dated in the plan."""
    study = known.study
    routes = [r for r in study.routes.values() if isinstance(r, ApiRoute) and r.price is None]
    since = study.as_of - timedelta(days=365)
    until = evidence.month_start(study.as_of, study.months)
    seen = _listed_changes({route.provider for route in routes}, since, until)
    dated = [_dated_changes(route, since, until) for route in routes]
    largest = risks.largest_rise(pd.concat([seen, *dated], ignore_index=True))
    source = "data/price_changes.csv and genai-prices, by provider"
    if largest is None:
        return Reading(None, "published", source, "no change of price is known")
    item, rise = largest
    said = f"{item} rises by {share(rise)}" if rise > 0 else "prices of these vendors only fell"
    return Reading(rise, "published", source, said)


def _listed_changes(providers: set[str], since: date, until: date) -> pd.DataFrame:
    """Bundled changes of any model of these vendors: item, before, after."""
    table = pd.read_csv(paths.data("price_changes.csv"), dtype={"effective": str})
    own = table["provider"].isin(providers) & (table["kind"] == "api")
    # ISO text, some of it without a day, which sorts as dates do
    in_time = table["effective"].between(since.isoformat(), until.isoformat())
    return table.loc[own & in_time, ["item", "before", "after"]]


def _dated_changes(route: ApiRoute, since: date, until: date) -> pd.DataFrame:
    """Dated changes of a route's own model in the price list: item, before, after."""
    found = prices.scheduled_changes(route.provider, route.model, since, until, route.tier)
    sides = [
        found[[f"{side}_before", f"{side}_after"]].set_axis(["before", "after"], axis=1)
        for side in ("input", "output")
    ]
    return pd.concat(sides).astype(float).assign(item=route.model)


def _retirements(known: _Known) -> Reading:
    ends = {n: evidence.retires_within_horizon(known.study, n) for n in known.todays}
    gone = [f"{name} retires on {day}" for name, day in ends.items() if day is not None]
    source = "data/model_retirements.csv"
    if not gone:  # a calendar that lists nothing of them is no promise that they stay
        return Reading(None, "published", source, "no retirement of today's models is listed")
    return Reading(float(len(gone)), "published", source, "; ".join(gone))


def _contract_months(known: _Known) -> Reading:
    days = {
        f"{contract.kind} of {name}": contract.valid_until
        for name, route in known.todays.items()
        for contract in route.contracts
    }
    first = risks.months_until(days, known.study.as_of)
    if first is None:
        return Reading(None, "measured", "routes: contracts", "no contract is stated")
    which, months = first
    ends = "ended" if months < 0 else "ends"
    said = f"{which.replace('_', ' ')} {ends} on {days[which]}"
    return Reading(months, "measured", "routes: contracts", said)


def _missing_contracts(known: _Known) -> Reading:
    rows = rows_of(known.results["06_crossover"]["permissions"], current=True)
    lacking = {r["workload"]: max(1, len(r["missing"])) for r in rows if not r["permitted"]}
    classes = {w.intake.data_class for w in known.study.workloads.values()}
    source = "06_crossover: permissions"
    if not lacking and "unknown" in classes:
        return Reading(None, "assumed", source, "data are not classified yet")
    said = f"contracts lacking on {', '.join(lacking)}" if lacking else "none is missing"
    return Reading(float(sum(lacking.values())), "measured", source, said)


def _bill_share(known: _Known, of: str) -> Reading:
    """How much of today's bill goes to one vendor or one model."""
    usd: dict[str, float] = {}
    grades: list[Grade] = []
    for name, workload in known.study.workloads.items():
        spec = known.study.routes[workload.current_route]
        key = spec.model if of == "model" else vendor(spec)
        bill = _todays_bill(known, name)
        if bill is not None:
            usd[key] = usd.get(key, 0.0) + bill
            grades.append(workload.intake.requests.grade)
    largest = risks.largest_share(usd)
    if largest is None:
        return Reading(None, "assumed", "02_cost: bills", "no bill is known")
    who, part = largest
    said = f"{who} takes {share(part)} of today's bill"
    return Reading(part, least_certain(grades), "02_cost: bills", said)


def _todays_bill(known: _Known, name: str) -> float | None:
    place = {"workload": name, "route": known.study.workloads[name].current_route}
    rows = rows_of(known.results["02_cost"]["bills"], **place)
    rows += rows_of(known.results["05_self_hosting"]["fleets"], **place)
    return float(rows[0]["month_usd"]) if rows else None


# --- the log and its growth -----------------------------------------------------------------


def _retry_share(known: _Known) -> Reading:
    at, workload = max(known.study.workloads.items(), key=lambda x: x[1].retry_share.value)
    found = workload.retry_share
    said = f"{share(found.value)} of requests are sent again"
    return Reading(found.value, found.grade, f"workloads.{at}.retry_share", said)


def _failures_kept(requests: pd.DataFrame) -> bool:
    """Whether a log shows failures; one so long without any has probably dropped them."""
    return len(requests) > 0 and (len(requests) < FAILURE_REQUESTS or not requests["ok"].all())


def _failed_share(known: _Known) -> Reading:
    if not _failures_kept(known.logged):
        return Reading(None, "simulated", "request log", "no log that keeps failures")
    failed = 1 - float(known.logged["ok"].mean())
    said = f"{share(failed)} of logged requests got no answer"
    return Reading(failed, "measured", "request log", said)


def _outage_minutes(known: _Known) -> Reading:
    minutes = risks.outage_minutes(known.logged) if _failures_kept(known.logged) else None
    if minutes is None:
        return Reading(None, "simulated", "request log", "no log that keeps failures")
    said = f"{count(minutes)} minutes a month with half of the requests failing"
    return Reading(minutes, "measured", "request log", said)


def _format_failures(known: _Known) -> Reading:
    counted = {
        name: workload.format_failure_share
        for name, workload in known.study.workloads.items()
        if workload.format_failure_share is not None
    }
    if not counted:
        return Reading(None, "assumed", "workloads: format_failure_share", "not counted yet")
    name, found = max(counted.items(), key=lambda x: x[1].value)
    at = f"workloads.{name}.format_failure_share"
    return Reading(found.value, found.grade, at, f"{share(found.value)} on {name}")


def _growth(known: _Known, of_prompts_alone: bool) -> Reading:
    workloads = list(known.study.workloads.values())
    parts = [_growth_parts(w, of_prompts_alone) for w in workloads]
    requests, tokens_in, tokens_out, growth, prompts = zip(*parts, strict=True)
    months = known.study.months
    factor = risks.token_growth(requests, tokens_in, tokens_out, growth, prompts, months)
    what = "prompt_growth" if of_prompts_alone else "growth"
    grade = least_certain([f.grade for w in workloads for f in (w.growth, w.prompt_growth)])
    if of_prompts_alone:
        grade = least_certain([w.prompt_growth.grade for w in workloads])
    said = f"{'prompts' if of_prompts_alone else 'tokens'} x{factor:.2g} in {months} months"
    return Reading(factor, grade, f"workloads: {what}", said)


def _growth_parts(w: Workload, of_prompts_alone: bool) -> tuple[float, ...]:
    """Requests, tokens in and out, growth of volume and of prompts."""
    tokens_in, tokens_out = w.intake.input_tokens.value, w.intake.output_tokens.value
    if of_prompts_alone:
        return w.intake.requests.value, tokens_in, 0.0, 0.0, w.prompt_growth.value
    growth = w.growth.value, w.prompt_growth.value
    return w.intake.requests.value, tokens_in, tokens_out, *growth


def _token_growth(known: _Known) -> Reading:
    return _growth(known, of_prompts_alone=False)


def _prompt_growth(known: _Known) -> Reading:
    return _growth(known, of_prompts_alone=True)


# --- fleets, people and quality -------------------------------------------------------------


def _engineers(known: _Known) -> Reading:
    n = known.study.team.experienced_ml_engineers
    said = f"{n} experienced {'engineer' if n == 1 else 'engineers'}"
    return Reading(float(n), "measured", "team.experienced_ml_engineers", said)


def _utilisation(known: _Known) -> Reading:
    """The fleet that comes nearest to paying, against its break-even: as G1 judges it."""
    rows = [r for r in rows_of(known.triggers, id="G1") if r["value"] and r["threshold"]]
    if not rows:
        return Reading(None, "assumed", "triggers: G1", "no fleet to judge")
    best = max(rows, key=lambda row: row["value"] / row["threshold"])
    said = (
        f"{share(best['value'])} busy on {best['workload']}, pays from {share(best['threshold'])}"
    )
    return Reading(best["value"] / best["threshold"], best["grade"], "triggers: G1", said)


def _gpu_price_spread(known: _Known) -> Reading:
    gpus = {r.gpu for r in known.study.routes.values() if isinstance(r, SelfHostedRoute)}
    table = prices.gpu_prices()
    widest = risks.price_spread(table[table["gpu"].isin(gpus)])
    if widest is None:
        return Reading(None, "published", "data/gpu_prices.csv", "no GPU with two hosts")
    gpu, factor = widest
    said = f"{gpu} costs x{factor:.2g} at the dearest host"
    return Reading(factor, "published", "data/gpu_prices.csv", said)


def _quality_gap(known: _Known) -> Reading:
    """The workload whose best scored open candidate is furthest behind, in its own margins."""
    rows = [
        row
        for row in known.results["04_quality"]["quality"]
        if row["difference"] is not None
        and known.study.routes[row["route"]].arm != "proprietary_api"
    ]
    if not rows:
        return Reading(None, "assumed", "04_quality: quality", "no open candidate is scored")
    best: dict[str, dict[str, Any]] = {}
    for row in rows:
        before = best.get(row["workload"])
        if before is None or row["difference"] > before["difference"]:
            best[row["workload"]] = row
    worst = max(best.values(), key=lambda row: -row["difference"] / row["margin"])
    # as in G5: what a move must rest on is the study's to say
    bears = worst["grade"] == "measured" or worst["lowest_grade"] == "published"
    gap = -worst["difference"] / worst["margin"]
    points = f"{abs(100 * worst['difference']):.2g} points"
    said = f"{worst['route']} is {points} {'behind' if gap > 0 else 'ahead'} on {worst['workload']}"
    said += f", on {worst['benchmark']}"
    grade: Grade = worst["grade"] if bears and worst["closeness"] != "far" else "assumed"
    return Reading(gap, grade, "04_quality: quality", said)


def _unscored_share(known: _Known) -> Reading:
    scored = {
        row["workload"]
        for row in rows_of(known.results["04_quality"]["quality"], grade="measured")
        if row["n"]
    }
    names = set(known.study.workloads)
    part = len(names - scored) / len(names)
    said = f"{len(names - scored)} of {len(names)} workloads without golden items of their own"
    return Reading(part, "measured", "04_quality: quality", said)

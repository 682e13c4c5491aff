"""What the usual web calculator leaves out, and how each omission changes its answer.

The formula of such pages: GPUs x hourly price x hours for self-hosting, tokens x blended list price
for the API, and a break-even volume that is the first over the price of a token. Throughput is a
vendor's peak and utilisation is typed in. The calculator and this study use the same model of two
bills, with the fields listed in `data/web_calculator.csv`, but other values in them.

A frame of such bills has requests_per_month and those fields in each row. requests_per_s_per_gpu:
throughput of a fully used GPU. target_utilisation: of the busiest hour, whose load is peak_to_mean
times the mean. follows_volume: 1, or 0 for a fleet that always has the size that it needs at
requests_per_month. The price factors: mean price over the horizon over today's. accepted_ratio:
share of accepted answers on the self-hosted route over the API's.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from llmstudy import paths, prices
from llmstudy.decide.claims import api_bill
from llmstudy.evidence.case import Results, rows_of
from llmstudy.figure import FloatArray
from llmstudy.measures.capacity import replicas
from llmstudy.measures.cost import (
    TokenPrice,
    api_usd_per_request,
    replica_month_usd,
    requests_per_replica,
    usd_per_accepted_answer,
)
from llmstudy.simulate import drift, stepped_crossover
from llmstudy.simulate.breakdown import in_order, shapley, subsets
from llmstudy.study import SelfHostedRoute, Study
from llmstudy.units import HOURS_PER_MONTH

MONTH_S = HOURS_PER_MONTH * 3600


def assumptions() -> pd.DataFrame:
    """The assumptions of such pages: item, field, unit, value, low, high, claim, source.

    item: the item of the attribution that the field belongs to. value: empty where the workload's
    own value is used.
    """
    return pd.read_csv(paths.data("web_calculator.csv"))


def fields_by_item() -> dict[str, list[str]]:
    """Item of the attribution -> its fields, in the order of `assumptions`.

    >>> fields_by_item()["idle"]
    ['peak_to_mean', 'target_utilisation']
    """
    fields = assumptions().groupby("item", sort=False)["field"].agg(list)
    return {str(item): names for item, names in fields.items()}


Columns = Mapping[str, FloatArray]


def fleet_month_usd(bills: pd.DataFrame) -> FloatArray:
    """Monthly cost of each fleet for as many accepted answers as the API gives. (n,) usd.

    Team and upkeep included, at the mean prices over the horizon. bills: as in the module's
    docstring.
    Raises: ValueError if a route has no accepted answer.
    """
    b = _columns(bills)
    return np.asarray(usd_per_accepted_answer(_month_usd(b), b["accepted_ratio"]))


def api_month_usd(bills: pd.DataFrame) -> FloatArray:
    """Monthly bill of the API at the mean prices over the horizon. (n,) usd.

    bills: as in the module's docstring.
    """
    b = _columns(bills)
    return b["requests_per_month"] * _usd_per_request(b) + b["api_other_month_usd"]


def break_even_requests(bills: pd.DataFrame, cap: float) -> FloatArray:
    """Requests a month from which the fleet stays cheaper; infinite if never up to `cap`. (n,).

    A fleet that does not follow the volume gives the web formula: fixed cost / price per request.
    bills: as in the module's docstring.
    """
    b = _columns(bills)
    per_request = _usd_per_request(b) * b["accepted_ratio"]
    spared = b["api_other_month_usd"] * b["accepted_ratio"]
    carries = requests_per_replica(_requests_per_s(b), b["peak_to_mean"], b["target_utilisation"])
    stepped = stepped_crossover(
        per_request,
        per_replica=_rent_usd(b),
        carries=np.asarray(carries),
        spare=b["spare"],
        fixed=b["staff_month_usd"] + b["other_month_usd"] - spared,
        cap=cap,
    )
    today = np.maximum(_month_usd(b) - spared, 0.0)
    steady = np.divide(today, per_request, np.full(len(bills), np.inf), where=per_request > 0)
    steady[steady > cap] = np.inf
    return np.where(b["follows_volume"] == 1, stepped, steady)


def _columns(bills: pd.DataFrame) -> Columns:
    fields = ["requests_per_month", *assumptions()["field"]]
    return {field: bills[field].to_numpy(dtype=float) for field in fields}


def _requests_per_s(b: Columns) -> FloatArray:
    """Requests per second of a fully used replica."""
    return b["requests_per_s_per_gpu"] * b["gpus_per_replica"]


def _rent_usd(b: Columns) -> FloatArray:
    """Monthly rent of a replica."""
    hour = b["usd_per_gpu_hour"] * b["gpu_price_factor"]
    return np.asarray(replica_month_usd(hour, b["gpus_per_replica"], b["overhead_share"]))


def _month_usd(b: Columns) -> FloatArray:
    """Monthly cost of a fleet at today's volume, if every answer is accepted."""
    peak = b["requests_per_month"] / MONTH_S * b["peak_to_mean"]
    needed = replicas(peak, _requests_per_s(b), b["target_utilisation"], spare=0, minimum=1)
    return (needed + b["spare"]) * _rent_usd(b) + b["staff_month_usd"] + b["other_month_usd"]


def _usd_per_request(b: Columns) -> FloatArray:
    return b["api_usd_per_1000_requests"] / 1000 * b["api_price_factor"]


# ---- a study's fleets ---------------------------------------------------------------------------


_NAMES = ("workload", "route", "model", "gpu", "quality_scored")
_NUMBERS = (
    *("gpus", "month_usd", "requests_per_month", "tokens_per_request"),
    *("on_demand_usd_per_gpu_hour", "listed_usd_per_1000_requests"),
)


def fleets_beside_apis(study: Study, results: Results) -> pd.DataFrame:
    """Each sized fleet beside the API's bill for its workload, by this study's figures.

    results: of chapters 02, 04 and 05. The API is today's route, or else the cheapest permitted
    one. other_month_usd: a fleet's monthly cost without rent and team.
    Returns: a frame of bills with workload, route, and the inputs of a calculator: model, gpu,
    tokens_per_request, listed_usd_per_1000_requests (NaN: no API may serve the workload),
    on_demand_usd_per_gpu_hour; gpus and month_usd as in chapter 05; quality_scored.
    """
    fleet_rows = results["05_self_hosting"]["fleets"]
    numbers = [*_NUMBERS, *assumptions()["field"]]
    rows = [_beside_api(study, results, row) for row in fleet_rows]
    fleets = pd.DataFrame(rows, columns=[*_NAMES, *numbers]).astype(dict.fromkeys(numbers, float))
    now = fleets.assign(api_price_factor=1.0, gpu_price_factor=1.0, accepted_ratio=1.0)
    return fleets.assign(other_month_usd=fleets["month_usd"] - fleet_month_usd(now))


def _beside_api(study: Study, results: Results, fleet: Mapping[str, Any]) -> dict[str, Any]:
    spec, intake = study.routes[fleet["route"]], study.workloads[fleet["workload"]].intake
    assert isinstance(spec, SelfHostedRoute)
    rent, hosting = fleet["usd_per_gpu_hour"], spec.owned or study.self_hosting
    if spec.rented_from:
        rent = prices.gpu_price(spec.gpu, spec.rented_from, "on_demand").value
    return {
        **{key: fleet[key] for key in ("workload", "route", "gpus", "month_usd")},
        **{key: fleet[key] for key in ("spare", "usd_per_gpu_hour", "staff_month_usd")},
        "model": spec.model,
        "gpu": spec.gpu,
        "on_demand_usd_per_gpu_hour": rent,
        "tokens_per_request": intake.input_tokens.value + intake.output_tokens.value,
        "requests_per_month": intake.requests.value,
        "requests_per_s_per_gpu": fleet["capacity_requests_per_s"] / spec.tensor_parallel,
        "peak_to_mean": intake.peak_to_mean.value,
        "target_utilisation": fleet["sustained_utilisation"],
        "gpus_per_replica": spec.tensor_parallel,
        "follows_volume": 1,
        "overhead_share": hosting.overhead_share.value,
        "other_month_usd": 0.0,
        "gpu_price_factor": 1.0 if spec.owned else _mean_drift(study, study.price_drift.gpu.value),
        **_api(study, results, fleet),
    }


def _api(study: Study, results: Results, fleet: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the API's bill; NaN where no API may serve the workload."""
    name, intake = fleet["workload"], study.workloads[fleet["workload"]].intake
    bill = api_bill(results, name)
    if bill is None:
        keys = ("api_usd_per_1000_requests", "listed_usd_per_1000_requests", "api_other_month_usd")
        none = {"api_price_factor": 1.0, "accepted_ratio": 1.0, "quality_scored": False}
        return dict.fromkeys(keys, np.nan) | none
    price = TokenPrice.of(results["02_cost"]["offers"][name][bill["route"]])
    drifts = study.price_drift
    yearly = drifts.hosted_open if price.arm == "hosted_open" else drifts.proprietary_api
    listed = api_usd_per_request(price, intake.input_tokens.value, intake.output_tokens.value)
    accepted = _accepted_ratio(results, fleet) if bill["current"] else None
    scheduled = np.array(price.month_factors[: study.months])
    return {
        "api_usd_per_1000_requests": 1000 * bill["usd_per_request"],
        "listed_usd_per_1000_requests": 1000 * float(listed),
        "api_other_month_usd": bill["month_usd"] - intake.requests.value * bill["usd_per_request"],
        "api_price_factor": _mean_drift(study, yearly.value, scheduled),
        "accepted_ratio": accepted or 1.0,
        "quality_scored": accepted is not None,
    }


def _mean_drift(study: Study, yearly: float, scheduled: FloatArray | float = 1.0) -> float:
    """Mean price over the horizon, over today's."""
    return float((drift(np.array([yearly]), study.months)[0] * scheduled).mean())


def _accepted_ratio(results: Results, fleet: Mapping[str, Any]) -> float | None:
    """Accepted answers of the fleet's model over those of today's route; None if not scored."""
    at = {key: fleet[key] for key in ("workload", "route")}
    for row in rows_of(results["04_quality"]["quality"], **at):
        if row["acceptance_current"] and row["acceptance_route"]:
            return float(row["acceptance_route"] / row["acceptance_current"])
    return None


# ---- the difference, item by item ---------------------------------------------------------------


def attribution(calculator: pd.DataFrame, ours: pd.DataFrame, cap: float) -> pd.DataFrame:
    """Attributes the difference between the calculator's answers and ours to items.

    calculator, ours: frames of the same bills with workload and route. Returns: workload, route,
    item; for the fleet's monthly cost in_order_usd (items changed one after another in the order of
    `assumptions`) and shapley_usd (mean over all orders); saving_usd (Shapley, of the API's bill
    less the fleet's); break_even_factor, by which the item multiplies the break-even volume
    (Shapley, of its logarithm; "never" counts as `cap`); break_even_after, the break-even in
    requests a month with this item and those above changed (NaN: never). The usd columns sum to the
    whole difference, and the factors multiply to it.
    """
    pairs = zip(calculator.to_dict("records"), ours.to_dict("records"), strict=True)
    parts = [
        _attribution(a, b, cap).assign(workload=b["workload"], route=b["route"]) for a, b in pairs
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _attribution(
    calculator: Mapping[Any, Any], ours: Mapping[Any, Any], cap: float
) -> pd.DataFrame:
    fields = fields_by_item()
    items = list(fields)
    unequal = [item for item, own in fields.items() if any(calculator[f] != ours[f] for f in own)]
    changes = subsets(unequal)
    mixed = {
        field: [(ours if item in changed else calculator)[field] for changed in changes]
        for item, own in fields.items()
        for field in own
    }
    bills = pd.DataFrame({**mixed, "requests_per_month": ours["requests_per_month"]})
    fleet, volume = fleet_month_usd(bills), break_even_requests(bills, cap)
    month = dict(zip(changes, fleet, strict=True))
    saving = dict(zip(changes, api_month_usd(bills) - fleet, strict=True))
    volumes = dict(zip(changes, volume, strict=True))
    logarithm = dict(zip(changes, np.log(np.clip(volume, 1.0, cap)), strict=True))
    upto = [frozenset(unequal) & frozenset(items[: k + 1]) for k in range(len(items))]
    table = pd.DataFrame(
        {
            "in_order_usd": in_order(month.__getitem__, unequal),
            "shapley_usd": shapley(month.__getitem__, unequal),
            "saving_usd": shapley(saving.__getitem__, unequal),
            "break_even_factor": shapley(logarithm.__getitem__, unequal),
        },
        index=pd.Index(items, name="item"),
    ).fillna(0.0)
    after = np.array([volumes[changed] for changed in upto])
    return table.assign(
        break_even_factor=np.exp(table["break_even_factor"]),
        break_even_after=np.where(np.isfinite(after), after, np.nan),
    ).reset_index()

"""The items of a bill, and the part of each change in the difference between two answers.

`cost_items` lists the items of research cost.md 5.1 and 5.2 at their values, with the grade of the
figure that decides each; one-off costs are spread over the horizon.

`stay_parts` goes from this month's bill to the cost of staying over the horizon, which is more than
the bill times the months; the parts sum to the whole.

Two answers differ in several items. A `value` function gives the answer with some items changed and
the rest unchanged. `in_order` changes one item after another; `shapley` does not depend on the
order. Both sum to the whole difference.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import combinations
from math import factorial
from typing import Any

import numpy as np
import pandas as pd

from llmstudy.figure import Figure, least_certain
from llmstudy.measures import cost
from llmstudy.measures.cost import TokenPrice, replica_month_usd
from llmstudy.simulate import draws
from llmstudy.simulate.bills import (
    TODAY,
    at_cutover,
    discount,
    dual_months,
    fleet_unit,
    forced_month_usd,
    month_usd,
    of_today,
    prompt_and_answer_usd,
    served_from,
    staff_month_usd,
    volumes,
)
from llmstudy.simulate.inputs import Market, figures_of, inputs, pair_inputs, todays_fleets
from llmstudy.study import ApiRoute, Study


def cost_items(study: Study, offers: Market, moves: Mapping[str, str]) -> list[dict[str, Any]]:
    """The bill of the first month on today's route and on the route of a move, item by item.

    moves: workload -> route. Rows: workload, route, side (api or self_hosted), item, usd_month,
    grade. The items of a side sum to its monthly bill, with one-off costs spread over the horizon;
    a fleet's include the whole team.
    """
    rows = []
    for name, target in moves.items():
        current = study.workloads[name].current_route
        figures = figures_of(pair_inputs(study, offers, name, target))
        d = draws.central(figures)
        for route in (current, target):
            offer = offers.offer(name, route)
            if isinstance(offer, TokenPrice):
                route_draws = of_today(d) if route == current else d
                items = _of_an_api(offer, route_draws, _premium(study, route))
                side = "api"
            elif isinstance(offer, cost.Fleet):
                items = _of_a_fleet(offer, d)
                side = "self_hosted"
            else:
                continue
            if route == target:
                items |= _once(offer, d, study.months)
            rows += [
                {
                    "workload": name,
                    "route": route,
                    "side": side,
                    "item": item,
                    "usd_month": float(np.asarray(usd).ravel()[0]),
                    "grade": _grade(figures, decides, today=route == current),
                }
                for item, (usd, decides) in items.items()
            ]
    return rows


Items = dict[str, tuple[Any, str]]
"""Item -> usd a month, and the inputs that give its grade ("": a list price)."""


def _grade(figures: Mapping[str, Figure], decide: str, today: bool) -> str:
    """The worst grade of the inputs of an item: of the first, and of others that are uncertain."""
    names = [TODAY + x if today and TODAY + x in figures else x for x in decide.split()]
    grades = [figures[x].grade for x in names if x == names[0] or figures[x].uncertain]
    return least_certain(grades) if grades else "published"


def _premium(study: Study, route: str) -> float:
    """The regional premium of a route, a factor that its prices already include."""
    spec = study.routes[route]
    return (
        spec.regional_premium.value if isinstance(spec, ApiRoute) and spec.regional_premium else 1
    )


def _of_an_api(price: TokenPrice, d: draws.Draws, premium: float) -> Items:
    prompts, answers = (d["requests"] * usd for usd in prompt_and_answer_usd(price, d))
    repeated = d["retry_share"] * (prompts + answers)
    for_region = (1 - 1 / premium) * (prompts + answers + repeated)
    return {
        "prompts, caching included": (prompts / premium, "input_tokens"),
        "answers, reasoning included": (answers / premium, "output_tokens output_tokens_ratio"),
        "retries": (repeated / premium, "retry_share"),
        **({"regional premium": (for_region, "")} if premium > 1 else {}),
        "tools and search": (d["requests"] * d["tool_usd"] / 1000, "tool_usd"),
        "provisioned throughput": (d["provisioned"], "provisioned"),
        "evaluation at updates": (d["api_evaluation"] / 12, "api_evaluation"),
        "migrations at retirement": (forced_month_usd(price.arm, d), f"model_life_{price.arm}"),
    }


def _of_a_fleet(fleet: cost.Fleet, d: draws.Draws) -> Items:
    carries, rent = (x.ravel() for x in fleet_unit(fleet, d, 1))
    needed = np.ceil(d["requests"] / carries * (1 - 1e-12))
    busy = d["requests"] / carries * d["target_utilisation"] / d["peak_to_mean"]
    repeated = busy * d["retry_share"] / (1 + d["retry_share"])
    bare = np.asarray(replica_month_usd(d["usd_per_gpu_hour"], fleet.gpus_per_replica, 0.0))
    upkeep = d["upgrades"] * d["upgrade_usd"] / 12
    return {
        "GPU hours in use": ((busy - repeated) * bare, "usd_per_gpu_hour"),
        "retries": (repeated * bare, "retry_share"),
        "GPU hours idle": ((needed - busy) * bare, "peak_to_mean"),
        "spare replicas": (np.asarray(fleet.spare * bare), "usd_per_gpu_hour"),
        "staging": (d["staging_replicas"] * rent, "staging_replicas"),
        "host, disk, network": ((needed + fleet.spare) * (rent - bare), "overhead_share"),
        "observability": (d["observability"], "observability"),
        "upgrades, evaluated": (upkeep, "upgrade_usd"),
        "fine-tuning and labels": (d["fine_tuning"] / 12, "fine_tuning"),
        "salaries": (d["fte"] * d["usd_per_fte_year"] / 12, "usd_per_fte_year"),
        "on-call": (d["on_call"], "on_call"),
        "security review": (d["security"] / 12, "security"),
    }


def _once(offer: cost.Offer, d: draws.Draws, months: int) -> Items:
    requests = volumes(d, months)
    first = at_cutover(month_usd(offer, d, requests, months), served_from(d))
    return {
        "migration, over the horizon": (d["moving_cost"] / months, "moving_cost"),
        "dual running, over the horizon": (dual_months(d, months) * first / months, "ramp"),
    }


PARTS = {
    "growth": ("growth",),
    "scheduled": (),
    "prompts": ("prompt_growth",),
    "drift": ("drift_proprietary_api", "drift_hosted_open", "drift_gpu"),
    "upkeep": (
        *("api_evaluation", "provisioned", "tool_usd"),
        *("migration_proprietary_api", "migration_hosted_open"),
    ),
    "discount": (),
}
"""Part of the change after this month -> the inputs behind it. `scheduled`: announced prices;
`discount`: later months are worth less."""

_UNCHANGED = {"drift_proprietary_api": 1.0, "drift_hosted_open": 1.0, "drift_gpu": 1.0}
"""Value of an input if its part is left out, where that is not 0."""


def stay_parts(study: Study, offers: Market, month: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The cost of staying over the horizon, part by part. month: `month_usd` of chapter 06.

    `today` is this month's bill times the months; the parts of `PARTS` are the effects of changes
    at the stated values (Shapley); `spread` is the median of the draws less the cost at the stated
    values, since ranges are wider upwards and prices jump. Rows: part, usd; they sum to the median
    of the draws.
    """
    flat = month["today"] * study.months
    shares = shapley(lambda parts: _stay_usd(study, offers, month, parts), list(PARTS))
    between = {part: usd for part, usd in shares.items() if abs(usd) >= 0.5}
    spread = month["horizon"]["p50"] - flat - sum(between.values())
    rows = {"today": flat, **between, "spread": spread}
    return [{"part": part, "usd": usd} for part, usd in rows.items()]


def _stay_usd(
    study: Study, offers: Market, month: Mapping[str, Any], parts: frozenset[str]
) -> float:
    """Bills over the horizon at the stated values, with only these parts of `PARTS`. usd."""
    fleets = todays_fleets(study) & set(month["today_by_workload"])
    rate = study.discount_rate.value if "discount" in parts else 0.0
    worth = discount({"discount_rate": np.array([rate])}, study.months)
    total, team = 0.0, 0.0
    for name in month["today_by_workload"]:
        route = study.workloads[name].current_route
        offer = offers.priced(name, route)
        if isinstance(offer, TokenPrice) and "scheduled" not in parts:
            offer = replace(offer, month_factors=(1.0,))
        entries = inputs(study, name, route, offers.fleets.get((name, route)))
        d = draws.central(figures_of(entries))
        for short in (s for part, names in PARTS.items() if part not in parts for s in names):
            d[short] = np.array([_UNCHANGED.get(short, 0.0)])
        bills = month_usd(offer, d, volumes(d, study.months), study.months)
        total += float((bills * worth).sum())
        if name in fleets:  # one team runs them all
            team = float((staff_month_usd(d) * worth).sum())
    return total + team


Value = Callable[[frozenset[str]], float]
"""The answer with these items changed."""


def shapley(value: Value, items: Sequence[str]) -> dict[str, float]:
    """Each item's part of value(all) - value(none), as the mean over all orders of change.

    It is the only attribution that sums to the whole, treats equal items equally, gives an item
    without effect 0, and is additive over values. Takes 2^n calls of `value` for n items.

    Raises: ValueError if an item is named twice.
    Source: Shapley (1953), Contributions to the Theory of Games II, 307-317.

    >>> def bill(changed):  # a price of 2 and a volume of 10 become 3 and 20
    ...     return (3 if "price" in changed else 2) * (20 if "volume" in changed else 10)
    >>> shapley(bill, ["price", "volume"])
    {'price': 15.0, 'volume': 25.0}
    """
    _refuse_duplicates(items)
    values = {subset: value(subset) for subset in subsets(items)}
    n = len(items)

    def share(item: str) -> float:
        total = 0.0
        for before in values:
            if item in before:
                continue
            orders = factorial(len(before)) * factorial(n - len(before) - 1)
            total += orders * (values[before | {item}] - values[before])
        return total / factorial(n)

    return {item: share(item) for item in items}


def in_order(value: Value, items: Sequence[str]) -> dict[str, float]:
    """The effect of each item when they are changed one after another, in the order given.

    Raises: ValueError if an item is named twice.

    >>> def bill(changed):
    ...     return (3 if "price" in changed else 2) * (20 if "volume" in changed else 10)
    >>> in_order(bill, ["price", "volume"]), in_order(bill, ["volume", "price"])
    ({'price': 10, 'volume': 30}, {'volume': 20, 'price': 20})
    """
    _refuse_duplicates(items)
    steps = [value(frozenset(items[:k])) for k in range(len(items) + 1)]
    return {item: steps[k + 1] - steps[k] for k, item in enumerate(items)}


def subsets(items: Sequence[str]) -> list[frozenset[str]]:
    """All subsets of the items, small ones first.

    >>> [sorted(subset) for subset in subsets(["price", "volume"])]
    [[], ['price'], ['volume'], ['price', 'volume']]
    """
    sizes = range(len(items) + 1)
    return [frozenset(chosen) for size in sizes for chosen in combinations(items, size)]


def _refuse_duplicates(items: Sequence[str]) -> None:
    if twice := sorted({item for item in items if items.count(item) > 1}):
        raise ValueError(f"items named twice: {', '.join(twice)}; name each once")


def request_usage(study: Study, pairs: Iterable[tuple[str, str]]) -> pd.DataFrame:
    """Usage of a route by each workload, at the values of its figures.

    pairs: workload and route. Returns: indexed by workload and route: requests_per_month,
    input_tokens and output_tokens (of a request, as the route's own model counts and writes them),
    cached_input_share, cache_write_share, retry_share, tool_usd (of a request).
    """
    rows = []
    for name, route in pairs:
        d = {key: f.value for key, f in figures_of(inputs(study, name, route, None)).items()}
        rows.append(
            {
                "workload": name,
                "route": route,
                "requests_per_month": study.workloads[name].intake.requests.value,
                "input_tokens": d["input_tokens"] * d["tokenizer"],
                "output_tokens": d["output_tokens"] * d["output_tokens_ratio"],
                **{key: d[key] for key in _SHARES},
                "tool_usd": d["tool_usd"] / 1000,
            }
        )
    columns = ["requests_per_month", "input_tokens", "output_tokens", *_SHARES, "tool_usd"]
    frame = pd.DataFrame(rows, columns=["workload", "route", *columns])
    return frame.set_index(["workload", "route"])


_SHARES = ("cached_input_share", "cache_write_share", "retry_share")


def price_frame(
    offers: Mapping[str, Mapping[str, TokenPrice]], usage: pd.DataFrame
) -> pd.DataFrame:
    """Prices of routes for `cost.month_bills`, at the prompt lengths of a usage.

    offers: by workload and route. usage: `request_usage` of the same.
    Returns: indexed as usage: the columns of `TokenPrice`.
    """
    rows = []
    for name, route in usage.index:
        price = offers[name][route]
        longer = np.array([usage.loc[(name, route), "input_tokens"] / price.input_tokens])
        input_factor, output_factor = (float(x[0]) for x in price.at_lengths(longer))
        inputs_usd = {
            f"{k}_input_usd": getattr(price, f"{k}_input_usd") * input_factor for k in _INPUTS
        }
        rows.append(asdict(price) | inputs_usd | {"output_usd": price.output_usd * output_factor})
    return pd.DataFrame(rows, index=usage.index)


_INPUTS = ("uncached", "cached", "written")

"""Chapter 06: of what does a month consist, on today's API and on a fleet?

Each line is an item of research cost.md 5.1 and 5.2 at its stated value, with the grade of the
figure that decides it; what is paid once is spread over the horizon.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from llmstudy import uncertainty as mc
from llmstudy.assess.market import Market, figures_of, pair_inputs
from llmstudy.cost import TokenPrice, api_usd_per_request, replica_month_usd
from llmstudy.figure import Figure, least_certain
from llmstudy.study import ApiRoute, Study


def cost_items(study: Study, offers: Market, moves: Mapping[str, str]) -> list[dict[str, Any]]:
    """The first month of each workload on today's route and on the route of its move, item by item.

    moves: workload -> route. Rows: workload, route, side (api or self_hosted), item, usd_month,
    grade. Items of a side add up to its bill of the month, once-only costs spread over the horizon
    included; a fleet's hold the whole team.
    """
    rows = []
    for name, target in moves.items():
        current = study.workloads[name].current_route
        figures = figures_of(pair_inputs(study, offers, name, target))
        d = mc.central(figures)
        for route in (current, target):
            offer = offers.offer(name, route)
            if isinstance(offer, TokenPrice):
                seen = mc.of_today(d) if route == current else d
                items = _of_an_api(offer, seen, _premium(study, route))
                side = "api"
            elif isinstance(offer, mc.Fleet):
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
"""Item -> usd a month, and the inputs whose grade it bears ("": a list price)."""


def _grade(figures: Mapping[str, Figure], decide: str, today: bool) -> str:
    """The grade of the least certain of the inputs that decide, of those that are uncertain."""
    names = [mc.TODAY + x if today and mc.TODAY + x in figures else x for x in decide.split()]
    grades = [figures[x].grade for x in names if x == names[0] or figures[x].uncertain]
    return least_certain(grades) if grades else "published"


def _premium(study: Study, route: str) -> float:
    """What a route's region costs, as a factor that is in its prices already."""
    spec = study.routes[route]
    return (
        spec.regional_premium.value if isinstance(spec, ApiRoute) and spec.regional_premium else 1
    )


def _of_an_api(price: TokenPrice, d: mc.Draws, premium: float) -> Items:
    nothing = np.zeros(1)
    prompts, answers = (
        d["requests"]
        * api_usd_per_request(
            price, tokens_in, tokens_out, d["cached_input_share"], d["cache_write_share"]
        )
        for tokens_in, tokens_out in (
            (d["input_tokens"] * d["tokenizer"], nothing),
            (nothing, mc.answer_tokens(d)),
        )
    )
    repeated = d["retry_share"] * (prompts + answers)
    forced = d[f"migration_{price.arm}"] / d[f"model_life_{price.arm}"]
    for_region = (1 - 1 / premium) * (prompts + answers + repeated)
    return {
        "prompts, caching included": (prompts / premium, "input_tokens"),
        "answers, reasoning included": (answers / premium, "output_tokens output_tokens_ratio"),
        "retries": (repeated / premium, "retry_share"),
        **({"regional premium": (for_region, "")} if premium > 1 else {}),
        "tools and search": (d["requests"] * d["tool_usd"] / 1000, "tool_usd"),
        "provisioned throughput": (d["provisioned"], "provisioned"),
        "evaluation at updates": (d["api_evaluation"] / 12, "api_evaluation"),
        "migrations at retirement": (forced, f"model_life_{price.arm}"),
    }


def _of_a_fleet(fleet: mc.Fleet, d: mc.Draws) -> Items:
    carries, rent = (x.ravel() for x in mc.fleet_unit(fleet, d, 1))
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


def _once(offer: mc.Offer, d: mc.Draws, months: int) -> Items:
    requests = mc.volumes(d, months)
    first = mc.at_cutover(mc.month_usd(offer, d, requests, months), mc.served_from(d))
    return {
        "migration, over the horizon": (d["moving_cost"] / months, "moving_cost"),
        "dual running, over the horizon": (mc.dual_months(d, months) * first / months, "ramp"),
    }

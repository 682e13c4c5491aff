"""Chapter 06: how does this month's bill become what staying costs over the horizon?

A reader who multiplies the bill by the months finds less than the memo says. What lies between is
told here part by part, so that the parts add up to the whole.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from llmstudy import uncertainty as mc
from llmstudy.assess.market import Market, inputs, todays_fleets
from llmstudy.attribution import shapley
from llmstudy.cost import TokenPrice
from llmstudy.study import Study

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
"""What changes after this month, and the inputs that hold it. `scheduled`: announced prices;
`discount`: later months are worth less."""

_UNCHANGED = {"drift_proprietary_api": 1.0, "drift_hosted_open": 1.0, "drift_gpu": 1.0}
"""The value of an input whose part is left out, where that is not 0."""


def stay_parts(study: Study, offers: Market, month: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What staying costs over the horizon, part by part. month: `month_usd` of chapter 06.

    `today` is this month's bill times the months; the parts between are each one's share of what
    the stated values add (Shapley: no order of change is favoured); `spread` is what the middle of
    the draws lies above the stated values, where ranges are wider upwards and prices jump.
    Rows: part, usd; they sum to the median of the draws.
    """
    flat = month["today"] * study.months
    adds = shapley(lambda parts: _stay_usd(study, offers, month, parts), list(PARTS))
    between = {part: usd for part, usd in adds.items() if abs(usd) >= 0.5}
    spread = month["horizon"]["p50"] - flat - sum(between.values())
    rows = {"today": flat, **between, "spread": spread}
    return [{"part": part, "usd": usd} for part, usd in rows.items()]


def _stay_usd(
    study: Study, offers: Market, month: Mapping[str, Any], parts: frozenset[str]
) -> float:
    """Bills over the horizon at the stated values, with what these parts change. usd."""
    fleets = todays_fleets(study) & set(month["today_by_workload"])
    rate = study.discount_rate.value if "discount" in parts else 0.0
    worth = mc.discount({"discount_rate": np.array([rate])}, study.months)
    total, team = 0.0, 0.0
    for name in month["today_by_workload"]:
        route = study.workloads[name].current_route
        offer = offers.priced(name, route)
        if isinstance(offer, TokenPrice) and "scheduled" not in parts:
            offer = replace(offer, month_factors=(1.0,))
        known = inputs(study, name, route, offers.fleets.get((name, route)))
        d = {short: np.array([figure.value]) for short, (_, figure) in known.items()}
        for short in (s for part, held in PARTS.items() if part not in parts for s in held):
            d[short] = np.array([_UNCHANGED.get(short, 0.0)])
        bills = mc.month_usd(offer, d, mc.volumes(d, study.months), study.months)
        total += float((bills * worth).sum())
        if name in fleets:  # one team runs them all
            team = float((mc.staff_month_usd(d) * worth).sum())
    return total + team

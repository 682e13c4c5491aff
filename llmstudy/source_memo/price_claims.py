"""T2, the memo's prices and rates: does each agree with the price list of a day?"""

from datetime import date

import numpy as np
import pandas as pd

from llmstudy.figure import FloatArray
from llmstudy.measures.capacity import (
    capacity_at_slo,
    fit_serving_curve,
    gpu,
    model_shape,
    replicas,
    serving_points,
)
from llmstudy.measures.cost import usd_per_million_tokens
from llmstudy.prices import RESERVED_PRICE_SHARE, gpu_prices, rate
from llmstudy.simulate import stepped_crossover
from llmstudy.source_memo.premises import BLEND, GPUS_PER_NODE, Mix, Premises
from llmstudy.source_memo.serving import MODEL, Serving
from llmstudy.units import HOURS_PER_MONTH

Ranges = dict[str, tuple[float, float, str]]
"""Claim -> our low, our high (infinite: never) and how they were computed."""

ROUNDING_SHARE = 0.05
"""The memo's figures are rounded and most carry a tilde: within this they are the same."""

_NAMED = {
    "gpt_4o": ("openai", "gpt-4o"),
    "sonnet_4": ("anthropic", "claude-sonnet-4-20250514"),
}

_QUERIES_PER_MONTH = 1e6 * HOURS_PER_MONTH / 24
_GPUS = 2  # H100 per replica of the 70B in FP8: the fewest that were measured


def price_claims(
    claims: pd.DataFrame,
    models: pd.DataFrame,
    on: date,
    premises: Premises,
    mix: Mix,
    serving: Serving,
    card_rate: tuple[float, float],
    peak_to_mean: float,
    target_utilisation: float,
    tpot_slo_s: float,
) -> pd.DataFrame:
    """Each claim of the memo against our range of the same figure, at the prices of the day `on`.

    claims: as `memo_claims`. models: as `memo_models`, those sold on the day. mix: tokens of a
    query, where the memo gives none. serving, card_rate, peak_to_mean, target_utilisation: as in
    `cost_table` and `explanations`.
    tpot_slo_s: of the H100 cluster. GPU quotes bear no date of 2025: they are today's on any day.
    Returns: as `check`, with the column on. Raises: PriceError for a model without a price.
    """
    listed = [rate(row["provider"], row["model"], on) for row in models.to_dict("records")]
    rates = models.assign(
        input_usd=[each.input_usd_per_mtok for each in listed],
        output_usd=[each.output_usd_per_mtok for each in listed],
    )
    ranges = {
        **_named_ranges(on),
        **_api_ranges(rates, mix),
        **_cluster_ranges(mix, peak_to_mean, target_utilisation, tpot_slo_s),
        **_node_ranges(premises, card_rate),
        **_crossover_ranges(rates, premises, mix, serving, peak_to_mean, target_utilisation),
    }
    return check(claims, ranges).assign(on=on)


def check(claims: pd.DataFrame, ranges: Ranges) -> pd.DataFrame:
    """The claims beside our ranges. Columns: id, who, claim, unit, claim_low, claim_high, ours_low,
    ours_high (NaN: never, or not known), agrees, why, source.

    agrees: yes where all of our range lies within the claim, or a claimed point within our range
    (either within its rounding); partly where they overlap; no where they do not; not checkable
    where nothing bundled speaks of it.
    """
    rows = []
    for row in claims.to_dict("records"):
        low, high, why = ranges.get(
            row["id"], (np.nan, np.nan, "no bundled evidence speaks of it but the memo itself")
        )
        rows.append(
            {
                "id": row["id"],
                "who": row["who"],
                "claim": row["claim"],
                "unit": row["unit"],
                "claim_low": row["low"],
                "claim_high": row["high"],
                "ours_low": low if np.isfinite(low) else np.nan,
                "ours_high": high if np.isfinite(high) else np.nan,
                "agrees": _agrees(row["low"], row["high"], low, high),
                "why": why,
                "source": row["source"],
            }
        )
    return pd.DataFrame(rows)


def _agrees(claim_low: float, claim_high: float, low: float, high: float) -> str:
    if np.isnan(low):
        return "not checkable"
    least, most = claim_low * (1 - ROUNDING_SHARE), claim_high * (1 + ROUNDING_SHARE)
    if high < least or most < low:
        return "no"
    point_inside = claim_low == claim_high
    return "yes" if point_inside or (least <= low and high <= most) else "partly"


# --- our ranges -----------------------------------------------------------------------------------


def _named_ranges(on: date) -> Ranges:
    """The models that the memo names, whatever is sold beside them."""
    ranges: Ranges = {}
    for claim, (provider, model) in _NAMED.items():
        price = rate(provider, model, on)
        for side in ("input", "output"):
            usd = float(getattr(price, f"{side}_usd_per_mtok"))
            ranges[f"{claim}_{side}"] = (usd, usd, f"list price of {model}")
    return ranges


def _api_ranges(rates: pd.DataFrame, mix: Mix) -> Ranges:
    """What the price list says, with no serving curve."""
    tiers = {role: rows.to_dict("records") for role, rows in rates.groupby("role")}
    frontier = {row["provider"]: row["output_usd"] for row in tiers["frontier"]}
    ratios = {row["model"]: frontier[row["provider"]] / row["output_usd"] for row in tiers["small"]}
    listing = ", ".join(f"{model} {ratio:.1f}" for model, ratio in ratios.items())
    ranges: Ranges = {}
    ranges["small_tier"] = (min(ratios.values()), max(ratios.values()), f"output price: {listing}")
    apis = rates[rates["role"] != "managed_open"].sort_values("input_usd", kind="stable")
    inputs = apis["input_usd"]
    ranges["api_input"] = (
        float(inputs.iloc[0]),
        float(inputs.iloc[-1]),
        f"input price of {len(apis)} models; the cheapest is {apis['model'].iloc[0]}",
    )
    hosts = rates[rates["role"] == "managed_open"]
    blends = _blended(BLEND, hosts)
    ranges["managed_open_tokens"] = (
        float(blends.min()),
        float(blends.max()),
        f"Llama 70B at {len(hosts)} hosts, blended 3:1",
    )
    per_query = _blended(mix, apis) * mix.tokens / 1e6
    ranges["million_queries"] = (
        float(per_query.min() * _QUERIES_PER_MONTH),
        float(per_query.max() * _QUERIES_PER_MONTH),
        f"{_QUERIES_PER_MONTH / 1e6:.1f}M queries of {mix.input_tokens:.0f} tokens in and "
        f"{mix.output_tokens:.0f} out, output tokens included",
    )
    return ranges


def _blended(mix: Mix, rates: pd.DataFrame) -> FloatArray:
    """USD per Mtok of each model at a mix. (n,)."""
    sides = zip(rates["input_usd"], rates["output_usd"], strict=True)
    return np.array([mix.usd_per_mtok(*pair) for pair in sides])


def _cluster_ranges(
    mix: Mix, peak_to_mean: float, target_utilisation: float, tpot_slo_s: float
) -> Ranges:
    """An H100 cluster by measured points, between the cheapest and the dearest quote."""
    card = gpu("h100_sxm")
    points = serving_points(MODEL, card.gpu, "fp8")
    curve = fit_serving_curve(points, model_shape(MODEL), card, "fp8")
    capacity = capacity_at_slo(curve, mix.input_tokens, mix.output_tokens, tpot_slo_s, _GPUS)
    quotes = gpu_prices().query("gpu == @card.gpu and commitment == 'on_demand'")
    hour = quotes["usd_per_gpu_hour"].to_numpy(dtype=float) * _GPUS
    full = np.asarray(usd_per_million_tokens(hour, capacity.requests_per_s * 3600, mix.tokens))
    busy = target_utilisation / peak_to_mean
    running = int(
        replicas(
            _QUERIES_PER_MONTH / (HOURS_PER_MONTH * 3600) * peak_to_mean,
            capacity.requests_per_s,
            target_utilisation,
        )
    )
    return {
        "self_hosted_tokens": (
            float(full.min()),
            float(full.max() / busy),
            f"Llama 70B in FP8 on {_GPUS} H100 at USD {quotes['usd_per_gpu_hour'].min():g} to "
            f"{quotes['usd_per_gpu_hour'].max():g} per GPU-hour by today's quotes, "
            f"staff apart: always full at the cheapest host, {busy:.0%} busy at the dearest",
        ),
        "cluster": (
            float(running * hour.min() * HOURS_PER_MONTH),
            float(running * hour.max() * HOURS_PER_MONTH),
            f"{running} replicas of {_GPUS} H100 carry the peak hour of 1M queries a day with one "
            "spare, by today's quotes, staff apart",
        ),
    }


def _node_ranges(premises: Premises, card_rate: tuple[float, float]) -> Ranges:
    """The memo's instance by its own hourly price, and its card by our curve."""
    month, reserved = premises.node_month_usd, RESERVED_PRICE_SHARE
    assert reserved.low is not None
    assert reserved.high is not None
    return {
        "node_on_demand": (
            month,
            month,
            f"{GPUS_PER_NODE} GPUs at USD {premises.usd_per_gpu_hour:.2f} for "
            f"{HOURS_PER_MONTH:.0f} hours",
        ),
        "node_reserved": (
            month * reserved.low,
            month * reserved.high,
            f"{reserved.low:.0%} to {reserved.high:.0%} of the month on demand",
        ),
        "card_rate": (
            *card_rate,
            "the most of an A100 of 80 GB by our curve, INT4, no latency target (grade assumed)",
        ),
    }


def _crossover_ranges(
    rates: pd.DataFrame,
    premises: Premises,
    mix: Mix,
    serving: Serving,
    peak_to_mean: float,
    target_utilisation: float,
) -> Ranges:
    """Tokens a month from which whole p4d instances and their engineers stay cheaper."""

    def crossover(usd_per_mtok: float, node_usd: float, staff_usd: float, rate_: float) -> float:
        replicas_per_node = GPUS_PER_NODE // serving.gpus_per_replica
        carried = rate_ * replicas_per_node * target_utilisation / peak_to_mean
        requests = stepped_crossover(
            per_request=np.array([usd_per_mtok * mix.tokens / 1e6]),
            per_replica=np.array([node_usd]),
            carries=np.array([carried * HOURS_PER_MONTH * 3600]),
            spare=0,  # the spare replica is one of the instance's four
            fixed=np.array([staff_usd]),
            cap=np.inf,
        )
        return float(requests[0]) * mix.tokens

    def between(role: str) -> tuple[float, float]:
        tier = rates[rates["role"] == role]
        blended = np.concatenate([_blended(mix, tier), _blended(BLEND, tier)])
        staff_low, staff_high = premises.staff_month_usd
        best = (premises.reserved_node_month_usd, staff_low, serving.requests_per_s_high)
        worst = (premises.node_month_usd, staff_high, serving.requests_per_s_low)
        return crossover(blended.max(), *best), crossover(blended.min(), *worst)

    basis = "p4d instances with one to two engineers, sized for the peak hour"
    small = rates["role"] == "small"
    mini = rates[small & (rates["provider"] == "openai")].assign(role="mini")
    rates = pd.concat([rates, mini])
    pairs = {f"{tier}_crossover": between(tier) for tier in ("frontier", "mini")}
    per_mtok = premises.quoted_month_usd / premises.mini_output_usd_per_mtok
    return {
        **{claim: (*pair, basis + _never(pair)) for claim, pair in pairs.items()},
        "matrix_crossover": (
            per_mtok * 1e6,
            2 * per_mtok * 1e6,
            f"where the memo's own table crosses: USD {premises.quoted_month_usd:,.0f}, or twice "
            f"that, at {premises.mini_output_usd_per_mtok:.2f} per Mtok",
        ),
    }


def _never(pair: tuple[float, float]) -> str:
    if np.isfinite(pair[1]):
        return ""
    which = "at worst" if np.isfinite(pair[0]) else "even at best"
    return f"; {which} a full instance does not earn its rent: never"

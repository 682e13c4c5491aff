"""Compares the source memo's claims with list prices and with our serving curves."""

from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from llmstudy.measures.capacity import (
    CannotServe,
    ServingCurve,
    capacity_at_slo,
    fit_serving_curve,
    gpu,
    gpu_fit,
    model_shape,
    serving_points,
)
from llmstudy.prices import rate

MEMO_DATE = date(2025, 6, 1)
"""The memo has no date, but its prices (GPT-4o, Claude Sonnet 4, p4d before the cut of June 2025)
are those of mid-2025."""

GPUS_PER_NODE = 8
"""A p4d.24xlarge has eight A100 of 40 GB (AWS EC2 P4); none of 80 GB is sold one by one."""

MODEL = "meta-llama/Llama-3.1-70B"

MEASURED_ON = ("h100_sxm", "h200_sxm")
"""The GPUs with bundled FP8 points of the model."""

UNTESTED_SHARE = 0.5
"""Error either way of an untested configuration (cost.md 4.2)."""

ROUNDING_SHARE = 0.05
"""Figures within this share are equal: the memo's are rounded, and most have a tilde."""


def list_prices(models: pd.DataFrame) -> pd.DataFrame:
    """Adds list prices in USD per million tokens: input_usd, output_usd.

    models: columns provider, model, on (a day). Raises: PriceError for a model without a price.

    >>> mini = pd.DataFrame({"provider": ["openai"], "model": ["gpt-4o-mini"], "on": [MEMO_DATE]})
    >>> list_prices(mini)[["input_usd", "output_usd"]].values.tolist()
    [[0.15, 0.6]]
    """
    rates = [rate(*row) for row in models[["provider", "model", "on"]].itertuples(index=False)]
    return models.assign(
        input_usd=[each.input_usd_per_mtok for each in rates],
        output_usd=[each.output_usd_per_mtok for each in rates],
    )


def serving_rates(replicas: pd.DataFrame) -> pd.DataFrame:
    """The throughput of a replica of the 70B model by our serving curves, with its range.

    A GPU that was measured has its own curve. No points on an A100 are bundled: for it the curves
    of H100 and H200 are combined with its data sheet, with a range of `UNTESTED_SHARE` either way
    and the grade *assumed*, since no such transfer to Ampere or INT4 was checked by measurement.

    replicas: gpu, gpus, precision, input_tokens, output_tokens, tpot_slo_s (NaN: no latency target,
    as many requests at once as the KV cache holds).
    Returns: the replicas with requests_per_s_low, requests_per_s_high, outside (settings beyond the
    measured) and grade. Raises: CannotServe if one cannot run, or not within its target.
    """
    return replicas.join(pd.DataFrame([_rates(row) for row in replicas.to_dict("records")]))


def _rates(row: dict[Any, Any]) -> dict[str, Any]:
    measured = row["gpu"] in MEASURED_ON
    card, shape = gpu(row["gpu"]), model_shape(MODEL)
    rates, outside = [], [] if measured else ["gpu", "precision"]
    for name in [card.gpu] if measured else MEASURED_ON:
        curve = fit_serving_curve(serving_points(MODEL, name, "fp8"), shape, gpu(name), "fp8")
        requests_per_s, beyond = _max_rate(
            replace(curve, gpu=card, precision=row["precision"]), row
        )
        rates.append(requests_per_s)
        outside += beyond
    share = 0.0 if measured else UNTESTED_SHARE
    return {
        "requests_per_s_low": min(rates) * (1 - share),
        "requests_per_s_high": max(rates) * (1 + share),
        "outside": ", ".join(dict.fromkeys(outside)),
        "grade": "published" if measured else "assumed",
    }


def _max_rate(curve: ServingCurve, row: dict[Any, Any]) -> tuple[float, tuple[str, ...]]:
    """Highest requests/s of a replica within its target, and the settings beyond the measured."""
    lengths = row["input_tokens"], row["output_tokens"]
    if row["tpot_slo_s"] > 0:
        at_slo = capacity_at_slo(curve, *lengths, row["tpot_slo_s"], row["gpus"])
        return at_slo.requests_per_s, at_slo.outside
    at = (int(curve.max_concurrency(*lengths, row["gpus"])), *lengths, row["gpus"])
    return float(curve.max_requests_per_s(*at)), curve.hull.outside(*at)


def memory_fits(replicas: pd.DataFrame) -> pd.DataFrame:
    """Adds whether the 70B model fits: fits, kv_gib (left for the KV cache) and why (it does not).

    replicas: columns gpu, gpus, precision.

    >>> cards = pd.DataFrame({"gpu": ["a100_40gb_sxm", "a100_80gb_sxm"], "gpus": 1})
    >>> memory_fits(cards.assign(precision="int4"))["fits"].tolist()
    [False, True]
    """
    rows = []
    for gpu_name, gpus, precision in replicas[["gpu", "gpus", "precision"]].itertuples(index=False):
        try:
            left = gpu_fit(model_shape(MODEL), gpu(gpu_name), precision, gpus)
        except CannotServe as error:
            rows.append({"fits": False, "kv_gib": 0.0, "why": str(error)})
        else:
            rows.append({"fits": True, "kv_gib": left, "why": ""})
    return replicas.join(pd.DataFrame(rows))


def agreement(claims: pd.DataFrame) -> pd.DataFrame:
    """Adds `agrees`: whether the range of each claim agrees with ours.

    claims: claim_low, claim_high; ours_low, ours_high (infinite: never; NaN: no bundled data).
    agrees: yes if our range lies within the claimed one, or a claimed value within our range (both
    up to rounding); partly if the ranges overlap; no if they do not; else not checkable.

    >>> claims = pd.DataFrame({"claim_low": [2.0, 2.0], "claim_high": 5.0, "ours_low": [2.2, 6.0]})
    >>> agreement(claims.assign(ours_high=7.0))["agrees"].tolist()
    ['partly', 'no']
    """
    least = claims["claim_low"] * (1 - ROUNDING_SHARE)
    most = claims["claim_high"] * (1 + ROUNDING_SHARE)
    low, high = claims["ours_low"], claims["ours_high"]
    apart = (high < least) | (low > most)
    point = claims["claim_low"] == claims["claim_high"]
    inside = point | ((low >= least) & (high <= most))
    answers = ["not checkable", "no", "yes"]
    return claims.assign(agrees=np.select([low.isna(), apart, inside], answers, "partly"))

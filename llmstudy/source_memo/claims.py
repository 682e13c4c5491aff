"""Do the source memo's claims of prices and rates hold at list prices and on our serving curves?"""

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
"""The memo bears no date. Its prices (GPT-4o, Claude Sonnet 4, p4d before the cut of June 2025)
are those of mid-2025."""

GPUS_PER_NODE = 8
"""A p4d.24xlarge is eight A100 of 40 GB (AWS EC2 P4 instances); none of 80 GB is sold singly."""

MODEL = "meta-llama/Llama-3.1-70B"

MEASURED_ON = ("h100_sxm", "h200_sxm")
"""The GPUs whose FP8 points of the model are bundled, of the same family of engines."""

UNTESTED_SHARE = 0.5
"""Plus or minus: the honest default for an untested configuration (cost.md 4.2)."""

ROUNDING_SHARE = 0.05
"""The memo's figures are rounded and most carry a tilde: within this they are the same."""


def list_prices(models: pd.DataFrame) -> pd.DataFrame:
    """The models with their list prices, USD per million tokens: input_usd, output_usd.

    models: provider, model, on (a day). Raises: PriceError for a model without a price that day.

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
    """What a replica of the 70B carries by our serving curves, between their low and their high.

    A GPU that was measured has its own curve. No point on an A100 is bundled: the curves of H100
    and H200 are transferred to its data sheet, plus and minus `UNTESTED_SHARE`, since no transfer
    to Ampere or to INT4 was ever tested against a measurement; the grade is *assumed*.

    replicas: gpu, gpus, precision, input_tokens, output_tokens, tpot_slo_s (NaN: no latency target,
    as many requests at once as the KV cache holds).
    Returns: the replicas with requests_per_s_low, requests_per_s_high, outside (what lies beyond
    the measured) and grade. Raises: CannotServe where one cannot run, or not within its target.
    """
    return replicas.join(pd.DataFrame([_rates(row) for row in replicas.to_dict("records")]))


def _rates(row: dict[Any, Any]) -> dict[str, Any]:
    measured = row["gpu"] in MEASURED_ON
    card, shape = gpu(row["gpu"]), model_shape(MODEL)
    rates, outside = [], [] if measured else ["gpu", "precision"]
    for name in [card.gpu] if measured else MEASURED_ON:
        curve = fit_serving_curve(serving_points(MODEL, name, "fp8"), shape, gpu(name), "fp8")
        rate_, beyond = _most(replace(curve, gpu=card, precision=row["precision"]), row)
        rates.append(rate_)
        outside += beyond
    share = 0.0 if measured else UNTESTED_SHARE
    return {
        "requests_per_s_low": min(rates) * (1 - share),
        "requests_per_s_high": max(rates) * (1 + share),
        "outside": ", ".join(dict.fromkeys(outside)),
        "grade": "published" if measured else "assumed",
    }


def _most(curve: ServingCurve, row: dict[Any, Any]) -> tuple[float, tuple[str, ...]]:
    """The most requests/s of a replica within its target, and what lies outside the measured."""
    lengths = row["input_tokens"], row["output_tokens"]
    if row["tpot_slo_s"] > 0:
        at_slo = capacity_at_slo(curve, *lengths, row["tpot_slo_s"], row["gpus"])
        return at_slo.requests_per_s, at_slo.outside
    at = (int(curve.max_concurrency(*lengths, row["gpus"])), *lengths, row["gpus"])
    return float(curve.max_requests_per_s(*at)), curve.hull.outside(*at)


def memory_fits(replicas: pd.DataFrame) -> pd.DataFrame:
    """Does the 70B fit? replicas: gpu, gpus, precision. Adds kv_gib, left for the KV cache, or why.

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
    """Adds `agrees`: does the range of each claim agree with ours of the same figure?

    claims: claim_low, claim_high; ours_low, ours_high (infinite: never; NaN: nothing bundled speaks
    of it). yes where all of our range lies within the claim, or a claimed point within our range
    (either within its rounding); partly where they overlap; no where they do not; not checkable.

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

"""At how many tokens a month would each advisor move a workload? Their three units, in one."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from llmstudy import paths
from llmstudy.evidence.case import Results, rows_of
from llmstudy.study import Study
from llmstudy.units import DAYS_PER_MONTH

_MONTHS_PER_YEAR = 12


def crossover_claims() -> pd.DataFrame:
    """Every volume or spend at which an advisor would move, as in `crossover_claims.csv`.

    Columns: who, claim, low, high, unit, baseline (frontier, mini, or any if the advisor names no
    model), source.
    """
    return pd.read_csv(paths.data("crossover_claims.csv"))


def api_bill(results: Results, workload: str) -> Mapping[str, Any] | None:
    """Today's bill if it is a token bill, else the cheapest token bill of the workload, else None.

    results: of chapter 02.
    """
    bills = rows_of(results["02_cost"]["bills"], workload=workload)
    return min(bills, key=lambda row: (not row["current"], row["usd_per_request"]), default=None)


def claims_by_workload(study: Study, results: Results) -> pd.DataFrame:
    """The advisors' thresholds in tokens a month, for each workload that an API could bill.

    results: of chapter 02. Columns: as `claims_in_tokens`, workload, route.
    """
    rows = []
    for name, workload in study.workloads.items():
        if bill := api_bill(results, name):
            tokens = workload.intake.input_tokens.value + workload.intake.output_tokens.value
            table = claims_in_tokens(crossover_claims(), tokens, bill["usd_per_request"])
            rows.append(table.assign(workload=name, route=bill["route"]))
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame()


def claims_in_tokens(
    claims: pd.DataFrame, tokens_per_request: float, usd_per_request: float
) -> pd.DataFrame:
    """The advisors' thresholds in tokens a month, for a workload with these lengths and this price.

    claims: as `crossover_claims`, in tokens/month, tokens/day, requests/month, USD/month or
    USD/year. tokens_per_request: input and output. usd_per_request: today's bill per request; if it
    is 0, a claim in USD is never reached (NaN).
    Returns: who, claim, low, high (tokens/month), unit_note (how it was converted), baseline,
    source.
    Raises: ValueError for another unit, no tokens per request, or a negative price.

    >>> spend = pd.DataFrame([{"who": "Architect", "claim": "API spend", "low": 1e4, "high": 1e4,
    ...                        "unit": "USD/month", "baseline": "any", "source": "G"}])
    >>> claims_in_tokens(spend, 1366, 0.005)["low"].tolist()
    [2732000000.0]
    """
    if not (tokens_per_request > 0 and usd_per_request >= 0):
        raise ValueError(
            "claims_in_tokens: give tokens per request above 0 and a bill of 0 or more"
        )
    per_usd = tokens_per_request / usd_per_request if usd_per_request else float("nan")
    at_price = f"at USD {usd_per_request:.4g} and {tokens_per_request:,.0f} tokens a request"
    factors = {
        "tokens/month": (1.0, "as stated"),
        "tokens/day": (DAYS_PER_MONTH, f"{DAYS_PER_MONTH:.1f} days a month"),
        "requests/month": (tokens_per_request, f"at {tokens_per_request:,.0f} tokens a request"),
        "USD/month": (per_usd, at_price),
        "USD/year": (per_usd / _MONTHS_PER_YEAR, f"a twelfth a month, {at_price}"),
    }
    if strange := sorted(set(claims["unit"]) - set(factors)):
        raise ValueError(
            f"claims_in_tokens: unknown unit {strange[0]!r}; write one of {', '.join(factors)}"
        )
    factor = claims["unit"].map({unit: number for unit, (number, _) in factors.items()})
    return pd.DataFrame(
        {
            "who": claims["who"],
            "claim": claims["claim"],
            "low": claims["low"] * factor,
            "high": claims["high"] * factor,
            "unit_note": claims["unit"].map({unit: note for unit, (_, note) in factors.items()}),
            "baseline": claims["baseline"],
            "source": claims["source"],
        }
    )

"""Prices of API requests and of GPU hours on a given date.

`api` reads the price lists of APIs and the dated changes of a rate, `billing` prices requests with
them; `gpu` has quotes for rented GPUs and the cost of owned ones; `model_names` compares names of
models. All raise `PriceError` rather than guess, and report changes and doubtful prices as
`Finding`s for the date that the caller gives. Nothing here reads the clock or the network.
"""

from llmstudy.prices.api import (
    ApiRate,
    Finding,
    Listing,
    PriceError,
    Severity,
    check_listed,
    embedding_usd_per_mtok,
    listings,
    price_findings,
    rate,
    retirement,
    scheduled_changes,
)
from llmstudy.prices.billing import Bill, PricedModel, bill_requests, bill_total, price_requests
from llmstudy.prices.gpu import (
    RESERVED_PRICE_SHARE,
    gpu_price,
    gpu_price_findings,
    gpu_prices,
)
from llmstudy.prices.model_names import same_model, same_weights

__all__ = [
    "RESERVED_PRICE_SHARE",
    "ApiRate",
    "Bill",
    "Finding",
    "Listing",
    "PriceError",
    "PricedModel",
    "Severity",
    "bill_requests",
    "bill_total",
    "check_listed",
    "embedding_usd_per_mtok",
    "gpu_price",
    "gpu_price_findings",
    "gpu_prices",
    "listings",
    "price_findings",
    "price_requests",
    "rate",
    "retirement",
    "same_model",
    "same_weights",
    "scheduled_changes",
]

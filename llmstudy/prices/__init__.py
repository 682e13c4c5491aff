"""What does a request cost at an API, what does a GPU hour cost, and until when?

`api` reads the price lists of APIs and the dated changes of a rate, `billing` prices requests at
them; `gpu` has quotes for rented GPUs and the cost of owned ones. All raise `PriceError` rather
than guess, and list changes and doubts as `Finding`s, judged at the date that the caller gives.
`model_names` compares names of models. Nothing here reads a clock or the network.
"""

from llmstudy.prices.api import (
    ApiRate,
    Finding,
    Listing,
    PriceError,
    Severity,
    check_listed,
    listings,
    price_findings,
    rate,
    retirement,
    scheduled_changes,
)
from llmstudy.prices.billing import PricedModel, bill_requests, price_requests
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
    "Finding",
    "Listing",
    "PriceError",
    "PricedModel",
    "Severity",
    "bill_requests",
    "check_listed",
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

"""What does a request cost at an API, what does a GPU hour cost, and until when?

`api` prices requests by their tokens and lists the dated changes of a rate; `gpu` has quotes for
rented GPUs and the cost of owned ones. Both raise `PriceError` rather than guess, and list changes
and doubts as `Finding`s, judged at the date that the caller gives. `model_names` compares names of
models. Nothing here reads a clock or the network.
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
    price_requests,
    rate,
    retirement,
    scheduled_changes,
)
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
    "Severity",
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

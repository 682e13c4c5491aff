"""What does a request cost at an API, what does a GPU hour cost, and how long will that hold?

`api` prices requests by their tokens and knows the dated changes of a rate; `gpu` holds quotes for
rented GPUs. Both raise `PriceError` rather than guess, and tell what a reader must know as
`Finding`s, judged at the date that the caller gives. `model_names` tells two names of one model.

Bills of a workload and the cost of a fleet are in `cost`; how prices may drift is in
`uncertainty`. Nothing here reads a clock or dials out.
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

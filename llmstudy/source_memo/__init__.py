"""What did the source memo say of cost, and what do our functions say?

`tables` loads its figures; `premises` holds what its cost table rests on; `serving` is what one
A100 carries by our serving curve; `cost_table` reproduces T1 and explains where we differ;
`price_claims` checks T2 against the price list of a day; `crossovers` turns every advisor's
threshold into tokens a month.

What the advisors' rules would have decided is in `triggers`; no study is known here.
"""

from llmstudy.source_memo.cost_table import cost_table, explanations
from llmstudy.source_memo.crossovers import claims_in_tokens
from llmstudy.source_memo.premises import Mix, Premises, premises
from llmstudy.source_memo.price_claims import check, price_claims
from llmstudy.source_memo.serving import (
    Serving,
    a100,
    a100_serving,
    card_rates,
    memory_fits,
    most_tokens_per_request,
)
from llmstudy.source_memo.tables import (
    MEMO_DATE,
    crossover_claims,
    memo_claims,
    memo_models,
    memo_table,
    ranges_of,
)

__all__ = [
    "MEMO_DATE",
    "Mix",
    "Premises",
    "Serving",
    "a100",
    "a100_serving",
    "card_rates",
    "check",
    "claims_in_tokens",
    "cost_table",
    "crossover_claims",
    "explanations",
    "memo_claims",
    "memo_models",
    "memo_table",
    "memory_fits",
    "most_tokens_per_request",
    "premises",
    "price_claims",
    "ranges_of",
]

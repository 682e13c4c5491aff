"""What the memo's cost table rests on: its instance, its staff, and the list price of its API."""

from dataclasses import dataclass

import pandas as pd

from llmstudy.measures.cost import replica_month_usd
from llmstudy.prices import ApiRate
from llmstudy.prices.gpu import committed_usd_per_gpu_hour
from llmstudy.source_memo.tables import ranges_of

GPUS_PER_NODE = 8
"""A p4d.24xlarge is eight A100 of 40 GB (AWS EC2 P4 instances); none of 80 GB is sold singly."""


@dataclass(frozen=True)
class Mix:
    """Mean tokens of a request, with the share of them that is input.

    >>> mix = Mix(1155, 211)
    >>> mix.tokens, round(mix.usd_per_mtok(0.15, 0.60), 2)
    (1366, 0.22)
    """

    input_tokens: float
    output_tokens: float

    @property
    def tokens(self) -> float:
        """Input and output tokens of a request."""
        return self.input_tokens + self.output_tokens

    def usd_per_mtok(self, input_usd_per_mtok: float, output_usd_per_mtok: float) -> float:
        """Blended price of a million tokens at this mix."""
        usd = self.input_tokens * input_usd_per_mtok + self.output_tokens * output_usd_per_mtok
        return usd / self.tokens


BLEND = Mix(3, 1)
"""Three tokens in for one out: the mix at which price lists are usually compared."""


@dataclass(frozen=True)
class Premises:
    """The memo's premises. Pairs are (low, high).

    `reserved_price_share` is the memo's own: its reserved month, `quoted_month_usd`, over its month
    on demand.
    """

    usd_per_gpu_hour: float
    quoted_month_usd: float
    reserved_price_share: float
    engineer_usd_per_year: tuple[float, float]
    engineers: tuple[float, float]
    mini_input_usd_per_mtok: float
    mini_output_usd_per_mtok: float

    @property
    def node_month_usd(self) -> float:
        """One instance on demand for a month: the memo's 23,000."""
        return float(replica_month_usd(self.usd_per_gpu_hour, GPUS_PER_NODE, 0.0))

    @property
    def reserved_node_month_usd(self) -> float:
        """One reserved instance for a month: the memo's 14,000."""
        hour = committed_usd_per_gpu_hour(
            self.usd_per_gpu_hour, self.reserved_price_share, 0.0, 0.0, 1.0, 0.0
        )
        return float(replica_month_usd(hour, GPUS_PER_NODE, 0.0))

    @property
    def staff_month_usd(self) -> tuple[float, float]:
        """The engineers that the memo asks for, a month."""
        low, high = zip(self.engineers, self.engineer_usd_per_year, strict=True)
        return low[0] * low[1] / 12, high[0] * high[1] / 12


def premises(claims: pd.DataFrame, mini: ApiRate, usd_per_gpu_hour: float) -> Premises:
    """The premises from the memo's claims, the mini tier's rate and the rent of one of its GPUs.

    claims: as `memo_claims`. mini: its rate on the memo's date.
    """
    claim_ranges = ranges_of(claims)
    return Premises(
        usd_per_gpu_hour=usd_per_gpu_hour,
        quoted_month_usd=claim_ranges["node_reserved"][0],
        reserved_price_share=claim_ranges["node_reserved"][0] / claim_ranges["node_on_demand"][0],
        engineer_usd_per_year=claim_ranges["engineer"],
        engineers=claim_ranges["engineers"],
        mini_input_usd_per_mtok=mini.input_usd_per_mtok,
        mini_output_usd_per_mtok=mini.output_usd_per_mtok,
    )

"""What would each control of today's bill save (MEMO S10)?

Token budgets, compressed context, caching, retries, quotas for tenants, and a cap on requests that
would multiply in loops: each is one change of one input, priced on the requests as they are, so
that no two savings add up where they touch the same tokens.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from llmstudy.cost import TokenPrice, api_usd_per_request
from llmstudy.figure import Figure

CONTROLS = {
    "token budget": "control.output_factor",
    "compressed context": "control.input_factor",
    "caching": "control.cached_input_share",
    "retry budget": "control.retry_share",
    "tenant quota": "control.tenant_share",
    "cap on loops": "control.loop_factor",
}
"""The controls, and the bundled figure that says how far each goes."""


@dataclass(frozen=True)
class Use:
    """How a workload uses its API today. Requests a month, mean tokens of a request, shares.

    largest_tenant_share: of the requests; None where the log names no tenants.
    """

    requests: float
    input_tokens: float
    output_tokens: float
    cached_input_share: float
    cache_write_share: float
    retry_share: float
    largest_tenant_share: float | None

    def month_usd(self, price: TokenPrice) -> float:
        """The month's bill for tokens."""
        per_request = api_usd_per_request(
            price,
            self.input_tokens,
            self.output_tokens,
            self.cached_input_share,
            self.cache_write_share,
            self.retry_share,
        )
        return float(self.requests * per_request)


def controlled(use: Use, control: str, to: float) -> tuple[Use, Use] | None:
    """The use with and without a control that goes as far as `to`; None where nothing is known.

    A control never makes things worse: a cache that is fuller already, or a retry share below the
    budget, stays as it is. Without the cap on loops requests would multiply by `to`.

    >>> use = Use(1e6, 1000, 200, 0.2, 0.0, 0.04, None)
    >>> without, under = controlled(use, "caching", 0.5)
    >>> without.cached_input_share, under.cached_input_share
    (0.2, 0.5)
    """
    if control == "token budget":
        return use, replace(use, output_tokens=use.output_tokens * min(to, 1.0))
    if control == "compressed context":
        return use, replace(use, input_tokens=use.input_tokens * min(to, 1.0))
    if control == "caching":
        room = 1 - use.cache_write_share
        return use, replace(use, cached_input_share=max(use.cached_input_share, min(to, room)))
    if control == "retry budget":
        return use, replace(use, retry_share=min(use.retry_share, to))
    if control == "cap on loops":
        return replace(use, requests=use.requests * max(to, 1.0)), use
    if control == "tenant quota":
        if use.largest_tenant_share is None:
            return None
        over = max(use.largest_tenant_share - to, 0.0)
        return use, replace(use, requests=use.requests * (1 - over))
    raise ValueError(f'"{control}" is no control: write one of {", ".join(CONTROLS)}.')


def control_savings(price: TokenPrice, use: Use, figures: Mapping[str, Figure]) -> pd.DataFrame:
    """What each control saves a month, at the ends of its figure and at its value.

    figures: by name, those of `CONTROLS`.
    Returns: control, to (how far it goes), unit, saving_usd, saving_low_usd, saving_high_usd (null
    where nothing is known), share_of_bill (null too where nothing is billed), grade.
    """
    rows, bill = [], use.month_usd(price)
    for control, name in CONTROLS.items():
        figure = figures[name]
        saved = [_saving(price, use, control, to) for to in _ends(figure)]
        known = [x for x in saved if x is not None]
        rows.append(
            {
                "control": control,
                "to": figure.value,
                "unit": figure.unit,
                "saving_usd": saved[0],
                "saving_low_usd": min(known, default=None),
                "saving_high_usd": max(known, default=None),
                "share_of_bill": saved[0] / bill if saved[0] is not None and bill else None,
                "grade": figure.grade,
            }
        )
    return pd.DataFrame(rows)


def _ends(figure: Figure) -> list[float]:
    return [figure.value, *(x for x in (figure.low, figure.high) if x is not None)]


def _saving(price: TokenPrice, use: Use, control: str, to: float) -> float | None:
    pair = controlled(use, control, to)
    return None if pair is None else pair[0].month_usd(price) - pair[1].month_usd(price)


def largest_tenant_share(requests: pd.DataFrame) -> float | None:
    """Share of the requests that the busiest tenant makes; None where no row names one.

    >>> largest_tenant_share(pd.DataFrame({"tenant": ["a", "a", "b", None]}))
    0.6666666666666666
    """
    if "tenant" not in requests or requests["tenant"].notna().sum() == 0:
        return None
    return float(np.max(requests["tenant"].value_counts(normalize=True)))

"""The source memo's own figures, as it prints them."""

from datetime import date
from typing import Literal

import pandas as pd

from llmstudy import paths

MEMO_DATE = date(2025, 6, 1)
"""The memo bears no date. Its prices (GPT-4o, Claude Sonnet 4, p4d before the cut of June 2025)
are those of mid-2025."""


def memo_table() -> pd.DataFrame:
    """T1: tokens a month against cost.

    Columns: tokens_per_month, open_ended (yes: "or more"), api_usd, hosting_low_usd,
    hosting_high_usd (empty: "or more"), instances_low, instances_high (the multiples of a reserved
    instance that these are), quote, source.

    >>> memo_table()["api_usd"].tolist()
    [6, 60, 600, 6000, 30000, 60000]
    """
    return pd.read_csv(paths.data("source_memo_t1.csv"))


def memo_claims() -> pd.DataFrame:
    """T2 and what T1 rests on: id, who, claim, low, high, unit, source."""
    return pd.read_csv(paths.data("source_memo_t2.csv"))


def ranges_of(claims: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """Claim id -> (low, high).

    >>> ranges_of(memo_claims())["engineer"]
    (150000.0, 250000.0)
    """
    return {row["id"]: (float(row["low"]), float(row["high"])) for row in claims.to_dict("records")}


def memo_models(era: Literal["memo", "successor"]) -> pd.DataFrame:
    """The models that stand for each tier of the memo, of its date or of today.

    Columns: role (frontier, small, other, managed_open), era, provider, model, source.

    >>> memo_models("memo")["model"].tolist()[:2]
    ['gpt-4o', 'claude-sonnet-4-20250514']
    """
    models = pd.read_csv(paths.data("source_memo_models.csv"))
    return models[models["era"].isin([era, "any"])].reset_index(drop=True)


def crossover_claims() -> pd.DataFrame:
    """Every volume or spend at which an advisor would move: who, claim, low, high, unit, baseline,
    source. baseline: frontier, mini, or any where the advisor names no model."""
    return pd.read_csv(paths.data("crossover_claims.csv"))

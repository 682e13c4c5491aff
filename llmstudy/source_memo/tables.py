"""The source memo's own figures, as it prints them."""

from datetime import date

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


def memo_models() -> pd.DataFrame:
    """The models that stand for each tier of the memo: role, provider, model, source."""
    return pd.read_csv(paths.data("source_memo_models.csv"))


def crossover_claims() -> pd.DataFrame:
    """Every volume or spend at which an advisor would move: who, claim, low, high, unit, baseline,
    source. baseline: frontier, mini, or any where the advisor names no model."""
    return pd.read_csv(paths.data("crossover_claims.csv"))

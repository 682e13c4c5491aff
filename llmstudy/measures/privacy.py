"""Whether a route may process a class of data at all (MEMO C5, T3).

This comes before cost, latency and quality: a route without a contract that the data class needs is
excluded, whatever it saves. Open weights at a host are third-party processing and need the same
contracts as a proprietary API.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import pandas as pd

from llmstudy import paths

REGULATED = frozenset({"eu_strict", "government", "mnpi", "phi"})
"""Data classes that are regulated (MEMO T3)."""


@dataclass(frozen=True)
class Permission:
    """Whether a route may process a data class, and why.

    missing: kinds of contract that are needed and not in force. contract: those in force, in words.
    """

    permitted: bool
    missing: tuple[str, ...]
    contract: str
    reason: str


def privacy_matrix() -> pd.DataFrame:
    """MEMO T3 as a table: data_class, arm, permitted (yes, no), needs (contracts), rule, source."""
    return pd.read_csv(paths.data("privacy_matrix.csv"), keep_default_na=False)


def permission(
    data_class: str,
    arm: str,
    contracts: Mapping[str, date],
    on: date,
    matrix: pd.DataFrame,
    current: bool = False,
) -> Permission:
    """Whether a route on an arm may process a data class on a day.

    contracts: kind -> its last day. matrix: as `privacy_matrix()`. current: whether the data
    already go there; unclassified data may stay where they are.
    Raises: ValueError for a pair that the matrix lacks.

    >>> baa = {"baa": date(2027, 6, 30)}
    >>> permission("phi", "hosted_open", {}, date(2026, 11, 23), privacy_matrix()).missing
    ('baa',)
    >>> permission("phi", "hosted_open", baa, date(2026, 11, 23), privacy_matrix()).contract
    'BAA until 2027-06-30'
    >>> permission("phi", "hosted_open", baa, date(2027, 7, 1), privacy_matrix()).reason
    'phi data need BAA in force on 2027-07-01; BAA ended on 2027-06-30'
    """
    rows = matrix[(matrix["data_class"] == data_class) & (matrix["arm"] == arm)]
    if len(rows) != 1:
        raise ValueError(f"the privacy matrix has no row for {data_class} on {arm}: add one.")
    rule = rows.iloc[0]
    needs = str(rule["needs"]).split()
    missing = tuple(kind for kind in needs if contracts.get(kind, date.min) < on)
    in_force = [f"{contract_name(k)} until {contracts[k]}" for k in needs if k not in missing]
    none_in_force = "not known: data not classified" if data_class == "unknown" else "none needed"
    contract = "; ".join(in_force) or none_in_force
    if data_class == "unknown" and current:
        return Permission(True, (), contract, str(rule["rule"]))
    if rule["permitted"] == "no":
        return Permission(False, (), "", f"{data_class} data: {rule['rule']}")
    if missing:
        names = ", ".join(contract_name(kind) for kind in missing)
        reasons = [f"{data_class} data need {names} in force on {on}"]
        reasons += [
            f"{contract_name(k)} ended on {contracts[k]}" for k in missing if k in contracts
        ]
        return Permission(False, missing, "", "; ".join(reasons))
    return Permission(True, (), contract, str(rule["rule"]))


def contract_name(kind: str) -> str:
    """The usual spelling of a kind of contract.

    >>> contract_name("baa"), contract_name("no_training")
    ('BAA', 'no training')
    """
    return kind.upper() if kind in ("dpa", "baa", "soc2") else kind.replace("_", " ")

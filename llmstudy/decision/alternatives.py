"""What else could be done, and do this study's facts ask for it (MEMO T9)?

Each alternative has conditions in groups: a group holds when any of its conditions does, and an
alternative is to be chosen when all of its groups hold. What the memo tells beside them (a budget
of another company, a usual time) is evaluated and shown, but does not count.
"""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from llmstudy import paths
from llmstudy.figure import Grade

Truth = Literal["true", "false", "unknown"]

_OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
}


@dataclass(frozen=True)
class Fact:
    """What is known of a quantity that a condition asks for; None where the study does not say."""

    value: float | None
    grade: Grade
    evidence: str


def evaluate(value: float | None, sign: str, threshold: float) -> Truth:
    """Whether a condition holds.

    Raises: ValueError for a sign that is none of >, >=, <, <=, ==.

    >>> evaluate(3, ">=", 2), evaluate(1, ">=", 2), evaluate(None, ">=", 2)
    ('true', 'false', 'unknown')
    """
    if sign not in _OPERATORS:
        raise ValueError(f"{sign!r} compares nothing: write one of {', '.join(_OPERATORS)}.")
    if value is None:
        return "unknown"
    return "true" if _OPERATORS[sign](value, threshold) else "false"


def any_of(truths: list[Truth]) -> Truth:
    """Whether one of some conditions holds, as far as that can be told.

    >>> any_of(["false", "unknown"]), any_of(["true", "unknown"])
    ('unknown', 'true')
    """
    return "true" if "true" in truths else "unknown" if "unknown" in truths else "false"


def conditions(facts: Mapping[str, Fact]) -> pd.DataFrame:
    """Every condition on this study's facts.

    facts: by quantity; a quantity that is not among them is unknown.
    Returns: alternative, group, condition, quantity, operator, threshold, unit, counts (yes or no),
    source, value, holds (true, false, unknown), grade, evidence.
    """
    table = pd.read_csv(paths.data("alternative_conditions.csv"))
    nothing = Fact(None, "assumed", "no study is asked this")
    known = [facts.get(str(quantity), nothing) for quantity in table["quantity"]]
    asked = zip(known, table["operator"], table["threshold"], strict=True)
    return table.assign(
        # objects, so that None stays None among numbers
        value=pd.Series([fact.value for fact in known], dtype=object),
        holds=[evaluate(fact.value, str(sign), float(level)) for fact, sign, level in asked],
        grade=[fact.grade for fact in known],
        evidence=[fact.evidence for fact in known],
    )


def alternatives(found: pd.DataFrame) -> pd.DataFrame:
    """Each alternative with whether the conditions for choosing it are met.

    found: as `conditions`.
    Returns: id, alternative, arm, what, pros, cons, advisor, source, verdict (met, not met, open),
    fails (conditions of the groups that do not hold) and open (of those that cannot be told).
    """
    table = pd.read_csv(paths.data("alternatives.csv"))
    rows = []
    for row in table.to_dict("records"):
        own = found[(found["alternative"] == row["id"]) & (found["counts"] == "yes")]
        truths = {group: any_of(list(rows_["holds"])) for group, rows_ in own.groupby("group")}
        failing = own["group"].map(truths) == "false"
        untold = (own["group"].map(truths) == "unknown") & (own["holds"] == "unknown")
        rows.append(
            {
                **row,
                "verdict": "not met" if failing.any() else "open" if untold.any() else "met",
                "fails": "; ".join(own.loc[failing, "condition"]),
                "open": "; ".join(own.loc[untold, "condition"]),
            }
        )
    return pd.DataFrame(rows)


def open_models() -> pd.DataFrame:
    """The open models that the memo names, with a successor that is priced today beside each.

    named_then, successor, provider and priced_as (its name in the price list), note, source.
    """
    return pd.read_csv(paths.data("open_models.csv"))

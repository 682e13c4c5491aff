"""What would each advisor's rule do, on today's facts and on simulated futures?

The rules are data: `data/advisor_rules.csv` has one row per condition, in the source memo's words.
Any one condition of a rule suffices. If an advisor gave a range, its low and its high end are two
rules. An alert calls for attention and moves nothing.
"""

import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from llmstudy import paths
from llmstudy.decide.triggers.hysteresis import BoolArray, IntArray, first, sustained_level
from llmstudy.figure import FloatArray
from llmstudy.text import count

_OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {">=": operator.ge, ">": operator.gt}
WORDS = {">=": "at or above", ">": "above"}
_RANGED = ("level", "not_before_month")
_HIGH = [f"{name}_high" for name in _RANGED]


def trigger_table() -> pd.DataFrame:
    """The triggers G1 to G6, as in `triggers.csv`.

    Columns: id, name, asks, unit, owner, moves_to, step (to take once it has fired), source, and
    for those judged by the weeks of a log release_share (of the threshold) and release_source.
    """
    return pd.read_csv(paths.data("triggers.csv"))


def advisor_rules() -> pd.DataFrame:
    """The rules, one row per condition; both ends of a range as `<rule>_low` and `<rule>_high`.

    Columns: rule, advisor, condition, says (the signal in words), signal, operator, level, unit,
    lookahead_months, sustained_periods, not_before_month, kind (trigger or alert), grade, source.

    >>> advisor_rules().query("advisor == 'Analyst'")[["rule", "level"]].to_dict("split")["data"]
    [['analyst_frontier_low', 2000000000.0], ['analyst_frontier_high', 5000000000.0], \
['analyst_mini', 50000000000.0], ['analyst_ten_billion', 10000000000.0]]
    """
    table = pd.read_csv(paths.data("advisor_rules.csv"))
    parts = []
    for rule, low in table.groupby("rule", sort=False):
        ends = {name: low[f"{name}_high"].fillna(low[name]) for name in _RANGED}
        if low[_HIGH].isna().all(axis=None):
            parts.append(low)
        else:
            parts += [low.assign(rule=f"{rule}_low"), low.assign(rule=f"{rule}_high", **ends)]
    rules = pd.concat(parts, ignore_index=True)
    return rules.drop(columns=_HIGH).astype({"level": float, "not_before_month": int})


def column_of(condition: Mapping[str, Any]) -> str:
    """The name of the signal that a condition reads: a forecast if the condition looks ahead.

    A forecast must use only what is known in its month, such as today's growth compounded; the
    path's own future would make the rule look too good.

    >>> column_of({"signal": "tokens_month", "lookahead_months": 12})
    'tokens_month_in_12_months'
    """
    ahead = int(condition["lookahead_months"])
    return f"{condition['signal']}_in_{ahead}_months" if ahead else str(condition["signal"])


def decide(rules: pd.DataFrame, signals: Mapping[str, FloatArray]) -> dict[str, IntArray]:
    """The month at whose start each rule switches on each path; n_months means never. (n_paths,).

    rules: from `advisor_rules`; alerts switch nothing and are left out. signals: by the names of
    `column_of`, (n_paths, n_months) each, as known when the month begins, yes as 1 and no as 0, NaN
    if unknown. A rule switches in the first month in which one of its conditions has held for
    `sustained_periods` in a row, but not before `not_before_month` (0: at once).
    Raises: ValueError if a signal is missing, has another shape, or an operator is unknown.

    >>> spend = np.array([[8e3, 11e3, 12e3], [1e3, 1e3, 1e3]])
    >>> rule = advisor_rules().query("rule == 'architect' and condition == 'spend'")
    >>> decide(rule, {"api_usd_month": spend})
    {'architect': array([1, 3])}
    """
    moving = rules[rules["kind"] == "trigger"]
    _check(moving, signals)
    return {
        str(rule): first(np.any([_met(row, signals) for row in conditions_of(conditions)], axis=0))
        for rule, conditions in moving.groupby("rule", sort=False)
    }


def lens(rules: pd.DataFrame, facts: Mapping[str, float | None]) -> pd.DataFrame:
    """What each rule says today, a row per rule.

    facts: by the names of `column_of`, yes as 1 and no as 0, None if unknown.
    Returns: rule, advisor, kind, would_move (yes; no; unknown: no condition is met, but one cannot
    be judged; always no for an alert), raised (the same for its conditions, alert or not), because
    (the conditions that are met, or else how each compares), not_before_month, grade, source.
    Raises: ValueError if a fact is missing or an operator is unknown.

    >>> table = lens(advisor_rules().query("advisor == 'Challenger'"),
    ...              {"requests_month": 12e6, "api_usd_year": None})
    >>> table[["rule", "would_move", "raised"]].to_numpy().tolist()
    [['challenger_low', 'no', 'no'], ['challenger_high', 'no', 'no'], \
['challenger_alert', 'no', 'unknown']]
    """
    _check(rules, facts)
    rows = []
    for rule, conditions in rules.groupby("rule", sort=False):
        about = conditions.iloc[0]
        raised, because = _today(conditions, facts)
        rows.append(
            {
                "rule": rule,
                "advisor": about["advisor"],
                "kind": about["kind"],
                "would_move": raised if about["kind"] == "trigger" else "no",
                "raised": raised,
                "because": because,
                "not_before_month": int(about["not_before_month"]),
                "grade": about["grade"],
                "source": "; ".join(dict.fromkeys(conditions["source"])),
            }
        )
    return pd.DataFrame(rows)


def _check(rules: pd.DataFrame, facts: Mapping[str, Any]) -> None:
    if unknown := sorted(set(rules["operator"]) - set(_OPERATORS)):
        raise ValueError(f"rules: unknown operators {unknown}; use {', '.join(_OPERATORS)}")
    columns = dict.fromkeys(column_of(row) for row in conditions_of(rules))
    if absent := [name for name in columns if name not in facts]:
        raise ValueError(
            f"rules: {', '.join(absent)} are missing; pass null or NaN for a signal that is unknown"
        )
    shapes = {name: np.shape(facts[name]) for name in columns}
    if len(set(shapes.values())) > 1:
        raise ValueError(f"rules: signals have different shapes, {shapes}; give them one shape")


def _met(condition: Mapping[str, Any], signals: Mapping[str, FloatArray]) -> BoolArray:
    """The months in which a condition has been met for long enough. (n_paths, n_months)."""
    levels = sustained_level(signals[column_of(condition)], int(condition["sustained_periods"]))
    # -inf stands for unknown, and is above no level
    met = _OPERATORS[condition["operator"]](levels, condition["level"])
    met[:, : int(condition["not_before_month"])] = False
    return np.asarray(met)


def _today(conditions: pd.DataFrame, facts: Mapping[str, float | None]) -> tuple[str, str]:
    """Whether any condition is met today, and a sentence about it."""
    met, unmet, blind = [], [], []
    for row in conditions_of(conditions):
        fact = facts[column_of(row)]
        if fact is None or np.isnan(fact):
            blind.append(row["says"])
        elif _OPERATORS[row["operator"]](fact, row["level"]):
            met.append(_sentence(row, fact, ""))
        else:
            unmet.append(_sentence(row, fact, "not "))
    if met:
        return "yes", "; ".join(met)
    if blind:
        return "unknown", "; ".join([f"not known: {', '.join(blind)}", *unmet])
    return "no", "; ".join(unmet)


def _sentence(condition: Mapping[str, Any], fact: float, negated: str) -> str:
    says, unit = condition["says"], condition["unit"]
    if unit == "yes or no":
        return f"{says}: {'no' if negated else 'yes'}"
    level = f"{WORDS[condition['operator']]} {count(condition['level'])}"
    return f"{says} {count(fact)}, {negated}{level} {unit}"


def conditions_of(rules: pd.DataFrame) -> list[dict[str, Any]]:
    """The conditions of a table of rules, as dictionaries."""
    return [{str(name): cell for name, cell in row.items()} for row in rules.to_dict("records")]

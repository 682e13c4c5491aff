"""What would each of the four advisors decide here, and which of them is right (MEMO D1-D4)?

Each advisor's own rule gets the same facts. If an advisor gave a range, its low and its high end
answer separately: each is a lens. The four disagreements are questions of fact: each is judged on
this study's evidence, and stays open if there is none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import pandas as pd
from scipy.stats import t as student_t

from llmstudy import paths
from llmstudy.decide.judge import Fact
from llmstudy.decide.triggers.rules import WORDS, advisor_rules, lens
from llmstudy.text import count

Answer = Literal["now", "later", "no", "unknown"]
"""now: leave the proprietary API today; later: a condition is met, but the rule still waits;
unknown: no condition is met, and at least one cannot be judged."""

ADVISORS = ("Strategist", "Challenger", "Analyst", "Architect")

SPLIT = "split"
"""The answer of an advisor whose lenses disagree."""


# --- each advisor's rule --------------------------------------------------------------------


def lenses(usd_per_mtok: float | None) -> pd.DataFrame:
    """The lenses, and the rule of each at the price of today's model.

    usd_per_mtok: the bill per million tokens; None if nothing is billed by the token, which takes
    the rules for frontier models, as they move first.
    Returns: lens, advisor, end (low, high, forecast, or empty), rule, source.

    >>> lenses(0.15).query("advisor == 'Analyst'")["rule"].tolist()
    ['analyst_mini', 'analyst_mini', 'analyst_ten_billion']
    """
    table = pd.read_csv(paths.data("panel_lenses.csv")).fillna({"end": ""})
    price = float("inf") if usd_per_mtok is None else usd_per_mtok
    below = table["usd_per_mtok_below"].fillna(float("inf"))
    applies = (table["usd_per_mtok_from"] <= price) & ((price < below) | below.eq(float("inf")))
    return table.loc[applies, ["lens", "advisor", "end", "rule", "source"]].reset_index(drop=True)


def answers(facts: Mapping[str, float | None], usd_per_mtok: float | None) -> pd.DataFrame:
    """What each lens says today about one workload, or about all of them together.

    facts: by the names of `rules.column_of`, yes as 1 and no as 0, None if unknown.
    Returns: lens, advisor, end, rule, written (the rule in words), decides (an `Answer`), because,
    not_before_month, grade, source.
    Raises: ValueError if a fact is missing.
    """
    rules = advisor_rules()
    lens_rows = lenses(usd_per_mtok)
    rules = rules[rules["rule"].isin(lens_rows["rule"])]
    decisions = lens(rules, facts).set_index("rule")
    rows = []
    for about in lens_rows.to_dict("records"):
        row, conditions = decisions.loc[about["rule"]], rules[rules["rule"] == about["rule"]]
        rows.append(
            {
                **{key: about[key] for key in ("lens", "advisor", "end", "rule")},
                "written": written(conditions),
                "decides": _answer(str(row["would_move"]), int(row["not_before_month"])),
                "because": row["because"],
                "not_before_month": int(row["not_before_month"]),
                "grade": row["grade"],
                "source": row["source"],
            }
        )
    return pd.DataFrame(rows)


def written(conditions: pd.DataFrame) -> str:
    """A rule in the source memo's words; any one of its conditions suffices.

    >>> rules = advisor_rules()
    >>> written(rules[rules["rule"] == "challenger_low"])
    'queries above 100M requests/month, not before month 6'
    """
    parts = []
    for row in conditions.to_dict("records"):
        ahead = f" within {row['lookahead_months']} months" if row["lookahead_months"] else ""
        level = f" {WORDS[row['operator']]} {count(row['level'])} {row['unit']}"
        parts.append(row["says"] + ("" if row["unit"] == "yes or no" else level) + ahead)
    first = int(conditions["not_before_month"].iloc[0])
    return " or ".join(parts) + (f", not before month {first}" if first else "")


def _answer(would_move: str, not_before_month: int) -> Answer:
    if would_move == "yes":
        return "later" if not_before_month else "now"
    return "unknown" if would_move == "unknown" else "no"


# --- who agrees with whom -------------------------------------------------------------------


def today(answer: str) -> str:
    """What an answer means today: now, no or unknown. A "later" is a "no" today.

    >>> today("later"), today("unknown")
    ('no', 'unknown')
    """
    return "no" if answer == "later" else answer


def of_advisors(lens_answers: pd.DataFrame) -> dict[str, str]:
    """Each advisor's answer today; `SPLIT` if its lenses differ. lens_answers: from `answers`."""
    by_advisor = {}
    for advisor in ADVISORS:
        distinct = {
            today(answer)
            for answer in lens_answers.loc[lens_answers["advisor"] == advisor, "decides"]
        }
        by_advisor[advisor] = distinct.pop() if len(distinct) == 1 else SPLIT
    return by_advisor


def agreement(lens_answers: pd.DataFrame) -> dict[str, Any]:
    """How many pairs of advisors agree. A split advisor agrees with nobody.

    lens_answers: from `answers`. Returns: pairs, judged (pairs without an unknown answer), agree,
    agree_share (of the judged ones; None if there are none).
    """
    pairs = list(combinations(of_advisors(lens_answers).values(), 2))
    judged = [pair for pair in pairs if "unknown" not in pair]
    same = sum(a == b != SPLIT for a, b in judged)
    share = same / len(judged) if judged else None
    return {"pairs": len(pairs), "judged": len(judged), "agree": same, "agree_share": share}


def agrees(answer: str, leaves: bool) -> Literal["yes", "no", "unknown"]:
    """Whether an answer agrees with this study. leaves: whether its verdict leaves the API.

    >>> agrees("later", False), agrees("now", False), agrees("unknown", True)
    ('yes', 'no', 'unknown')
    """
    if today(answer) == "unknown":
        return "unknown"
    return "yes" if (today(answer) == "now") == leaves else "no"


def standard_error(low: float, high: float, n: int) -> float:
    """The standard error of a mean over n paths, from its 95 % Student interval.

    >>> round(standard_error(-1.96, 1.96, 1_000_000), 3)
    1.0
    """
    return float((high - low) / 2 / student_t.ppf(0.975, n - 1))


# --- the four disagreements -----------------------------------------------------------------


@dataclass(frozen=True)
class Resolution:
    """What this study says about a disagreement.

    says: the evidence in words. holds: the sides that are right here; empty if open. costs: what
    acting on each side costs, in USD above what the fact's sentence names; a value of None is not
    priced.
    """

    says: str
    holds: tuple[str, ...]
    sentence: str
    grade: str
    costs: Mapping[str, Fact]


def cheapest_of(costs: Mapping[str, Fact]) -> tuple[str, ...]:
    """The side that costs least; none if the two cheapest intervals overlap, or a cost is missing.

    >>> a, b, c = (Fact(x, "USD", "simulated", "", "", x - 1, x + 1) for x in (3, 6, 4))
    >>> cheapest_of({"a": a, "b": b}), cheapest_of({"a": a, "c": c})
    (('a',), ())
    """
    priced = [
        (cost.value, *cost.ends, side)
        for side, cost in costs.items()
        if cost.value is not None and cost.ends is not None
    ]
    if len(priced) < len(costs) or len(priced) < 2:
        return ()
    first, second = sorted(priced)[:2]
    return (first[3],) if first[2] < second[1] else ()


def disagreements(resolutions: Mapping[str, Resolution]) -> pd.DataFrame:
    """D1 to D4: each advisor's view, and what this study says about it.

    resolutions: by id. Returns: id, question, a column for each advisor (in lower case), says,
    holds (the sides that are right, separated by semicolons; null: open), resolution, grade, costs
    (side, usd, low_usd, high_usd, against).
    Raises: ValueError if a disagreement has no resolution.
    """
    rows = []
    for id_, views in pd.read_csv(paths.data("disagreements.csv")).groupby("id", sort=False):
        if id_ not in resolutions:
            raise ValueError(f"{id_} has no resolution: add one, even if it is open.")
        view = dict(zip(views["advisor"], views["holds"], strict=True))
        resolved = resolutions[str(id_)]
        rows.append(
            {"id": id_, "question": views["question"].iloc[0]}
            | {advisor.lower(): view[advisor] for advisor in ADVISORS}
            | {
                "says": resolved.says,
                "holds": "; ".join(resolved.holds) or None,
                "resolution": resolved.sentence,
                "grade": resolved.grade,
                "costs": [
                    {
                        "side": side,
                        "usd": cost.value,
                        "low_usd": cost.low,
                        "high_usd": cost.high,
                        "against": cost.sentence,
                    }
                    for side, cost in resolved.costs.items()
                ],
            }
        )
    return pd.DataFrame(rows)

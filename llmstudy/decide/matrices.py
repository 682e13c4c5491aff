"""The source memo's tables for this study: each row of a CSV names a fact and its threshold.

T5 to T9, the Challenger's lens, the three key trade-offs and the claims on the criteria. What is
unknown says so, and no row claims more than the grade of its fact allows.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

import pandas as pd

from llmstudy import paths
from llmstudy.decide import current_models
from llmstudy.decide.facts import Facts, Grounds
from llmstudy.decide.intake import intake_rows
from llmstudy.decide.judge import NOTHING, Fact, State, Truth, any_of, holds, position, state
from llmstudy.decide.lens import challenger_lens, favoured
from llmstudy.evidence.case import Tables
from llmstudy.study import ArmName
from llmstudy.tables import LEVELS
from llmstudy.text import count, opening, share, span, usd

FactsByName = Mapping[str, Fact]


def matrix_tables(grounds: Grounds) -> Tables:
    """T5 to T9, the key trade-offs and the claims on the criteria.

    grounds: with the tables of chapter 07 so far.
    """
    study, facts = grounds.study, Facts(grounds)
    lines = {
        "price_rise": study.thresholds.price_rise.value,
        "format_failures": study.thresholds.format_failure.value,
    }
    indicator_rows, condition_rows = indicators(facts, lines), conditions(facts)
    return {
        "five_questions": five_questions(facts),
        "tradeoffs": tradeoffs(facts),
        "key_tradeoffs": key_tradeoffs(facts),
        "challenger_lens": challenger_lens(favoured(study, grounds.results, facts)),
        "criteria_claims": judged_claims(facts),
        "intake": intake_rows(study, grounds.results),
        "risks": register(indicator_rows),
        "risk_indicators": indicator_rows,
        "alternatives": alternatives(condition_rows),
        "alternative_conditions": condition_rows,
        "open_models": _with_scores(open_models()),
        "best_models": current_models.best_models(study),
    }


def _with_scores(models: pd.DataFrame) -> pd.DataFrame:
    """The open models of the source memo with the scores of their successors against theirs."""
    scores = [
        current_models.compared(new, old)
        for new, old in zip(models["priced_as"], models["named_then"], strict=True)
    ]
    sentences = [
        f"{share(each.model)} against {share(each.today)} on {each.benchmark}"
        if each
        else "not yet compared"
        for each in scores
    ]
    return models.assign(compared=sentences)


# --- T6: the five questions -------------------------------------------------------------------

_ANSWERS: Mapping[Truth, str] = {"true": "yes", "false": "no", "unknown": "unknown"}


def five_questions(facts: FactsByName) -> dict[str, Any]:
    """T6: the answers to the five questions, and their verdict. It never overrides privacy.

    Returns: rows (id, question, source, answer, evidence, grade, basis) and verdict
    (`five_questions_verdict`).
    """
    table = pd.read_csv(paths.data("five_questions.csv"))
    answers = [facts[name] for name in table["quantity"]]
    lines = zip(answers, table["operator"], table["threshold"], strict=True)
    rows = table[["id", "question", "source"]].assign(
        answer=[_ANSWERS[holds(fact.value, sign, line)] for fact, sign, line in lines],
        evidence=[fact.sentence for fact in answers],
        grade=[fact.grade for fact in answers],
        basis=[fact.basis for fact in answers],
    )
    return {"rows": rows, "verdict": five_questions_verdict(list(rows["answer"]))}


def five_questions_verdict(answers: Sequence[str]) -> str:
    """T6's rule: "api" with three "no" or more; "undecided" if unknown answers could get there.

    >>> five_questions_verdict(["no", "no", "no", "yes", "unknown"])
    'api'
    >>> five_questions_verdict(["no", "no", "unknown", "yes", "unknown"])
    'undecided'
    """
    no, unknown = answers.count("no"), answers.count("unknown")
    return "api" if no >= 3 else "undecided" if no + unknown >= 3 else "consider self-hosting"


# --- T5, the lens and the key trade-offs ------------------------------------------------------

_AGREES = {None: "not comparable", "below": "lower", "above": "higher"}


def tradeoffs(facts: FactsByName) -> pd.DataFrame:
    """T5: a row per dimension and arm.

    facts: by `<dimension>.<arm>`; a missing one leaves its figures empty. Returns: dimension,
    title, arm, memo (the source memo's words; it has no column for hosted open weights), memo_low,
    memo_high, value, low, high, unit, sentence, agrees, grade, evidence, source. Raises: ValueError
    for a fact in another unit than the dimension's.
    """
    table = pd.read_csv(paths.data("tradeoffs.csv"), keep_default_na=False)
    claims = {(row["dimension"], row["arm"]): row for row in table.to_dict("records")}
    rows = []
    for dimension, title in dict(zip(table["dimension"], table["title"], strict=True)).items():
        unit = claims[dimension, "proprietary_api"]["unit"]
        for arm in get_args(ArmName):
            memo, fact = claims.get((dimension, arm), {}), facts.get(f"{dimension}.{arm}", NOTHING)
            if unit and fact.value is not None and fact.unit != unit:
                raise ValueError(f"{dimension} is in {unit}, not in {fact.unit}.")
            # a dimension without a unit has words and no number
            number = fact if unit and fact.value is not None else None
            ends = tuple(_number(memo.get(end, "")) for end in ("low", "high"))
            where = position((ends[0], ends[1]), number.ends if number else None)
            rows.append(
                {
                    "dimension": dimension,
                    "title": title,
                    "arm": arm,
                    "memo": memo.get("says", ""),
                    "memo_low": ends[0],
                    "memo_high": ends[1],
                    "value": number.value if number else None,
                    "low": number.low if number else None,
                    "high": number.high if number else None,
                    "unit": unit,
                    "sentence": fact.sentence,
                    "agrees": _AGREES.get(where, "agrees"),
                    "grade": number.grade if number else None,
                    "evidence": fact.basis,
                    "source": memo.get("source", "source memo T5 has no column for this arm"),
                }
            )
    return pd.DataFrame(rows)


def _number(text: str) -> float | None:
    return float(text) if text else None


def key_tradeoffs(facts: FactsByName) -> pd.DataFrame:
    """The key trade-offs in the source memo's order, each with what is gained and what it costs.

    Returns: id, tradeoff, option, gains, gives_up (in words), source, and for both sides
    `gain_<column>` and `price_<column>`: figure (the quantity), value, low, high, unit, grade.
    """
    table = pd.read_csv(paths.data("key_tradeoffs.csv"))
    rows = []
    for about in table.to_dict("records"):
        row = {key: about[key] for key in ("id", "tradeoff", "option", "gains", "gives_up")}
        for side in ("gain", "price"):
            fact = facts[about[side]]
            row |= {f"{side}_figure": fact.sentence}
            row |= {f"{side}_{k}": getattr(fact, k) for k in ("value", "low", "high", "unit")}
            row |= {f"{side}_grade": fact.grade}
        rows.append(row | {"source": about["source"]})
    return pd.DataFrame(rows)


def tradeoffs_in_words(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """The three key trade-offs with this study's figure for each side, as a page shows them.

    rows: of `key_tradeoffs`.
    """
    return pd.DataFrame(
        [
            {
                "trade-off": f"{opening(row['option'])}: {row['tradeoff']}",
                "gains": row["gains"],
                "in figures": _in_words(row, "gain"),
                "gives up": row["gives_up"],
                "at": _in_words(row, "price"),
            }
            for row in rows
        ]
    )


def _in_words(row: Mapping[str, Any], side: str) -> str:
    """The figure of one side with its range, unit, meaning and grade."""
    value, low, high, unit, grade = (
        row[f"{side}_{key}"] for key in ("value", "low", "high", "unit", "grade")
    )
    figure = str(row[f"{side}_figure"])
    if value is None:
        return figure
    fmt = usd if unit.startswith("USD") else share if unit == "share" else count
    amount = fmt(value) + (" a month" if unit == "USD/month" else "")
    if low is not None and low != high:
        amount += f" ({span(low, high, fmt)})"
    return f"{amount}{':' if fmt is usd else ''} {figure} ({grade})"


# --- the claims on the criteria ---------------------------------------------------------------

_OUTSIDE = {"below": "outside", "above": "outside"}


def criteria_claims() -> pd.DataFrame:
    """The source memo's claims on the criteria, as in `criteria_claims.csv`.

    Columns: id, criterion, arm, who, claim, low, high (null: no number claimed), unit, fact (null:
    the study has none), source.
    """
    return pd.read_csv(paths.data("criteria_claims.csv"))


def judged_claims(facts: FactsByName) -> list[dict[str, Any]]:
    """Every claim beside our own range, if the study has one that is not the memo's own figure.

    Rows: id, criterion, arm, who, claim, unit, claim_low, claim_high, ours_low, ours_high (null: no
    upper end), placed (of our range: inside the claim, partly, outside; or why it is not compared),
    ours (what our range is of), grade, source.
    """
    rows = []
    for claim in criteria_claims().astype(object).to_dict("records"):
        low, high, unit, name = (
            None if pd.isna(claim[key]) else claim[key] for key in ("low", "high", "unit", "fact")
        )
        fact = facts[name] if name else NOTHING
        # a figure that the memo gave is no check on it
        ours = None if fact.source.startswith("source memo") else fact.ends
        if low is None:
            placed = "no number claimed"
        elif ours is None:
            placed = "no figure of ours"
        else:
            where = str(position((low, high), ours))
            placed = _OUTSIDE.get(where, where)
        rows.append(
            {
                **{key: claim[key] for key in ("id", "criterion", "arm", "who", "claim")},
                "unit": unit,
                "claim_low": low,
                "claim_high": high,
                "ours_low": ours[0] if ours else None,
                "ours_high": ours[1] if ours and math.isfinite(ours[1]) else None,
                "placed": placed,
                "ours": fact.sentence if ours else None,
                "grade": fact.grade if ours else None,
                "source": claim["source"],
            }
        )
    return rows


# --- T8: the risks ----------------------------------------------------------------------------

NO_LIVE_EVIDENCE = "no live evidence"

_WORST_FIRST: tuple[State, ...] = ("active", "warning", "quiet")


def indicator_table() -> pd.DataFrame:
    """The risk indicators: name, asks, unit, operator, warning, active (null: the study's),
    source."""
    return pd.read_csv(paths.data("risk_indicators.csv"))


def indicators(facts: FactsByName, lines: Mapping[str, float]) -> pd.DataFrame:
    """Every risk indicator with its value and state.

    facts: by indicator name. lines: thresholds that the study sets, by indicator name; the warning
    level is half of it.
    Returns: name, asks, value, unit, operator, warning, threshold, state, grade, evidence,
    sentence, source.
    Raises: ValueError for an indicator without a threshold; KeyError for one without a fact.
    """
    rows = []
    for row in indicator_table().to_dict("records"):
        name, sign, fact = str(row["name"]), str(row["operator"]), facts[str(row["name"])]
        warning, active = float(row["warning"]), float(row["active"])
        if math.isnan(active):
            if name not in lines:
                raise ValueError(
                    f"{name} has no threshold: data/risk_indicators.csv leaves it to the study."
                )
            warning, active = lines[name] / 2, lines[name]
        rows.append(
            {
                "name": name,
                "asks": row["asks"],
                "value": fact.value,
                "unit": row["unit"],
                "operator": sign,
                "warning": warning,
                "threshold": active,
                "state": state(fact, sign, warning, active),
                "grade": fact.grade,
                "evidence": fact.basis,
                "sentence": fact.sentence,
                "source": row["source"],
            }
        )
    return pd.DataFrame(rows)


def risk_sources() -> pd.DataFrame:
    """The source memo's risks in its own words, as in `risk_sources.csv`.

    Columns: id, advisor, path, risk, likelihood, impact, mitigation, source. A rating that the memo
    does not give is empty.
    """
    return pd.read_csv(paths.data("risk_sources.csv"), keep_default_na=False)


def register(indicators: pd.DataFrame) -> pd.DataFrame:
    """The risk register: the risks of all advisors, merged, each with the state of its indicators.

    indicators: as `indicators`. Returns: id, path, risk, likelihood and impact (the highest rating
    of an advisor; empty: none rates it), mitigation, advisors, source_ids, indicators, owner,
    measure (ours, in short), state (the worst of its indicators), live (their sentences).
    """
    sources = risk_sources().set_index("id")
    by_name = {str(row["name"]): row for row in indicators.to_dict("records")}
    rows = []
    for risk in pd.read_csv(paths.data("risks.csv"), keep_default_na=False).to_dict("records"):
        own = sources.loc[str(risk["source_ids"]).split()]
        watching = [by_name[name] for name in str(risk["indicators"]).split()]
        states = {row["state"] for row in watching}
        live = [str(row["sentence"]) for row in watching if row["state"] != "no evidence"]
        rows.append(
            {
                "id": risk["id"],
                "path": risk["path"],
                "risk": risk["risk"],
                "likelihood": _highest(own["likelihood"]),
                "impact": _highest(own["impact"]),
                "mitigation": "; ".join(text.rstrip(".") for text in own["mitigation"]),
                "advisors": ", ".join(own["advisor"].drop_duplicates()),
                "source_ids": risk["source_ids"],
                "indicators": risk["indicators"],
                "owner": risk["owner"],
                "measure": risk["measure"],
                "state": next((s for s in _WORST_FIRST if s in states), NO_LIVE_EVIDENCE),
                "live": "; ".join(live),
            }
        )
    return pd.DataFrame(rows)


def _highest(levels: "pd.Series[str]") -> str:
    return max((level for level in levels if level), key=LEVELS.index, default="")


# --- T9: the alternatives ---------------------------------------------------------------------

_NO_FACT = Fact(None, "", "assumed", "no study is asked this")


def conditions(facts: FactsByName) -> pd.DataFrame:
    """Every condition for choosing an alternative, judged on this study's facts.

    facts: by quantity; a missing quantity is unknown.
    Returns: alternative, group, condition, quantity, operator, threshold, unit, counts (yes or no),
    source, value, holds (true, false, unknown), grade, evidence.
    """
    table = pd.read_csv(paths.data("alternative_conditions.csv"))
    own = [facts.get(str(quantity), _NO_FACT) for quantity in table["quantity"]]
    lines = zip(own, table["operator"], table["threshold"], strict=True)
    return table.assign(
        # objects, so that None stays None among numbers
        value=pd.Series([fact.value for fact in own], dtype=object),
        holds=[holds(fact.value, str(sign), float(line)) for fact, sign, line in lines],
        grade=[fact.grade for fact in own],
        evidence=[fact.basis for fact in own],
    )


def alternatives(conditions: pd.DataFrame) -> pd.DataFrame:
    """Each alternative, and whether the conditions for choosing it are met.

    Conditions come in groups: a group holds if any of its conditions does, and an alternative is to
    be chosen if all of its groups hold. Conditions that do not count (another company's budget, a
    usual duration) are judged and shown only.

    conditions: as `conditions`. Returns: id, alternative, arm, what, pros, cons, advisor, source,
    verdict (met, not met, open), fails (the conditions of groups that do not hold) and open (the
    unknown conditions).
    """
    table = pd.read_csv(paths.data("alternatives.csv"))
    rows = []
    for row in table.to_dict("records"):
        own = conditions[(conditions["alternative"] == row["id"]) & (conditions["counts"] == "yes")]
        truths = own["group"].map(
            {group: any_of(rows_["holds"]) for group, rows_ in own.groupby("group")}
        )
        fails = truths == "false"
        open_ = (truths == "unknown") & (own["holds"] == "unknown")
        rows.append(
            {
                **row,
                "verdict": "not met" if fails.any() else "open" if open_.any() else "met",
                "fails": "; ".join(own.loc[fails, "condition"]),
                "open": "; ".join(own.loc[open_, "condition"]),
            }
        )
    return pd.DataFrame(rows)


def open_models() -> pd.DataFrame:
    """The open models that the source memo names, each with a successor that is priced today.

    Columns: named_then, successor, provider, priced_as (its name in the price list), note, source.
    """
    return pd.read_csv(paths.data("open_models.csv"))

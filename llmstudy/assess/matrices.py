"""Chapter 07: the source memo's matrices on this study's facts."""

from collections.abc import Mapping

import pandas as pd

from llmstudy.assess import current_models
from llmstudy.assess.case import Results, Tables, rows_of
from llmstudy.assess.team import readiness_of
from llmstudy.decide import matrices
from llmstudy.decide.facts import Facts, Grounds
from llmstudy.decide.intake import intake_rows
from llmstudy.decide.judge import Fact, likely
from llmstudy.study import Study
from llmstudy.text import share


def matrix_tables(grounds: Grounds) -> Tables:
    """T5 to T9, the key trade-offs and the claims on the criteria.

    grounds: with the tables of chapter 07 so far.
    """
    study, facts = grounds.study, Facts(grounds)
    lines = {
        "price_rise": study.thresholds.price_rise.value,
        "format_failures": study.thresholds.format_failure.value,
    }
    watched = matrices.indicators(facts, lines)
    conditions = matrices.conditions(facts)
    return {
        "five_questions": matrices.five_questions(facts),
        "tradeoffs": matrices.tradeoffs(facts),
        "key_tradeoffs": matrices.key_tradeoffs(facts),
        "challenger_lens": matrices.challenger_lens(_favoured(study, grounds.results, facts)),
        "criteria_claims": matrices.judged_claims(facts),
        "intake": intake_rows(study, grounds.results),
        "risks": matrices.register(watched),
        "risk_indicators": watched,
        "alternatives": matrices.alternatives(conditions),
        "alternative_conditions": conditions,
        "open_models": _compared(matrices.open_models()),
        "best_models": current_models.best_models(study),
    }


def _compared(models: pd.DataFrame) -> pd.DataFrame:
    """The open models named then with what their successors score against them."""
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


# --- the Challenger's lens ------------------------------------------------------------------

_ARMS = ("proprietary_api", "self_hosted")

_READY = {"ready": "neither", "short": "proprietary_api", "unknown": "undecided"}
"""Which arm the gate of the team favours, by its verdict."""

_CHEAPER = {"true": "self_hosted", "false": "proprietary_api", "unknown": "undecided"}


def _favoured(
    study: Study, results: Results, facts: Mapping[str, Fact]
) -> dict[str, tuple[str, str]]:
    """Which of the two arms this study's evidence favours, by criterion, where it has any."""
    savings = "06_crossover: savings"
    favoured = {
        "cost": ("no evidence", savings),
        "team": (_READY[readiness_of(study).verdict], "07_triggers_and_routing: team"),
    }
    # by the move to a fleet that is likeliest to pay
    if rows := rows_of(results["06_crossover"]["savings"], arm="self_hosted"):
        best = max(row["p_cheaper"] for row in rows)
        favoured["cost"] = _CHEAPER[likely(best, study.thresholds.probability.value)], savings
    may = {arm: facts[f"sovereignty.{arm}"].value for arm in _ARMS}
    api, own = may.values()
    if api is not None and own is not None:
        arm = "neither" if api == own else "proprietary_api" if api > own else "self_hosted"
        favoured["privacy"] = arm, "06_crossover: permissions"
    timed = results["03_latency"]["latency"]
    verdicts = {arm: {row["verdict"] for row in rows_of(timed, arm=arm)} for arm in _ARMS}
    if all(verdicts.values()):
        favoured["latency"] = _faster(verdicts), "03_latency: latency"
    return favoured


def _faster(verdicts: Mapping[str, set[str]]) -> str:
    """Which arm meets every target where the other misses one; both or neither is neither."""
    meets = {arm: seen == {"meets"} for arm, seen in verdicts.items()}
    misses = {arm: "misses" in seen for arm, seen in verdicts.items()}
    if meets["proprietary_api"] and misses["self_hosted"]:
        return "proprietary_api"
    if meets["self_hosted"] and misses["proprietary_api"]:
        return "self_hosted"
    return "neither" if all(meets.values()) else "undecided"

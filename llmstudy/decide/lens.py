"""The Challenger's table of six criteria, and the arm that this study's evidence favours."""

from collections.abc import Mapping

import pandas as pd

from llmstudy import paths
from llmstudy.decide.judge import Fact, likely
from llmstudy.decide.team import readiness_of
from llmstudy.evidence.case import Results, rows_of
from llmstudy.study import Study

_ARMS = ("proprietary_api", "self_hosted")

_READY = {"ready": "neither", "short": "proprietary_api", "unknown": "undecided"}
"""The arm that the team's readiness favours, by its verdict."""

_CHEAPER = {"true": "self_hosted", "false": "proprietary_api", "unknown": "undecided"}


def favoured(
    study: Study, results: Results, facts: Mapping[str, Fact]
) -> dict[str, tuple[str, str]]:
    """The arm that this study's evidence favours and that evidence, by criterion, if there is
    any."""
    savings = "06_crossover: savings"
    favoured = {
        "cost": ("no evidence", savings),
        "team": (_READY[readiness_of(study).verdict], "07_triggers_and_routing: team"),
    }
    # by the move to a fleet that is most likely to pay off
    if rows := rows_of(results["06_crossover"]["savings"], arm="self_hosted"):
        best = max(row["p_cheaper"] for row in rows)
        favoured["cost"] = _CHEAPER[likely(best, study.thresholds.probability.value)], savings
    may = {arm: facts[f"sovereignty.{arm}"].value for arm in _ARMS}
    api, fleet = may.values()
    if api is not None and fleet is not None:
        arm = "neither" if api == fleet else "proprietary_api" if api > fleet else "self_hosted"
        favoured["privacy"] = arm, "06_crossover: permissions"
    latency = results["03_latency"]["latency"]
    verdicts = {arm: {row["verdict"] for row in rows_of(latency, arm=arm)} for arm in _ARMS}
    if all(verdicts.values()):
        favoured["latency"] = _faster(verdicts), "03_latency: latency"
    return favoured


def _faster(verdicts: Mapping[str, set[str]]) -> str:
    """The arm that meets every target while the other misses one, or neither, or undecided."""
    meets = {arm: outcomes == {"meets"} for arm, outcomes in verdicts.items()}
    misses = {arm: "misses" in outcomes for arm, outcomes in verdicts.items()}
    if meets["proprietary_api"] and misses["self_hosted"]:
        return "proprietary_api"
    if meets["self_hosted"] and misses["proprietary_api"]:
        return "self_hosted"
    return "neither" if all(meets.values()) else "undecided"


def challenger_lens(favoured: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    """The Challenger's table of six criteria, with the arm that this study's evidence favours.

    favoured: by criterion, the arm (or `neither`, `undecided`) and the evidence; a missing
    criterion has no evidence.
    Returns: criterion, title, proprietary_api, self_hosted (the Challenger's words), favours (our
    reading of them), source, study_favours, agrees (yes, no, open), evidence.
    """
    table = pd.read_csv(paths.data("challenger_lens.csv"), keep_default_na=False)
    ours = [favoured.get(str(name), ("no evidence", "")) for name in table["criterion"]]
    arms = [arm for arm, _ in ours]
    agrees = [
        "open" if arm in ("undecided", "no evidence") else "yes" if arm == favours else "no"
        for arm, favours in zip(arms, table["favours"], strict=True)
    ]
    return table.assign(study_favours=arms, agrees=agrees, evidence=[basis for _, basis in ours])

"""Chapter 07: this study's facts on what the alternatives ask for (MEMO T9)."""

from collections.abc import Callable, Collection

import pandas as pd

from llmstudy.assess import current_models
from llmstudy.assess.case import Case, Results, Tables
from llmstudy.decision import alternatives
from llmstudy.decision.alternatives import Fact
from llmstudy.figure import least_certain
from llmstudy.privacy import privacy_matrix
from llmstudy.study import ApiRoute, ArmName, Study
from llmstudy.text import share

STRICT_RESIDENCY = ("eu_strict", "government")
"""Classes of data that T3 ties to a place."""


def alternative_tables(case: Case, results: Results, decided: Tables) -> Tables:
    """The alternatives, their conditions on this study's facts, and the open models named then.

    decided: the tables of chapter 07 so far: verdicts, saving and at_stake.
    """
    study = case.study
    facts = _stated(study) | _of_data(study) | _computed(case, results, decided)
    conditions = alternatives.conditions(facts)
    return {
        "alternatives": alternatives.alternatives(conditions),
        "alternative_conditions": conditions,
        "open_models": _compared(alternatives.open_models()),
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


def _own(value: float | None, evidence: str) -> Fact:
    """What the organisation states of itself, or leaves open."""
    return Fact(value, "assumed" if value is None else "measured", evidence)


def _stated(study: Study) -> dict[str, Fact]:
    needed = {"yes": 1.0, "no": 0.0}.get(study.prompting_and_retrieval_insufficient)
    platforms = {w.intake.gpu_platform for w in study.workloads.values()}
    platform = 1.0 if "yes" in platforms else None if "unknown" in platforms else 0.0
    routes = {name: study.routes[name] for w in study.workloads.values() for name in w.routes}
    fleets = sum(route.arm == "self_hosted" for route in routes.values())
    apis = [r for r in routes.values() if isinstance(r, ApiRoute) and r.arm == "proprietary_api"]
    tasks = {w.task for w in study.workloads.values()}
    return {
        "prompting_insufficient": _own(needed, "prompting_and_retrieval_insufficient"),
        "engineers": _own(study.team.experienced_ml_engineers, "team.experienced_ml_engineers"),
        "gpu_platform": _own(platform, "workloads: intake.gpu_platform"),
        "fleet_candidates": _own(fleets, "workloads: candidates"),
        "api_vendors": _own(len({r.provider for r in apis}), "workloads: candidates"),
        "kinds_of_task": _own(len(tasks), "workloads: task"),
        "fleet_ramp_months": _ramp(study, "self_hosted"),
        "api_ramp_months": _ramp(study, "proprietary_api"),
    }


def _ramp(study: Study, arm: ArmName) -> Fact:
    ramp = study.moving[arm].ramp
    return Fact(ramp.value, ramp.grade, f"moving.{arm}.ramp")


def _of_data(study: Study) -> dict[str, Fact]:
    """How many workloads hold data of some kind; open while a class that could matter is."""
    matrix = privacy_matrix()
    never = matrix[(matrix["arm"] == "proprietary_api") & (matrix["permitted"] == "no")]
    classes = [w.intake.data_class for w in study.workloads.values()]
    asked: dict[str, Callable[[str], bool]] = {
        "sensitive_workloads": lambda class_: class_ != "consumer",
        "forbidden_workloads": set(never["data_class"]).__contains__,
        "residency_workloads": STRICT_RESIDENCY.__contains__,
    }
    known = [class_ for class_ in classes if class_ != "unknown"]
    return {
        quantity: _own(_tally(known, is_one, len(classes)), "workloads: intake.data_class")
        for quantity, is_one in asked.items()
    }


def _tally(known: Collection[str], is_one: Callable[[str], bool], n: int) -> float | None:
    """How many of the known ones; None while there is none, and not all are known."""
    found = sum(map(is_one, known))
    return float(found) if found or len(known) == n else None


def _computed(case: Case, results: Results, decided: Tables) -> dict[str, Fact]:
    study = case.study
    grades = [w.intake.requests.grade for w in study.workloads.values()]
    logged = case.traffic.rows_read - len(case.traffic.quarantined)
    month_usd = results["06_crossover"]["month_usd"]["today"]
    saved = [found["p50"] for key in ("saving", "at_stake") if (found := decided[key])]
    return {
        "spend_year_usd": Fact(12 * month_usd, least_certain(grades), "06_crossover: month_usd"),
        "logged_requests": _own(logged or None, "request log"),
        "at_stake_usd": Fact(sum(saved), least_certain(grades), "saving, at_stake"),
        "moves_off_api": Fact(_off_api(study, decided), least_certain(grades), "verdicts"),
    }


def _off_api(study: Study, decided: Tables) -> float | None:
    """Workloads that run or shall run off the proprietary APIs; None where better evidence of a
    move that is still open could add one."""
    verdicts = decided["verdicts"].values()
    off = sum(v["arm"] != "proprietary_api" for v in verdicts)
    targets = [v["target"] for v in verdicts if v["decision"] == "undecided" and v["target"]]
    could = any(study.routes[route].arm != "proprietary_api" for route in targets)
    return None if could and not off else float(off)

"""Chapter 07: the six criteria of every workload and arm, each score with what it rests on.

The scores are `llmstudy.decide.criteria`'s; here each is given its evidence, the grade of the
worst figure in it, and the names under which ledger and results hold it. A line that the study
draws (a target, a margin, a threshold) is a choice and has no grade, unless it is a prior for an
unanswered question.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_args

import pandas as pd

from llmstudy import units
from llmstudy.decide import contracts, criteria, team
from llmstudy.decide.criteria import CRITERIA, Score
from llmstudy.decide.lock_in import contract_rows, held_contracts, portability_tables
from llmstudy.decide.matrices import criteria_claims
from llmstudy.decide.team import readiness_of, team_table
from llmstudy.evidence import findings
from llmstudy.evidence.case import Case, Results, Tables, rows_of
from llmstudy.figure import Figure, least_certain
from llmstudy.measures import privacy
from llmstudy.study import ArmName
from llmstudy.study.lines import lines_of

ARMS: tuple[str, ...] = get_args(ArmName)


def criteria_tables(case: Case, results: Results, routes: pd.DataFrame) -> Tables:
    """C1 to C6 per workload and arm, and the tables that they rest on.

    routes: as `routes.route_table`. Returns: criteria, contracts, portability and its parts,
    switching, vendors and team.
    """
    best = {
        (name, arm): criteria.best_route(
            routes[(routes["workload"] == name) & (routes["arm"] == arm)]
        )
        for name in case.study.workloads
        for arm in ARMS
    }
    serving = {
        name: list(
            dict.fromkeys(
                [workload.current_route]
                + [
                    str(row["route"])
                    for (w, _), row in best.items()
                    if w == name and row is not None
                ]
            )
        )
        for name, workload in case.study.workloads.items()
    }
    lock_in = portability_tables(case, results, serving, routes)
    known = _Known(case, results, lock_in["portability"])
    rows = [
        row
        for (name, arm), route in best.items()
        for row in _rows(
            known, name, arm, route, routes[(routes["workload"] == name) & (routes["arm"] == arm)]
        )
    ]
    return {
        "criteria": rows,
        "contracts": contract_rows(case.study),
        **lock_in,
        "team": team_table(case.study),
    }


@dataclass(frozen=True)
class _Known:
    """What scores are taken from."""

    case: Case
    results: Results
    portability: list[dict[str, Any]]

    @cached_property
    def ledger(self) -> dict[str, str]:
        """Grade of every figure by its name in the ledger."""
        study = self.case.study
        figures: dict[str, Figure] = {**study.figures(), **findings.rate_figures(study)}
        sized = {row["name"]: row["grade"] for row in self.results["05_self_hosting"]["figures"]}
        return {name: figure.grade for name, figure in figures.items()} | sized

    @cached_property
    def readiness(self) -> team.Readiness:
        return readiness_of(self.case.study)


@dataclass(frozen=True)
class _Found:
    """A score with what it rests on, and the worst grade in it."""

    score: Score
    grade: str
    rests_on: tuple[str, ...]


# --- one workload on one arm ----------------------------------------------------------------


def _rows(
    known: _Known, name: str, arm: str, route: "pd.Series[Any] | None", of_arm: pd.DataFrame
) -> list[dict[str, Any]]:
    """C1 to C6 of a workload on an arm. route: its best permitted route. of_arm: all of its routes.

    Privacy overrides: where the arm has routes and none may see the data, the other criteria say
    so instead of being scored.
    """
    place = {"workload": name, "arm": arm, "route": None if route is None else route["route"]}
    if of_arm.empty:
        found = _Found(Score(None, "the study names no route of this arm"), "", ())
        return [_row(id_, place, found) for id_ in CRITERIA]
    if route is None:
        barred = _privacy(
            known, name, of_arm.sort_values("current", ascending=False, kind="stable").iloc[0]
        )
        said = f"not weighed, privacy overrides: {barred.score.verdict}"
        other = _Found(Score(None, said), barred.grade, barred.rests_on)
        return [
            _row(id_, place, barred) if id_ == "C5" else _row(id_, place, other, overridden=True)
            for id_ in CRITERIA
        ]
    by_id = {
        **_served(known, name, route),
        "C4": _lock_in(known, name, route),
        "C5": _privacy(known, name, route),
        "C6": _team(known, route),
    }
    return [_row(id_, place, found) for id_, found in by_id.items()]


def _row(
    id_: str, place: dict[str, Any], found: _Found, overridden: bool = False
) -> dict[str, Any]:
    return {
        "id": id_,
        "criterion": CRITERIA[id_],
        **place,
        "score": found.score.score,
        "grade": found.grade or None,
        "verdict": found.score.verdict,
        "overridden": overridden,
        "rests_on": list(found.rests_on),
    }


def _served(known: _Known, name: str, route: "pd.Series[Any]") -> dict[str, _Found]:
    """C1 to C3; a route whose context is too short was neither timed, priced nor scored."""
    if not route["fits_context"]:
        asked = f"workloads.{name}.intake.context_tokens"
        rests = (f"routes.{route['route']}.context_tokens", asked)
        grade = least_certain(known.ledger[path] for path in rests)
        return dict.fromkeys(("C1", "C2", "C3"), _Found(criteria.cannot_serve(), grade, rests))
    return {
        "C1": _latency(known, name, route),
        "C2": _cost(known, name, route),
        "C3": _customisation(known, name, route),
    }


def _latency(known: _Known, name: str, route: "pd.Series[Any]") -> _Found:
    [seen] = rows_of(known.results["03_latency"]["latency"], workload=name, route=route["route"])
    target = known.case.study.workloads[name].slo.ttft_p95
    ends = (seen["low_s"], seen["high_s"])
    score = criteria.latency(seen["verdict"], seen["grade"], ends, target.value)
    rests = [f"workloads.{name}.slo.ttft_p95", "03_latency.latency"]
    grades = [seen["grade"], *([target.grade] if target.name.startswith("unknown.") else [])]
    if seen["source"] == "study file":
        rests.append(f"routes.{route['route']}.ttft_p95")
    elif seen["source"] == "serving curve":
        rests.append("05_self_hosting.fleets")
    return _Found(score, least_certain(grades), tuple(rests))


def _cost(known: _Known, name: str, route: "pd.Series[Any]") -> _Found:
    study = known.case.study
    score = criteria.cost(
        current=bool(route["current"]),
        sized=bool(route["sized"]),
        savings=route,
        lines=lines_of(study),
    )
    at = f"workloads.{name}"
    wanted = [f"{at}.intake.{x}" for x in ("requests", "input_tokens", "output_tokens")]
    for one in dict.fromkeys([study.workloads[name].current_route, str(route["route"])]):
        wanted += [f"routes.{one}.price.input", f"routes.{one}.price.output", f"routes.{one}.rent"]
        wanted.append(f"{at}.routes.{one}.capacity")
        if study.routes[one].arm == "self_hosted":
            wanted += ["self_hosting.fte", "team.usd_per_fte_year"]
    rests = [path for path in dict.fromkeys(wanted) if path in known.ledger]
    grade = least_certain(known.ledger[path] for path in rests)
    return _Found(score, grade, (*rests, "06_crossover.savings"))


def _customisation(known: _Known, name: str, route: "pd.Series[Any]") -> _Found:
    study = known.case.study
    claims = criteria_claims().set_index("id")["high"]
    difference = route["difference"]
    score = criteria.customisation(
        quality=route["quality"],
        items=int(route["items"]),
        benchmark=str(route["benchmark"]),
        difference=None if pd.isna(difference) else float(difference),
        margin=study.workloads[name].quality.margin.value,
        insufficient=study.prompting_and_retrieval_insufficient,
        tuning=str(criteria.arm_facts().loc[route["arm"], "fine_tuning"]),
        claimed_gain=float(claims["tuning_gain"]),
    )
    if route["quality"] == "baseline":  # an answer in the study, which nobody has measured
        return _Found(score, "assumed", ("prompting_and_retrieval_insufficient",))
    figure = f"workloads.{name}.quality.{route['route']}.difference"
    rests = ["04_quality.quality"] if route["quality"] == "none" else [figure]
    if route["quality"] == "inferior":
        rests.append("criteria_claims.tuning_gain")
        return _Found(score, least_certain([route["quality_grade"], "secondary"]), tuple(rests))
    return _Found(score, route["quality_grade"], tuple(rests))


def _lock_in(known: _Known, name: str, route: "pd.Series[Any]") -> _Found:
    [row] = rows_of(known.portability, workload=name, route=route["route"])
    score = criteria.lock_in(row["score_low"], row["score_high"])
    rests = (f"workloads.{name}.portability", "07_triggers_and_routing.portability_parts")
    return _Found(score, row["grade"], rests)


def _privacy(known: _Known, name: str, route: "pd.Series[Any]") -> _Found:
    study = known.case.study
    data_class = study.workloads[name].intake.data_class
    needed = contracts.needs(data_class, route["arm"], privacy.privacy_matrix())
    held = held_contracts(study.routes[route["route"]])
    score = criteria.privacy(
        data_class=data_class,
        permitted=bool(route["permitted"]),
        signable=len(route["missing"]) > 0,
        reason=route["permission_reason"],
        ends=min((held[k] for k in needed if k in held), default=None),
        until=units.month_start(study.as_of, study.months),
    )
    rests = (
        f"workloads.{name}.intake.data_class",
        "06_crossover.permissions",
        "07_triggers_and_routing.contracts",
    )
    # contracts and the class of the data are the organisation's own to know
    return _Found(score, "assumed" if data_class == "unknown" else "measured", rests)


def _team(known: _Known, route: "pd.Series[Any]") -> _Found:
    needs = criteria.arm_facts().loc[route["arm"], "needs_ml_engineers"] == "yes"
    score = criteria.team(needs, known.readiness)
    if not needs:
        return _Found(score, "secondary", ("arm_facts",))
    grade = least_certain(["secondary", known.case.study.self_hosting.fte.grade])
    rests = ("team.experienced_ml_engineers", "self_hosting.fte", "team_roles")
    return _Found(score, grade, rests)

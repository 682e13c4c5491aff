"""Chapter 07: the six criteria of every workload and arm, each score with its evidence.

`decide.criteria` has the rules; here each score gets the evidence it rests on, by its name in the
ledger or the results, and the grade of the weakest figure. A threshold that the study sets (a
target, a margin) is a choice without a grade, unless it is a prior for an unanswered question.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_args

import pandas as pd

from llmstudy import units
from llmstudy.decide import contracts, criteria, team
from llmstudy.decide.criteria import CRITERIA, Score
from llmstudy.decide.lock_in import contract_ends, contract_rows, portability_tables
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

    routes: as `routes.route_table`. Returns: `criteria` (id, criterion, workload, arm, route, score
    from 0 to 4 or null, grade, verdict, overridden, rests_on), `contracts`, `portability`,
    `portability_parts`, `switching`, `vendors` and `team`.
    """
    of_arm = {
        (name, arm): routes[(routes["workload"] == name) & (routes["arm"] == arm)]
        for name in case.study.workloads
        for arm in ARMS
    }
    best = {key: criteria.best_route(own) for key, own in of_arm.items()}
    serving: dict[str, list[str]] = {}  # today's route, and the best of each arm
    for name, workload in case.study.workloads.items():
        favoured = (best[name, arm] for arm in ARMS)
        names = [workload.current_route, *(str(r["route"]) for r in favoured if r is not None)]
        serving[name] = list(dict.fromkeys(names))
    lock_in = portability_tables(case, results, serving, routes)
    evidence = _Evidence(case, results, lock_in["portability"])
    rows = [
        row
        for (name, arm), route in best.items()
        for row in _rows(evidence, name, arm, route, of_arm[name, arm])
    ]
    return {
        "criteria": rows,
        "contracts": contract_rows(case.study),
        **lock_in,
        "team": team_table(case.study),
    }


@dataclass(frozen=True)
class _Evidence:
    """The evidence that scores rest on. portability: rows of its table."""

    case: Case
    results: Results
    portability: list[dict[str, Any]]

    @cached_property
    def ledger(self) -> dict[str, str]:
        """The grade of every figure, by its name in the ledger."""
        study = self.case.study
        figures: dict[str, Figure] = {**study.figures(), **findings.rate_figures(study)}
        sized = {row["name"]: row["grade"] for row in self.results["05_self_hosting"]["figures"]}
        return {name: figure.grade for name, figure in figures.items()} | sized

    @cached_property
    def readiness(self) -> team.Readiness:
        return readiness_of(self.case.study)


@dataclass(frozen=True)
class _Scored:
    """A score with the evidence it rests on and the weakest grade of that."""

    score: Score
    grade: str
    rests_on: tuple[str, ...]


# --- one workload on one arm ----------------------------------------------------------------


def _rows(
    evidence: _Evidence, name: str, arm: str, route: "pd.Series[Any] | None", of_arm: pd.DataFrame
) -> list[dict[str, Any]]:
    """C1 to C6 of a workload on an arm. route: its best permitted route. of_arm: all of its routes.

    Privacy overrides the other criteria: if no route of the arm may see the data, they are not
    scored and say why.
    """
    place = {"workload": name, "arm": arm, "route": None if route is None else route["route"]}
    if of_arm.empty:
        scored = _Scored(Score(None, "the study names no route of this arm"), "", ())
        return [_row(id_, place, scored) for id_ in CRITERIA]
    if route is None:
        barred = _privacy(
            evidence, name, of_arm.sort_values("current", ascending=False, kind="stable").iloc[0]
        )
        verdict = f"not weighed, privacy overrides: {barred.score.verdict}"
        other = _Scored(Score(None, verdict), barred.grade, barred.rests_on)
        return [
            _row(id_, place, barred) if id_ == "C5" else _row(id_, place, other, overridden=True)
            for id_ in CRITERIA
        ]
    by_id = {
        **_served(evidence, name, route),
        "C4": _lock_in(evidence, name, route),
        "C5": _privacy(evidence, name, route),
        "C6": _team(evidence, route),
    }
    return [_row(id_, place, scored) for id_, scored in by_id.items()]


def _row(
    id_: str, place: dict[str, Any], scored: _Scored, overridden: bool = False
) -> dict[str, Any]:
    return {
        "id": id_,
        "criterion": CRITERIA[id_],
        **place,
        "score": scored.score.score,
        "grade": scored.grade or None,
        "verdict": scored.score.verdict,
        "overridden": overridden,
        "rests_on": list(scored.rests_on),
    }


def _served(evidence: _Evidence, name: str, route: "pd.Series[Any]") -> dict[str, _Scored]:
    """C1 to C3. A route whose context is too short has no latency, price or quality to score."""
    if not route["fits_context"]:
        rests = (
            f"routes.{route['route']}.context_tokens",
            f"workloads.{name}.intake.context_tokens",
        )
        grade = least_certain(evidence.ledger[path] for path in rests)
        return dict.fromkeys(("C1", "C2", "C3"), _Scored(criteria.cannot_serve(), grade, rests))
    return {
        "C1": _latency(evidence, name, route),
        "C2": _cost(evidence, name, route),
        "C3": _customisation(evidence, name, route),
    }


def _latency(evidence: _Evidence, name: str, route: "pd.Series[Any]") -> _Scored:
    [row] = rows_of(evidence.results["03_latency"]["latency"], workload=name, route=route["route"])
    target = evidence.case.study.workloads[name].slo.ttft_p95
    ends = (row["low_s"], row["high_s"])
    score = criteria.latency(row["verdict"], row["grade"], ends, target.value)
    rests = [f"workloads.{name}.slo.ttft_p95", "03_latency.latency"]
    grades = [row["grade"], *([target.grade] if target.name.startswith("unknown.") else [])]
    if row["source"] == "study file":
        rests.append(f"routes.{route['route']}.ttft_p95")
    elif row["source"] == "serving curve":
        rests.append("05_self_hosting.fleets")
    return _Scored(score, least_certain(grades), tuple(rests))


def _cost(evidence: _Evidence, name: str, route: "pd.Series[Any]") -> _Scored:
    study = evidence.case.study
    score = criteria.cost(
        current=bool(route["current"]),
        sized=bool(route["sized"]),
        savings=route,
        lines=lines_of(study),
    )
    at = f"workloads.{name}"
    paths = [f"{at}.intake.{x}" for x in ("requests", "input_tokens", "output_tokens")]
    for candidate in dict.fromkeys([study.workloads[name].current_route, str(route["route"])]):
        paths += [
            f"routes.{candidate}.price.input",
            f"routes.{candidate}.price.output",
            f"routes.{candidate}.rent",
        ]
        paths.append(f"{at}.routes.{candidate}.capacity")
        if study.routes[candidate].arm == "self_hosted":
            paths += ["self_hosting.fte", "team.usd_per_fte_year"]
    rests = [path for path in dict.fromkeys(paths) if path in evidence.ledger]
    grade = least_certain(evidence.ledger[path] for path in rests)
    return _Scored(score, grade, (*rests, "06_crossover.savings"))


def _customisation(evidence: _Evidence, name: str, route: "pd.Series[Any]") -> _Scored:
    study = evidence.case.study
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
        return _Scored(score, "assumed", ("prompting_and_retrieval_insufficient",))
    figure = f"workloads.{name}.quality.{route['route']}.difference"
    rests = ["04_quality.quality"] if route["quality"] == "none" else [figure]
    if route["quality"] == "inferior":
        rests.append("criteria_claims.tuning_gain")
        return _Scored(score, least_certain([route["quality_grade"], "secondary"]), tuple(rests))
    return _Scored(score, route["quality_grade"], tuple(rests))


def _lock_in(evidence: _Evidence, name: str, route: "pd.Series[Any]") -> _Scored:
    [row] = rows_of(evidence.portability, workload=name, route=route["route"])
    score = criteria.lock_in(row["score_low"], row["score_high"])
    rests = (f"workloads.{name}.portability", "07_triggers_and_routing.portability_parts")
    return _Scored(score, row["grade"], rests)


def _privacy(evidence: _Evidence, name: str, route: "pd.Series[Any]") -> _Scored:
    study = evidence.case.study
    data_class = study.workloads[name].intake.data_class
    needed = contracts.needs(data_class, route["arm"], privacy.privacy_matrix())
    ends = contract_ends(study.routes[route["route"]])
    score = criteria.privacy(
        data_class=data_class,
        permitted=bool(route["permitted"]),
        signable=len(route["missing"]) > 0,
        reason=route["permission_reason"],
        ends=min((ends[k] for k in needed if k in ends), default=None),
        until=units.month_start(study.as_of, study.months),
    )
    rests = (
        f"workloads.{name}.intake.data_class",
        "06_crossover.permissions",
        "07_triggers_and_routing.contracts",
    )
    # contracts and the class of the data are the organisation's own to know
    return _Scored(score, "assumed" if data_class == "unknown" else "measured", rests)


def _team(evidence: _Evidence, route: "pd.Series[Any]") -> _Scored:
    needs = criteria.arm_facts().loc[route["arm"], "needs_ml_engineers"] == "yes"
    score = criteria.team(needs, evidence.readiness)
    if not needs:
        return _Scored(score, "secondary", ("arm_facts",))
    grade = least_certain(["secondary", evidence.case.study.self_hosting.fte.grade])
    rests = ("team.experienced_ml_engineers", "self_hosting.fte", "team_roles")
    return _Scored(score, grade, rests)

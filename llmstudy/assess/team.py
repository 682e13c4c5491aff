"""Chapter 07: is the team there that a fleet needs, and what would it cost?"""

from dataclasses import asdict
from typing import Any

from llmstudy.decision import team
from llmstudy.figure import least_certain
from llmstudy.study import Study


def readiness_of(study: Study) -> team.Readiness:
    """The engineers of a study against its own staffing figure and the source memo's heads."""
    heads = team.headcount(team.roles())
    return team.readiness(study.team.experienced_ml_engineers, study.self_hosting.fte.ends, heads)


def team_table(study: Study) -> dict[str, Any]:
    """C6: the gate, the heads and what they cost a year, the ramp, and what an API saves of them.

    asked_by: the workloads with a self-hosted route; without any the gate decides nothing. The ramp
    is 0 where the team is there. saved: the staffing that no API route takes.
    """
    staffing, salary = study.self_hosting.fte, study.team.usd_per_fte_year
    found = readiness_of(study)
    heads = team.headcount(team.roles())
    ramp = (0.0, 0.0) if found.verdict == "ready" else study.moving["self_hosted"].ramp.ends
    return {
        **asdict(found),
        "sentence": found.sentence,
        "asked_by": [
            name
            for name, workload in study.workloads.items()
            if any(study.routes[route].arm == "self_hosted" for route in workload.routes)
        ],
        "roles": team.roles().to_dict("records"),
        "staffing_fte": _range(staffing.ends),
        "heads_fte": _range(heads),
        "staffing_usd_year": _range(team.yearly_usd(staffing.ends, salary.ends)),
        "heads_usd_year": _range(team.yearly_usd(heads, salary.ends)),
        "ramp_months": _range(ramp),
        "saved_fte": _range(staffing.ends),
        # the heads are the source memo's
        "grade": least_certain(["secondary", staffing.grade, salary.grade]),
    }


def _range(span: team.Span) -> dict[str, float]:
    return {"low": span[0], "high": span[1]}

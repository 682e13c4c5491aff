"""Facts about the team: who is available, who is needed, and how long a move takes."""

from dataclasses import replace

from llmstudy.decide import team
from llmstudy.decide.facts.grounds import Grounds, ranged, stated
from llmstudy.decide.judge import Fact
from llmstudy.study import ArmName


def engineers(grounds: Grounds) -> Fact:
    """The number of experienced engineers who could run a fleet."""
    n = grounds.study.team.experienced_ml_engineers
    words = f"{n} experienced {'engineer' if n == 1 else 'engineers'}"
    return stated(n, "engineers", "team.experienced_ml_engineers", words)


def prompting_insufficient(grounds: Grounds) -> Fact:
    """Whether the study states that prompting and retrieval are proven insufficient."""
    basis = "prompting_and_retrieval_insufficient"
    answer = grounds.study.prompting_and_retrieval_insufficient
    value = {"yes": 1.0, "no": 0.0}.get(answer)
    return stated(
        value, "yes or no", basis, f"prompting and retrieval proven insufficient: {answer}"
    )


def gpu_platform(grounds: Grounds) -> Fact:
    """Whether Kubernetes with GPUs already runs in production."""
    answers = {w.intake.gpu_platform for w in grounds.study.workloads.values()}
    value = 1.0 if "yes" in answers else None if "unknown" in answers else 0.0
    return stated(value, "yes or no", "workloads: intake.gpu_platform")


def staffing(grounds: Grounds) -> Fact:
    """The FTE that a fleet takes, by the study."""
    figure = grounds.study.self_hosting.fte
    return Fact.of(figure, "self_hosting.fte", "the study's staffing of a fleet")


def staffing_beside_engineers(grounds: Grounds) -> Fact:
    """The FTE that a fleet takes, with the available engineers as its sentence."""
    return replace(staffing(grounds), sentence=engineers(grounds).sentence)


def headcount_cost(grounds: Grounds) -> Fact:
    """The cost of the source memo's headcount at the study's salaries, in USD a year."""
    salary = grounds.study.team.usd_per_fte_year
    ends = team.yearly_usd(team.headcount(team.roles()), salary.ends)
    words = "its own heads at the study's salaries"
    return ranged(ends, "USD/year", salary.grade, "team.usd_per_fte_year", words)


def ramp(grounds: Grounds, arm: ArmName) -> Fact:
    """Months until the first workload has moved to an arm."""
    figure = grounds.study.moving[arm].ramp
    return Fact.of(figure, f"moving.{arm}.ramp", "the study's months until moved")

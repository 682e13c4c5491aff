"""The row of each study in a portfolio, and the totals that make sense.

Pure functions: from the results of a study's chapters to a row, and from rows to totals.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from llmstudy.memo.context import Facts
from llmstudy.study import Study
from llmstudy.text import count, listed, usd

Range = Mapping[str, float]
"""p10, p50 and p90 of an amount. Unit: usd."""


@dataclass(frozen=True)
class Course:
    """The decision for one workload.

    target: the route to move to, or that evidence may favour. forced: whether it must move, since
    today's route may not see its data.
    """

    workload: str
    decision: str
    route: str | None
    target: str | None
    forced: bool


@dataclass(frozen=True)
class Fired:
    """A trigger that has fired."""

    id: str
    name: str
    workload: str


@dataclass(frozen=True)
class Row:
    """One study of a portfolio. If it failed, `error` says why and its outcome is missing.

    confidence, evidence: the confidence in the verdict, and the reason for it in words.
    month_usd: this month's bill at the median; stay_usd: over the horizon when nothing moves;
    saving_usd: of the recommended moves, None where there is none; at_stake_usd: what better
    evidence could release. unbilled: workloads whose bill is unknown and in no amount. runs_fleets:
    whether it uses, or may move to, GPUs that our own team runs. memo: its path.
    """

    study: str
    company: str
    question: str
    as_of: str
    horizon_months: int
    overall: str | None = None
    confidence: str | None = None
    evidence: str | None = None
    workloads: tuple[Course, ...] = ()
    month_usd: float | None = None
    stay_usd: Range | None = None
    saving_usd: Range | None = None
    at_stake_usd: Range | None = None
    unbilled: tuple[str, ...] = ()
    runs_fleets: bool = False
    fired: tuple[Fired, ...] = ()
    collect_first: tuple[str, ...] = ()
    memo: str | None = None
    error: str | None = None


def row(facts: Facts, memo: str | None = None) -> Row:
    """The row of a study, from the results of its chapters."""
    study, month = facts.study, facts.crossing["month_usd"]
    arms = {study.routes[w.current_route].arm for w in study.workloads.values()}
    arms |= {study.routes[v["target"]].arm for v in facts.verdicts.values() if v["target"]}
    confidence, why = facts.confidence()
    billed = bool(month["today_by_workload"])
    return replace(
        _open(study),
        overall=facts.decided["overall"],
        confidence=confidence,
        evidence=why,
        workloads=tuple(
            Course(name, v["decision"], v["route"], v["target"], facts.forced(name))
            for name, v in facts.verdicts.items()
        ),
        month_usd=month["today"] if billed else None,
        stay_usd=_range(month["horizon"]) if billed else None,
        saving_usd=_range(facts.decided["saving"]),
        at_stake_usd=_range(facts.decided["at_stake"]),
        unbilled=tuple(facts.unbilled()),
        runs_fleets="self_hosted" in arms,
        fired=tuple(Fired(t["id"], t["name"], t["workload"]) for t in facts.fired()),
        collect_first=tuple(_collect(facts)),
        memo=memo,
    )


def failed(study: Study, error: str) -> Row:
    """The row of a study that failed. error: why, in a sentence or more."""
    return replace(_open(study), error=error)


def _open(study: Study) -> Row:
    """The row of a study without its outcome."""
    as_of = study.as_of.isoformat()
    return Row(study.study, study.company, study.question, as_of, study.months)


def _range(amount: Mapping[str, float] | None) -> Range | None:
    return None if amount is None else {key: amount[key] for key in ("p10", "p50", "p90")}


def _collect(facts: Facts) -> list[str]:
    """What to collect first, in the order of the memo's next steps."""
    steps = []
    if facts.unknown:
        # the same question about several workloads counts once
        questions = dict.fromkeys(path.split(".")[-1].replace("_", " ") for path in facts.unknown)
        n = len(questions)
        steps.append(f"Answer {count(n)} open question{_s(n)}: {listed([*questions])}")
    if barred := facts.barred():
        steps.append(f"Sign the contract that {listed(barred)} lacks, or stop")
    steps += facts.ending()
    n, cost = facts.questions_to_score()
    if n:
        steps.append(f"Score {count(n)} own questions ({usd(cost)})")
    rest = [c for v in facts.verdicts.values() for c in v["collect"]]
    probes = {c["sentence"].split(":")[0] for c in rest if c["what"] == "probe"}
    if probes:
        steps.append(f"Probe the first token of {count(len(probes))} route{_s(len(probes))}")
    return steps


def _s(n: int) -> str:
    return "" if n == 1 else "s"


# ---- totals -----------------------------------------------------------------------


@dataclass(frozen=True)
class Totals:
    """Sums over a portfolio. An amount that must not be added is None, and `why_not` says why.

    A range is the sum of the studies' quantiles, which is exact if they are perfectly correlated
    (as under a common price trend); otherwise the true range is narrower. Source: Dhaene et al.
    (2002), Insurance: Mathematics and Economics 31:3-33, theorem 5: quantiles of comonotonic risks
    add up.
    """

    month_usd: float | None = None
    stay_usd: Range | None = None
    saving_usd: Range | None = None
    at_stake_usd: Range | None = None
    why_not: tuple[str, ...] = ()


def totals(rows: Sequence[Row]) -> Totals:
    """The sums over all studies, as far as they make sense.

    There is no sum if it would lack a study or a bill, count a workload twice, or pay one team of a
    company more than once; amounts over the horizon are added only if all horizons are the same. A
    study without a move counts as 0.

    >>> a = Row("a", "Acme", "?", "2026-11-23", 24, month_usd=100.0)
    >>> b = Row("b", "Bolt", "?", "2026-11-23", 12, month_usd=50.0)
    >>> total = totals([a, b])
    >>> total.month_usd, total.why_not
    (150.0, ('The studies look ahead 12 and 24 months, so only the months can be added.',))
    """
    if barred := _barriers(rows):
        return Totals(why_not=tuple(barred))
    month = sum(r.month_usd or 0.0 for r in rows)
    horizons = sorted({r.horizon_months for r in rows})
    if len(horizons) > 1:
        ahead = listed([str(months) for months in horizons])
        return Totals(
            month,
            why_not=(f"The studies look ahead {ahead} months, so only the months can be added.",),
        )
    return Totals(
        month,
        _sum([r.stay_usd for r in rows]),
        _sum([r.saving_usd for r in rows]),
        _sum([r.at_stake_usd for r in rows]),
    )


def _barriers(rows: Sequence[Row]) -> list[str]:
    """Why nothing can be added, a sentence each."""
    barriers = []
    if lost := [r.study for r in rows if r.error]:
        barriers.append(f"A total would lack {listed(lost)}, which failed.")
    if open_ := [f"{listed(list(r.unbilled))} in {r.study}" for r in rows if r.unbilled]:
        barriers.append(f"The bill of {listed(open_)} is unknown.")
    if len(days := sorted({r.as_of for r in rows if not r.error})) > 1:
        barriers.append(f"The studies are priced at different days, from {days[0]} to {days[-1]}.")
    studies = Counter((r.company, course.workload) for r in rows for course in r.workloads)
    if twice := sorted({f"{name} of {company}" for (company, name), n in studies.items() if n > 1}):
        barriers.append(f"More than one study holds {listed(twice)}, which would count twice.")
    teams = Counter(r.company for r in rows if r.runs_fleets)
    if companies := sorted(company for company, n in teams.items() if n > 1):
        barriers.append(f"Each study of {listed(companies)} pays for the one team of its company.")
    return barriers


def _sum(ranges: Sequence[Range | None]) -> Range | None:
    amounts = [r for r in ranges if r is not None]
    return {key: sum(r[key] for r in amounts) for key in ("p10", "p50", "p90")} if amounts else None

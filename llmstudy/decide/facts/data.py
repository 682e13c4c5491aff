"""Facts about data: what is regulated, where it may go, and under which contracts."""

from collections.abc import Callable
from datetime import date

from llmstudy.decide.facts.grounds import Grounds, stated
from llmstudy.decide.judge import Fact
from llmstudy.evidence.case import rows_of
from llmstudy.measures.privacy import REGULATED, privacy_matrix
from llmstudy.study import ArmName

_DAYS_PER_MONTH = 365.25 / 12

_STRICT_RESIDENCY = ("eu_strict", "government")
"""Classes of data that T3 ties to a place."""


def regulated(grounds: Grounds) -> Fact:
    """Whether any workload's data are regulated."""
    classes = {name: w.intake.data_class for name, w in grounds.study.workloads.items()}
    own = [f"{name}: {class_}" for name, class_ in classes.items() if class_ in REGULATED]
    value = 1.0 if own else None if "unknown" in classes.values() else 0.0
    words = ", ".join(own or sorted(set(classes.values())))
    return stated(value, "yes or no", "workloads: intake.data_class", words)


def sensitive(grounds: Grounds) -> Fact:
    """The number of workloads whose data are more sensitive than consumer data."""
    return _workloads_with(grounds, lambda data_class: data_class != "consumer")


def forbidden(grounds: Grounds) -> Fact:
    """The number of workloads whose data may go to no API at all."""
    matrix = privacy_matrix()
    never = matrix[(matrix["arm"] == "proprietary_api") & (matrix["permitted"] == "no")]
    return _workloads_with(grounds, set(never["data_class"]).__contains__)


def residency(grounds: Grounds) -> Fact:
    """The number of workloads with strict data residency."""
    return _workloads_with(grounds, _STRICT_RESIDENCY.__contains__)


def _workloads_with(grounds: Grounds, matches: Callable[[str], bool]) -> Fact:
    """The number of workloads whose data class matches; None if none does but one is unknown."""
    classes = [w.intake.data_class for w in grounds.study.workloads.values()]
    n = sum(matches(data_class) for data_class in classes if data_class != "unknown")
    value = None if not n and "unknown" in classes else float(n)
    return stated(value, "workloads", "workloads: intake.data_class")


def missing_contracts(grounds: Grounds) -> Fact:
    """The number of contracts that today's routes lack for their data."""
    rows = rows_of(grounds.results["06_crossover"]["permissions"], current=True)
    lacking = {r["workload"]: max(1, len(r["missing"])) for r in rows if not r["permitted"]}
    classes = {w.intake.data_class for w in grounds.study.workloads.values()}
    basis = "06_crossover: permissions"
    if not lacking and "unknown" in classes:
        return stated(None, "contracts", basis, "data are not classified yet")
    words = f"contracts lacking on {', '.join(lacking)}" if lacking else "none is missing"
    return stated(float(sum(lacking.values())), "contracts", basis, words)


def contract_months(grounds: Grounds) -> Fact:
    """Months until the first contract of today's routes ends; negative if it has ended."""
    days: dict[str, date] = {
        f"{contract.kind} of {name}": contract.valid_until
        for name, route in grounds.todays.items()
        for contract in route.contracts
    }
    basis = "routes: contracts"
    if not days:
        return Fact(None, "months", "measured", basis, "no contract is stated")
    first = min(days, key=lambda contract: days[contract])
    months = (days[first] - grounds.study.as_of).days / _DAYS_PER_MONTH
    words = f"{first.replace('_', ' ')} {'ended' if months < 0 else 'ends'} on {days[first]}"
    return stated(months, "months", basis, words)


def control_needed(grounds: Grounds) -> Fact:
    """The number of workloads that need their own fleet, since latency or privacy is missed.

    high: including workloads for which that is unknown.
    """
    rows = [row for row in grounds.decided["triggers"] if row["id"] in ("G2", "G3")]
    fired = {row["workload"] for row in rows if row["status"] == "fired"}
    could = {r["workload"] for r in rows if r["status"] in ("fired", "pending", "unknown")}
    n = len(grounds.study.workloads)
    words = f"of {n} {'workloads' if n > 1 else 'workload'} miss latency or privacy"
    words += "; high: unknown too"
    return Fact(len(fired), "workloads", "measured", "triggers", words, len(fired), len(could))


def workloads_permitted(grounds: Grounds, arm: ArmName) -> Fact:
    """The share of the workloads with a route of the arm that have a permitted one."""
    rows = rows_of(grounds.results["06_crossover"]["permissions"], arm=arm)
    names, basis = {row["workload"] for row in rows}, "06_crossover: permissions"
    if not names:
        return Fact(None, "share of workloads", "measured", basis, "no route of this arm")
    able = {row["workload"] for row in rows if row["permitted"]}
    words = f"{len(able)} of {len(names)} may be served there"
    return stated(len(able) / len(names), "share of workloads", basis, words)

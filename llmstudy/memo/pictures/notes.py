"""What stands below a chart: how its evidence is graded."""

from collections.abc import Mapping
from typing import Any

from llmstudy.memo.facts import Facts


def grades(facts: Facts, workload: str) -> str:
    """How the volume, the requests and the prices behind a workload's chart are graded."""
    evidence = facts.chapters["01_evidence"]
    routes = facts.study.workloads[workload].routes
    starts = tuple(f"routes.{route}.price." for route in routes)
    priced = sorted({f["grade"] for f in evidence["figures"] if f["name"].startswith(starts)})
    row = next(r for r in evidence["workloads"] if r["workload"] == workload)
    return f"{said_of_volume(row)} · prices: {', '.join(priced)}"


def said_of_volume(row: Mapping[str, Any]) -> str:
    """How the volume and the requests of a row are graded. row: of `workloads` or `fleets`."""
    seen = "simulated from published figures" if row["traffic"] == "simulated" else "measured"
    return f"volume: {row['volume_grade']} · requests: {seen}"

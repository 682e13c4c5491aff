"""Chapter 07: the source memo's claims on the six criteria, beside our own figures."""

from collections.abc import Iterable
from math import inf
from typing import Any, NamedTuple

import pandas as pd

from llmstudy.assess.case import Case, Results, Tables
from llmstudy.decision import criteria, team
from llmstudy.figure import Figure, least_certain

_QUOTED = "source memo"
"""How the source of a figure begins that is the memo's own, and so is no check on it."""


class _Ours(NamedTuple):
    """Our own range for a claim, what it is of, and its grade. high: None where low is a bound."""

    low: float
    high: float | None
    what: str
    grade: str


def claim_rows(case: Case, results: Results, lock_in: Tables) -> list[dict[str, Any]]:
    """Every claim with our own range where there is one.

    Rows: id, criterion, arm, who, claim, unit, claim_low, claim_high, ours_low, ours_high, placed
    (as `criteria.placed`), ours (what our range is of), grade, source.
    lock_in: as `lock_in.portability_tables`.
    """
    ours = {
        **_latencies(case, results),
        **_targets(case),
        **_hidden(case),
        **_quality(case, results),
        **_lock_in(lock_in),
        **_staff(case),
    }
    rows = []
    for claim in criteria.claims().to_dict("records"):
        low, high, unit = (None if pd.isna(claim[k]) else claim[k] for k in ("low", "high", "unit"))
        own = ours.get(claim["id"])
        rows.append(
            {
                **{key: claim[key] for key in ("id", "criterion", "arm", "who", "claim")},
                "unit": unit,
                "claim_low": low,
                "claim_high": high,
                "ours_low": own.low if own else None,
                "ours_high": own.high if own else None,
                "placed": criteria.placed(
                    None if low is None else (low, inf if high is None else high),
                    (own.low, inf if own.high is None else own.high) if own else None,
                ),
                "ours": own.what if own else None,
                "grade": own.grade if own else None,
                "source": claim["source"],
            }
        )
    return rows


def _spanned(seen: Iterable[float | None], what: str, grade: str) -> _Ours | None:
    known = [x for x in seen if x is not None]
    return _Ours(min(known), max(known), what, grade) if known else None


def _kept(found: dict[str, _Ours | None]) -> dict[str, _Ours]:
    return {id_: own for id_, own in found.items() if own is not None}


def _latencies(case: Case, results: Results) -> dict[str, _Ours]:
    """First tokens that were measured on an API; of our fleets probed ones, else the bound."""
    study, timed = case.study, results["03_latency"]
    arms = {name: route.arm for name, route in study.routes.items()}
    probed = {
        arm: [row["ttft_p50_s"] for row in timed["probes"] if arms[row["route"]] == arm]
        for arm in ("proprietary_api", "self_hosted")
    }
    api = [
        row["ttft_p95_s"]
        for row in timed["latency"]
        if row["arm"] == "proprietary_api" and row["grade"] in ("measured", "recorded")
    ]
    logged = [
        float(requests["ttft_s"].median())
        for name, workload in study.workloads.items()
        if name not in case.traffic.simulated and arms[workload.current_route] == "proprietary_api"
        for requests in [case.traffic.of(name)]
        if requests["ttft_s"].notna().any()
    ]
    bounds = [row["ttft_lower_bound_s"] for row in results["05_self_hosting"]["fleets"]]
    own = _spanned(probed["self_hosted"], "probes of self-hosted routes, p50", "measured")
    said = "at least, by the serving curve: no fleet was probed, and queues come on top"
    least = _Ours(min(bounds), None, said, "published") if bounds else None
    return _kept(
        {
            "api_ttft_p50": _spanned(
                [*logged, *probed["proprietary_api"]], "log and probes, p50", "measured"
            ),
            "api_ttft_p95": _spanned(api, "log and probes, p95", "measured"),
            "self_ttft_p50": own or least,
        }
    )


def _targets(case: Case) -> dict[str, _Ours]:
    """The tightest targets that the study sets; inside the claim, they push to self-hosting."""
    first, whole = [], []
    for workload in case.study.workloads.values():
        slo, answer = workload.slo, workload.intake.output_tokens
        if not slo.ttft_p95.name.startswith("unknown."):
            first.append(slo.ttft_p95.value)
            if not answer.name.startswith("unknown."):
                whole.append(slo.ttft_p95.value + slo.tpot_p95.value * answer.value)
    return _kept(
        {
            "hard_first_token": _spanned(
                [min(first)] if first else [], "tightest target of the study", "assumed"
            ),
            "hard_response": _spanned(
                [min(whole)] if whole else [],
                "tightest target for a mean answer, first token and pace together",
                "assumed",
            ),
        }
    )


def _quality(case: Case, results: Results) -> dict[str, _Ours]:
    """How far open models lie behind today's route on paired items."""
    scored = [
        row
        for row in results["04_quality"]["quality"]
        if row["difference"] is not None
        and case.study.routes[row["route"]].arm != "proprietary_api"
    ]
    grades = sorted({row["grade"] for row in scored})
    behind = [-row["difference"] for row in scored]
    named = ", ".join(sorted({row["benchmark"] for row in scored}))
    said = f"open routes behind today's on paired items of {named}"
    return _kept({"behind_frontier": _spanned(behind, said, ", ".join(grades))})


_DIMENSIONS = {
    "availability": "model availability",
    "compatibility": "API compatibility",
    "switching": "switching cost",
    "pricing": "pricing power",
    "data": "data lock-in",
}
_ARM_OF = {"api": "proprietary_api", "self": "self_hosted"}


def _lock_in(found: Tables) -> dict[str, _Ours]:
    """What leaving takes, and how much of each dimension's points the routes of an arm earn."""
    behind = ("behind_low_days", "behind_high_days")
    days = [row[end] for row in found["switching"] for end in behind]
    said = "leaving today's routes, were they behind an abstraction"
    ours = {"week_switch": _spanned(days, said, "assumed")}
    parts = pd.DataFrame(found["portability_parts"])
    key = ["workload", "route", "arm", "dimension"]
    earned = parts.groupby(key)[["points", "low", "high"]].sum().reset_index()
    for short, dimension in _DIMENSIONS.items():
        for suffix, arm in _ARM_OF.items():
            own = earned[(earned["dimension"] == dimension) & (earned["arm"] == arm)]
            shares = [*(own["low"] / own["points"]), *(own["high"] / own["points"])]
            said = "points that the arm's routes earn, of all"
            ours[f"{short}_{suffix}"] = _spanned(shares, said, "assumed")
    return _kept(ours)


def _hidden(case: Case) -> dict[str, _Ours]:
    """What two of the hidden costs come to in a fleet's bill."""
    spec = case.study.self_hosting
    tests = [x * y for x, y in zip(spec.upgrades.ends, spec.upgrade.ends, strict=True)]
    watch = [x + y for x, y in zip(spec.observability.ends, spec.on_call.ends, strict=True)]
    grades = {spec.observability.grade, spec.on_call.grade}
    return _kept(
        {
            "hidden_evaluation": _spanned(tests, "upgrades, tested", spec.upgrade.grade),
            "hidden_monitoring": _spanned(
                watch, "observability and on-call pay", least_certain(grades)
            ),
        }
    )


def _staff(case: Case) -> dict[str, _Ours]:
    """The study's staffing, salaries and ramp, where they are not the memo's own figures."""
    study = case.study
    staffing, salary = study.self_hosting.fte, study.team.usd_per_fte_year
    found = {
        **dict.fromkeys(
            ("hidden_engineers", "headcount", "headcount_challenger", "fte_saved"),
            _stated(staffing, "the study's staffing of a fleet"),
        ),
        "hiring": _stated(study.moving["self_hosted"].ramp, "the study's months until moved"),
    }
    cost = team.yearly_usd(team.headcount(team.roles()), salary.ends)
    said = "its own heads at the study's salaries"
    return _kept({**found, "headcount_cost": _spanned(cost, said, salary.grade)})


def _stated(figure: Figure, what: str) -> _Ours | None:
    if figure.source.startswith(_QUOTED):
        return None
    return _spanned([figure.low, figure.value, figure.high], what, figure.grade)

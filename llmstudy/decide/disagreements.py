"""Chapter 07: the advisors' four disagreements (D1 to D4), judged on this study's evidence."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from llmstudy.decide.judge import Fact
from llmstudy.decide.panel import Resolution, cheapest_of
from llmstudy.evidence.case import Case, Results, Tables, rows_of
from llmstudy.measures.latency import QuantileEstimate, percentile_minimum_n, quantile_interval
from llmstudy.study import ApiRoute
from llmstudy.text import count, opening, span, usd

Trial = Mapping[str, Mapping[str, Any]]
"""The back-test of each lens, by the lens's name; empty if no rule is tested."""

_CLAIM_S = 1.0
"""The Challenger's claim for the p95 of an API's first token: below a second."""


def resolutions(
    case: Case, results: Results, tables: Tables, trial: Trial
) -> dict[str, Resolution]:
    """What this study says about each disagreement, by its id. trial: as `Trial`."""
    return {
        "D1": _first_or_hybrid(tables, trial),
        "D2": _tails(case, results),
        "D3": _crossover(results, trial),
        "D4": _privacy(tables),
    }


# --- D1 -------------------------------------------------------------------------------------


def _first_or_hybrid(tables: Tables, trial: Trial) -> Resolution:
    """D1: never moving against moving when measured utilisation, latency or residency says so."""
    if not trial:
        evidence = f"{tables['timing']['reason']}, so that no rule is on trial"
        sides = dict.fromkeys(("API only", "hybrid by plan"), _cost(None, ""))
        sentence = f"Open as a matter of cost: {tables['timing']['reason']}."
        return Resolution(evidence, (), sentence, "simulated", sides)
    never = rows_of(tables["regret"], buyer="named_model", rule="never")[0]
    sides = {"API only": _regret(never), "hybrid by plan": _regret(trial["Strategist"])}
    evidence = "; ".join(_priced(side, cost) for side, cost in sides.items())
    holds = cheapest_of(sides)
    if holds:
        first, second = sorted(cost.value or 0.0 for cost in sides.values())
        sentence = (
            f"{opening(holds[0])} costs {usd(second - first)} less on average over "
            f"{tables['timing']['months']} months, where the choice is between today's named "
            "models and self-hosting alone."
        )
    else:
        sentence = "Open: the simulated futures cannot tell the two apart."
    return Resolution(evidence, holds, sentence, "simulated", sides)


def _cost(
    value: float | None, against: str, low: float | None = None, high: float | None = None
) -> Fact:
    """What acting on one side costs, in USD above `against`; None: not priced."""
    return Fact(value, "USD", "simulated", "", against, low, high)


_NOTHING_SPENT = 0.0, 0.0
"""Low and high of a cost of zero."""


def _regret(row: Mapping[str, Any]) -> Fact:
    against = "hindsight, mean over the futures of the move on trial"
    return _cost(row["regret_usd"], against, row["regret_low_usd"], row["regret_high_usd"])


def _priced(side: str, cost: Fact) -> str:
    if cost.value is None or cost.low is None:
        return f"{side}: not priced"
    return f"{side} costs {usd(cost.value)} above {cost.sentence.split(',')[0]}"


# --- D2 -------------------------------------------------------------------------------------


def _tails(case: Case, results: Results) -> Resolution:
    """D2: the p95 and p99 TTFT of today's APIs, as measured by a log or a probe."""
    tails = {name: _tail(case, name) for name in case.study.workloads if _on_api(case, name)}
    supported = {
        name: tail for name, tail in tails.items() if tail is not None and tail[0].supported
    }
    sides = {
        "good": _cost(0.0, "staying, over the horizon", *_NOTHING_SPENT),
        "unpredictable": _cost_of_leaving(case, results),
    }
    if not supported:
        n = percentile_minimum_n(0.95)
        what = "workload" if len(tails) == 1 else "workloads"
        evidence = f"no first token of {len(tails)} {what} on APIs is measured"
        if not tails:
            evidence = "no workload runs on an API today"
        sentence = (
            f"Open: {evidence}; {count(n)} requests support a p95 and "
            f"{count(percentile_minimum_n(0.99))} a p99."
        )
        return Resolution(evidence, (), sentence, "assumed", sides)
    p95 = [tail[0] for tail in supported.values()]
    p99 = [tail[1] for tail in supported.values() if tail[1].supported]
    evidence = "; ".join(f"{name}: {_seconds(*tail)}" for name, tail in supported.items())
    over = any(x.low > _CLAIM_S for x in p95) or any(x.low > _CLAIM_S for x in p99)
    under = all(x.high <= _CLAIM_S for x in p95)
    holds: tuple[str, ...] = ()
    if under and not over:
        holds = ("good",) if len(p99) == len(supported) else ("good at the p95",)
    elif over:
        holds = ("good at the p95", "unpredictable at the p99") if under else ("unpredictable",)
    line = f"{count(_CLAIM_S)} s"
    sentence = f"{opening(' and '.join(holds))}, judged at {line}: {evidence}." if holds else (
        f"Open: the intervals straddle {line}: {evidence}."
    )  # fmt: skip
    return Resolution(evidence, holds, sentence, "measured", sides)


def _on_api(case: Case, name: str) -> bool:
    return isinstance(case.study.routes[case.study.workloads[name].current_route], ApiRoute)


def _tail(case: Case, name: str) -> tuple[QuantileEstimate, QuantileEstimate] | None:
    """The p95 and p99 TTFT of today's route, in s, with failures at +inf; None if not measured."""
    requests = case.traffic.of(name)
    if requests["ttft_s"].notna().any():
        streamed = requests[requests["ttft_s"].notna() | ~requests["ok"]]
        seconds = streamed["ttft_s"].where(streamed["ok"], np.inf).to_numpy(dtype=float)
        return quantile_interval(seconds, 0.95), quantile_interval(seconds, 0.99)
    probe = case.probe_of(name, case.study.workloads[name].current_route)
    if probe is None or probe.closed_loop:
        return None
    return probe.estimate_s("ttft_ms", "p95"), probe.estimate_s("ttft_ms", "p99")


def _seconds(p95: QuantileEstimate, p99: QuantileEstimate) -> str:
    parts = [
        f"{name} of {x.low:.2g} to {x.high:.2g} s"
        for name, x in (("p95", p95), ("p99", p99))
        if x.supported
    ]
    return ", ".join(parts) + ("" if p99.supported else f", no p99 from {count(p99.n)} requests")


def _cost_of_leaving(case: Case, results: Results) -> Fact:
    """What it costs to move every workload on an API to its best fleet, one by one."""
    best: dict[str, Mapping[str, Any]] = {}
    for row in rows_of(results["06_crossover"]["savings"], arm="self_hosted"):
        name, saved = row["workload"], row["saving_p50_usd"]
        if _on_api(case, name) and (name not in best or saved > best[name]["saving_p50_usd"]):
            best[name] = row
    if not best:
        return _cost(None, "staying: no fleet may serve")
    low, mid, high = (
        -sum(row[f"saving_{end}_usd"] for row in best.values()) for end in ("p90", "p50", "p10")
    )
    against = f"staying, over the horizon, for fleets of {len(best)} workloads taken one by one"
    return _cost(mid, against, low, high)


# --- D3 -------------------------------------------------------------------------------------

_UNITS = {
    "Analyst": ("tokens a month", "Analyst low"),
    "Architect": ("USD a month", "Architect"),
    "Challenger": ("requests a month", "Challenger low"),
}
"""The unit in which each advisor states the crossover, and the lens that acts on it."""


def _crossover(results: Results, trial: Trial) -> Resolution:
    """D3: our crossovers to a fleet, the claims that they match, and the unit that varies least."""
    rows = [
        row
        for row in results["06_crossover"]["crossover"]
        if row["to_arm"] == "self_hosted" and row["from_arm"] == "proprietary_api"
    ]
    reached = [row for row in rows if row["requests_per_month"]["p50"] is not None]
    sides = {
        f"{advisor}, in {unit}": _regret(trial[lens]) if trial else _cost(None, "")
        for advisor, (unit, lens) in _UNITS.items()
    }
    if not reached:
        evidence = f"no volume makes a fleet cheaper than today's API ({len(rows)} comparisons)"
        return Resolution(evidence, (), f"Nowhere: {evidence}.", "simulated", sides)
    claims = _claims_within(results, reached)
    evidence = (
        "; ".join(f"{row['workload']}: {_band(row)} tokens a month" for row in reached)
        + f"; claims within these bands: {', '.join(claims) or 'none'}"
    )
    if len(reached) < 2:
        sentence = f"In tokens a month for {evidence}; one workload cannot tell the best unit."
        claimants = tuple(dict.fromkeys(claim.partition(" on ")[0] for claim in claims))
        return Resolution(evidence, claimants, sentence, "simulated", sides)
    volumes = _in_units(results, reached)
    factors = {unit: max(x) / min(x) for unit, x in volumes.items()}
    unit = min(factors, key=lambda name: factors[name])
    ratios = ", ".join(f"{count(factor)} in {name}" for name, factor in factors.items())
    advisor = next(who for who, (name, _) in _UNITS.items() if name == unit)
    level = span(min(volumes[unit]), max(volumes[unit]), usd if unit == "USD a month" else count)
    sentence = (
        f"In {unit}, as the {advisor} has it, at a median of {level}: between workloads the "
        f"crossover differs by a factor of {ratios}. Claims within our bands: "
        f"{', '.join(claims) or 'none'}."
    )
    return Resolution(evidence, (f"{advisor}, in {unit}",), sentence, "simulated", sides)


def _band(row: Mapping[str, Any]) -> str:
    return span(row["tokens_per_month"]["p10"], row["tokens_per_month"]["p90"], count)


def _claims_within(results: Results, rows: list[Any]) -> list[str]:
    """The advisors' claims in tokens a month that overlap the 80 % band of a workload."""
    claims = []
    for row in rows:
        low, high = (row["tokens_per_month"][end] for end in ("p10", "p90"))
        for claim in rows_of(results["06_crossover"]["claims"], workload=row["workload"]):
            if claim["high"] >= low and (high is None or claim["low"] <= high):
                claims.append(f"{claim['who']} on {row['workload']} ({claim['claim']})")
    return list(dict.fromkeys(claims))


def _in_units(results: Results, rows: list[Any]) -> dict[str, list[float]]:
    """The median crossover of each workload, by unit."""
    prices = {
        (row["workload"], row["route"]): row["usd_per_request"]
        for row in results["02_cost"]["bills"]
    }
    requests = [row["requests_per_month"]["p50"] for row in rows]
    billed = [prices[row["workload"], row["from_route"]] for row in rows]
    return {
        "tokens a month": [row["tokens_per_month"]["p50"] for row in rows],
        "USD a month": [n * price for n, price in zip(requests, billed, strict=True)],
        "requests a month": requests,
    }


# --- D4 -------------------------------------------------------------------------------------


def _privacy(tables: Tables) -> Resolution:
    """D4: what privacy rules out before any cost is considered, and which verdicts it forces."""
    routes = tables["routes"]
    barred = routes[~routes["permitted"]]
    forced = [
        name
        for name, v in tables["verdicts"].items()
        if any(reason["code"] == "privacy" and reason["route"] == _today(routes, name)
               for reason in v["reasons"])
    ]  # fmt: skip
    unclassified = [
        row["workload"] for row in rows_of(tables["triggers"], id="G3", status="unknown")
    ]
    evidence = f"{len(barred)} of {len(routes)} pairs of workload and route may not see the data"
    evidence += f"; {', '.join(forced)} may not stay where it is" if forced else ""
    evidence += f"; not classified: {', '.join(unclassified)}" if unclassified else ""
    bars = _cost(None, "what is barred, which is never priced")
    if barred.empty:
        bars = _cost(0.0, "what is barred: nothing is", *_NOTHING_SPENT)
    sides = {
        "privacy overrides": bars,
        "privacy overrides nothing": _cost(0.0, "what is permitted", *_NOTHING_SPENT),
    }
    holds: tuple[str, ...]
    if forced:
        holds, sentence = ("privacy overrides",), f"It overrides here: {evidence}."
    elif unclassified:
        holds, sentence = (), f"Open: {evidence}."
    elif len(barred):
        holds = ("privacy overrides",)
        sentence = f"It overrides where it bars: {evidence}; every workload may stay where it is."
    else:
        holds, sentence = ("privacy overrides nothing",), f"It decides nothing here: {evidence}."
    return Resolution(evidence, holds, sentence, "measured", sides)


def _today(routes: Any, name: str) -> str:
    return str(routes[(routes["workload"] == name) & routes["current"]]["route"].iloc[0])


def disagreements_in_words(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """D1 to D4 as a page shows them: each advisor's view, what holds here, and what each side
    costs.

    rows: of `disagreements`.
    """
    return pd.DataFrame(
        [
            {
                "disagreement": f"{row['id']}: {row['question']}",
                **{who: row[who] for who in ("strategist", "challenger", "analyst", "architect")},
                "holds here": row["holds"] or "open",
                "because": row["resolution"],
                "grade": row["grade"],
                "costs": "; ".join(map(_side_in_words, row["costs"])),
            }
            for row in rows
        ]
    )


def _side_in_words(cost: Mapping[str, Any]) -> str:
    if cost["usd"] is None:
        return f"{cost['side']}: not priced"
    return f"{cost['side']}: {usd(cost['usd'])} against {cost['against']}"
